"""The witness program as a process on loopback, asked by the administrator's client and by hostile ones."""

from __future__ import annotations

import contextlib
import json
import socket
import ssl
import subprocess
import sys
from pathlib import Path

import pytest
import trio
import trustme

from mediation.administration.ledger.asking import Outcome
from mediation.administration.ledger.witnesses import Cosigned, Witnesses, compare
from mediation.core.errors import ConfigurationError
from mediation.core.ledger import merkle, note, witness
from mediation.witness import folder, server
from tests.core.cosigning import LEDGER, NOW_S, grown, head, signed
from tests.witness.processes import MAIN, NAME, Process, init, policy_of, running

TREE, OTHER = grown(600), grown(600, b"forged")
FAR_S = 4_000_000_000  # whatever the machine's clock says, it is not ahead of this


def paths(tree: merkle.Tree):  # type: ignore[no-untyped-def]
    return lambda first, second: merkle.consistency_path(first, second, tree.read)


def client(keys: list[str], url: str, **more: Path) -> Witnesses:
    return Witnesses(policy_of(keys, url), LEDGER.verifier, **more)  # type: ignore[arg-type]


async def ask(asker: Witnesses, size: int, tree: merkle.Tree = TREE) -> Cosigned:
    return await asker.cosign(signed(tree, size), paths(tree), now_s=FAR_S)


def state(path: Path) -> note.Checkpoint:
    text = (path / "state" / witness.monitor_path("LAB/ledger").split("/")[1]).read_text()
    return note.open_checkpoint(text, LEDGER.verifier)


async def test_growth_is_cosigned_and_remembered(tmp_path: Path) -> None:
    keys = init(tmp_path / "w")
    with running(tmp_path / "w") as process:
        assert process.ready == {"event": "ready", "name": NAME, "address": "127.0.0.1",
                                 "port": process.ready["port"], "tls": False, "logs": 1}  # fmt: skip
        asker = client(keys, process.url)
        for size in (1, 2, 7, 7, 256, 600):
            found = await ask(asker, size)
            assert found.judgement.quorum and found.judgement.cosigners == ("w0", "w1")
            assert found.judgement.time_s > NOW_S - 100_000_000
            assert note.open_checkpoint(found.note, LEDGER.verifier) == head(TREE, size)
            assert state(tmp_path / "w") == head(TREE, size)
        await asker.close()
        assert process.stop() == 0
    with running(tmp_path / "w") as process:  # it remembers, and a client that knows nothing finds out
        asker = client(keys, process.url)
        (told,) = await asker.fetch_states(now_s=FAR_S)
        assert told.checkpoint == head(TREE, 600) and len(told.lines) == 2
        assert compare([told], 600, TREE.root) == ()
        assert (await ask(client(keys, process.url), 600)).judgement.quorum


async def test_a_fork_is_refused_and_kept_as_evidence(tmp_path: Path) -> None:
    keys = init(tmp_path / "w")
    with running(tmp_path / "w") as process:
        assert (await ask(client(keys, process.url), 300)).judgement.quorum
        asker = client(keys, process.url)  # whoever has the ledger's key and rewrote the ledger
        for size, kind in ((400, "unproven"), (300, "fork")):
            found = await ask(asker, size, OTHER)
            assert not found.judgement.quorum
            assert [told.outcome for told in found.loud] == [Outcome.FORKED]
            (kept,) = (tmp_path / "w" / "evidence").glob(f"{kind}-*.json")
            evidence = json.loads(kept.read_text())
            assert note.open_checkpoint(evidence["before"], LEDGER.verifier) == head(TREE, 300)
            assert note.open_checkpoint(evidence["after"], LEDGER.verifier) == head(OTHER, size)
        assert state(tmp_path / "w") == head(TREE, 300)
        (told,) = compare(await asker.fetch_states(now_s=FAR_S), 600, OTHER.root)
        assert told.outcome is Outcome.FORKED
        assert (await ask(client(keys, process.url), 400)).judgement.quorum  # the true ledger goes on


