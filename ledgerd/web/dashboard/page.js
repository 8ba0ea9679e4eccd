// The front page: shows /status and the prices of one league. Texts from outside enter by textContent alone.
"use strict";

const STATUS_EVERY_MS = 5000;
const PRICES_EVERY_MS = 60000;
const TIMEOUT_MS = 10000;
const MOODS = {
  ok: "good", live: "good", starting: "warn", catching_up: "warn", waiting: "warn", behind: "warn",
  degraded: "warn", backlogged: "warn", stopping: "warn", stalled: "bad", refused: "bad", failing: "bad",
  unavailable: "bad", full: "bad", off: "quiet",
};

const at = (id) => document.getElementById(id);
let realms = [];
let wanted = location.hash.slice(1).split("/").map(decoded);
let shown = null;

function decoded(text) {
  try {
    return decodeURIComponent(text);
  } catch {
    return text; // a % that encodes nothing
  }
}

function node(name, text, ...classes) {
  const made = document.createElement(name);
  if (text !== undefined) made.textContent = text;
  made.classList.add(...classes.filter(Boolean));
  return made;
}

async function ask(path) {
  const response = await fetch(path, { signal: AbortSignal.timeout(TIMEOUT_MS) });
  const body = await response.json();
  if (!response.ok) throw new Error([body.detail, body.hint].filter(Boolean).join(" "));
  return body;
}

function value(number) {
  if (number === null) return "–";
  const size = Math.abs(number);
  if (size > 0 && size < 0.0001) return number.toExponential(2);
  const digits = size >= 1000 ? { maximumFractionDigits: 0 } : { minimumSignificantDigits: 3, maximumSignificantDigits: 3 };
  return number.toLocaleString("en", size >= 100 && size < 1000 ? { maximumFractionDigits: 1 } : digits);
}

function share(number) {
  if (number === null) return "–";
  const percent = (number * 100).toFixed(1);
  return `${number > 0 ? "+" : ""}${percent.replace("-", "−")} %`;
}

function span(seconds) {
  if (seconds === null || seconds === undefined) return "–";
  if (seconds < 90) return `${Math.round(seconds)} s`;
  if (seconds < 5400) return `${Math.round(seconds / 60)} min`;
  if (seconds < 172800) return `${(seconds / 3600).toFixed(1)} h`;
  return `${(seconds / 86400).toFixed(1)} d`;
}

function size(bytes) {
  const units = ["B", "KiB", "MiB", "GiB", "TiB"];
  let step = 0;
  for (; bytes >= 1024 && step < units.length - 1; step += 1) bytes /= 1024;
  return `${bytes.toFixed(step ? 1 : 0)} ${units[step]}`;
}

function card(title, state, detail) {
  const made = node("div");
  const text = node("dd", state.replaceAll("_", " "), MOODS[state] || "quiet");
  made.append(node("dt", title), text, node("dd", detail, "detail"));
  return made;
}

function worst(steps) {
  for (const state of ["failing", "behind", "ok"]) if (steps.some((step) => step.state === state)) return state;
  return "off";
}

function showStatus(status) {
  const pill = at("state");
  pill.className = `pill ${MOODS[status.state] || "quiet"}`;
  pill.textContent = status.state;
  at("about").textContent = `version ${status.version}, up ${span(status.uptime_s)}, configuration ${status.config.generation}`;
  const behind = status.etl.reduce((sum, step) => sum + step.behind, 0);
  const failed = status.etl.find((step) => step.last_error);
  const oldest = status.spool.oldest_age_s === null ? "" : `, oldest ${span(status.spool.oldest_age_s)}`;
  const cards = [
    card("Store", status.store.state, status.store.last_error || `${status.store.engine} ${status.store.version}`),
    card("Spool", status.spool.state, `${status.spool.pages} pages, ${size(status.spool.bytes)} of ${size(status.spool.bytes_max)}${oldest}`),
    card("ETL", worst(status.etl), failed ? `${failed.step}: ${failed.last_error}` : `steps: ${status.etl.length}, batches behind: ${behind}`),
  ];
  if (status.config.last_reload_error) cards.push(card("Last reload", "refused", status.config.last_reload_error));
  at("parts").replaceChildren(...cards);
  at("sources").tBodies[0].replaceChildren(...status.sources.map(sourceRow));
}

