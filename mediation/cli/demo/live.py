"""The demo with real calls: sipp in network namespaces, the tap on the switch's wire, everything as it happens."""

from __future__ import annotations

import json
import time
from contextlib import closing
from datetime import datetime
from pathlib import Path

from mediation.cli.demo import content, order, proof
from mediation.cli.demo.people import ALICE, BOB, CAROL, DAVE
from mediation.cli.demo.screen import Screen, grouped
from mediation.cli.demo.showing import EVENT_LIMIT_S, Showing, is_message
from mediation.cli.demo.site import label

CASE, OTHER_CASE = "LAB-2025-0001", "LAB-2025-0002"
STOP_LIMIT_S = 1.0
STATUS_LIMIT_S = 3.0
SIGNALLING_OF_A_CALL = 6  # INVITE, 180, 200, ACK, BYE, 200
EXPECTED = ["origination", "networkSignal ringbackTone", "answer", "dialedDgtExtrn 1123#", "release"]


def play(screen: Screen, folder: Path, site_path: Path) -> None:
    """All acts, in order."""
    screen.chapter("A switch, four telephones, and a tap that no order has armed")
    live = Showing(screen, folder, site_path, CASE)
    with closing(live):
        site = live.site
        for person, what in ((ALICE, "will be the subject of an order"), (BOB, ""), (CAROL, "no order, ever"),
                             (DAVE, "no order, ever")):  # fmt: skip
            screen.say(f"{person.name:18} {person.number}  {person.address}  {what}")
        site.collect(content_dir=content.folder(site))
        began = time.monotonic()
        site.run()
        screen.check("access, delivery and administration run as processes of their own; the tap is open", True,
                     f"{time.monotonic() - began:.1f} s")  # fmt: skip
        no_order(live)
        ordered(live)
        under_order(live)
        withdrawn(live)
        content.play(live, ALICE, BOB, (CAROL, DAVE))
        agency = folder / "agency.jsonl"
        assert site.messages is not None
        lines = site.messages.since()
        agency.write_text("".join(json.dumps(line) + "\n" for line in lines))
        site.stop()
        screen.chapter("What is left of Carol's and Dave's call")
        wanted = proof.wanted([CAROL, DAVE], ["carol-calls-dave", "carol-beside-content", "alice-before-the-order"])
        proof.nothing_of_others(screen, site, wanted, CASE, agency=agency, traffic=live.traffic)
        screen.chapter("The ledger")
        proof.ledger(screen, site, folder)
        # Digits wait for the end of their string and a call with content for its last packet, both by design: they
        # tell of the caller's fingers and of the call's tail, not of the path.
        latencies = [int(line["latency_us"]) for line in lines
                     if line.get("latency_us") is not None and line["message"] != "dialedDgtExtrn"
                     and line["case"] != content.CASE]  # fmt: skip
        screen.line()
        screen.note(
            f"tap to agency, with durable spool and TLS 1.3 between: {', '.join(grouped(latencies))} of "
            f"{len(latencies)} messages; the rule is 8 s (keys: from the first key pressed)"
        )


def no_order(live: Showing) -> None:
    screen = live.screen
    screen.chapter("A call while there is no order")
    keys = live.keys("before", "99#")
    live.dial(ALICE, BOB, lambda party: party.connected().play(*keys).bye(), "alice-before-the-order").wait()
    screen.say(f"{ALICE.name} has called {BOB.name}, pressed keys, and hung up.")
    assert live.site.messages is not None
    seen, matched = at_the_tap(live, SIGNALLING_OF_A_CALL)
    screen.check("the tap was awake: the call's signalling passed it, and it forgot each packet at once",
                 seen == SIGNALLING_OF_A_CALL and matched == 0, f"{seen} packets, {matched} matched")  # fmt: skip
    screen.check("nothing went to the agency", len(live.site.messages) == 0, f"{len(live.site.messages)} messages")


def at_the_tap(live: Showing, wanted: int) -> tuple[int, int]:
    """Signalling packets that the tap has read, once they are `wanted`, and messages it gave to the mediator."""
    limit = time.monotonic() + STATUS_LIMIT_S
    while True:
        functions = json.loads(live.site.command("status", "--site", str(live.site.path), "--json"))["functions"]
        seen = sum(int(tap["frames"]["to_signalling"]) for tap in functions["iap"]["taps"])
        if seen >= wanted or time.monotonic() > limit:
            return seen, int(functions["mediator"]["intake"]["pdus"])


