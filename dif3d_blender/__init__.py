"""DIF3D for Blender: one picture in, a 3D model out, on the artist's own machine.

Importing this package imports neither `bpy` nor torch: the engine and the Blender side each load what they need.
"""


def register() -> None:
    """Called by Blender when the extension is enabled."""
    from . import blender

    blender.register()


def unregister() -> None:
    """Called by Blender when the extension is disabled, and on exit."""
    from . import blender

    blender.unregister()
