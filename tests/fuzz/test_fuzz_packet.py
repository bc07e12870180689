"""The packet fuzzer for five seconds; `python -m tests.fuzz.fuzz_packet --seconds N` runs it for longer."""

from __future__ import annotations

import pytest

from tests.fuzz import fuzz_packet


@pytest.mark.parametrize("seed", [1])
def test_five_seconds_without_a_finding(seed: int) -> None:
    assert fuzz_packet.run(5, seed) > 1000
