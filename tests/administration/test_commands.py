"""The commands, as people type them: three persons on a real site, refusals in one line, the ledger on a laptop."""

from __future__ import annotations

import json
import shutil
import time
from pathlib import Path

import msgspec
import pytest

from mediation.administration import client
from mediation.core.authority.key import Key
from mediation.core.authority.roster import Line
from mediation.core.case import Role
from mediation.core.interface.control import ChangeRoster, Results
from mediation.runtime import config
from mediation.runtime.keys import read_verifier
from tests import vault
from tests.administration import planned
from tests.administration.peers import command
from tests.core import founding


def done(*words: str) -> str:
    """Standard output of a command that must succeed."""
    result = command(*words)
    assert result.returncode == 0, result.stderr
    return result.stdout


def refused(*words: str, status: int = 1) -> str:
    """The one line that a refused command says."""
    result = command(*words)
    assert result.returncode == status, (result.stdout, result.stderr)
    assert result.stdout == ""
    if status == 1:
        assert result.stderr.startswith("mediation: ") and result.stderr.count("\n") == 1
        assert "Traceback" not in result.stderr and "2125550100" not in result.stderr
    return result.stderr.removeprefix("mediation: ").strip()


@pytest.fixture
def lab(tmp_path: Path) -> str:
    folder = tmp_path / "lab"
    assert done("init", str(folder), "--lab", "--collector-port", "4242") == f"LAB site {folder}\n"
    return str(folder)


def found(folder: Path, appointed: list[tuple[Role, Key]]) -> None:
    """Three executives found the site and appoint these persons; the commands for it: test_person.py."""
    site = config.load(folder)
    line = founding.founded(appointed, read_verifier(site.keys_dir).name, issued_s=int(time.time()))
    approvals = msgspec.json.decode(line, type=Line).approvals
    answer = client.one(site, ChangeRoster(approvals=approvals))
    assert isinstance(answer, Results) and answer.results[0].check == "", answer


def order(site: str, case: str = "CASE-1", *more: str) -> tuple[str, ...]:
    return ("lab", "order", "--site", site, "--case", case, "--target", "tel:+12125550100",
            "--authority", "pen-register", *more)  # fmt: skip


