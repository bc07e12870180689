"""RFC 3161 in the administrator as it runs: each signed certification and each day's checkpoint, by every authority.

The authorities are `openssl ts` on loopback; one can be switched off. What is proven is what the ledger says then, and
what the offline check makes of the tokens.
"""

from __future__ import annotations

import hashlib
import shutil
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import trio

from mediation.administration import control
from mediation.administration.control import Administrator
from mediation.administration.keys import ledger_files
from mediation.administration.ledger import stamp_check, stamps, verify
from mediation.administration.ledger.stamps import ROOTS
from mediation.core.authority import jws
from mediation.core.ledger import entry
from mediation.runtime import config
from mediation.runtime.clock import AuthorityClock
from mediation.runtime.keys import read_verifier
from tests.administration import authority
from tests.administration import site as s
from tests.administration.test_certificate import arm, kept, sign, signed

pytestmark = pytest.mark.skipif(shutil.which("openssl") is None, reason="needs openssl")
LIMIT_S = 30
DAY_NS = 86_400 * s.NS


class Switch:
    """An authority that is out of order until it is switched on."""

    def __init__(self, folder: Path) -> None:
        self.root = authority.make(folder)
        self._reply = authority.reply(folder)
        self.on = True
        self.asked = 0

    def __call__(self, query: bytes) -> bytes:
        self.asked += 1
        return self._reply(query) if self.on else b""


def configured(desk: s.Desk, urls: list[str], folder: Path) -> None:
    """Names the authorities and whom to believe; the desk starts anew."""
    path = desk.site.path / config.FILE
    quoted = ", ".join(f'"{url}"' for url in urls)
    path.write_text(path.read_text() + f"\n[ledger]\ntimestamp_authorities = [{quoted}]\n")
    roots = b"".join((folder / name / "ca.pem").read_bytes() for name in ("one", "two"))
    (desk.site.keys_dir / ROOTS).write_bytes(roots)
    desk.site = config.load(desk.site.path)
    desk.restart()


@asynccontextmanager
async def running(desk: s.Desk) -> AsyncIterator[None]:
    """The administrator's process, but in this one, by the desk's clock."""
    clock = AuthorityClock(wall=lambda: desk.now_ns, monotonic=lambda: desk.now_ns)
    async with trio.open_nursery() as nursery:
        administrator = Administrator(desk.site, desk.orders, clock)
        desk.orders.records.busy = lambda: False  # there are no functions for drafts to wait for
        nursery.start_soon(administrator.run, None)
        yield
        nursery.cancel_scope.cancel()


def stamped(desk: s.Desk) -> list[tuple[str, str]]:
    """What was stamped and by whom, by the ledger on the disk."""
    found: list[tuple[str, str]] = []

    def keep(_: object, record: entry.Record) -> None:
        if isinstance(record, entry.Stamped):
            found.append((record.subject_sha256, record.authority))

    verify.examine(ledger_files(desk.site), read_verifier(desk.site.keys_dir), on_record=keep).raise_first()
    return found


def certified(desk: s.Desk, case: str) -> str:
    """An interception that runs, and its certification signed; the SHA-256 of the signature's octets."""
    assert [each.check for each in desk.submit(s.filing(desk.site, case))] == [""]
    arm(desk, case)
    (draft,) = kept(desk, case)
    text = signed(desk, draft.text)
    assert sign(desk, text) == ""
    return hashlib.sha256(text.encode()).hexdigest()


async def until(condition: Callable[[], bool]) -> None:
    with trio.fail_after(LIMIT_S):
        while not condition():
            await trio.sleep(0.02)


@pytest.fixture(autouse=True)
def _at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """The loops' pauses are minutes."""
    monkeypatch.setattr(control, "STAMP_EVERY_S", 0.02)
    monkeypatch.setattr(stamps, "LOOK_S", 0.02)
    monkeypatch.setattr(stamps, "RETRY_S", 60)  # an act is signed by a clock that cannot be turned either
    monkeypatch.setattr(stamps, "MAX_SKEW_S", 10 * 86_400)  # openssl's clock cannot be turned


