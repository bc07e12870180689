"""A release: what was built, octet by octet, in a log of releases that its key signs and witnesses may cosign (SEC-25).

    SHA256SUMS      one line for each file, in the form of sha256sum(1)
    releases        the SHA-256 of the SHA256SUMS of every release so far, one a line, this one's last
    releases.note   a checkpoint (C2SP tlog-checkpoint) over `releases` as a Merkle tree (RFC 9162 §2.1): each line is a
                    leaf. Signed by the release key; witnesses cosign it like any log's (C2SP tlog-cosignature)

Answers for: the same octets from the same files (`normalise_*`); finding each file that is not the release's, at rest
and as installed. A release that was made for one victim alone has to stand in everybody's list, or in a list that the
witnesses refuse to cosign. May not: keep the release key; it is an argument. What is not done: no public log (Sigsum)
holds these checkpoints yet; whoever fetches a release compares the list with another's.
"""

from __future__ import annotations

import base64
import gzip
import hashlib
import io
import re
import tarfile
import zipfile
from pathlib import Path
from typing import Final

from mediation.core.errors import ConfigurationError, LedgerError, RemoteProtocolError
from mediation.core.ledger import merkle, note
from mediation.core.ledger.policy import Policy

SUMS, LIST, NOTE = "SHA256SUMS", "releases", "releases.note"
ORIGIN: Final = "mediation/releases"
MAX_RELEASES: Final = 65_536  # ours
MAX_FILE_OCTETS: Final = 1 << 28
PACKAGE: Final = "mediation/"
_LINE = re.compile(r"([0-9a-f]{64})  ([A-Za-z0-9._+-]{1,128})")
_SHA256 = re.compile(r"[0-9a-f]{64}")


def normalise_wheel(path: Path, epoch_s: int) -> None:
    """Rewrites a wheel so that only its contents and their names count: order, dates and modes are fixed."""
    date = _zip_date(epoch_s)
    buffer = io.BytesIO()
    with zipfile.ZipFile(path) as old, zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as new:
        for name in sorted(old.namelist()):
            member = zipfile.ZipInfo(name, date)
            member.create_system, member.compress_type = 3, zipfile.ZIP_DEFLATED
            member.external_attr = (0o100755 if name.endswith(".so") else 0o100644) << 16
            new.writestr(member, old.read(name))
    path.write_bytes(buffer.getvalue())


def normalise_sdist(path: Path, epoch_s: int) -> None:
    """The same for a source archive: order, dates, owners and modes."""
    buffer = io.BytesIO()
    with tarfile.open(path) as old, tarfile.open(fileobj=buffer, mode="w", format=tarfile.USTAR_FORMAT) as new:
        for member in sorted((each for each in old.getmembers() if each.isfile()), key=lambda each: each.name):
            kept = tarfile.TarInfo(member.name)
            kept.size, kept.mtime, kept.mode = member.size, epoch_s, 0o755 if member.mode & 0o100 else 0o644
            new.addfile(kept, old.extractfile(member))
    path.write_bytes(gzip.compress(buffer.getvalue(), 9, mtime=0))


def _zip_date(epoch_s: int) -> tuple[int, int, int, int, int, int]:
    import datetime  # noqa: PLC0415 - for whoever builds

    at = datetime.datetime.fromtimestamp(max(epoch_s, 315_532_800), datetime.UTC)  # 1980: the earliest of a zip file
    return at.year, at.month, at.day, at.hour, at.minute, at.second


def write_sums(folder: Path) -> None:
    """Names every file of the release. Raises ConfigurationError for a name that the form cannot carry."""
    names = sorted(each.name for each in folder.iterdir() if each.is_file() and each.name not in {SUMS, LIST, NOTE})
    lines = [f"{_sha256(folder / name)}  {name}" for name in names]
    if not names or not all(map(_LINE.fullmatch, lines)):
        raise ConfigurationError(f"{SUMS}: no file, or one whose name does not fit")
    (folder / SUMS).write_text("".join(f"{line}\n" for line in lines))


def sign(folder: Path, signer: note.Signer, earlier: str = "") -> str:
    """Appends this release to the list `earlier` and signs its head; returns the note. Raises ConfigurationError."""
    hashes = _hashes(earlier)
    mine = _sha256(folder / SUMS)
    if mine not in hashes[-1:]:
        hashes.append(mine)
    (folder / LIST).write_text("".join(f"{each}\n" for each in hashes))
    tree = _tree(hashes)
    text = signer.sign(note.Checkpoint(origin=signer.verifier.name, size=tree.size, root=tree.root()).text())
    (folder / NOTE).write_text(text)
    return text


