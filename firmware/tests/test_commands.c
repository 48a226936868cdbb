// Commands: what each one does, what it refuses and why.
#include "bytes.h"
#include "crc.h"
#include "fake_board.h"
#include "suites.h"

static void thresholds_are_staged_committed_and_read(void **state) {
    (void)state;
    fake_bring_to(STATE_COMMITTED, 4, 4, 3);
    assert_memory_equal(fake.dac, FAKE_THRESHOLDS, sizeof FAKE_THRESHOLDS);
    assert_int_equal(fake.dac[TEST_CHANNEL], 0);
    assert_true(fake.safe); // until armed
    struct msg_read_thresholds_reply reply;
    fake.dac[3] = 12345;
    const struct sent_frame frame = fake_ok(MESSAGE_READ_THRESHOLDS, NULL, 0);
    msg_read_thresholds_reply_unpack(&reply, frame.payload);
    assert_int_equal(reply.readback[3], 12345); // as it is now
    assert_int_equal(reply.crc32, thresholds_crc(fake.dac, NO_TRIMS));
    fake.dac_read_fails = 1u << 5;
    assert_int_equal(fake_refused(MESSAGE_READ_THRESHOLDS, NULL, 0, ERROR_DAC_WRITE_FAILED), 5);
}

static void descending_thresholds_are_refused(void **state) {
    (void)state;
    struct msg_stage_thresholds stage = {.encoding_id = {7}};
    uint8_t payload[MSG_STAGE_THRESHOLDS_SIZE];
    fake_bring_to(STATE_COMMITTED, 4, 4, 3);
    memcpy(stage.dac_codes, FAKE_THRESHOLDS, sizeof stage.dac_codes);
    stage.dac_codes[9] = (uint16_t)(stage.dac_codes[8] - 1u);
    msg_stage_thresholds_pack(&stage, payload);
    assert_int_equal(fake_refused(MESSAGE_STAGE_THRESHOLDS, payload, sizeof payload, ERROR_BAD_VALUE), 9);
    // What was committed before is gone all the same: the host meant to replace it.
    assert_int_equal(fake.core.state, STATE_SAFE);
    assert_int_equal(fake.dac[0], PROTOCOL_DAC_FULL_SCALE);
    stage.dac_codes[9] = stage.dac_codes[8]; // equal is fine
    for (uint8_t i = 10; i < PROTOCOL_COMPARATORS; i++) {
        stage.dac_codes[i] = 0xFFFF;
    }
    msg_stage_thresholds_pack(&stage, payload);
    (void)fake_ok(MESSAGE_STAGE_THRESHOLDS, payload, sizeof payload);
    fake_commit();
}

static void commit_needs_every_channel(void **state) {
    (void)state;
    for (uint8_t channel = 0; channel < PROTOCOL_DAC_CHANNELS; channel++) {
        uint8_t payload[MSG_COMMIT_SIZE];
        (void)fake_setup(NULL);
        fake_bring_to(STATE_STAGED, 4, 4, 3);
        put_u32(payload, fake.core.thresholds.crc);
        fake.drift[channel] = 1; // a single count
        assert_int_equal(fake_refused(MESSAGE_COMMIT, payload, sizeof payload, ERROR_DAC_MISMATCH), channel);
        assert_int_equal(fake.core.state, STATE_SAFE);
        fake.drift[channel] = 0;
        fake_stage(FAKE_THRESHOLDS);
        fake_commit();
        // A single bad transfer on the bus is looked at again.
        fake_stage(FAKE_THRESHOLDS);
        fake.dac_glitches = 2;
        fake_commit();
        // A DAC that does not answer is a fault.
        fake_stage(FAKE_THRESHOLDS);
        fake.dac_write_fails = (uint16_t)(1u << channel);
        assert_int_equal(fake_refused(MESSAGE_COMMIT, payload, sizeof payload, ERROR_DAC_WRITE_FAILED), channel);
        assert_int_equal(fake.core.fault, FAULT_DAC_WRITE_FAILED);
        assert_int_equal(fake_clear_refused(FAULT_DAC_WRITE_FAILED, ERROR_FAULT_PERSISTS), channel);
        fake.dac_write_fails = 0;
        fake_clear(FAULT_DAC_WRITE_FAILED);
    }
}

