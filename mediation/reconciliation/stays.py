"""How long each thing that was seen stood there, by the reconciler's own log; and the incidents that must come of it.

Answers for comparing the log, which the administration cannot write, with the ledger, which the reconciler cannot, in
both ways: what stood longer than an incident takes and has none in the ledger was hidden; an incident of something that
the log did not see at that time was invented. An incident that the administration draws from its own books (a tap that
is gone, a certification that is missing, other tasks than were armed) is in no log: it is not judged here.

It may not look at the machine and reads no file. Times in microseconds since 1970 (`…_us`).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

import msgspec

from mediation.core.ledger import entry
from mediation.core.records.incident import Sight, What
from mediation.core.records.reconciliation import AWAY_S, MAX_INTERVAL_S
from mediation.core.units import US
from mediation.reconciliation import journal, reconciler
from mediation.reconciliation.journal import Line
from mediation.runtime.config import Site

LATE_US = (MAX_INTERVAL_S + AWAY_S + 10) * US  # an incident is in the ledger this long after its first sight, at most
SECOND_US = US  # an incident's identity has whole seconds
BOOKS = frozenset({What.TAP_GONE, What.UNCERTIFIED, What.TASKS})  # differences of the administration's own books
KEY_DIGITS = 16
_IDENTITY = re.compile(r"([0-9]{1,12})-([0-9a-f]{16})")


class Stay(msgspec.Struct, kw_only=True):
    """A sight that was there in every look from `first_us` to `last_us`; `beyond`: in the last of them the
    configuration alone did not account for it."""

    sight: Sight
    first_us: int
    last_us: int
    beyond: bool


def stays(site: Site, lines: Iterable[Line]) -> list[Stay]:
    """Of all that the log has, in the order in which it came."""
    found: list[Stay] = []
    there: dict[str, Stay] = {}
    for line in lines:
        if line.kind == journal.START:
            continue
        seen = _seen(line)
        if seen is None:  # as in the line before
            for stay in there.values():
                stay.last_us = line.time_us
            continue
        left = {sight.key for sight in reconciler.beyond(site, seen)}
        now: dict[str, Stay] = {}
        for sight in seen:
            key = sight.key
            stay = there.get(key) or _new(found, sight, line.time_us)
            stay.last_us, stay.beyond = line.time_us, key in left
            now[key] = stay
        for key in there.keys() - now.keys():
            if line.rounds > 1:  # it was there in the looks between, the last of them an interval ago at most
                there[key].last_us = max(there[key].last_us, line.time_us - LATE_US)
        there = now
    return found


def _new(found: list[Stay], sight: Sight, time_us: int) -> Stay:
    found.append(Stay(sight=sight, first_us=time_us, last_us=time_us, beyond=False))
    return found[-1]


def _seen(line: Line) -> tuple[Sight, ...] | None:
    """What was seen at a line; None when that is what was seen at the one before."""
    if line.sights or (line.kind == journal.SEEN and not line.beyond):
        return line.sights
    return None


def hidden(found: Iterable[Stay], incidents: Iterable[str]) -> list[Stay]:
    """What stood longer than an incident takes and has none. `incidents` are the identities of the ledger's."""
    known = {each.partition("-")[2] for each in incidents}
    missing = [
        stay for stay in found
        if stay.beyond and stay.last_us - stay.first_us > LATE_US and stay.sight.key[:KEY_DIGITS] not in known
    ]  # fmt: skip
    return list({stay.sight.key: stay for stay in missing}.values())


def moving(site: Site, lines: Iterable[Line], incidents: Iterable[str]) -> list[Stay]:
    """What had no stay because it was another at each look (another socket, another rule's name), stood all the same
    longer than an incident takes, and has none: one Stay for each kind, with the last sight."""
    known = {each.partition("-")[2] for each in incidents}
    runs: dict[tuple[What, str], list[Stay]] = {}
    ended: list[list[Stay]] = []
    before: set[str] = set()
    for line in lines:
        seen = _seen(line)
        left = [] if line.kind == journal.START or seen is None else reconciler.beyond(site, seen)
        new = {(sight.what, sight.namespace): sight for sight in left if sight.key not in before}
        # More than one look since the line before: those between saw nothing new.
        still = new.keys() if line.rounds <= 1 else ()
        ended += [runs.pop(kind) for kind in list(runs) if kind not in still]
        for kind, sight in new.items():
            _new(runs.setdefault(kind, []), sight, line.time_us)
        if seen is not None:
            before = {sight.key for sight in left}
    found = []
    for run in (*ended, *runs.values()):
        first, last = run[0], run[-1]
        long = last.last_us - first.first_us > LATE_US
        if long and not any(each.sight.key[:KEY_DIGITS] in known for each in run):
            found.append(Stay(sight=last.sight, first_us=first.first_us, last_us=last.last_us, beyond=True))
    return found


def invented(found: Sequence[Stay], lines: Iterable[Line], incidents: Iterable[entry.Incident]) -> list[str]:
    """Identities of incidents in the ledger that the log knows nothing of."""
    by_key: dict[str, list[Stay]] = {}
    for stay in found:
        by_key.setdefault(stay.sight.key[:KEY_DIGITS], []).append(stay)
    overflows = [line.time_us for line in lines if line.more]
    return [each.incident for each in incidents if not _borne_out(each, by_key, overflows)]


def _borne_out(record: entry.Incident, by_key: dict[str, list[Stay]], overflows: list[int]) -> bool:
    """Whether the log saw it when the incident says that it was seen first. A look by hand (`reconcile once`) can be
    the first: the log has it by the next of its own."""
    if record.what in BOOKS:
        return True
    parts = _IDENTITY.fullmatch(record.incident)
    if parts is None:
        return False
    first_us = int(parts[1]) * US
    if record.what == What.OVERFLOW:
        return any(abs(time_us - first_us) <= LATE_US for time_us in overflows)
    return any(
        stay.sight.what == record.what and stay.first_us - LATE_US <= first_us <= stay.last_us + SECOND_US + LATE_US
        for stay in by_key.get(parts[2], ())
    )
