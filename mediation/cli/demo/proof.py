"""The demo's last two proofs: nothing of a third party is in any file, and an altered ledger is refused by entry.

Both read files as anybody with a disk could: no function of the daemon is asked.
"""

from __future__ import annotations

import shutil
from pathlib import Path

from mediation.administration.keys import ledger_files
from mediation.administration.ledger import tiles, verify
from mediation.cli.demo.people import Person
from mediation.cli.demo.screen import Screen
from mediation.cli.demo.site import LabSite
from mediation.core.ledger import entry
from mediation.runtime import config
from mediation.runtime.keys import read_verifier


def wanted(people: list[Person], call_ids: list[str]) -> list[bytes]:
    """What to look for: numbers (national, which E.164 contains), names, addresses and Call-IDs.

    Each as text and as the hexadecimal of that text; numbers also as packed decimal, both nibble orders (TBCD).
    """
    numbers = [person.number.removeprefix("+1") for person in people]
    texts = [*numbers, *(text for person in people for text in (person.name, person.address)), *call_ids]
    plain = [text.encode() for text in texts]
    packed = [bytes.fromhex(number) for number in numbers]
    swapped = [bytes((octet & 15) << 4 | octet >> 4 for octet in number) for number in packed]
    return [*plain, *(text.hex().encode() for text in plain), *packed, *swapped]


def search(folder: Path, wanted: list[bytes]) -> tuple[int, int, list[str]]:
    """Looks into every octet of every file below `folder`. Returns (files, octets, hits as FILE@OFFSET)."""
    files, octets, hits = 0, 0, []
    for path in sorted(folder.rglob("*")):
        if path.is_symlink() or not path.is_file():
            continue  # sockets have no content
        content = path.read_bytes()
        files, octets = files + 1, octets + len(content)
        for word in wanted:
            at = content.find(word)
            if at >= 0:
                hits.append(f"{path.relative_to(folder)}@{at}")
    return files, octets, hits


def nothing_of_others(
    screen: Screen, site: LabSite, words: list[bytes], case: str, *, agency: Path, traffic: Path
) -> None:
    """Searches the site and what the agency got for `words`, which are Carol's and Dave's; with controls.

    `traffic` holds what the telephones sent; the same search must find the words there.
    """
    files, octets, hits = search(site.path, words)
    for hit in hits[:10]:
        screen.note(f"found at {hit}")
    screen.check("no number, name, address or Call-ID of theirs in any file or log of the site", not hits,
                 f"{files} files, {octets:,} octets, {len(words)} spellings, {len(hits)} found")  # fmt: skip
    content = agency.read_bytes()
    screen.check("nothing of theirs at the agency", not any(word in content for word in words),
                 f"{len(content):,} octets")  # fmt: skip
    control = search(traffic, words)[2]
    screen.check("the same search finds them in what their telephones sent", bool(control), f"{len(control)} found")
    screen.check(f"and finds the order's case, {case}, in what the agency got", case.encode() in content,
                 f"{content.count(case.encode())} times")  # fmt: skip


def ledger(screen: Screen, site: LabSite, scratch: Path) -> None:
    """Verifies the site's ledger, then an altered copy of the site."""
    report = site.command("ledger", "verify", "--site", str(site.path))
    for line in report.strip().splitlines()[:6]:
        screen.note(line)
    screen.check("the ledger is what its signed checkpoint says", True, "mediation ledger verify: status 0")
    copy = scratch / "tampered"
    shutil.copytree(site.path, copy, ignore=lambda folder, names: [n for n in names if not _plain(Path(folder) / n)])
    where = alter(copy / "ledger")
    screen.say(f"a copy of the site, in which one letter of {where} is changed, is given to the same command:")
    done = site.try_command("ledger", "verify", "--site", str(copy))
    complaint = (done.stderr.strip() or done.stdout.strip()).splitlines()
    screen.note(complaint[-1] if complaint else "(nothing)")
    screen.check("it is refused, and the first bad entry is named", done.returncode == 1 and "entry " in done.stderr,
                 f"status {done.returncode}")  # fmt: skip


def revoked_at(site: LabSite, case: str) -> float:
    """When the ledger took the revocation of a case's token in, seconds since 1970. Raises FileNotFoundError."""
    loaded = config.load(site.path)
    found: list[int] = []

    def read(_: tiles.Line, record: entry.Record) -> None:
        if isinstance(record, entry.Revoked) and record.case == case:
            found.append(record.time_us)

    verify.examine(ledger_files(loaded), read_verifier(loaded.keys_dir), on_record=read)
    if found:
        return found[0] / 1e6
    raise FileNotFoundError("the ledger has no revocation of the case")


def _plain(path: Path) -> bool:
    return path.is_dir() or path.is_file()


def alter(folder: Path) -> str:
    """Changes one letter of the last sealed record. Returns the file's name."""
    path = max((folder / "records").rglob("*.jsonl"))
    lines = path.read_bytes().splitlines(keepends=True)
    middle = len(lines[-1]) // 2
    other = b"A" if lines[-1][middle : middle + 1] != b"A" else b"B"
    lines[-1] = lines[-1][:middle] + other + lines[-1][middle + 1 :]
    path.write_bytes(b"".join(lines))
    return str(path.relative_to(folder))
