"""Pictures of every kind come in as they look; subjects come out with known outlines."""

import io
import os
import struct
import sys
import types
import zlib

import numpy as np
import pytest
from PIL import Image, ImageCms
from scipy import ndimage

from dif3d_blender.engine import foreground
from dif3d_blender.engine.errors import DIF3DError
from dif3d_blender.engine.matte import NotPlain, plain_matte

SIZE = 160


@pytest.fixture
def no_rembg_model(tmp_path, monkeypatch):
    monkeypatch.setenv("U2NET_HOME", str(tmp_path / "no-models"))


@pytest.fixture(scope="module")
def subject():
    """A two-coloured ring with a thick bar below: [H, W, 3] colours and [H, W] alpha, antialiased, with one hole."""
    y, x = np.meshgrid(np.arange(SIZE * 4), np.arange(SIZE * 4), indexing="ij")
    radius = np.hypot(y / 4 - 65, x / 4 - 80)
    solid = ((radius > 20) & (radius < 42)) | ((abs(y / 4 - 120) < 12) & (abs(x / 4 - 80) < 50))
    alpha = solid.reshape(SIZE, 4, SIZE, 4).mean(axis=(1, 3)).astype(np.float32)
    color = np.where((np.arange(SIZE) < 80)[None, :, None], [0.85, 0.2, 0.1], [0.15, 0.25, 0.6]).astype(np.float32)
    color = np.broadcast_to(color, (SIZE, SIZE, 3)) * np.linspace(1.0, 0.7, SIZE, dtype=np.float32)[:, None, None]
    return color, alpha


def background(kind, alpha):
    y, x = np.meshgrid(np.linspace(0, 1, SIZE), np.linspace(0, 1, SIZE), indexing="ij")
    flat = np.ones((SIZE, SIZE, 3))
    if kind == "gradient":
        return flat * [0.9, 0.85, 0.8] - 0.4 * y[..., None]
    if kind == "vignette":
        return flat * 0.8 - 0.5 * ((x - 0.5) ** 2 + (y - 0.5) ** 2)[..., None]
    if kind == "noise":
        return flat * 0.6 + np.random.default_rng(0).normal(0, 0.02, flat.shape)
    if kind == "shadow":
        shade = ndimage.gaussian_filter(ndimage.shift(alpha, (10, 12), order=1), 5)
        return flat * [0.85, 0.85, 0.9] * (1 - 0.4 * shade[..., None])
    return flat * {"white": 1.0, "grey": 0.5}[kind]


def composed(subject, kind):
    """The subject on a background, through JPEG, as float32 [H, W, 3]."""
    color, alpha = subject
    picture = color * alpha[..., None] + background(kind, alpha) * (1 - alpha[..., None])
    file = io.BytesIO()
    Image.fromarray((np.clip(picture, 0, 1) * 255).round().astype(np.uint8)).save(file, "JPEG", quality=92)
    return np.asarray(Image.open(file), dtype=np.float32) / 255


@pytest.mark.parametrize("kind", ["white", "grey", "gradient", "vignette", "noise", "shadow"])
def test_plain_matte_finds_the_outline(subject, kind):
    _, alpha = subject
    matte = plain_matte(composed(subject, kind))
    found, wanted = matte.alpha > 0.5, alpha > 0.5
    if kind == "shadow":  # what lies in the shade inside the hole can't be told from a part of the subject
        found = found & (wanted | ~ndimage.binary_fill_holes(wanted))
    else:
        assert matte.alpha[65, 80] < 0.1, "the ring's hole is background"
    overlap = (found & wanted).sum() / (found | wanted).sum()
    assert overlap > (0.93 if kind == "shadow" else 0.97)
    inside = ndimage.binary_erosion(wanted, iterations=4)
    assert matte.alpha[inside].min() > 0.9


def test_plain_matte_takes_the_background_out_of_the_rim(subject):
    color, alpha = subject
    picture = color * alpha[..., None] + (1 - alpha[..., None]) * np.float32([0.2, 0.9, 0.2])
    matte = plain_matte(picture.astype(np.float32))
    rim = (alpha > 0.3) & (alpha < 0.8) & (matte.alpha > 0.1)
    before, after = np.abs(picture - color)[rim].mean(), np.abs(matte.color - color)[rim].mean()
    assert after < 0.3 * before
    assert np.abs(matte.alpha - alpha)[rim].mean() < 0.1


