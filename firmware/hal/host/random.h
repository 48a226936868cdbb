// Seeded random numbers for the simulated analog parts.
#ifndef CANOPIC_HOST_RANDOM_H
#define CANOPIC_HOST_RANDOM_H

#include <stdbool.h>
#include <stdint.h>

struct random {
    uint64_t state;
    bool spare_ready; // the normal generator makes two at a time
    double spare;
};

void random_seed(struct random *random, uint64_t seed);

// 64 random bits (SplitMix64: G. Steele et al., OOPSLA 2014, doi:10.1145/2660193.2660195).
uint64_t random_bits(struct random *random);

// Uniform in [0, 1).
double random_uniform(struct random *random);

// Normal with mean 0 and standard deviation 1 (polar method: G. Marsaglia, T. Bray, SIAM Review 6, 1964).
double random_normal(struct random *random);

#endif
