"""RFC 3161 time stamps from real authorities, checked a second time by openssl; and from hostile ones."""

from __future__ import annotations

import contextlib
import hashlib
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest
import trio
from cryptography import x509
from hypothesis import given
from hypothesis import strategies as st

from mediation.administration import making
from mediation.administration.keys import LEDGER_KEY, ledger_files, read_ledger_key
from mediation.administration.ledger import stamp_check
from mediation.administration.ledger.stamps import (
    MAX_TOKEN_OCTETS,
    RETRY_S,
    ROOTS,
    Stamps,
    open_stamps,
    read_roots,
    verify,
)
from mediation.administration.order.orders import Orders
from mediation.core.errors import ConfigurationError, LedgerError, RemoteProtocolError
from mediation.core.ledger import entry
from mediation.runtime import config
from tests.administration import authority
from tests.core.cosigning import cosigned, ed25519, grown, head, signed

pytestmark = pytest.mark.skipif(shutil.which("openssl") is None, reason="needs openssl")
HEAD = cosigned(signed(grown(9)), [ed25519(1)])
DAY_S = 86_400


@pytest.fixture
def root(tmp_path: Path) -> x509.Certificate:
    return authority.make(tmp_path / "tsa")


def tokens(ledger: Path) -> list[Path]:
    return sorted(ledger.rglob("*.tsr"))


async def test_two_authorities_stamp_the_day(tmp_path: Path, root: x509.Certificate) -> None:
    other = authority.make(tmp_path / "second")
    now_s = int(time.time())
    async with (
        authority.serving(authority.reply(tmp_path / "tsa")) as one,
        authority.serving(authority.reply(tmp_path / "second")) as two,
    ):
        stamps = Stamps(tmp_path / "ledger", [one, two], [root, other])
        assert stamps.due(now_s) == (one, two)
        done = await stamps.stamp_day(HEAD, now_s)
        assert not [each.failure for each in done if each.failure]
        assert [each.authority for each in done] == [one, two]
        for each, path in zip(sorted(done, key=lambda each: each.record.token_sha256), sorted(  # type: ignore[union-attr]
            tokens(tmp_path / "ledger"), key=lambda path: hashlib.sha256(path.read_bytes()).hexdigest()
        ), strict=True):  # fmt: skip
            assert each.record is not None and not each.failure
            assert each.record.subject_sha256 == hashlib.sha256(HEAD.encode()).hexdigest()
            assert each.record.token_sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
            assert abs(each.time_s - now_s) < 300
            assert verify(path.read_bytes(), HEAD.encode(), [root, other]) == each.time_s
        assert stamps.due(now_s) == () and await stamps.stamp_day(HEAD, now_s) == ()
        assert Stamps(tmp_path / "ledger", [one, two], [root]).due(now_s) == ()  # another process knows it
        assert stamps.due(now_s + DAY_S) == (one, two)
        assert stamps.endpoints[0][0] == "127.0.0.1" and stamps.counters == {"stamps_kept": 2}
    subject = next((tmp_path / "ledger").rglob("checkpoint"))
    assert subject.read_text() == HEAD
    for path in tokens(tmp_path / "ledger"):  # an independent reader agrees with one of the two roots
        verdicts = [
            subprocess.run(["openssl", "ts", "-verify", "-data", subject, "-in", path, "-CAfile", ca / "ca.pem"],
                           capture_output=True, check=False).returncode
            for ca in (tmp_path / "tsa", tmp_path / "second")
        ]  # fmt: skip
        assert sorted(verdicts) == [0, 1]


async def test_a_document_is_stamped_by_its_hash(tmp_path: Path, root: x509.Certificate) -> None:
    async with authority.serving(authority.reply(tmp_path / "tsa")) as url:
        stamps = Stamps(tmp_path / "ledger", [url], [root])
        (done,) = await stamps.stamp_document(b"certification", int(time.time()))
        assert done.record is not None
        assert await stamps.stamp_document(b"certification", int(time.time())) == ()
    (kept,) = tokens(tmp_path / "ledger")
    verify(kept.read_bytes(), b"certification", [root])
    assert not any(b"certification" in path.read_bytes() for path in (tmp_path / "ledger").rglob("*") if path.is_file())


