"""SEC-25: who does not have the release key gets nothing installed and nothing verified, whatever files he replaces.

The octets of a release and what is installed of it are judged by `mediation release verify`; here the release itself is
forged as well as it can be without the key.
"""

from __future__ import annotations

from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from mediation.core.errors import LedgerError, RemoteProtocolError
from mediation.core.ledger import note
from mediation.runtime import release
from tests import warm
from tests.runtime.test_release import SIGNER, folder, installed

__all__ = ["folder", "installed"]
WHEEL = "mediation-1-py3.whl"


def forged(folder: Path, *, listed: bool, noted: bool) -> None:
    """Another wheel, with sums of its own; then, as far as asked for, in the list and under a head that fits."""
    (folder / WHEEL).write_bytes((folder / WHEEL).read_bytes() + b"\0")
    release.write_sums(folder)
    if listed:
        kept = (folder / release.NOTE).read_text()
        release.sign(folder, note.Signer(release.ORIGIN, Ed25519PrivateKey.generate()))
        if not noted:
            (folder / release.NOTE).write_text(kept)


def test_a_release_that_the_key_did_not_sign(folder: Path) -> None:
    forged(folder, listed=True, noted=False)
    with pytest.raises(LedgerError, match="releases: not the list that was signed"):
        release.verify(folder, SIGNER.verifier)


@pytest.mark.parametrize("noted", [False, True])
def test_whatever_is_replaced_beside_it(folder: Path, noted: bool) -> None:
    forged(folder, listed=noted, noted=noted)
    with pytest.raises((LedgerError, RemoteProtocolError)):
        release.verify(folder, SIGNER.verifier)


def test_the_command_ends_in_failure(folder: Path, installed: Path, tmp_path: Path) -> None:
    """Its status is what an installation's script goes by: before installing, and of what is installed."""
    public = tmp_path / "release.pub"
    public.write_text(f"{SIGNER.verifier}\n")

    def status(*words: str | Path) -> int:
        return warm.run(*map(str, ("release", "verify", folder, "--key", public, *words))).returncode

    assert status("--installed", installed) == status("--files-only") == 0
    (installed / "mediation/core/x.py").write_bytes(b"x = 2\n")
    assert status("--installed", installed) == 1
    assert status("--files-only") == 0  # the release is good; what stands here is not it
    forged(folder, listed=True, noted=False)
    assert status("--files-only") == 1
