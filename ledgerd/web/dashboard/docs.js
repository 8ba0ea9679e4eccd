// The page of documentation: makes /openapi.json readable. Texts enter by textContent alone.
"use strict";

const TIMEOUT_MS = 30000;
const SHOWN_CHARS = 100000;
const LEAGUE = "Mirage"; // of the examples in the document
const KINDS = { string: "text", number: "number", integer: "whole number", boolean: "true or false", object: "object", null: "null" };

const at = (id) => document.getElementById(id);
let spec = null;

function node(name, text, ...classes) {
  const made = document.createElement(name);
  if (text !== undefined) made.textContent = text;
  made.classList.add(...classes.filter(Boolean));
  return made;
}

function holding(name, children, ...classes) {
  const made = node(name, undefined, ...classes);
  made.append(...children.filter(Boolean));
  return made;
}

// A text in which what stands in backquotes is code.
function prose(name, text, ...classes) {
  const parts = (text || "").split("`");
  return holding(name, parts.map((part, place) => (place % 2 ? node("code", part) : document.createTextNode(part))), ...classes);
}

function resolved(thing) {
  while (thing && thing.$ref) thing = thing.$ref.slice(2).split("/").reduce((inner, key) => inner[key], spec);
  return thing || {};
}

function choices(schema) {
  return schema.anyOf ? schema.anyOf.map(resolved) : [schema];
}

// What a value may be, in words: "number, 0 to 1", "list of texts", "time or null".
function kind(given) {
  const schema = resolved(given);
  if (schema.anyOf) return choices(schema).map(kind).join(" or ");
  if (schema.enum) return schema.enum.join(", ");
  if ("const" in schema) return String(schema.const);
  if (schema.type === "array") {
    const many = schema.minItems || schema.maxItems ? `, ${bounds(schema.minItems, schema.maxItems)} of them` : "";
    const one = schema.items ? kind(schema.items) : "anything";
    return `list of ${one === "object" ? "objects" : one}${many}`;
  }
  if (schema.format === "date-time") return "time";
  const name = KINDS[schema.type] || "anything";
  const range = schema.type === "string" ? bounds(schema.minLength, schema.maxLength, " characters") : bounds(schema.minimum, schema.maximum);
  return range && name !== "null" ? `${name}, ${range}` : name;
}

function bounds(least, most, unit = "") {
  if (most !== undefined) return least !== undefined ? `${least} to ${most}${unit}` : `at most ${most}${unit}`;
  return least !== undefined && !(unit && least === 1) ? `at least ${least}${unit}` : "";
}

// The schema below a value that has fields of its own: through lists, maps and "or null".
function inner(given) {
  for (const schema of choices(resolved(given))) {
    if (schema.properties) return schema;
    if (schema.contentSchema) return inner(schema.contentSchema);
    if (schema.type === "array" && schema.items) return inner(schema.items);
    if (schema.type === "object" && typeof schema.additionalProperties === "object") return inner(schema.additionalProperties);
  }
  return null;
}

function tree(schema, isOpen) {
  const optional = new Set(Object.keys(schema.properties).filter((name) => !(schema.required || []).includes(name)));
  return holding("ul", Object.entries(schema.properties).map(([name, value]) => {
    const below = inner(value);
    const about = value.description || (below ? below.description : "");
    const sometimes = schema.required && optional.has(name) ? ", not always there" : "";
    const line = [node("code", name), document.createTextNode(" "), node("span", kind(value) + sometimes, "kind"), document.createTextNode(" "), about && prose("span", about, "says")];
    if (!below) return holding("li", line);
    const more = holding("details", [holding("summary", line), tree(below, false)]);
    more.open = isOpen;
    return holding("li", [more]);
  }));
}

function shapeOf(content) {
  const schema = resolved(content.schema);
  const below = inner(schema);
  if (!below) return node("p", kind(schema), "quiet");
  const made = tree(below, true);
  made.classList.add("tree");
  return made;
}

function titled(text, ...more) {
  return [node("h3", text), ...more.filter(Boolean)];
}

function scrolling(table, name) {
  const made = holding("div", [table], "scroll");
  made.tabIndex = 0;
  made.setAttribute("role", "region");
  made.setAttribute("aria-label", name);
  return made;
}

function parameters(operation) {
  if (!operation.parameters.length) return [];
  const head = holding("tr", ["Name", "What", "May be", "Unless given"].map((text) => node("th", text)));
  const rows = operation.parameters.map((each) => holding("tr", [
    holding("th", [node("code", each.name), node("span", each.in, "tag")]),
    prose("td", each.description),
    node("td", kind(each.schema)),
    node("td", each.required ? "must be given" : String(each.schema.default ?? "–"), "quiet"),
  ]));
  return titled("Parameters", scrolling(holding("table", [holding("thead", [head]), holding("tbody", rows)]), "Parameters"));
}

