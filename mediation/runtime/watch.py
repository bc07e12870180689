"""What config.toml may say of reconciliation: how often, with which privileges, what is expected beside our own taps.

A part of `config`. Nothing in here can make a tap be accounted for that the access function does not hold, other than
by naming it, one by one, in a file that root owns and whose hash stands in the ledger (CodeIdentity).
"""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import Meta

from mediation.core.records.incident import What

Name = Annotated[str, Meta(min_length=1, max_length=15)]
Port = Annotated[int, Meta(ge=1, le=65535)]


class _Section(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    pass


class Expected(_Section, frozen=True, kw_only=True):
    """Something that reconciliation finds on this host and that is no tap of ours; every field that is given must fit.

    `command` and `executable_sha256` need `reconciliation.processes`. `interface` "*": bound to all, or any.
    """

    what: What = What.PACKET_SOCKET
    namespace: str = ""
    interface: str = ""
    uid: Annotated[int, Meta(ge=0)] | None = None
    protocol: Annotated[int, Meta(ge=0, le=65535)] | None = None
    command: Annotated[str, Meta(max_length=15)] = ""
    executable_sha256: Annotated[str, Meta(pattern=r"^([0-9a-f]{64})?$")] = ""
    filter_sha256: Annotated[str, Meta(pattern=r"^([0-9a-f]{64})?$")] = ""
    detail: Annotated[str, Meta(max_length=200)] = ""


class Kamailio(_Section, frozen=True, kw_only=True):
    """A SIP switch that is asked whether it sends copies; `siptrace`: it is meant to, to our [[hep]]."""

    name: Name
    socket: str  # the datagram socket of its jsonrpcs module
    siptrace: bool = False


class Rtpengine(_Section, frozen=True, kw_only=True):
    """A media relay that is asked whether calls are recorded or forwarded, over its ng control port."""

    name: Name
    address: str = "127.0.0.1"
    port: Port = 2223
    namespace: str = ""
    recordings: str = ""  # its --recording-dir, which the reconciler must be able to list; empty: it has none


class Reconciliation(_Section, frozen=True, kw_only=True):
    """The look from another side (mediation/reconciliation). On a real site it cannot be switched off."""

    user: str = "nobody"
    interval_s: Annotated[int, Meta(ge=5, le=30)] = 30  # with the confirming look within the minute of SEC-1
    on_lab: bool = False  # a lab's host is shared with the rest of the world
    namespaces: bool = False  # look into other network namespaces: CAP_SYS_ADMIN
    processes: bool = False  # tell which process holds a socket: CAP_SYS_PTRACE, CAP_DAC_READ_SEARCH
    expected: tuple[Expected, ...] = ()
    kamailio: tuple[Kamailio, ...] = ()
    rtpengine: tuple[Rtpengine, ...] = ()
