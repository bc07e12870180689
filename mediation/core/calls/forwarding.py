"""Does a call for the subject go to somebody else now, or only on to the subject's own phone?

Answers for that one judgement, and for the little it needs to remember: where the subjects are reached. A proxy
sends an INVITE on with another Request-URI in two cases that look alike: to a contact that the subject registered
(RFC 3261 section 16.5), and to somebody else (forwarding). Evidence in this order; the first that speaks decides:

  1. the Request-URI names a subject of the order: own;
  2. it is a contact that the subject registered, or used itself: own;
  3. the message says who redirected: a Diversion (RFC 5806) or History-Info (RFC 7044) entry more than before, or a
     cause= parameter (RFC 4458): elsewhere;
  4. it is what the subject's phone named in a 302, or the network announced forwarding (181): elsewhere;
  5. it is a telephone number, which by 1 is another than the subject's: elsewhere;
  6. its host is the subject's own domain by name, so it is another address of record: elsewhere;
  7. the subject's phone already refused or gave up, and the user part is new: elsewhere;
  8. otherwise it is a contact that was not learnt yet: own. To miss a forwarding that nothing in the signalling
     admits is better than to invent one; Answer still names whoever answered.

An INVITE that is the first of its call has nothing to compare with: only a Diversion or History-Info that names the
subject makes it a forwarded one.
"""

from __future__ import annotations

import ipaddress
from typing import Final

from mediation.core.calls.dialog import Call
from mediation.core.network.identity import host_of
from mediation.core.network.party import REDIRECTED, Directory, addresses, diversions
from mediation.core.network.sip import SipMessage

MAX_CONTACTS: Final = 256  # of all subjects of one order, the newest; ours
MAX_CONTACTS_IN_MESSAGE: Final = 16  # RFC 3261 sets no limit; registrars allow about ten


class Whereabouts:
    """Where the subjects of one task are reached, and the judgement that rests on it."""

    def __init__(self, directory: Directory) -> None:
        self._directory = directory
        self._contacts: dict[str, None] = {}

    def registered(self, message: SipMessage) -> None:
        """A 2xx to REGISTER lists all contacts of a subject (RFC 3261 10.3): the registrar's word, not a claim."""
        accepted = message.cseq_method == "REGISTER" and 200 <= message.status < 300
        if accepted and self._directory.is_subject(message.to.uri):
            self.learn(message)

    def learn(self, message: SipMessage) -> None:
        """The contacts in a message that comes from a subject's phone, or from its registrar."""
        for each in addresses(message, "contact")[:MAX_CONTACTS_IN_MESSAGE]:
            self.remember(each.uri)

    def remember(self, uri: str) -> None:
        key = contact_key(uri)
        self._contacts.pop(key, None)
        if len(self._contacts) >= MAX_CONTACTS:
            del self._contacts[next(iter(self._contacts))]
        self._contacts[key] = None

    def elsewhere(self, call: Call, message: SipMessage) -> bool:
        """Whether this INVITE of a call for the subject goes to somebody else; the evidence in the order above."""
        uri = message.request_uri
        if self._directory.is_subject(uri) or contact_key(uri) in self._contacts:
            return False
        redirections = diversions(message)
        if not call.caller_tag:
            return bool(redirections.parties) and self._directory.is_subject(redirections.parties[0].uri)
        if redirections.count > call.diversions or REDIRECTED in uri.lower():
            return True
        key = self._directory.key(uri)
        if call.target is not None and (call.target.party is None or call.target.key == key):
            return True
        if key.startswith("tel:+"):
            return True
        host = host_of(uri) or ""
        if not _is_address(host) and host == host_of(message.to.uri):
            return True
        users = {_user(each.uri) for each in call.branches.values()}
        tried = any(each.done and each.subject for tag, each in call.branches.items() if tag != call.outer)
        return tried and _user(uri) not in users


def contact_key(uri: str) -> str:
    """user@host:port of a contact, so that parameters do not matter."""
    return uri.partition(":")[2].partition(";")[0].partition("?")[0].lower()


def _user(uri: str) -> str:
    return uri.partition(":")[2].rpartition("@")[0].partition(";")[0]


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host.strip("[]"))
    except ValueError:
        return False
    return True
