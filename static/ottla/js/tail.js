// The live tail: a socket of its own, a bounded list, text nodes only. It follows while the reader is at the bottom
// and asks the server to stop reading while nobody looks.

import { clock } from "./format.js";

const RETRY_MS_MIN = 500;
const RETRY_MS_MAX = 10_000;
const HIDDEN_MS = 3_000;
const BOTTOM_PX = 8;
const CLOSE_LOGIN = 4401;
const CLOSE_TOO_MANY = 4429;
const KIND_WORDS = { null: "null", empty: "empty" };

const root = document.querySelector("[data-tail]");
const config = JSON.parse(document.getElementById("ot-tail-config").textContent);
const part = (name) => root.querySelector(`[data-tail-${name}]`);
const scroll = part("scroll");
const rows = part("rows");
const keepChooser = document.querySelector("[data-keep-count]");

let keep = config.keep;
let socket = null;
let subscription = 0;
let retryMs = RETRY_MS_MIN;
let paused = false;
let hidden = false;
let hiding = 0;
let arrived = 0;
let skipped = 0;
let missed = 0;
let stopped = "";

function connect() {
  setState("connecting", "connecting");
  const scheme = location.protocol === "https:" ? "wss" : "ws";
  socket = new WebSocket(`${scheme}://${location.host}/live/tail/`);
  socket.onopen = () => {
    subscription += 1;
    const { topic, partition, filter, protocol } = config;
    say({ type: "start", id: subscription, topic, partition, filter, protocol });
    if (paused || hidden) say({ type: "pause" });
  };
  socket.onmessage = (event) => take(JSON.parse(event.data));
  socket.onclose = (event) => {
    socket = null;
    if (event.code === CLOSE_LOGIN) setState("stale", (stopped = "signed out"));
    else if (event.code === CLOSE_TOO_MANY) setState("stale", (stopped = "too many tails are open; close another one"));
    if (stopped) return;
    setState("connecting", "reconnecting");
    setTimeout(connect, retryMs * (0.5 + Math.random()));
    retryMs = Math.min(retryMs * 2, RETRY_MS_MAX);
  };
}

function say(message) {
  if (socket?.readyState === WebSocket.OPEN) socket.send(JSON.stringify(message));
}

function take(message) {
  if (message.id !== subscription) return;
  switch (message.type) {
    case "started":
      retryMs = RETRY_MS_MIN;
      showState();
      break;
    case "records":
      add(message.records, message.skipped);
      say({ type: "ack", batch: message.batch });
      break;
    case "trouble":
      showTrouble(message.text);
      break;
    case "error":
      stopped = message.reason;
      showTrouble(message.reason);
      setState("stale", "stopped");
      socket?.close();
      break;
  }
}

function add(records, left) {
  const follow = isAtBottom();
  const fragment = document.createDocumentFragment();
  if (left > 0) fragment.append(skippedRow(left));
  for (const record of records) fragment.append(recordRow(record));
  rows.append(fragment);
  trim();
  arrived += records.length;
  skipped += left;
  if (follow) scroll.scrollTop = scroll.scrollHeight;
  else missed += records.length;
  part("empty").hidden = rows.children.length > 0;
  showCounts();
  showJump();
}

function trim() {
  while (rows.children.length > keep) rows.firstElementChild.remove();
}

function isAtBottom() {
  return scroll.scrollHeight - scroll.scrollTop - scroll.clientHeight <= BOTTOM_PX;
}

function recordRow(record) {
  const row = document.createElement("tr");
  const time = cell(row, "td", "ot-nowrap", "Time");
  const when = new Date(record.time);
  time.textContent = record.time < 0 ? "no time" : `${clock(record.time)}.${String(record.time % 1000).padStart(3, "0")}`;
  if (record.time >= 0) time.title = when.toISOString();
  const partition = document.createElement("span");
  partition.className = "ot-partition";
  partition.textContent = record.partition;
  cell(row, "td", "", "Partition").append(partition);
  const link = document.createElement("a");
  link.className = "ot-rowlink";
  link.href = `${config.messages}${record.partition}/${record.offset}/`;
  link.textContent = record.offset;
  cell(row, "th", "ot-num", "").append(link);
  payload(cell(row, "td", "ot-mono ot-cellkey", ""), record.key, record.keyKind, "no key");
  payload(cell(row, "td", "ot-mono ot-cellvalue", ""), record.value, record.valueKind, "tombstone");
  return row;
}

