// Measurements: codes, order, chunks, credits, resends, frames that do not fit.
#include "bytes.h"
#include "crc.h"
#include "fake_board.h"
#include "suites.h"

// A measurement put together from chunks.
struct collected {
    struct msg_measurement_header header;
    uint8_t packed[CANOPIC_MAX_CELLS / 2u];
    bool got[256];
    unsigned chunks; // different ones
    unsigned repeats;
};

static struct collected collected;

static void collect_begin(void) {
    memset(&collected, 0, sizeof collected);
}

// Takes every chunk of a measurement that was sent; others are skipped.
static void collect(uint32_t sequence, uint8_t chunk_bytes) {
    struct sent_frame frame;
    while (fake_take(&frame)) {
        if (frame.type != MESSAGE_MEASUREMENT || get_u32(frame.payload) != sequence) {
            continue;
        }
        const uint8_t chunk = frame.payload[4];
        const size_t size = frame.size - MSG_MEASUREMENT_SIZE;
        collected.repeats += collected.got[chunk] ? 1u : 0u;
        collected.chunks += collected.got[chunk] ? 0u : 1u;
        collected.got[chunk] = true;
        if (chunk == 0) {
            assert_int_equal(size, MSG_MEASUREMENT_HEADER_SIZE);
            msg_measurement_header_unpack(&collected.header, frame.payload + MSG_MEASUREMENT_SIZE);
        } else {
            assert_true(size <= chunk_bytes);
            memcpy(collected.packed + (size_t)(chunk - 1) * chunk_bytes, frame.payload + MSG_MEASUREMENT_SIZE, size);
        }
    }
}

static uint8_t collected_code(size_t cell) {
    const uint8_t byte = collected.packed[cell / 2];
    return (uint8_t)(cell % 2 == 0 ? byte % 16u : byte / 16u);
}

static void codes_count_thresholds(void **state) {
    (void)state;
    // One cell at, one below and one above each threshold, then the extremes.
    fake_bring_to(STATE_ARMED, 1, 47, 1);
    for (size_t i = 0; i < PROTOCOL_COMPARATORS; i++) {
        fake.cells[3 * i] = (uint16_t)(FAKE_THRESHOLDS[i] - 1u);
        fake.cells[3 * i + 1] = FAKE_THRESHOLDS[i];
        fake.cells[3 * i + 2] = (uint16_t)(FAKE_THRESHOLDS[i] + 1u);
    }
    fake.cells[45] = 0;
    fake.cells[46] = 65535;
    fake_offer(0x01020304u, 1, 47, 1);
    fake_credit(0, 1);
    collect_begin();
    collect(0, 32);
    assert_int_equal(collected.chunks, 2);
    for (size_t i = 0; i < PROTOCOL_COMPARATORS; i++) {
        assert_int_equal(collected_code(3 * i), i);
        assert_int_equal(collected_code(3 * i + 1), i + 1);
        assert_int_equal(collected_code(3 * i + 2), i + 1);
    }
    assert_int_equal(collected_code(45), 0);
    assert_int_equal(collected_code(46), 15);
    assert_int_equal(collected.packed[23] >> 4, 0); // the padding of an odd count
    const struct msg_measurement_header *header = &collected.header;
    assert_int_equal(header->sequence, 0);
    assert_int_equal(header->frame, 0x01020304u);
    assert_true(header->capture_time_us == 0x0102030405060708u);
    assert_int_equal(header->exposure_us, 9000);
    assert_int_equal(header->gain_milli, 1500);
    assert_int_equal(header->rows, 1);
    assert_int_equal(header->columns, 47);
    assert_int_equal(header->channels, 1);
    assert_int_equal(header->chunk_bytes, 32);
    assert_int_equal(header->thresholds_crc, thresholds_crc(FAKE_THRESHOLDS, NO_TRIMS));
    assert_int_equal(header->cells_crc32, crc32(CRC32_START, collected.packed, 24));
}

