"""A memory of bounded size: what is new takes the place of what is oldest, and who asks is told what had to go."""

from __future__ import annotations

from collections import OrderedDict
from typing import TypeVar

KeyT = TypeVar("KeyT")
ValueT = TypeVar("ValueT")


def remember(memory: OrderedDict[KeyT, ValueT], key: KeyT, value: ValueT, limit: int) -> ValueT | None:
    """Puts `value` in as the newest; what it took the place of when there were `limit` others, else None."""
    evicted = None
    if key in memory:
        memory.move_to_end(key)
    elif len(memory) >= limit:
        _, evicted = memory.popitem(last=False)
    memory[key] = value
    return evicted
