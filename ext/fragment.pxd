# Reassembly of IP fragments (RFC 791, RFC 8200 4.5), bounded in entries, octets and time.
#
# Overlaps refuse the whole datagram (RFC 5722, applied to IPv4 as well): two receivers that resolve an overlap
# differently would see two different calls. An exact repetition is tolerated. An entry that was refused stays until
# its time is up, so that later fragments of the same datagram cannot build it anew.
from libc.stdint cimport uint8_t, uint32_t, uint64_t
from libc.stdlib cimport calloc, free
from libc.string cimport memcmp, memcpy, memset

from counters cimport walk_counters
from ip cimport ip_payload
from linux cimport MAP_ANONYMOUS, MAP_FAILED, MAP_PRIVATE, PROT_READ, PROT_WRITE, mmap, munmap
from packet cimport packet_info

cdef enum:
    FRAGMENT_ENTRIES = 256    # datagrams under way at once; when all are taken the oldest goes
    FRAGMENT_PARTS = 64       # fragments of one datagram: 65,535 octets at an MTU of 1,280 are 53
    FRAGMENT_OCTETS = 65536   # the largest datagram; entries x octets = 16 MiB of address space, touched when used
    FRAGMENT_SECONDS = 30     # RFC 791 names 15 s at least, RFC 8200 60 s; SIP's Timer B gives up at 32 s


cdef struct fragment_part:
    uint32_t offset
    uint32_t length


cdef struct fragment_entry:
    uint64_t first_ns         # time stamp of the first fragment seen
    uint8_t source[16]
    uint8_t destination[16]
    uint32_t identification
    uint8_t family
    uint8_t protocol          # IPv4: part of the key; IPv6: of the fragment at offset 0
    bint used
    bint refused
    bint busy                 # whole, and being walked: what is in it may be a fragment of its own (a tunnel)
    uint32_t total            # length of the datagram, 0 until its last fragment came
    uint32_t have             # octets present
    uint32_t part_count
    fragment_part[FRAGMENT_PARTS] parts


cdef struct fragment_table:
    fragment_entry *entries
    uint8_t *octets           # FRAGMENT_OCTETS for each entry
    uint32_t used
    uint64_t oldest_ns        # no entry is older than this


cdef inline fragment_table *fragments_new() noexcept nogil:
    """NULL when memory is short."""
    cdef fragment_table *table = <fragment_table *>calloc(1, sizeof(fragment_table))
    cdef void *octets
    if table == NULL:
        return NULL
    table.entries = <fragment_entry *>calloc(FRAGMENT_ENTRIES, sizeof(fragment_entry))
    octets = mmap(NULL, <size_t>FRAGMENT_ENTRIES * FRAGMENT_OCTETS, PROT_READ | PROT_WRITE,
                  MAP_PRIVATE | MAP_ANONYMOUS, -1, 0)
    if octets == MAP_FAILED or table.entries == NULL:
        if octets != MAP_FAILED:
            munmap(octets, <size_t>FRAGMENT_ENTRIES * FRAGMENT_OCTETS)
        free(table.entries)
        free(table)
        return NULL
    table.octets = <uint8_t *>octets
    return table


cdef inline void fragments_free(fragment_table *table) noexcept nogil:
    if table != NULL:
        munmap(table.octets, <size_t>FRAGMENT_ENTRIES * FRAGMENT_OCTETS)
        free(table.entries)
        free(table)


cdef inline void fragment_release(fragment_table *table, fragment_entry *entry) noexcept nogil:
    entry.used = False
    table.used -= 1


cdef inline void fragments_expire(fragment_table *table, uint64_t clock_ns, walk_counters *counts) noexcept nogil:
    """Give up what has waited FRAGMENT_SECONDS. Cheap when nothing is that old."""
    cdef uint64_t limit = <uint64_t>FRAGMENT_SECONDS * 1_000_000_000
    cdef uint64_t oldest = clock_ns
    cdef fragment_entry *entry
    cdef int i
    if table.used == 0 or clock_ns < table.oldest_ns + limit:
        return
    for i in range(FRAGMENT_ENTRIES):
        entry = &table.entries[i]
        if not entry.used or entry.busy:
            continue
        if clock_ns >= entry.first_ns + limit:
            if not entry.refused:
                counts.fragment_timed_out += entry.part_count
            fragment_release(table, entry)
        elif entry.first_ns < oldest:
            oldest = entry.first_ns
    table.oldest_ns = oldest


