// Codec and allow-list of the wire protocol. Generated from protocol.yaml by generate_protocol.py: do not edit.
// clang-format off
#include "protocol.h"

#include <string.h>

#include "bytes.h"

void msg_hello_pack(const struct msg_hello *message, uint8_t *out) {
    memcpy(out + 0, message->schema_digest, 8);
}

void msg_hello_unpack(struct msg_hello *message, const uint8_t *in) {
    memcpy(message->schema_digest, in + 0, 8);
}

void msg_hello_reply_pack(const struct msg_hello_reply *message, uint8_t *out) {
    memcpy(out + 0, message->schema_digest, 8);
    put_u16(out + 8, message->protocol_version);
    memcpy(out + 10, message->firmware_version, 3);
    memcpy(out + 13, message->board_serial, 16);
    put_u32(out + 29, message->boot_id);
    out[33] = message->comparators;
    out[34] = message->dac_bits;
    put_u32(out + 35, message->reference_microvolts);
    put_u32(out + 39, message->max_cells);
    out[43] = message->measurement_slots;
    out[44] = message->state;
    out[45] = message->fault;
    out[46] = message->hardware;
}

void msg_hello_reply_unpack(struct msg_hello_reply *message, const uint8_t *in) {
    memcpy(message->schema_digest, in + 0, 8);
    message->protocol_version = get_u16(in + 8);
    memcpy(message->firmware_version, in + 10, 3);
    memcpy(message->board_serial, in + 13, 16);
    message->boot_id = get_u32(in + 29);
    message->comparators = in[33];
    message->dac_bits = in[34];
    message->reference_microvolts = get_u32(in + 35);
    message->max_cells = get_u32(in + 39);
    message->measurement_slots = in[43];
    message->state = in[44];
    message->fault = in[45];
    message->hardware = in[46];
}

void msg_status_reply_pack(const struct msg_status_reply *message, uint8_t *out) {
    out[0] = message->state;
    out[1] = message->fault;
    out[2] = message->fault_channel;
    put_u32(out + 3, message->uptime_ms);
    put_u32(out + 7, message->thresholds_crc);
    memcpy(out + 11, message->encoding_id, 16);
    put_u32(out + 27, message->sequence);
    put_u32(out + 31, message->acknowledged);
    put_u32(out + 35, message->limit);
    put_u32(out + 39, message->frames_unmeasured);
    put_u32(out + 43, message->rx_bad_frames);
    put_u16(out + 47, message->supply_millivolts);
}

void msg_status_reply_unpack(struct msg_status_reply *message, const uint8_t *in) {
    message->state = in[0];
    message->fault = in[1];
    message->fault_channel = in[2];
    message->uptime_ms = get_u32(in + 3);
    message->thresholds_crc = get_u32(in + 7);
    memcpy(message->encoding_id, in + 11, 16);
    message->sequence = get_u32(in + 27);
    message->acknowledged = get_u32(in + 31);
    message->limit = get_u32(in + 35);
    message->frames_unmeasured = get_u32(in + 39);
    message->rx_bad_frames = get_u32(in + 43);
    message->supply_millivolts = get_u16(in + 47);
}

void msg_heartbeat_reply_pack(const struct msg_heartbeat_reply *message, uint8_t *out) {
    out[0] = message->state;
    out[1] = message->fault;
}

void msg_heartbeat_reply_unpack(struct msg_heartbeat_reply *message, const uint8_t *in) {
    message->state = in[0];
    message->fault = in[1];
}

void msg_clear_fault_pack(const struct msg_clear_fault *message, uint8_t *out) {
    out[0] = message->fault;
}

void msg_clear_fault_unpack(struct msg_clear_fault *message, const uint8_t *in) {
    message->fault = in[0];
}

void msg_stage_thresholds_pack(const struct msg_stage_thresholds *message, uint8_t *out) {
    memcpy(out + 0, message->encoding_id, 16);
    for (size_t i = 0; i < 15; i++) {
        put_u16(out + 16 + 2 * i, message->dac_codes[i]);
    }
    for (size_t i = 0; i < 15; i++) {
        put_i16(out + 46 + 2 * i, message->trims[i]);
    }
}

