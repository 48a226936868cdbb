// What the board does with a frame from the host: the allow-list, the reply cache, and one function for each command.
#include "commands.h"

#include <string.h>

#include "bench.h"
#include "bytes.h"
#include "crc.h"
#include "probe.h"
#include "safety.h"

// What a command answers: a payload, or an error when `code` is not 0.
struct answer {
    uint8_t code;
    uint16_t detail;
    uint8_t size;
    uint8_t payload[REPLY_MAX];
};

_Static_assert(MSG_STATUS_REPLY_SIZE <= REPLY_MAX && MSG_HELLO_REPLY_SIZE <= REPLY_MAX &&
                   MSG_READ_THRESHOLDS_REPLY_SIZE <= REPLY_MAX && MSG_SWEEP_REPLY_SIZE <= REPLY_MAX &&
                   MSG_CONVERT_REPLY_SIZE <= REPLY_MAX,
               "a reply must fit");

static void refuse(struct answer *answer, enum error_code code, uint32_t detail) {
    answer->code = (uint8_t)code;
    answer->detail = (uint16_t)(detail < 0xFFFFu ? detail : 0xFFFFu);
}

static void refuse_dac(struct answer *answer, struct dac_outcome outcome) {
    refuse(answer, outcome.status == DAC_FAILED ? ERROR_DAC_WRITE_FAILED : ERROR_DAC_MISMATCH, outcome.channel);
}

static void hello(struct core *core, const uint8_t *request, struct answer *answer) {
    static const uint8_t DIGEST[8] = PROTOCOL_SCHEMA_DIGEST;
    struct msg_hello hello;
    msg_hello_unpack(&hello, request);
    core->hello_seen = true;
    core->schema_matches = memcmp(hello.schema_digest, DIGEST, sizeof DIGEST) == 0;
    if (!core->schema_matches) {
        safety_disarm(core); // this host could neither feed the heartbeat nor disarm
    }
    struct msg_hello_reply reply = {
        .schema_digest = PROTOCOL_SCHEMA_DIGEST,
        .protocol_version = PROTOCOL_VERSION,
        .firmware_version = {CANOPIC_FIRMWARE_MAJOR, CANOPIC_FIRMWARE_MINOR, CANOPIC_FIRMWARE_PATCH},
        .boot_id = core->identity.boot_id,
        .comparators = PROTOCOL_COMPARATORS,
        .dac_bits = PROTOCOL_DAC_BITS,
        .reference_microvolts = PROTOCOL_REFERENCE_MICROVOLTS,
        .max_cells = CANOPIC_MAX_CELLS,
        .measurement_slots = CANOPIC_SLOTS,
        .state = (uint8_t)core->state,
        .fault = (uint8_t)core->fault,
        .hardware = (uint8_t)core->identity.hardware,
    };
    memcpy(reply.board_serial, core->identity.serial, sizeof reply.board_serial);
    msg_hello_reply_pack(&reply, answer->payload);
    answer->size = MSG_HELLO_REPLY_SIZE;
}

static void status(struct core *core, struct answer *answer) {
    const bool committed = core->state == STATE_COMMITTED || core->state == STATE_ARMED;
    struct msg_status_reply reply = {
        .state = (uint8_t)core->state,
        .fault = (uint8_t)core->fault,
        .fault_channel = core->fault_channel,
        .uptime_ms = core->hal->millis(core->hal->context) - core->started_ms,
        .thresholds_crc = committed ? core->thresholds.crc : 0,
        .sequence = core->stream.next,
        .acknowledged = core->stream.acknowledged,
        .limit = core->stream.limit,
        .frames_unmeasured = core->stream.frames_unmeasured,
        .rx_bad_frames = core->link.bad_frames,
        .supply_millivolts = core->hal->supply_millivolts(core->hal->context),
    };
    memcpy(reply.encoding_id, core->thresholds.encoding_id, sizeof reply.encoding_id);
    msg_status_reply_pack(&reply, answer->payload);
    answer->size = MSG_STATUS_REPLY_SIZE;
}

static void heartbeat(const struct core *core, struct answer *answer) {
    const struct msg_heartbeat_reply reply = {.state = (uint8_t)core->state, .fault = (uint8_t)core->fault};
    msg_heartbeat_reply_pack(&reply, answer->payload);
    answer->size = MSG_HEARTBEAT_REPLY_SIZE;
}

static void clear_fault(struct core *core, const uint8_t *request, struct answer *answer) {
    struct msg_clear_fault clear;
    msg_clear_fault_unpack(&clear, request);
    uint8_t channel = PROTOCOL_NO_CHANNEL;
    if (clear.fault != (uint8_t)core->fault) {
        refuse(answer, ERROR_FAULT_NOT_LATCHED, (uint32_t)core->fault);
    } else if (!safety_condition_gone(core, &channel)) {
        refuse(answer, ERROR_FAULT_PERSISTS, channel);
    } else {
        core->state = STATE_SAFE;
        core->fault = FAULT_NONE;
        core->fault_channel = PROTOCOL_NO_CHANNEL;
    }
}

