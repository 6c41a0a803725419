// The API as scripts of a portal see it: by the cookie of the session, never by a token. Paths, queries and answers are typed by the
// OpenAPI file of the portal.

/** What the API says of an answer. */
export interface Meta {
  timestamp: string;
  request_id: string;
  next_cursor?: string | null;
  has_more?: boolean;
}

/** A problem of one field. */
export interface FieldProblem {
  field: string;
  code: string;
  message: string;
}

/** An answer that is no success, or no answer at all (`status` 0). */
export class ApiError extends Error {
  constructor(
    readonly status: number,
    readonly code: string,
    message: string,
    readonly requestId: string,
    readonly hint = '',
    readonly details: FieldProblem[] = [],
  ) {
    super(message);
  }
}

type Method = 'get' | 'post' | 'put' | 'patch' | 'delete';
/** The paths that have this method. */
export type PathsWith<Paths, M extends Method> = {
  [P in keyof Paths]: Paths[P] extends { [K in M]: object } ? P : never;
}[keyof Paths] & string;
type Operation<Paths, P extends keyof Paths, M extends Method> = Paths[P] extends { [K in M]: infer O } ? O : never;
type Json<R> = R extends { content: { 'application/json': infer B } } ? B : never;
type Good<O> = O extends { responses: infer R } ? Json<R[keyof R & (200 | 201 | 202)]> : never;
/** What stands in `data` of a success. */
export type Data<Paths, P extends keyof Paths, M extends Method> = Good<Operation<Paths, P, M>> extends { data: infer D } ? D : unknown;
/** What a request brings. */
export type Body<Paths, P extends keyof Paths, M extends Method> =
  Operation<Paths, P, M> extends { requestBody?: { content: { 'application/json': infer B } } } ? B : never;

/** What a request is made of besides its path. */
export interface Options {
  /** For `{…}` of the path. */
  params?: Record<string, string | number>;
  query?: Record<string, string | number | boolean | undefined | null>;
  /** Sent as it is, with this type, instead of JSON. */
  raw?: { body: BodyInit; type: string };
  /** For `If-Match`. */
  version?: number;
  signal?: AbortSignal;
}

/** The path with its parameters and its query. */
export function address(path: string, options: Options = {}): string {
  const filled = path.replace(/\{(\w+)\}/g, (_, name: string) => encodeURIComponent(String(options.params?.[name] ?? '')));
  const query = new URLSearchParams();
  for (const [name, value] of Object.entries(options.query ?? {})) {
    if (value !== undefined && value !== null && value !== '') query.set(name, String(value));
  }
  const text = query.toString();
  return text ? `${filled}?${text}` : filled;
}

/** One request, for those who know what comes; `Client` has the types. */
export async function request<D>(method: Method, path: string, options: Options = {}, body?: unknown): Promise<{ data: D; meta: Meta }> {
  const headers: Record<string, string> = { Accept: 'application/json' };
  if (method !== 'get') headers['Warp-Request'] = '1';
  if (method === 'post') headers['Idempotency-Key'] = crypto.randomUUID();
  if (options.version !== undefined) headers['If-Match'] = `"${options.version}"`;
  let payload: BodyInit | undefined;
  if (options.raw) {
    payload = options.raw.body;
    headers['Content-Type'] = options.raw.type;
  } else if (body !== undefined) {
    payload = JSON.stringify(body);
    headers['Content-Type'] = 'application/json';
  }
  let answer: Response;
  try {
    answer = await fetch(address(path, options), {
      method: method.toUpperCase(), headers, body: payload, credentials: 'same-origin', signal: options.signal, redirect: 'error',
    });
  } catch (why) {
    if (options.signal?.aborted) throw why;
    throw new ApiError(0, 'unreachable', 'The API cannot be reached.', '', 'Is the network there? It is tried again.');
  }
  const known = (await answer.json().catch(() => null)) as null | {
    success: boolean; data: D; meta: Meta;
    error?: { code: string; message: string; hint?: string; details?: FieldProblem[] };
  };
  if (!answer.ok || !known?.success) {
    const id = known?.meta?.request_id ?? answer.headers.get('X-Request-Id') ?? '';
    const e = known?.error;
    throw new ApiError(answer.status, e?.code ?? 'unknown', e?.message ?? `The API answered ${answer.status}.`, id, e?.hint, e?.details);
  }
  return { data: known.data, meta: known.meta };
}

/** The API of one portal. */
export class Client<Paths> {
  get<P extends PathsWith<Paths, 'get'>>(path: P, options?: Options) {
    return request<Data<Paths, P, 'get'>>('get', path, options);
  }
  post<P extends PathsWith<Paths, 'post'>>(path: P, body?: Body<Paths, P, 'post'>, options?: Options) {
    return request<Data<Paths, P, 'post'>>('post', path, options, body);
  }
  put<P extends PathsWith<Paths, 'put'>>(path: P, body: Body<Paths, P, 'put'>, options?: Options) {
    return request<Data<Paths, P, 'put'>>('put', path, options, body);
  }
  patch<P extends PathsWith<Paths, 'patch'>>(path: P, body: Body<Paths, P, 'patch'>, options?: Options) {
    return request<Data<Paths, P, 'patch'>>('patch', path, options, body);
  }
  delete<P extends PathsWith<Paths, 'delete'>>(path: P, options?: Options) {
    return request<Data<Paths, P, 'delete'>>('delete', path, options);
  }
}
