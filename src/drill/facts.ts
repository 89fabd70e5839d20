/** Names in `environmentFacts` of the drill record that the report knows. */

/** Where the record lies in the store, or {@link RECORD_NOT_STORED}. */
export const RECORD_IN_STORE = "record in the store";
export const RECORD_NOT_STORED = "not stored";
