"""A message of core/message/cdc.py or core/message/ccc.py as the PCESP message that tells the same, if there is one.

Answers for: which PCESP message stands for which event (PKT-SP-ES-DCI 8.3, 8.4), and what of it that message can hold.
May not add a fact: everything here comes from the message, after minimisation. Hold and retrieve by the client are a
MediaReport with the new description (PacketCable calls them client-managed); without a description, or when nobody
knows whose it is, a ConferencePartyChange tells the same. What PCESP version 4 cannot say is in ABSENT and goes out as
nothing.

CallId has the shape of a Billing-Correlation-ID, two 32-bit numbers and a comma, from SHA-256 of the call's name; the
system identity is the access point's. One call has one CallId, whatever the dialog, so that a collection function can
put it together by equality; only the Release of a dialog that lost (a fork) has one of its own: the same first number,
and a second one made of the dialog too. PartyId has one member of a kind where T1.678 has a list: the first goes out.
"""

from __future__ import annotations

import hashlib
import ipaddress
import re
from collections.abc import Callable
from typing import Any, Final, TypedDict
from urllib.parse import unquote

from mediation.core.message import ccc, cdc, pcesp

NO_CALL: Final = "0,0"
"""sequencenumber of a signal outside of any call (message waiting): callId is mandatory there."""

UNKNOWN: Final = "unknown"
"""userinput and serviceName when there is none: they are mandatory and not empty."""

_NUMBER: Final = re.compile(r"[+*#0-9A-D().-]+", re.ASCII)
_STATES: Final = {
    cdc.MediaStatus.REQUESTED: pcesp.ResourceState.RESERVED,
    cdc.MediaStatus.GRANTED: pcesp.ResourceState.COMMITTED,
}

ABSENT: Final[frozenset[type[cdc.Message]]] = frozenset(
    {
        cdc.Change,  # ServiceInstance with relatedCallId, which the call model makes, tells it
        cdc.ServingSystem,  # reserved in version 4
        cdc.ConnectionTest,
        cdc.DirectSignalReporting,
        cdc.FeatureManagement,  # SubjectSignal has the feature code
        cdc.UuContent,
        cdc.SurveillanceStatus,
        ccc.CCUnavailable,
    }
)


class Prefix(TypedDict):
    case_id: str
    accessing_element_id: str
    event_time_ns: int


def pdu_of(message: cdc.Message) -> pcesp.Pdu | None:
    """The PCESP message, or None where there is none. Pure; sizes are the encoder's and `fitting`'s affair."""
    make = _MAKERS.get(type(message))
    return make(message) if make else None


def call_id(call: cdc.CallIdentity | None, system: str | None, *, by_leg: bool = False) -> pcesp.CallId:
    """The CallId of a call at one access point; with `by_leg` of this one dialog of it."""
    if call is None:
        return pcesp.CallId(sequencenumber=NO_CALL, systemidentity=system or "")
    main = call.main.encode(errors="surrogateescape")
    digest = hashlib.sha256(main).digest()
    first, second = digest[:4], digest[4:8]
    if by_leg and call.leg is not None:
        leg = call.leg.encode(errors="surrogateescape")
        second = hashlib.sha256(len(main).to_bytes(4, "big") + main + leg).digest()[4:8]
    numbers = f"{int.from_bytes(first, 'big')},{int.from_bytes(second, 'big')}"
    return pcesp.CallId(sequencenumber=numbers, systemidentity=system or "")


def party_id(party: cdc.Party | None) -> pcesp.PartyId:
    """What of a party fits PartyId: its first number, address and name; a URI in two halves when it is long."""
    if party is None:
        return pcesp.PartyId()
    numbers = [each for each in (party.dn, *party.generic_digits) if each]
    dn = next((each for each in numbers if len(each) <= 15), None)
    other = next((each for each in numbers if each != dn), None)
    address, context = _generic_address(party)
    return pcesp.PartyId(
        dn=dn,
        user_provided=party.user_provided,
        ip_address=_address(party.ip_address),
        trunk_id=party.trunk_id,
        generic_address=address,
        generic_digits=other,
        generic_name=next(iter(party.generic_name), None),
        port=party.port,
        context=party.context or context,
    )


def _generic_address(party: cdc.Party) -> tuple[str | None, str | None]:
    """(genericAddress, context) of the first SIP URI, else the first URI."""
    uri = next((each for each in party.uri if each.lower().startswith("sip")), next(iter(party.uri), None))
    if not uri:
        return None, None
    rest = uri.partition(":")[2] or uri
    rest = rest.partition(";")[0].partition("?")[0]
    if len(rest) <= 32:
        return rest or None, None
    user, _, host = rest.rpartition("@")
    return user or host, host or None


