import numpy as np
import pytest

from facedeploy.core.errors import ConfigError, DataError
from facedeploy.widerface.evaluate import evaluate
from facedeploy.widerface.plot import plot_curves


def test_official_figures_on_real_predictions(shared_data):
    folder = shared_data / "data" / "wider_val_dev"
    result = evaluate(folder / "predictions_plain_640", folder / "ground_truth")
    assert result.easy == pytest.approx(0.8898564166514551, abs=1e-9)
    assert result.medium == pytest.approx(0.822802252217141, abs=1e-9)
    assert result.hard == pytest.approx(0.465946956167669, abs=1e-9)
    assert (result.images, result.missing, result.extra, result.unsorted, result.misnamed) == (495, 0, 0, 0, 0)
    assert (result.score_range, result.most_boxes, result.warnings) == ((0.02, 0.999975), 750, ())


def test_small_set_by_hand(predictions, ground_truth):
    steps = []
    result = evaluate(predictions, ground_truth, on_image=lambda done, total: steps.append((done, total)))
    # Easy, medium: a's first box, (a's second: none), c's box; a's third is on an ignored face. Hard: b's is missed.
    assert result.easy == result.medium == pytest.approx(0.5 * 1 + 0.5 * 2 / 3)
    assert result.hard == pytest.approx(0.25 * 1 + 0.5 * 3 / 4)
    assert result.faces == {"easy": 2, "medium": 2, "hard": 4}
    assert (result.images, result.boxes, result.most_boxes, result.score_range) == (3, 4, 3, (0.3, 0.9))
    assert [curve.shape for curve in result.precision_recall.values()] == [(1000, 2)] * 3
    assert result.precision_recall["hard"][-1].tolist() == [0.75, 0.75]
    assert steps == [(1, 3), (2, 3), (3, 3)]
    assert result.warnings == ()


def test_missing_files_are_an_error_unless_allowed(predictions, ground_truth):
    (predictions / "1--Handshaking" / "c.txt").unlink()
    with pytest.raises(DataError, match=r"1 of 3 images have no prediction file: 1--Handshaking/c;.*--allow-missing"):
        evaluate(predictions, ground_truth)
    result = evaluate(predictions, ground_truth, allow_missing=True)
    assert result.missing == 1
    assert result.easy == pytest.approx(0.5)
    assert "1--Handshaking/c" in result.warnings[0]


def test_extra_files_are_counted_and_not_read(predictions, ground_truth):
    before = evaluate(predictions, ground_truth)
    (predictions / "0--Parade" / "z.txt").write_text("garbage")
    (predictions / "9--Elsewhere").mkdir()
    (predictions / "9--Elsewhere" / "y.txt").write_text("9--Elsewhere/y\n1\n0 0 1 1 5\n")
    result = evaluate(predictions, ground_truth)
    assert result.extra == 2
    assert "2 prediction files are not of the ground truth" in result.warnings[0]
    assert (result.easy, result.hard, result.score_range) == (before.easy, before.hard, before.score_range)


def test_unsorted_file_is_evaluated_in_its_order_with_a_warning(predictions, ground_truth):
    path = predictions / "0--Parade" / "a.txt"
    path.write_text("0--Parade/a\n3\n40 40 5 5 0.3\n0 0 10 10 0.9\n20 20 10 10 0.2\n")
    result = evaluate(predictions, ground_truth)
    assert result.unsorted == 1
    assert "1 files do not have the best score first" in result.warnings[0]
    # The stray box comes first, so it is a proposal wherever the face behind it is.
    assert result.precision_recall["easy"][0].tolist() == [0.5, 0.5]


def test_misnamed_file_counts_for_its_path_with_a_warning(predictions, ground_truth):
    (predictions / "1--Handshaking" / "c.txt").write_text("1--Handshaking/d\n1\n5 5 20 20 0.6\n")
    (predictions / "0--Parade" / "b.txt").write_text("b.jpg\n0\n")
    result = evaluate(predictions, ground_truth)
    assert result.misnamed == 1
    assert "1--Handshaking/c" in result.warnings[0]


@pytest.mark.filterwarnings("error")
def test_equal_scores_give_numbers(predictions, ground_truth):
    for path in predictions.glob("*/*.txt"):
        lines = path.read_text().splitlines()
        path.write_text("\n".join([*lines[:2], *(" ".join([*line.split()[:4], "0.5"]) for line in lines[2:])]) + "\n")
    result = evaluate(predictions, ground_truth)
    assert result.easy == pytest.approx(2 / 3)
    assert result.hard == pytest.approx(0.75 * 0.75)


@pytest.mark.filterwarnings("error")
def test_no_boxes_at_all_give_zero(predictions, ground_truth):
    for path in predictions.glob("*/*.txt"):
        path.write_text(f"{path.stem}\n0\n")
    result = evaluate(predictions, ground_truth)
    assert (result.easy, result.medium, result.hard) == (0, 0, 0)
    assert result.score_range is None


def test_difficulty_without_faces_is_zero_with_a_warning(predictions, ground_truth):
    from facedeploy.widerface.ground_truth import write_ground_truth

    images = {"0--Parade/a": [[0, 0, 10, 10]]}
    write_ground_truth(ground_truth, images, easy={}, medium={}, hard={"0--Parade/a": [0]})
    result = evaluate(predictions, ground_truth)
    assert (result.easy, result.hard) == (0, 1)
    assert any("counts as easy" in warning for warning in result.warnings)


def test_broken_files_are_reported_together_and_capped(predictions, ground_truth):
    for path in predictions.glob("*/*.txt"):
        path.write_text("x\ny\n")
    with pytest.raises(DataError) as caught:
        evaluate(predictions, ground_truth)
    assert str(caught.value).count("line 2: got 'y'") == 3


def test_wrong_folder_is_explained(predictions, ground_truth, tmp_path):
    with pytest.raises(DataError, match=r"folder of one event: give the one above it"):
        evaluate(predictions / "0--Parade", ground_truth)
    with pytest.raises(DataError, match=r"the folders of events are in .*predictions: give that"):
        evaluate(tmp_path, ground_truth)
    with pytest.raises(DataError, match="no such folder"):
        evaluate(tmp_path / "nowhere", ground_truth)
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="no prediction file of any of the 3 images"):
        evaluate(tmp_path / "empty", ground_truth, allow_missing=True)


def test_average_precision_is_a_python_float(predictions, ground_truth):
    result = evaluate(predictions, ground_truth)
    assert [type(value) for value in (result.easy, result.medium, result.hard, *result.faces.values())] == [
        *[float] * 3,
        *[int] * 3,
    ]
    assert all(np.isfinite(curve).all() for curve in result.precision_recall.values())


@pytest.mark.parametrize(("suffix", "start"), [("png", b"\x89PNG"), ("pdf", b"%PDF"), ("svg", b"<?xml")])
def test_plot_is_written_whole(predictions, ground_truth, tmp_path, suffix, start):
    path = tmp_path / "plots" / f"curves.{suffix}"
    plot_curves(evaluate(predictions, ground_truth), path)
    assert path.read_bytes().startswith(start)
    assert list(path.parent.iterdir()) == [path]


def test_plot_of_unknown_format_is_one_sentence(predictions, ground_truth, tmp_path):
    with pytest.raises(ConfigError, match=r"got suffix '\.gif', expected one of png, pdf, svg"):
        plot_curves(evaluate(predictions, ground_truth), tmp_path / "curves.gif")
