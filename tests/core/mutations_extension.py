"""Rows of the mutation matrix: extensions, their two tokens, their act and their entries."""

from __future__ import annotations

from typing import Any

import msgspec

from mediation.core.authority import jws, particulars
from mediation.core.case import Act, Role, TaskRequest
from mediation.core.check import Check
from tests.core import authority as a
from tests.core.authority import KEYS, KIDS, LEGAL, NOW_S, PERSONS
from tests.core.mutation import GOOD, Case, edit, edited, now, replace, row, rows, with_commands

END_S = LEGAL.not_after_s

# --- extensions -------------------------------------------------------------------------------------------------------

EXTENDED = a.extended()
PAIR = (EXTENDED.extensions[0].legal, EXTENDED.extensions[0].carrier)


def extending(
    legal: dict[str, Any] | None = None, carrier: dict[str, Any] | None = None, act: dict[str, Any] | None = None,
    **record: Any,
) -> TaskRequest:  # fmt: skip
    """An extension whose tokens and act were honestly signed over something else, and all properly entered."""
    first = a.sign_legal_extension(GOOD.legal, **(legal or {}))
    second = a.sign_carrier_extension(GOOD.carrier, first, **(carrier or {}))
    facts = {"act": Act.EXTEND, "sequence": 2, "extension_sha256": jws.sha256_hex(second), **(act or {})}
    commands = (GOOD.commands[0], a.sign_command(GOOD.carrier, **facts))
    return a.request(GOOD.legal, GOOD.carrier, *commands, extensions=((first, second),), **record)


def entered_at(entered_s: int) -> Case:
    """A good extension, whose act was signed and entered then."""
    ledger = a.Ledger()
    first = ledger.add(a.record(GOOD.legal, GOOD.carrier, GOOD.commands[0]))
    index = ledger.add(a.filed_extension(GOOD.carrier, PAIR))
    act = a.sign_command(
        GOOD.carrier, act=Act.EXTEND, sequence=2, extension_sha256=jws.sha256_hex(PAIR[1]), issued_s=entered_s,
        expires_s=entered_s + 60,
    )  # fmt: skip
    facts = {"act": Act.EXTEND, "sequence": 2, "time_us": entered_s * 1_000_000}
    second = ledger.add(a.record(GOOD.legal, GOOD.carrier, act, **facts))
    proofs = tuple(ledger.proof(each) for each in (first, second))
    request = replace(
        EXTENDED, commands=(GOOD.commands[0], act), proofs=proofs,
        extensions=(replace_extension(proof=ledger.proof(index)),),
    )  # fmt: skip
    return request, a.trust(), entered_s * 1_000_000_000


def again(**legal: Any) -> Case:
    """A second extension after a good first."""
    second = a.sign_legal_extension(
        GOOD.legal, **{"previous_sha256": jws.sha256_hex(PAIR[0]), "not_after_s": END_S + 7200, **legal}
    )
    approved = a.sign_carrier_extension(GOOD.carrier, second)
    act = a.sign_command(GOOD.carrier, act=Act.EXTEND, sequence=3, extension_sha256=jws.sha256_hex(approved))
    commands = (*EXTENDED.commands, act)
    return now(a.request(GOOD.legal, GOOD.carrier, *commands, extensions=(PAIR, (second, approved))))


