"""What this process runs: SHA-256 of the daemon's own code, of its configuration, and of its adapters (SEC-4).

Answers for a manifest of every .py, .so and .bpf.o of the installed package, sorted by name, as it was when the process
started; for the names of files that have changed, come or gone since; and for saying so cheaply: a file's octets are
read again only when its size, times or inode moved. May not: decide what follows from a change.

    code      all of the package
    config    config.toml and keys/witness.policy
    adapters  what speaks to other makers' elements (ADAPTERS); they are code as well, named by themselves because a
              change of one can change what a switch is told

What it does not show: the interpreter, the libraries beside the package, .pyc files that stand for unchanged sources
(the units run with PYTHONPYCACHEPREFIX set to nowhere), and a process whose memory was changed. Blocking.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, Final, NamedTuple

from mediation.core.errors import ConfigurationError
from mediation.runtime.config import FILE, Site

PACKAGE: Final = Path(__file__).resolve().parent.parent
SUFFIXES: Final = (".py", ".so", ".bpf.o")
ADAPTERS: Final = (
    "access/tap.bpf.o", "access/feeds.py", "access/_hep", "delivery/interception_point.py",
    "reconciliation/switch.py",
)  # fmt: skip
CONFIGURATION: Final = (FILE, "keys/witness.policy")


class _State(NamedTuple):
    sha256: str
    stamp: tuple[int, int, int, int]  # size, modification and change in ns, inode


class Identity:
    """As it was at construction. Raises ConfigurationError for a file that cannot be read."""

    def __init__(self, site: Site, package: Path = PACKAGE) -> None:
        self._package, self._site = package, site.path
        self._files = {name: _state(path) for name, path in self._paths()}
        code = {name: state for name, state in self._files.items() if not name.startswith("site:")}
        self.code_sha256 = _digest(code.items())
        self.config_sha256 = _digest((n, state) for n, state in self._files.items() if n.startswith("site:"))
        self.adapters_sha256 = _digest((n, state) for n, state in code.items() if n.startswith(ADAPTERS))

    def _paths(self) -> Iterator[tuple[str, str]]:
        """Names with paths, sorted by path: looked at before activations, so without an object for each."""
        prefix = len(str(self._package)) + 1
        for path in sorted(_below(str(self._package))):
            yield path[prefix:], path
        for name in CONFIGURATION:
            path = str(self._site / name)
            if os.path.exists(path):
                yield f"site:{name}", path

    def changed(self) -> tuple[str, ...]:
        """Names of files that are not what they were when this process started, sorted; those of the site begin with
        "site:". A file that was only touched has not changed. Never raises: what cannot be read has changed."""
        found: list[str] = []
        now = dict(self._paths())
        for name in sorted(self._files.keys() | now.keys()):
            before, path = self._files.get(name), now.get(name)
            if before is None or path is None:
                found.append(name)
                continue
            try:
                if _stamp(path) == before.stamp:
                    continue
                state = _state(path)
            except (OSError, ConfigurationError):
                found.append(name)
                continue
            if state.sha256 == before.sha256:
                self._files[name] = state
            else:
                found.append(name)
        return tuple(found)

    def report(self) -> dict[str, Any]:
        """For ReportStatus: what this process was started from."""
        return {"code": self.code_sha256, "config": self.config_sha256, "adapters": self.adapters_sha256}


def _below(folder: str) -> Iterator[str]:
    """Every file of the package that counts, in no order; links to folders are not followed, and of a folder that
    cannot be read all files have gone."""
    try:
        with os.scandir(folder) as entries:
            found = list(entries)
    except OSError:
        return
    for each in found:
        if each.is_dir(follow_symlinks=False):
            yield from _below(each.path)
        elif each.name.endswith(SUFFIXES) and each.is_file():
            yield each.path


def _stamp(path: str) -> tuple[int, int, int, int]:
    status = os.stat(path)
    return status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino


def _state(path: str) -> _State:
    try:
        stamp = _stamp(path)
        with open(path, "rb") as file:
            return _State(hashlib.file_digest(file, "sha256").hexdigest(), stamp)
    except OSError as error:
        raise ConfigurationError(f"{Path(path).name}: {error.strerror}") from error


def _digest(files: Iterable[tuple[str, _State]]) -> str:
    """Over the manifest: one line for each file, sorted by name, in the form of sha256sum(1)."""
    lines = sorted(f"{state.sha256}  {name}\n" for name, state in files)
    lines.sort(key=lambda line: line[66:])
    return hashlib.sha256("".join(lines).encode()).hexdigest()
