"""All that the verifier finds out about one export, in one value: what the page says and `--json` prints.

Answers for the order of judging: the archive, the heads, the leaves, the witnesses, the roster, the story. An export is
`forged` when an entry, a head, a cosignature or a line of the roster is not what was signed; `anomalies` when it is
genuine and says something that a person must look at; else `clean`.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from typing import Any

from mediation.audit import (
    certifications,
    destructions,
    findings,
    names,
    notes,
    orders,
    persons,
    policies,
    sample,
    signers,
    stamps,
    statements,
    times,
    tokens,
    tree,
)
from mediation.audit.archive import Export, Unreadable
from mediation.audit.findings import US, Finding, Findings, when
from mediation.audit.notes import FORGED, NOT_CHECKED, Bad
from mediation.audit.persons import Roster
from mediation.audit.policies import Policies
from mediation.audit.stamps import Stamps

CLEAN, ANOMALIES, BAD = "clean", "anomalies", "forged"
POLICY = "keys/witness.policy"
LEDGER_PUB = "ledger.pub"
BESIDE = {"certificates": "certification", "stamps": "time stamp", "plans": "plan", "destruction": "certificate"}


@dataclass
class Witnesses:
    """`times` by witness: the newest time at which each cosigned; `last`: (size, time in us) of the last quorum."""

    policy: str = ""  # where it came from: given, export, or none
    lab: bool = False
    times: dict[str, int] = field(default_factory=dict)
    quorums: list[tuple[int, int]] = field(default_factory=list)
    not_checked: set[str] = field(default_factory=set)
    short: list[int] = field(default_factory=list)  # sizes of heads that were kept as cosigned, and no quorum did


@dataclass
class Verdict:
    ledger: tree.Ledger
    key: notes.Key
    key_given: bool
    witnesses: Witnesses
    roster: Roster | None
    findings: Findings
    stamps: Stamps
    forged: list[Finding] = field(default_factory=list)
    not_checked: list[str] = field(default_factory=list)
    files: dict[str, int] = field(default_factory=dict)
    certified: list[dict[str, Any]] = field(default_factory=list)  # certifications that came, field by field
    months: list[dict[str, Any]] = field(default_factory=list)  # statements of completeness
    policies: Policies = field(default_factory=Policies)

    @property
    def result(self) -> str:
        return BAD if self.forged else ANOMALIES if self.findings.anomalies else CLEAN


def judge(
    export: Export, *, key: str | None = None, policy: bytes | None = None, known: str | None = None,
    timestamps: bytes | None = None,
) -> Verdict:  # fmt: skip
    """`timestamps`: the certificates (PEM) of the time-stamping authorities that are believed. Raises Unreadable for
    what cannot be judged at all."""
    text = key if key is not None else export.text(LEDGER_PUB)
    if text is None:
        raise Unreadable("no key of the ledger: give --key")
    try:
        verifier = notes.key(text)
    except Bad as error:
        raise Unreadable(f"the ledger's key: {error}") from error
    if verifier.kind != notes.NOTE_ED25519:
        raise Unreadable("the ledger's key: not of a ledger")
    ledger = tree.read(export, verifier, known)
    forged = [Finding(each.what, (each.index,)) for each in ledger.problems]
    witnesses, not_enough = _witnesses(export, ledger, verifier, policy, forged)
    roster = persons.read(export, ledger.head.origin)
    if roster is not None:
        forged += [Finding(each) for each in roster.problems]
    found = findings.examine(ledger, roster)
    signers.examine(ledger, roster, found)
    times.examine(ledger, witnesses.quorums, found)
    forged += destructions.examine(export, ledger, found)
    try:
        stamped = stamps.examine(export, ledger, timestamps, found)
    except tokens.Bad as error:
        raise Unreadable(f"the certificates of time-stamping authorities: {error}") from error
    forged += stamped.forged
    forged_statements, months = statements.examine(export, ledger, roster, found)
    forged += forged_statements
    forged_fields, certified = certifications.examine(export, ledger, roster, found)
    forged += forged_fields
    forged_policies, acts = policies.examine(export, ledger, roster, found)
    forged += forged_policies
    found.anomalies[:0] = not_enough
    for name in (tree.HISTORY, *((tree.WITNESSED_HISTORY,) if tree.WITNESSED in export.files else ())):
        if name not in export.files:
            found.anomaly(f"{name} is not in the export: the heads that were signed before say when entries were made")
    problems = (*export.problems, *filter(None, [names.strangers(export, ledger.head.size)]))
    found.anomalies += [Finding(f"archive: {each}") for each in problems]
    verdict = Verdict(
        ledger, verifier, key is not None, witnesses, roster, found, stamped, forged, months=months,
        certified=certified, policies=acts,
    )  # fmt: skip
    _beside(export, verdict)
    verdict.forged += [each for each in found.anomalies if each.what.startswith("roster line")]
    found.anomalies = [each for each in found.anomalies if not each.what.startswith("roster line")]
    verdict.not_checked += [f"the cosignatures of {name}: this machine's cryptography library has no ML-DSA-44"
                            for name in sorted(witnesses.not_checked)]  # fmt: skip
    verdict.not_checked += [*export.notes, *stamped.not_checked]
    if key is None:
        verdict.not_checked.append(
            "whose ledger it is: the key came with the export. Compare its fingerprint with the published one"
        )
    if witnesses.policy == "export":
        verdict.not_checked.append(
            "whose witnesses they are: the policy came with the export. Compare it with the one that you agreed to"
        )
    if roster is None:
        verdict.not_checked.append("who held which role: the export has no roster")
    verdict.forged.sort(key=lambda each: each.entries or (1 << 62,))
    return verdict


def _witnesses(
    export: Export, ledger: tree.Ledger, key: notes.Key, given: bytes | None, forged: list[Finding]
) -> tuple[Witnesses, list[Finding]]:
    """The cosignatures of every head that the export says was cosigned, and what is wrong with their quorum."""
    octets = given if given is not None else export.files.get(POLICY)
    found = Witnesses(policy="given" if given is not None else "export" if octets is not None else "none")
    if octets is None:
        return found, [Finding("unwitnessed: no policy says whose cosignatures the ledger needs")]
    try:
        policy = notes.Policy(octets)
    except Bad as error:
        if given is not None:
            raise Unreadable(str(error)) from error
        forged.append(Finding(f"{POLICY}: {error}"))
        return found, []
    found.lab = policy.lab
    if any(each.public == key.public for each in policy.witnesses.values()):
        forged.append(Finding(f"{POLICY}: the ledger is its own witness"))
    for head, note in ledger.cosigned:
        _one(policy, head, note, found, forged)
    found.quorums.sort()
    problems = []
    if not found.quorums and found.not_checked:
        problems.append(Finding("the quorum could not be checked on this machine: see below"))
    elif not found.quorums:
        problems.append(Finding("unwitnessed: no head of this ledger carries the cosignatures of the quorum"))
    else:
        covered = found.quorums[-1][0]
        beyond = [each for each in ledger.records if each.index >= covered and each.kind == "command-accepted"]
        if beyond:
            problems.append(Finding("acts that no quorum has cosigned yet", tuple(each.index for each in beyond[:9])))
    if found.short and found.quorums:
        what = "heads are kept as cosigned, and no quorum of this policy cosigned them: was there another policy then?"
        problems.append(Finding(what, tuple(max(size - 1, 0) for size in sorted(found.short)[:9])))
    if policy.lab and not ledger.head.origin.startswith("LAB"):
        problems.append(Finding("a real site whose witness is the lab's: it is no witness"))
    return found, problems


def _one(policy: notes.Policy, head: notes.Head, note: str, found: Witnesses, forged: list[Finding]) -> None:
    try:
        verdict = policy.judge(note)
    except Bad as error:
        forged.append(Finding(f"a cosigned head of {head.size} entries: {error}", (max(head.size - 1, 0),)))
        return
    for name, state in verdict.lines.items():
        if state == FORGED:
            forged.append(Finding(f"the cosignature of {name} under the head of {head.size} entries is forged",
                                  (max(head.size - 1, 0),)))  # fmt: skip
        elif state == NOT_CHECKED:
            found.not_checked.add(name)
        else:
            found.times[name] = max(found.times.get(name, 0), verdict.times[name])
    if verdict.quorum_s:
        found.quorums.append((head.size, verdict.quorum_s * US))
    elif NOT_CHECKED not in verdict.lines.values():
        found.short.append(head.size)


def _beside(export: Export, verdict: Verdict) -> None:
    """Documents that came with the export, by the hashes that the ledger has of them."""
    entered: dict[str, tuple[int, str]] = {}
    for record in verdict.ledger.records:
        for name, value in record.facts.items():
            if name in (
                "certificate_sha256",
                "plan_sha256",
                "appendix_sha256",
                "token_sha256",
                "signature_sha256",
                "subject_sha256",
            ):
                entered.setdefault(str(value), (record.index, record.kind))
    for folder, what in BESIDE.items():
        names = export.below(folder)
        if not names:
            continue
        known = [name for name in names if hashlib.sha256(export.files[name]).hexdigest() in entered]
        verdict.files[folder] = len(names)
        if len(known) < len(names):
            verdict.findings.notice(
                f"{len(names) - len(known)} files of {folder}/ are named by no opened entry ({what})"
            )


def as_json(verdict: Verdict, seed: str | None = None, count: int = 0) -> dict[str, Any]:
    """Everything, for programs."""
    ledger, found = verdict.ledger, verdict.findings
    first = next((each for each in verdict.forged), None)
    made: dict[str, Any] = {
        "result": verdict.result,
        "first_bad": None if first is None else {"entry": first.entries[0] if first.entries else None,
                                                 "what": first.what},
        "ledger": {
            "origin": ledger.head.origin, "size": ledger.head.size, "root": ledger.head.root.hex(),
            "key_sha256": verdict.key.fingerprint, "key_given": verdict.key_given,
            "signed_heads": ledger.signed_heads,
            "first": when(ledger.records[0].time_us) if ledger.records else None,
            "last": when(ledger.records[-1].time_us) if ledger.records else None,
        },
        "entries": dict(ledger.states),
        "kinds": _kinds(ledger),
        "witnesses": {
            "policy": verdict.witnesses.policy, "lab": verdict.witnesses.lab,
            "newest": {name: when(time_s * US) for name, time_s in verdict.witnesses.times.items()},
            "quorums": len(verdict.witnesses.quorums),
            "covered": verdict.witnesses.quorums[-1][0] if verdict.witnesses.quorums else 0,
        },
        "forged": [_finding(each) for each in verdict.forged],
        "anomalies": [_finding(each) for each in found.anomalies],
        "notices": [_finding(each) for each in found.notices],
        "roles": [vars(each) for each in verdict.roster.appointments] if verdict.roster else
                 {role: sorted(names) for role, names in found.holders.items()},
        "orders": [each.as_json() for each in orders.table(ledger)],
        "readings": found.readings,
        "withheld": ledger.withheld,
        "destroyed": ledger.destroyed,
        "plans": found.plans,
        "contact_calls": verdict.policies.calls,
        "modifications": verdict.policies.orders,
        "timestamps": verdict.stamps.as_json(),
        "certifications": verdict.certified,
        "statements": verdict.months,
        "samples": found.samples,
        "files": verdict.files,
        "not_checked": verdict.not_checked,
    }  # fmt: skip
    if seed is not None:
        made["sample"] = drawn(verdict, seed, count)
    return made


def drawn(verdict: Verdict, seed: str, count: int) -> dict[str, Any]:
    """The sample that a seed draws, and where it was committed."""
    records = verdict.ledger.records
    return {
        "seed_sha256": sample.digest(seed),
        "committed": [each.index for each in sample.committed(records, seed)],
        "drawn": [{"entry": each.index, "kind": each.kind, "case": each.facts.get("case", "")}
                  for each in sample.draw(records, seed, count)],
    }  # fmt: skip


def _finding(finding: Finding) -> dict[str, Any]:
    return {"what": finding.what, "entries": list(finding.entries)}


def _kinds(ledger: tree.Ledger) -> dict[str, int]:
    kinds: dict[str, int] = {}
    for record in ledger.records:
        kinds[record.kind] = kinds.get(record.kind, 0) + 1
    return dict(sorted(kinds.items()))
