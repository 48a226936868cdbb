// Whether a comparator follows its input, tried on the test cell: below its threshold it must be low, above it high.
#ifndef CANOPIC_PROBE_H
#define CANOPIC_PROBE_H

#include <stdint.h>

#include "thresholds.h"

enum probe_result { PROBE_FOLLOWS, PROBE_STUCK, PROBE_DAC_FAILED };

// Probes one comparator at PROTOCOL_COMPARATOR_TOLERANCE below and above the code where it is wanted to switch: with
// its trim in the DAC, that is where it does. A side that lies beyond the DAC's range is left out. Three failures in a
// row make it stuck: noise alone does not do that. Leaves the test cell dark.
enum probe_result probe_comparator(struct thresholds *thresholds, uint8_t comparator, uint16_t wanted);

// Probes all comparators with their thresholds at half scale, untrimmed: bit i of the mask is set when comparator i
// follows. Overwrites every DAC channel.
uint16_t probe_all(struct thresholds *thresholds);

#endif