async def test_a_rollback_is_found(tmp_path: Path) -> None:
    """An old snapshot of the ledger's host: found at its start, and at its next head."""
    keys = init(tmp_path / "w")
    with running(tmp_path / "w") as process:
        assert (await ask(client(keys, process.url), 300)).judgement.quorum
        restored = client(keys, process.url)
        (told,) = compare(await restored.fetch_states(now_s=FAR_S), 200, TREE.root)
        assert told.outcome is Outcome.AHEAD and "entry 200" in told.detail
        for asker in (restored, client(keys, process.url)):
            found = await ask(asker, 200)
            assert not found.judgement.quorum
            assert [(told.outcome, told.size) for told in found.loud] == [(Outcome.AHEAD, 300)]
        # It grows past what the witness remembers, with other entries: a fork.
        mixed = merkle.Tree(TREE.read(0, n) if n < 200 else OTHER.read(0, n) for n in range(400))
        found = await ask(client(keys, process.url), 400, mixed)
        assert [told.outcome for told in found.loud] == [Outcome.FORKED]


async def test_killed_between_the_disk_and_the_answer(tmp_path: Path) -> None:
    """kill -9 after the state is durable: the log, which got no answer, is not locked out; nothing is rolled back."""
    keys = init(tmp_path / "w")
    with running(tmp_path / "w") as process:
        assert (await ask(client(keys, process.url), 100)).judgement.quorum
        port = process.ready["port"]
    dies = (sys.executable, "-m", "tests.witness.dies")
    with running(tmp_path / "w", port=port, command=dies) as process:
        asker = client(keys, process.url)
        found = await ask(asker, 200)
        assert process.process.wait(30) == -9
        assert not found.judgement.quorum and found.told[0].outcome is Outcome.AWAY and not found.loud
        assert state(tmp_path / "w") == head(TREE, 200)
    with running(tmp_path / "w", port=port) as process:
        assert [told.outcome for told in (await ask(client(keys, process.url), 150)).loud] == [Outcome.AHEAD]
        assert (await ask(asker, 200)).judgement.quorum
        assert (await ask(asker, 300)).judgement.quorum


async def test_updates_at_the_same_time(tmp_path: Path) -> None:
    """The race of the specification: whoever wins, the state never goes back and no answer is of another tree."""
    keys = init(tmp_path / "w")
    with running(tmp_path / "w") as process:
        got: list[Cosigned] = []

        async def one(size: int) -> None:
            got.append(await ask(client(keys, process.url), size))

        async with trio.open_nursery() as nursery:
            for size in (10, 20, 30, 40, 50, 60, 70):  # under the limit of connections of one address
                nursery.start_soon(one, size)
        sizes = [note.open_checkpoint(each.note, LEDGER.verifier).size for each in got if each.judgement.quorum]
        assert sizes and state(tmp_path / "w").size == max(sizes)
        assert {told.outcome for each in got for told in each.told} <= {
            Outcome.COSIGNED, Outcome.AHEAD, Outcome.AWAY}  # fmt: skip


def spoken(process: Process, octets: bytes) -> bytes:
    """What comes back for raw octets, until the witness closes or has answered."""
    with socket.create_connection(("127.0.0.1", process.ready["port"]), timeout=30) as raw:
        raw.sendall(octets)
        raw.shutdown(socket.SHUT_WR)
        answer = b""
        while chunk := raw.recv(65536):
            answer += chunk
        return answer


def post(body: bytes, path: str = "/add-checkpoint", more: str = "") -> bytes:
    return f"POST {path} HTTP/1.1\r\nHost: w\r\nContent-Length: {len(body)}\r\n{more}\r\n".encode() + body


