// Measurements: taken from frames cell by cell, kept in slots, streamed in chunks, sent again on demand, freed when
// acknowledged.
#ifndef CANOPIC_STREAM_H
#define CANOPIC_STREAM_H

#include <stdbool.h>
#include <stdint.h>

#include "config.h"
#include "consistency.h"
#include "hal.h"
#include "link.h"
#include "protocol.h"

#define STREAM_BITMAP_BYTES 32u

// What ARM fixes.
struct geometry {
    uint16_t rows;
    uint16_t columns;
    uint8_t channels;
    uint8_t chunk_bytes;
    uint32_t thresholds_crc;
};

struct slot {
    bool held; // finished and not acknowledged
    uint32_t sequence;
    uint8_t header[MSG_MEASUREMENT_HEADER_SIZE];
    uint8_t packed[(CANOPIC_MAX_CELLS + 1u) / 2u];
    uint32_t packed_size;
    uint16_t chunks; // with the header
    uint8_t chunk_bytes;
    uint8_t pending[STREAM_BITMAP_BYTES]; // bit i: chunk i is to be sent
};

struct stream {
    const struct hal *hal;
    bool armed;
    struct geometry geometry;
    uint32_t cells;
    uint32_t acknowledged; // sequences below are done
    uint32_t limit;        // sequences below may be produced
    uint32_t next;         // sequence of the next measurement
    uint32_t frames_unmeasured;
    bool frame_seen;
    uint32_t last_frame;
    bool measuring;
    uint32_t cell; // next cell of the measurement in progress
    struct frame_info info;
    struct consistency consistency;
    struct slot slots[CANOPIC_SLOTS];
};

// Number of data chunks that a measurement of this many cells takes.
uint32_t stream_chunks(uint32_t cells, uint8_t chunk_bytes);

void stream_init(struct stream *stream, const struct hal *hal);

// Starts at sequence 0 with no credit. `wanted` are the codes of the 15 committed thresholds, without trims.
void stream_arm(struct stream *stream, const struct geometry *geometry, const uint16_t *wanted);

// Forgets every measurement, finished or not.
void stream_disarm(struct stream *stream);

// Chunk size from the next measurement on. False: too many chunks.
bool stream_set_chunk(struct stream *stream, uint8_t chunk_bytes);

void stream_credit(struct stream *stream, uint32_t acknowledged, uint32_t limit);
void stream_resend(struct stream *stream, uint32_t sequence, const uint8_t bitmap[STREAM_BITMAP_BYTES]);

// Measures at most CANOPIC_CELLS_PER_POLL cells; `stuck` gets a comparator that turned out to be stuck (that
// measurement is not finished), or CONSISTENCY_NO_SUSPECT. Returns whether there was anything to do: then there may be
// more.
bool stream_measure(struct stream *stream, uint8_t *stuck);

// Queues as many pending chunks, oldest measurement first, as the link has room for. Returns whether some are left.
bool stream_fill(struct stream *stream, struct link *link);

#endif
