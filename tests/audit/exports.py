"""A small witnessed ledger with a story, and its export as a dictionary of files that a forger may change."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mediation.administration.ledger import tiles, verify
from mediation.administration.ledger.ledger import Ledger
from mediation.administration.records import export
from mediation.audit import verdict
from mediation.audit.archive import Export as Archive
from mediation.core.authority import roster as core_roster
from mediation.core.authority.roster import Enroll, Roster
from mediation.core.case import Act, Role
from mediation.core.interface.control import Export
from mediation.core.ledger import cosignature, entry, note
from tests.core import founding
from tests.core.authority import NOW_S, private
from tests.ledger_lines import BOX

ORIGIN = "mediation/0123456789abcdef"
SIGNER = note.Signer(ORIGIN, private(9))
PERSONS = {Role.LEGAL: "lena", Role.CARRIER: "carl", Role.OFFICER: "olga", Role.AUDITOR: "aude"}
SEED = "5eed" * 16
T0_US = NOW_S * 1_000_000
HASH = "ab" * 32
# Entered with the site, as a lab's first plan is: a plan comes before the first order, and no number moves.
PLAN_TEXT, APPENDIX = "{}", '{"contact": {}}'
PLAN = json.dumps({"plan": PLAN_TEXT, "appendix": APPENDIX, "approvals": []}).encode()
PLAN_SHA256, APPENDIX_SHA256 = (hashlib.sha256(each.encode()).hexdigest() for each in (PLAN_TEXT, APPENDIX))


def witness(name: str, number: int, kind: bytes = cosignature.ED25519_V1) -> cosignature.Signer:
    return cosignature.Signer.from_seed(name, kind, bytes([number]) * 32)


WITNESSES = [witness("counsel.example/w1", 31), witness("audit.example/w2", 32)]
MLDSA = witness("peer.example/w3", 33, cosignature.MLDSA44)


def policy(*signers: cosignature.Signer, least: str = "all") -> bytes:
    lines = [f"log {SIGNER.verifier}"]
    lines += [f"witness w{n} {signer.verifier}" for n, signer in enumerate(signers)]
    names = " ".join(f"w{n}" for n in range(len(signers)))
    return "\n".join([*lines, f"group all-of-them {least} {names}", "quorum all-of-them", ""]).encode()


def roster_lines() -> list[str]:
    """The founding, and a spare key for the officer."""
    rings = [(role, founding.key_of(person, founding.seed(person))) for role, person in PERSONS.items()]
    first = founding.founded(rings, ORIGIN, issued_s=NOW_S - 1_000)
    held = Roster.replay([first], core_roster.digest(first), ORIGIN, lab=False)
    spare = founding.key_of("olga", founding.seed("olga-spare"), kid="olga-2", not_before_s=NOW_S - 500)
    octets = founding.change(held, Enroll(person="olga", key=spare), issued_s=NOW_S - 500)
    return [first, founding.approved(octets, "edda", "egon")]


def act(at_s: int, case: str = "CASE-1", **changes: Any) -> list[entry.Record]:
    """An order, its activation and what came of it; `order` tells two orders of one case apart."""
    carrier = hashlib.sha256(changes.get("order", case).encode()).hexdigest()
    us = T0_US + at_s * 1_000_000
    facts = {"officer": "olga", "legal_person": "lena", "carrier_person": "carl", "sequence": 1, **changes}
    return [
        entry.OrderFiled(
            time_us=us, case=case, xid=carrier[:32], agency="AGENCY", authority=changes.get("authority", "title3"),
            legal_sha256=HASH, carrier_sha256=carrier, document_sha256=HASH, legal_person=facts["legal_person"],
            carrier_person=facts["carrier_person"],
        ),
        entry.CommandAccepted(
            time_us=us, case=case, act=Act.ACTIVATE, sequence=facts["sequence"], legal_sha256=HASH,
            carrier_sha256=carrier, officer=facts["officer"],
            command_sha256=hashlib.sha256(f"{carrier} {facts['sequence']}".encode()).hexdigest(),
        ),
        entry.Outcome(time_us=us + 1, case=case, xid=carrier[:32], function="iap", act="armed", sequence=1),
        entry.CertificateDrafted(
            time_us=us + 2, case=case, certificate_sha256=hashlib.sha256(f"certificate {case}".encode()).hexdigest()
        ),
        entry.CertificateSigned(
            time_us=us + 3, case=case, signature_sha256=HASH, person="olga",
            certificate_sha256=hashlib.sha256(f"certificate {case}".encode()).hexdigest(),
        ),
    ]  # fmt: skip


def story(lines: list[str]) -> list[list[entry.Record]]:
    """What happens, in steps that each end with a published head."""
    read = entry.CaseRead(
        time_us=T0_US + 400_000_000, case="CASE-1", what="show", person="aude", reason="audit 7",
        request_sha256=HASH,
    )  # fmt: skip
    seed = hashlib.sha256(SEED.encode()).hexdigest()
    return [
        [
            entry.SiteMade(
                time_us=T0_US - 2_000_000, origin=ORIGIN, lab=False, founding=core_roster.digest(lines[0]),
                plan=hashlib.sha256(PLAN).hexdigest(),
            ),
            entry.RosterChanged(
                time_us=T0_US - 1_000_000, number=1, change_sha256=core_roster.digest(lines[1]),
                approvers=("edda", "egon"),
            ),
        ],
        act(0),
        [*act(100, "CASE-2"), entry.SampleDrawn(time_us=T0_US + 300_000_000, seed_sha256=seed, person="aude", size=9)],
        [read],
    ]  # fmt: skip


@dataclass
class Made:
    """A ledger on the disk, cosigned at each step."""

    folder: Path
    lines: list[str] = field(default_factory=roster_lines)
    signers: list[cosignature.Signer] = field(default_factory=lambda: list(WITNESSES))
    steps: Callable[[list[str]], list[list[entry.Record]]] = story

    def __post_init__(self) -> None:
        steps = self.steps(self.lines)
        self.ledger = Ledger.create(self.folder, SIGNER, BOX, [entry.encode(each) for each in steps[0]])
        self.cosign(steps[0])
        for step in steps[1:]:
            self.ledger.append([entry.encode(each) for each in step])
            self.cosign(step)

    def cosign(self, step: list[entry.Record]) -> None:
        at_us = step[-1].time_us
        text = self.ledger.publish(8, at_us)
        body = text.rpartition("\n\n")[0] + "\n"
        lines = [signer.line(body, at_us // 1_000_000 + 1) for signer in self.signers]
        assert self.ledger.accept_cosigned(text + "".join(lines), at_us)

    def files(self, wanted: Export | None = None, policy_text: bytes | None = None) -> dict[str, bytes]:
        """What an export holds, by name."""
        roster = "".join(f"{line}\n" for line in self.lines).encode()
        beside = [
            ("keys/witness.policy", policy_text or policy(*self.signers)),
            ("keys/roster.jsonl", roster),
            ("keys/founding", f"{core_roster.digest(self.lines[0])}\n".encode()),
            ("plan/1.json", PLAN),
        ]
        octets = export.of(tiles.Folder(self.folder, BOX), SIGNER.verifier, wanted or Export(), lambda: beside)
        path = self.folder.parent / "export.tar"
        path.write_bytes(octets)
        archive = tiles.Archive(path)
        return {name: archive.read(name) or b"" for name in names(archive)}


def names(archive: tiles.Archive) -> list[str]:
    return sorted(archive._files)


def pack(files: dict[str, bytes], *, mend: bool = True) -> bytes:
    """A tar again; with `mend` the manifest is made to fit, as a forger would."""
    files = dict(files)
    if mend:
        manifest = json.loads(files["manifest.json"])
        manifest["files"] = {
            name: {"octets": len(octets), "sha256": hashlib.sha256(octets).hexdigest()}
            for name, octets in files.items()
            if name != "manifest.json"
        }
        files["manifest.json"] = json.dumps(manifest).encode()
    return tiles.pack(sorted(files.items()))


def as_export(files: dict[str, bytes]) -> Archive:
    withheld = json.loads(files["manifest.json"])["withheld"]
    return Archive(files=files, withheld=frozenset(i for a, b in withheld for i in range(a, b + 1)))


def indexes(folder: Path, kind: str) -> list[int]:
    """Where the entries of a kind stand."""
    found: list[int] = []

    def keep(line: tiles.Line, record: entry.Record) -> None:
        if record.__struct_config__.tag == kind:
            found.append(line.index)

    verify.examine(tiles.Folder(folder, BOX), SIGNER.verifier, on_record=keep)
    return found


def records(files: dict[str, bytes]) -> list[dict[str, Any]]:
    return [json.loads(line) for line in files["records/000.jsonl"].splitlines()]


def put_records(files: dict[str, bytes], lines: list[dict[str, Any]]) -> None:
    files["records/000.jsonl"] = b"".join(json.dumps(line, separators=(",", ":")).encode() + b"\n" for line in lines)


Files = dict[str, bytes]
KEY = str(SIGNER.verifier)
POLICY = policy(*WITNESSES)


def judge(files: Files, policy: bytes | None = POLICY, key: str | None = KEY) -> verdict.Verdict:
    return verdict.judge(as_export(files), key=key, policy=policy)


def flip(text: str) -> str:
    """Another bit in the last signature."""
    at = len(text) - 10
    return text[:at] + ("A" if text[at] != "A" else "B") + text[at + 1 :]
