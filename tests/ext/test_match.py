"""Matching at the access point: whose message it is, on which side of the network, and what passes after that."""

import pytest

from mediation.core.errors import LocalProtocolError
from mediation.core.interface.x2 import Direction, PayloadFormat, Role
from mediation.core.network.sip import parse
from tests.ext.calls import HOUR, NOW, PEER, S2, SBC, XID, XID2, Dialog, Point, Rig, S

STRANGER = "sip:+13125550123@example.net"
SUBJECT = "sip:+12125550100@example.com"


def to_subject(**more: str) -> Dialog:
    return Dialog(caller=STRANGER, callee=SUBJECT, **more)


def test_a_call_of_the_subject_passes_whole_with_directions() -> None:
    rig = Rig().arm()
    d = Dialog()
    messages = [
        (d.invite(), Direction.FROM_TARGET),
        (d.response(100, to_tag=False), Direction.TO_TARGET),
        (d.response(180), Direction.TO_TARGET),
        (d.response(200), Direction.TO_TARGET),
        (d.request("ACK"), Direction.FROM_TARGET),
        (d.request("INFO", by_callee=True, cseq=7), Direction.TO_TARGET),
        (d.response(200, method="INFO", by_caller=True, cseq=7), Direction.FROM_TARGET),
        (d.request("BYE", by_callee=True, cseq=8), Direction.TO_TARGET),
        (d.response(200, method="BYE", by_caller=True, cseq=8), Direction.FROM_TARGET),
    ]
    handles = set()
    for sequence, (octets, direction) in enumerate(messages, 1):
        (pdu,) = rig.send(octets)
        assert (pdu.payload, pdu.direction, pdu.role) == (octets, direction, Role.CALLING)
        assert (pdu.xid, pdu.sequence, pdu.stamp_ns) == (XID, sequence, NOW)
        assert pdu.payload_format == PayloadFormat.SIP
        assert (pdu.source, pdu.destination) == (("192.0.2.10", 5060), (SBC, 5060))
        handles.add(pdu.correlation)
    assert len(handles) == 1
    assert rig.count("calls") == 1
    assert rig.count("matched") == rig.count("pdus") == len(messages)


def test_a_call_to_the_subject() -> None:
    rig = Rig().arm()
    d = to_subject()
    assert [p.direction for p in rig.send(d.invite(), d.response(200), d.request("BYE", by_callee=True))] == [
        Direction.TO_TARGET,
        Direction.FROM_TARGET,
        Direction.FROM_TARGET,
    ]


def test_nothing_of_others() -> None:
    rig = Rig().arm()
    d = Dialog(caller=STRANGER, callee="sip:+13125550999@example.net")
    assert rig.send(d.invite(), d.response(200), d.request("BYE")) == []
    assert rig.matcher.gauges()["calls"] == 0
    assert rig.count("no_match") == 3


def test_one_call_does_not_open_another() -> None:
    rig = Rig().arm()
    assert len(rig.send(Dialog().invite())) == 1
    assert rig.send(Dialog(call_id="other", caller=STRANGER).response(200)) == []


@pytest.mark.parametrize(
    "header",
    [
        "P-Asserted-Identity: <tel:+1-212-555-0100>",
        'P-Asserted-Identity: "S" <sip:anonymous@x>, <tel:+12125550100>',
        "p-preferred-identity:<sip:2125550100@example.com;user=phone>",
        'Authorization: Digest username="12125550100", realm="example.com", nonce="a,b", uri="sip:x"',
        'Proxy-Authorization: Digest realm="r",\r\n username="+12125550100@example.com"',
    ],
)
def test_the_subject_calls_with_another_from(header: str) -> None:
    rig = Rig().arm()
    (pdu,) = rig.send(Dialog(caller="sip:anonymous@anonymous.invalid").invite(headers=[header]))
    assert pdu.role is Role.CALLING


@pytest.mark.parametrize(
    "header",
    [
        "P-Called-Party-ID: <sip:2125550100@example.com>",
        "Diversion: <sip:2125550100@example.com>;reason=unconditional",
        'Diversion: <sip:1@a>;reason=no-answer, "S" <tel:+12125550100>;reason=user-busy',
        "History-Info: <sip:2125550100@example.com>;index=1, <sip:3125550123@x>;index=1.1",
    ],
)
def test_a_call_that_was_for_the_subject(header: str) -> None:
    rig = Rig().arm()
    (pdu,) = rig.send(Dialog(caller=STRANGER).invite(headers=[header]))
    assert pdu.role is Role.CALLED


