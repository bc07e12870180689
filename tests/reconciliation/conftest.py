"""A world for each test that wants one, or for those of a file that leave it as it was."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from tests.reconciliation.world import World


def _made() -> Iterator[World]:
    if os.geteuid() != 0:
        pytest.skip("namespaces need root")
    try:
        made = World()
    except OSError as error:
        pytest.skip(str(error))
    with made:
        yield made


@pytest.fixture
def world() -> Iterator[World]:
    yield from _made()


@pytest.fixture(scope="module")
def shared_world() -> Iterator[World]:
    yield from _made()
