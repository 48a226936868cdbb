// Consistent Overhead Byte Stuffing: a frame without zero bytes, so that a zero can end it.
// S. Cheshire, M. Baker, "Consistent Overhead Byte Stuffing", IEEE/ACM ToN 7(2), 1999, doi:10.1109/90.769765.
#ifndef CANOPIC_COBS_H
#define CANOPIC_COBS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

// Most bytes that `size` bytes can take when encoded, without the delimiter.
#define COBS_ENCODED_MAX(size) ((size) + (size) / 254u + 1u)

// Encodes `size` bytes into `out`, which must hold COBS_ENCODED_MAX(size). Returns the encoded size; adds no delimiter.
size_t cobs_encode(const uint8_t *in, size_t size, uint8_t *out);

// Decodes `size` bytes (without the delimiter) into `out`, which must hold `size` bytes and may be `in` itself.
// Returns false when a zero lies inside or a block reaches past the end.
bool cobs_decode(const uint8_t *in, size_t size, uint8_t *out, size_t *decoded);

#endif
