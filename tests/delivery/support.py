"""What the tests of the delivery function share: messages, spools that are drained by hand, certificates."""

from __future__ import annotations

import os
import ssl
from pathlib import Path

import trustme

from mediation.core.errors import RemoteProtocolError
from mediation.core.interface import record
from mediation.core.interface.link import Data, Epoch, Loss, Position, Sent
from mediation.delivery.reader import Reader
from mediation.delivery.segment import HEADER_OCTETS, SPARE, Segment
from mediation.delivery.spool import SEGMENTS, Message, Spool
from mediation.runtime import tls
from tests import vault

STAMP_NS = 1_700_000_000_000_000_000
BOUND_OCTETS = 16 << 20
NOW_S = 1_700_000_000


def open_spool(folder: Path, now_s: int = NOW_S, bound: int = BOUND_OCTETS) -> Spool:
    return Spool(folder, vault.box(), now_s=now_s, bound_octets=bound)


def found(folder: Path) -> list[Segment]:
    """The segments in use on a disk, oldest first; open, and no more than that."""
    key = vault.box().derived(SEGMENTS)
    segments = []
    for path in folder.glob("*.seg"):
        descriptor = os.open(path, os.O_RDWR)
        one = Segment(path, descriptor, SPARE, path.stat().st_size, key)
        try:
            one.start = record.parse_segment_header(one.show(0, HEADER_OCTETS))
        except RemoteProtocolError:
            one.start = record.parse_segment_header(one.show(one.size, HEADER_OCTETS))
        if one.start == SPARE:
            one.close()
        else:
            segments.append(one)
    return sorted(segments, key=lambda one: one.start)


def newest(folder: Path) -> Segment:
    """The one that was written to last: what the process before began is there too until it is wiped."""
    return found(folder)[-1]


def damage(segment: Segment, octets: bytes, at: int) -> None:
    """This stands there now, as who has the key sees it."""
    segment.write(octets, at)


def message(number: int, size: int = 240) -> Message:
    """A message whose octets tell its number."""
    return Message(STAMP_NS + number, 250, True, number.to_bytes(8, "big").ljust(size, b"\xa1"))


def number_of(octets: bytes) -> int:
    return int.from_bytes(octets[:8], "big")


def numbers(events: list[Sent | Epoch]) -> list[int]:
    """The numbers that the messages among `events` were made with."""
    return [number_of(event.octets) for event in events if isinstance(event, Data)]


def losses(events: list[Sent | Epoch]) -> list[Loss]:
    return [event for event in events if isinstance(event, Loss)]


def read_all(spool: Spool, position: Position | None = None) -> list[Sent | Epoch]:
    """Everything that a link would send from `position` on (by default: from the cursor)."""
    reader = Reader(spool, position or spool.acknowledged)
    found: list[Sent | Epoch] = []
    for _ in range(100_000):
        if (request := reader.request()) is None:
            return found
        found += reader.take(request, request.load())
    raise AssertionError("the reader does not come to an end")


def balanced(spool: Spool) -> bool:
    """The account of the module's head, with the records themselves as the witness."""
    events = [event for event in read_all(spool) if not isinstance(event, Epoch)]
    waiting = sum(event.count if isinstance(event, Loss) else 1 for event in events)
    open_count = spool.open_loss.count if spool.open_loss else 0
    return spool.queued == waiting + open_count


class Certificates:
    """A lab's authority, the mediator's and the agency's certificates, and contexts made of their files."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.authority = trustme.CA()
        self.authority.cert_pem.write_to_path(folder / "ca.pem")
        self.agency_sha256 = self.issue("agency")
        self.issue("mediator")

    def issue(self, name: str, authority: trustme.CA | None = None, **how: object) -> str:
        """Writes NAME.pem and NAME.key; the pin of the certificate."""
        issued = (authority or self.authority).issue_cert(name, **how)  # type: ignore[arg-type]
        issued.private_key_pem.write_to_path(self.folder / f"{name}.key")
        (self.folder / f"{name}.pem").write_bytes(b"".join(blob.bytes() for blob in issued.cert_chain_pems))
        return tls.certificate_sha256(ssl.PEM_cert_to_DER_cert(issued.cert_chain_pems[0].bytes().decode()))

    def client(self, name: str = "mediator", authorities: str = "ca.pem") -> ssl.SSLContext:
        folder = self.folder
        return tls.context(
            ssl.Purpose.SERVER_AUTH, folder / f"{name}.pem", folder / f"{name}.key", folder / authorities
        )

    def server(self, name: str = "agency", authorities: str = "ca.pem") -> ssl.SSLContext:
        folder = self.folder
        return tls.context(
            ssl.Purpose.CLIENT_AUTH, folder / f"{name}.pem", folder / f"{name}.key", folder / authorities
        )