def test_three_persons_on_a_real_site(tmp_path: Path) -> None:
    site = str(tmp_path / "site")
    assert done("init", site) == f"site {site}\n"
    vault.furnish(Path(site))
    keys = {}
    appointed = []
    for role, person in (("legal", "lena"), ("carrier", "carl"), ("officer", "olga")):
        keys[role] = str(tmp_path / f"{role}.key")
        entry = json.loads(done("order", "key", "--role", role, "--person", person, "--out", keys[role]))
        appointed.append((Role(role), Key(**entry)))
        assert Path(keys[role]).stat().st_mode & 0o777 == 0o600
    found(Path(site), appointed)
    paper = tmp_path / "order.pdf"
    paper.write_bytes(b"%PDF a court's order")
    draft, legal, carrier = (str(tmp_path / name) for name in ("draft.json", "legal.jws", "carrier.jws"))
    facts = (
        "--site", site, "--case", "26-M-17", "--target", "tel:+12125550100", "--authority", "title3", "--agency",
        "AGENCY", "--host", "192.0.2.7", "--port", "41800", "--certificate-sha256", "AB" * 32, "--court", "SDNY",
        "--judge", "J. Doe", "--officer", "SA P. Roe", "--document", str(paper), "--start", "now", "--end", "+30d",
    )  # fmt: skip
    done("order", "draft", *facts, "--out", draft)
    assert json.loads(done("order", "show", draft))["court"] == "SDNY"
    assert "key" in refused("order", "sign", "legal", draft, "--key", keys["carrier"], "--out", legal)
    done("order", "sign", "legal", draft, "--key", keys["legal"], "--out", legal)
    done("order", "sign", "carrier", legal, "--key", keys["carrier"], "--policy", str(paper), "--out", carrier)
    assert refused("order", "submit", "--site", site, "--legal", legal, "--carrier", carrier).startswith("plan:")
    Path(carrier).unlink()
    policy = tmp_path / "plan.json"
    policy.write_text(planned.adopt(Path(site)))
    done("order", "sign", "carrier", legal, "--key", keys["carrier"], "--policy", str(policy), "--out", carrier)
    assert json.loads(done("order", "show", carrier))["case"] == "26-M-17"
    assert done("order", "submit", "--site", site, "--legal", legal, "--carrier", carrier) == "26-M-17\n"
    assert "already-filed" in refused("order", "submit", "--site", site, "--legal", legal, "--carrier", carrier)
    reading = ("--site", site, "--key", keys["officer"], "--reason", "a test")
    assert done("case", "list", *reading).split()[:2] == ["26-M-17", "filed"]
    refused("case", "list", "--site", site, "--key", keys["officer"], status=2)
    assert "no lab site" in refused("case", "list", "--site", site, "--reason", "a test")
    assert "no lab site" in refused("case", "activate", "26-M-17", "--site", site)
    assert "does not sign" in refused("case", "activate", "26-M-17", "--site", site, "--key", keys["legal"])
    done("case", "activate", "26-M-17", "--site", site, "--key", keys["officer"])
    shown = json.loads(done("case", "show", "26-M-17", *reading))
    # Nobody has named this site's witnesses yet: what was entered waits for them.
    assert (shown["state"], shown["dde"], shown["lab"]) == ("logged", False, False)
    assert "dde-capability" in refused("case", "dde", "26-M-17", "on", "--site", site, "--key", keys["officer"])
    assert "no lab site" in refused("lab", "revoke", "--site", site, "--case", "26-M-17")
    revoke = ("order", "revoke", "--site", site, "--case", "26-M-17", "--token", "carrier", "--key")
    assert refused(*revoke, keys["legal"]).startswith("request:")  # of keys nothing is told (SEC-14)
    done(*revoke, keys["carrier"])
    assert done("case", "list", *reading).split()[1] == "revoked"
    assert "no lab site" in refused(*order(site))
    assert "exists" in refused("order", "key", "--role", "legal", "--person", "x", "--out", keys["legal"])


def test_lab_order_says_the_case_and_nothing_else(lab: str) -> None:
    assert done(*order(lab, "CASE-1", "--dde", "on")) == "CASE-1\n"
    shown = json.loads(done("case", "show", "CASE-1", "--site", lab))
    assert shown["dde"] and shown["lab"] and shown["capabilities"] == ["call-data", "digits"]
    done("case", "deactivate", "CASE-1", "--site", lab)
    assert "deactivated" in refused("case", "dde", "CASE-1", "on", "--site", lab)
    assert done(*order(lab, "CASE-1", "--no-digits", "--start", "+1h", "--end", "+40d")) == "CASE-1\n"
    states = [json.loads(line)["state"] for line in done("case", "show", "CASE-1", "--site", lab).splitlines()]
    assert states == ["deactivated", "waiting"]
    done("lab", "revoke", "--site", lab, "--case", "CASE-1")
    lines = [line.split() for line in done("case", "list", "--site", lab).splitlines()]
    assert [line[1] for line in lines] == ["deactivated", "revoked"] and all(line[-1] == "LAB" for line in lines)


def test_an_order_for_content_says_where_it_goes(lab: str) -> None:
    form = ("--content-form", "packetcable", "--content-channels", "combined", "--content-maximum", "4")
    assert done(*order(lab, "CASE-1", "--authority", "title3", "--content", *form)) == "CASE-1\n"
    shown = json.loads(done("case", "show", "CASE-1", "--site", lab))
    assert "content" in shown["capabilities"]


