// Sessions: who is served when, what a stranger may do, and that nothing is done twice.
#include "bytes.h"
#include "crc.h"
#include "fake_board.h"
#include "suites.h"

// The allow-list, written down a second time by hand: a change of protocol.yaml has to be made here too, on purpose.
// Columns: safe, staged, committed, armed, faulted.
static const struct {
    uint8_t type;
    const char *served;
} ALLOWED[] = {
    {MESSAGE_HELLO, "yyyyy"},
    {MESSAGE_STATUS, "yyyyy"},
    {MESSAGE_RESET, "yyyyy"},
    {MESSAGE_DISARM, "yyyyy"},
    {MESSAGE_HEARTBEAT, "yyyyy"},
    {MESSAGE_CLEAR_FAULT, "....y"},
    {MESSAGE_STAGE_THRESHOLDS, "yyy.."},
    {MESSAGE_COMMIT, ".y..."},
    {MESSAGE_READ_THRESHOLDS, "yyyyy"},
    {MESSAGE_ARM, "..y.."},
    {MESSAGE_SET_EXPOSURE, "yyyy."},
    {MESSAGE_SELF_TEST, "yyy.y"},
    {MESSAGE_SET_CHUNK, "...y."},
    {MESSAGE_SWEEP, "..yy."},
    {MESSAGE_CONVERT, "...y."},
};

// A payload of the right size for any command; its content may be refused, but not for the state.
static size_t any_payload(uint8_t type, uint8_t *payload) {
    const struct command_rule *rule = protocol_rule(type);
    assert_non_null(rule);
    memset(payload, 0, rule->request_size);
    return rule->request_size;
}

static void the_allow_list_is_exhaustive(void **state) {
    (void)state;
    for (unsigned type = 0; type < PROTOCOL_REPLY_BIT; type++) {
        for (unsigned s = STATE_SAFE; s <= STATE_FAULTED; s++) {
            uint8_t payload[PROTOCOL_MAX_PAYLOAD];
            const char *served = NULL;
            (void)fake_setup(NULL);
            fake_bring_to((enum state)s, 4, 4, 3);
            for (size_t i = 0; i < sizeof ALLOWED / sizeof ALLOWED[0]; i++) {
                served = ALLOWED[i].type == type ? ALLOWED[i].served : served;
            }
            if (type == MESSAGE_CREDIT || type == MESSAGE_RESEND) {
                continue; // never answered: below
            }
            if (served == NULL) {
                assert_int_equal(fake_refused((uint8_t)type, NULL, 0, ERROR_UNKNOWN_COMMAND), type);
                assert_int_equal(fake.core.state, s);
                continue;
            }
            const size_t size = any_payload((uint8_t)type, payload);
            if (served[s] == '.') {
                assert_int_equal(fake_refused((uint8_t)type, payload, size, ERROR_WRONG_STATE), s);
                assert_int_equal(fake.core.state, s);
                continue;
            }
            const struct sent_frame reply = fake_command((uint8_t)type, payload, size);
            assert_true(reply.type != MESSAGE_ERROR_REPLY || reply.payload[1] != ERROR_WRONG_STATE);
        }
    }
}

static void notices_act_only_while_armed(void **state) {
    (void)state;
    for (unsigned s = STATE_SAFE; s <= STATE_FAULTED; s++) {
        struct sent_frame frame;
        (void)fake_setup(NULL);
        fake_bring_to((enum state)s, 4, 4, 3);
        fake_credit(0, 3);
        assert_int_equal(fake.core.stream.limit, s == STATE_ARMED ? 3 : 0);
        fake_frame(MESSAGE_RESEND, 0, (const uint8_t[MSG_RESEND_SIZE]){0}, MSG_RESEND_SIZE);
        fake_frame(MESSAGE_CREDIT, 0, (const uint8_t[3]){0}, 3);
        fake_run();
        assert_false(fake_take(&frame)); // not even an error
    }
}

