// The analog half of a board, simulated.
#include "analog.h"

#include <math.h>
#include <string.h>

#include "hal.h"

#define REFERENCE_VOLTS (PROTOCOL_REFERENCE_MICROVOLTS / 1e6)
#define NOMINAL_SUPPLY_MILLIVOLTS 3300u
#define NOISE_REACH 6.0 // standard deviations beyond which noise is not drawn: it would matter once in 1e9 readings

static double output_volts(const struct analog *analog, uint8_t channel) {
    return analog->dac[channel] / (double)PROTOCOL_DAC_FULL_SCALE * REFERENCE_VOLTS + analog->drift_volts[channel];
}

static void settle(struct analog *analog, uint8_t channel) {
    if (channel < PROTOCOL_COMPARATORS) {
        analog->threshold_volts[channel] = output_volts(analog, channel);
    }
}

void analog_init(struct analog *analog, uint64_t seed, double offset_sigma_volts, double noise_volts) {
    memset(analog, 0, sizeof *analog);
    random_seed(&analog->random, seed);
    for (size_t i = 0; i < PROTOCOL_COMPARATORS; i++) {
        analog->made_offset_volts[i] = offset_sigma_volts * random_normal(&analog->random);
    }
    analog->made_noise_volts = noise_volts;
    analog_clear(analog);
}

void analog_clear(struct analog *analog) {
    memcpy(analog->offset_volts, analog->made_offset_volts, sizeof analog->offset_volts);
    analog->noise_volts = analog->made_noise_volts;
    analog->stuck_high = 0;
    analog->stuck_low = 0;
    analog->supply_millivolts = NOMINAL_SUPPLY_MILLIVOLTS;
    for (uint8_t channel = 0; channel < PROTOCOL_DAC_CHANNELS; channel++) {
        analog_drift(analog, channel, 0.0);
    }
}

void analog_dac_write(struct analog *analog, uint8_t channel, uint16_t code) {
    analog->dac[channel] = code;
    settle(analog, channel);
}

uint16_t analog_dac_readback(const struct analog *analog, uint8_t channel) {
    const double code = round(output_volts(analog, channel) / REFERENCE_VOLTS * PROTOCOL_DAC_FULL_SCALE);
    return (uint16_t)fmin(fmax(code, 0.0), PROTOCOL_DAC_FULL_SCALE);
}

void analog_drift(struct analog *analog, uint8_t channel, double volts) {
    analog->drift_volts[channel] = volts;
    settle(analog, channel);
}

void analog_select(struct analog *analog, uint32_t cell) {
    if (cell == HAL_TEST_CELL) {
        analog->volts = output_volts(analog, PROTOCOL_DAC_CHANNELS - 1u);
    } else {
        analog->volts = cell < analog->cells ? (double)analog->cell_volts[cell] : 0.0;
    }
}

uint16_t analog_comparators(struct analog *analog) {
    const double reach = NOISE_REACH * analog->noise_volts;
    unsigned reading = 0;
    unsigned close = 0;
    for (unsigned i = 0; i < PROTOCOL_COMPARATORS; i++) {
        const double input = analog->volts + analog->offset_volts[i];
        reading |= (unsigned)(input >= analog->threshold_volts[i]) << i;
        close |= (unsigned)(fabs(input - analog->threshold_volts[i]) < reach) << i;
    }
    for (unsigned i = 0; close >> i != 0; i++) {
        if (((close >> i) & 1u) != 0) {
            const double noise = analog->noise_volts * random_normal(&analog->random);
            const bool high = analog->volts + analog->offset_volts[i] + noise >= analog->threshold_volts[i];
            reading = (reading & ~(1u << i)) | ((unsigned)high << i);
        }
    }
    return (uint16_t)((reading | analog->stuck_high) & ~(unsigned)analog->stuck_low);
}
