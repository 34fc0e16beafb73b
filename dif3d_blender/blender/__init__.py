"""Everything that touches `bpy`. It never imports torch.

Importing this package imports nothing of Blender: `engine_process` and `environment` are plain Python that the scripts
use too, and the rest is loaded by `register()`.
"""
