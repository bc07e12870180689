"""The load, made before the clock starts: frame files for bench/baseline/sender.c (the format is described there).

`mix` is ordinary calls (INVITE 100 180 200 ACK BYE 200, RFC 3261 §24.2), every SIP message padded to the same size,
interleaved as calls of different ages are on a trunk. `events` is calls of one subject, of which every message makes
exactly one call event and carries the moment it was sent in its own text.
"""

from __future__ import annotations

import random
import struct
from collections.abc import Iterable, Sequence
from pathlib import Path

COUNTER = "0123456789"  # replaced by the sender: ten digits that make every call of every pass a new one
STAMP = "0000000000000000000"  # replaced by the sender: when the call was opened, nanoseconds since 1970
OWN_STAMP = "9999999999999999999"  # replaced by the sender: when this very message was sent
SUBJECT_IP, PROXY_IP = "192.0.2.10", "192.0.2.20"  # RFC 5737 documentation addresses
CALLER_DIGITS, CALLED_DIGITS = "111111111", "222222222"  # replaced by the sender: nine digits drawn for each call
# Flags of an offset (sender.c): the frame's own stamp; digits of the caller; digits of the called party.
OWN, CALLER, CALLED = 0x8000, 0x4000, 0x2000
# Distance in calls between an INVITE and each later message of its call: calls of all ages are on the wire at once.
AGES = (("invite", 0), ("100", 1), ("180", 8), ("200", 64), ("ack", 66), ("bye", 512), ("200bye", 514))


def number(index: int) -> str:
    """The index-th number that may be a target, E.164 without +: always 12…, other parties are 13… and 14…."""
    return f"12{index * 797 % 10**9:09d}"  # 797 has no factor of 10, so a thousand million numbers differ


def _checksum(header: bytes) -> int:
    total: int = sum(struct.unpack(f"!{len(header) // 2}H", header))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def frame(sip: bytes, source: str, destination: str) -> bytes:
    """Ethernet, IPv4 and UDP around `sip`; no UDP checksum (RFC 768 allows it), because the sender changes digits."""
    addresses = bytes(map(int, source.split("."))) + bytes(map(int, destination.split(".")))
    header = struct.pack("!BBHHHBBH", 0x45, 0, 28 + len(sip), 0, 0x4000, 64, 17, 0) + addresses
    header = header[:10] + struct.pack("!H", _checksum(header)) + header[12:]
    udp = struct.pack("!HHHH", 5060, 5060, 8 + len(sip), 0)
    return bytes.fromhex("02000000000202000000000108 00") + header + udp + sip


def write(path: Path, frames: Iterable[tuple[bytes, int, Sequence[int]]], calls: int) -> int:
    """Writes (octets, ordinal, offsets) records; returns the number of frames."""
    body = bytearray()
    count = 0
    for octets, ordinal, offsets in frames:
        body += struct.pack(f"<HHi{len(offsets)}H", len(octets), len(offsets), ordinal, *offsets) + octets
        count += 1
    path.write_bytes(b"SIPF" + struct.pack("<II", count, calls) + body)
    return count


def _offsets(octets: bytes, mark: bytes, flag: int = 0) -> list[int]:
    found = []
    at = octets.find(mark)
    while at >= 0:
        found.append(at | flag)
        at = octets.find(mark, at + len(mark))
    return found


SDP = (
    "v=0\r\no=- 3940 3940 IN IP4 {ip}\r\ns={name}\r\nc=IN IP4 {ip}\r\nt=0 0\r\nm=audio 16384 RTP/AVP 0 101\r\n"
    "a=rtpmap:0 PCMU/8000\r\na=rtpmap:101 telephone-event/8000\r\n"
)


def message(
    kind: str, caller: str, called: str, call_id: str, *, size: int = 0, name: str = "-", reason: str = ""
) -> bytes:
    """One SIP message of a call, padded by its User-Agent header to `size` octets.

    `call_id` also makes the tags and the branch; `name` is the SDP's session name; `reason` a Reason header's value.
    """
    starts = {
        "invite": f"INVITE sip:+{called}@{PROXY_IP};user=phone SIP/2.0",
        "100": "SIP/2.0 100 Trying",
        "180": "SIP/2.0 180 Ringing",
        "200": "SIP/2.0 200 OK",
        "ack": f"ACK sip:+{called}@{PROXY_IP}:5060 SIP/2.0",
        "bye": f"BYE sip:+{called}@{PROXY_IP}:5060 SIP/2.0",
        "200bye": "SIP/2.0 200 OK",
    }
    sequence = {"ack": "1 ACK", "bye": "2 BYE", "200bye": "2 BYE"}.get(kind, "1 INVITE")
    lines = [
        starts[kind],
        f"Via: SIP/2.0/UDP {SUBJECT_IP}:5060;branch=z9hG4bK{call_id}{sequence[0]}",
        "Max-Forwards: 70",
        f'From: "Line" <sip:+{caller}@{SUBJECT_IP};user=phone>;tag=f{call_id}',
        f"To: <sip:+{called}@{PROXY_IP};user=phone>" + ("" if kind in ("invite", "100") else f";tag=t{call_id}"),
        f"Call-ID: {call_id}@{SUBJECT_IP}",
        f"CSeq: {sequence}",
    ]
    here, party = (SUBJECT_IP, caller) if kind == "invite" else (PROXY_IP, called)
    if kind in ("invite", "200"):
        lines.append(f"Contact: <sip:+{party}@{here}:5060>")
    if kind == "invite":
        lines.append(f"P-Asserted-Identity: <sip:+{caller}@{SUBJECT_IP};user=phone>")
    if reason:
        lines.append(f"Reason: {reason}")
    body = SDP.format(ip=here, name=name) if kind in ("invite", "200") else ""
    if body:
        lines.append("Content-Type: application/sdp")
    tail = f"Content-Length: {len(body)}\r\n\r\n{body}"
    head = "\r\n".join(lines) + "\r\n"
    agent = "User-Agent: softswitch/1.0"
    pad = size - len(head) - len(tail) - len(agent) - 2
    return f"{head}{agent}{'x' * max(0, pad)}\r\n{tail}".encode()


