"""Fixtures that every folder of tests may use."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from mediation.cli import demo_network


@pytest.fixture(scope="session")
def rig(tmp_path_factory: pytest.TempPathFactory) -> Iterator[object]:
    """One network and one lab site with its functions running, for all live scenarios of the session."""
    missing = demo_network.possible()
    if missing:
        pytest.skip(f"live calls cannot be made: {missing}")
    from tests.rig.stage import built

    with built(tmp_path_factory.mktemp("rig")) as made:
        yield made
