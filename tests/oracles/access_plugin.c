/*
 * A plugin for QEMU 7.2 (-plugin FILE,start=PC,end=PC,out=FILE): what is accessed from the
 * instruction at `start` to that at `end`, which is not in it.
 *
 * Debian's package has no header, so the interface (version 1) is declared here as far as it is
 * used. Lines of the output: `load PA BYTES` and `store PA BYTES` for accesses that go on where the
 * last of their kind ended, `event PC WORD` for an instruction that no range crosses, and in the
 * end `instructions COUNT`.
 */

#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef uint64_t plugin_id;
typedef uint32_t meminfo;
struct plugin_tb;
struct plugin_insn;
struct plugin_hwaddr;
typedef void on_translate(plugin_id id, struct plugin_tb *tb);
typedef void on_end(plugin_id id, void *data);
typedef void on_insn(unsigned cpu, void *data);
typedef void on_access(unsigned cpu, meminfo info, uint64_t va, void *data);
enum { NO_REGISTERS = 0, READ_AND_WRITE = 3 };

void qemu_plugin_register_vcpu_tb_trans_cb(plugin_id id, on_translate *call);
void qemu_plugin_register_atexit_cb(plugin_id id, on_end *call, void *data);
void qemu_plugin_register_vcpu_insn_exec_cb(struct plugin_insn *insn, on_insn *call, int flags,
					    void *data);
void qemu_plugin_register_vcpu_mem_cb(struct plugin_insn *insn, on_access *call, int flags, int rw,
				      void *data);
size_t qemu_plugin_tb_n_insns(const struct plugin_tb *tb);
struct plugin_insn *qemu_plugin_tb_get_insn(const struct plugin_tb *tb, size_t number);
const void *qemu_plugin_insn_data(const struct plugin_insn *insn);
uint64_t qemu_plugin_insn_vaddr(const struct plugin_insn *insn);
unsigned qemu_plugin_mem_size_shift(meminfo info);
bool qemu_plugin_mem_is_store(meminfo info);
struct plugin_hwaddr *qemu_plugin_get_hwaddr(meminfo info, uint64_t va);
uint64_t qemu_plugin_hwaddr_phys_addr(const struct plugin_hwaddr *address);

int qemu_plugin_version = 1;

static const char *const NAMES[2] = {"load", "store"};
static uint64_t start_pc, end_pc, instructions;
static int recording;
static FILE *out;

/* The range of each kind that goes on: its first PA, its bytes, and the next VA. */
static struct {
	uint64_t pa, length, next;
} ranges[2];

static void end_range(int kind)
{
	if (ranges[kind].length)
		fprintf(out, "%s 0x%" PRIx64 " %" PRIu64 "\n", NAMES[kind], ranges[kind].pa,
			ranges[kind].length);
	ranges[kind].length = 0;
}

static void end_ranges(void)
{
	end_range(0);
	end_range(1);
}

/*
 * Barriers, MSR, system instructions but for maintenance by address, calls and ERET. Source: ARM
 * DDI 0487, C4.1 (branches, exception generation and system instructions), C5.1.
 */
static int is_event(uint32_t word)
{
	unsigned op0 = word >> 19 & 3, op1 = word >> 16 & 7, crn = word >> 12 & 15;
	unsigned crm = word >> 8 & 15, op2 = word >> 5 & 7, reads = word >> 21 & 1;

	if (word == 0xd69f03e0)
		return 1;
	if ((word & 0xffe0001c) == 0xd4000000)
		return (word & 3) != 0;
	if ((word & 0xffc00000) != 0xd5000000 || reads)
		return 0;
	if (op0 == 0)
		return (crn == 3 && op1 == 3 && op2 != 2) || crn == 4;
	if (op0 == 1 && crn == 7)
		return !(op1 == 3 || (op1 == 0 && crm == 6 && op2 & 1));
	return 1;
}

static void execute(unsigned cpu, void *data)
{
	const uint64_t *insn = data;

	(void)cpu;
	if (insn[0] == start_pc)
		recording = 1;
	if (insn[0] == end_pc && recording) {
		end_ranges();
		fprintf(out, "instructions %" PRIu64 "\n", instructions);
		recording = 0;
		start_pc = 1;
	}
	if (!recording)
		return;
	instructions++;
	if (is_event((uint32_t)insn[1])) {
		end_ranges();
		fprintf(out, "event 0x%" PRIx64 " 0x%" PRIx64 "\n", insn[0], insn[1]);
	}
}

static void access_memory(unsigned cpu, meminfo info, uint64_t va, void *data)
{
	int kind = qemu_plugin_mem_is_store(info);
	uint64_t length = 1ull << qemu_plugin_mem_size_shift(info);

	(void)cpu;
	(void)data;
	if (!recording)
		return;
	/* Pages that follow each other in VA need not in PA. */
	if (va != ranges[kind].next || !(va & 0xfff))
		end_range(kind);
	if (!ranges[kind].length)
		ranges[kind].pa = qemu_plugin_hwaddr_phys_addr(qemu_plugin_get_hwaddr(info, va));
	ranges[kind].length += length;
	ranges[kind].next = va + length;
}

static void translate(plugin_id id, struct plugin_tb *tb)
{
	size_t count = qemu_plugin_tb_n_insns(tb);

	(void)id;
	for (size_t at = 0; at < count; at++) {
		struct plugin_insn *insn = qemu_plugin_tb_get_insn(tb, at);
		uint64_t *what = malloc(2 * sizeof(*what));
		uint32_t word;

		if (!what)
			abort();
		memcpy(&word, qemu_plugin_insn_data(insn), sizeof(word));
		what[0] = qemu_plugin_insn_vaddr(insn);
		what[1] = word;
		qemu_plugin_register_vcpu_insn_exec_cb(insn, execute, NO_REGISTERS, what);
		qemu_plugin_register_vcpu_mem_cb(insn, access_memory, NO_REGISTERS, READ_AND_WRITE,
						 NULL);
	}
}

static void finish(plugin_id id, void *data)
{
	(void)id;
	(void)data;
	fclose(out);
}

int qemu_plugin_install(plugin_id id, const void *info, int argc, char **argv)
{
	(void)info;
	for (int at = 0; at < argc; at++) {
		if (!strncmp(argv[at], "start=", 6))
			start_pc = strtoull(argv[at] + 6, NULL, 16);
		else if (!strncmp(argv[at], "end=", 4))
			end_pc = strtoull(argv[at] + 4, NULL, 16);
		else if (!strncmp(argv[at], "out=", 4))
			out = fopen(argv[at] + 4, "w");
	}
	if (!out)
		return 1;
	qemu_plugin_register_vcpu_tb_trans_cb(id, translate);
	qemu_plugin_register_atexit_cb(id, finish, NULL);
	return 0;
}
