"""What holds for the call model whatever happens to the wire: loss, copies, reordering, many calls, hostile octets.

Calls are recorded from scripts (tests.core.call_rig), then their PDUs are mangled and given to a fresh model.
"""

from __future__ import annotations

import itertools
import random
from collections import defaultdict
from collections.abc import Callable, Sequence

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mediation.core import call as call_module
from mediation.core.call import CallModel
from mediation.core.calls import dialog
from mediation.core.calls.dialog import QUIET_LIMIT
from mediation.core.interface.x2 import PayloadFormat, Pdu
from mediation.core.message import cdc
from tests.conformance.test_scenarios import IN, OUT
from tests.core.call_rig import S_CONTACT, Wire, incoming, sdp, surveillance

MANY = settings(max_examples=120, deadline=None, suppress_health_check=[HealthCheck.too_slow])


def challenged(wire: Wire) -> None:
    wire.invite()
    wire.response(407)
    wire.cseq = 2
    wire.connect()
    wire.bye()


def never_ended(wire: Wire) -> None:
    wire.connect()
    wire.dial("12")


def abandoned(wire: Wire) -> None:
    wire.invite()
    wire.ring()


def joined(wire: Wire) -> None:
    wire.offer(sdp(2, codec="8 PCMA"), sdp(2, codec="8 PCMA", origin="a"))
    wire.bye()


SCRIPTS: list[tuple[Callable[[Wire], None], bool]] = [
    *((play, False) for play, _ in OUT.values()),
    *((play, True) for play, _ in IN.values()),
    *((play, way) for play in (challenged, never_ended, abandoned, joined) for way in (False, True)),
]


def record(number: int, script: int, hops: int, device: str = S_CONTACT) -> list[Pdu]:
    """The PDUs of one call, as its tap sent them. All are calls of one line; `device` is the subject's phone."""
    play, inwards = SCRIPTS[script]
    make, own = (incoming, "called_contact") if inwards else (Wire, "caller_contact")
    wire = make(
        CallModel(surveillance()),
        call_id=f"call-{number}",
        caller_tag=f"c{number}",
        called_tag=f"d{number}",
        span=hops,
        **{own: device},
    )
    wire.now_ns += number * 7_000_000
    play(wire)
    return wire.sent


PICKS = st.lists(st.tuples(st.integers(0, len(SCRIPTS) - 1), st.sampled_from([1, 1, 2, 3])), min_size=1, max_size=4)
CALLS = PICKS.map(lambda picks: [record(number, *pick) for number, pick in enumerate(picks)])


def run(pdus: Sequence[Pdu]) -> list[cdc.CallEvent]:
    """All events, until every call is over for good."""
    model = CallModel(surveillance())
    events = [event for pdu in pdus for event in model.observe(pdu)]
    assert model.calls <= len({pdu.correlation for pdu in pdus})
    now = max((pdu.stamp_ns for pdu in pdus), default=0)
    for _ in range(2):  # the limit of the state, then the linger
        now += QUIET_LIMIT + 1
        events += model.advance(now)
    assert model.calls == 0
    assert model.next_deadline_ns() is None
    return events


def by_call(events: list[cdc.CallEvent]) -> dict[str, list[cdc.Message]]:
    """A message about several calls stands with each of them."""
    calls = defaultdict(list)
    for event in events:
        for main in mains(event.message):
            calls[main].append(event.message)
    return calls


def mains(message: cdc.Message) -> set[str]:
    if isinstance(message, cdc.Change):
        return {identity.main for identity in (*message.previous, *message.resulting)}
    identity = getattr(message, "call_id", None)
    return {each.main for each in ((identity,) if identity is not None else getattr(message, "call_ids", ()))}


def begins(messages: list[cdc.Message]) -> int:
    return sum(isinstance(message, cdc.Origination | cdc.TerminationAttempt) for message in messages)


def unwaiting(message: cdc.Message) -> cdc.Message:
    """As if no other call were up."""
    if isinstance(message, cdc.NetworkSignal) and message.alerting_signal is cdc.AlertingSignal.CALL_WAITING_PATTERN_1:
        return msgspec.structs.replace(message, alerting_signal=cdc.AlertingSignal.ALERTING_PATTERN_0)
    return message


def is_end(message: cdc.Message) -> bool:
    return isinstance(message, cdc.Release) and message.call_id.leg is None


def in_time(calls: list[list[Pdu]]) -> list[Pdu]:
    return sorted(itertools.chain(*calls), key=lambda pdu: pdu.stamp_ns)


@MANY
@given(CALLS, st.randoms(use_true_random=False))
def test_loss_and_copies_in_order(calls: list[list[Pdu]], rng: random.Random) -> None:
    """One beginning at most, exactly one end, nothing after it, nothing twice, time never turned back."""
    kept = [pdu for pdu in in_time(calls) if rng.random() < 0.8]
    for messages in by_call(run(kept)).values():
        assert begins(messages) <= 1
        assert [is_end(message) for message in messages] == [False] * (len(messages) - 1) + [True]
        assert len({msgspec.json.encode(message) for message in messages}) == len(messages)
        stamps = [message.timestamp_ns for message in messages]
        assert stamps == sorted(stamps)
        if begins(messages):
            assert isinstance(messages[0], cdc.Origination | cdc.TerminationAttempt)


