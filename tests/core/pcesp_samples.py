"""PCESP messages to encode, every field that each can hold, and the names that the module's authors gave them."""

from __future__ import annotations

from mediation.core.message import ccc, cdc, pcesp
from tests.core.encoding_samples import SDP, STAMP_NS

CALL = pcesp.CallId(sequencenumber="4294967295,123456789", systemidentity="SBC1")
OTHER_CALL = pcesp.CallId(sequencenumber="1,2", systemidentity="S" * 15)
PARTY = pcesp.PartyId(
    dn="12025550100",
    user_provided="5550100",
    ip_address="20010db8000000000000000000000001",
    trunk_id="trunk-7",
    generic_address="alice@example.com",
    generic_digits="2025550100",
    generic_name="Alice Sample",
    port="5060",
    context="example.com",
)
OTHER = pcesp.PartyId(dn="2")
PAIR = ccc.Channel(transmit="0000ABCD", receive="0000ABCE")
_prefix = {"case_id": "CASE-0001", "accessing_element_id": "SBC1", "event_time_ns": STAMP_NS}

PDUS: tuple[pcesp.Pdu, ...] = (
    pcesp.Answer(**_prefix, call_id=CALL, answering=PARTY),
    pcesp.CCClose(**_prefix, channel=ccc.Channel(combined="0000ABCF"), flow_direction=pcesp.FlowDirection.UPSTREAM),
    pcesp.CCOpen(
        **_prefix,
        call_ids=(OTHER_CALL, CALL),
        channel=PAIR,
        subject=SDP,
        associate="v=0\r\n",
        flow_direction=pcesp.FlowDirection.DOWNSTREAM,
    ),
    pcesp.Origination(**_prefix, call_id=CALL, calling=PARTY, called=OTHER, user_input="12025550199"),
    pcesp.Origination(**_prefix, call_id=CALL, calling=pcesp.PartyId(), translation_input="+12025550199"),
    pcesp.Redirection(**_prefix, old=CALL, redirected_to=PARTY, new=OTHER_CALL, redirected_from=OTHER),
    pcesp.Release(**_prefix, call_id=CALL),
    pcesp.TerminationAttempt(
        **_prefix,
        call_id=CALL,
        calling=PARTY,
        called=OTHER,
        redirected_from_info=pcesp.RedirectedFrom(last_redirecting=PARTY, original_called=OTHER, num_redirections=3),
    ),
    pcesp.CCChange(
        **_prefix,
        call_id=CALL,
        channel=PAIR,
        subject=SDP,
        associate="v=0\r\n",
        flow_direction=pcesp.FlowDirection.BOTH,
        resource_state=pcesp.ResourceState.COMMITTED,
    ),
    pcesp.DialedDigitExtraction(**_prefix, call_id=CALL, digits="0123456789*#ABCD"),
    pcesp.NetworkSignal(
        **_prefix,
        call_id=CALL,
        alerting_signal=cdc.AlertingSignal.CALL_WAITING_PATTERN_1,
        subject_audible_signal=cdc.AudibleSignal.RINGBACK_TONE,
        terminal_display_info=cdc.TerminalDisplay(
            general_display="general",
            called_number="called",
            calling_number="calling",
            calling_name="name",
            original_called_number="original",
            last_redirecting_number="last",
            redirecting_name="redirecting",
            redirecting_reason="busy",
            message_waiting_notif="2 new",
        ),
        other="182 Queued",
        signaled_to_party_id=PARTY,
    ),
    pcesp.SubjectSignal(
        **_prefix,
        call_id=CALL,
        switchhook_flash="flash",
        dialed_digits="*72",
        feature_key="hold",
        other_signaling_information="sendonly",
        signaled_from_party_id=PARTY,
    ),
    pcesp.MediaReport(**_prefix, call_id=CALL, subject=SDP, associate="v=0\r\n"),
    pcesp.ServiceInstance(
        **_prefix,
        call_id=CALL,
        related_call_id=OTHER_CALL,
        service_name="Call_Transfer",
        first_call_calling=PARTY,
        second_call_calling=OTHER,
        called=PARTY,
        calling=OTHER,
    ),
    pcesp.ConferencePartyChange(
        **_prefix,
        call_id=CALL,
        communicating=(pcesp.ConferenceParty(party_id=(PARTY, OTHER)), pcesp.ConferenceParty(party_id=(OTHER,))),
        removed=(pcesp.ConferenceParty(party_id=(OTHER,)),),
        joined=(pcesp.ConferenceParty(party_id=(PARTY,)),),
    ),
)

# Our attribute -> the module's name, where lower-casing the first and dropping the underlines does not give it.
NAMES = {
    "accessing_element_id": "accessingElementId",
    "event_time_ns": "eventTime",
    "channel": "cCCId",
    "combined": "combCCC",
    "transmit": "sepXmitCCC",
    "receive": "sepRecvCCC",
    "user_input": "userinput",
    "translation_input": "translationinput",
    "redirected_to": "redirectedto",
    "redirected_from": "redirectedfrom",
}
