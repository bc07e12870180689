"""A process whose freed memory says nothing: what it judged and let go of is overwritten at once (SEC-20).

The access function reads hostile packets, and every order passes through it whole: case, agency's address, court,
other access points' subjects. It keeps none of that (access/tasking.py), but freed memory keeps it for hours, where
whoever takes the process over finds it. CPython's own allocator never overwrites; glibc's does when it is told to by
`glibc.malloc.perturb` (mallopt(3), M_PERTURB), but for chunks in its per-thread caches, which are switched off. Both
are decided before the first line of Python runs, so the process executes itself once more.

May not: be called after anything was opened that must not be opened twice. Costs: an interpreter's start, if whoever
starts the process did not set ENVIRONMENT for it; judging an order takes as long as before, within the noise.
"""

from __future__ import annotations

import os
import sys
from typing import Final

ENVIRONMENT: Final = {
    "PYTHONMALLOC": "malloc",
    "GLIBC_TUNABLES": "glibc.malloc.perturb=255:glibc.malloc.tcache_count=0",
}


def begin_anew() -> None:
    """Returns in a process that forgets; else replaces this one by one that does, with the same arguments."""
    if any(os.environ.get(name) != value for name, value in ENVIRONMENT.items()):
        os.execve(sys.executable, sys.orig_argv, os.environ | ENVIRONMENT)  # noqa: S606  the same program, no shell
