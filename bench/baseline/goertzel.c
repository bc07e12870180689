/* The least that any DTMF detector could do: Goertzel's recurrence for the eight frequencies over each packet of 20 ms,
 * in single precision, eight side by side, and the energy; no decision at all.
 *
 *   goertzel --file CODES --channels N --rounds N     prints {"packets", "cpu_ns", "sum"}
 */
#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define PACKET 160

typedef float lanes __attribute__((vector_size(32)));

static uint64_t cpu_ns(void)
{
    struct timespec t;

    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

int main(int argc, char **argv)
{
    static const double hertz[8] = {697, 770, 852, 941, 1209, 1336, 1477, 1633};
    static float expand[256];
    const char *file = NULL;
    long channels = 1000, rounds = 100, size;
    uint8_t *codes;
    lanes turn;
    double sum = 0;
    uint64_t start;
    FILE *in;

    for (int i = 1; i + 1 < argc; i += 2) {
        if (!strcmp(argv[i], "--file"))
            file = argv[i + 1];
        else if (!strcmp(argv[i], "--channels"))
            channels = atol(argv[i + 1]);
        else if (!strcmp(argv[i], "--rounds"))
            rounds = atol(argv[i + 1]);
    }
    in = file ? fopen(file, "rb") : NULL;
    if (!in || fseek(in, 0, SEEK_END) || (size = ftell(in)) < PACKET || fseek(in, 0, SEEK_SET)) {
        fprintf(stderr, "goertzel: no file of voice\n");
        return 1;
    }
    codes = malloc((size_t)size);
    if (!codes || fread(codes, 1, (size_t)size, in) != (size_t)size)
        return 1;
    for (int code = 0; code < 256; code++) {
        int inverted = ~code & 0xff, magnitude = ((((inverted & 15) << 3) + 0x84) << (inverted >> 4 & 7)) - 0x84;

        expand[code] = (float)(inverted & 0x80 ? -magnitude : magnitude);
    }
    for (int k = 0; k < 8; k++)
        turn[k] = (float)(2 * cos(2 * M_PI * hertz[k] / 8000));
    start = cpu_ns();
    for (long round = 0; round < rounds; round++)
        for (long channel = 0; channel < channels; channel++) {
            const uint8_t *p = codes + PACKET * ((round + channel * 7919) % (size / PACKET));
            lanes one = {0}, two = {0};
            float energy = 0;

            for (int i = 0; i < PACKET; i++) {
                float sample = expand[p[i]];
                lanes next = turn * one - two + sample;

                two = one;
                one = next;
                energy += sample * sample;
            }
            one = one * one + two * two - turn * one * two;
            for (int k = 0; k < 8; k++)
                sum += one[k] > energy ? 1 : 0;
        }
    printf("{\"packets\": %ld, \"cpu_ns\": %llu, \"sum\": %.0f}\n", channels * rounds,
           (unsigned long long)(cpu_ns() - start), sum);
    free(codes);
    return 0;
}
