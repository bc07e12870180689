/* Voice octets to two bands: G.711 expansion (ITU-T G.711) and the filters in front of the DTMF receiver.
 *
 * Two complex band-pass filters, one around each group of ITU-T Q.23's frequencies, give one complex value each a
 * millisecond. A pure tone of mean power P comes out with |z|^2 = P (0 dBm0 is 1) and turns by its frequency; what lies
 * in the other group, dial tone (below 490 Hz) and everything above 2 kHz is 40 dB down. Integer arithmetic throughout,
 * so that every machine gives the same values; the sums cannot overflow 32 bits (see VOICE_SCALE).
 *
 * It is plain C in the form that compilers turn into multiply-add instructions of any machine (pmaddwd, smlal).
 */
#ifndef MEDIATION_VOICE_BAND_H
#define MEDIATION_VOICE_BAND_H

#include <math.h>
#include <stdint.h>
#include <string.h>
#if defined(__x86_64__)
#include <immintrin.h>
#endif

#define VOICE_RATE 8000    /* samples a second: RFC 3551 section 4.5.14 */
#define VOICE_STEP 8       /* samples of one millisecond, and of one output */
#define VOICE_TAPS 96      /* 12 ms: 193 Hz from 941 + 3.5 % to 1209 - 3.5 % take so many for 40 dB */
#define VOICE_CENTRE 48    /* samples from the start of a window of taps to its middle */
#define VOICE_CHUNK 160    /* samples filtered at once: a packet of 20 ms */
#define VOICE_STEPS (VOICE_CHUNK / VOICE_STEP)
#define VOICE_PARTS 4      /* real and imaginary part of the low and of the high group */
/* sum(|coefficient|) < 1.5 * 40,000 and a sample is below 2^15: any sum is below 2^31. */
#define VOICE_SCALE 40000.0
/* Root mean square of 0 dBm0 in 16-bit samples: a sine 3.17 dB below the peak of 32,124 (G.711, table 2a). */
#define VOICE_ZERO 15770.0

/* From the sums to the scale of dBm0. */
#define VOICE_GAIN ((float)(M_SQRT2 / (VOICE_SCALE * VOICE_ZERO)))
#define VOICE_POWER ((float)(8.0 / (VOICE_STEP * VOICE_ZERO * VOICE_ZERO)))

enum voice_law { VOICE_ULAW = 0, VOICE_ALAW = 1 };

struct voice_tables {
    int16_t expand[2][256];
    int16_t taps[VOICE_PARTS][VOICE_TAPS] __attribute__((aligned(64)));
};

static struct voice_tables voice_tables;

/* Real and imaginary part of the low group, then of the high group. */
typedef float voice_bands __attribute__((vector_size(VOICE_PARTS * sizeof(float))));

/* What a chunk gives, by step: the two groups, and the mean power of the samples in the middle of the step's window. */
struct voice_steps {
    voice_bands *bands;
    float *power;
};

static inline int16_t voice_expand_ulaw(unsigned code)
{
    int magnitude;

    code = ~code & 0xff;
    magnitude = ((((code & 15) << 3) + 0x84) << (code >> 4 & 7)) - 0x84;
    return (int16_t)(code & 0x80 ? -magnitude : magnitude);
}

static inline int16_t voice_expand_alaw(unsigned code)
{
    int exponent, magnitude;

    code ^= 0x55;
    exponent = code >> 4 & 7;
    magnitude = (int)(code & 15) << 4;
    magnitude = exponent ? (magnitude + 0x108) << (exponent - 1) : magnitude + 8;
    return (int16_t)(code & 0x80 ? magnitude : -magnitude);
}

/* Zeroth-order modified Bessel function of the first kind, for the Kaiser window. */
static inline double voice_bessel(double x)
{
    double sum = 1, term = 1;

    for (int k = 1; k < 32; k++) {
        term *= x / 2 / k * (x / 2 / k);
        sum += term;
    }
    return sum;
}

/* One low-pass prototype of half width `width` Hz, turned up to `centre` Hz. */
static inline void voice_design(int16_t *real, int16_t *imaginary, double centre, double width)
{
    const double beta = 3.4, middle = (VOICE_TAPS - 1) / 2.0; /* Kaiser's window for 40 dB */
    double taps[VOICE_TAPS], sum = 0;

    for (int t = 0; t < VOICE_TAPS; t++) {
        double at = t - middle, x = 2 * M_PI * width / VOICE_RATE * at;
        double edge = at / (middle + 0.5);

        taps[t] = (x == 0 ? 1 : sin(x) / x) * voice_bessel(beta * sqrt(1 - edge * edge)) / voice_bessel(beta);
        sum += taps[t];
    }
    for (int t = 0; t < VOICE_TAPS; t++) {
        double turn = 2 * M_PI * centre / VOICE_RATE * (t - middle);

        real[t] = (int16_t)lrint(VOICE_SCALE * taps[t] / sum * cos(turn));
        imaginary[t] = (int16_t)lrint(-VOICE_SCALE * taps[t] / sum * sin(turn));
    }
}

