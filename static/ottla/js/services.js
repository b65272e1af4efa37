// The Services pages: asks for the part that moves every two seconds while somebody looks, and changes what differs.

import { refreshAges } from "./freshness.js";
import { morph } from "./morph.js";

const POLL_MS = 2_000;
const TIMEOUT_MS = 5_000;

const place = document.getElementById("ot-services");
let lost = false;

async function poll() {
  if (!document.hidden) {
    try {
      const response = await fetch(place.dataset.poll, {
        headers: { "X-Requested-With": "fetch" },
        signal: AbortSignal.timeout(TIMEOUT_MS),
      });
      if (response.redirected || response.status === 403) return location.reload();
      if (response.ok) take(await response.text());
      setLost(!response.ok);
    } catch {
      setLost(true);
    }
  }
  setTimeout(poll, POLL_MS);
}

function take(html) {
  const holder = document.createElement("template");
  holder.innerHTML = html;
  const log = document.getElementById("service-log");
  const atEnd = log !== null && log.scrollHeight - log.scrollTop - log.clientHeight < 8;
  const wanted = holder.content.getElementById("ot-services-body");
  if (wanted) morph(document.getElementById("ot-services-body"), wanted, () => {});
  if (atEnd) log.scrollTop = log.scrollHeight;
  refreshAges();
}

// What is shown stays, greyed: it was true when it was asked last.
function setLost(value) {
  if (value === lost) return;
  lost = value;
  place.classList.toggle("is-stale", lost);
  place.querySelector(".ot-age")?.classList.toggle("is-stale", lost);
}

const log = document.getElementById("service-log");
if (log) log.scrollTop = log.scrollHeight;
setTimeout(poll, POLL_MS);
