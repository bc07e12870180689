"""`admit` refuses every mutation by its own check, and admits what is good, to the nanosecond."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from typing import Any

import msgspec
import pytest

from mediation.core.authority import authorization, jws, particulars, term
from mediation.core.authority.trust import Trust
from mediation.core.case import Act, Authority, Capability, Command, Destination, Role, TaskRequest
from mediation.core.check import Check
from mediation.core.errors import AuthorizationError
from tests.core import authority as a
from tests.core.authority import KEYS, KIDS, LEGAL, NOW_NS, NOW_S, PERSONS
from tests.core.mutation import GOOD, edit, edited, replace, with_commands
from tests.core.mutations import ROWS
from tests.core.mutations_content import CONTENT
from tests.core.mutations_extension import EXTENDED, entered_at
from tests.core.mutations_life import emergency_extended
from tests.core.mutations_people import good_by_roster
from tests.core.mutations_signed import signed_anew


@pytest.mark.parametrize("name", ROWS)
def test_refused_by_its_own_check(name: str) -> None:
    check, make = ROWS[name]
    request, trust, now_ns = make()
    with pytest.raises(AuthorizationError) as refusal:
        authorization.admit(request, trust, now_ns)
    assert refusal.value.check == check, f"{name}: refused by {refusal.value.check}"
    said = str(refusal.value)
    assert "12125550" not in said and "mailto" not in said, "an identity in an error"


RECEIVERS_AND_PROVISIONING = {
    Check.SUPERSEDED, Check.TASK_UNKNOWN, Check.SUSPENDED,  # tests/core/test_x1.py
    Check.CLOCK,  # of the access function
    Check.LEASE, Check.PROOF_CONSISTENCY,  # tests/core/test_lease.py
    Check.CODE_IDENTITY,  # tests/reconciliation/test_identity.py
    Check.WITNESSES_AWAY,  # tests/administration/test_outage.py
    Check.NOT_PROVIDED, Check.ALREADY_FILED, Check.CASE_LIVE, Check.ORDER_UNKNOWN, Check.UNMATCHABLE,
    Check.UNENCODABLE, Check.IAP_UNKNOWN, Check.REVOCATION,  # tests/administration/test_orders.py
    Check.CERTIFICATE,  # tests/administration/test_certificate.py
    Check.STATEMENT,  # tests/administration/test_statement.py
    Check.PLAN, Check.RETENTION,  # tests/administration/test_plan.py
    Check.CONTACT, Check.MODIFICATION,  # tests/administration/test_contact.py, test_modification.py
    Check.KEPT,  # tests/administration/test_destruction.py
    Check.REQUEST, Check.REQUEST_DATES, Check.REPLAYED, Check.REASON, Check.TOO_MANY,  # tests/audit/test_requests.py
}  # fmt: skip

# tests/core/test_roster.py; assertions: tests/signing/test_security_key.py
OF_THE_ROSTER = {
    Check.ROSTER, Check.ROSTER_APPROVAL, Check.ROSTER_ROLES, Check.ROSTER_KEYS, Check.ROSTER_DATES,
    Check.ROSTER_FOUNDING, Check.ASSERTION,
}  # fmt: skip


def test_every_check_has_a_row() -> None:
    assert {check for check, _ in ROWS.values()} == set(Check) - RECEIVERS_AND_PROVISIONING - OF_THE_ROSTER


def test_the_first_and_the_last_second_of_an_appointment() -> None:
    assert authorization.admit(GOOD, good_by_roster(), NOW_NS).standing.signers[0] == (
        Role.LEGAL, KIDS[Role.LEGAL], NOW_S - 60, NOW_S,
    )  # fmt: skip


def test_a_good_order_is_admitted() -> None:
    task = authorization.admit(GOOD, a.trust(), NOW_NS)
    assert task.xid == bytes.fromhex(jws.sha256_hex(GOOD.carrier))[:16]
    assert task.subjects == LEGAL.subjects
    assert (task.case, task.agency, task.sequence, task.dde) == ("CASE-1", "AGENCY", 1, False)
    assert task.capabilities == {Capability.CALL_DATA, Capability.DIGITS}
    assert (task.not_before_ns, task.not_after_ns) == ((NOW_S - 100) * 10**9, (NOW_S + 3600) * 10**9)


def test_the_last_act_counts() -> None:
    request = with_commands(
        {"dde": True}, {"act": Act.DDE, "sequence": 2}, {"act": Act.DDE, "sequence": 3, "dde": True}
    )
    assert authorization.admit(request, a.trust(), NOW_NS).dde
    shorter = replace(request, commands=request.commands[:2], proofs=request.proofs[:2])
    task = authorization.admit(shorter, a.trust(), NOW_NS)
    assert (task.dde, task.sequence) == (False, 2)


@pytest.mark.parametrize("at", ["first", "last"])
def test_the_window_is_exact(at: str) -> None:
    edge = LEGAL.not_before_s * 10**9 if at == "first" else LEGAL.not_after_s * 10**9 - 1
    request = a.good(issued_s=LEGAL.not_before_s - 100) if at == "first" else GOOD
    trust = a.trust()
    if at == "first":
        # Entered when the window begins: the record's own time is the ledger's.
        legal = a.sign_legal(msgspec.structs.replace(LEGAL, issued_s=NOW_S - 200))
        carrier = a.sign_carrier(legal, issued_s=NOW_S - 200)
        command = a.sign_command(carrier, issued_s=NOW_S - 150)
        request = a.request(legal, carrier, command, time_us=LEGAL.not_before_s * 1_000_000)
    assert authorization.admit(request, trust, edge).case == "CASE-1"


def test_a_key_that_lapses_later_does_not_stop_a_running_case() -> None:
    officer = a.ring_key(KIDS[Role.OFFICER], PERSONS[Role.OFFICER], KEYS[Role.OFFICER], not_after_s=NOW_S + 1)
    assert authorization.admit(GOOD, a.trust(officer=(officer,)), NOW_NS + 60 * 10**9).case == "CASE-1"


def test_an_extended_order_runs_to_the_nanosecond_of_its_new_end() -> None:
    end_ns = (LEGAL.not_after_s + 3600) * 10**9
    task = authorization.admit(EXTENDED, a.trust(), end_ns - 1)
    assert (task.not_after_ns, task.sequence, task.suspended) == (end_ns, 2, False)
    assert (task.xid, task.destination) == (authorization.xid(GOOD.carrier), LEGAL.destination)
    again = emergency_extended(LEGAL.not_before_s + 48 * 3600)
    assert authorization.admit(*again).not_after_ns == (LEGAL.not_before_s + 48 * 3600) * 10**9


def test_an_extension_that_was_entered_in_the_last_second_counts() -> None:
    request, trust, now_ns = entered_at(LEGAL.not_after_s - 1)
    assert authorization.admit(request, trust, now_ns + 10**9).not_after_ns == (LEGAL.not_after_s + 3600) * 10**9


def test_a_suspended_order_is_kept_as_one() -> None:
    acts = [{}, {"act": Act.SUSPEND, "sequence": 2}, {"act": Act.RESUME, "sequence": 3}]
    assert authorization.admit(with_commands(*acts[:2]), a.trust(), NOW_NS).suspended
    assert not authorization.admit(with_commands(*acts), a.trust(), NOW_NS).suspended


def test_an_emergency_order_is_admitted_with_its_call_back() -> None:
    for authority in Authority:
        if authority.emergency:
            assert authorization.admit(a.good(authority=authority), a.trust(), NOW_NS).authority is authority


def test_the_terms_can_only_be_made_shorter() -> None:
    for authority, limit in term.LIMITS.items():
        term.Terms(shorter={authority: limit.seconds})
        for seconds in (limit.seconds + 1, 0, -1):
            with pytest.raises(ValueError, match="term of"):
                term.Terms(shorter={authority: seconds})


def test_another_officer_may_make_the_next_act() -> None:
    officers = (
        a.ring_key(KIDS[Role.OFFICER], PERSONS[Role.OFFICER], KEYS[Role.OFFICER]),
        a.ring_key("officer-2", "otto", a.private(7)),
    )
    request = with_commands({}, {"act": Act.DDE, "sequence": 2, "dde": True, "kid": "officer-2", "key": a.private(7)})
    assert authorization.admit(request, a.trust(officer=officers), NOW_NS).dde


@pytest.mark.parametrize(
    "host", ["192.0.2.1", "2001:db8::1", "localhost", "a-b.example", "xn--bcher-kva.example", "1a.example"]
)
def test_destinations_that_are_well_formed(host: str) -> None:
    particulars.check_destination(Destination(host=host, port=65_535, certificate_sha256="0f" * 32))


def padded_to(octets: int) -> str:
    """A legal token of exactly so many octets, by blanks in its payload."""
    body = jws.split(GOOD.legal).payload
    most = (octets - len(GOOD.legal)) * 3 // 4 + 8
    for blanks in range(most, most - 16, -1):
        if len(token := signed_anew(GOOD.legal, b" " * blanks + body)) == octets:
            return token
    raise AssertionError


def edges() -> Iterator[tuple[str, TaskRequest, Trust]]:
    """The last value that is still good, of everything that has a bound."""
    skew = authorization.CLOCK_SKEW_S
    subjects = (f"sip:{'a' * 251}", *(f"tel:+1212555{n:04}" for n in range(particulars.MAX_SUBJECTS - 1)))
    assert len(subjects[0]) == particulars.MAX_SUBJECT_OCTETS
    yield "subjects", a.good(subjects=subjects), a.trust()
    for authority, limit in term.LIMITS.items():
        stated = {"term_days": term.FISA_PERIODS_DAYS[-1]} if authority is Authority.FISA else {}
        window = {"not_before_s": NOW_S - 60, "not_after_s": NOW_S - 60 + limit.seconds}
        yield f"window of {authority}", a.good(authority=authority, **window, **stated), a.trust()
    for name, changes in {
        "court": {"court": "x" * 200}, "case": {"case": "x" * 25},
    }.items():  # fmt: skip
        yield name, a.good(**changes), a.trust()
    known = msgspec.structs.replace(a.CONTACT, agency="x" * 63)
    yield "agency", a.good(agency="x" * 63), a.trust(contacts=(known,))
    young = msgspec.structs.replace(a.CONTACT, from_s=NOW_S)
    yield "contact since the second of the activation", GOOD, a.trust(contacts=(young,))
    for port in (1, 65_535):
        destination = msgspec.structs.replace(LEGAL.destination, port=port)
        yield f"port {port}", a.good(destination=destination), a.trust()
    legal = a.sign_legal()
    carrier = a.sign_carrier(legal, iaps=tuple(f"iap{n}" for n in range(particulars.MAX_IAPS)))
    yield "access points", a.request(legal, carrier, a.sign_command(carrier)), a.trust()
    acts = [
        {"sequence": n, "act": Act.DDE if n > 1 else Act.ACTIVATE} for n in range(1, authorization.MAX_COMMANDS + 1)
    ]
    yield "acts", with_commands(*acts), a.trust()
    yield "signed by a fast clock", with_commands({"issued_s": NOW_S + skew}), a.trust()
    yield "entered by a fast clock", with_commands({}, time_us=(NOW_S + skew) * 1_000_000), a.trust()
    yield "legal signed by a fast clock", a.good(issued_s=NOW_S + skew), a.trust()
    officer = {"kid": KIDS[Role.OFFICER], "person": PERSONS[Role.OFFICER], "key": KEYS[Role.OFFICER]}
    young = a.ring_key(**officer, not_before_s=NOW_S - 40)
    yield "key of the moment it signed", GOOD, a.trust(officer=(young,))
    fresh = a.ring_key(**officer, not_before_s=NOW_S)
    yield "key of the moment of entry", with_commands({"issued_s": NOW_S}), a.trust(officer=(fresh,))
    old = padded_to(jws.MAX_TOKEN_OCTETS)
    carrier = a.sign_carrier(old)
    yield "length", a.request(old, carrier, a.sign_command(carrier)), a.trust()


@pytest.mark.parametrize(("name", "request_", "trust"), [pytest.param(*edge, id=edge[0]) for edge in edges()])
def test_the_last_good_value_is_admitted(name: str, request_: TaskRequest, trust: Trust) -> None:
    assert authorization.admit(request_, trust, NOW_NS).xid == authorization.xid(request_.carrier)


def test_a_key_that_lapses_when_it_signs() -> None:
    """Its clock runs ahead of the ledger's: by the entry's time the key still lived, by its own it did not."""
    officer = a.ring_key(KIDS[Role.OFFICER], PERSONS[Role.OFFICER], KEYS[Role.OFFICER], not_after_s=NOW_S + 10)
    with pytest.raises(AuthorizationError, match="key-dates"):
        authorization.admit(with_commands({"issued_s": NOW_S + 10}), a.trust(officer=(officer,)), NOW_NS)


def test_the_memory_of_checkpoints_is_bounded() -> None:
    trust, ledger = a.trust(), a.Ledger()
    for n in range(3 * Trust.CHECKPOINTS):
        authorization.admit(a.request(GOOD.legal, GOOD.carrier, *GOOD.commands, ledger=ledger), trust, NOW_NS + n)
    assert len(trust._opened) == Trust.CHECKPOINTS


@pytest.mark.parametrize("authority", [Authority.TITLE_III, Authority.FISA])
def test_content_under_an_authority_that_gives_it(authority: Authority) -> None:
    capabilities = (Capability.CALL_DATA, Capability.CONTENT)
    where = msgspec.structs.replace(LEGAL.destination, content=CONTENT)
    order = a.good(authority=authority, capabilities=capabilities, destination=where)
    task = authorization.admit(order, a.trust(), NOW_NS)
    assert Capability.CONTENT in task.capabilities and task.destination.content == CONTENT


def test_the_signature_covers_the_text_as_stored() -> None:
    """A token whose JSON has another layout than ours is the same authority: nothing is re-serialised."""
    body = json.dumps(json.loads(jws.split(GOOD.legal).payload), indent=2, sort_keys=True).encode()
    signed = f"{GOOD.legal.partition('.')[0]}.{base64.urlsafe_b64encode(body).rstrip(b'=').decode()}"
    signature = KEYS[Role.LEGAL].sign(signed.encode())
    legal = f"{signed}.{base64.urlsafe_b64encode(signature).rstrip(b'=').decode()}"
    carrier = a.sign_carrier(legal)
    task = authorization.admit(a.request(legal, carrier, a.sign_command(carrier)), a.trust(), NOW_NS)
    assert task.subjects == LEGAL.subjects


def broken_rings() -> Iterator[tuple[str, dict[str, Any]]]:
    key = a.ring_key("legal-1", "lena", KEYS[Role.LEGAL])
    yield "kid twice", {"legal": (key, key)}
    yield "person in capitals", {"legal": (msgspec.structs.replace(key, person="Lena"),)}
    yield "nobody", {"legal": (msgspec.structs.replace(key, person=""),)}
    yield "no key", {"legal": (msgspec.structs.replace(key, public="00"),)}
    yield "kid with a path", {"legal": (msgspec.structs.replace(key, kid="../x"),)}


@pytest.mark.parametrize(("name", "rings"), list(broken_rings()))
def test_rings_that_are_refused(name: str, rings: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="key ring"):
        a.trust(**rings)


def test_a_role_has_one_ring() -> None:
    with pytest.raises(ValueError, match="twice"):
        Trust([*a.rings(), a.rings()[0]], a.SIGNER.verifier, lab=False, policy=None)


def test_what_was_once_good_is_not_remembered_for_another_key(monkeypatch: pytest.MonkeyPatch) -> None:
    """The memory of good signatures holds the key as well: trust in one ring gives none in another."""
    trust = a.trust()
    authorization.admit(GOOD, trust, NOW_NS)
    parts = jws.split(GOOD.legal)
    with pytest.raises(AuthorizationError):
        trust.verify(parts, trust.key(Role.CARRIER, KIDS[Role.CARRIER]))
    with pytest.raises(AuthorizationError):
        trust.verify(jws.split(edited(GOOD.legal, edit("case", "CASE-2"))), trust.key(Role.LEGAL, KIDS[Role.LEGAL]))
    monkeypatch.setattr(Trust, "VERIFIED", 64)  # quicker to fill
    for index in range(Trust.VERIFIED + 10):  # the memory is bounded
        trust.verify(
            jws.split(a.sign_legal(msgspec.structs.replace(LEGAL, nonce=f"{index:032x}"))),
            trust.key(Role.LEGAL, KIDS[Role.LEGAL]),
        )
    assert len(trust._verified) == Trust.VERIFIED


def test_commands_decode_only_as_commands() -> None:
    with pytest.raises(AuthorizationError, match="structure"):
        jws.decode(jws.split(GOOD.legal).payload, Command)
