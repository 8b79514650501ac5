/*
 * Calls of the native library, as tests have made them, made again: replay LIBRARY CALLS SEED TIMES
 *
 * Each block of memory that a call was given is allocated by itself, as large as it was, so that a
 * byte that is read or written beside it is seen. What comes back, and what blocks have then, is
 * what was recorded. Then the call is made TIMES times with other bytes and numbers where the
 * function takes any (`wild`). support/recorded_calls.py writes the calls and has their format.
 */

#include <dlfcn.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "wild.h"

enum { PIECE = 4096, MOST_BLOCKS = 256, MOST_ARGUMENTS = 12, MOST_FUNCTIONS = 128, NAME = 32 };

typedef uint64_t call(uint64_t, uint64_t, uint64_t, uint64_t, uint64_t, uint64_t, uint64_t,
		      uint64_t, uint64_t, uint64_t, uint64_t, uint64_t);

struct block {
	uint64_t size, writable;
	uint8_t *before, *after, *at;
};

struct link {
	uint64_t block, offset, target, inner;
};

struct recorded {
	char name[NAME];
	uint64_t count, arguments[MOST_ARGUMENTS], result, result_bits;
	uint64_t block_count, link_count;
	struct block blocks[MOST_BLOCKS];
	struct link *links;
};

/* Targets of links that are no blocks: arguments, and functions of the engine. */
#define ARGUMENT (~(uint64_t)0)
#define STUB (~(uint64_t)1)

static struct {
	char name[NAME];
	uint64_t calls, wild, stubbed, wrong;
} told[MOST_FUNCTIONS];
static uint64_t told_count, stub_calls;

static uint64_t answer_nothing(void)
{
	stub_calls++;
	return 0;
}

static _Noreturn void stop(const char *what, const char *name)
{
	fprintf(stderr, "%s: %s\n", name, what);
	exit(2);
}

static void *room(uint64_t size)
{
	void *found = malloc(size);

	if (!found)
		stop("there is no memory", "replay");
	return found;
}

static int get(FILE *file, void *to, uint64_t size)
{
	return fread(to, 1, size, file) == size;
}

/* A block's bytes: how many pieces are not zero, then each with its number. */
static uint8_t *content(FILE *file, uint64_t size, const char *name)
{
	uint8_t *bytes = room(size ? size : 1);
	uint64_t count, number;

	memset(bytes, 0, size);
	if (!get(file, &count, 8))
		stop("its record is cut off", name);
	while (count--) {
		if (!get(file, &number, 8) || number * PIECE >= size)
			stop("its record has a piece that is nowhere", name);
		uint64_t left = size - number * PIECE;
		if (!get(file, bytes + number * PIECE, left < PIECE ? left : PIECE))
			stop("its record is cut off", name);
	}
	return bytes;
}

static int next(FILE *file, struct recorded *to)
{
	if (!get(file, to->name, NAME))
		return 0;
	if (!get(file, &to->count, (1 + MOST_ARGUMENTS + 4) * 8) || to->count > MOST_ARGUMENTS ||
	    to->block_count > MOST_BLOCKS)
		stop("its record is none", to->name);
	for (uint64_t i = 0; i < to->block_count; i++) {
		struct block *block = &to->blocks[i];
		if (!get(file, &block->size, 16))
			stop("its record is cut off", to->name);
		block->before = content(file, block->size, to->name);
		block->after = block->writable ? content(file, block->size, to->name) : block->before;
	}
	to->links = room(to->link_count * sizeof(struct link) + 1);
	if (!get(file, to->links, to->link_count * sizeof(struct link)))
		stop("its record is cut off", to->name);
	return 1;
}

static uint64_t target(const struct recorded *of, const struct link *link)
{
	if (link->target == STUB)
		return (uint64_t)(uintptr_t)answer_nothing;
	return (uint64_t)(uintptr_t)of->blocks[link->target].at + link->inner;
}

/* Puts addresses where they belong, into blocks or arguments. */
static void join(const struct recorded *of, uint8_t *to, uint64_t block)
{
	for (uint64_t i = 0; i < of->link_count; i++) {
		uint64_t address = target(of, &of->links[i]);
		if (of->links[i].block == block)
			memcpy(to + of->links[i].offset, &address, 8);
	}
}

