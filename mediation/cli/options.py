"""Options and answers that several nouns share."""

from __future__ import annotations

import datetime
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, TypeVar

import click
from click.core import ParameterSource

from mediation.administration import client, lab
from mediation.core.case import LIVE, Role
from mediation.core.check import Check
from mediation.core.errors import AuthorizationError, ConfigurationError
from mediation.core.interface.control import Answer, CaseList, CaseView, Inquiry, Result, Results
from mediation.runtime import durable
from mediation.runtime.config import Site
from mediation.signing.choose import FIDO2, PKCS11, open_key
from mediation.signing.signer import Signer

FILE = click.Path(exists=True, dir_okay=False, path_type=Path)
Command = TypeVar("Command", bound=Callable[..., Any])
# An administrator that runs says what each function answered; a command that acts in its place tells none of them.
ALONE: Final = "entered; the administrator does not run: the functions are told when it starts, and not before"
EVERYBODY: Final = 0o644
NEW_FILE = click.Path(dir_okay=False, path_type=Path)

# In what form times are given; Time below reads them.
TIMES: Final = "like 2026-12-01T17:00-05:00, now, +2h, +30d"
ZONED: Final = f"{TIMES}; a zone must be named"
UTC: Final = f"{TIMES}; without a zone UTC"


def _site(*, required: bool) -> Callable[[Command], Command]:
    return click.option(
        "--site", "folder", required=required, type=click.Path(exists=True, file_okay=False, path_type=Path),
        envvar="MEDIATION_SITE", show_envvar=True, help="The site.",
    )  # fmt: skip


site_option = _site(required=True)
or_site_option = _site(required=False)  # of what can be looked at without a site, too


def chosen_site(folder: Path | None, *others: Any) -> Path | None:
    """The site, unless its name came from the environment and something else was typed instead."""
    source = click.get_current_context().get_parameter_source("folder")
    return None if source is ParameterSource.ENVIRONMENT and any(others) else folder


reason_option = click.option("--reason", help='Why; it is entered in the ledger. On a lab site "lab" by default.')

_RELATIVE = re.compile(r"([+-])([0-9]{1,6})([smhd])")
_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86_400}


class KeyPlace(click.ParamType[str]):
    """Where a person's key is: a file, pkcs11:token=…;object=…?module-path=…, or fido2:CARD."""

    name = "KEY"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        if not str(value).startswith((PKCS11, FIDO2)):
            FILE.convert(value, param, ctx)
        return str(value)

    def split_envvar_value(self, rv: str) -> list[str]:
        """One key, whatever is in its path."""
        return [rv]


def person_option(whose: str = "The person's key", *name: str, **more: Any) -> Callable[[Command], Command]:
    """--key, of whoever signs; `name` of the parameter where there may be several."""
    by_default = "" if more.get("required") else "; on a lab site the lab's by default"
    return click.option(
        "--key", *name, type=KeyPlace(), envvar="MEDIATION_KEY", show_envvar=True,
        help=f"{whose}: a file, pkcs11:… or fido2:…{by_default}.", **more,
    )  # fmt: skip


key_option = person_option()
signing_key_option = person_option("The key of the person who signs", required=True)


def time_option(*names: str, what: str, zoned: bool = False, **more: Any) -> Callable[[Command], Command]:
    """A moment, whose help says in what form it is given."""
    return click.option(*names, type=Time(zoned=zoned), help=f"{what}: {ZONED if zoned else UTC}.", **more)


def case_argument(command: Command) -> Command:
    """CASE, of a command that once took it as --case and still does (`case_of`)."""
    command = click.option("--case", "case_", hidden=True)(command)
    return click.argument("case", required=False)(command)


def case_of(case: str | None, option: str | None) -> str:
    """What was named, once. Raises click.UsageError."""
    if (case is None) == (option is None):
        raise click.UsageError("CASE is needed" if case is None else "CASE or --case, not both")
    return case or option or ""


class Time(click.ParamType[int]):
    """A time: RFC 3339, seconds since 1970, "now", or from now on like +30d, +2h, -5m, +10s. Whole seconds.

    Without a zone it is UTC; with `zoned` it is refused: where an order begins or ends, some hours too early or too
    late are an interception without authority.
    """

    name = "TIME"

    def __init__(self, *, zoned: bool = False) -> None:
        self._zoned = zoned

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        if isinstance(value, int):
            return value
        # One moment for all options of a command: +30d after now is thirty days, not thirty days and a second.
        meta = ctx.meta if ctx is not None else {}
        now = meta.setdefault("mediation.now", datetime.datetime.now(datetime.UTC))
        if value == "now":
            return int(now.timestamp())
        if relative := _RELATIVE.fullmatch(value):
            sign = 1 if relative[1] == "+" else -1
            return int(now.timestamp()) + sign * int(relative[2]) * _UNITS[relative[3]]
        if re.fullmatch(r"[0-9]{1,12}", value):
            return int(value)
        try:
            parsed = datetime.datetime.fromisoformat(value)
        except ValueError:
            self.fail(f"{value!r} is no time (like 2026-12-01T17:00-05:00, now, or +2h)", param, ctx)
        if self._zoned and parsed.tzinfo is None:
            self.fail(f"{value!r} has no zone: write it like 2026-12-01T17:00-05:00, or with Z for UTC", param, ctx)
        return int((parsed if parsed.tzinfo else parsed.replace(tzinfo=datetime.UTC)).timestamp())


