"""Until when a function may go on without news of the ledger: the newest head it saw that a quorum cosigned (SEC-3).

A function is told each newly cosigned head, with the proof that it contains the one before (RFC 9162 §2.1.4). When
the last one was cosigned longer ago than the grace, all its tasks stop until a newer one comes: an administrator or a
host that was cut off from its witnesses cannot keep interceptions going unseen. Cases that run when the witnesses are
lost go on for the grace and no longer; stopping never waits.

Answers for judging heads, sans-I/O. It cannot be prolonged but by the witnesses' own signatures, and a time that is
ahead of this function's clock counts as now.
"""

from __future__ import annotations

from collections.abc import Sequence

from mediation.core.authority.trust import Trust
from mediation.core.check import Check
from mediation.core.errors import AuthorizationError
from mediation.core.ledger import merkle, note
from mediation.core.units import NS

HOUR_NS = 3_600_000_000_000
GRACE_NS = 24 * HOUR_NS  # the default of [ledger] grace_hours
MAX_GRACE_NS = 72 * HOUR_NS  # no configuration makes it longer (ours)


class Lease:
    """Of one function. Times are UTC nanoseconds by its authority clock."""

    def __init__(self, grace_ns: int = GRACE_NS) -> None:
        self.grace_ns = min(grace_ns, MAX_GRACE_NS)
        self.head: note.Checkpoint | None = None  # the newest that was seen
        self.cosigned_ns = 0

    @property
    def ends_ns(self) -> int:
        """When all tasks stop, if nothing is heard before; 0 before the first head."""
        return self.cosigned_ns + self.grace_ns if self.cosigned_ns else 0

    def valid(self, now_ns: int) -> bool:
        return now_ns < self.ends_ns

    def proven(self, text: str, trust: Trust, now_ns: int) -> None:
        """A head that an order is proven under. Raises AuthorizationError `proof-witnesses` or `proof-consistency`."""
        head = trust.checkpoint(text)
        if self.head is not None and head.size == self.head.size and head.root != self.head.root:
            raise AuthorizationError(Check.PROOF_CONSISTENCY)
        if self.head is None or head.size > self.head.size:
            self.head = head
        self._heard(trust.cosigned_s(text), now_ns)

    def follow(self, text: str, first: int, path: Sequence[str], trust: Trust, now_ns: int) -> None:
        """A new head, and the path to it from the head of `first` leaves, which must be the last one seen.

        Raises AuthorizationError: `proof-checkpoint`, `proof-witnesses`, or `proof-consistency`, whose detail is the
        size of the head that the next path is to begin with.
        """
        head = trust.checkpoint(text)
        last = self.head
        if last is not None:
            detail = str(last.size)
            if head.size < last.size or last.size not in (head.size, first):
                raise AuthorizationError(Check.PROOF_CONSISTENCY, detail)
            try:
                nodes = [bytes.fromhex(node) for node in path]
            except ValueError:
                raise AuthorizationError(Check.STRUCTURE, "path") from None
            if not merkle.consistent(last.size, head.size, last.root, head.root, nodes):
                raise AuthorizationError(Check.PROOF_CONSISTENCY, detail)
        self.head = head
        self._heard(trust.cosigned_s(text), now_ns)

    def _heard(self, cosigned_s: int, now_ns: int) -> None:
        self.cosigned_ns = max(self.cosigned_ns, min(cosigned_s * NS, now_ns))
