# Copyright (c) 2026, the rootless.buildah authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The doctor's page, read as a browser would read it, without one."""

from __future__ import annotations

import base64
import hashlib
import re
from html.parser import HTMLParser
from typing import Any, Optional

import pytest

from ansible_collections.rootless.buildah.plugins.module_utils._doctor_page import (
    DARK,
    LIGHT,
    STYLE,
    doctor_page,
)
from ansible_collections.rootless.buildah.plugins.module_utils._doctor_report import doctor_report

VOID = {"meta", "wbr"}
# Every attribute by which HTML fetches something by itself.
LOADING = {"src", "srcset", "data", "poster", "background", "action", "formaction", "ping", "style"}


class Page(HTMLParser):
    """The elements of a page with their texts, and where they stand."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[dict[str, Any]] = []
        self.open: list[dict[str, Any]] = []
        self.feed(text)
        self.close()
        assert self.open == [], "elements that are not closed"

    def handle_starttag(self, tag: str, attrs: list[tuple[str, Optional[str]]]) -> None:
        assert len({name for name, _value in attrs}) == len(attrs), f"an attribute twice in {tag}"
        one = {"tag": tag, "text": "", "within": [outer["tag"] for outer in self.open], **dict(attrs)}
        self.elements.append(one)
        if tag not in VOID:
            self.open.append(one)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop()["tag"] == tag

    def handle_data(self, data: str) -> None:
        for one in self.open:
            one["text"] += data

    def all(self, *tags: str) -> list[dict[str, Any]]:
        return [one for one in self.elements if one["tag"] in tags]

    def texts(self, *tags: str) -> list[str]:
        return [" ".join(one["text"].split()) for one in self.all(*tags)]


def finding(name: str, severity: str = "error", **more: Any) -> dict[str, Any]:
    usual = {"id": name, "severity": severity, "evidence": f"seen {name}", "cause": f"cause of {name}",
             "remedy": f"remedy of {name}", "guide": f"https://example.org/f.md#{name}"}  # fmt: skip
    return {**usual, **more}


def asked(*findings: dict[str, Any]) -> dict[str, Any]:
    return {"doctor": {"ready": not any(one["severity"] == "error" for one in findings), "findings": list(findings)}}


FLEET: dict[str, dict[str, Any]] = {
    "healthy": asked(),
    "fair": asked(finding("no_linger", "warning")),
    "broken": asked(finding("subid_missing", commands=["usermod  -x ci", "migrate"]), finding("no_linger", "warning")),
    "strange": {"doctor": {"ready": False, "reason": "There is no user ci."}},
    "off": {"doctor": {"ready": False, "reason": "Connection refused", "unreachable": True}},
    "gone": {},
}


def render(hosts: dict[str, dict[str, Any]], note: str = "") -> str:
    return doctor_page(doctor_report(hosts, hosts, "doctor", note))


def rows(page: Page) -> dict[str, list[str]]:
    """The first table: hosts and the texts of their cells."""
    found: dict[str, list[str]] = {}
    name = ""
    for one in page.elements:
        if one["tag"] == "table" and one["class"] != "fleet":
            break
        if one["tag"] == "th" and one["scope"] == "row":
            name = one["text"]
            found[name] = []
        elif one["tag"] == "td":
            found[name].append(" ".join(one["text"].split()))
    return found


def test_every_host_has_a_row_and_every_finding_a_column() -> None:
    page = Page(render(FLEET))
    columns = [" ".join(one["text"].split()) for one in page.all("th") if one["scope"] == "col"]
    assert columns[:4] == ["host", "state", "subid_missing error", "no_linger warning"]
    # The worst first.
    assert rows(page) == {
        "broken": ["not ready", "error subid_missing", "warning no_linger"],
        "off": ["no answer", "? not known", "? not known"],
        "gone": ["no answer", "? not known", "? not known"],
        "strange": ["not asked", "? not known", "? not known"],
        "fair": ["ready", "–", "warning no_linger"],
        "healthy": ["ready", "–", "–"],
    }
    assert list(rows(page)) == ["broken", "off", "gone", "strange", "fair", "healthy"]


def test_a_finding_is_told_with_cause_remedy_commands_and_guide() -> None:
    page = Page(render(FLEET))
    assert page.texts("h3") == ["subid_missing error on 1 host", "no_linger warning on 2 hosts"]
    assert {"Cause: cause of subid_missing", "Remedy: remedy of subid_missing"} <= set(page.texts("p"))
    assert [one["text"] for one in page.all("pre")] == ["usermod  -x ci", "migrate"]
    guides = [one["href"] for one in page.all("a") if one.get("class") == "guide"]
    assert guides == ["https://example.org/f.md#subid_missing", "https://example.org/f.md#no_linger"]
    # Hosts of which the same was seen share a row.
    assert "fair, broken" in page.texts("th")


def test_why_there_is_no_command_is_told() -> None:
    page = Page(render({"one": asked(finding("subid_missing", by_hand="no ids are left"))}))
    assert "No command: no ids are left" in page.texts("p")


def test_why_nothing_is_known_of_a_host_is_told() -> None:
    cells = Page(render(FLEET)).texts("td")
    assert {"no answer Connection refused", "no answer It stopped answering.", "not asked There is no user ci."} <= set(
        cells)


def test_a_fleet_without_findings_says_so() -> None:
    page = Page(render({"one": asked(), "two": asked()}))
    assert page.texts("caption") == ["On no host anything was found."]
    assert page.texts("li") == ["2 ready"]
    assert page.texts("h2") == ["Hosts"]


def test_an_empty_fleet_is_a_page_too() -> None:
    assert "0 hosts:" in Page(render({})).texts("p")


def test_the_summary_counts_in_words() -> None:
    assert Page(render(FLEET)).texts("li") == ["2 ready", "1 not ready", "2 no answer", "1 not asked"]


def test_the_structure_serves_those_who_cannot_see_it() -> None:
    page = Page(render(FLEET, "a note"))
    assert page.elements[0]["tag"] == "html"
    assert page.elements[0]["lang"] == "en"
    assert page.texts("title") == page.texts("h1")
    levels = [int(one["tag"][1]) for one in page.all("h1", "h2", "h3")]
    assert levels[0] == 1
    assert all(later <= earlier + 1 for earlier, later in zip(levels, levels[1:]))
    assert all(one["scope"] in ("row", "col") for one in page.all("th"))
    # Every row has a header of its own.
    assert len([one for one in page.all("th") if one["scope"] == "row"]) == len(
        [one for one in page.all("tr") if "tbody" in one["within"]])
    # What scrolls can be reached by the keyboard and has a name.
    region = next(one for one in page.all("div") if one.get("role") == "region")
    assert region["tabindex"] == "0"
    named = {one["id"] for one in page.elements if "id" in one}
    assert region["aria-labelledby"] in named
    # A colour never stands alone.
    assert all(one["text"].strip() for one in page.elements if "mark" in (one.get("class") or ""))
    assert "a note" in page.texts("p")


def test_links_lead_somewhere() -> None:
    page = Page(render(FLEET))
    ids = [one["id"] for one in page.elements if "id" in one]
    assert len(ids) == len(set(ids))
    inside = [one["href"] for one in page.all("a") if one["href"].startswith("#")]
    assert inside
    assert {target[1:] for target in inside} <= set(ids)


def test_it_loads_nothing() -> None:
    text = render(FLEET)
    page = Page(text)
    fetching = {"script", "link", "img", "iframe", "object", "embed", "base"}
    assert {one["tag"] for one in page.elements} & fetching == set()
    assert [one for one in page.elements if LOADING & set(one)] == []
    assert "url(" not in text
    assert "@import" not in text
    policy = next(one for one in page.all("meta") if one.get("http-equiv") == "Content-Security-Policy")["content"]
    style = page.all("style")[0]["text"]
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    assert policy == f"default-src 'none'; style-src 'sha256-{digest}'"


def test_what_hosts_say_is_text() -> None:
    evil = "</td></table><script>alert(1)</script><img src=https://evil.example/x onerror=alert(1)>\x00\x1b\u202e\""
    hostile = finding(evil, evil, evidence=evil, cause=evil, remedy=evil, guide="javascript:alert(1)", commands=[evil],
                      by_hand=evil)
    fleet = {
        evil: {"doctor": {"ready": False, "findings": [hostile]}},
        "off": {"doctor": {"ready": False, "reason": evil}},
    }
    text = render(fleet, evil)
    tame = render({"x": asked(finding("x", commands=["x"], by_hand="x", guide="")), "off": fleet["off"]}, "x")
    plain, hurt = Page(tame), Page(text)
    # The same elements with the same attributes, whatever the texts are.
    shape = [(one["tag"], sorted(one)) for one in plain.elements if one["tag"] != "wbr"]
    assert [(one["tag"], sorted(one)) for one in hurt.elements if one["tag"] != "wbr"] == shape
    assert all(one.isprintable() or one == "\n" for one in text)
    assert "<script>alert(1)</script>" in hurt.all("p")[0]["text"]


def test_the_same_fleet_gives_the_same_page() -> None:
    assert render(FLEET) == render(dict(FLEET))
    assert render(FLEET) != render({**FLEET, "gone": asked()})


def luminance(colour: str) -> float:
    """Relative luminance as WCAG 2 defines it."""
    parts = [int(colour[place : place + 2], 16) / 255 for place in (1, 3, 5)]
    red, green, blue = (part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(one: str, other: str) -> float:
    light, dark = sorted((luminance(one), luminance(other)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


def test_contrast_is_computed_as_the_standard_says() -> None:
    assert contrast("#000000", "#ffffff") == pytest.approx(21)
    assert contrast("#777777", "#ffffff") == pytest.approx(4.48, abs=0.01)


@pytest.mark.parametrize("scheme", [LIGHT, DARK], ids=["light", "dark"])
def test_everything_can_be_read(scheme: dict[str, tuple[str, str]]) -> None:
    for name, (front, behind) in scheme.items():
        assert contrast(front, behind) >= 4.5, name
    for name in ("page", "quiet"):  # text, notes and headers of tables stand on both
        assert contrast(scheme[name][0], scheme["page"][1]) >= 4.5, name
        assert contrast(scheme[name][0], scheme["quiet"][1]) >= 4.5, name


def test_every_colour_of_the_page_is_one_of_the_scheme() -> None:
    used = set(re.findall(r"var\(--([a-z-]+)\)", STYLE))
    assert used <= {*LIGHT, *(f"{name}-behind" for name in LIGHT)}
    assert set(LIGHT) == set(DARK)
    classes = {name for one in Page(render(FLEET)).elements for name in (one.get("class") or "").split()}
    assert {name for name in classes if name not in STYLE} == set()


def test_hundreds_of_hosts_are_one_page() -> None:
    fleet = {f"builder{number}": FLEET["broken"] for number in range(500)}
    text = render(fleet)
    assert len(rows(Page(text))) == 500
    assert len(text) < 500_000
