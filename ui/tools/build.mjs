// Builds both portals into ui/dist, makes the compressed forms of each file, and writes the table that the build of `warp` embeds:
// one line a file, `path TAB content type TAB tag TAB lives long`. Fails when a portal is larger than its budget, or when the customers'
// portal holds a word that only operators may know.
import { createHash } from 'node:crypto';
import { mkdirSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { dirname, extname, join, relative } from 'node:path';
import { fileURLToPath } from 'node:url';
import { brotliCompressSync, constants, gzipSync } from 'node:zlib';
import react from '@vitejs/plugin-react';
import { build } from 'vite';

const ui = dirname(dirname(fileURLToPath(import.meta.url)));
const dist = join(ui, 'dist');
const TYPES = {
  '.html': 'text/html; charset=utf-8', '.js': 'text/javascript; charset=utf-8', '.css': 'text/css; charset=utf-8',
  '.svg': 'image/svg+xml', '.json': 'application/json', '.woff2': 'font/woff2', '.png': 'image/png',
};
/** Bytes of gzipped script and style that the first view may load. */
const SCRIPT_BUDGET = 250_000, STYLE_BUDGET = 45_000;
/** Never in the customers' portal: the fields and paths that only operators have. */
const OPERATORS_ONLY = /vendor_id|vendor_name|vendor_trunk|vendor-trunk|expected_margin|passed_over|buy_deck|\/api\/v1\/admin|interconnection/;

function files(at) {
  return readdirSync(at, { withFileTypes: true })
    .flatMap((e) => (e.isDirectory() ? files(join(at, e.name)) : [join(at, e.name)]))
    .sort();
}

const table = [];
rmSync(join(dist, 'table.txt'), { force: true });
for (const app of ['console', 'admin']) {
  const out = join(dist, app);
  rmSync(out, { recursive: true, force: true });
  mkdirSync(out, { recursive: true });
  await build({
    root: join(ui, 'apps', app), base: `/${app}/`, configFile: false, logLevel: 'warn', plugins: [react()],
    build: { outDir: out, emptyOutDir: true, assetsInlineLimit: 0, target: 'es2022', modulePreload: { polyfill: false }, manifest: '.manifest.json' },
  });
  const manifest = JSON.parse(readFileSync(join(out, '.manifest.json'), 'utf8'));
  rmSync(join(out, '.manifest.json'));
  const first = { script: new Set(), style: new Set() };
  const visit = (key) => {
    const chunk = manifest[key];
    if (!chunk || first.script.has(chunk.file)) return;
    first.script.add(chunk.file);
    (chunk.css ?? []).forEach((file) => first.style.add(file));
    (chunk.imports ?? []).forEach(visit);
  };
  visit('index.html');
  const gzipped = (set) => [...set].reduce((sum, file) => sum + gzipSync(readFileSync(join(out, file))).length, 0);
  const [script, style] = [gzipped(first.script), gzipped(first.style)];
  console.log(`${app}: first load ${script} bytes of script, ${style} of style (gzip)`);
  if (script > SCRIPT_BUDGET || style > STYLE_BUDGET) throw new Error(`${app}: over the budget of ${SCRIPT_BUDGET} and ${STYLE_BUDGET}`);
  for (const file of files(out)) {
    const [bytes, path] = [readFileSync(file), relative(dist, file)];
    if (app === 'console' && extname(file) === '.js') {
      const found = OPERATORS_ONLY.exec(bytes.toString('utf8'));
      if (found) throw new Error(`${path}: the customers' portal holds ${JSON.stringify(found[0])}`);
    }
    const type = TYPES[extname(file)];
    if (!type) throw new Error(`${path}: no content type is known`);
    writeFileSync(`${file}.gz`, gzipSync(bytes, { level: 9 }));
    writeFileSync(`${file}.br`, brotliCompressSync(bytes, { params: { [constants.BROTLI_PARAM_QUALITY]: 11 } }));
    const tag = createHash('sha256').update(bytes).digest('hex').slice(0, 16);
    table.push([path, type, tag, path.includes('/assets/') ? 'long' : 'short'].join('\t'));
  }
}
writeFileSync(join(dist, 'table.txt'), table.join('\n') + '\n');
console.log(`${table.length} files, ${files(dist).reduce((n, f) => n + statSync(f).size, 0)} bytes with their compressed forms`);
