"""The task table of a function: it admits for itself, it never arms again what was stopped."""

from __future__ import annotations

import msgspec
import pytest

from mediation.core.authority import authorization
from mediation.core.case import Act, TaskRequest
from mediation.core.check import Check
from mediation.core.errors import AuthorizationError, RemoteProtocolError
from mediation.core.interface import task_table, x1
from tests.core import authority as a
from tests.core.authority import LEGAL, NOW_NS
from tests.core.mutation import GOOD, with_commands
from tests.core.mutations import ROWS

XID = authorization.xid(GOOD.carrier)
MORE = with_commands({}, {"act": Act.DDE, "sequence": 2, "dde": True})


class Function:
    """A function that only remembers what it was told."""

    def __init__(self) -> None:
        self.changes: list[task_table.Change] = []
        self.held: list[tuple[bytes, int]] = []
        self.table = task_table.TaskTable(
            a.trust(), self.changes.append, suspended=lambda *held: self.held.append(held)
        )

    def ask(self, request: x1.Request, now_ns: int = NOW_NS) -> str:
        answer = self.table.handle(
            x1.decode_request(x1.encode(request)[:-1]), now_ns, lambda: {"tasks": len(self.table)}
        )
        answer = x1.decode_answer(x1.encode(answer)[:-1])
        assert answer.id == request.id
        return answer.check if isinstance(answer, x1.Refused) else "ok"


def test_arms_changes_and_stops() -> None:
    function = Function()
    assert function.ask(x1.ActivateTask(id=7, request=MORE.__class__(
        legal=MORE.legal, carrier=MORE.carrier, commands=MORE.commands[:1], proofs=MORE.proofs[:1]
    ))) == "ok"  # fmt: skip
    xid = authorization.xid(MORE.carrier)
    task = function.table.get(xid)
    assert task is not None and not task.dde
    assert function.ask(x1.ModifyTask(id=8, request=MORE)) == "ok"
    changed = function.table.get(xid)
    assert changed is not None and changed.dde
    assert function.changes[-1].before is task and function.changes[-1].after is changed
    assert function.ask(x1.DeactivateTask(id=9, xid=xid.hex())) == "ok"
    assert function.changes[-1].after is None
    assert len(function.table) == 0 and list(function.table) == []


def test_what_was_stopped_is_never_armed_again() -> None:
    function = Function()
    assert function.ask(x1.ActivateTask(request=GOOD)) == "ok"
    assert function.ask(x1.DeactivateTask(xid=XID.hex())) == "ok"
    for request in (x1.ActivateTask(request=GOOD), x1.ModifyTask(request=GOOD)):
        assert function.ask(request) == Check.DEACTIVATED
    assert function.ask(x1.DeactivateTask(xid=XID.hex())) == "ok"  # stopping never fails
    unknown = Function()
    assert unknown.ask(x1.DeactivateTask(xid=XID.hex())) == "ok"
    assert unknown.ask(x1.ActivateTask(request=GOOD)) == Check.DEACTIVATED
    assert len(unknown.changes) == 0


def test_an_older_state_of_the_same_order_is_refused() -> None:
    function = Function()
    assert function.ask(x1.ActivateTask(request=MORE)) == "ok"
    first = msgspec.structs.replace(MORE, commands=MORE.commands[:1], proofs=MORE.proofs[:1])
    assert function.ask(x1.ModifyTask(request=first)) == Check.SUPERSEDED
    assert function.ask(x1.ActivateTask(request=first)) == Check.SUPERSEDED
    assert function.ask(x1.ActivateTask(request=MORE)) == "ok"  # told again after the administrator restarted


def acts(*names: str, ledger: a.Ledger | None = None) -> TaskRequest:
    """An order whose acts after the activation are these; in one ledger, if several are shown to one function."""
    return with_commands({}, *({"act": Act(name), "sequence": n} for n, name in enumerate(names, 2)), ledger=ledger)


