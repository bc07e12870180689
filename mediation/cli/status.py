"""`mediation status`: live state of a site, without any target identity.

Cases are counted, not named; functions report counters, clocks and links. What is missing is said: a function that is
away, a clock without discipline, a ledger without witnesses. `--openmetrics` is for the monitoring, which many read:
cli/openmetrics.py says what it leaves out. It never acts in the place of an administrator that does not run.
"""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any, Final

import click
import msgspec

from mediation.administration import client
from mediation.cli import expiries, openmetrics
from mediation.cli.options import NEW_FILE, replace_public, rfc3339, site_option
from mediation.core.authority import term
from mediation.core.errors import MediationError
from mediation.core.interface.control import Answer, Report, Status
from mediation.core.units import NS
from mediation.runtime import clock, config
from mediation.runtime.version import version

MOMENTS: Final = {"ends_ns": NS, "acknowledged_at_ns": NS, "cosigned_s": 1}
COUNTING: Final = ("functions", "counters")  # the parts of a report that are mostly counters
NOTHING: Final = "nothing of the site runs: mediation run, or systemctl status mediation-administrator"


def _said(name: str, value: Any) -> str:
    """A value, with its meaning in words where a number has none for people."""
    if isinstance(value, int) and not isinstance(value, bool) and value:
        if name in MOMENTS:
            return rfc3339(value // MOMENTS[name])
        if name.endswith("_due_seconds"):
            return f"{value} (in {term.left(value)})" if value > 0 else f"{value} (overdue)"
    return str(value)


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
                found.append(f"{prefix}{name:<28} {_said(name, inner)}")
        return found
    if isinstance(value, list):
        return [line for inner in value for line in _lines(prefix, inner)]
    return [f"{prefix}{value}"]


def _without_zeros(value: Any) -> tuple[Any, int]:
    """The same without counters that stand at 0, and how many they were."""
    if isinstance(value, list):
        pairs = [_without_zeros(each) for each in value]
        return [each for each, _ in pairs], sum(zeros for _, zeros in pairs)
    if not isinstance(value, dict):
        return value, 0
    kept: dict[str, Any] = {}
    left_out = 0
    for name, inner in value.items():
        if inner == 0 and inner is not False:
            left_out += 1
            continue
        kept[name], zeros = _without_zeros(inner)
        left_out += zeros
        if isinstance(inner, dict) and inner and not kept[name]:
            del kept[name]
    return kept, left_out


def _words(report: dict[str, Any], *, every: bool) -> str:
    zeros = 0
    if not every:
        for part in COUNTING:
            report[part], left_out = _without_zeros(report[part])
            zeros += left_out
    lines = _lines("", report)
    return "\n".join([*lines, f"{zeros} counters at 0 are not shown: --all"] if zeros else lines)


def _report(answer: Answer | None) -> Report:
    if not isinstance(answer, Report):
        raise MediationError("status: the administrator did not report")
    return answer


@click.command()
@site_option
@click.option("--json", "as_json", is_flag=True, help="One JSON object instead of lines; with every counter.")
@click.option("--all", "every", is_flag=True, help="Also the counters that stand at 0.")
@click.option("--openmetrics", "as_metrics", is_flag=True, help="OpenMetrics text; nothing that tells of an order.")
@click.option("--out", type=NEW_FILE, help="With --openmetrics: replace this file, at once, for everybody to read.")
def command(*, folder: Path, as_json: bool, every: bool, as_metrics: bool, out: Path | None) -> None:
    """Shows live state. Exit status 1 when nothing runs, a function is away, or the clock cannot be trusted on a real
    site. What is to be shown is shown before.

    \b
    mediation status --site DIR
    mediation status --site DIR --openmetrics --out /var/lib/mediation-metrics/mediation.prom
    """
    if ((as_json or every) and as_metrics) or (out is not None and not as_metrics):
        raise click.UsageError("--json, --all and --openmetrics exclude each other; --out is for --openmetrics")
    loaded = config.load(folder)
    quality = clock.stamp_quality()
    if as_metrics:
        answer = client.running(loaded, Status())
        report = _report(answer) if answer is not None else None
        _metrics(loaded, report, quality, out)
    else:
        report = _report(client.one(loaded, Status()))
        said = {
            "site": loaded.name,
            "lab": loaded.lab,
            "clock": {"disciplined": quality[1], "error_us": quality[0] // 1000},
            **msgspec.to_builtins(report),
        }
        said.pop("type", None)
        click.echo(json.dumps(said) if as_json else _words(said, every=every))
    _judge(loaded, report, quality)


def _judge(site: config.Site, report: Report | None, quality: tuple[int, bool]) -> None:
    """Raises MediationError for what an engineer must look at now."""
    if report is None or not report.functions:
        raise MediationError(f"status: {NOTHING}")
    away = [name for name, facts in report.functions.items() if facts is None]
    if away:
        raise MediationError(f"status: away: {', '.join(sorted(away))}; log/NAME.log or journalctl -u says why")
    if not clock.may_arm(
        lab=site.lab, accept_undisciplined=site.clock.accept_undisciplined, error_ns=quality[0], disciplined=quality[1],
    ):  # fmt: skip
        raise MediationError("status: the clock cannot hold the rule's 200 ms; no tap will be armed: run chrony")


def _metrics(site: config.Site, report: Report | None, quality: tuple[int, bool], out: Path | None) -> None:
    now_s = int(time.time())
    text = openmetrics.render(
        report, version=version(), lab=site.lab, points=site.point_names, clock=quality,
        ends_s=expiries.ends_s(site, now_s), now_s=now_s,
    )  # fmt: skip
    if out is None:
        click.echo(text, nl=False)
    else:
        replace_public(out, text)
