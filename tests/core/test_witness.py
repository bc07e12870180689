"""The witness: every status of C2SP tlog-witness, what is evidence, and that nothing but growth is ever cosigned."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mediation.core.errors import LocalProtocolError, RemoteProtocolError
from mediation.core.ledger import cosignature, merkle, note, witness
from tests.core.cosigning import LEDGER, NOW_S, ed25519, grown, head, mldsa, signed

TREE, OTHER = grown(40), grown(40, b"forged")
KEYS = (ed25519(1), mldsa(1))

# The request of the specification: its keys are not published, its form is.
EXAMPLE = """\
old 20852014
PlRNCrwHpqhGrupue0L7gxbjbMiKA9temvuZZDDpkaw=
jrJZDmY8Y7SyJE0MWLpLozkIVMSMZcD5kvuKxPC3swk=
5+pKlUdi2LeF/BcMHBn+Ku6yhPGNCswZZD1X/6QgPd8=
/6WVhPs2CwSsb5rYBH5cjHV/wSmA79abXAwhXw3Kj/0=

example.com/behind-the-sofa
20852163
CsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=

\u2014 example.com/behind-the-sofa Az3grlgtzPICa5OS8npVmf1Myq/5IZniMp+ZJurmRDeOoRDe4URYN7u5/Zhcyv2q1gGzGku9nTo+zyWE+xeMcTOAYQ8=
\u2014 example.com/behind-the-sofa opLqBQsREYCgu6xQkYQwJr9fo45a62DN9EdmHXnZdXNqlcVGlCum2Wks+49/V6267UEjw6QUXTS5Rovnzv++qbSzm9Q=
"""  # noqa: E501
RESPONSE = """\
\u2014 witness.example/w1 CMp+6LWBU0anHGH5aNDTJkH/gj79sG+T6+iP2ThYN5krrDJbR1HDnucjL39QsZTSvVjyQLrdk3DXDqI5G2HgLatVs0pWh6Up69HVOw==
\u2014 witness.example/w1 I7rEps0pvK2UqkS2gSpVUDhrhVtQV9lgF6pRrWAvjJHjyWpW7VcE3SiOlVlbQNt64vWhO+DlkL0+UfzuOBMh9ChdMkP1vi/lCAsmlw==
\u2014 witness.example/w2 AWui8Sk55XjYLOijihBjhqEH6nS1ndDymE0a+6idX7pLcnoB+dhnz0854aLZgrrKbYKA7nC3HNJhm/kWl7oJlqU3rXXvpysAdyP3wQ==
"""  # noqa: E501


def made(seen: int = 0) -> witness.Witness:
    found = witness.Witness(KEYS, [LEDGER.verifier])
    if seen:
        grow(found, 0, seen)
    return found


def request(old: int, size: int, tree: merkle.Tree = TREE) -> bytes:
    proof = merkle.consistency_path(old, size, tree.read) if 0 < old <= size else []
    return witness.compose_request(old, proof, signed(tree, size))


def grow(found: witness.Witness, old: int, size: int) -> witness.Answer:
    answer = found.add_checkpoint(request(old, size), NOW_S)
    assert answer.status == 200 and answer.update is not None
    found.commit(answer.update)
    return answer


def test_the_request_of_the_specification() -> None:
    parsed = witness.parse_request(EXAMPLE.encode())
    assert parsed.old == 20852014 and len(parsed.proof) == 4
    assert len(note.split(parsed.note)[1]) == 2
    assert witness.compose_request(parsed.old, parsed.proof, parsed.note) == EXAMPLE.encode()
    assert made().add_checkpoint(EXAMPLE.encode(), NOW_S).status == 404


def test_the_answer_of_the_specification() -> None:
    lines = witness.parse_cosignatures(RESPONSE.encode())
    assert [line.name for line in lines] == ["witness.example/w1", "witness.example/w1", "witness.example/w2"]
    assert {len(line.octets) for line in lines} == {72}
    for octets in (b"", b"\n", RESPONSE.encode()[:-1], RESPONSE.encode() + b"\n", b"\xff\n", b"x\n"):
        with pytest.raises(RemoteProtocolError):
            witness.parse_cosignatures(octets)


def test_growth_is_cosigned_with_both_keys() -> None:
    found = made()
    for old, size in ((0, 1), (1, 2), (2, 17), (17, 17), (17, 40)):
        answer = grow(found, old, size)
        body = note.split(signed(TREE, size))[0]
        for signer, line in zip(KEYS, witness.parse_cosignatures(answer.body.encode()), strict=True):
            assert signer.verifier.time(body, line) == NOW_S
        assert found.head("LAB/ledger") == head(TREE, size)


def test_nothing_changes_before_it_is_durable() -> None:
    found = made(5)
    first = found.add_checkpoint(request(5, 9), NOW_S)
    second = found.add_checkpoint(request(5, 30), NOW_S)
    assert first.update is not None and second.update is not None
    found.commit(second.update)
    with pytest.raises(LocalProtocolError):  # the race of the specification: it would roll 21 leaves back
        found.commit(first.update)


FORGED = merkle.consistency_path(5, 9, OTHER.read)
OTHER_LOG = note.Signer("LAB/ledger", ed25519(5)._key)  # type: ignore[arg-type]
EMPTY = note.Checkpoint(origin="LAB/ledger", size=0, root=bytes(32))
GOOD = signed(TREE, 9)


def wrong_second_line() -> str:
    """A note with a right Ed25519 line; the log's other key stands there with a signature of something else."""
    line = mldsa(3, "LAB/ledger").line(note.split(signed(TREE, 8))[0], 1)
    return GOOD + line


