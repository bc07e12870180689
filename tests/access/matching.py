"""A matcher for tests of what lies before it."""

from __future__ import annotations

from collections.abc import Sequence

from mediation.access._matcher import Matcher
from mediation.runtime.config import DialPlan, Iap

PLAN = DialPlan()


def matcher(iaps: Sequence[Iap] = (Iap(name="tap", interface="none"),), **settings: object) -> Matcher:
    return Matcher(iaps, PLAN, **settings)  # type: ignore[arg-type]
