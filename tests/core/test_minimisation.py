"""The minimisation table: complete, and strict about what a pen register may be given."""

from __future__ import annotations

import inspect
import typing

import msgspec
import pytest

from mediation.core.case import Authority, Capability
from mediation.core.entitlement import FIELDS, VERDICTS, WHOLE, Kind, kind_of_line, table
from mediation.core.message import ccc, cdc
from mediation.core.minimisation import Minimiser

PEN = (Authority.PEN_REGISTER, Authority.TRAP_AND_TRACE)
EVERYTHING = frozenset(Capability)
CALL = cdc.CallIdentity(main="call", leg="leg")
SDP = cdc.Media(sdp="v=0\r\nm=audio 1 RTP/AVP 0\r\n", status=cdc.MediaStatus.REQUESTED)
HEADERS = (
    "From: <sip:a@h>",
    "P-Access-Network-Info: 3GPP-E-UTRAN-FDD; utran-cell-id-3gpp=secret",
    "Geolocation: <cid:secret@h>",
    "Subject: secret words",
)
PARTY = cdc.Party(dn="12015550123", uri=("sip:a@h", "sip:a@h?subject=secret"), sip_header=HEADERS)
SIGNAL = (
    b"MESSAGE sip:b@h?body=secret SIP/2.0\r\n"
    b"v: SIP/2.0/UDP h;branch=z9hG4bK1\r\nf: <sip:a@h>;tag=1\r\nTo: <sip:b@h>\r\n"
    b"Call-ID: c\r\nCSeq: 1 MESSAGE\r\nSubject: secret\r\nGeolocation: <cid:secret@h>\r\n"
    b"Reply-To: <sip:c@h?%62ody=secret>\r\n"
    b"Content-Type: text/plain\r\nl: 6\r\n\r\nsecret after the end: secret"
)
PREFIX = {"case_id": "C", "iap_system_id": "I", "timestamp_ns": 1}
RECORDS = [
    each
    for module in (cdc, ccc)
    for _, each in inspect.getmembers(module, inspect.isclass)
    if issubclass(each, cdc.Record) and each.__module__ == module.__name__
    if each not in (cdc.Record, cdc.Message, cdc.CallEvent)
]


def full(record: type[cdc.Record]) -> cdc.Record:
    """A record with every field filled, as rich as it can be."""
    values: dict[str, object] = {}
    for field in msgspec.structs.fields(record):
        values[field.name] = value_of(field.name, field.type)
    return record(**values)


def value_of(name: str, kind: object) -> object:
    options = [each for each in (typing.get_args(kind) or (kind,)) if each is not type(None) and each is not Ellipsis]
    first = options[0]
    if typing.get_origin(kind) is tuple:
        if name in ("sip_header", "sip_headers", "refer"):
            return HEADERS
        return (value_of(name, first),)
    if isinstance(first, type) and issubclass(first, cdc.Record):
        return PARTY if first is cdc.Party else SDP if first is cdc.Media else full(first)
    if first is bool:
        return True
    if isinstance(first, type) and issubclass(first, int) and first is not int:
        return next(iter(first))  # an enumeration
    if first is ccc.Form:
        return ccc.Form.CC_APDU
    if first is bytes:
        return SIGNAL if name == "octets" else b"secret"
    if name in ("user_input", "translation_input"):
        return "sip:b@h?body=secret"
    return 1 if first is int else "secret" if name == "body_headers" else "text"


@pytest.mark.parametrize("record", RECORDS, ids=lambda record: record.__name__)
def test_every_field_of_every_message_is_judged(record: type[cdc.Record]) -> None:
    assert set(FIELDS[record]) == {field.name for field in msgspec.structs.fields(record)}


def test_the_table_names_nothing_else() -> None:
    assert set(FIELDS) == set(RECORDS)
    assert set(VERDICTS) == set(Authority)
    judged = set(Kind) - {Kind.PARTS, Kind.HEADERS, Kind.URI, Kind.SIGNALING}
    assert all(set(verdicts) == judged for verdicts in VERDICTS.values())
    assert len(list(table())) == len(Authority) * sum(len(fields) for fields in FIELDS.values())


@pytest.mark.parametrize("record", RECORDS, ids=lambda record: record.__name__)
def test_structs_inside_are_judged_by_their_own_fields(record: type[cdc.Record]) -> None:
    for field in msgspec.structs.fields(record):
        holds = any(isinstance(each, type) and issubclass(each, cdc.Record) for each in parts(field.type))
        assert (FIELDS[record][field.name] is Kind.PARTS) == holds, field.name


def parts(kind: object) -> list[object]:
    """The types that a field may hold, those in tuples and unions included."""
    inner = typing.get_args(kind)
    return [each for arg in inner for each in parts(arg)] if inner else [kind]


