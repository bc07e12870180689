"""Files that are on the disk when the call returns, and whole or not there at all.

Every function states the system calls it makes, in order, and tests hold it to them. A file system may
reorder anything that no fsync(2) or fdatasync(2) stands between, and a name is durable only when its folder is
(fsync(2), NOTES). After a failed sync the pages are clean in memory and perhaps not on the disk, so nobody may sync
again and believe it: what must be durable is written again first.

These functions block; the caller decides in which thread.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Sequence
from pathlib import Path

MODE = 0o600
CHUNK_OCTETS = 4_096  # of a file of lines, looked at for the end of the last; most are shorter
UNFINISHED = ".new"  # ends the name of what a crash kept from taking its place


def sync_folder(folder: Path) -> None:
    """Makes the names in `folder` durable.

    openat(folder, O_RDONLY|O_DIRECTORY) fsync close
    """
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def make_folder(folder: Path, mode: int = 0o700) -> None:
    """A folder that survives, with all that is missing above it.

    mkdir(folder) openat(parent) fsync close; nothing when it exists
    """
    if folder.is_dir():
        return
    if not folder.parent.is_dir():
        make_folder(folder.parent, mode)
    folder.mkdir(mode=mode, exist_ok=True)
    sync_folder(folder.parent)


def write(descriptor: int, octets: bytes | memoryview, at: int) -> None:
    """All of `octets` at offset `at`, whatever the kernel takes at a time. Raises OSError.

    pwrite64 …
    """
    done = os.pwrite(descriptor, octets, at)
    if done < len(octets):  # a full disk and a signal end a write early (write(2))
        rest = memoryview(octets)
        while done < len(rest):
            done += os.pwrite(descriptor, rest[done:], at + done)


def replace(path: Path, octets: bytes) -> None:
    """The file `path` holds `octets`, or what it held before; never a part. Raises OSError.

    openat(path.new, O_CREAT|O_TRUNC) pwrite64 fsync close rename(path.new, path) openat(folder) fsync close
    """
    replace_all([(path, octets)])


def replace_all(files: Sequence[tuple[Path, bytes]]) -> None:
    """Each file as `replace` does it, each folder made durable once for all of them. Not one act: after a failure or a
    crash some hold what they held before. Raises OSError.

    (openat(path.new, O_CREAT|O_TRUNC) pwrite64 fsync close) … rename(path.new, path) … (openat(folder) fsync close) …
    """
    for path, octets in files:
        _write_beside(path, octets)
    for path, _ in files:
        _put_in_place(path)
    for folder in dict.fromkeys(path.parent for path, _ in files):
        sync_folder(folder)


def _beside(path: Path) -> Path:
    return path.with_name(path.name + UNFINISHED)


def _put_in_place(path: Path) -> None:
    _beside(path).rename(path)


def _write_beside(path: Path, octets: bytes) -> None:
    flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW
    descriptor = os.open(_beside(path), flags, MODE)
    try:
        write(descriptor, octets, 0)
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def keep_open(path: Path) -> int:
    """The descriptor of a file that a function writes in place for as long as it runs, made if missing: then the name
    is on the disk before anything is said to be. Raises OSError, also for a symbolic link: who may make one in the
    folder must not choose what is written to.

    openat(path, O_RDWR|O_CREAT|O_NOFOLLOW) openat(folder) fsync close
    """
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, MODE)
    try:
        sync_folder(path.parent)
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


def append(path: Path, octets: bytes) -> None:
    """`octets` stand at the end of `path`, made if missing. A crash may leave a part of them; the reader must tell.
    Raises OSError, and then as a rule nothing of them is left.

    openat(path, O_CREAT|O_APPEND) fstat write fsync close openat(folder) fsync close
    """
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, MODE)
    try:
        _append(descriptor, octets)
    finally:
        os.close(descriptor)
    sync_folder(path.parent)


def append_line(path: Path, line: bytes) -> None:
    """As `append`, to a file of lines; `line` has its end. What an append left that a crash or a full disk cut short is
    no line (`whole_lines`): it is taken away first, so that this one does not go on with it.

    openat(path, O_CREAT|O_APPEND) fstat [pread64 … ftruncate] write fsync close openat(folder) fsync close
    """
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, MODE)
    try:
        _cut_unfinished(descriptor)
        _append(descriptor, line)
    finally:
        os.close(descriptor)
    sync_folder(path.parent)


def whole_lines(octets: bytes) -> bytes:
    """Of a file of lines all but a last one without its end, which was not written whole."""
    return octets[: octets.rfind(b"\n") + 1]


def _cut_unfinished(descriptor: int) -> None:
    """Takes away what stands behind the last whole line."""
    size = end = os.fstat(descriptor).st_size
    while end:
        at = max(0, end - CHUNK_OCTETS)
        end = at + len(whole_lines(os.pread(descriptor, end - at, at)))
        if end > at:
            break
    if end < size:
        os.ftruncate(descriptor, end)


def _append(descriptor: int, octets: bytes) -> None:
    before = os.fstat(descriptor).st_size
    try:
        rest = memoryview(octets)
        while rest:
            rest = rest[os.write(descriptor, rest) :]
    except OSError:
        with contextlib.suppress(OSError):
            os.ftruncate(descriptor, before)  # a full disk takes a part
        raise
    os.fsync(descriptor)


def remove(path: Path) -> None:
    """The name is gone, also after a crash.

    unlink(path) openat(folder) fsync close
    """
    path.unlink(missing_ok=True)
    sync_folder(path.parent)
