"""Certifications in an export, field by field: masked ones stay closed, opened ones are verified."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import msgspec
import pytest

from mediation.administration import lab
from mediation.administration.ledger import tiles
from mediation.administration.records import export
from mediation.audit import certifications, page, tree, verdict
from mediation.audit.tokens import Bad
from mediation.core.authority import jws
from mediation.core.case import Role
from mediation.core.check import Check
from mediation.core.errors import AuthorizationError
from mediation.core.interface.control import Certify, Export
from mediation.core.ledger import entry
from mediation.core.records import certificate, opening
from mediation.runtime.keys import read_verifier
from tests.administration import site as s
from tests.administration.peers import command
from tests.administration.test_certificate import arm, kept, signed
from tests.audit import exports as x

NUMBER, PRESENTED, JUDGE = "tel:+12125550100", "P. Roe", "J. Doe"
OPEN = ("ii", "v", "vi")


@pytest.fixture
def desk(tmp_path: Path) -> Any:
    made = s.Desk(s.make(tmp_path))
    who = {"presenting_officer": PRESENTED, "judge": JUDGE}
    made.submit(s.filing(made.site, **who), s.filing(made.site, "CASE-2", **who))
    for case in ("CASE-1", "CASE-2"):
        arm(made, case)
    made.orders.records.act(Certify(signatures=(signed(made, kept(made)[0].text),)), made.now_ns)
    yield made
    made.orders.close()


def files(desk: s.Desk, wanted: Export) -> dict[str, bytes]:
    path = desk.site.path.parent / "export.tar"
    path.write_bytes(export.make(desk.site, wanted, desk.orders.records.exported(wanted)))
    archive = tiles.Archive(path)
    return {name: archive.read(name) or b"" for name in x.names(archive)}


def judge(desk: s.Desk, found: dict[str, bytes]) -> verdict.Verdict:
    return verdict.judge(x.as_export(found), key=str(read_verifier(desk.site.keys_dir)))


def name_of(desk: s.Desk, case: str = "CASE-1") -> str:
    return f"certifications/{kept(desk, case)[0].sha256}.json"


def test_masked_fields_stay_closed_and_the_rest_is_verified(desk: s.Desk) -> None:
    found = files(desk, Export(certified=OPEN))
    octets = b"".join(found.values())
    for secret in (NUMBER, PRESENTED, JUDGE):
        assert secret.encode() not in octets
    judged = judge(desk, found)
    assert judged.forged == [] and len(judged.certified) == 2
    row = next(each for each in judged.certified if each["case"] == "CASE-1")
    assert row["masked"] == ["i", "iii", "iv"] and row["opened"]["v"] == ["pen-register"]
    assert row["opened"]["vi"][2] == "lab-officer" and not row["signature_checked"]
    assert "masked: (i), (iii), (iv)" in page.page(judged).replace("\n      ", " ")


def test_one_field_is_opened_by_itself(desk: s.Desk) -> None:
    judged = judge(desk, files(desk, Export(certified=("iv",))))
    assert judged.forged == [] and [each["opened"] for each in judged.certified] == [{"iv": [JUDGE]}] * 2


def test_opened_whole_its_signature_is_verified(desk: s.Desk) -> None:
    judged = judge(desk, files(desk, Export(certified=opening.NUMBERS)))
    assert judged.forged == []
    rows = {each["case"]: each for each in judged.certified}
    assert rows["CASE-1"]["signature_checked"] and rows["CASE-1"]["opened"]["i"] == [NUMBER]
    assert not rows["CASE-2"]["signature_checked"]  # nobody has signed it


def test_of_one_case_alone_and_of_none_without_being_asked(desk: s.Desk) -> None:
    assert not any(name.startswith("certifications/") for name in files(desk, Export()))
    found = files(desk, Export(kinds=(), cases=("CASE-2",), certified=OPEN))
    assert [name for name in found if name.startswith("certifications/")] == [name_of(desk, "CASE-2")]
    assert judge(desk, found).forged == []
    with pytest.raises(AuthorizationError) as refusal:
        desk.orders.records.exported(Export(certified=("vii",)))
    assert refusal.value.check == Check.STRUCTURE


def changed(desk: s.Desk, how: str) -> bytes:
    """A certification as a forger would have it."""
    (one,) = kept(desk)
    document = certificate.decode(one.text)
    shown = opening.opened(one.text, one.signature, opening.NUMBERS)
    officer = lab.person(desk.site, Role.OFFICER)
    other = certificate.encode(msgspec.structs.replace(document, authorizing_person="Another judge"))
    salt = shown.fields[0].salt
    fields = list(shown.fields)
    at = {"words": 0, "salt": 3, "twice": 1}.get(how, 0)
    match how:
        case "words":
            fields[at] = msgspec.structs.replace(fields[at], words='["tel:+19995550000"]')
        case "salt":
            fields[at] = msgspec.structs.replace(fields[at], salt=salt)
        case "twice":
            fields[at] = fields[0]
        case "text":
            shown = msgspec.structs.replace(shown, text=other)
        case "other certification":
            shown = msgspec.structs.replace(shown, certificate_sha256=kept(desk, "CASE-2")[0].sha256)
        case "signature of other text":
            signature = jws.sign_octets(other.encode(), certificate.TYP, officer.kid, officer.key())
            shown = msgspec.structs.replace(shown, signature=signature)
        case "another signature":
            shown = msgspec.structs.replace(shown, signature=signed(desk, one.text, Role.LEGAL))
        case _:
            return b"no certification"
    return msgspec.json.encode(msgspec.structs.replace(shown, fields=tuple(fields)))


@pytest.mark.parametrize(
    "how",
    [
        "words",
        "salt",
        "twice",
        "text",
        "other certification",
        "signature of other text",
        "another signature",
        "rubbish",
    ],
)
def test_what_was_not_drafted_or_not_signed_is_named_with_its_entry(desk: s.Desk, how: str) -> None:
    found = files(desk, Export(certified=opening.NUMBERS))
    found[name_of(desk)] = changed(desk, how)
    judged = judge(desk, found)
    assert judged.result == verdict.BAD
    (forged,) = [each for each in judged.forged if "certification" in each.what]
    assert s.kinds(desk.site)[forged.entries[0]] == "certificate-drafted"


@pytest.mark.parametrize(("how", "words"), [
    ("another text", "over another text"), ("another person", "overseeing person"), ("another kind", "over another"),
])  # fmt: skip
def test_a_signature_that_a_site_entered_is_judged_all_the_same(desk: s.Desk, how: str, words: str) -> None:
    """The site, too, can be the forger: what it entered must be the overseeing person's, over this text."""
    (one,) = kept(desk)
    officer = lab.person(desk.site, Role.LEGAL if how == "another person" else Role.OFFICER)
    text = one.text.replace(JUDGE, "Another") if how == "another text" else one.text
    typ = "mediation-plan" if how == "another kind" else certificate.TYP
    signature = jws.sign_octets(text.encode(), typ, officer.kid, officer.key())
    drafted = tree.Record(0, "certificate-drafted", 0, {"certificate_sha256": one.sha256})
    now_us = desk.now_ns // 1000
    facts = {"signature_sha256": jws.sha256_hex(signature), "person": officer.person}
    shown = {"text": one.text, "signature": signature}
    opened = {each.number: json.loads(each.words) for each in opening.fields(certificate.decode(one.text))}
    roster = judge(desk, files(desk, Export())).roster
    with pytest.raises(Bad, match=words):
        certifications._whole(shown, drafted, tree.Record(1, "certificate-signed", now_us, facts), roster, opened)


