"""One RFC 3161 time stamp, checked without the daemon: what was stamped, when, and by whose certificate.

Answers for the whole chain from an authority that the auditor believes to the octets that were stamped: TimeStampResp
granted, SignedData over TSTInfo (RFC 5652 5.4, 5.6), one signer, whose certificate is named by its hash (RFC 5035), is
for time stamping and nothing else (RFC 3161 2.3), was valid at the time of the stamp, and is the believed certificate
or issued below it. Raises Bad with the reason.
"""

from __future__ import annotations

import datetime
import hashlib
from collections.abc import Sequence

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID

from mediation.audit import der
from mediation.audit.der import INTEGER, OCTETS, SEQUENCE, SET, TIME, Element
from mediation.audit.tokens import Bad

SIGNED_DATA, TST_INFO = "1.2.840.113549.1.7.2", "1.2.840.113549.1.9.16.1.4"
CONTENT_TYPE, MESSAGE_DIGEST = "1.2.840.113549.1.9.3", "1.2.840.113549.1.9.4"
SIGNING_CERTIFICATE, SIGNING_CERTIFICATE_V2 = "1.2.840.113549.1.9.16.2.12", "1.2.840.113549.1.9.16.2.47"
SHA256 = "2.16.840.1.101.3.4.2.1"
HASHES: dict[str, hashes.HashAlgorithm] = {
    SHA256: hashes.SHA256(), "2.16.840.1.101.3.4.2.2": hashes.SHA384(), "2.16.840.1.101.3.4.2.3": hashes.SHA512(),
}  # fmt: skip
SHA1_NAME = "sha1"  # of a certificate in the first form of its naming (RFC 2634 5.4); its signature does not rest on it
ECDSA = {"1.2.840.10045.4.3.2": hashes.SHA256(), "1.2.840.10045.4.3.3": hashes.SHA384(),
         "1.2.840.10045.4.3.4": hashes.SHA512()}  # fmt: skip
RSA = {"1.2.840.113549.1.1.11": hashes.SHA256(), "1.2.840.113549.1.1.12": hashes.SHA384(),
       "1.2.840.113549.1.1.13": hashes.SHA512()}  # fmt: skip
RSA_PLAIN = "1.2.840.113549.1.1.1"  # the hash is then the signer's digest algorithm
GRANTED = (0, 1)  # granted, granted with modifications (RFC 3161 2.4.2)
UNREADABLE = (
    IndexError, ValueError, UnsupportedAlgorithm, x509.InvalidVersion, x509.DuplicateExtension,
    x509.UnsupportedGeneralNameType,
)  # fmt: skip
MAX_OCTETS = 65_536
MAX_CERTIFICATES = 16
MAX_DEPTH = 4  # certificates between the authority's and the believed one


def verify(token: bytes, digest: bytes, believed: Sequence[x509.Certificate]) -> int:
    """When what has this SHA-256 was stamped, in seconds since 1970. Raises Bad."""
    if len(token) > MAX_OCTETS:
        raise Bad("a time stamp that is too long")
    try:
        return _verify(token, digest, believed)
    except UNREADABLE:
        raise Bad("a time stamp, or a certificate in it, that is not readable") from None


def _verify(token: bytes, digest: bytes, believed: Sequence[x509.Certificate]) -> int:
    content, certificates, signer = _taken_apart(token)
    info = der.whole(content).of(SEQUENCE).parts()
    if len(info) < 5 or info[0].number() != 1:
        raise Bad("a time stamp of another version")
    imprint = info[2].of(SEQUENCE).parts()
    if len(imprint) != 2 or _algorithm(imprint[0]) != SHA256 or imprint[1].of(OCTETS).body != digest:
        raise Bad("a time stamp of something else")
    made_s = info[4].of(TIME).time_s()
    certificate = _signed(content, certificates, signer)
    _chain(certificate, certificates, believed, made_s)
    return made_s


def _taken_apart(token: bytes) -> tuple[bytes, list[x509.Certificate], list[Element]]:
    """TSTInfo, the certificates that came with it, and the one SignerInfo's parts."""
    response = der.whole(token).of(SEQUENCE).parts()
    if len(response) != 2 or response[0].of(SEQUENCE).parts()[:1] == []:
        raise Bad("a time stamp that was not granted")
    if response[0].parts()[0].number() not in GRANTED:
        raise Bad("a time stamp that was not granted")
    outer = response[1].of(SEQUENCE).parts()
    if len(outer) != 2 or outer[0].oid() != SIGNED_DATA:
        raise Bad("a time stamp that is not signed data")
    data = der.whole(outer[1].of(0xA0).body).of(SEQUENCE).parts()
    if len(data) < 4:
        raise Bad("signed data that is cut short")
    inner = data[2].of(SEQUENCE).parts()
    if len(inner) != 2 or inner[0].oid() != TST_INFO:
        raise Bad("signed data of something else")
    content = der.whole(inner[1].of(0xA0).body).of(OCTETS).body
    certificates: list[x509.Certificate] = []
    for each in data[3:-1]:
        if each.tag == 0xA0:
            for one in each.parts()[: MAX_CERTIFICATES + 1]:
                certificates.append(_certificate(one))
    signers = data[-1].of(SET).parts()
    if len(signers) != 1 or len(certificates) > MAX_CERTIFICATES:
        raise Bad("a time stamp with more or fewer than one signer, or too many certificates")
    return content, certificates, signers[0].of(SEQUENCE).parts()


