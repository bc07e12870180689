"""Words for the names that entries use: kinds, types of authority, alarms.

Answers for a page that a lawyer reads; the names stay beside them, because they are what the ledger says.
"""

from __future__ import annotations

KINDS = {
    "site-made": "the ledger began",
    "keys-loaded": "the administrator started",
    "order-filed": "an order was filed, with both authorizations",
    "command-accepted": "an officer's act",
    "outcome": "what a function answered when it was told",
    "expired": "an order ended by its own time",
    "revoked": "an authorization was withdrawn",
    "agency-revoked": "all authority of an agency was withdrawn",
    "refused": "an attempt without authority was refused",
    "recovered": "the administrator stopped between an entry and its act, and recovered",
    "padding": "padding, which says nothing",
    "roster-changed": "persons, roles or keys were changed",
    "extension-filed": "an extension was filed, with both authorizations",
    "call-back-filed": "the agency of an emergency order was called back",
    "sealed": "an order's records wait for the end of their retention",
    "destroyed": "an order's records were destroyed",
    "held": "a duty to preserve a case's records began or ended",
    "alarm": "an alarm",
    "witnesses-lost": "no quorum of witnesses could be reached",
    "witnesses-found": "a quorum of witnesses was there again",
    "stamped": "a time stamp was obtained (RFC 3161)",
    "certificate-drafted": "a certification was drafted (47 CFR 1.20004(a))",
    "certificate-signed": "a certification was signed",
    "statement-drafted": "a month's statement of completeness was drafted (47 CFR 1.20004(c))",
    "statement-signed": "a month's statement was signed",
    "plan-adopted": "a plan of policies was adopted or filed (47 CFR 1.20003, 1.20005)",
    "amendment-opened": "a change that must be filed within 90 days (47 CFR 1.20005(a))",
    "modification-ordered": "the Commission ordered the policies modified (47 CFR 1.20005(b))",
    "contact-tested": "the 7x24 contact was called",
    "reconciled": "what copies traffic was compared with cases and certifications",
    "incident": "a compromise or an unlawful interception was found (47 CFR 1.20003(c))",
    "code-identity": "the hashes of the daemon's code and settings",
    "case-read": "somebody read case data, and why",
    "sample-drawn": "an auditor committed the seed of a sample",
}

FIELDS = {  # of a certification, 47 CFR 1.20004(a)(1)
    "i": "numbers",
    "ii": "enabled",
    "iii": "presented by",
    "iv": "signed by",
    "v": "kind",
    "vi": "responsible",
}

AUTHORITIES = {
    "pen-register": "pen register (18 USC 3123)",
    "trap-and-trace": "trap and trace (18 USC 3123)",
    "title3": "Title III (18 USC 2518)",
    "fisa": "FISA (50 USC 1805)",
    "emergency-pen-register": "emergency pen register (18 USC 3125)",
    "emergency-trap-and-trace": "emergency trap and trace (18 USC 3125)",
    "emergency-title3": "emergency Title III (18 USC 2518(7))",
    "emergency-fisa": "emergency FISA (50 USC 1805(e))",
}

ALARMS = {
    "ends-in-72h": "the order ends in 72 hours",
    "ends-in-24h": "the order ends in 24 hours",
    "ends-in-4h": "the order ends in 4 hours",
    "ends-in-1h": "the order ends in an hour",
    "emergency-ends-in-72h": "the emergency order ends in 72 hours, and needs an ordinary order before",
    "emergency-ends-in-24h": "the emergency order ends in 24 hours, and needs an ordinary order before",
    "emergency-ends-in-4h": "the emergency order ends in 4 hours, and needs an ordinary order before",
    "emergency-ends-in-1h": "the emergency order ends in an hour, and needs an ordinary order before",
    "emergency-lapsed": "an emergency order ended, and no ordinary order has taken its place",
    "certificate-due": "an interception is not certified after 24 hours",
    "certificate-overdue": "an interception is not certified after 72 hours",
    "statement-due": "a month's statement is not signed a week after it (47 CFR 1.20004(c))",
    "statement-overdue": "a month's statement is not signed two weeks after it",
    "amendment-due": "a change of the policies must be filed soon (47 CFR 1.20005)",
    "amendment-overdue": "a change of the policies was not filed within 90 days",
    "modification-due": "what the Commission ordered modified is to be filed soon (1.20005(b))",
    "modification-overdue": "what the Commission ordered modified was not filed in time",
    "contact-due": "the 7x24 contact was not called this month (47 CFR 1.20003(b)(4)(ii))",
    "contact-overdue": "a month has passed in which no call reached the 7x24 contact",
    "contact-missed": "the 7x24 contact was called, and nobody answered",
    "witnesses-away": "no quorum of witnesses: activations, extensions and changes wait",
    "witnesses-conflict": "a witness knows another history of the ledger",
    "ledger-replaced": "the ledger, or its store, is an older one than a witness has seen",
    "lease-ending": "the witnesses' grace is nearly over: running cases stop with it",
    "order-lost": "the store has lost an order that the ledger knows as activated: it is stopped",
    "disk-full": "the ledger or the store cannot be written: nothing can be begun, stops are carried out",
    "function-refused": "a function refuses an order that the administration finds good",
    "function-silent": "a function is connected and does not answer: it stands still",
    "unauthorized-tap": "a tap was found that belongs to no case",
    "incident": "a compromise or an unlawful interception is to be reported (47 CFR 1.20003(c))",
    "code-changed": "the daemon's code, configuration or adapters changed while it ran",
    "egress-refused": "the delivery function tried to send where no live order sends",
    "honey-case": "somebody read a case that nobody ordered",
    "reconciler-silent": "the reconciler has reported nothing for two intervals: nobody looks",
    "reconciler-blind": "the reconciler cannot look at something that it could look at before",
    "tap-gone": "cases are live and their tap is not there",
    "ledger-edited": "old padding of the ledger is not what was entered",
    "authentication": "too many requests at the control socket were refused",
}


def authority(name: str) -> str:
    return AUTHORITIES.get(name, name)
