// Parts of a page that are asked for again every two seconds while somebody looks: the page's own address with a header
// answers with the part alone, and only what differs is changed.

import { refreshAges } from "./freshness.js";
import { morph } from "./morph.js";

const POLL_MS = 2_000;
const TIMEOUT_MS = 5_000;

for (const place of document.querySelectorAll("[data-poll-part]")) setTimeout(() => poll(place), POLL_MS);

async function poll(place) {
  if (!document.hidden) {
    try {
      const answer = await fetch(place.dataset.pollPart, {
        headers: { "X-Ottla-Poll": "1" },
        signal: AbortSignal.timeout(TIMEOUT_MS),
      });
      // Signed out: the page's own address leads to the login.
      if (answer.redirected) return location.reload();
      if (answer.ok) take(place, await answer.text());
      place.classList.toggle("is-stale", !answer.ok);
    } catch {
      place.classList.add("is-stale");
    }
  }
  setTimeout(() => poll(place), POLL_MS);
}

function take(place, html) {
  const holder = document.createElement("template");
  holder.innerHTML = html;
  const wanted = holder.content.firstElementChild;
  const shown = place.firstElementChild;
  // What somebody is typing into stays as it is.
  const typing = shown.contains(document.activeElement) && document.activeElement.matches("input, textarea, select");
  if (wanted && !typing) morph(shown, wanted, () => {});
  refreshAges();
}
