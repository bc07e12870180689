"""The table of armed targets against a plain dictionary: after any coming and going, exactly the armed are found."""

import random

import pytest

from tests.ext.calls import NOW, Dialog, Rig

FOREVER = 2**63


def key(number: int) -> str:
    """Numbers and SIP URIs, so that both kinds of slot move."""
    return f"tel:+1212555{number:04d}" if number % 3 else f"sip:user-{number}@example.com"


def uri(number: int) -> str:
    return f"sip:+1212555{number:04d}@example.com" if number % 3 else f"sip:user-{number}@example.com"


def found(rig: Rig, number: int) -> list[bytes]:
    d = Dialog(caller=uri(number), callee="sip:nobody@example.net", call_id=f"c{number}-{rig.count('datagrams')}")
    return sorted(pdu.xid for pdu in rig.send(d.invite()))


@pytest.mark.parametrize("seed", range(3))
def test_coming_and_going(seed: int) -> None:
    rng = random.Random(seed)
    rig = Rig(call_capacity=100)
    armed: dict[bytes, set[int]] = {}
    for step in range(6000):
        xid = rng.randrange(1200).to_bytes(16, "big")
        if xid in armed:
            assert rig.matcher.remove_task(xid)
            del armed[xid]
        else:
            armed[xid] = {rng.randrange(900) for _ in range(rng.randrange(1, 4))}
            rig.matcher.add_task(xid, [key(n) for n in armed[xid]], 0, FOREVER)
        if step % 1500 == 1499:
            for number in range(900):
                expected = sorted(x for x, numbers in armed.items() if number in numbers)
                assert len(expected) <= 8  # more tasks than a call has room for would be another test
                assert found(rig, number) == expected
    assert rig.matcher.gauges()["keys"] == len(set().union(*armed.values()))
    for xid in list(armed):
        assert rig.matcher.remove_task(xid)
    assert rig.matcher.gauges()["keys"] == 0
    assert not any(found(rig, number) for number in range(900))


def test_removal_leaves_every_neighbour_armed() -> None:
    """Densely filled up to just below a resize, every other one removed: the rest is still found."""
    rig = Rig(call_capacity=100)
    for number in range(512):
        rig.matcher.add_task(number.to_bytes(16, "big"), [key(number)], 0, FOREVER)
    for number in range(0, 512, 2):
        rig.matcher.remove_task(number.to_bytes(16, "big"))
    for number in range(512):
        assert found(rig, number) == ([number.to_bytes(16, "big")] if number % 2 else [])


def test_bulk_arming_is_the_same_as_one_by_one() -> None:
    rig = Rig(call_capacity=100)
    rig.matcher.add_tasks([(n.to_bytes(16, "big"), (key(n),), 0, NOW + 1, False, 1) for n in range(3000)])
    assert rig.matcher.gauges()["tasks"] == 3000
    for number in range(0, 3000, 7):
        assert found(rig, number) == [number.to_bytes(16, "big")]
