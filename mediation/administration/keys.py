"""The ledger's private key, and the ledger's files as this process's vault opens them.

Trust: whoever reads DIR/administrator/ledger.key can sign a false ledger head. It is a file of mode 0600 in a folder of
mode 0700.
"""

from __future__ import annotations

from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from mediation.administration.ledger import tiles
from mediation.core.errors import ConfigurationError
from mediation.core.ledger import note
from mediation.runtime import vault
from mediation.runtime.config import Site
from mediation.signing.file import write_private

LEDGER_KEY = "ledger.key"


def new_ledger_key(path: Path, name: str) -> note.Signer:
    """Makes the ledger's key; `name` is the ledger's origin."""
    signer = note.Signer(name, Ed25519PrivateKey.generate())
    write_private(path, f"{signer.private_text()}\n")
    return signer


def read_ledger_key(path: Path) -> note.Signer:
    """Raises ConfigurationError."""
    try:
        return note.Signer.parse(path.read_text())
    except OSError as error:
        raise ConfigurationError(f"{path.name}: {error.strerror}") from error
    except ValueError:
        raise ConfigurationError(f"{path.name}: not a ledger's private key") from None


def ledger_files(site: Site) -> tiles.Folder:
    """A site's ledger with its records opened by this process's vault. Raises ConfigurationError without one."""
    return tiles.Folder(site.ledger_dir, vault.unlock(site).box("records"))
