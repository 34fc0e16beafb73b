"""The queue in Blender: results go into the file that asked; whatever happens, scene and disk stay clean."""

import functools
import os
import sys
import threading
import time
from pathlib import Path

import pytest

bpy = pytest.importorskip("bpy")

from bpy.app.handlers import persistent  # noqa: E402

from dif3d_blender.blender import jobs as jobs_module  # noqa: E402
from dif3d_blender.blender import picture, scene, stored  # noqa: E402
from dif3d_blender.blender.jobs import Jobs, Task  # noqa: E402
from dif3d_blender.engine.errors import DIF3DError  # noqa: E402
from dif3d_blender.messages import Job  # noqa: E402

FAKE = Path(__file__).with_name("fake_worker.py")


@pytest.fixture
def jobs(monkeypatch):
    bpy.ops.wm.read_homefile(use_empty=True, use_factory_startup=True)
    monkeypatch.setattr(jobs_module, "EngineProcess", functools.partial(jobs_module.EngineProcess, worker=FAKE))
    made = Jobs()
    loaded, saved = persistent(lambda *_: made.file_was_loaded()), persistent(lambda *_: made.file_was_saved())
    bpy.app.handlers.load_post.append(loaded)
    bpy.app.handlers.save_post.append(saved)
    yield made
    bpy.app.handlers.load_post.remove(loaded)
    bpy.app.handlers.save_post.remove(saved)
    made.close()


@pytest.fixture
def submit(jobs, tmp_path):
    def submit(behaviour="ok", name="thing", target="", image=None, make_mesh=True, **settings):
        id = jobs.new_id()
        output = tmp_path / f"out{id}"
        output.mkdir()
        settings = {"resolution": 12, "gaussians": False} | settings
        copy = None if image is None else picture.from_image(image, output)
        job = Job(str(copy.path) if copy else "none.png", str(output), id=id, model=behaviour, **settings)
        task = Task(job, name, bpy.context.scene.name, bpy.data.filepath, jobs.session, target=target)
        task.make_mesh = make_mesh
        if target in bpy.data.objects:
            task.sources = {bpy.data.objects[target][scene.OUTPUT]}
        jobs.submit(task, Path(sys.executable), tmp_path / "engine.log", {}, copy)
        return task

    return submit


def wait(jobs, task, state, seconds=10):
    """Work until the task is in that state."""
    deadline = time.monotonic() + seconds
    while task.state != state and time.monotonic() < deadline:
        jobs.tick()
        time.sleep(0.01)
    assert task.state == state, (task.state, task.message)


def made_objects():
    return [obj.name for obj in bpy.data.objects if scene.OUTPUT in obj]


def test_a_queue_runs_to_its_end(jobs, submit):
    tasks = [submit(name=name) for name in "abc"]
    jobs.run_to_the_end()
    assert [task.state for task in tasks] == ["done"] * 3 and made_objects() == ["a", "b", "c"]
    assert tasks[0].objects == ["a"] and jobs.last is tasks[2] and not jobs.busy and jobs.warm


def test_progress_and_time_left_are_told(jobs, submit):
    task = submit("slow")
    assert task.time_left is None
    while task.stage != "Thinking":
        jobs.tick()
        time.sleep(0.01)
    time.sleep(0.1)
    assert task.fraction == 0.4 and task.detail == "half way" and task.time_left > 0


def test_cancel_leaves_no_object_no_file_no_process(jobs, submit):
    task, waiting = submit("slow"), submit("ok")
    while not (Path(task.job.output) / "half.tmp").exists():
        jobs.tick()
        time.sleep(0.01)
    began = time.monotonic()
    jobs.cancel()
    assert task.state == waiting.state == "cancelled"
    while jobs.busy:
        jobs.tick()
    assert time.monotonic() - began < 1.0
    assert not Path(task.job.output).exists() and not Path(waiting.job.output).exists()
    assert not made_objects() and not jobs.warm
    again = submit()
    jobs.run_to_the_end()
    assert again.state == "done"


@pytest.fixture
def painted(jobs):
    image = bpy.data.images.new("painted", 64, 64)
    image.pixels.foreach_set([0.5] * 64 * 64 * 4)
    return image


