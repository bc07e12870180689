# The armed targets: a hash table from canonical identities to the tasks that are entitled to them.
#
# Nearly every look-up finds nothing, so the first thing read is one octet per slot: a tag of the hash. A million keys
# have 2 MiB of tags, which stay in the cache; the slots (16 octets) are read only when a tag agrees, and the key is
# then compared in full. Linear probing at most half full, so a look-up ends within a cache line; removal shifts back,
# so there are no tombstones and cost does not grow with age.
#
# Changed and read on one thread: no locks.
from libc.stdint cimport uint8_t, uint32_t, uint64_t
from libc.stdlib cimport free, malloc, realloc
from libc.string cimport memcmp, memcpy

from keyed_hash cimport hash_octets, hash_secret, hash_word, rotate
from memory cimport __builtin_prefetch, table_memory

cdef enum:
    NO_INDEX = 0xffffffff
    TEXT_NUMBER = 0            # key_slot.text of a number
    TEXT_PREFIX = 0xffffffff   # key_slot.text of a block of numbers
    FIRST_SLOTS = 1024


cdef struct key_slot:
    uint64_t key               # packed digits, or the hash of the text
    uint32_t text              # TEXT_NUMBER, TEXT_PREFIX, or 1 + index into texts
    uint32_t link              # first of the tasks of this key


cdef struct key_text:
    uint8_t *octets
    uint32_t length
    uint32_t next_free


cdef struct task_link:         # one task of one key, in the chain of the key and in the chain of the task
    uint32_t task
    uint32_t next_of_key
    uint32_t next_of_task
    uint32_t text
    uint64_t key


cdef struct task:
    uint8_t xid[16]
    uint64_t not_before_ns
    uint64_t not_after_ns
    uint64_t iap_mask          # bit set of IAP indexes
    uint32_t generation        # odd while the task lives; a reused place has another one
    uint32_t sequence          # of its X2 PDUs
    uint32_t content_sequence  # of its X3 PDUs
    uint32_t first_link
    uint32_t next_free
    bint dde
    bint content               # Capability.CONTENT: it may have what is said in its calls


cdef struct target_table:
    hash_secret secret
    uint8_t *tags              # 0: empty slot
    key_slot *slots
    uint64_t mask              # number of slots - 1
    uint64_t count             # keys
    key_text *texts
    uint32_t text_count
    uint32_t text_capacity
    uint32_t free_text
    task_link *links
    uint32_t link_count
    uint32_t link_capacity
    uint32_t free_link
    task *tasks
    uint32_t task_count        # places in use or freed
    uint32_t task_capacity
    uint32_t free_task
    uint32_t prefixes[16]      # how many blocks of each length are armed
    uint32_t prefix_lengths    # bit set of the lengths with any
    uint32_t hosts             # how many sip:*@host are armed


cdef struct key_view:          # a key that is looked up: packed digits, or text
    uint64_t key
    uint64_t hash
    uint32_t text              # TEXT_NUMBER, TEXT_PREFIX, or 1: `octets` hold it
    uint32_t length
    const uint8_t *octets


cdef inline void view_number(const target_table *t, uint64_t number, key_view *view) noexcept nogil:
    view.key = number
    view.hash = hash_word(&t.secret, number)
    view.text = TEXT_NUMBER
    view.octets = NULL
    view.length = 0


cdef inline void view_prefix(const target_table *t, uint64_t number, key_view *view) noexcept nogil:
    view.key = number
    view.hash = rotate(hash_word(&t.secret, number), 32)
    view.text = TEXT_PREFIX
    view.octets = NULL
    view.length = 0


cdef inline void view_text(const target_table *t, const uint8_t *octets, uint32_t length,
                           key_view *view) noexcept nogil:
    view.hash = hash_octets(&t.secret, octets, length)
    view.key = view.hash
    view.text = 1
    view.octets = octets
    view.length = length


cdef inline uint8_t tag_of(uint64_t hash) noexcept nogil:
    cdef uint8_t tag = <uint8_t>(hash >> 56)
    return tag if tag else 1


cdef inline void prefetch_key(const target_table *t, const key_view *view) noexcept nogil:
    __builtin_prefetch(t.tags + (view.hash & t.mask))


cdef inline bint is_key(const target_table *t, const key_slot *slot, const key_view *view) noexcept nogil:
    cdef const key_text *text
    if slot.key != view.key:
        return False
    if view.text != 1:
        return slot.text == view.text
    if slot.text == TEXT_NUMBER or slot.text == TEXT_PREFIX:
        return False
    text = &t.texts[slot.text - 1]
    return text.length == view.length and memcmp(text.octets, view.octets, view.length) == 0


