"""The eBPF socket filter (ext/bpf/tap.bpf.c): loaded, told the signalling ports, attached and locked; its counters.

Answers for: the filter is on the socket, and locked, before the socket is bound to an interface, so not one unfiltered
frame enters the ring. May not: be changed afterwards. The signalling ports' map is frozen; of the media maps only the
access process has descriptors, and they can pass UDP of named addresses and nothing else.
"""

from __future__ import annotations

import errno
import socket
import struct
from collections.abc import Iterable
from importlib.resources import files

from mediation.access import _linux
from mediation.core.errors import ConfigurationError

OBJECT = "tap.bpf.o"
PROGRAM = "tap"
MEDIA_MAPS = ("media_flows", "media_ports")

SO_ATTACH_BPF = 50  # asm-generic/socket.h
SO_LOCK_FILTER = 44

# enum counter of tap.bpf.c, in its order.
FILTER_COUNTERS = (
    "passed_signalling",
    "passed_media",
    "passed_fragment",
    "dropped_not_ip",
    "dropped_not_udp",
    "dropped_malformed",
    "dropped_extension_headers",
    "dropped_other_flow",
    "dropped_payload_type",
    "dropped_fragment",
    "passed_tcp_signalling",
    "dropped_other_connection",
    "dropped_tunnel",
)
# Kinds of tunnels that may be looked through: TUNNEL_ of ext/bpf/network.bpf.h and ext/tunnel.pxd.
TUNNELS = {"ip": 1, "gre": 2, "vxlan": 4, "gtp": 8}


class SocketFilter:
    """One loaded filter. The media maps may be shared by several: a call's media can cross another interface."""

    def __init__(
        self,
        ports: Iterable[int],
        *,
        media_maps: tuple[int, int] | None = None,
        tunnels: Iterable[str] = (),
        vxlan_port: int = 4789,
    ) -> None:
        """Loads the object. Raises ConfigurationError when the kernel or the build does not have what it needs."""
        settings = struct.pack("=IHxx", sum({TUNNELS[kind] for kind in tunnels}), vxlan_port)
        try:
            code = (files("mediation.access") / OBJECT).read_bytes()
        except OSError as error:
            raise ConfigurationError(f"iap: {OBJECT} is not built: make build") from error
        shared = dict(zip(MEDIA_MAPS, media_maps, strict=True)) if media_maps else {}
        try:
            self.program, maps = _linux.load_filter(
                code, PROGRAM, shared, ("signalling_ports", *MEDIA_MAPS, "counters"), {".rodata.tunnels": settings}
            )
        except OSError as error:
            reason = "CAP_BPF is missing" if error.errno == errno.EPERM else str(error)
            raise ConfigurationError(f"iap: {reason}") from error
        self.media_maps: tuple[int, int] = (maps["media_flows"], maps["media_ports"])
        self.counters: int = maps["counters"]
        self.ports: int = maps["signalling_ports"]
        words: dict[int, int] = {}
        for port in ports:
            words[port >> 6] = words.get(port >> 6, 0) | 1 << (port & 63)
        for word, bits in words.items():
            _linux.update(self.ports, struct.pack("=I", word), struct.pack("=Q", bits))
        _linux.freeze(self.ports)

    def attach(self, tap: socket.socket) -> None:
        """Onto the socket, for good."""
        tap.setsockopt(socket.SOL_SOCKET, SO_ATTACH_BPF, self.program)
        tap.setsockopt(socket.SOL_SOCKET, SO_LOCK_FILTER, 1)
