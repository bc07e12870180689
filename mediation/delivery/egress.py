"""The egress filter: what the delivery function's user may send leaves only for destinations of live orders (SEC-12).

A function of its own, with CAP_NET_ADMIN and nothing else. It is tasked over X1 as the others are, and admits each
order itself (core/authority/authorization.py), so that neither a compromised administrator nor a compromised mediator
can widen it: the one has no signatures, the other no privilege. Of an order it keeps the destinations and the window.

    table inet mediation_egress_SITE, hook output, for packets of the mediator's user alone (`meta skuid`):
        to a live order's address, protocol and port             accepted
        answers on a third party's connection to our listener    accepted
        all else                                                 counted, dropped, and an alarm within a second

What an order generated before its end is still the court's: its destination stays LINGER_S longer (links.py); that of
an order whose token was withdrawn REVOKED_LINGER_S, when the mediator has ended its link as well (SEC-24). The table
outlives this process (a kill of it opens nothing and closes nothing); a new one takes over what it finds, and what is
not armed again within TAKEN_OVER_S goes. What was stopped, suspended or withdrawn, whose roster was held and which head
of the ledger was seen, it remembers as the others do (`egress/`): no restart makes it know less.

May not: open a network socket, keep a subject or a case, or accept a destination that is no address: names would make
the resolver a part of the authority, so with this filter on, orders name addresses (administration/order/provision.py).
Trust: root can remove the table; reconciliation looks for that.
"""

from __future__ import annotations

import hashlib
import ipaddress
import json
import os
import pwd
import shutil
import signal
import subprocess
from contextlib import suppress
from typing import Any, Final, NamedTuple

import msgspec
import trio

from mediation.core.case import Destination, Task
from mediation.core.check import Check
from mediation.core.errors import AuthorizationError, ConfigurationError
from mediation.core.interface import task_table, x1
from mediation.delivery.links import REVOKED_LINGER_S
from mediation.runtime import clock, confine, keys, log, sockets, vault
from mediation.runtime.config import Site
from mediation.runtime.remembered import Remembered, trust_report
from mediation.runtime.suspended import SuspendedTasks
from mediation.runtime.systemd import Notifier
from mediation.runtime.x1_server import X1Server

PATH: Final = "/usr/sbin:/sbin:/usr/bin:/bin"  # where nft is
X1_SOCKET: Final = "egress.x1"
CLOCK_FILE: Final = "egress.clock"
STOPPED_FILE: Final = "egress.stopped"
SUSPENDED_FILE: Final = "egress.suspended"
TICK_S: Final = 1.0  # how late an alarm is at most
NFT_LIMIT_S: Final = 10.0
LINGER_S: Final = 3600  # what was generated before an order's end is delivered until then. Ours
TAKEN_OVER_S: Final = 30  # what an earlier process allowed, until it is armed again. Ours
FOR_GOOD: Final = 0  # the number of an act in the record of a stop: none
NOBODY: Final = Destination(host="", port=0, certificate_sha256="")


class Place(NamedTuple):
    """One element of the set."""

    address: str
    protocol: str  # tcp, udp
    port: int

    @property
    def version(self) -> int:
        return ipaddress.ip_address(self.address).version

    def __str__(self) -> str:
        return f"{self.address} . {self.protocol} . {self.port}"


def places(task: Task) -> frozenset[Place]:
    """Where an order's messages and content go. Raises AuthorizationError for a name."""
    destination = task.destination
    found = {(destination.host, "tcp", destination.port)}
    if (content := destination.content) is not None:
        found.add((content.host, "tcp" if content.form == "cc-apdu" else "udp", content.port))
    try:
        return frozenset(Place(str(ipaddress.ip_address(host)), kind, port) for host, kind, port in found)
    except ValueError:
        raise AuthorizationError(Check.DESTINATION, "the egress filter takes addresses, not names") from None


def mediator_uid(site: Site) -> int:
    """The delivery function's user, whose spool it is; before its first start under `run` that is still root's or the
    site owner's. Raises ConfigurationError when it is another's: the filter would hold somebody else."""
    try:
        uid = pwd.getpwnam(site.delivery.user).pw_uid
    except KeyError:
        raise ConfigurationError(f"delivery.user: no user {site.delivery.user}") from None
    try:
        owner = site.spool_dir.stat().st_uid
    except OSError as error:
        raise ConfigurationError(f"spool/: {error.strerror}") from error
    if owner != uid and not (os.geteuid() == 0 and owner in (0, site.path.stat().st_uid)):
        raise ConfigurationError(f"delivery.user: the mediator runs as uid {owner}, not as {site.delivery.user}")
    return uid