@pytest.mark.parametrize("authority", PEN)
@pytest.mark.parametrize("capabilities", [frozenset(), EVERYTHING])
@pytest.mark.parametrize("record", [r for r in RECORDS if issubclass(r, cdc.Message)], ids=lambda r: r.__name__)
def test_a_pen_register_never_gets_content_location_or_words(
    record: type[cdc.Message], authority: Authority, capabilities: frozenset[Capability]
) -> None:
    message = full(record)
    assert isinstance(message, cdc.Message)
    given = Minimiser(authority, capabilities).apply(message)
    text = repr(given)
    assert "m=audio" not in text and "secret" not in text.replace("correlation_id=b'secret'", "")
    if record in WHOLE:
        assert given is None
        return
    if record is cdc.DialedDigitExtraction:
        assert (given is None) == (Capability.DIGITS not in capabilities)
        return
    assert given is not None
    kept = {field for field, kind in FIELDS[record].items() if kind is Kind.CALL}
    assert all(getattr(given, field) == getattr(message, field) for field in kept)
    if "call_id" in FIELDS[record]:
        assert given.call_id == message.call_id  # type: ignore[attr-defined]


@pytest.mark.parametrize("record", [r for r in RECORDS if issubclass(r, cdc.Message)], ids=lambda r: r.__name__)
def test_a_full_title_3_order_gets_everything_unchanged(record: type[cdc.Message]) -> None:
    message = full(record)
    assert isinstance(message, cdc.Message)
    minimiser = Minimiser(Authority.TITLE_III, EVERYTHING)
    assert minimiser.apply(message) is message
    assert (minimiser.removed, minimiser.withheld) == (0, 0)


def origination() -> cdc.Origination:
    return cdc.Origination(
        **PREFIX, call_id=CALL, calling=PARTY, user_input="5", subject_media=SDP, sip_headers=HEADERS
    )


def test_title_3_without_location_and_content() -> None:
    given = Minimiser(Authority.TITLE_III, frozenset({Capability.CALL_DATA})).apply(origination())
    assert isinstance(given, cdc.Origination)
    assert given.subject_media == SDP
    assert given.sip_headers == HEADERS[:1] == (given.calling or PARTY).sip_header


def test_fisa_is_what_its_capabilities_say() -> None:
    pen = Minimiser(Authority.FISA, frozenset({Capability.CALL_DATA})).apply(origination())
    content = Minimiser(Authority.FISA, frozenset({Capability.CONTENT})).apply(origination())
    assert isinstance(pen, cdc.Origination) and isinstance(content, cdc.Origination)
    assert (pen.subject_media, content.subject_media) == (None, SDP)
    assert content.sip_headers == (HEADERS[0], HEADERS[3])


def test_media_without_a_description_do_not_remain_as_a_shell() -> None:
    message = cdc.MediaAndAddressReporting(
        **PREFIX, call_id=CALL, subject_media=SDP, associate_media=(SDP, SDP), subject_contact_addresses=PARTY
    )
    minimiser = Minimiser(Authority.PEN_REGISTER, EVERYTHING)
    given = minimiser.apply(message)
    assert isinstance(given, cdc.MediaAndAddressReporting)
    assert (given.subject_media, given.associate_media) == (None, ())
    assert given.subject_contact_addresses is not None
    assert minimiser.removed == 3 + 4


def test_a_report_of_media_alone_is_withheld_and_counted() -> None:
    minimiser = Minimiser(Authority.PEN_REGISTER, EVERYTHING)
    assert minimiser.apply(cdc.MediaAndAddressReporting(**PREFIX, call_id=CALL, subject_media=SDP)) is None
    assert minimiser.withheld == 1


@pytest.mark.parametrize("authority", [Authority.TITLE_III, Authority.FISA])
@pytest.mark.parametrize("record", WHOLE, ids=lambda record: record.__name__)
def test_messages_about_content_go_only_to_orders_for_content(record: type[cdc.Message], authority: Authority) -> None:
    message = full(record)
    assert isinstance(message, cdc.Message)
    without = Minimiser(authority, EVERYTHING - {Capability.CONTENT})
    assert without.apply(message) is None
    assert without.withheld == 1
    given = Minimiser(authority, frozenset({Capability.CALL_DATA, Capability.CONTENT})).apply(message)
    assert type(given) is record


def signal(octets: bytes) -> cdc.DirectSignalReporting:
    return cdc.DirectSignalReporting(**PREFIX, correlation_id=b"c", signaling=(cdc.SignalingMessage(octets=octets),))


def test_a_signal_is_cut_to_its_addressing() -> None:
    minimiser = Minimiser(Authority.PEN_REGISTER, frozenset({Capability.CALL_DATA}))
    given = minimiser.apply(signal(SIGNAL))
    assert isinstance(given, cdc.DirectSignalReporting)
    assert given.signaling[0].octets == (
        b"MESSAGE sip:b@h SIP/2.0\r\nv: SIP/2.0/UDP h;branch=z9hG4bK1\r\nf: <sip:a@h>;tag=1\r\nTo: <sip:b@h>\r\n"
        b"Call-ID: c\r\nCSeq: 1 MESSAGE\r\nContent-Type: text/plain\r\nl: 0\r\n\r\n"
    )
    assert minimiser.removed == 4  # Subject, Geolocation, Reply-To with a body in it, the body


