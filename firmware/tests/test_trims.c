// Trims: what is staged, written, read back and verified, and where comparators are then expected to switch.
#include "bytes.h"
#include "crc.h"
#include "fake_board.h"
#include "suites.h"

// Offsets that trims of the same size cancel: input + offset >= wanted + trim.
static const int16_t TRIMS[PROTOCOL_COMPARATORS] = {1311, -1311, 0,   700, -900, 1,     -1, 1000,
                                                    -600, 250,   -30, 900, 1200, -1200, 45};

static void give_offsets(const int16_t *trims) {
    for (uint8_t i = 0; i < PROTOCOL_COMPARATORS; i++) {
        fake.offset[i] = trims[i];
    }
}

static uint16_t stage_refused(const uint16_t *codes, const int16_t *trims) {
    struct msg_stage_thresholds stage = {.encoding_id = {7}};
    uint8_t payload[MSG_STAGE_THRESHOLDS_SIZE];
    memcpy(stage.dac_codes, codes, sizeof stage.dac_codes);
    memcpy(stage.trims, trims, sizeof stage.trims);
    msg_stage_thresholds_pack(&stage, payload);
    const uint16_t detail = fake_refused(MESSAGE_STAGE_THRESHOLDS, payload, sizeof payload, ERROR_BAD_VALUE);
    assert_int_equal(fake.core.state, STATE_SAFE);
    return detail;
}

static struct msg_read_thresholds_reply read_back(void) {
    struct msg_read_thresholds_reply reply;
    const struct sent_frame frame = fake_ok(MESSAGE_READ_THRESHOLDS, NULL, 0);
    msg_read_thresholds_reply_unpack(&reply, frame.payload);
    return reply;
}

static void arm_trimmed(const uint16_t *codes, const int16_t *trims) {
    fake_hello();
    fake_stage_trimmed(codes, trims);
    fake_commit();
    (void)fake_ok(MESSAGE_ARM, fake_arm_payload(4, 4, 3, 32), MSG_ARM_SIZE);
}

static void sums_are_written_and_both_are_told(void **state) {
    (void)state;
    fake_hello();
    fake_stage_trimmed(FAKE_THRESHOLDS, TRIMS);
    struct msg_read_thresholds_reply reply = read_back(); // staged: the safe table is in the DAC
    for (uint8_t i = 0; i < PROTOCOL_COMPARATORS; i++) {
        assert_int_equal(reply.readback[i], PROTOCOL_DAC_FULL_SCALE);
        assert_int_equal(reply.trims[i], 0);
    }
    fake_commit();
    reply = read_back();
    for (uint8_t i = 0; i < PROTOCOL_COMPARATORS; i++) {
        assert_int_equal(fake.dac[i], FAKE_THRESHOLDS[i] + TRIMS[i]);
        assert_int_equal(reply.readback[i], FAKE_THRESHOLDS[i] + TRIMS[i]);
        assert_int_equal(reply.trims[i], TRIMS[i]);
    }
    assert_int_equal(reply.crc32, thresholds_crc(FAKE_THRESHOLDS, TRIMS));
    fake.drift[3] = 2;
    assert_int_not_equal(read_back().crc32, thresholds_crc(FAKE_THRESHOLDS, TRIMS));
    fake.drift[3] = 0;
    // The safe table has no trims, whatever brought it.
    (void)fake_ok(MESSAGE_SELF_TEST, NULL, 0);
    assert_int_equal(read_back().trims[0], 0);
    fake_commit();
    assert_int_equal(read_back().trims[0], 1311);
    (void)fake_ok(MESSAGE_DISARM, NULL, 0);
    reply = read_back();
    assert_int_equal(reply.trims[0], 0);
    assert_int_equal(reply.readback[0], PROTOCOL_DAC_FULL_SCALE);
}

static void the_digest_covers_trims(void **state) {
    (void)state;
    uint8_t bytes[60];
    for (size_t i = 0; i < PROTOCOL_COMPARATORS; i++) {
        put_u16(bytes + 2 * i, FAKE_THRESHOLDS[i]);
        put_u16(bytes + 30 + 2 * i, (uint16_t)(TRIMS[i] + 0x10000));
    }
    assert_int_equal(thresholds_crc(FAKE_THRESHOLDS, TRIMS), crc32(CRC32_START, bytes, sizeof bytes));
    // The same sums from other parts are not the same thresholds.
    uint16_t sums[PROTOCOL_COMPARATORS];
    for (size_t i = 0; i < PROTOCOL_COMPARATORS; i++) {
        sums[i] = (uint16_t)(FAKE_THRESHOLDS[i] + TRIMS[i]);
    }
    assert_int_not_equal(thresholds_crc(FAKE_THRESHOLDS, TRIMS), thresholds_crc(sums, NO_TRIMS));
    arm_trimmed(FAKE_THRESHOLDS, TRIMS);
    fake_offer(0, 4, 4, 3);
    fake_credit(0, 1);
    struct msg_measurement_header header;
    msg_measurement_header_unpack(&header, fake.core.stream.slots[0].header);
    assert_int_equal(header.thresholds_crc, thresholds_crc(FAKE_THRESHOLDS, TRIMS));
}

