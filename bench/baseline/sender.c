/* The load: sends prepared frames on one interface at a given rate, and prints what it really sent.
 *
 * Frame file (little-endian, made by bench/traffic.py): "SIPF", u32 frames, u32 calls in one pass; then for each frame
 * u16 octets, u16 marks, i32 ordinal of its call, u16 offsets[marks], the octets. At every offset stand 10 digits that
 * become (base + pass * calls + ordinal): each pass over the file is new calls. Offsets with CALLER or CALLED set hold 9
 * digits that are drawn anew for each call, so that no look-up finds its memory warm from the pass before.
 *
 * With --stamp 1 the offsets hold 19 digits instead, CLOCK_REALTIME in nanoseconds. One with OWN set takes the frame's
 * own stamp, read immediately before the send of that one frame; any other the stamp of the frame that opened the call,
 * which is a frame of own stamps only. A frame whose call was not opened yet (first pass) is passed over, not counted.
 *
 * Options: --namespace --interface --file --rate N/s --count N --burst N --core N --stamp 0|1 --jitter-us N --base N
 * --priority N --log FILE (with --stamp: int64 pairs, the stamp and the moment the send had returned)
 * Everything is sent with PACKET_QDISC_BYPASS, so that nothing but the veth stands between the sender and the tap. */
#include "bench.h"

#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <net/if.h>
#include <sys/socket.h>
#include <sys/stat.h>

#define MAX_BURST 1024
#define MAX_MARKS 16
#define COUNTER_DIGITS 10
#define PARTY_DIGITS 9
#define OWN 0x8000    /* flags of an offset; frames are shorter than 2048 octets */
#define CALLER 0x4000
#define CALLED 0x2000
#define OFFSET 0x07ff

struct frame {
    char *octets;
    uint16_t length, marks;
    int32_t ordinal;
    uint16_t offsets[MAX_MARKS];
};

static struct frame *frames;
static uint32_t frame_count, calls;
static int64_t *opened; /* by call: the stamp of the frame that opened it */

static void load(const char *path) {
    struct stat status;
    int file = open(path, O_RDONLY | O_CLOEXEC);
    if (file < 0 || fstat(file, &status))
        die("%s: %s", path, strerror(errno));
    char *at = mmap(NULL, (size_t)status.st_size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_POPULATE, file, 0);
    if (at == MAP_FAILED || status.st_size < 12 || memcmp(at, "SIPF", 4))
        die("%s: not a frame file", path);
    char *end = at + status.st_size;
    memcpy(&frame_count, at + 4, 4);
    memcpy(&calls, at + 8, 4);
    at += 12;
    frames = calloc(frame_count, sizeof *frames);
    opened = calloc(calls ? calls : 1, sizeof *opened);
    if (!frames || !opened || !frame_count || !calls)
        die("%s: nothing to send", path);
    for (uint32_t i = 0; i < frame_count; i++) {
        struct frame *frame = &frames[i];
        if (end - at < 8)
            die("%s: cut short", path);
        memcpy(&frame->length, at, 2);
        memcpy(&frame->marks, at + 2, 2);
        memcpy(&frame->ordinal, at + 4, 4);
        if (frame->marks > MAX_MARKS || end - at < 8 + 2 * frame->marks + frame->length)
            die("%s: frame %u is impossible", path, i);
        memcpy(frame->offsets, at + 8, 2U * frame->marks);
        frame->octets = at + 8 + 2 * frame->marks;
        for (int mark = 0; mark < frame->marks; mark++)
            if ((frame->offsets[mark] & OFFSET) + STAMP_DIGITS > frame->length)
                die("%s: frame %u has a mark beyond its end", path, i);
        at = frame->octets + frame->length;
    }
}

static uint64_t draw(uint64_t call) { /* splitmix64: the same for all frames of a call */
    call += 0x9e3779b97f4a7c15;
    call = (call ^ (call >> 30)) * 0xbf58476d1ce4e5b9;
    call = (call ^ (call >> 27)) * 0x94d049bb133111eb;
    return call ^ (call >> 31);
}

static void patch_counter(struct frame *frame, int64_t call) {
    char counter[COUNTER_DIGITS], caller[PARTY_DIGITS], called[PARTY_DIGITS];
    uint64_t parties = draw((uint64_t)call);
    put_digits(counter, call, COUNTER_DIGITS);
    put_digits(caller, (int64_t)(((parties & UINT32_MAX) * 1000000000) >> 32), PARTY_DIGITS);
    put_digits(called, (int64_t)(((parties >> 32) * 1000000000) >> 32), PARTY_DIGITS);
    for (int i = 0; i < frame->marks; i++) {
        char *at = frame->octets + (frame->offsets[i] & OFFSET);
        if (frame->offsets[i] & CALLER)
            memcpy(at, caller, PARTY_DIGITS);
        else if (frame->offsets[i] & CALLED)
            memcpy(at, called, PARTY_DIGITS);
        else
            memcpy(at, counter, COUNTER_DIGITS);
    }
}

static int64_t *opening(const struct frame *frame) {
    int32_t call = frame->ordinal % (int32_t)calls;
    return &opened[call < 0 ? call + (int32_t)calls : call];
}

static int opens(const struct frame *frame) {
    for (int i = 0; i < frame->marks; i++)
        if (!(frame->offsets[i] & OWN))
            return 0;
    return 1;
}

