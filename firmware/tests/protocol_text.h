// Messages as text, for the golden-vector test. Generated from protocol.yaml by generate_protocol.py: do not edit.
// clang-format off
#ifndef CANOPIC_PROTOCOL_TEXT_H
#define CANOPIC_PROTOCOL_TEXT_H

#include <string.h>

#include "protocol.h"
#include "text.h"

// Unpacks the fixed part of a named message, appends its fields to text and packs it into repacked.
// Returns its size, or -1 when the name is unknown or the payload too short.
static inline int protocol_text(const char *name, const uint8_t *in, size_t size, struct text *out,
                                uint8_t *repacked) {
    struct text text = *out;
    if (strcmp(name, "Hello") == 0 && size >= MSG_HELLO_SIZE) {
        struct msg_hello message;
        msg_hello_unpack(&message, in);
        text_hex(&text, "schema_digest", message.schema_digest, 8);
        msg_hello_pack(&message, repacked);
        *out = text;
        return (int)MSG_HELLO_SIZE;
    }
    if (strcmp(name, "HelloReply") == 0 && size >= MSG_HELLO_REPLY_SIZE) {
        struct msg_hello_reply message;
        msg_hello_reply_unpack(&message, in);
        text_hex(&text, "schema_digest", message.schema_digest, 8);
        text_number(&text, "protocol_version", message.protocol_version);
        text_hex(&text, "firmware_version", message.firmware_version, 3);
        text_chars(&text, "board_serial", message.board_serial, 16);
        text_number(&text, "boot_id", message.boot_id);
        text_number(&text, "comparators", message.comparators);
        text_number(&text, "dac_bits", message.dac_bits);
        text_number(&text, "reference_microvolts", message.reference_microvolts);
        text_number(&text, "max_cells", message.max_cells);
        text_number(&text, "measurement_slots", message.measurement_slots);
        text_number(&text, "state", message.state);
        text_number(&text, "fault", message.fault);
        text_number(&text, "hardware", message.hardware);
        msg_hello_reply_pack(&message, repacked);
        *out = text;
        return (int)MSG_HELLO_REPLY_SIZE;
    }
    if (strcmp(name, "Status") == 0) {
        *out = text;
        return (int)MSG_STATUS_SIZE;
    }
    if (strcmp(name, "StatusReply") == 0 && size >= MSG_STATUS_REPLY_SIZE) {
        struct msg_status_reply message;
        msg_status_reply_unpack(&message, in);
        text_number(&text, "state", message.state);
        text_number(&text, "fault", message.fault);
        text_number(&text, "fault_channel", message.fault_channel);
        text_number(&text, "uptime_ms", message.uptime_ms);
        text_number(&text, "thresholds_crc", message.thresholds_crc);
        text_hex(&text, "encoding_id", message.encoding_id, 16);
        text_number(&text, "sequence", message.sequence);
        text_number(&text, "acknowledged", message.acknowledged);
        text_number(&text, "limit", message.limit);
        text_number(&text, "frames_unmeasured", message.frames_unmeasured);
        text_number(&text, "rx_bad_frames", message.rx_bad_frames);
        text_number(&text, "supply_millivolts", message.supply_millivolts);
        msg_status_reply_pack(&message, repacked);
        *out = text;
        return (int)MSG_STATUS_REPLY_SIZE;
    }
    if (strcmp(name, "Reset") == 0) {
        *out = text;
        return (int)MSG_RESET_SIZE;
    }
    if (strcmp(name, "ResetReply") == 0) {
        *out = text;
        return (int)MSG_RESET_REPLY_SIZE;
    }
    if (strcmp(name, "Disarm") == 0) {
        *out = text;
        return (int)MSG_DISARM_SIZE;
    }
    if (strcmp(name, "DisarmReply") == 0) {
        *out = text;
        return (int)MSG_DISARM_REPLY_SIZE;
    }
    if (strcmp(name, "Heartbeat") == 0) {
        *out = text;
        return (int)MSG_HEARTBEAT_SIZE;
    }
    if (strcmp(name, "HeartbeatReply") == 0 && size >= MSG_HEARTBEAT_REPLY_SIZE) {
        struct msg_heartbeat_reply message;
        msg_heartbeat_reply_unpack(&message, in);
        text_number(&text, "state", message.state);
        text_number(&text, "fault", message.fault);
        msg_heartbeat_reply_pack(&message, repacked);
        *out = text;
        return (int)MSG_HEARTBEAT_REPLY_SIZE;
    }
    if (strcmp(name, "ClearFault") == 0 && size >= MSG_CLEAR_FAULT_SIZE) {
        struct msg_clear_fault message;
        msg_clear_fault_unpack(&message, in);
        text_number(&text, "fault", message.fault);
        msg_clear_fault_pack(&message, repacked);
        *out = text;
        return (int)MSG_CLEAR_FAULT_SIZE;
    }
    if (strcmp(name, "ClearFaultReply") == 0) {
        *out = text;
        return (int)MSG_CLEAR_FAULT_REPLY_SIZE;
    }
    if (strcmp(name, "StageThresholds") == 0 && size >= MSG_STAGE_THRESHOLDS_SIZE) {
        struct msg_stage_thresholds message;
        msg_stage_thresholds_unpack(&message, in);
        text_hex(&text, "encoding_id", message.encoding_id, 16);
        text_u16s(&text, "dac_codes", message.dac_codes, 15);
        text_i16s(&text, "trims", message.trims, 15);
        msg_stage_thresholds_pack(&message, repacked);
        *out = text;
        return (int)MSG_STAGE_THRESHOLDS_SIZE;
    }
    if (strcmp(name, "StageThresholdsReply") == 0 && size >= MSG_STAGE_THRESHOLDS_REPLY_SIZE) {
        struct msg_stage_thresholds_reply message;
        msg_stage_thresholds_reply_unpack(&message, in);
        text_number(&text, "crc32", message.crc32);
        msg_stage_thresholds_reply_pack(&message, repacked);
        *out = text;
        return (int)MSG_STAGE_THRESHOLDS_REPLY_SIZE;
    }
    if (strcmp(name, "Commit") == 0 && size >= MSG_COMMIT_SIZE) {
        struct msg_commit message;
        msg_commit_unpack(&message, in);
        text_number(&text, "crc32", message.crc32);
        msg_commit_pack(&message, repacked);
        *out = text;
        return (int)MSG_COMMIT_SIZE;
    }
    if (strcmp(name, "CommitReply") == 0 && size >= MSG_COMMIT_REPLY_SIZE) {
        struct msg_commit_reply message;
        msg_commit_reply_unpack(&message, in);
        text_number(&text, "crc32", message.crc32);
        msg_commit_reply_pack(&message, repacked);
        *out = text;
        return (int)MSG_COMMIT_REPLY_SIZE;
    }
    if (strcmp(name, "ReadThresholds") == 0) {
        *out = text;
        return (int)MSG_READ_THRESHOLDS_SIZE;
    }
    if (strcmp(name, "ReadThresholdsReply") == 0 && size >= MSG_READ_THRESHOLDS_REPLY_SIZE) {
        struct msg_read_thresholds_reply message;
        msg_read_thresholds_reply_unpack(&message, in);
        text_u16s(&text, "readback", message.readback, 15);
        text_i16s(&text, "trims", message.trims, 15);
        text_number(&text, "crc32", message.crc32);
        msg_read_thresholds_reply_pack(&message, repacked);
        *out = text;
        return (int)MSG_READ_THRESHOLDS_REPLY_SIZE;
    }
    if (strcmp(name, "Arm") == 0 && size >= MSG_ARM_SIZE) {
        struct msg_arm message;
        msg_arm_unpack(&message, in);
        text_hex(&text, "encoding_id", message.encoding_id, 16);
        text_number(&text, "thresholds_crc", message.thresholds_crc);
        text_number(&text, "rows", message.rows);
        text_number(&text, "columns", message.columns);
        text_number(&text, "channels", message.channels);
        text_number(&text, "chunk_bytes", message.chunk_bytes);
        msg_arm_pack(&message, repacked);
        *out = text;
        return (int)MSG_ARM_SIZE;
    }
    if (strcmp(name, "ArmReply") == 0) {
        *out = text;
        return (int)MSG_ARM_REPLY_SIZE;
    }
    if (strcmp(name, "SetExposure") == 0 && size >= MSG_SET_EXPOSURE_SIZE) {
        struct msg_set_exposure message;
        msg_set_exposure_unpack(&message, in);
        text_number(&text, "exposure_us", message.exposure_us);
        text_number(&text, "gain_milli", message.gain_milli);
        msg_set_exposure_pack(&message, repacked);
        *out = text;
        return (int)MSG_SET_EXPOSURE_SIZE;
    }
    if (strcmp(name, "SetExposureReply") == 0) {
        *out = text;
        return (int)MSG_SET_EXPOSURE_REPLY_SIZE;
    }
    if (strcmp(name, "SelfTest") == 0) {
        *out = text;
        return (int)MSG_SELF_TEST_SIZE;
    }
    if (strcmp(name, "SelfTestReply") == 0 && size >= MSG_SELF_TEST_REPLY_SIZE) {
        struct msg_self_test_reply message;
        msg_self_test_reply_unpack(&message, in);
        text_number(&text, "dac_ok", message.dac_ok);
        text_number(&text, "comparators_ok", message.comparators_ok);
        text_number(&text, "supply_millivolts", message.supply_millivolts);
        msg_self_test_reply_pack(&message, repacked);
        *out = text;
        return (int)MSG_SELF_TEST_REPLY_SIZE;
    }
    if (strcmp(name, "SetChunk") == 0 && size >= MSG_SET_CHUNK_SIZE) {
        struct msg_set_chunk message;
        msg_set_chunk_unpack(&message, in);
        text_number(&text, "chunk_bytes", message.chunk_bytes);
        msg_set_chunk_pack(&message, repacked);
        *out = text;
        return (int)MSG_SET_CHUNK_SIZE;
    }
    if (strcmp(name, "SetChunkReply") == 0) {
        *out = text;
        return (int)MSG_SET_CHUNK_REPLY_SIZE;
    }
    if (strcmp(name, "Sweep") == 0 && size >= MSG_SWEEP_SIZE) {
        struct msg_sweep message;
        msg_sweep_unpack(&message, in);
        text_number(&text, "comparator", message.comparator);
        text_number(&text, "start", message.start);
        text_signed(&text, "step", message.step);
        text_number(&text, "count", message.count);
        text_number(&text, "reads", message.reads);
        text_number(&text, "approach", message.approach);
        msg_sweep_pack(&message, repacked);
        *out = text;
        return (int)MSG_SWEEP_SIZE;
    }
    if (strcmp(name, "SweepReply") == 0 && size >= MSG_SWEEP_REPLY_SIZE) {
        struct msg_sweep_reply message;
        msg_sweep_reply_unpack(&message, in);
        text_hex(&text, "counts", message.counts, 64);
        msg_sweep_reply_pack(&message, repacked);
        *out = text;
        return (int)MSG_SWEEP_REPLY_SIZE;
    }
    if (strcmp(name, "Convert") == 0 && size >= MSG_CONVERT_SIZE) {
        struct msg_convert message;
        msg_convert_unpack(&message, in);
        text_number(&text, "count", message.count);
        text_u16s(&text, "levels", message.levels, 240);
        msg_convert_pack(&message, repacked);
        *out = text;
        return (int)MSG_CONVERT_SIZE;
    }
    if (strcmp(name, "ConvertReply") == 0 && size >= MSG_CONVERT_REPLY_SIZE) {
        struct msg_convert_reply message;
        msg_convert_reply_unpack(&message, in);
        text_hex(&text, "codes", message.codes, 120);
        msg_convert_reply_pack(&message, repacked);
        *out = text;
        return (int)MSG_CONVERT_REPLY_SIZE;
    }
    if (strcmp(name, "Credit") == 0 && size >= MSG_CREDIT_SIZE) {
        struct msg_credit message;
        msg_credit_unpack(&message, in);
        text_number(&text, "acknowledged", message.acknowledged);
        text_number(&text, "limit", message.limit);
        msg_credit_pack(&message, repacked);
        *out = text;
        return (int)MSG_CREDIT_SIZE;
    }
    if (strcmp(name, "Resend") == 0 && size >= MSG_RESEND_SIZE) {
        struct msg_resend message;
        msg_resend_unpack(&message, in);
        text_number(&text, "sequence", message.sequence);
        text_hex(&text, "bitmap", message.bitmap, 32);
        msg_resend_pack(&message, repacked);
        *out = text;
        return (int)MSG_RESEND_SIZE;
    }
    if (strcmp(name, "Measurement") == 0 && size >= MSG_MEASUREMENT_SIZE) {
        struct msg_measurement message;
        msg_measurement_unpack(&message, in);
        text_number(&text, "sequence", message.sequence);
        text_number(&text, "chunk", message.chunk);
        msg_measurement_pack(&message, repacked);
        *out = text;
        return (int)MSG_MEASUREMENT_SIZE;
    }
    if (strcmp(name, "FaultNotice") == 0 && size >= MSG_FAULT_NOTICE_SIZE) {
        struct msg_fault_notice message;
        msg_fault_notice_unpack(&message, in);
        text_number(&text, "fault", message.fault);
        text_number(&text, "channel", message.channel);
        text_number(&text, "state", message.state);
        msg_fault_notice_pack(&message, repacked);
        *out = text;
        return (int)MSG_FAULT_NOTICE_SIZE;
    }
    if (strcmp(name, "ErrorReply") == 0 && size >= MSG_ERROR_REPLY_SIZE) {
        struct msg_error_reply message;
        msg_error_reply_unpack(&message, in);
        text_number(&text, "command", message.command);
        text_number(&text, "code", message.code);
        text_number(&text, "detail", message.detail);
        msg_error_reply_pack(&message, repacked);
        *out = text;
        return (int)MSG_ERROR_REPLY_SIZE;
    }
    if (strcmp(name, "MeasurementHeader") == 0 && size >= MSG_MEASUREMENT_HEADER_SIZE) {
        struct msg_measurement_header message;
        msg_measurement_header_unpack(&message, in);
        text_number(&text, "sequence", message.sequence);
        text_number(&text, "frame", message.frame);
        text_number(&text, "capture_time_us", message.capture_time_us);
        text_number(&text, "exposure_us", message.exposure_us);
        text_number(&text, "gain_milli", message.gain_milli);
        text_number(&text, "rows", message.rows);
        text_number(&text, "columns", message.columns);
        text_number(&text, "channels", message.channels);
        text_number(&text, "chunk_bytes", message.chunk_bytes);
        text_number(&text, "thresholds_crc", message.thresholds_crc);
        text_number(&text, "cells_crc32", message.cells_crc32);
        msg_measurement_header_pack(&message, repacked);
        *out = text;
        return (int)MSG_MEASUREMENT_HEADER_SIZE;
    }
    return -1;
}

#endif
