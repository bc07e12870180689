"""Messages to encode: every message of T1.678, every field that it can hold."""

from __future__ import annotations

from mediation.core.message import ccc, cdc

STAMP_NS = 1_795_278_005_123_000_000
"""2026-11-21T16:20:05.123Z, the time of the golden vectors."""


CALL = cdc.CallIdentity(main="a84b4c76e66710@pc33.example.com", leg="1928301774.a6c85cf")
OTHER_CALL = cdc.CallIdentity(main="f81d4fae-7dec-11d0@192.0.2.4")
PARTY = cdc.Party(
    dn="12025550100",
    user_provided="5550100",
    ip_address="192.0.2.1",
    port="5060",
    trunk_id="trunk-7",
    generic_digits=("2025550100", "0100"),
    generic_name=("Zoë Sample", "Alice"),
    context="example.com;phone-context=+1",
    uri=("tel:+12025550100", "sip:+12025550100@example.com;user=phone", "sip:a@b"),
    sip_header=("P-Asserted-Identity: <tel:+12025550100>", "Contact: <sip:a@192.0.2.1>"),
)
IPV6_PARTY = cdc.Party(dn="2", ip_address="2001:db8::1", generic_name=("名前",))
SDP = "v=0\r\no=- 1 1 IN IP4 192.0.2.1\r\ns=-\r\nc=IN IP4 192.0.2.1\r\nt=0 0\r\nm=audio 49170 RTP/AVP 0 101\r\n"
MEDIA = cdc.Media(sdp=SDP, status=cdc.MediaStatus.REQUESTED)
OTHER_MEDIA = cdc.Media(sdp="v=0\r\n", status=cdc.MediaStatus.RELAYED)
_prefix = {"case_id": "CASE-0001", "iap_system_id": "SBC1", "timestamp_ns": STAMP_NS}

