# What waits to be sent to one destination: whole records in their order, in one piece of memory.
#
# `bound` is for all of it, `channel_bound` for one slot (a content stream): none can use up the room of the others.
from libc.stdint cimport uint8_t, uint32_t
from libc.stdlib cimport free, realloc
from libc.string cimport memmove, memset

cdef extern from *:
    """
    #ifndef _GNU_SOURCE
    #define _GNU_SOURCE 1
    #endif
    #include <sys/socket.h>
    #include <sys/uio.h>
    #include <errno.h>
    #include <string.h>
    #define MMSG_BATCH 64
    /* Sends up to `count` datagrams of these lengths, one after the other in `data`; how many went, or -errno. */
    static int send_datagrams(int fd, unsigned char *data, const unsigned int *lengths, unsigned int count) {
        struct mmsghdr messages[MMSG_BATCH];
        struct iovec parts[MMSG_BATCH];
        unsigned int at;
        int sent;
        memset(messages, 0, sizeof messages);
        for (at = 0; at < count; at++) {
            parts[at].iov_base = data;
            parts[at].iov_len = lengths[at];
            messages[at].msg_hdr.msg_iov = &parts[at];
            messages[at].msg_hdr.msg_iovlen = 1;
            data += lengths[at];
        }
        sent = sendmmsg(fd, messages, count, MSG_DONTWAIT | MSG_NOSIGNAL);
        return sent < 0 ? -errno : sent;
    }
    """
    enum: MMSG_BATCH
    int send_datagrams(int fd, uint8_t *data, const uint32_t *lengths, unsigned int count) nogil

cdef struct record:
    uint32_t length
    uint32_t slot

cdef struct record_queue:
    uint8_t *data                # the records are data[first:end]
    size_t first, end, capacity
    size_t bound, channel_bound
    record *records              # records[record_first:record_end]
    size_t record_first, record_end, record_capacity
    uint32_t *backlog            # octets that wait, by slot
    uint32_t slots
    size_t partial               # octets of the first record that are gone already


cdef inline void queue_init(record_queue *queue, size_t bound, size_t channel_bound) noexcept nogil:
    memset(queue, 0, sizeof(record_queue))
    queue.bound = bound
    queue.channel_bound = channel_bound


cdef inline void queue_free(record_queue *queue) noexcept nogil:
    free(queue.data)
    free(queue.records)
    free(queue.backlog)


cdef inline bint queue_add_slot(record_queue *queue) noexcept nogil:
    """One more slot, the last number; False when there is no memory."""
    cdef uint32_t *grown = <uint32_t *>realloc(queue.backlog, (queue.slots + 1) * sizeof(uint32_t))
    if grown == NULL:
        return False
    queue.backlog = grown
    grown[queue.slots] = 0
    queue.slots += 1
    return True


cdef inline uint8_t *queue_room(record_queue *queue, uint32_t slot, size_t most) noexcept nogil:
    """Place for a record of at most `most` octets, or NULL: over a bound, or no memory."""
    cdef size_t capacity
    cdef uint8_t *grown
    cdef record *more
    if queue.end - queue.first + most > queue.bound or queue.backlog[slot] + most > queue.channel_bound:
        return NULL
    if queue.end + most > queue.capacity and queue.first >= queue.capacity // 2:
        memmove(queue.data, queue.data + queue.first, queue.end - queue.first)
        queue.end -= queue.first
        queue.first = 0
    if queue.end + most > queue.capacity:
        capacity = queue.capacity * 2 if queue.capacity * 2 > queue.end + most else queue.end + most + 65536
        grown = <uint8_t *>realloc(queue.data, capacity)
        if grown == NULL:
            return NULL
        queue.data = grown
        queue.capacity = capacity
    if queue.record_end == queue.record_capacity:
        if queue.record_first != 0 and queue.record_first >= queue.record_capacity // 2:
            memmove(queue.records, queue.records + queue.record_first,
                    (queue.record_end - queue.record_first) * sizeof(record))
            queue.record_end -= queue.record_first
            queue.record_first = 0
        else:
            capacity = queue.record_capacity * 2 + 256
            more = <record *>realloc(queue.records, capacity * sizeof(record))
            if more == NULL:
                return NULL
            queue.records = more
            queue.record_capacity = capacity
    return queue.data + queue.end


