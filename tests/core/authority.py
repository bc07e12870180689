"""A site's worth of persons, keys and a ledger in memory, for tests that need an order with full authority."""

from __future__ import annotations

from typing import Any

import msgspec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from mediation.core.authority import jws
from mediation.core.authority.roster import Appointment, Contact
from mediation.core.authority.trust import Key, Ring, Trust
from mediation.core.case import (
    Act,
    Authority,
    CallBack,
    Capability,
    CarrierExtension,
    CarrierToken,
    Command,
    Destination,
    Extension,
    LegalExtension,
    LegalToken,
    Proof,
    Role,
    TaskRequest,
)
from mediation.core.ledger import cosignature, entry, merkle, note, policy

NOW_S = 1_800_000_000
NOW_NS = NOW_S * 1_000_000_000
ORIGIN = "test/ledger"


def private(seed: int) -> Ed25519PrivateKey:
    return Ed25519PrivateKey.from_private_bytes(bytes([seed]) * 32)


def public(key: Ed25519PrivateKey) -> str:
    return key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw).hex()


def ring_key(kid: str, person: str, key: Ed25519PrivateKey, **changes: Any) -> Key:
    facts = {"not_before_s": NOW_S - 86_400, "not_after_s": NOW_S + 86_400, "lab": False, **changes}
    return Key(kid=kid, person=person, public=public(key), **facts)


KEYS = {role: private(n) for n, role in enumerate(Role, 1)}
PERSONS = {
    Role.LEGAL: "lena", Role.CARRIER: "carl", Role.OFFICER: "olga", Role.AUDITOR: "aude", Role.EXECUTIVE: "edda",
}  # fmt: skip
SENIOR = Appointment(
    person="edda", name="Edda", role=Role.EXECUTIVE, function="chief executive", from_s=0, to_s=1 << 33,
    document_sha256="0d" * 32, senior=True,
)  # fmt: skip
DIRECTORY_NUMBER = "+12125550199"
CONTACT = Contact(agency="AGENCY", number=DIRECTORY_NUMBER, from_s=0)
KIDS = {role: f"{role}-1" for role in Role}
SIGNER = note.Signer(ORIGIN, private(9))
WITNESS = cosignature.Signer.from_seed("test/witness", cosignature.ED25519_V1, bytes([8]) * 32)
POLICY = f"log {SIGNER.verifier}\nwitness test {WITNESS.verifier}\nquorum test\n"


def cosigned(text: str, time_s: int = NOW_S) -> str:
    """The note with the test's one witness's cosignature."""
    return text + WITNESS.line(note.split(text)[0], time_s)


def rings(*, lab: bool = False, **replaced: tuple[Key, ...]) -> list[Ring]:
    """The usual rings; `legal=(key, ...)` and so on replaces one."""
    return [
        Ring(role=role, keys=replaced.get(role.value, (ring_key(KIDS[role], PERSONS[role], KEYS[role], lab=lab),)))
        for role in Role
    ]


def trust(
    *, lab: bool = False, revoked: tuple[str, ...] = (), contacts: tuple[Contact, ...] = (CONTACT,),
    **replaced: tuple[Key, ...],
) -> Trust:  # fmt: skip
    return Trust(
        rings(lab=lab, **replaced), SIGNER.verifier, lab=lab, revoked=revoked, appointments=(SENIOR,),
        contacts=contacts, policy=policy.parse(POLICY),
    )  # fmt: skip


class Ledger:
    """The least that proves: a tree, and one checkpoint over all of it."""

    def __init__(self, signer: note.Signer = SIGNER) -> None:
        self.tree = merkle.Tree()
        self.records: list[tuple[str, bytes]] = []
        self.signer = signer
        self.add(entry.encode(entry.SiteMade(time_us=NOW_S * 1_000_000, origin=ORIGIN, lab=False)))

    def add(self, record: str) -> int:
        salt = len(self.records).to_bytes(32, "big")
        self.records.append((record, salt))
        self.tree.append(merkle.leaf_hash(entry.commitment(salt, record)))
        return self.tree.size - 1

    def proof(self, index: int) -> Proof:
        record, salt = self.records[index]
        checkpoint = note.Checkpoint(origin=self.signer.verifier.name, size=self.tree.size, root=self.tree.root())
        return Proof(
            index=index,
            record=record,
            salt=salt.hex(),
            path=tuple(h.hex() for h in merkle.inclusion_path(index, self.tree.size, self.tree.read)),
            checkpoint=cosigned(self.signer.sign(checkpoint.text())),
        )