@MANY
@given(CALLS, st.randoms(use_true_random=False))
def test_copies_change_nothing(calls: list[list[Pdu]], rng: random.Random) -> None:
    """Any message may come again, at once or several messages later."""
    once = in_time(calls)
    again = [(at + rng.choice((0.5, 1.5, 3.5)), pdu) for at, pdu in enumerate(once) if rng.random() < 0.5]
    twice = [pdu for _, pdu in sorted([*enumerate(once), *again], key=lambda each: each[0])]
    assert run(twice) == run(once)


@MANY
@given(PICKS)
def test_calls_do_not_disturb_each_other(picks: list[tuple[int, int]]) -> None:
    """Of phones of their own: all that one call learns of another is that it waits."""
    calls = [record(number, *pick, f"sip:line@10.0.1.{number}") for number, pick in enumerate(picks)]
    together = by_call(run(in_time(calls)))
    for call in calls:
        for main, messages in by_call(run(call)).items():
            alone = [m for m in messages if not is_end(m)]
            assert [
                unwaiting(m) for m in together[main] if not is_end(m)
            ] == alone  # a timer's Release has the timer's own stamp


@MANY
@given(CALLS, st.randoms(use_true_random=False))
def test_any_order(calls: list[list[Pdu]], rng: random.Random) -> None:
    """However messages are shuffled: every call that was named is closed, and no end is told twice in a row."""
    pdus = list(itertools.chain(*calls))
    rng.shuffle(pdus)
    for messages in by_call(run(pdus[: rng.randrange(1, len(pdus) + 1)])).values():
        ends = [is_end(message) for message in messages]
        assert ends[-1]
        assert begins(messages) <= sum(ends)
        assert not any(one and two for one, two in itertools.pairwise(ends))


@MANY
@given(st.lists(st.binary(max_size=200), max_size=5), CALLS, st.randoms(use_true_random=False))
def test_hostile_octets(junk: list[bytes], calls: list[list[Pdu]], rng: random.Random) -> None:
    """Octets changed, cut and invented: never an exception, and real calls are still closed."""
    pdus = []
    for pdu in in_time(calls):
        octets = bytearray(pdu.payload)
        if octets and rng.random() < 0.3:
            for _ in range(rng.randrange(1, 6)):
                octets[rng.randrange(len(octets))] = rng.randrange(256)
        if rng.random() < 0.1:
            del octets[rng.randrange(len(octets) + 1) :]
        pdus.append(msgspec.structs.replace(pdu, payload=bytes(octets)))
    for octets in junk:
        form = rng.choice([PayloadFormat.SIP, PayloadFormat.RTP, 99])
        pdus.append(msgspec.structs.replace(pdus[0], payload=bytes(octets), payload_format=form))
    model = CallModel(surveillance())
    for pdu in pdus:
        for event in model.observe(pdu):
            assert event.message.case_id == "CASE-1"


def test_memory_of_one_call_is_bounded() -> None:
    """A phone that forks, retargets, offers and repeats without end."""
    model = CallModel(surveillance())
    wire = incoming(model)
    wire.invite()
    for n in range(500):
        wire.request("INVITE", to_tag=None, uri=f"sip:x{n}@10.0.{n % 250}.1", branch=f"z9hG4bK-{n}")
        wire.response(180, tag=f"tag{n}", branch=f"z9hG4bK-{n}")
        wire.request("INVITE", to_tag=None, branch=f"z9hG4bK-e{n}", from_=f"<sip:e@h>;x={n}", cseq=n + 2)
        wire.request("UPDATE", cseq=1000 + n, body=sdp(n))
        Wire(model, caller_tag=f"echo{n}", cseq=7).invite()
    (call,) = model._calls.values()
    assert len(call.legs) <= dialog.MAX_LEGS
    assert len(call.branches) <= dialog.MAX_BRANCHES
    assert len(call.offers) <= dialog.MAX_OFFERS
    assert len(call.seen) <= dialog.MAX_SEEN
    assert len(call.echoes) <= dialog.MAX_ECHOES
    assert len(model._reader._whereabouts._contacts) <= 256
    wire.bye()
    assert wire.story[-1] == "release"


def test_calls_are_bounded_and_each_is_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(call_module, "MAX_CALLS", 50)
    model = CallModel(surveillance())
    events = []
    for n in range(500):
        wire = Wire(model, call_id=f"call-{n}")
        wire.invite()
        events += wire.events
    assert model.calls == 50
    assert len(model._timers._queue) <= 2 * 50 + 64
    assert model.counters["calls_evicted"] == 450
    events += model.advance(wire.now_ns + QUIET_LIMIT)
    closed = by_call(events)
    assert len(closed) == 500
    assert all(begins(messages) == sum(map(is_end, messages)) == 1 for messages in closed.values())


def test_timers_do_not_pile_up() -> None:
    """A call of a day, with digits now and then, keeps a queue as short as at its start."""
    wire = Wire(CallModel(surveillance()))
    wire.connect()
    for n in range(1000):
        wire.dial("1", first=4000 * n)
        wire.wait(2)
    assert len(wire.model._timers._queue) <= 2 + 64
    assert wire.story.count("dialedDgtExtrn 1") == 1000
