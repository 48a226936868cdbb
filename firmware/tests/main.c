// Runs every suite.
#include "suites.h"

int main(void) {
    return golden_suite() + link_suite() + commands_suite() + safety_suite() + stream_suite() + analog_suite() == 0 ? 0
                                                                                                                    : 1;
}