async def test_each_certification_and_each_day_by_each_authority(desk: s.Desk, tmp_path: Path) -> None:
    one, two = [Switch(tmp_path / "one"), Switch(tmp_path / "two")]
    async with authority.serving(one) as first, authority.serving(two) as second:
        configured(desk, [first, second], tmp_path)
        two.on = False
        async with running(desk):
            # One authority is out of order: the other's stamps do not wait for it.
            await until(lambda: [url for _, url in stamped(desk)] == [first])
            ((head, _),) = stamped(desk)
            signature = certified(desk, "CASE-1")
            await until(lambda: stamped(desk) == [(head, first), (signature, first)])
            assert two.asked
            # It is asked again later, about the same two.
            two.on = True
            desk.now_ns += stamps.RETRY_S * s.NS
            await until(lambda: len(stamped(desk)) == 4)
            assert set(stamped(desk)) == {(what, url) for what in (head, signature) for url in (first, second)}
            other = certified(desk, "CASE-2")
            await until(lambda: len(stamped(desk)) == 6)
            assert set(stamped(desk)[4:]) == {(other, first), (other, second)}
            # The next day has a checkpoint of its own, and what is stamped is not stamped again.
            desk.now_ns += DAY_NS
            await until(lambda: len(stamped(desk)) == 8)
            (tomorrow,) = {what for what, _ in stamped(desk)[6:]}
            assert tomorrow not in (head, signature, other) and {url for _, url in stamped(desk)[6:]} == {first, second}
    view = desk.orders.records._view(kept(desk)[0])
    assert {who for who, _ in view.stamps} == {first, second}
    roots = [one.root, two.root]
    checked = stamp_check.check(desk.site.path, ledger_files(desk.site), desk.orders.ledger.verifier, roots)
    assert [bool(each.size) for each in checked] == [what in (head, tomorrow) for what, _ in stamped(desk)]
    assert all(abs(each.time_s - time.time()) < 300 for each in checked)


async def test_a_token_that_was_kept_and_not_entered_is_entered_at_the_next_start(desk: s.Desk, tmp_path: Path) -> None:
    """The process ended between the two; and what is no token of its subject is asked for again."""
    switches = [Switch(tmp_path / "one"), Switch(tmp_path / "two")]
    async with authority.serving(switches[0]) as first, authority.serving(switches[1]) as second:
        configured(desk, [first, second], tmp_path)
        signature = certified(desk, "CASE-1")
        now_s = desk.now_ns // s.NS
        opened = stamps.open_stamps(desk.site)
        assert opened is not None
        await opened.stamp_day(desk.orders.ledger.witnessed.text, now_s)
        texts = desk.orders.records.certificates.unstamped([first])
        await opened.stamp_document(texts[0].encode(), now_s)
        spoilt = next((desk.site.path / stamps.FOLDER / stamps.DOCUMENTS / signature).iterdir())
        spoilt.write_bytes(spoilt.read_bytes()[:-20])
        asked = sum(each.asked for each in switches)
        assert stamped(desk) == [] and asked == 4
        async with running(desk):
            await until(lambda: len(stamped(desk)) == 4)
    assert [what for what, _ in stamped(desk)].count(signature) == 2
    assert sum(each.asked for each in switches) == asked + 1
    roots = [each.root for each in switches]
    assert len(stamp_check.check(desk.site.path, ledger_files(desk.site), desk.orders.ledger.verifier, roots)) == 4


def test_a_certification_that_was_changed_keeps_no_other_from_its_stamp(desk: s.Desk) -> None:
    """Whoever changed one octet of it ended the administrator, at each start."""
    certified(desk, "CASE-1")
    other = certified(desk, "CASE-2")
    certificates = desk.orders.records.certificates
    row = next(each for each in certificates._rows.values() if each.owner == desk.order("CASE-1").xid)
    certificates._file._db.execute(
        "UPDATE certificates SET text = zeroblob(length(text)) WHERE row = ? AND number = ?",
        certificates._file._named(row),
    )
    assert [jws.sha256_hex(text) for text in certificates.unstamped(["https://stamps.example"])] == [other]
    assert desk.orders.counters["certifications_not_stamped"] == 1
