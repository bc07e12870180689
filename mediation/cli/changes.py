"""A change of the roster in the words of those who approve it: every fact of it, a line each, and nothing else.

Who approves it signs exactly the draft that these words were made of (`mediation person approve`). The drafting machine
may be somebody else's by then: what a terminal would take for a command stands as its escape, and what goes on in the
next line is marked, so that no name looks like a fact.
"""

from __future__ import annotations

import textwrap
from typing import Final

from mediation.cli.words import moment, plain
from mediation.core.authority.key import ALGORITHMS, Key
from mediation.core.authority.roster import AnyAction, Appoint, Change, Contact, End, EndContact, Enroll, Revoke

LABEL: Final = 10  # columns
WIDTH: Final = 100
MORE: Final = "… "


def words(change: Change) -> list[str]:
    """A change as its approvers should read it."""
    kind = "founding" if change.number == 0 else f"change {change.number}"
    found = [plain(f"{kind} of {change.site}, drafted {moment(change.issued_s)}{'  LAB' if change.lab else ''}")]
    for action in change.actions:
        label, facts = _action(action)
        for n, fact in enumerate(facts):
            start = "  " + (label if n == 0 else "").ljust(LABEL)
            found += textwrap.wrap(
                plain(fact), WIDTH, break_on_hyphens=False, initial_indent=start,
                subsequent_indent=" " * (LABEL + 2) + MORE,
            )  # fmt: skip
    return found


def _action(action: AnyAction) -> tuple[str, list[str]]:
    match action:
        case Appoint():
            senior = " and senior officer (47 CFR 1.20003(b)(4))" if action.senior else ""
            return "appoint", [
                f"{action.name} ({action.person}), {action.function}", f"to {action.role}{senior}",
                f"from {moment(action.from_s)}", f"until {moment(action.to_s)}", f"letter {action.document_sha256}",
            ]  # fmt: skip
        case End():
            return "end", [f"{action.person} is {action.role} no more", f"from {moment(action.at_s)}"]
        case Enroll():
            return "key", _key(action.person, action.key)
        case Revoke():
            return "void", [f"key {action.kid} of {action.person}", f"since {moment(action.void_s)}"]
        case Contact():
            return "contact", [f"{action.agency} is called back at {action.number}", f"from {moment(action.from_s)}"]
        case EndContact():
            return "contact", [f"{action.agency} has none any more", f"from {moment(action.at_s)}"]


def _key(person: str, key: Key) -> list[str]:
    """`person` is whom the change gives it to; a key that names another one would not pass, and is shown."""
    owner = person if key.person == person else f"{person} (the key says {key.person})"
    found = [
        f"{key.kid} of {owner}, {ALGORITHMS.get(key.form, key.form)}{', LAB' if key.lab else ''}",
        f"from {moment(key.not_before_s)}", f"until {moment(key.not_after_s)}", f"public {key.public}",
    ]  # fmt: skip
    if key.credential or key.rp_id:
        found += [f"on a security key for {key.rp_id}", f"credential {key.credential}"]
    if key.held is not None:
        found.append(f"held {key.held}")
    return found
