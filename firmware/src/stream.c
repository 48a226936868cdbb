// Measurements.
#include "stream.h"

#include <string.h>

#include "bytes.h"
#include "crc.h"

// The slot of a sequence is the remainder, also where sequences wrap.
_Static_assert(CANOPIC_SLOTS >= 1u && CANOPIC_SLOTS <= 128u && (CANOPIC_SLOTS & (CANOPIC_SLOTS - 1u)) == 0u,
               "CANOPIC_SLOTS must be a power of two that fits one byte");

// Sequences wrap: a is before b when the way from a to b is the shorter one.
static bool before(uint32_t a, uint32_t b) {
    return a != b && b - a < 0x80000000u;
}

uint32_t stream_chunks(uint32_t cells, uint8_t chunk_bytes) {
    const uint32_t bytes = cells / 2u + cells % 2u;
    return bytes / chunk_bytes + (bytes % chunk_bytes != 0 ? 1u : 0u);
}

void stream_init(struct stream *stream, const struct hal *hal) {
    memset(stream, 0, sizeof *stream);
    stream->hal = hal;
}

void stream_arm(struct stream *stream, const struct geometry *geometry, const uint16_t *wanted) {
    const struct hal *hal = stream->hal;
    stream_init(stream, hal);
    stream->armed = true;
    stream->geometry = *geometry;
    stream->cells = (uint32_t)geometry->rows * geometry->columns * geometry->channels;
    consistency_init(&stream->consistency, wanted, stream->cells);
}

void stream_disarm(struct stream *stream) {
    if (stream->measuring) {
        stream->hal->frame_release(stream->hal->context, FRAME_ABANDONED);
    }
    // Sequence, credits and counters stay readable in STATUS until the next ARM.
    stream->measuring = false;
    stream->armed = false;
    memset(stream->slots, 0, sizeof stream->slots);
}

bool stream_set_chunk(struct stream *stream, uint8_t chunk_bytes) {
    if (stream_chunks(stream->cells, chunk_bytes) > PROTOCOL_CHUNKS_MAX) {
        return false;
    }
    stream->geometry.chunk_bytes = chunk_bytes;
    return true;
}

static struct slot *slot_of(struct stream *stream, uint32_t sequence) {
    return &stream->slots[sequence % CANOPIC_SLOTS];
}

void stream_credit(struct stream *stream, uint32_t acknowledged, uint32_t limit) {
    // Nothing that was never produced can be acknowledged, and nothing is un-acknowledged: such a credit is stale.
    if (!stream->armed || before(stream->next, acknowledged) || before(acknowledged, stream->acknowledged)) {
        return;
    }
    stream->acknowledged = acknowledged;
    stream->limit = limit;
    for (size_t i = 0; i < CANOPIC_SLOTS; i++) {
        if (stream->slots[i].held && before(stream->slots[i].sequence, acknowledged)) {
            stream->slots[i].held = false;
        }
    }
}

void stream_resend(struct stream *stream, uint32_t sequence, const uint8_t bitmap[STREAM_BITMAP_BYTES]) {
    struct slot *slot = slot_of(stream, sequence);
    if (!stream->armed || !slot->held || slot->sequence != sequence) {
        return;
    }
    for (uint16_t chunk = 0; chunk < slot->chunks; chunk++) {
        slot->pending[chunk / 8u] |= (uint8_t)(bitmap[chunk / 8u] & (1u << (chunk % 8u)));
    }
}

// Takes the next frame, if it may be measured. False: there is nothing to measure.
static bool begin(struct stream *stream) {
    const struct hal *hal = stream->hal;
    const bool room = stream->next - stream->acknowledged < CANOPIC_SLOTS;
    if (!room || !before(stream->next, stream->limit) || !hal->frame_poll(hal->context, &stream->info)) {
        return false;
    }
    const struct frame_info *info = &stream->info;
    if (stream->frame_seen && before(stream->last_frame, info->frame)) {
        stream->frames_unmeasured += info->frame - stream->last_frame - 1u;
    }
    stream->frame_seen = true;
    stream->last_frame = info->frame;
    if (info->rows != stream->geometry.rows || info->columns != stream->geometry.columns ||
        info->channels != stream->geometry.channels) {
        stream->frames_unmeasured++;
        hal->frame_release(hal->context, FRAME_UNFIT);
        return false;
    }
    consistency_begin(&stream->consistency);
    stream->cell = 0;
    stream->measuring = true;
    return true;
}

