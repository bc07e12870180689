"""SEC-4: what the daemon runs is in the ledger at the start, and hourly; changed files are named, activations wait."""

from __future__ import annotations

import hashlib
import os
import shutil
from pathlib import Path

import pytest

from mediation.administration.keys import ledger_files
from mediation.administration.ledger import verify
from mediation.administration.records.code import CodeWatch
from mediation.core.case import Act
from mediation.core.check import Check
from mediation.core.ledger import entry
from mediation.runtime.identity import PACKAGE, Identity
from mediation.runtime.keys import read_verifier
from tests.administration.site import Desk, act, filing, make

FILES = {"one.py": "a = 1\n", "sub/two.py": "b = 2\n", "access/tap.bpf.o": "object", "sub/three.so": "library"}


@pytest.fixture
def package(tmp_path: Path) -> Path:
    for name, text in FILES.items():
        path = tmp_path / "package" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return tmp_path / "package"


def watched(desk: Desk, package: Path) -> CodeWatch:
    watch = CodeWatch(desk.site, desk.orders, lambda: desk.now_ns, Identity(desk.site, package))
    watch.started()
    return watch


def identities(desk: Desk) -> list[entry.CodeIdentity]:
    found: list[entry.CodeIdentity] = []
    verify.examine(
        ledger_files(desk.site), read_verifier(desk.site.keys_dir),
        on_record=lambda _, record: found.append(record) if isinstance(record, entry.CodeIdentity) else None,
    )  # fmt: skip
    return found


def test_the_manifest_is_what_sha256sum_would_print(tmp_path: Path, package: Path) -> None:
    desk = Desk(make(tmp_path))
    found = Identity(desk.site, package)
    lines = "".join(f"{hashlib.sha256(FILES[name].encode()).hexdigest()}  {name}\n" for name in sorted(FILES))
    assert found.code_sha256 == hashlib.sha256(lines.encode()).hexdigest()
    adapter = f"{hashlib.sha256(b'object').hexdigest()}  access/tap.bpf.o\n"
    assert found.adapters_sha256 == hashlib.sha256(adapter.encode()).hexdigest()


def test_the_installed_package_is_whole_and_unchanged(tmp_path: Path) -> None:
    found = Identity(Desk(make(tmp_path)).site)
    assert found.changed() == ()
    assert (PACKAGE / "runtime" / "identity.py").exists()


@pytest.mark.parametrize("name", ["one.py", "sub/two.py", "access/tap.bpf.o", "sub/three.so", "site:config.toml"])
def test_a_changed_file_is_named_and_activations_wait_until_the_restart(
    tmp_path: Path, package: Path, name: str
) -> None:
    desk = Desk(make(tmp_path))
    watched(desk, package)
    (first,) = identities(desk)
    assert desk.submit(filing(desk.site, "CASE-1"))[0].check == ""
    waiting = filing(desk.site, "CASE-2", activate=False)
    assert desk.submit(waiting)[0].check == ""
    path = desk.site.path / name.removeprefix("site:") if name.startswith("site:") else package / name
    kept = path.read_bytes()
    path.write_bytes(kept + b"\n# another\n")
    desk.now_ns += 1_000_000_000
    assert desk.submit(filing(desk.site, "CASE-3"))[0].check == Check.CODE_IDENTITY
    assert desk.perform(act(desk.site, waiting.carrier, "CASE-2"))[0].check == Check.CODE_IDENTITY
    assert identities(desk)[-1].changed == (name,)
    assert desk.perform(act(desk.site, desk.order("CASE-1").carrier, "CASE-1", 2, Act.DEACTIVATE))[0].check == ""

    path.write_bytes(kept)  # another code may have run in between: only a restart clears it
    desk.now_ns += 1_000_000_000
    assert desk.submit(filing(desk.site, "CASE-4"))[0].check == Check.CODE_IDENTITY
    path.write_bytes(kept + b"\n# another\n")
    desk.restart()
    watched(desk, package)
    assert desk.submit(filing(desk.site, "CASE-5"))[0].check == ""
    last = identities(desk)[-1]
    assert last.changed == ()
    assert (last.code_sha256, last.config_sha256) != (first.code_sha256, first.config_sha256)


def test_a_new_file_and_a_missing_one_are_changes(tmp_path: Path, package: Path) -> None:
    found = Identity(Desk(make(tmp_path)).site, package)
    (package / "four.py").write_text("")
    (package / "one.py").unlink()
    assert found.changed() == ("four.py", "one.py")


def test_a_folder_that_has_gone_is_told_by_its_files(tmp_path: Path, package: Path) -> None:
    folder = package / "deep"
    folder.mkdir()
    (folder / "five.py").write_text("")
    found = Identity(Desk(make(tmp_path)).site, package)
    assert found.changed() == ()
    shutil.rmtree(folder)
    assert found.changed() == ("deep/five.py",)


def test_a_file_with_its_old_times_and_length_is_found_all_the_same(tmp_path: Path, package: Path) -> None:
    found = Identity(Desk(make(tmp_path)).site, package)
    path = package / "one.py"
    before = path.stat()
    path.write_text("a = 2\n")
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert found.changed() == ("one.py",)


def test_a_file_that_was_only_touched_or_copied_over_itself_has_not_changed(tmp_path: Path, package: Path) -> None:
    found = Identity(Desk(make(tmp_path)).site, package)
    (package / "one.py").touch()
    shutil.copy(package / "sub" / "two.py", package / "copy")
    os.replace(package / "copy", package / "sub" / "two.py")
    assert found.changed() == ()
