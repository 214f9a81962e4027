import assert from 'node:assert/strict'
import { describe, it } from 'node:test'

import manifest from '../package.json'
import { type Inspected, declared, layers } from '../src/settings'

const VALUES: Readonly<Record<string, Inspected>> = {
  server: { defaultValue: '', globalValue: 'http://mine', workspaceValue: 'http://theirs' },
  exclude: { defaultValue: [], globalValue: ['*.secret'], workspaceFolderValue: [] },
  candidates: { defaultValue: 3, workspaceValue: 5, workspaceFolderValue: 7 },
  inline: { defaultValue: true, globalValue: false },
  codegen: { workspaceValue: { server: 'http://theirs' } },
}
const NAMES = ['server', 'exclude', 'candidates', 'inline', 'menu']

describe('settings', () => {
  it('of a workspace stand apart from the user\u2019s', () => {
    assert.deepEqual(
      layers(NAMES, (name) => VALUES[name]),
      {
        server: 'http://mine',
        exclude: ['*.secret'],
        candidates: 3,
        inline: false,
        workspaceSettings: { server: 'http://theirs', exclude: [], candidates: 7 },
      },
    )
    assert.deepEqual(
      layers(['inline'], (name) => VALUES[name]),
      { inline: false },
    )
  })

  it('are those that the manifest declares', () => {
    const names = declared(manifest, 'codegen')
    assert.ok(names.includes('server') && names.includes('exclude'))
    assert.ok(!names.some((name) => name.includes('.') || name === 'codegen' || name === 'serverPath'))
  })
})
