"""Whether what a signed object says is complete, bounded and within its type of legal authorization.

Answers for the form of each field by itself (47 CFR 1.20004(a)(1): what the certification must hold, the order must
say). Who signed, and what binds one object to another, is `authorization`'s. Raises AuthorizationError with the name of
a check, and never with what the field says.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Mapping

from mediation.core.authority.term import STATUTE, Terms
from mediation.core.case import (
    Authority,
    CallBack,
    Capability,
    CarrierExtension,
    CarrierToken,
    Destination,
    LegalExtension,
    LegalToken,
)
from mediation.core.check import Check
from mediation.core.errors import AuthorizationError

MAX_SUBJECTS = 64
MAX_SUBJECT_OCTETS = 255
MAX_IAPS = 64
MAX_CHANNELS = 10_000  # calls whose content one order delivers at once (ours)
MAX_YEAR_S = 32_503_680_000  # the year 3000: beyond it a time is a slip of the pen

CASE_IDENTITY = re.compile(r"[\x21-\x7e]([\x20-\x7e]{0,23}[\x21-\x7e])?")  # VisibleString SIZE(1..25), no outer blanks
AGENCY = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}")  # also the name of a folder: no separator, no leading dot
SUBJECT = re.compile(r"(tel|sips?):[\x21-\x7e]+", re.IGNORECASE)
LABEL = r"[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?"
HOST = re.compile(rf"(?=.{{1,253}}\Z){LABEL}(\.{LABEL})*")  # RFC 1123 §2.1
SHA256 = re.compile(r"[0-9a-f]{64}")
NONCE = re.compile(r"[0-9a-f]{32,64}")
MAX_WORDS = 200  # characters of a court, a judge, a person's name, a reason
# What is a letter, a mark or a symbol by its category and yet shows nothing: fillers, joiners, variation selectors
# (Unicode, DerivedCoreProperties.txt, Default_Ignorable_Code_Point), and the empty pattern of Braille.
_INVISIBLE = re.compile(
    "[\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u2800\u3164\ufe00-\ufe0f\uffa0\U000e0100-\U000e01ef]"
)
IAP = re.compile(r"[\x21-\x7e]{1,15}")  # iAPSystemId, VisibleString SIZE(1..15)

# What each type of legal authorization can never give. A pen register or a trap and trace device records dialing and
# signalling, not content (18 USC 3127(3), (4)), and gives no location (47 USC 1002(a)(2)).
FORBIDDEN: Mapping[Authority, frozenset[Capability]] = {
    Authority.PEN_REGISTER: frozenset({Capability.CONTENT, Capability.LOCATION}),
    Authority.TRAP_AND_TRACE: frozenset({Capability.CONTENT, Capability.LOCATION}),
    Authority.TITLE_III: frozenset(),
    Authority.FISA: frozenset(),
}


def legible(words: str) -> bool:
    """Whether words that are printed, or shown to a person, are what they look like: something, not too long, and no
    control, format, private or unassigned character, surrogate or separator (Unicode Cc, Cf, Co, Cn, Cs, Zl, Zp) in it;
    of the blanks (Zs) the space alone. Written right to left as it is stored, a name cannot pass for another one."""
    shown = 0 < len(words) <= MAX_WORDS and words.isprintable() and not words.isspace()
    return shown and (words.isascii() or _INVISIBLE.search(words) is None)


def check_legal(legal: LegalToken, terms: Terms = STATUTE) -> None:
    """What the order says is complete, bounded, and within its type of legal authorization."""
    if not CASE_IDENTITY.fullmatch(legal.case):
        raise AuthorizationError(Check.CASE_IDENTITY)
    if not AGENCY.fullmatch(legal.agency):
        raise AuthorizationError(Check.AGENCY)
    if not 0 < len(legal.subjects) <= MAX_SUBJECTS or len(set(legal.subjects)) != len(legal.subjects):
        raise AuthorizationError(Check.SUBJECTS)
    if not all(SUBJECT.fullmatch(uri) and len(uri) <= MAX_SUBJECT_OCTETS for uri in legal.subjects):
        raise AuthorizationError(Check.SUBJECTS)
    if not legal.capabilities or len(set(legal.capabilities)) != len(legal.capabilities):
        raise AuthorizationError(Check.CAPABILITIES)
    if not FORBIDDEN[legal.authority.ordinary].isdisjoint(legal.capabilities):
        raise AuthorizationError(Check.AUTHORITY)
    # At least call-identifying information is delivered: an order that does not give it is refused, not widened.
    if Capability.CALL_DATA not in legal.capabilities:
        raise AuthorizationError(Check.CAPABILITIES)
    if Capability.CONTENT in legal.capabilities and legal.destination.content is None:
        raise AuthorizationError(Check.CONTENT_MISSING)
    if legal.destination.content is not None and Capability.CONTENT not in legal.capabilities:
        raise AuthorizationError(Check.CONTENT_UNORDERED)
    check_destination(legal.destination)
    if not 0 <= legal.not_before_s < legal.not_after_s < MAX_YEAR_S:
        raise AuthorizationError(Check.WINDOW_ORDER)
    terms.check_window(legal.authority, legal.term_days, legal.not_before_s, legal.not_after_s)
    _check_words(legal.court, legal.judge, legal.presenting_officer)
    _check_marks(legal.document_sha256, legal.nonce)


def check_destination(destination: Destination) -> None:
    _check_address(destination.host, destination.port)
    if not SHA256.fullmatch(destination.certificate_sha256):
        raise AuthorizationError(Check.DESTINATION)
    content = destination.content
    if content is None:
        return
    _check_address(content.host, content.port)
    if not 0 < content.maximum <= MAX_CHANNELS or (content.host, content.port) == (destination.host, destination.port):
        raise AuthorizationError(Check.DESTINATION)


def _check_address(host: str, port: int) -> None:
    try:
        address = ipaddress.ip_address(host)
        if "%" in host or address.is_unspecified or address.is_multicast:
            raise AuthorizationError(Check.DESTINATION)
    except ValueError:
        # What looks like a mistyped IPv4 address must not become a name to be looked up.
        if not HOST.fullmatch(host) or host.rpartition(".")[2].isdigit():
            raise AuthorizationError(Check.DESTINATION) from None
    if not 0 < port < 1 << 16:
        raise AuthorizationError(Check.DESTINATION)


def check_carrier(carrier: CarrierToken) -> None:
    _check_marks(carrier.policy_sha256, carrier.nonce)
    if len(carrier.iaps) > MAX_IAPS or len(set(carrier.iaps)) != len(carrier.iaps):
        raise AuthorizationError(Check.IAPS)
    if not all(IAP.fullmatch(name) for name in carrier.iaps):
        raise AuthorizationError(Check.IAPS)


def check_legal_extension(extension: LegalExtension) -> None:
    if extension.not_after_s >= MAX_YEAR_S:
        raise AuthorizationError(Check.WINDOW_ORDER)
    _check_words(extension.court, extension.judge)
    _check_marks(extension.document_sha256, extension.nonce)


def check_carrier_extension(extension: CarrierExtension) -> None:
    _check_marks(extension.policy_sha256, extension.nonce)


def check_call_back(call_back: CallBack) -> None:
    _check_words(call_back.directory_number, call_back.answered_by)
    if not NONCE.fullmatch(call_back.nonce):
        raise AuthorizationError(Check.PARTICULARS)


def _check_words(*words: str) -> None:
    if not all(legible(text) for text in words):
        raise AuthorizationError(Check.PARTICULARS)


def _check_marks(sha256: str, nonce: str) -> None:
    if not SHA256.fullmatch(sha256) or not NONCE.fullmatch(nonce):
        raise AuthorizationError(Check.PARTICULARS)
