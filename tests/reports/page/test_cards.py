"""Cards of the first screen: what they compare with what, how sure they are, what they leave out."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from bench.records import Measurement, Result
from reports.content import Content, gather
from reports.page.cards import Card, cards_of
from tests.support.synthetic_run import Synthetic, build

PRUNED = "prune-magnitude:0.5"


def content_of(folder: Path, made_up: Synthetic) -> Content:
    store = build(folder, made_up)
    found = gather(store, "run-1", figures=False)
    store.close()
    return found


def card_of(folder: Path, made_up: Synthetic) -> Card:
    (card,) = cards_of(content_of(folder, made_up))
    return card


def test_the_smallest_is_compared_by_what_it_was_chosen_by(tmp_path: Path) -> None:
    # Zeroed weights take as many bytes on disk, and fewer to download.
    better = {
        f"evaluate digits/adam/0/{PRUNED}@cpu-eager": (
            Measurement("quality", 0.94),
            Measurement("accuracy", 0.94),
        )
    }
    made_up = Synthetic(("adam",), ("none", PRUNED), ("cpu-eager",), measured=better)
    smallest = {choice.role: choice for choice in card_of(tmp_path, made_up).every()}["Serve smallest"]
    assert smallest.name.startswith(PRUNED) and smallest.value.startswith("469 KiB compressed")
    assert smallest.against == (
        "quality 0.00 points (no interval: one seed), 1.00× the speed, 1.50× smaller "
        "vs none on cpu-eager (fp32)"
    )


def test_a_loss_of_quality_has_its_interval_over_seeds(tmp_path: Path) -> None:
    label = "evaluate digits/adam/{}/int8-static@onnxruntime"
    measured = {
        label.format(seed): tuple(
            Measurement(name, 0.94 + 0.002 * seed - loss) for name in ("quality", "accuracy")
        )
        for seed, loss in enumerate((0.003, 0.004, 0.005))
    }
    made_up = Synthetic(("adam",), ("none", "int8-static"), seeds=(0, 1, 2), measured=measured)
    fastest = card_of(tmp_path, made_up).batches[0].choices[0]
    # A mean of -0.4 points, and Student's interval of three seeds that are 0.1 points apart.
    assert fastest.against.startswith("quality -0.40 points (-0.65 to -0.15), ")
    assert fastest.sure.endswith("; trained with adam") and fastest.sure.startswith("3 launches, 3 seeds; ")
    assert dict(fastest.axes) == {"optimizer": "adam", "compression": "int8-static", "backend": "onnxruntime"}


def test_where_nothing_reached_the_target_the_closest_training_is_served(tmp_path: Path) -> None:
    missed = (
        Measurement("target_reached", 0.0),
        Measurement("steps_to_target", None, reason="target not held"),
    )
    learned = {"adam": 0.8, "sgd": 0.3}
    measured: dict[str, tuple[Measurement, ...]] = {
        f"train digits/{name}": (*missed, Measurement("quality", quality), Measurement("accuracy", quality))
        for name, quality in learned.items()
    }
    measured |= {
        f"evaluate digits/{name}": (Measurement("quality", quality), Measurement("accuracy", quality))
        for name, quality in learned.items()
    }
    # What learned little compresses well.
    measured["lower digits/sgd"] = (Measurement("artifact_compressed_bytes", 1e3),)
    card = card_of(tmp_path, Synthetic(("sgd", "adam"), ("none",), ("cpu-eager",), measured=measured))
    assert card.training.name == "no optimizer reached the target"
    for choice in card.batches[0].choices[:1]:
        assert dict(choice.axes)["optimizer"] == "adam"
    assert {choice.name for choice in card.batches[0].choices[1:]} == {"the same as the fastest", "unknown"}
    content = content_of(
        tmp_path / "again", Synthetic(("sgd", "adam"), ("none",), ("cpu-eager",), measured=measured)
    )
    assert "smallest download" in " ".join(content.verdict) and "trained with sgd" not in " ".join(
        content.verdict
    )


def test_where_nothing_is_served_the_trainings_that_failed_are_left_out(tmp_path: Path) -> None:
    failed = {"train digits/sgd": Result("failed", reason="no memory for the batch")}
    content = content_of(tmp_path, Synthetic(results=failed))
    frames = {**content.frames, "inference": content.frames["inference"].iloc[:0]}
    (card,) = cards_of(replace(content, frames=frames))
    assert card.left_out == ("Left out: 1 failed of 3 trainings", "failed: no memory for the batch")
