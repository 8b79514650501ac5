"""The child process in which guests run: Unicorn may abort or hang it, and only it."""

from __future__ import annotations

from collections.abc import Callable

from relokit.codegen.base.documents import to_json
from relokit.codegen.base.host_file import unpack
from relokit.runtime.kexec.programs import StoredPrograms
from relokit.runtime.room.requests import Asked, RoomNews, RoomVoice, shared_by

_kept: StoredPrograms | None = None
"""That of the last request."""


def prepare() -> None:
    """Import what every run needs, while the parent still renders and assembles."""
    import relokit.runtime.run.verdict  # noqa: F401


def serve(
    request: bytes, progress: Callable[[bytes], None], descriptors: tuple[int, ...] = ()
) -> bytes:
    """Carry out what is Asked, which is packed; the answer is its document."""
    global _kept
    kept, _kept = _kept, None
    asked: Asked = unpack(request, descriptors, kept)
    _kept = shared_by(asked.request)

    def say(news: RoomNews) -> None:
        if asked.with_progress or not news.progress:
            progress(to_json(news))

    return to_json(asked.request.carry_out(RoomVoice(say)))
