/* What the hooks of the MMU need of the others. */

#ifndef RELOKIT_NATIVE_HOOKS_H
#define RELOKIT_NATIVE_HOOKS_H

#include "native.h"

/* Unicorn's uc_arm64_cp_reg. */
struct system_access {
	uint32_t crn, crm, op0, op1, op2;
	uint64_t value;
};

uint32_t filter_system(void *engine, int32_t reg, const struct system_access *access,
		       const uint64_t *filter);

#endif
