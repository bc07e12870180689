"""`mediation preflight`: can this host do what the site's configuration asks, before any order exists?

A dry run: it opens no tap, changes no interface and reads no case. Each check is a line; what fails names the check
and what to do, and never anything of an order.
"""

from __future__ import annotations

import datetime
import errno
import os
import pwd
import shutil
import socket
import ssl
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import click
from cryptography import x509

from mediation.access import interface, socket_filter
from mediation.administration.keys import ledger_files
from mediation.administration.ledger import verify
from mediation.cli.options import site_option
from mediation.core.authority.roster import FOUNDERS
from mediation.core.case import Role
from mediation.core.errors import ConfigurationError, MediationError
from mediation.delivery import egress, interception_point, mediator
from mediation.runtime import clock, config, keys, tls, wrapping

OPENER = {"CAP_NET_RAW": 13, "CAP_NET_ADMIN": 12, "CAP_BPF": 39, "CAP_PERFMON": 38}  # linux/capability.h


def _roster(site: config.Site) -> str:
    """Who is in office now; a site without a senior officer would refuse every activation."""
    trust = keys.load_trust(site)
    if not trust.roster.lines:
        raise ConfigurationError("the site has no founding: mediation person found")
    now = int(time.time())
    count = Counter(a.role for a in trust.roster.appointments if a.at(now))
    if trust.senior_officer(now) is None:
        raise ConfigurationError("no senior officer is in office (47 CFR 1.20003(b)(4))")
    if count[Role.EXECUTIVE] < FOUNDERS:
        raise ConfigurationError(f"{count[Role.EXECUTIVE]} executives in office: two must be able to replace a third")
    return f"{len(trust.roster.lines)} changes; " + ", ".join(f"{role} {count[role]}" for role in Role)


def _ledger(site: config.Site) -> str:
    report = verify.examine(
        ledger_files(site), keys.read_verifier(site.keys_dir), recent=verify.RECENT
    )  # fmt: skip
    report.raise_first()
    policy = keys.read_policy(site)
    if policy is None:
        raise ConfigurationError(
            f"keys/{keys.POLICY} is missing: no order can be admitted until it names the witnesses"
        )
    return f"{report.head.size} entries; {verify.sentence(report.witnessed, policy)}"


def _clock(site: config.Site) -> str:
    error_ns, disciplined = clock.stamp_quality()
    said = f"{'disciplined' if disciplined else 'undisciplined'}, error at most {error_ns // 1000} us"
    if not clock.may_arm(
        lab=site.lab,
        accept_undisciplined=site.clock.accept_undisciplined,
        error_ns=error_ns,
        disciplined=disciplined,
    ):
        raise ConfigurationError(
            f"{said}: no tap will be armed; run chrony or ptp4l, or set clock.accept_undisciplined"
        )
    return said


def _privileges(_: config.Site) -> str:
    status = Path("/proc/self/status").read_text()
    effective = int(next(line.split()[1] for line in status.splitlines() if line.startswith("CapEff")), 16)
    missing = [name for name, bit in OPENER.items() if not effective >> bit & 1]
    if missing and os.geteuid() != 0:
        raise ConfigurationError(f"the opener needs {', '.join(missing)}: run as root or by its systemd unit")
    return "the opener may open taps"


def _filter(_: config.Site) -> str:
    if not Path(socket_filter.__file__).with_name(socket_filter.OBJECT).exists():
        raise ConfigurationError("it was not built: make build")
    return socket_filter.OBJECT


def _interfaces(site: config.Site) -> str:
    if not site.iaps:
        raise ConfigurationError("config.toml names no intercept access point ([[iap]]): only captures can be read")
    for iap in site.iaps:
        where = f"{iap.interface} in namespace {iap.namespace}" if iap.namespace else iap.interface
        try:
            with interface.inside(iap.namespace):
                socket.if_nametoindex(iap.interface)
        except OSError as error:
            if error.errno == errno.EPERM:
                raise ConfigurationError(f"{iap.name}: to look into namespace {iap.namespace} needs root") from error
            raise ConfigurationError(f"{iap.name}: there is no interface {where}; ip link shows them") from error
    return ", ".join(f"{iap.name} on {iap.interface} ({iap.side})" for iap in site.iaps)


