"""The match table of one access function: armed tasks in, PDUs of the subjects' messages out (ext/match.pxd).

Holds the keys of live targets and nothing else of an order. It may not be reached from two threads at once: tasks
come and go between the drains of the ring, on the ring's own thread.
"""
import ipaddress
import os
import struct

from cpython.bytes cimport PyBytes_AsString, PyBytes_FromStringAndSize
from cpython.pycapsule cimport PyCapsule_GetContext, PyCapsule_New, PyCapsule_SetContext
from cpython.ref cimport Py_DECREF, Py_INCREF
from libc.stdint cimport uint8_t, uint32_t, uint64_t
from libc.stdlib cimport free, malloc
from libc.string cimport memcpy, memset

from call_flows cimport refresh_flows
from call_journal cimport extend_kept
from description cimport descriptions_free, descriptions_init
from dialog cimport calls_free, calls_init
from flows cimport flows_free, flows_init
from follow cimport expire_calls
from identity cimport IDENTITY_NONE, IDENTITY_NUMBER, identity, identity_of, pack_digits
from keyed_hash cimport hash_secret
from match cimport match_datagram, match_media
from match_table cimport COUNTERS, MAX_IAP_NAME, MAX_IAPS, match_table, own_address
from octets cimport make_span, span
from packet cimport FLOW_ADD, packet_info
from targets cimport (
    NO_INDEX, add_key, drop_task, key_view, new_task, reserve_keys, targets_free, targets_init, view_number,
    view_prefix, view_text,
)
from voice cimport voices_free, voices_init

from mediation.core.errors import LocalProtocolError

SIDES = {"access": 0, "trunk": 1, "trusted-trunk": 2}
UNKNOWN_ERROR_US = 0xFFFFFFFF
COUNTER_NAMES = (
    "datagrams", "keepalives", "not_sip", "junk", "unknown_iap", "messages", "malformed_start_line",
    "malformed_version", "malformed_no_call_id", "malformed_no_from", "malformed_no_to", "malformed_no_cseq",
    "malformed_cseq", "tolerated_repeated", "tolerated_length_bad", "tolerated_length_short", "tolerated_header",
    "tolerated_spaces", "tolerated_brackets", "tolerated_cseq_range", "tolerated_cseq_method", "tolerated_no_end",
    "tolerated_identities", "initial", "no_match", "matched", "pdus", "calls", "calls_joined", "calls_evicted",
    "calls_silent", "calls_refused", "tasks_refused", "outside_window", "outside_iap", "sdp_unknown",
    "sdp_streams_refused", "descriptions_refused", "media", "media_matched", "content", "media_no_flow",
    "media_other_type", "media_malformed", "media_event_length", "media_other_source", "media_ambiguous",
    "media_off", "flows_refused", "voice", "voice_late", "voice_lost", "voice_malformed", "voice_refused",
    "inband_digits", "media_doubted", "calls_doubted", "calls_claimed", "calls_lapsed_session",
    "calls_lapsed_doubted", "calls_lapsed_silent", "calls_resumed",
)
assert len(COUNTER_NAMES) == COUNTERS


cdef void release_owner(object capsule) noexcept:
    cdef void *owner = PyCapsule_GetContext(capsule)
    if owner != NULL:
        Py_DECREF(<object>owner)


