// Safety: every fault is injected, must blind the board within its time, and must be cleared before the board sees
// again.
#include "bytes.h"
#include "fake_board.h"
#include "safety.h"
#include "suites.h"

// Nothing of the sensor can be seen: safe table, isolated, not armed.
static void assert_blind(void) {
    assert_true(fake.safe);
    for (uint8_t i = 0; i < PROTOCOL_COMPARATORS; i++) {
        if (!bit_is_set(fake.dac_write_fails, i)) {
            assert_int_equal(fake.dac[i], PROTOCOL_DAC_FULL_SCALE);
        }
    }
    assert_false(fake.core.stream.armed);
}

// Keeps the heartbeat alive and new frames coming for a time, acknowledging everything.
static void live_ms(uint32_t ms) {
    for (uint32_t i = 0; i < ms; i++) {
        if (!fake.frame_waits && !fake.frame_held) {
            fake_offer(fake.info.frame + 1u, fake.core.stream.geometry.rows, fake.core.stream.geometry.columns,
                       fake.core.stream.geometry.channels);
        }
        fake_credit(fake.core.stream.next, fake.core.stream.next + CANOPIC_SLOTS);
        fake_pass_ms(1);
    }
}

// Waits for the fault; it must come within the time. Then the board must be blind and stay so until it is cleared.
static void expect_fault(enum fault fault, uint8_t channel, uint32_t within_ms) {
    struct msg_fault_notice notice;
    struct sent_frame frame = {0};
    fake_skip();
    for (uint32_t i = 0; i < within_ms && fake.core.state == STATE_ARMED; i++) {
        live_ms(1);
    }
    assert_int_equal(fake.core.state, STATE_FAULTED);
    assert_int_equal(fake.core.fault, fault);
    assert_int_equal(fake.core.fault_channel, channel);
    assert_blind();
    while (fake_take(&frame) && frame.type != MESSAGE_FAULT_NOTICE) {
    }
    assert_int_equal(frame.type, MESSAGE_FAULT_NOTICE);
    msg_fault_notice_unpack(&notice, frame.payload);
    assert_int_equal(notice.fault, fault);
    assert_int_equal(notice.channel, channel);
    assert_int_equal(notice.state, STATE_FAULTED);
    const unsigned measured = fake.measured;
    fake_offer(99, 4, 4, 3);
    fake_credit(0, 100);
    fake_pass_ms(100);
    assert_int_equal(fake.measured, measured);
    assert_int_equal(fake_refused(MESSAGE_ARM, fake_arm_payload(4, 4, 3, 32), MSG_ARM_SIZE, ERROR_WRONG_STATE),
                     STATE_FAULTED);
}

// After every fault the board must work again.
static void expect_recovery(enum fault fault) {
    fake_clear(fault);
    fake_stage(FAKE_THRESHOLDS);
    fake_commit();
    (void)fake_ok(MESSAGE_ARM, fake_arm_payload(4, 4, 3, 32), MSG_ARM_SIZE);
    const unsigned measured = fake.measured;
    live_ms(300);
    assert_int_equal(fake.core.state, STATE_ARMED);
    assert_true(fake.measured > measured + 200);
}

static void the_board_starts_blind(void **state) {
    (void)state;
    assert_int_equal(fake.core.state, STATE_SAFE);
    assert_blind();
    fake_pass_ms(5000); // and needs no heartbeat for that
    assert_int_equal(fake.core.state, STATE_SAFE);
    assert_true(fake.kicks > 1000);
}

static void a_dac_that_fails_at_the_start_is_latched(void **state) {
    (void)state;
    const struct board_identity identity = {.serial = "X", .boot_id = 1, .hardware = HARDWARE_ANALOG};
    fake.dac_write_fails = 1u << 4;
    core_init(&fake.core, &fake.hal, &identity);
    assert_int_equal(fake.core.fault, FAULT_DAC_WRITE_FAILED);
    assert_int_equal(fake.core.fault_channel, 4);
    fake.dac_write_fails = 0;
    fake_hello();
    expect_recovery(FAULT_DAC_WRITE_FAILED);
}

static void heartbeat_lost(void **state) {
    (void)state;
    fake_bring_to(STATE_ARMED, 4, 4, 3);
    fake_pass_ms(1900);
    (void)fake_ok(MESSAGE_HEARTBEAT, NULL, 0); // a command feeds it
    fake_pass_ms(1900);
    fake_credit(0, 0); // a notice too
    fake_pass_ms(1900);
    assert_int_equal(fake.core.state, STATE_ARMED);
    fake_frame(MESSAGE_STATUS, 1, (const uint8_t[2]){0}, 2); // a refused command does not
    fake_frame(0x7E, 1, NULL, 0);
    fake_bytes((const uint8_t[]){1, 2, 3, 0}, 4);
    fake_pass_ms(100);
    assert_int_equal(fake.core.state, STATE_FAULTED);
    assert_int_equal(fake.core.fault, FAULT_HEARTBEAT_LOST);
    assert_blind();
    fake_pass_ms(10000);
    assert_int_equal(fake.core.fault, FAULT_HEARTBEAT_LOST);
    expect_recovery(FAULT_HEARTBEAT_LOST);
}

