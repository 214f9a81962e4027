import assert from 'node:assert/strict'
import { describe, it } from 'node:test'

import { type Item, Shown } from '../src/shown'

const position = (line: number, character: number) => ({ line, character })
const insert = (line: number, character: number, text: string) => ({ start: position(line, character), length: 0, text })

function item(insertText: string, line = 0, start = 0, end = start): Item {
  return { insertText, range: { start: position(line, start), end: position(line, end) } }
}

describe('a suggestion at the cursor', () => {
  it('accepted by words and lines counts from the start of its text', () => {
    const suggestion = item('first second\n    third', 0, 4)
    const shown = new Shown([suggestion], position(0, 4), 'x = ')
    assert.deepEqual(shown.follow(insert(0, 4, 'first')), { item: suggestion, acceptedLength: 5 })
    assert.deepEqual(shown.follow(insert(0, 9, ' second\n')), { item: suggestion, acceptedLength: 13 })
    assert.deepEqual(shown.follow(insert(1, 0, '    th')), { item: suggestion, acceptedLength: 19 })
    assert.equal(shown.isOver, false)
  })

  it('that is typed through is followed and not counted as accepted', () => {
    const suggestion = item('print(x)')
    const shown = new Shown([suggestion], position(0, 0), '')
    for (const [i, key] of ['p', 'r'].entries()) assert.equal(shown.follow(insert(0, i, key)), null)
    assert.deepEqual(shown.follow(insert(0, 2, 'int')), { item: suggestion, acceptedLength: 5 })
  })

  it('accepted whole is not partly accepted', () => {
    const shown = new Shown([item('return x')], position(0, 0), '')
    assert.equal(shown.follow(insert(0, 0, 'return x')), null)
  })

  it('is over when something else is typed, at another position, or deleted', () => {
    for (const change of [insert(0, 0, 'zz'), insert(3, 0, 're'), { start: position(0, 0), length: 2, text: 're' }]) {
      const shown = new Shown([item('return x')], position(0, 0), '')
      assert.equal(shown.follow(change), null)
      assert.equal(shown.isOver, true)
    }
  })

  it('counts a pair that the editor closes and an indented line break as typed', () => {
    const shown = new Shown([item('f()\n    g()')], position(0, 0), '')
    assert.equal(shown.follow(insert(0, 0, 'f')), null)
    assert.equal(shown.follow(insert(0, 1, '()')), null)
    assert.equal(shown.follow(insert(0, 3, '\r\n    ')), null)
    assert.equal(shown.isOver, false)
    assert.equal(shown.follow(insert(1, 4, 'g('))?.acceptedLength, 10)
  })

  it('counts UTF-16 units', () => {
    const shown = new Shown([item('"🎉 done" + x', 0, 2)], position(0, 2), '🎉')
    assert.equal(shown.follow(insert(0, 2, '"🎉 '))?.acceptedLength, 4)
    const emoji = new Shown([item('🎉🎉')], position(0, 0), '')
    assert.equal(emoji.follow(insert(0, 0, '🎉')), null, 'one emoji is one key')
  })
})

describe('a suggestion whose range starts before the cursor', () => {
  it('is typed up to the cursor already', () => {
    const suggestion = item('    return value', 2, 0, 7)
    const shown = new Shown([suggestion], position(2, 7), '    ret')
    assert.deepEqual(shown.follow(insert(2, 7, 'urn')), { item: suggestion, acceptedLength: 10 })
  })

  it('is not shown if it contradicts the text', () => {
    assert.equal(new Shown([item('other', 0, 0, 3)], position(0, 3), 'ret').isOver, true)
  })
})

describe('several candidates', () => {
  it('are distinguished by the accepted text', () => {
    const second = item('return b + 1')
    const shown = new Shown([item('return a'), second], position(0, 0), '')
    assert.equal(shown.follow(insert(0, 0, 'return b'))?.item, second)
  })

  it('are over at once if there are none', () => {
    assert.equal(new Shown([], position(0, 0), '').isOver, true)
  })
})
