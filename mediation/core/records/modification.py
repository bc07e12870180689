"""An order of the Commission that the carrier's policies and procedures be modified: 47 CFR 1.20005(b), as a task.

Answers for what is recorded of such an order: the SHA-256 of its document, the day by which it is to be carried out,
and the plan that was in force. One of those who record filings signs it. The task ends with the filing of a version of
the plan whose own text names the document (core/records/plan.py `modifications`); what that version says is the
carrier's answer to the Commission, and no one here judges it. It stores nothing and reads no clock.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Final, Literal

from mediation.core.authority.key import Key
from mediation.core.authority.particulars import MAX_YEAR_S, SHA256
from mediation.core.authority.trust import Trust
from mediation.core.check import Check
from mediation.core.errors import AuthorizationError
from mediation.core.records import signed

TYP: Final = "mediation-modification"
MAX_OPEN: Final = 64  # orders at one time (ours)


class Modification(signed.Recorded, frozen=True, kw_only=True):
    """The Commission ordered the policies modified by `due_s`; `version` and `plan_sha256` are of those in force."""

    type: Literal["modification"]
    document_sha256: str
    due_s: int
    version: int
    plan_sha256: str


def examine(text: str, trust: Trust, now_ns: int) -> tuple[Modification, Key]:
    """Raises AuthorizationError: `modification`, or what is wrong with the key or the signature."""
    said, key = signed.examine(text, TYP, Modification, trust, now_ns)
    if not SHA256.fullmatch(said.document_sha256) or not 0 < said.due_s < MAX_YEAR_S:
        raise AuthorizationError(Check.MODIFICATION, "the document's hash, or its day")
    return said, key


def check_named(named: tuple[str, ...], opened: Collection[str]) -> None:
    """That a draft names orders that are open, each once and in the one order in which a text has them.

    Raises AuthorizationError `modification`.
    """
    if list(named) != sorted(set(named)) or not set(named) <= set(opened):
        raise AuthorizationError(Check.MODIFICATION, "the plan names an order that is not open here")
