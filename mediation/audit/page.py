"""One page in plain words: what the export is, what is wrong with it first, and then the rest.

Answers for the words alone. Numbers of entries are those of the ledger: they can be looked up in any export of it.
"""

from __future__ import annotations

import textwrap
from collections.abc import Iterable
from typing import Any

from mediation.audit import orders, tree, words
from mediation.audit.findings import MAX_LISTED, US, Finding, when
from mediation.audit.stamps import Stamps
from mediation.audit.verdict import ANOMALIES, CLEAN, Verdict, drawn

COLUMNS = 100
SAID = {
    CLEAN: "CLEAN: every entry is as it was entered, and nothing in it needs a second look",
    ANOMALIES: "GENUINE, WITH ANOMALIES: every entry is as it was entered; a person must look at what stands below",
}


def page(verdict: Verdict, seed: str | None = None, count: int = 0, source: Iterable[str] = ()) -> str:
    """The text, with its last newline. `source`: which file was read, and when."""
    ledger, found = verdict.ledger, verdict.findings
    lines: list[str] = [plain(f"AUDIT OF THE LEDGER {ledger.head.origin}")]
    lines += [line for row in source for line in _wrap(row)]
    lines += ["All times are UTC. Numbers of entries are the same in every export of this ledger.", ""]
    if verdict.forged:
        first = verdict.forged[0]
        lines += _wrap(f"FORGED OR DAMAGED. First bad entry: {_of(first)}: {first.what}")
    else:
        lines += _wrap(SAID[verdict.result])
    if ledger.head.origin.startswith("LAB"):
        lines += ["This is a LAB site: its persons, its witness and its orders are for tests only."]
    lines += _section("What is forged or damaged", map(_line, verdict.forged))
    lines += _section("Anomalies", map(_line, found.anomalies), "none")
    lines += _section("What could not be checked", verdict.not_checked, "nothing")
    lines += _section("Range", _range(verdict))
    lines += _section("Witnesses", _witnesses(verdict))
    lines += _section("Orders", _orders(orders.table(ledger)), "no order is opened here")
    lines += _section("Who held which role", _roles(verdict), "nobody, by what is opened here")
    lines += _section("Who read what, and why", _readings(found.readings), "nobody read anything")
    lines += _section("Gaps", _gaps(ledger), "none: every entry is opened")
    lines += _section("Retention and filed plans", _plans(found.plans), "no plan is entered")
    lines += _section("Calls of the 7x24 contact", _calls(verdict.policies.calls), "none is entered")
    lines += _section("What the Commission ordered", _ordered(verdict.policies.orders), "no modification is entered")
    lines += _section("Monthly statements of completeness", _statements(verdict.months), "no month is over")
    lines += _section("Certifications", map(_certified, verdict.certified), "none came with this export")
    lines += _section("Time stamps (RFC 3161)", _stamps(verdict.stamps), "none that was checked")
    lines += _section("Samples", _samples(verdict, seed, count), "no seed was committed")
    lines += _section("For completeness", map(_line, found.notices), "nothing")
    return "\n".join(lines) + "\n"


def _section(title: str, rows: Iterable[str], empty: str = "") -> list[str]:
    found = [line for row in rows for line in _wrap(row, "  ")]
    if not found:
        return ["", f"{title}: {empty}"] if empty else []
    return ["", title, *found]


def plain(text: str) -> str:
    """What a terminal shows as it stands, and obeys in nothing."""
    return "".join(c if c.isprintable() else "?" for c in text)


def _wrap(text: str, indent: str = "") -> list[str]:
    return textwrap.wrap(plain(text), COLUMNS, initial_indent=indent, subsequent_indent=indent + "  ") or [indent]


def _of(finding: Finding) -> str:
    if not finding.entries:
        return "no single entry"
    return "entry " + ", ".join(map(str, finding.entries))


def _line(finding: Finding) -> str:
    return f"{_of(finding)}: {finding.what}" if finding.entries else finding.what


def _range(verdict: Verdict) -> list[str]:
    ledger = verdict.ledger
    states = ledger.states
    rows = [
        f"{ledger.head.size} entries: "
        + ", ".join(f"{states[state]} {state}" for state in
                    (tree.OPENED, tree.PADDING, tree.WITHHELD, tree.DESTROYED, tree.MISSING) if states[state]),
        f"root {ledger.head.root.hex()}",
        f"signed by the key with SHA-256 {verdict.key.fingerprint}"
        + ("" if verdict.key_given else " (which came with the export)"),
        f"{ledger.signed_heads} signed heads were kept, each contained in the next",
    ]  # fmt: skip
    dated = [each.time_us for each in ledger.records]
    if dated:
        rows.insert(1, f"from {when(dated[0])} to {when(dated[-1])}")
    kinds: dict[str, int] = {}
    for record in ledger.records:
        kinds[record.kind] = kinds.get(record.kind, 0) + 1
    return [*rows, "opened: " + ", ".join(f"{kind} {count}" for kind, count in sorted(kinds.items()))]


def _witnesses(verdict: Verdict) -> list[str]:
    witnesses = verdict.witnesses
    rows = []
    if witnesses.lab:
        rows.append("the policy names the lab's own witness: it is no witness, and proves nothing to anybody")
    if witnesses.quorums:
        size, time_us = witnesses.quorums[-1]
        first = witnesses.quorums[0][1]
        rows.append(f"a quorum cosigned {len(witnesses.quorums)} heads that were kept, the first at {when(first)}")
        rows.append(f"the last covers the first {size} entries and was cosigned at {when(time_us)}")
        rows.append("whether anything was entered after that, this export cannot say; a newer checkpoint (--known) can")
    else:
        rows.append("unwitnessed: nobody outside the site has countersigned it")
    rows += [f"{name}: last seen {when(time_s * US)}" for name, time_s in sorted(witnesses.times.items())]
    where = {"given": "the policy was given by you", "export": "the policy came with the export", "none": "no policy"}
    return [*rows, where[witnesses.policy]]


