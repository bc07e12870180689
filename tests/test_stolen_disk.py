"""SEC-19: who steals the disk of a site does not learn how many orders it has; what is left to see, THREATS.md says."""

from __future__ import annotations

import os
from collections import Counter
from pathlib import Path

import apsw
import pytest

from mediation.access.tasking import StoppedTasks
from mediation.administration.order import decoys
from mediation.core.case import Act, Role, State
from mediation.delivery.retired import Retired
from mediation.runtime import cover
from mediation.runtime.remembered import Remembered
from mediation.runtime.suspended import SuspendedTasks
from tests.administration import site as s
from tests.core import authority

KEY = bytes(range(32))
TOLD = ("lab", "ledger")  # a person's own machine; entries of all kinds, one line each
RANDOM = (".pem", ".key")  # lengths of signatures in DER differ by chance
STORE = "administrator/store.sqlite"
TABLES = {
    STORE: ("orders", "states", "commands", "extensions", "revocations"),
    "administrator/certificates.sqlite": ("certificates",),
}
MINUTE_S = 61


def a_site(folder: Path, orders: int) -> s.Desk:
    """A desk with so many orders, a minute after they were filed."""
    folder.mkdir()
    desk = s.Desk(s.make(folder))
    filings = [s.filing(desk.site, f"CASE-{n}", subjects=(f"tel:+1212555{n:04}",)) for n in range(orders)]
    assert all(not result.check for result in desk.submit(*filings))
    desk.later(MINUTE_S)
    desk.later(MINUTE_S)  # certifications were drafted in the first
    return desk


def shape(desk: s.Desk) -> dict[str, int]:
    """Each file and its size, as the thief sees it."""
    root = desk.site.path
    return {
        str(path.relative_to(root)): path.stat().st_size
        for path in root.rglob("*")
        if path.is_file() and path.relative_to(root).parts[0] not in TOLD and path.suffix not in RANDOM
    }


def rows(desk: s.Desk, file: str, table: str) -> list[tuple[object, ...]]:
    db = apsw.Connection(str(desk.site.path / file), flags=apsw.SQLITE_OPEN_READONLY)
    try:
        return list(db.execute(f"SELECT * FROM {table}"))
    finally:
        db.close()


def looks(cells: tuple[object, ...]) -> tuple[object, ...]:
    """A row without what is random in it: lengths, and the numbers of nonces."""
    return tuple((len(c), c[12:24]) if isinstance(c, bytes) else len(c) if isinstance(c, str) else c for c in cells)


def test_one_order_or_thirty(tmp_path: Path) -> None:
    """The same files of the same sizes, also while the site runs, and rows of the same number and form."""
    one, thirty = a_site(tmp_path / "one", 1), a_site(tmp_path / "thirty", 30)
    assert shape(one) == shape(thirty)
    for file, tables in TABLES.items():
        for table in tables:
            assert Counter(map(looks, rows(one, file, table))) == Counter(map(looks, rows(thirty, file, table)))
        assert len(rows(one, file, tables[0])) == cover.LEAST
    for desk in (one, thirty):
        desk.orders.close()
    assert shape(one) == shape(thirty)


def test_no_row_is_told_by_what_is_in_it(tmp_path: Path) -> None:
    """No two rows share a name or the beginning of a nonce, and no name is one that a person or a function knows."""
    desk = a_site(tmp_path / "site", 30)
    for file, tables in TABLES.items():
        cells = [row for table in tables for row in rows(desk, file, table)]
        prefixes = Counter((row[0], cell[:12]) for row in cells for cell in row if isinstance(cell, bytes) and cell)
        assert len({prefix for _, prefix in prefixes}) == len(prefixes)
        octets = (desk.site.path / file).read_bytes()
        for order in desk.orders:
            for name in (order.carrier_sha256, order.legal_sha256, order.xid, order.case):
                assert name.encode() not in octets
                assert name.upper().encode() not in octets
    desk.orders.close()


