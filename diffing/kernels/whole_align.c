/*
 * A longest common subsequence, bit-parallel: whole_align.py says after whom.
 */

#include "native.h"

#define ROW_BITS 64
/* No code is negative. */
#define EMPTY (-1)

/* Working memory: what lies in it before an alignment does not matter. */
struct align_scratch {
	int64_t *keys; /* a hash table of 1 << bits codes, at most half full */
	uint64_t *numbers; /* for each of its slots, the number of the code there */
	uint64_t *masks; /* for each number, a bit for each code of the left: is it that one */
	uint64_t *rows; /* a row for each code of the right and one above: 0 where the length grows */
	uint64_t bits;
	uint64_t odd;
};

const struct shared whole_align_shared[] = {
	SHARED(ROW_BITS),
	SHARED_SIZE(struct align_scratch),
	SHARED_END,
};

static void fill(uint64_t *words, uint64_t count, uint64_t value)
{
	for (uint64_t i = 0; i < count; i++)
		words[i] = value;
}

/*
 * The slot of the code: where it is, or an empty one. The highest bits of its product with a
 * random odd number are where to begin, so no kernel can be made to collide.
 */
static uint64_t slot_of(const struct align_scratch *scratch, int64_t code)
{
	uint64_t last = (UINT64_C(1) << scratch->bits) - 1;
	uint64_t slot = (uint64_t)code * scratch->odd >> (64 - scratch->bits);

	while (scratch->keys[slot] != EMPTY && scratch->keys[slot] != code)
		slot = (slot + 1) & last;
	return slot;
}

/* Numbers the different codes of the right from 0 on, and returns how many they are. */
static uint64_t number_codes(const struct align_scratch *scratch, const int64_t *right, uint64_t m)
{
	uint64_t different = 0;

	for (uint64_t j = 0; j < m; j++) {
		uint64_t slot = slot_of(scratch, right[j]);

		if (scratch->keys[slot] == EMPTY) {
			scratch->keys[slot] = right[j];
			scratch->numbers[slot] = different++;
		}
	}
	return different;
}

static void set_masks(const struct align_scratch *scratch, const int64_t *left, uint64_t n,
		      uint64_t width)
{
	for (uint64_t i = 0; i < n; i++) {
		uint64_t slot = slot_of(scratch, left[i]);

		if (scratch->keys[slot] == left[i])
			scratch->masks[scratch->numbers[slot] * width + i / ROW_BITS] |=
				UINT64_C(1) << i % ROW_BITS;
	}
}

/* The row below another, by the mask of its code: an addition as wide as the row. */
static void next_row(const uint64_t *above, const uint64_t *mask, uint64_t *below, uint64_t width)
{
	uint64_t carry = 0;

	for (uint64_t i = 0; i < width; i++) {
		uint64_t grows = above[i] & mask[i];
		uint64_t half = above[i] + grows;
		uint64_t sum = half + carry;

		carry = (uint64_t)(half < grows) | (uint64_t)(sum < carry);
		below[i] = sum | (above[i] ^ grows);
	}
}

static uint64_t is_flat(const uint64_t *row, uint64_t i)
{
	return row[i / ROW_BITS] >> i % ROW_BITS & 1;
}

/*
 * Pairs the left's n codes with the right's m: partner[i] becomes base and the index in the right
 * where there is one, and stays as it was elsewhere. From the last corner of the rows back, a
 * length that grows in a row but not in the one above makes a pair.
 */
static void align(const struct align_scratch *scratch, const int64_t *left, uint64_t n,
		  const int64_t *right, uint64_t m, int32_t base, int32_t *partner)
{
	uint64_t width = (n + ROW_BITS - 1) / ROW_BITS;
	uint64_t *rows = scratch->rows;
	uint64_t i = n, j = m;

	fill((uint64_t *)scratch->keys, UINT64_C(1) << scratch->bits, (uint64_t)EMPTY);
	fill(scratch->masks, number_codes(scratch, right, m) * width, 0);
	set_masks(scratch, left, n, width);

	fill(rows, width, ~UINT64_C(0));
	for (uint64_t row = 0; row < m; row++) {
		uint64_t number = scratch->numbers[slot_of(scratch, right[row])];

		next_row(rows + row * width, scratch->masks + number * width,
			 rows + (row + 1) * width, width);
	}

	while (i && j) {
		if (is_flat(rows + j * width, i - 1)) {
			i--;
		} else if (!is_flat(rows + (j - 1) * width, i - 1)) {
			j--;
		} else {
			i--;
			j--;
			partner[i] = base + (int32_t)j;
		}
	}
}

/* Parts of the left and of the right in pairs, first codes and how many; partners are numbers. */
void whole_align(struct align_scratch *scratch, const int64_t *left, const int64_t *firsts,
		 const int64_t *lengths, const int64_t *right, const int64_t *other_firsts,
		 const int64_t *other_lengths, uint64_t count, int32_t *partner)
{
	for (uint64_t part = 0; part < count; part++) {
		uint64_t m = (uint64_t)other_lengths[part];

		/* At most half full, and with two slots for none. */
		scratch->bits = 64 - (uint64_t)__builtin_clzll(2 * m | 1);
		align(scratch, left + firsts[part], (uint64_t)lengths[part],
		      right + other_firsts[part], m, (int32_t)other_firsts[part],
		      partner + firsts[part]);
	}
}
