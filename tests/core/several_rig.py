"""Several calls of one subject for the tests of the call model: one table at which S talks to A and B.

All calls of a test go into one `story`, in the order in which the agency gets it; each line names its call.
"""

from __future__ import annotations

from urllib.parse import quote

from mediation.core.call import CallModel
from mediation.core.interface.x2 import Role
from mediation.core.message import cdc
from tests.core.call_rig import A_URI, S_URI, Wire, incoming, sdp, surveillance, tell


class Table:
    """S at one phone, with up to three calls; everything that is said stands in `events`."""

    def __init__(self, **more: object) -> None:
        self.model = CallModel(surveillance(**more))
        self.events: list[cdc.CallEvent] = []
        self.now_ns = Wire(self.model).now_ns

    def call(self, name: str, who: str, *, inwards: bool = False, **more: object) -> Wire:
        values: dict[str, object] = {
            "call_id": name, "events": self.events, "caller_tag": f"{name}-from", "called_tag": f"{name}-to", **more,
        }  # fmt: skip
        if inwards:
            return incoming(self.model, caller=who, **values)
        return Wire(self.model, called=who, **values)

    @property
    def messages(self) -> list[cdc.Message]:
        return [event.message for event in self.events]

    @property
    def story(self) -> list[str]:
        return [f"{names(message)} {tell(message)}" for message in self.messages]


def names(message: cdc.Message) -> str:
    if isinstance(message, cdc.Change):

        def join(them: tuple[cdc.CallIdentity, ...]) -> str:
            return "+".join(each.main + (f"/{each.leg}" if each.leg else "") for each in them)

        return f"{join(message.previous)}>{join(message.resulting)}"
    identity = getattr(message, "call_id", None)
    return "+".join(each.main for each in ((identity,) if identity else getattr(message, "call_ids", ())))


def numbers(parties: tuple[cdc.Party, ...]) -> list[str]:
    return [party.dn or party.user_provided or party.uri[0] for party in parties]


def hold(wire: Wire, cseq: int) -> None:
    own = wire.role is Role.CALLING
    wire.offer(sdp(cseq, direction="sendonly"), sdp(cseq, direction="recvonly", origin="a"), cseq=cseq, from_caller=own)


def retrieve(wire: Wire, cseq: int) -> None:
    wire.offer(sdp(cseq), sdp(cseq, origin="a"), cseq=cseq, from_caller=wire.role is Role.CALLING)


def refer(wire: Wire, to: str, *, cseq: int = 60, status: int = 202, by_subject: bool = True, **more: object) -> None:
    own = (wire.role is Role.CALLING) == by_subject
    lines = (f"Refer-To: {to}", f"Referred-By: <{S_URI if by_subject else A_URI}>")
    wire.request("REFER", from_caller=own, cseq=cseq, headers=lines, **more)  # type: ignore[arg-type]
    if status:
        wire.response(status, method="REFER", from_caller=not own, cseq=cseq)


def notify(wire: Wire, status: int, *, cseq: int = 70, refer_cseq: int | None = None, by_subject: bool = True) -> None:
    """How far the REFER has come, told to who sent it."""
    own = (wire.role is Role.CALLING) == by_subject
    event = "Event: refer" + (f";id={refer_cseq}" if refer_cseq else "")
    wire.request("NOTIFY", from_caller=not own, cseq=cseq, headers=(event, "Content-Type: message/sipfrag"),
                 body=f"SIP/2.0 {status} Whatever\r\n")  # fmt: skip
    wire.response(200, method="NOTIFY", from_caller=own, cseq=cseq)


def replacing(wire: Wire, who: str) -> str:
    """A Refer-To that asks for this call to be replaced."""
    return f"<{who}?Replaces={quote(f'{wire.call_id};to-tag={wire.called_tag};from-tag={wire.caller_tag}')}>"
