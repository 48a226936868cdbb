// Fuzzes the whole core: commands in any order with any content, time, frames and broken hardware in between.
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "fake_board.h"

enum operation { OP_FRAME, OP_RAW, OP_TIME, OP_OFFER, OP_BREAK, OP_ROOM, OP_COUNT };

struct bytes {
    const uint8_t *at;
    size_t left;
};

static uint8_t take(struct bytes *bytes) {
    if (bytes->left == 0) {
        return 0;
    }
    bytes->left--;
    return *bytes->at++;
}

// A frame whose CRC is right: a fuzzer does not find those by itself.
static void send_frame(struct bytes *bytes) {
    static uint16_t sequence = 0;
    const uint8_t type = take(bytes);
    size_t size = take(bytes);
    size |= (size_t)take(bytes) << 8; // Convert is longer than 255
    size = size < bytes->left ? size : bytes->left;
    size = size < PROTOCOL_MAX_PAYLOAD ? size : PROTOCOL_MAX_PAYLOAD;
    fake_frame(type, sequence++, bytes->at, size);
    bytes->at += size;
    bytes->left -= size;
}

// What no input may ever bring about.
static void require_safe(void) {
    const bool armed = fake.core.state == STATE_ARMED;
    // Between commands the test cell is dark: nothing that was driven there stays.
    if ((!armed && !fake.safe) || fake.core.thresholds.expected[TEST_CHANNEL] != 0 || armed != fake.core.stream.armed ||
        fake.core.state > STATE_FAULTED || (fake.core.state == STATE_FAULTED) != (fake.core.fault != FAULT_NONE)) {
        abort();
    }
}

static void operate(struct bytes *bytes) {
    switch (take(bytes) % OP_COUNT) {
    case OP_FRAME:
        send_frame(bytes);
        break;
    case OP_RAW: {
        const uint8_t byte = take(bytes);
        fake_bytes(&byte, 1);
        break;
    }
    case OP_TIME:
        fake.now_ms += (uint32_t)take(bytes) * 8u;
        break;
    case OP_OFFER:
        if (!fake.frame_held) {
            fake_offer(take(bytes), take(bytes), 4, 3);
        }
        break;
    case OP_BREAK:
        fake.stuck_high = (uint16_t)(1u << (take(bytes) % 16u));
        fake.dac_write_fails = take(bytes);
        fake.drift[take(bytes) % PROTOCOL_DAC_CHANNELS] = take(bytes);
        fake.supply_millivolts = (uint16_t)(take(bytes) * 20u);
        break;
    default:
        fake.stuck_high = 0;
        fake.dac_write_fails = 0;
        memset(fake.drift, 0, sizeof fake.drift);
        fake.supply_millivolts = 3300;
        fake.tx_room = take(bytes) == 0 ? SIZE_MAX : take(bytes);
        break;
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct bytes bytes = {data, size};
    (void)fake_setup(NULL);
    fake_hello();
    if (take(&bytes) % 2 == 0) {
        fake_bring_to(STATE_ARMED, 4, 4, 3);
        fake_credit(0, 1000);
    }
    for (size_t i = 0; i < 256 && bytes.left > 0 && fake.reboots == 0; i++) {
        operate(&bytes);
        for (int poll = 0; poll < 3; poll++) {
            (void)core_poll(&fake.core);
            require_safe();
        }
        fake.tx_size = 0; // the host reads everything
        fake.tx_read = 0;
        fake.reboots = 0;
        if (fake.core.stopped) {
            return 0;
        }
    }
    return 0;
}