static void wrong_sizes_are_refused_everywhere(void **state) {
    (void)state;
    fake_hello();
    for (size_t i = 0; i < sizeof ALLOWED / sizeof ALLOWED[0]; i++) {
        uint8_t payload[PROTOCOL_MAX_PAYLOAD];
        const size_t size = any_payload(ALLOWED[i].type, payload);
        payload[size] = 0;
        assert_int_equal(fake_refused(ALLOWED[i].type, payload, size + 1, ERROR_BAD_LENGTH), size + 1);
        if (size > 0) {
            assert_int_equal(fake_refused(ALLOWED[i].type, payload, size - 1, ERROR_BAD_LENGTH), size - 1);
        }
    }
}

static void only_three_commands_before_hello(void **state) {
    (void)state;
    for (unsigned mismatch = 0; mismatch < 2; mismatch++) {
        const uint8_t other[MSG_HELLO_SIZE] = {1, 2, 3, 4, 5, 6, 7, 8};
        (void)fake_setup(NULL);
        if (mismatch != 0) {
            struct msg_hello_reply reply;
            const struct sent_frame frame = fake_ok(MESSAGE_HELLO, other, sizeof other);
            msg_hello_reply_unpack(&reply, frame.payload);
            const uint8_t digest[8] = PROTOCOL_SCHEMA_DIGEST;
            assert_memory_equal(reply.schema_digest, digest, sizeof digest); // the host sees which end is stale
        }
        for (size_t i = 0; i < sizeof ALLOWED / sizeof ALLOWED[0]; i++) {
            uint8_t payload[PROTOCOL_MAX_PAYLOAD];
            const size_t size = any_payload(ALLOWED[i].type, payload);
            if (ALLOWED[i].type == MESSAGE_HELLO || ALLOWED[i].type == MESSAGE_RESET) {
                continue;
            }
            if (ALLOWED[i].type == MESSAGE_STATUS) {
                (void)fake_ok(MESSAGE_STATUS, NULL, 0);
                continue;
            }
            (void)fake_refused(ALLOWED[i].type, payload, size,
                               mismatch != 0 ? ERROR_SCHEMA_MISMATCH : ERROR_HELLO_REQUIRED);
        }
        (void)fake_ok(MESSAGE_RESET, NULL, 0);
        assert_int_equal(fake.reboots, 1);
    }
}

static void hello_introduces_the_board(void **state) {
    (void)state;
    const struct msg_hello hello = {.schema_digest = PROTOCOL_SCHEMA_DIGEST};
    struct msg_hello_reply reply;
    uint8_t payload[MSG_HELLO_SIZE];
    msg_hello_pack(&hello, payload);
    const struct sent_frame frame = fake_ok(MESSAGE_HELLO, payload, sizeof payload);
    assert_int_equal(frame.size, MSG_HELLO_REPLY_SIZE);
    msg_hello_reply_unpack(&reply, frame.payload);
    assert_memory_equal(reply.board_serial, "FAKE-1\0\0\0\0\0\0\0\0\0\0", 16);
    assert_int_equal(reply.boot_id, 0xB0070001u);
    assert_int_equal(reply.comparators, 15);
    assert_int_equal(reply.dac_bits, 16);
    assert_int_equal(reply.reference_microvolts, 2500000);
    assert_int_equal(reply.max_cells, CANOPIC_MAX_CELLS);
    assert_int_equal(reply.measurement_slots, CANOPIC_SLOTS);
    assert_int_equal(reply.state, STATE_SAFE);
    assert_int_equal(reply.fault, FAULT_NONE);
}

static void a_stranger_disarms(void **state) {
    (void)state;
    const uint8_t other[MSG_HELLO_SIZE] = {1, 2, 3, 4, 5, 6, 7, 8};
    fake_bring_to(STATE_ARMED, 4, 4, 3);
    (void)fake_ok(MESSAGE_HELLO, other, sizeof other);
    assert_int_equal(fake.core.state, STATE_SAFE);
    assert_true(fake.safe);
    fake_hello(); // and the right host is welcome again
    fake_stage(FAKE_THRESHOLDS);
}

