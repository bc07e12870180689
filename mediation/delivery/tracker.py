"""X2 PDUs of live tasks in, encoded messages out: one call model for each task at each intercept access point.

A PDU whose XID is not live at this moment is refused, counted and, when its task never was armed here, alarmed: a
compromised access process can send what it likes and nothing of it is delivered. The question is
asked for each PDU, of the task table that verified the orders itself, so that the end of a window is exact.

Holds no socket, file or clock. Model times are those of the packets' stamps (UTC ns); `now_ns` of the authority clock
decides what is live.
"""

from __future__ import annotations

import heapq
from collections import Counter
from collections.abc import Callable, Hashable, Iterable, Sequence
from typing import Final, NamedTuple, Protocol

import msgspec

from mediation.core.call import CallModel
from mediation.core.calls.surveillance import Surveillance
from mediation.core.case import Capability, Task
from mediation.core.channel.channels import Channels
from mediation.core.channel.content import Verb
from mediation.core.errors import EncodingError
from mediation.core.interface.x2 import Pdu, PduType
from mediation.core.message import cdc, encoding
from mediation.core.network.identity import Plan
from mediation.delivery import calls
from mediation.delivery.calls import CallJournal, Input
from mediation.delivery.content import Bound, First
from mediation.delivery.inputs import Entry
from mediation.delivery.models import Models, check
from mediation.delivery.spool import MAX_U32, Message

PROFILES: Final = encoding.PROFILES
IN_MEMORY: Final = ""  # the name of the calls in memory among what a model counted


class TrackerCounters(msgspec.Struct):
    pdus: int = 0
    refused_unknown: int = 0  # XID that was never armed here: somebody sends what he should not have
    refused_ended: int = 0  # XID whose window is over or that was stopped
    not_x2: int = 0  # content and other PDU types
    events: int = 0
    unencodable: int = 0
    not_in_profile: int = 0  # messages that the order's profile has no form for; nothing is missing at the far side
    restored: int = 0  # calls that were up when the process before this one ended, and still are
    faults: int = 0  # PDUs that our own call model could not take: reported to the agency as a loss


class Outgoing(NamedTuple):
    task: Task
    message: Message
    about: cdc.Message | None = None  # what was encoded; None: that something was lost


class Waiting(Protocol):
    """What an earlier process may not have said yet: ends of content channels (delivery/closing.py)."""

    def __len__(self) -> int: ...
    def replay(self, outgoing: list[Outgoing], bounds: list[Bound], now_ns: int) -> list[Bound]: ...
    def said(self, place: tuple[bytes, str, str]) -> list[Bound]: ...


