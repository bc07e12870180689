"""`make machine`: makes the disk of a virtual machine, starts it, shows what it reports; status 0 when all passed.

Answers for: nothing of the host is changed; all lies below build/machine. What is missing on the host is named, and
then nothing is run. KVM where it can run the machine's kernel, emulation elsewhere.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

PROJECT = Path(__file__).resolve().parents[2]
FOLDER = PROJECT / "build" / "machine"
BASE, ROOT, DISK, WHEELS = (FOLDER / name for name in ("base", "root", "disk.img", "wheels"))
REPORT, CONSOLE = FOLDER / "report.log", FOLDER / "console.log"
SUITE = "bookworm"
PACKAGES = (
    "systemd-sysv", "dbus", "udev", "kmod", "procps", "initramfs-tools", "linux-image-amd64", "iproute2", "nftables",
    "iptables", "tcpdump", "python3", "python3-venv", "sip-tester", "openssl", "libelf1", "libbpf1", "zlib1g",
)  # fmt: skip
NEEDED = ("qemu-system-x86_64", "debootstrap", "mkfs.ext4", "chroot")
TESTS = (  # what the tests inside need beside the release
    "pytest>=8", "pytest-trio>=0.8", "pytest-rerunfailures>=15", "hypothesis>=6.100",
)  # fmt: skip
DISK_GIB = 4
MEMORY_MIB = 2048
KVM_LIMIT_S = 60.0  # a kernel that says nothing for so long does not run under this KVM
KVM_TIME_S, EMULATED_TIME_S = 1800.0, 3 * 3600.0
TICK_S = 0.5
UNITS = {
    "network.service": """[Unit]
DefaultDependencies=no
After=systemd-udevd.service systemd-tmpfiles-setup-dev.service local-fs.target
Before=network.target
[Service]
Type=oneshot
RemainAfterExit=yes
WorkingDirectory=/opt/project
ExecStart=/opt/tests/bin/python -B -m tests.machine.network
[Install]
WantedBy=multi-user.target
""",
    "machine.service": """[Unit]