FULL: tuple[cdc.Message, ...] = (
    cdc.Origination(
        **_prefix,
        call_id=CALL,
        calling=PARTY,
        called=IPV6_PARTY,
        user_input="sip:+12025550199@example.com",
        subject_media=MEDIA,
        origination_cause="dialed",
        sip_headers=("Via: SIP/2.0/UDP 192.0.2.1;branch=z9hG4bK1", "CSeq: 1 INVITE", "Max-Forwards: 70"),
        forked_calls=(
            cdc.ForkedCall(forked_call_id=CALL, called_party=PARTY),
            cdc.ForkedCall(forked_call_id=OTHER_CALL, called_party=IPV6_PARTY),
        ),
    ),
    cdc.Origination(**_prefix, call_id=CALL, translation_input="tel:+12025550199", origination_cause=""),
    cdc.TerminationAttempt(
        **_prefix,
        call_id=CALL,
        calling=PARTY,
        called=IPV6_PARTY,
        associate_media=MEDIA,
        redirected_from_info=cdc.RedirectedFrom(
            last_redirecting=PARTY, original_called=IPV6_PARTY, num_redirections=100
        ),
        sip_headers=("Diversion: <tel:+12025550111>;reason=no-answer", "History-Info: <sip:b@c>;index=1"),
    ),
    cdc.Answer(**_prefix, call_id=CALL, answering=PARTY, answering_media=MEDIA),
    cdc.Release(
        **_prefix,
        call_id=CALL,
        cause=cdc.Cause(signaling_type="SIP", sip=("Reason: Q.850;cause=17", "SIP/2.0 486 Busy Here")),
        contact_addresses=IPV6_PARTY,
    ),
    cdc.Redirection(
        **_prefix,
        call_id=CALL,
        new_call_id=OTHER_CALL,
        redirected_from=PARTY,
        redirected_to=IPV6_PARTY,
        subject_media=MEDIA,
        associate_media=OTHER_MEDIA,
    ),
    cdc.NetworkSignal(
        **_prefix,
        call_id=CALL,
        signaled_to_party_id=PARTY,
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
        refer=("Referred-By: <sip:b@example.com>", "Refer-To: <tel:+12025550144>"),
    ),
    cdc.DialedDigitExtraction(**_prefix, call_id=CALL, digits="0123456789*#ABCD"),
    cdc.Connection(
        **_prefix,
        call_ids=(OTHER_CALL, CALL),
        connected_parties=(PARTY, IPV6_PARTY),
        new_parties=(IPV6_PARTY, cdc.Party()),
        connected_media=MEDIA,
        media_of_subject=True,
    ),
    cdc.ConnectionBreak(
        **_prefix,
        call_ids=(CALL,),
        removed_parties=(PARTY,),
        remaining_parties=(IPV6_PARTY, PARTY),
        dropped_parties=(cdc.Party(dn="3"),),
        suspended_media=MEDIA,
        media_of_subject=False,
    ),
    cdc.MediaAndAddressReporting(
        **_prefix,
        call_id=CALL,
        subject_media=MEDIA,
        associate_media=(OTHER_MEDIA, MEDIA, cdc.Media()),
        subject_contact_addresses=PARTY,
        associate_contact_addresses=IPV6_PARTY,
    ),
    cdc.SubjectSignal(
        **_prefix,
        call_id=CALL,
        signaling_party_id=PARTY,
        signaled_party_id=IPV6_PARTY,
        user_input="*72",
        switchhook_flash="flash",
        dialed_digits="*72",
        feature_key="hold",
        other_signaling_information="sendonly",
        refer=("Refer-To: <sip:b@example.com?Replaces=1%3Bto-tag%3D2>", "Referred-By: <sip:a@example.com>"),
    ),
    cdc.DialedDigitExtraction(
        **_prefix, call_id=CALL, digits="1", sip_headers=("Content-Type: audio/telephone-event", "Call-ID: c")
    ),
    cdc.Change(**_prefix, previous=(OTHER_CALL, CALL), resulting=(CALL,)),
    cdc.ConfPartyChange(
        **_prefix,
        call_ids=(OTHER_CALL, CALL),
        communicating_parties=(PARTY, IPV6_PARTY),
        removed_parties=(cdc.Party(dn="3"),),
        joined_parties=(IPV6_PARTY, cdc.Party()),
    ),
    cdc.ServingSystem(
        **_prefix,
        system_identity="visited.example",
        network_address="192.0.2.9",
        request_id=CALL,
        registration_type=cdc.RegistrationType.REGISTRATION_AND_DEREGISTRATION,
        registering=PARTY,
        requesting=IPV6_PARTY,
        registrar=cdc.Party(uri=("sip:registrar.example.com",)),
        request_address_info=(
            cdc.AddressBinding(address=PARTY, expiration_period=3600),
            cdc.AddressBinding(address=IPV6_PARTY, expiration_period=0),
        ),
        response_address_info=(cdc.AddressBinding(address=IPV6_PARTY, expiration_period=4294967295),),
        failure_reason=cdc.Cause(sip=("SIP/2.0 403 Forbidden",)),
        expiration_period=128,
    ),
    cdc.ConnectionTest(**_prefix, memo="link test"),
    cdc.DirectSignalReporting(
        **_prefix,
        correlation_id=b"a84b4c76e66710@pc33.example.com",
        signaling=(
            cdc.SignalingMessage(octets=b"SUBSCRIBE sip:b@example.com SIP/2.0\r\n\r\n\x00\xff"),
            cdc.SignalingMessage(protocol="H.323", octets=b""),
        ),
    ),
    cdc.FeatureManagement(
        **_prefix,
        feature_id="call-forwarding",
        management_type=cdc.ManagementType.DEACTIVATION,
        subscriber_id=PARTY,
        activation_info="tel:+12025550155",
        failure_reason="not provisioned",
    ),
    cdc.UuContent(
        **_prefix,
        call_id=CALL,
        sip_headers=("From: <sip:a@example.com>;tag=1", "Call-ID: c"),
        body_headers=("Content-Type: text/plain", "Content-Language: en"),
        body=b"see you at \xe2\x82\xac\x00",
    ),
    cdc.UuContent(**_prefix, call_id=CALL),
    ccc.CCOpen(
        **_prefix,
        call_id=CALL,
        channel=ccc.Channel(transmit="0A0B0C0D", receive="0A0B0C0E"),
        form=ccc.Form.CC_APDU,
        subject_media=MEDIA,
        associate_media=OTHER_MEDIA,
    ),
    ccc.CCOpen(**_prefix, call_id=OTHER_CALL, channel=ccc.Channel(combined="FFFFFFFF"), form=ccc.Form.PACKETCABLE),
    ccc.CCChange(
        **_prefix,
        call_id=CALL,
        channel=ccc.Channel(transmit="0A0B0C0D", receive="0A0B0C0E"),
        subject_media=MEDIA,
        associate_media=OTHER_MEDIA,
    ),
    ccc.CCClose(**_prefix, call_id=CALL, channel=ccc.Channel(combined="00000001")),
    ccc.CCUnavailable(**_prefix, call_id=CALL, unavailability_reason="no free call content channel"),
    cdc.SurveillanceStatus(
        **_prefix, status_event_type=cdc.StatusEvent.SCHEDULED_REPORT, current_status=cdc.CurrentStatus.INACTIVE
    ),
)