void msg_stage_thresholds_unpack(struct msg_stage_thresholds *message, const uint8_t *in) {
    memcpy(message->encoding_id, in + 0, 16);
    for (size_t i = 0; i < 15; i++) {
        message->dac_codes[i] = get_u16(in + 16 + 2 * i);
    }
    for (size_t i = 0; i < 15; i++) {
        message->trims[i] = get_i16(in + 46 + 2 * i);
    }
}

void msg_stage_thresholds_reply_pack(const struct msg_stage_thresholds_reply *message, uint8_t *out) {
    put_u32(out + 0, message->crc32);
}

void msg_stage_thresholds_reply_unpack(struct msg_stage_thresholds_reply *message, const uint8_t *in) {
    message->crc32 = get_u32(in + 0);
}

void msg_commit_pack(const struct msg_commit *message, uint8_t *out) {
    put_u32(out + 0, message->crc32);
}

void msg_commit_unpack(struct msg_commit *message, const uint8_t *in) {
    message->crc32 = get_u32(in + 0);
}

void msg_commit_reply_pack(const struct msg_commit_reply *message, uint8_t *out) {
    put_u32(out + 0, message->crc32);
}

void msg_commit_reply_unpack(struct msg_commit_reply *message, const uint8_t *in) {
    message->crc32 = get_u32(in + 0);
}

void msg_read_thresholds_reply_pack(const struct msg_read_thresholds_reply *message, uint8_t *out) {
    for (size_t i = 0; i < 15; i++) {
        put_u16(out + 0 + 2 * i, message->readback[i]);
    }
    for (size_t i = 0; i < 15; i++) {
        put_i16(out + 30 + 2 * i, message->trims[i]);
    }
    put_u32(out + 60, message->crc32);
}

void msg_read_thresholds_reply_unpack(struct msg_read_thresholds_reply *message, const uint8_t *in) {
    for (size_t i = 0; i < 15; i++) {
        message->readback[i] = get_u16(in + 0 + 2 * i);
    }
    for (size_t i = 0; i < 15; i++) {
        message->trims[i] = get_i16(in + 30 + 2 * i);
    }
    message->crc32 = get_u32(in + 60);
}

void msg_arm_pack(const struct msg_arm *message, uint8_t *out) {
    memcpy(out + 0, message->encoding_id, 16);
    put_u32(out + 16, message->thresholds_crc);
    put_u16(out + 20, message->rows);
    put_u16(out + 22, message->columns);
    out[24] = message->channels;
    out[25] = message->chunk_bytes;
}

void msg_arm_unpack(struct msg_arm *message, const uint8_t *in) {
    memcpy(message->encoding_id, in + 0, 16);
    message->thresholds_crc = get_u32(in + 16);
    message->rows = get_u16(in + 20);
    message->columns = get_u16(in + 22);
    message->channels = in[24];
    message->chunk_bytes = in[25];
}

void msg_set_exposure_pack(const struct msg_set_exposure *message, uint8_t *out) {
    put_u32(out + 0, message->exposure_us);
    put_u32(out + 4, message->gain_milli);
}

void msg_set_exposure_unpack(struct msg_set_exposure *message, const uint8_t *in) {
    message->exposure_us = get_u32(in + 0);
    message->gain_milli = get_u32(in + 4);
}

void msg_self_test_reply_pack(const struct msg_self_test_reply *message, uint8_t *out) {
    put_u16(out + 0, message->dac_ok);
    put_u16(out + 2, message->comparators_ok);
    put_u16(out + 4, message->supply_millivolts);
}

void msg_self_test_reply_unpack(struct msg_self_test_reply *message, const uint8_t *in) {
    message->dac_ok = get_u16(in + 0);
    message->comparators_ok = get_u16(in + 2);
    message->supply_millivolts = get_u16(in + 4);
}

void msg_set_chunk_pack(const struct msg_set_chunk *message, uint8_t *out) {
    out[0] = message->chunk_bytes;
}

void msg_set_chunk_unpack(struct msg_set_chunk *message, const uint8_t *in) {
    message->chunk_bytes = in[0];
}

