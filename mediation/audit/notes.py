"""Signed notes: the ledger's heads, the witnesses' cosignatures, and the policy that says which of them are enough.

Answers for C2SP signed-note, tlog-checkpoint, tlog-cosignature (Ed25519 and ML-DSA-44) and tlog-policy, read from the
specifications. An ML-DSA-44 line is "not checked" where this machine's `cryptography` cannot check it; it then counts
for nothing, and that is said. Times are seconds since 1970.
"""

from __future__ import annotations

import base64
import hashlib
import re
from dataclasses import dataclass
from typing import Any

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

try:
    from cryptography.hazmat.primitives.asymmetric.mldsa import MLDSA44PublicKey
except ImportError:  # before cryptography 47, or without the algorithm in its OpenSSL
    MLDSA44PublicKey = None  # type: ignore[assignment,misc]

NOTE_ED25519, COSIGNED_ED25519, COSIGNED_MLDSA44 = 1, 4, 6  # signature types of signed-note
PUBLIC_OCTETS = {NOTE_ED25519: 32, COSIGNED_ED25519: 32, COSIGNED_MLDSA44: 1312}
SIGNATURE_OCTETS = {COSIGNED_ED25519: 64, COSIGNED_MLDSA44: 2420}
DASH = "\u2014 "
MAX_NOTE = 1 << 18
MAX_LINES = 4_096
LAB_URL = "lab:"

GOOD, FORGED, NOT_CHECKED = "good", "forged", "not checked"


class Bad(Exception):
    """A note, key or policy that is not what it should be; the text says why."""


@dataclass(frozen=True)
class Head:
    """A tree head of a ledger."""

    origin: str
    size: int
    root: bytes


@dataclass(frozen=True)
class Key:
    """A verifier key of signed-note: `NAME+HASH+BASE64(type || key)`."""

    name: str
    kind: int
    public: bytes

    @property
    def key_id(self) -> bytes:
        return hashlib.sha256(self.name.encode() + b"\n" + bytes((self.kind,)) + self.public).digest()[:4]

    @property
    def fingerprint(self) -> str:
        return hashlib.sha256(self.public).hexdigest()


@dataclass(frozen=True)
class Signature:
    name: str
    key_id: bytes
    octets: bytes


def key(text: str) -> Key:
    """Raises Bad."""
    name, _, rest = text.strip().partition("+")
    stated, _, encoded = rest.partition("+")
    octets = _base64(encoded)
    if not name or not octets or PUBLIC_OCTETS.get(octets[0]) != len(octets) - 1:
        raise Bad("not a verifier key")
    found = Key(name, octets[0], octets[1:])
    if found.key_id.hex() != stated:
        raise Bad("the key's hash is not of this name and key")
    return found


def split(note: str) -> tuple[str, list[Signature]]:
    """The text and its signature lines. Raises Bad."""
    if len(note) > MAX_NOTE or any(ord(c) < 32 and c != "\n" for c in note):
        raise Bad("a note that is too long, or with control characters")
    text, found, tail = note.rpartition("\n\n")
    if not found or not tail.endswith("\n"):
        raise Bad("a note without signatures")
    signatures = []
    for line in tail[:-1].split("\n"):
        name, _, encoded = line[len(DASH) :].partition(" ")
        octets = _base64(encoded)
        if not line.startswith(DASH) or not name or len(octets) < 5:
            raise Bad("a signature line that is none")
        signatures.append(Signature(name, octets[:4], octets[4:]))
    return text + "\n", signatures


def head(text: str) -> Head:
    """The head that a note's text states. Raises Bad."""
    lines = text.split("\n")
    if len(lines) < 4 or lines[-1] or not all(lines[:-1]):
        raise Bad("a checkpoint of fewer than three lines")
    root = _base64(lines[2])
    if not re.fullmatch(r"0|[1-9][0-9]{0,14}", lines[1]) or len(root) != 32:
        raise Bad("a checkpoint without size or root")
    return Head(lines[0], int(lines[1]), root)


def opened(note: str, ledger: Key) -> Head:
    """The head in a note that the ledger's key signed. Raises Bad."""
    text, signatures = split(note)
    mine = [each for each in signatures if (each.name, each.key_id) == (ledger.name, ledger.key_id)]
    if len(mine) != 1:
        raise Bad("not signed by the ledger's key")
    try:
        Ed25519PublicKey.from_public_bytes(ledger.public).verify(mine[0].octets, text.encode())
    except InvalidSignature:
        raise Bad("the ledger's signature is not of this head") from None
    found = head(text)
    if found.origin != ledger.name:
        raise Bad("a head of another ledger")
    return found


