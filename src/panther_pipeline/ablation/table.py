"""The results as Markdown: what was run, what it gave, how sure the differences are."""

from typing import Any

from panther_pipeline.ablation.statistics import is_better
from panther_pipeline.metrics.config import NEW_TOKENS
from panther_pipeline.metrics.records import find_value

Results = dict[str, Any]  # of `collect_results`
Record = dict[str, Any]
_METRICS = ("hr@1", "hr@5", "hr@10", "ndcg@10", "mrr", "nll")
_COMPARED = ("hr@1", "hr@10", "ndcg@10", "nll")
_UNFINISHED = "\\*"
_UNEQUAL = "†"
_MARKS = "**Bold**: the interval excludes 0. ↑ and ↓ say whether the row's model is better or worse."
_ONE_SEED = "With one seed no difference is marked: another seed might turn it round, whatever the interval over users."


def render_table(results: Results) -> str:
    """A page that can be committed as it is: facts, values, differences, runs."""
    parts = [_facts(results["facts"]), _values(results), _differences(results), _runs(results)]
    return "\n\n".join(parts) + "\n"


def _facts(facts: Record) -> str:
    changed = " with local changes" if facts["changed"] == "true" else ""
    commit = (facts["commit"] or "not in a git checkout") + changed
    lines = [
        f"`{facts['command']}`",
        f"commit {commit}; torch {facts['version.torch']}, python {facts['version.python']}",
        *_older(facts),
        f"data {facts['data_fingerprint'][:16]}, tokenizer {facts['tokenizer'][:16]}",
        f"split {facts['split']} ({facts['protocol']}): {facts['num_targets']:,} targets, {facts['num_users']:,} users",
        _candidates(facts),
        f"seeds {', '.join(map(str, facts['seeds']))}; {'; '.join(facts['machines'])}",
    ]
    return "\n".join([f"# Ablation: {facts['ledger']}, {facts['split']}", "", *(f"- {line}" for line in lines)])


def _older(facts: Record) -> list[str]:
    """The commits that runs were trained at, where the page was not made at the one commit of them all."""
    trained = facts["trained_at"]
    if trained == [[facts["commit"], facts["version.torch"]]]:
        return []
    return ["trained at " + "; ".join(f"commit {commit or 'unknown'}, torch {torch}" for commit, torch in trained)]


def _candidates(facts: Record) -> str:
    if facts["candidates"] == NEW_TOKENS:
        return (
            f"each target is ranked among the {NEW_TOKENS}, of {facts['num_tokens']:,}; ties go by popularity, [UNK] "
            "and a token the user had before are misses; nll is over all tokens"
        )
    return f"each target is ranked among all {facts['num_tokens']:,} tokens; ties go by popularity, [UNK] is a miss"


def _values(results: Results) -> str:
    header = ["model", "differs in", "weights", *(_title(metric) for metric in _METRICS)]
    planned = {variant["variant"]: variant for variant in results["variants"]}
    rows = [_value_row(model, planned.get(model), results) for model in _models(results)]
    twins = [f"`{v['variant']}` is the same model as `{v['same_as']}` here." for v in planned.values() if v["same_as"]]
    notes = [
        "Means over seeds. In brackets the 95 % interval (bootstrap over users and seeds: other customers, trained "
        "another time), below it the smallest and the largest seed. Weights: without the tables of tokens, attributes "
        "and profiles; in brackets what was chosen to make them equal.",
        f"{_UNFINISHED} a seed's validation loss was still falling when its training ended: more steps would help.",
        f"{_UNEQUAL} the number of weights differs from the reference's by more than 2 %.",
        *twins,
    ]
    return "\n\n".join(["## Values", _table(header, rows), *notes])


def _value_row(model: str, variant: Record | None, results: Results) -> list[str]:
    records = (find_value(results["metrics"], model=model, metric=metric) for metric in _METRICS)
    cells = ["" if record is None else _number(record) for record in records]
    if variant is None:
        return [model, "no learned weights", "", *cells]
    unfinished = any(run["still_improving"] for run in results["runs"] if run["variant"] == model)
    overrides = ", ".join(f"{key.partition('.')[2]} {value}" for key, value in variant["overrides"].items())
    matched = "".join(f" ({key} {value})" for key, value in variant["matched"].items())
    weights = f"{variant['num_parameters']:,}" + ("" if variant["equal_in_size"] else f" {_UNEQUAL}") + matched
    return [model + (f" {_UNFINISHED}" if unfinished else ""), overrides or "(reference)", weights, *cells]


