/** The server's reason codes as sentences, with advice if there is any. */

const REASONS: Readonly<Record<string, string>> = {
  loading: 'The model was still loading.',
  starting: 'The engine was still starting.',
  'engine-unavailable': 'No engine answered. See the log; restarting the engine may help.',
  'engine-error': 'The engine failed on this request. See the log.',
  cancelled: 'A newer request or a moved cursor cancelled this one.',
  paused: 'Suggestions are paused.',
  'language-disabled': 'Suggestions are turned off for this language in the settings.',
  'excluded-file': 'The file is excluded: by the setting exclude, as a file of secrets, or by .gitignore.',
  'document-too-large': 'The document is larger than the setting maxFileSize.',
  'nothing-to-go-on': 'There is not enough text before the cursor.',
  'inside-word': 'The cursor is inside a word.',
  empty: 'The model wrote nothing.',
  repetition: 'The text repeats itself.',
  'open-string': 'The line would end inside a string.',
  'repeats-suffix': 'The text repeats the text after the cursor.',
  'repeats-prefix': 'The text repeats the text before the cursor.',
  'low-confidence': 'The model was not confident enough. The threshold is the setting minConfidence.',
  duplicate: 'A better candidate is the same.',
  'mismatches-selection': 'The text does not continue the selected entry of the completion menu.',
  busy: 'The engine was busy with other requests.',
}

/** A sentence for a reason code; an unknown code, of a newer server, is returned unchanged. */
export function explain(code: string): string {
  return REASONS[code] ?? code
}
