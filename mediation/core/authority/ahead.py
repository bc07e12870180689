"""The signatures of several orders at once, before the orders are judged one by one.

Three signatures of each order are most of what admitting it costs, and the mathematics needs no interpreter: a second
thread can do it for the next orders while these are judged (runtime/beside.py). Gives nothing authority: a signature
that was good is remembered by the whole text and the whole key, as if `Trust.verify` had been asked for it before;
whose key it must be, and everything else, is judged when the order is. What is malformed, unknown or of another form of
key is passed over here and named there.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Protocol

import msgspec

from mediation.core import _signatures
from mediation.core.authority import jws
from mediation.core.authority.key import ALGORITHMS, SIGNATURE_OCTETS
from mediation.core.authority.trust import Trust
from mediation.core.case import (
    CarrierExtension,
    CarrierToken,
    Command,
    LegalExtension,
    LegalToken,
    Role,
    TaskRequest,
)
from mediation.core.errors import AuthorizationError

FORM = "ed25519"
FEW = 6  # signatures: fewer are verified sooner by the thread that needs them. Ours

Text = tuple[str, type[msgspec.Struct], Role]


class Signed(Protocol):
    """An order as it is filed (core/interface/control.py), or as a function is told of it."""

    @property
    def legal(self) -> str: ...
    @property
    def carrier(self) -> str: ...
    @property
    def commands(self) -> tuple[str, ...]: ...


class Ahead:
    """The signatures of `texts` that `trust` has not seen to be good. `parts`: the texts taken apart, by text."""

    def __init__(self, texts: Iterable[Text], trust: Trust) -> None:
        self.parts: dict[str, jws.Parts] = {}
        self.facts: list[bytes] = []
        self._signed: list[bytes] = []
        self._keys: list[bytes] = []
        self._good: list[bool] = []
        for text, kind, role in texts:
            try:
                parts = self.parts[text] = jws.split(text, kind)
                public = trust.public(trust.key(role, parts.header.kid))
            except AuthorizationError:
                continue
            fact = parts.sha256 + public.sha256
            plain = public.form == FORM and parts.header.alg == ALGORITHMS[FORM]
            if plain and len(parts.signature) == SIGNATURE_OCTETS and not trust.knows(fact):
                self.facts.append(fact)
                self._signed.append(parts.signature + parts.signed)
                self._keys.append(public.octets)

    @property
    def worth_a_thread(self) -> bool:
        return len(self.facts) >= FEW

    def verify(self) -> None:
        """The mathematics; in any thread, and without the interpreter."""
        self._good = _signatures.verify(tuple(self._signed), tuple(self._keys))

    def good(self) -> list[bytes]:
        """What was found good; nothing before `verify`."""
        return [fact for fact, good in zip(self.facts, self._good, strict=False) if good]


def texts(order: Signed) -> Iterator[Text]:
    """Those of an order, with what each must be, and whose."""
    yield order.legal, LegalToken, Role.LEGAL
    yield order.carrier, CarrierToken, Role.CARRIER
    for text in order.commands:
        yield text, Command, Role.OFFICER


def extending(request: TaskRequest) -> Iterator[Text]:
    """Those of its extensions."""
    for each in request.extensions:
        yield each.legal, LegalExtension, Role.LEGAL
        yield each.carrier, CarrierExtension, Role.CARRIER
