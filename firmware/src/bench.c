// The test cell driven on command.
#include "bench.h"

#include "bytes.h"

// The level after so many steps; beyond the DAC's ends it is no level.
static int32_t level_of(const struct msg_sweep *sweep, uint8_t number) {
    return (int32_t)sweep->start + (int32_t)sweep->step * number;
}

// [us] that a sweep takes at most: what hal.h allows every write and reading.
static uint32_t longest_us(const struct msg_sweep *sweep) {
    const uint32_t readings = (uint32_t)sweep->count * sweep->reads;
    const uint32_t visit = PROTOCOL_DAC_WRITE_MICROSECONDS + PROTOCOL_COMPARATORS_MICROSECONDS;
    if (sweep->approach == APPROACH_NONE) {
        return sweep->count * PROTOCOL_DAC_WRITE_MICROSECONDS + readings * PROTOCOL_COMPARATORS_MICROSECONDS;
    }
    return readings * 2u * visit;
}

uint8_t bench_sweep_wrong_field(const struct msg_sweep *sweep, uint32_t limit_us) {
    if (sweep->comparator >= PROTOCOL_COMPARATORS) {
        return 0;
    }
    if (sweep->count < 1u || sweep->count > PROTOCOL_SWEEP_LEVELS_MAX) {
        return 3;
    }
    const int32_t last = level_of(sweep, (uint8_t)(sweep->count - 1u));
    if (last < 0 || last > (int32_t)PROTOCOL_DAC_FULL_SCALE) {
        return 2;
    }
    if (sweep->reads < 1u) {
        return 4;
    }
    if (sweep->approach > APPROACH_ABOVE) {
        return 5;
    }
    return longest_us(sweep) > limit_us ? 3 : BENCH_FIELDS_FINE;
}

// Brings the test cell to a level. False: the DAC did not take it.
static bool drive(struct thresholds *thresholds, uint16_t level) {
    return thresholds->expected[TEST_CHANNEL] == level ||
           thresholds_write(thresholds, TEST_CHANNEL, level).status == DAC_OK;
}

// Brings the test cell to a level and reads the comparators there. False: the DAC did not take it.
static bool visit(struct thresholds *thresholds, uint16_t level, uint16_t *reading) {
    const bool driven = drive(thresholds, level);
    *reading = driven ? thresholds->hal->comparators(thresholds->hal->context) : 0u;
    return driven;
}

static enum dac_status dark(struct thresholds *thresholds, bool driven) {
    return driven && drive(thresholds, 0) ? DAC_OK : DAC_FAILED;
}

enum dac_status bench_sweep(struct thresholds *thresholds, const struct msg_sweep *sweep,
                            uint8_t counts[PROTOCOL_SWEEP_LEVELS_MAX]) {
    const struct hal *hal = thresholds->hal;
    const uint16_t far_away = sweep->approach == APPROACH_ABOVE ? PROTOCOL_DAC_FULL_SCALE : 0u;
    bool driven = true;
    hal->cell_select(hal->context, HAL_TEST_CELL);
    for (uint8_t i = 0; i < sweep->count && driven; i++) {
        const uint16_t level = (uint16_t)level_of(sweep, i);
        hal->watchdog_kick(hal->context);
        for (uint8_t read = 0; read < sweep->reads && driven; read++) {
            uint16_t reading = 0;
            // A comparator takes its time to follow, far away as well: the reading there waits for it.
            driven = sweep->approach == APPROACH_NONE || visit(thresholds, far_away, &reading);
            driven = driven && visit(thresholds, level, &reading);
            counts[i] = (uint8_t)(counts[i] + (driven && bit_is_set(reading, sweep->comparator) ? 1u : 0u));
        }
    }
    return dark(thresholds, driven);
}

enum dac_status bench_convert(struct thresholds *thresholds, const struct msg_convert *convert,
                              uint8_t packed[PROTOCOL_CONVERT_LEVELS_MAX / 2u], uint8_t *stuck) {
    const struct hal *hal = thresholds->hal;
    struct consistency consistency; // its own: the counts of a measurement in progress are not touched
    bool driven = true;
    consistency_init(&consistency, thresholds->wanted, convert->count);
    *stuck = CONSISTENCY_NO_SUSPECT;
    hal->cell_select(hal->context, HAL_TEST_CELL);
    for (uint8_t i = 0; i < convert->count && driven && *stuck == CONSISTENCY_NO_SUSPECT; i++) {
        hal->watchdog_kick(hal->context);
        driven = drive(thresholds, convert->levels[i]);
        if (driven) {
            uint8_t code = 0;
            *stuck = consistency_read(&consistency, hal, &code);
            packed[i / 2u] |= (uint8_t)(i % 2u == 0 ? code : code << 4);
        }
    }
    return dark(thresholds, driven);
}