cdef inline void queue_added(record_queue *queue, uint32_t slot, uint32_t length) noexcept nogil:
    """The record was written where `queue_room` said."""
    queue.records[queue.record_end].length = length
    queue.records[queue.record_end].slot = slot
    queue.record_end += 1
    queue.end += length
    queue.backlog[slot] += length


cdef inline void queue_drop_first(record_queue *queue) noexcept nogil:
    cdef record one = queue.records[queue.record_first]
    queue.first += one.length
    queue.record_first += 1
    queue.backlog[one.slot] -= one.length
    if queue.record_first == queue.record_end:
        queue.first = queue.end = 0
        queue.record_first = queue.record_end = 0


cdef inline size_t queue_waiting(const record_queue *queue) noexcept nogil:
    """Octets that are not gone."""
    return queue.end - queue.first - queue.partial


cdef inline size_t queue_skip(record_queue *queue) noexcept nogil:
    """The first record is given up, whatever of it was sent; how many that were, 0 or 1."""
    if queue.record_first == queue.record_end:
        return 0
    queue_drop_first(queue)
    queue.partial = 0
    return 1


cdef inline size_t queue_clear(record_queue *queue) noexcept nogil:
    """Nothing waits any more, what was sent in part included; how many records did."""
    cdef size_t count = queue.record_end - queue.record_first
    while queue.record_first < queue.record_end:
        queue_drop_first(queue)
    queue.partial = 0
    return count


cdef inline size_t queue_taken(record_queue *queue, size_t count) noexcept nogil:
    """So many octets are gone; how many records are complete with them."""
    cdef size_t whole = 0
    queue.partial += count
    while queue.record_first < queue.record_end and queue.partial >= queue.records[queue.record_first].length:
        queue.partial -= queue.records[queue.record_first].length
        queue_drop_first(queue)
        whole += 1
    return whole


cdef inline int queue_send(record_queue *queue, int fd) noexcept nogil:
    """Datagrams of one call to sendmmsg. How many went, or -errno when none did."""
    cdef uint32_t lengths[64]
    cdef unsigned int count = 0
    cdef int went
    cdef int done = 0
    while count < MMSG_BATCH and queue.record_first + count < queue.record_end:
        lengths[count] = queue.records[queue.record_first + count].length
        count += 1
    if count == 0:
        return 0
    went = send_datagrams(fd, queue.data + queue.first, lengths, count)
    while done < went:
        queue_drop_first(queue)
        done += 1
    return went


cdef inline bint queue_purge(record_queue *queue, const uint8_t *dead, size_t *removed) noexcept nogil:
    """Takes every record out whose slot is marked in `dead`. True when one was gone in part: what is sent after it
    would be no record any more, so the connection must end."""
    cdef size_t at = queue.record_first, to_record = 0, from_octet = queue.first, to_octet = 0
    cdef bint torn = False
    cdef record one
    removed[0] = 0
    while at < queue.record_end:
        one = queue.records[at]
        if dead[one.slot]:
            torn |= at == queue.record_first and queue.partial != 0
            queue.backlog[one.slot] -= one.length
            removed[0] += 1
        else:
            memmove(queue.data + to_octet, queue.data + from_octet, one.length)
            queue.records[to_record] = one
            to_record += 1
            to_octet += one.length
        from_octet += one.length
        at += 1
    queue.first = queue.record_first = 0
    queue.end = to_octet
    queue.record_end = to_record
    if torn:
        queue.partial = 0
    return torn
