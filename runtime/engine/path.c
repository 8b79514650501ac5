/*
 * The path: which blocks were run, in order. A block that follows itself is one entry. The first
 * entries are kept, and of the others the last ones (recorder.py).
 */

#include "native.h"

enum { PATH_HEAD = 1 << 10, PATH_TAIL = 1 << 13 };

/* `before` is how many instructions had begun, `length` how many one time has. */
struct path_block {
	uint64_t pc, before;
	uint32_t length, times;
};

/* `instructions` is the address of what counts them. Of `used` entries the last ones are a ring. */
struct path {
	uint64_t instructions, used;
	struct path_block blocks[PATH_HEAD + PATH_TAIL];
};

const struct shared path_shared[] = {
	SHARED(PATH_HEAD),
	SHARED(PATH_TAIL),
	SHARED_SIZE(struct path_block),
	SHARED_SIZE(struct path),
	SHARED_END,
};

static struct path_block *entry(struct path *path, uint64_t number)
{
	if (number >= PATH_HEAD)
		number = PATH_HEAD + (number - PATH_HEAD) % PATH_TAIL;
	return &path->blocks[number];
}

/* UC_HOOK_BLOCK: comes before the block's first instruction is counted. */
void record_block(void *engine, uint64_t pc, uint32_t size, struct path *path)
{
	uint64_t before = *(const uint64_t *)(uintptr_t)path->instructions;
	struct path_block *last = path->used ? entry(path, path->used - 1) : NULL;

	(void)engine;
	if (last && last->pc == pc && last->length == size / 4 && last->times != UINT32_MAX &&
	    last->before + (uint64_t)last->length * last->times == before) {
		last->times++;
		return;
	}
	*entry(path, path->used++) = (struct path_block){ pc, before, size / 4, 1 };
}
