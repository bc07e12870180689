"""That something stands in the ledger: the record of an act, an extension, a call-back or a change of the roster, under
a signed tree head.

Answers for RFC 6962 inclusion of one commitment under a checkpoint that `Trust` believes, and for the record being of
exactly these texts. Sans-I/O. Raises AuthorizationError with the name of a check.
"""

from __future__ import annotations

from typing import TypeVar

import msgspec

from mediation.core.authority import jws
from mediation.core.authority.roster import digest
from mediation.core.authority.trust import Opened, Trust
from mediation.core.case import Extension, LegalExtension, Proof, TaskRequest
from mediation.core.check import Check
from mediation.core.errors import AuthorizationError
from mediation.core.ledger import entry, merkle

SHARED_HEIGHT = 6  # proofs of 64 neighbours under one head have all above this level in common
NODES_KEPT = 1_024  # of each head: 65,536 entries, 2 MB (ours)
_WHOLE = [merkle.HASH_OCTETS] * SHARED_HEIGHT
R = TypeVar("R", bound=entry.Entry)


def call_back(request: TaskRequest, case: str, trust: Trust) -> int:
    """The index of the call-back's entry; -1 for a request that has none."""
    if bool(request.call_back) is not (request.call_back_proof is not None):
        raise AuthorizationError(Check.PROOF_COUNT)
    if request.call_back_proof is None:
        return -1
    record = proven(request.call_back_proof, trust, entry.CallBackFiled)
    if (record.case, record.legal_sha256, record.call_back_sha256) != (
        case, jws.sha256_hex(request.legal), jws.sha256_hex(request.call_back)
    ):  # fmt: skip
        raise AuthorizationError(Check.PROOF_RECORD)
    return request.call_back_proof.index


def extension(extension: Extension, legal: LegalExtension, carrier_sha256: str, last_index: int, trust: Trust) -> int:
    """The index of an extension's entry, which comes after all that was done before it."""
    record = proven(extension.proof, trust, entry.ExtensionFiled)
    if (
        record.case, record.carrier_sha256, record.legal_extension_sha256, record.carrier_extension_sha256,
        record.not_after_s,
    ) != (
        legal.case, carrier_sha256, jws.sha256_hex(extension.legal), jws.sha256_hex(extension.carrier),
        legal.not_after_s,
    ):  # fmt: skip
        raise AuthorizationError(Check.PROOF_RECORD)
    if extension.proof.index <= last_index:
        raise AuthorizationError(Check.PROOF_ORDER)
    return extension.proof.index


def change(shown: Proof, trust: Trust) -> Trust:
    """The trust in which the next change of its roster may begin something: its entry stands in the ledger, after that
    of the change before, and its approvers were in office when it was there to be seen."""
    number = trust.believed
    if number >= len(trust.roster.lines):
        raise AuthorizationError(Check.ROSTER, f"change {number}: not held here")
    text, judged = trust.roster.lines[number], trust.roster.judged[number]
    record = proven(shown, trust, entry.RosterChanged)
    if (record.number, record.change_sha256, record.approvers) != (number, digest(text), judged.approvers):
        raise AuthorizationError(Check.PROOF_RECORD, f"change {number}")
    if shown.index <= trust.last_entry:
        raise AuthorizationError(Check.PROOF_ORDER, f"change {number}")
    if number >= trust.timely and not judged.counts_at(trust.opened(shown.checkpoint).seen_s):
        raise AuthorizationError(Check.ROSTER_DATES, f"change {number}: not seen in its approvers' time in office")
    return trust.proving(shown.index)


def proven(proof: Proof, trust: Trust, kind: type[R]) -> R:
    """The record of `kind` that `proof` shows to stand in this site's ledger."""
    opened = trust.opened(proof.checkpoint)
    try:
        salt = bytes.fromhex(proof.salt)
        record = entry.decode(proof.record)
    except (ValueError, msgspec.MsgspecError):
        raise AuthorizationError(Check.STRUCTURE, "proof") from None
    if len(salt) != entry.SALT_OCTETS:
        raise AuthorizationError(Check.STRUCTURE, "proof")
    _included(merkle.leaf_hash(entry.commitment(salt, proof.record)), proof, opened)
    if not isinstance(record, kind):
        raise AuthorizationError(Check.PROOF_RECORD)
    return record


def _included(leaf: bytes, proof: Proof, opened: Opened) -> None:
    """Raises AuthorizationError unless the path leads from the leaf to the head's root.

    What lies above SHARED_HEIGHT is the same octets for all neighbours: it is followed once for each, and known by
    them and by the place. Only what led to the root is ever known, so that a known node proves as much as the root.
    """
    place = proof.index >> SHARED_HEIGHT, proof.path[SHARED_HEIGHT:]
    node = _shared_node(leaf, proof, opened.head.size)
    if node is not None and opened.nodes.get(place) == node:
        return
    try:
        path = [bytes.fromhex(sibling) for sibling in proof.path]
    except ValueError:
        raise AuthorizationError(Check.STRUCTURE, "proof") from None
    if any(len(sibling) != merkle.HASH_OCTETS for sibling in path):
        raise AuthorizationError(Check.STRUCTURE, "proof")
    try:
        root = merkle.root_from_inclusion(leaf, proof.index, opened.head.size, path)
    except ValueError:
        raise AuthorizationError(Check.PROOF_INCLUSION) from None
    if root != opened.head.root:
        raise AuthorizationError(Check.PROOF_INCLUSION)
    if node is not None:
        if len(opened.nodes) >= NODES_KEPT:
            del opened.nodes[next(iter(opened.nodes))]
        opened.nodes[place] = node


def _shared_node(leaf: bytes, proof: Proof, size: int) -> bytes | None:
    """The node at SHARED_HEIGHT that the path claims over the leaf; None where the tree has no complete subtree, or the
    path is malformed."""
    if not 0 <= proof.index >> SHARED_HEIGHT < size >> SHARED_HEIGHT:
        return None
    try:
        siblings = [bytes.fromhex(sibling) for sibling in proof.path[:SHARED_HEIGHT]]
    except ValueError:
        return None
    if [len(sibling) for sibling in siblings] != _WHOLE:
        return None
    return merkle.fold(leaf, proof.index, siblings)
