"""`mediation run`: the functions of one site under one trio parent, for the demo, a lab or a small site.

The parent holds no authority and reads no order. It starts the processes, tells when the taps are armed, starts again
what died (with growing pauses) and stops all of them together. In production each function is its own systemd unit
with its own user (config/systemd); both ways use the same readiness protocol.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
from pathlib import Path

import click
import trio

from mediation.access import calls
from mediation.cli.function import function_command
from mediation.core.errors import ConfigurationError
from mediation.runtime import config, forgetting, vault

START_LIMIT_S = 30.0  # a function that is not ready by then has failed
STOP_LIMIT_S = 5.0  # after SIGTERM; then SIGKILL
FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.1, 5.0  # between restarts of the same function
HEALTHY_S = 30.0  # a function that lived this long starts again without a pause


def tell(event: str, **facts: object) -> None:
    """One JSON line on standard output: what whoever started `run` waits for."""
    print(json.dumps({"event": event, **facts}), flush=True)


class Parent:
    """Keeps the processes of a site alive."""

    def __init__(self, site: config.Site) -> None:
        self._site = site
        self._vault = vault.unlock(site)  # once; each function gets its own keys of it
        self._calls = calls.anonymous()  # the access function's calls that are up outlive its process, not this one
        self._children: dict[str, trio.Process] = {}
        self._stopping = False

    async def _spawn(self, name: str) -> trio.Process:
        # A notify address of its own tells which function became ready; abstract, so nothing is left behind.
        environment = {**os.environ, "NOTIFY_SOCKET": f"@mediation-{os.getpid()}-{name}"}
        handed: list[int] = []
        if name in vault.PURPOSES:
            handed.append(self._vault.hand_over(name))
            environment[vault.FD] = str(handed[0])
        kept = []
        if name == "iap":
            environment[calls.FD] = str(self._calls)
            environment |= forgetting.ENVIRONMENT
            kept.append(self._calls)
        try:
            with (self._site.log_dir / f"{name}.log").open("ab") as log_file:
                return await trio.lowlevel.open_process(
                    function_command(name, self._site.path),
                    stdin=subprocess.DEVNULL,
                    stdout=log_file,
                    stderr=log_file,
                    env=environment,
                    pass_fds=[*handed, *kept],
                )
        finally:
            for descriptor in handed:
                os.close(descriptor)

    async def _listen(self, name: str, task_status: trio.TaskStatus[trio.Event] = trio.TASK_STATUS_IGNORED) -> None:
        """Hands back the event that the function's first READY=1 sets; listens on, so that restarts find a reader."""
        ready = trio.Event()
        with trio.socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notify:
            await notify.bind(f"\0mediation-{os.getpid()}-{name}")
            task_status.started(ready)
            while True:
                if b"READY=1" in await notify.recv(4096):
                    if ready.is_set():
                        tell("function_ready", function=name)
                    ready.set()

    async def keep(self, name: str) -> None:
        """Runs `name` and starts it again when it dies, until the parent stops."""
        pause = FIRST_PAUSE_S
        while not self._stopping:
            born = trio.current_time()
            process = await self._spawn(name)
            self._children[name] = process
            status = await process.wait()
            if self._stopping:
                return
            tell("function_ended", function=name, status=status)
            pause = FIRST_PAUSE_S if trio.current_time() - born > HEALTHY_S else min(pause * 2, LONGEST_PAUSE_S)
            await trio.sleep(pause)

    async def stop(self) -> None:
        """SIGTERM to all, the tap first, then SIGKILL to what is left."""
        self._stopping = True
        for name in ("iap", "reconciler", "administrator", "mediator", "egress"):
            if (process := self._children.get(name)) is not None and process.returncode is None:
                process.terminate()
        with trio.move_on_after(STOP_LIMIT_S, shield=True):
            for process in self._children.values():
                await process.wait()
        for process in self._children.values():
            if process.returncode is None:
                process.kill()

    async def run(self) -> None:
        """Until a signal. Raises ConfigurationError when a function does not become ready at the start."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._until_signal, nursery.cancel_scope)
            # All at once, the administrator first: it reads its books while the others come up, connects to them when
            # they are there, and is ready when all live orders are armed.
            listening: dict[str, trio.Event] = {}
            first = ("egress",) if self._site.filters_egress else ()
            last = ("reconciler",) if self._site.reconciles else ()
            for name in ("administrator", *first, "mediator", "iap", *last):
                listening[name] = await nursery.start(self._listen, name)
                nursery.start_soon(self.keep, name)
            for name, ready in listening.items():
                with trio.move_on_after(START_LIMIT_S):
                    await ready.wait()
                if not ready.is_set():
                    await self.stop()
                    raise ConfigurationError(f"{name} did not become ready; {self._site.log_dir / name}.log says why")
            tell("ready", site=self._site.name, lab=self._site.lab, iaps=list(self._site.point_names))

    async def _until_signal(self, scope: trio.CancelScope) -> None:
        with trio.open_signal_receiver(signal.SIGTERM, signal.SIGINT) as signals:
            async for _ in signals:
                await self.stop()
                scope.cancel()
                return


@click.command()
@click.option(
    "--site", "folder", required=True, type=click.Path(exists=True, file_okay=False, path_type=Path),
    envvar="MEDIATION_SITE", show_envvar=True, help="The site.",
)  # fmt: skip
def command(folder: Path) -> None:
    """Starts the functions in the foreground. Prints {"event":"ready",...} when the taps are armed, function_ended and
    function_ready when one dies and is back. SIGTERM or Ctrl-C ends all of them. No unit of systemd may run beside it.

    \b
    mediation run --site DIR
    """
    loaded = config.load(folder)
    if loaded.access_points and os.geteuid() != 0:
        raise ConfigurationError("run: opening a tap needs root (CAP_NET_RAW, CAP_BPF); `mediation replay` does not")
    for each in (loaded.run_dir, loaded.log_dir):
        each.mkdir(mode=0o755, exist_ok=True)
    try:
        trio.run(Parent(loaded).run)
    except* ConfigurationError as group:
        raise group.exceptions[0] from None
