/** Texts of the status bar item for a status. Pure: no `vscode`. */

import type { Status } from './protocol'

export interface Presentation {
  /** Text with `$(icon)`s. */
  readonly text: string
  readonly tooltip: string
  /** For screen readers. */
  readonly label: string
  readonly severity: 'warning' | 'error' | null
}

const TITLE = 'CodeGen'

/** The presentation of a status; `pausedHere` says that the active document is paused. */
export function present(status: Status, pausedHere: boolean): Presentation {
  const name = status.model === '' ? TITLE : shortName(status.model)
  const state = pausedHere && (status.state === 'ready' || status.state === 'busy') ? 'paused' : status.state
  const sentence = pausedHere && state === 'paused' ? 'Suggestions are paused in this file.' : status.message
  const percent = status.percent === null ? '' : ` ${Math.round(clamp(status.percent))}%`
  switch (state) {
    case 'starting':
      return view('loading~spin', TITLE, 'starting', sentence)
    case 'loading':
      return view('loading~spin', `${name}${percent}`, `loading ${name}${percent}`, sentence)
    case 'ready':
      return view('sparkle', name, `ready, ${name}`, sentence)
    case 'busy':
      return view('sync~spin', name, `working, ${name}`, sentence)
    case 'paused':
      return view('debug-pause', name, 'paused', sentence)
    case 'stopped':
      return { ...view('circle-slash', TITLE, 'not running', sentence), severity: 'warning' }
    case 'error':
      return { ...view('error', TITLE, 'error', sentence), severity: 'error' }
  }
}

function view(icon: string, text: string, state: string, sentence: string): Presentation {
  const label = `${TITLE}: ${state}`
  return { text: `$(${icon}) ${text}`, tooltip: sentence === '' ? label : `${label}\n${sentence}`, label, severity: null }
}

/** The last part of a hub name or of a folder, shortened for the status bar. */
export function shortName(model: string): string {
  const last = model.replace(/[\\/]+$/, '').split(/[\\/]/).at(-1) ?? ''
  const name = last === '' ? model : last
  // `$(` starts an icon in the status bar.
  return (name.length > 30 ? `${name.slice(0, 29)}…` : name).replaceAll('$(', '$ (')
}

function clamp(percent: number): number {
  return Math.min(100, Math.max(0, percent))
}