// Seals the measurement: header, digest, every chunk pending.
static void finish(struct stream *stream) {
    struct slot *slot = slot_of(stream, stream->next);
    const struct geometry *geometry = &stream->geometry;
    slot->sequence = stream->next;
    slot->packed_size = stream->cells / 2u + stream->cells % 2u;
    slot->chunk_bytes = geometry->chunk_bytes;
    slot->chunks = (uint16_t)(stream_chunks(stream->cells, geometry->chunk_bytes) + 1u);
    const struct msg_measurement_header header = {
        .sequence = stream->next,
        .frame = stream->info.frame,
        .capture_time_us = stream->info.capture_time_us,
        .exposure_us = stream->info.exposure_us,
        .gain_milli = stream->info.gain_milli,
        .rows = geometry->rows,
        .columns = geometry->columns,
        .channels = geometry->channels,
        .chunk_bytes = geometry->chunk_bytes,
        .thresholds_crc = geometry->thresholds_crc,
        .cells_crc32 = crc32(CRC32_START, slot->packed, slot->packed_size),
    };
    msg_measurement_header_pack(&header, slot->header);
    for (uint16_t chunk = 0; chunk < slot->chunks; chunk++) {
        slot->pending[chunk / 8u] |= (uint8_t)(1u << (chunk % 8u));
    }
    slot->held = true;
    stream->next++;
    stream->measuring = false;
    stream->hal->frame_release(stream->hal->context, FRAME_MEASURED);
}

bool stream_measure(struct stream *stream, uint8_t *stuck) {
    *stuck = CONSISTENCY_NO_SUSPECT;
    if (!stream->armed || (!stream->measuring && !begin(stream))) {
        return false;
    }
    const struct hal *hal = stream->hal;
    struct slot *slot = slot_of(stream, stream->next);
    const uint32_t left = stream->cells - stream->cell;
    const uint32_t end = stream->cell + (left < CANOPIC_CELLS_PER_POLL ? left : CANOPIC_CELLS_PER_POLL);
    if (stream->cell == 0) {
        memset(slot, 0, sizeof *slot);
    }
    for (uint32_t cell = stream->cell; cell < end; cell++) {
        hal->cell_select(hal->context, cell);
        uint8_t code = 0;
        *stuck = consistency_read(&stream->consistency, hal, &code);
        if (*stuck != CONSISTENCY_NO_SUSPECT) {
            return true;
        }
        slot->packed[cell / 2u] |= (uint8_t)(cell % 2u == 0 ? code : code << 4);
    }
    stream->cell = end;
    if (end == stream->cells) {
        finish(stream);
    }
    return true;
}

// The lowest pending chunk of a slot, or its number of chunks when none is.
static uint16_t next_chunk(const struct slot *slot) {
    for (uint16_t byte = 0; byte < STREAM_BITMAP_BYTES; byte++) {
        for (uint16_t bit = 0; slot->pending[byte] != 0 && bit < 8; bit++) {
            if ((slot->pending[byte] & (1u << bit)) != 0) {
                return (uint16_t)(8u * byte + bit);
            }
        }
    }
    return slot->chunks;
}

// Queues one chunk.
static void send_chunk(struct slot *slot, uint16_t chunk, struct link *link) {
    uint8_t payload[MSG_MEASUREMENT_SIZE + PROTOCOL_CHUNK_BYTES_MAX];
    const uint8_t *data = slot->header;
    uint32_t size = sizeof slot->header;
    if (chunk > 0) {
        const uint32_t from = (chunk - 1u) * (uint32_t)slot->chunk_bytes;
        data = slot->packed + from;
        size = slot->packed_size - from < slot->chunk_bytes ? slot->packed_size - from : slot->chunk_bytes;
    }
    const struct msg_measurement measurement = {.sequence = slot->sequence, .chunk = (uint8_t)chunk};
    msg_measurement_pack(&measurement, payload);
    memcpy(payload + MSG_MEASUREMENT_SIZE, data, size);
    link_stream(link, payload, MSG_MEASUREMENT_SIZE + size);
    slot->pending[chunk / 8u] &= (uint8_t)(0xFFu ^ (1u << (chunk % 8u)));
}

bool stream_fill(struct stream *stream, struct link *link) {
    for (uint32_t age = 0; stream->armed && age < CANOPIC_SLOTS; age++) {
        struct slot *slot = slot_of(stream, stream->acknowledged + age);
        // Bounded: every round sends one of at most 256 chunks.
        for (uint16_t chunk = next_chunk(slot); slot->held && chunk < slot->chunks; chunk = next_chunk(slot)) {
            if (!link_stream_room(link)) {
                return true;
            }
            send_chunk(slot, chunk, link);
        }
    }
    return false;
}
