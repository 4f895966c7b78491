// Questions to the service. The key is held in this module's memory alone.

import { sayRefusal } from "./words.js";

let key = null;

export class Refusal extends Error {
  constructor(status, content, retryAfter) {
    super(sayRefusal(content, retryAfter));
    Object.assign(this, { status, reason: content.error, problems: content.problems ?? [] });
  }
}

// The answer as JSON. Asks for the key, as often as it takes, where the service wants one.
export async function ask(method, path, body, signal) {
  const headers = { ...(body && { "Content-Type": "application/json" }), ...(key && { "X-API-Key": key }) };
  let answer;
  try {
    answer = await fetch(path, { method, headers, signal, body: body && JSON.stringify(body) });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Error("The service does not answer. Is it still running?");
  }
  if (answer.status === 401) {
    await askKey(headers["X-API-Key"] ? "This key is not the service's." : "");
    return ask(method, path, body, signal);
  }
  const content = await answer.json().catch(() => ({ error: `status ${answer.status}` }));
  if (!answer.ok) throw new Refusal(answer.status, content, answer.headers.get("Retry-After"));
  return content;
}

let asking = null;

function askKey(wrong) {
  asking ??= new Promise((resolve) => {
    const [dialog, form, input] = ["ask-key", "key-form", "key"].map((id) => document.getElementById(id));
    document.getElementById("key-wrong").textContent = wrong;
    dialog.oncancel = (event) => event.preventDefault(); // without a key there is nothing to see
    form.onsubmit = (event) => {
      event.preventDefault();
      [key, input.value, asking] = [input.value, "", null];
      dialog.close();
      resolve();
    };
    dialog.showModal();
  });
  return asking;
}
