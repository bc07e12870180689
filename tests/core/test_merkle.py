"""The tree against RFC 6962 §2.1 itself, written down a second time as the recursion that the RFC gives."""

from __future__ import annotations

import contextlib
import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mediation.core.ledger import merkle

# The inputs that RFC 6962's own trees are tested with everywhere, and the roots of their first 0 to 8 leaves.
LEAVES = [bytes.fromhex(text) for text in (
    "", "00", "10", "2021", "3031", "40414243", "5051525354555657", "606162636465666768696a6b6c6d6e6f",
)]  # fmt: skip
ROOTS = [
    "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
]


def mth(data: list[bytes]) -> bytes:
    """MTH of RFC 6962 §2.1, word for word."""
    if not data:
        return hashlib.sha256(b"").digest()
    if len(data) == 1:
        return hashlib.sha256(b"\x00" + data[0]).digest()
    k = 1
    while k * 2 < len(data):
        k *= 2
    return hashlib.sha256(b"\x01" + mth(data[:k]) + mth(data[k:])).digest()


def path(m: int, data: list[bytes]) -> list[bytes]:
    """PATH of RFC 6962 §2.1.1."""
    if len(data) == 1:
        return []
    k = 1
    while k * 2 < len(data):
        k *= 2
    return [*path(m, data[:k]), mth(data[k:])] if m < k else [*path(m - k, data[k:]), mth(data[:k])]


def subproof(m: int, data: list[bytes], complete: bool) -> list[bytes]:
    """SUBPROOF of RFC 6962 §2.1.2."""
    if m == len(data):
        return [] if complete else [mth(data)]
    k = 1
    while k * 2 < len(data):
        k *= 2
    if m <= k:
        return [*subproof(m, data[:k], complete), mth(data[k:])]
    return [*subproof(m - k, data[k:], False), mth(data[:k])]


def tree_of(data: list[bytes]) -> merkle.Tree:
    return merkle.Tree(merkle.leaf_hash(each) for each in data)


def test_known_roots() -> None:
    tree = tree_of(LEAVES)
    assert [tree.root(size).hex() for size in range(9)] == ROOTS


@pytest.mark.parametrize("size", [1, 2, 3, 5, 7, 8, 31, 64, 100, 257])
def test_all_paths_are_the_rfcs(size: int) -> None:
    data = [n.to_bytes(4, "big") for n in range(size)]
    tree = tree_of(data)
    assert tree.root() == mth(data)
    for index in range(size):
        proof = merkle.inclusion_path(index, size, tree.read)
        assert proof == path(index, data)
        assert merkle.root_from_inclusion(merkle.leaf_hash(data[index]), index, size, proof) == mth(data)


def test_all_consistency_proofs_are_the_rfcs() -> None:
    data = [bytes([n]) for n in range(40)]
    tree = tree_of(data)
    for second in range(1, 41):
        for first in range(1, second + 1):
            proof = merkle.consistency_path(first, second, tree.read)
            assert proof == subproof(first, data[:second], True)
            assert merkle.consistent(first, second, tree.root(first), tree.root(second), proof)


@given(st.integers(1, 300), st.data())
def test_a_changed_proof_proves_nothing(size: int, data: st.DataObject) -> None:
    leaves = [n.to_bytes(2, "big") for n in range(size)]
    tree = tree_of(leaves)
    index = data.draw(st.integers(0, size - 1))
    proof = merkle.inclusion_path(index, size, tree.read)
    changed = list(proof)
    act = data.draw(st.sampled_from(["leaf", "flip", "drop", "add", "index"]))
    leaf, at = merkle.leaf_hash(leaves[index]), index
    if act == "leaf" or not proof:
        leaf = merkle.leaf_hash(b"another")
    elif act == "flip":
        n = data.draw(st.integers(0, len(proof) - 1))
        changed[n] = bytes([changed[n][0] ^ 1]) + changed[n][1:]
    elif act == "drop":
        del changed[data.draw(st.integers(0, len(proof) - 1))]
    elif act == "add":
        changed.insert(data.draw(st.integers(0, len(proof))), bytes(32))
    else:
        at = data.draw(st.integers(0, size - 1).filter(lambda n: n != index))
    with contextlib.suppress(ValueError):
        assert merkle.root_from_inclusion(leaf, at, size, changed) != tree.root()


@given(st.integers(2, 200), st.data())
def test_a_changed_history_is_not_consistent(second: int, data: st.DataObject) -> None:
    first = data.draw(st.integers(1, second - 1))
    leaves = [n.to_bytes(2, "big") for n in range(second)]
    honest = tree_of(leaves)
    leaves[data.draw(st.integers(0, first - 1))] = b"edited"
    forged = tree_of(leaves)
    proof = merkle.consistency_path(first, second, forged.read)
    assert not merkle.consistent(first, second, honest.root(first), forged.root(second), proof)
    good = merkle.consistency_path(first, second, honest.read)
    assert not merkle.consistent(first, second, honest.root(first), honest.root(second), good[:-1])
    assert not merkle.consistent(first, second, honest.root(first), honest.root(second), [*good, bytes(32)])
    assert not merkle.consistent(second, first, honest.root(second), honest.root(first), good)


@pytest.mark.parametrize(("index", "size"), [(0, 0), (1, 1), (-1, 3), (3, 3)])
def test_an_index_outside_of_the_tree(index: int, size: int) -> None:
    tree = tree_of([b"a", b"b", b"c"])
    with pytest.raises(ValueError, match="index"):
        merkle.inclusion_path(index, size, tree.read)
    with pytest.raises(ValueError, match="index"):
        merkle.root_from_inclusion(bytes(32), index, size, [])


@pytest.mark.parametrize(("first", "second"), [(0, 3), (3, 2), (-1, 2)])
def test_sizes_out_of_order(first: int, second: int) -> None:
    tree = tree_of([b"a", b"b", b"c"])
    with pytest.raises(ValueError, match="sizes"):
        merkle.consistency_path(first, second, tree.read)


@given(st.integers(0, 130), st.integers(0, 130))
def test_a_truncated_tree_is_the_smaller_tree(size: int, more: int) -> None:
    data = [n.to_bytes(2, "big") for n in range(size + more)]
    tree = tree_of(data)
    tree.truncate(size)
    assert (tree.size, tree.root()) == (size, mth(data[:size]))
    for each in data[size:]:
        tree.append(merkle.leaf_hash(each))
    assert tree.root() == mth(data)


@given(st.integers(0, 300), st.integers(0, 600))
def test_leaves_that_come_together_are_the_same_tree(before: int, together: int) -> None:
    data = [n.to_bytes(2, "big") for n in range(before + together)]
    tree = tree_of(data[:before])
    tree.extend(b"".join(merkle.leaf_hash(each) for each in data[before:]))
    assert (tree.size, tree.root()) == (len(data), mth(data))
    for index in range(0, len(data), 97):
        assert tree.inclusion_path(index, len(data)) == merkle.inclusion_path(index, len(data), tree_of(data).read)
