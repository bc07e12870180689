"""More identities in one message than are kept or looked up at once: the subject's own is found behind all of them."""

from __future__ import annotations

import pytest

from tests.ext.calls import PEER, Dialog, Point, Rig

SOMEBODY = "<sip:+13125550177@x>"


def stuffed(invite: bytes, lines: bytes) -> bytes:
    """The lines in front of all other headers."""
    start, rest = invite.split(b"\r\n", 1)
    return start + b"\r\n" + lines + rest


@pytest.mark.parametrize(
    "lines",
    [
        f"History-Info: {SOMEBODY}\r\n" * 33,
        f"History-Info: {SOMEBODY}\r\n" * 200,
        "Diversion:\r\n" * 32,
        f"Diversion: {SOMEBODY}\r\n" * 31 + "Diversion:\r\n \r\n",
        f"History-Info: {', '.join([SOMEBODY] * 33)}\r\n",
        f"History-Info: {', '.join([SOMEBODY] * 500)}\r\n" * 3,
        f"Diversion: {SOMEBODY},\r\n {SOMEBODY}\r\n" * 40,
        'Proxy-Authorization: Digest username="somebody", realm="x"\r\n' * 70,
    ],
)
def test_headers_in_front_hide_no_subject(lines: str) -> None:
    rig = Rig().arm()
    message = stuffed(Dialog().invite(), lines.encode())
    assert [pdu.payload for pdu in rig.send(message)] == [message]
    assert rig.send(stuffed(Dialog(caller="sip:+13125550124@x", call_id="other").invite(), lines.encode())) == []


def test_the_subject_s_preferred_identity_is_found_behind_others() -> None:
    rig = Rig().arm()
    headers = [f"History-Info: {SOMEBODY}"] * 40 + ["P-Preferred-Identity: <tel:+1-212-555-0100>"]
    assert len(rig.send(Dialog(caller="sip:anonymous@anonymous.invalid").invite(headers=headers))) == 1


def test_an_asserted_identity_behind_many_still_stands_before_from() -> None:
    """Otherwise a From that the trunk's peer did not assert would capture a stranger's call."""
    rig = Rig(Point(side="trusted-trunk")).arm()
    headers = [f"History-Info: {SOMEBODY}"] * 40 + ["P-Asserted-Identity: <tel:+13125550124>"]
    assert rig.send(Dialog().invite(headers=headers), source=PEER) == []
