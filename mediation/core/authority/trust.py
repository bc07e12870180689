"""Whom a function believes: the persons and keys of the roster, the ledger's key, and whether the site is a lab.

Answers for looking a key up in its role, with the time in which its person held that role, and for the mathematics of
its signature. It reads no file (`runtime.keys` does) and knows no order. The roster proves itself
(core/authority/roster.py); an attacker who changes the pin of its founding, or the ledger's key, gains authority: both
are owned by root and read-only to every function.

What a change of the roster ends, it ends when it is told. Nothing is armed by it before its entry is proven to stand in
the ledger under a head that the quorum cosigned (core/authority/proof.py), and those who approved it must have held
their office still when it was there to be seen: by the witnesses' time of that head, or by this function's own clock
when it was told (`timely`). So two who have left office cannot date a change back to their time in it. The founding is
pinned and needs no proof (`pinned`).
"""

from __future__ import annotations

import copy
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, NamedTuple

import msgspec

from mediation.core.authority import jws, term
from mediation.core.authority.key import PERSON, Key, Public
from mediation.core.authority.roster import Appointment, Contact, Roster
from mediation.core.case import Role
from mediation.core.check import Check
from mediation.core.errors import AuthorizationError, RemoteProtocolError
from mediation.core.ledger import note
from mediation.core.ledger.policy import Policy

if TYPE_CHECKING:
    from mediation.core.authority.ahead import Ahead

__all__ = ["PERSON", "Key", "Ring", "Trust"]


