from collections.abc import Iterable, Sequence
from typing import Final, Protocol

from mediation.core.network.identity import Plan

COUNTER_NAMES: Final[tuple[str, ...]]

_Octets = bytes | bytearray | memoryview
_Endpoint = tuple[str, int]

class _AccessPoint(Protocol):
    @property
    def side(self) -> str: ...
    @property
    def own(self) -> Sequence[str]: ...

class Matcher:
    def __init__(
        self,
        iaps: Iterable[_AccessPoint],
        plan: Plan,
        *,
        call_capacity: int = ...,
        out_bound: int = ...,
        content_bound: int = ...,
        voice_capacity: int = ...,
        live: bool = ...,
        secret: bytes | None = ...,
    ) -> None: ...
    @property
    def capsule(self) -> object: ...
    def add_task(
        self,
        xid: bytes,
        keys: Iterable[str],
        not_before_ns: int,
        not_after_ns: int,
        dde: bool = ...,
        iap_mask: int = ...,
        content: bool = ...,
    ) -> None: ...
    def add_tasks(
        self,
        tasks: Sequence[
            tuple[bytes, Iterable[str], int, int, bool, int] | tuple[bytes, Iterable[str], int, int, bool, int, bool]
        ],
    ) -> None: ...
    def remove_task(self, xid: bytes) -> bool: ...
    def set_dde(self, xid: bytes, on: bool) -> None: ...
    def set_end(self, xid: bytes, not_after_ns: int) -> None: ...
    def datagram(
        self,
        payload: _Octets,
        *,
        source: _Endpoint = ...,
        destination: _Endpoint = ...,
        stamp_ns: int,
        now_ns: int,
        iap: int = ...,
        error_us: int = ...,
        disciplined: bool = ...,
    ) -> None: ...
    def media(
        self,
        payload: _Octets,
        *,
        source: _Endpoint = ...,
        destination: _Endpoint,
        stamp_ns: int,
        now_ns: int,
        iap: int = ...,
        error_us: int = ...,
        disciplined: bool = ...,
    ) -> None: ...
    def repeat(self, payload: _Octets, ends: list[int], rounds: int, *, now_ns: int) -> None: ...
    def canonical(self, uri: _Octets) -> str | None: ...
    def take(self) -> bytes: ...
    def take_content(self) -> bytes: ...
    def expire(self, now_ns: int) -> None: ...
    def take_flow_changes(self) -> list[tuple[bool, str, int, tuple[int, ...] | None]]: ...
    def counters(self) -> dict[str, int]: ...
    def gauges(self) -> dict[str, int]: ...
