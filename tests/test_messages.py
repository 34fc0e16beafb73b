"""Messages survive the pipe, and nothing else passes for one."""

import json

import pytest

from dif3d_blender.messages import Failure, Job, Progress, Result, from_line, to_line


@pytest.mark.parametrize(
    "message",
    [
        Job("a picture.png", "out", resolution=64, allow_network=True),
        Progress("3", "Finding the surface", 0.25, "½ of ∞"),
        Result("3", "out", {"mesh": "out/mesh.glb"}, {"counts": {"vertices": 8}}),
        Failure("3", "Opening the picture", "line one\nline two"),
    ],
)
def test_a_message_is_one_line_and_comes_back_equal(message):
    line = to_line(message)
    assert line.endswith("\n")
    assert line.count("\n") == 1
    assert from_line(line) == message


@pytest.mark.parametrize(
    "line",
    [
        "",
        "warning: something",
        "[1, 2]",
        "{}",
        json.dumps({"type": "Exploit", "code": "…"}),
        json.dumps({"type": "Job", "picture": "a", "output": "b", "unknown": 1}),
        json.dumps({"type": "Job", "picture": "a"}),
    ],
)
def test_what_is_no_message_raises(line):
    with pytest.raises(ValueError, match="not a message"):
        from_line(line)
