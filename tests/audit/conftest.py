"""A witnessed ledger, made once for each file of tests, and its export."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from mediation.runtime.config import Site
from tests.administration import site as s
from tests.audit import exports as x
from tests.audit.asking import Counter


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> x.Made:
    return x.Made(tmp_path_factory.mktemp("made") / "ledger")


@pytest.fixture
def files(made: x.Made) -> dict[str, bytes]:
    return made.files()


@pytest.fixture
def counter(site: Site) -> Iterator[Counter]:
    made = Counter(site)
    made.desk.submit(s.filing(site), s.filing(site, "CASE-2"))
    yield made
    made.desk.orders.close()


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return s.make(tmp_path)
