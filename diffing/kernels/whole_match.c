/* Words of two programs, in pairs of functions: whole_match.py says what is made of them. */

#include "native.h"

#define TAG_SHIFT 56
#define BIAS (INT64_C(1) << 48)
#define INSIDE 1
#define FUNCTION 3
#define SHAPE_SHIFT 32
#define DATA_SHAPE 3
#define FIRST_FUNCTION_SHAPE 4

#define RT 31
#define EMPTY (-1)

/* Numbers of places in functions: a hash table of 1 << bits slots, at most half of them in use. */
struct place_numbers {
	int64_t *keys; /* EMPTY at first */
	int64_t *numbers;
	uint64_t bits;
	uint64_t odd; /* random, so that no kernel can be made to collide */
	int64_t count;
};

/* Parts of functions, in pairs: first words and numbers of words. */
struct extent_pairs {
	int64_t *left;
	int64_t *left_length;
	int64_t *right;
	int64_t *right_length;
	uint64_t count;
};

/* A side: its words without what refers to places, and these places. */
struct matched_side {
	const uint32_t *words;
	const int64_t *places;
	uint32_t *before; /* room for one more than the longest function has words */
};

const struct shared whole_match_shared[] = {
	SHARED(TAG_SHIFT), SHARED(BIAS), SHARED(INSIDE), SHARED(FUNCTION),
	SHARED_SIZE(struct place_numbers), SHARED_SIZE(struct extent_pairs),
	SHARED_SIZE(struct matched_side), SHARED_END,
};

/* The number of a place, a new one if it has none yet; EMPTY where there is no room for more. */
static int64_t number_of(struct place_numbers *numbers, int64_t place)
{
	uint64_t last = (UINT64_C(1) << numbers->bits) - 1;
	uint64_t slot = (uint64_t)place * numbers->odd >> (64 - numbers->bits);

	while (numbers->keys[slot] != EMPTY && numbers->keys[slot] != place)
		slot = (slot + 1) & last;
	if (numbers->keys[slot] == EMPTY) {
		if ((uint64_t)numbers->count > last / 2)
			return EMPTY;
		numbers->keys[slot] = place;
		numbers->numbers[slot] = numbers->count++;
	}
	return numbers->numbers[slot];
}

/*
 * What words are aligned by: a number for each, equal for equal words and functions. System
 * instructions, `system` under `system_mask`, are alike whatever their Rt is, unless it is RT.
 * Whether there was room for all functions.
 */
int whole_shapes(const struct matched_side *side, uint64_t count, uint32_t system_mask,
		  uint32_t system, struct place_numbers *numbers, int64_t *shapes)
{
	for (uint64_t at = 0; at < count; at++) {
		int64_t shape = side->places[at] >> TAG_SHIFT;
		uint32_t word = side->words[at];

		if (shape == FUNCTION) {
			int64_t number = number_of(numbers, side->places[at]);

			if (number == EMPTY)
				return 0;
			shape = FIRST_FUNCTION_SHAPE + number;
		} else if (shape > DATA_SHAPE) {
			shape = DATA_SHAPE;
		}
		if ((word & system_mask) == system && (word & RT) != RT)
			word &= ~(uint32_t)RT;
		shapes[at] = shape << SHAPE_SHIFT | word;
	}
	return 1;
}

/* Makes partners of what is equal at both ends of each pair, and takes it off the pairs. */
void whole_ends(const int64_t *left, const int64_t *right, const struct extent_pairs *pairs,
		int32_t *partner)
{
	for (uint64_t number = 0; number < pairs->count; number++) {
		int64_t ours = pairs->left[number], theirs = pairs->right[number];
		int64_t our_end = ours + pairs->left_length[number];
		int64_t their_end = theirs + pairs->right_length[number];

		while (ours < our_end && theirs < their_end && left[ours] == right[theirs])
			partner[ours++] = (int32_t)theirs++;
		while (ours < our_end && theirs < their_end &&
		       left[our_end - 1] == right[their_end - 1])
			partner[--our_end] = (int32_t)--their_end;
		pairs->left[number] = ours;
		pairs->left_length[number] = our_end - ours;
		pairs->right[number] = theirs;
		pairs->right_length[number] = their_end - theirs;
	}
}

/* How many words of a function that have a partner come before where a word at `at` leads. */
static uint32_t before_target(const uint32_t *before, int64_t at, int64_t place, int64_t length)
{
	int64_t target = at + (place & ((INT64_C(1) << TAG_SHIFT) - 1)) - BIAS;

	/* What fills up at the end has no partner. */
	return before[target < 0 ? 0 : target > length ? length : target];
}

/*
 * Sets `altered` of words of the left that are unlike their partners, or refer to something else.
 * `taken` is zero for all words of the right, and is set for those that are partners.
 */
void whole_altered(const struct matched_side *left, const struct matched_side *right,
		   const struct extent_pairs *pairs, const int32_t *partner, uint8_t *taken,
		   uint8_t *altered)
{
	for (uint64_t number = 0; number < pairs->count; number++) {
		int64_t first = pairs->left[number], length = pairs->left_length[number];
		int64_t other = pairs->right[number], other_length = pairs->right_length[number];

		left->before[0] = right->before[0] = 0;
		for (int64_t at = 0; at < length; at++) {
			left->before[at + 1] = left->before[at] + (partner[first + at] >= 0);
			if (partner[first + at] >= 0)
				taken[partner[first + at]] = 1;
		}
		for (int64_t at = 0; at < other_length; at++)
			right->before[at + 1] = right->before[at] + taken[other + at];
		for (int64_t at = 0; at < length; at++) {
			int64_t to = partner[first + at];
			int64_t place = left->places[first + at];

			if (to < 0)
				continue;
			altered[first + at] = left->words[first + at] != right->words[to];
			if (place >> TAG_SHIFT == INSIDE)
				altered[first + at] |=
					before_target(left->before, at, place, length) !=
					before_target(right->before, to - other, right->places[to],
						      other_length);
			else
				altered[first + at] |= place != right->places[to];
		}
	}
}
