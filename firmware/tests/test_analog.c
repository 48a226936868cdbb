// The simulated analog half of the host build and the lines that break it on purpose.
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "analog.h"
#include "control.h"
#include "hal.h"
#include "reveal.h"
#include "suites.h"

static struct analog analog;
static struct serial serial;
static struct frames frames;
static struct control control;

static const struct analog_quality IDEAL = {.offset_volts = 0.0};

static const char *order(const char *text) {
    static char answer[REVEAL_BYTES];
    char line[256];
    const struct control_targets targets = {&analog, &serial, &frames};
    (void)snprintf(line, sizeof line, "%s", text);
    control_line(&control, &targets, line, answer, sizeof answer);
    return answer;
}

// Threshold i at (i + 1) / 16 of full scale.
static void even_thresholds(void) {
    for (uint8_t i = 0; i < PROTOCOL_COMPARATORS; i++) {
        assert_true(analog_dac_write(&analog, i, (uint16_t)((i + 1u) * 4096u)));
    }
}

static uint16_t readback(uint8_t channel) {
    uint16_t code = 0;
    assert_true(analog_dac_readback(&analog, channel, &code));
    return code;
}

static uint16_t read_volts(float volts) {
    analog.cell_volts = &volts;
    analog.cells = 1;
    analog_select(&analog, 0);
    const uint16_t reading = analog_comparators(&analog);
    analog.cell_volts = NULL;
    analog.cells = 0;
    return reading;
}

static int setup(void **state) {
    (void)state;
    analog_init(&analog, 1, &IDEAL);
    memset(&control, 0, sizeof control);
    even_thresholds();
    return 0;
}

static void comparators_compare(void **state) {
    (void)state;
    assert_int_equal(read_volts(0.0F), 0);
    assert_int_equal(read_volts(2.5F), 0x7FFF);
    assert_int_equal(read_volts(1.3F), 0xFF); // 8 thresholds at or below 1.25 V
    assert_int_equal(read_volts(NAN), 0);
    assert_true(analog_dac_write(&analog, 15, 0x8000)); // the test cell at half scale
    analog_select(&analog, HAL_TEST_CELL);
    assert_int_equal(analog_comparators(&analog), 0xFF);
}

static void boards_are_seeded(void **state) {
    (void)state;
    static const struct analog_quality OFFSETS = {.offset_volts = 0.01};
    static const struct analog_quality ALL = {.offset_volts = 0.01,
                                              .gain_error = 0.01,
                                              .noise_volts = 0.001,
                                              .hysteresis_volts = 0.002,
                                              .spread = 0.5,
                                              .dac_inl_volts = 0.003,
                                              .dac_dnl_lsb = 0.5};
    struct analog other;
    analog_init(&analog, 7, &ALL);
    analog_init(&other, 7, &ALL);
    assert_memory_equal(&analog.parts, &other.parts, sizeof other.parts);
    analog_init(&other, 7, &OFFSETS); // offsets do not depend on what else is wrong
    assert_memory_equal(analog.parts.offset_volts, other.parts.offset_volts, sizeof other.parts.offset_volts);
    analog_init(&other, 8, &ALL);
    assert_memory_not_equal(analog.parts.offset_volts, other.parts.offset_volts, sizeof other.parts.offset_volts);
    assert_memory_not_equal(analog.parts.bow_volts, other.parts.bow_volts, sizeof other.parts.bow_volts);
    double lowest = 1.0;
    double highest = 0.0;
    for (size_t i = 0; i < PROTOCOL_COMPARATORS; i++) {
        assert_true(fabs(analog.parts.bow_volts[i]) <= 0.003);
        lowest = fmin(lowest, analog.parts.hysteresis_volts[i]);
        highest = fmax(highest, analog.parts.hysteresis_volts[i]);
    }
    assert_true(lowest >= 0.001 && highest <= 0.003 && highest - lowest > 0.001);
}

static void noise_has_its_size(void **state) {
    (void)state;
    assert_string_equal(order("noise 0.02"), "ok");
    // At one standard deviation below the threshold a comparator is high in 15.87 % of the readings.
    unsigned high = 0;
    const unsigned readings = 200000;
    for (unsigned i = 0; i < readings; i++) {
        const float volts = (float)(4096.0 * 8 / 65535.0 * 2.5 - 0.02);
        high += (read_volts(volts) >> 7) & 1u;
    }
    assert_in_range(high, (unsigned)(readings * 0.154), (unsigned)(readings * 0.164));
}

// Whether comparator 7, whose threshold is at 1.25 V, is high at a distance from it.
static unsigned high_at(double millivolts) {
    return ((unsigned)read_volts((float)(4096.0 * 8 / 65535.0 * 2.5 + millivolts / 1000.0)) >> 7) & 1u;
}

