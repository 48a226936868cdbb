// Frames of pooled voltages from the twin.
#include "frames.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/types.h>

#include "bytes.h"

_Static_assert(sizeof(float) == 4, "volts travel as IEEE 754 single precision");

enum { REPORT_FINISHED = 1, REPORT_EXPOSURE = 2 };

#define REPORT_BYTES 12u
#define READS_PER_CALL 8 // so that a client that never stops sending cannot keep the board here

static void swap(struct sensor_frame *a, struct sensor_frame *b) {
    const struct sensor_frame kept = *a;
    *a = *b;
    *b = kept;
}

bool frames_open(struct frames *frames, const char *path) {
    memset(frames, 0, sizeof *frames);
    return listener_open(&frames->socket, path);
}

static void report(struct frames *frames, uint8_t type, uint32_t a, uint32_t b) {
    uint8_t bytes[REPORT_BYTES] = {type};
    put_u32(bytes + 4, a);
    put_u32(bytes + 8, b);
    if (frames->socket.client < 0) {
        return;
    }
    const ssize_t sent = send(frames->socket.client, bytes, sizeof bytes, MSG_NOSIGNAL | MSG_DONTWAIT);
    if (sent != (ssize_t)sizeof bytes) {
        listener_drop(&frames->socket, "it does not read its reports");
    }
}

// Forgets the frame that is coming in and the one that waits.
static void forget(struct frames *frames) {
    frames->header_size = 0;
    frames->volts_size = 0;
    frames->has_pending = false;
}

void frames_accept(struct frames *frames) {
    if (listener_accept(&frames->socket)) {
        forget(frames);
    }
}

// Reads the header that just became complete. NULL: fine; otherwise what is wrong with it.
static const char *open_header(struct frames *frames) {
    const uint8_t *header = frames->header;
    if (get_u32(header) != FRAMES_MAGIC) {
        return "a frame does not begin with the magic 0x4D524643";
    }
    struct sensor_frame *frame = &frames->incoming;
    frame->info = (struct frame_info){
        .frame = get_u32(header + 4),
        .capture_time_us = get_u64(header + 8),
        .exposure_us = get_u32(header + 16),
        .gain_milli = get_u32(header + 20),
        .rows = get_u16(header + 24),
        .columns = get_u16(header + 26),
        .channels = get_u16(header + 28),
    };
    const uint64_t cells = (uint64_t)frame->info.rows * frame->info.columns * frame->info.channels;
    if (cells == 0 || cells > FRAMES_MAX_CELLS) {
        return "a frame has no cells, or more than 1048576";
    }
    frame->cells = (uint32_t)cells;
    if (cells > frame->capacity) {
        float *volts = realloc(frame->volts, cells * sizeof *volts);
        if (volts == NULL) {
            return "there is no memory for a frame of this size";
        }
        frame->volts = volts;
        frame->capacity = cells;
    }
    return NULL;
}

// The frame coming in is complete: it waits from now on, in the place of one that waited before.
static void complete(struct frames *frames) {
    struct sensor_frame *frame = &frames->incoming;
    for (uint32_t i = 0; i < frame->cells; i++) {
        const uint32_t bits = get_u32((const uint8_t *)&frame->volts[i]);
        memcpy(&frame->volts[i], &bits, sizeof bits);
    }
    frames->received++;
    frames->header_size = 0;
    frames->volts_size = 0;
    const bool replaces = frames->has_pending;
    const uint32_t replaced = frames->pending.info.frame;
    swap(&frames->incoming, &frames->pending);
    frames->has_pending = true;
    if (replaces) {
        frames->replaced++;
        report(frames, REPORT_FINISHED, replaced, 0);
    }
}

void frames_read(struct frames *frames) {
    for (int i = 0; i < READS_PER_CALL && frames->socket.client >= 0; i++) {
        uint8_t *into = frames->header + frames->header_size;
        size_t wanted = FRAMES_HEADER_BYTES - frames->header_size;
        const bool in_header = wanted > 0;
        if (!in_header) {
            into = (uint8_t *)frames->incoming.volts + frames->volts_size;
            wanted = frames->incoming.cells * sizeof(float) - frames->volts_size;
        }
        const ssize_t got = recv(frames->socket.client, into, wanted, MSG_DONTWAIT);
        if (got < 0 && (errno == EAGAIN || errno == EINTR)) {
            return;
        }
        if (got <= 0) {
            listener_drop(&frames->socket, NULL);
            forget(frames);
            return;
        }
        if (!in_header) {
            frames->volts_size += (size_t)got;
            if ((size_t)got == wanted) {
                complete(frames);
            }
            continue;
        }
        frames->header_size += (size_t)got;
        if ((size_t)got == wanted) {
            const char *wrong = open_header(frames);
            if (wrong != NULL) {
                listener_drop(&frames->socket, wrong);
                forget(frames);
            }
        }
    }
}

bool frames_hold(struct frames *frames, struct frame_info *info) {
    if (!frames->has_pending) {
        return false;
    }
    swap(&frames->pending, &frames->held);
    frames->has_pending = false;
    frames->has_held = true;
    *info = frames->held.info;
    return true;
}

void frames_release(struct frames *frames, enum frame_fate fate) {
    if (fate == FRAME_ABANDONED) {
        frames_reset(frames);
        return;
    }
    frames->has_held = false;
    frames->measured += fate == FRAME_MEASURED ? 1u : 0u;
    report(frames, REPORT_FINISHED, frames->held.info.frame, fate == FRAME_MEASURED ? 1 : 0);
}

void frames_reset(struct frames *frames) {
    if (frames->has_held && frames->has_pending) {
        report(frames, REPORT_FINISHED, frames->held.info.frame, 0);
    } else if (frames->has_held) {
        swap(&frames->held, &frames->pending);
        frames->has_pending = true;
    }
    frames->has_held = false;
}

void frames_exposure(struct frames *frames, uint32_t exposure_us, uint32_t gain_milli) {
    report(frames, REPORT_EXPOSURE, exposure_us, gain_milli);
}

void frames_close(struct frames *frames) {
    listener_close(&frames->socket);
    free(frames->incoming.volts);
    free(frames->pending.volts);
    free(frames->held.volts);
}
