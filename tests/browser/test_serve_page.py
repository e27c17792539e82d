"""The page of `kinesweep serve` in Chromium: a file, a fake webcam, phone and desktop."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from corpus import tiny_corpus, tiny_recipe, tiny_store
from kinesweep.core.run_logger import NullRunLogger
from kinesweep.export import Bundle, export_bundle
from kinesweep.store.extraction.build import extract_locally
from kinesweep.training.loop.run import RunSpec, train_run
from needs import need
from served import TOKEN, serving_bundle
from vision import film_corpus, film_recipe, vision_model

pytestmark = pytest.mark.slow
FAKE_WEBCAM = ["--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream"]


@pytest.fixture(scope="module")
def pose_bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("poses")
    recipe = tiny_recipe(tiny_corpus(folder), folder / "stores")
    store = tiny_store(recipe)
    train_run(RunSpec(recipe, store.folder, folder / "run"), NullRunLogger(), lambda _: True)
    return export_bundle(folder / "run", folder / "bundle", store)


@pytest.fixture(scope="module")
def video_bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("videos")
    model = vision_model(folder / "videomae", "videomae")
    recipe = film_recipe(film_corpus(folder / "corpus", train=6, validation=3), model, folder / "s")
    store = extract_locally(recipe)
    train_run(RunSpec(recipe, store.folder, folder / "run"), NullRunLogger(), lambda _: True)
    return export_bundle(folder / "run", folder / "bundle", store)


@pytest.fixture(scope="module")
def page(browser: object) -> Iterator[tuple[Page, list[str]]]:
    """A page with a fake webcam in a Chromium of its own, and what it complains of."""
    chromium = browser.browser_type  # type: ignore[attr-defined]
    started = chromium.launch(executable_path=need("chromium"), args=["--no-sandbox", *FAKE_WEBCAM])
    opened = started.new_page(viewport={"width": 1400, "height": 900})
    opened.set_default_timeout(60_000)
    errors: list[str] = []
    opened.on("pageerror", lambda error: errors.append(str(error)))
    opened.on("console", lambda said: errors.append(said.text) if said.type == "error" else None)
    yield opened, errors
    started.close()


def test_a_file_becomes_text_skeleton_and_attention(
    page: tuple[Page, list[str]], pose_bundle: Path
) -> None:
    opened, errors = page
    file = next((pose_bundle.parent / "corpus").rglob("*.pose"))
    text = Bundle.load(pose_bundle).translate([file])[0]
    with serving_bundle(pose_bundle) as address:
        opened.goto(f"{address}?token={TOKEN}")
        assert TOKEN not in opened.url
        expect(opened.locator("#bundle")).to_contain_text("Bundle bundle")
        # A model of poses without an estimator says what the webcam needs.
        expect(opened.locator("#record")).to_be_disabled()
        expect(opened.locator("#webcam-note")).to_contain_text("estimate-poses")
        opened.get_by_label("File", exact=False).first.set_input_files(file)
        opened.get_by_role("button", name="Translate file").click()
        expect(opened.locator("#text")).to_have_text(text or "(empty text)")
        for part in ("alternatives-part", "skeleton-part", "attention-part"):
            expect(opened.locator(f"#{part}")).to_be_visible()
        assert opened.locator("#alternatives-table tbody tr").count() >= 1
        drawn = """id => { const c = document.getElementById(id);
            const d = c.getContext('2d').getImageData(0, 0, c.width, c.height).data;
            return new Set(d.filter((_, i) => i % 4 === 0)).size }"""
        assert opened.evaluate(drawn, "skeleton") > 2
        assert opened.evaluate(drawn, "attention") > 2
        for width in (1400, 360):
            opened.set_viewport_size({"width": width, "height": 800})
            assert opened.evaluate("document.documentElement.scrollWidth") <= width
        assert errors == []
        # An error of the server is shown; Chromium itself notes the status in its console.
        opened.locator("#field-file").set_input_files(
            {"name": "x.pose", "mimeType": "text/plain", "buffer": b"garbage"}
        )
        opened.get_by_role("button", name="Translate file").click()
        expect(opened.get_by_role("alert")).to_contain_text("x.pose")
        errors.clear()


def test_a_fake_webcam_is_recorded_and_translated(
    page: tuple[Page, list[str]], video_bundle: Path
) -> None:
    opened, errors = page
    opened.set_viewport_size({"width": 1400, "height": 900})
    with serving_bundle(video_bundle) as address:
        opened.goto(f"{address}?token={TOKEN}")
        record = opened.locator("#record")
        expect(record).to_be_enabled()
        record.click()
        expect(record).to_have_text("Stop and translate")
        opened.wait_for_timeout(1500)
        with opened.expect_response(lambda answer: answer.url.endswith("/translate")) as sent:
            record.click()
        assert sent.value.status == 200, sent.value.text()
        result = sent.value.json()
        expect(opened.locator("#text")).to_have_text(result["text"] or "(empty text)")
        assert result["duration_s"] > 0.5
        expect(opened.locator("#attention-part")).to_be_visible()
        assert errors == []
