"""The content of a call as the agency is told of it: channels, changes, and every reason why content cannot be had."""

from __future__ import annotations

import zlib

import msgspec
import pytest

from mediation.core.call import CallModel
from mediation.core.case import ContentDestination
from mediation.core.channel.channels import Channels
from mediation.core.channel.content import QUIET_LIMIT, ROWS, TABLE, Event, Reason, State, Verb
from mediation.core.message import ccc, cdc
from tests.core.call_rig import SECOND, Wire, incoming, sdp, surveillance

PLACE = ContentDestination(host="192.0.2.9", port=41810)
XID = bytes(range(16))
CONTENT = ("ccOpen", "ccChange", "ccClose", "ccUnavailable")


def channels(**changes: object) -> Channels:
    return Channels(XID, msgspec.structs.replace(PLACE, **changes))


def model(made: Channels | None = None, **changes: object) -> CallModel:
    return CallModel(surveillance(channels=made or channels(), **changes))


@pytest.fixture
def wire() -> Wire:
    return Wire(model())


def told(wire: Wire) -> list[str]:
    """The story, with the reasons of CCUnavailable and without signals."""
    found = []
    for message in wire.messages:
        if isinstance(message, ccc.CCUnavailable):
            found.append(f"ccUnavailable {message.unavailability_reason}")
        elif not isinstance(message, cdc.NetworkSignal | cdc.SubjectSignal):
            found.append(message.name)
    return found


def packet(wire: Wire, key: int | None = None) -> None:
    """The delivery function tells of a first packet."""
    own = zlib.crc32(wire.call_id.encode()) or 1
    wire.events += wire.model.content_seen(own if key is None else key, wire.now_ns)


def secure(version: int = 1, *, keys: bool, **more: object) -> str:
    text = sdp(version, **more).replace("RTP/AVP", "RTP/SAVP" if keys else "UDP/TLS/RTP/SAVPF")  # type: ignore[arg-type]
    line = "a=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:WVNfX19zZW1jdGwgKCkgewkyMjA7fQp9CnVubGVz"
    return text + (line if keys else "a=fingerprint:sha-256 00:11\r\na=setup:actpass") + "\r\n"


# What is said, and when


def test_a_channel_opens_before_the_answer_and_closes_before_the_release(wire: Wire) -> None:
    wire.connect()
    packet(wire)
    wire.bye()
    assert told(wire) == ["origination", "ccOpen", "answer", "ccClose", "release"]
    opened = next(each for each in wire.messages if isinstance(each, ccc.CCOpen))
    assert opened.subject_media == cdc.Media(sdp=sdp(), status=cdc.MediaStatus.GRANTED)
    assert opened.associate_media is not None and "10.0.9.9" in str(opened.associate_media.sdp)
    assert opened.form is ccc.Form.CC_APDU
    closed = next(each for each in wire.messages if isinstance(each, ccc.CCClose))
    assert (closed.channel, closed.call_id) == (opened.channel, opened.call_id)
    assert [each.verb for each in wire.model.bindings()] == [Verb.OPEN, Verb.CLOSE]


def test_in_a_call_to_the_subject_its_media_are_the_answer() -> None:
    wire = incoming(model())
    wire.connect()
    opened = next(each for each in wire.messages if isinstance(each, ccc.CCOpen))
    assert opened.subject_media is not None and "10.0.9.9" in str(opened.subject_media.sdp)
    assert told(wire) == ["termAttempt", "ccOpen", "answer"]


def test_early_media_open_the_channel_and_another_answer_changes_it(wire: Wire) -> None:
    wire.invite()
    wire.response(183, body=sdp(address="10.0.9.8", origin="early"))
    wire.answer(body=sdp(address="10.0.9.9", origin="late"))
    wire.bye()
    assert told(wire) == [
        "origination", "mediaAndAddressReporting", "ccOpen", "answer", "ccChange", "ccClose", "release",
    ]  # fmt: skip


def test_the_same_answer_again_changes_nothing(wire: Wire) -> None:
    wire.invite()
    wire.response(183, body=sdp(address="10.0.9.9", origin="a"))
    wire.answer(body=sdp(address="10.0.9.9", origin="a"))
    assert told(wire) == ["origination", "mediaAndAddressReporting", "ccOpen", "answer"]


def test_an_offer_in_the_answer_opens_with_the_acknowledgement(wire: Wire) -> None:
    wire.invite(body="")
    wire.response(200, body=sdp(address="10.0.9.9", origin="a"))
    assert told(wire) == ["origination", "answer"]
    wire.request("ACK", branch="z9hG4bK-ack", body=sdp())
    assert told(wire) == ["origination", "answer", "mediaAndAddressReporting", "ccOpen"]


