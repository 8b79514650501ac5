"""The book as a page: ``python -m relokit.runtime.judge.rules_page`` prints docs/rules.md."""

from __future__ import annotations

from collections.abc import Mapping

from relokit.runtime.judge.book import whole_book
from relokit.runtime.judge.boot_musts import MUSTS, Must
from relokit.runtime.judge.rules.profile import ERRATA, PROFILES, Erratum

OTHERS: Mapping[str, str] = {
    "matrix.crash": "the process that ran the cell came down with it",
    "matrix.error": "the cell came to no verdict: what it asks for was refused",
}
"""Names of findings that no rule of the book gives, and what they say."""

_TOP = """\
# Rules

A finding has the name of a rule. This page is made from the book (`make docs/rules.md`). A rule
reads the record of a run and nothing else; where it lacks a fact it says *not judged* and why,
where the path or the state of the series has nothing for it *not applicable*. All answers are in
the outcome's JSON under `rules`.

An error fails the run, a warning does if it is `--strict`, a note never does.

| rule | severity | what must hold | source |
|---|---|---|---|
"""
_CACHES = """
## Caches and fetches

`caches.*` and `fetch.*` follow the trace of a run, from machine_kexec to the new kernel's first
instruction, with sets: a line is dirty if it was stored to with Write-Back attributes and nothing
is certain to have cleaned it, whatever a cache would have done by chance. The machine is the
worst that the architecture allows: lines are as long as CTR_EL0 says, are written back or
allocated at any time, an invalidation reaches 2 KiB (CWG), and I-caches know nothing of stores
(IDC and DIC are 0).

Before the trace, what the C half of that state of the series cleans is clean (its last DSB
completes it, and its I-cache maintenance is taken as done); so is the old kernel's text. All
other RAM may be dirty with data of the old kernel: who writes it with the MMU off has to have it
invalidated, who hands it over has to have it cleaned.

What is dirty is told where it went wrong: at maintenance that does not do (`dc cvau`) or that
misses lines (by stride or range), else at the store. Findings are grouped by instruction; the
bytes are whole lines. `dc ivac` under a hypervisor that makes it a clean as well (HCR_EL2.VM) is
a warning, since it is an error on bare metal. Not judged here: tags (MTE), system caches that
ignore maintenance by address, other CPUs.

A plain run (`relokit run --plain`) has no trace: these are *not judged*, and the verdict says so.
"""
_TRANSLATIONS = """
## Translations

`tlb.*` and `bbm.*` follow the same trace with sets of translations: all that the tables map that
were in a TTBR may be held by a TLB, from the MSR on, until a TLBI has ended it that was executed
behind the next ISB, exception or return, covers it, and is complete by a DSB for loads and stores.
Two sets clash where both map an address and lead to another PA, memory type, size, nG or
permission; identical ones do not. What was held before the trace: what TTBR1 maps; for TTBR0, the
user space of whoever asked for the reboot, of which nothing is known; anything in a regime that
is off. A finding is told at the step that is wrong, or where the one that is missing was needed.

Not judged here: a second stage, other CPUs, values that are stored to tables (a store to a valid
entry of live ones is a finding, whatever it stores). Errata are told where the code does what they
are about.
"""
_HANDOVER = """
## The hand-over

Each must of booting.rst, and of the calls by which a kexec leaves for EL2, with the rules that
judge it. Rules on registers are one table (`runtime/judge/rules/handover/boot_contract.py`):
bits, for which features, for which level of entry. What is wrong in a register is told at the
instruction that set it on the way out, followed back through moves and through the stub.

| must | rules |
|---|---|
"""
_BY_HAND = """
No CPU or machine that is emulated here has what these are about; they are tried on records made by
hand: {names}.

## Profiles

The worst machine that the architecture allows decides. Beside the verdict, a finding says if it
would not bite on the CPU that is emulated, or on that of `--profile`: one of {profiles}. A CPU
spares what it guarantees to need no step for (IDC, DIC, ETS2, BBML), and the errata of others:

| rule | CPUs | what | source |
|---|---|---|---|
"""
_OTHERS = """
## Without a verdict

Two names come from `relokit matrix` itself, for cells without a verdict:

| name | |
|---|---|
"""


def page() -> str:
    """All of docs/rules.md."""
    rows = (
        f"| `{rule.name}` | {rule.severity} | {rule.must} | {rule.source} |\n"
        for rule in whole_book()
    )
    rules = whole_book()
    musts = (f"| {one.must} | {_judged_by(one)} |\n" for one in MUSTS)
    by_hand = _BY_HAND.format(
        names=", ".join(f"`{rule.name}`" for rule in rules if not rule.executed),
        profiles=", ".join(f"`{name}`" for name in PROFILES),
    )
    errata = (_erratum(one, {rule.name for rule in rules}) for one in ERRATA)
    others = (f"| `{name}` | {text} |\n" for name, text in OTHERS.items())
    parts = (
        _TOP, *rows, _CACHES, _TRANSLATIONS, _HANDOVER, *musts, by_hand, *errata, _OTHERS, *others,
    )  # fmt: skip
    return "".join(parts)


def _judged_by(must: Must) -> str:
    names = ", ".join(f"`{rule}`" for rule in must.rules)
    return f"{names}: {must.why}" if names and must.why else names or f"not judged: {must.why}"


def _erratum(one: Erratum, judged: set[str]) -> str:
    rule = f"`{one.rule}`" if one.rule in judged else f"`{one.rule}` (not judged)"
    cpus = ", ".join(model.name for model in one.models) or "any"
    return f"| {rule} | {cpus} | {one.what} | {one.source} |\n"


if __name__ == "__main__":
    print(page(), end="")
