"use strict";
// State comes as server-sent events over fetch, because EventSource cannot send the key. Text from the cluster is only
// ever set as text.
const KEPT_POINTS = 120, FEWEST_POINTS = 30, EVENTS_SHOWN = 60, SILENT_MS = 6000, DEAD_MS = 5000, ERROR_SHOWN_MS = 3600000;
const USAGE_EVERY_MS = 5000, TENANTS_SHOWN = 10;
const KEY = "pllm-admin-key", ACTOR = "pllm-actor";
const STATES = {
  closed: ["closed", "good"], half_open: ["half open", "warn"], open: ["open", "bad"],
  forced_open: ["forced open", "bad"], disabled: ["disabled", "idle"],
};
const ACTIONS = {
  drain: ["Drain", "It takes no new requests; those it has are finished. Close it to let it serve again."],
  open: ["Open", "Its breaker opens: no requests, as if it had failed."],
  close: ["Close", "Its breaker closes: full traffic at once, and its trips are forgotten."],
  reset: ["Reset", "Its breaker closes and all that was learned of it is forgotten: latencies, limit, rate limit."],
};
const byId = id => document.getElementById(id);
const models = new Map(), rows = new Map(), cards = new Map(), histories = new Map(), seen = new Set();
let current = {}, lastHeard = 0, stop = null, usageAt = 0;

function make(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  element.append(...children);
  return element;
}
function draw(tag, attributes) {
  const element = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  return element;
}
function say(element, text) {
  if (element.textContent !== text) element.textContent = text;
}
function tone(element, name) {
  if (element.dataset.tone !== name) element.dataset.tone = name;
}
const whole = number => Math.round(number).toLocaleString("en");
function time(ms) {
  if (!ms) return "–";
  if (ms < 1000) return `${Math.round(ms)}\u00a0ms`;
  return ms < 10000 ? `${(ms / 1000).toFixed(1)}\u00a0s` : span(ms);
}
function span(ms) {
  const seconds = Math.round(ms / 1000);
  if (seconds < 90) return `${seconds}\u00a0s`;
  if (seconds < 5400) return `${Math.round(seconds / 60)}\u00a0min`;
  return seconds < 129600 ? `${Math.round(seconds / 3600)}\u00a0h` : `${Math.round(seconds / 86400)}\u00a0days`;
}
const percent = share => `${(100 * share).toFixed(share > 0 && share < 0.1 ? 1 : 0)} %`;

// -- the cluster at a glance

const TILES = ["Requests", "Failures", "Active", "Healthy", "Load shedding", "Replicas", "State store"];
const tiles = new Map(TILES.map(name => {
  const value = make("dd"), note = make("small");
  const tile = make("dl", { class: "tile", "data-tone": "idle" }, make("dt", {}, name), value, note);
  byId("summary").append(tile);
  return [name, { tile, value, note }];
}));
function showTile(name, value, note, kind) {
  const tile = tiles.get(name);
  say(tile.value, value);
  say(tile.note, note);
  tone(tile.tile, kind);
}
const isUsable = row => row.state === "closed" || row.state === "half_open";

function showSummary() {
  const all = [...rows.values()], usable = all.filter(isUsable).length;
  const replicas = current.replicas || [], alive = replicas.filter(each => each.silent_ms <= DEAD_MS).length;
  const rate = current.requests ? current.failures / current.requests : 0;
  const reasons = current.shed_reasons || [];
  const waiting = Object.values(current.waiting || {}).reduce((sum, each) => sum + Number(each || 0), 0);
  showTile("Requests", whole(current.requests || 0), "in the last minute", "idle");
  showTile("Failures", percent(rate), `${whole(current.failures || 0)} requests`, rate > 0.1 ? "bad" : rate > 0.02 ? "warn" : "idle");
  showTile("Active", whole(current.active || 0), waiting ? `${whole(waiting)} wait on this replica` : "nobody waits here", waiting ? "warn" : "idle");
  showTile("Healthy", percent(current.healthy_ratio ?? 1), `${usable} of ${all.length} take requests`, usable < all.length ? "warn" : "idle");
  showTile("Load shedding", reasons.length ? "on" : "off", reasons.map(words).join(", "), reasons.length ? "bad" : "idle");
  const scale = current.autoscale, wanted = scale ? `, ${scale.desired_replicas || "unknown how many"} desired` : "";
  tiles.get("Replicas").tile.title = scale ? scale.why : "";
  showTile("Replicas", String(alive), (alive < replicas.length ? `${replicas.length - alive} silent` : "all beating") + wanted, alive < replicas.length ? "warn" : "idle");
  showTile("State store", current.state || "–", current.state === "standby" ? "not shared now" : "one truth for all", current.state === "standby" ? "bad" : "idle");
}
const words = text => String(text).replaceAll("_", " ");

