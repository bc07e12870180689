"""The durable-write module makes exactly the system calls that it says, in that order, and leaves nothing half done."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from mediation.runtime import durable

WATCHED = (
    "open", "close", "fsync", "fdatasync", "pwrite", "write", "ftruncate", "posix_fallocate", "rename", "unlink",
    "mkdir",
)  # fmt: skip


class Calls:
    """What the module asks of the kernel, as `name(file)`."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
        self.made: list[str] = []
        self.failing: dict[str, OSError] = {}
        self._folder = folder
        for name in WATCHED:
            monkeypatch.setattr(os, name, self._watch(name, getattr(os, name)))

    def _watch(self, name: str, real: Callable[..., Any]) -> Callable[..., Any]:
        def call(first: Any, *rest: Any, **named: Any) -> Any:
            path = Path(os.readlink(f"/proc/self/fd/{first}")) if isinstance(first, int) else Path(first)
            self.made.append(f"{name}({'.' if path == self._folder else path.name})")
            if error := self.failing.get(self.made[-1]):
                raise error
            return real(first, *rest, **named)

        return call


@pytest.fixture
def calls(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Calls]:
    yield Calls(monkeypatch, tmp_path)


FOLDER = ["open(.)", "fsync(.)", "close(.)"]


def test_replace(tmp_path: Path, calls: Calls) -> None:
    durable.replace(tmp_path / "file", b"one")
    new = ["open(file.new)", "pwrite(file.new)", "fsync(file.new)", "close(file.new)", "rename(file.new)"]
    assert calls.made == [*new, *FOLDER]
    durable.replace(tmp_path / "file", b"two")
    assert (tmp_path / "file").read_bytes() == b"two"


@pytest.mark.parametrize("step", ["pwrite(file.new)", "fsync(file.new)", "rename(file.new)"])
def test_a_replacement_that_fails_leaves_what_was_there(tmp_path: Path, calls: Calls, step: str) -> None:
    """Failed and not persisted."""
    durable.replace(tmp_path / "file", b"one")
    calls.failing[step] = OSError(errno.EIO, "input/output error")
    with pytest.raises(OSError, match="input/output"):
        durable.replace(tmp_path / "file", b"two")
    assert (tmp_path / "file").read_bytes() == b"one"
    calls.failing.clear()
    durable.replace(tmp_path / "file", b"three")
    assert (tmp_path / "file").read_bytes() == b"three"


def test_a_replacement_whose_name_is_not_synced_is_told_as_failed_but_is_whole(tmp_path: Path, calls: Calls) -> None:
    """Failed but persisted."""
    calls.failing["fsync(.)"] = OSError(errno.EIO, "input/output error")
    with pytest.raises(OSError, match="input/output"):
        durable.replace(tmp_path / "file", b"two")
    assert (tmp_path / "file").read_bytes() == b"two"


def test_replace_all_makes_each_folder_durable_once_and_after_all_names(tmp_path: Path, calls: Calls) -> None:
    (tmp_path / "a").mkdir()
    calls.made.clear()
    durable.replace_all([(tmp_path / "one", b"1"), (tmp_path / "two", b"2"), (tmp_path / "a" / "three", b"3")])
    written = [
        f"{call}({name}.new)" for name in ("one", "two", "three") for call in ("open", "pwrite", "fsync", "close")
    ]
    renamed = [f"rename({name}.new)" for name in ("one", "two", "three")]
    assert calls.made == [*written, *renamed, *FOLDER, "open(a)", "fsync(a)", "close(a)"]
    assert [(tmp_path / name).read_bytes() for name in ("one", "two", "a/three")] == [b"1", b"2", b"3"]


def test_append(tmp_path: Path, calls: Calls) -> None:
    durable.append(tmp_path / "file", b"one\n")
    assert calls.made == ["open(file)", "write(file)", "fsync(file)", "close(file)", *FOLDER]
    durable.append(tmp_path / "file", b"two\n")
    assert (tmp_path / "file").read_bytes() == b"one\ntwo\n"


def test_folders_are_made_durably_from_above(tmp_path: Path, calls: Calls) -> None:
    durable.make_folder(tmp_path / "a" / "b")
    assert calls.made == ["mkdir(a)", *FOLDER, "mkdir(b)", "open(a)", "fsync(a)", "close(a)"]
    calls.made.clear()
    durable.make_folder(tmp_path / "a" / "b")
    assert calls.made == []


def test_remove(tmp_path: Path, calls: Calls) -> None:
    (tmp_path / "file").touch()
    calls.made.clear()
    durable.remove(tmp_path / "file")
    assert calls.made == ["unlink(file)", *FOLDER]


def test_a_write_that_the_kernel_takes_in_pieces_is_finished(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = os.pwrite
    monkeypatch.setattr(os, "pwrite", lambda fd, octets, at: real(fd, bytes(octets[:3]), at))
    with (tmp_path / "file").open("wb") as file:
        durable.write(file.fileno(), b"0123456789", 2)
    assert (tmp_path / "file").read_bytes() == b"\0\x000123456789"
