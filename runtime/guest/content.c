/*
 * What the segments hold, put into pages and compared with them: one pass over memory for each.
 */

#include "native.h"

#include <string.h>

#define BLOCK 4096
#define WORDS (BLOCK / 8)

struct content {
	uint64_t bytes; /* address of what is in memory already; 0: the pattern */
	uint64_t size; /* bytes; what follows them is zero */
	uint64_t table; /* of the pattern: address of the WORDS of a block, before its key */
	uint64_t keys; /* of the pattern: address of a key for each block */
};

struct compared {
	uint64_t bad_pages;
	uint64_t first; /* offset of the first block that differs, if a page is bad */
};

const struct shared content_shared[] = {
	SHARED(BLOCK), SHARED_SIZE(struct content), SHARED_SIZE(struct compared), SHARED_END,
};

/* The block from ``offset`` on, which is a multiple of BLOCK. */
static void put_block(const struct content *content, uint64_t offset, uint64_t *out)
{
	uint64_t filled = content->size > offset ? content->size - offset : 0;

	if (filled > BLOCK)
		filled = BLOCK;
	if (content->bytes) {
		memcpy(out, (const uint8_t *)(uintptr_t)content->bytes + offset, filled);
	} else if (filled) {
		const uint64_t *table = (const uint64_t *)(uintptr_t)content->table;
		uint64_t key = ((const uint64_t *)(uintptr_t)content->keys)[offset / BLOCK];

		for (uint64_t i = 0; i < WORDS; i++)
			out[i] = table[i] ^ key;
	}
	memset((uint8_t *)out + filled, 0, BLOCK - filled);
}

/* Whether the block from ``offset`` on is at ``got``. */
static int is_block(const struct content *content, uint64_t offset, const uint8_t *got)
{
	const uint64_t *table = (const uint64_t *)(uintptr_t)content->table;
	const uint64_t *held = (const uint64_t *)(const void *)got;
	uint64_t block[WORDS], key, different = 0;

	if (content->bytes && content->size >= offset + BLOCK)
		return !memcmp((const uint8_t *)(uintptr_t)content->bytes + offset, got, BLOCK);
	if (content->bytes || content->size < offset + BLOCK) {
		put_block(content, offset, block);
		return !memcmp(block, got, BLOCK);
	}
	key = ((const uint64_t *)(uintptr_t)content->keys)[offset / BLOCK];
	for (uint64_t i = 0; i < WORDS; i++)
		different |= held[i] ^ table[i] ^ key;
	return !different;
}

/* ``size`` bytes from ``offset`` on, both of them any. */
void content_read(const struct content *content, uint64_t offset, uint8_t *out, uint64_t size)
{
	uint64_t block[WORDS];

	while (size) {
		uint64_t skip = offset % BLOCK;
		uint64_t part = size < BLOCK - skip ? size : BLOCK - skip;

		put_block(content, offset - skip, block);
		memcpy(out, (uint8_t *)block + skip, part);
		offset += part;
		out += part;
		size -= part;
	}
}

/* Pages from ``offset`` on into ``rows`` of ``ram``, which is counted in pages. */
void content_scatter(const struct content *content, uint64_t offset, uint8_t *ram,
		     const uint64_t *rows, uint64_t pages, uint64_t page_size)
{
	for (uint64_t i = 0; i < pages; i++)
		for (uint64_t at = 0; at < page_size; at += BLOCK, offset += BLOCK)
			put_block(content, offset, (uint64_t *)(ram + rows[i] * page_size + at));
}

/* Pages from ``offset`` on with those at ``got``, added to what was seen of those before. */
void content_compare(const struct content *content, uint64_t offset, const uint8_t *got,
		     uint64_t pages, uint64_t page_size, struct compared *compared)
{
	for (uint64_t i = 0; i < pages; i++) {
		uint64_t bad = 0;

		for (uint64_t at = 0; at < page_size; at += BLOCK, got += BLOCK, offset += BLOCK) {
			if (is_block(content, offset, got))
				continue;
			if (!bad && !compared->bad_pages)
				compared->first = offset;
			bad = 1;
		}
		compared->bad_pages += bad;
	}
}
