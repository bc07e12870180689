"""Session descriptions: each party's media, read leniently, and that the access point reads the same address."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mediation.core.network.sdp import MAX_MEDIA, Codec, Direction, parse_sdp
from tests.ext.calls import XID, Dialog, Rig, sdp

TWO_STREAMS = (
    b"v=0\r\no=alice 2890844526 2890844526 IN IP4 host.example.com\r\ns=\r\nc=IN IP4 192.0.2.1\r\nt=0 0\r\n"
    b"a=recvonly\r\nm=audio 49170 RTP/AVP 0 8 97 101\r\na=rtpmap:97 iLBC/8000\r\n"
    b"a=rtpmap:101 Telephone-Event/8000\r\na=fmtp:101 0-15\r\n"
    b"m=video 51372/2 RTP/SAVP 31 32\r\nc=IN IP6 2001:db8::2\r\na=rtpmap:32 MPV/90000\r\na=sendonly\r\n"
)


def test_each_stream() -> None:
    found = parse_sdp(TWO_STREAMS)
    assert found is not None
    assert (found.origin, found.address) == ("alice 2890844526 2890844526 IN IP4 host.example.com", "192.0.2.1")
    audio, video = found.media
    assert (audio.kind, audio.port, audio.protocol, audio.address) == ("audio", 49170, "RTP/AVP", "192.0.2.1")
    assert audio.direction is Direction.RECVONLY  # of the session
    assert audio.codecs == (
        Codec(payload_type=0, name="PCMU", clock=8000),
        Codec(payload_type=8, name="PCMA", clock=8000),
        Codec(payload_type=97, name="iLBC", clock=8000),
        Codec(payload_type=101, name="Telephone-Event", clock=8000),
    )
    assert (video.port, video.address, video.direction) == (51372, "2001:db8::2", Direction.SENDONLY)
    assert not audio.held
    assert video.held
    assert found.audio == audio
    assert not found.held


@pytest.mark.parametrize("direction", ["sendonly", "inactive"])
def test_hold_by_direction(direction: str) -> None:
    found = parse_sdp(sdp(direction=direction).encode())
    assert found is not None
    assert found.held


@pytest.mark.parametrize("address", ["0.0.0.0", "::"])
def test_hold_by_null_address(address: str) -> None:
    found = parse_sdp(sdp(address).encode())
    assert found is not None
    assert found.held


def test_a_refused_stream_is_not_the_audio() -> None:
    found = parse_sdp(b"v=0\nc=IN IP4 192.0.2.1\nm=audio 0 RTP/AVP 0\nm=audio 7 RTP/AVP 8\n")
    assert found is not None
    assert found.audio is not None
    assert found.audio.port == 7
    refused = parse_sdp(b"v=0\nm=audio 0 RTP/AVP 0\n")
    assert refused is not None
    assert not refused.held


@pytest.mark.parametrize("body", [b"", b"hello", b"<xml/>", b"--", b"--\r\n", b"x=1\r\nv=0\r\n"])
def test_no_description(body: bytes) -> None:
    assert parse_sdp(body) is None


@pytest.mark.parametrize(
    "body",
    [
        b"--b\r\nContent-Type: text/plain\r\n\r\nv\r\n--b\r\nContent-Type: application/sdp\r\n\r\n%s\r\n--b--\r\n",
        b"preamble\n--b\n\n%s--b--",
        b"--a\r\nContent-Type: multipart/alternative;boundary=b\r\n\r\n--b\r\n\r\n%s\r\n--b--\r\n--a--",
    ],
)
def test_multipart(body: bytes) -> None:
    found = parse_sdp(body % sdp().encode())
    assert found is not None
    assert found.text == sdp()


@pytest.mark.parametrize(
    "line",
    [
        "m=audio x RTP/AVP 0",
        "m=audio 99999 RTP/AVP 0",
        "m=audio",
        "m=",
        "m=audio -1 RTP/AVP 0",
        "m=audio \u0661 RTP/AVP 0",
    ],
)
def test_ports_that_are_none(line: str) -> None:
    found = parse_sdp(f"v=0\r\n{line}\r\na=rtpmap:x y\r\na=rtpmap:300\r\nc=IN\r\n".encode())
    assert found is not None
    assert [m.port for m in found.media] == [0]


def test_more_streams_than_are_read() -> None:
    found = parse_sdp(b"v=0\r\n" + b"m=audio 9 RTP/AVP 0\r\n" * 1000)
    assert found is not None
    assert len(found.media) == MAX_MEDIA


@settings(max_examples=300, deadline=None)
@given(
    st.lists(
        st.sampled_from(
            ["v=0", "c=IN IP4 192.0.2.7", "c=IN IP6 2001:db8::7", "c=IN IP4 192.0.2.8/127", "c=IN IP4 0.0.0.0", "c=IN",
             "c=IN IP4 h.example.com", "m=audio 40000 RTP/AVP 0 101", "m=audio 0 RTP/AVP 0", "m=video 5 RTP/AVP 31",
             "m=audio 40002/2 RTP/AVP 96 0", "m=audio", "a=rtpmap:101 telephone-event/8000",
             "a=rtpmap:96 TELEPHONE-EVENT/16000", "a=rtpmap:0 PCMU/8000", "a=sendrecv", "a=rtpmap:101 ", "x", "=", ""]
        ),
        max_size=12,
    )
)  # fmt: skip
def test_the_access_point_reads_the_same(lines: list[str]) -> None:
    """ext/sdp.pxd and core/network/sdp.py agree on where audio streams want media, and on what carries digits in
    them."""
    body = "v=0\r\n" + "".join(line + "\r\n" for line in lines)
    described = parse_sdp(body.encode())
    assert described is not None
    rig = Rig().arm(XID, dde=True)
    d = Dialog()
    rig.send(d.invite(), d.response(200, body=body))
    usable = {
        (True, audio.address, audio.port)
        for audio in described.media
        if audio.kind == "audio" and audio.port and audio.address not in ("", "0.0.0.0", "h.example.com")
        if any(codec.name.upper() in ("PCMU", "PCMA", "TELEPHONE-EVENT") for codec in audio.codecs)
    }
    assert {f[:3] for f in rig.flows()} == usable
