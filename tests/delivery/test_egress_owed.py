"""A destination that could not be closed when its order ended is closed as soon as the filter can be set (SEC-12)."""

from __future__ import annotations

import pytest

from mediation.core.authority import authorization
from mediation.core.case import Task
from mediation.core.errors import AuthorizationError, ConfigurationError
from mediation.core.interface.task_table import Change
from mediation.delivery import egress
from mediation.delivery.egress import Egress, Place, places
from mediation.runtime import log
from tests.core import authority as a


class Kernel:
    """What the filter holds: each place with the seconds until it goes, 0 for one that stays."""

    def __init__(self) -> None:
        self.open: dict[Place, int] = {}
        self.broken = False

    def allow(self, fresh: frozenset[Place]) -> None:
        self.linger(fresh, 0)

    def linger(self, over: frozenset[Place], seconds: int) -> None:
        if over and self.broken:
            raise ConfigurationError("egress: nft: TimeoutExpired")
        self.open |= dict.fromkeys(over, seconds)


@pytest.fixture
def function() -> Egress:
    made = Egress.__new__(Egress)
    made._log = log.get("egress")
    made._places, made._users, made._owed = {}, {}, {}
    made.filter = Kernel()  # type: ignore[assignment]
    return made


def kernel(function: Egress) -> Kernel:
    found = function.filter
    assert isinstance(found, Kernel)
    return found


TASK: Task = authorization.admit(a.good(), a.trust(), a.NOW_NS)
(PLACE,) = places(TASK)


@pytest.mark.parametrize("revoked", [False, True])
def test_it_is_closed_as_soon_as_it_can_be(function: Egress, revoked: bool) -> None:
    function._changed(Change(before=None, after=TASK))
    kernel(function).broken = True
    function._changed(Change(before=TASK, after=None, revoked=revoked))  # a stop is never refused
    function._close_owed()
    assert kernel(function).open == {PLACE: 0}
    kernel(function).broken = False
    function._close_owed()
    assert kernel(function).open == {PLACE: egress.REVOKED_LINGER_S if revoked else egress.LINGER_S}
    assert not function._owed


def test_what_is_open_again_by_another_order_stays(function: Egress) -> None:
    function._changed(Change(before=None, after=TASK))
    kernel(function).broken = True
    function._changed(Change(before=TASK, after=None))
    with pytest.raises(AuthorizationError, match="destination"):
        function._changed(Change(before=None, after=TASK))
    assert function._owed
    kernel(function).broken = False
    function._changed(Change(before=None, after=TASK))
    function._close_owed()
    assert kernel(function).open == {PLACE: 0}
