"""A whole lab site under load: made, ordered and run by the daemon's own commands and code, with our collector in C.

The orders are real ones (two tokens, an officer's command, the ledger), filed in one request because a thousand targets
are more orders than a person would type.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import socket
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from bench import network, programs
from mediation.administration import client, lab
from mediation.administration.order import drafting
from mediation.cli.demo.site import LabSite
from mediation.core.authority import jws
from mediation.core.authority.particulars import MAX_SUBJECTS
from mediation.core.case import Act, Authority, Capability, LegalToken, Role
from mediation.core.interface import x1
from mediation.core.interface.control import Filing, Results, Submit
from mediation.runtime import config

DAY_S = 86_400
X1_LIMIT_S = 5.0
MEASURED = ("iap", "mediator")
TEXT = hashlib.sha256(b"LAB bench").hexdigest()  # stands for the policy and for the document of the court


class Setting(NamedTuple):
    """How the measured processes run.

    `priority`: SCHED_FIFO of the tap, one less of the mediator; 0: the ordinary scheduler. `hold`:
    /dev/cpu_dma_latency at 0. `core`: where all of them stand, -1: where the scheduler puts them.
    """

    name: str
    priority: int
    hold: bool
    core: int


def site_text(wire: network.Wire, setting: Setting) -> str:
    # The tap above the mediator: at the same priority on the same core, a batch of the mediator (SCHED_FIFO is not
    # preempted by its equals) keeps the ring waiting until it overflows.
    hold = "true" if setting.hold else "false"
    return f"""
[[iap]]
name = "BENCH"
interface = "{wire.near}"
namespace = "{wire.tap}"

[access]
hold_cpu_latency = {hold}
realtime_priority = {setting.priority}

[delivery]
realtime_priority = {max(0, setting.priority - 1)}
"""


def file_orders(site: config.Site, subjects: Sequence[str]) -> int:
    """One order for each 64 subjects; how many. Raises RuntimeError naming the check that refused one."""
    legal_person, carrier_person, officer = (
        lab.person(site, role) for role in (Role.LEGAL, Role.CARRIER, Role.OFFICER)
    )
    filings = []
    for first in range(0, len(subjects), MAX_SUBJECTS):
        case, now = f"BENCH-{first}", drafting.now_s()
        token = LegalToken(
            type="legal", case=case, authority=Authority.TITLE_III, agency=lab.AGENCY,
            subjects=tuple(subjects[first : first + MAX_SUBJECTS]), not_before_s=now, not_after_s=now + DAY_S,
            capabilities=(Capability.CALL_DATA,), destination=lab.destination(site), profile="t1678",
            court="LAB court", judge="LAB judge", presenting_officer="LAB presenting officer", document_sha256=TEXT,
            issued_s=now, nonce=drafting.nonce(), lab=True,
        )  # fmt: skip
        legal = drafting.legal(token, legal_person)
        carrier = drafting.carrier(legal, TEXT, carrier_person, ())
        act = drafting.command(Act.ACTIVATE, case, jws.sha256_hex(carrier), 1, officer, dde=False, lab=True)
        filings.append(Filing(legal=legal, carrier=carrier, commands=(act,)))
    answer = client.one(site, Submit(filings=tuple(filings)))
    assert isinstance(answer, Results)
    refused = [result.check for result in answer.results if result.check]
    if refused:
        raise RuntimeError(f"bench: an order was refused: {refused[0]}")
    return len(filings)


def report(site: Path, function: str) -> dict[str, Any]:
    """A function's own status, from its X1 socket."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        connection.settimeout(X1_LIMIT_S)
        connection.connect(str(site / "run" / f"{function}.x1"))
        connection.sendall(x1.encode(x1.ReportStatus()))
        line = connection.makefile("rb").readline()
    answer = x1.decode_answer(line)
    assert isinstance(answer, x1.Ok) and answer.report is not None
    return answer.report


def processes(site: Path) -> dict[str, Path]:
    """Folders in /proc of the site's functions, by name of the function."""
    found = {}
    for entry in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            words = (entry / "cmdline").read_text().split("\0")
            if "function" in words and str(site) in words:
                found[words[words.index("function") + 1]] = entry
    return found


def processor_time(site: Path) -> dict[str, int]:
    """Nanoseconds that each function of the site has spent on a processor."""
    return {
        name: sum(int((task / "schedstat").read_text().split()[0]) for task in (entry / "task").iterdir())
        for name, entry in processes(site).items()
    }


def pin(site: Path, core: int) -> None:
    """Puts the measured functions, all their threads, on the core where the baseline stands too."""
    for name, entry in processes(site).items():
        if name in MEASURED:
            for task in (entry / "task").iterdir():
                os.sched_setaffinity(int(task.name), {core})


class Running(NamedTuple):
    site: LabSite
    sink: programs.Program


@contextlib.contextmanager
def running(
    folder: Path, wire: network.Wire, setting: Setting, subjects: Sequence[str], **sink: object
) -> Iterator[Running]:
    """The site at folder/site with its taps armed on `wire`, run as `setting` says, and its collector."""
    with contextlib.ExitStack() as stack:
        site = LabSite(folder / "site", iaps=site_text(wire, setting))
        stack.callback(site.stop)
        loaded = config.load(site.path)
        agency = loaded.lab_dir / "agency"
        collector = programs.Program(
            "sink", port=loaded.lab_agency.collector_port, certificate=agency / "server.pem",
            key=agency / "server.key", authority=agency / "ca.pem", **sink,
        )  # fmt: skip
        stack.enter_context(collector)
        file_orders(loaded, subjects)
        site.run()
        if setting.core >= 0:
            pin(site.path, setting.core)
        yield Running(site, collector)
