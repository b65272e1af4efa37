// The live connection of this page: subscribe, snapshot, deltas. The protocol is described in docs/live.md.

import { addPoints, setSeries } from "./charts.js";
import { refreshAges, setConnection, takePulse } from "./freshness.js";
import { morph } from "./morph.js";

const RETRY_MS_MIN = 500;
const RETRY_MS_MAX = 10_000;
const SILENCE_MS = 15_000; // Not even a pulse for so long: the connection is dead, whatever the socket says.
const HIDDEN_MS = 10_000; // A tab that is only passed through keeps its subscription.
const CLOSE_LOGIN = 4401;
const TINT_MS = 600;

const calm = window.matchMedia("(prefers-reduced-motion: reduce)");

let changeQuery = () => false;

// The same page with another query string. False when there is no connection that could answer.
export const resubscribe = (query) => changeQuery(query);

export function startLive(config) {
  let socket = null;
  let retryMs = RETRY_MS_MIN;
  let subscription = 0;
  let batch = 0;
  let silence = 0;
  let hiding = 0;

  function connect() {
    setConnection(retryMs > RETRY_MS_MIN ? "reconnecting" : "connecting");
    const scheme = location.protocol === "https:" ? "wss" : "ws";
    socket = new WebSocket(`${scheme}://${location.host}/live/`);
    socket.onopen = () => {
      if (!document.hidden) subscribe();
    };
    socket.onmessage = (event) => take(JSON.parse(event.data));
    socket.onclose = (event) => {
      clearTimeout(silence);
      socket = null;
      if (event.code === CLOSE_LOGIN) {
        setConnection("signed-out");
        return;
      }
      setConnection("reconnecting");
      setTimeout(connect, retryMs * (0.5 + Math.random()));
      retryMs = Math.min(retryMs * 2, RETRY_MS_MAX);
    };
  }

  function say(message) {
    if (socket?.readyState === WebSocket.OPEN) socket.send(JSON.stringify(message));
  }

  function subscribe() {
    subscription += 1;
    batch = 0;
    const { page, name, query, protocol } = config;
    say({ type: "subscribe", id: subscription, page, name, query, protocol });
    listen();
  }

  changeQuery = (query) => {
    if (socket?.readyState !== WebSocket.OPEN) return false;
    config.query = query;
    subscribe();
    return true;
  };

  function listen() {
    clearTimeout(silence);
    silence = setTimeout(() => socket?.close(), SILENCE_MS);
  }

  function take(message) {
    if (message.id !== subscription) return; // A late answer to an earlier subscription.
    listen();
    switch (message.type) {
      case "snapshot":
      case "delta":
        if (message.type === "delta" && message.batch !== batch + 1) {
          say({ type: "resync" });
          return;
        }
        batch = message.batch;
        retryMs = RETRY_MS_MIN;
        apply(message);
        say({ type: "ack", batch });
        break;
      case "reload":
        location.reload();
        break;
      case "error":
        setConnection(message.reason);
        break;
    }
  }

  function apply(message) {
    takePulse(message.pulse);
    for (const { target, html } of message.fragments) swap(target, html, message.type === "delta");
    for (const [name, points] of Object.entries(message.series)) setSeries(name, points);
    for (const [name, points] of Object.entries(message.points)) addPoints(name, points);
    setConnection("live");
    refreshAges();
    document.dispatchEvent(new CustomEvent("ottla:live", { detail: message }));
  }

  document.addEventListener("visibilitychange", () => {
    clearTimeout(hiding);
    if (document.hidden) {
      hiding = setTimeout(() => {
        say({ type: "unsubscribe" });
        clearTimeout(silence);
      }, HIDDEN_MS);
    } else if (socket?.readyState === WebSocket.OPEN) {
      subscribe();
    } else if (!socket) {
      retryMs = RETRY_MS_MIN;
    }
  });
  window.addEventListener("pagehide", () => socket?.close());
  window.addEventListener("pageshow", (event) => {
    if (event.persisted && !socket) connect();
  });
  connect();
}

// Table rows can only be parsed inside a table, hence the template element.
function swap(target, html, tinted) {
  const element = document.getElementById(target);
  if (!element) return;
  const template = document.createElement("template");
  template.innerHTML = html.trim();
  const wanted = template.content.firstElementChild;
  if (!wanted) return;
  const changed = new Set();
  morph(element, wanted, (parent) => changed.add(tintable(parent)));
  if (tinted && !calm.matches) changed.forEach(tint);
}

function tintable(element) {
  if (!element || element.closest("time")) return null;
  return element.closest("td, [data-tint]");
}

function tint(element) {
  element?.animate(
    [{ backgroundColor: "var(--ot-tint)" }, { backgroundColor: "transparent" }],
    { duration: TINT_MS, easing: "ease-out" },
  );
}
