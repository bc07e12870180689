"""The minimisation table: complete, and strict about what a pen register may be given."""

from __future__ import annotations

import inspect
import typing

import msgspec
import pytest

from mediation.core import cdc
from mediation.core.case import Authority, Capability
from mediation.core.minimisation import FIELDS, VERDICTS, Kind, Minimiser, table

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
PARTY = cdc.Party(dn="12015550123", uri=("sip:a@h",), sip_header=HEADERS)
PREFIX = {"case_id": "C", "iap_system_id": "I", "timestamp_ns": 1}
RECORDS = [
    each
    for _, each in inspect.getmembers(cdc, inspect.isclass)
    if issubclass(each, cdc.Record) and each not in (cdc.Record, cdc.Message, cdc.CallEvent)
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
        if name in ("sip_header", "sip_headers"):
            return HEADERS
        return (value_of(name, first),)
    if isinstance(first, type) and issubclass(first, cdc.Record):
        return PARTY if first is cdc.Party else SDP if first is cdc.Media else full(first)
    if isinstance(first, type) and issubclass(first, int) and first is not int:
        return next(iter(first))  # an enumeration
    return 1 if first is int else "text"


@pytest.mark.parametrize("record", RECORDS, ids=lambda record: record.__name__)
def test_every_field_of_every_message_is_judged(record: type[cdc.Record]) -> None:
    assert set(FIELDS[record]) == {field.name for field in msgspec.structs.fields(record)}


def test_the_table_names_nothing_else() -> None:
    assert set(FIELDS) == set(RECORDS)
    assert set(VERDICTS) == set(Authority)
    judged = set(Kind) - {Kind.PARTS, Kind.HEADERS}
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
    assert "m=audio" not in text and "secret" not in text
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
    assert minimiser.removed == 3 + 3


def test_a_report_of_media_alone_is_withheld_and_counted() -> None:
    minimiser = Minimiser(Authority.PEN_REGISTER, EVERYTHING)
    assert minimiser.apply(cdc.MediaAndAddressReporting(**PREFIX, call_id=CALL, subject_media=SDP)) is None
    assert minimiser.withheld == 1
