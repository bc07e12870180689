"""The table of tasks that a function holds, and what a request of X1 (core/interface/x1.py) does to it.

Whoever sent a request, `authorization.admit` is asked here, by the function itself: a compromised administrator can
stop interceptions and start none. Sans-I/O.

Stopping and suspending need no signature and never fail. A task that was stopped can never be armed again here; one
that was suspended goes on only with a later act of an officer's. When the lease on the ledger's heads ends
(core/authority/lease.py), all tasks stop, what waits to be judged too, and may be armed again after a newer head, as
may what was refused for want of one: the answer to that head says `again`.

An order that was in force before a restart may wait (`may_wait`): it is kept as it came, no task, and judged when the
first event asks for it (`judge`) or the administrator does, whichever is first. Until then nothing is done by it; an
order that is not good is refused at that moment as it would have been before.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from typing import Any

import msgspec

from mediation.core.authority import authorization, proof, standing
from mediation.core.authority.ahead import Ahead, extending, texts
from mediation.core.authority.lease import GRACE_NS, Lease
from mediation.core.authority.trust import Trust
from mediation.core.case import Task, TaskRequest
from mediation.core.check import Check
from mediation.core.errors import AuthorizationError
from mediation.core.interface.x1 import (
    ActivateTask,
    Answer,
    DeactivateTask,
    Head,
    JudgeTask,
    ModifyTask,
    Ok,
    Ping,
    ProveRoster,
    Refused,
    ReportStatus,
    Request,
    RevokeToken,
    Roster,
    SuspendTask,
)
from mediation.core.units import NS

XID_HEX_DIGITS = 32
WAITING_OCTETS = 256 << 20  # of orders that wait to be judged; 10,000 of them are 60 MB. Ours


class Change(msgspec.Struct, frozen=True, kw_only=True):
    """What a request did to the table: the task before and after; None where there was or is none. `lapsed`: it ended
    with the lease, and may come back. `revoked`: a token, a key or a role that it stood by was withdrawn. What is
    suspended stands in the table and is not live: `suspended` says so on either side."""

    before: Task | None
    after: Task | None
    lapsed: bool = False
    revoked: bool = False


class TaskTable:
    """The live tasks of one function.

    `changed` is called with each Change before the answer is made; what it raises as AuthorizationError refuses the
    request and leaves the table as it was (a stop cannot be refused: there it must not raise). `kept` says what of a
    judged task stays in memory: a function that needs no case identity can forget it. `suspended` is called with each
    suspension that the function must remember over its restarts: the XID, and the number of the act. `may_wait` says
    whether this function can do without an order's task until something asks for it; None: it never can.
    """

    MAX_STOPPED = 1_000_000  # XIDs remembered as stopped, 100 octets each; once full, nothing is armed any more (ours)

    def __init__(
        self, trust: Trust, changed: Callable[[Change], None], *, kept: Callable[[Task], Task] = lambda task: task,
        grace_ns: int = GRACE_NS, suspended: Callable[[bytes, int], None] = lambda xid, sequence: None,
        may_wait: Callable[[bytes, TaskRequest], bool] | None = None,
    ) -> None:  # fmt: skip
        self._trust = trust
        self._arming = trust.arming()  # without changes of the roster that are not proven, and may only end something
        self._changed = changed
        self._kept = kept
        self._suspended = suspended
        self._held: dict[bytes, int] = {}  # the act that suspended an XID last: only a later one lets it go on
        self._tasks: dict[bytes, Task] = {}
        self._may_wait = may_wait
        self._waiting: dict[bytes, ActivateTask] = {}  # orders that were not judged yet: no tasks
        self._waiting_octets = 0
        self._ends: list[tuple[int, bytes]] = []  # a heap of ends; those of tasks that are gone or moved stay until due
        self._stopped: set[bytes] = set()
        self.lease = Lease(grace_ns)
        self.lapses = 0  # tasks that ended with the lease
        self._lapsed = False
        self.fallen = 0  # tasks that ended because a signer's role, key or token did

    def __len__(self) -> int:
        return len(self._tasks)

    def __iter__(self) -> Iterator[Task]:
        return iter(list(self._tasks.values()))

    @property
    def waiting(self) -> int:
        """How many orders wait to be judged."""
        return len(self._waiting)

    def get(self, xid: bytes) -> Task | None:
        return self._tasks.get(xid)

    def live(self, xid: bytes, now_ns: int) -> Task | None:
        """The task, if its window is open at `now_ns` and it is not suspended: the question to ask for each event."""
        task = self._tasks.get(xid)
        if task is None or task.suspended or now_ns >= self.lease.ends_ns:
            return None
        return task if task.not_before_ns <= now_ns < task.not_after_ns else None

    def ahead(self, requests: Iterable[Request]) -> Ahead:
        """What can be done for requests that are handled later: `learn` it right before they are."""
        judged = (request for each in requests if (request := self._to_judge(each)) is not None)
        return Ahead((text for each in judged for text in (*texts(each), *extending(each))), self._trust)

    def _to_judge(self, request: Request) -> TaskRequest | None:
        """What a request will have judged, as it looks now; nothing where it will most likely wait."""
        match request:
            case ActivateTask(may_wait=True) if self._may_wait is not None:
                return None
            case ActivateTask() | ModifyTask():
                return request.request
            case JudgeTask():
                with suppress(AuthorizationError):
                    waiting = self._waiting.get(_xid(request.xid))
                    return waiting.request if waiting is not None else None
        return None

    def learn(self, ahead: Ahead) -> None:
        self._trust.learn(ahead)

    def forget_ahead(self) -> None:
        """The requests that something was done ahead for were handled."""
        self._trust.forget_parts()

    def handle(self, request: Request, now_ns: int, report: Callable[[], dict[str, Any]] = dict) -> Answer:
        """Carries `request` out, or refuses it by the name of a check. Never raises for what a peer sent."""
        try:
            match request:
                case ActivateTask(may_wait=True):
                    return Ok(id=request.id, waits=self._keep_waiting(request, now_ns))
                case ActivateTask() | ModifyTask():
                    self._arm(request, now_ns, new=isinstance(request, ActivateTask))
                case JudgeTask():
                    self._judge(_xid(request.xid), now_ns)
                case Head():
                    return self._follow(request, now_ns)
                case DeactivateTask():
                    self.stop(_xid(request.xid))
                case Roster():  # whom it ends, it ends; what it begins needs a proof
                    self.believe(self._trust.continued(request.lines, now_ns // NS))
                case ProveRoster():
                    self._prove(request, now_ns)
                case RevokeToken():
                    tokens = standing.revoked_tokens(request.revocation, self._trust)
                    self.believe(self._trust.with_revoked(tokens))
                case SuspendTask():
                    self.suspend(_xid(request.xid), request.sequence)
                case Ping():
                    pass
                case ReportStatus():
                    return Ok(id=request.id, report=report())
        except AuthorizationError as error:
            return Refused(id=request.id, check=error.check, detail=error.detail)
        return Ok(id=request.id)

    def _prove(self, request: ProveRoster, now_ns: int) -> None:
        """What the changes of the roster begin, they begin one after the other, as far as they are proven."""
        trust = self._trust
        try:
            for number, shown in enumerate(request.proofs, request.first):
                if number < trust.believed:
                    continue
                if number > trust.believed:
                    raise AuthorizationError(Check.ROSTER, f"change {trust.believed}: comes first")
                longer = proof.change(shown, trust)
                self.lease.proven(shown.checkpoint, trust, now_ns)
                trust = longer
        finally:
            if trust is not self._trust:
                self._trust, self._arming = trust, trust.arming()

    def _follow(self, request: Head, now_ns: int) -> Ok:
        self._lapse(now_ns)
        self.lease.follow(request.checkpoint, request.first, request.path, self._trust, now_ns)
        again = self._lapsed and self.lease.valid(now_ns)
        self._lapsed = self._lapsed and not again
        return Ok(id=request.id, again=again)

    def _lapse(self, now_ns: int) -> None:
        """Ends all tasks, and what waits to be one, not for good, when the lease has ended."""
        if self.lease.valid(now_ns) or not (self._tasks or (self._waiting and self.lease.ends_ns)):
            return
        self._lapsed = True
        self._waiting.clear()
        self._waiting_octets = 0
        tasks, self._tasks = self._tasks, {}
        self.lapses += len(tasks)
        for task in tasks.values():
            self._changed(Change(before=task, after=None, lapsed=True))

    def _keep_waiting(self, request: ActivateTask, now_ns: int) -> bool:
        """Keeps an order that can wait; judges any other. Whether it waits."""
        xid = authorization.xid(request.request.carrier)
        self._forget(xid)
        octets = _octets(request.request)
        room = self._waiting_octets + octets <= WAITING_OCTETS and xid not in self._stopped
        room = room and (self.lease.valid(now_ns) or not self.lease.ends_ns)  # else it is refused, and told so
        if self._may_wait is None or xid in self._tasks or not room or not self._may_wait(xid, request.request):
            self._arm(request, now_ns, new=True)
            return False
        self._waiting[xid] = request
        self._waiting_octets += octets
        return True

    def _forget(self, xid: bytes) -> ActivateTask | None:
        """An order that waits does so no more."""
        request = self._waiting.pop(xid, None)
        if request is not None:
            self._waiting_octets -= _octets(request.request)
        return request

    def judge(self, xid: bytes, now_ns: int) -> None:
        """Something of this order came: if it waited, it is judged now. One that is refused is no task; when the
        administrator asks for it, it is told again, and the answer says why."""
        if (request := self._forget(xid)) is not None:
            with suppress(AuthorizationError):
                self._arm(request, now_ns, new=True)

    def _judge(self, xid: bytes, now_ns: int) -> None:
        if (request := self._forget(xid)) is not None:
            self._arm(request, now_ns, new=True)
        elif xid not in self._tasks:
            raise AuthorizationError(Check.TASK_UNKNOWN)

    def _arm(self, asked: ActivateTask | ModifyTask, now_ns: int, *, new: bool) -> None:
        request = asked.request
        task = authorization.admit(request, self._trust, now_ns)
        self._forget(task.xid)
        if self._arming is not self._trust:
            authorization.admit(request, self._arming, now_ns)
        before = self._tasks.get(task.xid)
        if task.xid in self._stopped or len(self._stopped) >= self.MAX_STOPPED:
            raise AuthorizationError(Check.DEACTIVATED)
        if before is None and not new:
            raise AuthorizationError(Check.TASK_UNKNOWN)
        if before is not None and task.sequence < before.sequence:
            raise AuthorizationError(Check.SUPERSEDED)
        held = self._held.get(task.xid, -1)
        if task.sequence < held or (task.sequence == held and not task.suspended):
            raise AuthorizationError(Check.SUSPENDED)
        for text in dict.fromkeys(shown.checkpoint for shown in request.proofs):
            self.lease.proven(text, self._trust, now_ns)
        if not self.lease.valid(now_ns):
            self._lapsed = True  # as those that ended with it: told again after a newer head
            raise AuthorizationError(Check.LEASE)
        if asked.dde_off:
            task = msgspec.structs.replace(task, dde=False)
        self._changed(Change(before=before, after=task))
        self._tasks[task.xid] = self._kept(task)
        if before is None or before.not_after_ns != task.not_after_ns:
            heapq.heappush(self._ends, (task.not_after_ns, task.xid))
        if task.suspended:
            self.hold(task.xid, task.sequence)

    def suspend(self, xid: bytes, sequence: int) -> None:
        """Suspends a task at once: kept, and nothing of it lives until an act later than `sequence`, and later than
        all that were seen here, resumes it. An XID that is not armed here is remembered all the same."""
        before = self._tasks.get(xid)
        self._forget(xid)
        if before is not None and not before.suspended:
            after = msgspec.structs.replace(before, suspended=True)
            self._changed(Change(before=before, after=after))
            self._tasks[xid] = after
            sequence = max(sequence, before.sequence + 1)
        self.hold(xid, sequence)

    def hold(self, xid: bytes, sequence: int) -> None:
        """Remembers a suspension, as after a restart of the function."""
        if self._held.get(xid, -1) >= sequence:
            return
        if xid not in self._held and len(self._held) >= self.MAX_STOPPED:
            self.stop(xid)  # no room to remember it by: ended rather than resumed by nobody
            return
        self._held[xid] = sequence
        self._suspended(xid, sequence)

    @property
    def trust(self) -> Trust:
        """Whom this function believes now."""
        return self._trust

    def believe(self, trust: Trust) -> None:
        """Judges all tasks anew by `trust`; those that it does not carry end for good."""
        self._trust, self._arming = trust, trust.arming()
        for task in list(self._tasks.values()):
            try:
                standing.check(task.standing, trust)
            except AuthorizationError:
                self.fallen += 1
                self.stop(task.xid, revoked=True)

    def stop(self, xid: bytes, *, revoked: bool = False) -> None:
        """Ends a task for good; an XID that was never armed here is remembered all the same."""
        before = self._tasks.pop(xid, None)
        self._forget(xid)
        if len(self._stopped) < self.MAX_STOPPED:
            self._stopped.add(xid)
        if before is not None:
            self._changed(Change(before=before, after=None, revoked=revoked))

    def expire(self, now_ns: int) -> list[Task]:
        """Ends and returns the tasks whose window is over at `now_ns`; ends all when the lease is, not for good."""
        over: list[Task] = []
        while self._ends and self._ends[0][0] <= now_ns:
            task = self._tasks.get(heapq.heappop(self._ends)[1])
            if task is not None and now_ns >= task.not_after_ns:
                over.append(task)
                self.stop(task.xid)
        self._lapse(now_ns)
        return over

    def next_end_ns(self) -> int | None:
        """The nearest end of a window or of the lease, to wait for."""
        while self._ends and self._gone(*self._ends[0]):
            heapq.heappop(self._ends)
        if self._tasks:
            return min(self.lease.ends_ns, self._ends[0][0])
        return self.lease.ends_ns or None if self._waiting else None

    def _gone(self, end_ns: int, xid: bytes) -> bool:
        """Whether a moment of the heap is no task's end any more."""
        task = self._tasks.get(xid)
        return task is None or task.not_after_ns != end_ns


def _octets(request: TaskRequest) -> int:
    """How much an order that waits takes: the sum of its texts, its proofs' too."""
    proofs = [*request.proofs, *(each.proof for each in request.extensions)]
    if request.call_back_proof is not None:
        proofs.append(request.call_back_proof)
    pairs = sum(len(each.legal) + len(each.carrier) for each in request.extensions)
    acts = sum(map(len, request.commands)) + len(request.call_back)
    proven = sum(len(each.record) + len(each.checkpoint) + sum(map(len, each.path)) for each in proofs)
    return len(request.legal) + len(request.carrier) + pairs + acts + proven


def _xid(text: str) -> bytes:
    if len(text) != XID_HEX_DIGITS or not text.isalnum():  # `fromhex` passes blanks over
        raise AuthorizationError(Check.STRUCTURE, "xid")
    try:
        return bytes.fromhex(text)
    except ValueError:
        raise AuthorizationError(Check.STRUCTURE, "xid") from None
