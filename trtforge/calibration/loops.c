/* The inner loops of histograms and of the entropy search. loops.py says what they are given. */

#include <math.h>
#include <stdint.h>
#include <string.h>

#define BINS 4096   /* of a histogram */
#define CHUNK 4096  /* values: they, their bins and what is filled of the tables stay in the cache */
#define LEVELS 128  /* magnitudes that INT8 tells apart, in TensorRT's entropy calibration */
#define COARSE 64   /* bins between the candidates of the search's first round */

/* Whoever compiles does not know the processor: glibc chooses as the library is loaded. */
#if defined(__x86_64__) && defined(__GLIBC__)
#define FASTEST __attribute__((target_clones("avx2", "default")))
#else
#define FASTEST
#endif

extern const char trtforge_source[];
int64_t trtforge_count(const float *values, int64_t size, int64_t start, uint32_t most, float per_unit,
                       int64_t *counts, uint32_t *largest);
int64_t trtforge_search(const double *counts, int64_t last, double *mass, double *filled, double *surprise);

const char trtforge_source[] = SOURCE;  /* the digest of this file */

/* A chunk is looked through three times while it is in the cache: for its largest magnitude, for its bins, and to count
   them. The first two loops become SIMD: without the sign bit, floats order as their bit patterns do. */
FASTEST int64_t trtforge_count(const float *values, int64_t size, int64_t start, uint32_t most, float per_unit,
                               int64_t *counts, uint32_t *largest)
{
    /* Four tables take turns, so that an increment need not wait for the one before it on the same bin. */
    uint32_t one[BINS] = {0}, two[BINS] = {0}, three[BINS] = {0}, four[BINS] = {0};
    uint16_t bins[CHUNK];
    int64_t at = start;

    *largest = 0;
    while (at < size) {
        const float *chunk = values + at;
        int64_t length = size - at < CHUNK ? size - at : CHUNK;
        uint32_t here = 0;
        for (int64_t i = 0; i < length; i++) {
            uint32_t pattern;
            memcpy(&pattern, chunk + i, sizeof pattern);
            pattern &= 0x7FFFFFFF;
            here = pattern > here ? pattern : here;
        }
        if (here > most)  /* NaN and infinity among them */
            break;
        *largest = here > *largest ? here : *largest;
        for (int64_t i = 0; i < length; i++)
            bins[i] = (uint16_t)(int32_t)(fabsf(chunk[i]) * per_unit);
        int64_t i = 0;
        for (; i + 16 <= length; i += 16) {
            __builtin_prefetch(chunk + length + i);  /* counting leaves the memory idle: of the next chunk, a line */
            for (int64_t j = i; j < i + 16; j += 4) {
                one[bins[j]]++;
                two[bins[j + 1]]++;
                three[bins[j + 2]]++;
                four[bins[j + 3]]++;
            }
        }
        for (; i < length; i++)
            one[bins[i]]++;
        at += length;
    }
    for (int bin = 0; bin < BINS; bin++)
        counts[bin] += (int64_t)one[bin] + two[bin] + three[bin] + four[bin];
    return at;
}

/* Within one level Q is constant, so KL(P, Q) needs of each level only its sums, and sums over any run of bins are
   differences of prefix sums: 128 steps a candidate instead of one for each bin. */
int64_t trtforge_search(const double *counts, int64_t last, double *mass, double *filled, double *surprise)
{
    mass[0] = filled[0] = surprise[0] = 0;
    for (int64_t i = 0; i < last; i++) {
        double count = counts[i];
        mass[i + 1] = mass[i] + count;
        filled[i + 1] = filled[i] + (count > 0);
        surprise[i + 1] = surprise[i] + (count > 0 ? count * log(count) : 0);
    }
    double total = mass[last], best = INFINITY;
    int64_t best_bins = last;
    /* No level's part is negative (the log sum inequality), so a candidate is out as soon as its parts exceed the best
       sum: with a good one from a coarse round at hand, after a ninth of the steps. */
    for (int64_t step = COARSE; step; step = step == COARSE ? 1 : 0) {
        for (int64_t kept = LEVELS; kept <= last; kept += step) {
            double tail = counts[kept - 1];
            if (tail == 0)  /* P has the outliers where Q has nothing: infinitely far apart, or as one bin less */
                continue;
            double normalised = log(mass[kept] / total), most = (best - normalised) * total;
            /* The last level first: its last bin holds the outliers, too, which cost most where too few bins are kept. */
            double outliers = total - mass[kept];
            double distance = (tail + outliers) * log(tail + outliers) - tail * log(tail);
            int64_t turn = 0;
            for (; turn < LEVELS; turn++) {
                int64_t level = turn ? turn - 1 : LEVELS - 1;
                int64_t start = level * kept / LEVELS, end = (level + 1) * kept / LEVELS;
                double weight = mass[end] - mass[start];
                if (weight > 0) {
                    double in_p = weight + (turn ? 0 : outliers);
                    distance += surprise[end] - surprise[start] - in_p * log(weight / (filled[end] - filled[start]));
                    if (distance > most)
                        break;
                }
            }
            if (turn < LEVELS)
                continue;
            distance = distance / total + normalised;
            if (distance < best || (distance == best && kept < best_bins)) {
                best = distance;
                best_bins = kept;
            }
        }
    }
    return best_bins;
}
