/* A walk over the types of BTF for a struct by its name: btf.py says what they look like. */

#include "native.h"

#define TYPE_SIZE 12

enum walk_end { WALK_OVER, WALK_FOUND, WALK_UNKNOWN };

/* Where a walk is: the next type, how many came before, and the last one looked at. */
struct btf_walk {
	uint64_t at;
	uint64_t types;
	uint64_t last;
	uint64_t name; /* which of the names that one has */
	uint64_t kind;
};

/* What follows a type of a kind: bytes, and bytes for each of its count. */
struct btf_kind {
	uint32_t fixed;
	uint32_t each;
};

const struct shared btf_shared[] = {
	SHARED(TYPE_SIZE),
	SHARED(WALK_OVER),
	SHARED(WALK_FOUND),
	SHARED(WALK_UNKNOWN),
	SHARED_SIZE(struct btf_walk),
	SHARED_SIZE(struct btf_kind),
	SHARED_END,
};

static uint32_t word_at(const uint8_t *bytes, uint64_t at)
{
	uint32_t value;

	__builtin_memcpy(&value, bytes + at, sizeof(value));
	return value;
}

/* Whether the string at `at` begins there, behind a zero, and is `name`. */
static int is_string(const uint8_t *strings, uint64_t size, uint64_t at, const char *name)
{
	if (!at || at >= size || strings[at - 1])
		return 0;
	for (; at < size; at++, name++) {
		if (strings[at] != (uint8_t)*name)
			return 0;
		if (!*name)
			return 1;
	}
	return 0;
}

/* Goes on to the next type of kind `wanted` with one of `count` names, at most `most` types far. */
enum walk_end btf_walk(const uint8_t *types, uint64_t size, const uint8_t *strings,
		       uint64_t strings_size, const struct btf_kind *kinds, uint64_t kind_count,
		       uint64_t wanted, const char *const *names, uint64_t count, uint64_t most,
		       struct btf_walk *walk)
{
	while (walk->types < most && walk->at <= size && size - walk->at >= TYPE_SIZE) {
		uint32_t info = word_at(types, walk->at + 4);

		walk->last = walk->at;
		walk->kind = info >> 24 & 0x1F;
		if (walk->kind >= kind_count)
			return WALK_UNKNOWN;
		walk->types++;
		walk->at += TYPE_SIZE + kinds[walk->kind].fixed +
			    (uint64_t)kinds[walk->kind].each * (info & 0xFFFF);
		if (walk->kind != wanted)
			continue;
		for (walk->name = 0; walk->name < count; walk->name++)
			if (is_string(strings, strings_size, word_at(types, walk->last),
				      names[walk->name]))
				return WALK_FOUND;
	}
	return WALK_OVER;
}
