"""Cosignatures: octets composed by hand from C2SP tlog-cosignature, its example, and what is not exactly one."""

from __future__ import annotations

import base64
import hashlib
import struct

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.mldsa import MLDSA44PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from hypothesis import given
from hypothesis import strategies as st

from mediation.core.errors import RemoteProtocolError
from mediation.core.ledger import cosignature, note
from tests.core.cosigning import NOW_S, ed25519, grown, mldsa, signed

# The example of C2SP tlog-cosignature; its keys are not published, its form and its time are.
EXAMPLE = """\
example.com/behind-the-sofa
20852163
CsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=

\u2014 example.com/behind-the-sofa Az3grlgtzPICa5OS8npVmf1Myq/5IZniMp+ZJurmRDeOoRDe4URYN7u5/Zhcyv2q1gGzGku9nTo+zyWE+xeMcTOAYQ8=
\u2014 witness.example.com/w1 jWbPPwAAAABkGFDLEZMHwSRaJNiIDoe9DYn/zXcrtPHeolMI5OWXEhZCB9dlrDJsX3b2oyin1nPZqhf5nNo0xUe+mbIUBkBIfZ+qnA==
"""  # noqa: E501
MESSAGE = """\
cosignature/v1
time 1679315147
example.com/behind-the-sofa
20852163
CsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=
"""
BODY = note.split(EXAMPLE)[0]
SIGNERS = [ed25519(1), mldsa(1)]
KINDS = pytest.mark.parametrize("signer", SIGNERS, ids=["ed25519", "ml-dsa-44"])


def test_the_message_of_the_specification() -> None:
    assert cosignature.message(cosignature.ED25519_V1, "any", 1679315147, BODY) == MESSAGE.encode()
    line = note.split(EXAMPLE)[1][1]
    assert line.key_hash.hex() == "8d66cf3f"
    assert len(line.octets) == 72 and int.from_bytes(line.octets[:8], "big") == 1679315147


def test_an_ed25519_line_composed_by_hand() -> None:
    key = Ed25519PrivateKey.from_private_bytes(bytes([1]) * 32)
    public = key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
    key_id = hashlib.sha256(b"witness.example/w1\n\x04" + public).digest()[:4]
    octets = key_id + struct.pack(">Q", 1679315147) + key.sign(MESSAGE.encode())
    assert ed25519(1).line(BODY, 1679315147) == f"\u2014 witness.example/w1 {base64.b64encode(octets).decode()}\n"
    vkey = f"witness.example/w1+{key_id.hex()}+{base64.b64encode(bytes([4]) + public).decode()}"
    assert str(ed25519(1).verifier) == vkey


def test_an_ml_dsa_line_composed_by_hand() -> None:
    """The signature is randomised, so the message is composed here and ours is verified over it."""
    key = MLDSA44PrivateKey.from_seed_bytes(bytes([1]) * 32)
    public = key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
    root = base64.b64decode("CsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=")
    name, origin = b"witness.example/m1", b"example.com/behind-the-sofa"
    message = b"subtree/v1\n\0" + struct.pack(
        f">B{len(name)}sQB{len(origin)}sQQ32s", len(name), name, 1679315147, len(origin), origin, 0, 20852163, root
    )
    line = note.parse_line(mldsa(1).line(BODY, 1679315147).rstrip("\n"))
    assert line.key_hash == hashlib.sha256(name + b"\n\x06" + public).digest()[:4]
    assert line.octets[:8] == struct.pack(">Q", 1679315147) and len(line.octets) == 8 + 2420
    key.public_key().verify(line.octets[8:], message)
    by_hand = note.Signature(line.name, line.key_hash, struct.pack(">Q", 5) + key.sign(message.replace(
        struct.pack(">Q", 1679315147), struct.pack(">Q", 5))))  # fmt: skip
    assert mldsa(1).verifier.time(BODY, by_hand) == 5


def test_another_implementation_of_fips_204_agrees() -> None:
    """dilithium-py shares nothing with ours: it verifies our line over octets composed here, and we verify its own."""
    oracle = pytest.importorskip("dilithium_py.ml_dsa").ML_DSA_44
    public, secret = oracle.key_derive(bytes([1]) * 32)
    assert public == mldsa(1).verifier.public
    root = base64.b64decode("CsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=")
    message = b"".join((
        b"subtree/v1\n\0", b"\x12witness.example/m1", bytes(6), b"\x01\x02", b"\x1bexample.com/behind-the-sofa",
        bytes(8), (20852163).to_bytes(8, "big"), root,
    ))  # fmt: skip
    line = note.parse_line(mldsa(1).line(BODY, 0x0102)[:-1])
    assert oracle.verify(public, message, line.octets[8:])
    assert not oracle.verify(public, message[:-1] + b"\0", line.octets[8:])
    theirs = note.Signature(line.name, line.key_hash, line.octets[:8] + oracle.sign(secret, message))
    assert mldsa(1).verifier.time(BODY, theirs) == 0x0102


