// What keeps the board honest: the state, the latched fault and the checks that latch it.
#ifndef CANOPIC_SAFETY_H
#define CANOPIC_SAFETY_H

#include "core.h"

// Goes blind: safe table, sensor isolated, unsent measurements and thresholds forgotten. A latched fault stays latched.
void safety_disarm(struct core *core);

// Goes blind and says why. The first fault stays: a later one does not replace it.
void safety_latch(struct core *core, enum fault fault, uint8_t channel);

// Latches dac_write_failed, or readback_drift, when the outcome is bad. True: it is good.
bool safety_require(struct core *core, struct dac_outcome outcome);

// Starts sensing: the sensor is connected, the heartbeat counts from now.
void safety_arm(struct core *core);

// The periodic checks: heartbeat, supply, one DAC channel, one comparator; announces a latched fault.
void safety_poll(struct core *core);

// Whether the condition behind the latched fault is gone; if not, `channel` says where it is. Leaves the safe table.
bool safety_condition_gone(struct core *core, uint8_t *channel);

// [ms] until safety_poll has something to do.
uint32_t safety_due_ms(const struct core *core);

#endif
