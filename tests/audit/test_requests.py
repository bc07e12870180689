"""SEC-14, SEC-17, SEC-22, SEC-27 at the control socket: who reads, why, once; and what a refused one learns."""

from __future__ import annotations

import base64
import hashlib
import json
import statistics
import time
from typing import Any

import msgspec
import nacl.bindings
import pytest

from mediation.administration import lab
from mediation.administration.persons import gate
from mediation.administration.persons.gate import Caller
from mediation.administration.persons.inquiries import Prepared
from mediation.core.authority import assertion, jws, key, request
from mediation.core.authority.key import ALGORITHMS, WEBAUTHN
from mediation.core.authority.trust import Key, Ring, Trust
from mediation.core.case import Act, Authority, Command, Role
from mediation.core.check import Check
from mediation.core.errors import AuthorizationError, LedgerError
from mediation.core.interface import control
from mediation.core.interface.control import (
    CaseList,
    Cases,
    CommitSeed,
    Done,
    Export,
    Failed,
    Perform,
    Plant,
    Prove,
    Proved,
    Results,
    Revoke,
    Status,
)
from mediation.core.ledger import entry
from mediation.core.records.alarm import Alarm
from mediation.runtime.config import Site
from tests.administration import site as s
from tests.audit.asking import Counter, check_of, envelope, signed, stranger

NS = 1_000_000_000
INQUIRIES: list[control.Inquiry] = [
    Cases(), Cases(case="CASE-1"), Prove(index=0), Export(), CommitSeed(seed_sha256="ab" * 32),
    Plant(case="BAIT", agency="AGENCY", authority=Authority.TITLE_III, not_before_s=1, not_after_s=2),
]  # fmt: skip


# --- each reading is an entry before it is an answer (SEC-17) ---------------------------------------------------------


def test_each_reading_is_entered_with_its_person_and_reason(counter: Counter) -> None:
    assert isinstance(counter.read(Role.OFFICER, Cases()), CaseList)
    assert isinstance(counter.read(Role.AUDITOR, Cases(case="CASE-2"), reason="audit 7"), CaseList)
    assert isinstance(counter.read(Role.OFFICER, Prove(index=1)), Proved)
    assert isinstance(counter.read(Role.AUDITOR, Export()), Prepared)
    read = [(each.what, each.case, each.person, each.reason) for each in counter.records(entry.CaseRead)]
    assert read == [
        ("list", "", "lab-officer", "a test"),
        ("show", "CASE-2", "lab-auditor", "audit 7"),
        ("ledger", "CASE-1", "lab-officer", "a test"),
        ("export", "", "lab-auditor", "a test"),
    ]


@pytest.mark.parametrize("index", [-1, -257, 1 << 40, -(1 << 70), 1 << 70])
def test_an_entry_that_there_is_not(counter: Counter, index: int) -> None:
    """One number before the first entry once kept the administrator busy for ever: no stop was heard after it."""
    answer = counter.read(Role.AUDITOR, Prove(index=index))
    assert isinstance(answer, Failed) and answer.detail.startswith(f"ledger: entry {index}: there is none")