def test_the_picture_of_a_painted_image_is_made_first(jobs, submit, painted):
    task = submit(image=painted)
    assert task.state == "waiting" and jobs.busy and not Path(task.job.picture).exists()
    wait(jobs, task, "running")
    assert Path(task.job.picture).exists()
    jobs.run_to_the_end()
    assert task.state == "done"


def test_an_image_that_goes_before_it_is_copied_is_told(jobs, submit, painted):
    task = submit(image=painted)
    bpy.data.images.remove(painted)
    jobs.run_to_the_end()
    assert task.state == "failed" and "painted was removed" in task.message and not Path(task.job.output).exists()


@pytest.mark.parametrize("moment", ["before the copy", "while the file is made"])
def test_cancel_while_an_image_is_copied_leaves_no_file(jobs, submit, painted, moment, monkeypatch):
    write, began, go_on = picture.PixelCopy.write, threading.Event(), threading.Event()

    def slow_write(copy):
        began.set()
        go_on.wait(5)
        write(copy)

    monkeypatch.setattr(picture.PixelCopy, "write", slow_write)
    task = submit(image=painted)
    if moment != "before the copy":
        while not began.is_set():
            jobs.tick()
    jobs.cancel()
    jobs.tick()
    assert task.state == "cancelled"
    go_on.set()
    jobs.run_to_the_end()
    assert not Path(task.job.output).exists() and not jobs.warm


def test_cancelling_one_lets_the_others_go_on(jobs, submit):
    first, second = submit("slow", "first"), submit("ok", "second")
    wait(jobs, first, "running")
    jobs.cancel(first.job.id)
    jobs.run_to_the_end()
    assert (first.state, second.state) == ("cancelled", "done") and made_objects() == ["second"]


@pytest.mark.parametrize(
    ("behaviour", "words"),
    [("kill", "memory"), ("crash", "exit status 3"), ("fail", "Choose another"), ("bug", "ValueError")],
)
def test_a_failure_is_told_and_the_next_job_works(jobs, submit, behaviour, words):
    bpy.ops.mesh.primitive_cube_add()
    task, after = submit(behaviour), submit("ok", "after")
    jobs.run_to_the_end()
    assert task.state == "failed" and words in task.message and not Path(task.job.output).exists()
    assert after.state == "done" and "Cube" in bpy.data.objects
    if behaviour in ("crash", "bug"):
        assert task.log


def test_every_failure_of_a_queue_is_told_until_the_next_round(jobs, submit):
    failed, done, last = submit("fail", "a"), submit("ok", "b"), submit("ok", "c")
    jobs.run_to_the_end()
    assert jobs.told == [failed, last] and done.state == "done"
    again = submit("ok", "d")
    assert jobs.tasks == [again]
    bpy.ops.wm.read_homefile(use_empty=True, use_factory_startup=True)
    jobs.run_to_the_end()
    submit("ok", "e")
    jobs.run_to_the_end()
    assert [task.state for task in jobs.told] == ["kept", "done"], "what waits for another file stays"


def test_a_result_of_a_closed_file_is_kept_on_disk_and_can_be_added_elsewhere(jobs, submit):
    task = submit()
    bpy.ops.wm.read_homefile(use_empty=True, use_factory_startup=True)
    jobs.run_to_the_end()
    assert task.state == "kept" and not made_objects() and task.job.output in task.message
    assert (Path(task.job.output) / "report.json").exists()
    bpy.context.window.scene = bpy.data.scenes.new("shown")
    jobs.import_kept(task)
    assert task.state == "done" and made_objects() == ["thing"]
    assert [s.name for s in bpy.data.objects["thing"].users_scene] == ["shown"]


def test_a_result_goes_into_its_file_when_that_is_opened_again(jobs, submit, tmp_path):
    bpy.ops.wm.save_as_mainfile(filepath=str(tmp_path / "mine.blend"))
    task = submit()
    bpy.ops.wm.read_homefile(use_empty=True, use_factory_startup=True)
    jobs.run_to_the_end()
    assert task.state == "kept"
    bpy.ops.wm.open_mainfile(filepath=str(tmp_path / "mine.blend"))
    jobs.run_to_the_end()
    assert task.state == "done" and made_objects() == ["thing"]


def test_reverting_the_file_does_not_lose_the_result(jobs, submit, tmp_path):
    bpy.ops.wm.save_as_mainfile(filepath=str(tmp_path / "mine.blend"))
    task = submit("busy")
    wait(jobs, task, "running")
    bpy.ops.wm.open_mainfile(filepath=str(tmp_path / "mine.blend"))
    jobs.run_to_the_end()
    assert task.state == "done"


