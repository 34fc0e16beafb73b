"""The picture of a job: files, and images of the .blend in every state they can be in."""

import io
import time
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

bpy = pytest.importorskip("bpy")

from dif3d_blender.blender import clipboard, picture, stored  # noqa: E402
from dif3d_blender.engine.errors import DIF3DError  # noqa: E402


@pytest.fixture(autouse=True)
def empty_file():
    bpy.ops.wm.read_homefile(use_empty=True, use_factory_startup=True)


@pytest.fixture
def pixels():
    return np.random.default_rng(0).integers(0, 256, (6, 9, 4), np.uint8)


@pytest.fixture
def on_disk(tmp_path, pixels):
    path = tmp_path / "on disk.png"
    Image.fromarray(pixels).save(path)
    return path


def made(image, folder):
    """The file of an image, made where it was not there."""
    source = picture.from_image(image, folder)
    if isinstance(source, Path):
        return source
    assert not source.path.exists(), "making it is for another thread"
    take(source)
    source.write()
    return source.path


def take(copy):
    deadline = time.monotonic() + 5
    while not copy.ready and time.monotonic() < deadline:
        time.sleep(0.001)
    copy.take()


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(DIF3DError, match="moved or deleted"):
        picture.from_file(str(tmp_path / "gone.png"))
    with pytest.raises(DIF3DError, match="Choose a picture"):
        picture.from_file("")


def test_a_path_that_no_disk_takes_is_a_missing_file(tmp_path):
    """As one in a folder that is closed to us: pathlib raises there, and would take the panel with it."""
    path = tmp_path / ("a whole paragraph of a web page" * 20)
    with pytest.raises(DIF3DError, match="no picture at"):
        picture.from_file(str(path))
    image = bpy.data.images.new("far away", 4, 4)
    image.source, image.filepath = "FILE", str(path)
    with pytest.raises(DIF3DError, match="cannot be read"):
        picture.from_image(image, tmp_path)
    picture.register()
    try:
        assert not picture.preview_icon(SimpleNamespace(source="file", filepath=str(path)))
    finally:
        picture.unregister()
    assert clipboard._path(str(path)) is None
    assert not stored.is_stored(bpy.data.meshes.new("mesh"), path)


def test_an_image_of_a_file_is_that_file(on_disk, tmp_path):
    image = bpy.data.images.load(str(on_disk))
    assert picture.from_image(image, tmp_path / "out") == on_disk
    assert not (tmp_path / "out").exists()


def test_a_packed_image_keeps_its_bytes_even_when_its_file_is_gone(on_disk, tmp_path):
    original = on_disk.read_bytes()
    image = bpy.data.images.load(str(on_disk))
    image.pack()
    on_disk.unlink()
    path = made(image, tmp_path / "out")
    assert path.suffix == ".png" and path.read_bytes() == original


def test_a_painted_image_is_written_as_it_looks(on_disk, tmp_path, pixels):
    image = bpy.data.images.load(str(on_disk))
    image.pixels.foreach_set(np.full(pixels.size, 0.25, np.float32))
    image.update()
    assert image.is_dirty
    path = made(image, tmp_path / "out")
    assert np.asarray(Image.open(path)) == pytest.approx(64, abs=1)
    assert image.is_dirty and image.filepath == str(on_disk), "the artist's image must not change"


def test_a_generated_image_keeps_its_rows_and_channels(tmp_path, pixels):
    image = bpy.data.images.new("made", 9, 6, alpha=True)
    image.pixels.foreach_set((pixels[::-1] / 255).astype(np.float32).ravel())
    np.testing.assert_array_equal(np.asarray(Image.open(made(image, tmp_path))), pixels)


def test_a_float_image_becomes_srgb(tmp_path):
    image = bpy.data.images.new("light", 4, 4, float_buffer=True)
    image.pixels.foreach_set(np.tile(np.array([0.2159, 0.0, 1.0, 1.0], np.float32), 16))
    assert Image.open(made(image, tmp_path)).getpixel((0, 0)) == (128, 0, 255, 255)


def test_an_image_may_change_once_it_is_copied(tmp_path):
    image = bpy.data.images.new("painted", 4, 4)
    image.pixels.foreach_set(np.full(64, 0.25, np.float32))
    copy = picture.from_image(image, tmp_path)
    take(copy)
    image.pixels.foreach_set(np.full(64, 0.75, np.float32))
    bpy.data.images.remove(image)
    copy.write()
    assert np.asarray(Image.open(copy.path)) == pytest.approx(64, abs=1)


def test_an_image_that_goes_before_it_is_copied_is_named(on_disk, tmp_path):
    painted, packed = bpy.data.images.new("painted", 4, 4), bpy.data.images.load(str(on_disk))
    painted.pixels.foreach_set(np.zeros(64, np.float32))
    packed.pack()
    copies = [picture.from_image(image, tmp_path) for image in (painted, packed)]
    painted.scale(8, 8)
    packed.unpack(method="REMOVE")
    for copy, name in zip(copies, ("painted", r"on disk\.png"), strict=True):
        with pytest.raises(DIF3DError, match=f"{name} was changed"):
            take(copy)
    bpy.ops.wm.read_homefile(use_empty=True, use_factory_startup=True)
    for copy, name in zip(copies, ("painted", r"on disk\.png"), strict=True):
        with pytest.raises(DIF3DError, match=f"{name} was removed"):
            take(copy)


def rendered():
    """The image of a render, which has no size for scripts."""
    shown = bpy.context.scene
    shown.camera = bpy.data.objects.new("camera", bpy.data.cameras.new("camera"))
    shown.collection.objects.link(shown.camera)
    shown.render.engine, shown.cycles.samples, shown.cycles.use_denoising = "CYCLES", 1, False
    shown.render.resolution_x = shown.render.resolution_y = 8
    bpy.ops.render.render()
    return bpy.data.images["Render Result"]


def test_an_image_without_pixels_says_so(tmp_path, on_disk):
    image = bpy.data.images.load(str(on_disk))
    on_disk.unlink()
    with pytest.raises(DIF3DError, match=r"on disk\.png cannot be read"):
        picture.from_image(image, tmp_path)
    with pytest.raises(DIF3DError, match="Save As"):
        picture.from_image(rendered(), tmp_path)
    image = bpy.data.images.new("tiles", 4, 4, tiled=True)
    with pytest.raises(DIF3DError, match="tiles"):
        picture.from_image(image, tmp_path)


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_a_png_is_read_back_alike(channels):
    pixels = np.random.default_rng(0).integers(0, 256, (picture.ROWS * 2 + 5, 7, channels), np.uint8)
    parts = list(picture.png_parts((pixels / 255).astype(np.float32), linear=False))
    read = np.asarray(Image.open(io.BytesIO(b"".join(parts))))
    np.testing.assert_array_equal(read.reshape(pixels.shape), pixels)
