"""Rows of the mutation matrix: who signed, what was edited after, and the form of a signed object."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from typing import Any

from mediation.core.authority import jws
from mediation.core.case import Act, Role
from mediation.core.check import Check
from tests.core import authority as a
from tests.core.authority import KEYS, KIDS, NOW_S, PERSONS
from tests.core.mutation import (
    GOOD,
    Case,
    edit,
    edited,
    now,
    other,
    payload,
    replace,
    row,
    rows,
    with_commands,
)

# --- the tokens as wholes ---------------------------------------------------------------------------------------------

rows(
    Check.STRUCTURE,
    "token removed",
    {
        "legal": lambda: now(replace(GOOD, legal="")),
        "carrier": lambda: now(replace(GOOD, carrier="")),
        "command": lambda: now(replace(GOOD, commands=("",))),
        "signature": lambda: now(replace(GOOD, legal=GOOD.legal.rpartition(".")[0])),
        "signature emptied": lambda: now(replace(GOOD, legal=GOOD.legal.rpartition(".")[0] + ".")),
    },
)
row(Check.ACTIVATION, "no command at all")(lambda: now(replace(GOOD, commands=(), proofs=())))
rows(
    Check.TOKEN_TYPE,
    "token duplicated",
    {
        "legal as carrier": lambda: now(replace(GOOD, carrier=GOOD.legal)),
        "carrier as legal": lambda: now(replace(GOOD, legal=GOOD.carrier)),
        "carrier as command": lambda: now(replace(GOOD, commands=(GOOD.carrier,))),
    },
)
row(Check.TOKEN_TYPE, "tokens swapped")(lambda: now(replace(GOOD, legal=GOOD.carrier, carrier=GOOD.legal)))
row(Check.SEQUENCE, "command duplicated")(
    lambda: now(replace(GOOD, commands=GOOD.commands * 2, proofs=GOOD.proofs * 2))
)


# --- who signed -------------------------------------------------------------------------------------------------------


def resigned(role: Role, signer: Role) -> Case:
    """An order in which the token of `role` was signed by the person of `signer`, with that person's own key."""
    by = {"kid": KIDS[signer], "key": KEYS[signer]}
    legal = a.sign_legal(**by) if role is Role.LEGAL else a.sign_legal()
    carrier = a.sign_carrier(legal, **by) if role is Role.CARRIER else a.sign_carrier(legal)
    command = a.sign_command(carrier, **by) if role is Role.OFFICER else a.sign_command(carrier)
    return now(a.request(legal, carrier, command))


for _role in (Role.LEGAL, Role.CARRIER, Role.OFFICER):
    for _signer in Role:
        if _signer is not _role:
            row(Check.KEY_ROLE, f"{_role} token signed by the {_signer}")(
                lambda role=_role, signer=_signer: resigned(role, signer)
            )


def same_person(role: Role, person: Role) -> Case:
    """Two roles' rings each hold a key, but both keys are one person's."""
    extra = a.ring_key(KIDS[role], PERSONS[person], KEYS[role])
    return now(GOOD, a.trust(**{role.value: (extra,)}))


rows(
    Check.DISTINCT_PERSONS,
    "re-signed by the same person with a second key",
    {
        "carrier is legal": lambda: same_person(Role.CARRIER, Role.LEGAL),
        "officer is legal": lambda: same_person(Role.OFFICER, Role.LEGAL),
        "officer is carrier": lambda: same_person(Role.OFFICER, Role.CARRIER),
    },
)


def same_key(role: Role) -> Case:
    """One key stands in two rings under two names: for the order it is three persons."""
    shared = a.ring_key("shared-1", PERSONS[role], KEYS[Role.LEGAL])
    by = {"kid": "shared-1", "key": KEYS[Role.LEGAL]}
    legal = a.sign_legal()
    carrier = a.sign_carrier(legal, **(by if role is Role.CARRIER else {}))
    command = a.sign_command(carrier, **(by if role is Role.OFFICER else {}))
    return now(a.request(legal, carrier, command), a.trust(**{role.value: (shared,)}))


rows(
    Check.DISTINCT_KEYS,
    "one key under two persons",
    {"carrier": lambda: same_key(Role.CARRIER), "officer": lambda: same_key(Role.OFFICER)},
)
rows(
    Check.DISTINCT_ROLES,
    "a signer who also holds another role",
    {
        f"{role} is auditor": lambda role=role: now(
            GOOD, a.trust(auditor=(a.ring_key("auditor-1", PERSONS[role], a.private(7)),))
        )
        for role in (Role.LEGAL, Role.CARRIER, Role.OFFICER)
    },
)


def second_officer_is_legal() -> Case:
    """The second act is made by somebody who is also the legal reviewer: every act's signer is looked at."""
    officers = (
        a.ring_key(KIDS[Role.OFFICER], PERSONS[Role.OFFICER], KEYS[Role.OFFICER]),
        a.ring_key("officer-2", PERSONS[Role.LEGAL], a.private(7)),
    )
    second = {"act": Act.DDE, "sequence": 2, "kid": "officer-2", "key": a.private(7)}
    return now(with_commands({}, second), a.trust(officer=officers))


row(Check.DISTINCT_PERSONS, "a later act by the legal reviewer")(second_officer_is_legal)

