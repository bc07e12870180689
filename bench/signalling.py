"""`signalling`: the highest rate of SIP messages of which nothing is lost, with 1,000 targets armed.

Sender, wire, kernel, ring, parser, matcher and X2 share two cores. The baseline opens the same ring and only drains it;
where even that is limited by the sender, the result says so. Afterwards a whole lab site with a thousand targets under
real orders takes the required rate, and every call event must come out at the collector.
"""

from __future__ import annotations

import argparse
import os
import signal
import statistics
import sys
import tempfile
import time
from pathlib import Path

from bench import labsite, network, programs, report, search, traffic

TARGETS = 1000
SHARE_OF_SUBJECTS = 0.01
CALLS = 2000  # in one pass of the frame file: 10 MB, more than any cache near a core
RING_FRAMES = 32_768  # 64 MiB, the daemon's default
REQUIRED_PER_SECOND = 300_000
FIRST_PER_SECOND = 200_000
SENDER_CORE, TAP_CORE = 0, 1
QUICK_S, FULL_S = 1.0, 2.0
DRAIN_LIMIT_S = 30.0
INTERRUPTS = (("tap core", TAP_CORE), ("sender core", None))


class Bench:
    """One wire and one load; trials of the baseline and of the daemon's tap."""

    def __init__(self, wire: network.Wire, frames: Path, seconds: float, priority: int) -> None:
        self._priority = priority
        self._wire = wire
        self._frames = frames
        self._seconds = seconds
        self._base = 0

    def send(self, rate: float, seconds: float | None = None) -> programs.Answer:
        """One load; its Call-IDs are new ones."""
        count = int(rate * (seconds or self._seconds))
        self._base += 2 * count
        before = self._wire.received()
        sent = programs.run(
            "sender", namespace=self._wire.sender, interface=self._wire.far, file=self._frames, rate=int(rate),
            count=count, core=SENDER_CORE, base=self._base, priority=self._priority,
        )  # fmt: skip
        after = self._wire.received()
        arrived = after[0] - before[0]
        if arrived != sent["sent"]:  # not the tap's fault, and not to be hidden: the wire itself was full
            print(f"  {sent['sent'] - arrived} lost on the veth", file=sys.stderr)
        return sent

    def drain(self) -> programs.Drain:
        return programs.Drain(
            namespace=self._wire.tap, interface=self._wire.near, core=TAP_CORE, frames=RING_FRAMES,
            priority=self._priority,
        )  # fmt: skip

    def tap(self, targets: int) -> programs.Tap:
        return programs.Tap(self._wire.tap, self._wire.near, targets, priority=self._priority, core=TAP_CORE)

    def trial(self, reader: programs.Reader, rate: float) -> tuple[search.Trial, programs.Counts]:
        """One load. Raises RuntimeError when the kernel's count of drops says something else than ours."""
        reader.counts()
        sent = self.send(rate)
        had = reader.settled(sent["sent"])
        lost = sent["sent"] - had.messages
        if had.kernel_drops > lost:
            raise RuntimeError(f"the kernel dropped {had.kernel_drops}, but only {lost} are missing")
        return search.Trial(sent["per_second"], sent["sent"], lost + had.x2_lost), had

    def highest(self, reader: programs.Reader, repeats: int) -> search.Found:
        return search.highest_without_loss(lambda rate: self.trial(reader, rate)[0], FIRST_PER_SECOND, repeats)

    def at_required(self, reader: programs.Reader, repeats: int) -> report.Result:
        """What happens at the rate that is asked for, and what the reader's thread costs there."""
        trials = [self.trial(reader, REQUIRED_PER_SECOND) for _ in range(repeats)]
        return {
            "offered_per_second": round(statistics.median(one.offered_per_second for one, _ in trials)),
            "sent": sum(one.sent for one, _ in trials),
            "lost": sum(one.lost for one, _ in trials),
            "cpu_ns_per_message": round(sum(had.cpu_ns for _, had in trials) / sum(one.sent for one, _ in trials), 1),
        }


