"""Commitments opened one by one, destroyed records, and the sample that nobody can steer (SEC-18)."""

from __future__ import annotations

import dataclasses
import json

from mediation.audit import page, sample, verdict
from mediation.audit.verdict import BAD, CLEAN
from mediation.core.interface.control import Export
from tests.audit import exports as x
from tests.audit.exports import Files, judge

# --- chosen openings --------------------------------------------------------------------------------------------------


def test_commitments_are_opened_one_by_one(made: x.Made) -> None:
    """Withheld entries are told from missing ones, and the same tree holds for both exports."""
    found = judge(made.files(Export(kinds=("certificate-signed",), cases=())))
    assert found.result == CLEAN and found.ledger.states["withheld"] == 14 - 4
    assert found.ledger.states["missing"] == 0
    assert {each.kind for each in found.ledger.records} == {"site-made", "roster-changed", "certificate-signed"}
    text = page.page(found)
    assert "not opened in this export" in text
    assert {each.facts.get("case") for each in found.ledger.records} == {None, "CASE-1", "CASE-2"}
    one = judge(made.files(Export(kinds=(), cases=("CASE-2",))))
    assert {each.facts.get("case") for each in one.ledger.records if "case" in each.facts} == {"CASE-2"}
    assert one.ledger.head.root == found.ledger.head.root
    nothing = page.page(judge(made.files(Export(kinds=(), cases=()))))
    assert "CASE" not in nothing and "olga show" not in nothing


def test_a_withheld_record_cannot_be_opened_to_another(made: x.Made) -> None:
    files = made.files(Export(kinds=(), cases=()))
    index = x.indexes(made.folder, "command-accepted")[0]
    line = {"index": index, "salt": "00" * 32, "record": json.dumps({"kind": "alarm", "time_us": 1})}
    x.put_records(files, sorted([*x.records(files), line], key=lambda each: each["index"]))
    found = judge(files)
    assert found.result == BAD and found.forged[0].entries == (index,)


def test_a_record_that_no_one_says_is_withheld_is_missing(made: x.Made) -> None:
    files = made.files(Export(kinds=(), cases=()))
    manifest = json.loads(files["manifest.json"])
    index = manifest["withheld"][0][0]
    manifest["withheld"][0][0] += 1
    files["manifest.json"] = json.dumps(manifest).encode()
    found = judge(files)
    assert found.result == BAD and found.forged[0].entries == (index,) and "missing" in found.forged[0].what


# --- the sample (SEC-18) ----------------------------------------------------------------------------------------------


def test_the_sample_is_the_seeds_and_nobodys(made: x.Made, files: Files) -> None:
    drawn = verdict.drawn(judge(files), x.SEED, 1)
    assert drawn["committed"] == x.indexes(made.folder, "sample-drawn")
    candidates = x.indexes(made.folder, "certificate-signed")
    (entered,) = [each for each in judge(files).ledger.records if each.kind == "sample-drawn"]
    assert [each["entry"] for each in drawn["drawn"]] == sorted(
        candidates, key=lambda index: sample.place(x.SEED, entered.commitment, index)
    )[:1]
    assert verdict.drawn(judge(files), x.SEED, 1) == drawn
    assert verdict.drawn(judge(files), "another", 9)["committed"] == []
    orders = {tuple(each["entry"] for each in verdict.drawn(judge(files), f"seed {n}", 9)["drawn"]) for n in range(20)}
    assert len(orders) == 2  # either order of the two comes up


def test_nobody_who_tries_seeds_can_choose_the_sample(files: Files) -> None:
    """The same seed, the same records: what is drawn rests on a salt that was made after the seed was chosen."""
    records = judge(files).ledger.records
    drawn = set()
    for n in range(40):
        entered = [dataclasses.replace(each, commitment=bytes([n]) * 32) if each.kind == "sample-drawn" else each
                   for each in records]  # fmt: skip
        drawn.add(tuple(each.index for each in sample.draw(entered, x.SEED, 1)))
    assert len(drawn) == 2
