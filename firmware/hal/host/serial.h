// The board's UART as a pseudo-terminal with a stable name, and the bytes it can lose or spoil on demand.
#ifndef CANOPIC_HOST_SERIAL_H
#define CANOPIC_HOST_SERIAL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "random.h"

// Probabilities for each byte.
struct byte_faults {
    double corrupt;
    double drop;
};

struct serial {
    int master; // file descriptors, -1: none
    int slave;  // kept open: without a slave the master only reads errors while no host is connected
    const char *link;
    char slave_path[64];
    bool full; // the last write took less than it was given: wait for room
    struct random random;
    struct byte_faults rx; // host to board
    struct byte_faults tx; // board to host
    uint8_t spoiled[4096]; // bytes that went through the tx faults and were not yet taken
    size_t spoiled_at;
    size_t spoiled_size;
    uint64_t rx_bytes;
    uint64_t tx_bytes;
};

// Opens a raw pseudo-terminal and puts the symbolic link in place, atomically. False: says why on stderr.
bool serial_open(struct serial *serial, const char *link, uint64_t seed);

// Writes bytes that an earlier serial_write took and the terminal did not. True: all are out.
bool serial_flush(struct serial *serial);

// As the HAL's uart_read and uart_write.
size_t serial_read(struct serial *serial, uint8_t *buffer, size_t capacity);
size_t serial_write(struct serial *serial, const uint8_t *bytes, size_t size);

// Closes the terminal and removes the link, unless it belongs to another board by now.
void serial_close(struct serial *serial);

#endif
