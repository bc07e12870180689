"""A carrier's network of real peers: SBC (Kamailio, rtpengine), phones (pjsua2), and one lab site with two taps on it.

The SBC's own interface is one access point ("sbc"); promiscuous capture on the bridge is another ("span"), which sees
both sides of the proxy and the media that does not pass it. Whatever happens, everything is gone when the context
ends. The whole comes up in a few seconds and serves all tests of a file; every test has its own case and numbers.
"""

from __future__ import annotations

import itertools
import os
import shutil
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, Self

from mediation.cli.demo import network as demo_network
from mediation.cli.demo.network import SPAN, Network
from mediation.cli.demo.site import Line, Lines
from tests.rig import phone
from tests.rig.baresip import Baresip
from tests.rig.kamailio import DOMAIN, SIP_PORT, Kamailio
from tests.rig.labels import label
from tests.rig.ladder import End, udp_end
from tests.rig.phone import Phone, PhoneCall
from tests.rig.rtpengine import Rtpengine
from tests.rig.scenario import Scenario, second_case, settled
from tests.rig.sippy import BackToBack
from tests.rig.site import RigSite
from tests.rig.wire import datagram_socket

SBC, SBC6 = "10.79.0.1", "fd79::1"
FENCE_NEAR, FENCE_FAR = "10.79.9.1", "10.79.0.254"  # the fence's own addresses; the far one is the SBC's interface
PHONES = {"subject": "10.79.1.1", "alice": "10.79.2.1", "bob": "10.79.3.1", "carol": "10.79.4.1"}
BARESIP, AGENT = "10.79.5.1", "10.79.6.1"
HEP_PORT = 9060  # on the loopback of the SBC: an isolated interface
ENDS = {"left": 21, "right": 22, "third": 23, "proxy": 24}  # of ladders: 10.79.NET.n and fd79:NET::n
ENDS_AT_MOST = 60
POINTS = ("span", "sbc")
FENCE = "+12025559998"
EVENT_LIMIT_S = 8.0  # 47 CFR 1.20007(a)(14)
ARMED_LIMIT_S, ARMED_AGAIN_S = 30.0, 0.3
COUNTER = itertools.count(1)


def possible() -> str:
    """Empty when the exchange can be built here, otherwise what is missing."""
    missing = [program for program in ("kamailio", "rtpengine") if shutil.which(program) is None]
    return demo_network.possible() or (f"{' and '.join(missing)} not installed" if missing else phone.possible())


