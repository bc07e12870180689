"""The certifications of a site: drafted when a tap is armed, kept sealed, signed by the person who oversees.

Answers for one certification for each interception (47 CFR 1.20004(a)) without anybody asking for it, an amendment at
each extension (a)(4), alarms when one is not signed after 24 and 72 hours (a)(3), and storing exact octets and
signature under the order's own key, to be destroyed with it. It holds no authority, and no interception waits for it.
`core.certificate` says who may sign and what is complete. Crash: a draft is stored first and entered after; the next
start enters what was stored and drafts what is missing, to the same octets. Blocking. The file is not trusted; decoys
stand in it, as in the store (decoys.py).
"""

from __future__ import annotations

import itertools
import os
from collections.abc import Collection, Iterable, Sequence
from pathlib import Path

import msgspec

from mediation.administration.records.certificate_file import CertificateFile, Row
from mediation.administration.records.history import Drafted
from mediation.administration.records.keeping import Keeping
from mediation.core.authority import jws
from mediation.core.case import LegalToken
from mediation.core.check import Check
from mediation.core.errors import AuthorizationError, ConfigurationError, LedgerError
from mediation.core.ledger import entry
from mediation.core.records import certificate, opening
from mediation.core.records.alarm import Alarm
from mediation.core.records.certificate import DUE_S, OVERDUE_S, UNAUTHORIZED, Certificate, Paper, Responsible
from mediation.core.units import NS, US
from mediation.runtime import log

FILE = Path("administrator") / "certificates.sqlite"
STAMPED_AT_ONCE = 16
AT_ONCE = 256  # drafts in one turn, 0.4 ms each: a stop does not wait behind thousands of them (ours)
PREFIX = 16  # digits of a document's SHA-256 in an alarm

logger = log.get("administrator")


class Kept(msgspec.Struct, frozen=True, kw_only=True):
    """A certification opened: the exact text, the signature ("" while there is none) and its entries."""

    sha256: str
    text: str
    signature: str
    drafted: Drafted
    replaced: bool


