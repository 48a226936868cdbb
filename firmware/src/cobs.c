// Consistent Overhead Byte Stuffing.
#include "cobs.h"

size_t cobs_encode(const uint8_t *in, size_t size, uint8_t *out) {
    size_t code_at = 0; // where the length code of the open block goes
    size_t end = 1;
    uint8_t code = 1;
    for (size_t i = 0; i < size; i++) {
        // A full block is closed only when another byte follows: so a frame that ends with one needs no empty block.
        if (code == 0xFF) {
            out[code_at] = code;
            code_at = end++;
            code = 1;
        }
        if (in[i] == 0) {
            out[code_at] = code;
            code_at = end++;
            code = 1;
        } else {
            out[end++] = in[i];
            code++;
        }
    }
    out[code_at] = code;
    return end;
}

bool cobs_decode(const uint8_t *in, size_t size, uint8_t *out, size_t *decoded) {
    size_t end = 0;
    size_t i = 0;
    while (i < size) {
        const uint8_t code = in[i++];
        if (code == 0 || (size_t)(code - 1) > size - i) {
            return false;
        }
        for (uint8_t k = 1; k < code; k++) {
            if (in[i] == 0) {
                return false;
            }
            out[end++] = in[i++];
        }
        if (code != 0xFF && i < size) {
            out[end++] = 0;
        }
    }
    *decoded = end;
    return true;
}
