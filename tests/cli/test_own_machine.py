"""A person acts from his own machine: the site's settings, its socket (as ssh forwards it), his key, and no more."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from mediation.cli.demo.site import LabSite
from tests.access.conftest import Wire, wire
from tests.administration.peers import command
from tests.administration.test_commands import done

__all__ = ["wire"]
pytestmark = pytest.mark.root

CASE = "26-M-17"


def test_an_officer_acts_with_the_settings_the_socket_and_his_key(tmp_path: Path, wire: Wire) -> None:
    point = f'[[iap]]\nname = "SWITCH-1"\ninterface = "{wire.far}"\nnamespace = "{wire.namespace}"\nring_mib = 1\n'
    site = LabSite(tmp_path / "site", iaps=point)
    own = tmp_path / "own"
    (own / "run").mkdir(parents=True)
    shutil.copy(site.path / "config.toml", own)
    key = str(shutil.copy(site.path / "lab" / "officer.json", tmp_path))
    at = ("--site", str(own), "--key", key)
    away = command("case", "list", *at)
    assert away.returncode == 1 and "nobody listens at run/administrator.control" in away.stderr
    assert "is the socket forwarded" in away.stderr and sorted(own.iterdir()) == [own / "config.toml", own / "run"]
    try:
        site.run()
        (own / "run" / "administrator.control").symlink_to(site.path / "run" / "administrator.control")
        site.order(CASE, "tel:+12125550100")
        assert json.loads(done("case", "show", CASE, *at))["state"] == "active"
        assert done("case", "suspend", CASE, *at) == f"{CASE}: suspended; done by iap, mediator\n"
        assert done("case", "deactivate", CASE, *at) == f"{CASE}: ended for good; done by iap, mediator\n"
        assert f"{CASE}  deactivated" in done("case", "list", *at)
        assert "(i)      tel:+12125550100" in done("certificate", CASE, *at, "--sign")
        assert {path.name for path in own.rglob("*")} == {"config.toml", "run", "administrator.control"}
    finally:
        site.stop()