@pytest.mark.parametrize(
    ("octets", "status", "bad"),
    [
        (b"", 400, None), (b"old 5\n", 400, None), (b"old 05\n\n" + GOOD.encode(), 400, None),
        (b"old -1\n\n" + GOOD.encode(), 400, None), (b"old 5\nAAAA\n\n" + GOOD.encode(), 400, None),
        (b"old 5\n\n\n" + GOOD.encode(), 400, None), (b"old 5\n\n" + GOOD.encode()[:-1], 400, None),
        (b"old 5\n\xff\n\n" + GOOD.encode(), 400, None),
        (b"old 5\n" + (b"A" * 43 + b"=\n") * 64 + b"\n" + GOOD.encode(), 400, None),
        (b"x" * (witness.MAX_REQUEST_OCTETS + 1), 400, None),
        (request(10, 9), 400, None),
        (witness.compose_request(5, [], LEDGER.sign(head(TREE, 9, "other").text())), 404, None),
        (witness.compose_request(5, [], OTHER_LOG.sign(head(TREE, 9).text())), 403, None),
        (witness.compose_request(5, [], GOOD.replace("\n9\n", "\n8\n")), 403, None),
        (witness.compose_request(5, [], GOOD + GOOD.rpartition("\n\n")[2]), 403, None),
        (request(0, 9), 409, None), (request(4, 9), 409, None), (request(6, 9), 409, None), (request(0, 4), 409, None),
        (request(4, 5, OTHER), 409, witness.Bad.FORK), (request(5, 5, OTHER), 422, witness.Bad.FORK),
        (request(5, 9, OTHER), 422, witness.Bad.UNPROVEN),
        (witness.compose_request(5, [], GOOD), 422, witness.Bad.UNPROVEN),
        (witness.compose_request(5, FORGED, GOOD), 422, witness.Bad.UNPROVEN),
        (witness.compose_request(5, FORGED, signed(TREE, 5)), 422, None),  # its own head: no fault
    ],
)  # fmt: skip
def test_the_table_of_refusals(octets: bytes, status: int, bad: witness.Bad | None) -> None:
    found = made(5)
    answer = found.add_checkpoint(octets, NOW_S)
    assert (answer.status, answer.bad, answer.update) == (status, bad, None)
    if status == 409:
        assert answer.body == "5\n" and answer.content_type == "text/x.tlog.size"
        assert witness.parse_size(answer.body.encode()) == 5
    if bad is not None:
        assert answer.evidence[0].startswith("LAB/ledger\n5\n") and answer.evidence[1]
    assert found.head("LAB/ledger") == head(TREE, 5)
    assert grow(found, 5, 9).status == 200  # and it goes on


@pytest.mark.parametrize("root", [bytes(32), TREE.root(1)])
def test_an_empty_tree_has_one_root(root: bytes) -> None:
    found = made()
    text = LEDGER.sign(note.Checkpoint(origin="LAB/ledger", size=0, root=root).text())
    assert found.add_checkpoint(witness.compose_request(0, [], text), NOW_S).status == 422
    empty = LEDGER.sign(head(grown(0)).text())
    assert found.add_checkpoint(witness.compose_request(0, [], empty), NOW_S).status == 200


