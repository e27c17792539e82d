"""Bundles go to a Hub and come back whole, or it is said what went wrong and what to do.

The Hub is a server on loopback; the real one is never asked.
"""

import json
import re
import shutil
from pathlib import Path

import pytest
from huggingface_hub import ModelCard, constants

import kinesweep as ks
from corpus import tiny_store
from hub_server import READ_TOKEN, TOKEN, Fault, HubServer, serve_hub, use_hub
from kinesweep.cli import main
from kinesweep.config.recipe.export import CardConfig
from kinesweep.core.errors import BundleError, HubError, InputError
from kinesweep.core.hashing import compute_file_hashes, compute_file_sha256
from kinesweep.export import export_bundle
from kinesweep.export.bundle_manifest import write_bundle_manifest
from kinesweep.export.hub import push
from kinesweep.export.hub.card_metadata import find_base_model
from kinesweep.export.hub.download import download_bundle, find_checked_bundle_dir
from kinesweep.export.hub.repo_names import is_hub_name
from kinesweep.training.run_records.result import read_run_result
from once import made_once

pytestmark = pytest.mark.integration


@pytest.fixture(scope="session")
def exported(made, run, recipe, tmp_path_factory):
    return (
        made_once(
            tmp_path_factory,
            "hub-bundle",
            lambda folder: export_bundle(run, folder / "bundle", tiny_store(recipe)),
        )
        / "bundle"
    )


@pytest.fixture
def bundle(exported, tmp_path):
    return shutil.copytree(exported, tmp_path / "bundle")


@pytest.fixture
def hub(monkeypatch, tmp_path):
    with serve_hub() as server:
        use_hub(monkeypatch, server, tmp_path / "cache")
        yield server


def test_a_bundle_goes_there_and_comes_back(bundle, hub, made):
    pushed = ks.push_bundle(bundle, "lab/signs")
    files = hub.files("lab/signs")
    assert files.keys() == {".gitattributes", *compute_file_hashes(bundle)}
    assert all((bundle / name).read_bytes() == files[name] for name in files if name[0] != ".")
    assert pushed.num_files == len(files) - 1 and pushed.url.startswith(f"{hub.url}/lab/signs")
    assert len(hub.repos["lab/signs"].commits) == 2, "one commit after that of the creation"
    # The weights went through LFS, the card through the commit.
    sha256 = compute_file_sha256(bundle / "model.safetensors")
    assert hub.asked(f"PUT /lfs/{sha256}") and hub.objects.keys() >= {sha256}
    pose = sorted((made / "corpus").rglob("*.pose"))[:3]
    texts = ks.load_bundle(bundle).translate(pose)
    assert ks.load_bundle("lab/signs").translate(pose) == texts
    assert ks.load_bundle("lab/signs", revision=pushed.revision).translate(pose) == texts


def test_the_card_is_the_hubs(run, recipe, tmp_path):
    card = CardConfig(
        license="cc-by-nc-4.0",
        language=("ase", "en"),
        datasets=("lab/corpus",),
        base_model="google-t5/t5-small",
        tags=("sign-language",),
    )
    test = {"bleu": 12.25, "chrf": float("nan")}
    bundle = export_bundle(run, tmp_path / "b", tiny_store(recipe), test_scores=test, card=card)
    data = ModelCard.load(bundle / "README.md").data
    assert (data.license, data.language, data.datasets) == (
        *("cc-by-nc-4.0", ["ase", "en"]),
        ["lab/corpus"],
    )
    assert (data.base_model, data.base_model_relation) == ("google-t5/t5-small", "finetune")
    assert (data.library_name, data.pipeline_tag) == ("kinesweep", "translation")
    assert data.tags == ["kinesweep", "motion-to-text", "sign-language"]
    result = read_run_result(run)
    values = {(r.dataset_split, r.metric_type): r for r in data.eval_results}
    assert values.keys() == {("test", "bleu"), *(("validation", m) for m in result.scores)}
    assert values["test", "bleu"].metric_value == 12.25
    shown = values["validation", "bleu"]
    assert shown.metric_value == pytest.approx(result.scores["bleu"], abs=5e-4)
    assert shown.metric_args == {"signature": result.signatures["bleu"]}
    assert shown.dataset_type == "lab/corpus"
    text = (bundle / "README.md").read_text()
    assert "| license | cc-by-nc-4.0 |" in text
    # What the recipe says is in the bundle too, and changes no hash.
    kept = ks.load_recipe(bundle / "recipe.yaml")
    assert kept.export.card == card
    assert kept.compute_config_hash("x") == recipe.compute_config_hash("x")


