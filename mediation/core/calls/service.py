"""What the subject and the network signal beside calls: registration, messages, message waiting, transfer.

`CallModel` asks here when a method neither makes, changes nor ends a call. Answers for what such a message is reported
as (47 CFR 1.20007(b)(3) and (4); T1.678), once over retransmissions, challenges and both sides of a proxy:

| what is seen | reported as |
|---|---|
| REGISTER and its answer; a binding that ran out | ServingSystem (`registration`) |
| MESSAGE | UuContent to an order that may have text; to any other DirectSignalReporting, which minimisation cuts down |
| NOTIFY of message-summary to the subject (RFC 3842) | NetworkSignal with messageWaitingNotif, when it changed |
| REFER outside of a dialog, by the subject; to the subject | SubjectSignal.refer; NetworkSignal.refer |
| SUBSCRIBE, NOTIFY of packages that say nothing of calls; PUBLISH; OPTIONS | nothing, counted |
| INFO without a body or of media control | nothing, counted |
| any other request | DirectSignalReporting: what is not understood is passed on, not lost |

It may not decide what an order is given (`minimisation`), and keeps no text. Message waiting is told as the display it
is: the tone that some phones make of it is their own, and not a signal of the network's (1.20007(a)(8)).
"""

from __future__ import annotations

import hashlib
import re
from collections import OrderedDict
from collections.abc import Hashable
from typing import Final

from mediation.core.calls.registration import Registrations
from mediation.core.calls.surveillance import METHODS, SILENT_METHODS, Surveillance
from mediation.core.entitlement import Kind
from mediation.core.interface.x2 import Direction, Pdu
from mediation.core.message import cdc
from mediation.core.minimisation import Minimiser
from mediation.core.network import kpml
from mediation.core.network.info import is_keys
from mediation.core.network.keypad import event_package, media_type
from mediation.core.network.party import Directory, evidence
from mediation.core.network.signal import RETRIED
from mediation.core.network.sip import SipMessage
from mediation.core.recent import remember

MAX_SEEN: Final = 1_024  # requests of one order remembered against copies, the newest; ours
COPIES_NS: Final = 64_000_000_000  # twice Timer F (64*T1, RFC 3261 17.1.2.2): no copy of a request comes later
MAX_MAILBOXES: Final = 256  # mailboxes of one order whose state is remembered; ours
MAX_SUMMARY_LINES: Final = 16  # RFC 3842 names five message classes

# What a line of a summary may say (RFC 3842 5.2, RFC 3458): classes and numbers. Anything else would be words.
SUMMARY_CLASSES: Final = frozenset(
    f"{each}-message" for each in ("voice", "video", "fax", "pager", "multimedia", "text")
)
SUMMARY_COUNTS: Final = re.compile(r"[0-9]{1,10} ?/ ?[0-9]{1,10}( ?\( ?[0-9]{1,10} ?/ ?[0-9]{1,10} ?\))?")

MESSAGE_SUMMARY: Final = "message-summary"  # RFC 3842
# Event packages that identify no communication of the subject, or one that is reported from the call itself.
SILENT_EVENTS: Final = frozenset(
    {
        "",  # an answer to such a NOTIFY is 489: it means nothing
        "reg", "gruu-reg",  # RFC 3680: the REGISTER itself is reported
        "presence", "presence.winfo", "watcherinfo", "xcap-diff", "vq-rtcpxr",
        "ua-profile", "check-sync", "sync", "resync", "keep-alive", "line-seize",
        "dialog", "call-info",  # RFC 4235: calls of others, seen on lamps; the subject's own are reported
        "refer",  # RFC 3515: how a transfer goes on; the call model sees the calls that it makes
        kpml.EVENT,  # its reports are keys
    }
)  # fmt: skip
SILENT_BODIES: Final = frozenset({"", "application/media_control+xml"})  # of INFO: RFC 5168 asks for a picture
REFER_HEADERS: Final = {
    "refer-to": "Refer-To",
    "referred-by": "Referred-By",
    "replaces": "Replaces",
    "target-dialog": "Target-Dialog",
    "refer-sub": "Refer-Sub",
}


