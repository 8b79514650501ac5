"""Advice on caches.* and fetch.*: by rule, what becomes of a machine, and what right code is.

What is known of real machines is a judgement of experience, not a measurement.
"""

from __future__ import annotations

from collections.abc import Mapping

ON_CACHES: Mapping[str, tuple[str, str]] = {
    "caches.discard": (
        "What was copied last is lost: memory has what was there before. A large image hides it, "
        "since most of it was evicted in time; its last pages fail, on every machine with "
        "write-back caches.",
        "dc civac (or cvac) where memory was stored to through the caches; dc ivac only for what "
        "somebody else has written, and before the copy. One dc ivac may drop a whole granule "
        "(CTR_EL0.CWG, up to 2 KiB): where it follows cvac, all of the page is cleaned before any "
        "of it is invalidated",
    ),
    "caches.masked-discard": (
        "Under this hypervisor dc ivac cleans as well, and all is well; the same code on bare "
        "metal loses what was copied.",
        "dc civac where memory was stored to through the caches",
    ),
    "caches.image": (
        "With its MMU off the new kernel reads memory itself, and finds what was there before: it "
        "hangs at its first instruction, or much later in data. cvau does not help where an L2 is "
        "below the point of unification, which is nearly everywhere.",
        "after each page: dc civac for every line from its start, rounded down, to its end, in "
        "steps of 4 << CTR_EL0.DminLine; then dsb sy",
    ),
    "caches.data": (
        "Linux reads device tree and initrd with its caches on and finds them. What reads them "
        "with caches off, as a boot loader or firmware does, finds old bytes.",
        "clean them as the image: the copy loop makes no difference",
    ),
    "caches.completion": (
        "Maintenance goes on in the background: deep out-of-order machines enter the kernel before "
        "the last lines are in memory. It fails rarely, and on few machines.",
        "dsb sy behind the loop, of a type that waits for loads and stores; ld and st do not",
    ),
    "caches.domain": (
        "No machine with one socket is known that fails. By the text, completion is only for the "
        "domain that is named, and a CPU with its MMU off is in the outer one.",
        "dsb sy behind maintenance to the point of coherency; ish is for the point of unification",
    ),
    "caches.read-around": (
        "With the MMU off loads go around the caches and find what memory has: a list entry or a "
        "page that was written a moment ago is still in a cache.",
        "before the MMU goes off, dc cvac and dsb sy over all that is read after that",
    ),
    "caches.write-around": (
        "The dirty line is written back later, at any time, over what was stored around it: whole "
        "lines of the new kernel are the old kernel's data.",
        "invalidate the destination before it is written with the MMU off: dc ivac (or civac) by "
        "line, dsb sy, and only then the stores",
    ),
    "caches.read-hidden": (
        "A line that was cached before hides what memory has now: the CPU goes on with old data.",
        "after stores with the MMU off, dc ivac and dsb sy before the memory is read through "
        "caches",
    ),
    "caches.hidden": (
        "The new kernel is right in memory, and wrong once its caches are on: it reads lines of "
        "the old kernel that nobody has invalidated.",
        "invalidate each destination page before the copy, and complete it with dsb sy",
    ),
    "caches.set-way": (
        "Set and way reach this CPU's own levels and no system cache, and lines may move "
        "meanwhile: it works on a small SoC and loses data on a server.",
        "maintain by address, line by line; set and way are for a CPU that is being powered off",
    ),
    "caches.optional": (
        "On a CPU without the feature the instruction is undefined, and with no vectors to go to "
        "the machine hangs.",
        "dc civac or cvac, which every CPU has; or ask ID_AA64ISAR1_EL1.DPB first",
    ),
    "caches.mixed": (
        "The two accesses may be seen in another order than they were made in.",
        "a dmb between them",
    ),
    "caches.device": (
        "With the MMU off all data is Device memory: the access is an alignment fault, at a moment "
        "when no vectors are there. An emulator lets it pass.",
        "aligned loads and stores of registers and pairs, no exclusives, no dc zva until the MMU "
        "is on",
    ),
    "fetch.image": (
        "The CPU may execute what was at these addresses when it last fetched from them. A first "
        "kexec hardly ever fails; a second one to the same addresses does, now and then.",
        "behind the last store: clean, dsb, ic iallu, dsb, isb, in this order",
    ),
    "fetch.code": (
        "The old instructions run, or some of them: it depends on what was cached and on what was "
        "fetched ahead. Debugging makes it go away.",
        "clean to the PoU (to the PoC if the MMU is off when it runs), dsb, ic, dsb, isb; then "
        "branch there",
    ),
    "fetch.in-place": (
        "Memory that was set aside for a crash kernel is mapped without execute permission and was "
        "hardly ever fetched from: nobody has seen this fail.",
        "ic iallu, dsb and isb before the soft restart, also where nothing is moved",
    ),
}
