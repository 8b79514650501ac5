"""The access stream of a move as QEMU has it: its plugin interface, against our recorder.

It is another machine that runs the memory that ``relokit export`` writes, so nothing is shared but
that. What the plugin of Debian's QEMU 7.2 cannot tell are operands: no register can be read.
"""

from __future__ import annotations

import subprocess
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import pytest

from build_backend import find_compiler
from relokit.codegen.instruction_forms import barrier_name
from relokit.codegen.system_registers import decode_system
from relokit.codegen.target import Regime, Target
from relokit.runtime.engine.observing.recorder import Recorder
from relokit.runtime.kexec.job import Job
from relokit.runtime.record.trace import Trace, TraceKind
from relokit.runtime.run.execute import execute
from relokit.runtime.run.prepare import open_cpu
from relokit.runtime.timing.counted import counts_of
from relokit.runtime.timing.counts import MoveCounts, Phase, Quantity
from support.accesses import Span, is_event, merged, recorded
from support.machines import prepared, quiet
from support.qemu import boot, export

pytestmark = pytest.mark.oracle

SOURCE = Path(__file__).with_name("access_plugin.c")
Stretch = tuple[int, list[Span]]
"""The PC of an event (0: none), and the accesses from there to the next, merged by kind."""
BESIDE_INSTRUCTIONS = TraceKind.EXCEPTION, TraceKind.VECTORS
"""Events that are of no instruction by themselves."""


@pytest.fixture(scope="module")
def plugin(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The plugin, built."""
    path = tmp_path_factory.mktemp("plugin") / "accesses.so"
    compiler = find_compiler()
    assert compiler, "a C compiler is needed"
    options = ("-shared", "-fPIC", "-O2", "-Wall", "-Wextra", "-Werror")
    subprocess.run([*compiler, *options, "-o", path, SOURCE], check=True)
    return path


def by_qemu(text: str) -> tuple[list[Stretch], int]:
    """The stretches in the plugin's ``text``, and how many instructions they are."""
    found: list[tuple[int, list[Span]]] = [(0, [])]
    instructions = -1
    for line in text.splitlines():
        match line.split():
            case ["event", pc, _]:
                found.append((int(pc, 16), []))
            case ["instructions", count]:
                instructions = int(count)
            case [kind, pa, length]:
                found[-1][1].append((kind, int(pa, 16), int(pa, 16) + int(length)))
            case _:
                raise AssertionError(line)
    return [(pc, merged(spans)) for pc, spans in found], instructions


def by_recorder(trace: Trace) -> list[Stretch]:
    """The same of a trace."""
    found: list[tuple[int, list[Span]]] = [(0, [])]
    begin = 0
    records = trace.records
    events: Sequence[int] = [
        number
        for number, one in enumerate(records)
        if is_event(one) and one["kind"] not in BESIDE_INSTRUCTIONS
    ]
    for end in [*events, len(records)]:
        part = Trace(records[begin:end], trace.start, trace.instructions)
        found[-1][1].extend(recorded(part))
        if end < len(records):
            found.append((int(records["pc"][end]), []))
        begin = end + 1
    return [(pc, merged(spans)) for pc, spans in found]


def counted_by_qemu(text: str) -> tuple[Counter[str], Counter[str]]:
    """Bytes by kind of access, and barriers and operations by name."""
    sizes: Counter[str] = Counter()
    names: Counter[str] = Counter()
    for line in text.splitlines():
        match line.split():
            case ["event", _, text_word]:
                word = int(text_word, 16)
                system = decode_system(word)
                operation = system.name if system and system.form == "sys" else None
                names[barrier_name(word) or operation or ""] += 1
            case [("load" | "store") as kind, _, length]:
                sizes[kind] += int(length)
    del names[""]
    return sizes, names


def counted(counts: MoveCounts) -> tuple[Counter[str], Counter[str]]:
    """The same of counts, without maintenance by address: QEMU tells no operand."""
    sizes: Counter[str] = Counter()
    names: Counter[str] = Counter()
    for row in counts.rows:
        if row.quantity in (Quantity.LOADS, Quantity.STORES):
            sizes["load" if row.quantity is Quantity.LOADS else "store"] += row.number * row.size
        elif row.quantity is Quantity.OPERATIONS and not row.of.startswith("dc "):
            names[row.of] += row.number
    return sizes, names


@pytest.mark.parametrize(
    ("series", "regime"),
    [(0, Regime.NVHE), (9, Regime.NVHE), (15, Regime.NVHE), (15, Regime.EL1), (15, Regime.VHE)],
)
def test_qemu_accesses_what_the_recorder_says(
    series: int, regime: Regime, plugin: Path, tmp_path: Path
) -> None:
    job = Job(memory=256 << 20)
    with prepared(Target(series=series, regime=regime), job) as machine:
        cpu = open_cpu(machine)
        start, end = machine.state.pc, machine.start
        with Recorder(cpu) as recorder:
            record = execute(machine, cpu, job, quiet)
    assert record.complete
    trace = recorder.trace()
    told = tmp_path / "accesses"
    where = f"{plugin},start={start:#x},end={end:#x},out={told}"
    options = ("--series", str(series), "--el", str(regime), "--memory", "256M")
    command = export(tmp_path / "demo.elf", *options)
    assert boot([*command, "-plugin", where]).endswith("PASS\n")
    stretches, instructions = by_qemu(told.read_text())
    assert stretches == by_recorder(trace)
    assert instructions == trace.instructions
    counts = counts_of(record, "", 4096, 0)
    assert counted_by_qemu(told.read_text()) == counted(counts)
    assert counts.total(Quantity.INSTRUCTIONS, phases=Phase) == instructions
    lines = {pa // 64 for _, spans in stretches for kind, first, last in spans if kind == "store"
             for pa in range(first, last, 64)}  # fmt: skip
    assert counts.total(Quantity.LINES_STORED, phases=Phase) == len(lines)
    stored = sum(last - first for _, spans in stretches for kind, first, last in spans
                 if kind == "store")  # fmt: skip
    assert stored >= 256 << 10
