"""`latency`: from the wire to the collector, at a thousand call events a second, with durable spool and TLS.

Ours is a whole lab site, started as a person starts it: `mediation init --lab`, one order, `mediation run`. The
baseline takes packets from the same kind of ring and sends one TLS record for each. Both stand on wires of their own,
get the same calls from the same sender and deliver to the same collector program; their rounds alternate.
"""

from __future__ import annotations

import argparse
import array
import contextlib
import os
import signal
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from bench import labsite, network, programs, report, traffic
from bench.labsite import Setting
from mediation.cli.demo.site import free_port

RATE = 1000
CALLS, LIVE = 3000, 60  # in one pass of the frame file; up at any time
JITTER_US = 250  # so that the sender does not walk in step with the kernel's tick
WARM_UP_EVENTS = 600
QUICK = (5, 900)  # rounds, events of a round: many short ones, so that one disturbance is one round
FULL = (7, 5000)
SENDER_CORE, TAP_CORE = 0, 1
RING_FRAMES = 32_768  # 64 MiB, the daemon's default
EQUIPMENT_PRIORITY = 20  # SCHED_FIFO of sender and collector: measuring equipment, the same for both sides
PRIORITY = 10  # of what is measured, where a block says so
ACK_DELAY_US = 2000  # a collector that stores before it acknowledges, on a short line
ARRIVAL_LIMIT_S = 10.0  # more than the rule's 8 s
INTERRUPTED_NS = 200_000  # a send that took longer cannot say when the packet left
LIMIT_NS = 8_000_000_000  # 47 CFR 1.20007(a)(14)
SUBJECT = traffic.number(1)


SETTINGS = (
    Setting("realtime", PRIORITY, False, TAP_CORE),  # the first is the result, as the rows of latencies in the plan ran
    Setting("realtime, cpu_dma_latency held at 0", PRIORITY, True, TAP_CORE),
    Setting("ordinary", 0, False, -1),
)


class Round(NamedTuple):
    """What one round of one side gave. Latencies of what arrived, in nanoseconds."""

    sent: int
    lost: int
    records: int
    unstamped: int
    latencies: list[int]
    stamp_errors: list[int]
    interrupted: int


class Side:
    """A wire, a collector behind it, and what stands between (which the caller starts)."""

    def __init__(self, name: str, wire: network.Wire, sink: programs.Program, frames: Path) -> None:
        self.name = name
        self.wire = wire
        self._sink = sink
        self._frames = frames
        self._rows = frames.parent / f"{name}.rows"
        self._log = frames.parent / f"{name}.sends"

    def round(self, rate: int, count: int) -> Round:
        """Sends `count` events and waits for all of them, or for the limit."""
        self._collect()  # what an earlier round left behind
        sent = programs.run(
            "sender", namespace=self.wire.sender, interface=self.wire.far, file=self._frames, rate=rate, count=count,
            stamp=1, core=SENDER_CORE, jitter_us=JITTER_US, priority=EQUIPMENT_PRIORITY, log=self._log,
        )  # fmt: skip
        log = array.array("q", self._log.read_bytes())
        sends = dict(zip(log[0::2], log[1::2], strict=True))
        arrived: dict[int, tuple[int, int]] = {}
        records = unstamped = 0
        deadline = time.monotonic() + ARRIVAL_LIMIT_S
        while True:
            rows, said = self._collect()
            records += said["messages"]
            unstamped += said["unstamped"]
            for stamp, at, received in zip(rows[0::3], rows[1::3], rows[2::3], strict=True):
                if stamp in sends and stamp not in arrived:  # later records of a call repeat its stamps
                    arrived[stamp] = (at, received)
            if len(arrived) == len(sends) or time.monotonic() > deadline:
                break
            time.sleep(0.05)
        clean = [stamp for stamp in arrived if sends[stamp] - stamp <= INTERRUPTED_NS]
        return Round(
            sent=sent["sent"],
            lost=len(sends) - len(arrived),
            records=records,
            unstamped=unstamped,
            latencies=[at - stamp for stamp, (at, _) in arrived.items()],
            stamp_errors=[abs(arrived[stamp][1] - stamp) for stamp in clean],
            interrupted=sum(after - stamp > INTERRUPTED_NS for stamp, after in sends.items()),
        )

    def _collect(self) -> tuple[array.array[int], programs.Answer]:
        said = self._sink.ask(signal.SIGUSR1)
        return array.array("q", self._rows.read_bytes()), said


