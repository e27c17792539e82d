"""Clips and attention in a real browser: drawn, quiet, and they answer to mouse and keyboard."""

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

from attended import TOKENS, frames, made_up
from kinesweep.core.skeleton.skeleton import SMPL_22
from kinesweep.models.attention_maps import AttentionSpan
from kinesweep.models.encoders.frame_encoder import SourceSpan
from kinesweep.report.attention import AttentionPage, write_attention_html
from kinesweep.report.clip_renderer import CaptionLine, ClipRenderer
from kinesweep.report.pose_scene import build_scene
from kinesweep.report.video_writer import write_clip_drawing
from needs import need

if TYPE_CHECKING:
    from playwright.sync_api import Page as Tab

    from conftest import Look

pytestmark = pytest.mark.slow
JOINTS = tuple(SourceSpan(0, 10, joint) for joint in range(22))
BOTH = AttentionSpan("stream", 2, 29, "skeleton", (*frames(0, 5, 2).source_spans, *JOINTS))
PLACES = [
    AttentionSpan("prompt", 0, 2),
    BOTH,
    AttentionSpan("end", 29, 30),
    AttentionSpan("text", 30, 33),
]


@pytest.fixture(autouse=True)
def _chromium() -> None:
    need("chromium")


def open_page(look: "Look", folder: Path, page: AttentionPage) -> "Tab":
    """Opens a page; it must ask nobody for anything."""
    tab = look.open(write_attention_html(folder / "attention.html", page).as_uri())
    assert [url for url in look.requests if not url.startswith(("file:", "data:", "about:"))] == []
    return tab


def painted(tab: "Tab", name: str) -> str:
    """What a canvas shows; empty where nothing is drawn."""
    script = """id => { const c = document.getElementById(id);
      const all = c.getContext('2d').getImageData(0, 0, c.width, c.height).data;
      return all.some((x) => x) ? c.toDataURL() : ''; }"""
    return str(tab.evaluate(script, name))


def test_picking_a_token_changes_what_is_shown(look: "Look", tmp_path: Path) -> None:
    tab = open_page(look, tmp_path, made_up(PLACES, joints=True))
    first = {name: painted(tab, name) for name in ("map", "skeleton", "time")}
    assert all(first.values())
    shares = tab.locator("#shares").inner_text()
    tab.locator("#tokens button").nth(2).click()
    then = {name: painted(tab, name) for name in first}
    assert all(then[name] != first[name] for name in first)
    assert tab.locator("#shares").inner_text() != shares
    look.keep("attention")
    assert look.errors == []


def test_the_keyboard_reaches_all(look: "Look", tmp_path: Path) -> None:
    """Tokens by arrows, time by the slider, the map by arrows."""
    tab = open_page(look, tmp_path, made_up(PLACES))
    pressed = "#tokens button[aria-pressed=true]"
    tab.locator(pressed).focus()
    for expected in ("de", "he", "runs"):
        tab.keyboard.press("ArrowRight")
        assert tab.locator(pressed).inner_text().split("\n")[0] == expected
    assert tab.evaluate("document.activeElement.getAttribute('aria-pressed')") == "true"
    before = painted(tab, "skeleton")
    tab.locator("#frame-slider").focus()
    tab.keyboard.press("End")
    assert "frame 10 of 10" in tab.locator("#frame-label").inner_text()
    assert painted(tab, "skeleton") != before
    tab.locator("#map").focus()
    tab.keyboard.press("ArrowUp")
    tab.keyboard.press("ArrowLeft")
    assert tab.locator(pressed).inner_text().split("\n")[0] == "he"
    assert "frame 9 of 10" in tab.locator("#frame-label").inner_text()
    assert look.errors == []


def test_numbers_are_the_models(look: "Look", tmp_path: Path) -> None:
    """What is told of a layer's head, by the table and under the mouse, is its weights."""
    page = made_up(PLACES)
    weights = page.translation.attention.weights_AHLM.numpy()
    tab = open_page(look, tmp_path, page)
    tab.select_option("#layer", label="2")
    tab.select_option("#head", label="3")
    tab.locator("#tokens button").nth(4).click()  # after `all`, the last token
    row = weights[1, 2, TOKENS - 1]
    wanted = [row[2:7].sum(), row[7:29].sum(), row[:2].sum(), row[29], row[30:].sum()]
    told = [float(x.split()[0]) for x in tab.locator("#shares td.number").all_inner_texts()]
    np.testing.assert_allclose(told, 100 * np.array(wanted), atol=0.06)
    box = tab.locator("#map").bounding_box()
    assert box is not None
    left, across = (tab.evaluate(f"mapLayout.{name}") for name in ("left", "plotWidth"))
    tab.mouse.move(box["x"] + left + 0.5 * across, box["y"] + 6 + 20 * 3.4)  # frames 5 and 6
    said = tab.locator("#tooltip").inner_text().split("\n")
    assert said[0] == "“he runs”" and said[1].startswith("frames 5–6")
    assert float(said[2].split()[0]) == pytest.approx(100 * row[4], abs=0.06)


