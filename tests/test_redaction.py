"""SEC-19: no subject's identity rests on a disk, or shows in a log, a status or a process.

A site is run through calls, refusals and faults; then everything it left is searched for the subject's and the other
party's numbers in all spellings, after a canary has shown that the search finds each of them where it is.
"""

from __future__ import annotations

import base64
import json
import os
import signal
import socket
import time
from pathlib import Path

import pytest

from mediation.administration import lab
from mediation.cli.demo.site import LabSite
from tests.access.conftest import Wire, wire
from tests.access.process import answer, invite, sip
from tests.faults.test_calls_iap import bye
from tests.search import Search, spellings, word_spellings

__all__ = ["wire"]
pytestmark = pytest.mark.root

SUBJECT, OTHER, STRANGER = "+12125550100", "+13125550111", "+14155550123"
CASES = ("KESTREL-41", "OSPREY-52", "MERLIN-63", "HOBBY-74")
NAMES = (*CASES, lab.AGENCY, *lab.PERSONS.values(), "LAB presenting officer", "LAB judge", "LAB court")
PUBLIC = ("lab", "keys")  # lab/ is what a real site has elsewhere; keys/ is public, and names the persons by office
LIMIT_S = 60


def test_the_search_finds_what_is_there(tmp_path: Path) -> None:
    """The canary: each spelling by its name, in the middle of a file, at every alignment of base64."""
    search = Search([SUBJECT, OTHER])
    for name, octets in spellings(SUBJECT).items():
        (tmp_path / "canary").write_bytes(os.urandom(9973) + octets + os.urandom(31))
        assert dict(search.files(tmp_path)) == {"canary": search.octets(octets)}
        assert name in search.octets(octets)
    for name, octets in word_spellings(CASES[0]).items():
        assert name in Search([], CASES).octets(os.urandom(7) + octets + os.urandom(7))
    for shift in range(6):
        assert search.octets(base64.b64encode(b"x" * shift + b"tel:" + SUBJECT.encode() + b";x"))
    (tmp_path / "canary").unlink()
    (tmp_path / f"case-{OTHER}").touch()
    assert dict(search.files(tmp_path))
    assert not Search([STRANGER]).octets(SUBJECT.encode())


def descendants(pid: int) -> dict[str, int]:
    """The functions below `mediation run`, by name."""
    found = {}
    for thread in Path(f"/proc/{pid}/task").iterdir():
        for child in (thread / "children").read_text().split():
            words = Path(f"/proc/{child}/cmdline").read_bytes().split(b"\0")
            if b"function" in words:  # not one that has died and is not yet started again
                found[words[words.index(b"function") + 1].decode()] = int(child)
    return found


def listeners(pid: int) -> list[str]:
    """What the process listens on, or is bound to, besides Unix sockets (SEC-21)."""
    inodes = set()
    for descriptor in Path(f"/proc/{pid}/fd").iterdir():
        try:
            target = os.readlink(descriptor)
        except OSError:
            continue
        if target.startswith("socket:["):
            inodes.add(target[8:-1])
    found = []
    for protocol in ("tcp", "tcp6", "udp", "udp6", "raw", "raw6"):
        for line in Path(f"/proc/{pid}/net/{protocol}").read_text().splitlines()[1:]:
            words = line.split()
            if words[9] in inodes and (not protocol.startswith("tcp") or words[3] == "0A"):  # TCP_LISTEN
                found.append(f"{protocol} {words[1]}")
    return found