def test_saving_under_another_name_keeps_the_claim(jobs, submit, tmp_path):
    task = submit("busy")
    bpy.ops.wm.save_as_mainfile(filepath=str(tmp_path / "first.blend"))
    bpy.ops.wm.read_homefile(use_empty=True, use_factory_startup=True)
    bpy.ops.wm.open_mainfile(filepath=str(tmp_path / "first.blend"))
    jobs.run_to_the_end()
    assert task.state == "done" and made_objects() == ["thing"]


def test_a_scene_that_was_deleted_is_replaced_by_the_one_shown(jobs, submit):
    other = bpy.data.scenes.new("other")
    task = submit()
    task.scene = "other"
    bpy.data.scenes.remove(other)
    jobs.run_to_the_end()
    assert task.state == "done" and bpy.context.scene.objects.get("thing") is not None


def test_the_result_goes_into_the_scene_that_asked(jobs, submit):
    bpy.data.scenes.new("other")
    task = submit()
    task.scene = "other"
    jobs.run_to_the_end()
    assert [s.name for s in bpy.data.objects["thing"].users_scene] == ["other"]


def test_a_result_of_a_scene_that_is_not_shown_is_whole(jobs, submit):
    asked = bpy.context.scene
    asked.view_layers.new("another")
    task = submit(gaussians=True)
    task.texture = 64
    bpy.context.window.scene = bpy.data.scenes.new("shown")
    jobs.run_to_the_end()
    assert task.state == "done" and task.objects == ["thing", "thing Gaussians"]
    assert any("must be visible in this scene" in warning for warning in task.result.report["warnings"])
    mesh, cloud = (bpy.data.objects[name] for name in task.objects)
    for layer in asked.view_layers:
        assert cloud.hide_get(view_layer=layer) and not mesh.hide_get(view_layer=layer)


def test_a_hidden_mesh_is_made_anew_without_the_texture_that_would_have_to_be_baked(jobs, submit):
    submit()
    jobs.run_to_the_end()
    obj = bpy.data.objects["thing"]
    obj.hide_set(True)
    task = submit(target="thing", resolution=30)
    task.texture = 64
    jobs.run_to_the_end()
    assert task.state == "done" and len(obj.data.vertices) == 900
    assert any("must be visible" in warning for warning in task.result.report["warnings"])


def test_a_mesh_is_made_anew_in_place(jobs, submit):
    submit()
    jobs.run_to_the_end()
    obj = bpy.data.objects["thing"]
    obj.location.y, material = 3, obj.active_material
    task = submit(target="thing", resolution=30, size=2.0)
    jobs.run_to_the_end()
    assert task.state == "done" and made_objects() == ["thing"] and len(obj.data.vertices) == 900
    assert obj.location.y == 3 and obj.active_material is material and obj[scene.OUTPUT] == task.job.output
    assert obj.dimensions.z == pytest.approx(2, abs=1e-4) and stored.TRIPLANE in obj.data


def test_a_target_is_known_by_any_name(jobs, submit):
    submit()
    jobs.run_to_the_end()
    obj = bpy.data.objects["thing"]
    first, second = submit(target="thing", resolution=30), submit(target="thing", resolution=40)
    obj.name = "renamed"
    bpy.ops.mesh.primitive_cube_add()
    bpy.context.object.name = "thing"
    wait(jobs, first, "done")
    assert len(obj.data.vertices) == 900 and len(bpy.data.objects["thing"].data.vertices) == 8
    jobs.run_to_the_end()
    assert second.state == "done" and second.objects == ["renamed"]
    assert len(obj.data.vertices) == 1600 and len(bpy.data.objects["thing"].data.vertices) == 8


def test_of_duplicates_the_one_that_was_asked_is_made_anew(jobs, submit):
    submit()
    jobs.run_to_the_end()
    obj = bpy.data.objects["thing"]
    copy = obj.copy()
    copy.name, copy.data = "a copy", obj.data.copy()  # which comes first by name
    bpy.context.collection.objects.link(copy)
    task = submit(target="thing", resolution=30)
    jobs.run_to_the_end()
    assert task.state == "done" and len(obj.data.vertices) == 900 and len(copy.data.vertices) == 144


