"""Scenarios in which something of the site fails in mid-call: the agency's link, the access function, the mediator.

Nothing that had reached the mediator is lost, every event has its own time, and both functions find into the call
again. They kill what all rows of an exchange share, so they are played on an exchange of their own.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from tests.rig.exchange import Floor
from tests.rig.ladder import Dialog, End, sdp
from tests.rig.media import delivered
from tests.rig.scenario import OUT, Table
from tests.rig.scenarios_content import OUT as OPENED
from tests.rig.scenarios_content import SPOKEN, Talk, order

HELD = ("subjectSignal hold", "connectionBreak", "subjectSignal retrieve", "connection", "release")
scenario = Table()


def call(floor: Floor, *, ipv6: bool = False) -> tuple[End, End, Dialog]:
    """S on the left talks to A on the right."""
    left, right = floor.ends("left", "right", ipv6=ipv6)
    return left, right, Dialog(left, right, floor.subject, floor.other).connect()


def hold_and_end(left: End, right: End, dialog: Dialog) -> None:
    dialog.reinvite(
        sdp(left.address, direction="sendonly", version=2), sdp(right.address, direction="recvonly", version=2)
    )
    dialog.reinvite(sdp(left.address, version=3), sdp(right.address, version=3))
    dialog.bye(by=right)


@contextmanager
def killed(floor: Floor, *functions: str) -> Iterator[None]:
    """The functions are killed on entry; at the end of the context they are back and armed."""
    for function in functions:
        floor.site.kill(function)
    yield
    floor.exchange.until_armed()


def _killed_in_mid_call(floor: Floor, *functions: str) -> None:
    floor.order()
    ends = call(floor)
    floor.wait("answer")
    with killed(floor, *functions):
        pass
    hold_and_end(*ends)
    floor.wait("release")
    names = {str(line["fields"]["callId"]) for line in floor.lines() if line["message"] in ("origination", "release")}
    assert len(names) == 1, "the call got another identity"


@scenario("iap-kill", "the access function is killed in mid-call", *OUT, *HELD)
def access_killed(floor: Floor) -> None:
    _killed_in_mid_call(floor, "iap")


@scenario("med-kill", "the mediator is killed in mid-call", *OUT, *HELD)
def mediator_killed(floor: Floor) -> None:
    _killed_in_mid_call(floor, "mediator")


@scenario("all-kill", "the mediator and the access function are killed in mid-call", *OUT, *HELD)
def both_killed(floor: Floor) -> None:
    _killed_in_mid_call(floor, "mediator", "iap")


@scenario("frozen", "the mediator stands still, and the access function is killed meanwhile", *OUT, *HELD)
def mediator_stands_still(floor: Floor) -> None:
    """What the tap sent before it died is in the mediator's socket, and is read when the mediator goes on."""
    floor.order()
    floor.site.freeze("mediator")
    try:
        ends = call(floor)
        floor.site.kill("iap")
    finally:
        floor.site.thaw("mediator")
    floor.exchange.until_armed()
    hold_and_end(*ends)


@scenario("36", "the agency's link is down; the call goes on, and all comes in order with its own time", *OUT, *HELD)
def agency_away(floor: Floor) -> None:
    floor.order()
    with floor.site.agency_away():
        hold_and_end(*call(floor))
    floor.wait("release")
    stamps = [line["timestamp"] for line in floor.lines() if "surveillanceStatus" not in line["message"]]
    assert stamps == sorted(stamps)
    assert len(set(stamps)) > 4, "the times are those of the delivery, not of the events"


@scenario("36c", "the agency's link is down during content: told, and told again when it is back", *OPENED,
          "ccUnavailable", "ccChange", "ccClose", "release")  # fmt: skip
def content_link_lost(floor: Floor) -> None:
    order(floor)
    speaking = Talk(floor)
    speaking.dialog.connect()
    speaking.talk()
    with floor.site.agency_away():
        pass
    floor.wait("ccChange")
    speaking.talk()
    speaking.dialog.bye()
    assert floor.packets(SPOKEN) == SPOKEN, "content after the link was back is missing"  # of the new run's account


@scenario("iap-killc", "the access function is killed in mid-call; content goes on at the next session description",
          *OPENED, "ccClose", "release")  # fmt: skip
def content_after_access_killed(floor: Floor) -> None:
    order(floor, **{"content-form": "packetcable"})
    with delivered(floor.exchange) as agency:
        speaking = Talk(floor)
        speaking.dialog.connect()
        speaking.talk()
        assert agency.until(SPOKEN), "no content before the restart"
        with killed(floor, "iap"):
            pass
        speaking.dialog.reinvite(sdp(speaking.left.address), sdp(speaking.right.address))
        speaking.talk()
        assert agency.packets(2 * SPOKEN).total() == 2 * SPOKEN, "no content after the restart"
        speaking.dialog.bye()
