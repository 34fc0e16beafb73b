"""From any picture file to the subject on grey: opening, cutting out, framing."""

from __future__ import annotations

import contextlib
import functools
import io
import os
import struct
import sys
import warnings
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, ImageCms, ImageOps, UnidentifiedImageError

from .errors import DIF3DError
from .matte import NotPlain, plain_matte

LONGEST_SIDE = 2048  # pixels; larger pictures are scaled down first: the network sees 512, textures go to 4096 texels
LARGEST_SQUARE = 2410  # pixels a side of a framed picture: what the usual ratio makes of the largest picture
SHORTEST_SIDE = 8  # pixels; below that there is nothing to see in a picture
METHODS = ("auto", "keep", "rembg", "plain")
GREY = 0.5  # the background that the published network was trained with

_VISIBLE = 0.05  # alpha from which a pixel counts as part of the subject's outline


@dataclass(frozen=True)
class CutOut:
    """A subject without its background.

    Attributes:
        image: RGBA with straight alpha, as large as the picture.
        method: "alpha" (the picture's own), "rembg", "plain" (our matte) or "whole" (nothing was cut away).
        note: a sentence for the report: how it was done, and what was substituted.
        warning: another one, where something looks wrong.
    """

    image: Image.Image
    method: str
    note: str
    warning: str = ""


@dataclass(frozen=True)
class Subject:
    """A picture's subject, cut out and framed: what the network, the depth and the texture are made from.

    Attributes:
        image: RGBA square with straight alpha.
        picture: the same on mid-grey, float32 [H, W, 3], sRGB in [0, 1].
        mask: its alpha, float32 [H, W] in [0, 1].
        method: as in `CutOut`.
        note: its note and warning.
    """

    image: Image.Image
    picture: np.ndarray
    mask: np.ndarray
    method: str
    note: str


def load_subject(path: Path | str, method: str = "auto", ratio: float = 0.85, allow_network: bool = False) -> Subject:
    """Open, cut out and frame: `open_picture`, `cut_out`, `resize_foreground`, `on_grey`, which see."""
    cut = cut_out(open_picture(path), method, allow_network)
    framed = resize_foreground(cut.image, ratio)
    return Subject(framed, *on_grey(framed), cut.method, f"{cut.note} {cut.warning}".strip())


# ----------------------------------------------------------------------------------------------------------- opening


def open_picture(path: Path | str) -> Image.Image:
    """Read a picture file of any kind that Pillow knows.

    Turned upright by its EXIF orientation, converted to sRGB by its colour profile, and scaled down to at most
    `LONGEST_SIDE` pixels a side. Of an animation, the first frame.

    Returns:
        A Pillow image of mode "RGBA" where the file has transparency, else "RGB".

    Raises:
        DIF3DError: no such file, not a picture, empty, truncated, too small, or too large to open safely.
    """
    path = Path(path)
    try:
        if not path.is_file():
            raise DIF3DError(f"There is no picture {path}.")
        if path.stat().st_size == 0:
            raise DIF3DError(f"The picture {path} is an empty file.")
        with warnings.catch_warnings():
            warnings.simplefilter(
                "ignore", Image.DecompressionBombWarning
            )  # twice that size raises, and is caught below
            with Image.open(path) as file:
                file.draft(None, (LONGEST_SIDE, LONGEST_SIDE))  # lets a large JPEG be decoded at a fraction of its size
                file.load()
                picture = _upright(file)
    except Image.DecompressionBombError as error:
        limit = 2 * Image.MAX_IMAGE_PIXELS // 1_000_000
        raise DIF3DError(
            f"The picture {path} has more than {limit} million pixels. Scale it down before using it."
        ) from error
    except UnidentifiedImageError as error:
        raise DIF3DError(
            f"{path} is not a picture that can be read. Use PNG, JPEG, WebP, TIFF, BMP or another common format."
        ) from error
    except PermissionError as error:
        raise DIF3DError(
            f"There is no permission to read the picture {path}. Allow it in the system's settings, or copy it to "
            "another folder."
        ) from error
    except (OSError, SyntaxError, ValueError, EOFError, RuntimeError) as error:  # Pillow's readers on broken files
        raise DIF3DError(f"The picture {path} is damaged or incomplete: {error}") from error

    picture = _to_srgb(picture)
    width, height = picture.size
    picture.thumbnail((LONGEST_SIDE, LONGEST_SIDE), Image.Resampling.LANCZOS, reducing_gap=3.0)
    if min(picture.size) < SHORTEST_SIDE:
        scaled = (
            "" if picture.width == width else f", of which {picture.width}×{picture.height} are left when scaled down"
        )
        raise DIF3DError(
            f"The picture {path} is {width}×{height} pixels{scaled}. At least {SHORTEST_SIDE} on each side are needed, "
            "and a few hundred make a good model."
        )
    return picture