def test_busy_background_and_empty_picture_are_refused():
    rng = np.random.default_rng(1)
    busy = ndimage.zoom(rng.random((10, 10, 3)), (16, 16, 1), order=0).astype(np.float32)
    with pytest.raises(NotPlain, match="no plain background"):
        plain_matte(busy)
    with pytest.raises(NotPlain, match="Nothing in the picture stands out"):
        plain_matte(np.full((64, 64, 3), 0.7, dtype=np.float32))


def test_pictures_with_a_grey_background(shared, no_rembg_model):
    for name, inside, outside in (
        ("teapot", [(500, 400), (240, 437)], [(100, 100), (450, 720)]),  # the last one lies in the handle
        ("poly_fox", [(500, 700), (624, 500)], [(100, 100), (900, 1000)]),
    ):
        cut = foreground.cut_out(foreground.open_picture(shared / "images" / f"{name}.png"))
        alpha = np.asarray(cut.image)[..., 3]
        assert cut.method == "plain" and "plain backgrounds" in cut.note
        assert all(alpha[at] == 255 for at in inside) and all(alpha[at] == 0 for at in outside)


# ------------------------------------------------------------------------------------------------------ opening files


def write_png(path, rows, bit_depth, color_type):
    """Write a PNG of a kind that Pillow can't write itself."""

    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    height, width = rows.shape[:2]
    raw = b"".join(b"\0" + row.astype(">u2").tobytes() for row in rows)
    header = struct.pack(">IIBBBBB", width, height, bit_depth, color_type, 0, 0, 0)
    path.write_bytes(
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(raw)) + chunk(b"IEND", b"")
    )


def save_as(kind, folder):
    """Save a picture whose left half is dark and whose right half is bright, in some mode; return its path."""
    grey = np.full((32, 48), 51, dtype=np.uint8)
    grey[:, 24:] = 204
    rgb = Image.fromarray(grey).convert("RGB")
    path = folder / f"{kind}.png"
    if kind == "rgb16":
        write_png(path, np.repeat(grey[..., None].astype(np.uint16) * 257, 3, axis=2), 16, 2)
        return path
    if kind == "la16":
        write_png(
            path, np.stack([grey.astype(np.uint16) * 257, np.full_like(grey, 255, dtype=np.uint16) * 257], 2), 16, 4
        )
        return path
    image, path = {
        "palette": lambda: (rgb.quantize(4), path),
        "palette_alpha": lambda: (rgb.convert("RGBA").quantize(4), path),
        "one_bit": lambda: (Image.fromarray(grey > 128), path),
        "grey16": lambda: (Image.fromarray(grey.astype(np.uint16) * 257), path),
        "grey_alpha": lambda: (rgb.convert("LA"), path),
        "cmyk": lambda: (rgb.convert("CMYK"), folder / "cmyk.jpg"),
        "cmyk_tiff": lambda: (rgb.convert("CMYK"), folder / "cmyk.tif"),
        "lab": lambda: (to_lab(rgb), folder / "lab.tif"),
        "float": lambda: (Image.fromarray(grey.astype(np.float32) / 255), folder / "float.tif"),
        "int32": lambda: (Image.fromarray(grey.astype(np.int32) * 257), folder / "int32.tif"),
        "webp": lambda: (rgb, folder / "picture.webp"),
        "gif": lambda: (rgb, folder / "picture.gif"),
        "bmp": lambda: (rgb, folder / "picture.bmp"),
    }[kind]()
    image.save(path)
    return path


def to_lab(rgb):
    srgb, lab = ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB")
    return ImageCms.applyTransform(rgb, ImageCms.buildTransform(srgb, lab, "RGB", "LAB"))


KINDS = ["palette", "palette_alpha", "one_bit", "grey16", "grey_alpha", "cmyk", "cmyk_tiff", "lab", "float", "int32"]


@pytest.mark.parametrize("kind", [*KINDS, "webp", "gif", "bmp", "rgb16", "la16"])
def test_every_mode_opens_as_it_looks(tmp_path, kind):
    picture = foreground.open_picture(save_as(kind, tmp_path))
    assert picture.mode in ("RGB", "RGBA") and picture.size == (48, 32)
    values = np.asarray(picture)[..., :3].astype(int)
    dark, bright = (0, 255) if kind == "one_bit" else (51, 204)
    assert abs(values[16, 8] - dark).max() <= 6 and abs(values[16, 40] - bright).max() <= 6


