"""What only a lab site has: persons whose keys lie beside it, a certificate authority, and an agency to deliver to.

Everything in here is marked LAB; a real site refuses it (checks `lab-key`, `lab-token`). The certificates are for the
mutual TLS of the delivery link, between the mediator and the reference collection function, and of X2 and X3 from one
third party's point of interception, whose table for config.toml stands beside its key; for nothing else.
"""

from __future__ import annotations

import datetime
import hashlib
import ipaddress
import time
from pathlib import Path
from typing import Literal

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from mediation.administration.persons import roster
from mediation.core.authority.roster import ANY_AGENCY, FOUNDERS, AnyAction, Contact, Roster, line
from mediation.core.case import ContentDestination, Destination, Role
from mediation.core.errors import ConfigurationError
from mediation.runtime.config import Site
from mediation.signing.file import PersonKey, new_person, read_person, write_person, write_private

PERSONS = {
    Role.LEGAL: "lab-legal-reviewer",
    Role.CARRIER: "lab-carrier-authorizer",
    Role.OFFICER: "lab-officer",
    Role.AUDITOR: "lab-auditor",
}
AGENCY = "LAB-AGENCY"
APPOINTMENT = b"LAB letter of appointment: nobody was appointed"
DIRECTORY_NUMBER = "+12125550199"  # 555-0100 to 555-0199 are kept for fiction
DAYS = 730
POINT_TABLE = """\
# The lab's point of interception, whose certificate and key lie here. To be heard, it goes into config.toml.
[[interception_point]]
name = "lab-point"
listen = "127.0.0.1"
port = 41820
certificate_sha256 = "{pin}"
"""


def make(site: Site, origin: str) -> str:
    """Writes the lab's private keys and certificates; returns the founding line of its roster, approved by the lab's
    executives. Raises OSError."""
    site.lab_dir.mkdir(mode=0o700)
    now = int(time.time())
    document = hashlib.sha256(APPOINTMENT).hexdigest()
    executives = [new_person(Role.EXECUTIVE, f"lab-executive-{n}", now, lab=True) for n in range(1, FOUNDERS + 1)]
    persons = [new_person(role, person, now, lab=True) for role, person in PERSONS.items()]
    names = [f"executive-{n}" for n in range(1, FOUNDERS + 1)] + [str(role) for role in PERSONS]
    actions: list[AnyAction] = []
    for name, key in zip(names, [*executives, *persons], strict=True):
        write_person(site.lab_dir / f"{name}.json", key)
        member = roster.Member(name=f"LAB {name}", function=f"LAB {key.role}", key=key.ring_key())
        appointment = roster.appoint(
            member, key.role, key.not_before_s, key.not_after_s, document, senior=key is executives[0]
        )
        actions += [appointment, roster.enroll(key.ring_key())]
    actions.append(Contact(agency=ANY_AGENCY, number=DIRECTORY_NUMBER, from_s=now - 60))
    change = roster.draft(Roster(origin, lab=True), actions, now)
    _make_certificates(site)
    return line(roster.approve(change, key) for key in executives)


def person(site: Site, role: Role) -> PersonKey:
    """The lab's person of a role. Raises ConfigurationError on a real site."""
    if not site.lab:
        raise ConfigurationError("this is no lab site: it has no lab persons; give --key")
    return read_person(site.lab_dir / f"{role}.json")


def executives(site: Site) -> list[PersonKey]:
    """Those who found the lab, in order; the first is the senior officer. Raises ConfigurationError on a real site."""
    if not site.lab:
        raise ConfigurationError("this is no lab site: it has no lab executives")
    return [read_person(site.lab_dir / f"executive-{n}.json") for n in range(1, FOUNDERS + 1)]


def destination(site: Site, content: ContentDestination | None = None) -> Destination:
    """Where the lab's collection function takes delivery. Raises ConfigurationError."""
    if not site.lab:
        raise ConfigurationError("this is no lab site: it has no lab agency")
    try:
        certificate = x509.load_pem_x509_certificate((site.lab_dir / "agency" / "server.pem").read_bytes())
    except (OSError, ValueError):
        raise ConfigurationError("lab/agency/server.pem: not a certificate") from None
    return Destination(
        host=site.lab_agency.collector_host,
        port=site.lab_agency.collector_port,
        certificate_sha256=hashlib.sha256(certificate.public_bytes(Encoding.DER)).hexdigest(),
        content=content,
    )


