"""Call models that are made late are those that were there from the beginning."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import pytest

from mediation.core.call import CallModel
from mediation.core.calls.surveillance import Surveillance
from mediation.core.case import Authority, Capability
from mediation.core.errors import EncodingError
from mediation.core.interface.x2 import Framer, Pdu
from mediation.delivery import models
from mediation.delivery.models import Models
from tests.core.call_rig import S_CONTACT, S_URI, SECOND, START
from tests.core.service_rig import Line
from tests.delivery.house import IAP, House, Tap, call, xid_of

ORDER = Surveillance(
    case_id="CASE-1", iap_system_id=IAP, authority=Authority.PEN_REGISTER, capabilities=frozenset({Capability.DIGITS}),
    subjects=("tel:+12125550100",), dde=True,
)  # fmt: skip
PLACE = (b"x" * 16, IAP)


async def pdus(path: Path) -> list[Pdu]:
    house = House(path)
    tap = Tap(house.site.run_dir)
    octets = tap.pdus(xid_of(house.order(1)), call("call-1"), 1)
    await tap.close()
    return Framer().feed(octets)


@pytest.mark.parametrize("changes", [{}, {"status_messages": False}, {"profile": "pcesp"}, {"dde": False}])
async def test_late_is_the_same(changes: dict[str, Any], tmp_path: Path) -> None:
    order = msgspec.structs.replace(ORDER, **changes)
    late, early = Models(), CallModel(order)
    begun = late.begin(PLACE, order, 5)
    assert begun == early.start(5) and len(begun) == order.status_messages
    assert PLACE in late and late.made(PLACE) is None, "nothing has moved it"
    for pdu in await pdus(tmp_path):
        model = late.get(PLACE)
        assert model is not None
        assert model.observe(pdu) == early.observe(pdu)
    assert model is not None
    assert model.counters == early.counters and model.stop(10**18) == early.stop(10**18)


def test_a_place_without_an_order_has_none() -> None:
    found = Models()
    assert PLACE not in found and found.get(PLACE) is None
    found.begin(PLACE, ORDER, 5)
    assert found.get(PLACE) is found.get(PLACE) is found.made(PLACE)
    found.pop(PLACE)
    assert PLACE not in found and found.get(PLACE) is None
    found.begin(PLACE, ORDER, 5)
    found.pop(PLACE)
    assert PLACE not in found and found.get(PLACE) is None


def test_what_could_never_match_is_found_at_the_beginning() -> None:
    order = msgspec.structs.replace(ORDER, subjects=("tel:+12125550100", "sip:*x@example.com"))
    with pytest.raises(EncodingError):
        CallModel(order)
    with pytest.raises(EncodingError):
        models.check(order)
    models.check(ORDER)


def test_the_beginning_is_when_the_order_began() -> None:
    """Who has watched a line for two hours knows that a binding of one hour is a new one, whatever its CSeq."""
    order = msgspec.structs.replace(ORDER, subjects=(S_URI,))
    found = []
    for since_ns in (START, START + 7_200 * SECOND):
        late = Models()
        late.begin(PLACE, order, since_ns)
        model = late.get(PLACE)
        assert model is not None
        line = Line(model, now_ns=START + 7_200 * SECOND)
        line.register(f"<{S_CONTACT}>", cseq=7)
        found.append(line.accept(f"<{S_CONTACT}>;expires=3600", cseq=7))
    assert found[0] != found[1]
