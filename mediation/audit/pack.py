"""Packs the verifier into one file that any Python 3.11 with `cryptography` runs: `python3 pack.py audit.pyz`.

Answers for the same octets each time (SEC-25): the modules' text in the order of their names, stored without
compression, with one fixed date and mode, behind one fixed first line (PEP 441). It prints the file's SHA-256, which
the site publishes beside the ledger's key.
"""

from __future__ import annotations

import hashlib
import io
import sys
import zipfile
from pathlib import Path

FIRST_LINE = b"#!/usr/bin/env python3\n"
DATE = (1980, 1, 1, 0, 0, 0)  # the earliest that a zip file can say
MODE = 0o100644 << 16
# Without what it needs it judges nothing, and must not end with the status of an export that it has judged.
START = b"""import sys

if sys.version_info < (3, 11):
    print("audit: it needs Python 3.11 or later; nothing was judged", file=sys.stderr)
    sys.exit(2)
try:
    import cryptography
except ImportError:
    print("audit: it needs the Python package cryptography (python3 -m pip install cryptography, or the system's "
          "python3-cryptography); nothing was judged", file=sys.stderr)
    sys.exit(2)

from mediation.audit.__main__ import main

sys.exit(main())
"""
HERE = Path(__file__).resolve().parent


def packed() -> bytes:
    """The file's octets."""
    files = {"__main__.py": START, "mediation/__init__.py": b""}
    for path in HERE.glob("*.py"):
        if path.name != Path(__file__).name:
            files[f"mediation/audit/{path.name}"] = path.read_bytes()
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as archive:
        for name, octets in sorted(files.items()):
            member = zipfile.ZipInfo(name, DATE)
            member.create_system = 3  # Unix, whatever this machine is
            member.external_attr = MODE
            archive.writestr(member, octets)
    return FIRST_LINE + buffer.getvalue()


def main(words: list[str]) -> int:
    """Writes the file that is named; prints its SHA-256."""
    if len(words) != 1:
        print("pack.py FILE", file=sys.stderr)
        return 2
    octets = packed()
    out = Path(words[0])
    out.write_bytes(octets)
    out.chmod(0o755)
    print(f"{hashlib.sha256(octets).hexdigest()}  {out.name}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
