"""A site is founded, and its persons change, by the commands that people type on their own machines."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from mediation.runtime import config
from mediation.runtime.keys import load_trust
from tests import vault
from tests.administration.site import kinds
from tests.administration.test_commands import done, refused

EXECUTIVES = ("edda", "egon", "elsa")


class Desk:
    """What several persons do, each with the files of his own."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.site = folder, str(folder / "site")
        self.letter = self.path("letter.txt")
        Path(self.letter).write_text("You are hereby appointed.")
        self.count = 0

    def path(self, name: str) -> str:
        return str(self.folder / name)

    def key(self, person: str, role: str, *more: str, name: str = "") -> str:
        """A key and its card; the card's path."""
        card = self.path(f"{name or person}.card")
        done("person", "key", "--person", person, "--name", person.title(), "--function", f"the {role}", "--role", role,
             "--key", self.path(f"{name or person}.key"), "--card", card, *more)  # fmt: skip
        return card

    def draft(self, *words: str) -> str:
        self.count += 1
        out = self.path(f"draft{self.count}")
        done("person", words[0], "--site", self.site, *words[1:], "--out", out)
        return out

    def approvals(self, draft: str, *persons: str) -> list[str]:
        found = []
        for person in persons:
            out = f"{draft}.{person}"
            assert "site" not in done("person", "approve", draft, "--key", self.path(f"{person}.key"), "--out", out)
            found.append(out)
        return found

    def submit(self, draft: str, *persons: str) -> None:
        assert done("person", "submit", "--site", self.site, *self.approvals(draft, *persons)) == ""

    def found(self) -> None:
        done("init", self.site)
        vault.furnish(Path(self.site))
        cards = [word for person in EXECUTIVES for word in ("--executive", self.key(person, "executive"))]
        olga = self.key("olga", "officer")
        draft = self.draft(
            "found", *cards, "--senior", "edda", "--appoint", f"officer={olga}", "--document", self.letter
        )
        assert "roster-founding" in refused(
            "person", "submit", "--site", self.site, *self.approvals(draft, "edda", "egon")
        )
        assert not load_trust(config.load(Path(self.site))).roster.lines
        for person in ("edda", "egon"):
            Path(f"{draft}.{person}").unlink()
        self.submit(draft, *EXECUTIVES)


def test_founded_and_changed_from_the_command_line(tmp_path: Path) -> None:
    desk = Desk(tmp_path)
    desk.found()
    site = desk.site
    lines = done("person", "list", "--site", site).splitlines()
    assert (
        len(lines) == 4 and lines[0].startswith("executive  edda  Edda, the executive") and "senior officer" in lines[0]
    )
    assert "is founded" in refused("person", "found", "--site", site, "--executive", desk.path("edda.card"), "--senior",
                                   "edda", "--document", desk.letter, "--out", desk.path("again"))  # fmt: skip
    # A legal reviewer, by two; by one, or by one whom it concerns, not.
    draft = desk.draft("appoint", "--card", desk.key("lena", "legal"), "--role", "legal", "--document", desk.letter)
    words = done("person", "approve", draft, "--key", desk.path("edda.key"), "--out", desk.path("edda.jws"))
    assert "(lena), " in words and "to legal\n" in words
    assert "roster-approval" in refused("person", "submit", "--site", site, desk.path("edda.jws"))
    desk.submit(draft, "egon", "elsa")
    assert "roster: " in refused("person", "submit", "--site", site, f"{draft}.egon", f"{draft}.elsa")
    second = desk.draft("appoint", "--card", desk.path("lena.card"), "--role", "carrier", "--document", desk.letter)
    assert "roster-roles" in refused("person", "submit", "--site", site, *desk.approvals(second, "egon", "elsa"))
    # A spare, and the recovery of an executive by the two others.
    desk.submit(desk.draft("enroll", "--card", desk.key("edda", "executive", name="spare")), "egon", "elsa")
    shown = json.loads(done("person", "list", "--site", site, "--json").splitlines()[0])
    assert len(shown["keys"]) == 2
    void = desk.draft("revoke", "--kid", shown["keys"][0])
    assert "roster-approval" in refused("person", "submit", "--site", site, *desk.approvals(void, "edda", "egon"))
    Path(f"{void}.egon").unlink()
    desk.submit(void, "egon", "elsa")
    assert json.loads(done("person", "list", "--site", site, "--json").splitlines()[0])["keys"] == shown["keys"][1:]
    desk.submit(desk.draft("contact", "--agency", "FBI-NY", "--number", "+12025550100"), "spare", "egon")
    assert kinds(config.load(Path(site))).count("roster-changed") == 5
    # An auditor, elsewhere, with the pin and the ledger's name.
    keys = Path(site) / "keys"
    pin = (keys / "founding").read_text().strip()
    copy = desk.path("copy.jsonl")
    shutil.copy(keys / "roster.jsonl", copy)
    known = ("--founding", pin, "--key", str(keys / "ledger.pub"))
    said = done("roster", "verify", "--roster", copy, *known)
    assert said == done("roster", "verify", "--site", site) and "verified: 5 changes" in said
    assert "approved by edda, egon, elsa" in said and "approved by egon, elsa" in said
    text = Path(copy).read_text().splitlines()
    Path(copy).write_text("\n".join([text[0], text[2]]) + "\n")
    assert "change 1: not the change that follows here" in refused("roster", "verify", "--roster", copy, *known)
    # The file was put back to what it was before the last change: the ledger knows.
    (keys / "roster.jsonl").write_text("\n".join(text[:4]) + "\n")
    assert "change 4 is not the one" in refused("person", "submit", "--site", site, f"{draft}.egon")


def test_a_lab_site_changes_by_its_own_executives(tmp_path: Path) -> None:
    desk = Desk(tmp_path)
    done("init", desk.site, "--lab")
    card = desk.key("otto", "officer", "--lab")
    done("person", "appoint", "--site", desk.site, "--card", card, "--role", "officer", "--document", desk.letter)
    listed = done("person", "list", "--site", desk.site)
    assert "officer  otto" in listed
    done("person", "end", "--site", desk.site, "--person", "otto", "--role", "officer")
    assert "officer  otto" not in done("person", "list", "--site", desk.site)
    done("person", "end", "--site", desk.site, "--person", "lab-executive-1", "--role", "executive")
    order = ("lab", "order", "--site", desk.site, "--case", "CASE-1", "--target", "tel:+12125550100", "--authority",
             "pen-register")  # fmt: skip
    assert refused(*order).startswith("senior-officer:")
    assert "verified: 4 changes" in done("roster", "verify", "--site", desk.site)


@pytest.mark.parametrize(
    "words", [("person", "end"), ("person", "contact"), ("roster", "verify"), ("person", "approve")]
)
def test_wrong_usage(words: tuple[str, ...]) -> None:
    refused(*words, status=2)
