"""The picture of a job: files, and images of the .blend in every state they can be in."""

import io

import numpy as np
import pytest
from PIL import Image

bpy = pytest.importorskip("bpy")

from dif3d_blender.blender import picture  # noqa: E402
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


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(DIF3DError, match="moved or deleted"):
        picture.from_file(str(tmp_path / "gone.png"))
    with pytest.raises(DIF3DError, match="Choose a picture"):
        picture.from_file("")


def test_an_image_of_a_file_is_that_file(on_disk, tmp_path):
    image = bpy.data.images.load(str(on_disk))
    assert picture.from_image(image, tmp_path / "out") == on_disk
    assert not (tmp_path / "out").exists()


def test_a_packed_image_keeps_its_bytes_even_when_its_file_is_gone(on_disk, tmp_path):
    original = on_disk.read_bytes()
    image = bpy.data.images.load(str(on_disk))
    image.pack()
    on_disk.unlink()
    path = picture.from_image(image, tmp_path / "out")
    assert path.suffix == ".png" and path.read_bytes() == original


def test_a_painted_image_is_written_as_it_looks(on_disk, tmp_path, pixels):
    image = bpy.data.images.load(str(on_disk))
    image.pixels.foreach_set(np.full(pixels.size, 0.25, np.float32))
    image.update()
    assert image.is_dirty
    path = picture.from_image(image, tmp_path / "out")
    assert np.asarray(Image.open(path)) == pytest.approx(64, abs=1)
    assert image.is_dirty and image.filepath == str(on_disk), "the artist's image must not change"


def test_a_generated_image_keeps_its_rows_and_channels(tmp_path, pixels):
    image = bpy.data.images.new("made", 9, 6, alpha=True)
    image.pixels.foreach_set((pixels[::-1] / 255).astype(np.float32).ravel())
    np.testing.assert_array_equal(np.asarray(Image.open(picture.from_image(image, tmp_path))), pixels)


def test_a_float_image_becomes_srgb(tmp_path):
    image = bpy.data.images.new("light", 4, 4, float_buffer=True)
    image.pixels.foreach_set(np.tile(np.array([0.2159, 0.0, 1.0, 1.0], np.float32), 16))
    assert Image.open(picture.from_image(image, tmp_path)).getpixel((0, 0)) == (128, 0, 255, 255)


def test_an_image_without_pixels_says_so(tmp_path, on_disk):
    image = bpy.data.images.load(str(on_disk))
    on_disk.unlink()
    with pytest.raises(DIF3DError, match=r"on disk\.png cannot be read"):
        picture.from_image(image, tmp_path)
    image = bpy.data.images.new("tiles", 4, 4, tiled=True)
    with pytest.raises(DIF3DError, match="tiles"):
        picture.from_image(image, tmp_path)


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_png_bytes_are_read_back_alike(channels):
    pixels = np.random.default_rng(0).integers(0, 256, (5, 7, channels), np.uint8)
    read = np.asarray(Image.open(io.BytesIO(picture.png_bytes(pixels))))
    np.testing.assert_array_equal(read.reshape(pixels.shape), pixels)
