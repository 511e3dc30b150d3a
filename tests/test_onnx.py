"""The text-free path in ONNX Runtime gives what PyTorch gives; prompts and wrong models are refused."""

import numpy as np
import pytest
import torch
from monai.engines import SupervisedEvaluator
from small_network import small_network

pytest.importorskip("onnxruntime", reason="the extra onnx is not installed")
pytest.importorskip("onnxscript", reason="the extra onnx is not installed")

from conceptseg.engines import EvaluationIteration
from conceptseg.inferer import ConceptInferer
from conceptseg.onnx_compare import compare, logit_difference, network_inputs, table
from conceptseg.onnx_export import export_onnx, quantise
from conceptseg.onnx_inferer import OnnxInferer, open_session, weights_digest

SIZE = 32


@pytest.fixture(scope="module")
def network():
    """Two labels in grey slices with neighbours."""
    torch.manual_seed(3)
    net = small_network(("front", "back"), in_channels=3, choose_outline=True).eval()
    net.presence_threshold = 0.0
    net.outline.weight.copy_(torch.tensor([-0.04, 0.22, -0.23, 0.37]))  # as after a training
    return net


@pytest.fixture(scope="module")
def model(network, tmp_path_factory):
    """Its ONNX file."""
    return export_onnx(network, tmp_path_factory.mktemp("onnx") / "model.onnx", SIZE)


@pytest.mark.parametrize("batch", [1, 2, 5])
def test_logits_presence_and_student_agree_for_any_batch(network, model, batch):
    image = torch.randn(batch, 3, SIZE, SIZE)
    assert logit_difference(network, open_session(model), [image.numpy()]) < 1e-4
    encoding = network.encode_image(image)
    _, presence = network.decode(encoding, network.condition(encoding))
    found = open_session(model).run(["presence", "student"], {"image": image.numpy()})
    np.testing.assert_allclose(found[0], presence.detach(), atol=1e-4)
    np.testing.assert_allclose(found[1], encoding.student.detach(), atol=1e-4)


def test_the_model_chooses_the_outlines_too(network, model):
    image = torch.randn(5, 3, SIZE, SIZE)
    encoding = network.encode_image(image)
    outline, network.outline = network.outline, None
    plain, _ = network.decode(encoding, network.condition(encoding))
    network.outline = outline
    (found,) = open_session(model).run(["logits"], {"image": image.numpy()})
    np.testing.assert_allclose(found, outline(plain).detach(), atol=1e-4)
    assert np.abs(found - plain.detach().numpy()).max() > 0.9


@pytest.mark.parametrize("shape", [(1, 20, 30, 6), (3, 32, 25)])
def test_the_inferer_is_a_drop_in(network, model, shape):
    image = torch.randn(1, *shape)
    options = {"slice_axes": (0, 2), "slice_context": 1}
    # the model pads to its size, so PyTorch does likewise
    expected = ConceptInferer(minimum_size=SIZE, **options).predict_batch(image, network)[0]
    found = OnnxInferer(model, **options).predict_batch(image, network)[0]
    assert torch.allclose(found.probabilities, expected.probabilities, atol=1e-5)
    assert torch.allclose(found.presence, expected.presence, atol=1e-5)
    assert found.readout[0].keys() == expected.readout[0].keys()
    assert found.asked == expected.asked


def test_evaluation_with_the_model_leaves_the_uncertainty_out(network, model):
    image, label = torch.randn(1, 3, 32, 25), torch.zeros(1, 1, 32, 25)
    keys = {}
    for inferer in (ConceptInferer(), OnnxInferer(model)):
        evaluator = SupervisedEvaluator(
            torch.device("cpu"),
            [{"image": image, "label": label}],
            network,
            inferer=inferer,
            iteration_update=EvaluationIteration(["text_free"]),
            decollate=False,
        )
        evaluator.run()
        keys[type(inferer)] = evaluator.state.output.get("uncertainty")
    assert keys[OnnxInferer] is None
    assert keys[ConceptInferer].shape == (1, len(network.keywords))


