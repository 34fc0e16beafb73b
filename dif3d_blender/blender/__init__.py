"""Everything that touches `bpy`. It never imports torch.

Importing this package imports nothing of Blender: `engine_process` and `environment` are plain Python that the scripts
use too, and the rest is loaded by `register()`.
"""

EXTENSION = __package__.rpartition(".")[0]  # the name under which Blender knows the extension


def register() -> None:
    """Make the extension's classes known to Blender."""
    from . import handlers, menus, operators, panels, preferences, properties, retopology, setup_operators, turntable_ui

    parts = (properties, preferences, operators, setup_operators, panels, turntable_ui, retopology, menus, handlers)
    for module in parts:
        module.register()


def unregister() -> None:
    """End the engine and everything else that runs, and take the classes back."""
    from . import handlers, menus, operators, panels, preferences, properties, retopology, setup_operators, turntable_ui

    parts = (properties, preferences, operators, setup_operators, panels, turntable_ui, retopology, menus, handlers)
    for module in reversed(parts):
        module.unregister()
