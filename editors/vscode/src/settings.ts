/**
 * Keeps apart what the user and what the workspace has chosen.
 *
 * VS Code merges both, and takes any name from a workspace. The server gets the values of the settings that the manifest
 * declares, layer by layer, and takes from a workspace only what it may choose.
 */

/** What VS Code says about one setting. */
export interface Inspected {
  readonly defaultValue?: unknown
  readonly globalValue?: unknown
  readonly workspaceValue?: unknown
  readonly workspaceFolderValue?: unknown
}

/** The answer to `workspace/configuration` for the server's section. */
export function layers(
  names: readonly string[],
  inspect: (name: string) => Inspected | undefined,
): Record<string, unknown> {
  const settings: Record<string, unknown> = {}
  const theirs: Record<string, unknown> = {}
  for (const name of names) {
    const inspected = inspect(name)
    if (inspected === undefined) continue
    settings[name] = inspected.globalValue ?? inspected.defaultValue
    const chosen = inspected.workspaceFolderValue ?? inspected.workspaceValue
    if (chosen !== undefined) theirs[name] = chosen
  }
  return Object.keys(theirs).length > 0 ? { ...settings, workspaceSettings: theirs } : settings
}

/** The names of a section's settings in a manifest, without the section. */
export function declared(manifest: unknown, section: string): string[] {
  const { contributes } = manifest as {
    contributes: { configuration: readonly { properties: Readonly<Record<string, unknown>> }[] }
  }
  const names = contributes.configuration.flatMap(({ properties }) => Object.keys(properties))
  return names.filter((name) => name.startsWith(`${section}.`)).map((name) => name.slice(section.length + 1))
}
