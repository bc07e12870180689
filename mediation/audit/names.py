"""The names of the files that an export has.

Answers for a file that nothing here reads being named: a person who unpacks the archive and looks through it must not
take for part of the ledger what nobody judged. A path that leads elsewhere, a second spelling of a name, and a file of
records beyond the ledger's last are such.
"""

from __future__ import annotations

import re

from mediation.audit.archive import Export
from mediation.audit.tree import WIDTH, number

LEDGER = re.compile(
    r"checkpoint|published|history\.jsonl|witnessed|witnessed\.jsonl|ledger\.pub|manifest\.json"
    r"|tile/(?:entries|[0-9]{1,2})/(?:x[0-9]{3}/)*[0-9]{3}(?:\.p/[0-9]{1,3})?"
)
BESIDE = re.compile(
    r"(?:keys|certificates|certifications|destruction|incidents|plan|plans|stamps|statements)"
    r"(?:/[A-Za-z0-9][A-Za-z0-9.:@+_-]*)+"
)
MAX_NAMED = 5


def strangers(export: Export, size: int) -> str:
    """What is wrong with the names in an export of a ledger of `size` entries, in words; empty when nothing is."""
    records = {f"records/{number(n)}.jsonl" for n in range(-(-size // WIDTH))}
    found = [
        name for name in export.files
        if name not in records and not LEDGER.fullmatch(name) and not BESIDE.fullmatch(name)
    ]  # fmt: skip
    if not found:
        return ""
    named = ", ".join(ascii(name[:80]) for name in sorted(found)[:MAX_NAMED])
    more = f" and {len(found) - MAX_NAMED} more" if len(found) > MAX_NAMED else ""
    return f"{len(found)} files that no export has, and that nobody judged: {named}{more}"
