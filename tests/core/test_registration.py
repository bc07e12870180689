"""REGISTER, refresh, expiry (scenario 31): ServingSystem when where the subject is reached changes, and only then."""

from __future__ import annotations

import random

import pytest

from mediation.core.call import CallModel
from mediation.core.calls.registration import GRACE_NS, MAX_BINDINGS, MAX_REQUESTS, MAX_SUBSCRIBERS
from mediation.core.message import cdc
from mediation.core.message.cdc import AddressBinding, Party, RegistrationType
from tests.core.call_rig import A_URI, S_CONTACT, S_URI, SECOND, START, S, surveillance
from tests.core.service_rig import CONTACT, Line

REGISTRATION, DEREGISTRATION = RegistrationType.REGISTRATION, RegistrationType.DEREGISTRATION
MOVED, UNKNOWN = RegistrationType.REGISTRATION_AND_DEREGISTRATION, RegistrationType.UNKNOWN
HOTEL = "<sip:line1@10.7.7.7:5060>"


@pytest.fixture
def line() -> Line:
    return Line(CallModel(surveillance()))


def kinds(messages: list[cdc.Message]) -> list[RegistrationType | None]:
    assert all(isinstance(each, cdc.ServingSystem) for each in messages)
    return [each.registration_type for each in messages if isinstance(each, cdc.ServingSystem)]


def bind(line: Line, *contacts: str, cseq: int = 1, listed: tuple[str, ...] | None = None, seconds: int = 3600,
         call_id: str = "reg") -> list[RegistrationType | None]:  # fmt: skip
    """A whole transaction."""
    assert line.register(*contacts, cseq=cseq, expires=seconds, call_id=call_id) == []
    there = tuple(f"{each};expires={seconds}" for each in contacts) if listed is None else listed
    return kinds(line.accept(*there, cseq=cseq, call_id=call_id))


@pytest.mark.parametrize("hops", [1, 2])
def test_register_refresh_deregister(hops: int) -> None:
    line = Line(CallModel(surveillance()), hops=hops)
    assert bind(line, CONTACT) == [REGISTRATION]
    for cseq in range(2, 6):
        line.wait(1800)
        assert bind(line, CONTACT, cseq=cseq) == []
    assert bind(line, CONTACT, cseq=6, seconds=0, listed=()) == [DEREGISTRATION]
    assert bind(line, CONTACT, cseq=7, seconds=0, listed=()) == []
    line.wait(9999)
    assert len(line.messages) == 2
    assert line.model.next_deadline_ns() is None
    assert line.model.counters["unreported_REGISTER"] == hops * 14 - 2


def test_what_a_registration_says(line: Line) -> None:
    line.register(CONTACT, expires=600)
    (message,) = line.accept(f"{CONTACT};expires=300;+u=x", '"Desk" <sip:desk@10.1.1.1>;expires=60')
    assert message == cdc.ServingSystem(
        case_id="CASE-1",
        iap_system_id="SBC1",
        timestamp_ns=line.now_ns,
        system_identity="carrier.example",
        network_address="10.0.3.3",
        request_id=cdc.CallIdentity(main="reg"),
        registration_type=REGISTRATION,
        registering=Party(dn=S[1:], uri=(S_URI,)),
        registrar=Party(uri=("sip:carrier.example",)),
        request_address_info=(AddressBinding(address=Party(uri=(S_CONTACT,)), expiration_period=600),),
        response_address_info=(
            AddressBinding(address=Party(uri=(S_CONTACT,)), expiration_period=300),
            AddressBinding(address=Party(uri=("sip:desk@10.1.1.1",)), expiration_period=60),
        ),
        expiration_period=300,
    )
    assert line.events[-1].received_ns == line.now_ns


@pytest.mark.parametrize(
    ("registrar", "identity"),
    [
        ("sip:ims.example", "ims.example"),
        ("sip:a.example:5070;transport=tcp", "a.example"),
        ("sip:fifteen.example", "fifteen.example"),
        ("sip:sixteen1.example", None),
        ("sip:[2001:db8::1]:5060", "2001:db8::1"),
    ],
)
def test_the_identity_of_the_serving_system_is_whole_or_absent(
    line: Line, registrar: str, identity: str | None
) -> None:
    line.register(CONTACT, registrar=registrar)
    (message,) = line.accept(f"{CONTACT};expires=3600")
    assert isinstance(message, cdc.ServingSystem)
    assert (message.system_identity, message.registrar) == (identity, Party(uri=(registrar,)))


