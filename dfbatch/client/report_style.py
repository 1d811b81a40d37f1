"""The style sheet of the report: two themes, print, no fonts or pictures from elsewhere."""

from __future__ import annotations

CSS = """
:root { color-scheme: light dark; --ink: #17202b; --soft: #566272; --line: #dde2e8; --paper: #ffffff;
  --wash: #f5f7f9; --accent: #24557a; }
@media (prefers-color-scheme: dark) { :root { --ink: #e6eaef; --soft: #a3afbd; --line: #333d49; --paper: #12171d;
  --wash: #1a2129; --accent: #8fc3ea; } }
* { box-sizing: border-box; }
body { margin: 0; background: var(--paper); color: var(--ink); font: 15px/1.5 system-ui, -apple-system, "Segoe UI",
  Roboto, "Noto Sans", "Liberation Sans", "DejaVu Sans", sans-serif; }
main, header > div, footer > div { max-width: 1080px; margin: 0 auto; padding: 0 28px; }
header { background: var(--wash); border-bottom: 1px solid var(--line); padding: 34px 0 26px; }
.eyebrow { margin: 0; color: var(--accent); font-weight: 600; letter-spacing: .02em; }
h1 { margin: 2px 0 6px; font-size: 30px; line-height: 1.2; letter-spacing: -.01em; overflow-wrap: anywhere; }
h2 { margin: 44px 0 12px; font-size: 20px; letter-spacing: -.005em; }
p { margin: 0 0 10px; max-width: 72ch; }
.soft, small { color: var(--soft); }
small { font-size: 12.5px; }
a { color: var(--accent); }
code, .mono { font: 12px/1.5 ui-monospace, "SFMono-Regular", Menlo, Consolas, "DejaVu Sans Mono", monospace; }
.mono { overflow-wrap: anywhere; }
.key { list-style: none; margin: 18px 0 0; padding: 0; display: grid; gap: 14px 32px;
  grid-template-columns: repeat(auto-fit, minmax(300px, 1fr)); }
.key li { display: grid; grid-template-columns: 18px auto; gap: 0 8px; align-content: start; }
.key .sign { font-weight: 700; text-align: center; }
.key .n { font-variant-numeric: tabular-nums; font-weight: 600; }
.key .share { color: var(--soft); font-variant-numeric: tabular-nums; }
.key small { display: block; grid-column: 2; line-height: 1.4; }
dl { display: grid; grid-template-columns: max-content 1fr; gap: 5px 22px; margin: 0; }
dt { color: var(--soft); }
dd { margin: 0; overflow-wrap: anywhere; }
table { border-collapse: collapse; width: 100%; }
caption { text-align: left; color: var(--soft); padding-bottom: 10px; max-width: 72ch; }
th { text-align: left; font-weight: 600; font-size: 13px; color: var(--soft); padding: 6px 16px 6px 0; }
td { vertical-align: top; padding: 12px 16px 6px 0; overflow-wrap: break-word; }
th:last-child, td:last-child { padding-right: 0; }
table.items > thead th, table.failures > thead th { border-bottom: 1px solid var(--ink); }
table.items > tbody > tr.item > td, table.failures > tbody > tr > td { border-top: 1px solid var(--line); }
table.items > tbody > tr:first-child > td, table.failures > tbody > tr:first-child > td { border-top: 0; }
table.items { table-layout: fixed; }
table.items th:nth-child(1) { width: 112px; } table.items th:nth-child(2) { width: 25%; }
table.items th:nth-child(3) { width: 178px; } table.items th:nth-child(5) { width: 20%; }
table.items table { table-layout: auto; } table.items table th { width: auto !important; }
table.items > tbody > tr.more > td { padding: 0 0 12px 112px; }
.picture { width: 112px; padding-right: 16px; }
.picture div { width: 96px; height: 72px; border-radius: 6px; background: var(--wash); border: 1px solid var(--line);
  display: flex; align-items: center; justify-content: center; overflow: hidden; color: var(--soft);
  font-size: 11.5px; text-align: center; line-height: 1.25; }
.picture img { width: 100%; height: 100%; object-fit: contain; display: block; }
.name { font-weight: 600; overflow-wrap: anywhere; }
.path { color: var(--soft); font-size: 12.5px; overflow-wrap: anywhere; }
.verdict { white-space: nowrap; font-weight: 600; }
.figures { color: var(--soft); font-size: 12.5px; font-variant-numeric: tabular-nums; }
.reasons { margin: 0; padding: 0; list-style: none; }
.reasons li + li { margin-top: 3px; }
.num { text-align: right; font-variant-numeric: tabular-nums; white-space: nowrap; }
details > summary { cursor: pointer; color: var(--accent); font-size: 13px; width: max-content; }
details[open] > summary { margin-bottom: 8px; }
.inside { background: var(--wash); border: 1px solid var(--line); border-radius: 8px; padding: 12px 16px;
  font-size: 13px; }
.inside dl { display: block; columns: 2 300px; column-gap: 32px; }
.inside dl > div { display: grid; grid-template-columns: 132px 1fr; gap: 0 12px; break-inside: avoid; padding: 1px 0; }
.inside table + dl { margin-top: 12px; }
.inside th, .inside td { padding: 4px 14px 4px 0; }
pre { white-space: pre-wrap; overflow-wrap: anywhere; margin: 6px 0 0; font: 11.5px/1.45 ui-monospace, Menlo, Consolas,
  "DejaVu Sans Mono", monospace; }
.note { border-left: 3px solid var(--accent); padding: 2px 0 2px 14px; margin: 18px 0 0; }
.limits li { margin-bottom: 8px; max-width: 72ch; }
.limits { padding-left: 1.2em; }
footer { margin-top: 48px; border-top: 1px solid var(--line); padding: 18px 0 40px; color: var(--soft);
  font-size: 13px; }
@media (max-width: 720px) {
  table.items { table-layout: fixed; }
table.items th:nth-child(1) { width: 112px; } table.items th:nth-child(2) { width: 25%; }
table.items th:nth-child(3) { width: 178px; } table.items th:nth-child(5) { width: 20%; }
table.items table { table-layout: auto; } table.items table th { width: auto !important; }
table.items > tbody > tr.more > td { padding-left: 0; }
  table.items, table.items > tbody, table.items > caption { display: block; }
  table.items > tbody > tr.more, table.items > tbody > tr.more > td { display: block; }
  table.items > thead { display: none; } .inside { overflow-x: auto; }
  table.items > tbody > tr.item { display: grid; grid-template-columns: 112px 1fr; border-top: 1px solid var(--line); }
  table.items > tbody > tr.item > td { border: 0; padding: 10px 0 0; }
  table.items > tbody > tr.item > td:nth-child(n+3) { grid-column: 1 / -1; padding-top: 4px; }
  main > section > dl { grid-template-columns: 1fr; gap: 0; } main > section > dl > dd { margin-bottom: 8px; }
}
@media print {
  @page { margin: 16mm 14mm; }
  :root { --ink: #000; --soft: #444; --line: #ccc; --paper: #fff; --wash: #fff; --accent: #000; }
  body { font-size: 10pt; } td { padding-top: 8px; }
  header { padding-top: 0; } main, header > div, footer > div { padding: 0; }
  h2 { break-after: avoid; } thead { display: table-header-group; }
  tr.item, .key li { break-inside: avoid; }
  table.items th:nth-child(1), .picture { width: 84px; } .picture div { width: 72px; height: 54px; }
  table.items th:nth-child(3) { width: 138px; } table.items > tbody > tr.more > td { padding-left: 84px; }
  .inside dl { columns: 2 200px; } .inside dl > div { grid-template-columns: 84px 1fr; } .inside { font-size: 8.5pt; }
  details::details-content { content-visibility: visible; display: block; block-size: auto; }
  svg, .sign { print-color-adjust: exact; -webkit-print-color-adjust: exact; }
}
"""
