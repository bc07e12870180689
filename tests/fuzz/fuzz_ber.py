"""Fuzzes both sides of the call data channel: `python -m tests.fuzz.fuzz_ber --seconds 60`, best on a sanitizer build.

Encoder: messages whose every text, number and list comes from the input must be encodable, readable by the independent
codec, and re-encode to the same octets. Decoder: any octets are a message or a RemoteProtocolError, never another
exception. Inputs are mutations of the frozen vectors; the seed is printed, so a finding can be run again. `one_input`
takes one input and can be given to a coverage-guided engine as it is.
"""

from __future__ import annotations

import argparse
import random
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec

from mediation.collection import decoder, present
from mediation.core.errors import RemoteProtocolError
from mediation.core.message import cdc, encoding, fitting, syntax, t1678
from mediation.core.message.fitting import Adapted

SEEDS = [
    bytes.fromhex(line.split()[2])
    for name in ("t1678.txt", "pcesp.txt")
    for line in (Path(__file__).parents[1] / "vectors" / name).read_text().splitlines()
    if not line.startswith("#")
]
FACTS = present.LinkFacts(sequence=1, received_ns=0, error_us=0, disciplined=False)
STRUCTS = list(t1678.MESSAGES)


class Source:
    """Values cut from an input; zeros when it has run out."""

    def __init__(self, octets: bytes) -> None:
        self._octets = octets
        self._at = 0

    def take(self, count: int) -> bytes:
        taken = self._octets[self._at : self._at + count]
        self._at += count
        return taken.ljust(count, b"\0")

    def number(self, below: int) -> int:
        return int.from_bytes(self.take(2), "big") % below

    def text(self) -> str:
        return self.take(self.number(200) if self.number(8) else self.number(3_000)).decode(errors="surrogateescape")


def value(kind: Any, source: Source) -> Any:
    """A value that a field of this type may be given, fitting or not."""
    match kind:
        case syntax.Visible(exact=True):
            return "C" * (1 + source.number(kind.high))
        case syntax.Visible() | syntax.Text() | syntax.Address():
            return source.text()
        case syntax.Octets():
            return source.take(source.number(200))
        case syntax.Constants():
            return list(kind.alternatives)[source.number(len(kind.alternatives))]
        case syntax.Time():
            return int.from_bytes(source.take(8), "big", signed=True)
        case syntax.Enumerated():
            return source.number(kind.high + 1)
        case syntax.Integer():
            return int.from_bytes(source.take(10), "big", signed=True)
        case syntax.SequenceOf() | syntax.SetOf():
            return tuple(value(kind.element, source) for _ in range(source.number(4 if source.number(9) else 80)))
        case syntax.Sequence():
            given: dict[str, Any] = (
                {"case_id": "C", "iap_system_id": None} if issubclass(kind.struct, cdc.Message) else {}
            )
            for member in fitting.flat(kind.members):
                if member.attribute not in ("translation_input", "combined") and (member.mandatory or source.number(2)):
                    given[member.attribute] = value(member.type, source)
            return kind.struct(**given)


def encoder_input(octets: bytes) -> None:
    source = Source(octets)
    message = value(t1678.MESSAGES[STRUCTS[source.number(len(STRUCTS))]].sequence, source)
    encoded = encoding.encode(message, encoding.DEFAULT_PROFILE, Adapted())
    assert encoded is not None
    decoded = decoder.decode(encoded)
    assert decoded.message == message.name
    assert decoder.reencode(decoded) == encoded
    if message.iap_system_id is None:
        message = msgspec.structs.replace(message, iap_system_id="SBC1")  # mandatory in PCESP, and every task has one
    encoded = encoding.encode(message, encoding.PCESP, Adapted())
    if encoded is not None:
        assert decoder.reencode(decoder.decode(encoded)) == encoded


def decoder_input(octets: bytes) -> None:
    try:
        decoded = decoder.decode(octets)
    except RemoteProtocolError:
        return
    present.line(present.present(decoded, octets, FACTS))


def one_input(octets: bytes) -> None:
    """Raises whatever is a finding."""
    decoder_input(octets)
    encoder_input(octets)


MUTATIONS: list[Callable[[random.Random, bytearray], None]] = [
    lambda chance, octets: octets.__setitem__(chance.randrange(len(octets)), chance.randrange(256)),
    lambda chance, octets: octets.__delitem__(slice(at := chance.randrange(len(octets)), at + chance.randrange(9))),
    lambda chance, octets: octets.extend(chance.randbytes(chance.randrange(400))),
    lambda chance, octets: octets.insert(chance.randrange(len(octets)), chance.choice(b"\x00\x7f\x80\x81\xa0\xff")),
    lambda chance, octets: octets.__setitem__(slice(0, chance.randrange(40)), chance.choice(SEEDS)[:40]),
]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--seed", type=int, default=time.time_ns())
    arguments = parser.parse_args()
    print(f"seed {arguments.seed}", flush=True)
    chance = random.Random(arguments.seed)
    end = time.monotonic() + arguments.seconds
    runs = 0
    while time.monotonic() < end:
        octets = bytearray(chance.choice(SEEDS))
        for _ in range(chance.randrange(1, 6)):
            if octets:
                chance.choice(MUTATIONS)(chance, octets)
        try:
            one_input(bytes(octets))
        except Exception:
            print(f"finding after {runs} inputs: {octets.hex()}", flush=True)
            raise
        runs += 1
    print(f"{runs} inputs, no finding")


if __name__ == "__main__":
    main()