@pytest.mark.parametrize("status", [401, 407, 423, 421])
def test_a_challenge_is_silent(line: Line, status: int) -> None:
    line.register(CONTACT)
    assert line.accept(status=status) == []
    assert bind(line, CONTACT, cseq=2) == [REGISTRATION]


def test_a_refusal_is_reported_once(line: Line) -> None:
    for cseq in (1, 2, 3):
        line.register(CONTACT, cseq=cseq)
        line.accept(status=403, cseq=cseq, headers=("Reason: SIP;cause=403",))
    (message,) = line.messages
    assert isinstance(message, cdc.ServingSystem)
    assert message.failure_reason == cdc.Cause(sip=("SIP/2.0 403 Reason", "Reason: SIP;cause=403"))
    assert (message.registration_type, message.response_address_info) == (REGISTRATION, ())
    line.register(CONTACT, cseq=4)
    assert kinds(line.accept(status=500, cseq=4)) == [REGISTRATION]
    assert bind(line, CONTACT, cseq=5) == [REGISTRATION]
    line.register(CONTACT, cseq=6)
    assert kinds(line.accept(status=500, cseq=6)) == [REGISTRATION]
    line.register(CONTACT, expires=0, cseq=7)
    assert kinds(line.accept(status=500, cseq=7)) == [DEREGISTRATION]


def test_a_moved_phone(line: Line) -> None:
    bind(line, CONTACT)
    assert bind(line, HOTEL, cseq=2) == [MOVED]
    assert bind(line, HOTEL, cseq=3) == []
    assert bind(line, CONTACT, f"{HOTEL};expires=0", cseq=4, listed=(f"{CONTACT};expires=9",)) == [MOVED]


def test_a_second_phone(line: Line) -> None:
    """Both are listed by a registrar of RFC 3261; the refreshes of either change nothing."""
    bind(line, CONTACT)
    both = (f"{CONTACT};expires=3600", f"{HOTEL};expires=3600")
    assert bind(line, HOTEL, call_id="reg2", listed=both) == [REGISTRATION]
    assert bind(line, CONTACT, cseq=2, listed=both) == []
    assert bind(line, HOTEL, cseq=2, call_id="reg2", listed=both) == []
    assert bind(line, HOTEL, cseq=3, call_id="reg2", seconds=0, listed=both[:1]) == [DEREGISTRATION]
    assert bind(line, CONTACT, cseq=3, listed=both[:1]) == []


def test_two_phones_at_a_registrar_that_lists_the_newest_only(line: Line) -> None:
    bind(line, CONTACT)
    assert bind(line, HOTEL, call_id="reg2") == [REGISTRATION]
    for cseq in (2, 3):
        assert bind(line, CONTACT, cseq=cseq) == []
        assert bind(line, HOTEL, call_id="reg2", cseq=cseq) == []


@pytest.mark.parametrize("late", [0, 60])
def test_a_binding_that_runs_out(line: Line, late: int) -> None:
    bind(line, CONTACT, seconds=60)
    bound = line.now_ns
    assert line.model.next_deadline_ns() == bound + 60 * SECOND + GRACE_NS
    line.now_ns = bound
    assert line.wait(60 + GRACE_NS / SECOND - 0.001) == []
    (message,) = line.wait(0.001 + late)
    assert isinstance(message, cdc.ServingSystem)
    assert (message.registration_type, message.timestamp_ns) == (DEREGISTRATION, bound + 60 * SECOND)
    assert line.events[-1].received_ns == bound + 60 * SECOND
    assert message.request_address_info == (
        AddressBinding(address=Party(uri=(S_CONTACT,)), expiration_period=0),
    )  # fmt: skip
    assert line.model.next_deadline_ns() is None
    assert bind(line, CONTACT, cseq=2) == [REGISTRATION]


