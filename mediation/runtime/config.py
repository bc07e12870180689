"""The site's configuration: what `config.toml` may say, and where the site keeps its things.

It may not say anything that starts, hides or redirects an interception: targets, destinations and time windows stand
in signed orders alone, and no setting turns the ledger off (SEC-12, SEC-13). Unknown keys are refused, so that a
misspelt setting cannot pass as a default.
"""

from __future__ import annotations

import ipaddress
import re
from pathlib import Path
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from mediation.core.authority import term
from mediation.core.case import Authority
from mediation.core.errors import ConfigurationError
from mediation.core.records import retention
from mediation.runtime import complaint
from mediation.runtime.watch import Reconciliation

FILE = "config.toml"
LAB_COLLECTOR_PORT = 41800  # the port of historic call data channels (OpenCALEA's sample configuration)
LAB_CONTENT_OFFSET = 10  # its sample has the content channels ten above, 41810

Port = Annotated[int, Meta(ge=1, le=65535)]
Side = Literal["access", "trunk", "trusted-trunk"]
Tunnel = Literal["ip", "gre", "vxlan", "gtp"]
Name = Annotated[str, Meta(min_length=1, max_length=15)]  # iAPSystemId: VisibleString SIZE(1..15)
GTP_PORT = 2152  # 3GPP TS 29.281 4.4.2


