"""Proofs that share what lies above their span (`Tree.inclusion_path`): always those of the RFC, whatever was asked
before, whatever was cut off since, and wherever the span's own leaves come from."""

from __future__ import annotations

import itertools

import pytest

from mediation.core.ledger import merkle
from mediation.core.ledger.merkle import HASH_OCTETS, Tree

SPAN = Tree.SPAN
SIZES = (SPAN, SPAN + 1, 2 * SPAN, 2 * SPAN + 77, 3 * SPAN)


def leaves(count: int, salt: bytes = b"") -> list[bytes]:
    return [merkle.leaf_hash(salt + n.to_bytes(4, "big")) for n in range(count)]


def holds(tree: Tree, leaf: bytes, index: int, size: int) -> bool:
    path = tree.inclusion_path(index, size)
    assert path == merkle.inclusion_path(index, size, tree.read)
    return merkle.root_from_inclusion(leaf, index, size, path) == tree.root(size)


def test_every_proof_is_the_rfcs_in_whatever_order_it_is_asked_for() -> None:
    made = leaves(SIZES[-1])
    tree = Tree(made)
    for index in (0, 1, SPAN - 1, SPAN, SPAN + 1, 2 * SPAN - 1, 2 * SPAN, 2 * SPAN + 76):
        for size in (*SIZES, *reversed(SIZES)):
            if index < size:
                assert holds(tree, made[index], index, size), (index, size)


def test_a_tree_that_grows_shares_nothing_of_the_smaller_one() -> None:
    made = leaves(3 * SPAN)
    tree = Tree(made[:SPAN])
    for size, leaf in enumerate(made[SPAN:], SPAN):
        if size % 61 == 0:
            assert holds(tree, made[7], 7, size)
        tree.append(leaf)
    assert holds(tree, made[7], 7, 3 * SPAN)


@pytest.mark.parametrize("kept", [SPAN, SPAN + 9, 2 * SPAN, 2 * SPAN + 1])
def test_what_was_cut_off_is_in_no_proof(kept: int) -> None:
    """An append that failed after a proof was made under it: the same size, another tree."""
    made, others = leaves(3 * SPAN), leaves(3 * SPAN, b"other")
    tree = Tree(made)
    before = [tree.inclusion_path(index, 3 * SPAN) for index in (3, SPAN - 1)]
    tree.truncate(kept)
    for leaf in others[kept:]:
        tree.append(leaf)
    after = [tree.inclusion_path(index, 3 * SPAN) for index in (3, SPAN - 1)]
    assert all(one != two for one, two in zip(before, after, strict=True))
    known = made[:kept] + others[kept:]
    for index in (3, SPAN - 1, kept - 1, kept, 2 * SPAN + 1, 3 * SPAN - 1):
        assert holds(tree, known[index], index, 3 * SPAN), index


def test_spans_that_are_loaded_again_and_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Tree, "KEPT", 2)
    made = leaves(5 * SPAN + 5)
    asked: list[int] = []

    def load(span: int) -> bytes:
        asked.append(span)
        return b"".join(made[span * SPAN : (span + 1) * SPAN])

    tree = Tree(made, load=load)
    for index, size in itertools.product((1, SPAN + 1, 2 * SPAN + 1, 3 * SPAN + 1), (4 * SPAN, 5 * SPAN + 5)):
        assert holds(tree, made[index], index, size)
    assert set(asked) <= {0, 1, 2, 3} and len(tree._closed) <= 2 and len(tree._above) <= 2


def test_a_span_that_is_not_what_it_was_gives_no_proof() -> None:
    made = leaves(2 * SPAN)
    tree = Tree(load=lambda _: bytes(SPAN * HASH_OCTETS))
    for span in range(2):
        tree.append_span(merkle.rows_of(b"".join(made[span * SPAN : (span + 1) * SPAN]))[1])
    with pytest.raises(ValueError, match="not what the tree was made of"):
        tree.inclusion_path(3, 2 * SPAN)


@pytest.mark.parametrize(("index", "size"), [(-1, SPAN), (SPAN, SPAN), (0, 2 * SPAN + 1), (3 * SPAN, 2 * SPAN)])
def test_nothing_outside_the_tree(index: int, size: int) -> None:
    with pytest.raises((ValueError, IndexError)):
        Tree(leaves(2 * SPAN)).inclusion_path(index, size)