def test_a_binding_that_ran_out_is_found_by_the_next_packet_too(line: Line) -> None:
    bind(line, CONTACT, seconds=60)
    line.now_ns += 100 * SECOND
    assert kinds(line.register(CONTACT, cseq=2)) == [DEREGISTRATION]
    assert kinds(line.accept(f"{CONTACT};expires=60", cseq=2)) == [REGISTRATION]


def test_everything_is_removed_at_once(line: Line) -> None:
    bind(line, CONTACT)
    bind(line, HOTEL, call_id="reg2", listed=(f"{CONTACT};expires=9", f"{HOTEL};expires=9"))
    assert bind(line, "*", cseq=2, seconds=0, listed=()) == [DEREGISTRATION]
    message = line.messages[-1]
    assert isinstance(message, cdc.ServingSystem)
    assert [each.address.uri[0] for each in message.request_address_info] == [S_CONTACT, HOTEL.strip("<>")]


def test_a_phone_that_clears_everything_at_its_start(line: Line) -> None:
    assert bind(line, "*", seconds=0, listed=(), cseq=71) == [DEREGISTRATION]
    assert bind(line, "*", seconds=0, listed=(), cseq=72) == []
    assert bind(line, CONTACT, cseq=73) == [REGISTRATION]


# A restart invents nothing


def test_a_refresh_of_what_was_bound_before_is_not_a_registration(line: Line) -> None:
    assert bind(line, CONTACT, cseq=17) == [UNKNOWN]
    assert bind(line, CONTACT, cseq=18) == []


def test_what_a_known_phone_adds_or_takes_up_again_is_new(line: Line) -> None:
    assert bind(line, CONTACT, cseq=17) == [UNKNOWN]
    assert bind(line, CONTACT, HOTEL, cseq=18) == [REGISTRATION]
    assert bind(line, CONTACT, HOTEL, cseq=19, seconds=0, listed=()) == [DEREGISTRATION]
    assert bind(line, HOTEL, cseq=20) == [REGISTRATION]


def test_a_refresh_that_is_accepted_too_late(line: Line) -> None:
    bind(line, CONTACT, seconds=60)
    line.now_ns += 59 * SECOND
    assert line.register(CONTACT, cseq=2) == []
    line.now_ns += 20 * SECOND
    assert kinds(line.accept(f"{CONTACT};expires=60", cseq=2)) == [DEREGISTRATION, REGISTRATION]


def test_the_first_hop_tells_where_it_went(line: Line) -> None:
    line.register(CONTACT)
    line.register(CONTACT, registrar="sip:core.example")  # what a proxy made of it
    (message,) = line.accept(f"{CONTACT};expires=60")
    assert isinstance(message, cdc.ServingSystem) and message.system_identity == "carrier.example"


def test_after_a_whole_period_every_binding_was_seen(line: Line) -> None:
    line.model.start(START - 3601 * SECOND)
    assert bind(line, CONTACT, cseq=17) == [REGISTRATION]
    within = Line(CallModel(surveillance()))
    within.model.start(START - 3500 * SECOND)
    assert bind(within, CONTACT, cseq=17) == [UNKNOWN]


def test_the_contacts_of_others_in_the_first_list_are_only_learnt(line: Line) -> None:
    both = (f"{CONTACT};expires=3600", f"{HOTEL};expires=3600")
    assert bind(line, CONTACT, cseq=1, listed=both) == [REGISTRATION]
    assert bind(line, HOTEL, cseq=40, call_id="reg2", listed=both) == []


def test_a_question_changes_nothing(line: Line) -> None:
    line.register(expires=None)
    assert line.accept(f"{CONTACT};expires=100") == []
    assert bind(line, CONTACT, cseq=2) == []


def test_a_response_without_its_request_says_nothing(line: Line) -> None:
    assert line.accept(f"{CONTACT};expires=3600") == []


# Odd ones


def test_a_third_party_registers_the_subject(line: Line) -> None:
    line.register(CONTACT, from_=A_URI)
    (message,) = line.accept(f"{CONTACT};expires=3600", from_=A_URI)
    assert isinstance(message, cdc.ServingSystem)
    assert message.registering == Party(dn=S[1:], uri=(S_URI,))
    assert message.requesting is not None and message.requesting.uri == (A_URI,)


