"""Every YAML snippet of docs/your_ledger.md is one that the configuration classes accept."""

import re
from pathlib import Path

import pytest
import yaml
from kedro.io import AbstractDataset

from panther_pipeline.ledger.quarantine import GateConfig
from panther_pipeline.ledger.reasons import Reason
from panther_pipeline.ledger.schema import LedgerSchema
from panther_pipeline.ledger.splits import SplitConfig
from panther_pipeline.tokenizer.config import VocabularyConfig

SCHEMA = {
    "user_id": "who",
    "event_id": None,
    "event_time": {"column": "when", "format": None, "zone": "UTC", "earliest": "2024-01-01", "latest": "2024-12-31"},
    "tie_break": [],
    "amount": "amount",
    "amount_range": [0, 1],
    "counterparty": None,
    "attributes": [],
    "label": None,
    "forbidden": {},
    "profiles": None,
    "user_labels": None,
}


GUIDE = (Path(__file__).parents[1] / "docs" / "your_ledger.md").read_text(encoding="utf-8")
SNIPPETS = re.findall(r"^### (.+?)$|^```yaml\n(.*?)^```", GUIDE, flags=re.MULTILINE | re.DOTALL)


def snippets() -> list:
    found, heading = [], ""
    for title, code in SNIPPETS:
        heading = title or heading
        if code:
            found.append(pytest.param(code, id=heading))
    return found


@pytest.fixture(scope="module")
def base(load_config):
    return load_config("base")["parameters"]


@pytest.mark.parametrize("code", snippets())
def test_snippet_is_accepted_by_its_config_class(code, base):
    values = yaml.safe_load(code)
    schema = {**SCHEMA, **{key: value for key, value in values.items() if key in LedgerSchema.model_fields}}
    LedgerSchema(**schema)
    for key in values.keys() - LedgerSchema.model_fields.keys():
        if key.startswith("raw_"):
            AbstractDataset.from_config(key, values[key])
        elif key == "splits":
            SplitConfig(**values[key])
        elif key == "tokenizer":
            VocabularyConfig(**{**base["tokenizer"]["vocabulary"], **values[key]["vocabulary"]})
        elif key == "validation":
            GateConfig(**{**base["validation"]["gate"], **values[key]["gate"]})
        else:
            pytest.fail(f"{key} is no key of any block")


def test_every_recipe_of_the_table_exists():
    titles = re.findall(r"^#+ (.+)$", GUIDE, re.MULTILINE)
    anchors = {re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-") for title in titles}
    links = set(re.findall(r"\]\(#([^)]+)\)", GUIDE))
    assert links - anchors == set()


def test_reasons_of_the_guide_exist():
    named = set(re.findall(r"`((?:time|amount|label|currency)_[a-z_]+)`", GUIDE)) - {"amount_range"}
    assert named <= {reason.value for reason in Reason}