def test_nothing_is_invented_on_the_card(bundle, recipe):
    data = ModelCard.load(bundle / "README.md").data
    assert (data.license, data.language, data.datasets, data.base_model) == (None,) * 4
    assert "| license | not stated" in (bundle / "README.md").read_text()
    assert {result.dataset_type for result in data.eval_results} == {recipe.name}


@pytest.mark.parametrize(
    ("pretrained", "expected"),
    [
        (None, None),
        ("google-t5/t5-small", "google-t5/t5-small"),
        ("/data/models/t5", None),
        ("/t5", None),
        ("./t5", None),
        ("t5-small", None),
    ],
)
def test_only_a_name_on_the_hub_is_a_base_model(pretrained, expected):
    assert find_base_model(pretrained) == expected


def test_a_new_version_replaces_the_bundle_and_nothing_else(bundle, hub):
    first = ks.push_bundle(bundle, "lab/signs")
    hub.edit("lab/signs", "LICENSE", b"mine")
    (bundle / "notes.txt").write_text("new")
    (bundle / "requirements.txt").unlink()
    write_new_manifest(bundle)
    second = ks.push_bundle(bundle, "lab/signs", message="second")
    files = hub.files("lab/signs")
    assert "notes.txt" in files and "LICENSE" in files and "requirements.txt" not in files
    assert hub.repos["lab/signs"].messages[-1] == "second"
    assert len(hub.repos["lab/signs"].commits) == 4
    assert len(hub.asked("PUT /lfs/")) == len(set(hub.asked("PUT /lfs/"))), "nothing is sent twice"
    old = download_bundle("lab/signs", first.revision)
    assert (old / "requirements.txt").exists() and not (old / "notes.txt").exists()
    assert (download_bundle("lab/signs", second.revision) / "notes.txt").exists()


def write_new_manifest(bundle):
    (bundle / "manifest.json").unlink()
    write_bundle_manifest(bundle)


def test_only_files_of_the_manifest_go(bundle, hub):
    (bundle / ".env").write_text("PASSWORD=1")
    (bundle / "diary.md").write_text("private")
    ks.push_bundle(bundle, "lab/signs")
    assert not {".env", "diary.md"} & hub.files("lab/signs").keys()


def test_a_branch_is_made_and_read(bundle, hub):
    ks.push_bundle(bundle, "lab/signs", revision="v2")
    assert hub.files("lab/signs").keys() == {".gitattributes"}
    with pytest.raises(HubError, match="not a bundle"):
        download_bundle("lab/signs")
    assert (download_bundle("lab/signs", "v2") / "model.safetensors").exists()
    with pytest.raises(HubError, match="no such revision"):
        download_bundle("lab/signs", "v3")


def test_private_is_never_public(bundle, hub):
    ks.push_bundle(bundle, "lab/secret", private=True)
    assert hub.repos["lab/secret"].private
    hub.repos["lab/secret"].private = False
    commits = len(hub.repos["lab/secret"].commits)
    with pytest.raises(HubError, match="exists and is public"):
        ks.push_bundle(bundle, "lab/secret", private=True)
    assert len(hub.repos["lab/secret"].commits) == commits