def test_a_certification_that_no_entry_names(desk: s.Desk) -> None:
    found = files(desk, Export(certified=OPEN))
    found[f"certifications/{'ab' * 32}.json"] = found[name_of(desk)]
    assert any("no opened entry" in each.what for each in judge(desk, found).forged)


def test_a_salt_tells_nothing_of_another_and_equal_words_do_not_show(desk: s.Desk) -> None:
    documents = [certificate.decode(kept(desk, case)[0].text) for case in ("CASE-1", "CASE-2")]
    salts = [each.salt for document in documents for each in opening.fields(document)]
    assert len(set(salts)) == 12 and not any(document.nonce in "".join(salts) for document in documents)
    one, two = (opening.commitments(document) for document in documents)
    assert not set(one) & set(two)  # the same number, the same judge: nobody sees that they are
    drafted = desk.orders.records._history.drafted[kept(desk)[0].sha256].record
    assert isinstance(drafted, entry.CertificateDrafted) and drafted.fields == one


def test_by_the_commands(tmp_path: Path) -> None:
    site = s.make(tmp_path)
    made = s.Desk(site)
    made.submit(s.filing(site, presenting_officer=PRESENTED, judge=JUDGE))
    arm(made)
    made.orders.close()
    out, more = str(tmp_path / "a.tar"), str(tmp_path / "b.tar")
    done = command("ledger", "export", "--site", str(site.path), "--out", out, "--certifications")
    assert done.returncode == 0, done.stderr
    assert NUMBER.encode() not in Path(out).read_bytes()
    said = json.loads(command("audit", "verify", out, "--json").stdout)
    assert said["forged"] == [] and said["certifications"][0]["masked"] == ["i", "iii", "iv"]
    done = command("ledger", "export", "--site", str(site.path), "--out", more, "--field", "iv", "--field", "iii")
    assert done.returncode == 0, done.stderr
    (row,) = json.loads(command("audit", "verify", more, "--json").stdout)["certifications"]
    assert (row["masked"], row["opened"]["iv"]) == (["i"], [JUDGE])
