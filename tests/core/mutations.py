"""The mutation matrix of SEC-16 and SEC-27: every way an authority can be wrong, each with the check that must say so.

Each row spoils one thing only, so that all other checks pass: without the named guard the row would be admitted, or
refused by another name. `ROWS` is for whoever calls `admit`: in this process, and in each function's own.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from typing import Any

import msgspec

from mediation.core import authorization, entry, jws, note
from mediation.core.case import Act, Authority, Capability, Destination, Role, TaskRequest
from mediation.core.check import Check
from mediation.core.trust import Trust
from tests.core import authority as a
from tests.core.authority import KEYS, KIDS, LEGAL, NOW_NS, NOW_S, PERSONS

Case = tuple[TaskRequest, Trust, int]
ROWS: dict[str, tuple[Check, Callable[[], Case]]] = {}


def row(check: Check, name: str) -> Callable[[Callable[[], Case]], Callable[[], Case]]:
    def keep(make: Callable[[], Case]) -> Callable[[], Case]:
        assert name not in ROWS
        ROWS[name] = (check, make)
        return make

    return keep


def rows(check: Check, name: str, cases: dict[str, Callable[[], Case]]) -> None:
    for each, make in cases.items():
        row(check, f"{name}: {each}")(make)


def now(request: TaskRequest, trust: Trust | None = None) -> Case:
    return request, trust or a.trust(), NOW_NS


def order(**changes: Any) -> Case:
    """A whole order, honestly signed by everybody, with these fields in the legal token."""
    return now(a.good(**changes))


def replace(request: TaskRequest, **changes: Any) -> TaskRequest:
    return msgspec.structs.replace(request, **changes)


def with_commands(*acts: dict[str, Any], **changes: Any) -> TaskRequest:
    """An order with these officer's acts, all properly entered."""
    legal = a.sign_legal()
    carrier = a.sign_carrier(legal)
    texts = [a.sign_command(carrier, **act) for act in acts]
    return a.request(legal, carrier, *texts, **changes)


def edited(text: str, change: Callable[[dict[str, Any]], None], part: int = 1) -> str:
    """A token whose payload (or header) was changed after signing; the signature is the old one."""
    pieces = text.split(".")
    value = json.loads(base64.urlsafe_b64decode(pieces[part] + "=="))
    change(value)
    octets = json.dumps(value, separators=(",", ":")).encode()
    pieces[part] = base64.urlsafe_b64encode(octets).rstrip(b"=").decode()
    return ".".join(pieces)


def payload(text: str) -> dict[str, Any]:
    found = json.loads(jws.split(text).payload)
    assert isinstance(found, dict)
    return found


GOOD = a.good()


def other(value: Any) -> Any:
    """Another value of the same kind."""
    match value:
        case bool():
            return not value
        case int():
            return value + 1
        case str():
            return "1" * 64 if len(value) == 64 else f"{value}x"
        case list():
            return [*value, "tel:+12125550199"]
        case dict():
            return {**value, "port": value["port"] + 1}
    raise TypeError(value)


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
    }.items():
        row(Check.KEY_DATES, f"key {_when}: {_role}")(
            lambda role=_role, dates=_dates: now(
                GOOD, a.trust(**{role.value: (a.ring_key(KIDS[role], PERSONS[role], KEYS[role], **dates),)})
            )
        )


# --- edited after signing: every field of every token -----------------------------------------------------------------


def edit(field: str, value: Any) -> Callable[[dict[str, Any]], None]:
    return lambda found: found.update({field: value})


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


def twice(token: str) -> str:
    """A payload that names its case twice, honestly signed: two readers could read two cases."""
    body = jws.split(token).payload.replace(b'{"type"', b'{"case":"CASE-2","type"', 1)
    head = token.partition(".")[0]
    signed = f"{head}.{base64.urlsafe_b64encode(body).rstrip(b'=').decode()}"
    signature = base64.urlsafe_b64encode(KEYS[Role.LEGAL].sign(signed.encode())).rstrip(b"=").decode()
    return f"{signed}.{signature}"