function cell(row, name, css, label) {
  const element = document.createElement(name);
  element.className = css;
  if (label) element.dataset.label = label;
  row.append(element);
  return element;
}

function payload(target, text, kind, nothing) {
  const inner = document.createElement("div");
  if (kind in KIND_WORDS) {
    const word = document.createElement("span");
    word.className = "ot-muted";
    word.textContent = kind === "null" ? nothing : KIND_WORDS[kind];
    inner.append(word);
  } else {
    if (kind === "binary") {
      const tag = document.createElement("span");
      tag.className = "ot-tag";
      tag.textContent = "hex";
      inner.append(tag, " ");
    }
    inner.append(text);
  }
  target.append(inner);
}

function skippedRow(count) {
  const row = document.createElement("tr");
  row.className = "ot-skipped";
  const only = document.createElement("td");
  only.colSpan = 5;
  only.textContent = `${count.toLocaleString("en-US")} skipped: more arrives than can be shown`;
  row.append(only);
  return row;
}

function showCounts() {
  const numbers = [`${rows.querySelectorAll("tr:not(.ot-skipped)").length} kept of ${arrived.toLocaleString("en-US")}`];
  if (skipped) numbers.push(`${skipped.toLocaleString("en-US")} skipped`);
  part("counts").textContent = numbers.join(", ");
}

function showJump() {
  const jump = part("jump");
  if (isAtBottom()) missed = 0;
  jump.hidden = missed === 0;
  jump.lastElementChild.textContent = `${missed.toLocaleString("en-US")} newer`;
}

function showTrouble(text) {
  const trouble = part("trouble");
  trouble.hidden = !text;
  trouble.textContent = text;
}

function setState(state, words) {
  const element = part("state");
  element.dataset.state = state;
  const text = part("words");
  if (text.textContent !== words) text.textContent = words;
}

function showState() {
  if (stopped || socket?.readyState !== WebSocket.OPEN) return;
  if (paused) setState("paused", "paused, nothing is read");
  else setState("live", "following the end");
}

function setPaused(now) {
  paused = now;
  const button = part("pause");
  button.setAttribute("aria-pressed", String(paused));
  button.firstElementChild.textContent = paused ? "play_arrow" : "pause";
  button.lastElementChild.textContent = paused ? "Resume" : "Pause";
  say({ type: paused || hidden ? "pause" : "resume" });
  showState();
}

part("pause").addEventListener("click", () => setPaused(!paused));
part("clear").addEventListener("click", () => {
  rows.replaceChildren();
  missed = arrived = skipped = 0;
  part("empty").hidden = false;
  part("counts").textContent = "";
  showJump();
});
part("jump").addEventListener("click", () => {
  scroll.scrollTop = scroll.scrollHeight;
  scroll.focus();
  showJump();
});
scroll.addEventListener("scroll", showJump, { passive: true });
keepChooser?.addEventListener("change", () => {
  keep = Number(keepChooser.value);
  trim();
  showCounts();
  const address = new URL(location.href);
  address.searchParams.set("keep", keep);
  history.replaceState(null, "", address);
});
document.addEventListener("visibilitychange", () => {
  clearTimeout(hiding);
  if (document.hidden) {
    hiding = setTimeout(() => {
      hidden = true;
      say({ type: "pause" });
    }, HIDDEN_MS);
  } else if (hidden) {
    hidden = false;
    if (!paused) say({ type: "resume" });
  }
});
window.addEventListener("pagehide", () => {
  stopped = "left";
  socket?.close();
});
window.addEventListener("pageshow", (event) => {
  if (!event.persisted) return;
  stopped = "";
  connect();
});
connect();
