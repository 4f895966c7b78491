"""The page in a browser, before a service with what a finished run left."""

import json
import os
import re
import subprocess
import sys
import time
from pathlib import Path

import pytest

from panther_pipeline.serving.page_files import PAGE_PATHS

from .chromium import Chromium, find_chromium

KEY = "q7Zk2mVx9LwT4bRn8cYd"
PHONE = {"width": 390, "height": 844, "deviceScaleFactor": 1, "mobile": True}


@pytest.fixture(scope="module")
def served(finished_run, tmp_path_factory):
    """A copy to send events to."""
    return finished_run.copy(tmp_path_factory.mktemp("served"))


@pytest.fixture(scope="module")
def serve(served, tmp_path_factory):
    """Starts the service as `make serve` does; the address of its page, as its log says it, and the log."""
    started = []

    def start(**environment: str) -> tuple[str, Path]:
        log = tmp_path_factory.mktemp("log") / "log"
        command = [
            sys.executable,
            "-m",
            "panther_pipeline.serving",
            "--data",
            str(served.data),
            "--ledger",
            served.ledger,
        ]
        kept = {name: value for name, value in os.environ.items() if name != "PANTHER_API_KEY"}
        with log.open("w") as out:
            process = subprocess.Popen([*command, "--port", "0"], stderr=out, env={**kept, **environment})
        started.append(process)
        until = time.monotonic() + 120
        while '"ready"' not in log.read_text():
            assert process.poll() is None, log.read_text()
            assert time.monotonic() < until, log.read_text()
            time.sleep(0.1)
        return re.search(r'"page": "(http://[^"]+/)"', log.read_text())[1], log

    start.started = started
    yield start
    for process in started:
        process.kill()
        process.wait()


@pytest.fixture(scope="module")
def service(serve):
    return serve()


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    binary = find_chromium()
    if binary is None:
        pytest.skip("no browser: install chromium, or name one in CHROMIUM")
    opened = Chromium(binary, tmp_path_factory.mktemp("profile"))
    yield opened
    opened.close()


@pytest.fixture
def page(browser):
    browser.requests.clear()
    browser.complaints.clear()
    browser.command("Emulation.clearDeviceMetricsOverride")
    return browser


@pytest.fixture(scope="module")
def user_id(finished_run):
    """The one with most events."""
    return finished_run.events["user_id"].mode().sort()[0]


def show(page, service, user_id, **fields):
    given = "&".join(f"{name}={value}" for name, value in {"user": user_id, **fields}.items())
    page.open(f"{service[0]}#{given}")
    page.wait_for("document.querySelector('#score .result')")


def num_read(page):
    return int(re.match(r"\d+", page.text("#summary"))[0])


def test_timeline_score_and_expected_ones_are_shown(page, service, finished_run, user_id):
    show(page, service, user_id, amount="480.00", category="groceries", channel="contactless")
    events = finished_run.events.filter(user_id=user_id)
    assert num_read(page) == events.height
    shown = min(192, events.height)
    assert page.evaluate("document.querySelectorAll('#events tr').length") == shown
    assert page.evaluate("document.querySelectorAll('#chart .stem').length") == shown
    newest = events["event_time"].max().strftime("%Y-%m-%d %H:%M")
    assert page.text("#events tr").startswith(newest)
    expected = page.text("#expected").splitlines()
    assert (
        sum(line.endswith(" %") for line in expected)
        == finished_run.params["embedding"]["users"]["num_next_transactions"]
    )
    score = page.text("#score")
    assert re.search(r"^(< 0\.01|[\d.]+) %", score)
    assert re.search(r"groceries · contactless · .*\nsurprise\n[\d.]+ nats\ndeviation\n[+−][\d.]+ of", score)
    assert page.complaints == []


def test_score_follows_what_is_typed(page, service, user_id):
    show(page, service, user_id, amount="12.50", category="groceries")
    before = page.text("#score")
    page.fill("[name=amount]", "9000.00")
    page.wait_for(f"document.querySelector('#score').innerText !== {json.dumps(before)}")
    assert page.evaluate("document.querySelectorAll('#chart .draft').length") == 1
    page.requests.clear()
    for digit in "12345":
        page.command("Input.insertText", text=digit)
    time.sleep(1)
    page.evaluate("0")  # what has come in meanwhile is read with its answer
    assert sum(request["url"].endswith("/score?explain=true") for request in page.requests) == 1


