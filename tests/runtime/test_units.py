"""The systemd units: how exposed each is, whether they are well formed, and whether they name what there is.

No service manager runs here as process 1: `systemd-analyze` judges the files, and what they say of a function is held
against its own code. `make machine` (tests/machine) starts them.
"""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from mediation.administration.making import FOLDERS, PUBLIC
from mediation.cli.function import HARDENED
from mediation.runtime import vault

UNITS = Path(__file__).resolve().parents[2] / "config" / "systemd"
SERVICES = sorted(path.name for path in UNITS.glob("*.service"))
EXPOSED_AT_MOST = 1.5

needs_systemd = pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="no systemd-analyze")


def settings(name: str) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for line in (UNITS / name).read_text().splitlines():
        if "=" in line and not line.startswith("#"):
            key, _, value = line.partition("=")
            found.setdefault(key, []).append(value)
    return found


def test_each_function_has_a_unit() -> None:
    functions = {*HARDENED, "iap", "opener", "witness"}
    assert {f"mediation-{name}.service" for name in functions} <= set(SERVICES)


@needs_systemd
@pytest.mark.parametrize("name", SERVICES)
def test_exposure(name: str) -> None:
    said = subprocess.run(
        ["systemd-analyze", "security", "--offline=true", "--no-pager", str(UNITS / name)],
        capture_output=True, text=True, check=False,
    ).stdout  # fmt: skip
    found = re.search(r"Overall exposure level for .*: ([0-9.]+)", said)
    assert found, said
    assert float(found[1]) <= EXPOSED_AT_MOST, said


@needs_systemd
def test_a_unit_without_its_guards_is_found(tmp_path: Path) -> None:
    """The measure can fail: the same unit, without what keeps it in."""
    text = (UNITS / "mediation-mediator.service").read_text()
    bare = tmp_path / "mediation-mediator.service"
    bare.write_text(re.sub(r"(?m)^(Protect|Private|Restrict|SystemCall|Capability|NoNew).*\n", "", text))
    said = subprocess.run(
        ["systemd-analyze", "security", "--offline=true", "--no-pager", str(bare)],
        capture_output=True, text=True, check=False,
    ).stdout  # fmt: skip
    assert float(re.search(r": ([0-9.]+)", said.splitlines()[-1])[1]) > 5  # type: ignore[index]


@needs_systemd
def test_the_units_are_well_formed(tmp_path: Path) -> None:
    for path in UNITS.iterdir():
        text = path.read_text()
        assert "/opt/mediation/bin/mediation" in text or path.suffix != ".service"
        # The program is where the manual installs it, which is not here.
        (tmp_path / path.name).write_text(text.replace("/opt/mediation/bin/mediation", "/bin/true"))
    ended = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", "--recursive-errors=no", *map(str, sorted(tmp_path.iterdir()))],
        capture_output=True, text=True, check=False, env={"SYSTEMD_UNIT_PATH": f"{tmp_path}:/lib/systemd/system"},
    )  # fmt: skip
    complaints = [line for line in ended.stderr.splitlines() if "mediation" in line]
    assert not complaints, "\n".join(complaints)


@pytest.mark.skipif(shutil.which("systemd-sysusers") is None, reason="no systemd-sysusers")
def test_every_user_of_a_unit_is_made(tmp_path: Path) -> None:
    """A line that systemd-sysusers(8) does not take leaves a unit without its user, and it says so nowhere else."""
    (tmp_path / "etc").mkdir()
    ended = subprocess.run(
        ["systemd-sysusers", f"--root={tmp_path}", str(UNITS.parent / "sysusers.d" / "mediation.conf")],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert ended.returncode == 0, ended.stderr
    made = {line.split(":")[0] for line in (tmp_path / "etc" / "passwd").read_text().splitlines()}
    assert {settings(name)["User"][0] for name in SERVICES} <= made
    groups = {line.split(":")[0] for line in (tmp_path / "etc" / "group").read_text().splitlines()}
    assert {settings(name)["Group"][0] for name in SERVICES} <= groups


def test_the_folder_of_a_site_is_roots() -> None:
    """systemd-tmpfiles(8) refuses what lies below another user's folder; and who owned it could replace keys/."""
    lines = (UNITS.parent / "tmpfiles.d" / "mediation.conf").read_text().splitlines()
    owners = {words[1]: words[3] for line in lines if not line.startswith("#") and (words := line.split())}
    assert owners["/var/lib/mediation"] == owners["/var/lib/mediation/keys"] == "root"
    # What `init` makes with a mode of its own is somebody's, or root's and read by all.
    for folder, mode in FOLDERS.items():
        assert f"/var/lib/mediation/{folder}" in owners or mode == PUBLIC, folder


def test_nothing_stays_dead_after_some_failures() -> None:
    """Five failures in ten seconds, and systemd gives a unit up for good (systemd.unit(5))."""
    for name in SERVICES:
        assert settings(name)["StartLimitIntervalSec"] == ["0"], name
    assert settings("mediation-opener.socket")["TriggerLimitIntervalSec"] == ["0"]


@pytest.mark.parametrize("name", SERVICES)
def test_what_no_unit_may_lack(name: str) -> None:
    found = settings(name)
    assert found["LimitCORE"] == ["0"]
    assert found["NoNewPrivileges"] == ["yes"]
    assert found["User"][0].startswith("mediation-")
    assert "CAP_SYS_TIME" not in found["CapabilityBoundingSet"][0]
    assert not any("KEY" in value or "PIN" in value for value in found.get("Environment", ()))
    if name == "mediation-metrics.service":  # no function: a command, twice a minute
        assert "mediation function" not in found["ExecStart"][0] and "--openmetrics" in found["ExecStart"][0]
        assert found["Type"] == ["oneshot"] and settings("mediation-metrics.timer")["WantedBy"] == ["timers.target"]
    elif "witness" not in name:
        holds = name.removeprefix("mediation-").removesuffix(".service") in vault.PURPOSES
        assert bool(found.get("LoadCredentialEncrypted")) == holds
        command = f"/opt/mediation/bin/mediation function {name[10:-8]} --site ${{SITE}}"
        assert found["ExecStart"] == [command]
        for socket in " ".join(found.get("Sockets", ())).split():  # the reconciler listens nowhere
            assert (UNITS / socket).exists()
            assert settings(socket)["Service"] == [name]


def test_each_socket_is_for_one_user() -> None:
    owners = {path.name: settings(path.name) for path in UNITS.glob("*.socket")}
    for name, found in owners.items():
        operators = name == "mediation-administrator.socket"
        assert found["SocketMode"][-1] == ("0660" if operators else "0600")
        assert found["ListenStream"][0].endswith(
            "/" + found["FileDescriptorName"][0]
        )  # the name that sockets.listen asks
    assert {found["SocketUser"][0] for found in owners.values()} == {
        "root", "mediation-admin", "mediation-delivery", "mediation-access", "mediation-reconciler",
    }  # fmt: skip
