# The calls of subjects: from the first matched request to 32 s behind its end, found by Call-ID (RFC 3261 section 12).
# Subscriptions and single transactions outside of calls have an entry too.
#
# A Call-ID is compared by its length and two independent keyed 64-bit hashes, so a stranger cannot make two of them
# meet; the second hash is also the call's handle, the same in every PDU of the call and after an eviction. The table
# is bounded: when it is full the call that was silent longest makes room, and a counter says so.
from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t
from libc.stdlib cimport calloc, free
from libc.string cimport memcmp, memcpy, memset

from keyed_hash cimport hash_octets, hash_secret
from liveness cimport liveness
from memory cimport __builtin_prefetch, table_memory
from octets cimport span

cdef enum:
    NO_CALL = 0xffffffff
    CALL_TASKS = 8             # tasks on one call: several cases on one subject, subjects who call each other
    CALL_TAGS = 4              # From tags of the caller: a back-to-back agent may keep the Call-ID and change the tag
    CALL_BRANCHES = 8          # INVITE transactions without a final response (forking, both sides of a proxy)
    CALL_DIALOGS = 8           # confirmed dialogs
    CALL_TRANSACTIONS = 8      # whose hop is remembered: one INVITE, and what passes inside of it
    CALL_HOSTS = 4             # addresses that a party's messages came from: its own, and proxies that passed them on
    FIRST_PLACES = 1024
    LINGER_S = 32              # 64*T1: retransmissions of the end still belong to the call (section 17.1.1.2)
    CONTENT_TAIL_MS = 100      # packets under way when the call ended are still its own: nothing behind that
    SILENT_S = 86400           # a call without a message for a day is over: its end was not seen


cdef enum party:
    CALLER = 0
    CALLEE = 1


cdef struct host:
    uint8_t family
    uint8_t address[16]


cdef struct transaction:
    uint64_t hop               # ext/hop.pxd; 0: none
    uint32_t sequence
    uint8_t method
    uint8_t requester


cdef struct call_task:
    uint32_t task
    uint32_t generation
    uint8_t role               # ROLE_CALLING or ROLE_CALLED
    bint diverted              # the call went on to somebody else: the subject is no party of it any more


cdef struct call:
    uint64_t key
    uint64_t handle
    uint64_t last_ns
    uint64_t over_ns           # when it has ended: until when it stays in its list; else 0
    uint64_t tags[CALL_TAGS]
    uint64_t branches[CALL_BRANCHES]
    uint64_t dialogs[CALL_DIALOGS]
    uint64_t ended[CALL_DIALOGS]   # dialogs that a BYE ended: a late copy of their 200 does not revive them
    uint32_t id_length
    uint32_t previous          # in the list of live, ending or lingering calls
    uint32_t following
    uint32_t first_description  # ext/description.pxd
    uint32_t first_flow        # ext/flows.pxd
    uint16_t description_count
    uint16_t flow_count
    uint8_t tag_count
    uint8_t branch_count
    uint8_t dialog_count
    uint8_t ended_count
    uint8_t task_count
    uint8_t host_count[2]
    host hosts[2][CALL_HOSTS]  # by party, where its signalling came from
    uint64_t hop               # ext/hop.pxd; 0 before its first description
    uint8_t next_transaction
    transaction[CALL_TRANSACTIONS] transactions
    bint many_branches         # more than are remembered: no refusal ends it, a BYE does, and a later 2xx revives it
    bint overflow              # more dialogs than are remembered: only silence ends it
    bint answered
    bint invite                # an INVITE was seen; else single transactions (REGISTER, MESSAGE, …)
    bint subscription          # a dialog that SUBSCRIBE or REFER made (RFC 6665, RFC 3515)
    bint used
    bint ending                # over, but its content goes on for CONTENT_TAIL_MS
    liveness live
    uint64_t last_dialog       # whose BYE ended the call, 0: none; its media addresses hold through the tail
    call_task tasks[CALL_TASKS]


cdef struct call_list:         # oldest first
    uint32_t first
    uint32_t last


cdef struct call_table:
    hash_secret secret
    hash_secret handle_secret
    uint64_t *places           # high 32 bits of the key, and 1 + index of the call; 0: empty
    uint64_t mask
    call *calls
    uint32_t capacity
    uint32_t used              # of `calls`, free ones included
    uint32_t count             # live and lingering
    uint32_t free_call
    call_list live
    call_list ending
    call_list over


