/* Words counted by what they are about: whole_tally.py. */

#include "native.h"

#define TAG_SHIFT 56
#define LITERAL 2
#define TOPS 128

#define TOP_SHIFT 25

/* Words to be counted by what they are about, for each function in a row of its own, or in none. */
struct tallied_words {
	const uint32_t *words;
	const int64_t *places;
	const int64_t *starts;
	const int64_t *lengths;
	const int64_t *rows; /* or -1 */
	const uint8_t *chosen;
	const uint8_t *data; /* whether what differs is data; or none is */
	uint64_t functions;
};

/* What a word is about by its seven highest bits, but for one that is `system`. */
struct tallied_kinds {
	uint8_t tops[TOPS];
	uint32_t system_mask;
	uint32_t system;
	uint32_t data;
	uint32_t kinds;
};

const struct shared whole_tally_shared[] = {
	SHARED(TAG_SHIFT), SHARED(LITERAL), SHARED(TOPS), SHARED_SIZE(struct tallied_words),
	SHARED_SIZE(struct tallied_kinds), SHARED_END,
};

/* Counts in rows of `kinds`; returns how many words are left, which are `system`: their numbers. */
uint64_t whole_tally(const struct tallied_words *tallied, const struct tallied_kinds *kinds,
		     int64_t *counts, int64_t *left, int64_t *left_rows)
{
	uint64_t found = 0;

	for (uint64_t number = 0; number < tallied->functions; number++) {
		int64_t first = tallied->starts[number], row = tallied->rows[number];

		for (int64_t at = first; row >= 0 && at < first + tallied->lengths[number]; at++) {
			uint32_t word = tallied->words[at];

			if (!tallied->chosen[at])
				continue;
			if ((tallied->data && tallied->data[at]) ||
			    tallied->places[at] >> TAG_SHIFT == LITERAL) {
				counts[row * kinds->kinds + kinds->data]++;
			} else if ((word & kinds->system_mask) == kinds->system) {
				left[found] = at;
				left_rows[found++] = row;
			} else {
				counts[row * kinds->kinds + kinds->tops[word >> TOP_SHIFT]]++;
			}
		}
	}
	return found;
}
