"""PCESP version 4: every message, checked by a codec made from the module's own text (pycrate) and by one over ours."""

from __future__ import annotations

import enum
import inspect
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import asn1tools
import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mediation.collection import decoder
from mediation.core import _ber
from mediation.core.errors import LocalProtocolError, MediationError
from mediation.core.message import ccc, cdc, encoding, pcesp, pcesp_mapping, syntax, t1678
from mediation.core.message.fitting import Adapted
from tests.core.encoding_samples import STAMP_NS
from tests.core.pcesp_samples import NAMES, PDUS
from tests.core.test_encoding_fitting import _messages

pycrate = pytest.importorskip("pycrate_asn1dir.LIETSI")
charpy = pytest.importorskip("pycrate_core.charpy")
CDC_PDU = pycrate.GLOBAL.MOD["PCESP"]["CdcPdu"]
TIME = ("2026", "11", "21", "16", "20", "05", "123", "Z")
VECTORS = [
    tuple(line.split())
    for line in (Path(__file__).parents[1] / "vectors" / "pcesp.txt").read_text().splitlines()
    if not line.startswith("#")
]
GOLDEN = {name: bytes.fromhex(octets) for kind, name, octets in VECTORS if kind == "golden"}
FROZEN = [bytes.fromhex(octets) for kind, _, octets in VECTORS if kind == "full"]


def oracle(octets: bytes) -> Any:
    """(name, members) as pycrate reads them; its own DER of them must be the same octets."""
    CDC_PDU.from_der(octets)
    value = CDC_PDU.get_val()
    CDC_PDU.set_val(value)
    assert CDC_PDU.to_der() == octets
    assert value["protocolVersion"] == "v4"
    return value["message"]


def camel(attribute: str) -> str:
    head, *rest = attribute.split("_")
    return NAMES.get(attribute) or head + "".join(map(str.capitalize, rest))


def expected(record: cdc.Record) -> Any:
    """The tree that a reader must find, under the module's names."""
    if isinstance(record, ccc.Channel):
        pair = {"sepXmitCCC": record.transmit, "sepRecvCCC": record.receive}
        return ("combCCC", record.combined) if record.combined else ("sepCCCpair", pair)
    tree: dict[str, Any] = {}
    for field in msgspec.structs.fields(type(record)):
        content = getattr(record, field.name)
        if content is not None and content != ():
            tree[camel(field.name)] = TIME if field.name == "event_time_ns" else leaf(content)
    match record:
        case pcesp.Origination():
            tree["input"] = tree.popitem()
            tree["reserved0"] = 0
        case pcesp.Redirection():
            tree |= {"reserved0": 0, "reserved1": 0}
        case pcesp.TerminationAttempt():
            tree["reserved0"] = 0
        case pcesp.CCOpen():
            tree["ccOpenOption"] = ("ccOpenTime", tree.pop("callIds"))
        case pcesp.SubjectSignal():
            kinds = ("switchhookFlash", "dialedDigits", "featureKey", "otherSignalingInformation")
            tree["signal"] = {kind: tree.pop(kind) for kind in kinds if kind in tree}
    return tree


def leaf(content: Any) -> Any:
    if isinstance(content, tuple):
        return [leaf(each) for each in content]
    if isinstance(content, pcesp.FlowDirection):
        return ("downstream", "upstream", "downstream-and-upstream")[content - 1]
    if isinstance(content, enum.Enum):
        return camel(content.name.lower())
    return expected(content) if isinstance(content, cdc.Record) else content


# The tables ----------------------------------------------------------------------------------------------------------


def test_the_golden_vector_is_hit() -> None:
    pdu = pcesp.CCOpen(
        case_id="CASE-0001",
        accessing_element_id="SBC1",
        event_time_ns=STAMP_NS,
        call_ids=(pcesp.CallId(sequencenumber="123,456", systemidentity="SBC1"),),
        channel=ccc.Channel(transmit="0000ABCD", receive="0000ABCE"),
        subject="v=0\r\n",
        flow_direction=pcesp.FlowDirection.BOTH,
    )
    assert encoding.encode_pdu(pdu) == GOLDEN["ccopen"]


