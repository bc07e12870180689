"""No call is lost over strange octets: whatever the network sent is encodable, by documented rules, and counted."""

from __future__ import annotations

import hashlib
from typing import Any, get_args, get_type_hints

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mediation.collection import decoder
from mediation.collection.tlv import walk
from mediation.core.errors import EncodingError
from mediation.core.message import ccc, cdc, encoding, fitting, syntax, t1678
from mediation.core.message.fitting import Adapted
from tests.core.encoding_samples import FULL, STAMP_NS

CALL = cdc.CallIdentity(main="c")


def read(message: cdc.Message, adapted: Adapted) -> dict[str, Any]:
    """What an independent reader with its sizes on finds in what was encoded."""
    octets = encoding.encode(message, encoding.DEFAULT_PROFILE, adapted)
    decoder.specification("ber").decode("LAESProtocol", octets, check_constraints=True)
    return decoder.decode(octets).fields


def party(adapted: Adapted, **fields: Any) -> Any:
    message = cdc.Answer(
        case_id="C", iap_system_id="I", timestamp_ns=STAMP_NS, call_id=CALL, answering=cdc.Party(**fields)
    )
    return read(message, adapted)["answering"]


def display(adapted: Adapted, **fields: Any) -> Any:
    message = cdc.NetworkSignal(
        case_id="C", iap_system_id="I", timestamp_ns=STAMP_NS, terminal_display_info=cdc.TerminalDisplay(**fields)
    )
    return read(message, adapted)["terminalDisplayInfo"]


def origination(adapted: Adapted, **fields: Any) -> Any:
    return read(
        cdc.Origination(**{"case_id": "C", "iap_system_id": "I", "timestamp_ns": STAMP_NS, "call_id": CALL} | fields),
        adapted,
    )


def test_a_message_that_fits_is_not_touched() -> None:
    adapted = Adapted()
    for message in FULL:
        encoding.encode(message, encoding.DEFAULT_PROFILE, adapted)
        assert fitting.fit(message, t1678.MESSAGES[type(message)].sequence, fitting.WIDE, adapted) == message
    assert adapted == Adapted()


@pytest.mark.parametrize(
    ("number", "where", "shown"),
    [
        ("1" * 15, "dn", "1" * 15),
        ("1" * 16, "genericDigits", ["1" * 16]),
        ("1" * 32, "genericDigits", ["1" * 32]),
        ("1" * 33, "uri", ["tel:" + "1" * 33]),
        ("12é", "uri", ["tel:12%C3%A9"]),
        ("12\udcff", "uri", ["tel:12%FF"]),
        ("1\n2", "uri", ["tel:1%0A2"]),
    ],
)
def test_a_number_that_does_not_fit_moves_whole(number: str, where: str, shown: Any) -> None:
    for attribute, name in (("dn", "dn"), ("user_provided", "userProvided")):
        adapted = Adapted()
        found = party(adapted, **{attribute: number})
        assert found == {(name if where == "dn" else where): shown}
        assert adapted.moved == {"dn": 0, "genericDigits": 1, "uri": 2}[where]
        assert adapted.messages == (where != "dn")


def test_moved_numbers_join_those_that_are_there() -> None:
    adapted = Adapted()
    found = party(adapted, dn="9" * 20, generic_digits=("5", "8" * 40, ""), uri=("sip:a@b",))
    assert found == {"genericDigits": ["5", "9" * 20], "uri": ["sip:a@b", "tel:" + "8" * 40]}
    assert adapted == Adapted(messages=1, moved=2)


@pytest.mark.parametrize(
    ("address", "shown", "moved"),
    [
        ("[2001:db8::1]", {"ipAddress": {"ipV6": "2001:db8::1"}}, 0),
        ("fe80::1%eth0", {"ipAddress": {"ipV6": "fe80::1"}}, 0),
        ("host.example.com", {"uri": ["host.example.com"]}, 1),
        ("192.0.2.1\x00x", {"uri": ["192.0.2.1\x00x"]}, 1),
        ("", {}, 0),
    ],
)
def test_an_address_is_an_address_or_stands_elsewhere(address: str, shown: Any, moved: int) -> None:
    adapted = Adapted()
    assert party(adapted, ip_address=address) == shown
    assert adapted.moved == moved


