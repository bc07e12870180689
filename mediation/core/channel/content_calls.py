"""Where the content of a call meets the call: which words of the call model's table mean something for its content.

Answers for CCOpen before the Answer, CCChange after the message that tells of new media, CCClose before the Release
(T1.678 and the sequences of PacketCable 8.2), whatever the call; what is said in each case is decided in `content`.
Without an order for content nothing here says anything.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable
from typing import Final

from mediation.core.calls.dialog import Call, State
from mediation.core.calls.surveillance import Surveillance
from mediation.core.calls.word import Say
from mediation.core.channel.content import Binding, ContentModel, Facts
from mediation.core.channel.content import State as ContentState
from mediation.core.interface.notice import Notice
from mediation.core.message import cdc

WORDS: Final = frozenset({Say.CONTENT_OPEN, Say.CONTENT, Say.CONTENT_END})
TELLING: Final = frozenset({Say.ANSWER, Say.MEDIA, Say.SIGNAL, Say.BREAK, Say.CONNECTION})  # of media
UP: Final = (State.ANSWERED, State.HELD)


def with_content(say: tuple[Say, ...]) -> tuple[Say, ...]:
    """The words of a transition, and those about content that belong to them."""
    found: list[Say] = []
    for word in say:
        if word is Say.ANSWER:
            found.append(Say.CONTENT_OPEN)
        elif word is Say.RELEASE:
            found.append(Say.CONTENT_END)
        found.append(word)
    if TELLING & set(say):
        found.append(Say.CONTENT)
    return tuple(found)


class CallContent:
    """The content of all calls of one task at one access point."""

    def __init__(self, order: Surveillance) -> None:
        self._model: ContentModel | None = None
        if order.channels is not None:
            self._model = ContentModel(order.case_id, order.iap_system_id, order.channels)

    def take(self) -> list[Binding]:
        return self._model.take() if self._model is not None else []

    def say(self, word: Say, call: Call, now_ns: int) -> list[cdc.Message]:
        """The messages for one of WORDS."""
        if self._model is None:
            return []
        if word is Say.CONTENT_END:
            return self._model.end(call.content, _facts(call), now_ns)
        return self._model.media(call.content, _facts(call), now_ns, change=word is Say.CONTENT)

    def due(self, call: Call, now_ns: int) -> list[cdc.Message]:
        return self._model.due(call.content, _facts(call), now_ns) if self._model is not None else []

    def packet(self, call: Call, key: Hashable, notice: Notice | None, now_ns: int) -> list[cdc.Message]:
        """A packet, or what the access function noticed of packets."""
        if self._model is None or call.state is State.RELEASED:
            return []
        if notice is not None:
            return self._model.noticed(call.content, _facts(call), notice, now_ns)
        return self._model.packet(call.content, _facts(call), key, now_ns)

    def signalled(self, call: Call, now_ns: int) -> list[cdc.Message]:
        """A message of the call: it is up, so content that had lapsed is owed again."""
        if self._model is None or call.content.state is not ContentState.LAPSED or call.state not in UP:
            return []
        return self._model.media(call.content, _facts(call), now_ns)

    def link(self, calls: Iterable[Call], now_ns: int) -> Iterable[tuple[Call, list[cdc.Message]]]:
        """Each call, with what is to be said of it now that the content link was lost or came back."""
        for call in calls:
            if self._model is not None:
                yield call, self._model.link(call.content, _facts(call), now_ns)


def _facts(call: Call) -> Facts:
    caller, callee = call.media.descriptions
    return Facts(
        key=call.key,
        identity=cdc.CallIdentity(main=call.main),
        role=call.role,
        answered=call.state in UP or call.answered,
        apart=bool(call.focus) or call.transferred,
        descriptions=(caller, callee),
    )
