"""Stores of video features: what is computed, counted, kept; and what a bundle does with a film."""

from pathlib import Path

import numpy as np
import pytest
import torch

from films import write_pictures, write_video
from kinesweep.config.recipe import Recipe
from kinesweep.config.recipe.video import VideoFeaturesConfig
from kinesweep.core.errors import StoreError
from kinesweep.core.hashing import compute_fingerprint
from kinesweep.core.units import Span
from kinesweep.core.video_files import VideoSegment
from kinesweep.features.encoders import compute_encoder_fingerprint
from kinesweep.features.video import CODE_VERSION, VideoFeatures, encode_windows
from kinesweep.features.video_windows import Window
from kinesweep.sources import build_source
from kinesweep.sources.base import MediaDigest
from kinesweep.sources.video.frame_reader import FrameReader
from kinesweep.store.extraction.build import extract_locally
from kinesweep.store.extraction.plan import summarize_extraction_plan
from kinesweep.store.format.fingerprint import hash_media_files
from vision import SIZE, film_corpus, film_recipe, follow_block, vision_model

pytestmark = pytest.mark.integration


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models")
    for kind in ("dinov2", "videomae"):
        vision_model(folder / kind, kind)
    return folder


@pytest.mark.parametrize("kind", ["dinov2", "videomae"])
def test_a_store_holds_what_the_model_says_of_each_film(
    models: Path, tmp_path: Path, kind: str
) -> None:
    corpus = film_corpus(tmp_path / "corpus", train=3, validation=1)
    recipe = film_recipe(corpus, models / kind, tmp_path / "stores", store={"dtype": "float32"})
    store = extract_locally(recipe)
    assert [len(store.get_records(split)) for split in store.splits] == [3, 1]
    assert store.schema.widths == {"video": 16}
    step = VideoFeatures(recipe.features)  # type: ignore[arg-type]
    for record in store.get_records("train"):
        alone = step.compute_features(VideoSegment(corpus / record.clip.media))["video"].x_TD
        np.testing.assert_array_equal(store.get_features(record)["video"], alone)
    lengths = [record.lengths["video"] for record in store.get_records("train")]
    frames = [10, 27, 44]
    # VideoMAE: 8 moments a window; the last window is cut where its film ends.
    expected = {"dinov2": frames, "videomae": [5, 8 + 8 + 6, 4 * 8 + 6]}
    assert lengths == expected[kind]
    assert len({record.digest for record in store.get_records("train")}) == 3


def cropped(corpus: Path, model: Path, root: Path) -> Recipe:
    """Films, their poses and a recipe of face and hands."""
    for number in range(4):
        if not (corpus / "poses" / "films" / f"{number}.pose").exists():
            size = (128 + 16 * number, 48)
            frames = 10 + (number * 17) % 50
            follow_block(corpus / "poses" / "films" / f"{number}.pose", frames, size=size)
    return film_recipe(
        corpus,
        model,
        root,
        features={"crops": ["face", "left_hand", "right_hand"]},
        source={"poses": str(corpus / "poses")},
        store={"dtype": "float32"},
    )


def test_a_store_of_face_and_hands(models: Path, tmp_path: Path) -> None:
    corpus = film_corpus(tmp_path / "corpus", train=3, validation=1)
    recipe = cropped(corpus, models / "dinov2", tmp_path / "stores")
    store = extract_locally(recipe)
    assert store.schema.widths == {"video": 3 * 16}
    encoder = VideoFeatures(recipe.features).load_encoder()  # type: ignore[arg-type]
    for number, record in enumerate(store.get_records("train")):
        pixels = []
        for frame, picture in enumerate(
            FrameReader(VideoSegment(corpus / record.clip.media), None)
        ):
            wide = np.pad(picture, ((16, 16), (16, 16), (0, 0)))
            corners = [(20, 12 + 2 * frame), (20, 22 + 2 * frame), (30, 12 + 2 * frame)]
            pixels.append([wide[top : top + 16, left : left + 16] for top, left in corners])
        pixels_PTHWC = torch.from_numpy(np.array(pixels)).transpose(0, 1).contiguous()
        seen = encoder(pixels_PTHWC, [len(pixels)] * 3)
        assert len(pixels) == [10, 27, 44][number]
        found = store.get_features(record)["video"]
        np.testing.assert_allclose(found, np.concatenate(list(seen), axis=1), atol=1e-5)
        assert np.abs(np.diff(seen.numpy(), axis=0)).max() > 0.1


