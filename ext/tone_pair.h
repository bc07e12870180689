/* Whether 20 ms of voice hold one steady tone of each group of ITU-T Q.23, near a key's frequencies, and little else.
 *
 * It judges one window of band levels (ext/voice_band.h) by itself and remembers nothing; what is a press, ext/dtmf.h
 * decides. No trigonometry but for a window that fits: phases are compared as vectors.
 */
#ifndef MEDIATION_TONE_PAIR_H
#define MEDIATION_TONE_PAIR_H

#include "voice_band.h"

#define DTMF_WINDOW 20  /* steps, in four quarters */
#define DTMF_QUARTER 5
#define DTMF_HISTORY 40 /* steps kept: a window, and what its tones can have begun before it */
#define DTMF_MOST (DTMF_HISTORY + VOICE_STEPS)
#define DTMF_LEVEL 2.5e-5f    /* -46 dBm0 */
#define DTMF_TWIST_HIGH 12.6f /* +11 dB */
#define DTMF_TWIST_LOW 0.08f  /* -11 dB */
#define DTMF_OFFSET 0.0235f   /* of a tone's frequency in one window, whatever noise does to it */
#define DTMF_BANDS 0.45f      /* of the power in the window, in both groups: most voice ends here */
#define DTMF_PURITY 0.65f     /* of the power of a group, in its tone */
#define DTMF_TONES 0.5f       /* of all power, in both tones: -20 dBm0 of speech under a digit leave as much */

static const float dtmf_hertz[2][4] = {{697, 770, 852, 941}, {1209, 1336, 1477, 1633}};
/* Of each tone: one step of its phase as a unit vector; its opposite by step of a window, as factors of a group's real
 * and imaginary part and of the two exchanged; and how far the phase may be off after half a window (cosine). */
static float dtmf_turn[2][4][2];
static float dtmf_back[2][4][DTMF_WINDOW][2];
static float dtmf_border[2][4];

__attribute__((constructor)) static void dtmf_load(void)
{
    for (int group = 0; group < 2; group++)
        for (int tone = 0; tone < 4; tone++) {
            double turn = 2 * M_PI * dtmf_hertz[group][tone] * VOICE_STEP / VOICE_RATE;

            dtmf_turn[group][tone][0] = (float)cos(turn);
            dtmf_turn[group][tone][1] = (float)sin(turn);
            dtmf_border[group][tone] = (float)cos(turn * DTMF_OFFSET * 2 * DTMF_QUARTER);
            for (int i = 0; i < DTMF_WINDOW; i++) {
                dtmf_back[group][tone][i][0] = (float)cos(turn * i);
                dtmf_back[group][tone][i][1] = (float)sin(turn * i);
            }
        }
}

/* The steps that are looked at: what was kept, then the new ones. */
struct dtmf_view {
    voice_bands bands[DTMF_MOST];
    float power[DTMF_MOST];
    float group[2][DTMF_MOST]; /* power in each group, of the last window kept and of what is new */
};

struct dtmf_fitted {
    int tone[2];
    float level[2];
    float offset[2]; /* from the nominal frequency, as a share of it */
    float tones; /* share of both in the power of the window */
};

#define DTMF_EXCHANGED(z) ((voice_bands){(z)[1], (z)[0], (z)[3], (z)[2]})

