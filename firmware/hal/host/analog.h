// The analog half of a board, simulated: DAC, comparators, supply, how imperfectly they are made and how they can fail.
#ifndef CANOPIC_HOST_ANALOG_H
#define CANOPIC_HOST_ANALOG_H

#include <stdbool.h>
#include <stdint.h>

#include "protocol.h"
#include "random.h"

#define ANALOG_REFERENCE_VOLTS (PROTOCOL_REFERENCE_MICROVOLTS / 1e6)

// How well a board is made; all 0: ideally.
struct analog_quality {
    double offset_volts;     // standard deviation of the comparators' offsets
    double gain_error;       // standard deviation of the relative gain errors of their input stages
    double noise_volts;      // standard deviation of their noise
    double hysteresis_volts; // between the rising and the falling transition
    double spread;           // 0..1: each comparator's noise and hysteresis differ from these by up to this share
    double dac_inl_volts;    // no DAC channel bows further than this from its straight line
    double dac_dnl_lsb;      // [LSB] below 1: no step between neighbouring codes is wrong by more than this
};

// One board as it was made.
struct analog_parts {
    double offset_volts[PROTOCOL_COMPARATORS];
    double gain_error[PROTOCOL_COMPARATORS];
    double noise_volts[PROTOCOL_COMPARATORS];
    double hysteresis_volts[PROTOCOL_COMPARATORS];
    double bow_volts[PROTOCOL_DAC_CHANNELS]; // departure from the straight line at half scale
    double dac_dnl_lsb;                      // [LSB]
    uint64_t dac_seed;                       // of the codes' own errors
};

struct analog {
    struct random random; // of the noise
    struct analog_parts made;
    struct analog_parts parts; // as made, or as control lines changed them: `clear` brings back what was made
    uint16_t dac[PROTOCOL_DAC_CHANNELS];
    double drift_volts[PROTOCOL_DAC_CHANNELS];   // injected: moves output and readback
    uint16_t mute;                               // injected: bit i: DAC channel i does not answer...
    uint32_t writes_left[PROTOCOL_DAC_CHANNELS]; // ...once it took so many more writes
    uint16_t stuck_high;                         // injected: bit i
    uint16_t stuck_low;
    uint16_t supply_millivolts;

    double threshold_volts[PROTOCOL_COMPARATORS]; // what the DAC puts out now
    double input_gain[PROTOCOL_COMPARATORS];      // 1 + gain error
    double largest_noise_volts;
    bool hysteretic;         // at least one comparator is
    uint16_t high;           // the comparators' outputs, which hysteresis remembers
    bool unread;             // what the comparators see changed since their outputs were worked out
    bool test_cell;          // is selected
    const float *cell_volts; // the held frame, or NULL
    uint32_t cells;
    double volts; // of the selected cell
};

// A board of this quality; the same seed makes the same board.
void analog_init(struct analog *analog, uint64_t seed, const struct analog_quality *quality);

// Removes every injected fault and brings back the parts as made.
void analog_clear(struct analog *analog);

// Has to be called after `parts` was changed.
void analog_parts_changed(struct analog *analog);

// False: the channel is mute.
bool analog_dac_write(struct analog *analog, uint8_t channel, uint16_t code);

// What the channel's register holds, moved by injected drift; it does not show the errors that the DAC is made with.
// False: the channel is mute.
bool analog_dac_readback(const struct analog *analog, uint8_t channel, uint16_t *code);

// [V] that a channel puts out for a code: straight line, bow, the code's own error, injected drift.
double analog_output_volts(const struct analog *analog, uint8_t channel, uint16_t code);

// Injects drift of one channel.
void analog_drift(struct analog *analog, uint8_t channel, double volts);

void analog_select(struct analog *analog, uint32_t cell);

// Comparator i goes high when (1 + gain error) * cell + offset + noise reaches threshold + hysteresis / 2, and low
// again below threshold - hysteresis / 2, unless it is stuck. Noise is drawn anew for every reading.
uint16_t analog_comparators(struct analog *analog);

// [V] of a cell at which comparator i goes high (or low) without noise, with the thresholds that are in the DAC now.
double analog_rising_volts(const struct analog *analog, uint8_t comparator);
double analog_falling_volts(const struct analog *analog, uint8_t comparator);

#endif