cdef inline fragment_entry *fragment_find(
    fragment_table *table, const packet_info *info, const ip_payload *part, walk_counters *counts,
) noexcept nogil:
    """The entry of this fragment's datagram, a new one if there is none."""
    cdef fragment_entry *entry
    cdef fragment_entry *free_entry = NULL
    cdef fragment_entry *oldest = NULL
    cdef int i
    for i in range(FRAGMENT_ENTRIES):
        entry = &table.entries[i]
        if not entry.used:
            if free_entry == NULL:
                free_entry = entry
            continue
        if entry.busy:
            continue
        if (entry.identification == part.identification and entry.family == info.family
                and (info.family == 6 or entry.protocol == part.protocol)
                and memcmp(entry.source, info.source, 16) == 0
                and memcmp(entry.destination, info.destination, 16) == 0):
            return entry
        if oldest == NULL or entry.first_ns < oldest.first_ns:
            oldest = entry
    if free_entry == NULL:
        if not oldest.refused:
            counts.fragment_table_full += oldest.part_count
        fragment_release(table, oldest)
        free_entry = oldest
    memset(free_entry, 0, sizeof(fragment_entry))
    memcpy(free_entry.source, info.source, 16)
    memcpy(free_entry.destination, info.destination, 16)
    free_entry.identification = part.identification
    free_entry.family = info.family
    free_entry.protocol = part.protocol
    free_entry.first_ns = info.stamp_ns
    free_entry.used = True
    if table.used == 0 or info.stamp_ns < table.oldest_ns:
        table.oldest_ns = info.stamp_ns
    table.used += 1
    return free_entry


cdef inline uint8_t *entry_octets(fragment_table *table, fragment_entry *entry) noexcept nogil:
    return table.octets + <size_t>(entry - table.entries) * FRAGMENT_OCTETS


cdef inline bint fragment_fits(const fragment_entry *entry, const ip_payload *part) noexcept nogil:
    """A length and end that this datagram can have."""
    if part.length == 0 or part.offset + part.length > FRAGMENT_OCTETS - 1:
        return False
    if part.more:
        return part.length % 8 == 0 and (entry.total == 0 or part.offset + part.length <= entry.total)
    return entry.total == 0 or part.offset + part.length == entry.total


cdef inline fragment_entry *fragment_add(
    fragment_table *table, const packet_info *info, const ip_payload *part, walk_counters *counts,
) noexcept nogil:
    """Take in one fragment. Returns the entry when its datagram is whole: the caller releases it after use."""
    cdef fragment_entry *entry
    cdef fragment_part *have
    cdef uint8_t *octets
    cdef uint32_t end = part.offset + part.length
    cdef uint32_t i
    counts.fragments += 1
    fragments_expire(table, info.stamp_ns, counts)
    entry = fragment_find(table, info, part, counts)
    octets = entry_octets(table, entry)
    if entry.refused:
        counts.fragment_overlap += 1
        return NULL
    if not fragment_fits(entry, part):
        counts.fragment_malformed += 1
        if entry.part_count == 0:
            fragment_release(table, entry)
        return NULL
    for i in range(entry.part_count):
        have = &entry.parts[i]
        if have.offset == part.offset and have.length == part.length:
            if memcmp(octets + part.offset, part.data, part.length) == 0:
                counts.fragment_duplicate += 1
                return NULL
        if part.offset < have.offset + have.length and have.offset < end:
            counts.fragment_overlap += entry.part_count + 1
            entry.refused = True
            return NULL
        if not part.more and have.offset + have.length > end:
            counts.fragment_malformed += 1
            return NULL
    if entry.part_count == FRAGMENT_PARTS:
        counts.fragment_malformed += 1
        return NULL
    memcpy(octets + part.offset, part.data, part.length)
    entry.parts[entry.part_count].offset = part.offset
    entry.parts[entry.part_count].length = part.length
    entry.part_count += 1
    entry.have += part.length
    if not part.more:
        entry.total = end
    if part.offset == 0:
        entry.protocol = part.protocol
    if entry.total == 0 or entry.have != entry.total:
        return NULL
    entry.busy = True
    counts.fragments_used += entry.part_count
    counts.datagrams_reassembled += 1
    return entry
