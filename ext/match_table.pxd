# The state of one access function's matching, its counters, and which headers count on which side of the network.
#
# | side          | sender        | headers of a request without To tag that name a subject                         |
# |---------------|---------------|---------------------------------------------------------------------------------|
# | access        | anyone        | Request-URI, From, P-Asserted-Identity, P-Preferred-Identity, P-Called-Party-ID, |
# |               |               | (Proxy-)Authorization username, Diversion, History-Info                         |
# | trunk         | own address   | Request-URI, From, P-Asserted-Identity, P-Called-Party-ID, Diversion,           |
# |               |               | History-Info                                                                    |
# | trunk         | anyone else   | Request-URI: it is a call to the subject; a bare From, an asserted identity or  |
# |               |               | a diversion from outside proves nothing                                         |
# | trusted-trunk | anyone        | Request-URI, P-Asserted-Identity, P-Called-Party-ID, Diversion, History-Info,   |
# |               |               | and From when there is no P-Asserted-Identity                                   |
# REGISTER: To and From on all sides but for strangers on a trunk, on an access side the username as well.
# To never counts in any other request: the sender writes what he likes there. MESSAGE, SUBSCRIBE, NOTIFY, REFER,
# PUBLISH, INFO and OPTIONS follow the table as INVITE does; so do INVITE, UPDATE, SUBSCRIBE and NOTIFY inside of
# dialogs that are not known.
from libc.stdint cimport uint8_t, uint32_t, uint64_t

from call_journal cimport call_journal
from description cimport description_table
from dialog cimport call_table
from flows cimport flow_table
from identity cimport dial_plan
from packet cimport flow_change, octet_buffer
from sip cimport (
    IN_ASSERTED, IN_AUTHORIZATION, IN_CALLED_PARTY, IN_DIVERSION, IN_FROM, IN_HISTORY, IN_PREFERRED, IN_REQUEST_URI,
    IN_TO,
)
from targets cimport target_table
from voice cimport voice_table

cdef enum:
    MAX_IAP_NAME = 15          # octets: VisibleString SIZE(1..15)
    MAX_IAPS = 64              # bits of task.iap_mask
    MAX_FLOW_CHANGES = 65536   # that nobody took yet
    PORT_WORDS = 1024          # 65,536 ports as bits

cdef enum:
    SIDE_ACCESS = 0
    SIDE_TRUNK = 1
    SIDE_TRUSTED_TRUNK = 2


