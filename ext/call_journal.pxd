# The signalling of subjects' calls that are up, in a file that outlives the process: what a restart needs to go on.
#
# The file is mapped before the process is sealed; from then on everything here is stores into that mapping, which
# survive a process that is killed, and cost a copy. Two halves: one is written to its end, then the records of calls
# that still are in the table are copied to the other, which takes its place with one store. Layout, host byte order:
#
#     0    MAGIC  8 octets      8  what access points it is of, 32 octets     40  secret of the handles, 16 octets
#     56   the half in use, u64      64  number of this life, u64            4096  the halves
#
# A record is a `kept` and behind it the message; a size of 0 ends a half. Its size is stored last, so a record is whole
# or not there. Nothing in it is believed: a replay goes through the match like any packet (mediation/access/calls.py).
from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t
from libc.string cimport memcmp, memcpy, memset

from dialog cimport call, call_table
from packet cimport packet_info
from targets cimport target_table, task

cdef extern from *:
    """
    #define publish_size(place, value) __atomic_store_n((place), (value), __ATOMIC_RELEASE)
    #define publish_half(place, value) __atomic_store_n((place), (value), __ATOMIC_RELEASE)
    """
    void publish_size(uint32_t *place, uint32_t value) noexcept nogil
    void publish_half(uint64_t *place, uint64_t value) noexcept nogil

cdef enum:
    JOURNAL_HEADER = 4096
    JOURNAL_HALF = 56
    JOURNAL_LIFE = 64
    JOURNAL_TASKS = 8          # CALL_TASKS
    JOURNAL_MESSAGE = 65535    # a SIP message in one datagram; longer ones over TCP carry no more state


cdef struct kept_task:
    uint8_t xid[16]
    uint64_t not_after_ns


cdef struct kept:
    uint32_t size              # with the message, a multiple of 8; 0: the end
    uint32_t length            # of the message
    uint32_t check             # of what stands here
    uint32_t index             # of the call in the table of the life that it says
    uint64_t life
    uint64_t handle            # of the call
    uint64_t stamp_ns
    uint64_t now_ns            # when it was matched
    uint32_t error_us
    uint16_t source_port
    uint16_t destination_port
    uint8_t undisciplined
    uint8_t family
    uint8_t iap
    uint8_t task_count
    uint32_t unused
    uint8_t source[16]
    uint8_t destination[16]
    kept_task tasks[JOURNAL_TASKS]


cdef struct call_journal:
    uint8_t *map               # NULL: none
    uint64_t half              # octets of each
    uint64_t used              # of the half in use
    uint64_t life
    bint replaying             # nothing goes out, and nothing is kept
    uint32_t index             # of the call that the message replayed last is of, else NO_CALL
    bint stuck                 # it was full of calls that are up; tried again when the trio thread says so
    bint dirty                 # a task ended, or a call lapsed: its records are to go
    uint64_t recorded
    uint64_t refused           # no room, or too long
    uint64_t malformed         # records that were none
    uint64_t compacted
    uint64_t replayed


cdef inline uint8_t *half_of(const call_journal *j, uint64_t which) noexcept nogil:
    return j.map + JOURNAL_HEADER + (which & 1) * j.half


cdef inline uint64_t half_in_use(const call_journal *j) noexcept nogil:
    return (<uint64_t *>(j.map + JOURNAL_HALF))[0] & 1


cdef inline uint32_t check_of(const kept *k, uint32_t size) noexcept nogil:
    """Finds accidents. What may change later is not in it."""
    cdef uint64_t sum = <uint64_t>size << 32 | k.length
    sum = (sum ^ k.handle) * <uint64_t>0x9E3779B97F4A7C15
    sum = (sum ^ k.stamp_ns) * <uint64_t>0x9E3779B97F4A7C15
    sum = (sum ^ k.now_ns) * <uint64_t>0x9E3779B97F4A7C15
    sum = (sum ^ (<uint64_t>k.source_port << 48 | <uint64_t>k.destination_port << 32 | k.error_us)) * (
        <uint64_t>0x9E3779B97F4A7C15)
    sum = (sum ^ (<uint64_t>k.family << 16 | <uint64_t>k.iap << 8 | k.task_count)) * <uint64_t>0x9E3779B97F4A7C15
    return <uint32_t>(sum >> 32)


cdef inline uint64_t message_at(const kept *k) noexcept nogil:
    """Where a record's message begins: behind as many tasks as it has."""
    return sizeof(kept) - sizeof(kept_task) * (JOURNAL_TASKS - k.task_count)


cdef inline kept *record_at(call_journal *j, const uint8_t *half, uint64_t at) noexcept nogil:
    """The record there, if it is one; NULL at the end of the half or of what can be read."""
    cdef kept *k
    cdef uint64_t head = sizeof(kept) - sizeof(kept_task) * JOURNAL_TASKS
    if at + head > j.half:
        return NULL
    k = <kept *>(half + at)
    if k.size == 0:
        return NULL
    if (k.size & 7 or k.size > j.half - at or k.length > JOURNAL_MESSAGE or k.task_count > JOURNAL_TASKS
            or message_at(k) + k.length > k.size or (k.family != 4 and k.family != 6)
            or k.check != check_of(k, k.size)):
        j.malformed += 1
        return NULL
    return k


