"""The style sheet of the cards: light and dark, small, every rule under ``.dfb``."""

from __future__ import annotations

_LIGHT = (
    "--fg:#1f2328;--soft:#5c6570;--bg:#fff;--edge:#d5dae0;--track:#e6eaee;--tint:#f4f6f8;"
    "--ok:#1a7f37;--bad:#cf222e;--run:#0969da;--wait:#9a6700;--off:#6e7781"
)
_DARK = (
    "--fg:#e6e8eb;--soft:#a0a8b2;--bg:#1c2026;--edge:#3a414a;--track:#343b44;--tint:#262b32;"
    "--ok:#46b35f;--bad:#f2736b;--run:#5ea5f8;--wait:#dba93b;--off:#949da8"
)
# Notebook front ends say their theme in their own ways; the system's wish counts where none does.
_THEMES = (
    f".dfb{{{_LIGHT}}}"
    f"@media(prefers-color-scheme:dark){{.dfb{{{_DARK}}}}}"
    f'[data-jp-theme-light="true"] .dfb,.vscode-light .dfb,html[theme="light"] .dfb{{{_LIGHT}}}'
    f'[data-jp-theme-light="false"] .dfb,.vscode-dark .dfb,html[theme="dark"] .dfb{{{_DARK}}}'
)
_LAYOUT = (
    ".dfb{color:var(--fg);background:var(--bg);border:1px solid var(--edge);border-left:4px solid var(--c,var(--run));"
    "border-radius:8px;padding:12px 16px;margin:4px 0;max-width:720px;box-sizing:border-box;"
    "font:13px/1.5 system-ui,-apple-system,'Segoe UI',Roboto,sans-serif;font-variant-numeric:tabular-nums}"
    ".dfb i{font-style:normal}.dfb b{font-weight:600}"
    ".dfb code{font:12px ui-monospace,Menlo,Consolas,monospace;color:var(--fg);background:var(--tint);"
    "padding:1px 5px;border-radius:4px}"
    ".dfb-head,.dfb-counts,.dfb-pace,.dfb-verdicts,.dfb-errors,.dfb-strip{display:flex;flex-wrap:wrap;"
    "align-items:baseline;gap:2px 14px}"
    ".dfb-head{gap:2px 10px;flex-wrap:nowrap;white-space:nowrap}"
    ".dfb-name{font-size:14px;font-weight:600;overflow:hidden;text-overflow:ellipsis}"
    ".dfb-percent{margin-left:auto;font-size:15px}"
    ".dfb-badge{color:var(--c,var(--run));font-weight:600;white-space:nowrap}"
    ".dfb-bar{display:flex;height:10px;border-radius:5px;overflow:hidden;background:var(--track);margin:8px 0 6px}"
    ".dfb-bar i{min-width:2px}"
    ".dfb-soft,.dfb-pace,.dfb-foot{color:var(--soft)}.dfb-pace b{color:var(--fg);font-weight:500}"
    ".dfb-dot{display:inline-block;width:8px;height:8px;border-radius:50%;margin-right:5px}"
    ".dfb-reason{margin:8px 0 2px;padding:6px 10px;border-radius:4px;background:var(--tint);overflow-wrap:anywhere}"
    ".dfb-verdicts,.dfb-errors{margin-top:4px}.dfb-errors b{color:var(--bad)}"
    ".dfb-foot{margin-top:8px;font-size:12px}.dfb-strip{padding:6px 12px}"
)
_COLOURS = (
    ".dfb i.dfb-succeeded{background:var(--ok)}"
    ".dfb i.dfb-failed,.dfb i.dfb-expired{background:var(--bad)}"
    ".dfb i.dfb-running{background:var(--run)}"
    ".dfb i.dfb-retrying{background:var(--wait)}"
    ".dfb i.dfb-cancelled,.dfb i.dfb-cancelling{background:"
    "repeating-linear-gradient(135deg,var(--off) 0 3px,var(--track) 3px 6px)}"
    ".dfb i.dfb-queued{background:var(--track);box-shadow:inset 0 0 0 1px var(--off)}"
    "div.dfb-succeeded{--c:var(--ok)}div.dfb-failed,div.dfb-expired{--c:var(--bad)}"
    "div.dfb-partial,div.dfb-stalled{--c:var(--wait)}"
    "div.dfb-paused,div.dfb-cancelled,div.dfb-cancelling,div.dfb-queued,div.dfb-submitting{--c:var(--off)}"
)

STYLE = f"<style>{_THEMES}{_LAYOUT}{_COLOURS}</style>"
"""Goes with every card, so that each output stands alone in an exported or reopened notebook."""
