"""What happens beside calls, message by message: text, message waiting, REFER, and what says nothing."""

from __future__ import annotations

import pytest

from mediation.core.call import CallModel
from mediation.core.calls.service import MAX_MAILBOXES, MAX_SEEN, SILENT_EVENTS
from mediation.core.case import Authority, Capability
from mediation.core.message import cdc
from mediation.core.network.sip import parse
from tests.core.call_rig import A_CONTACT, A_URI, ALL, B_URI, S_CONTACT, S_URI, Wire, surveillance
from tests.core.service_rig import Line

PLAIN = ("Content-Type: text/plain", "Subject: secret", "P-Access-Network-Info: IEEE-802.11")


def line(hops: int = 1, **order: object) -> Line:
    return Line(CallModel(surveillance(**order)), hops=hops)


def pen(**order: object) -> Line:
    return line(authority=Authority.PEN_REGISTER, capabilities=frozenset({Capability.DIGITS}), **order)


# MESSAGE


@pytest.mark.parametrize("hops", [1, 2])
@pytest.mark.parametrize("to_subject", [False, True])
def test_a_message_goes_to_a_content_order_with_its_words(hops: int, to_subject: bool) -> None:
    phone = line(hops)
    ends = {"from_": A_URI, "to": S_URI} if to_subject else {}
    for _ in range(3):  # retransmissions
        phone.request("MESSAGE", headers=PLAIN, body="meet me", from_subject=not to_subject, **ends)
    phone.response(200, "MESSAGE", from_subject=to_subject, **ends)
    (message,) = phone.messages
    assert message == cdc.UuContent(
        case_id="CASE-1",
        iap_system_id="SBC1",
        timestamp_ns=phone.events[0].received_ns,
        call_id=cdc.CallIdentity(main="beside"),
        sip_headers=(
            f"From: <{A_URI if to_subject else S_URI}>;tag=f", f"To: <{S_URI if to_subject else A_URI}>",
            "P-Access-Network-Info: IEEE-802.11",
        ),
        body_headers=("Content-Type: text/plain",),
        body=b"meet me",
    )  # fmt: skip


@pytest.mark.parametrize(
    ("authority", "capabilities"),
    [
        (Authority.PEN_REGISTER, frozenset({Capability.DIGITS})),
        (Authority.TRAP_AND_TRACE, frozenset()),
        (Authority.TITLE_III, frozenset({Capability.LOCATION})),
        (Authority.FISA, frozenset()),
    ],
)
def test_without_content_a_message_is_its_envelope(authority: Authority, capabilities: frozenset[Capability]) -> None:
    phone = line(authority=authority, capabilities=capabilities)
    (message,) = phone.request("MESSAGE", headers=PLAIN, body="meet me at noon")
    assert isinstance(message, cdc.DirectSignalReporting)
    assert message.correlation_id == b"beside"
    (signaling,) = message.signaling
    assert b"meet" not in signaling.octets and b"secret" not in signaling.octets
    envelope = parse(signaling.octets)
    assert (envelope.method, envelope.to.uri, envelope.from_.uri, envelope.body) == ("MESSAGE", A_URI, S_URI, b"")
    assert phone.request("MESSAGE", headers=PLAIN, body="meet me at noon") == []


def test_a_message_without_words_is_its_envelope() -> None:
    (message,) = line().request("MESSAGE")
    assert isinstance(message, cdc.DirectSignalReporting)


def test_a_message_that_was_challenged_is_one() -> None:
    phone = line()
    phone.request("MESSAGE", headers=PLAIN, body="meet me")
    phone.response(407, "MESSAGE")
    phone.request("MESSAGE", headers=(*PLAIN, "Proxy-Authorization: Digest x"), body="meet me", cseq=2)
    phone.response(202, "MESSAGE", cseq=2)
    assert [each.name for each in phone.messages] == ["uuContent"]
    phone.request("MESSAGE", headers=PLAIN, body="and you?", cseq=3)
    assert [each.name for each in phone.messages] == ["uuContent", "uuContent"]


def test_a_message_that_failed_otherwise_and_comes_again_is_two() -> None:
    phone = line()
    phone.request("MESSAGE", headers=PLAIN, body="meet me")
    phone.response(480, "MESSAGE")
    phone.request("MESSAGE", headers=PLAIN, body="meet me", cseq=2)
    assert [each.name for each in phone.messages] == ["uuContent", "uuContent"]


def test_a_message_inside_a_call_is_reported_and_changes_no_call() -> None:
    wire = Wire(CallModel(surveillance()))
    wire.connect()
    wire.request("MESSAGE", cseq=20, headers=("Content-Type: text/plain",), body="now")
    wire.response(200, method="MESSAGE", cseq=20)
    wire.bye()
    assert wire.story[-2:] == ["uuContent", "release"]
    message = wire.messages[-2]
    assert isinstance(message, cdc.UuContent) and message.call_id.main == wire.call_id


