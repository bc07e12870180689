/* The least that a tap could hold: a table of numbers to look for, half full, and for each call of one of them what
 * tells its messages from others'. No order, no state of a call, nothing delivered.
 *
 *   memory --targets N --calls N     prints {"targets", "calls", "resident"}: octets, of this whole process
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct target {
    uint64_t number; /* fifteen digits */
    uint32_t order, flags;
};

struct call {
    char call_id[64], tags[2][32];
    uint64_t numbers[2], stamps[2];
    uint32_t addresses[2], target, state;
};

/* Open addressing: the next power of two that is twice as many. */
static uint64_t slots(long wanted)
{
    uint64_t n = 16;

    while (n < 2 * (uint64_t)wanted)
        n *= 2;
    return n;
}

static uint64_t mixed(uint64_t x)
{
    x *= 0x9E3779B97F4A7C15u;
    return x ^ x >> 32;
}

int main(int argc, char **argv)
{
    long targets = 100000, calls = 10000, total, resident;

    for (int i = 1; i + 1 < argc; i += 2) {
        if (strcmp(argv[i], "--targets") == 0)
            targets = atol(argv[i + 1]);
        else if (strcmp(argv[i], "--calls") == 0)
            calls = atol(argv[i + 1]);
    }
    uint64_t of_targets = slots(targets), of_calls = slots(calls);
    struct target *table = calloc(of_targets, sizeof *table);
    struct call **index = calloc(of_calls, sizeof *index), *each = calloc((size_t)calls, sizeof *each);
    if (!table || !index || !each)
        return 1;
    for (long n = 0; n < targets; n++) {
        uint64_t number = 12000000000u + (uint64_t)n * 797 % 1000000000u, at = mixed(number) & (of_targets - 1);
        while (table[at].number)
            at = (at + 1) & (of_targets - 1);
        table[at] = (struct target){number, (uint32_t)(n / 64), 1};
    }
    for (long n = 0; n < calls; n++) {
        uint64_t at = mixed((uint64_t)n + 1) & (of_calls - 1);
        memset(each + n, 1, sizeof *each);
        while (index[at])
            at = (at + 1) & (of_calls - 1);
        index[at] = each + n;
    }
    FILE *statm = fopen("/proc/self/statm", "r"); /* proc_pid_statm(5): pages */
    if (!statm || fscanf(statm, "%ld %ld", &total, &resident) != 2)
        return 1;
    printf("{\"targets\": %ld, \"calls\": %ld, \"resident\": %ld}\n", targets, calls,
           resident * sysconf(_SC_PAGESIZE));
    return 0;
}
