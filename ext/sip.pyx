"""The SIP kernels for Python: the same code that matches at the access point cuts messages for the call model.

Takes octets, gives octets and numbers; what they mean is decided in mediation/core/network/sip.py.
"""
from cpython.bytes cimport PyBytes_FromStringAndSize
from libc.stdint cimport uint8_t, uint32_t

from address cimport name_addr, next_name_addr, next_parameter
from datagram cimport next_message
from octets cimport make_span, span
from sip cimport FAULT_COUNT, cut_header, next_line, scan_message, sip_message

FAULTS = (
    "", "sip: no start line", "sip: version is not 2.0", "sip: no Call-ID", "sip: no From", "sip: no To",
    "sip: no CSeq", "sip: CSeq is not a number and a method",
)
assert len(FAULTS) == FAULT_COUNT


cdef bytes octets_of(span s):
    return PyBytes_FromStringAndSize(<const char *>s.data, s.length)


cdef span span_of(const uint8_t[::1] data):
    if data.shape[0] == 0:
        return make_span(NULL, NULL)
    return make_span(&data[0], &data[0] + data.shape[0])


def split(const uint8_t[::1] data not None):
    """[(start, end)] of the messages in a datagram, and how many octets of junk stood between them."""
    cdef span whole = span_of(data)
    cdef const uint8_t *at = whole.data
    cdef const uint8_t *end = whole.data + whole.length
    cdef const uint8_t *start
    cdef uint32_t junk
    cdef uint32_t sum_of_junk = 0
    cdef sip_message m
    found = []
    while next_message(&at, end, &start, &junk):
        sum_of_junk += junk
        scan_message(&m, start, end)
        at = start + m.octets.length
        found.append((start - whole.data, at - whole.data))
    return found, sum_of_junk + junk


def scan(const uint8_t[::1] data not None):
    """(fault, notes, method, status, reason, request_uri, call_id, cseq, cseq_method, from, to, via, headers, body)

    of the message that begins at the first octet; `headers` is a list of (name, value) as received.
    """
    cdef span whole = span_of(data)
    cdef sip_message m
    cdef const uint8_t *at
    cdef const uint8_t *end
    cdef span line, name, value
    scan_message(&m, whole.data, whole.data + whole.length)
    headers = []
    at = m.headers.data
    end = m.headers.data + m.headers.length
    while next_line(&at, end, &line):
        if cut_header(line, &name, &value):
            headers.append((octets_of(name), octets_of(value)))
    return (
        FAULTS[m.fault], m.notes, octets_of(m.method_text), m.status, octets_of(m.reason), octets_of(m.request_uri),
        octets_of(m.call_id), octets_of(m.cseq_number), octets_of(m.cseq_method), octets_of(m.from_value),
        octets_of(m.to_value), octets_of(m.via), headers, octets_of(m.body),
    )


def addresses(const uint8_t[::1] value not None):
    """[(display, uri, [(parameter, value)], raw)] of a comma-separated list of name-addr or addr-spec."""
    cdef span rest = span_of(value)
    cdef span before, parameters, name, content
    cdef name_addr found
    out = []
    before = rest
    while next_name_addr(&rest, &found):
        parameters = found.parameters
        pairs = []
        while next_parameter(&parameters, &name, &content):
            pairs.append((octets_of(name), octets_of(content)))
        raw = octets_of(make_span(before.data, rest.data))
        out.append((octets_of(found.display), octets_of(found.uri), pairs, raw))
        before = rest
    return out


def parameters(const uint8_t[::1] value not None):
    """[(name, value)] of `;name=value;…`, as received."""
    cdef span rest = span_of(value)
    cdef span name, content
    out = []
    while next_parameter(&rest, &name, &content):
        out.append((octets_of(name), octets_of(content)))
    return out
