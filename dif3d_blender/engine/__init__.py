"""The engine: a picture in, arrays and files out. It never imports `bpy` and runs in any Python 3.11 or newer.

`from dif3d_blender.engine import TSR, Gaussian, Runtime, Timer` loads each name when it is first asked for, so that a
script that only needs one of them does not pay for the imports of all.
"""

import importlib

_HOME = {"TSR": ".tsr", "Gaussian": ".gaussian", "Runtime": ".runtime", "Timer": ".runtime"}
__all__ = ["TSR", "Gaussian", "Runtime", "Timer"]


def __getattr__(name: str):
    if name in _HOME:
        return getattr(importlib.import_module(_HOME[name], __name__), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
