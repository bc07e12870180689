"""Witness keys from fixed seeds, notes and policies, for the tests of cosignatures and of witnesses."""

from __future__ import annotations

from collections.abc import Iterable

from mediation.core.ledger import cosignature, merkle, note
from tests.core.authority import private

LEDGER = note.Signer("LAB/ledger", private(9))
NOW_S = 1_790_000_000


def ed25519(n: int, name: str = "") -> cosignature.Signer:
    return cosignature.Signer.from_seed(name or f"witness.example/w{n}", cosignature.ED25519_V1, bytes([n]) * 32)


def mldsa(n: int, name: str = "") -> cosignature.Signer:
    return cosignature.Signer.from_seed(name or f"witness.example/m{n}", cosignature.MLDSA44, bytes([n]) * 32)


def grown(size: int, salt: bytes = b"") -> merkle.Tree:
    """A tree of `size` leaves; another `salt` gives another history."""
    return merkle.Tree(merkle.leaf_hash(salt + n.to_bytes(4, "big")) for n in range(size))


def head(tree: merkle.Tree, size: int | None = None, origin: str = "LAB/ledger") -> note.Checkpoint:
    size = tree.size if size is None else size
    return note.Checkpoint(origin=origin, size=size, root=tree.root(size))


def signed(tree: merkle.Tree, size: int | None = None) -> str:
    """The ledger's note over the first `size` leaves."""
    return LEDGER.sign(head(tree, size).text())


def cosigned(text: str, signers: Iterable[cosignature.Signer], time_s: int = NOW_S) -> str:
    body = note.split(text)[0]
    return text + "".join(signer.line(body, time_s) for signer in signers)
