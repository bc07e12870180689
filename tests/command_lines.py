"""Command lines as pages and helps write them, held to the commands that there are; nothing is run."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator

import click

from mediation.cli.main import group

PROGRAM = "mediation"
PASSED_ON = "audit verify"  # its options are the offline verifier's
REDIRECTION = re.compile(r"\s[0-9]?(?:<|>>?)\s*\S+")
REST = re.compile(r"\s#.*|\s\|\s.*|\s&$|;.*")  # what the shell does with it, and what the page says of it


def commands(found: click.Command = group, path: tuple[str, ...] = ()) -> Iterator[tuple[str, click.Command]]:
    """All of them, hidden ones and groups too, by what is typed."""
    if isinstance(found, click.Group):
        for name in found.list_commands(click.Context(found)):
            inner = found.get_command(click.Context(found), name)
            assert inner is not None
            yield from commands(inner, (*path, name))
    if path:
        yield " ".join(path), found


ALL = dict(commands())


def words(line: str) -> list[str]:
    """What the program is given, without its own name."""
    return shlex.split(REST.sub("", REDIRECTION.sub("", line.strip())))[1:]


def wrong(line: str, *, whole: bool) -> str:
    """What would be refused as wrong usage; nothing when it is good. A `whole` line has all that is required but the
    site and the person's key, which the environment may name."""
    typed = words(line)
    depth = next((n for n in (3, 2, 1) if " ".join(typed[:n]) in ALL), 0)
    if not depth:
        return "no such command"
    name = " ".join(typed[:depth])
    found, rest = ALL[name], typed[depth:]
    if isinstance(found, click.Group):
        return "no such command" if rest or whole else ""
    if name == PASSED_ON:
        return ""
    try:
        given, left, _ = found.make_parser(click.Context(found)).parse_args(list(rest))
    except click.UsageError as error:
        return error.format_message() if whole or isinstance(error, click.NoSuchOption) else ""
    if left:
        return f"too much: {left}"
    for each in found.params if whole else ():
        missing = given.get(each.name or "") in (None, (), [])
        if each.required and each.envvar is None and missing:
            return f"without {each.name}"
    return ""
