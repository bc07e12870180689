"""Inside a call that is up: what is silent, hold and retrieve, media that move, digits, forks."""

from __future__ import annotations

import msgspec
import pytest

from mediation.core.call import CallModel
from mediation.core.interface.x2 import PayloadFormat, PduType
from mediation.core.message import cdc
from tests.core.call_rig import A_CONTACT, S_CONTACT, SECOND, Wire, incoming, press, sdp, surveillance

RINGBACK = "networkSignal RINGBACK_TONE"
ALERT = "networkSignal ALERTING_PATTERN_0"
UP = ["origination", RINGBACK, "answer"]


@pytest.fixture
def wire() -> Wire:
    return Wire(CallModel(surveillance()))


@pytest.fixture
def inwards() -> Wire:
    return incoming(CallModel(surveillance()))


# Silence


@pytest.mark.parametrize("method", ["INVITE", "UPDATE"])
@pytest.mark.parametrize("hops", [1, 2])
def test_a_session_refresh_is_silent(method: str, hops: int) -> None:
    wire = Wire(CallModel(surveillance()), span=hops)
    wire.connect()
    for cseq in (10, 11):
        wire.offer(sdp(), sdp(origin="a", address="10.0.9.9"), method=method, cseq=cseq)
        wire.offer("", "", method=method, cseq=cseq, from_caller=False)
    assert wire.story == UP


def test_an_anchored_copy_of_the_same_description_is_no_change(wire: Wire) -> None:
    """The re-INVITE is first seen behind a proxy that put its own address into c= and m=; o= is untouched."""
    wire.connect()
    wire.offer(sdp().replace("c=IN IP4 10.0.0.5", "c=IN IP4 10.0.3.3").replace("40000", "50000"), "")
    assert wire.story == UP


def test_glare_and_refused_changes_are_silent(wire: Wire) -> None:
    wire.connect()
    for cseq, status in ((10, 491), (11, 488), (12, 401)):
        wire.request("INVITE", body=sdp(2, direction="sendonly"), cseq=cseq)
        wire.response(status, cseq=cseq)
        wire.request("ACK", cseq=cseq)
    assert wire.story == UP
    wire.offer(sdp(2, direction="sendonly"), sdp(2, direction="recvonly", origin="a"), cseq=13)
    assert wire.story == [*UP, "subjectSignal hold", "connectionBreak"]


def test_prack_and_requests_inside_the_call_are_silent(wire: Wire) -> None:
    wire.invite()
    wire.ring()
    wire.request("PRACK", cseq=2)
    wire.response(200, method="PRACK", cseq=2)
    wire.answer()
    for method in ("INFO", "OPTIONS", "NOTIFY"):
        wire.request(method, cseq=20)
        wire.response(200, method=method, cseq=20)
    assert wire.story == UP


@pytest.mark.parametrize("method", ["REGISTER", "OPTIONS", "SUBSCRIBE", "NOTIFY", "PUBLISH"])
def test_other_methods_are_counted_by_name(wire: Wire, method: str) -> None:
    wire.request(method, to_tag=None)
    assert wire.story == []
    assert wire.model.counters[f"unreported_{method}"] == 1
    assert wire.model.calls == 0


def test_what_cannot_be_read_is_counted(wire: Wire) -> None:
    wire.give(b"\xff\xfe not SIP", from_caller=True)
    wire.give(b"", from_caller=True, form=PayloadFormat.SIP)
    wire.connect()
    wire.give(b"\x00", from_caller=True, form=PayloadFormat.RTP)
    wire.events += wire.model.observe(msgspec.structs.replace(wire.sent[0], payload_format=15, type=PduType.X2))
    assert wire.story == UP
    assert wire.model.counters["unparsable"] == 3
    assert wire.model.counters["unknown_format"] == 1


def test_digits_of_an_unknown_call_and_before_the_answer(wire: Wire) -> None:
    wire.play(press("1", 0))
    assert wire.model.counters["unknown_call"] == 6
    wire.invite()
    wire.ring()
    wire.play(press("2", 4000))
    wire.answer()
    wire.play(press("2", 4000))  # the same press, held across the answer
    wire.play(press("3", 8000))
    wire.bye()
    assert wire.story == [*UP, "dialedDgtExtrn 3", "release"]
    assert wire.model.counters["digits_before_answer"] == 1


def test_digits_without_the_capability_are_never_looked_at() -> None:
    wire = Wire(CallModel(surveillance(capabilities=frozenset())))
    wire.events += wire.model.set_dde(True, wire.now_ns)
    wire.connect()
    wire.dial("1#")
    assert wire.story == UP
    assert wire.model.counters["digits_off"] == 12


def test_a_hook_flash_completes_the_digits_before_it(wire: Wire) -> None:
    wire.connect()
    wire.play(press("1", 0))
    wire.play(press("!", 4000))
    assert wire.story[3:] == ["dialedDgtExtrn 1", "subjectSignal flash"]


def test_digits_far_apart_by_their_stamps_are_two_strings(wire: Wire) -> None:
    """Also when nobody asked for what was due in between, as when a capture is replayed."""
    wire.connect()
    wire.play(press("1", 0))
    wire.now_ns += 2 * SECOND
    wire.play(press("2", 16_000))
    wire.bye()
    assert wire.story[3:] == ["dialedDgtExtrn 1", "dialedDgtExtrn 2", "release"]


