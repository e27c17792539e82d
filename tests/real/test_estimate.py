"""Real videos to poses by MediaPipe in its own environment, and on to sentences, verb by verb.

The three shortest clips of How2Sign have 63 frames; the long forms take all eight, 434 frames.
"""

import json
import os
import resource
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from environments import cached_environment, imports
from kinesweep.cli import app
from kinesweep.features.estimators import find_estimator
from kinesweep.features.estimators.subprocess_worker import EstimatorProcess
from kinesweep.features.estimators.testing import EstimatorContract
from kinesweep.features.estimators.virtualenv import BASE_REQUIREMENTS, get_environment_python
from kinesweep.sources.pose_format.pose_file import read_pose
from noise import assert_no_ray_lines

ROOT = Path(__file__).resolve().parents[2]
DATA = Path(os.environ.get("KINESWEEP_REAL_DATA", ROOT.parent / "shared" / "data")).absolute()
CLIPS = DATA / "how2sign-clips"
FILM = DATA / "pose-files" / "pose" / "test_video.mp4"
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not CLIPS.is_dir(), reason=f"no real data in {DATA}"),
]
SHOULDERS = (11, 12)
BODY = slice(0, 33)
Verb = Callable[..., dict[str, Any]]


def clips(count: int) -> list[Path]:
    """Return the shortest clips of How2Sign, in order of their names."""
    videos = sorted((CLIPS / "video").glob("*.mp4"), key=lambda path: path.stat().st_size)
    assert len(videos) == 8
    return sorted(videos[:count])


@pytest.fixture(scope="module")
def environment() -> Path:
    """A state folder with MediaPipe's environment as the package makes it, kept between runs."""
    spec = find_estimator("mediapipe")

    def python(folder: Path) -> Path:
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("KINESWEEP_HOME", str(folder))
            return get_environment_python(spec.name, spec.requirements)

    def works(folder: Path) -> bool:
        made = [path.parent for path in folder.glob("environments/*/ready.json")]
        return bool(made) and imports(made[0] / "bin/python", ["mediapipe", "pose_format", "av"])

    return cached_environment(spec.name, [*BASE_REQUIREMENTS, *spec.requirements], python, works)


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory, environment: Path) -> Path:
    """A state folder of this module, which has MediaPipe's environment."""
    folder = tmp_path_factory.mktemp("home")
    (folder / "environments").symlink_to(environment / "environments")
    return folder


@pytest.fixture(scope="module")
def kinesweep(home: Path) -> Verb:
    """Call a verb as a command; return its line of JSON, and under `said` what it printed."""
    return lambda *words: in_one_process(home, [*words, "--json"])[0]


# On one core: each further one would be another worker that imports everything.
IN_TURN = """
import json, os, sys
os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
from typer.testing import CliRunner
from kinesweep.cli import app
from kinesweep.pipelines.cluster import ray_cluster
ray_cluster.set_ray_env()
for words in json.loads(sys.argv[1]):
    done = CliRunner().invoke(app, words)
    lines = done.stdout.splitlines()
    assert done.exit_code == 0, (words, done.output, done.exception)
    print(json.dumps({"said": done.stderr, **json.loads(lines[-1])}))
"""


