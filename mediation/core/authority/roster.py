"""Who holds which role, with which keys, since when: a chain of changes, each approved by persons whom it does not
concern.

47 CFR 1.20003(a) asks that an interception be activated only by an individual officer's act, and (b)(4) that a senior
officer or employee be appointed to see to it; the rest of the rule presumes that the carrier knows who was who on any
day. The roster is that knowledge. Each line holds one change as two compact JWS (typ "mediation-roster") over identical
octets, by two different persons who held Role.EXECUTIVE when it was issued and whom it does not concern; so a person
whose keys are lost gets new ones by two others, and nobody gives himself a role. Line 0, the founding, is signed by all
the executives that it appoints, three or more, so that two can always recover the third.

Each change names the SHA-256 of the line before it and the ledger of its site. The founding line's own SHA-256 is
pinned outside (keys/founding). An attacker who may write the file but holds no two executives' keys can only take lines
away; whoever holds a longer chain refuses the shorter one.

Sans-I/O. Times in seconds since 1970, UTC. It judges no order: `trust` and `authorization` do.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Sequence

import msgspec

from mediation.core.authority import jws
from mediation.core.authority.key import PERSON, Interval, Key, Public, unbroken_until, well_formed
from mediation.core.authority.particulars import AGENCY, MAX_YEAR_S, NONCE, SHA256, legible
from mediation.core.case import Role, Signed
from mediation.core.check import Check
from mediation.core.errors import AuthorizationError

TYP = "mediation-roster"
FOUNDERS = 3  # executives at the least: two are left when the third must be replaced
APPROVALS = 2
SKEW_S = 60  # how far the clock of the machine that drafted may run ahead (ours)
AHEAD_S = 300  # how far the administrator's clock may run ahead of a witness's or a function's (ours)
CONTACT_WAIT_S = 86_400  # a new agency contact counts a day after it was issued (SEC-30)
MAX_LINES = 4_096  # changes in a site's life: one a week for 78 years (ours)
MAX_LINE_OCTETS = 262_144
MAX_ACTIONS = 256  # in one change: a founding names everybody at once (ours)
MAX_KEYS = 16  # of one person, spares included (ours)
ANY_AGENCY = "*"  # a lab site's only contact

_NUMBER = re.compile(r"\+[1-9][0-9]{6,14}")  # ITU-T E.164 §6.1


class Action(Signed, frozen=True, kw_only=True, tag_field="what"):
    """Base of what a change does."""


class Appoint(Action, frozen=True, kw_only=True, tag="appoint"):
    """A person holds a role in [from_s, to_s). `document_sha256`: of the letter of appointment. `senior`: the senior
    officer or employee of 47 CFR 1.20003(b)(4)."""

    person: str
    name: str
    role: Role
    function: str  # job function (1.20003(b)(4))
    from_s: int
    to_s: int
    document_sha256: str
    senior: bool = False


class End(Action, frozen=True, kw_only=True, tag="end"):
    """All appointments of a person to a role end at `at_s`; it may lie in the past, and acts since then are void."""

    person: str
    role: Role
    at_s: int


class Enroll(Action, frozen=True, kw_only=True, tag="enroll"):
    """A key of a person, the first or a spare. It counts from its enrolment on, whatever it says."""

    person: str
    key: Key


class Revoke(Action, frozen=True, kw_only=True, tag="revoke"):
    """A key is void since `void_s`: what was entered in the ledger at or after that second does not stand."""

    person: str
    kid: str
    void_s: int


class Contact(Action, frozen=True, kw_only=True, tag="contact"):
    """An agency, and the directory's telephone number at which it is called back (SEC-30)."""

    agency: str
    number: str
    from_s: int


class EndContact(Action, frozen=True, kw_only=True, tag="end-contact"):
    agency: str
    at_s: int


AnyAction = Appoint | End | Enroll | Revoke | Contact | EndContact


class Change(Signed, frozen=True, kw_only=True, tag_field="type", tag="roster"):
    """What the approvers sign: one change of one site's roster."""

    number: int
    previous: str  # SHA-256 of the line before; empty in the founding
    site: str  # the ledger's origin
    issued_s: int
    actions: tuple[AnyAction, ...]
    nonce: str
    lab: bool = False

    def concerned(self) -> frozenset[str]:
        """The persons whom it concerns."""
        return frozenset(a.person for a in self.actions if not isinstance(a, Contact | EndContact))


