# What the kernel's filter passes of media (ext/bpf/tap.bpf.c): the matcher's changes carried out on its two maps.
#
# The order of steps is what the filter relies on: a port's bit is set before there is an entry for it, and cleared when
# no flow to that port is left. One pair of maps serves all taps: a call's media can cross another interface.
from libc.errno cimport ENOENT, errno
from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t
from libc.string cimport memcpy, memset

from counters cimport walk_counters
from linux cimport map_delete, map_update
from match_table cimport match_table
from packet cimport FLOW_ADD, flow_change
from rtp cimport RTCP_TYPES_MASKED


cdef struct media_maps:
    int flows                  # descriptors of `media_flows` and `media_ports`; -1: there are none
    int ports


# The key and value of `media_flows`.
cdef struct media_key:
    uint8_t family
    uint8_t sender
    uint8_t[2] port
    uint8_t[16] address

cdef struct media_value:
    uint64_t[2] payload_types
    uint64_t whole


cdef inline bint set_port(match_table *table, const media_maps *maps, uint16_t port, bint used) noexcept nogil:
    """Whether the kernel has the port's bit as it should be."""
    cdef uint32_t word = port >> 6
    cdef uint64_t bit = <uint64_t>1 << (port & 63)
    if ((table.media_ports[word] & bit) != 0) == used:
        return True
    table.media_ports[word] ^= bit
    if map_update(maps.ports, &word, &table.media_ports[word]) == 0:
        return True
    table.media_ports[word] ^= bit
    return False


cdef inline bint set_sender(const media_maps *maps, media_key *key, const flow_change *change) noexcept nogil:
    """What comes from the destination of a change: passed for content alone."""
    cdef media_value value
    memset(&value, 0, sizeof(value))
    key.sender = 1
    if change.operation == FLOW_ADD and (change.whole or change.control):
        value.whole = change.whole
        if change.control:
            value.payload_types[1] = RTCP_TYPES_MASKED
        return map_update(maps.flows, key, &value) == 0
    return map_delete(maps.flows, key) == 0 or errno == ENOENT  # of digits there never was one


cdef inline bint apply_flow_change(match_table *table, const media_maps *maps,
                                   const flow_change *change) noexcept nogil:
    cdef media_key key
    cdef media_value value
    cdef bint done
    memset(&key, 0, sizeof(key))
    key.family = change.family
    key.port[0] = <uint8_t>(change.port >> 8)
    key.port[1] = <uint8_t>change.port
    memcpy(key.address, change.address, 16 if change.family == 6 else 4)
    if change.operation == FLOW_ADD:
        value.payload_types[0] = change.payload_types[0]
        value.payload_types[1] = change.payload_types[1]
        value.whole = change.whole
        done = set_port(table, maps, change.port, True)
        done &= map_update(maps.flows, &key, &value) == 0
        return set_sender(maps, &key, change) and done
    done = map_delete(maps.flows, &key) == 0
    done &= set_sender(maps, &key, change)
    return (table.flows.port_uses[change.port] or set_port(table, maps, change.port, False)) and done


cdef inline bint apply_flow_changes(match_table *table, const media_maps *maps,
                                    walk_counters *counts) noexcept nogil:
    """Carry out what the matcher asked of the kernel's media filter; without maps (replay) the asking is forgotten.
    Whether anything more passes now."""
    cdef bint any_more = False
    cdef uint32_t i
    for i in range(table.flow_change_count if maps.flows >= 0 else 0):
        if not apply_flow_change(table, maps, &table.flow_changes[i]):
            counts.flows_failed += 1
        elif table.flow_changes[i].operation == FLOW_ADD:
            counts.flows_added += 1
            any_more = True
        else:
            counts.flows_removed += 1
    table.flow_change_count = 0
    return any_more
