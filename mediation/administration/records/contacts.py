"""Calls of the 7x24 contact of a site: asked for each month, entered as a person signs them, missed ones announced.

Answers for 47 CFR 1.20003(b)(4)(ii) being true and not only filed: one entry for each call that an officer or executive
made of the number in the appendix and signed for, with the seconds until it was answered; an alarm while a month has
none that was answered, and for each that nobody answered (core/records/contact.py has the clock). Blocking. The signed
text is kept first and entered after. It calls nobody: the system has no telephone, and who is called is a person.
"""

from __future__ import annotations

from mediation.administration.records import signed_texts
from mediation.administration.records.keeping import Keeping
from mediation.administration.records.plans import Plans
from mediation.core.authority import jws
from mediation.core.check import Check
from mediation.core.errors import AuthorizationError
from mediation.core.interface.policies import TryContact
from mediation.core.ledger import entry
from mediation.core.records import contact
from mediation.core.records.alarm import Alarm
from mediation.core.units import NS


class Contacts:
    """Of one site."""

    def __init__(self, keeping: Keeping, plans: Plans) -> None:
        self._keeping, self._history, self._plans = keeping, keeping.history, plans

    def tried(self, request: TryContact, now_ns: int) -> None:
        """A call that was made. Raises AuthorizationError, LedgerError."""
        if self._plans.adopted is None:
            raise AuthorizationError(Check.PLAN, "none was adopted")
        said, key = contact.examine(request.test, self._plans.adopted, self._keeping.trust(), now_ns)
        if jws.sha256_hex(request.test) in self._history.signed or said.called_s in {
            each.called_s for each in self._history.contact_tests
        }:  # fmt: skip
            raise AuthorizationError(Check.REPLAYED, "a call of that second is entered")
        record = entry.ContactTested(
            time_us=now_ns // 1000, called_s=said.called_s, answered=said.answered, answer_s=said.answer_s,
            appendix_sha256=said.appendix_sha256, signed_sha256=signed_texts.keep(self._keeping, request.test),
            person=key.person,
        )  # fmt: skip
        self._keeping.books.note([record], stop=False)

    def watch(self, now_ns: int) -> None:
        """Raises the alarms that are due. Raises LedgerError."""
        history = self._history
        missed = [(Alarm.CONTACT_MISSED, str(each.called_s)) for each in history.contact_tests if not each.answered]
        late = contact.lapses(history.plans[0].time_us, history.reached, now_ns // NS) if history.plans else ()
        self._keeping.announce([*missed, *late], now_ns)

    def report(self, now_ns: int) -> dict[str, int]:
        """For `status`: calls, those that nobody answered, the seconds until the last answer, and until the next one is
        due (negative: too late); the last two absent while there is none."""
        tests = self._history.contact_tests
        found = {"contact_tests": len(tests), "contact_missed": sum(not each.answered for each in tests)}
        if answers := [each.answer_s for each in tests if each.answered]:
            found["contact_answer_seconds"] = answers[-1]
        if self._history.plans:
            begins_us = self._history.plans[0].time_us
            found["contact_due_seconds"] = contact.due_s(begins_us, self._history.reached) - now_ns // NS
        return found
