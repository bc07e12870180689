"""`mediation replay`: capture files through the same code as live capture, without a tap, a link or root.

Orders are admitted as the access function and the mediator admit them, and an order's window is judged at the time of
the replay; event times are the capture's own. Their clock is unknown, so every event is marked undisciplined. What
comes out is decoded by the collection function's independent codec and printed as `collect` prints it.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import click

from mediation.access import feeds
from mediation.access._matcher import Matcher
from mediation.access._walker import Walker
from mediation.access.tasking import may_have_content
from mediation.administration.order.live import load_live
from mediation.cli.options import site_option
from mediation.cli.replay_content import ReplayContent
from mediation.collection import present
from mediation.collection.decoder import decode
from mediation.core.authority import authorization
from mediation.core.case import Capability, Task
from mediation.core.errors import AuthorizationError, ConfigurationError, MediationError, RemoteProtocolError
from mediation.core.interface.x2 import Framer
from mediation.core.target import match_keys
from mediation.delivery.tracker import Outgoing, Tracker
from mediation.runtime import clock, config, keys

# Where a site names no access point: all SIP of the capture, on any port and in any tunnel, seen as on an access side.
CAPTURE_IAP = config.Iap(name="capture", interface="", tunnels=("ip", "gre", "vxlan", "gtp"))
SETTLE_NS = 10_000_000_000  # after the last packet: what timers still hold back (digits) is due well within


class Replay:
    """One pass: access, mediation and presentation in this process. Prints as it goes; `sequence` counts messages."""

    def __init__(self, site: config.Site, iap: config.Iap) -> None:
        self._tasks: dict[bytes, Task] = {}
        self._clock = clock.AuthorityClock()
        self._matcher = Matcher((iap,), site.dial_plan, call_capacity=site.access.calls, live=False)
        self._walker = Walker(self._matcher, 0, iap.ports)
        self._walker.look_through(iap.tunnels, iap.vxlan_port)
        if iap is CAPTURE_IAP:
            self._walker.recognise_by_form()
        self._framer = Framer()
        self._tracker = Tracker(
            site.dial_plan,
            (iap.name,),
            digit_timeout_ns=site.delivery.digit_timeout_ms * 1_000_000,
            status_messages=False,  # they speak of the live service, and a replay is none
        )
        self._content = ReplayContent()
        self._sequence = 0
        self._site = site
        self._iap = iap

    def arm(self) -> None:
        """Admits every live order for itself; what has no authority now is said on standard error, by case."""
        trust = keys.load_trust(self._site)
        now_ns = self._clock.now_ns()
        for request in load_live(self._site):
            try:
                task = authorization.admit(request, trust, now_ns)
            except AuthorizationError as error:
                click.echo(f"replay: an order is not in force: {error}", err=True)
                continue
            if task.iaps and self._iap.name not in task.iaps:
                continue
            self._tasks[task.xid] = task
            self._tracker.begin(task, now_ns)
            self._content.begin(task)
            self._matcher.add_task(
                task.xid,
                [key for uri in task.subjects for key in match_keys(uri, self._site.dial_plan)],
                task.not_before_ns,
                task.not_after_ns,
                dde=task.dde and Capability.DIGITS in task.capabilities,
                content=may_have_content(task),
            )

    def _live(self, xid: bytes) -> Task | None:
        task = self._tasks.get(xid)
        if task is None or not task.not_before_ns <= self._clock.now_ns() < task.not_after_ns:
            return None
        return task

    def feed(self, path: Path) -> None:
        """One capture file. Raises RemoteProtocolError for a malformed one, after what was good in it."""
        stamp_ns = 0
        try:
            with path.open("rb") as file:
                for frame in feeds.frames(file):
                    stamp_ns = max(stamp_ns, frame.stamp_ns)
                    self._show(self._tracker.advance(stamp_ns), stamp_ns)
                    now_ns = self._clock.now_ns()
                    self._walker.feed(frame.octets, frame.link_type, frame.stamp_ns, now_ns, frame.on_wire)
                    self._take(now_ns, stamp_ns)
        except OSError as error:
            raise ConfigurationError(f"{path.name}: {error.strerror}") from error
        finally:
            now_ns, last_ns = self._clock.now_ns(), stamp_ns + SETTLE_NS
            self._walker.expire(last_ns, now_ns)
            self._take(now_ns, last_ns)
            self._show(self._tracker.advance(last_ns), last_ns)
            self._content.sweep(last_ns)
            self._print(self._content.summaries())

    def _take(self, now_ns: int, stamp_ns: int) -> None:
        """What the last frame made of the matcher's two outputs."""
        if octets := self._matcher.take():
            self._show(self._tracker.observe(self._framer.feed(octets), self._live), stamp_ns)
        if octets := self._matcher.take_content():
            first = self._content.feed(octets, now_ns, stamp_ns)
            if first:
                self._show(self._tracker.content_seen(first, self._live), stamp_ns)

    def _show(self, found: Iterable[Outgoing], stamp_ns: int) -> None:
        shown = []
        for task, message, _ in found:
            self._sequence += 1
            if message.octets is None:
                click.echo(f"replay: message {self._sequence} of case {task.case} could not be encoded", err=True)
                continue
            facts = present.LinkFacts(
                sequence=self._sequence,
                received_ns=message.received_ns,
                error_us=message.error_us,
                disciplined=message.disciplined,
            )
            decoded = decode(message.octets)
            self._content.message(decoded)
            shown.append(present.present(decoded, message.octets, facts))
        self._print(shown)
        if bound := self._tracker.take_bound():
            self._content.apply(bound, stamp_ns)

    @staticmethod
    def _print(shown: Iterable[dict[str, Any]]) -> None:
        for each in shown:
            sys.stdout.buffer.write(present.line(each))
        sys.stdout.buffer.flush()

    def losses(self) -> dict[str, int]:
        """What was not walked or not understood, by reason; only what is not zero."""
        counters = {
            **self._walker.counters(),
            **self._matcher.counters(),
            **self._tracker.model_counters(),
            **self._content.counters(),
        }
        return {name: count for name, count in counters.items() if count}


@click.command()
@site_option
@click.option(
    "--iap", "iap_name", default=None, help="Whose side the capture was taken on; the site's first by default."
)
@click.option("--counters", is_flag=True, help="Print all counters on standard error at the end.")
@click.argument("captures", nargs=-1, required=True, type=click.Path(exists=True, dir_okay=False, path_type=Path))
def command(folder: Path, iap_name: str | None, counters: bool, captures: tuple[Path, ...]) -> None:
    """Feeds capture files (pcap, pcapng) through the daemon's own code and prints the messages.

    \b
    mediation replay --site DIR --iap trunk-1 --counters testline.pcap
    """
    loaded = config.load(folder)
    known = {iap.name: iap for iap in loaded.iaps}
    if iap_name is not None and iap_name not in known:
        raise ConfigurationError(f"replay: the site has no access point {iap_name}")
    replay = Replay(loaded, known[iap_name] if iap_name else next(iter(loaded.iaps), CAPTURE_IAP))
    replay.arm()
    faults = []
    for path in captures:
        try:
            replay.feed(path)
        except RemoteProtocolError as error:
            faults.append(f"{path.name}: {error}")
            click.echo(f"replay: {faults[-1]}", err=True)
    if counters:
        for name, count in sorted(replay.losses().items()):
            click.echo(f"{name} {count}", err=True)
    if faults:
        raise MediationError("replay: malformed capture")
