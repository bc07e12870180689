"""The end of an order's records: sealed when it has ended and is certified, destroyed when their time has passed.

Answers for keeping them until then whatever anybody asks (47 CFR 1.20004(b)), and for what is destroyed: the order's
key in the vault, with it every stored text of the order and its certifications; their rows; and the records and salts
of its entries in the ledger, whose commitments stay, so that the tree verifies and an auditor can tell a destroyed
record from one that was taken away. The certificate of destruction lies in DIR/destruction/XID.json and its hash in an
entry Destroyed. A hold on a case stops all of it.

Crash between any two steps: the certificate is written, then entered, then carried out, and each start carries out
what was entered and not done. Blocking; a destroyed order costs a few milliseconds.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from mediation.administration.order.stored import Stored
from mediation.administration.records.certificates import Certificates
from mediation.administration.records.history import Life
from mediation.administration.records.keeping import Keeping
from mediation.administration.records.plans import Plans
from mediation.core.authority import jws
from mediation.core.case import ENDED, LIFE, Event, State
from mediation.core.check import Check
from mediation.core.errors import AuthorizationError, ConfigurationError
from mediation.core.ledger import entry
from mediation.core.records import retention
from mediation.core.records.retention import UNENABLED_S, DestructionCertificate
from mediation.core.units import NS, US
from mediation.runtime import durable, log
from mediation.runtime.config import Site

FOLDER = "destruction"
INDEXES_AT_ONCE = 512  # in one entry: far below the longest record
_XID = re.compile(r"[0-9a-f]{32}")
AT_ONCE = 16  # orders in one turn: a stop does not wait behind a year's worth of them (ours)

logger = log.get("administrator")


class Destruction:
    """Of one site."""

    def __init__(self, keeping: Keeping, certificates: Certificates, plans: Plans) -> None:
        self._site, self._vault = keeping.site, keeping.vault
        self._history, self._books, self._trust = keeping.history, keeping.books, keeping.trust
        self._orders, self._forget = keeping.orders, keeping.forget
        self._certificates, self._plans = certificates, plans

    def recover(self) -> None:
        """Carries out what was entered and not done. Raises LedgerError, OSError."""
        lives = {xid: life for xid, life in self._history.lives.items() if life.destroyed}
        if not lives:
            return
        left = {index for places in self._history.places.values() for index in places}
        left |= {index for places in self._history.case_places.values() for index in places}
        for xid, life in lives.items():
            if life.destroyed & left:
                self._carry_out(xid, life)
        for order in list(self._orders()):
            if order.xid in lives:
                self._forget(order)

    # --- holds -------------------------------------------------------------------------------------------------------

    def hold(self, text: str, now_ns: int) -> str:
        """A duty to preserve a case's records begins or ends; returns the case. Raises AuthorizationError."""
        wanted, key = retention.examine_hold(text, self._trust(), now_ns)
        if not any(order.case == wanted.case for order in self._orders()):
            raise AuthorizationError(Check.ORDER_UNKNOWN)
        if wanted.hold is (wanted.case in self._history.holds):
            raise AuthorizationError(Check.REPLAYED, "it stands so already")
        if jws.sha256_hex(text) in self._history.hold_texts:
            raise AuthorizationError(Check.REPLAYED)  # an earlier end must not end what has begun since
        record = entry.Held(
            time_us=now_ns // 1000, case=wanted.case, hold=wanted.hold, hold_sha256=jws.sha256_hex(text),
            person=key.person,
        )  # fmt: skip
        self._books.note([record], stop=False)
        return wanted.case

    # --- sealing -----------------------------------------------------------------------------------------------------

    def seal(self, now_ns: int) -> None:
        """Every order that has ended and is certified; one under which nothing was enabled, some days after its end."""
        now_s = now_ns // NS
        ready = [order for order in self._orders() if self._ready(order, now_s)]
        if not ready:
            return
        records = []
        for order in ready:
            after_s = retention.destroy_after_s(now_s, order.not_after_s, self._plans.retention_days)
            records.append(
                entry.Sealed(
                    time_us=now_ns // 1000, case=order.case, carrier_sha256=order.carrier_sha256,
                    destroy_after_s=after_s,
                )
            )  # fmt: skip
        self._books.note(records, stop=False)
        with self._books.saving(stop=True):
            for order in ready:
                order.state = LIFE[order.state, Event.SEAL]
                self._books.store.set_state(order.carrier_sha256, order.state)

    def _ready(self, order: Stored, now_s: int) -> bool:
        if order.state not in ENDED or order.state in (State.SEALED, State.DESTROYED):
            return False
        life = self._history.lives.get(order.xid)
        if life is None or not life.ended_s:
            return False
        if life.armed >= 0:
            return self._certificates.certified(order.xid)
        return now_s >= life.ended_s + UNENABLED_S

    # --- destroying --------------------------------------------------------------------------------------------------

    def due(self, now_ns: int) -> list[Stored]:
        """Sealed orders whose time has passed and which nothing holds."""
        return [order for order in self._orders() if not self._kept(order, now_ns)]

    def keep(self, now_ns: int) -> None:
        """Destroys what is due, where the site does that by itself. Raises LedgerError, OSError."""
        if self._site.retention.automatic:
            for order in self.due(now_ns)[:AT_ONCE]:
                self.destroy(order, (), now_ns)

    def order(self, texts: Sequence[str], now_ns: int) -> str:
        """Two persons have one order destroyed; returns the case. Raises AuthorizationError, LedgerError."""
        wanted, approvers = retention.examine_destruction(texts, self._trust(), now_ns)
        found = [each for each in self._orders() if (each.xid, each.case) == (wanted.xid, wanted.case)]
        if not found:
            raise AuthorizationError(Check.ORDER_UNKNOWN)
        if reason := self._kept(found[0], now_ns):
            raise AuthorizationError(Check.KEPT, reason)
        self.destroy(found[0], approvers, now_ns)
        return wanted.case

    def _kept(self, order: Stored, now_ns: int) -> str:
        """Why an order's records may not be destroyed; "" when they may."""
        life = self._history.lives.get(order.xid)
        if order.state is not State.SEALED or life is None or life.sealed is None:
            return "it is not sealed: it has not ended, or its certification is not signed"
        if order.case in self._history.holds:
            return "a hold stands"
        if now_ns // NS < life.sealed.destroy_after_s:
            return f"not before {life.sealed.destroy_after_s}"
        return ""

    def destroy(self, order: Stored, approvers: tuple[str, ...], now_ns: int) -> None:
        """Once it is in the ledger it is carried out, now, when it is tried again, or at the next start. The caller has
        asked `_kept`.

        Raises LedgerError, ConfigurationError.
        """
        life = self._history.lives[order.xid]
        if not life.destroyed:
            self._enter(order, life, approvers, now_ns)
        self._carry_out(order.xid, life)
        self._forget(order)
        logger.info("records_destroyed", xid=order.xid, entries=len(life.destroyed))

    def _enter(self, order: Stored, life: Life, approvers: tuple[str, ...], now_ns: int) -> None:
        """The certificate, and the entry that names it. Raises LedgerError, ConfigurationError."""
        assert life.sealed is not None
        latest = self._history.plan()
        indexes = tuple(sorted({*self._history.places.get(order.xid, ()), *self._of_case(order)}))
        document = DestructionCertificate(
            type="certificate-of-destruction", site=self._books.ledger.verifier.name, xid=order.xid,
            sealed_s=life.sealed.time_us // US, destroy_after_s=life.sealed.destroy_after_s,
            destroyed_us=now_ns // 1000, retention_days=self._plans.retention_days,
            plan_version=latest.version if latest is not None else 0,
            plan_sha256=latest.plan_sha256 if latest is not None else "", entries=indexes,
            certifications=tuple(self._certificates.of_order(order.xid)), approvers=approvers, lab=self._site.lab,
        )  # fmt: skip
        text = retention.encode(document)
        try:
            durable.make_folder(self._site.path / FOLDER)
            durable.replace(self._site.path / FOLDER / f"{order.xid}.json", text.encode())
        except OSError as error:
            raise ConfigurationError(f"{FOLDER}: {error.strerror}") from error
        self._books.note(
            [
                entry.Destroyed(
                    time_us=now_ns // 1000, xid=order.xid, certificate_sha256=retention.digest(text),
                    entries=indexes[at : at + INDEXES_AT_ONCE],
                )
                for at in range(0, len(indexes), INDEXES_AT_ONCE)
            ],
            stop=False,
        )  # fmt: skip

    def _of_case(self, order: Stored) -> list[int]:
        """Entries that name the case alone go with the last of its orders."""
        others = any(each.case == order.case and each.xid != order.xid for each in self._orders())
        return [] if others else self._history.case_places.get(order.case, [])

    def _carry_out(self, xid: str, life: Life) -> None:
        """Done again it changes nothing."""
        try:
            self._vault.destroy_order_key(xid)
        except OSError as error:
            raise ConfigurationError(f"order keys: {error.strerror}") from error
        self._certificates.forget(xid)
        with self._books.saving(stop=False):
            self._books.store.remove(xid)
        self._books.ledger.destroy(sorted(life.destroyed), life.certificate_sha256)
        self._history.places.pop(xid, None)
        for case, places in list(self._history.case_places.items()):
            self._history.case_places[case] = [index for index in places if index not in life.destroyed]


def read(site: Site, xid: str) -> str:
    """The text of a certificate of destruction. Raises ConfigurationError."""
    if not _XID.fullmatch(xid):
        raise ConfigurationError("an XID is 32 hexadecimal digits")
    try:
        return (site.path / FOLDER / f"{xid}.json").read_text()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"{FOLDER}/{xid}.json: {error}") from error
