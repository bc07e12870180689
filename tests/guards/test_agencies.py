"""SEC-23 and SEC-24 against the mediator's own process: what an agency's end can do, and how one agency is stopped.

The agency's end is on the other side of real mutual TLS 1.3 with the very certificate that the order names: whoever
took it over has no more to try.
"""

from __future__ import annotations

import json
import random
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import trio

from mediation.core.authority import jws
from mediation.core.case import Revocation, Role, TaskRequest
from mediation.core.interface import link, x1
from mediation.core.interface.frame import (
    Ack,
    Close,
    CloseReason,
    Data,
    Epoch,
    Hello,
    Keepalive,
    KeepaliveAck,
    Loss,
    LossClass,
    Position,
    Welcome,
    encode,
)
from mediation.runtime.tls import Channel
from tests.core import authority
from tests.core.authority import KEYS, KIDS
from tests.delivery.house import call, xid_of
from tests.delivery.links import Collector, free_port, until
from tests.delivery.rig import LIMIT_S, Rig, calls_of
from tests.guards import agencies

STOP_LIMIT_S = 60.0  # SEC-24
HOSTILE_ENDS = 5


@asynccontextmanager
async def rig(path: Path) -> AsyncIterator[Rig]:
    made = Rig(agencies.house(path), free_port())
    with trio.fail_after(LIMIT_S * 2):
        await made.start()
        try:
            yield made
        finally:
            with trio.CancelScope(shield=True):
                await made.process.end()
                await made.tap.close()


# --- SEC-23 -----------------------------------------------------------------------------------------------------------


def attacks(order: TaskRequest, other: TaskRequest) -> list[bytes]:
    """What a collection function can put on the link after it was greeted, by kind."""
    where = Position(1, 1)
    frames: list[link.Event] = [
        Hello(link.VERSION, where, "house/OTHER-AGENCY"), Welcome(link.VERSION, Position(1 << 40, 1)),
        Welcome(99, where), Data(1, 0, 0, True, b"\x30\x00"), Loss(1, 1 << 40, LossClass.STORAGE),
        Epoch(Position(1 << 40, 1)), Keepalive(), Ack(Position(1 << 40, 1 << 40)), Ack(Position(0, 0)),
        Close(CloseReason.DONE), Close(CloseReason.SUPERSEDED),
    ]  # fmt: skip
    control = [
        x1.encode(x1.DeactivateTask(xid=xid_of(each).hex())) for each in (order, other)
    ] + [
        x1.encode(x1.SuspendTask(xid=xid_of(other).hex(), sequence=9)), x1.encode(x1.Roster(lines=())),
        x1.encode(x1.ModifyTask(request=other)), b'{"type":"Revoke","revocations":["x"]}\n',
        b"POST / HTTP/1.1\r\nHost: administrator\r\n\r\n",
    ]  # fmt: skip
    framed = [len(each).to_bytes(4, "big") + each for each in control]
    noise = random.Random(23)
    rubbish = [noise.randbytes(noise.randrange(1, 400)) for _ in range(8)] + [b"\xff" * 64, b"\0" * 64]
    lengths = [n.to_bytes(4, "big") + b"\x04" + bytes(16) for n in (0, 1, 1 << 18, (1 << 32) - 1)]
    return [encode(frame) * 2 for frame in frames] + control + framed + rubbish + lengths


