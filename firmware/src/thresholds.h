// The thresholds: staged, written to every DAC channel, read back, committed; and the safe table.
//
// A threshold has a wanted code, where its comparator shall switch, and a trim, which cancels that comparator's offset:
// the DAC gets the sum. Wanted codes ascend; sums may cross where wanted codes are close, and mean nothing wrong then.
#ifndef CANOPIC_THRESHOLDS_H
#define CANOPIC_THRESHOLDS_H

#include <stdbool.h>
#include <stdint.h>

#include "hal.h"
#include "protocol.h"

#define TEST_CHANNEL (PROTOCOL_DAC_CHANNELS - 1u) // the DAC channel that drives the test cell
#define ENCODING_ID_BYTES 16u
#define THRESHOLDS_FINE 0xFFu

enum dac_status { DAC_OK, DAC_DIFFERS, DAC_FAILED };

// What a look at the DAC found; `channel` is the first that differs or failed.
struct dac_outcome {
    enum dac_status status;
    uint8_t channel;
};

struct thresholds {
    const struct hal *hal;
    uint16_t wanted[PROTOCOL_COMPARATORS]; // staged
    int16_t trims[PROTOCOL_COMPARATORS];
    int16_t written_trims[PROTOCOL_COMPARATORS]; // those in what was last written: 0 in the safe table
    uint16_t expected[PROTOCOL_DAC_CHANNELS];    // what was last written to each channel
    uint8_t encoding_id[ENCODING_ID_BYTES];      // of the staged or committed thresholds
    uint32_t crc;                                // CRC-32 of the staged thresholds
};

// CRC-32 of 15 wanted codes and 15 trims as they stand on the wire (60 bytes).
uint32_t thresholds_crc(const uint16_t wanted[PROTOCOL_COMPARATORS], const int16_t trims[PROTOCOL_COMPARATORS]);

void thresholds_init(struct thresholds *thresholds, const struct hal *hal);

// Keeps thresholds for a commit. Returns the index of the first code that descends, PROTOCOL_COMPARATORS + index of the
// first trim that is too large or leads out of the DAC's range, or THRESHOLDS_FINE.
uint8_t thresholds_stage(struct thresholds *thresholds, const struct msg_stage_thresholds *stage);

// Writes the staged thresholds, trimmed, and 0 for the test cell, then compares every channel.
struct dac_outcome thresholds_commit(struct thresholds *thresholds);

// Writes the safe table: no threshold can be reached, the test cell is dark. Goes through all channels even if one
// fails.
struct dac_outcome thresholds_write_safe(struct thresholds *thresholds);

// Writes one channel.
struct dac_outcome thresholds_write(struct thresholds *thresholds, uint8_t channel, uint16_t code);

// Reads one channel back and compares it with what was written. Looks three times before it says that it differs.
struct dac_outcome thresholds_check(const struct thresholds *thresholds, uint8_t channel, uint16_t tolerance);

// Reads every channel back; each must be exactly what was written.
struct dac_outcome thresholds_check_all(const struct thresholds *thresholds);

// Reads the 15 threshold channels back.
struct dac_outcome thresholds_read(const struct thresholds *thresholds, uint16_t readback[PROTOCOL_COMPARATORS]);

// Writes and reads back two patterns on every channel: bit i of the mask is set when channel i is fine. Leaves a
// pattern.
uint16_t thresholds_test_dac(struct thresholds *thresholds);

#endif
