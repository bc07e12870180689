# Whose message is it: the identities of one request that count, looked up in the target table.
#
# Two passes: the first normalises every identity and asks the memory for its tag, the second reads the tags, so that
# the cache misses of one message overlap.
from libc.stdint cimport uint8_t, uint32_t, uint64_t
from libc.string cimport memcpy, memset

from address cimport name_addr, next_name_addr, next_parameter, skip_value
from identity cimport (
    IDENTITY_NONE, IDENTITY_NUMBER, MAX_HOST_OCTETS, checked_host, dial_plan, identity, identity_of, of_user,
)
from match_table cimport COUNT_TASKS_REFUSED, match_table
from octets cimport find, is_blank, is_word, lower, make_span, span, trim
from sip cimport (
    IN_AUTHORIZATION, IN_REQUEST_URI, NOTE_IDENTITIES, SIP_IDENTITIES, cut_header, may_matter, next_line, sip_message,
    take_header,
)
from targets cimport (
    NO_INDEX, find_key, key_view, prefetch_key, target_table, view_number, view_prefix, view_text,
)

cdef enum:
    LOOKUPS = 32               # identities that are looked up together
    MAX_FINDINGS = 32          # tasks of one message


cdef struct candidate:
    identity who
    key_view key
    uint32_t header            # bit of identity_header


cdef struct finding:
    uint32_t task
    uint32_t headers           # in which the task's subject stands


cdef struct findings:
    uint32_t count
    finding items[MAX_FINDINGS]


cdef inline span unquoted(span s) noexcept nogil:
    if s.length >= 2 and s.data[0] == 34 and s.data[s.length - 1] == 34:
        s.data += 1
        s.length -= 2
    return s


cdef inline void identity_of_credentials(const dial_plan *plan, span value, identity *out) noexcept nogil:
    """`Digest username="alice", realm="example.com", …` (RFC 3261 section 22.4): user@realm, or the username's own."""
    cdef const uint8_t *p = value.data
    cdef const uint8_t *end = p + value.length
    cdef const uint8_t *stop
    cdef const uint8_t *equals
    cdef span name, content
    cdef span user = make_span(p, p)
    cdef span realm = make_span(p, p)
    out.kind = IDENTITY_NONE
    out.host.length = 0
    while p < end and not is_blank(p[0]):
        p += 1
    while p < end:
        stop = skip_value(p, end, 44)
        equals = find(p, stop, 61)
        name = trim(make_span(p, equals))
        content = unquoted(trim(make_span(equals + 1, stop)))
        if is_word(name, b"username", 8):
            user = content
        elif is_word(name, b"realm", 5):
            realm = content
        p = stop + 1
    stop = find(user.data, user.data + user.length, 64)
    if stop < user.data + user.length:
        realm = make_span(stop + 1, user.data + user.length)
        user = make_span(user.data, stop)
    if user.length > 4 and is_word(make_span(user.data, user.data + 4), b"sip:", 4):
        user = make_span(user.data + 4, user.data + user.length)
    of_user(plan, user, checked_host(realm.data, realm.data + realm.length), out)


cdef inline void add_candidate(match_table *t, candidate *list, uint32_t *count, uint32_t header) noexcept nogil:
    """list[count] holds an identity: keep it if it names anybody, and call for its tag."""
    cdef candidate *c = &list[count[0]]
    if c.who.kind == IDENTITY_NONE and c.who.host.length == 0:
        return
    c.header = header
    if c.who.kind == IDENTITY_NUMBER:
        view_number(&t.targets, c.who.number, &c.key)
    elif c.who.kind != IDENTITY_NONE:
        view_text(&t.targets, c.who.text, c.who.length, &c.key)
    if c.who.kind != IDENTITY_NONE:
        prefetch_key(&t.targets, &c.key)
    count[0] += 1


cdef inline void add_findings(match_table *t, uint32_t link, uint32_t header, findings *out) noexcept nogil:
    cdef uint32_t i
    while link != NO_INDEX:
        for i in range(out.count):
            if out.items[i].task == t.targets.links[link].task:
                out.items[i].headers |= header
                break
        else:
            if out.count == MAX_FINDINGS:
                t.counters[COUNT_TASKS_REFUSED] += 1
                return
            out.items[out.count].task = t.targets.links[link].task
            out.items[out.count].headers = header
            out.count += 1
        link = t.targets.links[link].next_of_key


