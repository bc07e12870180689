"""The parser of the call model: what real devices send, and what is refused by name."""

import pytest

from mediation.core.errors import RemoteProtocolError
from mediation.core.network.sip import name_addrs, parse, split_messages
from tests.ext.calls import Dialog

INVITE = Dialog().invite(headers=["Contact: <sip:+12125550100@192.0.2.10>"])


def with_line(old: bytes, new: bytes) -> bytes:
    assert old in INVITE
    return INVITE.replace(old, new)


def test_a_request() -> None:
    m = parse(INVITE)
    assert (m.method, m.status, m.request_uri) == ("INVITE", 0, "sip:+13125550123@example.net")
    assert (m.call_id, m.cseq, m.cseq_method) == ("a84b4c76e66710@192.0.2.10", 1, "INVITE")
    assert (m.from_.uri, m.from_.tag, m.to.uri, m.to.tag) == (
        "sip:+12125550100@example.com", "1928301774", "sip:+13125550123@example.net", "",
    )  # fmt: skip
    assert m.branch == "z9hG4bK776asdhds"
    assert m.first("max-forwards") == "70"
    assert m.first("absent") is None


def test_a_response() -> None:
    m = parse(Dialog().response(486, body="v=0\r\n"))
    assert (m.method, m.status, m.reason, m.request_uri) == ("", 486, "Reason", "")
    assert (m.cseq_method, m.to.tag, m.body) == ("INVITE", "a6c85cf", b"v=0\r\n")


def test_compact_folded_and_line_feeds_alone() -> None:
    m = parse(
        b"INVITE sip:b@x SIP/2.0\nv: SIP/2.0/UDP\n h;received=1;\n\tbranch = z9hG4bKx , SIP/2.0/UDP g;branch=y\n"
        b'f : "A\\"B, C"\n <sip:a@x>\n ; TAG = 1\nt:<sip:b@x>\ni:\n 7@x\nCSEQ:\n 5\n'
        b" INVITE\nc: text/plain\ns:\nl:2\n\nhi!"
    )
    assert (m.branch, m.from_.display, m.from_.uri, m.from_.tag) == ("z9hG4bKx", 'A"B, C', "sip:a@x", "1")
    assert (m.call_id, m.cseq, m.body) == ("7@x", 5, b"hi")
    assert [name for name, _ in m.headers] == [
        "via", "from", "to", "call-id", "cseq", "content-type", "subject", "content-length",
    ]  # fmt: skip
    assert m.first("via") == "SIP/2.0/UDP h;received=1; branch = z9hG4bKx , SIP/2.0/UDP g;branch=y"


def test_octets_that_are_not_utf_8_are_kept() -> None:
    m = parse(with_line(b"From: <", b'From: "\xff\xfe" <'))
    assert m.from_.display.encode("utf-8", "surrogateescape") == b"\xff\xfe"


def test_several_values_stay_in_order() -> None:
    m = parse(with_line(b"Max-Forwards: 70\r\n", b"m: <sip:1@x>\r\nContact: <sip:2@x>, <sip:3@x>\r\n"))
    assert m.all("contact") == ("<sip:1@x>", "<sip:2@x>, <sip:3@x>", "<sip:+12125550100@192.0.2.10>")


@pytest.mark.parametrize(
    ("octets", "fault"),
    [
        (b"", "start line"),
        (b"\r\n", "start line"),
        (b"INVITE sip:a@b\r\n\r\n", "start line"),
        (b"INVITE  SIP/2.0\r\n\r\n", "start line"),
        (b"SIP/2.0 99 Low\r\n\r\n", "start line"),
        (b"SIP/2.0 700 High\r\n\r\n", "start line"),
        (b"SIP/2.0 2000 Long\r\n\r\n", "start line"),
        (b"SIP/3.0 200 OK\r\n\r\n", "version"),
        (with_line(b" SIP/2.0\r\nVia", b" SIP/7.0\r\nVia"), "version"),
        (with_line(b"Call-ID", b"Call-IX"), "no Call-ID"),
        (with_line(b"a84b4c76e66710@192.0.2.10", b""), "no Call-ID"),
        (with_line(b"From", b"Fron"), "no From"),
        (with_line(b"To:", b"Ti:"), "no To"),
        (with_line(b"CSeq", b"CSex"), "no CSeq"),
        (with_line(b"CSeq: 1 INVITE", b"CSeq: one INVITE"), "CSeq"),
        (with_line(b"CSeq: 1 INVITE", b"CSeq: 1"), "CSeq"),
        (with_line(b"CSeq: 1 INVITE", b"CSeq: -1 INVITE"), "CSeq"),
        (with_line(b"CSeq: 1 INVITE", b"CSeq: 1 IN<VITE"), "CSeq"),
        (with_line(b"CSeq: 1 INVITE", b"CSeq: " + b"9" * 33 + b" INVITE"), "CSeq"),
        (with_line(b"From: <sip:+12125550100@example.com>", b"From: ,"), "From"),
        (with_line(b"To: <sip:+13125550123@example.net>", b"To: <>"), "To"),
    ],
)
def test_garbage_is_refused_by_name(octets: bytes, fault: str) -> None:
    with pytest.raises(RemoteProtocolError, match=fault) as error:
        parse(octets)
    assert "5550" not in str(error.value)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b"Max-Forwards: 70", b"Max-Forwards: seventy"),
        (b"Max-Forwards: 70", b"Date: yesterday"),
        (b"Max-Forwards: 70", b"no colon in this line"),
        (b"Max-Forwards: 70", b": no name"),
        (b"Content-Length: 0", b"Content-Length: -5"),
        (b"Content-Length: 0", b"Content-Length: 10"),
        (b"Content-Length: 0\r\n", b""),
        (b"Via: SIP/2.0/UDP 192.0.2.10:5060;branch=z9hG4bK776asdhds", b"Via: ;;;,,,"),
        (b"CSeq: 1 INVITE", b"CSeq: 4294967296 INVITE"),
        (b"\r\n\r\n", b""),
    ],
)
def test_what_is_not_needed_does_not_refuse(old: bytes, new: bytes) -> None:
    assert parse(with_line(old, new)).from_.tag == "1928301774"