# Message waiting (scenario 25)


def waiting(phone: Line, state: str = "yes", *counts: str, cseq: int = 1, account: str = "sip:vm@carrier.example",
            to: str = S_URI, **more: object) -> list[str | None]:  # fmt: skip
    """What the display of the subject's phone was given."""
    body = "\r\n".join((f"Messages-Waiting: {state}", f"Message-Account: {account}", *counts, ""))
    values: dict[str, object] = {"uri": S_CONTACT, "from_": "sip:vm@carrier.example", "from_subject": False, **more}
    headers = ("Event: message-summary;id=1", "Content-Type: application/simple-message-summary")
    found = phone.request("NOTIFY", to=to, cseq=cseq, headers=headers, body=body, **values)  # type: ignore[arg-type]
    shown = []
    for each in found:
        assert isinstance(each, cdc.NetworkSignal) and each.terminal_display_info is not None
        assert each.subject_audible_signal is None
        shown.append(each.terminal_display_info.message_waiting_notif)
    return shown


@pytest.mark.parametrize("hops", [1, 2])
def test_message_waiting_is_told_when_it_changes(hops: int) -> None:
    phone = line(hops)
    assert waiting(phone, "no", "Voice-Message: 0/2 (0/0)") == []
    assert waiting(phone, "yes", "Voice-Message: 1/2 (0/0)", cseq=2) == ["yes; voice 1/2 (0/0)"]
    assert waiting(phone, "yes", "Voice-Message: 1/2 (0/0)", cseq=3) == []
    assert waiting(phone, "Yes", "Voice-Message: 2/2", "Fax-Message: 1/0", "", "To: x", cseq=4) == [
        "yes; voice 2/2; fax 1/0"
    ]  # fmt: skip
    assert waiting(phone, "no", cseq=5) == ["no"]
    assert waiting(phone, "no", cseq=6) == []


def test_who_is_told_that_messages_wait() -> None:
    phone = line()
    waiting(phone, to_tag="s", by_subject=True, call_id="sub")
    (message,) = phone.messages
    assert isinstance(message, cdc.NetworkSignal)
    assert message.call_id == cdc.CallIdentity(main="sub")
    assert message.signaled_to_party_id is not None and message.signaled_to_party_id.uri == (S_URI,)


def test_a_mailbox_under_the_subject_s_own_name() -> None:
    """RFC 3842 section 5.8: alice subscribes to alice. What an access point says of the direction is then no matter."""
    phone = line()
    assert waiting(phone, from_=S_URI, from_subject=True, to_tag="s") == ["yes"]


def test_each_mailbox_has_a_state_of_its_own() -> None:
    phone = line()
    assert waiting(phone, cseq=1) == ["yes"]
    assert waiting(phone, cseq=2, account="sip:sales@carrier.example") == ["yes"]
    assert waiting(phone, cseq=3) == []
    for n in range(MAX_MAILBOXES + 4):
        waiting(phone, cseq=4 + n, account=f"sip:{n}@carrier.example")
    assert len(phone.model._service._mailboxes) == MAX_MAILBOXES
    assert phone.model.counters["mailboxes_forgotten"] == 6


def test_the_mailbox_of_somebody_else_at_the_subject() -> None:
    assert waiting(line(), from_=S_URI, to=A_URI, uri=A_CONTACT, from_subject=True) == []


@pytest.mark.parametrize("body", ["", "garbage", "Messages-Waiting\r\n", ":\r\n" * 50])
def test_a_notify_without_a_summary_says_nothing(body: str) -> None:
    phone = line()
    assert phone.request("NOTIFY", uri=S_URI, to=S_URI, from_subject=False, headers=("o: message-summary",),
                         body=body) == []  # fmt: skip


def test_message_waiting_to_a_pen_register() -> None:
    assert waiting(pen(), "yes", "Voice-Message: 1/2") == ["yes; voice 1/2"]


@pytest.mark.parametrize(
    "words",
    [
        "Voice-Message: meet me at noon",
        "Meet-Me-At-Noon-Message: 1/2",
        "Noon-Message: x",
        "Voice-Message: 1/2 (noon)",
        "Text-Message: 1/2\N{LINE SEPARATOR}noon-message: 3/4",
    ],
)
def test_words_in_a_message_summary_reach_nobody(words: str) -> None:
    """Its body is text; a display of numbers is what a pen register may have of it."""
    (shown,) = waiting(pen(), "yes", words)
    assert shown is not None and "noon" not in shown.lower() and shown.startswith("yes")


# REFER


REFER = ("Refer-To: <sip:b@x?Replaces=1>", "r: <sip:b@x>", "Referred-By: <sip:s@x>", "User-Agent: x")
LINES = ("Refer-To: <sip:b@x?Replaces=1>", "Refer-To: <sip:b@x>", "Referred-By: <sip:s@x>")


