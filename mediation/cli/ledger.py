"""`mediation ledger …`: verifies a ledger offline, exports it for an auditor, proves one entry.

`verify` needs no key but the ledger's public one, no network and no running function: a site, or an export on the
auditor's own machine.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

import click
import msgspec

from mediation.administration.keys import ledger_files
from mediation.administration.ledger import stamp_check, tiles, verify
from mediation.administration.ledger.stamps import ROOTS, read_roots
from mediation.administration.order.store import Store
from mediation.administration.records.export import plan_texts, withheld
from mediation.cli.options import (
    FILE,
    NEW_FILE,
    chosen_site,
    inquire,
    key_option,
    or_site_option,
    read_token,
    reason_option,
    rfc3339,
    site_option,
    write_new,
)
from mediation.core.case import Proof
from mediation.core.errors import ConfigurationError, LedgerError, RemoteProtocolError
from mediation.core.interface.control import Export, Part, Prove, Proved
from mediation.core.ledger import entry, merkle, note
from mediation.core.records import opening
from mediation.core.units import US
from mediation.runtime import config
from mediation.runtime.keys import read_policy, read_verifier


@click.group()
def group() -> None:
    """The ledger: verify, export, prove, stamps."""


@group.command("verify")
@or_site_option
@click.option("--export", "archive", type=FILE, help="An export instead of a site; needs --key.")
@click.option("--proof", type=FILE, help="The proof of one entry instead of a site; needs --key.")
@click.option("--key", type=FILE, help="The ledger's public key, as the site published it (ledger.pub).")
@click.option("--known", type=FILE, help="An older checkpoint that you kept: the ledger must still contain it.")
def verify_(
    *, folder: Path | None, archive: Path | None, proof: Path | None, key: Path | None, known: Path | None
) -> None:
    """Checks every entry of a ledger, an export or one proof; names the first bad one.

    \b
    mediation ledger verify --site DIR
    mediation ledger verify --export export.tar --key ledger.pub --known last-year.checkpoint
    mediation ledger verify --proof proof.json --key ledger.pub
    """
    folder = chosen_site(folder, archive, proof)
    if sum(given is not None for given in (folder, archive, proof)) != 1:
        raise click.UsageError("exactly one of --site, --export and --proof")
    site = config.load(folder) if folder is not None else None
    if key is not None:
        verifier = _verifier(key)
    elif site is not None:
        verifier = read_verifier(site.keys_dir)
    else:
        raise click.UsageError("--key is needed: whom would you believe?")
    if proof is not None:
        _check_proof(proof, verifier)
        return
    files: tiles.Files
    closed = ""
    if site is not None:
        files, closed = _open(site)
    else:
        assert archive is not None
        files = tiles.Archive(archive)
        if withheld(files):
            raise LedgerError("not all of it is opened in this export: use the offline verifier (mediation audit)")
    kept = read_token(known) + "\n" if known is not None else None
    report = verify.examine(files, verifier, known=kept)
    report.raise_first()
    if site is not None:
        _compare_with_store(site, report)
    head = report.head
    if closed:
        click.echo(f"verified: tree, tiles and heads of {head.size} entries of {head.origin}")
        click.echo(f"NOT OPENED: the records are sealed, and what they say was not looked at: {closed}")
        click.echo(f"root {head.root.hex()}")
        click.echo(verify.sentence(report.witnessed, read_policy(site) if site is not None else None))
        return
    click.echo(f"verified: {head.size} entries of {head.origin}, each as it was entered and in its order")
    if report.first_us is not None and report.last_us is not None:
        span = f"{rfc3339(report.first_us // US)} to {rfc3339(report.last_us // US)}"
        click.echo(f"entered from {span}; {report.signed_heads} signed heads, each contained in the next")
    click.echo(f"root {head.root.hex()}")
    click.echo("kinds: " + ", ".join(f"{kind} {count}" for kind, count in report.kinds.items()))
    click.echo(verify.sentence(report.witnessed, read_policy(site) if site is not None else None))


@group.command()
@site_option
@click.option("--out", required=True, type=NEW_FILE, help="The tar, a new file.")
@click.option("--open", "opened", multiple=True, help="Open only these records: a kind of entry, or case:CASE; none "
              "opens nothing of a case. May be repeated; all is opened without it.")  # fmt: skip
@click.option("--certifications", is_flag=True, help="With the certifications; fields (i), (iii), (iv) stay masked.")
@click.option("--field", "unmasked", multiple=True, type=click.Choice(sorted(opening.MASKED)),
              help="Open this field of them too. With all three, texts and signatures are there as well.")  # fmt: skip
@key_option
@reason_option
def export(
    *, folder: Path, out: Path, opened: tuple[str, ...], certifications: bool, unmasked: tuple[str, ...],
    key: str | None, reason: str | None,
) -> None:  # fmt: skip
    """Writes a tar for an auditor: `verify --export` and the offline verifier need nothing else. It is entered.

    \b
    mediation ledger export --site DIR --out export.tar --key aude.key --reason "yearly audit"
    """
    if out.exists():
        raise ConfigurationError(f"{out.name}: File exists")
    cases = tuple(each.removeprefix("case:") for each in opened if each.startswith("case:"))
    kinds = tuple(each for each in opened if not each.startswith("case:") and each != "none")
    if unknown := set(kinds) - entry.KINDS:
        raise click.UsageError(f"--open: {sorted(unknown)[0]} is no kind of entry")
    fields = tuple(each for each in opening.NUMBERS if each not in opening.MASKED or each in unmasked)
    certified = fields if certifications or unmasked else None
    wanted = Export(kinds=kinds, cases=cases, certified=certified) if opened else Export(certified=certified)
    answer = inquire(config.load(folder), wanted, key, reason)
    assert isinstance(answer, Part)
    write_new(out, answer.octets)
    click.echo(f"{out.name}: SHA-256 {hashlib.sha256(answer.octets).hexdigest()}", err=True)
    if not plan_texts(answer.octets):
        click.echo("it has no text of a plan: none was ever adopted at this site (mediation plan)", err=True)


@group.command()
@site_option
@click.argument("index", type=click.IntRange(min=0))
@click.option("--out", type=NEW_FILE, help="Instead of standard output.")
@key_option
@reason_option
def prove(folder: Path, index: int, out: Path | None, key: str | None, reason: str | None) -> None:
    """Prints the proof that entry INDEX stands in the ledger, for `verify --proof`. It is entered.

    \b
    mediation ledger prove --site DIR 28 --out proof.json --key aude.key --reason "entry 28 for the court"
    """
    answer = inquire(config.load(folder), Prove(index=index), key, reason)
    assert isinstance(answer, Proved)
    text = msgspec.json.format(msgspec.json.encode(answer.proof), indent=1).decode() + "\n"
    if out is None:
        click.echo(text, nl=False)
    else:
        write_new(out, text)


@group.command()
@site_option
@click.option(
    "--timestamps",
    "--roots",
    "roots",
    type=FILE,
    help="PEM certificates of the time-stamping authorities that you believe; the site's own otherwise.",
)
def stamps(folder: Path, roots: Path | None) -> None:
    """Checks every RFC 3161 time stamp: its token, and that the ledger contains the head that was stamped.

    \b
    mediation ledger stamps --site DIR --timestamps authorities.pem
    """
    site = config.load(folder)
    if roots is None and not (site.keys_dir / ROOTS).exists():
        raise ConfigurationError(f"keys/{ROOTS}: this site names no time-stamping authority; --timestamps does")
    believed = read_roots(roots or site.keys_dir / ROOTS)
    found = stamp_check.check(site.path, ledger_files(site), read_verifier(site.keys_dir), believed)
    for each in found:
        what = f"the ledger's first {each.size} entries" if each.size else "a document"
        click.echo(f"verified: entry {each.index}: {what}, stamped {rfc3339(each.time_s)} by {each.authority}")
    click.echo(f"{len(found)} time stamps")


def _open(site: config.Site) -> tuple[tiles.Folder, str]:
    """The ledger's files with their records opened, or sealed and why."""
    try:
        return ledger_files(site), ""
    except ConfigurationError as error:
        return tiles.Folder(site.ledger_dir), str(error)


