"""Whatever a subject does with several calls at once, the agency knows after every step who is connected with it.

A session is a random walk of a subject at one phone: calls out and in, hold, retrieve, transfer, three-way, hanging up
by either side. Its `truth` is what the people know; `heard` is folded from the messages alone. Copies and the second
side of a proxy must change nothing; under loss, copies and reordering every call that was named is closed exactly once.
"""

from __future__ import annotations

import random
from collections import defaultdict

import msgspec
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mediation.core.call import CallModel
from mediation.core.calls.dialog import QUIET_LIMIT
from mediation.core.interface.x2 import Pdu
from mediation.core.message import cdc
from tests.core.call_rig import Wire, incoming, surveillance
from tests.core.several_rig import hold, notify, refer, replacing, retrieve
from tests.core.test_call_properties import begins, by_call, is_end

FEW = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
FOCUS = "sip:conf-77@conf.carrier.example"
MAX_CALLS = 4  # of one walk, so that its calls meet


class Session:
    """A walk, and the truth about it: by call, who is connected with S in it."""

    def __init__(self, rng: random.Random, *, hops: int = 1, copies: bool = False) -> None:
        self.rng = rng
        self.hops = hops
        self.copies = copies
        self.model = CallModel(surveillance())
        self.events: list[cdc.CallEvent] = []
        self.sent: list[Pdu] = []
        self.now_ns = Wire(self.model).now_ns
        self.calls: dict[str, Wire] = {}
        self.who: dict[str, str] = {}  # the other party of a call
        self.truth: dict[str, set[str]] = {}
        self.focus = ""
        self.made = 0
        self.cseq = 100

    def step(self) -> None:
        acts = [self.call] if len(self.calls) < MAX_CALLS else []
        if self.calls:
            acts += [
                self.hang_up,
                self.hold_or_retrieve,
                self.transfer,
                self.attend,
                self.move,
                self.drop,
                self.refresh,
            ]
        act = self.rng.choice(acts)
        act()
        self.truth = {name: them for name, them in self.truth.items() if them}

    def use(self, name: str) -> Wire:
        wire = self.calls[name]
        self.cseq += 2
        self.now_ns = wire.now_ns = max(self.now_ns, wire.now_ns) + 1_000_000
        return wire

    def done(self, wire: Wire) -> None:
        """The next act is later."""
        self.now_ns = max(self.now_ns, wire.now_ns)

    def observe(self, pdu: Pdu) -> list[cdc.CallEvent]:
        """The wires take this session for their model: copies go beside, and must say nothing."""
        self.sent.append(pdu)
        found = self.model.observe(pdu)
        if self.copies:
            for _ in range(self.rng.randrange(3)):
                again = self.sent[-self.rng.randrange(1, min(4, len(self.sent)) + 1)]
                assert self.model.observe(msgspec.structs.replace(again, stamp_ns=pdu.stamp_ns)) == []
        self.events += found
        return found

    # What the subject and the others do

    def call(self) -> None:
        name, number = f"call-{self.made}", f"+120155502{self.made:02}"
        self.made += 1
        uri = f"sip:{number}@carrier.example"
        to_focus = not self.focus and self.rng.random() < 0.2
        values = {"call_id": name, "caller_tag": f"{name}-f", "called_tag": f"{name}-t", "span": self.hops}
        if to_focus:
            wire = Wire(self, called="sip:conf@carrier.example", called_contact=FOCUS, **values)  # type: ignore[arg-type]
            self.focus = name
        elif self.rng.random() < 0.5:
            wire = incoming(self, caller=uri, caller_contact=f"sip:x@10.0.9.{self.made}", **values)  # type: ignore[arg-type]
        else:
            wire = Wire(self, called=uri, called_contact=f"sip:x@10.0.9.{self.made}", **values)  # type: ignore[arg-type]
        self.calls[name], self.who[name] = wire, number[1:]
        self.use(name).connect()
        self.done(wire)
        self.truth[name] = {"conf"} if to_focus else {number[1:]}

    def pick(self, *, talks: bool | None = None) -> str:
        names = [name for name in self.calls if name != self.focus]
        if talks is not None:
            names = [name for name in names if (name in self.truth) == talks]
        return self.rng.choice(names) if names else ""

    def hang_up(self) -> None:
        self.end(self.rng.choice(list(self.calls)), by_caller=self.rng.random() < 0.5)

    def end(self, name: str, *, by_caller: bool) -> None:
        wire = self.use(name)
        wire.bye(from_caller=by_caller)
        self.done(wire)
        del self.calls[name]
        self.truth.pop(name, None)
        self.focus = "" if name == self.focus else self.focus

    def hold_or_retrieve(self) -> None:
        name = self.pick()
        if not name:
            return
        wire = self.use(name)
        if name in self.truth:
            hold(wire, self.cseq)
            del self.truth[name]
        else:
            retrieve(wire, self.cseq)
            self.truth[name] = {self.who[name]}
        self.done(wire)

    def refresh(self) -> None:
        wire = self.use(self.rng.choice(list(self.calls)))
        wire.offer("", "", method="UPDATE", cseq=self.cseq)
        self.done(wire)

    def transfer(self) -> None:
        """To somebody else, who answers or does not."""
        name = self.pick()
        if not name:
            return
        wire, fails = self.use(name), self.rng.random() < 0.3
        refer(wire, f"<sip:+1201555{self.cseq:04}@carrier.example>", cseq=self.cseq)
        notify(wire, 486 if fails else 200, cseq=self.cseq + 1)
        self.done(wire)
        if not fails:
            self.end(name, by_caller=self.rng.random() < 0.5)

    def attend(self) -> None:
        """One call to the other; the other's party hangs up on S before or after it is told that it is done."""
        name, other = self.pick(), self.pick()
        if not name or name == other:
            return
        wire = self.use(name)
        refer(wire, replacing(self.calls[other], "sip:other@carrier.example"), cseq=self.cseq)
        cseq = self.cseq
        self.done(wire)
        if self.rng.random() < 0.5:
            notify(self.use(name), 200, cseq=cseq + 1)
            self.end(other, by_caller=self.calls[other].caller_contact.startswith("sip:x"))
        else:
            self.end(other, by_caller=self.calls[other].caller_contact.startswith("sip:x"))
            notify(self.use(name), 200, cseq=cseq + 1)
        self.end(name, by_caller=True)

    def move(self) -> None:
        """A party into the conference, by its own REFER or by the focus."""
        name = self.pick()
        if not name or not self.focus:
            return
        by_focus = self.rng.random() < 0.5
        wire = self.use(self.focus if by_focus else name)
        refer(wire, replacing(self.calls[name], "sip:z@h") if by_focus else f"<{FOCUS}>", cseq=self.cseq)
        notify(wire, 200, cseq=self.cseq + 1)
        self.done(wire)
        self.truth[self.focus] = self.truth[self.focus] - {"conf", ""} | {self.who[name]}
        self.end(name, by_caller=self.rng.random() < 0.5)

    def drop(self) -> None:
        there = sorted(self.truth.get(self.focus, set()) - {"conf"})
        if not there:
            return
        gone, wire = self.rng.choice(there), self.use(self.focus)
        refer(wire, f"<sip:+{gone}@carrier.example;method=BYE>", cseq=self.cseq)
        notify(wire, 200, cseq=self.cseq + 1)
        self.done(wire)
        self.truth[self.focus] = (self.truth[self.focus] - {gone}) or {""}


