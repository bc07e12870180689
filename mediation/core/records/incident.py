"""What reconciliation finds: sights, differences between them and what is accounted for, and letters about them.

Answers for the names of everything that can be found (`What`), for what one look at the machine saw (`Observation`,
the reconciler's words to the administrator: it may only report), and for the letter to each agency concerned, which
names its own cases and nobody else's (47 CFR 1.20003(c)). No subject's identity can stand in here. Sans-I/O: it looks
at nothing; which difference is believed when is `core/records/reconciliation.py`.

Times are UTC microseconds since 1970 (`…_us`).
"""

from __future__ import annotations

import datetime
import hashlib
from collections.abc import Iterable, Sequence

import msgspec

from mediation.core.errors import RemoteProtocolError
from mediation.core.named import Named
from mediation.core.units import US

MAX_SIGHTS = 1024  # of one observation; what is beyond is counted, and a difference of its own
MAX_LINE_OCTETS = 1 << 20
MAX_TEXT = 200  # characters of a detail
MAX_TIME_US = 1 << 53  # in the year 2255: people read it as a date in a letter
MAX_NUMBER = (1 << 64) - 1  # what JSON and the kernel have: inodes
BY_HAND = 0  # the number of an observation that is not the process's own
REPORT_HOURS = 24  # "a reasonable time upon discovery", by the house (47 CFR 1.20003(c))
ETH_P_ALL = 0x0003  # linux/if_ether.h


class What(Named):
    """One kind of thing that copies or diverts traffic, or one kind of difference; the sentence is the letter's."""

    # in the kernel
    PACKET_SOCKET = "packet-socket", "a packet socket that receives frames of an interface"
    RAW_SOCKET = "raw-socket", "a raw IP socket, which gets a copy of each packet of its protocol"
    MIRROR = "mirror", "a traffic control action that mirrors, redirects or samples packets"
    PROGRAM = "program", "a program at an interface (XDP, tc, tcx), which can copy packets"
    DUPLICATION = "duplication", "a netfilter rule that copies or hands out packets (dup, fwd, TEE, NFLOG, NFQUEUE)"
    PROMISCUOUS = (
        "promiscuous",
        "an interface in promiscuous mode that no packet socket, bridge or upper link asked for",
    )
    FLOODING = "flooding", "a bridge that learns no address and floods every frame to every port"
    TUNNEL = "mirror-tunnel", "an ERSPAN interface, made to carry mirrored frames"
    # in the switch
    FORK = "fork", "the switch sends copies of its signalling"
    RECORDING = "recording", "the media relay records, forwards or duplicates a call"
    # differences of another kind
    TAP_GONE = "tap-gone", "live cases whose tap is not there"
    UNCERTIFIED = "uncertified", "interceptions without a certification (47 CFR 1.20004(a))"
    TASKS = "tasks", "a function has other tasks than the administration armed"
    OVERFLOW = "overflow", "more was seen than an observation holds"

    @property
    def interception(self) -> bool:
        """Whether somebody may have listened; the others are failures of our own watch."""
        return self not in {What.TAP_GONE, What.UNCERTIFIED}


class Sight(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True):
    """One thing that was seen. `namespace` is a name below /run/netns, "" the reconciler's own, or `net:[inode]`.

    `uid` is the socket's owner; `commands` and `executables` (SHA-256) are of the processes that hold it, where they
    may be looked at. `filter_sha256` is over the classic BPF program of a socket; eBPF programs are not shown.
    """

    what: What
    namespace: str = ""
    interface: str = ""
    protocol: int = 0
    uid: int = -1
    inode: int = 0
    detail: str = ""
    filter_sha256: str = ""
    commands: tuple[str, ...] = ()
    executables: tuple[str, ...] = ()

    @property
    def key(self) -> str:
        """The same thing in two looks has the same key: SHA-256, hex. Processes may come and go behind one socket."""
        parts = (self.what, self.namespace, self.interface, self.protocol, self.uid, self.inode, self.detail)
        return hashlib.sha256(msgspec.json.encode(parts)).hexdigest()

    @property
    def place(self) -> str:
        """Where it was, for a letter and a certification's field (i)."""
        where = f"interface {self.interface}" if self.interface else self.detail or "the host"
        return f"{self.what}, {where}" + (f", namespace {self.namespace}" if self.namespace else "")


class Tap(msgspec.Struct, frozen=True):
    """A packet socket as the access function reports it of itself."""

    name: str
    interface: str
    namespace: str
    inode: int


class Rule(msgspec.Struct, frozen=True, kw_only=True):
    """What the site expects beside its taps: every field that is given must fit."""

    what: What = What.PACKET_SOCKET
    namespace: str = ""
    interface: str = ""
    uid: int | None = None
    protocol: int | None = None
    command: str = ""
    executable_sha256: str = ""
    filter_sha256: str = ""
    detail: str = ""

    def fits(self, sight: Sight) -> bool:
        """A process that could not be looked at is not the one that is expected."""
        return (
            self.what is sight.what
            and self.namespace in ("*", sight.namespace)
            and self.interface in ("*", sight.interface)
            and self.uid in (None, sight.uid)
            and self.protocol in (None, sight.protocol)
            and (not self.command or sight.commands == (self.command,))
            and (not self.executable_sha256 or sight.executables == (self.executable_sha256,))
            and self.filter_sha256 in ("", sight.filter_sha256)
            and self.detail in ("", sight.detail)
        )