def test_prompts_larger_images_and_other_weights_are_refused(network, model):
    with pytest.raises(ValueError, match="text-free"):
        OnnxInferer(model, prompt="front")
    with pytest.raises(ValueError, match="text-free"):
        OnnxInferer(model, concept="front")
    inferer = OnnxInferer(model)
    encoded = inferer.encode(torch.randn(3, SIZE, SIZE), network)
    with pytest.raises(ValueError, match="text-free"):
        inferer.decode(encoded, network, prompt="front")
    with pytest.raises(ValueError, match="model's size"):
        inferer.encode(torch.randn(3, SIZE + 1, SIZE), network)
    with pytest.raises(ValueError, match="made from"):
        OnnxInferer(model).encode(torch.randn(3, SIZE, SIZE), small_network(("front", "back")))


def test_models_made_before_keywords_had_a_checksum_stay_those_of_the_same_weights(network):
    digest = weights_digest(network)
    network.text_encoder.keywords_checksum += 1
    assert weights_digest(network) == digest
    network.text_encoder.vocabulary_checksum += 1
    assert weights_digest(network) != digest
    network.text_encoder.keywords_checksum -= 1
    network.text_encoder.vocabulary_checksum -= 1


def test_an_outline_that_is_not_trained_leaves_the_weights_the_same():
    plain, choosing = small_network(), small_network(choose_outline=True)
    choosing.load_state_dict(plain.state_dict())
    assert weights_digest(choosing) == weights_digest(plain)
    choosing.outline.weight += 1
    assert weights_digest(choosing) != weights_digest(plain)


def test_missing_models_and_hardware_are_said(model, tmp_path):
    with pytest.raises(FileNotFoundError, match="export_onnx"):
        open_session(tmp_path / "absent.onnx")
    with pytest.raises(ValueError, match="cpu, cuda, tensorrt"):
        open_session(model, "npu")
    import onnxruntime

    if "TensorrtExecutionProvider" not in onnxruntime.get_available_providers():
        with pytest.raises(ValueError, match="TensorRT"):
            open_session(model, "tensorrt")


def test_sizes_that_the_encoder_does_not_take_are_refused(network, tmp_path):
    with pytest.raises(ValueError, match="multiples of 4"):
        export_onnx(network, tmp_path / "x.onnx", 30)
    assert not (tmp_path / "x.onnx").exists()


def test_no_path_of_the_exporting_machine_is_in_the_model(model):
    content = model.read_bytes()
    assert b".py" not in content and b"/conceptseg" not in content


def test_int8_is_smaller_close_and_compared_side_by_side(network, model, tmp_path):
    inferer = ConceptInferer(slice_axes=(2,), slice_context=1, minimum_size=SIZE)
    volumes = [torch.randn(1, 28, 30, 8) for _ in range(3)]
    images = network_inputs(inferer, network, volumes, every=2)
    assert {batch.shape[1:] for batch in images} == {(3, SIZE, SIZE)}
    assert sum(len(batch) for batch in images) == 12
    small = quantise(model, tmp_path / "int8.onnx", images)
    # weights of the few layers are all there is to shrink
    assert small.read_bytes() != model.read_bytes()
    cases = [{"image": v, "label": torch.zeros(1, 28, 30, 8)} for v in volumes]
    options = {"slice_axes": (2,), "slice_context": 1}
    models = {"onnx": model, "int8": small}
    rows = {r["runtime"]: r for r in table(compare(network, inferer, models, cases, 1, options))}
    assert list(rows) == ["pytorch", "onnx", "int8"]
    assert rows["pytorch"]["speed_ratio"] == 1 and rows["onnx"]["identical_masks"] == "3/3"
    assert rows["onnx"]["max_logit_difference"] < 1e-4 < rows["int8"]["max_logit_difference"]
    assert rows["int8"]["least_agreement"] > 0.7
    assert "dice_loss" in rows["int8"]
    with pytest.raises(ValueError, match="dataset_dir"):
        quantise(model, tmp_path / "none.onnx", [])
