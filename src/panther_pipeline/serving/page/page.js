// The page: what the service knows of a user, and what it says of a transaction while one types.

import { Timeline } from "./chart.js";
import { EventForm } from "./form.js";
import { ask } from "./service.js";
import { sayProb, sayStatus, sayTime, sayToken } from "./words.js";

const SHOWN_USERS = 20;
const DEBOUNCE_MS = 250;
const DAY_MS = 86_400_000;
const STRANGER = { history_length: 0, events: [], expected: [], text: "Nothing is known of this user yet: scored by the prior." };
const $ = (id) => document.getElementById(id);
const timeline = new Timeline($("chart"), (event) => {
  $("chosen").textContent = `${sayTime(event.event_time)} · ${sayToken(event.token)} · surprise ${event.surprise.toFixed(1)}`;
});
let form = null;
let userId = null;
let scoring = { timer: 0, abort: new AbortController() };

start().catch(report);

async function start() {
  await untilReady();
  form = new EventForm(await ask("GET", "openapi.json"), $("fields"));
  $("fields").addEventListener("input", () => scoreSoon(DEBOUNCE_MS));
  $("event").addEventListener("submit", (event) => (event.preventDefault(), send()));
  $("pick").addEventListener("submit", (event) => (event.preventDefault(), show($("user").value.trim())));
  $("user").addEventListener("change", () => ![userId, ""].includes($("user").value.trim()) && show($("user").value.trim()));
  await listUsers();
  // After # and so never sent: a link to a user and a transaction.
  const given = Object.fromEntries(new URLSearchParams(location.hash.slice(1)));
  const first = given.user ?? $("users").options[0]?.value;
  if (first) await show(first, given);
}

async function untilReady() {
  for (;;) {
    const answer = await fetch("readyz").catch(() => null);
    const { status = "not to be reached", identity = {} } = (await answer?.json().catch(() => null)) ?? {};
    const parts = Object.entries(identity).map(([name, digest]) => `${name} ${digest}`);
    $("service").textContent = answer?.ok ? parts.join(" · ") : `The service is ${status} …`;
    if (answer?.ok) return;
    await new Promise((resolve) => setTimeout(resolve, 1000));
  }
}

async function listUsers() {
  try {
    const { users } = await ask("GET", `users?k=${SHOWN_USERS}`);
    $("users").replaceChildren(...users.map((id) => new Option(id, id)));
  } catch (error) {
    if (error.status !== 403) throw error; // not shown: one types an id
  }
}

async function show(id, given = {}) {
  [userId, $("user").value] = [id, id];
  timeline.showDraft(null);
  $("trouble").hidden = true;
  try {
    const newest = await showPast();
    if (id !== userId) return; // another was picked meanwhile
    const usual = newest ? Math.min(Date.now(), Date.parse(newest.event_time) + DAY_MS) : Date.now();
    form.set({ event_time: new Date(usual).toISOString().slice(0, 19), ...given });
    $("sent").textContent = "";
    $("send").disabled = false;
    await score();
  } catch (error) {
    userId = null;
    $("send").disabled = true;
    $("score").replaceChildren();
    showUser({ ...STRANGER, text: "" });
    report(error);
  }
}

// The newest transaction of the user, if there is one.
async function showPast() {
  const asked = userId;
  const { user } = await ask("POST", "user", { user_id: asked }).catch((error) => {
    if (error.reason === "unknown_user") return { user: STRANGER };
    throw error;
  });
  if (asked === userId) showUser(user);
  return user.events.at(-1);
}

function showUser({ events, expected, history_length: length, text }) {
  const older = length > events.length ? `, the newest ${events.length} are shown` : "";
  $("summary").textContent = text ?? `${length} transactions${older}.`;
  $("chosen").textContent = "";
  timeline.show(events);
  const rows = events.toReversed().map((event) => [sayTime(event.event_time), sayToken(event.token), event.surprise.toFixed(1)]);
  $("events").replaceChildren(...rows.map((row) => make("tr", {}, row.map((cell) => make("td", {}, cell)))));
  $("expected").replaceChildren(...bars(expected.map(({ token, prob }) => [sayToken(token), sayProb(prob), prob])));
}

function scoreSoon(delay) {
  clearTimeout(scoring.timer);
  scoring.timer = setTimeout(() => score().catch(report), delay);
}

async function score() {
  if (userId === null) return;
  clearTimeout(scoring.timer);
  scoring.abort.abort();
  scoring.abort = new AbortController();
  const event = form.read(userId);
  try {
    const { scores } = await ask("POST", "score?explain=true", event, scoring.abort.signal);
    form.mark();
    timeline.showDraft({ event_time: event.event_time, surprise: scores[0].surprise });
    showScore(scores[0]);
  } catch (error) {
    if (error.name === "AbortError") return; // a later one is under way
    form.mark(error.problems);
    timeline.showDraft(null);
    $("score").replaceChildren(make("p", { className: "warn" }, error.message));
  }
}

function showScore(decision) {
  const facts = [
    ["read as", sayToken(decision.token)],
    ["surprise", `${decision.surprise.toFixed(1)} nats`],
    ["deviation", decision.is_new_user ? "no history to deviate from" : `${signed(decision.surprise_z)} of the user's standard deviations`],
    ["likeness", `${decision.cosine.toFixed(2)} (cosine to what was expected)`],
    ["history", `${decision.history_length} transactions`],
  ];
  const largest = Math.max(1, ...decision.reasons.map((reason) => reason.effect));
  const reasons = decision.reasons.map(({ what, effect }) => [what, signed(effect, 2), effect / largest]);
  $("score").replaceChildren(
    make("p", { className: "result" }, [make("strong", {}, sayProb(decision.probability)), make("span", {}, "probability of fraud")]),
    make("dl", {}, facts.flatMap(([name, text]) => [make("dt", {}, name), make("dd", {}, text)])),
    make("h3", {}, reasons.length ? "What raises it (log-odds)" : "Nothing raises it above the average."),
    make("ul", { className: "bars" }, bars(reasons)),
  );
}

async function send() {
  $("send").disabled = true;
  try {
    const { events } = await ask("POST", "events", form.read(userId));
    form.renew();
    await Promise.all([showPast(), score(), listUsers()]);
    $("sent").textContent = sayStatus(events[0].status);
  } catch (error) {
    form.mark(error.problems);
    $("sent").textContent = error.message;
  } finally {
    $("send").disabled = false;
  }
}

function bars(rows) {
  return rows.map(([text, number, share]) => {
    const item = make("li", {}, [make("span", {}, text), make("span", { className: "number" }, number)]);
    item.style.setProperty("--share", `${100 * Math.min(1, share)}%`);
    return item;
  });
}

// Texts become text nodes: nothing that the service or a user says is read as HTML.
function make(tag, properties, content) {
  const element = Object.assign(document.createElement(tag), properties);
  element.append(...(Array.isArray(content) ? content : [content]));
  return element;
}

function signed(number, decimals = 1) {
  return `${number < 0 ? "−" : "+"}${Math.abs(number).toFixed(decimals)}`;
}

function report(error) {
  $("trouble").textContent = error.message;
  $("trouble").hidden = false;
}
