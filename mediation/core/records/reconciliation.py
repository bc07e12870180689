"""Which difference between what is there and what should be is believed, and when: a table of suspicions.

Answers for no false alarm and for none that is late. A look at the kernel and the access function's word about itself
are never of the same instant, so a difference counts when two looks in a row see the same thing, the same socket by
its inode. The first asks for the second at once. While the access function is away, a socket where its taps belong may
be its own next one: it is given AWAY_S, and then it is believed whatever it is.

    seen ─ accounted for ──────────────────────────► nothing
         └ not ─ once ──► suspected (look again) ─ gone ──► nothing
                                   └ again, and the access function was there or is away for AWAY_S ─► believed, once
    believed ─ gone ─► forgotten: if it comes again it is found again

Who makes a tap anew before each look shows another socket each time, or another rule's name: for AWAY_S some of a kind
in one namespace, in every look and never the same, is believed as well.

Latest belief: the interval (at most MAX_INTERVAL_S) + AWAY_S + one look, below the 60 s of SEC-1. Sans-I/O.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence

import msgspec

from mediation.core.records import incident
from mediation.core.records.incident import Finding, Observation, Rule, Sight, Tap, What
from mediation.core.units import US

MAX_INTERVAL_S = 30  # with AWAY_S and two looks within SEC-1's minute
AWAY_S = 20  # the access function's own start, opener included, on a loaded machine
GAP_S = 10  # two absences with no look for so long between them may be two
PATIENCE_S = {What.UNCERTIFIED: 150}  # certifications are drafted once a minute; nobody listens for the lack of one
SILENT_INTERVALS = 2
LATE_S = 5  # for the look itself, on a loaded machine


class Reported(msgspec.Struct, frozen=True, kw_only=True):
    """What a function said of itself after the look. `tasks`: what it holds; `armed`: what the administration armed
    there (a function with requests on their way is left out); `uncertified`: how many of them have no certification."""

    taps: tuple[Tap, ...] = ()
    tasks: dict[str, int] = {}
    armed: dict[str, int] = {}
    uncertified: int = 0


class Verdict(msgspec.Struct, frozen=True, kw_only=True):
    """`believed` are new; `differences` counts all that stand; `again`: look again at once."""

    believed: tuple[Finding, ...]
    differences: int
    taps: int
    again: bool


class _Suspicion(msgspec.Struct):
    first_us: int
    clean_us: int
    believed: bool = False


class Judge:
    """For one site: `expected` are its rules, `points` (interface, namespace) where its taps belong."""

    def __init__(self, expected: Sequence[Rule], points: Iterable[tuple[str, str]]) -> None:
        self._expected = tuple(expected)
        self._points = Counter(points)
        self._known: dict[str, _Suspicion] = {}
        self._restless: dict[tuple[What, str], _Suspicion] = {}  # kinds of which something new is there at each look
        self._clean_us = 0  # when it looked last
        self._away_us: int | None = None  # since when the access function is away

    def observe(self, seen: Observation, reported: Reported | None, *, live: int) -> Verdict:
        """What comes of one look. `reported` is None when the access function is away; `live` orders should run."""
        now_us = seen.time_us
        if reported is not None:
            self._away_us = None
        elif self._away_us is None or now_us - self._clean_us > GAP_S * US:
            self._away_us = now_us
        waits = self._away_us is not None and now_us - self._away_us < AWAY_S * US
        found = self._differences(seen, reported, live)
        believed: list[Finding] = []
        standing, again = 0, False
        unsettled: dict[tuple[What, str], Sight] = {}
        for key, (what, sight, detail, may_wait) in found.items():
            suspicion = self._known.get(key)
            if suspicion is None:
                self._known[key] = _Suspicion(now_us, self._clean_us)
                again = again or what not in PATIENCE_S
                if sight is not None and not (waits and may_wait):
                    unsettled[what, sight.namespace] = sight
            elif suspicion.believed:
                standing += 1
            elif now_us - suspicion.first_us < PATIENCE_S.get(what, 0) * US:
                continue
            elif waits and may_wait:
                again = True
            else:
                suspicion.believed = True
                standing += 1
                believed.append(
                    Finding(
                        what=what, first_us=suspicion.first_us, clean_us=suspicion.clean_us, sight=sight, detail=detail
                    )
                )
        for key in self._known.keys() - found.keys():
            del self._known[key]
        believed += self._moving(unsettled, now_us)
        standing += sum(each.believed for each in self._restless.values())
        self._clean_us = now_us
        taps = sum(sight.what is What.PACKET_SOCKET for sight in seen.sights)
        return Verdict(believed=tuple(believed), differences=standing, taps=taps, again=again)

    def _moving(self, unsettled: dict[tuple[What, str], Sight], now_us: int) -> list[Finding]:
        """What was never the same thing in two looks and never absent from one for AWAY_S: once for each kind."""
        believed: list[Finding] = []
        for kind, sight in unsettled.items():
            suspicion = self._restless.setdefault(kind, _Suspicion(now_us, self._clean_us))
            if not suspicion.believed and now_us - suspicion.first_us >= AWAY_S * US:
                suspicion.believed = True
                believed.append(
                    Finding(what=kind[0], first_us=suspicion.first_us, clean_us=suspicion.clean_us, sight=sight)
                )
        for kind in self._restless.keys() - unsettled.keys():
            del self._restless[kind]
        return believed

    def _differences(
        self, seen: Observation, reported: Reported | None, live: int
    ) -> dict[str, tuple[What, Sight | None, str, bool]]:
        """Each difference by its key: what, sight, detail, and whether it may be the access function's own start."""
        found: dict[str, tuple[What, Sight | None, str, bool]] = {}
        # The access function's word counts for the places where the site's configuration puts its taps, one each.
        room = Counter(self._points)
        taps: list[Tap] = []
        for tap in reported.taps if reported is not None else ():
            if room[tap.interface, tap.namespace] > 0:
                room[tap.interface, tap.namespace] -= 1
                taps.append(tap)
        for sight in incident.unaccounted(seen.sights, self._expected, taps):
            near = sight.what is What.PACKET_SOCKET and (sight.interface, sight.namespace) in self._points
            found[sight.key] = (sight.what, sight, "", near)

        def add(what: What, detail: str, may_wait: bool) -> None:
            finding = Finding(what=what, first_us=0, clean_us=0, detail=detail)
            found[finding.key] = (what, None, detail, may_wait)

        if seen.more:
            add(What.OVERFLOW, "", False)
        there = {(sight.inode, sight.interface) for sight in seen.sights if sight.what is What.PACKET_SOCKET}
        if live and reported is None:
            add(What.TAP_GONE, "the access function is away", True)
        elif live:
            for tap in taps:
                if (tap.inode, tap.interface) not in there and not self._blind(seen, tap):
                    add(What.TAP_GONE, tap.name, False)
        if reported is not None and reported.uncertified:
            add(What.UNCERTIFIED, "", False)
        if reported is not None:
            for function, count in reported.tasks.items():
                if count != reported.armed.get(function, count):
                    add(What.TASKS, f"{function} holds {count}, armed are {reported.armed[function]}", False)
        return found

    def _blind(self, seen: Observation, tap: Tap) -> bool:
        """The reconciler may not look into the tap's namespace, and says so."""
        return bool(tap.namespace) and f"namespace {tap.namespace}" in seen.unseen


def silent(last_us: int, interval_s: int, now_us: int) -> bool:
    """Whether a reconciler that was heard last at `last_us` should have been heard again."""
    return now_us - last_us > (SILENT_INTERVALS * interval_s + LATE_S) * US
