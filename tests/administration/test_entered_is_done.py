"""What the ledger has is done, whatever the disk refuses behind it; and no such refusal ends the administrator."""

from __future__ import annotations

import apsw
import msgspec
import pytest
import trio
import trio.testing

from mediation.administration import lab
from mediation.administration.connections import Connections
from mediation.administration.control import Administrator
from mediation.administration.function import Function
from mediation.administration.ledger import tail
from mediation.administration.ledger.tiles import CHECKPOINT, Folder
from mediation.administration.order.store import Store
from mediation.administration.persons import roster
from mediation.administration.persons.honey import Honey
from mediation.administration.persons.inquiries import Prepared
from mediation.administration.tasking import Tasking
from mediation.core.authority.roster import AnyAction, End
from mediation.core.case import Authority, Role, State
from mediation.core.check import Check
from mediation.core.errors import LedgerError
from mediation.core.interface import control, x1
from mediation.core.interface.control import CaseList, Cases, Plant
from mediation.core.ledger import entry, merkle
from mediation.runtime import durable
from mediation.runtime.config import Site
from mediation.runtime.keys import load_trust
from tests.administration import site as s
from tests.audit.asking import Counter

FULL = OSError(28, "No space left on device")


def approvals(desk: s.Desk, *actions: AnyAction) -> tuple[str, ...]:
    octets = roster.draft(desk.orders.trust.roster, actions, desk.now_ns // s.NS)
    return tuple(roster.approve(octets, each) for each in lab.executives(desk.site)[1:])


def gone(desk: s.Desk, role: Role) -> End:
    return End(person=lab.person(desk.site, role).person, role=role, at_s=desk.now_ns // s.NS)


def full(*_: object) -> None:
    raise FULL


def test_a_store_that_does_not_take_the_head(desk: s.Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    """The change of the roster was in the ledger, and in force nowhere until the next start."""
    told: list[None] = []
    desk.orders.roster_changed = lambda: told.append(None)
    with monkeypatch.context() as patch:
        patch.setattr(Store, "set_head", full)
        assert desk.orders.change_roster(approvals(desk, gone(desk, Role.AUDITOR)), desk.now_ns).check == ""
    assert told and len(desk.orders.trust.roster.lines) == 2 == len(load_trust(desk.site).roster.lines)
    assert desk.orders.counters["store_write_failed"]
    desk.restart()
    assert len(desk.orders.trust.roster.lines) == 2


@pytest.mark.parametrize("how", ["advance", "another", "restart"])
def test_a_roster_that_the_disk_does_not_take(desk: s.Desk, how: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is in force when it is entered, and the file has it as soon as there is room, once."""
    told: list[None] = []
    desk.orders.roster_changed = lambda: told.append(None)
    with monkeypatch.context() as patch:
        patch.setattr(roster, "append", full)
        assert desk.orders.change_roster(approvals(desk, gone(desk, Role.AUDITOR)), desk.now_ns).check == ""
        desk.later(1)
    assert told and len(desk.orders.trust.roster.lines) == 2
    assert len(load_trust(desk.site).roster.lines) == 1
    if how == "advance":
        desk.later(1)
    elif how == "another":
        assert desk.orders.change_roster(approvals(desk, gone(desk, Role.LEGAL)), desk.now_ns).check == ""
    lines = 2 + (how == "another")
    if how != "restart":
        assert len(load_trust(desk.site).roster.lines) == lines
    desk.restart()
    assert len(desk.orders.trust.roster.lines) == lines == len(load_trust(desk.site).roster.lines)
    assert s.kinds(desk.site).count("roster-changed") == lines - 1


def test_rubbish_in_the_place_of_a_line_ends_nothing(desk: s.Desk) -> None:
    path = desk.site.path / roster.PENDING_LINE
    path.write_bytes(b"\xff\xfe{")
    desk.later(1)
    assert not path.exists() and len(load_trust(desk.site).roster.lines) == 1


def test_a_tile_that_cannot_be_read_makes_no_head(desk: s.Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    """The store remembered a head that the ledger never had: the next start took that for a rollback, and was none."""
    filed = s.filing(desk.site)
    desk.submit(filed)
    size = desk.orders.ledger.size
    read = Folder.read
    with monkeypatch.context() as patch:
        patch.setattr(Folder, "read", lambda self, name: None if "/entries/" in name else read(self, name))
        assert desk.revoke(s.revocation(desk.site, filed))[0].check == ""
        assert desk.orders.ledger.size == size
    desk.restart()
    assert desk.state() is State.REVOKED
    assert s.kinds(desk.site).count("revoked") == 1


@pytest.mark.parametrize("error", [FULL, ValueError("a tile"), msgspec.DecodeError("a line")])
async def test_an_export_that_fails_ends_nothing(desk: s.Desk, error: Exception) -> None:
    """Made in a thread beside the one that writes; what it stumbled over ended the administrator."""
    administrator = Administrator.__new__(Administrator)
    administrator._orders, administrator._connections = desk.orders, Connections(1)
    ours, theirs = trio.testing.memory_stream_pair()

    def make() -> bytes:
        raise error

    with trio.CancelScope() as scope:
        await administrator._say(ours, scope, Prepared(make))  # type: ignore[arg-type]
    answer = control.decode_answer(bytes(await theirs.receive_some()).rstrip(b"\n"))
    assert isinstance(answer, control.Failed)
    assert desk.orders.counters["exports_failed"] == 1


@pytest.mark.parametrize("what", ["consistency_path", "inclusion_path"])
def test_a_proof_that_cannot_be_made_ends_nothing(desk: s.Desk, what: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A tile of the ledger was changed on the disk while it ran: stops go on, and one order is not told."""
    filed = s.filing(desk.site)
    desk.submit(filed, s.filing(desk.site, "CASE-2"))

    def spoilt(*_: object) -> None:
        raise ValueError("a span that does not fit")

    tasking = Tasking(desk.orders, desk.site.run_dir, lambda: desk.now_ns)
    iap = tasking.iap
    iap.connected, iap._head_due, iap._head_size = True, True, 1
    iap.want(desk.order())
    iap.want(desk.order("CASE-2"))
    with monkeypatch.context() as patch:
        patch.setattr(merkle if what == "consistency_path" else merkle.Tree, what, spoilt)
        told = [x1.decode_request(line) for line in iter(iap._next, None)]
        expected = [x1.ActivateTask, x1.ActivateTask] if what == "consistency_path" else [x1.Head]
        assert [type(each) for each in told] == expected
        assert desk.revoke(s.revocation(desk.site, filed))[0].check == ""
        line = iap._next()
        assert line is not None and isinstance(x1.decode_request(line), x1.RevokeToken | x1.DeactivateTask)


@pytest.mark.parametrize(("depth", "shown"), [(12, True), (900, False)])
async def test_a_report_that_fits_into_no_answer(desk: s.Desk, depth: int, shown: bool) -> None:
    """What a function nests as deep as can be read cannot always be written."""
    said: dict[str, object] = {"tasks": 1}
    for _ in range(depth):
        said = {"in": said}

    class Told(Function):
        async def report(self) -> dict[str, object]:
            return said

    administrator = Administrator.__new__(Administrator)
    administrator._orders, administrator._connections = desk.orders, Connections(1)
    administrator._tasking = tasking = Tasking(desk.orders, desk.site.run_dir, lambda: desk.now_ns)
    tasking.iap = Told("iap", tasking)
    tasking.functions = (tasking.iap,)  # type: ignore[assignment]
    report = await administrator._report()
    assert report.functions == {"iap": said if shown else None}
    assert desk.orders.counters["reports_malformed"] == (not shown)
    assert isinstance(control.decode_answer(control.encode(report).rstrip(b"\n")), control.Report)


@pytest.mark.parametrize("error", [FULL, apsw.FullError("database or disk is full")])
def test_a_question_that_a_full_disk_refuses_ends_nothing(
    site: Site, error: Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise error

    counter = Counter(site)
    with monkeypatch.context() as patch:
        patch.setattr(Honey, "plant", refuse)
        bait = Plant(case="BAIT", agency="AGENCY", authority=Authority.TITLE_III, not_before_s=1, not_after_s=2)
        assert isinstance(counter.read(Role.OFFICER, bait), control.Failed)
    assert isinstance(counter.read(Role.OFFICER, Cases()), CaseList)
    counter.desk.orders.close()


def test_the_ledger_is_what_it_was_when_a_start_over_fails(desk: s.Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    filed = s.filing(desk.site)
    desk.submit(filed)
    with monkeypatch.context() as patch:
        patch.setattr(durable, "replace_all", full)
        patch.setattr(tail, "cut", full)
        assert desk.revoke(s.revocation(desk.site, filed))[0].check == ""
        desk.later(1)
        desk.orders.note(entry.WitnessesFound(time_us=desk.now_ns // 1000, size=1), stop=True)
    desk.restart()
    assert desk.state() is State.REVOKED
    assert s.kinds(desk.site).count("revoked") == 1


@pytest.mark.parametrize("name", ["tile/0/000.p", "tile/entries/000.p", "records/000.jsonl"])
def test_nothing_is_signed_over_what_was_changed_meanwhile(
    desk: s.Desk, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An append failed, and somebody changed the files before the next: it went on from what it found there."""
    filed = s.filing(desk.site)
    desk.submit(filed, s.filing(desk.site, "CASE-2"))
    folder = desk.site.ledger_dir
    checkpoint = (folder / CHECKPOINT).read_bytes()
    with monkeypatch.context() as patch:
        patch.setattr(durable, "replace_all", full)
        with pytest.raises(LedgerError):
            desk.submit(s.filing(desk.site, "CASE-3"))
    kept = {path: path.read_bytes() for path in (folder / name).rglob("*") or () if path.is_file()}
    kept |= {folder / name: (folder / name).read_bytes()} if (folder / name).is_file() else {}
    for path, octets in kept.items():
        path.write_bytes(octets[: len(octets) // 3])
    changed = {path: path.read_bytes() for path in kept}
    assert desk.revoke(s.revocation(desk.site, filed))[0].check == ""
    assert (folder / CHECKPOINT).read_bytes() == checkpoint and kept
    assert {path: path.read_bytes() for path in kept} == changed, "evidence"
    for path, octets in kept.items():
        path.write_bytes(octets)
    desk.later(1)
    assert desk.revoke(s.revocation(desk.site, s.filing(desk.site, "CASE-9")))[0].check == Check.REVOCATION
    assert s.kinds(desk.site)[-2:] == ["revoked", "refused"]
