"""The call models of all tasks: one for each task at each access point, made when something first moves it.

Most orders are quiet for weeks, and ten thousand are armed at once when the process starts again. What an order says
when it begins is said at once, by the way out that all messages take (core/calls/outbox.py); the model itself, some 15
kB, waits. One that is made later is the very one that would have stood there since the beginning.

Answers for which models there are. Decides nothing about a call, and holds no socket, file or clock.
"""

from __future__ import annotations

from typing import NamedTuple

from mediation.core.call import CallModel
from mediation.core.calls import report
from mediation.core.calls.outbox import Outbox
from mediation.core.calls.surveillance import Surveillance
from mediation.core.case import Authority, Capability
from mediation.core.message import cdc
from mediation.core.minimisation import Minimiser
from mediation.core.target import match_keys

Place = tuple[bytes, str]  # the XID and the name of the access point


class _Quiet(NamedTuple):
    """A model that nothing has moved yet. `since_ns`: when its order began."""

    order: Surveillance
    since_ns: int


class Models:
    """By place. Times are UTC nanoseconds of the stamps' clock."""

    def __init__(self) -> None:
        self._made: dict[Place, CallModel] = {}
        self._quiet: dict[Place, _Quiet] = {}
        self._ways_out: dict[tuple[Authority, frozenset[Capability]], Outbox] = {}

    def __contains__(self, place: Place) -> bool:
        return place in self._made or place in self._quiet

    def begin(self, place: Place, order: Surveillance, now_ns: int) -> list[cdc.CallEvent]:
        """An order begins: what it says. `check` has found it good."""
        self._quiet[place] = _Quiet(order, now_ns)
        what = order.authority, order.capabilities
        out = self._ways_out.get(what)
        if out is None:
            out = self._ways_out[what] = Outbox(Minimiser(*what))
        return report.begun(order, out, now_ns)

    def get(self, place: Place) -> CallModel | None:
        """The model, made now if nothing has asked for it before."""
        model = self._made.get(place)
        if model is None and (quiet := self._quiet.pop(place, None)) is not None:
            model = self._made[place] = CallModel(quiet.order)
            model.start(quiet.since_ns)  # said before
        return model

    def made(self, place: Place) -> CallModel | None:
        """The model, if anything has moved it."""
        return self._made.get(place)

    def pop(self, place: Place) -> None:
        self._made.pop(place, None)
        self._quiet.pop(place, None)


def check(order: Surveillance) -> None:
    """Raises EncodingError, as the model itself would, when a subject could never match."""
    for subject in order.subjects:
        match_keys(subject, order.plan)
