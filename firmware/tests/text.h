// Fields of a message as " name=value" text, as the golden vectors write them.
#ifndef CANOPIC_TESTS_TEXT_H
#define CANOPIC_TESTS_TEXT_H

#include <inttypes.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

struct text {
    char buffer[4096];
    size_t size;
};

static inline void text_number(struct text *text, const char *name, uint64_t value) {
    text->size +=
        (size_t)snprintf(text->buffer + text->size, sizeof text->buffer - text->size, " %s=%" PRIu64, name, value);
}

static inline void text_signed(struct text *text, const char *name, int value) {
    text->size += (size_t)snprintf(text->buffer + text->size, sizeof text->buffer - text->size, " %s=%d", name, value);
}

static inline void text_hex(struct text *text, const char *name, const uint8_t *bytes, size_t count) {
    text->size += (size_t)snprintf(text->buffer + text->size, sizeof text->buffer - text->size, " %s=", name);
    for (size_t i = 0; i < count; i++) {
        text->size +=
            (size_t)snprintf(text->buffer + text->size, sizeof text->buffer - text->size, "%02x", (unsigned)bytes[i]);
    }
}

static inline void text_chars(struct text *text, const char *name, const char *chars, size_t count) {
    text->size += (size_t)snprintf(text->buffer + text->size, sizeof text->buffer - text->size, " %s=%.*s", name,
                                   (int)count, chars);
}

static inline void text_u16s(struct text *text, const char *name, const uint16_t *values, size_t count) {
    text->size += (size_t)snprintf(text->buffer + text->size, sizeof text->buffer - text->size, " %s=", name);
    for (size_t i = 0; i < count; i++) {
        text->size += (size_t)snprintf(text->buffer + text->size, sizeof text->buffer - text->size, "%s%u",
                                       i == 0 ? "" : ",", (unsigned)values[i]);
    }
}

static inline void text_i16s(struct text *text, const char *name, const int16_t *values, size_t count) {
    text->size += (size_t)snprintf(text->buffer + text->size, sizeof text->buffer - text->size, " %s=", name);
    for (size_t i = 0; i < count; i++) {
        text->size += (size_t)snprintf(text->buffer + text->size, sizeof text->buffer - text->size, "%s%d",
                                       i == 0 ? "" : ",", (int)values[i]);
    }
}

#endif