static void arm_checks_everything(void **state) {
    (void)state;
    fake_bring_to(STATE_COMMITTED, 4, 4, 3);
    uint8_t *payload = fake_arm_payload(4, 4, 3, 32);
    payload[0] ^= 1;
    (void)fake_refused(MESSAGE_ARM, payload, MSG_ARM_SIZE, ERROR_ENCODING_MISMATCH);
    payload = fake_arm_payload(4, 4, 3, 32);
    payload[16] ^= 1;
    (void)fake_refused(MESSAGE_ARM, payload, MSG_ARM_SIZE, ERROR_CRC_MISMATCH);
    (void)fake_refused(MESSAGE_ARM, fake_arm_payload(4, 4, 3, 31), MSG_ARM_SIZE, ERROR_BAD_VALUE);
    (void)fake_refused(MESSAGE_ARM, fake_arm_payload(4, 4, 3, 241), MSG_ARM_SIZE, ERROR_BAD_VALUE);
    (void)fake_refused(MESSAGE_ARM, fake_arm_payload(0, 4, 3, 32), MSG_ARM_SIZE, ERROR_BAD_GEOMETRY);
    (void)fake_refused(MESSAGE_ARM, fake_arm_payload(4, 4, 0, 32), MSG_ARM_SIZE, ERROR_BAD_GEOMETRY);
    (void)fake_refused(MESSAGE_ARM, fake_arm_payload(0xFFFF, 0xFFFF, 255, 32), MSG_ARM_SIZE, ERROR_BAD_GEOMETRY);
    (void)fake_refused(MESSAGE_ARM, fake_arm_payload(65535, 65535, 1, 32), MSG_ARM_SIZE, ERROR_BAD_GEOMETRY);
    assert_int_equal(fake_refused(MESSAGE_ARM, fake_arm_payload(64, 256, 1, 32), MSG_ARM_SIZE, ERROR_BAD_GEOMETRY),
                     256);
    assert_int_equal(CANOPIC_MAX_CELLS, 64 * 256);
    (void)fake_refused(MESSAGE_ARM, fake_arm_payload(64, 257, 1, 240), MSG_ARM_SIZE, ERROR_BAD_GEOMETRY);
    fake.supply_millivolts = 3099;
    assert_int_equal(fake_refused(MESSAGE_ARM, fake_arm_payload(4, 4, 3, 32), MSG_ARM_SIZE, ERROR_SUPPLY_LOW), 3099);
    fake.supply_millivolts = 3100;
    assert_int_equal(fake.core.state, STATE_COMMITTED);
    fake.drift[7] = -2;
    assert_int_equal(fake_refused(MESSAGE_ARM, fake_arm_payload(4, 4, 3, 32), MSG_ARM_SIZE, ERROR_DAC_MISMATCH), 7);
    assert_int_equal(fake.core.fault, FAULT_READBACK_DRIFT);
    assert_int_equal(fake.core.fault_channel, 7);
    assert_true(fake.safe);
    fake.drift[7] = 0;
    fake_clear(FAULT_READBACK_DRIFT);
    fake_stage(FAKE_THRESHOLDS);
    fake_commit();
    (void)fake_ok(MESSAGE_ARM, fake_arm_payload(64, 255, 1, 32), MSG_ARM_SIZE); // exactly 255 chunks
    assert_false(fake.safe);
}

static void chunks_can_change_while_armed(void **state) {
    (void)state;
    const uint8_t bad[1] = {31};
    const uint8_t small[1] = {32};
    const uint8_t large[1] = {240};
    fake_bring_to(STATE_COMMITTED, 4, 4, 3);
    (void)fake_ok(MESSAGE_ARM, fake_arm_payload(64, 256, 1, 240), MSG_ARM_SIZE);
    (void)fake_refused(MESSAGE_SET_CHUNK, bad, 1, ERROR_BAD_VALUE);
    assert_int_equal(fake_refused(MESSAGE_SET_CHUNK, small, 1, ERROR_BAD_GEOMETRY), 256);
    (void)fake_ok(MESSAGE_DISARM, NULL, 0);
    fake_stage(FAKE_THRESHOLDS);
    fake_commit();
    (void)fake_ok(MESSAGE_ARM, fake_arm_payload(10, 10, 3, 240), MSG_ARM_SIZE);
    fake_offer(0, 10, 10, 3);
    fake_credit(0, 1);
    (void)fake_ok(MESSAGE_SET_CHUNK, small, 1);
    fake_offer(1, 10, 10, 3);
    fake_credit(0, 2);
    (void)fake_ok(MESSAGE_SET_CHUNK, large, 1);
    assert_int_equal(fake.core.stream.slots[0].chunks, 2); // header and 150 bytes
    assert_int_equal(fake.core.stream.slots[1].chunks, 6); // header and 150 bytes in pieces of 32
}

static void exposure_goes_to_the_sensor(void **state) {
    (void)state;
    const struct msg_set_exposure exposure = {.exposure_us = 12345, .gain_milli = 2500};
    uint8_t payload[MSG_SET_EXPOSURE_SIZE];
    msg_set_exposure_pack(&exposure, payload);
    fake_hello();
    (void)fake_ok(MESSAGE_SET_EXPOSURE, payload, sizeof payload);
    assert_int_equal(fake.exposure_us, 12345);
    assert_int_equal(fake.gain_milli, 2500);
    fake.exposure_refused = true;
    (void)fake_refused(MESSAGE_SET_EXPOSURE, payload, sizeof payload, ERROR_NOT_APPLIED);
}

