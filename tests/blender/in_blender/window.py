"""Runs inside a Blender with a window that has the extension: what an artist would notice while a job runs.

Settings as in killed.py, and `log`: a file that takes one JSON line a finding.
"""

import array
import functools
import json
import os
import sys
import threading
import time
import traceback
from pathlib import Path

import bpy

NAME = "bl_ext.user_default.dif3d_blender"
SETTINGS = json.loads(os.environ["DIF3D_TEST"])
BEAT = 0.005  # seconds between two beats of the timer that records its own lateness
STALL = 0.05  # seconds that an artist may have to wait
ROUNDS = 3  # jobs of which one must pass without a stall: ours come every time, those of other programs do not

bpy.context.preferences.view.show_splash = False
late, used = [], []  # seconds: how late each beat was; how long the main thread computed since the one before
last_beat = time.monotonic(), time.thread_time()


def beat():
    global last_beat
    now = time.monotonic(), time.thread_time()
    late.append(now[0] - last_beat[0] - BEAT)
    used.append(now[1] - last_beat[1])
    last_beat = now
    return BEAT


def listen():
    beat()
    late.clear()
    used.clear()


def worst():
    beat()  # what has lasted until now
    return {"late": max(late), "used": max(used), "beats": len(late)}


def module(name):
    return sys.modules[f"{NAME}.blender.{name}"]


def undo_a_cube():
    """What an artist does next, and takes back."""
    with bpy.context.temp_override(**view()):
        bpy.ops.mesh.primitive_cube_add("INVOKE_DEFAULT", True)
    undo("undo")


def say(what, **values):
    with Path(SETTINGS["log"]).open("a") as log:
        log.write(json.dumps({"what": what, **values}) + "\n")


def view():
    """Context members of the first 3D view."""
    window = bpy.context.window_manager.windows[0]
    area = next(area for area in window.screen.areas if area.type == "VIEW_3D")
    return {"window": window, "area": area, "region": next(r for r in area.regions if r.type == "WINDOW")}


def generate(behaviour, resolution=30, image="", **settings):
    module("preferences").model_name = lambda: behaviour
    with bpy.context.temp_override(**view()):
        bpy.ops.dif3d.generate("INVOKE_DEFAULT", resolution=resolution, image=image, **settings)
    return module("handlers").jobs.tasks[-1]


def results():
    return sorted(obj.name for obj in bpy.data.objects if "dif3d_output" in obj)


def undo(operator):
    with bpy.context.temp_override(**view()):
        getattr(bpy.ops.ed, operator)()


def duplicate_while(behaviour):
    """Duplicate the active object and move it about until the result of a job waits; drop it then."""
    active = bpy.context.view_layer.objects.active
    with bpy.context.temp_override(**view()):
        bpy.ops.object.select_all(action="DESELECT")
    active.select_set(True)
    simulate = view()["window"].event_simulate
    simulate(type="MOUSEMOVE", value="NOTHING", x=450, y=300)
    yield 0.2
    for value in ("PRESS", "RELEASE"):
        simulate(type="D", value=value, shift=True, x=450, y=300)
    yield 0.3
    running = [tool.bl_idname for tool in view()["window"].modal_operators]
    task = generate(behaviour)
    while task.state not in ("ready", "done"):
        yield 0.05
    yield 0.5
    waited = task.state
    for value in ("PRESS", "RELEASE"):
        simulate(type="RET", value=value, x=450, y=300)
    while module("handlers").jobs.busy:
        yield 0.05
    return {"running": running, "waited": waited, "state": task.state}


def generate_while_away(windows):
    """Generate all there is while these windows show another scene; undo it. What was found."""
    asked = view()["window"].scene
    task = generate("busy", make_gaussians=True, make_texture=True, texture_size="1024")
    for window in windows:
        window.scene = bpy.data.scenes["elsewhere"]
    while module("handlers").jobs.busy:
        yield 0.05
    for window in windows:
        window.scene = asked
    mesh, cloud = (bpy.data.objects[name] for name in task.objects)
    found = {"state": task.state, "hidden": cloud.hide_get(view_layer=asked.view_layers[0])}
    found |= {"baked": bool(mesh.data.uv_layers), "warnings": task.result.report["warnings"]}
    yield 0.5
    undo("undo")
    yield 0.3
    return found | {"undone": not any(name in bpy.data.objects for name in task.objects)}


