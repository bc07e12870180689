"""Adapters to switch elements: whether they send copies of signalling or media, asked over their own control sockets.

Answers for one question to each element and for an honest sheet (`CAN`, `CANNOT`): what its answer can show, and what
it cannot. May not: change anything in an element; the requests here read.

    Kamailio   JSON-RPC over the jsonrpcs module's datagram socket: `siptrace.status check`
    rtpengine  the ng protocol over UDP, bencoded: `list` and `query`

An answer is a peer's: bounded, and what is no answer makes the element unseen, not clean.
"""

from __future__ import annotations

import itertools
import json
import os
import secrets
import socket
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from mediation.core.errors import RemoteProtocolError
from mediation.core.records.incident import Sight, What

LIMIT_S: Final = 3.0  # for one answer
MAX_OCTETS: Final = 65_535  # one datagram
MAX_CALLS: Final = 256  # of a relay that are asked for in one look; with more, looks take turns
MAX_DEPTH: Final = 16
MAX_FOLDERS: Final = 4_096  # of a recording directory

CAN: Final[Mapping[str, tuple[str, ...]]] = {
    "kamailio": ("whether siptrace copies messages at all (globally, or by its flag)",),
    "rtpengine": (
        "whether a call's media has more takers than its two parties (subscriptions)",
        "whether files lie in its recording directory, where the site names it",
    ),
}
CANNOT: Final[Mapping[str, tuple[str, ...]]] = {
    "kamailio": (
        "where siptrace sends to (module parameters are not told)",
        "copies by the routing script itself (t_replicate, forward, HTTP), or by another module",
        "a changed Kamailio that lies",
    ),
    "rtpengine": (
        "recording and forwarding by its control port, which does not tell of them (10.5): only by their files",
        "a recording directory that the site does not name, or a kernel rule beside its own",
        "calls that began and ended between two looks, or beyond the first 4,096",
        "a changed rtpengine that lies",
    ),
}


def kamailio(name: str, path: str, folder: Path, *, expected: bool) -> Iterator[Sight]:
    """The fork of one Kamailio; nothing when siptrace is off or is as the site says. Its answer comes to a socket in
    `folder`, which its user must be able to enter. Raises OSError, RemoteProtocolError."""
    answer = _rpc(path, folder, "siptrace.status", "check")
    said = answer.get("result")
    if said is None:
        complaint = answer.get("error")
        if isinstance(complaint, dict) and complaint.get("code") == -32601:  # JSON-RPC: no such method
            return  # the module is not loaded
        raise RemoteProtocolError(f"kamailio {name}: no answer to siptrace.status")
    if "enabled" in str(said).lower() and not expected:
        yield Sight(what=What.FORK, detail=f"kamailio {name} siptrace")


def _rpc(path: str, folder: Path, method: str, *params: object) -> dict[str, Any]:
    number = secrets.randbits(31)
    own = folder / f"answer-{number}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as asked:
        asked.settimeout(LIMIT_S)
        asked.bind(str(own))  # it answers to a file's name, never to an abstract one
        try:
            own.chmod(0o666)  # another user's process writes to it
            asked.connect(path)  # from nobody else
            asked.send(json.dumps({"jsonrpc": "2.0", "method": method, "params": list(params), "id": number}).encode())
            answer = json.loads(asked.recv(MAX_OCTETS))
        except (ValueError, RecursionError):
            raise RemoteProtocolError("kamailio: not JSON-RPC") from None
        finally:
            own.unlink(missing_ok=True)
    if not isinstance(answer, dict) or answer.get("id") != number:
        raise RemoteProtocolError("kamailio: not the answer to our request")
    return answer


