// Fuzzes what a stranger on the line reaches first: the link's decoder, and the codec of every message.
#include <stdlib.h>

#include "cobs.h"
#include "link.h"
#include "protocol_text.h"

static const uint8_t *input;
static size_t input_size;
static size_t piece;

static size_t uart_read(void *context, uint8_t *buffer, size_t capacity) {
    (void)context;
    size_t size = input_size < capacity ? input_size : capacity;
    size = size < piece ? size : piece;
    memcpy(buffer, input, size);
    input += size;
    input_size -= size;
    return size;
}

static void require(bool condition) {
    if (!condition) {
        abort();
    }
}

// Whatever the payload, unpacking it and packing it again gives the same bytes.
static void every_message(const uint8_t *payload, size_t size) {
    static const char *const NAMES[] = {"Hello",
                                        "HelloReply",
                                        "StatusReply",
                                        "HeartbeatReply",
                                        "ClearFault",
                                        "StageThresholds",
                                        "ReadThresholdsReply",
                                        "Commit",
                                        "Arm",
                                        "SetExposure",
                                        "SelfTestReply",
                                        "SetChunk",
                                        "Sweep",
                                        "SweepReply",
                                        "Convert",
                                        "ConvertReply",
                                        "Credit",
                                        "Resend",
                                        "Error",
                                        "ErrorReply",
                                        "Measurement",
                                        "MeasurementHeader",
                                        "FaultNotice"};
    for (size_t i = 0; i < sizeof NAMES / sizeof NAMES[0]; i++) {
        uint8_t repacked[PROTOCOL_MAX_PAYLOAD];
        struct text text = {.buffer = "", .size = 0};
        const int fixed = protocol_text(NAMES[i], payload, size, &text, repacked);
        require(fixed < 0 || ((size_t)fixed <= size && memcmp(repacked, payload, (size_t)fixed) == 0));
    }
}

// Whatever the bytes, encoding and decoding them gives the same bytes.
static void cobs_both_ways(const uint8_t *bytes, size_t size) {
    static uint8_t encoded[COBS_ENCODED_MAX(8192)];
    static uint8_t decoded[sizeof encoded];
    size_t back = 0;
    if (size > 8192) {
        return;
    }
    const size_t length = cobs_encode(bytes, size, encoded);
    require(length <= COBS_ENCODED_MAX(size) && memchr(encoded, 0, length) == NULL);
    require(cobs_decode(encoded, length, decoded, &back) && back == size);
    require(size == 0 || memcmp(decoded, bytes, size) == 0);
    (void)cobs_decode(bytes, size, decoded, &back);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static struct link link;
    static const struct hal HAL = {.uart_read = uart_read};
    struct frame frame;
    if (size == 0) {
        return 0;
    }
    cobs_both_ways(data + 1, size - 1);
    every_message(data + 1, size - 1);
    link_init(&link, &HAL);
    piece = (size_t)data[0] + 1;
    input = data + 1;
    input_size = size - 1;
    while (input_size > 0 || link.received_at < link.received_size) {
        if (link_receive(&link, &frame)) {
            require(frame.size <= PROTOCOL_MAX_PAYLOAD);
            every_message(frame.payload, frame.size);
        }
    }
    return 0;
}
