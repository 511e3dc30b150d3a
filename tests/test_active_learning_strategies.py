"""Every strategy on pools whose right picks are known beforehand."""

import numpy as np
import pytest
from active_learning_pools import concept_indices, make_pool, make_record

from conceptseg.active_learning import ATTRIBUTE_NAMES, STRATEGIES
from conceptseg.active_learning.strategy import power_noise, sharpness_of

LATE = 12  # a round so late that no chance is left


def names_of(picks) -> list[str]:
    """Names of picks."""
    return [pick.name for pick in picks]


def random_pool(count=60, labels=2, labelled=10, seed=0, order=1):
    """A pool of random records, the first ones annotated."""
    rng = np.random.default_rng(seed)
    records = [
        make_record(
            f"case_{i:03d}",
            labels,
            encoder=rng.normal(size=8).astype(np.float32),
            student=rng.normal(size=(labels, 4)).astype(np.float32),
            entropy=rng.random(labels).astype(np.float32),
            foreground=rng.random(labels).astype(np.float32),
            concepts=rng.integers(2, size=(labels, len(ATTRIBUTE_NAMES))),
            disagreement=rng.random(labels).astype(np.float32),
        )
        for i in range(count)
    ]
    names = [record.name for record in records]
    return make_pool(records[::order], ("a", "b"), names[:labelled], names[:50])


@pytest.mark.parametrize("name", STRATEGIES)
def test_picks_are_different_free_and_explained(name):
    pool = random_pool()
    for count in (1, 7, 40, 1000):
        picks = STRATEGIES[name].pick(pool, count)
        chosen = names_of(picks)
        assert len(set(chosen)) == len(chosen) == min(count, 40)
        assert set(chosen) <= {f"case_{i:03d}" for i in range(10, 50)}
        assert all(len(pick.reason) > 5 for pick in picks)


@pytest.mark.parametrize("name", STRATEGIES)
def test_the_same_state_gives_the_same_picks_in_any_order_of_records(name):
    first, second = random_pool(), random_pool(order=-1)
    assert STRATEGIES[name].pick(first, 8, 2, seed=5) == STRATEGIES[name].pick(second, 8, 2, seed=5)


@pytest.mark.parametrize("name", STRATEGIES)
def test_an_exhausted_pool_gives_nothing(name):
    records = [make_record("a"), make_record("b")]
    assert STRATEGIES[name].pick(make_pool(records, labelled=["a", "b"]), 3) == []


def test_a_count_below_one_is_refused():
    with pytest.raises(ValueError, match="1 case or more"):
        STRATEGIES["random"].pick(make_pool([make_record("a")]), 0)


def test_random_is_uniform_over_the_seeds():
    pool = make_pool([make_record(name) for name in "abcd"])
    drawn = [STRATEGIES["random"].pick(pool, 1, seed=seed)[0].name for seed in range(400)]
    counts = np.array([drawn.count(name) for name in "abcd"])
    assert counts.min() > 65  # 100 expected, standard deviation 8.7


def test_random_foreground_spreads_over_labels_and_sizes_and_takes_few_empty_cases():
    records = []
    for i in range(90):
        sizes = [0.001 * (i + 1), 0.0] if i < 60 else [0.0, 0.001 * (i + 1)]
        records.append(make_record(f"seen_{i:02d}", 2, foreground=np.array(sizes)))
    records += [make_record(f"empty_{i:02d}", 2, foreground=np.zeros(2)) for i in range(200)]
    pool = make_pool(records, ("a", "b"))
    chosen = names_of(STRATEGIES["random_foreground"].pick(pool, 20, seed=3))
    assert sum(name.startswith("empty") for name in chosen) == 2
    seen = [int(name[-2:]) for name in chosen if name.startswith("seen")]
    strata = [sum(low <= i < low + width for i in seen) for low, width in
              ((0, 20), (20, 20), (40, 20), (60, 10), (70, 10), (80, 10))]  # fmt: skip
    assert all(count == 3 for count in strata)


def test_typical_takes_the_middle_of_each_group_and_goes_to_uncovered_groups_first():
    rng = np.random.default_rng(0)
    records = []
    for group, size in enumerate((30, 20, 10)):
        centre = 20 * np.eye(4)[group]
        records.append(make_record(f"g{group}_centre", encoder=centre))
        records += [
            make_record(f"g{group}_{i:02d}", encoder=centre + rng.normal(0, 1, 4))
            for i in range(size)
        ]
    picks = STRATEGIES["typical"].pick(make_pool(records), 3)
    assert sorted(name[:2] for name in names_of(picks)) == ["g0", "g1", "g2"]
    assert sum("centre" in name for name in names_of(picks)) >= 2
    covered = make_pool(records, labelled=["g0_00", "g1_00"])
    first = STRATEGIES["typical"].pick(covered, 1)[0]
    assert first.name.startswith("g2") and "none of them is annotated yet" in first.reason


def test_clasp_entropy_is_fair_to_the_label_with_small_entropies():
    records = [
        make_record(
            f"case_{i:02d}", 2, entropy=np.array([10.0 + i, 0.0]), foreground=np.array([0.1, 0.0])
        )
        for i in range(20)
    ]
    records += [
        make_record(
            f"rare_{i}", 2, entropy=np.array([0.0, 0.1 * (i + 1)]), foreground=np.array([0.0, 0.1])
        )
        for i in range(4)
    ]
    chosen = names_of(STRATEGIES["clasp_entropy"].pick(make_pool(records, ("a", "b")), 6, LATE))
    assert {"case_19", "case_18", "rare_3", "rare_2"} <= set(chosen)
    assert chosen[4:] == ["case_17", "case_16"]