@pytest.mark.parametrize(
    "files",
    [
        {"pytorch_model.bin": b"x"},
        {"manifest.json": b"[]", "a": b"b"},
        {"README.md": b"# Mine"},
        # As in a checkpoint, and in a program's list of files.
        {"manifest.json": b'{"format": 1, "files": {"model.safetensors": "0"}}', "a": b"b"},
        {"manifest.json": b'{"files": ["a", "README.md"]}', "a": b"b", "README.md": b"# Mine"},
    ],
)
def test_other_content_is_not_overwritten(files, bundle, hub):
    hub.add("lab/other", files)
    with pytest.raises(HubError, match=r"something other than a bundle.*not overwritten"):
        ks.push_bundle(bundle, "lab/other")
    assert hub.files("lab/other") == files


FAULTS = {
    "no permission": (Fault("POST /api/repos/create", 403), "no permission"),
    "a wrong token": (Fault("POST /api/repos/create", 401), "does not accept the token"),
    "too large": (Fault("POST .*batch", 413), "too large"),
    "a rate limit": (Fault("POST .*preupload", 429, 99), "wait a few minutes"),
    "a failing store": (Fault("PUT /lfs/", 500, 99), r"status 500.*continues"),
    "a failing commit": (Fault("POST .*/commit/", 503, 99), r"status 503.*continues"),
    "a cut connection": (Fault("PUT /lfs/", 0, 99), r"cannot be reached.*continues"),
    "a cut commit": (Fault("POST .*/commit/", 0, 99), "cannot be reached"),
    "a commit in between": (Fault("POST .*/commit/", 412), "changed by somebody else"),
    "an echoed token": (
        Fault("POST /api/repos/create", 400, headers={"X-Error-Message": f"bad {TOKEN}"}),
        r"rejected: .*\*\*\*",
    ),
    "a token where the reason is cut": (
        Fault("POST /api/repos/create", 400, headers={"X-Error-Message": "x" * 190 + TOKEN}),
        r"rejected: x+\*\*\*",
    ),
    "a refusing card check": (
        Fault("validate-yaml", 400, body='{"errors": [{"message": "license: unknown"}]}'),
        "license: unknown",
    ),
}


@pytest.mark.parametrize("what", FAULTS)
def test_a_failed_push_names_the_cause_and_is_continued(what, bundle, hub, caplog):
    fault, message = FAULTS[what]
    hub.faults.append(fault)
    with pytest.raises(HubError, match=message) as raised:
        ks.push_bundle(bundle, "lab/signs")
    assert TOKEN[:8] not in f"{raised.value}{caplog.text}"
    held = hub.repos.get("lab/signs")
    assert held is None or len(held.commits) == 1, "no half of a bundle is ever committed"
    hub.faults.clear()
    sent = set(hub.objects)
    ks.push_bundle(bundle, "lab/signs")
    for oid in sent:
        assert len(hub.asked(f"PUT /lfs/{oid}")) == 1, "what had arrived is not sent again"
    assert compute_file_hashes(download_bundle("lab/signs")) == compute_file_hashes(bundle)


def test_a_commit_of_somebody_else_is_not_overwritten(bundle, hub, monkeypatch):
    ks.push_bundle(bundle, "lab/signs")
    list_replaced_names = push._list_replaced_names

    def list_and_be_late(*arguments):
        names = list_replaced_names(*arguments)
        hub.edit("lab/signs", "recipe.yaml", b"name: theirs")
        return names

    monkeypatch.setattr(push, "_list_replaced_names", list_and_be_late)
    with pytest.raises(HubError, match="changed by somebody else"):
        ks.push_bundle(bundle, "lab/signs")
    assert hub.files("lab/signs")["recipe.yaml"] == b"name: theirs"


