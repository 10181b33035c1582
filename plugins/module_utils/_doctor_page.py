# Copyright (c) 2026, the rootless.buildah authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The doctor's report of a fleet as one HTML page that needs nothing else: no network, no script, no other file. Pure.

The same report gives the same page, byte for byte.
"""

from __future__ import annotations

import base64
import hashlib
from typing import Iterable

from ansible_collections.rootless.buildah.plugins.module_utils._doctor_report import (
    NO_ANSWER,
    NOT_ASKED,
    NOT_READY,
    READY,
    Found,
    Host,
    Kinds,
    Report,
    by_kind,
    count,
    kind,
)
from ansible_collections.rootless.buildah.plugins.module_utils._findings import ERROR, WARNING
from ansible_collections.rootless.buildah.plugins.module_utils._html import Content, Html, element, joined

TITLE = "Rootless builds: the fleet"
# The worst first.
STATES = {NOT_READY: "not ready", NO_ANSWER: "no answer", NOT_ASKED: "not asked", READY: "ready"}
# A colour never stands alone: what has one says the same in words.
COLOURS = {NO_ANSWER: "unknown", NOT_ASKED: "unknown", NOT_READY: ERROR, READY: "good"}
# Foreground and background of each; tests compute the contrast.
LIGHT = {
    "page": ("#1b1f24", "#ffffff"), "quiet": ("#57606a", "#f3f5f7"), "link": ("#0a53b0", "#ffffff"),
    "good": ("#0f5323", "#dcf5e3"), "error": ("#8c1420", "#fde3e4"), "warning": ("#664200", "#fdf0c8"),
    "unknown": ("#4b2d7f", "#ece4fa"),
}  # fmt: skip
DARK = {
    "page": ("#e4e8ec", "#14181d"), "quiet": ("#a2abb5", "#1f252c"), "link": ("#8cc0ff", "#14181d"),
    "good": ("#93e2aa", "#12331d"), "error": ("#ffb3b4", "#4a171b"), "warning": ("#f5d67e", "#3f2e04"),
    "unknown": ("#d5c0ff", "#33234f"),
}  # fmt: skip


def _variables(colours: dict[str, tuple[str, str]]) -> str:
    return "".join(f"--{name}: {front}; --{name}-behind: {behind}; " for name, (front, behind) in colours.items())


STYLE = f"""
:root {{ color-scheme: light dark; {_variables(LIGHT)}}}
@media (prefers-color-scheme: dark) {{ :root {{ {_variables(DARK)}}} }}
* {{ box-sizing: border-box; }}
body {{ margin: 0; font: 100%/1.5 system-ui, sans-serif; color: var(--page); background: var(--page-behind); }}
header, main {{ max-width: 100rem; margin: 0 auto; padding: 0 1rem; }}
h1 {{ font-size: 1.6rem; margin: 1.5rem 0 .25rem; }}
h2 {{ font-size: 1.25rem; margin: 2rem 0 .5rem; }}
h3 {{ font-size: 1.05rem; margin: 0; }}
p {{ margin: .25rem 0; max-width: 75ch; }}
a {{ color: var(--link); }}
code, pre {{ font: .9em/1.5 ui-monospace, monospace; }}
.note, caption, .none {{ color: var(--quiet); }}
.good {{ color: var(--good); background: var(--good-behind); }}
.error {{ color: var(--error); background: var(--error-behind); }}
.warning {{ color: var(--warning); background: var(--warning-behind); }}
.unknown {{ color: var(--unknown); background: var(--unknown-behind); }}
.mark {{ display: inline-block; padding: 0 .5em; border-radius: .25em; font-weight: 600; white-space: nowrap; }}
.mark a {{ color: inherit; }}
.hidden {{ position: absolute; width: 1px; height: 1px; overflow: hidden; clip-path: inset(50%); white-space: nowrap; }}
ul.summary {{ list-style: none; display: flex; flex-wrap: wrap; gap: .5rem; margin: .75rem 0; padding: 0; }}
ul.summary li {{ padding: .25rem .75rem; border-radius: .25rem; }}
ul.summary strong {{ font-size: 1.25rem; }}
table {{ border-collapse: collapse; }}
caption {{ text-align: left; padding-bottom: .5rem; max-width: 75ch; }}
th, td {{ padding: .3rem .6rem; text-align: left; vertical-align: top; border-bottom: 1px solid var(--quiet-behind);
  overflow-wrap: anywhere; }}