def _points(site: config.Site) -> str:
    """Third parties': our certificate, and who issues theirs. The pins stand in the configuration."""
    if not site.interception_points:
        return "none"
    folder = site.delivery_dir
    names = interception_point.CERTIFICATE, interception_point.KEY, interception_point.AUTHORITIES
    tls.context(ssl.Purpose.CLIENT_AUTH, *(folder / name for name in names))
    _valid(folder / names[0])
    return ", ".join(f"{point.name} on {point.listen} port {point.port}" for point in site.interception_points)


def _vault(site: config.Site) -> str:
    """How it is opened; that it can be is what `mediation vault check` asks, with the passphrase or token."""
    wrapped = wrapping.read(site.keys_dir)
    return f"opened by {type(wrapped.wrap).__name__.lower()}"


def _delivery(site: config.Site) -> str:
    """What the mediator shows to the agencies, and who issues theirs; without them it does not start (SEC-28)."""
    names = mediator.CERTIFICATE, mediator.KEY, mediator.AUTHORITIES
    if os.access(site.delivery_dir, os.X_OK) and (
        missing := [name for name in names if not (site.delivery_dir / name).exists()]
    ):
        raise ConfigurationError(
            f"delivery/ lacks {', '.join(missing)}: agreed with each agency (OPERATING.md, step 6)"
        )
    tls.context(ssl.Purpose.SERVER_AUTH, *(site.delivery_dir / name for name in names))
    until = _valid(site.delivery_dir / mediator.CERTIFICATE)
    return f"{mediator.CERTIFICATE} valid until {until:%Y-%m-%d}"


def _valid(path: Path) -> datetime.datetime:
    certificate = x509.load_pem_x509_certificate(path.read_bytes())
    if not certificate.not_valid_before_utc <= datetime.datetime.now(datetime.UTC) < certificate.not_valid_after_utc:
        raise ConfigurationError(f"delivery/{path.name}: not valid now")
    return certificate.not_valid_after_utc


def _egress(site: config.Site) -> str:
    if not site.filters_egress:
        return "not enforced: the mediator may reach any address" if not site.lab else "not enforced (LAB)"
    if shutil.which("nft", path=egress.PATH) is None:
        raise ConfigurationError("no nft (Debian package nftables)")
    users = {name: getattr(site, name).user for name in ("access", "delivery", "egress")}
    for name, user in users.items():
        try:
            pwd.getpwnam(user)
        except KeyError:
            raise ConfigurationError(f"{name}.user: no user {user}") from None
    if users["delivery"] in {users["access"], users["egress"], "nobody"}:
        return f"of {users['delivery']}, who is not the delivery function's alone: [delivery] user"
    return f"of {users['delivery']}"


def _spool(site: config.Site) -> str:
    if not os.access(site.spool_dir, os.W_OK):
        raise ConfigurationError("spool/ is not writable")
    free = os.statvfs(site.spool_dir)
    mebibytes = free.f_bavail * free.f_frsize >> 20
    if mebibytes < site.delivery.spool_mib:
        raise ConfigurationError(f"spool/ has {mebibytes} MiB free; delivery.spool_mib asks for more")
    return f"{mebibytes} MiB free"


def _denied(error: BaseException) -> bool:
    return isinstance(error, PermissionError) or isinstance(error.__cause__, PermissionError)


CHECKS: tuple[tuple[str, Callable[[config.Site], str]], ...] = (
    ("roster", _roster),
    ("ledger", _ledger),
    ("clock", _clock),
    ("privileges", _privileges),
    ("kernel filter", _filter),
    ("interfaces", _interfaces),
    ("X2 from others", _points),
    ("vault", _vault),
    ("delivery", _delivery),
    ("egress filter", _egress),
    ("spool", _spool),
)


@click.command()
@site_option
def command(folder: Path) -> None:
    """Checks a host before it serves, as a dry run: no tap is opened, no case read. Exit status 1 when a check failed.

    \b
    mediation preflight --site DIR
    """
    loaded = config.load(folder)
    click.echo(f"ok      configuration    {loaded.name}{' (LAB)' if loaded.lab else ''}")
    failed = []
    for name, check in CHECKS:
        try:
            click.echo(f"ok      {name:<16} {check(loaded)}")
        except (MediationError, OSError) as error:
            hint = ": run it as root" if _denied(error) and os.geteuid() != 0 else ""
            click.echo(f"FAILED  {name:<16} {error}{hint}")
            failed.append(name)
    if failed:
        raise MediationError(f"preflight: failed: {', '.join(failed)}")
