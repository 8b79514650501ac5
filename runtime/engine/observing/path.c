/*
 * The path: which blocks were run, in order, and how often each was. A block that follows itself is
 * one entry. The first entries are kept, and of the others the last ones (recorder.py); of how often
 * all is kept.
 */

#include "recorder.h"

enum { PATH_HEAD = 1 << 10, PATH_TAIL = 1 << 13, EXECUTED = 1 << 14, LOOKED_AT = 64 };

/* `before` is how many instructions had begun, `length` how many one time has. */
struct path_block {
	uint64_t pc, before;
	uint32_t length, times;
};

/* The `length` instructions from `pc` on were begun `times`; a place that is not used has no length. */
struct executed {
	uint64_t pc, times;
	uint64_t length;
};

/*
 * `recorder` is the address of what counts instructions. Of `used` entries the last ones are a ring.
 * `lost` says that there was no room for one of `executed`.
 */
struct path {
	uint64_t recorder, used, lost;
	struct path_block blocks[PATH_HEAD + PATH_TAIL];
	struct executed executed[EXECUTED];
};

const struct shared path_shared[] = {
	SHARED(PATH_HEAD),
	SHARED(PATH_TAIL),
	SHARED(EXECUTED),
	SHARED_SIZE(struct path_block),
	SHARED_SIZE(struct executed),
	SHARED_SIZE(struct path),
	SHARED_END,
};

static struct path_block *entry(struct path *path, uint64_t number)
{
	if (number >= PATH_HEAD)
		number = PATH_HEAD + (number - PATH_HEAD) % PATH_TAIL;
	return &path->blocks[number];
}

static void add_executed(struct path *path, uint64_t pc, uint64_t length, uint64_t times)
{
	uint64_t at = (pc / 4 ^ length << 7) * 0x9e3779b97f4a7c15ull >> 50;

	if (!length || !times || path->lost)
		return;
	for (unsigned probe = 0; probe < LOOKED_AT; probe++, at++) {
		struct executed *one = &path->executed[at % EXECUTED];

		if (!one->length)
			*one = (struct executed){ .pc = pc, .length = length };
		if (one->pc == pc && one->length == length) {
			one->times += times;
			return;
		}
	}
	path->lost = 1;
}

/* The last block is over; the last time it was run may have ended early. */
static void close_block(struct path *path, uint64_t instructions)
{
	const struct path_block *last = entry(path, path->used - 1);
	uint64_t begun = instructions - last->before;

	add_executed(path, last->pc, last->length, begun / last->length);
	add_executed(path, last->pc, begun % last->length, 1);
}

/* The window ends. */
void end_path(struct path *path)
{
	if (path->used)
		close_block(path, ((const struct recorder *)(uintptr_t)path->recorder)->instructions);
}

/* At UC_HOOK_BLOCK (count_blocks() in native_hooks.c): comes before the block's first instruction is counted. */
void record_block(void *engine, uint64_t pc, uint32_t size, struct path *path)
{
	struct recorder *r = (struct recorder *)(uintptr_t)path->recorder;
	struct path_block *last = path->used ? entry(path, path->used - 1) : NULL;
	uint64_t before;

	if (r->loop) {
		if (last && last->times != UINT32_MAX && loop_goes_on(r, pc, size)) {
			last->times++;
			return;
		}
		leave_loop(engine, r);
	}
	before = r->instructions;
	if (last && last->pc == pc && last->length == size / 4 && last->times != UINT32_MAX &&
	    last->before + (uint64_t)last->length * last->times == before) {
		last->times++;
		begin_loop(engine, r, pc, size);
		return;
	}
	if (last)
		close_block(path, before);
	*entry(path, path->used++) = (struct path_block){ pc, before, size / 4, 1 };
}
