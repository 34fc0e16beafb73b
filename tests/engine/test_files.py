"""Finding pictures."""

import pytest
from PIL import Image

from dif3d_blender.engine import files
from dif3d_blender.engine.errors import DIF3DError


def test_find_pictures(tmp_path):
    for name in ("b.png", "a.JPG"):
        Image.new("RGB", (9, 9)).save(tmp_path / name, format="PNG")
    (tmp_path / "notes.txt").write_text("no")
    (tmp_path / "._a.JPG").touch()  # macOS leaves such beside pictures
    assert [path.name for path in files.find_pictures(tmp_path)] == ["a.JPG", "b.png"]
    assert files.find_pictures(tmp_path / "b.png") == [tmp_path / "b.png"]
    with pytest.raises(DIF3DError, match="no picture or folder"):
        files.find_pictures(tmp_path / "nothing")
    (tmp_path / "empty").mkdir()
    with pytest.raises(DIF3DError, match="holds no pictures"):
        files.find_pictures(tmp_path / "empty")
