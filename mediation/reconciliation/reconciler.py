"""The reconciler's process: looks, writes its own log, and tells the administrator; it can start and read nothing.

Answers for a look within every interval (configured, at most 30 s; when, chance says), and one more at once when the
administrator asks to have something confirmed. Its user, its socket and its key are its own: it shares nothing with
what sets taps but the configuration and the kernel. The administrator may answer `Noted` and nothing else.

Privileges: CAP_NET_ADMIN (netfilter rules, tcx programs, filters of sockets); where the site says so CAP_SYS_ADMIN
(other namespaces), CAP_SYS_PTRACE and CAP_DAC_READ_SEARCH (which process holds a socket). No system call for another
process's memory, no program loaded (runtime/denial.py).
"""

from __future__ import annotations

import os
import pwd
import secrets
import signal
import time
from typing import Final

import msgspec
import trio

from mediation.core.errors import ConfigurationError, RemoteProtocolError
from mediation.core.records import incident
from mediation.core.records.incident import Noted, Observation, Rule, Sight, What
from mediation.reconciliation.journal import CLEAN, SEEN, START, Journal, Line, held
from mediation.reconciliation.look import Look, Looker, answers
from mediation.runtime import confine, denial, identity, log, sockets
from mediation.runtime.config import Site
from mediation.runtime.systemd import Notifier

SOCKET: Final = "administrator.reconciler"
CAP_DAC_READ_SEARCH, CAP_SYS_PTRACE, CAP_SYS_ADMIN = 2, 19, 21  # linux/capability.h
ANSWER_LIMIT_S: Final = 10.0
CHANCES: Final = 1 << 20
CONFIRM_S: Final = 2.0  # between a look and the one that confirms it
RECEIVE_OCTETS: Final = 4096
HOUR_US: Final = 3_600_000_000

logger = log.get("reconciler")


def pause(interval_s: int) -> float:
    """Seconds to the next look: at most the interval, by chance, so that no tap can be closed just for the moments in
    which somebody looks."""
    return interval_s * (1 + secrets.choice(range(CHANCES)) / CHANCES) / 2


def rules(site: Site) -> list[Rule]:
    """What the configuration expects."""
    return [Rule(**msgspec.structs.asdict(each)) for each in site.reconciliation.expected]


def beyond(site: Site, sights: tuple[Sight, ...]) -> list[Sight]:
    """What the configuration alone does not account for: one packet socket at each of its taps is taken as ours.

    The administrator is stricter: it knows the inodes. This is for the log, which must not need the administrator.
    """
    points = [(iap.interface, iap.namespace) for iap in site.iaps]
    left: list[Sight] = []
    for sight in incident.unaccounted(sights, rules(site), ()):
        place = (sight.interface, sight.namespace)
        if sight.what is What.PACKET_SOCKET and sight.protocol == incident.ETH_P_ALL and place in points:
            points.remove(place)
        else:
            left.append(sight)
    return left


