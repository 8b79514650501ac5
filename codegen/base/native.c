/* Which sources the library was built from: native_sources.py has the digest. */

#include "native.h"

const uint32_t relokit_sources = RELOKIT_SOURCES;
