"""`mediation audit …`: an auditor's acts on a site, and the offline verifier where the daemon is installed.

seed     commits a seed by its hash, before the audit; the seed itself stays with the auditor
sample   what a committed seed draws, from an export
honey    plants a case that nobody ordered; who reads it raises an alarm
verify   the offline verifier; auditors without the daemon run the same one as `python3 audit.pyz verify`
"""

from __future__ import annotations

import secrets
import sys
from pathlib import Path

import click

from mediation.audit import __main__ as verifier
from mediation.audit import sample as drawing
from mediation.cli.options import (
    FILE,
    NEW_FILE,
    inquire,
    key_option,
    reason_option,
    site_option,
    time_option,
    write_new,
)
from mediation.core.case import Authority, Role
from mediation.core.interface.control import CommitSeed, Plant
from mediation.runtime import config

SEED_OCTETS = 32
PASS_ON = {"ignore_unknown_options": True, "help_option_names": []}  # the verifier's own options, and its own help


@click.group()
def group() -> None:
    """An auditor's acts: seed, sample, honey, verify."""


@group.command()
@site_option
@click.option("--out", required=True, type=NEW_FILE, help="Where the new seed is kept, for the auditor alone.")
@key_option
@reason_option
def seed(folder: Path, out: Path, key: str | None, reason: str | None) -> None:
    """Makes a seed and commits its SHA-256 in the ledger; prints the hash.

    \b
    mediation audit seed --site DIR --out seed --key aude.key --reason "audit 2026"
    """
    made = secrets.token_hex(SEED_OCTETS)
    write_new(out, made + "\n")
    committed = drawing.digest(made)
    inquire(config.load(folder), CommitSeed(seed_sha256=committed), key, reason, Role.AUDITOR)
    click.echo(committed)


@group.command()
@site_option
@click.argument("case")
@click.option("--agency", required=True, help="Whose order it looks like.")
@click.option(
    "--authority", required=True, type=click.Choice([each.value for each in Authority]), help="Of what type it looks."
)
@time_option("--start", what="When it seems to begin", default="now", show_default=True)
@time_option("--end", what="When it seems to end", default="+30d", show_default=True)
@key_option
@reason_option
def honey(
    *, folder: Path, case: str, agency: str, authority: str, start: int, end: int, key: str | None, reason: str | None
) -> None:  # fmt: skip
    """Plants CASE, which nobody ordered and nothing can arm. Who reads it raises an alarm.

    \b
    mediation audit honey 26-M-90 --site DIR --agency FBI-NY --authority pen-register --key aude.key --reason bait
    """
    bait = Plant(case=case, agency=agency, authority=Authority(authority), not_before_s=start, not_after_s=end)
    inquire(config.load(folder), bait, key, reason, Role.AUDITOR)


@group.command(context_settings=PASS_ON)
@click.argument("words", nargs=-1, type=click.UNPROCESSED)
def verify(words: tuple[str, ...]) -> None:
    """Verifies an export offline: EXPORT [--key ledger.pub] [--policy FILE] [--timestamps FILE] [--known FILE]
    [--seed SEED] [--json].

    \b
    mediation audit verify export.tar --key ledger.pub --policy witness.policy
    """
    sys.exit(verifier.main(["verify", *words]))


@group.command()
@click.argument("export", type=FILE)
@click.option("--seed-file", "--seed", "seed_file", required=True, type=FILE, help="The file that `seed` made.")
@click.option("--number", type=click.IntRange(1, drawing.MAX_DRAWN), default=10, show_default=True,
              help="How many entries.")  # fmt: skip
@click.option("--key", type=FILE, help="The ledger's public key, as the site published it.")
def sample(export: Path, seed_file: Path, number: int, key: str | None) -> None:
    """Draws the sample of a committed seed from EXPORT: entry, kind and case of each, one a line.

    \b
    mediation audit sample export.tar --seed-file seed --number 12
    """
    words = ["sample", str(export), "--seed", seed_file.read_text().strip(), "--number", str(number)]
    sys.exit(verifier.main([*words, *(("--key", str(key)) if key is not None else ())]))
