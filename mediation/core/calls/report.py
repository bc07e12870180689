"""The messages of the call data channel, made of what is known of a call (T1.678 LaesMessage; standards of `cdc`).

Answers for the content of each message; when one is sent is the table's affair (`call`), and what of it an order
may be given is `minimisation`'s. All methods are named after the words of the table.

Call identity: `main` is the Call-ID. `leg`, the To tag, stands in messages about one dialog; a message without it
is about the call as a whole. When an INVITE was forked (Origination.forkedCalls cannot say it: at that moment
nobody knows), the dialogs are named as they come up: the first that rings in NetworkSignal, one with early media in
MediaAndAddressReporting, the one that answers in Answer, and there and then each other one that rang or was named
gets a Release of its own. The Release without a leg ends the call."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from mediation.core.calls.association import CALL_FORWARDING, CALL_WAITING, Associations
from mediation.core.calls.codes import Codes
from mediation.core.calls.correlation import Correlator
from mediation.core.calls.dialog import Call, Leg, Target
from mediation.core.calls.event import Reading
from mediation.core.calls.surveillance import Surveillance
from mediation.core.calls.word import Prefix, Say
from mediation.core.channel.media import Description, Side
from mediation.core.interface.x2 import Role
from mediation.core.message import cdc
from mediation.core.network import signal
from mediation.core.network.party import Directory, dialed, diversions, evidence
from mediation.core.network.sip import SipMessage

FLASH: Final = "flash"  # SubjectSignal.switchhookFlash
PCESP: Final = "pcesp"  # its network reports a hold by the phone as a change of media (PKT-SP-ES-DCI 8.3.2)
LOCAL: Final = "MEDIATION"  # Cause.signalingType of a Release that no signalling caused


class Reporter:
    """Makes the messages of one task. Nothing here raises; sizes and character sets are the encoder's affair."""

    def __init__(self, surveillance: Surveillance, directory: Directory, correlator: Correlator) -> None:
        self._case_id = surveillance.case_id
        self._iap_system_id = surveillance.iap_system_id
        self._directory = directory
        self._client_hold = surveillance.profile == PCESP
        several = Associations(self._at, directory, correlator, services=surveillance.profile == PCESP)
        self.associations = several
        codes = Codes(self._at, directory, several)
        self._words: dict[Say, Callable[[Call, Reading, int], list[cdc.Message]]] = {
            Say.DIALED: codes.dialed,
            Say.FEATURE: codes.managed,
            Say.ORIGINATION: self._origination,
            Say.TERMINATION_ATTEMPT: self._termination_attempt,
            Say.RINGBACK: self._ringback,
            Say.ALERTING: self._alerting,
            Say.PHRASE: self._phrase,
            Say.HEARD: self._heard,
            Say.TONE: self._tone,
            Say.REDIRECTION: self._redirection,
            Say.ANSWER: self._answer,
            Say.LOSERS: self._losers,
            Say.SIGNAL: self._signal,
            Say.BREAK: self._break,
            Say.CONNECTION: self._connection,
            Say.MEDIA: self._media,
            Say.CHANGE: several.change,
            Say.MIX: several.mix,
            Say.REFER: several.refer,
            Say.REFERRED: several.referred,
            Say.TRANSFER: several.transfer,
            Say.ROSTER: several.roster,
            Say.LEAVE: several.gone,
            Say.RELEASE: self._release,
        }

    def _at(self, stamp_ns: int) -> Prefix:
        return {"case_id": self._case_id, "iap_system_id": self._iap_system_id, "timestamp_ns": stamp_ns}

    def say(self, word: Say, call: Call, reading: Reading, stamp_ns: int) -> list[cdc.Message]:
        """The messages for one word of a transition; none when there is nothing to say after all."""
        return self._words[word](call, reading, stamp_ns)

    def introduce(self, call: Call, message: SipMessage) -> None:
        """Who is who in a call that was up before it was first seen, by one message inside it."""
        first, second = self._directory.claimed(message.from_), self._directory.vouched(message.to.uri)
        calling = call.role is Role.CALLING
        call.subject, call.associate = (first, second) if calling else (second, first)
        self._note_line(call)

    def status(self, event: cdc.StatusEvent, current: cdc.CurrentStatus, stamp_ns: int) -> cdc.Message:
        return cdc.SurveillanceStatus(
            **self._at(stamp_ns),
            status_event_type=event,
            current_status=current,
        )

    def digits(self, call: Call, digits: str, label: str, stamp_ns: int) -> cdc.Message:
        return cdc.DialedDigitExtraction(
            **self._at(stamp_ns),
            call_id=call.identity(call.winner),
            digits=digits,
            sip_headers=(label,),
        )

    def flash(self, call: Call, stamp_ns: int) -> cdc.Message:
        return self._subject_signal(call, stamp_ns, switchhook_flash=FLASH)

    def _note_line(self, call: Call) -> None:
        call.line = self._directory.key(call.subject.uri[0]) if call.subject.uri else ""

    # Set-up

    def _origination(self, call: Call, reading: Reading, stamp_ns: int) -> list[cdc.Message]:
        message = _message(reading)
        uri, asked = message.request_uri, message.to.uri
        translated = self._directory.key(uri) != self._directory.key(asked)  # the network, before it reached this tap
        call.subject = self._directory.calling(message)
        call.associate = self._directory.vouched(uri)
        self._note_line(call)
        call.asked = self._directory.key(uri)
        return [
            cdc.Origination(
                **self._at(stamp_ns),
                call_id=call.identity(),
                calling=call.subject,
                called=call.associate,
                user_input=None if translated else dialed(uri),
                translation_input=dialed(uri) if translated else None,
                subject_media=_offered(reading, Side.CALLER),
                sip_headers=evidence(message),
            )
        ]

    def _termination_attempt(self, call: Call, reading: Reading, stamp_ns: int) -> list[cdc.Message]:
        message = _message(reading)
        redirected = diversions(message)
        call.subject = self._directory.called(message)
        call.associate = self._directory.calling(message)
        if reading.target is not None:  # forwarded by the subject before it reached this tap
            own, redirected = redirected.parties[0], redirected.before_last()
            call.subject = self._directory.vouched(own.uri, own.display)
        self._note_line(call)
        call.display = self._directory.display(message, redirected)
        call.alerting = signal.alerting(message.all("alert-info"))
        return [
            cdc.TerminationAttempt(
                **self._at(stamp_ns),
                call_id=call.identity(),
                calling=call.associate,
                called=call.subject,
                associate_media=_offered(reading, Side.CALLER),
                redirected_from_info=self._directory.redirected_from(redirected),
                sip_headers=evidence(message),
            )
        ]

    def _redirection(self, call: Call, reading: Reading, stamp_ns: int) -> list[cdc.Message]:
        before, target = call.target, reading.target
        if target is None:
            if reading.leg is not None and reading.leg.subject:
                return []  # it was announced, but the subject answered
            target = Target("", self._directory.connected(_message(reading)) if reading.leg else None)
        elif before is not None and before.party is not None and before.key == target.key:
            return []  # said already
        call.target = target
        for leg in call.legs.values():
            leg.closed |= leg.subject  # the Redirection says what became of it
            leg.subject &= leg.uri != ""  # not known to be the phone's own dialog: it may go on with the new target
        from_target = before.party if before is not None else None
        first = call.subject if call.role is Role.CALLED else call.associate
        forwarded = call.role is Role.CALLED and before is None
        return [
            cdc.Redirection(
                **self._at(stamp_ns),
                call_id=call.identity(),
                redirected_from=from_target or first,
                redirected_to=target.party,
            ),
            *(self.associations.service(CALL_FORWARDING, call, None, stamp_ns) if forwarded else ()),
        ]

    # Signals

    def _ringback(self, call: Call, reading: Reading, stamp_ns: int) -> list[cdc.Message]:
        if call.alerted:
            return []  # another phone rings: what the subject hears is the same
        call.alerted = True
        return [self._network_signal(call, reading.leg, stamp_ns, tone=cdc.AudibleSignal.RINGBACK_TONE)]

    def _alerting(self, call: Call, reading: Reading, stamp_ns: int) -> list[cdc.Message]:
        subject = reading.leg is not None and reading.leg.subject
        if call.alerted or not subject:
            return []
        call.alerted = True
        pattern = call.alerting
        if pattern is cdc.AlertingSignal.ALERTING_PATTERN_0 and reading.message is not None:
            pattern = signal.alerting(reading.message.all("alert-info"))
        waiting = self.associations.waiting(call)
        if waiting is not None and pattern is cdc.AlertingSignal.ALERTING_PATTERN_0:
            pattern = cdc.AlertingSignal.CALL_WAITING_PATTERN_1
        return [
            cdc.NetworkSignal(
                **self._at(stamp_ns),
                call_id=call.identity(reading.leg),
                signaled_to_party_id=call.subject,
                alerting_signal=pattern,
                terminal_display_info=call.display,
            ),
            *(self.associations.service(CALL_WAITING, call, waiting, stamp_ns) if waiting is not None else ()),
        ]

    def _phrase(self, call: Call, reading: Reading, stamp_ns: int) -> list[cdc.Message]:
        message = _message(reading)
        return [self._network_signal(call, reading.leg, stamp_ns, other=f"{message.status} {message.reason}".rstrip())]

    def _heard(self, call: Call, reading: Reading, stamp_ns: int) -> list[cdc.Message]:
        tone = signal.heard(_message(reading).all("alert-info"))
        return [self._network_signal(call, reading.leg, stamp_ns, tone=tone)] if tone is not None else []

    def _tone(self, call: Call, reading: Reading, stamp_ns: int) -> list[cdc.Message]:
        tone = signal.tone(call.status) if call.status >= 400 else None
        return [self._network_signal(call, None, stamp_ns, tone=tone)] if tone is not None else []

    def _network_signal(
        self,
        call: Call,
        leg: Leg | None,
        stamp_ns: int,
        tone: cdc.AudibleSignal | None = None,
        other: str | None = None,
    ) -> cdc.Message:
        return cdc.NetworkSignal(
            **self._at(stamp_ns),
            call_id=call.identity(leg),
            signaled_to_party_id=call.subject,
            subject_audible_signal=tone,
            other=other,
        )

    def _subject_signal(
        self, call: Call, stamp_ns: int, switchhook_flash: str | None = None, other: str | None = None
    ) -> cdc.Message:
        return cdc.SubjectSignal(
            **self._at(stamp_ns),
            call_id=call.identity(call.winner),
            signaling_party_id=call.subject,
            switchhook_flash=switchhook_flash,
            other_signaling_information=other,
        )

    # The call is up

    def _answer(self, call: Call, reading: Reading, stamp_ns: int) -> list[cdc.Message]:
        answering = self._answering(call, reading)
        if call.role is Role.CALLING:
            call.associate = answering
        if call.target is not None and not (reading.leg is not None and reading.leg.subject):
            call.target = Target(call.target.key, answering)
        return [
            cdc.Answer(
                **self._at(stamp_ns),
                call_id=call.identity(reading.leg),
                answering=answering,
                answering_media=_granted(dict(reading.descriptions).get(Side.CALLEE)),
            )
        ]

    def _answering(self, call: Call, reading: Reading) -> cdc.Party:
        stated = self._directory.connected(_message(reading)) if _message(reading).status else None
        if stated is not None and stated.uri:
            return stated
        if call.role is Role.CALLED and reading.leg is not None and reading.leg.subject:
            return call.subject
        if call.role is Role.CALLED and reading.leg is not None and reading.leg.uri:
            return self._directory.vouched(reading.leg.uri)
        if call.target is not None:
            return call.target.party or cdc.Party()
        return call.associate

    def _losers(self, call: Call, reading: Reading, stamp_ns: int) -> list[cdc.Message]:
        released: list[cdc.Message] = []
        if reading.leg is None or not reading.leg.tag:
            return released  # which of them answered is not known
        for leg in call.legs.values():
            rival = leg is not reading.leg and leg.origin == reading.leg.origin
            if rival and (leg.ringing or leg.reported) and not leg.closed:
                leg.closed = True
                released.append(
                    cdc.Release(
                        **self._at(stamp_ns),
                        call_id=call.identity(leg),
                    )
                )
        return released

    def _signal(self, call: Call, reading: Reading, stamp_ns: int) -> list[cdc.Message]:
        side = call.media.changed_by
        if side is not call.subject_side:
            return []
        return [self._subject_signal(call, stamp_ns, other="hold" if call.media.holding[side] else "retrieve")]

    def _break(self, call: Call, reading: Reading, stamp_ns: int) -> list[cdc.Message]:
        if self._client_hold:
            return self._media(call, reading, stamp_ns)
        holder = call.media.removed_by
        others = self.associations.mixed(call) if holder is call.subject_side else ()
        return [
            cdc.ConnectionBreak(
                **self._at(stamp_ns),
                call_ids=(call.identity(call.winner),),
                removed_parties=(call.party(holder.other),),
                remaining_parties=(call.party(holder), *(each.associate for each in others)),
                suspended_media=_granted(call.media.descriptions[holder]),
                media_of_subject=None if call.subject_side is None else holder is call.subject_side,
            )
        ]

    def _connection(self, call: Call, reading: Reading, stamp_ns: int) -> list[cdc.Message]:
        if self._client_hold:
            return self._media(call, reading, stamp_ns)
        if mixed := self.associations.mix(call, reading, stamp_ns):
            return mixed
        first = call.subject_side or Side.CALLER
        return [
            cdc.Connection(
                **self._at(stamp_ns),
                call_ids=(call.identity(call.winner),),
                connected_parties=(call.party(first), call.party(first.other)),
                new_parties=(call.party(call.media.removed_by.other),),
                connected_media=_granted(call.media.descriptions[call.media.changed_by]),
                media_of_subject=None if call.subject_side is None else call.media.changed_by is call.subject_side,
            )
        ]

    def _media(self, call: Call, reading: Reading, stamp_ns: int) -> list[cdc.Message]:
        own = call.subject_side
        described = {side: _granted(description) for side, description in reading.descriptions}
        subject = described.pop(own, None) if own is not None else None
        contact = call.contacts[own] if own is not None else ""
        other = call.contacts[own.other] if own is not None else call.contacts[Side.CALLEE]
        return [
            cdc.MediaAndAddressReporting(
                **self._at(stamp_ns),
                call_id=call.identity(reading.leg),
                subject_media=subject,
                associate_media=tuple(media for media in described.values() if media is not None),
                subject_contact_addresses=cdc.Party(uri=(contact,)) if contact else None,
                associate_contact_addresses=cdc.Party(uri=(other,)) if other else None,
            )
        ]

    def _release(self, call: Call, reading: Reading, stamp_ns: int) -> list[cdc.Message]:
        if not call.reported and not call.joined:
            return []  # nothing was ever said of this call
        cause = call.cause
        if reading.message is None and cause is None:
            cause = cdc.Cause(signaling_type=LOCAL, sip=(reading.event.value,))
        return [
            cdc.Release(
                **self._at(stamp_ns),
                call_id=call.identity(),
                cause=cause,
            )
        ]


def _message(reading: Reading) -> SipMessage:
    if reading.message is None:
        raise AssertionError("the table asks for a message that only SIP can make")
    return reading.message


def _offered(reading: Reading, side: Side) -> cdc.Media | None:
    description = dict(reading.descriptions).get(side)
    return cdc.Media(sdp=description.text, status=cdc.MediaStatus.REQUESTED) if description else None


def _granted(description: Description | None) -> cdc.Media | None:
    return cdc.Media(sdp=description.text, status=cdc.MediaStatus.GRANTED) if description else None
