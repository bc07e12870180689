"""The log gives way: what standard error does not take ends nothing, and is counted."""

from __future__ import annotations

import io
import json
import subprocess
import sys

from mediation.runtime.log import Output

LINES = """
import os
from mediation.runtime import log
log.configure("test")
for number in range(10_000):
    log.get("test").error("said", place="x" * 100)
os.write(1, b"done")
"""


class Full(io.StringIO):
    full = False

    def flush(self) -> None:
        if self.full:
            raise OSError(28, "No space left on device")


def test_a_full_disk_ends_nothing() -> None:
    with open("/dev/full", "w") as full:
        done = subprocess.run(
            [sys.executable, "-c", LINES], stdout=subprocess.PIPE, stderr=full, check=True, timeout=60
        )
    assert done.stdout == b"done"


def test_a_reader_that_has_gone_ends_nothing() -> None:
    with subprocess.Popen([sys.executable, "-c", LINES], stdout=subprocess.PIPE, stderr=subprocess.PIPE) as writer:
        assert writer.stdout is not None and writer.stderr is not None
        writer.stderr.close()
        assert writer.stdout.read() == b"done"
        assert writer.wait(60) == 0


def test_what_was_lost_is_said() -> None:
    file = Full()
    output = Output(file)
    output.error("first")
    file.full = True
    for _ in range(3):
        output.error("lost")
    assert output.lost == 3
    file.full = False
    output.error("last")
    output.error("more")
    lines = file.getvalue().splitlines()
    assert lines[0] == "first" and lines[-2:] == ["last", "more"]
    assert json.loads(lines[-3]) == {"event": "log_lines_lost", "level": "error", "count": 3}
    file.close()
    output.error("after the end")
    assert output.lost == 1
