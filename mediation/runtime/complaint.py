"""A complaint about the configuration, with the place as the file has it, for whoever wrote the file.

Answers for words alone; what is wrong is the decoder's to say (msgspec), which names places as paths of a program.
"""

from __future__ import annotations

import re
from typing import Final

_PLACE: Final = re.compile(r"at `\$\.(?P<table>[a-z_]+)(?:\[(?P<number>[0-9]+)\])?(?:\.(?P<key>[a-z_0-9.\[\]]+))?`")


def located(said: str) -> str:
    """The decoder's message with its place in words: "at `$.iap[0].side`" is "side in [[iap]] number 1"."""
    return _PLACE.sub(_words, said)


def _words(found: re.Match[str]) -> str:
    table, number, key = found["table"], found["number"], found["key"]
    one = f"[{table}]" if key else table
    where = f"[[{table}]] number {int(number) + 1}" if number is not None else one
    return f"{key} in {where}" if key else f"in {where}"
