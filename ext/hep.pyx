"""One HEP3 feed as Python holds it: the socket that the opener bound, its key and its counters (ext/hep.pxd).

Answers for: every datagram is matched, or counted by the reason why not. May not: keep an octet of what did not match.
The reader's thread drains it; the feed keeps the matcher alive that it feeds.
"""
from cpython.bytes cimport PyBytes_AsString
from cpython.pycapsule cimport PyCapsule_GetPointer, PyCapsule_New
from libc.stdint cimport uint8_t, uint32_t, uint64_t
from libc.stdlib cimport free, malloc
from libc.string cimport memcpy, memset

from hep cimport (
    HEP_BATCH, HEP_KEY_AT_MOST, HEP_OCTETS, HEP_UNKNOWN_ERROR_US, hep_drain, hep_feed, hep_packet,
)
from linux cimport batch_new, socket_drops
from match cimport match_table


cdef class HepFeed:
    """`matcher` is a mediation.access._matcher.Matcher, `iap` the access point's index in it, `fd` a bound UDP socket
    (it stays the caller's) or -1 for datagrams given to `feed`; `key` is what chunk 14 must say, empty: nothing."""

    cdef hep_feed hep
    cdef object matcher

    def __cinit__(self, matcher, int iap, int fd, bytes key):
        memset(&self.hep, 0, sizeof(hep_feed))
        self.matcher = matcher
        self.hep.table = <match_table *>PyCapsule_GetPointer(
            getattr(matcher, "capsule", matcher), b"mediation.match_table")
        if not 0 <= iap < 256 or len(key) > HEP_KEY_AT_MOST:
            raise ValueError("hep: index or key out of range")
        self.hep.iap = <uint8_t>iap
        self.hep.fd = fd
        self.hep.error_us = HEP_UNKNOWN_ERROR_US
        self.hep.undisciplined = 1
        memcpy(self.hep.key, PyBytes_AsString(key), len(key))
        self.hep.key_length = <uint32_t>len(key)
        self.hep.octets = <uint8_t *>malloc(<size_t>HEP_BATCH * HEP_OCTETS)
        if self.hep.octets != NULL:
            self.hep.batch = batch_new(self.hep.octets, HEP_OCTETS)
        if self.hep.batch == NULL:
            raise MemoryError("hep: buffers")

    def __dealloc__(self):
        free(self.hep.batch)
        free(self.hep.octets)

    @property
    def capsule(self):
        """For Reader, which keeps this object too."""
        return PyCapsule_New(&self.hep, b"mediation.hep_feed", NULL)

    def feed(self, const uint8_t[::1] datagram not None, uint64_t arrival_ns, uint64_t now_ns) -> None:
        """One datagram that did not come through the socket."""
        hep_packet(&self.hep, &datagram[0] if datagram.shape[0] else NULL, <uint32_t>datagram.shape[0], arrival_ns,
                   now_ns)

    def drain(self, uint64_t now_ns) -> int:
        """What the socket holds now, without the interpreter lock; how many datagrams."""
        cdef uint32_t found
        with nogil:
            found = hep_drain(&self.hep, now_ns)
        return found

    def set_stamp_quality(self, uint64_t error_ns, bint disciplined) -> None:
        """As Walker's."""
        self.hep.error_us = <uint32_t>min((error_ns + 999) // 1000, <uint64_t>HEP_UNKNOWN_ERROR_US)
        self.hep.undisciplined = not disciplined

    def counters(self) -> dict[str, int]:
        """What became of every datagram, by reason; `hep_kernel_drops` found the socket's buffer full."""
        cdef dict found = self.hep.counts
        found["hep_kernel_drops"] = socket_drops(self.hep.fd) if self.hep.fd >= 0 else 0
        return found