After=multi-user.target network.service
[Service]
Type=simple
TimeoutStopSec=5
Environment=MACHINE_LIMIT_S={limit}
ExecStart=/bin/sh /opt/project/tests/machine/inside.sh
[Install]
WantedBy=graphical.target
""",
}


def run(*words: str | Path) -> None:
    subprocess.run([str(word) for word in words], check=True)


def missing() -> str:
    if os.geteuid() != 0:
        return "not root"
    absent = [name for name in NEEDED if shutil.which(name) is None]
    return f"{', '.join(absent)} not installed" if absent else ""


def make_base() -> None:
    """Debian without the release; kept, because it takes the longest."""
    if (BASE / "made").exists():
        return
    shutil.rmtree(BASE, ignore_errors=True)
    run("debootstrap", "--variant=minbase", f"--include={','.join(PACKAGES)}", SUITE, BASE)
    (BASE / "made").touch()


def make_root() -> None:
    """The base, the release in /opt/mediation, and beside it the tests with an interpreter of their own."""
    shutil.rmtree(ROOT, ignore_errors=True)
    run("cp", "-a", BASE, ROOT)
    WHEELS.mkdir(exist_ok=True)
    for old in WHEELS.glob("mediation-*"):
        old.unlink()
    subprocess.run([sys.executable, "setup.py", "-q", "bdist_wheel", "-d", str(WHEELS)], check=True, cwd=PROJECT)
    (release,) = WHEELS.glob("mediation-*.whl")
    run(sys.executable, "-m", "pip", "-q", "download", "-d", WHEELS, f"{release}[collection]", *TESTS)
    shutil.copytree(WHEELS, ROOT / "wheels")
    for folder, what in (("mediation", ["mediation[collection]"]), ("tests", list(TESTS))):
        run("chroot", ROOT, "python3", "-m", "venv", f"/opt/{folder}")
        run("chroot", ROOT, f"/opt/{folder}/bin/python", "-m", "pip", "-q", "install", "--no-index", "--find-links",
            "/wheels", *what)  # fmt: skip
    shutil.rmtree(ROOT / "wheels")
    site_packages = "lib/python3.11/site-packages"
    (ROOT / "opt/tests" / site_packages / "release.pth").write_text(f"/opt/mediation/{site_packages}\n")
    for name in ("config", "tests"):
        shutil.copytree(PROJECT / name, ROOT / "opt/project" / name, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(PROJECT / "pyproject.toml", ROOT / "opt/project")
    (ROOT / "etc/fstab").write_text("/dev/vda / ext4 defaults 0 1\n")
    (ROOT / "etc/hostname").write_text("machine\n")


def make_disk(*, emulated: bool) -> None:
    """A fresh disk; an emulated machine has patience."""
    units = ROOT / "etc/systemd/system"
    for name, text in UNITS.items():
        (units / name).write_text(text.replace("{limit}", "900" if emulated else "60"))
        target = text.rpartition("WantedBy=")[2].strip()
        (units / f"{target}.wants").mkdir(exist_ok=True)
        link = units / f"{target}.wants" / name
        link.unlink(missing_ok=True)
        link.symlink_to(f"../{name}")
    if emulated:  # else each start of a function compiles for a minute
        run("chroot", ROOT, "/opt/tests/bin/python", "-m", "compileall", "-q", "/opt/mediation/lib", "/opt/tests/lib")
    patience = ROOT / "etc/systemd/system.conf.d"
    patience.mkdir(exist_ok=True)
    (patience / "machine.conf").write_text("[Manager]\nDefaultTimeoutStartSec=900\n" if emulated else "")
    DISK.unlink(missing_ok=True)
    with DISK.open("wb") as disk:
        disk.truncate(DISK_GIB << 30)
    run("mkfs.ext4", "-q", "-d", ROOT, DISK)


def start(accelerator: list[str]) -> subprocess.Popen[bytes]:
    boot = ROOT / "boot"
    (kernel,), (initrd,) = boot.glob("vmlinuz-*"), boot.glob("initrd.img-*")
    for path in (REPORT, CONSOLE):
        path.unlink(missing_ok=True)
    return subprocess.Popen(
        ["qemu-system-x86_64", "-machine", "q35", *accelerator, "-smp", "2", "-m", str(MEMORY_MIB), "-nodefaults",
         "-display", "none", "-nic", "none", "-device", "virtio-rng-pci",
         "-kernel", str(kernel), "-initrd", str(initrd), "-append", "root=/dev/vda rw console=ttyS0",
         "-drive", f"file={DISK},if=virtio,format=raw,cache=unsafe", "-serial", f"file:{CONSOLE}",
         "-device", "virtio-serial", "-chardev", f"file,id=report,path={REPORT}",
         "-device", "virtserialport,chardev=report,name=report"],
        stdin=subprocess.DEVNULL,
    )  # fmt: skip


def speaks(machine: subprocess.Popen[bytes], limit_s: float) -> bool:
    """Whether its first process is up in time."""
    limit = time.monotonic() + limit_s
    while machine.poll() is None and time.monotonic() < limit:
        if CONSOLE.exists() and b"systemd[1]" in CONSOLE.read_bytes():
            return True
        time.sleep(TICK_S)
    return False


def follow(machine: subprocess.Popen[bytes], limit_s: float) -> int:
    """Shows the report while it grows; the machine's own status, 1 when it did not come to an end."""
    limit, shown, report = time.monotonic() + limit_s, 0, b""
    while (ended := machine.poll() is not None) or time.monotonic() < limit:
        report = REPORT.read_bytes() if REPORT.exists() else b""
        sys.stdout.write(report[shown:].decode(errors="replace"))
        sys.stdout.flush()
        shown = len(report)
        if ended:
            break
        time.sleep(TICK_S)
    return 0 if b"\nmachine ended with 0" in report else 1


def main() -> int:
    if lacks := missing():
        print(f"skipped: no machine of its own: {lacks}")
        return 0
    FOLDER.mkdir(parents=True, exist_ok=True)
    make_base()
    make_root()
    machine: subprocess.Popen[bytes] | None = None
    try:
        if os.access("/dev/kvm", os.R_OK | os.W_OK):
            make_disk(emulated=False)
            machine = start(["-accel", "kvm", "-cpu", "host,-arch-capabilities"])
            if speaks(machine, KVM_LIMIT_S):
                return follow(machine, KVM_TIME_S)
            machine.kill()
            machine.wait()
        print("no usable KVM: the machine is emulated, and its times say nothing", flush=True)
        make_disk(emulated=True)
        machine = start(["-accel", "tcg,thread=multi,tb-size=512", "-cpu", "Nehalem"])
        return follow(machine, EMULATED_TIME_S)
    finally:
        if machine is not None and machine.poll() is None:
            machine.kill()
            machine.wait()


if __name__ == "__main__":
    sys.exit(main())