cdef class Matcher:
    cdef match_table table
    cdef dict tasks            # xid -> index
    cdef object __weakref__

    def __cinit__(self, iaps, plan, *, uint32_t call_capacity=65536, size_t out_bound=64 << 20,
                  size_t content_bound=64 << 20, uint32_t voice_capacity=4096, bint live=True, bytes secret=None):
        cdef match_table *t = &self.table
        self.tasks = {}
        t.live = live
        t.out.bound = out_bound
        t.content_out.bound = content_bound
        secret = os.urandom(64) if secret is None else secret
        if len(secret) != 64:
            raise LocalProtocolError("matcher: the secret has 64 octets")
        if not 1 <= call_capacity < 1 << 31:
            raise LocalProtocolError("matcher: call_capacity out of range")
        memcpy(&t.targets.secret, PyBytes_AsString(secret), sizeof(hash_secret))
        memcpy(&t.calls.secret, PyBytes_AsString(secret) + 16, sizeof(hash_secret))
        memcpy(&t.calls.handle_secret, PyBytes_AsString(secret) + 32, sizeof(hash_secret))
        memcpy(&t.flows.secret, PyBytes_AsString(secret) + 48, sizeof(hash_secret))
        if not (targets_init(&t.targets) and calls_init(&t.calls, call_capacity) and flows_init(&t.flows)
                and voices_init(&t.voices, voice_capacity)):
            raise MemoryError
        descriptions_init(&t.descriptions)
        self._set_plan(plan)
        self._set_iaps(list(iaps))

    def __dealloc__(self):
        cdef uint32_t i
        targets_free(&self.table.targets)
        calls_free(&self.table.calls)
        flows_free(&self.table.flows)
        voices_free(&self.table.voices)
        descriptions_free(&self.table.descriptions)
        free(self.table.out.data)
        free(self.table.content_out.data)
        free(self.table.flow_changes)
        for i in range(self.table.iap_count):
            free(self.table.iaps[i].own)

    cdef _set_plan(self, plan):
        cdef match_table *t = &self.table
        t.plan.country_code_length = digits_into(t.plan.country_code, 3, plan.country_code)
        t.plan.area_code_length = digits_into(t.plan.area_code, 6, plan.area_code)
        t.plan.national_prefix_length = digits_into(t.plan.national_prefix, 3, plan.national_prefix)
        t.plan.international_prefix_length = digits_into(t.plan.international_prefix, 4, plan.international_prefix)
        t.plan.national_length = plan.national_length
        t.plan.local_length = plan.local_length

    cdef _set_iaps(self, list iaps):
        cdef match_table *t = &self.table
        cdef own_address *own
        if len(iaps) > MAX_IAPS:
            raise LocalProtocolError(f"matcher: at most {MAX_IAPS} access points")
        for iap in iaps:
            if iap.side not in SIDES:
                raise LocalProtocolError("matcher: an access point's side is access, trunk or trusted-trunk")
            addresses = [ipaddress.ip_address(address).packed for address in iap.own]
            own = <own_address *>malloc(sizeof(own_address) * (len(addresses) + 1))
            if own == NULL:
                raise MemoryError
            memset(own, 0, sizeof(own_address) * (len(addresses) + 1))
            for i, packed in enumerate(addresses):
                own[<size_t>i].family = 4 if len(packed) == 4 else 6
                memcpy(own[<size_t>i].address, PyBytes_AsString(packed), len(packed))
            name = getattr(iap, "name", "").encode()
            if len(name) > MAX_IAP_NAME:
                raise LocalProtocolError(f"matcher: an access point's name has at most {MAX_IAP_NAME} octets")
            memcpy(t.iaps[t.iap_count].name, PyBytes_AsString(name), len(name))
            t.iaps[t.iap_count].name_length = <uint32_t>len(name)
            t.iaps[t.iap_count].side = SIDES[iap.side]
            t.iaps[t.iap_count].own = own
            t.iaps[t.iap_count].own_count = <uint32_t>len(addresses)
            t.iap_count += 1

    @property
    def capsule(self):
        """PyCapsule of the struct match_table; it keeps this object alive."""
        capsule = PyCapsule_New(&self.table, b"mediation.match_table", <void (*)(object) noexcept>release_owner)
        Py_INCREF(self)
        PyCapsule_SetContext(capsule, <void *>self)
        return capsule

    def add_task(self, bytes xid not None, keys, uint64_t not_before_ns, uint64_t not_after_ns, bint dde=False,
                 uint64_t iap_mask=0xFFFFFFFFFFFFFFFF, bint content=False):
        """Arm a task from now on; `content` only for an order with Capability.CONTENT.

        Raises LocalProtocolError when the XID is armed already, is not 16 octets, or a key is not in canonical form;
        MemoryError when there is no room. Nothing is armed then.
        """
        cdef match_table *t = &self.table
        cdef uint32_t index
        if len(xid) != 16:
            raise LocalProtocolError("matcher: an XID has 16 octets")
        if xid in self.tasks:
            raise LocalProtocolError("matcher: the task is armed already")
        index = new_task(&t.targets)
        if index == NO_INDEX:
            raise MemoryError
        memcpy(t.targets.tasks[index].xid, PyBytes_AsString(xid), 16)
        t.targets.tasks[index].not_before_ns = not_before_ns
        t.targets.tasks[index].not_after_ns = not_after_ns
        t.targets.tasks[index].iap_mask = iap_mask
        t.targets.tasks[index].dde = dde
        t.targets.tasks[index].content = content
        try:
            for key in keys:
                self._add_key(index, key)
        except BaseException:
            drop_task(&t.targets, index)
            raise
        self.tasks[xid] = index

    def add_tasks(self, tasks):
        """`add_task` for each (xid, keys, not_before_ns, not_after_ns, dde, iap_mask[, content]) of a sequence, room
        made once."""
        if not reserve_keys(&self.table.targets, self.table.targets.count + <uint64_t>len(tasks)):
            raise MemoryError
        for xid, keys, not_before_ns, not_after_ns, *options in tasks:
            self.add_task(xid, keys, not_before_ns, not_after_ns, *options)

    cdef _add_key(self, uint32_t index, str key):
        cdef match_table *t = &self.table
        cdef key_view view
        cdef bytes text = key.encode("utf-8", "surrogateescape")
        cdef const uint8_t *octets = <const uint8_t *>PyBytes_AsString(text)
        cdef size_t length = len(text)
        if length > 4096 or not text.startswith((b"tel:", b"sip:")):
            raise LocalProtocolError("matcher: a key is not in canonical form")
        if text.startswith(b"tel:+"):
            block = text.endswith(b"*")
            digits = text[5:length - 1] if block else text[5:]
            if not digits.isdigit() or len(digits) > 15:
                raise LocalProtocolError("matcher: a key is not in canonical form")
            if block:
                view_prefix(&t.targets, pack_digits(octets + 5, <uint32_t>len(digits)), &view)
            else:
                view_number(&t.targets, pack_digits(octets + 5, <uint32_t>len(digits)), &view)
        else:
            view_text(&t.targets, octets, <uint32_t>length, &view)
        if not add_key(&t.targets, index, &view):
            raise MemoryError

    def remove_task(self, bytes xid not None):
        """Disarm at once: no message, packet or flow from now on. Whether it was armed."""
        cdef match_table *t = &self.table
        index = self.tasks.pop(xid, None)
        if index is None:
            return False
        drop_task(&t.targets, index)
        t.journal.dirty = True
        self._refresh_flows()
        return True

    def set_dde(self, bytes xid not None, bint on):
        """Dialed digit extraction of a task, also for its calls that are up. Raises KeyError when it is not armed."""
        cdef match_table *t = &self.table
        cdef uint32_t index = self.tasks[xid]
        cdef uint32_t i, k
        if t.targets.tasks[index].dde == on:
            return
        t.targets.tasks[index].dde = on
        if not on:
            self._refresh_flows()
            return
        for i in range(t.calls.used):
            if t.calls.calls[i].used:
                for k in range(t.calls.calls[i].task_count):
                    if t.calls.calls[i].tasks[k].task == index:
                        refresh_flows(t, i)
                        break

    def set_end(self, bytes xid not None, uint64_t not_after_ns):
        """The end of a task's window, also for its calls that are up. Raises KeyError when it is not armed."""
        cdef match_table *t = &self.table
        cdef uint32_t index = self.tasks[xid]
        if t.targets.tasks[index].not_after_ns != not_after_ns:
            t.targets.tasks[index].not_after_ns = not_after_ns
            extend_kept(&t.journal, t.targets.tasks[index].xid, not_after_ns)

    cdef _refresh_flows(self):
        cdef match_table *t = &self.table
        cdef uint32_t i
        for i in range(t.flows.used):
            if t.flows.flows[i].used:
                refresh_flows(t, t.flows.flows[i].call)

    def datagram(self, const uint8_t[::1] payload not None, *, source=("192.0.2.1", 5060),
                 destination=("192.0.2.2", 5060), uint64_t stamp_ns, uint64_t now_ns, uint8_t iap=0,
                 uint32_t error_us=UNKNOWN_ERROR_US, bint disciplined=False):
        """One UDP payload of a signalling port, for feeds and tests; live capture does not come this way."""
        cdef packet_info info
        cdef const uint8_t *start = &payload[0] if payload.shape[0] else NULL
        cdef uint32_t length = <uint32_t>payload.shape[0]
        fill_info(&info, source, destination, stamp_ns, iap, error_us, disciplined)
        with nogil:
            match_datagram(&self.table, &info, start, length, now_ns)

    def media(self, const uint8_t[::1] payload not None, *, source=("192.0.2.1", 10000), destination,
              uint64_t stamp_ns, uint64_t now_ns, uint8_t iap=0, uint32_t error_us=UNKNOWN_ERROR_US,
              bint disciplined=False):
        """One UDP payload that passed the media filter, for feeds and tests; its IP packet is made for it."""
        cdef packet_info info
        cdef const uint8_t *start = &payload[0] if payload.shape[0] else NULL
        cdef uint32_t length = <uint32_t>payload.shape[0]
        cdef bytes packet = ip_packet(source, destination, bytes(payload))
        fill_info(&info, source, destination, stamp_ns, iap, error_us, disciplined)
        info.network = <const uint8_t *>PyBytes_AsString(packet)
        info.network_length = <uint32_t>len(packet)
        with nogil:
            match_media(&self.table, &info, start, length, now_ns)

    def repeat(self, const uint8_t[::1] payload not None, list ends not None, uint64_t rounds, *, uint64_t now_ns):
        """Match the datagrams that end at `ends` in `payload`, `rounds` times over: for measurements."""
        cdef packet_info info
        cdef uint32_t count = <uint32_t>len(ends)
        cdef uint32_t *stops
        cdef uint32_t i
        cdef uint32_t at = 0
        cdef uint64_t _
        if count == 0 or sorted(ends) != ends or ends[0] < 0 or ends[count - 1] != payload.shape[0]:
            raise LocalProtocolError("matcher: ends must rise to the length of the payload")
        fill_info(&info, ("192.0.2.1", 5060), ("192.0.2.2", 5060), now_ns, 0, 0, True)
        stops = <uint32_t *>malloc(count * sizeof(uint32_t))
        if stops == NULL:
            raise MemoryError
        for i in range(count):
            stops[i] = ends[i]
        with nogil:
            for _ in range(rounds):
                at = 0
                for i in range(count):
                    match_datagram(&self.table, &info, &payload[0] + at, stops[i] - at, now_ns)
                    at = stops[i]
        free(stops)

    def canonical(self, const uint8_t[::1] uri not None):
        """What mediation.core.network.identity.canonical says of a URI, by the code that matches; for tests."""
        cdef identity found
        cdef span octets = make_span(&uri[0], &uri[0] + uri.shape[0]) if uri.shape[0] else make_span(NULL, NULL)
        cdef uint32_t i
        identity_of(&self.table.plan, octets, &found)
        if found.kind == IDENTITY_NONE:
            return None
        if found.kind == IDENTITY_NUMBER:
            i = <uint32_t>(found.number >> 60)
            return f"tel:+{found.number << 4 >> 4:0{i}x}"  # packed decimal reads as hexadecimal
        return PyBytes_FromStringAndSize(<const char *>found.text, found.length).decode("utf-8", "surrogateescape")

    def take(self):
        """The X2 PDUs that were written since the last take; the buffer is empty then."""
        cdef bytes found = PyBytes_FromStringAndSize(<const char *>self.table.out.data, self.table.out.length)
        self.table.out.length = 0
        return found

    def take_content(self):
        """The X3 PDUs that were written since the last take; the buffer is empty then."""
        cdef bytes found = PyBytes_FromStringAndSize(<const char *>self.table.content_out.data,
                                                     self.table.content_out.length)
        self.table.content_out.length = 0
        return found

    def expire(self, uint64_t now_ns):
        """What time alone does: the ends of calls that are over, or were silent for a day."""
        expire_calls(&self.table, now_ns)

    def take_flow_changes(self):
        """[(add, address, port, payload types)] since the last take, in order; `add` False removes the destination,
        payload types of None let everything pass."""
        cdef match_table *t = &self.table
        cdef uint32_t i, k
        found = []
        for i in range(t.flow_change_count):
            packed = (<char *>t.flow_changes[i].address)[:4 if t.flow_changes[i].family == 4 else 16]
            types = tuple([k for k in range(128) if t.flow_changes[i].payload_types[k >> 6] >> (k & 63) & 1])
            found.append((t.flow_changes[i].operation == FLOW_ADD, str(ipaddress.ip_address(packed)),
                          t.flow_changes[i].port, None if t.flow_changes[i].whole else types))
        t.flow_change_count = 0
        return found

    def counters(self):
        """Every counter by name since the start; they only rise."""
        cdef uint32_t i
        found = {name: self.table.counters[i] for i, name in enumerate(COUNTER_NAMES)}
        found["out_lost"] = self.table.out.lost
        found["content_lost"] = self.table.content_out.lost
        return found

    def gauges(self):
        """What is held now: tasks, keys, calls (those that linger included), flows, octets waiting to be taken."""
        return {
            "tasks": len(self.tasks), "keys": self.table.targets.count, "calls": self.table.calls.count,
            "flows": self.table.flows.count, "voices": self.table.voices.count, "out_octets": self.table.out.length,
            "content_octets": self.table.content_out.length,
        }


