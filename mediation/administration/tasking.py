"""Keeps the tasks of each function as the orders want them: X1 from the administrator's side (core/interface/x1.py).

Answers for telling every function what to arm, change and stop, again after either side has restarted, and for the
ledger's second entry with what it answered. It gives nothing authority: each order was judged here before it was
entered and must still stand when it is sent, and is judged whole by the receiver before it is believed.

Order of things: the egress filter is opened before the mediator is armed, and the mediator is armed before the access
function, so that nothing arrives that has no taker. An order that was in force before a restart may wait in the
mediator, which judges it when its first event comes, and in any case after the access function has judged all. Stops
go to all at once and before everything that waits. Nothing is sent that the witnesses of the ledger have not seen, but
for what stops or narrows.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from pathlib import Path

import msgspec
import trio

from mediation.administration.disputes import Disputes
from mediation.administration.function import Function, Sent
from mediation.administration.order.orders import Orders
from mediation.administration.order.stored import Stored
from mediation.administration.persons import roster
from mediation.core.case import ENDED, State
from mediation.core.check import Check
from mediation.core.errors import AuthorizationError, LedgerError
from mediation.core.interface import x1
from mediation.core.ledger import entry
from mediation.core.records.alarm import Alarm
from mediation.core.units import NS
from mediation.runtime import log

OUTCOMES_AT_ONCE = 2_048  # answers under one checkpoint
OUTCOMES_KEPT = 8_192  # while orders are still to be told; half a second of entries. Ours
ADMITTED_KEPT = 2_048  # lines, 10 MB; what is on its way to one function and not yet to the other
EGRESS_LIMIT_S = 3.0  # then the mediator is armed all the same: its packets wait for the filter, not the other way
DONE, AWAY = "done", "away"

logger = log.get("administrator")


class Admitted(msgspec.Struct, frozen=True, kw_only=True):
    """A line for the functions. `wanted`: how many acts it shows, whether it is a new task, less digits, and whether
    it may wait."""

    wanted: tuple[int, bool, bool, bool]
    line: bytes


class Tasking:
    """The mediator and the access function, as the orders want them. `now_ns` is the authority clock."""

    def __init__(self, orders: Orders, run_dir: Path, now_ns: Callable[[], int]) -> None:
        self.orders = orders
        self.run_dir = run_dir
        self.now_ns = now_ns
        self.counters: Counter[str] = Counter()
        self.mediator = Function("mediator", self)
        self.iap = Function("iap", self)
        self.egress = Function("egress", self) if orders.site.filters_egress else None
        self.functions = (self.mediator, self.iap) if self.egress is None else (self.egress, self.mediator, self.iap)
        self.disputes = Disputes(orders.alarms, self._wanted)
        orders.alarms.standing = self.standing
        self._outcomes: list[entry.Outcome] = []
        self._admitted: dict[str, Admitted] = {}
        self._moved = trio.Event()
        orders.changed = self.changed
        orders.followed = self.follow
        orders.roster_changed = self.roster_changed
        orders.revoked = self.revoked
        orders.records.busy = lambda: any(each.busy(None) or not each.met.is_set() for each in self.functions)

    def admitted(self, order: Stored, *, new: bool, dde_off: bool, may_wait: bool) -> bytes:
        """The line that arms or changes an order's task, found good by this process; kept a while, since two functions
        are told the same.

        All its texts were judged in full before the ledger had them, and the ledger says so; what can have changed
        since is asked again: the window, and whether its signers and tokens still stand. Each function judges the whole
        of it for itself. Raises AuthorizationError.
        """
        wanted = self.orders.standing(order)[0], new, dde_off, may_wait
        kept = self._admitted.get(order.carrier_sha256)
        if kept is None or kept.wanted != wanted:
            now_s = self.now_ns() // NS
            if not order.not_before_s <= now_s < order.not_after_s:
                raise AuthorizationError(Check.EXPIRED if now_s >= order.not_after_s else Check.NOT_YET_VALID)
            roster.check_stands(order, self.orders.trust)
            try:
                request = self.orders.request(order)
            except LedgerError as error:  # a tile that was changed under this process
                raise AuthorizationError(Check.PROOF_INCLUSION, "no proof can be made of it") from error
            if new:
                line = x1.encode(x1.ActivateTask(request=request, dde_off=dde_off, may_wait=may_wait))
            else:
                line = x1.encode(x1.ModifyTask(request=request, dde_off=dde_off))
            self._admitted.pop(order.carrier_sha256, None)
            if len(self._admitted) >= ADMITTED_KEPT:
                del self._admitted[next(iter(self._admitted))]
            kept = self._admitted[order.carrier_sha256] = Admitted(wanted=wanted, line=line)
        return kept.line

    async def before(self, function: Function) -> None:
        """The mediator is told of orders when their destinations are open, or the egress function stays away."""
        if function is self.mediator and self.egress is not None:
            with trio.move_on_after(EGRESS_LIMIT_S):
                await self.egress.met.wait()
                while self.egress.busy(None):
                    await self._moved.wait()

    def silent(self, function: Function) -> None:
        """A function is connected and does not answer: it is away, whatever its connection says."""
        now_ns = self.now_ns()
        detail = f"{function.name} noticed {now_ns // NS}"
        self.orders.alarms.sound(Alarm.FUNCTION_SILENT, now_ns, detail=detail)

    def standing(self) -> dict[str, str]:
        """For `status`: which alarms of functions stand now, and of which."""
        silent = [function.name for function in self.functions if function.silence.standing]
        return self.disputes.standing() | ({Alarm.FUNCTION_SILENT.value: ", ".join(silent)} if silent else {})

    def follow(self) -> None:
        """There is a newly witnessed head."""
        for function in self.functions:
            function.follow()
        self.move()

    def changed(self, order: Stored) -> None:
        """An order wants something else than before. What narrows is told to all at once: one that stands still, or the
        witnesses, must not hold it up."""
        narrows = order.state in ENDED or order.state is State.SUSPENDED or self.orders.standing(order)[1]
        if self.egress is not None:
            self.egress.want(order)
        if self.egress is None or narrows or not self.egress.connected:
            self.mediator.want(order)
        if narrows or not self.mediator.connected:
            self.iap.want(order)

    def roster_changed(self) -> None:
        """Persons, roles or keys are others than before."""
        self._admitted.clear()
        for function in self.functions:
            function.tell_roster()

    def revoked(self, text: str) -> None:
        """A token was withdrawn: told as the signed text, so that it is remembered where it is not armed."""
        for function in self.functions:
            function.tell_revocation(text)

    def told(self, function: Function, act: str, answer: x1.Answer) -> None:
        """What a function said to a roster, its proofs or a revocation."""
        if isinstance(answer, x1.Refused):
            self.counters["x1_refusals"] += 1
            logger.error(f"{act}_refused", peer=function.name, check=answer.check)
            if act != "revocation":  # nothing that needs it is armed there, and it does not mend itself
                function.shown.refused = True
                detail = f"{function.name} {answer.check} roster of {len(self.orders.trust.roster.lines)}"
                self.orders.alarms.sound(Alarm.FUNCTION_REFUSED, self.now_ns(), detail=detail)

    def answered(self, function: Function, order: Stored) -> None:
        """The mediator has taken a task, or is gone: now the access function."""
        if function is self.egress:
            self.mediator.want(order)
        elif function is self.mediator:
            self.iap.want(order)

    def outcome(self, function: Function, sent: Sent, check: str) -> None:
        """Keeps what a function answered for the ledger; the caller moves on when it has taken all that came."""
        assert sent.order is not None
        order = sent.order
        function.answers[order.carrier_sha256] = check or DONE
        if check:
            self.counters["x1_refusals"] += 1
            logger.error("task_refused", case=order.case, peer=function.name, check=check)
        elif sent.act not in ("disarmed", "suspended") and not sent.waited:
            self.answered(function, order)
        self._outcomes.append(
            entry.Outcome(
                time_us=self.now_ns() // 1000, case=order.case, xid=order.xid, function=function.name, act=sent.act,
                sequence=sent.sequence, refused=check,
            )
        )  # fmt: skip

    def move(self) -> None:
        """Something was answered: enters it when nothing more is under way or enough has gathered, which is more while
        functions wait to be told of orders; wakes who waits."""
        gathered = len(self._outcomes)
        if gathered and not any(function.busy(None) for function in self.functions):
            self.flush()
        elif gathered >= OUTCOMES_AT_ONCE and (gathered >= OUTCOMES_KEPT or not self._in_hand()):
            self._enter()
        self._moved.set()
        self._moved = trio.Event()
        for function in self.functions:
            function.go_on()

    def behind(self, function: Function) -> bool:
        """Whether another function has orders before it: what waits elsewhere is judged after them."""
        return any(each.arming for each in self.functions if each is not function)

    def flush(self) -> None:
        """Enters the outcomes gathered so far."""
        while self._outcomes:
            self._enter()

    def _enter(self) -> None:
        outcomes, self._outcomes = self._outcomes[:OUTCOMES_AT_ONCE], self._outcomes[OUTCOMES_AT_ONCE:]
        self.orders.outcomes(outcomes)
        self.disputes.announce(self.now_ns())

    async def settled(self, carriers: Iterable[str] | None, limit_s: float) -> None:
        """Until the connected functions have answered for these orders (None: for all), or the limit has passed."""
        waiting: set[str | None] = {None} if carriers is None else set(carriers)
        with trio.move_on_after(limit_s):
            while True:
                waiting = {c for c in waiting if self._busy(c)}
                if not waiting:
                    return
                await self._moved.wait()

    async def in_force(self, limit_s: float) -> None:
        """Until the connected functions have taken all orders, or the limit has passed: the access function has armed
        them, and their events are delivered. The mediator may have some to judge, each when its first event comes."""
        with trio.move_on_after(limit_s):
            while self._in_hand():
                await self._moved.wait()

    def _in_hand(self) -> bool:
        unwitnessed = self.orders.any_waiting and not self.orders.heads.lost
        return unwitnessed or any(each.arming for each in self.functions)

    def _busy(self, carrier_sha256: str | None) -> bool:
        if any(function.busy(carrier_sha256) for function in self.functions):
            return True
        if self.orders.heads.lost:
            return False  # nobody can say how long that takes
        if carrier_sha256 is None:
            return self.orders.any_waiting
        order = self.orders.get(carrier_sha256)
        return order is not None and self.orders.waiting(order)

    def _wanted(self, carrier_sha256: str) -> bool:
        order = self.orders.get(carrier_sha256)
        return order is not None and self.orders.wanted(order)

    async def moved(self) -> None:
        """Until a function has answered something, or was told to."""
        await self._moved.wait()

    def answers(self, order: Stored) -> dict[str, str]:
        """What each function last answered for an order."""
        if self.orders.waiting(order):
            return dict.fromkeys((function.name for function in self.functions), Check.WITNESSES_AWAY.value)
        return {
            function.name: function.answers.get(order.carrier_sha256, "") if function.connected else AWAY
            for function in self.functions
        }