cdef inline uint64_t find_slot(const target_table *t, const key_view *view, bint *found) noexcept nogil:
    """The slot of the key, or the empty slot where it would go."""
    cdef uint64_t at = view.hash & t.mask
    cdef uint8_t tag = tag_of(view.hash)
    while t.tags[at]:
        if t.tags[at] == tag and is_key(t, &t.slots[at], view):
            found[0] = True
            return at
        at = (at + 1) & t.mask
    found[0] = False
    return at


cdef inline uint32_t find_key(const target_table *t, const key_view *view) noexcept nogil:
    """The first task_link of a key, or NO_INDEX."""
    cdef bint found
    cdef uint64_t at = find_slot(t, view, &found)
    return t.slots[at].link if found else NO_INDEX


cdef inline uint64_t slot_hash(const target_table *t, const key_slot *slot) noexcept nogil:
    if slot.text == TEXT_NUMBER:
        return hash_word(&t.secret, slot.key)
    if slot.text == TEXT_PREFIX:
        return rotate(hash_word(&t.secret, slot.key), 32)
    return slot.key


cdef inline bint resize(target_table *t, uint64_t slots) noexcept nogil:
    """Into `slots` (a power of two); 0 without memory, and nothing has changed."""
    cdef uint8_t *tags = <uint8_t *>table_memory(slots)
    cdef key_slot *moved = <key_slot *>table_memory(slots * sizeof(key_slot))
    cdef uint64_t i, at, h
    if tags == NULL or moved == NULL:
        free(tags)
        free(moved)
        return False
    if t.tags != NULL:
        for i in range(t.mask + 1):
            if t.tags[i]:
                h = slot_hash(t, &t.slots[i])
                at = h & (slots - 1)
                while tags[at]:
                    at = (at + 1) & (slots - 1)
                tags[at] = t.tags[i]
                moved[at] = t.slots[i]
    free(t.tags)
    free(t.slots)
    t.tags = tags
    t.slots = moved
    t.mask = slots - 1
    return True


cdef inline bint reserve_keys(target_table *t, uint64_t keys) noexcept nogil:
    """Room for `keys` in all without another resize."""
    cdef uint64_t slots = FIRST_SLOTS
    while slots < keys * 2:
        slots *= 2
    return True if t.tags != NULL and slots <= t.mask + 1 else resize(t, slots)


cdef inline void *grown(void *block, uint32_t *capacity, size_t item) noexcept nogil:
    cdef uint32_t more = capacity[0] * 2 if capacity[0] else 64
    cdef void *bigger = realloc(block, more * item) if more > capacity[0] else NULL
    if bigger != NULL:
        capacity[0] = more
    return bigger


cdef inline uint32_t new_text(target_table *t, const uint8_t *octets, uint32_t length) noexcept nogil:
    cdef uint32_t index = t.free_text
    cdef uint8_t *copy = <uint8_t *>malloc(length + 1)
    cdef void *bigger
    if copy == NULL:
        return NO_INDEX
    if index != NO_INDEX:
        t.free_text = t.texts[index].next_free
    else:
        if t.text_count == t.text_capacity:
            bigger = grown(t.texts, &t.text_capacity, sizeof(key_text))
            if bigger == NULL:
                free(copy)
                return NO_INDEX
            t.texts = <key_text *>bigger
        index = t.text_count
        t.text_count += 1
    memcpy(copy, octets, length)
    t.texts[index].octets = copy
    t.texts[index].length = length
    return index


cdef inline uint32_t new_link(target_table *t) noexcept nogil:
    cdef uint32_t index = t.free_link
    cdef void *bigger
    if index != NO_INDEX:
        t.free_link = t.links[index].next_of_task
        return index
    if t.link_count == t.link_capacity:
        bigger = grown(t.links, &t.link_capacity, sizeof(task_link))
        if bigger == NULL:
            return NO_INDEX
        t.links = <task_link *>bigger
    index = t.link_count
    t.link_count += 1
    return index


cdef inline uint32_t new_task(target_table *t) noexcept nogil:
    """A place for a task, its generation odd and nothing linked; NO_INDEX without memory."""
    cdef uint32_t index = t.free_task
    cdef void *bigger
    if index != NO_INDEX:
        t.free_task = t.tasks[index].next_free
    else:
        if t.task_count == t.task_capacity:
            bigger = grown(t.tasks, &t.task_capacity, sizeof(task))
            if bigger == NULL:
                return NO_INDEX
            t.tasks = <task *>bigger
        index = t.task_count
        t.task_count += 1
        t.tasks[index].generation = 0
    t.tasks[index].generation += 1
    t.tasks[index].first_link = NO_INDEX
    t.tasks[index].sequence = t.tasks[index].content_sequence = 0
    t.tasks[index].dde = t.tasks[index].content = False
    return index