# The order is the order of the names in matcher.pyx.
cdef enum:
    COUNT_DATAGRAMS
    COUNT_KEEPALIVES           # datagrams of blanks and NULs alone
    COUNT_NOT_SIP              # datagrams without a start line
    COUNT_JUNK                 # datagrams with octets beside messages
    COUNT_UNKNOWN_IAP
    COUNT_MESSAGES             # with those that are malformed
    COUNT_MALFORMED            # + sip_fault - 1, 7 of them
    COUNT_TOLERATED = COUNT_MALFORMED + 7   # + number of the bit of sip_note, 10 of them
    COUNT_INITIAL = COUNT_TOLERATED + 10    # requests whose identities were looked up
    COUNT_NO_MATCH             # messages of nobody's call
    COUNT_MATCHED              # messages that became a PDU
    COUNT_PDUS
    COUNT_CALLS
    COUNT_CALLS_JOINED         # of them: first seen inside of a dialog
    COUNT_CALLS_EVICTED        # the table was full
    COUNT_CALLS_SILENT         # a day without a message
    COUNT_CALLS_REFUSED        # no memory
    COUNT_TASKS_REFUSED        # more tasks on one call, or more in one message, than there is room for
    COUNT_OUTSIDE_WINDOW       # messages and packets of a task whose order is not in force at that time
    COUNT_OUTSIDE_IAP          # messages and packets of a task whose order does not cover the access point
    COUNT_SDP_UNKNOWN          # descriptions with an address that cannot be read
    COUNT_SDP_STREAMS_REFUSED  # streams of a description beyond SDP_STREAMS
    COUNT_DESCRIPTIONS_REFUSED  # descriptions of a call beyond CALL_DESCRIPTIONS, or no memory
    COUNT_MEDIA                # packets that passed the kernel's media filter
    COUNT_MEDIA_MATCHED        # of them: became a PDU
    COUNT_CONTENT              # X3 PDUs
    COUNT_MEDIA_NO_FLOW        # passed the kernel's filter, but nobody's
    COUNT_MEDIA_OTHER_TYPE     # neither content nor digits of a task: another payload type, or no RTCP beside RTP
    COUNT_MEDIA_MALFORMED
    COUNT_MEDIA_EVENT_LENGTH
    COUNT_MEDIA_OTHER_SOURCE   # sent to a subject's destination by somebody else
    COUNT_MEDIA_AMBIGUOUS      # two calls share the destination, and the source may be either's
    COUNT_MEDIA_OFF            # no task of the call may have it (any more)
    COUNT_FLOWS_REFUSED        # of a call beyond CALL_FLOWS, no memory, or changes that nobody took
    COUNT_VOICE                # packets of G.711 that were listened to for digits, and of them nothing else was kept
    COUNT_VOICE_LATE           # copies, and packets later than one behind their turn
    COUNT_VOICE_LOST           # packets missing in the sender's numbers
    COUNT_VOICE_MALFORMED
    COUNT_VOICE_REFUSED        # packets of flows beyond the number that may be listened to at once
    COUNT_INBAND_DIGITS        # digits heard in the voice band, each once whoever gets them
    COUNT_MEDIA_DOUBTED        # fit a call by their addresses, but nothing shows that they are its own
    COUNT_CALLS_DOUBTED        # calls with such packets
    COUNT_CALLS_CLAIMED        # calls an address of which another call announced
    COUNT_CALLS_LAPSED_SESSION  # whose end was not seen (ext/lapse.pxd)
    COUNT_CALLS_LAPSED_DOUBTED
    COUNT_CALLS_LAPSED_SILENT
    COUNT_CALLS_RESUMED        # doubted or lapsed ones that went on
    COUNTERS


cdef struct own_address:
    uint8_t family
    uint8_t address[16]


cdef struct access_point:
    uint32_t side
    uint32_t own_count
    own_address *own
    uint8_t name[MAX_IAP_NAME]   # iAPSystemId, as it goes out in each PDU
    uint32_t name_length


cdef struct match_table:
    octet_buffer out           # X2
    octet_buffer content_out   # X3
    flow_change *flow_changes
    uint32_t flow_change_count
    uint32_t flow_change_capacity
    uint64_t media_ports[PORT_WORDS]   # as the kernel's filter has them
    bint live                  # the packet's stamp must be inside of an order's window, as the clock must
    uint64_t counters[COUNTERS]
    dial_plan plan
    target_table targets
    call_table calls
    description_table descriptions
    flow_table flows
    voice_table voices
    call_journal journal
    uint32_t iap_count
    access_point iaps[MAX_IAPS]


cdef inline uint32_t headers_that_count(uint32_t side, bint own, bint registering) noexcept nogil:
    """The table above as bits of identity_header."""
    if registering:
        if side == SIDE_ACCESS:
            return IN_TO | IN_FROM | IN_AUTHORIZATION
        return IN_TO | IN_FROM if own or side == SIDE_TRUSTED_TRUNK else 0
    if side == SIDE_ACCESS:
        return (IN_REQUEST_URI | IN_FROM | IN_ASSERTED | IN_PREFERRED | IN_CALLED_PARTY | IN_AUTHORIZATION
                | IN_DIVERSION | IN_HISTORY)
    if side == SIDE_TRUNK and not own:
        return IN_REQUEST_URI
    return IN_REQUEST_URI | IN_FROM | IN_ASSERTED | IN_CALLED_PARTY | IN_DIVERSION | IN_HISTORY
