/* Memory behind the caches, as a run with effects has it; effects.py has the same structure. */

#ifndef RELOKIT_EFFECTS_H
#define RELOKIT_EFFECTS_H

#include "walker.h"

/*
 * Guest RAM, `size` bytes from PA `base`, is what caches and memory together say: `cached` is its
 * host address. What memory alone says, at the point of coherency, is at the host address `memory`,
 * and there the engine looks, by the PA `alias`, for what no cache has a part in.
 *
 * `lines` and `pages` are host addresses of a byte for each line of `line` bytes (enum line_state),
 * and for each 4 KiB (enum page_state). The rest counts lines whose bytes were lost: `discarded` by
 * an invalidation, `overwritten` in memory by a line that was still dirty; `stale` were handed over
 * as they were before the last store, and of those that are `absent` memory never got anything.
 */
struct effects {
	uint64_t base, size, line, cached, memory, lines, pages, alias, poison;
	uint64_t discarded, overwritten, stale, absent;
};

uint64_t effects_reach(struct effects *effects, uint64_t pa, int writes);
void effects_maintain(struct effects *effects, uint64_t pa, int cleans, int invalidates);
void effects_hand_over(struct effects *effects, uint64_t pa, uint64_t size);
void effects_settle(struct effects *effects);

#endif
