// The link: framing limits, damage, priorities, a UART that takes little or nothing.
#include "bytes.h"
#include "cobs.h"
#include "crc.h"
#include "fake_board.h"
#include "suites.h"

static void cobs_returns_every_size(void **state) {
    (void)state;
    static uint8_t plain[1100];
    static uint8_t encoded[COBS_ENCODED_MAX(sizeof plain)];
    static uint8_t decoded[sizeof encoded];
    for (size_t size = 0; size <= sizeof plain; size++) {
        for (unsigned pattern = 0; pattern < 4; pattern++) {
            for (size_t i = 0; i < size; i++) {
                plain[i] = (uint8_t)(pattern == 0 ? 0 : pattern == 1 ? 0xFF : pattern == 2 ? i * 7 : (i % 255) != 0);
            }
            const size_t length = cobs_encode(plain, size, encoded);
            assert_true(length <= COBS_ENCODED_MAX(size));
            assert_null(memchr(encoded, 0, length));
            size_t back = 0;
            assert_true(cobs_decode(encoded, length, decoded, &back));
            assert_int_equal(back, size);
            assert_memory_equal(decoded, plain, size);
        }
    }
}

static void bytes_keep_their_order(void **state) {
    (void)state;
    uint8_t bytes[9] = {0};
    put_u64(bytes + 1, 0x0102030405060708u); // not aligned
    const uint8_t expected[9] = {0, 8, 7, 6, 5, 4, 3, 2, 1};
    assert_memory_equal(bytes, expected, sizeof expected);
    assert_true(get_u64(bytes + 1) == 0x0102030405060708u);
    for (unsigned value = 0; value <= 0xFFFF; value++) {
        assert_int_equal(count_bits((uint16_t)value), __builtin_popcount(value));
    }
}

static void a_frame_split_anywhere_arrives(void **state) {
    (void)state;
    for (size_t piece = 1; piece <= 16; piece++) {
        fake.rx_piece = piece;
        fake_hello();
        assert_int_equal(fake_ok(MESSAGE_STATUS, NULL, 0).size, MSG_STATUS_REPLY_SIZE);
    }
    assert_int_equal(fake.core.link.bad_frames, 0);
}

static void one_damaged_byte_never_passes(void **state) {
    (void)state;
    fake_hello();
    fake_frame(MESSAGE_HEARTBEAT, 9, NULL, 0);
    uint8_t wire[16];
    const size_t size = fake.rx_size;
    memcpy(wire, fake.rx, size);
    fake.rx_at = fake.rx_size;
    for (size_t i = 0; i < size; i++) {
        for (unsigned flip = 1; flip < 256; flip++) {
            struct sent_frame frame;
            fake_skip();
            wire[i] = (uint8_t)(wire[i] ^ flip);
            fake_bytes(wire, size);
            fake_bytes((const uint8_t[]){0}, 1);
            fake_run();
            assert_false(fake_take(&frame));
            wire[i] = (uint8_t)(wire[i] ^ flip);
        }
    }
    assert_true(fake.core.link.bad_frames >= 255 * (size - 1));
    (void)fake_ok(MESSAGE_HEARTBEAT, NULL, 0);
}

static void lost_bytes_cost_only_their_frame(void **state) {
    (void)state;
    fake_hello();
    for (unsigned lost = 0; lost < 7; lost++) {
        struct sent_frame frame;
        fake_skip();
        fake_frame(MESSAGE_STATUS, 100, NULL, 0);
        memmove(fake.rx + lost, fake.rx + lost + 1, fake.rx_size - lost - 1);
        fake.rx_size--;
        fake_frame(MESSAGE_STATUS, 101, NULL, 0);
        fake_run();
        // A lost delimiter joins two frames: then both are gone, and the next one arrives.
        if (lost < 6) {
            assert_true(fake_take(&frame));
            assert_int_equal(frame.sequence, 101);
        }
        (void)fake_ok(MESSAGE_HEARTBEAT, NULL, 0);
    }
}

static void empty_frames_are_no_errors_and_overlong_ones_are(void **state) {
    (void)state;
    const uint8_t zeros[300] = {0};
    fake_bytes(zeros, sizeof zeros);
    fake_run();
    assert_int_equal(fake.core.link.bad_frames, 0);
    for (int i = 0; i < 5000; i++) {
        fake_bytes((const uint8_t[]){0x55}, 1);
    }
    fake_bytes(zeros, 1);
    fake_run();
    assert_int_equal(fake.core.link.bad_frames, 1);
    fake_hello();
}

