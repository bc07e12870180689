"""Identities: the canonical forms, the keys of an order, and that the access point's fast code agrees with them."""

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from mediation.access._matcher import Matcher
from mediation.core.errors import EncodingError
from mediation.core.network.identity import DialPlan, canonical, host_of
from mediation.core.target import KeySet, match_keys

NANP = DialPlan(area_code="212")
GERMANY = DialPlan(
    country_code="49",
    area_code="30",
    national_prefix="0",
    international_prefix="00",
    national_length=10,
    local_length=8,
)
SUBJECT = "tel:+12125551234"


@pytest.mark.parametrize(
    "uri",
    [
        "tel:+12125551234",
        "tel:+1-212-555-1234",
        "TEL:+1(212)555.1234",
        "tel:+12125551234;npdi;rn=+12125550000;isub=77",
        "tel:2125551234",
        "tel:12125551234;phone-context=+1",
        "tel:555-1234;phone-context=+1-212",
        "tel:5551234;phone-context=example.com",
        "sip:+12125551234@example.com",
        "sip:2125551234@example.com:5080;transport=tcp",
        "sip:12125551234@example.com;user=phone",
        "sip:5551234@example.com",
        "sip:0111%32125551234@example.com",
        "sips:%2B1212555%31234@[2001:db8::1]:5061",
        "sip:+1-212-555-1234;tgrp=a;trunk-context=b@gw.example.com",
        "sip:+12125551234:secret@example.com?Subject=x",
        " sip:(212)%20555-1234@example.com ",
    ],
)
def test_one_number_has_many_spellings(uri: str) -> None:
    assert canonical(uri, NANP) == SUBJECT


@pytest.mark.parametrize(
    ("uri", "form"),
    [
        ("sip:Alice@Example.COM", "sip:Alice@example.com"),
        ("sips:alice@example.com:5061;lr", "sip:alice@example.com"),
        ("sip:%61lice:pw@example.com.", "sip:alice@example.com"),
        ("sip:alice;day=tuesday@example.com", "sip:alice;day=tuesday@example.com"),
        ("sip:a%40b@example.com", "sip:a@b@example.com"),
        ("sip:%00@example.com", "sip:\0@example.com"),
        ("sip:%Z%45@example.com", "sip:%ZE@example.com"),
        ("sip:4321@pbx.example.com", "sip:4321@pbx.example.com"),
        ("sip:911@example.com", "sip:911@example.com"),
        ("sip:4321;phone-context=Pbx.example.com@gw", "tel:4321;phone-context=pbx.example.com"),
        ("tel:4321;phone-context=pbx.example.com", "tel:4321;phone-context=pbx.example.com"),
        ("tel:*67", "tel:*67"),
        ("sip:+44207946000@x", "tel:+44207946000"),
        ("sip:01144207946000@x", "tel:+44207946000"),
        ("sip:442079460000@x", "tel:+442079460000"),
        ("sip:user@[2001:DB8::1]", "sip:user@[2001:db8::1]"),
    ],
)
def test_canonical_forms(uri: str, form: str) -> None:
    assert canonical(uri, NANP) == form


@pytest.mark.parametrize(
    "uri",
    ["", "sip:", "sip:example.com", "sip:@example.com", "sip:a@", "sip:a@b@c", "sip:a@b,c", "mailto:a@b", "tel:",
     "tel:abcxyz", "tel:+0123456", "tel:+1234567890123456", "nonsense", "sip:" + "a" * 256 + "@b"],
)  # fmt: skip
def test_what_names_nobody(uri: str) -> None:
    assert canonical(uri, NANP) is None


def test_other_dial_plan() -> None:
    assert canonical("sip:03012345678@x", GERMANY) == "tel:+493012345678"
    assert canonical("sip:12345678@x", GERMANY) == "tel:+493012345678"
    assert canonical("sip:00493012345678@x", GERMANY) == "tel:+493012345678"
    assert canonical("sip:0012125551234@x", GERMANY) == SUBJECT


def test_without_an_area_code_a_local_number_is_nobody_s() -> None:
    assert canonical("sip:5551234@x", DialPlan()) == "sip:5551234@x"


@pytest.mark.parametrize(
    ("subject", "key"),
    [
        ("tel:+1-212-555-1234", SUBJECT),
        ("sip:2125551234@example.com", SUBJECT),
        ("sips:Alice@EXAMPLE.com:5061", "sip:Alice@example.com"),
        ("sip:*@Gw.Example.com", "sip:*@gw.example.com"),
        ("tel:+1-555-123*", "tel:+1555123*"),
        ("tel:4321;phone-context=pbx.example.com", "tel:4321;phone-context=pbx.example.com"),
    ],
)
def test_match_keys(subject: str, key: str) -> None:
    assert match_keys(subject, NANP) == [key]


