"""The administrator's side of the witnesses: has heads cosigned, and looks at what the witnesses remember.

All places of the policy are asked at a time. An answer counts only with signatures by the policy's keys; a witness that
remembers a larger or another tree is reported loudly (`Cosigned.loud`, `compare`), because then the ledger of this site
was put back or rewritten. Network connections go to the witnesses' addresses in the policy, and nowhere else.
"""

from __future__ import annotations

import ssl
from collections.abc import Callable, Iterable
from pathlib import Path

import msgspec
import trio

from mediation.administration.ledger.asking import LOUD, Conversation, Outcome, Place, Proofs, Told
from mediation.administration.ledger.http import Client, tls_context
from mediation.administration.ledger.lab_witness import LabWitness
from mediation.core.errors import ConfigurationError, LedgerError, LocalProtocolError, RemoteProtocolError
from mediation.core.ledger import note
from mediation.core.ledger.policy import Judgement, Policy

ASK_S = 5.0  # for one witness, connection and all (ours); the next tick asks again
LINGER_S = 0.5  # how long the others are waited for once there is a quorum (ours)
MAX_AHEAD_S = 60  # a cosignature may be dated so far after our clock (ours); later ones do not count
MAX_ANSWER_OCTETS = note.MAX_NOTE_OCTETS * 3  # of UTF-8
NO_PROOF = "this site has no proof for it"
MINE = frozenset({"127.0.0.1", "::1", "localhost"})


class Cosigned(msgspec.Struct, frozen=True, kw_only=True):
    """The head with the cosignatures that were got, what they are worth, and what each place told."""

    note: str
    judgement: Judgement
    told: tuple[Told, ...]

    @property
    def loud(self) -> tuple[Told, ...]:
        """Witnesses that remember a larger or another tree. Not a fault of theirs: nothing may go on."""
        return tuple(told for told in self.told if told.outcome in LOUD)


