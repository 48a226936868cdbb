// Comparators that contradict the others: what one reading can say about a comparator without knowing the cell's
// voltage.
//
// One voltage is compared with 15 ascending thresholds, so a reading is a thermometer: low bits set, then none. A
// comparator that is high while others, whose thresholds lie far below its own, are low contradicts them (and the other
// way round). "Far" is twice PROTOCOL_COMPARATOR_TOLERANCE, more than two healthy comparators' offsets and noise can
// make up; equal or close thresholds therefore never contradict each other. In a cell the comparator with the most
// contradictions, at least two and more than any other, is the suspect; one that is the suspect in a 64th of the cells
// of a measurement (at least 8) is stuck. Two thresholds levels far apart are needed: where there are none, the probe
// of the test cell (probe.h) has to find it.
#ifndef CANOPIC_CONSISTENCY_H
#define CANOPIC_CONSISTENCY_H

#include <stdint.h>

#include "hal.h"
#include "protocol.h"

#define CONSISTENCY_NO_SUSPECT PROTOCOL_COMPARATORS

struct consistency {
    uint16_t far_below[PROTOCOL_COMPARATORS]; // comparators whose threshold is far below that of comparator i
    uint16_t far_above[PROTOCOL_COMPARATORS];
    uint32_t suspected[PROTOCOL_COMPARATORS]; // [cells] of this measurement
    uint32_t limit;                           // [cells]
};

// For thresholds that are wanted at these codes (trims only cancel offsets) and measurements of this many cells.
void consistency_init(struct consistency *consistency, const uint16_t *wanted, uint32_t cells);

// Before each measurement.
void consistency_begin(struct consistency *consistency);

// Reads the comparators, connected to one cell, and gives its code. Returns the comparator that is now known to be
// stuck, or CONSISTENCY_NO_SUSPECT.
uint8_t consistency_read(struct consistency *consistency, const struct hal *hal, uint8_t *code);

// Looks at the reading of one cell. Returns the comparator that is now known to be stuck, or CONSISTENCY_NO_SUSPECT.
uint8_t consistency_check(struct consistency *consistency, uint16_t reading);

#endif
