# The session descriptions of calls: what each party announced in each early or confirmed dialog (RFC 3264), bounded.
#
# A description belongs to a party and to a fork: the callee's tag, or 0 for the first offer, which all forks share.
#   CURRENT   media goes there, and may come from there
#   OFFERED   the same: from the moment of an offer its maker must take media there (section 8.3), and a refusal brings
#             the current one back untouched
#   FORMER    what was current before: media may still come from there (under way), none is looked for there
# and of a message that was seen on another hop than its transaction is followed on (ext/hop.pxd):
#   PASSING   an answer that has not come by on the right hop: as good as CURRENT, which stays beside it, until it does
#   ELSEWHERE an offer, whose right form is known: no media goes there or comes from there, unless the answer is
#             seen there alone
from libc.stdint cimport uint8_t, uint32_t, uint64_t
from libc.stdlib cimport free, realloc
from libc.string cimport memcmp

from dialog cimport NO_CALL, call
from sdp cimport media_stream, session_media

cdef enum:
    NO_DESCRIPTION = NO_CALL
    CALL_DESCRIPTIONS = 24     # of one call: 8 forks and an offer of each party, with what was before
    FORMER_MOST = 2            # of one party in one fork

cdef enum description_state:
    CURRENT = 0
    OFFERED = 1
    FORMER = 2
    PASSING = 3
    ELSEWHERE = 4


cdef struct description:
    uint64_t fork
    uint64_t hop
    uint32_t following         # of the same call, newest first; or in the list of free places
    uint32_t sequence          # CSeq number of the transaction that it came in
    uint8_t method
    uint8_t requester          # who sent the request of that transaction
    uint8_t party              # whose description it is
    uint8_t state
    bint final                 # of a final response or an ACK
    session_media media


cdef struct description_table:
    description *items
    uint32_t capacity
    uint32_t used              # of `items`, free ones included
    uint32_t free_item


cdef inline void descriptions_init(description_table *t) noexcept nogil:
    t.free_item = NO_DESCRIPTION


cdef inline void descriptions_free(description_table *t) noexcept nogil:
    free(t.items)


cdef inline uint32_t add_description(description_table *t, call *c) noexcept nogil:
    """Room for one more of a call, linked and otherwise unset; NO_DESCRIPTION when it has too many, or no memory."""
    cdef uint32_t index = t.free_item
    cdef uint32_t capacity
    cdef description *bigger
    if c.description_count == CALL_DESCRIPTIONS:
        return NO_DESCRIPTION
    if index != NO_DESCRIPTION:
        t.free_item = t.items[index].following
    else:
        if t.used == t.capacity:
            capacity = t.capacity * 2 if t.capacity else 64
            bigger = <description *>realloc(t.items, <size_t>capacity * sizeof(description))
            if bigger == NULL:
                return NO_DESCRIPTION
            t.items = bigger
            t.capacity = capacity
        index = t.used
        t.used += 1
    t.items[index].following = c.first_description
    c.first_description = index
    c.description_count += 1
    return index


cdef inline void remove_description(description_table *t, call *c, uint32_t index) noexcept nogil:
    cdef uint32_t *place = &c.first_description
    while place[0] != index:
        place = &t.items[place[0]].following
    place[0] = t.items[index].following
    t.items[index].following = t.free_item
    t.free_item = index
    c.description_count -= 1


cdef inline void remove_descriptions(description_table *t, call *c) noexcept nogil:
    while c.first_description != NO_DESCRIPTION:
        remove_description(t, c, c.first_description)


cdef inline uint32_t find_description(const description_table *t, const call *c, uint32_t party, uint64_t fork,
                                      uint32_t state) noexcept nogil:
    """The newest of this kind, or NO_DESCRIPTION."""
    cdef uint32_t index = c.first_description
    cdef const description *d
    while index != NO_DESCRIPTION:
        d = &t.items[index]
        if d.party == party and d.fork == fork and d.state == state:
            return index
        index = d.following
    return NO_DESCRIPTION


cdef inline bint same_media(const session_media *a, const session_media *b) noexcept nogil:
    return a.count == b.count and memcmp(a.streams, b.streams, a.count * sizeof(media_stream)) == 0


cdef inline void make_former(description_table *t, call *c, uint32_t index) noexcept nogil:
    """It is not current any more; the oldest of too many former ones goes."""
    cdef description *d = &t.items[index]
    cdef uint32_t other = c.first_description
    cdef uint32_t following
    cdef uint32_t count = 0
    d.state = FORMER
    while other != NO_DESCRIPTION:
        following = t.items[other].following
        if t.items[other].state == FORMER and t.items[other].party == d.party and t.items[other].fork == d.fork:
            count += 1
            if count > FORMER_MOST:
                remove_description(t, c, other)
        other = following
