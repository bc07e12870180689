"""`media`: other people's RTP that the kernel drops, and the content of some calls that must come out whole beside it.

`ratio` is the cost of one packet of other people's RTP on the core that receives it (the kernel's way from the driver
to the end of every tap) with our tap, over the same with a tap whose filter drops everything; `added_ratio` is the same
for what a tap adds to a machine without any. Paired: every round measures none, drop and ours one after the other.
`user_cpu_per_million_packets` is what the tap's own thread took beside it (milliseconds): it never wakes for them.

The load that is kept whole: `streams` calls of subjects with content, 50 packets a second each way, signalled by an
INVITE and its 200, while other people's RTP passes at the offered rate. `lost` is what was sent and did not come out as
an X3 PDU; `kernel_drops` of it found the ring full, `x3_lost` the output buffer.
"""

from __future__ import annotations

import argparse
import socket
import statistics
import sys
import time

from bench import network, programs, report, traffic

STREAMS = 200
OFFERED_PPS = 1_000_000
FIRST_PORT = 20_000
GENERATOR_CORE, TAP_CORE = 0, 1
COUNTED = 1_000_000  # packets of one measurement of cost
QUICK_S, FULL_S = 2.0, 10.0
QUICK_ROUNDS, FULL_ROUNDS = 3, 7
SETTLE_S = 5.0
CALLER, CALLED = traffic.SUBJECT_IP, traffic.PROXY_IP


def call_frames(index: int) -> list[bytes]:
    """INVITE and 200 of a call of the index-th target, with media of its own."""
    frames = []
    for kind, here, source, destination in (
        ("invite", CALLER, CALLER, CALLED), ("200", CALLED, CALLED, CALLER),
    ):  # fmt: skip
        octets = traffic.message(kind, traffic.number(index), f"13{index:09d}", f"media{index:05d}")
        octets = octets.replace(b"m=audio 16384 ", f"m=audio {FIRST_PORT + 2 * index} ".encode())
        assert here.encode() in octets
        frames.append(traffic.frame(octets, source, destination))
    return frames


class Bench:
    def __init__(self, wire: network.Wire, priority: int) -> None:
        self._wire = wire
        self._priority = priority

    def load(self, **options: object) -> programs.Answer:
        return programs.run(
            "media", namespace=self._wire.sender, interface=self._wire.far, tap_namespace=self._wire.tap,
            tap_interface=self._wire.near, core=GENERATOR_CORE, stream_core=TAP_CORE, priority=self._priority,
            **options,
        )  # fmt: skip

    def tap(self) -> programs.Tap:
        return programs.Tap(
            self._wire.tap, self._wire.near, STREAMS, priority=self._priority, core=TAP_CORE, content=True
        )

    def signal_calls(self) -> None:
        """From the sender's end of the wire."""
        home = network.enter(self._wire.sender)
        try:
            with socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0) as wire:
                wire.bind((self._wire.far, 0))
                for index in range(STREAMS):
                    for octets in call_frames(index):
                        wire.send(octets)
        finally:
            network.leave(home)


def cost(sent: programs.Answer) -> float:
    """Nanoseconds of a packet."""
    return float(sent["cpu_ns"]) / int(sent["sent"])


def costs(bench: Bench, tap: programs.Tap, rounds: int) -> report.Result:
    found: dict[str, list[float]] = {"none": [], "drop": [], "ours": []}
    user = []
    for _ in range(rounds):
        found["none"].append(cost(bench.load(count=COUNTED)))
        found["drop"].append(cost(bench.load(count=COUNTED, filter="drop")))
    with tap:
        for _ in range(rounds):
            before = tap.total()["cpu_ns"]
            found["ours"].append(cost(bench.load(count=COUNTED)))
            user.append((tap.total()["cpu_ns"] - before) / COUNTED)
    none, drop, ours = (statistics.median(found[name]) for name in ("none", "drop", "ours"))
    return {
        "ratio": round(ours / drop, 3),
        "added_ratio": round((ours - none) / (drop - none), 3) if drop > none else None,
        "ns_per_packet": {"no_tap": round(none, 1), "drops_everything": round(drop, 1), "ours": round(ours, 1)},
        "user_cpu_per_million_packets": round(statistics.median(user), 3),
    }


def delivery(bench: Bench, tap: programs.Tap, seconds: float) -> report.Result:
    with tap:
        bench.signal_calls()
        deadline = time.monotonic() + SETTLE_S
        while (before := tap.total())["matcher"]["calls"] < STREAMS or before["frames"]["flows_added"] < 4 * STREAMS:
            if time.monotonic() > deadline:
                raise RuntimeError(f"of {STREAMS} calls {before['matcher']['calls']} were seen")
            time.sleep(0.01)
        sent = bench.load(rate=OFFERED_PPS, seconds=seconds, streams=STREAMS)
        deadline = time.monotonic() + SETTLE_S
        while (after := tap.total())["content_pdus"] < sent["streams_sent"] and time.monotonic() < deadline:
            time.sleep(0.02)
    dropped = after["filter"]["dropped_other_flow"] - before["filter"]["dropped_other_flow"]
    return {
        "generator": sent["generator"],
        "offered_pps": round(sent["per_second"]),
        "kernel_dropped_pps": round(dropped / sent["seconds"]),
        "streams": STREAMS,
        "stream_packets": sent["streams_sent"],
        "lost": sent["streams_sent"] - after["content_pdus"],
        "kernel_drops": after["frames"]["kernel_drops"],
        "x3_lost": after["reader"]["x3_lost"],
        "content_window_us": {
            "mean": round(after["frames"]["content_window_us"] / max(1, after["frames"]["content_windows"]), 1),
            "max": after["frames"]["content_window_us_max"],
        },
        "tap_cpu_share": round((after["cpu_ns"] - before["cpu_ns"]) / 1e9 / sent["seconds"], 3),
    }


def measure(chosen: argparse.Namespace) -> report.Result:
    programs.build()
    rounds, seconds = (QUICK_ROUNDS, QUICK_S) if chosen.quick else (FULL_ROUNDS, FULL_S)
    with network.wire() as wire:
        bench = Bench(wire, chosen.priority)
        cheap = costs(bench, bench.tap(), rounds)
        print(f"  cost: {cheap}", file=sys.stderr)
        return {**delivery(bench, bench.tap(), seconds), **cheap, "realtime_priority": chosen.priority}


def options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--priority", type=int, default=10, help="SCHED_FIFO of load and tap; 0: none")


if __name__ == "__main__":
    report.main("media", (__doc__ or "").splitlines()[0], measure, options)
