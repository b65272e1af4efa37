// Keeps the open topic list of Django admin equal to the cluster: asks every 1.5 s whether the topics changed and, if
// so, reads the list again and swaps its rows. Nothing is swapped while the page is hidden.
const INTERVAL_MS = 1500;

function marker() {
  return document.getElementById("ot-topic-list");
}

async function reread() {
  const answer = await fetch(window.location.href, { headers: { "X-Requested-With": "fetch" } });
  if (!answer.ok) return;
  const page = new DOMParser().parseFromString(await answer.text(), "text/html");
  for (const id of ["changelist-form", "ot-topic-list"]) {
    const now = document.getElementById(id);
    const next = page.getElementById(id);
    if (now && next) now.replaceWith(next);
  }
}

async function check() {
  const shown = marker();
  if (!shown || document.hidden) return;
  const answer = await fetch(shown.dataset.revisionUrl);
  const { revision } = await answer.json();
  // An unreachable cluster is an answer too: the list then says so, and says when it is back.
  if ((revision ?? "") !== shown.dataset.revision) await reread();
}

async function run() {
  try {
    await check();
  } catch {
    // The web server itself is away; the next check tells.
  }
  setTimeout(run, INTERVAL_MS);
}

document.addEventListener("DOMContentLoaded", () => {
  if (marker()) setTimeout(run, INTERVAL_MS);
});
