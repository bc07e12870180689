"""Orders that wait to be judged: no tasks, and judged whole before anything is done by them."""

from __future__ import annotations

import msgspec
import pytest

from mediation.core.authority import authorization, jws
from mediation.core.authority.lease import GRACE_NS
from mediation.core.case import TaskRequest
from mediation.core.check import Check
from mediation.core.interface import task_table, x1
from tests.core import authority as a
from tests.core.authority import NOW_NS, NOW_S
from tests.core.mutation import GOOD, with_commands
from tests.core.mutations import ROWS
from tests.core.test_lease import LONG, Log
from tests.core.test_x1 import MORE

XID = authorization.xid(GOOD.carrier)


class Function:
    """A function that can do without any task."""

    def __init__(self, *, can: bool = True) -> None:
        self.changes: list[task_table.Change] = []
        self.trust = a.trust()
        self.asked: list[bytes] = []
        self.table = task_table.TaskTable(self.trust, self.changes.append, may_wait=self._may_wait if can else None)

    def _may_wait(self, xid: bytes, request: TaskRequest) -> bool:
        self.asked.append(xid)
        return True

    def ask(self, request: x1.Request, now_ns: int = NOW_NS) -> str:
        answer = self.table.handle(x1.decode_request(x1.encode(request)[:-1]), now_ns)
        answer = x1.decode_answer(x1.encode(answer)[:-1])
        return answer.check if isinstance(answer, x1.Refused) else "waits" if answer.waits else "ok"

    def tell(self, request: TaskRequest = GOOD) -> str:
        return self.ask(x1.ActivateTask(request=request, may_wait=True))

    def judge(self, now_ns: int = NOW_NS) -> str:
        return self.ask(x1.JudgeTask(xid=XID.hex()), now_ns)


def test_what_waits_is_no_task() -> None:
    function = Function()
    assert function.tell() == "waits" and function.table.waiting == 1
    assert len(function.table) == 0 and function.table.get(XID) is None and not function.changes
    assert function.table.live(XID, NOW_NS) is None
    assert function.judge() == "ok" and function.table.waiting == 0
    assert function.table.live(XID, NOW_NS) is not None and len(function.changes) == 1
    assert function.judge() == "ok" and len(function.changes) == 1


def test_its_first_event_has_it_judged() -> None:
    function = Function()
    assert function.tell() == "waits"
    function.table.judge(bytes(16), NOW_NS)
    assert not function.changes
    function.table.judge(XID, NOW_NS)
    assert function.table.live(XID, NOW_NS) is not None and function.table.waiting == 0
    assert function.judge() == "ok" and len(function.changes) == 1


@pytest.mark.parametrize("by_event", [False, True])
@pytest.mark.parametrize("name", ROWS)
def test_each_mutation_is_refused_when_it_is_judged(name: str, by_event: bool) -> None:
    check, make = ROWS[name]
    request, trust, now_ns = make()
    changes: list[task_table.Change] = []
    table = task_table.TaskTable(trust, changes.append, may_wait=lambda xid, request: True)
    assert table.handle(x1.ActivateTask(request=request, may_wait=True), now_ns) == x1.Ok(waits=True)
    xid = authorization.xid(request.carrier)
    if by_event:
        table.judge(xid, now_ns)
        check = Check.TASK_UNKNOWN  # what it was is said when it is told again
    answer = table.handle(x1.JudgeTask(xid=xid.hex()), now_ns)
    assert isinstance(answer, x1.Refused) and answer.check == check
    assert not changes and len(table) == 0 and table.waiting == 0


def test_a_function_that_cannot_do_without_judges_at_once() -> None:
    function = Function(can=False)
    assert function.tell() == "ok" and len(function.table) == 1
    assert Function(can=False).tell(ROWS[next(iter(ROWS))][1]()[0]) not in ("ok", "waits")


def test_none_waits_beyond_the_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    function = Function()
    monkeypatch.setattr(task_table, "WAITING_OCTETS", 3_000)
    assert function.tell() == "waits"
    assert function.tell(MORE) == "ok" and function.asked == [XID]
    assert function.judge() == "ok"
    assert function.table._waiting_octets == 0


def test_a_long_proof_counts_as_well(monkeypatch: pytest.MonkeyPatch) -> None:
    """Else a peer could have much more kept than the bound says."""
    long = msgspec.structs.replace(GOOD.proofs[0], path=("00" * 32,) * 1_000)
    request = msgspec.structs.replace(GOOD, proofs=(long,))
    monkeypatch.setattr(task_table, "WAITING_OCTETS", 20_000)
    assert Function().tell() == "waits"
    assert Function().tell(request) not in ("waits", "ok")


def test_told_twice_it_waits_once() -> None:
    function = Function()
    assert [function.tell(), function.tell()] == ["waits", "waits"]
    held = function.table._waiting_octets
    assert function.table.waiting == 1 and function.judge() == "ok" and function.table._waiting_octets == 0 < held
    assert function.tell() == "ok"  # armed: nothing waits


