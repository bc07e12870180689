"""What the ledger records: one struct for each kind of entry, stored as JSON text and never re-serialised after.

Answers for the form of records and for the commitment that hides one in the tree. The tree holds only
SHA-256(salt || record): a record and its salt can be destroyed after the retention that the filed policy states
(47 CFR 1.20004(b)) while every proof over the tree still holds.

No record holds a subject's identity: orders and acts are named by case identity and by the hashes of their tokens.
Times are UTC microseconds since 1970 (`time_us`), by the administrator's authority clock.
"""

from __future__ import annotations

import hashlib

import msgspec

from mediation.core.case import Act

SALT_OCTETS = 32  # of fixed length, so that salt || record has one reading
MAX_RECORD_OCTETS = 8_192


class Entry(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag_field="kind"):
    """Base of all records."""

    time_us: int


class SiteMade(Entry, frozen=True, kw_only=True, tag="site-made"):
    origin: str
    lab: bool


class KeysLoaded(Entry, frozen=True, kw_only=True, tag="keys-loaded"):
    """The administrator started, and these are the SHA-256 of the key rings it read, by role."""

    rings: dict[str, str]


class OrderFiled(Entry, frozen=True, kw_only=True, tag="order-filed"):
    case: str
    xid: str
    agency: str
    authority: str
    legal_sha256: str
    carrier_sha256: str
    document_sha256: str
    legal_person: str
    carrier_person: str


class CommandAccepted(Entry, frozen=True, kw_only=True, tag="command-accepted"):
    """An officer's act, entered before anything is done about it. The proof in a task is of this record."""

    case: str
    act: Act
    sequence: int
    legal_sha256: str
    carrier_sha256: str
    command_sha256: str
    officer: str  # person, as in the key ring


class Outcome(Entry, frozen=True, kw_only=True, tag="outcome"):
    """What a function answered when it was told: the second half of "log before act"."""

    case: str
    xid: str
    function: str
    act: str  # armed, changed, disarmed
    sequence: int
    refused: str = ""  # name of the check; empty when it was done


class Expired(Entry, frozen=True, kw_only=True, tag="expired"):
    case: str
    carrier_sha256: str


class Revoked(Entry, frozen=True, kw_only=True, tag="revoked"):
    case: str
    carrier_sha256: str
    token_sha256: str
    revocation_sha256: str
    person: str


class Refused(Entry, frozen=True, kw_only=True, tag="refused"):
    """An attempt without authority. `suppressed` counts those before it that the rate limit kept out."""

    check: str
    text_sha256: str
    suppressed: int = 0


class Recovered(Entry, frozen=True, kw_only=True, tag="recovered"):
    """The administrator stopped between an entry and its act: these entries were not carried out, except for stops."""

    first: int
    size: int


Record = (
    SiteMade | KeysLoaded | OrderFiled | CommandAccepted | Outcome | Expired | Revoked | Refused | Recovered
)  # fmt: skip

_decoder: msgspec.json.Decoder[Record] = msgspec.json.Decoder(Record)


def encode(record: Record) -> str:
    return msgspec.json.encode(record).decode()


def decode(text: str) -> Record:
    """Raises msgspec.MsgspecError for what is no record of this release."""
    return _decoder.decode(text)


def commitment(salt: bytes, record: str) -> bytes:
    """What stands in the tree for a record."""
    return hashlib.sha256(salt + record.encode()).digest()
