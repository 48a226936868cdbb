// The test cell driven on command: sweeps and conversions, what they refuse, and that they disturb nothing.
#include "bytes.h"
#include "fake_board.h"
#include "safety.h"
#include "suites.h"

static const struct msg_sweep ACROSS = {.comparator = 4,
                                        .start = 19985,
                                        .step = 1,
                                        .count = 31,
                                        .reads = 3,
                                        .approach = APPROACH_BELOW}; // 20000 is its threshold

static const uint8_t *sweep_payload(const struct msg_sweep *sweep) {
    static uint8_t payload[MSG_SWEEP_SIZE];
    msg_sweep_pack(sweep, payload);
    return payload;
}

// Carries out a sweep; returns its counts.
static const uint8_t *swept(const struct msg_sweep *sweep) {
    static struct msg_sweep_reply reply;
    const struct sent_frame frame = fake_ok(MESSAGE_SWEEP, sweep_payload(sweep), MSG_SWEEP_SIZE);
    msg_sweep_reply_unpack(&reply, frame.payload);
    return reply.counts;
}

static uint16_t sweep_refused(struct msg_sweep sweep) {
    const uint16_t detail = fake_refused(MESSAGE_SWEEP, sweep_payload(&sweep), MSG_SWEEP_SIZE, ERROR_BAD_VALUE);
    assert_int_equal(fake.dac[TEST_CHANNEL], 0); // nothing was driven
    return detail;
}

static void a_sweep_finds_the_threshold(void **state) {
    (void)state;
    for (unsigned s = STATE_COMMITTED; s <= STATE_ARMED; s++) {
        (void)fake_setup(NULL);
        fake_bring_to((enum state)s, 4, 4, 3);
        fake.offset[4] = -5;
        for (uint8_t approach = APPROACH_NONE; approach <= APPROACH_ABOVE; approach++) {
            struct msg_sweep sweep = ACROSS;
            sweep.approach = approach;
            const uint8_t *counts = swept(&sweep);
            for (uint8_t i = 0; i < PROTOCOL_SWEEP_LEVELS_MAX; i++) {
                assert_int_equal(counts[i], i >= 20 && i < 31 ? 3 : 0); // 20005 and above
            }
            sweep.start = 20015;
            sweep.step = -1;
            counts = swept(&sweep);
            for (uint8_t i = 0; i < PROTOCOL_SWEEP_LEVELS_MAX; i++) {
                assert_int_equal(counts[i], i <= 10 ? 3 : 0);
            }
        }
        assert_int_equal(fake.core.state, s);
        assert_int_equal(fake.dac[TEST_CHANNEL], 0);
        assert_int_equal(fake.safe, s == STATE_COMMITTED);
        assert_memory_equal(fake.dac, FAKE_THRESHOLDS, sizeof FAKE_THRESHOLDS);
    }
}

static void hysteresis_shows_from_either_side(void **state) {
    (void)state;
    fake_bring_to(STATE_COMMITTED, 4, 4, 3);
    fake.hysteresis = 10;
    struct msg_sweep sweep = ACROSS;
    const uint8_t *counts = swept(&sweep);
    for (uint8_t i = 0; i < 31; i++) {
        assert_int_equal(counts[i], i >= 20 ? 3 : 0); // rises at +5
    }
    sweep.approach = APPROACH_ABOVE;
    counts = swept(&sweep);
    for (uint8_t i = 0; i < 31; i++) {
        assert_int_equal(counts[i], i >= 10 ? 3 : 0); // falls below -5
    }
    sweep.approach = APPROACH_NONE;
    counts = swept(&sweep); // upwards from dark
    assert_int_equal(counts[19], 0);
    assert_int_equal(counts[20], 3);
    sweep.start = 20015;
    sweep.step = -1;
    counts = swept(&sweep); // downwards: the first level is above
    assert_int_equal(counts[20], 3);
    assert_int_equal(counts[21], 0);
}

static void fields_out_of_range_are_refused(void **state) {
    (void)state;
    fake_bring_to(STATE_COMMITTED, 4, 4, 3);
    struct msg_sweep sweep = ACROSS;
    sweep.comparator = 15;
    assert_int_equal(sweep_refused(sweep), 0);
    sweep = ACROSS;
    sweep.count = 0;
    assert_int_equal(sweep_refused(sweep), 3);
    sweep.count = 65;
    assert_int_equal(sweep_refused(sweep), 3);
    sweep = ACROSS;
    sweep.reads = 0;
    assert_int_equal(sweep_refused(sweep), 4);
    sweep = ACROSS;
    sweep.approach = APPROACH_ABOVE + 1;
    assert_int_equal(sweep_refused(sweep), 5);
}

