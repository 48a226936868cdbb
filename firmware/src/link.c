// Frames over the UART.
#include "link.h"

#include <string.h>

#include "bytes.h"
#include "crc.h"

// Encoded size of the largest MEASUREMENT, with its delimiter.
#define STREAM_FRAME_MAX                                                                                               \
    (COBS_ENCODED_MAX(PROTOCOL_FRAME_OVERHEAD + MSG_MEASUREMENT_SIZE + PROTOCOL_CHUNK_BYTES_MAX) + 1u)

_Static_assert(CANOPIC_STREAM_BYTES >= STREAM_FRAME_MAX, "CANOPIC_STREAM_BYTES must hold one frame");

void link_init(struct link *link, const struct hal *hal) {
    memset(link, 0, sizeof *link);
    link->hal = hal;
    link->sending = LINK_BETWEEN_FRAMES;
}

// Decodes and checks the frame that just ended. False: bad.
static bool open_frame(struct link *link, struct frame *frame) {
    size_t size = 0;
    if (!cobs_decode(link->encoded, link->encoded_size, link->encoded, &size) || size < PROTOCOL_FRAME_OVERHEAD ||
        size > LINK_FRAME_MAX) {
        return false;
    }
    if (crc16(CRC16_START, link->encoded, size - 2) != get_u16(link->encoded + size - 2)) {
        return false;
    }
    frame->type = link->encoded[0];
    frame->sequence = get_u16(link->encoded + 1);
    frame->payload = link->encoded + 3;
    frame->size = size - PROTOCOL_FRAME_OVERHEAD;
    return true;
}

// Takes one received byte. True: it completed a good frame.
static bool take(struct link *link, uint8_t byte, struct frame *frame) {
    if (byte != 0) {
        if (link->encoded_size < sizeof link->encoded) {
            link->encoded[link->encoded_size++] = byte;
        } else {
            link->overlong = true;
        }
        return false;
    }
    // A delimiter on its own is how a host clears the line: not an error.
    const bool empty = link->encoded_size == 0;
    const bool good = !empty && !link->overlong && open_frame(link, frame);
    link->encoded_size = 0;
    link->overlong = false;
    if (!good && !empty) {
        link->bad_frames++;
    }
    return good;
}

bool link_receive(struct link *link, struct frame *frame) {
    // One refill at most, so that a host that never stops sending cannot keep the core here.
    for (int refill = 0; refill < 2; refill++) {
        while (link->received_at < link->received_size) {
            if (take(link, link->received[link->received_at++], frame)) {
                return true;
            }
        }
        if (refill == 0) {
            link->received_at = 0;
            link->received_size = link->hal->uart_read(link->hal->context, link->received, sizeof link->received);
        }
    }
    return false;
}

void link_forget(struct link *link) {
    wipe(link->encoded, sizeof link->encoded);
    // What was received and not yet looked at belongs to later frames; around it lies what was.
    wipe(link->received, link->received_at);
    wipe(link->received + link->received_size, sizeof link->received - link->received_size);
}

// Encodes a frame with its delimiter. Returns its size.
static size_t seal(uint8_t type, uint16_t sequence, const uint8_t *payload, size_t size, uint8_t *out) {
    uint8_t plain[LINK_FRAME_MAX];
    plain[0] = type;
    put_u16(plain + 1, sequence);
    if (size > 0) {
        memcpy(plain + 3, payload, size);
    }
    put_u16(plain + 3 + size, crc16(CRC16_START, plain, 3 + size));
    const size_t encoded = cobs_encode(plain, size + PROTOCOL_FRAME_OVERHEAD, out);
    out[encoded] = 0;
    return encoded + 1;
}

bool link_send(struct link *link, uint8_t type, uint16_t sequence, const uint8_t *payload, size_t size) {
    uint8_t encoded[LINK_ENCODED_MAX];
    if (size > PROTOCOL_MAX_PAYLOAD) {
        return false;
    }
    const size_t length = seal(type, sequence, payload, size, encoded);
    if (length > LINK_CONTROL_BYTES - link->control_size) {
        return false;
    }
    for (size_t i = 0; i < length; i++) {
        link->control[(link->control_at + link->control_size++) % LINK_CONTROL_BYTES] = encoded[i];
    }
    return true;
}

bool link_stream_room(const struct link *link) {
    // The queue is drained before it is filled again; a queue that is being drained has no room.
    return link->stream_at == 0 && CANOPIC_STREAM_BYTES - link->stream_end >= STREAM_FRAME_MAX;
}

void link_stream(struct link *link, const uint8_t *payload, size_t size) {
    link->stream_end +=
        seal(MESSAGE_MEASUREMENT, link_next_notice(link), payload, size, link->stream + link->stream_end);
}

void link_purge_stream(struct link *link) {
    link->stream_at = 0;
    link->stream_end = 0;
    if (link->sending == LINK_IN_STREAM) {
        // The frame that was being sent ends here and now; its receiver sees one bad frame.
        link->stream[link->stream_end++] = 0;
    }
}

uint16_t link_next_notice(struct link *link) {
    return link->notices++;
}

// Sends from the ring of replies, at most to where it wraps. Returns how many bytes the UART took.
static size_t pump_control(struct link *link) {
    const size_t to_wrap = LINK_CONTROL_BYTES - link->control_at;
    const size_t size = link->control_size < to_wrap ? link->control_size : to_wrap;
    const size_t sent = link->hal->uart_write(link->hal->context, link->control + link->control_at, size);
    if (sent > 0) {
        link->sending = link->control[link->control_at + sent - 1] == 0 ? LINK_BETWEEN_FRAMES : LINK_IN_CONTROL;
        link->control_at = (link->control_at + sent) % LINK_CONTROL_BYTES;
        link->control_size -= sent;
    }
    return sent;
}

// Sends from the stream queue: all of it, or only the rest of the frame in flight when a reply waits.
static size_t pump_stream(struct link *link) {
    size_t size = link->stream_end - link->stream_at;
    if (link->control_size > 0) {
        const uint8_t *from = link->stream + link->stream_at;
        const uint8_t *delimiter = memchr(from, 0, size);
        size = delimiter == NULL ? size : (size_t)(delimiter - from) + 1;
    }
    const size_t sent = link->hal->uart_write(link->hal->context, link->stream + link->stream_at, size);
    if (sent > 0) {
        link->stream_at += sent;
        link->sending = link->stream[link->stream_at - 1] == 0 ? LINK_BETWEEN_FRAMES : LINK_IN_STREAM;
        if (link->stream_at == link->stream_end) {
            link->stream_at = 0;
            link->stream_end = 0;
        }
    }
    return sent;
}

enum link_progress link_pump(struct link *link) {
    // A few rounds: the ring in two pieces, the rest of a frame, the stream.
    for (int round = 0; round < 4; round++) {
        const bool control = link->control_size > 0 && link->sending != LINK_IN_STREAM;
        const bool stream = link->stream_end > link->stream_at && link->sending != LINK_IN_CONTROL;
        if (!control && !stream) {
            return LINK_IDLE;
        }
        if ((control ? pump_control(link) : pump_stream(link)) == 0) {
            return LINK_FULL;
        }
    }
    return link->control_size > 0 || link->stream_end > link->stream_at ? LINK_BUSY : LINK_IDLE;
}