def content_destination(
    site: Site, form: Literal["cc-apdu", "packetcable"], channels: Literal["combined", "separated"], maximum: int
) -> ContentDestination:
    """Where the lab's collection function takes content."""
    agency = site.lab_agency
    return ContentDestination(
        host=agency.collector_host, port=agency.content_port, form=form, channels=channels, maximum=maximum
    )


def _make_certificates(site: Site) -> None:
    agency, point = site.lab_dir / "agency", site.lab_dir / "point"
    agency.mkdir(mode=0o700)
    point.mkdir(mode=0o700)
    root_key = ec.generate_private_key(ec.SECP256R1())
    root_name = _name("LAB certificate authority")
    root = (
        _builder(root_name, root_name, root_key.public_key())
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_usage(signs_certificates=True), critical=True)
        .sign(root_key, hashes.SHA256())
    )

    identifier = x509.AuthorityKeyIdentifier.from_issuer_public_key(root_key.public_key())

    def issue(common_name: str, use: x509.ObjectIdentifier, *hosts: str) -> tuple[bytes, bytes]:
        key = ec.generate_private_key(ec.SECP256R1())
        alternatives: list[x509.GeneralName] = []
        for host in hosts:
            try:
                alternatives.append(x509.IPAddress(ipaddress.ip_address(host)))
            except ValueError:
                alternatives.append(x509.DNSName(host))
        builder = (
            _builder(_name(common_name), root_name, key.public_key())
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(_usage(signs_certificates=False), critical=True)
            .add_extension(x509.ExtendedKeyUsage([use]), critical=False)
            .add_extension(identifier, critical=False)
        )
        if alternatives:
            builder = builder.add_extension(x509.SubjectAlternativeName(alternatives), critical=False)
        certificate = builder.sign(root_key, hashes.SHA256())
        private = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        return certificate.public_bytes(Encoding.PEM), private

    hosts = dict.fromkeys((site.lab_agency.collector_host, "127.0.0.1", "::1", "localhost"))
    server, server_key = issue(f"LAB agency {AGENCY}", ExtendedKeyUsageOID.SERVER_AUTH, *hosts)
    client, client_key = issue("LAB mediator", ExtendedKeyUsageOID.CLIENT_AUTH)
    x2_server, x2_server_key = issue(
        "LAB mediator X2", ExtendedKeyUsageOID.SERVER_AUTH, "127.0.0.1", "::1", "localhost"
    )
    x2_client, x2_client_key = issue("LAB point of interception", ExtendedKeyUsageOID.CLIENT_AUTH)
    pin = hashlib.sha256(x509.load_pem_x509_certificate(x2_client).public_bytes(Encoding.DER)).hexdigest()
    authority = root.public_bytes(Encoding.PEM)
    files: dict[Path, bytes] = {
        agency / "server.pem": server,
        agency / "server.key": server_key,
        agency / "ca.pem": authority,
        site.delivery_dir / "client.pem": client,
        site.delivery_dir / "client.key": client_key,
        site.delivery_dir / "agency-ca.pem": authority,
        site.delivery_dir / "x2-server.pem": x2_server,
        site.delivery_dir / "x2-server.key": x2_server_key,
        site.delivery_dir / "x2-ca.pem": authority,
        point / "client.pem": x2_client,
        point / "client.key": x2_client_key,
        point / "ca.pem": authority,
        point / "interception_point.toml": POINT_TABLE.format(pin=pin).encode(),
    }
    for path, octets in files.items():
        write_private(path, octets.decode())


def _name(common_name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])


def _builder(subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePublicKey) -> x509.CertificateBuilder:
    now = datetime.datetime.now(datetime.UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=DAYS))
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
    )


def _usage(*, signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs_certificates, key_cert_sign=signs_certificates, crl_sign=signs_certificates,
        content_commitment=False, key_encipherment=False, data_encipherment=False, key_agreement=False,
        encipher_only=False, decipher_only=False,
    )  # fmt: skip