def test_hostile_requests(tmp_path: Path) -> None:
    init(tmp_path / "w")
    good = post(witness.compose_request(0, [], signed(TREE, 9)))
    table = [
        (b"GARBAGE\r\n\r\n", b"400"), (b"GET / HTTP/1.1\r\n\r\n", b"400"),
        (b"GET /" + b"a" * 300_000 + b" HTTP/1.1\r\nHost: w\r\n\r\n", b"431"),
        (b"GET / HTTP/1.1\r\nHost: w\r\n\r\n", b"404"), (post(b"", "/sign-subtree"), b"404"),
        (post(b"", "/add-checkpoint/"), b"404"), (post(b""), b"400"), (post(b"\xff" * 100), b"400"),
        (b"PUT /add-checkpoint HTTP/1.1\r\nHost: w\r\nContent-Length: 0\r\n\r\n", b"405"),
        (b"HEAD / HTTP/1.1\r\nHost: w\r\n\r\n", b"405"),
        (post(b"x" * (witness.MAX_REQUEST_OCTETS + 1)), b"413"),
        (b"POST /add-checkpoint HTTP/1.1\r\nHost: w\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", b""),
        (b"POST /add-checkpoint HTTP/1.1\r\nHost: w\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\n", b"400"),
        (good[:-10], b""), (good[:20], b"400"), (b"", b""), (b"\0" * 70_000, b"400"),
        (post(witness.compose_request(5, [], signed(TREE, 9))), b"409"), (good, b"200"), (good, b"409"),
    ]  # fmt: skip
    with running(tmp_path / "w") as process:
        for octets, status in table:
            try:
                answer = spoken(process, octets)
            except ConnectionError:
                answer = b""  # it closed while more was coming
            # What is turned away while more is coming may lose its answer to the reset.
            turned_away = len(octets) > 60_000 and not answer
            assert answer[9:12] == status or turned_away, (octets[:60], answer[:80])
        conflict = spoken(process, good)
        assert b"Content-Type: text/x.tlog.size\r\n" in conflict and conflict.endswith(b"\r\n\r\n9\n")
        assert process.stop() == 0
    assert "Traceback" not in (tmp_path / "w" / "log").read_text()


def test_rates_are_of_each_address() -> None:
    rates = server.Rates()
    assert sum(rates.take("a", 100.0) for _ in range(1000)) == server.BURST
    assert not rates.take("a", 100.01) and rates.take("b", 100.01)
    assert sum(rates.take("a", 101.0) for _ in range(1000)) == server.REQUESTS_A_SECOND
    for n in range(server.MAX_ADDRESSES):
        rates.take(f"c{n}", 101.0)
    assert rates.take("a", 101.0)  # forgotten, not without bound remembered


async def test_who_asks_too_often_is_told_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "BURST", 3.0)
    monkeypatch.setattr(server, "REQUESTS_A_SECOND", 0.0)
    keys = init(tmp_path / "w")
    serving = server.Server(tmp_path / "w", folder.load(tmp_path / "w"), lambda: NOW_S)
    bound: list[int] = []
    with trio.fail_after(60):
        async with trio.open_nursery() as nursery:
            ready = trio.Event()
            nursery.start_soon(
                server.run, serving, "127.0.0.1", 0, None, lambda _, port: (bound.append(port), ready.set())
            )
            await ready.wait()
            asker = client(keys, f"http://127.0.0.1:{bound[0]}")
            assert [(await ask(asker, size)).told[0].outcome for size in (1, 2, 3, 4)] == [Outcome.COSIGNED] * 3 + [
                Outcome.AWAY
            ]
            assert serving.counters == {"answers_200": 3, "answers_429": 1}
            nursery.cancel_scope.cancel()