def in_one_process(home: Path, *calls: Sequence[object]) -> list[dict[str, Any]]:
    """Call verbs in turn in a process of their own, where one Ray serves them all."""
    env = {k: v for k, v in os.environ.items() if not k.startswith(("RAY_", "MLFLOW_"))}
    env |= {"KINESWEEP_HOME": str(home), "OMP_NUM_THREADS": "1"}
    words = json.dumps([[str(word) for word in call] for call in calls])
    command = [sys.executable, "-c", IN_TURN, words]
    done = subprocess.run(command, env=env, cwd=home, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
    assert_no_ray_lines(done.stderr)
    answers = [json.loads(line) for line in done.stdout.splitlines()[-len(calls) :]]
    for answer in answers:
        assert_no_ray_lines(answer["said"])
    return answers


@pytest.fixture(scope="module")
def films(home: Path) -> Path:
    """Three clips, the short film, one that is cut off, and one that is none."""
    folder = home / "films"
    (folder / "more").mkdir(parents=True)
    for path in clips(3):
        (folder / path.name).symlink_to(path)
    (folder / "more" / FILM.name).symlink_to(FILM)
    whole = FILM.read_bytes()
    (folder / "more" / "cut.mp4").write_bytes(whole[: len(whole) // 2])
    (folder / "more" / "text.mp4").write_text("This is no video.\n" * 100)
    return folder


RECIPE = """
name: filmed
source: {kind: pose_tsv, train: train.tsv, validation: validation.tsv, videos: films,
  root: by/mediapipe}
batch: {batch_size: 8}
model:
  encoder: {kind: linear}
  backbone:
    kind: seq2seq
    scratch: {architecture: m2m_100, d_model: 64, encoder_layers: 1, decoder_layers: 1,
      encoder_attention_heads: 4, decoder_attention_heads: 4, encoder_ffn_dim: 128,
      decoder_ffn_dim: 128}
  tokenizer: {kind: train, algorithm: word, size: 256}
training: {learning_rate: 3.0e-3, max_steps: 150, eval_steps: 50, seed: 1}
generation: {num_beams: 1, max_new_tokens: 40}
tracking: none
"""


@pytest.fixture(scope="module")
def filmed(home: Path, films: Path) -> dict[str, str]:
    """The clips' names and sentences; a recipe whose corpus they are."""
    lines = (CLIPS / "manifest.tsv").read_text(encoding="utf-8").splitlines()
    rows = [dict(zip(lines[0].split("\t"), line.split("\t"), strict=True)) for line in lines[1:]]
    texts = {row["id"]: row["text"] for row in rows if (films / f"{row['id']}.mp4").exists()}
    for split in ("train", "validation"):
        table = [f"{name}-{split}\t{name}.mp4\t{text}" for name, text in texts.items()]
        written = "\n".join(["id\tsignal\toutput", *table]) + "\n"
        (home / f"{split}.tsv").write_text(written, encoding="utf-8")
    (home / "filmed.yaml").write_text(RECIPE)
    return texts


@pytest.fixture(scope="module")
def told(home: Path, films: Path, filmed: dict[str, str]) -> list[dict[str, Any]]:
    """What `estimate`, `extract` twice, and `train` said."""
    return in_one_process(
        home,
        ("estimate-poses", films, "--out", home / "poses", "--json"),
        ("extract", "filmed.yaml", "--json"),
        ("extract", "filmed.yaml", "--json"),
        ("train", "filmed.yaml", "--no-ray", "--json"),
    )


def test_every_video_has_its_poses(told: list[dict[str, Any]], films: Path) -> None:
    estimated = told[0]
    assert (estimated["written"], estimated["kept"]) == (4, 0)
    assert set(estimated["failed"]) == {"more/cut.mp4", "more/text.mp4"}
    assert estimated["failed"]["more/text.mp4"][0] == "not_a_video"
    assert estimated["failed"]["more/cut.mp4"][0] in ("truncated", "not_a_video")
    assert "2 failed" in estimated["said"]
    note = json.loads((films.parent / "poses/more/test_video.pose.json").read_text())
    assert (note["width"], note["height"], note["frames"]) == (540, 720, 58)
    assert note["fps"] == pytest.approx(29.9167, abs=1e-3)
    assert (note["estimator"], note["requirements"][0]) == ("mediapipe", "mediapipe==0.10.21")


@pytest.mark.usefixtures("told")
def test_points_are_those_of_the_corpus(films: Path) -> None:
    compare_points(clips(3), films.parent / "poses")


@pytest.mark.proof
def test_points_of_all_clips_are_those_of_the_corpus(kinesweep: Verb, home: Path) -> None:
    done = kinesweep("estimate-poses", CLIPS / "video", "--out", home / "all")
    assert (done["written"], done["failed"]) == (8, {})
    compare_points(clips(8), home / "all")


def compare_points(videos: list[Path], poses: Path) -> None:
    """Assert that poses are within 2 % of the shoulders' width of those that came with videos."""
    for video in videos:
        ours = read_pose(poses / f"{video.stem}.pose")
        theirs = read_pose(CLIPS / "pose" / f"{video.stem}.pose")
        assert ours.layout == theirs.layout and ours.fps == theirs.fps
        assert ours.points_TPJC.shape == theirs.points_TPJC.shape
        a_TJ2, b_TJ2 = (p.points_TPJC[:, 0, BODY, :2] for p in (ours, theirs))
        found_TJ = (ours.confidence_TPJ[:, 0, BODY] > 0) & (theirs.confidence_TPJ[:, 0, BODY] > 0)
        left, right = (b_TJ2[:, joint] for joint in SHOULDERS)
        width_T1 = np.linalg.norm(left - right, axis=1)[:, None]
        apart_TJ = np.linalg.norm(a_TJ2 - b_TJ2, axis=2) / width_T1
        assert np.median(apart_TJ[found_TJ]) < 0.02, video.name


@pytest.mark.usefixtures("told")
def test_a_second_call_does_nothing(kinesweep: Verb, films: Path) -> None:
    for name in ("cut.mp4", "text.mp4"):
        (films / "more" / name).unlink()
    before = {path: path.stat().st_mtime_ns for path in (films.parent / "poses").rglob("*.pose")}
    began = cpu_of_children()
    again = kinesweep("estimate-poses", films, "--out", films.parent / "poses")
    core_seconds = cpu_of_children() - began
    assert (again["written"], again["kept"], again["failed"]) == (0, 4, {})
    assert {path: path.stat().st_mtime_ns for path in before} == before
    assert core_seconds < 5


def test_as_fast_as_pose_format(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same film by the time of a core, without what their command takes to start."""
    monkeypatch.setenv("KINESWEEP_HOME", str(home))
    spec = find_estimator("mediapipe")
    with EstimatorProcess(spec) as estimate:
        ours = estimate(FILM, home / "ours.pose")["core_seconds"]
    command = get_environment_python(spec.name, spec.requirements).with_name("video_to_pose")
    took = []
    for words in (["--help"], ["-i", str(FILM), "-o", str(home / "theirs.pose")]):
        before = cpu_of_children()
        subprocess.run([str(command), *words], check=True, capture_output=True)
        took.append(cpu_of_children() - before)
    print(f"core seconds: ours {ours:.1f}, theirs {took[1]:.1f}, {took[0]:.1f} of them to start")
    assert ours <= 1.25 * (took[1] - took[0])


@pytest.mark.proof
def test_as_fast_as_the_command_of_pose_format(
    kinesweep: Verb, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same file in turn, by the time of a core; figures are printed."""
    monkeypatch.setenv("KINESWEEP_HOME", str(home))
    spec = find_estimator("mediapipe")
    command = get_environment_python(spec.name, spec.requirements).with_name("video_to_pose")
    film = max(clips(8), key=lambda path: path.stat().st_size)
    rates: dict[str, list[float]] = {"kinesweep": [], "video_to_pose": []}
    for turn in range(2):
        told = kinesweep("estimate-poses", film, "--out", home / f"turn-{turn}")
        rates["kinesweep"].append(told["frames"] / told["core_seconds"])
        before = cpu_of_children()
        words = [str(command), "-i", str(film), "-o", str(home / "theirs.pose")]
        subprocess.run(words, check=True, capture_output=True)
        rates["video_to_pose"].append(told["frames"] / (cpu_of_children() - before))
    print({name: [round(rate, 1) for rate in found] for name, found in rates.items()})
    assert max(rates["kinesweep"]) >= max(rates["video_to_pose"])


def cpu_of_children() -> float:
    """Seconds of a core that ended child processes took."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def test_video_in_sentence_out(
    told: list[dict[str, Any]],
    filmed: dict[str, str],
    home: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The chain of README: one recipe whose corpus is films, then its bundle."""
    _, extracted, again, trained = told
    assert "3 videos: 3 to estimate" in extracted["said"]
    assert "3 videos: 0 to estimate" in again["said"]
    monkeypatch.chdir(home)
    monkeypatch.setenv("KINESWEEP_HOME", str(home))
    invoke("export", trained["folder"], "bundle")
    poses = [home / "by/mediapipe" / f"{name}.pose" for name in filmed]
    said = json.loads(invoke("translate", "bundle", *poses, "--json").splitlines()[-1])
    assert list(said.values()) == list(filmed.values()), "three are learnt by heart"


@pytest.mark.proof
def test_video_in_scores_out(kinesweep: Verb, films: Path, filmed: dict[str, str]) -> None:
    """The same in one call, trained on Ray."""
    changes = ["source.root=by/run", "store.root=stores-of-run"]
    ran = kinesweep("run", "filmed.yaml", *changes, "--split", "train")
    assert f"{len(filmed)} videos: {len(filmed)} to estimate" in ran["said"]
    assert ran["scores"]["bleu"] > 90


def invoke(*words: object) -> str:
    """Call a verb in this process; return its output."""
    done = CliRunner().invoke(app, [*map(str, words)])
    assert done.exit_code == 0, done.output
    return str(done.stdout)


class TestMediapipe(EstimatorContract):
    name = "mediapipe"
    video = CLIPS / "video" / "_15CDIexNDM_0-5-rgb_front.mp4"
    other = CLIPS / "video" / "_15CDIexNDM_9-5-rgb_front.mp4"

    @pytest.fixture(autouse=True)
    def _at_home(self, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("KINESWEEP_HOME", str(home))
