"""How a token's PIN comes in: from a prompt, or from a descriptor that the caller inherited. Never from the command
line or the environment, where other users of the machine could read it (proc(5)).

`pin-source=fd:N` in a key's URI (RFC 7512 §2.4 has `pin-source`; descriptors are ours) names the descriptor; the PIN is
its first line.
"""

from __future__ import annotations

import getpass
import os

from mediation.core.errors import ConfigurationError

MAX_PIN_OCTETS = 255


def read(source: str, asked: str) -> str:
    """The PIN. `source` is empty (prompt for `asked`) or `fd:N`. Raises ConfigurationError."""
    if not source:
        try:
            return getpass.getpass(f"PIN of {asked}: ")
        except (EOFError, OSError):
            raise ConfigurationError("no terminal to ask for the PIN: give pin-source=fd:N") from None
    scheme, _, number = source.partition(":")
    if scheme != "fd" or not number.isdigit():
        raise ConfigurationError("pin-source: only fd:N, the number of an inherited descriptor")
    try:
        with os.fdopen(int(number), "rb", closefd=False) as file:
            return file.readline(MAX_PIN_OCTETS + 1).rstrip(b"\n").decode()
    except (OSError, ValueError):
        raise ConfigurationError(f"pin-source: nothing to read from descriptor {number}") from None