/* One group of a window by its quarters' sums: whether it is one tone of a key's frequency, and how strong. */
static inline int dtmf_tone(const voice_bands *quarters, int group, float power, struct dtmf_fitted *f)
{
    float re[4], im[4], lag_re[4], lag_im[4], size, unit_re, unit_im, u2_re, u2_im, u3_re, u3_im;

    for (int q = 0; q < 4; q++) {
        re[q] = quarters[q][2 * group];
        im[q] = quarters[q][2 * group + 1];
    }
    for (int lag = 0; lag < 4; lag++) {
        lag_re[lag] = lag_im[lag] = 0;
        for (int q = lag; q < 4; q++) {
            lag_re[lag] += re[q] * re[q - lag] + im[q] * im[q - lag];
            lag_im[lag] += im[q] * re[q - lag] - re[q] * im[q - lag];
        }
    }
    /* From half to half the phase tells how far the tone is from its nominal frequency, but is ambiguous beyond 50 Hz;
     * from quarter to quarter it is half as exact, and must agree. */
    size = sqrtf(lag_re[2] * lag_re[2] + lag_im[2] * lag_im[2]);
    if (lag_re[2] < dtmf_border[group][f->tone[group]] * size)
        return 0;
    unit_re = lag_re[2] + size; /* half the angle */
    unit_im = lag_im[2];
    size = 1 / sqrtf(unit_re * unit_re + unit_im * unit_im + 1e-30f);
    unit_re *= size;
    unit_im *= size;
    if (unit_re * lag_re[1] + unit_im * lag_im[1] < 0)
        return 0;
    /* The power of the quarters' sum when each is turned back by that. */
    u2_re = unit_re * unit_re - unit_im * unit_im;
    u2_im = 2 * unit_re * unit_im;
    u3_re = u2_re * unit_re - u2_im * unit_im;
    u3_im = u2_re * unit_im + u2_im * unit_re;
    f->level[group] = (lag_re[0] + 2 * (lag_re[1] * unit_re + lag_im[1] * unit_im + lag_re[2] * u2_re +
                                        lag_im[2] * u2_im + lag_re[3] * u3_re + lag_im[3] * u3_im)) /
                      (DTMF_WINDOW * DTMF_WINDOW);
    /* Within a quarter it turned as well: (sin x / x)^2 is left, x being half of the angle; its sine is near enough. */
    f->level[group] *= 1 + unit_im * unit_im / 12;
    if (f->level[group] * DTMF_WINDOW < DTMF_PURITY * power || f->level[group] < DTMF_LEVEL)
        return 0;
    f->offset[group] = atan2f(unit_im, unit_re) / (2 * (float)M_PI * DTMF_QUARTER * VOICE_STEP / VOICE_RATE) /
                       dtmf_hertz[group][f->tone[group]];
    return 1;
}

/* Whether the window of `v` that begins at `from` holds one tone of each group and little else; `low`, `high` and
 * `total` are the sums of its power in the groups and in all. */
static inline int dtmf_fit(const struct dtmf_view *v, int from, float low, float high, float total,
                           struct dtmf_fitted *f)
{
    const voice_bands *z = v->bands + from;
    voice_bands along = {0}, across = {0}, quarters[4];
    const float(*back)[DTMF_WINDOW][2] = dtmf_back[0], (*high_back)[DTMF_WINDOW][2] = dtmf_back[1];

    if (low < DTMF_LEVEL * DTMF_WINDOW / 2 || high < DTMF_LEVEL * DTMF_WINDOW / 2 || low + high < DTMF_BANDS * total ||
        high > 1.5f * DTMF_TWIST_HIGH * low || high < DTMF_TWIST_LOW / 1.5f * low)
        return 0;
    /* The mean turn from step to step says which tone of each group is the nearest. */
    for (int i = 1; i < DTMF_WINDOW; i++) {
        along += z[i] * z[i - 1];
        across += DTMF_EXCHANGED(z[i]) * z[i - 1];
    }
    for (int group = 0; group < 2; group++) {
        float turn_re = along[2 * group] + along[2 * group + 1], turn_im = across[2 * group] - across[2 * group + 1];
        float best = -1e30f;

        for (int k = 0; k < 4; k++) {
            float near = turn_re * dtmf_turn[group][k][0] + turn_im * dtmf_turn[group][k][1];

            if (near > best) {
                best = near;
                f->tone[group] = k;
            }
        }
    }
    back += f->tone[0];
    high_back += f->tone[1];
    for (int q = 0; q < 4; q++) {
        quarters[q] = (voice_bands){0};
        for (int i = q * DTMF_QUARTER; i < (q + 1) * DTMF_QUARTER; i++) {
            const float *l = (*back)[i], *h = (*high_back)[i];

            quarters[q] += z[i] * (voice_bands){l[0], l[0], h[0], h[0]} +
                           DTMF_EXCHANGED(z[i]) * (voice_bands){l[1], -l[1], h[1], -h[1]};
        }
    }
    if (!dtmf_tone(quarters, 0, low, f) || !dtmf_tone(quarters, 1, high, f))
        return 0;
    f->tones = (f->level[0] + f->level[1]) * DTMF_WINDOW / total;
    return f->tones > DTMF_TONES && f->level[1] < DTMF_TWIST_HIGH * f->level[0] &&
           f->level[1] > DTMF_TWIST_LOW * f->level[0];
}

#endif