cdef inline bint add_key(target_table *t, uint32_t index, const key_view *view) noexcept nogil:
    """Give a key to a task; 0 without memory. A key that the task has already is not added twice."""
    cdef bint found
    cdef uint64_t at
    cdef uint32_t link, text
    if not reserve_keys(t, t.count + 1):
        return False
    at = find_slot(t, view, &found)
    if found:
        link = t.slots[at].link
        while link != NO_INDEX:
            if t.links[link].task == index:
                return True
            link = t.links[link].next_of_key
    link = new_link(t)
    if link == NO_INDEX:
        return False
    if not found:
        text = view.text
        if text == 1:
            text = new_text(t, view.octets, view.length)
            if text == NO_INDEX:
                t.links[link].next_of_task = t.free_link
                t.free_link = link
                return False
            text += 1
        t.tags[at] = tag_of(view.hash)
        t.slots[at].key = view.key
        t.slots[at].text = text
        t.slots[at].link = NO_INDEX
        t.count += 1
    t.links[link].task = index
    t.links[link].key = view.key
    t.links[link].text = t.slots[at].text
    t.links[link].next_of_key = t.slots[at].link
    t.links[link].next_of_task = t.tasks[index].first_link
    t.slots[at].link = link
    t.tasks[index].first_link = link
    count_wildcard(t, t.slots[at].text, view.key, 1)
    return True


cdef inline void delete_slot(target_table *t, uint64_t hole) noexcept nogil:
    """Empty a slot and shift back what probed past it."""
    cdef uint64_t at = hole
    cdef uint64_t home
    t.count -= 1
    while True:
        at = (at + 1) & t.mask
        if t.tags[at] == 0:
            break
        home = slot_hash(t, &t.slots[at]) & t.mask
        if ((at - home) & t.mask) >= ((at - hole) & t.mask):
            t.tags[hole] = t.tags[at]
            t.slots[hole] = t.slots[at]
            hole = at
    t.tags[hole] = 0


cdef inline void count_wildcard(target_table *t, uint32_t text, uint64_t key, int by) noexcept nogil:
    """Keep the numbers of armed wildcards, which say what a look-up must also try."""
    cdef uint32_t length
    if text == TEXT_PREFIX:
        length = <uint32_t>(key >> 60)
        t.prefixes[length] += by
        if t.prefixes[length]:
            t.prefix_lengths |= 1 << length
        else:
            t.prefix_lengths &= ~(<uint32_t>1 << length)
    elif text != TEXT_NUMBER and t.texts[text - 1].length > 6:
        if memcmp(t.texts[text - 1].octets, <const char *>b"sip:*@", 6) == 0:
            t.hosts += by


cdef inline void remove_key(target_table *t, uint32_t link) noexcept nogil:
    """Take one link out of its key's chain; the key goes with its last link."""
    cdef task_link *gone = &t.links[link]
    cdef uint64_t at
    cdef uint32_t *place
    cdef key_slot wanted
    wanted.key = gone.key
    wanted.text = gone.text
    at = slot_hash(t, &wanted) & t.mask
    while t.slots[at].key != gone.key or t.slots[at].text != gone.text or t.tags[at] == 0:
        at = (at + 1) & t.mask
    place = &t.slots[at].link
    while place[0] != link:
        place = &t.links[place[0]].next_of_key
    place[0] = gone.next_of_key
    if t.slots[at].link == NO_INDEX:
        delete_slot(t, at)
        if gone.text != TEXT_NUMBER and gone.text != TEXT_PREFIX:
            free(t.texts[gone.text - 1].octets)
            t.texts[gone.text - 1].octets = NULL
            t.texts[gone.text - 1].next_free = t.free_text
            t.free_text = gone.text - 1


cdef inline void drop_task(target_table *t, uint32_t index) noexcept nogil:
    """Disarm: its keys go, its generation becomes even, its place is free."""
    cdef task *gone = &t.tasks[index]
    cdef uint32_t link = gone.first_link
    cdef uint32_t following
    while link != NO_INDEX:
        following = t.links[link].next_of_task
        count_wildcard(t, t.links[link].text, t.links[link].key, -1)
        remove_key(t, link)
        t.links[link].next_of_task = t.free_link
        t.free_link = link
        link = following
    gone.generation += 1
    gone.first_link = NO_INDEX
    gone.next_free = t.free_task
    t.free_task = index


cdef inline bint targets_init(target_table *t) noexcept nogil:
    """`t` must be zeroed and have its secret."""
    t.free_text = t.free_link = t.free_task = NO_INDEX
    return resize(t, FIRST_SLOTS)


cdef inline void targets_free(target_table *t) noexcept nogil:
    cdef uint32_t i
    for i in range(t.text_count):
        free(t.texts[i].octets)
    free(t.texts)
    free(t.links)
    free(t.tasks)
    free(t.tags)
    free(t.slots)