def rfc3339(seconds: int) -> str:
    """A time of a token, as people write it."""
    return datetime.datetime.fromtimestamp(seconds, datetime.UTC).isoformat().replace("+00:00", "Z")


def signer(site: Site, role: Role, key: str | None) -> Signer:
    """Who signs: the given key, or the lab's person of that role."""
    return open_key(key) if key is not None else lab.person(site, role)


def inquire(site: Site, inquiry: Inquiry, key: str | None, reason: str | None, role: Role = Role.OFFICER) -> Answer:
    """The answer to a request that shows or marks case data: signed with the given key, or by the lab's person of
    `role` on a lab site. Raises MediationError; UsageError when a real site is asked without a reason."""
    if reason is None and not site.lab:
        raise click.UsageError("--reason is needed: each reading is entered with one")
    return client.inquire(site, inquiry, signer(site, role, key), reason if reason is not None else "lab")


def form_option(command: Command) -> Command:
    """JSON for programs on standard output and words for persons on standard error, or one of them (`shown`)."""
    command = click.option("--json", "form", flag_value="json", help="JSON alone.")(command)
    return click.option("--words", "form", flag_value="words", help="Words alone, on standard output.")(command)


def shown(form: str | None, facts: str, words: list[str]) -> None:
    """Prints what was asked for."""
    if form != "words":
        click.echo(facts)
    if form != "json" and words:
        click.echo("\n".join(words), err=form is None)


def read_token(path: Path) -> str:
    """A token's compact text from its file. Raises ConfigurationError."""
    try:
        return path.read_text().strip()
    except OSError as error:
        raise ConfigurationError(f"{path.name}: {error.strerror}") from error
    except UnicodeDecodeError:
        raise ConfigurationError(f"{path.name}: not a text, so no token, key or approval") from None


def write_new(path: Path, content: str | bytes) -> None:
    """For whoever runs the command alone, from its first moment: drafts and tokens name subjects, proofs and exports
    open records. Never overwrites. Raises ConfigurationError."""
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, durable.MODE)
        with os.fdopen(descriptor, "wb") as file:
            file.write(content.encode() if isinstance(content, str) else content)
    except OSError as error:
        raise ConfigurationError(f"{path.name}: {error.strerror}") from error


def replace_public(path: Path, content: str) -> None:
    """The file holds `content` or what it held before, for everybody to read: it names nobody, and its reader is
    another user. Not synced: it is written again before anybody misses it. Raises ConfigurationError."""
    beside = path.with_name(path.name + durable.UNFINISHED)
    try:
        descriptor = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC, EVERYBODY)
        with os.fdopen(descriptor, "wb") as file:
            os.fchmod(descriptor, EVERYBODY)  # whatever the mask of whoever runs it
            file.write(content.encode())
        beside.rename(path)
    except OSError as error:
        raise ConfigurationError(f"{path.name}: {error.strerror}") from error


def accepted(answer: Answer) -> Result:
    """The one result of an answer, if it was accepted and no function refused. Raises AuthorizationError."""
    assert isinstance(answer, Results)
    result = answer.results[0]
    if result.check:
        raise AuthorizationError(Check.named(result.check), result.detail)
    for name, said in sorted(result.functions.items()):
        if said == Check.WITNESSES_AWAY:  # entered, and refused by nobody
            raise AuthorizationError(said, "it is entered, and waits: nothing is armed before a quorum of them cosigns")
        if said not in ("", "done", "away"):
            sentence = next((f"{each.sentence}; " for each in Check if each == said), "")
            raise AuthorizationError(said, f"{sentence}refused by {name}")
    return result


def told(result: Result) -> str:
    """What came of an act that was accepted, in words: who has carried it out, and who will when."""
    by = {said: [name for name, answer in sorted(result.functions.items()) if answer == said] for said in ("", "away")}
    done = ", ".join(name for name, answer in sorted(result.functions.items()) if answer == "done")
    words = [f"done by {done}"] if done else []
    words += [f"{', '.join(by[''])}: no answer yet, look again with case list"] if by[""] else []
    words += [f"{', '.join(by['away'])}: not running, is told before it takes up anything"] if by["away"] else []
    return "; ".join(words) or ALONE


def latest(answer: Answer) -> CaseView:
    """The newest order of a case. Raises AuthorizationError when there is none."""
    assert isinstance(answer, CaseList)
    if not answer.cases:
        raise AuthorizationError(Check.ORDER_UNKNOWN)
    return answer.cases[-1]


def running(answer: Answer) -> CaseView:
    """The order of a case that was activated and has not ended, else the newest: beside an emergency order that runs
    an ordinary one may be filed already, and who stops the case means what runs. Raises AuthorizationError."""
    newest = latest(answer)
    assert isinstance(answer, CaseList)
    return next((each for each in reversed(answer.cases) if each.state in LIVE), newest)
