"""Content through the delivery function: which streams flow where, and when.

    run/iap.x3 ─> ContentIntake ─> Streams (C) ─> Queue ─> ContentLink (TLS or UDP)
                                       ▲
    call models ─> Bindings ───────────┘  once the CCOpen has been given to the call data channel's connection

Answers for: content only of tasks that this process verified, that are live and that are for content; none before its
CCOpen is on its way and none after the end of its order; an order's end takes what is still queued with it, and the
connection too when a packet of it is half sent. May not: decide what is open (core/channel/content.py), keep a packet
anywhere but in a bounded queue in memory.

Bounds, all ours: a call's first packets wait HOLD_NS for their CCOpen, then they are lost and counted.
"""

from __future__ import annotations

import ssl
import struct
import time
from collections import deque
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, Final, NamedTuple

import msgspec
import trio

from mediation.core.case import Capability, ContentDestination, Task
from mediation.core.channel import content_ip
from mediation.core.channel.content import Binding, Verb
from mediation.core.channel.content_pdu import MAX_PACKET_OCTETS, correlation_info
from mediation.core.interface import x2
from mediation.core.interface.x2 import PayloadFormat, Pdu
from mediation.core.message import cdc
from mediation.core.message.ccc import Channel, Form
from mediation.delivery._content import NEVER, Queue, Streams
from mediation.delivery.content_intake import ContentIntake
from mediation.delivery.content_link import ContentLink
from mediation.runtime import log

MAX_STREAMS: Final = 65_536
HOLD_OCTETS: Final = 256 << 10  # of one call: ten seconds of G.711 in both directions
HOLD_ALL_OCTETS: Final = 64 << 20
HOLD_NS: Final = 10_000_000_000
AGAIN_NS: Final = 1_000_000_000  # a call that waits for a free channel asks again so often
FORGET_NS: Final = 64_000_000_000  # what comes after a call's end: twice the 32 s that a call lingers
MAX_TOLD: Final = 4_096  # first packets of one turn

KEY: Final = struct.Struct("!16sQ")  # XID and correlation; the access point's name follows


class Bound(NamedTuple):
    """One binding of one call model."""

    task: Task
    iap: str
    binding: Binding


class Opening(msgspec.Struct):
    """A stream that flows as soon as its CCOpen is on its way; its call may be over by then."""

    bound: Bound
    last_ns: int = NEVER  # stamp of the last packet that can be the call's
    closed: bool = False


class First(NamedTuple):
    """A first packet that a call model is to be told of."""

    xid: bytes
    iap: str
    correlation: int
    stamp_ns: int


class ForeignCounters(msgspec.Struct):
    """X3 of third parties that was refused before anybody asked for its task, and what was made good."""

    no_endpoints: int = 0  # RTP without the addresses and ports that its IP packet needs
    oversize: int = 0
    unstamped: int = 0  # delivered with the time of its arrival


