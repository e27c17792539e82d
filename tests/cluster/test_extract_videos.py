"""Videos on Ray Data: the same bytes with any number of actors, dead ones too; and devices."""

import os
import shutil
import signal
import subprocess
import sys
import textwrap
import threading
from pathlib import Path

import numpy as np
import pytest
from ray.util.state import list_actors

from kinesweep.core.hashing import compute_file_hashes, compute_fingerprint
from kinesweep.store.extraction.build import extract_locally
from kinesweep.store.extraction.extract import extract_on_ray
from vision import film_corpus, film_recipe, follow_block, vision_model

ROOT = Path(__file__).resolve().parents[2]
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("films")
    vision_model(folder / "videomae", "videomae")
    film_corpus(folder, train=38, validation=3, test=1)
    (folder / "films" / "5.mp4").write_text("no film")
    return folder


WINDOWS = {"num_frames": 16, "stride": 4}
"""So many of each clip that actors can be killed at their work."""


def extracted(  # type: ignore[no-untyped-def]
    corpus: Path, root: Path, actors: int, gpus: float = 0
):
    features = {"actors": actors, "gpus": gpus, "windows": WINDOWS}
    recipe = film_recipe(
        corpus, corpus / "videomae", root, features=features, store={"max_dropped_share": 0.05}
    )
    notes: list[str] = []
    store = extract_on_ray(recipe, progress=lambda done, total, note="": notes.append(note))
    return store, notes


@pytest.fixture(scope="module")
def whole(corpus: Path, tmp_path_factory: pytest.TempPathFactory, cluster: None):  # type: ignore[no-untyped-def]
    """What one actor of each kind extracts."""
    store, notes = extracted(corpus, tmp_path_factory.mktemp("whole"), 1)
    assert store.manifest["dropped"]["reasons"] == {"not_a_video": 1}
    assert store.extraction is not None and store.extraction.computed == 41
    assert "windows/s, busy:" in notes[-2]
    return store


def test_any_number_of_actors_gives_the_bytes_of_one(  # type: ignore[no-untyped-def]
    corpus: Path, tmp_path: Path, whole
) -> None:
    store, _ = extracted(corpus, tmp_path / "three", 3)
    assert compute_file_hashes(store.folder) == compute_file_hashes(whole.folder)
    here = extract_locally(
        film_recipe(
            corpus,
            corpus / "videomae",
            tmp_path / "here",
            features={"windows": WINDOWS},
            store={"max_dropped_share": 0.05},
        )
    )
    assert here.fingerprint == store.fingerprint
    for record in here.get_records("train"):
        wanted = here.get_features(record)["video"].astype(np.float32)
        found = store.get_features(record)["video"].astype(np.float32)
        # Windows shared their batches with others here: 1e-5, then rounding to float16.
        np.testing.assert_allclose(found, wanted, rtol=2e-3, atol=2e-3)


def test_dead_actors_change_nothing(  # type: ignore[no-untyped-def]
    corpus: Path, tmp_path: Path, whole
) -> None:
    killed: list[str] = []
    over = threading.Event()

    def kill_one_of_each() -> None:
        # Each at its own first work: decoders may be gone before watchers have loaded their model.
        for kind, began in (("VideoDecoder", "piece"), ("WindowEncoder", "batch")):
            while kind not in killed and not over.wait(0.02):
                if not any((tmp_path / "killed").glob(f".building-*/shards/.attempts-{began}*")):
                    continue
                alive = list_actors(filters=[("state", "=", "ALIVE")])
                found = [actor for actor in alive if kind in actor.class_name]
                if found:
                    os.kill(found[0].pid, signal.SIGKILL)
                    killed.append(kind)

    thread = threading.Thread(target=kill_one_of_each)
    thread.start()
    store, _ = extracted(corpus, tmp_path / "killed", 2)
    over.set()
    thread.join()
    assert killed == ["VideoDecoder", "WindowEncoder"]
    assert compute_file_hashes(store.folder) == compute_file_hashes(whole.folder)


