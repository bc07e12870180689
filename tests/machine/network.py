"""The network of the machine's host, at each start of it (network.service): what a carrier's host has as cables.

The host itself has `eth0` (10.78.0.1, towards witnesses and agency) and `span0`, the switch's port that is tapped; each
other party lives in a network namespace: three telephones, the agency, two witnesses.
"""

from __future__ import annotations

import subprocess

from mediation.cli.demo.network import COMMAND_LIMIT_S, Network
from tests.cli.real_site import AGENCY, SITE, WITNESSES

PREFIX = "machine"
TELEPHONES = {"alice": "10.77.1.1", "bob": "10.77.2.1", "carol": "10.77.3.1"}
HOST = ("site", "switch")  # these two are the host itself
# The host last: before Linux 6.2 no other eth0 is made anywhere from where one is.
PARTIES = {"agency": AGENCY, "w1": WITNESSES[0], "w2": WITNESSES[1], "site": SITE}


class Host(Network):
    """A network whose site and tapped switch are the host's own namespace, under names as ip(8) wants them."""

    def _add(self, name: str) -> str:
        if name not in HOST:
            return super()._add(name)
        full = self.namespace(name)
        subprocess.run(["ip", "netns", "attach", full, "1"], check=True, timeout=COMMAND_LIMIT_S)
        self._made.append(full)
        return full

    def build(self) -> None:
        self.switch()
        self.switch("lan")
        for name, address in TELEPHONES.items():
            self.peer(name, f"{address}/16")
        for name, address in PARTIES.items():
            self.peer(name, f"{address}/24", switch="lan")


if __name__ == "__main__":
    Host(PREFIX).build()
