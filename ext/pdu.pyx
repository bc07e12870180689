"""The reader of X2 and X3 PDUs for Python (ETSI TS 103 221-2; the layout is that of mediation/core/interface/x2.py).

Takes octets that anybody may have sent, gives numbers, octets and text; which PDU that is, is decided there. Every
length is checked before it is used. Of an attribute that comes twice the last one counts.
"""
from ipaddress import IPv6Address

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from cpython.unicode cimport PyUnicode_DecodeUTF8
from libc.stdint cimport uint8_t, uint32_t, uint64_t

cdef extern from "Python.h":
    str PyUnicode_FromFormat(const char *form, ...)

cdef enum:
    HEADER_OCTETS = 40
    XID_AT = 16
    TYPES = 4  # 1 to 4 are known
    ROLES = 3
    ATTRIBUTES = 17  # of those that are read, the highest number is 16

cdef enum:  # TS 103 221-2 table 5
    PROPRIETARY = 4
    INTERCEPTION_POINT = 7
    SEQUENCE = 8
    TIMESTAMP = 9
    SOURCE_IPV4 = 10
    DESTINATION_IPV4 = 11
    SOURCE_IPV6 = 12
    DESTINATION_IPV6 = 13
    SOURCE_PORT = 14
    DESTINATION_PORT = 15

cdef enum:
    UNKNOWN_ERROR_US = 0xFFFFFFFF
    UNDISCIPLINED = 1

SHORT, LENGTHS, TYPE, CUT, LONG, VALUE = (
    "x2: shorter than its header", "x2: lengths do not agree with the octets received", "x2: unknown PDU type",
    "x2: attribute header cut short", "x2: attribute longer than the header", "x2: attribute of a wrong size or value",
)


cdef struct attribute:
    const uint8_t *at  # NULL: it is not there
    uint32_t size


cdef uint32_t u16(const uint8_t *p) noexcept nogil:
    return <uint32_t>p[0] << 8 | p[1]


cdef uint32_t u32(const uint8_t *p) noexcept nogil:
    return <uint32_t>p[0] << 24 | <uint32_t>p[1] << 16 | <uint32_t>p[2] << 8 | p[3]


cdef uint64_t u64(const uint8_t *p) noexcept nogil:
    return <uint64_t>u32(p) << 32 | u32(p + 4)


cdef bint is_sized(const attribute *a, uint32_t size) noexcept nogil:
    """It is not there, or of this size."""
    return a.at == NULL or a.size == size


cdef tuple endpoint(const attribute *v4, const attribute *v6, const attribute *port):
    """(address, port) of attributes whose sizes are good."""
    cdef uint32_t number = u16(port.at) if port.at != NULL else 0
    if v4.at != NULL:
        return PyUnicode_FromFormat(b"%u.%u.%u.%u", <unsigned int>v4.at[0], <unsigned int>v4.at[1],
                                    <unsigned int>v4.at[2], <unsigned int>v4.at[3]), number
    if v6.at == NULL:
        return "", number
    return str(IPv6Address(PyBytes_FromStringAndSize(<const char *>v6.at, 16))), number


def read(bytes octets not None, bint ours):
    """(type, payload_format, direction, xid, correlation, payload, stamp_ns, sequence, source, destination, error_us,
    disciplined, role, interception point) of one whole PDU, as x2.Pdu has them; or the text of what is wrong with it.

    Not `ours`: the proprietary attribute is somebody else's and tells nothing.
    """
    cdef const uint8_t *start = <const uint8_t *>PyBytes_AS_STRING(octets)
    cdef uint64_t length = <uint64_t>PyBytes_GET_SIZE(octets)
    cdef uint64_t header, at, size
    cdef uint32_t number, error_us
    cdef uint32_t flags, role
    cdef uint64_t stamp_ns = 0
    cdef attribute found[ATTRIBUTES]
    if length < HEADER_OCTETS:
        return SHORT
    header = u32(start + 4)
    if header < HEADER_OCTETS or header + u32(start + 8) != length:
        return LENGTHS
    if not 1 <= u16(start + 2) <= TYPES:
        return TYPE
    for number in range(<uint32_t>ATTRIBUTES):
        found[number].at = NULL
        found[number].size = 0
    at = HEADER_OCTETS
    while at < header:
        if at + 4 > header:
            return CUT
        number = u16(start + at)
        size = u16(start + at + 2)
        at += 4
        if at + size > header:
            return LONG
        if number < ATTRIBUTES:
            found[number].at = start + at
            found[number].size = <uint32_t>size
        at += size
    if not (is_sized(&found[TIMESTAMP], 8) and is_sized(&found[SEQUENCE], 4)
            and is_sized(&found[SOURCE_PORT], 2) and is_sized(&found[DESTINATION_PORT], 2)
            and is_sized(&found[SOURCE_IPV4], 4) and is_sized(&found[DESTINATION_IPV4], 4)
            and (found[SOURCE_IPV4].at != NULL or is_sized(&found[SOURCE_IPV6], 16))
            and (found[DESTINATION_IPV4].at != NULL or is_sized(&found[DESTINATION_IPV6], 16))):
        return VALUE
    error_us, flags, role = UNKNOWN_ERROR_US, UNDISCIPLINED, 0
    if ours and found[PROPRIETARY].at != NULL:
        if found[PROPRIETARY].size != 8 or found[PROPRIETARY].at[5] >= ROLES:
            return VALUE
        error_us, flags, role = u32(found[PROPRIETARY].at), found[PROPRIETARY].at[4], found[PROPRIETARY].at[5]
    if found[TIMESTAMP].at != NULL:
        stamp_ns = <uint64_t>u32(found[TIMESTAMP].at) * 1000000000 + u32(found[TIMESTAMP].at + 4)
    point = ""
    if found[INTERCEPTION_POINT].at != NULL:
        try:
            point = PyUnicode_DecodeUTF8(
                <const char *>found[INTERCEPTION_POINT].at, found[INTERCEPTION_POINT].size, NULL
            )
        except UnicodeDecodeError:
            return VALUE
    return (
        u16(start + 2), u16(start + 12), u16(start + 14),
        PyBytes_FromStringAndSize(<const char *>start + XID_AT, 16), u64(start + 32),
        PyBytes_FromStringAndSize(<const char *>start + header, <Py_ssize_t>(length - header)), stamp_ns,
        u32(found[SEQUENCE].at) if found[SEQUENCE].at != NULL else None,
        endpoint(&found[SOURCE_IPV4], &found[SOURCE_IPV6], &found[SOURCE_PORT]),
        endpoint(&found[DESTINATION_IPV4], &found[DESTINATION_IPV6], &found[DESTINATION_PORT]),
        error_us, not flags & UNDISCIPLINED, role, point,
    )
