"""The auditor's commands on a lab site, and the control socket of a real administrator process (SEC-14, 15, 17, 18)."""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import trio

from mediation.administration.keys import ledger_files
from mediation.administration.ledger import verify
from mediation.administration.persons.gate import FAILED_ON_CONNECTION
from mediation.core.interface import control
from mediation.core.interface.control import Signed, Submit
from mediation.core.ledger import entry
from mediation.runtime import sockets
from mediation.runtime.config import Site
from mediation.runtime.keys import read_verifier
from tests.administration import site as s
from tests.administration.peers import Stage, ask, command, mediation, staged
from tests.audit.alone import run


@pytest.fixture
async def stage(tmp_path: Path) -> AsyncIterator[Stage]:
    async with staged(tmp_path, s.make) as made:
        await made.start(made.mediator, made.iap)
        await made.run()
        yield made


def records(site: Site, kind: type[entry.Record]) -> list[Any]:
    found: list[entry.Record] = []
    folder = ledger_files(site)
    verify.examine(folder, read_verifier(site.keys_dir), on_record=lambda _, each: found.append(each)).raise_first()
    return [each for each in found if isinstance(each, kind)]


def done(*words: str) -> str:
    result = command(*words)
    assert result.returncode == 0, result.stderr
    return result.stdout


async def test_an_audit_from_beginning_to_end(stage: Stage, tmp_path: Path) -> None:
    """Seed, order, export, verifier and sample, beside the running administrator."""
    at = ("--site", str(stage.site.path))
    seed, out = str(tmp_path / "seed"), str(tmp_path / "export.tar")
    committed = await mediation("audit", "seed", *at, "--out", seed)
    assert committed.returncode == 0, committed.stderr
    await ask(stage.site, Submit(filings=(s.filing(stage.site), s.filing(stage.site, "CASE-2"))))
    assert (await mediation("case", "list", *at, "--reason", "monthly audit")).returncode == 0
    exported = await mediation("ledger", "export", *at, "--out", out)
    assert (exported.returncode, exported.stdout) == (0, "")
    assert exported.stderr == f"export.tar: SHA-256 {hashlib.sha256(Path(out).read_bytes()).hexdigest()}\n"
    assert Path(out).stat().st_mode & 0o777 == 0o600
    assert [(each.what, each.reason) for each in records(stage.site, entry.CaseRead)] == [
        ("list", "monthly audit"), ("export", "lab"),
    ]  # fmt: skip
    key = str(stage.site.keys_dir / "ledger.pub")
    said = json.loads(run(tmp_path, "verify", out, "--key", key, "--json").stdout)
    assert said["forged"] == [] and said["first_bad"] is None
    assert [each["reason"] for each in said["readings"]] == ["monthly audit", "lab"]
    assert said["kinds"]["order-filed"] == 2
    drawn = await mediation("audit", "sample", out, "--seed", seed, "--number", "1", "--key", key)
    assert re.fullmatch(r"[0-9]+ (order-filed|certificate-signed) CASE-[12]\n", drawn.stdout), drawn.stderr
    assert (await mediation("audit", "verify", out, "--key", key)).stdout.startswith("AUDIT OF THE LEDGER LAB/")
    assert "2125550100" not in Path(out).read_bytes().decode("latin-1")


def test_an_export_with_chosen_openings(tmp_path: Path) -> None:
    site = str(tmp_path / "site")
    done("init", site, "--lab")
    done("lab", "order", "--site", site, "--case", "CASE-1", "--target", "tel:+12125550100", "--authority", "title3")
    out = str(tmp_path / "partial.tar")
    done("ledger", "export", "--site", site, "--out", out, "--open", "command-accepted", "--reason", "a question")
    told = json.loads(run(tmp_path, "verify", out, "--json").stdout)
    assert told["forged"] == [] and told["kinds"].get("order-filed") is None and told["kinds"]["command-accepted"] == 1
    assert told["entries"]["withheld"] >= 2
    partial = command("ledger", "verify", "--export", out, "--key", str(Path(site) / "keys" / "ledger.pub"))
    assert partial.returncode == 1 and "offline verifier" in partial.stderr
    assert command("ledger", "export", "--site", site, "--out", out).returncode == 1  # never overwrites
    wrong = command("ledger", "export", "--site", site, "--out", f"{out}2", "--open", "subjects")
    assert wrong.returncode == 2