def test_a_proof_from_nothing_must_be_empty() -> None:
    octets = witness.compose_request(0, merkle.consistency_path(1, 9, TREE.read), GOOD)
    assert made().add_checkpoint(octets, NOW_S).status == 422


def test_a_log_with_two_keys() -> None:
    second = mldsa(3, "LAB/ledger")
    found = witness.Witness(KEYS, [LEDGER.verifier, second.verifier])
    body = note.split(GOOD)[0]
    both = GOOD + second.line(body, NOW_S)
    assert found.add_checkpoint(witness.compose_request(0, [], both), NOW_S).status == 200
    # A line that names a trusted key and does not verify is refused, whatever else signed (tlog-witness: 403).
    assert found.add_checkpoint(witness.compose_request(0, [], wrong_second_line()), NOW_S).status == 403
    assert made().add_checkpoint(witness.compose_request(0, [], wrong_second_line()), NOW_S).status == 200
    alone = f"{body}\n{second.line(body, 0)}"
    assert found.add_checkpoint(witness.compose_request(0, [], alone), NOW_S).status == 200


def test_what_a_monitor_sees() -> None:
    found = made()
    path = witness.monitor_path("LAB/ledger")
    assert found.monitor(path).status == 404
    stranger = ed25519(6).line(note.split(signed(TREE, 9))[0], NOW_S)
    answer = found.add_checkpoint(witness.compose_request(0, [], signed(TREE, 9) + stranger), NOW_S)
    assert answer.update is not None
    found.commit(answer.update)
    served = found.monitor(path)
    assert served.status == 200
    assert [line.name for line in note.split(served.body)[1]] == [
        "LAB/ledger",
        "witness.example/w1",
        "witness.example/m1",
    ]
    for wrong in ("/", "/checkpoint", path + "/", path.upper(), "/" + "0" * 64 + "/checkpoint"):
        assert found.monitor(wrong).status == 404


def test_its_state_is_its_own_word() -> None:
    found = made(9)
    kept = found.monitor(witness.monitor_path("LAB/ledger")).body
    again = made()
    again.restore("LAB/ledger", "")
    again.restore("LAB/ledger", kept)
    assert again.head("LAB/ledger") == head(TREE, 9)
    assert grow(again, 9, 30).status == 200
    for text in (kept.replace("\n9\n", "\n8\n"), signed(TREE, 9), kept[:-1], "x"):
        with pytest.raises(RemoteProtocolError):
            made().restore("LAB/ledger", text)


def test_what_is_no_witness() -> None:
    own = cosignature.Signer("w", LEDGER._key)
    for signers in ([], [own]):
        with pytest.raises(ValueError, match="witness"):
            witness.Witness(signers, [LEDGER.verifier])


@pytest.mark.parametrize("octets", [b"", b"5", b"05\n", b"-1\n", b"5\n\n", b"9" * 16 + b"\n", b"\xd9\xa7\n"])
def test_what_is_no_size(octets: bytes) -> None:
    with pytest.raises(RemoteProtocolError):
        witness.parse_size(octets)


@settings(max_examples=60)
@given(st.lists(st.tuples(st.integers(0, 40), st.integers(0, 40), st.booleans()), max_size=12))
def test_whatever_is_asked_it_cosigns_one_growing_tree(steps: list[tuple[int, int, bool]]) -> None:
    """An attacker with the log's key: all that a witness ever cosigned lies in one tree."""
    found = witness.Witness([ed25519(1)], [LEDGER.verifier])
    heads: list[tuple[int, bytes]] = []
    for old, size, honest in steps:
        answer = found.add_checkpoint(request(old, size, TREE if honest else OTHER), NOW_S)
        if answer.update is not None:
            found.commit(answer.update)
            heads.append((size, (TREE if honest else OTHER).root(size)))
    assert [size for size, _ in heads] == sorted(size for size, _ in heads)
    roots = [{tree.root(size): tree for tree in (TREE, OTHER)} for size, _ in heads if size]
    for tree in (TREE, OTHER):
        if roots and heads[-1][1] == tree.root(heads[-1][0]):
            assert all(root == tree.root(size) for size, root in heads)


@given(st.binary(max_size=200))
def test_any_octets_are_answered(octets: bytes) -> None:
    found = made(5)
    for given_ in (octets, b"old 5\n" + octets, b"old 5\n\n" + GOOD.encode()[:90] + octets + GOOD.encode()[90:]):
        assert found.add_checkpoint(given_, NOW_S).status in (400, 403, 404, 422)