function sourceRow(source) {
  const row = node("tr");
  const name = node("th", source.name);
  name.scope = "row";
  row.append(
    name,
    node("td", source.state.replaceAll("_", " "), MOODS[source.state] || "quiet"),
    node("td", span(source.lag_s), "num"),
    node("td", String(source.errors), "num"),
    node("td", source.last_error || "", "quiet"),
  );
  return row;
}

async function refreshStatus() {
  try {
    showStatus(await ask("/status"));
  } catch (error) {
    at("state").className = "pill bad";
    at("state").textContent = "no answer";
    at("about").textContent = error.message;
  }
  setTimeout(refreshStatus, STATUS_EVERY_MS);
}

function fill(select, names, wanted) {
  select.replaceChildren(...names.map((name) => new Option(name, name, false, name === wanted)));
}

function fillLeagues(wanted) {
  const realm = realms.find((known) => known.realm === at("realm").value);
  fill(at("league"), realm ? realm.leagues.map((league) => league.league) : [], wanted);
}

async function refreshRealms() {
  realms = (await ask("/v1/realms")).realms.filter((known) => known.leagues.length);
  const [realm, league] = wanted;
  fill(at("realm"), realms.map((known) => known.realm), realm);
  fillLeagues(league);
}

function priceRow(price) {
  const row = node("tr");
  const name = node("th", price.name);
  name.scope = "row";
  name.title = price.id;
  if (price.tag) name.append(node("span", price.tag, "tag"));
  const mood = price.confidence >= 0.8 ? "good" : price.confidence >= 0.5 ? "warn" : "bad";
  if (price.low_sample) name.append(node("span", "few units", "tag", "few"));
  row.append(
    name,
    node("td", value(price.chaos), "num"),
    node("td", value(price.divine), "num"),
    node("td", share(price.change_24h), "num"),
    node("td", price.evidence.units_24h.toLocaleString("en"), "num"),
    node("td", `${Math.round(price.confidence * 100)} %`, "num", mood),
    node("td", span(price.age_s), "num", price.stale ? "warn" : ""),
  );
  return row;
}

function matches(price, text) {
  return [price.name, price.tag || "", price.id].some((name) => name.toLowerCase().includes(text));
}

function showPrices() {
  if (!shown) return;
  const text = at("find").value.trim().toLowerCase();
  const least = Number(at("confidence").value);
  const prices = shown.prices.filter((price) => price.confidence >= least && matches(price, text));
  const old = shown.stale ? "Stale: " : "";
  at("prices-note").className = shown.stale ? "warn" : "quiet";
  at("prices-note").textContent = `${old}${prices.length} of ${shown.total} currencies as of ${shown.as_of}, most traded first.`;
  at("prices").tBodies[0].replaceChildren(...prices.map(priceRow));
  at("prices").hidden = !prices.length;
}

function showLinks(path) {
  at("list-link").href = path;
  at("one-link").href = `${path}/divine`;
  at("history-link").href = `${path}/divine/history`;
}

async function refreshPrices() {
  try {
    await refreshRealms();
    const [realm, league] = picked().map(encodeURIComponent);
    const path = `/v1/${realm}/${league}/currency`;
    const answer = await ask(path);
    if (picked().map(encodeURIComponent).join() !== `${realm},${league}`) return;
    shown = answer;
    showPrices();
    showLinks(path);
    history.replaceState(null, "", `#${realm}/${league}`);
  } catch (error) {
    at("prices-note").className = "warn";
    at("prices-note").textContent = error.message;
  }
}

function picked() {
  return [at("realm").value, at("league").value];
}

function pick() {
  wanted = picked();
  at("prices-note").textContent = "Loading …";
  return refreshPrices();
}

async function keepPrices() {
  await refreshPrices();
  setTimeout(keepPrices, shown ? PRICES_EVERY_MS : STATUS_EVERY_MS);
}

at("picker").addEventListener("submit", (event) => event.preventDefault());
at("realm").addEventListener("change", () => { fillLeagues(); pick(); });
at("league").addEventListener("change", pick);
at("confidence").addEventListener("change", showPrices);
at("find").addEventListener("input", showPrices);
refreshStatus();
keepPrices();