@pytest.mark.parametrize(
    ("check", "more"),
    [
        ("authority", ("--content",)),
        ("authority", ("--authority", "trap-and-trace", "--content")),
        ("dde-capability", ("--no-digits", "--dde", "on")),
        ("unmatchable", ("--target", "tel:5550100")),
        ("subjects", ("--target", "5550100")),
        ("expired", ("--start", "-2h", "--end", "-1h")),
        ("window-order", ("--start", "+2h", "--end", "+1h")),
        ("agency", ("--agency", "../x")),
        ("iap-unknown", ("--iap", "nowhere")),
    ],
)
def test_lab_orders_that_are_refused(lab: str, check: str, more: tuple[str, ...]) -> None:
    assert refused(*order(lab, "CASE-1", *more)).startswith(f"{check}:")
    assert done("case", "list", "--site", lab) == ""


def test_a_case_identity_that_does_not_fit(lab: str) -> None:
    assert refused(*order(lab, "x" * 26)).startswith("case-identity:")


@pytest.mark.parametrize(
    "words",
    [
        ("lab", "order", "--case", "C"), ("lab", "order", "--authority", "warrant"), ("case", "dde", "C", "maybe"),
        ("case", "fly"), ("ledger", "verify"), ("lab", "order", "--start", "tomorrow"), ("init",),
        ("ledger", "prove", "-1"),
    ],
)  # fmt: skip
def test_wrong_usage(lab: str, words: tuple[str, ...]) -> None:
    site = () if words in (("ledger", "verify"), ("init",)) else ("--site", lab)
    refused(*words, *site, status=2)


def test_the_ledger_on_a_laptop(lab: str, tmp_path: Path) -> None:
    done(*order(lab))
    kept = tmp_path / "kept"
    kept.write_text((Path(lab) / "ledger" / "checkpoint").read_text())
    done("case", "dde", "CASE-1", "on", "--site", lab)
    export, key = str(tmp_path / "export.tar"), str(Path(lab) / "keys" / "ledger.pub")
    done("ledger", "export", "--site", lab, "--out", export)
    said = done("ledger", "verify", "--export", export, "--key", key, "--known", str(kept))
    at_site = done("ledger", "verify", "--site", lab)
    assert said.splitlines()[:-1] == at_site.splitlines()[:-1]
    assert "LAB" in at_site.splitlines()[-1] and "no policy" in said.splitlines()[-1]
    assert "verified: 6 entries" in said and "unwitnessed" in said  # two of them for what was read
    proof = str(tmp_path / "proof.json")
    done("ledger", "prove", "2", "--site", lab, "--out", proof)
    said = done("ledger", "verify", "--proof", proof, "--key", key)
    assert '"kind":"command-accepted"' in said and "unwitnessed" in said
    Path(proof).write_text(Path(proof).read_text().replace("CASE-1", "CASE-2"))
    assert "entry 2" in refused("ledger", "verify", "--proof", proof, "--key", key)
    assert "exists" in refused("ledger", "export", "--site", lab, "--out", export)
    assert refused("ledger", "verify", "--export", export, status=2)
    other = tmp_path / "other"
    done("init", str(other), "--lab")
    assert "checkpoint" in refused("ledger", "verify", "--export", export, "--key", str(other / "keys/ledger.pub"))
    assert "there is none" in refused("ledger", "prove", "99", "--site", lab)
    (Path(lab) / "ledger" / "checkpoint").write_text(kept.read_text())
    assert refused("ledger", "verify", "--site", lab).startswith("entry 3:")
    records = Path(lab) / "ledger" / "records" / "000.jsonl"
    lines = records.read_text().splitlines(keepends=True)
    lines[1] = lines[1].swapcase()  # what is sealed; the name of the case is nowhere
    records.write_text("".join(lines))
    assert refused("ledger", "verify", "--site", lab).startswith("entry 1:")
    assert refused(*order(lab, "CASE-3")).startswith("entry 1:")


def test_a_whole_older_ledger_is_found_by_the_store(lab: str) -> None:
    shutil.copytree(Path(lab) / "ledger", Path(lab) / "old")
    done(*order(lab))
    shutil.rmtree(Path(lab) / "ledger")
    (Path(lab) / "old").rename(Path(lab) / "ledger")
    assert "rolled back" in refused("ledger", "verify", "--site", lab)
    assert "rolled back" in refused("case", "list", "--site", lab)
