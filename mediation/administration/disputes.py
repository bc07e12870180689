"""Disputes: orders that the administration finds good and a function refuses to arm or to change.

Answers for one alarm each time such a condition begins at a function (`function-refused`), whether one order is refused
or ten thousand, and for saying which function refuses how many now. It decides nothing about an order; that a check is
one of ours, and no words of a peer's, core/interface/x1.py sees to. Times: `now_ns`, UTC ns by the authority clock.
"""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from mediation.administration.records.alarms import Alarms
from mediation.core.records.alarm import Alarm
from mediation.core.units import NS

AGAIN_NS = 60 * NS  # one that begins sooner after the last alarm of its function waits for it (ours)


class _Dispute(msgspec.Struct):
    """Of one function: the carrier tokens of what it refuses, those since the last look, and whether it was told."""

    check: str = ""  # of the first of the fresh ones
    refused: set[str] = msgspec.field(default_factory=set)
    fresh: set[str] = msgspec.field(default_factory=set)
    alarmed: bool = False
    alarmed_ns: int = -AGAIN_NS


class Disputes:
    """`wanted` says whether the order of a carrier token should be armed now: another is in no dispute."""

    def __init__(self, alarms: Alarms, wanted: Callable[[str], bool]) -> None:
        self._alarms = alarms
        self._wanted = wanted
        self._of: dict[str, _Dispute] = {}

    def answered(self, function: str, carrier_sha256: str, check: str) -> None:
        """What a function said to one order's task; `check` is empty when it was done."""
        dispute = self._of.setdefault(function, _Dispute())
        if check:
            if not dispute.fresh:
                dispute.check = check
            dispute.fresh.add(carrier_sha256)
            return
        dispute.fresh.discard(carrier_sha256)
        dispute.refused.discard(carrier_sha256)

    def announce(self, now_ns: int) -> None:
        """Raises the alarms that are due; nothing to do costs nothing. A function that is away ends no dispute: when it
        is back it is told again, and shows whether it still refuses."""
        for function, dispute in self._of.items():
            if not dispute.fresh:
                continue
            # What has ended meanwhile, or was stopped while it was on its way, is no dispute, nor part of an older one.
            dispute.refused = {carrier for carrier in dispute.refused if self._wanted(carrier)}
            dispute.fresh = {carrier for carrier in dispute.fresh if self._wanted(carrier)}
            dispute.alarmed = dispute.alarmed and bool(dispute.refused)
            if dispute.fresh and not dispute.alarmed:
                if now_ns - dispute.alarmed_ns < AGAIN_NS:
                    continue
                dispute.alarmed, dispute.alarmed_ns = True, now_ns
                self._alarms.sound(
                    Alarm.FUNCTION_REFUSED, now_ns, detail=f"{function} {dispute.check} since {now_ns // NS}"
                )
            dispute.refused |= dispute.fresh
            dispute.fresh = set()

    def standing(self) -> dict[str, str]:
        """For `status`: how many orders each function refuses now; empty when none does."""
        found = {
            function: sum(self._wanted(carrier) for carrier in dispute.refused | dispute.fresh)
            for function, dispute in sorted(self._of.items())
        }
        words = [f"{function} {count} orders" for function, count in found.items() if count]
        return {Alarm.FUNCTION_REFUSED.value: ", ".join(words)} if words else {}