static void levels_do_not_wrap(void **state) {
    (void)state;
    static const struct {
        uint16_t start;
        int16_t step;
        uint8_t count;
        bool fine;
    } ENDS[] = {
        {65535, 0, 64, true},      {65535, 1, 1, true},       {65535, 1, 2, false},       {65472, 1, 64, true},
        {65473, 1, 64, false},     {0, -1, 1, true},          {0, -1, 2, false},          {63, -1, 64, true},
        {62, -1, 64, false},       {1, 32767, 3, true},       {2, 32767, 3, false},       {0, 32767, 64, false},
        {65535, -32768, 2, true},  {65535, -32768, 3, false}, {65535, -32768, 64, false}, {0, 0, 64, true},
        {65535, 32767, 64, false},
    };
    fake_bring_to(STATE_COMMITTED, 4, 4, 3);
    for (size_t i = 0; i < sizeof ENDS / sizeof ENDS[0]; i++) {
        const struct msg_sweep sweep = {
            .comparator = 0, .start = ENDS[i].start, .step = ENDS[i].step, .count = ENDS[i].count, .reads = 1};
        if (ENDS[i].fine) {
            const uint8_t *counts = swept(&sweep);
            for (uint8_t level = 0; level < ENDS[i].count; level++) {
                assert_int_equal(counts[level], ENDS[i].start + level * ENDS[i].step >= 4000 ? 1 : 0);
            }
        } else {
            assert_int_equal(sweep_refused(sweep), 2);
        }
    }
}

static void an_armed_board_sweeps_only_briefly(void **state) {
    (void)state;
    struct msg_sweep sweep = {
        .comparator = 0, .start = 1000, .step = 1, .count = 9, .reads = 32, .approach = APPROACH_BELOW};
    fake_bring_to(STATE_ARMED, 4, 4, 3);
    (void)swept(&sweep); // 9 x 32 readings at 104 us: 29.952 ms
    sweep.count = 17;
    sweep.reads = 17; // 289 readings: 30.056 ms
    assert_int_equal(sweep_refused(sweep), 3);
    sweep.approach = APPROACH_ABOVE;
    assert_int_equal(sweep_refused(sweep), 3);
    sweep.approach = APPROACH_NONE;
    (void)swept(&sweep);
    sweep.count = 64;
    sweep.reads = 209; // 64 writes and 13376 readings: 29.952 ms
    (void)swept(&sweep);
    sweep.reads = 210;
    assert_int_equal(sweep_refused(sweep), 3);
    (void)fake_ok(MESSAGE_DISARM, NULL, 0);
    fake_stage(FAKE_THRESHOLDS);
    fake_commit();
    sweep.reads = 255;
    sweep.approach = APPROACH_ABOVE;
    const unsigned kicks = fake.kicks;
    (void)swept(&sweep);
    assert_true(fake.kicks >= kicks + 64); // the watchdog is fed meanwhile
}

static void a_dac_that_fails_in_the_middle_is_latched(void **state) {
    (void)state;
    // 31 levels, 3 readings, 2 writes each, less those that change nothing; and the last one, to dark.
    for (unsigned writes = 1; writes <= 187; writes += 31) {
        for (unsigned s = STATE_COMMITTED; s <= STATE_ARMED; s++) {
            (void)fake_setup(NULL);
            fake_bring_to((enum state)s, 4, 4, 3);
            fake.dac_dies_in = writes == 187 ? 186 : writes;
            assert_int_equal(
                fake_refused(MESSAGE_SWEEP, sweep_payload(&ACROSS), MSG_SWEEP_SIZE, ERROR_DAC_WRITE_FAILED),
                TEST_CHANNEL);
            assert_int_equal(fake.core.fault, FAULT_DAC_WRITE_FAILED);
            assert_int_equal(fake.core.fault_channel, TEST_CHANNEL);
            assert_true(fake.safe);
            assert_false(fake.core.stream.armed);
            assert_int_equal(fake_refused(MESSAGE_SWEEP, sweep_payload(&ACROSS), MSG_SWEEP_SIZE, ERROR_WRONG_STATE),
                             STATE_FAULTED);
            fake.dac_write_fails = 0;
            fake_clear(FAULT_DAC_WRITE_FAILED);
            assert_int_equal(fake.dac[TEST_CHANNEL], 0);
            fake_stage(FAKE_THRESHOLDS);
            fake_commit(); // every channel reads back as expected again
            assert_int_equal(swept(&ACROSS)[14], 0);
            assert_int_equal(swept(&ACROSS)[15], 3);
        }
    }
}