def test_to_alone_never_counts() -> None:
    rig = Rig().arm()
    d = Dialog(caller=STRANGER)
    assert rig.send(d.invite(to=SUBJECT)) == []
    assert rig.send(d.invite(headers=["Contact: <" + SUBJECT + ">", "Referred-By: <" + SUBJECT + ">"])) == []


def test_username_at_realm() -> None:
    rig = Rig().arm(XID, "sip:alice@example.com")
    credentials = 'Authorization: Digest username="alice", realm="example.com"'
    assert len(rig.send(Dialog(caller=STRANGER, call_id="1").invite(headers=[credentials]))) == 1
    other = credentials.replace("example.com", "example.org")
    assert rig.send(Dialog(caller=STRANGER, call_id="2").invite(headers=[other])) == []


INVITE_HEADERS = {
    "ruri": ([], SUBJECT, STRANGER),
    "from": ([], STRANGER, SUBJECT),
    "pai": (["P-Asserted-Identity: <" + SUBJECT + ">"], STRANGER, "sip:x@example.org"),
    "ppi": (["P-Preferred-Identity: <" + SUBJECT + ">"], STRANGER, "sip:x@example.org"),
    "pcpid": (["P-Called-Party-ID: <" + SUBJECT + ">"], STRANGER, "sip:x@example.org"),
    "auth": (['Authorization: Digest username="2125550100"'], STRANGER, "sip:x@example.org"),
    "diversion": (["Diversion: <" + SUBJECT + ">"], STRANGER, "sip:x@example.org"),
    "history": (["History-Info: <" + SUBJECT + ">;index=1"], STRANGER, "sip:x@example.org"),
    "from+pai": (["P-Asserted-Identity: <sip:x@example.org>"], STRANGER, SUBJECT),
}
COUNTING = {
    ("access", PEER): set(INVITE_HEADERS),
    ("trunk", PEER): {"ruri"},
    ("trunk", SBC): {"ruri", "from", "pai", "pcpid", "diversion", "history", "from+pai"},
    ("trusted-trunk", PEER): {"ruri", "from", "pai", "pcpid", "diversion", "history"},
}


@pytest.mark.parametrize(("side", "source"), COUNTING)
@pytest.mark.parametrize("name", INVITE_HEADERS)
def test_which_headers_count_on_which_side(side: str, source: str, name: str) -> None:
    """The table in ext/match_table.pxd, row by row."""
    rig = Rig(Point(side=side, own=("2001:db8::7", SBC))).arm()
    headers, uri, from_ = INVITE_HEADERS[name]
    pdus = rig.send(Dialog(caller=from_).invite(uri=uri, headers=headers), source=source)
    assert bool(pdus) == (name in COUNTING[side, source])


@pytest.mark.parametrize("method", ["BYE", "ACK", "CANCEL", "PRACK", "UPDATE", "DANCE", "invite"])
def test_other_methods_begin_nothing(method: str) -> None:
    rig = Rig().arm()
    assert rig.send(Dialog().request(method, to_tag=False)) == []


def test_wildcards() -> None:
    rig = Rig().arm(XID, "sip:*@gw.example.com").arm(XID2, "tel:+1-212-555-01*")
    trunk = Dialog(caller="sip:+13125550142@GW.example.com:5061", call_id="1")
    assert [p.xid for p in rig.send(trunk.invite())] == [XID]
    block = Dialog(caller="sip:2125550177@x", call_id="2")
    assert [p.xid for p in rig.send(block.invite())] == [XID2]
    assert rig.send(Dialog(caller="sip:2125550200@x", call_id="3").invite()) == []
    both = Dialog(caller="sip:2125550177@gw.example.com", call_id="4")
    assert {p.xid for p in rig.send(both.invite())} == {XID, XID2}
    rig.matcher.remove_task(XID2)
    assert [p.xid for p in rig.send(Dialog(caller="sip:2125550177@gw.example.com", call_id="5").invite())] == [XID]
    assert rig.send(Dialog(caller="sip:2125550177@x", call_id="6").invite()) == []


def test_two_cases_on_one_subject_do_not_know_each_other() -> None:
    rig = Rig().arm(XID).arm(XID2)
    d = Dialog()
    pdus = rig.send(d.invite())
    assert sorted(p.xid for p in pdus) == [XID, XID2]
    rig.matcher.remove_task(XID)
    assert [p.xid for p in rig.send(d.response(200))] == [XID2]


