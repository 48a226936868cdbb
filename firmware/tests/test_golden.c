// Replays golden_vectors.txt: the same file that the Python tests replay.
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "bytes.h"
#include "cobs.h"
#include "crc.h"
#include "fake_board.h"
#include "protocol_text.h"
#include "suites.h"

#ifndef GOLDEN_VECTORS
#define GOLDEN_VECTORS "golden_vectors.txt"
#endif

#define LINE_MAX_BYTES 8192u
#define BYTES_MAX 2048u

static size_t from_hex(const char *hex, uint8_t *bytes) {
    if (strcmp(hex, "-") == 0) {
        return 0;
    }
    const size_t size = strlen(hex) / 2;
    assert_int_equal(strlen(hex) % 2, 0);
    assert_true(size <= BYTES_MAX);
    for (size_t i = 0; i < size; i++) {
        const char digits[3] = {hex[2 * i], hex[2 * i + 1], '\0'};
        char *end = NULL;
        bytes[i] = (uint8_t)strtoul(digits, &end, 16);
        assert_true(*end == '\0');
    }
    return size;
}

static void replay_cobs(char **word) {
    uint8_t plain[BYTES_MAX];
    uint8_t encoded[BYTES_MAX];
    uint8_t result[BYTES_MAX];
    const size_t plain_size = from_hex(word[1], plain);
    const size_t encoded_size = from_hex(word[2], encoded);
    assert_int_equal(cobs_encode(plain, plain_size, result), encoded_size);
    assert_memory_equal(result, encoded, encoded_size);
    assert_true(encoded_size <= COBS_ENCODED_MAX(plain_size));
    size_t decoded = 0;
    assert_true(cobs_decode(encoded, encoded_size, encoded, &decoded)); // in place
    assert_int_equal(decoded, plain_size);
    if (decoded > 0) {
        assert_memory_equal(encoded, plain, decoded);
    }
}

static void replay_cobs_bad(char **word) {
    uint8_t encoded[BYTES_MAX];
    uint8_t result[BYTES_MAX];
    size_t decoded = 0;
    const size_t size = from_hex(word[1], encoded);
    assert_false(cobs_decode(encoded, size, result, &decoded));
}

static void replay_crc(char **word) {
    uint8_t bytes[BYTES_MAX];
    const size_t size = from_hex(word[1], bytes);
    const unsigned long expected = strtoul(word[2], NULL, 16);
    const size_t half = size / 2;
    if (strcmp(word[0], "crc16") == 0) {
        assert_int_equal(crc16(CRC16_START, bytes, size), expected);
        assert_int_equal(crc16(crc16(CRC16_START, bytes, half), bytes + half, size - half), expected);
    } else {
        assert_int_equal(crc32(CRC32_START, bytes, size), expected);
        assert_int_equal(crc32(crc32(CRC32_START, bytes, half), bytes + half, size - half), expected);
    }
}

// Through the whole core: cells with these codes are measured, and the slot must hold these bytes.
static void replay_pack(char **word) {
    uint8_t packed[BYTES_MAX];
    const size_t size = from_hex(word[2], packed);
    const size_t count = strlen(word[1]);
    (void)fake_setup(NULL);
    fake_bring_to(STATE_ARMED, 1, (uint16_t)count, 1);
    for (size_t i = 0; i < count; i++) {
        const char digit[2] = {word[1][i], '\0'};
        const unsigned long code = strtoul(digit, NULL, 16);
        fake.cells[i] = code == 0 ? 0 : FAKE_THRESHOLDS[code - 1];
    }
    fake_offer(1, 1, (uint16_t)count, 1);
    fake_credit(0, 1);
    assert_int_equal(fake.measured, 1);
    assert_int_equal(fake.core.stream.slots[0].packed_size, size);
    assert_memory_equal(fake.core.stream.slots[0].packed, packed, size);
}