def _verifier(path: Path) -> note.Verifier:
    try:
        return note.Verifier.parse(read_token(path))
    except ValueError as error:
        raise ConfigurationError(f"{path.name}: {error}") from error


def _check_proof(path: Path, verifier: note.Verifier) -> None:
    try:
        proof = msgspec.json.decode(path.read_bytes(), type=Proof)
        checkpoint = note.open_checkpoint(proof.checkpoint, verifier)
        leaf = merkle.leaf_hash(entry.commitment(bytes.fromhex(proof.salt), proof.record))
        siblings = [bytes.fromhex(node) for node in proof.path]
        root = merkle.root_from_inclusion(leaf, proof.index, checkpoint.size, siblings)
    except (OSError, ValueError, msgspec.MsgspecError, RemoteProtocolError) as error:
        raise LedgerError(f"proof: {error}") from error
    if root != checkpoint.root:
        raise LedgerError(f"entry {proof.index}: the record does not stand in the signed tree")
    click.echo(f"verified: entry {proof.index} of {checkpoint.origin} stands among its {checkpoint.size}")
    click.echo(proof.record)
    click.echo(verify.UNWITNESSED)


def _compare_with_store(site: config.Site, report: verify.Report) -> None:
    """The administrator's own memory of the head: it can show that the ledger was put back to an older state."""
    store = Store(site.store_path, None, readonly=True)
    try:
        least = store.head(report.head.origin)
    finally:
        store.close()
    if least is not None and (least.size > report.head.size or report.tree.root(least.size) != least.root):
        raise LedgerError(f"entry {min(least.size, report.head.size)}: the store knows of another head: rolled back")
