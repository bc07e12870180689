"""`mediation witness init|add|run` as a person uses them, and the unit that starts it."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from mediation.core.ledger import cosignature
from tests.core.cosigning import LEDGER
from tests.witness.processes import MAIN, NAME, running
from tests.witness.test_witness import ask, client

UNIT = Path(__file__).resolve().parent.parent.parent / "config" / "systemd" / "mediation-witness.service"
EXPOSURE_AT_MOST = 1.5  # as of every unit of this project


def said(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([*MAIN, "witness", *arguments], capture_output=True, text=True, timeout=60, check=False)


async def test_from_nothing_to_a_cosignature(tmp_path: Path) -> None:
    folder = str(tmp_path / "w")
    made = said("init", folder, "--name", NAME)
    keys = made.stdout.splitlines()
    assert made.returncode == 0 and (tmp_path / "w" / "witness.pub").read_text() == made.stdout
    assert [cosignature.Verifier.parse(key).kind for key in keys] == [cosignature.ED25519_V1, cosignature.MLDSA44]
    assert (tmp_path / "w" / "witness.key").stat().st_mode & 0o777 == 0o600
    assert (tmp_path / "w").stat().st_mode & 0o777 == 0o700
    assert said("add", folder, str(LEDGER.verifier)).stdout == "LAB/ledger\n"
    for again in (said("init", folder, "--name", NAME), said("add", folder, str(LEDGER.verifier)),
                  said("add", folder, "nonsense"), said("init", folder + "2", "--name", "a b")):  # fmt: skip
        assert again.returncode == 1 and len(again.stderr.splitlines()) == 1
    with running(tmp_path / "w") as process:
        assert (await ask(client(keys, process.url), 7)).judgement.quorum
        assert process.stop() == 0
    assert said("run", folder, "--listen", "127.0.0.1:0", "--key", str(tmp_path / "w" / "logs")).returncode == 2


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="needs systemd-analyze")
def test_its_unit_is_confined() -> None:
    done = subprocess.run(["systemd-analyze", "security", "--offline=yes", "--no-pager", UNIT], capture_output=True,
                          text=True, check=True, timeout=60)  # fmt: skip
    (line,) = (line for line in done.stdout.splitlines() if "Overall exposure level" in line)
    assert float(line.rpartition(": ")[2].split()[0]) <= EXPOSURE_AT_MOST
