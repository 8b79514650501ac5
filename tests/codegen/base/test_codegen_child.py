"""The child process: answers, errors, crashes, hangs, interrupts, and no orphans."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from relokit.codegen.base.budget import LIMITS, set_limits
from relokit.codegen.base.child import Child
from relokit.codegen.base.errors import AssemblyError, MachineError, NativeCrashError, RelokitError
from support.processes import gone

HANDLER = """
import ctypes, os, signal, sys, time
from relokit.codegen.base.budget import limits
from relokit.codegen.base.errors import AssemblyError, RelokitError

class PrivateError(AssemblyError):
    pass

def serve(request, progress):
    verb, _, rest = request.partition(b" ")
    if verb == b"echo":
        return rest
    if verb == b"pid":
        return str(os.getpid()).encode()
    if verb == b"count":
        for n in range(int(rest)):
            progress(str(n).encode())
        return b"done"
    if verb == b"print":
        print("chatter " * 4096)
        os.write(1, b"R" + b"x" * 64)
        return b"clean"
    if verb == b"read":
        return sys.stdin.buffer.read(4)
    if verb == b"die":
        print("LLVM ERROR: out of luck", file=sys.stderr, flush=True)
        os.kill(os.getpid(), int(rest))
        time.sleep(60)
    if verb == b"exit":
        os._exit(int(rest))
    if verb == b"hang":
        ctypes.CDLL(None).sleep(60)
    if verb == b"big":
        return bytes(int(rest))
    if verb == b"bad":
        raise AssemblyError("no such thing", where="a.S:3", text="foo x0", hint="try bar")
    if verb == b"private":
        raise PrivateError("mine")
    if verb == b"limit":
        return str(limits()["lines"]).encode()
    if verb == b"thread":
        raise RuntimeError("can't start new thread")
    if verb == b"engine":
        print("qemu: qemu_thread_create: Resource temporarily unavailable", file=sys.stderr)
        os.abort()
    if verb == b"exhausted":
        print("Traceback (most recent call last):\\n  File x\\nMemoryError", file=sys.stderr)
        os._exit(1)
    if verb == b"bug":
        raise KeyError("oops")
    return b"?"
