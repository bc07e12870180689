"""The thread beside trio's: whatever becomes of a job, nothing waits for it for ever."""

from __future__ import annotations

import trio

from mediation.runtime.beside import Beside


async def test_a_job_that_fails_holds_up_nothing() -> None:
    beside, done = Beside("test"), list[str]()

    def fails() -> None:
        raise MemoryError

    beside.start()
    beside.start()  # nothing
    with trio.fail_after(30):
        await beside.do(fails).wait()
        await beside.do(lambda: done.append("next")).wait()
    assert done == ["next"]
