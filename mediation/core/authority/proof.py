"""That something stands in the ledger: the record of an act, an extension or a call-back, under a signed tree head.

Answers for RFC 6962 inclusion of one commitment under a checkpoint that `Trust` believes, and for the record being of
exactly these texts. Sans-I/O. Raises AuthorizationError with the name of a check.
"""

from __future__ import annotations

from typing import TypeVar

import msgspec

from mediation.core.authority import jws
from mediation.core.authority.trust import Trust
from mediation.core.case import Extension, LegalExtension, Proof, TaskRequest
from mediation.core.check import Check
from mediation.core.errors import AuthorizationError
from mediation.core.ledger import entry, merkle

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


def proven(proof: Proof, trust: Trust, kind: type[R]) -> R:
    """The record of `kind` that `proof` shows to stand in this site's ledger."""
    checkpoint = trust.checkpoint(proof.checkpoint)
    try:
        salt = bytes.fromhex(proof.salt)
        path = [bytes.fromhex(sibling) for sibling in proof.path]
        record = entry.decode(proof.record)
    except (ValueError, msgspec.MsgspecError):
        raise AuthorizationError(Check.STRUCTURE, "proof") from None
    if len(salt) != entry.SALT_OCTETS or any(len(sibling) != merkle.HASH_OCTETS for sibling in path):
        raise AuthorizationError(Check.STRUCTURE, "proof")
    leaf = merkle.leaf_hash(entry.commitment(salt, proof.record))
    try:
        root = merkle.root_from_inclusion(leaf, proof.index, checkpoint.size, path)
    except ValueError:
        raise AuthorizationError(Check.PROOF_INCLUSION) from None
    if root != checkpoint.root:
        raise AuthorizationError(Check.PROOF_INCLUSION)
    if not isinstance(record, kind):
        raise AuthorizationError(Check.PROOF_RECORD)
    return record
