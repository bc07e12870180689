"""Which links there are: one for each destination of each agency, for as long as an order needs it.

A link exists because an order that this process verified names its destination, and for no other reason: no setting, no
file of the spool and nothing that a peer says can make one (SEC-12). When the last of its orders has ended, what was
generated before the end is still delivered: the interception was lawful when it was made, and its result is the
court's. Then the connection ends. Where a token was withdrawn it ends within REVOKED_LINGER_S (SEC-24), and what had
not gone by then stays in the spool, sealed and counted. What a restart leaves in a spool whose destination no live
order names stays where it is, counted as stranded, and goes nowhere.
"""

from __future__ import annotations

import hashlib
import math
import ssl
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Final

import trio
from msgspec import structs

from mediation.core.case import Destination, Task
from mediation.core.interface.link import MAX_LINK_ID_OCTETS
from mediation.delivery.decoy_links import TURN_S, DecoyLinks
from mediation.delivery.sender import Link, LinkState
from mediation.delivery.spool import CURSOR, Spool, octets_of_segments
from mediation.delivery.tracker import Outgoing
from mediation.runtime.vault import Vault

REVOKED_LINGER_S: Final = 50  # a withdrawn order's deliveries have stopped within 60 s (SEC-24), with time to be told


class Links:
    """`now_s` is the clock that epochs are made of; links run in `nursery`."""

    def __init__(
        self,
        site_name: str,
        folder: Path,
        tls: ssl.SSLContext,
        nursery: trio.Nursery,
        *,
        bound_octets: int,
        now_s: Callable[[], int],
        vault: Vault,
    ) -> None:
        self._site_name = site_name
        self._folder = folder
        self._tls = tls
        self._nursery = nursery
        self._bound_octets = bound_octets
        self._now_s = now_s
        self._vault = vault
        self.on_caught_up: Callable[[], None] = lambda: None
        self._links: dict[tuple[str, Destination], Link] = {}
        self._users: dict[tuple[str, Destination], set[bytes]] = {}
        self._decoys = DecoyLinks(
            folder, vault.name_key("spool"), vault.box("spool"), octets_of_segments(bound_octets)
        )  # fmt: skip
        nursery.start_soon(self._hide)

    def __iter__(self) -> Iterator[Link]:
        return iter(self._links.values())

    def __len__(self) -> int:
        return len(self._links)

    def join(self, task: Task) -> Link:
        """The link of this task, made if it is the first of its destination. Blocks for some 20 ms when it is.

        Raises ConfigurationError or OSError when there is no identity or no place to spool: then the order cannot be
        carried out and must not be armed.
        """
        key = _key(task)
        link = self._links.get(key)
        if link is None or link.state is LinkState.CLOSED:
            spool = link.spool if link is not None else self._open(key)
            link = Link(self._identity(key), task.agency, task.destination, spool, self._tls)
            link.on_caught_up = self.on_caught_up
            self._links[key] = link
            self._nursery.start_soon(link.run)
        self._users.setdefault(key, set()).add(task.xid)
        link.finish(False)
        return link

    def caught_up(self, task: Task) -> bool:
        """Everything made until now for the task's link has been given to its connection."""
        link = self._links.get(_key(task))
        return link is not None and link.caught_up

    def leave(self, task: Task, *, revoked: bool = False) -> None:
        """The task has ended; the last one lets its link deliver the rest and end, soon when it was `revoked`."""
        key = _key(task)
        users = self._users.get(key, set())
        users.discard(task.xid)
        if not users and key in self._links:
            self._links[key].finish(limit_s=REVOKED_LINGER_S if revoked else math.inf)

    def deliver(self, outgoing: Iterable[Outgoing]) -> None:
        """One append and one send for each link that has a part in it."""
        batches: dict[tuple[str, Destination], list[Outgoing]] = {}
        for one in outgoing:
            batches.setdefault(_key(one.task), []).append(one)
        for key, batch in batches.items():
            link = self._links[key]
            try:
                link.offer(link.spool.append([one.message for one in batch]))
            finally:
                link.spool.commit()

    def tick(self) -> None:
        for link in self._links.values():
            link.spool.tick()

    def stranded(self) -> int:
        """Spools in the folder that no order of this process has opened."""
        known = {link.spool.folder for link in self._links.values()}
        found = {path.parent for path in self._folder.glob(f"*/{CURSOR}")} - known
        return sum(not self._decoys.is_decoy(path) for path in found)

    def close(self) -> None:
        """Blocks for a last commit of each spool."""
        for link in self._links.values():
            link.spool.close()
        self._links.clear()
        with suppress(OSError):
            self._decoys.touch()

    async def _hide(self) -> None:
        """For ever: keeps the class of the number of links full."""
        while True:
            await trio.to_thread.run_sync(self._decoys.turn)
            await trio.sleep(TURN_S)

    def _open(self, key: tuple[str, Destination]) -> Spool:
        agency, destination = key
        name = self._vault.name("spool", f"{agency} {_short(destination)}")
        return Spool(
            self._folder / name, self._vault.box("spool"), now_s=self._now_s(), bound_octets=self._bound_octets
        )  # fmt: skip

    def _identity(self, key: tuple[str, Destination]) -> str:
        """What both ends call the link: no address, and no case."""
        agency, destination = key
        return f"{self._site_name}/{agency}/{_short(destination)}"[:MAX_LINK_ID_OCTETS]


def _key(task: Task) -> tuple[str, Destination]:
    """Orders that take their call data at one place have one link, wherever their content goes."""
    destination = task.destination
    return task.agency, destination if destination.content is None else structs.replace(destination, content=None)


def _short(destination: Destination) -> str:
    text = f"{destination.host} {destination.port} {destination.certificate_sha256}"
    return hashlib.sha256(text.encode()).hexdigest()[:16]
