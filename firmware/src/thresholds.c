// The thresholds.
#include "thresholds.h"

#include <string.h>

#include "bytes.h"
#include "crc.h"

static struct dac_outcome outcome(enum dac_status status, uint8_t channel) {
    return (struct dac_outcome){.status = status, .channel = channel};
}

uint32_t thresholds_crc(const uint16_t wanted[PROTOCOL_COMPARATORS], const int16_t trims[PROTOCOL_COMPARATORS]) {
    uint8_t bytes[4 * PROTOCOL_COMPARATORS];
    for (size_t i = 0; i < PROTOCOL_COMPARATORS; i++) {
        put_u16(bytes + 2 * i, wanted[i]);
        put_i16(bytes + 2 * (PROTOCOL_COMPARATORS + i), trims[i]);
    }
    return crc32(CRC32_START, bytes, sizeof bytes);
}

void thresholds_init(struct thresholds *thresholds, const struct hal *hal) {
    memset(thresholds, 0, sizeof *thresholds);
    thresholds->hal = hal;
}

static int32_t trimmed(uint16_t wanted, int16_t trim) {
    return (int32_t)wanted + (int32_t)trim;
}

uint8_t thresholds_stage(struct thresholds *thresholds, const struct msg_stage_thresholds *stage) {
    const int32_t largest = (int32_t)PROTOCOL_TRIM_MAX;
    for (uint8_t i = 1; i < PROTOCOL_COMPARATORS; i++) {
        if (stage->dac_codes[i] < stage->dac_codes[i - 1]) {
            return i;
        }
    }
    for (uint8_t i = 0; i < PROTOCOL_COMPARATORS; i++) {
        const int32_t sum = trimmed(stage->dac_codes[i], stage->trims[i]);
        if (stage->trims[i] < -largest || stage->trims[i] > largest || sum < 0 ||
            sum > (int32_t)PROTOCOL_DAC_FULL_SCALE) {
            return (uint8_t)(PROTOCOL_COMPARATORS + i);
        }
    }
    memcpy(thresholds->wanted, stage->dac_codes, sizeof thresholds->wanted);
    memcpy(thresholds->trims, stage->trims, sizeof thresholds->trims);
    memcpy(thresholds->encoding_id, stage->encoding_id, ENCODING_ID_BYTES);
    thresholds->crc = thresholds_crc(thresholds->wanted, thresholds->trims);
    return THRESHOLDS_FINE;
}

struct dac_outcome thresholds_write(struct thresholds *thresholds, uint8_t channel, uint16_t code) {
    thresholds->expected[channel] = code;
    const bool written = thresholds->hal->dac_write(thresholds->hal->context, channel, code);
    return outcome(written ? DAC_OK : DAC_FAILED, channel);
}

// Keeps the first thing that went wrong.
static struct dac_outcome first(struct dac_outcome so_far, struct dac_outcome next) {
    return so_far.status == DAC_OK ? next : so_far;
}

struct dac_outcome thresholds_commit(struct thresholds *thresholds) {
    struct dac_outcome result = outcome(DAC_OK, 0);
    memcpy(thresholds->written_trims, thresholds->trims, sizeof thresholds->written_trims);
    for (uint8_t i = 0; i < PROTOCOL_COMPARATORS; i++) {
        const uint16_t code = (uint16_t)trimmed(thresholds->wanted[i], thresholds->trims[i]);
        result = first(result, thresholds_write(thresholds, i, code));
    }
    result = first(result, thresholds_write(thresholds, TEST_CHANNEL, 0));
    return first(result, thresholds_check_all(thresholds));
}

struct dac_outcome thresholds_write_safe(struct thresholds *thresholds) {
    struct dac_outcome result = outcome(DAC_OK, 0);
    memset(thresholds->written_trims, 0, sizeof thresholds->written_trims);
    for (uint8_t i = 0; i < PROTOCOL_COMPARATORS; i++) {
        result = first(result, thresholds_write(thresholds, i, PROTOCOL_DAC_FULL_SCALE));
    }
    return first(result, thresholds_write(thresholds, TEST_CHANNEL, 0));
}

struct dac_outcome thresholds_check(const struct thresholds *thresholds, uint8_t channel, uint16_t tolerance) {
    enum dac_status status = DAC_OK;
    // One bad transfer on the bus is not a drifted DAC: only what differs three times in a row does.
    for (int look = 0; look < 3; look++) {
        uint16_t code = 0;
        if (!thresholds->hal->dac_readback(thresholds->hal->context, channel, &code)) {
            status = DAC_FAILED;
            continue;
        }
        const uint16_t expected = thresholds->expected[channel];
        const uint16_t distance = (uint16_t)(code > expected ? code - expected : expected - code);
        if (distance <= tolerance) {
            return outcome(DAC_OK, channel);
        }
        status = DAC_DIFFERS;
    }
    return outcome(status, channel);
}

struct dac_outcome thresholds_check_all(const struct thresholds *thresholds) {
    for (uint8_t channel = 0; channel < PROTOCOL_DAC_CHANNELS; channel++) {
        const struct dac_outcome result = thresholds_check(thresholds, channel, 0);
        if (result.status != DAC_OK) {
            return result;
        }
    }
    return outcome(DAC_OK, 0);
}

struct dac_outcome thresholds_read(const struct thresholds *thresholds, uint16_t readback[PROTOCOL_COMPARATORS]) {
    for (uint8_t i = 0; i < PROTOCOL_COMPARATORS; i++) {
        if (!thresholds->hal->dac_readback(thresholds->hal->context, i, &readback[i])) {
            return outcome(DAC_FAILED, i);
        }
    }
    return outcome(DAC_OK, 0);
}

uint16_t thresholds_test_dac(struct thresholds *thresholds) {
    static const uint16_t PATTERNS[2] = {0x5555, 0xAAAA}; // every bit both ways
    uint16_t good = 0;
    for (uint8_t channel = 0; channel < PROTOCOL_DAC_CHANNELS; channel++) {
        bool fine = true;
        for (size_t i = 0; i < 2; i++) {
            fine = fine && thresholds_write(thresholds, channel, PATTERNS[i]).status == DAC_OK &&
                   thresholds_check(thresholds, channel, 0).status == DAC_OK;
        }
        good = (uint16_t)(good | ((fine ? 1u : 0u) << channel));
    }
    return good;
}