cdef struct call_view:
    uint64_t key
    uint64_t handle
    uint32_t length


cdef inline bint is_host(const call *c, uint32_t party, uint8_t family, const uint8_t *address) noexcept nogil:
    """Whether signalling of this party came from that address."""
    cdef uint32_t i
    for i in range(c.host_count[party]):
        if c.hosts[party][i].family == family and memcmp(c.hosts[party][i].address, address,
                                                         4 if family == 4 else 16) == 0:
            return True
    return False


cdef inline void note_host(call *c, uint32_t party, uint8_t family, const uint8_t *address) noexcept nogil:
    cdef host *h
    if c.host_count[party] == CALL_HOSTS or is_host(c, party, family, address):
        return
    h = &c.hosts[party][c.host_count[party]]
    h.family = family
    memcpy(h.address, address, 16)
    c.host_count[party] += 1


cdef inline bint calls_init(call_table *t, uint32_t capacity) noexcept nogil:
    """`t` must be zeroed and have its secrets."""
    t.capacity = capacity
    t.free_call = NO_CALL
    t.live.first = t.live.last = t.over.first = t.over.last = t.ending.first = t.ending.last = NO_CALL
    t.mask = FIRST_PLACES - 1
    t.places = <uint64_t *>table_memory(FIRST_PLACES * sizeof(uint64_t))
    t.calls = <call *>calloc(capacity, sizeof(call))
    return t.places != NULL and t.calls != NULL


cdef inline void calls_free(call_table *t) noexcept nogil:
    free(t.places)
    free(t.calls)


cdef inline void view_call(const call_table *t, span call_id, call_view *view) noexcept nogil:
    """The key; the handle only when it is needed (see `call_handle`)."""
    view.key = hash_octets(&t.secret, call_id.data, call_id.length)
    view.length = call_id.length
    __builtin_prefetch(&t.places[view.key & t.mask])


cdef inline uint64_t call_handle(const call_table *t, span call_id) noexcept nogil:
    return hash_octets(&t.handle_secret, call_id.data, call_id.length)


cdef inline uint32_t find_call(const call_table *t, span call_id, call_view *view) noexcept nogil:
    """The call's index or NO_CALL. Fills view.handle when the key agrees."""
    cdef uint64_t at = view.key & t.mask
    cdef uint64_t place
    cdef const call *c
    while True:
        place = t.places[at]
        if place == 0:
            return NO_CALL
        if place >> 32 == view.key >> 32:
            c = &t.calls[<uint32_t>place - 1]
            if c.key == view.key and c.id_length == view.length:
                view.handle = call_handle(t, call_id)
                if c.handle == view.handle:
                    return <uint32_t>place - 1
        at = (at + 1) & t.mask


cdef inline call_list *list_of(call_table *t, const call *c) noexcept nogil:
    if c.over_ns == 0:
        return &t.live
    return &t.ending if c.ending else &t.over


cdef inline void unlink_call(call_table *t, uint32_t index) noexcept nogil:
    cdef call *c = &t.calls[index]
    cdef call_list *ends = list_of(t, c)
    if c.previous == NO_CALL:
        ends.first = c.following
    else:
        t.calls[c.previous].following = c.following
    if c.following == NO_CALL:
        ends.last = c.previous
    else:
        t.calls[c.following].previous = c.previous


cdef inline void append_call(call_table *t, uint32_t index) noexcept nogil:
    cdef call *c = &t.calls[index]
    cdef call_list *ends = list_of(t, c)
    c.previous = ends.last
    c.following = NO_CALL
    if ends.last == NO_CALL:
        ends.first = index
    else:
        t.calls[ends.last].following = index
    ends.last = index


cdef inline void touch_call(call_table *t, uint32_t index, uint64_t now_ns) noexcept nogil:
    t.calls[index].last_ns = now_ns
    if t.calls[index].over_ns == 0 and t.live.last != index:
        unlink_call(t, index)
        append_call(t, index)


cdef inline void set_over(call_table *t, uint32_t index, uint64_t over_ns, bint ending=False) noexcept nogil:
    """Linger (or end, if its content has a tail) until `over_ns`, or live again with 0."""
    unlink_call(t, index)
    t.calls[index].over_ns = over_ns
    t.calls[index].ending = ending and over_ns
    append_call(t, index)


