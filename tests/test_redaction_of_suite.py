"""The search of the whole suite (tests/redaction.py) finds what is planted, wherever a test's daemon could leave it."""

from __future__ import annotations

import base64
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.search import Finder, subject_patterns

ROOT = Path(__file__).resolve().parent.parent
NUMBER = "+12125550147"
LIMIT_S = 120

SUITE = """
import os, subprocess, sys
import pytest
from mediation.runtime import config, durable
from tests.administration import site as sites

NUMBER, NATIONAL, BASE64, PACKED = {words!r}
SERVICE = [sys.executable, "-c", "import time; print(1, flush=True); time.sleep(60)", "mediation.cli.main", "run"]
SAYS = [sys.executable, "-c", f"print({{NATIONAL}})", "mediation.cli.main"]
FAILS = [sys.executable, "-c", f"raise SystemExit('{{NATIONAL}} is wrong')", "mediation.cli.main"]


def ordered(folder):
    site = sites.make(folder)
    sites.filing(site, "CASE-1", subjects=("tel:" + NUMBER,))
    return site


@pytest.fixture(scope="module")
def shared(tmp_path_factory):
    return ordered(tmp_path_factory.mktemp("shared"))


def test_clean(tmp_path, shared):
    site = ordered(tmp_path)
    (tmp_path / "capture").write_text(NUMBER)  # the test's own
    (site.lab_dir / "order.json").write_text(NUMBER)  # a person's own
    subprocess.run([*SAYS, "show"], capture_output=True)  # what was asked for
    process = subprocess.Popen([*SERVICE, "clean"], stdout=-1)
    process.stdout.read(1)
    process.kill()
    print("a test's own", NUMBER, file=sys.stderr)
"""
PLANTED = {
    "file": "(site.path / 'administrator' / 'store.sqlite').open('ab').write(BASE64)",
    "file_name": "(site.path / f'call-{NATIONAL}').touch()",
    "folder_name": "(site.path / NATIONAL).mkdir()",
    "written_beside": "durable.replace(tmp_path / 'spool', PACKED + bytes(1 << 20))",
    "log": 'print(\'{"event": "armed", "detail": "\' + NATIONAL + \'"}\', file=sys.stderr)',
    "command_line": "process = subprocess.Popen([*SERVICE, NUMBER], stdout=-1); process.stdout.read(1); process.kill()",
    "environment": "process = subprocess.Popen(SERVICE, stdout=-1, env={'X': NUMBER}); process.stdout.read(1);"
    " process.kill()",
    "answer": "subprocess.run([*SAYS, 'status'], capture_output=True)",
    "complaint": "subprocess.run([*FAILS, 'order'], capture_output=True)",
}
AT_THE_END = {
    "shared": "(config.load(shared.path).path / 'ledger' / 'x').write_bytes(BASE64)",
    "temporary": "open(os.environ['TMPDIR'] + '/x', 'w').write(NATIONAL)",
}


def suite(folder: Path, **planted: str) -> subprocess.CompletedProcess[str]:
    """Runs a small suite of its own, with a test for each thing that is planted."""
    packed = subject_patterns(f"tel:{NUMBER}")["BCD"]
    text = SUITE.format(words=(NUMBER, NUMBER[2:], base64.b64encode(b"x" + NUMBER.encode()), packed))
    for name, act in planted.items():
        text += f"\n\ndef test_{name}(tmp_path, shared):\n    site = ordered(tmp_path)\n    {act}\n"
    (folder / "conftest.py").write_text("from tests.conftest import _temporary, pytest_configure\n")
    (folder / "test_it.py").write_text(text)
    return subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-rA", "-c", os.devnull, "--rootdir", folder, "-p", "no:cacheprovider",
         "--basetemp", folder / "temporary", folder],
        cwd=folder, env={**os.environ, "PYTHONPATH": str(ROOT)}, capture_output=True, text=True, timeout=LIMIT_S,
        check=False,
    )  # fmt: skip


def test_what_is_planted_fails_the_suite(tmp_path: Path) -> None:
    done = suite(tmp_path, **PLANTED, **AT_THE_END)
    assert done.returncode == pytest.ExitCode.TESTS_FAILED, done.stdout
    failed = {line.split()[1].rpartition("test_it.py::test_")[2] for line in done.stdout.splitlines()
              if line.startswith("ERROR ")}  # fmt: skip
    assert failed == set(PLANTED), done.stdout
    said = [line for line in done.stdout.splitlines() if line.startswith("redaction: ")]
    findings = len(PLANTED) + len(AT_THE_END)
    assert said[0].endswith(f"for 1 identities of subjects: {findings} findings"), done.stdout
    assert len(said) == 1 + len(AT_THE_END), done.stdout
    assert not any(NUMBER[2:] in line for line in said)


@pytest.mark.parametrize("planted", [None, "temporary"])
def test_the_session_fails_for_what_no_test_is_blamed_for(planted: str | None, tmp_path: Path) -> None:
    done = suite(tmp_path, **({planted: AT_THE_END[planted]} if planted else {}))
    assert done.returncode == (pytest.ExitCode.TESTS_FAILED if planted else 0), done.stdout
    assert f"{int(bool(planted))} findings" in done.stdout


@pytest.mark.parametrize(
    ("subject", "written", "found"),
    [
        ("tel:+1-212-555-0147", "212-555-0147", True),
        ("sip:+12125550147@example.net", "2125550147", True),
        ("tel:5550147;phone-context=x", " 5550147 ", True),
        ("tel:5550147;phone-context=x", "a5550147f", False),
        ("tel:911", "911", False),
        ("sip:alice@example.com;user=phone", "ALICE@EXAMPLE.COM", True),
        ("sip:alice@example.com", "alice", False),
    ],
)
def test_what_counts_as_a_subject(subject: str, written: str, *, found: bool) -> None:
    assert bool(Finder([subject]).find(written.encode())) == found


@pytest.mark.parametrize("name", subject_patterns(f"tel:{NUMBER}"))
def test_each_spelling_is_found(name: str) -> None:
    octets = subject_patterns(f"tel:{NUMBER}")[name]
    assert name in Finder([f"tel:{NUMBER}"]).find(os.urandom(9973) + octets + os.urandom(31))
