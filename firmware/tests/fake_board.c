// A board for the tests.
#include "fake_board.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "bytes.h"
#include "crc.h"

struct fake_board fake;

const uint8_t FAKE_ENCODING[16] = {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16};
const uint16_t FAKE_THRESHOLDS[PROTOCOL_COMPARATORS] = {4000,  8000,  12000, 16000, 20000, 24000, 28000, 32000,
                                                        36000, 40000, 44000, 48000, 52000, 56000, 60000};

const int16_t NO_TRIMS[PROTOCOL_COMPARATORS] = {0};

static size_t uart_read(void *context, uint8_t *buffer, size_t capacity) {
    (void)context;
    size_t size = fake.rx_size - fake.rx_at;
    size = size < capacity ? size : capacity;
    size = size < fake.rx_piece ? size : fake.rx_piece;
    memcpy(buffer, fake.rx + fake.rx_at, size);
    fake.rx_at += size;
    return size;
}

static size_t uart_write(void *context, const uint8_t *bytes, size_t size) {
    (void)context;
    const size_t taken = size < fake.tx_room ? size : fake.tx_room;
    assert_true(fake.tx_size + taken <= FAKE_TX_BYTES);
    memcpy(fake.tx + fake.tx_size, bytes, taken);
    fake.tx_size += taken;
    fake.tx_room -= fake.tx_room == SIZE_MAX ? 0 : taken;
    return taken;
}

static uint32_t millis(void *context) {
    (void)context;
    return fake.now_ms;
}

static bool dac_write(void *context, uint8_t channel, uint16_t code) {
    (void)context;
    assert_true(channel < PROTOCOL_DAC_CHANNELS);
    if (fake.dac_dies_in > 0 && --fake.dac_dies_in == 0) {
        fake.dac_write_fails = 0xFFFFu;
    }
    if (bit_is_set(fake.dac_write_fails, channel)) {
        return false;
    }
    fake.dac[channel] = code;
    return true;
}

static int output(uint8_t channel) {
    const int code = fake.dac[channel] + fake.drift[channel];
    return code < 0 ? 0 : code > 65535 ? 65535 : code;
}

static bool dac_readback(void *context, uint8_t channel, uint16_t *code) {
    (void)context;
    assert_true(channel < PROTOCOL_DAC_CHANNELS);
    *code = (uint16_t)output(channel);
    if (fake.dac_glitches > 0) {
        fake.dac_glitches--;
        *code ^= 0x8000u;
    }
    return !bit_is_set(fake.dac_read_fails, channel);
}

static void cell_select(void *context, uint32_t cell) {
    (void)context;
    assert_true(cell == HAL_TEST_CELL || cell < CANOPIC_MAX_CELLS);
    fake.selected = cell;
}

static uint16_t comparators(void *context) {
    (void)context;
    // The rule that matters most: no cell of the sensor is ever read in the safe state.
    assert_true(fake.selected == HAL_TEST_CELL || !fake.safe);
    const int cell = fake.selected == HAL_TEST_CELL ? output(TEST_CHANNEL) : fake.cells[fake.selected];
    unsigned reading = 0;
    for (uint8_t i = 0; i < PROTOCOL_COMPARATORS; i++) {
        int noise = 0;
        if (fake.noise > 0) {
            fake.noise_state = fake.noise_state * 1664525u + 1013904223u;
            noise = (int)(fake.noise_state >> 8) % (2 * fake.noise + 1) - fake.noise;
        }
        const int half = bit_is_set(fake.high, i) ? -fake.hysteresis / 2 : fake.hysteresis / 2;
        reading |= (unsigned)(cell + fake.offset[i] + noise >= output(i) + half) << i;
    }
    fake.high = (uint16_t)reading;
    if (fake.comparator_glitches > 0 && fake.selected == HAL_TEST_CELL) {
        fake.comparator_glitches--;
        reading = ~reading;
    }
    return (uint16_t)((reading | fake.stuck_high) & ~(unsigned)fake.stuck_low);
}

static uint16_t supply_millivolts(void *context) {
    (void)context;
    return fake.supply_millivolts;
}

static void watchdog_kick(void *context) {
    (void)context;
    fake.kicks++;
}

static void safe_output(void *context, bool safe) {
    (void)context;
    fake.safe = safe;
}

static bool frame_poll(void *context, struct frame_info *info) {
    (void)context;
    assert_false(fake.frame_held);
    fake.frame_held = fake.frame_waits;
    *info = fake.info;
    return fake.frame_waits;
}

static void frame_release(void *context, enum frame_fate fate) {
    (void)context;
    assert_true(fake.frame_held);
    fake.frame_held = false;
    fake.frame_waits = fate == FRAME_ABANDONED;
    fake.measured += fate == FRAME_MEASURED ? 1u : 0u;
    fake.unfit += fate == FRAME_UNFIT ? 1u : 0u;
    fake.abandoned += fate == FRAME_ABANDONED ? 1u : 0u;
}

