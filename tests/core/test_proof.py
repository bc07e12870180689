"""Inclusion under a head when neighbours were proven before: what is known must never answer for other octets."""

from __future__ import annotations

from collections.abc import Callable

import msgspec
import pytest

from mediation.core.authority import proof
from mediation.core.case import Act, Proof
from mediation.core.check import Check
from mediation.core.errors import AuthorizationError
from mediation.core.ledger import entry
from tests.core import authority as a

ENTRIES = 3 * (1 << proof.SHARED_HEIGHT) + 5  # three complete subtrees, and the ragged edge of the tree
AT = 70  # in the second of them


def record(number: int) -> entry.CommandAccepted:
    return entry.CommandAccepted(
        time_us=number, case=f"CASE-{number}", act=Act.ACTIVATE, sequence=1, legal_sha256="", carrier_sha256="",
        command_sha256="", officer="olga",
    )  # fmt: skip


@pytest.fixture(scope="module")
def ledger() -> a.Ledger:
    found = a.Ledger()
    for number in range(1, ENTRIES):
        found.add(entry.encode(record(number)))
    return found


def flipped(text: str) -> str:
    return f"{int(text[0], 16) ^ 1:x}{text[1:]}"


def sibling(at: int) -> Callable[[Proof], Proof]:
    def change(good: Proof) -> Proof:
        path = list(good.path)
        path[at] = flipped(path[at])
        return msgspec.structs.replace(good, path=tuple(path))

    return change


def path(change: Callable[[tuple[str, ...]], tuple[str, ...]]) -> Callable[[Proof], Proof]:
    return lambda good: msgspec.structs.replace(good, path=change(good.path))


CHANGES: dict[str, Callable[[Proof], Proof]] = {
    **{f"sibling {at}": sibling(at) for at in range(8)},
    "none": lambda good: good,
    "salt": lambda good: msgspec.structs.replace(good, salt=flipped(good.salt)),
    "record": lambda good: msgspec.structs.replace(good, record=entry.encode(record(9_999))),
    "the neighbour": lambda good: msgspec.structs.replace(good, index=good.index ^ 1),
    "the same place of the next subtree": lambda good: msgspec.structs.replace(good, index=good.index + 64),
    "beyond the tree": lambda good: msgspec.structs.replace(good, index=1 << 40),
    "before the tree": lambda good: msgspec.structs.replace(good, index=-1),
    "no path": path(lambda _: ()),
    "lower part alone": path(lambda good: good[: proof.SHARED_HEIGHT]),
    "upper part alone": path(lambda good: good[proof.SHARED_HEIGHT :]),
    "one short": path(lambda good: good[:-1]),
    "one long": path(lambda good: (*good, good[-1])),
    "not hex, below": path(lambda good: ("zz" * 32, *good[1:])),
    "not hex, above": path(lambda good: (*good[:-1], "zz" * 32)),
    "half a hash, below": path(lambda good: (good[0][:32], *good[1:])),
    "half a hash, above": path(lambda good: (*good[:-1], good[-1][:32])),
    "two spellings": path(lambda good: (*good[:-1], good[-1].upper())),
}
ACCEPTED = {"none", "two spellings"}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_what_is_known_changes_no_answer(
    change: Callable[[Proof], Proof], ledger: a.Ledger, request: pytest.FixtureRequest
) -> None:
    """With a subtree known and without, the same proofs are refused, by the same check."""
    known, new = a.trust(), a.trust()
    for index in (AT - 1, AT, AT + 64):
        proof.proven(ledger.proof(index), known, entry.CommandAccepted)
    assert len(known.opened(ledger.proof(AT).checkpoint).nodes) == 2
    answers = []
    for trust in (known, new):
        try:
            answers.append(proof.proven(change(ledger.proof(AT)), trust, entry.CommandAccepted).case)
        except AuthorizationError as error:
            answers.append(error.check)
    assert answers[0] == answers[1]
    name = request.node.callspec.id
    assert answers[0] == f"CASE-{AT}" if name in ACCEPTED else answers[0] in (Check.PROOF_INCLUSION, Check.STRUCTURE)


def test_every_entry_is_proven(ledger: a.Ledger) -> None:
    """In whatever order, the last ones in no complete subtree."""
    trust = a.trust()
    for index in [*range(1, ENTRIES), *range(ENTRIES - 1, 0, -1)]:
        assert proof.proven(ledger.proof(index), trust, entry.CommandAccepted).case == f"CASE-{index}"
    assert len(trust.opened(ledger.proof(1).checkpoint).nodes) == 3


def test_what_is_known_of_one_head_is_nothing_to_another(ledger: a.Ledger) -> None:
    trust, other = a.trust(), a.Ledger()
    for number in range(1, ENTRIES):
        other.add(entry.encode(record(number + 1)))
    good, foreign = ledger.proof(AT), other.proof(AT)
    proof.proven(good, trust, entry.CommandAccepted)
    proof.proven(foreign, trust, entry.CommandAccepted)
    with pytest.raises(AuthorizationError, match=Check.PROOF_INCLUSION):
        proof.proven(msgspec.structs.replace(good, checkpoint=foreign.checkpoint), trust, entry.CommandAccepted)


def test_what_is_refused_is_not_known(ledger: a.Ledger) -> None:
    trust = a.trust()
    with pytest.raises(AuthorizationError):
        proof.proven(sibling(7)(ledger.proof(AT)), trust, entry.CommandAccepted)
    assert trust.opened(ledger.proof(AT).checkpoint).nodes == {}


def test_the_memory_is_bounded(ledger: a.Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(proof, "NODES_KEPT", 2)
    trust = a.trust()
    for index in (1, 65, 129, 2):
        proof.proven(ledger.proof(index), trust, entry.CommandAccepted)
    assert len(trust.opened(ledger.proof(1).checkpoint).nodes) == 2