def test_hold_and_retrieve_change_the_channel(wire: Wire) -> None:
    wire.connect()
    wire.offer(sdp(2, direction="sendonly"), sdp(2, direction="recvonly", address="10.0.9.9", origin="a"))
    wire.offer(sdp(3), sdp(3, address="10.0.9.9", origin="a"), cseq=11)
    assert told(wire)[3:] == ["connectionBreak", "ccChange", "connection", "ccChange"]


def test_a_session_refresh_changes_nothing(wire: Wire) -> None:
    wire.connect()
    wire.offer(sdp(), sdp(address="10.0.9.9", origin="a"))
    assert told(wire) == ["origination", "ccOpen", "answer"]


def test_a_packet_that_overtakes_the_answer_opens_the_channel(wire: Wire) -> None:
    wire.invite()
    packet(wire)
    wire.answer()
    assert told(wire) == ["origination", "ccOpen", "answer", "ccChange"]


def test_a_call_joined_midway_opens_with_its_first_packet(wire: Wire) -> None:
    wire.request("INVITE", to_tag="called", body=sdp(2), cseq=7)
    wire.response(200, cseq=7, body=sdp(2, address="10.0.9.9", origin="a"))
    assert told(wire) == ["mediaAndAddressReporting", "ccOpen"]
    other = Wire(model(), call_id="other")
    other.request("UPDATE", to_tag="called", cseq=7)
    packet(other)
    assert told(other) == ["ccOpen"]


def test_an_unanswered_call_without_media_has_no_channel(wire: Wire) -> None:
    wire.invite()
    wire.ring()
    wire.response(486)
    assert not set(told(wire)) & set(CONTENT)
    assert wire.model.bindings() == []


def test_refused_streams_are_no_media(wire: Wire) -> None:
    wire.invite()
    wire.answer(body=sdp(port=0, address="10.0.9.9", origin="a"))
    wire.wait(QUIET_LIMIT / SECOND + 1)
    assert told(wire) == ["origination", "answer"]


def test_the_order_s_end_closes_before_it_says_so(wire: Wire) -> None:
    wire.connect()
    wire.events += wire.model.stop(wire.now_ns)
    assert told(wire)[-2:] == ["ccClose", "surveillanceStatus"]
    packet(wire)
    wire.bye()
    assert told(wire)[-1] == "surveillanceStatus"


def test_an_order_without_content_has_none() -> None:
    wire = Wire(CallModel(surveillance()))
    wire.connect()
    packet(wire)
    wire.bye()
    assert told(wire) == ["origination", "answer", "release"]
    assert wire.model.bindings() == []


# Never silence


def test_keys_in_the_description_are_delivered_with_it(wire: Wire) -> None:
    wire.invite(body=secure(keys=True))
    wire.answer(body=secure(keys=True, address="10.0.9.9", origin="a"))
    opened = next(each for each in wire.messages if isinstance(each, ccc.CCOpen))
    assert opened.subject_media is not None and "inline:" in str(opened.subject_media.sdp)


def test_keys_that_the_ends_alone_have(wire: Wire) -> None:
    wire.invite(body=secure(keys=False))
    wire.answer(body=secure(keys=False, address="10.0.9.9", origin="a"))
    packet(wire)
    packet(wire)
    wire.bye()
    assert told(wire) == ["origination", f"ccUnavailable {Reason.ENCRYPTED}", "answer", "release"]
    assert {each.verb for each in wire.model.bindings()} == {Verb.BAR}


def test_a_call_that_becomes_secret_closes_its_channel(wire: Wire) -> None:
    wire.connect()
    wire.offer(secure(2, keys=False), secure(2, keys=False, address="10.0.9.9", origin="a"))
    wire.offer(sdp(3), sdp(3, address="10.0.9.9", origin="a"), cseq=11)
    media = "mediaAndAddressReporting"
    assert told(wire)[2:] == [
        "answer", media, f"ccUnavailable {Reason.ENCRYPTED}", "ccClose", media, "ccOpen",
    ]  # fmt: skip


def test_a_secret_picture_beside_a_clear_voice(wire: Wire) -> None:
    picture = "m=video 40002 UDP/TLS/RTP/SAVPF 96\r\na=fingerprint:sha-256 00:11\r\n"
    wire.invite(body=sdp() + picture)
    wire.answer(body=sdp(address="10.0.9.9", origin="a") + picture)
    assert told(wire) == ["origination", "ccOpen", f"ccUnavailable {Reason.ENCRYPTED}", "answer"]


