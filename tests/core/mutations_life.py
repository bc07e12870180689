"""Rows of the mutation matrix: terms, suspension, and the call-back of an emergency order."""

from __future__ import annotations

from typing import Any

import msgspec

from mediation.core.authority import jws, term
from mediation.core.case import Act, Authority, Capability, Role
from mediation.core.check import Check
from tests.core import authority as a
from tests.core.authority import KEYS, KIDS, LEGAL, NOW_S, PERSONS
from tests.core.mutation import GOOD, Case, edit, edited, now, order, replace, row, rows, with_commands

END_S = LEGAL.not_after_s

# --- terms ------------------------------------------------------------------------------------------------------------

rows(
    Check.TERM,
    "a second too long",
    {
        authority: lambda authority=authority, limit=limit: order(
            authority=authority,
            not_before_s=NOW_S - 60,
            not_after_s=NOW_S - 59 + limit.seconds,
            term_days=term.FISA_PERIODS_DAYS[-1] if authority is Authority.FISA else 0,
        )
        for authority, limit in term.LIMITS.items()
    },
)
rows(
    Check.TERM,
    "stated period",
    {
        "of FISA, none": lambda: order(authority=Authority.FISA, not_after_s=LEGAL.not_before_s + 90 * 86_400 + 1),
        "of FISA, 120 days": lambda: order(
            authority=Authority.FISA, term_days=120, not_after_s=LEGAL.not_before_s + 120 * 86_400 + 1
        ),
        "of FISA, one that no statute knows": lambda: order(authority=Authority.FISA, term_days=366),
        "of another type": lambda: order(term_days=60),
    },
)


def shorter_on_this_site() -> Case:
    trust = a.trust()
    trust.terms = term.Terms(shorter={Authority.PEN_REGISTER: END_S - LEGAL.not_before_s - 1})
    return now(GOOD, trust)


row(Check.TERM, "longer than the site's own limit")(shorter_on_this_site)


# --- suspension -------------------------------------------------------------------------------------------------------

rows(
    Check.SUSPENSION,
    "suspension",
    {
        "twice": lambda: now(
            with_commands({}, {"act": Act.SUSPEND, "sequence": 2}, {"act": Act.SUSPEND, "sequence": 3})
        ),
        "resumed without one": lambda: now(with_commands({}, {"act": Act.RESUME, "sequence": 2})),
        "resumed twice": lambda: now(
            with_commands(
                {},
                {"act": Act.SUSPEND, "sequence": 2},
                {"act": Act.RESUME, "sequence": 3},
                {"act": Act.RESUME, "sequence": 4},
            )
        ),
    },
)


# --- emergencies ------------------------------------------------------------------------------------------------------

EMERGENCY = a.good(authority=Authority.EMERGENCY_PEN_REGISTER)


def called(**changes: Any) -> Case:
    """An emergency order whose call-back was honestly signed over something else."""
    call_back = a.sign_call_back(EMERGENCY.legal, **changes)
    return now(a.request(EMERGENCY.legal, EMERGENCY.carrier, *EMERGENCY.commands, call_back=call_back))


def emergency_extended(not_after_s: int) -> Case:
    first = a.sign_legal_extension(EMERGENCY.legal, not_after_s=not_after_s)
    second = a.sign_carrier_extension(EMERGENCY.carrier, first)
    act = a.sign_command(EMERGENCY.carrier, act=Act.EXTEND, sequence=2, extension_sha256=jws.sha256_hex(second))
    return now(
        a.request(
            EMERGENCY.legal, EMERGENCY.carrier, *EMERGENCY.commands, act,
            extensions=((first, second),), call_back=EMERGENCY.call_back,
        )
    )  # fmt: skip


row(Check.TERM, "extension of an emergency order beyond its 48 hours")(
    lambda: emergency_extended(LEGAL.not_before_s + 48 * 3600 + 1)
)
rows(
    Check.CALL_BACK,
    "call-back",
    {
        **{
            f"none for {authority}": lambda authority=authority: now(
                replace(a.good(authority=authority), call_back="", call_back_proof=None)
            )
            for authority in Authority
            if authority.emergency
        },
        "of an ordinary order": lambda: now(
            a.request(GOOD.legal, GOOD.carrier, *GOOD.commands, call_back=a.sign_call_back(GOOD.legal))
        ),
        "answered no": lambda: called(answer="denied"),
        "of another agency": lambda: called(agency="OTHER"),
        "before the order was read": lambda: called(called_s=NOW_S - 121),
        "after it was signed": lambda: called(called_s=NOW_S - 44),
    },
)
row(Check.CALL_BACK, "call-back to the number in the letter")(lambda: called(directory_number="+12125550666"))
rows(
    Check.AGENCY_CONTACT,
    "contact",
    {
        "none": lambda: now(GOOD, a.trust(contacts=())),
        "of another agency": lambda: now(
            GOOD, a.trust(contacts=(msgspec.structs.replace(a.CONTACT, agency="OTHER"),))
        ),
        "a second too young": lambda: now(
            GOOD, a.trust(contacts=(msgspec.structs.replace(a.CONTACT, from_s=NOW_S + 1),))
        ),
        "unknown when it was called": lambda: now(
            EMERGENCY, a.trust(contacts=(msgspec.structs.replace(a.CONTACT, from_s=NOW_S - 47),))
        ),
    },
)  # fmt: skip
row(Check.SAME_CASE, "call-back of another case")(lambda: called(case="CASE-2"))
row(Check.LEGAL_BINDING, "call-back for another order")(lambda: called(legal_sha256="00" * 32))
row(Check.LAB_TOKEN, "lab call-back")(lambda: called(lab=True))
rows(
    Check.PARTICULARS,
    "call-back",
    {
        "nobody answered": lambda: called(answered_by=" "),
        "no number": lambda: called(directory_number=""),
        "nonce": lambda: called(nonce=""),
    },
)
rows(
    Check.KEY_ROLE,
    "call-back by",
    {
        f"the {role}": lambda role=role: called(kid=KIDS[role], key=KEYS[role])
        for role in Role
        if role not in (Role.OFFICER, Role.CARRIER)
    },
)
row(Check.KEY_UNKNOWN, "call-back by a stranger")(lambda: called(kid="stranger-1", key=a.private(50)))
row(Check.SIGNATURE, "call-back edited")(
    lambda: now(replace(EMERGENCY, call_back=edited(EMERGENCY.call_back, edit("directory_number", "+1 212 555 0666"))))
)


