"""The times of the entries against the witnesses' and against each other: outages, acts dated forward or back.

Answers for what whoever holds the ledger's key can write as he likes, the time of an entry, being held between two
words that he cannot: an entry under a head that a quorum cosigned was made before that, and an entry that stands behind
a head was made after the head before that one was cosigned. (Not after that very head: while no quorum can be reached,
one published head waits, and what is entered meanwhile stands behind it.) Times in microseconds since 1970.
"""

from __future__ import annotations

import bisect
import itertools

from mediation.audit.findings import DAY_US, US, Findings, when
from mediation.audit.tree import Ledger

WITNESS_GRACE_US = 3 * DAY_US  # the hard maximum for which running cases go on without a quorum
CLOCK_SKEW_US = 60 * US
DATED_BACK_US = 900 * US  # ours: more than clocks that may arm a tap differ by, and than a cosignature takes
FILING_DAYS = 90  # 47 CFR 1.20005(a)
MAX_NAMED = 9  # entries of one finding


def examine(ledger: Ledger, cosigned_us: list[tuple[int, int]], found: Findings) -> None:
    """`cosigned_us`: (size, time) of each head that a quorum cosigned, sizes rising."""
    _outages(ledger, cosigned_us, found)
    _dated_back(ledger, cosigned_us, found)
    _clocks(ledger, found)


def _outages(ledger: Ledger, cosigned_us: list[tuple[int, int]], found: Findings) -> None:
    """Times without a quorum, longer than anything may run; acts that a quorum had seen before they were made."""
    for (_, before), (size, after) in itertools.pairwise(cosigned_us):
        if after - before > WITNESS_GRACE_US:
            found.anomaly(f"no quorum from {when(before)} to {when(after)}", max(size - 1, 0))
        elif after < before:
            found.anomaly(f"a longer ledger was cosigned earlier ({when(after)}) than a shorter one", max(size - 1, 0))
    sizes = [size for size, _ in cosigned_us]
    for act in (each for each in ledger.records if each.kind == "command-accepted"):
        covering = bisect.bisect_right(sizes, act.index)
        if covering < len(sizes) and cosigned_us[covering][1] < act.time_us - CLOCK_SKEW_US:
            found.anomaly("an act is dated after the witnesses cosigned it", act.index)


def _dated_back(ledger: Ledger, cosigned_us: list[tuple[int, int]], found: Findings) -> None:
    back: list[int] = []
    at, newest, earlier = 0, 0, 0
    for record in ledger.records:
        while at < len(cosigned_us) and cosigned_us[at][0] <= record.index:
            earlier, newest, at = newest, max(newest, cosigned_us[at][1]), at + 1
        if record.kind != "padding" and record.time_us < earlier - DATED_BACK_US:
            back.append(record.index)
    if back:
        found.anomaly(
            f"{len(back)} entries are dated back: by the witnesses' word they were made later than they say",
            *back[:MAX_NAMED],
        )


def _clocks(ledger: Ledger, found: Findings) -> None:
    """The 90 days (1.20005(a)) are counted here, not believed; a filing is entered when it has been made."""
    open_due: dict[str, tuple[int, int]] = {}  # by cause: (its day, its entry)
    for record in ledger.records:
        facts = record.facts
        if record.kind == "amendment-opened":
            open_due.setdefault(facts["cause"], (facts["due_s"], record.index))
            if facts["due_s"] * US > record.time_us + (FILING_DAYS + 1) * DAY_US:
                found.anomaly(f"an amendment ({facts['cause']}) gives itself more than 90 days", record.index)
        elif record.kind == "plan-adopted" and facts.get("filed_s"):
            if facts["filed_s"] * US > record.time_us + DAY_US:
                found.anomaly("a filing was entered before the day that it states", record.index)
            for cause, (due_s, index) in sorted(open_due.items()):
                if facts["filed_s"] <= due_s < record.time_us // US - DAY_US // US:
                    found.anomaly(
                        f"an amendment ({cause}) was filed in time by its own word alone: it was entered later",
                        index, record.index,
                    )  # fmt: skip
            open_due.clear()
