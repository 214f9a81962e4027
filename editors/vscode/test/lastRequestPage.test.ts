import assert from 'node:assert/strict'
import { describe, it } from 'node:test'

import { cachedLength, probabilityClass, renderPage } from '../src/lastRequestPage'
import type { CandidateAccount, LastRequest, PromptAccount } from '../src/protocol'

const OPTIONS = { cspSource: 'https://media.test', styleUri: 'https://media.test/a.css', refreshUri: 'command:again' }

const PROMPT: PromptAccount = {
  text: 'import os\n\ndef f(x):\n    ret',
  header: 'import os\n',
  window: '\ndef f(x):\n    ret',
  shape: 'line',
  tokens: 10,
  cachedTokens: 8,
  cachedCharacters: 20,
}

const CANDIDATE: CandidateAccount = {
  id: 'a',
  text: 'urn x',
  raw: 'urn x\n\n',
  meanLogprob: -0.2,
  suffixLogprob: null,
  score: 0.75,
  parts: { mean_logprob: -0.2, parse: 0.95 },
  shown: true,
  reason: null,
  trail: ['trailing-space: took back "\\n\\n"'],
  tokens: ['urn', ' x', '\n'],
  tokenLogprobs: [Math.log(0.95), Math.log(0.35), null],
}

const REQUEST: LastRequest = {
  id: 'r1',
  uri: 'file:///code/my%20file.py',
  version: 3,
  position: { line: 3, character: 7 },
  method: 'textDocument/inlineCompletion',
  trigger: 'automatic',
  reason: null,
  source: 'engine',
  model: 'nano',
  prompt: PROMPT,
  candidates: [CANDIDATE],
  timings: { queue_ms: 1, prefill_ms: 3, decode_ms: 6, total_ms: 10.25 },
  usage: { prompt_tokens: 10, completion_tokens: 3, cached_tokens: 8 },
}

const page = (request: LastRequest | null) => renderPage(request, null, OPTIONS)

