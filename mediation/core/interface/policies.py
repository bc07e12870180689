"""What the commands and the administrator say to each other of the policies and procedures (47 CFR 1.20003, 1.20005).

Answers for the form of these messages alone, which are part of control.py's: none names a case, and none but ShowPlan
does anything without the signed text in it. Sans-I/O.

    ShowPlan             the plan in force, or a draft of the next one              PlanView
    AdoptPlan, FilePlan  a draft in force; filed with the Commission                Results, one
    OrderModification    the Commission ordered the policies modified               Results, one
    TryContact           the 7x24 contact was called                                Results, one
"""

from __future__ import annotations

import msgspec


class _Message(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag_field="type"):
    pass


class ShowPlan(_Message, frozen=True, kw_only=True):
    """The policies and procedures in force, or a draft of the next ones; `retention_days` 0: as configured.
    `modifications`: SHA-256 of the Commission's orders that the draft carries out."""

    draft: bool = False
    retention_days: int = 0
    modifications: tuple[str, ...] = ()


class AdoptPlan(_Message, frozen=True, kw_only=True):
    """The exact texts of a draft, and the approvals that put it in force (core/records/plan.py)."""

    plan: str
    appendix: str
    approvals: tuple[str, ...]


class FilePlan(_Message, frozen=True, kw_only=True):
    """That the plan in force was filed with the Commission, signed."""

    filing: str


class OrderModification(_Message, frozen=True, kw_only=True):
    """That the Commission ordered the policies modified, signed (core/records/modification.py)."""

    modification: str


class TryContact(_Message, frozen=True, kw_only=True):
    """That the 7x24 contact was called, signed (core/records/contact.py)."""

    test: str


class PlanView(_Message, frozen=True, kw_only=True):
    """A plan and its appendix, exact texts. `amendments`: what is to be filed, each with its day (UTC seconds);
    `modifications`: the Commission's open orders, likewise. `contact_due_s`: by when the 7x24 contact is to be called
    and reached; `contact_called_s`: when he last was (0: never)."""

    plan: str
    appendix: str
    version: int
    previous_sha256: str
    adopted: bool
    filed_version: int
    filed_s: int
    confirmation: str
    amendments: dict[str, int]
    modifications: dict[str, int] = {}
    contact_due_s: int = 0
    contact_called_s: int = 0
