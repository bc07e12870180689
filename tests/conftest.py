"""Fixtures that every folder of tests may use."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from mediation.cli import demo_network
from tests import vault


@pytest.fixture(scope="session", autouse=True)
def _credentials(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Hand-made sites have their vault's keys from the service manager, which is us."""
    vault.hand_out(tmp_path_factory.mktemp("credentials"))


@pytest.fixture(scope="session")
def rig(tmp_path_factory: pytest.TempPathFactory) -> Iterator[object]:
    """One network and one lab site with its functions running, for all live scenarios of the session."""
    missing = demo_network.possible()
    if missing:
        pytest.skip(f"live calls cannot be made: {missing}")
    from tests.rig.stage import built

    with built(tmp_path_factory.mktemp("rig")) as made:
        yield made
