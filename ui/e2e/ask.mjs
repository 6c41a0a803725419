/** Asks the API with the session of this page, as the portal does. */
export function ask(page, method, path, body, headers = {}) {
  return page.evaluate(async ([m, p, b, h]) => {
    const answer = await fetch(p, {
      method: m, headers: { 'Warp-Request': '1', ...(m === 'POST' ? { 'Idempotency-Key': crypto.randomUUID() } : {}), 'Content-Type': 'application/json', ...h },
      body: b === null ? undefined : typeof b === 'string' ? b : JSON.stringify(b),
    });
    return { status: answer.status, ...(await answer.json()) };
  }, [method, path, body ?? null, headers]);
}