class Certificates:
    """Of one site."""

    def __init__(self, keeping: Keeping) -> None:
        """Raises ConfigurationError."""
        self._vault, self._history, self._books = keeping.vault, keeping.history, keeping.books
        self._site, self._order, self._trust = keeping.origin, keeping.order, keeping.trust
        self._rows: dict[str, Row] = {}
        self._of: dict[str, list[str]] = {}
        self._file = CertificateFile(keeping.site.path / FILE, self._vault)
        for row in self._file.rows():
            self._keep(row)

    def close(self) -> None:
        self._file.close()

    def cover(self) -> None:
        """As the store's."""
        self._file.cover()

    # --- drafting ----------------------------------------------------------------------------------------------------

    def recover(self, now_ns: int) -> None:
        """After a start: enters what was stored and not entered, forgets such signatures. What was never drafted is
        left to `draft`, in turns: no tap waits for it."""
        forgotten: list[Row] = []
        for row in list(self._rows.values()):
            drafted = self._history.drafted.get(row.sha256)
            if row.signed and (drafted is None or drafted.signed is None):
                forgotten.append(row)
                self._rows[row.sha256] = msgspec.structs.replace(row, signed=False)
        waiting = [row for row in self._rows.values() if row.sha256 not in self._history.drafted]
        self._enter([self._opened(row) for row in waiting], now_ns)
        lives = self._history.lives.items()
        self._history.armed = [xid for xid, life in lives if life.armed >= 0 and not life.destroyed]
        self._history.extended.clear()
        with self._file.transaction():  # last: it may fail for want of room
            for row in forgotten:
                self._file.sign(row, "")

    def draft(self, now_ns: int) -> None:
        """Drafts what the ledger's newest entries ask for: the first arming of an order, and each extension. What the
        disk does not take is drafted the next time; what does not open keeps no other from its draft."""
        armed, extended = self._history.armed[:AT_ONCE], list(self._history.extended)
        try:
            self._draft(armed, extended, now_ns)
        except (AuthorizationError, ConfigurationError):
            for xid in dict.fromkeys((*armed, *extended)):
                try:
                    self._draft([xid] * (xid in armed), [xid] * (xid in extended), now_ns)
                except (AuthorizationError, ConfigurationError) as error:
                    self._books.count("certifications_not_drafted")
                    logger.error("alarm_certification_not_drafted", xid=xid, reason=str(error))  # noqa: TRY400
        del self._history.armed[: len(armed)], self._history.extended[: len(extended)]

    def _draft(self, armed: Sequence[str], extended: Sequence[str], now_ns: int) -> None:
        made: list[tuple[str, Certificate, str]] = []
        for xid in armed:
            if not self._of.get(xid) and (first := self._first(xid)) is not None:
                made.append((xid, first, ""))
        self._store(made, now_ns)
        both = [xid for xid in dict.fromkeys((*extended, *armed)) if self._history.lives[xid].papers]
        made = [(xid, each, "") for xid in both for each in self._amendments(xid)]
        self._store(made, now_ns)

    def draft_unauthorized(
        self, circuits: tuple[str, ...], *, incident: str, found_us: int, evidence_sha256: str, now_ns: int
    ) -> str:
        """The certification of what was found without an order (47 CFR 1.20004(a)), for the senior officer to sign.

        `circuits` says where it was, in field (i): a number, or the interface, socket or feed. Returns the SHA-256 of
        the document; drafted before for the same incident, that one's. Raises LedgerError when it cannot be entered.
        """
        owner = f"incident {incident}"
        if known := self._of.get(owner):
            return known[0]
        senior = self._trust().senior_officer(now_ns // NS)
        overseer = Responsible(person="", name="", function="")
        if senior is not None:
            overseer = Responsible(person=senior.person, name=senior.name, function=senior.function)
        self._vault.order_keys.make(owner)
        self._vault.order_keys.flush()
        document = certificate.unauthorized(
            circuits, site=self._site, incident=incident, found_us=found_us, evidence_sha256=evidence_sha256,
            overseer=overseer, nonce=os.urandom(16).hex(), lab=self._trust().lab,
        )  # fmt: skip
        return self._store([(owner, document, "")], now_ns)[0]

    def take_over(self, case: str, person: str, now_ns: int) -> None:
        """The senior officer becomes the overseeing person of what the first has left unsigned, by new drafts.

        Raises AuthorizationError `certificate` for anybody else.
        """
        trust = self._trust()
        senior = trust.senior_officer(now_ns // NS)
        if senior is None or senior.person != person:
            raise AuthorizationError(Check.CERTIFICATE, "only the senior officer takes a certification over")
        overseer = Responsible(person=senior.person, name=senior.name, function=senior.function)
        made = []
        for row in self.unsigned():
            text, _ = self._file.text(row)
            document = certificate.decode(text)
            if document.case == case and document.responsible != overseer:
                nonce = certificate.digest(f"{document.nonce} {overseer.person}")[:32]
                renewed = msgspec.structs.replace(document, responsible=overseer, nonce=nonce, previous=row.sha256)
                made.append((row.owner, renewed, row.sha256))
        self._store(made, now_ns)

    def _first(self, xid: str) -> Certificate | None:
        life, order = self._history.lives[xid], self._order(xid)
        if order is None:
            return None  # its key is destroyed, or the store was replaced by an older one
        legal = jws.decode(jws.split(order.legal).payload, LegalToken)
        return certificate.draft(
            legal, order.legal, site=self._site, xid=xid, carrier_sha256=order.carrier_sha256, filed=life.filed,
            activated=life.activated, armed=life.armed, enabled_us=life.armed_us,
            overseer=self._overseer(life.officer, life.armed_us // US),
        )  # fmt: skip

    def _overseer(self, person: str, at_s: int) -> Responsible:
        """With empty words for somebody whom the roster does not know: such a draft cannot be signed (`certificate`)
        until the senior officer takes it over."""
        try:
            return certificate.responsible(person, self._trust().roster.appointments, at_s)
        except AuthorizationError:
            return Responsible(person=person, name="", function="")

    def _amendments(self, xid: str) -> Iterable[Certificate]:
        """One for each extension that has none yet; each names the one before and all extensions up to its own."""
        rows = [self._rows[sha256] for sha256 in self._of.get(xid, [])]
        order = self._order(xid)
        if not rows or order is None:
            return  # not enabled yet: it follows the certification
        documents = [(certificate.decode(self._file.text(row)[0]), row.sha256) for row in rows]
        first, previous = max(reversed(documents), key=lambda pair: len(pair[0].papers))  # the last of the longest
        papers: tuple[Paper, ...] = tuple(paper for paper, _ in self._history.lives[xid].papers)
        for count in range(len(first.papers), len(papers) + 1):
            document = certificate.amend(first, order.legal, papers[:count], previous)
            previous = certificate.digest(certificate.encode(document))
            yield document

    # --- signing -----------------------------------------------------------------------------------------------------

    def sign(self, signature: str, now_ns: int) -> Certificate:
        """The overseeing person's signature over a draft's exact octets. Raises AuthorizationError or LedgerError."""
        row = self._rows.get(certificate.digest(jws.split(signature).payload.decode(errors="replace")))
        if row is None:
            raise AuthorizationError(Check.CERTIFICATE, "not the text that was drafted")
        text, _ = self._file.text(row)
        fact = certificate.examine(signature, text, self._trust(), now_ns)
        if row.signed or self._replaced(row.sha256):
            raise AuthorizationError(Check.CERTIFICATE, "signed already, or replaced by another draft")
        document = certificate.decode(text)
        with self._file.transaction():
            self._file.sign(row, signature)
        record = entry.CertificateSigned(
            time_us=now_ns // 1000, case=document.case, certificate_sha256=row.sha256,
            signature_sha256=fact.signature_sha256, person=fact.person, xid=document.xid,
        )  # fmt: skip
        try:
            self._books.note([record], stop=False)
        except LedgerError:
            with self._file.transaction():
                self._file.sign(row, "")
            raise
        self._rows[row.sha256] = msgspec.structs.replace(row, signed=True)
        return document

    # --- what is asked -----------------------------------------------------------------------------------------------

    def of_case(self, case: str) -> list[Kept]:
        """All certifications of a case, in the order in which they were drafted; also the replaced ones."""
        rows = [
            self._rows[sha256]
            for sha256, drafted in self._history.drafted.items()
            if drafted.record.case == case and sha256 in self._rows
        ]
        return [self._kept(row) for row in rows]

    def of_order(self, xid: str) -> list[str]:
        """SHA-256 of each certification of an order."""
        return list(self._of.get(xid, ()))

    def certified(self, xid: str) -> bool:
        """Whether an order has its certification, and everything of it that needs a signature has one."""
        rows = [self._rows[sha256] for sha256 in self._of.get(xid, [])]
        return bool(rows) and all(row.signed or self._replaced(row.sha256) for row in rows)

    def unsigned(self) -> list[Row]:
        return [row for row in self._rows.values() if not row.signed and not self._replaced(row.sha256)]

    def unstamped(self, authorities: Collection[str]) -> list[str]:
        """Signatures that one of the authorities has not stamped, by the ledger; STAMPED_AT_ONCE at most. One that was
        changed on the disk is none: it keeps no other from its stamp."""
        found = []
        for row in self._rows.values():
            drafted = self._history.drafted.get(row.sha256)
            signed = drafted.signed if drafted is not None else None
            if signed is not None and not self._history.stamped(signed.signature_sha256).issuperset(authorities):
                try:
                    found.append(self._file.text(row)[1])
                except ConfigurationError as error:
                    self._books.count("certifications_not_stamped")
                    logger.error("alarm_certification_changed", sha256=row.sha256, reason=str(error))  # noqa: TRY400
            if len(found) >= STAMPED_AT_ONCE:
                break
        return found

    def lag_s(self, row: Row, now_ns: int) -> int:
        """How long ago what it certifies began: the enabling, or an extension."""
        return max(now_ns // NS - self._since_us(row) // US, 0)

    def alarms(self, now_ns: int) -> list[entry.Alarm]:
        """Those that are due and were not raised yet, each to be entered."""
        found = []
        for row in self.unsigned():
            lag_s = self.lag_s(row, now_ns)
            name = Alarm.CERTIFICATE_OVERDUE if lag_s >= OVERDUE_S else Alarm.CERTIFICATE_DUE
            if lag_s < DUE_S or not self._history.once(name, row.sha256[:PREFIX]):
                continue
            drafted = self._history.drafted.get(row.sha256)
            case = drafted.record.case if drafted is not None else ""
            logger.error("alarm", alarm=name.value, case=case)
            found.append(entry.Alarm(time_us=now_ns // 1000, alarm=name.value, case=case, detail=row.sha256[:PREFIX]))
        return found

    def report(self, now_ns: int) -> dict[str, int]:
        """For `status`."""
        lags = [self.lag_s(row, now_ns) for row in self.unsigned()]
        return {
            "certifications": len(self._rows), "certifications_unsigned": len(lags),
            "certifications_overdue": sum(lag >= OVERDUE_S for lag in lags),
            "certification_lag_seconds": max(lags, default=0),
        }  # fmt: skip

    def forget(self, xid: str) -> None:
        """The order's key is destroyed; so is what stands here. Done again it changes nothing."""
        self._file.remove(xid)
        for sha256 in self._of.pop(xid, []):
            self._rows.pop(sha256, None)
            self._history.drafted.pop(sha256, None)

    # --- inside ------------------------------------------------------------------------------------------------------

    def _keep(self, row: Row) -> None:
        self._rows[row.sha256] = row
        self._of.setdefault(row.owner, []).append(row.sha256)

    def _replaced(self, sha256: str) -> bool:
        owner = self._rows[sha256].owner
        return any(self._rows[other].replaces == sha256 for other in self._of[owner])

    def _since_us(self, row: Row) -> int:
        if row.replaces:
            return self._since_us(self._rows[row.replaces])
        life = self._history.lives.get(row.owner)
        if row.number == 0 and life is not None and life.armed >= 0:
            return life.armed_us
        drafted = self._history.drafted.get(row.sha256)
        return drafted.record.time_us if drafted is not None else 0

    def _store(self, made: Sequence[tuple[str, Certificate, str]], now_ns: int) -> list[str]:
        """Durable here, then in the ledger. Each with its owner and the draft that it replaces."""
        fresh: list[tuple[Certificate, Row]] = []
        hashes = []
        try:
            with self._file.transaction():
                for owner, document, replaces in made:
                    text = certificate.encode(document)
                    sha256 = certificate.digest(text)
                    hashes.append(sha256)
                    if sha256 in self._rows:
                        continue
                    used = {self._rows[each].number for each in self._of.get(owner, ())}
                    number = next(each for each in itertools.count() if each not in used)  # of one that was changed
                    row = Row(sha256=sha256, owner=owner, number=number, replaces=replaces, signed=False)
                    self._file.add(row, text)
                    self._keep(row)
                    fresh.append((document, row))
        except BaseException:  # what is not on the disk is not there
            for _, row in fresh:
                del self._rows[row.sha256]
                self._of[row.owner].remove(row.sha256)
            raise
        self._enter([(document, row.sha256) for document, row in fresh], now_ns)
        return hashes

    def _enter(self, documents: Sequence[tuple[Certificate, str]], now_ns: int) -> None:
        """A ledger that cannot be written now has them later: they are owed, as a stop's entry is."""
        records = [
            entry.CertificateDrafted(
                time_us=now_ns // 1000, case=document.case, certificate_sha256=sha256,
                unauthorized=document.kind == UNAUTHORIZED, xid=document.xid, fields=opening.commitments(document),
            )
            for document, sha256 in documents
            if sha256 not in self._history.drafted
        ]  # fmt: skip
        if records:
            self._books.note(records, stop=True)

    def _opened(self, row: Row) -> tuple[Certificate, str]:
        return certificate.decode(self._file.text(row)[0]), row.sha256

    def _kept(self, row: Row) -> Kept:
        text, signature = self._file.text(row)
        return Kept(
            sha256=row.sha256, text=text, signature=signature, drafted=self._history.drafted[row.sha256],
            replaced=self._replaced(row.sha256),
        )  # fmt: skip
