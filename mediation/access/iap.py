"""The access process: reads the rings that the opener made, and passes on what the match table matched.

Answers for: giving up every privilege before the first frame is read (user, capabilities, and by seccomp every system
call it does not need: runtime/confine.py); judging each task itself (tasking.py); time stamps whose error is known;
every loss counted. May not: open, bind or connect anything once it is sealed, send a frame, or know a case.

Three threads. The reader's thread waits on the rings, walks, matches and sends X2 and X3 without the interpreter
(ext/reader.pxd); the trio thread answers X1, ends tasks to the second and measures the clock; the third verifies
signatures for it (runtime/beside.py). All sockets were bound before the seal: the process can accept, but not connect,
so the mediator comes to it.

Settings with a measured effect ([access] in config.toml; docs/OPERATING.md has the figures): hold_cpu_latency keeps
/dev/cpu_dma_latency at 0, realtime_priority runs the reader under SCHED_FIFO.
"""

from __future__ import annotations

import os
import pwd
import socket
import sys
import threading
from typing import Any

import trio

from mediation.access import handover
from mediation.access._calls import CallJournal
from mediation.access._hep import HepFeed
from mediation.access._matcher import Matcher
from mediation.access._walker import NO_MAPS, TAPS_AT_MOST, Reader, RingWalker, filter_counters
from mediation.access.calls import open_calls
from mediation.access.tasking import StoppedTasks, Tasking
from mediation.core.errors import ConfigurationError
from mediation.core.interface import x1
from mediation.runtime import beside, clock, confine, identity, keys, log, sockets, vault
from mediation.runtime.config import Site
from mediation.runtime.remembered import Remembered, trust_report
from mediation.runtime.suspended import SuspendedTasks
from mediation.runtime.systemd import Notifier
from mediation.runtime.x1_server import X1Server

X1_SOCKET = "iap.x1"
OUTPUT_SOCKETS = {"x2": "iap.x2", "x3": "iap.x3"}  # call-identifying information; content
CLOCK_FILE, STOPPED_FILE, SUSPENDED_FILE = "iap.clock", "iap.stopped", "iap.suspended"
TICK_S = 1.0  # how often the clock is measured and saved, and losses are looked for
# Counters that mean a loss or an attack: said in the log when they grow.
LOSSES = frozenset(
    {
        "kernel_drops", "truncated", "fragment_overlap", "fragment_table_full", "flows_failed", "stamp_implausible",
        "streams_evicted", "stream_gaps", "stream_jumps", "segments_refused", "openings_doubted", "windows_evicted",
        "messages_unfinished", "messages_cut", "hep_unauthenticated", "hep_kernel_drops", "ring_errors", "x2_lost",
        "x2_torn", "x3_lost", "x3_torn",
        # of the match: a live order's call, or a part of it, that there was no room for
        "calls_evicted", "calls_refused", "tasks_refused", "flows_refused", "descriptions_refused",
        "sdp_streams_refused", "voice_refused",
        # its content, because nothing shows any more that the media at its addresses are its own
        "calls_doubted", "calls_lapsed_session", "calls_lapsed_doubted", "calls_lapsed_silent",
    }
)  # fmt: skip


