"""The child process in which guests run: Unicorn may abort or hang it, and only it.

A request is pickled by the parent (which trusts itself); answers are JSON, so that nothing a
guest could have got hold of is ever unpickled.
"""

from __future__ import annotations

import json
import pickle
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from relokit.codegen.base.documents import to_json
from relokit.codegen.base.errors import RelokitError
from relokit.codegen.target import Target
from relokit.runtime.kexec.job import Job
from relokit.runtime.kexec.programs import Programs


@dataclass(frozen=True, slots=True)
class Request:
    """What was built, for which target, and what is asked.

    ``programs`` are pickled by themselves (:func:`pack`): many jobs share them, and unpickling
    costs as much as a small run. With ``bootable`` nothing runs: the machine is written there
    as an ELF instead. With ``watched`` the relocation is observed, and ``relocation``, if there is
    some, is code that runs as such.
    """

    target: Target
    programs: bytes
    job: Job
    bootable: Path | None = None
    watched: bool = False
    relocation: bytes | None = None


def pack(programs: Programs) -> bytes:
    """``programs`` as a Request carries them."""
    return pickle.dumps(programs, pickle.HIGHEST_PROTOCOL)


@lru_cache(maxsize=1)
def _unpack(programs: bytes) -> Programs:
    unpacked = pickle.loads(programs)
    assert isinstance(unpacked, Programs)
    return unpacked


def prepare() -> None:
    """Import what every run needs, while the parent still renders and assembles."""
    import relokit.runtime.run.verdict  # noqa: F401


def serve(request: bytes, progress: Callable[[bytes], None]) -> bytes:
    """Carry out a pickled Request, or call a pickled Callee; the answer is a JSON document.

    A run answers with its Outcome, an export with the file's size and the guest's RAM in bytes, a
    watched run with an Observation, and a call with a list of them.
    """
    asked = pickle.loads(request)
    if not isinstance(asked, Request):
        from relokit.runtime.behaviour.calls import observe_calls

        return to_json(observe_calls(asked))

    def report(stage: str, done: int, total: int) -> None:
        progress(json.dumps([stage, done, total]).encode())

    if asked.bootable is not None:
        return json.dumps(_export(asked, asked.bootable, report)).encode()
    if asked.watched:
        from relokit.runtime.behaviour.moves import observe_relocation

        observed = observe_relocation(
            asked.target, _unpack(asked.programs), asked.job, report, asked.relocation
        )
        return to_json(observed)
    from relokit.runtime.run.verdict import run

    outcome = run(asked.target, _unpack(asked.programs), asked.job, report)
    return to_json(outcome)


def _export(asked: Request, path: Path, report: Callable[[str, int, int], None]) -> dict[str, int]:
    from relokit.codegen.gas.encoder import Encoder
    from relokit.linker.elf.elf_writer import exec_chunks
    from relokit.runtime.run.verdict import prepare_machine
    from relokit.runtime.state.bootable import bootable_image

    machine = prepare_machine(asked.target, _unpack(asked.programs), asked.job, report)
    try:
        with path.open("wb") as file:
            for chunk in exec_chunks(bootable_image(machine, Encoder())):
                file.write(chunk)
            return {"bytes": file.tell(), "ram": machine.memory.size}
    except OSError as error:
        raise RelokitError(
            f"cannot be written: {error.strerror or error}",
            where=str(path.parent),
            hint="check that there is room; a bootable ELF has the payload in it",
        ) from None
    finally:
        machine.close()
