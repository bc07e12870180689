"""Content in a replay: the daemon's own streams, in front of the collection function's own reading of what they made.

Nothing of it is kept or sent; it is counted, and the counts are printed.
"""

from __future__ import annotations

import socket
from collections.abc import Iterable
from typing import Any

from mediation.collection.content_account import ContentAccount
from mediation.collection.content_decoder import ApduCutter, decode_apdu, decode_datagram
from mediation.collection.decoder import Decoded
from mediation.core.case import Capability, Task
from mediation.core.channel.content import Verb
from mediation.core.channel.content_pdu import correlation_info
from mediation.core.message import cdc
from mediation.delivery._content import Queue, Streams
from mediation.delivery.content import (
    AGAIN_NS,
    FORGET_NS,
    HOLD_ALL_OCTETS,
    HOLD_NS,
    HOLD_OCTETS,
    MAX_STREAMS,
    Bound,
    First,
    first_of,
    numbers,
    stream_key,
)
from mediation.delivery.content_link import CHANNEL_OCTETS, QUEUE_OCTETS


class ReplayContent:
    """The capture's own time is the clock of everything that waits."""

    def __init__(self) -> None:
        self._streams = Streams(MAX_STREAMS, HOLD_OCTETS, HOLD_ALL_OCTETS, HOLD_NS, AGAIN_NS)
        self._account = ContentAccount()
        self._apdus = Queue(QUEUE_OCTETS, CHANNEL_OCTETS)
        self._datagrams = Queue(QUEUE_OCTETS, CHANNEL_OCTETS)
        self._cutter = ApduCutter()
        self._near, self._far = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)  # keeps datagrams apart
        self._near.setblocking(False)
        self._far.setblocking(False)

    def begin(self, task: Task) -> None:
        content = Capability.CONTENT in task.capabilities and task.destination.content is not None
        self._streams.permit(task.xid, task.not_before_ns, task.not_after_ns, content)

    def message(self, decoded: Decoded) -> None:
        """A message of the call data channel, as it was encoded."""
        self._account.message(decoded)

    def apply(self, bounds: Iterable[Bound], stamp_ns: int) -> None:
        """What became of the content of calls."""
        for bound in bounds:
            task, iap, binding = bound
            key = stream_key(bound)
            content = task.destination.content
            if key is None or content is None:
                continue
            if binding.verb is Verb.CLOSE:
                self._streams.close(key, binding.at_ns, stamp_ns)
            elif binding.verb is Verb.BAR:
                self._streams.bar(key, stamp_ns)
            elif binding.verb is Verb.WATCH:
                self._streams.watch(key)
            else:
                transmit, receive = numbers(binding.channel)
                apdu = content.form == "cc-apdu"
                self._streams.open(
                    key,
                    self._apdus if apdu else self._datagrams,
                    transmit,
                    receive,
                    binding.channel.combined is not None,
                    correlation_info(task.case, iap, cdc.CallIdentity(main=binding.call)) if apdu else None,
                )
        self._read()

    def feed(self, octets: bytes, now_ns: int, stamp_ns: int) -> list[First]:
        """X3 PDUs; the first packets that the call models are to be told of."""
        told = self._streams.feed(octets, now_ns, stamp_ns)
        self._read()
        return [first_of(key, at) for key, at in told]

    def sweep(self, stamp_ns: int) -> None:
        self._streams.sweep(stamp_ns, FORGET_NS)

    def counters(self) -> dict[str, int]:
        return {f"content_{name}": count for name, count in self._streams.counters().items()}

    def summaries(self) -> list[dict[str, Any]]:
        """One for each channel that had packets since the last time."""
        return [channel.summary() for channel in self._account.changed()]

    def _read(self) -> None:
        """The collection function's part: everything that was made until now."""
        while octets := self._apdus.chunk(QUEUE_OCTETS):
            self._apdus.taken(len(octets))
            for apdu in self._cutter.feed(octets):
                self._account.packet(decode_apdu(apdu))
        while self._datagrams.packets:
            if self._datagrams.send(self._near.fileno()) < 0:
                self._datagrams.skip()
            while True:
                try:
                    octets = self._far.recv(1 << 17)
                except BlockingIOError:
                    break
                self._account.packet(decode_datagram(octets))
