"""What cannot be encoded refuses the order when it is provisioned, naming the field and never its value."""

from __future__ import annotations

import pytest

from mediation.core.errors import EncodingError
from mediation.core.message import cdc, encoding
from mediation.core.message.fitting import Adapted

GOOD = ("CASE-0001", "SBC1", ("tel:+12025550100", "sip:alice@example.com", "sip:*@trunk.example.com", "tel:911"))


def test_a_good_order_passes_at_every_limit() -> None:
    encoding.check_order(*GOOD)
    encoding.check_order("C" * 25, "I" * 15, ("tel:" + "1" * 32, "sip:" + "a" * 1020))
    encoding.check_order(*GOOD, profile="pcesp")
    encoding.check_order(" ~", ("SBC1", "SBC2"), ("tel:+1-202-555-0100;phone-context=example.com",))


@pytest.mark.parametrize(
    ("case", "iap", "subjects", "field"),
    [
        ("", "SBC1", (), "caseId: not 1 to 25 characters"),
        ("C" * 26, "SBC1", (), "caseId: not 1 to 25 characters"),
        ("CASE\n", "SBC1", (), "caseId: a character outside VisibleString"),
        ("CASÉ", "SBC1", (), "caseId: a character outside VisibleString"),
        ("C", "", (), "iAPSystemId: not 1 to 15 characters"),
        ("C", "I" * 16, (), "iAPSystemId: not 1 to 15 characters"),
        ("C", ("SBC1", "I" * 16), (), "iAPSystemId: not 1 to 15 characters"),
        ("C", "I\x7f", (), "iAPSystemId: a character outside VisibleString"),
        ("C", "I", ("tel:1", ""), "subjects[1]: not 1 to 1024 octets"),
        ("C", "I", ("sip:" + "a" * 1021,), "subjects[0]: not 1 to 1024 octets"),
        ("C", "I", ("sip:álice@example.com",), "subjects[0]: a character outside a URI"),
        ("C", "I", ("sip:a lice@example.com",), "subjects[0]: a character outside a URI"),
        ("C", "I", ("tel:" + "1" * 33,), "subjects[0]: not 1 to 32 digits"),
        ("C", "I", ("tel:+",), "subjects[0]: not 1 to 32 digits"),
        ("C", "I", ("TEL:;phone-context=x",), "subjects[0]: not 1 to 32 digits"),
    ],
)
def test_a_bad_one_is_refused_by_field(case: str, iap: str, subjects: tuple[str, ...], field: str) -> None:
    with pytest.raises(EncodingError) as caught:
        encoding.check_order(case, iap, subjects)
    assert str(caught.value) == field


def test_a_profile_we_do_not_encode_refuses_the_order() -> None:
    with pytest.raises(EncodingError, match="profile"):
        encoding.check_order(*GOOD, profile="etsi")


@pytest.mark.parametrize("subject", GOOD[2])
def test_what_the_check_lets_pass_is_encoded_as_it_is(subject: str) -> None:
    case, iap, _ = GOOD
    adapted = Adapted()
    message = cdc.Origination(
        case_id=case,
        iap_system_id=iap,
        timestamp_ns=0,
        call_id=cdc.CallIdentity(main="c"),
        calling=cdc.Party(uri=(subject,)),
        user_input=subject,
    )
    assert subject.encode() in encoding.encode(message, encoding.DEFAULT_PROFILE, adapted)
    assert adapted == Adapted()
