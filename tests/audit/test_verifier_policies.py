"""The plan's contact and the Commission's orders, judged from an export by the verifier that shares no code with us."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from mediation.administration import lab
from mediation.administration.ledger import tiles
from mediation.administration.records import export, signed_texts
from mediation.audit import page, verdict
from mediation.core.authority import jws
from mediation.core.interface.control import Export
from mediation.core.ledger import entry
from mediation.core.records import contact, statement
from mediation.runtime.keys import read_verifier
from tests.administration import site as s
from tests.administration import test_contact as calls
from tests.administration import test_modification as orders
from tests.administration.test_contact import DAY_S, to
from tests.administration.test_plan import adopt, file
from tests.audit import exports as x

# One lab site, one call and one order of the Commission, carried out unless the test says otherwise.


class Told:
    def __init__(self, folder: Path, *steps: Callable[[s.Desk], None], wanted: Export | None = None) -> None:
        self.site = s.make(folder)
        desk = s.Desk(self.site)
        # As in test_contact: the month that needs the first call, however late in one the test runs.
        month = statement.month_of(desk.now_ns // 1000)
        if statement.ends_s(month) - contact.ASK_S < desk.now_ns // s.NS + DAY_S:
            month = statement.after(month)
            to(desk, month, 0.1)
        self.month = month
        for step in steps:
            step(desk)
        wanted = wanted or Export()
        octets = export.make(self.site, wanted, desk.orders.records.exported(wanted))
        desk.orders.close()
        path = folder / "export.tar"
        path.write_bytes(octets)
        archive = tiles.Archive(path)
        self.files = {name: archive.read(name) or b"" for name in x.names(archive)}

    def signed(self) -> list[str]:
        return [name for name in self.files if name.startswith("plan/signed/")]

    def judge(self) -> verdict.Verdict:
        return verdict.judge(x.as_export(self.files), key=str(read_verifier(self.site.keys_dir)))


def called(desk: s.Desk) -> None:
    assert calls.tried(desk) == ""


def missed(desk: s.Desk) -> None:
    assert calls.missed(desk) == ""


def ordered(desk: s.Desk) -> None:
    assert orders.ordered(desk, due_s=desk.now_ns // s.NS + DAY_S) == ""


def carried_out(desk: s.Desk) -> None:
    assert adopt(desk, orders.drawn(desk, orders.DOCUMENT)) == "" and file(desk) == ""


def days(count: float) -> Callable[[s.Desk], None]:
    return lambda desk: desk.later(count * DAY_S)


def over(desk: s.Desk) -> None:
    """Into the next month."""
    month = statement.month_of(desk.now_ns // 1000)
    to(desk, statement.after(month), 0.1)


def said(found: verdict.Verdict, words: str) -> list[verdict.Finding]:
    """What the tool found by itself: the site's own alarms are told in much the same words."""
    own = words.startswith("alarm ")
    found_here = [each for each in found.findings.anomalies if each.what.startswith("alarm ") is own]
    return [each for each in found_here if words in each.what]


def flat(found: verdict.Verdict) -> str:
    return " ".join(page.page(found).split())


def test_a_call_and_an_order_that_was_carried_out(tmp_path: Path) -> None:
    told = Told(tmp_path, called, ordered, carried_out, over)
    found = told.judge()
    assert found.forged == [] and not said(found, "contact") and not said(found, "Commission")
    (call,), (order,) = found.policies.calls, found.policies.orders
    assert call["signature_checked"] and (call["answer_s"], call["person"]) == (12, "lab-officer")
    assert (order["document_sha256"], order["filed_version"]) == (orders.DOCUMENT, 2)
    words = flat(found)
    assert "by lab-officer: answered after 12 s; the signature holds" in words
    assert f"order {orders.DOCUMENT}" in words and f"filed as version 2, entry {order['filed']}" in words
    made = verdict.as_json(found)
    assert (made["contact_calls"], made["modifications"]) == ([call], [order])
    assert len(told.signed()) == 2


def test_what_was_not_done_is_named(tmp_path: Path) -> None:
    told = Told(tmp_path, missed, ordered, days(2), over)
    found = told.judge()
    assert [each.what for each in said(found, "no call reached")] == [
        f"no call reached the 7x24 contact of the plan in {told.month}"
    ]
    assert said(found, "alarm contact-missed") and said(found, "alarm modification-overdue")
    (late,) = said(found, "was not filed by its day")
    assert late.entries == (found.policies.orders[0]["entry"],)
    assert "MISSED, waited for 60 s" in flat(found) and "NOT FILED" in flat(found)