static void stage(struct core *core, const uint8_t *request, struct answer *answer) {
    struct msg_stage_thresholds stage;
    msg_stage_thresholds_unpack(&stage, request);
    if (core->state != STATE_SAFE) {
        safety_disarm(core); // what was staged or committed before must not survive a refusal below
        if (core->state != STATE_SAFE) {
            refuse(answer, ERROR_DAC_WRITE_FAILED, core->fault_channel);
            return;
        }
    }
    const uint8_t wrong = thresholds_stage(&core->thresholds, &stage);
    if (wrong != THRESHOLDS_FINE) {
        refuse(answer, ERROR_BAD_VALUE, wrong);
        return;
    }
    core->state = STATE_STAGED;
    const struct msg_stage_thresholds_reply reply = {.crc32 = core->thresholds.crc};
    msg_stage_thresholds_reply_pack(&reply, answer->payload);
    answer->size = MSG_STAGE_THRESHOLDS_REPLY_SIZE;
}

static void commit(struct core *core, const uint8_t *request, struct answer *answer) {
    struct msg_commit commit;
    msg_commit_unpack(&commit, request);
    if (commit.crc32 != core->thresholds.crc) {
        refuse(answer, ERROR_CRC_MISMATCH, 0);
        return;
    }
    const struct dac_outcome outcome = thresholds_commit(&core->thresholds);
    if (outcome.status != DAC_OK) {
        // A DAC that does not answer is broken: latched. One that differs is reported, the host may try again.
        if (outcome.status == DAC_FAILED) {
            (void)safety_require(core, outcome);
        }
        safety_disarm(core);
        refuse_dac(answer, outcome);
        return;
    }
    core->state = STATE_COMMITTED;
    // Every channel read back exactly what was staged, so this is the digest of what was read back.
    const struct msg_commit_reply reply = {.crc32 = core->thresholds.crc};
    msg_commit_reply_pack(&reply, answer->payload);
    answer->size = MSG_COMMIT_REPLY_SIZE;
}

static void read_thresholds(const struct core *core, struct answer *answer) {
    struct msg_read_thresholds_reply reply;
    const struct thresholds *thresholds = &core->thresholds;
    const struct dac_outcome outcome = thresholds_read(thresholds, reply.readback);
    if (outcome.status != DAC_OK) {
        refuse_dac(answer, outcome);
        return;
    }
    uint16_t wanted[PROTOCOL_COMPARATORS];
    for (size_t i = 0; i < PROTOCOL_COMPARATORS; i++) {
        reply.trims[i] = thresholds->written_trims[i];
        wanted[i] = (uint16_t)(reply.readback[i] - (uint16_t)reply.trims[i]);
    }
    reply.crc32 = thresholds_crc(wanted, reply.trims);
    msg_read_thresholds_reply_pack(&reply, answer->payload);
    answer->size = MSG_READ_THRESHOLDS_REPLY_SIZE;
}

static bool chunk_bytes_valid(uint8_t chunk_bytes) {
    return chunk_bytes >= PROTOCOL_CHUNK_BYTES_MIN && chunk_bytes <= PROTOCOL_CHUNK_BYTES_MAX;
}

static void arm(struct core *core, const uint8_t *request, struct answer *answer) {
    struct msg_arm arm;
    msg_arm_unpack(&arm, request);
    const uint64_t cells = (uint64_t)arm.rows * arm.columns * arm.channels;
    const uint16_t supply = core->hal->supply_millivolts(core->hal->context);
    if (memcmp(arm.encoding_id, core->thresholds.encoding_id, sizeof arm.encoding_id) != 0) {
        refuse(answer, ERROR_ENCODING_MISMATCH, 0);
    } else if (arm.thresholds_crc != core->thresholds.crc) {
        refuse(answer, ERROR_CRC_MISMATCH, 0);
    } else if (!chunk_bytes_valid(arm.chunk_bytes)) {
        refuse(answer, ERROR_BAD_VALUE, 5);
    } else if (cells == 0 || cells > CANOPIC_MAX_CELLS) {
        refuse(answer, ERROR_BAD_GEOMETRY, 0);
    } else if (stream_chunks((uint32_t)cells, arm.chunk_bytes) > PROTOCOL_CHUNKS_MAX) {
        refuse(answer, ERROR_BAD_GEOMETRY, stream_chunks((uint32_t)cells, arm.chunk_bytes));
    } else if (supply < PROTOCOL_SUPPLY_RECOVERED_MILLIVOLTS) {
        refuse(answer, ERROR_SUPPLY_LOW, supply);
    }
    if (answer->code != 0) {
        return;
    }
    const struct dac_outcome outcome = thresholds_check_all(&core->thresholds);
    if (outcome.status != DAC_OK) {
        (void)safety_require(core, outcome);
        refuse_dac(answer, outcome);
        return;
    }
    const struct geometry geometry = {.rows = arm.rows,
                                      .columns = arm.columns,
                                      .channels = arm.channels,
                                      .chunk_bytes = arm.chunk_bytes,
                                      .thresholds_crc = core->thresholds.crc};
    stream_arm(&core->stream, &geometry, core->thresholds.wanted);
    safety_arm(core);
}

