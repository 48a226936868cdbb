// The board's UART as a pseudo-terminal.
#include "serial.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <termios.h>
#include <unistd.h>

static bool complain(const char *what) {
    fprintf(stderr, "canopic-board: %s: %s\n", what, strerror(errno));
    return false;
}

// Makes the link point to the slave in one step, whatever was there before.
static bool put_link(const struct serial *serial) {
    char beside[4096];
    const int length = snprintf(beside, sizeof beside, "%s.%ld", serial->link, (long)getpid());
    if (length < 0 || (size_t)length >= sizeof beside) {
        errno = ENAMETOOLONG;
        return complain(serial->link);
    }
    (void)unlink(beside);
    if (symlink(serial->slave_path, beside) != 0 || rename(beside, serial->link) != 0) {
        (void)unlink(beside);
        return complain(serial->link);
    }
    return true;
}

bool serial_open(struct serial *serial, const char *link, uint64_t seed) {
    memset(serial, 0, sizeof *serial);
    serial->link = link;
    serial->slave = -1;
    random_seed(&serial->random, seed);
    serial->master = posix_openpt(O_RDWR | O_NOCTTY | O_NONBLOCK | O_CLOEXEC);
    if (serial->master < 0 || grantpt(serial->master) != 0 || unlockpt(serial->master) != 0 ||
        ptsname_r(serial->master, serial->slave_path, sizeof serial->slave_path) != 0) {
        return complain("cannot open a pseudo-terminal");
    }
    serial->slave = open(serial->slave_path, O_RDWR | O_NOCTTY | O_CLOEXEC);
    struct termios settings;
    if (serial->slave < 0 || tcgetattr(serial->slave, &settings) != 0) {
        return complain(serial->slave_path);
    }
    cfmakeraw(&settings);
    if (tcsetattr(serial->slave, TCSANOW, &settings) != 0) {
        return complain(serial->slave_path);
    }
    return put_link(serial);
}

// Applies the faults to bytes in place. Returns how many are left.
static size_t spoil(struct serial *serial, const struct byte_faults *faults, uint8_t *bytes, size_t size) {
    if (faults->corrupt <= 0.0 && faults->drop <= 0.0) {
        return size;
    }
    size_t left = 0;
    for (size_t i = 0; i < size; i++) {
        if (random_uniform(&serial->random) < faults->drop) {
            continue;
        }
        uint8_t byte = bytes[i];
        if (random_uniform(&serial->random) < faults->corrupt) {
            byte = (uint8_t)(byte ^ (1u + random_bits(&serial->random) % 255u)); // another value for certain
        }
        bytes[left++] = byte;
    }
    return left;
}

size_t serial_read(struct serial *serial, uint8_t *buffer, size_t capacity) {
    const ssize_t got = read(serial->master, buffer, capacity);
    if (got <= 0) {
        return 0; // nothing there; or the terminal of a host that just left: its next one comes in here too
    }
    serial->rx_bytes += (uint64_t)got;
    return spoil(serial, &serial->rx, buffer, (size_t)got);
}

bool serial_flush(struct serial *serial) {
    while (serial->spoiled_at < serial->spoiled_size) {
        const ssize_t sent =
            write(serial->master, serial->spoiled + serial->spoiled_at, serial->spoiled_size - serial->spoiled_at);
        if (sent <= 0) {
            serial->full = true;
            return false;
        }
        serial->spoiled_at += (size_t)sent;
    }
    serial->full = false;
    return true;
}

size_t serial_write(struct serial *serial, const uint8_t *bytes, size_t size) {
    if (!serial_flush(serial)) {
        return 0;
    }
    if (serial->tx.corrupt > 0.0 || serial->tx.drop > 0.0) {
        const size_t taken = size < sizeof serial->spoiled ? size : sizeof serial->spoiled;
        memcpy(serial->spoiled, bytes, taken);
        serial->spoiled_at = 0;
        serial->spoiled_size = spoil(serial, &serial->tx, serial->spoiled, taken);
        serial->tx_bytes += taken;
        (void)serial_flush(serial);
        return taken;
    }
    const ssize_t sent = write(serial->master, bytes, size);
    const size_t taken = sent > 0 ? (size_t)sent : 0;
    serial->full = taken < size;
    serial->tx_bytes += taken;
    return taken;
}

void serial_close(struct serial *serial) {
    char target[sizeof serial->slave_path] = "";
    if (readlink(serial->link, target, sizeof target - 1) > 0 && strcmp(target, serial->slave_path) == 0) {
        (void)unlink(serial->link);
    }
    if (serial->slave >= 0) {
        close(serial->slave);
    }
    if (serial->master >= 0) {
        close(serial->master);
    }
}
