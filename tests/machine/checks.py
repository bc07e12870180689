"""The units on a machine that systemd runs: `first` installs the site and tries them, `again` looks after a reboot.

Run inside the machine by its own program (docs in README.md); what was measured is printed as JSON lines.
"""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from mediation.cli.demo.network import SPAN
from tests.cli import test_real_site as walk
from tests.machine.site import FUNCTIONS, LIMIT_S, UnitSite, ctl, journal, show, unit, until

PERSONS, CASE = Path("/srv/persons"), "CASE-1"
EXPECTED = ["origination", "networkSignal ringbackTone", "answer", "release"]
NET_ADMIN = 1 << 12
CAPABILITIES = {"egress": NET_ADMIN, "reconciler": NET_ADMIN}  # of all others none
REBOOTED = os.environ.get("MACHINE_STAGE") == "again"
first = pytest.mark.skipif(REBOOTED, reason="before the reboot")
again = pytest.mark.skipif(not REBOOTED, reason="after the reboot")
# Some kernels and containers let nobody raise this; a machine of its own does.
RAISES = subprocess.run(["prlimit", "--memlock=unlimited:unlimited", "true"], check=False).returncode == 0
EACH = pytest.mark.parametrize("function", FUNCTIONS)


def tell(what: str, **figures: Any) -> None:
    print(json.dumps({"machine": what, **figures}), file=sys.stderr, flush=True)


def main_pid(function: str) -> int:
    return int(show(unit(function), "MainPID"))


def started_s(name: str) -> float:
    """From the start of the last start job to READY=1."""
    begun, ready = (int(show(name, f"{mark}Monotonic")) for mark in ("InactiveExitTimestamp", "ActiveEnterTimestamp"))
    return (ready - begun) / 1e6


@pytest.fixture(scope="module")
def site() -> Any:
    made = UnitSite(PERSONS)
    try:
        if REBOOTED:
            until(made.healthy, made.try_status)
        else:
            install(made)
        made.listen()
        yield made
    finally:
        made.close()


def install(site: UnitSite) -> None:
    """docs/OPERATING.md, "A real site", steps 1 to 7."""
    site.make()
    site.name_witnesses()
    site.witnesses()
    site.found()
    site.adopt_plan()
    pin = site.exchange_certificates()
    site.seal_credentials()
    site.install()
    said = site.at_site("preflight", place="site")
    assert "FAILED" not in said
    begun = time.monotonic()
    ctl("start", *map(unit, FUNCTIONS))
    until(site.healthy, site.try_status)
    tell("site started", seconds=round(time.monotonic() - begun, 1))
    site.file_order(CASE, f"tel:{walk.ALICE[0]}", pin)


def calls(site: UnitSite) -> None:
    """Of two calls the subject's is delivered, whole and in order, and the other is not."""
    assert site.collected is not None
    since, name = len(site.collected), f"{time.monotonic_ns()}"
    walk.call(site, "carol", walk.CAROL[0], f"other-{name}")
    walk.call(site, "alice", walk.ALICE[0], f"subject-{name}")
    assert walk.messages(site, CASE, since) == EXPECTED
    tell("call", latency_us=[line["latency_us"] for line in site.collected.since(since) if "latency_us" in line])


def armed(site: UnitSite) -> bool:
    return site.healthy() and all(site.status()["functions"][name]["tasks"] for name in ("iap", "mediator", "egress"))


def healed(site: UnitSite) -> float:
    return until(lambda: armed(site), site.try_status)


@first
def test_the_order_is_armed_and_a_call_delivered(site: UnitSite) -> None:
    for function in FUNCTIONS:
        tell("started", unit=unit(function), seconds=round(started_s(unit(function)), 2))
    site.act("activate", CASE)
    assert site.state(CASE) == "active"
    calls(site)


