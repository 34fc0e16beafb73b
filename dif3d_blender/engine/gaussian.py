"""`Gaussian`: DIF3D's first stage, by its own method names: picture → depth → 2.5D point cloud and mesh."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image

from .cameras import Camera
from .depth import (
    PUBLISHED,
    DepthUnavailable,
    Glpn,
    check_depth,
    crop_padding,
    depth_size,
    estimate_depth,
    load_glpn,
    resize_picture,
    save_comparison,
    save_depth,
    to_distance,
)
from .errors import DIF3DError
from .export import export_mesh, save_png
from .foreground import load_subject
from .pointcloud import (
    ColoredMesh,
    Open3DUnavailable,
    PointCloud,
    back_project,
    poisson_mesh,
    relief_mesh,
    remove_outliers,
    with_normals,
    write_pcd,
)

DepthSource = Callable[[int, int], np.ndarray]


class Gaussian:
    """Depth and the 2.5D cloud and mesh of one picture.

    Call `set_variables`, `gassuin_load`, `pre_process`, `depth_estimation`, then as wanted `dp_comparison_visual`,
    `pointcloud` and `post_process`. Nothing opens a window; everything is written under the output folder.

    Args:
        glpn: the depth model: a folder or a Hugging Face name.
        device: where it runs.
        allow_network: models may be downloaded.
        background: how the subject is cut out (`foreground.METHODS`).
        nerf_depth: called as (height, width) for the depth of the NeRF's own front view at `camera`, [height, width],
            NaN where there is nothing. It stands in where GLPN has none.
        camera: the camera of the input view.

    Attributes:
        image: the framed subject on grey (Pillow, RGB); `mask` [H, W] in [0, 1] belongs to it.
        img: the same at the depth map's size, cropped as that is; `inside` [h, w] (bool) is its mask.
        depth_img: the depth map [h, w], float32: metres from GLPN, the field's units from the NeRF.
        depth_source: "glpn" or "nerf".
        raw_pcd, pcd: the point cloud as it came, and cleaned with normals, in the field frame.
        mesh: the 2.5D mesh.
        notes: sentences for the report: what was used, what was substituted for what, what looks wrong.
        files: what was written, by name.
    """

    def __init__(
        self,
        glpn: str | Path = PUBLISHED,
        device: str = "cpu",
        allow_network: bool = False,
        background: str = "auto",
        nerf_depth: DepthSource | None = None,
        camera: Camera | None = None,
    ) -> None:
        self.glpn_name, self.device, self.allow_network = glpn, device, allow_network
        self.background, self.nerf_depth, self.camera = background, nerf_depth, camera or Camera()
        self.glpn: Glpn | None = None
        self._why_no_glpn = "GLPN was not loaded (gassuin_load)."
        self.in_path: Path | None = None
        self._forget()

    def set_variables(
        self, in_path: str | Path, out_path: str | Path, foreground_ratio: float = 0.85, padding: int = 16
    ) -> None:
        """Name the picture and the output folder, and forget the picture before.

        Args:
            in_path: the picture.
            out_path: the output folder; `images/` and `3dfiles/` are made in it.
            foreground_ratio: longest side of the subject over the side of the square.
            padding: pixels cropped from each side of the depth map.
        """
        self.in_path, self.out_path = Path(in_path), Path(out_path)
        self.ratio, self.pad = foreground_ratio, padding
        self._forget()

    def _forget(self) -> None:
        self.image: Image.Image | None = None
        self.img: Image.Image | None = None
        self.depth_img: np.ndarray | None = None
        self.raw_pcd: PointCloud | None = None
        self.pcd: PointCloud | None = None
        self.mesh: ColoredMesh | None = None
        self.notes: list[str] = []
        self.files: dict[str, Path] = {}

    def gassuin_load(self) -> None:
        """Load GLPN. Where it is not to be had, `depth_estimation` says so and takes the NeRF's depth."""
        self._why_no_glpn = ""
        try:
            self.glpn = load_glpn(self.glpn_name, self.device, self.allow_network)
        except DepthUnavailable as reason:
            self.glpn, self._why_no_glpn = None, str(reason)

    def pre_process(self) -> np.ndarray:
        """Cut out and frame the subject; write `images/Removed_BG.png` (RGBA).

        Returns:
            The network's picture, float32 [H, W, 3], sRGB in [0, 1], the subject on mid-grey.
        """
        self._need(self.in_path, "set_variables")
        subject = load_subject(self.in_path, self.background, self.ratio, self.allow_network)
        self.notes.append(subject.note)
        path = self.out_path / "images" / "Removed_BG.png"
        save_png(path, subject.image)
        self.files["foreground"] = path
        self.image, self.mask = _to_pillow(subject.picture), subject.mask
        return subject.picture

    def use_picture(self, picture: np.ndarray, mask: np.ndarray) -> None:
        """Take a picture that is framed already, [H, W, 3] in [0, 1] with its mask [H, W], instead of `pre_process`."""
        self.image, self.mask = _to_pillow(picture), mask

    def make_all(self) -> None:
        """Take every step after the picture's; a note tells what could not be made, and nothing is raised for it."""
        try:
            self.gassuin_load()
            self.depth_estimation()
            self.dp_comparison_visual()
            self.pointcloud()
            self.post_process()
        except DIF3DError as error:
            missing = "2.5D mesh" if self.depth_img is not None else "depth map, the 2.5D point cloud and mesh"
            self.notes.append(f"{error} Left out: the {missing}.")

    def pre_depth_estimation(self) -> None:
        """Bring the picture to a size that GLPN takes: multiples of 32, at most 512, the aspect kept."""
        self._need(self.image, "pre_process")
        size = depth_size(self.image.height, self.image.width)
        picture = np.asarray(self.image, dtype=np.float32) / 255.0
        self._resized = resize_picture(picture, size)
        self.img = _to_pillow(crop_padding(self._resized, self.pad))
        self.inside = crop_padding(resize_picture(self.mask, size) > 0.5, self.pad)

    def depth_estimation(self) -> Image.Image:
        """Find the depth; write `images/depth.npy`, `depth.png` (16 bits, millimetres) and `depth_color.png`.

        Returns:
            The depth in millimetres as a 16-bit Pillow image.

        Raises:
            DIF3DError: neither GLPN nor the NeRF gave a usable depth, or the subject's mask is empty.
        """
        self.pre_depth_estimation()
        self.depth_img, self.depth_source = self._find_depth()
        self.files |= save_depth(self.out_path / "images", self.depth_img, self.inside)
        return Image.open(self.files["depth_png"])

    def _find_depth(self) -> tuple[np.ndarray, str]:
        problem = self._why_no_glpn if self.glpn is None else ""
        if self.glpn is not None:
            try:
                return self._checked(estimate_depth(self._resized, self.glpn), f"GLPN ({self.glpn.label})"), "glpn"
            except DepthUnavailable as reason:
                problem = str(reason)
        if self.nerf_depth is None:
            raise DepthUnavailable(f"{problem} There is no other source of depth, so the 2.5D point cloud is left out.")
        self.notes.append(f"{problem} The depth of the model's own front view is used instead.")
        height, width = self._resized.shape[:2]
        return self._checked(self.nerf_depth(height, width), "the model's front view"), "nerf"

    def _checked(self, depth: np.ndarray, source: str) -> np.ndarray:
        depth = crop_padding(depth, self.pad)
        warning = check_depth(depth, self.inside, source)
        if warning:
            self.notes.append(warning)
        return depth

    def dp_comparison_visual(self) -> Path:
        """Write the picture and its depth side by side to `images/depth_comparison.png`; return the path."""
        self._need(self.depth_img, "depth_estimation")
        path = self.out_path / "images" / "depth_comparison.png"
        save_comparison(path, self._colors(), self.depth_img, self.inside)
        self.files["depth_comparison"] = path
        return path

    def pointcloud(self) -> PointCloud:
        """Project the depth back through the camera; write `3dfiles/pointcloud_raw.pcd` (field frame).

        Raises:
            DIF3DError: no pixel of the subject has a depth.
        """
        self._need(self.depth_img, "depth_estimation")
        self.raw_pcd = back_project(self._field_depth(), self._colors(), self.inside, self.camera, self.pad)
        path = self.out_path / "3dfiles" / "pointcloud_raw.pcd"
        write_pcd(path, self.raw_pcd)
        self.files["pointcloud_raw"] = path
        return self.raw_pcd

    def post_process(self) -> ColoredMesh:
        """Drop outliers, find normals, make the 2.5D mesh; write `pointcloud.pcd` and `forfront_raw_mesh.obj`.

        The mesh is Poisson's by Open3D; where that can't be loaded, the depth map's own triangles, and a note says what
        to install.

        Raises:
            DIF3DError: there are too few points for a surface.
        """
        self._need(self.raw_pcd, "pointcloud")
        viewpoint = self.camera.camera_to_world[:3, 3].numpy()
        self.pcd = with_normals(remove_outliers(self.raw_pcd), viewpoint)
        path = self.out_path / "3dfiles" / "pointcloud.pcd"
        write_pcd(path, self.pcd)
        self.files["pointcloud"] = path
        try:
            self.mesh = poisson_mesh(self.pcd)
        except Open3DUnavailable as reason:
            self.notes.append(f"{reason}. The 2.5D mesh is the depth map's own triangles instead of Poisson's.")
            self.mesh = relief_mesh(self._field_depth(), self._colors(), self.inside, self.camera, self.pad)
        path = self.out_path / "3dfiles" / "forfront_raw_mesh.obj"
        export_mesh(path, self.mesh.vertices, self.mesh.faces, self.mesh.colors)
        self.files["forfront_raw_mesh"] = path
        return self.mesh

    def _field_depth(self) -> np.ndarray:
        """The depth in the field's units, which the NeRF's has already."""
        if self.depth_source == "nerf":
            return self.depth_img
        return to_distance(self.depth_img, self.inside, self.camera.distance)

    def _colors(self) -> np.ndarray:
        return np.asarray(self.img, dtype=np.float32) / 255.0

    def _need(self, result: object, step: str) -> None:
        if result is None:
            raise DIF3DError(f"Gaussian: call {step}() first.")


def _to_pillow(picture: np.ndarray) -> Image.Image:
    return Image.fromarray(np.round(np.clip(picture, 0.0, 1.0) * 255.0).astype(np.uint8))
