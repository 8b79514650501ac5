"""What is stored and read again: traces, snapshots, dumps, results, baselines, project files."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory

from fuzz import files
from fuzz.door import Door, WrongError
from fuzz.mutations import documents, json_of, mutated, text_of, within
from fuzz.targets import own
from relokit.cli.overview import COMMANDS
from relokit.codegen.base.documents import from_json, to_json
from relokit.codegen.base.errors import FormatError
from relokit.codegen.target import MIB, Target
from relokit.linker.stored_image import StoredImageError, decode_image, encode_image
from relokit.project.known_findings import Baseline, KnownRun, StoredBaseline, read_baseline
from relokit.project.project_file import read_project
from relokit.runtime.campaign.result_file import KEY_BYTES, ResultFile
from relokit.runtime.evidence.evidence_file import judge_file
from relokit.runtime.judge.outcome import Outcome
from relokit.runtime.kexec.job import Job
from relokit.runtime.run.verdict import run
from relokit.runtime.snapshot.given_registers import read_given
from relokit.runtime.snapshot.snapshot_reading import read_snapshot
from relokit.runtime.snapshot.vmcore import read_vmcore
from relokit.runtime.timing.model.hardware_file import read_measurements
from support import cores, snapshots
from support.machines import programs, quiet

DIGEST = 32
CODE = b"c" * 32


@cache
def _run() -> tuple[bytes, Outcome]:
    """The file of a run's trace, and its outcome."""
    job = Job(size=8192, memory=160 * MIB)
    with TemporaryDirectory() as folder:
        path = Path(folder) / "trace"
        outcome = run(Target(), programs(Target()), job, quiet, trace=path)
        return path.read_bytes(), outcome


def _traces() -> Sequence[bytes]:
    return [_run()[0]]


_numbers = within(lambda data: range(0, len(data), 8))


def _sealed(random: Random, seeds: Sequence[bytes]) -> bytes:
    """Most have the digest that goes with what they say, or nothing of them would be read."""
    whole = random.choice(seeds)
    data = whole[:-DIGEST]
    magic, line, rest = data.split(b"\n", 2)
    header = json.loads(line)
    facts, records = rest[: header["facts"]], rest[header["facts"] :]
    kind = random.randrange(6)
    if kind < 3:
        facts = json_of(random, facts)
    elif kind < 5:
        records = _numbers(random, [records])[: len(records)].ljust(len(records), b"\0")
    else:
        line = json_of(random, line)
    if kind < 5:
        line = json.dumps(header | {"facts": len(facts)}).encode()
        data = b"\n".join((magic, line, facts + records))
    else:
        data = mutated(random, [b"\n".join((magic, line, rest))])
    if random.random() < 0.05:
        return data + whole[-DIGEST:]
    return data + hashlib.blake2b(data, digest_size=DIGEST).digest()


def _judged(case: bytes) -> object:
    return judge_file(files.put(case))


BETWEEN = b"\n-- the next file --\n"
PARTS = (*snapshots.FILES, "ram", "ram.zst")


@cache
def _snapshots() -> Sequence[bytes]:
    found = []
    for packed in (False, True):
        with TemporaryDirectory() as folder:
            place = snapshots.write(Path(folder), packed=packed)
            kept = {one.name: one.read_bytes() for one in sorted(place.iterdir())}
        names = (*snapshots.FILES, "ram.zst", "kernel", "vmlinuz")
        parts = [one.encode() + b"\0" + kept[one] for one in names if one in kept]
        found.append(BETWEEN.join(parts))
    return found


def _parts(random: Random, seeds: Sequence[bytes]) -> bytes:
    """One or two of the files changed."""
    parts = random.choice(seeds).split(BETWEEN)
    for _ in range(random.choice((1, 1, 2))):
        at = random.randrange(len(parts))
        name, _, data = parts[at].partition(b"\0")
        document = name.endswith(b".json") and random.random() < 0.8
        data = json_of(random, data) if document else mutated(random, [data])
        parts[at] = name + b"\0" + data
    return BETWEEN.join(parts)


JSON = 'null true 0 1 -1 "" [] {} "0x0" "0xffffffffffffffff" 1e400 , : "banks" "cpus"'


def _snapshot(case: bytes) -> object:
    place = files.put(b"", "x").parent / "snapshot"
    place.mkdir(exist_ok=True)
    for old in place.iterdir():
        old.unlink()
    with (place / "ram").open("wb") as ram:
        ram.truncate(4 * snapshots.CHUNK)
    for part in case.split(BETWEEN):
        name, _, data = part.partition(b"\0")
        known = [one for one in (*PARTS, "kernel", "vmlinuz") if one.encode() == name]
        if known:
            (place / known[0]).write_bytes(data)
    return read_snapshot(place)


