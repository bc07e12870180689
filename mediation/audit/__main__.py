"""`python3 audit.pyz verify EXPORT`, `sample EXPORT --seed-file FILE`, `show EXPORT --entry N` or `--case CASE`.

Exit status: 0 clean, 1 anomalies or forged (the first bad entry on standard error, one line), 2 wrong usage or nothing
that can be judged. Each command judges the whole export first: what it shows of it is worth what the status says.
"""

from __future__ import annotations

import argparse
import datetime
import hashlib
import io
import json
import platform
import sys
import traceback
from collections.abc import Sequence
from pathlib import Path

import cryptography

from mediation.audit import archive, look, page, sample, verdict

MAX_FILE = 1 << 20
COMMANDS = (
    ("verify", "one page: anomalies first"), ("sample", "what a committed seed draws"),
    ("show", "an entry, or all of a case, in words"),
)  # fmt: skip


def main(words: Sequence[str] | None = None) -> int:
    """Runs one command; returns its exit status."""
    asked = _parser().parse_args(words)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # a name must not end it on a terminal of few letters
    try:
        return _run(asked)
    except BrokenPipeError:
        return 1
    except Exception as error:
        # Whoever made the export may have meant it to end here: it counts as damaged, in one line.
        at = traceback.extract_tb(error.__traceback__)[-1]
        where = f"{type(error).__name__} in {Path(at.filename).name}, line {at.lineno}"
        print(f"audit: damaged: this tool failed on it ({where}), and vouches for nothing in it", file=sys.stderr)
        return 1


def _run(asked: argparse.Namespace) -> int:
    try:
        found = verdict.judge(
            archive.load(asked.export), key=_text(asked.key), known=_text(asked.known),
            policy=None if asked.policy is None else _octets(asked.policy),
            timestamps=None if asked.timestamps is None else _octets(asked.timestamps),
        )  # fmt: skip
        kept = _text(asked.seed_file)
    except archive.Unreadable as error:
        print(page.plain(f"audit: {error}"), file=sys.stderr)
        return 1 if error.forged else 2
    seed: str | None = asked.seed if kept is None else kept.strip()
    count: int = asked.number
    if asked.json:
        print(json.dumps(verdict.as_json(found, seed, count), indent=1, sort_keys=True))
    elif asked.command == "show":
        lines = [line for index in asked.entry or () for line in look.entry(found.ledger, index)]
        lines += [line for name in asked.case or () for line in look.case(found.ledger, name)]
        print("\n".join(map(page.plain, lines)))
    elif asked.command == "sample" and seed is not None:
        made = verdict.drawn(found, seed, count)
        print("\n".join(page.plain(f"{each['entry']} {each['kind']} {each['case']}") for each in made["drawn"]))
        if not made["committed"]:
            print("audit: this seed was never committed", file=sys.stderr)
    else:
        print(page.page(found, seed, count, _source(asked.export)), end="")
    if found.forged:
        first = found.forged[0]
        where = f"entry {first.entries[0]}" if first.entries else "the export"
        print(page.plain(f"audit: {where}: {first.what}"), file=sys.stderr)
    uncommitted = asked.command == "sample" and seed is not None and not sample.committed(found.ledger.records, seed)
    return 0 if found.result == verdict.CLEAN and not uncommitted else 1


def _source(path: Path) -> list[str]:
    """What was judged, and with what: for whoever does it again."""
    now = datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%d %H:%M:%SZ")
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    return [
        f"Export {path.name}, {path.stat().st_size} octets, SHA-256 {digest}",
        f"read on {now} by this machine's clock, with Python {platform.python_version()}, "
        f"cryptography {cryptography.__version__}",
    ]


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="audit", description="Verifies an export of a ledger, offline.")
    commands = parser.add_subparsers(dest="command", required=True)
    for name, text in COMMANDS:
        command = commands.add_parser(name, help=text)
        command.add_argument("export", type=Path)
        command.add_argument("--key", type=Path, help="the ledger's public key, as the site published it")
        command.add_argument("--policy", type=Path, help="whose cosignatures you ask for (C2SP tlog-policy)")
        command.add_argument("--timestamps", type=Path, help="certificates of time-stamping authorities (PEM)")
        command.add_argument("--known", type=Path, help="an older checkpoint that you kept")
        command.add_argument("--json", action="store_true", help="everything, for programs")
        seeds = command.add_mutually_exclusive_group(required=name == "sample")
        seeds.add_argument("--seed", help="draws a sample: the seed itself")
        seeds.add_argument("--seed-file", type=Path, help="the same, the seed in a file")
        command.add_argument("--number", type=_several, default=10, help="how many are drawn (10)")
        if name == "show":
            shown = command.add_mutually_exclusive_group(required=True)
            shown.add_argument("--entry", type=int, action="append", help="its number; may be repeated")
            shown.add_argument("--case", action="append", help="a case identity; may be repeated")
    return parser


def _several(text: str) -> int:
    if not text.isascii() or not text.isdigit() or not 1 <= int(text) <= sample.MAX_DRAWN:
        raise argparse.ArgumentTypeError(f"a number from 1 to {sample.MAX_DRAWN}")
    return int(text)


def _octets(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(MAX_FILE)
    except OSError as error:
        raise archive.Unreadable(f"{path.name}: {error.strerror}") from error


def _text(path: Path | None) -> str | None:
    return None if path is None else _octets(path).decode("utf-8", "replace")


if __name__ == "__main__":
    sys.exit(main())
