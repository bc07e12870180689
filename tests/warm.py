"""Processes of the program without the half second that an interpreter takes to load it: commands, and functions that a
test starts by the dozen.

An image is a process that has loaded some modules of the program and does nothing else with them. What it starts is a
fork of it with the environment, folder and mask of who asks, and ends as an interpreter ends: nothing of a test's own
process is in it, no open vault, no replaced function, no thread. Its command line is the image's; tests that read
command lines, memory or what is loaded start the program itself.
"""

from __future__ import annotations

import functools
import gc
import importlib
import json
import os
import re
import select
import signal
import socket
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

import trio

ROOT: Final = Path(__file__).resolve().parent.parent
LIMIT_S: Final = 60.0
MAX_REQUEST_OCTETS: Final = 1 << 17  # words and environment: one datagram, below Linux' default net.core.wmem_default
GO_ON: Final = frozenset({"run", "function", "collect"})  # programs: they are started as themselves
NOT_LOADED: Final = frozenset({*GO_ON, "demo"})


class Process:
    """What an image started."""

    def __init__(self, pid: int, answers: socket.socket) -> None:
        self.pid, self._answers = pid, answers
        self._status: int | None = None

    @property
    def returncode(self) -> int | None:
        """Its status, as subprocess has it; None while it runs."""
        with suppress(TimeoutError):
            return self.wait(0)
        return None

    def wait(self, limit_s: float) -> int:
        """Its status when it has ended. Raises TimeoutError."""
        if self._status is None:
            ready = select.poll()  # select(2) knows a thousand descriptors
            ready.register(self._answers, select.POLLIN)
            if not ready.poll(limit_s * 1000):
                raise TimeoutError
            self._status = int(self._answers.recv(32))
            self._answers.close()
        return self._status

    async def ended(self) -> int:
        """The same for whoever must not stand still."""
        while self.returncode is None:
            await trio.lowlevel.wait_readable(self._answers)
        return self.wait(0)

    def send_signal(self, number: signal.Signals) -> None:
        if self.returncode is None:  # else the number may be another's by now
            os.kill(self.pid, number)


class Image:
    """`modules` are loaded beside the program's entry, of commands or of one `function`. With `turned` each process has
    a wall clock of its own."""

    def __init__(
        self, *modules: str, function: str = "", turned: bool = False, environment: dict[str, str] | None = None
    ) -> None:
        self._environment = environment or {}
        self._here, there = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with there:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "tests.warm", str(there.fileno()), "turned" if turned else "", function,
                 *modules],
                cwd=ROOT, pass_fds=[there.fileno()], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                env={**os.environ, **self._environment},
            )  # fmt: skip

    def start(
        self, *words: str, out: int, errors: int, environment: dict[str, str] | None = None, shift_ns: int = 0
    ) -> Process:
        """`mediation WORDS`, writing to these descriptors, with a clock that goes so much before ours."""
        mask = int(re.findall(r"^Umask:\s+(\d+)", Path("/proc/self/status").read_text(), re.MULTILINE)[0], 8)
        given = {**os.environ, **self._environment, **(environment or {})}
        asked = json.dumps([words, given, str(Path.cwd()), mask, shift_ns]).encode()
        assert len(asked) <= MAX_REQUEST_OCTETS
        answers, there = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with there:
            socket.send_fds(self._here, [asked], [out, errors, there.fileno()])
        return Process(int(answers.recv(32)), answers)


@functools.cache
def _commands() -> Image:
    from mediation.cli.main import COMMANDS

    return Image(*(place.partition(":")[0] for name, place in COMMANDS.items() if name not in NOT_LOADED))


@functools.cache
def function(name: str, *, turned: bool = False) -> Image:
    """Of one function alone: it holds no other's code. What an environment must say before it starts is said to it, as
    the parent of a site does."""
    from mediation.cli.function import SERVED
    from mediation.runtime import forgetting

    environment = forgetting.ENVIRONMENT if name == "iap" else {}
    return Image("mediation.cli.function", SERVED[name], function=name, turned=turned, environment=environment)


