/** The server's reason codes in words, each with what to do about it where something can be done. */

const REASONS: Readonly<Record<string, string>> = {
  loading: 'The model was still loading.',
  starting: 'The engine was still starting.',
  'engine-unavailable': 'No engine answered. The log says why; restarting the engine may help.',
  'engine-error': 'The engine failed on this request. The log says why.',
  cancelled: 'A newer request, or moving on, cancelled this one.',
  paused: 'Suggestions are paused.',
  'language-disabled': 'Suggestions are off for this language, in the settings.',
  'document-too-large': 'The document is larger than the settings allow.',
  'nothing-to-go-on': 'There is too little text before the cursor.',
  'inside-word': 'The cursor is inside a word.',
  empty: 'The model wrote nothing.',
  repetition: 'It repeats itself.',
  'open-string': 'Its line would end in the middle of a string.',
  'repeats-suffix': 'It repeats the text after the cursor.',
  'repeats-prefix': 'It repeats the text before the cursor.',
  'low-confidence': 'The model was not sure enough. The confidence threshold is in the settings.',
  duplicate: 'Another candidate says the same.',
  'mismatches-selection': 'It disagrees with the selected entry of the completion menu.',
  busy: 'The engine was busy with other requests.',
}

/** A sentence for a reason code; a code of a newer server is shown as it is. */
export function explain(code: string): string {
  return REASONS[code] ?? code
}
