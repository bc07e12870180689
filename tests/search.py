"""Looks for a telephone number, a name or the subject of an order in octets, however it is spelt."""

from __future__ import annotations

import base64
import ctypes
import re
from collections.abc import Iterable, Iterator
from pathlib import Path


def spellings(number: str) -> dict[str, bytes]:
    """Patterns for an E.164 number of 11 digits or more, by its last ones: text, UTF-16, hexadecimal, base64, packed
    and telephony BCD."""
    digits = number.lstrip("+")[-11:]
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


MIN_DIGITS, SURE_DIGITS, MIN_WORD = 7, 11, 6  # shorter ones stand somewhere in any megabyte of hexadecimal


def subject_patterns(subject: str) -> dict[str, bytes]:
    """What `Finder` looks for: the spellings of a tel: or sip: URI's number, or of its user with the host. A number of
    fewer digits than SURE_DIGITS in text alone, for its packed forms are found in ciphertext by chance."""
    scheme, _, rest = subject.partition(":")
    address = rest.partition(";")[0].partition("?")[0]
    user, _, host = address.partition("@")
    digits = re.sub(r"[-.() +]", "", user)
    if digits.isascii() and digits.isdecimal():
        if len(digits) >= SURE_DIGITS:
            return spellings(digits)
        return {"digits": digits.encode()} if len(digits) >= MIN_DIGITS else {}
    return word_spellings(address) if scheme.startswith("sip") and host and len(address) >= MIN_WORD else {}


# memmem(3): 2 ms a megabyte for one number, against 3 with `in`; every test's site is searched.
_MEMMEM = ctypes.CDLL(None).memmem
_MEMMEM.restype = ctypes.c_void_p
_MEMMEM.argtypes = (ctypes.c_char_p, ctypes.c_size_t, ctypes.c_char_p, ctypes.c_size_t)


class Finder:
    """Finds the subjects of some orders; false when none of them is long enough to be looked for.

    Numbers of fewer digits than SURE_DIGITS count only where neither a digit nor a hexadecimal letter is beside them.
    """

    def __init__(self, subjects: Iterable[str]) -> None:
        patterns = {octets: name for each in subjects for name, octets in subject_patterns(each).items()}
        self._patterns = sorted(patterns.items())

    def __bool__(self) -> bool:
        return bool(self._patterns)

    def find(self, octets: bytes) -> set[str]:
        """The names of the spellings that are in it."""
        return {
            name
            for pattern, name in self._patterns
            if _MEMMEM(octets, len(octets), pattern, len(pattern))
            and (
                len(pattern) >= SURE_DIGITS - 1
                or not pattern.isdigit()
                or re.search(rb"(?<![0-9A-Fa-f])" + pattern + rb"(?![0-9A-Fa-f])", octets)
            )
        }


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
