"""A backbone begins again on another ledger with what the two have in common."""

from dataclasses import replace
from datetime import UTC, datetime

import numpy as np
import polars as pl
import pytest
import torch
from pydantic import ValidationError

from panther_pipeline.errors import ConfigurationError
from panther_pipeline.ledger.splits import TEST, VALID, SplitConfig, parse_instant
from panther_pipeline.tokenizer.build import build_sequences
from panther_pipeline.tokenizer.config import FieldConfig, VocabularyConfig
from panther_pipeline.tokenizer.tokenizer import Tokenizer
from panther_pipeline.training.config import TransferConfig
from panther_pipeline.training.identity import run_identity
from panther_pipeline.training.learnt import learnt_until
from panther_pipeline.training.objective import Objective
from panther_pipeline.training.pretraining import pretrain, untrained_backbone
from panther_pipeline.training.transfer import initial_backbone, transferred_backbone
from panther_pipeline.units import to_us

KINDS, CHANNELS = ["rent", "food", "fuel", "gold"], ["card", "cash"]
TRANSFER = TransferConfig(ledger="target", source="source", allow_later_source=False)


def make_ledger(year: int, kinds: list[str], fields: list[str], tokens: str = "structured", num: int = 400):
    """Tokenizer and sequences of a year's random events of twelve users, trained on until October."""
    rng = np.random.default_rng(year)
    days = pl.Series(np.sort(rng.integers(0, 360, num)))
    events = (
        pl.DataFrame({"user_id": [f"u{i:02d}" for i in rng.integers(0, 12, num)]})
        .with_columns(
            event_time=pl.lit(datetime(year, 1, 1, tzinfo=UTC)).cast(pl.Datetime("us", "UTC")) + pl.duration(days=days),
            kind=pl.Series(rng.choice(kinds, num)),
            channel=pl.Series(rng.choice(CHANNELS, num)),
        )
        .sort("user_id", "event_time")
        .with_columns(event_seq=pl.int_range(pl.len()).over("user_id"))
    )
    profiles = pl.DataFrame({"user_id": [f"u{i:02d}" for i in range(12)], "region": ["north", "south", "east"] * 4})
    config = VocabularyConfig(
        kind=tokens, zone="UTC", max_tokens=None, coverage_target=None, min_count=1, max_dropped=0,
        profile_max_categories=9, profile_num_bins=2,
        fields=[FieldConfig(name=name, source="category", kind="categorical", max_categories=9) for name in fields],
    )  # fmt: skip
    splits = SplitConfig(
        protocol="time", train_end=f"{year}-10-01", valid_end=f"{year}-11-01", test_end=None, embargo_days=0.0,
        test_share=None, valid_share=None, held_out_user_share=0.0,
    )  # fmt: skip
    tokenizer = Tokenizer.fit(events, profiles, config, splits)
    return tokenizer, build_sequences(events, profiles, tokenizer, splits)


def make_source(sequences, model_config, tokenizer, seed=7):
    """A backbone all of whose weights differ from fresh ones."""
    backbone = untrained_backbone(sequences, model_config, seed, tokenizer.kind)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for weight in backbone.parameters():
            weight.copy_(torch.randn(weight.shape, generator=generator))
    backbone.learnt_until = learnt_until(sequences, tokenizer, "")
    return backbone


def transfer_to(target, source, model_config, transfer=TRANSFER):
    (tokenizer, sequences), (source_tokenizer, source_sequences) = target, source
    backbone = make_source(source_sequences, model_config, source_tokenizer)
    moved, report = transferred_backbone(
        backbone, source_tokenizer, sequences, tokenizer, model_config, seed=0, transfer=transfer
    )
    return backbone, moved, report