def cosigned(witness: Key, text: str, signature: Signature) -> tuple[str, int]:
    """What one cosignature line is (GOOD, FORGED, NOT_CHECKED), and the time it states."""
    time_s = int.from_bytes(signature.octets[:8], "big")
    if len(signature.octets) != 8 + SIGNATURE_OCTETS[witness.kind] or not 0 < time_s < 1 << 63:
        return FORGED, 0
    if witness.kind == COSIGNED_ED25519:
        message = f"cosignature/v1\ntime {time_s}\n{text}".encode()
        public: Any = Ed25519PublicKey.from_public_bytes(witness.public)
    elif MLDSA44PublicKey is None:
        return NOT_CHECKED, time_s
    else:
        stated = head(text)
        name, origin = witness.name.encode(), stated.origin.encode()
        if len(name) > 255 or len(origin) > 255:
            return FORGED, 0
        message = b"".join((
            b"subtree/v1\n\0", bytes((len(name),)), name, signature.octets[:8], bytes((len(origin),)), origin,
            bytes(8), stated.size.to_bytes(8, "big"), stated.root,
        ))  # fmt: skip
        try:
            public = MLDSA44PublicKey.from_public_bytes(witness.public)
        except UnsupportedAlgorithm:  # the library has it, the OpenSSL below does not
            return NOT_CHECKED, time_s
    try:
        public.verify(signature.octets[8:], message)
    except InvalidSignature:
        return FORGED, 0
    return GOOD, time_s


@dataclass(frozen=True)
class Verdict:
    """Of one note: what each named witness's line is, when those that are good were made, and the quorum's time
    (0: no quorum): the latest such that what was cosigned then or later is a quorum by itself."""

    lines: dict[str, str]
    times: dict[str, int]
    quorum_s: int


class Policy:
    """A tlog-policy file. Raises Bad."""

    def __init__(self, octets: bytes) -> None:
        self.witnesses: dict[str, Key] = {}
        self.logs: list[Key] = []
        self.lab = False
        self._groups: dict[str, tuple[int, list[str]]] = {}
        self._quorum = ""
        lines = octets.decode("utf-8", "surrogateescape").split("\n")
        if len(lines) > MAX_LINES:
            raise Bad("the policy is too long")
        for number, line in enumerate(lines, 1):
            words = re.split(r"[ \t]+", line.strip(" \t"))
            if words[0] and not words[0].startswith("#"):
                try:
                    self._line(words[0], words[1:])
                except (Bad, ValueError, IndexError) as error:
                    raise Bad(f"policy, line {number}: {error}") from None
        if not self._quorum:
            raise Bad("the policy names no quorum")

    def _line(self, word: str, rest: list[str]) -> None:
        known = self.witnesses.keys() | self._groups.keys()
        if word == "log" and len(rest) in (1, 2):
            self.logs.append(key(rest[0]))
        elif word == "witness" and len(rest) in (2, 3) and rest[0] not in known:
            found = key(rest[1])
            if found.kind == NOTE_ED25519 or found.public in {each.public for each in self.witnesses.values()}:
                raise Bad("not a witness's key, or one that stands twice")
            self.witnesses[rest[0]] = found
            self.lab = self.lab or rest[2:] == [LAB_URL]
        elif word == "group" and len(rest) >= 3 and rest[0] not in known:
            members = rest[2:]
            taken = {each for _, others in self._groups.values() for each in others}
            if not set(members) <= known or len(set(members)) != len(members) or taken & set(members):
                raise Bad("a member that is not defined above, or stands twice")
            least = {"any": 1, "all": len(members)}.get(rest[1]) or int(rest[1])
            if not 1 <= least <= len(members):
                raise Bad("a threshold that cannot be")
            self._groups[rest[0]] = least, members
        elif word == "quorum" and len(rest) == 1 and not self._quorum and rest[0] in known:
            self._quorum = rest[0]
        else:
            raise Bad("not a line of a policy that asks for witnesses")
        if {each.public for each in self.logs} & {each.public for each in self.witnesses.values()}:
            raise Bad("a ledger that is its own witness")

    def judge(self, note: str) -> Verdict:
        """What the cosignatures of a note are worth. Raises Bad for what is no note."""
        text, signatures = split(note)
        lines: dict[str, str] = {}
        times: dict[str, int] = {}
        for name, witness in self.witnesses.items():
            mine = [each for each in signatures if (each.name, each.key_id) == (witness.name, witness.key_id)]
            if len(mine) > 1:
                lines[name] = FORGED
            elif mine:
                lines[name], time_s = cosigned(witness, text, mine[0])
                if lines[name] == GOOD:
                    times[name] = time_s
        reached = dict(times)
        for group, (least, members) in self._groups.items():
            newest = sorted((reached[each] for each in members if each in reached), reverse=True)
            if len(newest) >= least:
                reached[group] = newest[least - 1]
        return Verdict(lines, times, reached.get(self._quorum, 0))


def _base64(text: str) -> bytes:
    try:
        octets = base64.b64decode(text, validate=True)
    except ValueError:
        return b""
    return octets if base64.b64encode(octets).decode() == text else b""
