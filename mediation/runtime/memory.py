"""Key material in memory: pages that are locked, left out of core dumps, empty in a child, and wiped after use.

What this gives, and what it cannot: a `Secret` lives in a page of its own (mlock(2), madvise(2) MADV_DONTDUMP and
MADV_WIPEONFORK), and `wipe` overwrites it. What CPython and OpenSSL make of it does not: the expanded key inside an
AES context, and any `bytes` a library returns, lie on the heap until they are overwritten by chance. Against those
stand the whole process's locks: mlockall(2) so that no page of it reaches swap, RLIMIT_CORE 0 and PR_SET_DUMPABLE 0 so
that no core and no ptrace(2) by the same user shows it (runtime/confine.py). Root on a running machine reads all.
"""

from __future__ import annotations

import ctypes
import mmap
from types import TracebackType
from typing import Final, Self

from mediation.core.ledger.sealing import Octets

MADV_DONTDUMP: Final = 16
MADV_WIPEONFORK: Final = 18  # asm-generic/mman-common.h; since Linux 4.14

_libc = ctypes.CDLL(None, use_errno=True)
_libc.mlock.argtypes = (ctypes.c_void_p, ctypes.c_size_t)


class Secret:
    """`size` octets of key material in pages of their own, zeros at first. A context manager that wipes."""

    def __init__(self, size: int) -> None:
        self._page = mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
        self._whole = memoryview(self._page)
        anchor = ctypes.c_char.from_buffer(self._page)
        # False where RLIMIT_MEMLOCK is used up: the function's own lock of all its memory is then what stands.
        self.locked = _libc.mlock(ctypes.addressof(anchor), size) == 0
        del anchor
        self._page.madvise(MADV_DONTDUMP)
        self._page.madvise(MADV_WIPEONFORK)
        self.octets = self._whole[:size]  # write into it, pass it on; never make `bytes` of it

    @classmethod
    def of(cls, octets: Octets) -> Secret:
        """A copy of `octets`, which the caller wipes if he can."""
        view = memoryview(octets)
        secret = cls(view.nbytes)
        secret.octets[:] = view
        return secret

    def wipe(self) -> None:
        """Zeros; the object stays usable, its contents do not."""
        self._whole[:] = bytes(len(self._whole))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        self.wipe()


def wipe(octets: bytearray) -> None:
    """Zeros over what a library wanted as a bytearray."""
    octets[:] = bytes(len(octets))
