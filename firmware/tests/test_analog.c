// The simulated analog half of the host build and the lines that break it on purpose.
#include <math.h>
#include <stdio.h>

#include "analog.h"
#include "control.h"
#include "hal.h"
#include "suites.h"

static struct analog analog;
static struct serial serial;
static struct frames frames;
static struct control control;

static const char *order(const char *text) {
    static char answer[512];
    char line[256];
    const struct control_targets targets = {&analog, &serial, &frames};
    (void)snprintf(line, sizeof line, "%s", text);
    control_line(&control, &targets, line, answer, sizeof answer);
    return answer;
}

// Threshold i at (i + 1) / 16 of full scale.
static void even_thresholds(void) {
    for (uint8_t i = 0; i < PROTOCOL_COMPARATORS; i++) {
        analog_dac_write(&analog, i, (uint16_t)((i + 1u) * 4096u));
    }
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
    analog_init(&analog, 1, 0.0, 0.0);
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
    analog_dac_write(&analog, 15, 0x8000); // the test cell at half scale
    analog_select(&analog, HAL_TEST_CELL);
    assert_int_equal(analog_comparators(&analog), 0xFF);
}

static void offsets_are_seeded(void **state) {
    (void)state;
    struct analog other;
    analog_init(&analog, 7, 0.01, 0.0);
    analog_init(&other, 7, 0.01, 0.0);
    assert_memory_equal(analog.offset_volts, other.offset_volts, sizeof other.offset_volts);
    analog_init(&other, 8, 0.01, 0.0);
    assert_memory_not_equal(analog.offset_volts, other.offset_volts, sizeof other.offset_volts);
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
    assert_int_equal(analog_dac_readback(&analog, 1), 0);
    assert_string_equal(order("drift 2 0.001"), "ok");
    assert_int_equal(analog_dac_readback(&analog, 2), 3 * 4096 + 26);
    assert_string_equal(order("supply 2800"), "ok");
    assert_int_equal(analog.supply_millivolts, 2800);
    assert_string_equal(order("corrupt rx 0.5"), "ok");
    assert_string_equal(order("drop tx 0.25"), "ok");
    assert_true(serial.rx.corrupt > 0.4 && serial.tx.drop > 0.2);
    assert_string_equal(order("clear"), "ok");
    assert_int_equal(read_volts(0.0F), 0);
    assert_int_equal(analog_dac_readback(&analog, 2), 3 * 4096);
    assert_int_equal(analog.supply_millivolts, 3300);
    assert_true(serial.rx.corrupt <= 0.0 && serial.tx.drop <= 0.0);
    assert_string_equal(order("reset"), "ok");
    assert_true(control.reset_asked);
    assert_memory_equal(order("stats"), "ok rx_bytes=", 12);
}

static void wrong_lines_are_refused(void **state) {
    (void)state;
    const char *wrong[] = {"",           "stick",        "stick 15 high", "stick 3 up",  "stick x high",
                           "unstick -1", "drift 16 1",   "drift 1 nan",   "offset 15 0", "offset 1 1x",
                           "noise -1",   "supply 99999", "drop up 0.1",   "drop rx 1.5", "corrupt tx",
                           "reset now",  "a b c d e f g"};
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        assert_memory_equal(order(wrong[i]), "error: ", 7);
    }
}

int analog_suite(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(comparators_compare, setup),     cmocka_unit_test_setup(offsets_are_seeded, setup),
        cmocka_unit_test_setup(noise_has_its_size, setup),      cmocka_unit_test_setup(faults_come_and_go, setup),
        cmocka_unit_test_setup(wrong_lines_are_refused, setup),
    };
    return cmocka_run_group_tests_name("simulated analog half", tests, NULL, NULL);
}