cdef uint32_t digits_into(uint8_t *out, uint32_t most, str digits) except? 99:
    cdef bytes text = digits.encode()
    if len(text) > most or (text and not text.isdigit()):
        raise LocalProtocolError("matcher: a prefix of the dial plan is not digits or too long")
    memcpy(out, PyBytes_AsString(text), len(text))
    return <uint32_t>len(text)


cdef bytes ip_packet(source, destination, bytes payload):
    """A UDP datagram over IPv4 (without checksum, RFC 768) or IPv6, for octets that came without their headers."""
    cdef bytes here = ipaddress.ip_address(source[0]).packed
    cdef bytes there = ipaddress.ip_address(destination[0]).packed
    length = 8 + len(payload)
    datagram = struct.pack("!HHHH", source[1], destination[1], length, 0) + payload
    if len(here) == 16:
        return struct.pack("!IHBB", 6 << 28, length, 17, 64) + here + there + datagram
    header = struct.pack("!BBHHHBBH", 0x45, 0, 20 + length, 0, 0, 64, 17, 0) + here + there
    total = sum(struct.unpack("!10H", header))
    total = (total & 0xFFFF) + (total >> 16)
    total = (total & 0xFFFF) + (total >> 16)
    return header[:10] + struct.pack("!H", total ^ 0xFFFF) + header[12:] + datagram


cdef int fill_info(packet_info *info, source, destination, uint64_t stamp_ns, uint8_t iap, uint32_t error_us,
                   bint disciplined) except -1:
    cdef bytes here = ipaddress.ip_address(source[0]).packed
    cdef bytes there = ipaddress.ip_address(destination[0]).packed
    if len(here) != len(there):
        raise LocalProtocolError("matcher: source and destination are of different families")
    memset(info, 0, sizeof(packet_info))
    info.stamp_ns = stamp_ns
    info.error_us = error_us
    info.undisciplined = not disciplined
    info.family = 4 if len(here) == 4 else 6
    info.protocol = 17
    info.iap = iap
    info.source_port = source[1]
    info.destination_port = destination[1]
    memcpy(info.source, PyBytes_AsString(here), len(here))
    memcpy(info.destination, PyBytes_AsString(there), len(there))
    return 0
