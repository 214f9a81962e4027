/**
 * The process of the language server: finds it, starts it, restarts it, stops it.
 *
 * Owns the client, the status, and what the user paused, which a new process has to be told again. Knows nothing
 * of how these are shown.
 */

import { homedir } from 'node:os'
import {
  type CancellationToken,
  type Disposable,
  type LogOutputChannel,
  EventEmitter,
  env,
  extensions,
  version as editorVersion,
  workspace,
} from 'vscode'
import { type Executable, LanguageClient, type LanguageClientOptions, State } from 'vscode-languageclient/node'

import { type Found, type Missing, discover } from './discovery'
import { Events } from './events'
import { machine } from './machine'
import { STATUS_NOTIFICATION, ServerCommand, type Status, parseStatus } from './protocol'
import { activePython } from './python'
import { declared, layers } from './settings'

export const EXTENSION_ID = 'codegen-lsp.codegen-lsp'
export const EDITOR_SECTION = 'codegen-lsp'
export const SERVER_SECTION = 'codegen'

/** Documents with suggestions, of any language: a setting of the server chooses the languages. */
export const DOCUMENTS = ['file', 'untitled', 'vscode-notebook-cell', 'vscode-vfs'].map((scheme) => ({ scheme }))

export class Server implements Disposable {
  readonly #log: LogOutputChannel
  readonly #changed = new EventEmitter<void>()
  readonly #opened: Disposable
  readonly #pausedDocuments = new Set<string>()
  #pausedEverywhere = false
  #client: LanguageClient | undefined
  #events: Events | undefined
  #found: Found | Missing | undefined
  #status: Status = stopped('Not started yet.')
  /** Starts and stops run one after the other. */
  #queue: Promise<void> = Promise.resolve()

  /** Fires when the status or the pauses have changed. */
  readonly onDidChange = this.#changed.event

