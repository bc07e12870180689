"""An Ed25519 key of small order signs every text: it is refused where the mathematics is done
(core/authority/key.py)."""

from __future__ import annotations

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from mediation.core.authority.key import Key, Public
from mediation.core.check import Check
from mediation.core.errors import AuthorizationError

IDENTITY = bytes([1, *[0] * 31])  # the neutral element: 0 B = R + k A for R = A = identity, whatever the text
FORGED = IDENTITY + bytes(32)


@pytest.mark.parametrize("text", [b"", b"any order at all"])
def test_a_signature_that_fits_every_text_fits_none(text: bytes) -> None:
    Ed25519PublicKey.from_public_bytes(IDENTITY).verify(FORGED, text)  # the equation of RFC 8032 §5.1.7 does hold
    key = Public.load(Key(kid="k", person="p", public=IDENTITY.hex(), not_before_s=0, not_after_s=1))
    with pytest.raises(AuthorizationError) as refused:
        key.verify("Ed25519", FORGED, text)
    assert refused.value.check == Check.SIGNATURE
