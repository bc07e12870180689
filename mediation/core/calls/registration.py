"""Where the subjects are registered: REGISTER transactions in, ServingSystem out (T1.678; RFC 3261 section 10).

Answers for one judgement: did this transaction, or the passing of time, change at which contacts the network reaches a
subject. The registrar's word counts, not the phone's: a request says nothing until its final response. It may not
decide whose REGISTER it is: that was the match.

| what the final response shows | ServingSystem |
|---|---|
| a contact that was not bound before | registration |
| the same, and an older one of the same phone is gone | registrationAndDeregistration: it moved |
| a contact removed (Expires: 0, Contact: *) | deregistration |
| the same contacts, for longer | none |
| a challenge, or whatever else is tried again | none |
| any other refusal | failureReason; the same refusal again: none |

| the time that was granted passes without a refresh | deregistration, stamped with that time |

What is not known is not invented. A contact seen for the first time may be a refresh of a binding from before: it is
new when its Call-ID was seen from the start (CSeq 1), when it was seen to go, when the phone had another before, when
everything had been removed, or when the model has watched for longer than a binding holds; otherwise registrationType
is `unknown`. A contact in the list that this transaction did not ask for is another phone's: it is remembered, not
reported. One that is missing from the list is gone only if the same phone had it, since registrars exist that list the
newest only; the clock ends the others.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import Any, Final

import msgspec

from mediation.core.calls.exchange import cause_of
from mediation.core.calls.forwarding import MAX_CONTACTS_IN_MESSAGE, contact_key
from mediation.core.interface.x2 import Pdu
from mediation.core.message import cdc
from mediation.core.network import signal
from mediation.core.network.identity import host_of
from mediation.core.network.party import Directory, addresses
from mediation.core.network.sip import NameAddr, SipMessage
from mediation.core.recent import remember
from mediation.core.timers import Timers

MAX_SUBSCRIBERS: Final = 1_024  # addresses of record of one order (a trunk or a block has many), the newest; ours
MAX_BINDINGS: Final = 16  # of one address of record; registrars allow about ten
MAX_REQUESTS: Final = 256  # REGISTERs of one order without their answer, the newest; ours
MAX_CALL_IDS: Final = 1_024  # whose first CSeq is remembered; ours
DEFAULT_EXPIRES: Final = 3_600  # seconds; RFC 3261 10.2.1.1: what is usual where nobody says
MAX_EXPIRES: Final = 2**32 - 1  # RFC 3261 20.19
GRACE_NS: Final = 4_000_000_000  # half of the 8 s of 1.20007(a)(14): a refresh that crosses the limit is no end. Ours
TOO_BRIEF: Final = 423  # RFC 3261 10.2.8: it is tried again with a longer time
SECOND: Final = 1_000_000_000
MAX_IDENTITY: Final = 15  # ServingSystem.systemIdentity, networkAddress: VisibleString(1..15)


class Binding(msgspec.Struct):
    """One contact of a subject."""

    uri: str
    device: str  # Call-ID or instance of the phone that bound it; "" when another's was listed
    expires_ns: int


class Subscriber(msgspec.Struct):
    """An address of record, and where it is reached."""

    party: cdc.Party
    bindings: dict[str, Binding] = {}  # by contact
    gone: dict[str, None] = {}  # contacts that were seen to go
    cleared: bool = False  # everything was removed once: whatever is bound since was seen
    failure: tuple[int, cdc.RegistrationType] | None = None  # the refusal that was reported last
    registrar: cdc.Party | None = None
    armed_ns: int | None = None  # the timer queue's own

    def deadline_ns(self) -> int | None:
        return min((each.expires_ns for each in self.bindings.values()), default=None)

    def unbind(self, key: str) -> Binding | None:
        found = self.bindings.pop(key, None)
        if found is not None:
            self.note_gone(key)
        return found

    def note_gone(self, key: str) -> None:
        self.gone.pop(key, None)
        if len(self.gone) >= MAX_BINDINGS:
            del self.gone[next(iter(self.gone))]
        self.gone[key] = None


class Request(msgspec.Struct, frozen=True):
    """A REGISTER that waits for its final response."""

    message: SipMessage
    asked: dict[str, tuple[str, int | None]]  # contact -> URI and seconds, None when it did not say
    everything: bool  # Contact: *
    device: str
    network: str  # address that it was sent to
    first: bool  # its Call-ID was seen from the start

    @property
    def leaves(self) -> bool:
        """It asks for nothing but removal."""
        return self.everything or (bool(self.asked) and all(seconds == 0 for _, seconds in self.asked.values()))


class Registrations:
    """The registrations of one task's subjects. `forgotten` counts what had to make room."""

    def __init__(self, case_id: str, iap_system_id: str, directory: Directory) -> None:
        self._case_id = case_id
        self._iap_system_id = iap_system_id
        self._directory = directory
        self._subscribers: OrderedDict[str, Subscriber] = OrderedDict()
        self._requests: OrderedDict[tuple[str, int], Request] = OrderedDict()
        self._call_ids: OrderedDict[str, int] = OrderedDict()  # the first CSeq seen
        self._timers: Timers[Subscriber] = Timers(Subscriber.deadline_ns)
        self._since_ns: int | None = None
        self.forgotten = 0

    def start(self, now_ns: int) -> None:
        """From now on every REGISTER is seen."""
        if self._since_ns is None:
            self._since_ns = now_ns

    def observe(self, pdu: Pdu, message: SipMessage) -> list[cdc.ServingSystem]:
        """What one REGISTER or response to it changes."""
        self.start(pdu.stamp_ns)
        found = self.advance(pdu.stamp_ns)
        if message.status == 0:
            self._ask(pdu, message)
        elif message.status >= 200:
            found += self._answer(pdu, message)
        return found

    def advance(self, now_ns: int) -> list[cdc.ServingSystem]:
        """Bindings that nobody refreshed in their time."""
        found = []
        for subscriber in self._timers.due(now_ns - GRACE_NS):
            late = {
                key: binding for key, binding in subscriber.bindings.items() if binding.expires_ns <= now_ns - GRACE_NS
            }
            for key in late:
                subscriber.unbind(key)
            found.append(
                cdc.ServingSystem(
                    case_id=self._case_id,
                    iap_system_id=self._iap_system_id,
                    timestamp_ns=min(binding.expires_ns for binding in late.values()),
                    registration_type=cdc.RegistrationType.DEREGISTRATION,
                    registering=subscriber.party,
                    registrar=subscriber.registrar,
                    request_address_info=tuple(_binding(binding.uri, 0) for binding in late.values()),
                )
            )
            self._timers.arm(subscriber)
        return found

    def next_deadline_ns(self) -> int | None:
        at = self._timers.next_ns()
        return None if at is None else at + GRACE_NS

    # One transaction

    def _ask(self, pdu: Pdu, message: SipMessage) -> None:
        name = (message.call_id, message.cseq)
        if name in self._requests:
            return  # a copy
        if message.call_id not in self._call_ids:
            remember(self._call_ids, message.call_id, message.cseq, MAX_CALL_IDS)
        contacts = addresses(message, "contact")[:MAX_CONTACTS_IN_MESSAGE]
        default = _seconds(message.first("expires"))
        request = Request(
            message=message,
            asked={contact_key(each.uri): (each.uri, _expires(each, default)) for each in contacts if each.uri != "*"},
            everything=any(each.uri == "*" for each in contacts),
            device=next((found for each in contacts if (found := each.parameter("+sip.instance"))), message.call_id),
            network=pdu.destination[0],
            first=self._call_ids[message.call_id] == 1,
        )
        self.forgotten += remember(self._requests, name, request, MAX_REQUESTS) is not None

    def _answer(self, pdu: Pdu, message: SipMessage) -> list[cdc.ServingSystem]:
        request = self._requests.pop((message.call_id, message.cseq), None)
        if request is None:
            return []  # a copy, or a request that was not seen
        if 200 <= message.status < 300:
            return self._accepted(request, message, pdu.stamp_ns)
        if 300 <= message.status < 400 or signal.outcome(message.status) is signal.Outcome.RETRY:
            return []
        if message.status == TOO_BRIEF:
            return []
        return self._refused(request, message, pdu.stamp_ns)

    def _refused(self, request: Request, message: SipMessage, stamp_ns: int) -> list[cdc.ServingSystem]:
        subscriber, _ = self._subscriber(request)
        leaving = cdc.RegistrationType.DEREGISTRATION if request.leaves else cdc.RegistrationType.REGISTRATION
        if subscriber.failure == (message.status, leaving):
            return []
        subscriber.failure = (message.status, leaving)
        asked = tuple(_binding(uri, _granted(seconds, None)) for uri, seconds in request.asked.values())
        return [
            self._message(
                request, subscriber, leaving, stamp_ns, request_address_info=asked, failure_reason=cause_of(message)
            )
        ]

    def _accepted(self, request: Request, message: SipMessage, stamp_ns: int) -> list[cdc.ServingSystem]:
        subscriber, known = self._subscriber(request)
        subscriber.failure = None
        listed = self._listed(request, message)
        had_one = any(each.device == request.device for each in subscriber.bindings.values())
        removed = self._remove(request, subscriber, listed, known=known)
        added = {}
        sure = request.first or had_one or subscriber.cleared
        subscriber.cleared |= request.everything
        own = [key for key in listed if key in request.asked] or ([] if request.leaves else list(listed))
        if not request.asked:
            own = []  # it only asked what is bound
        for key, (uri, seconds) in listed.items():
            new = key in own and key not in subscriber.bindings
            if new:
                added[key] = sure or key in subscriber.gone or self._watched(seconds, stamp_ns)
            if key not in subscriber.bindings and len(subscriber.bindings) >= MAX_BINDINGS:
                del subscriber.bindings[next(iter(subscriber.bindings))]
                self.forgotten += 1
            device = request.device if key in own else ""
            subscriber.bindings[key] = Binding(uri, device, stamp_ns + seconds * SECOND)
            subscriber.gone.pop(key, None)
        self._timers.arm(subscriber)
        if not added and not removed:
            return []
        asked = {key: (uri, _granted(seconds, listed.get(key))) for key, (uri, seconds) in request.asked.items()}
        return [
            self._message(
                request,
                subscriber,
                _kind(added, removed),
                stamp_ns,
                request_address_info=tuple(
                    _binding(uri, seconds)
                    for uri, seconds in (asked or {key: (uri, 0) for key, uri in removed.items()}).values()
                    if uri
                ),
                response_address_info=tuple(_binding(uri, seconds) for uri, seconds in listed.values()),
                expiration_period=max((listed[key][1] for key in added), default=None),
            )
        ]

    @staticmethod
    def _listed(request: Request, message: SipMessage) -> dict[str, tuple[str, int]]:
        """The contacts that are bound now, by the registrar, and for how many seconds."""
        default = _seconds(message.first("expires"))
        contacts = [each for each in addresses(message, "contact")[:MAX_CONTACTS_IN_MESSAGE] if each.uri != "*"]
        found = {}
        for each in contacts:
            key = contact_key(each.uri)
            asked = request.asked.get(key, ("", None))[1]
            seconds = _expires(each, default if default is not None else asked)
            if seconds != 0:
                found[key] = (each.uri, DEFAULT_EXPIRES if seconds is None else seconds)
        if contacts:
            return found
        # RFC 3261 10.3 asks for the list; who leaves it out accepted what was asked for.
        return {
            key: (uri, granted)
            for key, (uri, seconds) in request.asked.items()
            if (granted := _granted(default if default is not None else seconds, None)) and seconds != 0
        }

    @staticmethod
    def _remove(
        request: Request, subscriber: Subscriber, listed: dict[str, tuple[str, int]], *, known: bool
    ) -> dict[str, str]:
        """Takes out what is bound no more; contact -> URI of what is news."""
        removed = {}
        for key, binding in list(subscriber.bindings.items()):
            asked = request.everything or request.asked.get(key, ("", None))[1] == 0
            if key not in listed and (asked or binding.device == request.device):
                subscriber.unbind(key)
                removed[key] = binding.uri
        for key, (uri, seconds) in request.asked.items():
            if seconds == 0 and key not in listed and key not in subscriber.gone:
                removed[key] = uri  # bound before anything was seen
                subscriber.note_gone(key)
        if request.everything and not known:
            removed["*"] = ""  # whatever it was
        return removed

    def _watched(self, seconds: int, stamp_ns: int) -> bool:
        """Long enough to have seen a refresh of every binding."""
        return self._since_ns is not None and stamp_ns - self._since_ns > seconds * SECOND

    # Who and where

    def _subscriber(self, request: Request) -> tuple[Subscriber, bool]:
        """The address of record, and whether anything was known of it."""
        address = request.message.to
        key = self._directory.key(address.uri)
        found = self._subscribers.get(key)
        known = found is not None
        found = found or Subscriber(self._directory.claimed(address))
        oldest = remember(self._subscribers, key, found, MAX_SUBSCRIBERS)
        if oldest is not None:
            self._timers.disarm(oldest)
            self.forgotten += 1
        found.registrar = cdc.Party(uri=(request.message.request_uri,))
        return found, known

    def _message(
        self, request: Request, subscriber: Subscriber, kind: cdc.RegistrationType, stamp_ns: int, **more: Any
    ) -> cdc.ServingSystem:
        message = request.message
        third = self._directory.key(message.from_.uri) != self._directory.key(message.to.uri)
        host = _registrar_host(message.request_uri)
        return cdc.ServingSystem(
            case_id=self._case_id,
            iap_system_id=self._iap_system_id,
            timestamp_ns=stamp_ns,
            system_identity=host if 0 < len(host) <= MAX_IDENTITY else None,  # cut, it would name another
            network_address=request.network if 0 < len(request.network) <= MAX_IDENTITY else None,
            request_id=cdc.CallIdentity(main=message.call_id),
            registration_type=kind,
            registering=subscriber.party,
            requesting=self._directory.claimed(message.from_) if third else None,
            registrar=subscriber.registrar,
            **more,
        )


