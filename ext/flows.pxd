# Media flows: where a call's parties want to receive, found by destination address and port. There is a flow only while
# a task of the call may have its content, or the digits in it.
#
# The destination alone proves nothing: who writes a description may name any address in it. A packet is the call's only
# if its source fits too (ext/media.pxd):
#   announced   it comes from where the other party announced media of its own (RFC 4961, symmetric RTP);
#   likely      the other party is behind a NAT: none of its signalling comes from the address that it announced. Then
#               the first source at an address that its signalling does come from is kept, and no other beside it;
#   early       the other party has announced nothing yet, and the destination is at an address that its owner's own
#               signalling comes from: the first source at an address of the other party's signalling is kept.
# What goes back to a likely source is a flow as well, from this one destination alone.
from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t
from libc.stdlib cimport free, realloc
from libc.string cimport memcmp, memcpy, memset

from keyed_hash cimport hash_octets, hash_secret
from memory cimport table_memory
from sdp cimport media_address
from voice cimport NO_VOICE

cdef enum:
    NO_FLOW = 0xffffffff
    FIRST_FLOWS = 64
    PORTS = 65536
    CALL_FLOWS = 64            # of one call


cdef struct flow:
    media_address at           # destination; `events` are the payload types of digits that may be looked at
    uint32_t bucket
    uint32_t following         # in the bucket, or in the list of free places
    uint32_t of_call           # the next flow of the same call
    uint32_t call
    uint32_t back              # the flow back to a likely source; of such a flow, the one that it answers
    uint8_t party              # whose address it is: the other one sends
    bint used
    bint wanted                # while the flows of a call are gone through
    bint content               # a task of the call may have it whole
    bint digits                # a task of the call may have its events
    bint rtcp                  # control packets alone pass
    bint learned               # goes back to a likely source
    bint settled               # `source` is known
    bint likely                # and was never announced
    bint voiced                # of digits alone: its voice is heard, not its events alone
    media_address source       # the one source whose packets pass
    uint32_t voice             # the channel that listens for digits, or NO_VOICE


cdef struct flow_table:
    hash_secret secret
    uint32_t *buckets          # 1 + index; as many as places
    flow *flows
    uint32_t capacity          # a power of two
    uint32_t used
    uint32_t count
    uint32_t free_flow
    uint32_t *port_uses        # PORTS: flows to each port, whatever the address
    uint32_t cursor            # the flow that was looked at last (ext/lapse.pxd), and when
    uint64_t swept_ns


cdef inline bint flows_init(flow_table *t) noexcept nogil:
    t.free_flow = NO_FLOW
    t.capacity = FIRST_FLOWS
    t.buckets = <uint32_t *>table_memory(FIRST_FLOWS * sizeof(uint32_t))
    t.flows = <flow *>table_memory(FIRST_FLOWS * sizeof(flow))
    t.port_uses = <uint32_t *>table_memory(PORTS * sizeof(uint32_t))
    return t.buckets != NULL and t.flows != NULL and t.port_uses != NULL


cdef inline void flows_free(flow_table *t) noexcept nogil:
    free(t.buckets)
    free(t.flows)
    free(t.port_uses)


cdef inline uint32_t flow_bucket(const flow_table *t, uint8_t family, const uint8_t *address,
                                 uint16_t port) noexcept nogil:
    cdef uint8_t key[24]
    memset(key, 0, sizeof(key))
    memcpy(key, address, 4 if family == 4 else 16)
    memcpy(key + 16, &port, 2)
    key[18] = family
    return <uint32_t>(hash_octets(&t.secret, key, sizeof(key)) & (t.capacity - 1))


cdef inline bint is_at(const media_address *a, uint8_t family, const uint8_t *address, uint16_t port) noexcept nogil:
    return a.family == family and a.port == port and memcmp(a.address, address, 4 if family == 4 else 16) == 0


cdef inline uint32_t next_flow(const flow_table *t, uint32_t place, uint8_t family, const uint8_t *address,
                               uint16_t port) noexcept nogil:
    """Behind `place` (1 + index, or 0) in a bucket: the next flow to this destination, or NO_FLOW."""
    while place:
        if is_at(&t.flows[place - 1].at, family, address, port):
            return place - 1
        place = t.flows[place - 1].following
    return NO_FLOW


cdef inline uint32_t first_flow(const flow_table *t, uint8_t family, const uint8_t *address,
                                uint16_t port) noexcept nogil:
    if t.count == 0:
        return NO_FLOW
    return next_flow(t, t.buckets[flow_bucket(t, family, address, port)], family, address, port)


cdef inline bint grow_flows(flow_table *t) noexcept nogil:
    cdef uint32_t capacity = t.capacity * 2
    cdef uint32_t *buckets = <uint32_t *>table_memory(capacity * sizeof(uint32_t))
    cdef flow *flows
    cdef flow *f
    cdef uint32_t i
    if buckets == NULL or capacity < t.capacity:
        free(buckets)
        return False
    flows = <flow *>realloc(t.flows, capacity * sizeof(flow))
    if flows == NULL:
        free(buckets)
        return False
    free(t.buckets)
    t.flows = flows
    t.buckets = buckets
    t.capacity = capacity
    for i in range(t.used):
        f = &flows[i]
        if f.used:
            f.bucket = flow_bucket(t, f.at.family, f.at.address, f.at.port)
            f.following = buckets[f.bucket]
            buckets[f.bucket] = i + 1
    return True


cdef inline uint32_t add_flow(flow_table *t, const media_address *at, uint32_t call, uint8_t party) noexcept nogil:
    """A new flow, or NO_FLOW without memory."""
    cdef uint32_t index = t.free_flow
    cdef flow *f
    if index != NO_FLOW:
        t.free_flow = t.flows[index].following
    else:
        if t.used == t.capacity and not grow_flows(t):
            return NO_FLOW
        index = t.used
        t.used += 1
    f = &t.flows[index]
    memset(f, 0, sizeof(flow))
    f.at = at[0]
    f.of_call = f.back = NO_FLOW
    f.voice = NO_VOICE
    f.call = call
    f.party = party
    f.used = True
    f.bucket = flow_bucket(t, at.family, at.address, at.port)
    f.following = t.buckets[f.bucket]
    t.buckets[f.bucket] = index + 1
    t.port_uses[at.port] += 1
    t.count += 1
    return index


cdef inline void remove_flow(flow_table *t, uint32_t index) noexcept nogil:
    cdef flow *f = &t.flows[index]
    cdef uint32_t *place = &t.buckets[f.bucket]
    while place[0] != index + 1:
        place = &t.flows[place[0] - 1].following
    place[0] = f.following
    t.port_uses[f.at.port] -= 1
    f.used = False
    f.following = t.free_flow
    t.free_flow = index
    t.count -= 1
