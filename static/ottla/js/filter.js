// Filtering while typing: the address and the live subscription follow the field; the table comes back as pushed
// targets. Without a connection, or with Enter, the form is simply sent.

import { resubscribe } from "./live.js";

const TYPING_MS = 250;

export function startFilter() {
  const form = document.querySelector("form[data-filter=live]");
  const field = form?.querySelector("input[type=search]");
  if (!field) return;
  let waiting = 0;
  let sent = field.value;
  field.addEventListener("input", () => {
    clearTimeout(waiting);
    waiting = setTimeout(() => {
      if (field.value === sent) return;
      const query = withFilter(location.search, field.value);
      if (!resubscribe(query)) return;
      sent = field.value;
      history.replaceState(null, "", query ? `?${query}` : location.pathname);
      for (const link of document.querySelectorAll("a.ot-sort, a.ot-chip")) {
        link.search = withFilter(link.search, field.value);
      }
    }, TYPING_MS);
  });
}

// Another filter starts at the first page.
function withFilter(search, filter) {
  const query = new URLSearchParams(search);
  query.delete("page");
  if (filter.trim()) query.set("q", filter);
  else query.delete("q");
  return query.toString();
}
