// How old things are: the badge in the top bar, the badge of every card, relative times, and the age of a number on
// hover. Knows only the last pulse; a silent server therefore shows by itself.

import { ago, clock, duration } from "./format.js";

const STALE_MS = 5_000;
const MOMENT = new Intl.DateTimeFormat("sv-SE", {
  year: "numeric", month: "2-digit", day: "2-digit", hour: "2-digit", minute: "2-digit", second: "2-digit",
  fractionalSecondDigits: 3, timeZoneName: "short",
});
const MOMENTS_MAX = 2_000;
const moments = new Map();
const pulse = { madeAt: 0, sampled: {}, offline: new Set(), skew: 0 };
let connection = "connecting";

export const now = () => Date.now() - pulse.skew;

export function takePulse(message) {
  pulse.madeAt = message.made_at;
  pulse.sampled = message.sampled;
  pulse.offline = new Set(message.offline.map(String));
  pulse.skew = Date.now() - message.now;
}

export function setConnection(state) {
  connection = state;
  tick();
}

// When a broker's numbers were taken; "all" is the oldest of all brokers, "answering" of those that answer: what is told of the
// whole cluster by whoever is there is not stale because one is not.
function sampledAt(source) {
  if (source === "all" || source === "answering") {
    const told = Object.entries(pulse.sampled).filter(([id, at]) => at > 0 && (source === "all" || !pulse.offline.has(id)));
    return told.length ? Math.min(...told.map(([, at]) => at)) : source === "all" ? 0 : sampledAt("all");
  }
  return pulse.sampled[source] ?? 0;
}

function isStale(source) {
  const at = sampledAt(source);
  const offline = source === "all" ? pulse.offline.size > 0 : pulse.offline.has(source);  // never of "answering"
  return offline || at <= 0 || now() - at > STALE_MS;
}

function tick() {
  if (document.hidden) return;
  const current = now();
  tickBadge(current);
  for (const element of document.querySelectorAll("[data-age]")) tickAge(element, current);
  for (const row of document.querySelectorAll("[data-source-row]")) {
    row.classList.toggle("is-stale", row.dataset.sourceRow !== "-1" && isStale(row.dataset.sourceRow));
  }
  for (const element of document.querySelectorAll("time.ot-time")) tickTime(element, current);
  for (const element of document.querySelectorAll("[data-behind]")) {
    const source = element.dataset.source;
    const at = isStale(source) ? sampledAt(source) : current;
    write(element, duration(Math.max(0, (at - Number(element.dataset.behind)) / 1000)));
  }
}

// The server writes times in its own zone; here they are the reader's.
function tickTime(element, current) {
  const { ago: past, since, clock: moment } = element.dataset;
  const at = Number(past ?? since ?? moment);
  if (!at) return;
  if (past) write(element, ago(at, current));
  else if (since) write(element, duration(Math.max(0, (current - at) / 1000)));
  else write(element, clock(at));
  const title = since ? `since ${localMoment(at)}` : localMoment(at);
  if (element.title !== title) element.title = title;
}

function localMoment(at) {
  const known = moments.get(at) ?? MOMENT.format(at);
  if (moments.size > MOMENTS_MAX) moments.clear();
  moments.set(at, known);
  return known;
}

function write(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

function tickBadge(current) {
  const badge = document.getElementById("ot-live");
  if (!badge) return;
  let state = "live";
  let text = "live";
  const age = current - pulse.madeAt;
  if (connection === "signed-out") [state, text] = ["stale", "signed out"];
  else if (!pulse.madeAt) [state, text] = ["connecting", connection === "live" ? "waiting for the collector" : "connecting"];
  else if (age > STALE_MS) [state, text] = ["stale", `stale ${duration(age / 1000)}, since ${clock(pulse.madeAt)}`];
  else if (connection !== "live") [state, text] = ["connecting", connection];
  else if (pulse.offline.size && pulse.offline.size >= Object.keys(pulse.sampled).length) {
    const at = sampledAt("all");
    [state, text] = ["stale", at ? `stale ${duration((current - at) / 1000)}, since ${clock(at)}` : "no broker answers"];
  } else if (pulse.offline.size) [state, text] = ["partial", "partly stale"];
  else text = `live, ${duration(Math.max(0, age) / 1000)}`;
  if (badge.dataset.state !== state) {
    badge.dataset.state = state;
    announce(state, text);
  }
  write(badge.querySelector(".ot-live__text"), text);
}

// Screen readers hear of changes, not of every half second.
function announce(state, text) {
  const region = document.getElementById("ot-live-said");
  if (region) region.textContent = state === "live" ? "The numbers are live." : `The numbers are ${text}.`;
}

function tickAge(element, current) {
  const source = element.dataset.age;
  const at = sampledAt(source);
  const stale = at > 0 && isStale(source);
  element.hidden = at <= 0;
  element.classList.toggle("is-stale", stale);
  element.closest(".ot-card, .ot-tile")?.classList.toggle("is-stale", stale);
  if (at <= 0) return;
  write(element, stale ? `stale since ${clock(at)}` : duration(Math.max(0, current - at) / 1000));
  const title = `Sampled at ${clock(at)}`;
  if (element.title !== title) element.title = title;
}

// The age of one number, when somebody asks for it by pointing.
function explain(event) {
  const element = event.target.closest?.(".ot-n[data-source]");
  if (!element) return;
  element.dataset.exact ??= element.title;
  const at = sampledAt(element.dataset.source);
  if (at <= 0) return;
  const age = `sampled ${ago(at, now())} by broker ${element.dataset.source}`;
  element.title = element.dataset.exact ? `${element.dataset.exact} · ${age}` : age;
}

export function startFreshness(initial) {
  if (initial) takePulse(initial);
  document.addEventListener("pointerover", explain);
  document.addEventListener("visibilitychange", tick);
  setInterval(tick, 500);
  tick();
}

export { tick as refreshAges };