def _kind(added: dict[str, bool], removed: dict[str, str]) -> cdc.RegistrationType:
    if added and removed:
        return cdc.RegistrationType.REGISTRATION_AND_DEREGISTRATION
    if removed:
        return cdc.RegistrationType.DEREGISTRATION
    return cdc.RegistrationType.REGISTRATION if all(added.values()) else cdc.RegistrationType.UNKNOWN


def _binding(uri: str, seconds: int) -> cdc.AddressBinding:
    return cdc.AddressBinding(address=cdc.Party(uri=(uri,)) if uri else cdc.Party(), expiration_period=seconds)


def _granted(asked: int | None, listed: tuple[str, int] | None) -> int:
    if asked is not None:
        return asked
    return listed[1] if listed is not None else DEFAULT_EXPIRES


def _expires(contact: NameAddr, default: int | None) -> int | None:
    found = _seconds(contact.parameter("expires"))
    return default if found is None else found


def _seconds(text: str | None) -> int | None:
    """delta-seconds; None for what is none (RFC 3261 20.19: a malformed value counts as not there)."""
    text = (text or "").strip()
    return min(int(text), MAX_EXPIRES) if text.isascii() and text.isdigit() and len(text) <= 12 else None


def _registrar_host(uri: str) -> str:
    """The host of a Request-URI without a user part."""
    rest = uri.partition(":")[2].partition(";")[0].partition("?")[0]
    return host_of(uri) or (rest.rpartition("]")[0].lstrip("[") if rest.startswith("[") else rest.partition(":")[0])
