"""What the access function holds of an order: which keys to look for, between when, with dialed digits, with content.

Answers for: every request is judged here, by `core.authorization` and by this function's own clock, whoever sent it;
nothing is armed otherwise, and a task that was stopped is never armed again, not after a restart either. May not: keep
an order's case identity, agency or destination once it is judged (this process reads hostile packets).
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import msgspec

from mediation.access._calls import CallJournal
from mediation.access._matcher import Matcher
from mediation.core.authority.trust import Trust
from mediation.core.case import Authority, Capability, Destination, Task
from mediation.core.check import Check
from mediation.core.errors import AuthorizationError, ConfigurationError, EncodingError
from mediation.core.interface import task_table, x1
from mediation.core.target import match_keys
from mediation.runtime import clock
from mediation.runtime.config import Site
from mediation.runtime.slots import Slots
from mediation.runtime.suspended import SuspendedTasks

XID_OCTETS = 16
NOBODY = Destination(host="", port=0, certificate_sha256="")


class StoppedTasks:
    """The XIDs that may never be armed again, in a file of slots that stays open (runtime/slots.py).

    Not trusted: who adds to it can stop interceptions, which is always possible; who takes from it gains nothing, since
    an order with a stop among its acts is refused by `authorization` as well.
    """

    def __init__(self, path: Path, key: bytes) -> None:
        """Opens or makes the file. `key` is 32 octets of the vault's. Raises ConfigurationError."""
        try:
            self._slots = Slots(path, key)
        except OSError as error:
            raise ConfigurationError(f"iap: {path.name}: {error.strerror}") from error
        self.xids = {record[:XID_OCTETS] for record in self._slots.records}

    def fileno(self) -> int:
        return self._slots.fileno()

    def add(self, xid: bytes) -> None:
        """pwrite64 fdatasync; nothing for one that is there, or beyond the bound. Raises OSError."""
        if xid in self.xids or len(self.xids) >= task_table.TaskTable.MAX_STOPPED:
            return
        self._slots.add([xid])
        self.xids.add(xid)

    def close(self) -> None:
        self._slots.close()


def may_have_content(task: Task) -> bool:
    """Whether the order covers what is said, and is of a kind that can (18 U.S.C. 2511(2)(a)(ii), 3121(c)).

    `authorization` refuses an order that says otherwise; the process that could take content asks once more.
    """
    return Capability.CONTENT in task.capabilities and task.authority.ordinary in (Authority.TITLE_III, Authority.FISA)


def _kept(task: Task) -> Task:
    """What of a judged task stays in this process."""
    return msgspec.structs.replace(task, case="", agency="", subjects=(), destination=NOBODY, profile="")


class Tasking:
    """The tasks of one access process, and the match table they are armed in.

    `hold` gives a context in which the reader's thread does not use the table; `calls` are those of an earlier process.
    """

    def __init__(
        self,
        site: Site,
        trust: Trust,
        matcher: Matcher,
        stopped: StoppedTasks,
        suspended: SuspendedTasks,
        *,
        hold: Callable[[], AbstractContextManager[object]],
        calls: CallJournal | None = None,
    ) -> None:
        self._site = site
        self._matcher = matcher
        self._stopped = stopped
        self._hold = hold
        self._calls = calls
        self._now_ns = 0  # of the request in hand
        self._names = [point.name for point in site.access_points]
        self.table = task_table.TaskTable(
            trust, self._changed, kept=_kept, grace_ns=site.ledger.grace_ns, suspended=suspended.add
        )
        self.unrecorded_stops = 0  # stops whose record did not reach the disk; they hold until a restart
        for xid in stopped.xids:
            self.table.stop(xid)
        for xid, sequence in suspended:
            self.table.hold(xid, sequence)

    def handle(self, request: x1.Request, now_ns: int, report: Callable[[], dict[str, Any]]) -> x1.Answer:
        """Carries one X1 request out. Never raises for what a peer sent."""
        self._now_ns = now_ns
        answer = self.table.handle(request, now_ns, report)
        if isinstance(request, x1.DeactivateTask) and isinstance(answer, x1.Ok):
            try:
                self._stopped.add(bytes.fromhex(request.xid))
            except OSError:
                self.unrecorded_stops += 1  # the stop itself must not fail for a full disk
        return answer

    def expire(self, now_ns: int) -> int:
        """Ends the tasks whose window is over; how many."""
        return len(self.table.expire(now_ns))

    def _changed(self, change: task_table.Change) -> None:
        """Brings the match table in line with one change. Raises AuthorizationError to refuse it."""
        if change.after is None:
            if change.before is not None:
                with self._hold():
                    self._matcher.remove_task(change.before.xid)
            return
        task, before = change.after, change.before
        dde = task.dde and Capability.DIGITS in task.capabilities
        if task.suspended:  # no message, packet or flow from now on; the table keeps the task
            if before is not None and not before.suspended:
                with self._hold():
                    self._matcher.remove_task(task.xid)
            return
        if before is not None and not before.suspended:
            with self._hold():
                self._matcher.set_dde(task.xid, dde)
                self._matcher.set_end(task.xid, task.not_after_ns)
            return
        error_ns, disciplined = clock.stamp_quality()
        if not clock.may_arm(
            lab=self._site.lab,
            accept_undisciplined=self._site.clock.accept_undisciplined,
            error_ns=error_ns,
            disciplined=disciplined,
        ):
            raise AuthorizationError(Check.CLOCK)
        mask = sum(1 << index for index, name in enumerate(self._names) if not task.iaps or name in task.iaps)
        if not mask and not set(task.iaps) & set(self._site.point_names):
            raise AuthorizationError(Check.IAP_UNKNOWN)  # a third party's point is known, and matched there
        try:
            keys = [key for uri in task.subjects for key in match_keys(uri, self._site.dial_plan)]
            with self._hold():
                self._matcher.add_task(
                    task.xid, keys, task.not_before_ns, task.not_after_ns,
                    dde=dde, iap_mask=mask, content=may_have_content(task),
                )  # fmt: skip
                if self._calls is not None and before is None:
                    self._calls.restore(task.xid, self._now_ns)
        except EncodingError:
            raise AuthorizationError(Check.UNMATCHABLE) from None
        except MemoryError:
            raise AuthorizationError(Check.UNMATCHABLE, "no room in the match table") from None
