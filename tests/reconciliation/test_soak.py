"""No false alarm at a busy site, through restarts, order changes and signalling (SEC-1); and nothing that outlives it:
every function killed with taps active (SEC-3), looked at by the reconciler's own eyes.
"""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from mediation.core.ledger import entry
from mediation.core.records.incident import What
from tests.reconciliation.site import running
from tests.reconciliation.test_look import look
from tests.reconciliation.world import World

pytestmark = pytest.mark.root
ROUNDS = 4
LIMIT_S = 30.0
# INVITEs of strangers and of a subject, for ever, from the far end of the tap's link.
CALLS = """
import itertools, socket, time
out = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
print("calling", flush=True)
for i in itertools.count():
    number = "+12125550100" if i % 5 == 0 else f"+1212777{i % 10000:04d}"
    out.sendto((f"INVITE sip:{number}@192.0.2.1 SIP/2.0\\r\\nVia: SIP/2.0/UDP 192.0.2.2;branch=z9hG4bK{i}\\r\\n"
        f"From: <sip:{number}@192.0.2.2>;tag={i}\\r\\nTo: <sip:+12125550199@192.0.2.1>\\r\\nCall-ID: c{i}\\r\\n"
        "CSeq: 1 INVITE\\r\\nMax-Forwards: 70\\r\\nContent-Length: 0\\r\\n\\r\\n").encode(), ("192.0.2.1", 5060))
    time.sleep(0.02)
"""
INCIDENT = (entry.Incident, entry.Alarm)


def test_a_busy_site_raises_nothing(world: World) -> None:
    with running(world, "CASE-A") as site:
        world.run("ip", "netns", "add", "far")
        world.run("ip", "link", "set", "two", "netns", "far")
        world.run("ip", "addr", "add", "192.0.2.1/24", "dev", "one")
        for words in ("addr add 192.0.2.2/24 dev two", "link set two up"):
            world.run("ip", "-n", "far", *words.split())
        with world.running("ip", "netns", "exec", "far", "python3", "-c", CALLS, ready="calling"):
            site.until_observed(1)
            for number in range(ROUNDS):
                case = f"CASE-{number}"
                site.order(case, 200 + number)
                site.kill("iap")
                site.order(f"{case}-B", 300 + number)
                site.command("case", "deactivate", case, "--site", str(site.path))
                site.until_observed(1)
                site.kill(("mediator", "reconciler", "administrator", "iap")[number])
                deadline = time.monotonic() + LIMIT_S
                while not site.armed():
                    assert time.monotonic() < deadline, site.says()
                    time.sleep(0.1)
            site.until_observed(3)
        raised = [record for record in site.records() if isinstance(record, INCIDENT)]
        assert raised == [], site.says()
        counted = [record for record in site.records() if isinstance(record, entry.Reconciled)]
        assert counted
        assert all(record.differences == 0 for record in counted)


def test_when_every_function_is_killed_nothing_of_it_is_left(world: World) -> None:
    """The tap is its descriptor: no socket, filter, mirror or promiscuous mode outlives the process that held it."""
    with running(world, "CASE-A") as site:
        site.until_observed(1)
        sights, _ = look(world)
        assert [sight.what for sight in sights] == [What.PACKET_SOCKET]
        functions = ("iap", "administrator", "mediator", "reconciler")
        pids = [site.pid("run"), *(site.pid(name) for name in functions)]
        site.kill_all(pids)
        deadline = time.monotonic() + LIMIT_S
        while any(Path(f"/proc/{pid}/fd/0").exists() for pid in pids):
            assert time.monotonic() < deadline
            time.sleep(0.05)
        assert look(world) == ([], [])
