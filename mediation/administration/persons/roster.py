"""The roster on the administrator's side: drafts of changes, their approvals, and the file that holds the chain.

Answers for entering a change in the ledger before it stands in the file, and for completing it after a crash between
the two. At every start the file must hold exactly the changes that the ledger has: one that was put back, or that grew
without an entry, is refused. Judging is core/authority/roster.py's; every function does it again for itself.
"""

from __future__ import annotations

import base64
import secrets
from collections.abc import Iterable, Sequence
from functools import lru_cache
from pathlib import Path

import msgspec

from mediation.administration.ledger.books import Books
from mediation.administration.ledger.ledger import Entered
from mediation.administration.order.stored import PENDING, Stored
from mediation.core.authority import call_back, jws, roster, standing, withdrawal
from mediation.core.authority.key import Key
from mediation.core.authority.roster import Change, Judged, Roster
from mediation.core.authority.trust import Trust
from mediation.core.case import Act, Role, Standing
from mediation.core.check import Check
from mediation.core.errors import AuthorizationError, ConfigurationError
from mediation.core.ledger import entry
from mediation.core.units import NS, US
from mediation.runtime import durable, log
from mediation.runtime.config import Site
from mediation.runtime.keys import FOUNDING, ROSTER
from mediation.signing.signer import Signer

PENDING_LINE = Path("administrator") / "roster.next"  # a line that is being entered
LIFE_S = 7 * 86_400  # from the draft to the last approval's submission (ours): two persons find the time in a week

logger = log.get("administrator")