static void change(struct recorded *of, const struct wild *how, uint64_t *arguments)
{
	for (uint64_t i = 0; i < of->count; i++)
		if (how->value >> i & 1 && chance() % 2)
			arguments[i] = odd();
	for (uint64_t i = 0; i < of->link_count; i++) {
		const struct link *link = &of->links[i];
		if (link->block != ARGUMENT || !(how->content >> link->offset / 8 & 1))
			continue;
		struct block *block = &of->blocks[link->target];
		for (uint64_t times = 1 + chance() % 4; times && block->size > link->inner; times--) {
			uint64_t at = link->inner + chance() % (block->size - link->inner);
			uint64_t value = odd(), size = 1 << chance() % 4;
			uint64_t left = block->size - at;
			memcpy(block->at + at, &value, size < left ? size : left);
		}
	}
}

/* What came back is another than was recorded: told once of a function. */
static void differs(const struct recorded *of, uint64_t row, const char *what, uint64_t block,
		    uint64_t at)
{
	if (!told[row].wrong++)
		fprintf(stderr, "%s: another %s than was recorded, block %llu, byte %llu\n", of->name,
			what, (unsigned long long)block, (unsigned long long)at);
}

/* Makes the call, as it was or, by `how`, with something else. */
static void make(call *function, struct recorded *of, const struct wild *how, uint64_t row)
{
	uint64_t a[MOST_ARGUMENTS] = {0};
	uint64_t before = stub_calls;

	for (uint64_t i = 0; i < of->block_count; i++) {
		of->blocks[i].at = room(of->blocks[i].size);
		memcpy(of->blocks[i].at, of->blocks[i].before, of->blocks[i].size);
	}
	for (uint64_t i = 0; i < of->block_count; i++)
		join(of, of->blocks[i].at, i);
	memcpy(a, of->arguments, sizeof(a));
	join(of, (uint8_t *)a, ARGUMENT);
	if (how)
		change(of, how, a);
	uint64_t found = function(a[0], a[1], a[2], a[3], a[4], a[5], a[6], a[7], a[8], a[9], a[10],
				  a[11]);
	uint64_t mask = of->result_bits >= 64 ? ~(uint64_t)0 : ((uint64_t)1 << of->result_bits) - 1;
	int stubbed = stub_calls != before;
	told[row].stubbed += stubbed;
	if (!how && !stubbed && (found & mask) != (of->result & mask))
		differs(of, row, "result", 0, 0);
	for (uint64_t i = 0; i < of->block_count; i++) {
		struct block *block = &of->blocks[i];
		if (block->writable)
			join(of, block->after, i);
		for (uint64_t at = 0; !how && !stubbed && block->writable && at < block->size; at++)
			if (block->at[at] != block->after[at]) {
				differs(of, row, "byte", i, at);
				break;
			}
		free(block->at);
	}
}

static uint64_t row_of(const char *name)
{
	uint64_t row = 0;

	while (row < told_count && strcmp(told[row].name, name))
		row++;
	if (row == MOST_FUNCTIONS)
		stop("too many functions", name);
	if (row == told_count)
		memcpy(told[told_count++].name, name, NAME);
	return row;
}

int main(int count, char **given)
{
	static struct recorded one;
	void *library = count == 5 ? dlopen(given[1], RTLD_NOW) : NULL;
	FILE *file = library ? fopen(given[2], "rb") : NULL;

	if (!file)
		stop(library || count != 5 ? "replay LIBRARY CALLS SEED TIMES" : dlerror(), "replay");
	seed = strtoull(given[3], NULL, 0) * 2 + 1;
	uint64_t times = strtoull(given[4], NULL, 0);
	while (next(file, &one)) {
		call *function = (call *)(uintptr_t)dlsym(library, one.name);
		if (!function)
			stop("the library has no such function", one.name);
		uint64_t row = row_of(one.name);
		const struct wild *how = wild_of(one.name);
		make(function, &one, NULL, row);
		told[row].calls++;
		for (uint64_t i = 0; how && i < times; i++, told[row].wild++)
			make(function, &one, how, row);
		for (uint64_t i = 0; i < one.block_count; i++) {
			if (one.blocks[i].writable)
				free(one.blocks[i].after);
			free(one.blocks[i].before);
		}
		free(one.links);
	}
	fclose(file);
	uint64_t wrong = 0;
	for (uint64_t i = 0; i < told_count; i++) {
		wrong += told[i].wrong;
		printf("%s %llu %llu %llu\n", told[i].name, (unsigned long long)told[i].calls,
		       (unsigned long long)told[i].wild, (unsigned long long)told[i].stubbed);
	}
	return wrong ? 2 : 0;
}