def test_suspended_at_once_and_resumed_by_an_officer_alone() -> None:
    function, ledger = Function(), a.Ledger()
    assert function.ask(x1.ActivateTask(request=GOOD)) == "ok"
    assert function.ask(x1.SuspendTask(xid=XID.hex(), sequence=2)) == "ok"
    change = function.changes[-1]
    assert change.before is not None and change.after is not None
    assert (change.before.suspended, change.after.suspended) == (False, True)
    assert len(function.table) == 1 and function.table.live(XID, NOW_NS) is None
    assert function.held == [(XID, 2)]
    # Nothing that the officer signed before lets it go on: not the order as it was, not another act of that number.
    for request in (GOOD, acts("dde", ledger=ledger)):
        for kind in (x1.ActivateTask, x1.ModifyTask):
            assert function.ask(kind(request=request)) == Check.SUSPENDED
    assert function.ask(x1.ModifyTask(request=acts("suspend", ledger=ledger))) == "ok"
    assert function.table.live(XID, NOW_NS) is None
    assert function.ask(x1.ModifyTask(request=acts("suspend", "resume", ledger=ledger))) == "ok"
    assert function.table.live(XID, NOW_NS) is not None
    assert function.ask(x1.ModifyTask(request=acts("suspend", ledger=ledger))) == Check.SUPERSEDED


def test_a_suspension_without_its_act_holds_until_a_later_one() -> None:
    """The administrator's word suffices to suspend. What it was later than is what the function has seen itself."""
    function = Function()
    assert function.ask(x1.ActivateTask(request=MORE)) == "ok"
    assert function.ask(x1.SuspendTask(xid=XID.hex(), sequence=0)) == "ok"
    assert function.ask(x1.ModifyTask(request=MORE)) == Check.SUSPENDED
    assert function.ask(x1.ModifyTask(request=acts("dde", "dde"))) == Check.SUSPENDED
    assert function.ask(x1.ModifyTask(request=acts("dde", "suspend", "resume"))) == "ok"


def test_a_suspension_is_remembered_over_restarts_and_before_the_task_is_known() -> None:
    function = Function()
    function.table.hold(XID, 2)
    assert function.ask(x1.ActivateTask(request=GOOD)) == Check.SUSPENDED
    assert function.ask(x1.ActivateTask(request=acts("suspend"))) == "ok"
    assert function.changes[-1].before is None and function.table.live(XID, NOW_NS) is None
    other = Function()
    assert other.ask(x1.SuspendTask(xid=XID.hex(), sequence=2)) == "ok"
    assert other.ask(x1.ActivateTask(request=GOOD)) == Check.SUSPENDED
    assert other.ask(x1.ActivateTask(request=acts("suspend", "resume"))) == "ok"


def test_a_suspended_task_still_ends() -> None:
    function = Function()
    assert function.ask(x1.ActivateTask(request=acts("suspend"))) == "ok"
    assert [task.xid for task in function.table.expire(LEGAL.not_after_s * 10**9)] == [XID]
    assert function.ask(x1.SuspendTask(xid=XID.hex(), sequence=9)) == "ok"


def test_the_memory_of_suspensions_is_bounded_and_fails_closed() -> None:
    function = Function()
    function.table.MAX_STOPPED = 2  # type: ignore[misc]
    for n in range(3):
        function.table.hold(bytes([n]) * 16, 1)
    assert function.ask(x1.ActivateTask(request=GOOD)) == "ok"
    assert function.ask(x1.SuspendTask(xid=XID.hex(), sequence=2)) == "ok"
    assert len(function.table) == 0 and function.changes[-1].after is None


def test_an_extension_moves_the_end() -> None:
    function = Function()
    end_ns = LEGAL.not_after_s * 10**9
    assert function.ask(x1.ActivateTask(request=GOOD)) == "ok"
    assert function.ask(x1.ModifyTask(request=a.extended())) == "ok"
    assert function.table.next_end_ns() == end_ns + 3600 * 10**9
    assert function.table.expire(end_ns) == []
    assert function.table.live(XID, end_ns) is not None
    late = Function()
    assert late.ask(x1.ActivateTask(request=GOOD)) == "ok"
    assert len(late.table.expire(end_ns)) == 1
    assert late.ask(x1.ModifyTask(request=a.extended()), end_ns) == Check.DEACTIVATED  # what has ended stays so


