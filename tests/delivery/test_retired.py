"""What has ended is remembered for good."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from mediation.delivery.retired import Retired
from mediation.runtime import durable

KEY = bytes(range(32))


def test_all_are_there_after_a_restart(tmp_path: Path) -> None:
    path = tmp_path / "stopped"
    xids = [os.urandom(16) for _ in range(200)]
    for at in range(0, 200, 7):
        assert Retired(path, KEY).add(xids[at : at + 7])
    again = Retired(path, KEY)
    assert set(again) == set(xids)
    assert os.urandom(16) not in again


def test_none_is_lost_that_a_disk_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nor is its place given to another."""
    retired = Retired(tmp_path / "stopped", KEY)
    first, second = os.urandom(16), os.urandom(16)
    with monkeypatch.context() as patch:
        patch.setattr(durable, "write", lambda *_: (_ for _ in ()).throw(OSError(28, "full")))
        assert not retired.add([first])
        assert first in retired
        assert not retired.save()
    assert retired.failures == 2
    assert retired.add([second])
    assert set(Retired(tmp_path / "stopped", KEY)) == {first, second}
