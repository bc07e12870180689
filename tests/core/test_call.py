"""The call model where the wire is not as in the book: loss, copies, challenges, refreshes, calls already up."""

from __future__ import annotations

import msgspec
import pytest

from mediation.core import call as call_module
from mediation.core import cdc
from mediation.core.call import ROWS, TABLE, CallModel
from mediation.core.diagram import diagram, reachable
from mediation.core.dialog import LINGER, QUIET_LIMIT, SETUP_LIMIT, State
from mediation.core.errors import EncodingError
from mediation.core.media import Side
from mediation.core.reading import Event
from mediation.core.report import Say
from mediation.core.x2 import PayloadFormat, PduType, Role
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


# Stamps


def test_every_event_has_the_stamp_of_its_packet(wire: Wire) -> None:
    wire.connect()
    stamps = [pdu.stamp_ns for pdu in wire.sent]
    assert [event.message.timestamp_ns for event in wire.events] == [stamps[0], stamps[2], stamps[3]]
    assert all(event.received_ns == event.message.timestamp_ns for event in wire.events)
    assert all((event.error_ns, event.disciplined) == (20_000, True) for event in wire.events)


def test_digits_are_stamped_with_the_last_and_counted_from_the_first(wire: Wire) -> None:
    wire.connect()
    wire.play(press("1", 0))
    first = wire.sent[-6].stamp_ns
    wire.play(press("2", 9000))
    last = wire.sent[-6].stamp_ns
    wire.wait(2)
    assert wire.story[3:] == ["dialedDgtExtrn 12"]
    assert (wire.events[-1].received_ns, wire.messages[-1].timestamp_ns) == (first, last)


# Copies


@pytest.mark.parametrize("times", [2, 4])
def test_retransmissions_say_nothing(times: int) -> None:
    """Every message several times in a row (RFC 3261 section 17), as one tap would see it."""
    once = Wire(CallModel(surveillance()))
    once.connect()
    once.bye()
    model = CallModel(surveillance())
    events = [event for pdu in once.sent for _ in range(times) for event in model.observe(pdu)]
    assert events == once.events


def test_a_back_to_back_agent_that_keeps_the_call_id(wire: Wire) -> None:
    """Its other side has tags, CSeq and branches of its own; it is still one call with one answer and one end."""
    other = Wire(wire.model, caller_tag="agent", called_tag="far", cseq=7001, events=wire.events)
    wire.invite()
    other.invite()
    other.ring()
    wire.ring()
    other.answer()
    wire.answer()
    other.bye(from_caller=False)
    wire.bye(from_caller=False)
    assert wire.story == [*UP, "release"]


def test_a_back_to_back_agent_that_relays_a_change(wire: Wire) -> None:
    """The other side tells it once more, with its own tags and origin."""
    other = Wire(wire.model, caller_tag="agent", called_tag="far", cseq=7001, events=wire.events)
    for each in (wire, other):
        each.connect()
    wire.offer(sdp(2, codec="8 PCMA"), sdp(2, codec="8 PCMA", origin="a"))
    other.offer(sdp(2, codec="8 PCMA", origin="agent"), sdp(2, codec="8 PCMA", origin="b"))
    assert wire.story == [*UP, "mediaAndAddressReporting"]


def test_a_late_copy_of_a_hold_that_is_over(wire: Wire) -> None:
    wire.connect()
    start = len(wire.sent)
    wire.offer(sdp(2, direction="sendonly"), sdp(2, direction="recvonly", origin="a"), cseq=10)
    held = wire.sent[start:]
    wire.offer(sdp(3), sdp(3, origin="a"), cseq=11)
    assert [event for pdu in held for event in wire.model.observe(pdu)] == []
    assert wire.story[-1] == "connection"


