"""One look at everything: each network namespace, then each switch element. Blocking; for a thread of its own.

Answers for the word "unseen": each part that could not be looked at is named in the observation, so that its silence
accounts for nothing. May not: decide what is expected; it sees, and `core/records/reconciliation.py` judges.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import NamedTuple

import msgspec

from mediation.core.errors import RemoteProtocolError
from mediation.core.records.incident import MAX_SIGHTS, MAX_TEXT, Sight, What
from mediation.reconciliation import namespaces, netfilter, packet, processes, switch, traffic
from mediation.runtime.config import Site

ICMPV6 = 58  # the kernel's own raw sockets speak it, as root does for neighbour discovery


class Look(NamedTuple):
    """What was seen, how much more there was, and what could not be looked at."""

    sights: tuple[Sight, ...]
    more: int
    unseen: tuple[str, ...]


def answers(site: Site) -> Path:
    """Where switch elements may answer to: the unit's RuntimeDirectory=, else a folder below run/."""
    given = os.environ.get("RUNTIME_DIRECTORY", "")
    return Path(given) if given else site.run_dir / "reconciler"


class Looker:
    """For one site's reconciler."""

    def __init__(self, site: Site) -> None:
        self._settings = site.reconciliation
        self._elements: list[tuple[str, str, switch.Adapter]] = [
            (
                f"kamailio {each.name}",
                "",
                partial(switch.kamailio, each.name, each.socket, answers(site), expected=each.siptrace),
            )
            for each in self._settings.kamailio
        ]
        for relay in self._settings.rtpengine:
            adapter = switch.Rtpengine(relay.name, relay.address, relay.port)
            self._elements.append((f"rtpengine {relay.name}", relay.namespace, adapter.sights))
            if relay.recordings:
                files = partial(switch.recordings, relay.name, relay.recordings)
                self._elements.append((f"rtpengine {relay.name} recordings", relay.namespace, files))

    def look(self) -> Look:
        """Never raises."""
        surveyed = namespaces.survey()
        unseen = list(surveyed.unseen)
        sights: list[Sight] = []
        by_name = {each.label: each for each in surveyed.found}
        for namespace in surveyed.found:
            try:
                with namespaces.inside(namespace):
                    sights += self._namespace(namespace.label, unseen)
            except OSError:
                unseen.append(f"namespace {namespace.label}")
        for name, place, adapter in self._elements:
            try:
                with namespaces.inside(by_name[place]):
                    sights += [_with(sight, place) for sight in adapter()]
            except (OSError, KeyError, RemoteProtocolError):
                unseen.append(name)
        if self._settings.processes:
            sights = _with_holders(sights)
        if netfilter.legacy():
            unseen.append("tables of ip_tables itself")
        ordered = sorted({_bounded(sight).key: _bounded(sight) for sight in sights}.values(), key=_order)
        return Look(
            tuple(ordered[:MAX_SIGHTS]), max(0, len(ordered) - MAX_SIGHTS),
            tuple(sorted({each[:MAX_TEXT] for each in unseen}))[:MAX_SIGHTS],
        )  # fmt: skip

    def _namespace(self, label: str, unseen: list[str]) -> Iterator[Sight]:
        """Raises OSError when the namespace as a whole cannot be looked at."""
        found = traffic.links()
        names = {link.ifindex: link.name for link in found} | {0: "*"}
        memberships: Counter[int] = Counter()
        for one in packet.packet_sockets():
            memberships += one.promiscuous
            yield Sight(
                what=What.PACKET_SOCKET, namespace=label, interface=names.get(one.ifindex, f"index {one.ifindex}"),
                protocol=one.protocol, uid=one.uid, inode=one.inode, filter_sha256=one.filter_sha256,
            )  # fmt: skip
        for raw in packet.raw_sockets():
            if not (raw.version == 6 and raw.protocol == ICMPV6 and raw.uid == 0):
                yield Sight(
                    what=What.RAW_SOCKET, namespace=label, protocol=raw.protocol, uid=raw.uid, inode=raw.inode,
                    detail=f"IPv{raw.version}",
                )  # fmt: skip
        yield from traffic.of_links(found, label, memberships)
        yield from traffic.of_filters(found, label)
        parts: dict[str, switch.Adapter] = {
            "tcx programs": partial(traffic.of_programs, found, label),
            "netfilter rules": partial(netfilter.rules, label),
        }
        for what, part in parts.items():
            try:
                yield from part()
            except PermissionError:
                unseen.append(f"{what} {label}".strip())


def _with(sight: Sight, namespace: str) -> Sight:
    return msgspec.structs.replace(sight, namespace=namespace)


def _bounded(sight: Sight) -> Sight:
    """Names that somebody chose, as printable text of bounded length."""
    return msgspec.structs.replace(
        sight, namespace=_plain(sight.namespace), interface=_plain(sight.interface), detail=_plain(sight.detail)
    )


def _plain(text: str) -> str:
    return "".join(c if c.isascii() and c.isprintable() else "?" for c in text[:MAX_TEXT])


def _with_holders(sights: list[Sight]) -> list[Sight]:
    held = processes.holders({sight.inode for sight in sights if sight.inode})
    return [
        msgspec.structs.replace(sight, commands=held[sight.inode][0], executables=held[sight.inode][1])
        if sight.inode in held
        else sight
        for sight in sights
    ]


def _order(sight: Sight) -> tuple[str, str, str, int, str]:
    return sight.what, sight.namespace, sight.interface, sight.inode, sight.detail
