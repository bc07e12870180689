"""The alarms of the administration: their names, in whose words, and when an order's end is announced.

An alarm is something a person must look at. It is entered in the ledger (entry.Alarm) by one of these names, with the
case identity at most, and once: `countdown` says which are due, whoever asks remembers which were raised. This module
reads no clock and raises nothing itself.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from mediation.core.authority.term import HOUR_S
from mediation.core.named import Named

COUNTDOWN_H: Final = (72, 24, 4, 1)  # hours before an end (ours)


class Alarm(Named):
    """One alarm; the sentence says what has come to be."""

    ENDS_72H = "ends-in-72h", "the order ends in 72 hours"
    ENDS_24H = "ends-in-24h", "the order ends in 24 hours"
    ENDS_4H = "ends-in-4h", "the order ends in 4 hours"
    ENDS_1H = "ends-in-1h", "the order ends in an hour"
    EMERGENCY_72H = "emergency-ends-in-72h", "the emergency order ends in 72 hours, and needs an ordinary order before"
    EMERGENCY_24H = "emergency-ends-in-24h", "the emergency order ends in 24 hours, and needs an ordinary order before"
    EMERGENCY_4H = "emergency-ends-in-4h", "the emergency order ends in 4 hours, and needs an ordinary order before"
    EMERGENCY_1H = "emergency-ends-in-1h", "the emergency order ends in an hour, and needs an ordinary order before"
    EMERGENCY_LAPSED = "emergency-lapsed", "an emergency order ended, and no ordinary order has taken its place"
    CERTIFICATE_DUE = "certificate-due", "an interception is not certified after 24 hours"
    CERTIFICATE_OVERDUE = "certificate-overdue", "an interception is not certified after 72 hours"
    STATEMENT_DUE = "statement-due", "a month's statement is not signed a week after it (47 CFR 1.20004(c))"
    STATEMENT_OVERDUE = "statement-overdue", "a month's statement is not signed two weeks after it"
    AMENDMENT_DUE = "amendment-due", "a change of the policies must be filed soon (47 CFR 1.20005)"
    AMENDMENT_OVERDUE = "amendment-overdue", "a change of the policies was not filed within 90 days"
    MODIFICATION_DUE = "modification-due", "what the Commission ordered modified is to be filed soon (1.20005(b))"
    MODIFICATION_OVERDUE = "modification-overdue", "what the Commission ordered modified was not filed in time"
    CONTACT_DUE = "contact-due", "the 7x24 contact was not called this month (47 CFR 1.20003(b)(4)(ii))"
    CONTACT_OVERDUE = "contact-overdue", "a month has passed in which no call reached the 7x24 contact"
    CONTACT_MISSED = "contact-missed", "the 7x24 contact was called, and nobody answered"
    WITNESSES_AWAY = "witnesses-away", "no quorum of witnesses: activations, extensions and changes wait"
    WITNESSES_CONFLICT = "witnesses-conflict", "a witness knows another history of the ledger"
    LEDGER_REPLACED = "ledger-replaced", "the ledger, or its store, is an older one than a witness has seen"
    LEDGER_EDITED = "ledger-edited", "old padding of the ledger is not what was entered"
    LEASE_ENDING = "lease-ending", "the witnesses' grace is nearly over: running cases stop with it"
    ORDER_LOST = "order-lost", "the store has lost an order that the ledger knows as activated: it is stopped"
    DISK_FULL = "disk-full", "the ledger or the store cannot be written: nothing can be begun, stops are carried out"
    FUNCTION_REFUSED = "function-refused", "a function refuses an order that the administration finds good"
    FUNCTION_SILENT = "function-silent", "a function is connected and does not answer: it stands still"
    UNAUTHORIZED_TAP = "unauthorized-tap", "a tap was found that belongs to no case"
    INCIDENT = "incident", "a compromise or an unlawful interception is to be reported (47 CFR 1.20003(c))"
    CODE_CHANGED = "code-changed", "the daemon's code, configuration or adapters changed while it ran"
    EGRESS_REFUSED = "egress-refused", "the delivery function tried to send where no live order sends"
    HONEY_CASE = "honey-case", "somebody read a case that nobody ordered"
    RECONCILER_SILENT = "reconciler-silent", "the reconciler has reported nothing for two intervals: nobody looks"
    RECONCILER_BLIND = "reconciler-blind", "the reconciler cannot look at something that it could look at before"
    TAP_GONE = "tap-gone", "cases are live and their tap is not there"
    AUTHENTICATION = "authentication", "too many requests at the control socket were refused"


ENDS: Final = dict(zip(COUNTDOWN_H, (Alarm.ENDS_72H, Alarm.ENDS_24H, Alarm.ENDS_4H, Alarm.ENDS_1H), strict=True))
EMERGENCY_ENDS: Final = dict(
    zip(COUNTDOWN_H, (Alarm.EMERGENCY_72H, Alarm.EMERGENCY_24H, Alarm.EMERGENCY_4H, Alarm.EMERGENCY_1H), strict=True)
)


def moments(begin_s: int, end_s: int) -> Iterator[tuple[int, int]]:
    """(when, hours before the end) of each announcement, the earliest first.

    One that would come in the first half of the whole time says nothing that the order itself does not say; so an
    order of an hour has none.
    """
    for hours in COUNTDOWN_H:
        if 2 * hours * HOUR_S <= end_s - begin_s:
            yield end_s - hours * HOUR_S, hours


def due(begin_s: int, end_s: int, now_s: int, *, emergency: bool) -> Alarm | None:
    """The nearest announcement whose moment has come, of a window that has not ended; those before it say less."""
    names = EMERGENCY_ENDS if emergency else ENDS
    found = [names[hours] for when_s, hours in moments(begin_s, end_s) if when_s <= now_s < end_s]
    return found[-1] if found else None
