"""The DTMF receiver by the limits of ITU-T Q.24: what must be a press, what must be none, and how often it is one."""

from __future__ import annotations

import pytest

from bench import tones
from bench.tones import ALAW, KEYS, ULAW, Dialing
from mediation.access import _dtmf
from mediation.core.errors import LocalProtocolError


def heard(signal: tones.Samples, law: str = "PCMU", packet: int = 160) -> str:
    codes = (ULAW if law == "PCMU" else ALAW).encode(signal)
    return "".join(key for key, _, _ in _dtmf.listen(codes, law, packet))


def dialed(how: Dialing, keys: str = KEYS, seed: int = 1) -> str:
    return heard(tones.dial(keys, how, seed))


@pytest.mark.parametrize("law", ["PCMU", "PCMA"])
@pytest.mark.parametrize("packet", [80, 160, 240, 37, 1000])
def test_all_keys_in_both_laws_and_any_packets(law: str, packet: int) -> None:
    assert heard(tones.dial(KEYS, Dialing(), 2), law, packet) == KEYS


def test_where_a_press_began_and_how_long_it_sounded() -> None:
    presses = _dtmf.listen(ULAW.encode(tones.dial("159#", Dialing(on_ms=80, off_ms=60), 3)), "PCMU", 80)
    for number, (_, began, sounded) in enumerate(presses):
        assert abs(began / 8 - (100 + 140 * number)) <= 10 + 2  # the packet's stamp: up to its 10 ms earlier
        assert abs(sounded - 80) <= 2


@pytest.mark.parametrize(
    "how",
    [
        Dialing(on_ms=40, off_ms=40),
        Dialing(on_ms=30, off_ms=30),
        Dialing(on_ms=5000),
        *(Dialing(level=level) for level in (0, -6, -25, -29, -36, -40)),
        *(Dialing(twist=twist) for twist in (-10, -8, -4, 4, 8, 10)),
        *(Dialing(twist=twist, level=-30) for twist in (-8, 4)),
        *(Dialing(low_offset=a, high_offset=b) for a in (-0.015, 0, 0.015) for b in (-0.015, 0, 0.015)),
        *(Dialing(low_offset=a, high_offset=a, twist=b, level=-30) for a in (-0.015, 0.015) for b in (-8, 4)),
        Dialing(on_ms=60, cut_ms=10),
        Dialing(on_ms=200, cut_ms=10),
    ],
)
def test_a_press(how: Dialing) -> None:
    keys = KEYS if how.on_ms < 1000 else "5"
    assert dialed(how, keys) == keys


@pytest.mark.parametrize(
    "how",
    [
        Dialing(on_ms=23),
        Dialing(on_ms=20),
        Dialing(level=-52),
        *(Dialing(low_offset=a) for a in (-0.035, 0.035, 0.05)),
        *(Dialing(high_offset=a) for a in (-0.035, 0.035, -0.05)),
        *(Dialing(low_offset=a, high_offset=b, on_ms=100) for a in (-0.035, 0.035) for b in (-0.035, 0.035)),
        Dialing(twist=15),
        Dialing(twist=-15),
    ],
)
def test_no_press(how: Dialing) -> None:
    assert dialed(how) == ""


def test_a_pause_makes_two_presses_and_an_interruption_one() -> None:
    assert dialed(Dialing(on_ms=120, cut_ms=40), "5") == "55"
    assert dialed(Dialing(on_ms=120, cut_ms=10), "5") == "5"
    assert dialed(Dialing(), "5555") == "5555"


def test_another_key_needs_no_whole_pause() -> None:
    assert dialed(Dialing(on_ms=60, off_ms=10), "1475369") == "1475369"


@pytest.mark.parametrize("seed", range(4))
def test_six_decibels_over_noise(seed: int) -> None:
    signal = tones.dial(KEYS, Dialing(), seed)
    assert heard(tones.mixed(signal, tones.noise(len(signal) / 8, -16, seed))) == KEYS


def test_noise_does_not_move_the_borders_of_frequency() -> None:
    for offset, expected in ((0.015, KEYS), (0.035, "")):
        signal = tones.dial(KEYS, Dialing(low_offset=offset, high_offset=-offset), 4)
        assert heard(tones.mixed(signal, tones.noise(len(signal) / 8, -22, 5))) == expected


@pytest.mark.parametrize("name", [name for name, _ in tones.PROGRESS])
def test_talk_off_by_the_network_s_own_tones(name: str) -> None:
    signal = tones.progress(name)
    assert heard(signal) == ""
    assert heard(tones.mixed(signal, tones.noise(1000, -40, 1)), "PCMA") == ""


@pytest.mark.parametrize("seed", range(4))
def test_talk_off_by_voices_and_music(seed: int) -> None:
    for loud in (-6, -15, -25):
        assert heard(tones.speech(8000, loud, seed)) == ""
        assert heard(tones.music(4000, loud, seed)) == ""
    assert heard(tones.noise(8000, -10, seed)) == ""


def test_digits_under_speech_and_none_invented() -> None:
    found = false = 0
    for seed in range(6):
        signal = tones.dial(KEYS, Dialing(on_ms=80, off_ms=80), seed)
        said = heard(tones.mixed(signal, tones.speech(4000, -20, seed)))
        rest = iter(said)
        found += sum(key in rest for key in KEYS) if len(said) == len(KEYS) else len(said)
        false += sum(key not in KEYS for key in said) + max(0, len(said) - len(KEYS))
        position = -1
        for key in said:  # in order: a key that was not dialed then would break it
            position = KEYS.find(key, position + 1)
            assert position >= 0
    assert false == 0
    assert found >= 0.9 * 6 * len(KEYS)


def test_plain_code_gives_the_same() -> None:
    codes = ULAW.encode(tones.mixed(tones.dial(KEYS, Dialing(), 9), tones.noise(1000, -20, 9)))
    best = _dtmf.listen(codes)
    _dtmf.use_plain_code(True)
    try:
        assert _dtmf.listen(codes) == best
    finally:
        _dtmf.use_plain_code(False)


def test_many_channels_hear_what_one_hears() -> None:
    signal = tones.dial(KEYS, Dialing(), 1)
    codes = ULAW.encode(signal + tones.silence((-len(signal) % 160) / 8))
    channels = _dtmf.Channels(3)
    channels.hear(codes, len(codes) // 160, stride=0)
    assert channels.presses == 3 * len(KEYS)
    with pytest.raises(LocalProtocolError):
        channels.hear(b"", 1)


def test_hostile_octets_are_no_digits_and_no_trouble() -> None:
    for codes in (
        b"\x00" * 8000,
        b"\xff" * 8000,
        b"\x00\x80" * 4000,
        bytes(range(256)) * 40,
        b"\x80" * 7 + b"\x00" * 9000,
    ):
        assert _dtmf.listen(codes) == []
        assert _dtmf.listen(codes, "PCMA", 2048) == []
    with pytest.raises(LocalProtocolError):
        _dtmf.listen(b"x", "G729")  # type: ignore[arg-type]