@pytest.mark.parametrize("kind", ["structured", "factored"])
@pytest.mark.parametrize("changes", [{}, {"score": "dot", "position": "learned"}, {"mixer": "hstu"}])
def test_same_tokenizer_takes_over_every_bit(model_config, kind, changes):
    ledger = make_ledger(2023, KINDS, ["kind", "channel"], kind)
    later = replace(ledger[1], time_us_N=ledger[1].time_us_N + 366 * 86_400_000_000)
    config = model_config.model_copy(update=changes)
    source, moved, report = transfer_to((ledger[0], later), ledger, config)
    assert moved.digest == source.digest
    assert set(report["tokens"]) == {"exact"}


def rows(backbone, tokenizer) -> dict[str, torch.Tensor]:
    """The vector of each token, by name."""
    return dict(zip(tokenizer.names, backbone.embedding.token.weight.detach(), strict=True))


def test_each_part_finds_its_counterpart_by_name(model_config):
    """Other order of fields, other categories, other frequencies; `gold` is new."""
    source_ledger = make_ledger(2022, KINDS[:3], ["kind", "channel"])
    target_ledger = make_ledger(2023, KINDS, ["channel", "kind"])
    source, moved, report = transfer_to(target_ledger, source_ledger, model_config)
    fresh = untrained_backbone(target_ledger[1], model_config, 0)
    ours, theirs = rows(moved, target_ledger[0]), rows(source, source_ledger[0])
    for kind in KINDS[:3]:
        for channel in CHANNELS:
            assert torch.equal(ours[f"{channel}|{kind}"], theirs[f"{kind}|{channel}"])
    width = model_config.attribute_dim
    before, after = model_config.dim, model_config.dim + width
    own, donor = moved.embedding.project.weight, source.embedding.project.weight
    assert torch.equal(own[:, before:after], donor[:, after:])
    assert torch.equal(own[:, after:], donor[:, before:after])
    gold = target_ledger[0].fields[1].encode_one("gold")
    table, first = moved.embedding.attributes[1].weight, fresh.embedding.attributes[1].weight
    assert torch.equal(table[gold], first[gold])
    assert all(not torch.equal(table[i], first[i]) for i in range(len(table)) if i != gold)
    assert report["fields"]["kind"] == {"exact": 3, "nearest": 0, "fresh": 1}
    # Gold is left when the channel, which says less, is left out: nothing agrees with that.
    assert target_ledger[0].content.drop_order == ["channel", "kind"]
    assert report["tokens"] == {"exact": 6, "fresh": 2}


def test_field_without_counterpart_keeps_its_first_weights(model_config):
    source_ledger = make_ledger(2022, KINDS, ["kind"])
    target_ledger = make_ledger(2023, KINDS, ["kind", "channel"])
    source, moved, report = transfer_to(target_ledger, source_ledger, model_config)
    fresh = untrained_backbone(target_ledger[1], model_config, 0)
    assert torch.equal(moved.embedding.attributes[1].weight, fresh.embedding.attributes[1].weight)
    last = -model_config.attribute_dim
    assert torch.equal(moved.embedding.project.weight[:, last:], fresh.embedding.project.weight[:, last:])
    assert torch.equal(moved.embedding.project.weight[:, :last], source.embedding.project.weight)
    assert torch.equal(rows(moved, target_ledger[0])["rent|card"], rows(source, source_ledger[0])["rent"])
    assert report["fields"]["channel"] == {"exact": 0, "nearest": 0, "fresh": 2}
    assert sum(report["training_event_share"].values()) == pytest.approx(1)


def test_shapes_that_differ_are_refused_with_both(model_config):
    ledger, earlier = make_ledger(2023, KINDS, ["kind"]), make_ledger(2022, KINDS, ["kind"])
    source = make_source(earlier[1], model_config, earlier[0])
    other = model_config.model_copy(update={"dim": 32, "num_layers": 2})
    with pytest.raises(ConfigurationError, match=r"dim is 16 there and 32 here; num_layers is 1 there and 2 here"):
        transferred_backbone(source, earlier[0], ledger[1], ledger[0], other, 0, TRANSFER)
    longer = model_config.model_copy(update={"max_events": 32, "dropout": 0.5})
    moved, _ = transferred_backbone(source, earlier[0], ledger[1], ledger[0], longer, 0, TRANSFER)
    assert moved.max_events == 32