static int64_t patch_stamps(struct frame *frame) {
    int64_t own = now_ns(CLOCK_REALTIME);
    if (opens(frame))
        *opening(frame) = own;
    for (int i = 0; i < frame->marks; i++)
        put_digits(frame->octets + (frame->offsets[i] & OFFSET), frame->offsets[i] & OWN ? own : *opening(frame),
                   STAMP_DIGITS);
    return own;
}

static void sleep_until(int64_t when) {
    /* A shorter wait than a timer costs is spun; a longer one leaves the core to the programs under test. */
    if (when - now_ns(CLOCK_MONOTONIC) > 20000) {
        struct timespec time = {when / SECOND, when % SECOND};
        while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &time, NULL) == EINTR && !stopping)
            ;
    }
    while (now_ns(CLOCK_MONOTONIC) < when && !stopping)
        ;
}

int main(int count, char **words) {
    long rate = number(count, words, "--rate", 1000), total = number(count, words, "--count", 1000);
    long burst = number(count, words, "--burst", 32), jitter = number(count, words, "--jitter-us", 0) * 1000;
    long stamp = number(count, words, "--stamp", 0);
    int64_t base = number(count, words, "--base", 0);
    struct sockaddr_ll address = {.sll_family = AF_PACKET};
    static struct mmsghdr messages[MAX_BURST];
    static struct iovec parts[MAX_BURST];
    uint64_t refused = 0;
    int64_t late_max = 0;
    unsigned seed = 1;
    int one = 1;

    stop_on_signals();
    if (stamp || burst < 1 || burst > MAX_BURST)
        burst = stamp ? 1 : MAX_BURST;
    load(option(count, words, "--file", ""));
    int home = enter_namespace(option(count, words, "--namespace", ""));
    int wire = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, 0); /* protocol 0: receives nothing itself */
    address.sll_ifindex = (int)if_nametoindex(option(count, words, "--interface", ""));
    if (wire < 0 || !address.sll_ifindex || bind(wire, (struct sockaddr *)&address, sizeof address) ||
        setsockopt(wire, SOL_PACKET, PACKET_QDISC_BYPASS, &one, sizeof one))
        die("packet socket: %s", strerror(errno));
    leave_namespace(home);
    pin((int)number(count, words, "--core", -1));
    realtime((int)number(count, words, "--priority", 0));
    prctl(PR_SET_TIMERSLACK, 1UL);
    for (int i = 0; i < MAX_BURST; i++) {
        messages[i].msg_hdr.msg_iov = &parts[i];
        messages[i].msg_hdr.msg_iovlen = 1;
    }

    uint32_t next = 0;
    int64_t pass = 0;
    long sent = 0;
    const char *log = option(count, words, "--log", NULL);
    int64_t(*sends)[2] = log ? mmap(NULL, (size_t)total * sizeof *sends, PROT_READ | PROT_WRITE,
                                    MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0) : NULL;
    if (sends == MAP_FAILED || (log && !stamp))
        die("a log of %ld sends", total);
    int64_t start = now_ns(CLOCK_MONOTONIC), first = now_ns(CLOCK_REALTIME);
    while (sent < total && !stopping) {
        int64_t due = start + (int64_t)((double)sent * SECOND / (double)rate);
        if (jitter)
            due += (int64_t)(rand_r(&seed) % jitter);
        int64_t late = now_ns(CLOCK_MONOTONIC) - due;
        if (late < 0)
            sleep_until(due);
        else if (late > late_max)
            late_max = late;
        int64_t own = 0;
        int filled = 0;
        while (filled < burst && sent + filled < total) {
            struct frame *frame = &frames[next];
            int ready = !stamp || opens(frame) || *opening(frame);
            if (stamp && ready)
                own = patch_stamps(frame);
            else if (!stamp)
                patch_counter(frame, base + (pass + 1) * calls + frame->ordinal);
            parts[filled] = (struct iovec){frame->octets, frame->length};
            filled += ready;
            if (++next == frame_count) {
                next = 0;
                pass++;
                if (!stamp)
                    break; /* a frame may stand only once in a burst: its octets change with the pass */
            }
        }
        for (int done = 0; done < filled;) {
            int taken = sendmmsg(wire, messages + done, (unsigned)(filled - done), 0);
            if (taken > 0)
                done += taken;
            else if (errno == ENOBUFS || errno == EAGAIN || errno == EINTR)
                refused++;
            else
                die("send: %s", strerror(errno));
        }
        if (sends && filled) {
            sends[sent][0] = own;
            sends[sent][1] = now_ns(CLOCK_REALTIME);
        }
        sent += filled;
    }
    double seconds = (double)(now_ns(CLOCK_MONOTONIC) - start) / SECOND;
    if (log) {
        int file = open(log, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
        size_t octets = (size_t)sent * sizeof *sends;
        if (file < 0 || write(file, sends, octets) != (ssize_t)octets)
            die("%s: %s", log, strerror(errno));
        close(file);
    }
    printf("{\"sent\":%ld,\"seconds\":%.6f,\"per_second\":%.1f,\"refused\":%lu,\"late_us_max\":%.1f,\"first_ns\":%ld}\n",
           sent, seconds, (double)sent / seconds, refused, (double)late_max / 1000, first);
    return 0;
}
