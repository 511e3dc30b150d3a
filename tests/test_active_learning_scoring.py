"""Scores of images, and the files they are kept in."""

import json

import numpy as np
import pytest
import torch
from active_learning_pools import make_record
from small_network import discs, small_network

from conceptseg.active_learning import ATTRIBUTE_NAMES, CaseRecord
from conceptseg.active_learning.journal import Journal
from conceptseg.active_learning.measuring import measured_indices
from conceptseg.active_learning.score_file import ScoreFile
from conceptseg.active_learning.scoring import CaseScorer, score_cases, soft_distance
from conceptseg.concepts import ATTRIBUTES
from conceptseg.inferer import ConceptInferer
from conceptseg.prediction import Prediction
from conceptseg.uncertainty import size_normalised_entropy


def prediction(probabilities, presence=None, readout=None) -> Prediction:
    """A prediction with these probabilities (K, *spatial)."""
    count = len(probabilities)
    presence = torch.ones(count) if presence is None else presence
    return Prediction(torch.as_tensor(probabilities), presence, readout or [{}] * count, ())


@pytest.fixture
def network(fixed_seed):
    """An untrained network that has seen every concept value and empties no mask."""
    network = small_network().eval()
    network.readout.seen[:] = True
    network.presence_threshold = 0.0
    return network


def test_entropy_is_per_object_voxel():
    half = torch.full((1, 10, 10), 0.5)  # 100 bits over 50 expected voxels
    assert size_normalised_entropy(prediction(half)).item() == pytest.approx(100 / 51, abs=1e-3)
    sure = torch.zeros(1, 10, 10)
    sure[0, :5] = 1
    assert size_normalised_entropy(prediction(sure)).item() < 0.01


def test_soft_distance_of_halves():
    left, right = torch.zeros(1, 10, 10), torch.zeros(1, 10, 10)
    left[0, :5] = 1
    right[0, 5:] = 1
    both = torch.ones(1, 10, 10)
    assert soft_distance(left, left).item() == 0
    assert soft_distance(left, right).item() == pytest.approx(1 - 1 / 101)
    assert soft_distance(left, both).item() == pytest.approx(1 - 101 / 151)
    assert soft_distance(0 * left, 0 * left).item() == 0


def test_concepts_are_those_of_the_predicted_mask(network, monkeypatch):
    image, label = discs(np.random.default_rng(0), sides=("left",))
    masks = iter([label.float(), 0 * label.float()])
    monkeypatch.setattr(ConceptInferer, "decode", lambda *args, **kwargs: prediction(next(masks)))
    monkeypatch.setattr(CaseScorer, "_disagreement", lambda *args: np.zeros(1, np.float32))
    scorer = CaseScorer(network, ConceptInferer())
    found = scorer.score("found", image).concepts
    assert (found == measured_indices(image.numpy(), label[0].numpy(), ["polyp"])).all()
    empty = scorer.score("empty", image).concepts[0]
    assert empty[ATTRIBUTE_NAMES.index("number")] == 0 and (empty == -1).sum() == len(empty) - 1
    network.readout.seen[:] = False
    masks = iter([label.float()])
    assert (scorer.score("untrained", image).concepts == -1).all()


@pytest.mark.parametrize("shape", [(3, 24, 20), (1, 12, 16, 10)])
def test_a_record_has_the_documented_shapes(network, shape):
    if len(shape) == 4:
        network = small_network(("a", "b"), in_channels=3).eval()
        network.readout.seen[:] = True
    inferer = ConceptInferer(slice_axes=(0, 2), slice_context=1)
    record = CaseScorer(network, inferer).score("case", torch.rand(shape))
    count = len(network.keywords)
    assert record.student.shape == (count, network.text_encoder.embed_dim)
    assert record.entropy.shape == record.foreground.shape == record.disagreement.shape == (count,)
    assert record.concepts.shape == (count, len(ATTRIBUTE_NAMES))
    assert record.encoder.ndim == 1 and np.isfinite(record.encoder).all()
    assert ((record.disagreement >= 0) & (record.disagreement <= 1)).all()


