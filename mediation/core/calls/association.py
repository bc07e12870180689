"""What the calls of one subject have to do with each other: waiting, swap, three-way, transfer, replacement.

Answers for every message that is about more than one call (47 CFR 1.20007(b)(1) to (3); T1.678 Change, ConfPartyChange,
Connection and ConnectionBreak of several calls) and for knowing which calls of a line are up. It changes the state of
no call: `transitions` says when a word is said. Its methods are named after those words.

A *line* is one identity of the subject, so that the members of a trunk group do not wait for each other; a line with
more than MAX_APPEARANCES calls up is a switch behind one number, and its calls neither wait nor mix. Who is connected
with whom:

  held, retrieved      each call by itself (`report`): ConnectionBreak, Connection
  mixed by the phone   two calls of one device are up and neither is held: the network sees nothing else of it. One
                       Connection names all parties; when one leaves, ConnectionBreak names it as dropped. No Change and
                       no ConfPartyChange: there is no conference that the network knows of
  mixed by a focus     the other end of a call is a conference (`conference`). Who is moved there by REFER, or stands in
                       the document of the focus, is its member: Change (calls -> conference), ConfPartyChange
  replaced             INVITE with Replaces (RFC 3891), or attended transfer (REFER with Replaces): Change. When the new
                       call is not the subject's, its Call-ID is nobody's to know; its identity is then `main` of the
                       call in which the REFER was sent, with the Call-ID of the replaced one as `leg`
  joined               INVITE with Join (RFC 3911): Change of both into the older one, and ConfPartyChange
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import Final

from mediation.core.calls.conference import MAX_MEMBERS, roster
from mediation.core.calls.correlation import Correlator
from mediation.core.calls.dialog import Call, State
from mediation.core.calls.event import Reading
from mediation.core.calls.forwarding import contact_key
from mediation.core.calls.transfer import Referral, refer_lines
from mediation.core.calls.word import Prefix
from mediation.core.interface.x2 import Role
from mediation.core.message import cdc
from mediation.core.network.party import Directory
from mediation.core.network.sip import SipMessage

UP: Final = (State.ANSWERED, State.HELD)
MAX_APPEARANCES: Final = 12  # calls of one line at once; a line with more is a switch, whose calls do not mix. Ours
# ServiceInstance.serviceName (PCESP; the list of PKT-SP-ES-DCI 8.3 as far as it could be read)
CALL_WAITING: Final = "Call_Waiting"
CALL_FORWARDING: Final = "Call_Forwarding"
CALL_TRANSFER: Final = "Call_Transfer"
THREE_WAY: Final = "Three_Way_Call"


class Associations:
    """The calls of one task that are up, by line. `at` makes the prefix of a message from its stamp."""

    def __init__(
        self, at: Callable[[int], Prefix], directory: Directory, correlator: Correlator, *, services: bool
    ) -> None:
        """`services`: the profile has ServiceInstance (PCESP)."""
        self.members_refused = 0  # parties of conferences that were told but for which no room was left
        self._at = at
        self._services = services
        self._directory = directory
        self._correlator = correlator
        self._up: dict[str, dict[Hashable, Call]] = {}
        self._focuses: dict[str, Call] = {}

    # Which calls are up

    def enter(self, call: Call) -> None:
        """It is answered, or was up when it was first seen."""
        self._up.setdefault(call.line, {})[call.key] = call

    def leave(self, call: Call) -> None:
        """It is over."""
        line = self._up.get(call.line, {})
        if line.pop(call.key, None) is not None and not line:
            del self._up[call.line]
        if call.focus and self._focuses.get(call.focus) is call:
            del self._focuses[call.focus]

    def others(self, call: Call) -> list[Call]:
        """The other calls of its line at whose end the subject is, the newest last."""
        line = self._up.get(call.line, {}) if call.line else {}
        return [each for each in line.values() if each is not call and each.subject_side is not None]

    def named(self, message: cdc.Message, call: Call) -> list[Call]:
        """The other calls that a message about `call` names too."""
        if isinstance(message, cdc.Change):
            names = {each.main for each in message.previous}
        elif isinstance(message, cdc.Connection | cdc.ConfPartyChange):
            names = {each.main for each in message.call_ids}
        else:
            return []
        return [each for each in self.others(call) if each.main in names]

    def mixed(self, call: Call) -> list[Call]:
        """The other calls that its phone has connected at this moment."""
        if call.transferred or call.focus or call.subject_side is None:
            return []
        return [each for each in self._beside(call) if self._is_mixed(call, each)]

    def _beside(self, call: Call) -> list[Call]:
        """The other calls of one phone; none on a line that has more calls up than any phone shows."""
        return self.others(call) if len(self._up.get(call.line, ())) <= MAX_APPEARANCES else []

    def _is_mixed(self, call: Call, other: Call) -> bool:
        if other.state is not State.ANSWERED or other.focus or other.transferred:
            return False
        if self._correlator.dialog(call.replaces) is other or self._correlator.dialog(call.joins) is other:
            return False
        device = _device(call)
        return bool(device) and device == _device(other)

    def conference(self, uri: str) -> Call | None:
        """The subject's call to this conference."""
        return self._focuses.get(contact_key(uri)) if self._focuses else None

    def asked(self, message: SipMessage) -> Call | None:
        """The subject's call to the conference that a REFER or a NOTIFY outside of it is about (RFC 4579 5.5)."""
        if message.method not in ("REFER", "NOTIFY"):
            return None
        return self.conference(message.request_uri if message.method == "REFER" else message.from_.uri)

    def note_focus(self, call: Call) -> None:
        """The other end of the call turned out to be a conference."""
        self._focuses[call.focus] = call

    # Words

    def change(self, call: Call, reading: Reading, stamp_ns: int) -> list[cdc.Message]:
        """An answered call takes the place of another, or joins it."""
        replaced = self._live(self._correlator.dialog(call.replaces), call) or self._referred(call)
        if replaced is not None:
            replaced.transferred = True
            return [self._change(stamp_ns, (replaced,), call.identity())]
        other = self._live(self._correlator.dialog(call.joins), call)
        if other is None:
            return []
        return [
            self._change(stamp_ns, (other, call), other.identity()),
            cdc.ConfPartyChange(
                **self._at(stamp_ns),
                call_ids=(other.identity(), call.identity()),
                communicating_parties=(call.subject, other.associate, call.associate),
                joined_parties=(call.associate,),
            ),
        ]

    def mix(self, call: Call, reading: Reading, stamp_ns: int) -> list[cdc.Message]:
        """The phone has this call connected beside others."""
        others = self.mixed(call)
        if not others:
            return []
        return [
            cdc.Connection(
                **self._at(stamp_ns),
                call_ids=(*(each.identity(each.winner) for each in others), call.identity(call.winner)),
                connected_parties=(call.subject, *(each.associate for each in others), call.associate),
                new_parties=(call.associate,),
            )
        ]

    def refer(self, call: Call, reading: Reading, stamp_ns: int) -> list[cdc.Message]:
        """The subject asks the network, or the other party, to call somebody."""
        if reading.message is None or reading.referral is None:
            return []
        replaced = self._live(self._correlator.dialog(reading.referral.replaces), call)
        if replaced is not None:
            replaced.claim = reading.referral
        return [
            cdc.SubjectSignal(
                **self._at(stamp_ns),
                call_id=call.identity(call.winner),
                signaling_party_id=call.subject,
                signaled_party_id=call.associate,
                refer=refer_lines(reading.message),
            )
        ]

    def referred(self, call: Call, reading: Reading, stamp_ns: int) -> list[cdc.Message]:
        """The subject is asked to call somebody."""
        if reading.message is None:
            return []
        return [
            cdc.NetworkSignal(
                **self._at(stamp_ns),
                call_id=call.identity(call.winner),
                signaled_to_party_id=call.subject,
                refer=refer_lines(reading.message),
            )
        ]

    def transfer(self, call: Call, reading: Reading, stamp_ns: int) -> list[cdc.Message]:
        """A REFER of the subject was carried out: the other end said so, or the call ends because of it."""
        referral = reading.referral or self._carried_out(call, reading)
        if referral is None or referral.settled or not referral.by_subject:
            return []
        referral.settled = True
        host = referral.host
        replaced = self._live(self._correlator.dialog(referral.replaces), host)
        if host.focus and referral.method == "BYE":
            return self._dropped(host, referral, stamp_ns)
        if host.focus:
            return self._joined(host, replaced, referral, stamp_ns)
        conference = self.conference(referral.target)
        host.transferred = True
        if conference is not None:
            return self._joined(conference, host, referral, stamp_ns)
        if replaced is not None:
            replaced.transferred = True
            new = cdc.CallIdentity(main=host.main, leg=replaced.main)
            change = self._change(stamp_ns, (host, replaced), new)
            return [change, *self.service(CALL_TRANSFER, host, replaced, stamp_ns)]
        return [
            cdc.Redirection(
                **self._at(stamp_ns),
                call_id=host.identity(),
                redirected_from=host.subject,
                redirected_to=self._directory.vouched(referral.target, referral.display),
            ),
            *self.service(CALL_TRANSFER, host, None, stamp_ns),
        ]

    def roster(self, call: Call, reading: Reading, stamp_ns: int) -> list[cdc.Message]:
        """The focus says who is in the conference; only what is new is told."""
        told = roster(reading.message) if reading.message is not None else None
        if told is None or told.version <= call.roster:
            return []
        call.roster = told.version
        listed = {self._directory.key(each.uri): each for each in told.members}
        own = {call.line, *(key for key, each in listed.items() if self._directory.is_subject(each.uri))}
        before = dict(call.members)
        for key, each in listed.items():
            if key in own or (each.present and contact_key(each.uri) == call.focus):
                continue
            if not each.present:
                call.members.pop(key, None)
            elif key not in call.members:
                self._remember(call, key, self._directory.vouched(each.uri, each.display))
        if told.full:
            call.members = {key: party for key, party in call.members.items() if key in listed}
        joined = tuple(party for key, party in call.members.items() if key not in before)
        removed = tuple(party for key, party in before.items() if key not in call.members)
        if not joined and not removed:
            return []
        broken = self._break(call, removed, stamp_ns) if removed else []
        return [*broken, self._parties(call, stamp_ns, joined=joined, removed=removed)]

    def gone(self, call: Call, reading: Reading, stamp_ns: int) -> list[cdc.Message]:
        """The call ends while others stay connected: with the subject's phone, or without the subject."""
        if call.focus and call.members:
            return [
                cdc.ConfPartyChange(
                    **self._at(stamp_ns),
                    call_ids=(call.identity(),),
                    communicating_parties=tuple(call.members.values()),
                    removed_parties=(call.subject,),
                )
            ]
        others = self.mixed(call) if call.state is State.ANSWERED else []
        if not others:
            return []
        return [
            cdc.ConnectionBreak(
                **self._at(stamp_ns),
                call_ids=(call.identity(call.winner),),
                dropped_parties=(call.associate,),
                remaining_parties=(call.subject, *(each.associate for each in others)),
            )
        ]

    def waiting(self, call: Call) -> Call | None:
        """The call that is up while this one alerts the subject."""
        others = self._beside(call)
        return others[-1] if others else None

    # Inside

    def _carried_out(self, call: Call, reading: Reading) -> Referral | None:
        """A call that ends on its own accord proves a REFER that had it replaced or moved."""
        claim = call.claim
        if claim is not None and not claim.settled and reading.side is not call.subject_side:
            return claim
        if call.focus:
            return None
        return next((each for each in reversed(call.referrals.values()) if not each.settled), None)

    def _referred(self, call: Call) -> Call | None:
        """The call in which the subject was asked to make this one."""
        for other in self._beside(call) if call.asked else ():
            for each in other.referrals.values():
                if not each.by_subject and not each.settled and self._directory.key(each.target) == call.asked:
                    each.settled = True
                    return other
        return None

    def _live(self, found: Call | None, call: Call) -> Call | None:
        """Only a call that has not ended can change into another."""
        return found if found is not None and found is not call and found.state in UP else None

    def _change(self, stamp_ns: int, previous: tuple[Call, ...], resulting: cdc.CallIdentity) -> cdc.Message:
        return cdc.Change(
            **self._at(stamp_ns), previous=tuple(each.identity() for each in previous), resulting=(resulting,)
        )

    def _joined(self, conference: Call, moved: Call | None, referral: Referral, stamp_ns: int) -> list[cdc.Message]:
        party = self._directory.vouched(referral.target, referral.display)
        changes: list[cdc.Message] = []
        if moved is not None:
            party, moved.transferred = moved.associate, True
            changes.append(self._change(stamp_ns, (moved,), conference.identity()))
        self._remember(conference, self._key(party), party)
        return [
            *changes,
            self._parties(conference, stamp_ns, joined=(party,)),
            *self.service(THREE_WAY, conference, moved, stamp_ns),
        ]

    def _dropped(self, conference: Call, referral: Referral, stamp_ns: int) -> list[cdc.Message]:
        asked = self._directory.vouched(referral.target, referral.display)
        party = conference.members.pop(self._key(asked), asked)
        return [
            *self._break(conference, (party,), stamp_ns),
            self._parties(conference, stamp_ns, removed=(party,)),
        ]

    def _break(self, conference: Call, dropped: tuple[cdc.Party, ...], stamp_ns: int) -> list[cdc.Message]:
        return [
            cdc.ConnectionBreak(
                **self._at(stamp_ns),
                call_ids=(conference.identity(conference.winner),),
                dropped_parties=dropped,
                remaining_parties=(conference.subject, *conference.members.values()),
            )
        ]

    def _parties(
        self,
        conference: Call,
        stamp_ns: int,
        *,
        joined: tuple[cdc.Party, ...] = (),
        removed: tuple[cdc.Party, ...] = (),
    ) -> cdc.Message:
        return cdc.ConfPartyChange(
            **self._at(stamp_ns),
            call_ids=(conference.identity(),),
            communicating_parties=(conference.subject, *conference.members.values()),
            joined_parties=joined,
            removed_parties=removed,
        )

    def _remember(self, conference: Call, key: str, party: cdc.Party) -> None:
        if key not in conference.members and len(conference.members) >= MAX_MEMBERS:
            self.members_refused += 1
            return
        conference.members[key] = party

    def service(self, name: str, call: Call, related: Call | None, stamp_ns: int) -> list[cdc.Message]:
        """The service that acted, with the call that it acted on; nothing where the profile has no such message."""
        if not self._services:
            return []
        calling, called = (call.subject, call.associate)[:: 1 if call.role is Role.CALLING else -1]
        return [
            cdc.ServiceInstance(
                **self._at(stamp_ns),
                call_id=call.identity(),
                service_name=name,
                related_call_id=related.identity() if related is not None else None,
                calling=calling,
                called=called,
            )
        ]

    def _key(self, party: cdc.Party) -> str:
        return self._directory.key(party.uri[0]) if party.uri else ""


def _device(call: Call) -> str:
    """Host and port of the subject's phone, by its Contact."""
    side = call.subject_side
    uri = call.contacts[side] if side is not None else ""
    return contact_key(uri).rpartition("@")[2]
