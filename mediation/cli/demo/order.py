"""The demo's order, one person at a time, by the commands that these people use; and two ways in which it fails.

A lab site keeps the keys of its lab persons beside it (DIR/lab), so the demo can play all three; on a real site each
holds an own key elsewhere.
"""

from __future__ import annotations

from pathlib import Path

from mediation.administration import lab
from mediation.cli.demo.people import Person
from mediation.cli.demo.screen import Screen
from mediation.cli.demo.site import LabSite
from mediation.runtime import config


def _refused(screen: Screen, site: LabSite, claim: str, *words: str) -> None:
    """A command that must be refused, with its own words for why."""
    done = site.try_command(*words)
    reason = done.stderr.strip().splitlines()
    screen.check(claim, done.returncode == 1, reason[-1] if reason else f"status {done.returncode}")


def play(screen: Screen, site: LabSite, subject: Person, case: str, folder: Path) -> None:
    """From a court's paper to an armed order, digit extraction on. Raises CommandError."""
    at, where = str(site.path), lab.destination(config.load(site.path))
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "paper.txt").write_text("LAB paper: no court made this order\n")
    paths = {name: str(folder / name) for name in ("paper.txt", "draft", "legal", "carrier", "same-person")}
    site.command(
        "order", "draft", "--site", at, "--case", case, "--target", f"tel:{subject.number}",
        "--authority", "pen-register", "--agency", lab.AGENCY, "--capability", "call-data", "--capability", "digits",
        "--host", where.host, "--port", str(where.port), "--certificate-sha256", where.certificate_sha256,
        "--court", "LAB court", "--judge", "LAB judge", "--officer", "LAB presenting officer",
        "--document", paths["paper.txt"], "--start", "now", "--end", "+1h", "--out", paths["draft"],
    )  # fmt: skip
    keys = {role: str(site.path / "lab" / f"{role}.json") for role in ("legal", "carrier")}
    site.command("order", "sign", "legal", paths["draft"], "--key", keys["legal"], "--out", paths["legal"])
    screen.say("1st signature  the legal reviewer's: case, subject, window, agency, destination, court, judge")

    def carrier_signs(key: str, out: str) -> tuple[str, ...]:
        return ("order", "sign", "carrier", paths["legal"], "--key", key, "--policy", paths["paper.txt"], "--out", out)

    _refused_twice(screen, site, carrier_signs(keys["legal"], paths["same-person"]), paths)
    site.command(*carrier_signs(keys["carrier"], paths["carrier"]))
    screen.say("2nd signature  the carrier authorizer's: it names the legal token by its hash")
    site.command("order", "submit", "--site", at, "--legal", paths["legal"], "--carrier", paths["carrier"])
    screen.say("3rd signature  the officer's command to activate: it names the carrier's token by its hash")
    site.case("activate", case, "--dde", "on")


def _refused_twice(screen: Screen, site: LabSite, signs: tuple[str, ...], paths: dict[str, str]) -> None:
    """The same person cannot give the second signature, whether the signing or the filing command notices first."""
    claim = "the legal reviewer cannot give the second signature too"
    if site.try_command(*signs).returncode != 0:
        _refused(screen, site, claim, *signs)
        return
    _refused(screen, site, claim, "order", "submit", "--site", str(site.path), "--legal", paths["legal"],
             "--carrier", paths["same-person"])  # fmt: skip