class Witnesses:
    """Asks the witnesses of one policy about one ledger. One `cosign` at a time."""

    def __init__(
        self, policy: Policy, ledger: note.Verifier, *, lab: LabWitness | None = None, authorities: Path | None = None
    ) -> None:
        """`lab` must be given when the policy names `lab:`. `authorities` is a PEM file for witnesses with TLS; without
        it the system's are believed. Raises ConfigurationError."""
        self.policy = policy
        self._ledger = ledger
        self._lab = lab
        if policy.lab and lab is None:
            raise ConfigurationError("witness.policy: lab: and this site has no lab witness")
        if policy.logs and not any(log.verifier.public == ledger.public for log in policy.logs):
            raise ConfigurationError("witness.policy: its logs are not this site's ledger")
        urls = dict.fromkeys(witness.url for witness in policy.witnesses if witness.url)
        self._places = [Place([witness for witness in policy.witnesses if witness.url == url]) for url in urls]
        context: ssl.SSLContext | None = None
        if any(place.address.tls for place in self._places if place.address):
            context = tls_context(authorities)
        self._clients: dict[str, Client] = {}
        for place in self._places:
            if at := place.address:
                tls = context if at.tls else None
                self._clients[place.url] = Client(at.host, at.port, at.authority, tls, MAX_ANSWER_OCTETS)

    @property
    def endpoints(self) -> tuple[tuple[str, int], ...]:
        """Host and port of each witness that is asked over the network: all that may be let out for them."""
        return tuple((place.address.host, place.address.port) for place in self._places if place.address)

    async def cosign(self, text: str, proofs: Proofs, *, now_s: int) -> Cosigned:
        """Asks all witnesses for cosignatures of the note `text`, whose cosignatures so far are dropped.

        Returns when all have told, or LINGER_S after a quorum has cosigned. `proofs(first, second)` gives the
        consistency path for any 0 < first < second = the note's size. Raises RemoteProtocolError when `text` is no note
        of this
        ledger, or a log line of the policy is not of its keys.
        """
        bare = self._bare(text)
        told: dict[str, Told] = {}
        with trio.CancelScope() as rest:
            async with trio.open_nursery() as nursery:

                async def ask(place: Place) -> None:
                    told[place.url] = await self._talk(place, place.cosign(bare, proofs, self._ledger), now_s)
                    if self._cosigned(bare, told, now_s).judgement.quorum:
                        rest.deadline = min(rest.deadline, trio.current_time() + LINGER_S)

                for place in self._places:
                    nursery.start_soon(ask, place)
        return self._cosigned(bare, told, now_s)

    def cosign_at_once(self, text: str, proofs: Proofs, *, now_s: int) -> Cosigned:
        """The same with the lab's witness alone, without waiting: for a lab site, and for commands in the
        administrator's place there. Raises LocalProtocolError without a lab witness."""
        if self._lab is None:
            raise LocalProtocolError("witnesses: only a lab's witness answers at once")
        bare = self._bare(text)
        told = {
            place.url: self._talk_lab(place.cosign(bare, proofs, self._ledger), place, now_s)
            for place in self._places
            if place.lab
        }
        return self._cosigned(bare, told, now_s)

    async def fetch_states(self, *, now_s: int) -> tuple[Told, ...]:
        """The latest head that each witness remembers of this ledger, for `compare` at the start."""
        told: dict[str, Told] = {}
        async with trio.open_nursery() as nursery:

            async def look(place: Place) -> None:
                told[place.url] = await self._talk(place, place.latest(self._ledger), now_s)

            for place in self._places:
                nursery.start_soon(look, place)
        return tuple(told[place.url] for place in self._places)

    def states_at_once(self, *, now_s: int) -> tuple[Told, ...]:
        """The same of the lab's witness alone; empty without one."""
        places = [place for place in self._places if place.lab]
        return tuple(self._talk_lab(place.latest(self._ledger), place, now_s) for place in places)

    async def close(self) -> None:
        for client in self._clients.values():
            await client.close()

    def _bare(self, text: str) -> str:
        """The note with the ledger's own signatures alone: what a witness needs, and nothing of the others."""
        note.open_checkpoint(text, self._ledger)
        body, signatures = note.split(text)
        own = "".join(one.line() for one in signatures if one.name == self._ledger.name)
        return f"{body}\n{own}"

    def _cosigned(self, bare: str, told: dict[str, Told], now_s: int) -> Cosigned:
        found = bare + "".join(line for each in told.values() for line in each.lines)
        judgement = self.policy.judge(found, latest_s=now_s + MAX_AHEAD_S)
        everybody: list[Told] = []
        for place in self._places:
            each = told.get(place.url) or place.told(Outcome.AWAY, "slower than the quorum")
            counted = any(witness.name in judgement.cosigners for witness in place.witnesses)
            if each.outcome is Outcome.COSIGNED and not counted:
                each = place.told(Outcome.MALFORMED, "its cosignature is dated ahead of this site's clock")
            everybody.append(each)
        return Cosigned(note=found, judgement=judgement, told=tuple(everybody))

    async def _talk(self, place: Place, conversation: Conversation, now_s: int) -> Told:
        """Carries a conversation to its end, or to the end of its time."""
        if place.address is None:
            return self._talk_lab(conversation, place, now_s)
        client = self._clients[place.url]
        with trio.move_on_after(ASK_S):
            try:
                method, path, body = next(conversation)
                while True:
                    answer = await client.request(method, place.address.path + path, body)
                    method, path, body = conversation.send(answer)
            except StopIteration as end:
                assert isinstance(end.value, Told)
                return end.value
            except RemoteProtocolError as error:
                return place.told(Outcome.MALFORMED, str(error))
            except LedgerError as error:
                return place.told(Outcome.AWAY, f"{NO_PROOF}: {error}")
            except (OSError, trio.BrokenResourceError) as error:
                return place.told(Outcome.AWAY, type(error).__name__)
        return place.told(Outcome.AWAY, f"no answer within {ASK_S:g} s")

    def _talk_lab(self, conversation: Conversation, place: Place, now_s: int) -> Told:
        assert self._lab is not None
        try:
            method, path, body = next(conversation)
            while True:
                answer = self._lab.answer(method, path, body, now_s)
                method, path, body = conversation.send((answer.status, answer.body.encode()))
        except StopIteration as end:
            assert isinstance(end.value, Told)
            return end.value
        except OSError as error:
            return place.told(Outcome.AWAY, error.strerror or "")
        except LedgerError as error:
            return place.told(Outcome.AWAY, f"{NO_PROOF}: {error}")


def compare(told: Iterable[Told], size: int, root: Callable[[int], bytes]) -> tuple[Told, ...]:
    """What the witnesses remember against the ledger of `size` entries; `root(n)` is that of its first n.

    What comes back is loud: AHEAD when a witness remembers more entries than there are (put back, or cut off), FORKED
    when it remembers others. Empty when all that the witnesses remember is contained in the ledger.
    """
    found: list[Told] = []
    for each in told:
        head = each.checkpoint
        if head is None:
            continue
        if head.size > size:
            detail = f"entry {size}: it remembers {head.size} entries, the ledger has {size}: it was put back"
            found.append(msgspec.structs.replace(each, outcome=Outcome.AHEAD, detail=detail))
        elif root(head.size) != head.root:
            detail = f"it remembers other entries below {head.size}: the ledger was rewritten"
            found.append(msgspec.structs.replace(each, outcome=Outcome.FORKED, detail=detail))
    return tuple(found)


def doubts(policy: Policy) -> tuple[str, ...]:
    """Why nobody should call this policy's heads witnessed, in sentences for `status`; empty when nothing is known."""
    found = []
    if policy.lab:
        found.append("a LAB witness in the site's own process is no witness")
    hosts = [address.host for witness in policy.witnesses if (address := Place([witness]).address)]
    if any(host in MINE or host.startswith("127.") for host in hosts):
        found.append("a witness on this host is no witness: who has the host has both")
    needed = policy.time({witness.name: 1 for witness in policy.witnesses if witness.url})
    if needed is None:
        found.append("the witnesses with an address cannot make a quorum")
    return tuple(found)