LEGAL = LegalToken(
    type="legal",
    case="CASE-1",
    authority=Authority.PEN_REGISTER,
    agency="AGENCY",
    subjects=("tel:+12125550100",),
    not_before_s=NOW_S - 100,
    not_after_s=NOW_S + 3600,
    capabilities=(Capability.CALL_DATA, Capability.DIGITS),
    destination=Destination(host="192.0.2.9", port=41800, certificate_sha256="ab" * 32),
    profile="t1678",
    court="District Court",
    judge="J. Doe",
    presenting_officer="P. Roe",
    document_sha256="cd" * 32,
    issued_s=NOW_S - 60,
    nonce="01" * 16,
)


def sign_legal(
    token: LegalToken = LEGAL, *, kid: str = KIDS[Role.LEGAL], key: Ed25519PrivateKey = KEYS[Role.LEGAL]
) -> str:
    return jws.sign(token, "mediation-legal", kid, key)


def sign_carrier(
    legal: str, *, kid: str = KIDS[Role.CARRIER], key: Ed25519PrivateKey = KEYS[Role.CARRIER], **changes: Any
) -> str:
    facts = {
        "type": "carrier", "case": "CASE-1", "legal_sha256": jws.sha256_hex(legal), "policy_sha256": "ef" * 32,
        "iaps": (), "issued_s": NOW_S - 50, "nonce": "02" * 16, "lab": False,
    }  # fmt: skip
    return jws.sign(CarrierToken(**{**facts, **changes}), "mediation-carrier", kid, key)


def sign_command(
    carrier: str, *, kid: str = KIDS[Role.OFFICER], key: Ed25519PrivateKey = KEYS[Role.OFFICER], **changes: Any
) -> str:
    facts = {
        "type": "command", "act": Act.ACTIVATE, "case": "CASE-1", "carrier_sha256": jws.sha256_hex(carrier),
        "sequence": 1, "dde": False, "issued_s": NOW_S - 40, "expires_s": NOW_S + 600, "nonce": "03" * 16, "lab": False,
    }  # fmt: skip
    return jws.sign(Command(**{**facts, **changes}), "mediation-command", kid, key)


def sign_legal_extension(
    legal: str, *, kid: str = KIDS[Role.LEGAL], key: Ed25519PrivateKey = KEYS[Role.LEGAL], **changes: Any
) -> str:
    facts = {
        "type": "legal-extension", "case": "CASE-1", "legal_sha256": jws.sha256_hex(legal), "previous_sha256": "",
        "not_after_s": LEGAL.not_after_s + 3600, "court": "District Court", "judge": "J. Doe",
        "document_sha256": "ce" * 32, "issued_s": NOW_S - 30, "nonce": "04" * 16, "lab": False,
    }  # fmt: skip
    return jws.sign(LegalExtension(**{**facts, **changes}), "mediation-legal-extension", kid, key)


def sign_carrier_extension(
    carrier: str,
    extension: str,
    *,
    kid: str = KIDS[Role.CARRIER],
    key: Ed25519PrivateKey = KEYS[Role.CARRIER],
    **changes: Any,
) -> str:
    facts = {
        "type": "carrier-extension", "case": "CASE-1", "carrier_sha256": jws.sha256_hex(carrier),
        "extension_sha256": jws.sha256_hex(extension), "policy_sha256": "ef" * 32, "issued_s": NOW_S - 25,
        "nonce": "05" * 16, "lab": False,
    }  # fmt: skip
    return jws.sign(CarrierExtension(**{**facts, **changes}), "mediation-carrier-extension", kid, key)


def sign_call_back(
    legal: str, *, kid: str = KIDS[Role.OFFICER], key: Ed25519PrivateKey = KEYS[Role.OFFICER], **changes: Any
) -> str:
    facts = {
        "type": "call-back", "case": "CASE-1", "legal_sha256": jws.sha256_hex(legal), "agency": "AGENCY",
        "directory_number": DIRECTORY_NUMBER, "called_s": NOW_S - 48, "answered_by": "D. Officer",
        "answer": "confirmed", "issued_s": NOW_S - 45, "nonce": "06" * 16, "lab": False,
    }  # fmt: skip
    return jws.sign(CallBack(**{**facts, **changes}), "mediation-call-back", kid, key)


