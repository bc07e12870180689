"""A change of the roster ends what it ends as soon as it is told, and nothing is armed by it before its entry is proven
to stand in the ledger under a cosigned head, in its approvers' time in office."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from mediation.core.authority import authorization
from mediation.core.authority.key import unbroken_until
from mediation.core.authority.roster import AHEAD_S, End, Enroll, Revoke, Roster, digest
from mediation.core.authority.trust import Trust
from mediation.core.case import Proof, Role, TaskRequest
from mediation.core.check import Check
from mediation.core.interface import task_table, x1
from mediation.core.ledger import cosignature, entry, merkle, note, policy
from mediation.runtime.remembered import Remembered
from tests.core import authority as a
from tests.core import founding as f
from tests.core.authority import KIDS, NOW_NS, NOW_S, PERSONS
from tests.core.mutation import GOOD
from tests.core.mutations_people import trust

TRUST = trust()
YEAR_S = 365 * 86_400
LEFT_S = NOW_S - YEAR_S  # when the two left office
INTRUDER = a.private(77)
VOID = Revoke(person=PERSONS[Role.OFFICER], kid=KIDS[Role.OFFICER], void_s=NOW_S - 20)


class Ledger(a.Ledger):
    """Of one site, whose heads are cosigned when the test says."""

    def changed(self, lines: tuple[str, ...], which: int = -1, **changes: Any) -> int:
        """The entry of one of the changes; `changes` are to the record."""
        number = which % len(lines)
        held = Roster.replay(lines, digest(lines[0]), a.ORIGIN, lab=False)
        facts = {
            "time_us": NOW_S * 1_000_000, "number": number, "change_sha256": digest(lines[number]),
            "approvers": held.judged[number].approvers, **changes,
        }  # fmt: skip
        return self.add(entry.encode(entry.RosterChanged(**facts)))

    def shown(self, index: int, seen_s: int = NOW_S) -> Proof:
        proof = self.proof(index)
        body = proof.checkpoint.rpartition("\u2014 test/witness")[0]
        return msgspec.structs.replace(proof, checkpoint=a.cosigned(body, seen_s))


def lines(*actions: Any, issued_s: int, held: Trust = TRUST) -> tuple[str, ...]:
    return (*held.roster.lines, f.approved(f.change(held.roster, *actions, issued_s=issued_s), "egon", "elsa"))


def appointing(issued_s: int, *more: Any, held: Trust = TRUST) -> tuple[str, ...]:
    """Two executives make an officer of their own, and `more`."""
    key = f.key_of("ivan", INTRUDER)
    office = f.appointment("ivan", Role.OFFICER, from_s=issued_s)
    return lines(office, Enroll(person="ivan", key=key), *more, issued_s=issued_s, held=held)


def of_ivan(ledger: a.Ledger) -> TaskRequest:
    carrier = a.sign_carrier(GOOD.legal, nonce="0a" * 16)
    return a.request(GOOD.legal, carrier, a.sign_command(carrier, kid="ivan-1", key=INTRUDER), ledger=ledger)


def former() -> Trust:
    """A site two of whose three executives have left office at LEFT_S."""
    empty = Roster(a.ORIGIN, lab=False)
    actions: list[Any] = [a.CONTACT]
    for person in f.EXECUTIVES:
        to_s = f.TO_S if person == "edda" else LEFT_S
        actions.append(f.appointment(person, Role.EXECUTIVE, senior=person == "edda", to_s=to_s))
        actions.append(Enroll(person=person, key=f.key_of(person, f.seed(person))))
    for role in set(Role) - {Role.EXECUTIVE}:
        actions.append(f.appointment(PERSONS[role], role))
        actions.append(Enroll(person=PERSONS[role], key=a.ring_key(KIDS[role], PERSONS[role], a.KEYS[role])))
    held = empty.extended([f.approved(f.change(empty, *actions, issued_s=1), *f.EXECUTIVES)])
    return Trust.of(held, a.SIGNER.verifier, lab=False, policy=policy.parse(a.POLICY))


def table(held: Trust = TRUST) -> task_table.TaskTable:
    """Of a function that has just started, and remembers that it was told nothing in time."""
    return task_table.TaskTable(held.pinned(0), lambda _: None)


def ask(held: task_table.TaskTable, request: x1.Request, now_ns: int = NOW_NS) -> str:
    answer = held.handle(request, now_ns)
    return answer.check if isinstance(answer, x1.Refused) else ""


def prove(held: task_table.TaskTable, *proofs: Proof, first: int = 1) -> str:
    return ask(held, x1.ProveRoster(first=first, proofs=proofs))


def test_nobody_is_appointed_by_a_change_before_it_is_proven() -> None:
    held, ledger, told = table(), Ledger(), appointing(NOW_S - 100)
    index = ledger.changed(told)
    order, honest = of_ivan(ledger), a.good(ledger=ledger, case="CASE-7", nonce="0c" * 16)
    assert ask(held, x1.Roster(lines=told)) == ""
    assert ask(held, x1.ActivateTask(request=order)) == Check.KEY_UNKNOWN
    assert ask(held, x1.ActivateTask(request=honest)) == "", "whom it does not concern goes on as before"
    assert ask(held, x1.Roster(lines=told)) == "", "told again, it gains nothing"
    assert ask(held, x1.ActivateTask(request=order)) == Check.KEY_UNKNOWN
    assert prove(held, ledger.shown(index)) == prove(held, ledger.shown(index)) == ""
    assert ask(held, x1.ActivateTask(request=order)) == ""
    assert len(held) == 2 and held.trust.believed == 2


def _of(**changes: Any) -> Callable[[Ledger, tuple[str, ...]], Proof]:
    return lambda ledger, told: ledger.shown(ledger.changed(told, **changes))


def _changed(**changes: Any) -> Callable[[Ledger, tuple[str, ...]], Proof]:
    return lambda ledger, told: msgspec.structs.replace(ledger.shown(ledger.changed(told)), **changes)


def _cosigned(cosign: Callable[[str], str]) -> Callable[[Ledger, tuple[str, ...]], Proof]:
    def make(ledger: Ledger, told: tuple[str, ...]) -> Proof:
        index = ledger.changed(told)
        head = note.Checkpoint(origin=a.ORIGIN, size=ledger.tree.size, root=ledger.tree.root()).text()
        return msgspec.structs.replace(ledger.proof(index), checkpoint=cosign(a.SIGNER.sign(head)))

    return make


def _other_kind(ledger: Ledger, _: tuple[str, ...]) -> Proof:
    return ledger.shown(0)


def _not_entered(ledger: Ledger, told: tuple[str, ...]) -> Proof:
    other = Ledger()
    return msgspec.structs.replace(other.shown(other.changed(told)), checkpoint=ledger.shown(0).checkpoint)


STRANGER = cosignature.Signer.from_seed("test/witness", cosignature.ED25519_V1, bytes([77]) * 32)
WRONG: dict[str, tuple[Callable[[Ledger, tuple[str, ...]], Proof], str]] = {
    "under a head that nobody cosigned": (_cosigned(lambda text: text), Check.PROOF_WITNESSES),
    "under a head that a stranger cosigned": (
        _cosigned(lambda text: text + STRANGER.line(note.split(text)[0], NOW_S)), Check.PROOF_WITNESSES,
    ),
    "under another ledger's head": (
        _cosigned(lambda text: a.cosigned(note.Signer("other/ledger", a.private(9)).sign(
            text.split("\n\n")[0].replace(a.ORIGIN, "other/ledger") + "\n"))), Check.PROOF_CHECKPOINT,
    ),
    "an entry that does not stand there": (_not_entered, Check.PROOF_INCLUSION),
    "another place": (_changed(index=0), Check.PROOF_INCLUSION),
    "another salt": (_changed(salt="00" * 32), Check.PROOF_INCLUSION),
    "an entry of another kind": (_other_kind, Check.PROOF_RECORD),
    "another line's entry": (_of(change_sha256="0f" * 32), Check.PROOF_RECORD),
    "another number": (_of(number=2), Check.PROOF_RECORD),
    "other approvers": (_of(approvers=("edda", "egon")), Check.PROOF_RECORD),
}  # fmt: skip


@pytest.mark.parametrize("wrong", WRONG)
def test_what_proves_nothing(wrong: str) -> None:
    make, check = WRONG[wrong]
    held, ledger, told = table(), Ledger(), appointing(NOW_S - 100)
    ask(held, x1.Roster(lines=told))
    refused = held.handle(x1.ProveRoster(first=1, proofs=(make(ledger, told),)), NOW_NS)
    assert isinstance(refused, x1.Refused) and refused.check == check
    assert held.trust.believed == 1
    ledger = Ledger()
    assert ask(held, x1.ActivateTask(request=of_ivan(ledger))) == Check.KEY_UNKNOWN


def test_changes_are_proven_one_after_the_other() -> None:
    """As far as they are; a later one, in whatever order it is shown, counts for nothing without those before it."""
    first = appointing(NOW_S - 100)
    key = f.key_of("iris", a.private(78))
    second = lines(f.appointment("iris", Role.OFFICER, from_s=NOW_S - 90), Enroll(person="iris", key=key),
                   issued_s=NOW_S - 90, held=TRUST.with_roster(TRUST.roster.continued(first)))  # fmt: skip
    ledger = Ledger()
    early = ledger.changed(second)
    proofs = [ledger.changed(second, number) for number in (1, 2)]
    held = table()
    assert prove(held, ledger.shown(proofs[0])) == Check.ROSTER, "nothing was told"
    ask(held, x1.Roster(lines=second))
    assert prove(held, ledger.shown(proofs[1]), first=2) == Check.ROSTER
    assert prove(held, ledger.shown(proofs[1])) == Check.PROOF_RECORD
    assert held.trust.believed == 1
    # An entry that stands before the one of the change before it: what it proves was entered for another history.
    assert prove(held, ledger.shown(proofs[0]), ledger.shown(early)) == Check.PROOF_ORDER
    assert held.trust.believed == 2, "the first was good"
    assert prove(held, ledger.shown(proofs[0]), ledger.shown(proofs[1])) == ""
    assert held.trust.believed == 3 and held.trust.arming() is held.trust


def test_who_has_left_office_dates_nothing_back() -> None:
    """Two former executives and all that the administrator has: the entry is in the ledger, for everybody to see, and
    too late."""
    site = former()
    told, ledger = appointing(LEFT_S - 5, held=site), Ledger()
    index = ledger.changed(told, time_us=(LEFT_S - 4) * 1_000_000)  # as the ledger's key can write it
    order = of_ivan(ledger)
    held = table(site)
    assert ask(held, x1.Roster(lines=told)) == ""
    for seen_s in (NOW_S, LEFT_S + 1, LEFT_S, LEFT_S - 5 - AHEAD_S - 1):
        assert prove(held, ledger.shown(index, seen_s)) == Check.ROSTER_DATES, seen_s
        assert ask(held, x1.ActivateTask(request=order)) == Check.KEY_UNKNOWN
    # What was seen in their time counts, to whomever it is shown and however late: nobody needs to have been there.
    assert prove(held, ledger.shown(index, LEFT_S - 1)) == ""
    assert ask(held, x1.ActivateTask(request=order)) == ""
    # So does what this function was told in their time, whenever a quorum saw it.
    early = table(site)
    assert ask(early, x1.Roster(lines=told), (LEFT_S - 1) * 10**9) == ""
    assert prove(early, ledger.shown(index, NOW_S)) == ""


def test_one_witness_s_clock_dates_nothing_back() -> None:
    """Of a quorum of two, one witness is in the hands of those who left; the other one's time counts."""
    other = cosignature.Signer.from_seed("other/witness", cosignature.ED25519_V1, bytes([7]) * 32)
    both = policy.parse(f"log {a.SIGNER.verifier}\nwitness test {a.WITNESS.verifier}\nwitness other {other.verifier}\n"
                        "group both all test other\nquorum both\n")  # fmt: skip
    site = Trust.of(TRUST.roster, a.SIGNER.verifier, lab=False, policy=both)
    ledger = Ledger()
    head = a.SIGNER.sign(note.Checkpoint(origin=a.ORIGIN, size=1, root=ledger.tree.root()).text())
    body = note.split(head)[0]
    opened = site.opened(a.cosigned(head, LEFT_S - 1) + other.line(body, NOW_S))
    assert (opened.cosigned_s, opened.seen_s) == (LEFT_S - 1, NOW_S)


