# Whether a task may see something of a call, at this moment and at this access point, and whether its subject is the
# party whose digits they are (47 CFR 1.20007(b)(6)). Who asks counts what was refused.
from libc.stdint cimport uint32_t, uint64_t

from dialog cimport CALLEE, call, call_task
from match_table cimport COUNT_OUTSIDE_IAP, COUNT_OUTSIDE_WINDOW, match_table
from packet cimport packet_info
from targets cimport task
from x2 cimport ROLE_CALLED, ROLE_CALLING


cdef inline bint may_see(match_table *t, const call_task *entry, const packet_info *info,
                         uint64_t now_ns) noexcept nogil:
    """Whether a task is armed, in force at this moment, and entitled to this access point."""
    cdef const task *k = &t.targets.tasks[entry.task]
    if k.generation != entry.generation:
        return False
    if now_ns < k.not_before_ns or now_ns >= k.not_after_ns:
        t.counters[COUNT_OUTSIDE_WINDOW] += 1
        return False
    if t.live and (info.stamp_ns < k.not_before_ns or info.stamp_ns >= k.not_after_ns):
        t.counters[COUNT_OUTSIDE_WINDOW] += 1
        return False
    if not k.iap_mask >> info.iap & 1:
        t.counters[COUNT_OUTSIDE_IAP] += 1
        return False
    return True


cdef inline bint dials(const match_table *t, const call *c, const call_task *entry, uint32_t whose) noexcept nogil:
    """Whether the task has dialed digit extraction on, and its subject sends to the address of party `whose`."""
    cdef const task *k = &t.targets.tasks[entry.task]
    if k.generation != entry.generation or not k.dde or entry.diverted:
        return False
    return entry.role == (ROLE_CALLING if whose == CALLEE else ROLE_CALLED)
