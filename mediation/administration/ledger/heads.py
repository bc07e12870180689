"""The ledger's heads and its witnesses: what is shown to them, when, and what may not go on without them.

On a fixed tick the ledger makes a head that may leave the site, the witnesses are asked, and what comes back with a
quorum is the `witnessed` head: under it alone are acts proven to the functions. While the witnesses are away the same
head is shown again: nothing grows, activations, extensions and changes wait in the ledger, running cases go on until
the functions' own lease ends (core/authority/lease.py), and stops never wait. On a lab site the
witness lives in this process: each append is witnessed at once, and there is no tick but to renew the lease.

Answers for the rhythm, for the alarm of each outage, and for saying loudly what a witness remembers that this ledger
does not contain. It decides nothing about orders. Times: `now_ns`, UTC nanoseconds by the authority clock.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import trio

from mediation.administration.ledger import bundles, tiles, verify
from mediation.administration.ledger.asking import LOUD, Outcome, Told
from mediation.administration.ledger.lab_witness import LabWitness
from mediation.administration.ledger.ledger import Ledger, Witnessed
from mediation.administration.ledger.witnesses import Cosigned, Witnesses, compare, doubts
from mediation.core.authority.trust import Trust
from mediation.core.errors import AuthorizationError, LedgerError
from mediation.core.ledger import entry, note
from mediation.core.ledger.policy import Policy
from mediation.core.records.alarm import Alarm
from mediation.core.units import NS
from mediation.runtime import log
from mediation.runtime.config import Site

AUTHORITIES = "witness-ca.pem"  # who issues the certificates of witnesses with TLS; without the file, the system's
LEASE_WARN = 4  # the last 1/n of the grace is alarmed: six hours of a day's (ours)
CONFLICT_AGAIN_NS = 3_600 * NS  # a witness that agrees and disagrees by turns is told of so often at most (ours)
LOST_AFTER = 3  # ticks without a quorum in a row before it is entered: one slow answer is no outage (ours)
RENEW_S = 3_600  # how often a lab's witness renews the lease of an idle site
OLD_PADDING_S = 3_600  # all of what the opening deferred is looked at within this time
BUNDLES_AT_ONCE = 16  # of them, in one turn of a worker thread

logger = log.get("administrator")


def open_witnesses(site: Site, policy: Policy | None, ledger: note.Verifier) -> Witnesses | None:
    """Whom to ask; None on a site that named nobody. Raises ConfigurationError."""
    if policy is None:
        return None
    authorities: Path | None = site.keys_dir / AUTHORITIES
    lab = LabWitness(site.lab_dir, ledger) if policy.lab else None
    return Witnesses(policy, ledger, lab=lab, authorities=authorities if authorities and authorities.exists() else None)


def refuse_other(told: tuple[Told, ...], ledger: Ledger) -> None:
    """That every witness's latest head is contained in `ledger`. Raises LedgerError in plain words."""
    for each in compare(told, ledger.size, ledger.tree.root):
        what = each.detail if each.outcome is Outcome.AHEAD else f"entry 0: {each.detail}"
        raise LedgerError(f"{what} (witness {each.witness})")