def _address(text: str | None) -> str | None:
    """VisibleString SIZE(1..32): an IPv6 address that is longer as text is its 32 hexadecimal digits."""
    if text is None or len(text) <= 32:
        return text
    try:
        return ipaddress.ip_address(text.strip("[] ").partition("%")[0]).packed.hex()
    except ValueError:
        return text


def _dialed(uri: str) -> str:
    """What was dialed, of a request's URI: the number if it is one, else user and host if they fit."""
    scheme, colon, rest = uri.partition(":")
    if not colon or scheme.lower() not in ("sip", "sips", "tel"):
        return uri or UNKNOWN
    rest = unquote(rest.partition(";")[0].partition("?")[0])
    user = rest.rpartition("@")[0].partition(":")[0]
    if user and (_NUMBER.fullmatch(user) or len(rest) > 32):
        return user
    return rest or UNKNOWN


def _prefix(message: cdc.Message) -> Prefix:
    return {
        "case_id": message.case_id,
        "accessing_element_id": message.iap_system_id or "",
        "event_time_ns": message.timestamp_ns,
    }


def _common(message: Any) -> dict[str, Any]:
    return {**_prefix(message), "call_id": call_id(message.call_id, message.iap_system_id)}


def _maybe(party: cdc.Party | None) -> pcesp.PartyId | None:
    return None if party is None else party_id(party)


def _sdp(media: cdc.Media | None) -> str | None:
    return None if media is None else media.sdp


def _answer(message: cdc.Answer) -> pcesp.Pdu:
    return pcesp.Answer(**_common(message), answering=_maybe(message.answering))


def _origination(message: cdc.Origination) -> pcesp.Pdu:
    translated = message.user_input is None and message.translation_input is not None
    dialed = _dialed(message.translation_input or message.user_input or "")
    return pcesp.Origination(
        **_common(message),
        calling=party_id(message.calling),
        called=_maybe(message.called),
        user_input=None if translated else dialed,
        translation_input=dialed if translated else None,
    )


def _termination_attempt(message: cdc.TerminationAttempt) -> pcesp.Pdu:
    info = message.redirected_from_info
    return pcesp.TerminationAttempt(
        **_common(message),
        calling=party_id(message.calling),
        called=_maybe(message.called),
        redirected_from_info=None if info is None else pcesp.RedirectedFrom(
            last_redirecting=_maybe(info.last_redirecting),
            original_called=_maybe(info.original_called),
            num_redirections=info.num_redirections,
        ),
    )  # fmt: skip


def _redirection(message: cdc.Redirection) -> pcesp.Pdu:
    system = message.iap_system_id
    return pcesp.Redirection(
        **_prefix(message),
        old=call_id(message.call_id, system),
        redirected_to=party_id(message.redirected_to),
        new=None if message.new_call_id is None else call_id(message.new_call_id, system),
        redirected_from=_maybe(message.redirected_from),
    )


def _release(message: cdc.Release) -> pcesp.Pdu:
    return pcesp.Release(**_prefix(message), call_id=call_id(message.call_id, message.iap_system_id, by_leg=True))


def _digits(message: cdc.DialedDigitExtraction) -> pcesp.Pdu:
    return pcesp.DialedDigitExtraction(**_common(message), digits=message.digits)


def _network_signal(message: cdc.NetworkSignal) -> pcesp.Pdu | None:
    other = message.other or ("REFER " + message.refer[0] if message.refer else None)
    display = message.terminal_display_info
    if all(each is None for each in (message.alerting_signal, message.subject_audible_signal, display, other)):
        return None
    return pcesp.NetworkSignal(
        **_common(message),
        alerting_signal=message.alerting_signal,
        subject_audible_signal=message.subject_audible_signal,
        terminal_display_info=display,
        other=other,
        signaled_to_party_id=party_id(message.signaled_to_party_id),
    )


def _subject_signal(message: cdc.SubjectSignal) -> pcesp.Pdu | None:
    other = message.other_signaling_information or ("REFER " + message.refer[0] if message.refer else None)
    dialed = message.dialed_digits
    if not (message.switchhook_flash or dialed or message.feature_key or other):
        if not message.user_input:
            return None
        dialed = _dialed(message.user_input)
    return pcesp.SubjectSignal(
        **_prefix(message),
        call_id=None if message.call_id is None else call_id(message.call_id, message.iap_system_id),
        switchhook_flash=message.switchhook_flash,
        dialed_digits=dialed,
        feature_key=message.feature_key,
        other_signaling_information=other,
        signaled_from_party_id=party_id(message.signaling_party_id),
    )


