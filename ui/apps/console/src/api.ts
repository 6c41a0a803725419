// The customers' API, with the types of its OpenAPI file.
import { Client } from '@warp/api-client';
import type { components, paths } from '@warp/api-client/customer';

export const api = new Client<paths>();
/** A schema of the API by its name. */
export type Of<N extends keyof components['schemas']> = components['schemas'][N];