def test_an_end_in_the_roster_counts_from_its_second_on() -> None:
    """The office of an approver is judged by the changes before, each with its dates."""
    held = Roster(a.ORIGIN, lab=False).extended(TRUST.roster.lines)
    ended = f.approved(f.change(held, End(person="egon", role=Role.EXECUTIVE, at_s=NOW_S + 50), issued_s=NOW_S - 10),
                       "edda", "elsa")  # fmt: skip
    held = held.extended([ended])
    last = held.extended([f.approved(f.change(held, VOID, issued_s=NOW_S), "egon", "elsa")]).judged[-1]
    assert last.lapses_s == NOW_S + 50
    assert [last.counts_at(at_s) for at_s in (NOW_S - AHEAD_S - 1, NOW_S - AHEAD_S, NOW_S + 49, NOW_S + 50)] == [
        False, True, True, False,
    ]  # fmt: skip


def test_an_office_that_goes_on_by_a_second_appointment() -> None:
    assert unbroken_until([(0, 10), (10, 20), (15, 30), (31, 40)], 5) == 30
    assert unbroken_until([(0, 10)], 10) == 10 == unbroken_until([], 10)


def test_what_it_ends_it_ends_at_once() -> None:
    held = table()
    assert ask(held, x1.ActivateTask(request=GOOD)) == ""
    assert ask(held, x1.Roster(lines=lines(VOID, issued_s=NOW_S - YEAR_S))) == ""
    assert (len(held), held.fallen, held.trust.believed) == (0, 1, 1)
    again = a.sign_carrier(GOOD.legal, nonce="0b" * 16)
    request = a.request(GOOD.legal, again, a.sign_command(again))
    assert authorization.xid(again) != authorization.xid(GOOD.carrier)
    assert ask(held, x1.ActivateTask(request=request)) == Check.KEY_DATES


