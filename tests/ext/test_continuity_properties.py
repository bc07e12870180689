"""Whatever a live call does within the rules of RTP, RTCP and SIP, nothing of it is lost; when it ended unseen, nothing
of the next one passes."""

from __future__ import annotations

import random

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.ext.calls import Dialog, sdp
from tests.ext.content import FAR, NEAR
from tests.ext.test_continuity import Line

FEW = settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])


class Walk:
    """A live call at random: what its parties, its relay and others do. Each act says whether all of it came out."""

    def __init__(self, seed: int) -> None:
        self.chance = random.Random(seed)
        self.line = Line()
        self.cseq = 10
        self.others = 0
        self.line.talk(times=5)

    def speak(self) -> bool:
        return self.line.talk(self.chance.choice(["near", "far", "near far"]), times=self.chance.randrange(1, 200))

    def fall_silent(self) -> bool:
        """Both, for as long as an hour; then either goes on with its stream."""
        self.line.wait(self.chance.choice([0.5, 3, 20, 40, 300, 3000]))
        return self.line.talk(self.chance.choice(["near", "far"]), times=2)

    def change_stream(self) -> bool:
        """A relay gives the one party's stream another SSRC and other numbers, while the other party is heard."""
        party, other = self.chance.choice([("near", "far"), ("far", "near")])
        heard = self.line.talk(other, ms=self.chance.choice([20, 500]), times=self.chance.randrange(1, 100))
        self.line.ssrc[party] = self.chance.getrandbits(32)
        self.line.numbers[party] = self.chance.getrandbits(16)
        return heard and self.line.talk(f"{party} {other}", times=3)

    def signal(self) -> bool:
        """A re-INVITE or UPDATE after any silence; both streams may begin anew with it."""
        self.line.wait(self.chance.choice([0.1, 10, 100, 5000]))
        self.cseq += 1
        d, method = self.line.dialog, self.chance.choice(["INVITE", "UPDATE"])
        self.line.rig.send(d.request(method, cseq=self.cseq, body=sdp(*NEAR)))
        self.line.rig.send(d.response(200, method=method, cseq=self.cseq, body=sdp(*FAR)), source="203.0.113.1")
        if self.chance.random() < 0.5:
            self.line.ssrc = {party: self.chance.getrandbits(32) for party in self.line.ssrc}
        return self.line.talk(times=3)

    def leg(self) -> bool:
        """A leg of a back-to-back agent, under a Call-ID that no order is for, announces the same addresses."""
        self.others += 1
        d = Dialog("sip:+13105550111@x", "sip:+13105550122@y", call_id=f"leg-{self.others % 3}")
        self.line.rig.send(d.invite(body=sdp(*NEAR)), d.response(200, body=sdp(*FAR)))
        return True

    def be_blind(self) -> bool:
        """The tap sees nothing for a while; the streams are further then."""
        seconds = self.chance.choice([1, 40, 200])
        self.line.wait(seconds)
        for party in self.line.numbers:
            self.line.numbers[party] += 50 * seconds
        return self.line.talk(times=3)

    def step(self) -> bool:
        acts = [self.speak, self.fall_silent, self.change_stream, self.signal, self.leg, self.be_blind]
        return self.chance.choice(acts)()


@FEW
@given(st.integers(0, 2**32))
def test_a_live_call_loses_nothing_and_an_ended_one_passes_nothing(seed: int) -> None:
    walk = Walk(seed)
    for _ in range(walk.chance.randrange(1, 25)):
        assert walk.step()
    assert walk.line.count("media_doubted") == 0
    assert walk.line.talk(times=5)
    walk.line.wait(31)  # its BYE was lost
    first = walk.chance.getrandbits(15)
    assert walk.line.strangers(seconds=3, first=first) == 0
    walk.line.wait(60)
    assert walk.line.strangers(seconds=3, first=first + 200) == 0
    assert walk.line.rig.open() == {}
