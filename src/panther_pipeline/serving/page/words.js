// What the service's codes mean to a reader.

const REASONS = {
  internal: "The service failed; its log says where.",
  not_ready: "The service is still loading.",
  overloaded: "The service is full at this moment.",
};
const PROBLEMS = {
  malformed_id: "no id: white space around it, or rounded by a spreadsheet",
  missing: "needed",
  not_an_amount: "not an amount such as 12.50",
  not_an_instant_with_offset: "not a date and time",
};
const STATUSES = {
  accepted: "Taken in.",
  duplicate: "Already there: nothing changed.",
  too_late: "Too old: what lies behind it is no longer known one by one. It counts after the next run.",
};

export function sayStatus(status) {
  return STATUSES[status] ?? status;
}

// Two sentences at most: what went wrong, and when to try again.
export function sayRefusal({ error, problems = [] }, retryAfter) {
  const parts = problems.map(({ where, reason }) => `${sayPlace(where)}: ${PROBLEMS[reason] ?? reason.replaceAll("_", " ")}.`);
  const text = parts.length ? parts.join(" ") : (REASONS[error] ?? `The service refused: ${error.replaceAll("_", " ")}.`);
  return retryAfter ? `${text} Try again in ${retryAfter} s.` : text;
}

export function sayPlace(where) {
  return where.replace(/^(attributes|body)\./, "").replaceAll("_", " ");
}

// `groceries|contactless|28-37` as the model names it, with room to break the line.
export function sayToken(token) {
  return token.replaceAll("|", " · ");
}

export function sayTime(iso) {
  return iso.slice(0, 16).replace("T", " ");
}

export function sayProb(prob) {
  const percent = 100 * prob;
  return `${percent >= 10 ? percent.toFixed(0) : percent >= 0.01 ? percent.toPrecision(2) : "< 0.01"} %`;
}
