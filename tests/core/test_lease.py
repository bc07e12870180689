"""The lease of a function (SEC-3): it ends with the grace, it is prolonged by witnesses alone, and tasks come back."""

from __future__ import annotations

import pytest

from mediation.core.authority import authorization
from mediation.core.authority.lease import GRACE_NS, HOUR_NS, MAX_GRACE_NS, Lease
from mediation.core.case import Act
from mediation.core.check import Check
from mediation.core.interface import task_table, x1
from mediation.core.ledger import merkle, note
from tests.core import authority as a
from tests.core.authority import NOW_NS, NOW_S
from tests.core.mutation import GOOD, with_commands

XID = authorization.xid(GOOD.carrier)
DAY_S = 86_400
LONG = a.good(not_after_s=NOW_S + 20 * DAY_S)


class Log:
    """The ledger that GOOD stands in, growing."""

    def __init__(self, request: object = GOOD) -> None:
        self.ledger = a.Ledger()
        request = GOOD if request is GOOD else request
        self.ledger.add(request.proofs[0].record)  # type: ignore[attr-defined]

    def grow(self, leaves: int) -> None:
        for _ in range(leaves):
            self.ledger.add(self.ledger.records[0][0])

    def head(self, first: int, time_s: int, **changes: object) -> x1.Head:
        tree = self.ledger.tree
        text = a.SIGNER.sign(note.Checkpoint(origin=a.ORIGIN, size=tree.size, root=tree.root()).text())
        path = merkle.consistency_path(first, tree.size, tree.read) if 0 < first < tree.size else []
        facts = {"checkpoint": a.cosigned(text, time_s), "first": first, "path": tuple(n.hex() for n in path)}
        return x1.Head(**{**facts, **changes})  # type: ignore[arg-type]


class Function:
    def __init__(self, grace_ns: int = GRACE_NS) -> None:
        self.changes: list[task_table.Change] = []
        self.table = task_table.TaskTable(a.trust(), self.changes.append, grace_ns=grace_ns)

    def ask(self, request: x1.Request, now_ns: int = NOW_NS) -> str:
        answer = self.table.handle(x1.decode_request(x1.encode(request)[:-1]), now_ns)
        if isinstance(answer, x1.Refused):
            return f"{answer.check} {answer.detail}".strip()
        return "again" if answer.again else "ok"


def test_without_news_all_tasks_stop_and_come_back_with_a_new_head() -> None:
    function, log = Function(), Log(LONG)
    assert function.ask(x1.ActivateTask(request=LONG)) == "ok"
    xid = authorization.xid(LONG.carrier)
    assert function.table.next_end_ns() == NOW_NS + GRACE_NS
    last = NOW_NS + GRACE_NS - 1
    assert function.table.expire(last) == [] and function.table.live(xid, last) is not None
    assert function.table.live(xid, last + 1) is None  # at once, whoever notices it
    assert function.table.expire(last + 1) == [] and len(function.table) == 0
    assert function.changes[-1].after is None and function.changes[-1].lapsed
    assert function.table.lapses == 1
    assert function.ask(x1.ActivateTask(request=LONG), last + 1) == Check.LEASE
    log.grow(3)
    old = log.head(2, NOW_S)  # cosigned before it lapsed: no news
    assert function.ask(old, last + 1) == "ok" and function.ask(x1.ActivateTask(request=LONG), last + 1) == Check.LEASE
    later_s = NOW_S + DAY_S + 60
    assert function.ask(log.head(5, later_s), later_s * 10**9) == "again"
    assert function.ask(x1.ActivateTask(request=LONG), later_s * 10**9) == "ok"
    assert function.ask(log.head(5, later_s + 1), (later_s + 1) * 10**9) == "ok"
    assert function.table.live(xid, later_s * 10**9) is not None


def test_a_head_prolongs_the_lease() -> None:
    function, log = Function(), Log(LONG)
    function.ask(x1.ActivateTask(request=LONG))
    for day in range(1, 11):
        log.grow(4)
        assert function.ask(log.head(log.ledger.tree.size - 4, NOW_S + day * 80_000), (NOW_S + day * 80_000) * 10**9)
        assert function.table.expire((NOW_S + day * 80_000) * 10**9) == []
    assert len(function.table) == 1 and function.table.lapses == 0


