"""The gate of the control socket: signed requests are let through once, refused ones are counted, slowed and alarmed.

Answers for the memory of requests (SEC-27: a repeat is refused and logged, also after a restart, for every accepted
one stands in the ledger), for the limits on refused attempts, on one connection and in all, and for their alarm
(SEC-14). The other side hears the same answer for an unknown key, a wrong signature and a role that may not ask; the
ledger's entry names the true check and the uid of the process that asked (unix(7), SO_PEERCRED).

Stops never wait here: the limit in all holds for signed requests, not for acts and revocations, which carry their own
signatures; those are limited on their own connection, and a new connection is free.

Blocking as `Orders` is, not for several threads. Times: `now_ns`, UTC nanoseconds.
"""

from __future__ import annotations

import msgspec

from mediation.administration.ledger.refusals import Limit
from mediation.administration.order.orders import Orders
from mediation.core.authority import request
from mediation.core.check import Check
from mediation.core.errors import AuthorizationError
from mediation.core.ledger import entry
from mediation.core.records.alarm import Alarm
from mediation.core.units import NS
from mediation.runtime import log

logger = log.get("administrator")

FAILED_ON_CONNECTION = 5  # then the connection is over (ours)
FAILED_AT_ONCE = 20  # in all, in a row; then one every FAILED_EVERY_NS is looked at (ours)
FAILED_EVERY_NS = 3 * NS
ALARM_AFTER = 5  # refused within ALARM_WINDOW_NS (ours: a person mistypes twice, not five times)
ALARM_WINDOW_NS = 60 * NS
ALARM_AGAIN_NS = 600 * NS
MAX_REMEMBERED = 65_536  # accepted requests of the last two minutes: over 500 a second
UNKNOWN_UID = -1


class Caller(msgspec.Struct):
    """One connection: whose process it is, and how often it was refused."""

    uid: int = UNKNOWN_UID
    failed: int = 0

    @property
    def over(self) -> bool:
        return self.failed >= FAILED_ON_CONNECTION


class Gate:
    """For one administrator. Counters: requests_accepted, requests_refused, requests_replayed, requests_too_many,
    alarms_raised, refused_without_entry."""

    def __init__(self, orders: Orders, now_ns: int) -> None:
        self._orders = orders
        self._seen = {sha: time_s + request.MEMORY_S for sha, time_s in orders.requests_seen.items()}
        self._entries = Limit(now_ns)
        self._left, self._since_ns = FAILED_AT_ONCE, now_ns
        self._recent: list[int] = []  # times of the last refused, ALARM_AFTER at most
        self._quiet_until_ns = 0
        self._since_alarm = 0

    def open(self, envelope: str, caller: Caller, now_ns: int) -> request.Opened:
        """Raises AuthorizationError with the check as the other side may know it."""
        if caller.over or not self._allowed(now_ns):
            self._orders.counters["requests_too_many"] += 1
            self._entries.allow(now_ns)
            raise AuthorizationError(Check.TOO_MANY)
        try:
            opened = request.examine(envelope, self._orders.trust, now_ns)
            self._once(opened, now_ns)
        except AuthorizationError as error:
            self.refused(error.check, request.digest(envelope), caller, now_ns)
            raise AuthorizationError(Check.named(request.outward(error.check))) from None
        self._orders.counters["requests_accepted"] += 1
        return opened

    def failed_act(self, caller: Caller, now_ns: int) -> None:
        """An act whose signature was not believed; `Orders` has entered it already."""
        self._count(caller, now_ns)

    def refused(self, check: str, sha256: str, caller: Caller, now_ns: int) -> None:
        """Counts and enters a refused request, at a bounded rate."""
        orders = self._orders
        orders.counters["requests_refused"] += 1
        if self._entries.allow(now_ns):
            self._enter(
                entry.Refused(
                    time_us=now_ns // 1000, check=check, text_sha256=sha256, uid=caller.uid,
                    suppressed=self._entries.take_suppressed(),
                )
            )  # fmt: skip
        else:
            orders.counters["refused_without_entry"] += 1
        self._count(caller, now_ns)

    def alarm(self, name: Alarm, case: str, detail: str, now_ns: int) -> entry.Alarm:
        """The entry of an alarm, which the caller enters with what caused it."""
        self._orders.counters["alarms_raised"] += 1
        return entry.Alarm(time_us=now_ns // 1000, alarm=name.value, case=case, detail=detail)

    def shout(self, name: Alarm, who_sha256: str) -> None:
        """The alarm in the log as well, for those who watch it; persons by their hash."""
        logger.error("alarm", alarm=name.value, person_sha256=who_sha256)

    def _once(self, opened: request.Opened, now_ns: int) -> None:
        now_s = now_ns // NS
        if opened.sha256 in self._seen:
            self._orders.counters["requests_replayed"] += 1
            raise AuthorizationError(Check.REPLAYED)
        if len(self._seen) >= MAX_REMEMBERED:
            self._seen = {sha: until_s for sha, until_s in self._seen.items() if until_s > now_s}
            if len(self._seen) >= MAX_REMEMBERED:
                raise AuthorizationError(Check.TOO_MANY)
        self._seen[opened.sha256] = now_s + request.MEMORY_S

    def _allowed(self, now_ns: int) -> bool:
        earned = (now_ns - self._since_ns) // FAILED_EVERY_NS
        if earned > 0:
            self._left, self._since_ns = min(FAILED_AT_ONCE, self._left + earned), now_ns
        return self._left > 0

    def _count(self, caller: Caller, now_ns: int) -> None:
        caller.failed += 1
        self._left = max(self._left - 1, 0)
        self._since_alarm += 1
        self._recent = [*self._recent[1 - ALARM_AFTER :], now_ns]
        dense = len(self._recent) == ALARM_AFTER and now_ns - self._recent[0] <= ALARM_WINDOW_NS
        if dense and now_ns >= self._quiet_until_ns:
            self._quiet_until_ns = now_ns + ALARM_AGAIN_NS
            self._enter(self.alarm(Alarm.AUTHENTICATION, "", f"{self._since_alarm} refused", now_ns))
            logger.error("alarm", alarm=Alarm.AUTHENTICATION.value, refused=self._since_alarm, uid=caller.uid)
            self._since_alarm = 0

    def _enter(self, record: entry.Record) -> None:
        """A refusal is answered whether or not it can be entered now: the entry is owed then."""
        self._orders.note(record, stop=True)
