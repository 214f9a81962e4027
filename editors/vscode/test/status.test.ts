import assert from 'node:assert/strict'
import { describe, it } from 'node:test'

import { type Status, parseStatus } from '../src/protocol'
import { present, shortName } from '../src/status'

const READY: Status = { state: 'ready', message: 'Ready.', model: 'nano', percent: null }

describe('the status bar', () => {
  for (const [status, text] of [
    [{ ...READY, state: 'starting', model: '' }, '$(loading~spin) CodeGen'],
    [{ ...READY, state: 'loading', percent: 41.6 }, '$(loading~spin) nano 42%'],
    [{ ...READY, state: 'loading', percent: 120 }, '$(loading~spin) nano 100%'],
    [{ ...READY, state: 'loading' }, '$(loading~spin) nano'],
    [READY, '$(sparkle) nano'],
    [{ ...READY, state: 'busy' }, '$(sync~spin) nano'],
    [{ ...READY, state: 'paused' }, '$(debug-pause) nano'],
    [{ ...READY, state: 'error' }, '$(error) CodeGen'],
    [{ ...READY, state: 'stopped' }, '$(circle-slash) CodeGen'],
  ] as const) {
    it(`${status.state} reads ${text}`, () => {
      assert.equal(present(status, false).text, text)
    })
  }

  it('shows that only this document is paused', () => {
    const { text, tooltip } = present(READY, true)
    assert.equal(text, '$(debug-pause) nano')
    assert.match(tooltip, /paused in this file/)
  })

  it('shows an error although suggestions are paused', () => {
    assert.equal(present({ ...READY, state: 'error', message: 'Out of memory.' }, true).severity, 'error')
  })

  it("says the server's sentence in the tooltip", () => {
    assert.match(present({ ...READY, state: 'error', message: 'Free some memory.' }, false).tooltip, /Free some memory\./)
  })

  it('shows the last part of a model\'s name, without icons from the name', () => {
    assert.equal(shortName('Salesforce/codegen-350M-mono'), 'codegen-350M-mono')
    assert.equal(shortName('/models/mine/'), 'mine')
    assert.equal(shortName('C:\\models\\mine'), 'mine')
    assert.equal(shortName('/'), '/')
    assert.equal(shortName('$(bug)'), '$ (bug)')
    assert.equal(shortName('x'.repeat(50)).length, 30)
  })
})

describe('a status notification', () => {
  it('is read field by field', () => {
    const body = { busy: true, kind: 'Normal', state: 'loading', message: 'Shard 1.', model: 'nano', percent: 10 }
    assert.deepEqual(parseStatus(body), { state: 'loading', message: 'Shard 1.', model: 'nano', percent: 10 })
  })

  for (const body of [null, undefined, 3, 'text', [], { state: 'dancing', percent: '3', model: 4, message: {} }]) {
    it(`of another shape breaks nothing: ${JSON.stringify(body)}`, () => {
      assert.deepEqual(parseStatus(body), { state: 'starting', message: '', model: '', percent: null })
    })
  }
})
