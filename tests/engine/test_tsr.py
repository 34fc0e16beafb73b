"""The network's parts: any sizes, gradients, settings that do not fit, and what may be named in a config.yaml."""

import json

import numpy as np
import pytest
import torch
from PIL import Image
from tiny_models import VIT, settings, write_model

from dif3d_blender.engine import TSR
from dif3d_blender.engine.errors import DIF3DError
from dif3d_blender.engine.tsr.vit import KNOWN, ViTConfig, find_vit_config


def encode(model, pictures=2):
    return model(some_pictures(pictures), "cpu")


def some_pictures(count):
    return torch.rand(count, 20, 30, 3, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"backbone": {"norm_num_groups": 8, "activation_fn": "gelu", "attention_bias": True}},
        {"backbone": {"activation_fn": "geglu-approximate", "norm_elementwise_affine": False}},
        {"backbone": {"double_self_attention": True}},
        {"backbone": {"cross_attention_dim": 24, "only_cross_attention": True}},
        {"renderer": {"feature_reduction": "mean"}, "decoder": {"in_channels": 5, "activation": "relu", "bias": False}},
        {"tokenizer": {"plane_size": 3, "num_channels": 64}, "post_processor": {"in_channels": 64}},
    ],
)
def test_other_sizes_and_settings(tmp_path, changes):
    config = settings(**changes)
    write_model(tmp_path, config)
    model = TSR.from_pretrained(tmp_path)
    with torch.no_grad():
        codes = encode(model)
    size = 2 * config["tokenizer"]["plane_size"]
    assert codes.shape == (2, 3, 5, size, size)
    assert codes.isfinite().all()
    assert not torch.equal(codes[0], codes[1])
    view = model.render(codes, 1, height=6, width=8, return_type="np")[1][0]
    assert view.shape == (6, 8, 3)
    assert 0 <= view.min() <= view.max() <= 1


def test_loading_gives_the_tensors_that_were_saved(tmp_path):
    made = write_model(tmp_path)
    loaded = TSR.from_pretrained(str(tmp_path))
    assert not any(parameter.is_meta for parameter in loaded.parameters())
    with torch.no_grad():
        assert torch.equal(encode(made), encode(loaded))


def test_every_used_parameter_gets_a_gradient(tmp_path):
    """A trainer goes through the scene code and the decoder, by points and by rays."""
    model = write_model(tmp_path).train()
    codes = encode(model)
    points = torch.rand(2, 9, 3) - 0.5
    total = sum(
        model.renderer.query_triplane(model.decoder, p, code)["density_act"].mean()
        for p, code in zip(points, codes, strict=True)
    )
    rays_o, rays_d = torch.tensor([[1.9, 0.0, 0.0]]), torch.tensor([[-1.0, 0.0, 0.0]])
    total = total + model.renderer(model.decoder, codes[0], rays_o, rays_d).sum()
    total.backward()
    without = {name for name, parameter in model.named_parameters() if parameter.grad is None}
    assert without == {f"image_tokenizer.model.pooler.dense.{kind}" for kind in ("weight", "bias")}


def test_what_no_picture_changes_is_computed_once(tmp_path, monkeypatch):
    model = write_model(tmp_path).eval()
    with torch.no_grad():
        pixels = model.image_processor(some_pictures(2), model.cfg.cond_image_size)
        tokens = model.backbone(model.tokenizer(2), model.image_tokenizer(pixels.permute(0, 3, 1, 2)))
        expected = model.post_processor(model.tokenizer.detokenize(tokens))
    calls = []
    begin = model.backbone.begin
    monkeypatch.setattr(model.backbone, "begin", lambda tokens: calls.append(1) or begin(tokens))
    with torch.no_grad():
        assert torch.allclose(encode(model), expected, atol=1e-6)
        first = encode(model, 1)
        assert torch.equal(encode(model, 1), first)
        assert len(calls) == 1
    encode(model).sum().backward()  # a picture's gradients reach all weights
    assert len(calls) == 2
    assert model.tokenizer.embeddings.grad.abs().sum() > 0


@pytest.mark.parametrize(
    "change",
    [
        lambda model, other: model.backbone.transformer_blocks[0].attn1.to_v.weight.mul_(2),
        lambda model, other: model.tokenizer.embeddings.add_(torch.rand(1)),
        lambda model, other: model.load_state_dict(other.state_dict()),
        lambda model, other: model.load_state_dict(other.state_dict(), assign=True),
        lambda model, other: setattr(model.backbone, "proj_in", other.backbone.proj_in),
        lambda model, other: model.bfloat16().float(),
    ],
)
def test_nothing_of_changed_weights_is_kept(tmp_path, change):
    model, other = write_model(tmp_path / "a").eval(), write_model(tmp_path / "b", seed=5)
    with torch.no_grad():
        before = encode(model)
        change(model, other)
        after = encode(model)
        fresh = TSR(settings(), folder=tmp_path / "a").eval()
        fresh.load_state_dict(model.state_dict())
        assert not torch.equal(after, before)
        assert torch.equal(after, encode(fresh))


