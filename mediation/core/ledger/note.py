"""Signed notes (C2SP signed-note) and tree heads (C2SP tlog-checkpoint), with the ledger's own Ed25519 signature.

A checkpoint is three lines that a person can check by hand: the ledger's name, its size, its root hash. Answers for
text and signature; whose key counts is the caller's. A ledger may sign with ML-DSA-44 as well, on a second line
(`cosignature.Signer`, whose name is then the origin), and witnesses cosign on further ones (`cosignature`, `policy`).

    note        = text "\\n" signature-lines        text ends with a newline
    signature   = "— " name " " base64(key hash 4 octets || signature) "\\n"
    key hash    = SHA-256(name || 0x0A || 0x01 || public key)[:4]
    verifier    = name "+" hex(key hash) "+" base64(0x01 || public key)
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import re

import msgspec
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from mediation.core.errors import RemoteProtocolError
from mediation.core.ledger.merkle import HASH_OCTETS

ED25519 = b"\x01"  # signature type of signed-note
MAX_SIGNATURES = 36  # signed-note asks for 16 at least, tlog-policy for 32 witnesses; the ledger signs twice at most
MAX_NOTE_OCTETS = 131_072  # as many lines of ML-DSA-44 size (3.3 kB each) and a checkpoint (ours)
MAX_NAME_OCTETS = 255  # what the message of an ML-DSA-44 cosignature holds (C2SP tlog-cosignature)
KEY_HASH_OCTETS = 4
PRIVATE = "PRIVATE+KEY+"

_SIZE = re.compile(r"0|[1-9][0-9]{0,14}")  # decimal, no leading zeros; below 2**50
_DASH = "\u2014 "  # EM DASH and a space


class Checkpoint(msgspec.Struct, frozen=True, kw_only=True):
    """A tree head: `origin` names the ledger, `size` counts its leaves."""

    origin: str
    size: int
    root: bytes

    def text(self) -> str:
        return f"{self.origin}\n{self.size}\n{base64.b64encode(self.root).decode()}\n"


class Signature(msgspec.Struct, frozen=True):
    """One signature line. Whose it is, is decided by `name` and `key_hash` together."""

    name: str
    key_hash: bytes
    octets: bytes

    def line(self) -> str:
        """The line with its newline."""
        return f"{_DASH}{self.name} {base64.b64encode(self.key_hash + self.octets).decode()}\n"


def valid_name(name: str) -> bool:
    """Whether signed-note allows the key name: not empty, no space, no plus, no control character."""
    octets = len(name.encode("utf-8", "surrogatepass"))
    return 0 < octets <= MAX_NAME_OCTETS and not any(c.isspace() or c == "+" or c < " " for c in name)


def key_hash(name: str, kind: bytes, public: bytes) -> bytes:
    """SHA-256(name || 0x0A || signature type || public key)[:4]. Raises ValueError for what is no key name."""
    if not valid_name(name):
        raise ValueError("note: a key name has no space and no plus, and 1 to 255 octets")
    return hashlib.sha256(name.encode() + b"\n" + kind + public).digest()[:KEY_HASH_OCTETS]


def parse_line(line: str) -> Signature:
    """One signature line without its newline. Raises RemoteProtocolError."""
    name, _, encoded = line.removeprefix(_DASH).partition(" ")
    try:
        octets = base64.b64decode(encoded, validate=True)
    except (binascii.Error, ValueError):
        octets = b""
    # One line has one spelling: what differs in unused bits of base64 alone is refused.
    canonical = base64.b64encode(octets).decode() == encoded
    if not (line.startswith(_DASH) and valid_name(name) and len(octets) > KEY_HASH_OCTETS and canonical):
        raise RemoteProtocolError("note: malformed signature line")
    return Signature(name, octets[:KEY_HASH_OCTETS], octets[KEY_HASH_OCTETS:])


def split(note: str) -> tuple[str, list[Signature]]:
    """The text of a note and its signatures, none of them verified. Raises RemoteProtocolError."""
    if len(note) > MAX_NOTE_OCTETS or any(c < " " and c != "\n" for c in note):
        raise RemoteProtocolError("note: too long, or control characters")
    try:
        note.encode()
    except UnicodeEncodeError:
        raise RemoteProtocolError("note: not UTF-8") from None
    text, separator, tail = note.rpartition("\n\n")
    if not separator or not tail.endswith("\n"):
        raise RemoteProtocolError("note: no signature block")
    lines = tail[:-1].split("\n")
    if len(lines) > MAX_SIGNATURES:
        raise RemoteProtocolError("note: too many signatures")
    return text + "\n", [parse_line(line) for line in lines]


class Verifier:
    """A ledger's name and public key, as `keys/ledger.pub` holds them."""

    def __init__(self, name: str, public: bytes) -> None:
        self.name = name
        self.public = public
        self.hash = key_hash(name, ED25519, public)
        self._key = Ed25519PublicKey.from_public_bytes(public)

    @classmethod
    def parse(cls, text: str) -> Verifier:
        """From the one-line form. Raises ValueError."""
        name, _, rest = text.strip().partition("+")
        hashed, _, encoded = rest.partition("+")
        octets = base64.b64decode(encoded, validate=True)
        if octets[:1] != ED25519 or len(octets) != 33:
            raise ValueError("note: not an Ed25519 verifier key")
        verifier = cls(name, octets[1:])
        if verifier.hash.hex() != hashed:
            raise ValueError("note: the key hash does not belong to this name and key")
        return verifier

    def __str__(self) -> str:
        return f"{self.name}+{self.hash.hex()}+{base64.b64encode(ED25519 + self.public).decode()}"

    def open(self, note: str) -> str:
        """The text of a note that this key signed. Raises RemoteProtocolError.

        Signatures by other keys (witnesses) are passed over, as the format asks; two by this key are refused.
        """
        text, signatures = split(note)
        if not self.signed(text, signatures):
            raise RemoteProtocolError("note: not exactly one signature by the ledger's key")
        return text

    def signed(self, text: str, signatures: list[Signature]) -> bool:
        """Whether this key's signature stands among them, once. Raises RemoteProtocolError when it is not of `text`."""
        mine = [one.octets for one in signatures if one.name == self.name and one.key_hash == self.hash]
        if len(mine) != 1:
            return False
        try:
            self._key.verify(mine[0], text.encode())
        except InvalidSignature:
            raise RemoteProtocolError("note: the signature is not of this text") from None
        return True


