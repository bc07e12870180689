"""The verifier as one file, on a machine without the daemon; old libraries say what they could not check."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

from mediation.audit import notes, pack
from mediation.audit.verdict import ANOMALIES, CLEAN
from mediation.core.ledger import note
from tests.audit import exports as x
from tests.audit.alone import run
from tests.audit.exports import KEY, POLICY, Files, judge
from tests.core.authority import private

# --- ML-DSA-44 and old libraries --------------------------------------------------------------------------------------


def test_mldsa_cosignatures(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = x.Made(tmp_path / "ledger", signers=[*x.WITNESSES, x.MLDSA])
    files = made.files()
    whole = x.policy(*x.WITNESSES, x.MLDSA)
    assert judge(files, policy=whole).result == CLEAN
    monkeypatch.setattr(notes, "MLDSA44PublicKey", None)
    found = judge(files, policy=whole)
    assert found.result == ANOMALIES and "could not be checked" in found.findings.anomalies[0].what
    assert any("w2" in each and "ML-DSA-44" in each for each in found.not_checked)
    enough = judge(files, policy=x.policy(*x.WITNESSES, x.MLDSA, least="2"))
    assert enough.result == CLEAN and enough.not_checked  # two of three are enough, and what was not checked is said


# --- as one file, elsewhere -------------------------------------------------------------------------------------------


def test_on_a_machine_without_the_daemon(made: x.Made, files: Files, tmp_path: Path) -> None:
    for name, octets in (("export.tar", x.pack(files)), ("ledger.pub", KEY.encode()), ("policy", POLICY)):
        (tmp_path / name).write_bytes(octets)
    at = [str(tmp_path / name) for name in ("export.tar", "ledger.pub", "policy")]
    done = run(tmp_path, "verify", at[0], "--key", at[1], "--policy", at[2])
    assert (done.returncode, done.stderr) == (0, "") and "CLEAN" in done.stdout
    told_all: dict[str, Any] = json.loads(run(tmp_path, "verify", at[0], "--json").stdout)
    assert told_all["result"] == "clean" and told_all["ledger"]["size"] == made.ledger.size
    assert told_all["ledger"]["key_given"] is False and told_all["not_checked"]
    drawn = run(tmp_path, "sample", at[0], "--seed", x.SEED, "--number", "1")
    assert drawn.returncode == 0 and "certificate-signed CASE-" in drawn.stdout
    assert run(tmp_path, "sample", at[0], "--seed", "mine").returncode == 1
    assert run(tmp_path, "verify").returncode == 2
    assert run(tmp_path, "verify", "nowhere.tar").returncode == 2
    assert list((tmp_path / "elsewhere").iterdir()) == []  # it writes nothing
    stranger = note.Signer(x.ORIGIN, private(77)).verifier
    (tmp_path / "other.pub").write_text(str(stranger))
    refused = run(tmp_path, "verify", at[0], "--key", str(tmp_path / "other.pub"))
    assert refused.returncode == 1 and refused.stderr.startswith("audit: entry 0: checkpoint")


def test_the_system_s_own_python(files: Files, tmp_path: Path) -> None:
    """Debian's python3 with Debian's cryptography, which knows no ML-DSA: it says so and checks the rest."""
    python = Path("/usr/bin/python3")
    probe = [str(python), "-c", "import sys, cryptography; sys.exit(sys.version_info < (3, 11))"]
    if not python.exists() or subprocess.run(probe, capture_output=True, check=False).returncode:
        pytest.skip("no Debian python3 of 3.11 or later with python3-cryptography")
    (tmp_path / "export.tar").write_bytes(x.pack(files))
    (tmp_path / "audit.pyz").write_bytes(pack.packed())
    done = subprocess.run([str(python), "audit.pyz", "verify", "export.tar"], cwd=tmp_path, capture_output=True,
                          text=True, timeout=120, check=False, env={"PATH": os.defpath})  # fmt: skip
    assert done.returncode == 0 and "CLEAN" in done.stdout, done.stderr


def test_one_file_the_same_each_time(tmp_path: Path) -> None:
    first = pack.packed()
    for name in ("a.pyz", "b.pyz"):
        assert pack.main([str(tmp_path / name)]) == 0
        os.utime(Path(pack.__file__).parent / "page.py")
    assert (tmp_path / "a.pyz").read_bytes() == (tmp_path / "b.pyz").read_bytes() == first
