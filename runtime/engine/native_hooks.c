/*
 * Hooks of the engine. They see plain arrays of 64-bit words only, whose slots native_hooks.py
 * names too.
 */

#include "native_hooks.h"

/* A block that follows itself so often is looked at: it may be a loop that nothing can end. */
#define SPIN_REPEATS 4096
/* Instructions after which any is: a loop of several blocks, as YIELD makes one of two. */
#define LOOK_EVERY (1 << 24)
/* System instruction encodings: op0, op1, CRn, CRm, op2 packed. */
#define ENCODINGS (1u << 16)

/* A bit for each encoding, then the function that is called for those which are set. */
enum { FILTER_HANDLER = ENCODINGS / 64 };

/* A count for each instruction word, from the one at PROFILE_BASE on. */
enum { PROFILE_BASE, PROFILE_WORDS, PROFILE_COUNTS };

enum { ACCESSES, ACCESS_BYTES };

const struct shared native_hooks_shared[] = {
	SHARED(SPIN_REPEATS),
	SHARED(ENCODINGS),
	SHARED(BLOCK_INSTRUCTIONS),
	SHARED(BLOCK_LIMIT),
	SHARED(BLOCK_LAST),
	SHARED(BLOCK_LAST_SIZE),
	SHARED(BLOCK_REPEATS),
	SHARED(BLOCK_REASON),
	SHARED(BLOCK_STOP),
	SHARED(BLOCK_BLOCKS),
	SHARED(BLOCK_HARMLESS),
	SHARED(BLOCK_BEFORE),
	SHARED(BLOCK_ALARM),
	SHARED(BLOCK_BOARD),
	SHARED(BLOCK_CALL),
	SHARED(BLOCK_PATH),
	SHARED(BLOCK_LOOK),
	SHARED(LOOK_EVERY),
	SHARED(STOP_NONE),
	SHARED(STOP_LIMIT),
	SHARED(STOP_SPIN),
	SHARED(STOP_FAULT),
	SHARED(STOP_INTERRUPT),
	SHARED(FILTER_HANDLER),
	SHARED(PROFILE_BASE),
	SHARED(PROFILE_WORDS),
	SHARED(PROFILE_COUNTS),
	SHARED(ACCESSES),
	SHARED(ACCESS_BYTES),
	SHARED_END,
};

typedef int stop_engine(void *engine);
typedef uint32_t handle_access(void *engine, int32_t reg, const struct system_access *access,
			       const uint64_t *filter);

typedef uint64_t call_board(void *engine, uint64_t board);

/* The count at which a run is looked at, whatever the board does. */
uint64_t block_limit(const uint64_t *state)
{
	return state[BLOCK_LOOK] < state[BLOCK_LIMIT] ? state[BLOCK_LOOK] : state[BLOCK_LIMIT];
}

/* BLOCK_ALARM has come: the run is at its limit, or a board may have an interrupt for the CPU. */
static uint64_t alarm_reason(void *engine, uint64_t *state)
{
	if (state[BLOCK_INSTRUCTIONS] >= state[BLOCK_LIMIT])
		return STOP_LIMIT;
	if (state[BLOCK_BOARD] &&
	    ((call_board *)(uintptr_t)state[BLOCK_CALL])(engine, state[BLOCK_BOARD]))
		return STOP_INTERRUPT;
	if (state[BLOCK_INSTRUCTIONS] >= state[BLOCK_LOOK]) {
		state[BLOCK_LOOK] = state[BLOCK_INSTRUCTIONS] + LOOK_EVERY;
		return STOP_SPIN;
	}
	if (!state[BLOCK_BOARD])
		state[BLOCK_ALARM] = block_limit(state);
	return STOP_NONE;
}

/* The counters freeze: the alarm has each block look here. */
void ask_to_stop(uint64_t *state, uint64_t reason)
{
	state[BLOCK_REASON] = reason;
	state[BLOCK_ALARM] = 0;
}

/* A block begins that follows itself for the `repeats`th time. */
static inline void enter_block(uint64_t address, uint32_t size, uint64_t repeats, uint64_t *state)
{
	state[BLOCK_INSTRUCTIONS] += size / 4;
	state[BLOCK_LAST] = address;
	state[BLOCK_LAST_SIZE] = size;
	state[BLOCK_REPEATS] = repeats;
	state[BLOCK_BLOCKS]++;
}

/*
 * The same where something may be due. Once a stop is asked for the counters freeze, because the
 * engine may enter the same hook again before it returns. BLOCK_HARMLESS is the address of a block that may
 * follow itself as often as it likes.
 */
