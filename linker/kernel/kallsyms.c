/*
 * The names of a kernel's symbol table, stepped over, expanded and looked up: kallsyms_tables.py
 * says how they are stored. Whatever is read is within the sizes given.
 */

#include "native.h"

#define NAMES_PER_MARKER 256
#define MAX_TOKEN 512
#define MAX_CANDIDATES 64
#define TOKENS 256

/* Bytes that 256 names can take up: at least a length, a type and a character each. */
#define LEAST_STEP (NAMES_PER_MARKER * 2)
#define MOST_STEP (NAMES_PER_MARKER * MAX_TOKEN)

/* Words that could be markers: the first, which is 0, and how many there are. */
struct marker_run {
	uint64_t first;
	uint64_t count;
};

/* What stepping over names found. */
struct walked_names {
	uint64_t names; /* stepped over, by 256 */
	uint64_t characters; /* of all names together, with their types */
};

const struct shared kallsyms_shared[] = {
	SHARED(NAMES_PER_MARKER),
	SHARED(MAX_TOKEN),
	SHARED(MAX_CANDIDATES),
	SHARED(TOKENS),
	SHARED_SIZE(struct marker_run),
	SHARED_SIZE(struct walked_names),
	SHARED_END,
};

static uint32_t word_at(const uint8_t *words, uint64_t number)
{
	uint32_t value;

	__builtin_memcpy(&value, words + sizeof(value) * number, sizeof(value));
	return value;
}

static int is_step(const uint8_t *words, uint64_t number)
{
	int64_t step = (int64_t)word_at(words, number + 1) - word_at(words, number);

	return LEAST_STEP <= step && step <= MOST_STEP;
}

/*
 * The longest runs, MAX_CANDIDATES of them at most, of words that begin at 0 and rise, at least
 * twice, by what 256 names can take; of runs as long as one another the first come first.
 */
uint64_t kallsyms_markers(const uint8_t *words, uint64_t count, struct marker_run *runs)
{
	uint64_t found = 0;

	for (uint64_t at = 0; at + 2 < count; at++) {
		uint64_t last = at, place;

		if (word_at(words, at))
			continue;
		while (last + 1 < count && is_step(words, last))
			last++;
		if (last - at < 2)
			continue;
		for (place = found; place && runs[place - 1].count < last - at + 1; place--)
			if (place < MAX_CANDIDATES)
				runs[place] = runs[place - 1];
		if (place < MAX_CANDIDATES) {
			runs[place] = (struct marker_run){at, last - at + 1};
			found += found < MAX_CANDIDATES;
		}
		at = last - 1;
	}
	return found;
}

/* Numbers of the last words, MAX_CANDIDATES at most, that are above low and at most high. */
uint64_t kallsyms_counts(const uint8_t *words, uint64_t count, uint32_t low, uint32_t high,
			 uint32_t *numbers)
{
	uint64_t found = 0;

	while (count-- && found < MAX_CANDIDATES) {
		uint32_t value = word_at(words, count);

		if (value > low && value <= high)
			numbers[found++] = (uint32_t)count;
	}
	return found;
}

/* The tokens that a name at `at` has; `at` is behind their number then. Two bytes are there. */
static uint64_t name_length(const uint8_t *names, uint64_t *at)
{
	uint64_t length = names[(*at)++];

	/* From 6.1 on a long name has seven bits here and the rest in a second byte. */
	if (length > 0x7F)
		length = (length & 0x7F) | (uint64_t)names[(*at)++] << 7;
	return length;
}

/* Whether `count` names meet the markers and end, but for padding, where `size` says. */
int kallsyms_walk(const uint8_t *names, uint64_t size, uint64_t count, const uint8_t *markers,
		  const uint32_t *token_starts, struct walked_names *walked)
{
	uint64_t at = 0;

	*walked = (struct walked_names){0, 0};
	for (uint64_t number = 0; number < count; number++) {
		uint64_t length;

		if (number % NAMES_PER_MARKER == 0) {
			walked->names += NAMES_PER_MARKER;
			if (word_at(markers, number / NAMES_PER_MARKER) != at)
				return 0;
		}
		if (at + 2 > size)
			return 0;
		length = name_length(names, &at);
		if (!length || length > size - at)
			return 0;
		for (; length; length--, at++)
			walked->characters += token_starts[names[at] + 1] - token_starts[names[at]];
	}
	return size - at < 8;
}

/*
 * Writes all names, each followed by a zero, behind the zero that `text` begins with, where each
 * begins, the end as one more, and their types; returns how many bytes `text` has then.
 * kallsyms_walk has been over the names; an empty one has the type '?'.
 */
uint64_t kallsyms_expand(const uint8_t *names, uint64_t count, const uint8_t *tokens,
			 const uint32_t *token_starts, uint8_t *text, uint32_t *begins,
			 uint8_t *types)
{
	uint64_t at = 0, end = 1;

	text[0] = 0;
	for (uint64_t number = 0; number < count; number++) {
		uint64_t length = name_length(names, &at);
		/* The type comes to lie on the zero before, and is taken from there. */
		uint64_t first = --end;

		for (; length; length--, at++)
			for (uint32_t from = token_starts[names[at]];
			     from < token_starts[names[at] + 1]; from++)
				text[end++] = tokens[from];
		types[number] = end > first ? text[first] : '?';
		text[first] = 0;
		end += end == first;
		begins[number] = (uint32_t)(first + 1);
		text[end++] = 0;
	}
	begins[count] = (uint32_t)end;
	return end;
}

/* The first name from number `from` on that is the `size` bytes at `name`, or -1. */
int64_t kallsyms_find(const uint8_t *text, const uint32_t *begins, uint64_t count, uint64_t from,
		      const uint8_t *name, uint64_t size)
{
	for (uint64_t number = from; number < count; number++) {
		uint64_t left = size;

		if (begins[number + 1] - begins[number] != size + 1)
			continue;
		while (left && text[begins[number] + left - 1] == name[left - 1])
			left--;
		if (!left)
			return (int64_t)number;
	}
	return -1;
}

/*
 * How far symbols are from the lowest: by words that say it, by such that were turned to -1 minus
 * it, or by distances from each word itself, which is `place` bytes into the Image. Whether they
 * ascend, and are within `limit`.
 */
enum form { STORED, TURNED, RELATIVE };

int kallsyms_offsets(const uint8_t *words, uint64_t count, enum form form, int64_t place,
		     int64_t limit, int64_t *offsets)
{
	for (uint64_t number = 0; number < count; number++) {
		uint32_t word = word_at(words, number);
		int64_t value = form == STORED ? (int64_t)word :
				form == TURNED ? -1 - (int64_t)(int32_t)word :
				(int32_t)word + place + 4 * (int64_t)number;

		if (value < (number ? offsets[number - 1] : 0) || value > limit)
			return 0;
		offsets[number] = value;
	}
	return count && offsets[0] < offsets[count - 1];
}
