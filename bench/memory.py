"""`memory`: what a site holds in memory: idle, with 100,000 targets under order, and with 10,000 of their calls up.

A whole lab site, started as a person starts it, on a wire of its own. The targets are those of real orders (64 each,
two tokens, an officer's act); each call is another target's, answered and not ended, and all that it makes is delivered
before anything is read. `functions` is the Rss of each, the ring (`ring_mib`) in the access function's; `*_mib` the sum
of their Pss, which counts what they share (the interpreter, its libraries) once. The baseline is a C program that holds
the same targets and calls in the smallest form that a tap could use, and nothing else.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from bench import labsite, network, programs, report, traffic
from bench.labsite import Setting
from mediation.runtime import config

TARGETS, CALLS = 100_000, 10_000
RATE = 1_500  # messages a second, a thousand call events: what a mediator takes while it is at ease
SENDER_CORE, TAP_CORE = 0, 1
SETTING = Setting("ordinary", 0, False, -1)
LIMIT_S, POLL_S = 120.0, 0.2
STILL_S = 2.0  # nothing new for so long: what was to be written, sealed or let go of is
MIB = 1 << 20


class Held(NamedTuple):
    """Of one function, in octets."""

    rss: int
    pss: int


def held(site: Path) -> dict[str, Held]:
    """What each function of a site has in memory now (proc_pid_smaps(5))."""
    found = {}
    for name, entry in labsite.processes(site).items():
        rows = (line.split() for line in (entry / "smaps_rollup").read_text().splitlines()[1:])
        kib = {row[0].rstrip(":"): int(row[1]) for row in rows}
        found[name] = Held(kib["Rss"] << 10, kib["Pss"] << 10)
    return found


def figures(now: dict[str, Held]) -> report.Result:
    """`resident_mib` is the whole site's, by Pss; `functions` each one's own Rss."""
    return {
        "resident_mib": round(sum(one.pss for one in now.values()) / MIB, 1),
        "functions": {name: round(one.rss / MIB, 1) for name, one in sorted(now.items())},
    }


def until(done: Callable[[], bool], what: str) -> None:
    end = time.monotonic() + LIMIT_S
    while not done():
        if time.monotonic() > end:
            raise RuntimeError(f"memory: {what} did not come")
        time.sleep(POLL_S)


def calls_up(site: Path, count: int) -> None:
    """Until the mediator holds `count` calls and has nothing left to deliver."""

    def done() -> bool:
        said = labsite.report(site, "mediator")
        return bool(said["calls"] == count and not any(link["queued"] for link in said["links"]))

    until(done, f"{count} calls")
    time.sleep(STILL_S)


def site_of(folder: Path, wire: network.Wire, targets: int, calls: int) -> tuple[report.Result, report.Result]:
    """A site with `targets` under order; its figures before any call, and with `calls` of them up."""
    folder.mkdir(mode=0o755)
    frames = folder / "calls"
    count = traffic.standing(frames, calls=max(1, calls))
    subjects = [f"tel:+{traffic.number(index)}" for index in range(targets)]
    with labsite.running(folder, wire, SETTING, subjects, output=folder / "rows", core=SENDER_CORE) as (site, _sink):
        orders = -(-targets // labsite.MAX_SUBJECTS)
        until(lambda: all(labsite.report(site.path, name)["tasks"] == orders for name in labsite.MEASURED), "tasks")
        time.sleep(STILL_S)
        quiet = figures(held(site.path))
        if not calls:
            return quiet, {}
        sent = programs.run(
            "sender", namespace=wire.sender, interface=wire.far, file=frames, rate=RATE, count=count, core=SENDER_CORE,
        )  # fmt: skip
        calls_up(site.path, calls)
        iap = labsite.report(site.path, "iap")
        lost = sent["sent"] - iap["matcher"]["matched"] + iap["reader"]["x2_lost"]
        return quiet, {**figures(held(site.path)), "sent": sent["sent"], "lost": lost}


def measure(chosen: argparse.Namespace) -> report.Result:
    programs.build()
    calls = CALLS // 10 if chosen.quick else CALLS
    with tempfile.TemporaryDirectory(prefix="mediation-bench-") as name, network.wire() as wire:
        os.chmod(name, 0o755)  # the functions become another user
        idle, _ = site_of(Path(name) / "idle", wire, 0, 0)
        print(f"  idle: {idle}", file=sys.stderr, flush=True)
        full, busy = site_of(Path(name) / "full", wire, TARGETS, calls)
        ring_mib = config.load(Path(name) / "full" / "site").iaps[0].ring_mib
    least = programs.run("memory", targets=TARGETS, calls=calls)
    least_mib = least["resident"] / MIB
    return {
        "targets": TARGETS,
        "calls": calls,
        "idle_mib": idle["resident_mib"],
        "targets_mib": full["resident_mib"],
        "calls_mib": busy["resident_mib"],
        "octets_per_target": round((full["resident_mib"] - idle["resident_mib"]) * MIB / TARGETS),
        "octets_per_call": round((busy["resident_mib"] - full["resident_mib"]) * MIB / calls),
        "offered_per_second": RATE,
        "sent": busy["sent"],
        "lost": busy["lost"],
        "ring_mib": ring_mib,
        "functions": {"idle": idle["functions"], "targets": full["functions"], "calls": busy["functions"]},
        "baseline_mib": round(least_mib, 1),
        "ratio": round(busy["resident_mib"] / least_mib, 2),
    }


if __name__ == "__main__":
    report.main("memory", (__doc__ or "").splitlines()[0], measure)
