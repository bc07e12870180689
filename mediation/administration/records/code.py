"""The administrator's watch over what it runs: code, configuration and adapters, in the ledger (SEC-4).

Answers for a CodeIdentity entry at the start and every hour, for one with the names as soon as a file is found changed,
and for no new activation from then on until a restart, which enters the new identity (check `code-identity`). Running
cases go on and stops always work. An activation looks first, so a change counts from the next activation and not from
the next hour.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import trio

from mediation.administration.order.orders import Orders
from mediation.core.check import Check
from mediation.core.errors import AuthorizationError
from mediation.core.ledger import entry
from mediation.core.records.alarm import Alarm
from mediation.core.units import NS
from mediation.runtime import log
from mediation.runtime.config import Site
from mediation.runtime.identity import Identity

EVERY_S: Final = 3_600
FRESH_NS: Final = NS  # a look that is this young counts for an activation: they come in thousands
MAX_NAMED: Final = 20

logger = log.get("administrator")


class CodeWatch:
    """Of one administrator; `now_ns` is the authority clock. Raises ConfigurationError."""

    def __init__(self, site: Site, orders: Orders, now_ns: Callable[[], int], identity: Identity | None = None) -> None:
        self._orders, self._now_ns = orders, now_ns
        self._identity = identity if identity is not None else Identity(site)
        self._looked_ns = now_ns()
        self._changed: tuple[str, ...] = ()
        orders.may_activate = self.check

    def started(self) -> None:
        """The identity that this process was started with."""
        self._enter(())

    async def run(self) -> None:
        """Until cancelled: looks every hour."""
        while True:
            await trio.sleep(EVERY_S)
            self.look(hourly=True)

    def check(self) -> None:
        """Before an activation. Raises AuthorizationError `code-identity`."""
        if not self._changed and self._now_ns() - self._looked_ns >= FRESH_NS:
            self.look()
        if self._changed:
            raise AuthorizationError(Check.CODE_IDENTITY)

    def look(self, *, hourly: bool = False) -> None:
        """Compares all files with what they were; a change is entered, and an alarm, once for the same names."""
        self._looked_ns = self._now_ns()
        changed = self._identity.changed()
        # What was changed and put back stays refused: another code may have run in between.
        changed = tuple(sorted({*self._changed, *changed}))
        if changed != self._changed:
            self._changed = changed
            self._enter(changed)
            detail = f"{', '.join(changed[:MAX_NAMED])} {self._identity.code_sha256[:16]} {self._looked_ns // NS}"
            self._orders.alarms.sound(Alarm.CODE_CHANGED, self._looked_ns, detail=detail)
        elif hourly:
            self._enter(changed)

    def _enter(self, changed: tuple[str, ...]) -> None:
        named = changed if len(changed) <= MAX_NAMED else (*changed[:MAX_NAMED], f"{len(changed) - MAX_NAMED} more")
        told = self._identity.report()
        self._orders.note(
            entry.CodeIdentity(
                time_us=self._now_ns() // 1000, code_sha256=told["code"], config_sha256=told["config"],
                adapters_sha256=told["adapters"], changed=named,
            ),
            stop=True,
        )  # fmt: skip
        logger.info("code_identity", code=told["code"], config=told["config"], changed=len(changed))