def test_subject_calls_subject() -> None:
    rig = Rig().arm(XID, S).arm(XID2, S2)
    pdus = rig.send(Dialog(callee="sip:+12125550199@example.com").invite())
    assert {p.xid: (p.role, p.direction) for p in pdus} == {
        XID: (Role.CALLING, Direction.FROM_TARGET),
        XID2: (Role.CALLED, Direction.TO_TARGET),
    }


def test_subject_calls_itself() -> None:
    rig = Rig().arm()
    (pdu,) = rig.send(Dialog(callee=SUBJECT).invite())
    assert pdu.role is Role.CALLING


def test_eight_tasks_a_call_and_the_ninth_is_counted() -> None:
    rig = Rig()
    for i in range(9):
        rig.arm(bytes([i]) * 16)
    assert len(rig.send(Dialog().invite())) == 8
    assert rig.count("tasks_refused") == 1


def test_span_port_sees_it_twice() -> None:
    rig = Rig().arm()
    d = Dialog()
    first, second = rig.send(d.invite(), d.invite())
    assert (first.correlation, first.payload) == (second.correlation, second.payload)
    assert rig.count("calls") == 1


def test_a_back_to_back_agent_that_keeps_the_call_id() -> None:
    """Both legs are one call; a From tag of either leg's initial INVITE is the caller's."""
    rig = Rig().arm()
    a, b = Dialog(), Dialog(caller_tag="leg-b", callee_tag="far-b", branch="z9hG4bKb")
    pdus = rig.send(a.invite(), b.invite(), b.response(200), a.response(200), b.request("BYE", by_callee=True))
    assert [p.direction for p in pdus] == [
        Direction.FROM_TARGET, Direction.FROM_TARGET, Direction.TO_TARGET, Direction.TO_TARGET, Direction.TO_TARGET,
    ]  # fmt: skip


def test_the_proxy_s_second_side_can_add_a_task() -> None:
    """A SPAN port sees the INVITE again with its Request-URI translated to the subject."""
    rig = Rig().arm()
    d = Dialog(caller=STRANGER, callee="sip:sales@example.com")
    assert rig.send(d.invite()) == []
    (pdu,) = rig.send(d.invite(uri=SUBJECT))
    assert pdu.role is Role.CALLED
    assert len(rig.send(d.response(180))) == 1


def test_the_window_holds_for_every_message() -> None:
    rig = Rig().arm(end=NOW + 10)
    d = Dialog()
    rig.now = NOW + 9
    assert len(rig.send(d.invite())) == 1
    rig.now = NOW + 10
    assert rig.send(d.response(200)) == []
    assert rig.send(Dialog(call_id="later").invite()) == []
    assert rig.count("outside_window") == 2
    assert rig.matcher.gauges()["calls"] == 1  # the later one was not even opened


@pytest.mark.parametrize(("clock", "passes"), [(-1, False), (0, True), (9, True), (10, False), (11, False)])
@pytest.mark.parametrize("live", [True, False])
def test_the_clock_alone_ends_and_begins_a_window(clock: int, passes: bool, live: bool) -> None:
    """To the nanosecond, and whatever the packet's own stamp says: here it is always inside."""
    rig = Rig(live=live).arm(start=NOW, end=NOW + 10)
    rig.now = NOW + clock
    assert bool(rig.send(Dialog().invite(), stamp=NOW + 5)) == passes


def test_not_before_its_window() -> None:
    rig = Rig().arm(start=NOW + 1)
    d = Dialog()
    assert rig.send(d.invite()) == []
    rig.now += 1
    assert rig.send(d.response(200)) == []  # the call began before: the order does not reach back
    assert len(rig.send(Dialog(call_id="later").invite())) == 1


def test_a_live_packet_s_own_stamp_counts_too() -> None:
    rig = Rig().arm()
    assert rig.send(Dialog().invite(), stamp=NOW - HOUR - 1) == []
    assert rig.send(Dialog().invite(), stamp=NOW + HOUR) == []
    assert len(rig.send(Dialog().invite(), stamp=NOW - HOUR)) == 1


def test_a_replayed_packet_s_stamp_does_not() -> None:
    rig = Rig(live=False).arm()
    (pdu,) = rig.send(Dialog().invite(), stamp=5)
    assert pdu.stamp_ns == 5