class Filter:
    """The kernel's table. Blocking calls of some 10 ms, made when a destination comes or goes, not for each order."""

    def __init__(self, site: Site, uid: int) -> None:
        """Makes the table for the mediator's user `uid`, or takes it over. Raises ConfigurationError."""
        nft = shutil.which("nft", path=PATH)
        if nft is None:
            raise ConfigurationError("egress: no nft (Debian package nftables)")
        self._nft = nft
        self.table = f"mediation_egress_{hashlib.sha256(os.fsencode(site.path)).hexdigest()[:12]}"
        found = self._elements()
        points = "".join(
            f"    {'ip6' if ':' in point.listen else 'ip'} saddr {ipaddress.ip_address(point.listen)}"
            f" tcp sport {point.port} ct direction reply accept\n"
            for point in site.interception_points
        )
        before = f"delete table inet {self.table}\n" if found is not None else ""
        self._run(
            f"{before}table inet {self.table} {{\n"
            "  set places4 { type ipv4_addr . inet_proto . inet_service; flags timeout; }\n"
            "  set places6 { type ipv6_addr . inet_proto . inet_service; flags timeout; }\n"
            "  counter refused { }\n"
            "  chain delivery {\n"
            "    ip daddr . meta l4proto . th dport @places4 accept\n"
            "    ip6 daddr . meta l4proto . th dport @places6 accept\n"
            f"{points}"
            "    counter name refused drop\n"
            "  }\n"
            # What has no socket has no user: the kernel's own answers (neighbour discovery, echo, reset). A rule that
            # asked for "not this user" would not hold for it, and the host would lose it.
            "  chain output {\n"
            "    type filter hook output priority filter; policy accept;\n"
            f"    meta skuid {uid} goto delivery\n"
            "  }\n}\n" + "".join(self._add(place, TAKEN_OVER_S) for place in found or ())
        )

    def allow(self, fresh: frozenset[Place]) -> None:
        """Raises ConfigurationError."""
        self._run("".join(self._add(place) for place in fresh))

    def linger(self, over: frozenset[Place], seconds: int = LINGER_S) -> None:
        """Raises ConfigurationError."""
        self._run("".join(self._add(place, seconds) for place in over))

    def refused(self) -> int:
        """Packets that were dropped since the table was made. Raises ConfigurationError."""
        answer = json.loads(self._run("", "-j", "list", "counter", "inet", self.table, "refused"))
        return int(next(part["counter"]["packets"] for part in answer["nftables"] if "counter" in part))

    def _add(self, place: Place, seconds: int = 0) -> str:
        """Adds or changes an element: an element that is there keeps its timeout, so it is taken away first."""
        into = f"element inet {self.table} places{place.version} {{ {place}"
        limit = f" timeout {seconds}s" if seconds else ""
        return f"add {into} }}\ndelete {into} }}\nadd {into}{limit} }}\n"

    def _elements(self) -> list[Place] | None:
        """What an earlier process allowed; None when there is no table."""
        try:
            answer = json.loads(self._run("", "-j", "list", "table", "inet", self.table))
        except ConfigurationError:
            return None
        found = []
        for part in answer["nftables"]:
            for element in part.get("set", {}).get("elem", ()):
                value = element.get("elem", {}).get("val", element) if isinstance(element, dict) else element
                address, protocol, port = value["concat"]
                found.append(Place(str(address), str(protocol), int(port)))
        return found

    def _run(self, text: str, *words: str) -> str:
        if not text and not words:
            return ""
        try:
            ended = subprocess.run(  # noqa: S603 - a fixed program; what it reads is made of numbers and our own words
                [self._nft, *(words or ("-f", "-"))], input=text, capture_output=True, text=True,
                timeout=NFT_LIMIT_S, check=False, env={},
            )  # fmt: skip
        except (OSError, subprocess.TimeoutExpired) as error:
            raise ConfigurationError(f"egress: nft: {type(error).__name__}") from None
        if ended.returncode:
            raise ConfigurationError(f"egress: nft: {ended.stderr.strip().splitlines()[:1]}")
        return ended.stdout


