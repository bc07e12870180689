"""The orders in force, read from a site's files without its lock: for replay, which runs beside the administrator.

Reads only. What it returns gives no authority by itself: whoever uses it calls `authorization.admit`.
"""

from __future__ import annotations

from mediation.administration import recovery, tiles, verify
from mediation.administration.store import Store
from mediation.core import merkle, note
from mediation.core.case import ENDED, Proof, State, TaskRequest
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
    report = verify.examine(
        tiles.Folder(site.ledger_dir), read_verifier(site.keys_dir), on_record=seen.read, recent=verify.RECENT
    )
    report.raise_first()
    found: list[TaskRequest] = []
    if not report.witnessed:
        return found
    head = note.parse_checkpoint(note.split(report.witnessed)[0])  # `examine` found it to be of this ledger
    for order in orders:
        state = recovery.state_of(order, seen)
        commands = [(text, entered) for text, entered in order.commands if 0 <= entered.index < head.size]
        if state is State.FILED or state in ENDED or len(commands) < seen.acts[order.carrier_sha256]:
            continue
        proofs = tuple(
            Proof(
                index=entered.index, record=entered.record, salt=entered.salt, checkpoint=report.witnessed,
                path=tuple(
                    node.hex() for node in merkle.inclusion_path(entered.index, head.size, report.tree.read)
                ),
            )
            for _, entered in commands
        )  # fmt: skip
        found.append(
            TaskRequest(
                legal=order.legal, carrier=order.carrier, commands=tuple(text for text, _ in commands), proofs=proofs
            )
        )
    return found
