"""Voice in RTP on its way to the DTMF receiver: loss, order, copies, pauses of the sender, and hostile headers."""

from __future__ import annotations

import random

import pytest

from bench import tones
from bench.tones import ALAW, KEYS, ULAW, Dialing
from mediation.access import _dtmf

SSRC = 0x1234ABCD


def rtp(sequence: int, timestamp: int, codes: bytes, *, head: int = 0x80) -> bytes:
    return (
        bytes([head, 0])
        + (sequence & 0xFFFF).to_bytes(2)
        + (timestamp & 0xFFFFFFFF).to_bytes(4)
        + SSRC.to_bytes(4)
        + codes
    )


def packets(signal: tones.Samples, size: int = 160, sequence: int = 65500, timestamp: int = 2**32 - 800) -> list[bytes]:
    """Numbers and time stamps wrap on the way."""
    codes = ULAW.encode(signal)
    return [
        rtp(sequence + number, timestamp + at, codes[at : at + size])
        for number, at in enumerate(range(0, len(codes) - size + 1, size))
    ]


def heard(stream: list[bytes], channel: _dtmf.Channel | None = None) -> str:
    channel = channel or _dtmf.Channel()
    found = [press for number, packet in enumerate(stream) for press in channel.packet(packet, number)[1]]
    return "".join(key for key, _, _ in found + channel.end())


@pytest.mark.parametrize("size", [80, 160, 240, 320])
def test_whole_streams(size: int) -> None:
    assert heard(packets(tones.dial(KEYS, Dialing(), 1), size)) == KEYS


def test_the_stamp_is_that_of_the_packet_in_which_the_press_began() -> None:
    channel = _dtmf.Channel()
    found = []
    for number, packet in enumerate(packets(tones.silence(60) + tones.dial("5", Dialing(on_ms=300), 1))):
        found += channel.packet(packet, 1_000_000 + number)[1]
    ((key, stamp, sounded),) = found
    assert (key, stamp) == ("5", 1_000_000 + 8)  # 160 ms of silence are 8 packets
    assert sounded >= 200  # reported while it still sounded


@pytest.mark.parametrize("lost", range(9, 14))
def test_a_held_key_goes_on_over_lost_packets(lost: int) -> None:
    stream = packets(tones.dial("5", Dialing(on_ms=200), 1))
    channel = _dtmf.Channel()
    assert heard(stream[:lost] + stream[lost + 1 :], channel) == "5"
    assert channel.lost == 1
    assert heard(stream[:lost] + stream[lost + 2 :]) == "5"


def test_a_long_loss_ends_a_press() -> None:
    stream = packets(tones.dial("5", Dialing(on_ms=400), 1))
    assert heard(stream[:10] + stream[16:]) == "55"  # 120 ms may have been a pause


def test_packets_that_changed_places() -> None:
    stream = packets(tones.dial(KEYS, Dialing(), 1))
    channel = _dtmf.Channel()
    for at in range(4, len(stream) - 1, 3):
        stream[at], stream[at + 1] = stream[at + 1], stream[at]
    assert heard(stream, channel) == KEYS
    assert channel.lost == 0


def test_copies_change_nothing() -> None:
    stream = packets(tones.dial(KEYS, Dialing(), 1))
    channel = _dtmf.Channel()
    results = [channel.packet(packet, 0)[0] for packet in stream[:20] for _ in range(2)]
    assert results == ["heard", "late"] * 20
    assert heard([packet for packet in stream for _ in range(2)]) == KEYS


def test_a_sender_that_is_silent_between_the_keys() -> None:
    """Voice activity detection: no packets for the pauses, time stamps that say so, numbers that go on."""
    tone = [ULAW.encode(tones.dial(key, Dialing(on_ms=60), 1)[800:1280]) for key in "5550"]
    stream, timestamp = [], 0
    for number, codes in enumerate(tone):
        stream += [rtp(3 * number + i, timestamp + 160 * i, codes[160 * i : 160 * (i + 1)]) for i in range(3)]
        timestamp += 480 + 640
    assert heard(stream) == "5550"


def test_comfort_noise_packets_took_numbers() -> None:
    """RFC 3389: a packet of another payload type, not seen here, then nothing for half a second."""
    codes = ULAW.encode(tones.dial("5", Dialing(on_ms=80), 1)[800:1440])
    first = [rtp(i, 160 * i, codes[160 * i : 160 * (i + 1)]) for i in range(4)]
    second = [rtp(5 + i, 4640 + 160 * i, codes[160 * i : 160 * (i + 1)]) for i in range(4)]
    assert heard(first + second) == "55"


def test_time_stamps_that_do_not_count_right() -> None:
    stream = [packet[:4] + bytes(4) + packet[8:] for packet in packets(tones.dial(KEYS, Dialing(), 1))]
    assert heard(stream) == KEYS


def test_a_new_source_is_a_new_channel() -> None:
    stream = packets(tones.dial("5", Dialing(on_ms=200), 1))
    other = [packet[:8] + (7).to_bytes(4) + packet[12:] for packet in stream]
    assert heard(stream[:12] + other[12:]) == "55"
    jumped = [rtp(9000 + n, 77 + 160 * n, packet[12:]) for n, packet in enumerate(stream)]
    assert heard(stream[:12] + jumped[12:]) == "55"


def test_the_law_of_each_packet() -> None:
    signal = tones.dial(KEYS, Dialing(), 1)
    channel = _dtmf.Channel()
    found = []
    for number, at in enumerate(range(0, len(signal) - 159, 160)):
        law, name = ((ULAW, "PCMU"), (ALAW, "PCMA"))[number % 2]
        found += channel.packet(rtp(number, at, law.encode(signal[at : at + 160])), 0, name)[1]
    assert "".join(key for key, _, _ in found) == KEYS


@pytest.mark.parametrize(
    "packet",
    [
        b"",
        rtp(0, 0, b"")[:11],
        rtp(0, 0, b""),
        rtp(0, 0, b"x", head=0x40),
        rtp(0, 0, b"x" * 59, head=0x8F),
        rtp(0, 0, b"\0\0\xff\xff" + b"x" * 100, head=0x90),
        rtp(0, 0, b"\0\0\0", head=0x90),
        rtp(0, 0, b"xxx\x04", head=0xA0),
        rtp(0, 0, b"xxx\xff", head=0xA0),
        rtp(0, 0, b"x" * 2049),
    ],
)
def test_malformed_packets(packet: bytes) -> None:
    assert _dtmf.Channel().packet(packet, 0) == ("malformed", [])


def test_whole_headers_are_read_over() -> None:
    signal = packets(tones.dial("5", Dialing(), 1))
    dressed = [bytes([0xB2]) + p[1:12] + bytes(8) + b"\xbe\xde\0\1abcd" + p[12:] + b"\0\0\3" for p in signal]
    assert heard(dressed) == "5"


def test_any_order_and_any_numbers_are_survived() -> None:
    source = random.Random(1)
    channel = _dtmf.Channel()
    stream = packets(tones.dial(KEYS, Dialing(), 1))
    for _ in range(5000):
        packet = bytearray(source.choice(stream))
        for at in range(2, 8):
            if source.random() < 0.05:
                packet[at] = source.randrange(256)
        result, found = channel.packet(packet[: source.choice((len(packet), source.randrange(len(packet))))], 0)
        assert result in ("heard", "late", "malformed")
        assert all(key in KEYS for key, _, _ in found)
