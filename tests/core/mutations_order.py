"""Rows of the mutation matrix: what binds the signatures, what the order says, the acts, the window."""

from __future__ import annotations

from typing import Any

import msgspec

from mediation.core.authority import authorization, jws, particulars
from mediation.core.case import Act, Authority, Capability, Destination, Role
from mediation.core.check import Check
from tests.core import authority as a
from tests.core.authority import KEYS, KIDS, LEGAL, NOW_NS, NOW_S, PERSONS
from tests.core.mutation import (
    GOOD,
    Case,
    now,
    order,
    replace,
    row,
    rows,
    with_commands,
)

# --- what binds the three ---------------------------------------------------------------------------------------------


def bound(carrier: dict[str, Any] | None = None, command: dict[str, Any] | None = None, **record: Any) -> Case:
    """An order whose later tokens were honestly signed over something else."""
    legal = a.sign_legal()
    second = a.sign_carrier(legal, **(carrier or {}))
    return now(a.request(legal, second, a.sign_command(second, **(command or {})), **record))


rows(
    Check.SAME_CASE,
    "other case",
    {
        "carrier": lambda: bound(carrier={"case": "CASE-2"}),
        "command": lambda: bound(command={"case": "CASE-2"}),
    },
)


def grafted(**changes: Any) -> Case:
    """The carrier's and officer's tokens of one order under the legal token of another, honestly signed."""
    legal = a.sign_legal(msgspec.structs.replace(LEGAL, **changes))
    return now(a.request(legal, GOOD.carrier, *GOOD.commands))


rows(
    Check.LEGAL_BINDING,
    "legal token exchanged",
    {
        "other agency": lambda: grafted(agency="OTHER"),
        "other destination": lambda: grafted(destination=msgspec.structs.replace(LEGAL.destination, host="192.0.2.10")),
        "other certificate": lambda: grafted(
            destination=msgspec.structs.replace(LEGAL.destination, certificate_sha256="00" * 32)
        ),
        "other target": lambda: grafted(subjects=("tel:+12125550199",)),
        "one more target": lambda: grafted(subjects=(*LEGAL.subjects, "tel:+12125550199")),
        "longer window": lambda: grafted(not_after_s=LEGAL.not_after_s + 1),
        "more capabilities": lambda: grafted(capabilities=(Capability.CALL_DATA,)),
        "other authority": lambda: grafted(authority=Authority.TITLE_III),
        "other nonce": lambda: grafted(nonce="99" * 16),
    },
)


def replayed() -> Case:
    """The officer's act on one order, replayed on another order of the same case by the same persons."""
    carrier = a.sign_carrier(GOOD.legal, nonce="77" * 16)
    return now(a.request(GOOD.legal, carrier, *GOOD.commands))


row(Check.CARRIER_BINDING, "command of another order of the case")(replayed)


# --- what the order says ----------------------------------------------------------------------------------------------

