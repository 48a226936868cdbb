// Cyclic redundancy checks: CRC-16/CCITT-FALSE on every frame, CRC-32 (IEEE 802.3) on thresholds and measurements.
// Parameters and check values: G. Cook, "Catalogue of parametrised CRC algorithms" (CRC-16/IBM-3740, CRC-32/ISO-HDLC).
#ifndef CANOPIC_CRC_H
#define CANOPIC_CRC_H

#include <stddef.h>
#include <stdint.h>

#define CRC16_START 0xFFFFu
#define CRC32_START 0u

// Continues a CRC-16 over more bytes; begin with CRC16_START.
uint16_t crc16(uint16_t crc, const uint8_t *bytes, size_t size);

// Continues a CRC-32 over more bytes; begin with CRC32_START.
uint32_t crc32(uint32_t crc, const uint8_t *bytes, size_t size);

#endif
