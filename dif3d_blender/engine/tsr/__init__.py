"""The published network (TripoSR), in its file format: class names, settings and tensor names of the original.

`TSR` is wired from six parts: image tokenizer (a ViT), triplane tokenizer, transformer, upsampler, decoder, renderer.
"""

from .module import BaseModule
from .system import TSR

__all__ = ["TSR", "BaseModule"]
