// Frames over the UART: COBS and CRC-16 in both directions, replies ahead of the stream, nothing ever waits.
#ifndef CANOPIC_LINK_H
#define CANOPIC_LINK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "cobs.h"
#include "config.h"
#include "hal.h"
#include "protocol.h"

#define LINK_FRAME_MAX (PROTOCOL_MAX_PAYLOAD + PROTOCOL_FRAME_OVERHEAD)
#define LINK_ENCODED_MAX (COBS_ENCODED_MAX(LINK_FRAME_MAX) + 1u)
#define LINK_CONTROL_BYTES 1024u // room for replies and fault notices

// A received frame; the payload lies inside the link and is valid until the next link_receive.
struct frame {
    uint8_t type;
    uint16_t sequence;
    const uint8_t *payload;
    size_t size;
};

struct link {
    const struct hal *hal;
    uint8_t received[256]; // bytes from the UART, not yet looked at
    size_t received_size;
    size_t received_at;
    uint8_t encoded[LINK_ENCODED_MAX]; // the frame that is coming in
    size_t encoded_size;
    bool overlong; // the frame coming in is too long: skip to its delimiter
    uint32_t bad_frames;

    // Two queues of encoded frames. Each frame ends with the only zero byte in it.
    uint8_t control[LINK_CONTROL_BYTES]; // ring
    size_t control_at;
    size_t control_size;
    uint8_t stream[CANOPIC_STREAM_BYTES]; // filled when empty, then drained
    size_t stream_at;
    size_t stream_end;
    enum { LINK_BETWEEN_FRAMES, LINK_IN_CONTROL, LINK_IN_STREAM } sending;
    uint16_t notices; // sequence of the next frame that answers nothing
};

void link_init(struct link *link, const struct hal *hal);

// Looks through received bytes until a good frame is complete. False: no (more) good frame for now.
bool link_receive(struct link *link, struct frame *frame);

// Wipes the frame that was received last: its payload said more about light than codes do.
void link_forget(struct link *link);

// Queues a reply or notice. False: there is no room, the frame is dropped (the host asks again).
bool link_send(struct link *link, uint8_t type, uint16_t sequence, const uint8_t *payload, size_t size);

// Whether a chunk of a measurement can be queued now.
bool link_stream_room(const struct link *link);

// Queues a MEASUREMENT payload; only after link_stream_room.
void link_stream(struct link *link, const uint8_t *payload, size_t size);

// Forgets the stream queue at once, in the middle of a frame if need be: no byte of it is sent from now on.
void link_purge_stream(struct link *link);

enum link_progress { LINK_IDLE, LINK_BUSY, LINK_FULL };

// Hands queued bytes to the UART. Idle: all are out. Busy: some are left. Full: some are left, the UART takes none now.
enum link_progress link_pump(struct link *link);

// The sequence of the next frame that answers nothing.
uint16_t link_next_notice(struct link *link);

#endif