class Line(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One line of keys/roster.jsonl."""

    approvals: tuple[str, ...]


class Judged(msgspec.Struct, frozen=True, kw_only=True):
    """A line that passed: what it changes, and who approved it, by name. `lapses_s`: when the first of them has left
    office, or his key has lapsed, by the changes before this one."""

    change: Change
    approvers: tuple[str, ...]
    lapses_s: int

    def counts_at(self, seen_s: int) -> bool:
        """Whether it may begin something if it was seen at `seen_s` first: who has left office dates nothing back."""
        return self.change.issued_s - AHEAD_S <= seen_s < self.lapses_s


class Appointment(msgspec.Struct, frozen=True, kw_only=True):
    """An appointment as it stands now, with what ended it early."""

    person: str
    name: str
    role: Role
    function: str
    from_s: int
    to_s: int
    document_sha256: str
    senior: bool

    def at(self, now_s: int) -> bool:
        return self.from_s <= now_s < self.to_s


def line(approvals: Iterable[str]) -> str:
    """The text of a line."""
    return msgspec.json.encode(Line(approvals=tuple(approvals))).decode()


def digest(text: str) -> str:
    """How the next change, the pin and the ledger name a line."""
    return hashlib.sha256(text.encode()).hexdigest()


class Roster:
    """A chain that was judged from its founding on. Immutable from outside: `extended` gives another one."""

    FOREVER_S = MAX_YEAR_S  # the end of what has none

    def __init__(self, site: str, *, lab: bool) -> None:
        """Of a site that nobody founded yet."""
        self.site = site
        self.lab = lab
        self.lines: tuple[str, ...] = ()
        self.judged: tuple[Judged, ...] = ()
        self.appointments: tuple[Appointment, ...] = ()
        self.keys: dict[str, Key] = {}
        self.contacts: tuple[tuple[Contact, int], ...] = ()  # each with its end

    @classmethod
    def replay(cls, lines: Sequence[str], founding: str, site: str, *, lab: bool) -> Roster:
        """Judges a whole chain; `founding` is the pin. Raises AuthorizationError naming the line in its detail."""
        if not lines or digest(lines[0]) != founding:
            raise AuthorizationError(Check.ROSTER, "change 0: not the founding that the site is pinned to")
        return cls(site, lab=lab).extended(lines)

    def extended(self, lines: Iterable[str]) -> Roster:
        """The roster after more changes. Raises AuthorizationError; this one stays as it is."""
        longer = Roster(self.site, lab=self.lab)
        longer.lines, longer.judged, longer.appointments = self.lines, self.judged, self.appointments
        longer.keys, longer.contacts = dict(self.keys), self.contacts
        for text in lines:
            try:
                longer._take(text)
            except AuthorizationError as error:
                number = len(longer.lines)
                sentence = error.detail or getattr(error.check, "sentence", "")
                raise AuthorizationError(error.check, f"change {number}: {sentence}") from None
        return longer

    def continued(self, lines: Sequence[str]) -> Roster:
        """The roster of a whole chain that must begin with this one: a shorter or another chain is refused."""
        if tuple(lines[: len(self.lines)]) != self.lines:
            raise AuthorizationError(Check.ROSTER, "not a continuation of the roster that is held here")
        return self.extended(lines[len(self.lines) :])

    @property
    def head(self) -> str:
        """What the next change must name as the one before it."""
        return digest(self.lines[-1]) if self.lines else ""

    def held(self, person: str, role: Role) -> tuple[Interval, ...]:
        """When the person holds the role."""
        return tuple((a.from_s, a.to_s) for a in self.appointments if a.person == person and a.role is role)

    def role_at(self, person: str, now_s: int) -> Role | None:
        """The one role that a person holds at a second."""
        return next((a.role for a in self.appointments if a.person == person and a.at(now_s)), None)

    def senior_officer(self, now_s: int) -> Appointment | None:
        """The senior officer in office (47 CFR 1.20003(b)(4)); the one appointed last when one follows another."""
        for appointment in reversed(self.appointments):
            if appointment.senior and appointment.at(now_s):
                return appointment
        return None

    def contact(self, agency: str, now_s: int) -> Contact | None:
        """The agency's contact at a second; on a lab site the one for any agency, if that was registered."""
        for wanted in (agency, ANY_AGENCY):
            for contact, end_s in reversed(self.contacts):
                if contact.agency == wanted and contact.from_s <= now_s < end_s:
                    return contact
        return None

    # --- judging -----------------------------------------------------------------------------------------------------

    def _take(self, text: str) -> None:
        if len(self.lines) >= MAX_LINES or len(text) > MAX_LINE_OCTETS:
            raise AuthorizationError(Check.ROSTER, "too long")
        try:
            approvals = msgspec.json.decode(text, type=Line).approvals
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
            raise AuthorizationError(Check.ROSTER) from None
        if line(approvals) != text:  # another spelling of the same line would have another hash
            raise AuthorizationError(Check.ROSTER)
        parts = [jws.split(approval) for approval in approvals[: MAX_ACTIONS + 1]]
        if any(each.header.typ != TYP for each in parts):
            raise AuthorizationError(Check.TOKEN_TYPE)
        if len({each.payload for each in parts}) != 1:
            raise AuthorizationError(Check.ROSTER_APPROVAL, "not one text that all approved")
        change = jws.decode(parts[0].payload, Change)
        self._examine_place(change)
        if founding := change.number == 0:
            self._apply(change)
        approvers = self._founders(change, parts) if founding else self._approvers(change, parts)
        lapses_s = self._lapses_s(change, parts)
        if not founding:
            self._apply(change)
        self.lines += (text,)
        self.judged += (Judged(change=change, approvers=tuple(sorted(approvers)), lapses_s=lapses_s),)

    def _examine_place(self, change: Change) -> None:
        if (change.number, change.previous, change.site) != (len(self.lines), self.head, self.site):
            raise AuthorizationError(Check.ROSTER, "not the change that follows here")
        if change.lab is not self.lab:
            raise AuthorizationError(Check.LAB_TOKEN)
        if not 0 < len(change.actions) <= MAX_ACTIONS or not NONCE.fullmatch(change.nonce):
            raise AuthorizationError(Check.ROSTER)
        least_s = self.judged[-1].change.issued_s if self.judged else 0
        if not least_s <= change.issued_s < MAX_YEAR_S:
            raise AuthorizationError(Check.ROSTER_DATES)

    def _signer(self, change: Change, part: jws.Parts) -> Key:
        key = self.keys.get(part.header.kid)
        if key is None:
            raise AuthorizationError(Check.KEY_UNKNOWN)
        jws.verify(part, Public.load(key))
        if not key.not_before_s <= change.issued_s < key.not_after_s:
            raise AuthorizationError(Check.KEY_DATES)
        if not any(from_s <= change.issued_s < to_s for from_s, to_s in self.held(key.person, Role.EXECUTIVE)):
            raise AuthorizationError(Check.ROSTER_APPROVAL, "an approver was no executive when it was issued")
        return key

    def _lapses_s(self, change: Change, parts: list[jws.Parts]) -> int:
        """Until when all who approved it go on in office, each with the key that he approved by."""
        keys = [self.keys[part.header.kid] for part in parts]
        offices = (self.held(key.person, Role.EXECUTIVE) for key in keys)
        return min(*(unbroken_until(each, change.issued_s) for each in offices), *(key.not_after_s for key in keys))

    def _approvers(self, change: Change, parts: list[jws.Parts]) -> set[str]:
        persons = {self._signer(change, part).person for part in parts}
        if len(parts) != APPROVALS or len(persons) != APPROVALS or persons & change.concerned():
            raise AuthorizationError(Check.ROSTER_APPROVAL)
        return persons

    def _founders(self, change: Change, parts: list[jws.Parts]) -> set[str]:
        """All executives whom the founding appoints, each by a key that it enrols."""
        executives = {a.person for a in self.appointments if a.role is Role.EXECUTIVE and a.at(change.issued_s)}
        persons = {self._signer(change, part).person for part in parts}
        if len(persons) < FOUNDERS or len(parts) != len(persons) or persons != executives:
            raise AuthorizationError(Check.ROSTER_FOUNDING)
        return persons

    # --- what a change does ------------------------------------------------------------------------------------------

    def _apply(self, change: Change) -> None:
        earliest_s = 0 if change.number == 0 else change.issued_s - SKEW_S
        for action in change.actions:
            match action:
                case Appoint():
                    self._appoint(action, earliest_s)
                case End():
                    self._end(action)
                case Enroll():
                    self._enroll(action, earliest_s)
                case Revoke():
                    self._revoke(action)
                case Contact():
                    self._contact(action, 0 if change.number == 0 else change.issued_s + CONTACT_WAIT_S)
                case EndContact():
                    self._end_contact(action)

    def _appoint(self, action: Appoint, earliest_s: int) -> None:
        if not (legible(action.name) and legible(action.function)):
            raise AuthorizationError(Check.ROSTER, "name or function")
        if not PERSON.fullmatch(action.person) or not SHA256.fullmatch(action.document_sha256):
            raise AuthorizationError(Check.ROSTER, "person or document")
        if not earliest_s <= action.from_s < action.to_s < MAX_YEAR_S:
            raise AuthorizationError(Check.ROSTER_DATES)
        for held in self.appointments:
            overlap = held.from_s < action.to_s and action.from_s < held.to_s
            if held.person == action.person and held.role is not action.role and overlap:
                raise AuthorizationError(Check.ROSTER_ROLES)
        facts = {name: getattr(action, name) for name in Appointment.__struct_fields__}
        self.appointments += (Appointment(**facts),)

    def _end(self, action: End) -> None:
        kept = []
        ended = False
        for held in self.appointments:
            if (held.person, held.role) == (action.person, action.role) and action.at_s < held.to_s:
                ended = True
                if held.from_s < action.at_s:
                    kept.append(msgspec.structs.replace(held, to_s=action.at_s))
                continue
            kept.append(held)
        if not ended:
            raise AuthorizationError(Check.ROSTER_DATES)
        self.appointments = tuple(kept)

    def _enroll(self, action: Enroll, earliest_s: int) -> None:
        key = action.key
        if not well_formed(key) or key.person != action.person or key.held is not None:
            raise AuthorizationError(Check.ROSTER, "key")
        if key.lab is not self.lab:
            raise AuthorizationError(Check.LAB_KEY)
        try:
            Public.load(key)
        except ValueError:
            raise AuthorizationError(Check.ROSTER, "key") from None
        # One authenticator is one person's, for good: a second account of the same human shows here (SEC-16).
        for other in self.keys.values():
            same = (
                key.kid == other.kid,
                key.public == other.public,
                bool(key.credential) and key.credential == other.credential,
            )
            if any(same):
                raise AuthorizationError(Check.ROSTER_KEYS)
        if sum(other.person == key.person for other in self.keys.values()) >= MAX_KEYS:
            raise AuthorizationError(Check.ROSTER_KEYS, "too many keys of one person")
        begin_s = max(key.not_before_s, earliest_s)
        if not begin_s < key.not_after_s < MAX_YEAR_S:
            raise AuthorizationError(Check.ROSTER_DATES)
        self.keys[key.kid] = msgspec.structs.replace(key, not_before_s=begin_s)

    def _revoke(self, action: Revoke) -> None:
        key = self.keys.get(action.kid)
        if key is None or key.person != action.person:
            raise AuthorizationError(Check.ROSTER_KEYS)
        if action.void_s >= key.not_after_s:
            raise AuthorizationError(Check.ROSTER_DATES)
        self.keys[key.kid] = msgspec.structs.replace(key, not_after_s=action.void_s)

    def _contact(self, action: Contact, earliest_s: int) -> None:
        named = bool(AGENCY.fullmatch(action.agency)) or (action.agency == ANY_AGENCY and self.lab)
        if not named or not _NUMBER.fullmatch(action.number):
            raise AuthorizationError(Check.ROSTER, "agency or number")
        if not earliest_s <= action.from_s < MAX_YEAR_S:
            raise AuthorizationError(Check.ROSTER_DATES, "a new contact waits a day")
        self.contacts += ((action, MAX_YEAR_S),)

    def _end_contact(self, action: EndContact) -> None:
        if not any(contact.agency == action.agency and action.at_s < end for contact, end in self.contacts):
            raise AuthorizationError(Check.ROSTER_DATES)
        self.contacts = tuple(
            (contact, min(end, action.at_s) if contact.agency == action.agency else end)
            for contact, end in self.contacts
        )
