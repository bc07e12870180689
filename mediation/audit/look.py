"""One entry, or one case, in words: what an auditor looks up from the page's numbers.

Answers for telling apart what is there, what was not opened, what was destroyed and by which certificate, and what
never was: "no record" is said only where every entry is opened.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from mediation.audit import words
from mediation.audit.findings import US, when
from mediation.audit.tree import Ledger, Record


def entry(ledger: Ledger, index: int) -> list[str]:
    """The lines for the entry with this number."""
    if not 0 <= index < ledger.head.size:
        last = f"the ledger of this export ends with entry {ledger.head.size - 1}"
        return [f"entry {index}: there is none; {last}"]
    bad = [f"entry {index}: {each.what}" for each in ledger.problems if each.index == index]
    record = next((each for each in ledger.records if each.index == index), None)
    if record is not None:
        return [*bad, *_opened(record)]
    if index in ledger.destroyed:
        certificate = ledger.destroyed[index]
        by = [f"entry {each.index}, {when(each.time_us)}" for each in ledger.records
              if each.kind == "destroyed" and index in each.facts["entries"]]  # fmt: skip
        said = "; ".join(by) or "no entry"
        return [*bad, f"entry {index}: its record was destroyed, by certificate {certificate} ({said})"]
    if index in ledger.withheld:
        return [*bad, f"entry {index}: it stands in the tree, and was not opened for this export: have it opened"]
    return bad or [f"entry {index}: {words.KINDS['padding']}"]


def case(ledger: Ledger, name: str) -> list[str]:
    """The lines for a case identity: each opened entry that names it, and what the answer is worth."""
    named = [each for each in ledger.records if each.facts.get("case") == name]
    lines = [line for each in named for line in _opened(each)] or [f"no opened entry names a case {name}"]
    unknown = [
        f"{count} entries {what}: one of them may name it"
        for count, what in (
            (len(ledger.withheld), "are withheld"), (len(ledger.destroyed), "were destroyed"),
            (len(ledger.problems), "are forged or damaged"),
        ) if count
    ]  # fmt: skip
    whole = f"every entry is opened: there is {'nothing else' if named else 'no record'} of it in this ledger"
    return [*lines, *(unknown or [whole])]


def _opened(record: Record) -> Iterator[str]:
    yield f"entry {record.index}, {when(record.time_us)}: {words.KINDS.get(record.kind, record.kind)} ({record.kind})"
    for name, value in record.facts.items():
        if name not in ("kind", "time_us") and value not in ("", [], None):
            yield f"    {name.replace('_', ' ')}: {_said(name, value)}"


def _said(name: str, value: Any) -> str:
    if name.endswith("_s") and type(value) is int and value > US:  # a moment, not a length of time
        return when(value * US)
    if name == "authority":
        return words.authority(str(value))
    if isinstance(value, bool):
        return "yes" if value else "no"
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)
