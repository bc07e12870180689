"""Whose cosignatures make a tree head believed: the trust policy file (C2SP tlog-policy), `keys/witness.policy`.

    log <vkey> [<url>]
    witness <name> <vkey> [<url>]
    group <name> all|any|<k> <name>...
    quorum <name>

A strict little parser, and the judgement of one note. Beyond the specification, all on the side of refusing: `quorum
none` is refused (nothing switches the witnesses off), so is a witness that has a log's key, and a witness's URL must be
one that the client can ask. `lab:` is the address of the witness of a lab site, which lives in the site's own process
and is no witness at all; it is refused unless the caller says that the site is a lab.

It decides about cosignatures only: that the ledger signed is `note.open_checkpoint`'s to say.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from urllib.parse import urlsplit

import msgspec

from mediation.core.errors import RemoteProtocolError
from mediation.core.ledger import cosignature, note

MAX_POLICY_OCTETS = 1 << 18  # three times what the limits below take with ML-DSA-44 keys
MAX_LOGS = MAX_WITNESSES = MAX_GROUPS = 32  # tlog-policy: at least 32 of each
MAX_LINES = 4_096
LAB_URL = "lab:"
NONE = "none"

_ALLOWED = re.compile(r"[\t\n\x20-\x7e\x80-\U0010ffff]*")
_SPACE = re.compile(r"[ \t]+")  # tlog-policy: whitespace is space and tab only
_THRESHOLD = re.compile(r"[1-9][0-9]{0,3}")
_HOST = re.compile(r"[A-Za-z0-9.:-]{1,253}")  # a name in ASCII, or an address
_PATH = re.compile(r"(/[A-Za-z0-9._~-]{1,64}){0,8}/?")


class Log(msgspec.Struct, frozen=True, kw_only=True):
    """A log of the policy: its Ed25519 note key, or its ML-DSA-44 one."""

    verifier: note.Verifier | cosignature.Verifier
    url: str


class Witness(msgspec.Struct, frozen=True, kw_only=True):
    """One witness line. A program with two keys is two witnesses of a group here (tlog-policy: one key a line)."""

    name: str
    verifier: cosignature.Verifier
    url: str  # its submission prefix without the last slash; empty when the file gives none

    @property
    def lab(self) -> bool:
        return self.url == LAB_URL


class Group(msgspec.Struct, frozen=True, kw_only=True):
    """`threshold` of the `members` must have witnessed."""

    name: str
    threshold: int
    members: tuple[str, ...]


class Judgement(msgspec.Struct, frozen=True, kw_only=True):
    """What the cosignatures of one note are worth.

    `cosigners` are the witnesses whose cosignatures verify, in the order of the policy, `times` when each cosigned
    (seconds since 1970). `time_s` is the latest time such that the cosignatures of that time or later make a quorum
    by themselves; 0 without a quorum. So one old or one backdated cosignature more changes nothing.
    """

    cosigners: tuple[str, ...]
    times: tuple[int, ...]
    quorum: bool
    time_s: int


class Policy:
    """A parsed policy file."""

    def __init__(
        self, logs: tuple[Log, ...], witnesses: tuple[Witness, ...], groups: tuple[Group, ...], quorum: str
    ) -> None:
        self.logs = logs
        self.witnesses = witnesses
        self.groups = groups  # each after those it names
        self.quorum = quorum

    @property
    def lab(self) -> bool:
        """Whether a witness lives in the site's own process: such a policy proves nothing to anybody."""
        return any(witness.lab for witness in self.witnesses)

    def judge(self, text: str, *, latest_s: int | None = None) -> Judgement:
        """The cosignatures of the note `text`. Those dated after `latest_s` are not counted: whose clock runs ahead
        must not lend a head a longer life (tlog-cosignature: verifiers may reject times in the future).

        Raises RemoteProtocolError when the note or one of its lines is malformed, when a known key's signature is not
        of this text or stands twice, or when the policy names logs and none of them signed.
        """
        body, signatures = note.split(text)
        note.parse_checkpoint(body)
        if self.logs and not any(_signed(log, body, signatures) for log in self.logs):
            raise RemoteProtocolError("policy: signed by none of its logs")
        times: dict[str, int] = {}
        for witness in self.witnesses:
            mine = [signature for signature in signatures if witness.verifier.mine(signature)]
            if len(mine) > 1:
                raise RemoteProtocolError("policy: two cosignatures of one witness")
            if mine:
                made_s = witness.verifier.time(body, mine[0])
                # Without a time it says nothing of the largest tree (tlog-witness: the timestamp must not be zero).
                if made_s and (latest_s is None or made_s <= latest_s):
                    times[witness.name] = made_s
        time_s = self.time(times)
        return Judgement(
            cosigners=tuple(times), times=tuple(times.values()), quorum=time_s is not None, time_s=time_s or 0
        )

    def time(self, times: Mapping[str, int]) -> int | None:
        """The quorum's time, given when each witness cosigned; None when they are no quorum."""
        reached: dict[str, int] = dict(times)
        for group in self.groups:
            newest = sorted((reached[name] for name in group.members if name in reached), reverse=True)
            if len(newest) >= group.threshold:
                reached[group.name] = newest[group.threshold - 1]
        return reached.get(self.quorum)


def _signed(log: Log, body: str, signatures: list[note.Signature]) -> bool:
    if isinstance(log.verifier, note.Verifier):
        return log.verifier.signed(body, signatures)
    mine = [signature for signature in signatures if log.verifier.mine(signature)]
    for signature in mine:
        log.verifier.time(body, signature)
    return len(mine) == 1


