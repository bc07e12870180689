"""Facts of the machine that a figure was measured on: without them no figure means anything."""

from __future__ import annotations

import datetime
import os
import platform
import re
import time
from pathlib import Path

STEAL = 7  # column of /proc/stat: time the hypervisor gave to others (proc_stat(5))


def _text(path: str) -> str:
    try:
        return Path(path).read_text().strip()
    except OSError:
        return ""


def facts() -> dict[str, object]:
    """Kernel, cores, processor, memory, Python, date; nothing that names the host."""
    model = re.search(r"^model name\s*:\s*(.+)$", _text("/proc/cpuinfo"), re.M)
    memory = re.search(r"^MemTotal:\s*(\d+)", _text("/proc/meminfo"), re.M)
    return {
        "kernel": platform.release(),
        "architecture": platform.machine(),
        "cores": os.cpu_count(),
        "processor": model.group(1) if model else "",
        "virtual": " hypervisor " in f" {_text('/proc/cpuinfo')} ".replace("\n", " "),
        "memory_mib": int(memory.group(1)) // 1024 if memory else 0,
        "clocksource": _text("/sys/devices/system/clocksource/clocksource0/current_clocksource"),
        "python": platform.python_version(),
        "date": datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
    }


class Noise:
    """What else the machine did while a benchmark ran: load before it, and time stolen by the hypervisor.

    A reader of a result needs this to judge a tail: on a virtual machine p99 is mostly the hypervisor's.
    """

    def __init__(self) -> None:
        self._load = os.getloadavg()[0]
        self._began = time.monotonic()
        self._cpu = self._read()

    @staticmethod
    def _read() -> list[int]:
        return [int(word) for word in _text("/proc/stat").splitlines()[0].split()[1:]]

    def report(self) -> dict[str, float]:
        spent = [now - then for now, then in zip(self._read(), self._cpu, strict=True)]
        return {
            "load_before": round(self._load, 2),
            "steal_percent": round(100 * spent[STEAL] / max(1, sum(spent)), 2),
            "seconds": round(time.monotonic() - self._began, 1),
        }
