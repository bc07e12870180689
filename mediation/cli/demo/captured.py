"""The demo without a network of its own: the same calls written as capture files, sent through the same code.

`mediation replay` judges an order's validity at the time of the replay, so each act replays its call under the orders
that stand at that moment.
"""

from __future__ import annotations

import json
import time
from pathlib import Path

from mediation.cli.demo import order, proof
from mediation.cli.demo.live import CASE, EXPECTED
from mediation.cli.demo.people import ALICE, BOB, CAROL, DAVE
from mediation.cli.demo.recording import Recording
from mediation.cli.demo.screen import Screen
from mediation.cli.demo.site import LabSite, Line, label


def recorded(path: Path, name: str, keys: str) -> Path:
    """A capture of Alice's call to Bob, with Carol's call to Dave across it."""
    calls, now = Recording(), time.time_ns()
    calls.call(ALICE, BOB, f"alice-{name}@demo", now, keys=keys)
    calls.call(CAROL, DAVE, f"carol-{name}@demo", now + 50_000_000, keys="5550#")
    path.mkdir(parents=True, exist_ok=True)
    file = path / f"{name}.pcap"
    calls.write(file)
    return file


def play(screen: Screen, folder: Path, site_path: Path) -> None:
    """All acts, in order."""
    traffic = folder / "captures"
    got: list[Line] = []

    def replay(name: str, keys: str) -> list[Line]:
        output = site.command("replay", "--site", str(site.path), str(recorded(traffic, name, keys)))
        lines = [json.loads(text) for text in output.splitlines() if text.startswith("{")]
        for line in lines:
            screen.event(line)
        got.extend(lines)
        return [line for line in lines if line["message"] != "surveillanceStatus"]

    screen.chapter("A site, and captures in which Alice calls Bob while Carol calls Dave")
    site = LabSite(site_path)
    screen.check("the site is made: configuration, roster, ledger, spool", (site_path / "config.toml").is_file())
    screen.chapter("A call while there is no order")
    screen.check("nothing comes of it", not replay("before", "99#"))
    screen.chapter("An order: a court's paper, and three signatures of three people")
    order.play(screen, site, ALICE, CASE, folder / "papers")
    screen.check(f"{CASE} is active", True)
    screen.chapter("The same call again, under the order, digit extraction on")
    screen.head()
    labels = [label(line) for line in replay("on", "1123#")]
    screen.check("the call's messages came, in order, and are those of this call alone", labels == EXPECTED,
                 ", ".join(labels) if labels != EXPECTED else f"{len(labels)} messages")  # fmt: skip
    screen.chapter("The officer switches digit extraction off")
    site.case("dde", CASE, "off")
    screen.head()
    labels = [label(line) for line in replay("off", "4567#")]
    expected = [text for text in EXPECTED if not text.startswith("dialedDgtExtrn")]
    screen.check("the same messages, and no digits", labels == expected, f"{len(labels)} messages")
    screen.chapter("The legal token is withdrawn")
    site.revoke(CASE)
    screen.check("nothing comes of the next call", not replay("revoked", "1#2#3#"))
    agency = folder / "agency.jsonl"
    agency.write_text("".join(json.dumps(line) + "\n" for line in got))
    screen.chapter("What is left of Carol's and Dave's calls")
    words = [f"carol-{act}@demo" for act in ("before", "on", "off", "revoked")]
    words += ["alice-before@demo", "alice-revoked@demo"]
    wanted = proof.wanted([CAROL, DAVE], words)
    proof.nothing_of_others(screen, site, wanted, CASE, agency=agency, traffic=traffic)
    screen.chapter("The ledger")
    proof.ledger(screen, site, folder)
