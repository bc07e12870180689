# Everything that can happen to a frame between the ring and the matcher, counted by reason. Cython turns the struct
# into a dict of its field names, so a counter exists in one place only.
#
# frames == to_signalling + to_media + to_stream + every reason below that ends a frame, less the fragments that a whole
# datagram was made of: `fragments` == fragment_* ends + `fragments_used`; tests hold the sum.
from libc.stdint cimport uint64_t


cdef struct walk_counters:
    uint64_t frames               # frames given to the walker
    uint64_t octets               # of them, as they were on the wire
    uint64_t to_signalling        # datagrams handed to match_datagram
    uint64_t to_media             # datagrams handed to match_media
    uint64_t link_type_unknown    # a capture's link type that the walker cannot read
    uint64_t link_malformed       # shorter than its link header, or too many VLAN tags
    uint64_t not_ip
    uint64_t not_udp              # neither UDP nor TCP, nor a tunnel that is looked through
    uint64_t to_stream            # segments handed to take_segment (ext/tcp.pxd)
    uint64_t other_connection     # TCP between other ports
    uint64_t tcp_malformed        # a header that is impossible
    uint64_t tcp_checksum
    uint64_t tunnels              # looked through; the packet inside ends for itself
    uint64_t tunnel_malformed     # a tunnel's header that is impossible, or one more tunnel than the bound
    uint64_t truncated            # the capture holds less than the IP header promises
    uint64_t ip_malformed         # version, header length, total length or extension header impossible
    uint64_t ip_checksum
    uint64_t extension_headers    # more IPv6 extension headers than the bound
    uint64_t udp_length           # UDP length below 8 or beyond the IP payload
    uint64_t udp_checksum
    uint64_t fragments            # fragments seen, whatever became of them
    uint64_t fragments_used       # went into a datagram that became whole
    uint64_t datagrams_reassembled
    uint64_t fragment_malformed   # empty, not a multiple of 8, beyond 65,535, or a second and different end
    uint64_t fragment_duplicate   # the same octets once more: ignored
    uint64_t fragment_overlap     # part of a datagram refused for an overlap (RFC 5722), the offender included
    uint64_t fragment_table_full  # pushed out, unfinished, by a newer datagram
    uint64_t fragment_timed_out   # not complete within 30 s
    uint64_t stamp_hardware       # frames stamped by the card
    uint64_t stamp_software       # frames stamped by the kernel
    uint64_t stamp_implausible    # the card's clock was too far from UTC: the time of reading was used instead
    uint64_t flows_added          # media flows put into the kernel's filter
    uint64_t flows_removed
    uint64_t flows_failed         # the kernel refused a change of the filter's map
    # From the stamp of a message to the moment when the kernel's filter passes what it describes. What is sent there in
    # between passes only if it comes from an address that was described before (behind an answer it does); else the
    # kernel drops it and counts it as anybody's, so this window is all that can be known of it.
    uint64_t content_windows      # how many
    uint64_t content_window_us    # their sum
    uint64_t content_window_us_max