def test_a_late_copy_of_an_invite(wire: Wire) -> None:
    """After a challenge was met, and after a CANCEL: it neither takes the attempt back nor revives it."""
    wire.invite()
    first = wire.sent[0]
    wire.response(407)
    wire.cseq = 2
    wire.invite()
    assert wire.model.observe(first) == []
    wire.ring()
    assert wire.story == ["origination", RINGBACK]
    second = wire.sent[2]
    wire.request("CANCEL", to_tag=None)
    assert wire.model.observe(second) == []
    wire.wait(5)
    assert wire.story == ["origination", RINGBACK, "release time"]


def test_an_invite_outside_of_the_dialog_of_a_call_that_is_up(wire: Wire) -> None:
    wire.connect()
    wire.request("INVITE", to_tag=None, cseq=7, body=sdp(9, codec="8 PCMA"))
    wire.offer(sdp(), sdp(origin="a", address="10.0.9.9"))
    wire.bye()
    assert wire.story == [*UP, "release"]


# Challenges and retries


def test_a_challenge_is_no_end(wire: Wire) -> None:
    wire.invite()
    wire.response(407, tag="proxy")
    wire.request("ACK", to_tag="proxy")
    wire.cseq = 2
    wire.connect()
    wire.bye()
    assert wire.story == [*UP, "release"]


def test_a_challenge_that_is_never_met_ends_without_a_tone(wire: Wire) -> None:
    wire.invite()
    wire.response(401, "Unauthorized")
    assert wire.model.next_deadline_ns() is not None
    wire.wait(3.9)
    assert wire.story == ["origination"]
    wire.wait(0.2)
    assert wire.story == ["origination", "release SIP/2.0 401 Unauthorized"]
    assert wire.messages[-1].timestamp_ns == wire.now_ns


def test_a_longer_session_interval_is_the_same_attempt(wire: Wire) -> None:
    wire.invite()
    wire.response(422)
    wire.cseq = 2
    wire.connect()
    assert wire.story == UP


def test_the_caller_follows_a_redirection(wire: Wire) -> None:
    wire.invite()
    wire.response(302, contact="sip:+12015550177@carrier.example")
    wire.cseq = 2
    wire.invite(uri="sip:+12015550177@carrier.example", hops=2)
    wire.ring()
    wire.answer()
    wire.bye()
    assert wire.story == ["origination", "redirection", RINGBACK, "answer", "release"]
    redirection = wire.messages[1]
    assert isinstance(redirection, cdc.Redirection)
    assert redirection.redirected_from is not None and redirection.redirected_from.dn == "12015550199"
    assert redirection.redirected_to is not None and redirection.redirected_to.dn == "12015550177"


def test_a_new_target_rings_anew(wire: Wire) -> None:
    wire.invite()
    wire.ring()
    wire.response(302, contact="sip:+12015550177@carrier.example")
    wire.cseq = 2
    wire.invite(uri="sip:+12015550177@carrier.example")
    wire.ring()
    assert wire.story == ["origination", RINGBACK, "redirection", RINGBACK]


def test_a_challenge_then_an_answer_that_was_lost(wire: Wire) -> None:
    wire.invite()
    wire.response(407)
    wire.cseq = 2
    wire.invite()
    wire.request("ACK", branch="z9hG4bK-new")
    assert wire.story == ["origination", "answer"]


def test_a_failure_inside_the_network_is_not_the_end(wire: Wire) -> None:
    """The proxy tries a second gateway, whose hop this tap does not see, for half a minute."""
    wire.invite(hops=2)
    wire.response(503, branch="z9hG4bK-INVITE-1-caller-hop1", hops=1)
    wire.request("ACK", branch="z9hG4bK-INVITE-1-caller-hop1", hops=1)
    wire.wait(30)
    wire.answer(hops=1)
    assert wire.story == ["origination", "answer"]


# Loss


def test_an_answer_without_ringing(wire: Wire, inwards: Wire) -> None:
    for each in (wire, inwards):
        each.invite()
        each.answer()
        each.bye()
    assert wire.story == ["origination", "answer", "release"]
    assert inwards.story == ["termAttempt", ALERT, "answer", "release"]


def test_a_bye_without_an_answer_invents_none(wire: Wire) -> None:
    wire.invite()
    wire.ring()
    wire.bye()
    assert wire.story == ["origination", RINGBACK, "release"]


