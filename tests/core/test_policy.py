"""Policies: what C2SP tlog-policy allows, what it forbids, and what the cosignatures of a note are worth."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mediation.core.errors import RemoteProtocolError
from mediation.core.ledger import note, policy
from tests.core.cosigning import LEDGER, NOW_S, cosigned, ed25519, grown, mldsa, signed

W = [ed25519(n) for n in range(1, 7)]
M = mldsa(1)
NOTE = signed(grown(9))


def lines(count: int = 3) -> str:
    return "".join(f"witness W{n} {W[n - 1].verifier} https://w{n}.example/sub/\n" for n in range(1, count + 1))


# The example of the specification, with keys.
EXAMPLE = f"""\
# two organizations
log {LEDGER.verifier}

witness X1 {W[0].verifier}
\twitness   X2\t{W[1].verifier}
witness X3 {W[2].verifier}\x20
group X-witnesses 2 X1 X2 X3

witness Y1 {W[3].verifier}
witness Y2 {W[4].verifier}
witness Y3 {M.verifier} http://127.0.0.1:8080
group Y-witnesses any Y1 Y2 Y3

group X-and-Y all X-witnesses Y-witnesses
quorum X-and-Y
"""


@pytest.mark.parametrize(
    ("signers", "quorum"),
    [
        ([], False), ([0, 1], False), ([0, 1, 2], False), ([0, 3], False), ([3, 4], False), ([0, 1, 3], True),
        ([1, 2, 4], True), ([0, 1, 2, 3, 4], True), ([0, 2, "M"], True), (["M"], False),
    ],
)  # fmt: skip
def test_the_quorum_of_the_specification(signers: list[int | str], quorum: bool) -> None:
    keys = [W[n] if isinstance(n, int) else M for n in signers]
    judged = policy.parse(EXAMPLE).judge(cosigned(NOTE, keys))
    assert judged.quorum is quorum
    assert len(judged.cosigners) == len(signers)
    assert judged.time_s == (NOW_S if quorum else 0)


def test_the_time_is_that_of_the_least_recent_necessary_one() -> None:
    text = NOTE
    for signer, time_s in ((W[0], NOW_S - 500), (W[1], NOW_S - 20), (W[2], NOW_S - 10), (W[3], NOW_S - 30)):
        text = cosigned(text, [signer], time_s)
    judged = policy.parse(EXAMPLE).judge(text)
    assert judged.time_s == NOW_S - 30  # W1's old one is not needed, W4's is
    assert judged.times == (NOW_S - 500, NOW_S - 20, NOW_S - 10, NOW_S - 30)


def test_a_time_in_the_future_is_not_counted() -> None:
    text = cosigned(NOTE, [W[0]], NOW_S + 1000)
    one = policy.parse(lines() + "quorum W1\n")
    assert one.judge(text, latest_s=NOW_S + 1000).quorum
    assert one.judge(text, latest_s=NOW_S + 999) == policy.Judgement(cosigners=(), times=(), quorum=False, time_s=0)


def test_a_cosignature_without_a_time_is_not_counted() -> None:
    found = policy.parse(f"witness M {M.verifier}\nquorum M\n")
    assert not found.judge(cosigned(NOTE, [M], 0)).quorum
    assert found.judge(cosigned(NOTE, [M], 1)).quorum


def test_strangers_are_ignored() -> None:
    one = policy.parse(lines() + "quorum W1\n")
    assert one.judge(cosigned(NOTE, [W[5], mldsa(5)])).cosigners == ()
    renamed = ed25519(1, "witness.example/other")  # the right key under another name is another key
    assert not one.judge(cosigned(NOTE, [renamed])).quorum


def test_malformed_notes_are_refused() -> None:
    one = policy.parse(lines() + "quorum W1\n")
    good = cosigned(NOTE, [W[0]])
    line = good.rpartition("\u2014")[2]
    for text in (
        "", NOTE[:-1], good.replace("\n9\n", "\n8\n"), good + "\u2014" + line, good + "\u2014 x y\n", good + "\n",
        "not\na\ncheckpoint\n\n" + "\u2014" + line,
    ):  # fmt: skip
        with pytest.raises(RemoteProtocolError):
            one.judge(text)


def test_a_note_of_none_of_its_logs() -> None:
    other = note.Signer("LAB/ledger", W[5]._key)  # type: ignore[arg-type]
    text = other.sign(note.split(NOTE)[0])
    with pytest.raises(RemoteProtocolError, match="none of its logs"):
        policy.parse(EXAMPLE).judge(cosigned(text, W))
    second = mldsa(3, "LAB/ledger")
    both = policy.parse(f"log {second.verifier}\n" + lines() + "quorum W1\n")
    with pytest.raises(RemoteProtocolError, match="none of its logs"):
        both.judge(cosigned(NOTE, W))
    assert both.judge(cosigned(NOTE, [second, W[0]])).quorum


def test_what_the_client_asks() -> None:
    found = policy.parse(EXAMPLE)
    assert [(witness.name, witness.url) for witness in found.witnesses][-1] == ("Y3", "http://127.0.0.1:8080")
    assert policy.parse(lines() + "quorum W1\n").witnesses[0].url == "https://w1.example/sub"
    assert not found.lab


def test_the_witness_of_a_lab_is_for_a_lab_alone() -> None:
    text = f"witness lab {W[0].verifier} lab:\nquorum lab\n"
    with pytest.raises(ValueError, match="line 1: witness: lab: is for a lab site only"):
        policy.parse(text)
    found = policy.parse(text, lab=True)
    assert found.lab and found.witnesses[0].lab


X = f"witness X {W[0].verifier}\n"


@pytest.mark.parametrize(
    "text",
    [
        "", "\n", "# nothing\n", X, X + "quorum X", X + "quorum none\n", X + "quorum Z\n", X + "quorum X\nquorum X\n",
        "quorum X\n" + X, X + "quorum X X\n", "witness none " + str(W[0].verifier) + "\nquorum none\n",
        X + X + "quorum X\n", X + f"witness Y {W[0].verifier}\nquorum X\n",
        X + f"witness Y {ed25519(1, 'other.example')}\nquorum X\n", X + "witness Y\nquorum X\n",
        X + f"log {W[0].verifier}\nquorum X\n", X + f"log {LEDGER.verifier}\nlog {LEDGER.verifier}\nquorum X\n",
        f"witness X {LEDGER.verifier}\nquorum X\n", X + "group G 0 X\nquorum G\n", X + "group G 2 X\nquorum G\n",
        X + "group G 01 X\nquorum G\n", X + "group G any X X\nquorum G\n", X + "group G any\nquorum G\n",
        X + "group G any G\nquorum G\n", X + "group G any none\nquorum G\n", X + "group G some X\nquorum G\n",
        X + "group G any X\ngroup H any X\nquorum G\n", X + "group X any X\nquorum X\n", X + "nonsense X\nquorum X\n",
        X + "quorum X\r\n", X + "quorum\x0bX\n", X + "quorum X\x00\n", X + "quorum\u00a0X\n",
        X[:-1] + " ftp://w.example\nquorum X\n", X[:-1] + " https://a@w.example\nquorum X\n",
        X[:-1] + " https://w.example/?a\nquorum X\n", X[:-1] + " https://w.example:99999\nquorum X\n",
        X[:-1] + " https:///x\nquorum X\n", X[:-1] + " https://w.example/../x y\nquorum X\n",
        X[:-1] + " https://[::1\nquorum X\n", X + "#" * policy.MAX_POLICY_OCTETS + "\nquorum X\n",
        X + "\n" * policy.MAX_LINES + "quorum X\n",
    ],
)  # fmt: skip
def test_what_is_no_policy(text: str) -> None:
    with pytest.raises(ValueError, match=r"^policy: "):
        policy.parse(text, lab=True)


def test_thirty_two_of_each_and_no_more() -> None:
    def text(count: int) -> str:
        made = [ed25519(n + 1, f"w{n}") for n in range(count)]
        body = "".join(f"witness w{n} {signer.verifier}\n" for n, signer in enumerate(made))
        body += "".join(f"group g{n} any {'w' if not n else 'g'}{max(n - 1, 0)}\n" for n in range(count))
        return body + f"quorum g{count - 1}\n"

    found = policy.parse(text(policy.MAX_WITNESSES))
    assert found.judge(cosigned(NOTE, [ed25519(1, "w0")])).quorum
    with pytest.raises(ValueError, match="at most 32"):
        policy.parse(text(policy.MAX_WITNESSES + 1))
    everybody = [ed25519(n + 1, f"w{n}") for n in range(policy.MAX_WITNESSES)]
    assert len(found.judge(cosigned(NOTE, everybody)).cosigners) == policy.MAX_WITNESSES


def test_octets_above_ascii_are_opaque() -> None:
    raw = b"# caf\xe9\nwitness \xe2\x84\xaa " + str(W[0].verifier).encode() + b"\nquorum \xe2\x84\xaa\n"
    assert policy.parse(raw).judge(cosigned(NOTE, W[:1])).quorum
    with pytest.raises(ValueError, match="not defined"):
        policy.parse(raw.replace(b"quorum \xe2\x84\xaa", b"quorum K"))


@given(
    st.text(alphabet=st.sampled_from("witnesgroupquorumnl any23 \n#X+" + "\t"), max_size=200), st.binary(max_size=99)
)
def test_any_text_is_judged_without_a_crash(text: str, octets: bytes) -> None:
    for given_ in (text, X + text + "\n", octets):
        with contextlib.suppress(ValueError):
            policy.parse(given_)
