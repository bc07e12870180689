"""Who holds a site: one administrator, or one command in its place.

Answers for there being one writer of store and ledger; the kernel forgets the lock with the process that held it.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

from mediation.core.errors import ConfigurationError


def lock(folder: Path) -> AbstractContextManager[None]:
    """Holds the site: one administrator, or one command in its place. Raises BlockingIOError while it is held."""
    try:
        descriptor = os.open(folder / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise ConfigurationError(f"{folder.name}/lock: {error.strerror}") from error
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BaseException:
        os.close(descriptor)
        raise
    return _held(descriptor)


@contextmanager
def _held(descriptor: int) -> Iterator[None]:
    try:
        yield
    finally:
        os.close(descriptor)
