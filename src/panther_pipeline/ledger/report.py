"""The validation page: one HTML file that opens without a network."""

from html import escape
from typing import Any

from panther_pipeline.ledger.reasons import EXPLANATIONS, Reason

_BAR_WIDTH = 200  # pixels of the longest bar
_SHOWN_PLACES = 3  # of the rows that an expectation or a finding names
_STYLE = """
:root{--ink:#1c2330;--soft:#5b6575;--line:#e3e7ee;--card:#fff;--back:#f5f7fa;--ok:#116329;--bad:#b42318;--warn:#8a5a00;
--bar:#5b7fd1}
*{box-sizing:border-box}
body{font:15px/1.5 system-ui,-apple-system,"Segoe UI",sans-serif;margin:0;background:var(--back);color:var(--ink)}
main{max-width:72rem;margin:0 auto;padding:2rem 1.25rem 4rem}
h1{font-size:1.6rem;margin:0 0 1rem}h2{font-size:1.1rem;margin:2.2rem 0 .6rem}
section,.verdict{background:var(--card);border:1px solid var(--line);border-radius:10px;padding:1rem 1.25rem;
overflow-x:auto}
.verdict{border-left:6px solid var(--ok);font-size:1.05rem}.verdict.fails{border-left-color:var(--bad)}
.tiles{display:grid;grid-template-columns:repeat(auto-fit,minmax(9rem,1fr));gap:.8rem;margin:1rem 0}
.tile{background:var(--card);border:1px solid var(--line);border-radius:10px;padding:.7rem 1rem}
.tile b{display:block;font-size:1.35rem;font-variant-numeric:tabular-nums}.tile span{color:var(--soft)}
table{border-collapse:collapse;width:100%}
th{color:var(--soft);font-weight:600;font-size:.85rem}
th,td{text-align:left;padding:.4rem .7rem .4rem 0;border-bottom:1px solid var(--line);vertical-align:top}
tr:last-child td{border-bottom:0}
td.n,th.n{text-align:right;font-variant-numeric:tabular-nums;white-space:nowrap}
code{background:#eef1f6;padding:.1rem .35rem;border-radius:4px;overflow-wrap:anywhere}
code.name{overflow-wrap:normal;white-space:nowrap}
ul{margin:.5rem 0 0}.note{margin:.6rem 0 0}
.ok{color:var(--ok)}.bad{color:var(--bad);font-weight:600}.note{color:var(--soft)}
.tag{display:inline-block;border-radius:999px;padding:0 .6rem;font-size:.85rem;background:#e9eef8;color:#2f4a86}
.tag.warning{background:#fdf0d5;color:var(--warn)}
"""


def render_validation_page(report: dict[str, Any]) -> str:
    """The report of `expectations.check_expectations` as a self-contained page; every value is escaped."""
    checks, findings = report["expectations"], report["findings"]
    parts = [
        ("What became of every line", _account_table(report["account"])),
        ("Quarantined rows by reason", _reasons_table(report["reasons"])),
        ("Examples", _examples_table(report["examples"])),
        ("To look at", _findings_table(findings)),
        ("Expectations of the accepted events", _expectations_table(checks)),
    ]
    body = "".join(f"<h2>{title}</h2><section>{content}</section>" for title, content in parts)
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width,initial-scale=1"><title>Validation of the ledger</title>'
        f"<style>{_STYLE}</style></head><body><main><h1>Validation of the ledger</h1>{_verdict(checks, findings)}"
        f"{_tiles(report['counts'])}{body}</main></body></html>\n"
    )


def _verdict(checks: list[dict[str, Any]], findings: list[dict[str, Any]]) -> str:
    failed = [check for check in checks if not check["success"]]
    warnings = sum(finding["severity"] == "warning" for finding in findings)
    looked = f" {warnings} warning{'' if warnings == 1 else 's'} to look at." if warnings else ""
    if not failed:
        return f'<div class="verdict"><span class="ok">All {len(checks)} expectations hold.</span>{looked}</div>'
    named = "".join(f"<li>{escape(check['statement'])}</li>" for check in failed)
    told = f'<span class="bad">{len(failed)} of {len(checks)} expectations failed.</span>'
    return f'<div class="verdict fails">{told}{looked}<ul>{named}</ul></div>'


def _tiles(counts: dict[str, Any]) -> str:
    shown = [
        ("rows in", f"{counts['rows_in']:,}"),
        ("accepted", f"{counts['accepted']:,}"),
        ("quarantined", f"{counts['quarantined']:,}"),
        ("share quarantined", f"{counts['quarantine_share']:.3%}"),
    ]
    return (
        '<div class="tiles">'
        + "".join(f'<div class="tile"><b>{n}</b><span>{t}</span></div>' for t, n in shown)
        + "</div>"
    )


