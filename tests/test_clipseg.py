"""CLIPSeg parts against transformers' own model with the same small random weights."""

from __future__ import annotations

import json
import socket

import pytest
import torch
from safetensors.torch import load_file, save_file
from tokenizers.pre_tokenizers import ByteLevel
from torch import nn
from transformers import CLIPSegConfig, CLIPSegForImageSegmentation

from conceptseg.clipseg import (
    ClipSegBackbone,
    ClipSegMaskDecoder,
    ClipSegTextEncoder,
    clipseg_config,
    load_pretrained_clipseg,
)
from conceptseg.clipseg.backbone import NORMALIZATIONS
from conceptseg.network import ConceptSegNet

LETTERS = sorted(ByteLevel.alphabet())
VOCABULARY = [
    *LETTERS,
    *[f"{x}</w>" for x in LETTERS],
    "of</w>",
    "<|startoftext|>",
    "<|endoftext|>",
]
WORD_A, WORD_B = (VOCABULARY.index(f"{x}</w>") for x in "ab")
TINY = {
    "reduce_dim": 16,
    "extract_layers": [0, 1, 2],
    "projection_dim": 20,
    "decoder_intermediate_size": 32,
    "vision_config": {
        "hidden_size": 32,
        "intermediate_size": 48,
        "num_hidden_layers": 4,
        "num_attention_heads": 4,
        "image_size": 64,
    },
    "text_config": {
        "hidden_size": 24,
        "intermediate_size": 40,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "vocab_size": len(VOCABULARY),
        "bos_token_id": len(VOCABULARY) - 2,
        "eos_token_id": len(VOCABULARY) - 1,
    },
}
STEM = (4, 8)


def changed(**overrides) -> dict:
    """TINY with overrides; nested ones are merged."""
    merged = {k: {**TINY[k], **v} if isinstance(v, dict) else v for k, v in overrides.items()}
    return {**TINY, **merged}


