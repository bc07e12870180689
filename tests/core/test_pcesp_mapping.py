"""What a call event becomes in PCESP, and that nothing is said which the event did not say."""

from __future__ import annotations

from typing import Any

import pytest

from mediation.collection import decoder
from mediation.core.message import ccc, cdc, encoding, pcesp
from mediation.core.message.pcesp_mapping import call_id, party_id, pdu_of

CALL = cdc.CallIdentity(main="a@b")
LEG = cdc.CallIdentity(main="a@b", leg="tag")
SUBJECT = cdc.Party(dn="12025550100")
OTHER = cdc.Party(dn="12025550199")
SDP = cdc.Media(sdp="v=0\r\n", status=cdc.MediaStatus.GRANTED)
PREFIX: Any = {"case_id": "C", "iap_system_id": "SBC1", "timestamp_ns": 1}


def test_a_call_has_one_identity_and_a_lost_dialog_its_own() -> None:
    one = call_id(CALL, "SBC1")
    assert one == call_id(LEG, "SBC1")
    lost = call_id(LEG, "SBC1", by_leg=True)
    assert lost != one
    assert lost.sequencenumber.split(",")[0] == one.sequencenumber.split(",")[0]
    assert lost != call_id(cdc.CallIdentity(main="a@b", leg="other"), "SBC1", by_leg=True)
    assert call_id(CALL, "SBC1", by_leg=True) == one
    released = pdu_of(cdc.Release(**PREFIX, call_id=LEG))
    assert isinstance(released, pcesp.Release) and released.call_id == lost


def test_call_identities_stay_apart_and_in_their_form() -> None:
    found = {call_id(cdc.CallIdentity(main=f"{number}@h\udcff"), "I").sequencenumber for number in range(20_000)}
    assert len(found) == 20_000
    for each in found:
        first, second = each.split(",")
        assert 0 <= int(first) < 1 << 32 and 0 <= int(second) < 1 << 32 and len(each) <= 25
    ambiguous = [cdc.CallIdentity(main="ab", leg="c"), cdc.CallIdentity(main="a", leg="bc")]
    assert len({call_id(each, "I", by_leg=True).sequencenumber.split(",")[1] for each in ambiguous}) == 2
    assert call_id(CALL, "I").systemidentity == "I"
    assert call_id(None, "I").sequencenumber == "0,0"


@pytest.mark.parametrize(
    ("given", "found"),
    [
        ({"dn": "12025550100"}, {"dn": "12025550100"}),
        ({"dn": "1" * 16}, {"generic_digits": "1" * 16}),
        ({"dn": "1", "generic_digits": ("2", "3")}, {"dn": "1", "generic_digits": "2"}),
        ({"generic_digits": ("2",)}, {"dn": "2"}),
        ({"ip_address": "2001:db8::1"}, {"ip_address": "2001:db8::1"}),
        ({"ip_address": "2001:1db8:1111:2222:3333:4444:5555:6666"}, {"ip_address": "20011db8111122223333444455556666"}),
        ({"uri": ("tel:+12025550100",)}, {"generic_address": "+12025550100"}),
        ({"uri": ("tel:+1", "sip:a@b;user=phone?x=y")}, {"generic_address": "a@b"}),
        ({"uri": ("sip:alice@ims.mnc001.mcc001.example.org",)},
         {"generic_address": "alice", "context": "ims.mnc001.mcc001.example.org"}),
        ({"uri": ("sip:alice@ims.mnc001.mcc001.example.org",), "context": "c"},
         {"generic_address": "alice", "context": "c"}),
        ({"uri": ("sip:" + "h" * 40,)}, {"generic_address": "h" * 40, "context": "h" * 40}),
        ({"generic_name": ("A", "B"), "sip_header": ("From: x",)}, {"generic_name": "A"}),
        ({"port": "5060", "trunk_id": "t", "user_provided": "5"},
         {"port": "5060", "trunk_id": "t", "user_provided": "5"}),
        ({}, {}),
    ],
)  # fmt: skip
def test_a_party_keeps_what_has_a_place(given: dict[str, Any], found: dict[str, str]) -> None:
    assert party_id(cdc.Party(**given)) == pcesp.PartyId(**found)


@pytest.mark.parametrize(
    ("uri", "dialed"),
    [
        ("sip:+12025550199@example.com;user=phone", "+12025550199"),
        ("tel:+1-202-555-0199;phone-context=x", "+1-202-555-0199"),
        ("sip:*72@example.com", "*72"),
        ("sips:%2A72@example.com", "*72"),
        ("sip:bob@example.com", "bob@example.com"),
        ("sip:bob:secret@a-very-long-host.example.com", "bob"),
        ("sip:example.com", "example.com"),
        ("911", "911"),
        ("", "unknown"),
        ("tel:", "unknown"),
    ],
)
def test_what_was_dialed(uri: str, dialed: str) -> None:
    pdu = pdu_of(cdc.Origination(**PREFIX, call_id=CALL, user_input=uri))
    assert isinstance(pdu, pcesp.Origination)
    assert (pdu.user_input, pdu.translation_input) == (dialed, None)
    pdu = pdu_of(cdc.Origination(**PREFIX, call_id=CALL, translation_input=uri))
    assert isinstance(pdu, pcesp.Origination)
    assert (pdu.user_input, pdu.translation_input) == (None, dialed)
    assert encoding.encode_pdu(pdu)