static void a_large_measurement_comes_in_order(void **state) {
    (void)state;
    const size_t room[3] = {SIZE_MAX, 1, 300}; // also over a UART that takes little at a time
    for (size_t piece = 0; piece < 3; piece++) {
        (void)fake_setup(NULL);
        for (uint32_t cell = 0; cell < 14400; cell++) {
            fake.cells[cell] = (uint16_t)(cell * 2654435761u >> 16);
        }
        fake_bring_to(STATE_ARMED, 60, 80, 3);
        fake_offer(0, 60, 80, 3);
        fake.tx_room = room[piece];
        fake_credit(0, 4);
        for (int i = 0; i < 20000 && room[piece] != SIZE_MAX; i++) {
            fake.tx_room = room[piece];
            fake_run();
        }
        collect_begin();
        collect(0, 32);
        assert_int_equal(collected.chunks, 1 + 225);
        assert_int_equal(collected.repeats, 0);
        assert_int_equal(collected.header.cells_crc32, crc32(CRC32_START, collected.packed, 7200));
        for (uint32_t cell = 0; cell < 14400; cell++) {
            unsigned code = 0;
            while (code < 15 && fake.cells[cell] >= FAKE_THRESHOLDS[code]) {
                code++;
            }
            assert_int_equal(collected_code(cell), code);
        }
        assert_int_equal(fake.tx_broken, 0);
    }
}

static void credits_rule(void **state) {
    (void)state;
    fake_bring_to(STATE_ARMED, 4, 4, 3);
    fake_offer(0, 4, 4, 3);
    fake_pass_ms(50);
    assert_int_equal(fake.measured, 0); // no credit, no measurement
    fake_credit(0, 1);
    assert_int_equal(fake.measured, 1);
    fake_offer(1, 4, 4, 3);
    fake_credit(0, 1); // the same again changes nothing
    fake_credit(0, 1);
    assert_int_equal(fake.measured, 1);
    fake_credit(0, 100); // credit for many, but only so many slots
    for (uint32_t i = 1; i < 10; i++) {
        fake_offer(i, 4, 4, 3);
        fake_pass_ms(2);
    }
    assert_int_equal(fake.measured, CANOPIC_SLOTS);
    fake_credit(CANOPIC_SLOTS + 1u, 200); // acknowledges what does not exist: ignored
    assert_int_equal(fake.core.stream.acknowledged, 0);
    assert_int_equal(fake.core.stream.limit, 100);
    fake_credit(2, 100);
    fake_pass_ms(5);
    fake_offer(11, 4, 4, 3);
    fake_pass_ms(5);
    fake_offer(12, 4, 4, 3);
    fake_pass_ms(5);
    assert_int_equal(fake.measured, CANOPIC_SLOTS + 2u);
    fake_credit(1, 100); // stale: nothing is un-acknowledged
    assert_int_equal(fake.core.stream.acknowledged, 2);
    fake_credit(CANOPIC_SLOTS + 2u, 3); // a smaller limit holds the board
    fake_offer(13, 4, 4, 3);
    fake_pass_ms(5);
    assert_int_equal(fake.measured, CANOPIC_SLOTS + 2u);
    fake_credit(CANOPIC_SLOTS + 2u, 1000);
    assert_int_equal(fake.measured, CANOPIC_SLOTS + 3u);
}

static void sequences_wrap(void **state) {
    (void)state;
    fake_bring_to(STATE_ARMED, 4, 4, 3);
    fake.core.stream.next = 0xFFFFFFFEu;
    fake.core.stream.acknowledged = 0xFFFFFFFEu;
    fake.core.stream.limit = 0xFFFFFFFEu;
    for (uint32_t i = 0; i < 6; i++) {
        fake_offer(i, 4, 4, 3);
        fake_skip();
        fake_credit(0xFFFFFFFEu + i, 0xFFFFFFFEu + i + 1u);
        assert_int_equal(fake.measured, i + 1u);
        collect_begin();
        collect(0xFFFFFFFEu + i, 32);
        assert_int_equal(collected.chunks, 2);
    }
}

