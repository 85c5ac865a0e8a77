"""Composed scenes: what is drawn is what the boxes say, and nothing is seen twice."""

from __future__ import annotations

import numpy as np
import pytest

from bench.workloads import scenes

GREY = np.full((300, 300, 3), 128, np.uint8)


def _items(count: int) -> np.ndarray:
    """Bright rectangles, 10 pixels wide and 20 high, on black."""
    items = np.zeros((count, 28, 28), np.uint8)
    items[:, 4:24, 9:19] = 255
    return items


def test_boxes_are_those_of_what_is_drawn() -> None:
    images, objects = scenes.compose(_items(50), np.arange(50) % 10, (GREY,), 40, seed=0)
    assert images.shape == (40, 3, scenes.SIDE, scenes.SIDE) and images.dtype == np.uint8
    for image, found in zip(images, objects, strict=True):
        drawn = (np.abs(image.astype(int) - 128) > 40).any(axis=0)
        covered = np.zeros_like(drawn)
        for label, left, top, right, bottom in found[found[:, 0] >= 0].astype(int):
            assert 0 <= label < 10 and 0 <= left < right <= scenes.SIDE and 0 <= top < bottom <= scenes.SIDE
            assert (bottom - top) / (right - left) == pytest.approx(2, abs=0.4)
            covered[top:bottom, left:right] = True
        assert not (drawn & ~covered).any()


def test_each_scene_has_an_object_and_rows_of_minus_one_fill_up() -> None:
    _, objects = scenes.compose(_items(9), np.arange(9), (GREY,), 60, seed=1)
    there = objects[:, :, 0] >= 0
    assert there[:, 0].all() and there.all(axis=1).any() and not there.all()
    assert (objects[~there] == -1).all()
    assert (there[:, 1:] <= there[:, :-1]).all()


def test_objects_overlap_little() -> None:
    generator = np.random.default_rng(0)
    for _ in range(50):
        places = scenes._places(4, generator)
        for number, place in enumerate(places):
            assert all(scenes._overlap(place, other) <= 0.1 for other in places[:number])


def test_no_item_is_used_twice_while_there_are_others() -> None:
    _, objects = scenes.compose(_items(400), np.arange(400), (GREY,), 80, seed=0)
    labels = objects[:, :, 0][objects[:, :, 0] >= 0]
    assert len(set(labels)) == len(labels)


def test_the_same_seed_composes_the_same_scenes() -> None:
    ones, others = (scenes.compose(_items(9), np.arange(9), (GREY,), 5, seed=3) for _ in range(2))
    for one, other in zip(ones, others, strict=True):
        assert np.array_equal(one, other)