static void trims_out_of_range_are_refused(void **state) {
    (void)state;
    uint16_t codes[PROTOCOL_COMPARATORS];
    int16_t trims[PROTOCOL_COMPARATORS];
    fake_hello();
    for (uint8_t i = 0; i < PROTOCOL_COMPARATORS; i++) {
        static const int16_t TOO_LARGE[4] = {1312, -1312, 32767, -32768};
        for (size_t j = 0; j < 4; j++) {
            memcpy(trims, NO_TRIMS, sizeof trims);
            trims[i] = TOO_LARGE[j];
            assert_int_equal(stage_refused(FAKE_THRESHOLDS, trims), PROTOCOL_COMPARATORS + i);
        }
    }
    // Sums beyond the DAC's ends are refused, those at the ends are fine.
    memcpy(codes, FAKE_THRESHOLDS, sizeof codes);
    memcpy(trims, NO_TRIMS, sizeof trims);
    codes[0] = 100;
    trims[0] = -101;
    assert_int_equal(stage_refused(codes, trims), PROTOCOL_COMPARATORS);
    trims[0] = -100;
    codes[14] = 65000;
    trims[14] = 536;
    assert_int_equal(stage_refused(codes, trims), PROTOCOL_COMPARATORS + 14);
    trims[14] = 535;
    fake_stage_trimmed(codes, trims);
    fake_commit();
    assert_int_equal(fake.dac[0], 0);
    assert_int_equal(fake.dac[14], 65535);
    // A code that descends is named first, with its own index.
    codes[9] = (uint16_t)(codes[8] - 1u);
    trims[1] = 2000;
    assert_int_equal(stage_refused(codes, trims), 9);
}

static void trimmed_thresholds_may_cross(void **state) {
    (void)state;
    // Collapsed and close levels: wanted codes ascend, sums do not, and the comparators' offsets make them agree again.
    static const uint16_t CLOSE[PROTOCOL_COMPARATORS] = {20000, 20000, 20000, 20001, 20002, 40000, 40000, 40000,
                                                         40000, 40000, 40010, 40020, 40030, 40040, 40050};
    give_offsets(TRIMS);
    arm_trimmed(CLOSE, TRIMS);
    bool crossed = false;
    for (uint8_t i = 1; i < PROTOCOL_COMPARATORS; i++) {
        crossed = crossed || fake.dac[i] < fake.dac[i - 1];
    }
    assert_true(crossed);
    static const struct {
        uint16_t cell;
        uint8_t code;
    } EXPECTED[] = {{19999, 0}, {20000, 3}, {20001, 4}, {20002, 5}, {39999, 5}, {40000, 10}, {40049, 14}, {40050, 15}};
    for (size_t i = 0; i < sizeof EXPECTED / sizeof EXPECTED[0]; i++) {
        fake.cells[i] = EXPECTED[i].cell;
    }
    for (uint32_t i = 0; i < 40; i++) {
        fake_offer(i, 4, 4, 3);
        fake_credit(i, i + 1u);
        fake_pass_ms(5);
        for (size_t cell = 0; cell < sizeof EXPECTED / sizeof EXPECTED[0]; cell++) {
            const uint8_t byte = fake.core.stream.slots[i % CANOPIC_SLOTS].packed[cell / 2];
            assert_int_equal(cell % 2 == 0 ? byte & 0xF : byte >> 4, EXPECTED[cell].code);
        }
    }
    assert_int_equal(fake.core.state, STATE_ARMED);
}