class Heads:
    """Of one site. `witnessed` is called after each newly witnessed head; `enter` makes an entry about the outage."""

    def __init__(self, site: Site, ledger: Ledger, trust: Trust, witnesses: Witnesses | None) -> None:
        self.ledger = ledger
        self.lost = False  # no quorum for LOST_AFTER ticks
        self.counters: Counter[str] = Counter()
        self.witnessed: Callable[[int], None] = lambda _: None
        self.enter: Callable[[entry.Record], None] = lambda _: None
        self.sound: Callable[[Alarm, int, str], object] = lambda *_: None  # an alarm, now_ns, what makes it another one
        self._settings = site.ledger
        self._trust = trust
        self._witnesses = witnesses
        self._failures = 0
        self._told: tuple[Told, ...] = ()
        self._conflicts: dict[tuple[str, Outcome], int] = {}  # when each witness's disagreement was last an alarm
        self._disagreeing: set[tuple[str, Outcome]] = set()
        self._away = False  # lost, and for want of a quorum
        self._covering: tuple[Witnessed | None, int] = None, 0
        self._text = ""  # the published head that waits for its quorum

    @property
    def at_once(self) -> bool:
        """Whether the lab's own witness makes a quorum by itself: then nothing waits, and nothing is padded."""
        policy = self._trust.policy
        return policy is not None and policy.time({w.name: 1 for w in policy.witnesses if w.lab}) is not None

    @property
    def cosigned_s(self) -> int:
        """When the witnessed head was cosigned; 0 before the first."""
        if not self.ledger.witnessed.text:
            return 0
        try:
            return self._trust.cosigned_s(self.ledger.witnessed.text)
        except AuthorizationError:
            return 0  # the policy changed since: it counts for nobody now

    @property
    def covered(self) -> int:
        """How many entries stand below a head that the present quorum cosigned."""
        witnessed = self.ledger.witnessed
        if self._covering[0] is not witnessed:  # asked for each act of each order, and judged once
            self._covering = witnessed, witnessed.size if self.cosigned_s > 0 else 0
        return self._covering[1]

    def show_at_once(self, now_ns: int) -> bool:
        """On a lab site: has all that was appended witnessed, without waiting. Whether it was."""
        if self._witnesses is None or not self.at_once:
            return False
        text = self.ledger.publish(0, now_ns // 1000)
        found = self._witnesses.cosign_at_once(text, self.ledger.consistency, now_s=now_ns // NS)
        return self._judge(found, now_ns)

    async def show(self, now_ns: int) -> bool:
        """One tick: publishes, asks, keeps. Whether a quorum cosigned."""
        if self._witnesses is None:
            self._failed(now_ns)
            return False
        if self.at_once:
            return self.show_at_once(now_ns)
        # What was shown and not cosigned is shown again: between two heads that leave the site the growth is fixed.
        if not self._text:
            self._text = self.ledger.publish(self._settings.batch, now_ns // 1000)
        found = await self._witnesses.cosign(self._text, self.ledger.consistency, now_s=now_ns // NS)
        return self._judge(found, now_ns)

    def _judge(self, found: Cosigned, now_ns: int) -> bool:
        self._told = found.told
        self._say_conflicts(found.told, now_ns)
        if not found.judgement.quorum or found.loud:
            self._failed(now_ns, away=not found.judgement.quorum)
            return False
        self._text = ""
        self._failures = 0
        self._away = False
        self.ledger.accept_cosigned(found.note, now_ns // 1000)
        self.witnessed(now_ns)
        if self.lost:
            self.lost = False
            logger.warning("witnesses_found", size=self.ledger.witnessed.size)
            self.enter(entry.WitnessesFound(time_us=now_ns // 1000, size=self.ledger.witnessed.size))
        return True

    def _say_conflicts(self, told: tuple[Told, ...], now_ns: int) -> None:
        """A witness that has seen another history than this ledger is an alarm at once, and whatever the others say:
        when it begins, until that witness cosigns again."""
        for each in told:
            if each.outcome is Outcome.COSIGNED:
                self._disagreeing = {what for what in self._disagreeing if what[0] != each.witness}
            if each.outcome not in LOUD:
                continue
            self.counters["witness_alarms"] += 1
            what = (each.witness, each.outcome)
            if what in self._disagreeing:
                continue
            self._disagreeing.add(what)
            if now_ns - self._conflicts.get(what, -CONFLICT_AGAIN_NS) < CONFLICT_AGAIN_NS:
                continue
            self._conflicts[what] = now_ns
            ahead = each.outcome is Outcome.AHEAD
            logger.error("alarm_ledger_replaced" if ahead else "alarm_witnesses_conflict", witness=each.witness,
                         what=each.outcome, detail=each.detail)  # fmt: skip
            alarm = Alarm.LEDGER_REPLACED if ahead else Alarm.WITNESSES_CONFLICT
            self.sound(alarm, now_ns, f"{each.witness[:64]} since {now_ns // NS}")

    def _failed(self, now_ns: int, *, away: bool = True) -> None:
        self._failures += 1
        self.counters["heads_without_quorum"] += 1
        if self._failures < LOST_AFTER:
            return
        since_s, grace_ns = self.cosigned_s, self._settings.grace_ns
        ends_ns = since_s * NS + grace_ns
        if not self.lost:
            self.lost = True
            logger.error("alarm_witnesses_lost", size=self.ledger.witnessed.size, grace_ends_us=ends_ns // 1000)
            self.enter(
                entry.WitnessesLost(
                    time_us=now_ns // 1000, size=self.ledger.witnessed.size, grace_ends_us=ends_ns // 1000
                )
            )  # fmt: skip
        self._away = away
        if away:  # of one outage once, over restarts too: the last cosigned head is what it is known by
            self.sound(Alarm.WITNESSES_AWAY, now_ns, f"since {since_s} at {self.ledger.witnessed.size} entries")
        if since_s and now_ns >= ends_ns - grace_ns // LEASE_WARN:
            self.sound(Alarm.LEASE_ENDING, now_ns, f"end {ends_ns // NS}")

    async def run(self, now_ns: Callable[[], int]) -> None:
        """For ever: the tick. It is kept to its times, so that nothing is told by when a head appears."""
        tick_s = self._settings.tick_ms / 1000
        due = trio.current_time()
        while True:
            try:
                done = await self.show(now_ns())
            except LedgerError as error:
                self.counters["heads_not_written"] += 1
                logger.error("alarm_head_not_written", error=str(error))  # noqa: TRY400
                done = False
            pause_s = min(RENEW_S, self._settings.grace_ns / NS / 4) if self.at_once and done else tick_s
            due = max(due + pause_s, trio.current_time())
            await trio.sleep_until(due)

    async def look_at_old_padding(self, now_ns: Callable[[], int]) -> None:
        """Looks once at the padding that the opening deferred; done within OLD_PADDING_S."""
        files, deferred = self.ledger.files, self.ledger.deferred
        turns = [deferred[at : at + BUNDLES_AT_ONCE] for at in range(0, len(deferred), BUNDLES_AT_ONCE)]
        began = trio.current_time()
        for number, turn in enumerate(turns, 1):
            problem = await trio.to_thread.run_sync(self._first_problem, files, turn)
            if problem is not None:
                self.counters["ledger_problems"] += 1
                logger.error("alarm_ledger_edited", entry=problem.index, what=problem.what)
                what = f"entry {problem.index}"
                self.enter(entry.Alarm(time_us=now_ns() // 1000, alarm=Alarm.LEDGER_EDITED.value, detail=what))
            await trio.sleep_until(began + OLD_PADDING_S * number / (2 * len(turns)))

    def _first_problem(self, files: tiles.Folder, turn: tuple[int, ...]) -> bundles.Problem | None:
        for n in turn:
            try:
                problem = bundles.padding_problem(files, self.ledger.tree, n)
            except LedgerError as error:
                problem = bundles.Problem(index=n * tiles.WIDTH, what=str(error))
            if problem is not None:
                return problem
        return None

    def standing(self) -> dict[str, str]:
        """The alarms whose condition stands now, for `status`: which witnesses, and since when."""
        found = {Alarm.WITNESSES_AWAY.value: f"no quorum since {self.cosigned_s}"} if self._away else {}
        for name, outcome in ((Alarm.LEDGER_REPLACED, Outcome.AHEAD), (Alarm.WITNESSES_CONFLICT, Outcome.FORKED)):
            if witnesses := sorted(witness for witness, what in self._disagreeing if what is outcome):
                found[name.value] = ", ".join(witnesses)
        return found

    def report(self) -> dict[str, Any]:
        """For `status`: what is witnessed by whom since when, and why one should doubt it."""
        policy = self._trust.policy
        return {
            "witness": verify.sentence(self.ledger.witnessed.text, policy),
            "witnessed_size": self.ledger.witnessed.size,
            "published_size": self.ledger.published,
            "cosigned_s": self.cosigned_s,
            "witnesses_lost": self.lost,
            "witnesses": {told.witness: str(told.outcome) for told in self._told},
            "doubts": list(doubts(policy)) if policy is not None else ["this site has no witness.policy"],
        }


def open_heads(site: Site, ledger: Ledger, trust: Trust, told: tuple[Told, ...], now_s: int) -> Heads:
    """The heads of a site, after its witnesses were compared with the ledger; `told` is what each remembers of it.

    Raises ConfigurationError or LedgerError.
    """
    witnesses = open_witnesses(site, trust.policy, ledger.verifier)
    if witnesses is not None:
        told += witnesses.states_at_once(now_s=now_s)
    refuse_other(told, ledger)
    return Heads(site, ledger, trust, witnesses)