def test_a_founding_that_x1_brings_needs_its_entry_too() -> None:
    """A function that was started before the site was founded has no pin."""
    empty = Trust.of(Roster(a.ORIGIN, lab=False), a.SIGNER.verifier, lab=False, policy=policy.parse(a.POLICY))
    held, ledger = table(empty), Ledger()
    index = ledger.changed(TRUST.roster.lines)
    order = a.good(ledger=ledger)
    assert ask(held, x1.Roster(lines=TRUST.roster.lines)) == ""
    assert ask(held, x1.ActivateTask(request=order)) == Check.KEY_UNKNOWN
    assert prove(held, ledger.shown(index), first=0) == ""
    assert ask(held, x1.ActivateTask(request=order)) == ""


@pytest.mark.parametrize("told_in_time", [True, False], ids=["told in time", "away"])
def test_a_restart_proves_nothing(tmp_path: Path, told_in_time: bool) -> None:
    """What is remembered is that it was told in time; its entry is shown again. One that was away is shown the head
    that was cosigned then, and nobody removes a file."""
    told = appointing(NOW_S - 100)
    ledger = Ledger()
    index = ledger.changed(told)
    order = of_ivan(ledger)
    first = Remembered(tmp_path, "iap", bytes(32))
    held = table(first.believed(TRUST))
    if told_in_time:
        assert ask(held, x1.Roster(lines=told)) == ""
        assert prove(held, ledger.shown(index)) == ""
        first.keep(held.trust)
    first.close()
    file = TRUST.with_roster(TRUST.roster.continued(told))  # as `load_trust` reads it
    for _ in range(2):
        remembered = Remembered(tmp_path, "iap", bytes(32))
        held = task_table.TaskTable(remembered.believed(file), lambda _: None)
        assert (held.trust.believed, held.trust.timely) == (1, 1 + told_in_time)
        assert ask(held, x1.ActivateTask(request=order)) == Check.KEY_UNKNOWN
        assert remembered.failures == 0
        remembered.close()
    late_ns = NOW_NS + YEAR_S * 10**9
    remembered = Remembered(tmp_path, "iap", bytes(32))
    held = task_table.TaskTable(remembered.believed(file), lambda _: None)
    assert ask(held, x1.Roster(lines=told), late_ns) == ""
    assert ask(held, x1.ProveRoster(first=1, proofs=(ledger.shown(index),)), late_ns) == ""
    remembered.keep(held.trust)
    assert held.trust.arming() is held.trust
    remembered.close()
    (tmp_path / "later").mkdir()
    for folder in (tmp_path, tmp_path / "later"):  # the latter remembers nothing: what it finds, it finds in time
        remembered = Remembered(folder, "iap", bytes(32))
        begun = remembered.believed(file)
        assert (begun.timely, begun.believed) == (2, 1)
        remembered.close()


def test_a_tree_of_two_heads_is_noticed() -> None:
    """The head of a proof is held against the last one that was seen, as an order's is."""
    held, ledger, fork, told = table(), Ledger(), Ledger(), appointing(NOW_S - 100)
    honest = a.good(ledger=fork)
    assert ask(held, x1.ActivateTask(request=honest)) == ""
    assert ledger.changed(told) + 1 == fork.tree.size and fork.tree.root() != ledger.tree.root() != merkle.EMPTY_ROOT
    ask(held, x1.Roster(lines=told))
    assert prove(held, ledger.shown(ledger.tree.size - 1)) == Check.PROOF_CONSISTENCY
    assert held.trust.believed == 1