def test_a_target_that_is_gone_keeps_the_result_on_disk(jobs, submit):
    task = submit(target="nobody")
    jobs.run_to_the_end()
    assert task.state == "failed" and "is gone" in task.message and (Path(task.job.output) / "report.json").exists()


def test_a_target_that_is_linked_meanwhile_is_left_alone(jobs, submit, tmp_path, monkeypatch):
    submit()
    jobs.run_to_the_end()
    task = submit(target="thing")
    bpy.data.libraries.write(str(tmp_path / "library.blend"), {bpy.data.objects["thing"]})
    bpy.data.objects.remove(bpy.data.objects["thing"])
    with bpy.data.libraries.load(str(tmp_path / "library.blend"), link=True) as (_, wanted):
        wanted.objects = ["thing"]
    monkeypatch.setattr(scene, "renew", lambda *_: pytest.fail("Blender would crash"))
    jobs.run_to_the_end()
    assert task.state == "failed" and "is linked" in task.message and Path(task.job.output).exists()


def test_a_damaged_result_is_told(jobs, submit, monkeypatch):
    monkeypatch.setattr(scene, "load_arrays", lambda _: (_ for _ in ()).throw(DIF3DError("damaged")))
    task = submit()
    jobs.run_to_the_end()
    assert task.state == "failed" and task.message == "damaged"


def test_a_bug_of_ours_is_told_and_the_queue_goes_on(jobs, submit, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(scene, "add_result", lambda *_, **__: 1 / 0)
        task = submit()
        jobs.run_to_the_end()
    assert task.state == "failed" and "ZeroDivisionError" in task.message and "Traceback" in task.log
    submit(name="next")
    jobs.run_to_the_end()
    assert made_objects() == ["next"]


def test_the_import_waits_while_the_artist_is_in_a_mode(jobs, submit):
    bpy.ops.mesh.primitive_cube_add()
    bpy.ops.object.mode_set(mode="EDIT")
    task = submit()
    wait(jobs, task, "ready")
    jobs.tick()
    assert task.state == "ready" and "Object Mode" in jobs_module.why_not_now()
    bpy.ops.object.mode_set(mode="OBJECT")
    jobs.run_to_the_end()
    assert task.state == "done"


def test_frames_are_done_in_any_mode_and_any_file(jobs, submit, monkeypatch):
    monkeypatch.setattr(jobs_module, "_change", lambda *_: pytest.fail("no undo step, and no colours shown"))
    bpy.ops.mesh.primitive_cube_add()
    bpy.ops.object.mode_set(mode="EDIT")
    task = submit(make_mesh=False, frames=2)
    wait(jobs, task, "done")
    bpy.ops.object.mode_set(mode="OBJECT")
    task = submit(make_mesh=False, frames=2)
    bpy.ops.wm.read_homefile(use_empty=True, use_factory_startup=True)
    jobs.run_to_the_end()
    assert task.state == "done" and not task.objects and not made_objects() and Path(task.job.output).exists()


def test_an_idle_engine_ends_by_itself_and_starts_again(jobs, submit):
    jobs.idle_limit = 0.2
    first = submit()
    jobs.run_to_the_end()
    assert jobs.warm
    time.sleep(0.3)
    jobs.tick()
    assert not jobs.warm
    second = submit(name="second")
    jobs.run_to_the_end()
    assert second.state == "done" and second.result.report["pid"] != first.result.report["pid"]


def test_a_changed_engine_replaces_an_idle_one_and_spares_a_busy_one(jobs, submit, tmp_path):
    first = submit("slow")
    other = Task(Job("n", str(tmp_path / "o"), id="x"), "o", "Scene", "", jobs.session)
    with pytest.raises(DIF3DError, match="Wait until"):
        jobs.submit(other, Path("/other/python"), tmp_path / "log", {})
    jobs.cancel(first.job.id)
    jobs.submit(other, Path("/other/python"), tmp_path / "log", {})
    jobs.run_to_the_end()
    assert "no Python interpreter at /other/python" in other.message


def test_closing_ends_the_engine_within_a_second(jobs, submit):
    task = submit("stubborn")
    wait(jobs, task, "running")
    pid, began = jobs.engine._process.pid, time.monotonic()
    jobs.close()
    assert time.monotonic() - began < 1.0 and not Path(task.job.output).exists()
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)