static void readback_drift(void **state) {
    (void)state;
    for (uint8_t channel = 0; channel < PROTOCOL_DAC_CHANNELS; channel++) {
        (void)fake_setup(NULL);
        fake_bring_to(STATE_ARMED, 4, 4, 3);
        fake.drift[channel] = (int)PROTOCOL_READBACK_TOLERANCE; // tolerated; the test cell rests at 0
        live_ms(300);
        assert_int_equal(fake.core.state, STATE_ARMED);
        fake.drift[channel] = (int)PROTOCOL_READBACK_TOLERANCE + 1;
        expect_fault(FAULT_READBACK_DRIFT, channel, 200);
        assert_int_equal(fake_clear_refused(FAULT_READBACK_DRIFT, ERROR_FAULT_PERSISTS), channel);
        assert_int_equal(fake_clear_refused(FAULT_BROWN_OUT, ERROR_FAULT_NOT_LATCHED), FAULT_READBACK_DRIFT);
        fake.drift[channel] = 0;
        expect_recovery(FAULT_READBACK_DRIFT);
    }
}

static void a_large_drift_is_not_called_a_stuck_comparator(void **state) {
    (void)state;
    fake_bring_to(STATE_ARMED, 4, 4, 3);
    live_ms(3);
    fake.drift[0] = 8000; // its comparator is probed before its channel is read back
    fake.core.check_channel = 9;
    fake.core.check_comparator = 0;
    expect_fault(FAULT_READBACK_DRIFT, 0, 200);
    fake.drift[0] = 0;
    expect_recovery(FAULT_READBACK_DRIFT);
}

static void a_glitch_on_the_bus_is_no_drift(void **state) {
    (void)state;
    fake_bring_to(STATE_ARMED, 4, 4, 3);
    for (int i = 0; i < 20; i++) {
        fake.dac_glitches = 2;
        live_ms(20);
    }
    assert_int_equal(fake.core.state, STATE_ARMED);
}

static void a_comparator_has_three_tries(void **state) {
    (void)state;
    fake_bring_to(STATE_ARMED, 4, 4, 3);
    for (int i = 0; i < 20; i++) {
        fake.comparator_glitches = 2;
        live_ms(20);
        assert_int_equal(fake.comparator_glitches, 0);
    }
    assert_int_equal(fake.core.state, STATE_ARMED);
    fake.comparator_glitches = 3;
    live_ms(20);
    assert_int_equal(fake.core.fault, FAULT_COMPARATOR_STUCK);
    expect_recovery(FAULT_COMPARATOR_STUCK);
}

static void a_dac_that_does_not_answer(void **state) {
    (void)state;
    fake_bring_to(STATE_ARMED, 4, 4, 3);
    fake.dac_read_fails = 1u << 9;
    expect_fault(FAULT_DAC_WRITE_FAILED, 9, 200);
    assert_int_equal(fake_clear_refused(FAULT_DAC_WRITE_FAILED, ERROR_FAULT_PERSISTS), 9);
    fake.dac_read_fails = 0;
    expect_recovery(FAULT_DAC_WRITE_FAILED);
    fake.dac_write_fails = 1u << TEST_CHANNEL;
    expect_fault(FAULT_DAC_WRITE_FAILED, TEST_CHANNEL, 200);
    fake.dac_write_fails = 0;
    expect_recovery(FAULT_DAC_WRITE_FAILED);
    // Only the safe table fails while the fault is being cleared: it is not cleared.
    fake.supply_millivolts = 2000;
    expect_fault(FAULT_BROWN_OUT, PROTOCOL_NO_CHANNEL, 200);
    fake.supply_millivolts = 3300;
    fake.dac_write_fails = 1u << 1;
    assert_int_equal(fake_clear_refused(FAULT_BROWN_OUT, ERROR_FAULT_PERSISTS), 1);
    fake.dac_write_fails = 0;
    expect_recovery(FAULT_BROWN_OUT);
}

