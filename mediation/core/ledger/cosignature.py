"""Cosignatures (C2SP tlog-cosignature): a witness's word that one tree head follows from all it saw before, and when.

Two kinds, each a signature line of a note (core/ledger/note.py): Ed25519, which signs the header `cosignature/v1`, the
time and the whole text, and ML-DSA-44 (FIPS 204), which signs the witness's name, the time, the origin, the size and
the root. A ledger may sign its own heads with the second kind, under its own name (C2SP tlog-checkpoint, "Signatures").

    signature   = timestamp u64 || Ed25519 64 octets or ML-DSA-44 2420 octets
    key hash    = SHA-256(name || 0x0A || 0x04 or 0x06 || public key)[:4]
    verifier    = name "+" hex(key hash) "+" base64(0x04 or 0x06 || public key)

Answers for keys, messages and lines. It holds no state: whether a head may be cosigned is decided by `witness`, whose
cosignatures count by `policy`. Times are seconds since 1970.
"""

from __future__ import annotations

import base64
import binascii
from typing import NamedTuple

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.mldsa import MLDSA44PrivateKey, MLDSA44PublicKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from mediation.core.errors import RemoteProtocolError
from mediation.core.ledger import note

ED25519_V1 = b"\x04"  # signature types of signed-note
MLDSA44 = b"\x06"
TIME_OCTETS = 8
MAX_TIME_S = (1 << 63) - 1
SEED_OCTETS = 32  # of either private key
HEADER = "cosignature/v1\n"
LABEL = b"subtree/v1\n\x00"


class _Kind(NamedTuple):
    public_octets: int
    signature_octets: int


KINDS = {ED25519_V1: _Kind(32, 64), MLDSA44: _Kind(1312, 2420)}


def message(kind: bytes, cosigner: str, time_s: int, text: str) -> bytes:
    """What is signed for the checkpoint whose text is `text`. Raises RemoteProtocolError when it is none."""
    if kind == ED25519_V1:
        return f"{HEADER}time {time_s}\n{text}".encode()
    head = note.parse_checkpoint(text)
    name, origin = cosigner.encode(), head.origin.encode()
    if len(origin) > note.MAX_NAME_OCTETS or len(name) > note.MAX_NAME_OCTETS:
        raise RemoteProtocolError("cosignature: a name or an origin over 255 octets")
    start = 0  # a checkpoint is the subtree that begins with the first leaf
    return b"".join(
        (
            LABEL, bytes((len(name),)), name, time_s.to_bytes(TIME_OCTETS, "big"), bytes((len(origin),)), origin,
            start.to_bytes(8, "big"), head.size.to_bytes(8, "big"), head.root,
        )
    )  # fmt: skip


class Verifier:
    """A cosigner's name and public key of one kind."""

    def __init__(self, name: str, kind: bytes, public: bytes) -> None:
        """Raises ValueError."""
        if kind not in KINDS or len(public) != KINDS[kind].public_octets:
            raise ValueError("cosignature: not a verifier key of Ed25519 or ML-DSA-44 cosignatures")
        self.name = name
        self.kind = kind
        self.public = public
        self.hash = note.key_hash(name, kind, public)
        self._key: Ed25519PublicKey | MLDSA44PublicKey = (
            Ed25519PublicKey.from_public_bytes(public)
            if kind == ED25519_V1
            else MLDSA44PublicKey.from_public_bytes(public)
        )

    @classmethod
    def parse(cls, text: str) -> Verifier:
        """From the one-line form. Raises ValueError."""
        name, hashed, octets = parse_vkey(text)
        verifier = cls(name, octets[:1], octets[1:])
        if verifier.hash.hex() != hashed:
            raise ValueError("cosignature: the key hash does not belong to this name and key")
        return verifier

    def __str__(self) -> str:
        return f"{self.name}+{self.hash.hex()}+{base64.b64encode(self.kind + self.public).decode()}"

    def mine(self, signature: note.Signature) -> bool:
        """Whether the line claims to be of this key."""
        return signature.name == self.name and signature.key_hash == self.hash

    def time(self, text: str, signature: note.Signature) -> int:
        """When this key cosigned `text`; 0 for an ML-DSA-44 one that states no time.

        Raises RemoteProtocolError when the line is of another key, malformed, or not of this text.
        """
        octets = signature.octets
        if not self.mine(signature) or len(octets) != TIME_OCTETS + KINDS[self.kind].signature_octets:
            raise RemoteProtocolError("cosignature: of another key, or of another length")
        time_s = int.from_bytes(octets[:TIME_OCTETS], "big")
        if time_s > MAX_TIME_S:
            raise RemoteProtocolError("cosignature: time")
        try:
            self._key.verify(octets[TIME_OCTETS:], message(self.kind, self.name, time_s, text))
        except InvalidSignature:
            raise RemoteProtocolError("cosignature: the signature is not of this text") from None
        return time_s


class Signer:
    """A cosigner's key of one kind."""

    def __init__(self, name: str, key: Ed25519PrivateKey | MLDSA44PrivateKey) -> None:
        """Raises ValueError for what is no key name."""
        kind = MLDSA44 if isinstance(key, MLDSA44PrivateKey) else ED25519_V1
        self._key = key
        self.verifier = Verifier(name, kind, key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw))

    @classmethod
    def from_seed(cls, name: str, kind: bytes, seed: bytes) -> Signer:
        """The key of the 32-octet seed of RFC 8032 or FIPS 204. Raises ValueError."""
        if kind not in KINDS or len(seed) != SEED_OCTETS:
            raise ValueError("cosignature: not a seed of 32 octets")
        if kind == MLDSA44:
            return cls(name, MLDSA44PrivateKey.from_seed_bytes(seed))
        return cls(name, Ed25519PrivateKey.from_private_bytes(seed))

    @classmethod
    def parse(cls, text: str) -> Signer:
        """From the form that `private_text` gives. Raises ValueError."""
        prefix, _, rest = text.strip().partition(note.PRIVATE)
        name, hashed, octets = parse_vkey(rest)
        if prefix:
            raise ValueError("cosignature: not a signing key")
        signer = cls.from_seed(name, octets[:1], octets[1:])
        if signer.verifier.hash.hex() != hashed:
            raise ValueError("cosignature: the key hash does not belong to this name and key")
        return signer

    def private_text(self) -> str:
        """PRIVATE+KEY+name+hash+base64(type || seed), the customary form of a note's signing key."""
        octets = self.verifier.kind + self._key.private_bytes_raw()
        own = self.verifier
        return f"{note.PRIVATE}{own.name}+{own.hash.hex()}+{base64.b64encode(octets).decode()}"

    def line(self, text: str, time_s: int) -> str:
        """The signature line, with its newline, over the checkpoint `text` at `time_s`."""
        if not 0 <= time_s <= MAX_TIME_S:
            raise ValueError("cosignature: time")
        signature = self._key.sign(message(self.verifier.kind, self.verifier.name, time_s, text))
        octets = time_s.to_bytes(TIME_OCTETS, "big") + signature
        return note.Signature(self.verifier.name, self.verifier.hash, octets).line()


def parse_vkey(text: str) -> tuple[str, str, bytes]:
    """Name, key hash in hex, and type || key of a vkey line, of whatever type. Raises ValueError."""
    name, _, rest = text.strip().partition("+")
    hashed, _, encoded = rest.partition("+")
    try:
        octets = base64.b64decode(encoded, validate=True)
    except (binascii.Error, ValueError):
        octets = b""
    if not name or not octets or base64.b64encode(octets).decode() != encoded:
        raise ValueError("cosignature: not a verifier key")
    return name, hashed, octets
