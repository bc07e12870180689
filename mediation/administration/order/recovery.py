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

from mediation.administration.ledger import tiles, verify
from mediation.administration.ledger.ledger import Entered
from mediation.administration.order.store import PENDING, Store, Stored
from mediation.core.authority import jws
from mediation.core.case import ENDED, LIFE, RUNNING, Act, Command, Event, LegalExtension, State
from mediation.core.ledger import entry


class Seen(msgspec.Struct):
    """What the ledger says, read once at the start."""

    filed: dict[str, int] = {}
    commands: dict[str, Entered] = {}
    acts: Counter[str] = msgspec.field(default_factory=Counter)
    ended: dict[str, State] = {}
    revoked: set[str] = set()
    extensions: dict[str, Entered] = {}  # by the carrier's token
    call_backs: dict[str, Entered] = {}
    suspended: dict[str, bool] = {}  # by the order's carrier token, as the last such act says
    alarms: set[tuple[str, str, str]] = set()
    founding: str = ""  # SHA-256 of the roster's first line, on a lab site
    changes: dict[int, str] = {}  # SHA-256 of the roster's lines by number
    requests: dict[str, int] = {}  # signed requests that were accepted, each with its second: none is accepted twice

    def followed_by(self, other: verify.OnRecord) -> verify.OnRecord:
        """One reading of the ledger for two."""

        def both(line: tiles.Line, record: entry.Record) -> None:
            self.read(line, record)
            other(line, record)

        return both

    size: int = 0  # of the ledger up to its last entry that is no padding

    def read(self, line: tiles.Line, record: entry.Record) -> None:
        if not isinstance(record, entry.Padding):
            self.size = line.index + 1
        match record:
            case entry.OrderFiled():
                self.filed[record.carrier_sha256] = line.index
            case entry.CommandAccepted():
                found = Entered(index=line.index, record=line.record, salt=line.salt)
                self.commands[record.command_sha256] = found
                self.acts[record.carrier_sha256] = max(record.sequence, self.acts[record.carrier_sha256])
                if record.act is Act.DEACTIVATE:
                    self.ended[record.carrier_sha256] = State.DEACTIVATED
                elif record.act in (Act.SUSPEND, Act.RESUME):
                    self.suspended[record.carrier_sha256] = record.act is Act.SUSPEND
            case entry.ExtensionFiled():
                found = Entered(index=line.index, record=line.record, salt=line.salt)
                self.extensions[record.carrier_extension_sha256] = found
            case entry.CallBackFiled():
                found = Entered(index=line.index, record=line.record, salt=line.salt)
                self.call_backs[record.call_back_sha256] = found
            case entry.Alarm():
                self.alarms.add((record.alarm, record.case, record.detail))
            case entry.Revoked():
                self.ended[record.carrier_sha256] = State.REVOKED
                self.revoked.add(record.token_sha256)
            case entry.Expired():
                self.ended.setdefault(record.carrier_sha256, State.EXPIRED)
            case entry.Sealed():
                self.ended[record.carrier_sha256] = State.SEALED
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
    if store.pending:
        _complete(store, seen)
    for order in list(store.orders()):
        state = state_of(order, seen)
        if state is not order.state:
            order.state = state
            store.set_state(order.carrier_sha256, state)
        yield order, state not in ENDED and len(order.commands) < seen.acts[order.carrier_sha256]


def _complete(store: Store, seen: Seen) -> None:
    """Gives what was on its way its place in the ledger, or forgets it."""
    with store.transaction():
        for order in list(store.orders()):
            if order.filed == PENDING and (filed := seen.filed.get(order.carrier_sha256)) is not None:
                store.filed(order.carrier_sha256, filed)
            for sequence, (text, place) in enumerate(order.commands, 1):
                if place.index == PENDING and (entered := seen.commands.get(jws.sha256_hex(text))) is not None:
                    store.entered(order.carrier_sha256, sequence, entered)
                    _extend(store, order, text, seen)
            if order.call_back is not None and order.call_back[1].index == PENDING:
                called = seen.call_backs.get(jws.sha256_hex(order.call_back[0]))
                if called is not None:
                    store.called_back(order.carrier_sha256, called)
        store.drop_pending()


def _extend(store: Store, order: Stored, text: str, seen: Seen) -> None:
    """Completes the extension that an act put in force. One whose act the ledger has not is in force for nobody."""
    command = jws.decode(jws.split(text).payload, Command)
    for number, (legal, approval, place) in enumerate(order.extensions, 1):
        digest = jws.sha256_hex(approval)
        if place.index == PENDING and digest == command.extension_sha256 and digest in seen.extensions:
            end_s = jws.decode(jws.split(legal).payload, LegalExtension).not_after_s
            store.extended(order.carrier_sha256, number, seen.extensions[digest], end_s)


def state_of(order: Stored, seen: Seen) -> State:
    """Where an order stands by the ledger's entries and its own commands."""
    if (ended := seen.ended.get(order.carrier_sha256)) is not None:
        return ended
    state = order.state
    if state is State.FILED and order.commands:
        return LIFE[state, Event.ACTIVATE]
    suspended = seen.suspended.get(order.carrier_sha256, False)
    if suspended and state in RUNNING:
        return LIFE[state, Event.SUSPEND]
    if not suspended and state is State.SUSPENDED:
        state = LIFE[state, Event.RESUME]
    if state is State.ACTIVE and order.extensions:
        state = LIFE[state, Event.EXTEND]
    return state