@pytest.mark.parametrize("stop", [x1.DeactivateTask(xid=XID.hex()), x1.SuspendTask(xid=XID.hex(), sequence=2)])
def test_a_stop_reaches_what_waits(stop: x1.Request) -> None:
    function = Function()
    assert [function.tell(), function.ask(stop), function.judge()] == ["waits", "ok", Check.TASK_UNKNOWN]
    function.table.judge(XID, NOW_NS)
    refused = Check.DEACTIVATED if isinstance(stop, x1.DeactivateTask) else Check.SUSPENDED
    if refused is Check.SUSPENDED:
        assert [function.tell(), function.judge()] == ["waits", refused]
    assert function.ask(x1.ActivateTask(request=GOOD)) == refused
    assert not function.changes and len(function.table) == 0


def test_what_ends_while_it_waits_is_refused() -> None:
    late = Function()
    assert [late.tell(), late.judge(a.LEGAL.not_after_s * 10**9)] == ["waits", Check.EXPIRED]
    function = Function()
    assert function.tell() == "waits"
    function.table.believe(function.table.trust.with_revoked([jws.sha256_hex(GOOD.legal)]))
    assert function.judge() == Check.REVOKED
    keyless = Function()
    assert keyless.tell() == "waits"
    keyless.table.believe(a.trust(legal=()))
    assert keyless.judge() == Check.KEY_UNKNOWN


@pytest.mark.parametrize("noticed", ["by the clock", "by the head", "by an event", "by the administrator"])
def test_what_waits_when_the_lease_ends_is_told_again_after_a_newer_head(noticed: str) -> None:
    """No task was there to lapse: the answer to the head said nothing, and what waited was gone at its first event."""
    function, log = Function(), Log(LONG)
    xid = authorization.xid(LONG.carrier)
    assert function.ask(log.head(0, NOW_S)) == "ok"
    assert function.tell(LONG) == "waits" and function.table.next_end_ns() == NOW_NS + GRACE_NS
    over = NOW_NS + GRACE_NS
    if noticed == "by the clock":
        assert function.table.expire(over) == [] and function.table.waiting == 0
        assert function.table._waiting_octets == 0 and function.table.next_end_ns() is None
    elif noticed == "by an event":
        function.table.judge(xid, over)
    elif noticed == "by the administrator":
        assert function.ask(x1.JudgeTask(xid=xid.hex()), over) == Check.LEASE
    assert not function.changes
    later_s = NOW_S + 86_400 + 60
    answer = function.table.handle(log.head(2, later_s), later_s * 10**9)
    assert answer == x1.Ok(again=True) and function.table.waiting == 0 and function.table.lapses == 0
    assert function.ask(x1.ActivateTask(request=LONG, may_wait=True), later_s * 10**9) == "waits"
    assert function.ask(x1.JudgeTask(xid=xid.hex()), later_s * 10**9) == "ok" and len(function.changes) == 1


def test_none_waits_without_a_lease_that_was_there() -> None:
    """It is refused, and the administrator knows; after a newer head it is told again."""
    function, log = Function(), Log(LONG)
    late_ns = NOW_NS + GRACE_NS
    assert function.ask(log.head(0, NOW_S), late_ns) == "ok"  # the newest there is, too old
    assert function.ask(x1.ActivateTask(request=LONG, may_wait=True), late_ns) == Check.LEASE
    later_s = NOW_S + 86_400 + 60
    answer = function.table.handle(log.head(2, later_s), later_s * 10**9)
    assert answer == x1.Ok(again=True)
    assert function.table.handle(log.head(2, later_s + 1), (later_s + 1) * 10**9) == x1.Ok()


def test_more_of_the_officers_acts_take_its_place() -> None:
    function = Function()
    first = msgspec.structs.replace(MORE, commands=MORE.commands[:1], proofs=MORE.proofs[:1])
    xid = authorization.xid(MORE.carrier)
    assert function.tell(first) == "waits"
    assert function.ask(x1.ActivateTask(request=MORE)) == "ok" and function.table.waiting == 0
    task = function.table.get(xid)
    assert task is not None and task.dde
    again = Function()
    assert [again.tell(first), again.tell(MORE)] == ["waits", "waits"]
    again.table.judge(xid, NOW_NS)
    task = again.table.get(xid)
    assert task is not None and task.dde and task.sequence == 2


def test_only_what_will_be_judged_is_verified_ahead() -> None:
    waiting = x1.ActivateTask(request=GOOD, may_wait=True)
    assert Function(can=False).table.ahead([waiting]).worth_a_thread is False
    assert len(Function(can=False).table.ahead([waiting]).facts) == 3
    function = Function()
    assert not function.table.ahead([waiting]).facts
    assert not function.table.ahead([x1.JudgeTask(xid=XID.hex()), x1.JudgeTask(xid="no")]).facts
    assert function.tell() == "waits"
    assert len(function.table.ahead([x1.JudgeTask(xid=XID.hex()), x1.ReportStatus()]).facts) == 3
    assert len(function.table.ahead([x1.ModifyTask(request=with_commands({}))]).facts) == 3
