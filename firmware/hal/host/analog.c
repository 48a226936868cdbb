// The analog half of a board, simulated.
#include "analog.h"

#include <math.h>
#include <string.h>

#include "hal.h"

#define TEST_CELL_CHANNEL (PROTOCOL_DAC_CHANNELS - 1u)
#define LSB_VOLTS (ANALOG_REFERENCE_VOLTS / PROTOCOL_DAC_FULL_SCALE)
#define NOMINAL_SUPPLY_MILLIVOLTS 3300u
#define NOISE_REACH 6.0 // standard deviations beyond which noise is not drawn: it would matter once in 1e9 readings
// All parts but the offsets are drawn from a stream of their own: a board's offsets depend on its seed alone, whatever
// else it is made with.
#define PARTS_STREAM 0xC0DE5EEDA11CE5u

static double within(struct random *random, double middle, double share) {
    return middle * (1.0 + share * (2.0 * random_uniform(random) - 1.0));
}

void analog_init(struct analog *analog, uint64_t seed, const struct analog_quality *quality) {
    memset(analog, 0, sizeof *analog);
    struct analog_parts *made = &analog->made;
    random_seed(&analog->random, seed);
    for (size_t i = 0; i < PROTOCOL_COMPARATORS; i++) {
        made->offset_volts[i] = quality->offset_volts * random_normal(&analog->random);
    }
    struct random random;
    random_seed(&random, seed ^ PARTS_STREAM);
    for (size_t i = 0; i < PROTOCOL_COMPARATORS; i++) {
        made->gain_error[i] = quality->gain_error * random_normal(&random);
        made->noise_volts[i] = within(&random, quality->noise_volts, quality->spread);
        made->hysteresis_volts[i] = within(&random, quality->hysteresis_volts, quality->spread);
    }
    for (size_t i = 0; i < PROTOCOL_DAC_CHANNELS; i++) {
        made->bow_volts[i] = quality->dac_inl_volts * (2.0 * random_uniform(&random) - 1.0);
    }
    made->dac_dnl_lsb = quality->dac_dnl_lsb;
    made->dac_seed = random_bits(&random);
    analog_clear(analog);
}

// Works out what the comparators put out, if they saw something that was never read: hysteresis remembers it.
static void follow(struct analog *analog) {
    if (analog->hysteretic && analog->unread) {
        (void)analog_comparators(analog);
    }
}

static void settle(struct analog *analog, uint8_t channel) {
    const double volts = analog_output_volts(analog, channel, analog->dac[channel]);
    if (channel < PROTOCOL_COMPARATORS) {
        analog->threshold_volts[channel] = volts;
    } else if (analog->test_cell) {
        analog->volts = volts;
    }
    analog->unread = true;
}

void analog_clear(struct analog *analog) {
    analog->parts = analog->made;
    analog->stuck_high = 0;
    analog->stuck_low = 0;
    analog->mute = 0;
    memset(analog->writes_left, 0, sizeof analog->writes_left);
    memset(analog->drift_volts, 0, sizeof analog->drift_volts);
    analog->supply_millivolts = NOMINAL_SUPPLY_MILLIVOLTS;
    analog_parts_changed(analog);
}

void analog_parts_changed(struct analog *analog) {
    const struct analog_parts *parts = &analog->parts;
    analog->largest_noise_volts = 0.0;
    analog->hysteretic = false;
    for (size_t i = 0; i < PROTOCOL_COMPARATORS; i++) {
        analog->input_gain[i] = 1.0 + parts->gain_error[i];
        analog->largest_noise_volts = fmax(analog->largest_noise_volts, parts->noise_volts[i]);
        analog->hysteretic = analog->hysteretic || parts->hysteresis_volts[i] > 0.0;
    }
    for (uint8_t channel = 0; channel < PROTOCOL_DAC_CHANNELS; channel++) {
        settle(analog, channel);
    }
}