cdef inline bint grow_places(call_table *t) noexcept nogil:
    cdef uint64_t size = (t.mask + 1) * 2
    cdef uint64_t *bigger = <uint64_t *>table_memory(size * sizeof(uint64_t))
    cdef uint64_t at
    cdef uint32_t i
    if bigger == NULL:
        return False
    for i in range(t.used):
        if t.calls[i].used:
            at = t.calls[i].key & (size - 1)
            while bigger[at]:
                at = (at + 1) & (size - 1)
            bigger[at] = t.calls[i].key >> 32 << 32 | (i + 1)
    free(t.places)
    t.places = bigger
    t.mask = size - 1
    return True


cdef inline uint32_t add_call(call_table *t, span call_id, const call_view *view, uint64_t now_ns) noexcept nogil:
    """A new call; NO_CALL when the table is full (make room first) or memory is."""
    cdef uint32_t index = t.free_call
    cdef uint64_t at
    cdef call *c
    if index == NO_CALL and t.used == t.capacity:
        return NO_CALL
    if (t.count + 1) * 2 > t.mask + 1 and not grow_places(t):
        return NO_CALL
    if index != NO_CALL:
        t.free_call = t.calls[index].following
    else:
        index = t.used
        t.used += 1
    c = &t.calls[index]
    c.key = view.key
    c.handle = call_handle(t, call_id)
    c.id_length = view.length
    c.last_ns = now_ns
    c.over_ns = 0
    c.first_description = c.first_flow = NO_CALL
    c.description_count = c.flow_count = 0
    c.ending = False
    c.last_dialog = 0
    memset(&c.live, 0, sizeof(liveness))
    c.live.heard_ns = now_ns
    c.tag_count = c.branch_count = c.dialog_count = c.ended_count = c.task_count = 0
    c.host_count[0] = c.host_count[1] = 0
    c.hop = 0
    c.next_transaction = 0
    memset(c.transactions, 0, sizeof(c.transactions))
    c.overflow = c.many_branches = c.answered = c.invite = c.subscription = False
    c.used = True
    append_call(t, index)
    at = view.key & t.mask
    while t.places[at]:
        at = (at + 1) & t.mask
    t.places[at] = view.key >> 32 << 32 | (index + 1)
    t.count += 1
    return index


cdef inline void remove_call(call_table *t, uint32_t index) noexcept nogil:
    """Forget a call. Its flows and descriptions must be gone."""
    cdef uint64_t hole = t.calls[index].key & t.mask
    cdef uint64_t at, home
    while <uint32_t>t.places[hole] != index + 1:
        hole = (hole + 1) & t.mask
    at = hole
    while True:
        at = (at + 1) & t.mask
        if t.places[at] == 0:
            break
        home = t.calls[<uint32_t>t.places[at] - 1].key & t.mask
        if ((at - home) & t.mask) >= ((at - hole) & t.mask):
            t.places[hole] = t.places[at]
            hole = at
    t.places[hole] = 0
    unlink_call(t, index)
    t.calls[index].used = False
    t.calls[index].following = t.free_call
    t.free_call = index
    t.count -= 1


cdef inline uint32_t oldest_call(const call_table *t) noexcept nogil:
    """The call that makes room in a full table: one that is over, else the one that was silent longest."""
    if t.over.first != NO_CALL:
        return t.over.first
    return t.ending.first if t.ending.first != NO_CALL else t.live.first


cdef inline bint remember(uint64_t *values, uint8_t *count, uint8_t most, uint64_t value) noexcept nogil:
    """Put a value into a small set; 0 when it is full."""
    cdef uint8_t i
    for i in range(count[0]):
        if values[i] == value:
            return True
    if count[0] == most:
        return False
    values[count[0]] = value
    count[0] += 1
    return True


cdef inline bint forget(uint64_t *values, uint8_t *count, uint64_t value) noexcept nogil:
    """Take a value out of a small set; 0 when it is not in it."""
    cdef uint8_t i
    for i in range(count[0]):
        if values[i] == value:
            count[0] -= 1
            values[i] = values[count[0]]
            return True
    return False


cdef inline bint in_set(const uint64_t *values, uint8_t count, uint64_t value) noexcept nogil:
    cdef uint8_t i
    for i in range(count):
        if values[i] == value:
            return True
    return False