static void stuck_comparators_are_found_whatever_the_scene(void **state) {
    (void)state;
    for (unsigned scene = 0; scene < 2; scene++) { // all dark, all bright: the cells themselves show nothing
        for (uint8_t i = 0; i < PROTOCOL_COMPARATORS; i++) {
            for (unsigned high = 0; high < 2; high++) {
                (void)fake_setup(NULL);
                for (size_t cell = 0; cell < 48; cell++) {
                    fake.cells[cell] = scene == 0 ? 0 : 65535;
                }
                fake_bring_to(STATE_ARMED, 4, 4, 3);
                live_ms(50);
                *(high != 0 ? &fake.stuck_high : &fake.stuck_low) = (uint16_t)(1u << i);
                expect_fault(FAULT_COMPARATOR_STUCK, i, 200);
                assert_int_equal(fake_clear_refused(FAULT_COMPARATOR_STUCK, ERROR_FAULT_PERSISTS), i);
                fake.stuck_high = 0;
                fake.stuck_low = 0;
                expect_recovery(FAULT_COMPARATOR_STUCK);
            }
        }
    }
}

static void a_stuck_comparator_spoils_no_measurement(void **state) {
    (void)state;
    // The scene gives it away in the very measurement in which it begins: that measurement is not sent.
    for (unsigned high = 0; high < 2; high++) {
        struct sent_frame frame;
        (void)fake_setup(NULL);
        for (size_t cell = 0; cell < 48 * 80 * 3; cell++) {
            fake.cells[cell] = (uint16_t)(cell % 2 == 0 ? 2000 : 62000);
        }
        fake_bring_to(STATE_ARMED, 48, 80, 3);
        fake_skip();
        *(high != 0 ? &fake.stuck_high : &fake.stuck_low) = 1u << 7;
        fake_offer(0, 48, 80, 3);
        fake_credit(0, 4);
        assert_int_equal(fake.core.fault, FAULT_COMPARATOR_STUCK);
        assert_int_equal(fake.core.fault_channel, 7);
        assert_int_equal(fake.abandoned, 1);
        assert_blind();
        while (fake_take(&frame)) {
            assert_int_not_equal(frame.type, MESSAGE_MEASUREMENT);
        }
    }
}

static void realistic_comparators_never_trip(void **state) {
    (void)state;
    // Offsets of +-50 mV, noise of +-15 mV, duplicate and extreme thresholds, every voltage: an hour in fast motion.
    static const uint16_t TABLES[3][PROTOCOL_COMPARATORS] = {
        {0, 0, 1, 500, 500, 500, 501, 9000, 30000, 30000, 30001, 65000, 65535, 65535, 65535},
        {20000, 20000, 20000, 20000, 20000, 20000, 20000, 40000, 40000, 40000, 40000, 40000, 40000, 40000, 40000},
        {3900, 4300, 8200, 12300, 16400, 20500, 24600, 28700, 32800, 36900, 41000, 45100, 49200, 53300, 57400},
    };
    for (size_t table = 0; table < 3; table++) {
        (void)fake_setup(NULL);
        for (uint8_t i = 0; i < PROTOCOL_COMPARATORS; i++) {
            fake.offset[i] = i % 2 == 0 ? 1310 : -1310;
        }
        fake.noise = 393;
        for (uint32_t cell = 0; cell < 14400; cell++) {
            fake.cells[cell] = (uint16_t)(cell * 65535u / 14400u);
        }
        fake_hello();
        fake_stage(TABLES[table]);
        fake_commit();
        (void)fake_ok(MESSAGE_ARM, fake_arm_payload(60, 80, 3, 240), MSG_ARM_SIZE);
        for (int i = 0; i < 200 && fake.core.state == STATE_ARMED; i++) {
            live_ms(1);
            fake.tx_size = 0;
            fake.tx_read = 0;
        }
        assert_int_equal(fake.core.state, STATE_ARMED);
        assert_true(fake.measured >= 199);
    }
}

static void brown_out(void **state) {
    (void)state;
    fake_bring_to(STATE_ARMED, 4, 4, 3);
    fake.supply_millivolts = 3000;
    live_ms(100);
    assert_int_equal(fake.core.state, STATE_ARMED);
    fake.supply_millivolts = 2999;
    expect_fault(FAULT_BROWN_OUT, PROTOCOL_NO_CHANNEL, 50);
    fake.supply_millivolts = 3099; // above the limit, but not recovered
    assert_int_equal(fake_clear_refused(FAULT_BROWN_OUT, ERROR_FAULT_PERSISTS), PROTOCOL_NO_CHANNEL);
    fake.supply_millivolts = 3100;
    expect_recovery(FAULT_BROWN_OUT);
    // One low reading is a glitch.
    live_ms(4);
    fake.supply_millivolts = 100;
    live_ms(1);
    fake.supply_millivolts = 3300;
    live_ms(100);
    assert_int_equal(fake.core.state, STATE_ARMED);
    // It is watched in every state.
    for (unsigned s = STATE_SAFE; s <= STATE_COMMITTED; s++) {
        (void)fake_setup(NULL);
        fake_bring_to((enum state)s, 4, 4, 3);
        fake.supply_millivolts = 1000;
        fake_pass_ms(200);
        assert_int_equal(fake.core.fault, FAULT_BROWN_OUT);
        fake.supply_millivolts = 3300;
        expect_recovery(FAULT_BROWN_OUT);
    }
}

