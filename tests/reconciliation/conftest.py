"""A world for each test that wants one."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from tests.reconciliation.world import World


@pytest.fixture
def world() -> Iterator[World]:
    if os.geteuid() != 0:
        pytest.skip("namespaces need root")
    try:
        made = World()
    except OSError as error:
        pytest.skip(str(error))
    with made:
        yield made
