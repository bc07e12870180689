"""What docs/ says of tables and checks is what the code says; run as a module, it writes docs/STATES.md anew."""

from __future__ import annotations

import re
from pathlib import Path

from mediation.core.calls.diagram import diagram
from mediation.core.case import LIFE
from mediation.core.check import Check
from mediation.core.interface.x2 import Role

DOCS = Path(__file__).parent.parent / "docs"
STATES = DOCS / "STATES.md"


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


if __name__ == "__main__":
    STATES.write_text(states())