def by_the_reviewer() -> Case:
    """An officer's second key that is the legal reviewer's: the call-back is by the one who attests the order."""
    ring = (
        a.ring_key(KIDS[Role.OFFICER], PERSONS[Role.OFFICER], KEYS[Role.OFFICER]),
        a.ring_key("second-1", PERSONS[Role.LEGAL], a.private(53)),
    )
    request, _, now_ns = called(kid="second-1", key=a.private(53))
    return request, a.trust(officer=ring), now_ns


def by_an_auditor() -> Case:
    ring = (
        a.ring_key(KIDS[Role.OFFICER], PERSONS[Role.OFFICER], KEYS[Role.OFFICER]),
        a.ring_key("second-1", PERSONS[Role.AUDITOR], a.private(53)),
    )
    request, _, now_ns = called(kid="second-1", key=a.private(53))
    return request, a.trust(officer=ring), now_ns


row(Check.DISTINCT_PERSONS, "call-back by the legal reviewer")(by_the_reviewer)
row(Check.DISTINCT_ROLES, "call-back by an auditor")(by_an_auditor)
row(Check.COMMAND_DATES, "call-back signed after the activation")(lambda: called(issued_s=NOW_S + 61))
row(Check.REVOKED, "call-back withdrawn")(
    lambda: now(EMERGENCY, a.trust(revoked=(jws.sha256_hex(EMERGENCY.call_back),)))
)
row(Check.PROOF_COUNT, "call-back without an entry")(lambda: now(replace(EMERGENCY, call_back_proof=None)))
row(Check.PROOF_COUNT, "entry of a call-back alone")(
    lambda: now(replace(GOOD, call_back_proof=EMERGENCY.call_back_proof))
)


def called_in_the_ledger(*, late: bool = False, **changes: Any) -> Case:
    ledger = a.Ledger()
    if late:
        act = ledger.add(a.record(EMERGENCY.legal, EMERGENCY.carrier, EMERGENCY.commands[0]))
        index = ledger.add(a.filed_call_back(EMERGENCY.legal, EMERGENCY.call_back, **changes))
    else:
        index = ledger.add(a.filed_call_back(EMERGENCY.legal, EMERGENCY.call_back, **changes))
        act = ledger.add(a.record(EMERGENCY.legal, EMERGENCY.carrier, EMERGENCY.commands[0]))
    return now(replace(EMERGENCY, proofs=(ledger.proof(act),), call_back_proof=ledger.proof(index)))


rows(
    Check.PROOF_RECORD,
    "call-back's record of another",
    {
        "case": lambda: called_in_the_ledger(case="CASE-2"),
        "legal token": lambda: called_in_the_ledger(legal_sha256="00" * 32),
        "call-back": lambda: called_in_the_ledger(call_back_sha256="00" * 32),
        "kind": lambda: now(replace(EMERGENCY, call_back_proof=EMERGENCY.proofs[0])),
    },
)
row(Check.PROOF_ORDER, "call-back entered after the activation")(lambda: called_in_the_ledger(late=True))
row(Check.EXPIRED, "the second an emergency order ends")(
    lambda: (
        a.good(authority=Authority.EMERGENCY_PEN_REGISTER, not_after_s=END_S),
        a.trust(),
        END_S * 1_000_000_000,
    )
)
rows(
    Check.AUTHORITY,
    "an emergency gives no more",
    {
        f"{authority} asks for {capability}": lambda authority=authority, capability=capability: order(
            authority=authority, capabilities=(Capability.CALL_DATA, capability)
        )
        for authority in (Authority.EMERGENCY_PEN_REGISTER, Authority.EMERGENCY_TRAP_AND_TRACE)
        for capability in (Capability.CONTENT, Capability.LOCATION)
    },
)