def test_poses_are_part_of_what_features_depend_on(models: Path, tmp_path: Path) -> None:
    corpus = film_corpus(tmp_path / "corpus", train=3, validation=1)
    recipe = cropped(corpus, models / "dinov2", tmp_path / "stores")
    extract_locally(recipe)
    assert summarize_extraction_plan(recipe).exists
    follow_block(corpus / "poses" / "films" / "1.pose", 28, size=(144, 48))
    summary = summarize_extraction_plan(recipe)
    assert (summary.num_to_compute, summary.num_to_reuse) == (1, 3)
    (corpus / "poses" / "films" / "1.pose").unlink()
    with pytest.raises(StoreError, match="missing_pose"):
        extract_locally(recipe)
    assert [problem.reason for problem in build_source(recipe.effective_source).check_clips()] == [
        "missing_pose"
    ]


def test_frames_as_they_are_keep_their_fingerprint(models: Path, tmp_path: Path) -> None:
    recipe = film_recipe(tmp_path, models / "dinov2", tmp_path)
    config = recipe.features
    assert isinstance(config, VideoFeaturesConfig)
    later = {"crops", "crop", "augmentation", "epochs"}
    own = config.model_dump(mode="json", exclude={"stream", "gpus", "actors", "encoder"} | later)
    parts = {
        "config": own,
        "encoder": compute_encoder_fingerprint(config.encoder),
        "code": CODE_VERSION,
    }
    assert VideoFeatures(config).fingerprint == compute_fingerprint(parts)


def test_windows_beside_others_are_as_alone(models: Path, tmp_path: Path) -> None:
    recipe = film_recipe(tmp_path, models / "videomae", tmp_path)
    encoder = VideoFeatures(recipe.features).load_encoder()  # type: ignore[arg-type]
    rng = np.random.default_rng(0)
    windows = [
        Window(rng.integers(0, 256, (16, SIZE, SIZE, 3), np.uint8), 16 - number)
        for number in range(5)
    ]
    alone = np.concatenate([encode_windows(encoder, [window], 1) for window in windows])
    together = encode_windows(encoder, windows, 8)
    np.testing.assert_allclose(together, alone, atol=1e-5)
    assert np.abs(np.diff(alone, axis=0)).min(axis=(1, 2)).max() > 1e-3


def test_a_model_is_told_which_frames_are_real() -> None:
    class Told:
        size = 2

        def __call__(self, pixels_BFHWC: torch.Tensor, kept_B: list[int]) -> torch.Tensor:
            assert len(pixels_BFHWC) == len(kept_B) == 3
            return torch.tensor(kept_B, dtype=torch.float32)[:, None, None]

    windows = [Window(np.zeros((4, 2, 2, 3), np.uint8), kept) for kept in (4, 1)]
    assert encode_windows(Told(), windows, 3)[:, 0, 0].tolist() == [4, 1]  # type: ignore[arg-type]