function showTrouble() {
  const found = [];
  if (current.problem) found.push(["State", current.problem]);
  if (current.state === "standby") found.push(["Standby store", current.reason || "the shared store cannot be used"]);
  for (const reason of current.shed_reasons || []) found.push(["Shedding load", words(reason)]);
  for (const [name, model] of models) {
    const members = model.deployments.map(id => rows.get(id)).filter(Boolean);
    if (members.length && !members.some(isUsable)) found.push([name, model.fallbacks.length ? `no deployment takes requests; fallback ${model.fallbacks.join(", ")}` : "no deployment takes requests, and there is no fallback"]);
  }
  for (const row of rows.values()) if (row.state !== "closed") found.push([row.id, reasonOf(row)]);
  for (const each of current.replicas || []) if (each.silent_ms > DEAD_MS) found.push([each.id, `silent for ${span(each.silent_ms)}`]);
  for (const each of current.replicas || []) if (each.is_behind) found.push([each.id, "its file is not the configuration in force"]);
  const list = make("ul", {}, ...found.slice(0, 12).map(([who, what]) => make("li", {}, make("b", {}, who), make("span", {}, what))));
  if (found.length > 12) list.append(make("li", {}, `and ${found.length - 12} more`));
  byId("trouble").replaceChildren(list);
  byId("trouble").hidden = !found.length;
  return found.length;
}
function reasonOf(row) {
  const detail = detailOf(row), label = STATES[row.state]?.[0] || row.state;
  return detail ? `${label}: ${detail}` : label;
}
function detailOf(row) {
  const missing = row.unsupported?.length ? `no endpoint for ${row.unsupported.join(", ")}` : "";
  return [breakerDetail(row), missing].filter(Boolean).join(" · ");
}
function breakerDetail(row) {
  if (row.state === "closed") return row.oldest_ms > 10000 ? `oldest request ${span(row.oldest_ms)}` : "";
  if (row.state === "half_open") return "a few probes decide";
  const why = words(row.open_reason || "");
  const until = row.state === "open" ? (row.wait_ms ? `, probes in ${span(row.wait_ms)}` : ", probes with the next request")
    : row.wait_ms && row.state === "forced_open" ? `, for ${span(row.wait_ms)} more` : "";
  return why + until;
}

// -- models and their deployments