async def test_what_an_authority_must_not_say(tmp_path: Path, root: x509.Certificate) -> None:
    """Nothing of it is kept; the authority is asked again later, and the same checkpoint with it."""
    now_s = int(time.time())
    honest = authority.reply(tmp_path / "tsa")
    stranger = authority.make(tmp_path / "stranger")
    old = [b""]

    def replayed(query: bytes) -> bytes:
        old[0] = old[0] or honest(query)
        return old[0]

    hostile = {
        "nothing": lambda _: b"", "garbage": lambda _: b"\x30\x82\xff\xff" * 9, "long": lambda _: b"0" * 99_999,
        "cut": lambda query: honest(query)[:-20], "other": authority.reply(tmp_path / "stranger"),
        "changed": lambda query: honest(query)[:-1] + b"\0",
    }  # fmt: skip
    for name, answer in hostile.items():
        async with authority.serving(answer) as url:
            stamps = Stamps(tmp_path / name, [url], [root])
            (done,) = await stamps.stamp_day(HEAD, now_s)
            assert done.record is None and done.failure, name
            assert tokens(tmp_path / name) == [] and stamps.counters == {"stamps_refused": 1}
            assert stamps.due(now_s + RETRY_S - 1) == () and stamps.due(now_s + RETRY_S) == (url,)
    async with authority.serving(replayed) as url:
        stamps = Stamps(tmp_path / "replay", [url], [root, stranger])
        (first,) = await stamps.stamp_day(HEAD, now_s)
        (second,) = await stamps.stamp_document(HEAD.encode(), now_s)  # the same octets, so only the nonce is old
        assert first.record is not None and second.record is None and "Nonce" in second.failure
    async with authority.serving(honest, status=500) as url:
        (done,) = await Stamps(tmp_path / "status", [url], [root]).stamp_day(HEAD, now_s)
        assert done.failure == "time stamp: status 500"
    async with authority.serving(honest) as url:
        (done,) = await Stamps(tmp_path / "skew", [url], [root]).stamp_day(HEAD, now_s + 3_600)
        assert "from this site's clock" in done.failure
    (done,) = await Stamps(tmp_path / "closed", [url], [root]).stamp_day(HEAD, now_s)
    assert done.failure == "OSError" or done.failure.endswith("Error")


async def test_one_that_is_away_is_asked_again_about_the_same_checkpoint(
    tmp_path: Path, root: x509.Certificate
) -> None:
    now_s = int(time.time())
    answers = [b"", authority.reply(tmp_path / "tsa")]

    def second_time(query: bytes) -> bytes:
        said = answers.pop(0)
        return said if isinstance(said, bytes) else said(query)

    async with authority.serving(second_time) as url:
        stamps = Stamps(tmp_path / "ledger", [url], [root])
        assert (await stamps.stamp_day(HEAD, now_s))[0].record is None
        later = signed(grown(20))
        # At the end of a day the second try would be of the next one; either is a stamp of what was asked about.
        (done,) = await stamps.stamp_day(later, now_s) or await Stamps(tmp_path / "ledger", [url], [root]).stamp_day(
            later, now_s
        )
    assert done.record is not None
    verify(tokens(tmp_path / "ledger")[0].read_bytes(), HEAD.encode(), [root])


async def test_the_days_are_entered(tmp_path: Path, root: x509.Certificate, monkeypatch: pytest.MonkeyPatch) -> None:
    """The loop of the administrator: nothing before a head is witnessed, then one entry a day and authority."""
    monkeypatch.setattr("mediation.administration.ledger.stamps.LOOK_S", 0.01)
    heads, entered, clock = ["", HEAD], [], [int(time.time())]
    done = trio.Event()

    def latest() -> str:
        return heads.pop(0) if len(heads) > 1 else heads[0]

    def enter(record: entry.Record) -> None:
        entered.append(record)
        done.set()

    async with authority.serving(authority.reply(tmp_path / "tsa")) as url:
        stamps = Stamps(tmp_path / "site", [url], [root])
        async with trio.open_nursery() as nursery:
            nursery.start_soon(stamps.run, latest, enter, lambda: clock[0] * 1_000_000_000)
            with trio.fail_after(60):
                await done.wait()
            nursery.cancel_scope.cancel()
    (record,) = entered
    assert isinstance(record, entry.Stamped) and record.authority == url
    assert record.subject_sha256 == hashlib.sha256(HEAD.encode()).hexdigest()


async def stamped_site(tmp_path: Path, root: x509.Certificate) -> tuple[config.Site, Orders]:
    """A lab site whose head and one document were stamped and entered."""
    site = making.make(tmp_path / "site", is_lab=True)
    orders = Orders(site, time.time_ns())
    async with authority.serving(authority.reply(tmp_path / "tsa")) as url:
        stamps = Stamps(site.path, [url], [root])
        done = await stamps.stamp_day(orders.ledger.witnessed.text, int(time.time()))
        done += await stamps.stamp_document(b"certification", int(time.time()))
    for each in done:
        assert each.record is not None
        orders.note(each.record)
    return site, orders