def test_gradient_checkpointing_changes_nothing(tmp_path):
    plain = write_model(tmp_path)
    config = settings(
        backbone={"gradient_checkpointing": True}, image_tokenizer={"enable_gradient_checkpointing": True}
    )
    saving = TSR(config, folder=tmp_path).train()
    saving.load_state_dict(plain.state_dict())
    codes = encode(saving)
    codes.square().mean().backward()
    assert torch.allclose(codes, encode(plain), atol=1e-6)
    assert saving.backbone.proj_in.weight.grad.abs().sum() > 0


def test_chunks_change_nothing(tmp_path):
    model = write_model(tmp_path)
    points = torch.rand(4, 5, 3)
    with torch.no_grad():
        code = encode(model)[0]
        whole = model.renderer.query_triplane(model.decoder, points, code)
        model.renderer.set_chunk_size(7)
        parts = model.renderer.query_triplane(model.decoder, points, code)
    for name, value in whole.items():
        assert torch.allclose(parts[name], value, atol=1e-6), name


def test_pictures_of_every_kind_give_the_same_code(tmp_path):
    model = write_model(tmp_path)
    pixels = np.random.default_rng(0).integers(0, 256, (50, 50, 3), dtype=np.uint8)
    with torch.no_grad():
        codes = [
            model(picture, "cpu")
            for picture in (
                pixels,
                Image.fromarray(pixels),
                [pixels],
                pixels[None],
                torch.from_numpy(pixels / 255).float(),
            )
        ]
    for code in codes[1:]:
        assert torch.allclose(code, codes[0], atol=1e-6)


def test_position_embedding_is_resized_only_for_other_sizes(tmp_path):
    model = write_model(tmp_path).image_tokenizer.model
    stored = model.embeddings.position_embeddings
    assert model.embeddings._positions(4, 4) is stored
    resized = model.embeddings._positions(5, 7)
    assert resized.shape == (1, 1 + 35, 24)
    assert torch.equal(resized[:, 0], stored[:, 0])


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"decoder_cls": "os.system"}, "os.system"),
        ({"tokenizer": {"plane_size": "many"}}, "plane_size"),
        ({"renderer": {"radius": 1.0, "colour": 3}}, "colour"),
        ({"renderer": {"feature_reduction": "sum"}}, "feature_reduction"),
        ({"backbone": {"norm_num_groups": 5}}, "norm_num_groups"),
        ({"backbone": {"activation_fn": "sine"}}, "sine"),
        ({"backbone": {"norm_type": "ada_norm"}}, "norm_type"),
        ({"decoder": {"activation": "exec"}}, "exec"),
    ],
)
def test_settings_that_do_not_fit_are_named(tmp_path, changes, words):
    config = settings(**changes)
    write_model(tmp_path)
    with pytest.raises(DIF3DError, match=words):
        TSR(config, folder=tmp_path)


def test_a_missing_setting_is_named(tmp_path):
    config = settings()
    del config["renderer_cls"]
    write_model(tmp_path)
    with pytest.raises(DIF3DError, match="renderer_cls"):
        TSR(config, folder=tmp_path)


def test_known_vit_needs_no_file():
    assert find_vit_config("facebook/dino-vitb16", None) == KNOWN["facebook/dino-vitb16"] == ViTConfig()


def test_vit_folder_must_lie_in_the_model_folder(tmp_path):
    model, outside = tmp_path / "model", tmp_path / "outside"
    for folder in (model, outside):
        folder.mkdir()
        (folder / "config.json").write_text(json.dumps(VIT))
    for name in ("../outside", str(outside), ".."):
        with pytest.raises(DIF3DError, match="outside"):
            find_vit_config(name, model)
    with pytest.raises(DIF3DError, match="does not exist"):
        find_vit_config("google/vit-huge", model)


@pytest.mark.parametrize("text", ["", "[1]", '{"hidden_size": "wide"}', '{"hidden_act": "sine"}'])
def test_broken_vit_settings_are_refused(tmp_path, text):
    (tmp_path / "vit").mkdir()
    (tmp_path / "vit" / "config.json").write_text(text)
    with pytest.raises(DIF3DError, match=r"config\.json"):
        find_vit_config("vit", tmp_path)
