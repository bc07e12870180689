"""The way of content through the delivery function: X3 PDUs in, CC-APDUs or PacketCable datagrams out.

Answers for: nothing of a task that is not permitted at this moment passes, whoever sent it; every packet that goes in
is delivered, held, or counted under one name; each leaves with the number of its own channel and the stamp of its
capture (47 CFR 1.20007(a)(14)). Input is ETSI TS 103 221-2 (mediation/core/interface/x2.py has the layout), output
T1.678's CC-APDU in DER or the datagram of PacketCable (ext/apdu.pxd). May not: decide what is open, open a
connection, write anywhere but into memory. Octets of content are in these buffers and nowhere else.

Times are UTC nanoseconds; lengths octets. All bounds are arguments, with their sources where they are set
(delivery/content.py).
"""
from cpython.bytes cimport PyBytes_FromStringAndSize
from libc.stdint cimport uint8_t, uint32_t, uint64_t
from libc.string cimport memset

from apdu cimport APDU_MORE, CABLE_HEADER, u32, write_apdu, write_datagram
from record_queue cimport (queue_add_slot, queue_added, queue_clear, queue_free, queue_init, queue_purge, queue_room,
                           queue_send, queue_skip, queue_taken, queue_waiting, record_queue)
from x3 cimport (FROM_TARGET, PDU_KEEPALIVE, PDU_X3, TO_TARGET, X3_HEADER, X3_KEY, X3_MOST, X3_XID, content_counters,
                 x3_is_ip, x3_parse, x3_pdu)

from mediation.core.errors import RemoteProtocolError

MOST_ANSWERS = 64  # KeepAlives of one drain that are answered (ours)
NEVER = (1 << 64) - 1  # a call that has not ended


cdef class Queue:
    """What waits to be sent to one destination: at most `bound` octets, `channel_bound` of one stream."""
    cdef record_queue queue
    cdef list free_slots
    cdef readonly uint64_t sent, lost_full, lost_down, purged
    cdef public bint accepting           # False: what comes is lost, and counted

    def __cinit__(self, size_t bound, size_t channel_bound):
        queue_init(&self.queue, bound, channel_bound)
        self.free_slots = []
        self.accepting = True

    def __dealloc__(self):
        queue_free(&self.queue)

    octets = property(lambda self: queue_waiting(&(<Queue>self).queue))
    packets = property(lambda self: (<Queue>self).queue.record_end - (<Queue>self).queue.record_first)

    def chunk(self, size_t most) -> bytes:
        """The next octets to send, at most `most`; the same again until `taken`."""
        cdef size_t count = min(queue_waiting(&self.queue), most)
        if count == 0:
            return b""
        return PyBytes_FromStringAndSize(<char *>self.queue.data + self.queue.first + self.queue.partial, count)

    def taken(self, size_t count) -> None:
        """So many octets are gone."""
        self.sent += queue_taken(&self.queue, count)

    def send(self, int fd) -> int:
        """Datagrams of one call to sendmmsg. How many went, or -errno when none did."""
        cdef int went
        with nogil:
            went = queue_send(&self.queue, fd)
        if went > 0:
            self.sent += <uint64_t>went
        return went

    def skip(self) -> int:
        """The first packet is lost; how many that is."""
        self.lost_down += 1
        return queue_skip(&self.queue)

    def clear(self) -> int:
        """Everything that waits is lost, what was sent in part included; how many packets."""
        cdef size_t count = queue_clear(&self.queue)
        self.lost_down += count
        return count

    cdef uint32_t slot(self) except? 0xffffffff:
        """A number for a new stream."""
        if self.free_slots:
            return self.free_slots.pop()
        if not queue_add_slot(&self.queue):
            raise MemoryError
        return self.queue.slots - 1

    cdef int purge(self, list slots) except -1:
        """Takes these slots' records out and the slots back; 1 when a packet of them was sent in part."""
        cdef bytearray dead = bytearray(self.queue.slots)
        cdef const uint8_t[::1] marks = dead
        cdef size_t removed = 0
        cdef bint torn
        for slot in slots:
            dead[slot] = 1
        torn = queue_purge(&self.queue, &marks[0], &removed)
        self.purged += removed
        self.free_slots.extend(slots)
        return torn


cdef enum stream_state:
    HELD                         # its call is not open yet
    FLOWING
    BARRED
    CLOSED