def _certificate(element: Element) -> x509.Certificate:
    try:
        return x509.load_der_x509_certificate(element.octets)
    except ValueError:
        raise Bad("a certificate in a time stamp is not readable") from None


def _algorithm(element: Element) -> str:
    return element.of(SEQUENCE).parts()[0].oid() if element.of(SEQUENCE).body else ""


def _signed(content: bytes, certificates: Sequence[x509.Certificate], signer: list[Element]) -> x509.Certificate:
    """The certificate whose key signed these very octets."""
    if len(signer) < 6 or signer[0].of(INTEGER).number() not in (1, 3):
        raise Bad("a signer of another form")
    hashed, attributes = _algorithm(signer[2]), signer[3].of(0xA0)
    if hashed not in HASHES:
        raise Bad("a signer with another hash")
    said = _attributes(attributes)
    content_type, digest = said.get(CONTENT_TYPE), said.get(MESSAGE_DIGEST)
    if content_type is None or content_type.oid() != TST_INFO:
        raise Bad("a signer of something else")
    if digest is None or digest.of(OCTETS).body != hashlib.new(HASHES[hashed].name, content).digest():
        raise Bad("the time stamp is not what its signer signed")
    certificate = next((each for each in certificates if _named(said, each)), None)
    if certificate is None:
        raise Bad("the signer's certificate did not come with the time stamp")
    # What is signed is the SET OF itself, not the implicit tag that it travels under (RFC 5652 5.4).
    _check(certificate, bytes([SET]) + attributes.octets[1:], _algorithm(signer[4]), hashed, signer[5].of(OCTETS).body)
    return certificate


def _attributes(element: Element) -> dict[str, Element]:
    """The one value of each signed attribute."""
    found: dict[str, Element] = {}
    for each in element.parts():
        parts = each.of(SEQUENCE).parts()
        values = parts[1].of(SET).parts() if len(parts) == 2 else []
        if len(values) != 1 or parts[0].oid() in found:
            raise Bad("a signed attribute twice, or without one value")
        found[parts[0].oid()] = values[0]
    return found


def _named(said: dict[str, Element], certificate: x509.Certificate) -> bool:
    """Whether the signer's attributes name this certificate (RFC 5816 2.2.1)."""
    octets = certificate.public_bytes(Encoding.DER)
    for attribute, hashed in ((SIGNING_CERTIFICATE_V2, "sha256"), (SIGNING_CERTIFICATE, SHA1_NAME)):
        value = said.get(attribute)
        if value is None:
            continue
        name = value.of(SEQUENCE).parts()[0].of(SEQUENCE).parts()[0].of(SEQUENCE).parts()
        if name[0].tag != SEQUENCE:
            return name[0].of(OCTETS).body == hashlib.new(hashed, octets).digest()
        algorithm = HASHES.get(_algorithm(name[0]))
        if algorithm is None or len(name) < 2:
            raise Bad("a certificate named by another hash")
        return name[1].of(OCTETS).body == hashlib.new(algorithm.name, octets).digest()
    raise Bad("a time stamp that does not name its signer's certificate")


def _check(certificate: x509.Certificate, octets: bytes, algorithm: str, hashed: str, signature: bytes) -> None:
    try:
        key = certificate.public_key()
        if isinstance(key, ec.EllipticCurvePublicKey) and algorithm in ECDSA:
            key.verify(signature, octets, ec.ECDSA(ECDSA[algorithm]))
        elif isinstance(key, rsa.RSAPublicKey) and (algorithm in RSA or algorithm == RSA_PLAIN):
            key.verify(signature, octets, padding.PKCS1v15(), RSA.get(algorithm, HASHES[hashed]))
        else:
            raise Bad("a signature algorithm that this tool does not know")
    except InvalidSignature:
        raise Bad("the signature of the time stamp is not of these octets") from None
    except (ValueError, UnsupportedAlgorithm):
        raise Bad("the key of the time stamp's signer is none") from None


def _chain(
    certificate: x509.Certificate, others: Sequence[x509.Certificate], believed: Sequence[x509.Certificate], made_s: int
) -> None:  # fmt: skip
    """That the signer's certificate is for time stamping, and leads to a believed one; all valid at that time."""
    try:
        usage = certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage)
    except (x509.ExtensionNotFound, ValueError):
        raise Bad("the signer's certificate is not for time stamping") from None
    if not usage.critical or list(usage.value) != [ExtendedKeyUsageOID.TIME_STAMPING]:
        raise Bad("the signer's certificate is not for time stamping alone")
    at, current = datetime.datetime.fromtimestamp(made_s, datetime.UTC), certificate
    for _ in range(MAX_DEPTH):
        if not current.not_valid_before_utc <= at <= current.not_valid_after_utc:
            raise Bad("a certificate was not valid at the time of the stamp")
        if current in believed:
            return
        above = next((each for each in (*believed, *others) if each != current and _issued(current, each)), None)
        if above is None:
            break
        current = above
    raise Bad("its authority is none that is believed")


def _issued(certificate: x509.Certificate, by: x509.Certificate) -> bool:
    try:
        authority = by.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
        certificate.verify_directly_issued_by(by)
    except (x509.ExtensionNotFound, InvalidSignature, ValueError, TypeError, UnsupportedAlgorithm):
        return False
    return authority