def test_only_what_changed_is_computed_again(models: Path, tmp_path: Path) -> None:
    corpus = film_corpus(tmp_path / "corpus", train=3, validation=1)
    recipe = film_recipe(corpus, models / "dinov2", tmp_path / "stores")
    first = extract_locally(recipe)
    write_video(corpus / "films" / "1.mp4", 12)
    summary = summarize_extraction_plan(recipe)
    assert (summary.num_to_compute, summary.num_to_reuse) == (1, 3)
    again = extract_locally(recipe)
    assert again.extraction is not None and again.extraction.computed == 1
    assert again.fingerprint != first.fingerprint
    other = film_recipe(
        corpus, models / "dinov2", tmp_path / "stores", features={"windows": {"target_fps": 12.5}}
    )
    assert summarize_extraction_plan(other).num_to_compute == 4


def test_other_weights_are_other_features(models: Path, tmp_path: Path) -> None:
    corpus = film_corpus(tmp_path / "corpus", train=1, validation=1)
    copy = vision_model(tmp_path / "copy", "dinov2")
    recipe = film_recipe(corpus, models / "dinov2", tmp_path / "stores")
    moved = film_recipe(corpus, copy, tmp_path / "stores")
    first = extract_locally(recipe)
    assert summarize_extraction_plan(moved).exists  # the same weights in another place
    from safetensors.torch import load_file, save_file

    weights = load_file(copy / "model.safetensors")
    save_file(
        {k: v + 0.01 for k, v in weights.items()}, copy / "model.safetensors", {"format": "pt"}
    )
    assert not summarize_extraction_plan(moved).exists
    assert extract_locally(moved).fingerprint != first.fingerprint


def test_what_decides_over_the_numbers_is_in_their_name(tmp_path: Path) -> None:
    model = vision_model(tmp_path / "dinov2", "dinov2")

    def name(**changes: object) -> str:
        features = {
            "encoder": {"kind": "hf_vision", "pretrained": str(model)} | changes.pop("of", {})
        }
        own = film_recipe(tmp_path, model, tmp_path, features=features | changes)
        return VideoFeatures(own.features).fingerprint  # type: ignore[arg-type]

    plain = name()
    assert name(gpus=1, actors=3, stream="film") == plain
    windows = {"num_frames": 16, "stride": 8, "overlap": "average"}
    others = [name(of={"pool": "first"}), name(precision="bf16"), name(windows=windows)]
    others.append(name(precision="fp16"))
    said = model / "preprocessor_config.json"
    said.write_text(said.read_text().replace("0.5", "0.6"))
    assert len({plain, *others, name()}) == 6


def test_a_folder_of_pictures_is_its_pictures_and_their_order(tmp_path: Path) -> None:
    folder = write_pictures(tmp_path / "a", 3)

    def found(path: Path) -> str:
        media = hash_media_files([path])[path]
        assert isinstance(media, MediaDigest)
        return media.sha256

    plain = found(folder)
    (folder / "note.txt").write_text("no picture")
    assert found(folder.rename(tmp_path / "b")) == plain
    folder = tmp_path / "b"
    first, second = (folder / f"{number}.png" for number in (1, 2))
    second.rename(folder / "10.png")  # now shown after 3, though sorted as text before it
    moved = found(folder)
    (folder / "10.png").write_bytes(first.read_bytes())
    assert len({plain, moved, found(folder)}) == 3


