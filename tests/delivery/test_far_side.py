"""Who is on the other end of a link: only the one that the order names, by mutual TLS 1.3, or nobody."""

from __future__ import annotations

import contextlib
import datetime
import ssl
from pathlib import Path

import pytest
import trio
import trustme

from mediation.core.errors import ConfigurationError
from mediation.delivery.sender import Link, LinkState
from mediation.delivery.spool import Spool
from tests.delivery.links import Collector, free_port, link_to, running, send, until
from tests.delivery.support import Certificates, message


async def refusal(one: Link, collector: Collector, port: int) -> None:
    """The link tries, gives nothing away, and says so."""
    await send(one, message(1))
    async with running(one), collector.running(port):
        await until(lambda: one.counters.refused_certificates + one.counters.tls_failures >= 2)
        assert one.state is LinkState.REFUSED
    assert collector.receiver.counters.connections == 0
    assert collector.messages == []
    assert one.spool.queued == 1
    assert one.counters.connections == 0


async def test_another_certificate_of_the_same_authority_is_refused(
    tmp_path: Path, spool: Spool, certificates: Certificates
) -> None:
    certificates.issue("impostor")
    port = free_port()
    one = link_to(port, certificates.agency_sha256, spool, certificates.client())
    await refusal(one, Collector(tmp_path / "cf", certificates.server("impostor")), port)
    assert one.counters.refused_certificates >= 2


async def test_another_authority_is_refused_even_with_the_right_pin(
    tmp_path: Path, spool: Spool, certificates: Certificates
) -> None:
    pin = certificates.issue("stranger", trustme.CA())
    port = free_port()
    one = link_to(port, pin, spool, certificates.client())
    await refusal(one, Collector(tmp_path / "cf", certificates.server("stranger")), port)
    assert one.counters.tls_failures >= 2


async def test_an_expired_certificate_is_refused(tmp_path: Path, spool: Spool, certificates: Certificates) -> None:
    past = datetime.datetime(2020, 1, 1, tzinfo=datetime.UTC)
    pin = certificates.issue("late", not_before=past, not_after=past + datetime.timedelta(days=1))
    port = free_port()
    one = link_to(port, pin, spool, certificates.client())
    await refusal(one, Collector(tmp_path / "cf", certificates.server("late")), port)
    assert one.counters.tls_failures >= 2


async def test_tls_1_2_is_refused(tmp_path: Path, spool: Spool, certificates: Certificates) -> None:
    old = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    old.maximum_version = ssl.TLSVersion.TLSv1_2
    old.load_cert_chain(certificates.folder / "agency.pem", certificates.folder / "agency.key")
    port = free_port()
    one = link_to(port, certificates.agency_sha256, spool, certificates.client())
    await refusal(one, Collector(tmp_path / "cf", old), port)
    assert one.counters.tls_failures >= 2


async def test_a_plain_tcp_far_side_gets_no_message(spool: Spool, certificates: Certificates) -> None:
    heard = bytearray()

    async def listen(stream: trio.SocketStream) -> None:
        with contextlib.suppress(trio.BrokenResourceError):  # the link does not wait for more of this
            async for octets in stream:
                heard.extend(octets)
                await stream.send_all(b"+OK ready\r\n")

    async with trio.open_nursery() as nursery:
        listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
        nursery.start_soon(trio.serve_listeners, listen, listeners)
        port = listeners[0].socket.getsockname()[1]
        one = link_to(port, certificates.agency_sha256, spool, certificates.client())
        await send(one, message(1))
        async with running(one):
            await until(lambda: one.counters.tls_failures >= 1)
        nursery.cancel_scope.cancel()
    assert heard[0] == 0x16  # a TLS handshake record, and
    assert message(1).octets not in bytes(heard)


async def test_a_receiver_refuses_a_mediator_without_a_certificate_it_knows(
    tmp_path: Path, spool: Spool, certificates: Certificates
) -> None:
    certificates.issue("stranger", trustme.CA())
    collector = Collector(tmp_path / "cf", certificates.server())
    port = free_port()
    await refusal(link_to(port, certificates.agency_sha256, spool, certificates.client("stranger")), collector, port)
    assert collector.receiver.counters.tls_failures >= 1


@pytest.mark.parametrize("missing", ["mediator.pem", "mediator.key", "ca.pem"])
def test_a_missing_file_of_the_identity_refuses_to_start(certificates: Certificates, missing: str) -> None:
    (certificates.folder / missing).unlink()
    with pytest.raises(ConfigurationError):
        certificates.client()


def test_an_unreadable_key_refuses_to_start(certificates: Certificates) -> None:
    (certificates.folder / "mediator.key").write_text("not a key")
    with pytest.raises(ConfigurationError, match=r"mediator.pem|mediator.key"):
        certificates.client()
