"""From the subjects of an order to the keys that an access point arms.

Answers for refusing, when the order is provisioned, an identity that could never match or that names more than a
subject; it may not widen one. Keys are the canonical forms of `identity`, and two wildcards:
    sip:*@HOST      every user of a host: a trunk group (47 CFR 1.20004(a)(1)(i), circuit identification numbers)
    tel:+DIGITS*    every number that begins so: a block of numbers
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final

from mediation.core.errors import EncodingError
from mediation.core.network.identity import MAX_DIGITS, MAX_HOST_OCTETS, Plan, canonical, host_of

MIN_PREFIX_DIGITS: Final = 6  # a shorter prefix names a country or an area, not a subject

_PREFIX: Final = re.compile(r"tel:\+([0-9().-]+)\*", re.IGNORECASE)
_EVERY_USER: Final = "sip:*@"
_HOST: Final = re.compile(r"sips?:\*@([A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\])", re.IGNORECASE)


def match_keys(subject: str, plan: Plan) -> list[str]:
    """The keys under which a subject's messages are found.

    `subject` is a tel:, sip: or sips: URI of an order, sip:*@host for a trunk group, tel:+digits* for a block.
    Raises EncodingError (which does not repeat the identity) when nothing on the wire could ever match it, or when
    a block is so short that it names no subject.
    """
    subject = subject.strip()
    if prefix := _PREFIX.fullmatch(subject):
        digits = re.sub(r"[().-]", "", prefix[1])
        if len(digits) < MIN_PREFIX_DIGITS:
            raise EncodingError(f"subject: a block of numbers needs at least {MIN_PREFIX_DIGITS} digits")
        if len(digits) > MAX_DIGITS or digits.startswith("0"):
            raise EncodingError("subject: the block is outside of E.164")
        return [f"tel:+{digits}*"]
    if trunk := _HOST.fullmatch(subject):
        host = trunk[1].lower().removesuffix(".")
        if not host or len(host) > MAX_HOST_OCTETS:
            raise EncodingError("subject: the trunk group's host is not a host name")
        return [f"{_EVERY_USER}{host}"]
    if "*" in subject.partition("@")[0] and not subject.lower().startswith("tel:"):
        raise EncodingError("subject: a wildcard stands for the whole user part or not at all")
    scheme = subject.partition(":")[0].lower()
    if scheme not in ("tel", "sip", "sips"):
        raise EncodingError("subject: only tel:, sip: and sips: URIs can be matched")
    found = canonical(subject, plan)
    if found is None:
        raise EncodingError("subject: the URI has no user part or host that could appear in a message")
    if found.startswith(_EVERY_USER):  # written in escapes (RFC 3261 §19.1.2), and read as every user of the host
        raise EncodingError("subject: a wildcard stands for itself, not in escapes")
    if found.startswith("tel:") and not found.startswith("tel:+") and ";phone-context=" not in found:
        raise EncodingError("subject: a local number that the dial plan cannot complete to E.164")
    return [found]


class KeySet:
    """The keys of one task, for asking whether a URI of a message is a subject's (the call model does)."""

    def __init__(self, keys: Iterable[str]) -> None:
        self._exact = set()
        self._hosts = set()
        prefixes = []
        for key in keys:
            if key.startswith(_EVERY_USER):
                self._hosts.add(key.removeprefix(_EVERY_USER))
            elif key.startswith("tel:+") and key.endswith("*"):
                prefixes.append(key[:-1])
            else:
                self._exact.add(key)
        self._prefixes = tuple(prefixes)

    @classmethod
    def of(cls, subjects: Iterable[str], plan: Plan) -> KeySet:
        """The keys of an order's subjects. Raises EncodingError as `match_keys` does."""
        return cls(key for subject in subjects for key in match_keys(subject, plan))

    def covers(self, uri: str, plan: Plan) -> bool:
        """Whether `uri` names one of the subjects."""
        found = canonical(uri, plan)
        if found is not None and (found in self._exact or (self._prefixes and found.startswith(self._prefixes))):
            return True
        return bool(self._hosts) and host_of(uri) in self._hosts
