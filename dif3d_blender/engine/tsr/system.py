"""`TSR`: the whole network, from pictures to scene codes, and from scene codes to pictures and meshes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import trimesh
from PIL import Image
from torch import Tensor

from ..cameras import get_spherical_cameras
from ..errors import DIF3DError
from ..field import Field
from ..isosurface import extract_surface
from ..weights import ModelFiles, assign_tensors, find_model, read_config
from .decoder import NeRFMLP
from .image_tokenizer import DINOSingleImageTokenizer, ImagePreprocessor, Picture
from .module import BaseModule, Kept
from .renderer import TriplaneNeRFRenderer
from .transformer import Transformer1D
from .triplane import Triplane1DTokenizer, TriplaneUpsampleNetwork

# A config.yaml names classes of the original program. Nothing else is ever looked up, and nothing is imported by name:
# a model file must not choose which code runs.
_CLASSES: dict[str, type[BaseModule]] = {
    "tsr.models.tokenizers.image.DINOSingleImageTokenizer": DINOSingleImageTokenizer,
    "tsr.models.tokenizers.triplane.Triplane1DTokenizer": Triplane1DTokenizer,
    "tsr.models.transformer.transformer_1d.Transformer1D": Transformer1D,
    "tsr.models.network_utils.TriplaneUpsampleNetwork": TriplaneUpsampleNetwork,
    "tsr.models.network_utils.NeRFMLP": NeRFMLP,
    "tsr.models.nerf_renderer.TriplaneNeRFRenderer": TriplaneNeRFRenderer,
}


class TSR(BaseModule):
    """The published network. Build it with `from_pretrained`, or from settings: `TSR(cfg, folder=...)`."""

    @dataclass
    class Config(BaseModule.Config):
        cond_image_size: int  # pixels a side of the picture that the network sees
        image_tokenizer_cls: str
        image_tokenizer: dict[str, Any]
        tokenizer_cls: str
        tokenizer: dict[str, Any]
        backbone_cls: str
        backbone: dict[str, Any]
        post_processor_cls: str
        post_processor: dict[str, Any]
        decoder_cls: str
        decoder: dict[str, Any]
        renderer_cls: str
        renderer: dict[str, Any]

    cfg: Config

    @classmethod
    def from_pretrained(
        cls,
        pretrained_model_name_or_path: str | Path,
        config_name: str = "config.yaml",
        weight_name: str = "model.ckpt",
        allow_network: bool = True,
        precision: str = "float32",
    ) -> TSR:
        """Load a model: a folder, or the name of a Hugging Face repository.

        A folder is never looked up anywhere else. A repository is taken from the Hugging Face cache; what is missing
        there is downloaded, if `allow_network`. Where `weight_name` is missing, the same name with `.safetensors` is
        taken.

        Args:
            pretrained_model_name_or_path: the folder, or the repository's name.
            config_name: the settings' file name.
            weight_name: the tensors' file name.
            allow_network: whether anything may be downloaded.
            precision: format of the large layers' weights (see `precision`): float32, bfloat16, float16 or auto.

        Returns:
            The model on the CPU, in evaluation mode.

        Raises:
            DIF3DError: not found, not readable, or settings and tensors that do not fit each other.
        """
        name = str(pretrained_model_name_or_path)
        return cls.from_files(find_model(name, allow_network, config_name, weight_name), precision)

    @classmethod
    def from_files(cls, files: ModelFiles, precision: str = "float32", device: str | torch.device = "cpu") -> TSR:
        """Load the model that `find_model` found, for use on `device`. Raises as `from_pretrained` does."""
        cfg = read_config(files.config)
        with torch.device("meta"):  # shapes only: every value comes from the file
            model = cls(cfg, folder=files.config.parent)
        assign_tensors(model, files.weights, precision, device)
        return model.eval().to(device)

    @property
    def dtype(self) -> torch.dtype:
        """The number format of the large layers' weights."""
        return self.backbone.proj_in.weight.dtype

    def configure(self, folder: Path | None = None) -> None:
        """Build the six parts. `folder` is where the model's files are, for a ViT described beside `config.yaml`."""
        cfg = self.cfg
        self.image_tokenizer = _find_class(cfg.image_tokenizer_cls)(cfg.image_tokenizer, folder=folder)
        self.tokenizer = _find_class(cfg.tokenizer_cls)(cfg.tokenizer)
        self.backbone = _find_class(cfg.backbone_cls)(cfg.backbone)
        self.post_processor = _find_class(cfg.post_processor_cls)(cfg.post_processor)
        self.decoder = _find_class(cfg.decoder_cls)(cfg.decoder)
        self.renderer = _find_class(cfg.renderer_cls)(cfg.renderer)
        self.image_processor = ImagePreprocessor()
        self._begun = Kept()
        self.resolution = 256

    def forward(self, image: Picture | Sequence[Picture], device: str | torch.device) -> Tensor:
        """Pictures to scene codes.

        Args:
            image: one RGB picture, a list of them, or a batch [B, H, W, 3] (see `ImagePreprocessor`).
            device: where the model is.

        Returns:
            Scene codes [B, 3, C, H, W]: for each picture the xy, xz and yz planes.
        """
        pixels = self.image_processor(image, self.cfg.cond_image_size).to(device)
        image_tokens = self.image_tokenizer(pixels.permute(0, 3, 1, 2))
        # The triplane's tokens are the same for all pictures until they look at one.
        tokens, count = self.tokenizer(1), len(pixels)
        begun = self._begun.get(self, lambda: self.backbone.begin(tokens))
        tokens = self.backbone.finish(tokens, begun.expand(count, -1, -1), image_tokens)
        return self.post_processor(self.tokenizer.detokenize(tokens))

    def render(
        self,
        scene_codes: Tensor,
        n_views: int,
        elevation_deg: float = 0.0,
        camera_distance: float = 1.9,
        fovy_deg: float = 40.0,
        height: int = 256,
        width: int = 256,
        return_type: str = "pil",
    ) -> list[list[Image.Image]] | list[list[np.ndarray]] | list[list[Tensor]]:
        """Render each scene code from `n_views` cameras round it (see `get_spherical_cameras`).

        Args:
            scene_codes: [B, 3, C, H, W].
            n_views: number of cameras.
            elevation_deg: degrees above the xy plane.
            camera_distance: distance of the cameras from the origin.
            fovy_deg: vertical field of view in degrees.
            height: of each picture, in pixels.
            width: of each picture, in pixels.
            return_type: "pil", "np" or "pt".

        Returns:
            For each scene code a list of `n_views` pictures: PIL, or float [height, width, 3], sRGB in [0, 1].
        """
        if return_type not in ("pil", "np", "pt"):
            raise ValueError(f"return_type must be pil, np or pt, not {return_type!r}")
        cameras = get_spherical_cameras(n_views, elevation_deg, camera_distance, fovy_deg, height, width)
        rays_o, rays_d = (rays.to(scene_codes.device) for rays in cameras)
        with torch.no_grad():
            pictures = [
                [self.renderer(self.decoder, code, o, d) for o, d in zip(rays_o, rays_d, strict=True)]
                for code in scene_codes
            ]
        return [[_convert(picture, return_type) for picture in views] for views in pictures]

    def set_marching_cubes_resolution(self, resolution: int) -> None:
        """Set how many samples along each axis `extract_mesh` takes when it is not told."""
        if resolution < 2:
            raise DIF3DError(f"The marching-cubes resolution must be 2 or more, not {resolution}.")
        self.resolution = resolution

    def extract_mesh(
        self, scene_codes: Tensor, resolution: int | None = None, threshold: float = 25.0
    ) -> list[trimesh.Trimesh]:
        """Extract the surface where the density is `threshold`, from each scene code [B, 3, C, H, W].

        Args:
            scene_codes: [B, 3, C, H, W].
            resolution: samples along each axis; 256, or what `set_marching_cubes_resolution` set, when left out.
            threshold: density at the surface.

        Returns:
            Meshes in the field frame, faces outward, with vertex colours; open where the object meets the box, as the
            original leaves them.

        Raises:
            DIF3DError: no surface at that threshold, or a resolution that does not fit in memory.
        """
        if resolution is not None:
            self.set_marching_cubes_resolution(resolution)
        meshes = []
        for code in scene_codes:
            field = Field(code, self.decoder, self.renderer)
            surface = extract_surface(field, self.resolution, threshold, as_original=True)
            colors = field.color(torch.from_numpy(surface.vertices)).cpu().numpy()
            meshes.append(
                trimesh.Trimesh(surface.vertices, surface.faces, vertex_colors=colors, process=False, validate=False)
            )
        return meshes


def _find_class(name: str) -> type[BaseModule]:
    try:
        return _CLASSES[name]
    except KeyError:
        known = ", ".join(sorted(_CLASSES))
        raise DIF3DError(
            f"The model's config.yaml names a class {name!r} that is not known. Known are {known}."
        ) from None


def _convert(picture: Tensor, return_type: str) -> Image.Image | np.ndarray | Tensor:
    if return_type == "pt":
        return picture
    array = picture.float().cpu().numpy()
    return array if return_type == "np" else Image.fromarray((array.clip(0, 1) * 255).astype(np.uint8))
