"""The jobs of this Blender session: queued, followed, and brought into the file that asked for them.

Everything here runs on the main thread. `Jobs.tick` is called by a timer (handlers.py), or in a loop where Blender runs
in the background and has no timers. Blender's data is looked up by name when it is needed, never kept: undo and file
loading replace it. The object of a re-mesh is known by the result's folder, as it may get another name meanwhile.
"""

from __future__ import annotations

import itertools
import shutil
import time
import traceback
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import bpy

from ..engine.errors import DIF3DError
from ..messages import Failure, Job, Progress, Result
from . import scene
from .baking import bake_texture
from .engine_process import EngineProcess
from .materials import has_texture
from .picture import PackedCopy, PixelCopy

_BLOCKING_JOBS = ("RENDER", "OBJECT_BAKE", "COMPOSITE")  # Blender's own, which read the scene in another thread
# Tools that hold on to objects while the mouse moves, and ours that renders them frame by frame.
_BLOCKING_TOOLS = ("TRANSFORM_OT_", "DIF3D_OT_render_turntable")


@dataclass
class Task:
    """A job with what Blender must know about it."""

    job: Job
    name: str  # for people, and for the objects that are made
    scene: str  # name of the scene that asked
    file: str  # the .blend that asked; empty where it was never saved
    session: int  # which of the files that this Blender had open
    make_mesh: bool = True
    texture: int = 0  # texels a side of the texture that the new mesh gets; 0 keeps vertex colours only
    target: str = ""  # name of the object whose mesh is made anew; empty for a new object
    sources: set[str] = field(default_factory=set)  # result folders that the target's mesh may come from by then
    state: str = "waiting"  # waiting, running, ready (made, not imported yet), done, kept, failed, cancelled
    stage: str = ""
    detail: str = ""
    fraction: float = 0.0
    began: float = 0.0  # time.monotonic()
    took: float = 0.0  # seconds
    message: str = ""  # what to tell the artist
    log: str = ""
    result: Result | None = None
    objects: list[str] = field(default_factory=list)  # names of what was made

    @property
    def active(self) -> bool:
        return self.state in ("waiting", "running", "ready")

    @property
    def files_only(self) -> bool:
        """Whether its files are all that is wanted: nothing of it comes into a .blend."""
        return not (self.target or self.make_mesh or self.job.gaussians)

    @property
    def time_left(self) -> float | None:
        """Seconds until it is done, guessed from the time so far; None while there is too little to guess from."""
        if self.state != "running" or self.fraction < 0.05:
            return None
        return (time.monotonic() - self.began) * (1 - self.fraction) / self.fraction