def test_passing_faults_are_not_noticed(bundle, hub):
    hub.faults += [Fault("PUT /lfs/", 500), Fault("PUT /lfs/", 0, skip=1), Fault("preupload", 503)]
    ks.push_bundle(bundle, "lab/signs")
    hub.faults += [Fault("GET /cdn/", 429, headers={"Retry-After": "1"})]
    assert compute_file_hashes(download_bundle("lab/signs")) == compute_file_hashes(bundle)


def test_a_card_that_was_edited_there_is_not_lost_in_silence(bundle, hub, caplog):
    ks.push_bundle(bundle, "lab/signs")
    ks.push_bundle(bundle, "lab/signs")
    assert "edited" not in caplog.text
    hub.edit("lab/signs", "README.md", b"# Mine")
    edited = hub.repos["lab/signs"].branches["main"]
    ks.push_bundle(bundle, "lab/signs")
    assert (
        f"was edited on the Hub and is replaced; its text stays in commit {edited}" in caplog.text
    )


def test_a_hub_that_keeps_other_bytes_is_caught(bundle, hub):
    for name in ("model.safetensors", "recipe.yaml"):
        hub.tampered = {name}
        with pytest.raises(HubError, match=f"`{name}` differs.*run the same command again"):
            ks.push_bundle(bundle, "lab/signs")


def test_a_token_of_somebody_else_or_none_is_named(bundle, hub, monkeypatch, tmp_path):
    with pytest.raises(HubError, match="no permission for `others/signs`"):
        ks.push_bundle(bundle, "others/signs")
    monkeypatch.setenv("HF_TOKEN", READ_TOKEN)
    with pytest.raises(HubError, match="no permission for `lab/signs`"):
        ks.push_bundle(bundle, "lab/signs")
    monkeypatch.setenv("HF_TOKEN", "hf_wrong")
    with pytest.raises(HubError, match="does not accept the token"):
        ks.push_bundle(bundle, "lab/signs")
    monkeypatch.delenv("HF_TOKEN")
    hub.requests.clear()
    with pytest.raises(HubError, match=r"no token.*hf auth login"):
        ks.push_bundle(bundle, "lab/signs")
    assert not hub.requests and not hub.repos


@pytest.mark.parametrize(
    "name", ["signs", "a/b/c", "lab/", "/lab", "lab/si gns", "../x", "lab/a--b"]
)
def test_a_wrong_name_is_refused_before_any_request(name, bundle, hub):
    with pytest.raises(InputError, match="OWNER/NAME"):
        ks.push_bundle(bundle, name)
    assert not hub.requests


def test_what_is_no_bundle_is_refused_before_any_request(bundle, hub, tmp_path):
    with pytest.raises(BundleError, match="not a bundle"):
        ks.push_bundle(tmp_path, "lab/signs")
    (bundle / "recipe.yaml").write_text("name: x")
    with pytest.raises(BundleError, match=r"`recipe\.yaml` was changed"):
        ks.push_bundle(bundle, "lab/signs")
    (bundle / "README.md").rename(bundle / "card.md")
    write_new_manifest(bundle)
    with pytest.raises(BundleError, match="export the run again"):
        ks.push_bundle(bundle, "lab/signs")
    assert not hub.requests


def test_a_damaged_download_is_refused(bundle, hub):
    ks.push_bundle(bundle, "lab/signs")
    weights = (bundle / "model.safetensors").read_bytes()
    hub.edit("lab/signs", "model.safetensors", weights[:-1] + bytes([weights[-1] ^ 1]))
    with pytest.raises(BundleError, match=r"`lab/signs` was not loaded.*model.safetensors` was ch"):
        ks.load_bundle("lab/signs")


