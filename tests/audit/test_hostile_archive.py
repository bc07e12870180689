"""An archive that was made to be read for ever, or to be far more than it is."""

from __future__ import annotations

import io
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest

from mediation.core.ledger import note

BLOCK = 512
MEMBER = 2 * BLOCK  # a header and its contents
SIZE, SUM = slice(124, 136), slice(148, 156)


def summed(head: bytearray) -> bytes:
    head[SUM] = b" " * 8
    head[SUM] = b"%06o\0 " % sum(head)
    return bytes(head)


def first() -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.USTAR_FORMAT) as archive:
        member = tarfile.TarInfo("first")
        member.size = 3
        archive.addfile(member, io.BytesIO(b"abc"))
    return buffer.getvalue()[:MEMBER]


def backwards(octets: int) -> bytes:
    """A member that ends before it begins, in the base-256 form of GNU tar."""
    head = bytearray(tarfile.TarInfo("again").tobuf(tarfile.USTAR_FORMAT))
    head[SIZE] = b"\xff" + (-octets & ((1 << 88) - 1)).to_bytes(11, "big")
    return first() + summed(head) + bytes(2 * BLOCK)


def backwards_by_pax() -> bytes:
    member = tarfile.TarInfo("again")
    member.pax_headers = {"size": "-512"}
    return first() + member.tobuf(tarfile.PAX_FORMAT) + bytes(2 * BLOCK)


def hollow() -> bytes:
    """1.5 KiB that are 3 GiB of zeros (GNU tar's sparse form)."""
    member = tarfile.TarInfo("hollow")
    member.type = tarfile.GNUTYPE_SPARSE
    head = bytearray(member.tobuf(tarfile.GNU_FORMAT))
    head[483:495] = b"%011o\0" % (3 << 30)  # its real size
    return first() + summed(head) + bytes(2 * BLOCK)


@pytest.mark.parametrize("command", [("audit", "verify"), ("ledger", "verify", "--export")], ids=["auditor", "site"])
@pytest.mark.parametrize("octets", [backwards(BLOCK), backwards(MEMBER + 1), backwards_by_pax(), hollow()],
                         ids=["itself", "before", "pax", "hollow"])  # fmt: skip
def test_it_is_refused(tmp_path: Path, octets: bytes, command: tuple[str, ...]) -> None:
    export, key = tmp_path / "export.tar", tmp_path / "ledger.pub"
    export.write_bytes(octets)
    key.write_text(f"{note.Verifier('example.org/log', bytes(32))}\n")
    limited = "import resource; resource.setrlimit(resource.RLIMIT_AS, (1 << 30, 1 << 30)); "
    start = limited + "from mediation.cli.main import main; main()"
    done = subprocess.run(
        [sys.executable, "-c", start, *command, str(export), "--key", str(key)], capture_output=True, text=True,
        timeout=30, check=False,
    )  # fmt: skip
    assert done.returncode not in (0, -9), done.stdout
    assert "Traceback" not in done.stderr
