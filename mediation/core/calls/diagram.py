"""The transition table of the call model as a picture, so that the documentation cannot drift from the code.

Answers for Mermaid text; it draws `transitions.ROWS`, without the states that a call of that role never reaches.
"""

from __future__ import annotations

from mediation.core.calls.dialog import State
from mediation.core.interface.x2 import Role
from mediation.core.transitions import ROWS, Row


def diagram(role: Role) -> str:
    """The calls of a subject in that role (CALLING or CALLED) as a Mermaid state diagram."""
    rows = ROWS[role]
    known = reachable(rows)
    lines = ["stateDiagram-v2", "    [*] --> idle"]
    for row in rows:
        label = row.event.value + (" / " + ", ".join(word.value for word in row.say) if row.say else "")
        for state in row.states:
            if state in known:
                lines.append(f"    {state.value} --> {(row.to or state).value}: {label}")
    return "\n".join(lines) + "\n"


def reachable(rows: tuple[Row, ...]) -> set[State]:
    """The states that these rows can lead to."""
    known = {State.IDLE}
    grown = True
    while grown:
        before = len(known)
        for row in rows:
            if row.to is not None and known & set(row.states):
                known.add(row.to)
        grown = len(known) > before
    return known