def test_bad_films_are_counted_with_their_reasons(models: Path, tmp_path: Path) -> None:
    corpus = film_corpus(tmp_path / "corpus", train=5, validation=1)
    cut = write_video(corpus / "films" / "1.mp4", 200, width=512)
    cut.write_bytes(cut.read_bytes()[: cut.stat().st_size // 2])
    (corpus / "films" / "2.mp4").write_text("no film")
    (corpus / "films" / "3.mp4").unlink()
    recipe = film_recipe(corpus, models / "dinov2", tmp_path / "stores")
    with pytest.raises(StoreError, match="missing_file"):
        extract_locally(recipe)
    lenient = film_recipe(
        corpus, models / "dinov2", tmp_path / "stores", store={"max_dropped_share": 0.5}
    )
    store = extract_locally(lenient)
    reasons = store.manifest["dropped"]["reasons"]
    assert reasons == {"missing_file": 1, "not_a_video": 1, "truncated": 1}
    assert [record.clip.id for record in store.get_records("train")] == ["0", "4"]


def test_pictures_and_spans(models: Path, tmp_path: Path) -> None:
    corpus = tmp_path
    write_pictures(corpus / "films" / "a", 12)
    write_video(corpus / "films" / "b.mp4", 50)
    rows = ["films/a\t0\t0\tPictures.", "films/b.mp4\t400\t1200\tA part."]
    for split in ("train", "validation"):
        table = ["id\tsignal\tsignal_start\tsignal_end\toutput"]
        table += [f"{split}{number}\t{row}" for number, row in enumerate(rows)]
        (corpus / f"{split}.tsv").write_text("\n".join(table), encoding="utf-8")
    recipe = film_recipe(corpus, models / "dinov2", tmp_path / "stores")
    plain = recipe.model_dump(mode="json")
    plain["source"]["fps"] = 25
    store = extract_locally(type(recipe).model_validate(plain))
    assert [record.lengths["video"] for record in store.get_records("train")] == [12, 20]


def test_published_manifests(models: Path, tmp_path: Path) -> None:
    write_video(tmp_path / "a.mp4", 20)
    for split in ("train", "validation"):
        line = f"video_name\tduration\tcaption\na\t0.8\tHello {split}.\n"
        (tmp_path / f"{split}.tsv").write_text(line, encoding="utf-8")
    store = extract_locally(film_recipe(tmp_path, models / "dinov2", tmp_path / "stores"))
    (record,) = store.get_records("train")
    assert (record.clip.texts, record.clip.media) == (("Hello train.",), "a.mp4")


@pytest.mark.parametrize(("precision", "tolerance"), [("bf16", 0.02), ("fp16", 0.003)])
def test_half_precision_is_near(
    models: Path, tmp_path: Path, precision: str, tolerance: float
) -> None:
    film = VideoSegment(write_video(tmp_path / "a.mp4", 20), Span())
    recipe = film_recipe(tmp_path, models / "videomae", tmp_path)
    half = film_recipe(tmp_path, models / "videomae", tmp_path, features={"precision": precision})
    exact, near = (
        VideoFeatures(own.features).compute_features(film)["video"].x_TD  # type: ignore[arg-type]
        for own in (recipe, half)
    )
    assert near.dtype == np.float32
    assert 0 < np.abs(exact - near).max() < tolerance * np.abs(exact).max()


def test_a_gpu_that_is_not_there_is_no_cpu(
    models: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By name of the key: without Ray, and with Ray before it starts. Sizes need no GPU."""
    from kinesweep.core.errors import ResourceError
    from kinesweep.pipelines.cluster import ray_cluster
    from kinesweep.pipelines.extraction import extract_features

    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr("ray.init", lambda **_: pytest.fail("Ray was started"))
    monkeypatch.setattr("ray.is_initialized", lambda: False)
    monkeypatch.setattr(ray_cluster, "find_running_head", lambda _: None)
    monkeypatch.setenv("KINESWEEP_HOME", str(tmp_path / "home"))
    for name in ("RAY_ADDRESS", "KINESWEEP_RAY_ADDRESS"):
        monkeypatch.delenv(name, raising=False)
    corpus = film_corpus(tmp_path / "corpus", train=2, validation=1)
    recipe = film_recipe(corpus, models / "dinov2", tmp_path / "stores", features={"gpus": 1})
    said = "`features.gpus` is 1, but this process sees no CUDA device; set it to 0"
    for extract in (extract_locally, extract_features):
        with pytest.raises(ResourceError, match=said):
            extract(recipe)
    step = VideoFeatures(recipe.features)  # type: ignore[arg-type]
    assert step.load_encoder("cpu").width == 16
    assert step.estimate_shapes(VideoSegment(corpus / "films" / "0.mp4"))["video"][1] == 16
