"""The orders of a site, and the only ways they change: filed, acted upon, revoked, begun, ended.

Answers for "log before act": whatever starts or changes an interception is on the disk, in the store and in the
ledger, before `changed` tells the tasking of it. A stop is carried out even when the ledger cannot be written; its
entry is then owed and made with the next one that succeeds. It holds no authority: what it hands on is admitted again
by each function.

Crash between any two steps: texts are stored first, then entered. At the start, where each stands is taken from the
ledger's own record; what it has not is forgotten, for nobody was told. Stops are taken from the ledger whatever the
store says. An order of which the ledger knows an act that the store has not is
held back: its store was replaced by an older one.

Blocking, not for several threads. Times: `now_ns`, UTC nanoseconds.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from functools import partial

from mediation.administration.keys import LEDGER_KEY, read_ledger_key
from mediation.administration.ledger.asking import Told
from mediation.administration.ledger.books import Books
from mediation.administration.ledger.heads import open_heads
from mediation.administration.ledger.ledger import Entered, Ledger
from mediation.administration.order import acting, agencies, filing, owed, recovery
from mediation.administration.order.register import Register
from mediation.administration.order.store import Store
from mediation.administration.order.stored import PENDING_ENTRY, Stored
from mediation.administration.persons import entries, roster
from mediation.administration.records.alarms import Alarms
from mediation.administration.records.history import History
from mediation.administration.records.records import open_records
from mediation.core.authority import jws
from mediation.core.case import ENDED, LIFE, RUNNING, Act, Command, Event, Revocation, State
from mediation.core.check import Check
from mediation.core.errors import AuthorizationError, ConfigurationError, LedgerError
from mediation.core.interface.control import Extending, Filing, Result
from mediation.core.ledger import entry
from mediation.core.records.alarm import Alarm
from mediation.core.units import NS
from mediation.runtime import vault
from mediation.runtime.config import Site
from mediation.runtime.keys import load_trust, read_verifier


class Orders(Register):
    """Open for one site; the caller holds the site's lock. `changed` is called with each order whose task must be
    armed, changed or stopped, after it is durable."""

    def __init__(
        self, site: Site, now_ns: int, changed: Callable[[Stored], None] = lambda _: None, *,
        told: tuple[Told, ...] = (),
    ) -> None:  # fmt: skip
        """Opens and verifies everything; `told` is what each witness remembers of the ledger. Raises ConfigurationError
        or LedgerError."""
        super().__init__()
        self.site = site
        self.changed = changed
        self.followed: Callable[[], None] = lambda: None  # there is a newly witnessed head
        self.roster_changed: Callable[[], None] = lambda: None
        self.revoked: Callable[[str], None] = lambda _: None
        self.may_activate: Callable[[], None] = lambda: None  # raises AuthorizationError
        self.counters: Counter[str] = Counter()
        self._store = Store(site.store_path, vault.unlock(site))
        try:
            seen, history = recovery.Seen(), History()
            signer = read_ledger_key(site.path / "administrator" / LEDGER_KEY)
            least = self._store.head(signer.verifier.name)
            box = vault.unlock(site).box("records")
            self.ledger = Ledger(site.ledger_dir, signer, box, least=least, on_record=seen.followed_by(history.read))
            if read_verifier(site.keys_dir).public != signer.verifier.public:
                raise ConfigurationError("keys/ledger.pub is not the key of this site's ledger")  # noqa: TRY301
            roster.recover(site, seen.changes)
            self.trust = load_trust(site, self._store.revoked() | seen.revoked)
            self.trust = self.trust.with_revoked(agencies.remembered(seen.agencies, self.trust.roster))
            roster.check_entered(self.trust.roster, seen.changes, seen.founding)
            self.entries = entries.Entries(self, seen.changed)
            self.requests_seen = seen.requests
            self._books = Books(self.ledger, self._store, self.counters, now_ns)
            self.alarms = Alarms(self._books, self.counters, seen.alarms)
            self._books.heads = self.heads = open_heads(site, self.ledger, self.trust, told, now_ns // NS)
            self.heads.witnessed, self.heads.enter = self._witnessed, partial(self.note, stop=True)
            self.heads.sound = lambda name, at_ns, what: self.alarms.sound(name, at_ns, detail=what)
            self.records = open_records(self, vault.unlock(site), history, self._books)
            self._recover(seen, least.size if least is not None else 0, now_ns)
        except BaseException:
            self._store.close()
            raise

    def close(self) -> None:
        self.records.close()
        self._store.close()

    # --- what changes an order -------------------------------------------------------------------------------------

    def submit(self, filings: Sequence[Filing], now_ns: int) -> list[Result]:
        """Files orders, each with its activation if it has one: two transactions and one checkpoint for all of them."""
        results: list[Result] = []
        accepted: list[tuple[Stored, list[entry.Record]]] = []
        cases: set[str] = set()
        for filed in filings:
            try:
                order, records = filing.examine(filed, self.trust, self.site, now_ns)
                filing.check_alone(order, self._orders, self.of_case(order.case), cases)
                self.records.plans.check_named(filed.carrier)
                if order.commands:
                    self.may_activate()
            except AuthorizationError as error:
                results.append(self._books.refuse(error, filed.carrier, now_ns))
                continue
            accepted.append((order, records))
            cases.add(order.case)
            results.append(Result(case=order.case, xid=order.xid))
        if not accepted:
            return results
        with self._store.transaction():
            for order, _ in accepted:
                self._store.add_order(order)
        try:
            entered = iter(self._books.enter([record for _, records in accepted for record in records]))
        except LedgerError:
            with self._store.transaction():
                self._store.drop(order.carrier_sha256 for order, _ in accepted)
            raise
        with self._books.saving(stop=True):
            pass  # where they stand is the ledger's to say
        for order, _ in accepted:
            filing.confirm(order, entered)
            self._await_witnesses(order, now_ns)
            self._hold(order)
            if order.state in RUNNING:
                self._begun(order, now_ns)
                self.changed(order)
        self.advance(now_ns)
        return results

    def perform(self, texts: Sequence[str], now_ns: int) -> list[Result]:
        """An officer's acts, one after the other."""
        return [self._guarded(text, partial(self._perform_one, text, now_ns), now_ns) for text in texts]

    def extend(self, extensions: Sequence[Extending], now_ns: int) -> list[Result]:
        """Extensions, each with the officer's act that puts it in force, one after the other."""
        acts = [partial(self._perform_one, each.command, now_ns, (each.legal, each.carrier)) for each in extensions]
        return [self._guarded(each.command, act, now_ns) for each, act in zip(extensions, acts, strict=True)]

    def revoke(self, texts: Sequence[str], now_ns: int) -> list[Result]:
        """Withdrawals of tokens, one after the other."""
        return [self._guarded(text, partial(self._revoke_one, text, now_ns), now_ns) for text in texts]

    def revocations(self, now_ns: int) -> list[str]:
        """The signed texts of the withdrawals that can still matter: of agencies, whether they have orders or not, and
        of orders whose window has not ended."""
        open_ = {o.carrier_sha256 for o in self._orders.values() if now_ns < o.not_after_s * NS}
        of_agencies = agencies.to_tell(self._store.withdrawals(), self.trust)
        return list(dict.fromkeys((*of_agencies, *self._store.revocations(open_))))  # those stand with orders too

    def revoke_agency(self, text: str, now_ns: int, *, came: bool = False) -> Result:
        """All authority of one agency is withdrawn: all of its orders end in this turn, and those of no other. The text
        is stored before it is entered: what a crash or a full disk lets stand of the two is carried out at the next
        start (`came`), whenever that is."""
        try:
            withdrawn = agencies.examine(text, self, self.trust, now_ns, came=came)
        except AuthorizationError as error:
            return self._books.refuse(error, text, now_ns)
        self.trust = self.trust.with_revoked((*withdrawn.markers, *(token for _, token in withdrawn.orders)))
        with self._books.saving(stop=True):
            self._store.add_withdrawal(text)
        for order, _ in withdrawn.orders:
            order.state = LIFE[order.state, Event.REVOKE]
        entered = self._books.enter(withdrawn.records, stop=True)
        with self._books.saving(stop=True):
            for order, token in withdrawn.orders:
                self._store.add_revocation(token, order.carrier_sha256, text)
                self._store.set_state(order.carrier_sha256, order.state)
        self.revoked(text)
        for order, _ in withdrawn.orders:
            self.changed(order)
        kept = entered or text in self._store.withdrawals()
        return Result(detail=f"{len(withdrawn.orders)} orders{'' if kept else agencies.NOT_KEPT}")

    def change_roster(self, approvals: Sequence[str], now_ns: int) -> Result:
        """A change of persons, roles, keys or contacts: entered, then in force here and told to the functions. Orders
        that its signers' dates no longer carry are revoked by it."""
        try:
            changed = roster.change(self.trust, approvals, self.site, self._books, now_ns)
        except AuthorizationError as error:
            return self._books.refuse(error, "".join(approvals), now_ns)
        self.trust = changed.trust
        self.entries.places[len(changed.trust.roster.lines) - 1] = changed.entered
        self.roster_changed()  # the functions stop what does not stand before this process has looked for it
        fallen = self._fall()
        self._books.enter([roster.fallen(o, changed, now_ns) for o in fallen], stop=True)
        with self._books.saving(stop=True):
            for order in fallen:
                self._store.set_state(order.carrier_sha256, order.state)
        for order in fallen:
            self.changed(order)
        return Result()

    def _fall(self) -> list[Stored]:
        """The orders that do not stand any more, which are revoked now."""
        fallen = [o for o in self._orders.values() if o.state not in ENDED and not roster.stands(o, self.trust)]
        for order in fallen:
            order.state = LIFE[order.state, Event.REVOKE]
        return fallen

    def advance(self, now_ns: int) -> None:
        """Begins and ends the windows that are due, and announces ends."""
        roster.complete(self.site, self.trust.roster)
        now_s = now_ns // NS
        looked = [self._orders[carrier] for carrier in self._timetable.due(now_s)]
        ended: list[Stored] = []
        begun: list[Stored] = []
        for order in looked:
            if order.state not in ENDED and now_s >= order.not_after_s:
                ended.append(order)
            elif order.state is State.WAITING and now_s >= order.not_before_s:
                order.state = LIFE[order.state, Event.BEGIN]
                begun.append(order)
        self._end(ended, now_ns)
        if begun:
            with self._books.saving(stop=True):
                for order in begun:
                    self._store.set_state(order.carrier_sha256, order.state)
            for order in begun:
                self._begun(order, now_ns)
                self.changed(order)
        for order in looked:
            self.alarms.announce(order, self.of_case(order.case), now_ns)
        self.records.keep(now_ns)

    def _begun(self, order: Stored, now_ns: int) -> None:
        """An order runs from now on: the emergency order of its case, in whose place it comes, is over."""
        if not order.emergency:
            others = [other for other in self.of_case(order.case) if other.emergency and other.state not in ENDED]
            self._end(others, now_ns, by=order.carrier_sha256)

    def _end(self, ended: Sequence[Stored], now_ns: int, by: str = "") -> None:
        if not ended:
            return
        for order in ended:
            order.state = LIFE[order.state, Event.END]
        record = partial(entry.Expired, time_us=now_ns // 1000, by=by)
        self._books.enter([record(case=o.case, carrier_sha256=o.carrier_sha256) for o in ended], stop=True)
        with self._books.saving(stop=True):
            for order in ended:
                self._store.set_state(order.carrier_sha256, order.state)
        for order in ended:
            self.changed(order)

    def next_moment_s(self) -> int | None:
        """When `advance` is next due, in UTC seconds."""
        return self._timetable.next_s()

    def outcomes(self, records: Sequence[entry.Outcome]) -> None:
        """What the functions answered: the second entry of "log before act"."""
        self._books.note(records, stop=True)

    def note(self, *records: entry.Record, stop: bool = False) -> None:
        """Entries about the administrator itself; with `stop` a ledger that cannot be written does not raise."""
        self._books.note(records, stop=stop)

    # --- inside ----------------------------------------------------------------------------------------------------

    def _witnessed(self, now_ns: int) -> None:
        """A newly witnessed head: what waited for it may be told to the functions."""
        self.followed()
        shown = [o for o in self._unwitnessed.values() if self.standing(o)[0] == len(o.commands)]
        if not shown:
            return
        for order in shown:
            del self._unwitnessed[order.carrier_sha256]
            self._await_witnesses(order, now_ns)
            if order.state is State.WAITING:
                self._timetable.add(order)
        with self._books.saving(stop=True):
            for order in shown:
                self._store.set_state(order.carrier_sha256, order.state)
        for order in shown:
            if order.state in RUNNING:
                self._begun(order, now_ns)
            self.changed(order)
        self.advance(now_ns)

    def _perform_one(self, text: str, now_ns: int, pair: tuple[str, str] | None = None) -> Stored:
        claimed = jws.decode(jws.split(text).payload, Command)  # only to find the order: nothing is believed yet
        order = self._orders.get(claimed.carrier_sha256)
        if order is None:
            raise AuthorizationError(Check.ORDER_UNKNOWN)
        if claimed.act is Act.ACTIVATE:
            self.may_activate()
        acted = acting.examine(text, order, self.trust, now_ns, held=order.carrier_sha256 in self.held, pair=pair)
        if pair is not None:
            self.records.plans.check_named(pair[1])
        carrier, sequence, stop = order.carrier_sha256, acted.command.sequence, acted.stop
        filed = acted.extension
        with self._books.saving(stop=stop):
            self._store.add_command(carrier, sequence, text)
            if pair is not None:
                self._store.add_extension(carrier, len(order.extensions) + 1, *pair)
        try:
            entered = self._books.enter(
                [*([filed] if filed is not None else []), acted.record], stop=stop,
                later=lambda place: self._owed(order, sequence, place),
            )  # fmt: skip
        except LedgerError:
            self._store.drop_command(carrier, sequence)
            if pair is not None:
                self._store.drop_extension(carrier, len(order.extensions) + 1)
            raise
        place = entered[-1] if entered else PENDING_ENTRY  # pending: a stop whose entry is owed
        order.commands.append((text, place))
        order.stands_by = None
        order.state = acted.state
        if pair is not None and filed is not None:
            order.extensions.append((*pair, entered[0]))
            order.not_after_s = filed.not_after_s
            self._timetable.add(order)
        self._await_witnesses(order, now_ns)
        with self._books.saving(stop=True):  # what was entered is done: the ledger says where it stands
            self._store.set_state(carrier, order.state)
        if acted.command.act is Act.ACTIVATE and order.state in RUNNING:
            self._begun(order, now_ns)
        self.changed(order)
        if order.state is State.WAITING:
            self._timetable.add(order)
            self.advance(now_ns)
        return order

    @staticmethod
    def _owed(order: Stored, sequence: int, place: Entered) -> None:
        """The entry of a stop that the ledger could not take at first stands there now."""
        order.commands[sequence - 1] = (order.commands[sequence - 1][0], place)

    def _enter_owed(self, seen: recovery.Seen, now_ns: int) -> None:
        """The entries of stops that an earlier process carried out and could not enter."""
        ended = [o for o in self._orders.values() if o.state in owed.ENDS and o.carrier_sha256 not in seen.ended]
        for order in (each for each in ended if each.xid not in seen.destroyed):
            texts = self._store.revocations({order.carrier_sha256})
            end = owed.end(order, texts, self.of_case(order.case), self.trust, now_ns // 1000)
            self._books.enter([end], stop=True)
        for order in [each for each in self._orders.values() if each.owed]:
            text, last = order.commands[-1][0], len(order.commands)
            record = acting.accepted_late(text, self.trust, order.legal_sha256, now_ns // 1000)
            for place in self._books.enter([record], stop=True, later=partial(self._owed, order, last)):
                self._owed(order, last, place)

    def _revoke_one(self, text: str, now_ns: int) -> Stored:
        claimed = jws.decode(jws.split(text).payload, Revocation)  # only to find the case
        withdrawn = acting.examine_revocation(text, self.of_case(claimed.case), self.trust, now_ns)
        order, token = withdrawn.order, withdrawn.revocation.token_sha256
        self.trust = self.trust.with_revoked((token,))
        order.state = LIFE[order.state, Event.REVOKE]
        self._books.enter([withdrawn.record], stop=True)
        with self._books.saving(stop=True):
            self._store.add_revocation(token, order.carrier_sha256, text)
            self._store.set_state(order.carrier_sha256, order.state)
        self.changed(order)
        self.revoked(text)
        return order

    def _guarded(self, text: str, act: Callable[[], Stored], now_ns: int) -> Result:
        try:
            order = act()
        except AuthorizationError as error:
            return self._books.refuse(error, text, now_ns)
        return Result(case=order.case, xid=order.xid)

    def _recover(self, seen: recovery.Seen, known: int, now_ns: int) -> None:
        """Brings the store to what the ledger says, and both to now."""
        for order, held in recovery.recover(self._store, seen):
            if held:
                self.held.add(order.carrier_sha256)
            if order.commands and order.commands[0][1].index > seen.changed_at:
                order.stands_by = self.trust  # all of it was judged, before it was entered, by the roster of today
            self._await_witnesses(order, now_ns)
            self._hold(order)
        if seen.changed_at >= 0:  # a crash came between a change of the roster and the ends of what fell by it
            self._fall()
        self._enter_owed(seen, now_ns)
        self.lost = recovery.lost(seen, self._orders)
        self.counters["orders_held"] = len(self.held)
        # Padding is made between two acts, and nothing in the store goes with it.
        if seen.size > known or self.ledger.interrupted:
            record = entry.Recovered(time_us=now_ns // 1000, first=known, size=self.ledger.size)
            self._books.enter([record], stop=True)
        with self._books.saving(stop=True):
            pass  # a full disk keeps nobody from stopping what runs
        self._books.show(now_ns // 1000)
        self.records.recover(now_ns)
        for order in self.lost:
            self.alarms.sound(Alarm.ORDER_LOST, now_ns, case=order.case, detail=f"xid {order.xid}")
        for text in agencies.unfinished(self._store.withdrawals(), self.trust):
            self.revoke_agency(text, now_ns, came=True)
        self.advance(now_ns)
