"""What every form of a person's key can do, for the commands that sign.

Answers for one interface over files, PKCS#11 tokens and FIDO2 security keys. A token does not know whose role its
person holds, so `role` and `lab` may be None: the tool then does not warn ahead, and the site judges as it always does.
"""

from __future__ import annotations

from typing import Protocol

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from mediation.core.authority.jws import Signs
from mediation.core.case import Role


class Signer(Protocol):
    """A person's key, open for signing. `kid` is the one it was enrolled under."""

    @property
    def kid(self) -> str: ...

    @property
    def role(self) -> Role | None: ...

    @property
    def lab(self) -> bool | None: ...

    def key(self) -> Ed25519PrivateKey | Signs:
        """For `jws.sign`. Signing may ask the person for a touch or a PIN, and raises ConfigurationError."""
