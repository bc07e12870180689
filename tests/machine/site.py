"""A real site under its systemd units, installed as docs/OPERATING.md says: its commands are those of tests/cli."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

from mediation.cli.demo.network import SPAN
from mediation.cli.demo.site import Lines
from tests.cli import real_site, test_real_site
from tests.cli.real_site import WITNESS_PORT, WITNESSES, RealSite, passphrase
from tests.machine.network import PREFIX, Host

MEDIATION = "/opt/mediation/bin/mediation"
CONFIG = Path(os.environ.get("MACHINE_CONFIG", "/opt/project/config"))  # as the release has it
UNITS = Path("/etc/systemd/system")
FUNCTIONS = ("administrator", "mediator", "egress", "iap", "reconciler")
SOCKETS = ("opener", "iap", "iap-x2", "iap-x3", "mediator", "egress", "administrator", "reconciler")
USERS = "".join(f'[{part}]\nuser = "mediation-{part}"\n' for part in ("access", "delivery", "egress"))
RECONCILER = "mediation-reconciler"
LIMIT_S = float(os.environ.get("MACHINE_LIMIT_S", "60"))  # an emulated machine is slower
real_site.LIMIT_S = test_real_site.LIMIT_S = LIMIT_S
PAUSE_S = 0.2


def ctl(*words: str, check: bool = True) -> str:
    ended = subprocess.run(["systemctl", *words], capture_output=True, text=True, timeout=10 * LIMIT_S, check=False)
    assert not check or ended.returncode == 0, (words, ended.stderr, journal(words[-1]))
    return ended.stdout.strip()


def show(unit: str, name: str) -> str:
    """A property of a unit, or of the service manager itself."""
    return ctl("show", "--property", name, "--value", *([unit] if unit else []))


def unit(function: str, kind: str = "service") -> str:
    return f"mediation-{function}.{kind}"


def journal(of: str = "", lines: int = 60) -> str:
    words = ["journalctl", "--no-pager", "-o", "cat", f"--lines={lines}", *(["-u", of] if of else [])]
    return subprocess.run(words, capture_output=True, text=True, check=False).stdout


def until(condition: Callable[[], object], said: Callable[[], object] = journal) -> float:
    """Asks again until it holds; the seconds that took."""
    begun = time.monotonic()
    while not condition():
        assert time.monotonic() < begun + LIMIT_S, said()
        time.sleep(PAUSE_S)
    return time.monotonic() - begun


class UnitSite(RealSite):
    """The site in /var/lib/mediation, its persons' keys and the agency below `folder`."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(mode=0o755, exist_ok=True)
        self.folder, self.path = folder, Path("/var/lib/mediation")
        self.stack = ExitStack()
        self.network = Host(PREFIX)  # made at the machine's start
        self._witnesses, self.functions, self.collected = [], None, None

    def make(self) -> None:
        """The users, the site with its vault, and its settings."""
        for kind in ("sysusers.d", "tmpfiles.d"):
            Path("/etc", kind).mkdir(exist_ok=True)
            shutil.copy(CONFIG / kind / "mediation.conf", Path("/etc", kind))
        for path in (CONFIG / "systemd").iterdir():
            shutil.copy(path, UNITS)
        subprocess.run(["systemd-sysusers"], check=True)
        ctl("daemon-reload")
        self.do("init", self.path, "--vault", "passphrase")
        settings = self.path / "config.toml"
        text = settings.read_text().replace("accept_undisciplined = false", "accept_undisciplined = true")
        settings.write_text(
            f'{text}\n[contact]\ntelephone = "+1 202 555 0100"\nmail = "li@carrier.example"\n\n[ledger]\n'
            f'tick_ms = 200\n\n{USERS}\n[reconciliation]\nuser = "{RECONCILER}"\n\n'
            f'[[iap]]\nname = "SWITCH-1"\ninterface = "{SPAN}"\nside = "access"\n'
        )

    def seal_credentials(self) -> None:
        """As OPERATING.md, step 1: each function's own keys, sealed to this machine."""
        Path("/etc/mediation").mkdir(mode=0o700, exist_ok=True)
        for function in ("administrator", "mediator", "iap", "egress"):
            reading = passphrase()
            words = f"{MEDIATION} vault credential {function} --site {self.path} |"
            words += f" systemd-creds encrypt --name=vault - /etc/mediation/{function}.vault"
            subprocess.run(
                ["bash", "-c", f"set -euo pipefail; umask 077; {words}"],
                check=True, timeout=LIMIT_S, pass_fds=[reading], env=self._environment(reading),
            )  # fmt: skip
            os.close(reading)

    def drop_in(self, name: str, text: str) -> None:
        folder = UNITS / f"{name}.d"
        folder.mkdir(exist_ok=True)
        (folder / "site.conf").write_text(text)

    def run_in_real_time(self) -> None:
        """Settings and drop-ins for SCHED_FIFO and for a processor that does not sleep."""
        settings = self.path / "config.toml"
        text = settings.read_text()
        for part, line in (("access", "realtime_priority = 20\nhold_cpu_latency = true\n"),
                           ("delivery", "realtime_priority = 10\n")):  # fmt: skip
            text = text.replace(f'user = "mediation-{part}"\n', f'user = "mediation-{part}"\n{line}')
        settings.write_text(text)
        for function in ("iap", "mediator"):
            self.drop_in(unit(function), "[Service]\nLimitRTPRIO=50\nRestrictRealtime=no\n"
                         "SystemCallFilter=sched_setscheduler\n")  # fmt: skip
        self.drop_in(unit("opener"), "[Service]\nPrivateDevices=no\nDeviceAllow=/dev/cpu_dma_latency w\n")
        Path("/etc/udev/rules.d/mediation.rules").write_text(
            'KERNEL=="cpu_dma_latency", GROUP="mediation", MODE="0660"\n'
        )
        subprocess.run(["udevadm", "control", "--reload"], check=True)
        subprocess.run(["udevadm", "trigger", "--settle", "--name-match=cpu_dma_latency"], check=True)
        ctl("daemon-reload")

    def install(self) -> None:
        """The owners, what the units cannot know of a site, and everything that starts with the machine."""
        subprocess.run(["systemd-tmpfiles", "--create"], check=False)
        asked = "".join(f"IPAddressAllow={address}\n" for address in WITNESSES)
        self.drop_in(unit("administrator"), f"[Service]\n{asked}")
        ctl("daemon-reload")
        ctl("enable", "--quiet", "var-lib-mediation-run.mount", *map(unit, FUNCTIONS), *(
            unit(name, "socket") for name in SOCKETS))  # fmt: skip

    def witnesses(self) -> None:
        """Two hosts of other administrators: the unit, once in each namespace."""
        for number, address in enumerate(WITNESSES, 1):
            name = f"mediation-witness{number}"
            home = Path(f"/var/lib/{name}")
            shutil.copytree(self.folder / f"w{number}", home, dirs_exist_ok=True)
            subprocess.run(["chown", "-R", "mediation-witness:mediation-witness", home], check=True)
            home.chmod(0o700)
            text = (UNITS / unit("witness")).read_text().replace("/mediation-witness", f"/{name}")
            (UNITS / f"{name}.service").write_text(
                text.replace("StateDirectory=mediation-witness\n", f"StateDirectory={name}\n")
            )
            self.drop_in(f"{name}.service", f"[Service]\nEnvironment=LISTEN={address}:{WITNESS_PORT}\n"
                         f"NetworkNamespacePath=/run/netns/{PREFIX}-w{number}\n")  # fmt: skip
            ctl("daemon-reload")
            ctl("enable", "--quiet", "--now", f"{name}.service")

    def healthy(self) -> bool:
        """Every function answers, nothing is away, the witnesses are there."""
        try:
            said = self.status()
        except (AssertionError, json.JSONDecodeError):
            return False
        functions = said["functions"]
        return set(functions) >= {"iap", "mediator", "egress"} and not any(
            isinstance(found, str) or found.get("away") for found in functions.values()
        )

    def listen(self) -> None:
        """The agency's engineers look at what comes."""
        process = self.start("agency", "collect", "--site", self.folder / "agency")
        assert process.stdout is not None
        self.collected = Lines(process.stdout)

    def try_status(self) -> str:
        return self.try_("status", "--site", self.path).stdout + journal()
