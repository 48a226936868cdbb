// CRC-16 and CRC-32 by half bytes: 96 bytes of tables instead of 1.5 KB, fast enough for the UART.
#include "crc.h"

static const uint16_t TABLE16[16] = {
    0x0000, 0x1021, 0x2042, 0x3063, 0x4084, 0x50A5, 0x60C6, 0x70E7,
    0x8108, 0x9129, 0xA14A, 0xB16B, 0xC18C, 0xD1AD, 0xE1CE, 0xF1EF,
};

static const uint32_t TABLE32[16] = {
    0x00000000, 0x1DB71064, 0x3B6E20C8, 0x26D930AC, 0x76DC4190, 0x6B6B51F4, 0x4DB26158, 0x5005713C,
    0xEDB88320, 0xF00F9344, 0xD6D6A3E8, 0xCB61B38C, 0x9B64C2B0, 0x86D3D2D4, 0xA00AE278, 0xBDBDF21C,
};

uint16_t crc16(uint16_t crc, const uint8_t *bytes, size_t size) {
    for (size_t i = 0; i < size; i++) {
        crc = (uint16_t)((crc << 4) ^ TABLE16[((crc >> 12) ^ (bytes[i] >> 4)) & 0xFu]);
        crc = (uint16_t)((crc << 4) ^ TABLE16[((crc >> 12) ^ bytes[i]) & 0xFu]);
    }
    return crc;
}

uint32_t crc32(uint32_t crc, const uint8_t *bytes, size_t size) {
    crc = ~crc;
    for (size_t i = 0; i < size; i++) {
        crc = (crc >> 4) ^ TABLE32[(crc ^ bytes[i]) & 0xFu];
        crc = (crc >> 4) ^ TABLE32[(crc ^ ((uint32_t)bytes[i] >> 4)) & 0xFu];
    }
    return ~crc;
}