rows(
    Check.CASE_IDENTITY,
    "case identity",
    {repr(case): lambda case=case: order(case=case) for case in ("", "x" * 26, " CASE", "CASE ", "CASE\n1", "CASÉ")},
)
rows(
    Check.AGENCY,
    "agency",
    {repr(name): lambda name=name: order(agency=name) for name in ("", "../spool", "a/b", ".hidden", "x" * 64, "A B")},
)
rows(
    Check.SUBJECTS,
    "subjects",
    {
        "none": lambda: order(subjects=()),
        "too many": lambda: order(subjects=tuple(f"tel:+1212555{n:04}" for n in range(65))),
        "one twice": lambda: order(subjects=LEGAL.subjects * 2),
        "one bad among good": lambda: order(subjects=(*LEGAL.subjects, "+12125550199")),
        "no URI": lambda: order(subjects=("+12125550100",)),
        "another scheme": lambda: order(subjects=("mailto:a@example.org",)),
        "empty": lambda: order(subjects=("tel:",)),
        "blank inside": lambda: order(subjects=("tel:+1 212",)),
        "too long": lambda: order(subjects=("sip:" + "a" * 252,)),
    },
)
rows(
    Check.CAPABILITIES,
    "capabilities",
    {
        "none": lambda: order(capabilities=()),
        "digits without call data": lambda: order(capabilities=(Capability.DIGITS,)),
        "one twice": lambda: order(capabilities=(Capability.CALL_DATA, Capability.CALL_DATA)),
    },
)
rows(
    Check.AUTHORITY,
    "beyond the authority",
    {
        f"{authority} asks for {capability}": lambda authority=authority, capability=capability: order(
            authority=authority, capabilities=(Capability.CALL_DATA, capability)
        )
        for authority in (Authority.PEN_REGISTER, Authority.TRAP_AND_TRACE)
        for capability in (Capability.CONTENT, Capability.LOCATION)
    },
)
rows(
    Check.DESTINATION,
    "destination",
    {
        **{
            f"host {host!r}": lambda host=host: order(
                destination=Destination(host=host, port=1, certificate_sha256="ab" * 32)
            )
            for host in ("", "a b", "256.1.1.1", "1.2.3", "-a.example", "a" * 64, "fe80::1%eth0", "0.0.0.0", "ff02::1",
                         "a..b", "a.example.", "224.0.0.1", "x." * 127 + "xx")
        },
        **{
            f"port {port}": lambda port=port: order(
                destination=Destination(host="a.example", port=port, certificate_sha256="ab" * 32)
            )
            for port in (0, -1, 65_536)
        },
        **{
            f"certificate {digest[:4]!r}": lambda digest=digest: order(
                destination=Destination(host="a.example", port=1, certificate_sha256=digest)
            )
            for digest in ("", "AB" * 32, "ab" * 31, "zz" * 32)
        },
    },
)  # fmt: skip
rows(
    Check.WINDOW_ORDER,
    "window",
    {
        "ends as it begins": lambda: order(not_after_s=LEGAL.not_before_s),
        "ends before it begins": lambda: order(not_before_s=NOW_S, not_after_s=NOW_S - 1),
        "before 1970": lambda: order(not_before_s=-1),
        "without end": lambda: order(not_after_s=particulars.MAX_YEAR_S),
    },
)
rows(
    Check.PARTICULARS,
    "particulars",
    {
        **{
            f"{field} {value[:3]!r}": lambda field=field, value=value: order(**{field: value})
            for field in ("court", "judge", "presenting_officer")
            for value in ("", "   ", "a\nb", "x" * 201, "a\u202eb")
        },
        "document": lambda: order(document_sha256="AB" * 32),
        "nonce": lambda: order(nonce="short"),
        "policy": lambda: bound(carrier={"policy_sha256": "none"}),
        "carrier nonce": lambda: bound(carrier={"nonce": ""}),
        "command nonce": lambda: bound(command={"nonce": ""}),
    },
)
rows(
    Check.IAPS,
    "access points",
    {
        **{f"a name of {n}": lambda n=n: bound(carrier={"iaps": ("x" * n,)}) for n in (0, 16)},
        "one twice": lambda: bound(carrier={"iaps": ("a", "a")}),
        "too many": lambda: bound(carrier={"iaps": tuple(f"iap{n}" for n in range(65))}),
    },
)


# --- the officer's acts -----------------------------------------------------------------------------------------------

