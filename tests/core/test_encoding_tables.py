"""The tables cannot be wrong unnoticed: each entry is changed in turn, and an independent reader must see it.

Sizes and character sets are checked against a list written out by hand, both in our encoder and in the reader's module.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import asn1tools
import msgspec
import pytest

from mediation.collection import decoder
from mediation.core import _ber
from mediation.core.errors import EncodingError, LocalProtocolError, MediationError
from mediation.core.message import cdc, encoding, syntax, t1678
from tests.core.encoding_names import arranged, expected
from tests.core.encoding_samples import FULL, PARTY, STAMP_NS

Tables = dict[type[cdc.Message], syntax.Message]


def encoder(tables: Tables) -> _ber.Encoder:
    return _ber.Encoder(tables, t1678.MESSAGE_TAG, t1678.ENVELOPE)


def reads_back(tables: Tables, message: cdc.Message) -> bool:
    """Whether a reader finds in what these tables make of `message` all of it, under the standard's names."""
    try:
        decoded = decoder.decode(encoder(tables).encode(message))
    except MediationError:
        return False
    name, content = decoded.tree[1]
    return name == message.name and arranged("", content) == expected(message)


def members(kind: Any) -> Iterator[syntax.Member]:
    """Every member at or below a type."""
    if isinstance(kind, syntax.SequenceOf | syntax.SetOf):
        yield from members(kind.element)
    for member in getattr(kind, "members", ()):
        yield member
        yield from members(member.type)


def exchanged(kind: Any, old: Any, new: Any) -> Any:
    """`kind` with `new` wherever the very object `old` stands."""
    if kind is old:
        return new
    if isinstance(kind, syntax.Member):
        return msgspec.structs.replace(kind, type=exchanged(kind.type, old, new))
    if isinstance(kind, syntax.SequenceOf | syntax.SetOf):
        return msgspec.structs.replace(kind, element=exchanged(kind.element, old, new))
    if isinstance(kind, syntax.Sequence | syntax.Group | syntax.Choice):
        return msgspec.structs.replace(kind, members=tuple(exchanged(each, old, new) for each in kind.members))
    return kind


def with_exchanged(old: Any, new: Any) -> Tables:
    return {
        struct: msgspec.structs.replace(message, sequence=exchanged(message.sequence, old, new))
        for struct, message in t1678.MESSAGES.items()
    }


ENTRIES = {
    id(member): (f"{message.name}.{member.name}", member)
    for message in t1678.MESSAGES.values()
    for member in members(message.sequence)
}.values()


def test_the_tables_as_they_are_read_back() -> None:
    assert all(reads_back(t1678.MESSAGES, message) for message in FULL)


@pytest.mark.parametrize(
    ("member", "at"),
    [
        pytest.param(member, at, id=f"{name}-{member.tags[at]}")
        for name, member in ENTRIES
        for at in range(len(member.tags))
    ],
)
def test_a_wrong_tag_is_seen(member: syntax.Member, at: int) -> None:
    for wrong in (member.tags[at] + 1, 30):
        tags = (*member.tags[:at], wrong, *member.tags[at + 1 :])
        tables = with_exchanged(member, msgspec.structs.replace(member, tags=tags))
        assert not all(reads_back(tables, message) for message in FULL)


@pytest.mark.parametrize("struct", t1678.MESSAGES, ids=lambda struct: struct.name)
def test_a_wrong_message_tag_is_seen(struct: type[cdc.Message]) -> None:
    for wrong in {1, 5, 16, 25} - {t1678.MESSAGES[struct].tag}:
        tables = {struct: msgspec.structs.replace(t1678.MESSAGES[struct], tag=wrong)}
        assert not any(reads_back(tables, message) for message in FULL if type(message) is struct)


@pytest.mark.parametrize(("name", "member"), [entry for entry in ENTRIES if isinstance(entry[1].type, syntax.SetOf)])
def test_a_set_that_is_left_unordered_is_seen(name: str, member: syntax.Member) -> None:
    sequence = syntax.SequenceOf(member.type.element)
    tables = with_exchanged(member, msgspec.structs.replace(member, type=sequence))
    assert any(encoder(tables).encode(message) != encoder(t1678.MESSAGES).encode(message) for message in FULL)


