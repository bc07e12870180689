"""The administrator starts on a full disk: it begins nothing, it stops what runs, it says so, and enters it later."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from mediation.core.errors import MediationError
from mediation.core.interface.control import Perform, Report, Results, Revoke, Status, Submit
from tests.administration import site as s
from tests.administration.peers import ask, staged
from tests.administration.site import kinds

pytestmark = [
    pytest.mark.root,
    pytest.mark.skipif(os.geteuid() != 0, reason="needs root: a file system of its own is mounted"),
]
SIZE_MIB = 24


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A file system that can be filled."""
    folder = tmp_path / "disk"
    folder.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={SIZE_MIB}m", "tmpfs", str(folder)], check=True)
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


def fill(folder: Path, *logs: Path) -> Path:
    """Also what is left of the last page of each log, where some lines would still find room."""
    path = folder / "filled"
    with path.open("wb", buffering=0) as file, pytest.raises(OSError, match="No space left"):
        while True:
            file.write(bytes(4_096))
    for log in logs:
        with log.open("ab", buffering=0) as file, pytest.raises(OSError, match="No space left"):
            while True:
                file.write(b"\n")
    return path


@pytest.mark.parametrize("how", ["ended", "killed"])
async def test_starts_and_stops_what_runs(disk: Path, how: str) -> None:
    async with staged(disk, s.make) as stage:
        await stage.start(stage.mediator, stage.iap)
        filed, later = s.filing(stage.site), s.filing(stage.site, "CASE-2", activate=False)
        await stage.run()
        assert isinstance(await ask(stage.site, Submit(filings=(filed, later))), Results)
        await stage.iap.until(lambda: len(stage.iap.table) == 1)
        await (stage.kill() if how == "killed" else stage.terminate())
        before = kinds(stage.site)
        filled = fill(disk, stage.site.log_dir / "administrator.log")
        await stage.run()
        await stage.iap.until(lambda: len(stage.iap.table) == 1)  # what is in the ledger goes on
        answer = await ask(stage.site, Status())
        assert isinstance(answer, Report) and answer.counters["alarm_disk-full"] == 1
        for begun in (
            Submit(filings=(s.filing(stage.site, "CASE-3"),)),
            Perform(commands=(s.act(stage.site, later.carrier, "CASE-2"),)),
        ):
            with pytest.raises(MediationError):
                await ask(stage.site, begun)
        answer = await ask(stage.site, Revoke(revocations=(s.revocation(stage.site, filed),)))
        assert isinstance(answer, Results) and answer.results[0].check == ""
        await stage.iap.until(lambda: not len(stage.iap.table))
        await stage.mediator.until(lambda: not len(stage.mediator.table))
        filled.unlink()  # and all that was owed is entered with the next that is
        assert isinstance(await ask(stage.site, Perform(commands=("rubbish",))), Results)
        entered = kinds(stage.site)[len(before) :]
        assert {"keys-loaded", "code-identity", "revoked", "alarm", "refused"} <= set(entered)
        assert set(entered) & {"order-filed", "command-accepted"} == set()
        assert await stage.terminate() == 0
        await stage.run()
        assert stage.iap.cases() == set()
