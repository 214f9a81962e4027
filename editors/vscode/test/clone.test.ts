import assert from 'node:assert/strict'
import { describe, it } from 'node:test'

import { CLONE_HINT, isClone, pipArguments } from '../src/clone'

const CLONE = ['/clone/pyproject.toml', '/clone/codegen_lsp/__main__.py']

function machine(files: readonly string[]) {
  return { platform: 'linux' as const, isFile: (file: string) => files.includes(file) }
}

describe('a clone', () => {
  it('has the package and its project file', () => {
    assert.ok(isClone('/clone', machine(CLONE)))
    assert.ok(!isClone('/clone', machine(CLONE.slice(0, 1))))
    assert.ok(!isClone('/other', machine(CLONE)))
  })

  it('is installed with its engine', () => {
    assert.deepEqual(pipArguments('/clone', machine(CLONE)), ['-m', 'pip', 'install', '--upgrade', '/clone[engine]'])
  })

  it('is installed in the versions that it pins', () => {
    const constraints = '/clone/.ci/constraints.txt'
    const args = pipArguments('/clone', machine([...CLONE, constraints]))
    assert.deepEqual(args.slice(3), ['--upgrade', '-c', constraints, '/clone[engine]'])
  })

  it('is what the hint installs', () => {
    assert.match(CLONE_HINT, /clone.*pip install -c \.ci\/constraints\.txt '\.\[engine\]'/)
  })
})