def measure(chosen: argparse.Namespace) -> report.Result:
    programs.build()
    seconds, repeats = (QUICK_S, 3) if chosen.quick else (FULL_S, 5)
    blocks: dict[str, report.Result] = {}
    with tempfile.TemporaryDirectory() as folder, network.wire() as wire:
        frames = Path(folder) / "mix"
        _count, matching = traffic.mix(frames, calls=CALLS, targets=TARGETS, share=SHARE_OF_SUBJECTS)
        bench = Bench(wire, frames, seconds, chosen.priority)
        for name, core in INTERRUPTS:
            wire.steer(core)
            print(f"interrupts on the {name}", file=sys.stderr)
            with bench.drain() as drain:
                baseline = bench.highest(drain, repeats)
                baseline_required = bench.at_required(drain, repeats)
            with bench.tap(TARGETS) as tap:
                ours = bench.highest(tap, repeats)
                our_required = bench.at_required(tap, repeats)
                total = tap.total()
            blocks[name] = {
                "offered_per_second": round(ours.offered_per_second),
                "messages_per_second": round(ours.offered_per_second),
                "lost": ours.lost,
                "sent": ours.sent,
                "sender_limited": ours.sender_limited,
                "lost_above": ours.lost_above,
                "baseline_per_second": round(baseline.offered_per_second),
                "baseline_sender_limited": baseline.sender_limited,
                "ratio": round(ours.offered_per_second / baseline.offered_per_second, 3),
                "at_300000": our_required,
                "baseline_at_300000": baseline_required,
                "counters": {
                    part: {name: count for name, count in counts.items() if count}
                    for part, counts in total.items()
                    if isinstance(counts, dict)
                },
            }
        os.chmod(folder, 0o755)  # the functions become another user
        wire.steer(TAP_CORE)
        whole = whole_site(Path(folder), bench, wire, chosen.priority, 1 if chosen.quick else 3)
        print(f"  whole site: {whole}", file=sys.stderr)
    best = next(iter(blocks))
    return {
        "targets": TARGETS,
        "share_of_subjects": SHARE_OF_SUBJECTS,
        "octets_of_a_message": 700,
        "subject_messages_in_a_pass": matching,
        "interrupts": best,
        "realtime_priority": chosen.priority,
        **blocks[best],
        "whole_site": whole,
        "other": {name: block for name, block in blocks.items() if name != best},
    }


def whole_site(folder: Path, bench: Bench, wire: network.Wire, priority: int, loads: int) -> report.Result:
    """`mediation run` under the required rate: what the tap missed, what X2 lost, what the collector did not get.

    A percent of 300,000 messages a second is more call events than one mediator's core delivers at once; X2's buffer
    and the spool hold them, and `drained_after_s` says for how long after the load.
    """
    subjects = [f"tel:+{traffic.number(index)}" for index in range(TARGETS)]
    setting = labsite.Setting("", priority, False, TAP_CORE)
    with labsite.running(folder, wire, setting, subjects, output=folder / "rows", core=SENDER_CORE) as (site, sink):
        sent = 0
        rates = []
        drained = 0.0
        before = labsite.report(site.path, "iap")
        for _ in range(loads):
            one = bench.send(REQUIRED_PER_SECOND)
            sent += one["sent"]
            rates.append(one["per_second"])
            drained = max(drained, _drained(site.path))
        iap, mediator = (labsite.report(site.path, name) for name in labsite.MEASURED)
        arrived = sink.ask(signal.SIGUSR1)
    seen = iap["matcher"]["messages"] - before["matcher"]["messages"]
    pdus = iap["matcher"]["pdus"]
    return {
        "offered_per_second": round(statistics.median(rates)),
        "sent": sent,
        "lost": sent - seen,
        "kernel_drops": sum(tap["frames"]["kernel_drops"] for tap in iap["taps"]),
        "x2_pdus": pdus,
        "x2_lost": iap["reader"]["x2_lost"] + pdus - mediator["intake"]["pdus"],
        "delivered": arrived["messages"],
        "reported_lost": arrived["lost"],
        "drained_after_s": round(drained, 2),
    }


def _drained(site: Path) -> float:
    """Seconds until nothing waits between the tap and the collector."""
    start = time.monotonic()
    quiet = 0
    last = -1
    while time.monotonic() - start < DRAIN_LIMIT_S:
        iap, mediator = (labsite.report(site, name) for name in labsite.MEASURED)
        queued = sum(link["queued"] for link in mediator["links"])
        pdus = mediator["intake"]["pdus"]
        quiet = quiet + 1 if pdus == last and not queued and not iap["reader"]["x2_waiting"] else 0
        if quiet:
            return time.monotonic() - start
        last = pdus
        time.sleep(0.05)
    raise RuntimeError("signalling: the mediator does not come to an end")


def options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--priority", type=int, default=10, help="SCHED_FIFO priority of sender, tap and baseline; 0: ordinary"
    )


if __name__ == "__main__":
    report.main("signalling", (__doc__ or "").splitlines()[0], measure, options)
