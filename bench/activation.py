"""How long 10,000 orders take from an officer's hand to the tap, and how long a site takes to start with them.

Each order is a real one: two tokens and an activation, entered in the ledger, under a head that the lab's witness
cosigned, admitted with its proof by the administrator, the mediator and the access function, each for itself, and
armed. Signing is not counted: persons do that. `restart_s` is the time from the start of the first process until all
orders are in force again: the access function has judged and armed each, and the mediator delivers an event of any. It
judges an order when the first event of it comes, and in any case when the access function has nothing left to judge:
`judged_s` is when both have judged all. The baseline in C verifies three signatures and one inclusion proof for
each order, once, in one process; three processes of ours do so.

`activate_cpu_s` and `restart_cpu_s` are the processor time of all functions together: what a machine with other work on
it, or with more cores, makes of it can be told from them.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from bench import labsite, programs
from bench.report import Result, main
from mediation.administration import client, lab
from mediation.administration.order import drafting
from mediation.cli.demo.site import LabSite
from mediation.core.authority import jws
from mediation.core.case import Act, Authority, Capability, LegalToken, Role
from mediation.core.interface.control import Filing, Results, Settle, Submit
from mediation.runtime import config

ORDERS, QUICK_ORDERS = 10_000, 1_000
AT_ONCE = 250  # orders in one request: while the next are filed, the functions arm those before
POLL_S = 0.1
DAY_S = 86_400
LIMIT_S = 300.0
IAP = '[[iap]]\nname = "BENCH"\ninterface = "lo"\nring_mib = 1\npromiscuous = false\n'


def sign(site: config.Site, count: int) -> list[Filing]:
    """`count` orders with their activations, each of one subject."""
    legal_person, carrier_person, officer = (
        lab.person(site, role) for role in (Role.LEGAL, Role.CARRIER, Role.OFFICER)
    )
    destination, now = lab.destination(site), drafting.now_s()
    filings = []
    for number in range(count):
        token = LegalToken(
            type="legal", case=f"BENCH-{number}", authority=Authority.PEN_REGISTER, agency=lab.AGENCY,
            subjects=(f"tel:+1212{number:07}",), not_before_s=now, not_after_s=now + DAY_S,
            capabilities=(Capability.CALL_DATA,), destination=destination, profile="t1678", court="LAB court",
            judge="LAB judge", presenting_officer="LAB presenting officer", document_sha256=labsite.TEXT, issued_s=now,
            nonce=drafting.nonce(), lab=True,
        )  # fmt: skip
        legal = drafting.legal(token, legal_person)
        carrier = drafting.carrier(legal, labsite.TEXT, carrier_person, ())
        act = drafting.command(
            Act.ACTIVATE, token.case, jws.sha256_hex(carrier), 1, officer, dde=False, lab=True
        )  # fmt: skip
        filings.append(Filing(legal=legal, carrier=carrier, commands=(act,)))
    return filings


def armed(folder: Path) -> dict[str, int]:
    """Tasks by function, as each says itself."""
    return {name: int(labsite.report(folder, name)["tasks"]) for name in labsite.MEASURED}


def in_force(folder: Path) -> dict[str, int]:
    """The same, with those that a function holds and judges at their first event."""
    reports = {name: labsite.report(folder, name) for name in labsite.MEASURED}
    return {name: int(report["tasks"]) + int(report.get("waiting", 0)) for name, report in reports.items()}


def until(found: Callable[[Path], dict[str, int]], folder: Path, count: int) -> None:
    end = time.monotonic() + LIMIT_S
    while set(found(folder).values()) != {count}:
        if time.monotonic() > end:
            raise RuntimeError(f"bench: {found.__name__}: {found(folder)} of {count} tasks")
        time.sleep(POLL_S)


def measure(options: argparse.Namespace) -> Result:
    count = QUICK_ORDERS if options.quick else ORDERS
    programs.build()
    with tempfile.TemporaryDirectory(prefix="bench-activation-") as temporary:
        folder = Path(temporary) / "site"
        site = LabSite(folder, iaps=IAP)
        try:
            loaded = config.load(folder)
            print(f"signing {count} orders", file=sys.stderr, flush=True)
            filings = sign(loaded, count)
            site.run()
            requests = [
                Submit(filings=tuple(filings[at : at + AT_ONCE]), wait=False) for at in range(0, count, AT_ONCE)
            ]
            before_ns = sum(labsite.processor_time(folder).values())
            began = time.perf_counter()
            answers = client.call(loaded, *requests, Settle())
            refused = sum(bool(r.check) for answer in answers if isinstance(answer, Results) for r in answer.results)
            until(armed, folder, count)
            activated_s = time.perf_counter() - began
            activated_cpu_s = (sum(labsite.processor_time(folder).values()) - before_ns) / 1e9
            site.stop_functions()
            began = time.perf_counter()
            site.run()
            ready_s = time.perf_counter() - began
            until(in_force, folder, count)
            restarted_s = time.perf_counter() - began
            until(armed, folder, count)
            judged_s = time.perf_counter() - began
            restarted_cpu_s = sum(labsite.processor_time(folder).values()) / 1e9
        finally:
            site.stop()
    least = programs.run("activation", orders=count)
    least_s = least["wall_ns"] / 1e9
    return {
        "orders": count, "refused": refused, "activate_s": round(activated_s, 2), "ready_s": round(ready_s, 2),
        "restart_s": round(restarted_s, 2), "judged_s": round(judged_s, 2), "activate_cpu_s": round(activated_cpu_s, 2),
        "restart_cpu_s": round(restarted_cpu_s, 2), "per_second": round(count / activated_s),
        "baseline_s": round(least_s, 2), "ratio": round(activated_s / least_s, 2),
    }  # fmt: skip


if __name__ == "__main__":
    main("activation", __doc__ or "", measure)