class Egress:
    """One egress function: a task table whose tasks are places."""

    def __init__(self, site: Site) -> None:
        """Raises ConfigurationError."""
        self._log = log.get("egress")
        self._site = site
        self._places: dict[bytes, frozenset[Place]] = {}
        self._users: dict[Place, int] = {}
        self._owed: dict[Place, int] = {}  # to be closed, after so many seconds: the filter could not be set
        trust = keys.load_trust(site)
        listener = sockets.listen(site.run_dir, X1_SOCKET, owner=sockets.owner_of(site.path))
        with suppress(OSError):  # the next line says what is wrong with it
            site.egress_dir.mkdir(mode=0o700, exist_ok=True)
        self._high_water = clock.HighWater(site.egress_dir / CLOCK_FILE)
        self._clock = clock.AuthorityClock(self._high_water)
        key = vault.unlock(site).name_key("egress")
        self._remembered = Remembered(site.egress_dir, "egress", key)
        self._stopped = SuspendedTasks(site.egress_dir / STOPPED_FILE, key)  # in the same form: for good, so by no act
        self._suspended = SuspendedTasks(site.egress_dir / SUSPENDED_FILE, key)
        trust = self._remembered.believed(trust)
        uid = mediator_uid(site)
        confine.become(site.egress.user, keeping=confine.CAP_NET_ADMIN)
        self.filter = Filter(site, uid)
        self.table = task_table.TaskTable(
            trust, self._changed, kept=_kept, grace_ns=site.ledger.grace_ns, suspended=self._suspended.add
        )
        self._remembered.resume(self.table.lease, trust.ledger)
        for xid, _ in self._stopped:
            self.table.stop(xid)
        for xid, sequence in self._suspended:
            self.table.hold(xid, sequence)
        self._x1 = X1Server(listener, self._handle, self.table, self._log)
        self._said = self.filter.refused()
        self.alarms = 0

    async def run(self, notifier: Notifier | None = None) -> None:
        """Until cancelled."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._x1.run)
            nursery.start_soon(self._watch)
            if notifier is not None:
                notifier.ready()

    async def _watch(self) -> None:
        """Ends windows, and tells when something was refused."""
        while True:
            self.table.expire(self._clock.now_ns())
            self._close_owed()
            try:
                self._clock.save()
            except OSError as error:  # a full disk must not open or close anything
                self._log.error("clock_not_saved", reason=error.strerror)
            refused = await trio.to_thread.run_sync(self.filter.refused)
            if refused > self._said:
                self.alarms += 1
                self._log.error("alarm_egress", packets=refused - self._said, total=refused)
            self._said = refused
            await trio.sleep(TICK_S)

    def _close_owed(self) -> None:
        """What an order's end left open, because the filter could not be set then, is closed as soon as it can be."""
        for place, seconds in list(self._owed.items()):
            try:
                self.filter.linger(frozenset({place}), seconds)
            except ConfigurationError as error:
                self._log.error("alarm_filter", reason=str(error), open=len(self._owed))
                return
            del self._owed[place]

    def _handle(self, request: x1.Request) -> x1.Answer:
        answer = self.table.handle(request, self._clock.now_ns(), self.report)
        if isinstance(request, x1.DeactivateTask) and isinstance(answer, x1.Ok):
            self._stopped.add(bytes.fromhex(request.xid), FOR_GOOD)
        if isinstance(request, x1.Roster | x1.ProveRoster | x1.RevokeToken):
            self._remembered.keep(self.table.trust)
        self._remembered.followed(self.table.lease)
        return answer

    def _changed(self, change: task_table.Change) -> None:
        """Brings the table in line with one change. Raises AuthorizationError to refuse it."""
        xid = (change.after or change.before).xid  # type: ignore[union-attr]
        before = self._places.get(xid, frozenset())
        after: frozenset[Place] = frozenset()
        if change.after is not None:  # suspended in its place: where it goes was not kept (`_kept`), and is as it was
            after = before if change.after.destination == NOBODY else places(change.after)
        fresh = frozenset(place for place in after - before if not self._users.get(place))
        over = frozenset(place for place in before - after if self._users[place] == 1)
        linger_s = REVOKED_LINGER_S if change.revoked else LINGER_S
        try:
            self.filter.allow(fresh)
            self.filter.linger(over, linger_s)
        except ConfigurationError as error:
            self._log.error("alarm_filter", reason=str(error))
            if change.after is not None:
                raise AuthorizationError(Check.DESTINATION, "the egress filter cannot be set") from None
            self._owed |= dict.fromkeys(over, linger_s)
        for place in fresh:
            self._owed.pop(place, None)
        for place in after - before:
            self._users[place] = self._users.get(place, 0) + 1
        for place in before - after:
            self._users[place] -= 1
            if not self._users[place]:
                del self._users[place]
        if after:
            self._places[xid] = after
        else:
            self._places.pop(xid, None)

    def report(self) -> dict[str, Any]:
        """For ReportStatus: numbers alone."""
        return {
            "function": "egress",
            "tasks": len(self.table),
            "destinations": len(self._users),
            "not_closed": len(self._owed),
            "refused_packets": self._said,
            "alarms": self.alarms,
            "lease": {"ends_ns": self.table.lease.ends_ns, "lapses": self.table.lapses},
            "roster": trust_report(self.table, self._remembered),
            "unrecorded_stops": self._stopped.unrecorded,
            "unrecorded_suspensions": self._suspended.unrecorded,
            "x1_malformed": self._x1.malformed,
        }


def _kept(task: Task) -> Task:
    """What of a judged task stays in this process."""
    return msgspec.structs.replace(task, case="", agency="", subjects=(), destination=NOBODY, profile="")


async def serve(site: Site, notifier: Notifier | None = None) -> None:
    """The egress function's process, from its start to SIGTERM. Raises ConfigurationError."""
    held = vault.unlock(site)
    egress = Egress(site)
    held.wipe()  # what its files are read and written with, it has
    async with trio.open_nursery() as nursery:
        nursery.start_soon(egress.run, notifier)
        with trio.open_signal_receiver(signal.SIGTERM, signal.SIGINT) as signals:
            async for _ in signals:
                nursery.cancel_scope.cancel()
