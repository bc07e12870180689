"""The way out of the call model: every message passes the minimisation table here, and gets the proof of its stamp.

Answers for there being one way out only. It keeps nothing beyond one call of the model.
"""

from __future__ import annotations

from mediation.core.interface.x2 import UNKNOWN_ERROR_US, Pdu
from mediation.core.message import cdc
from mediation.core.minimisation import Minimiser


class Outbox:
    """Messages of one task on their way to the encoder."""

    def __init__(self, minimiser: Minimiser) -> None:
        self._minimiser = minimiser
        self._error_ns, self._disciplined = UNKNOWN_ERROR_US * 1000, False
        self._events: list[cdc.CallEvent] = []

    def note_quality(self, pdu: Pdu) -> None:
        """How good the clock is, as the newest PDU proved it; a timer's event is stamped by the same clock."""
        self._error_ns, self._disciplined = pdu.error_us * 1000, pdu.disciplined

    def add(self, message: cdc.Message, received_ns: int) -> bool:
        """False when the order may not be given any of it."""
        given = self._minimiser.apply(message)
        if given is None:
            return False
        self._events.append(
            cdc.CallEvent(
                message=given, received_ns=received_ns, error_ns=self._error_ns, disciplined=self._disciplined
            )
        )
        return True

    def take(self) -> list[cdc.CallEvent]:
        """All messages since the last time."""
        events, self._events = self._events, []
        return events
