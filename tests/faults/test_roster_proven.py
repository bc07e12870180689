"""The administrator's process fully compromised, and two executives with it: those who have left office, and those who
have not. The functions run as they are; whoever speaks to them here has the ledger's key and every executive's but
one, and not the witnesses'. Nobody whom they appoint arms anything before everybody can see it in the ledger; what they
end ends at once.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import trio

from mediation.core.authority import authorization
from mediation.core.authority.trust import Trust
from mediation.core.case import Proof, TaskRequest
from mediation.core.check import Check
from mediation.core.interface import x1
from tests.core import authority as a
from tests.core import founding as f
from tests.core.authority import NOW_NS, NOW_S
from tests.core.test_x1_roster import LEFT_S, TRUST, VOID, Ledger, appointing, former, of_ivan
from tests.faults.test_administrator_with_all_keys import COSIGNED, FUNCTIONS, function
from tests.faults.test_compromised_administrator import connect, write_site
from tests.faults.test_roster_everywhere import facts, tell

pytestmark = [
    pytest.mark.root,
    pytest.mark.skipif(os.geteuid() != 0, reason="needs root: packet sockets and nftables"),
]


@pytest.fixture
def namespace() -> Iterator[str]:
    name = f"rosterproven{os.getpid()}"
    if subprocess.run(["ip", "netns", "add", name], check=False, capture_output=True).returncode:
        pytest.skip("no network namespace here")
    yield name
    subprocess.run(["ip", "netns", "delete", name], check=True)


class Session:
    """With one function, until it is stopped."""

    def __init__(self, stream: trio.SocketStream) -> None:
        self.stream = stream

    async def check(self, request: x1.Request) -> str:
        answer = await tell(self.stream, request)
        return answer.check if isinstance(answer, x1.Refused) else ""

    async def arm(self, request: TaskRequest) -> str:
        return await self.check(x1.ActivateTask(request=request))

    async def prove(self, proof: Proof) -> str:
        return await self.check(x1.ProveRoster(first=1, proofs=(proof,)))

    async def report(self) -> tuple[int, int, int]:
        """Tasks, changes of the roster, those that may begin something."""
        answer = await tell(self.stream, x1.ReportStatus())
        assert isinstance(answer, x1.Ok) and answer.report is not None
        tasks, changes, _ = await facts(self.stream)
        return tasks, changes, answer.report["roster"]["changes_believed"]


@asynccontextmanager
async def session(name: str, folder: Path, namespace: str) -> AsyncIterator[Session]:
    with function(name, folder, NOW_NS, namespace):
        async with await connect(folder, name) as stream:
            yield Session(stream)


def orders(ledger: Ledger) -> tuple[TaskRequest, TaskRequest]:
    """One that the intruder activates, and one by the persons of the founding."""
    return of_ivan(ledger), a.good(ledger=ledger, case="CASE-7", nonce="0c" * 16)


def forged(ledger: Ledger, index: int) -> dict[str, Proof]:
    """Proofs of the entry under heads that no witness has seen."""
    shown = ledger.shown(index)
    bare = shown.checkpoint.rpartition("\u2014 test/witness")[0]
    return {how: replaced(shown, cosign(bare)) for how, cosign in COSIGNED.items()}


def replaced(shown: Proof, checkpoint: str) -> Proof:
    return Proof(index=shown.index, record=shown.record, salt=shown.salt, path=shown.path, checkpoint=checkpoint)


@pytest.mark.parametrize("name", FUNCTIONS)
async def test_whom_executives_appoint_arms_nothing_unseen(tmp_path: Path, namespace: str, name: str) -> None:
    write_site(tmp_path, TRUST)
    ledger, told = Ledger(), appointing(NOW_S - 100)
    index = ledger.changed(told)
    by_ivan, honest = orders(ledger)
    async with session(name, tmp_path, namespace) as site:
        assert await site.check(x1.Roster(lines=told)) == ""
        assert await site.arm(by_ivan) == Check.KEY_UNKNOWN
        for how, proof in forged(ledger, index).items():
            assert await site.prove(proof) == Check.PROOF_WITNESSES, how
        assert await site.arm(by_ivan) == Check.KEY_UNKNOWN
        assert await site.arm(honest) == ""
        assert await site.report() == (1, 2, 1)
        assert await site.prove(ledger.shown(index)) == ""
        assert await site.arm(by_ivan) == ""
        assert await site.report() == (2, 2, 2)
    # No proof is remembered, and none is found in a file: neither where the roster stands in the file now …
    f.write(tmp_path / "keys", *told)
    async with session(name, tmp_path, namespace) as site:
        assert await site.report() == (0, 2, 1)
        assert await site.arm(by_ivan) == Check.KEY_UNKNOWN
        assert await site.arm(honest) == ""
        assert await site.prove(ledger.shown(index)) == ""
        assert await site.arm(by_ivan) == ""
    # … nor by a function that remembers nothing at all.
    for file in tmp_path.glob(f"*/{name}.roster"):
        file.unlink()
    async with session(name, tmp_path, namespace) as site:
        assert await site.report() == (0, 2, 1)
        assert await site.arm(by_ivan) == Check.KEY_UNKNOWN


@pytest.mark.parametrize("name", FUNCTIONS)
async def test_who_has_left_office_can_only_stop(tmp_path: Path, namespace: str, name: str) -> None:
    """Dated back to their time in office, and entered now with a record that says what they like."""
    trust: Trust = former()
    write_site(tmp_path, trust)
    ledger, told = Ledger(), appointing(LEFT_S - 5, VOID, held=trust)
    running = a.good(ledger=ledger, case="CASE-7", nonce="0c" * 16)
    index = ledger.changed(told, time_us=(LEFT_S - 4) * 1_000_000)
    by_ivan = of_ivan(ledger)
    before = ledger.shown(index, LEFT_S - 1)  # what no witness signs: his clock runs
    async with session(name, tmp_path, namespace) as site:
        assert await site.arm(running) == ""
        assert await site.report() == (1, 1, 1)
        assert await site.check(x1.Roster(lines=told)) == ""
        assert await site.report() == (0, 2, 1), "what it ends, it ends at once"
        for _ in range(2):
            assert await site.prove(ledger.shown(index)) == Check.ROSTER_DATES
            assert await site.arm(by_ivan) == Check.KEY_UNKNOWN
        assert await site.report() == (0, 2, 1)
    f.write(tmp_path / "keys", *told)
    async with session(name, tmp_path, namespace) as site:
        assert await site.check(x1.Roster(lines=told)) == ""
        assert await site.prove(ledger.shown(index)) == Check.ROSTER_DATES
        assert await site.arm(by_ivan) == Check.KEY_UNKNOWN
        # The same change, had it been there for everybody to see in their time, counts: nobody removes a file for it.
        assert await site.prove(before) == ""
        assert await site.report() == (0, 2, 2)
    assert authorization.xid(by_ivan.carrier).hex() not in (tmp_path / "log" / f"{name}.log").read_text()
