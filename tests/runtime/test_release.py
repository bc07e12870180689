"""SEC-25: the same octets from the same commit; a signed list of releases; what is installed is what was released."""

from __future__ import annotations

import gzip
import io
import json
import os
import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from mediation.core.errors import LedgerError, RemoteProtocolError
from mediation.core.ledger import cosignature, note, policy
from mediation.runtime import release, sbom
from tests import warm

ROOT = Path(__file__).resolve().parent.parent.parent
EPOCH = 1_795_000_000
FILES = {"mediation/__init__.py": b"", "mediation/core/_x.so": b"\x7fELF", "mediation/core/x.py": b"x = 1\n"}
SIGNER = note.Signer(release.ORIGIN, Ed25519PrivateKey.generate())


def make_wheel(path: Path, names: list[str], mode: int, year: int) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        for name in names:
            member = zipfile.ZipInfo(name, (year, 1, 1, 0, 0, 0))
            member.external_attr = mode << 16
            archive.writestr(member, FILES[name])


def make_sdist(path: Path, mode: int, mtime: int, names: list[str]) -> None:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for name in names:
            member = tarfile.TarInfo(f"mediation-1/{name}")
            member.size, member.mode, member.mtime, member.uname = len(FILES[name]), mode, mtime, str(mtime)
            archive.addfile(member, io.BytesIO(FILES[name]))
    path.write_bytes(gzip.compress(buffer.getvalue(), mtime=mtime))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "release"
    made.mkdir()
    make_wheel(made / "mediation-1-py3.whl", list(FILES), 0o100644, 1999)
    (made / "sbom.cdx.json").write_bytes(b"{}\n")
    release.write_sums(made)
    release.sign(made, SIGNER)
    return made


@pytest.fixture
def installed(tmp_path: Path) -> Path:
    place = tmp_path / "site-packages"
    for name, octets in FILES.items():
        (place / name).parent.mkdir(parents=True, exist_ok=True)
        (place / name).write_bytes(octets)
    return place


def test_archives_do_not_tell_when_and_by_whom(tmp_path: Path) -> None:
    names = list(FILES)
    for number, (order, mode, year) in enumerate(((names, 0o100600, 1999), (names[::-1], 0o100755, 2026))):
        make_wheel(tmp_path / f"{number}.whl", order, mode, year)
        release.normalise_wheel(tmp_path / f"{number}.whl", EPOCH)
        make_sdist(tmp_path / f"{number}.tar.gz", mode & 0o644, year, order)
        release.normalise_sdist(tmp_path / f"{number}.tar.gz", EPOCH)
    assert (tmp_path / "0.whl").read_bytes() == (tmp_path / "1.whl").read_bytes()
    assert (tmp_path / "0.tar.gz").read_bytes() == (tmp_path / "1.tar.gz").read_bytes()
    assert release.wheel_files(tmp_path / "0.whl").keys() == FILES.keys()
    (tmp_path / "2.whl").write_bytes((tmp_path / "0.whl").read_bytes())
    release.normalise_wheel(tmp_path / "2.whl", EPOCH + 86_400)
    assert (tmp_path / "2.whl").read_bytes() != (tmp_path / "0.whl").read_bytes(), "the release's date counts"


@pytest.mark.skipif(shutil.which("gcc") is None, reason="no compiler")
def test_an_extension_does_not_tell_where_it_was_built(tmp_path: Path) -> None:
    """The smallest of them, in two folders, masks and time zones, by setup.py itself. The whole wheel is built twice
    by `make release`, which takes minutes."""
    built = []
    for name, mask, zone in (("here", 0o022, "UTC"), ("another folder", 0o077, "Asia/Kolkata")):
        tree = tmp_path / name
        (tree / "mediation" / "access").mkdir(parents=True)
        shutil.copytree(ROOT / "ext", tree / "ext", ignore=lambda _, names: [
            each for each in names if each.endswith(".pyx") and each != "dtmf.pyx"])  # fmt: skip
        for file in ("setup.py", "pyproject.toml", "README.md", "LICENSE"):
            shutil.copy(ROOT / file, tree)
        done = subprocess.run(
            [sys.executable, "setup.py", "-q", "build_ext", "--inplace"], cwd=tree, capture_output=True, text=True,
            check=False, timeout=300, umask=mask,
            env={**os.environ, "TZ": zone, "LC_ALL": "C.UTF-8", "SOURCE_DATE_EPOCH": str(EPOCH)},
        )  # fmt: skip
        assert done.returncode == 0, done.stderr[-2000:]
        (made,) = (tree / "mediation" / "access").glob("_dtmf*.so")
        built.append(made.read_bytes())
        assert str(tree).encode() not in made.read_bytes()
    assert built[0] == built[1]


def test_a_release_is_verified(folder: Path, installed: Path) -> None:
    assert release.verify(folder, SIGNER.verifier) == ["mediation-1-py3.whl", "sbom.cdx.json"]
    assert release.foreign(folder / "mediation-1-py3.whl", installed) == []


