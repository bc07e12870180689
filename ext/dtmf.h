/* DTMF receiver: which keys (ITU-T Q.23) sound in one channel of 8 kHz G.711, by the limits of ITU-T Q.24.
 *
 * Of the last 20 ms of voice it is asked every 4 ms: is there one steady tone in each group, and little else
 * (`dtmf_fit`)? A pair of tones that fits is then followed by its envelope, to the millisecond, until it ends; what
 * was long enough is one press, however long it is held and wherever it is interrupted for less than a pause.
 *
 * | Q.24, table A.1 and the administrations in it     | here                                                      |
 * |---------------------------------------------------|-----------------------------------------------------------|
 * | frequency: accept 1.5 %, reject 3.5 %             | DTMF_OFFSET, DTMF_OFFSET_MEAN                             |
 * | level: accept -25 to -29 dBm0, reject below -55   | DTMF_LEVEL, of each tone                                  |
 * | twist: accept -8 to +4 dB                         | DTMF_TWIST_LOW, DTMF_TWIST_HIGH: gateways and handsets    |
 * |                                                   | go beyond                                                 |
 * | signal: accept 40 ms, reject 20 to 24 ms          | dtmf_rules                                                |
 * | pause: accept 40 ms; 10 ms are an interruption    | DTMF_PAUSE_MS                                             |
 * | speech is no signal (talk-off)                    | dtmf_rules, DTMF_STEADY, DTMF_TONES, DTMF_PURITY          |
 *
 * A channel keeps 12 ms of samples (the delay line of the filters) and 40 ms of band levels, nothing else of the voice,
 * and allocates nothing. Time is counted in steps of one millisecond since the channel began.
 */
#ifndef MEDIATION_DTMF_H
#define MEDIATION_DTMF_H

#include "tone_pair.h"

#define DTMF_EVERY 4    /* steps from one fit to the next */
#define DTMF_FOUND 8    /* presses in one chunk: each is of a key that fitted before or fits in one of 5 windows */
#define DTMF_STILL (VOICE_TAPS + DTMF_HISTORY * VOICE_STEP) /* quiet samples after which nothing is left of others */
#define DTMF_LEAD (VOICE_CENTRE - VOICE_STEP - VOICE_STEP / 2) /* samples from 8 times its number to those of a step */

#define DTMF_PAUSE_MS 22      /* between 10 and 30 */
#define DTMF_EDGES 6          /* ms of a tone for which no window fits: too little of it is in them */
#define DTMF_DIP 4            /* steps below the envelope that noise may cause at the beginning */
#define DTMF_BRIDGE_MS 60     /* of lost packets within one press; a longer gap ends it */
#define DTMF_REPORT_MS 200    /* a press that goes on is reported then */

#define DTMF_QUIET 64         /* peak of samples (-51 dBm0) in which no tone can stand out */
#define DTMF_OFFSET_MEAN 0.0175f /* of its mean over all windows */
#define DTMF_STEADY 0.0028f   /* its deviation from that mean, of the steadier of the two tones */
#define DTMF_ENVELOPE 0.25f   /* of a tone's power: 6 dB down is its edge */

struct dtmf_press {
    uint8_t key;         /* ASCII */
    uint32_t began;      /* samples since the channel began, modulo 2^32 */
    uint32_t sounded_ms; /* until its end, or until it was reported */
};

struct dtmf_channel {
    int16_t line[VOICE_TAPS]; /* the newest `filled` samples */
    voice_bands bands[DTMF_HISTORY];
    float power[DTMF_HISTORY];
    uint32_t step;     /* of the newest output */
    uint16_t filled;
    uint16_t quiet;    /* samples in a row within DTMF_QUIET, up to DTMF_STILL */
    uint8_t key;       /* index 4 * row + column of the pair that is followed, or DTMF_NONE */
    uint8_t reported;
    uint16_t fits;     /* windows */
    uint32_t began;    /* steps */
    uint32_t last_on;
    uint32_t last_fit;
    uint32_t bridge;   /* steps by which the present pause may be longer: packets were lost in it */
    uint32_t bridged;  /* until this step */
    float level[2];    /* the tones' powers at their best */
    float tones;       /* sum of the share of the tones over all windows that fit */
    float offset[2];   /* sums of their offsets, and of the squares of these */
    float squares[2];
};

