// Seeded random numbers for the simulated analog parts.
#include "random.h"

#include <math.h>

void random_seed(struct random *random, uint64_t seed) {
    random->state = seed;
    random->spare_ready = false;
}

uint64_t random_bits(struct random *random) {
    random->state += 0x9E3779B97F4A7C15u;
    uint64_t bits = random->state;
    bits = (bits ^ (bits >> 30)) * 0xBF58476D1CE4E5B9u;
    bits = (bits ^ (bits >> 27)) * 0x94D049BB133111EBu;
    return bits ^ (bits >> 31);
}

double random_uniform(struct random *random) {
    return (double)(random_bits(random) >> 11) * 0x1p-53;
}

double random_normal(struct random *random) {
    if (random->spare_ready) {
        random->spare_ready = false;
        return random->spare;
    }
    double x = 0.0;
    double y = 0.0;
    double square = 0.0;
    do {
        x = 2.0 * random_uniform(random) - 1.0;
        y = 2.0 * random_uniform(random) - 1.0;
        square = x * x + y * y;
    } while (square >= 1.0 || square <= 0.0);
    const double scale = sqrt(-2.0 * log(square) / square);
    random->spare = y * scale;
    random->spare_ready = true;
    return x * scale;
}