async def test_a_disk_that_fails_gives_no_cosignature(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    init(tmp_path / "w")
    serving = server.Server(tmp_path / "w", folder.load(tmp_path / "w"), lambda: NOW_S)

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    request = witness.compose_request(0, [], signed(TREE, 9))
    with monkeypatch.context() as broken:
        broken.setattr(folder, "keep", full)
        assert (await serving.add_checkpoint(request)).status == 503
        assert serving.counters["disk_failed"] == 1
    assert (await serving.add_checkpoint(request)).status == 200


def test_one_address_cannot_have_all_connections(tmp_path: Path) -> None:
    init(tmp_path / "w")
    with running(tmp_path / "w") as process, contextlib.ExitStack() as stack:
        port = process.ready["port"]
        for _ in range(server.MAX_CONNECTIONS_EACH):
            each = stack.enter_context(socket.create_connection(("127.0.0.1", port), 30))
            each.sendall(b"GET / HTTP/1.1\r\nHost: w\r\n\r\n")
            assert each.recv(8) == b"HTTP/1.1"  # served, and kept
        more = stack.enter_context(socket.create_connection(("127.0.0.1", port), 30))
        with contextlib.suppress(ConnectionError):
            assert more.recv(10) == b""


async def test_over_tls(tmp_path: Path) -> None:
    keys = init(tmp_path / "w")
    authority = trustme.CA()
    issued = authority.issue_cert("127.0.0.1")
    issued.private_key_pem.write_to_path(tmp_path / "tls.key")
    issued.cert_chain_pems[0].write_to_path(tmp_path / "tls.pem")
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    more = ("--certificate", str(tmp_path / "tls.pem"), "--key", str(tmp_path / "tls.key"))
    with running(tmp_path / "w", *more) as process:
        asker = client(keys, process.url, authorities=tmp_path / "ca.pem")
        for size in (5, 9):
            assert (await ask(asker, size)).judgement.quorum
        stranger = tmp_path / "other.pem"
        trustme.CA().cert_pem.write_to_path(stranger)
        found = await ask(client(keys, process.url, authorities=stranger), 20)
        assert found.told[0].outcome is Outcome.AWAY
        old = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        old.check_hostname, old.verify_mode = False, ssl.CERT_NONE
        old.maximum_version = ssl.TLSVersion.TLSv1_2
        with socket.create_connection(("127.0.0.1", process.ready["port"]), 30) as raw, pytest.raises(ssl.SSLError):
            old.wrap_socket(raw)


def test_it_listens_where_it_is_told(tmp_path: Path) -> None:
    init(tmp_path / "w")
    for listen in ("0.0.0.0:0", "[::]:0", "localhost:0", "127.0.0.1", "127.0.0.1:99999", ":1", "127.0.0.1:-1"):
        with pytest.raises(ConfigurationError, match="listen: "):
            server.address(listen)
    assert server.address("[::1]:8443") == ("::1", 8443)
    command = [*MAIN, "witness", "run", str(tmp_path / "w"), "--listen", "0.0.0.0:0"]
    done = subprocess.run(command, capture_output=True, timeout=60, check=False, text=True)
    assert done.returncode == 1 and done.stderr.startswith("mediation: listen: "), done.stderr


def test_one_process_on_one_folder(tmp_path: Path) -> None:
    init(tmp_path / "w")
    with (
        running(tmp_path / "w"),
        pytest.raises(ConfigurationError, match="another witness"),
        folder.hold(tmp_path / "w"),
    ):
        pass


def test_a_folder_that_was_changed_is_refused(tmp_path: Path) -> None:
    init(tmp_path / "w")
    found = folder.load(tmp_path / "w")
    answer = found.add_checkpoint(witness.compose_request(0, [], signed(TREE, 9)), NOW_S)
    assert answer.update is not None
    folder.keep(tmp_path / "w", answer.update)
    assert folder.load(tmp_path / "w").head("LAB/ledger") == head(TREE, 9)
    (kept,) = (tmp_path / "w" / "state").iterdir()
    for text in (answer.update.note.replace("\n9\n", "\n8\n"), signed(TREE, 8), "\n"):
        kept.write_text(text)
        with pytest.raises(ConfigurationError, match="state of LAB/ledger"):
            folder.load(tmp_path / "w")
    kept.unlink()  # without its memory it would believe any history
    with pytest.raises(ConfigurationError, match="any history would do"):
        folder.load(tmp_path / "w")


def test_evidence_is_bounded(tmp_path: Path) -> None:
    init(tmp_path / "w")
    most = folder.MAX_EVIDENCE[witness.Bad.UNPROVEN]

    def kept(size: int, bad: witness.Bad) -> bool:
        answer = witness.Answer(status=422, bad=bad, evidence=("", signed(TREE, size)))
        return folder.keep_evidence(tmp_path / "w", answer, NOW_S)

    assert all(kept(n, witness.Bad.UNPROVEN) for n in range(1, most + 1))
    assert not kept(most + 1, witness.Bad.UNPROVEN) and kept(most, witness.Bad.UNPROVEN)
    assert kept(most + 1, witness.Bad.FORK)  # a fork is never pushed out
    assert len(list((tmp_path / "w" / "evidence").iterdir())) == most + 1


def test_logs_are_added_once(tmp_path: Path) -> None:
    keys = init(tmp_path / "w")
    for vkey in (str(LEDGER.verifier), keys[0], "nonsense", ""):
        with pytest.raises(ConfigurationError):
            folder.add(tmp_path / "w", vkey)
    with pytest.raises(ConfigurationError, match="not empty"):
        folder.init(tmp_path / "w", NAME)
    with pytest.raises(ConfigurationError, match="name"):
        folder.init(tmp_path / "other", "a b")
