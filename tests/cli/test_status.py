"""`mediation status` as a command: what it prints, its exit statuses, and the file for the monitoring."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from mediation.administration import client
from mediation.cli import status as status_module
from mediation.core.errors import MediationError
from mediation.core.interface.control import Answer, Report
from tests.cli.test_openmetrics import read
from tests.cli.test_replay import Site, run

MATCHER = {"messages": 7, "matched": 0, "junk": 0}
LEDGER = {"cosigned_s": 1_795_339_907, "size": 3, "witnesses": {"lab": "cosigned"}, "witnesses_lost": False}
FUNCTIONS = {
    "iap": {"matcher": MATCHER, "taps": [], "lease": {"ends_ns": 1_795_426_307 * 10**9, "lapses": 0}, "x": {"y": 0}},
    "mediator": {"links": []},
}


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Site:
    return Site(tmp_path_factory.mktemp("status") / "site")


def test_a_site_of_which_nothing_runs_is_not_well(site: Site) -> None:
    """Status 1, whatever can be shown of it: a timer that asks would sleep through the night."""
    at = ("--site", str(site.path))
    printed, said = run("status", *at, status=1)
    assert "ledger" in printed and "nothing of the site runs" in said and "mediation run" in said
    assert json.loads(run("status", *at, "--json", status=1)[0])["functions"] == {}


def test_the_metrics_of_a_site_of_which_nothing_runs(site: Site, tmp_path: Path) -> None:
    """It is said, and nothing is done in the administrator's place, whose lock it would hold while that starts."""
    before = {path: path.stat().st_mtime_ns for path in (site.path / "administrator").iterdir()}
    out = tmp_path / "mediation.prom"
    out.write_text("older")
    printed, said = run("status", "--site", str(site.path), "--openmetrics", "--out", str(out), status=1)
    assert printed == "" and "nothing of the site runs" in said
    samples = {
        (sample.name, *sample.labels.values()): sample.value
        for family in read(out.read_text()).values() for sample in family.samples
    }  # fmt: skip
    assert samples["mediation_function_up", "administrator"] == 0 and samples["mediation_lab",] == 1
    assert 700 < samples["mediation_expiry_days", "key"] < 731
    assert 700 < samples["mediation_expiry_days", "appointment"] < 731
    assert 700 < samples["mediation_expiry_days", "delivery-certificate"] < 731
    assert {path: path.stat().st_mtime_ns for path in (site.path / "administrator").iterdir()} == before
    assert out.stat().st_mode & 0o777 == 0o644 and [each.name for each in tmp_path.iterdir()] == [out.name]


@pytest.mark.parametrize("words", [("--json", "--openmetrics"), ("--all", "--openmetrics"), ("--out", "x")])
def test_what_excludes_each_other(site: Site, words: tuple[str, ...]) -> None:
    run("status", "--site", str(site.path), *words, status=2)


def answering(monkeypatch: pytest.MonkeyPatch, **changes: object) -> None:
    facts = {
        "orders": {"active": 1},
        "ledger": LEDGER,
        "functions": FUNCTIONS,
        "counters": {"contact_due_seconds": 90_000},
    }

    def answer(*_: object) -> Answer:
        return Report(**{**facts, **changes})  # type: ignore[arg-type]

    monkeypatch.setattr(client, "one", answer)
    monkeypatch.setattr(client, "running", answer)


def test_counters_at_zero_are_left_out_and_counted(
    site: Site, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    answering(monkeypatch)
    invoke = status_module.command.callback
    assert invoke is not None
    invoke(folder=site.path, as_json=False, every=False, as_metrics=False, out=None)
    printed = capsys.readouterr().out
    lines = [line.split(maxsplit=1) for line in printed.splitlines()]
    assert ["messages", "7"] in lines and ["x"] not in lines
    assert not [line for line in lines if line[0] in ("matched", "junk", "lapses", "y")]
    assert printed.endswith("4 counters at 0 are not shown: --all\n")
    # Moments and times that are left are told in words.
    assert ["ends_ns", "2026-11-23T09:31:47Z"] in lines and ["cosigned_s", "2026-11-22T09:31:47Z"] in lines
    assert ["contact_due_seconds", "90000 (in 1 day 1 hour)"] in lines
    assert ["witnesses_lost", "False"] in lines  # a state is no counter
    invoke(folder=site.path, as_json=False, every=True, as_metrics=False, out=None)
    every = capsys.readouterr().out
    assert {"matched", "junk", "lapses", "y", "x"} <= {line.split()[0] for line in every.splitlines()}
    assert "not shown" not in every


def test_a_function_that_is_away_is_status_one_and_in_the_metrics(
    site: Site, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    answering(monkeypatch, functions={**FUNCTIONS, "mediator": None})
    invoke = status_module.command.callback
    assert invoke is not None
    with pytest.raises(MediationError, match=r"away: mediator; log/NAME\.log"):
        invoke(folder=site.path, as_json=False, every=False, as_metrics=True, out=None)
    assert 'mediation_function_up{function="mediator"} 0\n' in capsys.readouterr().out
