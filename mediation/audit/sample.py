"""A sample that nobody can steer: which records an auditor compares with the paper (SEC-18).

Before the audit the seed's SHA-256 is entered in the ledger (`sample-drawn`); the seed is told after. The sample is the
first N of all certifications, or orders where there are none, in the order of HMAC-SHA-256(seed, C || index as u64), C
being the commitment of the entry that has the seed's hash. So the carrier cannot steer it, who does not know the seed,
nor an auditor who tries seeds until one leaves out what it should: the entry's salt is made after his choice. Whoever
has the export and the seed draws the same one.
"""

from __future__ import annotations

import hashlib
import hmac

from mediation.audit.tree import Record

KINDS = ("certificate-signed", "order-filed")  # the first of which there is one
MAX_DRAWN = 100_000


def digest(seed: str) -> str:
    """What is committed."""
    return hashlib.sha256(seed.encode()).hexdigest()


def place(seed: str, commitment: bytes, index: int) -> bytes:
    return hmac.new(seed.encode(), commitment + index.to_bytes(8, "big"), hashlib.sha256).digest()


def draw(records: list[Record], seed: str, count: int) -> list[Record]:
    """`count` of them at the most, in the order of the draw; a seed that was never committed has no commitment."""
    entered = committed(records, seed)
    salted = entered[0].commitment if entered else b""
    for kind in KINDS:
        if chosen := [each for each in records if each.kind == kind]:
            return sorted(chosen, key=lambda each: place(seed, salted, each.index))[:count]
    return []


def committed(records: list[Record], seed: str) -> list[Record]:
    """The entries that committed this very seed, oldest first."""
    wanted = digest(seed)
    return [each for each in records if each.kind == "sample-drawn" and each.facts.get("seed_sha256") == wanted]
