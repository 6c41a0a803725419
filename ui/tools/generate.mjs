// Makes the types of the API client from the checked-in OpenAPI files. They are not committed: they cannot differ from the files, and a
// console that uses what the API does not have any more fails the type check.
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import openapi, { astToString } from 'openapi-typescript';

const ui = dirname(dirname(fileURLToPath(import.meta.url)));
const out = join(ui, 'packages/api-client/generated');
mkdirSync(out, { recursive: true });
for (const name of ['customer', 'admin']) {
  const file = join(ui, '../control-plane/openapi', `${name}.json`);
  const text = astToString(await openapi(JSON.parse(readFileSync(file, 'utf8'))));
  writeFileSync(join(out, `${name}.ts`), text);
}
