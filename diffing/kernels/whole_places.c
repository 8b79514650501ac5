/*
 * The words of a program's functions, one function after the other, and what names the places that
 * they refer to: whole_places.py.
 */

#include "native.h"

#define TAG_SHIFT 56
#define NAME_SHIFT 24
#define BIAS (INT64_C(1) << 48)
#define PAGE_SHIFT 12

#define WORD 4

/* What a word refers to, in the byte above the value. */
enum reference { NONE, INSIDE, LITERAL, FUNCTION, DATA, NAMELESS };

/* Ascending offsets of symbols, the numbers of their names, whether each is a function. */
struct whole_symbols {
	const int64_t *offsets;
	const int64_t *numbers;
	const uint8_t *functions;
	const int64_t *pages; /* how many symbols are before each page, and before the end */
	int64_t count;
	int64_t page_count;
	int64_t reach; /* bytes that a name goes */
};

/* Flags of a word, which references.c sets. */
struct whole_flags {
	uint32_t refers;
	uint32_t literal;
	uint32_t by_page;
	uint32_t inside;
};

const struct shared whole_places_shared[] = {
	SHARED(TAG_SHIFT), SHARED(NAME_SHIFT), SHARED(BIAS), SHARED(PAGE_SHIFT), SHARED(NONE),
	SHARED(INSIDE), SHARED(LITERAL), SHARED(FUNCTION), SHARED(DATA), SHARED(NAMELESS),
	SHARED_SIZE(struct whole_symbols), SHARED_SIZE(struct whole_flags), SHARED_END,
};

static uint32_t word_at(const uint8_t *content, int64_t at)
{
	uint32_t value;

	__builtin_memcpy(&value, content + at, sizeof(value));
	return value;
}

/* Puts the words of functions at byte `places` together. */
void whole_gather(const uint8_t *content, const int64_t *places, const int64_t *lengths,
		  uint64_t count, uint32_t *words)
{
	for (uint64_t number = 0; number < count; number++)
		for (int64_t at = 0; at < lengths[number]; at++)
			*words++ = word_at(content, places[number] + WORD * at);
}

/* Lengths without what fills up at the end, zeros and `filler`; at least one word is left. */
void whole_trim(const uint32_t *words, const int64_t *lengths, uint64_t count, uint32_t filler,
		int64_t *trimmed)
{
	for (uint64_t number = 0; number < count; number++) {
		int64_t length = lengths[number];

		while (length > 1 && (!words[length - 1] || words[length - 1] == filler))
			length--;
		trimmed[number] = length;
		words += lengths[number];
	}
}

/* Whether functions have a word that is `value` under `mask`. */
void whole_having(const uint32_t *words, const int64_t *lengths, uint64_t count, uint32_t mask,
		  uint32_t value, uint8_t *having)
{
	for (uint64_t number = 0; number < count; number++) {
		having[number] = 0;
		for (int64_t at = 0; at < lengths[number]; at++)
			having[number] |= (words[at] & mask) == value;
		words += lengths[number];
	}
}

/* Sets the bits of places that are below `size`, all of which `bits` has. */
void whole_mark(const int64_t *places, uint64_t count, int64_t size, uint64_t *bits)
{
	for (uint64_t at = 0; at < count; at++)
		if (places[at] >= 0 && places[at] < size)
			bits[places[at] / 64] |= UINT64_C(1) << places[at] % 64;
}

/* The numbers of bits that are set, in so many words; returns how many there are. */
uint64_t whole_marked(const uint64_t *bits, uint64_t words, int64_t *places)
{
	uint64_t found = 0;

	for (uint64_t at = 0; at < words; at++)
		for (uint64_t left = bits[at]; left; left &= left - 1)
			places[found++] = (int64_t)(64 * at) + __builtin_ctzll(left);
	return found;
}

static int64_t tagged(enum reference tag, int64_t value)
{
	return (int64_t)tag << TAG_SHIFT | value;
}

/* The last symbol at or before a place, or -1. */
static int64_t row_of(const struct whole_symbols *symbols, int64_t place)
{
	int64_t page = place >> PAGE_SHIFT;
	int64_t low = 0, high = symbols->count;

	if (page >= 0 && page < symbols->page_count) {
		low = symbols->pages[page];
		high = symbols->pages[page + 1];
	}
	while (low < high) {
		int64_t middle = low + (high - low) / 2;

		if (symbols->offsets[middle] <= place)
			low = middle + 1;
		else
			high = middle;
	}
	return low - 1;
}

static int64_t named(const struct whole_symbols *symbols, int64_t target, int64_t function)
{
	int64_t row = row_of(symbols, target);

	if (row < 0 || target - symbols->offsets[row] > symbols->reach)
		return tagged(NAMELESS, target - function + BIAS);
	return tagged(symbols->functions[row] ? FUNCTION : DATA,
		      symbols->numbers[row] << NAME_SHIFT | (target - symbols->offsets[row]));
}

/* What each word of functions at byte `places` refers to, and what place that is. */
void whole_places(const struct whole_symbols *symbols, const struct whole_flags *kinds,
		  const int64_t *places, const int64_t *lengths, uint64_t count,
		  const int64_t *targets, const uint8_t *flags, int64_t *found)
{
	for (uint64_t number = 0; number < count; number++)
		for (int64_t at = 0; at < lengths[number]; at++, flags++, targets++, found++) {
			if (*flags & kinds->literal)
				*found = tagged(LITERAL, 0);
			else if (!(*flags & kinds->refers))
				*found = 0;
			else if (*flags & kinds->inside && !(*flags & kinds->by_page) &&
				 *targets % WORD == 0)
				*found = tagged(INSIDE, (*targets - places[number]) / WORD - at +
								BIAS);
			else
				*found = named(symbols, *targets, places[number]);
		}
}