rows(
    Check.EXTENSION,
    "extension",
    {
        "ends as before": lambda: now(extending({"not_after_s": END_S})),
        "ends earlier": lambda: now(extending({"not_after_s": END_S - 1})),
        "first that follows another": lambda: now(extending({"previous_sha256": "00" * 32})),
        "second that follows none": lambda: again(previous_sha256=""),
        "second that ends as the first": lambda: again(not_after_s=END_S + 3600),
        "without its act": lambda: now(replace(GOOD, extensions=EXTENDED.extensions)),
        "act without it": lambda: now(replace(EXTENDED, extensions=())),
        "act of another": lambda: now(extending(act={"extension_sha256": "00" * 32})),
        "act that names none": lambda: now(extending(act={"extension_sha256": ""})),
        "named by another act": lambda: now(with_commands({"extension_sha256": "00" * 32})),
        "entered the second that it ends": lambda: entered_at(END_S),
    },
)  # fmt: skip
rows(
    Check.TERM,
    "extension too long",
    {
        "pen register": lambda: now(extending({"not_after_s": END_S + 60 * 86_400 + 1})),
    },
)
rows(
    Check.SAME_CASE,
    "extension of another case",
    {
        "legal": lambda: now(extending({"case": "CASE-2"})),
        "carrier": lambda: now(extending(carrier={"case": "CASE-2"})),
    },
)
rows(
    Check.LEGAL_BINDING,
    "extension bound to another",
    {
        "order": lambda: now(extending({"legal_sha256": "00" * 32})),
        "legal extension": lambda: now(extending(carrier={"extension_sha256": "00" * 32})),
    },
)
row(Check.CARRIER_BINDING, "extension's approval of another order")(
    lambda: now(extending(carrier={"carrier_sha256": "00" * 32}))
)
rows(
    Check.LAB_TOKEN,
    "lab extension",
    {"legal": lambda: now(extending({"lab": True})), "carrier": lambda: now(extending(carrier={"lab": True}))},
)
rows(
    Check.PARTICULARS,
    "extension",
    {
        "court": lambda: now(extending({"court": " "})),
        "judge": lambda: now(extending({"judge": ""})),
        "document": lambda: now(extending({"document_sha256": "AB" * 32})),
        "nonce": lambda: now(extending({"nonce": "short"})),
        "policy": lambda: now(extending(carrier={"policy_sha256": "none"})),
        "carrier nonce": lambda: now(extending(carrier={"nonce": ""})),
    },
)
row(Check.WINDOW_ORDER, "extension without end")(
    lambda: now(extending({"not_after_s": particulars.MAX_YEAR_S}))
)  # fmt: skip
rows(
    Check.COMMAND_DATES,
    "extension",
    {
        "legal signed after the entry": lambda: now(
            extending({"issued_s": NOW_S + 61}, {"issued_s": NOW_S + 61})
        ),
        "carrier signed after the entry": lambda: now(extending(carrier={"issued_s": NOW_S + 61})),
        "approved before it was signed": lambda: now(extending(carrier={"issued_s": NOW_S - 91})),
    },
)  # fmt: skip
for _role, _token in ((Role.LEGAL, "legal"), (Role.CARRIER, "carrier")):
    for _signer in Role:
        if _signer is not _role:
            row(Check.KEY_ROLE, f"extension's {_role} token signed by the {_signer}")(
                lambda token=_token, signer=_signer: now(
                    extending(**{token: {"kid": KIDS[signer], "key": KEYS[signer]}})
                )
            )
    row(Check.KEY_UNKNOWN, f"extension's {_role} token by a stranger")(
        lambda token=_token: now(extending(**{token: {"kid": "stranger-1", "key": a.private(50)}}))
    )
    row(Check.SIGNATURE, f"extension's {_role} token with another's signature")(
        lambda token=_token: now(extending(**{token: {"key": a.private(50)}}))
    )
    row(Check.KEY_DATES, f"extension's {_role} key not yet good")(
        lambda role=_role, token=_token: now(
            extending(**{token: {"kid": "second-1", "key": a.private(51)}}),
            a.trust(
                **{
                    role.value: (
                        a.ring_key(KIDS[role], PERSONS[role], KEYS[role]),
                        a.ring_key("second-1", PERSONS[role], a.private(51), not_before_s=NOW_S - 10),
                    )
                }
            ),
        )
    )


def by_second(role: Role, person: str, public: int = 52) -> Case:
    """The extension's token of a role by a second key of that role, which is `person`'s."""
    token = {"kid": "second-1", "key": a.private(public)}
    ring = (
        a.ring_key(KIDS[role], PERSONS[role], KEYS[role]),
        a.ring_key("second-1", person, a.private(public)),
    )
    return now(extending(**{role.value: token}), a.trust(**{role.value: ring}))


rows(
    Check.DISTINCT_PERSONS,
    "extension by one person",
    {
        "legal is carrier": lambda: by_second(Role.LEGAL, PERSONS[Role.CARRIER]),
        "carrier is officer": lambda: by_second(Role.CARRIER, PERSONS[Role.OFFICER]),
    },
)
row(Check.DISTINCT_ROLES, "extension by an auditor")(lambda: by_second(Role.LEGAL, PERSONS[Role.AUDITOR]))
rows(
    Check.REVOKED,
    "extension revoked",
    {
        "legal": lambda: now(EXTENDED, a.trust(revoked=(jws.sha256_hex(PAIR[0]),))),
        "carrier": lambda: now(EXTENDED, a.trust(revoked=(jws.sha256_hex(PAIR[1]),))),
    },
)
rows(
    Check.TOKEN_TYPE,
    "extension's tokens",
    {
        "swapped": lambda: _tokens(PAIR[1], PAIR[0]),
        "the order's own": lambda: _tokens(GOOD.legal, GOOD.carrier),
    },
)


