"""Random signals at random moments to every command: what do they leave?

``python -m support.signalled [TRIALS [SEED]]`` in tests/: 1,000 of seed 1 without arguments.
"""

from __future__ import annotations

import json
import os
import re
import resource
import signal
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from random import Random
from time import sleep

from support.bounds import eventually

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGPIPE)
COMMANDS = (
    ("run",),
    ("run", "--json", "--path", "crash", "--trace", "trace"),
    ("export", "-o", "program.elf"),
    ("export", "--type", "bootable", "-o", "machine.elf"),
    ("generate", "-o", "sources"),
    ("diff", "series:0", "series:15"),
    ("diff", "series:14", "series:15", "--run", "-o", "page.html", "--format", "html"),
    ("series", "14"),
    ("matrix", "--series", "15", "--page-size", "4k", "--path", "in-place"),
    ("mutate", "--series", "15", "--path", "in-place", "--limit", "8", "--results", "results"),
    ("time", "--size", "1m"),
    ("explain", "handoff.x1"),
    ("judge", "{trace}"),
    ("show", "memory"),
    ("--help",),
)
"""What takes a moment, writes a file, has children; kexec and record have their own tests."""
AGAIN, LATER = 0.3, 0.2
"""How often a second signal comes, and in how many seconds at most."""
DEADLINE = 300
OURS = re.compile(r'cli/main\.py", line \d+, in main\n')
"""In a traceback: what we could have caught."""
IGNORED = ("results",)
"""Files that may be there in part: a campaign goes on with them."""


@dataclass(frozen=True)
class Whole:
    """What a command does when it is left alone: its CPU time, its code, its files."""

    words: tuple[str, ...]
    seconds: float
    code: int
    files: dict[str, bytes]


@dataclass
class Told:
    """A campaign's outcome: how commands ended, and what was left, trial by trial."""

    ended: Counter[str] = field(default_factory=Counter)
    left: list[str] = field(default_factory=list)


def contents(folder: Path) -> dict[str, bytes]:
    """Every file below ``folder``, by name."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def start(words: tuple[str, ...], folder: Path, cache: Path, mark: str) -> subprocess.Popen[str]:
    """The command in an empty folder, with a folder of its own for what is temporary."""
    for name in ("work", "temporary"):
        (folder / name).mkdir(parents=True)
    return subprocess.Popen(
        [Path(sys.executable).with_name("relokit"), *words],
        cwd=folder / "work",
        env=os.environ
        | {"TMPDIR": str(folder / "temporary"), "RELOKIT_CACHE": str(cache), "RELOKIT_TRIAL": mark},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        # A shell may have had SIGINT ignored, and that would be inherited.
        preexec_fn=partial(signal.signal, signal.SIGINT, signal.SIG_DFL),
    )


def left_alone(words: tuple[str, ...], folder: Path, cache: Path) -> Whole:
    """Run it to its end."""
    before = _cpu_time()
    process = start(words, folder, cache, "whole")
    process.communicate(timeout=DEADLINE)
    seconds = _cpu_time() - before
    return Whole(words, seconds, process.returncode, contents(folder / "work"))


def _cpu_time() -> float:
    """Seconds of all processes that have ended and been waited for."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def living(mark: str) -> list[int]:
    """Every process of the trial."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                environment = (entry / "environ").read_bytes()
            except OSError:
                continue
            if f"RELOKIT_TRIAL={mark}".encode() in environment.split(b"\0"):
                found.append(int(entry.name))
    return found


def faults(whole: Whole, folder: Path, mark: str, code: int, out: str, err: str) -> Iterator[str]:
    """What a command that was told to end has done wrong."""
    codes = {whole.code, *(128 + one for one in SIGNALS)}
    # The interpreter, before a line of ours, ends as every process does, or by a traceback.
    starting = (code < 0 and not err) or ("KeyboardInterrupt" in err and not OURS.search(err))
    if not starting:
        if code not in codes:
            yield f"exit code {code}"
        if "Traceback" in err:
            yield "a traceback"
        elif len(err.splitlines()) > 2 and code != whole.code:
            yield "more than a line on stderr"
    if out and whole.words[-1] != "--help" and "--json" in whole.words:
        try:
            json.loads(out)
        except ValueError:
            yield "a document in part"
    if not eventually(lambda: not living(mark)):
        yield "a process"
    if any((folder / "temporary").iterdir()):
        yield "a temporary file"
    for name, content in contents(folder / "work").items():
        if name not in IGNORED and whole.files.get(name) != content:
            yield f"a file that is not whole: {name}"


def trial(
    number: int, seed: int, wholes: tuple[Whole, ...], place: Path, cache: Path
) -> tuple[str, list[str]]:
    """One command that is told to end: how it did, and what it did wrong."""
    random = Random(f"{seed}/{number}")
    whole = random.choice(wholes)
    mark, folder = f"{os.getpid()}-{number}", place / str(number)
    process = start(whole.words, folder, cache, mark)
    pauses = [random.uniform(0, whole.seconds * 1.1)]
    if random.random() < AGAIN:
        pauses.append(random.uniform(0, LATER))
    for pause in pauses:
        sleep(pause)
        process.send_signal(random.choice(SIGNALS))
    out, err = process.communicate(timeout=DEADLINE)
    code = process.returncode
    wrong = [
        f"{number}: relokit {' '.join(whole.words)}: {one}"
        for one in faults(whole, folder, mark, code, out, err)
    ]
    how = "to its end" if code == whole.code else "killed" if code < 0 else f"code {code}"
    return how, [f"{one}: {err[-300:]!r}" for one in wrong]


def campaign(trials: int, seed: int, workers: int = 2) -> Told:
    """So many signalled commands; afterwards each command is run once more, on the same cache."""
    told = Told()
    with tempfile.TemporaryDirectory(prefix="relokit-signals-") as name:
        place, cache = Path(name), Path(name) / "cache"
        trace = left_alone(COMMANDS[1], place / "trace", cache) and place / "trace/work/trace"
        commands = [tuple(word.format(trace=trace) for word in words) for words in COMMANDS]
        wholes = tuple(
            left_alone(words, place / f"whole-{number}", cache)
            for number, words in enumerate(commands)
        )
        with ThreadPoolExecutor(workers) as pool:
            run = partial(trial, seed=seed, wholes=wholes, place=place, cache=cache)
            for how, wrong in pool.map(run, range(trials)):
                told.ended[how] += 1
                told.left += wrong
        for number, whole in enumerate(wholes):
            again = left_alone(whole.words, place / f"again-{number}", cache)
            if (again.code, again.files.keys()) != (whole.code, whole.files.keys()) or any(
                again.files[one] != content
                for one, content in whole.files.items()
                if one not in IGNORED
            ):
                told.left.append(f"relokit {' '.join(whole.words)} is another afterwards")
    return told


def main(arguments: list[str]) -> int:
    """Run a campaign and tell; 1 if something was left."""
    trials, seed = (*map(int, arguments), *(1000, 1)[len(arguments) :])[:2]
    told = campaign(trials, seed)
    print(dict(sorted(told.ended.items())))
    print(*told.left, sep="\n")
    return 1 if told.left else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