def test_kinds_that_differ_are_refused(model_config):
    with pytest.raises(ConfigurationError, match=r"kind is factored there and structured here"):
        transfer_to(make_ledger(2023, KINDS, ["kind"]), make_ledger(2022, KINDS, ["kind"], "factored"), model_config)


def test_backbone_and_tokenizer_of_different_runs_are_refused(model_config):
    ledger, earlier = make_ledger(2023, KINDS, ["kind"]), make_ledger(2022, KINDS, ["kind"])
    source = make_source(earlier[1], model_config, earlier[0])
    with pytest.raises(ConfigurationError, match="was not trained with source_tokenizer"):
        transferred_backbone(source, ledger[0], ledger[1], ledger[0], model_config, 0, TRANSFER)


def test_source_that_knows_the_test_is_refused(model_config):
    ledger, later = make_ledger(2022, KINDS, ["kind"]), make_ledger(2023, KINDS, ["kind"])
    with pytest.raises(ConfigurationError, match=r"learnt from events up to 2023-10-.*from 2022-10-0.*allow_later"):
        transfer_to(ledger, later, model_config)
    allowed = TransferConfig(ledger="target", source="later", allow_later_source=True)
    assert transfer_to(ledger, later, model_config, allowed)[2]["source"] == "later"


def judged_from(sequences) -> int:
    return int(sequences.time_us_N[np.isin(sequences.split_N, (VALID, TEST))].min())


def instant(time_us: int) -> str:
    return str(np.datetime64(time_us, "us"))


@pytest.mark.parametrize(
    ("train_end_later_us", "known_later_us", "is_refused"), [(0, -1, False), (1, -1, True), (0, 0, True)]
)
def test_source_may_end_where_this_ledger_is_first_judged(model_config, train_end_later_us, known_later_us, is_refused):
    """Training ends before `train_end`; the newest event that was learnt from or chosen on is itself known."""
    tokenizer, sequences = make_ledger(2022, KINDS, ["kind"])
    first_us = judged_from(sequences)
    train_end = instant(first_us + train_end_later_us)
    source_tokenizer = Tokenizer(tokenizer.content.model_copy(update={"train_end": train_end}))
    source = make_source(replace(sequences, tokenizer_digest=source_tokenizer.digest), model_config, tokenizer)
    source.learnt_until = instant(first_us + known_later_us)
    arguments = source, source_tokenizer, sequences, tokenizer, model_config, 0, TRANSFER
    if is_refused:
        with pytest.raises(ConfigurationError, match="learnt from events up to"):
            transferred_backbone(*arguments)
    else:
        report = transferred_backbone(*arguments)[1]
        assert (report["train_end"], report["learnt_until"]) == (train_end, source.learnt_until)


def test_source_chosen_on_events_that_are_judged_is_refused(model_config):
    """It trained until October 2022, and its validation month is the one in which this ledger is first judged."""
    target = make_ledger(2022, KINDS, ["kind"])
    source = make_ledger(2022, KINDS, ["kind", "channel"])
    assert source[0].content.train_end == "2022-10-01"
    assert judged_from(target[1]) >= to_us(parse_instant("2022-10-01"))
    with pytest.raises(ConfigurationError, match=r"up to 2022-10-\d\d.*chosen by looking.*ledger\.splits\.valid_end"):
        transfer_to(target, source, model_config)


def test_source_that_began_with_a_later_one_is_refused(model_config):
    """Its own ledger ends a year before, but its first weights come from one that ends a year after."""
    (tokenizer, sequences), (earlier_tokenizer, earlier) = (make_ledger(year, KINDS, ["kind"]) for year in (2023, 2022))
    later_tokenizer, later = make_ledger(2024, KINDS, ["kind"])
    source = make_source(earlier, model_config, earlier_tokenizer)
    arguments = source, earlier_tokenizer, sequences, tokenizer, model_config, 0
    assert transferred_backbone(*arguments, TRANSFER)[1]["source"] == "source"
    source.learnt_until = learnt_until(earlier, earlier_tokenizer, learnt_until(later, later_tokenizer, ""))
    with pytest.raises(ConfigurationError, match=r"one that it began with, learnt from events up to 2024-10"):
        transferred_backbone(*arguments, TRANSFER)
    allowed = TransferConfig(ledger="target", source="source", allow_later_source=True)
    assert transferred_backbone(*arguments, allowed)[1]["learnt_until"].startswith("2024-10")