def test_an_edited_card_is_no_damage(bundle, hub, caplog):
    ks.push_bundle(bundle, "lab/signs")
    hub.edit("lab/signs", "README.md", b"---\nlicense: mit\n---\n# Edited on the website\n")
    folder = download_bundle("lab/signs")
    assert (folder / "README.md").read_text().endswith("website\n")
    # The copy can be used like any other folder, too.
    assert find_checked_bundle_dir(folder) == folder
    assert find_checked_bundle_dir(Path("lab/signs")) == folder
    assert ks.load_bundle(folder).translate([]) == []
    assert "model card" in caplog.text and "edited" in caplog.text
    hub.add("lab/bare", {k: v for k, v in hub.files("lab/signs").items() if k != "README.md"})
    bare = find_checked_bundle_dir(Path("lab/bare"))
    with pytest.raises(BundleError, match=r"README\.md` is missing"):
        find_checked_bundle_dir(bare)


@pytest.mark.parametrize(
    "name",
    [
        *("model.pkl", "code.py", "weights.BIN", "../x.json", "/x.json", "net.onnx", "run.sh"),
        *("lib.so.1", "noname", ".hidden.json", ".git/config", "./x.json", "a//x.json", "x.json/"),
        *("a\0x.json", "\x1b[2Jx.json", "a\\x.json", f"{'a' * 300}.json", "MLmodel/x.dill", ""),
    ],
)
def test_files_that_could_run_code_never_arrive(name, bundle, hub, tmp_path):
    ks.push_bundle(bundle, "lab/signs")
    manifest = json.loads((bundle / "manifest.json").read_text())
    manifest["files"][name] = "0" * 64
    hub.edit("lab/signs", "manifest.json", json.dumps(manifest).encode())
    hub.requests.clear()
    with pytest.raises(BundleError, match="could run code") as raised:
        ks.load_bundle("lab/signs")
    assert str(raised.value).isprintable()
    assert len(hub.asked("resolve/|cdn")) <= 2, "only the manifest"


def edit_manifest(bundle, hub, **values):
    ks.push_bundle(bundle, "lab/signs")
    manifest = {**json.loads((bundle / "manifest.json").read_text()), **values}
    hub.edit("lab/signs", "manifest.json", json.dumps(manifest).encode())
    hub.requests.clear()


@pytest.mark.parametrize(
    "files", [[[1, "0"]], [["a.json", 2]], None, 3, {"model.safetensors": None}, {"a.json": []}]
)
def test_a_manifest_of_other_types_is_damaged(files, bundle, hub):
    edit_manifest(bundle, hub, files=files)
    with pytest.raises(BundleError, match=r"`lab/signs` was not loaded.*manifest.json. cannot be"):
        download_bundle("lab/signs")
    hub.edit("lab/signs", "manifest.json", b"[" * 100_000)
    with pytest.raises(BundleError, match=r"manifest.json` cannot be read"):
        download_bundle("lab/signs")


PART = {"group": "kinesweep.encoders", "kind": "odd", "package": "odd-parts", "version": "1.0"}


def test_a_missing_package_is_named_before_the_download(bundle, hub):
    edit_manifest(bundle, hub, parts=[PART])
    said = r"`lab/signs` needs .*`pip install odd-parts==1\.0`.*authors whom you trust"
    with pytest.raises(BundleError, match=said) as raised:
        download_bundle("lab/signs")
    assert "hf cache rm" not in str(raised.value), "a new download would not help"
    assert not hub.asked("safetensors|cdn")


@pytest.mark.parametrize(
    "change",
    [
        {"package": "odd --index-url http://127.0.0.1/"},
        {"package": "odd; rm -rf ~"},
        {"package": "-r x"},
        {"package": ""},
        {"version": "1\n\x1b[2J"},
        {"version": "$(id)"},
        {"group": "console_scripts"},
        {"kind": "x\x1b[2J"},
    ],
)
def test_no_command_of_a_stranger_is_shown(change, bundle, hub):
    edit_manifest(bundle, hub, parts=[{**PART, **change}])
    with pytest.raises(BundleError, match="an entry of `parts` has the") as raised:
        download_bundle("lab/signs")
    assert "pip install" not in str(raised.value) and str(raised.value).isprintable()