def mix(path: Path, *, calls: int, targets: int, share: float, size: int = 700) -> tuple[int, int]:
    """Writes one pass of `calls` calls and returns (frames, frames of subjects).

    `share` of the calls have a subject, alternately calling and called, one of the first `targets` numbers of
    `number`; all other parties are drawn by the sender, and never targets. Frames of a call that began in the pass
    before carry a negative ordinal.
    """
    chosen = random.Random(1)  # the same load in every run
    every = round(1 / share) if share else 0
    parties = []
    for call in range(calls):
        pair = ["13" + CALLER_DIGITS, "14" + CALLED_DIGITS]
        if every and call % every == every // 2:
            pair[call // every % 2] = number(chosen.randrange(targets))
        parties.append((pair[0], pair[1]))
    marks = ((COUNTER.encode(), 0), (b"13" + CALLER_DIGITS.encode(), CALLER), (b"14" + CALLED_DIGITS.encode(), CALLED))

    def frames() -> Iterable[tuple[bytes, int, list[int]]]:
        for step in range(calls):
            for kind, age in AGES:
                call = step - age
                octets = message(kind, *parties[call % calls], COUNTER, size=size)
                out = kind in ("invite", "ack", "bye")
                sent = frame(octets, *((SUBJECT_IP, PROXY_IP) if out else (PROXY_IP, SUBJECT_IP)))
                offsets = []
                for mark, flag in marks:
                    skip = 2 if flag else 0  # 13 and 14 stay
                    offsets += [(at + skip) | flag for at in _offsets(sent, mark)]
                yield sent, call, offsets

    count = write(path, frames(), calls)
    subjects = sum(1 for call in range(calls) if every and call % every == every // 2)
    return count, subjects * len(AGES)


def standing(path: Path, *, calls: int) -> int:
    """Writes `calls` calls that are answered and not ended, each of another of the first numbers of `number`, calling;
    64 are being set up at any time. Returns frames."""

    def frames() -> Iterable[tuple[bytes, int, list[int]]]:
        for step in range(calls + 66):
            for kind, age in (("invite", 0), ("200", 64), ("ack", 66)):
                call = step - age
                if not 0 <= call < calls:
                    continue
                octets = message(kind, number(call), f"14{call:09d}", COUNTER, size=700)
                sent = frame(octets, *((PROXY_IP, SUBJECT_IP) if kind == "200" else (SUBJECT_IP, PROXY_IP)))
                yield sent, call, _offsets(sent, COUNTER.encode())

    return write(path, frames(), calls)


def events(path: Path, *, calls: int, subject: str, live: int) -> int:
    """Writes `calls` calls of `subject`: INVITE, 200, BYE, one call event each, `live` calls up at any time.

    The Call-ID holds the stamp of the INVITE; the 200 (in its session name) and the BYE (in its Reason, RFC 3326) hold
    their own. The latest stamp in a record is therefore that of the message that made it. Returns frames in a pass.
    """
    chosen = random.Random(2)
    called = [f"14{chosen.randrange(10**9):09d}" for _ in range(calls)]
    own, opening = OWN_STAMP.encode(), STAMP.encode()

    def frames() -> Iterable[tuple[bytes, int, list[int]]]:
        for step in range(calls):
            for kind, age in (("invite", 0), ("200", live // 2), ("bye", live)):
                call = step - age
                octets = message(
                    kind, subject, called[call % calls], f"lat-{STAMP}", size=700, name=f"lat-{OWN_STAMP}",
                    reason=f'SIP;cause=200;text="lat-{OWN_STAMP}"' if kind == "bye" else "",
                )  # fmt: skip
                sent = frame(octets, *((PROXY_IP, SUBJECT_IP) if kind == "200" else (SUBJECT_IP, PROXY_IP)))
                yield sent, call, _offsets(sent, own, OWN) + _offsets(sent, opening, OWN if kind == "invite" else 0)

    return write(path, frames(), calls)