rows(
    Check.ACTIVATION,
    "activation",
    {
        "absent": lambda: now(with_commands({"act": Act.DDE, "dde": True})),
        "only a deactivation": lambda: now(with_commands({"act": Act.DEACTIVATE})),
        "twice": lambda: now(with_commands({}, {"sequence": 2})),
    },
)
rows(
    Check.SEQUENCE,
    "sequence",
    {
        "begins with 0": lambda: now(with_commands({"sequence": 0})),
        "begins with 2": lambda: now(with_commands({"sequence": 2})),
        "a gap": lambda: now(with_commands({}, {"act": Act.DDE, "sequence": 3})),
        "a repeat": lambda: now(with_commands({}, {"act": Act.DDE, "sequence": 1})),
        "out of order": lambda: now(
            with_commands({}, {"act": Act.DDE, "sequence": 3}, {"act": Act.DDE, "sequence": 2})
        ),
    },
)
rows(
    Check.DEACTIVATED,
    "after the end",
    {
        "deactivated": lambda: now(with_commands({}, {"act": Act.DEACTIVATE, "sequence": 2})),
        "an act after it": lambda: now(
            with_commands({}, {"act": Act.DEACTIVATE, "sequence": 2}, {"act": Act.DDE, "sequence": 3, "dde": True})
        ),
    },
)
row(Check.STRUCTURE, "too many acts")(
    lambda: now(replace(GOOD, commands=GOOD.commands * (authorization.MAX_COMMANDS + 1)))
)


def no_digits() -> Case:
    legal = a.sign_legal(msgspec.structs.replace(LEGAL, capabilities=(Capability.CALL_DATA,)))
    carrier = a.sign_carrier(legal)
    return now(a.request(legal, carrier, a.sign_command(carrier, dde=True)))


row(Check.DDE_CAPABILITY, "digits that were not ordered")(no_digits)
rows(
    Check.REVOKED,
    "revoked",
    {
        "legal": lambda: now(GOOD, a.trust(revoked=(jws.sha256_hex(GOOD.legal),))),
        "carrier": lambda: now(GOOD, a.trust(revoked=(jws.sha256_hex(GOOD.carrier),))),
        "learned later": lambda: now(GOOD, a.trust().with_revoked((jws.sha256_hex(GOOD.legal),))),
    },
)
rows(
    Check.LAB_TOKEN,
    "lab tokens",
    {
        "legal": lambda: order(lab=True),
        "carrier": lambda: bound(carrier={"lab": True}),
        "command": lambda: bound(command={"lab": True}),
    },
)


def lab_site(**changes: bool) -> Case:
    """A lab site, where everything is the lab's but what `changes` says."""
    facts = {"legal": True, "carrier": True, "officer": True, "keys": True, **changes}
    rings = {
        role.value: (a.ring_key(KIDS[role], PERSONS[role], KEYS[role], lab=facts["keys"]),)
        for role in (Role.LEGAL, Role.CARRIER, Role.OFFICER)
    }
    legal = a.sign_legal(msgspec.structs.replace(LEGAL, lab=facts["legal"]))
    carrier = a.sign_carrier(legal, lab=facts["carrier"])
    command = a.sign_command(carrier, lab=facts["officer"])
    return now(a.request(legal, carrier, command), a.trust(lab=True, **rings))


rows(
    Check.LAB_TOKEN,
    "real tokens on a lab site",
    {
        "legal": lambda: lab_site(legal=False),
        "carrier": lambda: lab_site(carrier=False),
        "command": lambda: lab_site(officer=False),
    },
)
row(Check.LAB_KEY, "real keys on a lab site")(lambda: lab_site(keys=False))
for _role in (Role.LEGAL, Role.CARRIER, Role.OFFICER):
    row(Check.LAB_KEY, f"lab key on a real site: {_role}")(
        lambda role=_role: now(
            GOOD, a.trust(**{role.value: (a.ring_key(KIDS[role], PERSONS[role], KEYS[role], lab=True),)})
        )
    )


# --- the window -------------------------------------------------------------------------------------------------------

row(Check.NOT_YET_VALID, "a nanosecond before the window")(
    lambda: (a.good(not_before_s=NOW_S + 10), a.trust(), NOW_NS + 10_000_000_000 - 1)
)
row(Check.EXPIRED, "the second the window ends")(lambda: (GOOD, a.trust(), LEGAL.not_after_s * 1_000_000_000))
