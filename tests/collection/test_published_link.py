"""docs/COLLECTION.md is enough: a receiver made from it alone, on the real link; its tables are those of the code."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from mediation.collection import decoder
from mediation.core.interface import frame
from mediation.core.interface.frame import CloseReason, LossClass
from mediation.delivery import sender
from mediation.delivery.sender import LinkState
from mediation.delivery.spool import Message, Spool
from tests import vault
from tests.collection.independent import ACK, DATA, EPOCH, HELLO, Receiver
from tests.collection.independent import decoder as independent_decoder
from tests.delivery.links import link_to, running, send, until
from tests.delivery.support import NOW_S, STAMP_NS, Certificates, open_spool

ROOT = Path(__file__).parent.parent.parent
PAGE = (ROOT / "docs" / "COLLECTION.md").read_text()
ASN1 = Path(decoder.__file__).parent


def vectors(kind: str = "golden|full") -> list[tuple[str, bytes]]:
    """Messages by name; CC-APDUs are none."""
    found = []
    for name in ("t1678.txt", "pcesp.txt"):
        for line in (ROOT / "tests" / "vectors" / name).read_text().splitlines():
            if (match := re.fullmatch(rf"(?:{kind}) (\w+) ([0-9a-f]+)", line)) is not None:
                found.append((match[1], bytes.fromhex(match[2])))
    return found


def test_every_published_message_decodes_without_a_line_of_ours() -> None:
    decode = independent_decoder(ASN1)
    names = [(name, decode(octets)[0]) for name, octets in vectors()]
    assert len(names) > 40 and all(said == name for name, said in names), names


# --- on the real link -------------------------------------------------------------------------------------------------


@pytest.fixture
def certificates(tmp_path: Path) -> Certificates:
    (tmp_path / "certificates").mkdir()
    return Certificates(tmp_path / "certificates")


@pytest.fixture
def receiver(certificates: Certificates) -> Iterator[Receiver]:
    made = Receiver(certificates.folder, "agency")
    yield made
    made.close()


async def test_a_receiver_from_the_page_alone(tmp_path: Path, certificates: Certificates, receiver: Receiver) -> None:
    """Every message in order and once; over a connection that breaks, a new epoch, and asking for the first again."""
    messages = [octets for _, octets in vectors()]
    half = len(messages) // 2

    def made(octets: bytes) -> Message:
        return Message(STAMP_NS, 250, True, octets)

    spool = open_spool(tmp_path / "spool")
    async with running(link_to(receiver.port, certificates.agency_sha256, spool, certificates.client())) as one:
        await until(lambda: one.state is LinkState.UP)
        await send(one, *map(made, messages[:5]))
        await until(lambda: spool.queued == 0)
        receiver.hang_up()
        await until(lambda: one.state is not LinkState.UP)
        await send(one, *map(made, messages[5:half]))
        await until(lambda: spool.queued == 0)
    spool.append([made(octets) for octets in messages[half:-1]])  # while nobody is connected
    spool.close()
    spool = Spool(tmp_path / "spool", vault.box(), now_s=NOW_S + 1, bound_octets=16 << 20)
    async with running(link_to(receiver.port, certificates.agency_sha256, spool, certificates.client())) as one:
        await until(lambda: len(receiver.got) == len(messages) - 1)
        await send(one, made(messages[-1]))
        await until(lambda: spool.queued == 0)
        assert [octets for _, _, octets in receiver.got] == messages and receiver.lost == []
        assert HELLO in receiver.seen and DATA in receiver.seen and ACK not in receiver.seen
        # All again: what is still there comes, what was acknowledged and deleted is said, and nothing is silent.
        epoch, last, _ = receiver.got[-1]
        assert epoch > receiver.got[0][0] and EPOCH in receiver.seen
        receiver.got.clear()
        receiver.expected = epoch, 1
        connections = one.counters.connections
        receiver.hang_up()
        await until(lambda: one.counters.connections > connections)
        await until(lambda: receiver.expected is not None and receiver.expected[1] > last)
    numbers = [number for _, number, _ in receiver.got]
    numbers += [number for first, end, _ in receiver.lost for number in range(first, end + 1)]
    assert sorted(numbers) == list(range(1, last + 1))
    assert {reason for _, _, reason in receiver.lost} <= {LossClass.RELEASED}
    assert one.counters.protocol_errors == 0
    spool.close()


async def test_another_certificate_gets_nothing(tmp_path: Path, certificates: Certificates, receiver: Receiver) -> None:
    spool = open_spool(tmp_path / "spool")
    async with running(link_to(receiver.port, "00" * 32, spool, certificates.client())) as one:
        await until(lambda: one.counters.refused_certificates > 0)
        assert one.state is LinkState.REFUSED
    assert receiver.seen == []
    spool.close()


# --- the page and the code --------------------------------------------------------------------------------------------


def rows(pattern: str) -> list[tuple[str, ...]]:
    return re.findall(pattern, PAGE, re.MULTILINE)


def test_the_tables_of_the_page_are_those_of_the_code() -> None:
    frames = {int(code): name for code, name in rows(r"^\| (\d+) \| ([A-Z_]+) \|")}
    words = {code: re.sub(r"(?<=[a-z])(?=[A-Z])", "_", kind.__name__).upper() for kind, code in frame._CODE.items()}
    assert frames == words
    losses, closes = PAGE.split("| LOSS reason")[1].split("| CLOSE reason")
    closes = closes.split("\n## ")[0]
    said = [{int(n) for n in re.findall(r"^\| (\d+) \|", each, re.MULTILINE)} for each in (losses, closes)]
    assert said == [set(map(int, LossClass)), set(map(int, CloseReason))]
    for number in (frame.MAX_FRAME_OCTETS, round(sender.KEEPALIVE_S), round(sender.SILENCE_S)):
        assert f"{number:,}" in PAGE
    assert f"{0xFFFFFFFF} if it is not known" in PAGE
