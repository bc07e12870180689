"""`mediation release …`: what a release is made of, signed, and found again on a host (SEC-25).

key      a new release key, for whoever publishes
pack     makes built archives independent of when and where; writes bill of materials and SHA256SUMS (`make release`)
sign     appends the release to the list of releases and signs the list's head
cosign   has the witnesses of a policy cosign that head
verify   judges a release, and what is installed here against it
"""

from __future__ import annotations

import os
import time
import tomllib
from pathlib import Path

import click
import trio
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from mediation.administration.ledger.witnesses import Witnesses
from mediation.cli.options import FILE, read_token
from mediation.core.errors import ConfigurationError, LedgerError
from mediation.core.ledger import note, policy
from mediation.runtime import release, sbom
from mediation.signing.file import write_private

FOLDER = click.Path(exists=True, file_okay=False, path_type=Path)
INSTALLED = Path(__file__).resolve().parent.parent.parent
policy_option = click.option("--policy", "policy_file", type=FILE, help="Whose cosignatures you ask for (tlog-policy).")


@click.group()
def group() -> None:
    """Releases: key, pack, sign, cosign, verify."""


@group.command()
@click.option(
    "--out", required=True, type=click.Path(dir_okay=False, path_type=Path), help="The private key, a new file."
)
@click.option("--name", default=release.ORIGIN, show_default=True, help="What the list of releases is called.")
def key(out: Path, name: str) -> None:
    """Makes a release key; prints its public half, which is published apart from the releases.

    \b
    mediation release key --out release.key > release.pub
    """
    if not note.valid_name(name) or out.exists():
        raise ConfigurationError("release key: not a key's name, or the file exists")
    signer = note.Signer(name, Ed25519PrivateKey.generate())
    write_private(out, signer.private_text() + "\n")
    click.echo(str(signer.verifier))


@group.command()
@click.argument("folder", type=FOLDER)
@click.option("--project", required=True, type=FILE, help="Its pyproject.toml.")
@click.option("--epoch", required=True, type=click.IntRange(0), help="SOURCE_DATE_EPOCH: of the last commit.")
def pack(folder: Path, project: Path, epoch: int) -> None:
    """Makes FOLDER's archives the same octets whoever built them; adds bill of materials and SHA256SUMS.

    \b
    mediation release pack RELEASE --project pyproject.toml --epoch 1795351060
    """
    about = tomllib.loads(project.read_text())["project"]
    for path in sorted(folder.iterdir()):
        if path.suffix == ".whl":
            release.normalise_wheel(path, epoch)
        elif path.name.endswith(".tar.gz"):
            release.normalise_sdist(path, epoch)
    (folder / "sbom.cdx.json").write_bytes(sbom.generate(about["version"], about["dependencies"], epoch))
    release.write_sums(folder)


@group.command()
@click.argument("folder", type=FOLDER)
@click.option("--key", "key_file", type=FILE, help="The release key; or an inherited descriptor by --key-fd.")
@click.option("--key-fd", type=click.IntRange(0), help="The descriptor from which the release key is read.")
@click.option("--earlier", type=FILE, help="The list `releases` of the release before; the first has none.")
def sign(folder: Path, key_file: Path | None, key_fd: int | None, earlier: Path | None) -> None:
    """Signs the release in FOLDER, and adds it to the list of releases.

    \b
    mediation release sign RELEASE --key-fd 3 --earlier releases 3< release.key
    """
    if (key_file is None) == (key_fd is None):
        raise click.UsageError("one of --key and --key-fd")
    if key_file is not None:
        octets = key_file.read_bytes()
    else:
        assert key_fd is not None
        with os.fdopen(key_fd, "rb") as handed:
            octets = handed.read(4096)
    release.sign(folder, release.read_signer(octets), earlier.read_text() if earlier is not None else "")


@group.command()
@click.argument("folder", type=FOLDER)
@click.option("--key", "key_file", required=True, type=FILE, help="The release key's public half.")
@policy_option
def cosign(folder: Path, key_file: Path, policy_file: Path | None) -> None:
    """Asks the witnesses, and keeps their cosignatures beside the release key's signature.

    \b
    mediation release cosign RELEASE --key release.pub --policy release.policy
    """
    if policy_file is None:
        raise click.UsageError("--policy is needed")
    release.verify(folder, _verifier(key_file))
    path = folder / release.NOTE

    async def ask() -> str:
        witnesses = Witnesses(_policy(policy_file), _verifier(key_file))
        found = await witnesses.cosign(
            path.read_text(), lambda first, second: release.consistency(folder, first, second), now_s=int(time.time())
        )
        await witnesses.close()
        if not found.judgement.quorum:
            raise LedgerError("; ".join(f"{told.witness}: {told.outcome}" for told in found.told) or "no witness")
        return found.note

    path.write_text(trio.run(ask))


@group.command()
@click.argument("folder", type=FOLDER)
@click.option("--key", "key_file", required=True, type=FILE, help="The release key's public half, from elsewhere.")
@policy_option
@click.option("--known", type=FILE, help="releases.note of an older release: the list must contain its releases.")
@click.option("--installed", type=FOLDER, default=INSTALLED, help="The site-packages to judge; this program's own.")
@click.option("--files-only", is_flag=True, help="Before installing: the release's files alone.")
def verify(
    *, folder: Path, key_file: Path, policy_file: Path | None, known: Path | None, installed: Path, files_only: bool
) -> None:  # fmt: skip
    """Judges the release in FOLDER, and that what is installed is it and nothing else.

    \b
    mediation release verify RELEASE --key release.pub --files-only
    """
    names = release.verify(
        folder, _verifier(key_file), policy=_policy(policy_file) if policy_file else None,
        known=known.read_text() if known else "",
    )  # fmt: skip
    click.echo(f"verified: {len(names)} files of a release that the key signed")
    click.echo("cosigned by the quorum" if policy_file else "witnesses: not asked for (--policy)")
    if files_only:
        return
    wheels = [name for name in names if name.endswith(".whl")]
    if len(wheels) != 1:
        raise LedgerError(f"{len(wheels)} wheels in this release")
    bad = release.foreign(folder / wheels[0], installed)
    for line in bad:
        click.echo(f"FAILED  {line}")
    if bad:
        raise LedgerError(f"installed: {len(bad)} files are not those of the release")
    click.echo("installed: every file is the release's, and there is no other")


def _verifier(path: Path) -> note.Verifier:
    try:
        return note.Verifier.parse(read_token(path))
    except ValueError as error:
        raise ConfigurationError(f"{path.name}: {error}") from error


def _policy(path: Path) -> policy.Policy:
    try:
        return policy.parse(path.read_bytes(), lab=False)
    except ValueError as error:
        raise ConfigurationError(f"{path.name}: {error}") from error
