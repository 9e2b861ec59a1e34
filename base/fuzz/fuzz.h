/*
 * Fuzz targets: one file for each parser that meets bytes from outside, with what libFuzzer calls.
 *
 * In the fuzz preset (clang) each is a program of libFuzzer's, run by ci/fuzz. In every other build it is linked with
 * base/fuzz/replay.c instead, and a unit test that goes through the corpus: seeds, and each input that once found
 * something. FOLDER/fuzz/NAME.c has its corpus in FOLDER/fuzz/corpus/NAME/.
 */
#ifndef WEDGE_BASE_FUZZ_FUZZ_H
#define WEDGE_BASE_FUZZ_FUZZ_H

#include <stddef.h>
#include <stdint.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* A memfd with these bytes, the caller's to close. Ends the program when there is none to be had. */
int fuzz_file(const uint8_t *data, size_t size);
/* A copy of the bytes with a NUL behind it, the caller's to free. */
char *fuzz_text(const uint8_t *data, size_t size);

#endif
