"""The `mediation` command: one module per noun, loaded when it is asked for.

Exit status (the same for every command): 0 done, 1 refused or a check failed (the reason on standard error, one
line), 2 wrong usage.
"""

from __future__ import annotations

import sys
from importlib import import_module
from pathlib import Path

import click

from mediation.core.errors import AuthorizationError, MediationError
from mediation.runtime import log
from mediation.runtime.version import version

# noun -> module:attribute. Importing them all would cost a tenth of a second at each command.
COMMANDS = {
    "init": "mediation.cli.init:command",
    "lab": "mediation.cli.lab:group",
    "person": "mediation.cli.person:group",
    "roster": "mediation.cli.roster:group",
    "order": "mediation.cli.order:group",
    "case": "mediation.cli.case:group",
    "certificate": "mediation.cli.certificate:command",
    "statement": "mediation.cli.statement:command",
    "plan": "mediation.cli.plan:group",
    "ledger": "mediation.cli.ledger:group",
    "witness": "mediation.cli.witness:group",
    "vault": "mediation.cli.vault:group",
    "audit": "mediation.cli.audit:group",
    "reconcile": "mediation.cli.reconcile:group",
    "release": "mediation.cli.release:group",
    "preflight": "mediation.cli.preflight:command",
    "run": "mediation.cli.run:command",
    "function": "mediation.cli.function:command",
    "collect": "mediation.cli.collect:command",
    "replay": "mediation.cli.replay:command",
    "status": "mediation.cli.status:command",
    "demo": "mediation.cli.demo.command:command",
}


class Nouns(click.Group):
    """A group that imports a command's module at its first use."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        place = COMMANDS.get(cmd_name)
        if place is None:
            return None
        module, _, attribute = place.partition(":")
        command = getattr(import_module(module), attribute)
        assert isinstance(command, click.Command)
        return command


def _version(ctx: click.Context, _: click.Parameter, wanted: bool) -> None:
    if wanted:
        click.echo(f"mediation, version {version()}")
        ctx.exit()


@click.group(cls=Nouns, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 120})
@click.option("--version", is_flag=True, is_eager=True, expose_value=False, callback=_version, help="Show the version.")
def group() -> None:
    """Lawful interception: carries out a lawful order, can carry out nothing else, and proves both."""


def main() -> None:
    """Entry point. A refusal is one line on standard error and exit status 1, never a traceback."""
    if sys.argv[1:2] != ["function"]:  # which writes a log of its own
        log.configure_command()
    try:
        group.main(prog_name="mediation", standalone_mode=False)
    except click.exceptions.Abort:
        sys.exit(1)
    except click.ClickException as error:
        error.show()
        sys.exit(2)
    except click.exceptions.Exit as leave:
        sys.exit(leave.exit_code)
    except MediationError as error:
        click.echo(f"mediation: {error}{_next(error)}", err=True)
        sys.exit(1)
    except OSError as error:  # of a file that was named; a function's own is for whoever reads its log
        if sys.argv[1:2] == ["function"]:
            raise
        name = Path(str(error.filename)).name if error.filename is not None else ""
        click.echo(f"mediation: {name + ': ' if name else ''}{error.strerror or error}", err=True)
        sys.exit(1)
    except BaseExceptionGroup as together:
        # trio's nurseries, and `except*` itself, wrap even a single refusal.
        _, others = together.split(MediationError)
        if others is not None:
            raise
        click.echo(f"mediation: {first(together)}{_next(first(together))}", err=True)
        sys.exit(1)


def _next(error: BaseException) -> str:
    """What to do after a refusal, where there is something to be done."""
    if not isinstance(error, AuthorizationError):
        return ""
    words = import_module("mediation.cli.words")  # only who was refused waits for it
    return str(words.refusal(error.check))


def first(error: BaseException) -> BaseException:
    """The first of those that an exception group holds, however deep."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error


if __name__ == "__main__":
    main()
