"""The tap as its own process, for the benchmarks that need counters and targets but no orders.

Everything on the way of a packet is the daemon's own code: the opener's socket, filter and ring, the walker, the
matcher and the reader's thread that sends X2. What is left out is what no packet passes: authorization of the tasks,
the seal, the clock's measurement. X2 is read and discarded by a thread of this process, as a mediator's socket would
take it.

`python -m bench.tap NAMESPACE INTERFACE TARGETS PRIORITY CORE` prints {"ready": true}, then answers each line of
standard input with its counters, and ends with its input. PRIORITY above 0 is the daemon's access.realtime_priority.
"""

from __future__ import annotations

import json
import os
import socket
import sys
import threading
import time
from pathlib import Path
from typing import Any

from bench import traffic
from mediation.access import opener
from mediation.access._matcher import Matcher
from mediation.access._walker import Reader, RingWalker
from mediation.runtime import clock
from mediation.runtime.config import Access, Clock, Delivery, DialPlan, Iap, Lab, Site

TARGETS_OF_A_TASK = 1000  # subjects of one order; a million targets are a thousand orders
XID_OCTETS = 16
RING_MIB = 64  # the daemon's default
DAY_NS = 86_400 * 10**9
X2_READ_OCTETS = 1 << 18


def site(namespace: str, interface: str, ring_mib: int = RING_MIB) -> Site:
    """A site of one access point; it has no folder, because nothing here is stored."""
    iap = Iap(name="BENCH", interface=interface, namespace=namespace, ring_mib=ring_mib)
    return Site(
        path=Path("/nonexistent"), name="BENCH", lab=True, dial_plan=DialPlan(), iaps=(iap,), clock=Clock(),
        access=Access(), delivery=Delivery(), lab_agency=Lab(),
    )  # fmt: skip


def arm(matcher: Matcher, targets: int) -> None:
    """Arms `targets` numbers (traffic.number) in tasks of at most a thousand."""
    start, end = time.time_ns() - DAY_NS, time.time_ns() + DAY_NS
    tasks = []
    for first in range(0, targets, TARGETS_OF_A_TASK):
        keys = [f"tel:+{traffic.number(i)}" for i in range(first, min(targets, first + TARGETS_OF_A_TASK))]
        tasks.append((first.to_bytes(XID_OCTETS, "big"), keys, start, end, False, 1))
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


def main(namespace: str, interface: str, targets: int, priority: int, core: int) -> None:
    made = site(namespace, interface)
    described, tap, _filter = opener.open_tap(made.iaps[0], -1)
    matcher = Matcher(made.iaps, made.dial_plan)
    walker = RingWalker(matcher, 0, made.iaps[0].ports, tap.fileno(), described.frame_size, described.frame_count)
    walker.set_stamp_quality(*clock.stamp_quality())
    reader = Reader(matcher, [walker], -1, time.time_ns())
    arm(matcher, targets)
    ours, theirs = socket.socketpair()
    discard = Discard(theirs)
    discard.start()
    reader.connect(ours.detach())
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
        }
        print(json.dumps(answer), flush=True)
    reader.stop()
    thread.join()


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], *(int(word) for word in sys.argv[3:]))
