"""rtpengine 10.5 in userspace: media of anchored calls passes the SBC, each packet twice on its interface."""

from __future__ import annotations

from pathlib import Path

from tests.rig.kamailio import RTPENGINE_PORT
from tests.rig.process import Peer

PROBE_PORT = 5997
MEDIA_PORTS = (30_000, 39_999)


class Rtpengine(Peer):
    """The media relay beside the SBC; its control port is on the namespace's loopback."""

    name = "rtpengine"

    def __init__(self, namespace: str, address: str, folder: Path) -> None:
        low, high = MEDIA_PORTS
        super().__init__(namespace, [
            "rtpengine", "--config-file=none", "--table=-1", f"--interface={address}",
            f"--listen-ng=127.0.0.1:{RTPENGINE_PORT}", "--foreground", "--log-stderr", "--log-level=4",
            f"--port-min={low}", f"--port-max={high}", "--num-threads=2", f"--pidfile={folder}/pid",
        ], folder)  # fmt: skip

    def until_ready(self) -> None:
        self.until_answered("127.0.0.1", RTPENGINE_PORT, b"ready d7:command4:pinge", own=("127.0.0.1", PROBE_PORT))
