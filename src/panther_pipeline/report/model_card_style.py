"""Look and behaviour of the model card: plain CSS, light and dark, and the script that draws its figures."""

STYLE = """
:root{color-scheme:light dark;--ink:#1b2230;--soft:#5c6778;--line:#e1e5ec;--page:#fff;--panel:#f6f8fb;
--accent:#2f62c9;--best:#0f6b4f}
@media (prefers-color-scheme:dark){:root{--ink:#e4e8ef;--soft:#9aa5b5;--line:#2c3442;--page:#12161d;
--panel:#1a2029;--accent:#86acff;--best:#5fd0a5}}
*{box-sizing:border-box}
body{margin:0;background:var(--page);color:var(--ink);
font:15px/1.55 system-ui,-apple-system,"Segoe UI",Roboto,sans-serif}
header,main{max-width:1120px;margin:0 auto;padding:0 24px}
header{padding-top:36px}
h1{font-size:28px;line-height:1.2;margin:0 0 4px}
h2{font-size:20px;margin:48px 0 8px;padding-top:12px;border-top:1px solid var(--line)}
h3{font-size:15px;margin:24px 0 6px}
p,ul{max-width:76ch;margin:8px 0}
li{margin:3px 0}
.soft{color:var(--soft)}
nav{display:flex;flex-wrap:wrap;gap:4px 16px;margin:20px 0 0;font-size:14px}
a{color:var(--accent);text-decoration:none}
a:hover{text-decoration:underline}
dl.facts{display:grid;grid-template-columns:repeat(auto-fill,minmax(240px,1fr));gap:0 24px;margin:20px 0 0;
border-top:1px solid var(--line)}
dl.facts div{padding:8px 0;border-bottom:1px solid var(--line)}
dt{font-size:12px;color:var(--soft)}
dd{margin:0;font-variant-numeric:tabular-nums;overflow-wrap:anywhere}
.wide{overflow-x:auto}
table{border-collapse:collapse;margin:8px 0 4px;font-variant-numeric:tabular-nums}
caption{caption-side:bottom;text-align:left;color:var(--soft);font-size:13px;padding:6px 0 0}
th,td{padding:6px 14px 6px 0;border-bottom:1px solid var(--line);text-align:left;vertical-align:top}
thead th{font-weight:600;font-size:13px;color:var(--soft);white-space:nowrap}
td.n,th.n{text-align:right;padding-left:14px;white-space:nowrap}
td small{display:block;color:var(--soft);font-size:11.5px}
td.best{color:var(--best);font-weight:600}
td.best small{font-weight:400}
tr.ours td:first-child{font-weight:600}
.names div{font-size:13px;padding-left:1.6em;text-indent:-1.6em}
summary{cursor:pointer;color:var(--accent);margin:8px 0}
code{font:13px ui-monospace,SFMono-Regular,Menlo,monospace;background:var(--panel);padding:1px 5px;
border-radius:3px}
.plot{margin:10px 0;min-height:120px}
.pair{display:grid;grid-template-columns:repeat(auto-fit,minmax(440px,1fr));gap:16px}
.pair>*{min-width:0}
footer{max-width:1120px;margin:48px auto 0;padding:16px 24px 40px;color:var(--soft);font-size:13px;
border-top:1px solid var(--line)}
@media print{.plot{break-inside:avoid}nav{display:none}}
"""

# Figures follow the page's colours, also when the reader switches between light and dark.
SCRIPT = """
const figures = JSON.parse(document.getElementById("figures").textContent);
const css = name => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
const dark = matchMedia("(prefers-color-scheme: dark)");
function draw() {
  for (const [id, figure] of Object.entries(figures)) {
    const layout = structuredClone(figure.layout);
    Object.assign(layout, {paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)", autosize: true});
    layout.height = layout.height || 420;
    layout.modebar = {bgcolor: "rgba(0,0,0,0)", color: css("--line"), activecolor: css("--soft")};
    const font = {color: css("--ink"), family: "system-ui, sans-serif", size: 12};
    layout.font = Object.assign({}, layout.font, font);
    layout.hoverlabel = {bgcolor: css("--panel"), font: {color: css("--ink")}};
    const lines = {gridcolor: css("--line"), linecolor: css("--line"), zerolinecolor: css("--line")};
    for (const menu of layout.updatemenus || [])
      Object.assign(menu, {bgcolor: css("--panel"), bordercolor: css("--line"), font: {color: css("--ink"), size: 11}});
    for (const key of Object.keys(layout).filter(key => /^[xy]axis/.test(key)))
      Object.assign(layout[key], lines);
    Plotly.react(id, structuredClone(figure.data), layout, {responsive: true, displaylogo: false});
  }
}
draw();
dark.addEventListener("change", draw);
"""