def test_power_noise_follows_the_scores_more_as_rounds_go_by():
    rng = np.random.default_rng(0)
    scores = np.array([1.0, 3.0])
    early = np.mean([power_noise(scores, sharpness_of(0), rng).argmax() for _ in range(4000)])
    late = np.mean([power_noise(scores, sharpness_of(4), rng).argmax() for _ in range(4000)])
    assert abs(early - 0.75) < 0.03  # 3 / (1 + 3)
    assert late > 0.99


def test_concept_disagreement_takes_no_near_copies_and_says_the_words():
    words = concept_indices([{"number": "1", "size": "small", "location": "top left"}])
    records = []
    for i in range(4):  # four copies that disagree most, and one case elsewhere that disagrees too
        records.append(
            make_record(f"copy_{i}", student=np.array([[1.0, 0, 0]]), disagreement=np.array([0.9]))
        )
    records.append(
        make_record(
            "other", student=np.array([[0, 1.0, 0]]), disagreement=np.array([0.8]), concepts=words
        )
    )
    records += [
        make_record(f"calm_{i}", student=np.array([[0, 0, 1.0]]), disagreement=np.array([1e-6]))
        for i in range(20)
    ]
    picks = STRATEGIES["concept_disagreement"].pick(make_pool(records), 2, LATE)
    assert sorted(name[:4] for name in names_of(picks)) == ["copy", "othe"]
    reason = next(pick.reason for pick in picks if pick.name == "other")
    assert "80 %" in reason and "polyp: a single one, small, upper left" in reason


def test_concept_disagreement_keeps_away_from_annotated_cases():
    records = [make_record(f"done_{i}", student=np.array([[1.0, 0, 0]])) for i in range(2)]
    records += [
        make_record("near", student=np.array([[1.0, 0.01, 0]])),
        make_record("far", student=np.array([[0, 0, 1.0]])),
    ]
    pool = make_pool(records, labelled=["done_0", "done_1"])
    assert names_of(STRATEGIES["concept_disagreement"].pick(pool, 1, LATE)) == ["far"]


def test_concept_disagreement_refuses_records_without_it():
    with pytest.raises(ValueError, match="score with disagreement on"):
        STRATEGIES["concept_disagreement"].pick(make_pool([make_record("a", disagreement=None)]), 1)


def combination(size: str, place: str) -> np.ndarray:
    """Concepts of one polyp."""
    return concept_indices([{"number": "1", "size": size, "location": place}])


def test_concept_coverage_prefers_what_no_annotated_case_shows_and_says_so():
    records = [
        make_record(f"common_{i:02d}", concepts=combination("large", "center")) for i in range(20)
    ]
    records += [
        make_record(f"new_{i}", concepts=combination("small", "bottom left")) for i in range(3)
    ]
    pool = make_pool(records, labelled={f"common_{i:02d}": None for i in range(5)})
    first = [STRATEGIES["concept_coverage"].pick(pool, 1, seed=seed)[0] for seed in range(400)]
    new = [pick for pick in first if pick.name.startswith("new")]
    # one of three among three drawn of eighteen: 1 - C(15, 3) / C(18, 3); one in six by chance alone
    assert len(new) / len(first) == pytest.approx(0.442, abs=0.08)
    for pick in new:
        assert "no such case annotated yet" in pick.reason
        assert any(word in pick.reason for word in ("small", "lower left"))
    assert all("only 5 such cases" in pick.reason for pick in first if pick not in new)


def test_concept_coverage_never_picks_a_case_twice():
    records = [make_record(f"c{i}", concepts=combination("large", "center")) for i in range(9)]
    picks = STRATEGIES["concept_coverage"].pick(make_pool(records, labelled=["c0"]), 20)
    assert sorted(pick.name for pick in picks) == [f"c{i}" for i in range(1, 9)]


def test_concept_coverage_counts_measured_concepts_of_annotated_cases():
    records = [make_record("done", concepts=combination("large", "center"))]
    records += [
        make_record("a", concepts=combination("large", "center")),
        make_record("b", concepts=combination("small", "top")),
    ]
    measured = {"done": combination("small", "top")}  # the read-out was wrong
    pool = make_pool(records, labelled=measured)
    assert STRATEGIES["concept_coverage"].pick(pool, 1)[0].name == "a"


def test_concept_coverage_of_an_absent_label_says_absent():
    gone = concept_indices([{"number": "0", "size": "small"}])
    records = [
        make_record("done", concepts=combination("small", "top")),
        make_record("gone", concepts=gone),
    ]
    pick = STRATEGIES["concept_coverage"].pick(make_pool(records, labelled=["done"]), 1)[0]
    assert pick.reason == "no polyp: no such case annotated yet"


def test_pool_refuses_double_names_and_other_labels():
    with pytest.raises(ValueError, match="twice"):
        make_pool([make_record("a"), make_record("a")])
    with pytest.raises(ValueError, match="scores of 1 labels"):
        make_pool([make_record("a", 2)])
    with pytest.raises(ValueError, match="at least one scored case"):
        make_pool([])