def extended(token: str) -> str:
    """A payload with a member that this release does not know, honestly signed."""
    body = jws.split(token).payload[:-1] + b',"sealed":true}'
    head = token.partition(".")[0]
    signed = f"{head}.{base64.urlsafe_b64encode(body).rstrip(b'=').decode()}"
    signature = base64.urlsafe_b64encode(KEYS[Role.LEGAL].sign(signed.encode())).rstrip(b"=").decode()
    return f"{signed}.{signature}"


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
        "too long": text(lambda t: t + "A" * jws.MAX_TOKEN_OCTETS),
        "not ASCII": text(lambda t: t + "\u0410"),
        "short signature": text(lambda t: t[:-2]),
    },
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
        "without end": lambda: order(not_after_s=1 << 40),
    },
)
rows(
    Check.PARTICULARS,
    "particulars",
    {
        **{
            f"{field} {value[:3]!r}": lambda field=field, value=value: order(**{field: value})
            for field in ("court", "judge", "presenting_officer")
            for value in ("", "   ", "a\nb", "x" * 201)
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
        "too long a name": lambda: bound(carrier={"iaps": ("x" * 16,)}),
        "empty name": lambda: bound(carrier={"iaps": ("",)}),
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


# --- the ledger's proof -----------------------------------------------------------------------------------------------


def proof(**changes: Any) -> Case:
    return now(replace(GOOD, proofs=(msgspec.structs.replace(GOOD.proofs[0], **changes),)))


def recorded(**changes: Any) -> Case:
    """The ledger honestly holds a record, but of something else than the act."""
    return now(a.request(GOOD.legal, GOOD.carrier, *GOOD.commands, **changes))


rows(
    Check.PROOF_COUNT,
    "proofs",
    {"none": lambda: now(replace(GOOD, proofs=())), "one more": lambda: now(replace(GOOD, proofs=GOOD.proofs * 2))},
)
rows(
    Check.PROOF_RECORD,
    "record of another",
    {
        "case": lambda: recorded(case="CASE-2"),
        "act": lambda: recorded(act=Act.DDE),
        "sequence": lambda: recorded(sequence=2),
        "legal token": lambda: recorded(legal_sha256="00" * 32),
        "carrier token": lambda: recorded(carrier_sha256="00" * 32),
        "command": lambda: recorded(command_sha256="00" * 32),
    },
)


def another_kind() -> Case:
    ledger = a.Ledger()
    index = ledger.add(entry.encode(entry.Expired(time_us=NOW_S * 1_000_000, case="CASE-1", carrier_sha256="00" * 32)))
    return now(replace(GOOD, proofs=(ledger.proof(index),)))


row(Check.PROOF_RECORD, "record of another kind")(another_kind)


def forged_ledger(signer: note.Signer) -> Case:
    return now(a.request(GOOD.legal, GOOD.carrier, *GOOD.commands, ledger=a.Ledger(signer)))


rows(
    Check.PROOF_CHECKPOINT,
    "checkpoint",
    {
        "of another key": lambda: forged_ledger(note.Signer(a.ORIGIN, a.private(8))),
        "of another ledger": lambda: forged_ledger(note.Signer("other/ledger", a.private(9))),
        "edited size": lambda: proof(checkpoint=GOOD.proofs[0].checkpoint.replace("\n2\n", "\n3\n")),
        "unsigned": lambda: proof(checkpoint=GOOD.proofs[0].checkpoint.rpartition("\n\n")[0] + "\n\n"),
        "empty": lambda: proof(checkpoint=""),
    },
)
rows(
    Check.PROOF_INCLUSION,
    "inclusion",
    {
        "edited record": lambda: proof(
            record=GOOD.proofs[0].record.replace(str(NOW_S * 1_000_000), str(NOW_S * 1_000_000 - 1))
        ),
        "another salt": lambda: proof(salt="00" * 32),
        "another index": lambda: proof(index=0),
        "index outside": lambda: proof(index=2),
        "negative index": lambda: proof(index=-1),
        "short path": lambda: proof(path=()),
        "long path": lambda: proof(path=GOOD.proofs[0].path * 2),
        "another path": lambda: proof(path=("00" * 32,)),
    },
)
rows(
    Check.STRUCTURE,
    "proof",
    {
        "salt of another length": lambda: proof(salt=GOOD.proofs[0].salt + "00"),
        "salt no hex": lambda: proof(salt="zz" * 32),
        "path of another length": lambda: proof(path=("00" * 31,)),
        "record no record": lambda: proof(record="{}"),
    },
)


def out_of_order() -> Case:
    legal = a.sign_legal()
    carrier = a.sign_carrier(legal)
    first, second = a.sign_command(carrier), a.sign_command(carrier, act=Act.DDE, sequence=2)
    ledger = a.Ledger()
    later = ledger.add(a.record(legal, carrier, second, act=Act.DDE, sequence=2))
    earlier = ledger.add(a.record(legal, carrier, first))
    proofs = (ledger.proof(earlier), ledger.proof(later))
    return now(TaskRequest(legal=legal, carrier=carrier, commands=(first, second), proofs=proofs))


row(Check.PROOF_ORDER, "acts in another order than entered")(out_of_order)
row(Check.PROOF_TIME, "entered in the future")(
    lambda: now(with_commands({"expires_s": NOW_S + 600}, time_us=(NOW_S + 61) * 1_000_000))
)
rows(
    Check.COMMAND_DATES,
    "act",
    {
        "entered after it lapsed": lambda: now(with_commands({"issued_s": NOW_S - 400, "expires_s": NOW_S})),
        "entered before it was signed": lambda: now(with_commands({"issued_s": NOW_S + 61})),
        "lapses before it is signed": lambda: now(with_commands({"expires_s": NOW_S - 40})),
        "legal token signed after the entry": lambda: order(issued_s=NOW_S + 61),
        "carrier token signed after the entry": lambda: bound(carrier={"issued_s": NOW_S + 61}),
    },
)


# --- the window -------------------------------------------------------------------------------------------------------

row(Check.NOT_YET_VALID, "a nanosecond before the window")(
    lambda: (a.good(not_before_s=NOW_S + 10), a.trust(), NOW_NS + 10_000_000_000 - 1)
)
row(Check.EXPIRED, "the second the window ends")(lambda: (GOOD, a.trust(), LEGAL.not_after_s * 1_000_000_000))
