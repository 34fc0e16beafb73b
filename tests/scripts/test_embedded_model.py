"""What the embedded model learns from: objects, pictures, labels, measures; and that a training run can go on."""

import io
import math
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "scripts"))

import train_embedded
from embedded_model import metrics, network, pictures, shapes, templates
from embedded_model.shapes import Part, Shape, ShapeBatch

from dif3d_blender.engine.field import Field
from dif3d_blender.engine.isosurface import extract_surface
from dif3d_blender.engine.tsr import TSR


@pytest.fixture(autouse=True, scope="module")
def without_compiling():
    torch.compiler.set_stance("force_eager")
    yield
    torch.compiler.set_stance("default")


def part(kind, size, at=(0, 0, 0), turn=None, **how):
    grey = np.full(3, 0.5)
    turn = np.eye(3) if turn is None else turn
    return Part(kind, size, np.array(at, float), turn, 1.0, grey, 1 - grey, **how)


def distance(points, *parts, **deformation):
    batch = ShapeBatch.pack([Shape(list(parts), "test", **deformation)])
    return shapes.measure(torch.tensor(points, dtype=torch.float32)[None], batch.tensors)[0]


@pytest.mark.parametrize(
    ("kind", "size", "point", "expected"),
    [
        (shapes.BOX, (0.3, 0.2, 0.1, 0.0), (0.5, 0.0, 0.0), 0.2),
        (shapes.BOX, (0.3, 0.2, 0.1, 0.05), (0.0, 0.0, 0.0), -0.1),
        (shapes.SUPERQUADRIC, (0.4, 0.4, 0.4, 2, 2), (0.0, 1.0, 0.0), 0.6),
        (shapes.CONE, (0.2, 0.2, 0.5, 0.0), (0.0, 0.6, 0.0), 0.4),
        (shapes.TORUS, (0.5, 0.1, 0.0), (0.0, 0.5, 0.3), 0.2),
        (shapes.CAPSULE, (0.1, 0.1, 0.4), (0.0, 0.0, 1.0), 0.5),
        (shapes.LATHE, (0.3,) * 7 + (0.5,), (0.7, 0.0, 0.0), 0.4),
    ],
)
def test_primitives_measure_distance(kind, size, point, expected):
    assert distance([point], part(kind, size)).item() == pytest.approx(expected, abs=2e-3)


def test_parts_are_turned_moved_mirrored_joined_and_carved():
    turn = templates.rotation("x", 90)  # its z becomes the object's −y
    lying = part(shapes.CAPSULE, (0.1, 0.1, 0.4), (0.2, 0, 0), turn)
    assert distance([(0.2, 0.6, 0)], lying).item() == pytest.approx(0.1, abs=1e-3)
    twin = part(shapes.SUPERQUADRIC, (0.1, 0.1, 0.1, 2, 2), (0, 0.5, 0), mirrored=True)
    assert torch.allclose(distance([(0, 0.9, 0)], twin), distance([(0, -0.9, 0)], twin))
    block = part(shapes.BOX, (0.4, 0.4, 0.4, 0))
    hole = part(shapes.CONE, (0.2, 0.2, 0.6, 0), subtract=True, blend=1e-3)
    assert distance([(0, 0, 0)], block).item() < 0 < distance([(0, 0, 0)], block, hole).item()
    ball = part(shapes.SUPERQUADRIC, (0.2, 0.2, 0.2, 2, 2), (0.7, 0, 0))
    both = distance([(0.7, 0, 0), (0, 0, 0), (0, 0, 0.9)], block, ball)
    assert (both[:2] < 0).all()
    assert both[2] > 0


