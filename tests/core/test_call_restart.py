"""The access function is started anew in mid-call: its handles of calls are others, the calls are the same."""

from __future__ import annotations

import msgspec

from mediation.core.call import CallModel
from mediation.core.interface.x2 import Pdu
from mediation.core.message import cdc
from tests.core.call_rig import A_URI
from tests.core.several_rig import Table, hold, retrieve


class Renumbered:
    """The access function's handles are others now."""

    def __init__(self, model: CallModel) -> None:
        self.model = model

    def observe(self, pdu: Pdu) -> list[cdc.CallEvent]:
        return self.model.observe(msgspec.structs.replace(pdu, correlation=pdu.correlation ^ 1))


def test_a_known_dialog_under_another_handle_is_the_same_call() -> None:
    """Nothing is named twice, nobody is dropped, and the call has one end."""
    table = Table()
    a = table.call("a", A_URI)
    a.connect()
    a.model = Renumbered(table.model)  # type: ignore[assignment]
    hold(a, 2)
    retrieve(a, 3)
    a.bye()
    connections = [message for message in table.messages if isinstance(message, cdc.Connection)]
    assert [len(message.call_ids) for message in connections] == [1]
    assert table.story[-1] == "a release"
    assert sum(line.endswith("release") for line in table.story) == 1
    assert not any("connectionBreak dropped" in line for line in table.story)
