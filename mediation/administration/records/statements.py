"""The monthly statements of a site: drafted when a month is over, kept sealed, signed by the senior officer.

Answers for one statement for each calendar month since the ledger began (47 CFR 1.20004(c)) without anybody asking for
it, drawn from the ledger and the certifications alone; for the alarms while one is not signed; and for the exact octets
and their signature below DIR/administrator/statements, sealed. A statement that nobody has signed is drafted again when
a late certification was signed meanwhile, or another senior officer has come into office. No interception waits for any
of it. Crash: a draft and a signature are stored first and entered after; the next start enters the one and forgets the
other. Blocking. The files are not trusted: what the ledger does not name is not shown.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import msgspec

from mediation.administration.records.certificates import Certificates
from mediation.administration.records.keeping import Keeping
from mediation.administration.records.tally import Month
from mediation.core.authority import jws
from mediation.core.check import Check
from mediation.core.errors import AuthorizationError, ConfigurationError, LedgerError
from mediation.core.interface.control import StatementView
from mediation.core.ledger import entry
from mediation.core.ledger.sealing import SealError
from mediation.core.records import statement
from mediation.core.records.alarm import Alarm
from mediation.core.records.certificate import Responsible
from mediation.core.records.statement import Counts, Difference, Statement
from mediation.core.units import NS
from mediation.runtime import durable

FOLDER = Path("administrator") / "statements"
PURPOSE = "records"
EXPORTED = "statements"
AT_ONCE = 12  # months drafted in one turn: a stop does not wait behind the years of an old ledger (ours)
MAX_MONTHS = 1_200
AGAIN_S = 3_600  # how often an unsigned draft is compared with the records as they stand by then (ours)


class Kept(msgspec.Struct, frozen=True, kw_only=True):
    """What is stored of a month."""

    text: str
    signature: str = ""


class Statements:
    """Of one site."""

    def __init__(self, keeping: Keeping, certificates: Certificates) -> None:
        self._site, self._vault, self._origin = keeping.site, keeping.vault, keeping.origin
        self._history, self._books, self._trust = keeping.history, keeping.books, keeping.trust
        self._keeping, self._certificates = keeping, certificates
        self._looked_s: dict[str, int] = {}  # when a draft was last compared with what it would say now

    # --- drafting ----------------------------------------------------------------------------------------------------

    def watch(self, now_ns: int) -> None:
        """Drafts what is over, and raises the alarms that are due. Raises LedgerError, ConfigurationError."""
        now_s = now_ns // NS
        due = [each for each in self._months(now_s) if each not in self._history.signed_statements]
        drafted = 0
        for month in due:
            if now_s >= statement.ends_s(month) + statement.DRAFTED_S and drafted < AT_ONCE:
                drafted += self._draft(month, now_ns)
        late = [(name, month) for month in due if (name := _late(month, now_s)) is not None]
        self._keeping.announce(late, now_ns)

    def _months(self, now_s: int) -> Iterator[str]:
        """Those that are over, since the ledger began."""
        month = self._history.tally.begins
        for _ in range(MAX_MONTHS):
            if not month or statement.ends_s(month) > now_s:
                return
            yield month
            month = statement.after(month)

    def _draft(self, month: str, now_ns: int) -> bool:
        """Whether a draft was made: it names the senior officer in office, and a head that witnesses have seen."""
        senior = self._trust().senior_officer(now_ns // NS)
        found, head = self._history.tally.of(month), self._books.ledger.witnessed
        known = self._history.drafted_statements.get(month)
        if senior is None or head.size <= found.last:
            return False  # the alarms say that it is missing
        overseer = Responsible(person=senior.person, name=senior.name, function=senior.function)
        if known is not None and now_ns // NS < self._looked_s.get(month, 0) + AGAIN_S:
            return False
        self._looked_s[month] = now_ns // NS
        kept = self._read(month)
        document = self._drawn(month, found, overseer, head.text)
        if kept is not None and known is None:  # stored, and then the machine stopped
            self._enter(statement.decode(kept.text), kept.text, now_ns)
            return True
        if kept is not None and known is not None and known.statement_sha256 == statement.digest(kept.text):
            before = statement.decode(kept.text)
            if document.counts.orders < before.counts.orders or document.counts.enabled < before.counts.enabled:
                # Records of the month were destroyed since: what was counted while they were there stands.
                document = msgspec.structs.replace(before, responsible=overseer, nonce=document.nonce)
            if document == msgspec.structs.replace(before, checkpoint=document.checkpoint, nonce=document.nonce):
                return False
        text = statement.encode(document)
        self._write(month, Kept(text=text))
        self._enter(document, text, now_ns)
        return True

    def _drawn(self, month: str, found: Month, overseer: Responsible, checkpoint: str) -> Statement:
        lives = self._history.lives
        enabled = {xid for xid in found.enabled if xid in lives and not lives[xid].destroyed}
        without = {xid for xid in enabled if not self._certificates.of_order(xid)}
        unsigned = {xid for xid in enabled - without if not self._certificates.certified(xid)}
        never = {xid for xid in found.certified if xid in lives and lives[xid].filed >= 0 > lives[xid].armed}
        differences = (
            ("interceptions without a certification", len(without)),
            ("interceptions whose certifications are not all signed", len(unsigned)),
            ("certifications of what was never enabled", len(never)),
            ("incidents of interception without a certification", len(found.found - found.unauthorized)),
            ("reconciliations in which something differed", found.compared.differing),
        )
        return Statement(
            type="statement", site=self._origin, month=month,
            counts=Counts(
                orders=found.counts["orders"], activated=found.counts["activated"], enabled=len(found.enabled),
                extended=found.counts["extended"], ended=found.counts["ended"],
                certified=len(found.enabled) - len(without),
                signed=len(found.enabled) - len(without) - len(unsigned), unauthorized=len(found.unauthorized),
                incidents=found.counts["incidents"],
            ),
            compared=found.compared,
            differences=tuple(Difference(what=what, count=count) for what, count in differences if count),
            first=found.first, last=found.last, checkpoint=checkpoint, responsible=overseer,
            attestation=statement.ATTESTATION, nonce=os.urandom(16).hex(), lab=self._trust().lab,
        )  # fmt: skip

    def _enter(self, document: Statement, text: str, now_ns: int) -> None:
        record = entry.StatementDrafted(
            time_us=now_ns // 1000, month=document.month, statement_sha256=statement.digest(text), first=document.first,
            last=document.last, differences=sum(each.count for each in document.differences),
        )  # fmt: skip
        self._books.note([record], stop=False)

    # --- signing -----------------------------------------------------------------------------------------------------

    def sign(self, signature: str, now_ns: int) -> None:
        """The senior officer's signature over a draft's exact octets. Raises AuthorizationError or LedgerError."""
        claimed = statement.decode(jws.split(signature).payload.decode(errors="replace"))
        kept = self._known(claimed.month) if statement.MONTH.fullmatch(claimed.month) else None
        if kept is None or claimed.month in self._history.signed_statements:
            raise AuthorizationError(Check.STATEMENT, "no draft of that month, or it is signed already")
        fact = statement.examine(signature, kept.text, self._trust(), now_ns)
        self._write(claimed.month, Kept(text=kept.text, signature=signature))
        record = entry.StatementSigned(
            time_us=now_ns // 1000, month=claimed.month, statement_sha256=fact.sha256,
            signature_sha256=fact.signature_sha256, person=fact.person,
        )  # fmt: skip
        try:
            self._books.note([record], stop=False)
        except LedgerError:
            self._write(claimed.month, kept)
            raise

    # --- what is asked -----------------------------------------------------------------------------------------------

    def views(self, month: str | None) -> list[StatementView]:
        """The statement of one month, or of all, oldest first. Raises ConfigurationError for one that was changed."""
        found = []
        for each, drafted in sorted(self._history.drafted_statements.items()):
            if month in (None, each) and (kept := self._known(each)) is not None:
                signed = self._history.signed_statements.get(each)
                shown = signed is not None and jws.sha256_hex(kept.signature) == signed.signature_sha256
                found.append(
                    StatementView(
                        month=each, sha256=drafted.statement_sha256, text=kept.text,
                        signature=kept.signature if shown else "",
                        signed_us=signed.time_us if signed is not None and shown else 0,
                        person=signed.person if signed is not None and shown else "",
                    )
                )  # fmt: skip
        return found

    def exported(self) -> list[tuple[str, bytes]]:
        """The signed ones, as an export has them."""
        views = [each for each in self.views(None) if each.signature]
        return [(f"{EXPORTED}/{each.month}.jws", each.signature.encode()) for each in views]

    def report(self, now_ns: int) -> dict[str, int]:
        """For `status`: months that are over and not stated by anybody's signature, and the oldest of them in days."""
        now_s = now_ns // NS
        open_ = [each for each in self._months(now_s) if each not in self._history.signed_statements]
        found = {"statements_unsigned": len(open_)}
        if open_:
            found["statement_lag_seconds"] = now_s - statement.ends_s(open_[0])
        return found

    # --- inside ------------------------------------------------------------------------------------------------------

    def _known(self, month: str) -> Kept | None:
        """What is stored of a month, if it is what the ledger names. Raises ConfigurationError."""
        drafted, kept = self._history.drafted_statements.get(month), self._read(month)
        if drafted is None or kept is None:
            return None
        if statement.digest(kept.text) != drafted.statement_sha256:
            raise ConfigurationError(f"{FOLDER.name}/{month}: not the statement that the ledger has")
        return kept

    def _read(self, month: str) -> Kept | None:
        """Raises ConfigurationError for what does not open."""
        try:
            sealed = (self._site.path / FOLDER / month).read_bytes()
            return msgspec.json.decode(self._vault.open(PURPOSE, sealed, _place(month)), type=Kept)
        except FileNotFoundError:
            return None
        except (OSError, SealError, msgspec.MsgspecError) as error:
            raise ConfigurationError(f"{FOLDER.name}/{month}: {type(error).__name__}") from None

    def _write(self, month: str, kept: Kept) -> None:
        """Durable when it returns. Raises ConfigurationError."""
        try:
            durable.make_folder(self._site.path / FOLDER)
            sealed = self._vault.seal(PURPOSE, msgspec.json.encode(kept), _place(month))
            durable.replace(self._site.path / FOLDER / month, sealed)
        except OSError as error:
            raise ConfigurationError(f"{FOLDER.name}: {error.strerror}") from error


def _late(month: str, now_s: int) -> Alarm | None:
    late_s = now_s - statement.ends_s(month)
    if late_s >= statement.MISSING_S:
        return Alarm.STATEMENT_OVERDUE
    return Alarm.STATEMENT_DUE if late_s >= statement.DUE_S else None


def _place(month: str) -> bytes:
    return f"statement {month}".encode()