def test_refusal_is_said_in_words_at_its_field(page, service, user_id):
    show(page, service, user_id, amount="12.50")
    page.fill("[name=amount]", "a lot")
    page.wait_for("document.querySelector('#score .warn')")
    assert page.text("#score") == "amount: not an amount such as 12.50."
    assert page.evaluate("[...document.querySelectorAll('[aria-invalid=true]')].map(e => e.name)") == ["amount"]
    page.fill("[name=amount]", "13.00")
    page.wait_for("document.querySelector('#score .result')")
    assert page.evaluate("document.querySelectorAll('[aria-invalid=true]').length") == 0


def test_user_that_cannot_be_asked_for_leaves_nothing_shown(page, service, user_id):
    show(page, service, user_id)
    page.fill("#user", "4111 1111 1111 1111")
    page.evaluate("document.querySelector('#pick').requestSubmit()")
    page.wait_for("!document.querySelector('#trouble').hidden")
    assert page.text("#trouble") == "user id: card number."
    assert page.text("#summary") + page.text("#events") + page.text("#expected") + page.text("#score") == ""
    assert page.evaluate("document.querySelector('#send').disabled")
    page.fill("#user", user_id)
    page.evaluate("document.querySelector('#pick').requestSubmit()")
    page.wait_for("document.querySelector('#score .result')")
    assert page.evaluate("document.querySelector('#trouble').hidden")


def test_user_is_picked_from_those_the_service_lists(page, service, finished_run):
    page.open(service[0])
    page.wait_for("document.querySelector('#score .result')")  # the first is shown without being asked for
    listed = page.evaluate("[...document.querySelector('#users').options].map(option => option.value)")
    assert len(listed) == 20
    known = set(finished_run.events["user_id"])
    assert known.issuperset(listed[-10:])
    page.fill("#user", listed[-1])
    page.evaluate("document.querySelector('#user').blur()")
    shown = finished_run.events.filter(user_id=listed[-1]).height
    page.wait_for(f"document.querySelector('#summary').innerText.startsWith('{shown} ')")


def test_event_that_is_sent_joins_the_timeline(page, service, finished_run):
    user_id = (
        finished_run.events["user_id"].value_counts().sort("count", "user_id")["user_id"][0]
    )  # fewest: all are shown
    show(page, service, user_id, amount="12.50")
    before, event_id = num_read(page), page.evaluate("document.querySelector('[name=event_id]').value")
    page.evaluate("document.querySelector('#event').requestSubmit()")
    page.wait_for("document.querySelector('#sent').innerText")
    assert page.text("#sent") == "Taken in."
    assert num_read(page) == before + 1
    assert page.evaluate("document.querySelectorAll('#events tr').length") == before + 1
    assert page.evaluate("document.querySelector('[name=event_id]').value") != event_id
    page.fill("[name=event_id]", event_id)
    page.evaluate("document.querySelector('#event').requestSubmit()")
    page.wait_for("document.querySelector('#sent').innerText.startsWith('Already')")
    assert num_read(page) == before + 1
    page.wait_for("document.querySelector('#users option').value === " + json.dumps(user_id))  # met last, listed first


def test_stranger_can_be_scored_and_sent(page, service):
    show(page, service, "never-seen", amount="12.50")
    assert "Nothing is known of this user yet" in page.text("#summary")
    assert page.text("#expected") == ""
    assert "no history to deviate from" in page.text("#score")
    page.evaluate("document.querySelector('#event').requestSubmit()")
    page.wait_for("document.querySelector('#summary').innerText.startsWith('1 ')")


def test_whatever_is_typed_or_answered_stays_text(page, service):
    markup = "<img src=x onerror=document.title='ran'>"
    show(page, service, "%3Cimg%20src=x%20onerror=document.title='ran'%3E", category="<b>bold</b>")
    assert page.evaluate("document.querySelector('#user').value") == markup
    page.evaluate("document.querySelector('#event').requestSubmit()")
    page.wait_for("document.querySelector('#sent').innerText")
    page.wait_for(f"[...document.querySelector('#users').options].some(o => o.value === {json.dumps(markup)})")
    assert page.evaluate("document.querySelectorAll('img, b').length") == 0
    assert page.evaluate("document.title") == "panther_pipeline"


