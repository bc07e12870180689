"""Whole calls written as a capture file: for the demo where no network can be built (not root, or no sipp).

The messages are those of RFC 3261 §24 in small: INVITE, 180, 200, ACK, the caller's keys as RFC 4733 events between
silence, BYE, 200. Times are nanoseconds since 1970 and become the event times of the replay.
"""

from __future__ import annotations

from pathlib import Path

from mediation.cli.demo.media import Speech, udp_frame, write_pcap
from mediation.cli.demo.people import MEDIA_PORT, Person

SIP_PORT = 5060
STEP_NS = 1_500_000  # between two signalling messages
RING_NS = 400_000_000


class Recording:
    """Frames of several calls, merged by time when the file is written."""

    def __init__(self) -> None:
        self._frames: list[tuple[int, bytes]] = []

    def call(self, caller: Person, called: Person, call_id: str, start_ns: int, *, keys: str = "") -> int:
        """An answered call; `keys` are pressed by the caller. Returns the time of its end."""
        at = start_ns

        def send(sender: Person, receiver: Person, first: str, method: str, sequence: int, *more: str,
                 tag: bool = True, body: str = "") -> None:  # fmt: skip
            nonlocal at
            host = f"[{caller.address}]" if ":" in caller.address else caller.address
            head = [
                first,
                f"Via: SIP/2.0/UDP {host}:{SIP_PORT};branch=z9hG4bK-{call_id.partition('@')[0]}-{sequence}{method[0]}",
                f'From: "{caller.name}" <{caller.uri}>;tag=c1',
                f"To: <{called.uri}>{';tag=d1' if tag else ''}",
                f"Call-ID: {call_id}", f"CSeq: {sequence} {method}", *more,
                *(["Content-Type: application/sdp"] if body else []),
                f"Content-Length: {len(body)}", "", body,
            ]  # fmt: skip
            ends = (sender.address, SIP_PORT), (receiver.address, SIP_PORT)
            self._frames.append((at, udp_frame(*ends, "\r\n".join(head).encode())))
            at += STEP_NS

        contact = f"Contact: <sip:{caller.number}@{caller.address}>"
        send(caller, called, f"INVITE {called.uri} SIP/2.0", "INVITE", 1, "Max-Forwards: 70", contact,
             tag=False, body=caller.session())  # fmt: skip
        send(called, caller, "SIP/2.0 180 Ringing", "INVITE", 1)
        at += RING_NS
        send(called, caller, "SIP/2.0 200 OK", "INVITE", 1, f"Contact: <sip:{called.address}>", body=called.session())
        send(caller, called, f"ACK {called.uri} SIP/2.0", "ACK", 1, "Max-Forwards: 70")
        voice = Speech(ssrc=0x1D0)
        ends = (caller.address, MEDIA_PORT), (called.address, MEDIA_PORT)
        spoken = [*voice.silence(5), *voice.keys(keys), *voice.silence(5)]
        self._frames += [(at + offset, udp_frame(*ends, packet)) for offset, packet in spoken]
        at += spoken[-1][0] + RING_NS
        send(caller, called, f"BYE {called.uri} SIP/2.0", "BYE", 2, "Max-Forwards: 70")
        send(called, caller, "SIP/2.0 200 OK", "BYE", 2)
        return at

    def write(self, path: Path) -> int:
        """The capture file, in order of time. Returns the number of packets."""
        self._frames.sort(key=lambda frame: frame[0])
        write_pcap(path, self._frames)
        return len(self._frames)
