"""A lab site, and its orders with a clock that the test turns."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from mediation.runtime.config import Site
from tests.administration import site as s


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return s.make(tmp_path)


@pytest.fixture
def desk(site: Site) -> Iterator[s.Desk]:
    made = s.Desk(site)
    yield made
    made.orders.close()