class ContentDelivery:
    """`on_first` is called, in a turn of its own, with first packets; `on_link` with a link that went up or down.

    `caught_up` tells whether everything for a task's call data channel is on its way; `now_ns` is authority time.
    """

    def __init__(
        self,
        run_dir: Path,
        tls: ssl.SSLContext,
        nursery: trio.Nursery,
        *,
        now_ns: Callable[[], int],
        caught_up: Callable[[Task], bool],
        on_first: Callable[[list[First]], None],
        on_link: Callable[[frozenset[bytes], bool], None],
        point: str = "",
    ) -> None:
        """`point` is the access point of PDUs that name none, as in X2."""
        self.streams = Streams(MAX_STREAMS, HOLD_OCTETS, HOLD_ALL_OCTETS, HOLD_NS, AGAIN_NS, point.encode())
        self.foreign = ForeignCounters()
        self.intake = ContentIntake(run_dir, self.streams.begin, self._octets)
        self.unanswered = 0  # first packets of one turn beyond the bound; each is told of again a second later
        self._tls = tls
        self._nursery = nursery
        self._now_ns = now_ns
        self._caught_up = caught_up
        self._on_first = on_first
        self._on_link = on_link
        self._links: dict[tuple[str, ContentDestination, str], ContentLink] = {}
        self._users: dict[tuple[str, ContentDestination, str], set[bytes]] = {}
        self._openings: dict[bytes, Opening] = {}  # whose CCOpen is stored but not sent yet
        self._first: deque[tuple[bytes, int]] = deque()
        self._told = trio.Event()
        self._alarmed = (0, 0)
        self._log = log.get("mediator")

    async def run(self) -> None:
        """Until it is cancelled."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self.intake.run)
            nursery.start_soon(self._tell)

    # -- tasks --------------------------------------------------------------------------------------------------------

    def begin(self, task: Task) -> None:
        """A task is armed, or changed: content of it is expected, or refused, from now on."""
        content = Capability.CONTENT in task.capabilities and task.destination.content is not None
        if content:
            self._join(task)
        self.streams.permit(task.xid, task.not_before_ns, task.not_after_ns, content)

    def end(self, task: Task) -> None:
        """The task is over: nothing of its content leaves any more."""
        self._openings = {key: each for key, each in self._openings.items() if each.bound.task.xid != task.xid}
        key = _place(task)
        link = self._links.get(key) if key is not None else None
        waiting = link.queue.purged if link is not None else 0
        torn = self.streams.expel(task.xid)
        if link is None or key is None:
            return
        if link.queue in torn or (link.blocked and link.queue.purged > waiting):
            link.reset()
        users = self._users[key]
        users.discard(task.xid)
        if not users:
            if link.queue.octets or link.blocked:
                link.reset()
            link.close()
            del self._links[key], self._users[key]

    def _join(self, task: Task) -> None:
        key = _place(task)
        assert key is not None
        if key not in self._links:
            link = ContentLink(task.agency, task.destination, self._tls, self._changed)
            self._links[key] = link
            self._users[key] = set()
            self._nursery.start_soon(link.run)
        self._users[key].add(task.xid)

    def _changed(self, link: ContentLink) -> None:
        for key, each in self._links.items():
            if each is link:
                self._on_link(frozenset(self._users[key]), bool(link.up))

    def down(self, task: Task) -> bool:
        """Whether the task's content link is known to be down."""
        key = _place(task)
        return key is not None and key in self._links and self._links[key].up is False

    # -- what the call models decided ---------------------------------------------------------------------------------

    def apply(self, bounds: Iterable[Bound]) -> None:
        """After the messages of the same moment were handed to their links."""
        now_ns = time.monotonic_ns()
        for bound in bounds:
            binding = bound.binding
            key = stream_key(bound)
            if key is None:
                continue
            opening = self._openings.get(key)
            if binding.verb is Verb.OPEN:
                self._openings[key] = Opening(bound)
            elif binding.verb is Verb.CLOSE and opening is not None and binding.call:
                opening.last_ns, opening.closed = binding.at_ns, True
            elif binding.verb is Verb.CLOSE:
                self._openings.pop(key, None)
                self.streams.close(key, binding.at_ns, now_ns)
            elif binding.verb is Verb.BAR:
                self._openings.pop(key, None)
                self.streams.bar(key, now_ns)
            elif opening is None:
                self.streams.watch(key)
        self.open()

    def open(self) -> None:
        """Lets the streams flow whose CCOpen has been sent."""
        for key, opening in list(self._openings.items()):
            task, iap, binding = opening.bound
            place = _place(task)
            link = self._links.get(place) if place is not None else None
            if link is None or self._openings.get(key) is not opening or not self._caught_up(task):
                continue
            del self._openings[key]
            transmit, receive = numbers(binding.channel)
            apdu = link.place.form == Form.CC_APDU.value
            correlation = correlation_info(task.case, iap, cdc.CallIdentity(main=binding.call)) if apdu else None
            combined = binding.channel.combined is not None
            self.streams.open(key, link.queue, transmit, receive, combined, correlation, opening.last_ns)
            if opening.closed:
                self.streams.close(key, opening.last_ns, time.monotonic_ns())
            link.flush()

    def ending(self, bound: Bound, last_ns: int) -> None:
        """The call is over: what was captured after `last_ns` is not its own."""
        key = stream_key(bound)
        if key is not None and key in self._openings:
            self._openings[key].last_ns = last_ns
        elif key is not None:
            self.streams.close(key, last_ns, time.monotonic_ns(), True)

    def settled(self, bound: Bound) -> bool:
        """Nothing of this call waits here to be sent."""
        key = stream_key(bound)
        return key is None or (key not in self._openings and self.streams.settled(key))

    def catch_up(self) -> bool:
        """Takes what was captured until now; False when there is more than one turn's."""
        return self.intake.catch_up()

    # -- packets ------------------------------------------------------------------------------------------------------

    def _octets(self, octets: memoryview) -> list[bytes]:
        self._feed(octets)
        return self.streams.take_answers()

    def third_party(self, pdus: Iterable[Pdu]) -> None:
        """X3 PDUs of points of interception that are not ours, under the names of their points."""
        octets = bytearray()
        now_ns = time.time_ns()
        for pdu in pdus:
            whole = self._judged(pdu, now_ns)
            if whole is not None:
                octets += x2.encode(whole)
        if octets:
            self._feed(memoryview(octets), whole=True)

    def _judged(self, pdu: Pdu, now_ns: int) -> Pdu | None:
        """The PDU as our own access function would have made it; gaps in its numbers were counted at its point."""
        packet: bytes | None = pdu.payload
        form = pdu.payload_format
        if len(pdu.payload) > (content_ip.MAX_PAYLOAD_OCTETS if form == PayloadFormat.RTP else MAX_PACKET_OCTETS):
            self.foreign.oversize += 1
            return None
        if form == PayloadFormat.RTP:
            packet = content_ip.udp_packet(pdu.source, pdu.destination, pdu.payload)
            form = PayloadFormat.IPV6 if ":" in pdu.source[0] else PayloadFormat.IPV4
        if packet is None:
            self.foreign.no_endpoints += 1
            return None
        self.foreign.unstamped += not pdu.stamp_ns
        return msgspec.structs.replace(
            pdu, payload=packet, payload_format=form, sequence=None, stamp_ns=pdu.stamp_ns or now_ns
        )

    def _feed(self, octets: memoryview, *, whole: bool = False) -> None:
        try:
            first = self.streams.feed(octets, self._now_ns(), time.monotonic_ns(), whole)
        finally:
            for link in self._links.values():
                link.flush()
        if first:
            room = MAX_TOLD - len(self._first)
            self._first.extend(first[:room])
            self.unanswered += max(0, len(first) - room)
            self._told.set()

    async def _tell(self) -> None:
        """First packets to their call models, in turns of their own."""
        while True:
            await self._told.wait()
            self._told = trio.Event()
            first = [first_of(key, stamp_ns) for key, stamp_ns in self._first]
            self._first.clear()
            self._on_first(first)
            await trio.lowlevel.checkpoint()

    def tick(self) -> None:
        """Once a second: what waited too long, and what nobody should have sent."""
        self.streams.sweep(time.monotonic_ns(), FORGET_NS)
        counters = self.streams.counters()
        alarmed = (counters["refused_unknown"], counters["missing"])
        if alarmed[0] > self._alarmed[0]:
            self._log.error("alarm_task_unknown", count=alarmed[0])
        if alarmed[1] > self._alarmed[1]:
            self._log.error("alarm_x3_missing", count=alarmed[1] - self._alarmed[1])
        self._alarmed = alarmed

    def report(self) -> dict[str, Any]:
        """States and counters; no case and no call can be told from them."""
        return {
            "connected": self.intake.connected,
            "intake": msgspec.to_builtins(self.intake.counters),
            "streams": self.streams.open_streams,
            "openings": len(self._openings),
            "unanswered": self.unanswered,
            "third_party": msgspec.to_builtins(self.foreign),
            "counters": {name: count for name, count in self.streams.counters().items() if count},
            "links": [
                {
                    "agency": link.agency,
                    "form": link.place.form,
                    "state": link.state.value,
                    "queued_octets": link.queue.octets,
                    **_queue_report(link.queue),
                    "counters": msgspec.to_builtins(link.counters),
                }
                for link in self._links.values()
            ],
        }