def test_a_registrar_that_lists_nothing_accepted_what_was_asked(line: Line) -> None:
    assert bind(line, CONTACT, listed=(), seconds=120) == [REGISTRATION]
    assert line.model.next_deadline_ns() == line.now_ns + 120 * SECOND + GRACE_NS


def test_the_times_of_a_registrar_that_states_them_once(line: Line) -> None:
    line.register(f"{CONTACT};expires=77")
    (message,) = line.accept(CONTACT, headers=("Expires: 55",))
    assert isinstance(message, cdc.ServingSystem) and message.expiration_period == 55
    line.register(f"{HOTEL};expires=66", call_id="r3")
    (message,) = line.accept(HOTEL, call_id="r3")
    assert isinstance(message, cdc.ServingSystem) and message.expiration_period == 66
    line.register("<sip:x@10.9.9.9>", expires=None, call_id="r2")
    (message,) = line.accept("<sip:x@10.9.9.9>", call_id="r2", headers=("Expires: soon",))
    assert isinstance(message, cdc.ServingSystem) and message.expiration_period == 3600


def test_nothing_is_due_after_the_order(line: Line) -> None:
    bind(line, CONTACT, seconds=60)
    line.model.stop(line.now_ns)
    assert line.model.next_deadline_ns() is None
    assert line.wait(600) == []


@pytest.mark.parametrize("contact", ["", "*", "<>", "<sip:>", "\udcff", "<sip:x@y;expires=1", ";;;", "<" * 900])
def test_strange_contacts_do_no_harm(line: Line, contact: str) -> None:
    for cseq, expires in enumerate((None, 0, 10**9), 1):
        line.register(contact, expires=expires, cseq=cseq)
        line.accept(contact, cseq=cseq)
    line.wait(2e9)


def test_memory_is_bounded(line: Line) -> None:
    trunk = Line(CallModel(surveillance(subjects=("sip:*@carrier.example",))))
    for n in range(MAX_SUBSCRIBERS + 40):
        uri = f"sip:u{n}@carrier.example"
        trunk.register(CONTACT, from_=uri, to=uri, call_id=f"r{n}")
        trunk.accept(f"{CONTACT};expires=60", from_=uri, to=uri, call_id=f"r{n}")
    registrations = trunk.model._service._registrations
    assert len(registrations._subscribers) == MAX_SUBSCRIBERS
    assert trunk.model.counters["registrations_forgotten"] == 40
    for n in range(MAX_REQUESTS + 1):
        trunk.register(CONTACT, call_id=f"pending{n}")
    assert len(registrations._requests) == MAX_REQUESTS
    for n in range(4 * MAX_BINDINGS):
        bind(line, f"<sip:a@10.0.0.{n}>", call_id=f"c{n}")
        bind(line, f"<sip:b@10.0.0.{n}>", call_id=f"c{n}", seconds=0, listed=(), cseq=2)
    (subscriber,) = line.model._service._registrations._subscribers.values()
    assert len(subscriber.bindings) <= MAX_BINDINGS and len(subscriber.gone) <= MAX_BINDINGS


@pytest.mark.parametrize("seed", range(40))
def test_every_change_is_told_once_whatever_is_repeated(seed: int) -> None:
    """A phone that moves, refreshes and leaves at random before one registrar; the messages tell the same story."""
    rng = random.Random(seed)
    line = Line(CallModel(surveillance()), hops=rng.choice((1, 2, 3)))
    bound: str | None = None
    told: list[RegistrationType | None] = []
    expected: list[RegistrationType | None] = []
    for cseq in range(1, 30):
        wanted = rng.choice((CONTACT, HOTEL, bound or CONTACT))
        leave = rng.random() < 0.2 and bound is not None
        if leave:
            told += bind(line, bound or "", cseq=cseq, seconds=0, listed=())
            expected.append(DEREGISTRATION)
            bound = None
            continue
        status = rng.choice((200, 200, 200, 401))
        line.register(wanted, cseq=cseq)
        told += kinds(line.accept(f"{wanted};expires=3600", cseq=cseq) if status == 200 else line.accept(status=401,
                      cseq=cseq))  # fmt: skip
        if status == 200:
            if bound != wanted:
                expected.append(MOVED if bound else REGISTRATION)
            bound = wanted
    assert told == expected
