"""What a power failure or a full disk cut short at the end of the ledger's histories is no edit, and stops nothing."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from mediation.administration.ledger.tiles import HISTORY, WITNESSED_HISTORY
from mediation.core.case import State
from mediation.runtime import durable
from tests.administration import site as s
from tests.administration.site import Desk


@pytest.mark.parametrize("name", [HISTORY, WITNESSED_HISTORY])
def test_starts_and_goes_on_after_a_torn_line(tmp_path: Path, name: str) -> None:
    desk = Desk(s.make(tmp_path))
    filed = s.filing(desk.site)
    desk.submit(filed)
    desk.orders.close()
    history = desk.site.ledger_dir / name
    whole = history.read_bytes()
    history.write_bytes(whole[:-40])
    again = Desk(desk.site, desk.now_ns)
    assert again.state() is State.ACTIVE
    assert again.revoke(s.revocation(desk.site, filed))[0].check == ""
    again.restart()
    assert again.state() is State.REVOKED
    assert s.kinds(desk.site).count("revoked") == 1
    assert all(line.endswith(b'\\n"\n') for line in history.read_bytes().splitlines(keepends=True))


def test_a_line_that_a_full_disk_took_a_part_of(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """And of which not even that part can be taken back."""
    desk = Desk(s.make(tmp_path))
    filed = s.filing(desk.site)
    desk.submit(filed)
    write = os.write
    torn: list[int] = []

    def part(descriptor: int, octets: memoryview) -> int:
        if torn or not os.readlink(f"/proc/self/fd/{descriptor}").endswith(HISTORY):
            return write(descriptor, octets)
        torn.append(write(descriptor, octets[:50]))
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "write", part)
        patch.setattr(os, "ftruncate", lambda *_: None)
        desk.submit(s.filing(desk.site, "CASE-2"))
    assert torn
    assert desk.revoke(s.revocation(desk.site, filed))[0].check == ""
    desk.restart()
    assert desk.state() is State.REVOKED
    assert s.kinds(desk.site).count("order-filed") == 2


def test_what_could_not_be_appended_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "lines"
    durable.append(path, b"first\n")
    write = os.write

    def part(descriptor: int, octets: memoryview) -> int:
        if len(octets) < 4:
            raise OSError(28, "No space left on device")
        return write(descriptor, octets[:4])

    with monkeypatch.context() as patch:
        patch.setattr(os, "write", part)
        for append in (durable.append, durable.append_line):
            with pytest.raises(OSError, match="No space"):
                append(path, b"second\n")
            assert path.read_bytes() == b"first\n"


@pytest.mark.parametrize("before", [b"", b"first\n", b"first\nsecond\n" + b"x" * 5_000 + b"\n"])
@pytest.mark.parametrize("torn", [b"", b"t", b"t" * 4_096, b"\0" * 9_000])
def test_a_line_after_a_torn_one(tmp_path: Path, before: bytes, torn: bytes) -> None:
    path = tmp_path / "lines"
    path.write_bytes(before + torn)
    durable.append_line(path, b"last\n")
    assert path.read_bytes() == before + b"last\n"