async def test_the_stamps_of_a_site_are_checked_offline(tmp_path: Path, root: x509.Certificate) -> None:
    site, orders = await stamped_site(tmp_path, root)
    files = ledger_files(site)
    ledger = orders.ledger.verifier

    def problem() -> str:
        with pytest.raises(LedgerError) as refused:
            stamp_check.check(site.path, files, ledger, [root])
        return str(refused.value)

    first, second = stamp_check.check(site.path, files, ledger, [root])
    assert first.size == 1 and second.size == 0 and abs(first.time_s - time.time()) < 300
    command = [sys.executable, "-m", "mediation.cli.main", "ledger", "stamps", "--site", str(site.path), "--roots",
               str(tmp_path / "tsa" / "ca.pem")]  # fmt: skip
    said = await trio.run_process(command, capture_stdout=True)
    assert said.stdout.count(b"verified: entry ") == 2
    stranger = authority.make(tmp_path / "stranger")
    with pytest.raises(LedgerError, match=f"entry {first.index}: time stamp"):
        stamp_check.check(site.path, files, ledger, [stranger])
    subject = next((site.path / "stamps").glob("2*/checkpoint"))
    whole = subject.read_bytes()
    subject.write_bytes(whole.replace(b"\n1\n", b"\n2\n"))
    assert problem() == f"entry {first.index}: the head beside its time stamp is not the one that was stamped"
    subject.write_bytes(whole)
    token = next((site.path / "stamps" / "documents").rglob("*.tsr"))
    octets = token.read_bytes()
    for change in (lambda: token.write_bytes(octets[:-1]), token.unlink):
        change()
        assert problem() == f"entry {second.index}: its time stamp is missing or was changed"
    orders.close()


async def test_a_stamped_head_that_the_ledger_does_not_contain(tmp_path: Path, root: x509.Certificate) -> None:
    """Whoever has the ledger's key rewrote it and entered the stamps again: the stamped head is not in it."""
    site, orders = await stamped_site(tmp_path, root)
    ledger = read_ledger_key(site.path / "administrator" / LEDGER_KEY)
    other = ledger.sign(head(grown(1), 1, ledger.verifier.name).text())
    record = None
    async with authority.serving(authority.reply(tmp_path / "tsa")) as url:
        tomorrow = Stamps(tmp_path / "elsewhere", [url], [root])
        (done,) = await tomorrow.stamp_day(other, int(time.time()))
        record = done.record
    assert record is not None
    shutil.copytree(tmp_path / "elsewhere" / "stamps", site.path / "stamps" / "more")
    orders.note(record)
    with pytest.raises(LedgerError, match="does not contain the head of 1 entries"):
        stamp_check.check(site.path, ledger_files(site), ledger.verifier, [root])
    orders.close()


def test_a_site_without_authorities_has_no_stamps(tmp_path: Path, root: x509.Certificate) -> None:
    site = making.make(tmp_path / "site", is_lab=True)
    assert open_stamps(site) is None
    with (site.path / "config.toml").open("a") as file:
        file.write('\n[ledger]\ntimestamp_authorities = ["http://tsa.example/tsr", "https://other.example"]\n')
    with pytest.raises(ConfigurationError, match=r"timestamp-authorities\.pem"):
        open_stamps(config.load(site.path))
    shutil.copy(tmp_path / "tsa" / "ca.pem", site.keys_dir / ROOTS)
    found = open_stamps(config.load(site.path))
    assert found is not None and found.endpoints == (("tsa.example", 80), ("other.example", 443))


def test_configuration(tmp_path: Path, root: x509.Certificate) -> None:
    assert read_roots(tmp_path / "tsa" / "ca.pem") == (root,)
    for name in ("tsa.key", "missing"):
        with pytest.raises(ConfigurationError):
            read_roots(tmp_path / "tsa" / name)
    with pytest.raises(ConfigurationError, match="whom to believe"):
        Stamps(tmp_path, ["http://tsa.example"], [])
    assert Stamps(tmp_path, [], []).due(0) == ()
    for urls in (["ftp://x"], ["http://"], ["x"], ["http://a/?q"], ["http://a b"], ["http://a", "http://a"],
                 [f"http://a{n}" for n in range(9)]):  # fmt: skip
        with pytest.raises(ConfigurationError):
            Stamps(tmp_path, urls, [root])


def test_a_stamp_is_of_its_octets_alone(tmp_path: Path, root: x509.Certificate) -> None:
    import rfc3161_client

    query = rfc3161_client.TimestampRequestBuilder(
        data=b"subject", hash_algorithm=rfc3161_client.HashAlgorithm.SHA256
    ).build()
    token = authority.reply(tmp_path / "tsa")(query.as_bytes())
    made = verify(token, b"subject", [root], nonce=query.nonce)
    for wrong in (
        lambda: verify(token, b"subject2", [root]), lambda: verify(token, b"subject", [root], nonce=1),
        lambda: verify(token, b"subject", [authority.make(tmp_path / "x")]),
        lambda: verify(token + bytes(MAX_TOKEN_OCTETS), b"subject", [root]),
    ):  # fmt: skip
        with pytest.raises(RemoteProtocolError):
            wrong()
    for at in range(0, len(token), 7):
        changed = token[:at] + bytes((token[at] ^ 0x11,)) + token[at + 1 :]
        with contextlib.suppress(RemoteProtocolError):
            assert verify(changed, b"subject", [root]) == made  # of what is not signed, as the status


@given(st.binary(max_size=200))
def test_any_octets_are_judged_without_a_crash(octets: bytes) -> None:
    with pytest.raises(RemoteProtocolError):
        verify(octets, b"subject", [])
