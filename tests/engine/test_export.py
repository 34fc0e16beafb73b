"""Mesh files are read back by other people's readers and compared with what went in."""

import errno
import json
import struct
import sys
from pathlib import Path

import numpy as np
import pytest
import trimesh
from PIL import Image

from dif3d_blender.engine import export
from dif3d_blender.engine.errors import DIF3DError


@pytest.fixture
def wedge():
    """A mesh without symmetry in the field frame: its tip points toward the camera (+x), its red corner is high."""
    vertices = np.array([[0.6, 0, -0.5], [-0.2, -0.3, -0.5], [-0.2, 0.3, -0.5], [-0.2, 0.1, 0.7]], dtype=np.float32)
    faces = np.array([[0, 2, 3], [0, 3, 1], [0, 1, 2], [1, 3, 2]], dtype=np.int32)
    colors = np.array([[0.5, 0.5, 0.5], [0, 1, 0], [0.02, 0.02, 0.02], [1, 0, 0]], dtype=np.float32)
    normals = vertices - vertices.mean(axis=0)
    normals /= np.linalg.norm(normals, axis=1, keepdims=True)
    return vertices, faces, colors, normals


EXPECTED = {"glb": ("y", lambda x, y, z: (y, z, x)), "obj": ("y", lambda x, y, z: (y, z, x))}
EXPECTED |= {"ply": ("z", lambda x, y, z: (y, -x, z)), "stl": ("z", lambda x, y, z: (y, -x, z))}


@pytest.mark.parametrize("file_format", export.MESH_FORMATS)
def test_frame_height_floor_and_orientation(tmp_path, wedge, file_format):
    vertices, faces, colors, normals = wedge
    path = tmp_path / f"mesh.{file_format}"
    export.export_mesh(path, vertices, faces, colors, normals, size=3.0)
    read = trimesh.load(path, force="mesh", process=False)
    if file_format == "stl":
        read.merge_vertices()
    up, turn = EXPECTED[file_format]
    scale = 3.0 / 1.2
    wanted = np.stack(turn(*(vertices * scale).T), axis=1)
    axis = {"y": 1, "z": 2}[up]
    wanted[:, axis] -= wanted[:, axis].min()
    distance = np.linalg.norm(read.vertices[:, None] - wanted[None], axis=2)
    assert distance.min(axis=1).max() < 1e-5 and distance.min(axis=0).max() < 1e-5
    assert read.volume > 0, "faces turned inward"
    assert np.isclose(read.vertices[:, axis].min(), 0) and np.isclose(np.ptp(read.vertices[:, axis]), 3.0)


@pytest.mark.parametrize("file_format", ["obj", "ply"])
def test_colours_stay_srgb(tmp_path, wedge, file_format):
    vertices, faces, colors, normals = wedge
    path = tmp_path / f"mesh.{file_format}"
    export.export_mesh(path, vertices, faces, colors, normals)
    read = trimesh.load(path, force="mesh", process=False)
    assert np.abs(read.visual.vertex_colors[:, :3] / 255.0 - colors).max() < 1 / 255