def test_the_body_ends_with_content_length_or_with_the_octets() -> None:
    base = Dialog().invite(body="0123456789")
    assert parse(base + b"more").body == b"0123456789"
    assert parse(base.replace(b"Content-Length: 10", b"Content-Length: 4")).body == b"0123"
    assert parse(base.replace(b"Content-Length: 10", b"Content-Length: 400")).body == b"0123456789"
    assert parse(base.replace(b"Content-Length: 10\r\n", b"")).body == b"0123456789"
    assert parse(base.replace(b"Content-Length: 10", b"l: 5\r\nContent-Length: 3")).body == b"012"


def test_splitting_a_datagram() -> None:
    one, two = Dialog().invite(body="abc"), Dialog().response(100)
    assert split_messages(one + two) == [one, two]
    assert split_messages(b"\r\n\r\n\0\0" + one + b"\r\n\r\n" + two + b"\0\r\n") == [one, two]
    assert split_messages(b"\x01\x02junk\r\n\xff" + one + b"more junk\r\n" + b"\x00" + two) == [one, two]
    assert split_messages(b"") == split_messages(b"\r\n\0") == split_messages(b"STUN\x01\x02") == []


def test_a_malformed_message_does_not_hide_the_next() -> None:
    bad, good = Dialog().invite().replace(b"CSeq", b"Cxeq"), Dialog().response(100)
    found = split_messages(bad + good)
    assert found == [bad, good]
    with pytest.raises(RemoteProtocolError):
        parse(found[0])


@pytest.mark.parametrize(
    ("value", "addresses"),
    [
        ("<sip:a@x>", [("sip:a@x", "", ())]),
        ("sip:a@x;tag=1", [("sip:a@x", "", (("tag", "1"),))]),
        ("sip:+1555;npdi@x;tag=1", [("sip:+1555;npdi@x", "", (("tag", "1"),))]),
        ("tel:+1555;tag=1", [("tel:+1555", "", (("tag", "1"),))]),
        ('"A, \\"B\\" <c>" <sip:a@x;p=1>;q="x;,y";lr', [("sip:a@x;p=1", 'A, "B" <c>', (("q", "x;,y"), ("lr", "")))]),
        ("Bell, Alexander <sip:a@x>;tag=4", [("sip:a@x", "Bell, Alexander", (("tag", "4"),))]),
        (
            "<sip:a@x>,<sip:b@x>;i=1 , sip:c@x",
            [("sip:a@x", "", ()), ("sip:b@x", "", (("i", "1"),)), ("sip:c@x", "", ())],
        ),
        ("a<sip:a@x>", [("sip:a@x", "a", ())]),
        ('"open <sip:a@x>;tag=1', [("sip:a@x", "open", (("tag", "1"),))]),
        ("< sip:a@x >", [("sip:a@x", "", ())]),
        ("<sip:a@x", [("sip:a@x", "", ())]),
        ("Re: x <sip:a@x>", [("sip:a@x", "Re: x", ())]),
        ("", []),
        (" , ,", []),
    ],
)
def test_addresses(value: str, addresses: list[tuple[str, str, tuple[tuple[str, str], ...]]]) -> None:
    assert [(a.uri, a.display, a.parameters) for a in name_addrs(value)] == addresses


def test_raw_is_each_address_s_own() -> None:
    found = name_addrs('"A" <sip:a@x>;reason=busy, <sip:b@x>')
    assert [a.raw for a in found] == ['"A" <sip:a@x>;reason=busy', "<sip:b@x>"]
    assert found[0].parameter("reason") == "busy"
    assert found[0].parameter("tag") is None