def _upright(picture: Image.Image) -> Image.Image:
    """Return a loaded picture as its EXIF orientation wants it."""
    try:
        picture.getexif()  # which Pillow keeps
    except (struct.error, TypeError, KeyError, IndexError, SyntaxError, ValueError):
        return picture  # what it says of itself cannot be read; the picture can
    for written in ("exif", "Raw profile type exif"):
        picture.info.pop(written, None)  # else all of it would be written again, which odd values do not survive
    return ImageOps.exif_transpose(picture)


def _to_srgb(picture: Image.Image) -> Image.Image:
    """Return a picture of any mode as 8-bit "RGB", or "RGBA" where it has transparency, in sRGB."""
    if picture.mode in ("I", "F") or picture.mode.startswith("I;16"):
        return _grey_to_8_bits(picture).convert("RGB")
    has_alpha = "A" in picture.mode.upper() and picture.mode != "LAB"
    if picture.mode == "LAB":
        lab_to_srgb = ImageCms.buildTransform(
            ImageCms.createProfile("LAB"), ImageCms.createProfile("sRGB"), "LAB", "RGB"
        )
        return ImageCms.applyTransform(picture, lab_to_srgb)
    profile = picture.info.get("icc_profile")
    if has_alpha or "transparency" in picture.info:
        rgba = picture.convert("RGBA")
        color = _apply_profile(rgba.convert("RGB"), profile)
        color.putalpha(rgba.getchannel("A"))
        return color
    if picture.mode not in ("RGB", "CMYK", "L"):
        picture = picture.convert("RGB")
    return _apply_profile(picture, profile).convert("RGB")


def _apply_profile(picture: Image.Image, profile: bytes | None) -> Image.Image:
    """Return the picture in sRGB, by the colour profile in its file; unchanged where that is missing or unusable."""
    if not profile:
        return picture
    with contextlib.suppress(ImageCms.PyCMSError, OSError):
        source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        return ImageCms.profileToProfile(picture, source, ImageCms.createProfile("sRGB"), outputMode="RGB")
    return picture


def _grey_to_8_bits(picture: Image.Image) -> Image.Image:
    """Return a 16-bit, 32-bit or float grey picture as "L".

    Integers are taken by their format's range; where a format has none (32-bit integers, floats), by what is in them.
    """
    values = np.nan_to_num(np.asarray(picture, dtype=np.float64), posinf=0.0, neginf=0.0)
    limits = {"F": (1.0,), "I": (255.0, 65535.0)}.get(picture.mode, (65535.0,))
    white = next((limit for limit in limits if values.max() <= limit), values.max())
    return Image.fromarray(np.round(np.clip(values / white, 0.0, 1.0) * 255.0).astype(np.uint8))


# ------------------------------------------------------------------------------------------------------- cutting out


def cut_out(image: Image.Image, method: str = "auto", allow_network: bool = False) -> CutOut:
    """Take the background away from a picture.

    Args:
        image: "RGB" or "RGBA", as `open_picture` gives it.
        method: "auto" takes the picture's own transparency, else rembg where its model is on this machine or may be
            fetched, else our matte for plain backgrounds; "keep" takes the picture as it is; "rembg" and "plain"
            insist.
        allow_network: rembg may fetch its model (176 MB).

    Raises:
        DIF3DError: the picture is fully transparent, the subject can't be told from the background or covers every
            border, or the method that was insisted on is not available. The message says what to do.
    """
    if method not in METHODS:
        raise DIF3DError(f"Unknown way to cut out the subject: {method!r}. Known ways: {', '.join(METHODS)}.")
    has_alpha = image.mode == "RGBA" and image.getextrema()[3][0] < 255
    if has_alpha and image.getextrema()[3][1] < 8:
        raise DIF3DError("The picture is fully transparent: there is no subject in it.")
    if method == "keep" or (method == "auto" and has_alpha and not _covers_frame(image)):
        if has_alpha and not _covers_frame(image):
            return _checked(image, "alpha", "The picture's own transparency was used.")
        return CutOut(image.convert("RGBA"), "whole", "The picture was used as it is: nothing was cut away.")

    picture = image.convert("RGB")
    why_not = ""
    if method in ("auto", "rembg"):
        try:
            alpha = _rembg_alpha(picture, allow_network)
        except _RembgUnavailable as reason:
            if method == "rembg":
                raise DIF3DError(f"{reason} Or use another way to cut out the subject: auto, plain, keep.") from reason
            why_not = str(reason)
        else:
            return _checked(_with_alpha(picture, alpha, image), "rembg", "rembg (u2net) cut out the subject.")
    try:
        matte = plain_matte(np.asarray(picture, dtype=np.float32) / 255.0)
    except NotPlain as reason:
        raise DIF3DError(" ".join(filter(None, [str(reason), why_not]))) from reason
    color = Image.fromarray(np.round(matte.color * 255.0).astype(np.uint8))
    note = " ".join(filter(None, ["The subject was cut out by the matte for plain backgrounds.", why_not]))
    cut = _checked(_with_alpha(color, matte.alpha, image), "plain", note)
    if len(_touched_borders(cut.image)) == 4:
        raise DIF3DError(
            "The subject touches every border of the picture, so nothing tells it from the background. Give a picture "
            "with some background on every side, or one whose background is transparent."
        )
    return cut


