"""Charts: every point at its place, names and marks readable, other words escaped."""

import re

import pytest

from conceptseg.charts import BOTTOM, LEFT, RIGHT, TOP, Series, line_chart


def points(tag: str, chart: str) -> list[list[tuple[float, float]]]:
    """Coordinates of each element of a kind."""
    return [
        [tuple(map(float, pair.split(","))) for pair in text.split()]
        for text in re.findall(rf'<{tag} points="([^"]+)"', chart)
    ]


def texts(chart: str) -> list[str]:
    return re.findall(r"<text[^>]*>([^<]*)</text>", chart)


def test_points_stand_between_the_edges_in_proportion():
    chart = line_chart([Series("a", [0, 1, 4], [0.0, 1.0, 0.5])], "x", "y")
    ((first, second, last),) = points("polyline", chart)
    assert (first[0], last[0]) == (LEFT, RIGHT)
    assert second[0] == pytest.approx(LEFT + (RIGHT - LEFT) / 4, abs=0.1)
    assert BOTTOM > first[1] > last[1] > second[1] > TOP  # upwards
    assert last[1] == pytest.approx((first[1] + second[1]) / 2, abs=0.1)
    assert chart.count("<circle") == 3


def test_a_band_lies_around_its_line_inside_the_plot():
    chart = line_chart([Series("a", [0, 1], [0.4, 0.6], [0.1, 0.2])], "x", "y")
    (band,), (line,) = points("polygon", chart), points("polyline", chart)
    upper, lower = band[:2], band[:1:-1]
    for (_, above), (_, at), (_, below) in zip(upper, line, lower, strict=True):
        assert TOP < above < at < below < BOTTOM
        assert at - above == pytest.approx(below - at, abs=0.2)


def test_a_level_is_a_dashed_line_at_its_height_and_named():
    chart = line_chart([Series("a", [0, 1], [0.4, 0.6])], "x", "y", level=(0.6, "all"))
    ((_, line),) = points("polyline", chart)
    dashed = re.search(r'y1="([\d.]+)"[^>]*stroke-dasharray', chart)
    assert float(dashed[1]) == line[1] and "all" in texts(chart)


def test_one_point_and_no_point_are_drawn():
    ((at,),) = points("polyline", line_chart([Series("a", [3], [0.5])], "x", "y"))
    assert at[0] == LEFT and TOP < at[1] < BOTTOM
    assert "<svg" not in line_chart([Series("a", [], [])], "x", "y")


def test_marks_that_would_overlap_are_left_out():
    marks = [(0, "0 %"), (0.01, "1 %"), (1, "100 %")]
    chart = line_chart([Series("a", [0, 1], [0.4, 0.6])], "x", "y", marks)
    assert [text for text in texts(chart) if "%" in text] == ["100 %", "1 %"]


@pytest.mark.parametrize(("last", "marks"), [(30000, "24,000"), (30, "24"), (0.5, "0.4")])
def test_marks_are_numbers_as_people_write_them(last, marks):
    assert marks in texts(line_chart([Series("a", [0, last], [0, 1])], "x", "y"))


def test_long_names_have_room_and_names_are_escaped():
    chart = line_chart([Series("<b>" * 20, [0, 1], [0, 1])], "<i>", "<u>")
    width = int(re.search(r'width="(\d+)"', chart)[1])
    assert width > RIGHT + 60 * 6 and not re.search("<b>|<i>|<u>", chart)
    assert 'viewBox="0 0 640 ' in line_chart([Series("a", [0, 1], [0, 1])], "x", "y")