class Rtpengine:
    """One media relay. Remembers where its last look at a long list of calls ended."""

    def __init__(self, name: str, address: str, port: int) -> None:
        self.name = name
        self._place = (address, port)
        self._next = 0

    def sights(self) -> Iterator[Sight]:
        """One for each kind of copy that any call has; no call is named. Raises OSError, RemoteProtocolError."""
        family = socket.AF_INET6 if ":" in self._place[0] else socket.AF_INET
        with socket.socket(family, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as asked:
            asked.settimeout(LIMIT_S)
            asked.connect(self._place)
            calls = self._ask(asked, {"command": "list", "limit": 4096}).get("calls", [])
            if not isinstance(calls, list):
                raise RemoteProtocolError(f"rtpengine {self.name}: no list of calls")
            found: set[str] = set()
            first = self._next if self._next < len(calls) else 0
            for call in itertools.islice(calls, first, first + MAX_CALLS):
                try:
                    found |= set(_copies(self._ask(asked, {"command": "query", "call-id": call})))
                except KeyError:
                    continue  # it has ended
            self._next = first + MAX_CALLS
        for kind in sorted(found):
            yield Sight(what=What.RECORDING, detail=f"rtpengine {self.name} {kind}")

    def _ask(self, asked: socket.socket, request: dict[str, Any]) -> dict[str, Any]:
        """Raises KeyError when it does not know the call."""
        cookie = secrets.token_hex(8).encode()
        asked.send(cookie + b" " + encode(request))
        while True:
            octets = asked.recv(MAX_OCTETS)
            theirs, _, rest = octets.partition(b" ")
            if theirs == cookie:
                break  # others are late answers of a look that ran out of time
        answer = decode(rest)
        if not isinstance(answer, dict):
            raise RemoteProtocolError(f"rtpengine {self.name}: not an answer")
        if answer.get("result") != "ok":
            if "Unknown call" in str(answer.get("error-reason")):
                raise KeyError(request.get("call-id"))
            raise RemoteProtocolError(f"rtpengine {self.name}: refused")
        return answer


def _copies(told: dict[str, Any]) -> Iterator[str]:
    """What of a queried call copies its media: a subscription that is none of an offer and its answer."""
    tags = told.get("tags")
    if not isinstance(tags, dict):
        return
    for tag in tags.values():
        if not isinstance(tag, dict):
            continue
        takers = tag.get("subscribers")
        if isinstance(takers, list) and any(isinstance(one, dict) and one.get("type") == "pub/sub" for one in takers):
            yield "subscription"


def recordings(name: str, folder: str) -> Iterator[Sight]:
    """Whether a relay's recording directory has files, those being written included. Raises OSError when it cannot be
    read."""

    def refuse(error: OSError) -> None:
        raise error

    for _, _, files in itertools.islice(os.walk(folder, onerror=refuse), MAX_FOLDERS):
        if files:
            yield Sight(what=What.RECORDING, detail=f"rtpengine {name} recordings")
            return


def encode(value: object) -> bytes:
    """Bencode (BEP 3)."""
    match value:
        case int():
            return b"i%de" % value
        case bytes():
            return b"%d:%s" % (len(value), value)
        case str():
            return encode(value.encode())
        case list():
            return b"l" + b"".join(map(encode, value)) + b"e"
        case dict():
            return b"d" + b"".join(encode(key) + encode(value[key]) for key in sorted(value)) + b"e"
        case _:
            raise TypeError(type(value))


def decode(octets: bytes) -> Any:
    """One bencoded value, texts as str. Raises RemoteProtocolError."""
    try:
        value, end = _decode(octets, 0, 0)
    except (ValueError, IndexError):
        raise RemoteProtocolError("rtpengine: not bencode") from None
    if end != len(octets):
        raise RemoteProtocolError("rtpengine: more than one value")
    return value


def _decode(octets: bytes, at: int, depth: int) -> tuple[Any, int]:
    if depth > MAX_DEPTH:
        raise ValueError("too deep")
    kind = octets[at : at + 1]
    if kind == b"i":
        end = octets.index(b"e", at)
        return int(octets[at + 1 : end]), end + 1
    if kind in (b"l", b"d"):
        values: list[Any] = []
        at += 1
        while octets[at] != ord("e"):
            value, at = _decode(octets, at, depth + 1)
            values.append(value)
        at += 1
        if kind == b"l":
            return values, at
        return dict(zip(map(str, values[::2]), values[1::2], strict=True)), at
    colon = octets.index(b":", at)
    end = colon + 1 + int(octets[at:colon])
    if not octets[at:colon].isdigit() or end > len(octets):
        raise ValueError("a string that does not fit")
    return octets[colon + 1 : end].decode("utf-8", "replace"), end


Adapter = Callable[[], Iterator[Sight]]