class Service:
    """All that the subjects of one task do beside calls. Times are UTC nanoseconds; nothing here raises."""

    def __init__(self, order: Surveillance, directory: Directory, minimiser: Minimiser) -> None:
        self._order = order
        self._directory = directory
        self._minimiser = minimiser
        self._registrations = self._no_registrations()
        self._seen: OrderedDict[Hashable, bool] = OrderedDict()  # request -> it was challenged
        self._told: OrderedDict[Hashable, int] = OrderedDict()  # request and digest of its body -> its stamp
        self._challenged: OrderedDict[Hashable, bool] = OrderedDict()  # (Call-ID, method): it comes again
        self._mailboxes: OrderedDict[Hashable, str] = OrderedDict()
        self._counters = dict.fromkeys(("unreported_other", *(f"unreported_{each}" for each in SILENT_METHODS)), 0)
        self._forgotten = 0

    @property
    def counters(self) -> dict[str, int]:
        return {
            **self._counters,
            "registrations_forgotten": self._registrations.forgotten,
            "mailboxes_forgotten": self._forgotten,
        }

    def takes(self, message: SipMessage) -> bool:
        """Whether this message is for here: its method is not one of a call's, or it is a REFER outside of dialogs."""
        method = message.method or message.cseq_method
        return method not in METHODS or (method == "REFER" and not message.to.tag)

    def start(self, now_ns: int) -> None:
        self._registrations.start(now_ns)

    def stop(self) -> None:
        """The order ended: nothing is due any more."""
        self._registrations = self._no_registrations()

    def _no_registrations(self) -> Registrations:
        return Registrations(self._order.case_id, self._order.iap_system_id, self._directory)

    def observe(self, pdu: Pdu, message: SipMessage) -> list[cdc.Message]:
        """The messages that one message beside calls makes."""
        method = message.method or message.cseq_method
        found: list[cdc.Message] = []
        if method == "REGISTER":
            found += self._registrations.observe(pdu, message)
        elif message.status:
            self._answered(message)
        elif not self._is_copy(message, pdu.stamp_ns):
            found += self._request(pdu, message)
        if not found:
            self._counters[f"unreported_{method}" if method in SILENT_METHODS else "unreported_other"] += 1
        return found

    def advance(self, now_ns: int) -> list[cdc.Message]:
        """What is due at `now_ns`."""
        return [*self._registrations.advance(now_ns)]

    def next_deadline_ns(self) -> int | None:
        return self._registrations.next_deadline_ns()

    # Copies

    def _is_copy(self, message: SipMessage, stamp_ns: int) -> bool:
        """A retransmission, the other side of a proxy, or the same again with credentials (RFC 3261 22.2). Who numbers
        another request the same sends another one: with other words, or when no copy can come any more."""
        name = (message.method, message.call_id, message.from_.tag, message.cseq)
        told = (*name, hashlib.sha256(message.body).digest())
        first_ns = self._told.get(told)
        if first_ns is not None and stamp_ns - first_ns < COPIES_NS:
            return True
        remember(self._told, told, stamp_ns, MAX_SEEN)
        if name not in self._seen:
            remember(self._seen, name, False, MAX_SEEN)
        return self._challenged.pop((message.call_id, message.method), False)

    def _answered(self, message: SipMessage) -> None:
        name = (message.cseq_method, message.call_id, message.from_.tag, message.cseq)
        if message.status in RETRIED and self._seen.get(name) is False:
            self._seen[name] = True
            remember(self._challenged, (message.call_id, message.cseq_method), True, MAX_SEEN)

    # What a request means

    def _request(self, pdu: Pdu, message: SipMessage) -> list[cdc.Message]:
        match message.method:
            case "MESSAGE":
                return self._message(pdu, message)
            case "REFER":
                return [] if message.to.tag else self._refer(pdu, message)
            case "NOTIFY" if self._package(message) == MESSAGE_SUMMARY:
                return self._waiting(pdu, message)
            case "SUBSCRIBE" if self._package(message) == MESSAGE_SUMMARY:
                return []
            case "SUBSCRIBE" | "NOTIFY":
                return [] if self._package(message) in SILENT_EVENTS else [self._direct(pdu, message)]
            case "OPTIONS" | "PUBLISH":
                return []
            case "INFO":
                kind = media_type(message)
                return [] if kind in SILENT_BODIES or is_keys(kind) else [self._direct(pdu, message)]
        return [self._direct(pdu, message)]

    def _message(self, pdu: Pdu, message: SipMessage) -> list[cdc.Message]:
        """RFC 3428. One of the two, by what the order may have."""
        if not message.body or not self._minimiser.gives(Kind.TEXT):
            return [self._direct(pdu, message)]
        kind = message.first("content-type")
        return [
            cdc.UuContent(
                case_id=self._order.case_id,
                iap_system_id=self._order.iap_system_id,
                timestamp_ns=pdu.stamp_ns,
                call_id=cdc.CallIdentity(main=message.call_id),
                sip_headers=evidence(message),
                body_headers=(f"Content-Type: {kind}",) if kind else (),
                body=message.body,
            )
        ]

    def _refer(self, pdu: Pdu, message: SipMessage) -> list[cdc.Message]:
        """RFC 3515, outside of any dialog: click to dial, a transfer by a third party."""
        lines = tuple(f"{REFER_HEADERS[name]}: {value}" for name, value in message.headers if name in REFER_HEADERS)
        identity = cdc.CallIdentity(main=message.call_id)
        if self._by_subject(pdu, message):
            return [
                cdc.SubjectSignal(
                    case_id=self._order.case_id,
                    iap_system_id=self._order.iap_system_id,
                    timestamp_ns=pdu.stamp_ns,
                    call_id=identity,
                    signaling_party_id=self._directory.calling(message),
                    signaled_party_id=self._directory.vouched(message.request_uri),
                    refer=lines,
                )
            ]
        return [
            cdc.NetworkSignal(
                case_id=self._order.case_id,
                iap_system_id=self._order.iap_system_id,
                timestamp_ns=pdu.stamp_ns,
                call_id=identity,
                signaled_to_party_id=self._asked(message),
                refer=lines,
            )
        ]

    def _waiting(self, pdu: Pdu, message: SipMessage) -> list[cdc.Message]:
        """Message waiting, when it is news: until the first NOTIFY nothing waits."""
        asked = self._directory.is_subject(message.to.uri) or self._directory.is_subject(message.request_uri)
        if self._by_subject(pdu, message) and not asked:
            return []  # the subject is somebody's mailbox
        waiting, account, text = _summary(message.body)
        if waiting is None:
            return []  # a NOTIFY without a summary ends the subscription (RFC 6665 4.1.2.2)
        mailbox = (self._directory.key(message.to.uri), account)
        before = self._mailboxes.get(mailbox)
        self._forgotten += remember(self._mailboxes, mailbox, text, MAX_MAILBOXES) is not None
        if before == text or (before is None and not waiting):
            return []
        return [
            cdc.NetworkSignal(
                case_id=self._order.case_id,
                iap_system_id=self._order.iap_system_id,
                timestamp_ns=pdu.stamp_ns,
                call_id=cdc.CallIdentity(main=message.call_id),
                signaled_to_party_id=self._asked(message),
                terminal_display_info=cdc.TerminalDisplay(message_waiting_notif=text),
            )
        ]

    def _direct(self, pdu: Pdu, message: SipMessage) -> cdc.Message:
        return cdc.DirectSignalReporting(
            case_id=self._order.case_id,
            iap_system_id=self._order.iap_system_id,
            timestamp_ns=pdu.stamp_ns,
            correlation_id=message.call_id.encode("utf-8", "surrogateescape"),
            signaling=(cdc.SignalingMessage(octets=pdu.payload),),
        )

    # Who

    def _by_subject(self, pdu: Pdu, message: SipMessage) -> bool:
        if pdu.direction in (Direction.FROM_TARGET, Direction.TO_TARGET):
            return pdu.direction == Direction.FROM_TARGET
        return self._directory.is_subject(message.from_.uri)

    def _asked(self, message: SipMessage) -> cdc.Party:
        """The subject that a request is for: by its address of record rather than by its contact."""
        uris = (message.to.uri, message.request_uri)
        return self._directory.vouched(next(filter(self._directory.is_subject, uris), message.to.uri))

    @staticmethod
    def _package(message: SipMessage) -> str:
        return event_package(message.first("event") or "")


def _summary(body: bytes) -> tuple[bool | None, str, str]:
    """Whether messages wait (None: it does not say), in which account, and the text for a display (RFC 3842 5.2)."""
    waiting, account, counts = None, "", []
    for line in body.decode("utf-8", "replace").splitlines()[:MAX_SUMMARY_LINES]:
        name, colon, value = line.partition(":")
        name, value = name.strip().lower(), value.strip()
        if not colon:
            if waiting is not None:
                break  # the headers of single messages follow
        elif name == "messages-waiting":
            waiting = value.lower() == "yes"
        elif name == "message-account":
            account = value
        elif name in SUMMARY_CLASSES and SUMMARY_COUNTS.fullmatch(value):
            counts.append(f"{name.removesuffix('-message')} {value}")
    return waiting, account, "; ".join(("yes" if waiting else "no", *counts))