class _Section(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    pass


class DialPlan(_Section, frozen=True, kw_only=True):
    """How numbers without `+` are completed to E.164 (ITU-T E.164, the NANP by default)."""

    country_code: Annotated[str, Meta(pattern=r"^[1-9][0-9]{0,2}$")] = "1"
    area_code: Annotated[str, Meta(pattern=r"^[0-9]{0,6}$")] = ""  # completes 7-digit numbers; empty: they do not match
    national_prefix: Annotated[str, Meta(pattern=r"^[0-9]{0,3}$")] = "1"
    international_prefix: Annotated[str, Meta(pattern=r"^[0-9]{0,4}$")] = "011"
    national_length: Annotated[int, Meta(ge=4, le=14)] = 10
    local_length: Annotated[int, Meta(ge=0, le=13)] = 7


class Iap(_Section, frozen=True, kw_only=True):
    """One intercept access point (47 CFR 1.20007(a)(7)).

    `side` decides which headers of a message prove an identity; `own` are the addresses that our own switch speaks
    from, so that on an untrusted trunk its word is told from a stranger's.
    """

    name: Name
    interface: str
    namespace: str = ""  # a named network namespace (/run/netns/NAME); empty: the daemon's own
    side: Side = "access"
    own: tuple[str, ...] = ()
    ports: tuple[Port, ...] = (5060,)
    tunnels: tuple[Tunnel, ...] = ()  # looked through to the packet inside; none keeps the kernel's filter shortest
    vxlan_port: Port = 4789
    promiscuous: bool = True
    hardware_stamps: bool = True  # where the card has them
    ring_mib: Annotated[int, Meta(ge=1, le=4096)] = 64


class Hep(_Section, frozen=True, kw_only=True):
    """An access point that is fed by the switch itself with HEP3: signalling that is encrypted on the wire.

    HEP has no integrity and sends its key in the clear: the interface must be isolated, or protected by IPsec.
    """

    name: Name
    interface: str  # datagrams are taken from this one alone
    listen: str  # an address of that interface
    port: Port = 9060
    namespace: str = ""
    side: Side = "access"
    own: tuple[str, ...] = ()
    key: Annotated[str, Meta(max_length=64)] = ""  # chunk 14 must say the same; empty: it is not looked at


class InterceptionPoint(_Section, frozen=True, kw_only=True):
    """A third party's point of interception that sends us X2 and X3 (ETSI TS 103 221-2) over mutual TLS 1.3."""

    name: Name
    listen: str
    port: Port
    certificate_sha256: Annotated[str, Meta(pattern=r"^[0-9a-f]{64}$")]  # of its client certificate


class Clock(_Section, frozen=True, kw_only=True):
    """Whether taps may be armed while the clock's error is over 200 ms or unknown (47 CFR 1.20007(a)(14))."""

    accept_undisciplined: bool = False


class Access(_Section, frozen=True, kw_only=True):
    """The intercept access process. The two latency settings are explained, with figures, in docs/OPERATING.md."""

    user: str = "nobody"  # whom the process becomes when it is started as root
    calls: Annotated[int, Meta(ge=16, le=1 << 22)] = 65_536
    hold_cpu_latency: bool = False  # keep /dev/cpu_dma_latency at 0
    realtime_priority: Annotated[int, Meta(ge=0, le=50)] = 0  # SCHED_FIFO when above 0


class Delivery(_Section, frozen=True, kw_only=True):
    """The mediator."""

    user: str = "nobody"
    interface: str = ""  # what third parties' listeners stand at and links to agencies leave by (runtime/network.py)
    digit_timeout_ms: Annotated[int, Meta(ge=100, le=4000)] = 1500  # inter-digit; must leave room below 8 s
    spool_mib: Annotated[int, Meta(ge=1, le=1 << 20)] = 64  # per agency, the bound
    surveillance_status: bool = True  # SurveillanceStatus is by agreement only (FCC Third R&O)
    realtime_priority: Annotated[int, Meta(ge=0, le=50)] = 0


class Management(_Section, frozen=True, kw_only=True):
    """The administrator's plane. It listens on Unix sockets alone."""

    interface: str = ""  # what witnesses and time-stamping authorities are asked by; empty: the host's routes


class Egress(_Section, frozen=True, kw_only=True):
    """The filter on what the delivery function's user may send (delivery/egress.py). It wants users of its own."""

    user: str = "nobody"
    enforce: bool | None = None  # by default on a real site; a lab's users are shared with the rest of the machine


class Ledger(_Section, frozen=True, kw_only=True):
    """The ledger's rhythm, and what goes on without its witnesses. Nothing in here switches it off (SEC-13)."""

    tick_ms: Annotated[int, Meta(ge=100, le=60_000)] = 2_000  # between two heads that are shown to the witnesses
    batch: Annotated[int, Meta(ge=1, le=4_096)] = 4  # leaves that each grows by at least; times 8, 64 … when busy
    grace_hours: Annotated[int, Meta(ge=1, le=72)] = 24  # running cases go on so long after the last cosigned head
    timestamp_authorities: tuple[str, ...] = ()  # URLs of RFC 3161 authorities

    @property
    def grace_ns(self) -> int:
        return self.grace_hours * 3_600_000_000_000


class Terms(_Section, frozen=True, kw_only=True):
    """How long orders may run at most on this site: the statutes' limits (core/authority/term.py), or less."""

    title3_days: Annotated[int, Meta(ge=1, le=30)] = 30  # 18 USC 2518(5)
    pen_register_days: Annotated[int, Meta(ge=1, le=60)] = 60  # 18 USC 3123(c)
    trap_and_trace_days: Annotated[int, Meta(ge=1, le=60)] = 60
    fisa_days: Annotated[int, Meta(ge=1, le=365)] = 365  # 50 USC 1805(d); the order states its own
    emergency_hours: Annotated[int, Meta(ge=1, le=48)] = 48  # 18 USC 2518(7), 3125
    emergency_fisa_hours: Annotated[int, Meta(ge=1, le=168)] = 168  # 50 USC 1805(e)

    def limits(self) -> term.Terms:
        emergency_s = self.emergency_hours * term.HOUR_S
        return term.Terms(
            shorter={
                Authority.TITLE_III: self.title3_days * term.DAY_S,
                Authority.PEN_REGISTER: self.pen_register_days * term.DAY_S,
                Authority.TRAP_AND_TRACE: self.trap_and_trace_days * term.DAY_S,
                Authority.FISA: self.fisa_days * term.DAY_S,
                Authority.EMERGENCY_TITLE_III: emergency_s,
                Authority.EMERGENCY_PEN_REGISTER: emergency_s,
                Authority.EMERGENCY_TRAP_AND_TRACE: emergency_s,
                Authority.EMERGENCY_FISA: self.emergency_fisa_hours * term.HOUR_S,
            }
        )


class Retention(_Section, frozen=True, kw_only=True):
    """How long records are kept after an order has ended and is certified (47 CFR 1.20004(b)). The number must be that
    of the plan in force (`mediation plan`), or nothing runs."""

    days: Annotated[int, Meta(ge=retention.MIN_DAYS, le=retention.MAX_DAYS)] = retention.DEFAULT_DAYS
    automatic: bool = True  # false: two persons have each order's records destroyed (mediation order destroy)


class Contact(_Section, frozen=True, kw_only=True):
    """How law enforcement reaches the senior officer seven days a week, 24 hours a day (47 CFR 1.20003(b)(4)(ii))."""

    telephone: Annotated[str, Meta(max_length=64)] = ""
    mail: Annotated[str, Meta(max_length=128)] = ""


class Lab(_Section, frozen=True, kw_only=True):
    """Only on a lab site: where the reference collection function listens."""

    collector_host: str = "127.0.0.1"
    collector_port: Port = LAB_COLLECTOR_PORT
    content_port: Port = LAB_COLLECTOR_PORT + LAB_CONTENT_OFFSET  # content: TCP for CC-APDU, UDP for PacketCable


class Settings(_Section, frozen=True, kw_only=True):
    """What the file says, all of it."""

    name: Annotated[str, Meta(min_length=1, max_length=40)]
    lab: bool = False
    dial_plan: DialPlan = DialPlan()
    iaps: tuple[Iap, ...] = msgspec.field(default=(), name="iap")
    heps: tuple[Hep, ...] = msgspec.field(default=(), name="hep")
    interception_points: tuple[InterceptionPoint, ...] = msgspec.field(default=(), name="interception_point")
    clock: Clock = Clock()
    access: Access = Access()
    delivery: Delivery = Delivery()
    management: Management = Management()
    egress: Egress = Egress()
    terms: Terms = Terms()
    ledger: Ledger = Ledger()
    reconciliation: Reconciliation = Reconciliation()
    retention: Retention = Retention()
    contact: Contact = Contact()
    lab_agency: Lab = Lab()

    @property
    def access_points(self) -> tuple[Iap | Hep, ...]:
        """Those of the access process, in the order of their index there: taps, then feeds."""
        return (*self.iaps, *self.heps)

    @property
    def point_names(self) -> tuple[str, ...]:
        """Every access point that an order may name, third parties' included."""
        own = tuple(point.name for point in self.access_points)
        return own + tuple(point.name for point in self.interception_points)

    @property
    def filters_egress(self) -> bool:
        """Whether the egress function belongs to this site."""
        return not self.lab if self.egress.enforce is None else self.egress.enforce

    @property
    def reconciles(self) -> bool:
        """Whether the reconciler belongs to this site."""
        return not self.lab or self.reconciliation.on_lab


class Site(Settings, frozen=True, kw_only=True):
    """A loaded site: its settings, and the folders below `path`, which is absolute."""

    path: Path

    @property
    def run_dir(self) -> Path:
        return self.path / "run"

    @property
    def keys_dir(self) -> Path:
        return self.path / "keys"

    @property
    def ledger_dir(self) -> Path:
        return self.path / "ledger"

    @property
    def spool_dir(self) -> Path:
        return self.path / "spool"

    @property
    def store_path(self) -> Path:
        return self.path / "administrator" / "store.sqlite"  # who owns its folder can replace nothing beside it

    @property
    def lab_dir(self) -> Path:
        return self.path / "lab"

    @property
    def delivery_dir(self) -> Path:
        return self.path / "delivery"

    @property
    def access_dir(self) -> Path:
        """What the access function remembers across restarts and reboots, which run/, a tmpfs, does not."""
        return self.path / "access"

    @property
    def egress_dir(self) -> Path:
        return self.path / "egress"

    @property
    def reconciler_dir(self) -> Path:
        return self.path / "reconciler"

    @property
    def log_dir(self) -> Path:
        return self.path / "log"


def load(path: Path | str) -> Site:
    """Reads and checks DIR/config.toml. Raises ConfigurationError naming the setting."""
    root = Path(path).resolve()
    try:
        text = (root / FILE).read_bytes()
    except OSError as error:
        raise ConfigurationError(f"{FILE}: {error.strerror}") from error
    try:
        settings = msgspec.toml.decode(text, type=Settings)
    except msgspec.MsgspecError as error:
        said = complaint.located(str(error))
        raise ConfigurationError(f"{FILE}: {said}; config/site.toml shows every setting") from error
    _check_points(settings)
    return Site(path=root, **msgspec.structs.asdict(settings))


def _check_points(settings: Settings) -> None:
    """What the types cannot say of access points. Raises ConfigurationError naming the setting."""
    points = (*settings.access_points, *settings.interception_points)
    listeners: tuple[Hep | InterceptionPoint, ...] = (*settings.heps, *settings.interception_points)
    if len({point.name for point in points}) != len(points):
        raise ConfigurationError(f"{FILE}: two intercept access points share a name")
    for point in points:
        if not re.fullmatch(r"[\x21-\x7e]{1,15}", point.name):
            raise ConfigurationError(f"{FILE}: iap name: visible characters, 1 to 15")
    for tap in settings.access_points:
        for address in tap.own:
            try:
                ipaddress.ip_address(address)
            except ValueError as error:
                raise ConfigurationError(f"{FILE}: iap {tap.name}: own: not an address") from error
    for iap in settings.iaps:
        taken = {GTP_PORT for kind in iap.tunnels if kind == "gtp"} | {
            iap.vxlan_port for kind in iap.tunnels if kind == "vxlan"
        }
        if taken & set(iap.ports):
            raise ConfigurationError(f"{FILE}: iap {iap.name}: a tunnel's port cannot be a signalling port")
    for listener in listeners:
        try:
            listens = ipaddress.ip_address(listener.listen)
        except ValueError as error:
            raise ConfigurationError(f"{FILE}: {listener.name}: listen: not an address") from error
        mapped = listens.ipv4_mapped if isinstance(listens, ipaddress.IPv6Address) else None
        if listens.is_unspecified or listens.is_multicast or mapped is not None:
            raise ConfigurationError(f"{FILE}: {listener.name}: listen: one address, not all")
    _check_planes(settings)


def _check_planes(settings: Settings) -> None:
    """Delivery, management and the switch's feeds have interfaces of their own (SEC-21). Raises ConfigurationError."""
    delivery, management = settings.delivery.interface, settings.management.interface
    if delivery and delivery == management and not settings.lab:
        raise ConfigurationError(f"{FILE}: management.interface: not the one of delivery")
    if settings.interception_points and not delivery and not settings.lab:
        raise ConfigurationError(f"{FILE}: delivery.interface: needed where a third party's point is listened for")
    for hep in settings.heps:
        if not settings.lab and not hep.namespace and hep.interface in (delivery, management):
            raise ConfigurationError(f"{FILE}: hep {hep.name}: interface: not the one of delivery or management")


_TEMPLATE = """\
# The site's configuration. Every setting, with its default and its reason: config/site.toml.
name = "{name}"  # the carrier, as the plan and letters to agencies name it
lab = {lab}
{iaps}
[clock]
accept_undisciplined = {lab}

[lab_agency]
collector_port = {port}
content_port = {content_port}
"""


def write_default(
    path: Path, *, lab: bool, name: str | None = None, collector_port: int = LAB_COLLECTOR_PORT, iaps: str = ""
) -> None:
    """Writes DIR/config.toml for a new site; `iaps` is TOML text of [[iap]] tables. Never overwrites."""
    offset = LAB_CONTENT_OFFSET if collector_port + LAB_CONTENT_OFFSET < 1 << 16 else -LAB_CONTENT_OFFSET
    text = _TEMPLATE.format(
        name=name or ("LAB" if lab else path.name),
        lab=str(lab).lower(),
        iaps=iaps,
        port=collector_port,
        content_port=collector_port + offset,
    )
    with (path / FILE).open("x") as file:
        file.write(text)
