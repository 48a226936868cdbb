// Runs every suite.
#include "suites.h"

int main(void) {
    int failures = golden_suite() + link_suite() + session_suite() + commands_suite();
    failures += safety_suite() + stream_suite() + analog_suite() + bench_suite() + trims_suite();
    return failures == 0 ? 0 : 1;
}
