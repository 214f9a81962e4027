import assert from 'node:assert/strict'
import { describe, it } from 'node:test'

import type { Surprise } from '../src/protocol'
import { SHADES, byShade, lineEntries, shadeOf, summary } from '../src/surpriseReport'

const token = (bits: number) => ({ range: { start: { line: 0, character: 0 }, end: { line: 0, character: 1 } }, bits })

const SURPRISE: Surprise = {
  uri: 'file:///a.py',
  version: 3,
  model: 'nano',
  reason: null,
  message: '',
  totals: { tokens: 12, bits: 60, bitsPerToken: 5, bitsPerByte: 1.2345, perplexity: 32 },
  lines: [{ line: 4, bits: 30, bitsPerToken: 7.5, tokens: 4, text: 'return zebra' }],
  tokens: [token(0.2), token(2), token(20)],
}

describe('surprise', () => {
  it('has a stronger colour if it is greater, and none below the first bound', () => {
    assert.equal(shadeOf(0), -1)
    assert.equal(shadeOf(1.4), -1)
    assert.deepEqual(SHADES.map(({ bits }) => shadeOf(bits)), [0, 1, 2, 3, 4])
    assert.equal(shadeOf(100), SHADES.length - 1)
    const strengths = SHADES.map(({ strength }) => strength)
    assert.deepEqual(strengths, [...strengths].sort((a, b) => a - b))
  })

  it('assigns each token one shade at most', () => {
    assert.deepEqual(byShade(SURPRISE.tokens).map((tokens) => tokens.map(({ bits }) => bits)), [[2], [], [], [], [20]])
  })

  it('lists lines counted from 1', () => {
    assert.deepEqual(lineEntries(SURPRISE.lines), [
      { label: 'return zebra', description: 'line 5, 7.5 bits per token', line: 4 },
    ])
  })

  it('has a summary', () => {
    assert.equal(summary(SURPRISE), '12 tokens, perplexity 32.00, 1.234 bits per byte (nano)')
    assert.equal(summary({ ...SURPRISE, totals: null }), '')
  })
})
