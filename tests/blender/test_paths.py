"""Where the extension writes: folders that nothing else has used, and what is said when there is no writing."""

import pytest

bpy = pytest.importorskip("bpy")

from dif3d_blender.blender import paths  # noqa: E402
from dif3d_blender.engine.errors import DIF3DError  # noqa: E402


@pytest.fixture
def user(tmp_path, monkeypatch):
    """Blender's folder for the extension."""
    monkeypatch.setattr(bpy.utils, "extension_path_user", lambda package, create: str(tmp_path / "user"))
    return tmp_path / "user"


def test_each_result_gets_a_folder_of_its_own(user, tmp_path):
    folders = [paths.new_output_folder("Mein Bild (1)", "") for _ in range(3)]
    assert len(set(folders)) == 3 and all(folder.is_dir() for folder in folders)
    assert all(folder.parent == user / "results" and folder.name.startswith("Mein_Bild_1-") for folder in folders)
    assert paths.new_output_folder("..", str(tmp_path / "mine")).parent == tmp_path / "mine"


def test_a_folder_for_results_that_cannot_be_written_is_named(user, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(DIF3DError, match="Choose another output folder"):
        paths.new_output_folder("x", str(tmp_path / "file"))


def test_a_read_only_folder_of_blender_is_told(monkeypatch):
    def refuse(package, create):
        raise PermissionError(13, "Permission denied", "/home/artist/.config/blender")

    monkeypatch.setattr(bpy.utils, "extension_path_user", refuse)
    with pytest.raises(DIF3DError, match=r"/home/artist/\.config/blender.*permissions"):
        paths.log_path()


def test_the_requirements_are_found(user):
    assert paths.requirements_path().name == "vendor_requirements.txt"
