"""Rendering a turntable in a real Blender with a window: progress, and stopping it."""

import json
import shutil

import pytest
from blenders import HERE, VERSIONS, finish, install, real_blender
from test_window import HEIGHT, WIDTH, screen

pytestmark = pytest.mark.skipif(shutil.which("Xvfb") is None, reason="no Xvfb (apt install xvfb)")


@pytest.mark.parametrize("version", VERSIONS)
def test_a_turntable_is_stopped_by_escape_and_by_the_panel_and_leaves_nothing(version, archive, tmp_path, monkeypatch):
    log = tmp_path / "log.jsonl"
    install(version, archive, tmp_path)
    with screen() as display:
        monkeypatch.setenv("DISPLAY", display)
        script = HERE / "in_blender" / "turntable_window.py"
        arguments = ["--enable-event-simulate", "-p", "0", "0", WIDTH, HEIGHT, "--python", script]
        printed = finish(real_blender(version, arguments, tmp_path, {"log": str(log)}), 300)
    found = {line["what"]: line for line in map(json.loads, log.read_text().splitlines())} if log.exists() else {}
    assert set(found) == {"escape", "panel", "none", "script", "disabled"}, (found, printed[-3000:])
    script, disabled = found.pop("script"), found.pop("disabled")
    assert script["restored"] and script["files"][1] == 2, script
    assert disabled["restored"] and disabled["usable"], disabled
    for way, line in found.items():
        assert line["meanwhile"] and line["restored"] and line["refused"] and line["reached"] >= 2, found
        if way != "none":
            assert line["files"] == [[], 0], found
            assert line["turns"] > 1, found  # Blender's own timers ran between the frames
    names = [*(f"render_{number:03d}.png" for number in range(6)), "render.mp4"]
    assert found["none"]["files"] == [sorted(names), 1], found
