"""Looks for a telephone number in octets, however it is spelt."""

from __future__ import annotations

import base64
import re
from collections.abc import Iterable, Iterator
from pathlib import Path


def spellings(number: str) -> dict[str, bytes]:
    """Patterns for an E.164 number of 11 digits: text, UTF-16, hexadecimal, base64, packed and telephony BCD."""
    digits = number.lstrip("+")
    national = digits[1:]
    found = {
        "digits": national.encode(),
        "UTF-16 LE": national.encode("utf-16-le"),
        "UTF-16 BE": national.encode("utf-16-be"),
        "hexadecimal": national.encode().hex().encode(),
        "punctuated": f"{national[:3]}-{national[3:6]}-{national[6:]}".encode(),
        "BCD": bytes.fromhex(digits[:10]),
        "BCD, odd": bytes.fromhex(national),
        "TBCD": bytes.fromhex(_swapped(digits[:10])),
        "TBCD, odd": bytes.fromhex(_swapped(national)),
        "reversed": national[::-1].encode(),
    }
    for shift in range(3):
        # What of the encoding depends on the digits alone, at each of the three places that they can begin at.
        text = base64.b64encode(b"\0" * shift + national.encode())
        begin = (8 * shift + 5) // 6
        found[f"base64, {shift}"] = text[begin : (8 * (shift + len(national))) // 6]
    return found


def word_spellings(word: str) -> dict[str, bytes]:
    """Patterns for a name or a case identity: text in either case, UTF-16, hexadecimal, base64, reversed."""
    octets = word.encode()
    found = {
        "text": octets,
        "lower case": word.lower().encode(),
        "upper case": word.upper().encode(),
        "UTF-16 LE": word.encode("utf-16-le"),
        "UTF-16 BE": word.encode("utf-16-be"),
        "hexadecimal": octets.hex().encode(),
        "hexadecimal, upper case": octets.hex().upper().encode(),
        "reversed": octets[::-1],
    }
    for shift in range(3):
        text = base64.b64encode(b"\0" * shift + octets)
        found[f"base64, {shift}"] = text[(8 * shift + 5) // 6 : (8 * (shift + len(octets))) // 6]
    return found


def _swapped(digits: str) -> str:
    return "".join(digits[at + 1] + digits[at] for at in range(0, len(digits), 2))


class Search:
    """Finds any spelling of any of some numbers, and of `words`."""

    def __init__(self, numbers: Iterable[str], words: Iterable[str] = ()) -> None:
        self._names = [(number, name, octets) for number in numbers for name, octets in spellings(number).items()]
        self._names += [(word, name, octets) for word in words for name, octets in word_spellings(word).items()]
        self._pattern = re.compile(b"|".join(re.escape(octets) for _, _, octets in self._names))

    def octets(self, octets: bytes) -> set[str]:
        """The names of the spellings that are in it."""
        if not self._pattern.search(octets):
            return set()
        return {name for _, name, pattern in self._names if pattern in octets}

    def files(self, folder: Path, *but: str) -> Iterator[tuple[str, set[str]]]:
        """Each file below `folder`, but in the folders of these names, that says a number; names of files count too."""
        for path in sorted(folder.rglob("*")):
            place = path.relative_to(folder)
            if place.parts[0] in but:
                continue
            found = self.octets(str(place).encode())
            if path.is_file():
                found |= self.octets(path.read_bytes())
            if found:
                yield str(place), found