def test_carried_out_late_and_with_another_day(tmp_path: Path) -> None:
    found = Told(tmp_path / "late", ordered, days(2), carried_out).judge()
    assert len(said(found, "filed after its day")) == 1 and not said(found, "not filed by its day")

    def more_time(desk: s.Desk) -> None:
        assert orders.ordered(desk, due_s=desk.now_ns // s.NS + 9 * DAY_S) == ""

    found = Told(tmp_path / "more", ordered, more_time, days(2), carried_out).judge()
    assert not said(found, "filed after") and len(found.policies.orders) == 1
    assert any("was changed by lab-officer" in each.what for each in found.findings.notices)


def test_a_partial_export_has_them_too(tmp_path: Path) -> None:
    """They say nothing of a case, and what is withheld must not look like what was not done."""
    steps = (called, ordered, carried_out, over, called)
    found = Told(tmp_path, *steps, wanted=Export(kinds=("order-filed",))).judge()
    assert found.forged == [] and len(found.policies.calls) == 2
    assert [each["filed_version"] for each in found.policies.orders] == [2]
    assert not said(found, "Commission") and not said(found, "contact of the plan")


def other_key(text: str, told: Told, typ: str | None = None, **changes: Any) -> str:
    """The text, changed and signed with the key of another officer or executive."""
    parts = jws.split(text)
    payload = {**msgspec.json.decode(parts.payload), **changes}
    key = lab.executives(told.site)[1]
    return jws.sign_octets(msgspec.json.encode(payload), typ or parts.header.typ, key.kid, key.key())


@pytest.mark.parametrize("how", ["flipped", "another text", "another signer", "not a token"])
@pytest.mark.parametrize("which", [contact.TYP, "mediation-modification"])
def test_a_signed_text_that_was_changed_is_named_with_its_entry(tmp_path: Path, which: str, how: str) -> None:
    told = Told(tmp_path, called, ordered)
    (name,) = (each for each in told.signed() if jws.split(told.files[each].decode()).header.typ == which)
    text = told.files[name].decode()
    told.files[name] = {
        "flipped": x.flip(text), "not a token": "x.y", "another signer": other_key(text, told),
        "another text": other_key(text, told, due_s=7, answer_s=1),
    }[how].encode()  # fmt: skip
    found = told.judge()
    row = (found.policies.calls if which == contact.TYP else found.policies.orders)[0]
    assert found.result == verdict.BAD
    assert [each.entries for each in found.forged if each.what.startswith(name)] == [(row["entry"],)]


LIES: dict[str, tuple[dict[str, Any], str]] = {
    "another time of answer": ({"answer_s": 1}, "says something else"),
    "answered": ({"answered": False}, "says something else"),
    "another person": ({"person": "lab-executive-2"}, "the roster has not of its signer"),
    "another text": ({"signed_sha256": "ab" * 32}, ""),
}


@pytest.mark.parametrize("name", LIES)
def test_an_entry_that_its_signed_text_does_not_bear_out(tmp_path: Path, name: str) -> None:
    """Who has the ledger's key can enter anything, but not sign for the person."""
    changes, words = LIES[name]

    def lie(desk: s.Desk) -> None:
        note = desk.orders.records._books.note

        def altered(records: list[entry.Record], *, stop: bool) -> None:
            note([msgspec.structs.replace(each, **changes) if isinstance(each, entry.ContactTested) else each
                  for each in records], stop=stop)  # fmt: skip

        desk.orders.records._books.note = altered  # type: ignore[method-assign]
        called(desk)

    found = Told(tmp_path, lie).judge()
    if words:
        assert any(words in each.what and each.entries for each in found.forged), found.forged
    else:
        assert any("is not in this export" in each.what for each in found.findings.notices)
    assert not found.policies.calls[0]["signature_checked"]


@pytest.mark.parametrize("what", ["text", "appendix", "order"])
def test_a_plan_that_is_not_the_one_entered(tmp_path: Path, what: str) -> None:
    told = Told(tmp_path, ordered, carried_out)
    kept = json.loads(told.files["plan/2.json"])
    if what == "appendix":
        kept["appendix"] = kept["appendix"].replace(lab.DIRECTORY_NUMBER, "+12125550198")
    else:
        kept["plan"] = kept["plan"].replace("365 days" if what == "text" else orders.DOCUMENT, "366 days")
    told.files["plan/2.json"] = json.dumps(kept).encode()
    assert any("not the plan that was entered" in each.what for each in told.judge().forged)


def test_by_whom(tmp_path: Path) -> None:
    """The daemon refuses these; entries by its key alone would be found."""

    def by(person: str) -> Callable[[s.Desk], None]:
        def make(desk: s.Desk) -> None:
            facts = {"called_s": desk.now_ns // s.NS, "answered": True, "answer_s": 1, "appendix_sha256": "ab" * 32}
            record = entry.ContactTested(
                time_us=desk.now_ns // 1000, signed_sha256=person[-2:].encode().hex() * 16, person=person, **facts
            )  # fmt: skip
            desk.orders.note(record)
            desk.later(1)

        return make

    found = Told(tmp_path, by("lab-auditor"), by("lab-executive-1"), by("lab-executive-2")).judge()
    assert len(said(found, "lab-auditor signed for an entry contact-tested")) == 1
    assert [each.what for each in said(found, "tried himself")] == ["lab-executive-1 tried himself as the 7x24 contact"]


def test_a_forged_signature_under_an_entry_of_its_own(tmp_path: Path) -> None:
    """The ledger's key enters the hash of any text, and the text is put beside it."""

    def forge(desk: s.Desk) -> None:
        text = calls.said(desk)
        forged = f"{text.rpartition('.')[0]}.{x.flip(text).rpartition('.')[2]}"
        facts = msgspec.json.decode(jws.split(text).payload)
        same = {name: facts[name] for name in ("called_s", "answered", "answer_s", "appendix_sha256")}
        sha256 = signed_texts.keep(desk.orders.records._keeping, forged)
        desk.orders.note(
            entry.ContactTested(time_us=desk.now_ns // 1000, signed_sha256=sha256, person="lab-officer", **same)
        )

    (forged,) = Told(tmp_path, forge).judge().forged
    assert "the signature is not of this text" in forged.what and forged.entries


def test_without_the_files_the_entries_still_say_it(tmp_path: Path) -> None:
    told = Told(tmp_path, called)
    for name in told.signed():
        told.files[f"plan/signed/{'ab' * 32}.jws"] = told.files.pop(name)
    found = told.judge()
    assert found.forged == [] and not found.policies.calls[0]["signature_checked"]
    notices = [each.what for each in found.findings.notices]
    assert any("is not in this export" in each for each in notices)
    assert any("1 files of plan/signed/ are named by no entry" in each for each in notices)


@pytest.mark.parametrize("version", [1, 2])
def test_a_plan_text_that_every_export_has_is_missed(tmp_path: Path, version: int) -> None:
    """The lab's first, which the entry of the site names, and one that was adopted."""
    told = Told(tmp_path, ordered, carried_out)
    assert not said(told.judge(), "of the plan is not in the export")
    del told.files[f"plan/{version}.json"]
    (missed_,) = said(told.judge(), f"the text of version {version} of the plan is not in the export")
    assert len(missed_.entries) == 1


def test_a_lab_s_first_plan_is_the_one_that_was_entered(tmp_path: Path) -> None:
    told = Told(tmp_path)
    told.files["plan/1.json"] = told.files["plan/1.json"].replace(b"365", b"366")
    assert [each.what for each in told.judge().forged] == ["plan/1.json: not the plan that was entered"]


@pytest.mark.parametrize("orders_filed", [False, True])
def test_a_site_that_never_had_a_plan_is_named(tmp_path: Path, orders_filed: bool) -> None:
    """With an order it is an anomaly: nothing may be intercepted before the policies stand (47 CFR 1.20003)."""

    def steps(lines: list[str]) -> list[list[entry.Record]]:
        (made, *rest), *others = x.story(lines)
        return [[msgspec.structs.replace(made, plan=""), *rest], *(others if orders_filed else ())]

    files = x.Made(tmp_path / "ledger", steps=steps).files()
    del files["plan/1.json"]
    found = x.judge(files)
    words = "no plan of policies was ever adopted here"
    assert bool(said(found, words)) is orders_filed
    assert any(words in each.what for each in found.findings.notices) is not orders_filed
