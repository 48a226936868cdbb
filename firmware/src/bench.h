// The test cell driven on command: one comparator's reading at many levels.
#ifndef CANOPIC_BENCH_H
#define CANOPIC_BENCH_H

#include "thresholds.h"

#define BENCH_FIELDS_FINE 0xFFu

// Index of the first field of a sweep that is out of range, or BENCH_FIELDS_FINE. `limit_us` is how long it may take.
uint8_t bench_sweep_wrong_field(const struct msg_sweep *sweep, uint32_t limit_us);

// Counts, for each level, in how many readings the comparator was high. Feeds the watchdog and leaves the test cell
// dark. The sweep's fields must be in range.
enum dac_status bench_sweep(struct thresholds *thresholds, const struct msg_sweep *sweep,
                            uint8_t counts[PROTOCOL_SWEEP_LEVELS_MAX]);

#endif