void msg_sweep_pack(const struct msg_sweep *message, uint8_t *out) {
    out[0] = message->comparator;
    put_u16(out + 1, message->start);
    put_i16(out + 3, message->step);
    out[5] = message->count;
    out[6] = message->reads;
    out[7] = message->approach;
}

void msg_sweep_unpack(struct msg_sweep *message, const uint8_t *in) {
    message->comparator = in[0];
    message->start = get_u16(in + 1);
    message->step = get_i16(in + 3);
    message->count = in[5];
    message->reads = in[6];
    message->approach = in[7];
}

void msg_sweep_reply_pack(const struct msg_sweep_reply *message, uint8_t *out) {
    memcpy(out + 0, message->counts, 64);
}

void msg_sweep_reply_unpack(struct msg_sweep_reply *message, const uint8_t *in) {
    memcpy(message->counts, in + 0, 64);
}

void msg_convert_pack(const struct msg_convert *message, uint8_t *out) {
    out[0] = message->count;
    for (size_t i = 0; i < 240; i++) {
        put_u16(out + 1 + 2 * i, message->levels[i]);
    }
}

void msg_convert_unpack(struct msg_convert *message, const uint8_t *in) {
    message->count = in[0];
    for (size_t i = 0; i < 240; i++) {
        message->levels[i] = get_u16(in + 1 + 2 * i);
    }
}

void msg_convert_reply_pack(const struct msg_convert_reply *message, uint8_t *out) {
    memcpy(out + 0, message->codes, 120);
}

void msg_convert_reply_unpack(struct msg_convert_reply *message, const uint8_t *in) {
    memcpy(message->codes, in + 0, 120);
}

void msg_credit_pack(const struct msg_credit *message, uint8_t *out) {
    put_u32(out + 0, message->acknowledged);
    put_u32(out + 4, message->limit);
}

void msg_credit_unpack(struct msg_credit *message, const uint8_t *in) {
    message->acknowledged = get_u32(in + 0);
    message->limit = get_u32(in + 4);
}

void msg_resend_pack(const struct msg_resend *message, uint8_t *out) {
    put_u32(out + 0, message->sequence);
    memcpy(out + 4, message->bitmap, 32);
}

void msg_resend_unpack(struct msg_resend *message, const uint8_t *in) {
    message->sequence = get_u32(in + 0);
    memcpy(message->bitmap, in + 4, 32);
}

void msg_measurement_pack(const struct msg_measurement *message, uint8_t *out) {
    put_u32(out + 0, message->sequence);
    out[4] = message->chunk;
}

void msg_measurement_unpack(struct msg_measurement *message, const uint8_t *in) {
    message->sequence = get_u32(in + 0);
    message->chunk = in[4];
}

void msg_fault_notice_pack(const struct msg_fault_notice *message, uint8_t *out) {
    out[0] = message->fault;
    out[1] = message->channel;
    out[2] = message->state;
}

void msg_fault_notice_unpack(struct msg_fault_notice *message, const uint8_t *in) {
    message->fault = in[0];
    message->channel = in[1];
    message->state = in[2];
}

void msg_error_reply_pack(const struct msg_error_reply *message, uint8_t *out) {
    out[0] = message->command;
    out[1] = message->code;
    put_u16(out + 2, message->detail);
}

void msg_error_reply_unpack(struct msg_error_reply *message, const uint8_t *in) {
    message->command = in[0];
    message->code = in[1];
    message->detail = get_u16(in + 2);
}

void msg_measurement_header_pack(const struct msg_measurement_header *message, uint8_t *out) {
    put_u32(out + 0, message->sequence);
    put_u32(out + 4, message->frame);
    put_u64(out + 8, message->capture_time_us);
    put_u32(out + 16, message->exposure_us);
    put_u32(out + 20, message->gain_milli);
    put_u16(out + 24, message->rows);
    put_u16(out + 26, message->columns);
    out[28] = message->channels;
    out[29] = message->chunk_bytes;
    put_u32(out + 30, message->thresholds_crc);
    put_u32(out + 34, message->cells_crc32);
}