static void a_sweep_disturbs_neither_frames_nor_checks(void **state) {
    (void)state;
    fake_bring_to(STATE_ARMED, 60, 80, 3);
    for (uint32_t cell = 0; cell < 14400; cell++) {
        fake.cells[cell] = (uint16_t)(cell * 4u);
    }
    for (uint32_t i = 0; i < 20; i++) {
        uint8_t expected[7200] = {0};
        for (uint32_t cell = 0; cell < 14400; cell++) {
            unsigned code = 0;
            while (code < 15 && fake.cells[cell] >= FAKE_THRESHOLDS[code]) {
                code++;
            }
            expected[cell / 2] |= (uint8_t)(code << (4 * (cell % 2)));
        }
        fake_offer(i, 60, 80, 3);
        fake_credit(fake.core.stream.next, fake.core.stream.next); // not yet
        uint8_t credit[MSG_CREDIT_SIZE];
        put_u32(credit, fake.core.stream.next);
        put_u32(credit + 4, fake.core.stream.next + 1u);
        fake_frame(MESSAGE_CREDIT, 0, credit, sizeof credit);
        (void)core_poll(&fake.core);
        assert_true(fake.frame_held && fake.core.stream.cell > 0); // in the middle of a measurement
        (void)swept(&ACROSS);
        assert_int_equal(fake.measured, i + 1);
        assert_memory_equal(fake.core.stream.slots[i % CANOPIC_SLOTS].packed, expected, sizeof expected);
        fake_pass_ms(100); // all channels and comparators are checked
        assert_int_equal(fake.core.state, STATE_ARMED);
        fake.tx_size = 0;
        fake.tx_read = 0;
    }
    // Sweeps alone keep the board armed.
    for (int i = 0; i < 5; i++) {
        fake_pass_ms(1500);
        (void)swept(&ACROSS);
    }
    assert_int_equal(fake.core.state, STATE_ARMED);
}

static void checks_come_between_sweeps(void **state) {
    (void)state;
    fake_bring_to(STATE_ARMED, 4, 4, 3);
    for (uint16_t i = 0; i < 8; i++) {
        fake_frame(MESSAGE_SWEEP, (uint16_t)(100 + i), sweep_payload(&ACROSS), MSG_SWEEP_SIZE);
    }
    fake.drift[2] = 1000;
    fake.core.check_channel = 1;
    for (uint16_t i = 0; i < 2; i++) {
        fake.now_ms += 30;                          // what each of them may take
        assert_int_equal(core_poll(&fake.core), 0); // there is more to do
        assert_int_equal(fake.core.cache.sequence, 100 + i);
    }
    assert_int_equal(fake.core.fault, FAULT_READBACK_DRIFT); // found after the second sweep, not after all of them
    assert_int_equal(fake.core.fault_channel, 2);
}

static void a_repeated_sweep_is_not_carried_out_again(void **state) {
    (void)state;
    struct sent_frame frame;
    fake_bring_to(STATE_COMMITTED, 4, 4, 3);
    (void)swept(&ACROSS);
    fake.stuck_low = 0x7FFF; // carried out again, it would count nothing
    fake_frame(MESSAGE_SWEEP, fake.sequence, sweep_payload(&ACROSS), MSG_SWEEP_SIZE);
    fake_run();
    assert_true(fake_take(&frame));
    assert_int_equal(frame.payload[30], 3);
}

static const uint8_t *convert_payload(const struct msg_convert *convert) {
    static uint8_t payload[MSG_CONVERT_SIZE];
    msg_convert_pack(convert, payload);
    return payload;
}

static const uint8_t *converted(const struct msg_convert *convert) {
    static struct msg_convert_reply reply;
    const struct sent_frame frame = fake_ok(MESSAGE_CONVERT, convert_payload(convert), MSG_CONVERT_SIZE);
    msg_convert_reply_unpack(&reply, frame.payload);
    return reply.codes;
}

