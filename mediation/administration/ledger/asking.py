"""One conversation with one witness (C2SP tlog-witness, the log's side), without its transport.

Answers for what is asked next and for what an answer means; in particular for telling a witness that is merely behind
from one that has seen a larger or another tree: then this ledger was put back or rewritten, and `AHEAD` or `FORKED`
says so. A witness must show that, by the head itself with the ledger's own signature: its mere word, or that of
somebody on the way to it, would stop a site that other witnesses go on cosigning. Asking is a generator of requests
that is sent their answers, so that a witness over the network and the one of a lab site, in this process, are spoken
to by the same words.
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Generator, Sequence

import msgspec

from mediation.administration.ledger.http import Address, address_of
from mediation.core.errors import RemoteProtocolError
from mediation.core.ledger import merkle, note, witness
from mediation.core.ledger.policy import Witness

ATTEMPTS = 4  # the first, one more when the size was unknown, and two when others asked meanwhile

Proofs = Callable[[int, int], Sequence[bytes]]  # the consistency path between two sizes, 0 < first < second
Request = tuple[str, str, bytes]  # method, path below the prefix, body
Conversation = Generator[Request, tuple[int, bytes], "Told"]


class Outcome(enum.StrEnum):
    """What a witness did, or what became of asking it."""

    COSIGNED = "cosigned"
    EMPTY = "empty"  # it has never cosigned a head of this ledger
    AWAY = "away"  # no answer, or none in time
    REFUSED = "refused"  # it does not know this ledger, or asks us to slow down
    MALFORMED = "malformed"  # what it said is no answer, or not signed by the key of the policy
    AHEAD = "ahead"  # it remembers a larger tree: this ledger was put back to an older state
    FORKED = "forked"  # it remembers another tree: this ledger was rewritten


LOUD = frozenset({Outcome.AHEAD, Outcome.FORKED})


class Told(msgspec.Struct, frozen=True, kw_only=True):
    """What one witness of the policy told. `size` is that of the head it remembers, where it said so; `lines` its
    verified cosignatures. `text` and `checkpoint` are the head itself, from a look at its latest."""

    witness: str
    outcome: Outcome
    detail: str = ""
    size: int = 0
    lines: tuple[str, ...] = ()
    text: str = ""
    checkpoint: note.Checkpoint | None = None


class Place:
    """One witness program: its address, its keys in the policy, and the size it was last known to remember."""

    def __init__(self, witnesses: Sequence[Witness]) -> None:
        """`witnesses` share one URL."""
        self.witnesses = tuple(witnesses)
        self.name = "+".join(each.name for each in witnesses)
        self.url = witnesses[0].url
        self.lab = witnesses[0].lab
        self.address: Address | None = None if self.lab or not self.url else address_of(self.url)
        self.size = 0

    def told(self, outcome: Outcome, detail: str = "", size: int = 0) -> Told:
        return Told(witness=self.name, outcome=outcome, detail=detail, size=size)

    def cosign(self, text: str, proofs: Proofs, ledger: note.Verifier) -> Conversation:
        """Asks for cosignatures of the note `text`. Raises RemoteProtocolError when that is no checkpoint."""
        body, _ = note.split(text)
        head = note.parse_checkpoint(body)
        for _ in range(ATTEMPTS):
            old = self.size
            if old > head.size:
                return (yield from self._shown(head, proofs, ledger))
            path = proofs(old, head.size) if 0 < old < head.size else ()
            status, octets = yield "POST", witness.ADD_CHECKPOINT, witness.compose_request(old, path, text)
            try:
                if status == 200:
                    lines = self._verified(body, witness.parse_cosignatures(octets))
                    self.size = head.size
                    return Told(witness=self.name, outcome=Outcome.COSIGNED, size=head.size, lines=lines)
                if status == 422:
                    return (yield from self._shown(head, proofs, ledger))
                if status != 409:
                    return self._refused(status)
                self.size = witness.parse_size(octets)
            except RemoteProtocolError as error:
                return self.told(Outcome.MALFORMED, str(error))
            if self.size == old:
                return self.told(Outcome.MALFORMED, "it says a conflict with the size that it remembers")
        return self.told(Outcome.AWAY, "its size kept changing")

    def latest(self, ledger: note.Verifier) -> Conversation:
        """Looks at the latest head that it cosigned of the ledger."""
        status, octets = yield "GET", witness.monitor_path(ledger.name), b""
        if status == 404:
            return self.told(Outcome.EMPTY)
        if status != 200:
            return self._refused(status)
        try:
            text = octets.decode()
            head = note.open_checkpoint(text, ledger)
            body, signatures = note.split(text)
            lines = self._verified(body, signatures)
        except (RemoteProtocolError, UnicodeDecodeError) as error:
            return self.told(Outcome.MALFORMED, str(error))
        self.size = head.size
        return Told(
            witness=self.name, outcome=Outcome.COSIGNED, size=head.size, lines=lines, text=text, checkpoint=head
        )  # fmt: skip

    def _shown(self, head: note.Checkpoint, proofs: Proofs, ledger: note.Verifier) -> Conversation:
        """It says that the ledger does not contain what it remembers: what that is."""
        told = yield from self.latest(ledger)
        seen = told.checkpoint
        if seen is None:
            self.size = 0  # it is asked anew
            if told.outcome is Outcome.AWAY:
                return told
            return self.told(Outcome.MALFORMED, "it says that it remembers another ledger, and does not show it")
        if seen.size > head.size:
            return self.told(Outcome.AHEAD, f"it remembers {seen.size} entries, the ledger has {head.size}", seen.size)
        path = proofs(seen.size, head.size) if 0 < seen.size < head.size else ()
        if seen.size and not merkle.consistent(seen.size, head.size, seen.root, head.root, path):
            return self.told(Outcome.FORKED, f"it remembers other entries below {seen.size}", seen.size)
        return self.told(Outcome.MALFORMED, "it says that it remembers another ledger, and shows this one")

    def _refused(self, status: int) -> Told:
        if status == 429 or status >= 500:
            return self.told(Outcome.AWAY, f"status {status}")
        return self.told(Outcome.REFUSED, f"status {status}")

    def _verified(self, body: str, signatures: Sequence[note.Signature]) -> tuple[str, ...]:
        """The lines of the policy's keys; others are passed over. Raises RemoteProtocolError when there is none, when
        one does not verify, or states no time."""
        lines: list[str] = []
        for each in self.witnesses:
            mine = [one for one in signatures if each.verifier.mine(one)]
            if len(mine) > 1 or (mine and not each.verifier.time(body, mine[0])):
                raise RemoteProtocolError("witness: a cosignature twice, or without a time")
            lines += [one.line() for one in mine]
        if not lines:
            raise RemoteProtocolError("witness: no cosignature by a key of the policy")
        return tuple(lines)