def ordered(live: Showing) -> None:
    screen, site = live.screen, live.site
    screen.chapter("An order: a court's paper, and three signatures of three people")
    began = time.monotonic()
    order.play(screen, site, ALICE, CASE, live.folder / "papers")
    screen.check(f"{CASE} is armed: written to the ledger first, verified by tap and mediator for themselves", True,
                 f"{time.monotonic() - began:.1f} s")  # fmt: skip
    site.order(OTHER_CASE, f"tel:{BOB.number}", authority="trap-and-trace")
    screen.note(f"({OTHER_CASE}, on {BOB.name}, is armed as well: it will show that one case ends without the other)")


def under_order(live: Showing) -> None:
    screen, site = live.screen, live.site
    screen.chapter("The same call again, now under the order, and Carol calls Dave at the same time")
    carol = live.dial(CAROL, DAVE, lambda party: party.connected().mark().gate().play(*live.keys("carol", "5550#"))
                      .bye(), "carol-calls-dave")  # fmt: skip
    carol.until_mark()
    screen.head()
    alice = live.dial(ALICE, BOB, lambda party: party.connected().mark().gate().play(*live.keys("on", "1123#")).gate()
                      .play(*live.keys("off", "4567#")).mark().gate().bye(), "alice-under-order")  # fmt: skip
    alice.until_mark()
    live.show_until(is_message(CASE, "answer"))
    screen.note("dialed digit extraction is on: Alice presses 1123#")
    alice.open_gate()
    live.show_until(is_message(CASE, "dialedDgtExtrn"))
    site.case("dde", CASE, "off")
    screen.note("the officer has switched it off, the call goes on: Alice presses 4567#")
    alice.open_gate()
    carol.open_gate()
    carol.wait()
    alice.until_mark()
    alice.open_gate()
    live.show_until(is_message(CASE, "release"))
    alice.wait()
    got = [label(line) for line in live.of(CASE) if line["message"] != "surveillanceStatus"]
    screen.check("the call's messages came, in order, and are those of this call alone", got == EXPECTED,
                 ", ".join(got) if got != EXPECTED else f"{len(got)} messages")  # fmt: skip
    screen.check("keys came while extraction was on, none after it was off", "dialedDgtExtrn 1123#" in got
                 and sum(text.startswith("dialedDgtExtrn") for text in got) == 1)  # fmt: skip
    late = [line for line in live.of(CASE) if int(line["latency_us"]) > EVENT_LIMIT_S * 1e6]
    screen.check("every message within 8 s (47 CFR 1.20007(a)(14))", not late)


def withdrawn(live: Showing) -> None:
    screen, site = live.screen, live.site
    screen.chapter("The legal token is withdrawn while a call is up")
    site.case("dde", CASE, "on")
    pressed = "1#2#3#4#5#6#7#8#9#0#" * 4
    start = len(site.messages or [])
    alice = live.dial(ALICE, BOB, lambda party: party.connected().play(*live.keys("stream", pressed)).mark().gate()
                      .bye(), "alice-revoked")  # fmt: skip
    screen.note("Alice presses a key and # about eight times a second, and goes on doing so")
    screen.head()
    for key in ("1#", "2#", "3#"):
        live.show_until(is_message(CASE, f"dialedDgtExtrn {key}"))
    before = time.monotonic()
    site.revoke(CASE)
    took = time.monotonic() - before
    screen.note(f"the legal reviewer has signed a revocation and handed it in (command: {took:.2f} s); the keys go on")
    alice.until_mark()
    alice.open_gate()
    fence = live.show_until(is_message(OTHER_CASE, "release"))
    alice.wait()
    arrived = [datetime.fromisoformat(line["arrived"]).timestamp() for line in live.of(CASE, start)]
    sent = sum(line["message"] == "dialedDgtExtrn" for line in live.of(CASE, start))
    revoked = proof.revoked_at(site, CASE)
    last = max(arrived, default=revoked) - revoked
    screen.check(
        "delivery stopped within a second, in mid-call", fence is not None and 0 < sent < len(pressed) // 2
        and last <= STOP_LIMIT_S,
        f"last message {last:.3f} s after the ledger took it in; {sent} of {len(pressed) // 2} keys delivered",
    )  # fmt: skip
    screen.check(f"the other case, {OTHER_CASE}, was served to the end of the same call", fence is not None)