static void self_test_finds_what_is_broken(void **state) {
    (void)state;
    struct msg_self_test_reply reply;
    fake_bring_to(STATE_COMMITTED, 4, 4, 3);
    struct sent_frame frame = fake_ok(MESSAGE_SELF_TEST, NULL, 0);
    msg_self_test_reply_unpack(&reply, frame.payload);
    assert_int_equal(reply.dac_ok, 0xFFFF);
    assert_int_equal(reply.comparators_ok, 0x7FFF);
    assert_int_equal(reply.supply_millivolts, 3300);
    assert_int_equal(fake.core.state, STATE_STAGED); // to be committed again
    for (uint8_t i = 0; i < PROTOCOL_COMPARATORS; i++) {
        assert_int_equal(fake.dac[i], PROTOCOL_DAC_FULL_SCALE);
    }
    fake_commit();
    fake.stuck_high = 1u << 2;
    fake.stuck_low = 1u << 14;
    fake.offset[6] = 3000; // 114 mV
    fake.offset[7] = -1500;
    fake.drift[10] = 5;
    fake.dac_write_fails = 1u << 12;
    frame = fake_ok(MESSAGE_SELF_TEST, NULL, 0);
    msg_self_test_reply_unpack(&reply, frame.payload);
    assert_int_equal(reply.dac_ok, 0xFFFF & ~((1u << 10) | (1u << 12)));
    // The DAC channel that takes no writes leaves its comparator at a threshold that is not the one to be tested.
    assert_int_equal(reply.comparators_ok & ~(1u << 12), 0x7FFF & ~((1u << 2) | (1u << 14) | (1u << 6) | (1u << 12)));
}

static void disarm_forgets(void **state) {
    (void)state;
    struct msg_status_reply status;
    fake_bring_to(STATE_ARMED, 4, 4, 3);
    (void)fake_ok(MESSAGE_DISARM, NULL, 0);
    assert_int_equal(fake.core.state, STATE_SAFE);
    assert_true(fake.safe);
    const struct sent_frame reply = fake_ok(MESSAGE_STATUS, NULL, 0);
    msg_status_reply_unpack(&status, reply.payload);
    const uint8_t none[16] = {0};
    assert_memory_equal(status.encoding_id, none, sizeof none);
    assert_int_equal(status.thresholds_crc, 0);
    assert_int_equal(fake_refused(MESSAGE_ARM, fake_arm_payload(4, 4, 3, 32), MSG_ARM_SIZE, ERROR_WRONG_STATE),
                     STATE_SAFE);
}

static void reset_answers_then_restarts(void **state) {
    (void)state;
    fake_bring_to(STATE_ARMED, 4, 4, 3);
    fake.tx_room = 0;
    fake_frame(MESSAGE_RESET, 1, NULL, 0);
    fake_run();
    assert_true(fake.safe);
    assert_int_equal(fake.reboots, 0); // the reply is not out yet
    fake.tx_room = SIZE_MAX;
    fake_run();
    assert_int_equal(fake.reboots, 1);
    const unsigned kicks = fake.kicks;
    fake_frame(MESSAGE_STATUS, 2, NULL, 0);
    assert_int_not_equal(core_poll(&fake.core), 0);
    assert_int_equal(fake.kicks, kicks); // and nothing more happens: not even the watchdog is fed
    // A host that never reads does not keep the board from restarting.
    (void)fake_setup(NULL);
    fake.tx_room = 0;
    fake_frame(MESSAGE_RESET, 1, NULL, 0);
    fake_pass_ms(150);
    assert_int_equal(fake.reboots, 1);
}

int commands_suite(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(thresholds_are_staged_committed_and_read, fake_setup),
        cmocka_unit_test_setup(descending_thresholds_are_refused, fake_setup),
        cmocka_unit_test_setup(commit_needs_every_channel, fake_setup),
        cmocka_unit_test_setup(arm_checks_everything, fake_setup),
        cmocka_unit_test_setup(chunks_can_change_while_armed, fake_setup),
        cmocka_unit_test_setup(exposure_goes_to_the_sensor, fake_setup),
        cmocka_unit_test_setup(self_test_finds_what_is_broken, fake_setup),
        cmocka_unit_test_setup(disarm_forgets, fake_setup),
        cmocka_unit_test_setup(reset_answers_then_restarts, fake_setup),
    };
    return cmocka_run_group_tests_name("commands", tests, NULL, NULL);
}
