"""A real SIP phone (pjsua2) of the rig, as the tests hold it: a number, calls, and events that can be awaited."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from contextlib import suppress
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from tests.rig.kamailio import DOMAIN
from tests.rig.process import STOP_LIMIT_S, Peer, PeerError

EVENT_LIMIT_S = 30.0
CALL_ID, FROM = r"^Call-ID:\s*(\S+)", r"^From:[^\r\n]*?sips?:([^@\r\n]+)@"
WORKER = Path(__file__).with_name("phone_worker.py")


def possible() -> str:
    """Empty when phones can be made here, otherwise what is missing."""
    return "" if find_spec("pjsua2") else "pjsua2-python not installed"


@dataclass
class PhoneCall:
    """One call of a phone; `number` is pjsua's own, used again when a call has ended."""

    phone: Phone
    number: int
    since: int  # events before this one belong to an earlier call of the same number
    call_id: str = ""
    caller: str = ""  # user part of From, of an incoming call

    def do(self, act: str, **more: Any) -> None:
        self.phone.do(act, call=self.number, **more)

    def until(self, event: str, **fields: Any) -> dict[str, Any]:
        """Awaits an event of this call. Raises PeerError."""
        return self.phone.until(event, since=self.since, call=self.number, **fields)

    def until_up(self) -> PhoneCall:
        self.until("state", state="CONFIRMED")
        return self

    def exchanged(self, act: str, **more: Any) -> None:
        """As `do`, for what offers another session: returns when this phone has the answer ("hold", "retrieve")."""
        since = self.phone.do(act, call=self.number, **more)
        self.phone.until("media", since=since, call=self.number)

    def until_over(self) -> None:
        self.until("state", state="DISCONNECTED")

    def hangup(self, status: int = 0) -> None:
        self.do("hangup", status=status)


class Phone(Peer):
    """One pjsua2 endpoint in a namespace; may have many numbers, one after the other."""

    name = "pjsua2"

    def __init__(self, namespace: str, address: str, folder: Path) -> None:
        super().__init__(namespace, [sys.executable, "-u", str(WORKER), address], folder, with_input=True)
        self.address = address
        self._orders = 0

    def until_ready(self) -> None:
        self.until("ready")

    def do(self, act: str, **more: Any) -> int:
        """Has the phone do something; returns the position after which its events are found.

        The phone has begun it when this returns: what two phones are told one after the other they do in that order.
        Raises PeerError with the phone's complaint.
        """
        assert self.process.stdin is not None
        position = self.output.mark()
        self._orders += 1
        try:
            self.process.stdin.write(json.dumps({"act": act, "order": self._orders, **more}).encode() + b"\n")
            self.process.stdin.flush()
        except BrokenPipeError:
            raise PeerError(f"pjsua2 in {self.namespace} is gone: {self.output.tail(4)}") from None
        complaint = self.until("done", since=position, order=self._orders)["complaint"]
        if complaint:
            raise PeerError(f"pjsua2 in {self.namespace}: {complaint}")
        return position

    def until(self, event: str, *, since: int = 0, limit: float = EVENT_LIMIT_S, **fields: Any) -> dict[str, Any]:  # type: ignore[override]
        """Awaits an event with these fields. Raises PeerError."""

        def read(line: str) -> dict[str, Any]:
            try:
                found = json.loads(line)
            except ValueError:
                return {}
            return found if isinstance(found, dict) else {}

        def wanted(line: str) -> bool:
            found = read(line)
            return found.get("event") == event and all(found.get(name) == value for name, value in fields.items())

        line = self.output.wait(wanted, limit, since=since)
        if line is None:
            raise PeerError(f"pjsua2 in {self.namespace}: no {event} {fields}: {self.output.tail(4)}")
        return read(line)

    def number(self, user: str, sbc: str, *, register: bool = True, **more: Any) -> None:
        """Gives the phone a number, registered when this returns."""
        since = self.do("account", user=user, sbc=sbc, domain=DOMAIN, register=register, **more)
        if register:
            self.until("registered", since=since, user=user, status=200)
        else:
            self.until("account", since=since, user=user)

    def dial(self, user: str, to: str, **more: Any) -> PhoneCall:
        """Calls a number (or a URI). The call is under way when this returns, not answered."""
        since = self.do("dial", user=user, to=to if to.startswith("sip:") else f"sip:{to}@{DOMAIN}", **more)
        event = self.until("dialed", since=since)
        return PhoneCall(self, event["call"], since, event["call_id"])

    def incoming(self, user: str, *, since: int) -> PhoneCall:
        """Awaits a call to a number of this phone; it rings not, until told to."""
        event = self.until("incoming", since=since, user=user)
        found = [re.search(wanted, event["message"], re.MULTILINE | re.IGNORECASE) for wanted in (CALL_ID, FROM)]
        call_id, caller = (each.group(1) if each else "" for each in found)
        return PhoneCall(self, event["call"], since, call_id, caller)

    def mark(self) -> int:
        return self.output.mark()

    def stop(self) -> None:
        if self.process.stdin is not None and self.process.poll() is None:
            with suppress(BrokenPipeError):
                self.process.stdin.close()  # the worker ends at the end of its input
            with suppress(subprocess.TimeoutExpired):
                self.process.wait(STOP_LIMIT_S)
        super().stop()
