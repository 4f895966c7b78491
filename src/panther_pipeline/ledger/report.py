"""The validation page: one HTML file that opens without a network."""

from html import escape
from typing import Any

from panther_pipeline.ledger.reasons import EXPLANATIONS, Reason

_BAR_WIDTH = 240  # pixels of the longest bar
_STYLE = """
body{font:15px/1.5 system-ui,sans-serif;max-width:70rem;margin:2rem auto;padding:0 1rem;color:#1c2330}
table{border-collapse:collapse;width:100%;margin:.5rem 0 2rem}
th,td{text-align:left;padding:.35rem .6rem;border-bottom:1px solid #dfe3ea;vertical-align:top}
td.n,th.n{text-align:right;font-variant-numeric:tabular-nums}
code{background:#f2f4f8;padding:.1rem .3rem;border-radius:3px}
.ok{color:#116329}.bad{color:#b42318;font-weight:600}.note{color:#5b6575}
"""


def render_validation_page(report: dict[str, Any]) -> str:
    """The report of `expectations.check_expectations` as a self-contained page; every value is escaped."""
    counts, checks = report["counts"], report["expectations"]
    failed = sum(not check["success"] for check in checks)
    verdict = (
        f'<p class="bad">{failed} of {len(checks)} expectations failed.</p>'
        if failed
        else f'<p class="ok">All {len(checks)} expectations hold.</p>'
    )
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8"><title>Validation of the ledger</title>'
        f"<style>{_STYLE}</style></head><body><h1>Validation of the ledger</h1>{verdict}"
        f"{_counts_table(counts)}<h2>Quarantined rows by reason</h2>{_reasons_table(report['reasons'])}"
        f"<h2>Examples</h2>{_examples_table(report['examples'])}"
        f"<h2>Expectations of the accepted events</h2>{_expectations_table(checks)}</body></html>\n"
    )


def _counts_table(counts: dict[str, Any]) -> str:
    cells = [
        ["rows in", f"{counts['rows_in']:,}", ""],
        ["accepted", f"{counts['accepted']:,}", f"{1 - counts['quarantine_share']:.3%}"],
        ["quarantined", f"{counts['quarantined']:,}", f"{counts['quarantine_share']:.3%}"],
    ]
    return _table(["", "rows", "share"], cells, numeric={1, 2})


def _reasons_table(reasons: dict[str, int]) -> str:
    if not reasons:
        return '<p class="note">No row was quarantined.</p>'
    largest = max(reasons.values())
    rows = [
        [
            f"<code>{escape(reason)}</code>",
            escape(EXPLANATIONS[Reason(reason)]),
            f"{number:,}",
            _bar(number / largest),
        ]
        for reason, number in reasons.items()
    ]
    return _table(["reason", "meaning", "rows", ""], rows, numeric={2}, escaped=True)


def _examples_table(examples: dict[str, list[dict[str, Any]]]) -> str:
    rows = [
        [reason, str(example["source_row"]), _shown(example["column"]), _shown(example["value"])]
        for reason, samples in examples.items()
        for example in samples
    ]
    if not rows:
        return '<p class="note">None.</p>'
    note = '<p class="note">Rows are counted from 0 in the source table; long numbers are masked.</p>'
    return note + _table(["reason", "source row", "column", "value"], rows, numeric={1})


def _expectations_table(checks: list[dict[str, Any]]) -> str:
    rows = [
        [
            '<span class="ok">holds</span>' if check["success"] else '<span class="bad">fails</span>',
            escape(check["statement"]),
            _shown(check["unexpected_count"]),
            escape(check["error"] or ""),
        ]
        for check in checks
    ]
    return _table(["", "expectation", "unexpected", "could not be computed"], rows, numeric={2}, escaped=True)


def _shown(value: Any) -> str:
    return "–" if value is None else str(value)


def _bar(share: float) -> str:
    width = max(round(share * _BAR_WIDTH), 1)
    return f'<svg width="{_BAR_WIDTH}" height="12"><rect width="{width}" height="12" fill="#5b7fd1"/></svg>'


def _table(head: list[str], rows: list[list[str]], *, numeric: set[int], escaped: bool = False) -> str:
    def line(cells: list[str], tag: str) -> str:
        shown = cells if escaped or tag == "th" else [escape(cell) for cell in cells]
        return "".join(
            f'<{tag} class="n">{cell}</{tag}>' if i in numeric else f"<{tag}>{cell}</{tag}>"
            for i, cell in enumerate(shown)
        )

    body = "".join(f"<tr>{line(row, 'td')}</tr>" for row in rows)
    return f"<table><thead><tr>{line(head, 'th')}</tr></thead><tbody>{body}</tbody></table>"
