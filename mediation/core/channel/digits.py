"""Digits that the subject dials after cut-through: key presses from several sources in, strings of digits out.

Answers for one thing: each key the subject pressed is reported once, in order, soon enough, labelled with a source that
really carried it. It parses no packet and no SIP, and never sees either while dialed digit extraction is off (47 CFR
1.20007(b)(6), the toggle).

The same press may come by RFC 4733, SIP INFO, KPML and in the voice band. The rule that makes it one:

* A *stream* is one source in one place: the telephone-events of one SSRC, the INFOs of one From tag, one KPML
  subscription, the tones of one codec. Within a stream its own numbering tells a copy from a new press (RTP time stamp,
  CSeq), so two presses of one stream are two, however quickly they follow each other.
* A press of another stream is one that was already told when key and time agree: the two were held at the same time,
  or one ended at most MAX_LAG before the other began, and this stream has not told that press before. The oldest such
  press is taken, since every stream keeps the order.
* A press counts when the first stream tells it. What the later ones add is their name: a string is labelled with the
  best source (in the order of `Source`) that carried all of its digits, and cut where no single source carried both
  sides of the cut. A message never mixes sources.

`DigitString` gathers until a message is due: at `#`, after the inter-digit timeout, four seconds after the first digit
(half of the eight seconds that 1.20007(a)(14) gives until arrival), or at 32 digits, which is all that
DialedDigitExtraction.digits holds (T1.678, VisibleString SIZE(1..32)).
"""

from __future__ import annotations

import enum
from collections import OrderedDict, deque
from collections.abc import Hashable
from typing import Final

import msgspec

from mediation.core.network.signal import RETRIED
from mediation.core.network.telephone_event import TelephoneEvents
from mediation.core.recent import remember

KEYS: Final = "0123456789*#ABCD"  # RFC 4733 section 3.2, events 0 to 15
FLASH: Final = "!"  # section 3.2, event 16: a hook flash
EVENTS: Final = KEYS + FLASH  # by event number

MAX_LAG_NS: Final = 350_000_000  # how far two sources of one press may be apart; 300 ms were measured. Ours
MAX_RECENT: Final = 64  # presses remembered against later sources of them; ours
MAX_TOLD: Final = 64  # requests with keys remembered against retransmissions; ours
MAX_CHALLENGE_NS: Final = 2_000_000_000  # a request with credentials follows its challenge within this time; ours

MAX_DIGITS: Final = 32  # DialedDigitExtraction.digits
INTER_DIGIT_TIMEOUT_NS: Final = 1_500_000_000  # default; a site may choose another
FIRST_DIGIT_TIMEOUT_NS: Final = 4_000_000_000  # half of the 8 s of 1.20007(a)(14)


class Source(enum.IntEnum):
    """How a key was told, the best first: by name before by sound."""

    TELEPHONE_EVENT = 0
    KPML = 1
    DTMF_RELAY = 2
    DTMF = 3
    PCMU = 4
    PCMA = 5

    @property
    def label(self) -> str:
        """The header line that labels the source in DialedDigitExtraction."""
        return f"Content-Type: {MEDIA_TYPES[self]}"


MEDIA_TYPES: Final = {
    Source.TELEPHONE_EVENT: "audio/telephone-event",
    Source.KPML: "application/kpml-response+xml",
    Source.DTMF_RELAY: "application/dtmf-relay",
    Source.DTMF: "application/dtmf",
    Source.PCMU: "audio/PCMU",
    Source.PCMA: "audio/PCMA",
}
IN_BAND: Final = frozenset({Source.PCMU, Source.PCMA})


class Gathered(msgspec.Struct, frozen=True):
    """A string that is due. `first_ns` and `last_ns` are when its first and its last digit were received."""

    digits: str
    first_ns: int
    last_ns: int
    source: Source = Source.TELEPHONE_EVENT


class Flash(msgspec.Struct, frozen=True):
    """A hook flash; what was dialed before it is complete."""


class Keys(msgspec.Struct, frozen=True, kw_only=True):
    """Keys (of EVENTS) that one message or tone told of."""

    source: Source
    keys: str
    place: Hashable = None  # tells streams of one source apart
    began_ns: int
    ended_ns: int
    number: int = 0  # CSeq: the order within the stream, whatever the order of arrival
    request: Hashable = None  # names the request among those of its place; None: not by SIP


