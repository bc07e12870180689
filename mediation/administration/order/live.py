"""The orders in force, read from a site's files without its lock: for replay, which runs beside the administrator.

Reads only. What it returns gives no authority by itself: whoever uses it calls `authorization.admit`.
"""

from __future__ import annotations

from mediation.administration.keys import ledger_files
from mediation.administration.ledger import verify
from mediation.administration.ledger.ledger import Entered
from mediation.administration.order import recovery
from mediation.administration.order.store import Store
from mediation.core.case import ENDED, Proof, State, TaskRequest
from mediation.core.ledger import merkle, note
from mediation.runtime import vault
from mediation.runtime.config import Site
from mediation.runtime.keys import read_verifier


def load_live(site: Site) -> list[TaskRequest]:
    """A request for each order that was activated and has not ended, with proofs under the witnessed head.

    Raises ConfigurationError for an unreadable store, LedgerError for a ledger that does not verify.
    """
    # The store first: the ledger only grows, so it then has all that the store speaks of.
    store = Store(site.store_path, vault.unlock(site), readonly=True)
    try:
        orders = list(store.orders())
    finally:
        store.close()
    seen = recovery.Seen()
    report = verify.examine(ledger_files(site), read_verifier(site.keys_dir), on_record=seen.read, recent=verify.RECENT)
    report.raise_first()
    found: list[TaskRequest] = []
    if not report.witnessed:
        return found
    head = note.parse_checkpoint(note.split(report.witnessed)[0])  # `examine` found it to be of this ledger
    placed = [order for order in orders if recovery.place(order, seen)]
    for order in sorted(placed, key=lambda each: each.filed):
        state = recovery.state_of(order, seen)
        if state in (State.FILED, State.SUSPENDED) or state in ENDED:
            continue
        known = all(0 <= place.index < head.size for place in order.entries)
        if not known or len(order.commands) < seen.acts[order.carrier_sha256]:
            continue
        found.append(order.request(lambda entered: _proof(entered, head.size, report)))
    return found


def _proof(entered: Entered, size: int, report: verify.Report) -> Proof:
    path = merkle.inclusion_path(entered.index, size, report.tree.read)
    return Proof(
        index=entered.index, record=entered.record, salt=entered.salt, checkpoint=report.witnessed,
        path=tuple(node.hex() for node in path),
    )  # fmt: skip
