// The fields of a transaction, from the description of the served ledger.

import { sayPlace } from "./words.js";

const USER = "user_id"; // picked above the form

export class EventForm {
  // document: /openapi.json; host: where the fields go.
  constructor(description, host) {
    this.host = host;
    const json = description.paths["/score"].post.requestBody.content["application/json"];
    const [single] = json.schema.anyOf;
    const example = json.examples.one.value;
    this.fields = listFields(description, single, example, []).filter((field) => field.path[0] !== USER);
    for (const field of this.fields) field.input = addField(host, field);
    this.renew();
  }

  // Ids are letters alone: digits could look like a card number.
  renew() {
    const letters = crypto.getRandomValues(new Uint8Array(12)).reduce((text, byte) => text + "abcdefghijklmnop"[byte % 16], "");
    this.set({ event_id: `page-${letters}` });
  }

  // Values by the last part of their place; others stay.
  set(values) {
    for (const { path, input } of this.fields) if (path.at(-1) in values) input.value = values[path.at(-1)];
  }

  // The transaction as the service reads it; empty fields are left out.
  read(userId) {
    const event = { [USER]: userId };
    for (const { path, kind, input } of this.fields) {
      const value = input.value.trim();
      if (!value) continue;
      const inner = path.slice(0, -1).reduce((part, name) => (part[name] ??= {}), event);
      inner[path.at(-1)] = kind === "instant" ? toInstant(value) : kind === "number" ? toNumber(value) : value;
    }
    return event;
  }

  // Marks the fields that a refusal names; none unmarks all.
  mark(problems = []) {
    const wrong = new Set(problems.map((problem) => problem.where));
    for (const { path, input } of this.fields) input.setAttribute("aria-invalid", wrong.has(path.join(".")));
  }
}

function listFields(description, schema, example, path) {
  const { properties = {}, required = [] } = resolve(description, schema);
  return Object.entries(properties).flatMap(([name, property]) => {
    const kinds = listKinds(description, property);
    const inner = [...path, name];
    const object = kinds.find((kind) => kind.properties);
    if (object) return listFields(description, object, example?.[name], inner);
    const is = (type) => kinds.some((kind) => kind.type === type);
    const isInstant = kinds.some((kind) => kind.format === "date-time");
    const kind = isInstant ? "instant" : is("number") ? (is("string") ? "amount" : "number") : "text";
    const known = kinds.flatMap((part) => part.examples ?? []);
    const isFree = kind === "text" && !known.length; // an id: the example's would be nobody's
    const hint = property.description ?? kinds.find((part) => part.description)?.description ?? "";
    const value = isFree || isInstant ? "" : (example?.[name] ?? "");
    return [{ path: inner, kind, known, hint, value, required: required.includes(name) }];
  });
}

function resolve(description, schema) {
  return schema.$ref ? description.components.schemas[schema.$ref.split("/").at(-1)] : schema;
}

function listKinds(description, schema) {
  const found = resolve(description, schema);
  return found.anyOf ? found.anyOf.flatMap((part) => listKinds(description, part)) : [found];
}

function addField(host, { path, kind, known, hint, value, required }) {
  const label = document.createElement("label");
  const input = document.createElement("input");
  label.textContent = sayPlace(path.at(-1)) + (kind === "instant" ? " (UTC)" : "") + (required ? "" : ", if any");
  Object.assign(input, { name: path.join("."), value, required, title: hint, spellcheck: false });
  if (kind === "instant") Object.assign(input, { type: "datetime-local", step: 1 });
  if (kind === "amount" || kind === "number") input.inputMode = "decimal";
  if (known.length) label.append(addChoices(input, known));
  label.append(input);
  host.append(label);
  return input;
}

function addChoices(input, known) {
  const list = document.createElement("datalist");
  list.id = `known-${input.name}`;
  list.append(...known.map((text) => new Option(text, text)));
  input.setAttribute("list", list.id);
  return list;
}

function toInstant(value) {
  return `${value.length === 16 ? `${value}:00` : value}Z`;
}

// What is no number goes to the service as it is, which says so.
function toNumber(value) {
  return Number.isFinite(Number(value)) ? Number(value) : value;
}
