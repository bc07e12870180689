"""All calls of one task in memory: found by any of their keys, the one that was quiet longest first.

Answers for the bound on their number and for what has to go when a call goes; it decides nothing about a call. A key is
the access point's handle of one Call-ID; a call has several when back-to-back agents made legs of it (`correlation`).
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable, Iterator
from typing import Final

from mediation.core.calls.correlation import Correlator, Evidence, Marks
from mediation.core.calls.dialog import Call
from mediation.core.calls.transfer import DialogId
from mediation.core.interface.x2 import Pdu
from mediation.core.network.sip import SipMessage

MAX_ALIASES: Final = 16  # further keys of one call: the legs of its agents, REFERs to its conference. Ours
COUNTERS: Final = ("legs_refused", *(f"legs_joined_{evidence.value}" for evidence in Evidence))


class Calls:
    """`counters` tells by which evidence legs were joined, and how many found no room."""

    def __init__(self) -> None:
        self.correlator = Correlator()
        self.counters = dict.fromkeys(COUNTERS, 0)
        self._calls: OrderedDict[Hashable, Call] = OrderedDict()
        self._lingering: OrderedDict[Hashable, Call] = OrderedDict()  # of them, those that are released
        self._aliases: dict[Hashable, Call] = {}

    def __len__(self) -> int:
        return len(self._calls)

    def values(self) -> Iterator[Call]:
        return iter(self._calls.values())

    def get(self, key: Hashable, call_id: str = "") -> Call | None:
        """The call of this key. A key that is new, with the Call-ID of a known call, is another of its keys from now
        on: an access function that starts again may have new handles."""
        found = self._calls.get(key) or self._aliases.get(key)
        if found is None and call_id:
            found = self.correlator.named(call_id)
            if found is not None:
                self.alias(found, key, call_id)
        return found

    def named(self, call_id: str) -> Call | None:
        """The call that has this Call-ID."""
        return self.correlator.named(call_id)

    def add(self, call: Call, message: SipMessage, pdu: Pdu, told: Marks) -> None:
        """A call's first message."""
        self.correlator.add(call, message, pdu, told)
        if call.joined:
            self.correlator.mark_pair(call, message)
        self._calls[call.key] = call

    def leg(self, key: Hashable, pdu: Pdu, message: SipMessage, told: Marks) -> Call | None:
        """The call that a back-to-back agent sends on under a new Call-ID; None: it is no leg of a known call."""
        if message.to.tag:
            # An access function that was started anew gives a known dialog another handle: it is the same call.
            same = self.correlator.dialog(DialogId(message.call_id, message.to.tag, message.from_.tag))
            if same is not None and same.role is pdu.role:
                return same if self.alias(same, key, message.call_id) else None
            joined = self.correlator.joined_leg(message, pdu)
            found = (joined, Evidence.SESSION_ID) if joined is not None else None
        else:
            found = self.correlator.leg(message, pdu, told) if message.method == "INVITE" else None
        if found is None:
            return None
        call, evidence = found
        if not self.alias(call, key, message.call_id):
            return None
        self.counters[f"legs_joined_{evidence.value}"] += 1
        return call

    def touch(self, call: Call) -> None:
        """Something was heard of it."""
        self._calls.move_to_end(call.key)

    def alias(self, call: Call, key: Hashable, call_id: str) -> bool:
        """The call is found by this key too; False when it has no room for a further one."""
        if key == call.key or key in call.aliases:
            return True
        if len(call.aliases) >= MAX_ALIASES:
            self.counters["legs_refused"] += 1
            return False
        if self.correlator.named(call_id) is not call:
            self.correlator.name(call, call_id)
        call.aliases += (key,)
        self._aliases[key] = call
        return True

    def linger(self, call: Call) -> None:
        """It is over."""
        self._lingering[call.key] = call

    def oldest(self) -> tuple[Call, bool]:
        """Which makes room, and whether it was over: the one that lingers longest, else that was quiet longest."""
        over = next(iter(self._lingering.values()), None)
        return (over, True) if over is not None else (next(iter(self._calls.values())), False)

    def forget(self, call: Call) -> None:
        self.correlator.forget(call)
        for key in call.aliases:
            if self._aliases.get(key) is call:
                del self._aliases[key]
        self._calls.pop(call.key, None)
        self._lingering.pop(call.key, None)