def test_every_message_is_in_the_samples_and_frozen() -> None:
    assert {type(pdu) for pdu in PDUS} == set(pcesp.MESSAGES)
    assert len(FROZEN) == len(PDUS)


@pytest.mark.parametrize(("pdu", "octets"), list(zip(PDUS, FROZEN, strict=True)), ids=lambda v: getattr(v, "name", ""))
def test_every_field_is_found_by_both_readers(pdu: pcesp.Pdu, octets: bytes) -> None:
    assert encoding.encode_pdu(pdu) == octets
    assert oracle(octets) == (pdu.name, expected(pdu))
    decoded = decoder.decode(octets)
    assert (decoded.profile, decoded.message, decoded.case, decoded.iap) == ("pcesp", pdu.name, "CASE-0001", "SBC1")
    assert decoded.timestamp_ns == STAMP_NS
    assert decoder.reencode(decoded) == octets
    decoder.specification("der", "pcesp").decode("CdcPdu", octets, check_constraints=True)


def members(kind: Any) -> Iterator[syntax.Member]:
    if isinstance(kind, syntax.SequenceOf):
        yield from members(kind.element)
    for member in getattr(kind, "members", ()):
        yield member
        yield from members(member.type)


def exchanged(kind: Any, old: Any, new: Any) -> Any:
    if kind is old:
        return new
    if isinstance(kind, syntax.Member):
        return msgspec.structs.replace(kind, type=exchanged(kind.type, old, new))
    if isinstance(kind, syntax.SequenceOf):
        return msgspec.structs.replace(kind, element=exchanged(kind.element, old, new))
    if hasattr(kind, "members"):
        return msgspec.structs.replace(kind, members=tuple(exchanged(each, old, new) for each in kind.members))
    return kind


def reads_back(tables: dict[Any, syntax.Message], pdu: pcesp.Pdu) -> bool:
    try:
        octets = _ber.Encoder(tables, pcesp.MESSAGE_TAG, pcesp.ENVELOPE).encode(pdu, pcesp.VERSION)
        return bool(oracle(octets) == (pdu.name, expected(pdu)))
    except (MediationError, AssertionError, pycrate.ASN1Err, charpy.CharpyErr, LookupError):
        return False


ENTRIES = {
    id(member): (f"{message.name}.{member.name}", member)
    for message in pcesp.MESSAGES.values()
    for member in members(message.sequence)
    if member.tags
}.values()


@pytest.mark.parametrize(("name", "member"), ENTRIES, ids=[entry[0] for entry in ENTRIES])
def test_a_wrong_tag_or_a_lost_member_is_seen(name: str, member: syntax.Member) -> None:
    for new in (
        msgspec.structs.replace(member, tags=(member.tags[0] + 1,)),
        msgspec.structs.replace(member, tags=(30,)),
    ):
        tables = {
            struct: msgspec.structs.replace(message, sequence=exchanged(message.sequence, member, new))
            for struct, message in pcesp.MESSAGES.items()
        }
        assert not all(reads_back(tables, pdu) for pdu in PDUS), name


@pytest.mark.parametrize("struct", pcesp.MESSAGES, ids=lambda struct: struct.name)
def test_a_wrong_message_number_is_seen(struct: type[pcesp.Pdu]) -> None:
    for wrong in {1, 12, 18, 19, 20} - {pcesp.MESSAGES[struct].tag}:
        tables = {struct: msgspec.structs.replace(pcesp.MESSAGES[struct], tag=wrong)}
        assert not any(reads_back(tables, pdu) for pdu in PDUS if type(pdu) is struct)