function modelSection(name, model) {
  const badge = make("span", { class: "badge" }), note = make("p"), split = make("div", { class: "split", role: "img" });
  const legend = make("ul", { class: "legend" }), list = make("div", { class: "cards" });
  const parts = model.deployments.map((id, k) => {
    const bar = make("i"), share = make("b"), entry = make("li", {}, `${id} `, share);
    const colour = `var(--split-${Math.min(k, 5)})`;
    bar.style.setProperty("background", colour);
    entry.style.setProperty("--swatch", colour);
    split.append(bar);
    legend.append(entry);
    return { id, bar, share };
  });
  for (const id of model.deployments) list.append(card(id).element);
  const title = make("div", { class: "title" }, make("h2", {}, name), badge, note);
  const element = make("section", { class: "model", "aria-label": `Model ${name}` }, make("header", {}, title, split, legend), list);
  return { ...model, element, badge, note, split, parts };
}
function showModel(name, model) {
  const members = model.deployments.map(id => rows.get(id)).filter(Boolean), usable = members.filter(isUsable);
  const total = members.reduce((sum, row) => sum + (row.requests || 0), 0);
  const good = members.filter(row => row.state === "closed").length;
  say(model.badge, usable.length ? `${usable.length} of ${members.length} serving` : "nobody serves");
  tone(model.badge, !usable.length ? "bad" : good < members.length ? "warn" : "good");
  const chain = model.fallbacks.length ? `, falls back to ${model.fallbacks.join(", ")}` : "";
  say(model.note, `${whole(total)} calls in the last minute${chain}`);
  for (const part of model.parts) {
    const share = total ? (rows.get(part.id)?.requests || 0) / total : 0;
    part.bar.style.setProperty("flex-grow", share.toFixed(3));
    say(part.share, total ? percent(share) : "–");
  }
  model.split.setAttribute("aria-label", `Traffic split of ${name}: ${model.parts.map(part => `${part.id} ${part.share.textContent}`).join(", ")}`);
}
function meter(label, kind) {
  const value = make("b"), fill = make("i");
  const element = make("div", {}, make("p", {}, make("span", {}, label), value), make("div", { class: `meter ${kind}` }, fill));
  return { element, show(text, share) { say(value, text); fill.style.setProperty("width", `${Math.min(100, 100 * share).toFixed(1)}%`); } };
}
function chart(label) {
  const svg = draw("svg", { viewBox: "0 0 120 46", preserveAspectRatio: "none", role: "img" });
  const left = make("span"), right = make("span");
  svg.setAttribute("aria-label", label);
  return { svg, left, right, element: make("figure", {}, svg, make("figcaption", {}, left, right)) };
}
function card(id) {
  const state = make("span", { class: "badge" }), why = make("p", { class: "why" }), error = make("p", { class: "error", hidden: "" });
  const health = meter("health", ""), load = meter("active / limit", "load");
  const numbers = {}, list = make("dl", { class: "numbers" });
  for (const name of ["p50", "p95", "p99", "calls", "failed", "slow"]) {
    numbers[name] = make("dd");
    list.append(make("div", { class: name }, make("dt", {}, name), numbers[name]));
  }
  const line = chart(`${id}: p50, p95 and p99 of the last two minutes`), bars = chart(`${id}: latencies of the last minute`);
  const lines = ["l99", "l95", "l50"].map(name => draw("path", { class: name }));
  line.svg.append(...lines);
  const buttons = make("div", { class: "actions", role: "group", "aria-label": `Actions on ${id}` });
  for (const [action, [label]] of Object.entries(ACTIONS)) {
    const button = make("button", { type: "button", class: "quiet", "data-action": action, "aria-label": `${label} ${id}` }, label);
    button.addEventListener("click", () => askAction(id, action));
    buttons.append(button);
  }
  const element = make("article", { class: "card", "data-deployment": id, "data-tone": "idle" },
    make("div", { class: "top" }, make("h3", {}, id), state), why, error, make("div", { class: "meters" }, health.element, load.element),
    list, make("div", { class: "charts" }, line.element, bars.element), buttons);
  const made = { element, state, why, error, health, load, numbers, line, lines, bars };
  cards.set(id, made);
  return made;
}
function showCard(row) {
  const shown = cards.get(row.id);
  if (!shown) return;
  const [label, kind] = STATES[row.state] || [row.state, "idle"];
  const score = row.health_score || 0, failing = row.state === "closed" && score < 60;
  say(shown.state, label);
  tone(shown.element, failing ? "warn" : kind);
  const place = row.region ? row.region + (row.rtt_ms ? `, ${time(row.rtt_ms)} away` : "") : "";
  const cache = row.cache_hit ? `cache ${Math.round(100 * row.cache_hit)} %` : "";
  say(shown.why, [detailOf(row), place, cache].filter(Boolean).join(" · "));
  shown.health.show(String(Math.round(score)), score / 100);
  shown.load.show(`${whole(row.active || 0)} / ${whole(row.limit || 0)}`, row.limit ? (row.active || 0) / row.limit : 0);
  const values = { p50: time(row.p50_ms), p95: time(row.p95_ms), p99: time(row.p99_ms), calls: whole(row.requests || 0), failed: whole(row.failures || 0), slow: whole(row.slow || 0) };
  for (const [name, value] of Object.entries(values)) say(shown.numbers[name], value);
  showBars(shown.bars, row.histogram || []);
}
function showError(element, row) {
  element.hidden = !row.last_error || (current.at_ms || 0) - row.last_error_at_ms > ERROR_SHOWN_MS;
  if (element.hidden) return;
  const at = new Date(row.last_error_at_ms);
  say(element, `${at.toLocaleTimeString("en-GB")} ${row.last_error}`);
  element.title = `Last error, ${at.toLocaleString()}: ${row.last_error}`;
}
function showLines(id) {
  const shown = cards.get(id), points = histories.get(id);
  if (!shown || !points) return;
  const most = Math.max(1, ...points.map(point => point[2]));
  const across = Math.max(FEWEST_POINTS, points.length);
  const path = k => points.map((point, n) => {
    const x = 120 - (points.length - 1 - n) * 120 / (across - 1), y = 44 - 40 * (point[k] / most);
    return `${n ? "L" : "M"}${x.toFixed(1)} ${y.toFixed(1)}`;
  }).join("");
  const isIdle = !points.some(point => point[2]);
  shown.lines.forEach((line, n) => line.setAttribute("d", isIdle ? "" : path(2 - n)));
  say(shown.line.left, isIdle ? "no latencies yet" : `last ${span(1000 * across)}`);
  say(shown.line.right, isIdle ? "" : `top ${time(most)}`);
}
// Buckets are a quarter of a doubling wide, so each has the same width here.
function showBars(shown, histogram) {
  const slot = upTo => Math.round(4 * Math.log2(upTo / 32));
  const signature = JSON.stringify(histogram);
  if (shown.signature === signature) return;
  shown.signature = signature;
  if (!histogram.length) {
    shown.svg.replaceChildren();
    say(shown.left, "no latencies yet");
    say(shown.right, "");
    return;
  }
  const first = slot(histogram[0][0]), last = slot(histogram.at(-1)[0]), most = Math.max(...histogram.map(each => each[1]));
  const from = Math.max(0, Math.floor((first + last - 12) / 2)), count = Math.max(12, last - from + 1), width = 120 / count;
  shown.svg.replaceChildren(...histogram.map(([upTo, calls]) => {
    const height = Math.max(1.5, 42 * calls / most);
    return draw("rect", { x: ((slot(upTo) - from) * width + 0.6).toFixed(2), y: (46 - height).toFixed(2), width: Math.max(0.8, width - 1.2).toFixed(2), height: height.toFixed(2) });
  }));
  const end = k => 32 * 2 ** (k / 4);
  say(shown.left, from ? time(end(from - 1)) : "0 ms");
  say(shown.right, time(end(from + count - 1)));
}