class Tracker:
    """`plan`, `digit_timeout_ns` and `status_messages` are the site's; `iaps` the names of its access points. What
    moves the models goes to `journal`, if there is one."""

    def __init__(
        self,
        plan: Plan,
        iaps: Iterable[str],
        *,
        digit_timeout_ns: int,
        status_messages: bool,
        journal: CallJournal | None = None,
    ) -> None:
        self.counters = TrackerCounters()
        self._plan = plan
        self._iaps = tuple(iaps) or ("",)
        self._digit_timeout_ns = digit_timeout_ns
        self._status_messages = status_messages
        self._journal = journal
        self._models = Models()
        self._counted: dict[tuple[bytes, str], dict[str, int]] = {}  # what each model counted, when it was last asked
        self._total: Counter[str] = Counter()  # the sums of those
        self._moved: set[tuple[bytes, str]] = set()  # models to be asked again
        self._tasks: dict[bytes, Task] = {}
        self._channels: dict[bytes, Channels] = {}
        self._taken: set[str] = set()  # CCC identifiers in use
        self._bound: list[Bound] = []
        self._due: list[tuple[int, tuple[bytes, str]]] = []  # a heap; entries of models that moved on stay until due
        self._armed: dict[tuple[bytes, str], int] = {}

    # -- tasks --------------------------------------------------------------------------------------------------------

    def begin(self, task: Task, now_ns: int) -> list[Outgoing]:
        """A task is armed. Raises EncodingError when its order cannot be carried out in its profile."""
        if task.profile not in PROFILES:
            raise EncodingError("profile is not provided by this release")
        found: list[Outgoing] = []
        content = task.destination.content if Capability.CONTENT in task.capabilities else None
        channels = Channels(task.xid, content, self._taken) if content is not None else None
        orders = {
            (task.xid, iap): Surveillance(
                case_id=task.case,
                iap_system_id=iap,
                authority=task.authority,
                capabilities=task.capabilities,
                subjects=task.subjects,
                dde=task.dde,
                profile=task.profile,
                plan=self._plan,
                digit_timeout_ns=self._digit_timeout_ns,
                status_messages=self._status_messages,
                channels=channels,
            )
            for iap in self._iaps
            if not task.iaps or iap in task.iaps
        }
        for order in orders.values():
            check(order)
        self._tasks[task.xid] = task
        if channels is not None:
            self._channels[task.xid] = channels
        for key, order in orders.items():
            found += self._encoded(task, self._models.begin(key, order, now_ns))
        return found

    def restore(self, task: Task, inputs: Sequence[tuple[Entry, Input]], waiting: Waiting, now_ns: int) -> None:
        """Brings the models of a task that was just begun to where those of an earlier process were. Nothing comes out
        but the bindings of content: what the models say was said before, or stays in `waiting`."""
        if not inputs:
            return
        channels = self._channels.get(task.xid)
        extracting = {iap: task.dde for (_, iap), _ in self._of(task.xid)}
        for entry, record in inputs:
            if isinstance(record, calls.LinkMoved):
                if channels is not None:
                    channels.link_up = record.up
                for _, model in self._of(task.xid):
                    model.content_link(record.now_ns)
                continue
            iap = (record.pdu.interception_point or self._iaps[0]) if isinstance(record, calls.Seen) else record.iap
            key = (task.xid, iap)
            found = self._models.get(key)
            if found is None:  # the order does not cover that access point any more
                continue
            entry.iap, model = iap, found
            events: list[cdc.CallEvent] = []
            bound, self._bound = self._bound, []
            try:
                if isinstance(record, calls.Seen):
                    if record.dde is not extracting[iap]:
                        extracting[iap] = record.dde
                        model.set_dde(record.dde, record.pdu.stamp_ns)
                    events = model.observe(record.pdu)
                    entry.call = _call_of(model, calls.handle_of(record.pdu))
                elif isinstance(record, calls.FirstPacket):
                    events = model.content_seen(record.correlation, record.stamp_ns)
                    entry.call = _call_of(model, record.correlation)
                elif isinstance(record, calls.Closed):
                    bound += waiting.said((task.xid, iap, record.call))
                    entry.call = _named(model, record.call)
                else:
                    events = model.advance(record.now_ns)
            except Exception:  # as in `observe`
                self.counters.faults += 1
            self._collect(key, model)
            if len(waiting) or any(each.binding.verb is Verb.CLOSE for each in self._bound):
                self._bound = waiting.replay(self._encoded(task, events), self._bound, now_ns)
            self._bound = bound + self._bound
        for key, model in self._of(task.xid):
            if extracting[key[1]] is not task.dde:
                model.set_dde(task.dde, task.not_before_ns)
            self.counters.restored += model.calls
            self._collect(key, model)
            self._arm(key, model)

    def remembers(self, xid: bytes, iap: str, call: Hashable) -> bool:
        """Whether a model has this call, as the journal's entries name it."""
        model = self._models.made((xid, iap))
        return model is not None and model.memory.get(call) is not None

    def modify(self, before: Task, after: Task, now_ns: int) -> list[Outgoing]:
        """The officer changed something: dialed digit extraction, in mid-call."""
        found: list[Outgoing] = []
        self._tasks[after.xid] = after
        if before.dde != after.dde:
            for key, model in self._of(after.xid):
                found += self._encoded(after, model.set_dde(after.dde, now_ns))
                self._arm(key, model)
        return found

    def suspend(self, task: Task, now_ns: int) -> list[Outgoing]:
        """An officer suspended the task: its calls end here, as at its end; `begin` resumes it with new ones."""
        found = self.end(task, now_ns)
        self._tasks[task.xid] = task  # what comes meanwhile is of a task that is known
        return found

    def end(self, task: Task, now_ns: int) -> list[Outgoing]:
        """The task is over. What its models held back was dialed before the end and is the last of it."""
        found: list[Outgoing] = []
        at_ns = min(now_ns, task.not_after_ns)  # what ends with the order ended at its own time, not when we woke
        for key, model in self._of(task.xid):
            found += self._encoded(task, model.stop(at_ns))
            self._collect(key, model)
            self._models.pop(key)
            self._moved.add(key)
            self._armed.pop(key, None)
        self._tasks.pop(task.xid, None)
        self._channels.pop(task.xid, None)
        return found

    # -- events -------------------------------------------------------------------------------------------------------

    def observe(self, pdus: Iterable[Pdu], live: Callable[[bytes], Task | None]) -> list[Outgoing]:
        """What these PDUs make; `live` answers for an XID at this moment."""
        found: list[Outgoing] = []
        counters = self.counters
        for pdu in pdus:
            counters.pdus += 1
            task = live(pdu.xid)
            if task is None:
                if pdu.xid in self._tasks:
                    counters.refused_ended += 1
                else:
                    counters.refused_unknown += 1
                continue
            if pdu.type is not PduType.X2:
                counters.not_x2 += 1
                continue
            key = (pdu.xid, pdu.interception_point or self._iaps[0])
            model = self._models.get(key)
            if model is None:  # an access point that the order does not cover, or that the site does not have
                counters.refused_unknown += 1
                continue
            try:
                events = model.observe(pdu)
            except Exception:  # a bug of ours in one call must not end the delivery of all others
                counters.faults += 1
                self._moved.add(key)
                found.append(Outgoing(task, Message(pdu.stamp_ns, pdu.error_us, pdu.disciplined, None)))
                continue
            if events:
                found += self._encoded(task, events)
                self._collect(key, model)
            self._arm(key, model)
            if self._journal is not None and (call := _call_of(model, calls.handle_of(pdu))) is not None:
                self._journal.add(pdu.xid, key[1], calls.Seen(task.dde, pdu), call)
        return found

    def advance(self, now_ns: int) -> list[Outgoing]:
        """What is due at `now_ns` by the clock of the stamps."""
        found: list[Outgoing] = []
        while self._due and self._due[0][0] <= now_ns:
            _, key = heapq.heappop(self._due)
            self._armed.pop(key, None)
            model = self._models.get(key)
            if model is not None:
                events = model.advance(now_ns)
                found += self._encoded(self._tasks[key[0]], events)
                self._collect(key, model)
                self._arm(key, model)
                if events:
                    self._note(*key, calls.Passed(*key, now_ns))
        return found

    # -- content ------------------------------------------------------------------------------------------------------

    def content_seen(self, firsts: Iterable[First], live: Callable[[bytes], Task | None]) -> list[Outgoing]:
        """What first packets of content make of the calls that they belong to."""
        found: list[Outgoing] = []
        for xid, iap, correlation, stamp_ns in firsts:
            task = live(xid)
            key = (xid, iap or self._iaps[0])
            model = self._models.get(key)
            if task is None or model is None:
                continue  # counted where the packets are
            found += self._encoded(task, model.content_seen(correlation, stamp_ns))
            self._collect(key, model)
            self._arm(key, model)
            if (call := _call_of(model, correlation)) is not None:
                self._note(*key, calls.FirstPacket(*key, correlation, stamp_ns), call)
        return found

    def content_link(self, xids: Iterable[bytes], up: bool, now_ns: int) -> list[Outgoing]:
        """The content link of these tasks was lost, or came back."""
        found: list[Outgoing] = []
        for xid in xids:
            channels = self._channels.get(xid)
            if channels is None or channels.link_up is up:
                continue
            channels.link_up = up
            self._note(xid, "", calls.LinkMoved(xid, up, now_ns))
            for key, model in self._of(xid):
                found += self._encoded(self._tasks[xid], model.content_link(now_ns))
                self._collect(key, model)
                self._arm(key, model)
        return found

    def closed(self, place: tuple[bytes, str, str]) -> None:
        """The end of this call's content channel was said."""
        xid, iap, call = place
        model = self._models.made((xid, iap))
        self._note(xid, iap, calls.Closed(xid, iap, call), _named(model, call) if model is not None else None)

    def take_bound(self) -> list[Bound]:
        """What became of content channels since the last time; to be done once the messages are on their way."""
        bound, self._bound = self._bound, []
        return bound

    def next_deadline_ns(self) -> int | None:
        return self._due[0][0] if self._due else None

    @property
    def calls(self) -> int:
        self._count()
        return self._total[IN_MEMORY]

    def model_counters(self) -> dict[str, int]:
        """The sums of what the models counted; no case can be told from them."""
        self._count()
        return {name: value for name, value in self._total.items() if name != IN_MEMORY}

    @staticmethod
    def adapted() -> dict[str, int]:
        """What of messages had to be cut, left out or changed to fit their syntax (core/message/fitting.py)."""
        found: dict[str, int] = msgspec.to_builtins(encoding.ADAPTED)
        return {name: count for name, count in found.items() if count}

    def _count(self) -> None:
        """Asks the models that have moved: a report is not to cost a look at ten thousand that have not."""
        for key in self._moved:
            self._total.subtract(self._counted.pop(key, {}))
            if (model := self._models.made(key)) is not None:
                counted = {**model.counters, IN_MEMORY: model.calls}
                self._counted[key] = {name: value for name, value in counted.items() if value}
                self._total.update(counted)
        self._moved.clear()

    # -- inside -------------------------------------------------------------------------------------------------------

    def _note(self, xid: bytes, iap: str, record: Input, call: Hashable = None) -> None:
        if self._journal is not None:
            self._journal.add(xid, iap, record, call)

    def _of(self, xid: bytes) -> list[tuple[tuple[bytes, str], CallModel]]:
        places = ((xid, iap) for iap in self._iaps)
        return [(place, model) for place in places if (model := self._models.get(place)) is not None]

    def _collect(self, key: tuple[bytes, str], model: CallModel) -> None:
        self._moved.add(key)
        for binding in model.bindings():
            self._bound.append(Bound(self._tasks[key[0]], key[1], binding))

    def _arm(self, key: tuple[bytes, str], model: CallModel) -> None:
        self._moved.add(key)
        deadline = model.next_deadline_ns()
        if deadline is not None and deadline < self._armed.get(key, 1 << 63):
            self._armed[key] = deadline
            heapq.heappush(self._due, (deadline, key))

    def _encoded(self, task: Task, events: list[cdc.CallEvent]) -> list[Outgoing]:
        profile = PROFILES[task.profile]
        found = []
        for event in events:
            octets: bytes | None
            try:
                octets = encoding.encode(event.message, profile)
            except EncodingError:
                octets = None  # takes a number, and the far side is told that it is lost
                self.counters.unencodable += 1
            else:
                if octets is None:
                    self.counters.not_in_profile += 1
                    continue
            error_us = min(-(-event.error_ns // 1000), MAX_U32)
            encoded = Message(event.received_ns, error_us, event.disciplined, octets)
            found.append(Outgoing(task, encoded, event.message))
        self.counters.events += len(found)
        return found


def _call_of(model: CallModel, handle: Hashable) -> Hashable:
    """What the model calls the call that has this handle; None: it has none."""
    call = model.memory.get(handle) if handle is not None else None
    return call.key if call is not None else None


def _named(model: CallModel, main: str) -> Hashable:
    """The same, of the call of this CallIdentity."""
    call = model.memory.named(main)
    return call.key if call is not None else None