def test_digits_come_before_what_happened_after_them(wire: Wire) -> None:
    wire.connect()
    wire.play(press("1", 0))
    wire.offer(sdp(2, direction="inactive"), sdp(2, direction="inactive", origin="a"))
    stamps = [message.timestamp_ns for message in wire.messages]
    assert wire.story[3:] == ["dialedDgtExtrn 1", "subjectSignal hold", "connectionBreak"]
    assert stamps == sorted(stamps)


# Hold


def test_both_sides_hold(wire: Wire) -> None:
    """Media flow again only when neither holds; the subject's own acts are told all the same."""
    wire.connect()
    wire.offer(sdp(2, direction="sendonly"), sdp(2, direction="recvonly", origin="a"), cseq=10)
    wire.offer(sdp(3, direction="inactive", origin="a"), sdp(3, direction="inactive"), cseq=50, from_caller=False)
    wire.offer(sdp(4), sdp(4, direction="sendonly", origin="a"), cseq=11)
    wire.offer(sdp(5, origin="a"), sdp(5), cseq=51, from_caller=False)
    assert wire.story[3:] == ["subjectSignal hold", "connectionBreak", "subjectSignal retrieve", "connection"]


def test_hold_by_a_null_address(wire: Wire) -> None:
    wire.connect()
    wire.offer(sdp(2, address="0.0.0.0"), sdp(2, origin="a"))
    wire.offer(sdp(3), sdp(3, origin="a"), cseq=11)
    assert wire.story[3:] == ["subjectSignal hold", "connectionBreak", "subjectSignal retrieve", "connection"]
    broken, joined = wire.messages[4], wire.messages[6]
    assert isinstance(broken, cdc.ConnectionBreak) and isinstance(joined, cdc.Connection)
    assert [party.dn for party in broken.removed_parties] == ["12015550199"]
    assert [party.dn for party in broken.remaining_parties] == ["12015550123"]
    assert [party.dn for party in joined.connected_parties] == ["12015550123", "12015550199"]
    assert [party.dn for party in joined.new_parties] == ["12015550199"]


def test_the_offer_comes_in_the_response(wire: Wire) -> None:
    """A delayed offer: INVITE without a body, SDP in 200 and ACK, at set-up and inside the call."""
    wire.invite(body="")
    wire.response(200, body=sdp(address="10.0.9.9", origin="a"))
    wire.request("ACK", branch="z9hG4bK-ack", body=sdp())
    wire.request("INVITE", cseq=10)
    wire.response(200, cseq=10, body=sdp(2, address="10.0.9.9", origin="a", direction="sendonly"))
    wire.request("ACK", cseq=10, body=sdp(2, direction="recvonly"), branch="z9hG4bK-ack2")
    assert wire.story == ["origination", "answer", "mediaAndAddressReporting", "connectionBreak",
                          "mediaAndAddressReporting"]  # fmt: skip
    report = wire.messages[2]
    assert isinstance(report, cdc.MediaAndAddressReporting)
    assert report.subject_media is not None and report.associate_media == ()


def test_media_that_move_are_told_with_both_contacts(wire: Wire) -> None:
    wire.connect()
    wire.offer(sdp(2, address="10.0.0.77"), sdp(1, origin="a", address="10.0.9.9"))
    report = wire.messages[3]
    assert isinstance(report, cdc.MediaAndAddressReporting)
    assert report.subject_media is not None and "10.0.0.77" in (report.subject_media.sdp or "")
    assert report.subject_contact_addresses == cdc.Party(uri=(S_CONTACT,))
    assert report.associate_contact_addresses == cdc.Party(uri=(A_CONTACT,))


def test_contacts_that_move_are_told_without_media(wire: Wire) -> None:
    wire.connect()
    wire.request("UPDATE", cseq=10, contact="sip:line1@10.0.0.66")
    wire.response(200, method="UPDATE", cseq=10, contact="sip:a@10.0.9.66")
    wire.request("UPDATE", cseq=11, contact="sip:line1@10.0.0.66;transport=tcp")
    wire.response(200, method="UPDATE", cseq=11, contact="sip:a@10.0.9.66")
    assert wire.story == [*UP, "mediaAndAddressReporting"]
    report = wire.messages[3]
    assert isinstance(report, cdc.MediaAndAddressReporting)
    assert report.subject_contact_addresses == cdc.Party(uri=("sip:line1@10.0.0.66",))
    assert report.associate_contact_addresses == cdc.Party(uri=("sip:a@10.0.9.66",))
    assert (report.subject_media, report.associate_media) == (None, ())


def test_a_hold_by_offer_in_the_response(inwards: Wire) -> None:
    """A holds; then A asks for an offer (INVITE without a body), and S's phone offers a hold of its own."""
    inwards.connect()
    inwards.offer(sdp(2, direction="sendonly"), sdp(2, direction="recvonly", origin="a"), cseq=10)
    inwards.offer("", sdp(3, direction="sendonly", origin="a"), cseq=11)
    assert inwards.story[3:] == ["connectionBreak", "subjectSignal hold"]


# Forks


def test_a_fork_that_answers_too_late_does_not_end_the_call(wire: Wire) -> None:
    wire.invite()
    wire.ring(tag="one")
    wire.ring(tag="two")
    wire.response(200, tag="one", body=sdp(origin="a"))
    wire.response(200, tag="two", body=sdp(origin="b"))
    wire.called_tag = "two"
    wire.bye()
    assert wire.story == ["origination", RINGBACK, "answer", "release leg two"]
    wire.called_tag = "one"
    wire.bye()
    assert wire.story[4:] == ["release"]
    answer = wire.messages[2]
    assert isinstance(answer, cdc.Answer) and answer.call_id.leg == "one"
