"""REFER, Replaces and Join: what a party asks to be done with a call, and which dialog it points at.

Answers for reading those headers (RFC 3515 Refer-To, RFC 3891 Replaces, RFC 3911 Join, RFC 3892 Referred-By) and the
progress that a NOTIFY tells (RFC 3515 2.4.5, a sipfrag of RFC 3420); it may not judge which call is meant or what
becomes of it. Whatever does not parse counts as not said.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final
from urllib.parse import unquote

import msgspec

from mediation.core.network.sip import SipMessage, name_addrs

if TYPE_CHECKING:
    from mediation.core.calls.dialog import Call

MAX_URI_HEADERS: Final = 16  # of one Refer-To that are looked at; RFC 3261 sets no limit, real ones have one
# The header lines of a REFER that say what is asked, for SubjectSignal.refer and NetworkSignal.refer.
REFER_LINES: Final[dict[str, str]] = {
    "refer-to": "Refer-To",
    "referred-by": "Referred-By",
    "replaces": "Replaces",
    "target-dialog": "Target-Dialog",
    "refer-sub": "Refer-Sub",
}


class DialogId(msgspec.Struct, frozen=True):
    """A dialog as Replaces and Join name it: the tags are those of its receiver and of its other end."""

    call_id: str
    to_tag: str
    from_tag: str


class Referral(msgspec.Struct, kw_only=True, eq=False):
    """One REFER inside a call, until it is known what became of it."""

    host: Call  # the call in whose dialog it was sent
    by_subject: bool
    target: str  # Refer-To without the headers of the URI
    display: str
    method: str  # what the receiver shall send there: INVITE, or BYE to drop somebody from a conference
    replaces: DialogId | None
    settled: bool = False  # it was carried out, or it failed: nothing more comes of it


def referral(call: Call, message: SipMessage, *, by_subject: bool) -> Referral | None:
    """What a REFER asks for; None when it has no Refer-To that can be read."""
    found = next((each for value in message.all("refer-to") for each in name_addrs(value)), None)
    if found is None:
        return None
    target, _, headers = found.uri.partition("?")
    target, method = _without_method(target)
    return Referral(
        host=call,
        by_subject=by_subject,
        target=target,
        display=found.display,
        method=method,
        replaces=_embedded(headers, "replaces"),
    )


def refer_lines(message: SipMessage) -> tuple[str, ...]:
    """The lines of a REFER that tell what is asked, as received."""
    return tuple(f"{REFER_LINES[name]}: {value}" for name, value in message.headers if name in REFER_LINES)


def dialog_id(value: str | None) -> DialogId | None:
    """`call-id;to-tag=x;from-tag=y` of a Replaces or Join header; None when a part of it is missing."""
    if not value:
        return None
    call_id, *parameters = (part.strip() for part in value.split(";"))
    named = dict(part.partition("=")[::2] for part in parameters[:MAX_URI_HEADERS])
    tags = {name.strip().lower(): tag.strip() for name, tag in named.items()}
    if not call_id or not tags.get("to-tag") or not tags.get("from-tag"):
        return None
    return DialogId(call_id, tags["to-tag"], tags["from-tag"])


def is_about_call(message: SipMessage) -> bool:
    """REFER, the answer to it, and NOTIFY of how far it has come or who is in a conference (RFC 3515, RFC 4575)."""
    if "REFER" in (message.method, message.cseq_method):
        return True
    package = (message.first("event") or "").partition(";")[0].strip().lower() if message.method == "NOTIFY" else ""
    return package in ("refer", "conference")


def referred_as(message: SipMessage) -> tuple[str, int | None] | None:
    """(id parameter, status) of a NOTIFY about a REFER; the status is None when its body is no sipfrag. None for any
    other NOTIFY. The id is the CSeq of the REFER (RFC 3515 2.4.6), "" when there is none."""
    package, *parameters = (part.strip().lower() for part in (message.first("event") or "").split(";"))
    if package != "refer":
        return None
    identity = next((part[3:].strip() for part in parameters if part.startswith("id=")), "")
    words = message.body[:64].split(None, 2)
    if len(words) < 2 or words[0].upper() != b"SIP/2.0" or len(words[1]) != 3 or not words[1].isdigit():
        return identity, None
    return identity, int(words[1])


def _without_method(uri: str) -> tuple[str, str]:
    at = uri.lower().find(";method=")
    if at < 0:
        return uri, "INVITE"
    method, _, rest = uri[at + 8 :].partition(";")
    return uri[:at] + (f";{rest}" if rest else ""), method.upper()


def _embedded(headers: str, wanted: str) -> DialogId | None:
    """A header that a URI carries (RFC 3261 19.1.1)."""
    for pair in headers.split("&")[:MAX_URI_HEADERS]:
        name, _, value = pair.partition("=")
        if name.strip().lower() == wanted:
            return dialog_id(unquote(value))
    return None