function body(operation) {
  if (!operation.requestBody) return [];
  return titled("Body, JSON", shapeOf(operation.requestBody.content["application/json"]));
}

function answers(operation) {
  const good = resolved(operation.responses["200"]);
  const [first, ...others] = Object.entries(good.content);
  const also = others.length ? `Also as ${others.map(([type]) => type).join(", ")}.` : "";
  const headers = Object.entries(good.headers || {}).map(([name, header]) => `${name}: ${resolved(header).description}`);
  return titled(`Answer, ${first[0]}`,
    prose("p", good.description), shapeOf(first[1]), also && node("p", also, "quiet"),
    headers.length && prose("p", `Headers. ${headers.join(" · ")}`, "quiet"));
}

function problems(operation) {
  const list = Object.entries(operation.responses).filter(([status]) => status !== "200");
  return titled("Otherwise", holding("ul", list.map(([status, response]) =>
    prose("li", `\`${status}\` ${resolved(response).description}`)), "problems"));
}

function copying(text) {
  const button = node("button", "Copy", "small");
  button.type = "button";
  button.addEventListener("click", async () => {
    try {
      await navigator.clipboard.writeText(text());
      button.textContent = "Copied";
    } catch {
      getSelection().selectAllChildren(button.closest(".sample").querySelector("pre")); // no clipboard over plain HTTP
      button.textContent = "Selected";
    }
    setTimeout(() => { button.textContent = "Copy"; }, 2000);
  });
  return button;
}

function samples(operation) {
  const home = spec.servers.at(-1).url;
  const made = (operation["x-codeSamples"] || []).map(({ label, source }) => {
    const shown = source.replaceAll(home, location.origin);
    return holding("div", [holding("p", [node("span", label), copying(() => shown)], "titled"), node("pre", shown)], "sample");
  });
  return made.length ? titled("Examples", ...made) : [];
}

function field(each) {
  const options = each.schema.enum;
  const input = node(options ? "select" : "input");
  const example = each.example ?? "";
  if (options) {
    if (!each.required) input.append(new Option("", ""));
    input.append(...options.map((text) => new Option(text, text, false, text === example)));
  } else {
    input.value = String(example);
    input.autocomplete = "off";
    input.spellcheck = false;
    input.placeholder = each.schema.default ?? "";
  }
  input.name = each.name;
  input.required = Boolean(each.required);
  return holding("label", [document.createTextNode(each.name), input]);
}

function url(path, operation, form) {
  const value = (each) => form.elements.namedItem(each.name).value;
  const asked = operation.parameters.filter((each) => each.in === "query" && value(each) !== "");
  const query = asked.map((each) => `${encodeURIComponent(each.name)}=${encodeURIComponent(value(each)).replaceAll("%2C", ",")}`);
  const filled = path.replaceAll(/\{(\w+)\}/g, (_, name) => encodeURIComponent(form.elements.namedItem(name).value));
  return filled + (query.length ? `?${query.join("&")}` : "");
}

function pretty(text) {
  try {
    return JSON.stringify(JSON.parse(text), null, 2);
  } catch {
    return text; // rows in another format
  }
}

function readable(text) {
  const long = pretty(text);
  return long.length > SHOWN_CHARS ? `${long.slice(0, SHOWN_CHARS)}\n… ${long.length - SHOWN_CHARS} characters more` : long;
}

function sent(method, operation, form) {
  const request = { method: method.toUpperCase(), headers: {}, cache: "no-store", signal: AbortSignal.timeout(TIMEOUT_MS) };
  if (operation.security) request.headers[spec.components.securitySchemes.key.name] = form.elements.namedItem("key").value;
  if (operation.requestBody) {
    request.headers["Content-Type"] = "application/json";
    request.body = form.elements.namedItem("body").value;
  }
  return request;
}

async function ask(address, request, shown) {
  const asked = `${request.method} ${address}`;
  shown.replaceChildren(node("p", `${asked} …`, "quiet"));
  const began = performance.now();
  try {
    const response = await fetch(address, request);
    const text = await response.text();
    const took = Math.round(performance.now() - began);
    const facts = `${response.status} ${response.headers.get("Content-Type")}, ${took} ms, ${text.length.toLocaleString("en")} characters`;
    shown.replaceChildren(node("p", asked, "quiet"), node("p", facts, response.ok ? "good" : "bad"), node("pre", readable(text)));
  } catch (error) {
    shown.replaceChildren(node("p", `${asked}: ${error.message}`, "bad"));
  }
}