def _tokens(legal: str, carrier: str) -> Case:
    act = a.sign_command(GOOD.carrier, act=Act.EXTEND, sequence=2, extension_sha256=jws.sha256_hex(carrier))
    request = a.request(GOOD.legal, GOOD.carrier, GOOD.commands[0], act)
    extension = replace_extension(legal=legal, carrier=carrier)
    return now(replace(request, extensions=(extension,)))


def replace_extension(**changes: Any) -> Any:
    return msgspec.structs.replace(EXTENDED.extensions[0], **changes)


for _field in ("not_after_s", "case", "previous_sha256", "court", "document_sha256"):
    row(Check.SIGNATURE, f"legal extension's {_field} edited")(
        lambda field=_field: _edited_extension(field)
    )  # fmt: skip


def _edited_extension(field: str) -> Case:
    value: Any = END_S + 90_000 if field == "not_after_s" else "1" * 64
    legal = edited(PAIR[0], edit(field, value))
    return now(replace(EXTENDED, extensions=(replace_extension(legal=legal),)))


def filed(**changes: Any) -> Case:
    """The ledger honestly holds an entry, but of something else than the extension."""
    ledger = a.Ledger()
    first = ledger.add(a.record(GOOD.legal, GOOD.carrier, EXTENDED.commands[0]))
    index = ledger.add(a.filed_extension(GOOD.carrier, PAIR, **changes))
    second = ledger.add(a.record(GOOD.legal, GOOD.carrier, EXTENDED.commands[1], act=Act.EXTEND, sequence=2))
    proofs = tuple(ledger.proof(each) for each in (first, second))
    return now(replace(EXTENDED, proofs=proofs, extensions=(replace_extension(proof=ledger.proof(index)),)))


rows(
    Check.PROOF_RECORD,
    "extension's record of another",
    {
        "case": lambda: filed(case="CASE-2"),
        "order": lambda: filed(carrier_sha256="00" * 32),
        "legal token": lambda: filed(legal_extension_sha256="00" * 32),
        "carrier token": lambda: filed(carrier_extension_sha256="00" * 32),
        "end": lambda: filed(not_after_s=END_S + 7200),
        "kind": lambda: now(replace(EXTENDED, extensions=(replace_extension(proof=EXTENDED.proofs[1]),))),
    },
)


def filed_after_its_act() -> Case:
    ledger = a.Ledger()
    indexes = [
        ledger.add(a.record(GOOD.legal, GOOD.carrier, text, act=act, sequence=number))
        for number, (text, act) in enumerate(zip(EXTENDED.commands, (Act.ACTIVATE, Act.EXTEND), strict=True), 1)
    ]
    late = ledger.add(a.filed_extension(GOOD.carrier, PAIR))
    proofs = tuple(ledger.proof(each) for each in indexes)
    return now(replace(EXTENDED, proofs=proofs, extensions=(replace_extension(proof=ledger.proof(late)),)))


def filed_before_the_activation() -> Case:
    ledger = a.Ledger()
    early = ledger.add(a.filed_extension(GOOD.carrier, PAIR))
    indexes = [
        ledger.add(a.record(GOOD.legal, GOOD.carrier, text, act=act, sequence=number))
        for number, (text, act) in enumerate(zip(EXTENDED.commands, (Act.ACTIVATE, Act.EXTEND), strict=True), 1)
    ]
    proofs = tuple(ledger.proof(each) for each in indexes)
    return now(replace(EXTENDED, proofs=proofs, extensions=(replace_extension(proof=ledger.proof(early)),)))


row(Check.PROOF_ORDER, "extension entered after its act")(filed_after_its_act)
row(Check.PROOF_ORDER, "extension entered before the activation")(filed_before_the_activation)
row(Check.EXPIRED, "the second an extended order ends")(lambda: (EXTENDED, a.trust(), (END_S + 3600) * 1_000_000_000))