@EACH
def test_what_the_kernel_says_of_a_process(site: UnitSite, function: str) -> None:
    pid = main_pid(function)
    status = dict(
        line.split(":\t", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines() if ":\t" in line
    )
    for kind in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"):
        assert int(status[kind], 16) == CAPABILITIES.get(function, 0), kind
    assert status["Seccomp"].strip() == "2" and status["NoNewPrivs"].strip() == "1"
    assert "0" not in status["Uid"].split()
    limits = Path(f"/proc/{pid}/limits").read_text()
    assert re.search(r"Max core file size +0 +0 ", limits)
    locked = int(status["VmLck"].split()[0])
    tell("process", function=function, locked_kib=locked, resident_kib=int(status["VmRSS"].split()[0]),
         seccomp_filters=int(status["Seccomp_filters"]))  # fmt: skip
    if RAISES:
        assert locked > 0
    # Not dumpable: its files in /proc are root's, so that nobody of its own user can trace it.
    assert Path(f"/proc/{pid}/mem").stat().st_uid == 0
    if function == "iap":
        assert os.stat(f"/proc/{pid}/ns/net").st_ino != os.stat("/proc/1/ns/net").st_ino


@EACH
def test_its_exposure(site: UnitSite, function: str) -> None:
    said = subprocess.run(
        ["systemd-analyze", "security", "--no-pager", unit(function)], capture_output=True, text=True, check=False
    ).stdout
    level = float(re.search(r"Overall exposure level for .*: ([0-9.]+)", said)[1])  # type: ignore[index]
    tell("exposure", function=function, level=level)
    assert level <= 1.5


def test_what_no_order_names_is_refused(site: UnitSite) -> None:
    before = site.status()["functions"]["egress"]["refused_packets"]
    user = show(unit("mediator"), "User")
    found = []
    for place in (f"{walk.ELSEWHERE} 443", f"{walk.AGENCY} {walk.COLLECTOR_PORT + 1}",
                  f"{walk.AGENCY} {walk.COLLECTOR_PORT}"):  # fmt: skip
        program = f"import socket; socket.create_connection({tuple(place.split())!r}, 2)"
        words = ["setpriv", f"--reuid={user}", "--regid=mediation", "--clear-groups", "python3", "-c", program]
        found.append(subprocess.run(words, capture_output=True, text=True, check=False).stderr.split("\n")[-2:-1])
    assert ["TimeoutError" in str(one) for one in found] == [True, True, False] and found[2] == []
    until(lambda: site.status()["functions"]["egress"]["refused_packets"] > before)


@first
@EACH
def test_a_restart_brings_its_tasks_back(site: UnitSite, function: str) -> None:
    ctl("restart", unit(function))
    tell("restarted", function=function, start_s=round(started_s(unit(function)), 2), armed_s=round(healed(site), 2))
    calls(site)


@first
@EACH
def test_killed_it_is_started_again(site: UnitSite, function: str) -> None:
    pid = main_pid(function)
    begun = time.monotonic()
    os.kill(pid, signal.SIGKILL)
    until(lambda: main_pid(function) not in (0, pid) and show(unit(function), "ActiveState") == "active")
    healed(site)
    tell("killed", function=function, healed_s=round(time.monotonic() - begun, 2))
    calls(site)


@first
def test_it_waits_for_what_is_away_however_long(site: UnitSite) -> None:
    """More failed starts than systemd's usual limit of five in ten seconds; then the interface comes back."""
    subprocess.run(["ip", "link", "set", SPAN, "name", "away0"], check=True)
    try:
        before = int(show(unit("iap"), "NRestarts"))
        ctl("restart", "--no-block", unit("iap"))
        limit = time.monotonic() + 6 * LIMIT_S
        while int(show(unit("iap"), "NRestarts")) < 7:
            assert time.monotonic() < limit, (before, journal(unit("iap")))
            time.sleep(1)
    finally:
        subprocess.run(["ip", "link", "set", "away0", "name", SPAN], check=True)
    tell("interface back", armed_s=round(healed(site), 2))
    calls(site)


@first
@pytest.mark.skipif(not RAISES, reason="this kernel lets nobody raise a limit")
def test_the_real_time_class(site: UnitSite) -> None:
    """The drop-ins of docs/OPERATING.md, "Systemd"; the site stays so from here on."""
    site.run_in_real_time()
    ctl("restart", *map(unit, FUNCTIONS))
    healed(site)
    for function, priority, threads in (("iap", 20, 1), ("mediator", 10, 1)):
        tasks = [int(path.name) for path in Path(f"/proc/{main_pid(function)}/task").iterdir()]
        found = [os.sched_getparam(task).sched_priority for task in tasks]
        assert found.count(priority) >= threads, (function, found)
        tell("real time", function=function, priorities=sorted(found))
    assert site.status()["functions"]["iap"]["tasks"] == 1
    calls(site)


@again
def test_after_a_reboot_all_is_as_it_was(site: UnitSite) -> None:
    healed(site)
    # The administrator is ready when every live order is armed.
    ready, begun = show(unit("administrator"), "ActiveEnterTimestampMonotonic"), show("", "UserspaceTimestampMonotonic")
    tell("rebooted", armed_s=(int(ready) - int(begun)) / 1e6, **{f: round(started_s(unit(f)), 2) for f in FUNCTIONS})
    for folder in ("access", "egress"):
        assert any((site.path / folder).iterdir()), "what it remembers outlives the tmpfs of run/"
    assert site.state(CASE) == "active"
    calls(site)


def test_the_journal_names_nobody(site: UnitSite) -> None:
    said = journal("mediation-*", lines=100_000)
    assert "sealed" in said
    for person in (walk.ALICE, walk.BOB, walk.CAROL):
        assert person[0][1:] not in said and person[1] not in said
    assert CASE not in said


def test_nothing_failed_and_nothing_was_left(site: UnitSite) -> None:
    failed = ctl("list-units", "--failed", "--plain", "--no-legend", "mediation-*")
    assert failed == "", failed
    assert [
        path.name for path in Path("/var/lib/mediation").iterdir() if path.stat().st_uid != 0 and path.is_file()
    ] == []