class Signer:
    """The ledger's own key."""

    def __init__(self, name: str, key: Ed25519PrivateKey) -> None:
        self._key = key
        self.verifier = Verifier(name, key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw))

    @classmethod
    def parse(cls, text: str) -> Signer:
        """From the form that `private_text` gives. Raises ValueError."""
        prefix, _, rest = text.strip().partition(PRIVATE)
        name, _, rest = rest.partition("+")
        hashed, _, encoded = rest.partition("+")
        octets = base64.b64decode(encoded, validate=True)
        if prefix or octets[:1] != ED25519 or len(octets) != 33:
            raise ValueError("note: not an Ed25519 signing key")
        signer = cls(name, Ed25519PrivateKey.from_private_bytes(octets[1:]))
        if signer.verifier.hash.hex() != hashed:
            raise ValueError("note: the key hash does not belong to this name and key")
        return signer

    def private_text(self) -> str:
        """PRIVATE+KEY+name+hash+base64, the customary form of a note's signing key."""
        octets = ED25519 + self._key.private_bytes_raw()
        return f"{PRIVATE}{self.verifier.name}+{self.verifier.hash.hex()}+{base64.b64encode(octets).decode()}"

    def sign(self, text: str) -> str:
        """A note over `text`, which ends with a newline."""
        signature = Signature(self.verifier.name, self.verifier.hash, self._key.sign(text.encode()))
        return f"{text}\n{signature.line()}"


def parse_checkpoint(text: str) -> Checkpoint:
    """The body of an opened note as a tree head; extension lines are passed over. Raises RemoteProtocolError."""
    lines = text.split("\n")
    if len(lines) < 4 or lines[-1] or not all(lines[:-1]):
        raise RemoteProtocolError("checkpoint: fewer than three lines, or an empty one")
    origin, size, encoded = lines[:3]
    if not _SIZE.fullmatch(size):
        raise RemoteProtocolError("checkpoint: size")
    try:
        root = base64.b64decode(encoded, validate=True)
    except (binascii.Error, ValueError):
        root = b""
    if len(root) != HASH_OCTETS or base64.b64encode(root).decode() != encoded:
        raise RemoteProtocolError("checkpoint: root hash")
    return Checkpoint(origin=origin, size=int(size), root=root)


def open_checkpoint(note: str, verifier: Verifier) -> Checkpoint:
    """Opens and parses in one; the origin must be the key's own name. Raises RemoteProtocolError."""
    checkpoint = parse_checkpoint(verifier.open(note))
    if checkpoint.origin != verifier.name:
        raise RemoteProtocolError("checkpoint: of another ledger")
    return checkpoint
