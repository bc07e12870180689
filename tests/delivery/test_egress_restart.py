"""What the egress function knew before it was killed it knows after: stops, suspensions, withdrawals, roster, head."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import msgspec
import pytest

from mediation.core.authority.roster import Appoint
from mediation.core.case import Role, TaskRequest
from mediation.core.check import Check
from mediation.core.interface import x1
from mediation.runtime import keys
from tests.core import authority, founding
from tests.delivery.house import House, revocation, xid_of
from tests.delivery.test_egress import LIMIT_S, OTHER, PORT, THIRD, Running, egress, namespace

__all__ = ["namespace"]

pytestmark = [
    pytest.mark.root,
    pytest.mark.skipif(os.geteuid() != 0, reason="a network namespace needs root"),
    pytest.mark.skipif(shutil.which("nft", path="/usr/sbin:/usr/bin") is None, reason="no nft"),
]
HOST = "192.0.2.1"


async def refusal(running: Running, order: TaskRequest) -> str:
    """The check that refuses to arm it; empty when it was armed."""
    answer = await running.ask(x1.ActivateTask(request=order))
    return answer.check if isinstance(answer, x1.Refused) else ""


async def test_a_restart_forgets_no_stop_and_no_withdrawal(tmp_path: Path, namespace: str) -> None:
    house = House(tmp_path)
    stopped, suspended, withdrawn, unknown, lives = (
        house.order(port, host=HOST, case=f"CASE-{n}") for n, port in enumerate((PORT, OTHER, THIRD, THIRD, PORT), 1)
    )
    async with egress(house, namespace) as running:
        for order in (stopped, suspended, withdrawn, lives):
            assert await refusal(running, order) == ""
        assert await running.ask(x1.DeactivateTask(xid=xid_of(stopped).hex())) == x1.Ok()
        assert await running.ask(x1.SuspendTask(xid=xid_of(suspended).hex(), sequence=2)) == x1.Ok()
        assert await running.ask(x1.RevokeToken(revocation=revocation(withdrawn, "CASE-3"))) == x1.Ok()
        # Of an order that it has never seen, too: by the text alone.
        assert await running.ask(x1.RevokeToken(revocation=revocation(unknown, "CASE-4"))) == x1.Ok()
    for _ in range(2):  # what is remembered is not told again, and is not forgotten by the next start
        async with egress(house, namespace) as running:
            report = await running.report()
            assert (report["tasks"], report["destinations"]) == (0, 0)
            assert await refusal(running, stopped) == Check.DEACTIVATED
            assert await refusal(running, suspended) == Check.SUSPENDED
            assert await refusal(running, withdrawn) == Check.REVOKED
            assert await refusal(running, unknown) == Check.REVOKED
            assert await refusal(running, lives) == ""


async def test_a_restart_forgets_neither_the_roster_nor_the_head(tmp_path: Path, namespace: str) -> None:
    house = House(tmp_path)
    first = house.order(PORT, host=HOST)
    fork = authority.Ledger()
    other = house.order(OTHER, host=HOST, case="CASE-2", ledger=fork)
    held = keys.load_trust(house.site).roster
    appoint = Appoint(
        person="second", name="Second", role=Role.AUDITOR, function="audit", from_s=1 << 32, to_s=1 << 33,
        document_sha256=founding.DOCUMENT,
    )  # fmt: skip
    lines = (*held.lines, founding.approved(founding.change(held, appoint, issued_s=int(time.time())),
                                             *founding.EXECUTIVES[:2]))  # fmt: skip
    async with egress(house, namespace) as running:
        assert await refusal(running, first) == ""
        assert await running.ask(x1.Roster(lines=lines)) == x1.Ok()
    # The roster that the file has is an older one: who put it back is told so, and nothing is opened.
    words = ["ip", "netns", "exec", namespace, sys.executable, "-m", "mediation.cli.main", "function", "egress",
             "--site", str(house.path)]  # fmt: skip
    ended = subprocess.run(words, capture_output=True, text=True, timeout=LIMIT_S, check=False)
    assert ended.returncode == 1
    assert "not a continuation of the roster that was held here" in ended.stderr
    founding.write(house.path / "keys", *lines)
    async with egress(house, namespace) as running:
        # Another ledger of the same size, with all its signatures: not the one that was seen.
        assert fork.tree.size == house.ledger.tree.size
        assert await refusal(running, other) == Check.PROOF_CONSISTENCY
        assert await refusal(running, first) == ""
        report = msgspec.to_builtins(await running.report())
        assert report["roster"]["changes"] == len(lines)
        assert report["unrecorded_stops"] == report["unrecorded_suspensions"] == 0