def test_a_table_that_cannot_be_encoded_is_refused() -> None:
    text = syntax.Text()
    for member in (
        syntax.Member("x", (31,), text, "case_id"),
        syntax.Member("x", (), text, "case_id"),
        syntax.Member("x", (0, 0, 0, 0, 0), text, "case_id"),
        syntax.Member("x", (0,), syntax.Choice(()), ""),
        syntax.Member("x", (0,), syntax.Address(), "case_id", mandatory=True),
        syntax.Member("x", (0,), syntax.SetOf(syntax.Address()), "case_id"),
    ):
        tables = {cdc.Answer: syntax.Message("answer", 1, syntax.Sequence(cdc.Answer, (member,)))}
        with pytest.raises(LocalProtocolError, match="syntax"):
            encoder(tables)


# Sizes ---------------------------------------------------------------------------------------------------------------

CALL = cdc.CallIdentity(main="c")


def _with_party(**fields: Any) -> cdc.Message:
    return cdc.Answer(
        case_id="C", iap_system_id="I", timestamp_ns=STAMP_NS, call_id=CALL, answering=cdc.Party(**fields)
    )


def _with_display(**fields: Any) -> cdc.Message:
    display = cdc.TerminalDisplay(**fields)
    return cdc.NetworkSignal(case_id="C", iap_system_id="I", timestamp_ns=STAMP_NS, terminal_display_info=display)


def _signal(**fields: Any) -> cdc.Message:
    return cdc.SubjectSignal(**{"case_id": "C", "iap_system_id": "I", "timestamp_ns": STAMP_NS} | fields)


def _digits(digits: str) -> cdc.Message:
    return cdc.DialedDigitExtraction(case_id="C", iap_system_id="I", timestamp_ns=STAMP_NS, call_id=CALL, digits=digits)


# path in errors, least, most, and a message with the text in that field (T1.678v2 component types)
SIZES: list[tuple[str, int, int, Any]] = [
    ("subjectSignal.caseId", 1, 25, lambda text: _signal(case_id=text)),
    ("subjectSignal.iAPSystemId", 1, 15, lambda text: _signal(iap_system_id=text)),
    ("dialedDgtExtrn.digits", 1, 32, _digits),
    ("answer.answering.dn", 1, 15, lambda text: _with_party(dn=text)),
    ("answer.answering.userProvided", 1, 15, lambda text: _with_party(user_provided=text)),
    ("answer.answering.trunkId", 1, 32, lambda text: _with_party(trunk_id=text)),
    ("answer.answering.genericDigits.1", 1, 32, lambda text: _with_party(generic_digits=("1", text))),
    ("answer.answering.port", 1, 32, lambda text: _with_party(port=text)),
    ("answer.answering.context", 1, 64, lambda text: _with_party(context=text)),
    ("networkSignal.terminalDisplayInfo.generalDisplay", 1, 80, lambda text: _with_display(general_display=text)),
    ("networkSignal.terminalDisplayInfo.calledNumber", 1, 40, lambda text: _with_display(called_number=text)),
    ("networkSignal.terminalDisplayInfo.callingNumber", 1, 40, lambda text: _with_display(calling_number=text)),
    ("networkSignal.terminalDisplayInfo.callingName", 1, 40, lambda text: _with_display(calling_name=text)),
    (
        "networkSignal.terminalDisplayInfo.originalCalledNumber",
        *(1, 40),
        lambda text: _with_display(original_called_number=text),
    ),
    (
        "networkSignal.terminalDisplayInfo.lastRedirectingNumber",
        *(1, 40),
        lambda text: _with_display(last_redirecting_number=text),
    ),
    ("networkSignal.terminalDisplayInfo.redirectingName", 1, 40, lambda text: _with_display(redirecting_name=text)),
    (
        "networkSignal.terminalDisplayInfo.redirectingReason",
        *(1, 40),
        lambda text: _with_display(redirecting_reason=text),
    ),
    (
        "networkSignal.terminalDisplayInfo.messageWaitingNotif",
        *(1, 40),
        lambda text: _with_display(message_waiting_notif=text),
    ),
    ("subjectSignal.signal.switchhookFlash", 1, 128, lambda text: _signal(switchhook_flash=text)),
    ("subjectSignal.signal.dialedDigits", 1, 128, lambda text: _signal(dialed_digits=text)),
    ("subjectSignal.signal.featureKey", 1, 128, lambda text: _signal(feature_key=text)),
    ("subjectSignal.signal.otherSignalingInformation", 1, 128, lambda text: _signal(other_signaling_information=text)),
]


