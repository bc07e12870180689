"""`python3 audit.pyz verify EXPORT`, `python3 audit.pyz sample EXPORT --seed SEED`.

Exit status: 0 clean, 1 anomalies or forged (the first bad entry on standard error, one line), 2 wrong usage or nothing
that can be judged.
"""

from __future__ import annotations

import argparse
import json
import sys
import traceback
from collections.abc import Sequence
from pathlib import Path

from mediation.audit import archive, page, verdict

MAX_FILE = 1 << 20


def main(words: Sequence[str] | None = None) -> int:
    """Runs one command; returns its exit status."""
    asked = _parser().parse_args(words)
    try:
        return _run(asked)
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
    except archive.Unreadable as error:
        print(page.plain(f"audit: {error}"), file=sys.stderr)
        return 1 if error.forged else 2
    seed: str | None = asked.seed
    count: int = asked.number
    if asked.json:
        print(json.dumps(verdict.as_json(found, seed, count), indent=1, sort_keys=True))
    elif asked.command == "sample" and seed is not None:
        made = verdict.drawn(found, seed, count)
        print("\n".join(page.plain(f"{each['entry']} {each['kind']} {each['case']}") for each in made["drawn"]))
        if not made["committed"]:
            print("audit: this seed was never committed", file=sys.stderr)
            return 1
    else:
        print(page.page(found, seed, count), end="")
    if found.forged:
        first = found.forged[0]
        where = f"entry {first.entries[0]}" if first.entries else "the export"
        print(page.plain(f"audit: {where}: {first.what}"), file=sys.stderr)
    return 0 if found.result == verdict.CLEAN else 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="audit", description="Verifies an export of a ledger, offline.")
    commands = parser.add_subparsers(dest="command", required=True)
    for name, text in (("verify", "one page: anomalies first"), ("sample", "what a committed seed draws")):
        command = commands.add_parser(name, help=text)
        command.add_argument("export", type=Path)
        command.add_argument("--key", type=Path, help="the ledger's public key, as the site published it")
        command.add_argument("--policy", type=Path, help="whose cosignatures you ask for (C2SP tlog-policy)")
        command.add_argument("--timestamps", type=Path, help="certificates of time-stamping authorities (PEM)")
        command.add_argument("--known", type=Path, help="an older checkpoint that you kept")
        command.add_argument("--json", action="store_true", help="everything, for programs")
        command.add_argument("--seed", required=name == "sample", help="draws a sample")
        command.add_argument("--number", type=int, default=10, help="how many are drawn (10)")
    return parser


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