static void the_core_never_waits_for_the_uart(void **state) {
    (void)state;
    fake_hello();
    fake_skip();
    fake.tx_room = 0;
    fake_frame(MESSAGE_STATUS, 50, NULL, 0);
    fake_run();
    struct sent_frame frame;
    assert_false(fake_take(&frame));
    for (int i = 0; i < 200 && !fake_take(&frame); i++) {
        fake.tx_room = 1;
        fake_run();
    }
    assert_int_equal(frame.sequence, 50);
    assert_int_equal(frame.type, MESSAGE_STATUS | PROTOCOL_REPLY_BIT);
}

static void replies_without_room_are_dropped_and_asked_for_again(void **state) {
    (void)state;
    fake_hello();
    fake_skip();
    fake.tx_room = 0;
    for (uint16_t i = 0; i < 100; i++) {
        fake_frame(MESSAGE_STATUS, (uint16_t)(1000 + i), NULL, 0);
        fake_run();
    }
    fake.tx_room = SIZE_MAX;
    fake_run();
    struct sent_frame frame;
    unsigned replies = 0;
    while (fake_take(&frame)) {
        assert_int_equal(frame.sequence, 1000 + replies);
        replies++;
    }
    assert_true(replies > 4 && replies < 100);
    assert_int_equal(fake.tx_broken, 0);
    assert_false(link_send(&fake.core.link, MESSAGE_STATUS, 1, fake.tx, PROTOCOL_MAX_PAYLOAD + 1u));
    (void)fake_ok(MESSAGE_STATUS, NULL, 0);
}

static void the_reply_ring_wraps(void **state) {
    (void)state;
    fake_hello();
    for (unsigned i = 0; i < 500; i++) {
        fake.tx_room = i % 3 == 0 ? 37 : SIZE_MAX; // leaves the ring at every possible place
        fake_frame(MESSAGE_STATUS, (uint16_t)i, NULL, 0);
        fake_run();
    }
    fake.tx_room = SIZE_MAX;
    fake_run();
    struct sent_frame frame;
    unsigned replies = 0;
    while (fake_take(&frame)) {
        replies++;
    }
    assert_int_equal(replies, 500);
    assert_int_equal(fake.tx_broken, 0);
}

static void replies_overtake_the_stream(void **state) {
    (void)state;
    fake_bring_to(STATE_ARMED, 60, 80, 3);
    fake_offer(0, 60, 80, 3);
    fake.tx_room = 100; // the first chunks are on their way, one of them cut in two
    fake_credit(0, 4);
    fake_frame(MESSAGE_HEARTBEAT, 77, NULL, 0);
    fake.tx_room = 200;
    fake_run();
    struct sent_frame frame;
    bool replied = false;
    while (fake_take(&frame)) {
        replied = replied || frame.sequence == 77;
    }
    assert_true(replied); // although most of the measurement is still to come
    assert_int_equal(fake.tx_broken, 0);
    fake.tx_room = SIZE_MAX;
    fake_run();
    unsigned chunks = 0;
    while (fake_take(&frame)) {
        chunks += frame.type == MESSAGE_MEASUREMENT ? 1u : 0u;
    }
    assert_true(chunks > 200);
    assert_int_equal(fake.tx_broken, 0);
}

int link_suite(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(cobs_returns_every_size),
        cmocka_unit_test(bytes_keep_their_order),
        cmocka_unit_test_setup(a_frame_split_anywhere_arrives, fake_setup),
        cmocka_unit_test_setup(one_damaged_byte_never_passes, fake_setup),
        cmocka_unit_test_setup(lost_bytes_cost_only_their_frame, fake_setup),
        cmocka_unit_test_setup(empty_frames_are_no_errors_and_overlong_ones_are, fake_setup),
        cmocka_unit_test_setup(the_core_never_waits_for_the_uart, fake_setup),
        cmocka_unit_test_setup(replies_without_room_are_dropped_and_asked_for_again, fake_setup),
        cmocka_unit_test_setup(the_reply_ring_wraps, fake_setup),
        cmocka_unit_test_setup(replies_overtake_the_stream, fake_setup),
    };
    return cmocka_run_group_tests_name("link", tests, NULL, NULL);
}