def test_source_that_does_not_say_until_when_it_learnt_is_refused(model_config):
    (tokenizer, sequences), (earlier_tokenizer, earlier) = (make_ledger(year, KINDS, ["kind"]) for year in (2023, 2022))
    source = make_source(earlier, model_config, earlier_tokenizer)
    source.learnt_until = None
    arguments = source, earlier_tokenizer, sequences, tokenizer, model_config, 0
    with pytest.raises(ConfigurationError, match=r"does not say until when.*pretrain pipeline.*allow_later_source"):
        transferred_backbone(*arguments, TRANSFER)
    allowed = TransferConfig(ledger="target", source="source", allow_later_source=True)
    assert transferred_backbone(*arguments, allowed)[1]["learnt_until"] is None


def test_own_ledger_is_refused_as_source():
    with pytest.raises(ValidationError, match=r"source_ledger is bank, the ledger that is trained itself"):
        TransferConfig(ledger="bank", source="bank", allow_later_source=True)


def test_source_split_by_order_is_refused(model_config):
    tokenizer, sequences = make_ledger(2022, KINDS, ["kind"])
    by_order = Tokenizer(tokenizer.content.model_copy(update={"train_end": "leave_last_out"}))
    source = make_source(replace(sequences, tokenizer_digest=by_order.digest), model_config, by_order)
    with pytest.raises(ConfigurationError, match="up to leave_last_out"):
        transferred_backbone(source, by_order, sequences, tokenizer, model_config, 0, TRANSFER)


def test_no_source_is_no_initial_backbone(model_config):
    tokenizer, sequences = make_ledger(2022, KINDS, ["kind"])
    none = TransferConfig(ledger="target", source=None, allow_later_source=False)
    arguments = sequences, tokenizer, model_config, 0
    assert initial_backbone(None, None, *arguments, none) == (None, {"source": None})
    with pytest.raises(ConfigurationError, match="--params=source_ledger=NAME"):
        initial_backbone(None, None, *arguments, TRANSFER)


def test_training_begins_with_the_given_weights_and_leaves_them(model_config, loss_config, make_config):
    ledger, earlier = make_ledger(2023, KINDS, ["kind"]), make_ledger(2022, KINDS, ["kind"])
    _, initial, _ = transfer_to(ledger, earlier, model_config)
    before, config = initial.digest, make_config(max_steps=3, warmup_steps=1)
    moved, fresh, again = (
        pretrain(ledger[1], model_config, loss_config, config, initial=first)[0].digest
        for first in (initial, None, untrained_backbone(ledger[1], model_config, config.seed))
    )
    assert initial.digest == before
    assert moved != fresh
    assert again == fresh


def test_run_from_another_source_is_another_run(model_config, loss_config, make_config):
    ledger, earlier = make_ledger(2023, KINDS, ["kind"]), make_ledger(2022, KINDS, ["kind"])
    source = make_source(earlier[1], model_config, earlier[0])
    others = [source, make_source(earlier[1], model_config, earlier[0], seed=8)]
    firsts = [untrained_backbone(ledger[1], model_config, 0)]
    firsts += [
        transferred_backbone(other, earlier[0], ledger[1], ledger[0], model_config, 0, TRANSFER)[0] for other in others
    ]
    identities = {
        run_identity(Objective(first, loss_config, ledger[1]), ledger[1], make_config(), torch.device("cpu"), 1).whole
        for first in firsts
    }
    assert len(identities) == 3
