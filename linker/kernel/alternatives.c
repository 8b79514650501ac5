/* The table of boot-time alternatives, looked for, checked and searched: alternatives.py. */

#include "native.h"

#define ENTRY 12
#define WORD 4
#define WORDS (ENTRY / WORD)

/* An entry, read: the words replaced, those that replace them, and the third word. */
struct entry {
	int64_t place;
	int64_t replacement;
	uint32_t code;
};

/* Entries one behind the other: where the first is, and how many there are. */
struct entry_run {
	uint64_t start;
	uint64_t count;
};

const struct shared alternatives_shared[] = {
	SHARED(ENTRY),
	SHARED_SIZE(struct entry_run),
	SHARED_END,
};

static uint32_t word_at(const uint8_t *image, uint64_t at)
{
	uint32_t value;

	__builtin_memcpy(&value, image + at, sizeof(value));
	return value;
}

static uint32_t replaced(uint32_t code)
{
	return code >> 16 & 0xFF;
}

static uint32_t replacing(uint32_t code)
{
	return code >> 24;
}

/* Whether as many bytes come for as many, or from a function. */
static int sizes_fit(uint32_t code)
{
	return replaced(code) % WORD == 0 &&
	       (replaced(code) == replacing(code) || (!replacing(code) && replaced(code)));
}

static struct entry read_entry(const uint8_t *image, uint64_t at)
{
	return (struct entry){
		(int64_t)at + (int32_t)word_at(image, at),
		(int64_t)at + WORD + (int32_t)word_at(image, at + WORD),
		word_at(image, at + 2 * WORD),
	};
}

/* Whether at `at` is what could be an entry: all that it names comes before its table. */
static int could_be(const uint8_t *image, uint64_t at)
{
	struct entry entry;

	if (word_at(image, at + 2 * WORD) & 0x03030000 ||
	    !sizes_fit(word_at(image, at + 2 * WORD)))
		return 0;
	entry = read_entry(image, at);
	return entry.place >= 0 && entry.place < (int64_t)at && entry.place % WORD == 0 &&
	       entry.replacement >= 0 && entry.replacement < (int64_t)at + WORD &&
	       entry.replacement % WORD == 0;
}

/*
 * The longest run from offset `first` on, a multiple of 4, in `size` bytes. Of runs as long as one
 * another that which begins at the lowest number of words modulo WORDS, then the first.
 */
struct entry_run alternatives_run(const uint8_t *image, uint64_t size, uint64_t first)
{
	struct entry_run now[WORDS] = {{0, 0}}, best[WORDS] = {{0, 0}};
	uint64_t phase = 0;

	for (uint64_t at = first; at + ENTRY <= size; at += WORD) {
		if (!could_be(image, at))
			now[phase].count = 0;
		else if (!now[phase].count++)
			now[phase].start = at;
		if (now[phase].count > best[phase].count)
			best[phase] = now[phase];
		phase = phase + 1 == WORDS ? 0 : phase + 1;
	}
	for (phase = 1; phase < WORDS; phase++)
		if (best[phase].count > best[0].count)
			best[0] = best[phase];
	return best[0];
}

/* The first offset from `start` up to `end` of an entry that does not hold; `end` if all do. */
uint64_t alternatives_check(const uint8_t *image, uint64_t size, uint64_t start, uint64_t end)
{
	for (; start < end; start += ENTRY) {
		struct entry entry = read_entry(image, start);

		if (!sizes_fit(entry.code) || entry.place % WORD || entry.replacement % WORD ||
		    entry.place < 0 || entry.replacement < 0 ||
		    (uint64_t)entry.place + replaced(entry.code) > size ||
		    (uint64_t)entry.replacement + replacing(entry.code) > size)
			break;
	}
	return start;
}

/*
 * The next entry from `start` up to `end` that replaces some of the bytes from `first` up to
 * `last`, or brings some of them elsewhere, if `brings`; `end` if there is none.
 */
uint64_t alternatives_next(const uint8_t *image, uint64_t start, uint64_t end, int64_t first,
			   int64_t last, int brings)
{
	for (; start < end; start += ENTRY) {
		struct entry entry = read_entry(image, start);
		int64_t place = brings ? entry.replacement : entry.place;
		int64_t size = brings ? replacing(entry.code) : replaced(entry.code);

		if (size && place < last && place + size > first)
			break;
	}
	return start;
}