def test_exif_orientation_and_colour_profile(tmp_path):
    picture = Image.new("RGB", (40, 20), (200, 50, 50))
    exif = Image.Exif()
    exif[0x0112] = 6  # turn 90° clockwise to see it upright
    picture.save(tmp_path / "turned.jpg", exif=exif)
    assert foreground.open_picture(tmp_path / "turned.jpg").size == (20, 40)

    useless = ImageCms.ImageCmsProfile(ImageCms.createProfile("XYZ")).tobytes()  # for RGB: must be ignored
    picture.save(tmp_path / "profile.png", icc_profile=useless)
    assert foreground.open_picture(tmp_path / "profile.png").getpixel((5, 5)) == (200, 50, 50)

    srgb = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    swapped = srgb.replace(b"rXYZ", b"????").replace(b"gXYZ", b"rXYZ").replace(b"????", b"gXYZ")  # its red is green
    for name in ("swapped.png", "swapped.jpg"):
        picture.save(tmp_path / name, icc_profile=swapped)
        red, green, blue = foreground.open_picture(tmp_path / name).getpixel((5, 5))
        assert abs(red - 50) <= 3 and abs(green - 200) <= 3 and abs(blue - 50) <= 3


def test_odd_exif_values_do_not_spoil_a_picture(tmp_path):
    picture, exif = Image.new("RGB", (40, 20), "red"), Image.Exif()
    exif[0x0112], exif[0x0103] = 6, 1  # turned by a quarter; compression
    picture.save(tmp_path / "odd.jpg", exif=exif)
    written = (tmp_path / "odd.jpg").read_bytes()
    entry = written.index(struct.pack(">HHI", 0x0103, 3, 1))  # now of four bytes, of which Pillow would write two
    (tmp_path / "odd.jpg").write_bytes(
        written[:entry] + struct.pack(">HHII", 0x0103, 4, 1, 70_000) + written[entry + 12 :]
    )
    with Image.open(tmp_path / "odd.jpg") as file:
        assert file.getexif()[0x0103] == 70_000
    assert foreground.open_picture(tmp_path / "odd.jpg").size == (20, 40)


def test_values_without_end_are_black(tmp_path):
    values = np.linspace(0, 1, 400, dtype=np.float32).reshape(20, 20)
    values[0, 0] = np.inf
    Image.fromarray(values).save(tmp_path / "float.tif")
    assert np.asarray(foreground.open_picture(tmp_path / "float.tif"))[-1, -1, 0] == 255


def test_transparency_survives(tmp_path):
    rgba = Image.new("RGBA", (32, 32), (10, 200, 30, 0))
    rgba.paste((10, 200, 30, 255), (8, 8, 24, 24))
    for name in ("a.png", "a.webp", "a.tif"):
        rgba.save(tmp_path / name, lossless=True)
        opened = foreground.open_picture(tmp_path / name)
        assert opened.mode == "RGBA" and opened.getchannel("A").getextrema() == (0, 255)
    rgba.quantize(4).save(tmp_path / "palette.png")
    assert foreground.open_picture(tmp_path / "palette.png").getpixel((0, 0))[3] == 0
    Image.new("RGB", (32, 32), (1, 2, 3)).save(tmp_path / "key.png", transparency=(1, 2, 3))
    assert foreground.open_picture(tmp_path / "key.png").getpixel((0, 0))[3] == 0


def test_huge_pictures_are_scaled_down(tmp_path, monkeypatch):
    monkeypatch.setattr(foreground, "LONGEST_SIDE", 100)
    for name in ("wide.png", "wide.jpg"):
        Image.new("RGB", (1000, 400), (9, 99, 199)).save(tmp_path / name)
        assert foreground.open_picture(tmp_path / name).size == (100, 40)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100_000)
    with pytest.raises(DIF3DError, match=r"wide\.png has more than"):
        foreground.open_picture(tmp_path / "wide.png")
    Image.new("RGB", (400, 300)).save(tmp_path / "warned.png")  # over the limit where Pillow only warns
    assert foreground.open_picture(tmp_path / "warned.png").size == (100, 75)