def test_distances_never_reach_past_the_surface():
    """Sphere tracing needs lower bounds: no point within the distance of a point may be on the other side."""
    generator = torch.Generator().manual_seed(0)
    rng = np.random.default_rng(3)
    batch = ShapeBatch.pack([templates.make_shape(rng, templates.SEEN, 0.3) for _ in range(24)])
    points = (torch.rand(24, 1500, 3, generator=generator) * 2 - 1) * 1.2
    d = shapes.measure(points, batch.tensors)
    steps = torch.nn.functional.normalize(torch.randn(points.shape, generator=generator), dim=-1)
    beyond = shapes.measure(points + 0.95 * d.clamp_min(0)[..., None] * steps, batch.tensors)
    wrong = ((d > 0) & (beyond < -0.01)).float().sum() / (d > 0).float().sum()
    assert wrong < 2e-3


def test_every_template_makes_a_solid_object_of_at_most_the_slots():
    rng = np.random.default_rng(0)
    made = []
    for name, template in templates.TEMPLATES.items():
        maker = templates.Maker(rng)
        template(maker)
        made.append(Shape(maker.parts, name))
    batch = ShapeBatch.pack(made)
    grid = pictures.lattice(32, "cpu")[None] * batch.tensors["extent"][:, None, None]
    inside = (shapes.measure(grid, batch.tensors) < 0).float().mean(1)
    empty = [shape.name for shape, share in zip(made, inside, strict=True) if not 0.001 < share < 0.9]
    assert not empty
    assert set(templates.HELD_OUT) < set(templates.TEMPLATES)
    assert not set(templates.HELD_OUT) & set(templates.SEEN)


def test_a_part_resized_is_its_shape_at_another_size():
    """Distances scale with lengths, for every kind of primitive."""
    maker = templates.Maker(np.random.default_rng(3))
    maker.box((0, 0, 0), (0.3, 0.2, 0.4), 0.05)
    maker.blob((0, 0, 0), (0.3, 0.2, 0.4), 3, 4)
    maker.cone((0, 0, 0), 0.2, 0.4, 0.3, 0.02)
    maker.ring((0, 0, 0), 0.3, 0.1, 0.1)
    maker.rod((0, 0, -0.3), (0, 0, 0.3), 0.1, 0.2)
    maker.lathe((0, 0, 0), [0.1, 0.4, 0.2], 0.4)
    points = torch.rand(1, 500, 3, generator=torch.Generator().manual_seed(0)) - 0.5
    for part in maker.parts:
        half = templates.resized(part, 0.5, np.zeros(3))
        whole, small = (ShapeBatch.pack([Shape([p], "part")]).tensors for p in (part, half))
        inside = shapes.measure(points, whole) < 0
        assert 0.02 < inside.float().mean() < 0.9
        assert torch.equal(shapes.measure(0.5 * points, small) < 0, inside)


def test_grafts_grow_on_a_part():
    rng, outside = np.random.default_rng(1), 0
    for _ in range(300):
        maker = templates.Maker(rng)
        templates.TEMPLATES[templates.SEEN[rng.integers(len(templates.SEEN))]](maker)
        part = maker.pick(*(part for part in maker.parts if not part.subtract))
        tape = ShapeBatch.pack([Shape([replace(part, mirrored=False)], "part")]).tensors
        spot = torch.tensor(templates.spot_on(part, rng), dtype=torch.float32)
        outside += shapes.measure(spot[None, None], tape).item() > 0
    assert outside < 10  # waists of lathes


def test_hybrids_have_parts_of_two_things():
    rng = np.random.default_rng(1)
    made = [templates.make_shape(rng, ("table", "snowman"), free_share=0.0, hybrid_share=1.0) for _ in range(60)]
    assert {shape.name for shape in made} == {"hybrid"}
    kinds = [{part.kind for part in shape.parts} for shape in made]
    both = [{shapes.BOX, shapes.SUPERQUADRIC} <= kind for kind in kinds]  # a table has no blobs, a snowman no boxes
    assert 0.15 < np.mean(both) < 0.7
    assert not any(shape.parts[0].subtract for shape in made)