"""


@pytest.fixture
def make(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> Callable[..., Child]:
    (tmp_path / "handler_under_test.py").write_text(HANDLER)
    monkeypatch.syspath_prepend(str(tmp_path))

    def build(module: str = "handler_under_test", max_response: int = 1 << 28) -> Child:
        child = Child(module, library="Librarium", max_response=max_response)
        request.addfinalizer(child.close)
        return child

    return build


def test_an_answer_comes_back_and_the_child_stays(make: Callable[..., Child]) -> None:
    child = make()
    assert child.call(b"echo hello\0\xff", timeout=60) == b"hello\0\xff"
    first = child.call(b"pid", timeout=60)
    assert int(first) != os.getpid()
    assert child.call(b"pid", timeout=60) == first


def test_a_request_and_an_answer_larger_than_any_pipe(make: Callable[..., Child]) -> None:
    payload = bytes(range(256)) * (8 << 12)
    assert make().call(b"echo " + payload, timeout=60) == payload


def test_progress_messages_arrive_in_order_before_the_answer(make: Callable[..., Child]) -> None:
    seen: list[bytes] = []
    assert make().call(b"count 500", timeout=60, progress=seen.append) == b"done"
    assert seen == [str(n).encode() for n in range(500)]
    assert make().call(b"count 500", timeout=60) == b"done"


def test_what_the_library_prints_does_not_disturb_the_protocol(make: Callable[..., Child]) -> None:
    child = make()
    assert child.call(b"print", timeout=60) == b"clean"
    assert child.call(b"echo again", timeout=60) == b"again"
    assert child.call(b"read", timeout=60) == b""


@pytest.mark.parametrize("name", ["SIGSEGV", "SIGABRT", "SIGKILL"])
def test_death_by_signal_is_named_with_the_last_words(
    make: Callable[..., Child], name: str
) -> None:
    child = make()
    with pytest.raises(NativeCrashError) as caught:
        child.call(b"die %d" % signal.Signals[name], timeout=60)
    assert "Librarium" in caught.value.message
    assert name in caught.value.message
    assert "LLVM ERROR: out of luck" in (caught.value.text or "")
    assert child.call(b"echo risen", timeout=60) == b"risen"


def test_each_request_has_the_limits_of_its_time(make: Callable[..., Child]) -> None:
    """A child kept those of the command that it was started for."""
    child = make()
    try:
        for lines in (7, 8):
            set_limits({"lines": lines})
            assert child.call(b"limit", timeout=60) == str(lines).encode()
    finally:
        set_limits({})
    assert child.call(b"limit", timeout=60) == str(LIMITS["lines"].default).encode()
    assert child.started == 1


@pytest.mark.parametrize("verb", ["thread", "engine"])
def test_a_child_that_gets_no_thread_says_what_a_missing_process_says(
    make: Callable[..., Child], verb: str
) -> None:
    """It was taken for a library that had gone down."""
    child = make()
    with pytest.raises(BlockingIOError):
        child.call(verb.encode(), timeout=60)
    assert child.call(b"echo risen", timeout=60) == b"risen"


THREADLESS = """
import threading
def refuse(self): raise RuntimeError("can't start new thread")
threading.Thread.start = refuse
from relokit"""


def test_nor_one_for_looking_after_its_parent(
    make: Callable[..., Child], monkeypatch: pytest.MonkeyPatch
) -> None:
    """It was a folded traceback. What was asked may be more than a pipe holds."""
    program = Child._program
    monkeypatch.setattr(
        Child, "_program", lambda self: program(self).replace("\nfrom relokit", THREADLESS, 1)
    )
    with pytest.raises(BlockingIOError):
        make().call(b"echo" + bytes(1 << 20), timeout=60)


def test_of_a_traceback_the_cause_is_told(make: Callable[..., Child]) -> None:
    with pytest.raises(NativeCrashError) as caught:
        make().call(b"exhausted", timeout=60)
    assert caught.value.text == "MemoryError"


@pytest.mark.parametrize("code", [0, 1, 77])
def test_a_library_that_ends_the_process_is_reported(make: Callable[..., Child], code: int) -> None:
    child = make()
    with pytest.raises(NativeCrashError, match=f"exit code {code}"):
        child.call(b"exit %d" % code, timeout=60)
    assert child.call(b"echo risen", timeout=60) == b"risen"


def test_a_hang_ends_at_the_timeout_and_the_child_with_it(make: Callable[..., Child]) -> None:
    child = make()
    pid = int(child.call(b"pid", timeout=60))
    with pytest.raises(NativeCrashError, match=r"within 0\.3 s"):
        child.call(b"hang", timeout=0.3)
    assert gone({pid})
    assert child.call(b"echo risen", timeout=60) == b"risen"


def test_the_timeout_also_bounds_a_request_nobody_reads(make: Callable[..., Child]) -> None:
    child = make()
    process = child._running()
    os.kill(process.pid, signal.SIGSTOP)
    with pytest.raises(NativeCrashError, match="within"):
        child.call(bytes(4 << 20), timeout=0.3)


def test_a_relokit_error_keeps_its_class_and_its_parts(make: Callable[..., Child]) -> None:
    child = make()
    pid = child.call(b"pid", timeout=60)
    with pytest.raises(AssemblyError) as caught:
        child.call(b"bad", timeout=60)
    error = caught.value
    assert (error.message, error.where) == ("no such thing", "a.S:3")
    assert (error.text, error.hint) == ("foo x0", "try bar")
    with pytest.raises(AssemblyError) as caught:
        child.call(b"private", timeout=60)
    assert type(caught.value) is AssemblyError
    assert child.call(b"pid", timeout=60) == pid


def test_a_bug_in_the_handler_is_a_crash_report(make: Callable[..., Child]) -> None:
    child = make()
    with pytest.raises(NativeCrashError, match="Librarium failed: KeyError"):
        child.call(b"bug", timeout=60)
    assert child.call(b"echo still", timeout=60) == b"still"


def test_a_module_that_does_not_import_is_a_crash_report(make: Callable[..., Child]) -> None:
    child = make("no_such_module_anywhere")
    for _ in range(2):
        with pytest.raises(NativeCrashError, match="ModuleNotFoundError"):
            child.call(b"echo", timeout=60)


def test_an_oversized_answer_is_refused_unread(make: Callable[..., Child]) -> None:
    child = make(max_response=1000)
    assert len(child.call(b"big 1000", timeout=60)) == 1000
    with pytest.raises(NativeCrashError, match="oversized"):
        child.call(b"big 1001", timeout=60)
    assert child.call(b"echo risen", timeout=60) == b"risen"


@pytest.mark.parametrize(
    "answer",
    [
        b"Z" + (0).to_bytes(8, "little"),
        b"E" + (4).to_bytes(8, "little") + b"nope",
        b"E" + (2).to_bytes(8, "little") + b"[]",
        b"F" + (1 << 60).to_bytes(8, "little"),
        b"R" + (5).to_bytes(8, "little") + b"abc",
    ],
)
def test_nonsense_from_the_child_is_a_crash_report(
    make: Callable[..., Child], tmp_path: Path, answer: bytes
) -> None:
    # The answers' descriptor is the highest one open: write past the protocol's back.
    (tmp_path / "liar.py").write_text(
        textwrap.dedent(
            f"""
            import os
            def serve(request, progress):
                answers = max(fd for fd in range(16) if is_pipe(fd) and fd > 2)
                os.write(answers, {answer!r})
                os._exit(3)
            def is_pipe(fd):
                try:
                    return os.readlink(f"/proc/self/fd/{{fd}}").startswith("pipe:")
                except OSError:
                    return False
            """
        )
    )
    with pytest.raises(NativeCrashError):
        make("liar").call(b"", timeout=60)


@pytest.mark.parametrize("error", [KeyboardInterrupt, MachineError("enough")])
def test_an_interrupted_call_leaves_no_answer_behind(
    make: Callable[..., Child], error: BaseException | type[BaseException]
) -> None:
    child = make()
    pid = int(child.call(b"pid", timeout=60))

    def interrupt(_: bytes) -> None:
        raise error

    with pytest.raises((KeyboardInterrupt, MachineError)):
        child.call(b"count 5", timeout=60, progress=interrupt)
    assert gone({pid})
    assert child.call(b"echo fresh", timeout=60) == b"fresh"


def test_a_call_from_its_own_callback_is_refused(make: Callable[..., Child]) -> None:
    child = make()

    def again(_: bytes) -> None:
        child.call(b"echo", timeout=60)

    with pytest.raises(RuntimeError, match="callback"):
        child.call(b"count 1", timeout=60, progress=again)


def test_threads_take_turns(make: Callable[..., Child]) -> None:
    child = make()
    answers: dict[int, bytes] = {}

    def ask(n: int) -> None:
        for _ in range(20):
            answers[n] = child.call(b"echo %d" % n, timeout=60)

    threads = [threading.Thread(target=ask, args=(n,)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert answers == {n: b"%d" % n for n in range(4)}


def test_closing_ends_the_child_and_a_call_after_it_starts_another(
    make: Callable[..., Child],
) -> None:
    with make() as child:
        child.start()
        pid = int(child.call(b"pid", timeout=60))
    assert gone({pid})
    child.close()
    assert int(child.call(b"pid", timeout=60)) != pid


PARENT = """
import sys, time
sys.path.insert(0, {folder!r})
from relokit.codegen.base.child import Child
child = Child("handler_under_test")
print(child.call(b"pid", timeout=60).decode(), flush=True)
{then}
"""


@pytest.mark.parametrize(
    ("then", "how"),
    [
        ("time.sleep(60)", signal.SIGKILL),
        ("child.call(b'hang', timeout=60)", signal.SIGKILL),
        ("child.call(b'hang', timeout=60)", signal.SIGINT),
        ("", None),
    ],
)
def test_no_orphan_whatever_becomes_of_the_parent(
    make: Callable[..., Child], tmp_path: Path, then: str, how: signal.Signals | None
) -> None:
    make()
    parent = subprocess.Popen(
        [sys.executable, "-c", PARENT.format(folder=str(tmp_path), then=then)],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        start_new_session=True,
    )
    assert parent.stdout is not None
    pid = int(parent.stdout.readline())
    if how is not None:
        time.sleep(0.2)
        os.killpg(parent.pid, how)
    assert gone({pid})
    parent.wait(60)
    parent.stdout.close()


def test_ctrl_c_reaches_the_parent_only(make: Callable[..., Child]) -> None:
    child = make()
    pid = int(child.call(b"pid", timeout=60))
    assert os.getpgid(pid) != os.getpgid(0)
    os.kill(pid, signal.SIGINT)
    assert int(child.call(b"pid", timeout=60)) == pid


def test_a_forked_copy_of_the_parent_gets_a_child_of_its_own(make: Callable[..., Child]) -> None:
    child = make()
    pid = child.call(b"pid", timeout=60)
    source, sink = os.pipe()
    fork = os.fork()
    if fork == 0:
        try:
            other = child.call(b"pid", timeout=60)
            child.close()
            os.write(sink, b"same" if other == pid else b"other")
        finally:
            os._exit(0)
    os.waitpid(fork, 0)
    assert os.read(source, 16) == b"other"
    os.close(source)
    os.close(sink)
    assert child.call(b"pid", timeout=60) == pid


def test_nothing_heavy_is_imported() -> None:
    code = (
        "import sys, relokit.codegen.base.child\n"
        "import relokit.codegen.gas.instructions.encoder, relokit.codegen.gas.assembler\n"
        "heavy = {'numpy', 'keystone', 'lief', 'json', 'jinja2', 'ctypes'}\n"
        "print(*sorted(heavy & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""


def test_a_child_starts_no_threads_for_linear_algebra(
    make: Callable[..., Child], tmp_path: Path
) -> None:
    """numpy's BLAS would have one a core, for a tenth of a run's time."""
    (tmp_path / "counts.py").write_text(
        "import os, numpy\n"
        "def serve(request, progress): return b'%d' % len(os.listdir('/proc/self/task'))\n"
    )
    assert make("counts").call(b"", timeout=60) == b"2"  # its own, and who watches the parent


def test_every_error_class_can_travel() -> None:
    from relokit.codegen.base.serving import ERROR_CLASSES

    assert set(ERROR_CLASSES.values()) >= {RelokitError, *RelokitError.__subclasses__()} - {
        cls for cls in RelokitError.__subclasses__() if cls.__module__ != RelokitError.__module__
    }
