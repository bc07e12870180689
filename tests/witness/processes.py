"""The witness as a real process on loopback, and a ledger's head that grows."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from mediation.core.ledger import merkle, policy
from mediation.witness import folder
from tests.core.cosigning import LEDGER

READY_S = 30.0
NAME = "witness.example/w1"
MAIN = (sys.executable, "-m", "mediation.cli.main")


def init(path: Path, name: str = NAME) -> list[str]:
    """A witness that knows the test's ledger; its two verifier keys."""
    keys = folder.init(path, name)
    folder.add(path, str(LEDGER.verifier))
    return list(keys)


class Process:
    """One running witness."""

    def __init__(self, process: subprocess.Popen[str], line: str) -> None:
        self.process = process
        self.ready = json.loads(line)
        self.url = f"http{'s' if self.ready['tls'] else ''}://127.0.0.1:{self.ready['port']}"

    def stop(self) -> int:
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(READY_S)


@contextmanager
def running(path: Path, *more: str, port: int = 0, command: Sequence[str] = MAIN) -> Iterator[Process]:
    """`mediation witness run` until the end of the block. Only this process is ended."""
    arguments = [*command, "witness", "run", str(path), "--listen", f"127.0.0.1:{port}", *more]
    with (path / "log").open("ab") as log:
        process = subprocess.Popen(arguments, stdout=subprocess.PIPE, stderr=log, text=True)
    try:
        assert process.stdout is not None
        line = process.stdout.readline()
        assert line, (path / "log").read_text()
        yield Process(process, line)
    finally:
        process.kill()
        process.wait()
        assert process.stdout is not None
        process.stdout.close()


def policy_of(keys: Sequence[str], url: str) -> policy.Policy:
    """One program with both of its keys, each of which must cosign."""
    lines = "".join(f"witness w{n} {key} {url}\n" for n, key in enumerate(keys))
    names = " ".join(f"w{n}" for n in range(len(keys)))
    return policy.parse(f"log {LEDGER.verifier}\n{lines}group all-of-them all {names}\nquorum all-of-them\n")


def proofs(tree: merkle.Tree) -> object:
    return lambda first, second: merkle.consistency_path(first, second, tree.read)