def test_pictures_are_framed_as_real_ones_are():
    _, samples = train_embedded.make_batch(5, 40, "cpu")
    assert samples.pictures.shape == (40, network.PICTURE, network.PICTURE, 3)
    assert samples.pictures.min() >= 0
    assert samples.pictures.max() <= 1
    sides, middles = [], []
    for mask in samples.masks > 0.5:
        rows, columns = mask.any(1).nonzero(), mask.any(0).nonzero()
        sides.append(max(rows.max() - rows.min(), columns.max() - columns.min()).item() + 1)
        middles += [(places.max() + places.min() + 1).item() / 2 for places in (rows, columns)]
    # the lattice that an object is framed by may miss the tip of a thin part
    assert np.mean(np.abs(np.array(sides) / network.PICTURE - pictures.FILL) < 0.09) > 0.9
    assert np.mean(np.abs(np.array(middles) - network.PICTURE / 2) < 2) > 0.9
    assert np.abs(np.array(middles) - network.PICTURE / 2).max() < 7
    assert np.median(sides) / network.PICTURE == pytest.approx(pictures.FILL, abs=0.03)


def test_labels_agree_with_the_picture():
    """A point that is inside projects into the silhouette of the camera that took the picture."""
    _, samples = train_embedded.make_batch(9, 8, "cpu")
    pose = samples.pose
    right, up, back = pose.axes()
    u, v, w = ((samples.points @ axis[:, :, None])[..., 0] for axis in (right, up, back))
    reach = (pose.distance[:, None] - w) * torch.tan(pose.fov / 2)[:, None]
    spots = torch.stack([u / reach, -v / reach], -1)[:, None]
    seen = torch.nn.functional.grid_sample(samples.masks[:, None], spots, align_corners=False)[:, 0, 0]
    inside = samples.inside > 0
    assert inside.any(1).all()
    assert (seen[inside] > 0.2).float().mean() > 0.97


def test_points_stand_for_the_box_that_they_were_drawn_from():
    shapes_, samples = train_embedded.make_batch(7, 8, "cpu", uniform_points=120_000)
    share = (samples.inside * samples.shares).sum(1)
    counted = metrics.true_occupancy(shapes_, samples.pose, 72).float().mean(1)  # fine enough for thin parts
    assert torch.allclose(samples.shares.sum(1), torch.ones(8))
    assert torch.allclose(share, counted, rtol=0.1)


def test_the_overlap_is_the_iou_where_the_network_is_sure(tmp_path, monkeypatch):
    model = network.build(tmp_path)
    _, samples = train_embedded.make_batch(7, 2, "cpu")
    truth = samples.inside
    guess = truth * (samples.points[..., 2] > 0)  # the upper half only

    def answer(decoder, positions, code):
        raw = torch.zeros(len(positions), 1)
        raw[: truth.shape[1], 0] = (guess[int(code[0, 0, 0, 0])] * 2 - 1) * 100
        return {"density": raw, "color": torch.zeros(len(positions), 3)}

    monkeypatch.setattr(model.renderer, "query_triplane", answer)
    codes = torch.arange(2.0).view(2, 1, 1, 1, 1).expand(2, 3, 1, 1, 1)
    loss = train_embedded.point_loss(model, codes, samples)["overlap"].item()
    expected = 1 - ((guess * samples.shares).sum(1) / (truth * samples.shares).sum(1)).mean().item()
    assert loss == pytest.approx(expected, abs=1e-4)


def test_overfitting_draws_new_points_of_the_same_objects(monkeypatch):
    monkeypatch.setattr(train_embedded, "OVERFIT_POINTS", {"uniform_points": 500, "surface_points": 100})
    fixed = train_embedded.FixedObjects(4, "cpu")
    draws = [fixed.draw(4, step) for step in range(2)]
    one, two = (samples for _, samples in draws)
    order = [
        [(samples.pictures == picture).all((1, 2, 3)).nonzero().item() for picture in fixed.pictures]
        for samples in (one, two)
    ]
    assert order[0] != order[1]
    assert not torch.equal(one.points[order[0]], two.points[order[1]])
    for batch, samples in draws:
        distance = pictures.field_distance(samples.points, batch, samples.pose)
        assert torch.equal(samples.inside > 0, distance < 0)