class Exchange:
    """The network, its peers and the site. Use as a context manager."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.network = Network(f"mx{os.getpid()}")
        self._open = ExitStack()
        self.phones: dict[str, Phone] = {}
        self.callers: dict[str, Phone] = {}  # whose number is at which phone

    def __enter__(self) -> Self:
        with ExitStack() as undo:
            undo.callback(self.close)
            self._build()
            undo.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        try:
            self._open.close()
        finally:
            self.network.close()

    def _build(self) -> None:
        network = self.network
        switch = network.switch()
        network.peer("sbc", f"{SBC}/16", f"{FENCE_FAR}/16", f"{SBC6}/64")
        network.peer("near", f"{FENCE_NEAR}/16")
        for name, address in PHONES.items():
            network.peer(name, f"{address}/16", f"fd79::{address.split('.')[2]}:1/64")
        network.peer("baresip", f"{BARESIP}/16")
        network.peer("agent", f"{AGENT}/16")
        for name, net in ENDS.items():
            numbers = range(1, ENDS_AT_MOST + 1)
            network.peer(name, *(f"10.79.{net}.{n}/16" for n in numbers), *(f"fd79::{net}:{n:x}/64" for n in numbers))
        sbc = network.namespace("sbc")
        # What needs seconds to come up comes up at once.
        with ThreadPoolExecutor(max_workers=3) as starting:
            site = starting.submit(self._site, switch, sbc)
            self.rtpengine = self._open.enter_context(Rtpengine(sbc, SBC, self.folder / "rtpengine"))
            self.rtpengine.until_ready()  # Kamailio asks for it once, at its start
            self.kamailio = self._open.enter_context(
                Kamailio(sbc, SBC, self.folder / "kamailio", address6=SBC6, collector=f"127.0.0.1:{HEP_PORT}")
            )
            for name in PHONES:
                self._phone(name)
            self.kamailio.until_ready()
            for made in self.phones.values():
                made.until_ready()
            self.site = site.result()
        assert self.site.messages is not None
        self.messages: Lines = self.site.messages
        self._near = self._open.enter_context(
            datagram_socket(network.namespace("near"), FENCE_NEAR, SIP_PORT, limit_s=EVENT_LIMIT_S)
        )
        self._far = self._open.enter_context(datagram_socket(sbc, FENCE_FAR, SIP_PORT, limit_s=EVENT_LIMIT_S))

    def _phone(self, name: str) -> Phone:
        made = Phone(self.network.namespace(name), PHONES[name], self.folder / name)
        self.phones[name] = self._open.enter_context(made)
        return made

    def phone(self, name: str) -> Phone:
        """A phone that runs: one that died in an earlier test is replaced, so that a failure stays that test's own."""
        if self.phones[name].process.poll() is not None:
            self._phone(name).until_ready()
        return self.phones[name]

    def _site(self, switch: str, sbc: str) -> RigSite:
        point = '[[iap]]\nname = "%s"\ninterface = "%s"\nnamespace = "%s"\nside = "access"\nports = [5060, 8080]\n'
        tunnels = 'tunnels = ["ip", "gre", "vxlan", "gtp"]\n'
        points = point % ("span", SPAN, switch) + tunnels + point % ("sbc", "eth0", sbc)
        points += (
            f'[[hep]]\nname = "hep"\ninterface = "lo"\nlisten = "127.0.0.1"\nport = {HEP_PORT}\nnamespace = "{sbc}"\n'
        )
        site = RigSite(self.folder / "site", iaps=points)
        self._open.callback(site.stop)
        site.order("FENCE", f"tel:{FENCE}")
        site.collect()
        site.run()
        return site

    def until_armed(self) -> None:
        """After a function was killed: returns when every order is armed again and calls reach the agency from both
        access points. The fence's own order tells nothing of the others, which follow it."""
        end = time.monotonic() + ARMED_LIMIT_S
        while True:
            try:
                self.fence(ARMED_AGAIN_S)
            except AssertionError:
                assert time.monotonic() < end, "the site did not come back"
                continue
            if self.site.armed():
                return
            assert time.monotonic() < end, "orders were not armed again"

    def fence(self, limit: float = EVENT_LIMIT_S) -> None:
        """Returns when everything that both taps saw before has arrived at the agency. `limit` is of the reports alone.

        Raises AssertionError.
        """
        start = len(self.messages)
        call_id = f"fence-{next(COUNTER)}"
        target = f"sip:+13035559998@{DOMAIN}"
        common = (
            f"Via: SIP/2.0/UDP {FENCE_NEAR}:5060;branch=z9hG4bK-{call_id}\r\nFrom: <sip:{FENCE}@{DOMAIN}>;tag=f\r\n"
            f"To: <{target}>%s\r\nCall-ID: {call_id}\r\nCSeq: 1 %s\r\nContent-Length: 0\r\n\r\n"
        )
        near, far = self._near, self._far
        near.sendto(f"INVITE {target} SIP/2.0\r\n{common % ('', 'INVITE')}".encode(), far.getsockname())
        far.recv(65_535)
        far.sendto(f"SIP/2.0 404 Not Found\r\n{common % (';tag=g', 'INVITE')}".encode(), near.getsockname())
        near.recv(65_535)
        near.sendto(f"ACK {target} SIP/2.0\r\n{common % (';tag=g', 'ACK')}".encode(), far.getsockname())
        far.recv(65_535)
        for point in POINTS:
            came = self.messages.wait(
                lambda line, point=point: (line.get("case"), line.get("message")) == ("FENCE", "release")  # type: ignore[misc]
                and line["fields"].get("iAPSystemId") == point,
                limit, since=start,
            )  # fmt: skip
            assert came is not None, f"the fence's own call did not reach the agency from {point}: is the path up?"

    @contextmanager
    def stage(self, name: str) -> Iterator[Floor]:
        """What the next scenario may use; its sockets are closed behind it."""
        with Floor(self, name) as floor:
            yield floor


