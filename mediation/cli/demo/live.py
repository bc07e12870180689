"""The demo with real calls: sipp in network namespaces, the tap on the switch's wire, everything as it happens."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable
from contextlib import ExitStack, closing
from datetime import datetime
from pathlib import Path

from mediation.cli.demo import content, order, proof
from mediation.cli.demo.media import Speech, write_speech
from mediation.cli.demo.network import SPAN, Network
from mediation.cli.demo.recording import Person
from mediation.cli.demo.screen import Screen, grouped
from mediation.cli.demo.sipp import Called, Caller, Running
from mediation.cli.demo.site import LabSite, Line, label

ALICE = Person("Alice Ashcroft", "+12025550147", "10.77.1.1")  # the subject of the order
BOB = Person("Bob Birdwhistle", "+13035550123", "10.77.2.1")
CAROL = Person("Carol Cobblepot", "+17035550188", "10.77.3.1")  # of no order
DAVE = Person("Dave Dinglehopper", "+17045550199", "10.77.4.1")
CASE, OTHER_CASE = "LAB-2025-0001", "LAB-2025-0002"
EVENT_LIMIT_S = 8.0  # 47 CFR 1.20007(a)(14)
STOP_LIMIT_S = 1.0
STATUS_LIMIT_S = 3.0
SIGNALLING_OF_A_CALL = 6  # INVITE, 180, 200, ACK, BYE, 200
EXPECTED = ["origination", "networkSignal ringbackTone", "answer", "dialedDgtExtrn 1123#", "release"]


class Live:
    """The network, the site and the screen of one showing."""

    def __init__(self, screen: Screen, folder: Path, site_path: Path) -> None:
        self.screen, self.folder = screen, folder
        self._stack = ExitStack()
        self.traffic = folder / "telephones"
        self.network = self._stack.enter_context(Network(f"mdemo{os.getpid()}"))
        try:
            switch = self.network.switch()
            for person in (ALICE, BOB, CAROL, DAVE):
                self.network.peer(self._home(person), f"{person.address}/16")
            self.site = LabSite(site_path, iaps=(
                f'[[iap]]\nname = "SWITCH-1"\ninterface = "{SPAN}"\nnamespace = "{switch}"\nside = "access"\n'
            ))  # fmt: skip
            self._stack.callback(self.site.stop)
        except BaseException:
            self._stack.close()
            raise
        self.shown = 0
        self.case = CASE  # whose messages are shown

    @staticmethod
    def _home(person: Person) -> str:
        return person.name.split()[0].lower()

    def close(self) -> None:
        self._stack.close()

    def dial(self, caller: Person, called: Person, steps: Callable[[Caller], Caller], call_id: str) -> Running:
        """A real call between two telephones, under way when this returns."""
        for_called = Called().ring().answer().released()
        home = self.network.namespace
        answering = Running(for_called, home(self._home(called)), called.address, self.traffic / f"{call_id}-called")
        self._stack.callback(answering.stop)
        from_caller = steps(Caller(caller.number, called.number, name=caller.name))
        calling = Running(from_caller, home(self._home(caller)), caller.address, self.traffic / f"{call_id}-caller",
                          remote=called.address, call_id=call_id)  # fmt: skip
        self._stack.callback(calling.stop)
        return calling

    def keys(self, name: str, digits: str) -> tuple[Path, int]:
        """A recording of keys for one party's telephone."""
        self.traffic.mkdir(parents=True, exist_ok=True)
        voice = Speech(ssrc=len(name) << 8 | len(digits))
        file = self.traffic / f"{name}.pcap"
        return file, write_speech(file, [*voice.silence(2), *voice.keys(digits), *voice.silence(2)])

    def show_until(self, wanted: Callable[[Line], bool] | None, limit: float = EVENT_LIMIT_S) -> Line | None:
        """Prints messages as they arrive, up to the one that is wanted; None when it did not come."""
        messages = self.site.messages
        assert messages is not None
        end = time.monotonic() + limit
        while True:
            line = messages.wait(lambda _: True, max(0.0, end - time.monotonic()) if wanted else 0.0, since=self.shown)
            if line is None:
                return None
            self.shown += 1
            if "message" not in line or line["message"] == "content":
                continue
            if line["case"] == self.case or wanted is None or wanted(line):
                self.screen.event(line, "" if line["case"] == self.case else f"  (of the other case, {line['case']})")
            if wanted is not None and wanted(line):
                return line

    def of(self, case: str, since: int = 0) -> list[Line]:
        assert self.site.messages is not None
        return [line for line in self.site.messages.since(since) if line.get("case") == case]


def is_message(case: str, name: str) -> Callable[[Line], bool]:
    return lambda line: line.get("case") == case and name in (line.get("message"), label(line))


def play(screen: Screen, folder: Path, site_path: Path) -> None:
    """All acts, in order."""
    screen.chapter("A switch, four telephones, and a tap that no order has armed")
    live = Live(screen, folder, site_path)
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


def no_order(live: Live) -> None:
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


def at_the_tap(live: Live, wanted: int) -> tuple[int, int]:
    """Signalling packets that the tap has read, once they are `wanted`, and messages it gave to the mediator."""
    limit = time.monotonic() + STATUS_LIMIT_S
    while True:
        functions = json.loads(live.site.command("status", "--site", str(live.site.path), "--json"))["functions"]
        seen = sum(int(tap["frames"]["to_signalling"]) for tap in functions["iap"]["taps"])
        if seen >= wanted or time.monotonic() > limit:
            return seen, int(functions["mediator"]["intake"]["pdus"])


def ordered(live: Live) -> None:
    screen, site = live.screen, live.site
    screen.chapter("An order: a court's paper, and three signatures of three people")
    began = time.monotonic()
    order.play(screen, site, ALICE, CASE, live.folder / "papers")
    screen.check(f"{CASE} is armed: written to the ledger first, verified by tap and mediator for themselves", True,
                 f"{time.monotonic() - began:.1f} s")  # fmt: skip
    site.order(OTHER_CASE, f"tel:{BOB.number}", authority="trap-and-trace")
    screen.note(f"({OTHER_CASE}, on {BOB.name}, is armed as well: it will show that one case ends without the other)")


def under_order(live: Live) -> None:
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


def withdrawn(live: Live) -> None:
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
