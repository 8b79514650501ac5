"""What /chosen says to the new kernel: its own facts, and none of the kernel that was left."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from relokit.runtime.guest.payload import PayloadKind
from relokit.runtime.judge.rules.handover.boot_memory import TREE_IS_SOUND, given_of, text, within
from relokit.runtime.judge.rules.rule import Applies, Broken, Rule
from relokit.runtime.judge.rules.severity import Severity
from relokit.runtime.record.given import Given, TreeGiven
from relokit.runtime.record.known import Unknown
from relokit.runtime.record.record import Record

KDUMP = "Documentation/admin-guide/kdump/kdump.rst; dt-schema, schemas/chosen.yaml"
KHO = "Documentation/core-api/kho/concepts.rst"

RANGE, CORE = "linux,usable-memory-range", "linux,elfcorehdr"
NAMES = {PayloadKind.INITRD: "initrd", PayloadKind.DEVICE_TREE: "device tree"}


def _tree(record: Record) -> TreeGiven:
    tree = given_of(record).tree
    assert tree is not None
    return tree


def _only(wanted: Callable[[Given, TreeGiven], object], why: str) -> Applies:
    def applies(record: Record) -> str | None:
        unsound = TREE_IS_SOUND(record)
        if unsound or record.given is None or isinstance(record.given, Unknown):
            return unsound
        tree = record.given.tree
        return None if tree is not None and wanted(record.given, tree) else why

    return applies


_IS_CRASH_OR_SAYS_SO = _only(
    lambda given, tree: given.crash or tree.usable or tree.core_header,
    "no crash kernel, and /chosen does not call it one",
)


def _memory(record: Record) -> Iterator[Broken]:
    tree, crash = _tree(record), given_of(record).crash
    said = ", ".join(text(one) for one in tree.usable)
    if crash is None:
        if tree.usable:
            yield Broken(
                f"/chosen has {RANGE} {said}, and this is no crash kernel", address=tree.at
            )
        return
    if not tree.usable:
        yield Broken(f"a crash kernel is not told its memory: no {RANGE}", address=tree.at)
    elif not any(one == crash for one in tree.usable):
        yield Broken(
            f"/chosen has {RANGE} {said}, and {text(crash)} was set aside", address=tree.at
        )


def _core(record: Record) -> Iterator[Broken]:
    tree, crash, core = _tree(record), given_of(record).crash, _tree(record).core_header
    if crash is None:
        if core is not None:
            yield Broken(
                f"/chosen has {CORE} {text(core)}, and this is no crash kernel", address=tree.at
            )
        return
    if core is None:
        yield Broken(f"a crash kernel is not told of the crashed one: no {CORE}", address=tree.at)
        return
    loaded = [one for one in record.segments if one.kind is PayloadKind.CORE_HEADER]
    if not any(within(core, [(one.base, one.size)]) for one in loaded):
        yield Broken(f"no ELF core header was loaded where {CORE} has it, {text(core)}", core[0])
    if not within(core, [crash]):
        yield Broken(f"{CORE} is {text(core)}, outside of {text(crash)}", address=core[0])


def _core_reserved(record: Record) -> Iterator[Broken]:
    tree, core = _tree(record), _tree(record).core_header
    if core is not None and given_of(record).crash and not within(core, tree.reserved):
        yield Broken(f"{CORE} is {text(core)}, which is not reserved", address=core[0])


def _initrd(record: Record) -> Iterator[Broken]:
    tree = _tree(record)
    loaded = [one for one in record.segments if one.kind is PayloadKind.INITRD]
    if tree.initrd is None:
        for one in loaded:
            yield Broken("an initrd was loaded, and /chosen does not say where", address=one.base)
    elif not any(within(tree.initrd, [(one.base, one.size)]) for one in loaded):
        yield Broken(
            f"/chosen has an initrd at {text(tree.initrd)}, where none was loaded",
            address=tree.initrd[0],
        )


def _seeds(record: Record) -> Iterator[Broken]:
    tree = _tree(record)
    for name in tree.spent_seeds:
        yield Broken(f"{name} of /chosen is used up: it is all zeros, or nothing", address=tree.at)


def _kho(record: Record) -> Iterator[Broken]:
    tree, image = _tree(record), given_of(record).image
    if tree.kho_tree is None or tree.kho_scratch is None:
        there = "linux,kho-scratch" if tree.kho_tree is None else "linux,kho-fdt"
        yield Broken(f"/chosen has only {there} of the two that KHO needs", address=tree.at)
        return
    if tree.memory and not within(tree.kho_tree, tree.memory):
        yield Broken(f"the tree of KHO at {text(tree.kho_tree)} is not in RAM", tree.kho_tree[0])
    parts = {"Image": (image.at, image.image_size)} if image else {}
    parts |= {NAMES[one.kind]: (one.base, one.size) for one in record.segments if one.kind in NAMES}
    for name, extent in parts.items():
        if not within(extent, tree.scratch):
            yield Broken(
                f"the {name} at {text(extent)} is in no scratch area of KHO", address=extent[0]
            )


_OLD = "the tree of the old kernel was handed on as it was, or its /chosen was not filled in"

BOOT_CHOSEN = (
    Rule(
        "chosen.memory",
        "a crash kernel is told the memory that was set aside for it, and no other kernel is told "
        "of such memory",
        KDUMP,
        Severity.ERROR,
        _IS_CRASH_OR_SAYS_SO,
        _memory,
        _OLD,
        "A crash kernel overwrites what it is to save; any other finds no memory but what was the "
        "crash kernel's, and panics before it prints.",
        f"set {RANGE} for a crash kernel, and remove it else",
    ),
    Rule(
        "chosen.core-header",
        "a crash kernel is told of an ELF core header, in its memory, and no other kernel is",
        KDUMP,
        Severity.ERROR,
        _IS_CRASH_OR_SAYS_SO,
        _core,
        _OLD,
        "There is no /proc/vmcore, and so no dump; a kernel that is none reads what is not there.",
        f"load the header and name it by {CORE} for a crash kernel, and remove it else",
    ),
    Rule(
        "chosen.core-reserved",
        "the ELF core header is reserved in the tree of a crash kernel",
        "drivers/of/kexec.c: of_kexec_alloc_and_setup_fdt",
        Severity.NOTE,
        _IS_CRASH_OR_SAYS_SO,
        _core_reserved,
        "kexec-tools leaves it out: Linux reserves what it is told of by itself",
        "A crash kernel that does not would overwrite the header before it reads it.",
        "name it by /memreserve/, too",
    ),
    Rule(
        "chosen.initrd",
        "/chosen names the initrd that was loaded, and no other",
        "dt-schema, schemas/chosen.yaml",
        Severity.ERROR,
        TREE_IS_SOUND,
        _initrd,
        _OLD,
        "The kernel unpacks what lies there, or has no root to mount.",
        "set linux,initrd-start and linux,initrd-end, or remove both",
    ),
    Rule(
        "chosen.seeds",
        "seeds in /chosen have not been used",
        "dt-schema, schemas/chosen.yaml",
        Severity.WARNING,
        _only(lambda given, tree: tree.seeds, "/chosen has no seed"),
        _seeds,
        "a kernel that has used a seed leaves zeros in it, and the tree was handed on",
        "KASLR is off, or the random numbers of early boot are known.",
        "give kaslr-seed and rng-seed new bytes",
    ),
    Rule(
        "chosen.kho",
        "what /chosen says of KHO is whole, and Image, initrd and device tree are in its scratch "
        "areas",
        KHO,
        Severity.ERROR,
        _only(lambda given, tree: tree.kho_tree or tree.kho_scratch, "/chosen says nothing of KHO"),
        _kho,
        _OLD,
        "The kernel allocates from scratch areas alone until it knows what is preserved, and takes "
        "for preserved what is not: memory is overwritten, or it stops without a word.",
        "remove linux,kho-fdt and linux,kho-scratch, or load into the scratch areas",
    ),
)
