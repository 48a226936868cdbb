// Sizes that a port may choose (with -D): how much memory the core takes. All memory is static.
#ifndef CANOPIC_CONFIG_H
#define CANOPIC_CONFIG_H

#ifndef CANOPIC_MAX_CELLS
#define CANOPIC_MAX_CELLS 14400u // rows x columns x channels of the largest measurement: 60 x 80 x 3
#endif

#ifndef CANOPIC_SLOTS
#define CANOPIC_SLOTS 2u // measurements kept until acknowledged
#endif

#ifndef CANOPIC_STREAM_BYTES
#define CANOPIC_STREAM_BYTES 1024u // [bytes] stream frames handed to the UART in one go
#endif

#ifndef CANOPIC_CELLS_PER_POLL
#define CANOPIC_CELLS_PER_POLL 512u // cells measured in one core_poll: bounds how long it takes
#endif

#define CANOPIC_FIRMWARE_MAJOR 0u
#define CANOPIC_FIRMWARE_MINOR 1u
#define CANOPIC_FIRMWARE_PATCH 0u

#endif
