"""Conferences that a focus in the network mixes: how one is recognised, and who is in it by its own word.

Answers for reading RFC 4579 (the Contact of a focus has the parameter `isfocus`; the usual conference URIs begin with
"conf") and the conference document of RFC 4575 (NOTIFY, application/conference-info+xml); it may not judge what the
subject's call becomes. The document is cut with one linear pass: nothing is expanded, fetched or nested.
"""

from __future__ import annotations

import re
from typing import Final

import msgspec

from mediation.core.calls.forwarding import contact_key
from mediation.core.network.sip import SipMessage, name_addrs

MAX_MEMBERS: Final = 64  # parties of one conference that are remembered: as many as one message can name (MAX_ELEMENTS)
MAX_DOCUMENT: Final = 65_536  # octets of a conference document that are read: what fits into a datagram
INFO_TYPE: Final = "application/conference-info+xml"

_CONFERENCE_USER: Final = re.compile(r"conf(?:erence)?(?:[-_.=+0-9]|$)")
_ROOT: Final = re.compile(r"<(?:\w{1,32}:)?conference-info\s([^>]{0,1024})>")
_USER: Final = re.compile(r"<(?:\w{1,32}:)?user\s([^>]{0,1024})>")
_STATUS: Final = re.compile(r"<(?:\w{1,32}:)?status>\s{0,64}([\w-]{1,32})\s{0,64}</")
_DISPLAY: Final = re.compile(r"<(?:\w{1,32}:)?display-text>([^<]{0,256})</")
_ATTRIBUTE: Final = re.compile(r"([\w-]{1,32})\s{0,8}=\s{0,8}[\"']([^\"']{0,512})[\"']")
_PRESENT: Final = frozenset({"connected", "on-hold", "muted-via-focus"})  # RFC 4575 5.7.1: these are in it


class Member(msgspec.Struct, frozen=True):
    uri: str
    display: str
    present: bool


class Roster(msgspec.Struct, frozen=True):
    """One conference document. `full`: whoever is not listed is not in it."""

    version: int
    full: bool
    members: tuple[Member, ...]


def focus_of(message: SipMessage) -> str:
    """The key of the conference that this message's Contact is the focus of; "" when it is none."""
    for value in message.all("contact"):
        if "conf" not in value and "isfocus" not in value:
            continue
        for each in name_addrs(value):
            if each.parameter("isfocus") is not None or is_conference(each.uri):
                return contact_key(each.uri)
    return ""


def is_conference(uri: str) -> bool:
    """By its user part: `conf`, `conference`, `conf-factory`, `conf=123`, but not a name that begins alike."""
    return _CONFERENCE_USER.match(uri.partition(":")[2].partition("@")[0].lower()) is not None


def roster(message: SipMessage) -> Roster | None:
    """The conference document of a NOTIFY; None when it has none that can be read."""
    kind = (message.first("content-type") or "").partition(";")[0].strip().lower()
    if kind != INFO_TYPE or len(message.body) > MAX_DOCUMENT:
        return None
    text = message.body.decode("utf-8", "replace")
    root = _ROOT.search(text)
    if root is None:
        return None
    attributes = _attributes(root[1])
    version = attributes.get("version", "")
    members = []
    starts = list(_USER.finditer(text))[:MAX_MEMBERS]
    for at, start in enumerate(starts):
        part = text[start.end() : starts[at + 1].start() if at + 1 < len(starts) else len(text)]
        user = _attributes(start[1])
        found = _STATUS.findall(part)
        present = user.get("state") != "deleted" and (not found or any(each.lower() in _PRESENT for each in found))
        display = _DISPLAY.search(part)
        if user.get("entity"):
            members.append(Member(user["entity"], display[1].strip() if display else "", present))
    return Roster(
        version=int(version) if version.isascii() and version.isdigit() and len(version) < 10 else 0,
        full=attributes.get("state", "full") == "full",
        members=tuple(members),
    )


def _attributes(text: str) -> dict[str, str]:
    return {name: value for name, value in _ATTRIBUTE.findall(text)}
