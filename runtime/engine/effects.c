/*
 * What caches do to a run if they are no help: what was not cleaned is not in memory, what was
 * invalidated is lost, and a line that may be dirty is written back when it hurts.
 *
 * Source: ARM DDI 0487, D7.5 (caches, the point of coherency), B2.7.4 and "mismatched attributes".
 */

#include "mmu.h"

#include <string.h>

#define PAGE_BYTES 4096

/*
 * OLD: never maintained. A cache may have it dirty, memory has the poison once it is looked at.
 * SAME: memory had the same after the last maintenance; where it differs, a cache is dirty.
 * AROUND: memory may have been stored to, a cache is clean.
 * BEHIND: memory may have been stored to, and a cache is dirty with what was there before.
 */
enum line_state { LINE_OLD, LINE_SAME, LINE_AROUND, LINE_BEHIND };
enum page_state { PAGE_READ = 1, PAGE_WRITTEN = 2 };

const struct shared effects_shared[] = {
	SHARED(LINE_SAME), SHARED_SIZE(struct effects), SHARED_END,
};

static uint8_t *states(const struct effects *effects)
{
	return (uint8_t *)(uintptr_t)effects->lines;
}

static uint8_t *cached(const struct effects *effects, uint64_t line)
{
	return (uint8_t *)(uintptr_t)(effects->cached + line * effects->line);
}

static uint8_t *memory(const struct effects *effects, uint64_t line)
{
	return (uint8_t *)(uintptr_t)(effects->memory + line * effects->line);
}

static void poison(const struct effects *effects, uint8_t *line)
{
	for (uint64_t at = 0; at < effects->line; at += sizeof(effects->poison))
		memcpy(line + at, &effects->poison, sizeof(effects->poison));
}

static int is_poison(const struct effects *effects, uint64_t line)
{
	const uint8_t *at = memory(effects, line);

	for (uint64_t done = 0; done < effects->line; done += sizeof(effects->poison))
		if (memcmp(at + done, &effects->poison, sizeof(effects->poison)) != 0)
			return 0;
	return 1;
}

static void write_back(const struct effects *effects, uint64_t line)
{
	memcpy(memory(effects, line), cached(effects, line), effects->line);
}

static void read_in(const struct effects *effects, uint64_t line)
{
	memcpy(cached(effects, line), memory(effects, line), effects->line);
}

static int differs(const struct effects *effects, uint64_t line)
{
	return memcmp(memory(effects, line), cached(effects, line), effects->line) != 0;
}

/* The PA at which the engine finds memory of the page at `pa`, for loads, or stores as well. */
uint64_t effects_reach(struct effects *effects, uint64_t pa, int writes)
{
	uint64_t number = (pa - effects->base) / PAGE_BYTES, count = PAGE_BYTES / effects->line;
	uint8_t *page = (uint8_t *)(uintptr_t)effects->pages + number, *state = states(effects);

	for (uint64_t line = number * count; line < (number + 1) * count; line++) {
		if (!*page && state[line] == LINE_OLD)
			poison(effects, memory(effects, line));
		if (!writes || *page & PAGE_WRITTEN)
			continue;
		if (state[line] == LINE_OLD || differs(effects, line))
			state[line] = LINE_BEHIND;
		else
			state[line] = LINE_AROUND;
	}
	*page |= writes ? PAGE_READ | PAGE_WRITTEN : PAGE_READ;
	return effects->alias + (pa - effects->base);
}

/* Whether caches have no part in an access (DDI 0487, D7.5; SCTLR_ELx.C and I). */
static int is_uncached(const struct walk_regime *regime, const struct walk_result *at, int fetch)
{
	uint64_t enabled = fetch ? SCTLR_I : SCTLR_C;

	return walk_is_device(regime, at) || !(regime->sctlr & enabled) ||
	       (regime->mair >> 8 * (at->attributes >> 2 & 7) & 0xff) == NORMAL_NC;
}

/* Of the TLB: have the engine look at memory itself where caches have no part. */
void effects_fill(struct effects *effects, const struct walk_regime *regime,
		  const struct walk_result *at, int32_t type, struct tlb_entry *entry)
{
	if (at->pa - effects->base >= effects->size ||
	    !is_uncached(regime, at, type == MEM_FETCH))
		return;
	/* The first store asks for itself. */
	if (type != MEM_WRITE)
		entry->rights &= ~(uint32_t)RIGHT_WRITE;
	entry->pa = effects_reach(effects, at->pa, type == MEM_WRITE);
}

static void clean(struct effects *effects, uint64_t line, uint8_t *state)
{
	switch (*state) {
	case LINE_BEHIND:
		effects->overwritten += (uint64_t)differs(effects, line);
		write_back(effects, line);
		*state = LINE_AROUND;
		break;
	case LINE_AROUND:
		break;
	default:
		write_back(effects, line);
		*state = LINE_SAME;
	}
}

static void invalidate(struct effects *effects, uint64_t line, uint8_t *state)
{
	switch (*state) {
	case LINE_OLD:
		poison(effects, memory(effects, line));
		*state = LINE_SAME;
		break;
	case LINE_SAME:
		effects->discarded += (uint64_t)differs(effects, line);
		break;
	default:
		*state = LINE_AROUND;
	}
	read_in(effects, line);
}

/* Maintenance, to the point of coherency, of the line that the byte at `pa` is in. */
void effects_maintain(struct effects *effects, uint64_t pa, int cleans, int invalidates)
{
	uint64_t line = (pa - effects->base) / effects->line;
	uint8_t *state = states(effects) + line;

	if (pa - effects->base >= effects->size)
		return;
	if (cleans)
		clean(effects, line, state);
	if (invalidates)
		invalidate(effects, line, state);
}

/*
 * `size` bytes at `pa`, whole lines of RAM, are left to someone without caches: RAM has what memory
 * does, after each line that may be dirty by mistake was written back.
 */
void effects_hand_over(struct effects *effects, uint64_t pa, uint64_t size)
{
	uint64_t end = (pa - effects->base + size) / effects->line;
	uint8_t *state = states(effects);

	for (uint64_t line = (pa - effects->base) / effects->line; line < end; line++) {
		if (state[line] == LINE_OLD)
			poison(effects, memory(effects, line));
		if (state[line] == LINE_BEHIND) {
			effects->overwritten += (uint64_t)differs(effects, line);
			write_back(effects, line);
		} else if (is_poison(effects, line)) {
			effects->absent++;
		} else if (state[line] == LINE_SAME) {
			effects->stale += (uint64_t)differs(effects, line);
		}
		read_in(effects, line);
		state[line] = LINE_SAME;
	}
}

/* All else that was stored to memory, around caches, is in RAM from now on. */
void effects_settle(struct effects *effects)
{
	uint64_t count = PAGE_BYTES / effects->line;
	const uint8_t *page = (const uint8_t *)(uintptr_t)effects->pages;
	const uint8_t *state = states(effects);

	for (uint64_t number = 0; number < effects->size / PAGE_BYTES; number++) {
		if (!(page[number] & PAGE_WRITTEN))
			continue;
		for (uint64_t line = number * count; line < (number + 1) * count; line++)
			if (state[line] == LINE_AROUND || state[line] == LINE_BEHIND)
				read_in(effects, line);
	}
}