def test_sizes_are_those_of_the_module() -> None:
    """Each text one character over and under its size: refused by the encoder, and the module refuses it too."""
    strict = _ber.Encoder(pcesp.MESSAGES, pcesp.MESSAGE_TAG, pcesp.ENVELOPE)
    for kind in {id(m.type): m.type for _, m in ENTRIES if isinstance(m.type, syntax.Visible)}.values():
        wide = msgspec.structs.replace(kind, low=0, high=1000)
        tables = {
            struct: msgspec.structs.replace(message, sequence=exchanged(message.sequence, kind, wide))
            for struct, message in pcesp.MESSAGES.items()
        }
        loose = _ber.Encoder(tables, pcesp.MESSAGE_TAG, pcesp.ENVELOPE)
        for text in ("7" * (kind.high + 1), "7" * (kind.low - 1)):
            changed = [pdu for pdu in (with_text(each, kind, text) for each in PDUS) if pdu is not None]
            assert changed
            for pdu in changed:
                with pytest.raises(MediationError):
                    strict.encode(pdu, pcesp.VERSION)
                with pytest.raises(asn1tools.ConstraintsError):
                    decoder.specification("der", "pcesp").decode(
                        "CdcPdu", loose.encode(pdu, pcesp.VERSION), check_constraints=True
                    )


def with_text(pdu: pcesp.Pdu, kind: syntax.Visible, text: str) -> pcesp.Pdu | None:
    """`pdu` with `text` in each field of that very type that it has, or None when it has none."""
    changed = _with_text(pcesp.MESSAGES[type(pdu)].sequence, pdu, kind, text)
    return None if changed == pdu else changed


def _with_text(sequence: Any, record: Any, kind: syntax.Visible, text: str) -> Any:
    changes: dict[str, Any] = {}
    for member in members_flat(sequence.members):
        old = getattr(record, member.attribute)
        if old is None:
            continue
        if member.type is kind:
            changes[member.attribute] = text
        elif isinstance(member.type, syntax.Sequence):
            changes[member.attribute] = _with_text(member.type, old, kind, text)
        elif isinstance(member.type, syntax.SequenceOf):
            changes[member.attribute] = tuple(_with_text(member.type.element, each, kind, text) for each in old)
    return msgspec.structs.replace(record, **changes)


def members_flat(found: tuple[syntax.Member, ...]) -> Iterator[syntax.Member]:
    for member in found:
        if isinstance(member.type, syntax.Group | syntax.Choice):
            yield from members_flat(member.type.members)
        elif not isinstance(member.type, syntax.Null):
            yield member


@pytest.mark.parametrize(
    "changes",
    [{"channel": ccc.Channel()}, {"channel": ccc.Channel(combined="1", transmit="1", receive="1")},
     {"channel": ccc.Channel(transmit="1")}, {"call_ids": None}],
)  # fmt: skip
def test_what_no_caller_may_pass_is_our_bug(changes: dict[str, Any]) -> None:
    with pytest.raises(LocalProtocolError):
        encoding.encode_pdu(msgspec.structs.replace(PDUS[2], **changes))


# The whole set of messages -------------------------------------------------------------------------------------------

EVERY = [
    each
    for module in (cdc, ccc)
    for _, each in inspect.getmembers(module, inspect.isclass)
    if issubclass(each, cdc.Message) and each is not cdc.Message
]


@pytest.mark.parametrize("struct", EVERY, ids=lambda struct: struct.name)
def test_each_message_goes_out_in_a_profile_or_is_known_not_to(struct: type[cdc.Message]) -> None:
    assert (struct in t1678.MESSAGES) == (struct is not cdc.ServiceInstance)
    assert (struct in pcesp_mapping._MAKERS) != (struct in pcesp_mapping.ABSENT)


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
@given(st.one_of(*map(_messages, EVERY)))
def test_any_message_can_be_encoded_and_read(message: cdc.Message) -> None:
    octets = encoding.encode(message, encoding.PCESP, Adapted())
    if octets is None:
        assert type(message) in (*pcesp_mapping.ABSENT, *MAY_BE_SILENT)
        return
    decoder.specification("der", "pcesp").decode("CdcPdu", octets, check_constraints=True)
    decoded = decoder.decode(octets)
    assert (decoded.case, decoded.iap) == (message.case_id, message.iap_system_id)
    assert decoded.timestamp_ns == message.timestamp_ns // 1000 * 1000
    assert decoder.reencode(decoded) == octets
    assert oracle(octets)[0] == decoded.message


MAY_BE_SILENT = (cdc.NetworkSignal, cdc.SubjectSignal, cdc.MediaAndAddressReporting)