@pytest.mark.parametrize("victim", ["mediation-1-py3.whl", "sbom.cdx.json", "SHA256SUMS", "releases", "releases.note"])
def test_a_tampered_file_of_a_release_is_found(folder: Path, victim: str) -> None:
    octets = bytearray((folder / victim).read_bytes())
    octets[len(octets) // 2] ^= 1
    (folder / victim).write_bytes(octets)
    with pytest.raises((LedgerError, RemoteProtocolError, release.ConfigurationError)):
        release.verify(folder, SIGNER.verifier)


def test_another_key_is_refused(folder: Path) -> None:
    other = note.Signer(release.ORIGIN, Ed25519PrivateKey.generate())
    with pytest.raises(RemoteProtocolError):
        release.verify(folder, other.verifier)
    release.sign(folder, other)
    with pytest.raises(RemoteProtocolError):
        release.verify(folder, SIGNER.verifier)


def test_what_is_installed_is_the_release_and_nothing_else(folder: Path, installed: Path) -> None:
    (installed / "mediation/core/x.py").write_bytes(b"x = 2\n")
    (installed / "mediation/core/_x.so").unlink()
    (installed / "mediation/core/__pycache__").mkdir()
    (installed / "mediation/core/__pycache__/x.cpython-311.pyc").write_bytes(b"would be run in the place of x.py")
    (installed / "mediation/__init__.py").unlink()
    (installed / "mediation/__init__.py").symlink_to("/dev/null")
    assert release.foreign(folder / "mediation-1-py3.whl", installed) == [
        "mediation/__init__.py: changed", "mediation/core/__pycache__/x.cpython-311.pyc: not of the release",
        "mediation/core/_x.so: missing", "mediation/core/x.py: changed",
    ]  # fmt: skip


def test_releases_follow_each_other(folder: Path) -> None:
    """A later release has the earlier in its list; one that was made for one victim alone has not, and is refused."""
    first, earlier = (folder / "releases.note").read_text(), (folder / "releases").read_text()
    (folder / "sbom.cdx.json").write_bytes(b'{"version": 2}\n')
    release.write_sums(folder)
    with pytest.raises(LedgerError, match="SHA256SUMS"):
        release.verify(folder, SIGNER.verifier)
    release.sign(folder, SIGNER, earlier)
    release.verify(folder, SIGNER.verifier, known=first)
    assert len(release.consistency(folder, 1, 2)) == 1
    release.sign(folder, SIGNER, "ab" * 32 + "\n")
    with pytest.raises(LedgerError, match="signed before"):
        release.verify(folder, SIGNER.verifier, known=first)


def test_witnesses_may_cosign_it(folder: Path) -> None:
    witness = cosignature.Signer("w.example/1", Ed25519PrivateKey.generate())
    asked = policy.parse(f"log {SIGNER.verifier}\nwitness w {witness.verifier}\nquorum w\n")
    with pytest.raises(LedgerError, match="quorum"):
        release.verify(folder, SIGNER.verifier, policy=asked)
    text = (folder / "releases.note").read_text()
    (folder / "releases.note").write_text(text + witness.line(note.split(text)[0], EPOCH))
    release.verify(folder, SIGNER.verifier, policy=asked)


def test_the_bill_of_materials(tmp_path: Path) -> None:
    octets = sbom.generate("0.1.0", ["trio>=0.35", "click>=8.1", "nothing-of-that-name"], EPOCH)
    assert octets == sbom.generate("0.1.0", ["trio>=0.35", "click>=8.1", "nothing-of-that-name"], EPOCH)
    bill = json.loads(octets)
    assert (bill["bomFormat"], bill["specVersion"]) == ("CycloneDX", "1.6")
    assert bill["metadata"]["timestamp"] == "2026-11-18T11:06:40Z"
    names = {one["name"] for one in bill["components"]}
    assert {"trio", "click", "outcome", "attrs"} <= names and "nothing-of-that-name" not in names
    references = {one["bom-ref"] for one in bill["components"]}
    assert all(set(each.get("dependsOn", ())) <= references for each in bill["dependencies"])
    assert {one["ref"] for one in bill["dependencies"]} >= {each for each in references if "pypi" in each}


def test_the_commands(tmp_path: Path, folder: Path, installed: Path) -> None:
    def said(*words: object) -> subprocess.CompletedProcess[str]:
        return warm.run("release", *map(str, words))

    public = tmp_path / "release.pub"
    public.write_text(said("key", "--out", tmp_path / "release.key").stdout)
    assert (tmp_path / "release.key").stat().st_mode & 0o777 == 0o600
    assert said("pack", folder, "--project", ROOT / "pyproject.toml", "--epoch", EPOCH).returncode == 0
    assert said("sign", folder, "--key", tmp_path / "release.key").returncode == 0
    done = said("verify", folder, "--key", public, "--installed", installed)
    assert done.returncode == 0 and "every file is the release's" in done.stdout, done.stderr
    (installed / "mediation/core/x.py").write_bytes(b"")
    done = said("verify", folder, "--key", public, "--installed", installed)
    assert done.returncode == 1 and "mediation/core/x.py: changed" in done.stdout
    assert said("verify", folder, "--key", public, "--files-only").returncode == 0