class Jobs:
    """The queue, and the engine that works on it."""

    def __init__(self) -> None:
        self.tasks: list[Task] = []
        self.engine: EngineProcess | None = None
        self.session = 0  # counts the files that this Blender opened
        self.idle_limit = 0.0  # seconds after which an idle engine is ended; 0 for never
        self._idle_since = time.monotonic()
        self._ids = itertools.count(1)
        self._copies: list[tuple[Task, PackedCopy | PixelCopy]] = []  # of tasks that the engine does not have yet
        self._doomed: list[str] = []  # output folders to delete when no dying engine can write to them any more

    @property
    def busy(self) -> bool:
        return any(task.active for task in self.tasks) or bool(self._doomed)

    @property
    def warm(self) -> bool:
        return self.engine is not None and self.engine.running

    @property
    def last(self) -> Task | None:
        """The task that ended last."""
        return next((task for task in reversed(self.tasks) if not task.active), None)

    @property
    def told(self) -> list[Task]:
        """The tasks that ended and of which the artist should know: the last, and those that did not go well."""
        return [task for task in self.tasks if task is self.last or task.state in ("failed", "kept")]

    def new_id(self) -> str:
        return str(next(self._ids))

    def submit(
        self,
        task: Task,
        python: Path,
        log: Path,
        environment: Mapping[str, str],
        copy: PackedCopy | PixelCopy | None = None,
    ) -> None:
        """Queue `task` for the engine in the interpreter `python`; `copy` makes its picture, where it is an image."""
        engine = self.engine
        if engine is not None and (engine.python, engine.environment) != (python, dict(environment)):
            if engine.busy:
                raise DIF3DError(
                    "The engine's settings were changed. Wait until the running jobs are done, or cancel them."
                )
            engine.release()
            engine = None
        if engine is None:
            self.engine = EngineProcess(python, log, environment=environment)
        if not self.busy:  # the artist has seen how the last ones ended; what waits for another file stays
            self.tasks = [task for task in self.tasks if task.state == "kept"]
        self.tasks.append(task)
        if copy is None:
            self.engine.submit(task.job)
        else:
            self._copies.append((task, copy))
        self._notice_start()

    def cancel(self, id: str | None = None) -> None:
        """Cancel the task of that id, or all; returns at once."""
        if self.engine is not None:
            self.engine.cancel(id)
        for task in self.tasks:
            if task.active and id in (None, task.job.id):
                self._end(task, "cancelled", "Cancelled.")
                self._doomed.append(task.job.output)

    def release(self, wait: float = 0.0) -> None:
        """End an idle engine, which frees its memory on the GPU; wait so many seconds for it to let go of its files."""
        if self.engine is not None:
            self.engine.release()
            self.engine.wait_stopped(wait)

    def close(self) -> None:
        """End the engine and forget the jobs; takes at most a second."""
        if self.engine is not None:
            self.engine.close()
            self.engine = None
        self._doomed += [task.job.output for task in self.tasks if task.active and task.state != "ready"]
        self._delete_doomed()
        self._copies.clear()
        self.tasks.clear()

    def tick(self) -> None:
        """Take what the engine says; import what is ready."""
        if self.engine is None:
            return
        if not self.engine.ending:
            self._delete_doomed()
        self._take_copies()
        self._notice_start()
        for event in self.engine.events():
            task = next((task for task in self.tasks if task.job.id == event.job and task.active), None)
            if task is not None:
                self._take(task, event)
        for task in self.tasks:
            if task.state == "ready" and (not self.belongs_here(task) or not why_not_now()):
                self._import(task)
        if self.busy:
            self._idle_since = time.monotonic()
        elif self.warm and self.idle_limit and time.monotonic() - self._idle_since > self.idle_limit:
            self.release()

    def run_to_the_end(self) -> None:
        """Work until no job is left: for Blender without a window, where no timer runs."""
        while self.busy:
            self.tick()
            time.sleep(0.02)

    def file_was_loaded(self) -> None:
        """Another file is open now. Results of the former wait until it is opened again, or stay on disk."""
        self.session += 1
        for task in self.tasks:
            if task.state == "kept" and self.belongs_here(task):
                task.state = "ready"

    def file_was_saved(self) -> None:
        """The open file may have another name now."""
        for task in self.tasks:
            if task.session == self.session:
                task.file = bpy.data.filepath

    def belongs_here(self, task: Task) -> bool:
        """Whether the open file is the one that asked."""
        return task.session == self.session or (bool(task.file) and task.file == bpy.data.filepath)

    def import_kept(self, task: Task) -> None:
        """Bring a result whose file is gone into the open one, and there into the scene that is shown."""
        task.session, task.file, task.scene = self.session, bpy.data.filepath, bpy.context.scene.name
        task.target, task.state = "", "ready"
        self._import(task)

    def _take_copies(self) -> None:
        """Hand over the tasks whose images can be copied now; another thread makes files of the copies."""
        for task, copy in list(self._copies):
            if task.active and not copy.ready:
                continue
            self._copies.remove((task, copy))
            try:
                if task.active:
                    copy.take()
                    self.engine.submit(task.job, copy.write)
            except DIF3DError as error:
                self._end(task, "failed", str(error))
                self._doomed.append(task.job.output)

    def _notice_start(self) -> None:
        """Start the clock of the task that the engine has taken up."""
        current = self.engine.current
        for task in self.tasks:
            if task.state == "waiting" and current is not None and task.job.id == current.id:
                task.state, task.stage, task.began = "running", "Starting the engine", time.monotonic()

    def _take(self, task: Task, event: Progress | Result | Failure) -> None:
        if isinstance(event, Progress):
            task.stage, task.fraction, task.detail = event.stage, event.fraction, event.detail
        elif isinstance(event, Result):
            task.result, task.state, task.fraction = event, "ready", 1.0
            task.took = time.monotonic() - task.began
            if task.files_only:  # whichever file is open, and whatever the artist does in it
                self._end(task, "done", "")
        else:
            task.log = event.traceback or self.engine.log_tail()
            self._end(task, "failed", event.message)
            self._doomed.append(task.job.output)

    def _import(self, task: Task) -> None:
        if not self.belongs_here(task):
            self._end(
                task, "kept", f"{task.name} was finished after its file was closed. It is kept in {task.job.output}."
            )
            return
        try:
            _change(task)
        except DIF3DError as error:
            self._end(task, "failed", str(error))
        except Exception as error:  # a bug of ours must show in the panel, and must not end the timer
            task.log = traceback.format_exc()
            self._end(task, "failed", f"{type(error).__name__}: {error}")
        else:
            for other in self.tasks:  # what waits to re-mesh the same object must know it again
                if other.sources & task.sources:
                    other.sources.add(task.job.output)
            self._end(task, "done", "")

    def _end(self, task: Task, state: str, message: str) -> None:
        task.state, task.message = state, message
        task.took = task.took or (time.monotonic() - task.began if task.began else 0.0)

    def _delete_doomed(self) -> None:
        """Delete the output folders of jobs that made nothing whole; each job has one of its own."""
        for folder in self._doomed:
            shutil.rmtree(folder, ignore_errors=True)
        self._doomed.clear()