class Press(msgspec.Struct):
    """One press of one key. Times are UTC nanoseconds."""

    key: str
    stamp_ns: int
    began_ns: int
    ended_ns: int
    stream: Hashable  # that told it first
    number: int = 0
    streams: set[Hashable] = msgspec.field(default_factory=set)
    sources: set[Source] = msgspec.field(default_factory=set)


class Told(msgspec.Struct):
    """A request that told keys."""

    keys: str
    stamp_ns: int
    answered: bool = False


class Tally(msgspec.Struct):
    """What happened to keys; numbers only, shared by all calls of a task."""

    copies: int = 0  # packets and requests that repeated a key press
    early: int = 0  # presses before cut-through, not reported
    ignored: int = 0  # events that are neither digit nor flash
    again: int = 0  # presses that another source told as well
    refused: int = 0  # requests with keys that the network did not accept; the keys were pressed all the same


class DigitString:
    """Digits on their way to DialedDigitExtraction. Times are UTC nanoseconds."""

    __slots__ = ("_first_ns", "_last_ns", "_presses", "_timeout_ns")

    def __init__(self, timeout_ns: int = INTER_DIGIT_TIMEOUT_NS) -> None:
        self._timeout_ns = timeout_ns
        self._presses: list[Press] = []
        self._first_ns = 0
        self._last_ns = 0

    def add(self, press: Press) -> list[Gathered]:
        """Takes a digit; the strings that it completes."""
        if not self._presses:
            self._first_ns = self._last_ns = press.stamp_ns
        at = len(self._presses)
        while at and (before := self._presses[at - 1]).stream == press.stream and before.number > press.number:
            at -= 1  # an INFO that was overtaken (RFC 3261 12.2.2: CSeq is the order)
        self._presses.insert(at, press)
        self._last_ns = max(self._last_ns, press.stamp_ns)
        return self.flush() if press.key == "#" or len(self._presses) == MAX_DIGITS else []

    @property
    def deadline_ns(self) -> int | None:
        """When the string is due at the latest, or None while there is no digit."""
        if not self._presses:
            return None
        return min(self._last_ns + self._timeout_ns, self._first_ns + FIRST_DIGIT_TIMEOUT_NS)

    def flush(self) -> list[Gathered]:
        """What has been gathered, cut where no single source carried it: a deadline passed, the call ended, the toggle
        went off."""
        presses, self._presses = self._presses, []
        runs: list[list[Press]] = []
        common: set[Source] = set()
        sources = []
        for press in presses:
            if runs and common & press.sources:
                common &= press.sources
                runs[-1].append(press)
            else:
                common = set(press.sources)
                runs.append([press])
                sources.append(common)
            sources[-1] = common
        found = []
        last_ns = 0
        for run, carried in zip(runs, sources, strict=True):
            first_ns = run[0].stamp_ns
            last_ns = max(last_ns, *(each.stamp_ns for each in run))
            found.append(Gathered("".join(each.key for each in run), first_ns, last_ns, min(carried)))
        return found


class Presses:
    """The newest presses of one call, each once however many streams tell it."""

    __slots__ = ("_recent", "_tones")

    def __init__(self) -> None:
        self._recent: deque[Press] = deque(maxlen=MAX_RECENT)
        self._tones: dict[Source, tuple[str, int]] = {}  # the newest tone of each codec, and its end

    def is_copy(self, keys: Keys) -> bool:
        """A tone that began before the same tone of the same codec had ended is that tone, heard in a second copy of
        the audio: a voice-band key has nothing else to tell it by."""
        if keys.source not in IN_BAND:
            return False
        key, ended_ns = self._tones.get(keys.source, ("", 0))
        self._tones[keys.source] = keys.keys, max(keys.ended_ns, ended_ns if key == keys.keys else 0)
        return key == keys.keys and keys.began_ns < ended_ns

    def take(self, key: str, keys: Keys, stamp_ns: int) -> Press | None:
        """A new press, or None when it is one that was told before, by another stream."""
        stream = (keys.source, keys.place)
        for press in self._recent:
            if (
                press.key == key
                and stream not in press.streams
                and keys.began_ns <= press.ended_ns + MAX_LAG_NS
                and press.began_ns <= keys.ended_ns + MAX_LAG_NS
            ):
                press.streams.add(stream)
                press.sources.add(keys.source)
                press.ended_ns = max(press.ended_ns, keys.ended_ns)
                return None
        new = Press(key, stamp_ns, keys.began_ns, keys.ended_ns, stream, keys.number, {stream}, {keys.source})
        self._recent.append(new)
        return new

    def hold(self, key: str, source: Source, place: Hashable, until_ns: int) -> None:
        """The newest press of this key in this stream goes on."""
        stream = (source, place)
        for press in reversed(self._recent):
            if press.key == key and stream in press.streams:
                press.ended_ns = max(press.ended_ns, until_ns)
                return


