"""Time stamps that courts know (RFC 3161): a checkpoint a day, and single documents, by the configured authorities.

A witness says when it saw a head; a time stamp says so in a form whose keys are certified and audited by others. What
is stamped is the SHA-256 of the exact octets: an authority learns nothing else. Tokens lie below the site:

    stamps/YYYY-MM-DD/checkpoint      the note that was stamped on that day (UTC), cosignatures and all
    stamps/YYYY-MM-DD/<authority>.tsr the answer of one authority (DER TimeStampResp)
    stamps/documents/<sha256>/<authority>.tsr   of a document that lies elsewhere

A token is kept only if it verifies against `keys/timestamp-authorities.pem`, holds our hash and our nonce, and was made
at the time of asking (RFC 3161 2.4.2). An authority that is away is asked again later; nothing waits for it. Network
connections go to the configured authorities, and nowhere else.
"""

from __future__ import annotations

import datetime
import hashlib
from collections import Counter
from collections.abc import Callable, Collection, Sequence
from contextlib import suppress
from pathlib import Path

import msgspec
import rfc3161_client
import trio
from cryptography import x509

from mediation.administration.ledger.http import Address, Client, address_of, tls_context
from mediation.core.errors import ConfigurationError, RemoteProtocolError
from mediation.core.ledger import entry
from mediation.core.units import NS, US
from mediation.runtime import durable, log
from mediation.runtime.config import Site

FOLDER, CHECKPOINT, DOCUMENTS = "stamps", "checkpoint", "documents"
ROOTS = "timestamp-authorities.pem"  # below keys/: whose stamps are believed
TLS_ROOTS = "timestamp-ca.pem"  # who issues the certificates of their servers; without the file, the system's
SHA256 = x509.ObjectIdentifier("2.16.840.1.101.3.4.2.1")
QUERY = "application/timestamp-query"  # RFC 3161 3.4
ASK_S = 20.0
RETRY_S = 600
LOOK_S = 60.0  # how often it is seen that a day has begun, or a pause ended
MAX_TOKEN_OCTETS = 65_536  # with its certificates; those in use have under 10 kB
MAX_ROOTS_OCTETS = 1 << 20
MAX_AUTHORITIES = 8
# Between our clock and the authority's: more than any clock that may arm a tap is wrong by, and less than a replay.
MAX_SKEW_S = 300


logger = log.get("administrator")


class Stamp(msgspec.Struct, frozen=True, kw_only=True):
    """What one authority did. `record` is for the ledger; None with the reason in `failure` when there is no token."""

    authority: str
    record: entry.Stamped | None
    time_s: int = 0
    failure: str = ""


def open_stamps(site: Site) -> Stamps | None:
    """As the site is configured; None when it names no authority. Raises ConfigurationError."""
    if not site.ledger.timestamp_authorities:
        return None
    tls = site.keys_dir / TLS_ROOTS
    roots = read_roots(site.keys_dir / ROOTS)
    return Stamps(site.path, site.ledger.timestamp_authorities, roots, tls if tls.exists() else None)


def read_roots(path: Path) -> tuple[x509.Certificate, ...]:
    """The certificates that time stamps must come from. Raises ConfigurationError."""
    try:
        with path.open("rb") as file:
            octets = file.read(MAX_ROOTS_OCTETS + 1)
        if len(octets) > MAX_ROOTS_OCTETS:
            raise ConfigurationError(f"{path.name}: too large")
        return tuple(x509.load_pem_x509_certificates(octets))
    except OSError as error:
        raise ConfigurationError(f"{path.name}: {error.strerror}") from error
    except ValueError as error:
        raise ConfigurationError(f"{path.name}: not certificates") from error


def verify(token: bytes, subject: bytes, roots: Sequence[x509.Certificate], *, nonce: int | None = None) -> int:
    """When `subject` was stamped, in seconds since 1970, by an authority below `roots`; its certificate is judged at
    that time. Offline. Raises RemoteProtocolError."""
    return verify_digest(token, hashlib.sha256(subject).digest(), roots, nonce=nonce)