// -- events and replicas

function addEvents(events) {
  for (const each of events) {
    if (seen.has(each.id) || each.reason === "configured") continue;
    seen.add(each.id);
    byId("events").querySelector(".empty")?.remove();
    byId("events").prepend(eventLine(each));
  }
  while (byId("events").children.length > EVENTS_SHOWN) byId("events").lastChild.remove();
  if (!byId("events").children.length) byId("events").append(make("li", { class: "empty" }, "Nothing has happened yet."));
}
function eventLine(each) {
  const isShedding = each.subject === "load_shedding";
  const label = text => isShedding ? words(text) || "no shedding" : STATES[text]?.[0] || words(text) || "–";
  const kind = isShedding ? (each.to ? "bad" : "good") : { shared: "good", standby: "bad", dead: "bad" }[each.to] || STATES[each.to]?.[1] || "idle";
  const at = new Date(each.at_ms);
  const stamp = make("time", { datetime: at.toISOString(), title: at.toLocaleString() }, at.toLocaleTimeString("en-GB"));
  return make("li", { "data-tone": kind },
    make("div", { class: "line" }, make("b", {}, isShedding ? "load shedding" : each.subject), stamp),
    make("div", {}, make("span", { class: "move" }, `${label(each.from)} → ${label(each.to)}`), make("span", { class: "reason" }, each.reason ? ` · ${words(each.reason)}` : "")),
    ...(each.error ? [make("div", { class: "error" }, each.error)] : []));
}
function showReplicas() {
  byId("replicas").replaceChildren(...(current.replicas || []).map(each => {
    const silent = each.silent_ms > DEAD_MS, isOurs = each.id.startsWith(`${current.replica}-`);
    const [label, kind] = silent ? ["silent", "bad"] : each.store === "standby" ? ["standby", "bad"] : each.is_behind ? ["behind", "bad"] : each.is_draining ? ["draining", "warn"] : ["serving", "good"];
    return make("li", {},
      make("div", { class: "line" }, make("b", {}, each.id + (isOurs ? " (this one)" : "")), make("span", { class: "badge", "data-tone": kind }, label)),
      make("p", {}, `${each.address || "?"} · ${each.version || "?"} · up ${span(each.age_ms)} · beat ${time(each.silent_ms || 1)} ago`));
  }));
}
function showBudgets() {
  const found = current.budgets || [];
  byId("budget-panel").hidden = !found.length;
  const list = found.map(each => {
    const used = each.amount ? Math.min(1, (each.spent + each.reserved) / each.amount) : 1;
    const kind = each.left <= 0 ? "bad" : used > 0.9 ? "warn" : "good", fill = make("i");
    fill.style.setProperty("width", `${(100 * used).toFixed(1)}%`);
    const per = each.per === "total" ? "in total" : `per ${each.per}`;
    const turns = each.turns_in_s === null ? per : `${per} · turns in ${span(1000 * each.turns_in_s)}`;
    return make("li", { "data-tone": kind, "data-scope": each.scope },
      make("div", { class: "line" }, make("b", {}, each.scope), make("span", { class: "badge" }, `${money(each.left)} left`)),
      make("div", { class: "meter" }, fill),
      make("p", {}, `${money(each.spent)} of ${money(each.amount)} spent · ${money(each.reserved)} reserved · ${turns}`));
  });
  const more = (current.budgets_in_all || 0) - found.length;
  if (more > 0) list.push(make("li", { class: "empty" }, `and ${more} more with a greater share left`));
  byId("budgets").replaceChildren(...list);
}
const money = amount => amount.toLocaleString("en", { maximumFractionDigits: amount < 1 ? 6 : 2 });