static void replay_message(char **word, const char *fields) {
    uint8_t payload[BYTES_MAX];
    uint8_t repacked[BYTES_MAX];
    struct text text = {.buffer = "", .size = 0};
    const size_t size = from_hex(word[2], payload);
    const int fixed = protocol_text(word[1], payload, size, &text, repacked);
    if (fixed < 0) {
        fail_msg("%s: unknown, or %zu bytes are too few", word[1], size);
    }
    if (fixed > 0) {
        assert_memory_equal(repacked, payload, (size_t)fixed);
    }
    if ((size_t)fixed < size) {
        text_hex(&text, "data", payload + fixed, size - (size_t)fixed);
    }
    assert_string_equal(text.buffer, fields);
}

// Both directions: the link opens the wire bytes, and seals the same frame to the same bytes.
static void replay_frame(char **word) {
    uint8_t payload[BYTES_MAX];
    uint8_t wire[BYTES_MAX];
    const unsigned long type = strtoul(word[1], NULL, 16);
    const unsigned long sequence = strtoul(word[2], NULL, 10);
    const size_t size = from_hex(word[3], payload);
    const size_t wire_size = from_hex(word[4], wire);
    struct link *link = &fake.core.link;
    (void)fake_setup(NULL);
    fake_bytes(wire, wire_size);
    struct frame frame;
    bool got = false;
    for (int i = 0; i < 8 && !got; i++) {
        got = link_receive(link, &frame);
    }
    assert_true(got);
    assert_int_equal(frame.type, type);
    assert_int_equal(frame.sequence, sequence);
    assert_int_equal(frame.size, size);
    if (size > 0) {
        assert_memory_equal(frame.payload, payload, size);
    }
    assert_true(link_send(link, (uint8_t)type, (uint16_t)sequence, payload, size));
    assert_int_equal(link_pump(link), LINK_IDLE);
    assert_int_equal(fake.tx_size, wire_size);
    assert_memory_equal(fake.tx, wire, wire_size);
}

static void replay_frame_bad(char **word) {
    uint8_t wire[BYTES_MAX];
    const size_t size = from_hex(word[1], wire);
    struct frame frame;
    (void)fake_setup(NULL);
    fake_bytes(wire, size);
    for (int i = 0; i < 8; i++) {
        assert_false(link_receive(&fake.core.link, &frame));
    }
    assert_int_equal(fake.core.link.bad_frames, 1);
}

static void replay(char *line) {
    // The fields of a message contain spaces: keep the text after the third word.
    char copy[LINE_MAX_BYTES];
    char *word[5] = {NULL};
    char *rest = NULL;
    const char *fields = "";
    memcpy(copy, line, strlen(line) + 1);
    size_t count = 0;
    for (char *next = strtok_r(line, " ", &rest); next != NULL && count < 5; next = strtok_r(NULL, " ", &rest)) {
        word[count++] = next;
        if (count == 3) {
            fields = copy + (next - line) + strlen(next);
        }
    }
    if (strcmp(word[0], "cobs") == 0) {
        replay_cobs(word);
    } else if (strcmp(word[0], "cobs-bad") == 0) {
        replay_cobs_bad(word);
    } else if (strncmp(word[0], "crc", 3) == 0) {
        replay_crc(word);
    } else if (strcmp(word[0], "pack") == 0) {
        replay_pack(word);
    } else if (strcmp(word[0], "message") == 0) {
        replay_message(word, fields);
    } else if (strcmp(word[0], "frame") == 0) {
        replay_frame(word);
    } else if (strcmp(word[0], "frame-bad") == 0) {
        replay_frame_bad(word);
    } else {
        fail_msg("unknown vector %s", word[0]);
    }
}

static void every_golden_vector(void **state) {
    (void)state;
    FILE *file = fopen(GOLDEN_VECTORS, "r");
    if (file == NULL) {
        fail_msg("cannot open %s: %s", GOLDEN_VECTORS, strerror(errno));
        return;
    }
    char line[LINE_MAX_BYTES];
    unsigned replayed = 0;
    while (fgets(line, sizeof line, file) != NULL) {
        line[strcspn(line, "\n")] = '\0';
        if (line[0] != '#' && line[0] != '\0') {
            replay(line);
            replayed++;
        }
    }
    fclose(file);
    print_message("%u golden vectors\n", replayed);
    assert_true(replayed > 100);
}

int golden_suite(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(every_golden_vector)};
    return cmocka_run_group_tests_name("golden vectors", tests, NULL, NULL);
}