@pytest.mark.parametrize(("of_subject", "name"), [(True, "subject"), (False, "associate")])
def test_hold_and_retrieve_report_the_description_of_who_made_it(of_subject: bool, name: str) -> None:
    for message in (
        cdc.ConnectionBreak(**PREFIX, call_ids=(LEG,), suspended_media=SDP, media_of_subject=of_subject),
        cdc.Connection(**PREFIX, call_ids=(LEG,), connected_media=SDP, media_of_subject=of_subject),
    ):
        prefix = {"case_id": "C", "accessing_element_id": "SBC1", "event_time_ns": 1}
        assert pdu_of(message) == pcesp.MediaReport(**prefix, call_id=call_id(CALL, "SBC1"), **{name: SDP.sdp})


@pytest.mark.parametrize(
    "media", [{}, {"suspended_media": SDP}, {"suspended_media": cdc.Media(), "media_of_subject": 1}]
)
def test_hold_without_a_description_tells_who_is_party(media: Any) -> None:
    pdu = pdu_of(
        cdc.ConnectionBreak(**PREFIX, call_ids=(CALL,), removed_parties=(OTHER,), remaining_parties=(SUBJECT,), **media)
    )
    assert isinstance(pdu, pcesp.ConferencePartyChange)
    assert [each.party_id[0].dn for each in pdu.removed] == ["12025550199"]
    assert [each.party_id[0].dn for each in pdu.communicating] == ["12025550100"]
    assert pdu.joined == ()
    back = pdu_of(cdc.Connection(**PREFIX, call_ids=(CALL,), connected_parties=(SUBJECT, OTHER), new_parties=(OTHER,)))
    assert isinstance(back, pcesp.ConferencePartyChange)
    assert ([each.party_id[0].dn for each in back.joined], len(back.communicating)) == (["12025550199"], 2)


@pytest.mark.parametrize(
    "message",
    [
        cdc.NetworkSignal(**PREFIX, call_id=CALL, signaled_to_party_id=SUBJECT),
        cdc.SubjectSignal(**PREFIX, call_id=CALL),
        cdc.MediaAndAddressReporting(**PREFIX, call_id=CALL, subject_contact_addresses=SUBJECT),
        cdc.Change(**PREFIX, previous=(CALL,), resulting=(CALL,)),
        ccc.CCUnavailable(**PREFIX, call_id=CALL, unavailability_reason="srtp"),
    ],
    ids=lambda message: message.name,
)
def test_what_it_cannot_say_goes_out_as_nothing(message: cdc.Message) -> None:
    assert encoding.encode(message, encoding.PCESP) is None


def test_a_refer_is_told_in_words() -> None:
    refer = ("Refer-To: <sip:" + "b" * 200 + "@h>",)
    for message, name in (
        (cdc.NetworkSignal(**PREFIX, refer=refer), "other"),
        (cdc.SubjectSignal(**PREFIX, refer=refer), "otherSignalingInformation"),
    ):
        octets = encoding.encode(message, encoding.PCESP)
        assert octets is not None
        fields = decoder.decode(octets).fields
        told = fields.get("signal", fields)[name]
        assert told.startswith("REFER Refer-To: <sip:bbb") and len(told) == 128


@pytest.mark.parametrize(
    ("statuses", "state"),
    [
        (("REQUESTED", None), pcesp.ResourceState.RESERVED),
        (("REQUESTED", "GRANTED"), pcesp.ResourceState.COMMITTED),
        (("REJECTED", None), None),
        ((None, None), None),
    ],
)
def test_a_change_of_content_says_whether_media_are_committed(statuses: Any, state: Any) -> None:
    subject, associate = (each and cdc.Media(sdp="v=0", status=cdc.MediaStatus[each]) for each in statuses)
    pdu = pdu_of(
        ccc.CCChange(
            **PREFIX, call_id=CALL, channel=ccc.Channel(combined="1"), subject_media=subject, associate_media=associate
        )
    )
    assert isinstance(pdu, pcesp.CCChange) and pdu.resource_state == state


def test_a_service_instance_is_for_this_profile_alone() -> None:
    message = cdc.ServiceInstance(
        **PREFIX,
        call_id=CALL,
        service_name="Call_Transfer",
        related_call_id=cdc.CallIdentity(main="other"),
        calling=OTHER,
    )
    assert encoding.encode(message) is None
    pdu = pdu_of(message)
    assert isinstance(pdu, pcesp.ServiceInstance)
    assert pdu.related_call_id == call_id(cdc.CallIdentity(main="other"), "SBC1")
    assert pdu.calling == pcesp.PartyId(dn="12025550199")
