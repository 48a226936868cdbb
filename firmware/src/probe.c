// Whether a comparator follows its input.
#include "probe.h"

#include "bytes.h"

#define HALF_SCALE 0x8000u

// Reads one comparator with the test cell at a level.
static enum probe_result probe_level(struct thresholds *thresholds, uint8_t comparator, uint16_t level, bool high) {
    const struct hal *hal = thresholds->hal;
    if (thresholds_write(thresholds, TEST_CHANNEL, level).status != DAC_OK) {
        return PROBE_DAC_FAILED;
    }
    hal->cell_select(hal->context, HAL_TEST_CELL);
    const bool read = bit_is_set(hal->comparators(hal->context), comparator);
    return read == high ? PROBE_FOLLOWS : PROBE_STUCK;
}

static enum probe_result probe_once(struct thresholds *thresholds, uint8_t comparator, uint16_t wanted) {
    enum probe_result result = PROBE_FOLLOWS;
    if (wanted >= PROTOCOL_COMPARATOR_TOLERANCE) {
        const uint16_t below = (uint16_t)(wanted - PROTOCOL_COMPARATOR_TOLERANCE);
        result = probe_level(thresholds, comparator, below, false);
    }
    if (result == PROBE_FOLLOWS && wanted <= PROTOCOL_DAC_FULL_SCALE - PROTOCOL_COMPARATOR_TOLERANCE) {
        const uint16_t above = (uint16_t)(wanted + PROTOCOL_COMPARATOR_TOLERANCE);
        result = probe_level(thresholds, comparator, above, true);
    }
    return result;
}

enum probe_result probe_comparator(struct thresholds *thresholds, uint8_t comparator, uint16_t wanted) {
    enum probe_result result = PROBE_STUCK;
    for (int attempt = 0; attempt < 3 && result == PROBE_STUCK; attempt++) {
        result = probe_once(thresholds, comparator, wanted);
    }
    if (thresholds_write(thresholds, TEST_CHANNEL, 0).status != DAC_OK) {
        result = PROBE_DAC_FAILED;
    }
    return result;
}

uint16_t probe_all(struct thresholds *thresholds) {
    uint16_t good = 0;
    for (uint8_t i = 0; i < PROTOCOL_COMPARATORS; i++) {
        (void)thresholds_write(thresholds, i, HALF_SCALE);
    }
    for (uint8_t i = 0; i < PROTOCOL_COMPARATORS; i++) {
        const bool follows = probe_comparator(thresholds, i, HALF_SCALE) == PROBE_FOLLOWS;
        good = (uint16_t)(good | ((follows ? 1u : 0u) << i));
    }
    return good;
}