def _roles(verdict: Verdict) -> list[str]:
    if verdict.roster is not None:
        return [
            f"{each.person}: {each.role}{' (senior officer)' if each.senior else ''}, {each.function}, "
            f"{when(each.from_s * US)} to {when(each.to_s * US)}, roster line {each.line}"
            for each in verdict.roster.appointments
        ]
    return [f"{role}: {', '.join(sorted(names))}" for role, names in sorted(verdict.findings.holders.items())]


def _orders(found: list[orders.Order]) -> list[str]:
    rows = [each.row() for each in found[:MAX_LISTED]]
    return rows + ([f"and {len(found) - MAX_LISTED} more (--json)"] if len(found) > MAX_LISTED else [])


def _readings(readings: list[dict[str, Any]]) -> list[str]:
    rows = [
        f"entry {each['entry']}: {when(each['time_us'])} {each['person']} {each['what']}"
        f"{' of ' + each['case'] if each['case'] else ''}: {each['reason']}"
        for each in readings[:MAX_LISTED]
    ]
    return rows + ([f"and {len(readings) - MAX_LISTED} more (--json)"] if len(readings) > MAX_LISTED else [])


def _gaps(ledger: tree.Ledger) -> list[str]:
    rows = []
    if ledger.withheld:
        rows.append(f"not opened in this export, though they stand in the tree: {ranges(ledger.withheld)}")
    for certificate in sorted(set(ledger.destroyed.values())):
        gone = sorted(index for index, each in ledger.destroyed.items() if each == certificate)
        rows.append(f"destroyed, by certificate {certificate}: {ranges(gone)}")
    if ledger.states[tree.MISSING]:
        rows.append(f"missing: {ledger.states[tree.MISSING]}")
    return rows


def ranges(indexes: list[int]) -> str:
    """Ascending numbers, runs as FIRST-LAST."""
    runs: list[list[int]] = []
    for index in indexes:
        if runs and runs[-1][1] == index - 1:
            runs[-1][1] = index
        else:
            runs.append([index, index])
    return ", ".join(f"{first}" if first == last else f"{first}-{last}" for first, last in runs)


def _plans(plans: list[dict[str, Any]]) -> list[str]:
    return [
        f"entry {each['entry']}: version {each['version']}, retention {each['retention_days']} days, "
        + (f"filed {when(each['filed_s'] * US)} ({each['confirmation']})" if each.get("filed_s") else "not yet filed")
        for each in plans
    ]


def _calls(calls: list[dict[str, Any]]) -> list[str]:
    return [
        f"entry {each['entry']}: {when(each['called_s'] * US)}, by {each['person']}: "
        + (f"answered after {each['answer_s']} s" if each["answered"] else f"MISSED, waited for {each['answer_s']} s")
        + ("; the signature holds" if each["signature_checked"] else "")
        for each in calls
    ]


def _ordered(orders: list[dict[str, Any]]) -> list[str]:
    return [
        f"entry {each['entry']}: order {each['document_sha256']}, by {when(each['due_s'] * US)}: "
        + ("NOT FILED" if each["filed"] is None else f"filed as version {each['filed_version']}, entry {each['filed']}")
        for each in orders
    ]


def _certified(row: dict[str, Any]) -> str:
    said = {number: ", ".join(map(words.authority, each)) for number, each in row["opened"].items()}
    opened = "; ".join(f"({number}) {words.FIELDS[number]}: {each}" for number, each in said.items())
    masked = f"; masked: {', '.join(f'({each})' for each in row['masked'])}" if row["masked"] else ""
    checked = "; its signature holds" if row["signature_checked"] else ""
    return f"entry {row['entry']}: case {row['case'] or '-'}: {opened}{masked}{checked}"


def _stamps(stamps: Stamps) -> list[str]:
    rows = [f"{stamps.documents} of single documents"] if stamps.documents else []
    if stamps.days:
        rows.insert(0, f"the checkpoints of {len(stamps.days)} days, {min(stamps.days)} to {max(stamps.days)}, by "
                       + ", ".join(sorted({who for each in stamps.days.values() for who in each})))  # fmt: skip
        rows.append(f"{len(stamps.missing)} days without one" if stamps.missing else "no day without one")
    return rows


def _statements(months: list[dict[str, Any]]) -> list[str]:
    return [
        f"{each['month']}: "
        + ("not drafted" if each["drafted"] is None else f"{each['differences']} differences, ")
        + ("" if each["drafted"] is None else "NOT SIGNED" if each["signed"] is None else
           f"signed by {each['person']}, entry {each['signed']}")
        for each in months
    ]  # fmt: skip


def _samples(verdict: Verdict, seed: str | None, count: int) -> list[str]:
    rows = [
        f"entry {each['entry']}: {when(each['time_us'])} {each['person']} committed the seed with SHA-256 "
        f"{each['seed_sha256']}"
        for each in verdict.findings.samples
    ]
    if seed is not None:
        made = drawn(verdict, seed, count)
        committed = made["committed"]
        rows.append(f"your seed was committed by entry {committed[0]}" if committed else
                    "YOUR SEED WAS NEVER COMMITTED: whoever chose it chose the sample")  # fmt: skip
        rows += [f"look at entry {each['entry']}: {each['kind']} {each['case']}" for each in made["drawn"]]
    return rows
