/**
 * The messages of the language server beyond LSP: its status, the record of a request, surprise.
 *
 * Types and names only; imports neither `vscode` nor the client, so that pages and tests can use it.
 */

export const STATUS_NOTIFICATION = 'didChangeStatus'

/** Commands of the server for `workspace/executeCommand`. */
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

/** A status; the extension itself sets the state `stopped` while no server runs. */
export interface Status {
  readonly state: ServerState | 'stopped'
  /** A sentence for the user. */
  readonly message: string
  /** The name of the model; empty if unknown. */
  readonly model: string
  /** The part of the model that is loaded, in percent; null if unknown. */
  readonly percent: number | null
}

/** The status in a notification of the server. An unknown state counts as `starting`. */
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

/** The server's record of a request. */
export interface LastRequest {
  readonly id: string
  readonly uri: string
  readonly version: number | null
  readonly position: Position | null
  readonly method: string
  readonly trigger: string | null
  /** Why the answer was empty; null if it was not. */
  readonly reason: string | null
  /** The engine's error message, if it failed. */
  readonly message?: string
  readonly source: 'engine' | 'memory' | null
  readonly model: string
  readonly prompt: PromptAccount | null
  readonly candidates: readonly CandidateAccount[]
  /** Milliseconds by name (`queue_ms`, `prefill_ms`, `decode_ms`, `score_ms`, `total_ms`). */
  readonly timings: Readonly<Record<string, number | null>>
  readonly usage: Readonly<Record<string, number | null>> | null
}

/** A piece of another file in a prompt. */
export interface OtherFilePiece {
  readonly path: string
  readonly source: string
  readonly why: string
  readonly text: string
  readonly tokens: number
}

export interface PromptAccount {
  readonly text: string
  /** What the prompt shows of other files; absent in older servers. */
  readonly otherFiles?: readonly OtherFilePiece[]
  readonly header: string
  readonly window: string
  readonly shape: string
  readonly tokens: number
  readonly cachedTokens: number
  /** The number of characters of `text` in the cached tokens, if the server knows it. */
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

/** The counts that the server's status command adds to the status. */
export interface Counters {
  readonly suggestions?: {
    readonly shown: number
    readonly accepted: number
    readonly partlyAccepted: number
  }
}

export interface Position {
  readonly line: number
  readonly character: number
}

/** The surprise of a document, or the reason why it can't be measured. */
export interface Surprise {
  readonly uri: string
  /** The version of the document that was measured. */
  readonly version: number | null
  readonly model: string
  /** Why nothing was measured; null if something was. */
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
  /** The number of the line, from 0. */
  readonly line: number
  readonly bits: number
  readonly bitsPerToken: number
  readonly tokens: number
  readonly text: string
}

export interface TokenSurprise {
  readonly range: { readonly start: Position; readonly end: Position }
  readonly bits: number
}

/** The answer to a request to unload the model. */
export interface Unloaded {
  readonly unloaded: boolean
  readonly message: string
}
