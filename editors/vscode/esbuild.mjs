// Bundles the extension into dist/extension.js; with --tests, bundles each unit test into out/.
import { build } from 'esbuild'
import { readFileSync, readdirSync, rmSync, writeFileSync } from 'node:fs'

const tests = process.argv.includes('--tests')
const shared = { bundle: true, platform: 'node', target: 'node20', logLevel: 'warning', sourcemap: true }

if (tests) {
  rmSync('out', { recursive: true, force: true })
  await build({
    ...shared,
    entryPoints: readdirSync('test')
      .filter((name) => name.endsWith('.test.ts'))
      .map((name) => `test/${name}`),
    outdir: 'out',
    format: 'esm',
    outExtension: { '.js': '.mjs' },
  })
} else {
  const { metafile } = await build({
    ...shared,
    metafile: true,
    entryPoints: ['src/extension.ts'],
    outfile: 'dist/extension.js',
    format: 'cjs',
    external: ['vscode'],
    minify: true,
    sourcemap: false,
  })
  writeFileSync('dist/NOTICES.txt', notices(Object.keys(metafile.inputs)))
}

/** The licences of the bundled packages, which have to be distributed with them. */
function notices(inputs) {
  const folders = new Set(inputs.map((input) => /^.*node_modules\/(@[^/]+\/)?[^/]+/.exec(input)?.[0]).filter(Boolean))
  return [...folders]
    .sort()
    .map((folder) => {
      const { name, version, license } = JSON.parse(readFileSync(`${folder}/package.json`, 'utf8'))
      const file = readdirSync(folder).find((entry) => /^(licen[sc]e|copying)/i.test(entry))
      if (file === undefined) throw new Error(`${name} has no licence file`)
      return `${name} ${version} (${license})\n\n${readFileSync(`${folder}/${file}`, 'utf8').trim()}\n`
    })
    .join(`\n${'-'.repeat(80)}\n\n`)
}