def test_media_that_go_elsewhere_and_come_back(wire: Wire) -> None:
    wire.connect()
    wire.wait(QUIET_LIMIT / SECOND + 1)
    wire.wait(QUIET_LIMIT / SECOND + 1)
    packet(wire)
    assert told(wire)[3:] == [f"ccUnavailable {Reason.ELSEWHERE}", "ccChange"]


def test_a_packet_in_time_is_no_silence(wire: Wire) -> None:
    wire.connect()
    packet(wire)
    wire.wait(QUIET_LIMIT / SECOND + 1)
    assert told(wire) == ["origination", "ccOpen", "answer"]


def test_media_that_leave_with_a_new_description(wire: Wire) -> None:
    wire.connect()
    packet(wire)
    wire.offer(sdp(2, address="203.0.113.9"), sdp(2, address="203.0.113.8", origin="a"))
    wire.wait(QUIET_LIMIT / SECOND + 1)
    assert told(wire)[3:] == ["mediaAndAddressReporting", "ccChange", f"ccUnavailable {Reason.ELSEWHERE}"]


def test_silence_of_a_held_call_is_not_told(wire: Wire) -> None:
    wire.connect()
    packet(wire)
    wire.offer(sdp(2, direction="inactive"), sdp(2, direction="inactive", address="10.0.9.9", origin="a"))
    wire.wait(10)
    assert not any(each.startswith("ccUnavailable") for each in told(wire))


def test_more_calls_than_channels() -> None:
    made = channels(maximum=1)
    calls = CallModel(surveillance(channels=made))
    first, second = Wire(calls, call_id="one"), Wire(calls, call_id="two", caller_contact="sip:line2@10.0.0.6")
    first.connect()
    second.connect()
    assert told(second) == ["origination", f"ccUnavailable {Reason.NO_CHANNEL}", "answer"]
    packet(second)
    assert told(second)[-1] == "answer"
    first.bye()
    packet(second)
    assert told(second)[-1] == "ccOpen"
    assert (made.used, made.refused) == (1, 1)


def test_the_content_link_is_lost_and_comes_back() -> None:
    made = channels()
    wire = Wire(CallModel(surveillance(channels=made)))
    wire.connect()
    for up in (False, False, True, True, False):
        made.link_up = up
        wire.events += wire.model.content_link(wire.now_ns)
    lost = f"ccUnavailable {Reason.LINK}"
    assert told(wire)[3:] == [lost, "ccChange", lost]
    late = Wire(wire.model, call_id="late", caller_contact="sip:line2@10.0.0.6")
    late.connect()
    assert told(late) == ["origination", "ccOpen", lost, "answer"]


# Identifiers


def test_identifiers_are_the_same_after_a_restart_and_never_shared() -> None:
    taken: set[str] = set()
    one, two = Channels(XID, PLACE, taken), Channels(bytes(16), PLACE, taken)
    first = one.take("SBC1", "call")
    assert first == Channels(XID, PLACE).take("SBC1", "call")
    second = two.take("SBC1", "call")
    again = one.take("SBC1", "call")  # another call of the same name
    assert first is not None and second is not None and again is not None
    used = [each for channel in (first, second, again) for each in (channel.transmit, channel.receive)]
    assert len(set(used)) == 6 == len(taken)
    assert all(each is not None and len(each) == 8 and each == each.upper() and int(each, 16) >= 0 for each in used)
    for channel in (first, again):
        one.give_back(channel)
    two.give_back(second)
    assert (taken, one.used) == (set(), 0)


def test_a_combined_channel_is_one() -> None:
    channel = channels(channels="combined").take("SBC1", "call")
    assert channel is not None and channel.combined and not channel.transmit and not channel.receive


def test_a_call_seen_on_both_sides_of_a_server_is_delivered_once(wire: Wire) -> None:
    wire.connect()
    wire.model.bindings()
    packet(wire)
    call = next(iter(wire.model._calls.values()))
    wire.model._calls.alias(call, 77, "behind")  # the same call under the handle of its other leg
    packet(wire, key=77)
    assert [(each.verb, each.key) for each in wire.model.bindings()] == [(Verb.BAR, 77)]


# The table


def test_the_table_contradicts_nothing_and_knows_every_state() -> None:
    assert len(TABLE) == sum(len(row.states) for row in ROWS)
    assert {event for _, event in TABLE} == set(Event)
    reached = {State.IDLE} | {to for to, _ in TABLE.values()}
    assert reached == set(State)
    assert not any(state is State.CLOSED for state, _ in TABLE)
