"""Who is who in a SIP message: T1.678 PartyIdentity out of headers, with what the network vouches for kept apart from
what a party merely claims.

Answers for the parties, displays and redirection facts of one message; it remembers nothing and decides nothing about
the call. The network's word is P-Asserted-Identity (RFC 3325), or Remote-Party-ID from older networks; From is only a
claim, so its number becomes `user_provided`, never `dn`. A caller who withholds identity (RFC 3323 Privacy, or an
anonymous From) is named by the network's word or not at all.
"""

from __future__ import annotations

from typing import Final

import msgspec

from mediation.core.message import cdc
from mediation.core.network.identity import Plan, canonical
from mediation.core.network.sip import NameAddr, SipMessage, name_addrs
from mediation.core.target import KeySet

MAX_DIVERSIONS: Final = 20  # RFC 3261's Max-Forwards of 70 allows more; no network forwards so often
MAX_KEYS_REMEMBERED: Final = 1024  # canonical forms kept, for speed

# Headers that say who took part, as evidence beside the decoded parties; `minimisation` judges each line again.
EVIDENCE: Final[dict[str, str]] = {
    "from": "From",
    "to": "To",
    "p-asserted-identity": "P-Asserted-Identity",
    "remote-party-id": "Remote-Party-ID",
    "privacy": "Privacy",
    "diversion": "Diversion",
    "history-info": "History-Info",
    "p-called-party-id": "P-Called-Party-ID",
    "p-access-network-info": "P-Access-Network-Info",
    "geolocation": "Geolocation",
}
WITHHOLDING: Final = frozenset({"id", "user", "header", "full", "uri", "name", "yes"})  # of Privacy and Remote-Party-ID
DIALABLE: Final = frozenset("+0123456789*#-.()")
REDIRECTED: Final = ";cause="  # RFC 4458: a URI parameter of whom a proxy redirected to


class Diversions(msgspec.Struct, frozen=True):
    """Who redirected a call before this message, newest first (RFC 5806 Diversion, or RFC 7044 History-Info)."""

    parties: tuple[NameAddr, ...] = ()
    count: int = 0
    reason: str | None = None

    def before_last(self) -> Diversions:
        """Without the newest."""
        return Diversions(self.parties[1:], max(0, self.count - 1))


class Directory:
    """The subjects of one task and the site's dial plan: turns URIs into keys and parties."""

    def __init__(self, subjects: tuple[str, ...], plan: Plan) -> None:
        self._plan = plan
        self._subjects = KeySet.of(subjects, plan)
        self._keys: dict[str, str] = {}
        self._covered: dict[str, bool] = {}

    def key(self, uri: str) -> str:
        """One text for one subscriber; the URI itself when it names none."""
        known = self._keys.get(uri)
        if known is None:
            if len(self._keys) >= MAX_KEYS_REMEMBERED:
                self._keys.clear()
            known = self._keys[uri] = canonical(uri, self._plan) or uri
        return known

    def number(self, uri: str) -> str | None:
        """The E.164 digits of a URI (without +), or None when it holds no number that the dial plan completes."""
        key = self.key(uri)
        return key[5:] if key.startswith("tel:+") else None

    def is_subject(self, uri: str) -> bool:
        known = self._covered.get(uri)
        if known is None:
            if len(self._covered) >= MAX_KEYS_REMEMBERED:
                self._covered.clear()
            known = self._covered[uri] = self._subjects.covers(uri, self._plan)
        return known

    def vouched(self, uri: str, display: str = "") -> cdc.Party:
        """A party by the network's word, or a destination that the network routes to."""
        return cdc.Party(dn=self.number(uri), generic_name=(display,) if display else (), uri=(uri,) if uri else ())

    def claimed(self, address: NameAddr) -> cdc.Party:
        """A party by its own word."""
        if self.is_subject(address.uri):  # the match at the access point made it more than a claim
            return self.vouched(address.uri, address.display)
        return cdc.Party(
            user_provided=self.number(address.uri) or _dialed(address.uri),
            generic_name=(address.display,) if address.display else (),
            uri=(address.uri,),
        )

    def calling(self, message: SipMessage) -> cdc.Party:
        """The calling party of a request: the network's word first, a claim only when it is not withheld."""
        asserted = _asserted(message)
        if asserted:
            number = next(filter(None, (self.number(each.uri) for each in asserted)), None)
            names = tuple(dict.fromkeys(each.display for each in asserted if each.display))
            claim = self.key(message.from_.uri) not in {self.key(each.uri) for each in asserted}
            return cdc.Party(
                dn=number,
                generic_name=names,
                uri=tuple(dict.fromkeys(each.uri for each in asserted)),
                sip_header=(f"From: {message.from_.raw}",) if claim else (),
            )
        if withheld(message) and not self.is_subject(message.from_.uri):
            return cdc.Party()
        return self.claimed(message.from_)

    def called(self, message: SipMessage) -> cdc.Party:
        """Whom a request from the caller asks for."""
        for each in addresses(message, "p-called-party-id"):
            return self.vouched(each.uri)
        if self.is_subject(message.to.uri) and not self.is_subject(message.request_uri):
            return self.vouched(message.to.uri)  # the Request-URI is a contact or a later target already
        return self.vouched(message.request_uri)

    def connected(self, message: SipMessage) -> cdc.Party | None:
        """Who answered, by the network's word in the response; None when it does not say."""
        asserted = _asserted(message)
        if not asserted:
            return None
        number = next(filter(None, (self.number(each.uri) for each in asserted)), None)
        return cdc.Party(
            dn=number,
            generic_name=tuple(dict.fromkeys(each.display for each in asserted if each.display)),
            uri=tuple(dict.fromkeys(each.uri for each in asserted)),
        )

    def display(self, message: SipMessage, diversions: Diversions) -> cdc.TerminalDisplay:
        """What the INVITE gives a called subject's terminal to show."""
        redirecting = diversions.parties
        more = {}
        if redirecting:
            more = {
                "original_called_number": self._shown(redirecting[-1].uri),
                "last_redirecting_number": self._shown(redirecting[0].uri),
                "redirecting_name": redirecting[0].display or None,
                "redirecting_reason": diversions.reason,
            }
        if withheld(message):
            name = message.from_.display if anonymous(message.from_) else ""
            return cdc.TerminalDisplay(general_display="private", calling_name=name or None, **more)
        asserted = _asserted(message)
        shown = asserted[0] if asserted else message.from_
        number = next(filter(None, (self.number(each.uri) for each in asserted)), None)
        return cdc.TerminalDisplay(
            calling_number=number or self._shown(shown.uri),
            calling_name=shown.display or message.from_.display or None,
            **more,
        )

    def redirected_from(self, diversions: Diversions) -> cdc.RedirectedFrom | None:
        """TerminationAttempt.redirectedFromInfo, when the call was redirected to the subject."""
        if not diversions.parties:
            return None
        first, last = diversions.parties[-1], diversions.parties[0]
        return cdc.RedirectedFrom(
            last_redirecting=self.vouched(last.uri, last.display),
            original_called=self.vouched(first.uri, first.display),
            num_redirections=diversions.count,
        )

    def _shown(self, uri: str) -> str:
        return self.number(uri) or _dialed(uri) or uri


