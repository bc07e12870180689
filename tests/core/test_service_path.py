"""From datagrams through the matching of the access point, the call model and the encoder: all beside calls."""

from __future__ import annotations

import pytest

from mediation.core.call import CallModel
from mediation.core.message import cdc, encoding
from mediation.core.network.identity import DialPlan
from tests.core.call_rig import surveillance
from tests.ext.calls import SBC, Dialog, Rig, S

MAILBOX = "sip:vm@example.com"
SUBJECT = "sip:+12125550100@example.com"


class Path:
    """One access point with one armed order, and its model."""

    def __init__(self) -> None:
        self.rig = Rig().arm(dde=True)
        self.model = CallModel(surveillance(subjects=(S,), plan=DialPlan(area_code="212")))

    def send(self, *datagrams: bytes, source: str = "192.0.2.10") -> list[cdc.Message]:
        found = []
        for datagram in datagrams:
            for pdu in self.rig.send(datagram, source=source):
                found += [each.message for each in self.model.observe(pdu)]
        for message in found:
            assert encoding.encode(message)
        return found


@pytest.fixture
def path() -> Path:
    return Path()


def test_registration(path: Path) -> None:
    d = Dialog(callee=SUBJECT)
    contact = "Contact: <sip:line@192.0.2.10:5060>;expires=60"
    register = d.request("REGISTER", uri="sip:example.com", to_tag=False, headers=[contact])
    accepted = d.response(200, method="REGISTER").replace(b"\r\nCSeq", b"\r\n" + contact.encode() + b"\r\nCSeq")
    (message,) = path.send(register, register, accepted, accepted)
    assert isinstance(message, cdc.ServingSystem)
    assert message.registration_type is cdc.RegistrationType.REGISTRATION
    assert (message.system_identity, message.network_address) == ("example.com", SBC)
    (gone,) = path.model.advance(path.rig.now + 65_000_000_000)
    assert isinstance(gone.message, cdc.ServingSystem)
    assert encoding.encode(gone.message)


@pytest.mark.parametrize("to_subject", [False, True])
def test_a_message(path: Path, to_subject: bool) -> None:
    d = Dialog(caller="sip:+13125550123@example.net", callee=SUBJECT) if to_subject else Dialog()
    first = d.request("MESSAGE", to_tag=False, headers=["Content-Type: text/plain"]).replace(b"th: 0", b"th: 2") + b"Hi"
    (message,) = path.send(first, d.response(407, method="MESSAGE"), first.replace(b"CSeq: 1", b"CSeq: 2"))
    assert isinstance(message, cdc.UuContent) and message.body == b"Hi"


@pytest.mark.parametrize("known", [False, True])
def test_message_waiting_in_a_subscription(path: Path, known: bool) -> None:
    """The subject's name stands on both sides of it (RFC 3842 section 5.8); with `known` it was up before the order."""
    d = Dialog(callee=SUBJECT)
    if known:
        assert path.send(d.request("SUBSCRIBE", to_tag=False, headers=["Event: message-summary"])) == []
        assert path.send(d.response(200, method="SUBSCRIBE"), source=SBC) == []
    body = b"Messages-Waiting: yes\r\nVoice-Message: 1/0\r\n"
    notify = d.request("NOTIFY", by_callee=True, uri="sip:line@192.0.2.10", headers=["Event: message-summary"])
    notify = notify.replace(b"Length: 0", f"Length: {len(body)}".encode()) + body
    (message,) = path.send(notify, notify, source=SBC)
    assert isinstance(message, cdc.NetworkSignal) and message.terminal_display_info is not None
    assert message.terminal_display_info.message_waiting_notif == "yes; voice 1/0"


@pytest.mark.parametrize("by_subject", [False, True])
def test_a_refer_outside_of_calls(path: Path, by_subject: bool) -> None:
    d = Dialog() if by_subject else Dialog(caller="sip:+13125550123@example.net", callee=SUBJECT)
    (message,) = path.send(d.request("REFER", to_tag=False, headers=["Refer-To: <sip:x@y>"]))
    assert isinstance(message, cdc.SubjectSignal if by_subject else cdc.NetworkSignal)
    assert message.refer == ("Refer-To: <sip:x@y>",)


@pytest.mark.parametrize("subscriber", ["sip:feature@example.com", MAILBOX])
def test_kpml_beside_a_call(path: Path, subscriber: str) -> None:
    """The network subscribes at the subject's phone; its reports are found by the Call-ID that they name."""
    call = Dialog()
    path.send(call.invite(), call.response(200), call.request("ACK"))
    event = f'Event: kpml;call-id="{call.call_id}"'
    beside = Dialog(caller=subscriber, callee=SUBJECT, call_id="kpml", caller_tag="n", callee_tag="p")
    path.send(beside.request("SUBSCRIBE", to_tag=False, headers=[event]), beside.response(200, method="SUBSCRIBE"))
    body = b'<kpml-response version="1.0" code="200" digits="411#"/>'
    kind = "Content-Type: application/kpml-response+xml"
    report = beside.request("NOTIFY", by_callee=True, headers=[event, kind])
    report = report.replace(b"Length: 0", f"Length: {len(body)}".encode()) + body
    (message,) = path.send(report, report)
    assert isinstance(message, cdc.DialedDigitExtraction)
    assert (message.digits, message.call_id.main) == ("411#", call.call_id)


def test_a_stranger_s_messages_on_a_trunk_reach_nothing() -> None:
    path = Path()
    d = Dialog(caller="sip:+13125550123@example.net")
    for method in ("MESSAGE", "NOTIFY", "REFER", "SUBSCRIBE", "INFO"):
        assert path.send(d.request(method, to_tag=False, headers=["Event: message-summary"])) == []
    assert path.model.counters["unreported_NOTIFY"] == 0