@pytest.mark.parametrize(
    "subject",
    ["tel:911", "sip:example.com", "mailto:a@b", "alice", "", "tel:+1*", "tel:+*", "tel:+1234567890123456*",
     "tel:+012345678*", "sip:al*@example.com", "sip:*@", "tel:*67", "sip:a@b@c"],
)  # fmt: skip
def test_what_could_never_match_is_refused_when_provisioned(subject: str) -> None:
    with pytest.raises(EncodingError) as error:
        match_keys(subject, NANP)
    assert not subject or subject not in str(error.value)


@pytest.mark.parametrize(
    "subject",
    ["sip:%2A@gw.example.com", "sips:%2a@gw.example.com:5061", "sip:%2A:secret@gw.example.com",
     "sip:%2A%40gw@gw.example.com", "SIP:%2A@gw.example.com;user=phone"],
)  # fmt: skip
def test_one_odd_user_is_not_every_user_of_a_host(subject: str) -> None:
    """Whoever signs reads one name; in escapes it armed the whole host."""
    with pytest.raises(EncodingError) as error:
        assert not KeySet.of([subject], NANP).covers("sip:anybody@gw.example.com", NANP)
    assert subject not in str(error.value)


def test_key_set() -> None:
    keys = KeySet.of(["sip:*@gw.example.com", "tel:+1-555-123*", SUBJECT], NANP)
    for uri in ("sip:x@GW.example.com:9", "sip:5551239999@x", "tel:212-555-1234"):
        assert keys.covers(uri, NANP)
    for uri in ("sip:gw.example.com", "tel:+15551249999", "sip:x@gw.example.org", "tel:+1555123@x", "garbage"):
        assert not keys.covers(uri, NANP)


PIECES = st.sampled_from(
    ["sip:", "sips:", "SIP:", "tel:", "TEL:", "+", "1", "0", "011", "00", "49", "212", "555", "1234", "5551234", "-",
     ".", "(", ")", " ", "%20", "%2B", "%2b", "%31", "%00", "%", "%4", "@", ":", ";", "=", "?", ">", "<", ",", "*", "#",
     "A", "d", "phone-context=", ";phone-context=+1-212", ";phone-context=Example.com", ";PHONE-CONTEXT=%2B1",
     ";isub=1", "alice", "Example.COM", ".", "[2001:DB8::1]", "[", "]", "_", "\t", "\r\n ", "é", "\udcff", "x" * 60]
)  # fmt: skip
URIS = st.builds(
    lambda scheme, pieces: scheme + "".join(pieces),
    st.sampled_from(["sip:", "sips:", "tel:", "SIP:", "Tel:", ""]),
    st.lists(PIECES, max_size=14),
)
MATCHERS = {id(plan): Matcher([], plan) for plan in (NANP, GERMANY)}


@settings(max_examples=1500, deadline=None)
@given(URIS, st.sampled_from([NANP, GERMANY]))
@example("sip:+1212555123412345678901234567890123@x", NANP)
@example("tel:1234567;phone-context=+1234567890123456", NANP)
@example("tel:1234567;phone-context=+", NANP)
@example("sip:" + "%61" * 255 + "@" + "a" * 255, NANP)
@example("sip:" + "%61" * 256 + "@a", NANP)
@example("sip:a@" + "b" * 256, NANP)
@example("sip:a@" + "b" * 255 + ".", NANP)
@example("tel:" + "1" * 32, GERMANY)
@example("tel:" + "1" * 33, GERMANY)
@example("tel:1;phone-context=" + "c" * 256, NANP)
def test_the_access_point_agrees(uri: str, plan: DialPlan) -> None:
    """ext/identity.pxd and core/network/identity.py are two writings of one definition."""
    octets = uri.encode("utf-8", "surrogateescape")
    assert MATCHERS[id(plan)].canonical(octets) == canonical(uri, plan)


@settings(max_examples=300, deadline=None)
@given(st.from_regex(r"\A\+?[0-9]{1,17}\Z"), st.sampled_from([NANP, GERMANY]))
def test_the_access_point_agrees_on_numbers(number: str, plan: DialPlan) -> None:
    for uri in (f"tel:{number}", f"sip:{number}@example.com", f"sip:{number};phone-context=+1212@example.com"):
        assert MATCHERS[id(plan)].canonical(uri.encode()) == canonical(uri, plan)


@given(URIS)
def test_canonical_is_stable(uri: str) -> None:
    """The form of a form is the form, as far as a form can be written as a URI (nothing needed an escape)."""
    form = canonical(uri, NANP)
    if form is not None and "%" not in uri and ";" not in uri:
        assert canonical(form, NANP) == form


def test_host_of() -> None:
    assert host_of("sip:a@Example.com.:5060") == "example.com"
    assert host_of("tel:+1") is None
    assert host_of("sip:example.com") is None