class Observation(msgspec.Struct, frozen=True, kw_only=True, tag="observation", forbid_unknown_fields=True):
    """One look. `number` counts from 1 at the reconciler's start, BY_HAND is a command's; `unseen` says what could not
    be looked at, so that silence about it is not taken for its absence; `log_sha256` is the reconciler's log's head."""

    number: int
    time_us: int
    interval_s: int
    sights: tuple[Sight, ...]
    more: int = 0  # sights beyond MAX_SIGHTS
    unseen: tuple[str, ...] = ()
    log_sha256: str = ""
    code_sha256: str = ""


class Noted(msgspec.Struct, frozen=True, kw_only=True, tag="noted", forbid_unknown_fields=True):
    """The whole of what the administrator may say: look again at once, for something is to be confirmed."""

    again: bool = False


class Finding(msgspec.Struct, frozen=True, kw_only=True):
    """A difference that is believed. `first_us` is the look that saw it first, `clean_us` the last one that did not
    (0: none of this run)."""

    what: What
    first_us: int
    clean_us: int
    sight: Sight | None = None
    detail: str = ""

    @property
    def key(self) -> str:
        if self.sight is not None:
            return self.sight.key
        return hashlib.sha256(f"{self.what} {self.detail}".encode()).hexdigest()

    @property
    def identity(self) -> str:
        """The incident's identity: the same for whoever saw the same thing first at the same time, so that the
        reconciler's own log and the ledger can be compared."""
        return f"{self.first_us // US}-{self.key[:16]}"

    @property
    def place(self) -> str:
        return self.sight.place if self.sight is not None else f"{self.what}, {self.detail}"


_observations: msgspec.json.Decoder[Observation] = msgspec.json.Decoder(Observation)
_answers: msgspec.json.Decoder[Noted] = msgspec.json.Decoder(Noted)


def encode(message: Observation | Noted) -> bytes:
    """One line, with its newline."""
    return msgspec.json.encode(message) + b"\n"


def decode_observation(line: bytes) -> Observation:
    """Raises RemoteProtocolError, which does not repeat the line."""
    try:
        found = _observations.decode(line)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        raise RemoteProtocolError("reconciler: not an observation") from None
    texts = [text for sight in found.sights for text in (sight.namespace, sight.interface, sight.detail)]
    if len(found.sights) > MAX_SIGHTS or len(found.unseen) > MAX_SIGHTS or not 1 <= found.interval_s <= 3600:
        raise RemoteProtocolError("reconciler: an observation out of bounds")
    numbers = [found.number, found.more, *(each for one in found.sights for each in (one.protocol, one.inode))]
    numbers += (one.uid + 1 for one in found.sights)
    if not 0 <= found.time_us <= MAX_TIME_US or not all(0 <= number <= MAX_NUMBER for number in numbers):
        raise RemoteProtocolError("reconciler: a number out of bounds")
    if any(len(text) > MAX_TEXT or not (text.isascii() and text.isprintable()) for text in (*texts, *found.unseen)):
        raise RemoteProtocolError("reconciler: a text that is too long or not printable")
    return found


def decode_answer(line: bytes) -> Noted:
    """Raises RemoteProtocolError."""
    try:
        return _answers.decode(line)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        raise RemoteProtocolError("reconciler: not an answer") from None


def unaccounted(sights: Iterable[Sight], rules: Sequence[Rule], own: Iterable[Tap]) -> list[Sight]:
    """What is neither a tap of the access function nor expected. A tap is known by its inode, of which the kernel has
    one each, and by its interface; it accounts for that one packet socket only."""
    taps = {(tap.inode, tap.interface) for tap in own if tap.inode}
    return [
        sight
        for sight in sights
        if not (sight.what is What.PACKET_SOCKET and (sight.inode, sight.interface) in taps)
        and not any(rule.fits(sight) for rule in rules)
    ]


def when(time_us: int) -> str:
    """As people write it, UTC."""
    moment = datetime.datetime.fromtimestamp(time_us // US, datetime.UTC)
    return moment.strftime("%Y-%m-%d %H:%M:%S UTC")


def letter(
    finding: Finding, *, site: str, lab: bool, agency: str, cases: Sequence[str], found_us: int, evidence_sha256: str
) -> str:
    """The draft of a report to one agency, with its own cases alone; `agency` is "" for the report of surveillance
    that concerns no live case, which the senior officer addresses.

    It is delivered by hand or by mail, and not over any link of the system that it speaks of.
    """
    since = f"not before {when(finding.clean_us)}" if finding.clean_us else "at a time that is not known"
    lines = [
        "LAB: A TEST, NOT A REPORT" if lab else "",
        "DRAFT FOR THE SENIOR OFFICER. To be delivered out of band: not over any delivery link of this site.",
        "",
        f"To:        {agency or '(to be addressed by the senior officer)'}",
        f"From:      {site}",
        f"Incident:  {finding.identity}",
        f"Found:     {when(found_us)}",
        f"Due:       {when(found_us + REPORT_HOURS * 3_600_000_000)} (by the policy of this carrier)",
        "",
        "Report under 47 CFR 1.20003(c)" + ("(1) and (2)" if cases else "(2)"),
        "",
        f"What was found: {finding.what.sentence}.",
        f"Where:          {finding.place}.",
        f"First seen:     {when(finding.first_us)}; it began {since}.",
        f"Evidence:       SHA-256 {evidence_sha256}",
        "",
        "No order, certification or expected service of this site accounts for it.",
    ]
    if cases:
        lines += ["", "Your interceptions that ran at that time and may have been compromised:", ""]
        lines += [f"    {case}" for case in sorted(cases)]
    lines += [
        "",
        "To be completed by hand: to whom anything was disclosed, when it was contained, who sent this, when, receipt.",
        "",
    ]
    return "\n".join(lines if lab else lines[1:])
