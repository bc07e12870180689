"""The two books of the administration, written together: the ledger, and the store with the ledger's head in it.

Answers for "log before act": whatever starts or changes an interception is on the disk, in the store and in the
ledger, before anybody is told of it. A stop is carried out even when the ledger cannot be written; its entry is then
owed and made with the next one that succeeds. Knows no order and decides nothing.

Blocking, not for several threads. Times: `now_ns`, UTC nanoseconds.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import apsw
import msgspec

from mediation.administration.ledger.heads import Heads
from mediation.administration.ledger.ledger import Entered, Ledger
from mediation.administration.ledger.refusals import Limit
from mediation.administration.order.store import Store
from mediation.core.authority import jws
from mediation.core.errors import AuthorizationError, LedgerError
from mediation.core.interface.control import Result
from mediation.core.ledger import entry
from mediation.runtime import log

logger = log.get("administrator")


class Books:
    """The ledger and the store of one site; `counters` are the caller's."""

    def __init__(self, ledger: Ledger, store: Store, counters: Counter[str], now_ns: int) -> None:
        self.ledger = ledger
        self.store = store
        self._counters = counters
        self.heads: Heads | None = None  # once they are open
        self._owed: list[tuple[str, Callable[[Entered], None] | None]] = []
        self._refusals = Limit(now_ns)
        self._why = ""  # the last append failed, if it did
        self._latest_us = 0  # of the entries made here
        self.watch: Callable[[Entered, entry.Record], None] = lambda _, __: None  # told of each entry that was made

    def count(self, name: str) -> None:
        self._counters[name] += 1

    def show(self, now_us: int) -> None:
        """On a lab site, has what was appended witnessed at once."""
        if self.heads is not None and self.heads.at_once:
            try:
                self.heads.show_at_once(now_us * 1000)
            except LedgerError:
                self._counters["heads_not_written"] += 1

    def enter(
        self,
        records: Sequence[entry.Record],
        *,
        stop: bool = False,
        later: Callable[[Entered], None] | None = None,
    ) -> list[Entered]:
        """Appends to the ledger. With `stop`, a ledger that cannot be written does not raise: the entry is owed, and
        `later` is told where it stands at last.

        An entry is dated no earlier than the one before it: what was gathered before it is entered (outcomes) would
        else look as if the clock had run backwards. Raises LedgerError.
        """
        texts = [entry.encode(self._dated(record)) for record in records]
        owed = list(self._owed)
        try:
            entered = self.ledger.append([*(text for text, _ in owed), *texts])
        except LedgerError as error:
            self._counters["ledger_append_failed"] += 1
            if (why := str(error)) != self._why:
                self._why = why
                logger.error("alarm_ledger_not_written", reason=why)  # noqa: TRY400
            if not stop:
                raise
            self._owed += [(text, later) for text in texts]
            return []
        self._owed.clear()
        self._why = ""
        for (_, tell), place in zip(owed, entered, strict=False):
            if tell is not None:
                tell(place)
            self.watch(place, entry.decode(place.record))
        for record, place in zip(records, entered[len(owed) :], strict=True):
            self.watch(place, record)
        if records:
            self.show(records[-1].time_us)
        return entered[len(owed) :]

    def _dated(self, record: entry.Record) -> entry.Record:
        self._latest_us = max(self._latest_us, record.time_us)
        return record if record.time_us == self._latest_us else msgspec.structs.replace(record, time_us=self._latest_us)

    @contextmanager
    def saving(self, *, stop: bool) -> Iterator[None]:
        """A transaction with the ledger's head in it. A stop goes on without it when the store cannot be written."""
        try:
            with self.store.transaction():
                yield
                self.store.set_head(self.ledger.head)
        except (apsw.Error, OSError):
            self._counters["store_write_failed"] += 1
            if not stop:
                raise

    def note(self, records: Sequence[entry.Record], *, stop: bool) -> list[Entered]:
        """Entries with nothing beside them in the store. Raises LedgerError unless `stop`; a store that cannot be
        written takes nothing from what the ledger has: its head is known to it a little later."""
        entered = self.enter(records, stop=stop)
        with self.saving(stop=True):
            pass
        return entered

    def refuse(self, error: AuthorizationError, text: str, now_ns: int) -> Result:
        """Counts a refused attempt, and enters it at a bounded rate: refusals must not fill the disk."""
        self._counters["refused"] += 1
        if self._refusals.allow(now_ns):
            record = entry.Refused(
                time_us=now_ns // 1000, check=error.check, text_sha256=jws.sha256_hex(text),
                suppressed=self._refusals.take_suppressed(),
            )  # fmt: skip
            self.note([record], stop=True)
        else:
            self._counters["refused_without_entry"] += 1
        return Result(check=error.check, detail=error.detail)
