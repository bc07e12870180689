"""Any bit of any file that the verifier believes: changed, the export is not called clean, and nothing breaks."""

from __future__ import annotations

import json
import random

import pytest

from mediation.audit import page, verdict
from mediation.audit.archive import Unreadable
from mediation.audit.verdict import CLEAN
from tests.audit import exports as x
from tests.audit.exports import Files, judge

# Not believed when the auditor gives his own key and policy; the manifest is held to the files, not they to it.
NOT_BELIEVED = {"ledger.pub", "keys/ledger.pub", "keys/witness.policy", "manifest.json"}
FLIPS = 40  # of each file


def test_any_bit_that_is_believed(files: Files) -> None:
    chance = random.Random(1)
    clean: list[tuple[str, int]] = []
    for name in sorted(files.keys() - NOT_BELIEVED):
        for _ in range(FLIPS):
            at, bit = chance.randrange(len(files[name])), 1 << chance.randrange(8)
            octets = bytearray(files[name])
            octets[at] ^= bit
            try:
                found = judge({**files, name: bytes(octets)})
            except Unreadable:
                continue
            page.page(found)
            json.dumps(verdict.as_json(found))
            if found.result == CLEAN:
                clean.append((name, at))
    assert clean == []


@pytest.mark.parametrize("cut", [0, 2, 40])  # one octet would be the last newline
def test_any_file_that_is_cut_short_or_gone(files: Files, cut: int) -> None:
    """Copies of a tile are as good as one another: what is gone may stand in a wider one."""
    spare = {name for name in files if ".p/" in name}
    for name in sorted(files.keys() - NOT_BELIEVED - spare):
        changed = {**files, name: files[name][:-cut] if cut else files[name]}
        if not cut:
            del changed[name]
        try:
            found = judge(changed)
        except Unreadable:
            continue
        gone_quietly = not cut and name in {"published", "history.jsonl", "witnessed", "witnessed.jsonl"}
        assert found.result != CLEAN or gone_quietly, name


def test_only_padding_is_opened_without_being_asked(made: x.Made) -> None:
    kept = {line["index"] for line in x.records(made.files(x.Export(kinds=(), cases=())))}
    shown = {line["index"] for line in x.records(made.files())}
    assert kept < shown
    for index in kept:
        line = next(each for each in x.records(made.files()) if each["index"] == index)
        assert json.loads(line["record"])["kind"] in {"padding", "site-made", "roster-changed"}
