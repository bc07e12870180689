"""`mediation demo`: the whole of it in under a minute, with checks; `make demo` calls it.

With root, iproute2 and sipp: real calls in network namespaces. Otherwise the same acts on generated captures, and it
says so. The exit status is 0 only if every check held. It is a client of the other commands and holds no authority.
"""

from __future__ import annotations

import shutil
import sys
import tempfile
from pathlib import Path

import click

from mediation.cli.demo.captured import play as play_captured
from mediation.cli.demo.live import play as play_live
from mediation.cli.demo.network import possible
from mediation.cli.demo.screen import Screen
from mediation.core.errors import MediationError


@click.command()
@click.option("--captured", is_flag=True, help="Generated captures instead of real calls.")
@click.option("--keep", type=click.Path(path_type=Path), help="Leave everything in this new folder.")
def command(captured: bool, keep: Path | None) -> None:
    """Shows a lawful order carried out, nothing else carried out, and the proof of both.

    \b
    mediation demo --captured --keep demo
    """
    screen = Screen()
    screen.title("mediation demo", "a lawful order is carried out, nothing else is, and both are proven")
    missing = "asked for with --captured" if captured else possible()
    folder = Path(tempfile.mkdtemp(prefix="mediation-demo-")) if keep is None else keep
    folder.mkdir(parents=True, exist_ok=keep is None)
    try:
        if missing:
            screen.say(f"No real calls ({missing}): generated captures go through the same code instead.")
        story = play_captured if missing else play_live
        story(screen, folder, folder / "site")
    except MediationError as error:
        screen.check("the demo ran to its end", False, str(error))
    finally:
        if keep is None:
            shutil.rmtree(folder, ignore_errors=True)
    sys.exit(screen.end())