def _media_report(message: cdc.MediaAndAddressReporting) -> pcesp.Pdu | None:
    associate = next(filter(None, map(_sdp, message.associate_media)), None)
    if _sdp(message.subject_media) is None and associate is None:
        return None  # contact addresses alone: PCESP has no place for them
    return pcesp.MediaReport(**_common(message), subject=_sdp(message.subject_media), associate=associate)


def _connection(message: cdc.Connection) -> pcesp.Pdu:
    return _hold(
        message, message.call_ids, _described(message.connected_media, message.media_of_subject),
        communicating=message.connected_parties, joined=message.new_parties,
    )  # fmt: skip


def _connection_break(message: cdc.ConnectionBreak) -> pcesp.Pdu:
    return _hold(
        message, message.call_ids, _described(message.suspended_media, message.media_of_subject),
        communicating=message.remaining_parties, removed=(*message.removed_parties, *message.dropped_parties),
    )  # fmt: skip


def _conf_party_change(message: cdc.ConfPartyChange) -> pcesp.Pdu:
    return _hold(
        message, message.call_ids, {},
        communicating=message.communicating_parties,
        removed=message.removed_parties,
        joined=message.joined_parties,
    )  # fmt: skip


def _described(media: cdc.Media | None, of_subject: bool | None) -> dict[str, str]:
    """A description under the name of whose it is; none when that is not known, rather than under a wrong one."""
    if media is None or media.sdp is None or of_subject is None:
        return {}
    return {"subject" if of_subject else "associate": media.sdp}


def _hold(
    message: cdc.Message,
    calls: tuple[cdc.CallIdentity, ...],
    described: dict[str, str],
    **parties: tuple[cdc.Party, ...],
) -> pcesp.Pdu:
    """MediaReport with the description that did it; without one, who is party to the call now."""
    call = call_id(next(iter(calls), None), message.iap_system_id)
    if described:
        return pcesp.MediaReport(**_prefix(message), call_id=call, **described)
    members = {
        name: tuple(pcesp.ConferenceParty(party_id=(party_id(each),)) for each in group)
        for name, group in parties.items()
    }
    return pcesp.ConferencePartyChange(**_prefix(message), call_id=call, **members)


def _service_instance(message: cdc.ServiceInstance) -> pcesp.Pdu:
    related = message.related_call_id
    return pcesp.ServiceInstance(
        **_common(message),
        related_call_id=None if related is None else call_id(related, message.iap_system_id),
        service_name=message.service_name or UNKNOWN,
        first_call_calling=_maybe(message.first_call_calling),
        second_call_calling=_maybe(message.second_call_calling),
        called=_maybe(message.called),
        calling=_maybe(message.calling),
    )


def _cc_open(message: ccc.CCOpen) -> pcesp.Pdu:
    return pcesp.CCOpen(
        **_prefix(message),
        call_ids=(call_id(message.call_id, message.iap_system_id),),
        channel=message.channel,
        subject=_sdp(message.subject_media),
        associate=_sdp(message.associate_media),
        flow_direction=pcesp.FlowDirection.BOTH,
    )


def _cc_change(message: ccc.CCChange) -> pcesp.Pdu:
    statuses = [each.status for each in (message.subject_media, message.associate_media) if each is not None]
    granted = cdc.MediaStatus.GRANTED in statuses
    state = cdc.MediaStatus.GRANTED if granted else next((each for each in statuses if each is not None), None)
    return pcesp.CCChange(
        **_common(message),
        channel=message.channel,
        subject=_sdp(message.subject_media),
        associate=_sdp(message.associate_media),
        flow_direction=pcesp.FlowDirection.BOTH,
        resource_state=None if state is None else _STATES.get(state),
    )


def _cc_close(message: ccc.CCClose) -> pcesp.Pdu:
    return pcesp.CCClose(
        **_prefix(message), channel=message.channel, flow_direction=pcesp.FlowDirection.BOTH
    )  # fmt: skip


_MAKERS: Final[dict[type[cdc.Message], Callable[[Any], pcesp.Pdu | None]]] = {
    cdc.Answer: _answer,
    cdc.Origination: _origination,
    cdc.TerminationAttempt: _termination_attempt,
    cdc.Redirection: _redirection,
    cdc.Release: _release,
    cdc.DialedDigitExtraction: _digits,
    cdc.NetworkSignal: _network_signal,
    cdc.SubjectSignal: _subject_signal,
    cdc.MediaAndAddressReporting: _media_report,
    cdc.Connection: _connection,
    cdc.ConnectionBreak: _connection_break,
    cdc.ConfPartyChange: _conf_party_change,
    cdc.ServiceInstance: _service_instance,
    ccc.CCOpen: _cc_open,
    ccc.CCChange: _cc_change,
    ccc.CCClose: _cc_close,
}
