"""The people of the demo: their names, numbers and addresses, all invented, and what their telephones say of them.

Alice is the subject of its orders, Bob is whom she calls. Carol and Dave, who talk beside them, are of no order:
nothing of theirs may be found anywhere.
"""

from __future__ import annotations

from dataclasses import dataclass

MEDIA_PORT = 6000  # of every telephone
DOMAIN = "carrier.example"


@dataclass(frozen=True)
class Person:
    """Who speaks from where."""

    name: str
    number: str  # E.164 with +
    address: str

    @property
    def uri(self) -> str:
        return f"sip:{self.number}@{DOMAIN}"

    def session(self) -> str:
        """The person's SDP body."""
        family = "IP6" if ":" in self.address else "IP4"
        lines = (
            "v=0", f"o=- 42 1 IN {family} {self.address}", "s=-", f"c=IN {family} {self.address}", "t=0 0",
            f"m=audio {MEDIA_PORT} RTP/AVP 0 101", "a=rtpmap:0 PCMU/8000", "a=rtpmap:101 telephone-event/8000",
            "a=fmtp:101 0-15", "a=sendrecv",
        )  # fmt: skip
        return "\r\n".join(lines) + "\r\n"


ALICE = Person("Alice Ashcroft", "+12025550147", "10.77.1.1")
BOB = Person("Bob Birdwhistle", "+13035550123", "10.77.2.1")
CAROL = Person("Carol Cobblepot", "+17035550188", "10.77.3.1")
DAVE = Person("Dave Dinglehopper", "+17045550199", "10.77.4.1")
EVERYBODY = (ALICE, BOB, CAROL, DAVE)