cdef class Stream:
    """The content of one call seen at one access point."""
    cdef stream_state state
    cdef Queue queue
    cdef uint32_t slot
    cdef bint watched, cable, combined   # watched: the next packet is told of
    cdef uint32_t numbers[2]         # CCC identifiers, from and to the subject
    cdef uint32_t sequence[2]
    cdef bytes correlation
    cdef list held                   # whole PDUs
    cdef size_t held_octets
    cdef uint64_t since_ns, told_ns
    cdef uint64_t last_ns            # what was captured later is no part of the call

    cdef bint leave(self):
        """False while something of it waits to be sent: only then may its number be another's."""
        if self.queue is None:
            return True
        if self.queue.queue.backlog[self.slot] != 0:
            return False
        self.queue.free_slots.append(self.slot)
        self.queue = None
        return True


cdef class Permit:
    """One task that may have content now."""
    cdef uint64_t not_before_ns, not_after_ns
    cdef bint content, numbered
    cdef uint32_t sequence


cdef class Streams:
    """All content streams of the permitted tasks. Not for more than one thread."""
    cdef dict permits                # XID -> Permit
    cdef dict streams                # XID, correlation, access point -> Stream
    cdef bytes point                 # of PDUs that name none
    cdef bytearray rest
    cdef list told, answers
    cdef content_counters counts
    cdef size_t capacity, hold_one, hold_all, held_octets
    cdef uint64_t hold_ns, again_ns

    def __cinit__(self, size_t capacity, size_t hold_one, size_t hold_all, uint64_t hold_ns, uint64_t again_ns,
                  bytes point=b""):
        """At most `capacity` streams; octets held of one and of all; how long a packet is held for a channel, and after
        what time a stream that waits is told of again. `point` is the access point of PDUs that name none."""
        self.point = point
        self.permits, self.streams, self.rest, self.told, self.answers = {}, {}, bytearray(), [], []
        self.capacity, self.hold_one, self.hold_all = capacity, hold_one, hold_all
        self.hold_ns, self.again_ns = hold_ns, again_ns
        memset(&self.counts, 0, sizeof(self.counts))

    # -- tasks and channels ------------------------------------------------------------------------------------------

    def permit(self, bytes xid, uint64_t not_before_ns, uint64_t not_after_ns, bint content) -> None:
        """The task is armed, or changed; only with `content` does anything of it pass."""
        cdef Permit made = self.permits.get(xid) or Permit()
        made.not_before_ns, made.not_after_ns, made.content = not_before_ns, not_after_ns, content
        self.permits[xid] = made

    def expel(self, bytes xid) -> list:
        """The task is over: nothing of it is left here. Returns the queues whose connection must end with it, because
        a packet of it was sent in part."""
        cdef Stream stream
        cdef dict slots = {}
        if xid in self.permits:
            self.permit(xid, 0, 0, False)    # remembered, so that what comes late is told from a stranger's
        for key in [each for each in self.streams if each[:16] == xid]:
            stream = self.streams.pop(key)
            self._discard(stream)
            if stream.queue is not None:
                slots.setdefault(stream.queue, []).append(stream.slot)
        return [queue for queue, which in slots.items() if (<Queue>queue).purge(which)]

    def open(self, bytes key, Queue queue not None, uint32_t transmit, uint32_t receive, bint combined,
             bytes correlation, uint64_t last_ns=NEVER) -> None:
        """Content filed under `key` (XID, correlation, access point) flows from now on; what was held goes first.

        `correlation` is the correlationInfo of its CC-APDUs (the whole element), None for PacketCable datagrams. What
        was captured after `last_ns` is no part of it.
        """
        cdef Stream stream = self._made(key)
        if stream.queue is not queue:
            if not stream.leave():
                raise ValueError("content of one task has one destination")
            stream.slot, stream.queue = queue.slot(), queue
        stream.numbers[0], stream.numbers[1] = transmit, receive
        stream.sequence[0] = stream.sequence[1] = 0
        stream.combined, stream.cable = combined, correlation is None
        stream.correlation = b"" if correlation is None else correlation
        stream.state, stream.watched, stream.last_ns = FLOWING, True, last_ns
        held, stream.held = stream.held, []
        self._discard(stream)
        for direction, stamp_ns, packet in held:
            if stamp_ns > last_ns:
                self.counts.after_close += 1
            else:
                self._deliver(stream, direction, stamp_ns, packet, <uint32_t>len(packet))

    def watch(self, bytes key) -> None:
        """The next packet is told of."""
        if key in self.streams:
            (<Stream>self.streams[key]).watched = True

    def bar(self, bytes key, uint64_t now_ns) -> None:
        """Nothing of it is delivered."""
        cdef Stream stream = self._made(key)
        self._discard(stream)
        stream.state, stream.since_ns = BARRED, now_ns

    def settled(self, bytes key) -> bool:
        """Nothing of it waits here to be sent."""
        cdef Stream stream = self.streams.get(key)
        return stream is None or stream.queue is None or stream.queue.queue.backlog[stream.slot] == 0

    def close(self, bytes key, uint64_t last_ns, uint64_t now_ns, bint expecting=False) -> None:
        """Packets captured after `last_ns` are no part of it any more; `expecting`: some from before are on their way,
        else what comes is late."""
        cdef Stream stream = self.streams.get(key)
        if stream is not None and not (expecting and stream.state != FLOWING):
            self._discard(stream)
            stream.last_ns = last_ns if stream.state == FLOWING else 0
            stream.state, stream.since_ns = FLOWING if expecting else CLOSED, now_ns

    def sweep(self, uint64_t now_ns, uint64_t forget_ns) -> None:
        """Forgets closed streams, and what was held too long."""
        cdef Stream stream
        for key in list(self.streams):
            stream = self.streams[key]
            if stream.state == HELD and now_ns - stream.since_ns > self.hold_ns:
                self._discard(stream)
                del self.streams[key]
            elif stream.state in (CLOSED, BARRED) and now_ns - stream.since_ns > forget_ns and stream.leave():
                del self.streams[key]

    cdef void _discard(self, Stream stream):
        self.counts.lost_unbound += <uint64_t>len(stream.held)
        self.held_octets -= stream.held_octets
        stream.held, stream.held_octets = [], 0

    # -- packets -----------------------------------------------------------------------------------------------------

    def begin(self) -> None:
        """A new connection of the access process: nothing is left over, numbers begin anew."""
        self.rest = bytearray()
        for permit in self.permits.values():
            (<Permit>permit).numbered = False

    def feed(self, const uint8_t[::1] octets not None, uint64_t now_ns, uint64_t monotonic_ns, bint whole=False):
        """Everything that is whole now. Returns keys of streams whose packets wait for their call, or whose next packet
        was to be told of: (key, stamp). `now_ns` is authority time. `whole`: whole PDUs that came by another way, in
        the middle of one of the stream's.

        Raises RemoteProtocolError when this is no stream of PDUs; what was whole before is good.
        """
        cdef const uint8_t[::1] all_octets = octets
        cdef size_t length = octets.shape[0], at = 0, size
        cdef const uint8_t *p
        cdef bint carried = len(self.rest) != 0 and not whole
        self.told = []
        if carried:
            self.rest += octets
            all_octets = bytes(self.rest)
            length = all_octets.shape[0]
        p = &all_octets[0] if length else NULL
        while length - at >= X3_HEADER:
            size = <size_t>u32(p + at + 4) + u32(p + at + 8)
            if u32(p + at + 4) < X3_HEADER or size > X3_MOST:
                raise RemoteProtocolError("x3: impossible length")
            if length - at < size:
                break
            self._pdu(p + at, now_ns, monotonic_ns)
            at += size
        if carried:
            del self.rest[:at]
        elif not whole:
            self.rest += octets[at:]
        return self.told

    def take_answers(self) -> list:
        """Whole KeepAlive PDUs that came and want an acknowledgement."""
        answers, self.answers = self.answers, []
        return answers

    cdef int _pdu(self, const uint8_t *p, uint64_t now_ns, uint64_t monotonic_ns) except -1:
        cdef x3_pdu pdu
        cdef Permit permit
        if not x3_parse(p, &pdu):
            raise RemoteProtocolError("x3: attribute longer than the header")
        if pdu.kind == PDU_KEEPALIVE:
            self.counts.keepalives += 1
            if len(self.answers) < MOST_ANSWERS:
                self.answers.append(PyBytes_FromStringAndSize(<const char *>p, <Py_ssize_t>(pdu.header + pdu.length)))
            return 0
        self.counts.not_x3 += pdu.kind != PDU_X3
        if pdu.kind != PDU_X3:
            return 0
        self.counts.packets += 1
        self.counts.octets += pdu.length
        permit = self.permits.get(PyBytes_FromStringAndSize(<const char *>p + X3_XID, 16))
        if permit is None:
            self.counts.refused_unknown += 1
        elif not permit.not_before_ns <= now_ns < permit.not_after_ns:
            self.counts.refused_ended += 1
        elif not permit.content:
            self.counts.refused_no_content += 1
        else:
            if pdu.numbered:
                if permit.numbered:
                    self.counts.missing += <uint32_t>(pdu.sequence - permit.sequence - 1)
                permit.sequence, permit.numbered = pdu.sequence, True
            if not x3_is_ip(p, &pdu):
                self.counts.not_ip += 1
            elif pdu.direction != FROM_TARGET and pdu.direction != TO_TARGET:
                self.counts.no_direction += 1
            else:
                self._packet(p, &pdu, monotonic_ns)
        return 0

    cdef int _packet(self, const uint8_t *p, const x3_pdu *pdu, uint64_t monotonic_ns) except -1:
        """One packet of a permitted task."""
        cdef Stream stream
        cdef bytes key = PyBytes_FromStringAndSize(<const char *>p + X3_XID, X3_KEY)
        key += PyBytes_FromStringAndSize(<const char *>pdu.point, pdu.point_octets) if pdu.point_octets else self.point
        stream = self.streams.get(key)
        if stream is None:
            if <size_t>len(self.streams) >= self.capacity:
                self.counts.no_room += 1
                return 0
            stream = self._made(key)
            stream.since_ns = monotonic_ns
        if stream.state == BARRED:
            self.counts.barred += 1
        elif pdu.stamp_ns > stream.last_ns:
            self.counts.after_close += 1
        elif stream.state == HELD:
            if stream.told_ns == 0 or monotonic_ns - stream.told_ns >= self.again_ns:
                stream.told_ns = monotonic_ns
                self.told.append((key, pdu.stamp_ns))
            if stream.held_octets + pdu.length > self.hold_one or self.held_octets + pdu.length > self.hold_all:
                self.counts.lost_held += 1
                return 0
            self.counts.held += 1
            stream.held.append((pdu.direction, pdu.stamp_ns,
                                PyBytes_FromStringAndSize(<const char *>p + pdu.header, pdu.length)))
            stream.held_octets += pdu.length
            self.held_octets += pdu.length
        else:
            if stream.watched:
                stream.watched = False
                self.told.append((key, pdu.stamp_ns))
            self.counts.late += stream.state == CLOSED
            self._deliver(stream, pdu.direction, pdu.stamp_ns, p + pdu.header, pdu.length)
        return 0

    cdef Stream _made(self, bytes key):
        """The stream of this key, a new one if there is none."""
        cdef Stream stream = self.streams.get(key)
        if stream is None:
            stream = self.streams[key] = Stream()
            stream.held, stream.state, stream.last_ns = [], HELD, NEVER
        return stream

    cdef int _deliver(self, Stream stream, uint32_t direction, uint64_t stamp_ns, const uint8_t *packet,
                      uint32_t length) except -1:
        """Into the queue, with the next number of its channel; a packet that is lost here has one too, so that the
        far side sees the gap."""
        cdef uint32_t way = direction != FROM_TARGET, channel = 0 if stream.combined else way
        cdef Queue queue = stream.queue
        cdef uint8_t *start
        cdef size_t most = length + (CABLE_HEADER if stream.cable else APDU_MORE + len(stream.correlation))
        cdef uint32_t number = stream.sequence[channel]
        stream.sequence[channel] += 1
        start = queue_room(&queue.queue, stream.slot, most) if queue.accepting else NULL
        if start == NULL:
            queue.lost_full += queue.accepting
            queue.lost_down += not queue.accepting
            self.counts.lost_full += queue.accepting
            self.counts.lost_down += not queue.accepting
            return 0
        if stream.cable:
            length = write_datagram(start, stream.numbers[way], stamp_ns, packet, length)
        else:
            length = write_apdu(start, stream.correlation, <uint32_t>len(stream.correlation), way,
                                number, stamp_ns, packet, length)
        queue_added(&queue.queue, stream.slot, length)
        self.counts.delivered += 1
        return 0

    def counters(self) -> dict:
        return self.counts

    open_streams = property(
        lambda self: sum((<Stream>each).state == FLOWING for each in (<Streams>self).streams.values()))
