import type { Changed } from "../store/changes.ts";
import type { TableName } from "../store/tables.ts";

/** What became of a row, in an event's word. */
export const actionOf = ({ old, row }: Changed<TableName>) =>
  old === undefined ? "create" : row === undefined ? "remove" : "update";

/** Attributes of an event for what has changed, as Docker names them. What was not there before has no `old`. */
export const changedAttributes = (
  told: Readonly<Record<string, readonly [was: string | undefined, is: string | undefined]>>,
): Record<string, string> =>
  Object.fromEntries(
    Object.entries(told).flatMap(([name, [was, is]]) =>
      was === is || is === undefined
        ? []
        : [...(was === undefined ? [] : [[`${name}.old`, was] as const]), [`${name}.new`, is] as const],
    ),
  );
