// Comparators that contradict the others.
#include "consistency.h"

#include <string.h>

#include "bytes.h"

#define FAR (2u * PROTOCOL_COMPARATOR_TOLERANCE)
#define LIMIT_SHARE 64u
#define LIMIT_MINIMUM 8u

void consistency_init(struct consistency *consistency, const uint16_t *wanted, uint32_t cells) {
    memset(consistency, 0, sizeof *consistency);
    for (size_t i = 0; i < PROTOCOL_COMPARATORS; i++) {
        for (size_t j = 0; j < PROTOCOL_COMPARATORS; j++) {
            const uint16_t bit = (uint16_t)(1u << j);
            if ((uint32_t)wanted[j] + FAR < wanted[i]) {
                consistency->far_below[i] |= bit;
            }
            if (wanted[j] > (uint32_t)wanted[i] + FAR) {
                consistency->far_above[i] |= bit;
            }
        }
    }
    consistency->limit = cells / LIMIT_SHARE > LIMIT_MINIMUM ? cells / LIMIT_SHARE : LIMIT_MINIMUM;
}

void consistency_begin(struct consistency *consistency) {
    memset(consistency->suspected, 0, sizeof consistency->suspected);
}

// The comparator with the most contradictions, if at least two and more than any other's.
static uint8_t suspect(const struct consistency *consistency, uint16_t reading) {
    uint8_t worst = CONSISTENCY_NO_SUSPECT;
    uint8_t most = 1;
    for (uint8_t i = 0; i < PROTOCOL_COMPARATORS; i++) {
        const bool high = bit_is_set(reading, i);
        const uint16_t against =
            (uint16_t)(high ? consistency->far_below[i] & ~reading : consistency->far_above[i] & reading);
        const uint8_t count = count_bits(against);
        if (count > most) {
            most = count;
            worst = i;
        } else if (count == most) {
            worst = CONSISTENCY_NO_SUSPECT;
        }
    }
    return worst;
}

uint8_t consistency_check(struct consistency *consistency, uint16_t reading) {
    if ((reading & (reading + 1u)) == 0) {
        return CONSISTENCY_NO_SUSPECT; // a thermometer: nearly every cell
    }
    const uint8_t i = suspect(consistency, reading);
    if (i == CONSISTENCY_NO_SUSPECT || ++consistency->suspected[i] < consistency->limit) {
        return CONSISTENCY_NO_SUSPECT;
    }
    return i;
}

uint8_t consistency_read(struct consistency *consistency, const struct hal *hal, uint8_t *code) {
    const uint16_t reading = hal->comparators(hal->context) & 0x7FFFu;
    *code = count_bits(reading);
    return consistency_check(consistency, reading);
}
