"""Whether a connected function still answers (X1's Ping, as of ETSI TS 103 221-1).

A process that stands still keeps its connections: nothing breaks, and nothing that it is told is carried out. So one
to which nothing is to be said is pinged, and one that owes an answer for too long is silent: its connection is given
up, it counts as away, and no stop waits for it. At the next connection it is told nothing before it has answered a
ping.

Answers for noticing within PING_TURNS + ANSWER_TURNS turns of a second, of a function that has not answered yet within
FIRST_TURNS. Decides nothing about an order. Turns are this process's own: one that stood still itself holds that
against nobody. All bounds are ours.
"""

from __future__ import annotations

from collections.abc import Callable

import trio

from mediation.core.interface import x1

TURN_S = 1.0
PING_TURNS = 4  # without anything to answer
ANSWER_TURNS = 8  # less than a command waits (control.ARM_LIMIT_S); a full batch of orders takes it 50 ms
FIRST_TURNS = 60  # it listens before it has read its files
RECEIVE_OCTETS = 4_096


class Silence:
    """Of one function. `standing`: it was silent, and has not answered since."""

    def __init__(self, owed: Callable[[], bool], wake: Callable[[], None], alarm: Callable[[], None]) -> None:
        """`owed`: whether an answer is; `wake`: a ping is `due`; `alarm`: it has fallen silent."""
        self.standing = False
        self.due = False
        self._owed = owed
        self._wake = wake
        self._alarm = alarm
        self._waited = 0  # turns, since the last answer, in which one was owed
        self._limit = FIRST_TURNS

    def ping(self) -> bytes:
        """The line of a ping that is due."""
        self.due = False
        return x1.encode(x1.Ping())

    def heard(self) -> None:
        """It has answered something."""
        self._waited, self._limit = 0, ANSWER_TURNS

    async def watch(self, session: trio.CancelScope) -> None:
        """Of one session, which ends when it is silent."""
        self._waited, self._limit, self.due = 0, FIRST_TURNS, False
        idle = 0
        while self._waited < self._limit:
            await trio.sleep(TURN_S)
            if self._owed():
                self._waited += 1
                idle = 0
                continue
            self._waited = 0
            idle += 1
            if idle >= PING_TURNS:
                self.due = True
                self._wake()
                idle = 0
        self.standing = True
        self._alarm()
        session.cancel()

    async def ends(self, stream: trio.SocketStream) -> None:
        """On a new connection: returns when one that was silent has answered a ping, however long that takes.

        Raises trio.BrokenResourceError for one that is gone, RemoteProtocolError for what is no answer.
        """
        if not self.standing:
            return
        await stream.send_all(x1.encode(x1.Ping()))
        lines = x1.Lines(RECEIVE_OCTETS)
        while octets := await stream.receive_some(RECEIVE_OCTETS):
            for line in lines.feed(octets):
                x1.decode_answer(line)
                self.standing = False
                return
        raise trio.BrokenResourceError
