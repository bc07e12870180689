"""`mediation status`: live state of a site, without any target identity.

Cases are counted, not named; functions report counters, clocks and links. What is missing is said: a function that is
away, a clock without discipline, a ledger without witnesses.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click
import msgspec

from mediation.administration import client
from mediation.core.errors import MediationError
from mediation.core.interface.control import Report, Status
from mediation.runtime import clock, config


def _lines(prefix: str, value: Any) -> list[str]:
    """A report as indented lines of `name value`."""
    if isinstance(value, dict):
        if not value:
            return [f"{prefix}  -"] if prefix else []
        found = []
        for name, inner in value.items():
            if isinstance(inner, dict | list):
                found += [f"{prefix}{name}", *_lines(prefix + "  ", inner)]
            else:
                found.append(f"{prefix}{name:<28} {inner}")
        return found
    if isinstance(value, list):
        return [line for inner in value for line in _lines(prefix, inner)]
    return [f"{prefix}{value}"]


@click.command()
@click.option("--site", required=True, type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option("--json", "as_json", is_flag=True, help="One JSON object instead of lines.")
def command(site: Path, as_json: bool) -> None:
    """Shows live state; exit status 1 when a function is away or the clock cannot be trusted on a real site."""
    loaded = config.load(site)
    answer = client.one(loaded, Status())
    if not isinstance(answer, Report):
        raise MediationError("status: the administrator did not report")
    error_ns, disciplined = clock.stamp_quality()
    report = {
        "site": loaded.name,
        "lab": loaded.lab,
        "clock": {"disciplined": disciplined, "error_us": error_ns // 1000},
        **msgspec.to_builtins(answer),
    }
    report.pop("type", None)
    if as_json:
        click.echo(json.dumps(report))
    else:
        click.echo("\n".join(_lines("", report)))
    away = [name for name, facts in answer.functions.items() if facts is None]
    if away:
        raise MediationError(f"status: away: {', '.join(sorted(away))}")
    if not clock.may_arm(
        lab=loaded.lab,
        accept_undisciplined=loaded.clock.accept_undisciplined,
        error_ns=error_ns,
        disciplined=disciplined,
    ):
        raise MediationError("status: the clock cannot hold the rule's 200 ms; no tap will be armed")
