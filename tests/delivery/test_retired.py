"""What has ended is remembered for good, and the file does not tell how many."""

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


def test_one_or_sixty_four_are_the_same_to_a_thief(tmp_path: Path) -> None:
    sizes = []
    for count in (0, 1, 30, 64, 65):
        path = tmp_path / str(count)
        Retired(path, KEY).add([os.urandom(16) for _ in range(count)])
        octets = path.read_bytes()
        sizes.append(len(octets))
        assert len({octets[at : at + 16] for at in range(0, len(octets), 16)}) == len(octets) // 16
    assert sizes == [1024, 1024, 1024, 1024, 4096]


def test_a_slot_that_is_taken_is_not_given_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nor is one lost that a disk refused."""
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