def stream_key(bound: Bound) -> bytes | None:
    """How `Streams` files a call; None for a call that no handle of the access function names."""
    key = bound.binding.key
    if not isinstance(key, int) or not 0 < key < 1 << 64:
        return None
    return KEY.pack(bound.task.xid, key) + bound.iap.encode()


def first_of(key: bytes, stamp_ns: int) -> First:
    """A key of `Streams`, taken apart."""
    xid, correlation = KEY.unpack_from(key)
    return First(xid, key[KEY.size :].decode("ascii", "replace"), correlation, stamp_ns)


def _queue_report(queue: Queue) -> dict[str, int]:
    return {
        "sent": queue.sent,
        "lost_full": queue.lost_full,
        "lost_down": queue.lost_down,
        "purged": queue.purged,
    }


def numbers(channel: Channel) -> tuple[int, int]:
    """The identifiers of a channel, from and to the subject; the same when it is combined."""
    if channel.combined is not None:
        return int(channel.combined, 16), int(channel.combined, 16)
    return int(channel.transmit or "0", 16), int(channel.receive or "0", 16)


def _place(task: Task) -> tuple[str, ContentDestination, str] | None:
    """Orders with the same channels at the same collection function share a connection."""
    content = task.destination.content
    if content is None:
        return None
    return task.agency, msgspec.structs.replace(content, maximum=1), task.destination.certificate_sha256
