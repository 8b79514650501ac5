/*
 * A file that is mapped and is cut short takes the process with it: what is read behind its end
 * is no error there, but SIGBUS. Here that page becomes zeros, and is counted: whoever reads
 * files asks for the count before saying what was read.
 */

#define _GNU_SOURCE
#include <errno.h>
#include <signal.h>
#include <sys/mman.h>

#include "native.h"

static volatile sig_atomic_t pages_lost;
static uintptr_t page_size;

static void replace_page(int number, siginfo_t *info, void *context)
{
	int kept = errno;
	uintptr_t page = (uintptr_t)info->si_addr & ~(page_size - 1);

	(void)context;
	/* Not the kernel's word on a page that is not there: the instruction, run again, ends us. */
	if (info->si_code != BUS_ADRERR ||
	    mmap((void *)page, page_size, PROT_READ | PROT_WRITE,
		 MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) == MAP_FAILED)
		signal(number, SIG_DFL);
	else
		pages_lost++;
	errno = kept;
}

/* From now on. Returns 0, or -1 where the host refuses. */
int catch_bus_errors(uint64_t size)
{
	struct sigaction action = {0};

	page_size = (uintptr_t)size;
	action.sa_sigaction = replace_page;
	action.sa_flags = SA_SIGINFO | SA_RESTART;
	return sigaction(SIGBUS, &action, NULL);
}

/* How many pages have become zeros since the last time. */
int take_pages_lost(void)
{
	int found = pages_lost;

	pages_lost = 0;
	return found;
}