cdef inline bint is_wanted(call_journal *j, const call_table *calls, const target_table *targets, const kept *k,
                           uint64_t now_ns) noexcept nogil:
    """Whether its call is up, as far as is known, and of an armed task; of an earlier life, whether an order that it
    was matched for may still come back."""
    cdef const call *c
    cdef uint32_t i
    if k.life == j.life:
        if k.index >= calls.used:
            return False
        c = &calls.calls[k.index]
        if not c.used or c.handle != k.handle or c.live.lapsed:
            return False
        for i in range(c.task_count):
            if targets.tasks[c.tasks[i].task].generation == c.tasks[i].generation:
                return True
        return False
    for i in range(k.task_count):
        if k.tasks[i].not_after_ns > now_ns:
            return True
    return False


cdef inline void extend_kept(call_journal *j, const uint8_t *xid, uint64_t not_after_ns) noexcept nogil:
    """The order runs longer: what is kept of its calls says so, too. Nothing is kept for a table without a journal."""
    cdef const uint8_t *half
    cdef kept *k
    cdef uint64_t at = 0
    cdef uint32_t i
    if j.map == NULL:
        return
    half = half_of(j, half_in_use(j))
    k = record_at(j, half, 0)
    while k != NULL:
        for i in range(k.task_count):
            if memcmp(k.tasks[i].xid, xid, 16) == 0:
                k.tasks[i].not_after_ns = not_after_ns
        at += k.size
        k = record_at(j, half, at)


cdef inline void compact_journal(call_journal *j, const call_table *calls, const target_table *targets,
                                 uint64_t now_ns) noexcept nogil:
    """Only the records of calls that are up stay. When a task has ended what is left behind is wiped."""
    cdef uint64_t which = half_in_use(j)
    cdef const uint8_t *source = half_of(j, which)
    cdef uint8_t *target = half_of(j, which ^ 1)
    cdef uint64_t at = 0
    cdef uint64_t used = 0
    cdef kept *k = record_at(j, source, 0)
    while k != NULL:
        if is_wanted(j, calls, targets, k, now_ns):
            memcpy(target + used, k, k.size)
            used += k.size
        at += k.size
        k = record_at(j, source, at)
    if used + sizeof(uint32_t) <= j.half:
        memset(target + used, 0, sizeof(uint32_t))
    publish_half(<uint64_t *>(j.map + JOURNAL_HALF), which ^ 1)
    if j.dirty:
        memset(<void *>source, 0, j.half)
        memset(target + used, 0, j.half - used)
    j.used = used
    j.compacted += 1
    j.dirty = False


cdef inline void keep_message(call_journal *j, const call_table *calls, const target_table *targets, uint32_t index,
                              const uint8_t *message, uint64_t length, const packet_info *info,
                              uint64_t now_ns) noexcept nogil:
    """One message of a call, that became a PDU."""
    cdef const call *c = &calls.calls[index]
    cdef const task *t
    cdef kept *k
    cdef uint64_t size = (sizeof(kept) + length + 7) & ~<uint64_t>7  # at most
    cdef uint32_t i
    if length > JOURNAL_MESSAGE:
        j.refused += 1
        return
    if j.used + size + sizeof(uint32_t) > j.half:
        if not j.stuck:
            compact_journal(j, calls, targets, now_ns)
            j.stuck = j.used > j.half // 4 * 3
        if j.used + size + sizeof(uint32_t) > j.half:
            j.refused += 1
            return
    k = <kept *>(half_of(j, half_in_use(j)) + j.used)
    k.length = <uint32_t>length
    k.index = index
    k.life = j.life
    k.handle = c.handle
    k.stamp_ns = info.stamp_ns
    k.now_ns = now_ns
    k.error_us = info.error_us
    k.source_port = info.source_port
    k.destination_port = info.destination_port
    k.undisciplined = info.undisciplined
    k.family = info.family
    k.iap = info.iap
    k.unused = 0
    memcpy(k.source, info.source, 16)
    memcpy(k.destination, info.destination, 16)
    k.task_count = 0
    for i in range(c.task_count):
        t = &targets.tasks[c.tasks[i].task]
        if t.generation == c.tasks[i].generation:
            memcpy(k.tasks[k.task_count].xid, t.xid, 16)
            k.tasks[k.task_count].not_after_ns = t.not_after_ns
            k.task_count += 1
    size = (message_at(k) + length + 7) & ~<uint64_t>7
    memcpy(<uint8_t *>k + message_at(k), message, length)
    memset(<uint8_t *>k + size, 0, sizeof(uint32_t))
    k.check = check_of(k, <uint32_t>size)
    j.used += size
    publish_size(&k.size, <uint32_t>size)
    j.recorded += 1
