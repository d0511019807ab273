"""What makes an artifact another one, and the JSON that says what it was made from."""

import hashlib
import json

import pytest

from pipelines.artifacts.manifest import Manifest
from pipelines.errors import BadInput

WRITTEN = """\
{
  "artifact": "nformer.pt",
  "block_sums": "",
  "bytes": 0,
  "config": {
    "layers": 2
  },
  "facts": {
    "place": "Zürich"
  },
  "inputs": {
    "embeddings.h5": "ab12"
  },
  "schema": 1,
  "sha256": "",
  "stage": "train-nformer"
}
"""


def manifest(**changes):
    settings = {"stage": "train-nformer", "config": {"layers": 2}}
    return Manifest(
        "nformer.pt", **{**settings, "inputs": {"embeddings.h5": "ab12"}, "schema": 1, **changes}
    )


def test_the_text_of_a_manifest_and_back(tmp_path):
    one = Manifest(
        "nformer.pt",
        "train-nformer",
        {"layers": 2},
        {"embeddings.h5": "ab12"},
        facts={"place": "Zürich"},
    )
    digest = hashlib.sha256(WRITTEN.encode() + b"\n").hexdigest()
    line = '  "config": {\n    "layers": 2\n  },\n'
    assert one.to_json() == WRITTEN.replace(line, f'{line}  "digest": "{digest}",\n')
    for text in (WRITTEN, one.to_json()):  # of earlier versions, and of this one
        (tmp_path / "nformer.pt.json").write_text(text, encoding="utf-8")
        assert Manifest.read(tmp_path / "nformer.pt.json") == one


@pytest.mark.parametrize(
    "found, phrases",
    [
        ({}, []),
        ({"facts": {"seconds": 9}, "sha256": "cd", "bytes": 7}, []),
        ({"stage": "import-nformer"}, ["it was made by import-nformer"]),
        ({"schema": 0}, ["its schema is 0, this version writes 1"]),
        ({"inputs": {"embeddings.h5": "ef34"}}, ["embeddings.h5 has changed"]),
        ({"inputs": {}}, ["embeddings.h5 is new"]),
        (
            {"inputs": {"embeddings.h5": "ab12", "backbone.pt": "1"}},
            ["backbone.pt is not given now"],
        ),
        ({"config": {"layers": 3}}, ["layers was 3, now 2"]),
        ({"config": {}}, ["layers was None, now 2"]),
        ({"config": {"layers": 2, "heads": "one"}}, ["heads was 'one', now None"]),
        (
            {"stage": "a", "schema": 9, "inputs": {"x": "1"}, "config": {"b": 1, "a": 0}},
            [
                "it was made by a",
                "its schema is 9, this version writes 1",
                "embeddings.h5 is new",
                "x is not given now",
                "a was 0, now None",
                "b was 1, now None",
                "layers was None, now 2",
            ],
        ),
    ],
)
def test_differences(found, phrases):
    assert manifest().differences(manifest(**found)) == phrases


@pytest.mark.parametrize(
    "text, reason",
    [
        ("{}", "missing 4 required positional arguments"),
        ('{"artifact": 1, "colour": 2}', "unexpected keyword argument 'colour'"),
        ("not json", "Expecting value"),
        ("[1]", "must be a mapping"),
        ("[" * 100_000, "recursion"),
        (manifest().to_json().replace("ab12", "ab13"), "it was altered"),
        (WRITTEN.replace('"bytes": 0', '"bytes": "0"'), "its bytes is '0'"),
        (WRITTEN.replace('"facts": {', '"facts": [1], "x": {'), "unexpected keyword"),
    ],
)
def test_what_is_no_manifest_is_refused(tmp_path, text, reason):
    path = tmp_path / "a.json"
    path.write_text(text)
    with pytest.raises(BadInput) as error:
        Manifest.read(path)
    said = str(error.value)
    assert said.startswith(f"{path} is not a manifest of ours (") and reason in said
    assert said.endswith("); remove it and the file beside it, then run the stage again")


def test_a_manifest_holds_what_json_holds():
    with pytest.raises(TypeError, match="not JSON serializable"):
        manifest(config={"rate": {1, 2}}).to_json()
    assert json.loads(manifest().to_json())["config"] == {"layers": 2}