thead th {{ background: var(--quiet-behind); vertical-align: bottom; font-size: .85rem; }}
.seen {{ width: 100%; table-layout: fixed; margin: .5rem 0; }}
.seen th {{ font-weight: 600; }}
.seen th:first-child {{ width: 28%; }}
.seen pre {{ margin: .25rem 0 0; padding: .25rem .5rem; background: var(--quiet-behind); white-space: pre-wrap; }}
section.finding {{ margin: 1rem 0 1.75rem; scroll-margin-top: 1rem; }}
@media screen and (min-width: 45.01rem) {{
  .wide {{ overflow: auto; max-height: 85vh; }}
  .fleet thead th {{ position: sticky; top: 0; z-index: 1; }}
  .fleet th {{ overflow-wrap: break-word; max-width: 24rem; }}
  .fleet tbody th {{ position: sticky; left: 0; background: var(--page-behind); }}
  .fleet .name {{ position: absolute; width: 1px; height: 1px; overflow: hidden; clip-path: inset(50%); }}
  .fleet td {{ position: relative; }}
}}
/* Where there is no room for a column for each finding, their names stand in the cells. */
@media print, screen and (max-width: 45rem) {{
  .fleet, .fleet caption, .fleet tbody, .fleet tr, .fleet th, .fleet td {{ display: block; }}
  .fleet thead, .fleet .none {{ display: none; }}
  .fleet tr {{ display: flex; flex-wrap: wrap; gap: .25rem .5rem; padding: .5rem 0;
    border-bottom: 1px solid var(--quiet-behind); }}
  .fleet tbody th, .fleet td {{ padding: 0; border: 0; }}
  .fleet tbody th {{ flex: 1 0 100%; }}
}}
@media screen and (max-width: 45rem) {{
  .seen tr, .seen th, .seen td {{ display: block; width: auto !important; }}
  .seen thead {{ display: none; }}
  .seen tbody th {{ border: 0; padding-bottom: 0; }}
}}
@media print {{
  :root {{ {_variables(LIGHT)}}}
  body {{ font-size: 9pt; }}
  .mark, ul.summary li {{ border: 1px solid; }}
  thead {{ display: table-header-group; }}
  tr {{ break-inside: avoid; }}
  h2, h3 {{ break-after: avoid; }}
  a.guide::after {{ content: " (" attr(href) ")"; }}
}}
"""


def doctor_page(report: Report) -> str:
    """Return the page of a report from doctor_report()."""
    found = by_kind(report["hosts"])
    digest = base64.b64encode(hashlib.sha256(STYLE.encode("utf-8")).digest()).decode("ascii")
    head = element(
        "head",
        element("meta", charset="utf-8"),
        element("meta", name="viewport", content="width=device-width, initial-scale=1"),
        # Should anything ever slip through: it loads nothing and runs nothing.
        element("meta", http_equiv="Content-Security-Policy",
                content=f"default-src 'none'; style-src 'sha256-{digest}'"),
        element("title", TITLE),
        Html(f"<style>{STYLE}</style>\n"),
    )
    header = element("header", element("h1", TITLE), _note(report["note"]), _summary(report["summary"]))
    main = element(
        "main", _fleet(report["hosts"], found), _unknown(report["hosts"]),
        *(_section(number, found[key]) for number, key in enumerate(found, 1)))
    page = element("html", Html("\n"), head, element("body", Html("\n"), header, main), lang="en")
    return f"<!DOCTYPE html>\n{page.text}\n"


def _note(note: str) -> Content:
    return element("p", note, class_="note") if note else ""


def _number(number: int, what: str) -> str:
    return f"{number} {what}" if number == 1 else f"{number} {what}s"


def _summary(summary: dict[str, int]) -> Html:
    counted = [
        element("li", element("strong", str(summary[state])), f" {word}", class_=COLOURS[state])
        for state, word in sorted(STATES.items(), key=lambda item: item[0] != READY) if summary[state]
    ]
    return joined(element("p", f"{_number(summary['hosts'], 'host')}:"), element("ul", *counted, class_="summary"))


def _worst_first(host: Host) -> tuple[int, int, int]:
    return (list(STATES).index(host["state"]), -count(host, ERROR), -count(host, WARNING))


def _fleet(hosts: list[Host], found: Kinds) -> Html:
    columns = [
        element("th", *_breakable(name), " ", element("span", severity, class_=f"mark {severity}"), scope="col")
        for name, severity, *_rest in found
    ]
    title = element("tr", element("th", "host", scope="col"), element("th", "state", scope="col"), *columns)
    rows = [_host_row(host, found) for host in sorted(hosts, key=_worst_first)]
    told = "Each host, the worst first, and what was found there." if found else "On no host anything was found."
    table = element(
        "table", element("caption", told), Html("\n"), element("thead", title), element("tbody", *rows), class_="fleet")
    # What scrolls must be within reach of the keyboard.
    region = element("div", table, class_="wide", role="region", tabindex="0", aria_labelledby="hosts")
    return element("section", element("h2", "Hosts", id="hosts"), region)


def _host_row(host: Host, found: Kinds) -> Html:
    state = _mark(STATES[host["state"]], COLOURS[host["state"]], "#unknown" if host["reason"] else "")
    kinds = {kind(one) for one in host["findings"]}
    cells = []
    for number, key in enumerate(found, 1):
        name, severity = key[:2]
        if host["reason"]:
            cells.append(element("td", "?", element("span", " not known", class_="hidden"), class_="none"))
        elif key in kinds:
            words = joined(severity, element("span", f" {name}", class_="name"))
            cells.append(element("td", _mark(words, severity, f"#finding-{number}")))
        else:
            cells.append(element("td", "–", class_="none"))
    return element("tr", element("th", host["name"], scope="row"), element("td", state), *cells)


def _mark(text: Content, colour: str, target: str = "") -> Html:
    inner = element("a", text, href=target) if target else text
    return element("span", inner, class_=f"mark {colour}")


def _breakable(name: str) -> list[Content]:
    """Let a long name break at its underscores."""
    parts: list[Content] = []
    for part in name.split("_"):
        parts += ["_", element("wbr"), part] if parts else [part]
    return parts


def _unknown(hosts: Iterable[Host]) -> Content:
    rows = [
        element("tr", element("th", host["name"], scope="row"),
                element("td", _mark(STATES[host["state"]], COLOURS[host["state"]]), f" {host['reason']}"))
        for host in hosts if host["reason"]
    ]
    if not rows:
        return ""
    heading = element("h2", "Hosts of which nothing is known", id="unknown")
    return element("section", heading, _two_columns("host", "why", rows))


def _two_columns(first: str, second: str, rows: Iterable[Html]) -> Html:
    title = element("tr", element("th", first, scope="col"), element("th", second, scope="col"))
    return element("table", element("thead", title), element("tbody", *rows), class_="seen")


def _section(number: int, hosts: list[tuple[Host, Found]]) -> Html:
    one = hosts[0][1]
    heading = element(
        "h3", element("code", one["id"]), " ", _mark(one["severity"], one["severity"]),
        f" on {_number(len(hosts), 'host')}", id=f"finding-{number}")
    # Hosts of which the same was seen share a row.
    alike: dict[tuple[str, tuple[str, ...], str], list[str]] = {}
    for host, seen in hosts:
        alike.setdefault((seen["evidence"], tuple(seen["commands"]), seen["by_hand"]), []).append(host["name"])
    rows = [
        element("tr", element("th", ", ".join(names), scope="row"),
                element("td", evidence, *_commands(commands), element("p", f"No command: {why}") if why else ""))
        for (evidence, commands, why), names in alike.items()
    ]
    body = element(
        "section", heading,
        element("p", element("strong", "Cause:"), f" {one['cause']}"),
        element("p", element("strong", "Remedy:"), f" {one['remedy']}"),
        _guide(one), _two_columns("host", "what was seen", rows), class_="finding")
    return joined(element("h2", "Findings"), body) if number == 1 else body


def _commands(commands: Iterable[str]) -> list[Content]:
    return [element("pre", element("code", command)) for command in commands]


def _guide(one: Found) -> Content:
    if not one["guide"].startswith("https://"):
        return ""
    name = element("span", f" about {one['id']}", class_="hidden")
    return element("p", element("a", "Guide", name, href=one["guide"], class_="guide", rel="noreferrer"))