void msg_measurement_header_unpack(struct msg_measurement_header *message, const uint8_t *in) {
    message->sequence = get_u32(in + 0);
    message->frame = get_u32(in + 4);
    message->capture_time_us = get_u64(in + 8);
    message->exposure_us = get_u32(in + 16);
    message->gain_milli = get_u32(in + 20);
    message->rows = get_u16(in + 24);
    message->columns = get_u16(in + 26);
    message->channels = in[28];
    message->chunk_bytes = in[29];
    message->thresholds_crc = get_u32(in + 30);
    message->cells_crc32 = get_u32(in + 34);
}

static const struct command_rule RULES[] = {
    {MESSAGE_HELLO, 1u << STATE_SAFE | 1u << STATE_STAGED | 1u << STATE_COMMITTED | 1u << STATE_ARMED | 1u << STATE_FAULTED, true, false, true, MSG_HELLO_SIZE},
    {MESSAGE_STATUS, 1u << STATE_SAFE | 1u << STATE_STAGED | 1u << STATE_COMMITTED | 1u << STATE_ARMED | 1u << STATE_FAULTED, true, false, true, MSG_STATUS_SIZE},
    {MESSAGE_RESET, 1u << STATE_SAFE | 1u << STATE_STAGED | 1u << STATE_COMMITTED | 1u << STATE_ARMED | 1u << STATE_FAULTED, true, true, true, MSG_RESET_SIZE},
    {MESSAGE_DISARM, 1u << STATE_SAFE | 1u << STATE_STAGED | 1u << STATE_COMMITTED | 1u << STATE_ARMED | 1u << STATE_FAULTED, false, true, true, MSG_DISARM_SIZE},
    {MESSAGE_HEARTBEAT, 1u << STATE_SAFE | 1u << STATE_STAGED | 1u << STATE_COMMITTED | 1u << STATE_ARMED | 1u << STATE_FAULTED, false, false, true, MSG_HEARTBEAT_SIZE},
    {MESSAGE_CLEAR_FAULT, 1u << STATE_FAULTED, false, true, true, MSG_CLEAR_FAULT_SIZE},
    {MESSAGE_STAGE_THRESHOLDS, 1u << STATE_SAFE | 1u << STATE_STAGED | 1u << STATE_COMMITTED, false, true, true, MSG_STAGE_THRESHOLDS_SIZE},
    {MESSAGE_COMMIT, 1u << STATE_STAGED, false, true, true, MSG_COMMIT_SIZE},
    {MESSAGE_READ_THRESHOLDS, 1u << STATE_SAFE | 1u << STATE_STAGED | 1u << STATE_COMMITTED | 1u << STATE_ARMED | 1u << STATE_FAULTED, false, true, true, MSG_READ_THRESHOLDS_SIZE},
    {MESSAGE_ARM, 1u << STATE_COMMITTED, false, true, true, MSG_ARM_SIZE},
    {MESSAGE_SET_EXPOSURE, 1u << STATE_SAFE | 1u << STATE_STAGED | 1u << STATE_COMMITTED | 1u << STATE_ARMED, false, true, true, MSG_SET_EXPOSURE_SIZE},
    {MESSAGE_SELF_TEST, 1u << STATE_SAFE | 1u << STATE_STAGED | 1u << STATE_COMMITTED | 1u << STATE_FAULTED, false, true, true, MSG_SELF_TEST_SIZE},
    {MESSAGE_SET_CHUNK, 1u << STATE_ARMED, false, true, true, MSG_SET_CHUNK_SIZE},
    {MESSAGE_SWEEP, 1u << STATE_COMMITTED | 1u << STATE_ARMED, false, true, true, MSG_SWEEP_SIZE},
    {MESSAGE_CONVERT, 1u << STATE_ARMED, false, true, true, MSG_CONVERT_SIZE},
    {MESSAGE_CREDIT, 1u << STATE_ARMED, false, false, false, MSG_CREDIT_SIZE},
    {MESSAGE_RESEND, 1u << STATE_ARMED, false, false, false, MSG_RESEND_SIZE},
};

const struct command_rule *protocol_rule(uint8_t type) {
    for (size_t i = 0; i < sizeof RULES / sizeof RULES[0]; i++) {
        if (RULES[i].type == type) {
            return &RULES[i];
        }
    }
    return NULL;
}
