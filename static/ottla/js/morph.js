// Turns an element into another one by changing only what differs, so that focus, selection, scroll position and
// running animations of everything else survive. Elements with an id are matched by it, the rest by position.
//
// data-keep: script owns the element; nothing of it is touched.
// data-ago, data-since, data-behind, data-clock: freshness.js writes their text; it is taken over only when the moment changed.

const COUNTED = ["data-ago", "data-since", "data-behind", "data-clock"];
const OWNED_ATTRIBUTES = new Set(["open", "hidden"]);

export function morph(from, to, onChange) {
  if (from.nodeType !== to.nodeType || from.nodeName !== to.nodeName) {
    from.replaceWith(to);
    return;
  }
  if (from.nodeType === Node.TEXT_NODE) {
    if (from.nodeValue !== to.nodeValue) {
      from.nodeValue = to.nodeValue;
      onChange(from.parentElement);
    }
    return;
  }
  if (from.nodeType !== Node.ELEMENT_NODE || from.hasAttribute("data-keep") || from.isEqualNode(to)) return;
  const counted = COUNTED.find((name) => to.hasAttribute(name));
  const moved = counted && from.getAttribute(counted) !== to.getAttribute(counted);
  morphAttributes(from, to);
  if (counted) {
    if (moved) from.textContent = to.textContent;
    return;
  }
  morphChildren(from, to, onChange);
}

function morphAttributes(from, to) {
  for (const { name, value } of [...to.attributes]) {
    if (!OWNED_ATTRIBUTES.has(name) && from.getAttribute(name) !== value) from.setAttribute(name, value);
  }
  for (const { name } of [...from.attributes]) {
    if (!OWNED_ATTRIBUTES.has(name) && !to.hasAttribute(name)) from.removeAttribute(name);
  }
}

function morphChildren(from, to, onChange) {
  const byId = new Map();
  for (const child of from.children) if (child.id) byId.set(child.id, child);
  let current = from.firstChild;
  for (const wanted of [...to.childNodes]) {
    const known = wanted.id ? byId.get(wanted.id) : undefined;
    if (known) {
      byId.delete(wanted.id);
      if (known === current) current = current.nextSibling;
      else from.insertBefore(known, current);
      morph(known, wanted, onChange);
    } else if (current && !current.id && !wanted.id && current.nodeName === wanted.nodeName) {
      const next = current.nextSibling;
      morph(current, wanted, onChange);
      current = next;
    } else {
      from.insertBefore(wanted, current);
    }
  }
  while (current) {
    const next = current.nextSibling;
    current.remove();
    current = next;
  }
}
