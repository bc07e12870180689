"""Forks in the switch: a real Kamailio's siptrace, a real rtpengine's recordings and subscriptions; hostile answers."""

from __future__ import annotations

import os
import secrets
import shutil
import socket
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from mediation.core.errors import RemoteProtocolError
from mediation.core.records.incident import What
from mediation.reconciliation import switch
from mediation.reconciliation.switch import Rtpengine, decode, encode, kamailio, recordings
from tests.rig import kamailio as rig_kamailio
from tests.rig import rtpengine as rig_rtpengine
from tests.rig.process import Peer

SDP = (
    "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\nm=audio {port} RTP/AVP 0\r\n"
    "a=rtpmap:0 PCMU/8000\r\n"
)


@pytest.fixture
def namespace() -> Iterator[str]:
    if os.geteuid() != 0:
        pytest.skip("a namespace needs root")
    name = f"reconcile{os.getpid()}"
    for words in (["netns", "add", name], ["-n", name, "link", "set", "lo", "up"]):
        if subprocess.run(["ip", *words], check=False, capture_output=True).returncode:
            pytest.skip("no network namespace here")
    yield name
    subprocess.run(["ip", "netns", "delete", name], check=True)


@pytest.mark.root
@pytest.mark.skipif(shutil.which("kamailio") is None, reason="no Kamailio")
def test_a_kamailio_that_traces_is_seen(namespace: str, tmp_path: Path) -> None:
    with rig_kamailio.Kamailio(namespace, "127.0.0.1", tmp_path / "k") as sbc:
        sbc.until_ready()
        path = str(sbc.folder / "rpc")
        assert list(kamailio("sbc", path, tmp_path, expected=False)) == []
        sbc.rpc("siptrace.status", "on")
        (sight,) = kamailio("sbc", path, tmp_path, expected=False)
        assert (sight.what, sight.detail) == (What.FORK, "kamailio sbc siptrace")
        assert list(kamailio("sbc", path, tmp_path, expected=True)) == []
        sbc.rpc("siptrace.status", "off")
        assert list(kamailio("sbc", path, tmp_path, expected=False)) == []


def inside(namespace: str, act: Callable[[], object]) -> object:
    """In a thread that lives in the namespace."""
    from mediation.reconciliation import namespaces

    found: list[object] = []

    def run() -> None:
        with namespaces.inside(namespaces.Namespace(namespace, Path("/run/netns") / namespace)):
            found.append(act())

    thread = threading.Thread(target=run)
    thread.start()
    thread.join(60)
    return found[0]


class Recording(rig_rtpengine.Rtpengine):
    """The relay of the rig, with a folder for recordings."""

    def __init__(self, namespace: str, folder: Path, into: Path) -> None:
        Peer.__init__(self, namespace, [
            "rtpengine", "--config-file=none", "--table=-1", "--interface=127.0.0.1",
            f"--listen-ng=127.0.0.1:{rig_kamailio.RTPENGINE_PORT}", "--foreground", "--log-stderr", "--log-level=4",
            "--port-min=30000", "--port-max=30999", "--num-threads=1", f"--pidfile={folder}/pid",
            f"--recording-dir={into}", "--recording-method=pcap",
        ], folder)  # fmt: skip


@pytest.mark.root
@pytest.mark.skipif(shutil.which("rtpengine") is None, reason="no rtpengine")
def test_an_rtpengine_that_copies_a_call_is_seen(namespace: str, tmp_path: Path) -> None:
    def ask(**request: object) -> dict[str, object]:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asked:
            asked.settimeout(10)
            asked.connect(("127.0.0.1", rig_kamailio.RTPENGINE_PORT))
            cookie = secrets.token_hex(4).encode() + b" "  # the same one again gets the same answer again
            asked.send(cookie + encode({name.replace("_", "-"): value for name, value in request.items()}))
            answer = decode(asked.recv(65_535).removeprefix(cookie))
            assert isinstance(answer, dict)
            assert answer["result"] == "ok", answer
            return answer

    def looks() -> list[str]:
        relay = Rtpengine("relay", "127.0.0.1", rig_kamailio.RTPENGINE_PORT)
        return [sight.detail for sight in relay.sights()]

    def story() -> list[list[str]]:
        call = {"call_id": "c1", "from_tag": "a"}
        found = [looks()]
        ask(command="offer", sdp=SDP.format(port=4000), **call)
        ask(command="answer", to_tag="b", sdp=SDP.format(port=4002), **call)
        found.append(looks())
        offered = ask(command="subscribe request", call_id="c1", from_tag="a", to_tag="spy")
        ask(command="subscribe answer", call_id="c1", to_tag="spy", sdp=SDP.format(port=4004))
        assert offered["sdp"]
        found.append(looks())
        ask(command="unsubscribe", call_id="c1", to_tag="spy")
        found.append(looks())
        found.append([sight.detail for sight in recordings("relay", str(folder))])
        ask(command="start recording", call_id="c1")
        found.append([sight.detail for sight in recordings("relay", str(folder))])
        return found

    folder = tmp_path / "recordings"
    folder.mkdir()
    with Recording(namespace, tmp_path, folder) as relay:
        relay.until_ready()
        found = inside(namespace, story)
    assert found == [[], [], ["rtpengine relay subscription"], [], [], ["rtpengine relay recordings"]]


@contextmanager
def lying(*answers: Callable[[bytes], bytes]) -> Iterator[Rtpengine]:
    """A relay that answers so, one after the other."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as serving:
        serving.bind(("127.0.0.1", 0))
        serving.settimeout(20)

        def serve() -> None:
            for answer in answers:
                request, peer = serving.recvfrom(65_535)
                serving.sendto(answer(request.partition(b" ")[0] + b" "), peer)

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield Rtpengine("relay", "127.0.0.1", serving.getsockname()[1])
        thread.join(20)


@pytest.mark.parametrize(
    "answer", [b"", b"d", b"i1e", b"le", b"d6:result5:errore", b"d6:result2:ok5:callsi1ee", b"l" * 60_000, b"99:x",
               b"d6:result2:ok5:calls-1:e", b"i" + b"9" * 5000 + b"e"],
)  # fmt: skip
def test_a_relay_that_talks_nonsense_is_unseen_and_not_clean(answer: bytes) -> None:
    with lying(lambda cookie: cookie + answer) as relay, pytest.raises(RemoteProtocolError):
        list(relay.sights())


def test_a_call_that_ended_meanwhile_is_passed_over() -> None:
    with lying(
        lambda cookie: cookie + encode({"result": "ok", "calls": ["gone"]}),
        lambda cookie: cookie + encode({"result": "error", "error-reason": "Unknown call-id"}),
    ) as relay:
        assert list(relay.sights()) == []


def test_a_relay_that_is_away_is_unseen() -> None:
    with pytest.raises(ConnectionRefusedError):
        list(Rtpengine("relay", "127.0.0.1", 1).sights())


def test_what_an_adapter_cannot_see_is_written_down() -> None:
    assert switch.CAN.keys() == switch.CANNOT.keys() == {"kamailio", "rtpengine"}
    assert all(switch.CANNOT.values())