def run(*words: str, limit_s: float = LIMIT_S) -> subprocess.CompletedProcess[str]:
    """`mediation WORDS`, whatever its status. Raises subprocess.TimeoutExpired."""
    if not GO_ON.isdisjoint(words[:1]):
        program = [sys.executable, "-m", "mediation.cli.main", *words]
        return subprocess.run(program, capture_output=True, text=True, timeout=limit_s, check=False)
    with os.fdopen(os.memfd_create("out")) as out, os.fdopen(os.memfd_create("errors")) as errors:
        process = _commands().start(*words, out=out.fileno(), errors=errors.fileno())
        try:
            status = process.wait(limit_s)
        except TimeoutError:
            process.send_signal(signal.SIGKILL)
            raise subprocess.TimeoutExpired(list(words), limit_s) from None
        for stream in (out, errors):
            stream.seek(0)
        return subprocess.CompletedProcess(list(words), status, out.read(), errors.read())


# --- in the image's process -------------------------------------------------------------------------------------------


def _asked(control: socket.socket) -> tuple[list[Any], list[int]] | None:
    """In each fork, what it is to do, with its output's descriptors; None in the image when the tests are over."""
    running: dict[int, tuple[int, socket.socket]] = {}  # by the process's descriptor
    ready = select.poll()
    ready.register(control, select.POLLIN)
    while True:
        for descriptor, _ in ready.poll():
            if descriptor != control.fileno():
                ready.unregister(descriptor)
                pid, answers = running.pop(descriptor)
                os.close(descriptor)
                with answers, suppress(BrokenPipeError):  # who asked may be gone
                    answers.send(b"%d" % os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
                continue
            octets, descriptors, *_ = socket.recv_fds(control, MAX_REQUEST_OCTETS, 3)
            if not octets:
                return None
            pid = os.fork()
            if not pid:
                for each in (control.detach(), descriptors[2], *running):
                    os.close(each)
                for _, each_answers in running.values():
                    each_answers.close()
                return json.loads(octets), descriptors[:2]
            answers = socket.socket(fileno=descriptors[2])
            with suppress(BrokenPipeError):
                answers.send(b"%d" % pid)
            for each in descriptors[:2]:
                os.close(each)
            running[process := os.pidfd_open(pid)] = pid, answers
            ready.register(process, select.POLLIN)


def _configure(function: str) -> None:
    """As the program does before it loads the rest: loggers that modules make are bound to what is set up then. It says
    so on standard error, which is not this process's but those of its forks."""
    importlib.import_module("mediation.cli.main")
    log = importlib.import_module("mediation.runtime.log")
    kept, nowhere = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 2)
    log.configure(function) if function else log.configure_command()
    os.dup2(kept, 2)
    os.close(kept)
    os.close(nowhere)


def _become(words: list[str], environment: dict[str, str], folder: str, mask: int, streams: list[int]) -> None:
    for number, stream in enumerate(streams, 1):
        os.dup2(stream, number)
        os.close(stream)
    os.setsid()
    os.environ.clear()
    os.environ.update(environment)
    os.chdir(folder)
    os.umask(mask)
    sys.argv = ["mediation", *words]


if __name__ == "__main__":
    shift = [0]
    if sys.argv[2]:  # before anything keeps the clock that it finds
        real = time.time_ns
        time.time_ns = lambda: real() + shift[0]
        time.time = lambda: time.time_ns() / 1e9
    _configure(sys.argv[3])
    for name in sys.argv[4:]:
        importlib.import_module(name)
    gc.freeze()  # pages that the forks share
    told = _asked(socket.socket(fileno=int(sys.argv[1])))
    if told is not None:
        (*facts, shift[0]), streams = told
        _become(*facts, streams)
        importlib.import_module("mediation.cli.main").main()