class Subscriber:
    """A number at one phone of the exchange."""

    def __init__(self, exchange: Exchange, name: str, user: str, **more: Any) -> None:
        self.exchange, self.user, self.phone = exchange, user, exchange.phones[name]
        self.phone.number(user, SBC, **more)
        exchange.callers[user] = self.phone
        self._since = self.phone.mark()

    def dial(self, to: Subscriber | str, **more: Any) -> PhoneCall:
        return self.phone.dial(self.user, to.user if isinstance(to, Subscriber) else to, **more)

    def incoming(self) -> PhoneCall:
        """The next call to this number."""
        call = self.phone.incoming(self.user, since=self._since)
        self._since = self.phone.mark()
        return call

    def forget(self) -> None:
        """Ends what calls are left and takes the number from the phone, which has room for few."""
        if self.phone.process.poll() is None:
            self.phone.do("forget", user=self.user)
            self.exchange.callers.pop(self.user, None)

    def rings(self) -> PhoneCall:
        """Rings at the next call, until the phone that calls has heard it.

        Nobody takes off within a packet's way through the network, where the answer could overtake the ringing.
        A caller that is none of the exchange's phones is the row's own to ask.
        """
        call = self.incoming()
        caller = self.exchange.callers.get(call.caller)
        since = caller.mark() if caller is not None else 0
        call.do("answer", status=180)
        if caller is not None:
            caller.until("heard", since=since, status=180, call_id=call.call_id)
        return call

    def answers(self, status: int = 200) -> PhoneCall:
        """Rings, and answers the next call; a call that is taken is up (ACK) when this returns."""
        call = self.rings()
        call.do("answer", status=status)
        return call.until_up() if status == 200 else call


