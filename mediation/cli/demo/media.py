"""Capture files of our own making: RTP with telephone events (RFC 3550, RFC 4733) and whole packets, pcap framing.

sipp replays such a file as one party's speech and keys (`play_pcap_audio`); the demo without root replays whole calls
from one. Unlike the files that come with sipp, every key here is its own event: its time stamp differs from the key
before, so that a second press of the same key is a second digit (RFC 4733 §2.5.1.4).

Times are nanoseconds since 1970 (UTC); RTP time stamps count 8 kHz samples.
"""

from __future__ import annotations

import ipaddress
import struct
from collections.abc import Iterable, Iterator
from pathlib import Path

from mediation.core.units import NS

EVENTS = {key: code for code, key in enumerate("0123456789*#ABCD")}  # RFC 4733 §3.2
RTP = struct.Struct("!BBHII")
EVENT = struct.Struct("!BBH")
PCAP_NANOSECONDS = 0xA1B23C4D
PCAP_MICROSECONDS = 0xA1B2C3D4  # the only form that sipp's reader knows
LINKTYPE_ETHERNET = 1
PCMU = 0  # RFC 3551 table 4
PCMU_SILENCE = b"\xff" * 160  # 20 ms of G.711 µ-law
FRAME_NS = 20_000_000
FRAME_SAMPLES = 160
END = 0x80  # the E bit
VOLUME = 10  # -10 dBm0
UDP = 17


class Speech:
    """One party's RTP stream: silence and keys, 20 ms a packet. Yields (offset in ns, RTP packet) in order."""

    def __init__(self, *, ssrc: int, events: int = 101) -> None:
        self._ssrc, self._events = ssrc, events
        self._sequence, self._stamp, self._at = 100, 1600, 0

    def _packet(self, payload_type: int, stamp: int, payload: bytes, *, marker: bool = False) -> bytes:
        header = RTP.pack(0x80, payload_type | (0x80 if marker else 0), self._sequence & 0xFFFF, stamp, self._ssrc)
        self._sequence += 1
        return header + payload

    def _frame(self) -> None:
        self._stamp += FRAME_SAMPLES
        self._at += FRAME_NS

    def silence(self, frames: int) -> Iterator[tuple[int, bytes]]:
        """`frames` packets of 20 ms of µ-law silence."""
        for _ in range(frames):
            yield self._at, self._packet(PCMU, self._stamp, PCMU_SILENCE)
            self._frame()

    def keys(
        self, digits: str, *, frames: int = 2, gap: int = 1, ends: int = 3, copies: int = 1
    ) -> Iterator[tuple[int, bytes]]:
        """Each digit for `frames` packets, then its end packet `ends` times, then `gap` packets of silence.

        The network may lose end packets (`ends` 1) or deliver each packet more than once (`copies`).
        """
        for digit in digits:
            start = self._stamp
            for frame in range(frames):
                payload = EVENT.pack(EVENTS[digit], VOLUME, (frame + 1) * FRAME_SAMPLES)
                packet = self._packet(self._events, start, payload, marker=frame == 0)
                yield from [(self._at, packet)] * copies
                self._frame()
            for _ in range(ends):
                payload = EVENT.pack(EVENTS[digit], END | VOLUME, frames * FRAME_SAMPLES)
                yield from [(self._at, self._packet(self._events, start, payload))] * copies
            yield from self.silence(gap)


def checksum(octets: bytes) -> int:
    """The Internet checksum (RFC 1071)."""
    padded = octets + b"\0" * (len(octets) % 2)
    total: int = sum(struct.unpack(f"!{len(padded) // 2}H", padded))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def udp_frame(source: tuple[str, int], destination: tuple[str, int], payload: bytes) -> bytes:
    """An Ethernet frame with one UDP datagram, IPv4 or IPv6, checksums right."""
    src, dst = (ipaddress.ip_address(end[0]).packed for end in (source, destination))
    length = 8 + len(payload)
    header = struct.pack("!HHHH", source[1], destination[1], length, 0)
    total = checksum(src + dst + struct.pack("!IHBB", length, 0, 0, UDP) + header + payload) or 0xFFFF
    datagram = header[:6] + struct.pack("!H", total) + payload
    if len(src) == 16:
        packet = struct.pack("!IHBB", 6 << 28, length, UDP, 64) + src + dst + datagram
        return b"\x02\0\0\0\0\x02\x02\0\0\0\0\x01\x86\xdd" + packet
    header = struct.pack("!BBHHHBBH4s4s", 0x45, 0, 20 + length, 0, 0x4000, 64, UDP, 0, src, dst)
    header = header[:10] + struct.pack("!H", checksum(header)) + header[12:]
    return b"\x02\0\0\0\0\x02\x02\0\0\0\0\x01\x08\0" + header + datagram


def write_pcap(path: Path, frames: Iterable[tuple[int, bytes]], *, nanoseconds: bool = True) -> None:
    """A classic pcap file of Ethernet `frames`: (time in ns, octets), in order."""
    magic, unit = (PCAP_NANOSECONDS, 1) if nanoseconds else (PCAP_MICROSECONDS, 1000)
    with path.open("wb") as file:
        file.write(struct.pack("<IHHiIII", magic, 2, 4, 0, 0, 262_144, LINKTYPE_ETHERNET))
        for at_ns, frame in frames:
            seconds, rest = divmod(at_ns, NS)
            file.write(struct.pack("<IIII", seconds, rest // unit, len(frame), len(frame)) + frame)


def write_speech(path: Path, packets: Iterable[tuple[int, bytes]]) -> int:
    """A file for sipp's `play_pcap_audio` (which puts its own addresses in). Returns its length in milliseconds."""
    made = list(packets)
    ends = ("192.0.2.1", 6000), ("192.0.2.2", 6000)
    write_pcap(path, [(at, udp_frame(*ends, packet)) for at, packet in made], nanoseconds=False)
    return (made[-1][0] + FRAME_NS) // 1_000_000 if made else 0
