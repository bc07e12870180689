"""Monthly statements of completeness, judged from an export by the verifier that shares no code with the daemon."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from mediation.administration import lab
from mediation.administration.ledger import tiles
from mediation.administration.records import export
from mediation.audit import page, statements, verdict
from mediation.core.authority import jws
from mediation.core.interface.control import Certify, Export
from mediation.core.records import statement
from mediation.runtime.keys import read_verifier
from tests.administration import site as s
from tests.administration.test_certificate import arm, kept, signed
from tests.administration.test_statement import attested, over, sign, views
from tests.audit import exports as x


class Told:
    """A lab site in which a month has passed; `lie` changes what the daemon counts before it drafts."""

    def __init__(self, folder: Path, *, stated: bool = True, lie: Callable[[s.Desk], None] = lambda _: None) -> None:
        self.site = s.make(folder)
        desk = s.Desk(self.site)
        self.month = statement.month_of(time.time_ns() // 1000)
        desk.submit(s.filing(self.site), s.filing(self.site, "CASE-2"))
        arm(desk)
        desk.orders.records.act(Certify(signatures=(signed(desk, kept(desk)[0].text),)), desk.now_ns)
        lie(desk)
        over(desk, self.month)
        if stated:
            assert sign(desk, attested(desk, views(desk)[0].text)) == ""
        over(desk, self.month, statement.MISSING_S + 86_400)
        octets = export.make(self.site, Export(), desk.orders.records.statements.exported())
        desk.orders.close()
        path = folder / "export.tar"
        path.write_bytes(octets)
        archive = tiles.Archive(path)
        self.files = {name: archive.read(name) or b"" for name in x.names(archive)}
        self.file = f"statements/{self.month}.jws"

    def judge(self) -> verdict.Verdict:
        return verdict.judge(x.as_export(self.files), key=str(read_verifier(self.site.keys_dir)))


def months(found: verdict.Verdict) -> list[str]:
    return [each.what for each in found.findings.anomalies if each.what.startswith("month")]


def test_what_was_stated_and_signed_is_verified_and_shown(tmp_path: Path) -> None:
    told = Told(tmp_path)
    found = told.judge()
    assert found.forged == [] and months(found) == []
    (row,) = found.months
    assert (row["month"], row["person"], row["differences"]) == (told.month, "lab-executive-1", 0)
    assert f"{told.month}: 0 differences, signed by lab-executive-1, entry {row['signed']}" in page.page(found)
    assert verdict.as_json(found)["statements"] == found.months
    said = json.loads(jws.split(told.files[told.file].decode()).payload)
    assert (said["counts"]["orders"], said["counts"]["enabled"]) == (2, 1)


def test_a_month_that_nobody_stated(tmp_path: Path) -> None:
    found = Told(tmp_path, stated=False).judge()
    assert len(months(found)) == 1 and "no signed statement" in months(found)[0]
    assert "NOT SIGNED" in page.page(found)


def test_a_statement_that_the_entries_do_not_bear_out(tmp_path: Path) -> None:
    def lie(desk: s.Desk) -> None:
        (month,) = desk.orders.records._history.tally.months.values()
        month.counts["orders"] = 7

    assert "stated 7 orders, the ledger has 2" in months(Told(tmp_path, lie=lie).judge())[0]


def test_differences_that_are_stated_are_looked_at(tmp_path: Path) -> None:
    def uncertified(desk: s.Desk) -> None:
        desk.orders.records.certificates.forget(desk.order().xid)

    assert "the statement names 1 differences" in months(Told(tmp_path, lie=uncertified).judge())[0]


@pytest.mark.parametrize("how", ["flipped", "another text", "another signer", "not a token", "of no month"])
def test_a_forged_statement_is_named_with_its_entry(tmp_path: Path, how: str) -> None:
    told = Told(tmp_path)
    text = told.files[told.file].decode()
    executive = lab.executives(told.site)[1]
    payload = jws.split(text).payload
    other = payload.replace(b'"orders":2', b'"orders":3')
    told.files[told.file] = {
        "flipped": x.flip(text), "not a token": "x.y",
        "another text": jws.sign_octets(other, statements.TYP, executive.kid, executive.key()),
        "another signer": jws.sign_octets(payload, statements.TYP, executive.kid, executive.key()),
        "of no month": text,
    }[how].encode()  # fmt: skip
    if how == "of no month":
        told.files["statements/2001-01.jws"] = told.files[told.file]
    found = told.judge()
    assert found.result == verdict.BAD
    named = [each for each in found.forged if "statement" in each.what]
    assert named and (how == "of no month" or named[0].entries == (found.months[0]["signed"],))


def test_a_head_that_is_not_of_this_ledger_is_found(tmp_path: Path) -> None:
    """The senior officer attests a head that the site showed him, and the ledger was another one afterwards."""
    told = Told(tmp_path / "a")
    other = Told(tmp_path / "b")
    told.files[told.file] = other.files[other.file]
    assert any(each.what.startswith("statements/") for each in told.judge().forged)


def test_without_the_text_the_entries_still_say_who_signed(tmp_path: Path) -> None:
    told = Told(tmp_path)
    del told.files[told.file]
    found = told.judge()
    assert found.forged == [] and any("text is not in this export" in each.what for each in found.findings.notices)