class Floor:
    """What one scenario may use of the exchange: its subject, its other parties, its case and what came of it."""

    def __init__(self, exchange: Exchange, name: str) -> None:
        self.exchange, self.site, self.kamailio = exchange, exchange.site, exchange.kamailio
        self.index = next(COUNTER)
        self.case = f"X-{name}"[:25]
        self.subject, self.other, self.third, self.fourth = (
            f"+1{area}556{1000 + self.index:04}" for area in (202, 303, 404, 505)
        )
        self.folder = exchange.folder / name
        self.folder.mkdir(parents=True, exist_ok=True)
        self.by_time = False  # of `received`
        self._start = len(exchange.messages)
        self._open = ExitStack()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._open.close()

    def closing(self, close: Callable[[], object]) -> None:
        """What is to be done when the scenario is over."""
        self._open.callback(close)

    def end(self, name: str, *, ipv6: bool = False) -> End:
        """A speaker of ladders at this scenario's address of "left", "right", "third" or "proxy"."""
        number = (self.index - 1) % ENDS_AT_MOST + 1
        address = f"fd79::{ENDS[name]}:{number:x}" if ipv6 else f"10.79.{ENDS[name]}.{number}"
        made = udp_end(self.exchange.network.namespace(name), address)
        self._open.callback(made.socket.close)
        return made

    def ends(self, *names: str, ipv6: bool = False) -> list[End]:
        return [self.end(name, ipv6=ipv6) for name in names]

    def order(self, case: str | None = None, target: str | None = None, **options: str) -> None:
        """An order on the subject under this scenario's case (or another)."""
        self.site.order(case or self.case, target or f"tel:{self.subject}", **options)

    def party(self, name: str, user: str = "", **more: Any) -> Subscriber:
        """A subscriber at one of the phones: "subject", "alice" (other), "bob" (third), "carol" (fourth)."""
        self.exchange.phone(name)
        numbers = {"subject": self.subject, "alice": self.other, "bob": self.third, "carol": self.fourth}
        made = Subscriber(self.exchange, name, user or numbers[name], **more)
        self._open.callback(made.forget)
        return made

    def baresip(self) -> Baresip:
        """A phone of another make, without a number yet. It ends with the row."""
        made = Baresip(self.exchange.network.namespace("baresip"), BARESIP, self.folder / "baresip")
        self._open.enter_context(made)
        made.until_ready()
        return made

    def back_to_back(self, name: str) -> str:
        """A back-to-back agent whose calls go on to a phone of the exchange; its address. It ends with the row."""
        namespace = self.exchange.network.namespace("agent")
        made = BackToBack(namespace, AGENT, self.folder / "agent", next_hop=f"{PHONES[name]}:{SIP_PORT}")
        self._open.enter_context(made)
        made.until_ready()
        return f"{AGENT}:{SIP_PORT}"

    def parties(self, *names: str) -> list[Subscriber]:
        return [self.party(name) for name in names]

    def wait(self, wanted: str, *, case: str | None = None, point: str = "span", count: int = 1,
             limit: float = EVENT_LIMIT_S) -> Line:  # fmt: skip
        """Awaits the `count`th message of this scenario's case by name or label, while the call is up."""
        for_case = case or self.case
        seen = 0

        def is_it(line: Line) -> bool:
            nonlocal seen
            if line.get("case") != for_case or line["message"] == "content" or self.point(line) not in (point, ""):
                return False
            seen += wanted in (line["message"], label(line))
            return seen >= count

        line = self.exchange.messages.wait(is_it, limit, since=self._start)
        assert line is not None, f"no {wanted} for {for_case}; it got {self.received(case)}"
        return line

    def until(self, count: int, *, case: str | None = None, point: str = "span", limit: float = EVENT_LIMIT_S) -> bool:
        """Waits until so many messages of a case have come; whether they have."""
        return self.exchange.messages.wait(
            lambda _: len(self.received(case, point)) >= count, limit, since=self._start
        ) is not None  # fmt: skip

    def content(self, case: str | None = None) -> dict[str, Line]:
        """The agency's last account of each content channel of a case that was closed: "packets", "lost"."""
        lines = self.exchange.messages.since(self._start)
        chosen = [line for line in lines if (line.get("case"), line.get("message")) == (case or self.case, "content")]
        return {str(line["ccc"]): line for line in chosen if line["closed"]}

    def packets(self, count: int, *, case: str | None = None, limit: float = EVENT_LIMIT_S) -> int:
        """After the call: waits until so many packets of content are accounted for; how many there are then."""
        self.exchange.messages.wait(
            lambda _: sum(line["packets"] for line in self.content(case).values()) >= count, limit, since=self._start
        )  # fmt: skip
        return sum(line["packets"] for line in self.content(case).values())

    def settle(self, scenario: Scenario) -> None:
        """A phone says that a call is over when it sends BYE: waits for what is still under way, if it is expected."""

        def there(expected: tuple[str, ...], case: str, point: str) -> bool:
            received = self.received(case, point)
            return settled(expected, received) == received

        self.by_time = scenario.by_time
        awaited = [(scenario.expected, self.case, point) for point in scenario.points]
        awaited += [(scenario.second or (), second_case(self), "span")]
        for each in awaited:
            if each[0]:
                self.exchange.messages.wait(lambda _, each=each: there(*each), EVENT_LIMIT_S, since=self._start)  # type: ignore[misc]

    @staticmethod
    def point(line: Line) -> str:
        fields = line.get("fields") or {}
        return str(
            fields.get("iAPSystemId") or fields.get("accessingElementId") or fields.get("reportingSystemId") or ""
        )

    def lines(self, case: str | None = None, point: str = "span") -> list[Line]:
        """What came for a case so far from one access point."""
        return [
            line for line in self.exchange.messages.since(self._start)
            if line.get("case") == (case or self.case) and self.point(line) in (point, "")
        ]  # fmt: skip

    def received(self, case: str | None = None, point: str = "span") -> list[str]:
        lines = [line for line in self.lines(case, point) if line.get("message") != "content"]
        if self.by_time:
            lines.sort(key=lambda line: line["timestamp"])
        labels = [label(line) for line in lines]
        return [text for text in labels if not text.startswith("surveillanceStatus activation")]


@contextmanager
def built(folder: Path) -> Iterator[Exchange]:
    """An exchange for the tests of a file."""
    with Exchange(folder) as exchange:
        yield exchange