#define DTMF_NONE 255

static const char dtmf_keys[] = "123A456B789C*0#D";

static inline void dtmf_reset(struct dtmf_channel *c)
{
    memset(c, 0, sizeof *c);
    c->key = DTMF_NONE;
}

/* What is a press: the less of the power is in the tones, the longer and the more steadily they must stand. In speech a
 * pair of harmonics fits now and then, but seldom for most of the time that its envelope stands: in an hour and a half
 * of it no window of the pairs with more than 0.7 of the power had a cover above 0.35, while a digit under -20 dBm0 of
 * speech, or 6 dB over noise, has 0.5 and more. */
static const struct {
    float tones;     /* mean share of the power in the tones, at least */
    float cover;     /* windows that fitted, of those that could have */
    uint32_t least;  /* ms; 23 must not be a press, 30 should be one */
} dtmf_rules[] = {
    {0.85f, 0.75f, 27},
    {0.70f, 0.45f, 34},
    {0.64f, 0.80f, 36},
};

/* Whether both tones stood near their frequencies, and one of them as firmly as no voice does: speech or noise over a
 * digit may shake one tone, seldom both. */
static inline int dtmf_steady(const struct dtmf_channel *c)
{
    float least = 1;

    for (int group = 0; group < 2; group++) {
        float mean = c->offset[group] / (float)c->fits, variance = c->squares[group] / (float)c->fits - mean * mean;

        if (mean > DTMF_OFFSET_MEAN || mean < -DTMF_OFFSET_MEAN)
            return 0;
        least = variance < least ? variance : least;
    }
    return least < DTMF_STEADY * DTMF_STEADY;
}

/* The press that ends or has lasted long enough, if it is one. */
static inline int dtmf_judge(const struct dtmf_channel *c, struct dtmf_press *out)
{
    uint32_t sounded = c->last_on - c->began + 1;
    float tones = c->tones / (float)c->fits;
    float cover = (float)(DTMF_EVERY * c->fits) / ((float)sounded - DTMF_EDGES);

    if (!dtmf_steady(c))
        return 0;
    for (unsigned i = 0; i < sizeof dtmf_rules / sizeof *dtmf_rules; i++)
        if (sounded >= dtmf_rules[i].least && tones >= dtmf_rules[i].tones && cover >= dtmf_rules[i].cover) {
            out->key = (uint8_t)dtmf_keys[c->key];
            out->began = c->began * VOICE_STEP + DTMF_LEAD;
            out->sounded_ms = sounded;
            return 1;
        }
    return 0;
}

/* What is followed ends. The number of presses added to `found`: 0 or 1. */
static inline int dtmf_end(struct dtmf_channel *c, struct dtmf_press *found)
{
    int is_press = c->key != DTMF_NONE && !c->reported && dtmf_judge(c, found);

    c->key = DTMF_NONE;
    return is_press;
}

static inline int dtmf_on(const struct dtmf_channel *c, const struct dtmf_view *v, int i)
{
    voice_bands square = v->bands[i] * v->bands[i];

    return square[0] + square[1] > DTMF_ENVELOPE * c->level[0] && square[2] + square[3] > DTMF_ENVELOPE * c->level[1];
}

/* A window that fits; its newest step is at index `i`. The number of presses added to `found`: 0 or 1. */
static inline int dtmf_take(struct dtmf_channel *c, const struct dtmf_view *v, int i, const struct dtmf_fitted *f,
                            struct dtmf_press *found)
{
    uint8_t key = (uint8_t)(4 * f->tone[0] + f->tone[1]);
    int ended = 0, rose = 0;