def test_bad_files_say_what_is_wrong(tmp_path):
    whole = tmp_path / "whole.png"
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (64, 64, 3), dtype=np.uint8)).save(whole)
    (tmp_path / "half.png").write_bytes(whole.read_bytes()[:2000])
    Image.open(whole).save(tmp_path / "whole.jpg")
    (tmp_path / "half.jpg").write_bytes((tmp_path / "whole.jpg").read_bytes()[:1000])
    (tmp_path / "empty.png").write_bytes(b"")
    (tmp_path / "text.png").write_text("not a picture")
    Image.new("RGB", (1, 1)).save(tmp_path / "dot.png")
    Image.new("RGB", (1, 300)).save(tmp_path / "line.png")
    for name, words in {
        "missing.png": "There is no picture",
        "half.png": "damaged or incomplete",
        "half.jpg": "damaged or incomplete",
        "empty.png": "empty file",
        "text.png": "not a picture",
        "dot.png": "1×1 pixels",
        "line.png": "1×300 pixels",
    }.items():
        with pytest.raises(DIF3DError, match=words) as raised:
            foreground.open_picture(tmp_path / name)
        assert name in str(raised.value)


# ------------------------------------------------------------------------------------------------- choosing the method


def rgba_of(color, alpha):
    return Image.fromarray((np.dstack([color, alpha]) * 255).round().astype(np.uint8))


def test_alpha_is_taken_as_it_is(subject):
    image = rgba_of(*subject)
    cut = foreground.cut_out(image)
    assert cut.method == "alpha" and np.array_equal(np.asarray(cut.image), np.asarray(image))


def test_a_box_that_was_trimmed_closely_keeps_its_own_alpha(no_rembg_model):
    """It covers nearly all of its picture, as one with rounded corners does, but not the borders."""
    box = Image.new("RGBA", (600, 400), (0, 0, 0, 0))
    box.paste((120, 30, 40, 255), (2, 2, 598, 398))
    box.paste((240, 220, 60, 255), (200, 100, 400, 200))
    cut = foreground.cut_out(box)
    assert cut.method == "alpha" and np.asarray(cut.image.getchannel("A")).mean() > 240


def test_a_small_share_of_the_square_makes_no_giant(no_rembg_model):
    framed = foreground.resize_foreground(Image.new("RGBA", (2000, 1000), "red"), 0.1)
    assert framed.size == (foreground.LARGEST_SQUARE,) * 2
    assert framed.getbbox()[2] - framed.getbbox()[0] == pytest.approx(0.1 * foreground.LARGEST_SQUARE, abs=1)
    whole = foreground.resize_foreground(Image.new("RGBA", (foreground.LONGEST_SIDE,) * 2, "red"), 0.85)
    assert whole.getbbox()[2] - whole.getbbox()[0] == foreground.LONGEST_SIDE


def test_alpha_of_rounded_corners_is_no_cut_out(subject, no_rembg_model):
    picture = Image.fromarray((composed(subject, "grey") * 255).round().astype(np.uint8)).convert("RGBA")
    picture.putpixel((0, 0), (0, 0, 0, 0))
    assert foreground.cut_out(picture).method == "plain"


def test_opaque_pictures_without_rembg_use_the_matte_and_say_so(subject, no_rembg_model):
    picture = Image.fromarray((composed(subject, "grey") * 255).round().astype(np.uint8))
    cut = foreground.cut_out(picture)
    assert cut.method == "plain" and "rembg's model is not on this machine" in cut.note
    with pytest.raises(DIF3DError, match=r"u2net\.onnx"):
        foreground.cut_out(picture, "rembg")
    assert foreground.cut_out(picture, "keep").method == "whole"
    with pytest.raises(DIF3DError, match="auto, keep, rembg, plain"):
        foreground.cut_out(picture, "magic")


@pytest.fixture
def stand_in_for_rembg(tmp_path, monkeypatch):
    """Put a package of our own in rembg's place: its model has 176 MB, and importing it first compiles for a minute."""
    rembg = types.SimpleNamespace(new_session=lambda name: name)
    monkeypatch.setitem(sys.modules, "rembg", rembg)
    (tmp_path / "u2net.onnx").write_bytes(b"model")
    monkeypatch.setenv("U2NET_HOME", str(tmp_path))
    foreground._rembg_session.cache_clear()
    yield rembg
    foreground._rembg_session.cache_clear()


def test_a_broken_rembg_model_is_no_end(subject, stand_in_for_rembg):
    def new_session(name):
        raise RuntimeError("Protobuf parsing failed")

    stand_in_for_rembg.new_session = new_session
    cut = foreground.cut_out(Image.fromarray((composed(subject, "grey") * 255).round().astype(np.uint8)))
    assert cut.method == "plain" and "rembg does not work here" in cut.note and "Protobuf" in cut.note


