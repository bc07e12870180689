"""How a row of the mutation matrix is made: one thing spoiled, everything else honest."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from typing import Any

import msgspec

from mediation.core.authority import jws
from mediation.core.authority.trust import Trust
from mediation.core.case import TaskRequest
from mediation.core.check import Check
from tests.core import authority as a
from tests.core.authority import NOW_NS

Case = tuple[TaskRequest, Trust, int]
ROWS: dict[str, tuple[Check, Callable[[], Case]]] = {}


def row(check: Check, name: str) -> Callable[[Callable[[], Case]], Callable[[], Case]]:
    def keep(make: Callable[[], Case]) -> Callable[[], Case]:
        assert name not in ROWS
        ROWS[name] = (check, make)
        return make

    return keep


def rows(check: Check, name: str, cases: dict[str, Callable[[], Case]]) -> None:
    for each, make in cases.items():
        row(check, f"{name}: {each}")(make)


def now(request: TaskRequest, trust: Trust | None = None) -> Case:
    return request, trust or a.trust(), NOW_NS


def order(**changes: Any) -> Case:
    """A whole order, honestly signed by everybody, with these fields in the legal token."""
    return now(a.good(**changes))


def replace(request: TaskRequest, **changes: Any) -> TaskRequest:
    return msgspec.structs.replace(request, **changes)


def with_commands(*acts: dict[str, Any], **changes: Any) -> TaskRequest:
    """An order with these officer's acts, all properly entered."""
    legal = a.sign_legal()
    carrier = a.sign_carrier(legal)
    texts = [a.sign_command(carrier, **act) for act in acts]
    return a.request(legal, carrier, *texts, **changes)


def edited(text: str, change: Callable[[dict[str, Any]], None], part: int = 1) -> str:
    """A token whose payload (or header) was changed after signing; the signature is the old one."""
    pieces = text.split(".")
    value = json.loads(base64.urlsafe_b64decode(pieces[part] + "=="))
    change(value)
    octets = json.dumps(value, separators=(",", ":")).encode()
    pieces[part] = base64.urlsafe_b64encode(octets).rstrip(b"=").decode()
    return ".".join(pieces)


def payload(text: str) -> dict[str, Any]:
    found = json.loads(jws.split(text).payload)
    assert isinstance(found, dict)
    return found


GOOD = a.good()


def other(value: Any) -> Any:
    """Another value of the same kind."""
    match value:
        case bool():
            return not value
        case int():
            return value + 1
        case str():
            return "1" * 64 if len(value) == 64 else f"{value}x"
        case list():
            return [*value, "tel:+12125550199"]
        case dict():
            return {**value, "port": value["port"] + 1}
    raise TypeError(value)


def edit(field: str, value: Any) -> Callable[[dict[str, Any]], None]:
    return lambda found: found.update({field: value})