def read_glb(path):
    content = path.read_bytes()
    magic, version, total = struct.unpack_from("<4sII", content)
    assert (magic, version, total) == (b"glTF", 2, len(content))
    text_length = struct.unpack_from("<I", content, 12)[0]
    tree = json.loads(content[20 : 20 + text_length])
    binary = content[20 + text_length + 8 :]
    assert tree["buffers"][0]["byteLength"] == len(binary)

    def accessor(index):
        blob = tree["accessors"][index]
        view = tree["bufferViews"][blob["bufferView"]]
        dtype = {5126: "<f4", 5123: "<u2", 5125: "<u4"}[blob["componentType"]]
        raw = np.frombuffer(binary, dtype, offset=view["byteOffset"], count=view["byteLength"] // int(dtype[2]))
        return raw.reshape(blob["count"], -1)

    return tree, accessor


def test_glb_colours_are_linear_and_precise_in_the_dark(tmp_path, wedge):
    vertices, faces, colors, normals = wedge
    export.export_mesh(tmp_path / "mesh.glb", vertices, faces, colors, normals)
    tree, accessor = read_glb(tmp_path / "mesh.glb")
    primitive = tree["meshes"][0]["primitives"][0]
    linear = accessor(primitive["attributes"]["COLOR_0"])[:, :3] / 65535.0
    assert np.isclose(linear[0, 0], 0.2140, atol=1e-4)  # the known linear value of sRGB 0.5
    assert np.isclose(linear[2, 0], 0.02 / 12.92, rtol=0.01), "dark colours need more than 8 bits"
    assert np.array_equal(accessor(primitive["indices"]).reshape(-1, 3), faces)
    lengths = np.linalg.norm(accessor(primitive["attributes"]["NORMAL"]), axis=1)
    assert np.allclose(lengths, 1.0, atol=1e-5)
    material = tree["materials"][primitive["material"]]
    assert material["pbrMetallicRoughness"]["metallicFactor"] == 0.0


def test_normals_turn_with_the_mesh(tmp_path, wedge):
    vertices, faces, colors, _ = wedge
    normals = np.tile(np.array([[1.0, 0.0, 0.0]]), (4, 1))  # toward the camera
    export.export_mesh(tmp_path / "mesh.glb", vertices, faces, colors, normals)
    export.export_mesh(tmp_path / "mesh.ply", vertices, faces, colors, normals)
    tree, accessor = read_glb(tmp_path / "mesh.glb")
    assert np.allclose(accessor(tree["meshes"][0]["primitives"][0]["attributes"]["NORMAL"]), [0, 0, 1])
    read = trimesh.load(tmp_path / "mesh.ply", process=False)
    assert np.allclose(read.vertex_normals, [0, -1, 0])


def test_bad_meshes_and_formats(tmp_path, wedge):
    vertices, faces, _, _ = wedge
    with pytest.raises(DIF3DError, match="glb, obj, ply, stl"):
        export.export_mesh(tmp_path / "mesh.fbx", vertices, faces)
    with pytest.raises(DIF3DError, match="no faces"):
        export.export_mesh(tmp_path / "mesh.obj", vertices, faces[:0])
    with pytest.raises(DIF3DError, match="not finite"):
        export.export_mesh(tmp_path / "mesh.obj", vertices * np.nan, faces)
    assert not list(tmp_path.iterdir())


def test_atomic_path_replaces_only_on_success(tmp_path):
    final = tmp_path / "new" / "file.txt"
    with export.atomic_path(final) as temporary:
        assert temporary.parent == final.parent and temporary.suffix == ".txt"
        temporary.write_text("first")
        assert not final.exists()
    assert final.read_text() == "first"
    with pytest.raises(ZeroDivisionError), export.atomic_path(final) as temporary:
        temporary.write_text("half")
        raise ZeroDivisionError
    assert final.read_text() == "first"
    assert list(final.parent.iterdir()) == [final]


def test_atomic_path_names_the_folder_that_cannot_be_written(tmp_path):
    (tmp_path / "file").write_text("")
    for final in (tmp_path / "file" / "mesh.obj", tmp_path / "file" / "deeper" / "mesh.obj"):
        with pytest.raises(DIF3DError, match=str(tmp_path / "file")), export.atomic_path(final) as temporary:
            temporary.write_text("x")
    with pytest.raises(DIF3DError, match=f"{tmp_path}: the disk is full"), export.atomic_path(tmp_path / "a.obj"):
        raise OSError(errno.ENOSPC, "No space left on device")
    (tmp_path / "folder.obj").mkdir()
    expected = pytest.raises(DIF3DError, match="there is a folder of that name")
    with expected, export.atomic_path(tmp_path / "folder.obj") as temporary:
        temporary.write_text("x")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full: only Linux has it")
def test_an_array_that_does_not_fit_on_the_disk(tmp_path):
    """numpy's own error does not say that the disk is full."""
    with pytest.raises(DIF3DError, match="the disk is full"), export.atomic_path(tmp_path / "a.npy") as temporary:
        temporary.symlink_to("/dev/full")
        np.save(temporary, np.zeros(100_000))
    assert not list(tmp_path.iterdir())


def test_other_errors_are_not_mistaken_for_a_full_disk(tmp_path):
    with pytest.raises(FileNotFoundError), export.atomic_path(tmp_path / "a.obj"):
        raise FileNotFoundError(errno.ENOENT, "an input file is missing")
    with pytest.raises(PermissionError), export.atomic_path(tmp_path / "a.obj"):
        raise PermissionError(errno.EACCES, "an input file can't be read", "/elsewhere/input.png")


def test_png_depths(tmp_path):
    export.save_png(tmp_path / "depth.png", np.arange(12, dtype=np.uint16).reshape(3, 4) * 5000)
    assert np.array_equal(np.asarray(Image.open(tmp_path / "depth.png")).ravel(), np.arange(12) * 5000)
    export.save_png(tmp_path / "rgba.png", np.full((2, 2, 4), 0.5, dtype=np.float32))
    assert Image.open(tmp_path / "rgba.png").getpixel((0, 0)) == (128, 128, 128, 128)


def test_video_round_trip_with_odd_sizes(tmp_path):
    import imageio_ffmpeg

    frames = [np.full((33, 47, 3), level, dtype=np.float32) for level in (0.1, 0.5, 0.9)]
    export.save_video(iter(frames), tmp_path / "render.mp4", fps=10)
    reader = imageio_ffmpeg.read_frames(str(tmp_path / "render.mp4"))
    facts = next(reader)
    read = [np.frombuffer(frame, np.uint8) for frame in reader]
    assert facts["size"] == (48, 34) and facts["codec"] == "h264" and facts["pix_fmt"].startswith("yuv420p")
    assert len(read) == 3
    for frame, level in zip(read, (0.1, 0.5, 0.9), strict=True):
        assert abs(frame.mean() / 255 - level) < 0.03


def test_video_of_nothing_or_of_mixed_sizes(tmp_path):
    with pytest.raises(DIF3DError, match="no frames"):
        export.save_video([], tmp_path / "render.mp4")
    with pytest.raises(DIF3DError, match=r"Frame 1 of render\.mp4 is 8×8"):
        export.save_video([np.zeros((16, 16, 3)), np.zeros((8, 8, 3))], tmp_path / "render.mp4")
    assert not list(tmp_path.iterdir())


@pytest.mark.skipif(sys.platform == "win32", reason="the stand-ins for ffmpeg are shell scripts")
@pytest.mark.parametrize(
    ("program", "words"),
    [
        ("exit 1", "ffmpeg could not write"),
        ('cat >/dev/null; for o; do :; done; printf broken >"$o"', "did not finish"),
    ],
)
def test_an_ffmpeg_that_fails_leaves_no_video(tmp_path, monkeypatch, program, words):
    stand_in = tmp_path / "ffmpeg"
    stand_in.write_text(f'#!/bin/sh\n[ "$1" = -version ] && exec echo ffmpeg version 7\n{program}\n')
    stand_in.chmod(0o755)
    monkeypatch.setattr("imageio_ffmpeg.get_ffmpeg_exe", lambda: str(stand_in))
    monkeypatch.setattr("imageio_ffmpeg._io.get_ffmpeg_exe", lambda: str(stand_in))
    with pytest.raises(DIF3DError, match=words):
        export.save_video([np.zeros((256, 256, 3))] * 20, tmp_path / "video" / "render.mp4")
    assert not list((tmp_path / "video").iterdir())


def test_frames_of_a_longer_row_do_not_stay(tmp_path):
    export.save_pictures(tmp_path, [np.zeros((4, 4, 3))] * 5)
    others = [tmp_path / name for name in ("render_000_retouched.png", "render_0001.png", "render_mine.png")]
    for path in others:
        path.touch()
    paths = export.save_pictures(tmp_path, (np.ones((4, 4, 3)) for _ in range(2)))
    assert sorted(tmp_path.iterdir()) == sorted([*paths, *others])


def test_a_turntable_without_a_video_says_why_and_keeps_none_of_another_run(tmp_path, monkeypatch):
    warnings = []
    frames = [np.full((32, 32, 3), grey) for grey in (0.2, 0.8)]
    paths, video = export.save_turntable(tmp_path, iter(frames), warnings)
    assert sorted(tmp_path.iterdir()) == sorted([*paths, video])
    assert not warnings
    monkeypatch.setitem(sys.modules, "imageio_ffmpeg", None)
    paths, video = export.save_turntable(tmp_path, iter(frames), warnings)
    assert video is None
    assert sorted(tmp_path.iterdir()) == paths
    assert "pip install imageio-ffmpeg" in warnings[0]


def test_gradio_turn_is_triposr_s():
    mesh = trimesh.creation.box()
    mesh.vertices = np.array([[1.0, 2.0, 3.0]])
    rotation = trimesh.transformations.rotation_matrix
    reference = np.array([1.0, 2.0, 3.0, 1.0])
    reference = rotation(np.pi / 2, [0, 1, 0]) @ rotation(-np.pi / 2, [1, 0, 0]) @ reference
    mesh = trimesh.Trimesh([[1.0, 2.0, 3.0]], process=False)
    assert np.allclose(export.to_gradio_3d_orientation(mesh).vertices[0], reference[:3])
