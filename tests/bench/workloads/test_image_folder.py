"""A folder of images becomes what torchvision's ImageFolder makes of it, and what is left out is told."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from bench.errors import DataError
from bench.workloads.image_files import find_images, read_pixels
from bench.workloads.sources import image_folder
from bench.workloads.workload import Data


@pytest.fixture
def images(tmp_path: Path) -> Path:
    for name, grey in (("cat", 10), ("dog", 200)):
        (tmp_path / name).mkdir()
        for number in range(20):
            save(tmp_path / name / f"{number}.png", np.full((9, 7, 3), grey, dtype=np.uint8))
    return tmp_path


def samples(data: Data) -> int:
    held = 0 if data.validation is None else len(data.validation.inputs)
    return len(data.train_inputs) + held + len(data.test_inputs)


def save(path: Path, pixels: np.ndarray, mode: str | None = None) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    image = Image.fromarray(pixels)
    (image.convert(mode) if mode else image).save(path)
    return path


BLACK = np.zeros((9, 7, 3), dtype=np.uint8)


def test_a_folder_for_each_class_becomes_images_and_class_numbers(images: Path) -> None:
    found = image_folder(images, size=8)
    data = found.data
    assert found.classes == ("cat", "dog") and data.notes == ()
    assert samples(data) == 40 and len(data.test_inputs) > 2
    assert data.train_inputs.shape[1:] == (3, 8, 8) and data.train_inputs.dtype == torch.uint8
    assert ((data.train_inputs.float().mean((1, 2, 3)) > 100).long() == data.train_targets).all()


def test_more_files_leave_the_split_of_the_others_alone(images: Path) -> None:
    for number in range(20):  # each a grey of its own, so that samples can be told apart
        for name, grey in (("cat", 2 * number), ("dog", 101 + 2 * number)):
            save(images / name / f"{number}.png", np.full((9, 7, 3), grey, dtype=np.uint8))

    def tested() -> set[int]:
        return set(image_folder(images, 8).data.test_inputs[:, 0, 0, 0].tolist())

    before = tested()
    assert len(before) > 2
    for number, white in enumerate((255, 253, 251)):
        save(images / "cat" / f"another-{number}.png", np.full((9, 7, 3), white, dtype=np.uint8))
    assert {grey for grey in tested() if grey < 251} == before


def test_hidden_folders_and_other_files_are_no_classes_nor_samples_and_are_told(images: Path) -> None:
    for name in (".ipynb_checkpoints", "cat/.cache", "__MACOSX"):
        save(images / name / "copy.png", BLACK)
    (images / "dog" / "._0.jpg").write_bytes(b"of another system")
    (images / "dog" / "Thumbs.db").write_bytes(b"x")
    (images / "dog" / "licence.txt").write_text("x")
    with pytest.warns(UserWarning, match="5 hidden entries left out"):
        found = image_folder(images, 8)
    assert found.classes == ("cat", "dog")
    assert samples(found.data) == 40
    assert found.data.notes == (
        "5 hidden entries left out: .ipynb_checkpoints/, __MACOSX/, cat/.cache/, ...",
        "1 file left out, no image by extension: dog/licence.txt",
    )


@pytest.mark.parametrize("name", ["System Volume Information", "$RECYCLE.BIN", "__MACOSX", "Thumbs.db"])
def test_folders_that_systems_leave_are_never_classes(images: Path, name: str) -> None:
    save(images / name / "copy.png", BLACK)
    with pytest.warns(UserWarning, match="1 hidden entry left out"):
        found = image_folder(images, 8)
    assert found.classes == ("cat", "dog")


def test_images_beside_the_classes_are_left_out_and_told(images: Path) -> None:
    save(images / "stray.png", BLACK)
    (images / "labels.csv").write_text("x")
    with pytest.warns(UserWarning, match="1 image left out"):
        found = image_folder(images, 8)
    assert found.data.notes == ("1 image left out, in no folder of a class: stray.png",)
    assert samples(found.data) == 40


@pytest.mark.parametrize("place", ["cat/loop", "loop"])
@pytest.mark.parametrize("up", [0, 1])
def test_links_to_the_folder_or_above_it_bring_no_images_of_other_classes(
    images: Path, place: str, up: int
) -> None:
    (images / place).symlink_to([images, images.parent][up])
    with pytest.warns(UserWarning, match="1 link left out"):
        found = image_folder(images, 8)
    assert found.classes == ("cat", "dog")
    assert found.data.notes == (f"1 link left out, back to a folder above: {place}",)
    assert samples(found.data) == 40


@pytest.mark.parametrize(
    "parts",
    [("train", "dev"), ("Train", "eval"), ("holdout", "train"), ("train", "validate", "evaluation")],
)
def test_splits_by_any_usual_name_are_no_classes(tmp_path: Path, parts: tuple[str, ...]) -> None:
    for part in parts:
        save(tmp_path / part / "cat" / "0.png", BLACK)
    with pytest.raises(DataError, match=r"which are splits, not classes; give .*/[Tt]rain instead"):
        image_folder(tmp_path, 8)


def test_what_lies_beside_splits_without_images_by_class_is_left_out(tmp_path: Path) -> None:
    for part in ("train", "val"):
        save(tmp_path / part / "cat" / "0.png", BLACK)
    save(tmp_path / "labels" / "0.png", BLACK)
    (tmp_path / "annotations" / "train").mkdir(parents=True)
    told = r"not classes \(left out: annotations, labels, without images by class\); give .*train"
    with pytest.raises(DataError, match=told):
        image_folder(tmp_path, 8)
    save(tmp_path / "labels" / "cat" / "0.png", BLACK)
    with pytest.raises(DataError, match="class 'annotations' has no image"):
        image_folder(tmp_path, 8)


def test_every_extension_of_image_folder_is_read_in_any_case_and_below_subfolders(images: Path) -> None:
    names = (
        "a.tiff",
        "b.TIF",
        "c.webp",
        "d.Jpeg",
        "e.JPG",
        "f.bmp",
        "g.ppm",
        "h.pgm",
        "deep/er/i.png",
        "j.gif",
    )
    for name in names:
        save(images / "bird" / name, BLACK, mode="L" if name.endswith("pgm") else None)
    found = image_folder(images, 8)
    assert found.classes == ("bird", "cat", "dog") and found.data.notes == ()
    assert samples(found.data) == 40 + len(names)


def test_links_are_followed_and_those_that_lead_back_end(images: Path) -> None:
    elsewhere = save(images.parent / f"{images.name}-more" / "b.png", BLACK)
    (images / "cat" / "more").symlink_to(elsewhere.parent)
    (images / "cat" / "again").symlink_to(images / "cat")
    assert len(find_images(images).paths) == 41


@pytest.mark.parametrize("suffix", [".png", ".tiff", ".pgm"])
def test_16_bit_images_keep_their_values(tmp_path: Path, suffix: str) -> None:
    path = save(tmp_path / f"a{suffix}", np.linspace(0, 65535, 256).reshape(16, 16).astype(np.uint16))
    pixels = read_pixels(path, 16)
    assert (pixels == np.arange(256).reshape(16, 16, 1)).all()


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGBA", "CMYK", "I;16"])
def test_every_mode_becomes_the_same_grey(tmp_path: Path, mode: str) -> None:
    value = {"1": 255, "I;16": 128 * 257}.get(mode, 128)
    pixels = np.full((8, 8), value, np.uint16 if mode == "I;16" else np.uint8)
    path = save(
        tmp_path / f"a.{'tiff' if mode == 'CMYK' else 'png'}", pixels, None if mode == "I;16" else mode
    )
    with Image.open(path) as image:
        assert image.mode == mode
    assert (read_pixels(path, 8) == (255 if mode == "1" else 128)).all()


def test_transparency_is_dropped_as_image_folder_drops_it(tmp_path: Path) -> None:
    rgba = np.full((4, 4, 4), (10, 20, 30, 0), dtype=np.uint8)
    assert (read_pixels(save(tmp_path / "a.png", rgba), 4) == (10, 20, 30)).all()
    palette = Image.fromarray(rgba[..., :3]).quantize(4)
    palette.save(tmp_path / "p.png", transparency=bytes([0]))
    assert (read_pixels(tmp_path / "p.png", 4) == (10, 20, 30)).all()


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_images_are_turned_as_viewers_turn_them(tmp_path: Path, dtype: type) -> None:
    upper_white = np.zeros((16, 16), dtype)
    upper_white[:8] = np.iinfo(dtype).max
    image = Image.fromarray(upper_white)
    exif = image.getexif()
    exif[0x0112] = 3
    image.save(tmp_path / "a.png", exif=exif)
    pixels = read_pixels(tmp_path / "a.png", 16)
    assert pixels[:6].max() == 0 and pixels[10:].min() == 255


@pytest.mark.parametrize("content", [b"", b"no image", "half", np.float32, np.int32])
def test_a_file_that_cannot_be_read_is_one_line_with_its_name(images: Path, content: object) -> None:
    path = images / "cat" / "broken.tiff"
    if isinstance(content, bytes):
        path.write_bytes(content)
    elif isinstance(content, str):
        save(path, np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8))
        path.write_bytes(path.read_bytes()[:400])
    else:
        save(path, np.ones((8, 8), content))
    with pytest.raises(DataError, match=r"cat/broken\.tiff: cannot be read as an image: .+") as caught:
        image_folder(images, 8)
    assert "\n" not in str(caught.value)


def test_a_link_to_nothing_and_a_pipe_are_told_not_waited_for(images: Path) -> None:
    (images / "cat" / "link.png").symlink_to(images / "nowhere.png")
    with pytest.raises(DataError, match=r"link\.png: no such file"):
        image_folder(images, 8)
    (images / "cat" / "link.png").unlink()
    os.mkfifo(images / "cat" / "pipe.png")
    with pytest.raises(DataError, match=r"pipe\.png: is not a file"):
        image_folder(images, 8)


def test_folders_that_are_no_classification_are_one_line(images: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="nowhere: cannot be read as a folder of images: No such file"):
        image_folder(images / "nowhere", 8)
    with pytest.raises(DataError, match="0 folders found; classification requires"):
        image_folder(images / "cat", 8)
    (images / "bird").mkdir()
    (images / "bird" / "notes.txt").write_text("none yet")
    with pytest.raises(DataError, match=r"class 'bird' has no image \(\.jpg, .*remove its folder"):
        image_folder(images, 8)
    for part in ("train", "val"):
        save(tmp_path / "split" / part / "cat" / "0.png", BLACK)
    with pytest.raises(DataError, match=r"train, val, which are splits, not classes; give .*split/train"):
        image_folder(tmp_path / "split", 8)


def test_a_class_that_a_part_of_the_split_lacks_is_told(tmp_path: Path) -> None:
    for name in ("cat", "dog"):
        save(tmp_path / name / "0.png", BLACK)
    with pytest.warns(
        UserWarning, match="the training set has no sample of cat; the test set has no sample of dog"
    ):
        image_folder(tmp_path, 8)


@pytest.mark.parametrize("wrong", [{"size": 0}, {"size": 8.0}, {"size": 8, "test_share": 1.0}])
def test_sizes_and_shares_that_cannot_be_are_told(images: Path, wrong: dict[str, object]) -> None:
    with pytest.raises(DataError, match=r"must be .*, got"):
        image_folder(images, **wrong)  # type: ignore[arg-type]