// Levels of every size; the first of them at, below and above thresholds.
static struct msg_convert some_levels(uint8_t count) {
    struct msg_convert convert = {.count = count};
    for (uint32_t i = 0; i < PROTOCOL_CONVERT_LEVELS_MAX; i++) {
        convert.levels[i] = (uint16_t)(i * 2654435761u >> 16);
    }
    const uint16_t first[6] = {0, 65535, FAKE_THRESHOLDS[6], FAKE_THRESHOLDS[6] - 1, FAKE_THRESHOLDS[14], 3999};
    memcpy(convert.levels, first, sizeof first);
    return convert;
}

static void levels_get_the_codes_of_cells(void **state) {
    (void)state;
    static const uint8_t COUNTS[] = {1, 2, 3, 239, 240};
    fake_bring_to(STATE_ARMED, 1, 240, 1);
    for (uint8_t i = 0; i < PROTOCOL_COMPARATORS; i++) {
        fake.offset[i] = 40 * i - 300; // codes depend on them, for cells and levels alike
    }
    for (size_t i = 0; i < sizeof COUNTS; i++) {
        const struct msg_convert convert = some_levels(COUNTS[i]);
        memset(fake.cells, 0, sizeof fake.cells);
        memcpy(fake.cells, convert.levels, COUNTS[i] * sizeof convert.levels[0]);
        fake_offer((uint32_t)i, 1, 240, 1);
        fake_credit((uint32_t)i, (uint32_t)i + 1u);
        const uint8_t *packed = fake.core.stream.slots[i % CANOPIC_SLOTS].packed;
        const unsigned kicks = fake.kicks;
        const uint8_t *codes = converted(&convert);
        assert_true(fake.kicks >= kicks + COUNTS[i]);
        assert_memory_equal(codes, packed, (COUNTS[i] + 1u) / 2u);
        for (size_t byte = (COUNTS[i] + 1u) / 2u; byte < PROTOCOL_CONVERT_LEVELS_MAX / 2u; byte++) {
            assert_int_equal(codes[byte], 0);
        }
        assert_int_equal(fake.dac[TEST_CHANNEL], 0);
        fake_pass_ms(100);
        assert_int_equal(fake.core.state, STATE_ARMED);
    }
    struct msg_convert wrong = {.count = 0};
    assert_int_equal(fake_refused(MESSAGE_CONVERT, convert_payload(&wrong), MSG_CONVERT_SIZE, ERROR_BAD_VALUE), 0);
    wrong.count = 241;
    assert_int_equal(fake_refused(MESSAGE_CONVERT, convert_payload(&wrong), MSG_CONVERT_SIZE, ERROR_BAD_VALUE), 0);
}

// Whether four of these levels stand one after the other anywhere in the core's memory.
static bool remembers(const struct msg_convert *convert) {
    uint8_t payload[MSG_CONVERT_SIZE];
    msg_convert_pack(convert, payload);
    const uint8_t *memory = (const uint8_t *)&fake.core;
    for (size_t level = 8; level + 4 <= convert->count; level++) {
        for (size_t at = 0; at + 8 <= sizeof fake.core; at++) {
            if (memory[at] == payload[1 + 2 * level] && memcmp(memory + at, payload + 1 + 2 * level, 8) == 0) {
                return true;
            }
        }
    }
    return false;
}

static void levels_are_forgotten(void **state) {
    (void)state;
    const struct msg_convert convert = some_levels(240);
    fake_bring_to(STATE_ARMED, 4, 4, 3);
    for (int repeat = 0; repeat < 2; repeat++) {
        // The second time it is a repetition, answered from the cache.
        struct sent_frame frame;
        fake_skip();
        fake_frame(MESSAGE_CONVERT, 500, convert_payload(&convert), MSG_CONVERT_SIZE);
        fake_run();
        assert_true(fake_take(&frame));
        assert_int_equal(frame.type, MESSAGE_CONVERT | PROTOCOL_REPLY_BIT);
        assert_false(remembers(&convert));
    }
    // With the next command right behind, which has come in with it and must not be lost.
    struct sent_frame frame;
    fake_frame(MESSAGE_CONVERT, 501, convert_payload(&convert), MSG_CONVERT_SIZE);
    fake_frame(MESSAGE_HEARTBEAT, 502, NULL, 0);
    fake_run();
    for (uint16_t sequence = 501; sequence <= 502; sequence++) {
        assert_true(fake_take(&frame));
        assert_int_equal(frame.sequence, sequence);
    }
    assert_false(remembers(&convert));
    // The search does find them where they are: a frame that is not complete yet.
    fake_frame(MESSAGE_CONVERT, 503, convert_payload(&convert), MSG_CONVERT_SIZE);
    fake.rx_size -= 10;
    for (int i = 0; i < 5; i++) {
        (void)core_poll(&fake.core);
    }
    assert_true(remembers(&convert));
}

