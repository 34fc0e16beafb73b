"""The settings that the panel shows, the operators take from Python, and a job is made of.

Defaults come from `messages.Job`, the one place where they live.
"""

import bpy
from bpy.props import (
    BoolProperty,
    EnumProperty,
    FloatProperty,
    IntProperty,
    PointerProperty,
    StringProperty,
)

from ..messages import Job
from . import picture

# Newer Blenders let the artist keep a path relative to the .blend only where a property says that it takes such paths;
# older ones always do, and refuse the word for it.
_RELATIVE = (
    {"PATH_SUPPORTS_BLEND_RELATIVE"}
    if "is_path_supports_blend_relative" in bpy.types.Property.bl_rna.properties
    else set()
)

PRESETS = {  # resolution, precision
    "draft": (128, "auto"),
    "standard": (Job.resolution, Job.precision),
    "high": (384, "float32"),
}


def _apply_preset(settings, _context):
    settings.resolution, settings.precision = PRESETS[settings.quality]


class JobSettings:
    """Settings that the scene keeps and that the operators of the same names take."""

    make_mesh: BoolProperty(
        name="Mesh",
        description="Add the object as a mesh with vertex colors and a material that shows them",
        default=True,
    )
    make_gaussians: BoolProperty(
        name="Gaussians",
        description="Add a Gaussian point cloud: the picture's own pixels in front, the model's guess behind",
        default=False,
    )
    make_frames: BoolProperty(
        name="Frames",
        description="Render a turntable with the engine's own renderer into the output folder: pictures and a video",
        default=False,
    )
    make_texture: BoolProperty(
        name="Texture",
        description="Unwrap the mesh and give it a texture with the picture's own pixels, and a normal map that keeps "
        "the detail of the full mesh",
        default=False,
    )
    project: BoolProperty(
        name="Project Picture",
        description="Take the picture's own pixels for what it shows of the surface, on mesh, texture and frames. "
        "Off: the model's colors only",
        default=Job.project,
    )
    quality: EnumProperty(
        name="Quality",
        description="How fine the mesh is and how exactly it is computed",
        items=(
            ("draft", "Draft", f"Resolution {PRESETS['draft'][0]}: a first look"),
            ("standard", "Standard", f"Resolution {PRESETS['standard'][0]}: for most uses"),
            ("high", "High", f"Resolution {PRESETS['high'][0]}, full precision: slower, more memory"),
        ),
        default="standard",
        update=_apply_preset,
    )
    resolution: IntProperty(
        name="Resolution",
        description="Samples along each side of the box that the surface is looked for in. Twice as many find detail "
        "half as large and make about four times as many faces",
        default=Job.resolution,
        min=16,
        max=1024,
        soft_max=512,
        step=16,
    )
    threshold: FloatProperty(
        name="Threshold",
        description="Density at the surface. Lower makes the object thicker and keeps thin parts; higher: leaner",
        default=Job.threshold,
        min=0.01,
        soft_min=1,
        soft_max=100,
        max=10000,
    )
    foreground_ratio: FloatProperty(
        name="Foreground Ratio",
        description="How much of the frame the subject fills after it was cut out. The network learned with about 0.85",
        default=Job.foreground_ratio,
        min=0.3,
        max=1.0,
        subtype="FACTOR",
    )
    background: EnumProperty(
        name="Background",
        description="How the subject is cut out of the picture",
        items=(
            ("auto", "Automatic", "The picture's own transparency; else rembg where its model is here; else by color"),
            ("keep", "Keep", "Take the picture as it is, background and all"),
            ("rembg", "rembg", "Cut out with the U²-Net model of rembg"),
            ("plain", "Plain", "Cut out by the color of a plain or nearly plain background"),
        ),
        default=Job.background,
    )
    size: FloatProperty(
        name="Size",
        description="Height of the object",
        default=Job.size,
        min=0.001,
        soft_max=10,
        subtype="DISTANCE",
        unit="LENGTH",
    )
    smoothing: IntProperty(
        name="Smoothing",
        description="Steps that take the ridges of the samples off the surface and keep its volume; 0 for none",
        default=Job.smoothing,
        min=0,
        soft_max=50,
    )
    face_limit: IntProperty(
        name="Face Limit",
        description="Reduce the mesh to at most this many faces; 0 keeps all",
        default=Job.face_limit,
        min=0,
        soft_max=500_000,
        step=1000,
    )
    chunk_size: IntProperty(
        name="Chunk Size",
        description="Points that the network is asked for at once. Fewer need less memory and take longer; 0 lets the "
        "engine choose from the memory that is free",
        default=Job.chunk_size,
        min=0,
        soft_max=1_000_000,
        step=1024,
    )
    device: EnumProperty(
        name="Device",
        description="What computes",
        items=(
            ("auto", "Automatic", "The GPU where there is one that fits, else the CPU"),
            ("cpu", "CPU", "The processor: always works"),
            ("cuda", "CUDA", "An NVIDIA GPU"),
            ("mps", "Metal", "The GPU of an Apple computer"),
        ),
        default=Job.device,
    )
    precision: EnumProperty(
        name="Precision",
        description="Numbers that the network computes with",
        items=(
            ("auto", "Automatic", "16 bit where this machine is faster with it and the result stays the same"),
            ("float32", "Full", "32 bit"),
            ("bfloat16", "bfloat16", "16 bit with a wide range: half the memory"),
            ("float16", "float16", "16 bit: half the memory, for GPUs"),
        ),
        default=Job.precision,
    )
    frame_count: IntProperty(
        name="Frames",
        description="Pictures of one turn around the object",
        default=Job.frames,
        min=2,
        soft_max=240,
        max=2000,
    )
    frame_size: IntProperty(
        name="Frame Size",
        description="Width and height of a frame in pixels",
        default=Job.frame_size,
        min=32,
        soft_max=1024,
        max=4096,
        subtype="PIXEL",
    )
    texture_size: EnumProperty(
        name="Texture Size",
        description="Width and height of the texture in pixels",
        items=(("1024", "1K", "1024 × 1024"), ("2048", "2K", "2048 × 2048"), ("4096", "4K", "4096 × 4096")),
        default="2048",
    )


class DIF3D_PG_settings(bpy.types.PropertyGroup, JobSettings):
    """What the panel shows; one for each scene."""

    source: EnumProperty(
        name="Source",
        description="Where the picture comes from",
        items=(
            ("file", "File", "A picture on disk"),
            ("image", "Image", "An image in this .blend: painted, pasted or packed"),
        ),
        default="file",
    )
    filepath: StringProperty(
        name="Picture",
        description="The picture to make a model from",
        subtype="FILE_PATH",
        options={"ANIMATABLE", *_RELATIVE},
        update=picture.forget_preview,
    )
    image: PointerProperty(
        name="Image",
        description="The image of this .blend to make a model from",
        type=bpy.types.Image,
        update=picture.make_preview,
    )


SETTINGS = tuple(JobSettings.__annotations__)


def register() -> None:
    bpy.utils.register_class(DIF3D_PG_settings)
    bpy.types.Scene.dif3d = PointerProperty(type=DIF3D_PG_settings)


def unregister() -> None:
    del bpy.types.Scene.dif3d
    bpy.utils.unregister_class(DIF3D_PG_settings)
