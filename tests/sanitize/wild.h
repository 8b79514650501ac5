/* What of the native library takes any bytes and numbers: what replay.c may change of a call. */

#ifndef WILD_H
#define WILD_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

/* Arguments with a bit each: what they lead to, or they themselves, may be anything. */
struct wild {
	const char *name;
	uint64_t content, value;
};

static const struct wild wild[] = {
	{"kernel_find", 1 << 0 | 1 << 3, 0},
	{"alternatives_run", 1 << 0, 0},
	{"alternatives_check", 1 << 0, 0},
	{"alternatives_next", 1 << 0, 0},
	{"btf_walk", 1 << 0 | 1 << 2, 0},
	{"kallsyms_markers", 1 << 0, 0},
	{"kallsyms_counts", 1 << 0, 1 << 2 | 1 << 3},
	{"kallsyms_walk", 1 << 0 | 1 << 3, 0},
	{"kallsyms_find", 1 << 4, 0},
	{"kallsyms_offsets", 1 << 0, 0},
	{"pointers_votes", 1 << 0, 1 << 2},
	{"pointers_relocated", 1 << 0, 0},
	{"pointers_equal", 1 << 0, 1 << 2},
	{"pointers_ascend", 1 << 0, 0},
	{"pointers_fill", 1 << 0, 0},
	{"references_read", 1 << 1, 0},
	{"whole_gather", 1 << 0, 0},
	{"whole_trim", 1 << 0, 0},
	{"whole_having", 1 << 0, 0},
	{"walk_stage1", 0, 1 << 2},
	{"walk_rights", 0, 1 << 2 | 1 << 3},
	{"content_read", 0, 1 << 1},
	{"access_icc", 1 << 4, 1 << 2},
	{"gic_store", 0, 1 << 3},
	{"uart_store", 0, 1 << 3},
	{"count_each", 0, 1 << 1},
};

static uint64_t seed;

static uint64_t chance(void)
{
	seed ^= seed << 13;
	seed ^= seed >> 7;
	return seed ^= seed << 17;
}

/* A number at which something overflows, or any. */
static uint64_t odd(void)
{
	uint64_t bit = (uint64_t)1 << chance() % 64;

	return chance() % 2 ? chance() : bit - chance() % 3;
}

static inline const struct wild *wild_of(const char *name)
{
	for (size_t i = 0; i < sizeof(wild) / sizeof(*wild); i++)
		if (!strcmp(wild[i].name, name))
			return &wild[i];
	return NULL;
}

#endif
