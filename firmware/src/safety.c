// What keeps the board honest.
#include "safety.h"

#include <string.h>

#include "bytes.h"
#include "probe.h"

#define IDLE_CHECK_INTERVAL_MS 50u // supply, while not armed
#define LOW_SUPPLY_READINGS 2u     // one low reading may be a glitch of the ADC

static uint32_t now_ms(const struct core *core) {
    return core->hal->millis(core->hal->context);
}

static void announce(struct core *core) {
    uint8_t payload[MSG_FAULT_NOTICE_SIZE];
    const struct msg_fault_notice notice = {
        .fault = (uint8_t)core->fault, .channel = core->fault_channel, .state = (uint8_t)core->state};
    msg_fault_notice_pack(&notice, payload);
    (void)link_send(&core->link, MESSAGE_FAULT_NOTICE, link_next_notice(&core->link), payload, sizeof payload);
    core->noticed_ms = now_ms(core);
}

// Safe table and isolated sensor; nothing measured so far is sent. Returns what the DAC said.
static struct dac_outcome go_blind(struct core *core) {
    core->hal->safe_output(core->hal->context, true);
    stream_disarm(&core->stream);
    link_purge_stream(&core->link);
    const struct dac_outcome outcome = thresholds_write_safe(&core->thresholds);
    memset(core->thresholds.encoding_id, 0, sizeof core->thresholds.encoding_id);
    return outcome;
}

void safety_disarm(struct core *core) {
    const struct dac_outcome outcome = go_blind(core);
    if (core->state != STATE_FAULTED) {
        core->state = STATE_SAFE;
        (void)safety_require(core, outcome);
    }
}

void safety_latch(struct core *core, enum fault fault, uint8_t channel) {
    if (core->state == STATE_FAULTED) {
        return;
    }
    core->state = STATE_FAULTED;
    core->fault = fault;
    core->fault_channel = channel;
    // The sensor is isolated in hardware, so a DAC that refuses the safe table changes nothing about being blind.
    (void)go_blind(core);
    announce(core);
}

bool safety_require(struct core *core, struct dac_outcome outcome) {
    if (outcome.status != DAC_OK) {
        safety_latch(core, outcome.status == DAC_FAILED ? FAULT_DAC_WRITE_FAILED : FAULT_READBACK_DRIFT,
                     outcome.channel);
    }
    return outcome.status == DAC_OK;
}

void safety_arm(struct core *core) {
    core->hal->safe_output(core->hal->context, false);
    core->state = STATE_ARMED;
    core->heard_ms = now_ms(core);
    core->check_channel = 0;
    core->check_comparator = 0;
}

static void check_supply(struct core *core) {
    if (core->hal->supply_millivolts(core->hal->context) >= PROTOCOL_SUPPLY_MINIMUM_MILLIVOLTS) {
        core->low_supply_readings = 0;
    } else if (++core->low_supply_readings >= LOW_SUPPLY_READINGS) {
        core->low_supply_readings = 0;
        safety_latch(core, FAULT_BROWN_OUT, PROTOCOL_NO_CHANNEL);
    }
}

// One DAC channel and one comparator at a time: all of them every 16 intervals (80 ms).
static void check_thresholds(struct core *core) {
    const uint8_t channel = core->check_channel;
    const uint8_t comparator = core->check_comparator;
    core->check_channel = (uint8_t)((channel + 1u) % PROTOCOL_DAC_CHANNELS);
    core->check_comparator = (uint8_t)((comparator + 1u) % PROTOCOL_COMPARATORS);
    if (!safety_require(core, thresholds_check(&core->thresholds, channel, PROTOCOL_READBACK_TOLERANCE))) {
        return;
    }
    const enum probe_result result =
        probe_comparator(&core->thresholds, comparator, core->thresholds.wanted[comparator]);
    if (result == PROBE_DAC_FAILED) {
        safety_latch(core, FAULT_DAC_WRITE_FAILED, TEST_CHANNEL);
    } else if (result == PROBE_STUCK) {
        // A threshold that drifted also moves where its comparator switches: say which of the two it is.
        if (safety_require(core, thresholds_check(&core->thresholds, comparator, PROTOCOL_READBACK_TOLERANCE))) {
            safety_latch(core, FAULT_COMPARATOR_STUCK, comparator);
        }
    }
}

void safety_poll(struct core *core) {
    const uint32_t now = now_ms(core);
    if (core->state == STATE_ARMED && now - core->heard_ms >= PROTOCOL_HEARTBEAT_TIMEOUT_MS) {
        safety_latch(core, FAULT_HEARTBEAT_LOST, PROTOCOL_NO_CHANNEL);
    }
    const uint32_t interval = core->state == STATE_ARMED ? PROTOCOL_CHECK_INTERVAL_MS : IDLE_CHECK_INTERVAL_MS;
    if (now - core->checked_ms >= interval) {
        core->checked_ms = now;
        check_supply(core);
        if (core->state == STATE_ARMED) {
            check_thresholds(core);
        }
    }
    if (core->state == STATE_FAULTED && now - core->noticed_ms >= PROTOCOL_FAULT_REPEAT_MS) {
        announce(core);
    }
}

// Number of the lowest clear bit.
static uint8_t first_clear(uint16_t mask) {
    uint8_t i = 0;
    while (i < 16u && bit_is_set(mask, i)) {
        i++;
    }
    return i;
}

bool safety_condition_gone(struct core *core, uint8_t *channel) {
    *channel = PROTOCOL_NO_CHANNEL;
    bool gone = true;
    if (core->fault == FAULT_BROWN_OUT) {
        gone = core->hal->supply_millivolts(core->hal->context) >= PROTOCOL_SUPPLY_RECOVERED_MILLIVOLTS;
    } else if (core->fault == FAULT_COMPARATOR_STUCK) {
        const uint16_t good = probe_all(&core->thresholds);
        gone = good == 0x7FFFu;
        *channel = gone ? PROTOCOL_NO_CHANNEL : first_clear(good);
    } else if (core->fault == FAULT_READBACK_DRIFT || core->fault == FAULT_DAC_WRITE_FAILED) {
        const uint16_t good = thresholds_test_dac(&core->thresholds);
        gone = good == 0xFFFFu;
        *channel = gone ? PROTOCOL_NO_CHANNEL : first_clear(good);
    }
    const struct dac_outcome outcome = thresholds_write_safe(&core->thresholds);
    if (gone && outcome.status != DAC_OK) {
        *channel = outcome.channel;
        gone = false;
    }
    return gone;
}

uint32_t safety_due_ms(const struct core *core) {
    const uint32_t interval = core->state == STATE_ARMED ? PROTOCOL_CHECK_INTERVAL_MS : IDLE_CHECK_INTERVAL_MS;
    const uint32_t since = now_ms(core) - core->checked_ms;
    return since >= interval ? 0 : interval - since;
}