static void the_first_fault_stays(void **state) {
    (void)state;
    fake_bring_to(STATE_ARMED, 4, 4, 3);
    fake.stuck_low = 1u << 3;
    expect_fault(FAULT_COMPARATOR_STUCK, 3, 200);
    fake.supply_millivolts = 100;
    fake.drift[2] = 5000;
    fake_pass_ms(1000);
    assert_int_equal(fake.core.fault, FAULT_COMPARATOR_STUCK);
    (void)fake_ok(MESSAGE_DISARM, NULL, 0); // disarming clears nothing
    assert_int_equal(fake.core.fault, FAULT_COMPARATOR_STUCK);
    assert_int_equal(fake.core.state, STATE_FAULTED);
    (void)fake_ok(MESSAGE_SELF_TEST, NULL, 0);
    assert_int_equal(fake.core.state, STATE_FAULTED);
    assert_blind();
    fake.stuck_low = 0;
    fake.supply_millivolts = 3300;
    fake.drift[2] = 0;
    expect_recovery(FAULT_COMPARATOR_STUCK);
}

static void a_fault_is_announced_twice_a_second(void **state) {
    (void)state;
    struct sent_frame frame;
    fake_bring_to(STATE_FAULTED, 4, 4, 3);
    fake_skip();
    fake_pass_ms(5000);
    unsigned notices = 0;
    uint16_t sequence = 0;
    while (fake_take(&frame)) {
        assert_int_equal(frame.type, MESSAGE_FAULT_NOTICE);
        assert_true(notices == 0 || frame.sequence == (uint16_t)(sequence + 1));
        sequence = frame.sequence;
        notices++;
    }
    assert_in_range(notices, 9, 11);
    fake_clear(FAULT_BROWN_OUT);
    fake_skip();
    fake_pass_ms(2000);
    assert_false(fake_take(&frame));
}

static void nothing_is_sent_after_a_fault(void **state) {
    (void)state;
    // Whole measurements wait in their slots, one is half measured, one chunk is half sent.
    struct sent_frame frame;
    fake_bring_to(STATE_ARMED, 60, 80, 3);
    fake.tx_room = 0;
    fake_offer(0, 60, 80, 3);
    fake_credit(0, 4);
    assert_int_equal(fake.measured, 1);
    fake.tx_room = 20;
    fake_run();
    fake_offer(1, 60, 80, 3);
    (void)core_poll(&fake.core); // begins the next measurement
    assert_true(fake.frame_held);
    const size_t sent = fake.tx_size;
    safety_latch(&fake.core, FAULT_BROWN_OUT, PROTOCOL_NO_CHANNEL);
    assert_int_equal(fake.abandoned, 1);
    assert_true(fake.frame_waits);
    fake.tx_room = SIZE_MAX;
    fake_run();
    assert_int_equal(fake.tx[sent], 0); // the cut chunk ends at once
    while (fake_take(&frame)) {
        assert_int_not_equal(frame.type, MESSAGE_MEASUREMENT);
    }
    assert_int_equal(fake.tx_broken, 1); // that chunk, and nothing else
}

int safety_suite(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(the_board_starts_blind, fake_setup),
        cmocka_unit_test_setup(a_dac_that_fails_at_the_start_is_latched, fake_setup),
        cmocka_unit_test_setup(heartbeat_lost, fake_setup),
        cmocka_unit_test_setup(readback_drift, fake_setup),
        cmocka_unit_test_setup(a_large_drift_is_not_called_a_stuck_comparator, fake_setup),
        cmocka_unit_test_setup(a_glitch_on_the_bus_is_no_drift, fake_setup),
        cmocka_unit_test_setup(a_comparator_has_three_tries, fake_setup),
        cmocka_unit_test_setup(a_dac_that_does_not_answer, fake_setup),
        cmocka_unit_test_setup(stuck_comparators_are_found_whatever_the_scene, fake_setup),
        cmocka_unit_test_setup(a_stuck_comparator_spoils_no_measurement, fake_setup),
        cmocka_unit_test_setup(realistic_comparators_never_trip, fake_setup),
        cmocka_unit_test_setup(brown_out, fake_setup),
        cmocka_unit_test_setup(the_first_fault_stays, fake_setup),
        cmocka_unit_test_setup(a_fault_is_announced_twice_a_second, fake_setup),
        cmocka_unit_test_setup(nothing_is_sent_after_a_fault, fake_setup),
    };
    return cmocka_run_group_tests_name("safety", tests, NULL, NULL);
}