function trying(path, method, operation) {
  const form = node("form", undefined, "controls", "try");
  const open = operation.parameters.filter((each) => each.in !== "header");
  form.append(...open.map(field));
  if (operation.security) form.append(field({ name: "key", schema: {}, required: true }));
  if (operation.requestBody) {
    const text = node("textarea", JSON.stringify(operation.requestBody.content["application/json"].example, null, 2));
    text.name = "body";
    form.append(holding("label", [document.createTextNode("body"), text], "wide"));
  }
  const button = node("button", "Ask this server");
  form.append(button);
  const shown = node("div");
  shown.setAttribute("aria-live", "polite");
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    ask(url(path, operation, form), sent(method, operation, form), shown);
  });
  return titled("Try it", form, shown);
}

// What is inside an endpoint is made when it is opened first: a page of forty stays quick.
function endpoint(path, method, operation) {
  const made = node("details", undefined, "endpoint");
  made.id = operation.operationId;
  made.append(holding("summary", [node("span", method.toUpperCase(), "method", method), node("code", path), prose("span", operation.summary, "says")]));
  made.dataset.words = [path, operation.description, ...operation.parameters.map((each) => each.name), ...fieldsOf(operation)].join(" ").toLowerCase();
  made.addEventListener("toggle", () => {
    if (!made.open || made.querySelector(".inside")) return;
    const parts = [prose("p", operation.description), ...parameters(operation), ...body(operation), ...samples(operation)];
    const streams = "text/event-stream" in resolved(operation.responses["200"]).content;
    made.append(holding("div", [...parts, ...(streams ? [] : trying(path, method, operation)), ...answers(operation), ...problems(operation)], "inside"));
  });
  return made;
}

function fieldsOf(operation) {
  const names = [];
  const walk = (schema, depth) => {
    if (!schema || depth > 4) return;
    for (const [name, value] of Object.entries(schema.properties)) {
      names.push(name);
      walk(inner(value), depth + 1);
    }
  };
  walk(inner(Object.values(resolved(operation.responses["200"]).content)[0].schema), 0);
  return names;
}

function groups() {
  const found = new Map(spec.tags.map((tag) => [tag.name, []]));
  for (const [path, methods] of Object.entries(spec.paths)) {
    for (const [method, operation] of Object.entries(methods)) found.get(operation.tags[0]).push(endpoint(path, method, operation));
  }
  return [...found].map(([name, list]) => holding("section", [node("h2", name), ...list]));
}

function filter() {
  const words = at("find").value.trim().toLowerCase().split(/\s+/);
  let count = 0;
  for (const section of at("groups").children) {
    let left = 0;
    for (const each of section.querySelectorAll(".endpoint")) {
      each.hidden = !words.every((word) => each.dataset.words.includes(word));
      left += each.hidden ? 0 : 1;
    }
    section.hidden = !left;
    count += left;
  }
  at("note").textContent = count === 1 ? "1 address." : `${count} addresses.`;
}

function openAll() {
  const isOpen = at("all").getAttribute("aria-pressed") !== "true";
  at("all").setAttribute("aria-pressed", String(isOpen));
  at("all").textContent = isOpen ? "Close all" : "Open all";
  for (const each of document.querySelectorAll(".endpoint")) each.open = isOpen;
}

function openNamed() {
  const named = at(location.hash.slice(1));
  if (!named || !named.classList.contains("endpoint")) return;
  named.open = true;
  named.scrollIntoView();
}

// A league of pc that has prices here, best one with items: examples are to work on this server. "" if there is none.
async function leagueHere() {
  try {
    const response = await fetch("/v1/realms", { signal: AbortSignal.timeout(TIMEOUT_MS) });
    const leagues = (await response.json()).realms.find((each) => each.realm === "pc").leagues;
    return (leagues.find((each) => each.items > 0) || leagues[0]).league;
  } catch {
    return ""; // no prices yet, or none of pc
  }
}

function localised(text, league) {
  if (!league) return text;
  const quoted = JSON.stringify(league).slice(1, -1);
  return text.replaceAll(`/${LEAGUE}/`, `/${encodeURIComponent(league)}/`).replaceAll(LEAGUE, quoted);
}

async function show() {
  try {
    const league = leagueHere();
    const response = await fetch("/openapi.json", { signal: AbortSignal.timeout(TIMEOUT_MS) });
    spec = JSON.parse(localised(await response.text(), await league));
    if (!response.ok) throw new Error(spec.detail);
    at("title").textContent = spec.info.title;
    at("lead").replaceChildren(prose("span", spec.info.description));
    at("version").textContent = `ledgerd ${spec.info.version}, OpenAPI ${spec.openapi}`;
    at("groups").replaceChildren(...groups());
    filter();
    openNamed();
  } catch (error) {
    at("note").className = "bad";
    at("note").textContent = `/openapi.json: ${error.message}`;
  }
}

at("finder").addEventListener("submit", (event) => event.preventDefault());
at("find").addEventListener("input", filter);
at("all").addEventListener("click", openAll);
addEventListener("hashchange", openNamed);
show();