for _role in (Role.LEGAL, Role.CARRIER, Role.OFFICER):
    row(Check.KEY_UNKNOWN, f"unknown kid: {_role}")(
        lambda role=_role: now(GOOD, a.trust(**{role.value: (a.ring_key("another", PERSONS[role], KEYS[role]),)}))
    )
    row(Check.SIGNATURE, f"right kid, another key: {_role}")(
        lambda role=_role: now(GOOD, a.trust(**{role.value: (a.ring_key(KIDS[role], PERSONS[role], a.private(7)),)}))
    )
    for _when, _dates in {
        "not valid when it signed": {"not_before_s": NOW_S - 10},
        "lapsed before it signed": {"not_after_s": NOW_S - 61},
        "lapsed before the entry": {"not_after_s": NOW_S},
        "begins after the entry": {"not_before_s": NOW_S + 1},
    }.items():
        row(Check.KEY_DATES, f"key {_when}: {_role}")(
            lambda role=_role, dates=_dates: now(
                GOOD, a.trust(**{role.value: (a.ring_key(KIDS[role], PERSONS[role], KEYS[role], **dates),)})
            )
        )


# --- edited after signing: every field of every token -----------------------------------------------------------------


for _field, _value in payload(GOOD.legal).items():
    row(Check.SIGNATURE, f"edited after signing: legal.{_field}")(
        lambda field=_field, value=_value: now(replace(GOOD, legal=edited(GOOD.legal, edit(field, other(value)))))
    )
for _field, _value in payload(GOOD.carrier).items():
    row(Check.SIGNATURE, f"edited after signing: carrier.{_field}")(
        lambda field=_field, value=_value: now(replace(GOOD, carrier=edited(GOOD.carrier, edit(field, other(value)))))
    )
for _field, _value in payload(GOOD.commands[0]).items():
    row(Check.SIGNATURE, f"edited after signing: command.{_field}")(
        lambda field=_field, value=_value: now(
            replace(GOOD, commands=(edited(GOOD.commands[0], edit(field, other(value))),))
        )
    )


# --- the form of a JWS ------------------------------------------------------------------------------------------------


def header(**changes: Any) -> Case:
    def change(found: dict[str, Any]) -> None:
        found.update(changes)

    return now(replace(GOOD, legal=edited(GOOD.legal, change, part=0)))


rows(
    Check.ALGORITHM,
    "algorithm",
    {
        alg: lambda alg=alg: header(alg=alg)
        for alg in ("none", "None", "HS256", "EdDSA", "ed25519", "ES256", "Ed448", "RS256", "")
    },
)
row(Check.ALGORITHM, "algorithm absent")(
    lambda: now(replace(GOOD, legal=edited(GOOD.legal, lambda found: found.pop("alg"), part=0)))
)
rows(
    Check.STRUCTURE,
    "header parameter",
    {
        name: lambda name=name, value=value: header(**{name: value})
        for name, value in {
            "crit": ["b64"], "b64": False, "jwk": {"kty": "OKP"}, "jku": "https://a.example", "x5c": ["AA"],
            "x5u": "https://a.example", "cty": "JWT", "kid": "../legal", "typ": 7,
        }.items()
    },
)  # fmt: skip


def text(change: Callable[[str], str]) -> Callable[[], Case]:
    return lambda: now(replace(GOOD, legal=change(GOOD.legal)))


def general_json(token: str) -> str:
    head, body, signature = token.split(".")
    one = {"protected": head, "signature": signature}
    return json.dumps({"payload": body, "signatures": [one, one]})


def loose_bits(token: str) -> str:
    """The same octets in another base64url spelling: the unused bits of the last character set."""
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    assert len(token.rpartition(".")[2]) % 4 == 2  # 64 octets leave four unused bits
    return token[:-1] + alphabet[alphabet.index(token[-1]) | 1]


def signed_anew(token: str, body: bytes) -> str:
    """Another payload under the legal reviewer's own signature."""
    signed = f"{token.partition('.')[0]}.{base64.urlsafe_b64encode(body).rstrip(b'=').decode()}"
    signature = base64.urlsafe_b64encode(KEYS[Role.LEGAL].sign(signed.encode())).rstrip(b"=").decode()
    return f"{signed}.{signature}"


def twice(token: str) -> str:
    """A payload that names its case twice, honestly signed: two readers could read two cases."""
    return signed_anew(token, jws.split(token).payload.replace(b'{"type"', b'{"case":"CASE-2","type"', 1))


def extended(token: str) -> str:
    """A payload with a member that this release does not know, honestly signed."""
    return signed_anew(token, jws.split(token).payload[:-1] + b',"sealed":true}')


def padded(token: str) -> str:
    """A payload that is longer than any order can be, by blanks alone, honestly signed."""
    return signed_anew(token, b" " * jws.MAX_TOKEN_OCTETS + jws.split(token).payload)


def headless(token: str) -> str:
    """A header that is JSON but no object."""
    return ".".join(["W10", *token.split(".")[1:]])


rows(
    Check.STRUCTURE,
    "form",
    {
        "two signatures, compact": text(lambda t: f"{t}.{t.rpartition('.')[2]}"),
        "two signatures, general JSON": text(general_json),
        "padding": text(lambda t: t + "=="),
        "base64 alphabet": text(lambda t: t.replace("-", "+").replace("_", "/") + "+"),
        "loose trailing bits": text(loose_bits),
        "line break": text(lambda t: t + "\n"),
        "blank before": text(lambda t: " " + t),
        "no JSON": text(lambda t: f"{t.split('.')[0]}.AAAA.{t.split('.')[2]}"),
        "member twice": text(twice),
        "unknown member": text(extended),
        "too long": text(padded),
        "header no object": text(headless),
        "not ASCII": text(lambda t: t + "\u0410"),
        "short signature": text(lambda t: t[:-2]),
    },
)