def test_an_ack_of_its_own_branch_proves_the_answer(wire: Wire) -> None:
    wire.invite()
    wire.ring()
    wire.request("ACK", branch="z9hG4bK-new")
    wire.dial("5#")
    assert wire.story == [*UP, "dialedDgtExtrn 5#"]


def test_an_ack_of_the_invites_branch_proves_a_failure(wire: Wire) -> None:
    wire.invite(hops=2)
    wire.response(486, branch="z9hG4bK-INVITE-1-caller-hop1", hops=1)
    assert wire.story == ["origination"]
    wire.request("ACK", branch="z9hG4bK-INVITE-1-caller")
    assert wire.story == ["origination", "networkSignal BUSY_TONE", "release SIP/2.0 486 Busy Here"]


def test_a_cancel_whose_487_is_lost(wire: Wire) -> None:
    wire.invite()
    wire.request("CANCEL", to_tag=None)
    wire.wait(5)
    assert wire.story == ["origination", "release time"]


def test_a_cancel_that_came_too_late(wire: Wire) -> None:
    wire.invite()
    wire.ring()
    wire.request("CANCEL", to_tag=None)
    wire.answer()
    wire.wait(60)
    assert wire.story == UP
    wire.bye()
    assert wire.story == [*UP, "release"]


# A call that was up before


def test_a_call_already_up_has_no_invented_beginning(wire: Wire) -> None:
    wire.offer(sdp(2, codec="8 PCMA"), sdp(2, codec="8 PCMA", origin="a"))
    wire.dial("7#")
    wire.bye()
    assert wire.story == ["mediaAndAddressReporting", "dialedDgtExtrn 7#", "release"]
    assert wire.model.counters["calls_joined"] == 1


def test_a_call_already_up_of_which_nothing_was_said(wire: Wire) -> None:
    wire.answer()
    wire.bye()
    assert wire.story == []
    other = Wire(wire.model, call_id="other")
    other.ring()
    other.bye()
    assert other.story == []
    assert wire.model.counters["unknown_call"] == 3


def test_who_is_who_in_a_call_that_was_joined(inwards: Wire) -> None:
    """The first message seen is S's own re-INVITE, although A made the call."""
    inwards.offer(sdp(2, direction="sendonly"), sdp(2, direction="recvonly", origin="a"), from_caller=False)
    assert inwards.story == ["subjectSignal hold", "connectionBreak"]
    broken = inwards.messages[1]
    assert isinstance(broken, cdc.ConnectionBreak)
    assert [party.dn or party.user_provided for party in broken.removed_parties] == ["12015550199"]


def test_a_call_that_is_joined_by_its_answer(inwards: Wire) -> None:
    """The first message seen is the 200 of S's phone: S is the called party, and nothing is said of the answer."""
    inwards.answer()
    inwards.offer(sdp(2, direction="sendonly"), sdp(2, direction="recvonly", origin="a"), from_caller=False)
    assert inwards.story == ["subjectSignal hold", "connectionBreak"]


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
    for method in ("INFO", "OPTIONS", "NOTIFY", "MESSAGE"):
        wire.request(method, cseq=20)
        wire.response(200, method=method, cseq=20)
    assert wire.story == UP


@pytest.mark.parametrize("method", ["REGISTER", "MESSAGE", "OPTIONS", "SUBSCRIBE", "NOTIFY", "PUBLISH", "DANCE"])
def test_other_methods_are_counted_by_name(wire: Wire, method: str) -> None:
    wire.request(method, to_tag=None)
    name = "unreported_other" if method == "DANCE" else f"unreported_{method}"
    assert wire.story == []
    assert wire.model.counters[name] == 1
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


# Time and room