def test_each_actor_has_its_own_gpu(  # type: ignore[no-untyped-def]
    corpus: Path, tmp_path: Path, whole
) -> None:
    """In a Ray of its own, with two GPUs that are there by name alone, and three decoders."""
    script = textwrap.dedent(f"""
        import ray, ray.data
        from pathlib import Path
        from test_extract_videos import extracted
        def compute_on_cpu():
            # No GPU is there for PyTorch, so the actors, which would refuse, get the CPU.
            import torch
            from kinesweep.features import video
            video.select_device = lambda *_: torch.device("cpu")

        asked = dict(num_cpus=3, num_gpus=2, include_dashboard=False)
        asked["runtime_env"] = dict(worker_process_setup_hook=compute_on_cpu)
        ray.init(address="local", log_to_driver=False, **asked)
        # Both are there before either begins: the first could do it all.
        ray.data.DataContext.get_current().wait_for_min_actors_s = 120
        corpus, root = Path({str(corpus)!r}), Path({str(tmp_path / "gpu")!r})
        store, notes = extracted(corpus, root, 2, gpus=1)
        print([note for note in notes if note][-1])
        from kinesweep.core.hashing import compute_file_hashes, compute_fingerprint
        print(compute_fingerprint(compute_file_hashes(store.folder)))
    """)
    (tmp_path / "run.py").write_text(script)
    environment = dict(os.environ)
    paths = [os.environ["PYTHONPATH"], str(ROOT / "tests" / "cluster")]
    environment["PYTHONPATH"] = os.pathsep.join(paths)
    environment.pop("RAY_ADDRESS", None)
    done = subprocess.run(
        [sys.executable, str(tmp_path / "run.py")], env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert "gpu 0 " in done.stdout and "gpu 1 " in done.stdout
    assert done.stdout.split()[-1] == compute_fingerprint(compute_file_hashes(whole.folder))
    shutil.rmtree(tmp_path / "gpu")


def test_a_gpu_that_is_there_by_name_alone_is_refused(corpus: Path, tmp_path: Path) -> None:
    """By the actor too: the driver of a cluster may see no GPU although the actor should."""
    script = textwrap.dedent(f"""
        import ray, ray.data
        from pathlib import Path
        from test_extract_videos import extracted
        ray.init(address="local", log_to_driver=False, num_cpus=2, num_gpus=1)
        extracted(Path({str(corpus)!r}), Path({str(tmp_path / "gpu")!r}), 1, gpus=1)
    """)
    (tmp_path / "run.py").write_text(script)
    environment = dict(os.environ)
    paths = [os.environ["PYTHONPATH"], str(ROOT / "tests" / "cluster")]
    environment["PYTHONPATH"] = os.pathsep.join(paths)
    environment.pop("RAY_ADDRESS", None)
    done = subprocess.run(
        [sys.executable, str(tmp_path / "run.py")], env=environment, capture_output=True, text=True
    )
    assert done.returncode != 0
    assert "`features.gpus` is 1, but this process sees no CUDA device" in done.stderr


def test_face_and_hands_are_as_alone(tmp_path: Path, cluster: None) -> None:
    corpus = film_corpus(tmp_path / "corpus", train=9, validation=1)
    model = vision_model(tmp_path / "dinov2", "dinov2")
    for number in range(10):
        size = (128 + 16 * number, 48)
        follow_block(corpus / "poses" / "films" / f"{number}.pose", 60, size=size)
    crops = {"crops": ["face", "left_hand", "right_hand"]}
    poses = {"poses": str(corpus / "poses")}
    stores = [
        build(film_recipe(corpus, model, tmp_path / name, features=crops, source=poses))
        for name, build in (("ray", extract_on_ray), ("here", extract_locally))
    ]
    assert stores[0].schema.widths == {"video": 48}
    for record in stores[1].get_records("train"):
        found, wanted = (store.get_features(record)["video"] for store in stores)
        np.testing.assert_allclose(found, wanted, atol=2e-3)


def test_augmented_epochs_are_those_of_one_process(  # type: ignore[no-untyped-def]
    tmp_path: Path, cluster: None
) -> None:
    model = vision_model(tmp_path / "dinov2", "dinov2")
    corpus = film_corpus(tmp_path / "corpus", train=5, validation=2)
    augmentation = {"random_resized_crop": {"scale": [0.3, 0.6]}}
    features = {"augmentation": augmentation, "epochs": 2, "actors": 2}
    recipes = [
        film_recipe(corpus, model, tmp_path / name, features=features, store={"dtype": "float32"})
        for name in ("ray", "here")
    ]
    store, here = extract_on_ray(recipes[0]), extract_locally(recipes[1])
    assert store.fingerprint == here.fingerprint
    assert store.extraction is not None and store.extraction.computed == 2 + 2 * 5
    for split in store.splits:
        for record, same in zip(store.get_records(split), here.get_records(split), strict=True):
            for epoch in range(len(record.all_lengths)):
                found = store.get_features(record.at_epoch(epoch))["video"]
                wanted = here.get_features(same.at_epoch(epoch))["video"]
                # Windows shared their batches with others here.
                np.testing.assert_allclose(found, wanted, atol=1e-5)