def _account_table(account: dict[str, Any]) -> str:
    keys = ("lines", "header", "blank", "continuation", "accepted", "quarantined")
    rows = [[f"<code>{escape(file['file'])}</code>", *(f"{file[key]:,}" for key in keys)] for file in account["files"]]
    if len(rows) > 1:
        rows.append(["<b>all files</b>", *(f"<b>{account[key]:,}</b>" for key in keys)])
    table = _table(["file", *keys], rows, numeric=set(range(1, len(keys) + 1)))
    return table + '<p class="note">lines = header + blank + continuation + accepted + quarantined</p>'


def _reasons_table(reasons: dict[str, int]) -> str:
    if not reasons:
        return '<p class="note">No row was quarantined.</p>'
    largest = max(reasons.values())
    rows = [
        [f'<code class="name">{escape(reason)}</code>', escape(_explain(reason)), f"{number:,}", _bar(number / largest)]
        for reason, number in reasons.items()
    ]
    return _table(["reason", "meaning", "rows", ""], rows, numeric={2})


def _explain(reason: str) -> str:
    return (
        EXPLANATIONS[Reason(reason)] if reason in set(Reason) else "not a reason of the list: a fault of the pipeline"
    )


def _examples_table(examples: dict[str, list[dict[str, Any]]]) -> str:
    rows = [
        [
            f'<code class="name">{escape(reason)}</code>',
            _place(example),
            escape(_shown(example["column"])),
            _value(example["value"]),
        ]
        for reason, samples in examples.items()
        for example in samples
    ]
    if not rows:
        return '<p class="note">None.</p>'
    note = '<p class="note">Lines are counted from 1, the header among them; long numbers are masked.</p>'
    return _table(["reason", "file:line", "column", "value"], rows, numeric=set()) + note


def _findings_table(findings: list[dict[str, Any]]) -> str:
    if not findings:
        return '<p class="note">Nothing.</p>'
    rows = [
        [
            f'<span class="tag {escape(finding["severity"])}">{escape(finding["severity"])}</span>',
            f'<code class="name">{escape(finding["kind"])}</code>',
            escape(finding["statement"]),
            _places(finding["rows"]),
        ]
        for finding in findings
    ]
    note = '<p class="note">None of these stops a run. To make one a rule, declare an expectation.</p>'
    return _table(["", "what", "", "for example"], rows, numeric=set()) + note


def _expectations_table(checks: list[dict[str, Any]]) -> str:
    rows = [
        [
            '<span class="ok">holds</span>' if check["success"] else '<span class="bad">fails</span>',
            escape(check["statement"]),
            _shown_number(check["unexpected_count"], check["observed_value"]),
            _shown_number(check["element_count"]),
            (escape(check["error"] or "") + " " + _places(check["rows"])).strip(),
        ]
        for check in sorted(checks, key=lambda check: check["success"])
    ]
    return _table(["", "expectation", "unexpected or observed", "of rows", "for example"], rows, numeric={2, 3})


def _shown_number(*values: Any) -> str:
    found = next((value for value in values if value is not None), None)
    return "" if found is None else f"{found:,.6g}" if isinstance(found, float) else f"{found:,}"


def _place(at: dict[str, Any]) -> str:
    return f"<code>{escape(at['file'])}:{at['line']}</code>"


def _places(rows: list[dict[str, Any]]) -> str:
    more = f" and {len(rows) - _SHOWN_PLACES} more" if len(rows) > _SHOWN_PLACES else ""
    return " ".join(map(_place, rows[:_SHOWN_PLACES])) + more


def _shown(value: str | None) -> str:
    return "" if value is None else value


def _value(value: str | None) -> str:
    return '<span class="note">empty</span>' if value is None else f"<code>{escape(value)}</code>"


def _bar(share: float) -> str:
    width = max(round(share * _BAR_WIDTH), 1)
    return f'<svg width="{_BAR_WIDTH}" height="12"><rect width="{width}" height="12" rx="3" fill="#5b7fd1"/></svg>'


def _table(head: list[str], rows: list[list[str]], *, numeric: set[int]) -> str:
    """A table of cells that are HTML already."""

    def line(cells: list[str], tag: str) -> str:
        return "".join(
            f'<{tag} class="n">{cell}</{tag}>' if i in numeric else f"<{tag}>{cell}</{tag}>"
            for i, cell in enumerate(cells)
        )

    body = "".join(f"<tr>{line(row, 'td')}</tr>" for row in rows)
    return f"<table><thead><tr>{line(head, 'th')}</tr></thead><tbody>{body}</tbody></table>"