    if (c->key != key) {
        ended = dtmf_end(c, found);
        c->key = key;
        c->reported = 0;
        c->fits = 0;
        c->bridge = 0;
        c->tones = 0;
        for (int group = 0; group < 2; group++)
            c->level[group] = c->offset[group] = c->squares[group] = 0;
        c->last_on = c->began = c->step - DTMF_WINDOW / 2;
    }
    for (int group = 0; group < 2; group++) {
        if (f->level[group] > c->level[group]) {
            c->level[group] = f->level[group];
            rose = 1;
        }
        c->offset[group] += f->offset[group];
        c->squares[group] += f->offset[group] * f->offset[group];
    }
    c->fits += c->fits < UINT16_MAX;
    c->tones += f->tones;
    c->last_fit = c->step;
    if (rose && c->step - c->began <= DTMF_HISTORY - DTMF_DIP) {
        /* Where it began and how far it goes, with what is known of its level now. */
        int first = i - DTMF_WINDOW / 2, newest = i;

        for (int before = first - 1; before >= 0 && first - before <= DTMF_DIP; before--)
            if (dtmf_on(c, v, before))
                first = before;
        while (newest > i - DTMF_WINDOW / 2 && !dtmf_on(c, v, newest))
            newest--;
        c->began = c->step - (uint32_t)(i - first);
        c->last_on = c->step - (uint32_t)(i - newest);
    }
    return ended;
}

/* The envelope of the pair that is followed, one step on. The number of presses added to `found`: 0 or 1. */
static inline int dtmf_follow(struct dtmf_channel *c, const struct dtmf_view *v, int i, struct dtmf_press *found)
{
    uint32_t pause = DTMF_PAUSE_MS + c->bridge;

    if (dtmf_on(c, v, i)) {
        c->last_on = c->step;
        if (c->bridge && (int32_t)(c->step - c->bridged) > 0) {
            c->bridge = 0;
            c->last_fit = c->step; /* no window of the gap could fit */
        }
    }
    if (c->step - c->last_on > pause || c->step - c->last_fit > DTMF_WINDOW + pause)
        return dtmf_end(c, found);
    if (c->reported || c->last_on - c->began < DTMF_REPORT_MS || !dtmf_judge(c, found))
        return 0;
    c->reported = 1;
    return 1;
}

/* The next `samples` are silence in place of packets that were lost: what is followed may go on behind them. */
static inline void dtmf_bridge(struct dtmf_channel *c, int samples)
{
    uint32_t steps = (uint32_t)samples / VOICE_STEP;

    c->bridge = c->bridge + steps > DTMF_BRIDGE_MS ? DTMF_BRIDGE_MS : c->bridge + steps;
    c->bridged = c->step + VOICE_TAPS / VOICE_STEP + steps;
}

/* Whether these samples need no filter: they and all before them that could matter are quiet, as one party of a call is
 * for half of the time. The channel then keeps what it had of quiet samples; they are as good as these. */
static inline int dtmf_still(struct dtmf_channel *c, const int16_t *samples, int count)
{
    int quiet = 1, length = c->filled + count;

    for (int i = 0; i < count; i++)
        quiet &= samples[i] <= DTMF_QUIET && samples[i] >= -DTMF_QUIET;
    if (!quiet) {
        c->quiet = 0;
        return 0;
    }
    if (c->quiet < DTMF_STILL || c->key != DTMF_NONE || length < VOICE_TAPS) {
        c->quiet = (uint16_t)(c->quiet + count < DTMF_STILL ? c->quiet + count : DTMF_STILL);
        return 0;
    }
    c->step += (uint32_t)((length - VOICE_TAPS) / VOICE_STEP + 1);
    c->filled = (uint16_t)(VOICE_TAPS - VOICE_STEP + (length - VOICE_TAPS) % VOICE_STEP);
    return 1;
}

typedef void (*dtmf_filter)(const int16_t *, int, const struct voice_steps *);

