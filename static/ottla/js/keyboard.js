// Keys: "/" filters, "g" and a letter goes, "?" helps. Dialogs and the palette look after their own keys.

import { openDialog } from "./dialogs.js";

const PLACES = { o: "/", t: "/topics/", g: "/groups/", c: "/clients/", x: "/transactions/", b: "/brokers/", j: "/jobs/", s: "/services/" };
const SECOND_KEY_MS = 1_200;

const isTyping = (element) =>
  element instanceof HTMLElement && (element.isContentEditable || /^(INPUT|TEXTAREA|SELECT)$/.test(element.tagName));

export function startKeyboard() {
  let waitingSince = 0;

  document.addEventListener(
    "keydown",
    (event) => {
      if ((event.ctrlKey || event.metaKey) && event.key.toLowerCase() === "k") {
        // The admin shell listens for the same keys; ours knows topics and groups.
        event.preventDefault();
        event.stopImmediatePropagation();
        openDialog("palette");
        return;
      }
      if (event.ctrlKey || event.metaKey || event.altKey || document.querySelector("dialog[open]")) return;
      if (isTyping(event.target)) {
        if (event.key === "Escape") event.target.blur();
        return;
      }
      if (waitingSince && Date.now() - waitingSince < SECOND_KEY_MS) {
        waitingSince = 0;
        const place = PLACES[event.key];
        if (place && document.querySelector(`#nav-sidebar a[href="${place}"]`)) location.assign(place);
        return;
      }
      if (event.key === "g") waitingSince = Date.now();
      else if (event.key === "/") focusFilter(event);
      else if (event.key === "?") openDialog("help");
    },
    true,
  );
}

function focusFilter(event) {
  const field = document.querySelector("[data-filter] input[type=search]");
  if (!field) return;
  event.preventDefault();
  field.focus();
  field.select();
}
