"""The tokenizer's file: whatever is wrong with it is said in one line, and nothing is encoded with it."""

import copy
import hashlib
import json

import pytest

from panther_pipeline.errors import ArtifactError
from panther_pipeline.tokenizer.tokenizer import Tokenizer


@pytest.fixture(scope="module")
def good(events, profiles, splits, make_config, tmp_path_factory):
    path = tmp_path_factory.mktemp("good") / "tokenizer.json"
    Tokenizer.fit(events, profiles, make_config(), splits).save(path)
    return json.loads(path.read_text())


def sign(content) -> str:
    text = json.dumps(content, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()


def write(tmp_path, file, signed=True):
    """The file with a digest that fits, so that only the content is at fault."""
    path = tmp_path / "tokenizer.json"
    if signed:
        file = {**file, "digest": sign(file["content"])}
    path.write_text(json.dumps(file))
    return path


def test_the_digest_is_that_of_the_canonical_content(good):
    assert good["digest"] == sign(good["content"])


def test_a_missing_file_names_the_pipeline(tmp_path):
    with pytest.raises(ArtifactError, match="kedro run --pipelines=tokenize"):
        Tokenizer.load(tmp_path / "none.json")


@pytest.mark.parametrize(
    "content",
    [
        b"", b"{", b"\xff\xfe\x00", b"[]", b"null", b"7", b'{"artifact": "tokenizer"}', b"[" * 200_000,
        b"NaN", b"1" * 5000, b'"\\ud800"',
    ],
)  # fmt: skip
def test_a_file_that_is_no_tokenizer_is_refused(tmp_path, content):
    path = tmp_path / "tokenizer.json"
    path.write_bytes(content)
    with pytest.raises(ArtifactError, match=r"tokenizer\.json"):
        Tokenizer.load(path)


def test_a_folder_is_refused(tmp_path):
    with pytest.raises(ArtifactError):
        Tokenizer.load(tmp_path)


def test_another_version_is_refused(good, tmp_path):
    with pytest.raises(ArtifactError, match="version"):
        Tokenizer.load(write(tmp_path, {**good, "version": 2}))


def test_a_changed_value_is_noticed(good, tmp_path):
    changed = copy.deepcopy(good)
    changed["content"]["tokens"][0]["count"] += 1
    with pytest.raises(ArtifactError, match="has changed since it was written"):
        Tokenizer.load(write(tmp_path, changed, signed=False))


def _set(content, path, value):
    *parents, last = path
    for key in parents:
        content = content[key]
    content[last] = value


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (["fields"], []),
        (["fields", 0, "categories"], ["a", "a"]),
        (["fields", 0, "categories"], None),
        (["fields", 2, "edges"], [5, 5]),
        (["fields", 2, "edges"], [10**40]),
        (["fields", 2, "edges"], ["0"]),
        (["fields", 2, "source"], "category"),
        (["drop_order"], ["amount", "amount", "channel"]),
        (["max_dropped"], 3),
        (["max_dropped"], True),
        (["zone"], "../../etc/passwd"),
        (["tokens", 0, "pattern"], [2, 2]),
        (["tokens", 0, "pattern"], [2, 2, 10**9]),
        (["tokens", 0, "pattern"], [2, 2, -1]),
        (["tokens", 0, "pattern"], [0, 0, 0]),
        (["tokens", 0, "count"], -1),
        (["tokens", 0, "count"], 10**30),
        (["tokens", 0, "count"], 0),
        (["tokens", 0, "name"], 7),
        (["tokens", 0], {"name": "x", "pattern": [2, 2, 2], "count": 5, "__class__": "os.system"}),
        (["surprise"], 1),
        (["information_nats"], [0.0]),
        (["information_nats"], "lots"),
    ],
)
def test_content_that_contradicts_itself_is_refused(good, tmp_path, path, value):
    hostile = copy.deepcopy(good)
    _set(hostile["content"], path, value)
    with pytest.raises(ArtifactError, match="is not a tokenizer"):
        Tokenizer.load(write(tmp_path, hostile))


def test_a_token_may_not_stand_twice(good, tmp_path):
    hostile = copy.deepcopy(good)
    hostile["content"]["tokens"][1] = hostile["content"]["tokens"][0]
    with pytest.raises(ArtifactError, match="stands twice"):
        Tokenizer.load(write(tmp_path, hostile))


def test_saving_leaves_no_other_file(events, profiles, splits, make_config, tmp_path):
    Tokenizer.fit(events, profiles, make_config(), splits).save(tmp_path / "a" / "tokenizer.json")
    assert [file.name for file in (tmp_path / "a").iterdir()] == ["tokenizer.json"]