def test_files_beside_the_bundle_are_not_fetched(bundle, hub):
    ks.push_bundle(bundle, "lab/signs")
    hub.edit("lab/signs", "pytorch_model.bin", b"pickle")
    folder = download_bundle("lab/signs")
    assert not (folder / "pytorch_model.bin").exists() and not hub.asked("pytorch_model")


def test_offline_a_cached_bundle_is_used(bundle, hub, monkeypatch):
    ks.push_bundle(bundle, "lab/signs")
    first = download_bundle("lab/signs")
    hub.requests.clear()
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    assert download_bundle("lab/signs") == first
    with pytest.raises(HubError, match=r"not in the cache|HF_HUB_OFFLINE"):
        download_bundle("lab/unknown")
    with pytest.raises(HubError, match="HF_HUB_OFFLINE"):
        ks.push_bundle(bundle, "lab/signs")
    assert not hub.requests


def test_without_a_hub_the_network_is_named(bundle, hub, monkeypatch, tmp_path):
    use_hub(monkeypatch, HubServer(url="http://127.0.0.1:9"), tmp_path / "cache")
    with pytest.raises(HubError, match=r"127.0.0.1:9 cannot be reached"):
        ks.push_bundle(bundle, "lab/signs")
    with pytest.raises(HubError, match=r"cannot be reached|does not answer"):
        download_bundle("lab/signs")


def test_a_missing_or_private_repository_is_named(bundle, hub, monkeypatch):
    with pytest.raises(HubError, match="no repository `lab/nothing`"):
        download_bundle("lab/nothing")
    ks.push_bundle(bundle, "lab/secret", private=True)
    monkeypatch.delenv("HF_TOKEN")
    with pytest.raises(HubError, match="token for `lab/secret`, or the repository does not exist"):
        download_bundle("lab/secret")


def test_a_mistyped_path_is_no_request(bundle, hub, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("bundel", "./lab/signs", "~/x", "/a/b", "exports/sub/x", "bundle/best", "a b/c"):
        assert not is_hub_name(name)
        with pytest.raises(BundleError, match=re.escape(str(Path(name)))):
            ks.load_bundle(name)
    assert is_hub_name("lab/signs") and not hub.requests
    with pytest.raises(InputError, match="local folder"):
        ks.load_bundle(bundle, revision="main")
    with pytest.raises(InputError, match="`revision` is empty"):
        ks.load_bundle("lab/signs", revision="")


def test_the_streamed_upload_pushes_the_same(bundle, hub, monkeypatch):
    """The library's other path, which is that of most users; contents here are below LFS."""
    hub.lfs_threshold = 10**9
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", False)
    ks.push_bundle(bundle, "lab/signs")
    assert len(hub.repos["lab/signs"].commits) == 2
    assert compute_file_hashes(download_bundle("lab/signs")) == compute_file_hashes(bundle)


def test_models_are_compared_and_shown_by_name(bundle, hub, made, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    ks.push_bundle(bundle, "lab/signs")
    hub.edit("lab/signs", "README.md", b"# Edited on the website\n")
    clip = str(min((made / "corpus").rglob("*.pose")))
    for words in (
        ["diff", "lab/signs", "bundle"],
        ["attention", "lab/signs", clip, "--out=a.html"],
    ):
        with pytest.raises(SystemExit) as left:
            main(words)
        assert not left.value.code, capsys.readouterr().err
    assert (tmp_path / "a.html").stat().st_size > 0
    with pytest.raises(SystemExit) as left:
        main(["diff", "lab/signs", "lab/nothing"])
    assert left.value.code == 2 and "no repository `lab/nothing`" in capsys.readouterr().err


def test_a_gated_repository_is_named(hub):
    headers = {"X-Error-Code": "GatedRepo", "X-Error-Message": "Access is restricted"}
    hub.faults.append(Fault("resolve", 403, headers=headers))
    with pytest.raises(HubError, match=r"Access is restricted.*ask for access on its page"):
        download_bundle("lab/signs")
