"""The demo's scenes come out the same, byte for byte, and their labels fit what is drawn."""

import hashlib
import io
import json
import sys
from pathlib import Path

import pytest

np = pytest.importorskip("numpy")
Image = pytest.importorskip("PIL.Image")

DEMO = Path(__file__).resolve().parents[3] / "recipes" / "demo"
sys.path.insert(0, str(DEMO))

import backgrounds  # noqa: E402
import scenes  # noqa: E402

DIGESTS = dict(reversed(line.split()) for line in (DEMO / "digests.txt").read_text().splitlines())


@pytest.mark.parametrize("index", [0, 1, 57, 123, 299])
def test_validation_scene_regenerates_bit_for_bit(index):
    jpeg = scenes.make_scene("validation", index).jpeg
    assert hashlib.sha256(jpeg).hexdigest() == DIGESTS[f"validation-{index:05d}.jpg"]


def test_digest_list_covers_300_images_and_the_labels():
    assert len(DIGESTS) == 301
    assert "labels.json" in DIGESTS


def test_shipped_validation_images_are_the_first_hundred():
    paths = sorted((DEMO / "validation").glob("*.jpg"))
    assert len(paths) == 100
    for path in paths:
        assert hashlib.sha256(path.read_bytes()).hexdigest() == DIGESTS[path.name]
    labels = json.loads((DEMO / "validation" / "labels.json").read_text())
    assert [entry["file_name"] for entry in labels["images"]] == [path.name for path in paths]


def test_labels_lie_inside_the_picture_and_are_large_enough():
    for index in range(6):
        scene = scenes.make_scene("tuning", index)
        image = Image.open(io.BytesIO(scene.jpeg))
        assert image.size == (scene.width, scene.height)
        x, y, w, h = scene.boxes.T
        assert (x >= 0).all() and (y >= 0).all()
        assert (x + w <= scene.width).all() and (y + h <= scene.height).all()
        assert (np.minimum(w, h) >= scenes.SMALLEST_SIDE).all()
        assert (scene.areas <= w * h).all()


def test_boxes_are_tight_around_the_visible_part():
    full = np.full((20, 30), 255, np.int32)
    under = scenes.Sprite(np.zeros((20, 30, 3), np.int32), full, 5, 5, 0)
    # This sprite hides the left third of the other.
    over = scenes.Sprite(np.zeros((20, 10, 3), np.int32), full[:, :10], 5, 5, -1)
    kept, labels = scenes.see([under, over], 60, 60)
    assert len(kept) == 2
    assert labels == [(15, 5, 20, 20, 0, 400)]


def test_an_object_that_is_nearly_hidden_is_taken_out():
    full = np.full((20, 30), 255, np.int32)
    under = scenes.Sprite(np.zeros((20, 30, 3), np.int32), full, 5, 5, 0)
    over = scenes.Sprite(np.zeros((20, 25, 3), np.int32), full[:, :25], 5, 5, -1)
    kept, labels = scenes.see([under, over], 60, 60)
    assert [sprite.label for sprite in kept] == [-1]
    assert labels == []


def test_splits_share_no_texture_family_and_no_scene():
    families = [f for group in backgrounds.FAMILIES.values() for f in group]
    assert len(families) == len(set(families))
    assert len({scenes.make_scene(split, 3).jpeg for split in scenes.SPLITS}) == len(scenes.SPLITS)


def test_class_list_matches_labels_txt():
    assert (DEMO / "labels.txt").read_text().splitlines() == scenes.NAMES