double analog_output_volts(const struct analog *analog, uint8_t channel, uint16_t code) {
    const double fraction = code / (double)PROTOCOL_DAC_FULL_SCALE;
    const double bow = analog->parts.bow_volts[channel] * 4.0 * fraction * (1.0 - fraction);
    double own_error = 0.0;
    if (analog->parts.dac_dnl_lsb > 0.0) {
        // Two neighbouring codes are each off by at most half of it: their step by at most all of it.
        struct random random;
        random_seed(&random, analog->parts.dac_seed + ((uint64_t)channel << 16 | code));
        own_error = analog->parts.dac_dnl_lsb * (random_uniform(&random) - 0.5) * LSB_VOLTS;
    }
    return fraction * ANALOG_REFERENCE_VOLTS + bow + own_error + analog->drift_volts[channel];
}

static bool answers(const struct analog *analog, uint8_t channel) {
    return (((unsigned)analog->mute >> channel) & 1u) == 0 || analog->writes_left[channel] > 0;
}

bool analog_dac_write(struct analog *analog, uint8_t channel, uint16_t code) {
    if (!answers(analog, channel)) {
        return false;
    }
    analog->writes_left[channel] -= analog->writes_left[channel] > 0 ? 1u : 0u;
    follow(analog);
    analog->dac[channel] = code;
    settle(analog, channel);
    return true;
}

bool analog_dac_readback(const struct analog *analog, uint8_t channel, uint16_t *code) {
    const double held = round(analog->dac[channel] + analog->drift_volts[channel] / LSB_VOLTS);
    *code = (uint16_t)fmin(fmax(held, 0.0), PROTOCOL_DAC_FULL_SCALE);
    return answers(analog, channel);
}

void analog_drift(struct analog *analog, uint8_t channel, double volts) {
    follow(analog);
    analog->drift_volts[channel] = volts;
    settle(analog, channel);
}

void analog_select(struct analog *analog, uint32_t cell) {
    follow(analog);
    analog->test_cell = cell == HAL_TEST_CELL;
    if (analog->test_cell) {
        analog->volts = analog_output_volts(analog, TEST_CELL_CHANNEL, analog->dac[TEST_CELL_CHANNEL]);
    } else {
        analog->volts = cell < analog->cells ? (double)analog->cell_volts[cell] : 0.0;
    }
    analog->unread = true;
}

// [V] that comparator i compares its input with: through hysteresis it depends on its output.
static double trip_volts(const struct analog *analog, unsigned i, unsigned high) {
    const double half = analog->parts.hysteresis_volts[i] / 2.0;
    return analog->threshold_volts[i] + (((high >> i) & 1u) != 0 ? -half : half);
}

uint16_t analog_comparators(struct analog *analog) {
    const double *offset = analog->parts.offset_volts;
    const double reach = NOISE_REACH * analog->largest_noise_volts;
    const unsigned before = analog->high;
    unsigned reading = 0;
    unsigned close = 0;
    for (unsigned i = 0; i < PROTOCOL_COMPARATORS; i++) {
        const double input = analog->volts * analog->input_gain[i] + offset[i];
        const double trip = analog->hysteretic ? trip_volts(analog, i, before) : analog->threshold_volts[i];
        reading |= (unsigned)(input >= trip) << i;
        close |= (unsigned)(fabs(input - trip) < reach) << i;
    }
    for (unsigned i = 0; close >> i != 0; i++) {
        if (((close >> i) & 1u) != 0) {
            const double noise = analog->parts.noise_volts[i] * random_normal(&analog->random);
            const double input = analog->volts * analog->input_gain[i] + offset[i];
            const bool high = input + noise >= trip_volts(analog, i, before);
            reading = (reading & ~(1u << i)) | ((unsigned)high << i);
        }
    }
    analog->high = (uint16_t)reading;
    analog->unread = false;
    return (uint16_t)((reading | analog->stuck_high) & ~(unsigned)analog->stuck_low);
}

double analog_rising_volts(const struct analog *analog, uint8_t comparator) {
    return (trip_volts(analog, comparator, 0) - analog->parts.offset_volts[comparator]) /
           analog->input_gain[comparator];
}

double analog_falling_volts(const struct analog *analog, uint8_t comparator) {
    return (trip_volts(analog, comparator, 0xFFFFu) - analog->parts.offset_volts[comparator]) /
           analog->input_gain[comparator];
}
