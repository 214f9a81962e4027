/**
 * The page about the last request: prompt, candidates, what each filter did, timings.
 *
 * Pure: the server's record in, HTML out. The content security policy of the page allows one style sheet of the
 * extension and nothing else: no scripts, and no inline styles, so that colours are classes.
 */

import type { CandidateAccount, Counters, LastRequest, OtherFilePiece, PromptAccount } from './protocol'
import { explain } from './reasons'

export interface PageOptions {
  /** The origin of the webview's resources, for the content security policy. */
  readonly cspSource: string
  readonly styleUri: string
  /** A `command:` URI that updates the page. */
  readonly refreshUri: string
}

/** The page for a request; null if there was none yet. */
export function renderPage(request: LastRequest | null, counters: Counters | null, options: PageOptions): string {
  const body = request === null ? emptyBody() : requestBody(request)
  return `<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src ${options.cspSource};">
<meta name="viewport" content="width=device-width, initial-scale=1">
<link rel="stylesheet" href="${escape(options.styleUri)}">
<title>Last request</title>
</head>
<body>
<header><h1>Last request</h1><a class="refresh" href="${escape(options.refreshUri)}">Refresh</a></header>
${body}
${footer(counters)}
</body>
</html>`
}

function footer(counters: Counters | null): string {
  const { shown, accepted, partlyAccepted } = counters?.suggestions ?? {}
  if (!isNumber(shown) || !isNumber(accepted) || !isNumber(partlyAccepted)) return ''
  return `<footer class="quiet">Since the server started: ${shown} shown, ${accepted} accepted, ${partlyAccepted} partly accepted.</footer>`
}

function emptyBody(): string {
  return '<p>No suggestion was requested yet. Type in a file, then refresh.</p>'
}

function requestBody(request: LastRequest): string {
  return [summary(request), timings(request), prompt(request.prompt), candidates(request.candidates)].join('\n')
}

function summary(request: LastRequest): string {
  const location = request.position
    ? `${fileName(request.uri)}:${request.position.line + 1}:${request.position.character + 1}`
    : fileName(request.uri)
  const rows: [string, string][] = [
    ['Location', location],
    ['Method', [request.method, request.trigger].filter(Boolean).join(', ')],
    ['Model', request.model],
    ['Source', request.source === 'memory' ? 'suggestion cache' : (request.source ?? 'not answered')],
  ]
  const reason =
    request.reason === null
      ? ''
      : `<p class="reason"><code>${escape(request.reason)}</code> ${escape(explain(request.reason))} ${escape(request.message ?? '')}</p>`
  return `<table class="summary">${rows.map(([k, v]) => row(k, escape(v))).join('')}</table>${reason}`
}

const PHASES = ['queue_ms', 'prefill_ms', 'decode_ms', 'score_ms'] as const

function timings(request: LastRequest): string {
  const measured = Object.entries(request.timings).filter((entry): entry is [string, number] => isNumber(entry[1]))
  if (measured.length === 0) return ''
  const rows = measured.map(([name, value]) => row(phaseName(name), `${value.toFixed(1)} ms`, phaseClass(name)))
  const usage = Object.entries(request.usage ?? {})
    .filter((entry): entry is [string, number] => isNumber(entry[1]))
    .map(([name, value]) => row(name.replaceAll('_', ' '), String(value)))
  return `<section id="timings"><h2>Timings</h2>${phaseBar(new Map(measured))}
<div class="columns"><table>${rows.join('')}</table><table>${usage.join('')}</table></div></section>`
}

/** The phases side by side as SVG, whose attributes don't count as inline styles. */
function phaseBar(measured: ReadonlyMap<string, number>): string {
  const phases = PHASES.map((name) => [name, Math.max(0, measured.get(name) ?? 0)] as const)
  const sum = phases.reduce((total, [, value]) => total + value, 0)
  if (sum === 0) return ''
  let x = 0
  const bars = phases.map(([name, value]) => {
    const width = (100 * value) / sum
    const bar = `<rect class="${phaseClass(name)}" x="${x.toFixed(2)}" y="0" width="${width.toFixed(2)}" height="4"><title>${phaseName(name)}: ${value.toFixed(1)} ms</title></rect>`
    x += width
    return bar
  })
  return `<svg class="phases" viewBox="0 0 100 4" preserveAspectRatio="none" role="img" aria-label="Timings">${bars.join('')}</svg>`
}

function phaseName(name: string): string {
  return name.replace(/_ms$/, '').replaceAll('_', ' ')
}

function phaseClass(name: string): string {
  return (PHASES as readonly string[]).includes(name) ? `phase-${phaseName(name)}` : ''
}

function prompt(account: PromptAccount | null): string {
  if (account === null) return '<section id="prompt"><h2>Prompt</h2><p>There was no prompt.</p></section>'
  const { cached, exact } = cachedLength(account)
  const estimate = exact || cached === 0 ? '' : ' (the shaded part is estimated)'
  const header = account.header === '' ? '' : `, including a header of ${account.header.length} characters`
  return `<section id="prompt"><h2>Prompt</h2>
<p>${account.tokens} tokens, ${account.text.length} characters${header}, for a ${escape(account.shape)}.
<span class="cached">${account.cachedTokens} tokens came from the prefix cache</span>${estimate}; the others were computed.</p>
<pre class="prompt">${shade(account.text, cached, account.header.length)}<span class="cursor" title="the cursor"></span></pre>
${otherFiles(account.otherFiles ?? [])}</section>`
}

