// Asks the mesh. Requests and answers are those of its gRPC APIs, in protobuf's JSON.
export class Refusal extends Error {
  constructor(reason, message, status = 0) {
    super(message);
    this.reason = reason;
    this.isForLater = status === 409; // the mesh is well, and cannot say yet
  }
}

export function question(service, method, request = {}) {
  return { service, method, request };
}

export async function ask({ service, method, request }) {
  let answer;
  try {
    answer = await fetch(`/api/${[service, method].map(encodeURIComponent).join("/")}`, {
      method: "POST", headers: { "content-type": "application/json" }, body: JSON.stringify(request),
    });
  } catch {
    throw new Refusal("CONSOLE_AWAY", "the console does not answer; is the mesh still up?");
  }
  const body = await answer.json().catch(() => ({ reason: "UNREADABLE", message: "the answer is not JSON" }));
  if (!answer.ok) throw new Refusal(body.reason, body.message, answer.status);
  return body;
}

// All items of a listing, at most `pages` pages.
export async function all(asked, key, pages = 5) {
  const found = [];
  let token = "";
  for (let page = 0; page < pages; page += 1) {
    const answer = await ask({ ...asked, request: { page_size: 100, ...asked.request, page_token: token } });
    found.push(...(answer[key] ?? []));
    token = answer.next_page_token;
    if (!token) break;
  }
  return found;
}

export function windowOf(seconds) {
  return { start_time: new Date(Date.now() - seconds * 1000).toISOString() };
}

export function rangeOf(metric, seconds, measure, more = {}) {
  return question("metrics", "QueryRange", { metric, measure: `MEASURE_${measure}`, window: windowOf(seconds), ...more });
}

// Beats of the mesh, for as long as the page is open. The browser connects anew by itself.
export function listen(onBeat, onState) {
  const source = new EventSource("/beats");
  source.onmessage = (event) => { onState("live"); onBeat(JSON.parse(event.data)); };
  source.onerror = () => onState("lost");
  source.addEventListener("refused", (event) => onState("lost", JSON.parse(event.data).message));
}
