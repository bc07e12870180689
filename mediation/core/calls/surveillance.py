"""What the call model is told of one task and its site, and the names of all that it counts.

Answers for the two lists; it decides nothing. Counters never hold or name an identity.
"""

from __future__ import annotations

from typing import Final

import msgspec

from mediation.core.case import Authority, Capability
from mediation.core.channel.channels import Channels
from mediation.core.channel.digits import INTER_DIGIT_TIMEOUT_NS
from mediation.core.network.identity import DialPlan, Plan

METHODS: Final = ("INVITE", "ACK", "BYE", "CANCEL", "PRACK", "UPDATE")  # that make, change and end calls
# Beside calls, for `service`; their counters say how many of them were reported by nothing.
SILENT_METHODS: Final = ("REGISTER", "MESSAGE", "OPTIONS", "SUBSCRIBE", "NOTIFY", "PUBLISH", "INFO", "REFER")

COUNTERS: Final = (
    "unparsable",  # PDUs whose SIP or RTP could not be read
    "unknown_format",  # PDUs that hold neither
    "unknown_call",  # messages and digits of a call whose beginning was not seen and that cannot be joined
    "calls",  # all that were opened
    "calls_joined",  # of them, already up when first seen
    "calls_timed_out",
    "legs_joined_session_id",  # legs of back-to-back agents that were found to be of a known call, by the evidence
    "legs_joined_icid",
    "legs_joined_call_id",
    "legs_joined_media",
    "legs_refused",  # of calls that have more than MAX_ALIASES of them
    "conference_members_refused",  # told, but not remembered: MAX_MEMBERS are
    "calls_evicted",
    "digits_off",  # packets, tones and requests with keys not looked at, because extraction is off
    "digits_of_others",
    "digits_copies",  # packets and requests that repeated a key press
    "digits_again",  # presses that another source told as well
    "digits_refused",  # requests with keys that the network did not accept
    "digits_before_answer",  # presses before cut-through
    "events_ignored",  # telephone-events that are neither digit nor flash
    "fields_minimised",
    "messages_withheld",  # nothing of them was left after minimisation
    "after_stop",  # PDUs that came after the order ended
    "registrations_forgotten",  # subscribers, bindings and requests for which there was no more room
    "mailboxes_forgotten",
    "unreported_other",  # responses, and copies, of methods that are not listed by name
    *(f"unreported_{method}" for method in SILENT_METHODS),
)


class Surveillance(msgspec.Struct, frozen=True, kw_only=True):
    """One task at one site."""

    case_id: str
    iap_system_id: str
    authority: Authority
    capabilities: frozenset[Capability]
    subjects: tuple[str, ...]  # as in the order: tel: and sip: URIs
    dde: bool = False  # dialed digit extraction is on
    profile: str = "t1678"
    plan: Plan = DialPlan()
    digit_timeout_ns: int = INTER_DIGIT_TIMEOUT_NS
    channels: Channels | None = None  # of an order for content
    status_messages: bool = True  # SurveillanceStatus is sent by agreement only (FCC 99-230)