static void a_conversion_that_meets_a_defect_blinds(void **state) {
    (void)state;
    const struct msg_convert convert = some_levels(240);
    fake_bring_to(STATE_ARMED, 4, 4, 3);
    fake.stuck_low = 1u << 3;
    (void)fake_refused(MESSAGE_CONVERT, convert_payload(&convert), MSG_CONVERT_SIZE, ERROR_WRONG_STATE);
    assert_int_equal(fake.core.fault, FAULT_COMPARATOR_STUCK);
    assert_int_equal(fake.core.fault_channel, 3);
    assert_true(fake.safe);
    fake.stuck_low = 0;
    fake_clear(FAULT_COMPARATOR_STUCK);
    fake_stage(FAKE_THRESHOLDS);
    fake_commit();
    (void)fake_ok(MESSAGE_ARM, fake_arm_payload(4, 4, 3, 32), MSG_ARM_SIZE);
    fake.dac_dies_in = 100;
    assert_int_equal(fake_refused(MESSAGE_CONVERT, convert_payload(&convert), MSG_CONVERT_SIZE, ERROR_DAC_WRITE_FAILED),
                     TEST_CHANNEL);
    assert_int_equal(fake.core.fault, FAULT_DAC_WRITE_FAILED);
    fake.dac_write_fails = 0;
    fake_clear(FAULT_DAC_WRITE_FAILED);
    fake_stage(FAKE_THRESHOLDS);
    fake_commit();
    (void)fake_ok(MESSAGE_ARM, fake_arm_payload(4, 4, 3, 32), MSG_ARM_SIZE);
    assert_int_equal(converted(&convert)[0], 0xF0); // 0 and 65535
}

static void a_conversion_leaves_the_suspicions_of_a_measurement_alone(void **state) {
    (void)state;
    const struct msg_convert convert = some_levels(240);
    fake_bring_to(STATE_ARMED, 60, 80, 3);
    fake_offer(0, 60, 80, 3);
    uint8_t credit[MSG_CREDIT_SIZE] = {0};
    put_u32(credit + 4, 1);
    fake_frame(MESSAGE_CREDIT, 0, credit, sizeof credit);
    (void)core_poll(&fake.core);
    assert_true(fake.frame_held);
    fake.core.stream.consistency.suspected[5] = 7;
    fake_frame(MESSAGE_CONVERT, 77, convert_payload(&convert), MSG_CONVERT_SIZE);
    (void)core_poll(&fake.core);
    (void)core_poll(&fake.core);
    (void)core_poll(&fake.core);
    assert_int_equal(fake.core.cache.sequence, 77);
    assert_int_equal(fake.core.stream.consistency.suspected[5], 7);
    assert_true(fake.frame_held);
    fake_run();
    assert_int_equal(fake.measured, 1);
}

int bench_suite(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(a_sweep_finds_the_threshold, fake_setup),
        cmocka_unit_test_setup(hysteresis_shows_from_either_side, fake_setup),
        cmocka_unit_test_setup(fields_out_of_range_are_refused, fake_setup),
        cmocka_unit_test_setup(levels_do_not_wrap, fake_setup),
        cmocka_unit_test_setup(an_armed_board_sweeps_only_briefly, fake_setup),
        cmocka_unit_test_setup(a_dac_that_fails_in_the_middle_is_latched, fake_setup),
        cmocka_unit_test_setup(a_sweep_disturbs_neither_frames_nor_checks, fake_setup),
        cmocka_unit_test_setup(checks_come_between_sweeps, fake_setup),
        cmocka_unit_test_setup(a_repeated_sweep_is_not_carried_out_again, fake_setup),
        cmocka_unit_test_setup(levels_get_the_codes_of_cells, fake_setup),
        cmocka_unit_test_setup(levels_are_forgotten, fake_setup),
        cmocka_unit_test_setup(a_conversion_that_meets_a_defect_blinds, fake_setup),
        cmocka_unit_test_setup(a_conversion_leaves_the_suspicions_of_a_measurement_alone, fake_setup),
    };
    return cmocka_run_group_tests_name("bench", tests, NULL, NULL);
}