static void hysteresis_remembers(void **state) {
    (void)state;
    assert_string_equal(order("hysteresis 7 0.02"), "ok");
    assert_int_equal(high_at(-30), 0);
    assert_int_equal(high_at(9), 0); // from below it rises at +10 mV
    assert_int_equal(high_at(11), 1);
    assert_int_equal(high_at(-9), 1); // from above it falls at -10 mV
    assert_int_equal(high_at(-11), 0);
    assert_int_equal(high_at(9), 0);
    // What a comparator saw counts even if nobody read it then.
    const float far_above = 2.0F;
    analog.cell_volts = &far_above;
    analog.cells = 1;
    analog_select(&analog, 0);
    assert_int_equal(high_at(-9), 1);
    // The same through the test cell, without selecting it anew.
    analog_select(&analog, HAL_TEST_CELL);
    assert_true(analog_dac_write(&analog, 15, 0));
    assert_true(analog_dac_write(&analog, 15, 0x8000 + 200)); // 7.6 mV above
    assert_int_equal((analog_comparators(&analog) >> 7) & 1u, 0);
    assert_true(analog_dac_write(&analog, 15, 0xFFFF));
    assert_true(analog_dac_write(&analog, 15, 0x8000 - 200));
    assert_int_equal((analog_comparators(&analog) >> 7) & 1u, 1);
    assert_string_equal(order("clear"), "ok");
    assert_int_equal(high_at(-1), 0);
    assert_int_equal(high_at(1), 1);
}

static void hysteresis_and_noise_together(void **state) {
    (void)state;
    // Approached from below, the transition is a normal distribution around +h/2; from above around -h/2.
    assert_string_equal(order("noise 7 0.002"), "ok");
    assert_string_equal(order("hysteresis 7 0.03"), "ok");
    unsigned rising[3] = {0};
    unsigned falling[3] = {0};
    const unsigned readings = 20000;
    for (unsigned i = 0; i < readings; i++) {
        for (int j = 0; j < 3; j++) {
            assert_int_equal(high_at(-100), 0);
            rising[j] += high_at(15.0 + 2.0 * (j - 1));
            assert_int_equal(high_at(100), 1);
            falling[j] += high_at(-15.0 + 2.0 * (j - 1));
        }
    }
    static const double SHARE[3] = {0.15866, 0.5, 0.84134}; // the normal distribution at -1, 0 and 1
    for (int j = 0; j < 3; j++) {
        assert_true(fabs(rising[j] / (double)readings - SHARE[j]) < 0.015);
        assert_true(fabs(falling[j] / (double)readings - SHARE[j]) < 0.015);
    }
}

static void gain_errors_scale_the_input(void **state) {
    (void)state;
    assert_string_equal(order("gain 7 0.01"), "ok");
    assert_string_equal(order("offset 7 0.005"), "ok");
    const double threshold = 4096.0 * 8 / 65535.0 * 2.5;
    const double transition = (threshold - 0.005) / 1.01;
    assert_true(fabs(analog_rising_volts(&analog, 7) - transition) < 1e-12);
    assert_int_equal(high_at((transition - threshold) * 1000.0 - 0.01), 0);
    assert_int_equal(high_at((transition - threshold) * 1000.0 + 0.01), 1);
}

static void the_dac_is_not_quite_straight(void **state) {
    (void)state;
    const double lsb = 2.5 / 65535.0;
    assert_string_equal(order("inl 3 0.004"), "ok");
    assert_true(fabs(analog_output_volts(&analog, 3, 0)) < 1e-12);
    assert_true(fabs(analog_output_volts(&analog, 3, 65535) - 2.5) < 1e-12);
    assert_true(fabs(analog_output_volts(&analog, 3, 32768) - 32768 * lsb - 0.004) < 1e-6);
    assert_int_equal(readback(3), 4 * 4096); // the register is as written
    assert_string_equal(order("dnl 0.9"), "ok");
    double largest = 0.0;
    for (uint16_t code = 0; code < 65535; code++) {
        const double step =
            analog_output_volts(&analog, 5, (uint16_t)(code + 1u)) - analog_output_volts(&analog, 5, code);
        assert_true(step > 0.0); // less than 1 LSB of it leaves the DAC monotonic
        largest = fmax(largest, fabs(step / lsb - 1.0));
    }
    assert_true(largest > 0.8 && largest <= 0.9 + 1e-9);
    const double volts = analog_output_volts(&analog, 5, 1000);
    assert_true(fabs(strtod(order("output 5 1000") + 3, NULL) - volts) < 1e-8);
    assert_true(fabs(analog_output_volts(&analog, 6, 1000) - volts) > 1e-9); // another channel, other errors
}

static void a_mute_channel_answers_nothing(void **state) {
    (void)state;
    uint16_t code = 0;
    assert_string_equal(order("mute 15 2"), "ok");
    assert_true(analog_dac_write(&analog, 15, 1));
    assert_true(analog_dac_readback(&analog, 15, &code));
    assert_true(analog_dac_write(&analog, 15, 2));
    assert_false(analog_dac_write(&analog, 15, 3));
    assert_false(analog_dac_readback(&analog, 15, &code));
    assert_int_equal(analog.dac[15], 2);
    assert_true(analog_dac_write(&analog, 14, 3));
    assert_string_equal(order("unmute 15"), "ok");
    assert_true(analog_dac_write(&analog, 15, 3));
    assert_string_equal(order("mute 0"), "ok");
    assert_false(analog_dac_write(&analog, 0, 3));
    assert_string_equal(order("clear"), "ok");
    assert_true(analog_dac_write(&analog, 0, 3));
}

