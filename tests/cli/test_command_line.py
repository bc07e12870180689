"""The command line as one whole: what each command says of itself, and that one thing has one name everywhere."""

from __future__ import annotations

import json
from pathlib import Path

import click
import pytest

from mediation.administration import lab
from mediation.cli.options import TIMES, KeyPlace, Time
from mediation.core.case import Role
from tests.administration import site as s
from tests.administration.peers import command
from tests.administration.test_life_commands import Persons, done
from tests.command_lines import ALL, PROGRAM, wrong

ACTS = {typed: found for typed, found in ALL.items() if not isinstance(found, click.Group)}


def options(found: click.Command) -> list[click.Option]:
    return [each for each in found.params if isinstance(each, click.Option) and not each.hidden]


@pytest.mark.parametrize("typed", ALL)
def test_it_says_what_it_does_in_a_sentence(typed: str) -> None:
    said = (ALL[typed].help or "").partition("\n\n")[0]
    assert said and said[0].isupper() and said.endswith("."), said


@pytest.mark.parametrize("typed", ACTS)
def test_each_option_says_what_it_is(typed: str) -> None:
    for each in options(ACTS[typed]):
        assert each.help, each.opts
        if isinstance(each.type, Time):
            assert TIMES in each.help, each.opts


@pytest.mark.parametrize("typed", ACTS)
def test_each_has_an_example_that_can_be_typed(typed: str) -> None:
    help_text = (ACTS[typed].help or "").replace("\\\n", " ")
    examples = [line.strip() for line in help_text.splitlines() if line.strip().startswith(f"{PROGRAM} {typed}")]
    assert examples
    for example in examples:
        assert wrong(example, whole=True) == "", example


@pytest.mark.parametrize("typed", ACTS)
def test_one_thing_has_one_name_everywhere(typed: str) -> None:
    by_name = {name: each for each in options(ACTS[typed]) for name in each.opts}
    if (site := by_name.get("--site")) is not None and typed != "function":  # its unit names the site
        assert site.envvar == "MEDIATION_SITE"
    for each in by_name.values():
        if isinstance(each.type, KeyPlace):
            assert each.opts[0] == "--key" and each.envvar == "MEDIATION_KEY"
    makes = typed in ("lab order", "order draft")  # there a case has no name yet
    assert ("--case" in by_name) is makes


def test_a_case_can_still_be_named_by_the_option_that_was_once_needed(tmp_path: Path) -> None:
    site = str(s.make(tmp_path).path)
    at = ("--site", site)
    for case in ("C-1", "C-2"):
        done("lab", "order", *at, "--case", case, "--target", "tel:+12125550100", "--authority", "pen-register")
    assert done("lab", "revoke", *at, "--case", "C-1").startswith("C-1: withdrawn")
    key = ("--key", str(Path(site) / "lab" / f"{Role.LEGAL}.json"))
    for words in (
        (),
        ("C-2", "--case", "C-2", "--token", "legal"),
        ("C-2",),
        ("C-2", "--token", "legal", "--file", site),
    ):
        assert command("order", "revoke", *at, *key, *words).returncode == 2
    assert done("order", "revoke", *at, *key, "C-2", "--token", "legal").startswith("C-2: withdrawn")
    for words in (("C-2", "x"), ("--case", "C-2", "x"), ("C-2", "x", "y", "z"), ("C-2", "none", "none")):
        assert command("case", "extend", *at, *words).returncode == 2


def test_an_extension_is_put_in_force_by_three_words(tmp_path: Path) -> None:
    persons = Persons(tmp_path)
    at = ("--site", str(persons.site))
    legal, carrier = persons.drafted()
    done("order", "submit", *at, "--legal", legal, "--carrier", carrier)
    done("case", "activate", "26-M-17", *at)
    extension, approval = persons.folder / "extension", persons.folder / "approval"
    done("order", "extend", legal, "--end", "+30d", "--court", "C", "--judge", "J", "--document", persons.document,
         "--key", persons.key(Role.LEGAL), "--out", extension)  # fmt: skip
    said = command("order", "approve", str(extension), "--carrier", str(carrier), "--policy", str(persons.document),
                   "--key", str(persons.key(Role.CARRIER)), "--out", str(approval))  # fmt: skip
    assert said.stderr.endswith("mediation case extend 26-M-17 extension approval\n")
    assert done("case", "extend", "26-M-17", extension, approval, *at).startswith("26-M-17: extended")


