// What a simulated board is made of.
#include "reveal.h"

#include <stdarg.h>
#include <stdio.h>

struct out {
    char *text;
    size_t capacity;
    size_t size;
};

__attribute__((format(printf, 2, 3))) static void add(struct out *out, const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    const int written = vsnprintf(out->text + out->size, out->capacity - out->size, format, arguments);
    va_end(arguments);
    out->size += written > 0 ? (size_t)written : 0u;
    out->size = out->size < out->capacity ? out->size : out->capacity - 1;
}

static void add_list(struct out *out, const char *name, const double *values, size_t count) {
    add(out, "\"%s\": [", name);
    for (size_t i = 0; i < count; i++) {
        add(out, "%s%.9g", i == 0 ? "" : ", ", values[i]);
    }
    add(out, "], ");
}

void reveal(const struct analog *analog, char *json, size_t capacity) {
    const struct analog_parts *parts = &analog->parts;
    double rising[PROTOCOL_COMPARATORS];
    double falling[PROTOCOL_COMPARATORS];
    struct out out = {.text = json, .capacity = capacity, .size = 0};
    for (uint8_t i = 0; i < PROTOCOL_COMPARATORS; i++) {
        rising[i] = analog_rising_volts(analog, i);
        falling[i] = analog_falling_volts(analog, i);
    }
    add(&out, "{");
    add_list(&out, "offset_volts", parts->offset_volts, PROTOCOL_COMPARATORS);
    add_list(&out, "gain_error", parts->gain_error, PROTOCOL_COMPARATORS);
    add_list(&out, "noise_volts", parts->noise_volts, PROTOCOL_COMPARATORS);
    add_list(&out, "hysteresis_volts", parts->hysteresis_volts, PROTOCOL_COMPARATORS);
    add_list(&out, "dac_bow_volts", parts->bow_volts, PROTOCOL_DAC_CHANNELS);
    add_list(&out, "threshold_volts", analog->threshold_volts, PROTOCOL_COMPARATORS);
    add_list(&out, "rising_volts", rising, PROTOCOL_COMPARATORS);
    add_list(&out, "falling_volts", falling, PROTOCOL_COMPARATORS);
    add(&out, "\"dac_dnl_lsb\": %.9g}", parts->dac_dnl_lsb);
}
