"""What a site that holds its ledger's key can enter, leave out or take away, and the verifier says of it (SEC-2)."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any, get_args

import msgspec
import pytest

from mediation.administration.ledger import tiles
from mediation.audit import forms, page, tree, verdict
from mediation.audit.verdict import ANOMALIES, BAD, CLEAN
from mediation.core.authority import roster
from mediation.core.authority.roster import Enroll, Roster
from mediation.core.ledger import entry, note
from tests.audit import exports as x
from tests.audit.exports import Files, judge
from tests.core import founding
from tests.faults.root_attacks import sample
from tests.ledger_lines import BOX

DAY_US = 86_400_000_000
LATER_US = x.T0_US + 1_000_000_000


def entered(tmp_path: Path, *texts: str) -> tuple[Files, list[int]]:
    """The usual story, and these texts as they are, witnessed; and where they stand."""
    made = x.Made(tmp_path / "ledger")
    files = made.files()
    places = made.ledger.append(list(texts))
    made.cosign([entry.WitnessesFound(time_us=LATER_US, size=1)])
    folder = tiles.Folder(made.folder, BOX)  # its own exporter would refuse some of them
    files |= {name: folder.read(name) or b"" for name in folder.all()}
    return files, [each.index for each in places]


def anomalies(found: verdict.Verdict) -> list[str]:
    return [each.what for each in found.findings.anomalies]


# --- forms ------------------------------------------------------------------------------------------------------------


def test_the_forms_are_those_of_the_daemon() -> None:
    """Two tables, written apart; a kind or a member that only one of them has shows here."""
    theirs = {
        str(kind.__struct_config__.tag): {each.name: each.required for each in msgspec.structs.fields(kind)}
        for kind in get_args(entry.Record)
    }
    ours = {kind: {name: not form.endswith("?") for name, form in each.items()} for kind, each in forms.FORMS.items()}
    assert ours == theirs


@pytest.mark.parametrize("kind", get_args(entry.Record), ids=lambda kind: kind.__struct_config__.tag)
def test_what_the_daemon_enters_has_its_form(kind: type[entry.Entry]) -> None:
    text = entry.encode(sample(kind)).replace('"ada","bob"', '"ab"')  # a list may be of hashes
    assert forms.read(text)["kind"] == kind.__struct_config__.tag


HOSTILE = ["1e999", "NaN", "1" + "0" * 40, "-2", '"\\ud800"', "null", "[[1]]", '{"a":[]}', "0.5", "[" * 3000]


@pytest.mark.parametrize("value", HOSTILE)
def test_no_value_of_any_member_ends_the_tool(tmp_path: Path, value: str) -> None:
    """Each member of each kind in turn: what is in no form is named by its entry, and the page is written."""
    texts = []
    for kind in get_args(entry.Record):
        facts = json.loads(entry.encode(sample(kind)))
        for name in facts:
            texts.append(json.dumps({**facts, name: "@@"}).replace('"@@"', value))
    refused = 0
    for text in texts:
        try:
            forms.read(text)
        except forms.Bad:
            refused += 1
    assert refused == len(texts), "each of these values is none that any member has"
    files, places = entered(tmp_path, texts[0], texts[7])
    found = judge(files)
    assert found.result == BAD and found.forged[0].entries == (places[0],)
    assert "a form that no entry has" in found.forged[0].what
    assert page.page(found, x.SEED, 2) and json.dumps(verdict.as_json(found, x.SEED, 2))


def test_a_member_that_stands_twice(tmp_path: Path) -> None:
    """One reader takes the first, another the last: it is no entry at all."""
    text = entry.encode(sample(entry.Alarm)).replace('"alarm":', '"case":"CASE-9","alarm":', 1)
    files, places = entered(tmp_path, text)
    found = judge(files)
    assert found.result == BAD and found.forged[0].entries == (places[0],) and "twice" in found.forged[0].what


@pytest.mark.parametrize("person", ["\u0441arl", "carl\u200b", "ca\u0301rl", "\uff43arl"])
def test_nobody_has_two_spellings(tmp_path: Path, person: str) -> None:
    """A name in other letters that look the same would be another person, with another role."""
    filed = msgspec.structs.replace(x.act(900, "CASE-3")[0], carrier_person=person)
    files, places = entered(tmp_path, entry.encode(filed))
    found = judge(files)
    assert found.result == BAD and found.forged[0].entries == (places[0],)


def test_a_kind_that_nobody_knows_is_not_passed_over(tmp_path: Path) -> None:
    files, places = entered(tmp_path, json.dumps({"kind": "order-amended", "time_us": LATER_US, "case": "CASE-1"}))
    found = judge(files)
    assert found.result == ANOMALIES
    (said,) = [each for each in found.findings.anomalies if "order-amended" in each.what]
    assert said.entries == (places[0],) and "did not judge" in said.what


# --- what is left out -------------------------------------------------------------------------------------------------


def test_to_withhold_one_entry_silences_no_question(tmp_path: Path) -> None:
    """Armed without an act: with any other entry withheld the question is asked all the same."""
    order = [entry.encode(each) for each in x.act(900, "CASE-3")]
    files, places = entered(tmp_path, order[0], order[2], order[3], order[4])
    assert any("armed without an officer's act" in each for each in anomalies(judge(files)))
    lines = x.records(files)
    gone = next(line for line in lines if json.loads(line.get("record") or "{}").get("kind") == "case-read")
    x.put_records(files, [line for line in lines if line is not gone])
    manifest = json.loads(files["manifest.json"])
    files["manifest.json"] = json.dumps({**manifest, "withheld": [[gone["index"]] * 2]}).encode()
    found = judge(files)
    assert found.result == ANOMALIES and found.ledger.withheld == [gone["index"]]
    (said,) = [each for each in found.findings.anomalies if "armed by an act that is not here" in each.what]
    assert said.entries == (places[1],) and "1 entries are withheld" in said.what


@pytest.mark.parametrize("real", [False, True], ids=["founded by the site", "founded by an entry"])
def test_one_change_of_the_roster_that_was_never_entered(tmp_path: Path, real: bool) -> None:
    """Two executives can sign a change at any time; the ledger says which of them the site took."""

    def steps(lines: list[str]) -> list[list[entry.Record]]:
        first, *others = x.story(lines)
        if real:
            made = msgspec.structs.replace(first[0], founding="")
            begun = entry.RosterChanged(
                time_us=first[0].time_us, number=0, change_sha256=roster.digest(lines[0]),
                approvers=("edda", "egon", "elsa"),
            )  # fmt: skip
            first = [made, begun, first[1]]
        return [first, *others]

    made = x.Made(tmp_path / "ledger", steps=steps)
    held = Roster.replay(made.lines, roster.digest(made.lines[0]), x.ORIGIN, lab=False)
    key = founding.key_of("olga", founding.seed("forger"), kid="forger-1", not_before_s=x.NOW_S)
    octets = founding.change(held, Enroll(person="olga", key=key), issued_s=x.NOW_S)
    files = made.files()
    files["keys/roster.jsonl"] += founding.approved(octets, "edda", "egon").encode() + b"\n"
    found = judge(files)
    assert found.roster is not None and found.roster.problems == []
    assert any("line 2 of the roster was never entered" in each for each in anomalies(found))


# --- what is taken away -----------------------------------------------------------------------------------------------

XID = hashlib.sha256(b"CASE-1").hexdigest()[:32]


class Destroyed:
    """The records of CASE-1 are gone, by a certificate; `changes` of what it says."""

    def __init__(self, folder: Path, *more: entry.Record, kept_s: int = 86_400, **changes: Any) -> None:
        made = x.Made(folder / "ledger")
        gone = tuple(x.indexes(made.folder, "certificate-drafted")[:1])
        sealed = entry.Sealed(time_us=LATER_US, case="CASE-1", carrier_sha256=hashlib.sha256(b"CASE-1").hexdigest(),
                              destroy_after_s=LATER_US // 1_000_000 + kept_s)  # fmt: skip
        at_us = LATER_US + 2 * DAY_US
        said = {
            "type": "certificate-of-destruction", "site": x.ORIGIN, "xid": XID, "sealed_s": LATER_US // 1_000_000,
            "destroy_after_s": sealed.destroy_after_s, "destroyed_us": at_us, "retention_days": 1, "plan_version": 2,
            "plan_sha256": x.PLAN_SHA256, "entries": list(gone), "certifications": [], "approvers": [], "lab": False,
            **changes,
        }  # fmt: skip
        self.text = json.dumps(said).encode()
        self.sha256 = hashlib.sha256(self.text).hexdigest()
        destroyed = entry.Destroyed(time_us=at_us, xid=XID, certificate_sha256=self.sha256, entries=gone)
        plan = entry.PlanAdopted(
            time_us=LATER_US - 9, version=2, plan_sha256=x.PLAN_SHA256, appendix_sha256=x.APPENDIX_SHA256,
            retention_days=1, filed_s=x.NOW_S, confirmation="C",
        )  # fmt: skip
        for step in ([plan, *more], [sealed], [destroyed]):
            made.ledger.append([entry.encode(each) for each in step])
            made.cosign(step)
        made.ledger.destroy(list(gone), self.sha256)
        made.cosign([destroyed])
        self.gone = gone[0]
        self.files = made.files() | {f"destruction/{XID}.json": self.text, "plan/2.json": x.PLAN}


def test_a_destruction_by_the_rule(tmp_path: Path) -> None:
    made = Destroyed(tmp_path)
    found = judge(made.files)
    assert (found.result, found.forged, anomalies(found)) == (CLEAN, [], [])
    assert found.ledger.destroyed == {made.gone: made.sha256}
    assert f"destroyed, by certificate {made.sha256}: {made.gone}" in page.page(found).replace("\n    ", " ")


def test_a_destruction_without_its_certificate_or_with_another(tmp_path: Path) -> None:
    made = Destroyed(tmp_path)
    name = f"destruction/{XID}.json"
    found = judge({**made.files, name: made.text.replace(b'"lab": false', b'"lab": true')})
    assert found.result == BAD and "not the certificate of destruction that was entered" in found.forged[0].what
    del made.files[name]
    assert any("is not in this export" in each for each in anomalies(judge(made.files)))


HELD = entry.Held(time_us=LATER_US - 5, case="CASE-1", hold=True, hold_sha256=x.HASH, person="lena")
UNLAWFUL: dict[str, tuple[str, list[entry.Record], dict[str, Any]]] = {
    "too early": ("before the end of their retention", [], {"kept_s": 30 * 86_400}),
    "under a hold": ("while a hold stood", [HELD], {}),
    "by no plan": ("that was never entered", [], {"retention_days": 2}),
    "kept too short": ("less than the 1 days of the plan", [], {"destroy_after_s": LATER_US // 1_000_000 + 86_399}),
    "sealed to be kept too short": ("to be kept for less than the 1 days", [], {"kept_s": -86_400}),
    "another sealing": ("something else than the sealing", [], {"sealed_s": x.NOW_S + 9}),
}  # fmt: skip


@pytest.mark.parametrize("name", UNLAWFUL)
def test_a_destruction_that_no_rule_allows(tmp_path: Path, name: str) -> None:
    words, more, changes = UNLAWFUL[name]
    found = judge(Destroyed(tmp_path, *more, **changes).files)
    assert found.result == ANOMALIES and any(words in each for each in anomalies(found)), anomalies(found)


@pytest.mark.parametrize("changes", [{"entries": [1, 2]}, {"xid": "00" * 16}, {"sealed_s": "1"}, {"entries": 7}])
def test_a_certificate_that_names_something_else(tmp_path: Path, changes: dict[str, Any]) -> None:
    found = judge(Destroyed(tmp_path, **changes).files)
    assert found.result == BAD and any(each.what.startswith("destruction/") for each in found.forged)


# --- times ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("back_s", "named"), [(800, False), (1_000, True)])
def test_an_act_that_is_dated_back(tmp_path: Path, back_s: int, named: bool) -> None:
    """A key that has lapsed would be good again. Two heads that were cosigned before it say that it was made later."""
    made = x.Made(tmp_path / "ledger", steps=lambda lines: x.story(lines)[:1])
    for at_s in (5_000, 8_700):  # nobody enters anything, and the ticks go on; one head an hour is kept
        made.cosign([entry.Padding(time_us=x.T0_US + at_s * 1_000_000)])
    record = entry.WitnessesFound(time_us=x.T0_US + (5_001 - back_s) * 1_000_000, size=1)
    made.ledger.append([entry.encode(record)])
    made.cosign([entry.Padding(time_us=x.T0_US + 8_720 * 1_000_000)])
    found = judge(made.files())
    said = [each for each in found.findings.anomalies if "dated back" in each.what]
    assert bool(said) is named and all(each.entries == (x.indexes(made.folder, "witnesses-found")[0],) for each in said)


def test_what_waited_for_the_witnesses_is_not_dated_back(tmp_path: Path) -> None:
    """One published head waits through an outage, and is cosigned after what was entered behind it."""
    made = x.Made(tmp_path / "ledger", steps=lambda lines: x.story(lines)[:1])
    text = made.ledger.publish(8, x.T0_US)
    body = text.rpartition("\n\n")[0] + "\n"
    made.ledger.append([entry.encode(entry.WitnessesLost(time_us=x.T0_US + 1, size=1, grace_ends_us=0))])
    back_s = x.NOW_S + 36_000
    cosigned = text + "".join(signer.line(body, back_s) for signer in made.signers)
    assert made.ledger.accept_cosigned(cosigned, back_s * 1_000_000)
    found_again = entry.WitnessesFound(time_us=back_s * 1_000_000, size=1)
    made.ledger.append([entry.encode(found_again)])
    made.cosign([found_again])
    assert judge(made.files()).result == CLEAN


FILED = entry.PlanAdopted(time_us=LATER_US + 92 * DAY_US, version=2, plan_sha256=x.HASH, appendix_sha256=x.HASH,
                          retention_days=9, filed_s=x.NOW_S + 2_000, confirmation="C")  # fmt: skip
CLOCKS: dict[str, tuple[str, list[entry.Record]]] = {
    "a year for ninety days": ("gives itself more than 90 days", [
        entry.AmendmentOpened(time_us=LATER_US, cause="officer", due_s=LATER_US // 1_000_000 + 365 * 86_400)]),
    "filed in time by its word": ("by its own word alone", [
        entry.AmendmentOpened(time_us=LATER_US, cause="officer", due_s=LATER_US // 1_000_000 + 90 * 86_400), FILED]),
    "filed tomorrow": ("before the day that it states", [
        msgspec.structs.replace(FILED, time_us=LATER_US, filed_s=LATER_US // 1_000_000 + 3 * 86_400)]),
}  # fmt: skip


@pytest.mark.parametrize("name", CLOCKS)
def test_the_ninety_days_are_counted_and_not_believed(tmp_path: Path, name: str) -> None:
    words, more = CLOCKS[name]
    found = judge(x.Made(tmp_path / "ledger", steps=lambda lines: [*x.story(lines), more]).files())
    assert any(words in each for each in anomalies(found)), anomalies(found)


# --- two histories ----------------------------------------------------------------------------------------------------


def test_two_heads_of_one_size(made: x.Made, files: Files) -> None:
    """One for the witnesses, one for everybody else: the export has both."""
    size = made.ledger.size
    other = x.SIGNER.sign(note.Checkpoint(origin=x.ORIGIN, size=size, root=b"\7" * 32).text())
    history = files["history.jsonl"] + json.dumps(other).encode() + b"\n"
    found = judge({**files, "history.jsonl": history})
    assert found.result == BAD and found.forged[-1].entries == (size - 1,)
    assert f"two different ledgers of {size} entries were signed" in found.forged[-1].what
    assert found.ledger.signed_heads > 0 and tree.HISTORY in found.forged[-1].what
