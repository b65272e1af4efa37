// The help and the command palette: native dialogs, so that focus and Esc behave.

let items = null;
let shown = [];
let chosen = 0;
const RESULTS_MAX = 50;

export function openDialog(name) {
  const dialog = document.getElementById(`ot-${name}`);
  if (!dialog || dialog.open) return;
  if (name === "help") fillHelp();
  dialog.showModal();
  if (name === "palette") openPalette(dialog);
}

export function startDialogs() {
  for (const button of document.querySelectorAll("[data-open]")) {
    button.addEventListener("click", () => openDialog(button.dataset.open));
  }
  for (const dialog of document.querySelectorAll("dialog.ot-dialog")) {
    dialog.addEventListener("click", (event) => {
      if (event.target === dialog) dialog.close();
    });
  }
  const input = document.getElementById("ot-palette-input");
  input?.addEventListener("input", () => showResults(input.value));
  input?.addEventListener("keydown", steer);
}

// Each page explains its own terms in a template element.
function fillHelp() {
  const terms = document.getElementById("ot-terms");
  document.getElementById("ot-help-terms").replaceChildren(...(terms ? [terms.content.cloneNode(true)] : []));
}

async function openPalette(dialog) {
  const input = document.getElementById("ot-palette-input");
  input.value = "";
  input.focus();
  showResults("");
  try {
    const answer = await fetch(dialog.dataset.url, { headers: { Accept: "application/json" } });
    if (!answer.ok) throw new Error(`the server answered ${answer.status}`);
    items = (await answer.json()).items;
    showResults(input.value);
  } catch (error) {
    say(`Cannot search: ${error.message}.`);
  }
}

// Every word must occur; a match at the start of the name or of a part of it comes first.
function score(title, words) {
  const text = title.toLowerCase();
  let total = 0;
  for (const word of words) {
    const at = text.indexOf(word);
    if (at < 0) return -1;
    total += at === 0 ? 0 : /[\s._/-]/.test(text[at - 1]) ? 1 : 2;
  }
  return total + text.length / 1000;
}

function showResults(query) {
  if (!items) {
    say("Looking…");
    return;
  }
  const words = query.toLowerCase().split(/\s+/).filter(Boolean);
  shown = items
    .map((item) => ({ item, rank: score(item.title, words) }))
    .filter(({ rank }) => rank >= 0)
    .sort((a, b) => (words.length ? a.rank - b.rank : 0))
    .slice(0, RESULTS_MAX)
    .map(({ item }) => item);
  if (!shown.length) {
    say(`Nothing is called “${query}”.`);
    return;
  }
  const list = document.getElementById("ot-palette-list");
  list.replaceChildren(...shown.map(entry));
  choose(0);
}

function entry(item, index) {
  const row = document.createElement("li");
  row.id = `ot-palette-${index}`;
  row.setAttribute("role", "option");
  const link = document.createElement("a");
  link.href = item.url;
  link.tabIndex = -1;
  const icon = document.createElement("span");
  icon.className = "material-symbols-outlined ot-icon";
  icon.setAttribute("aria-hidden", "true");
  icon.textContent = item.icon;
  const title = document.createElement("span");
  title.textContent = item.title;
  const kind = document.createElement("small");
  kind.textContent = item.kind;
  link.append(icon, title, kind);
  row.append(link);
  row.addEventListener("pointermove", () => choose(index));
  return row;
}

function say(text) {
  shown = [];
  const row = document.createElement("li");
  row.className = "ot-palette__none";
  row.textContent = text;
  document.getElementById("ot-palette-list").replaceChildren(row);
}

function choose(index) {
  chosen = Math.max(0, Math.min(shown.length - 1, index));
  const rows = document.getElementById("ot-palette-list").children;
  for (const [at, row] of [...rows].entries()) {
    row.setAttribute("aria-selected", String(at === chosen));
    if (at === chosen) row.scrollIntoView({ block: "nearest" });
  }
  document.getElementById("ot-palette-input").setAttribute("aria-activedescendant", `ot-palette-${chosen}`);
}

function steer(event) {
  if (event.key === "ArrowDown") choose(chosen + 1);
  else if (event.key === "ArrowUp") choose(chosen - 1);
  else if (event.key === "Enter" && shown[chosen]) location.assign(shown[chosen].url);
  else return;
  event.preventDefault();
}
