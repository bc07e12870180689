"""The SIP kernels for Python: the same code that matches at the access point cuts messages for the call model.

Takes octets, gives octets, text and numbers; what they mean is decided in mediation/core/network/sip.py. Text is UTF-8
with surrogateescape, so nothing is lost. `message` and `addresses` are on the way of every event and make text at once:
a parse by way of octets cost three times as much.
"""
import re

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from cpython.dict cimport PyDict_GetItem
from cpython.object cimport PyObject
from cpython.unicode cimport PyUnicode_DecodeUTF8
from libc.stdint cimport uint8_t, uint32_t
from libc.string cimport memchr

from address cimport name_addr, next_name_addr, next_parameter
from datagram cimport next_message
from octets cimport lower, make_span, span
from sip cimport FAULT_COUNT, cut_header, next_line, scan_message, sip_message

FAULTS = (
    "", "sip: no start line", "sip: version is not 2.0", "sip: no Call-ID", "sip: no From", "sip: no To",
    "sip: no CSeq", "sip: CSeq is not a number and a method",
)
assert len(FAULTS) == FAULT_COUNT

cdef object unfold = re.compile(rb"[ \t]*\r?\n[ \t]+").sub  # LWS of section 25.1: it means one space
cdef object unescape = re.compile(r"\\(.)", re.DOTALL).sub


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


cdef span span_of_bytes(bytes data):
    cdef const uint8_t *start = <const uint8_t *>PyBytes_AS_STRING(data)
    return make_span(start, start + PyBytes_GET_SIZE(data))


cdef str text_of(span s):
    return PyUnicode_DecodeUTF8(<const char *>s.data, s.length, "surrogateescape")


cdef str unfolded(span s):
    """The text of a value that may go over several lines; most are one line."""
    if s.length == 0 or memchr(s.data, 10, s.length) == NULL:
        return text_of(s)
    return unfold(b" ", octets_of(s)).decode("utf-8", "surrogateescape")


cdef str unquoted(str text):
    """A quoted-string without its quotes and escapes; anything else as it is."""
    cdef Py_ssize_t length = len(text)
    if length < 2 or text[0] != u'"' or text[length - 1] != u'"':
        return text
    text = text[1:length - 1]
    return unescape(r"\1", text) if "\\" in text else text


cdef str displayed(span s):
    """A display name; an open quote is dropped."""
    cdef str text = unquoted(unfolded(s))
    return text[1:] if text and text[0] == u'"' else text


cdef tuple next_address(span *rest):
    """(URI, display, ((parameter, value), …), raw) of the next element that holds a URI; None: there is none."""
    cdef const uint8_t *start
    cdef name_addr found
    cdef span name, content
    while True:
        start = rest.data
        if not next_name_addr(rest, &found):
            return None
        if found.uri.length:
            break
    pairs = []
    while next_parameter(&found.parameters, &name, &content):
        pairs.append((text_of(name).lower(), unquoted(unfolded(content))))
    raw = unfolded(make_span(start, rest.data)).strip(" ,\t\r\n")
    return text_of(found.uri), displayed(found.display), tuple(pairs), raw


cdef str branch_of(span via):
    """Of the first value in a Via header."""
    cdef const uint8_t *start = via.data
    cdef const uint8_t *end = via.data + via.length
    cdef const uint8_t *stop
    cdef span rest, name, content
    if via.length == 0:
        return ""
    stop = <const uint8_t *>memchr(start, 44, end - start)
    if stop != NULL:
        end = stop
    stop = <const uint8_t *>memchr(start, 59, end - start) if end > start else NULL
    if stop == NULL:
        return ""
    rest = make_span(stop + 1, end)
    while next_parameter(&rest, &name, &content):
        if is_branch(name):
            return text_of(content)
    return ""


cdef bint is_branch(span name) noexcept nogil:
    cdef const char *wanted = b"branch"
    cdef uint32_t i
    if name.length != 6:
        return False
    for i in range(6):
        if lower(name.data[i]) != <uint8_t>wanted[i]:
            return False
    return True


def message(bytes data not None, dict compact not None):
    """(fault, method, status, reason, request_uri, call_id, cseq, cseq_method, from, to, branch, headers, body)

    of the message that begins at the first octet. After a fault nothing else is good. `from` and `to` are as
    `addresses` gives them, None when they hold none; `headers` are (name in lower case, unfolded value), with the
    names of `compact` in their long form.
    """
    cdef span whole = span_of_bytes(data)
    cdef sip_message m
    cdef const uint8_t *at
    cdef const uint8_t *end
    cdef span line, name, value
    cdef PyObject *long_name
    scan_message(&m, whole.data, whole.data + whole.length)
    if m.fault:
        return FAULTS[m.fault], "", 0, "", "", "", 0, "", None, None, "", (), b""
    headers = []
    at = m.headers.data
    end = m.headers.data + m.headers.length
    while next_line(&at, end, &line):
        if cut_header(line, &name, &value):
            key = text_of(name).lower()
            long_name = PyDict_GetItem(compact, key)
            headers.append((key if long_name == NULL else <object>long_name, unfolded(value)))
    return (
        "", text_of(m.method_text), m.status, text_of(m.reason), text_of(m.request_uri), unfolded(m.call_id),
        int(text_of(m.cseq_number)), text_of(m.cseq_method), next_address(&m.from_value), next_address(&m.to_value),
        branch_of(m.via), tuple(headers), octets_of(m.body),
    )


def addresses(bytes value not None):
    """[(URI, display, ((parameter, value), …), raw)] of a comma-separated list of name-addr or addr-spec."""
    cdef span rest = span_of_bytes(value)
    out = []
    found = next_address(&rest)
    while found is not None:
        out.append(found)
        found = next_address(&rest)
    return out


def parameters(const uint8_t[::1] value not None):
    """[(name, value)] of `;name=value;…`, as received."""
    cdef span rest = span_of(value)
    cdef span name, content
    out = []
    while next_parameter(&rest, &name, &content):
        out.append((octets_of(name), octets_of(content)))
    return out
