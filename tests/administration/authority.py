"""A real time-stamping authority: `openssl ts` behind a small HTTP server on loopback.

Its tokens hold its own certificate alone: openssl 3.0 writes several in no DER order, which the library refuses.
"""

from __future__ import annotations

import datetime
import subprocess
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import h11
import trio
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

CONFIGURATION = """\
[tsa]
default_tsa = one
[one]
serial = {folder}/serial
signer_cert = {folder}/tsa.pem
signer_key = {folder}/tsa.key
signer_digest = sha256
default_policy = 1.2.3.4.1
digests = sha256
accuracy = secs:1
ess_cert_id_chain = no
ess_cert_id_alg = sha256
"""


def make(folder: Path) -> x509.Certificate:
    """A root, and below it the authority's certificate (RFC 3161 2.3: one critical extended key usage). The root."""
    folder.mkdir()
    now = datetime.datetime.now(datetime.UTC)

    def certificate(name: str, key: ec.EllipticCurvePrivateKey, issuer: str, signer: ec.EllipticCurvePrivateKey,
                    *, root: bool) -> x509.Certificate:  # fmt: skip
        def named(text: str) -> x509.Name:
            return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])

        builder = (
            x509.CertificateBuilder().subject_name(named(name)).issuer_name(named(issuer)).public_key(key.public_key())
            .serial_number(x509.random_serial_number()).not_valid_before(now - datetime.timedelta(days=1))
            .not_valid_after(now + datetime.timedelta(days=30))
            .add_extension(x509.BasicConstraints(ca=root, path_length=None), critical=True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(signer.public_key()), critical=False)
        )  # fmt: skip
        if not root:
            builder = builder.add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.TIME_STAMPING]), critical=True)
        return builder.sign(signer, hashes.SHA256())

    root_key, key = (ec.generate_private_key(ec.SECP256R1()) for _ in range(2))
    root = certificate("root", root_key, "root", root_key, root=True)
    own = certificate("authority", key, "root", root_key, root=False)
    (folder / "ca.pem").write_bytes(root.public_bytes(Encoding.PEM))
    (folder / "tsa.pem").write_bytes(own.public_bytes(Encoding.PEM))
    (folder / "tsa.key").write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    (folder / "serial").write_text("01\n")
    (folder / "tsa.cnf").write_text(CONFIGURATION.format(folder=folder))
    return root


def reply(folder: Path) -> Callable[[bytes], bytes]:
    """What `openssl ts` answers to a request."""

    def answer(query: bytes) -> bytes:
        (folder / "query").write_bytes(query)
        subprocess.run(
            ["openssl", "ts", "-reply", "-config", folder / "tsa.cnf", "-queryfile", folder / "query", "-out",
             folder / "reply"], check=True, capture_output=True,
        )  # fmt: skip
        return (folder / "reply").read_bytes()

    return answer


@asynccontextmanager
async def serving(answer: Callable[[bytes], bytes | None], status: int = 200) -> AsyncIterator[str]:
    """An HTTP server that answers each POST with `answer` (None: never); its URL."""

    async def serve(stream: trio.SocketStream) -> None:
        http = h11.Connection(h11.SERVER)
        body = bytearray()
        while not isinstance(event := http.next_event(), h11.EndOfMessage):
            if event is h11.NEED_DATA:
                http.receive_data(bytes(await stream.receive_some(65536)))
            elif isinstance(event, h11.Data):
                body += event.data
            elif isinstance(event, h11.Request):
                assert dict(event.headers)[b"content-type"] == b"application/timestamp-query"
            else:
                return
        said = await trio.to_thread.run_sync(answer, bytes(body))
        if said is None:
            await trio.sleep_forever()
            return
        headers = [("Content-Type", "application/timestamp-reply"), ("Content-Length", str(len(said)))]
        octets = http.send(h11.Response(status_code=status, headers=headers)) or b""
        await stream.send_all(octets + (http.send(h11.Data(data=said)) or b"") + (http.send(h11.EndOfMessage()) or b""))
        await stream.aclose()

    async with trio.open_nursery() as nursery:
        (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
        nursery.start_soon(trio.serve_listeners, serve, [listener])
        yield f"http://127.0.0.1:{listener.socket.getsockname()[1]}/tsr"
        nursery.cancel_scope.cancel()