static void a_repeated_command_is_answered_but_not_repeated(void **state) {
    (void)state;
    const uint8_t *arm = fake_arm_payload(4, 4, 3, 32);
    fake_bring_to(STATE_COMMITTED, 4, 4, 3);
    arm = fake_arm_payload(4, 4, 3, 32);
    (void)fake_ok(MESSAGE_ARM, arm, MSG_ARM_SIZE);
    fake_offer(0, 4, 4, 3);
    fake_credit(0, 4);
    assert_int_equal(fake.core.stream.next, 1);
    // Executed again, ARM would be refused in this state; as a repetition it gets the first answer, and nothing
    // restarts.
    for (int i = 0; i < 3; i++) {
        struct sent_frame frame;
        fake_skip();
        fake_frame(MESSAGE_ARM, fake.sequence, arm, MSG_ARM_SIZE);
        fake_run();
        assert_true(fake_take(&frame));
        assert_int_equal(frame.type, MESSAGE_ARM | PROTOCOL_REPLY_BIT);
        assert_int_equal(frame.sequence, fake.sequence);
        assert_int_equal(fake.core.stream.next, 1);
    }
    // Another payload under the same sequence is another command.
    fake.sequence--;
    assert_int_equal(fake_refused(MESSAGE_ARM, fake_arm_payload(2, 2, 3, 32), MSG_ARM_SIZE, ERROR_WRONG_STATE),
                     STATE_ARMED);
}

static void errors_are_repeated_too_and_status_never(void **state) {
    (void)state;
    fake_bring_to(STATE_STAGED, 4, 4, 3);
    const uint8_t wrong[MSG_COMMIT_SIZE] = {9, 9, 9, 9};
    (void)fake_refused(MESSAGE_COMMIT, wrong, sizeof wrong, ERROR_CRC_MISMATCH);
    fake.sequence--;
    (void)fake_refused(MESSAGE_COMMIT, wrong, sizeof wrong, ERROR_CRC_MISMATCH);
    (void)fake_ok(MESSAGE_STATUS, NULL, 0);
    fake_pass_ms(10);
    fake.sequence--;
    struct msg_status_reply status;
    const struct sent_frame reply = fake_ok(MESSAGE_STATUS, NULL, 0);
    msg_status_reply_unpack(&status, reply.payload);
    assert_int_equal(status.uptime_ms, 10); // as it is now
}

static void a_looped_back_line_stays_quiet(void **state) {
    (void)state;
    struct sent_frame frame;
    fake_hello();
    fake_skip();
    for (unsigned type = PROTOCOL_REPLY_BIT; type <= 0xFF; type++) {
        fake_frame((uint8_t)type, 1, NULL, 0);
        fake_run();
    }
    assert_false(fake_take(&frame));
}

int session_suite(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(the_allow_list_is_exhaustive, fake_setup),
        cmocka_unit_test_setup(notices_act_only_while_armed, fake_setup),
        cmocka_unit_test_setup(wrong_sizes_are_refused_everywhere, fake_setup),
        cmocka_unit_test_setup(only_three_commands_before_hello, fake_setup),
        cmocka_unit_test_setup(hello_introduces_the_board, fake_setup),
        cmocka_unit_test_setup(a_stranger_disarms, fake_setup),
        cmocka_unit_test_setup(a_repeated_command_is_answered_but_not_repeated, fake_setup),
        cmocka_unit_test_setup(errors_are_repeated_too_and_status_never, fake_setup),
        cmocka_unit_test_setup(a_looped_back_line_stays_quiet, fake_setup),
    };
    return cmocka_run_group_tests_name("sessions", tests, NULL, NULL);
}