static void everything_is_revealed(void **state) {
    (void)state;
    static const struct analog_quality QUALITY = {.offset_volts = 0.01, .hysteresis_volts = 0.004};
    static const char *const KEYS[] = {"offset_volts",     "gain_error",    "noise_volts",
                                       "hysteresis_volts", "dac_bow_volts", "threshold_volts",
                                       "rising_volts",     "falling_volts", "dac_dnl_lsb"};
    analog_init(&analog, 3, &QUALITY);
    even_thresholds();
    const char *json = order("reveal");
    for (size_t i = 0; i < sizeof KEYS / sizeof KEYS[0]; i++) {
        assert_non_null(strstr(json, KEYS[i]));
    }
    const double rising = strtod(strstr(json, "\"rising_volts\": [") + strlen("\"rising_volts\": ["), NULL);
    const double falling = strtod(strstr(json, "\"falling_volts\": [") + strlen("\"falling_volts\": ["), NULL);
    assert_true(fabs(rising - falling - 0.004) < 1e-8);
    assert_true(fabs(rising + analog.parts.offset_volts[0] - 4096.0 / 65535.0 * 2.5 - 0.002) < 1e-8);
}

static void faults_come_and_go(void **state) {
    (void)state;
    assert_string_equal(order("stick 3 high"), "ok");
    assert_int_equal(read_volts(0.0F), 1u << 3);
    assert_string_equal(order("stick 3 low"), "ok");
    assert_int_equal(read_volts(2.5F), 0x7FFF & ~(1u << 3));
    assert_string_equal(order("unstick 3"), "ok");
    assert_int_equal(read_volts(2.5F), 0x7FFF);
    assert_string_equal(order("offset 0 0.2"), "ok");
    assert_int_equal(read_volts(0.0F), 1);
    assert_string_equal(order("drift 1 -0.35"), "ok");
    assert_int_equal(read_volts(0.0F), 3);
    assert_int_equal(readback(1), 0);
    assert_string_equal(order("drift 2 0.001"), "ok");
    assert_int_equal(readback(2), 3 * 4096 + 26);
    assert_string_equal(order("supply 2800"), "ok");
    assert_int_equal(analog.supply_millivolts, 2800);
    assert_string_equal(order("corrupt rx 0.5"), "ok");
    assert_string_equal(order("drop tx 0.25"), "ok");
    assert_true(serial.rx.corrupt > 0.4 && serial.tx.drop > 0.2);
    assert_string_equal(order("clear"), "ok");
    assert_int_equal(read_volts(0.0F), 0);
    assert_int_equal(readback(2), 3 * 4096);
    assert_int_equal(analog.supply_millivolts, 3300);
    assert_true(serial.rx.corrupt <= 0.0 && serial.tx.drop <= 0.0);
    assert_string_equal(order("reset"), "ok");
    assert_true(control.reset_asked);
    assert_memory_equal(order("stats"), "ok rx_bytes=", 12);
}

static void wrong_lines_are_refused(void **state) {
    (void)state;
    const char *wrong[] = {"",           "stick",         "stick 15 high", "stick 3 up",     "stick x high",
                           "unstick -1", "drift 16 1",    "drift 1 nan",   "offset 15 0",    "offset 1 1x",
                           "noise -1",   "supply 99999",  "drop up 0.1",   "drop rx 1.5",    "corrupt tx",
                           "reset now",  "a b c d e f g", "noise 15 1",    "hysteresis -1",  "hysteresis 15 0.1",
                           "gain 0 0.6", "gain 15 0",     "inl 16 0",      "dnl 1",          "mute 16",
                           "mute 0 x",   "unmute x",      "output 16 0",   "output 0 65536", "reveal all"};
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        assert_memory_equal(order(wrong[i]), "error: ", 7);
    }
}

int analog_suite(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(comparators_compare, setup),
        cmocka_unit_test_setup(boards_are_seeded, setup),
        cmocka_unit_test_setup(noise_has_its_size, setup),
        cmocka_unit_test_setup(hysteresis_remembers, setup),
        cmocka_unit_test_setup(hysteresis_and_noise_together, setup),
        cmocka_unit_test_setup(gain_errors_scale_the_input, setup),
        cmocka_unit_test_setup(the_dac_is_not_quite_straight, setup),
        cmocka_unit_test_setup(a_mute_channel_answers_nothing, setup),
        cmocka_unit_test_setup(everything_is_revealed, setup),
        cmocka_unit_test_setup(faults_come_and_go, setup),
        cmocka_unit_test_setup(wrong_lines_are_refused, setup),
    };
    return cmocka_run_group_tests_name("simulated analog half", tests, NULL, NULL);
}