def steps():
    jobs = module("handlers").jobs
    module("jobs").EngineProcess = functools.partial(module("jobs").EngineProcess, worker=SETTINGS["worker"])
    view()["area"].spaces.active.show_region_ui = True
    yield 1.5
    settings, file = bpy.context.scene.dif3d, Path(SETTINGS["picture"])
    with bpy.context.temp_override(**view()):  # as when a file is dropped; Blender asks what to do with a picture
        bpy.ops.wm.drop_import_file("INVOKE_DEFAULT", directory=str(file.parent), files=[{"name": file.name}])
    yield 1
    for value in ("PRESS", "RELEASE"):
        view()["window"].event_simulate(type="G", value=value, x=450, y=300)  # for "Generate 3D Model from Picture"
    yield 1.5
    sidebar = next(region for region in view()["area"].regions if region.type == "UI")
    say("dropped", filepath=settings.filepath, tab=sidebar.active_panel_category)
    undo_a_cube()
    yield 0.3
    settings = bpy.context.scene.dif3d
    say("dropped and undone", filepath=settings.filepath)
    settings.filepath = ""
    bpy.context.window_manager.clipboard = file.as_uri()
    with bpy.context.temp_override(**view()):
        bpy.ops.ed.undo_push(message="Without a picture")
        bpy.ops.dif3d.paste_picture("INVOKE_DEFAULT", True)  # with its undo step, as a click
    undo_a_cube()
    yield 0.3
    settings = bpy.context.scene.dif3d
    with bpy.context.temp_override(**view()):
        bpy.context.window_manager.clipboard = ""
        kinds = [area.ui_type for area in view()["window"].screen.areas]
        empty = ""
        try:
            bpy.ops.dif3d.paste_picture()
        except RuntimeError as error:
            empty = str(error)
        program = Path(bpy.app.tempdir, "xclip")  # stands for the desktop's, with this picture on its clipboard
        program.write_text(f"#!/bin/sh\ncat '{file}'\n")
        program.chmod(0o755)
        os.environ["PATH"] += f":{program.parent}"
        bpy.ops.dif3d.paste_picture()
    image = settings.image
    pasted = {"name": image.name, "size": list(image.size), "packed": image.packed_file is not None}
    unchanged = kinds == [area.ui_type for area in view()["window"].screen.areas]
    say("pasted", filepath=settings.filepath, empty=empty, **pasted, source=settings.source, unchanged=unchanged)
    settings.source = "file"
    for menu in ("DIF3D_MT_generate", "DIF3D_MT_result"):
        with bpy.context.temp_override(**view()):
            bpy.ops.wm.call_menu(name=menu)
        yield 0.5
    bpy.ops.preferences.addon_show(module=NAME)
    yield 1
    with bpy.context.temp_override(window=bpy.context.window_manager.windows[-1]):
        bpy.ops.wm.window_close()
    yield 0.5
    module("preferences").get().python_source = "existing"
    module("preferences").get().python = SETTINGS["python"]
    while module("handlers").inspection.running:
        yield 0.1
    say("inspection", error=module("handlers").inspection.error)

    # without a picture it is asked for, beside the settings that the job will have
    settings.filepath, settings.quality, settings.resolution, settings.face_limit = "", "draft", 77, 500
    with bpy.context.temp_override(**view()):
        bpy.ops.dif3d.generate("INVOKE_DEFAULT", smoothing=3)
    yield 1
    browser = bpy.context.window_manager.windows[-1]
    area = next(area for area in browser.screen.areas if area.type == "FILE_BROWSER")
    asked = area.spaces.active.active_operator
    values = {name: getattr(asked, name) for name in ("quality", "resolution", "face_limit", "smoothing")}
    say("asked", values=values)
    with bpy.context.temp_override(window=browser, area=area):
        bpy.ops.file.cancel()
    for name in ("quality", "resolution", "face_limit"):
        settings.property_unset(name)
    settings.filepath = str(file)
    yield 2

    # what drawing the panel costs on this machine, without a job
    listen()
    for _ in range(8):
        module("handlers")._redraw()
        yield 0.3
    drawing = worst()["late"]
    limit = max(STALL, 2 * drawing)

    # real jobs from the click up to the import: an engine that starts, loads torch, and computes on every core
    fake, bring_in = module("jobs").EngineProcess, module("jobs")._bring_in
    rounds = []
    module("jobs")._bring_in = lambda task: rounds.append(worst())
    module("jobs").EngineProcess = module("engine_process").EngineProcess
    while not rounds or (len(rounds) < ROUNDS and rounds[-1]["late"] > limit):
        listen()
        task = generate(SETTINGS["model"], resolution=128)
        while jobs.busy:
            yield 0.05
        jobs.close()
    say("stalls", drawing=drawing, limit=limit, rounds=rounds, state=task.state, message=task.message)
    module("jobs").EngineProcess = fake

    # the same for a large painted image, which only Blender's memory has
    image, rounds = bpy.data.images.new("painted", 4096, 4096), []
    image.pixels.foreach_set(array.array("f", [0.5]) * (4096 * 4096 * 4))
    yield 3  # the view is drawn again for the image, several times
    while not rounds or (len(rounds) < ROUNDS and rounds[-1]["late"] > limit):
        listen()
        task = generate("ok", image=image.name)
        while jobs.busy:
            yield 0.05
    written = Path(task.job.picture).exists()
    say("painted", limit=limit, rounds=rounds, state=task.state, written=written, dirty=image.is_dirty)
    bpy.data.images.remove(image)

    # the import of a large result
    task = generate("busy", resolution=550)
    took = []

    def timed(task):
        began = time.perf_counter(), time.thread_time()
        bring_in(task)
        took.extend((time.perf_counter() - began[0], time.thread_time() - began[1]))

    module("jobs")._bring_in = timed
    while jobs.busy:
        yield 0.05
    module("jobs")._bring_in = bring_in
    say("import", state=task.state, message=task.message, objects=results(), seconds=took[0], used=took[1])
    yield 1
    shading = view()["area"].spaces.active.shading
    say("selected", active=bpy.context.view_layer.objects.active.name, shown=shading.color_type)

    # another file while a job runs
    task = generate("busy")
    bpy.ops.wm.read_homefile(app_template="")
    while jobs.busy:
        yield 0.05
    say("other file", state=task.state, message=task.message, objects=results(), folder=Path(task.job.output).exists())
    bpy.context.scene.dif3d.filepath = SETTINGS["picture"]

    # undo and redo while a job runs: no crash; and a result is an undo step of its own
    generate("ok")
    while jobs.busy:
        yield 0.05
    task = generate("slow")
    while task.stage != "Thinking":
        yield 0.02
    undo("undo")
    yield 0.3
    undone = results()
    undo("redo")
    yield 0.3
    redone = results()
    jobs.cancel()
    generate("ok")
    while jobs.busy:
        yield 0.05
    made = results()
    undo("undo")
    yield 0.3
    say("undo", undone=undone, redone=redone, made=made, after=results())

    # an import waits for the artist's tool
    with bpy.context.temp_override(**view()):
        bpy.ops.object.mode_set(mode="EDIT")
    task = generate("ok")
    while task.state != "ready":
        yield 0.05
    yield 0.5
    waited = task.state
    with bpy.context.temp_override(**view()):
        bpy.ops.object.mode_set(mode="OBJECT")
    while jobs.busy:
        yield 0.05
    say("edit mode", waited=waited, state=task.state)

    # and until what Shift+D duplicated is put down
    say("duplicate", **(yield from duplicate_while("ok")))

    # the scene that asked is shown in the other window only, then in none
    with bpy.context.temp_override(**view()):
        bpy.ops.wm.window_new_main()
        bpy.data.scenes.new("elsewhere")
        bpy.ops.ed.undo_push(message="Another scene")
    windows = list(bpy.context.window_manager.windows)
    yield 0.5
    say("other window", **(yield from generate_while_away(windows[:1])))
    say("no window", **(yield from generate_while_away(windows)))
    with bpy.context.temp_override(window=bpy.context.window_manager.windows[-1]):
        bpy.ops.wm.window_close()
    yield 0.5

    # cancel
    task = generate("stubborn")
    while task.stage != "Thinking":
        yield 0.02
    yield 1.5
    began, ended = time.monotonic(), []
    with bpy.context.temp_override(**view()):
        bpy.ops.dif3d.cancel()
    returned = time.monotonic() - began
    # this window's own timers may come late
    watch = threading.Thread(target=lambda: (jobs.engine.wait_stopped(9), ended.append(time.monotonic() - began)))
    watch.start()
    while jobs.busy or watch.is_alive():
        yield 0.02
    left = jobs.warm or Path(task.job.output).exists()
    say("cancel", returned=returned, seconds=ended[0], state=task.state, left=left)

    # a killed engine, and the next click
    task = generate("kill")
    while jobs.busy:
        yield 0.05
    say("killed", state=task.state, message=task.message)
    yield 1
    task = generate("ok")
    while jobs.busy:
        yield 0.05
    say("after", state=task.state)

    # the end of Blender in the middle of a job
    task = generate("slow")
    while task.stage != "Thinking":
        yield 0.02
    engine, close = jobs.engine._process.pid, jobs.close

    def timed_close():
        say("quit", engine=engine, at=time.time())  # Blender has saved quit.blend and ends its extensions
        close()

    jobs.close = timed_close
    with bpy.context.temp_override(**view()):
        bpy.ops.wm.quit_blender()


_steps = steps()


def step():
    try:
        return next(_steps)
    except StopIteration:
        return None
    except Exception:
        say("error", traceback=traceback.format_exc())
        os._exit(9)


bpy.app.timers.register(step, first_interval=1.0, persistent=True)
bpy.app.timers.register(beat, persistent=True)
