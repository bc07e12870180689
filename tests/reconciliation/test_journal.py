"""The reconciler's own log: signed, chained, and compared with the ledger."""

from __future__ import annotations

from pathlib import Path

import pytest

from mediation.administration import making
from mediation.core.errors import ConfigurationError, LedgerError
from mediation.core.records.incident import Sight, What
from mediation.reconciliation import journal, reconciler
from mediation.reconciliation.journal import CLEAN, SEEN, START, Journal, Line
from mediation.runtime.config import Site

PHANTOM = Sight(what=What.PACKET_SOCKET, interface="eth9", protocol=3, uid=0, inode=7)


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return making.make(tmp_path / "site", is_lab=True)


def line(kind: str, time_us: int = 0, *sights: Sight) -> Line:
    return Line(number=0, time_us=time_us, previous="", kind=kind, sights=sights, beyond=len(sights))


def path_of(site: Site) -> Path:
    return site.reconciler_dir / journal.FILE


def read(site: Site) -> list[Line]:
    return [each for each, _ in journal.read(path_of(site), journal.read_verifier(site))]


def write(site: Site, *lines: Line) -> Journal:
    log = Journal(site)
    for each in lines:
        log.append(each)
    return log


def test_lines_are_read_back_and_go_on_after_a_restart(site: Site) -> None:
    head = write(site, line(START), line(SEEN, 5, PHANTOM)).head
    again = Journal(site)
    assert again.head == head
    again.append(line(CLEAN, 9))
    assert [(each.number, each.kind, each.sights) for each in read(site)] == [
        (0, START, ()), (1, SEEN, (PHANTOM,)), (2, CLEAN, ()),
    ]  # fmt: skip


def test_a_link_in_the_logs_place_has_nothing_else_cut(site: Site, tmp_path: Path) -> None:
    """Whoever took over the reconciler's user must not have a start by root cut another function's file."""
    others = tmp_path / "store.sqlite"
    others.write_bytes(b"whole\nwithout an end")
    path_of(site).symlink_to(others)
    with pytest.raises(ConfigurationError):
        Journal(site)
    assert others.read_bytes() == b"whole\nwithout an end"


@pytest.mark.root
def test_a_link_in_run_does_not_have_a_start_by_root_open_another_folder(site: Site, tmp_path: Path) -> None:
    others = tmp_path / "closed"
    others.mkdir(mode=0o700)
    site.run_dir.mkdir(exist_ok=True)
    reconciler.answers(site).symlink_to(others)
    with pytest.raises(ConfigurationError):
        reconciler._take(site)
    assert (others.stat().st_mode & 0o777, others.stat().st_uid) == (0o700, 0)


@pytest.mark.parametrize("number", [0, 1, 2])
def test_a_changed_line_is_named(site: Site, number: int) -> None:
    write(site, line(START), line(SEEN, 5, PHANTOM), line(CLEAN, 9))
    lines = path_of(site).read_bytes().splitlines(keepends=True)
    lines[number] = lines[number].replace(b"time_us", b"tIme_us")
    path_of(site).write_bytes(b"".join(lines))
    with pytest.raises(LedgerError, match=f"line {number}"):
        read(site)
    with pytest.raises(LedgerError):
        Journal(site)


@pytest.mark.parametrize("order", [(0, 2), (1, 2), (0, 2, 1), (0, 0, 1, 2)])
def test_lines_that_are_missing_moved_or_doubled_are_found(site: Site, order: tuple[int, ...]) -> None:
    write(site, line(START), line(SEEN, 5, PHANTOM), line(CLEAN, 9))
    lines = path_of(site).read_bytes().splitlines(keepends=True)
    path_of(site).write_bytes(b"".join(lines[each] for each in order))
    with pytest.raises(LedgerError, match="does not follow"):
        read(site)


def test_a_line_of_another_key_is_refused(site: Site, tmp_path: Path) -> None:
    write(site, line(START))
    other = making.make(tmp_path / "other", is_lab=True)
    write(other, line(START))
    path_of(site).write_bytes(path_of(other).read_bytes())
    with pytest.raises(LedgerError, match="line 0"):
        read(site)


def test_a_key_that_is_not_the_pinned_one_is_refused(site: Site, tmp_path: Path) -> None:
    other = making.make(tmp_path / "other", is_lab=True)
    (site.reconciler_dir / journal.KEY).write_bytes((other.reconciler_dir / journal.KEY).read_bytes())
    with pytest.raises(ConfigurationError, match="is not the key"):
        Journal(site)


def test_a_torn_line_at_the_end_is_cut(site: Site) -> None:
    write(site, line(START), line(SEEN, 5, PHANTOM))
    with path_of(site).open("ab") as file:
        file.write(b'"torn')
    write(site, line(CLEAN, 9))
    assert [each.kind for each in read(site)] == [START, SEEN, CLEAN]


def test_two_histories_of_one_key_do_not_fit_together(site: Site) -> None:
    """Whoever has the key can sign another line in a line's place, but not under the lines that follow it."""
    write(site, line(START), line(SEEN, 5, PHANTOM))
    first, seen = path_of(site).read_bytes().splitlines(keepends=True)
    path_of(site).write_bytes(first)
    write(site, line(CLEAN, 6), line(CLEAN, 9))
    last = path_of(site).read_bytes().splitlines(keepends=True)[2]
    path_of(site).write_bytes(first + seen + last)
    with pytest.raises(LedgerError, match="line 2 does not follow"):
        read(site)