def test_visible_text_is_replaced_and_cut() -> None:
    adapted = Adapted()
    found = display(
        adapted, calling_name="Zoë Ångström 名", general_display="x" * 81, redirecting_name="a\tb", called_number=""
    )
    assert found == {"callingName": "Zoe Angstrom ?", "generalDisplay": "x" * 80, "redirectingName": "a?b"}
    assert adapted == Adapted(messages=1, substituted=2, cut=1)


def test_a_uri_in_visible_text_is_escaped_and_keeps_its_octets() -> None:
    adapted = Adapted()
    found = origination(adapted, user_input="sip:j%20ö\udcf6\n@example.com")
    assert found["input"] == {"userInput": {"generic": "sip:j%20%C3%B6%F6%0A@example.com"}}
    assert adapted == Adapted(messages=1, substituted=1)


def test_text_that_is_not_utf8_keeps_its_octets() -> None:
    adapted = Adapted()
    raw = b'P-Asserted-Identity: "Jos\xe9" <sip:a@b>'
    found = origination(adapted, sip_headers=(raw.decode(errors="surrogateescape"), "ok ö", "lone \ud800"))
    headers = found["protocolSpecificParameters"]["sip"]["sipHeader"]
    assert sorted(headers) == sorted([raw.decode("latin-1"), "ok ö", "lone \ufffd"])
    assert adapted == Adapted(messages=1, reread=2)


