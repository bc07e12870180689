# One way out of the tap's thread: a bounded buffer of whole PDUs (ETSI TS 103 221-2) and the mediator's connection that
# takes them. Nothing is lost but what the bound refuses, and what a connection that dies had taken and not read.
#
# X2 and X3 have an outlet each, so that content in a queue never delays or costs call-identifying information.
from libc.errno cimport EAGAIN, ECONNRESET, EINTR, errno
from libc.stdint cimport uint32_t, uint64_t
from libc.string cimport memmove

from ethernet cimport be32
from linux cimport (
    MSG_DONTWAIT, MSG_NOSIGNAL, POLLERR, POLLHUP, SO_ERROR, SOL_SOCKET, close, getsockopt, poll, pollfd, send,
)
from packet cimport octet_buffer

cdef enum:
    PDU_HEADER = 40


cdef struct outlet_counters:
    uint64_t octets              # taken by the mediator's socket
    uint64_t disconnects         # the mediator's end closed
    uint64_t torn                # of these, how often it had not read all that its socket had taken: that is lost
    uint64_t lost                # appends that the bound of the buffer refused, one for each PDU


cdef struct outlet:
    octet_buffer *out
    int fd                       # the mediator's connection, -1: none
    size_t sent                  # octets at the head of `out` that the socket has taken
    size_t boundary              # start of the first PDU that it has not taken whole
    outlet_counters counts


cdef inline void outlet_compact(outlet *o) noexcept nogil:
    """Drop the PDUs that the socket took whole, once they are half of the buffer or all of it."""
    cdef octet_buffer *out = o.out
    if o.boundary == 0 or o.boundary * 2 < out.length:
        return
    memmove(out.data, out.data + o.boundary, out.length - o.boundary)
    out.length -= o.boundary
    o.sent -= o.boundary
    o.boundary = 0


cdef inline void outlet_disconnect(outlet *o, int failed) noexcept nogil:
    """Forget the connection; `failed` is what send(2) said, or 0. The next one starts with the PDU that this one did
    not take whole."""
    cdef int error = 0
    cdef uint32_t size = sizeof(error)
    # A Unix socket whose peer died with unread octets says ECONNRESET (unix(7)), else EPIPE or nothing.
    if failed == ECONNRESET or (getsockopt(o.fd, SOL_SOCKET, SO_ERROR, &error, &size) == 0 and error == ECONNRESET):
        o.counts.torn += 1
    close(o.fd)
    o.fd = -1
    o.counts.disconnects += 1
    o.sent = o.boundary


cdef inline bint outlet_connect(outlet *o, int fd) noexcept nogil:
    """Take a connection over; 0 while another is alive."""
    cdef pollfd old
    if o.fd >= 0:
        old.fd = o.fd
        old.events = 0
        old.revents = 0
        poll(&old, 1, 0)
        if old.revents & (POLLHUP | POLLERR):
            outlet_disconnect(o, 0)
    if o.fd >= 0:
        return False
    o.fd = fd
    return True


cdef inline void outlet_flush(outlet *o) noexcept nogil:
    """Give the socket what it takes; what it does not take waits in the buffer, which is bounded."""
    cdef octet_buffer *out = o.out
    cdef ssize_t taken
    cdef size_t size
    while o.fd >= 0 and o.sent < out.length:
        taken = send(o.fd, out.data + o.sent, out.length - o.sent, MSG_DONTWAIT | MSG_NOSIGNAL)
        if taken < 0:
            if errno == EINTR:
                continue
            if errno != EAGAIN:
                outlet_disconnect(o, errno)
            break
        o.sent += <size_t>taken
        o.counts.octets += <uint64_t>taken
    while o.boundary + PDU_HEADER <= o.sent:
        size = <size_t>be32(out.data + o.boundary + 4) + be32(out.data + o.boundary + 8)
        if o.boundary + size > o.sent:
            break
        o.boundary += size
    outlet_compact(o)
    o.counts.lost = out.lost