class Dialing:
    """The subject's keys in one call, from all sources."""

    __slots__ = ("_challenged", "_events", "_presses", "_string", "_tally", "_told")

    def __init__(self, timeout_ns: int, tally: Tally) -> None:
        self._events = TelephoneEvents()
        self._presses = Presses()
        self._string = DigitString(timeout_ns)
        self._told: OrderedDict[Hashable, Told] = OrderedDict()
        self._challenged: OrderedDict[Hashable, Told] = OrderedDict()  # place -> what its next request repeats
        self._tally = tally

    def feed(self, packet: bytes, stamp_ns: int, *, cut_through: bool) -> list[Gathered | Flash]:
        """What is complete with this RTP packet. Raises RemoteProtocolError for what is no telephone-event."""
        copies = self._events.copies
        heard = self._events.feed(packet)
        self._tally.copies += self._events.copies - copies
        done: list[Gathered | Flash] = []
        for event in heard.held:
            if event < len(EVENTS):
                self._presses.hold(EVENTS[event], Source.TELEPHONE_EVENT, heard.ssrc, stamp_ns)
        for event in heard.began:
            if event >= len(EVENTS):
                self._tally.ignored += 1
                continue
            keys = Keys(
                source=Source.TELEPHONE_EVENT,
                keys=EVENTS[event],
                place=heard.ssrc,
                began_ns=stamp_ns,
                ended_ns=stamp_ns,
            )
            done += self._press(keys, stamp_ns, cut_through=cut_through)
        return done

    def take(self, keys: Keys, stamp_ns: int, *, cut_through: bool) -> list[Gathered | Flash]:
        """What is complete with the keys of one request or tone, received at `stamp_ns`."""
        if self._is_copy(keys, stamp_ns):
            self._tally.copies += 1
            return []
        return self._press(keys, stamp_ns, cut_through=cut_through)

    def answered(self, place: Hashable, request: Hashable, status: int) -> bool:
        """A response: whether the request that it answers told keys of this call."""
        told = self._told.get((place, request))
        if told is None:
            return False
        if status >= 200 and not told.answered:
            told.answered = True
            if status in RETRIED:
                remember(self._challenged, place, told, MAX_TOLD)
            elif status >= 300:
                self._tally.refused += 1
        return True

    @property
    def deadline_ns(self) -> int | None:
        return self._string.deadline_ns

    def flush(self) -> list[Gathered]:
        """What has been dialed so far: the time has come, the call ended, the toggle went off."""
        return self._string.flush()

    def _is_copy(self, keys: Keys, stamp_ns: int) -> bool:
        if keys.request is None:
            return self._presses.is_copy(keys)
        name = (keys.place, keys.request)
        if name in self._told:
            return True
        remember(self._told, name, Told(keys.keys, stamp_ns), MAX_TOLD)
        asked = self._challenged.pop(keys.place, None)
        return asked is not None and asked.keys == keys.keys and stamp_ns - asked.stamp_ns <= MAX_CHALLENGE_NS

    def _press(self, keys: Keys, stamp_ns: int, *, cut_through: bool) -> list[Gathered | Flash]:
        """Before cut-through presses are only remembered, so that a key held across the answer, or told by a slower
        source after it, is not taken for a new one."""
        done: list[Gathered | Flash] = []
        for key in keys.keys:
            press = self._presses.take(key, keys, stamp_ns)
            if press is None:
                self._tally.again += 1
            elif not cut_through:
                self._tally.early += 1
            elif key == FLASH:
                done += [*self.flush(), Flash()]
            else:
                done += self._string.add(press)
        return done