def test_decoys_follow_what_orders_become(tmp_path: Path) -> None:
    """An order that has stopped, been extended or withdrawn is not the only one that looks so."""
    desk = a_site(tmp_path / "site", 0)
    filed = s.filing(desk.site)
    desk.submit(filed)
    desk.later(MINUTE_S)
    assert not desk.orders.extend([s.extension(desk.site, filed, desk.now_ns // s.NS + 7200)], desk.now_ns)[0].check
    assert not desk.revoke(s.revocation(desk.site, filed, signer=Role.LEGAL))[0].check
    desk.later(MINUTE_S)
    desk.later(MINUTE_S)
    for table, count in (("states", 1), ("commands", 1), ("extensions", 1), ("revocations", 1)):
        assert len(rows(desk, STORE, table)) == count * cover.LEAST
    desk.restart()
    assert desk.state() is State.REVOKED
    assert len(list(desk.orders)) == 1
    assert len(desk.order().commands) == 2


def test_the_class_grows_by_four_and_shrinks_again(tmp_path: Path) -> None:
    desk = a_site(tmp_path / "site", 65)
    for _ in range(3):
        desk.later(MINUTE_S)
    assert len(rows(desk, STORE, "orders")) == 4 * cover.LEAST
    store = desk.orders._store
    for order in list(desk.orders)[:10]:
        store.remove(order.xid)
    store.cover()
    assert len(rows(desk, STORE, "orders")) == cover.LEAST
    assert len(list(store.orders())) == 55
    desk.orders.close()


def test_a_decoy_is_no_order_and_no_order_is_a_decoy(tmp_path: Path) -> None:
    """Also not to who changes the file: names of decoys need the vault's key, and a text opens in its row alone."""
    desk = a_site(tmp_path / "site", 1)
    key = desk.orders._store._sealing.name_key("store")
    kinds = Counter(decoys.is_decoy(str(row[0]), key) for row in rows(desk, STORE, "orders"))
    assert kinds == {True: cover.LEAST - 1, False: 1}
    assert not decoys.is_decoy("00" * cover.NAME_OCTETS, key)
    assert desk.perform(s.act(desk.site, desk.order("CASE-0").carrier, "CASE-0", 2, Act.DEACTIVATE))[0].check == ""
    desk.restart()
    assert desk.state("CASE-0") is State.DEACTIVATED
    desk.orders.close()


def remembering(folder: Path, count: int) -> dict[str, int]:
    """What the access and the delivery function leave of so many stops, suspensions and withdrawals."""
    folder.mkdir()
    stopped, retired = StoppedTasks(folder / "iap.stopped", KEY), Retired(folder / "mediator.stopped", KEY)
    suspended = SuspendedTasks(folder / "iap.suspended", KEY)
    remembered = Remembered(folder, "iap", KEY)
    trust = authority.trust()
    remembered.keep(trust.with_revoked({os.urandom(32).hex() for _ in range(count)}))
    for number in range(count):
        xid = number.to_bytes(16, "big")
        stopped.add(xid)
        retired.add([xid])
        suspended.add(xid, 2)
    for file in (stopped, retired, suspended, remembered):
        file.close()
    for path in folder.iterdir():
        assert (39).to_bytes(16, "big") not in path.read_bytes()
    again = (
        StoppedTasks(folder / "iap.stopped", KEY).xids,
        list(Retired(folder / "mediator.stopped", KEY)),
        list(SuspendedTasks(folder / "iap.suspended", KEY)),
        Remembered(folder, "iap", KEY).revoked,
    )
    assert [len(each) for each in again] == [count] * 4
    return {path.name: path.stat().st_size for path in folder.iterdir()}


def test_what_functions_remember(tmp_path: Path) -> None:
    """No order or forty stopped, suspended and withdrawn: the same files of the same sizes."""
    assert remembering(tmp_path / "none", 0) == remembering(tmp_path / "forty", 40)


@pytest.mark.parametrize(
    ("text", "size"), [("", 64), ("x" * 63, 64), ("x" * 64, 256), ("\x80\0", 64), ("é" * 200, 512)]
)
def test_texts_are_filled_up_and_come_back(text: str, size: int) -> None:
    assert len(decoys.filled(text.encode())) == size
    assert decoys.emptied(decoys.filled(text.encode())) == text.encode()


def test_private_keys_and_names_in_clear_are_those_that_the_threats_list(tmp_path: Path) -> None:
    """A key that stands in clear beside what is sealed is told of, or sealed."""
    threats = (Path(__file__).parents[1] / "docs/THREATS.md").read_text()
    root = s.make(tmp_path).path
    clear = {
        str(path.relative_to(root))
        for path in root.rglob("*")
        if path.is_file() and path.relative_to(root).parts[0] != "lab" and b"PRIVATE" in path.read_bytes()
    }
    assert clear == {"administrator/ledger.key", "reconciler/log.key", "delivery/client.key", "delivery/x2-server.key"}
    assert all(f"`{name}`" in threats for name in (*clear, "keys/roster.jsonl"))
