"""Fixtures of the delivery tests."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from mediation.delivery.spool import Spool
from tests import vault
from tests.delivery.support import BOUND_OCTETS, NOW_S, Certificates


@pytest.fixture
def certificates(tmp_path: Path) -> Certificates:
    folder = tmp_path / "certificates"
    folder.mkdir()
    return Certificates(folder)


@pytest.fixture
def spool(tmp_path: Path) -> Iterator[Spool]:
    made = Spool(tmp_path / "spool", vault.box(), now_s=NOW_S, bound_octets=BOUND_OCTETS)
    yield made
    made.close()
