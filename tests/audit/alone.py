"""Runs the packed verifier where nothing of this project is."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import cryptography

from mediation.audit import pack


def run(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """`python3 audit.pyz WORDS` in an empty folder, by an interpreter that has cryptography and nothing of ours."""
    alone = folder / "elsewhere"
    libraries = folder / "libraries"
    if not alone.exists():
        alone.mkdir()
        libraries.mkdir()
        site = Path(cryptography.__file__).parent.parent
        for name in [*site.glob("cryptography"), *site.glob("cffi"), *site.glob("_cffi_backend*"),
                     *site.glob("pycparser"), *site.glob("cryptography.libs")]:  # fmt: skip
            (libraries / name.name).symlink_to(name)
        (folder / "audit.pyz").write_bytes(pack.packed())
    script = (
        "import runpy, sys; sys.path.append(sys.argv.pop(1)); sys.argv.pop(0); "
        "runpy.run_path(sys.argv[0], run_name='__main__')"
    )
    return subprocess.run(
        [sys.executable, "-I", "-S", "-c", script, str(libraries), str(folder / "audit.pyz"), *words],
        cwd=alone, capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