// Today's usage of tenants is no part of the live state: it is read now and then.
async function readUsage() {
  if (Date.now() - usageAt < USAGE_EVERY_MS) return;
  usageAt = Date.now();
  const today = new Date(current.at_ms || Date.now()).toISOString().slice(0, 10);
  try {
    const answer = await fetch(`/v1/admin/usage?by=tenant&from=${today}&to=${today}`, {
      headers: authorization(), cache: "no-store", credentials: "omit", signal: AbortSignal.timeout(15000),
    });
    if (answer.ok) showUsage((await answer.json()).usage);
  } catch { /* the next one may succeed, and the status shows a gateway that is away */ }
}
function showUsage(tenants) {
  tenants.sort((one, other) => other.cost - one.cost || other.requests - one.requests);
  byId("usage-panel").hidden = !tenants.length;
  const list = tenants.slice(0, TENANTS_SHOWN).map(each => make("li", { "data-tenant": each.tenant },
    make("div", { class: "line" }, make("b", {}, each.tenant), make("span", { class: "badge" }, money(each.cost))),
    make("p", {}, `${whole(each.requests)} requests · ${whole(each.errors)} errors · ${whole(each.input_tokens)} tokens in, ${whole(each.cached_tokens)} cached · ${whole(each.output_tokens)} out`)));
  const more = tenants.length - TENANTS_SHOWN;
  if (more > 0) list.push(make("li", { class: "empty" }, `and ${more} more with a lower cost`));
  byId("usage").replaceChildren(...list);
}

// -- what comes in