function otherFiles(pieces: readonly OtherFilePiece[]): string {
  if (pieces.length === 0) return '<p class="quiet">Nothing of other files is in the prompt.</p>'
  const rows = pieces.map((piece) =>
    row(piece.path, `${escape(piece.why)} (${escape(piece.source)}), ${piece.tokens} tokens`),
  )
  return `<h3>Of other files</h3><table class="other-files">${rows.join('')}</table>`
}

/** The number of cached characters of the prompt; estimated from the tokens if the server doesn't report it. */
export function cachedLength(account: PromptAccount): { cached: number; exact: boolean } {
  const { text, tokens, cachedTokens, cachedCharacters } = account
  if (isNumber(cachedCharacters)) {
    // The server counts code points, JavaScript counts UTF-16 code units.
    return { cached: Array.from(text).slice(0, Math.max(0, cachedCharacters)).join('').length, exact: true }
  }
  if (cachedTokens <= 0 || tokens <= 0) return { cached: 0, exact: true }
  if (cachedTokens >= tokens) return { cached: text.length, exact: true }
  return { cached: Math.round((text.length * cachedTokens) / tokens), exact: false }
}

function shade(text: string, cached: number, header: number): string {
  const cuts = [...new Set([0, Math.min(header, text.length), Math.min(cached, text.length), text.length])]
  cuts.sort((a, b) => a - b)
  return cuts
    .slice(0, -1)
    .map((start, i) => {
      const classes = [start < cached ? 'cached' : 'fresh', start < header ? 'header' : 'window']
      return `<span class="${classes.join(' ')}">${escape(text.slice(start, cuts[i + 1]))}</span>`
    })
    .join('')
}

function candidates(all: readonly CandidateAccount[]): string {
  const legend = `<p class="legend">Probability of each token: ${legendTokens()}</p>`
  const content = all.length === 0 ? '<p>None.</p>' : legend + all.map(candidate).join('\n')
  return `<section id="candidates"><h2>Candidates</h2>${content}</section>`
}

function legendTokens(): string {
  return [0.02, 0.15, 0.3, 0.5, 0.7, 0.85, 0.99]
    .map((p) => `<span class="${probabilityClass(Math.log(p))}">${Math.round(100 * p)}%</span>`)
    .join(' ')
}

function candidate(account: CandidateAccount, index: number): string {
  const outcome = account.shown
    ? '<span class="shown">shown</span>'
    : `<span class="dropped">dropped${account.reason === null ? '' : `: <code>${escape(account.reason)}</code>`}</span>`
  const rows: [string, string][] = [
    ['score', figure(account.score)],
    ...Object.entries(account.parts ?? {}).map(([k, v]): [string, string] => [`· ${k.replaceAll('_', ' ')}`, figure(v)]),
    ['mean log-probability', figure(account.meanLogprob)],
    ['log-probability of the text after the cursor', figure(account.suffixLogprob)],
  ]
  const why = account.reason === null ? '' : `<p>${escape(explain(account.reason))}</p>`
  const trail =
    account.trail.length === 0
      ? '<p class="quiet">No filter changed it.</p>'
      : `<ol class="trail">${account.trail.map((line) => `<li>${escape(line)}</li>`).join('')}</ol>`
  return `<article class="candidate"><h3>${index + 1}. ${outcome} <span class="score">${figure(account.score)}</span></h3>${why}
<h4>As inserted</h4><pre>${escape(account.text) || '<span class="quiet">nothing</span>'}</pre>
<h4>As the model wrote it</h4><pre class="tokens">${tokens(account)}</pre>
<div class="columns"><table>${rows.map(([k, v]) => row(k, v)).join('')}</table><div>${trail}</div></div></article>`
}

function tokens(account: CandidateAccount): string {
  if (account.tokens.length === 0) return escape(account.raw) || '<span class="quiet">nothing</span>'
  return account.tokens.map((token, i) => tokenSpan(token, account.tokenLogprobs[i] ?? null)).join('')
}

function tokenSpan(token: string, logprob: number | null): string {
  const title = logprob === null ? 'probability unknown' : `${percent(logprob)} (log-probability ${logprob.toFixed(2)})`
  const text = escape(token).replaceAll('\r', '␍').replaceAll('\n', '↵\n')
  return `<span class="${probabilityClass(logprob)}" title="${title}">${text}</span>`
}

/** A class of the style sheet, from `p0` (unlikely) to `p9` (certain). */
export function probabilityClass(logprob: number | null): string {
  if (logprob === null || !Number.isFinite(logprob)) return 'p-unknown'
  return `p${Math.min(9, Math.max(0, Math.floor(10 * Math.exp(logprob))))}`
}

function percent(logprob: number): string {
  const value = 100 * Math.exp(logprob)
  return `${value < 10 ? value.toFixed(1) : value.toFixed(0)}%`
}

function figure(value: number | null): string {
  return isNumber(value) ? value.toFixed(3) : '–'
}

function isNumber(value: number | null | undefined): value is number {
  return typeof value === 'number' && Number.isFinite(value)
}

function row(name: string, html: string, cls = ''): string {
  return `<tr${cls === '' ? '' : ` class="${cls}"`}><th scope="row">${escape(name)}</th><td>${html}</td></tr>`
}

function fileName(uri: string): string {
  const last = uri.split('/').at(-1) ?? uri
  try {
    return decodeURIComponent(last)
  } catch {
    return last // not a percent-encoded name
  }
}

/** Escapes text for HTML and for quoted attributes. */
export function escape(text: string): string {
  return text
    .replaceAll('&', '&amp;')
    .replaceAll('<', '&lt;')
    .replaceAll('>', '&gt;')
    .replaceAll('"', '&quot;')
    .replaceAll("'", '&#39;')
}