  constructor(log: LogOutputChannel) {
    this.#log = log
    // The server forgets a closed document; in this window it stays paused.
    this.#opened = workspace.onDidOpenTextDocument(({ uri }) => {
      if (this.isPaused(uri.toString())) this.#tell(true, uri.toString()).catch(this.#report)
    })
  }

  get status(): Status {
    return this.#status
  }

  /** Where the server was found, or why it wasn't; undefined before the first start. */
  get found(): Found | Missing | undefined {
    return this.#found
  }

  isPaused(uri?: string): boolean {
    return uri === undefined ? this.#pausedEverywhere : this.#pausedDocuments.has(uri)
  }

  /** Finds and starts the server, and stops the previous process first. */
  restart(): Promise<void> {
    return this.#enqueue(async () => {
      await this.#stop()
      await this.#start()
    })
  }

  stop(): Promise<void> {
    return this.#enqueue(() => this.#stop())
  }

  dispose(): void {
    this.#opened.dispose()
    this.#changed.dispose()
  }

  /** Runs a command of the server. Rejects if no server runs, or with the error of the server. */
  execute<T>(command: string, ...args: unknown[]): Promise<T> {
    return this.executeUntil<T>(undefined, command, ...args)
  }

  /** Like `execute`; when `token` is cancelled, the server stops working on the command. */
  async executeUntil<T>(token: CancellationToken | undefined, command: string, ...args: unknown[]): Promise<T> {
    if (this.#client?.isRunning() !== true) throw new Error(`The server is not running. ${this.#status.message}`)
    return this.#client.sendRequest<T>('workspace/executeCommand', { command, arguments: args }, token)
  }

  /** Pauses or resumes suggestions, everywhere or in one document, in this process and in later ones. */
  async pause(paused: boolean, uri?: string): Promise<void> {
    if (uri === undefined) this.#pausedEverywhere = paused
    else if (paused) this.#pausedDocuments.add(uri)
    else this.#pausedDocuments.delete(uri)
    this.#changed.fire()
    await this.#tell(paused, uri)
  }

  #enqueue(work: () => Promise<void>): Promise<void> {
    const result = this.#queue.then(work)
    this.#queue = result.catch(() => undefined) // the caller handles the error
    return result
  }

  async #start(): Promise<void> {
    this.#setStatus({ state: 'starting', message: 'Looking for codegen-lsp.', model: '', percent: null })
    const settings = workspace.getConfiguration(EDITOR_SECTION)
    this.#found = await discover(
      {
        setting: settings.get('serverPath', ''),
        python: await activePython(),
        folders: (workspace.workspaceFolders ?? []).filter((f) => f.uri.scheme === 'file').map((f) => f.uri.fsPath),
        trusted: workspace.isTrusted,
      },
      machine,
    )
    if (this.#found.kind === 'missing') {
      this.#log.warn(this.#found.message)
      this.#setStatus(stopped(this.#found.message))
      return
    }
    const args = [...this.#found.args, ...settings.get<string[]>('serverArguments', [])]
    this.#log.info(`Starting ${[this.#found.command, ...args].join(' ')} (from the ${this.#found.source})`)
    const environment = settings.get<Record<string, string>>('serverEnvironment', {})
    await this.#connect({ command: this.#found.command, args, options: { env: serverEnv(environment), cwd: cwd() } })
  }

  async #connect(executable: Executable): Promise<void> {
    const events = new Events((method, params) => void client.sendNotification(method, params))
    const client = new LanguageClient(EDITOR_SECTION, 'CodeGen', executable, this.#clientOptions(events))
    this.#client = client
    this.#events = events
    client.onNotification(STATUS_NOTIFICATION, (params: unknown) => {
      if (this.#client === client) this.#setStatus(parseStatus(params))
    })
    client.onDidChangeState(({ newState }) => {
      if (this.#client === client) this.#stateChanged(newState).catch(this.#report)
    })
    try {
      await client.start()
    } catch (error) {
      const reason = error instanceof Error ? error.message : String(error)
      this.#setStatus({ ...stopped(`The server did not start: ${reason} See the log.`), state: 'error' })
    }
  }

  #clientOptions(events: Events): LanguageClientOptions {
    return {
      documentSelector: DOCUMENTS,
      outputChannel: this.#log,
      // Lines of all levels come from standard error; the client would log all of them as errors.
      stdioOptions: { stdout: () => undefined, stderr: (stream) => stream.on('data', this.#logLines()) },
      initializationOptions: {
        editorInfo: { name: env.appName, version: editorVersion },
        editorPluginInfo: { name: 'codegen-lsp', version: extensionVersion() },
        // The answer to `workspace/configuration` tells a workspace's values from the user's.
        filtersWorkspaceSettings: true,
      },
      middleware: { ...events.middleware, workspace: { configuration: ({ items }) => items.map(answer) } },
    }
  }

  #logLines(): (chunk: Buffer | string) => void {
    let incomplete = ''
    return (chunk) => {
      const lines = (incomplete + chunk.toString()).split(/\r?\n/)
      incomplete = lines.pop() ?? ''
      for (const line of lines) this.#log.info(line)
    }
  }

  async #stateChanged(state: State): Promise<void> {
    if (state === State.Starting) {
      this.#setStatus({ state: 'starting', message: 'Starting the server.', model: '', percent: null })
    } else if (state === State.Running) {
      if (this.#pausedEverywhere) await this.#tell(true)
      for (const uri of this.#pausedDocuments) await this.#tell(true, uri)
    } else {
      this.#setStatus({ ...stopped('The server stopped; see the log. Restart it from this menu.'), state: 'error' })
    }
  }

  async #tell(paused: boolean, uri?: string): Promise<void> {
    if (this.#client?.isRunning() !== true) return // it is told after its start
    await this.execute(ServerCommand.pause, uri === undefined ? { paused } : { paused, uri })
  }

  readonly #report = (error: unknown): void => {
    this.#log.error(error instanceof Error ? error.message : String(error))
  }

  async #stop(): Promise<void> {
    const client = this.#client
    this.#events?.dispose()
    this.#client = this.#events = undefined
    this.#setStatus(stopped('The server was stopped.'))
    // A client that has failed can't be stopped, only disposed of.
    await client?.dispose().catch(this.#report)
  }

  #setStatus(status: Status): void {
    this.#status = status
    this.#changed.fire()
  }
}

function stopped(message: string): Status {
  return { state: 'stopped', message, model: '', percent: null }
}

function extensionVersion(): string {
  const manifest = extensions.getExtension(EXTENSION_ID)?.packageJSON as { version?: string } | undefined
  return manifest?.version ?? ''
}

/** The answer to one item of a `workspace/configuration`; only the section of the server is known. */
function answer({ section }: { readonly section?: string }): Record<string, unknown> {
  if (section !== SERVER_SECTION) return {}
  const settings = workspace.getConfiguration(section)
  const names = declared(extensions.getExtension(EXTENSION_ID)?.packageJSON, section)
  return layers(names, (name) => settings.inspect(name))
}

/** The environment of the server; PYTHONSAFEPATH keeps server and engine from importing from the workspace. */
function serverEnv(extra: Readonly<Record<string, string>>): NodeJS.ProcessEnv {
  return { ...process.env, PYTHONSAFEPATH: '1', PYTHONUNBUFFERED: '1', ...extra }
}

/** Relative folders in the settings are relative to the first workspace folder. */
function cwd(): string {
  const folder = workspace.workspaceFolders?.find((f) => f.uri.scheme === 'file')
  return folder?.uri.fsPath ?? homedir()
}
