"""Brings the store to what the ledger says, at each start of the administrator.

The ledger is the authority on stops: what it says has ended has ended, whatever the store says. An act whose text was
stored and which the ledger has stands where the ledger says; one that it has not is forgotten, for nobody was told. An
order of which the ledger knows an act that the store has not at all is held back: the store was replaced by an older
one, and its last word, perhaps a switched-off toggle, is lost. One that the store has not at all, and that nothing has
ended, nobody could withdraw any more: the functions are told to stop it (`lost`). A stop that was carried out when the
ledger could not be written stands as well, and its entry is still owed.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Container, Iterator

import apsw
import msgspec

from mediation.administration.ledger import tiles, verify
from mediation.administration.ledger.ledger import Entered
from mediation.administration.order.store import Store
from mediation.administration.order.stored import PENDING, PENDING_ENTRY, Stored
from mediation.administration.records.history import xid_of
from mediation.core.authority import jws
from mediation.core.case import ENDED, LIFE, RUNNING, Act, Command, Event, LegalExtension, State
from mediation.core.ledger import entry
from mediation.core.units import US
from mediation.runtime import log

logger = log.get("administrator")

STOPPED = frozenset({(Act.SUSPEND, State.SUSPENDED), (Act.DEACTIVATE, State.DEACTIVATED)})


class Seen(msgspec.Struct):
    """What the ledger says, read once at the start."""

    filed: dict[str, int] = {}
    commands: dict[str, Entered] = {}
    acts: Counter[str] = msgspec.field(default_factory=Counter)
    ended: dict[str, State] = {}
    destroyed: set[str] = set()  # by XID
    revoked: set[str] = set()
    agencies: list[tuple[str, int]] = []  # whose authority was withdrawn, with the second of issue
    extensions: dict[str, Entered] = {}  # by the carrier's token
    call_backs: dict[str, Entered] = {}
    suspended: dict[str, bool] = {}  # by the order's carrier token, as the last such act says
    alarms: set[tuple[str, str, str]] = set()
    founding: str = ""  # SHA-256 of the roster's first line, on a lab site
    changes: dict[int, str] = {}  # SHA-256 of the roster's lines by number
    changed: dict[int, Entered] = {}  # and where they stand
    changed_at: int = -1  # the entry of the last of them
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
            case entry.Outcome():  # first: every other entry of a busy ledger is one
                pass
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
            case entry.AgencyRevoked():
                self.agencies.append((record.agency, record.issued_s))
            case entry.Expired():
                self.ended.setdefault(record.carrier_sha256, State.EXPIRED)
            case entry.Sealed():
                self.ended[record.carrier_sha256] = State.SEALED
            case entry.Destroyed():
                self.destroyed.add(record.xid)
            case entry.SiteMade():
                self.founding = record.founding
            case entry.RosterChanged():
                self.changes[record.number], self.changed_at = record.change_sha256, line.index
                self.changed[record.number] = Entered(index=line.index, record=line.record, salt=line.salt)
            case entry.CaseRead() | entry.SampleDrawn():
                self.requests[record.request_sha256] = record.time_us // US
            case _:
                pass


def recover(store: Store, seen: Seen) -> Iterator[tuple[Stored, bool]]:
    """All orders of the store as the ledger has them, oldest first, each with whether it is held back.

    What the ledger has not is forgotten at the end, when all were taken.
    """
    placed: list[Stored] = []
    forgotten: list[str] = []
    acts: list[tuple[str, int]] = []
    extensions: list[tuple[str, int]] = []
    for order in store.orders():
        carrier, commands, pairs = order.carrier_sha256, order.commands, order.extensions
        if not place(order, seen):
            forgotten.append(carrier)
            continue
        if len(order.commands) < len(commands):
            kept = {text for text, _ in order.commands}
            acts += [(carrier, number) for number, (text, _) in enumerate(commands, 1) if text not in kept]
        if len(order.extensions) < len(pairs):
            stand = {approval for _, approval, _ in order.extensions}
            extensions += [(carrier, number) for number, (_, text, _) in enumerate(pairs, 1) if text not in stand]
        placed.append(order)
    for order in sorted(placed, key=lambda each: each.filed):  # the store knows no order of filing
        order.state = state_of(order, seen)
        yield order, order.state not in ENDED and len(order.commands) < seen.acts[order.carrier_sha256]
    if forgotten or acts or extensions:
        try:
            with store.transaction():
                store.drop(forgotten)
                for carrier, number in acts:
                    store.drop_command(carrier, number)
                for carrier, number in extensions:
                    store.drop_extension(carrier, number)
        except (apsw.Error, OSError) as error:  # it is forgotten again at the next start
            logger.error("forgotten_not_dropped", orders=len(forgotten), acts=len(acts), why=type(error).__name__)  # noqa: TRY400


def lost(seen: Seen, held: Container[str]) -> list[Stored]:
    """The orders that the ledger knows as activated and not ended, and that the store has not; `held` are the carrier
    tokens of those that it has. They have no texts: enough to stop them, and nothing else."""
    carriers = {carrier for carrier in seen.acts if carrier not in held and carrier not in seen.ended}
    found: dict[str, Stored] = {}
    carriers = {carrier for carrier in carriers if xid_of(carrier) not in seen.destroyed}
    for entered in seen.commands.values() if carriers else ():
        record = entry.decode(entered.record)
        if isinstance(record, entry.CommandAccepted) and record.carrier_sha256 in carriers:
            found[record.carrier_sha256] = Stored(
                carrier_sha256=record.carrier_sha256, legal_sha256=record.legal_sha256,
                xid=xid_of(record.carrier_sha256), case=record.case, legal="", carrier="", not_before_s=0,
                not_after_s=0, state=State.DEACTIVATED, filed=seen.filed.get(record.carrier_sha256, PENDING),
            )  # fmt: skip
    return sorted(found.values(), key=lambda order: order.filed)


def place(order: Stored, seen: Seen) -> bool:
    """Gives the texts of an order their places in the ledger, and the order the end of its last extension; texts that
    the ledger has not are taken from it. False when the ledger has not the order itself."""
    filed = seen.filed.get(order.carrier_sha256)
    if filed is None:
        return False
    order.filed = filed
    if order.call_back is not None:
        called = seen.call_backs.get(jws.sha256_hex(order.call_back[0]))
        if called is None:
            return False
        order.call_back = (order.call_back[0], called)
    acts = ((text, seen.commands.get(jws.sha256_hex(text))) for text, _ in order.commands)
    order.commands = [
        (text, entered or PENDING_ENTRY) for text, entered in acts if entered is not None or _carried_out(text, order)
    ]
    if order.extensions:
        _extend(order, seen)
    return True


def _carried_out(text: str, order: Stored) -> bool:
    """Whether an act that the ledger has not is a stop, which waits for no ledger, and was carried out: the state that
    it leads to is stored after it."""
    return (jws.decode(jws.split(text).payload, Command).act, order.state) in STOPPED


def _extend(order: Stored, seen: Seen) -> None:
    """The extensions that an act has put in force. One whose act the ledger has not is in force for nobody."""
    named = {jws.decode(jws.split(text).payload, Command).extension_sha256 for text, _ in order.commands}
    extensions, order.extensions = order.extensions, []
    for legal, approval, _ in extensions:
        digest = jws.sha256_hex(approval)
        if digest in named and digest in seen.extensions:
            order.extensions.append((legal, approval, seen.extensions[digest]))
            order.not_after_s = jws.decode(jws.split(legal).payload, LegalExtension).not_after_s


def state_of(order: Stored, seen: Seen) -> State:
    """Where an order stands by the ledger's entries and its own commands."""
    if (ended := seen.ended.get(order.carrier_sha256)) is not None:
        return ended
    state = order.state
    if state is State.FILED and order.commands:
        state = LIFE[state, Event.ACTIVATE]
    begun = state in RUNNING or state is State.LOGGED
    suspended = seen.suspended.get(order.carrier_sha256, False)
    if suspended and begun:
        return State.SUSPENDED  # what was suspended or extended did run, whether that was stored or not
    if not suspended and state is State.SUSPENDED and not order.owed:
        state = LIFE[state, Event.RESUME]
    if order.extensions and (state is State.ACTIVE or state is State.LOGGED):
        state = State.EXTENDED
    return state
