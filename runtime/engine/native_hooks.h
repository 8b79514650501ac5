/* What the hooks of the MMU need of the others. */

#ifndef RELOKIT_NATIVE_HOOKS_H
#define RELOKIT_NATIVE_HOOKS_H

#include "native.h"

/* Unicorn's uc_arm64_cp_reg. */
struct system_access {
	uint32_t crn, crm, op0, op1, op2;
	uint64_t value;
};

/* The block counter's slots. */
enum {
	BLOCK_INSTRUCTIONS,
	BLOCK_LIMIT,
	BLOCK_LAST,
	BLOCK_LAST_SIZE,
	BLOCK_REPEATS,
	BLOCK_REASON,
	BLOCK_STOP,
	BLOCK_BLOCKS,
	BLOCK_HARMLESS,
	BLOCK_BEFORE,
	BLOCK_ALARM,
	BLOCK_BOARD,
	BLOCK_CALL,
	BLOCK_PATH,
	BLOCK_LOOK,
};
enum { STOP_NONE, STOP_LIMIT, STOP_SPIN, STOP_FAULT, STOP_INTERRUPT };

uint32_t count_system(void *engine, int32_t reg, const struct system_access *access,
		      uint64_t *counters);
struct path;
void record_block(void *engine, uint64_t pc, uint32_t size, struct path *path);
void ask_to_stop(uint64_t *state, uint64_t reason);
uint64_t block_limit(const uint64_t *state);
uint64_t blocks_done(const uint64_t *state, uint64_t pc);
uint32_t filter_system(void *engine, int32_t reg, const struct system_access *access,
		       const uint64_t *filter);

#endif
