/*
 * A board's time: which interrupt the CPU takes, and when there is something to look at again.
 */

#include "board.h"

const struct shared board_shared[] = {SHARED_SIZE(struct board), SHARED_END};

void board_start(struct board *board)
{
	gic_start(&board->gic);
	uart_start(&board->uart);
	board->next = 0;
}

void board_changed(struct board *board)
{
	((uint64_t *)(uintptr_t)board->blocks)[BLOCK_ALARM] = 0;
}

/* Bring the timers' lines up to date where the next block begins. */
static void look_at_timers(void *engine, struct board *board)
{
	struct mmu *mmu = (struct mmu *)(uintptr_t)board->mmu;
	uint64_t now = clock_at_block((const uint64_t *)(uintptr_t)board->blocks);
	uint32_t firing;

	if (!mmu->timers_written && now < board->next)
		return;
	mmu->timers_written = 0;
	firing = timers_firing(engine, mmu, now, &board->next);
	for (uint32_t intid = 16; intid < 32; intid++)
		gic_set_line(&board->gic, intid, firing >> intid & 1);
}

/*
 * The level that takes an interrupt where the next block begins, or 0. Then the block hook asks
 * again at the next timer's time, or at each block while one is masked.
 */
uint64_t board_interrupt(void *engine, struct board *board)
{
	uint64_t *blocks = (uint64_t *)(uintptr_t)board->blocks, alarm, done, limit, level = 0;
	struct mmu *mmu = (struct mmu *)(uintptr_t)board->mmu;

	look_at_timers(engine, board);
	if (gic_signals(&board->gic)) {
		level = interrupt_taker(mmu, mmu_pstate(engine, mmu));
		blocks[BLOCK_ALARM] = 0;
		return level;
	}
	alarm = clock_reaches(board->next);
	done = blocks[BLOCK_BEFORE];
	alarm = alarm > done ? alarm - done : 0;
	limit = block_limit(blocks);
	blocks[BLOCK_ALARM] = alarm < limit ? alarm : limit;
	return 0;
}

/*
 * The CPU waits for an interrupt: whether one comes. Time goes on to the next timer, and counts
 * as instructions do.
 */
uint64_t board_sleep(void *engine, struct board *board)
{
	uint64_t *blocks = (uint64_t *)(uintptr_t)board->blocks, now, wake, left, skip;

	look_at_timers(engine, board);
	blocks[BLOCK_ALARM] = 0;
	if (gic_signals(&board->gic))
		return 1;
	wake = clock_reaches(board->next);
	if (wake == NEVER)
		return 0;
	now = blocks[BLOCK_BEFORE] + blocks[BLOCK_INSTRUCTIONS];
	left = blocks[BLOCK_LIMIT] - blocks[BLOCK_INSTRUCTIONS];
	skip = wake > now ? wake - now : 0;
	skip = skip < left ? skip : left;
	blocks[BLOCK_BEFORE] += skip;
	blocks[BLOCK_LIMIT] -= skip;
	return 1;
}

/* Whether an interrupt may come where the CPU is, without anything else being done there. */
uint64_t board_may_interrupt(void *engine, struct board *board)
{
	struct mmu *mmu = (struct mmu *)(uintptr_t)board->mmu;

	look_at_timers(engine, board);
	return (gic_signals(&board->gic) || board->next != NEVER) &&
	       interrupt_taker(mmu, mmu_pstate(engine, mmu));
}

/* Memory that reads as nothing, and as nobody; and that takes what is written. */
uint64_t load_zeros(void *engine, uint64_t at, unsigned size, void *board)
{
	(void)engine;
	(void)at;
	(void)size;
	(void)board;
	return 0;
}

uint64_t load_ones(void *engine, uint64_t at, unsigned size, void *board)
{
	(void)engine;
	(void)at;
	(void)size;
	(void)board;
	return ~0ull;
}

void store_nothing(void *engine, uint64_t at, unsigned size, uint64_t value, void *board)
{
	(void)engine;
	(void)at;
	(void)size;
	(void)value;
	(void)board;
}