static void set_exposure(const struct core *core, const uint8_t *request, struct answer *answer) {
    struct msg_set_exposure exposure;
    msg_set_exposure_unpack(&exposure, request);
    if (!core->hal->exposure_set(core->hal->context, exposure.exposure_us, exposure.gain_milli)) {
        refuse(answer, ERROR_NOT_APPLIED, 0);
    }
}

static void self_test(struct core *core, struct answer *answer) {
    core->hal->safe_output(core->hal->context, true);
    const struct msg_self_test_reply reply = {
        .dac_ok = thresholds_test_dac(&core->thresholds),
        .comparators_ok = probe_all(&core->thresholds),
        .supply_millivolts = core->hal->supply_millivolts(core->hal->context),
    };
    (void)thresholds_write_safe(&core->thresholds);
    if (core->state == STATE_COMMITTED) {
        core->state = STATE_STAGED;
    }
    msg_self_test_reply_pack(&reply, answer->payload);
    answer->size = MSG_SELF_TEST_REPLY_SIZE;
}

static void set_chunk(struct core *core, const uint8_t *request, struct answer *answer) {
    struct msg_set_chunk chunk;
    msg_set_chunk_unpack(&chunk, request);
    if (!chunk_bytes_valid(chunk.chunk_bytes)) {
        refuse(answer, ERROR_BAD_VALUE, 0);
    } else if (!stream_set_chunk(&core->stream, chunk.chunk_bytes)) {
        refuse(answer, ERROR_BAD_GEOMETRY, stream_chunks(core->stream.cells, chunk.chunk_bytes));
    }
}

static void sweep(struct core *core, const uint8_t *request, struct answer *answer) {
    struct msg_sweep sweep;
    struct msg_sweep_reply reply = {.counts = {0}};
    msg_sweep_unpack(&sweep, request);
    const uint32_t limit_us = core->state == STATE_ARMED ? PROTOCOL_SWEEP_ARMED_MICROSECONDS : UINT32_MAX;
    const uint8_t wrong = bench_sweep_wrong_field(&sweep, limit_us);
    if (wrong != BENCH_FIELDS_FINE) {
        refuse(answer, ERROR_BAD_VALUE, wrong);
        return;
    }
    const struct dac_outcome outcome = {.status = bench_sweep(&core->thresholds, &sweep, reply.counts),
                                        .channel = TEST_CHANNEL};
    if (!safety_require(core, outcome)) {
        refuse_dac(answer, outcome);
        return;
    }
    msg_sweep_reply_pack(&reply, answer->payload);
    answer->size = MSG_SWEEP_REPLY_SIZE;
}

static void convert(struct core *core, const uint8_t *request, struct answer *answer) {
    struct msg_convert convert;
    struct msg_convert_reply reply = {.codes = {0}};
    msg_convert_unpack(&convert, request);
    if (convert.count < 1u || convert.count > PROTOCOL_CONVERT_LEVELS_MAX) {
        refuse(answer, ERROR_BAD_VALUE, 0);
        return;
    }
    uint8_t stuck = CONSISTENCY_NO_SUSPECT;
    const struct dac_outcome outcome = {.status = bench_convert(&core->thresholds, &convert, reply.codes, &stuck),
                                        .channel = TEST_CHANNEL};
    wipe(&convert, sizeof convert); // pooled values: only their codes may stay
    if (!safety_require(core, outcome)) {
        refuse_dac(answer, outcome);
        return;
    }
    if (stuck != CONSISTENCY_NO_SUSPECT) {
        safety_latch(core, FAULT_COMPARATOR_STUCK, stuck);
        refuse(answer, ERROR_WRONG_STATE, (uint32_t)core->state);
        return;
    }
    msg_convert_reply_pack(&reply, answer->payload);
    answer->size = MSG_CONVERT_REPLY_SIZE;
}

static void credit(struct core *core, const uint8_t *request) {
    struct msg_credit credit;
    msg_credit_unpack(&credit, request);
    stream_credit(&core->stream, credit.acknowledged, credit.limit);
}

