"""Makes a site: configuration, on a lab site its roster, the ledger with its first entry, the store, the folders with
their modes. Nobody can act on a real site until it has been founded (`mediation person found`).

Never overwrites anything. Trust of what it makes: keys/ is public and read-only to the functions; administrator/,
ledger/, delivery/ and lab/ are private to their owner.
"""

from __future__ import annotations

import secrets
import time
from pathlib import Path

from mediation.administration import lab
from mediation.administration.keys import LEDGER_KEY, new_ledger_key
from mediation.administration.ledger import lab_witness
from mediation.administration.ledger.ledger import Ledger
from mediation.administration.order.store import Store
from mediation.administration.persons import roster
from mediation.administration.records import plans
from mediation.core.authority.roster import Roster, digest
from mediation.core.errors import ConfigurationError
from mediation.core.ledger import entry
from mediation.runtime import config, vault, wrapping
from mediation.runtime.keys import LEDGER, POLICY

PUBLIC, PRIVATE = 0o755, 0o700
RECONCILER_KEY, RECONCILER_PUBLIC = "log.key", "reconciler.pub"  # as reconciliation/journal.py reads them
FOLDERS = {
    "keys": PUBLIC, "run": PUBLIC, "log": PUBLIC, "spool": PRIVATE, "delivery": PRIVATE, "administrator": PRIVATE,
    "reconciler": PRIVATE,
}  # fmt: skip


def make(
    path: Path, *, is_lab: bool, collector_port: int = config.LAB_COLLECTOR_PORT, wrap: wrapping.Form | None = None
) -> config.Site:
    """A new site at `path`, which must not exist or be empty. Raises ConfigurationError.

    `wrap` says how its vault is opened. A real site without it has no vault yet (`mediation vault make`), and no
    function of it starts.
    """
    try:
        path.mkdir(mode=PUBLIC, parents=True, exist_ok=True)
        if any(path.iterdir()):
            raise ConfigurationError(f"{path.name}: is not empty")
        for name, mode in FOLDERS.items():
            (path / name).mkdir(mode=mode)
            (path / name).chmod(mode)  # whatever the umask
        config.write_default(path, lab=is_lab, collector_port=collector_port)
        site = config.load(path)
        # A name that no other ledger has; the word LAB in it marks every checkpoint of a lab site.
        origin = f"{'LAB' if is_lab else 'mediation'}/{secrets.token_hex(8)}"
        signer = new_ledger_key(site.path / "administrator" / LEDGER_KEY, origin)
        (site.keys_dir / LEDGER).write_text(f"{signer.verifier}\n")
        (site.keys_dir / LEDGER).chmod(0o644)
        _reconciler_key(site, origin)
        founding = plan = ""
        if is_lab:
            line = lab.make(site, origin)
            roster.append(site.keys_dir, line)
            founding = digest(line)
            held = Roster.replay([line], founding, origin, lab=True)
            plan = plans.make_lab(site, origin, held.senior_officer(int(time.time())))
            policy = site.keys_dir / POLICY
            policy.write_text(lab_witness.make(site.lab_dir, signer.verifier))
            policy.chmod(0o644)
        if (form := wrapping.Lab() if is_lab else wrap) is not None:
            vault.make(site, form).wipe()
        made = entry.SiteMade(time_us=time.time_ns() // 1000, origin=origin, lab=is_lab, founding=founding, plan=plan)
        ledger = Ledger.create(site.ledger_dir, signer, None, [entry.encode(made)])
        store = Store(site.store_path, None, create=True)
        store.set_head(ledger.head)
        store.close()
    except OSError as error:
        raise ConfigurationError(f"{path.name}: {error.strerror}") from error
    return site


def _reconciler_key(site: config.Site, origin: str) -> None:
    """The key of the reconciler's own log: its user's alone, and pinned below keys/ for the auditor."""
    signer = new_ledger_key(site.reconciler_dir / RECONCILER_KEY, f"{origin}/reconciler")
    (site.keys_dir / RECONCILER_PUBLIC).write_text(f"{signer.verifier}\n")
    (site.keys_dir / RECONCILER_PUBLIC).chmod(0o644)
