"""A person's key from what a command line says: a file, `pkcs11:…` or `fido2:…`. Drivers load when asked for."""

from __future__ import annotations

from pathlib import Path

from mediation.signing.file import read_person
from mediation.signing.signer import Signer

PKCS11, FIDO2 = "pkcs11:", "fido2:"


def open_key(text: str) -> Signer:
    """The key, open for signing. Raises ConfigurationError."""
    if text.startswith(PKCS11):
        from mediation.signing import token  # noqa: PLC0415 - a PKCS#11 driver costs, and is not on every machine

        return token.TokenKey(token.Place.parse(text))
    if text.startswith(FIDO2):
        from mediation.signing import security_key  # noqa: PLC0415 - the same for USB

        return security_key.open_card(text)
    return read_person(Path(text))