@pytest.mark.parametrize(("path", "least", "most", "make"), SIZES, ids=[size[0] for size in SIZES])
def test_size_and_characters_are_enforced_and_named(path: str, least: int, most: int, make: Any) -> None:
    strict = encoder(t1678.MESSAGES)
    reader = decoder.specification("ber")
    for length in (least, most):
        reader.decode("LAESProtocol", strict.encode(make("7" * length)), check_constraints=True)
    for text in ("7" * (least - 1), "7" * (most + 1)):
        with pytest.raises(EncodingError) as caught:
            strict.encode(make(text))
        assert str(caught.value) == f"{path}: not {least} to {most} octets"
    for odd in ("\x1f", "\x7f", "é", "7\x00", "\udcff", "\t"):
        with pytest.raises(EncodingError) as caught:
            strict.encode(make(odd))
        assert str(caught.value) in (f"{path}: not VisibleString", f"{path}: not UTF-8")
    strict.encode(make(" ~"[:most]))


@pytest.mark.parametrize(("path", "least", "most", "make"), SIZES, ids=[size[0] for size in SIZES])
def test_the_readers_module_has_the_same_sizes(path: str, least: int, most: int, make: Any) -> None:
    """One octet more than the standard has, by tables with wider sizes: the independent codec refuses it too."""
    kinds = {id(member.type): member.type for _, member in ENTRIES if isinstance(member.type, syntax.Visible)}
    kinds[0] = t1678.PARTY.members[4].type.element
    tables = t1678.MESSAGES
    for kind in list(kinds.values()):
        wider = msgspec.structs.replace(kind, low=0, high=1000)
        tables = {
            struct: msgspec.structs.replace(message, sequence=exchanged(message.sequence, kind, wider))
            for struct, message in tables.items()
        }
    for text in ("7" * (most + 1), ""):
        octets = encoder(tables).encode(make(text))
        with pytest.raises(asn1tools.ConstraintsError):
            decoder.specification("ber").decode("LAESProtocol", octets, check_constraints=True)


@pytest.mark.parametrize(("number", "fits"), [(0, False), (1, True), (100, True), (101, False), (1 << 70, False)])
def test_number_of_redirections_has_its_range(number: int, fits: bool) -> None:
    message = cdc.TerminationAttempt(
        case_id="C",
        iap_system_id="I",
        timestamp_ns=STAMP_NS,
        call_id=CALL,
        calling=PARTY,
        redirected_from_info=cdc.RedirectedFrom(num_redirections=number),
    )
    if fits:
        encoder(t1678.MESSAGES).encode(message)
    else:
        with pytest.raises(EncodingError, match=r"termAttempt\.redirectedFromInfo\.numRedirections: not 1 to 100"):
            encoder(t1678.MESSAGES).encode(message)


def test_what_no_caller_may_pass_is_our_bug() -> None:
    strict = encoder(t1678.MESSAGES)
    good = {"case_id": "C", "iap_system_id": "I", "timestamp_ns": STAMP_NS, "call_id": CALL}
    bad: list[tuple[Any, str]] = [
        (CALL, "CallIdentity: no message"),
        (cdc.Answer(**good | {"call_id": None}), "answer.callId: missing"),
        (cdc.Answer(**good | {"call_id": cdc.Party()}), "answer.callId: wrong struct"),
        (cdc.Answer(**good | {"case_id": None}), "answer.caseId: missing"),
        (cdc.Answer(**good | {"case_id": 7}), "answer.caseId: not text"),
        (cdc.Answer(**good | {"timestamp_ns": "now"}), "answer.timestamp: not a number"),
        (cdc.Answer(**good | {"timestamp_ns": 1 << 63}), "answer.timestamp: time out of range"),
        (cdc.Answer(**good, answering=cdc.Party(uri=["sip:a"])), "answer.answering.uri: not a tuple"),  # type: ignore[arg-type]
        (cdc.Origination(**good, user_input="1", translation_input="2"), "origination.input: two alternatives"),
    ]
    for message, text in bad:
        with pytest.raises(LocalProtocolError) as caught:
            strict.encode(message)
        assert str(caught.value).startswith(text)
    assert encoding.encode(cdc.Answer(**good))  # and the encoder is as good as new afterwards


def test_origination_without_input_says_so_with_an_empty_one() -> None:
    message = cdc.Origination(case_id="C", iap_system_id="I", timestamp_ns=STAMP_NS, call_id=CALL)
    fields = decoder.decode(encoding.encode(message)).fields
    assert fields["input"] == {"userInput": {"generic": ""}}
    assert fields["originationCause"] == ""