def _differences(results: Results) -> str:
    reference = results["facts"]["reference"]
    blocks = ["## Differences"]
    against_reference = _difference_table(results, lambda suffix: suffix == reference)
    if against_reference:
        blocks += [f"To `{reference}`, on the same targets and seeds.", against_reference]
    against_simple = _difference_table(results, lambda suffix: suffix != reference)
    if against_simple:
        blocks += ["To the best model without learned weights, which is chosen per metric.", against_simple]
    has_seeds = len(results["facts"]["seeds"]) > 1
    blocks.append(_MARKS if has_seeds else _ONE_SEED)
    return "\n\n".join(blocks)


def _difference_table(results: Results, chosen) -> str:
    """One row per variant and one column per metric and opponent; "" without any."""
    found: dict[str, dict[str, Record]] = {}
    for record in results["metrics"]:
        metric, is_difference, opponent = record["metric"].partition("_difference_vs_")
        if is_difference and metric in _COMPARED and chosen(opponent):
            found.setdefault(metric, {})[record["model"]] = record
    if not found:
        return ""
    opponents = {m: next(iter(rows.values()))["metric"].partition("_difference_vs_")[2] for m, rows in found.items()}
    header = ["model", *(f"{_title(metric)} − {opponents[metric]}" for metric in found)]
    models = [model for model in _models(results) if any(model in rows for rows in found.values())]
    rows = [[model, *(_difference(found[metric].get(model)) for metric in found)] for model in models]
    return _table(header, rows)


def _difference(record: Record | None) -> str:
    if record is None:
        return ""
    text = f"{record['value']:+.4f}{_interval(record, '+.4f')}{_spread(record, '+.4f')}"
    if not is_clear(record):
        return text
    return f"**{text}** {'↑' if is_better(record['metric'], record['value']) else '↓'}"


def is_clear(difference: Record) -> bool:
    """Whether the interval over users and seeds excludes 0; of one seed there is none over seeds."""
    low, high = difference["low"], difference["high"]
    return low is not None and high is not None and len(difference["seed_values"]) > 1 and (low > 0 or high < 0)


def _runs(results: Results) -> str:
    header = ["model", "seed", "steps", "kept step", "valid nll", "last gain", "tokens/s"]
    rows = []
    for run in results["runs"]:
        loss, gain, speed = run["valid_nll"], run["last_gain"], run["tokens_per_s"]
        rows.append([
            run["variant"], str(run["seed"]), f"{run['steps']:,} of {run['max_steps']:,}",
            "" if loss is None else f"{run['kept_step']:,}", "" if loss is None else f"{loss:.4f}",
            "" if gain is None else f"{gain:+.4f}" + (f" {_UNFINISHED}" if run["still_improving"] else ""),
            "" if speed is None else f"{speed:,.0f}",
        ])  # fmt: skip
    note = (
        "Kept step: whose weights are ranked, chosen on a sample of validation windows. Last gain: nats per event that "
        "the last look gained over the best one before it."
    )
    return "\n\n".join(["## Runs", _table(header, rows), note])


def _models(results: Results) -> list[str]:
    """Models without weights first, then the variants, as declared."""
    return list(dict.fromkeys(record["model"] for record in results["metrics"]))


def _title(metric: str) -> str:
    return {"nll": "nll (nats, less is better)"}.get(metric, metric.upper())


def _number(record: Record) -> str:
    return f"{record['value']:.4f}{_interval(record, '.4f')}{_spread(record, '.4f')}"


def _interval(record: Record, form: str) -> str:
    return "" if record["low"] is None else f"<br>[{record['low']:{form}}, {record['high']:{form}}]"


def _spread(record: Record, form: str) -> str:
    by_seed = record["seed_values"]
    return f"<br>{min(by_seed):{form}}…{max(by_seed):{form}}" if len(by_seed) > 1 else ""


def _table(header: list[str], rows: list[list[str]]) -> str:
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(cells) + " |" for cells in lines)