static bool exposure_set(void *context, uint32_t exposure_us, uint32_t gain_milli) {
    (void)context;
    fake.exposure_us = exposure_us;
    fake.gain_milli = gain_milli;
    return !fake.exposure_refused;
}

static void reboot(void *context) {
    (void)context;
    fake.reboots++;
}

int fake_setup(void **state) {
    static const struct board_identity IDENTITY = {
        .serial = "FAKE-1", .boot_id = 0xB0070001u, .hardware = HARDWARE_ANALOG};
    (void)state;
    memset(&fake, 0, sizeof fake);
    fake.hal = (struct hal){
        .context = &fake,
        .uart_read = uart_read,
        .uart_write = uart_write,
        .millis = millis,
        .dac_write = dac_write,
        .dac_readback = dac_readback,
        .cell_select = cell_select,
        .comparators = comparators,
        .supply_millivolts = supply_millivolts,
        .watchdog_kick = watchdog_kick,
        .safe_output = safe_output,
        .frame_poll = frame_poll,
        .frame_release = frame_release,
        .exposure_set = exposure_set,
        .reboot = reboot,
    };
    fake.now_ms = 0xFFFFF000u; // the clock wraps during the longer tests
    fake.rx_piece = SIZE_MAX;
    fake.tx_room = SIZE_MAX;
    fake.supply_millivolts = 3300;
    core_init(&fake.core, &fake.hal, &IDENTITY);
    return 0;
}

void fake_run(void) {
    for (int i = 0; i < 100000; i++) {
        if (core_poll(&fake.core) != 0 && fake.rx_at == fake.rx_size) {
            return;
        }
    }
    fail_msg("the core never comes to rest");
}

void fake_pass_ms(uint32_t ms) {
    for (uint32_t i = 0; i < ms; i++) {
        fake.now_ms++;
        fake_run();
    }
}

void fake_bytes(const uint8_t *bytes, size_t size) {
    if (fake.rx_at == fake.rx_size) {
        fake.rx_at = 0;
        fake.rx_size = 0;
    }
    assert_true(fake.rx_size + size <= FAKE_RX_BYTES);
    if (size > 0) {
        memcpy(fake.rx + fake.rx_size, bytes, size);
        fake.rx_size += size;
    }
}

void fake_frame(uint8_t type, uint16_t sequence, const uint8_t *payload, size_t size) {
    uint8_t plain[LINK_FRAME_MAX];
    uint8_t encoded[LINK_ENCODED_MAX];
    plain[0] = type;
    put_u16(plain + 1, sequence);
    if (size > 0) {
        memcpy(plain + 3, payload, size);
    }
    put_u16(plain + 3 + size, crc16(CRC16_START, plain, 3 + size));
    const size_t length = cobs_encode(plain, size + PROTOCOL_FRAME_OVERHEAD, encoded);
    encoded[length] = 0;
    fake_bytes(encoded, length + 1);
}

bool fake_take(struct sent_frame *frame) {
    while (fake.tx_read < fake.tx_size) {
        const uint8_t *from = fake.tx + fake.tx_read;
        const uint8_t *delimiter = memchr(from, 0, fake.tx_size - fake.tx_read);
        if (delimiter == NULL) {
            return false;
        }
        const size_t length = (size_t)(delimiter - from);
        uint8_t plain[LINK_ENCODED_MAX];
        size_t size = 0;
        fake.tx_read += length + 1;
        assert_true(length <= sizeof plain);
        if (!cobs_decode(from, length, plain, &size) || size < PROTOCOL_FRAME_OVERHEAD ||
            crc16(CRC16_START, plain, size - 2) != get_u16(plain + size - 2)) {
            fake.tx_broken++;
            continue;
        }
        frame->type = plain[0];
        frame->sequence = get_u16(plain + 1);
        frame->size = size - PROTOCOL_FRAME_OVERHEAD;
        memcpy(frame->payload, plain + 3, frame->size);
        return true;
    }
    return false;
}

void fake_skip(void) {
    fake.tx_read = fake.tx_size;
}

struct sent_frame fake_command(uint8_t type, const uint8_t *payload, size_t size) {
    struct sent_frame frame;
    fake_skip();
    fake_frame(type, ++fake.sequence, payload, size);
    fake_run();
    while (fake_take(&frame)) {
        if (frame.sequence == fake.sequence && (frame.type & PROTOCOL_REPLY_BIT) != 0) {
            return frame;
        }
    }
    fail_msg("no reply to command 0x%02x", type);
    return frame;
}

struct sent_frame fake_ok(uint8_t type, const uint8_t *payload, size_t size) {
    const struct sent_frame reply = fake_command(type, payload, size);
    if (reply.type == MESSAGE_ERROR_REPLY) {
        fail_msg("command 0x%02x refused: code %u, detail %u", type, reply.payload[1], get_u16(reply.payload + 2));
    }
    assert_int_equal(reply.type, type | PROTOCOL_REPLY_BIT);
    return reply;
}

