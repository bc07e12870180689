"""How many refused attempts get an entry of their own in the ledger: refusals must not fill the disk (SEC-14).

None is lost: what the limit keeps out is counted, and the count stands in the next entry.
"""

from __future__ import annotations

from mediation.core.units import NS

REFUSALS_AT_ONCE = 10  # refused attempts that get an entry of their own in a row; then one every REFUSAL_EVERY_NS
REFUSAL_EVERY_NS = 6 * NS


class Limit:
    """A bucket of REFUSALS_AT_ONCE that fills by one every REFUSAL_EVERY_NS. Times in ns."""

    def __init__(self, now_ns: int) -> None:
        self._left, self._since_ns, self._suppressed = REFUSALS_AT_ONCE, now_ns, 0

    def allow(self, now_ns: int) -> bool:
        earned = (now_ns - self._since_ns) // REFUSAL_EVERY_NS
        if earned > 0:
            self._left = min(REFUSALS_AT_ONCE, self._left + earned)
            self._since_ns = now_ns
        if self._left:
            self._left -= 1
            return True
        self._suppressed += 1
        return False

    def take_suppressed(self) -> int:
        """Those that were kept out since the last entry."""
        suppressed, self._suppressed = self._suppressed, 0
        return suppressed
