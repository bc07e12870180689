"""A security key signs an act by the real client library; without its user verified nothing is signed, or believed."""

from __future__ import annotations

import os
from typing import Any

import msgspec
import pytest

from mediation.core.authority import jws
from mediation.core.authority.assertion import Assertion, parse
from mediation.core.authority.key import Key, Public
from mediation.core.errors import AuthorizationError, ConfigurationError
from mediation.signing import pin, security_key
from mediation.signing.security_key import SecurityKey
from tests.core.authority import LEGAL, NOW_S
from tests.signing.authenticator import UP, UV, Authenticator


def descriptor(text: str) -> str:
    """A pin-source that gives `text`."""
    reader, writer = os.pipe()
    os.write(writer, f"{text}\n".encode())
    os.close(writer)
    return f"fd:{reader}"


def enrolled(device: Authenticator) -> Key:
    return security_key.make("olga", NOW_S - 60, NOW_S + 60, lab=False, pin_source=descriptor("1234"), device=device)


def signed(device: Authenticator, key: Key) -> jws.Parts:
    signer = SecurityKey(key, descriptor("1234"), device)
    return jws.split(jws.sign(LEGAL, "mediation-legal", signer.kid, signer.key()))


@pytest.mark.parametrize(("algorithm", "form"), [(-7, "webauthn-es256"), (-8, "webauthn-ed25519")])
def test_an_act_signed_by_a_security_key(algorithm: int, form: str) -> None:
    device = Authenticator(algorithm=algorithm)
    key = enrolled(device)
    assert key.form == form and key.rp_id == "mediation.invalid" and len(key.credential) == 64
    for _ in range(8):  # half of all ECDSA signatures have the larger s
        parts = signed(device, key)
        jws.verify(parts, Public.load(key))
    assert device.touched == 9
    with pytest.raises(AuthorizationError, match="assertion"):
        Public.load(key).verify(parts.header.alg, parts.signature, parts.signed + b" ")
    with pytest.raises(AuthorizationError, match="signature"):
        jws.verify(parts, Public.load(enrolled(device)))
    other = Public.load(key)
    other.form = "ed25519"
    with pytest.raises(AuthorizationError, match="algorithm"):
        jws.verify(parts, other)


@pytest.mark.parametrize("missing", [UP, UV, UP | UV])
def test_an_unverified_user_is_refused(missing: int) -> None:
    device = Authenticator()
    key = enrolled(device)
    device.lies = missing
    with pytest.raises(AuthorizationError, match="not verified"):
        jws.verify(signed(device, key), Public.load(key))


def test_a_wrong_pin_signs_nothing() -> None:
    device = Authenticator()
    key = enrolled(device)
    with pytest.raises(ConfigurationError, match="PIN_INVALID"):
        SecurityKey(key, descriptor("4321"), device).sign(b"text")
    assert device.touched == 1
    with pytest.raises(ConfigurationError, match="no PIN yet"):
        SecurityKey(key, "", Authenticator(secret=None)).sign(b"text")
    with pytest.raises(ConfigurationError, match="NO_CREDENTIALS"):
        SecurityKey(key, descriptor("1234"), Authenticator()).sign(b"text")


def edits(whole: Assertion) -> dict[str, dict[str, Any]]:
    said = whole.client_data
    return {
        "another relying party": {"authenticator_data": bytes(32) + whole.authenticator_data[32:]},
        "data that is longer": {"authenticator_data": whole.authenticator_data + b"\x00"},
        "extensions": {"authenticator_data": whole.authenticator_data[:32] + b"\x85" + whole.authenticator_data[33:]},
        "a registration": {"client_data": said.replace(b"webauthn.get", b"webauthn.create")},
        "another challenge": {"client_data": said.replace(b'"challenge":"', b'"challenge":"A')},
        "another origin": {"client_data": said.replace(b"https://", b"http://")},
        "framed elsewhere": {"client_data": said.replace(b"false", b"true")},
        "no object": {"client_data": b"[]"},
        "no JSON": {"client_data": b"{"},
        "a member twice": {"client_data": said.replace(b"{", b'{"type":"webauthn.get",', 1)},
        "too long": {"client_data": said + b" " * 1_024},
    }


NAMES = list(edits(Assertion(authenticator_data=bytes(37), client_data=b"{}", signature=b"")))


@pytest.mark.parametrize("name", NAMES)
def test_an_assertion_of_anything_else_is_refused(name: str) -> None:
    device = Authenticator()
    key = enrolled(device)
    parts = signed(device, key)
    whole = parse(parts.signature)
    assert whole.octets() == parts.signature
    edited = msgspec.structs.replace(whole, **edits(whole)[name])
    with pytest.raises(AuthorizationError, match="assertion"):
        Public.load(key).verify(parts.header.alg, edited.octets(), parts.signed)


def test_an_edit_that_keeps_its_meaning_breaks_the_signature() -> None:
    device = Authenticator()
    key = enrolled(device)
    parts = signed(device, key)
    whole = parse(parts.signature)
    for changes in (
        {"client_data": whole.client_data.replace(b",", b", ", 1)},
        {"authenticator_data": whole.authenticator_data[:-1] + b"\xff"},
        {"signature": bytes(64)},
        {"signature": whole.signature[:-1]},
    ):
        edited = msgspec.structs.replace(whole, **changes)
        with pytest.raises(AuthorizationError, match="signature"):
            Public.load(key).verify(parts.header.alg, edited.octets(), parts.signed)
    for cut in range(len(parts.signature) - 64):
        with pytest.raises(AuthorizationError):
            Public.load(key).verify(parts.header.alg, parts.signature[:cut], parts.signed)


@pytest.mark.parametrize("source", ["env:PIN", "file:/etc/passwd", "1234", "fd:x"])
def test_where_a_pin_may_not_come_from(source: str) -> None:
    with pytest.raises(ConfigurationError, match="pin-source"):
        pin.read(source, "a token")