static void resend_sends_what_is_missing(void **state) {
    (void)state;
    uint8_t payload[MSG_RESEND_SIZE] = {0};
    fake_bring_to(STATE_ARMED, 20, 20, 3);
    fake_offer(0, 20, 20, 3);
    fake_credit(0, 4);
    fake_offer(1, 20, 20, 3);
    fake_run();
    collect_begin();
    collect(1, 32);
    const unsigned all = 1 + 600 / 32 + 1;
    assert_int_equal(collected.chunks, all);
    // Chunks 0, 9 and the last of the second, and bits far beyond.
    put_u32(payload, 1);
    payload[4] = 0x01;
    payload[5] = 0x02;
    payload[4 + (all - 1) / 8] |= (uint8_t)(1u << ((all - 1) % 8));
    payload[4 + 31] = 0xFF;
    fake_skip();
    fake_frame(MESSAGE_RESEND, 0, payload, sizeof payload);
    fake_run();
    collect_begin();
    collect(1, 32);
    assert_int_equal(collected.chunks, 3);
    assert_true(collected.got[0] && collected.got[9] && collected.got[all - 1]);
    // Everything, of the first.
    memset(payload, 0xFF, sizeof payload);
    put_u32(payload, 0);
    fake_frame(MESSAGE_RESEND, 0, payload, sizeof payload);
    fake_run();
    collect_begin();
    collect(0, 32);
    assert_int_equal(collected.chunks, all);
    assert_int_equal(collected.header.sequence, 0);
    // What is acknowledged, or not yet measured, is not sent.
    fake_credit(1, 4);
    fake_skip();
    for (uint32_t sequence = 0; sequence < 8; sequence++) {
        put_u32(payload, sequence == 1 ? 100 : sequence);
        fake_frame(MESSAGE_RESEND, 0, payload, sizeof payload);
        fake_run();
    }
    struct sent_frame frame;
    assert_false(fake_take(&frame));
}

static void frames_that_do_not_fit_are_counted(void **state) {
    (void)state;
    fake_bring_to(STATE_ARMED, 4, 4, 3);
    fake_credit(0, 100);
    const uint16_t wrong[3][3] = {{5, 4, 3}, {4, 5, 3}, {4, 4, 4}};
    for (uint32_t i = 0; i < 3; i++) {
        fake_offer(i, wrong[i][0], wrong[i][1], wrong[i][2]);
        fake_run();
    }
    assert_int_equal(fake.unfit, 3);
    assert_int_equal(fake.core.stream.frames_unmeasured, 3);
    fake_offer(3, 4, 4, 3);
    fake_run();
    fake_credit(1, 100);
    fake_offer(10, 4, 4, 3); // 4..9 never came
    fake_run();
    fake_credit(2, 100);
    fake_offer(2, 4, 4, 3); // a sensor that began anew
    fake_run();
    assert_int_equal(fake.measured, 3);
    assert_int_equal(fake.core.stream.frames_unmeasured, 9);
}

static void disarming_drops_everything(void **state) {
    (void)state;
    struct sent_frame frame;
    fake_bring_to(STATE_ARMED, 60, 80, 3);
    fake.tx_room = 0;
    fake_offer(0, 60, 80, 3);
    fake_credit(0, 4);
    assert_int_equal(fake.measured, 1);
    fake.tx_room = SIZE_MAX;
    fake_frame(MESSAGE_DISARM, 5, NULL, 0);
    fake_run();
    bool replied = false;
    while (fake_take(&frame)) {
        assert_int_not_equal(frame.type, MESSAGE_MEASUREMENT);
        replied = replied || frame.sequence == 5;
    }
    assert_true(replied);
    // A new ARM starts at sequence 0 and without credit.
    fake_stage(FAKE_THRESHOLDS);
    fake_commit();
    (void)fake_ok(MESSAGE_ARM, fake_arm_payload(4, 4, 3, 32), MSG_ARM_SIZE);
    fake_offer(1, 4, 4, 3);
    fake_pass_ms(20);
    assert_int_equal(fake.measured, 1);
    fake_credit(0, 1);
    assert_int_equal(fake.measured, 2);
    collect_begin();
    collect(0, 32);
    assert_int_equal(collected.chunks, 2);
    assert_int_equal(collected.header.frame, 1);
}

int stream_suite(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(codes_count_thresholds, fake_setup),
        cmocka_unit_test_setup(a_large_measurement_comes_in_order, fake_setup),
        cmocka_unit_test_setup(credits_rule, fake_setup),
        cmocka_unit_test_setup(sequences_wrap, fake_setup),
        cmocka_unit_test_setup(resend_sends_what_is_missing, fake_setup),
        cmocka_unit_test_setup(frames_that_do_not_fit_are_counted, fake_setup),
        cmocka_unit_test_setup(disarming_drops_everything, fake_setup),
    };
    return cmocka_run_group_tests_name("stream", tests, NULL, NULL);
}
