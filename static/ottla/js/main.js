// What every page of the console starts with.

import { startCharts } from "./charts.js";
import { startDialogs } from "./dialogs.js";
import { startFilter } from "./filter.js";
import { startFreshness } from "./freshness.js";
import { startKeyboard } from "./keyboard.js";
import { startLive } from "./live.js";

const element = document.getElementById("ot-live-config");
const config = element ? JSON.parse(element.textContent) : null;

startDialogs();
startKeyboard();
startFreshness(config?.pulse);
startCharts(config?.series ?? {});
if (config) startLive(config);
startFilter();

// On a small screen the open tab may be out of sight.
document.querySelector(".ot-tabs [aria-current]")?.scrollIntoView({ inline: "center", block: "nearest" });
