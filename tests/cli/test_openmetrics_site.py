"""SEC-19 in the monitoring: a site looks the same before it has an order and while one's call is delivered."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from mediation.administration import lab
from mediation.cli.demo.site import LabSite
from tests.access.conftest import Wire, wire
from tests.access.process import answer, invite
from tests.cli.test_openmetrics import read
from tests.search import Search

__all__ = ["wire"]
pytestmark = pytest.mark.root

SUBJECT, CASE = "+12125550100", "KESTREL-41"  # whom `invite` is from
LIMIT_S = 60
# The time, and what everybody's signalling moves. A lab asks its only witness at each act, a real site at each tick.
MOVES = re.compile(r"mediation_(written|ledger_cosigned|lease_end|expiry|tap_signalling|signalling_messages)")


def exposed(site: LabSite) -> str:
    return site.command("status", "--site", str(site.path), "--openmetrics")


def standing(text: str) -> list[str]:
    return [line for line in text.splitlines() if not MOVES.match(line)]


def test_an_order_and_its_call_change_nothing(tmp_path: Path, wire: Wire) -> None:
    point = f'[[iap]]\nname = "SWITCH-1"\ninterface = "{wire.far}"\nnamespace = "{wire.namespace}"\nring_mib = 1\n'
    site = LabSite(tmp_path / "site", iaps=point)
    try:
        site.run()
        quiet = exposed(site)
        site.collect()
        assert site.messages is not None
        site.order(CASE, f"tel:{SUBJECT}")
        wire.send(invite(), answer())
        assert site.messages.wait(lambda line: line.get("message") == "answer", LIMIT_S), site._complaints()
        busy = exposed(site)
        assert standing(busy) == standing(quiet)
        (counted,) = read(busy)["mediation_signalling_messages"].samples
        assert counted.value >= 2  # it saw the call: as anybody's
        for octets in (busy.encode(), quiet.encode()):
            assert not Search([SUBJECT], (CASE, lab.AGENCY)).octets(octets)
    finally:
        site.stop()