uint16_t fake_refused(uint8_t type, const uint8_t *payload, size_t size, enum error_code code) {
    struct msg_error_reply error;
    const struct sent_frame reply = fake_command(type, payload, size);
    assert_int_equal(reply.type, MESSAGE_ERROR_REPLY);
    assert_int_equal(reply.size, MSG_ERROR_REPLY_SIZE);
    msg_error_reply_unpack(&error, reply.payload);
    assert_int_equal(error.command, type);
    assert_int_equal(error.code, code);
    return error.detail;
}

void fake_hello(void) {
    static const struct msg_hello HELLO = {.schema_digest = PROTOCOL_SCHEMA_DIGEST};
    uint8_t payload[MSG_HELLO_SIZE];
    msg_hello_pack(&HELLO, payload);
    (void)fake_ok(MESSAGE_HELLO, payload, sizeof payload);
}

void fake_stage(const uint16_t *thresholds) {
    fake_stage_trimmed(thresholds, NO_TRIMS);
}

void fake_stage_trimmed(const uint16_t *thresholds, const int16_t *trims) {
    struct msg_stage_thresholds stage;
    uint8_t payload[MSG_STAGE_THRESHOLDS_SIZE];
    memcpy(stage.encoding_id, FAKE_ENCODING, sizeof stage.encoding_id);
    memcpy(stage.dac_codes, thresholds, sizeof stage.dac_codes);
    memcpy(stage.trims, trims, sizeof stage.trims);
    msg_stage_thresholds_pack(&stage, payload);
    const struct sent_frame reply = fake_ok(MESSAGE_STAGE_THRESHOLDS, payload, sizeof payload);
    assert_int_equal(get_u32(reply.payload), crc32(CRC32_START, payload + 16, 60));
}

void fake_commit(void) {
    uint8_t payload[MSG_COMMIT_SIZE];
    put_u32(payload, fake.core.thresholds.crc);
    const struct sent_frame reply = fake_ok(MESSAGE_COMMIT, payload, sizeof payload);
    const struct thresholds *thresholds = &fake.core.thresholds;
    assert_int_equal(get_u32(reply.payload), thresholds_crc(thresholds->wanted, thresholds->trims));
    for (uint8_t i = 0; i < PROTOCOL_COMPARATORS; i++) {
        assert_int_equal(fake.dac[i], thresholds->wanted[i] + thresholds->trims[i]);
    }
}

uint8_t *fake_arm_payload(uint16_t rows, uint16_t columns, uint8_t channels, uint8_t chunk_bytes) {
    static uint8_t payload[MSG_ARM_SIZE];
    struct msg_arm arm = {.thresholds_crc = fake.core.thresholds.crc,
                          .rows = rows,
                          .columns = columns,
                          .channels = channels,
                          .chunk_bytes = chunk_bytes};
    memcpy(arm.encoding_id, FAKE_ENCODING, sizeof arm.encoding_id);
    msg_arm_pack(&arm, payload);
    return payload;
}

void fake_credit(uint32_t acknowledged, uint32_t limit) {
    uint8_t payload[MSG_CREDIT_SIZE];
    put_u32(payload, acknowledged);
    put_u32(payload + 4, limit);
    fake_frame(MESSAGE_CREDIT, 0, payload, sizeof payload);
    fake_run();
}

uint16_t fake_clear_refused(enum fault fault, enum error_code code) {
    const uint8_t payload[MSG_CLEAR_FAULT_SIZE] = {(uint8_t)fault};
    return fake_refused(MESSAGE_CLEAR_FAULT, payload, sizeof payload, code);
}

void fake_clear(enum fault fault) {
    const uint8_t payload[MSG_CLEAR_FAULT_SIZE] = {(uint8_t)fault};
    (void)fake_ok(MESSAGE_CLEAR_FAULT, payload, sizeof payload);
    assert_int_equal(fake.core.state, STATE_SAFE);
    assert_int_equal(fake.core.fault, FAULT_NONE);
}

void fake_bring_to(enum state state, uint16_t rows, uint16_t columns, uint8_t channels) {
    fake_hello();
    if (state == STATE_STAGED || state == STATE_COMMITTED || state == STATE_ARMED) {
        fake_stage(FAKE_THRESHOLDS);
    }
    if (state == STATE_COMMITTED || state == STATE_ARMED) {
        fake_commit();
    }
    if (state == STATE_ARMED) {
        (void)fake_ok(MESSAGE_ARM, fake_arm_payload(rows, columns, channels, 32), MSG_ARM_SIZE);
    }
    if (state == STATE_FAULTED) {
        fake.supply_millivolts = 2900;
        fake_pass_ms(200);
        fake.supply_millivolts = 3300;
    }
    assert_int_equal(fake.core.state, state);
    fake_skip();
}

void fake_offer(uint32_t frame, uint16_t rows, uint16_t columns, uint16_t channels) {
    fake.frame_waits = true;
    fake.info = (struct frame_info){.frame = frame,
                                    .capture_time_us = 0x0102030405060708u,
                                    .exposure_us = 9000,
                                    .gain_milli = 1500,
                                    .rows = rows,
                                    .columns = columns,
                                    .channels = channels};
}
