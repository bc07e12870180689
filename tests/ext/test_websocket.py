"""SIP over WebSocket (RFC 7118): upgrade, masks, fragments, control frames, pick-up in the middle, hostile frames."""

from __future__ import annotations

import random
import struct

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.ext.streams import Sender, Tap, other, pieces, sip

GET = (
    b"GET /ws?sip/2 HTTP/1.1\r\nHost: proxy.example\r\nConnection: Upgrade\r\nUPGRADE: WebSocket\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Protocol: sip\r\nSec-WebSocket-Version: 13\r\n\r\n"
)
SWITCHING = (
    b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\nSec-WebSocket-Protocol: sip\r\n\r\n"
)
TEXT, BINARY, CONTINUATION, CLOSE, PING, PONG = 1, 2, 0, 8, 9, 10


def ws(payload: bytes, *, opcode: int = TEXT, final: bool = True, mask: bytes = b"", reserved: int = 0) -> bytes:
    size = len(payload)
    if size < 126:
        length = bytes([size | (0x80 if mask else 0)])
    elif size < 65536:
        length = struct.pack("!BH", 126 | (0x80 if mask else 0), size)
    else:
        length = struct.pack("!BQ", 127 | (0x80 if mask else 0), size)
    if mask:
        payload = bytes(octet ^ mask[i % 4] for i, octet in enumerate(payload))
    return bytes([opcode | final << 7 | reserved << 4]) + length + mask + payload


def connected(first: bytes = GET) -> tuple[Tap, Sender]:
    tap, sender = Tap(), Sender()
    tap.feed(sender.syn())
    tap.feed(sender.segment(first))
    assert tap.counts("websocket_upgrades", "stream_resyncs") == (1, 0)
    return tap, sender


MASK = b"\x37\xfa\x21\x3d"


@pytest.mark.parametrize("mask", [b"", MASK])
@pytest.mark.parametrize("opcode", [TEXT, BINARY])
@pytest.mark.parametrize("opening", [GET, SWITCHING])
def test_a_message_in_a_frame(mask: bytes, opcode: int, opening: bytes) -> None:
    tap, sender = connected(opening)
    tap.feed(sender.segment(ws(sip(1), opcode=opcode, mask=mask) + ws(other(2), mask=mask) + ws(sip(3), mask=mask)))
    assert tap.messages() == [sip(1), sip(3)]
    assert tap.counts("websocket_frames", "stream_messages") == (3, 3)


def fragments(message: bytes, sizes: list[int], source: random.Random) -> bytes:
    made, at = b"", 0
    for i, size in enumerate(sizes):
        part, at = message[at : at + size], at + size
        made += ws(part, opcode=TEXT if i == 0 else CONTINUATION, final=at >= len(message), mask=source.randbytes(4))
        if at >= len(message):
            break
        if source.randrange(3) == 0:
            made += ws(source.randbytes(5), opcode=PING, mask=source.randbytes(4))
    return made


@settings(max_examples=100, deadline=None)
@given(st.integers(0, 1 << 32), st.integers(1, 400), st.integers(1, 900))
def test_any_fragmentation_in_any_segmentation(seed: int, fragment: int, segment: int) -> None:
    source = random.Random(seed)
    tap, sender = connected()
    messages = [sip(1, body=b"v=0\r\n" * 30), other(2), sip(3), ws(b"", opcode=PONG), sip(4)]
    stream = b""
    for message in messages:
        if message[0] & 0x80:
            stream += message
        else:
            stream += fragments(message, pieces(source, len(message), fragment), source)
    for frame in sender.cut(stream, pieces(source, len(stream), segment)):
        tap.feed(frame)
    assert tap.messages() == [messages[0], messages[2], messages[4]]
    assert tap.counts("websocket_malformed", "stream_resyncs") == (0, 0)