def consistency(folder: Path, first: int, second: int) -> list[bytes]:
    """The path between two heads of the list, for a witness. Raises ConfigurationError."""
    tree = _tree(_hashes(_text(folder / LIST)))
    return merkle.consistency_path(first, second, tree.read) if first and first != second else []


def verify(folder: Path, verifier: note.Verifier, *, policy: Policy | None = None, known: str = "") -> list[str]:
    """The names of the release's files, all of which are as they were signed. `known` is an older note that was kept.

    Raises LedgerError naming what is not the release's; RemoteProtocolError for a note that the key did not sign.
    """
    hashes = _hashes(_text(folder / LIST))
    text = _text(folder / NOTE)
    head = note.open_checkpoint(text, verifier)
    tree = _tree(hashes)
    if (tree.size, tree.root()) != (head.size, head.root):
        raise LedgerError(f"{LIST}: not the list that was signed")
    if policy is not None and not policy.judge(text).quorum:
        raise LedgerError(f"{NOTE}: not cosigned by the quorum of witnesses")
    if known:
        before = note.open_checkpoint(known, verifier)
        if before.size > tree.size or tree.root(before.size) != before.root:
            raise LedgerError(f"{LIST}: does not contain the releases that were signed before")
    if not hashes or _sha256(folder / SUMS) != hashes[-1]:
        raise LedgerError(f"{SUMS}: not the one that was signed")
    names = []
    for line in _text(folder / SUMS).splitlines():
        if not (found := _LINE.fullmatch(line)):
            raise LedgerError(f"{SUMS}: malformed")
        if _sha256(folder / found[2]) != found[1]:
            raise LedgerError(f"{found[2]}: not the file that was signed")
        names.append(found[2])
    return names


def wheel_files(wheel: Path) -> dict[str, str]:
    """The SHA-256 of each file that a wheel installs, by name. The wheel was verified. Raises LedgerError."""
    try:
        with zipfile.ZipFile(wheel) as archive:
            return {
                name: hashlib.sha256(archive.read(name)).hexdigest()
                for name in archive.namelist()
                if name.startswith(PACKAGE) and not name.endswith("/")
            }
    except (zipfile.BadZipFile, OSError) as error:
        raise LedgerError(f"{wheel.name}: not a wheel") from error


def foreign(wheel: Path, installed: Path) -> list[str]:
    """What below `installed`, the folder that holds the package, is not as the wheel has it; sorted. What the wheel has
    not, a compiled .pyc or any other file, is foreign too: it would be run. Raises LedgerError."""
    wanted = wheel_files(wheel)
    found = {
        path.relative_to(installed).as_posix(): path
        for path in (installed / PACKAGE).rglob("*")
        if path.is_symlink() or not path.is_dir()
    }
    bad = {f"{name}: missing" for name in wanted.keys() - found.keys()}
    bad |= {f"{name}: not of the release" for name in found.keys() - wanted.keys()}
    for name in wanted.keys() & found.keys():
        if found[name].is_symlink() or _sha256(found[name]) != wanted[name]:
            bad.add(f"{name}: changed")
    return sorted(bad)


def _hashes(text: str) -> list[str]:
    hashes = text.split("\n")[:-1] if text else []
    if len(hashes) > MAX_RELEASES or not all(map(_SHA256.fullmatch, hashes)):
        raise ConfigurationError(f"{LIST}: malformed")
    return hashes


def _tree(hashes: list[str]) -> merkle.Tree:
    tree = merkle.Tree()
    for each in hashes:
        tree.append(merkle.leaf_hash(each.encode()))
    return tree


def _text(path: Path) -> str:
    try:
        return path.read_text()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"{path.name}: {type(error).__name__}") from error


def _sha256(path: Path) -> str:
    """Raises ConfigurationError."""
    try:
        if path.stat().st_size > MAX_FILE_OCTETS:
            raise ConfigurationError(f"{path.name}: too large")
        return hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError as error:
        raise ConfigurationError(f"{path.name}: {error.strerror}") from error


def read_signer(octets: bytes) -> note.Signer:
    """The release key. Raises ConfigurationError."""
    try:
        return note.Signer.parse(octets.decode())
    except (ValueError, RemoteProtocolError, base64.binascii.Error) as error:  # type: ignore[attr-defined]
        raise ConfigurationError("release key: not a note's signing key") from error
