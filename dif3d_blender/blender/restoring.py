"""Settings of the artist that an operator changes for a while."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator
from typing import Any

import bpy


@contextlib.contextmanager
def kept(*settings: tuple[Any, Iterable[str]]) -> Iterator[None]:
    """Put attributes back at the end, in the order given: pairs of an owner and names. What it lacks is left out."""
    before = [
        (owner, name, getattr(owner, name)) for owner, names in settings for name in names if hasattr(owner, name)
    ]
    try:
        yield
    finally:
        for owner, name, value in before:
            setattr(owner, name, value)


@contextlib.contextmanager
def selected(active: bpy.types.Object, *others: bpy.types.Object) -> Iterator[None]:
    """Select some objects of the view layer alone; the artist's selection comes back at the end."""
    layer = bpy.context.view_layer
    layer.update()  # objects that a script removed a moment ago are still in it, as None
    names, former = [obj.name for obj in layer.objects if obj.select_get()], layer.objects.active
    for obj in layer.objects:
        obj.select_set(obj == active or obj in others)
    layer.objects.active = active
    try:
        yield
    finally:
        for obj in layer.objects:
            obj.select_set(obj.name in names)
        layer.objects.active = former
