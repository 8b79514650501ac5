"""A campaign: who gets how many cases, in processes that may die, and what was found.

A case runs in a fork of this process, so that nothing is imported or made twice. What it writes
down before a case is how far it came: after a death that is the case to blame.
"""

from __future__ import annotations

import gc
import json
import os
import resource
import signal
import struct
import sys
import traceback
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from select import select

from fuzz.door import Door, TooLongError, WrongError
from fuzz.files import folder
from fuzz.memory import addresses
from relokit.codegen.base.budget import MEMORY, set_limits

NUMBER = struct.Struct("<q")
STUCK = 120
"""Looks, a second each, at a process that uses no time and comes no further: it waits for ever."""
RELATED = 3
"""Cases that are kept of what goes wrong at one place."""
SHRINKING, SHRINKING_SECONDS = 400, 30.0
"""Smaller cases that are tried of one that goes wrong, and the CPU time that may take."""
HERE = Path(__file__).parent
TREE = HERE.parents[1]


@dataclass(frozen=True)
class Finding:
    """A case that went wrong: ``how``, and ``place``, the innermost line of ours or a signal."""

    door: str
    number: int
    how: str
    place: str
    told: str
    case: bytes = b""


@dataclass
class Told:
    """What came of a door's cases: counts by answer, CPU seconds, the findings, one of a kind."""

    cases: int = 0
    answers: Counter[str] = field(default_factory=Counter)
    seconds: float = 0.0
    findings: dict[tuple[str, str], list[Finding]] = field(default_factory=dict)

    def add(self, finding: Finding) -> None:
        """Keep it, unless there are enough of this kind."""
        self.answers["finding"] += 1
        same = self.findings.setdefault((finding.how, finding.place), [])
        if len(same) < RELATED:
            same.append(finding)


def shares(doors: Sequence[Door], cases: int) -> dict[str, int]:
    """How many cases each door gets: as many as its part of the time has room for, one at least."""
    rates = {door.name: door.weight / door.cost for door in doors}
    total = sum(rates.values())
    return {name: max(1, round(cases * rate / total)) for name, rate in rates.items()}


def batches(count: int, rounds: int) -> Iterator[tuple[int, int]]:
    """``count`` cases in so many parts: the first number of each, and the one behind its last."""
    for at in range(rounds):
        yield count * at // rounds, count * (at + 1) // rounds


def run(door: Door, seed: int, first: int, end: int, told: Told) -> None:
    """Cases ``first`` to ``end`` of ``door``, whatever happens to the process that runs them."""
    door.made  # noqa: B018  # in this process, once
    folder()
    while first < end:
        first = _run_some(door, seed, first, end, told)


def _run_some(door: Door, seed: int, first: int, end: int, told: Told) -> int:
    """As :func:`run`, until a process ends; the next case that is to be run."""
    progress = os.memfd_create("progress")
    ours, theirs = os.pipe()
    before = _seconds()

    def work() -> None:
        os.close(ours)
        _work(door, seed, first, end, progress, theirs)

    child = _forked(work)
    os.close(theirs)
    lines, stuck = _listen(child, ours, progress)
    _, status = os.waitpid(child, 0)
    told.seconds += _seconds() - before
    reached = NUMBER.unpack(os.pread(progress, NUMBER.size, 0) or NUMBER.pack(first))[0]
    os.close(progress)
    os.close(ours)
    whole = False
    for line in lines.splitlines():
        found = json.loads(line)
        if "answers" in found:
            whole = True
            told.answers.update(found["answers"])
        else:
            told.add(Finding(door.name, case=door.case(seed, found["number"]), **found))
    if whole:
        told.cases += end - first
        return end
    how = "it waits for ever" if stuck else _death(status)
    told.cases += reached + 1 - first
    told.answers["lost count"] += reached - first
    told.add(Finding(door.name, reached, how, how, how, door.case(seed, reached)))
    return reached + 1


def _seconds() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def _forked(work: Callable[[], None]) -> int:
    """A process that does ``work`` and nothing else; its number."""
    sys.stdout.flush()
    child = os.fork()
    if child:
        return child
    code = 1
    try:
        os.setpgid(0, 0)
        work()
        code = 0
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stderr.flush()
        os._exit(code)


