"""One order as the administration holds it: the texts of its tokens and acts, and where each stands in the ledger.

Answers for what a function is shown of it (`Stored.request`). Trust: none; every text is verified again by each
receiver. It decides nothing and writes nothing: the orders are kept in `register`, their texts on the disk in `store`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import msgspec

from mediation.administration.ledger.ledger import Entered
from mediation.core.authority import jws
from mediation.core.authority.trust import Trust
from mediation.core.case import Act, Command, Extension, Proof, State, TaskRequest

PENDING = -1  # in place of a ledger index: in the store first, not yet entered there
PENDING_ENTRY = Entered(index=PENDING, record="", salt="")


class Stored(msgspec.Struct, kw_only=True):
    """One order. `commands` with their entries in the ledger, in order of sequence; `extensions` likewise, legal text,
    carrier text and entry; `call_back` of an emergency order. `filed` is the index of the ledger's entry of the filing,
    which orders the orders of one case. As the store gives it every index is PENDING, and `not_after_s` the end that
    the order began with: where all stands, and which extension is in force, the ledger says (`recovery.place`)."""

    carrier_sha256: str
    legal_sha256: str
    xid: str
    case: str
    legal: str
    carrier: str
    not_before_s: int
    not_after_s: int
    state: State
    filed: int
    commands: list[tuple[str, Entered]] = []
    extensions: list[tuple[str, str, Entered]] = []
    call_back: tuple[str, Entered] | None = None
    emergency: bool = False
    stands_by: Trust | None = None  # by whom its signers were last found good, in this process and of all its texts

    @property
    def suspended_at(self) -> int:
        """The number of the act that suspended it last; 0 when none did."""
        acts = (jws.decode(jws.split(text).payload, Command) for text, _ in reversed(self.commands))
        return next((command.sequence for command in acts if command.act is Act.SUSPEND), 0)

    @property
    def owed(self) -> bool:
        """Whether its last act is a stop that the ledger has not yet."""
        return bool(self.commands) and self.commands[-1][1].index == PENDING

    @property
    def entries(self) -> Iterator[Entered]:
        """Where in the ledger all stands that a function must see proven."""
        if self.call_back is not None:
            yield self.call_back[1]
        yield from (place for _, _, place in self.extensions)
        yield from (place for _, place in self.commands)

    def request(self, prove: Callable[[Entered], Proof], shown: int | None = None) -> TaskRequest:
        """Everything that a function needs to decide for itself; `shown` of its acts, all by default."""
        commands = self.commands[:shown]
        acts = [jws.decode(jws.split(text).payload, Command).act for text, _ in commands] if self.extensions else []
        extensions = self.extensions[: acts.count(Act.EXTEND)]
        return TaskRequest(
            legal=self.legal,
            carrier=self.carrier,
            commands=tuple(text for text, _ in commands),
            proofs=tuple(prove(place) for _, place in commands),
            extensions=tuple(
                Extension(legal=legal, carrier=carrier, proof=prove(place)) for legal, carrier, place in extensions
            ),
            call_back=self.call_back[0] if self.call_back is not None else "",
            call_back_proof=prove(self.call_back[1]) if self.call_back is not None else None,
        )