cdef inline void find_blocks(match_table *t, const candidate *c, findings *out) noexcept nogil:
    """tel:+DIGITS*: one look-up for each length that is armed."""
    cdef uint32_t digits = <uint32_t>(c.who.number >> 60)
    cdef uint64_t number = c.who.number << 4 >> 4  # without the length
    cdef uint32_t length
    cdef key_view view
    for length in range(1, digits + 1):
        if t.targets.prefix_lengths >> length & 1:
            view_prefix(&t.targets, number >> (4 * (digits - length)) | <uint64_t>length << 60, &view)
            add_findings(t, find_key(&t.targets, &view), c.header, out)


cdef inline void find_trunk(match_table *t, const candidate *c, findings *out) noexcept nogil:
    """sip:*@host"""
    cdef uint8_t text[6 + MAX_HOST_OCTETS]
    cdef key_view view
    cdef uint32_t i
    memcpy(text, <const char *>b"sip:*@", 6)
    for i in range(c.who.host.length):
        text[6 + i] = lower(c.who.host.data[i])
    view_text(&t.targets, text, 6 + c.who.host.length, &view)
    add_findings(t, find_key(&t.targets, &view), c.header, out)


cdef inline void look_up(match_table *t, const candidate *list, uint32_t count, findings *out) noexcept nogil:
    cdef uint32_t i
    for i in range(count):
        if list[i].who.kind != IDENTITY_NONE:
            add_findings(t, find_key(&t.targets, &list[i].key), list[i].header, out)
        if t.targets.prefix_lengths and list[i].who.kind == IDENTITY_NUMBER:
            find_blocks(t, &list[i], out)
        if t.targets.hosts and list[i].who.host.length:
            find_trunk(t, &list[i], out)


cdef inline candidate *room(match_table *t, candidate *list, uint32_t *count, findings *out) noexcept nogil:
    """The next free place of the list; a full one is looked up first."""
    if count[0] == LOOKUPS:
        look_up(t, list, count[0], out)
        count[0] = 0
    return &list[count[0]]


cdef inline void collect(match_table *t, const sip_message *m, uint32_t mask, candidate *list, uint32_t *count,
                         findings *out) noexcept nogil:
    """The identities that stand in the headers of `mask` that the message keeps."""
    cdef uint32_t i
    cdef span rest
    cdef name_addr address
    for i in range(m.identity_count):
        if not m.identities[i].header & mask:
            continue
        if m.identities[i].header == IN_AUTHORIZATION:
            identity_of_credentials(&t.plan, m.identities[i].value, &room(t, list, count, out).who)
            add_candidate(t, list, count, IN_AUTHORIZATION)
            continue
        rest = m.identities[i].value
        while next_name_addr(&rest, &address):
            identity_of(&t.plan, address.uri, &room(t, list, count, out).who)
            add_candidate(t, list, count, m.identities[i].header)


cdef inline void collect_beyond(match_table *t, const sip_message *m, uint32_t mask, candidate *list,
                                uint32_t *count, findings *out) noexcept nogil:
    """Those in identity headers behind the SIP_IDENTITIES that the message keeps: who writes many is not hidden."""
    cdef sip_message more
    cdef span line, name, value
    cdef const uint8_t *end = m.headers.data + m.headers.length
    cdef const uint8_t *at = find(m.identities[SIP_IDENTITIES - 1].value.data, end, 10)
    while at + 1 < end and (at[1] == 32 or at[1] == 9):  # a folded line goes on
        at = find(at + 1, end, 10)
    at = at + 1 if at < end else end
    memset(&more, 0, <size_t>(<uint8_t *>&more.identities - <uint8_t *>&more))
    while next_line(&at, end, &line):
        if may_matter(line.data[0]) and cut_header(line, &name, &value):
            take_header(&more, name, value)
        if more.identity_count == SIP_IDENTITIES:
            collect(t, &more, mask, list, count, out)
            more.identity_count = 0
    collect(t, &more, mask, list, count, out)


cdef inline void find_tasks(match_table *t, const sip_message *m, uint32_t mask, findings *out) noexcept nogil:
    """Every task whose subject stands in a header of `mask`, and in which. No number of others before it hides one:
    the work is bounded by the message's length alone."""
    cdef candidate list[LOOKUPS]
    cdef uint32_t count = 0
    out.count = 0
    if mask & IN_REQUEST_URI:
        identity_of(&t.plan, m.request_uri, &list[0].who)
        add_candidate(t, list, &count, IN_REQUEST_URI)
    collect(t, m, mask, list, &count, out)
    if m.notes & NOTE_IDENTITIES:
        collect_beyond(t, m, mask, list, &count, out)
    look_up(t, list, count, out)
