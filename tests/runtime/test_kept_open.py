"""What a function remembers of stops: on the disk whole, under a name that is on the disk, and in no other file."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from mediation.access.tasking import StoppedTasks
from mediation.core.errors import ConfigurationError
from mediation.runtime import durable
from mediation.runtime.clock import HighWater
from mediation.runtime.remembered import Remembered
from mediation.runtime.suspended import SuspendedTasks

KEY = bytes(range(32))
OPENED: dict[str, Callable[[Path], Any]] = {
    "iap.stopped": lambda folder: StoppedTasks(folder / "iap.stopped", KEY),
    "iap.suspended": lambda folder: SuspendedTasks(folder / "iap.suspended", KEY),
    "iap.clock": lambda folder: HighWater(folder / "iap.clock"),
    "iap.revoked": lambda folder: Remembered(folder, "iap", KEY),
    "iap.roster": lambda folder: Remembered(folder, "iap", KEY),
}
DEALT_OUT_ANEW = {"iap.stopped", "iap.suspended", "iap.revoked"}  # another file at each start (runtime/slots.py)


@pytest.mark.parametrize("name", OPENED)
def test_its_name_is_durable_before_anything_is_said_to_be(
    tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[bool] = []
    real = durable.sync_folder

    def watched(folder: Path) -> None:
        assert folder == tmp_path
        seen.append((folder / name).exists())
        real(folder)

    monkeypatch.setattr(durable, "sync_folder", watched)
    OPENED[name](tmp_path)
    assert any(seen) and (tmp_path / name).stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("name", sorted(DEALT_OUT_ANEW))
def test_a_symbolic_link_in_its_place_is_replaced(tmp_path: Path, name: str) -> None:
    other = tmp_path / "other"
    other.write_bytes(b"of somebody else")
    (tmp_path / name).symlink_to(other)
    OPENED[name](tmp_path)
    assert other.read_bytes() == b"of somebody else" and not (tmp_path / name).is_symlink()


@pytest.mark.parametrize("name", sorted(OPENED.keys() - DEALT_OUT_ANEW))
def test_a_symbolic_link_in_its_place_is_refused(tmp_path: Path, name: str) -> None:
    other = tmp_path / "other"
    other.write_bytes(b"of somebody else")
    (tmp_path / name).symlink_to(other)
    with pytest.raises(ConfigurationError, match="symbolic links"):
        OPENED[name](tmp_path)
    assert other.read_bytes() == b"of somebody else"


def test_a_write_that_is_cut_short_is_completed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A disk that is nearly full takes a part at the end of a page (write(2)), and has room again for the rest."""
    stopped = StoppedTasks(tmp_path / "stopped", KEY)
    suspended = SuspendedTasks(tmp_path / "suspended", KEY)
    real = os.pwrite
    monkeypatch.setattr(os, "pwrite", lambda fd, octets, at: real(fd, octets[:10], at))
    stopped.add(b"A" * 16)
    suspended.add(b"B" * 16, 7)
    assert StoppedTasks(tmp_path / "stopped", KEY).xids == {b"A" * 16}
    assert list(SuspendedTasks(tmp_path / "suspended", KEY)) == [(b"B" * 16, 7)]
