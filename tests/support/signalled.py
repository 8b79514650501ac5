"""Random signals at random moments to every command: what do they leave?

``make docs/signals.json``: 1,000 of seed 1, into docs/signals.json and docs/faults.md. Or, without
writing anything, ``python -m support.signalled TRIALS [SEED]`` in tests/.
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
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from random import Random
from time import sleep
from typing import Any

from support.bounds import eventually
from support.committed import Committed

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGPIPE)
NEVER_LEFT = ("--", "-append", "rdinit=/none")
COMMANDS = (
    ("run", "--json", "--path", "crash", "--trace", "trace"),
    ("run", "--report", "page.html", "--format", "junit", "-o", "results.xml"),
    ("kexec", "--kernel", "{kernel}", "--boot", "0.2"),
    (*("record", "--kernel", "{kernel}", "-o", "snapshot", "--timeout", "2"), *NEVER_LEFT),
    ("show", "memory", "--svg", "memory.svg"),
    ("judge", "{trace}", "--trace", "again"),
    ("export", "-o", "program.elf"),
    ("export", "--type", "bootable", "-o", "machine.elf"),
    ("init",),
    ("templates", "--copy", "mine"),
    ("generate", "-o", "sources"),
    ("matrix", "--series", "15", "--page-size", "4k", "--path", "in-place"),
    ("mutate", "--series", "15", "--el", "el1", "--operator", "entry", "--results", "results"),
    ("time", "--size", "1m", "--plot", "plot.svg"),
    ("series", "14"),
    ("explain", "handoff.x1"),
    ("completion", "bash"),
    ("man", "run"),
    ("diff", "series:0", "series:15", "-o", "page.html", "--format", "html"),
    ("diff", "series:14", "series:15", "--run"),
    ("--help",),
)
"""Each command there is, some in two ways. The kernel that is recorded has no user space that could
enter another: one that has is there within two seconds, or not, as fast as the host is.
"""
EARLY, EARLY_SECONDS = 0.3, 0.6
"""How often the signal comes while things are imported, and what that takes."""
LOADED = 1.5
"""What a command takes on a busy machine, for each second of CPU time."""
AGAIN, LATER = 0.3, 0.2
"""How often a second signal comes, and in how many seconds at most."""
DEADLINE = 300
OURS = re.compile(r'cli/main\.py", line \d+, in main\n')
"""In a traceback: what we could have caught."""
STARTING = "Fatal Python error: init_sys_streams"
"""What CPython says of a signal before it has standard streams."""
IGNORED = re.compile(r"results(-journal)?")
"""Files that may be there in part: a campaign goes on with them."""
CAMPAIGN = Committed("signals", "commands", "faults.md")
TRIALS, SEED = 1000, 1


@dataclass(frozen=True)
class Whole:
    """What a command does when it is left alone: its CPU time, its code, its files."""

    words: tuple[str, ...]
    seconds: float
    code: int
    files: dict[str, bytes]


@dataclass(frozen=True)
class Told:
    """A command that was told to end, by which signals: how it did, and what was left of it."""

    words: tuple[str, ...]
    sent: tuple[signal.Signals, ...]
    ended: str
    left: tuple[str, ...]


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
    _, err = process.communicate(timeout=DEADLINE)
    assert "hint: see" not in err, err
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


def faults(
    whole: Callable[[], Whole],
    words: tuple[str, ...],
    folder: Path,
    mark: str,
    by_signal: bool,
    out: str,
    err: str,
) -> Iterator[str]:
    """What a command that was told to end has left, and said."""
    if not _by_the_interpreter(err):
        if "Traceback" in err:
            yield "a traceback"
        elif by_signal and len(err.splitlines()) > 1:
            yield "more than a line on stderr"
    if out and "--json" in words:
        try:
            json.loads(out)
        except ValueError:
            yield "a document in part"
    if not eventually(lambda: not living(mark)):
        yield "a process"
    if any((folder / "temporary").iterdir()):
        yield "a temporary file"
    found = contents(folder / "work")
    for name, content in found.items():
        if not IGNORED.fullmatch(name) and whole().files.get(name) != content:
            yield f"a file that is not whole: {name}"
    if found and words[0] in ("generate", "templates") and found.keys() != whole().files.keys():
        yield "some files of several"


def _by_the_interpreter(err: str) -> bool:
    """Whether it ended by a traceback before a line of ours."""
    early = "KeyboardInterrupt" in err or STARTING in err
    return early and not OURS.search(err)


def trial(
    number: int,
    seed: int,
    words: tuple[str, ...],
    seconds: float,
    whole: Callable[[], Whole],
    place: Path,
    cache: Path,
) -> Told:
    """One command, which takes ``seconds`` of CPU time, that is told to end."""
    random = Random(f"{seed}/{number}")
    mark, folder = f"{os.getpid()}-{number}", place / str(number)
    process = start(words, folder, cache, mark)
    early = random.random() < EARLY
    pauses = [random.uniform(0, EARLY_SECONDS if early else seconds * LOADED)]
    if random.random() < AGAIN:
        pauses.append(random.uniform(0, LATER))
    sent = []
    for pause in pauses:
        sleep(pause)
        sent.append(random.choice(SIGNALS))
        process.send_signal(sent[-1])
    out, err = process.communicate(timeout=DEADLINE)
    code = process.returncode
    by_signal = code in {128 + one for one in sent if one != signal.SIGPIPE}
    wrong = list(faults(whole, words, folder, mark, by_signal, out, err))
    if (code < 0 and not err) or _by_the_interpreter(err):
        how = "before a line of ours"
    elif by_signal:
        how = f"with {code}"
    else:
        how = "to its end"
        if code != whole().code:
            wrong.append(f"exit code {code}")
    left = tuple(f"{number}: {one}: {err[-600:]!r}" for one in wrong)
    return Told(words, tuple(sent), how, left)


def campaign(
    trials: int,
    seed: int,
    *,
    workers: int = 8,
    seconds: float | None = None,
    again: Iterable[int] = range(len(COMMANDS)),
) -> tuple[list[Told], list[str]]:
    """So many signalled commands, each in its turn; and which of those numbered ``again`` make
    other files when they are run once more on the same cache.

    With ``seconds`` each is taken to last so long; without, it is measured, which runs them all.
    """
    with tempfile.TemporaryDirectory(prefix="relokit-signals-") as name:
        place, store = Path(name), Path(name) / "cache"
        left_alone(COMMANDS[0], place / "trace", store)
        given = {"trace": place / "trace/work/trace", "kernel": _kernel()}
        commands = [tuple(word.format_map(given) for word in one) for one in COMMANDS]

        @cache
        def whole(number: int) -> Whole:
            return left_alone(commands[number], place / f"whole-{number}", store)

        lasting = [seconds or whole(number).seconds for number in range(len(commands))]

        def told(trial_number: int) -> Told:
            number = trial_number % len(commands)
            mine = partial(whole, number)
            return trial(trial_number, seed, commands[number], lasting[number], mine, place, store)

        with ThreadPoolExecutor(workers) as pool:
            all_told = list(pool.map(told, range(trials)))
        others = []
        for number in again:
            now, before = (
                left_alone(commands[number], place / f"again-{number}", store),
                whole(number),
            )
            if (now.code, _compared(now)) != (before.code, _compared(before)):
                others.append(f"relokit {' '.join(now.words)} is another afterwards")
    return all_told, others


def _compared(whole: Whole) -> dict[str, bytes]:
    return {name: data for name, data in whole.files.items() if not IGNORED.fullmatch(name)}


def _kernel() -> Path:
    from oracles.kernels import kernel

    return kernel("6.1")


def rows(told: Iterable[Told]) -> list[dict[str, Any]]:
    """A row for each command: how often it was told to end, by what, how it ended, what it left."""
    found: dict[str, dict[str, Any]] = {}
    for one in told:
        # By its own words: paths of this host are of no interest.
        words = " ".join(Path(word).name if word[0] == "/" else word for word in one.words)
        row = found.setdefault(
            words,
            {
                "words": words,
                "trials": 0,
                "twice": 0,
                "sent": Counter(),
                "ended": Counter(),
                "left": [],
            },
        )
        row["trials"] += 1
        row["twice"] += len(one.sent) - 1
        row["sent"].update(signal.name for signal in one.sent)
        row["ended"][one.ended] += 1
        row["left"] += one.left
    return [
        row | {name: dict(sorted(row[name].items())) for name in ("sent", "ended")}
        for row in found.values()
    ]


def table(found: Iterable[dict[str, Any]]) -> str:
    """The same for people."""
    lines = ["| relokit | told to end | twice | ended by it | to its end | earlier | left |"]
    lines.append("|---|---|---|---|---|---|---|")
    total: Counter[str] = Counter()
    for row in found:
        counts = {
            "trials": row["trials"],
            "twice": row["twice"],
            "by it": sum(n for how, n in row["ended"].items() if how.startswith("with")),
            "end": row["ended"].get("to its end", 0),
            "earlier": row["ended"].get("before a line of ours", 0),
            "left": len(row["left"]),
        }
        total.update(counts)
        lines.append(f"| `{row['words']}` | {' | '.join(map(str, counts.values()))} |")
    lines.append(f"| all | {' | '.join(str(total[one]) for one in counts)} |")
    return "\n".join(lines) + "\n"


def main(arguments: list[str]) -> int:
    """Run a campaign and tell; 1 if something was left."""
    trials, seed = (*map(int, arguments), *(TRIALS, SEED)[len(arguments) :])[:2]
    others: list[str] = []

    def made() -> list[dict[str, Any]]:
        told, found = campaign(trials, seed)
        others.extend(found)
        return rows(told)

    found = made() if arguments else CAMPAIGN.make(made, table, seed=seed, commit=_commit())
    left = [one for row in found for one in row["left"]] + others
    print(table(found), *left, sep="\n")
    return 1 if left else 0


def _commit() -> str:
    git = ["git", "describe", "--always", "--dirty", "--abbrev=12"]
    return subprocess.run(git, check=True, text=True, stdout=subprocess.PIPE).stdout.strip()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