function take(kind, state) {
  current = { ...state };
  if (kind === "full") {
    const isSame = [...models.keys()].join() === state.models.map(model => model.name).join();
    if (!isSame) build(state.models);
  }
  for (const row of state.deployments) rows.set(row.id, row);
  for (const row of rows.values()) {
    const points = histories.get(row.id) || [];
    points.push([row.p50_ms || 0, row.p95_ms || 0, row.p99_ms || 0]);
    histories.set(row.id, points.slice(-KEPT_POINTS));
    showLines(row.id);
    if (cards.has(row.id)) showError(cards.get(row.id).error, row);
  }
  for (const row of state.deployments) showCard(row);
  for (const [name, model] of models) showModel(name, model);
  addEvents(state.events);
  showSummary();
  showReplicas();
  showBudgets();
  readUsage();
  const trouble = showTrouble();
  const status = current.problem ? ["no state", "bad"] : current.state === "standby" ? ["standby", "bad"]
    : current.shed_reasons?.length ? ["shedding load", "bad"] : trouble ? ["degraded", "warn"] : ["healthy", "good"];
  showStatus(...status, `live from ${current.replica}${current.region ? ` in ${current.region}` : ""}`);
}
function build(list) {
  for (const kept of [models, rows, cards, histories]) kept.clear();
  for (const model of list) models.set(model.name, modelSection(model.name, model));
  byId("models").replaceChildren(...[...models.values()].map(model => model.element));
}
function showStatus(text, kind, source) {
  say(byId("status"), text);
  tone(byId("status"), kind);
  say(byId("source"), source);
  document.body.classList.toggle("stale", kind === "idle" && rows.size > 0);
}
function authorization() {
  const key = sessionStorage.getItem(KEY);
  return key ? { authorization: `Bearer ${key}` } : {};
}
async function fault(answer) {
  try { return (await answer.json()).error.message; } catch { return `The gateway answered ${answer.status}.`; }
}
async function listen(signal) {
  const answer = await fetch("/v1/admin/live", { headers: authorization(), cache: "no-store", credentials: "omit", signal });
  if (answer.status === 401 || answer.status === 403) {
    const message = await fault(answer);
    askKey(sessionStorage.getItem(KEY) ? `The gateway refuses this key. ${message}` : message);
    return false;
  }
  if (!answer.ok) throw new Error(await fault(answer));
  const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
  let text = "";
  for (;;) {
    const { done, value } = await reader.read();
    if (done) return true;
    lastHeard = Date.now();
    const parts = (text + value).split("\n\n");
    text = parts.pop();
    for (const part of parts) {
      const found = /^event: (\w+)\ndata: (.*)$/s.exec(part);
      if (found) take(found[1], JSON.parse(found[2]));
    }
  }
}
async function follow() {
  let wait = 500;
  for (;;) {
    stop = new AbortController();
    const begun = lastHeard = Date.now();
    const watch = setInterval(() => { if (Date.now() - lastHeard > SILENT_MS) stop.abort(); }, 1000);
    let goesOn = true, message = "connection lost";
    try { goesOn = await listen(stop.signal); } catch (error) { message = error.name === "AbortError" ? "the gateway is silent" : error.message; }
    clearInterval(watch);
    if (!goesOn) { showStatus("needs the admin key", "idle", ""); return; }
    showStatus("no connection", "idle", message);
    wait = Date.now() - begun > 5000 ? 500 : Math.min(2 * wait, 10000);
    await new Promise(done => setTimeout(done, wait));
  }
}

// -- what goes out

let asked = null;
function askAction(id, action) {
  const [label, text] = ACTIONS[action];
  asked = { id, action };
  say(byId("action-title"), `${label} ${id}?`);
  say(byId("action-text"), text);
  say(byId("action-confirm"), label);
  say(byId("action-error"), "");
  byId("action-reason").value = "";
  byId("action-actor").value = sessionStorage.getItem(ACTOR) || "";
  byId("action-time-label").hidden = action !== "open";
  byId("action-time").value = "0";
  byId("action-dialog").showModal();
  byId("action-reason").focus();
}
async function act() {
  const actor = byId("action-actor").value.trim(), wanted = { reason: byId("action-reason").value.trim(), actor };
  if (asked.action === "open") wanted.for_ms = Number(byId("action-time").value);
  sessionStorage.setItem(ACTOR, actor);
  const path = asked.id.split("/").map(encodeURIComponent).join("/");
  byId("action-confirm").disabled = true;
  try {
    const answer = await fetch(`/v1/admin/deployments/${path}/${asked.action}`, {
      method: "POST", headers: { ...authorization(), "content-type": "application/json" }, credentials: "omit", body: JSON.stringify(wanted),
      signal: AbortSignal.timeout(15000),
    });
    if (answer.ok) byId("action-dialog").close();
    else say(byId("action-error"), await fault(answer));
  } catch (error) {
    say(byId("action-error"), `Nothing is known of it: ${error.message}`);
  } finally {
    byId("action-confirm").disabled = false;
  }
}
function askKey(message) {
  say(byId("key-error"), message || "");
  byId("key-input").value = "";
  if (!byId("key-dialog").open) byId("key-dialog").showModal();
  byId("key-input").focus();
}
byId("action-dialog").addEventListener("submit", event => { event.preventDefault(); act(); });
byId("key-dialog").addEventListener("submit", event => {
  event.preventDefault();
  sessionStorage.setItem(KEY, byId("key-input").value.trim());
  byId("key-dialog").close();
  location.reload();
});
for (const dialog of document.querySelectorAll("dialog")) {
  dialog.querySelector("button[value=cancel]").addEventListener("click", () => dialog.close());
}
byId("key-button").addEventListener("click", () => askKey(""));
follow();
