"""What a site is made of, who may read it, and what a real site refuses of a lab."""

from __future__ import annotations

from pathlib import Path

import pytest

from mediation.administration.lock import lock
from mediation.administration.order.live import load_live
from mediation.administration.order.orders import Orders
from mediation.core.authority import authorization, jws
from mediation.core.authority.roster import digest
from mediation.core.case import Role
from mediation.core.check import Check
from mediation.core.errors import ConfigurationError
from mediation.runtime.config import Site
from mediation.runtime.keys import load_trust
from tests import vault
from tests.administration import site as s
from tests.administration.site import kinds
from tests.core import authority as a

# --- a site's files ---------------------------------------------------------------------------------------------------


def test_live_orders_without_the_lock(desk: s.Desk) -> None:
    now = desk.now_ns // s.NS
    gone = s.filing(desk.site, "CASE-2")
    waiting = s.filing(desk.site, "CASE-3", not_before_s=now + 50)
    desk.submit(s.filing(desk.site), gone, waiting, s.filing(desk.site, "CASE-4", activate=False))
    desk.revoke(s.revocation(desk.site, gone, "CASE-2"))
    found = load_live(desk.site)
    tasks = {authorization.examine(request, load_trust(desk.site), desk.now_ns).case for request in found}
    assert tasks == {"CASE-1", "CASE-3"}


def test_one_writer(site: Site) -> None:
    with lock(site.path / "administrator"), pytest.raises(BlockingIOError):
        lock(site.path / "administrator")
    with lock(site.path / "administrator"):
        pass


def test_modes_of_a_site(site: Site) -> None:
    private = ["administrator", "lab", "lab/agency", "ledger", "delivery", "spool"]
    assert all((site.path / name).stat().st_mode & 0o777 == 0o700 for name in private)
    secrets = [
        "store.sqlite", "administrator/ledger.key", "lab/legal.json", "lab/agency/server.key", "delivery/client.key",
        "ledger/checkpoint", "ledger/records/000.jsonl",
    ]  # fmt: skip
    assert all((site.path / name).stat().st_mode & 0o777 == 0o600 for name in secrets)
    assert all(path.stat().st_mode & 0o777 == 0o644 for path in site.keys_dir.iterdir())


def test_a_site_is_made_once(site: Site) -> None:
    with pytest.raises(ConfigurationError, match="not empty"):
        s.making.make(site.path, is_lab=True)


def test_a_real_site_refuses_the_lab(site: Site, tmp_path: Path) -> None:
    """Even with the lab's roster in its folder, and its founding as the pin, a real site takes nothing of a lab."""
    real = s.making.make(tmp_path / "real", is_lab=False)
    assert not load_trust(real).roster.lines and not real.lab_dir.exists()
    vault.furnish(real.path)
    desk = s.Desk(real)
    assert desk.submit(s.filing(site))[0].check == Check.KEY_UNKNOWN
    desk.orders.close()
    for name in ("roster.jsonl", "founding"):
        (real.keys_dir / name).write_bytes((site.keys_dir / name).read_bytes())
        (real.keys_dir / name).chmod(0o644)
    with pytest.raises(ConfigurationError, match="change 0: not the change that follows here"):
        load_trust(real)
    with pytest.raises(ConfigurationError, match="no lab site"):
        s.lab.person(real, Role.LEGAL)
    with pytest.raises(ConfigurationError, match="no lab site"):
        s.lab.executives(real)
    with pytest.raises(ConfigurationError, match="no lab site"):
        s.lab.destination(real)


@pytest.mark.parametrize(
    "fault", ["missing", "no pin", "writable", "another pin", "pin is no hash", "no JSON", "edited", "empty"]
)
def test_rosters_that_are_refused(site: Site, fault: str) -> None:
    path, pin = site.keys_dir / "roster.jsonl", site.keys_dir / "founding"
    match fault:
        case "missing":
            path.unlink()
        case "no pin":
            pin.unlink()
        case "writable":
            path.chmod(0o666)
        case "another pin":
            pin.write_text("ab" * 32 + "\n")
        case "pin is no hash":
            pin.write_text("\n")
        case "no JSON":
            path.write_text("{\n")
            pin.write_text(digest("{") + "\n")
        case "edited":
            line = path.read_text().rstrip("\n").replace('"approvals":["', '"approvals":["x')
            path.write_text(line + "\n")
            pin.write_text(digest(line) + "\n")
        case _:
            path.write_text("")
    with pytest.raises(ConfigurationError, match=r"roster|founding"):
        load_trust(site)
    with pytest.raises(ConfigurationError):
        Orders(site, a.NOW_NS)


def test_a_roster_without_its_entry_is_refused(site: Site) -> None:
    """Without both files a function believes nobody; the administrator knows from the ledger that somebody was."""
    for name in ("roster.jsonl", "founding"):
        (site.keys_dir / name).unlink()
    assert not any(load_trust(site).rings.values())
    with pytest.raises(ConfigurationError, match="change 0 is not the one that the ledger has"):
        Orders(site, a.NOW_NS)


def test_another_ledger_key_is_refused(site: Site, tmp_path: Path) -> None:
    other = s.making.make(tmp_path / "other", is_lab=True)
    (site.keys_dir / "ledger.pub").write_bytes((other.keys_dir / "ledger.pub").read_bytes())
    with pytest.raises(ConfigurationError, match=r"ledger\.pub"):
        Orders(site, a.NOW_NS)


def test_a_batch_is_one_checkpoint(desk: s.Desk) -> None:
    filings = [s.filing(desk.site, f"CASE-{n}") for n in range(100)]
    history = desk.site.ledger_dir / "history.jsonl"
    before = len(history.read_bytes().splitlines())
    assert all(result.check == "" for result in desk.submit(*filings))
    assert len(history.read_bytes().splitlines()) == before + 1
    assert len(kinds(desk.site)) == 1 + 200
    assert {jws.sha256_hex(each.carrier)[:32] for each in filings} == {order.xid for order in desk.orders}