/* The mean power of the samples in the middle of a step's window. Two squares are below 2^31. */
static inline float voice_power(const int16_t *w)
{
    const int16_t *middle = w + VOICE_CENTRE - VOICE_STEP / 2;
    uint32_t square = 0;

    for (int t = 0; t < VOICE_STEP; t += 2)
        square += (uint32_t)(middle[t] * middle[t] + middle[t + 1] * middle[t + 1]) >> 3;
    return VOICE_POWER * (float)(int32_t)square;
}

/* `steps` outputs from VOICE_TAPS + VOICE_STEP * (steps - 1) samples. */
static inline void voice_filter(const int16_t *samples, int steps, const struct voice_steps *out)
{
    for (int m = 0; m < steps; m++) {
        const int16_t *w = samples + VOICE_STEP * m;

        for (int p = 0; p < VOICE_PARTS; p++) {
            const int16_t *taps = voice_tables.taps[p];
            int32_t sum = 0;

            for (int t = 0; t < VOICE_TAPS; t++)
                sum += (int32_t)w[t] * taps[t];
            out->bands[m][p] = VOICE_GAIN * (float)sum;
        }
        out->power[m] = voice_power(w);
    }
}

#if defined(__x86_64__)
/* The same, two steps at a time, so that the taps are read once for both and the sums of lanes are made together. */
__attribute__((target("avx2"))) static inline void voice_filter_avx2(const int16_t *samples, int steps,
                                                                     const struct voice_steps *out)
{
    int m = 0;

    for (; m + 1 < steps; m += 2) {
        const int16_t *w = samples + VOICE_STEP * m;
        __m256i sums[2][VOICE_PARTS];

        for (int p = 0; p < VOICE_PARTS; p++)
            sums[0][p] = sums[1][p] = _mm256_setzero_si256();
        for (int t = 0; t < VOICE_TAPS; t += 16) {
            __m256i one = _mm256_loadu_si256((const __m256i *)(w + t));
            __m256i two = _mm256_loadu_si256((const __m256i *)(w + VOICE_STEP + t));

            for (int p = 0; p < VOICE_PARTS; p++) {
                __m256i taps = _mm256_load_si256((const __m256i *)(voice_tables.taps[p] + t));

                sums[0][p] = _mm256_add_epi32(sums[0][p], _mm256_madd_epi16(one, taps));
                sums[1][p] = _mm256_add_epi32(sums[1][p], _mm256_madd_epi16(two, taps));
            }
        }
        for (int k = 0; k < 2; k++) {
            __m256i pairs = _mm256_hadd_epi32(_mm256_hadd_epi32(sums[k][0], sums[k][1]),
                                              _mm256_hadd_epi32(sums[k][2], sums[k][3]));
            __m128i all = _mm_add_epi32(_mm256_castsi256_si128(pairs), _mm256_extracti128_si256(pairs, 1));

            out->bands[m + k] = _mm_cvtepi32_ps(all) * VOICE_GAIN;
            all = _mm_loadu_si128((const __m128i *)(w + VOICE_STEP * k + VOICE_CENTRE - VOICE_STEP / 2));
            all = _mm_srli_epi32(_mm_madd_epi16(all, all), 3);
            all = _mm_hadd_epi32(all, all);
            all = _mm_hadd_epi32(all, all);
            out->power[m + k] = VOICE_POWER * (float)_mm_cvtsi128_si32(all);
        }
    }
    if (m < steps) {
        const struct voice_steps last = {out->bands + m, out->power + m};

        voice_filter(samples + VOICE_STEP * m, 1, &last);
    }
}
#endif

/* Every module that uses them has its own tables, made when it is loaded. */
__attribute__((constructor)) static void voice_load(void)
{
    for (unsigned code = 0; code < 256; code++) {
        voice_tables.expand[VOICE_ULAW][code] = voice_expand_ulaw(code);
        voice_tables.expand[VOICE_ALAW][code] = voice_expand_alaw(code);
    }
    voice_design(voice_tables.taps[0], voice_tables.taps[1], (697 * 0.965 + 941 * 1.035) / 2, 247);
    voice_design(voice_tables.taps[2], voice_tables.taps[3], (1209 * 0.965 + 1633 * 1.035) / 2, 358);
}

static inline void voice_expand(int16_t *out, const uint8_t *codes, int count, int law)
{
    const int16_t *expand = voice_tables.expand[law];

    for (int i = 0; i < count; i++)
        out[i] = expand[codes[i]];
}

#endif
