"""Brings the store to what the ledger says, at each start of the administrator.

The ledger is the authority on stops: what it says has ended has ended, whatever the store says. An act whose text was
stored and which the ledger has is completed; one that the ledger has not is forgotten, for nobody was told of it. An
order of which the ledger knows an act that the store has not at all is held back: the store was replaced by an older
one, and its last word, perhaps a switched-off toggle, is lost.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

import msgspec

from mediation.administration import tiles
from mediation.administration.ledger import Entered
from mediation.administration.store import PENDING, Store, Stored
from mediation.core import entry, jws
from mediation.core.case import ENDED, Act, State


class Seen(msgspec.Struct):
    """What the ledger says, read once at the start."""

    filed: dict[str, int] = {}
    commands: dict[str, Entered] = {}
    acts: Counter[str] = msgspec.field(default_factory=Counter)
    ended: dict[str, State] = {}
    revoked: set[str] = set()
    founding: str = ""  # SHA-256 of the roster's first line, on a lab site
    changes: dict[int, str] = {}  # SHA-256 of the roster's lines by number
    requests: dict[str, int] = {}  # signed requests that were accepted, each with its second: none is accepted twice

    def read(self, line: tiles.Line, record: entry.Record) -> None:
        match record:
            case entry.OrderFiled():
                self.filed[record.carrier_sha256] = line.index
            case entry.CommandAccepted():
                found = Entered(index=line.index, record=line.record, salt=line.salt)
                self.commands[record.command_sha256] = found
                self.acts[record.carrier_sha256] = max(record.sequence, self.acts[record.carrier_sha256])
                if record.act is Act.DEACTIVATE:
                    self.ended[record.carrier_sha256] = State.DEACTIVATED
            case entry.Revoked():
                self.ended[record.carrier_sha256] = State.REVOKED
                self.revoked.add(record.token_sha256)
            case entry.Expired():
                self.ended.setdefault(record.carrier_sha256, State.EXPIRED)
            case entry.SiteMade():
                self.founding = record.founding
            case entry.RosterChanged():
                self.changes[record.number] = record.change_sha256
            case entry.CaseRead() | entry.SampleDrawn():
                self.requests[record.request_sha256] = record.time_us // 1_000_000
            case _:
                pass


def recover(store: Store, seen: Seen) -> Iterator[tuple[Stored, bool]]:
    """All orders of the store as the ledger has them, oldest first, each with whether it is held back."""
    with store.transaction():
        for order in list(store.orders()):
            if order.filed == PENDING and (filed := seen.filed.get(order.carrier_sha256)) is not None:
                store.filed(order.carrier_sha256, filed)
            for sequence, (text, place) in enumerate(order.commands, 1):
                if place.index == PENDING and (entered := seen.commands.get(jws.sha256_hex(text))) is not None:
                    store.entered(order.carrier_sha256, sequence, entered)
        store.drop_pending()
    for order in list(store.orders()):
        state = state_of(order, seen)
        if state is not order.state:
            order.state = state
            store.set_state(order.carrier_sha256, state)
        yield order, state not in ENDED and len(order.commands) < seen.acts[order.carrier_sha256]


def state_of(order: Stored, seen: Seen) -> State:
    """Where an order stands by the ledger's entries and its own commands."""
    if (ended := seen.ended.get(order.carrier_sha256)) is not None:
        return ended
    if order.state is State.FILED and order.commands:
        return State.LOGGED
    return order.state