def test_a_long_text_is_cut_between_characters() -> None:
    adapted = Adapted()
    found = origination(adapted, subject_media=cdc.Media(sdp="ö" * 40_000))
    assert found["subjectMedia"]["characteristics"]["sdp"] == "ö" * (syntax.MAX_TEXT_OCTETS // 2)
    assert adapted == Adapted(messages=1, cut=1)


def test_long_call_identities_stay_apart() -> None:
    adapted = Adapted()
    one, other = "x" * 2_000 + "1", "x" * 2_000 + "2"
    mains = [origination(adapted, call_id=cdc.CallIdentity(main=main))["callId"]["main"] for main in (one, other, one)]
    assert mains[0] == mains[2] != mains[1]
    assert len(mains[0]) == syntax.MAX_IDENTITY_OCTETS
    assert mains[0].endswith("#" + hashlib.sha256(one.encode()).hexdigest())
    assert adapted == Adapted(messages=3, digested=3)


def test_numbers_and_lists_have_their_limits() -> None:
    for number, found, counts in ((500, 100, {"clipped": 1}), (0, None, {"left_out": 1})):
        adapted = Adapted()
        message = msgspec.structs.replace(
            FULL[2], redirected_from_info=cdc.RedirectedFrom(num_redirections=number), sip_headers=()
        )
        assert read(message, adapted)["redirectedFromInfo"].get("numRedirections") == found
        assert adapted == Adapted(messages=1, **counts)
    adapted = Adapted()
    assert len(party(adapted, uri=tuple(map(str, range(100))))["uri"]) == syntax.MAX_ELEMENTS
    assert adapted == Adapted(messages=1, left_out=100 - syntax.MAX_ELEMENTS)


def test_what_the_order_gave_is_never_altered() -> None:
    adapted = Adapted()
    for bad, field in (("", "caseId"), ("C" * 26, "caseId"), ("Cé", "caseId")):
        with pytest.raises(EncodingError, match=field) as caught:
            encoding.encode(msgspec.structs.replace(FULL[0], case_id=bad), encoding.DEFAULT_PROFILE, adapted)
        assert bad == "" or bad not in str(caught.value)
    with pytest.raises(EncodingError, match=r"dialedDgtExtrn\.digits"):
        encoding.encode(msgspec.structs.replace(FULL[7], digits="1" * 33), encoding.DEFAULT_PROFILE, adapted)
    assert adapted == Adapted()


def largest(kind: Any, size: int, count: int) -> Any:
    """A value of this type that is as large as can be before it is fitted."""
    match kind:
        case syntax.Visible(exact=True):
            return "1" * kind.high
        case syntax.Visible() | syntax.Text():
            return "\x00" * size
        case syntax.Octets():
            return bytes(size)
        case syntax.Constants():
            return next(iter(kind.alternatives))
        case syntax.Time():
            return STAMP_NS
        case syntax.Enumerated() | syntax.Integer():
            return kind.high
        case syntax.Address():
            return "ffff:" * 7 + "ffff"
        case syntax.SequenceOf() | syntax.SetOf():
            return (largest(kind.element, size, count),) * count
        case syntax.Sequence():
            members = fitting.flat(kind.members)
            return kind.struct(
                **{m.attribute: largest(m.type, size, count) for m in members if m.attribute not in SECOND_CHOICES}
            )


SECOND_CHOICES = ("translation_input", "combined")
SHORT = (
    cdc.DialedDigitExtraction, cdc.SurveillanceStatus, cdc.ConnectionTest, ccc.CCOpen, ccc.CCChange, ccc.CCClose,
    ccc.CCUnavailable,
)  # fmt: skip


@pytest.mark.parametrize("struct", t1678.MESSAGES, ids=lambda struct: struct.name)
def test_the_largest_message_there_can_be_is_sent(struct: type[cdc.Message]) -> None:
    """Every text over its limit, every list past its limit: narrowed under the bound of a whole message."""
    adapted = Adapted()
    octets = encoding.encode(largest(t1678.MESSAGES[struct].sequence, 1_100, 65), encoding.DEFAULT_PROFILE, adapted)
    assert len(octets) <= syntax.MAX_MESSAGE_OCTETS
    assert decoder.decode(octets).message == struct.name
    assert len(octets) < 90_000 or not adapted.narrowed
    assert adapted.narrowed == (struct not in SHORT)


# Generated messages --------------------------------------------------------------------------------------------------

WILD_TEXT = st.binary(max_size=60).map(lambda octets: octets.decode(errors="surrogateescape")) | st.text(max_size=50)
NUMBERS = st.text("0123456789+*#-.() ", max_size=40)
EXACT = st.text(fitting.VISIBLE_CHARACTERS, min_size=1, max_size=15)


def _strategy(attribute: str, hint: Any) -> st.SearchStrategy[Any]:
    if attribute in ("case_id", "iap_system_id", "digits", "transmit", "receive"):
        return EXACT
    if hint is bytes or attribute == "body":  # the headers of a body go with it, and not without
        return st.binary(max_size=60)
    if attribute == "media_of_subject":
        return st.sampled_from((None, False, True))
    if attribute == "expiration_period":
        return st.integers(-(1 << 70), 1 << 70)
    if attribute == "timestamp_ns":
        return st.integers(0, (1 << 63) - 1)
    if attribute == "num_redirections":
        return st.none() | st.integers(-(1 << 70), 1 << 70)
    arguments = [each for each in get_args(hint) if each not in (type(None), ...)]
    if hint is str:
        return WILD_TEXT | NUMBERS
    if isinstance(hint, type) and issubclass(hint, msgspec.Struct):
        return _messages(hint)
    if isinstance(hint, type):
        return st.sampled_from(hint)  # type: ignore[arg-type]
    inner = _strategy("", arguments[0])
    if str(hint).startswith("tuple"):
        return st.lists(inner, max_size=3).map(tuple)
    return st.none() | inner


def _messages(struct: type[msgspec.Struct]) -> st.SearchStrategy[Any]:
    hints = {name: hint for name, hint in get_type_hints(struct).items() if name in struct.__struct_fields__}
    for name in SECOND_CHOICES:
        hints.pop(name, None)
    return st.builds(struct, **{name: _strategy(name, hint) for name, hint in hints.items()})


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
@given(st.one_of(*map(_messages, t1678.MESSAGES)))
def test_any_message_can_be_encoded_and_read(message: cdc.Message) -> None:
    adapted = Adapted()
    octets = encoding.encode(message, encoding.DEFAULT_PROFILE, adapted)
    decoded = decoder.decode(octets)
    assert decoded.message == message.name
    assert decoded.case == message.case_id
    assert decoded.timestamp_ns == message.timestamp_ns // 1000 * 1000
    assert decoder.reencode(decoded) == octets
    decoder.specification("ber").decode("LAESProtocol", octets, check_constraints=True)
    assert len(walk(octets)) < 2_000
    if adapted == Adapted():
        assert fitting.fit(message, t1678.MESSAGES[type(message)].sequence, fitting.WIDE, Adapted()) == message
