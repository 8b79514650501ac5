/*
 * Generic timers: their registers under every name, and when they fire. The engine keeps control
 * and compare value; it forgets what is written to the one, and follows the host's clock.
 *
 * Source: ARM DDI 0487, D11.2.4 (timers), D19.12 (CNT*_CTL, CNT*_CVAL, CNT*_TVAL, CNTKCTL_EL1,
 * CNTHCTL_EL2), D8.1 (redirection); BSA 1.0, 3.9 (PPIs).
 */

#include "mmu.h"

/* op1 and CRm of its registers, whether the virtual counter's offset counts, its interrupt. */
struct timer {
	uint8_t op1, crm, has_offset, intid;
};

enum { PHYSICAL, VIRTUAL, HYP_PHYSICAL, HYP_VIRTUAL, TIMERS };
enum { VALUE, CONTROL, COMPARE };
/* op1 of the names that a host has for the timers of its guest: CNTP_*_EL02, CNTV_*_EL02. */
enum { OP1_EL02 = 5 };

static const struct timer timers[TIMERS] = {
	[PHYSICAL] = {3, 2, 0, 30},
	[VIRTUAL] = {3, 3, 1, 27},
	[HYP_PHYSICAL] = {4, 2, 0, 26},
	[HYP_VIRTUAL] = {4, 3, 0, 28},
};

#define CTL_ENABLE 1ull
#define CTL_IMASK 2ull
#define CTL_ISTATUS 4ull

const struct shared timers_shared[] = {SHARED(TIMERS), SHARED_END};

static uint64_t get(void *engine, const struct mmu *mmu, const struct timer *timer, unsigned part)
{
	return mmu_system(engine, mmu, timer->op1, 14, timer->crm, part);
}

static void set(void *engine, struct mmu *mmu, const struct timer *timer, unsigned part,
		uint64_t value)
{
	struct system_access reg = {14, timer->crm, 3, timer->op1, part, value};

	((call_write *)(uintptr_t)mmu->calls.write_register)(engine, REG_CP, &reg);
	mmu->timers_written = 1;
	((uint64_t *)(uintptr_t)mmu->blocks)[BLOCK_ALARM] = 0;
}

static uint64_t offset_of(void *engine, const struct mmu *mmu, const struct timer *timer)
{
	return timer->has_offset ? mmu_system(engine, mmu, 4, 14, 0, 3) : 0;
}

static int has_fired(uint64_t count, uint64_t compare)
{
	return count >= compare;
}

/* A register of a timer, `now` being the physical count. */
static uint64_t read_part(void *engine, const struct mmu *mmu, const struct timer *timer,
			  unsigned part, uint64_t now)
{
	uint64_t compare = get(engine, mmu, timer, COMPARE), control;
	uint64_t count = now - offset_of(engine, mmu, timer);

	if (part == COMPARE)
		return compare;
	if (part == VALUE)
		return (uint32_t)(compare - count);
	control = get(engine, mmu, timer, CONTROL) & (CTL_ENABLE | CTL_IMASK);
	if (control & CTL_ENABLE && has_fired(count, compare))
		control |= CTL_ISTATUS;
	return control;
}

static void write_part(void *engine, struct mmu *mmu, const struct timer *timer, unsigned part,
		       uint64_t value, uint64_t now)
{
	if (part == VALUE) {
		/* 32 bits with a sign, from now on. */
		value = now - offset_of(engine, mmu, timer) + (uint64_t)(int64_t)(int32_t)value;
		part = COMPARE;
	} else if (part == CONTROL) {
		value &= CTL_ENABLE | CTL_IMASK;
	}
	set(engine, mmu, timer, part, value);
}

static int named(const struct system_access *access)
{
	if (access->op0 != 3 || access->crn != 14 || access->op2 > COMPARE)
		return TIMERS;
	for (int i = 0; i < TIMERS; i++)
		if (access->op1 == timers[i].op1 && access->crm == timers[i].crm)
			return i;
	if (access->op1 == OP1_EL02 && access->crm == timers[PHYSICAL].crm)
		return PHYSICAL;
	return access->op1 == OP1_EL02 && access->crm == timers[VIRTUAL].crm ? VIRTUAL : TIMERS;
}

/* Whether the level may have it; else the engine has the trap. */
static int may_have(void *engine, const struct mmu *mmu, unsigned el, int timer)
{
	uint64_t host = HCR_E2H | HCR_TGE, control;
	int is_host = (mmu->hcr & host) == host, may;

	if (el >= 2)
		return 1;
	if (timer > VIRTUAL)
		return 0;
	if (el == 0) {
		control = is_host ? mmu_system(engine, mmu, 4, 14, 1, 0)
				  : mmu_system(engine, mmu, 0, 14, 1, 0);
		may = control >> (timer == VIRTUAL ? 8 : 9) & 1;
		if (is_host || !may)
			return may;
	}
	if (timer == VIRTUAL)
		return 1;
	control = mmu_system(engine, mmu, 4, 14, 1, 0);
	return control >> (mmu->hcr & HCR_E2H ? 11 : 1) & 1;
}

/* The timer that `access` reaches, if it is here that it is carried out. */
static const struct timer *reached(void *engine, struct mmu *mmu,
				   const struct system_access *access)
{
	int timer = named(access);
	unsigned el;

	if (timer == TIMERS)
		return NULL;
	el = PSTATE_EL(mmu_pstate(engine, mmu));
	if (access->op1 == OP1_EL02)
		return el == 2 && mmu->hcr & HCR_E2H ? &timers[timer] : NULL;
	if (!may_have(engine, mmu, el, timer))
		return NULL;
	if (timer <= VIRTUAL && mmu->hcr & HCR_E2H && (el == 2 || (!el && mmu->hcr & HCR_TGE)))
		timer += HYP_PHYSICAL;
	return &timers[timer];
}

/* UC_HOOK_INSN for MRS. */
uint32_t read_timer(void *engine, int32_t reg, const struct system_access *access,
		    struct mmu *mmu)
{
	const struct timer *timer = reached(engine, mmu, access);
	uint64_t value;

	if (!timer)
		return 0;
	value = read_part(engine, mmu, timer, access->op2, clock_now(engine, mmu));
	((call_write *)(uintptr_t)mmu->calls.write_register)(engine, reg, &value);
	return 1;
}

/* The same for MSR. */
uint32_t write_timer(void *engine, const struct system_access *access, struct mmu *mmu)
{
	const struct timer *timer = reached(engine, mmu, access);

	if (!timer)
		return 0;
	write_part(engine, mmu, timer, access->op2, access->value, clock_now(engine, mmu));
	return 1;
}

/* A bit for each interrupt that is asserted at the physical count `now`; and when the next is. */
uint32_t timers_firing(void *engine, const struct mmu *mmu, uint64_t now, uint64_t *next)
{
	uint32_t firing = 0;

	*next = NEVER;
	for (int i = 0; i < TIMERS; i++) {
		uint64_t control = get(engine, mmu, &timers[i], CONTROL), compare, offset;

		if ((control & (CTL_ENABLE | CTL_IMASK)) != CTL_ENABLE)
			continue;
		compare = get(engine, mmu, &timers[i], COMPARE);
		offset = offset_of(engine, mmu, &timers[i]);
		if (has_fired(now - offset, compare))
			firing |= 1u << timers[i].intid;
		else if (compare - (now - offset) < *next - now)
			*next = now + (compare - (now - offset));
	}
	return firing;
}