def test_rembg_is_used_where_its_model_is(subject, stand_in_for_rembg, capsys):
    _, alpha = subject
    seen = {}

    def new_session(name):
        print("noise that must not reach the engine's stdout")
        seen["checksum_disabled"] = os.environ.get("MODEL_CHECKSUM_DISABLED")
        return name

    def remove(picture, session, only_mask):
        assert session == "u2net" and only_mask and picture.mode == "RGB"
        return Image.fromarray((alpha * 255).astype(np.uint8))

    stand_in_for_rembg.new_session, stand_in_for_rembg.remove = new_session, remove
    cut = foreground.cut_out(Image.fromarray((composed(subject, "grey") * 255).astype(np.uint8)))
    assert cut.method == "rembg"
    assert np.abs(np.asarray(cut.image)[..., 3] / 255 - alpha).max() < 0.01
    assert seen["checksum_disabled"] == "1", "an unknown model file would be downloaded anew"
    assert "MODEL_CHECKSUM_DISABLED" not in os.environ
    assert capsys.readouterr().out == ""


def test_subjects_that_are_not_there_or_touch_the_border(no_rembg_model):
    with pytest.raises(DIF3DError, match="fully transparent"):
        foreground.cut_out(Image.new("RGBA", (64, 64), (255, 0, 0, 0)))
    speck = Image.new("RGBA", (64, 64))
    speck.paste((255, 0, 0, 255), (20, 20, 24, 23))
    with pytest.raises(DIF3DError, match="only 4×3 pixels"):
        foreground.cut_out(speck)
    cross = np.full((90, 90, 3), 250, dtype=np.uint8)
    cross[35:55], cross[:, 35:55] = (20, 60, 160), (20, 60, 160)
    with pytest.raises(DIF3DError, match="touches every border"):
        foreground.cut_out(Image.fromarray(cross))
    bust = np.full((90, 90, 3), 250, dtype=np.uint8)
    bust[30:, 25:65] = (20, 60, 160)
    assert "touches the picture's bottom border" in foreground.cut_out(Image.fromarray(bust)).warning
    trimmed = Image.new("RGBA", (40, 60))
    trimmed.paste((255, 0, 0, 255), (0, 10, 40, 60))
    assert "bottom" in foreground.cut_out(trimmed).warning
    trimmed.paste((255, 0, 0, 255), (10, 0, 30, 60))
    assert not foreground.cut_out(trimmed).warning  # cut to the subject's size: it ends there


# ------------------------------------------------------------------------------------------------------------- framing


@pytest.mark.parametrize("ratio", [0.5, 0.85, 1.0])
def test_framing_centres_the_longest_side_and_keeps_every_pixel(ratio):
    image = Image.new("RGBA", (100, 70), (0, 0, 0, 0))
    image.paste((255, 128, 0, 255), (10, 20, 91, 51))  # 81×31 pixels
    picture, mask = foreground.frame_subject(image, ratio)
    side = round(81 / ratio)
    assert picture.shape == (side, side, 3) and picture.dtype == np.float32 and mask.shape == (side, side)
    assert mask.sum() == 81 * 31
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    assert abs((rows[0] + rows[-1]) / 2 - (side - 1) / 2) <= 0.5
    assert abs((columns[0] + columns[-1]) / 2 - (side - 1) / 2) <= 0.5
    assert np.allclose(picture[mask == 0], 0.5)
    assert np.allclose(picture[mask == 1], [1, 128 / 255, 0])


def test_framing_blends_soft_alpha_with_grey():
    image = Image.new("RGBA", (10, 10), (255, 255, 255, 102))
    picture, mask = foreground.frame_subject(image, 1.0)
    assert np.allclose(mask, 0.4) and np.allclose(picture, 0.7)


def test_framing_refuses_what_it_cannot_frame():
    with pytest.raises(DIF3DError, match="fully transparent"):
        foreground.resize_foreground(Image.new("RGBA", (9, 9)), 0.85)
    with pytest.raises(DIF3DError, match="more than 0 and at most 1"):
        foreground.resize_foreground(Image.new("RGBA", (9, 9), "red"), 0)


def test_dif3d_s_remove_background(subject, no_rembg_model):
    cut = rgba_of(*subject)
    assert foreground.remove_background(cut) is cut
    opaque = Image.fromarray((composed(subject, "grey") * 255).round().astype(np.uint8))
    assert foreground.remove_background(opaque).getchannel("A").getextrema() == (0, 255)
