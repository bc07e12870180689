"""What leaves, octet for octet: every message and field, by every authority and set of capabilities, in both profiles.

Each kind of thing that an order may not be given stands in the messages as a word of its own; the octets are searched
for it. What is allowed is written out here once more, by the law and not by the table under test.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any

import msgspec
import pytest

from mediation.core.case import Authority, Capability
from mediation.core.message import ccc, cdc, encoding
from mediation.core.message.fitting import Adapted
from mediation.core.minimisation import Minimiser
from tests.core.test_minimisation import RECORDS

WORDS = "spoken-words"
PLACE = "hidden-place"
MEDIA = "m=audio 4000 RTP/SAVP 0"
KEYS = "inline:WVNfX19zZW1jdGwg"
CHANNEL = "0A0B0C0D"
DIGITS = "987654"
MARKS = (WORDS, PLACE, MEDIA, KEYS, CHANNEL, DIGITS)

LINES = (
    "From: <sip:a@h>", f"Subject: {WORDS}", f"Geolocation: <cid:{PLACE}>", f"Refer-To: <sip:b@h?body={WORDS}>",
    f"P-Access-Network-Info: 3GPP; cell={PLACE}",
)  # fmt: skip
HEAD = (
    "MESSAGE sip:b@h?subject={} SIP/2.0\r\nv: SIP/2.0/UDP h;branch=z9hG4bK1\r\nf: <sip:a@h>;tag=1\r\nt: <sip:b@h>\r\n"
)
TAIL = "Call-ID: c\r\nCSeq: 1 MESSAGE\r\n{}\r\nContent-Type: {}\r\nContent-Length: {}\r\n\r\n{}{}"


def signal(media_type: str, body: str) -> cdc.SignalingMessage:
    text = HEAD.format(WORDS) + TAIL.format("\r\n".join(LINES[1:]), media_type, len(body), body, WORDS)
    return cdc.SignalingMessage(octets=text.encode())


SIGNALS = (
    signal("text/plain", WORDS),
    signal("application/sdp", MEDIA + KEYS),
    signal("application/dtmf-relay", f"Signal={DIGITS}"),
    signal("application/pidf+xml", PLACE + WORDS),
    signal("multipart/mixed;boundary=b", "".join((WORDS, PLACE, MEDIA, KEYS, DIGITS))),
    cdc.SignalingMessage(octets=f"{WORDS}{PLACE}{MEDIA}{KEYS}{DIGITS}".encode()),
    cdc.SignalingMessage(protocol="H.323", octets=f"{WORDS}{PLACE}{MEDIA}{KEYS}{DIGITS}".encode()),
)
TEXTS = {
    "case_id": "CASE-1",
    "iap_system_id": "SBC1",
    "sdp": f"v=0\r\n{MEDIA}\r\na=crypto:1 AES_CM_128_HMAC_SHA1_80 {KEYS}\r\n",
    "body": WORDS.encode(),
    "body_headers": (f"Content-Description: {WORDS}",),
    "sip_headers": LINES,
    "sip_header": LINES,
    "refer": LINES,
    "signaling": SIGNALS,
    "uri": ("sip:a@h", f"sip:a@h?body={WORDS}"),
    "user_input": f"sip:b@h?subject={WORDS}",
    "translation_input": f"sip:b@h?subject={WORDS}",
    "digits": DIGITS,
    "form": ccc.Form.PACKETCABLE,
    "unavailability_reason": CHANNEL,
    "ip_address": "192.0.2.1",
    "media_of_subject": True,
}


def richest(record: type[Any]) -> Iterator[Any]:
    """`record` with every field filled; several when some of them exclude each other."""
    names = [field.name for field in msgspec.structs.fields(record)]
    types = {field.name: field.type for field in msgspec.structs.fields(record)}
    excluded: list[set[str]] = [set()]
    if record is ccc.Channel:
        excluded = [{"transmit", "receive"}, {"combined"}]
    if record is cdc.Origination:
        excluded = [{"user_input"}, {"translation_input"}]
    for without in excluded:
        yield record(**{name: filled(name, types[name]) for name in names if name not in without})


def filled(name: str, kind: Any) -> Any:
    if name in TEXTS:
        return TEXTS[name]
    found = getattr(kind, "__args__", (kind,))
    first = next(each for each in found if each is not type(None))
    if str(kind).startswith("tuple"):
        return (filled("", first),)
    if issubclass(first, cdc.Record):
        return next(richest(first))
    if issubclass(first, int):
        return 1 if first is int else first(1)
    return b"octets" if first is bytes else CHANNEL if name in ("combined", "transmit", "receive") else "text"


MESSAGES = [message for record in RECORDS if issubclass(record, cdc.Message) for message in richest(record)]
CAPABILITIES = [
    frozenset(each) for count in range(len(Capability) + 1) for each in itertools.combinations(Capability, count)
]


def lawful(authority: Authority, capabilities: frozenset[Capability]) -> set[str]:
    """18 USC 3121(c) and 3127(3); 47 USC 1002(a)(2)(B), (a)(4)(A); 18 USC 2518; 50 USC 1805 and 1842."""
    found = set()
    if Capability.DIGITS in capabilities:
        found.add(DIGITS)
    like = {  # an emergency gives what its own type gives, for 48 hours (18 USC 2518(7), 3125; 50 USC 1805(e))
        Authority.EMERGENCY_PEN_REGISTER: Authority.PEN_REGISTER,
        Authority.EMERGENCY_TRAP_AND_TRACE: Authority.TRAP_AND_TRACE,
        Authority.EMERGENCY_TITLE_III: Authority.TITLE_III,
        Authority.EMERGENCY_FISA: Authority.FISA,
    }
    authority = like.get(authority, authority)
    if authority in (Authority.PEN_REGISTER, Authority.TRAP_AND_TRACE):
        return found
    if Capability.LOCATION in capabilities:
        found.add(PLACE)
    if Capability.CONTENT in capabilities:
        found |= {WORDS, CHANNEL, MEDIA, KEYS}
    if authority is Authority.TITLE_III:
        found.add(MEDIA)
    return found


def marks(octets: bytes | None) -> set[str]:
    return {mark for mark in MARKS if octets is not None and mark.encode() in octets}


def encoded(message: cdc.Message | None, profile: encoding.Profile) -> bytes | None:
    return None if message is None else encoding.encode(message, profile, Adapted())


@pytest.mark.parametrize("profile", encoding.PROFILES.values(), ids=encoding.PROFILES)
@pytest.mark.parametrize("authority", Authority)
def test_no_octet_leaves_that_the_order_does_not_cover(authority: Authority, profile: encoding.Profile) -> None:
    seen: set[str] = set()
    for capabilities in CAPABILITIES:
        minimiser = Minimiser(authority, capabilities)
        allowed = lawful(authority, capabilities)
        for message in MESSAGES:
            octets = encoded(minimiser.apply(message), profile)
            found = marks(octets)
            assert found <= allowed, (message.name, sorted(capabilities))
            if isinstance(message, ccc.CCOpen | ccc.CCChange | ccc.CCClose | ccc.CCUnavailable | cdc.UuContent):
                content = Capability.CONTENT in capabilities and KEYS in lawful(authority, capabilities)
                assert octets is None or content, message.name
            seen |= found
    everything = lawful(authority, frozenset(Capability))
    lost = {PLACE, WORDS} if profile.name == "pcesp" else set()
    assert seen >= everything - lost  # the searched words do stand in the messages


def test_nothing_is_kept_from_an_order_for_everything() -> None:
    for message in MESSAGES:
        given = Minimiser(Authority.TITLE_III, frozenset(Capability)).apply(message)
        assert given is message
        assert encoded(given, encoding.DEFAULT_PROFILE) == encoded(message, encoding.DEFAULT_PROFILE)
    together = b"".join(encoded(message, encoding.DEFAULT_PROFILE) or b"" for message in MESSAGES)
    assert marks(together) == set(MARKS)


@pytest.mark.parametrize("profile", encoding.PROFILES.values(), ids=encoding.PROFILES)
def test_call_identifying_information_is_not_lost_on_the_way(profile: encoding.Profile) -> None:
    """A pen register gets each message that any order gets, but those about content."""
    minimiser = Minimiser(Authority.PEN_REGISTER, frozenset({Capability.CALL_DATA, Capability.DIGITS}))
    for message in MESSAGES:
        whole = encoded(message, profile)
        given = encoded(minimiser.apply(message), profile)
        content = isinstance(message, ccc.CCOpen | ccc.CCChange | ccc.CCClose | ccc.CCUnavailable | cdc.UuContent)
        if whole is not None and not content:
            told = isinstance(message, cdc.MediaAndAddressReporting) and profile.name == "pcesp"  # media alone
            assert (given is None) == told, message.name
