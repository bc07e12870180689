"""One second in the units in which the daemon counts time: `…_us` since 1970 in the ledger, `…_ns` inside."""

from __future__ import annotations

from typing import Final

US: Final = 1_000_000
NS: Final = 1_000_000_000
