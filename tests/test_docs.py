"""What docs/ says of tables and checks is what the code says; run as a module, it writes docs/STATES.md anew."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

from mediation.core.calls.diagram import diagram
from mediation.core.case import LIFE
from mediation.core.check import Check
from mediation.core.interface.x2 import Role
from tests.command_lines import PROGRAM, wrong

DOCS = Path(__file__).parent.parent / "docs"
STATES = DOCS / "STATES.md"
# Folders of tests/ that are those of the program again.
MIRRORED = {each.name for each in (DOCS.parent / "mediation").iterdir()} | {"ext", "bench"}


def life() -> str:
    lines = ["stateDiagram-v2"]
    lines += [f"    {state.value} --> {to.value}: {event.value}" for (state, event), to in LIFE.items()]
    return "\n".join(lines) + "\n"


def states() -> str:
    def picture(text: str) -> str:
        return f"```mermaid\n{text}```\n"

    checks = "\n".join(f"| `{check}` | {check.sentence} |" for check in Check)
    return (
        "# States and checks\n\n"
        "Generated from the tables of the code by `python -m tests.test_docs`; a test compares.\n\n"
        f"## A call of a subject who calls (`mediation/core/transitions.py`)\n\n{picture(diagram(Role.CALLING))}\n"
        f"## A call of a subject who is called\n\n{picture(diagram(Role.CALLED))}\n"
        f"## An order (`mediation/core/case.py`)\n\n{picture(life())}\n"
        "## What can be wrong with an authority (`mediation/core/check.py`)\n\n"
        f"| check | in words |\n|---|---|\n{checks}\n"
    )


def test_the_states_in_the_docs_are_those_of_the_code() -> None:
    assert STATES.read_text() == states(), "run: python -m tests.test_docs"


def test_every_file_that_the_docs_name_exists() -> None:
    root = DOCS.parent
    named = {
        (page.name, path)
        for page in [*DOCS.glob("*.md"), root / "README.md"]
        for path in re.findall(r"\b((?:tests|mediation|ext|config|bench)/[\w./-]*\w)", page.read_text())
    }
    assert len(named) > 40
    missing = sorted(
        (page, path) for page, path in named if not (root / path).exists() and not list(root.glob(f"{path}*"))
    )
    assert not missing


def test_every_folder_is_named_where_the_architecture_is_told() -> None:
    text = (DOCS / "ARCHITECTURE.md").read_text()
    listed = subprocess.run(["git", "ls-files"], cwd=DOCS.parent, capture_output=True, text=True, check=True)
    folders = {each for file in listed.stdout.splitlines() for each in map(str, Path(file).parents)} - {".", "docs"}
    shared = {name for name in folders if name.startswith("tests/") and (DOCS.parent / name).name in MIRRORED}
    named = re.findall(r"`([\w./-]+)`", text) + re.findall(r"(?:mediation|config|ext|docs)[\w./-]*", text)
    names = {each.rstrip("/") for each in named} | {each.rstrip("/").split("/")[-1] for each in named}
    assert len(folders) > 50
    assert not {name for name in folders - shared if name not in names and name.split("/")[-1] not in names}


def in_blocks(text: str) -> list[str]:
    """Whole command lines of the pages' indented blocks: after a prompt of persons, or alone; several by `;`."""
    blocks = re.sub(r"\\\n +", " ", text)
    lines = re.findall(rf"^ {{4,}}(?:[a-z, ]+? )?({PROGRAM} .*)$", blocks, re.MULTILINE)
    return [each.strip() for line in lines for each in line.split(" # ")[0].split("; ")]


def inline(text: str) -> list[str]:
    """Those in a sentence, which may leave things out."""
    return [re.sub(r"\s+", " ", each) for each in re.findall(rf"`({PROGRAM}\s+[a-z][^`]*)`", text)]


@pytest.mark.parametrize("page", [*sorted(DOCS.glob("*.md")), DOCS.parent / "README.md"], ids=lambda page: page.name)
def test_every_command_line_that_the_docs_have_is_one(page: Path) -> None:
    text = page.read_text()
    bad = [(line, why) for line in in_blocks(text) if "…" not in line and (why := wrong(line, whole=True))]
    bad += [(line, why) for line in inline(text) if (why := wrong(line.partition("…")[0].split("|")[0], whole=False))]
    assert not bad


def test_the_docs_are_read_for_their_command_lines() -> None:
    """Else the test above would hold nothing."""
    text = (DOCS / "OPERATING.md").read_text()
    blocks = in_blocks(text)
    assert len(blocks) > 40 and len(inline(text)) > 20
    assert any(each.startswith("mediation case extend") for each in blocks)
    assert wrong("mediation case extend --cases 26-M-17", whole=False) and wrong("mediation case extent", whole=False)
    assert wrong("mediation order extend legal.jws --end +30d", whole=True) == "without court"


if __name__ == "__main__":
    STATES.write_text(states())