class AccessFunction:
    """One sealed process, from the hand-over on. Everything it will ever open is opened in the constructor."""

    def __init__(self, site: Site, handed: handover.Handover, descriptors: list[int]) -> None:
        opened = (*(tap.name for tap in handed.taps), *handed.feeds)
        if len(opened) > TAPS_AT_MOST or opened != tuple(point.name for point in site.access_points):
            raise ConfigurationError("iap: the opener opened other taps than the configuration names")
        self._log = log.get("iap")
        self._site = site
        self._taps = handed.taps
        self._handed = handed
        self._packet_sockets = descriptors[0 : 2 * len(handed.taps) : 2]
        self._inodes = [os.fstat(descriptor).st_ino for descriptor in self._packet_sockets]  # for reconciliation
        self._identity = identity.Identity(site).report()  # files cannot be read once it is sealed
        self._filter_counters = descriptors[1 : 2 * len(handed.taps) : 2]
        self._feed_sockets = descriptors[len(descriptors) - len(handed.feeds) :]
        first = 2 * len(handed.taps)
        maps = (descriptors[first], descriptors[first + 1]) if handed.taps else NO_MAPS
        key = vault.unlock(site).name_key("access")
        self._remembered = Remembered(site.access_dir, "iap", key)
        trust = self._remembered.believed(keys.load_trust(site))
        self._high_water = clock.HighWater(site.access_dir / CLOCK_FILE)
        self.clock = clock.AuthorityClock(self._high_water)
        self._stopped = StoppedTasks(site.access_dir / STOPPED_FILE, key)
        self._suspended = SuspendedTasks(site.access_dir / SUSPENDED_FILE, key)
        mapping, secret = open_calls(site.run_dir, site.access_points)
        self.matcher = Matcher(site.access_points, site.dial_plan, call_capacity=site.access.calls, secret=secret)
        self.calls = CallJournal(self.matcher, mapping)
        self.walkers = [
            RingWalker(self.matcher, i, iap.ports, fd, tap.frame_size, tap.frame_count, maps)
            for i, (iap, tap, fd) in enumerate(zip(site.iaps, handed.taps, self._packet_sockets, strict=True))
        ]
        for iap, walker in zip(site.iaps, self.walkers, strict=True):
            walker.look_through(iap.tunnels, iap.vxlan_port)
        self.feeds = [
            HepFeed(self.matcher, i, fd, hep.key.encode())
            for i, (hep, fd) in enumerate(zip(site.heps, self._feed_sockets, strict=True), len(site.iaps))
        ]
        self.points: tuple[RingWalker | HepFeed, ...] = (*self.walkers, *self.feeds)
        self.reader = Reader(self.matcher, self.walkers, maps, self.clock.now_ns(), self.feeds)
        self.tasking = Tasking(
            site, trust, self.matcher, self._stopped, self._suspended, hold=lambda: self.reader, calls=self.calls
        )
        self._remembered.resume(self.tasking.table.lease, trust.ledger)
        self._x1 = X1Server(
            sockets.listen(site.run_dir, X1_SOCKET, owner=sockets.owner_of(site.path)),
            self._handle,
            self.tasking.table,
            self._log,
        )
        self._outputs = {
            name: sockets.listen(site.run_dir, file, owner=_user(site.delivery.user))
            for name, file in OUTPUT_SOCKETS.items()
        }
        self._thread = threading.Thread(target=self.reader.run, name="reader", daemon=True)
        self._refused = dict.fromkeys(OUTPUT_SOCKETS, 0)
        self._said: dict[str, int] = {}
        self._alarm = False

    def seal(self) -> None:
        """Gives up every privilege, each step while it is still allowed. Raises ConfigurationError."""
        access = self._site.access
        locked = confine.lock_memory()
        confine.sharpen_timers()
        if access.realtime_priority:
            try:
                os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(access.realtime_priority))
            except OSError as error:
                raise ConfigurationError(f"access.realtime_priority: {error.strerror}") from error
        confine.become(access.user)
        confine.drop_capabilities()
        with self.reader:  # the thread starts and waits: no frame is read before the seal
            self._thread.start()  # inherits the scheduling class and the timers
            if access.realtime_priority:
                os.sched_setscheduler(0, os.SCHED_OTHER, os.sched_param(0))
            self._x1.beside.start()
            confine.seal(self._packet_sockets, self._feed_sockets)
        self._log.info("sealed", memory_locked=locked, taps=len(self._taps))

    async def run(self, notifier: Notifier | None = None) -> None:
        """Serves until it is cancelled."""
        self.measure_clock()
        sys.setswitchinterval(beside.SWITCH_S)
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._x1.run)
                for name, listener in self._outputs.items():
                    nursery.start_soon(self._accept, name, listener)
                nursery.start_soon(self._tick)
                if notifier is not None:
                    notifier.ready()
        finally:
            self.reader.stop()
            self._thread.join()

    def _handle(self, request: x1.Request) -> x1.Answer:
        answer = self.tasking.handle(request, self.clock.now_ns(), self.report)
        if isinstance(request, x1.Roster | x1.ProveRoster | x1.RevokeToken):
            self._remembered.keep(self.tasking.table.trust)
        self._remembered.followed(self.tasking.table.lease)
        return answer

    async def _accept(self, name: str, listener: trio.SocketListener) -> None:
        """The mediator's connections for one output, one at a time."""
        while True:
            stream = await sockets.accept(listener)
            descriptor = stream.socket.detach()
            if not self.reader.connect(descriptor, name):
                os.close(descriptor)
                self._refused[name] += 1
                self._log.warning(f"{name}_refused", reason="another mediator is connected")

    async def _tick(self) -> None:
        """Once a second, and at each end of a window."""
        while True:
            now = self.clock.now_ns()
            if ended := self.tasking.expire(now):
                self._log.info("tasks_expired", count=ended)
            with self.reader:
                self.calls.tidy(now)
            self.measure_clock()
            try:
                self.clock.save()
            except OSError as error:  # what runs goes on, and ends in its time
                self._log.error("alarm_clock_not_saved", reason=error.strerror)
            self._say_losses()
            next_end = self.tasking.table.next_end_ns()
            pause = TICK_S if next_end is None else min(TICK_S, max(0.0, (next_end - self.clock.now_ns()) / 1e9))
            await trio.sleep(pause)

    def measure_clock(self) -> tuple[int, bool]:
        """Marks the events to come with the bound of their stamps' error; an alarm when it passes 100 ms."""
        error_ns, disciplined = clock.stamp_quality()
        for walker in self.points:
            walker.set_stamp_quality(error_ns, disciplined and error_ns <= clock.LIMIT_NS)
        alarm = error_ns > clock.ALARM_NS or not disciplined
        if alarm != self._alarm:
            self._alarm = alarm
            self._log.warning("clock_alarm", on=alarm, error_ms=error_ns // 1_000_000, disciplined=disciplined)
        return error_ns, disciplined

    def _say_losses(self) -> None:
        found = {
            f"{tap.name}.{name}": value
            for tap, walker in zip(self._site.access_points, self.points, strict=True)
            for name, value in walker.counters().items()
            if name in LOSSES
        }
        for counters in (self.reader.counters(), self.matcher.counters()):
            found |= {name: value for name, value in counters.items() if name in LOSSES}
        grown = {name: value for name, value in found.items() if value > self._said.get(name, 0)}
        if grown:
            self._log.warning("losses", **grown)
        self._said = found

    def _filter_report(self, descriptor: int) -> dict[str, int]:
        names = self._handed.filter_counters
        return dict(zip(names, filter_counters(descriptor, len(names), self._handed.processors), strict=True))

    def report(self) -> dict[str, Any]:
        """For ReportStatus: counters and states, nothing of any task but how many there are."""
        error_ns, disciplined = self.measure_clock()
        with self.reader:  # between two rounds, so that no frame is counted in one place and not yet in another
            frames = [walker.counters() for walker in self.walkers]
            feeds = [feed.counters() for feed in self.feeds]
            reader, matcher, calls = self.reader.counters(), self.matcher.counters(), self.calls.counters()
        return {
            "function": "iap",
            "tasks": len(self.tasking.table),
            "lease": {"ends_ns": self.tasking.table.lease.ends_ns, "lapses": self.tasking.table.lapses},
            "clock": {
                "error_ns": error_ns,
                "disciplined": disciplined,
                "alarm": self._alarm,
                "ahead_ns": self.clock.ahead_ns(),
            },
            "taps": [
                {
                    "name": tap.name,
                    "interface": tap.interface,
                    "inode": inode,
                    "stamps": tap.stamps,
                    "frames": counted,
                    "filter": self._filter_report(counters),
                }
                for tap, inode, counted, counters in zip(
                    self._taps, self._inodes, frames, self._filter_counters, strict=True
                )
            ],
            "feeds": [
                {"name": hep.name, "interface": hep.interface, "packets": counted}
                for hep, counted in zip(self._site.heps, feeds, strict=True)
            ],
            "reader": {
                **reader,
                **{f"{name}_connected": self.reader.is_connected(name) for name in OUTPUT_SOCKETS},
                **{f"{name}_refused": count for name, count in self._refused.items()},
            },
            "matcher": matcher,
            "calls": calls,
            "identity": self._identity,
            "x1_malformed": self._x1.malformed,
            "unrecorded_stops": self.tasking.unrecorded_stops,
            "roster": trust_report(self.tasking.table, self._remembered),
            "unrecorded_suspensions": self._suspended.unrecorded,
        }


def _user(name: str) -> tuple[int, int] | None:
    if os.geteuid() != 0:
        return None
    try:
        entry = pwd.getpwnam(name)
    except KeyError:
        raise ConfigurationError(f"configuration: no user {name}") from None
    return entry.pw_uid, entry.pw_gid


async def serve(site: Site, opener_channel: socket.socket, notifier: Notifier | None = None) -> None:
    """The whole life of the access process. Raises ConfigurationError before it is sealed, nothing afterwards."""
    with opener_channel:
        handed, descriptors = handover.receive(opener_channel)
    function = AccessFunction(site, handed, descriptors)
    vault.unlock(site).wipe()  # what its files are read and written with, it has
    function.seal()
    await function.run(notifier)
