/* Pointers of an Image: what they say of where it is linked, and what its relocations put there. */

#include "native.h"

static uint64_t word_at(const uint8_t *words, uint64_t number)
{
	uint64_t value;

	__builtin_memcpy(&value, words + sizeof(value) * number, sizeof(value));
	return value;
}

/*
 * How many words are at least low and below high; each `step`-th of them is put into `sample`,
 * if there is one.
 */
uint64_t pointers_sample(const uint8_t *words, uint64_t count, uint64_t low, uint64_t high,
			 uint64_t step, uint64_t *sample)
{
	uint64_t found = 0;

	for (uint64_t at = 0; at < count; at++) {
		uint64_t value = word_at(words, at);

		if (value < low || value >= high)
			continue;
		if (sample && found % step == 0)
			*sample++ = value;
		found++;
	}
	return found;
}

/*
 * How many words are at least low and below high; their numbers and what they are are put into
 * `numbers` and `values`, if there are such.
 */
uint64_t pointers_within(const uint8_t *words, uint64_t count, uint64_t low, uint64_t high,
			 int64_t *numbers, uint64_t *values)
{
	uint64_t found = 0;

	for (uint64_t at = 0; at < count; at++) {
		uint64_t value = word_at(words, at);

		if (value < low || value >= high)
			continue;
		if (numbers) {
			numbers[found] = (int64_t)at;
			values[found] = value;
		}
		found++;
	}
	return found;
}

/* How many of ascending pointers are `base` and one of ascending offsets, each counted once. */
uint64_t pointers_votes(const uint64_t *pointers, uint64_t count, uint64_t base,
			const int64_t *offsets, uint64_t offset_count)
{
	uint64_t votes = 0, low = 0;

	for (uint64_t at = 0; at < count; at++) {
		int64_t wanted = (int64_t)(pointers[at] - base);
		uint64_t step = 1, high = low;

		if (pointers[at] < base)
			continue;
		/* Onwards in steps that double, then by halves. */
		while (high < offset_count && offsets[high] < wanted) {
			low = high + 1;
			high += step;
			step *= 2;
		}
		if (high > offset_count)
			high = offset_count;
		while (low < high) {
			uint64_t middle = low + (high - low) / 2;

			if (offsets[middle] < wanted)
				low = middle + 1;
			else
				high = middle;
		}
		if (low == offset_count)
			break;
		votes += offsets[low] == wanted;
	}
	return votes;
}

/*
 * The numbers of words that are `kind` between a place, from low on and below high, and a value:
 * entries of RELA. Returns how many; the first `most` are put into `places` and `values`.
 */
uint64_t pointers_relocated(const uint8_t *words, uint64_t count, uint64_t kind, uint64_t low,
			    uint64_t high, uint64_t most, uint64_t *places, uint64_t *values)
{
	uint64_t found = 0;

	for (uint64_t at = 1; at + 1 < count; at++) {
		uint64_t place;

		if (word_at(words, at) != kind)
			continue;
		place = word_at(words, at - 1);
		if (place < low || place >= high)
			continue;
		if (found < most) {
			places[found] = place;
			values[found] = word_at(words, at + 1);
		}
		found++;
	}
	return found;
}

/* The numbers of words that are `value`: how many; the first `most` are put into `numbers`. */
uint64_t pointers_equal(const uint8_t *words, uint64_t count, uint64_t value, uint64_t most,
			uint64_t *numbers)
{
	uint64_t found = 0;

	for (uint64_t at = 0; at < count; at++)
		if (word_at(words, at) == value) {
			if (found < most)
				numbers[found] = at;
			found++;
		}
	return found;
}

int pointers_ascend(const uint64_t *places, uint64_t count)
{
	for (uint64_t at = 1; at < count; at++)
		if (places[at - 1] > places[at])
			return 0;
	return 1;
}

/*
 * Puts the values of entries of RELA where they belong in `filled`, a copy of the `size` bytes of
 * an Image linked at `base`, if there is one; returns how many do. The last one of a place counts.
 */
uint64_t pointers_fill(const uint8_t *image, uint64_t size, uint64_t kind, uint64_t base,
		       uint8_t *filled)
{
	uint64_t found = 0;

	for (uint64_t at = 1; at + 1 < size / 8; at++) {
		uint64_t place, value;

		if (word_at(image, at) != kind)
			continue;
		place = word_at(image, at - 1) - base;
		value = word_at(image, at + 1);
		if (place >= size || size - place < 8 || word_at(image, at - 1) % 8 || value < base)
			continue;
		found++;
		if (filled)
			__builtin_memcpy(filled + place, &value, sizeof(value));
	}
	return found;
}
