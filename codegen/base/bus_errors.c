/*
 * A file that is mapped and is cut short takes the process with it: what is read behind its end
 * is no error there, but SIGBUS. Here that page becomes zeros, and is counted: whoever reads
 * files asks for the count before saying what was read (host_file.py).
 *
 * Source of the numbers: Linux, asm-generic/siginfo.h and mman-common.h.
 */

#include "native.h"

enum { BUS_ADRERR = 2 };
/* PROT_READ | PROT_WRITE, and MAP_PRIVATE | MAP_FIXED | MAP_ANONYMOUS. */
enum { READ_WRITE = 3, FIXED = 0x32 };

/* The start of siginfo_t. */
struct signal_info {
	int32_t number, error, code, padding;
	uint64_t address;
};

typedef void *map_memory(uint64_t address, uint64_t size, int protection, int flags, int file,
			 int64_t offset);
typedef void (*set_handler(int number, void (*handler)(int)))(int);

static map_memory *map;
static set_handler *set;
static uint64_t page_size;
static volatile int32_t pages_lost;

/* The C library's mmap() and signal(), and the bytes of the host's pages. */
void prepare_bus_errors(uint64_t map_function, uint64_t signal_function, uint64_t size)
{
	map = (map_memory *)(uintptr_t)map_function;
	set = (set_handler *)(uintptr_t)signal_function;
	page_size = size;
}

/* To be the handler of SIGBUS, with SA_SIGINFO. */
void replace_page(int number, const struct signal_info *info, void *context)
{
	uint64_t page = info->address & ~(page_size - 1);

	(void)context;
	if (info->code == BUS_ADRERR &&
	    map(page, page_size, READ_WRITE, FIXED, -1, 0) == (void *)(uintptr_t)page)
		pages_lost++;
	else
		/* Not of a mapping: the instruction is run again, and ends the process. */
		set(number, NULL);
}

/* How many pages have become zeros since the last time. */
int32_t take_pages_lost(void)
{
	int32_t found = pages_lost;

	pages_lost = 0;
	return found;
}
