// Numbers and durations as the server writes them (dashboard/pages/format.py): keep the two in step.

export function threeDigits(value) {
  if (Number.isInteger(value) && Math.abs(value) < 1000) return String(value);
  const magnitude = Math.abs(value);
  const text = value.toFixed(magnitude < 10 ? 2 : magnitude < 100 ? 1 : 0);
  return text.includes(".") ? text.replace(/\.?0+$/, "") : text;
}

function scaled(value, step, units) {
  let index = 0;
  while (Math.abs(value) >= step - 0.5 && index < units.length - 1) {
    value /= step;
    index += 1;
  }
  return threeDigits(value) + units[index];
}

const COUNT_UNITS = ["", " k", " M", " G", " T"];
const BYTE_UNITS = [" B", " KiB", " MiB", " GiB", " TiB", " PiB"];

export const count = (value) =>
  Math.abs(value) < 10_000 && Number.isInteger(value) ? value.toLocaleString("en-US") : scaled(value, 1000, COUNT_UNITS);
export const size = (value) => scaled(value, 1024, BYTE_UNITS);
export const rate = (value) => `${Math.abs(value) < 1000 ? threeDigits(value) : scaled(value, 1000, COUNT_UNITS)}/s`;
export const byteRate = (value) => `${size(value)}/s`;

export function duration(seconds) {
  if (seconds < 1) return seconds > 0 ? `${Math.round(seconds * 1000)} ms` : "0 s";
  if (seconds < 120) return `${Math.floor(seconds)} s`;
  if (seconds < 7200) return `${Math.floor(seconds / 60)} min`;
  if (seconds < 172_800) return `${Math.floor(seconds / 3600)} h`;
  return `${Math.floor(seconds / 86_400).toLocaleString("en-US")} d`;
}

export function ago(atMs, nowMs) {
  const seconds = (nowMs - atMs) / 1000;
  if (seconds > -1 && seconds < 2) return "just now";
  return seconds > 0 ? `${duration(seconds)} ago` : `in ${duration(-seconds)}`;
}

export const clock = (atMs) => new Date(atMs).toLocaleTimeString([], { hour12: false });

// How a chart writes a value, and the step its axis is divided by.
export const KINDS = {
  count: { format: count, step: 1000 },
  rate: { format: rate, step: 1000 },
  byte_rate: { format: byteRate, step: 1024 },
  size: { format: size, step: 1024 },
  seconds: { format: duration, step: 60 },
};
