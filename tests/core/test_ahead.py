"""Signatures that are verified ahead change no judgement: they only come sooner."""

from __future__ import annotations

import copy

import pytest

from mediation.core import _signatures
from mediation.core.authority import authorization, jws, key
from mediation.core.authority.ahead import Ahead, extending, texts
from mediation.core.authority.trust import Trust
from mediation.core.case import Role, TaskRequest
from mediation.core.errors import AuthorizationError
from tests.core import authority as a
from tests.core.authority import KEYS, KIDS, NOW_NS
from tests.core.mutation import GOOD, edit, edited, replace
from tests.core.mutations import ROWS


def ahead_of(request: TaskRequest, trust: Trust) -> Ahead:
    made = Ahead((*texts(request), *extending(request)), trust)
    made.verify()
    return made


def judged(request: TaskRequest, trust: Trust, now_ns: int) -> str:
    try:
        authorization.admit(request, trust, now_ns)
    except AuthorizationError as error:
        return error.check
    return "ok"


def forgetful(trust: Trust) -> Trust:
    found = copy.copy(trust)
    found._verified, found._opened = {}, {}
    return found


@pytest.mark.parametrize("name", ROWS)
def test_each_mutation_is_refused_by_the_same_check(name: str) -> None:
    check, make = ROWS[name]
    request, trust, now_ns = make()
    trust = forgetful(trust)
    trust.learn(ahead_of(request, trust))
    assert judged(request, trust, now_ns) == check


def test_what_was_verified_ahead_is_not_verified_again(monkeypatch: pytest.MonkeyPatch) -> None:
    request, trust = a.extended(), forgetful(a.trust())
    ahead = ahead_of(request, trust)
    assert len(ahead.good()) == 6  # the two tokens, two acts, the two tokens of the extension
    trust.learn(ahead)

    def again(*_: object) -> None:
        raise AssertionError("a signature is verified a second time")

    with monkeypatch.context() as patch:
        patch.setattr(key.Public, "verify", again)
        patch.setattr(jws, "split", again)  # nor is a text taken apart again
        assert judged(request, trust, NOW_NS) == "ok"
    assert not Ahead(texts(request), trust).facts


@pytest.mark.parametrize(
    "request_",
    [
        replace(GOOD, legal=edited(GOOD.legal, edit("case", "CASE-2"))),
        replace(GOOD, legal=jws.sign_octets(jws.split(GOOD.legal).payload, "mediation-legal", KIDS[Role.LEGAL],
                                            KEYS[Role.CARRIER])),
        replace(GOOD, legal=GOOD.legal[:-8] + "AAAAAAAA"),
    ],
    ids=["another text", "another's key", "another signature"],
)  # fmt: skip
def test_nothing_is_learned_of_a_signature_that_is_none(request_: TaskRequest) -> None:
    trust = forgetful(a.trust())
    ahead = ahead_of(request_, trust)
    assert len(ahead.facts) == 3 and len(ahead.good()) == 2
    trust.learn(ahead)
    with pytest.raises(AuthorizationError, match="signature"):
        trust.verify(jws.split(request_.legal), trust.key(Role.LEGAL, KIDS[Role.LEGAL]))


def test_nothing_is_learned_before_it_is_verified() -> None:
    trust = forgetful(a.trust())
    trust.learn(Ahead(texts(GOOD), trust))
    assert not trust._verified


@pytest.mark.parametrize("text", ["", "a.b.c", "a.b", "\ud800"])
def test_what_is_malformed_is_passed_over(text: str) -> None:
    ahead = ahead_of(replace(GOOD, legal=text), forgetful(a.trust()))
    assert len(ahead.good()) == 2


def test_parts_are_kept_for_the_orders_in_hand_alone() -> None:
    trust = forgetful(a.trust())
    trust.learn(ahead_of(GOOD, trust))
    trust.learn(Ahead((), trust))
    assert not trust._apart


def test_the_kernel_says_which_of_many() -> None:
    signed = [KEYS[Role.LEGAL].sign(bytes([n])) + bytes([n]) for n in range(9)]
    keys = [bytes.fromhex(a.public(KEYS[Role.LEGAL]))] * 9
    signed[3] = signed[4][:64] + signed[3][64:]
    keys[7] = bytes.fromhex(a.public(KEYS[Role.OFFICER]))
    assert _signatures.verify(tuple(signed), tuple(keys)) == [n not in (3, 7) for n in range(9)]
    assert _signatures.verify((), ()) == []


@pytest.mark.parametrize(
    ("signed", "keys"),
    [((bytes(64),), ()), ((bytes(63),), (bytes(32),)), ((bytes(64),), (bytes(31),)), ((None,), (bytes(32),))],
    ids=["no key", "shorter than a signature", "not a key", "nothing"],
)
def test_the_kernel_refuses_other_shapes(signed: tuple[bytes, ...], keys: tuple[bytes, ...]) -> None:
    with pytest.raises(ValueError, match="signatures"):
        _signatures.verify(signed, keys)
