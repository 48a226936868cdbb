// Little-endian numbers in byte buffers, on any machine: no alignment and no byte order is assumed.
#ifndef CANOPIC_BYTES_H
#define CANOPIC_BYTES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

// Zeros memory that is not read again: a compiler may leave out a memset there, but not this.
static inline void wipe(void *memory, size_t size) {
    volatile uint8_t *at = memory;
    for (size_t i = 0; i < size; i++) {
        at[i] = 0;
    }
}

static inline void put_u16(uint8_t *out, uint16_t value) {
    out[0] = (uint8_t)(value & 0xFFu);
    out[1] = (uint8_t)(value >> 8);
}

static inline void put_u32(uint8_t *out, uint32_t value) {
    put_u16(out, (uint16_t)(value & 0xFFFFu));
    put_u16(out + 2, (uint16_t)(value >> 16));
}

static inline void put_u64(uint8_t *out, uint64_t value) {
    put_u32(out, (uint32_t)(value & 0xFFFFFFFFu));
    put_u32(out + 4, (uint32_t)(value >> 32));
}

static inline void put_i16(uint8_t *out, int16_t value) {
    put_u16(out, (uint16_t)value);
}

static inline uint16_t get_u16(const uint8_t *in) {
    return (uint16_t)(in[0] | (uint16_t)(in[1] << 8));
}

// Two's complement, without a conversion that C leaves to the compiler.
static inline int16_t get_i16(const uint8_t *in) {
    const int32_t value = get_u16(in);
    return (int16_t)(value < 0x8000 ? value : value - 0x10000);
}

static inline uint32_t get_u32(const uint8_t *in) {
    return (uint32_t)get_u16(in) | ((uint32_t)get_u16(in + 2) << 16);
}

static inline uint64_t get_u64(const uint8_t *in) {
    return (uint64_t)get_u32(in) | ((uint64_t)get_u32(in + 4) << 32);
}

static inline bool bit_is_set(uint16_t value, uint8_t bit) {
    return (((uint32_t)value >> bit) & 1u) != 0u;
}

// Number of set bits among the low 16: Cortex-M has no instruction for it.
static inline uint8_t count_bits(uint16_t value) {
    uint16_t bits = (uint16_t)(value - ((value >> 1) & 0x5555u));
    bits = (uint16_t)((bits & 0x3333u) + ((bits >> 2) & 0x3333u));
    bits = (uint16_t)((bits + (bits >> 4)) & 0x0F0Fu);
    return (uint8_t)((bits + (bits >> 8)) & 0x1Fu);
}

#endif
