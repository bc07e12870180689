"""HEP3 as a real switch sends it: Kamailio's siptrace in a namespace of its own."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import time
from pathlib import Path

import pytest

from tests.access.conftest import ip
from tests.access.test_hep import NOW, SIP, Fed

pytestmark = [
    pytest.mark.root,
    pytest.mark.skipif(shutil.which("kamailio") is None, reason="kamailio is not installed"),
    pytest.mark.skipif(os.geteuid() != 0, reason="needs root: network namespaces"),
]

SWITCH = """#!KAMAILIO
log_stderror=yes
children=1
listen=udp:127.0.0.1:5060
loadmodule "sl.so"
loadmodule "pv.so"
loadmodule "tm.so"
loadmodule "siptrace.so"
modparam("siptrace", "duplicate_uri", "sip:127.0.0.1:9060")
modparam("siptrace", "hep_mode_on", 1)
modparam("siptrace", "hep_version", 3)
modparam("siptrace", "hep_capture_id", 7)
modparam("siptrace", "trace_to_database", 0)
modparam("siptrace", "trace_on", 1)
modparam("siptrace", "trace_mode", 1)

request_route { sl_send_reply("486", "Busy Here"); }
"""
COLLECT = """
import socket, sys
trace, phone = socket.socket(2, 2), socket.socket(2, 2)
trace.bind(("127.0.0.1", 9060))
phone.bind(("127.0.0.1", 0))
trace.settimeout(0.2)
message = bytes.fromhex(sys.argv[1])
for _ in range(50):
    phone.sendto(message, ("127.0.0.1", 5060))
    try:
        first, second = trace.recv(65536), trace.recv(65536)
    except OSError:
        continue
    print(first.hex(), second.hex())
    break
"""


def test_siptrace_of_kamailio(tmp_path: Path) -> None:
    namespace = f"transporthep{os.getpid()}"
    message = SIP.replace(b"SIP/2.0/TLS 192.0.2.7", b"SIP/2.0/UDP 127.0.0.1;rport")
    (tmp_path / "kamailio.cfg").write_text(SWITCH)
    ip("netns", "add", namespace)
    try:
        ip("-n", namespace, "link", "set", "lo", "up")
        inside = ["ip", "netns", "exec", namespace]
        with (tmp_path / "log").open("w") as log:
            switch = subprocess.Popen(
                [*inside, "kamailio", "-DD", "-f", str(tmp_path / "kamailio.cfg"), "-Y", str(tmp_path), "-m", "32"],
                stdout=log, stderr=log,
            )  # fmt: skip
        try:
            done = subprocess.run(
                [*inside, "python3", "-c", COLLECT, message.hex()],
                capture_output=True,
                text=True,
                timeout=30,
                check=True,
            )
        finally:
            switch.terminate()
            switch.wait()
    finally:
        ip("netns", "del", namespace)
    assert done.stdout, (tmp_path / "log").read_text()[-2000:]
    request, answer = (bytes.fromhex(part) for part in done.stdout.split())
    fed = Fed(key=b"")
    arrival = time.time_ns()
    found = fed.take(request, answer, arrival_ns=arrival)
    assert [pdu.payload[:12] for pdu in found] == [b"INVITE sip:+", b"SIP/2.0 486 "]
    assert found[0].destination == ("127.0.0.1", 5060)
    assert found[1].source == ("127.0.0.1", 5060)
    assert found[0].stamp_ns > NOW
    assert fed.counted()["hep_sip"] == 2
    assert request[12] == socket.AF_INET  # chunk 1 comes first, and says the machine's own AF_ number
