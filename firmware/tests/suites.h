// The test suites; each returns its number of failures.
#ifndef CANOPIC_TESTS_SUITES_H
#define CANOPIC_TESTS_SUITES_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

int golden_suite(void);
int link_suite(void);
int session_suite(void);
int commands_suite(void);
int safety_suite(void);
int stream_suite(void);
int bench_suite(void);
int trims_suite(void);
int analog_suite(void);

#endif
