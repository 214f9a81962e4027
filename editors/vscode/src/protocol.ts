/**
 * What the language server says beyond LSP: its status, and the account of its last request.
 *
 * Knows shapes and names only; imports neither `vscode` nor the client, so that pages and tests can use it.
 */

export const STATUS_NOTIFICATION = 'didChangeStatus'

/** Commands that the server answers through `workspace/executeCommand`. */
export const ServerCommand = {
  pause: 'codegen.pause',
  restartEngine: 'codegen.restartEngine',
  showLastRequest: 'codegen.showLastRequest',
  status: 'codegen.status',
  surprise: 'codegen.surprise',
  unloadModel: 'codegen.unloadModel',
  writeBody: 'codegen.writeBody',
} as const

export type ServerState = 'starting' | 'loading' | 'ready' | 'busy' | 'paused' | 'error'

const SERVER_STATES: readonly string[] = ['starting', 'loading', 'ready', 'busy', 'paused', 'error']

/** `stopped` is the editor's own: there is no server to say anything. */
export interface Status {
  readonly state: ServerState | 'stopped'
  /** A sentence for a person. */
  readonly message: string
  /** The model's name; empty while unknown. */
  readonly model: string
  /** How much of the model is loaded, from 0 to 100; null where unknown. */
  readonly percent: number | null
}

/** The status in a notification of the server. A shape that is not understood counts as `starting`. */
export function parseStatus(params: unknown): Status {
  const body = (typeof params === 'object' && params !== null ? params : {}) as Record<string, unknown>
  const { state, message, model, percent } = body
  return {
    state: typeof state === 'string' && SERVER_STATES.includes(state) ? (state as ServerState) : 'starting',
    message: typeof message === 'string' ? message : '',
    model: typeof model === 'string' ? model : '',
    percent: typeof percent === 'number' && Number.isFinite(percent) ? percent : null,
  }
}

export interface LastRequest {
  readonly id: string
  readonly uri: string
  readonly version: number | null
  readonly position: { readonly line: number; readonly character: number } | null
  readonly method: string
  readonly trigger: string | null
  /** Why the answer was empty; null where something was shown. */
  readonly reason: string | null
  /** What the engine said, where it failed. */
  readonly message?: string
  readonly source: 'engine' | 'memory' | null
  readonly model: string
  readonly prompt: PromptAccount | null
  readonly candidates: readonly CandidateAccount[]
  /** Milliseconds by name (`queue_ms`, `prefill_ms`, `decode_ms`, `score_ms`, `total_ms`). */
  readonly timings: Readonly<Record<string, number | null>>
  readonly usage: Readonly<Record<string, number | null>> | null
}

export interface PromptAccount {
  readonly text: string
  readonly header: string
  readonly window: string
  readonly shape: string
  readonly tokens: number
  readonly cachedTokens: number
  /** How many characters of `text` the cached tokens spell, where the server can tell. */
  readonly cachedCharacters?: number | null
}

export interface CandidateAccount {
  readonly id: string | null
  readonly text: string
  readonly raw: string
  readonly meanLogprob: number | null
  readonly suffixLogprob: number | null
  readonly score: number | null
  readonly parts: Readonly<Record<string, number>> | null
  readonly shown: boolean
  readonly reason: string | null
  readonly trail: readonly string[]
  readonly tokens: readonly string[]
  readonly tokenLogprobs: readonly (number | null)[]
}

/** What the server's status command adds to the status: how often suggestions were shown and taken. */
export interface Counters {
  readonly suggestions?: {
    readonly shown: number
    readonly accepted: number
    readonly partlyAccepted: number
  }
}

export interface Place {
  readonly line: number
  readonly character: number
}

/** How surprising a document is to the model; the server's command says why where it can't be measured. */
export interface Surprise {
  readonly uri: string
  /** Of the document that was measured. */
  readonly version: number | null
  readonly model: string
  /** Why nothing was measured; null where something was. */
  readonly reason: string | null
  readonly message: string
  readonly totals: {
    readonly tokens: number
    readonly bits: number
    readonly bitsPerToken: number
    readonly bitsPerByte: number
    readonly perplexity: number
  } | null
  /** The most surprising first. */
  readonly lines: readonly SurprisingLine[]
  readonly tokens: readonly TokenSurprise[]
}

export interface SurprisingLine {
  /** From 0. */
  readonly line: number
  readonly bits: number
  readonly bitsPerToken: number
  readonly tokens: number
  readonly text: string
}

export interface TokenSurprise {
  readonly range: { readonly start: Place; readonly end: Place }
  readonly bits: number
}

/** The answer to a request to unload the model. */
export interface Unloaded {
  readonly unloaded: boolean
  readonly message: string
}
