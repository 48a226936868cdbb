// The test cell driven on command: one comparator's reading at many levels, and the codes of many levels.
#ifndef CANOPIC_BENCH_H
#define CANOPIC_BENCH_H

#include "consistency.h"
#include "thresholds.h"

#define BENCH_FIELDS_FINE 0xFFu

// Index of the first field of a sweep that is out of range, or BENCH_FIELDS_FINE. `limit_us` is how long it may take.
uint8_t bench_sweep_wrong_field(const struct msg_sweep *sweep, uint32_t limit_us);

// Counts, for each level, in how many readings the comparator was high. Feeds the watchdog and leaves the test cell
// dark. The sweep's fields must be in range.
enum dac_status bench_sweep(struct thresholds *thresholds, const struct msg_sweep *sweep,
                            uint8_t counts[PROTOCOL_SWEEP_LEVELS_MAX]);

// Gives each level the code that a cell with its voltage would get, two to a byte. `stuck` gets a comparator that
// turned out to be stuck (the codes are worth nothing then), or CONSISTENCY_NO_SUSPECT. Leaves the test cell dark.
enum dac_status bench_convert(struct thresholds *thresholds, const struct msg_convert *convert,
                              uint8_t packed[PROTOCOL_CONVERT_LEVELS_MAX / 2u], uint8_t *stuck);

#endif