static void look_at_block(void *engine, uint64_t address, uint32_t size, uint64_t repeats,
			  uint64_t *state)
{
	uint64_t reason = STOP_NONE;

	if (state[BLOCK_REASON] != STOP_NONE)
		return;
	if (state[BLOCK_INSTRUCTIONS] >= state[BLOCK_ALARM])
		reason = alarm_reason(engine, state);
	if (reason == STOP_NONE && repeats >= SPIN_REPEATS && address != state[BLOCK_HARMLESS]) {
		state[BLOCK_REPEATS] = repeats;
		reason = STOP_SPIN;
	}
	if (reason == STOP_NONE) {
		enter_block(address, size, repeats, state);
		return;
	}
	ask_to_stop(state, reason);
	((stop_engine *)(uintptr_t)state[BLOCK_STOP])(engine);
}

static void tell_block(void *engine, uint64_t address, uint32_t size, uint64_t *state)
{
	if (state[BLOCK_PATH])
		record_block(engine, address, size, (struct path *)(uintptr_t)state[BLOCK_PATH]);
}

/* Apart, so that the usual way needs no stack. */
static __attribute__((noinline)) void rare_block(void *engine, uint64_t address, uint32_t size,
						 uint64_t repeats, uint64_t *state)
{
	look_at_block(engine, address, size, repeats, state);
	tell_block(engine, address, size, state);
}

/*
 * UC_HOOK_BLOCK: runs before a block's first instruction. A recorder is told here, at BLOCK_PATH: the
 * engine calls one hook from translated code, and of two each by way of a list. One comparison
 * says that nothing is due, neither a limit nor a stop that is asked for.
 */
void count_blocks(void *engine, uint64_t address, uint32_t size, uint64_t *state)
{
	uint64_t repeats = address == state[BLOCK_LAST] ? state[BLOCK_REPEATS] + 1 : 0;

	if (state[BLOCK_INSTRUCTIONS] >= state[BLOCK_ALARM] || repeats >= SPIN_REPEATS) {
		rare_block(engine, address, size, repeats, state);
		return;
	}
	enter_block(address, size, repeats, state);
	tell_block(engine, address, size, state);
}

/* Instructions before the one at `pc`, of all runs: the last block was counted when it began. */
uint64_t blocks_done(const uint64_t *state, uint64_t pc)
{
	uint64_t inside = pc - state[BLOCK_LAST], ahead = 0;

	if (inside < state[BLOCK_LAST_SIZE])
		ahead = (state[BLOCK_LAST_SIZE] - inside) / 4;
	return state[BLOCK_BEFORE] + state[BLOCK_INSTRUCTIONS] - ahead;
}

static uint32_t encoding(const struct system_access *access)
{
	uint32_t packed = access->op0 << 14 | access->op1 << 11 | access->crn << 7 |
			  access->crm << 3 | access->op2;

	return packed % ENCODINGS;
}

/* UC_HOOK_INSN for MRS and MSR: calls the handler for chosen registers only. */
uint32_t filter_system(void *engine, int32_t reg, const struct system_access *access,
		       const uint64_t *filter)
{
	uint32_t key = encoding(access);

	if (!(filter[key / 64] >> key % 64 & 1))
		return 0;
	return ((handle_access *)(uintptr_t)filter[FILTER_HANDLER])(engine, reg, access, filter);
}

/* UC_HOOK_INSN: a counter for each encoding; the engine goes on to carry the instruction out. */
uint32_t count_system(void *engine, int32_t reg, const struct system_access *access,
		      uint64_t *counters)
{
	(void)engine;
	(void)reg;
	counters[encoding(access)]++;
	return 0;
}

/* UC_HOOK_CODE: one more. */
void count_code(void *engine, uint64_t address, uint32_t size, uint64_t *counter)
{
	(void)engine;
	(void)address;
	(void)size;
	++*counter;
}

/* UC_HOOK_CODE: each word of a range by itself. */
void count_each(void *engine, uint64_t address, uint32_t size, uint64_t *profile)
{
	uint64_t index = (address - profile[PROFILE_BASE]) / 4;

	(void)engine;
	(void)size;
	if (index < profile[PROFILE_WORDS])
		profile[PROFILE_COUNTS + index]++;
}

/* UC_HOOK_MEM_*: one more access, and its bytes. The value it has or gets is of no interest. */
void count_access(void *engine, int32_t type, uint64_t address, int32_t size, int64_t value,
		  uint64_t *counts)
{
	(void)engine;
	(void)type;
	(void)address;
	(void)value;
	counts[ACCESSES]++;
	counts[ACCESS_BYTES] += (uint32_t)size;
}
