"""The access function's call journal: keeps matched signalling of calls, and plays it back when an order is armed.

See ext/call_journal.pxd for the file and mediation/access/calls.py for what it is good for and may not do. All methods
are for the thread that owns the tasks, while it holds the reader's.
"""
from cpython.pycapsule cimport PyCapsule_GetPointer
from libc.stdint cimport uint8_t, uint32_t, uint64_t
from libc.string cimport memcmp, memcpy, memset

from call_journal cimport (
    JOURNAL_HEADER, JOURNAL_LIFE, call_journal, compact_journal, half_in_use, half_of, kept, message_at,
    record_at,
)
from dialog cimport NO_CALL
from match cimport match_datagram, match_table
from match_table cimport COUNTERS
from packet cimport packet_info

from mediation.core.errors import LocalProtocolError

HEADER_OCTETS = JOURNAL_HEADER
SMALLEST_HALF = 1 << 16


cdef class CallJournal:
    """`octets` is the mapping of a file with a whole header; it stays in use as long as the matcher lives."""

    cdef match_table *table
    cdef object matcher
    cdef object mapping
    cdef readonly uint64_t found         # records that earlier lives left

    def __cinit__(self, matcher, uint8_t[::1] octets not None):
        cdef call_journal *j
        cdef uint64_t at = 0
        cdef kept *k
        cdef const uint8_t *half
        if <size_t>octets.shape[0] < JOURNAL_HEADER + 2 * <size_t>SMALLEST_HALF:
            raise LocalProtocolError("call journal: too small")
        self.matcher, self.mapping = matcher, octets
        self.table = <match_table *>PyCapsule_GetPointer(matcher.capsule, b"mediation.match_table")
        j = &self.table.journal
        memset(j, 0, sizeof(call_journal))
        j.map = &octets[0]
        j.half = ((<uint64_t>octets.shape[0] - JOURNAL_HEADER) // 2) & ~<uint64_t>7
        (<uint64_t *>(j.map + JOURNAL_LIFE))[0] += 1
        j.life = (<uint64_t *>(j.map + JOURNAL_LIFE))[0]
        half = half_of(j, half_in_use(j))
        k = record_at(j, half, 0)
        while k != NULL:
            if k.life == j.life:
                k.life = 0               # nobody of this life wrote it
            self.found += 1
            at += k.size
            k = record_at(j, half, at)
        j.used = at
        memset(<void *>(half + at), 0, j.half - at)   # behind a record that is none nothing is read, nor kept
        memset(half_of(j, half_in_use(j) ^ 1), 0, j.half)

    def restore(self, bytes xid not None, uint64_t now_ns):
        """Plays back the calls that were matched for this order, which was just armed: through the match, under its
        rules, without output. How many messages."""
        cdef match_table *t = self.table
        cdef call_journal *j = &t.journal
        cdef const uint8_t *half = half_of(j, half_in_use(j))
        cdef const uint8_t *wanted = xid
        cdef uint64_t[COUNTERS] counters
        cdef uint64_t lost = 0
        cdef packet_info info
        cdef kept *k
        cdef uint64_t at = 0
        cdef uint32_t i
        cdef set handles = set()
        if len(xid) != 16:
            raise LocalProtocolError("matcher: an XID has 16 octets")
        if not self.found:
            return 0
        k = record_at(j, half, 0)
        while k != NULL:
            for i in range(k.task_count):
                if memcmp(k.tasks[i].xid, wanted, 16) == 0:
                    handles.add(k.handle)
            at += k.size
            k = record_at(j, half, at)
        if not handles:
            return 0
        memcpy(counters, t.counters, sizeof(counters))
        lost = j.replayed
        at = 0
        k = record_at(j, half, 0)
        j.replaying = True
        while k != NULL:
            if k.handle in handles:
                memset(&info, 0, sizeof(info))
                info.stamp_ns, info.error_us, info.undisciplined = k.stamp_ns, k.error_us, k.undisciplined
                info.family, info.iap, info.protocol = k.family, k.iap, 17
                info.source_port, info.destination_port = k.source_port, k.destination_port
                memcpy(info.source, k.source, 16)
                memcpy(info.destination, k.destination, 16)
                j.index = NO_CALL
                match_datagram(t, &info, <const uint8_t *>k + message_at(k), k.length, min(k.now_ns, now_ns))
                if j.index != NO_CALL:
                    k.index, k.life = j.index, j.life
                    t.calls.calls[j.index].live.heard_ns = now_ns  # it may have gone on while nobody looked
                    j.replayed += 1
            at += k.size
            k = record_at(j, half, at)
        j.replaying = False
        memcpy(t.counters, counters, sizeof(counters))
        return j.replayed - lost

    def tidy(self, uint64_t now_ns):
        """Once a second: records of calls and orders that have ended go. Whether there was anything to do."""
        cdef call_journal *j = &self.table.journal
        if not (j.dirty or j.stuck or j.used > j.half // 4 * 3):
            return False
        with nogil:
            compact_journal(j, &self.table.calls, &self.table.targets, now_ns)
        j.stuck = False
        return True

    def counters(self):
        """Since the start, but for `octets`, which are in use now."""
        cdef call_journal *j = &self.table.journal
        return {
            "found": self.found, "recorded": j.recorded, "refused": j.refused, "malformed": j.malformed,
            "compacted": j.compacted, "replayed": j.replayed, "octets": j.used,
        }
