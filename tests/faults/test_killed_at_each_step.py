"""An administrator that is killed between any two steps to the disk: after the next start all is as the ledger says.

Each operation is carried out by a process of its own that ends, as by kill -9, before the n-th call that changes a file
or the n-th statement of a database. Then either nothing of it happened, and it is carried out when it is asked for
again, or all of it did; a second start finds the same.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from mediation.administration import lab
from mediation.administration.order import drafting
from mediation.administration.persons import roster
from mediation.core.authority.roster import Revoke
from mediation.core.case import Act, Role
from mediation.core.interface.control import Certify, Result
from mediation.runtime import config, vault
from tests.administration import site as s
from tests.administration.site import Desk
from tests.administration.test_certificate import arm, kept, signed
from tests.administration.test_destruction import by_order, destroy

ONCE = 8  # steps of each operation that are tried, evenly; MEDIATION_STEPS=all tries each: some minutes
DAY_S = 86_400
KILLED = 9
CALLS = ("fsync", "fdatasync", "write", "pwrite", "rename", "unlink", "ftruncate")

Operation = Callable[[Desk], list[Result]]
Summary = list[tuple[str, str, int, int, int]]


def act(what: Act, sequence: int = 2) -> Callable[[Desk], Operation]:
    def prepared(desk: Desk) -> Operation:
        filed = s.filing(desk.site)
        desk.submit(filed)
        for number in range(2, sequence):
            desk.perform(s.act(desk.site, filed.carrier, "CASE-1", number, Act.SUSPEND))
        text = s.act(desk.site, filed.carrier, "CASE-1", sequence, what)
        return lambda at: at.perform(text)

    return prepared


def filing(desk: Desk) -> Operation:
    filed = s.filing(desk.site), s.filing(desk.site, "CASE-2", activate=False)
    return lambda at: at.submit(*filed)


def revocation(desk: Desk) -> Operation:
    filed = s.filing(desk.site)
    desk.submit(filed)
    text = s.revocation(desk.site, filed)
    return lambda at: at.revoke(text)


def extension(desk: Desk) -> Operation:
    filed = s.filing(desk.site)
    desk.submit(filed)
    text = s.extension(desk.site, filed, desk.order().not_after_s + 3_600)
    return lambda at: at.extend(text)


def agency(desk: Desk) -> Operation:
    desk.submit(s.filing(desk.site))
    text = drafting.agency_revocation(lab.AGENCY, "test", lab.person(desk.site, Role.LEGAL), lab=True)
    return lambda at: [at.orders.revoke_agency(text, at.now_ns)]


def roster_change(desk: Desk) -> Operation:
    desk.submit(s.filing(desk.site))
    person, now_s = lab.person(desk.site, Role.LEGAL), desk.now_ns // s.NS
    gone = Revoke(person=person.person, kid=person.kid, void_s=now_s - 3_600)
    octets = roster.draft(desk.orders.trust.roster, [gone], now_s)
    texts = [roster.approve(octets, each) for each in lab.executives(desk.site)[1:]]
    return lambda at: [at.orders.change_roster(texts, at.now_ns)]


def expiry(desk: Desk) -> Operation:
    desk.submit(s.filing(desk.site))

    def ends(at: Desk) -> list[Result]:
        at.later(3_700)
        return []

    return ends


def signature(desk: Desk) -> Operation:
    desk.submit(s.filing(desk.site))
    arm(desk)
    text = signed(desk, kept(desk)[0].text)
    return lambda at: [at.orders.records.act(Certify(signatures=(text,)), at.now_ns)]


def destruction(desk: Desk) -> Operation:
    filed = s.filing(desk.site)
    desk.submit(filed)
    arm(desk)
    desk.orders.records.act(Certify(signatures=(signed(desk, kept(desk)[0].text),)), desk.now_ns)
    desk.perform(s.act(desk.site, filed.carrier, "CASE-1", 2, Act.DEACTIVATE))
    desk.later(60)
    by_order(desk)
    desk.later((desk.site.retention.days + 70) * DAY_S)
    return lambda at: [Result(check=destroy(at))]


def summary(desk: Desk) -> Summary:
    found = [(o.case, o.state.value, len(o.commands), len(o.extensions), o.not_after_s) for o in desk.orders]
    signed_ = sum(row.signed for row in desk.orders.records.certificates._rows.values())
    return [*sorted(found), ("certifications", "", signed_, len(desk.orders.trust.roster.lines), 0)]


def opened(path: Path, now_ns: int) -> Desk:
    vault._open.clear()  # the keys as another process has them
    return Desk(config.load(path), now_ns)


def _carry_out(path: Path, now_ns: int, operation: Operation, last: int | None, report: Path) -> None:
    """In a process of its own: ends before step `last`, or says how many there are."""
    desk = opened(path, now_ns)
    for keeper in (desk.orders._store, desk.orders.records.certificates):
        keeper.cover = lambda: None  # type: ignore[method-assign]  # decoys: a thousand steps that say nothing
    steps = 0

    def step(*_: object) -> bool:
        nonlocal steps
        steps += 1
        if steps == last:
            os._exit(KILLED)
        return True

    def stepping(real: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **kwargs: Any) -> Any:
            step()
            return real(*args, **kwargs)

        return call

    for name in CALLS:
        setattr(os, name, stepping(getattr(os, name)))
    for name in ("rename", "unlink"):
        setattr(Path, name, stepping(getattr(Path, name)))
    for db in (desk.orders._store._db, desk.orders.records.certificates._file._db):
        db.exec_trace = step
    assert not any(result.check for result in operation(desk))
    report.write_text(str(steps))


def forked(path: Path, now_ns: int, operation: Operation, last: int | None, report: Path) -> int:
    child = os.fork()
    if child == 0:
        try:
            _carry_out(path, now_ns, operation, last, report)
        except BaseException:
            os._exit(1)
        os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


@pytest.mark.parametrize(
    "prepare",
    [filing, act(Act.SUSPEND), act(Act.RESUME, 3), act(Act.DDE), act(Act.DEACTIVATE), revocation, extension, agency,
     roster_change, expiry, signature, destruction],
    ids=["filing", "suspend", "resume", "dde", "deactivate", "revocation", "extension", "agency", "roster", "expiry",
         "signature", "destruction"],
)  # fmt: skip
def test_killed_before_each_step(tmp_path: Path, prepare: Callable[[Desk], Operation]) -> None:
    desk = Desk(s.make(tmp_path))
    operation = prepare(desk)
    desk.orders.close()
    now_ns, path, kept_, report = desk.now_ns, desk.site.path, tmp_path / "kept", tmp_path / "steps"
    shutil.copytree(path, kept_)

    def again() -> None:
        shutil.rmtree(path)
        shutil.copytree(kept_, path)

    desk = opened(path, now_ns)
    before = summary(desk)
    desk.orders.close()
    again()
    assert forked(path, now_ns, operation, None, report) == 0
    steps = int(report.read_text())
    desk = opened(path, now_ns)
    after = summary(desk)
    desk.orders.close()
    assert after != before
    stride = 1 if os.environ.get("MEDIATION_STEPS") == "all" else -(-steps // ONCE)
    for last in range(1, steps + 1, stride):
        again()
        assert forked(path, now_ns, operation, last, report) == KILLED
        desk = opened(path, now_ns)
        assert summary(desk) in (before, after), f"killed before step {last} of {steps}"
        assert not desk.orders.held and not desk.orders.lost
        if summary(desk) == before:
            assert not any(result.check for result in operation(desk)), f"not again after step {last}"
        assert summary(desk) == after
        desk.restart()
        assert summary(desk) == after
        desk.orders.close()