@pytest.mark.parametrize("hops", [1, 2])
def test_a_refer_by_the_subject_outside_of_a_call(hops: int) -> None:
    phone = line(hops)
    phone.request("REFER", to=B_URI, headers=REFER)
    phone.response(407, "REFER", to=B_URI)
    phone.request("REFER", to=B_URI, headers=REFER, cseq=2)
    phone.response(202, "REFER", to=B_URI, cseq=2)
    phone.request("NOTIFY", uri=S_CONTACT, from_=B_URI, to=S_URI, to_tag="f", from_subject=False, by_subject=True,
                  headers=("Event: refer", "Content-Type: message/sipfrag"), body="SIP/2.0 200 OK")  # fmt: skip
    (message,) = phone.messages
    assert isinstance(message, cdc.SubjectSignal)
    assert message.refer == LINES
    assert message.signaling_party_id is not None and message.signaling_party_id.uri == (S_URI,)
    assert message.signaled_party_id is not None and message.signaled_party_id.uri == (B_URI,)


def test_a_refer_to_the_subject_outside_of_a_call() -> None:
    phone = line()
    phone.request("REFER", uri=S_CONTACT, from_=A_URI, to=S_URI, headers=REFER, from_subject=False)
    (message,) = phone.messages
    assert isinstance(message, cdc.NetworkSignal)
    assert message.refer == LINES
    assert message.signaled_to_party_id is not None and message.signaled_to_party_id.uri == (S_URI,)


# What says nothing, and what is not understood


@pytest.mark.parametrize("method", ["OPTIONS", "PUBLISH", "SUBSCRIBE", "NOTIFY", "INFO"])
def test_what_says_nothing_of_calls_is_counted(method: str) -> None:
    phone = line()
    phone.request(method, headers=("Event: presence",))
    phone.response(200, method)
    assert phone.messages == []
    assert phone.model.counters[f"unreported_{method}"] == 2


@pytest.mark.parametrize("package", [*sorted(SILENT_EVENTS), "REG;x=1", " presence ; id=4"])
def test_packages_that_say_nothing_of_calls(package: str) -> None:
    phone = line()
    for cseq, method in enumerate(("SUBSCRIBE", "NOTIFY"), 1):
        phone.request(method, headers=(f"Event: {package}",), cseq=cseq, body="<x/>")
    assert phone.messages == []


@pytest.mark.parametrize(
    ("method", "headers"),
    [
        ("SUBSCRIBE", ("Event: as-feature-event",)),
        ("NOTIFY", ("Event: conference",)),
        ("INFO", ("Content-Type: application/vendor.digits",)),
        ("DANCE", ()),
    ],
)
@pytest.mark.parametrize("hops", [1, 2])
def test_what_is_not_understood_is_passed_on_once(method: str, headers: tuple[str, ...], hops: int) -> None:
    phone = line(hops, capabilities=ALL)
    for _ in range(2):
        phone.request(method, headers=headers, body="<x/>")
    phone.response(489, method)
    (message,) = phone.messages
    assert isinstance(message, cdc.DirectSignalReporting)
    (signaling,) = message.signaling
    assert signaling.octets.startswith(method.encode()) and signaling.octets.endswith(b"<x/>")


def test_what_is_not_understood_is_cut_down_for_a_pen_register() -> None:
    phone = pen()
    (message,) = phone.request("SUBSCRIBE", headers=("Event: as-feature-event", "User-Agent: x"), body="forward to")
    assert isinstance(message, cdc.DirectSignalReporting)
    octets = message.signaling[0].octets
    assert b"as-feature-event" in octets and b"forward" not in octets and b"User-Agent" not in octets


def test_after_the_order_nothing_is_said() -> None:
    phone = line()
    phone.model.stop(phone.now_ns)
    assert phone.request("MESSAGE", headers=PLAIN, body="meet me") == []


def test_memory_is_bounded() -> None:
    phone = line()
    for n in range(MAX_SEEN + 10):
        phone.request("OPTIONS", call_id=f"c{n}")
        phone.response(407, "OPTIONS", call_id=f"c{n}")
    service = phone.model._service
    assert len(service._seen) == len(service._challenged) == MAX_SEEN


def test_another_message_under_the_same_number_is_another_one() -> None:
    """The far phone shows both: only a request that is still answered has copies (RFC 3261 section 8.2.2.2)."""
    phone = line()
    for words in ("at noon", "no, at one", "at noon"):
        phone.request("MESSAGE", headers=PLAIN, body=words)
    phone.wait(65)
    phone.request("MESSAGE", headers=PLAIN, body="at noon")
    assert [message.body for message in phone.messages] == [b"at noon", b"no, at one", b"at noon"]