def test_encoding_at_16_bits_agrees_and_trains_the_weights_themselves(tmp_path):
    model = network.build(tmp_path)
    picture = torch.rand(1, network.PICTURE, network.PICTURE, 3)
    full, half = (train_embedded.encode(model, picture, dtype) for dtype in (torch.float32, torch.bfloat16))
    assert torch.allclose(half, full, atol=0.05 * full.abs().max().item())
    half.sum().backward()
    assert model.backbone.transformer_blocks[0].attn1.to_q.weight.grad.dtype == torch.float32


def test_the_inflated_silhouette_is_a_ball_for_a_ball():
    ball = ShapeBatch.pack([Shape([part(shapes.SUPERQUADRIC, (0.5, 0.5, 0.5, 2, 2))], "ball")])
    pose = pictures.frame(ball, torch.Generator().manual_seed(0))
    origin, direction = pictures.rays(pose, 64)
    _, coverage = pictures.trace(ball, pose, origin, direction, 64)
    truth = metrics.true_occupancy(ball, pose, 32)
    inflated = metrics.inflated_silhouette(coverage.view(1, 64, 64), 32)
    assert metrics.iou(truth, inflated).item() > 0.85


def test_iou_and_mean_shape():
    first = torch.tensor([[True, True, False, False], [False, False, False, False]])
    second = torch.tensor([[True, False, True, False], [False, False, False, False]])
    assert metrics.iou(first, second).tolist() == pytest.approx([1 / 3, 1])
    many = torch.tensor([[True, True, False], [True, False, False], [True, True, False]])
    assert metrics.mean_shape(many).tolist() == [True, True, False]


def test_the_network_starts_aligned(tmp_path):
    """The first cross-attention sends every cell of the yz plane to the patch that shows it."""
    torch.manual_seed(0)
    model = network.build(tmp_path)
    attention, side = model.backbone.transformer_blocks[0].attn2, network.PLANE
    with torch.no_grad():
        tokens = model.image_tokenizer(torch.rand(1, 3, network.PICTURE, network.PICTURE))
        cells = model.backbone.proj_in(model.backbone.norm(model.tokenizer(1)).transpose(1, 2))
        query = attention.to_q(cells)[0, 2 * side**2 :, : network.CODE]
        key = attention.to_k(tokens)[0, 1:, : network.CODE]
    best = (query @ key.T).argmax(1)
    z, y = torch.meshgrid(torch.arange(side), torch.arange(side), indexing="ij")
    assert (best == ((side - 1 - z) * side + y).flatten()).float().mean() > 0.95


def test_training_goes_on_where_it_stopped_and_releases_a_model_that_loads(tmp_path, monkeypatch):
    monkeypatch.setattr(train_embedded, "UNIFORM_POINTS", 64)
    monkeypatch.setattr(train_embedded, "SURFACE_POINTS", 64)
    run = train_embedded.Run(tmp_path, "cpu", rate=1e-3)
    _, samples = train_embedded.make_batch(1, 2, "cpu")
    losses = []
    for _ in range(3):
        codes = train_embedded.encode(run.model, samples.pictures, torch.float32)
        loss = train_embedded.point_loss(run.model, codes, samples)
        run.learn(loss)
        run.progress["steps"] += 1
        losses.append(sum(loss.values()).item())
    assert losses[-1] < losses[0]
    run.save()
    again = train_embedded.Run(tmp_path, "cpu", rate=1e-3)
    assert again.progress == run.progress
    for name, value in run.average.state_dict().items():
        assert torch.equal(value, again.average.state_dict()[name]), name

    again.progress["objects"] = 1234
    again.release(tmp_path / "released")
    stored = load_file(tmp_path / "released" / "model.safetensors")
    assert all(tensor.dtype == torch.bfloat16 for tensor in stored.values())
    assert TSR.from_pretrained(tmp_path / "released")(samples.pictures, "cpu").shape == (2, 3, 24, 32, 32)

    monkeypatch.setattr(train_embedded, "RELEASE", tmp_path / "released")
    (tmp_path / "new").mkdir()
    further = train_embedded.Run(tmp_path / "new", "cpu", rate=1e-3, from_release=True)
    assert further.progress["objects"] == 1234
    for name, value in run.average.state_dict().items():
        assert torch.allclose(value, further.model.state_dict()[name], rtol=0.02, atol=0.02), name


