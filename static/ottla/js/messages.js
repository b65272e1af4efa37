// The message browser without which it works too: opening a record in place, copying, submitting on a choice, and
// the browser's own time zone in the list of zones.

const INLINE = { "X-Ottla-Inline": "1" };

for (const button of document.querySelectorAll("[data-expand]")) {
  button.hidden = false;
  button.addEventListener("click", () => toggle(button));
}
if (navigator.clipboard) revealCopy(document);
document.addEventListener("click", (event) => {
  const button = event.target.closest?.("[data-copy]");
  if (button) copy(button);
});
for (const form of document.querySelectorAll("[data-browse]")) {
  form.addEventListener("change", (event) => submitOn(form, event.target));
  // Empty fields make addresses longer and say nothing.
  form.addEventListener("formdata", (event) => {
    for (const [name, value] of [...event.formData]) if (value === "") event.formData.delete(name);
    const from = event.formData.get("from");
    if (from !== "offset") event.formData.delete("offset");
    if (from !== "time") for (const name of ["time", "zone"]) event.formData.delete(name);
  });
}
for (const select of document.querySelectorAll("[data-zones]")) addOwnZone(select);
for (const form of document.querySelectorAll("[data-produce]")) startProduce(form);

function revealCopy(root) {
  for (const button of root.querySelectorAll("[data-copy]")) button.hidden = false;
}

// The record opens in a row of its own below; the same address as the link, without the page around it.
async function toggle(button) {
  const row = button.closest("tr");
  const id = button.getAttribute("aria-controls");
  const open = document.getElementById(id);
  if (open) {
    open.remove();
    button.setAttribute("aria-expanded", "false");
    return;
  }
  button.setAttribute("aria-expanded", "true");
  const more = document.createElement("tr");
  more.id = id;
  more.className = "ot-more";
  const cell = document.createElement("td");
  cell.colSpan = row.children.length;
  cell.textContent = "Reading…";
  more.append(cell);
  row.after(more);
  try {
    const answer = await fetch(button.dataset.expand, { headers: INLINE });
    const page = new DOMParser().parseFromString(await answer.text(), "text/html");
    const record = page.querySelector(".ot-record, .ot-empty");
    if (!record) throw new Error(`the server answered ${answer.status}`);
    // Scripts that come from a parser do not run: the copies inside stay data.
    cell.replaceChildren(...page.body.childNodes);
    if (navigator.clipboard) revealCopy(cell);
  } catch (error) {
    cell.textContent = `The record cannot be read now: ${error.message}.`;
  }
}

async function copy(button) {
  const source = document.getElementById(button.dataset.copy);
  if (!source) return;
  try {
    await navigator.clipboard.writeText(JSON.parse(source.textContent));
    show(button, "check", "Copied");
  } catch (error) {
    show(button, "error", `Cannot copy: ${error.message}`);
  }
}

function show(button, icon, words) {
  const symbol = button.querySelector(".ot-icon");
  const was = button.dataset.was ?? symbol.textContent;
  button.dataset.was = was;
  symbol.textContent = icon;
  button.title = words;
  setTimeout(() => {
    symbol.textContent = was;
    button.title = "Copy";
  }, 1_500);
}

function submitOn(form, field) {
  const values = (field.dataset?.submit ?? "").split(" ");
  if (values.includes("*") || values.includes(field.value)) form.requestSubmit();
  else if (field.name === "from") form.querySelector(`[name="${field.value}"]`)?.focus();
}

function addOwnZone(select) {
  const own = Intl.DateTimeFormat().resolvedOptions().timeZone;
  if (own && ![...select.options].some((option) => option.value === own)) select.add(new Option(own, own));
}

// Only the fields that mean something for the chosen format can be filled in.
function startProduce(form) {
  const follow = (chooser, field, ...off) => {
    const update = () => {
      field.disabled = off.includes(chooser.value);
      field.closest(".ot-field").classList.toggle("is-off", field.disabled);
    };
    chooser.addEventListener("change", update);
    update();
  };
  follow(form.elements.key_format, form.elements.key, "none", "empty");
  follow(form.elements.value_format, form.elements.value, "null");
}
