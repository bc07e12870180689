"""Takes away of every message, before it leaves, what the order's authority does not cover (`entitlement`).

Answers for 47 USC 1002(a)(4)(A) and 18 USC 3121(c) at each message: a field, a header line, a part or the whole of it
goes, and is counted. It holds no rule of its own and may not add or change a fact.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec

from mediation.core.case import Authority, Capability
from mediation.core.entitlement import (
    ANY_BODY,
    BODIES,
    CARRIERS,
    ESSENTIAL,
    FIELDS,
    KEYS,
    VERDICTS,
    WHOLE,
    Kind,
    kind_of_line,
)
from mediation.core.message import cdc
from mediation.core.network import signaling


class Minimiser:
    """The table for one order. `apply` is pure; `removed` counts fields and header lines, `withheld` whole messages."""

    def __init__(self, authority: Authority, capabilities: frozenset[Capability]) -> None:
        self._given = {
            kind: verdict if isinstance(verdict, bool) else verdict in capabilities
            for kind, verdict in VERDICTS[authority].items()
        }
        self._judges: dict[type[cdc.Record], tuple[tuple[str, Callable[[Any], Any]], ...]] = {}  # of messages seen
        self.removed = 0
        self.withheld = 0

    def gives(self, kind: Kind) -> bool:
        """Whether the order may be given what is of this kind."""
        return self._given[kind]

    def _passes(self, kind: Kind) -> bool:
        return self._given.get(kind, False) and (kind is not Kind.SESSION or self._given[Kind.CONTENT])

    def _judge(self, field: str, kind: Kind) -> tuple[str, Callable[[Any], Any]]:
        match kind:
            case Kind.PARTS:
                return field, self._parts
            case Kind.URI:
                return field, self._uris
            case Kind.HEADERS:
                return field, self._lines
            case Kind.SESSION if self._given[kind]:
                return field, self._keyless
            case Kind.SIGNALING:
                return field, self._octets
            case _:
                return field, self._remove

    def apply(self, message: cdc.Message) -> cdc.Message | None:
        """`message` with only what the order may be given, or None when nothing of it is left."""
        whole = WHOLE.get(type(message))
        if whole is not None and not self._given[whole]:
            self.withheld += 1
            return None
        result = self._record(message)
        essential = ESSENTIAL.get(type(message))
        if essential is not None and not any(getattr(result, field) for field in essential):
            self.withheld += 1
            return None
        if not isinstance(result, cdc.Message):
            raise AssertionError("a message was minimised to something else")  # noqa: TRY004  (our bug, not a type's)
        return result

    def _record(self, record: cdc.Record) -> cdc.Record:
        changes = {}
        judges = self._judges.get(type(record))
        if judges is None:
            fields = FIELDS[type(record)]
            judges = tuple(self._judge(field, kind) for field, kind in fields.items() if not self._passes(kind))
            self._judges[type(record)] = judges
        for field, judge in judges:
            old = getattr(record, field)
            if old is None or old == ():
                continue
            new = judge(old)
            if new is not old:
                changes[field] = new
        return msgspec.structs.replace(record, **changes) if changes else record

    def _parts(self, value: Any) -> Any:
        if isinstance(value, tuple):
            parts = tuple(self._part(each) for each in value)
            if all(new is old for new, old in zip(parts, value, strict=True)):
                return value
            return tuple(each for each in parts if each is not None)
        return self._part(value)

    def _part(self, record: cdc.Record) -> cdc.Record | None:
        result = record if self._judges.get(type(record)) == () else self._record(record)  # (): all of it is given
        carried = CARRIERS.get(type(record))
        return None if carried and result is not record and getattr(result, carried) is None else result

    def _lines(self, lines: tuple[str, ...]) -> tuple[str, ...]:
        kept = tuple(line for line in lines if self._given[kind_of_line(line)])
        self.removed += len(lines) - len(kept)
        return lines if len(kept) == len(lines) else kept

    def _uris(self, value: str | tuple[str, ...]) -> str | tuple[str, ...]:
        if self._given[Kind.TEXT]:
            return value
        if isinstance(value, str):
            self.removed += "?" in value
            return value.partition("?")[0]
        if not any("?" in each for each in value):
            return value
        self.removed += sum("?" in each for each in value)
        return tuple(each.partition("?")[0] for each in value)

    def _keyless(self, description: str) -> str:
        kept, removed = KEYS.subn("", description)
        self.removed += removed
        return kept if removed else description

    def _octets(self, octets: bytes) -> bytes | None:
        """A SIP message without what the order is not given; None when it cannot be told what stands where."""
        if all(self._given.values()):
            return octets
        kept, removed = signaling.reduced(
            octets,
            lambda line: self._given[kind_of_line(line)],
            lambda media_type: all(self._given[kind] for kind in BODIES.get(media_type, ANY_BODY)),
        )
        self.removed += removed
        return octets if kept == octets else kept

    def _remove(self, value: Any) -> Any:
        self.removed += 1
        return () if isinstance(value, tuple) else None