static inline __attribute__((always_inline)) int dtmf_any(struct dtmf_channel *c, const int16_t *samples, int count,
                                                         struct dtmf_press *found, const dtmf_filter filter)
{
    int16_t line[VOICE_TAPS + VOICE_CHUNK];
    struct dtmf_view v;
    struct voice_steps out = {v.bands + DTMF_HISTORY, v.power + DTMF_HISTORY};
    struct dtmf_fitted fitted;
    int length = c->filled + count, presses = 0, steps;
    float low = 0, high = 0, total = 0; /* of the last DTMF_WINDOW steps */

    if (dtmf_still(c, samples, count))
        return 0;
    memcpy(line, c->line, c->filled * sizeof *line);
    memcpy(line + c->filled, samples, (size_t)count * sizeof *line);
    steps = length < VOICE_TAPS ? 0 : (length - VOICE_TAPS) / VOICE_STEP + 1;
    c->filled = (uint16_t)(length - VOICE_STEP * steps);
    if (steps) {
        filter(line, steps, &out);
        memcpy(v.bands, c->bands, sizeof c->bands);
        memcpy(v.power, c->power, sizeof c->power);
        for (int i = DTMF_HISTORY - DTMF_WINDOW; i < DTMF_HISTORY + steps; i++) {
            voice_bands square = v.bands[i] * v.bands[i];

            v.group[0][i] = square[0] + square[1];
            v.group[1][i] = square[2] + square[3];
        }
        for (int i = DTMF_HISTORY - DTMF_WINDOW; i < DTMF_HISTORY; i++) {
            low += v.group[0][i];
            high += v.group[1][i];
            total += v.power[i];
        }
        for (int i = DTMF_HISTORY; i < DTMF_HISTORY + steps; i++) {
            c->step++;
            low += v.group[0][i] - v.group[0][i - DTMF_WINDOW];
            high += v.group[1][i] - v.group[1][i - DTMF_WINDOW];
            total += v.power[i] - v.power[i - DTMF_WINDOW];
            if (c->key != DTMF_NONE)
                presses += dtmf_follow(c, &v, i, found + presses);
            if (c->step % DTMF_EVERY == 0 && dtmf_fit(&v, i - DTMF_WINDOW + 1, low, high, total, &fitted))
                presses += dtmf_take(c, &v, i, &fitted, found + presses);
        }
        memcpy(c->bands, v.bands + steps, sizeof c->bands);
        memcpy(c->power, v.power + steps, sizeof c->power);
    }
    memcpy(c->line, line + VOICE_STEP * steps, c->filled * sizeof *line);
    return presses;
}

static int dtmf_plain(struct dtmf_channel *c, const int16_t *samples, int count, struct dtmf_press *found)
{
    return dtmf_any(c, samples, count, found, voice_filter);
}

static int (*dtmf_best)(struct dtmf_channel *, const int16_t *, int, struct dtmf_press *) = dtmf_plain;

#if defined(__x86_64__)
/* Without fused multiply-add: every machine is to hear the same. */
__attribute__((target("avx2"), flatten)) static int dtmf_avx2(struct dtmf_channel *c, const int16_t *samples, int count,
                                                              struct dtmf_press *found)
{
    return dtmf_any(c, samples, count, found, voice_filter_avx2);
}
#endif

/* Chooses the code; `plain` leaves out what only some processors have. */
static inline void dtmf_choose(int plain)
{
    dtmf_best = dtmf_plain;
#if defined(__x86_64__)
    __builtin_cpu_init();
    if (!plain && __builtin_cpu_supports("avx2"))
        dtmf_best = dtmf_avx2;
#else
    (void)plain;
#endif
}

__attribute__((constructor)) static void dtmf_begin(void)
{
    dtmf_choose(0);
}

/* Up to VOICE_CHUNK more samples. The number of presses added to `found`, DTMF_FOUND at most. */
static inline int dtmf_samples(struct dtmf_channel *c, const int16_t *samples, int count, struct dtmf_press *found)
{
    return dtmf_best(c, samples, count, found);
}

#endif