def test_octet_by_octet_with_the_upgrade() -> None:
    tap, sender = Tap(), Sender()
    tap.feed(sender.syn())
    stream = GET + ws(sip(1), mask=MASK) + ws(b"\r\n\r\n", mask=MASK) + ws(sip(2), mask=MASK)
    for i in range(len(stream)):
        tap.feed(sender.segment(stream[i : i + 1]))
    assert tap.messages() == [sip(1), sip(2)]


@pytest.mark.parametrize("mask", [b"", MASK])
@pytest.mark.parametrize("start", [sip(1), sip(1).replace(b"INVITE sip:", b"INVITE tel:", 1)])
def test_picked_up_in_the_middle(mask: bytes, start: bytes) -> None:
    tap, sender = Tap(), Sender()
    tap.feed(sender.segment(ws(sip(9), mask=mask)[60:]))
    tap.feed(sender.segment(ws(start, mask=mask)))
    tap.feed(sender.segment(ws(sip(2), mask=mask)))
    assert tap.messages() == [start, sip(2)]
    assert tap.counts("websocket_joined") == (1,)


def test_after_a_loss_the_next_segment_that_begins_a_frame_is_understood() -> None:
    tap, sender = connected()
    tap.feed(sender.segment(ws(sip(1), mask=MASK)[:100]))
    sender.segment(ws(sip(1), mask=MASK)[100:150])
    tap.feed(sender.segment(ws(sip(1), mask=MASK)[150:]))
    tap.feed(sender.segment(ws(sip(2), mask=MASK)))
    tap.walker.expire(tap.stamp + 2_000_000_000, tap.stamp)
    tap.feed(sender.segment(ws(sip(3), mask=MASK)))
    assert sip(3) in tap.messages()


def test_what_is_no_upgrade_is_none() -> None:
    for opening in (GET.replace(b"WebSocket\r\n", b"h2c\r\n"), SWITCHING.replace(b"101", b"403")):
        tap, sender = Tap(), Sender()
        tap.feed(sender.syn())
        tap.feed(sender.segment(opening))
        assert tap.counts("websocket_upgrades") == (0,)


@pytest.mark.parametrize(
    "bad",
    [
        ws(b"x", opcode=3),
        ws(b"x", opcode=11),
        ws(b"x", reserved=2),
        ws(b"x", opcode=PING, final=False),
        ws(b"x" * 200, opcode=PING),
        ws(b"x", opcode=CONTINUATION),
        ws(b"x", final=False) + ws(b"y"),
        b"\x82\x7f\xff" + bytes(7),
    ],
)
def test_impossible_frames_are_counted_and_survived(bad: bytes) -> None:
    tap, sender = connected()
    tap.feed(sender.segment(bad))
    assert tap.counts("websocket_malformed") == (1,)
    tap.feed(sender.segment(ws(sip(2), mask=MASK)))
    assert tap.messages() == [sip(2)]


def test_compressed_frames_are_passed_over() -> None:
    tap, sender = connected()
    tap.feed(sender.segment(ws(b"\x01" * 300, reserved=4, mask=MASK) + ws(sip(2), mask=MASK)))
    assert tap.messages() == [sip(2)]
    assert tap.counts("websocket_compressed") == (1,)


def test_too_long_a_message_is_given_on_cut_off() -> None:
    tap, sender = connected()
    long = sip(1, body=b"b" * 200_000)
    for frame in sender.cut(ws(long, mask=MASK), [1400] * 200):
        tap.feed(frame)
    (found,) = tap.messages()
    assert found == long[:65536]
    tap.feed(sender.segment(ws(sip(2), mask=MASK)))
    assert tap.messages() == [sip(2)]


def test_endless_fragments_are_bounded() -> None:
    tap, sender = connected()
    tap.feed(sender.segment(ws(sip(1)[:40], final=False)))
    for _ in range(400):
        tap.feed(sender.segment(ws(b"x" * 300, opcode=CONTINUATION, final=False)))
    assert tap.counts("messages_cut")[0] >= 1
    tap.feed(sender.segment(ws(sip(2))))
    assert sip(2) in tap.messages()