def why_not_now() -> str:
    """Why the open file should not be changed at this moment; empty where it may."""
    for kind in _BLOCKING_JOBS:
        if bpy.app.is_job_running(kind):
            return "waits until rendering is done"
    for window in bpy.context.window_manager.windows:
        running = [part for tool in window.modal_operators for part in (tool, *tool.macros)]  # Shift+D is a macro
        if any(operator.bl_idname.startswith(_BLOCKING_TOOLS) for operator in running):
            return "waits until the running tool is done"
        active = window.view_layer.objects.active
        if active is not None and active.mode != "OBJECT":
            return "will be added when you return to Object Mode"
    return ""


def _target_of(task: Task) -> bpy.types.Object | None:
    """The object whose mesh is to be made anew; None where it is gone.

    Its name may be that of another object by now. The folder that it came from stays with it, and with its duplicates.
    """
    found = [o for o in bpy.data.objects if o.get(scene.OUTPUT) in task.sources and scene.is_result_mesh(o)]
    return min(found, key=lambda obj: (not scene.is_editable(obj), obj.name != task.target), default=None)


def _bring_in(task: Task) -> None:
    """Make or renew the objects of a finished task."""
    target = _target_of(task) if task.target else None
    if task.target and target is None:
        raise DIF3DError(f"The object {task.target} is gone. The new mesh is kept in {task.job.output}.")
    if target is not None and not scene.is_editable(target):
        raise DIF3DError(
            f"The object {target.name} is linked from another file now. The new mesh is kept in {task.job.output}. "
            "Make the object local and press Re-mesh again."
        )
    if target is not None:
        scene.renew(target, task.result, task.job.size)
        task.objects = [target.name]
        _bake(task, target)
        return
    collection = scene.add_result(task.result, task.name, task.job.size, _scene_of(task), mesh=task.make_mesh)
    task.objects = [obj.name for obj in collection.objects]
    _select(collection.objects)
    if task.make_mesh:
        _bake(task, collection.objects[0])


def _scene_of(task: Task) -> bpy.types.Scene:
    """The scene that asked; where it is gone, the one that is shown."""
    return bpy.data.scenes.get(task.scene) or bpy.context.scene


def _bake(task: Task, obj: bpy.types.Object) -> None:
    """Make the texture that is wanted where the engine could not unwrap the mesh; what prevents it is a warning."""
    if not task.texture or has_texture(task.result):
        return
    try:
        bake_texture(obj, task.texture)
    except DIF3DError as error:  # such as of an object that is hidden, or of a scene that is not shown
        task.result.report["warnings"].append(f"Bake Texture is left to you: {error}")


def _select(objects) -> None:
    """Make new objects the selected ones, in the window that shows them."""
    layer = bpy.context.view_layer
    if not all(bpy.context.scene in obj.users_scene for obj in objects):
        return  # another scene is shown
    for other in layer.objects:
        other.select_set(False)
    for obj in objects:
        if not obj.hide_get():
            obj.select_set(True)
    layer.objects.active = objects[0]


def _change(task: Task) -> None:
    """Bring a finished task into the file, as one step of undo with a name.

    Where a window shows the scene that asked, it is done there: baking and converting need a scene that is shown.
    """
    windows = bpy.context.window_manager.windows
    if bpy.app.background or not windows:  # nobody there to undo
        _bring_in(task)
        return
    asked, current = _scene_of(task), bpy.context.window
    with bpy.context.temp_override(window=min(windows, key=lambda one: (one.scene != asked, one != current))):
        try:
            _bring_in(task)
            scene.show_colors(window.screen for window in windows)
        finally:  # what was changed before a failure must not become part of the artist's next step
            bpy.ops.ed.undo_push(message=f"Generate {task.name}")