class HostileEnd:
    """A collection function with the right certificate that says `octets`, one on each connection."""

    def __init__(self, rig: Rig, said: list[bytes]) -> None:
        self.port = free_port()
        self.done = trio.Event()
        self._tls = rig.house.certificates.server()
        self._said = said

    async def serve(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        listener = (await trio.open_tcp_listeners(self.port, host="127.0.0.1"))[0]
        async with listener:
            task_status.started()
            for octets in self._said:
                stream = await listener.accept()
                await self._attack(await Channel.secure(stream.socket, self._tls, server=True), octets)
            self.done.set()
            await trio.sleep_forever()

    async def _attack(self, channel: Channel, octets: bytes) -> None:
        connection = link.Connection(link.Role.COLLECTION)
        try:
            while (hello := connection.next_event()) is None:
                connection.receive(await channel.receive())
            assert isinstance(hello, Hello)
            # Honest as far as it must be to be heard, then once more what may be said, then what may not.
            await channel.send(encode(Welcome(link.VERSION, hello.position)))
            await channel.receive()  # the first message: the link is open
            await channel.send(encode(Ack(hello.position)) + encode(KeepaliveAck()) + octets)
            with trio.move_on_after(0.3):  # it hangs up; or says nothing, for want of a whole frame
                while await channel.receive():
                    pass
        except OSError:
            pass
        finally:
            channel.close()


def state(report: dict[str, Any]) -> dict[str, Any]:
    """All that is not the hostile links' own."""
    kept = {name: report[name] for name in ("tasks", "lease", "roster", "calls", "x1_malformed", "stops_not_saved",
                                            "suspensions_not_saved", "stranded_spools", "tracker")}  # fmt: skip
    ours = [each for each in report["links"] if each["agency"] == "OTHER-AGENCY"]
    return {**kept, "ours": [(each["queued"], each["counters"]["delivered"]) for each in ours]}


def remembered(folder: Path) -> dict[str, bytes]:
    """What of the mediator's files speaks of orders: stops, suspensions, roster, withdrawals."""
    return {
        path.name: path.read_bytes()
        for path in sorted((folder / "spool").glob("mediator.*"))
        if path.is_file() and not path.name.endswith("clock")
    }


async def test_nothing_that_an_agency_s_end_says_has_authority(tmp_path: Path) -> None:
    async with rig(tmp_path) as r, r.collector.running(r.port):
        ledger = authority.Ledger()
        ours = r.house.order(r.port, agency="OTHER-AGENCY", case="OURS", ledger=ledger)
        probe = r.house.order(free_port(), case="PROBE")
        said = attacks(probe, ours)
        ends = [HostileEnd(r, said[n::HOSTILE_ENDS]) for n in range(HOSTILE_ENDS)]
        theirs = [
            r.house.order(end.port, case=f"HOSTILE-{n}", ledger=ledger, subjects=(f"tel:+1212555020{n}",))
            for n, end in enumerate(ends)
        ]
        assert await r.ask(x1.ActivateTask(request=ours)) == x1.Ok()
        await r.tap.send(r.tap.pdus(xid_of(ours), call("before"), 1))
        await until(lambda: len(r.collector.messages) >= 5)
        for order in theirs:
            assert await r.ask(x1.ActivateTask(request=order)) == x1.Ok()
        before = state(await r.report_where(lambda found: not _waiting(found)))
        files = remembered(tmp_path)
        async with trio.open_nursery() as nursery:
            for end in ends:
                await nursery.start(end.serve)
            for end in ends:
                await end.done.wait()
            nursery.cancel_scope.cancel()
        assert state(await r.report()) == before
        assert remembered(tmp_path) == files
        # Still there, for its own agency and for the hostile one: it has moved its own cursor, and nothing else.
        await r.tap.send(r.tap.pdus(xid_of(ours), call("after"), 2))
        await until(lambda: any("after" in text for text in calls_of(r.collector)))
        report = await r.report()
        hostile = [each["counters"] for each in report["links"] if each["agency"] == "AGENCY"]
        assert sum(each["protocol_errors"] for each in hostile) >= len(said) // 2
        assert report["tasks"] == 1 + HOSTILE_ENDS


def _waiting(report: dict[str, Any]) -> int:
    return sum(each["queued"] for each in report["links"] if each["agency"] == "OTHER-AGENCY")


# --- SEC-24 -----------------------------------------------------------------------------------------------------------


def withdrawn(order: TaskRequest, case: str, now_s: int) -> str:
    draft = Revocation(
        type="revocation", case=case, token_sha256=jws.sha256_hex(order.legal), reason="the agency", issued_s=now_s,
        nonce="0a" * 16,
    )  # fmt: skip
    return jws.sign(draft, "mediation-revocation", KIDS[Role.LEGAL], KEYS[Role.LEGAL])


async def test_one_agency_is_revoked_and_no_other(tmp_path: Path) -> None:
    """All cases of one agency by their signed withdrawals, in the middle of their calls; its link ends, no other."""
    count = 20
    async with rig(tmp_path) as r, r.collector.running(r.port):
        other = Collector(tmp_path / "other", r.house.certificates.server())
        port = free_port()
        async with other.running(port):
            ledger = authority.Ledger()
            bad = [r.house.order(r.port, case=f"BAD-{n}", ledger=ledger) for n in range(count)]
            good = [
                r.house.order(port, case=f"GOOD-{n}", agency="OTHER-AGENCY", ledger=ledger) for n in range(count)
            ]  # fmt: skip
            for order in (*bad, *good):
                assert await r.ask(x1.ActivateTask(request=order)) == x1.Ok()
            for n, order in enumerate((*bad, *good)):
                await r.tap.send(r.tap.pdus(xid_of(order), call(f"first-{n}")[:3], n + 1))
            await until(lambda: min(_calls(r.collector, "first"), _calls(other, "first")) >= 3 * count)
            began = time.monotonic()
            for n, order in enumerate(bad):
                text = withdrawn(order, f"BAD-{n}", r.house.now_s)
                assert await r.ask(x1.RevokeToken(revocation=text)) == x1.Ok()
            took_s = time.monotonic() - began
            assert took_s < STOP_LIMIT_S
            assert (await r.report())["tasks"] == count
            for n, order in enumerate((*bad, *good)):
                await r.tap.send(r.tap.pdus(xid_of(order), call(f"later-{n}"), 1000 + n))
                await r.tap.send(r.tap.pdus(xid_of(order), call(f"first-{n}")[3:], n + 1))
            await until(lambda: _calls(other, "later") >= 4 * count and _calls(other, "first") >= 4 * count)
            report = await r.report_where(_closed("AGENCY"))
            assert {each["agency"]: each["state"] for each in report["links"]} == {
                "AGENCY": "closed", "OTHER-AGENCY": "up",
            }  # fmt: skip
            assert time.monotonic() - began < STOP_LIMIT_S
            assert _calls(r.collector, "later") == 0 and _calls(r.collector, "first") == 3 * count
            for order in bad:  # for good, whoever asks
                refusal = await r.ask(x1.ActivateTask(request=order))
                assert isinstance(refusal, x1.Refused) and refusal.check in ("revoked", "deactivated")
        print(json.dumps({"cases": count, "stopped_ms": round(took_s * 1000, 1)}))


def _calls(collector: Collector, name: str) -> int:
    return sum(f"{name}-" in text for text in calls_of(collector))


def _closed(agency: str) -> Callable[[dict[str, Any]], bool]:
    return lambda found: all(each["state"] == "closed" for each in found["links"] if each["agency"] == agency)
