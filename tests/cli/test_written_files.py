"""What the commands leave on a person's own machine: files, what stands on command lines, what a terminal shows."""

from __future__ import annotations

import json
import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from mediation.administration import lab
from mediation.administration.persons import roster
from mediation.cli import changes, person
from mediation.cli.options import write_new
from mediation.core.authority.roster import Appoint
from mediation.core.case import Role
from mediation.core.errors import ConfigurationError
from mediation.runtime import config
from tests.administration import site as s

SUBJECT = "tel:+12125550100"


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_a_draft_is_its_makers_alone_and_no_subject_stands_on_a_command_line(tmp_path: Path) -> None:
    site = s.make(tmp_path).path
    destination = lab.destination(config.load(site))
    document, draft = tmp_path / "order.pdf", tmp_path / "draft"
    document.write_bytes(b"an order")
    words = [
        "order", "draft", "--site", site, "--case", "26-M-17", "--target", "-", "--authority", "pen-register",
        "--agency", lab.AGENCY, "--host", destination.host, "--port", destination.port, "--certificate-sha256",
        destination.certificate_sha256, "--court", "Court", "--judge", "J. Doe", "--officer", "P. Roe", "--document",
        document, "--start", "now", "--end", "+2h", "--out", draft,
    ]  # fmt: skip
    done = subprocess.run(
        [sys.executable, "-m", "mediation.cli.main", *map(str, words)], input=f"{SUBJECT}\nsip:bob@example.org\n",
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert json.loads(draft.read_text())["subjects"] == [SUBJECT, "sip:bob@example.org"]
    assert mode(draft) == 0o600


def test_a_new_file_is_nobody_elses_at_any_moment_and_takes_no_others_place(tmp_path: Path) -> None:
    path = tmp_path / "new"
    before = os.umask(0)
    try:
        write_new(path, b"\xff")
    finally:
        os.umask(before)
    assert (mode(path), path.read_bytes()) == (0o600, b"\xff")
    (tmp_path / "link").symlink_to(tmp_path / "elsewhere")
    for taken in (path, tmp_path / "link"):
        with pytest.raises(ConfigurationError):
            write_new(taken, "text")
    assert not (tmp_path / "elsewhere").exists()


@pytest.mark.parametrize("trick", ["\N{RIGHT-TO-LEFT OVERRIDE}", "\x9b2K", "\N{ZERO WIDTH SPACE}", "\x1b[2K", "\n"])
def test_who_approves_a_change_reads_it_as_it_is(tmp_path: Path, trick: str) -> None:
    """A drafting machine that somebody took over chooses a name that has a terminal hide or turn what stands there."""
    site = s.make(tmp_path)
    held = person._open(site.path)[1]
    appointed = Appoint(
        person="eve", name=f"Eve{trick}", role=Role.OFFICER, function="x", from_s=0, to_s=9, document_sha256="00" * 32
    )
    lines = changes.words(roster.read_draft(roster.draft(held, [appointed], 1)))
    assert len(lines) == 6 and "eve" in lines[1] and "officer" in lines[2]
    assert all(line.isprintable() for line in lines)