def test_calls_whose_end_was_missed_are_closed(wire: Wire, inwards: Wire) -> None:
    wire.connect()
    inwards.invite()
    inwards.wait(SETUP_LIMIT / SECOND + 1)
    wire.wait(QUIET_LIMIT / SECOND)
    assert wire.story == [*UP, "release time"]
    assert inwards.story == ["termAttempt", "release time"]
    release = wire.messages[-1]
    assert isinstance(release, cdc.Release) and release.cause is not None
    assert release.cause.signaling_type == "MEDIATION"
    assert wire.model.counters["calls_timed_out"] == 1


def test_a_call_lingers_and_is_forgotten(wire: Wire) -> None:
    wire.connect()
    wire.bye()
    late = wire.sent[-2]
    (call,) = wire.model._calls.values()
    assert not (call.branches or call.legs or call.seen or call.offers) and call.media.descriptions == [None, None]
    wire.wait(LINGER / SECOND - 1)
    assert (wire.model.observe(late), wire.model.calls) == ([], 1)
    wire.wait(2)
    assert (wire.model.calls, wire.model.next_deadline_ns()) == (0, None)
    assert wire.story == [*UP, "release"]


def test_a_new_attempt_under_the_call_id_of_one_that_is_over(wire: Wire) -> None:
    wire.invite()
    wire.response(486)
    wire.cseq = 2
    wire.connect()
    wire.bye()
    assert wire.story[3:] == [*UP, "release"]


def test_no_room_closes_the_call_that_was_quiet_longest(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(call_module, "MAX_CALLS", 3)
    model = CallModel(surveillance())
    wires = [Wire(model, call_id=f"call-{n}") for n in range(5)]
    for wire in wires[:3]:
        wire.invite()
    wires[0].ring()
    wires[1].response(486)
    wires[3].invite()  # takes the place of 1, which only lingers
    wires[4].invite()  # takes the place of 2
    assert wires[3].story == ["origination"]
    assert wires[4].story == ["release no room", "origination"]
    release = wires[4].messages[0]
    assert isinstance(release, cdc.Release) and release.call_id.main == "call-2"
    assert (model.calls, model.counters["calls_evicted"]) == (3, 1)


# The order


def test_status_messages_only_by_agreement() -> None:
    model = CallModel(surveillance(status_messages=False))
    assert model.start(0) == [] == model.stop(1)


def test_a_subject_that_could_never_match_is_refused() -> None:
    with pytest.raises(EncodingError) as refused:
        CallModel(surveillance(subjects=("mailto:alice@example.org",)))
    assert "alice" not in str(refused.value)


def test_nothing_ends_twice(wire: Wire) -> None:
    wire.events += wire.model.stop(wire.now_ns)
    wire.events += wire.model.stop(wire.now_ns + 1)
    assert wire.story == ["surveillanceStatus DEACTIVATION"]


def test_the_end_of_the_order_forgets_everything(wire: Wire) -> None:
    wire.connect()
    wire.bye()
    wire.model.stop(wire.now_ns)
    assert (wire.model.calls, len(wire.model._lingering), wire.model.next_deadline_ns()) == (0, 0, None)


# The table


def test_the_table_has_no_dead_row() -> None:
    said = {word for rows in ROWS.values() for row in rows for word in row.say}
    assert said == set(Say)
    assert {event for rows in TABLE.values() for _, event in rows} == set(Event)
    assert reachable(ROWS[Role.CALLED]) == set(State)
    assert reachable(ROWS[Role.CALLING]) == set(State) - {State.FORWARDING, State.DIVERTED}


def test_no_row_contradicts_another() -> None:
    for role, rows in ROWS.items():
        assert len(TABLE[role]) == sum(len(row.states) for row in rows)


def test_the_diagram_shows_every_row_that_can_happen() -> None:
    for role, rows in ROWS.items():
        drawn = diagram(role).splitlines()
        assert len(drawn) == 2 + sum(len(set(row.states) & reachable(rows)) for row in rows)
    assert "    attempt --> answered: 2xx / Answer, Release of each other leg" in diagram(Role.CALLING)


def test_sides() -> None:
    assert (Side.CALLER.other, Side.CALLEE.other) == (Side.CALLEE, Side.CALLER)