def test_policy_stops_scripts_of_others(page, service, user_id):
    """Red twin of the escape: even markup that does get in cannot run."""
    show(page, service, user_id)
    inject = "document.body.append(Object.assign(document.createElement('script'), {textContent: 'window.ran = 1'}))"
    assert "TrustedScript" in page.evaluate(f"(() => {{ try {{ {inject} }} catch (e) {{ return e.message }} }})()")
    elsewhere = "fetch('http://127.0.0.1:9/').then(() => 'sent', () => 'refused')"
    assert page.evaluate(elsewhere) == "refused"
    page.wait_for("true")
    assert any("Content Security Policy" in text for text in page.complaints)
    assert page.evaluate("window.ran") is None


def test_nothing_is_asked_of_anyone_else(page, service, user_id):
    show(page, service, user_id)
    asked = [request["url"] for request in page.requests if not request["url"].startswith(("about:", "data:"))]
    assert len(asked) > len(PAGE_PATHS)
    assert all(url.startswith(service[0]) for url in asked)


def test_no_address_and_no_log_line_holds_an_id(page, service, user_id):
    show(page, service, user_id)
    sent = [request["url"].partition("#")[0] for request in page.requests]
    assert all(user_id not in url for url in sent)
    assert user_id not in service[1].read_text()


def test_transactions_can_be_chosen_by_keyboard(page, service, finished_run, user_id):
    show(page, service, user_id)
    newest = page.text("#chosen")
    page.evaluate("document.querySelector('#chart').focus()")
    page.press("ArrowLeft")
    assert page.text("#chosen") != newest
    page.press("End")
    assert page.text("#chosen") == newest
    page.press("Home")
    oldest = finished_run.events.filter(user_id=user_id)["event_time"].sort()[-192:].min()
    assert page.text("#chosen").startswith(oldest.strftime("%Y-%m-%d %H:%M"))


def test_every_field_has_a_label(page, service, user_id):
    show(page, service, user_id)
    names = page.evaluate("[...document.querySelectorAll('input')].map(i => i.labels[0]?.innerText ?? null)")
    assert len(names) >= 8
    assert None not in names


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_page_fits_a_phone_in_both_schemes(page, service, user_id, scheme):
    page.command("Emulation.setDeviceMetricsOverride", **PHONE)
    page.command("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])
    show(page, service, user_id)
    assert page.evaluate("document.documentElement.scrollWidth") == PHONE["width"]
    levels = re.findall(r"[\d.]+", page.evaluate("getComputedStyle(document.body).backgroundColor"))[:3]
    assert (sum(map(float, levels)) > 384) == (scheme == "light")
    page.command("Emulation.setEmulatedMedia", features=[])


def test_key_is_asked_for_and_kept_in_memory_alone(page, serve, user_id):
    service = serve(PANTHER_API_KEY=KEY)
    page.open(f"{service[0]}#user={user_id}")
    page.wait_for("document.querySelector('#ask-key')?.open")
    page.fill("#key", "wrong")
    page.evaluate("document.querySelector('#key-form').requestSubmit()")
    page.wait_for("document.querySelector('#key-wrong').innerText")
    page.fill("#key", KEY)
    page.evaluate("document.querySelector('#key-form').requestSubmit()")
    page.wait_for("document.querySelector('#score .result')")
    assert page.evaluate("localStorage.length + sessionStorage.length + document.cookie.length") == 0
    assert page.evaluate("document.querySelector('#key').value") == ""
    assert KEY not in service[1].read_text()
    page.open(f"{service[0]}#user={user_id}")
    page.wait_for("document.querySelector('#ask-key')?.open")  # forgotten with the page


def test_service_that_ends_is_said_in_words(page, serve, user_id):
    service = serve()
    show(page, service, user_id)
    serve.started[-1].kill()
    serve.started[-1].wait()
    page.fill("[name=amount]", "13.00")
    page.wait_for("document.querySelector('#score .warn')")
    assert page.text("#score") == "The service does not answer. Is it still running?"