describe('the page', () => {
  it('runs nothing and loads nothing but its own style sheet', () => {
    const html = page(REQUEST)
    assert.match(html, /default-src 'none'; style-src https:\/\/media\.test;/)
    assert.doesNotMatch(html, /<script|javascript:|\son\w+=|\sstyle=|<img|<iframe/i)
    assert.deepEqual([...html.matchAll(/(?:href|src)="([^"]*)"/g)].map((match) => match[1]), [
      OPTIONS.styleUri,
      OPTIONS.refreshUri,
    ])
  })

  it('escapes code', () => {
    const evil = `</pre><script>alert("x")</script>&amp;'`
    const html = page({
      ...REQUEST,
      uri: `file:///${evil}`,
      model: evil,
      method: evil,
      reason: evil,
      prompt: { ...PROMPT, text: evil, header: '', shape: evil },
      candidates: [{ ...CANDIDATE, text: evil, raw: evil, tokens: [evil], reason: evil, trail: [evil], parts: { [evil]: 1 } }],
      timings: { [evil]: 1 },
      usage: { [evil]: 1 },
    })
    assert.doesNotMatch(html, /<script/)
    assert.ok(html.includes('&lt;/pre&gt;&lt;script&gt;alert(&quot;x&quot;)&lt;/script&gt;&amp;amp;&#39;'))
  })

  it('shows location and method, counted from 1', () => {
    assert.match(page(REQUEST), /my file\.py:4:8/)
    assert.match(page({ ...REQUEST, uri: 'untitled:100%' }), /untitled:100%:4:8/)
  })

  it('lists what the prompt shows of other files', () => {
    const piece = { path: 'lib/<a>.py', source: 'import', why: 'area is used near the cursor', text: 'def area(): ...', tokens: 5 }
    const html = page({ ...REQUEST, prompt: { ...PROMPT, otherFiles: [piece] } })
    assert.ok(html.includes('lib/&lt;a&gt;.py</th><td>area is used near the cursor (import), 5 tokens</td>'))
    assert.ok(page(REQUEST).includes('Nothing of other files is in the prompt.'))
  })

  it('shades the cached part and marks the header', () => {
    const html = page(REQUEST)
    assert.ok(html.includes('<span class="cached header">import os\n</span>'))
    assert.ok(html.includes('<span class="cached window">\ndef f(x):</span>'))
    assert.ok(html.includes('<span class="fresh window">'))
    assert.match(html, /8 tokens came from the prefix cache/)
    assert.doesNotMatch(html, /estimated/)
  })

  it('colours each token by its probability', () => {
    const html = page(REQUEST)
    assert.ok(html.includes('<span class="p9" title="95% (log-probability -0.05)">urn</span>'))
    assert.ok(html.includes('<span class="p3" title="35% (log-probability -1.05)"> x</span>'))
    assert.ok(html.includes('<span class="p-unknown" title="probability unknown">↵\n</span>'))
  })

  it('lists score, its parts, and what each filter did', () => {
    const html = page(REQUEST)
    assert.match(html, /<span class="score">0\.750<\/span>/)
    assert.match(html, /mean logprob<\/th><td>-0\.200/)
    assert.ok(html.includes('<li>trailing-space: took back &quot;\\n\\n&quot;</li>'))
  })

  it('shows why a candidate was dropped and why an answer is empty', () => {
    const dropped = { ...CANDIDATE, shown: false, reason: 'low-confidence', trail: [], score: null }
    const html = page({ ...REQUEST, reason: 'low-confidence', candidates: [dropped] })
    assert.match(html, /dropped: <code>low-confidence<\/code>/)
    assert.match(html, /not confident enough/)
    assert.match(html, /No filter changed it/)
  })

  it('draws the phases in proportion', () => {
    assert.deepEqual([...page(REQUEST).matchAll(/width="([\d.]+)" height/g)].map((match) => match[1]), [
      '10.00',
      '30.00',
      '60.00',
      '0.00',
    ])
  })

  it('shows the counts of suggestions, if the server reports them', () => {
    const suggestions = { shown: 12, accepted: 5, partlyAccepted: 2 }
    assert.match(renderPage(null, { suggestions }, OPTIONS), /12 shown, 5 accepted, 2 partly accepted/)
    assert.doesNotMatch(renderPage(null, {}, OPTIONS), /shown/)
  })

  it('has a text before the first request, and for a request without a prompt', () => {
    assert.match(page(null), /No suggestion was requested yet/)
    const nothing = { ...REQUEST, prompt: null, candidates: [], timings: {}, usage: null, source: null, position: null }
    const html = page({ ...nothing, reason: 'paused', trigger: null, version: null })
    assert.match(html, /Suggestions are paused/)
    assert.match(html, /There was no prompt/)
  })
})

describe('the cached part', () => {
  it("ends where the server says, in code points, also inside of what JavaScript counts double", () => {
    assert.deepEqual(cachedLength({ ...PROMPT, text: '🎉ab', cachedCharacters: 2 }), { cached: 3, exact: true })
  })

  it('is estimated from the tokens if the server does not report it', () => {
    const older = { ...PROMPT, cachedCharacters: null }
    assert.deepEqual(cachedLength({ ...older, text: 'x'.repeat(50) }), { cached: 40, exact: false })
    assert.deepEqual(cachedLength({ ...older, cachedTokens: 0 }), { cached: 0, exact: true })
    assert.deepEqual(cachedLength({ ...older, cachedTokens: 10 }), { cached: PROMPT.text.length, exact: true })
  })
})

describe('probability classes', () => {
  for (const [probability, expected] of [[1, 'p9'], [0.899, 'p8'], [0.05, 'p0'], [1.0001, 'p9']] as const) {
    it(`${probability} is ${expected}`, () => {
      assert.equal(probabilityClass(Math.log(probability)), expected)
    })
  }

  it('mark an unknown probability', () => {
    assert.equal(probabilityClass(null), 'p-unknown')
    assert.equal(probabilityClass(Number.NEGATIVE_INFINITY), 'p-unknown')
  })
})
