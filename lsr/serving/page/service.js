// Asking the service.

export class Failure extends Error {
  constructor(status, message) {
    super(message);
    this.status = status;
  }
}

let key = null;
try {
  key = sessionStorage.getItem("lsr-key");
} catch {
  // Without storage the key is asked for again after a reload.
}

/** Go on with a key. */
export function useKey(given) {
  key = given;
  try {
    sessionStorage.setItem("lsr-key", given);
  } catch {
    // As above.
  }
}

/** Return what the service answers, or throw a Failure; status 0 is no answer at all. */
export async function ask(path, body) {
  const headers = {};
  if (key) headers.Authorization = `Bearer ${key}`;
  if (body) headers["Content-Type"] = "application/json";
  let response;
  try {
    response = await fetch(path, { method: body ? "POST" : "GET", headers, body: body && JSON.stringify(body) });
  } catch {
    throw new Failure(0, "The service does not answer; trying again.");
  }
  let answer;
  try {
    answer = await response.json();
  } catch {
    throw new Failure(response.ok ? 0 : response.status, "The service's answer was cut off.");
  }
  if (!response.ok) throw new Failure(response.status, answer.error || `The service answered ${response.status}.`);
  return answer;
}