class Ring(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """All keys of one role."""

    role: Role
    keys: tuple[Key, ...] = ()


class Opened(NamedTuple):
    """A head that counts, and since when; `nodes` are what was proven to stand in its tree
    (core/authority/proof.py). `seen_s`: when the last of its witnesses cosigned. A quorum has an honest one among it,
    so that what stands in its tree was there by then, whatever time the dishonest ones wrote."""

    head: note.Checkpoint
    cosigned_s: int
    seen_s: int
    nodes: dict[tuple[int, tuple[str, ...]], bytes]


class Trust:
    """Whom a function believes: the key rings, the ledger's key, and whether the site is a lab.

    `roster` gives the rings by `Trust.of`; a Trust that is made of rings alone (tests) has only the `appointments` and
    `contacts` it is given. `policy` says whose cosignatures make a head of the ledger count; without one, none does and
    nothing is ever admitted. `revoked` holds the SHA-256 of tokens that this function knows to be withdrawn. Raises
    ValueError for a ring that holds a kid twice, a key that is none, or a role twice. Not a struct: it keeps the keys
    in their verifying form, and the last signatures that were good (0.1 ms each; ten thousand orders are proven under
    one checkpoint).
    """

    CHECKPOINTS = 16
    VERIFIED = 65_536  # three signatures of 10,000 orders, filed and then admitted: 10 MB

    def __init__(
        self,
        rings: Iterable[Ring],
        ledger: note.Verifier,
        *,
        lab: bool,
        policy: Policy | None,
        revoked: Iterable[str] = (),
        appointments: Sequence[Appointment] = (),
        contacts: Sequence[Contact] = (),
    ) -> None:
        self.ledger = ledger
        self.lab = lab
        self.policy = policy
        self.revoked = frozenset(revoked)
        self.roster = Roster(ledger.name, lab=lab)
        self.roster.appointments = tuple(appointments)
        self.roster.contacts = tuple((contact, Roster.FOREVER_S) for contact in contacts)
        self.proven = self.roster  # the changes of the roster that may begin something; the rest only end
        self.timely = 0  # how many of them this function was told in time, by its own clock
        self.last_entry = -1  # of the ledger: the last change that was proven
        self.terms = term.STATUTE  # the limits of the site, which are never longer
        self._opened: dict[str, Opened] = {}
        self._verified: dict[bytes, None] = {}  # SHA-256 over the text, and that over the key
        self._apart: dict[str, jws.Parts] = {}  # texts of the requests in hand
        self._set_rings(rings)
        holders = [(person, role) for role, keys in self.rings.items() for person in {k.person for k in keys.values()}]
        persons = [person for person, _ in holders]
        self.of_two_roles = frozenset(person for person in persons if persons.count(person) > 1)

    @classmethod
    def of(
        cls, roster: Roster, ledger: note.Verifier, *, lab: bool, policy: Policy | None, revoked: Iterable[str] = ()
    ) -> Trust:
        """What a judged roster gives."""
        return cls((), ledger, lab=lab, policy=policy, revoked=revoked).with_roster(roster)

    def with_roster(self, roster: Roster) -> Trust:
        """The same trust after changes of persons, roles and keys. Signatures that were good are not asked again."""
        trust = copy.copy(self)
        trust.roster = trust.proven = roster
        rings = []
        for role in Role:
            held = {person: roster.held(person, role) for person in {k.person for k in roster.keys.values()}}
            keys = (msgspec.structs.replace(key, held=held[key.person]) for key in roster.keys.values())
            rings.append(Ring(role=role, keys=tuple(key for key in keys if key.held)))
        trust._set_rings(rings)
        # The roster has refused whatever would give one person two roles at an instant (`roster-roles`); who changed
        # from one role to another holds a key in both rings, each with its own dates.
        trust.of_two_roles = frozenset()
        return trust

    @property
    def believed(self) -> int:
        """How many changes of the roster may begin something."""
        return len(self.proven.lines)

    def pinned(self, timely: int) -> Trust:
        """What a function begins with: of a roster that it read, only the founding, which root has pinned, may begin
        something before the ledger's entries are shown. `timely`: how many changes were told in time before."""
        trust = copy.copy(self)
        trust.proven = Roster(self.roster.site, lab=self.roster.lab).extended(self.roster.lines[:1])
        trust.timely, trust.last_entry = min(timely, len(self.roster.lines)), -1
        return trust

    def continued(self, lines: Sequence[str], now_s: int) -> Trust:
        """After more changes of the roster, of which `lines` is the whole chain; `now_s` by this function's own clock.
        None of them may begin something yet. Raises AuthorizationError for a chain that does not begin with the one
        that is held."""
        longer = self.roster.continued(lines)
        trust = self.with_roster(longer)
        trust.proven, trust.timely = self.proven, max(self.timely, self.believed)
        while trust.timely < len(longer.judged) and longer.judged[trust.timely].counts_at(now_s):
            trust.timely += 1
        return trust

    def proving(self, index: int) -> Trust:
        """After the proof that the next change stands in the ledger as its entry `index`."""
        trust = copy.copy(self)
        trust.proven = self.proven.extended(self.roster.lines[self.believed : self.believed + 1])
        trust.timely, trust.last_entry = max(self.timely, trust.believed), index
        return trust

    def arming(self) -> Trust:
        """What may begin something, besides this trust itself: the same without the changes that are not proven."""
        return self if self.believed == len(self.roster.lines) else self.with_roster(self.proven)

    def with_revoked(self, revoked: Iterable[str]) -> Trust:
        """The same trust, knowing of these withdrawals as well."""
        trust = copy.copy(self)
        trust.revoked = self.revoked | frozenset(revoked)
        return trust

    def _set_rings(self, rings: Iterable[Ring]) -> None:
        self.rings: dict[Role, dict[str, Key]] = {}
        self._public: dict[Key, Public] = {}
        for ring in rings:
            if ring.role in self.rings:
                raise ValueError(f"key ring: {ring.role} twice")
            self.rings[ring.role] = {key.kid: key for key in ring.keys}
            if len(self.rings[ring.role]) != len(ring.keys):
                raise ValueError(f"key ring {ring.role}: a kid stands twice")
            for key in ring.keys:
                try:
                    self._public[key] = Public.load(key)
                except ValueError:
                    raise ValueError(f"key ring {ring.role}: key {key.kid[:64]!r} is malformed") from None

    def senior_officer(self, at_s: int) -> Appointment | None:
        """The senior officer in office at a second (47 CFR 1.20003(b)(4)); None when there was none."""
        return self.roster.senior_officer(at_s)

    def contact(self, agency: str, at_s: int) -> Contact | None:
        """The agency's registered contact at a second; None when there was none, or it was younger than a day."""
        return self.roster.contact(agency, at_s)

    def key(self, role: Role, kid: str) -> Key:
        """Raises AuthorizationError `key-unknown` or `key-role`."""
        found = self.rings.get(role, {}).get(kid)
        if found is None:
            elsewhere = any(kid in keys for keys in self.rings.values())
            raise AuthorizationError(Check.KEY_ROLE if elsewhere else Check.KEY_UNKNOWN)
        return found

    def public(self, key: Key) -> Public:
        """A key of the rings in its verifying form."""
        return self._public[key]

    def split(self, text: str, kind: type[msgspec.Struct]) -> jws.Parts:
        """`jws.split`, done before for the requests in hand (`learn`). Raises AuthorizationError."""
        found = self._apart.pop(text, None)
        return jws.split(text, kind) if found is None else found

    def verify(self, parts: jws.Parts, key: Key) -> None:
        """Raises AuthorizationError `algorithm`, `assertion` or `signature` unless `key` signed `parts`."""
        public = self._public[key]
        fact = parts.sha256 + public.sha256  # the text holds the algorithm, what is signed and the signature
        if fact not in self._verified:
            jws.verify(parts, public)
            self._remember(fact)

    def learn(self, ahead: Ahead) -> None:
        """What was done ahead for the requests that are judged next, in place of that for those before."""
        self._apart = ahead.parts
        for fact in ahead.good():
            if fact not in self._verified:
                self._remember(fact)

    def forget_parts(self) -> None:
        """What was learned to be judged next was judged."""
        self._apart = {}

    def knows(self, fact: bytes) -> bool:
        """Whether a signature was found good before."""
        return fact in self._verified

    def _remember(self, fact: bytes) -> None:
        if len(self._verified) >= self.VERIFIED:
            del self._verified[next(iter(self._verified))]
        self._verified[fact] = None

    def checkpoint(self, text: str) -> note.Checkpoint:
        """The tree head that this site's ledger signed and a quorum of the witnesses cosigned.

        Raises AuthorizationError `proof-checkpoint` or `proof-witnesses`.
        """
        return self.opened(text).head

    def cosigned_s(self, text: str) -> int:
        """Since when that head had its quorum, in seconds since 1970. Raises as `checkpoint` does."""
        return self.opened(text).cosigned_s

    def opened(self, text: str) -> Opened:
        """The same head with all that is known of it. Raises as `checkpoint` does."""
        found = self._opened.get(text)
        if found is None:
            try:
                head = note.open_checkpoint(text, self.ledger)
            except RemoteProtocolError:
                raise AuthorizationError(Check.PROOF_CHECKPOINT) from None
            if self.policy is None:
                raise AuthorizationError(Check.PROOF_WITNESSES, "this site has no witness.policy")
            try:
                judged = self.policy.judge(text)
            except RemoteProtocolError:
                raise AuthorizationError(Check.PROOF_WITNESSES) from None
            if not judged.quorum:
                raise AuthorizationError(Check.PROOF_WITNESSES)
            found = Opened(head, judged.time_s, max(judged.times, default=0), {})
            if len(self._opened) >= self.CHECKPOINTS:
                del self._opened[next(iter(self._opened))]
            self._opened[text] = found
        return found