def _covers_frame(image: Image.Image) -> bool:
    """Whether an RGBA picture is opaque nearly everywhere and to all its borders: no cut-out, though it has an alpha.

    Rounded corners do that. A box that was cut out and trimmed closely has a transparent line round it.
    """
    return np.mean(np.asarray(image.getchannel("A")) > 127) > 0.97 and len(_touched_borders(image)) == 4


def _with_alpha(color: Image.Image, alpha: np.ndarray, original: Image.Image) -> Image.Image:
    """Return `color` with `alpha` [H, W] in [0, 1], and never more opaque than the original picture."""
    alpha = np.round(np.clip(alpha, 0.0, 1.0) * 255.0).astype(np.uint8)
    if original.mode == "RGBA":
        alpha = np.minimum(alpha, np.asarray(original.getchannel("A")))
    result = color.convert("RGBA")
    result.putalpha(Image.fromarray(alpha))
    return result


def _checked(image: Image.Image, method: str, note: str) -> CutOut:
    """Return the cut-out, with a warning where the subject is cut off; raise where there is none."""
    box = _bounds(image)
    if box is None:
        raise DIF3DError("No subject was found in the picture.")
    width, height = box[2] - box[0], box[3] - box[1]
    if max(width, height) < SHORTEST_SIDE:
        raise DIF3DError(f"The subject is only {width}×{height} pixels in the picture. Use a larger picture of it.")
    touched, warning = _touched_borders(image), ""
    if 0 < len(touched) < 4:  # one that touches all four was trimmed to its size
        warning = f"The subject touches the picture's {', '.join(touched)} border and may be cut off there."
    return CutOut(image, method, note, warning)


def _bounds(image: Image.Image) -> tuple[int, int, int, int] | None:
    """Return the box (left, top, right, bottom) of what is visible in an RGBA image, the last two exclusive."""
    visible = np.asarray(image.getchannel("A")) >= _VISIBLE * 255
    rows, columns = np.flatnonzero(visible.any(axis=1)), np.flatnonzero(visible.any(axis=0))
    if len(rows) == 0:
        return None
    return int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1


def _touched_borders(image: Image.Image) -> list[str]:
    """Return the names of the borders that the subject runs into over a noticeable length."""
    solid = np.asarray(image.getchannel("A")) > 127
    edges = {"left": solid[:, 0], "top": solid[0], "right": solid[:, -1], "bottom": solid[-1]}
    return [name for name, edge in edges.items() if edge.sum() > 0.01 * len(edge)]


# ------------------------------------------------------------------------------------------------------------- rembg


class _RembgUnavailable(DIF3DError):
    """rembg or its model is not there; the message says how to get it."""


def _rembg_model() -> Path:
    """Return where rembg keeps its model, by rembg's own rules."""
    home = os.getenv("U2NET_HOME") or os.path.join(os.getenv("XDG_DATA_HOME", "~"), ".u2net")  # noqa: PTH118
    return Path(home).expanduser() / "u2net.onnx"