def test_nothing_of_a_subject_stays_or_shows(tmp_path: Path, wire: Wire, monkeypatch: pytest.MonkeyPatch) -> None:
    temporary = tmp_path / "tmp"
    temporary.mkdir()
    monkeypatch.setenv("TMPDIR", str(temporary))
    iap = f'[[iap]]\nname = "SWITCH-1"\ninterface = "{wire.far}"\nnamespace = "{wire.namespace}"\nring_mib = 1\n'
    site = LabSite(tmp_path / "site", iaps=iap)
    search, names = Search([SUBJECT, OTHER, STRANGER]), Search([], NAMES)
    said: list[str] = []
    try:
        site.order(CASES[0], f"tel:{SUBJECT}")  # by a command in the administrator's place
        site.run()
        assert site._functions is not None
        site.order(CASES[1], f"sip:{STRANGER}@example.net", dde="on")
        # Refusals: the case again, a number that no point matches, an act nobody may do, a line that is none.
        for words in (
            ("lab", "order", "--case", CASES[0], "--target", f"tel:{STRANGER}", "--authority", "pen-register"),
            ("lab", "order", "--case", CASES[2], "--target", f"tel:{OTHER};x=\x01", "--authority", "pen-register"),
            ("case", "deactivate", CASES[3]),
        ):
            done = site.try_command(*words, "--site", str(site.path))
            assert done.returncode
            said.append(done.stderr)
        for name in ("mediator.x1", "iap.x1", "administrator.control"):
            with socket.socket(socket.AF_UNIX) as stream:
                stream.connect(str(site.path / "run" / name))
                stream.sendall(b'{"type":"ActivateTask","request":"%s"}\n' % SUBJECT.encode())
                stream.settimeout(LIMIT_S)
                stream.recv(65536)
        # Calls, and packets that are wrong: the number in a header that breaks off, in a body, in no SIP at all.
        site.collect()
        assert site.messages is not None
        wire.send(invite(), answer(), sip(f"INVITE sip:{SUBJECT}"), sip(f"\x00{SUBJECT}\n\n"))
        wire.send(sip(f"INVITE sip:x SIP/2.0\nFrom: <sip:{SUBJECT}@x\nCall-ID: two\nContent-Length: 99999\n\n{OTHER}"))
        assert site.messages.wait(lambda line: line.get("message") == "answer", LIMIT_S), site._complaints()
        # Faults: the call goes on over the death of both, and there is something in every journal.
        for name in ("mediator", "iap"):
            pid = descendants(site._functions.pid)[name]
            os.kill(pid, signal.SIGSEGV)  # what would leave a core
            until(lambda name=name, pid=pid: descendants(site._functions.pid).get(name, pid) != pid)  # type: ignore[misc, union-attr]
            until(lambda: "tasks" in functions(site, "iap") and functions(site, "iap")["tasks"] == 2)
        site._collector = site._end(site._collector)  # what comes now waits in the spool
        wire.send(bye(), invite(call_id="three"))
        until(lambda: functions(site, "mediator")["links"][0]["queued"] >= 2)
        said.append(site.command("status", "--site", str(site.path), "--json"))
        for name, pid in {**descendants(site._functions.pid), "run": site._functions.pid}.items():
            process = Path(f"/proc/{pid}")
            said.append((process / "cmdline").read_text() + (process / "environ").read_text())
            assert listeners(pid) == [], name
            limits = (process / "limits").read_text()
            assert name == "run" or "Max core file size        0 " in limits, name
        spooled = [path for path in (site.path / "spool").rglob("*.seg") if any(path.read_bytes()[64:])]
        assert spooled
        assert (site.path / "spool" / "calls.journal").stat().st_size > 1000
        assert (site.path / "administrator" / "store.sqlite").stat().st_size > 1000
        assert dict(search.files(site.path, "lab")) == {}
        assert dict(names.files(site.path, *PUBLIC)) == {}
        assert search.octets("\n".join(said).encode()) == set()
        assert b"tel:" not in (site.path / "administrator" / "store.sqlite").read_bytes()
    finally:
        site.stop()
    # After an orderly end as well, and in what lies beside the site.
    assert dict(search.files(tmp_path / "site", "lab")) == {}
    assert dict(names.files(tmp_path / "site", *PUBLIC)) == {}
    assert dict(search.files(temporary)) == {} == dict(names.files(temporary))
    assert not [path for path in tmp_path.rglob("core*") if path.is_file()]
    for line in (site.path / "log" / "mediator.log").read_text().splitlines():
        assert line.startswith("{") or "Segmentation" in line, line


def functions(site: LabSite, name: str) -> dict:  # type: ignore[type-arg]
    done = site.try_command("status", "--site", str(site.path), "--json")
    found = json.loads(done.stdout)["functions"].get(name) if done.stdout else None
    return found or {}


def until(what) -> None:  # type: ignore[no-untyped-def]
    end = time.monotonic() + LIMIT_S
    while not what():
        assert time.monotonic() < end
        time.sleep(0.1)
