/* What every source of the native library stands on (docs/adr/0010). */

#ifndef RELOKIT_NATIVE_H
#define RELOKIT_NATIVE_H

#include <stddef.h>
#include <stdint.h>

_Static_assert(sizeof(void *) == 8, "addresses are kept in 64-bit words");
_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "guest memory is read as it lies");

/*
 * What a source shares with Python: constants and sizes of structures, in one table a source that
 * ends at a row without a name. Python says what it takes them for, and loading fails where the
 * two differ (native.py).
 */
struct shared {
	const char *name;
	uint64_t value;
};

#define SHARED(constant) {#constant, (uint64_t)(constant)}
#define SHARED_SIZE(structure) {#structure, sizeof(structure)}
#define SHARED_END {NULL, 0}

#endif
