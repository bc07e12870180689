"""bench.digits counts what it hears right, and its signals are what they are called."""

from __future__ import annotations

import pytest

from bench import digits, tones
from bench.tones import ALAW, ULAW, Dialing


@pytest.mark.parametrize(
    ("heard", "dialed", "expected"),
    [
        ("123", "123", (3, 0)),
        ("13", "123", (2, 0)),
        ("1923", "123", (3, 1)),
        ("", "123", (0, 0)),
        ("999", "123", (0, 3)),
    ],
)
def test_agreement(heard: str, dialed: str, expected: tuple[int, int]) -> None:
    assert digits.agreement(heard, dialed) == expected


def test_levels_are_dbm0_and_survive_both_laws() -> None:
    assert tones.level(tones.tones([(1000, -10)], 1000)) == pytest.approx(-10, abs=0.05)
    assert tones.level(tones.noise(1000, -20, 1)) == pytest.approx(-20, abs=0.3)
    assert tones.level(tones.speech(2000, -20, 1)) == pytest.approx(-20, abs=0.3)
    key = tones.dial("5", Dialing(on_ms=1000, level=-12, twist=6))[800:8800]
    assert tones.level(key) == pytest.approx(-12, abs=0.1)
    for law in (ULAW, ALAW):
        assert tones.level(law.decode(law.encode(key))) == pytest.approx(-12, abs=0.1)


def test_both_laws_are_the_standard_s() -> None:
    assert (ULAW.expand[0x00], ULAW.expand[0x80], ULAW.expand[0xFF]) == (-32124, 32124, 0)  # G.711 table 2a, times 4
    assert (ALAW.expand[0x2A], ALAW.expand[0xAA], ALAW.expand[0xD5]) == (-32256, 32256, 8)  # table 1a, times 8
    for law in (ULAW, ALAW):
        assert all(law.decode(law.encode(tones.clipped([value])))[0] == value for value in law.expand)
