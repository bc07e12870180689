"""Who held which role, when, by the roster's own chain of approvals.

Answers for `keys/roster.jsonl` of an export: each line names the one before it by hash and carries the signatures of
two executives whom it does not concern (the founding: all that it appoints); each line after the founding stands in the
ledger as an entry `roster-changed` with the line's hash. Nobody holds two roles at one instant (SEC-16).

Times in seconds since 1970.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field
from typing import Any

from mediation.audit import tokens
from mediation.audit.archive import Export
from mediation.audit.tokens import Bad, PersonKey

FILE, PIN = "keys/roster.jsonl", "keys/founding"
TYP = "mediation-roster"
EXECUTIVE = "executive"
FOUNDERS = 3
SKEW_S = 60
MAX_LINES = 4_096
FOREVER_S = 32_503_680_000


@dataclass
class Appointment:
    """A person in a role, in [from_s, to_s); `line` of the roster says so."""

    person: str
    role: str
    function: str
    from_s: int
    to_s: int
    senior: bool
    line: int


@dataclass
class Roster:
    """What the chain says. `problems` name the line; `lines` are the SHA-256 of each."""

    lines: list[str] = field(default_factory=list)
    approvers: list[list[str]] = field(default_factory=list)
    appointments: list[Appointment] = field(default_factory=list)
    keys: dict[str, PersonKey] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)
    issued: list[int] = field(default_factory=list)  # the second at which each line was issued
    lapsed: list[int] = field(default_factory=list)  # when the first of its approvers was in office no longer

    def roles_at(self, person: str, now_s: int) -> set[str]:
        return {a.role for a in self.appointments if a.person == person and a.from_s <= now_s < a.to_s}

    def senior_at(self, now_s: int) -> bool:
        return bool(self.seniors_at(now_s))

    def seniors_at(self, now_s: int) -> set[str]:
        return {a.person for a in self.appointments if a.senior and a.from_s <= now_s < a.to_s}


def read(export: Export, origin: str) -> Roster | None:
    """The roster, judged line by line up to the first bad one; None when the export has none."""
    octets = export.files.get(FILE)
    if octets is None:
        return None
    roster = Roster()
    lines = octets.decode("utf-8", "replace").splitlines()
    pin = (export.text(PIN) or "").split()
    if len(lines) > MAX_LINES:
        roster.problems.append("the roster is too long")
        return roster
    for number, text in enumerate(lines):
        try:
            _take(roster, text, number, origin, pin[:1])
        except Bad as error:
            roster.problems.append(f"roster line {number}: {error}")
            return roster
        except (KeyError, TypeError, ValueError, AttributeError, RecursionError, OverflowError):
            roster.problems.append(f"roster line {number}: not readable")
            return roster
    return roster


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def _take(roster: Roster, text: str, number: int, origin: str, pin: list[str]) -> None:
    if number == 0 and pin != [_digest(text)]:
        raise Bad("is not the founding that the site is pinned to")
    approvals = json.loads(text)["approvals"]
    parts = [tokens.split(each) for each in approvals]
    if not parts or any(each.typ != TYP for each in parts) or len({each.payload for each in parts}) != 1:
        raise Bad("not one text that all approved")
    change = parts[0].members()
    before = roster.lines[-1] if roster.lines else ""
    if (change["number"], change["previous"], change["site"]) != (number, before, origin):
        raise Bad("does not follow the line before it")
    issued_s = int(change["issued_s"])
    if roster.issued and issued_s < roster.issued[-1]:
        raise Bad("is dated before the line before it")
    concerned = {each["person"] for each in change["actions"] if "person" in each}
    if number == 0:
        _apply(roster, change["actions"], number, 0)
        lapsed_s = _lapsed_s(roster, parts, issued_s)
        executives = {
            a.person for a in roster.appointments if a.role == EXECUTIVE and a.from_s <= issued_s < a.to_s
        }  # fmt: skip
        persons = _approvers(roster, parts, issued_s)
        if persons != executives or len(persons) < FOUNDERS or len(parts) != len(persons):
            raise Bad("is not signed by all the executives that it appoints")
    else:
        persons = _approvers(roster, parts, issued_s)
        if len(parts) != 2 or len(persons) != 2 or persons & concerned:
            raise Bad("is not approved by two executives whom it does not concern")
        lapsed_s = _lapsed_s(roster, parts, issued_s)
        _apply(roster, change["actions"], number, issued_s - SKEW_S)
    roster.lines.append(_digest(text))
    roster.approvers.append(sorted(persons))
    roster.issued.append(issued_s)
    roster.lapsed.append(lapsed_s)


def _approvers(roster: Roster, parts: list[tokens.Token], issued_s: int) -> set[str]:
    persons = set()
    for part in parts:
        key = roster.keys.get(part.kid)
        if key is None:
            raise Bad("is signed with a key that nobody enrolled")
        tokens.verify(part, key)
        if not key.not_before_s <= issued_s < key.not_after_s:
            raise Bad("is signed with a key that was not valid then")
        if EXECUTIVE not in roster.roles_at(key.person, issued_s):
            raise Bad("is signed by somebody who was no executive then")
        persons.add(key.person)
    return persons


def _lapsed_s(roster: Roster, parts: list[tokens.Token], issued_s: int) -> int:
    """When the first of those who signed left office, as the lines before know it, or his key lapsed."""
    ends = []
    for key in (roster.keys[part.kid] for part in parts if part.kid in roster.keys):
        end_s = issued_s
        while later := [
            each.to_s for each in roster.appointments
            if (each.person, each.role) == (key.person, EXECUTIVE) and each.from_s <= end_s < each.to_s
        ]:  # fmt: skip
            end_s = max(later)
        ends.append(min(end_s, key.not_after_s))
    return min(ends, default=issued_s)


def _apply(roster: Roster, actions: list[dict[str, Any]], number: int, earliest_s: int) -> None:
    for action in actions:
        what = action["what"]
        if what == "appoint":
            new = Appointment(
                action["person"], action["role"], action["function"], int(action["from_s"]), int(action["to_s"]),
                bool(action.get("senior", False)), number,
            )  # fmt: skip
            if not earliest_s <= new.from_s < new.to_s:
                raise Bad("appoints somebody for a time that has passed")
            for held in roster.appointments:
                if (
                    held.person == new.person
                    and held.role != new.role
                    and held.from_s < new.to_s
                    and new.from_s < held.to_s
                ):
                    raise Bad(f"gives {new.person} a second role")
            roster.appointments.append(new)
        elif what == "end":
            for held in roster.appointments:
                if (held.person, held.role) == (action["person"], action["role"]):
                    held.to_s = min(held.to_s, max(int(action["at_s"]), held.from_s))
            # One that ends before it begins never was, and excludes no other role.
            roster.appointments = [held for held in roster.appointments if held.from_s < held.to_s]
        elif what == "enroll":
            key = PersonKey.of(action["key"])
            same = [
                other for other in roster.keys.values()
                if key.kid == other.kid or key.public == other.public
                or (key.credential and key.credential == other.credential)
            ]  # fmt: skip
            if same or key.person != action["person"]:
                raise Bad("enrols a key that is enrolled already, or is another person's")
            begin = max(key.not_before_s, earliest_s)
            roster.keys[key.kid] = PersonKey(**{**vars(key), "not_before_s": begin})
        elif what == "revoke":
            key = roster.keys[action["kid"]]
            if key.person != action["person"]:
                raise Bad("revokes a key of another person")
            roster.keys[key.kid] = PersonKey(
                **{**vars(key), "not_after_s": min(key.not_after_s, int(action["void_s"]))}
            )
        elif what not in ("contact", "end-contact"):
            raise Bad("does something that this tool does not know")