def addresses(message: SipMessage, header: str) -> list[NameAddr]:
    """All addresses in a header that may occur several times or hold a list."""
    return [each for value in message.all(header) for each in name_addrs(value)]


def anonymous(address: NameAddr) -> bool:
    """RFC 3323 section 4.1.1.3 and RFC 3325: a From that hides who calls."""
    user, _, host = address.uri.partition(":")[2].rpartition("@")
    return host.lower().startswith("anonymous.invalid") or user.lower() == "anonymous"


def withheld(message: SipMessage) -> bool:
    """The caller asked for its identity not to be shown."""
    if anonymous(message.from_):
        return True
    for value in message.all("privacy"):
        if any(word.strip().lower() in WITHHOLDING for word in value.replace(",", ";").split(";")):
            return True
    return any(
        (each.parameter("privacy") or "").lower() in WITHHOLDING for each in addresses(message, "remote-party-id")
    )


def evidence(message: SipMessage) -> tuple[str, ...]:
    """Header lines that identify the parties, as received."""
    return tuple(f"{EVIDENCE[name]}: {value}" for name, value in message.headers if name in EVIDENCE)


def dialed(uri: str) -> str:
    """What the user entered, as far as a Request-URI tells: the digits as dialed, or the whole address."""
    return _dialed(uri) or uri


def diversions(message: SipMessage) -> Diversions:
    """Who redirected this call so far. Diversion is believed before History-Info: it names redirections only."""
    listed = addresses(message, "diversion")[:MAX_DIVERSIONS]
    if listed:
        counts = [each.parameter("counter") or "" for each in listed]
        total = sum(int(count) if count.isascii() and count.isdigit() and len(count) < 3 else 1 for count in counts)
        return Diversions(tuple(listed), max(total, len(listed)), listed[0].parameter("reason"))
    history = addresses(message, "history-info")[:MAX_DIVERSIONS]
    # An entry says of itself that it is a redirection: RFC 7044 "mp", RFC 4458 "cause". The entry before it redirected.
    hops = [at for at, each in enumerate(history) if at and _redirected_to(each)]
    if not hops:
        return Diversions()
    return Diversions(tuple(history[at - 1] for at in reversed(hops)), len(hops), None)


def _redirected_to(entry: NameAddr) -> bool:
    return entry.parameter("mp") is not None or REDIRECTED in entry.uri.lower()


def _asserted(message: SipMessage) -> list[NameAddr]:
    for name in ("p-asserted-identity", "remote-party-id"):
        found = addresses(message, name)
        if found:
            return [each for each in found if not anonymous(each)]
    return []


def _dialed(uri: str) -> str | None:
    """The user part of a URI when it is something that can be dialed."""
    scheme, _, rest = uri.partition(":")
    user = rest if scheme.lower() == "tel" else rest.rpartition("@")[0].partition(":")[0]
    user = user.partition(";")[0]
    if not user or any(each not in DIALABLE for each in user) or not any(each in "0123456789*#" for each in user):
        return None
    return user
