"""The demo's order for content: what the subject said arrives octet by octet, and of the call beside it nothing.

What a telephone sends is a recording, so each octet is known before the call; what the agency got stands in the capture
files that the lab's collection function was asked to keep.
"""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Final

from mediation.access import feeds
from mediation.cli.demo.media import RTP, Speech, write_speech
from mediation.cli.demo.people import Person
from mediation.cli.demo.showing import Showing
from mediation.cli.demo.site import LabSite, label

CASE: Final = "LAB-2025-0003"
EXPECTED: Final = ["origination", "networkSignal ringbackTone", "ccOpen", "answer", "ccClose", "release"]
FRAMES: Final = 100  # two seconds
ALICES, CAROLS = 0xA11CE, 0xCA401
HEADERS: Final = 28  # IPv4 and UDP, before the RTP
LIMIT_S: Final = 5.0
SETTLE_MS: Final = 100  # between the answer and the first word
RTP_VERSION: Final = 2


def folder(site: LabSite) -> Path:
    """Where the agency keeps content; the searches of the demo find it there."""
    return site.path / "lab" / "agency" / "content"


def play(live: Showing, subject: Person, other: Person, strangers: tuple[Person, Person]) -> None:
    """The order, both calls, and the comparison."""
    screen, site = live.screen, live.site
    screen.chapter("A wiretap order: the content of Alice's calls, while Carol talks to Dave")
    site.command("lab", "order", "--site", str(site.path), "--case", CASE, "--target", f"tel:{subject.number}",
                 "--authority", "title3", "--content")  # fmt: skip
    screen.check(f"{CASE} is armed with content, and the agency's content channel is up", until_up(site))
    alices, carols = spoken(ALICES), spoken(CAROLS)
    carol = live.dial(*strangers, lambda party: party.connected().mark().pause(SETTLE_MS)
                      .play(*recorded(live, "carol-speaks", carols)).bye(), "carol-beside-content")  # fmt: skip
    carol.until_mark()
    screen.head()
    live.case = CASE
    alice = live.dial(subject, other, lambda party: party.connected().pause(SETTLE_MS)
                      .play(*recorded(live, "alice-speaks", alices)).bye(), "alice-with-content")  # fmt: skip
    live.show_until(lambda line: (line.get("case"), line.get("message")) == (CASE, "release"), LIMIT_S * 2)
    alice.wait()
    carol.wait()
    told = [label(line) for line in live.of(CASE) if line["message"] not in ("surveillanceStatus", "content")]
    screen.check("the channel was opened before the answer and closed before the release", told == EXPECTED,
                 ", ".join(told))  # fmt: skip
    got = arrived(site, len(alices))
    wanted = [packet for _, packet in alices]
    screen.check("every packet that Alice's telephone sent arrived, octet by octet and in order", got == wanted,
                 f"{len(got)} of {len(wanted)} packets, {sum(map(len, got)):,} octets")  # fmt: skip
    strange = sum(source(packet) == CAROLS for packet in got)
    screen.check("of Carol's call, as long and at the same time, not one", bool(got) and not strange,
                 f"{strange} of {len(carols)} packets")  # fmt: skip


def spoken(ssrc: int) -> list[tuple[int, bytes]]:
    """Two seconds of one telephone's RTP, each packet unlike all others."""
    return list(Speech(ssrc=ssrc).silence(FRAMES))


def recorded(live: Showing, name: str, packets: list[tuple[int, bytes]]) -> tuple[Path, int]:
    """A recording for a telephone, and its length in milliseconds."""
    live.traffic.mkdir(parents=True, exist_ok=True)
    file = live.traffic / f"{name}.pcap"
    return file, write_speech(file, packets)


def source(packet: bytes) -> int:
    """The synchronisation source of an RTP packet; -1 of anything else."""
    return int(RTP.unpack_from(packet)[4]) if len(packet) >= RTP.size and packet[0] >> 6 == RTP_VERSION else -1


def until_up(site: LabSite) -> bool:
    """Whether the mediator has a connection for content in time."""
    limit = time.monotonic() + LIMIT_S
    while time.monotonic() < limit:
        functions = json.loads(site.command("status", "--site", str(site.path), "--json"))["functions"]
        if [link["state"] for link in functions["mediator"]["content"]["links"]] == ["up"]:
            return True
    return False


def arrived(site: LabSite, count: int) -> list[bytes]:
    """The payloads in the agency's captures of the case, once they are `count`, or when the time is up."""
    limit = time.monotonic() + LIMIT_S
    while True:
        found = []
        for path in sorted(folder(site).glob(f"{CASE}-*.pcap")):
            with path.open("rb") as file:
                found += [frame.octets[HEADERS:] for frame in feeds.frames(file)]
        if len(found) >= count or time.monotonic() > limit:
            return found
        time.sleep(0.05)