class Reconciler:
    """Of one site. Raises ConfigurationError or LedgerError when it may not start."""

    def __init__(self, site: Site) -> None:
        self._site = site
        self._looker = Looker(site)
        self._journal = Journal(site)
        self._run_dir = held(site.run_dir)
        self._identity = identity.Identity(site)
        self._number = 0
        self._written: tuple[tuple[Sight, ...], tuple[str, ...]] | None = None
        self._written_us = 0
        self._rounds = 0
        self._told = True

    async def run(self, notifier: Notifier | None = None) -> None:
        """Until cancelled."""
        self._write(Line(number=0, time_us=_now_us(), previous="", kind=START))
        stream: trio.SocketStream | None = None
        while True:
            look = await trio.to_thread.run_sync(self._looker.look)
            observation = self._observed(look)
            again = False
            try:
                if stream is None:
                    stream = await sockets.connect(self._run_dir, SOCKET)
                again = (await exchange(stream, observation)).again
                self._say("")
            except (
                OSError, trio.BrokenResourceError, trio.ClosedResourceError, trio.TooSlowError, RemoteProtocolError
            ) as error:  # fmt: skip
                self._say(f"{type(error).__name__}: {error}")
                if stream is not None:
                    await trio.aclose_forcefully(stream)
                    stream = None
            if notifier is not None:
                notifier.ready()
                notifier = None
            # Away from the administrator it looks as often, so that the log has what nobody was told of.
            await trio.sleep(CONFIRM_S if again or stream is None else pause(self._site.reconciliation.interval_s))

    def _observed(self, look: Look) -> Observation:
        now_us = _now_us()
        left = beyond(self._site, look.sights)
        seen = (look.sights, look.unseen)
        self._rounds += 1
        if seen != self._written or now_us - self._written_us >= HOUR_US:
            same = seen == self._written
            self._write(
                Line(
                    number=0, time_us=now_us, previous="", kind=CLEAN if same and not left else SEEN,
                    rounds=self._rounds, beyond=len(left), sights=() if same else look.sights, more=look.more,
                    unseen=look.unseen,
                )
            )  # fmt: skip
            self._written, self._written_us, self._rounds = seen, now_us, 0
        self._number += 1
        return Observation(
            number=self._number, time_us=now_us, interval_s=self._site.reconciliation.interval_s, sights=look.sights,
            more=look.more, unseen=look.unseen, log_sha256=self._journal.head, code_sha256=self._identity.code_sha256,
        )  # fmt: skip

    def _write(self, line: Line) -> None:
        """The log, and a copy to the service manager's journal. A log that cannot be written stops nothing."""
        try:
            self._journal.append(line)
        except OSError as error:
            logger.error("alarm_log_not_written", reason=error.strerror)  # noqa: TRY400 - no traceback wanted
        logger.info(
            "reconciler_log", kind=line.kind, head=self._journal.head, beyond=line.beyond, sights=len(line.sights),
            what=sorted({f"{each.what} {each.interface}".strip() for each in line.sights}), unseen=line.unseen,
        )  # fmt: skip

    def _say(self, failure: str) -> None:
        """Once for each change; `failure` is empty when the administrator heard."""
        if bool(failure) is self._told:
            self._told = not failure
            if failure:
                logger.error("alarm_administrator_away", reason=failure)
            else:
                logger.info("administrator_hears")


async def exchange(stream: trio.SocketStream, observation: Observation) -> Noted:
    """Tells one observation. Raises RemoteProtocolError, trio.TooSlowError, trio.BrokenResourceError."""
    with trio.fail_after(ANSWER_LIMIT_S):
        await stream.send_all(incident.encode(observation))
        answer = bytearray()
        while not answer.endswith(b"\n"):
            octets = await stream.receive_some(RECEIVE_OCTETS)
            if not octets or len(answer) > RECEIVE_OCTETS:
                raise RemoteProtocolError("administrator: no answer to an observation")
            answer += octets
    return incident.decode_answer(bytes(answer))


def _now_us() -> int:
    return time.time_ns() // 1000


def privileges(site: Site) -> tuple[int, ...]:
    """The capabilities that this site's reconciler keeps."""
    settings = site.reconciliation
    kept = [confine.CAP_NET_ADMIN]
    if settings.namespaces:
        kept.append(CAP_SYS_ADMIN)
    if settings.processes:
        kept += [CAP_SYS_PTRACE, CAP_DAC_READ_SEARCH]
    return tuple(kept)


def _take(site: Site) -> None:
    """Started as root (`mediation run`), the process takes its folder with it to the user that it becomes."""
    if os.geteuid() != 0:
        return
    try:
        user = pwd.getpwnam(site.reconciliation.user)
        answers(site).mkdir(mode=0o711, exist_ok=True)
        # run/ can be writable to the other functions (the units' tmpfs): a link there must not choose what is opened.
        folder = os.open(answers(site), os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
        try:
            os.fchmod(folder, 0o711)
            os.fchown(folder, user.pw_uid, user.pw_gid)
        finally:
            os.close(folder)
        for path in (site.reconciler_dir, *site.reconciler_dir.iterdir()):
            os.chown(path, user.pw_uid, user.pw_gid, follow_symlinks=False)
    except (KeyError, OSError) as error:
        raise ConfigurationError(f"reconciliation.user {site.reconciliation.user}: {error}") from error


async def serve(site: Site, notifier: Notifier | None = None) -> None:
    """The reconciler's process, from its start to SIGTERM. Raises ConfigurationError or LedgerError."""
    _take(site)
    reconciler = Reconciler(site)
    confine.become(site.reconciliation.user, keeping=privileges(site))
    families = [denial.UNIX, denial.NETLINK]
    if site.reconciliation.rtpengine:
        families += [denial.INET, denial.INET6]
    denial.harden(families=families, allowed=("bpf", *(("setns",) if site.reconciliation.namespaces else ())))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(reconciler.run, notifier)
        with trio.open_signal_receiver(signal.SIGTERM, signal.SIGINT) as signals:
            async for _ in signals:
                nursery.cancel_scope.cancel()
