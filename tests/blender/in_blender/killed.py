"""Runs inside a Blender without a window: starts a job that takes long, and says the engine's process number.

Settings as in headless.py, and `worker`: the engine to run in place of ours.
"""

import functools
import json
import os
import sys
import threading

import bpy

NAME = "bl_ext.user_default.dif3d_blender"
SETTINGS = json.loads(os.environ["DIF3D_TEST"])

jobs = sys.modules[f"{NAME}.blender.jobs"]
handlers = sys.modules[f"{NAME}.blender.handlers"]
jobs.EngineProcess = functools.partial(jobs.EngineProcess, worker=SETTINGS["worker"])
preferences = sys.modules[f"{NAME}.blender.preferences"]
preferences.model_name = lambda: "slow"
preferences.get().python_source, preferences.get().python = "existing", SETTINGS["python"]


def say():
    while handlers.jobs.engine is None or handlers.jobs.engine._stage != "Thinking":
        pass
    print("ENGINE", handlers.jobs.engine._process.pid, flush=True)


threading.Thread(target=say, daemon=True).start()
bpy.ops.dif3d.generate(filepath=SETTINGS["picture"])