def test_disagreement_is_zero_for_a_decoder_that_ignores_its_condition(network, monkeypatch):
    image = torch.rand(3, 24, 24)
    plain = CaseScorer(network, ConceptInferer()).score("case", image)
    decode = network.decode
    fixed = torch.zeros(1, 1, network.text_encoder.embed_dim)
    monkeypatch.setattr(network, "decode", lambda encoding, _: decode(encoding, fixed))
    deaf = CaseScorer(network, ConceptInferer()).score("case", image)
    assert deaf.disagreement.max() < 1e-5 < plain.disagreement.max()


def test_scoring_goes_on_where_it_stopped(network, tmp_path):
    file = ScoreFile(tmp_path / "scores.jsonl", "v1")
    scorer, loaded = CaseScorer(network, ConceptInferer(), disagreement=False), []

    def cases(names):
        return [(n, lambda n=n: loaded.append(n) or torch.rand(3, 16, 16)) for n in names]

    score_cases(scorer, cases("ab"), file.records, file.add)
    with open(file.path, "a") as stream:
        stream.write('{"name": "c", "enco')  # killed in the middle of a line
    again = ScoreFile(file.path, "v1")
    records = score_cases(scorer, cases("abcd"), again.records, again.add)
    assert loaded == ["a", "b", "c", "d"] and sorted(records) == list("abcd")
    third = ScoreFile(file.path, "v1")
    assert sorted(third.records) == list("abcd")
    np.testing.assert_allclose(third.records["a"].entropy, records["a"].entropy, rtol=1e-2)


def test_records_without_disagreement_are_scored_again_when_it_is_needed(network):
    image = torch.rand(3, 16, 16)
    plain = score_cases(CaseScorer(network, ConceptInferer(), False), [("a", lambda: image)])
    assert plain["a"].disagreement is None
    full = score_cases(CaseScorer(network, ConceptInferer()), [("a", lambda: image)], plain)
    assert full["a"].disagreement is not None


def test_a_record_survives_its_line_of_json():
    record = make_record("case", 2, encoder=np.array([0.5, -2.25]), disagreement=None)
    back = CaseRecord.from_json(record.to_json())
    assert back.name == "case" and back.disagreement is None
    np.testing.assert_array_equal(back.encoder, record.encoder)
    np.testing.assert_array_equal(back.concepts, record.concepts)
    with pytest.raises(ValueError, match="delete the line"):
        CaseRecord.from_json('{"name": "x"}')


def test_scores_of_another_version_are_refused(tmp_path):
    ScoreFile(tmp_path / "s.jsonl", "v1").add(make_record("a"))
    with pytest.raises(ValueError, match="version v2"):
        ScoreFile(tmp_path / "s.jsonl", "v2")


def test_a_journal_survives_a_torn_line(tmp_path):
    journal = Journal(tmp_path / "folder" / "j.jsonl")
    assert journal.read() == []
    journal.add({"n": 1})
    with open(journal.path, "a") as stream:
        stream.write('{"n": 2')
    journal.add({"n": 3})
    assert [e["n"] for e in journal.read()] == [1, 3]
    assert json.loads(journal.path.read_text().splitlines()[-1]) == {"n": 3}


def test_measured_indices_of_a_photograph_and_of_the_largest_slice_of_a_volume():
    image, label = discs(np.random.default_rng(0), sides=("left",))
    row = measured_indices(image.numpy(), label[0].numpy(), ["polyp"])[0]
    said = {n: ATTRIBUTES[n][v] for n, v in zip(ATTRIBUTE_NAMES, row, strict=True) if v >= 0}
    assert said["location"] == "left" and said["number"] == "1" and said["color"] in ("red", "pink")
    volume = np.zeros((30, 30, 9))
    volume[2:8, 22:28, 4] = 1
    volume[14:16, 14:16, 1] = 1  # a smaller area in another slice does not count
    row = measured_indices(np.zeros((1, 30, 30, 9)), volume, ["organ"], slice_axis=2)[0]
    assert ATTRIBUTES["location"][row[ATTRIBUTE_NAMES.index("location")]] == "anterior left"