def filed_extension(carrier: str, pair: tuple[str, str], **changes: Any) -> str:
    """The ledger's entry of an extension."""
    payload = jws.decode(jws.split(pair[0]).payload, LegalExtension)
    facts = {
        "time_us": NOW_S * 1_000_000, "case": payload.case, "carrier_sha256": jws.sha256_hex(carrier),
        "legal_extension_sha256": jws.sha256_hex(pair[0]), "carrier_extension_sha256": jws.sha256_hex(pair[1]),
        "document_sha256": payload.document_sha256, "legal_person": "lena", "carrier_person": "carl",
        "not_after_s": payload.not_after_s,
    }  # fmt: skip
    return entry.encode(entry.ExtensionFiled(**{**facts, **changes}))


def filed_call_back(legal: str, call_back: str, **changes: Any) -> str:
    facts = {
        "time_us": NOW_S * 1_000_000, "case": "CASE-1", "legal_sha256": jws.sha256_hex(legal),
        "call_back_sha256": jws.sha256_hex(call_back), "person": "olga",
    }  # fmt: skip
    return entry.encode(entry.CallBackFiled(**{**facts, **changes}))


def record(legal: str, carrier: str, command: str, **changes: Any) -> str:
    facts = {
        "time_us": NOW_S * 1_000_000, "case": "CASE-1", "act": Act.ACTIVATE, "sequence": 1,
        "legal_sha256": jws.sha256_hex(legal), "carrier_sha256": jws.sha256_hex(carrier),
        "command_sha256": jws.sha256_hex(command), "officer": "olga",
    }  # fmt: skip
    return entry.encode(entry.CommandAccepted(**{**facts, **changes}))


def request(
    legal: str,
    carrier: str,
    *commands: str,
    ledger: Ledger | None = None,
    extensions: tuple[tuple[str, str], ...] = (),
    call_back: str = "",
    **changes: Any,
) -> TaskRequest:
    """An order with all its acts entered in a ledger; `changes` are to the records of the acts.

    `extensions` are the two texts of each; each is entered before the act "extend" that puts it in force.
    """
    ledger = ledger or Ledger()
    called = ledger.add(filed_call_back(legal, call_back)) if call_back else None
    waiting = list(extensions)
    indexes, filed = [], []
    for command in commands:
        payload = jws.decode(jws.split(command).payload, Command)
        if payload.act is Act.EXTEND and waiting:
            filed.append(ledger.add(filed_extension(carrier, waiting.pop(0))))
        facts = {"act": payload.act, "sequence": payload.sequence, "case": payload.case, **changes}
        indexes.append(ledger.add(record(legal, carrier, command, **facts)))
    return TaskRequest(
        legal=legal,
        carrier=carrier,
        commands=commands,
        proofs=tuple(ledger.proof(index) for index in indexes),
        extensions=tuple(
            Extension(legal=pair[0], carrier=pair[1], proof=ledger.proof(index))
            for pair, index in zip(extensions, filed, strict=False)
        ),
        call_back=call_back,
        call_back_proof=ledger.proof(called) if called is not None else None,
    )


def extended(not_after_s: int | None = None, ledger: Ledger | None = None, **acts: Any) -> TaskRequest:
    """The usual order with one extension, by everybody; `acts` are changes to the act."""
    legal = sign_legal()
    carrier = sign_carrier(legal)
    ends = {} if not_after_s is None else {"not_after_s": not_after_s}
    first = sign_legal_extension(legal, **ends)
    pair = (first, sign_carrier_extension(carrier, first))
    act = {"act": Act.EXTEND, "sequence": 2, "extension_sha256": jws.sha256_hex(pair[1]), **acts}
    commands = (sign_command(carrier), sign_command(carrier, **act))
    return request(legal, carrier, *commands, extensions=(pair,), ledger=ledger)


def good(legal_token: LegalToken = LEGAL, ledger: Ledger | None = None, **changes: Any) -> TaskRequest:
    """An order that everybody admits, with a call-back if it needs one; `changes` are to the legal token."""
    token = msgspec.structs.replace(legal_token, **changes)
    legal = sign_legal(token)
    carrier = sign_carrier(legal, case=token.case)
    call_back = sign_call_back(legal, case=token.case) if token.authority.emergency else ""
    return request(legal, carrier, sign_command(carrier, case=token.case), ledger=ledger, call_back=call_back)
