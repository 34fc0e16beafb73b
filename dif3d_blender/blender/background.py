"""One long task at a time beside Blender's main thread: an installation, a download, a look at an interpreter.

The thread waits on a process or on the network; it never touches Blender's data.
"""

from __future__ import annotations

import threading
import traceback
from collections.abc import Callable
from typing import Any

from ..engine.errors import DIF3DError
from .environment import Report, Stopped, Stopper


class Background:
    """Runs a function in a thread and keeps what it says for the panels."""

    def __init__(self, name: str):
        self.name = name
        self.stage, self.fraction = "", 0.0
        self.error = ""  # what to tell the artist when it failed
        self.result: Any = None
        self._thread: threading.Thread | None = None
        self._stopper = Stopper()

    @property
    def running(self) -> bool:
        return self._thread is not None and self._thread.is_alive()

    def start(self, function: Callable[[Report, Stopper], Any]) -> None:
        """Call `function(report, stopper)` in a thread; does nothing while the last one still runs."""
        if not self.running:
            self.restart(function)

    def restart(self, function: Callable[[Report, Stopper], Any]) -> None:
        """As `start`, but in place of the last one: that is stopped, and what it still says does not count."""
        self.stop()
        self.stage, self.fraction, self.error, self.result = "", 0.0, "", None
        self._stopper = Stopper()
        self._thread = threading.Thread(
            target=self._run, args=(function, self._stopper), name=f"dif3d {self.name}", daemon=True
        )
        self._thread.start()

    def stop(self) -> None:
        """Ask it to end; returns at once."""
        self._stopper.stop()

    def join(self, timeout: float) -> None:
        if self._thread is not None:
            self._thread.join(timeout)

    def _run(self, function: Callable[[Report, Stopper], Any], stopper: Stopper) -> None:
        def tell(stage: str, fraction: float) -> None:
            if stopper is self._stopper:
                self.stage, self.fraction = stage, fraction

        result, message = None, ""
        try:
            result = function(tell, stopper)
        except (Stopped, DIF3DError) as error:
            message = str(error)
        except Exception as error:  # a bug of ours: it must show in the panel, not vanish with the thread
            traceback.print_exc()
            message = f"{type(error).__name__}: {error}"
        if stopper is self._stopper:  # else another one took its place
            self.result, self.error = result, message
