"""The SIP torture messages of RFC 4475, and what an interception point does with each of them.

The policy. A message of the subject's call must not be missed because a header that interception does not need is
malformed, and a switch more lenient than RFC 3261 must not become a way around the tap: so what can be understood
passes, and a counter says what was tolerated. Refused is what cannot be told apart from garbage or put into a call: no
start line, another version, no Call-ID, From, To or CSeq, a CSeq that is no number and method.

The files are not part of this repository: `shared/corpus` beside the checkout, or MEDIATION_CORPUS, holds them.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from mediation.access._matcher import Matcher
from mediation.core.errors import RemoteProtocolError
from mediation.core.interface.x2 import Framer
from mediation.core.network.identity import canonical
from mediation.core.network.sdp import parse_sdp
from mediation.core.network.sip import parse, split_messages
from tests.ext.calls import NOW, PLAN, XID, Point

ROOT = Path(__file__).resolve().parents[2]
CORPUS = Path(os.environ.get("MEDIATION_CORPUS", ROOT.parent / "shared" / "corpus"))
FILES = CORPUS / "messages" / "rfc4475"
pytestmark = pytest.mark.skipif(not FILES.is_dir(), reason=f"no RFC 4475 messages: {FILES} is not there")

PARSED, TOLERATED, REFUSED = "parsed", "tolerated", "refused"

# file: what is done, the counter that says so, why
POLICY: dict[str, tuple[str, str, str]] = {
    # 3.1.1 valid: all parsed
    "wsinv": (PARSED, "", "folding and blanks everywhere are legal"),
    "intmeth": (PARSED, "", "wild but legal tokens and URI"),
    "esc01": (PARSED, "", "escaped octets; %40 in a user part is no @"),
    "escnull": (PARSED, "", "escaped NUL is an octet like others"),
    "esc02": (PARSED, "", "% in a method or display name escapes nothing"),
    "lwsdisp": (PARSED, "", "no blank between display name and <"),
    "longreq": (PARSED, "", "long values, many Via"),
    "dblreq": (PARSED, "junk", "two requests in one datagram, octets behind the second"),
    "semiuri": (PARSED, "", "semicolons in a user part"),
    "transports": (PARSED, "", "unknown transports in Via"),
    "mpart01": (PARSED, "", "binary multipart body"),
    "unreason": (PARSED, "", "UTF-8 in the reason phrase"),
    "noreason": (PARSED, "", "empty reason phrase"),
    # 3.1.2 invalid
    "badinv01": (PARSED, "", "only Via and Contact are malformed: neither is needed; the length agrees with the file"),
    "clerr": (TOLERATED, "tolerated_length_short", "Content-Length too large: the body is what there is"),
    "ncl": (TOLERATED, "tolerated_length_bad", "negative Content-Length: the body is the rest of the datagram"),
    "scalar02": (TOLERATED, "tolerated_cseq_range", "numbers out of range: none of them is computed with"),
    "scalarlg": (TOLERATED, "tolerated_cseq_range", "numbers out of range: none of them is computed with"),
    "quotbal": (PARSED, "", "an open quote in To: what stands in < > is still clear"),
    "ltgtruri": (TOLERATED, "tolerated_brackets", "Request-URI in < >: its meaning is clear"),
    "lwsruri": (TOLERATED, "tolerated_spaces", "blank inside the Request-URI: the address before it is clear"),
    "lwsstart": (TOLERATED, "tolerated_spaces", "several blanks in the request line"),
    "trws": (PARSED, "", "blanks behind SIP/2.0"),
    "escruri": (PARSED, "", "headers in the Request-URI are not part of the identity"),
    "baddate": (PARSED, "", "Date is not needed: times are the kernel's"),
    "regbadct": (PARSED, "", "Contact is not needed to find whose message it is"),
    "badaspec": (PARSED, "", "blanks inside < >"),
    "baddn": (PARSED, "", "a comma in an unquoted display name"),
    "badvers": (REFUSED, "malformed_version", "not this protocol"),
    "mismatch01": (TOLERATED, "tolerated_cseq_method", "the request line names the method"),
    "mismatch02": (TOLERATED, "tolerated_cseq_method", "the request line names the method"),
    "bigcode": (REFUSED, "malformed_start_line", "a status is three digits"),
    # 3.2 transaction layer
    "badbranch": (PARSED, "", "a branch that is only the cookie"),
    # 3.3 application layer
    "insuf": (REFUSED, "malformed_no_call_id", "no Call-ID, From or To: belongs to no call"),
    "unkscm": (PARSED, "", "a Request-URI of an unknown scheme names nobody"),
    "novelsc": (PARSED, "", "a Request-URI of an unknown scheme names nobody"),
    "unksm2": (PARSED, "", "unknown schemes in To, From and Contact name nobody"),
    "bext01": (PARSED, "", "unknown extensions are the endpoints' business"),
    "invut": (PARSED, "", "an unknown body type is no session description"),
    "regaut01": (PARSED, "", "unknown credentials name nobody"),
    "multi01": (TOLERATED, "tolerated_repeated", "the first of a header that stands once; every From is looked up"),
    "mcl01": (TOLERATED, "tolerated_length_bad", "two lengths: the smaller one, and the rest is looked at again"),
    "bcast": (PARSED, "", "where a response goes is not our business"),
    "zeromf": (PARSED, "", "Max-Forwards is not needed"),
    "cparam01": (PARSED, "", "unknown Contact parameters"),
    "cparam02": (PARSED, "", "unknown Contact parameters"),
    "regescrt": (PARSED, "", "an escaped Route in a Contact"),
    "sdp01": (PARSED, "", "Accept is the endpoints' business"),
    # 3.4 RFC 2543
    "inv2543": (PARSED, "", "no tags, no branch"),
}
NAMES = sorted(POLICY)


def octets(name: str) -> bytes:
    return (FILES / f"{name}.dat").read_bytes()


def feed(matcher: Matcher, data: bytes) -> list[bytes]:
    matcher.datagram(data, stamp_ns=NOW, now_ns=NOW)
    return [pdu.payload for pdu in Framer().feed(matcher.take())]


def test_every_file_has_a_policy() -> None:
    assert {p.stem for p in FILES.glob("*.dat")} == set(NAMES)


def test_the_policy_keeps_the_classes_of_the_rfc() -> None:
    """Valid messages are parsed without a word; the three that are refused are invalid or insufficient."""
    lines = (CORPUS / "messages" / "rfc4475_expected.tsv").read_text().splitlines()[1:]
    classes = {Path(line.split("\t")[0]).stem: line.split("\t")[1] for line in lines}
    for name, (verdict, _, _) in POLICY.items():
        if "valid (accept)" in classes[name] and "invalid" not in classes[name]:
            assert verdict == PARSED
        if verdict == REFUSED:
            assert "3.1.2 invalid" in classes[name] or name == "insuf"


@pytest.mark.parametrize("name", NAMES)
def test_what_the_parser_does(name: str) -> None:
    verdict = POLICY[name][0]
    messages = split_messages(octets(name))
    assert len(messages) == (2 if name == "dblreq" else 1)
    for message in messages:
        if verdict == REFUSED:
            with pytest.raises(RemoteProtocolError):
                parse(message)
        else:
            parsed = parse(message)
            assert parsed.call_id
            assert parsed.from_.uri
            assert parsed.to.uri


@pytest.mark.parametrize("name", NAMES)
def test_what_the_access_point_counts(name: str) -> None:
    verdict, counter, _ = POLICY[name]
    matcher = Matcher([Point()], PLAN)
    feed(matcher, octets(name))
    rose = {k for k, v in matcher.counters().items() if v}
    rose -= {"datagrams", "messages", "initial", "no_match"}
    if name == "mcl01":
        rose.remove("junk")
    assert rose == ({counter} if counter else set())
    assert matcher.counters()["no_match"] == (0 if verdict == REFUSED else 2 if name == "dblreq" else 1)


@pytest.mark.parametrize("name", [name for name in NAMES if POLICY[name][0] != REFUSED])
def test_the_subject_s_message_is_never_missed(name: str) -> None:
    """Whoever stands in From, or in the Request-URI of an INVITE: his order gets exactly this message."""
    armed = 0
    for message in split_messages(octets(name)):
        parsed = parse(message)
        if parsed.method not in ("INVITE", "REGISTER"):
            continue  # begins nothing
        uris = [parsed.from_.uri, *([parsed.request_uri] if parsed.method == "INVITE" else [parsed.to.uri])]
        for uri in uris:
            key = canonical(uri, PLAN)
            if key is None:
                continue
            matcher = Matcher([Point()], PLAN)
            matcher.add_task(XID, [key], 0, 2**63)
            assert feed(matcher, octets(name)) == [message]
            armed += 1
    if name in ("wsinv", "esc01", "escnull", "longreq", "dblreq", "badinv01", "ltgtruri", "inv2543", "multi01"):
        assert armed >= 2


@pytest.mark.parametrize(
    ("name", "port"), [("wsinv", 49217), ("badinv01", 49217), ("ltgtruri", 49217), ("inv2543", 49217), ("clerr", 49217)]
)
def test_their_descriptions(name: str, port: int) -> None:
    found = parse_sdp(parse(split_messages(octets(name))[0]).body)
    assert found is not None
    assert found.audio is not None
    assert found.audio.port == port


def test_wsinv_in_detail() -> None:
    m = parse(octets("wsinv"))
    assert (m.from_.display, m.from_.uri, m.from_.tag) == ('J Rosenberg \\"', "sip:jdrosen@example.com", "98asjd8")
    assert (m.to.uri, m.to.tag, m.cseq, m.cseq_method) == (
        "sip:vivekg@chair-dnrc.example.com",
        "1918181833n",
        9,
        "INVITE",
    )
    assert m.first("newfangledheader") == "newfangled value continued newfangled value"
    assert len(m.all("via")) == 2


def test_semiuri_names_the_whole_user_part() -> None:
    uri = parse(octets("semiuri")).request_uri
    assert canonical(uri, PLAN) == "sip:user;par=u@example.net@example.com"
