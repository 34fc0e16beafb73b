"""The example notebook runs from its first cell to its last."""

import nbformat
import pytest
from nbclient import NotebookClient
from PIL import Image, ImageDraw


@pytest.fixture
def notebook(repo_root):
    return nbformat.read(repo_root / "examples" / "workspace.ipynb", as_version=4)


def test_the_notebook_is_kept_without_results_and_works_offline(notebook):
    for cell in notebook.cells:
        if cell.cell_type == "code":
            assert cell.outputs == [] and cell.execution_count is None
    assert 'pretrained_model = "embedded"' in parameters(notebook).source


def test_the_notebook_runs(notebook, repo_root, model_folder, tmp_path):
    picture = Image.new("RGBA", (96, 96), (0, 0, 0, 0))
    ImageDraw.Draw(picture).ellipse((20, 8, 76, 88), fill=(220, 120, 60, 255))
    picture.save(tmp_path / "egg.png")
    values = {
        "input_path": str(tmp_path / "egg.png"),
        "output_path": str(tmp_path / "output"),
        "pretrained_model": str(model_folder),
        "mc_resolution": 24,
        "n_views": 3,
        "frame_size": 32,
    }
    cell = parameters(notebook)
    names = {line.split("=")[0].strip() for line in cell.source.splitlines()}
    assert names == {"input_path", "output_path", "pretrained_model", "mc_resolution", "n_views, frame_size"}
    cell.source = "\n".join(f"{name} = {value!r}" for name, value in values.items())
    client = NotebookClient(notebook, timeout=300, resources={"metadata": {"path": str(repo_root / "examples")}})
    client.execute()
    assert (tmp_path / "output" / "3dfiles" / "mesh.obj").stat().st_size > 1000
    assert len(list((tmp_path / "output" / "renderfiles").glob("render_*.png"))) == 3
    shown = [out for code in notebook.cells for out in code.get("outputs", []) if "image/png" in out.get("data", {})]
    assert len(shown) == 3
    assert "front view is used instead" in str(notebook.cells[-1].outputs)


def parameters(notebook):
    (cell,) = (cell for cell in notebook.cells if "parameters" in cell.metadata.get("tags", []))
    return cell