def _rembg_alpha(picture: Image.Image, allow_network: bool) -> np.ndarray:
    """Return rembg's mask [H, W] in [0, 1] for an RGB picture.

    Raises:
        _RembgUnavailable: rembg or its model is missing, or does not work.
    """
    model = _rembg_model()
    if not model.is_file() and not allow_network:
        raise _RembgUnavailable(
            "rembg's model is not on this machine: fetch it (in Blender: in the preferences of DIF3D), allow "
            f"downloads, or put u2net.onnx at {model}."
        )
    try:
        rembg, session = _rembg_session(str(model), allow_network)
        with contextlib.redirect_stdout(sys.stderr):
            mask = rembg.remove(picture, session=session, only_mask=True)
    # ONNX Runtime and the download each have a family of exceptions of their own, all of them plain `Exception`s, and
    # rembg calls sys.exit() where ONNX Runtime is missing. None may cost the job: there is another way to go on.
    except (Exception, SystemExit) as error:
        raise _RembgUnavailable(
            f"rembg does not work here ({type(error).__name__}: {error}; model: {model})."
        ) from error
    return np.asarray(mask.convert("L"), dtype=np.float32) / 255.0


@functools.lru_cache(maxsize=1)
def _rembg_session(model: str, allow_network: bool):
    """Return rembg and a session for its u2net model; slow, so kept for the next picture."""
    with contextlib.redirect_stdout(sys.stderr):  # rembg and the download talk on stdout, which belongs to the engine
        import rembg

        # With its checksum test on, rembg downloads a model that it does not recognise.
        with _environment("MODEL_CHECKSUM_DISABLED", None if allow_network else "1"):
            return rembg, rembg.new_session("u2net")


@contextlib.contextmanager
def _environment(name: str, value: str | None):
    """Set an environment variable for a while; None leaves it as it is."""
    before = os.environ.get(name)
    if value is not None:
        os.environ[name] = value
    try:
        yield
    finally:
        if value is not None:
            os.environ.pop(name)
            if before is not None:
                os.environ[name] = before


# ----------------------------------------------------------------------------------------------------------- framing


def resize_foreground(image: Image.Image, ratio: float = 0.85) -> Image.Image:
    """Return the subject of an RGBA image in the middle of a transparent square.

    The subject keeps its pixels, unless the square would be larger than `LARGEST_SQUARE`; its longest side is `ratio`
    of the square's. (DIF3D and TripoSR call it so; they lose the subject's last row and column, this does not.)

    Raises:
        DIF3DError: nothing is visible, or the ratio is not in (0, 1].
    """
    if not 0.0 < ratio <= 1.0:
        raise DIF3DError(f"The foreground ratio is {ratio}; it must be more than 0 and at most 1.")
    image = image.convert("RGBA")
    box = _bounds(image)
    if box is None:
        raise DIF3DError("The picture is fully transparent: there is no subject in it.")
    subject = image.crop(box)
    largest = max(1, round(LARGEST_SQUARE * ratio))
    if max(subject.size) > largest:
        subject.thumbnail((largest, largest), Image.Resampling.LANCZOS)
    side = max(max(subject.size), round(max(subject.size) / ratio))
    square = Image.new("RGBA", (side, side), (0, 0, 0, 0))
    square.paste(subject, ((side - subject.width) // 2, (side - subject.height) // 2))
    return square


def on_grey(image: Image.Image) -> tuple[np.ndarray, np.ndarray]:
    """Lay an RGBA image on mid-grey, as the network expects it.

    Returns:
        The picture, float32 [H, W, 3], sRGB in [0, 1], and the mask, float32 [H, W] in [0, 1].
    """
    rgba = np.asarray(image.convert("RGBA"), dtype=np.float32) / 255.0
    mask = rgba[..., 3]
    return rgba[..., :3] * mask[..., None] + GREY * (1.0 - mask[..., None]), mask


def frame_subject(image: Image.Image, ratio: float = 0.85) -> tuple[np.ndarray, np.ndarray]:
    """Return the network's picture of a cut-out and its mask: `resize_foreground`, then `on_grey`."""
    return on_grey(resize_foreground(image, ratio))


def remove_background(image: Image.Image, rembg_session=None, force: bool = False, **rembg_options) -> Image.Image:
    """Return `image` as RGBA without its background, as DIF3D's function of this name does.

    A picture that has transparency is returned as it is, unless `force` is set. With a `rembg_session`, rembg does it,
    with `rembg_options`; without one, the best way that this machine has (`cut_out`), never by the network.
    """
    if not force and image.mode == "RGBA" and image.getextrema()[3][0] < 255:
        return image
    if rembg_session is None:
        return cut_out(image.convert("RGB"), "auto").image
    with contextlib.redirect_stdout(sys.stderr):
        import rembg

        return rembg.remove(image, session=rembg_session, **rembg_options)
