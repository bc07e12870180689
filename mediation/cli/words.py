"""Signed things in the words of those who read them: what a token says before it is signed, what to do after a refusal.

For the terminal of the person who signs (an order's words name its subjects, and go nowhere else). Nothing here judges.
"""

from __future__ import annotations

import time
from typing import Any, Final

import msgspec

from mediation.cli.options import rfc3339
from mediation.core.authority import jws, term
from mediation.core.case import CarrierExtension, CarrierToken, LegalExtension, LegalToken
from mediation.core.check import Check
from mediation.core.interface.control import CaseView

CAPABILITIES: Final = {
    "call-data": "call-identifying information", "digits": "digits dialed during the call", "content": "content",
    "location": "location",
}  # fmt: skip
PROFILES: Final = {"t1678": "T1.678", "pcesp": "PCESP"}
LABEL: Final = 12  # columns

# What whoever reads the refusal can do. Checks that speak for themselves are not here.
NEXT: Final[dict[str, str]] = {
    Check.CODE_IDENTITY: "start the functions anew, so that the ledger says what runs (docs/OPERATING.md, Upgrade)",
    Check.KEY_DATES: "mediation person list shows whose keys count; a spare must be enrolled before it signs",
    Check.REQUEST: "mediation person list shows whose keys count, and for which role",
    Check.REQUEST_DATES: "look at this machine's clock",
    Check.COMMAND_DATES: "sign it again, and look at this machine's clock",
    Check.ACTIVATION: "mediation case list shows where it stands; what was never activated is withdrawn: order revoke",
    Check.ORDER_UNKNOWN: "mediation case list shows those that you may see",
    Check.CASE_LIVE: "end that order, or extend it",
    Check.PLAN: "mediation plan show says what is in force; plan draft, adopt and filed come before the first order",
    Check.SENIOR_OFFICER: "two executives appoint one: mediation person appoint --senior",
    Check.AGENCY_CONTACT: "mediation person contact registers it; it counts a day later",
    Check.CALL_BACK: "call the agency at the directory's number, then mediation order call-back",
    Check.UNMATCHABLE: "write it as tel:+12025550123 or sip:user@host; [dial_plan] completes short numbers",
    Check.SUBJECTS: "write each as tel:+12025550123 or sip:user@host",
    Check.CAPABILITIES: "every order has --capability call-data; others are named beside it",
    Check.TERM: "shorten --end; an extension is an order of its own (mediation order extend)",
    Check.DDE_CAPABILITY: "the court's order must give it: a new order with --capability digits",
    Check.WITNESSES_AWAY: "reach the witnesses' administrators; stopping works meanwhile",
    Check.CLOCK: "run chrony or ptp4l",
    Check.EXPIRED: "look at --start and --end, which are UTC unless they say another zone",
}


def refusal(check: str) -> str:
    """What to do, with its separator; nothing for a check that says it itself."""
    found = NEXT.get(check)
    return f": {found}" if found else ""


def moment(seconds: int) -> str:
    """A time in UTC, and as a clock on this machine's wall shows it."""
    here = time.localtime(seconds)
    return rfc3339(seconds) + (time.strftime("  (%a %d %b %Y %H:%M %Z)", here) if here.tm_gmtoff else "")


def token(text: str) -> list[str]:
    """A token or a draft, a line for each fact; none for a text that is neither."""
    octets = text.encode() if text.startswith("{") else jws.split(text).payload
    try:
        match msgspec.json.decode(octets, type=dict[str, Any]).get("type"):
            case "legal":
                return order(msgspec.json.decode(octets, type=LegalToken))
            case "carrier":
                return carrier(msgspec.json.decode(octets, type=CarrierToken))
            case "legal-extension":
                return extension(msgspec.json.decode(octets, type=LegalExtension))
            case "carrier-extension":
                return approval(msgspec.json.decode(octets, type=CarrierExtension))
    except (msgspec.MsgspecError, UnicodeDecodeError):
        pass
    return []


def case(view: CaseView, left: str) -> list[str]:
    """Where an order stands, and nothing of its subjects."""
    facts: list[tuple[str, Any]] = [
        ("authority", view.authority),
        ("gives", ", ".join(CAPABILITIES.get(each, each) for each in view.capabilities)),
        ("digits", "extracted now" if view.dde else "not extracted now"),
        ("from", moment(view.not_before_s)),
        ("until", moment(view.not_after_s) + (f": {left}" if left else "")),
        ("extensions", f"{view.extensions}; the last {view.extension_sha256}" if view.extensions else "none"),
        ("agency", f"{view.agency}, {PROFILES.get(view.profile, view.profile)}"),
        ("last act", f"{view.last_act}, number {view.sequence}" if view.sequence else "none: not activated yet"),
        ("legal", view.legal_sha256), ("carrier", view.carrier_sha256), ("XID", view.xid),
    ]  # fmt: skip
    return _lines(f"order {view.case}: {view.state}", facts, lab=view.lab)


def order(said: LegalToken) -> list[str]:
    """What the court's order is, as the legal reviewer attests it."""
    to = said.destination
    facts: list[tuple[str, Any]] = [("authority", said.authority)]
    facts += [("subject", each) for each in said.subjects]
    facts += [
        ("gives", ", ".join(CAPABILITIES.get(each, each) for each in said.capabilities)),
        ("from", moment(said.not_before_s)),
        ("until", f"{moment(said.not_after_s)}: {term.left(said.not_after_s - said.not_before_s)}"),
        ("agency", said.agency), ("delivered", f"{to.host} port {to.port}, {PROFILES.get(said.profile, said.profile)}"),
        ("", f"to certificate {to.certificate_sha256}"),
    ]  # fmt: skip
    if to.content is not None:
        facts.append(("content", f"{to.content.host} port {to.content.port}, {to.content.form}, {to.content.channels}, "
                                 f"{to.content.maximum} calls at once"))  # fmt: skip
    facts += [
        ("court", said.court), ("judge", said.judge), ("presented", said.presenting_officer),
        ("document", said.document_sha256),
    ]  # fmt: skip
    return _lines(f"order {said.case}", facts, lab=said.lab)


def carrier(said: CarrierToken) -> list[str]:
    """What the carrier authorizer adds."""
    facts = [
        ("order", said.legal_sha256), ("policies", said.policy_sha256),
        ("at", ", ".join(said.iaps) if said.iaps else "every intercept access point of the site"),
    ]  # fmt: skip
    return _lines(f"carrier authorization of {said.case}", facts, lab=said.lab)


def extension(said: LegalExtension) -> list[str]:
    """What the court's extension changes: the end."""
    facts = [
        ("until", moment(said.not_after_s)), ("court", said.court), ("judge", said.judge),
        ("document", said.document_sha256), ("order", said.legal_sha256),
        ("after", said.previous_sha256 or "the order itself: the first extension"),
    ]  # fmt: skip
    return _lines(f"extension of {said.case}", facts, lab=said.lab)


def approval(said: CarrierExtension) -> list[str]:
    """The carrier authorizer's approval of an extension."""
    facts = [("order", said.carrier_sha256), ("extension", said.extension_sha256), ("policies", said.policy_sha256)]
    return _lines(f"carrier authorization of an extension of {said.case}", facts, lab=said.lab)


def _lines(title: str, facts: list[tuple[str, Any]], *, lab: bool) -> list[str]:
    head = plain(title) + ("  LAB" if lab else "")
    return [head, *(f"  {name.ljust(LABEL)}{plain(str(said))}" for name, said in facts)]


def plain(text: str) -> str:
    """What a terminal would take for a command, or for another order of reading, stands as its escape."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)
