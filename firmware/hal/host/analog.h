// The analog half of a board, simulated: DAC, comparators with offset and noise, supply, and the faults they can have.
#ifndef CANOPIC_HOST_ANALOG_H
#define CANOPIC_HOST_ANALOG_H

#include <stdbool.h>
#include <stdint.h>

#include "protocol.h"
#include "random.h"

struct analog {
    struct random random;
    uint16_t dac[PROTOCOL_DAC_CHANNELS];
    double drift_volts[PROTOCOL_DAC_CHANNELS]; // injected: moves output and readback
    double offset_volts[PROTOCOL_COMPARATORS]; // adds to the cell's voltage
    double noise_volts;                        // standard deviation, drawn anew for every reading
    uint16_t stuck_high;                       // injected: bit i
    uint16_t stuck_low;
    uint16_t supply_millivolts;

    double made_offset_volts[PROTOCOL_COMPARATORS]; // what the board was made with: `clear` brings it back
    double made_noise_volts;

    double threshold_volts[PROTOCOL_COMPARATORS]; // what the DAC puts out now
    const float *cell_volts;                      // the held frame, or NULL
    uint32_t cells;
    double volts; // of the selected cell
};

// A board whose comparators' offsets are drawn with this standard deviation.
void analog_init(struct analog *analog, uint64_t seed, double offset_sigma_volts, double noise_volts);

// Removes every injected fault.
void analog_clear(struct analog *analog);

void analog_dac_write(struct analog *analog, uint8_t channel, uint16_t code);
uint16_t analog_dac_readback(const struct analog *analog, uint8_t channel);

// Injects drift of one channel.
void analog_drift(struct analog *analog, uint8_t channel, double volts);

void analog_select(struct analog *analog, uint32_t cell);

// Comparator i is high when cell + offset i + noise >= threshold i, unless it is stuck.
uint16_t analog_comparators(struct analog *analog);

#endif