def randomised(module: nn.Module, seed: int = 0) -> nn.Module:
    """The module with every parameter moved, so that none is zero or one."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.add_(0.2 * torch.randn(parameter.shape, generator=generator))
    return module.eval()


def normalised(image: torch.Tensor, name: str = "clipseg") -> torch.Tensor:
    mean, std = (torch.tensor(v).view(3, 1, 1) for v in NORMALIZATIONS[name])
    return (image - mean) / std


@pytest.fixture(scope="module")
def reference() -> CLIPSegForImageSegmentation:
    return randomised(CLIPSegForImageSegmentation(clipseg_config(TINY)))


@pytest.fixture
def checkpoint(reference, tmp_path):
    folder = tmp_path / "checkpoint"
    reference.save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def tokenizer_folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tokenizer")
    (folder / "vocab.json").write_text(json.dumps({v: i for i, v in enumerate(VOCABULARY)}))
    (folder / "merges.txt").write_text("#version: 0.2\no f</w>\n")
    return folder


@pytest.fixture
def encoder(tokenizer_folder) -> ClipSegTextEncoder:
    return randomised(ClipSegTextEncoder(TINY, tokenizer_folder))


def test_default_configuration_is_that_of_the_refined_checkpoint():
    config = clipseg_config()
    assert (config.reduce_dim, list(config.extract_layers)) == (64, [3, 6, 9])
    assert config.use_complex_transposed_convolution
    vision, text = config.vision_config, config.text_config
    assert (vision.patch_size, vision.hidden_size, vision.num_hidden_layers) == (16, 768, 12)
    assert (text.vocab_size, text.hidden_size, text.max_position_embeddings) == (49408, 512, 77)


def test_a_layer_that_does_not_exist_is_refused():
    with pytest.raises(ValueError, match=r"0\.\.3, got \[0, 4\]"):
        clipseg_config(changed(extract_layers=[0, 4]))


def test_a_complete_configuration_is_copied_not_shared():
    config = CLIPSegConfig(reduce_dim=16)
    clipseg_config(config).reduce_dim = 32
    assert config.reduce_dim == 16


def test_constructors_and_the_text_free_path_read_nothing(monkeypatch):
    def refuse(*args, **kwargs):
        raise AssertionError("connection attempted")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr("conceptseg.clipseg.text_encoder.CLIPTokenizer.from_pretrained", refuse)
    backbone, decoder = ClipSegBackbone(TINY, STEM), ClipSegMaskDecoder(TINY, STEM)
    encoder = ClipSegTextEncoder(TINY)
    logits, _ = decoder(backbone(torch.rand(1, 3, 32, 32)).features, torch.rand(1, 20))
    assert logits.shape == (1, 1, 32, 32)
    with pytest.raises(AssertionError, match="connection attempted"):
        encoder.tokenize(["a"])  # the guard works


@pytest.mark.parametrize("stem", [STEM, ()])
def test_features_have_the_channels_and_strides_announced(stem):
    backbone = ClipSegBackbone(TINY, stem)
    out = backbone(torch.rand(2, 3, 32, 80))
    assert out.class_token.shape == (2, backbone.embed_dim) == (2, 32)
    expected = [
        (2, c, 32 // s, 80 // s) if s else (2, c, 1, 1)
        for c, s in zip(backbone.feature_channels, backbone.feature_strides, strict=True)
    ]
    assert [tuple(f.shape) for f in out.features] == expected
    assert backbone.feature_strides == (*((2, 4) if stem else ()), 16, 16, 16, 0)


@pytest.mark.parametrize("size", [(64, 64), (32, 96)])
def test_backbone_gives_the_hidden_states_of_transformers_vision_model(reference, size):
    backbone = ClipSegBackbone(TINY, STEM)
    backbone.vision_model.load_state_dict(reference.clip.vision_model.state_dict())
    image = torch.rand(2, 3, *size)
    out = backbone(image)
    with torch.no_grad():
        expected = reference.clip.vision_model(normalised(image), output_hidden_states=True)
    torch.testing.assert_close(out.class_token, expected.last_hidden_state[:, 0])
    torch.testing.assert_close(backbone.pooled_output(out.class_token), expected.pooler_output)
    for i, layer_map in enumerate(out.features[2:5]):
        tokens = expected.hidden_states[i + 1]
        torch.testing.assert_close(layer_map.flatten(2).transpose(1, 2), tokens[:, 1:])
        torch.testing.assert_close(out.features[5][:, 32 * i : 32 * i + 32, 0, 0], tokens[:, 0])


def test_normalization_follows_its_switch():
    image = torch.rand(1, 3, 32, 32)
    tokens = {}
    for name in ("clipseg", "clip"):
        torch.manual_seed(0)
        backbone = ClipSegBackbone(TINY, STEM, normalization=name)
        expected = backbone.vision_model(normalised(image, name)).last_hidden_state[:, 0]
        tokens[name] = backbone(image).class_token
        torch.testing.assert_close(tokens[name], expected)
    assert not torch.allclose(tokens["clipseg"], tokens["clip"])
    with pytest.raises(ValueError, match="got 'imagenet'"):
        ClipSegBackbone(TINY, normalization="imagenet")


@pytest.mark.parametrize("shape", [(1, 1, 32, 32), (1, 3, 40, 32), (3, 32, 32)])
def test_an_image_of_another_shape_is_refused(shape):
    with pytest.raises(ValueError, match=r"expected .* got"):
        ClipSegBackbone(TINY, STEM)(torch.rand(shape))


def test_a_frozen_backbone_has_no_gradient_but_its_stem_has():
    backbone = ClipSegBackbone(TINY, STEM).train()
    sum(f.square().sum() for f in backbone(torch.rand(2, 3, 32, 32)).features).backward()
    assert all(p.grad is None for p in backbone.vision_model.parameters())
    assert all(p.grad is not None for p in backbone.stem.parameters())
    assert not backbone.vision_model.training and backbone.stem.training
    assert ClipSegBackbone(TINY, ()).frozen and not backbone.frozen


def test_an_unfrozen_backbone_trains_until_it_is_frozen():
    backbone = ClipSegBackbone(TINY, STEM, frozen=False).train()
    backbone(torch.rand(1, 3, 32, 32)).class_token.sum().backward()
    assert backbone.vision_model.training
    assert backbone.vision_model.embeddings.class_embedding.grad is not None
    backbone.freeze()
    assert not backbone.train().vision_model.training
    assert not any(p.requires_grad for p in backbone.vision_model.parameters())


@pytest.mark.parametrize("complex_convolution", [True, False])
@pytest.mark.parametrize("conditional_layer", [0, 2])
def test_decoder_equals_transformers_on_a_square(complex_convolution, conditional_layer):
    config = changed(
        use_complex_transposed_convolution=complex_convolution, conditional_layer=conditional_layer
    )
    decoder = randomised(ClipSegMaskDecoder(config, (), skip=False))
    tokens, embedding = torch.randn(3, 2, 1 + 16, 32), torch.randn(2, 20)
    maps = [t[:, 1:].transpose(1, 2).reshape(2, 32, 4, 4) for t in tokens]
    class_tokens = torch.cat([t[:, 0] for t in tokens], dim=1)[:, :, None, None]
    logits, pooled = decoder([*maps, class_tokens], embedding)
    expected = decoder.decoder(list(tokens), embedding).logits
    assert logits.shape == (2, 1, 64, 64) and pooled.shape == (2, decoder.pooled_channels)
    torch.testing.assert_close(logits.squeeze(1), expected)


def test_decoder_reads_a_wide_grid_row_by_row():
    # transformers views the 16 tokens as 4 x 4; its values before that must be ours at 2 x 8
    decoder = randomised(ClipSegMaskDecoder(TINY, (), skip=False))
    seen = []
    decoder.decoder.transposed_convolution.register_forward_pre_hook(lambda _, x: seen.append(x[0]))
    tokens, embedding = torch.randn(3, 1, 1 + 16, 32), torch.randn(1, 20)
    decoder.decoder(list(tokens), embedding)
    expected = decoder.decoder.transposed_convolution(seen[0].reshape(1, 16, 2, 8))
    maps = [t[:, 1:].transpose(1, 2).reshape(1, 32, 2, 8) for t in tokens]
    class_tokens = torch.cat([t[:, 0] for t in tokens], dim=1)[:, :, None, None]
    logits, pooled = decoder([*maps, class_tokens], embedding)
    assert logits.shape == (1, 1, 32, 128)
    torch.testing.assert_close(logits, expected)
    torch.testing.assert_close(pooled, seen[0].flatten(2).amax(dim=2))


def test_logits_come_at_image_resolution_for_every_patch_size():
    config = changed(
        vision_config={"patch_size": 8}
    )  # two transposed convolutions of 2 give only 4
    features = ClipSegBackbone(config, STEM)(torch.rand(1, 3, 16, 24)).features
    logits, _ = ClipSegMaskDecoder(config, STEM)(features, torch.rand(1, 20))
    assert logits.shape == (1, 1, 16, 24)


def test_the_skip_adds_nothing_at_first_and_the_stem_once_trained():
    torch.manual_seed(0)
    features = [f.detach() for f in ClipSegBackbone(TINY, STEM)(torch.rand(1, 3, 32, 48)).features]
    with_skip, without = ClipSegMaskDecoder(TINY, STEM), ClipSegMaskDecoder(TINY, STEM, skip=False)
    without.decoder.load_state_dict(with_skip.decoder.state_dict())
    embedding = torch.rand(1, 20)
    expected = without(features, embedding)[0]
    torch.testing.assert_close(with_skip(features, embedding)[0], expected, rtol=0, atol=0)
    randomised(with_skip.refine_head)
    refined = with_skip(features, embedding)[0]
    other = with_skip([torch.randn_like(features[0]), *features[1:]], embedding)[0]
    assert not torch.allclose(refined, expected) and not torch.allclose(refined, other)


def test_decoder_and_stem_that_do_not_fit_are_refused():
    with pytest.raises(ValueError, match="stem_channels for the skip"):
        ClipSegMaskDecoder(TINY, ())
    with pytest.raises(ValueError, match=r"got \(4,\)"):
        ClipSegBackbone(TINY, (4,))
    features = ClipSegBackbone(TINY, ())(torch.rand(1, 3, 32, 32)).features
    with pytest.raises(ValueError, match="got 4 features"):
        ClipSegMaskDecoder(TINY, STEM)(features, torch.rand(1, 20))


def test_text_embedding_equals_transformers_text_features(reference, encoder):
    encoder.text_model.load_state_dict(reference.clip.text_model.state_dict())
    encoder.text_projection.load_state_dict(reference.clip.text_projection.state_dict())
    tokens = encoder.tokenize(["1 small polyp", "a", "2 large dark round polyps, located left"])
    assert tokens.attention_mask.dtype == torch.bool and not tokens.attention_mask.all()
    assert tokens.unknown_words == [[], [], []]
    embedding = encoder(tokens.input_ids, tokens.attention_mask)
    expected = reference.clip.get_text_features(tokens.input_ids, tokens.attention_mask.long())
    torch.testing.assert_close(embedding, expected.pooler_output)


def test_the_placeholder_is_a_token_of_its_own(encoder):
    plain = encoder.tokenize(["* a <concept> 5"])
    assert encoder.placeholder_id == len(VOCABULARY)
    assert not (plain.input_ids == encoder.placeholder_id).any()
    marked = encoder.tokenize(["a", "a b"], num_placeholders=2)
    assert (marked.input_ids == encoder.placeholder_id).sum(dim=1).tolist() == [2, 2]
    assert encoder.load_tokenizer().convert_ids_to_tokens(encoder.placeholder_id) == "<concept>"


def test_concept_tokens_act_as_the_words_whose_embeddings_they_are(encoder):
    words = encoder.text_model.embeddings.token_embedding.weight[[WORD_A, WORD_B]]
    marked = encoder.tokenize(["small polyp", "c"], num_placeholders=2)
    spelled = encoder.tokenize(["a b small polyp", "a b c"])
    concept_tokens = words.expand(2, -1, -1)
    embedding = encoder(marked.input_ids, marked.attention_mask, concept_tokens)
    expected = encoder(spelled.input_ids, spelled.attention_mask)
    torch.testing.assert_close(embedding, expected)
    swapped = encoder(marked.input_ids, marked.attention_mask, concept_tokens.flip(1))
    assert not torch.allclose(swapped, expected)


def test_a_placeholder_without_a_concept_token_takes_no_part(encoder):
    marked = encoder.tokenize(["small polyp", "c"], num_placeholders=2)
    plain = encoder.tokenize(["small polyp", "c"])
    expected = encoder(plain.input_ids, plain.attention_mask)
    torch.testing.assert_close(encoder(marked.input_ids, marked.attention_mask), expected)
    concept_tokens = torch.randn(2, 2, 24)
    mask = marked.attention_mask.clone()
    mask[0] &= marked.input_ids[0] != encoder.placeholder_id  # the first prompt has none
    embedding = encoder(marked.input_ids, mask, concept_tokens)
    torch.testing.assert_close(embedding[0], expected[0])
    assert not torch.allclose(embedding[1], expected[1])
    with pytest.raises(ValueError, match="expected 1 placeholders"):
        encoder(marked.input_ids, marked.attention_mask, torch.randn(2, 1, 24))


def test_trimmed_prompts_give_the_embedding_of_prompts_padded_to_77(encoder):
    encoder = encoder.double()  # apart from the order of additions, nothing may differ
    trimmed = encoder.tokenize(["1 small polyp", "2 polyps"], num_placeholders=1)
    length = trimmed.input_ids.shape[1]
    assert length == trimmed.attention_mask.sum(dim=1).max() < 77
    padding = torch.full((2, 77 - length), len(VOCABULARY) - 1)
    input_ids = torch.cat([trimmed.input_ids, padding], dim=1)
    mask = torch.cat([trimmed.attention_mask, torch.zeros_like(padding, dtype=torch.bool)], dim=1)
    concept_tokens = torch.randn(2, 1, 24)
    embedding = encoder(trimmed.input_ids, trimmed.attention_mask, concept_tokens)
    padded = encoder(input_ids, mask, concept_tokens)
    torch.testing.assert_close(embedding, padded, rtol=0, atol=1e-12)


def test_the_end_of_text_is_found_under_clips_old_configuration(encoder, tokenizer_folder):
    # published configurations say 2; transformers then takes the highest id, here the placeholder's
    old = ClipSegTextEncoder(changed(text_config={"eos_token_id": 2}), tokenizer_folder)
    old.load_state_dict(encoder.state_dict())
    tokens = encoder.tokenize(["a"], num_placeholders=1)
    arguments = (tokens.input_ids, tokens.attention_mask, torch.randn(1, 1, 24))
    torch.testing.assert_close(old(*arguments), encoder(*arguments), rtol=0, atol=0)


def test_a_frozen_text_encoder_passes_gradients_to_concept_tokens_only(encoder):
    tokens = encoder.train().tokenize(["a"], num_placeholders=1)
    concept_tokens = torch.randn(1, 1, 24, requires_grad=True)
    encoder(tokens.input_ids, tokens.attention_mask, concept_tokens).sum().backward()
    assert concept_tokens.grad.abs().sum() > 0
    assert all(p.grad is None for p in encoder.parameters())
    assert not any(module.training for module in encoder.modules())


def test_tokenizing_names_what_is_wrong(encoder, tokenizer_folder, tmp_path):
    with pytest.raises(ValueError, match="at most 77 tokens"):
        encoder.tokenize(["a " * 77])
    with pytest.raises(TypeError, match="use a list"):
        encoder.tokenize("small polyp")
    for missing in (tmp_path / "nowhere", "nobody/has-this-model"):
        with pytest.raises(FileNotFoundError, match="expected a CLIP tokenizer"):
            ClipSegTextEncoder(TINY, missing).tokenize(["a"])
    other = ClipSegTextEncoder(changed(text_config={"vocab_size": 600}), tokenizer_folder)
    with pytest.raises(ValueError, match=f"of 600 tokens .* got {len(VOCABULARY)}"):
        other.tokenize(["a"])


@pytest.mark.parametrize("size", [64, 96])
def test_loaded_parts_compute_what_the_checkpoint_computes(
    reference, checkpoint, tokenizer_folder, size
):
    parts = nn.ModuleDict(
        {
            "backbone": ClipSegBackbone(TINY, ()),
            "text": ClipSegTextEncoder(TINY, tokenizer_folder),
            "decoder": ClipSegMaskDecoder(TINY, (), skip=False),
        }
    ).eval()
    assert load_pretrained_clipseg(parts, checkpoint) is parts
    image = torch.rand(2, 3, size, size)
    tokens = parts["text"].tokenize(["1 small polyp", "left"])
    embedding = parts["text"](tokens.input_ids, tokens.attention_mask)
    with torch.no_grad():
        expected = reference(
            input_ids=tokens.input_ids,
            pixel_values=normalised(image),
            attention_mask=tokens.attention_mask.long(),
        )
    torch.testing.assert_close(embedding, expected.conditional_embeddings)
    features = parts["backbone"](image).features
    logits, _ = parts["decoder"](features, expected.conditional_embeddings)
    assert expected.logits.std() > 0.01
    torch.testing.assert_close(logits.squeeze(1), expected.logits, rtol=0, atol=0)
    assert parts["backbone"].frozen and not any(p.requires_grad for p in parts["text"].parameters())


def test_wrong_keys_are_listed_and_nothing_is_loaded(checkpoint):
    weights = load_file(checkpoint / "model.safetensors")
    weights["clip.text_model.embeddings.position_ids"] = torch.arange(77)[None]  # as older ones
    weights["decoder.film_div.weight"] = weights.pop("decoder.film_mul.weight")
    save_file(weights, checkpoint / "model.safetensors", metadata={"format": "pt"})
    backbone, decoder = ClipSegBackbone(TINY), ClipSegMaskDecoder(TINY)
    before = backbone.vision_model.embeddings.class_embedding.clone()
    with pytest.raises(ValueError) as error:
        load_pretrained_clipseg(nn.ModuleList([backbone, decoder]), checkpoint)
    assert "missing ['decoder.film_mul.weight']" in str(error.value)
    assert "unexpected ['decoder.film_div.weight']" in str(error.value)
    assert torch.equal(before, backbone.vision_model.embeddings.class_embedding)
    text = load_pretrained_clipseg(ClipSegTextEncoder(TINY), checkpoint)  # its keys are complete
    expected = weights["clip.text_projection.weight"]
    assert torch.equal(text.text_projection.weight, expected)


@pytest.mark.parametrize(
    ("part", "overrides", "message"),
    [
        (
            ClipSegBackbone,
            {"extract_layers": [0, 1, 3]},
            r"extract_layers: \[0, 1, 3\] here, \[0, 1, 2\]",
        ),
        (ClipSegBackbone, {"vision_config": {"num_attention_heads": 2}}, "heads: 2 here, 4 there"),
        (ClipSegTextEncoder, {"text_config": {"num_hidden_layers": 1}}, "layers: 1 here, 2 there"),
        (ClipSegMaskDecoder, {"conditional_layer": 1}, "conditional_layer: 1 here, 0 there"),
    ],
)
def test_a_checkpoint_of_other_settings_is_refused(checkpoint, part, overrides, message):
    with pytest.raises(ValueError, match=message):
        load_pretrained_clipseg(part(changed(**overrides)), checkpoint)


def test_loading_from_a_hub_fetches_the_tokenizer_too(monkeypatch, reference, tokenizer_folder):
    tokenizer, asked = ClipSegTextEncoder(TINY, tokenizer_folder).load_tokenizer(), []
    monkeypatch.setattr(
        "conceptseg.clipseg.weights.CLIPSegForImageSegmentation.from_pretrained",
        lambda *args, **kwargs: (reference, {"missing_keys": set(), "unexpected_keys": set()}),
    )
    monkeypatch.setattr(
        ClipSegTextEncoder, "load_tokenizer", lambda self, local: asked.append(local) or tokenizer
    )
    load_pretrained_clipseg(ClipSegTextEncoder(TINY), "some/model")
    load_pretrained_clipseg(ClipSegBackbone(TINY), "some/model")
    assert asked == [False]  # once, and allowed to go online


def test_loading_names_what_is_wrong(tmp_path):
    with pytest.raises(TypeError, match="got Linear"):
        load_pretrained_clipseg(nn.Linear(1, 1), tmp_path)
    for missing in (tmp_path / "nowhere", tmp_path):
        with pytest.raises(FileNotFoundError, match="expected a CLIPSeg checkpoint"):
            load_pretrained_clipseg(ClipSegMaskDecoder(TINY), missing, local_files_only=True)


def test_the_whole_network_takes_a_training_step_and_predicts(tokenizer_folder):
    torch.manual_seed(0)
    net = ConceptSegNet(
        keywords=["polyp", "fold"],
        backbone=ClipSegBackbone(TINY, STEM),
        text_encoder=ClipSegTextEncoder(TINY, tokenizer_folder),
        decoder=ClipSegMaskDecoder(TINY, STEM),
    )
    image = torch.rand(2, 3, 32, 48)
    mask = torch.zeros(2, 2, 32, 48)
    mask[:, 0, 4:20, 8:24] = 1
    targets = {
        "mask": mask,
        "prompt": ["1 small polyp\n0 fold", "1 large polyp\n0 fold"],
        "teacher_share": torch.tensor([0.5, float("nan")]),
        "use_concept_token": torch.tensor([[True, False], [False, False]]),
        "null": torch.tensor([False, False]),
        "attributes": torch.full((2, 2, len(net.readout.attributes)), -1),
    }
    trained = [p for p in net.parameters() if p.requires_grad]
    before = {name: p.detach().clone() for name, p in net.named_parameters()}
    optimizer = torch.optim.SGD(trained, lr=0.1)
    out = net.train()(image, targets)
    loss = nn.functional.binary_cross_entropy_with_logits(out["logits"], mask)
    loss.backward()
    optimizer.step()
    moved = {name for name, p in net.named_parameters() if not torch.equal(p, before[name])}
    assert {"decoder.decoder.film_mul.weight", "decoder.refine_head.weight"} <= moved
    assert "mapper.layers.0.weight" in moved  # the gradient passed the frozen text encoder
    assert not any(name.startswith(("backbone.vision_model", "text_encoder")) for name in moved)
    net.eval().presence_threshold = 0.0
    with torch.no_grad():
        again = net(image, targets)["logits"]
        logits = net(image)
    assert nn.functional.binary_cross_entropy_with_logits(again, mask) < loss
    assert logits.shape == (2, 3, 32, 48) and logits.isfinite().all()  # background first
