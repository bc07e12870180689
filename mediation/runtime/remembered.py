"""What a function remembers over its restarts of withdrawn tokens, of the roster and of the ledger, in open files.

    NAME.revoked   SHA-256 of each withdrawn token, in slots (runtime/slots.py)
    NAME.roster    how many changes the roster had, u64, the SHA-256 of the last of them, and how many of them were
                   told while their approvers were in office, u64, in place
    NAME.head      size, u64, and root of the newest head of the ledger that a quorum had cosigned, in place

Answers for refusing, after a restart, a token whose withdrawal was seen, a roster that is shorter than the one that
was seen, or another, and a ledger that does not contain the head that was seen. The files are opened before a function
seals itself: writing is pwrite64 and fdatasync alone. The head, a new one every few seconds, is left to the kernel to
write back: a power failure can take the last of them, a crash or a kill cannot.

Trust: who adds to the first can stop interceptions, which is always possible; who takes from one loses this
memory: then the administrator's word, the ledger and the next witness are what is left to find a roster that was put
back. No proof is remembered: after each start nothing is armed by a change of the roster before its entry in the ledger
is shown. A function that remembers no roster yet takes the changes that it finds for told in time
(core/authority/trust.py).
"""

from __future__ import annotations

import os
import struct
from pathlib import Path

from mediation.core.authority.lease import Lease
from mediation.core.authority.roster import digest
from mediation.core.authority.trust import Trust
from mediation.core.errors import ConfigurationError
from mediation.core.interface.task_table import TaskTable
from mediation.core.ledger import note
from mediation.runtime import durable
from mediation.runtime.slots import Slots

TOKEN_OCTETS = 32
MAX_TOKENS = 1_000_000  # 64 MiB; once full, the least harm is to remember the first (ours)

_MARK = struct.Struct("!Q32s")
_ROSTER_MARK = struct.Struct("!Q32sQ")


class Remembered:
    """The files of one function. Blocking; a write but of a head costs one sync."""

    def __init__(self, folder: Path, name: str, key: bytes) -> None:
        """Opens or makes them. `key` is 32 octets of the vault's. Raises ConfigurationError."""
        self.failures = 0  # writes that did not reach the disk; what they say holds until a restart
        try:
            folder.mkdir(mode=0o700, exist_ok=True)
            self._tokens = Slots(folder / f"{name}.revoked", key)
            self._roster = durable.keep_open(folder / f"{name}.roster")
            self._head = durable.keep_open(folder / f"{name}.head")
            head = os.pread(self._head, _MARK.size, 0)
            mark = os.pread(self._roster, _ROSTER_MARK.size, 0)
        except OSError as error:
            raise ConfigurationError(f"{name}: {error.strerror}") from error
        self.revoked = {record[:TOKEN_OCTETS].hex() for record in self._tokens.records}
        known = _ROSTER_MARK.unpack(mark) if len(mark) == _ROSTER_MARK.size else (0, b"", 0)
        self._number, self._digest, self._timely = known
        self._seen = _MARK.unpack(head) if len(head) == _MARK.size else (0, b"")

    def resume(self, lease: Lease, ledger: note.Verifier) -> None:
        """A lease that has been told nothing yet begins with the head that was seen last: it is not valid by that, but
        no other ledger is believed."""
        size, root = self._seen
        if size:
            lease.head = note.Checkpoint(origin=ledger.name, size=size, root=root)

    def followed(self, lease: Lease) -> None:
        """Remembers the newest head that the lease has. Never raises."""
        head = lease.head
        if head is None or (head.size, head.root) == self._seen:
            return
        try:
            durable.write(self._head, _MARK.pack(head.size, head.root), 0)
        except OSError:
            self.failures += 1
            return
        self._seen = (head.size, head.root)

    def believed(self, trust: Trust) -> Trust:
        """The loaded trust, with what is remembered. Raises ConfigurationError when its roster was put back."""
        lines = trust.roster.lines
        if self._number and (
            self._number > len(lines) or bytes.fromhex(digest(lines[self._number - 1])) != self._digest
        ):
            raise ConfigurationError("keys/roster.jsonl: not a continuation of the roster that was held here")
        trust = trust.pinned(self._timely if self._number else len(lines))
        self._mark(trust)
        return trust.with_revoked(self.revoked)

    def keep(self, trust: Trust) -> None:
        """Remembers what `trust` knows more than before. Never raises."""
        self._mark(trust)
        fresh = sorted(trust.revoked - self.revoked)
        room = MAX_TOKENS - len(self.revoked)
        self.failures += len(fresh) > room
        try:
            self._tokens.add(map(bytes.fromhex, fresh[:room]))
        except OSError:
            self.failures += 1
            return
        self.revoked.update(fresh[:room])

    def close(self) -> None:
        self._tokens.close()
        os.close(self._roster)
        os.close(self._head)

    def _mark(self, trust: Trust) -> None:
        roster = trust.roster
        if (len(roster.lines), trust.timely) <= (self._number, self._timely):
            return
        mark = (len(roster.lines), bytes.fromhex(roster.head), trust.timely)
        try:
            durable.write(self._roster, _ROSTER_MARK.pack(*mark), 0)
            os.fdatasync(self._roster)
        except OSError:
            self.failures += 1
            return
        self._number, self._digest, self._timely = mark


def trust_report(table: TaskTable, remembered: Remembered) -> dict[str, int]:
    """For ReportStatus: whose word counts, by number alone."""
    trust = table.trust
    return {
        "changes": len(trust.roster.lines), "changes_believed": trust.believed, "revoked_tokens": len(trust.revoked),
        "tasks_fallen": table.fallen, "unrecorded": remembered.failures,
    }  # fmt: skip