static void resend(struct core *core, const uint8_t *request) {
    struct msg_resend resend;
    msg_resend_unpack(&resend, request);
    stream_resend(&core->stream, resend.sequence, resend.bitmap);
}

static void execute(struct core *core, uint8_t type, const uint8_t *request, struct answer *answer) {
    switch (type) {
    case MESSAGE_HELLO:
        hello(core, request, answer);
        break;
    case MESSAGE_STATUS:
        status(core, answer);
        break;
    case MESSAGE_RESET:
        safety_disarm(core);
        core->rebooting = true;
        core->rebooting_ms = core->hal->millis(core->hal->context);
        break;
    case MESSAGE_DISARM:
        safety_disarm(core);
        break;
    case MESSAGE_HEARTBEAT:
        heartbeat(core, answer);
        break;
    case MESSAGE_CLEAR_FAULT:
        clear_fault(core, request, answer);
        break;
    case MESSAGE_STAGE_THRESHOLDS:
        stage(core, request, answer);
        break;
    case MESSAGE_COMMIT:
        commit(core, request, answer);
        break;
    case MESSAGE_READ_THRESHOLDS:
        read_thresholds(core, answer);
        break;
    case MESSAGE_ARM:
        arm(core, request, answer);
        break;
    case MESSAGE_SET_EXPOSURE:
        set_exposure(core, request, answer);
        break;
    case MESSAGE_SELF_TEST:
        self_test(core, answer);
        break;
    case MESSAGE_SET_CHUNK:
        set_chunk(core, request, answer);
        break;
    case MESSAGE_SWEEP:
        sweep(core, request, answer);
        break;
    case MESSAGE_CONVERT:
        convert(core, request, answer);
        break;
    case MESSAGE_CREDIT:
        credit(core, request);
        break;
    default:
        resend(core, request);
        break;
    }
}

static void send_answer(struct core *core, const struct frame *frame, const struct answer *answer) {
    struct reply_cache *cache = &core->cache;
    cache->type = frame->type;
    cache->sequence = frame->sequence;
    cache->digest = crc16(CRC16_START, frame->payload, frame->size);
    if (answer->code == 0) {
        cache->reply_type = frame->type | PROTOCOL_REPLY_BIT;
        cache->size = answer->size;
        memcpy(cache->payload, answer->payload, answer->size);
    } else {
        const struct msg_error_reply error = {.command = frame->type, .code = answer->code, .detail = answer->detail};
        msg_error_reply_pack(&error, cache->payload);
        cache->reply_type = MESSAGE_ERROR_REPLY;
        cache->size = MSG_ERROR_REPLY_SIZE;
    }
    (void)link_send(&core->link, cache->reply_type, frame->sequence, cache->payload, cache->size);
}

// Whether this is the command that was answered last, sent once more because the answer was lost.
static bool repeated(const struct reply_cache *cache, const struct frame *frame) {
    return cache->valid && cache->type == frame->type && cache->sequence == frame->sequence &&
           cache->digest == crc16(CRC16_START, frame->payload, frame->size);
}

// Why the frame is not served, as an error in the answer; none: it is served.
static void admit(const struct core *core, const struct command_rule *rule, const struct frame *frame,
                  struct answer *answer) {
    if (rule == NULL) {
        refuse(answer, ERROR_UNKNOWN_COMMAND, frame->type);
    } else if (!rule->before_hello && !core->schema_matches) {
        refuse(answer, core->hello_seen ? ERROR_SCHEMA_MISMATCH : ERROR_HELLO_REQUIRED, 0);
    } else if (frame->size != rule->request_size) {
        refuse(answer, ERROR_BAD_LENGTH, (uint32_t)frame->size);
    } else if ((rule->states & (1u << core->state)) == 0) {
        refuse(answer, ERROR_WRONG_STATE, (uint32_t)core->state);
    }
}

void commands_serve(struct core *core, const struct frame *frame) {
    if (frame->type >= PROTOCOL_REPLY_BIT) {
        return; // a reply: a looped-back line, not a host
    }
    if (repeated(&core->cache, frame)) {
        core->heard_ms = core->hal->millis(core->hal->context);
        (void)link_send(&core->link, core->cache.reply_type, frame->sequence, core->cache.payload, core->cache.size);
        return;
    }
    const struct command_rule *rule = protocol_rule(frame->type);
    struct answer answer = {.code = 0, .detail = 0, .size = 0, .payload = {0}};
    admit(core, rule, frame, &answer);
    if (answer.code == 0) {
        execute(core, frame->type, frame->payload, &answer);
        core->heard_ms = core->hal->millis(core->hal->context);
    }
    if (rule == NULL || rule->answered) {
        send_answer(core, frame, &answer);
        core->cache.valid = rule != NULL && rule->cached && core->schema_matches;
    }
}