def test_joints_are_shown_where_the_model_reads_them(look: "Look", tmp_path: Path) -> None:
    tab = open_page(look, tmp_path, made_up(PLACES))
    plain = painted(tab, "skeleton")
    tab.select_option("#track", label="joints of skeleton")
    assert painted(tab, "skeleton") != plain
    tab.locator("#tokens button").nth(2).click()
    look.keep("attention-joints")
    assert look.errors == []


def test_it_plays(look: "Look", tmp_path: Path) -> None:
    tab = open_page(look, tmp_path, made_up(PLACES))
    tab.locator("#play").click()
    tab.wait_for_function("state.frame >= 3")
    tab.locator("#play").click()
    assert tab.locator("#play").inner_text() == "Play"


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_is_readable_in_light_and_dark(look: "Look", tmp_path: Path, scheme: str) -> None:
    look.page.emulate_media(color_scheme=scheme)  # type: ignore[arg-type]
    tab = open_page(look, tmp_path, made_up(PLACES, joints=True))
    colors = "e => [getComputedStyle(e).color, getComputedStyle(document.body).backgroundColor]"
    ink, paper = (
        sum(int(x) for x in color.strip("rgb()").split(",")[:3])
        for color in tab.locator("h1").evaluate(colors)
    )
    assert (ink < 200 and paper > 700) if scheme == "light" else (ink > 600 and paper < 120)
    look.keep(f"attention-{scheme}")


def test_a_clip_without_points(look: "Look", tmp_path: Path) -> None:
    page = made_up([frames(0, 3, 1, "video")])
    bare = AttentionPage(page.clip, page.model, page.translation, page.rates_hz, page.lengths)
    tab = open_page(look, tmp_path, bare)
    assert not tab.locator("#skeleton").is_visible() and painted(tab, "map")
    tab.locator("#tokens button").nth(1).click()
    assert look.errors == []


def test_long_names_and_texts_stay_inside(look: "Look", tmp_path: Path) -> None:
    page = replace(made_up(PLACES, text="كتب " * 40), clip="../" + "x" * 400)
    tab = open_page(look, tmp_path, page)
    for width in (1280, 380):
        tab.set_viewport_size({"width": width, "height": 900})
        assert tab.evaluate("document.documentElement.scrollWidth") <= width
    assert tab.locator("h1").evaluate("e => e.matches(':dir(rtl)')")
    look.keep("attention-long")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_shares_beneath_tokens_have_contrast(look: "Look", tmp_path: Path, scheme: str) -> None:
    """WCAG asks for 4.5 of small text; tokens that look at the motion alone are the darkest."""
    look.page.emulate_media(color_scheme=scheme)  # type: ignore[arg-type]
    tab = open_page(look, tmp_path, made_up([frames(0, 5, 2)]))
    colors = "e => [getComputedStyle(e).color, getComputedStyle(e.parentElement).backgroundColor]"
    for small in tab.locator("#tokens small").all():
        light = sorted(luminance(color) for color in small.evaluate(colors))
        assert (light[1] + 0.05) / (light[0] + 0.05) >= 4.5


def luminance(color: str) -> float:
    """Relative, of `rgb(…)`, as WCAG 2 defines it."""
    shares = np.array([int(x) for x in color.strip("rgb()").split(",")]) / 255
    linear = np.where(shares <= 0.04045, shares / 12.92, ((shares + 0.055) / 1.055) ** 2.4)
    return float(linear @ [0.2126, 0.7152, 0.0722])


def test_a_moment_does_not_draw_all_cells_again(look: "Look", tmp_path: Path) -> None:
    """The line moves, and leaves the map as it was."""
    tab = open_page(look, tmp_path, made_up(PLACES))
    before = painted(tab, "map")
    tab.evaluate("drawMap = () => { throw new Error('all cells'); }; setFrame(5); drawFrame();")
    assert painted(tab, "map") != before
    tab.evaluate("setFrame(0); drawFrame();")
    assert painted(tab, "map") == before


def test_films_and_pictures_open(look: "Look", tmp_path: Path) -> None:
    """The three kinds of files that `show` draws."""
    x_TJC = np.random.default_rng(0).random((1, 22, 3), np.float32) - 0.5
    x_TD = (x_TJC + np.linspace(0, 0.3, 30)[:, None, None]).reshape(30, 66)
    scene = build_scene("skeleton", x_TD, SMPL_22.layout, 30.0)
    stage = ClipRenderer(
        [scene], [CaptionLine("text", "He runs."), CaptionLine("predicted", "She runs.")]
    )
    for suffix in ("png", "gif", "mp4"):
        write_clip_drawing(tmp_path / f"clip.{suffix}", stage)
    (tmp_path / "all.html").write_text(
        "<style>img, video { width: 45% }</style>"  # what is out of sight does not play
        "<img src=clip.png><img src=clip.gif><video src=clip.mp4 muted autoplay></video>"
    )
    tab = look.open((tmp_path / "all.html").as_uri())
    tab.wait_for_function("document.querySelector('video').ended")
    images = tab.evaluate("[...document.images].map((i) => i.naturalWidth)")
    video = tab.evaluate("(v => [v.videoWidth, v.duration])(document.querySelector('video'))")
    assert min(images) > 200 and video[0] == images[1] // 2 * 2
    assert video[1] == pytest.approx(1.0, abs=0.1)
    look.keep("clips")
    assert look.errors == []