async def test_a_honey_case_at_a_site(stage: Stage) -> None:
    """The alarm stands in the ledger when the reader has his answer: that is at once, not within ten seconds."""
    at = ("--site", str(stage.site.path))
    planted = await mediation("audit", "honey", "26-M-99", "--agency", "DEA-SW", "--authority", "title3", *at)
    assert (planted.returncode, planted.stdout) == (0, ""), planted.stderr
    shown = await mediation("case", "show", "26-M-99", *at, "--reason", "curious")
    assert shown.returncode == 0 and json.loads(shown.stdout)["state"] == "active"
    assert shown.stderr.startswith("order 26-M-99: active  LAB\n")  # as one that was ordered
    alarms = records(stage.site, entry.Alarm)
    assert [(each.alarm, each.case) for each in alarms] == [("honey-case", "26-M-99")]
    assert '"alarm": "honey-case"' in stage.said() or '"alarm":"honey-case"' in stage.said()
    assert stage.events() == []  # nothing was armed


async def test_a_guesser_is_thrown_out_and_named_by_uid(stage: Stage) -> None:
    lines = control.encode(Signed(envelope="a.b.c")) * (FAILED_ON_CONNECTION + 3)
    answers = b""
    async with await sockets.connect(stage.site.run_dir, "administrator.control") as stream:
        await stream.send_all(lines)
        with trio.fail_after(60):
            try:
                while octets := await stream.receive_some(65_536):
                    answers += octets
            except trio.BrokenResourceError:
                pass  # it closed with our lines unread
    said = answers.splitlines()
    assert len(said) == FAILED_ON_CONNECTION and len(set(said)) == 1
    refused = records(stage.site, entry.Refused)
    assert {(each.check, each.uid) for each in refused} == {("structure", os.getuid())}
    assert [each.alarm for each in records(stage.site, entry.Alarm)] == ["authentication"]
    assert (await mediation("case", "list", "--site", str(stage.site.path))).returncode == 0


async def test_no_control_over_a_network(stage: Stage) -> None:
    """SEC-15: the administrator's process listens on Unix sockets alone."""
    assert stage.administrator is not None
    pid = stage.administrator.pid
    assert (await mediation("case", "list", "--site", str(stage.site.path))).returncode == 0
    held = set()
    for descriptor in Path(f"/proc/{pid}/fd").iterdir():
        try:
            held.add(os.readlink(descriptor))
        except OSError:
            continue  # closed meanwhile
    inodes = {name[8:-1] for name in held if name.startswith("socket:[")}
    unix = {line.split()[6] for line in Path(f"/proc/{pid}/net/unix").read_text().splitlines()[1:]}
    assert inodes & unix, "the test sees the control socket"
    for table in ("tcp", "tcp6", "udp", "udp6", "raw", "raw6", "packet", "netlink"):
        path = Path(f"/proc/{pid}/net/{table}")
        lines = path.read_text().splitlines()[1:] if path.exists() else []
        assert not [line for line in lines if inodes & set(line.split())], table


@pytest.mark.parametrize("text", ["bind", "listen"])
def test_no_source_of_the_administration_listens_elsewhere(text: str) -> None:
    """SEC-15, the same by reading: whoever listens, does it in runtime/sockets.py, on a path."""
    import mediation.administration

    folder = Path(mediation.administration.__file__).parent
    calls = re.compile(rf"\b(?:sockets?|sock|server)\.{text}\(")
    found = {
        path.name: line.strip()
        for path in folder.glob("*.py")
        for line in path.read_text().splitlines()
        if calls.search(line)
    }
    assert all(re.search(r"sockets\.listen\((self\._)?site\.run_dir", line) for line in found.values()), found
