# cython: language_level=3
"""Message structs to BER octets, driven by the tables of core/message/syntax.py.

A table is compiled once into nodes on the C side; a message is then one walk, back to front, into one buffer that the
encoder keeps. Values are only read and checked here, never altered: what does not fit is refused by field name
(core/message/fitting.py then adapts it). Errors hold the field's path, never its value.
"""
from cpython.bytes cimport PyBytes_FromStringAndSize
from cpython.long cimport PyLong_AsLongLongAndOverflow
from cpython.object cimport PyObject_GetAttr
from libc.stdint cimport int64_t, uint8_t
from libc.stdlib cimport free
from libc.string cimport strlen

from ber cimport (
    BER_CONSTRUCTED,
    BER_CONTEXT,
    BER_MAX_ELEMENTS,
    ber_address,
    ber_front,
    ber_header,
    ber_integer,
    ber_is_visible,
    ber_octets,
    ber_reserve,
    ber_sort,
    ber_time,
    ber_writer,
)

from mediation.core.message import syntax
from mediation.core.errors import EncodingError, LocalProtocolError

cdef extern from "Python.h":
    const char *PyUnicode_AsUTF8AndSize(object text, Py_ssize_t *size) except NULL

cdef enum Kind:
    VISIBLE
    TEXT
    TIME
    ENUMERATED
    INTEGER
    OCTETS
    NOTHING
    ADDRESS      # constructed from here on
    CONSTANTS
    SEQUENCE
    GROUP
    CHOICE
    SEQUENCE_OF
    SET_OF

cdef enum Status:
    DONE
    UNFIT    # the value cannot be encoded: EncodingError
    BUG      # no caller may pass this: LocalProtocolError

# Type of core/message/syntax.py -> kind, and the universal identifier octet of a list's element (X.680 8.4).
cdef dict KINDS = {
    syntax.Visible: (VISIBLE, 0x1A),
    syntax.Text: (TEXT, 0x0C),
    syntax.Time: (TIME, 0x18),
    syntax.Enumerated: (ENUMERATED, 0x0A),
    syntax.Integer: (INTEGER, 0x02),
    syntax.Octets: (OCTETS, 0x04),
    syntax.Null: (NOTHING, 0x05),
    syntax.Address: (ADDRESS, 0x00),
    syntax.Constants: (CONSTANTS, 0x00),
    syntax.Sequence: (SEQUENCE, 0x30),
    syntax.Group: (GROUP, 0x30),
    syntax.Choice: (CHOICE, 0x00),
    syntax.SequenceOf: (SEQUENCE_OF, 0x30),
    syntax.SetOf: (SET_OF, 0x31),
}

cdef enum:
    FIRST_CAPACITY = 4096      # of the buffer; a usual message has 300 to 1,500 octets
    MAX_TAGS = 4               # of one path
    MAX_TAG = 30               # the largest that fits one identifier octet
    IPV4_TAG = 1               # IpAddress ipV4 [1], ipV6 [2]
    IPV6_TAG = 2


cdef class Node:
    """A compiled type."""

    cdef Kind kind
    cdef uint8_t universal
    cdef uint8_t form            # BER_CONSTRUCTED or 0
    cdef int64_t low
    cdef int64_t high
    cdef bint may_be_empty
    cdef object struct
    cdef dict alternatives
    cdef tuple members
    cdef Node element


cdef class Component:
    """A compiled member."""

    cdef str name
    cdef str attribute
    cdef bint mandatory
    cdef int depth
    cdef uint8_t identifiers[MAX_TAGS]   # outside in
    cdef Node node


cdef Node compile_type(object source):
    cdef Node node = Node()
    node.kind, node.universal = KINDS[type(source)]
    node.low = getattr(source, "low", 0)
    node.high = getattr(source, "high", 0)
    node.struct = getattr(source, "struct", None)
    node.alternatives = getattr(source, "alternatives", None)
    node.may_be_empty = getattr(source, "may_be_empty", False)
    node.form = BER_CONSTRUCTED if node.kind >= ADDRESS else 0
    node.members = tuple([compile_member(member) for member in getattr(source, "members", ())])
    if node.kind >= SEQUENCE_OF:
        node.element = compile_type(source.element)
        node.high = syntax.MAX_ELEMENTS
        if node.element.universal == 0 or node.element.kind == NOTHING:
            raise LocalProtocolError("syntax: a list of untagged choices or of nothing")
    return node


cdef Component compile_member(object source):
    cdef Component component = Component()
    cdef int at
    component.name = source.name
    component.attribute = source.attribute
    component.mandatory = source.mandatory
    component.node = compile_type(source.type)
    component.depth = len(source.tags)
    if component.depth > MAX_TAGS or (component.depth == 0) != (component.node.kind == CHOICE):
        raise LocalProtocolError(f"syntax: {source.name}: tag path")
    if component.mandatory and component.node.kind == ADDRESS:
        raise LocalProtocolError(f"syntax: {source.name}: a mandatory address")
    for at, tag in enumerate(source.tags):
        if not 0 <= tag <= MAX_TAG:
            raise LocalProtocolError(f"syntax: {source.name}: tag")
        form = component.node.form if at == component.depth - 1 else BER_CONSTRUCTED
        component.identifiers[at] = BER_CONTEXT | form | tag
    return component