def _work(door: Door, seed: int, first: int, end: int, progress: int, out: int) -> None:
    """In the child: run the cases, and tell what is wrong as it comes."""
    gc.freeze()
    limit = addresses() + (door.memory << 20)
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    # What is counted before it is built ends in an error, long before there is no room for it.
    set_limits({MEMORY: door.memory // 4 << 20})
    answers: Counter[str] = Counter()
    for number in range(first, end):
        os.pwrite(progress, NUMBER.pack(number), 0)
        case = door.case(seed, number)
        try:
            answers[door.answer(case)] += 1
        except KeyboardInterrupt:
            raise
        except BaseException as error:
            how, place, told = described(error)
            finding = {"number": number, "how": how, "place": place, "told": told}
            os.write(out, json.dumps(finding).encode() + b"\n")
    os.write(out, json.dumps({"answers": answers}).encode() + b"\n")
    _close_children()


def _close_children() -> None:
    """A process that ends without its exit handlers."""
    module = sys.modules.get("relokit.codegen.base.child")
    if module is not None:
        for child in list(module._children):
            child.close()


def described(error: BaseException) -> tuple[str, str, str]:
    """What went wrong, in which line of ours, and all that is said of it."""
    place = "?"
    frames = traceback.extract_tb(error.__traceback__)
    for frame in frames:
        path = Path(frame.filename)
        ours = path.is_relative_to(TREE) and ".venv" not in path.parts
        if ours and not path.is_relative_to(HERE):
            place = f"{path.relative_to(TREE)}:{frame.name}"
    if isinstance(error, TooLongError | MemoryError):
        # Where it is when the time is up is not where it comes from.
        outer = [f for f in frames if Path(f.filename).is_relative_to(HERE)]
        place = outer[-1].name if outer else place
    if isinstance(error, WrongError):
        place = str(error)[:80]
    told = "".join(traceback.format_exception(error))[-3000:]
    return type(error).__name__, place, told


def _listen(child: int, pipe: int, progress: int) -> tuple[bytes, bool]:
    """All that ``child`` says until it ends, and whether it had to be ended, being stuck."""
    said, seen, still = bytearray(), b"", 0
    while True:
        ready, _, _ = select([pipe], [], [], 1)
        if ready:
            part = os.read(pipe, 1 << 16)
            if not part:
                return bytes(said), False
            said += part
            continue
        now = os.pread(progress, NUMBER.size, 0) + _ticks(child)
        still = still + 1 if now == seen else 0
        seen = now
        if still > STUCK:
            os.killpg(child, signal.SIGKILL)
            return bytes(said), True


def _ticks(process: int) -> bytes:
    """CPU time of a process, as the host counts it."""
    try:
        fields = Path(f"/proc/{process}/stat").read_bytes().rpartition(b")")[2].split()
    except OSError:
        return b""
    return b" ".join(fields[11:13])


def _death(status: int) -> str:
    if os.WIFSIGNALED(status):
        return f"the process ended by {signal.Signals(os.WTERMSIG(status)).name}"
    return f"the process ended with code {os.WEXITSTATUS(status)}"


def smaller(door: Door, finding: Finding) -> bytes:
    """The case without whatever is not needed for it to go wrong in the same way."""
    case, tries, until = finding.case, SHRINKING, _seconds() + SHRINKING_SECONDS
    size = max(1, len(case) // 2)
    while size:
        at = 0
        while at < len(case) and tries and _seconds() < until:
            tries -= 1
            less = case[:at] + case[at + size :]
            if goes_wrong(door, less) == (finding.how, finding.place):
                case = less
            else:
                at += size
        size //= 2
    return case


def goes_wrong(door: Door, case: bytes) -> tuple[str, str] | None:
    """How and where ``case`` goes wrong, in a process of its own; None if it does not."""
    told = Told()
    one = Door(
        door.name, "", tuple, lambda _random, _seeds: case, door.call, 1.0,
        seconds=door.seconds, memory=door.memory,
    )  # fmt: skip
    run(one, 0, 0, 1, told)
    return next(iter(told.findings), None)
