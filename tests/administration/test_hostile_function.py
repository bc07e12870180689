"""A function that was taken over says to the administrator what it likes: it cannot end it, and stops go on."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import trio

from mediation.administration.keys import ledger_files
from mediation.administration.ledger import tiles, verify
from mediation.core.check import Check
from mediation.core.interface import x1
from mediation.core.interface.control import Report, Results, Revoke, Status, Submit
from mediation.core.ledger import entry
from mediation.runtime.config import Site
from mediation.runtime.keys import read_verifier
from tests.administration import site as s
from tests.administration.peers import Peer, Stage, ask, staged

SUBJECT = "tel:+12125550199"


class Liar(Peer):
    """Says `lies[type of the request]` where it has one, once for each request; the truth elsewhere."""

    def __init__(self, name: str, site: Site, log: list[tuple[str, str, str, float]], lies: dict[type, x1.Answer]):
        super().__init__(name, site, log)
        self.lies = lies
        self.told = 0

    async def _session(self, stream: trio.SocketStream) -> None:
        lines = x1.Lines()
        async with stream:
            try:
                while octets := await stream.receive_some(65_536):
                    for line in lines.feed(octets):
                        request = x1.decode_request(line)
                        answer = self.table.handle(request, self.now_ns())
                        if (lie := self.lies.get(type(request))) is not None:
                            answer = lie
                            self.told += 1
                        await stream.send_all(x1.encode(answer))
                    self.moved.set()
                    self.moved = trio.Event()
            except trio.BrokenResourceError:
                pass


@pytest.fixture
async def stage(tmp_path: Path) -> AsyncIterator[Stage]:
    async with staged(tmp_path, s.make) as made:
        yield made


@pytest.mark.parametrize(
    "lies",
    [
        {x1.ActivateTask: x1.Refused(check="x" * 9_000)},  # longer than any entry of the ledger may be
        {x1.ActivateTask: x1.Refused(check=SUBJECT)},
        {x1.Head: x1.Refused(check="proof-consistency", detail="²")},  # a digit that is no decimal
        {x1.DeactivateTask: x1.Refused(check="x" * 9_000)},
    ],
    ids=["a long check", "a subject in place of a check", "a size that is none", "a stop"],
)
async def test_what_it_answers_ends_nothing(stage: Stage, lies: dict[type, x1.Answer]) -> None:
    liar = stage.iap = Liar("iap", stage.site, stage.log, lies)
    await stage.start(stage.mediator, liar)
    await stage.run()
    filed = s.filing(stage.site)
    answer = await ask(stage.site, Submit(filings=(filed,)))
    assert isinstance(answer, Results) and answer.results[0].functions["mediator"] == "done"
    answer = await ask(stage.site, Revoke(revocations=(s.revocation(stage.site, filed),)))
    assert isinstance(answer, Results) and answer.results[0].functions["mediator"] == "done"
    await liar.until(lambda: liar.told > 0)
    assert isinstance(await ask(stage.site, Status()), Report)
    assert stage.administrator is not None and stage.administrator.returncode is None
    assert stage.mediator.cases() == set()
    assert SUBJECT not in stage.said()
    refusals: list[str] = []

    def read(_: tiles.Line, record: entry.Record) -> None:
        if isinstance(record, entry.Outcome):
            refusals.append(record.refused)

    verify.examine(ledger_files(stage.site), read_verifier(stage.site.keys_dir), on_record=read).raise_first()
    assert {check for check in refusals if check} <= set(Check)