def who(parties: tuple[cdc.Party, ...]) -> set[str]:
    numbers = {party.dn or party.user_provided or "conf" for party in parties}
    return numbers - {"12015550123"}


def heard(events: list[cdc.CallEvent]) -> dict[str, set[str]]:
    """By call, who is connected with the subject, from the messages alone."""
    known: dict[str, set[str]] = defaultdict(set)
    for event in events:
        match event.message:
            case cdc.Answer() as m:
                party = m.answering if m.answering is not None and m.answering.uri else cdc.Party()
                known[m.call_id.main] = who((party,)) or known[f"attempt {m.call_id.main}"]
            case cdc.ConnectionBreak() as m:
                (identity,) = m.call_ids
                known[identity.main] -= who((*m.removed_parties, *m.dropped_parties))
            case cdc.Connection() as m:
                known[m.call_ids[-1].main] = who(m.new_parties)
                assert who(m.connected_parties) == set().union(*(known[each.main] for each in m.call_ids))
            case cdc.ConfPartyChange() as m:
                (identity,) = m.call_ids
                left = any(party.dn == "12015550123" for party in m.removed_parties)
                known[identity.main] = set() if left else who(m.communicating_parties)
            case cdc.Change() as m:
                for identity in m.previous:
                    known[identity.main] = set()
            case cdc.Redirection() | cdc.Release() as m:
                known[m.call_id.main] = set() if m.call_id.leg is None else known[m.call_id.main]
            case cdc.TerminationAttempt() as m:
                known[f"attempt {m.call_id.main}"] = who((m.calling,))
    return {name: them for name, them in known.items() if them and not name.startswith("attempt")}


def walk(seed: int, steps: int, *, hops: int = 1, copies: bool = False, check: bool = True) -> Session:
    session = Session(random.Random(seed), hops=hops, copies=copies)
    for _ in range(steps):
        session.step()
        if check:
            assert heard(session.events) == {name: them for name, them in session.truth.items() if them - {""}}
    return session


@FEW
@given(st.integers(0, 1 << 32), st.integers(1, 25), st.sampled_from([1, 2]), st.booleans())
def test_who_is_connected_is_known_after_every_step(seed: int, steps: int, hops: int, copies: bool) -> None:
    session = walk(seed, steps, hops=hops, copies=copies)
    for name in list(session.calls):
        session.end(name, by_caller=True)
    for messages in by_call(session.events).values():
        assert begins(messages) == sum(map(is_end, messages)) == 1
        assert is_end(messages[-1])
    assert heard(session.events) == {}


@FEW
@given(st.integers(0, 1 << 32), st.integers(1, 20), st.randoms(use_true_random=False), st.booleans())
def test_loss_copies_and_disorder(seed: int, steps: int, rng: random.Random, shuffled: bool) -> None:
    """No call is left open, none is closed twice, and nothing stays in memory."""
    pdus = [
        pdu for pdu in walk(seed, steps, check=False).sent if rng.random() < 0.85 for _ in range(rng.choice((1, 1, 2)))
    ]
    if shuffled:
        for at in range(len(pdus) - 1):
            if rng.random() < 0.2:
                pdus[at], pdus[at + 1] = pdus[at + 1], pdus[at]
    model = CallModel(surveillance())
    events = [event for pdu in pdus for event in model.observe(pdu)]
    now = max((pdu.stamp_ns for pdu in pdus), default=0)
    for _ in range(2):
        now += QUIET_LIMIT + 1
        events += model.advance(now)
    assert (model.calls, model.next_deadline_ns()) == (0, None)
    associations, correlator = model._associations, model._calls.correlator
    assert not (associations._up or associations._focuses or model._calls._aliases)
    assert not (correlator._marked or correlator._named or correlator._newest)
    for messages in by_call(events).values():
        ends = [is_end(message) for message in messages]
        assert begins(messages) <= 1 or shuffled
        assert ends == [False] * (len(messages) - 1) + [True]
