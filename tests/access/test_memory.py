"""SEC-20: what a switch host that was taken over finds in the access function: its own subjects, and nothing else.

The whole memory of the real process is read, as root can, after it was told an order of its own access point and one
of another site's; then its files. Case identities, the agencies' addresses, the courts' words and the other site's
subject are in neither. The names of the agencies and of the carrier's own people are: they are in the roster.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import pytest

from mediation.core.case import Destination
from mediation.core.check import Check
from mediation.core.interface import x1
from tests.access.conftest import Wire
from tests.access.process import Access, running
from tests.core import authority

pytestmark = pytest.mark.root
CHUNK_OCTETS = 1 << 20

CASE, OTHER_CASE = "QUIET-CASE-77", "OTHER-CASE-78"
SUBJECT, OTHER_SUBJECT = "+12125557788", "+13125559911"
HOST, PIN = "198.51.100.177", "a7" * 32
SECRETS = {
    "case identity": CASE.encode(),
    "other site's case": OTHER_CASE.encode(),
    "other site's subject": OTHER_SUBJECT[1:].encode(),
    "agency's address": HOST.encode(),
    "agency's certificate": PIN.encode(),
    "court": b"Court of Quiet Sessions",
    "presenting officer": b"Q. Quietly",
}


def in_memory(pid: int, wanted: dict[str, bytes]) -> dict[str, int]:
    """How often each stands in the process's memory (proc(5), /proc/PID/mem)."""
    found: dict[str, int] = {}
    longest = max(len(octets) for octets in wanted.values())
    with open(f"/proc/{pid}/mem", "rb", 0) as memory:
        for line in Path(f"/proc/{pid}/maps").read_text().splitlines():
            place, mode, *_ = line.split()
            begin, end = (int(each, 16) for each in place.split("-"))
            if "r" not in mode or "[vvar" in line or "[vsyscall" in line:
                continue
            before = b""
            for at in range(begin, end, CHUNK_OCTETS):
                try:
                    memory.seek(at)
                    octets = before + memory.read(min(CHUNK_OCTETS, end - at))
                except OSError:  # a page of a device, or beyond the end of a file
                    break
                for name, secret in wanted.items():
                    if count := octets.count(secret):
                        found[name] = found.get(name, 0) + count
                before = octets[-longest + 1 :]
    return found


def in_files(folder: Path, wanted: Iterable[bytes]) -> list[str]:
    files = [path for path in folder.rglob("*") if path.is_file() and path.parent.name != "keys"]
    return [path.name for path in files if any(secret in path.read_bytes() for secret in wanted)]


async def test_the_access_process_keeps_nothing_but_its_own_subjects(
    folder: Path, wire: Wire, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with running(folder, wire, monkeypatch, by_itself=True) as access:
        assert access.process is not None
        facts = {
            "destination": Destination(host=HOST, port=41877, certificate_sha256=PIN),
            "court": "Court of Quiet Sessions", "presenting_officer": "Q. Quietly",
        }  # fmt: skip
        canary = {"the ledger": authority.SIGNER.verifier.name.encode()}
        assert in_memory(access.process.pid, canary), "the search finds what is there"
        own = access.order(case=CASE, subjects=(f"tel:{SUBJECT}",), **facts)
        assert isinstance(await access.ask(x1.ActivateTask(request=own)), x1.Ok)
        elsewhere = _elsewhere(access, case=OTHER_CASE, subjects=(f"tel:{OTHER_SUBJECT}",), **facts)
        refusal = await access.ask(x1.ActivateTask(request=elsewhere))
        assert isinstance(refusal, x1.Refused) and refusal.check == Check.IAP_UNKNOWN
        # Now, before another request takes the place of the last one.
        texts = {"token": own.legal.encode()[80:144], "other's token": elsewhere.legal.encode()[80:144]}
        assert in_memory(access.process.pid, SECRETS | texts) == {}
        assert (await access.report())["tasks"] == 1
        assert in_files(folder, [*SECRETS.values(), SUBJECT[1:].encode()]) == []


def _elsewhere(access: Access, **facts: object) -> authority.TaskRequest:
    """An order for another site's access point, as honest as the first, in the same ledger's next head."""
    order = access.order(**facts)
    carrier = authority.sign_carrier(order.legal, case=OTHER_CASE, iaps=("other-site",), issued_s=access.now_s - 50)
    command = authority.sign_command(
        carrier, case=OTHER_CASE, issued_s=access.now_s - 40, expires_s=access.now_s + 600
    )  # fmt: skip
    ledger = authority.Ledger()
    for _ in range(3):
        ledger.add(ledger.records[0][0])
    return authority.request(order.legal, carrier, command, ledger=ledger)
