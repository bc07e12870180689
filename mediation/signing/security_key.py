"""A person's key in a FIDO2 security key: CTAP2 over USB HID, with a PIN (or the key's fingerprint reader) as user
verification. The act itself is the challenge (core/authority/assertion.py), so a touch signs this text and no other.

The credential is found by its card, the public file that `mediation person key` wrote: `fido2:CARD`, with
`?pin-source=fd:N` when there is no terminal. Attestation is not asked for: whose key it is, two executives attest when
they enrol it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import msgspec
from fido2.ctap import CtapDevice, CtapError
from fido2.ctap2.base import Ctap2
from fido2.ctap2.pin import ClientPin
from fido2.hid import CtapHidDevice

from mediation.core.authority import assertion
from mediation.core.authority.assertion import Assertion
from mediation.core.authority.key import ALGORITHMS, WEBAUTHN, Key, raw_from_der
from mediation.core.case import Role
from mediation.core.errors import ConfigurationError
from mediation.signing import pin

SCHEME = "fido2:"
RP_ID = "mediation.invalid"  # RFC 2606 §2: a name that no web site can ever have, so no page can ask for these keys
EDDSA, ES256 = -8, -7  # COSE algorithms, RFC 9053 §2
_FORMS = {EDDSA: "webauthn-ed25519", ES256: "webauthn-es256"}
_PERMISSION = ClientPin.PERMISSION


class _Card(msgspec.Struct):
    key: Key


class SecurityKey:
    """A credential in a security key, open for signing: each signature asks for a touch."""

    role: Role | None = None  # a security key does not know
    lab: bool | None = None

    def __init__(self, card: Key, pin_source: str = "", device: CtapDevice | None = None) -> None:
        """`device`: the one that is plugged in. Raises ConfigurationError."""
        if card.form not in WEBAUTHN:
            raise ConfigurationError("the card is not of a security key")
        self._card, self._pin_source, self._device = card, pin_source, device
        self._pin: str | None = None
        self.kid = card.kid

    @property
    def algorithm(self) -> str:
        return ALGORITHMS[self._card.form]

    def key(self) -> SecurityKey:
        return self

    def sign(self, octets: bytes) -> bytes:
        """The whole assertion, as core/authority/assertion.py lays it out. Raises ConfigurationError."""
        rp_id = self._card.rp_id
        client_data = assertion.client_data(octets, rp_id)
        hashed = hashlib.sha256(client_data).digest()
        try:
            ctap = Ctap2(self._device or _plugged())
            if self._pin is None and _asks_pin(ctap):
                self._pin = pin.read(self._pin_source, "the security key")
            parameters = _verified(ctap, _PERMISSION.GET_ASSERTION, rp_id, hashed, self._pin)
            credential = {"type": "public-key", "id": bytes.fromhex(self._card.credential)}
            answer = ctap.get_assertion(rp_id, hashed, [credential], options={"up": True}, **parameters)
            signature = answer.signature
            if self._card.form == "webauthn-es256":
                signature = raw_from_der(signature)
        except (CtapError, OSError, ValueError, TypeError) as error:
            raise ConfigurationError(f"security key: {error}") from error
        return Assertion(
            authenticator_data=bytes(answer.auth_data), client_data=client_data, signature=signature
        ).octets()


def open_card(text: str) -> SecurityKey:
    """From `fido2:CARD?pin-source=fd:N`. Raises ConfigurationError."""
    path, _, query = text.removeprefix(SCHEME).partition("?")
    asked = dict(part.partition("=")[::2] for part in query.split("&") if part)
    if not path or not set(asked) <= {"pin-source"}:
        raise ConfigurationError("a security key is fido2:CARD, its public card's file, with ?pin-source=fd:N at most")
    try:
        card = msgspec.json.decode(Path(path).read_bytes(), type=_Card)
    except OSError as error:
        raise ConfigurationError(f"card {Path(path).name}: {error.strerror}") from error
    except msgspec.MsgspecError:
        raise ConfigurationError(f"card {Path(path).name}: not a person's card") from None
    return SecurityKey(card.key, asked.get("pin-source", ""))


def make(
    person: str, not_before_s: int, not_after_s: int, *, lab: bool, pin_source: str = "",
    device: CtapDevice | None = None,
) -> Key:  # fmt: skip
    """A new credential in the security key that is plugged in; what is enrolled of it. Raises ConfigurationError."""
    hashed = hashlib.sha256(b"enrolment, without attestation").digest()
    try:
        ctap = Ctap2(device or _plugged())
        secret = pin.read(pin_source, "the security key") if _asks_pin(ctap) else None
        parameters = _verified(ctap, _PERMISSION.MAKE_CREDENTIAL, RP_ID, hashed, secret)
        answer = ctap.make_credential(
            hashed, {"id": RP_ID, "name": "mediation"}, {"id": person.encode(), "name": person},
            [{"type": "public-key", "alg": algorithm} for algorithm in _FORMS], **parameters,
        )  # fmt: skip
        made = answer.auth_data.credential_data
        if made is None:
            raise ValueError("no credential came back")  # noqa: TRY301
        form, public = _public(made.public_key)
    except (CtapError, OSError, ValueError, TypeError) as error:
        raise ConfigurationError(f"security key: {error}") from error
    identity = bytes(made.credential_id)
    return Key(
        kid=f"fido-{hashlib.sha256(identity).hexdigest()[:16]}", person=person, public=public, form=form, lab=lab,
        credential=identity.hex(), rp_id=RP_ID, not_before_s=not_before_s, not_after_s=not_after_s,
    )  # fmt: skip


def _public(cose: Mapping[int, Any]) -> tuple[str, str]:
    """Form and public key (hex) of a COSE key (RFC 9053 §7). Raises ValueError."""
    form = _FORMS.get(cose.get(3, 0))
    if form is None:
        raise ValueError("a key of another algorithm than was asked for")
    return form, (cose[-2] if form == "webauthn-ed25519" else b"\x04" + cose[-2] + cose[-3]).hex()


def _plugged() -> CtapDevice:
    """Raises ConfigurationError unless exactly one security key is there."""
    found: Iterable[CtapDevice] = CtapHidDevice.list_devices()
    devices = list(found)
    if len(devices) != 1:
        raise ConfigurationError(f"{len(devices)} security keys are plugged in: it must be one")
    return devices[0]


def _asks_pin(ctap: Ctap2) -> bool:
    """Whether this key verifies its user by a PIN; else by itself. Raises ConfigurationError when by neither."""
    if ctap.info.options.get("uv"):
        return False
    if not ctap.info.options.get("clientPin"):
        raise ConfigurationError("security key: it has no PIN yet, and signs nothing without verifying its user")
    return True


def _verified(ctap: Ctap2, permission: ClientPin.PERMISSION, rp_id: str, hashed: bytes, secret: str | None) -> Any:
    """What shows the security key that its user was verified, for one request (CTAP 2.1 §6.5.5.7)."""
    client = ClientPin(ctap)
    if secret is None:
        token = client.get_uv_token(permission, rp_id)
    else:
        token = client.get_pin_token(secret, permission, rp_id)
    parameter = client.protocol.authenticate(token, hashed)
    return {"pin_uv_param": parameter, "pin_uv_protocol": client.protocol.VERSION}
