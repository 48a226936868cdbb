// What a simulated board is made of, as one line of JSON: the truth that a calibration has to find.
#ifndef CANOPIC_HOST_REVEAL_H
#define CANOPIC_HOST_REVEAL_H

#include <stddef.h>

#include "analog.h"

#define REVEAL_BYTES 8192u // room that always suffices

// Writes the parts, and where each comparator switches with the thresholds that are in the DAC now.
void reveal(const struct analog *analog, char *json, size_t capacity);

#endif