static void every_sum_is_verified(void **state) {
    (void)state;
    for (uint8_t i = 0; i < PROTOCOL_COMPARATORS; i++) {
        uint8_t payload[MSG_COMMIT_SIZE];
        (void)fake_setup(NULL);
        fake_hello();
        fake_stage_trimmed(FAKE_THRESHOLDS, TRIMS);
        put_u32(payload, fake.core.thresholds.crc);
        fake.drift[i] = -1;
        assert_int_equal(fake_refused(MESSAGE_COMMIT, payload, sizeof payload, ERROR_DAC_MISMATCH), i);
        fake.drift[i] = 0;
        give_offsets(TRIMS);
        arm_trimmed(FAKE_THRESHOLDS, TRIMS);
        fake_pass_ms(100);
        assert_int_equal(fake.core.state, STATE_ARMED);
        fake.drift[i] = -(int)PROTOCOL_READBACK_TOLERANCE - 1;
        fake_pass_ms(100);
        assert_int_equal(fake.core.fault, FAULT_READBACK_DRIFT);
        assert_int_equal(fake.core.fault_channel, i);
        fake.drift[i] = 0;
        fake_clear(FAULT_READBACK_DRIFT);
    }
}

static void comparators_must_switch_where_they_are_wanted(void **state) {
    (void)state;
    // A comparator is probed around its wanted code: what its trim leaves of its offset must be within the tolerance...
    static const struct {
        int left; // of the offset; comparators are high at equality, so one side holds one code more
        bool fine;
    } LEFT[] = {{-1967, false}, {-1966, true}, {0, true}, {1965, true}, {1966, false}};
    int16_t trims[PROTOCOL_COMPARATORS] = {0};
    trims[6] = -1311;
    for (size_t i = 0; i < sizeof LEFT / sizeof LEFT[0]; i++) {
        (void)fake_setup(NULL);
        fake.offset[6] = trims[6] + LEFT[i].left;
        arm_trimmed(FAKE_THRESHOLDS, trims);
        fake_pass_ms(200);
        assert_int_equal(fake.core.state, LEFT[i].fine ? STATE_ARMED : STATE_FAULTED);
        assert_int_equal(fake.core.fault, LEFT[i].fine ? FAULT_NONE : FAULT_COMPARATOR_STUCK);
        assert_int_equal(fake.core.fault_channel, LEFT[i].fine ? PROTOCOL_NO_CHANNEL : 6);
    }
    // ...and one that needs no trim and got a wrong one is off by it.
    (void)fake_setup(NULL);
    fake.offset[6] = 700;
    arm_trimmed(FAKE_THRESHOLDS, trims);
    fake_pass_ms(200);
    assert_int_equal(fake.core.fault, FAULT_COMPARATOR_STUCK);
    fake.offset[6] = 0;
    fake_clear(FAULT_COMPARATOR_STUCK);
    arm_trimmed(FAKE_THRESHOLDS, NO_TRIMS);
    fake_pass_ms(200);
    assert_int_equal(fake.core.state, STATE_ARMED);
}

static void contradictions_are_between_wanted_codes(void **state) {
    (void)state;
    // 4500 codes (172 mV) apart, so one of these that is high in the dark contradicts the three below; trims bring what
    // is in the DAC so close together that sums would show nothing.
    uint16_t codes[PROTOCOL_COMPARATORS];
    int16_t trims[PROTOCOL_COMPARATORS] = {0};
    for (uint8_t i = 0; i < PROTOCOL_COMPARATORS; i++) {
        codes[i] = i < 3 ? 10000 : i == 3 ? 14500 : 65535;
        trims[i] = (int16_t)(i < 3 ? 1311 : i == 3 ? -1311 : 0);
    }
    give_offsets(trims);
    arm_trimmed(codes, trims);
    fake.stuck_high = 1u << 3;
    fake_offer(0, 4, 4, 3);
    fake_credit(0, 1); // in this measurement, before any probe
    assert_int_equal(fake.core.fault, FAULT_COMPARATOR_STUCK);
    assert_int_equal(fake.core.fault_channel, 3);
    assert_int_equal(fake.abandoned, 1);
    fake.stuck_high = 0;
    fake_clear(FAULT_COMPARATOR_STUCK);
    arm_trimmed(codes, trims);
    fake_credit(0, 1);
    assert_int_equal(fake.measured, 1);
}

int trims_suite(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(sums_are_written_and_both_are_told, fake_setup),
        cmocka_unit_test_setup(the_digest_covers_trims, fake_setup),
        cmocka_unit_test_setup(trims_out_of_range_are_refused, fake_setup),
        cmocka_unit_test_setup(trimmed_thresholds_may_cross, fake_setup),
        cmocka_unit_test_setup(every_sum_is_verified, fake_setup),
        cmocka_unit_test_setup(comparators_must_switch_where_they_are_wanted, fake_setup),
        cmocka_unit_test_setup(contradictions_are_between_wanted_codes, fake_setup),
    };
    return cmocka_run_group_tests_name("trims", tests, NULL, NULL);
}