def test_what_cannot_be_entered_is_not_shown(counter: Counter, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(_: object) -> object:
        raise LedgerError("cannot be written: No space left on device")

    monkeypatch.setattr(counter.desk.orders.ledger, "append", broken)
    for inquiry in INQUIRIES:
        answer = counter.read(Role.AUDITOR, inquiry)
        assert isinstance(answer, Failed) and answer.detail.startswith("ledger:")


def test_the_entry_stands_before_the_answer_is_made(counter: Counter, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever makes the answer finds its own reading in the ledger already."""
    found: list[str] = []

    def late(orders: object, *_: object) -> list[object]:
        found.extend(each.what for each in counter.records(entry.CaseRead))
        return []

    monkeypatch.setattr(type(counter.desk.orders), "of_case", late)
    counter.read(Role.OFFICER, Cases(case="CASE-1"))
    assert found == ["show"]


# --- who may --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("inquiry", INQUIRIES, ids=lambda each: type(each).__name__)
@pytest.mark.parametrize("role", [Role.LEGAL, Role.CARRIER, Role.OFFICER, Role.AUDITOR])
def test_the_table_of_roles(counter: Counter, role: Role, inquiry: control.Inquiry) -> None:
    allowed = {
        Cases: {Role.LEGAL, Role.CARRIER, Role.OFFICER, Role.AUDITOR}, Prove: {Role.OFFICER, Role.AUDITOR},
        Export: {Role.OFFICER, Role.AUDITOR}, CommitSeed: {Role.AUDITOR}, Plant: {Role.AUDITOR},
    }  # fmt: skip
    answer = counter.read(role, inquiry)
    if role in allowed[type(inquiry)]:
        assert not isinstance(answer, Failed), answer
    else:
        assert check_of(answer) == Check.REQUEST
        assert counter.records(entry.Refused)[-1].check == Check.KEY_ROLE


def test_legal_and_carrier_see_their_own_orders(counter: Counter) -> None:
    """Another reviewer's case and one that does not exist are answered alike."""
    mate = msgspec.structs.replace(stranger(counter.now_s), kid="mate", person="other-reviewer", role=Role.LEGAL)
    trust = counter.desk.orders.trust
    rings = [
        Ring(role=role, keys=(*keys.values(), *((mate.ring_key(),) if role is Role.LEGAL else ())))
        for role, keys in trust.rings.items()
    ]
    counter.desk.orders.trust = Trust(rings, trust.ledger, lab=True, policy=trust.policy)
    mine = counter.ask(signed(counter.site, Role.LEGAL, Cases(), counter.now_s))
    assert isinstance(mine, CaseList) and [each.case for each in mine.cases] == ["CASE-1", "CASE-2"]
    for case in (None, "CASE-1", "CASE-99"):
        text = envelope(mate, Cases(case=case), counter.now_s)
        assert counter.ask(control.Signed(envelope=text)) == CaseList(cases=())


def test_without_a_signature_nothing_is_shown(counter: Counter) -> None:
    for line in (b'{"type":"Cases"}', b'{"type":"Export"}', b'{"type":"Prove","index":1}'):
        with pytest.raises(Exception, match="not a message of this interface"):
            control.decode_request(line)
    report = control.encode(counter.ask(Status()))  # type: ignore[arg-type]
    assert b"CASE-1" not in report and b"AGENCY" not in report and b"2125550" not in report


# --- refused alike (SEC-14) -----------------------------------------------------------------------------------------


def refusals(counter: Counter) -> dict[str, tuple[str, str]]:
    """Envelope and true check of each way not to be believed."""
    now, site = counter.now_s, counter.site
    officer, unknown = lab.person(site, Role.OFFICER), stranger(counter.now_s)
    good = envelope(officer, Cases(), now)
    return {
        "unknown user": (envelope(unknown, Cases(), now), Check.KEY_UNKNOWN),
        "wrong key": (envelope(msgspec.structs.replace(unknown, kid=officer.kid), Cases(), now), Check.SIGNATURE),
        "role not allowed": (envelope(lab.person(site, Role.LEGAL), Export(), now), Check.KEY_ROLE),
        "another typ": (envelope(officer, Cases(), now, typ="mediation-command"), Check.TOKEN_TYPE),
        "real on a lab site": (envelope(officer, Cases(), now, lab=False), Check.LAB_TOKEN),
        "no inquiry": (envelope(officer, '{"type":"Status"}', now), Check.STRUCTURE),
        "nonce": (envelope(officer, Cases(), now, nonce="1"), Check.STRUCTURE),
        "edited": (good[:-8] + ("A" if good[-8] != "A" else "B") + good[-7:], Check.SIGNATURE),
        "rubbish": ("rubbish", Check.STRUCTURE),
    }


def test_every_refusal_is_the_same_octets(counter: Counter) -> None:
    answers = {}
    for name, (text, check) in refusals(counter).items():
        answer = counter.ask(control.Signed(envelope=text))
        answers[name] = control.encode(answer)  # type: ignore[arg-type]
        last = counter.records(entry.Refused)[-1]
        assert (last.check, last.uid) == (check, 4711), name  # the ledger has the truth
    assert len(set(answers.values())) == 1
    assert counter.records(entry.CaseRead) == []


def test_acts_tell_nothing_of_keys_either(counter: Counter) -> None:
    filed = s.filing(counter.site, "CASE-3", activate=False)
    counter.desk.submit(filed)
    officer, unknown = lab.person(counter.site, Role.OFFICER), stranger(counter.now_s)
    good = s.act(counter.site, filed.carrier, "CASE-3")
    payload = jws.decode(jws.split(good).payload, Command)
    texts = [
        jws.sign(payload, "mediation-command", unknown.kid, unknown.key()),
        jws.sign(payload, "mediation-command", officer.kid, unknown.key()),
        jws.sign(payload, "mediation-command", *_signer(counter.site, Role.LEGAL)),
    ]
    answers = {control.encode(counter.ask(Perform(commands=(text,), wait=False))) for text in texts}  # type: ignore[arg-type]
    assert len(answers) == 1 and b'"request"' in answers.pop()
    checks = {each.check for each in counter.records(entry.Refused)}
    assert checks == {Check.KEY_UNKNOWN, Check.SIGNATURE, Check.KEY_ROLE}
    assert counter.ask(Perform(commands=(good,))) == Results(results=(control.Result(
        case="CASE-3", xid=counter.desk.order("CASE-3").xid),))  # fmt: skip


def _signer(site: Site, role: Role) -> tuple[str, Any]:
    person = lab.person(site, role)
    return person.kid, person.key()


def test_the_same_work_for_each(counter: Counter, monkeypatch: pytest.MonkeyPatch) -> None:
    """One signature is verified and one entry is made, whoever asks; and the medians of the times are close."""
    verified: list[int] = []
    original = key.Public.verify

    def counted(public: key.Public, algorithm: str, signature: bytes, text: bytes) -> None:
        verified.append(1)
        original(public, algorithm, signature, text)

    monkeypatch.setattr(key.Public, "verify", counted)
    kinds = ("unknown user", "wrong key", "role not allowed")
    times: dict[str, list[float]] = {name: [] for name in kinds}
    for _ in range(15):
        for name, (text, _check) in {k: v for k, v in refusals(counter).items() if k in kinds}.items():
            counter.desk.now_ns += 30 * NS  # the limits are not what is measured
            fresh = refusals(counter)[name][0] if text else text
            verified.clear()
            began = time.perf_counter()
            counter.ask(control.Signed(envelope=fresh))
            times[name].append(time.perf_counter() - began)
            assert len(verified) == 1, name
    medians = {name: statistics.median(each) for name, each in times.items()}
    # An entry is written each time; ten times the fastest is far above noise and far below no verification at all
    # being told apart from one with the disk in between.
    assert max(medians.values()) < 10 * min(medians.values()), medians


FORMS = ("ed25519", "es256", "webauthn-ed25519", "webauthn-es256")


def _unsigned(form: str, kid: str, signature: bytes, *, asserted: bool) -> str:
    """With nobody's signature; `asserted`: inside all else that a security key gives, which takes no secret."""
    header = json.dumps({"alg": ALGORITHMS[form], "kid": kid, "typ": request.TYP}).encode()
    text = ".".join(base64.urlsafe_b64encode(each).rstrip(b"=").decode() for each in (header, b"{}"))
    if asserted:
        data = hashlib.sha256(b"site.example").digest() + bytes((5, 0, 0, 0, 0))
        said = assertion.client_data(text.encode(), "site.example")
        signature = assertion.Assertion(authenticator_data=data, client_data=said, signature=signature).octets()
    return f"{text}.{base64.urlsafe_b64encode(signature).rstrip(b'=').decode()}"


@pytest.mark.parametrize("signature", [bytes(64), b"\1" * 64, b"\xff" * 64, bytes(9), bytes(63)], ids="abcde")
@pytest.mark.parametrize("asserted", [False, True], ids=["bare", "asserted"])
@pytest.mark.parametrize("form", FORMS)
def test_the_same_mathematics_whether_a_key_exists(
    counter: Counter, form: str, signature: bytes, asserted: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever algorithm the header names: who asks cannot tell by the time which names of keys there are."""
    trust, now = counter.desk.orders.trust, counter.now_s
    known = [
        Key(
            kid=each, person=each, public=request._POINTS[each.removeprefix("webauthn-")], not_before_s=now - 60,
            not_after_s=now + 60, lab=True, form=each, credential="ab" * (each in WEBAUTHN),
            rp_id="site.example" * (each in WEBAUTHN),
        )
        for each in FORMS
    ]  # fmt: skip
    rings = [Ring(role=Role.OFFICER, keys=tuple(known))]
    monkeypatch.setattr(counter.desk.orders, "trust", Trust(rings, trust.ledger, lab=True, policy=trust.policy))
    done: list[str] = []
    originals = nacl.bindings.crypto_sign_open, key._dss

    def opened(signed: bytes, public: bytes) -> bytes:
        done.append("ed25519")
        return originals[0](signed, public)

    def spelled(signature: bytes) -> bytes:
        done.append("es256")
        return originals[1](signature)

    monkeypatch.setattr(nacl.bindings, "crypto_sign_open", opened)
    monkeypatch.setattr(key, "_dss", spelled)
    work = {}
    for kid in (*FORMS, "nobody"):
        done.clear()
        text = _unsigned(form, kid, signature, asserted=asserted)
        with pytest.raises(AuthorizationError):
            request.examine(text, counter.desk.orders.trust, counter.desk.now_ns)
        work[kid] = list(done)
    assert len({str(each) for each in work.values()}) == 1, work


# --- once, in time, with a reason (SEC-27) ----------------------------------------------------------------------------


def test_a_replay_is_refused_and_entered(counter: Counter) -> None:
    asked = signed(counter.site, Role.OFFICER, Cases(), counter.now_s)
    assert isinstance(counter.ask(asked), CaseList)
    assert check_of(counter.ask(asked)) == Check.REPLAYED
    assert counter.records(entry.Refused)[-1].check == Check.REPLAYED
    counter.restart()
    assert check_of(counter.ask(asked)) == Check.REPLAYED  # the ledger remembers
    counter.desk.later(61)
    assert check_of(counter.ask(asked)) == Check.REQUEST_DATES
    assert len(counter.records(entry.CaseRead)) == 1


def test_a_seed_cannot_be_committed_twice_with_one_request(counter: Counter) -> None:
    asked = signed(counter.site, Role.AUDITOR, CommitSeed(seed_sha256="ab" * 32), counter.now_s)
    assert counter.ask(asked) == Done()
    counter.restart()
    assert check_of(counter.ask(asked)) == Check.REPLAYED
    assert [each.seed_sha256 for each in counter.records(entry.SampleDrawn)] == ["ab" * 32]


@pytest.mark.parametrize(
    ("issued", "life"), [(-61, 60), (61, 60), (0, 61), (0, 0), (0, -1), (-120, 180), (-60, 60)]
)  # fmt: skip
def test_the_dates_of_a_request(counter: Counter, issued: int, life: int) -> None:
    at = counter.now_s + issued
    answer = counter.read(Role.OFFICER, Cases(), issued_s=at, expires_s=at + life)
    assert check_of(answer) == Check.REQUEST_DATES


@pytest.mark.parametrize("reason", ["", " ", "x" * 201, "a\nb", "5\u200b5", "call of +1 (212) 555-0100", "sip:alice",
                                    "bob@host", "about 2125550100", "555 0100 was seen"])  # fmt: skip
def test_a_reason_is_needed_and_names_nobody(counter: Counter, reason: str) -> None:
    assert check_of(counter.read(Role.OFFICER, Cases(), reason=reason)) == Check.REASON
    assert counter.records(entry.CaseRead) == []


# --- counted, slowed, alarmed (SEC-14) --------------------------------------------------------------------------------


def test_a_connection_ends_after_a_few(counter: Counter) -> None:
    caller = Caller(uid=1)
    texts = [envelope(stranger(counter.now_s), Cases(), counter.now_s) for _ in range(gate.FAILED_ON_CONNECTION)]
    assert {check_of(counter.ask(control.Signed(envelope=text), caller)) for text in texts} == {Check.REQUEST}
    good = signed(counter.site, Role.OFFICER, Cases(), counter.now_s)
    assert check_of(counter.ask(good, caller)) == Check.TOO_MANY and caller.over
    assert isinstance(counter.ask(good, Caller()), CaseList)  # another connection
    assert counter.ask(Status(), caller) != Failed(detail="", check="")


def test_in_all_and_stops_do_not_wait(counter: Counter) -> None:
    filed = s.filing(counter.site, "CASE-9")
    counter.desk.submit(filed)
    for _ in range(gate.FAILED_AT_ONCE):
        assert check_of(counter.ask(control.Signed(envelope="rubbish"))) == Check.REQUEST
    assert check_of(counter.read(Role.OFFICER, Cases())) == Check.TOO_MANY
    stop = s.revocation(counter.site, filed, "CASE-9")
    answer = counter.ask(Revoke(revocations=(stop,)))
    assert isinstance(answer, Results) and answer.results[0].check == ""
    end = s.act(counter.site, s.filing(counter.site).carrier, "CASE-1", 2, Act.DEACTIVATE)
    assert isinstance(counter.ask(Perform(commands=(end,))), Results)  # looked at, whatever came of it
    counter.desk.now_ns += gate.FAILED_EVERY_NS
    assert isinstance(counter.read(Role.OFFICER, Cases()), CaseList)
    counters = counter.desk.orders.counters
    assert counters["requests_refused"] == gate.FAILED_AT_ONCE and counters["requests_too_many"] == 1


def test_refused_requests_raise_one_alarm_and_cannot_fill_the_ledger(counter: Counter) -> None:
    before = counter.desk.orders.ledger.size
    for _ in range(200):
        counter.ask(control.Signed(envelope="rubbish"))
    alarms = counter.records(entry.Alarm)
    assert [(each.alarm, each.case) for each in alarms] == [(Alarm.AUTHENTICATION, "")]
    entered = [each for each in counter.records(entry.Refused)]
    assert len(entered) <= 12 and counter.desk.orders.ledger.size - before < 64
    counter.desk.now_ns += gate.ALARM_AGAIN_NS
    for _ in range(gate.ALARM_AFTER):
        counter.ask(control.Signed(envelope="rubbish"))
    assert len(counter.records(entry.Alarm)) == 2
    assert (
        sum(each.suppressed for each in counter.records(entry.Refused)) + len(counter.records(entry.Refused)) >= 200
    )  # nothing is lost without a count


def test_three_mistakes_in_a_day_raise_no_alarm(counter: Counter) -> None:
    for _ in range(gate.ALARM_AFTER * 2):
        counter.ask(control.Signed(envelope="rubbish"))
        counter.desk.now_ns += gate.ALARM_WINDOW_NS
    assert counter.records(entry.Alarm) == []
