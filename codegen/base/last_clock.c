/*
 * Where a call into a library does not come back, no Python runs, and nobody is told of a signal.
 * What ends the process then is this: the handler of the last clock's signal, which needs nothing
 * of the interpreter's. It ends the children, removes the files that would be left over, says its
 * line and exits (last_clock.py).
 *
 * It calls what a signal handler may call only (POSIX.1-2017, XSH 2.4.3).
 */

#include "native.h"

enum { SIGNAL_KILL = 9, EXIT_CODE = 3 };

/* The start of siginfo_t of a signal that a timer sends (Linux, asm-generic/siginfo.h). */
struct timer_info {
	int32_t number, error, code, padding, timer, overrun;
	uint64_t value;
};

/* Python writes it; see there. Addresses are of what is kept as long as it is named here. */
struct last_clock {
	uint64_t write, unlink, rmdir, kill, exit;
	uint64_t busy;
	/* Names, each ended by a zero, the last by two; numbers of processes, the last one 0. */
	uint64_t names, processes;
	/* What to say of which timer. */
	uint64_t descriptor, text[2], size[2];
};

const struct shared last_clock_shared[] = {
	SHARED_SIZE(struct last_clock),
	SHARED(EXIT_CODE),
	SHARED_END,
};

static const volatile struct last_clock *clock;

void prepare_last_clock(uint64_t state)
{
	clock = (const volatile struct last_clock *)(uintptr_t)state;
}

/* To be the handler of the timers' signal, with SA_SIGINFO. */
void end_at_last(int number, const struct timer_info *info, void *context)
{
	const struct last_clock now = *clock;
	const int32_t *process = (const int32_t *)(uintptr_t)now.processes;
	const char *name = (const char *)(uintptr_t)now.names;
	uint64_t which = info->value & 1;

	(void)number;
	(void)context;
	/* Files are being put into their places, all or none: a second later it is looked again. */
	if (now.busy)
		return;
	for (; *process; process++)
		((int (*)(int, int))(uintptr_t)now.kill)(*process, SIGNAL_KILL);
	while (*name) {
		if (((int (*)(const char *))(uintptr_t)now.unlink)(name))
			((int (*)(const char *))(uintptr_t)now.rmdir)(name);
		while (*name++)
			;
	}
	((int64_t (*)(int, uint64_t, uint64_t))(uintptr_t)now.write)(
		(int)now.descriptor, now.text[which], now.size[which]);
	((void (*)(int))(uintptr_t)now.exit)(EXIT_CODE);
}