def test_digits_are_extracted_after_a_suspension_as_before(tmp_path: Path) -> None:
    at = ("--site", str(s.make(tmp_path).path))
    done("lab", "order", *at, "--case", "C-1", "--target", "tel:+12125550100", "--authority", "pen-register",
         "--dde", "on")  # fmt: skip
    for act in ("suspend", "resume"):
        done("case", act, "C-1", *at)
        assert json.loads(done("case", "show", "C-1", *at))["dde"], act


def test_a_case_is_shown_to_programs_and_to_persons(tmp_path: Path) -> None:
    at = ("--site", str(s.make(tmp_path).path))
    done("lab", "order", *at, "--case", "C-1", "--target", "tel:+12125550100", "--authority", "pen-register")
    both = command("case", "show", "C-1", *at)
    assert json.loads(both.stdout)["state"] == "active" and both.stderr.startswith("order C-1: active  LAB\n")
    for_persons, for_programs = (command("case", "show", "C-1", form, *at) for form in ("--words", "--json"))
    assert for_persons.stdout.startswith("order C-1: active  LAB\n") and for_persons.stderr == ""
    assert for_programs.stdout.startswith("{") and for_programs.stderr == ""
    for words in (both.stderr, for_persons.stdout):
        assert "call-identifying information, digits" in words and ": ends in " in words
        assert f"{lab.AGENCY}, T1.678" in words and "activate, number 1" in words and "2125550100" not in words


def test_a_ledger_is_verified_where_the_site_need_not_be_typed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    site = s.make(tmp_path).path
    assert command("ledger", "verify").returncode == 2
    monkeypatch.setenv("MEDIATION_SITE", str(site))
    assert done("ledger", "verify").startswith("verified: ")
    assert "changes of" in done("roster", "verify")
    archive, key = tmp_path / "export.tar", site / "keys" / "ledger.pub"
    said = command("ledger", "export", "--out", str(archive))
    assert said.stdout == "" and said.stderr.startswith("export.tar: SHA-256 ") and "plan" not in said.stderr
    assert done("ledger", "verify", "--export", archive, "--key", key).startswith("verified: ")
    assert command("ledger", "verify", "--export", str(archive), "--key", str(key), "--site", str(site)).returncode == 2


@pytest.mark.parametrize("named", ["a folder", "not a text"])
def test_what_cannot_be_read_is_one_line(tmp_path: Path, named: str) -> None:
    draft = tmp_path / "draft"
    draft.write_bytes(b"\xff\xfe")
    if named == "a folder":
        said = command("person", "approve", str(draft), "--key", str(draft), "--out", str(tmp_path / "no" / "out"))
    else:
        said = command("order", "show", str(draft))
        assert said.stderr == "mediation: draft: not a text, so no token, key or approval\n"
    assert said.returncode == 1 and said.stderr.count("\n") == 1 and "Traceback" not in said.stderr


@pytest.mark.parametrize("how", ["deactivate", "revoke"])
def test_who_stops_a_case_stops_what_runs(tmp_path: Path, how: str) -> None:
    """The court's order is filed already while the emergency one runs, and nobody has activated it."""
    persons = Persons(tmp_path)
    at = ("--site", str(persons.site))
    case = "26-M-17"
    done("lab", "order", *at, "--case", case, "--target", "tel:+12125550100", "--authority", "emergency-pen-register")
    legal, carrier = persons.drafted()
    done("order", "submit", *at, "--legal", legal, "--carrier", carrier)

    def states() -> list[str]:
        return [json.loads(line)["state"] for line in done("case", "show", case, *at).splitlines()]

    assert states() == ["active", "filed"]
    if how == "deactivate":
        done("case", "deactivate", case, *at)
    else:
        done("order", "revoke", case, *at, "--token", "legal", "--key", persons.key(Role.LEGAL))
    assert states() == ["deactivated" if how == "deactivate" else "revoked", "filed"]
    done("case", "activate", case, *at)
    assert states()[1] == "active"
