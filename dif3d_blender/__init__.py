"""DIF3D for Blender: one picture in, a 3D model out, on the artist's own machine.

Importing this package imports neither `bpy` nor torch: the engine and the Blender side each load what they need.
"""

from pathlib import Path


def version() -> str:
    """The version number, from the one place that has it: `blender_manifest.toml`.

    It lies in this folder where the package is installed as an extension, and beside it in the repository.
    """
    import tomllib

    here = Path(__file__).resolve().parent
    manifest = next(f / "blender_manifest.toml" for f in (here, here.parent) if (f / "blender_manifest.toml").exists())
    return tomllib.loads(manifest.read_text(encoding="utf-8"))["version"]


def register() -> None:
    """Called by Blender when the extension is enabled."""
    from . import blender

    blender.register()


def unregister() -> None:
    """Called by Blender when the extension is disabled, and on exit."""
    from . import blender

    blender.unregister()
