"""The witness program, but killed as soon as a state is on the disk and before its answer leaves: for test_witness."""

from __future__ import annotations

import os
import signal
from pathlib import Path

from mediation.cli.main import main
from mediation.core.ledger.witness import Update
from mediation.witness import folder

_keep = folder.keep


def keep_and_die(path: Path, update: Update) -> None:
    _keep(path, update)
    os.kill(os.getpid(), signal.SIGKILL)


if __name__ == "__main__":
    folder.keep = keep_and_die
    main()