@contextlib.contextmanager
def sides(folder: Path, setting: Setting) -> Iterator[tuple[Side, Side, Path]]:
    """Ours and the baseline, both connected to their collectors; and the site's folder."""
    folder.mkdir()
    frames = folder / "events"
    traffic.events(frames, calls=CALLS, subject=SUBJECT, live=LIVE)
    equipment: dict[str, object] = {
        "core": SENDER_CORE, "priority": EQUIPMENT_PRIORITY, "ack_delay_us": ACK_DELAY_US
    }  # fmt: skip
    with contextlib.ExitStack() as stack:
        our_wire, their_wire = stack.enter_context(network.wire()), stack.enter_context(network.wire())
        site, our_sink = stack.enter_context(
            labsite.running(
                folder,
                our_wire,
                setting,
                [f"tel:+{SUBJECT}"],
                output=folder / "ours.rows",
                **equipment,
            )
        )
        agency, delivery = site.path / "lab" / "agency", site.path / "delivery"
        port = free_port()
        their_sink = stack.enter_context(
            programs.Program(
                "sink", port=port, certificate=agency / "server.pem", key=agency / "server.key",
                authority=agency / "ca.pem", output=folder / "baseline.rows", **equipment,
            )
        )  # fmt: skip
        stack.enter_context(
            programs.Program(
                "ring_tls", namespace=their_wire.tap, interface=their_wire.near, core=setting.core, frames=RING_FRAMES,
                priority=setting.priority, hold_latency=int(setting.hold), port=port,
                certificate=delivery / "client.pem", key=delivery / "client.key", authority=delivery / "agency-ca.pem",
            )
        )  # fmt: skip
        yield Side("ours", our_wire, our_sink, frames), Side("baseline", their_wire, their_sink, frames), site.path


def _figures(rounds: list[Round]) -> report.Result:
    return {
        **report.medians([report.percentiles(one.latencies) for one in rounds]),
        "sent": sum(one.sent for one in rounds),
        "lost": sum(one.lost for one in rounds),
        "records": sum(one.records for one in rounds),
        "unstamped": sum(one.unstamped for one in rounds),
    }


def block(folder: Path, setting: Setting, rate: int, rounds: int, events: int) -> report.Result:
    """Rounds of both sides in turn, under one setting."""
    taken: dict[str, list[Round]] = {"ours": [], "baseline": []}
    with sides(folder, setting) as (ours, baseline, site):
        for side in (ours, baseline):
            side.round(rate, WARM_UP_EVENTS)
        before = labsite.processor_time(site)
        for number in range(rounds):
            for side in (ours, baseline) if number % 2 else (baseline, ours):
                one = side.round(rate, events)
                taken[side.name].append(one)
                if not one.latencies:
                    raise RuntimeError(f"latency: nothing of {one.sent} events arrived from {side.name}")
                print(
                    f"  {setting.name}, {side.name}: lost {one.lost}",
                    report.percentiles(one.latencies),
                    file=sys.stderr,
                )
        after = labsite.processor_time(site)
    found, floor = _figures(taken["ours"]), _figures(taken["baseline"])
    errors = [error for one in taken["ours"] for error in one.stamp_errors]
    latencies = [latency for one in taken["ours"] for latency in one.latencies]
    return {
        "setting": setting.name,
        "rate": rate,
        "ack_delay_us": ACK_DELAY_US,
        **found,
        "baseline": floor,
        "ratio_p50": round(found["p50_us"] / floor["p50_us"], 2),
        "ratio_p99": round(found["p99_us"] / floor["p99_us"], 2),
        "stamp_error_us_max": round(max(errors) / 1000, 1),
        "stamp_error_us_p50": round(statistics.median(errors) / 1000, 1),
        "sends_interrupted": sum(one.interrupted for one in taken["ours"]),
        "within_8s": sum(one <= LIMIT_NS for one in latencies) / found["sent"],
        "rounds": rounds,
        "cpu_us_per_event": {
            name: round((after[name] - before.get(name, 0)) / 1000 / found["sent"], 1) for name in sorted(after)
        },
    }


def measure(chosen: argparse.Namespace) -> report.Result:
    programs.build()
    rounds, events = QUICK if chosen.quick else FULL
    with tempfile.TemporaryDirectory(prefix="mediation-bench-") as name:
        os.chmod(name, 0o755)  # the functions become another user
        blocks = [
            block(Path(name) / str(number), setting, chosen.rate, rounds, events * chosen.rate // RATE)
            for number, setting in enumerate(SETTINGS)
        ]
    return {**blocks[0], "settings": {one["setting"]: one for one in blocks[1:]}}


def options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--rate", type=int, default=RATE, help="call events a second")


if __name__ == "__main__":
    report.main("latency", (__doc__ or "").splitlines()[0], measure, options)