cdef class Encoder:
    """Encodes the messages of one table. Holds one buffer: not to be entered from two threads without the GIL.

    `messages` maps a struct class to its `syntax.Message`; `message_tag` wraps the alternative (EXPLICIT), and
    `envelope` is the identifier octet of the SEQUENCE of protocol identifier and wrapped alternative.
    """

    cdef ber_writer writer
    cdef dict messages
    cdef list trail
    cdef str reason
    cdef uint8_t message_identifier
    cdef uint8_t envelope

    def __cinit__(self, messages, int message_tag, int envelope):
        self.writer.bound = syntax.MAX_MESSAGE_OCTETS
        self.messages = {
            struct: (message.name, BER_CONTEXT | BER_CONSTRUCTED | message.tag, compile_type(message.sequence))
            for struct, message in messages.items()
        }
        self.message_identifier = <uint8_t>(BER_CONTEXT | BER_CONSTRUCTED | message_tag)
        self.envelope = <uint8_t>envelope
        self.trail = []
        self.reason = ""
        if syntax.MAX_ELEMENTS > BER_MAX_ELEMENTS:
            raise LocalProtocolError("syntax: MAX_ELEMENTS")
        self.writer.written = 0
        self.writer.capacity = 0
        self.writer.data = NULL
        if not ber_reserve(&self.writer, FIRST_CAPACITY):
            raise MemoryError

    def __dealloc__(self):
        free(self.writer.data)

    def encode(self, message, bytes identifier=None) -> bytes:
        """The octets of `message`; `identifier` is the protocol identifier's whole TLV, None for the bare form.

        Raises EncodingError for a value that does not fit, LocalProtocolError for what no caller may pass.
        """
        cdef uint8_t tag
        cdef str name
        cdef int status
        entry = self.messages.get(type(message))
        if entry is None:
            raise LocalProtocolError(f"{type(message).__name__}: no message of this protocol")
        name, tag, node = entry
        self.writer.written = 0
        self.trail.clear()
        status = self.put_members(<Node>node, message)
        if status == DONE and not (ber_header(&self.writer, tag, 0)
                                   and ber_header(&self.writer, self.message_identifier, 0)):
            status = self.full()
        if status == DONE and identifier is not None:
            if not (ber_octets(&self.writer, <const uint8_t *><const char *>identifier, <size_t>len(identifier))
                    and ber_header(&self.writer, self.envelope, 0)):
                status = self.full()
        if status == DONE:
            return PyBytes_FromStringAndSize(<const char *>ber_front(&self.writer), <Py_ssize_t>self.writer.written)
        self.trail.append(name)
        path = ".".join(reversed(self.trail))
        raise (EncodingError if status == UNFIT else LocalProtocolError)(f"{path}: {self.reason}")

    cdef int unfit(self, str reason):
        self.reason = reason
        return UNFIT

    cdef int bug(self, str reason):
        self.reason = reason
        return BUG

    cdef int full(self):
        return self.unfit(f"message over {syntax.MAX_MESSAGE_OCTETS} octets")

    cdef int put_members(self, Node node, object owner) except -1:
        """The members that `owner` holds, last to first."""
        cdef Py_ssize_t at = len(node.members)
        cdef int status
        while at:
            at -= 1
            status = self.put_member(<Component>node.members[at], owner)
            if status != DONE:
                return status
        return DONE

    cdef int put_member(self, Component component, object owner) except -1:
        cdef object value
        cdef size_t mark = self.writer.written
        cdef int status
        cdef Node node = component.node
        if node.kind == CHOICE:
            return self.put_choice(component, owner)
        if node.kind == NOTHING:
            status = DONE
        elif node.kind == GROUP:
            if component.attribute and not component.mandatory:
                if PyObject_GetAttr(owner, component.attribute) is None:
                    return DONE
            status = self.put_members(node, owner)
            if status == DONE and not component.mandatory and self.writer.written == mark:
                return DONE
        else:
            value = PyObject_GetAttr(owner, component.attribute)
            if value is None or (node.kind >= SEQUENCE_OF and not component.mandatory and not value):
                if not component.mandatory:
                    return DONE
                status = self.bug("missing")
            else:
                status = self.put_value(node, value)
        if status == DONE:
            status = self.put_headers(component, mark)
        if status != DONE:
            self.trail.append(component.name)
        return status

    cdef int put_headers(self, Component component, size_t mark):
        cdef int depth = component.depth
        while depth:
            depth -= 1
            if not ber_header(&self.writer, component.identifiers[depth], mark):
                return self.full()
        return DONE

    cdef int put_choice(self, Component component, object owner) except -1:
        """Untagged CHOICE: the one alternative that is set; the first, with empty contents, when none is."""
        cdef Component alternative
        cdef Component chosen = None
        for alternative in component.node.members:
            if PyObject_GetAttr(owner, alternative.attribute) is not None:
                if chosen is not None:
                    self.trail.append(component.name)
                    return self.bug("two alternatives")
                chosen = alternative
        if chosen is None:
            if not component.node.may_be_empty:
                self.trail.append(component.name)
                return self.bug("no alternative")
            return self.put_headers(<Component>component.node.members[0], self.writer.written)
        return self.put_member(chosen, owner)

    cdef int put_value(self, Node node, object value) except -1:
        if node.kind == VISIBLE or node.kind == TEXT or node.kind == ADDRESS:
            return self.put_text(node, value)
        if node.kind == SEQUENCE:
            if type(value) is not node.struct:
                return self.bug("wrong struct")
            return self.put_members(node, value)
        if node.kind == SEQUENCE_OF or node.kind == SET_OF:
            return self.put_list(node, value)
        if node.kind == OCTETS:
            return self.put_octets(node, value)
        if node.kind == CONSTANTS:
            return self.put_constant(node, value)
        return self.put_number(node, value)

    cdef int put_octets(self, Node node, object value) except -1:
        if type(value) is not bytes:
            return self.bug("not octets")
        if len(<bytes>value) > node.high:
            return self.unfit(f"over {node.high} octets")
        if not ber_octets(&self.writer, <const uint8_t *><const char *><bytes>value, <size_t>len(<bytes>value)):
            return self.full()
        return DONE

    cdef int put_constant(self, Node node, object value) except -1:
        cdef object octets = node.alternatives.get(value)
        if octets is None:
            return self.bug("not one of the constants")
        if not ber_octets(&self.writer, <const uint8_t *><const char *><bytes>octets, <size_t>len(<bytes>octets)):
            return self.full()
        return DONE

    cdef int put_text(self, Node node, object value) except -1:
        cdef Py_ssize_t size = 0
        cdef const char *text
        cdef uint8_t address[16]
        cdef uint8_t octets_tag
        cdef size_t mark
        cdef int octets
        if not isinstance(value, str):
            return self.bug("not text")
        try:
            text = PyUnicode_AsUTF8AndSize(value, &size)
        except UnicodeEncodeError:
            return self.unfit("not UTF-8")
        if node.kind == ADDRESS:
            octets = ber_address(text, address) if strlen(text) == <size_t>size else 0
            if octets == 0:
                return self.unfit("not an IP address")
            octets_tag = IPV4_TAG if octets == 4 else IPV6_TAG
            mark = self.writer.written
            if not (ber_octets(&self.writer, address, <size_t>octets)
                    and ber_header(&self.writer, BER_CONTEXT | octets_tag, mark)):
                return self.full()
            return DONE
        if size < node.low or size > node.high:
            return self.unfit(f"not {node.low} to {node.high} octets")
        if node.kind == VISIBLE and not ber_is_visible(<const uint8_t *>text, <size_t>size):
            return self.unfit("not VisibleString")
        if not ber_octets(&self.writer, <const uint8_t *>text, <size_t>size):
            return self.full()
        return DONE

    cdef int put_number(self, Node node, object value) except -1:
        cdef int overflow = 0
        cdef long long number
        if not isinstance(value, int):
            return self.bug("not a number")
        number = PyLong_AsLongLongAndOverflow(value, &overflow)
        if node.kind == TIME:
            if overflow:
                return self.bug("time out of range")
            return DONE if ber_time(&self.writer, number) else self.full()
        if overflow or number < node.low or number > node.high:
            return self.unfit(f"not {node.low} to {node.high}")
        return DONE if ber_integer(&self.writer, number) else self.full()

    cdef int put_list(self, Node node, object value) except -1:
        cdef size_t marks[BER_MAX_ELEMENTS + 1]
        cdef size_t mark
        cdef int status
        cdef int at = 0
        cdef Py_ssize_t left
        if type(value) is not tuple:
            return self.bug("not a tuple")
        left = len(<tuple>value)
        if left > node.high:
            return self.unfit(f"over {node.high} elements")
        marks[0] = self.writer.written
        while left:
            left -= 1
            mark = self.writer.written
            status = self.put_value(node.element, (<tuple>value)[left])
            if status == DONE and not ber_header(&self.writer, node.element.universal, mark):
                status = self.full()
            if status != DONE:
                self.trail.append(f"{left}")
                return status
            at += 1
            marks[at] = self.writer.written
        if node.kind == SET_OF and at > 1 and not ber_sort(&self.writer, marks, at):
            raise MemoryError
        return DONE
