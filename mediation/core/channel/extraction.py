"""Dialed digit extraction of one task (47 CFR 1.20007(b)(6)): what may be heard, in which call, and what it makes.

Answers for the gate before all keys: nothing is looked at while the toggle is off or the order has no digits, and only
what the subject's own side sent counts, in whatever form (RTP, SIP INFO, KPML, a tone). The keys themselves are found
by `keypad` and made strings by `digits`.
"""

from __future__ import annotations

from collections.abc import Hashable
from typing import Final

from mediation.core.calls.dialog import Call
from mediation.core.calls.surveillance import Surveillance
from mediation.core.case import Capability
from mediation.core.channel.digits import Dialing, Flash, Gathered, Tally
from mediation.core.interface.x2 import Direction, PayloadFormat, Pdu
from mediation.core.network.keypad import Keypad, of_tone, place
from mediation.core.network.sip import SipMessage

FORMATS: Final = frozenset({PayloadFormat.RTP, PayloadFormat.PROPRIETARY})  # of PDUs that tell keys by themselves


class Extraction:
    """The gate, and the way from a PDU to strings of digits."""

    def __init__(self, order: Surveillance) -> None:
        self._entitled = Capability.DIGITS in order.capabilities
        self._timeout_ns = order.digit_timeout_ns
        self._keypad = Keypad()
        self._tally = Tally()
        self._off = self._of_others = 0
        self.on = self._entitled and order.dde

    @property
    def counters(self) -> dict[str, int]:
        return {
            "digits_off": self._off,
            "digits_of_others": self._of_others,
            "digits_copies": self._tally.copies,
            "digits_again": self._tally.again,
            "digits_refused": self._tally.refused,
            "digits_before_answer": self._tally.early,
            "events_ignored": self._tally.ignored,
        }

    def set(self, on: bool) -> None:
        self.on = on and self._entitled

    def tells_keys(self, message: SipMessage) -> bool:
        """Whether this message carries keys; by its headers alone."""
        self._keypad.learn(message)
        return self._keypad.tells_keys(message)

    def call_id(self, message: SipMessage) -> str:
        """Of the call that a message with keys is about."""
        return self._keypad.call_id(message)

    def admits(self, pdu: Pdu) -> bool:
        """Whether the keys of this PDU may be looked at; counted when not."""
        if not self.on:
            self._off += 1
        elif pdu.direction != Direction.FROM_TARGET:
            self._of_others += 1
        else:
            return True
        return False

    def hear(self, call: Call, pdu: Pdu, message: SipMessage | None, *, cut_through: bool) -> list[Gathered | Flash]:
        """What is complete with this PDU, for which `admits` holds. Raises RemoteProtocolError."""
        if call.dialing is None:
            call.dialing = Dialing(self._timeout_ns, self._tally)
        if message is not None:
            keys = self._keypad.of_message(message, pdu.stamp_ns)
        elif pdu.payload_format == PayloadFormat.PROPRIETARY:
            keys = of_tone(pdu)
        else:
            return call.dialing.feed(pdu.payload, pdu.stamp_ns, cut_through=cut_through)
        return call.dialing.take(keys, pdu.stamp_ns, cut_through=cut_through)

    @staticmethod
    def answered(call: Call, message: SipMessage) -> bool:
        """A response: whether it is one to keys that were heard. What the network refused is counted."""
        request: Hashable = message.cseq
        return call.dialing is not None and call.dialing.answered(place(message), request, message.status)
