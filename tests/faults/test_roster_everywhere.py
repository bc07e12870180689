"""A key is voided, an appointment ended, a token withdrawn: the access function and the mediator, as real processes,
stop by their own judgement what does not stand any more, and remember it over a restart. Whoever connects to them here
is no honest administrator: it never sends a stop.
"""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

import pytest
import trio

from mediation.core.authority import jws, roster
from mediation.core.authority.roster import End, Revoke, Roster
from mediation.core.case import Revocation, Role
from mediation.core.check import Check
from mediation.core.interface import x1
from tests.core import authority as a
from tests.core import founding as f
from tests.core.authority import KEYS, KIDS, NOW_NS, NOW_S, ORIGIN, PERSONS
from tests.core.mutation import GOOD
from tests.core.mutations_people import trust
from tests.faults.test_compromised_administrator import connect, function, write_site

pytestmark = [
    pytest.mark.root,
    pytest.mark.skipif(os.geteuid() != 0, reason="needs root: the access function opens a packet socket"),
]
TRUST = trust()
FUNCTIONS = ("iap", "mediator")


async def tell(stream: trio.SocketStream, request: x1.Request) -> x1.Answer:
    lines = x1.Lines()
    await stream.send_all(x1.encode(request))
    with trio.fail_after(60):
        while True:
            octets = await stream.receive_some(65_536)
            assert octets
            for line in lines.feed(octets):
                return x1.decode_answer(line)


async def facts(stream: trio.SocketStream) -> tuple[int, int, int]:
    """Tasks, changes of the roster, tasks that fell."""
    answer = await tell(stream, x1.ReportStatus())
    assert isinstance(answer, x1.Ok) and answer.report is not None
    told: dict[str, Any] = answer.report["roster"]
    assert told["unrecorded"] == 0
    return answer.report["tasks"], told["changes"], told["tasks_fallen"]


def lines(*actions: Any) -> tuple[str, ...]:
    """The roster after one more change."""
    held = TRUST.roster
    return (*held.lines, f.approved(f.change(held, *actions, issued_s=NOW_S), "egon", "elsa"))


VOID = lines(Revoke(person=PERSONS[Role.OFFICER], kid=KIDS[Role.OFFICER], void_s=NOW_S - 20))
LEFT = lines(End(person=PERSONS[Role.CARRIER], role=Role.CARRIER, at_s=NOW_S - 20))
LATER = lines(Revoke(person=PERSONS[Role.OFFICER], kid=KIDS[Role.OFFICER], void_s=NOW_S + 1))


@pytest.mark.parametrize("changed", [VOID, LEFT], ids=["key void", "appointment ended"])
async def test_stopped_by_a_change_of_the_roster(tmp_path: Path, changed: tuple[str, ...]) -> None:
    write_site(tmp_path, TRUST)
    with function("iap", tmp_path, NOW_NS), function("mediator", tmp_path, NOW_NS):
        for name in FUNCTIONS:
            async with await connect(tmp_path, name) as stream:
                assert await tell(stream, x1.ActivateTask(request=GOOD)) == x1.Ok()
                assert await facts(stream) == (1, 1, 0)
                began = time.monotonic()
                assert await tell(stream, x1.Roster(lines=changed)) == x1.Ok()
                assert await facts(stream) == (0, 2, 1)
                assert time.monotonic() - began < 30  # an order of a millisecond; the bound is for a loaded machine
                refusal = await tell(stream, x1.ActivateTask(request=GOOD))
                assert isinstance(refusal, x1.Refused) and refusal.check in (Check.KEY_DATES, Check.PERSON_DATES)
                for shorter in (TRUST.roster.lines, LATER, ()):
                    refusal = await tell(stream, x1.Roster(lines=shorter))
                    assert isinstance(refusal, x1.Refused) and refusal.check == Check.ROSTER
                forged = (*changed, f.approved(f.change(_held(changed), End(person="olga", role=Role.OFFICER, at_s=1),
                                                        issued_s=NOW_S), "egon"))  # fmt: skip
                refusal = await tell(stream, x1.Roster(lines=forged))
                assert isinstance(refusal, x1.Refused) and refusal.check == Check.ROSTER_APPROVAL
                assert await facts(stream) == (0, 2, 1)
    # The file is still the old one: after a restart each knows that it saw a longer roster, and does not start.
    for name in FUNCTIONS:
        with function(name, tmp_path, NOW_NS):
            said = tmp_path / "log" / f"{name}.log"
            with trio.fail_after(60):
                while "not a continuation of the roster" not in said.read_text():
                    await trio.sleep(0.02)
    f.write(tmp_path / "keys", *changed)
    for name in FUNCTIONS:
        with function(name, tmp_path, NOW_NS):
            async with await connect(tmp_path, name) as stream:
                assert await facts(stream) == (0, 2, 0)


async def test_what_was_entered_before_stands(tmp_path: Path) -> None:
    write_site(tmp_path, TRUST)
    with function("mediator", tmp_path, NOW_NS):
        async with await connect(tmp_path, "mediator") as stream:
            assert await tell(stream, x1.ActivateTask(request=GOOD)) == x1.Ok()
            assert await tell(stream, x1.Roster(lines=LATER)) == x1.Ok()
            assert await facts(stream) == (1, 2, 0)


async def test_a_withdrawn_token_is_remembered(tmp_path: Path) -> None:
    """The signed withdrawal of the legal token, brought by anybody: also other orders under it never run again."""
    draft = Revocation(
        type="revocation", case="CASE-1", token_sha256=jws.sha256_hex(GOOD.legal), reason="test", issued_s=NOW_S,
        nonce="04" * 16,
    )  # fmt: skip
    text = jws.sign(draft, "mediation-revocation", KIDS[Role.LEGAL], KEYS[Role.LEGAL])
    forged = jws.sign(draft, "mediation-revocation", KIDS[Role.LEGAL], a.private(8))
    other = a.sign_carrier(GOOD.legal, nonce="05" * 16)
    again = a.request(GOOD.legal, other, a.sign_command(other))
    write_site(tmp_path, TRUST)
    for start in range(2):
        with function("iap", tmp_path, NOW_NS), function("mediator", tmp_path, NOW_NS):
            for name in FUNCTIONS:
                async with await connect(tmp_path, name) as stream:
                    if not start:
                        assert await tell(stream, x1.ActivateTask(request=GOOD)) == x1.Ok()
                        refusal = await tell(stream, x1.RevokeToken(revocation=forged))
                        assert isinstance(refusal, x1.Refused) and refusal.check == Check.SIGNATURE
                        assert await facts(stream) == (1, 1, 0)
                        assert await tell(stream, x1.RevokeToken(revocation=text)) == x1.Ok()
                        assert await facts(stream) == (0, 1, 1)
                    refusal = await tell(stream, x1.ActivateTask(request=again))
                    assert isinstance(refusal, x1.Refused) and refusal.check == Check.REVOKED, (name, start)


def _held(whole: tuple[str, ...]) -> Roster:
    return Roster.replay(whole, roster.digest(whole[0]), ORIGIN, lab=False)