def test_a_signal_that_is_no_sip_is_withheld_from_all_but_a_full_order() -> None:
    for octets in (b"", b"secret", SIGNAL.replace(b"Call-ID", b"Call-XX"), SIGNAL.replace(b" SIP/2.0\r\nv", b"\r\nv")):
        assert Minimiser(Authority.TITLE_III, EVERYTHING - {Capability.LOCATION}).apply(signal(octets)) is None
        message = signal(octets)
        assert Minimiser(Authority.TITLE_III, EVERYTHING).apply(message) is message


@pytest.mark.parametrize(
    ("media_type", "needs"),
    [
        (b"application/sdp", {Capability.CONTENT}),  # whole, as a signal carries it, keys of the media included
        (b"Text/Plain;charset=utf-8", {Capability.CONTENT}),
        (b"application/dtmf-relay", {Capability.DIGITS}),
        (b"application/pidf+xml", {Capability.LOCATION, Capability.CONTENT}),
        (b"multipart/mixed;boundary=b", {Capability.LOCATION, Capability.CONTENT, Capability.DIGITS}),
        (b"application/x-unheard-of", {Capability.LOCATION, Capability.CONTENT, Capability.DIGITS}),
        (b"text/plain\r\nContent-Type: application/sdp", {Capability.LOCATION, Capability.CONTENT, Capability.DIGITS}),
    ],
)
def test_the_body_of_a_signal_goes_by_its_type(media_type: bytes, needs: set[Capability]) -> None:
    octets = SIGNAL.replace(b"text/plain", media_type).replace(
        b"Subject: secret\r\nGeolocation: <cid:secret@h>\r\n", b""
    )
    octets = octets.replace(b"?%62ody=secret", b"").replace(b"?body=secret", b"")
    for number in range(16):
        capabilities = frozenset(each for bit, each in enumerate(Capability) if number >> bit & 1)
        given = Minimiser(Authority.TITLE_III, capabilities).apply(signal(octets))
        assert isinstance(given, cdc.DirectSignalReporting)
        assert given.signaling[0].octets.endswith(b"secret") == (needs <= capabilities)


def test_keys_of_the_media_go_only_to_content_orders() -> None:
    lines = (
        "v=0", "k=clear:secret", "m=audio 1 RTP/SAVP 0", "a=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:secret",
        "A=Crypto:2 AEAD_AES_128_GCM inline:secret", "a=key-mgmt:mikey secret", "a=ice-pwd:secret", "a=sendrecv",
        "a=crypto:3 no end of line secret",
    )  # fmt: skip
    for end in ("\r\n", "\n"):
        media = cdc.Media(sdp=end.join(lines), status=cdc.MediaStatus.GRANTED)
        answer = cdc.Answer(**PREFIX, call_id=CALL, answering_media=media)
        minimiser = Minimiser(Authority.TITLE_III, EVERYTHING - {Capability.CONTENT})
        given = minimiser.apply(answer)
        assert isinstance(given, cdc.Answer) and given.answering_media is not None
        assert given.answering_media.sdp == end.join(("v=0", "m=audio 1 RTP/SAVP 0", "a=sendrecv", ""))
        assert (given.answering_media.status, minimiser.removed) == (cdc.MediaStatus.GRANTED, 6)
        assert Minimiser(Authority.TITLE_III, EVERYTHING).apply(answer) is answer


@pytest.mark.parametrize(
    ("line", "kind"),
    [
        ("f: <sip:a@h>", Kind.CALL),
        ("FROM : <sip:a@h>", Kind.CALL),
        ("s: words", Kind.TEXT),
        ("Refer-To: <sip:b@h?Replaces=c>", Kind.CALL),
        ("r: <sip:b@h?Replaces=c&Subject=words>", Kind.TEXT),
        ("r: <sip:b@h?Replaces=c%26x%3Dy&Require=replaces&Privacy=id>, <sip:c@h>", Kind.CALL),
        ("Refer-To: <sip:b@h?User-to-User=776f726473%3Bencoding%3Dhex>", Kind.TEXT),
        ("Refer-To: sip:b@h?User-to-User=776f726473", Kind.TEXT),
        ("m: <SIPS:a@h>, <sips:b@h;x=y?Replaces=c&X-Words=hello>", Kind.TEXT),
        ("From: <sip:a@h?%58-Words=hello>;tag=1", Kind.TEXT),
        ("To: <sip:a@h?P-Access-Network-Info=cell>", Kind.TEXT),
        ("History-Info: <sip:a@h?Reason=SIP%3Bcause%3D302&Privacy=none>;index=1", Kind.CALL),
        ('From: "Who? Me" <sip:a@h>;tag=1', Kind.CALL),
        ("X-Unheard-Of: 1", Kind.TEXT),
        ("no header at all", Kind.TEXT),
        ("Cellular-Network-Info: 3GPP", Kind.LOCATION),
    ],
)
def test_a_header_line_is_judged_by_its_long_name(line: str, kind: Kind) -> None:
    assert kind_of_line(line) is kind