def test_sharpening_keeps_the_surface(tmp_path):
    torch.manual_seed(1)
    model = network.build(tmp_path).eval()
    points = torch.rand(2000, 3) * 1.6 - 0.8
    with torch.no_grad():
        model.decoder.layers[-1].bias[0] = 1 + math.log(25)  # so that about half of the points are inside
        code = model([np.random.default_rng(0).random((64, 64, 3)).astype(np.float32)], "cpu")[0]
        soft = Field(code, model.decoder, model.renderer).density(points)
        network.sharpen(model, 2.5)
        sharp = Field(code, model.decoder, model.renderer).density(points)
    assert 0.05 < (soft > 25).float().mean() < 0.95
    assert torch.allclose(sharp, 25 * (soft / 25) ** 2.5, rtol=1e-2)


def test_compiled_and_plain_distances_agree():
    torch.compiler.set_stance("default")
    try:
        rng = np.random.default_rng(9)
        batch = ShapeBatch.pack([templates.make_shape(rng, templates.SEEN) for _ in range(3)])
        points = torch.rand(3, 200, 3) * 2 - 1
        plain = shapes.measure(points, batch.tensors)
        assert torch.allclose(shapes.compiled_measure(points, batch.tensors), plain, atol=1e-4)
    finally:
        torch.compiler.set_stance("force_eager")


def test_the_shipped_model_makes_a_solid_from_an_example(repo_root):
    from dif3d_blender.engine.foreground import cut_out, frame_subject, open_picture

    model = TSR.from_pretrained(repo_root / "dif3d_blender" / "engine" / "embedded", weight_name="model.safetensors")
    picture, _ = frame_subject(cut_out(open_picture(repo_root / "examples" / "snowman.png")).image)
    with torch.no_grad():
        code = model([picture], "cpu")[0]
    surface = extract_surface(Field(code, model.decoder, model.renderer), 64)
    low, high = surface.vertices.min(0), surface.vertices.max(0)
    assert high[2] - low[2] == pytest.approx(2 * 0.85 * 0.69, abs=0.15)  # as tall as it is framed
    assert 0.3 < (high[1] - low[1]) / (high[2] - low[2]) < 0.75  # and slim


def test_compression_is_that_of_jpeg():
    """Of a grey picture that of the format: Pillow's quality 50 takes the table as it is."""
    rows, columns = np.mgrid[:64, :64]
    grey = (127 + 80 * np.sin(rows / 5) * np.cos(columns / 3) + 20 * (columns > 30)).clip(0, 255).astype(np.uint8)
    file = io.BytesIO()
    Image.fromarray(grey).save(file, "JPEG", quality=50)
    expected = torch.from_numpy(np.array(Image.open(file), dtype=np.float32) / 255)
    picture = torch.from_numpy(grey / np.float32(255))[None, :, :, None].expand(2, -1, -1, 3)
    coarse, same = pictures.compress(picture, torch.tensor([1.0, 0.0]))
    off, changed = (coarse[..., 0] - expected).abs(), (coarse - picture[0]).abs()
    assert off.mean() < 0.5 / 255 and off.mean() < changed.mean() / 4  # Pillow rounds some ties the other way
    assert torch.allclose(same, picture[1], atol=1e-3)