@KINDS
def test_keys_have_one_text_form(signer: cosignature.Signer) -> None:
    assert str(cosignature.Verifier.parse(str(signer.verifier))) == str(signer.verifier)
    again = cosignature.Signer.parse(signer.private_text())
    assert str(again.verifier) == str(signer.verifier)
    assert again.private_text() == signer.private_text()


@KINDS
def test_what_is_cosigned_and_when(signer: cosignature.Signer) -> None:
    body = note.split(signed(grown(5)))[0]
    line = note.parse_line(signer.line(body, NOW_S)[:-1])
    assert signer.verifier.time(body, line) == NOW_S
    for wrong in (body.replace("\n5\n", "\n6\n"), body.replace("LAB", "LAC")):
        with pytest.raises(RemoteProtocolError, match="not of this text"):
            signer.verifier.time(wrong, line)
    later = note.Signature(line.name, line.key_hash, (NOW_S + 1).to_bytes(8, "big") + line.octets[8:])
    with pytest.raises(RemoteProtocolError, match="not of this text"):
        signer.verifier.time(body, later)


@KINDS
def test_hostile_lines(signer: cosignature.Signer) -> None:
    body = note.split(signed(grown(5)))[0]
    line = note.parse_line(signer.line(body, NOW_S)[:-1])
    other = ed25519(7)
    for octets in (b"", line.octets[:7], line.octets[:-1], line.octets + b"\0", b"\x80" + line.octets[1:]):
        with pytest.raises(RemoteProtocolError):
            signer.verifier.time(body, note.Signature(line.name, line.key_hash, octets))
    with pytest.raises(RemoteProtocolError, match="another key"):
        other.verifier.time(body, line)


def test_extension_lines_are_signed_by_the_old_kind_alone() -> None:
    """tlog-cosignature: ML-DSA-44 makes no statement about extension lines."""
    body = note.split(signed(grown(5)))[0]
    extended = body + "extension\n"
    old, new = (note.parse_line(signer.line(body, NOW_S)[:-1]) for signer in SIGNERS)
    with pytest.raises(RemoteProtocolError):
        SIGNERS[0].verifier.time(extended, old)
    assert SIGNERS[1].verifier.time(extended, new) == NOW_S


def test_a_ledger_signs_with_both_algorithms() -> None:
    """tlog-checkpoint: a log signs with ML-DSA-44 cosignatures under its own name, and may with Ed25519."""
    text = signed(grown(5))
    second = mldsa(3, "LAB/ledger")
    both = text + second.line(note.split(text)[0], NOW_S)
    body, lines = note.split(both)
    assert len(lines) == 2 and {line.name for line in lines} == {"LAB/ledger"}
    assert second.verifier.time(body, lines[1]) == NOW_S


@pytest.mark.parametrize(
    "text",
    [
        "", "a", "a+b", "a++", str(ed25519(1).verifier)[:-4], str(ed25519(1).verifier).replace("w1", "w2"),
        str(ed25519(1).verifier).replace("+BIq", "+AYq"), "\udc80" + str(ed25519(1).verifier),
    ],
)  # fmt: skip
def test_what_is_no_verifier_key(text: str) -> None:
    with pytest.raises(ValueError, match=r".*"):
        cosignature.Verifier.parse(text)


@pytest.mark.parametrize("text", ["", str(ed25519(1).verifier), "x" + ed25519(1).private_text(),
                                  ed25519(1).private_text().replace("w1", "w2")])  # fmt: skip
def test_what_is_no_signing_key(text: str) -> None:
    with pytest.raises(ValueError, match=r".*"):
        cosignature.Signer.parse(text)


def test_a_line_has_one_spelling() -> None:
    good = SIGNERS[0].line(BODY, NOW_S)[:-1]
    assert good[-3:] in {f"{digit}==" for digit in "AQgw"}  # 76 octets leave four unused bits in the last digit
    other = good[:-3] + chr(ord(good[-3]) + 1) + "=="
    assert base64.b64decode(other.rpartition(" ")[2], validate=True)  # decodes to the same octets
    for line in (other, good + " ", good.replace(" w", "  w"), good[:-1], good.replace("\u2014", "-")):
        with pytest.raises(RemoteProtocolError):
            note.parse_line(line)


@given(st.text(max_size=120))
def test_any_line_is_judged_without_a_crash(text: str) -> None:
    try:
        line = note.parse_line("\u2014 " + text)
    except RemoteProtocolError:
        return
    assert line.line() == f"\u2014 {text}\n"
