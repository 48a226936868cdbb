// Frames of pooled voltages from the twin, over a socket: the sensor side of the simulated board.
#ifndef CANOPIC_HOST_FRAMES_H
#define CANOPIC_HOST_FRAMES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "hal.h"
#include "sockets.h"

#define FRAMES_MAGIC 0x4D524643u // "CFRM" on the wire
#define FRAMES_HEADER_BYTES 32u
#define FRAMES_MAX_CELLS (1u << 20) // a larger frame is taken for garbage

// One frame: its volts are in row-major order over rows, columns, channels.
struct sensor_frame {
    struct frame_info info;
    float *volts;
    size_t capacity; // [cells]
    uint32_t cells;
};

struct frames {
    struct listener socket;
    uint8_t header[FRAMES_HEADER_BYTES];
    size_t header_size;
    size_t volts_size; // [bytes] received of the frame that is coming in
    struct sensor_frame incoming;
    struct sensor_frame pending; // complete, waits for the core
    struct sensor_frame held;    // being measured
    bool has_pending;
    bool has_held;
    uint64_t received;
    uint64_t replaced;
    uint64_t measured;
};

bool frames_open(struct frames *frames, const char *path);

// Takes a waiting client. What the client before had sent and was not measured is forgotten.
void frames_accept(struct frames *frames);

// Reads what the client sent, without waiting. A client that sends garbage is dropped.
void frames_read(struct frames *frames);

// Hands out the pending frame; it is held until frames_release. False: there is none.
bool frames_hold(struct frames *frames, struct frame_info *info);

// Lets go of the held frame and tells the client; an abandoned one waits again unless a newer one does.
void frames_release(struct frames *frames, enum frame_fate fate);

// After a reset of the board: a held frame waits again.
void frames_reset(struct frames *frames);

// Tells the client about an exposure that the board asked for.
void frames_exposure(struct frames *frames, uint32_t exposure_us, uint32_t gain_milli);

void frames_close(struct frames *frames);

#endif
