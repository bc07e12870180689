"""A baresip 1.0 phone of the rig: another stack than pjsua2 (libre), so that a trap of one is not taken for the rule.

It is told and tells over ctrl_tcp: JSON in netstrings on a TCP port of its own loopback. It closes a call whose
sound file ends, so that its file is longer than any row (its tone generator wants 48 kHz, which G.711 is not).
"""

from __future__ import annotations

import json
import shutil
import socket
import threading
import time
import wave
from pathlib import Path
from typing import Any

from tests.rig.kamailio import DOMAIN
from tests.rig.process import ASK_AGAIN_S, READY_LIMIT_S, Peer, PeerError
from tests.rig.wire import inside_of

CONTROL_PORT = 4444
EVENT_LIMIT_S = 30.0
SAID_S = 60
MODULES = "/usr/lib/baresip/modules"
CONFIG = """sip_listen {address}:5060
module_path {modules}
audio_source aufile,{folder}/said.wav
audio_player aufile,{folder}/heard.wav
audio_alert aufile,{folder}/alert.wav
rtp_ports 6000-6100
rtp_stats no
jitter_buffer_delay 1-2
module g711.so
module aufile.so
module_app account.so
module_app menu.so
module_app ctrl_tcp.so
ctrl_tcp_listen 127.0.0.1:{port}
"""


def possible() -> str:
    """Empty when a phone can be made here, otherwise what is missing."""
    return "" if shutil.which("baresip") else "baresip not installed"


class Baresip(Peer):
    """One phone with one number."""

    name = "baresip"

    def __init__(self, namespace: str, address: str, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "config").write_text(
            CONFIG.format(address=address, modules=MODULES, folder=folder, port=CONTROL_PORT)
        )
        (folder / "accounts").write_text("")
        with wave.open(str(folder / "said.wav"), "wb") as said:
            said.setparams((1, 2, 8000, 0, "NONE", ""))
            said.writeframes(bytes(2 * 8000 * SAID_S))
        super().__init__(namespace, ["baresip", "-4", "-f", str(folder)], folder)
        self.address = address
        self._control: socket.socket | None = None
        self._events: list[dict[str, Any]] = []
        self._changed = threading.Condition()
        self._asked = 0

    def until_ready(self) -> None:
        """Returns when it takes commands. Raises PeerError."""
        end = time.monotonic() + READY_LIMIT_S
        while self._control is None:
            control = inside_of(self.namespace, lambda: socket.socket(socket.AF_INET, socket.SOCK_STREAM))
            if control.connect_ex(("127.0.0.1", CONTROL_PORT)) == 0:
                self._control = control
                threading.Thread(target=self._read, args=(control,), daemon=True).start()
                return
            control.close()
            if self.process.poll() is not None or time.monotonic() > end:
                raise PeerError(f"baresip: no control port; it said: {self.output.tail()}")
            self.output.wait(lambda _: True, ASK_AGAIN_S, since=self.output.mark())

    def _read(self, control: socket.socket) -> None:
        kept = b""
        while True:
            try:
                octets = control.recv(65_536)
            except OSError:
                octets = b""
            if not octets:
                return
            kept += octets
            while (colon := kept.find(b":")) > 0 and kept[:colon].isdigit():
                end = colon + 1 + int(kept[:colon])
                if len(kept) <= end:
                    break
                text, kept = kept[colon + 1 : end], kept[end + 1 :]
                with self._changed:
                    self._events.append(json.loads(text))
                    self._changed.notify_all()

    def mark(self) -> int:
        with self._changed:
            return len(self._events)

    def until_event(self, since: int = 0, **fields: Any) -> dict[str, Any]:
        """Awaits an event with these fields ("type", "param"). Raises PeerError."""

        def found() -> dict[str, Any] | None:
            return next(
                (e for e in self._events[since:] if all(e.get(name) == value for name, value in fields.items())), None
            )

        with self._changed:
            if not self._changed.wait_for(lambda: found() is not None, EVENT_LIMIT_S):
                raise PeerError(f"baresip: no {fields}; it told {self._events[since:][-4:]}; {self.output.tail(4)}")
            event = found()
        assert event is not None
        return event

    def do(self, command: str, params: str = "") -> int:
        """Tells it something and awaits its word; the position after which the events of it are found."""
        assert self._control is not None
        since = self.mark()
        self._asked += 1
        token = str(self._asked)
        text = json.dumps({"command": command, "params": params, "token": token}).encode()
        self._control.sendall(b"%d:%s," % (len(text), text))
        answer = self.until_event(since, response=True, token=token)
        if not answer.get("ok"):
            raise PeerError(f"baresip {command}: {answer.get('data')}")
        return since

    def number(self, user: str, sbc: str) -> None:
        """Gives the phone a number, registered when this returns."""
        since = self.do(
            "uanew", f'<sip:{user}@{DOMAIN}>;auth_pass=none;outbound="sip:{sbc}";regint=60;audio_codecs=PCMU'
        )
        self.until_event(since, type="REGISTER_OK")

    def dial(self, user: str) -> int:
        return self.do("dial", f"sip:{user}@{DOMAIN}")

    def stop(self) -> None:
        super().stop()
        if self._control is not None:
            self._control.close()
