/* Bytes in a kernel of some 30 MiB: finding.py. */

#include "native.h"

#define ONES UINT64_C(0x0101010101010101)
#define HIGHS UINT64_C(0x8080808080808080)

/* Bits of which the lowest is in the first byte of eight that is zero; 0 if none is. */
static uint64_t zeros(const uint8_t *content, uint64_t mask)
{
	uint64_t word;

	__builtin_memcpy(&word, content, sizeof(word));
	word ^= mask;
	return (word - ONES) & ~word & HIGHS;
}

/* The first place from `from` on where the needle lies, or -1. */
int64_t kernel_find(const uint8_t *content, uint64_t size, uint64_t from, const uint8_t *needle,
		    uint64_t length)
{
	uint64_t mask = length ? ONES * needle[0] : 0;

	while (length && length <= size && from <= size - length) {
		uint64_t at = 0;

		/* Eight at once are stepped over where none begins as the needle does. */
		if (size - from >= sizeof(mask)) {
			uint64_t found = zeros(content + from, mask);

			if (!found) {
				from += sizeof(mask);
				continue;
			}
			from += (uint64_t)__builtin_ctzll(found) / 8;
			if (from > size - length)
				break;
		}
		while (at < length && content[from + at] == needle[at])
			at++;
		if (at == length)
			return (int64_t)from;
		from++;
	}
	return -1;
}