def test_access_points_of_an_order() -> None:
    rig = Rig(Point(), Point()).arm(iap_mask=0b10)
    d = Dialog()
    assert rig.send(d.invite(), iap=0) == []
    assert len(rig.send(d.invite(), iap=1)) == 1
    assert rig.send(d.response(200), iap=0) == []
    assert rig.count("outside_iap") == 2
    rig.send(d.invite(), iap=2)
    assert rig.count("unknown_iap") == 1


def test_a_removed_task_gets_nothing_of_its_calls_that_are_up() -> None:
    rig = Rig().arm()
    d = Dialog()
    rig.send(d.invite())
    assert rig.matcher.remove_task(XID)
    assert not rig.matcher.remove_task(XID)
    assert rig.send(d.response(200)) == []
    assert rig.matcher.gauges() == {
        "tasks": 0, "keys": 0, "calls": 0, "flows": 0, "voices": 0, "out_octets": 0, "content_octets": 0,
    }  # fmt: skip
    rig.arm()  # the same task place, another task: the old call is not its call
    assert rig.send(d.response(200)) == []


def test_arming_is_all_or_nothing() -> None:
    rig = Rig()
    with pytest.raises(LocalProtocolError):
        rig.matcher.add_task(XID, [S, "tel:+12a"], 0, 2**63)
    with pytest.raises(LocalProtocolError):
        rig.matcher.add_task(b"short", [S], 0, 2**63)
    assert rig.send(Dialog().invite()) == []
    rig.arm()
    with pytest.raises(LocalProtocolError):
        rig.arm()
    assert len(rig.send(Dialog().invite())) == 1


def test_several_messages_and_junk_in_one_datagram() -> None:
    rig = Rig().arm()
    mine, other = Dialog(), Dialog(caller=STRANGER, call_id="other")
    datagram = [b"\r\n\r\n\0\0", other.invite(), b"\r\n", mine.invite(body="v=0\r\n"), b"junk\r\n", mine.response(100)]
    assert [parse(p.payload).method for p in rig.send(b"".join(datagram))] == ["INVITE", ""]
    assert rig.count("messages") == 3
    assert rig.count("junk") == 1


def test_what_is_not_sip() -> None:
    rig = Rig().arm()
    assert rig.send(b"\r\n\r\n", b"\0\0\0\0", b"", b"GET / HTTP/1.1\r\n\r\n", bytes(range(256))) == []
    assert (rig.count("keepalives"), rig.count("not_sip"), rig.count("messages")) == (3, 2, 0)


@pytest.mark.parametrize(
    ("line", "counter"),
    [
        ("Call-ID: a84b4c76e66710@192.0.2.10", "malformed_no_call_id"),
        ("CSeq: 1 INVITE", "malformed_no_cseq"),
        ("Max-Forwards: 70", None),
        ("Via: SIP/2.0/UDP 192.0.2.10:5060;branch=z9hG4bK776asdhds", None),
    ],
)
def test_missing_headers_are_counted_by_name(line: str, counter: str | None) -> None:
    rig = Rig().arm()
    octets = Dialog().invite().replace(line.encode() + b"\r\n", b"")
    assert bool(rig.send(octets)) == (counter is None)
    if counter:
        assert rig.count(counter) == 1


@pytest.mark.parametrize("name", [b"Call\rID", b"Call ID", b"Call-I\x44\0", b"Call\x0dID"])
def test_a_header_that_only_resembles_call_id_hides_no_call(name: bytes) -> None:
    rig = Rig().arm()
    d = Dialog()
    rig.send(d.invite().replace(b"Call-ID:", name + b": decoy\r\nCall-ID:"))
    assert len(rig.send(d.response(200))) == 1


def test_the_output_bound_is_counted_and_leaves_a_gap() -> None:
    rig = Rig(out_bound=2000).arm()
    d = Dialog()
    for _ in range(10):
        rig.matcher.datagram(d.invite(), stamp_ns=NOW, now_ns=NOW)
    sequences = [p.sequence for p in rig.pdus()]
    lost = rig.count("out_lost")
    assert lost > 0
    assert sequences == list(range(1, 11 - lost))
    assert [p.sequence for p in rig.send(d.invite())] == [11]


def test_ipv6() -> None:
    rig = Rig(Point(side="trunk", own=("2001:db8::1",))).arm()
    (pdu,) = rig.send(Dialog().invite(), source="2001:db8::1", destination="2001:db8::2")
    assert (pdu.source, pdu.destination) == (("2001:db8::1", 5060), ("2001:db8::2", 5060))
    assert rig.send(Dialog(call_id="x").invite(), source="2001:db8::2", destination="2001:db8::1") == []