def verify_digest(token: bytes, digest: bytes, roots: Sequence[x509.Certificate], *, nonce: int | None = None) -> int:
    """The same, of what has this SHA-256. Raises RemoteProtocolError."""
    if len(token) > MAX_TOKEN_OCTETS:
        raise RemoteProtocolError("time stamp: too long")
    try:
        response = rfc3161_client.decode_timestamp_response(token)
        if response.status != rfc3161_client.tsp.PKIStatus.GRANTED:
            raise RemoteProtocolError(f"time stamp: not granted, status {response.status}")
        if response.tst_info.message_imprint.hash_algorithm != SHA256:
            raise RemoteProtocolError("time stamp: of another hash")
        rfc3161_client.VerifierBuilder(roots=list(roots), nonce=nonce).build().verify(response, digest)
        made: datetime.datetime = response.tst_info.gen_time
    except (rfc3161_client.VerificationError, ValueError, TypeError, AttributeError) as error:
        raise RemoteProtocolError(f"time stamp: {error}") from error
    return int(made.replace(tzinfo=made.tzinfo or datetime.UTC).timestamp())


class Stamps:
    """The time stamps of one site. `counters` count tokens kept and each way of getting none."""

    def __init__(
        self, site_dir: Path, authorities: Sequence[str], roots: Sequence[x509.Certificate],
        tls_authorities: Path | None = None,
    ) -> None:  # fmt: skip
        """`authorities` are URLs; `tls_authorities` a PEM file for those with TLS, without it the system's are
        believed. Raises ConfigurationError."""
        if len(authorities) > MAX_AUTHORITIES or len(set(authorities)) != len(authorities):
            raise ConfigurationError(f"timestamp_authorities: at most {MAX_AUTHORITIES}, each once")
        if authorities and not roots:
            raise ConfigurationError(f"timestamp_authorities: keys/{ROOTS} says nobody whom to believe")
        self._folder = site_dir / FOLDER
        self._addresses: dict[str, Address] = {url: address_of(url) for url in authorities}
        self._roots = tuple(roots)
        self._tls = tls_context(tls_authorities) if any(each.tls for each in self._addresses.values()) else None
        self._not_before_s: dict[str, int] = {}
        self.counters: Counter[str] = Counter()

    @property
    def endpoints(self) -> tuple[tuple[str, int], ...]:
        """Host and port of each authority: all that may be let out for them."""
        return tuple((each.host, each.port) for each in self._addresses.values())

    def due(self, now_s: int) -> tuple[str, ...]:
        """Authorities whose stamp of the day is missing and that may be asked (again) at `now_s`."""
        folder = self._folder / _day(now_s)
        return tuple(url for url in self.askable(now_s) if not (folder / _file(url)).exists())

    def askable(self, now_s: int) -> tuple[str, ...]:
        """Authorities that did not fail within the last RETRY_S."""
        return tuple(url for url in self._addresses if self._not_before_s.get(url, 0) <= now_s)

    def left_over(self, entered: Callable[[str], Collection[str]], now_s: int) -> list[entry.Stamped]:
        """Tokens that were kept and not entered, because the process ended in between: to be entered now. `entered`
        tells, by the SHA-256 of what was stamped, whose stamps the ledger has. What is no token of what it lies beside
        is removed, so that it is asked for again."""
        urls = {_file(url): url for url in self._addresses}
        found: list[entry.Stamped] = []
        for path in sorted(self._folder.rglob("*.tsr")):
            url = urls.get(path.name)
            try:
                digest = _digest(path.parent)
                if url is None or url in entered(digest.hex()):
                    continue
                with path.open("rb") as file:
                    token = file.read(MAX_TOKEN_OCTETS + 1)
                verify_digest(token, digest, self._roots)
            except (OSError, ValueError, RemoteProtocolError):
                self.counters["stamps_unusable"] += 1
                with suppress(OSError):
                    path.unlink(missing_ok=True)
                continue
            found.append(
                entry.Stamped(
                    time_us=now_s * US, subject_sha256=digest.hex(), authority=url,
                    token_sha256=hashlib.sha256(token).hexdigest(),
                )
            )  # fmt: skip
        return found

    async def stamp_day(self, checkpoint: str, now_s: int) -> tuple[Stamp, ...]:
        """Has the day's checkpoint stamped by whoever is due; it is the one of the day's first try, so that all
        authorities stamp the same. What is returned is to be entered in the ledger. Raises OSError."""
        due = self.due(now_s)
        if not due:
            return ()
        folder = self._folder / _day(now_s)
        subject = checkpoint.encode()
        if (folder / CHECKPOINT).exists():
            subject = (folder / CHECKPOINT).read_bytes()
        else:
            await trio.to_thread.run_sync(durable.make_folder, folder)
            await trio.to_thread.run_sync(durable.replace, folder / CHECKPOINT, subject)
        return await self._stamp(subject, folder, due, now_s)

    async def stamp_document(self, document: bytes, now_s: int) -> tuple[Stamp, ...]:
        """Has one document stamped by all authorities that may be asked; only its hash is kept here. Raises
        OSError."""
        folder = self._folder / DOCUMENTS / hashlib.sha256(document).hexdigest()
        await trio.to_thread.run_sync(durable.make_folder, folder)
        left = tuple(url for url in self.askable(now_s) if not (folder / _file(url)).exists())
        return await self._stamp(document, folder, left, now_s)

    async def run(
        self, latest: Callable[[], str], enter: Callable[[entry.Record], None], now_ns: Callable[[], int]
    ) -> None:
        """For ever: the stamps of each day. `latest` gives the newest witnessed head's note ("" before the first),
        `enter` makes an entry in the ledger, `now_ns` is the authority clock."""
        while True:
            try:
                done = await self.stamp_day(text, now_ns() // NS) if (text := latest()) else ()
            except OSError as error:
                self.counters["stamps_not_written"] += 1
                logger.error("alarm_stamp_not_written", error=error.strerror)  # noqa: TRY400
                done = ()
            for each in done:
                if each.record is not None:
                    enter(each.record)
                    logger.info("stamped", authority=each.authority, at_s=each.time_s)
                else:
                    logger.warning("not_stamped", authority=each.authority, why=each.failure)
            await trio.sleep(LOOK_S)

    async def _stamp(self, subject: bytes, folder: Path, urls: Sequence[str], now_s: int) -> tuple[Stamp, ...]:
        done: dict[str, Stamp] = {}
        async with trio.open_nursery() as nursery:

            async def one(url: str) -> None:
                done[url] = await self._one(url, subject, folder, now_s)

            for url in urls:
                nursery.start_soon(one, url)
        return tuple(done[url] for url in urls)

    async def _one(self, url: str, subject: bytes, folder: Path, now_s: int) -> Stamp:
        """One authority's token, kept; or why there is none."""
        request = rfc3161_client.TimestampRequestBuilder(
            data=subject, hash_algorithm=rfc3161_client.HashAlgorithm.SHA256
        ).build()
        failure = f"no answer within {ASK_S:g} s"
        # A token that came too late for ASK_S, or not at all, leaves the failure as it is.
        with trio.move_on_after(ASK_S):
            try:
                token = await self._ask(self._addresses[url], request.as_bytes())
                time_s = verify(token, subject, self._roots, nonce=request.nonce)
                _near(time_s, now_s)
                with trio.CancelScope(shield=True):
                    await trio.to_thread.run_sync(durable.replace, folder / _file(url), token)
                self.counters["stamps_kept"] += 1
                self._not_before_s.pop(url, None)
                record = entry.Stamped(
                    time_us=now_s * US, subject_sha256=hashlib.sha256(subject).hexdigest(), authority=url,
                    token_sha256=hashlib.sha256(token).hexdigest(),
                )  # fmt: skip
                return Stamp(authority=url, record=record, time_s=time_s)
            except RemoteProtocolError as error:
                failure = str(error)
                self.counters["stamps_refused"] += 1
            except (OSError, trio.BrokenResourceError) as error:
                failure = type(error).__name__
                self.counters["stamps_away"] += 1
        self._not_before_s[url] = now_s + RETRY_S
        return Stamp(authority=url, record=None, failure=failure)

    async def _ask(self, address: Address, request: bytes) -> bytes:
        tls = self._tls if address.tls else None
        client = Client(address.host, address.port, address.authority, tls, MAX_TOKEN_OCTETS)
        try:
            status, token = await client.request("POST", address.path or "/", request, QUERY)
        finally:
            await client.close()
        if status != 200:
            raise RemoteProtocolError(f"time stamp: status {status}")
        return token


def _near(time_s: int, now_s: int) -> None:
    if abs(time_s - now_s) > MAX_SKEW_S:
        raise RemoteProtocolError(f"time stamp: {time_s - now_s} s from this site's clock")


def _day(now_s: int) -> str:
    return datetime.datetime.fromtimestamp(now_s, datetime.UTC).strftime("%Y-%m-%d")


def _digest(folder: Path) -> bytes:
    """The SHA-256 of what the tokens of a folder stamp. Raises OSError or ValueError."""
    if folder.parent.name == DOCUMENTS:
        return bytes.fromhex(folder.name)
    return hashlib.sha256((folder / CHECKPOINT).read_bytes()).digest()


def _file(url: str) -> str:
    """A name for an authority that is a file's name."""
    return f"{hashlib.sha256(url.encode()).hexdigest()[:16]}.tsr"