class _Parser:
    """Collects the lines; each method takes the items of one line after its keyword."""

    def __init__(self, lab: bool) -> None:
        self._lab = lab
        self.logs: list[Log] = []
        self.witnesses: list[Witness] = []
        self.groups: list[Group] = []
        self.quorum_name = ""
        self._names: set[str] = {NONE}
        self._log_keys: set[bytes] = set()
        self._witness_keys: set[bytes] = set()
        self.lines: dict[str, Callable[[list[str]], None]] = {
            "log": self._log, "witness": self._witness, "group": self._group, "quorum": self._quorum,
        }  # fmt: skip

    def _log(self, items: list[str]) -> None:
        if len(items) not in (1, 2) or len(self.logs) == MAX_LOGS:
            raise ValueError("log: a key and perhaps a URL, at most 32 times")
        octets = cosignature.parse_vkey(items[0])[2]
        verifier = note.Verifier.parse(items[0]) if octets[:1] == note.ED25519 else cosignature.Verifier.parse(items[0])
        if isinstance(verifier, cosignature.Verifier) and verifier.kind != cosignature.MLDSA44:
            raise ValueError("log: a key of Ed25519 cosignatures is a witness's")
        self._once(verifier.public, self._log_keys)
        self.logs.append(Log(verifier=verifier, url=items[1] if len(items) == 2 else ""))

    def _witness(self, items: list[str]) -> None:
        if len(items) not in (2, 3) or len(self.witnesses) == MAX_WITNESSES:
            raise ValueError("witness: a name, a key and perhaps a URL, at most 32 times")
        verifier = cosignature.Verifier.parse(items[1])
        self._once(verifier.public, self._witness_keys)
        url = self._url(items[2]) if len(items) == 3 else ""
        self.witnesses.append(Witness(name=self._name(items[0]), verifier=verifier, url=url))

    def _group(self, items: list[str]) -> None:
        if len(items) < 3 or len(self.groups) == MAX_GROUPS:
            raise ValueError("group: a name, a threshold and members, at most 32 times")
        _, threshold, *members = items
        if not set(members) <= self._names - {NONE} or len(set(members)) != len(members):
            raise ValueError("group: a member that is not defined above, or twice")
        # Each name is a member at most once in the whole file, so that nobody counts in two ways.
        if taken := {name for group in self.groups for name in group.members} & set(members):
            raise ValueError(f"group: {len(taken)} of its members belong to another group")
        if threshold in ("any", "all"):
            k = 1 if threshold == "any" else len(members)
        elif _THRESHOLD.fullmatch(threshold) and int(threshold) <= len(members):
            k = int(threshold)
        else:
            raise ValueError("group: the threshold is any, all, or a number from 1 to that of its members")
        self.groups.append(Group(name=self._name(items[0]), threshold=k, members=tuple(members)))

    def _quorum(self, items: list[str]) -> None:
        if len(items) != 1 or self.quorum_name:
            raise ValueError("quorum: exactly one, of one name")
        if items[0] == NONE:
            raise ValueError("quorum: none would switch the witnesses off")
        if items[0] not in self._names:
            raise ValueError("quorum: a name that is not defined above")
        self.quorum_name = items[0]

    def _name(self, name: str) -> str:
        if name in self._names:
            raise ValueError("a name stands twice, or is none")
        self._names.add(name)
        return name

    def _once(self, public: bytes, keys: set[bytes]) -> None:
        if public in self._log_keys | self._witness_keys:
            raise ValueError("a key stands twice: whoever has the log's key is no witness of it")
        keys.add(public)

    def _url(self, url: str) -> str:
        if url == LAB_URL:
            if not self._lab:
                raise ValueError("witness: lab: is for a lab site only")
            return url
        parts = urlsplit(url)
        plain = not (parts.query or parts.fragment or parts.username or parts.password or "?" in url or "#" in url)
        host = parts.hostname or ""
        port_fits = parts.port is None or parts.port > 0  # .port raises ValueError above 65535
        if not (parts.scheme in ("http", "https") and plain and port_fits and _HOST.fullmatch(host)):
            raise ValueError("witness: the URL is http://HOST[:PORT][/PATH], https likewise")
        if not _PATH.fullmatch(parts.path):
            raise ValueError("witness: the URL's path")
        return url.rstrip("/")


def _unknown(_: list[str]) -> None:
    raise ValueError("neither log, witness, group nor quorum")


def parse(text: str | bytes, *, lab: bool = False) -> Policy:
    """A policy file's contents. `lab`: the site is a lab, and may have the witness `lab:`.

    Raises ValueError, which names the line by its number.
    """
    if len(text) > MAX_POLICY_OCTETS:
        raise ValueError("policy: too long")
    if isinstance(text, bytes):
        text = text.decode("utf-8", "surrogateescape")  # octets above 0x7F are opaque
    if not text.endswith("\n"):
        raise ValueError("policy: the last line does not end")
    parser = _Parser(lab)
    lines = text[:-1].split("\n")
    if len(lines) > MAX_LINES:
        raise ValueError("policy: too many lines")
    for number, line in enumerate(lines, 1):
        items = _SPACE.split(line.strip(" \t"))
        if not _ALLOWED.fullmatch(line):
            raise ValueError(f"policy: line {number}: control characters")
        if not items[0] or items[0].startswith("#"):
            continue
        try:
            parser.lines.get(items[0], _unknown)(items[1:])
        except ValueError as error:
            raise ValueError(f"policy: line {number}: {error}") from None
    if not parser.quorum_name:
        raise ValueError("policy: no quorum")
    return Policy(tuple(parser.logs), tuple(parser.witnesses), tuple(parser.groups), parser.quorum_name)