def test_stopping_needs_no_lease() -> None:
    function = Function()
    function.ask(x1.ActivateTask(request=LONG))
    late = NOW_NS + 30 * 24 * HOUR_NS
    xid = authorization.xid(LONG.carrier)
    assert function.ask(x1.DeactivateTask(xid=xid.hex()), late) == "ok"
    assert len(function.table) == 0 and not function.changes[-1].lapsed
    assert function.ask(x1.ActivateTask(request=LONG), NOW_NS) == Check.DEACTIVATED


def test_a_clock_that_is_ahead_lends_no_longer_life() -> None:
    function, log = Function(), Log(LONG)
    function.ask(x1.ActivateTask(request=LONG))
    log.grow(1)
    assert function.ask(log.head(2, NOW_S + 30 * DAY_S)) == "ok"
    assert function.table.lease.ends_ns == NOW_NS + GRACE_NS


def test_no_configuration_makes_the_grace_longer() -> None:
    assert Lease(1000 * HOUR_NS).grace_ns == MAX_GRACE_NS == 72 * HOUR_NS
    assert Function(HOUR_NS).table.lease.grace_ns == HOUR_NS


def fork(log: Log) -> x1.Head:
    other = Log()
    other.ledger.add("another history")
    other.grow(log.ledger.tree.size)
    return other.head(log.ledger.tree.size, NOW_S)


@pytest.mark.parametrize(
    ("make", "refused"),
    [
        (lambda log: log.head(2, NOW_S, path=()), "proof-consistency 3"),  # of another start
        (lambda log: log.head(3, NOW_S, path=()), "proof-consistency 3"),
        (lambda log: log.head(3, NOW_S, path=("00" * 32,)), "proof-consistency 3"),
        (lambda log: log.head(3, NOW_S, path=("zz",)), "structure path"),
        (lambda log: log.head(0, NOW_S), "proof-consistency 3"),
        (fork, "proof-consistency 3"),
        (lambda log: Log().head(0, NOW_S), "proof-consistency 3"),  # smaller: rolled back
        (lambda log: log.head(3, NOW_S, checkpoint="nothing"), "proof-checkpoint"),
        (
            lambda log: log.head(3, NOW_S, checkpoint=log.head(3, NOW_S).checkpoint.rpartition("—")[0]),
            "proof-witnesses",
        ),
    ],
    ids=["another start", "no path", "false path", "no hashes", "no start", "fork", "rolled back", "no note", "alone"],
)
def test_a_head_that_does_not_follow_is_refused_and_prolongs_nothing(make: object, refused: str) -> None:
    function, log = Function(), Log()
    log.grow(1)
    assert function.ask(log.head(0, NOW_S - 3600)) == "ok"
    log.grow(5)
    ends = function.table.lease.ends_ns
    assert function.ask(make(log)) == refused  # type: ignore[operator]
    assert function.table.lease.ends_ns == ends and function.table.lease.head is not None
    assert function.table.lease.head.size == 3
    assert function.ask(log.head(3, NOW_S)) == "ok"


def test_an_order_is_not_proven_under_another_tree_of_the_same_size() -> None:
    function, log = Function(), Log()
    other = a.Ledger()
    other.add("another history")
    tree = other.tree
    text = a.SIGNER.sign(note.Checkpoint(origin=a.ORIGIN, size=tree.size, root=tree.root()).text())
    assert function.ask(x1.Head(checkpoint=a.cosigned(text))) == "ok"
    assert log.ledger.tree.size == 2 == tree.size
    assert function.ask(x1.ActivateTask(request=GOOD)) == Check.PROOF_CONSISTENCY
    assert len(function.table) == 0


def test_digits_are_switched_off_before_the_ledger_can_prove_it() -> None:
    """`dde_off` only ever narrows."""
    on = with_commands({}, {"act": Act.DDE, "sequence": 2, "dde": True})
    function = Function()
    xid = authorization.xid(on.carrier)
    assert function.ask(x1.ActivateTask(request=on)) == "ok"
    task = function.table.get(xid)
    assert task is not None and task.dde
    assert function.ask(x1.ModifyTask(request=on, dde_off=True)) == "ok"
    task = function.table.get(xid)
    assert task is not None and not task.dde
    fresh = Function()
    assert fresh.ask(x1.ActivateTask(request=on, dde_off=True)) == "ok"
    task = fresh.table.get(xid)
    assert task is not None and not task.dde
    assert fresh.changes[0].after is not None and not fresh.changes[0].after.dde