def _dumps() -> Sequence[bytes]:
    return [cores.GOOD, cores.core(cores.status(), [(cores.BASE, b"a" * 64)], more=4096)]


def _head(data: bytes) -> Sequence[int]:
    return range(0, min(len(data), 1200), 2)


def _registers() -> Sequence[bytes]:
    values = {name: hex(value) for name, value in snapshots.REGISTERS.items()}
    cpus = [{"power": "on", "registers": values}, {"power": "off", "registers": {"PC": "0x4"}}]
    return [json.dumps({"cpu": 0, "cpus": cpus, "kimage": "0x1234"}, indent=1).encode()]


def _results() -> Sequence[bytes]:
    with TemporaryDirectory() as folder:
        path = Path(folder) / "results"
        with ResultFile(path, CODE) as results:
            results.put((bytes([at]) * KEY_BYTES, b'{"id": "%d"}' % at) for at in range(40))
        return [path.read_bytes()]


def _looked_up(case: bytes) -> object:
    path = files.put(case, "results")
    for more in ("results-wal", "results-shm", "results-journal"):
        path.with_name(more).unlink(missing_ok=True)
    with ResultFile(path, CODE) as results:
        results.put([(b"k" * KEY_BYTES, b"{}")])
        if results.get(b"k" * KEY_BYTES) != b"{}":
            raise WrongError("another result than was put in")
        return [results.get(bytes([at]) * KEY_BYTES) for at in (0, 7, 39)], results.of_other_code()


def outcome_document() -> bytes:
    """The outcome of a run."""
    return to_json(_run()[1])


def _read_again(kind: type, case: bytes) -> object:
    """A document; what it says is what is written of it."""
    found = from_json(kind, case)
    text = to_json(found)
    if to_json(from_json(kind, text)) != text:
        raise WrongError("another document is written than was read")
    return found


MEASUREMENTS = """
name = "my board"
like = "cortex-a72"
free = ["access_ns"]
[parameters.line_ns]
value = 11.5
low = 11
high = 12
source = "tinymembench"
[[measurement]]
series = 0
size = "120M"
seconds = 1.9
relative = 0.03
page_size = 65536
[[measurement]]
series = 15
size = "1M"
seconds = 1e-3
"""


def _baselines() -> Sequence[bytes]:
    runs = {"run": KnownRun(("handoff.x1 at x:1",), 100, 200), "cell": KnownRun((), 1)}
    return [to_json(StoredBaseline(Baseline.SCHEMA, runs))]


def _baseline(case: bytes) -> object:
    return read_baseline(files.put(case)), _read_again(StoredBaseline, case)


PROJECT = """
[options]
series = 15
el = "vhe"
page-size = "16k"
strict = true
[run]
size = "1M"
[severities]
"handoff.x1" = "warning"
[[suppress]]
rule = "handoff.x1"
place = "relocate_kernel.S.j2:12"
reason = "known"
until = 2027-01-01
[thresholds]
instructions = 100000
"""

RULES = frozenset({"handoff.x1"})


def _project(case: bytes) -> object:
    return read_project(files.put(case, "relokit.toml"), frozenset(COMMANDS), lambda: RULES)


def _images() -> Sequence[bytes]:
    return [encode_image(own.program().image)]


def _image(case: bytes) -> object:
    try:
        return decode_image(case)
    except StoredImageError as error:
        raise FormatError(str(error)) from error


DOORS = (
    Door("trace", "stored traces, judged again", _traces, _sealed, _judged, 15.0, weight=2.0),
    Door("snapshot", "snapshots", _snapshots, _parts, _snapshot, 1.0),
    Door("vmcore", "dumps", _dumps, within(_head), lambda case: read_vmcore(files.put(case)), 0.3),
    Door("registers", "registers that are given beside a dump", _registers, documents(JSON),
         lambda case: read_given(files.put(case)), 0.3),
    Door("results", "results of a campaign (SQLite)", _results, within(_head), _looked_up, 2.0),
    Door("document", "JSON documents", lambda: [outcome_document()], documents(JSON),
         lambda case: _read_again(Outcome, case), 1.5),
    Door("measurements", "measurements of a machine (TOML)", lambda: [MEASUREMENTS.encode()],
         text_of("[ ] = \" ' true 1e9 nan inf 0x -1 [[ ]] { } free like measurement 99999G"),
         lambda case: read_measurements(files.put(case, "mine.toml")), 0.3),
    Door("baseline", "baselines", _baselines, documents(JSON), _baseline, 0.3),
    Door("project", "relokit.toml", lambda: [PROJECT.encode()],
         text_of("[ ] = \" ' true 1e9 nan inf 0x [[ ]] { } 2027-01-01 rule until options run"),
         _project, 0.2),
    Door("cached-image", "programs in the cache", _images, mutated, _image, 1.0),
)  # fmt: skip