class Member(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A person as he introduces himself, with a key of his: what `mediation person key` writes for the others."""

    name: str
    function: str
    key: Key

    @property
    def person(self) -> str:
        return self.key.person


def draft(held: Roster, actions: Iterable[roster.AnyAction], now_s: int) -> bytes:
    """The octets that the approvers sign, for the change that follows `held`."""
    change = Change(
        number=len(held.lines), previous=held.head, site=held.site, issued_s=now_s, actions=tuple(actions),
        nonce=secrets.token_hex(16), lab=held.lab,
    )  # fmt: skip
    return msgspec.json.encode(change)


def read_draft(octets: bytes) -> Change:
    """Raises ConfigurationError."""
    try:
        return msgspec.json.decode(octets, type=Change)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        raise ConfigurationError("not a draft of a change of the roster") from None


def approve(octets: bytes, person: Signer) -> str:
    """One person's approval of a draft, over its octets as they stand. Raises ConfigurationError."""
    change = read_draft(octets)
    if person.lab is not None and person.lab is not change.lab:
        raise ConfigurationError(f"key {person.kid}: a lab key signs only for a lab site, another only for a real one")
    return jws.sign_octets(octets, roster.TYP, person.kid, person.key())


def appoint(
    member: Member, role: Role, from_s: int, to_s: int, document_sha256: str, *, senior: bool
) -> roster.Appoint:
    return roster.Appoint(
        person=member.person, name=member.name, role=role, function=member.function, from_s=from_s, to_s=to_s,
        document_sha256=document_sha256, senior=senior,
    )  # fmt: skip


def enroll(key: Key) -> roster.Enroll:
    return roster.Enroll(person=key.person, key=key)


def check_age(change: Change, now_s: int) -> None:
    """A change that lay about too long, or comes from the future, is drafted anew. Raises AuthorizationError."""
    if not now_s - LIFE_S <= change.issued_s <= now_s + roster.SKEW_S:
        raise AuthorizationError(Check.ROSTER_DATES, "drafted more than seven days ago, or ahead of time")


def record(judged: Judged, text: str, now_ns: int) -> entry.RosterChanged:
    """The ledger's entry of a change."""
    return entry.RosterChanged(
        time_us=now_ns // 1000,
        number=judged.change.number,
        change_sha256=roster.digest(text),
        approvers=judged.approvers,
    )


def append(folder: Path, text: str) -> None:
    """The line stands in keys/roster.jsonl; with the founding, its pin. Raises OSError."""
    path = folder / ROSTER
    new = not path.exists() or not path.stat().st_size
    if new:
        durable.replace(folder / FOUNDING, f"{roster.digest(text)}\n".encode())
        (folder / FOUNDING).chmod(0o644)
    durable.append(path, f"{text}\n".encode())
    if new:
        path.chmod(0o644)


def check_entered(held: Roster, entered: dict[int, str], founding: str) -> None:
    """The roster is the one whose changes the ledger has. `entered`: line's SHA-256 by number; `founding`: of a lab
    site, as its first entry has it. Raises ConfigurationError naming the first change that differs."""
    expected = {0: founding} | entered if founding else entered
    found = {number: roster.digest(text) for number, text in enumerate(held.lines)}
    for number in sorted(expected.keys() | found.keys()):
        if expected.get(number) != found.get(number):
            raise ConfigurationError(f"keys/{ROSTER}: change {number} is not the one that the ledger has")


class Changed(msgspec.Struct, frozen=True, kw_only=True):
    """A change that is in force: the trust after it, who approved it, the SHA-256 of its line, and its entry."""

    trust: Trust
    approvers: tuple[str, ...]
    line_sha256: str
    entered: Entered


def change(trust: Trust, approvals: Sequence[str], site: Site, books: Books, now_ns: int) -> Changed:
    """Judges, writes aside, enters, then appends to the site's roster. What is entered is in force: a file that cannot
    be written has the line later (`complete`). Raises AuthorizationError, LedgerError, or OSError before the entry."""
    text = roster.line(approvals)
    held = trust.roster.extended([text])
    judged = held.judged[-1]
    check_age(judged.change, now_ns // NS)
    if not judged.counts_at(now_ns // NS):  # nothing of it would be armed anywhere
        raise AuthorizationError(Check.ROSTER_DATES, "an approver has left office since, or his key has lapsed")
    recover(site, _digests(trust.roster))  # the line before this one, if it is still owed
    durable.replace(site.path / PENDING_LINE, text.encode())
    (entered,) = books.note([record(judged, text, now_ns)], stop=False)
    complete(site, held)
    return Changed(
        trust=trust.with_roster(held), approvers=judged.approvers, line_sha256=roster.digest(text), entered=entered
    )


def complete(site: Site, held: Roster) -> None:
    """The file has the last line of `held`, which is in force, as soon as the disk takes it. Never raises."""
    if not (site.path / PENDING_LINE).exists():
        return
    try:
        recover(site, _digests(held))
    except OSError as error:
        logger.error("alarm_roster_not_written", reason=error.strerror)  # noqa: TRY400


def _digests(held: Roster) -> dict[int, str]:
    """Of the newest lines: a file misses no more than one."""
    first = max(0, len(held.lines) - 2)
    return {number: roster.digest(text) for number, text in enumerate(held.lines[first:], first)}


def recover(site: Site, entered: dict[int, str]) -> None:
    """After a crash: a line that was entered is appended, one that was not is forgotten, for nobody was told of it.

    `entered`: SHA-256 of the lines that the ledger has, by number. Raises OSError.
    """
    path = site.path / PENDING_LINE
    if not path.exists():
        return
    text = path.read_text(errors="replace")  # what is no text is no line that was entered
    folder = site.keys_dir
    file = folder / ROSTER
    octets = file.read_bytes() if file.exists() else b""
    whole = octets[: octets.rfind(b"\n") + 1]  # what the crash tore is written again
    number = whole.count(b"\n")
    if entered.get(number) == roster.digest(text):
        if whole != octets:
            durable.replace(file, whole)
            file.chmod(0o644)
        append(folder, text)
    durable.remove(path)


def stands(order: Stored, trust: Trust) -> bool:
    """Whether an order that was found good when it came still is, by its signers' dates and its tokens alone."""
    try:
        check_stands(order, trust)
    except AuthorizationError:
        return False
    return True


def check_stands(order: Stored, trust: Trust) -> None:
    """The same. Raises AuthorizationError by the name of what does not stand any more.

    One that was judged by this very trust stands by it still: a change of persons, keys or tokens makes another.
    """
    if order.stands_by is not trust:
        standing.check(standing_of(order, trust), trust)
        order.stands_by = trust


class _Kid(msgspec.Struct):
    kid: str


class _Signed(msgspec.Struct):
    issued_s: int
    act: str = ""
    agency: str = ""


def standing_of(order: Stored, trust: Trust) -> Standing:
    """By whose signatures an order stands, from its texts, which were verified when they came: 40 µs each.

    Raises AuthorizationError `agency-contact` when its agency had no contact when it began, by the roster of today.
    """
    signers: list[tuple[Role, str, int, int]] = []
    tokens = [order.legal_sha256, order.carrier_sha256]
    extensions = iter(order.extensions)
    for text, entered in order.commands:
        if entered.index == PENDING:
            continue
        at_s = entry.decode(entered.record).time_us // US
        if not signers:
            signers = [_signer(Role.LEGAL, order.legal, at_s), _signer(Role.CARRIER, order.carrier, at_s)]
            if order.call_back is not None:
                kid = jws.split(order.call_back[0]).header.kid
                signers.append(_signer(call_back.role_of(kid, trust), order.call_back[0], at_s))
        act = _payload(text)
        signers.append((Role.OFFICER, _kid(text.partition(".")[0]), act.issued_s, at_s))
        if act.act == Act.EXTEND:
            legal, carrier, _ = next(extensions)
            signers += [_signer(Role.LEGAL, legal, at_s), _signer(Role.CARRIER, carrier, at_s)]
            tokens += [jws.sha256_hex(legal), jws.sha256_hex(carrier)]
    if signers:
        agency = _payload(order.legal).agency
        if (contact := trust.contact(agency, signers[0][3])) is None:
            raise AuthorizationError(Check.AGENCY_CONTACT)
        tokens.append(withdrawal.marker(agency, contact))
    return Standing(tokens=tuple(tokens), signers=tuple(signers))


def _signer(role: Role, text: str, at_s: int) -> tuple[Role, str, int, int]:
    return role, _kid(text.partition(".")[0]), _payload(text).issued_s, at_s


@lru_cache(jws.HEADERS_KEPT)
def _kid(header: str) -> str:
    """Thousands of tokens have the few headers of the few who sign."""
    return msgspec.json.decode(base64.urlsafe_b64decode(f"{header}=="), type=_Kid).kid


def _payload(text: str) -> _Signed:
    return msgspec.json.decode(base64.urlsafe_b64decode(f"{text.split('.', 2)[1]}=="), type=_Signed)


def fallen(order: Stored, changed: Changed, now_ns: int) -> entry.Revoked:
    """The entry of an order that the change has ended: its carrier token counts as withdrawn by the approvers."""
    return entry.Revoked(
        time_us=now_ns // 1000, case=order.case, carrier_sha256=order.carrier_sha256,
        token_sha256=order.carrier_sha256, revocation_sha256=changed.line_sha256, person=changed.approvers[0],
    )  # fmt: skip