def test_only_an_armed_task_can_be_modified() -> None:
    assert Function().ask(x1.ModifyTask(request=GOOD)) == Check.TASK_UNKNOWN


@pytest.mark.parametrize("name", ROWS)
def test_each_mutation_is_refused_over_x1(name: str) -> None:
    check, make = ROWS[name]
    request, trust, now_ns = make()
    changes: list[task_table.Change] = []
    table = task_table.TaskTable(trust, changes.append)
    answer = table.handle(x1.ActivateTask(request=request), now_ns)
    assert isinstance(answer, x1.Refused) and answer.check == check
    assert not changes and len(table) == 0


def test_a_refusal_of_the_function_leaves_the_table_as_it_was() -> None:
    def full(change: task_table.Change) -> None:
        raise AuthorizationError("no-room")

    table = task_table.TaskTable(a.trust(), full)
    answer = table.handle(x1.ActivateTask(id=3, request=GOOD), NOW_NS)
    assert answer == x1.Refused(id=3, check="no-room")
    assert len(table) == 0


def test_windows_end_to_the_nanosecond() -> None:
    function = Function()
    end = LEGAL.not_after_s * 1_000_000_000
    assert function.ask(x1.ActivateTask(request=GOOD)) == "ok"
    assert function.table.next_end_ns() == end
    assert function.table.live(XID, end - 1) is not None
    assert function.table.live(XID, end) is None
    assert function.table.live(XID, LEGAL.not_before_s * 1_000_000_000 - 1) is None
    assert function.table.expire(end - 1) == []
    assert [task.xid for task in function.table.expire(end)] == [XID]
    assert function.table.next_end_ns() is None
    assert function.ask(x1.ActivateTask(request=GOOD)) == Check.DEACTIVATED


def test_the_memory_of_stops_is_bounded_and_fails_closed() -> None:
    function = Function()
    function.table.MAX_STOPPED = 2  # type: ignore[misc]
    for n in range(3):
        function.table.stop(bytes([n]) * 16)
    assert function.ask(x1.ActivateTask(request=GOOD)) == Check.DEACTIVATED


@pytest.mark.parametrize("xid", ["", "00", "zz" * 16, XID.hex() + "00", "00 " * 10 + "00", " " * 32])
def test_what_is_no_xid(xid: str) -> None:
    assert Function().ask(x1.DeactivateTask(xid=xid)) == Check.STRUCTURE


def test_a_report() -> None:
    table = task_table.TaskTable(a.trust(), lambda _: None)
    assert table.handle(x1.ReportStatus(id=5), NOW_NS, lambda: {"tasks": 0}) == x1.Ok(id=5, report={"tasks": 0})


@pytest.mark.parametrize(
    "line", [b"", b"{}", b"[]", b"\xff", b'{"type":"Arm"}', b'{"type":"ReportStatus","more":1}', b"[" * 100_000]
)
def test_lines_that_are_no_message(line: bytes) -> None:
    with pytest.raises(RemoteProtocolError):
        x1.decode_request(line)
    with pytest.raises(RemoteProtocolError):
        x1.decode_answer(line)


def test_an_error_does_not_repeat_the_line() -> None:
    with pytest.raises(RemoteProtocolError) as error:
        x1.decode_request(b'{"type":"tel:+12125550100"}')
    assert "2125550100" not in str(error.value)
    assert error.value.__suppress_context__


def test_lines_in_any_pieces() -> None:
    octets = b"one\ntwo\n\nthree\nrest"
    for size in range(1, len(octets) + 1):
        lines = x1.Lines()
        found = [line for at in range(0, len(octets), size) for line in lines.feed(octets[at : at + size])]
        assert found == [b"one", b"two", b"", b"three"]


def test_a_line_without_end_is_bounded() -> None:
    lines = x1.Lines(limit=10)
    assert lines.feed(b"0123456789") == []
    with pytest.raises(RemoteProtocolError):
        lines.feed(b"0")
    with pytest.raises(RemoteProtocolError):
        x1.Lines(limit=10).feed(b"01234567890\n")
