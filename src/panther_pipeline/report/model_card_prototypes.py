"""The card's section on prototypes: motifs, tokens, and a line about each prototype; every text is escaped."""

from html import escape
from typing import Any

from panther_pipeline.report.model_card_tables import table

_OPEN_ROWS = 12  # the others unfold


def prototype_section(summary: list[dict[str, Any]], token_plot: str, motif_plot: str) -> str:
    """Heat maps and table, as HTML.

    Args:
        summary: from `summarise_prototypes`; empty for a backbone without prototypes.
        token_plot: HTML of the place for the heat map of tokens.
        motif_plot: the same for motifs.
    """
    if not summary:
        return token_plot + motif_plot  # they say that there are none
    return (
        "<p>Every event attends to all prototypes of the last block; the weights sum to 1. Red is more attention than "
        "the comparison named on the button, grey is less.</p>"
        f"<p>{_count_dead(summary)}</p>"
        "<h3>Motifs</h3><p>Transactions that follow each other more often than in shuffled histories of the same "
        "users, and the attention of the last of them. Compared with all events of its last token, a motif shows what "
        f"the model reads from the order.</p>{motif_plot}"
        "<h3>Frequent transactions</h3><p>The mean attention of all events of a token, the most frequent token first."
        f"</p>{token_plot}"
        "<h3>What attends most to each prototype</h3>"
        "<p>× is the mean attention of these events, divided by that of all events. The prototypes with the strongest "
        f"preference come first.</p>{_rows(summary[:_OPEN_ROWS])}{_folded(summary[_OPEN_ROWS:])}"
    )


def _count_dead(summary: list[dict[str, Any]]) -> str:
    num = {
        state: sum(record["state"] == state for record in summary) for state in ("hardly used", "same for all events")
    }
    if not any(num.values()):
        return (
            f"None of the {len(summary)} prototypes is dead: each gets at least a tenth of even attention and varies."
        )
    return (
        f"{sum(num.values())} of {len(summary)} prototypes are dead: {num['hardly used']} get less than a tenth of "
        f"even attention, {num['same for all events']} get the same from whatever happens (standard deviation below a "
        "tenth of the mean)."
    )


def _rows(records: list[dict[str, Any]]) -> str:
    rows = [
        [
            f"p{record['prototype']}"
            + ("" if record["state"] == "used" else f"<small>{escape(record['state'])}</small>"),
            _names(record["tokens"]),
            _names(record["motifs"]),
            f"{record['share']:.1%}",
        ]
        for record in records
    ]
    return table(["prototype", "nearest transactions", "nearest motifs", "of all attention"], rows, num_text=3)


def _folded(records: list[dict[str, Any]]) -> str:
    if not records:
        return ""
    return f"<details><summary>The other {len(records)}</summary>{_rows(records)}</details>"


def _names(nearest: list[dict[str, Any]]) -> str:
    lines = [
        f'<div title="{record["num_events"]:,} events">{record["lift"]:.1f} × {escape(record["name"])}</div>'
        for record in nearest
    ]
    return f'<td class="names">{"".join(lines) or "–"}</td>'
