"""What persons signed beside the plan, kept for the auditor: calls of its contact, orders of the Commission.

Answers for the exact octets of each such text below DIR/administrator/policies, sealed (who answered a call is nobody
else's business), and for their place in an export. The ledger has the SHA-256 of each: what it does not name is not
shown, and nothing is decided by these files. Blocking.
"""

from __future__ import annotations

from pathlib import Path

from mediation.administration.records.keeping import Keeping
from mediation.core.authority import jws
from mediation.core.errors import ConfigurationError
from mediation.core.ledger.sealing import SealError
from mediation.runtime import durable

FOLDER = Path("administrator") / "policies"
PURPOSE = "records"
EXPORTED = "plan/signed"


def keep(keeping: Keeping, text: str) -> str:
    """Keeps a text whose entry is made next; its SHA-256. Durable when it returns. Raises ConfigurationError."""
    sha256 = jws.sha256_hex(text)
    folder = keeping.site.path / FOLDER
    try:
        durable.make_folder(folder)
        durable.replace(folder / sha256, keeping.vault.seal(PURPOSE, text.encode(), _place(sha256)))
    except OSError as error:
        raise ConfigurationError(f"{FOLDER.name}: {error.strerror}") from error
    return sha256


def exported(keeping: Keeping) -> list[tuple[str, bytes]]:
    """Those that the ledger names, as an export has them; one that is gone is for the auditor to miss. Raises
    ConfigurationError for one that was changed."""
    found = []
    for sha256 in sorted(keeping.history.signed):
        try:
            sealed = (keeping.site.path / FOLDER / sha256).read_bytes()
            text = keeping.vault.open(PURPOSE, sealed, _place(sha256))
        except FileNotFoundError:
            continue
        except (OSError, SealError) as error:
            raise ConfigurationError(f"{FOLDER.name}/{sha256}: {type(error).__name__}") from None
        found.append((f"{EXPORTED}/{sha256}.jws", text))
    return found


def _place(sha256: str) -> bytes:
    return f"policies {sha256}".encode()
