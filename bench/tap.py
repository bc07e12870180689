"""The tap as its own process, for the benchmarks that need counters and targets but no orders.

Everything on the way of a packet is the daemon's own code: the opener's socket, filter and ring, the walker, the
matcher and the reader's thread that sends X2. What is left out is what no packet passes: authorization of the tasks,
the seal, the clock's measurement. X2 is read and discarded by a thread of this process, as a mediator's socket would
take it.

`python -m bench.tap NAMESPACE INTERFACE TARGETS PRIORITY CORE [content]` prints {"ready": true}, then answers each line
of standard input with its counters, and ends with its input. PRIORITY above 0 is the daemon's access.realtime_priority.
With `content` the targets' orders cover content, and X3 is read, cut into PDUs and counted.
"""

from __future__ import annotations

import json
import os
import socket
import struct
import sys
import threading
import time
from pathlib import Path
from typing import Any

from bench import traffic
from mediation.access import _linux, opener
from mediation.access._matcher import Matcher
from mediation.access._walker import NO_MAPS, Reader, RingWalker, filter_counters
from mediation.access.socket_filter import FILTER_COUNTERS
from mediation.core.interface import x2
from mediation.runtime import clock
from mediation.runtime.config import Access, Clock, Delivery, DialPlan, Iap, Lab, Site

TARGETS_OF_A_TASK = 1000  # subjects of one order; a million targets are a thousand orders
XID_OCTETS = 16
RING_MIB = 64  # the daemon's default
DAY_NS = 86_400 * 10**9
X2_READ_OCTETS = 1 << 18
LENGTHS = struct.Struct("!II")  # of header and payload, in a PDU's header


def site(namespace: str, interface: str, ring_mib: int = RING_MIB) -> Site:
    """A site of one access point; it has no folder, because nothing here is stored."""
    iap = Iap(name="BENCH", interface=interface, namespace=namespace, ring_mib=ring_mib)
    return Site(
        path=Path("/nonexistent"), name="BENCH", lab=True, dial_plan=DialPlan(), iaps=(iap,), clock=Clock(),
        access=Access(), delivery=Delivery(), lab_agency=Lab(),
    )  # fmt: skip


def arm(matcher: Matcher, targets: int, *, content: bool = False) -> None:
    """Arms `targets` numbers (traffic.number) in tasks of at most a thousand."""
    start, end = time.time_ns() - DAY_NS, time.time_ns() + DAY_NS
    tasks = []
    for first in range(0, targets, TARGETS_OF_A_TASK):
        keys = [f"tel:+{traffic.number(i)}" for i in range(first, min(targets, first + TARGETS_OF_A_TASK))]
        tasks.append((first.to_bytes(XID_OCTETS, "big"), keys, start, end, False, 1, content))
    matcher.add_tasks(tasks)


class Discard(threading.Thread):
    """Reads X2 and forgets it."""

    def __init__(self, stream: socket.socket) -> None:
        super().__init__(daemon=True)
        self._stream = stream
        self.octets = 0

    def run(self) -> None:
        buffer = bytearray(X2_READ_OCTETS)
        while taken := self._stream.recv_into(buffer):
            self.octets += taken


class Count(threading.Thread):
    """Reads X3 and counts its PDUs."""

    def __init__(self, stream: socket.socket) -> None:
        super().__init__(daemon=True)
        self._stream = stream
        self.pdus = 0

    def run(self) -> None:
        buffer = bytearray()
        while octets := self._stream.recv(X2_READ_OCTETS):
            buffer += octets
            at, whole = 0, len(buffer) - x2.HEADER_OCTETS
            while at <= whole:
                header, payload = LENGTHS.unpack_from(buffer, at + 4)
                if at + header + payload > len(buffer):
                    break
                at += header + payload
                self.pdus += 1
            del buffer[:at]


def main(namespace: str, interface: str, targets: int, priority: int, core: int, *, content: bool = False) -> None:
    made = site(namespace, interface)
    described, tap, _filter = opener.open_tap(made.iaps[0])
    matcher = Matcher(made.iaps, made.dial_plan)
    maps = _filter.media_maps if content else NO_MAPS
    walker = RingWalker(matcher, 0, made.iaps[0].ports, tap.fileno(), described.frame_size, described.frame_count, maps)
    walker.set_stamp_quality(*clock.stamp_quality())
    reader = Reader(matcher, [walker], maps, time.time_ns())
    arm(matcher, targets, content=content)
    ours, theirs = socket.socketpair()
    discard = Discard(theirs)
    discard.start()
    reader.connect(ours.detach())
    ours, theirs = socket.socketpair()
    counted = Count(theirs)
    counted.start()
    reader.connect(ours.detach(), "x3")
    thread = threading.Thread(target=reader.run, daemon=True)
    os.sched_setaffinity(0, {core})
    if priority:  # the thread inherits it, as in access/iap.py
        os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(priority))
    thread.start()
    os.sched_setscheduler(0, os.SCHED_OTHER, os.sched_param(0))
    print('{"ready": true}', flush=True)
    for _line in sys.stdin:
        spent = Path(f"/proc/self/task/{thread.native_id}/schedstat").read_text().split()[0]  # ns on a processor
        answer: dict[str, Any] = {
            "cpu_ns": int(spent),
            "frames": walker.counters(),
            "matcher": matcher.counters(),
            "reader": reader.counters(),
            "content_pdus": counted.pdus,
            "filter": dict(
                zip(
                    FILTER_COUNTERS,
                    filter_counters(_filter.counters, len(FILTER_COUNTERS), _linux.possible_processors()),
                    strict=True,
                )
            ),
        }
        print(json.dumps(answer), flush=True)
    reader.stop()
    thread.join()


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], *(int(word) for word in sys.argv[3:6]), content="content" in sys.argv[6:])
