"""What the Commission ordered to be modified in the plan of a site: entered, counted down, and ended by a filing.

Answers for one open task for each order of the Commission (47 CFR 1.20005(b)), by the hash of its document: recorded
with a person's signature, announced before its day as an amendment is, and open until a version of the plan that names
it was filed (plans.py). Blocking. The signed text is kept first and entered after. It judges no text of a plan.
"""

from __future__ import annotations

from mediation.administration.records import signed_texts
from mediation.administration.records.keeping import Keeping
from mediation.administration.records.plans import countdown
from mediation.core.authority import jws
from mediation.core.check import Check
from mediation.core.errors import AuthorizationError
from mediation.core.interface.policies import OrderModification
from mediation.core.ledger import entry
from mediation.core.records import modification
from mediation.core.records.alarm import Alarm
from mediation.core.units import NS


class Modifications:
    """Of one site."""

    def __init__(self, keeping: Keeping) -> None:
        self._keeping, self._history = keeping, keeping.history

    def order(self, request: OrderModification, now_ns: int) -> None:
        """An order of the Commission, or another day for one that is open. Raises AuthorizationError, LedgerError."""
        said, key = modification.examine(request.modification, self._keeping.trust(), now_ns)
        sha256, document = jws.sha256_hex(request.modification), said.document_sha256
        if sha256 in self._history.signed:
            raise AuthorizationError(Check.REPLAYED)
        if document in self._history.modified:
            raise AuthorizationError(Check.MODIFICATION, "it was carried out, and the filing is recorded")
        if document not in self._history.modifications and len(self._history.modifications) >= modification.MAX_OPEN:
            raise AuthorizationError(Check.MODIFICATION, "too many are open")
        latest = self._history.plan()
        if latest is None or (said.version, said.plan_sha256) != (latest.version, latest.plan_sha256):
            raise AuthorizationError(Check.PLAN, "not the plan in force")
        record = entry.ModificationOrdered(
            time_us=now_ns // 1000, document_sha256=document, due_s=said.due_s, version=said.version,
            signed_sha256=signed_texts.keep(self._keeping, request.modification), person=key.person,
        )  # fmt: skip
        self._keeping.books.note([record], stop=False)

    def watch(self, now_ns: int) -> None:
        """Raises the alarms that are due. Raises LedgerError."""
        due = [(sha256, each.due_s) for sha256, each in sorted(self._history.modifications.items())]
        late = countdown(Alarm.MODIFICATION_DUE, Alarm.MODIFICATION_OVERDUE, due, now_ns // NS)
        self._keeping.announce(late, now_ns)

    def report(self, now_ns: int) -> dict[str, int]:
        """For `status`: how many are open, and the seconds that are left of the first (negative: too late)."""
        found = {"modifications_open": len(self._history.modifications)}
        if self._history.modifications:
            first_s = min(each.due_s for each in self._history.modifications.values())
            found["modification_due_seconds"] = first_s - now_ns // NS
        return found
