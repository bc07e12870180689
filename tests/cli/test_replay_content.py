"""`replay` with an order for content: what it sums up of a capture, and nothing of others."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from mediation.access import feeds
from mediation.cli.demo.recording import Recording
from tests.cli.test_replay import ALICE, BOB, CAROL, Site


def packets_between(path: Path, first: str, second: str) -> int:
    """RTP frames of the capture between two hosts, counted by address and port alone."""
    places = [bytes(int(part) for part in host.split(".")) for host in (first, second)]
    count = 0
    with path.open("rb") as file:
        for frame in feeds.frames(file):
            source, destination = frame.octets[26:30], frame.octets[30:34]
            port = int.from_bytes(frame.octets[36:38], "big")
            count += [source, destination] == places and port != 5060
    return count


@pytest.mark.parametrize("form", ["cc-apdu", "packetcable"])
def test_content_is_summed_up(tmp_path: Path, form: str) -> None:
    site = Site(tmp_path / "site")
    site.order("CASE-1", f"tel:{ALICE.number}", "--content", "--content-form", form)
    calls = Recording()
    now = time.time_ns()
    calls.call(ALICE, BOB, "alice@test", now, keys="11#")
    calls.call(CAROL, BOB, "carol@test", now + 1_000_000, keys="22#")
    calls.write(tmp_path / "calls.pcap")
    messages, _ = site.replay(tmp_path / "calls.pcap")
    names = [each["message"] for each in messages]
    assert [name for name in names if name not in ("dialedDgtExtrn", "networkSignal")] == [
        "origination", "ccOpen", "answer", "ccClose", "release", "content",
    ]  # fmt: skip
    opened, summary = messages[names.index("ccOpen")], messages[-1]
    pair = opened["fields"]["deliveryIdentifier"]["cccId"]["sepCCCpair"]
    assert (summary["case"], summary["call"]) == ("CASE-1", "alice@test")
    assert (summary["ccc"], summary["direction"]) == (pair["sepXmitCCC"], "fromSubject")
    sent = packets_between(tmp_path / "calls.pcap", ALICE.address, BOB.address)
    assert sent > 10
    assert (summary["packets"], summary["lost"]) == (sent, 0)
    assert summary["octets"] >= sent * 40
    assert not any("carol" in str(each) for each in messages)
