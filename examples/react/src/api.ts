import createClient from "openapi-fetch";
import type { components, paths } from "./schema";

export type Item = components["schemas"]["ItemRead"];
export type Problem = components["schemas"]["Problem"];

// The browser sends the cookie of the session by itself, and scripts cannot read it.
export const api = createClient<paths>();

/** Return one line on what went wrong, for people. */
export function describe(problem: Problem): string {
  const [first] = problem.errors ?? [];
  return first ? `${first.loc.at(-1)}: ${first.msg}` : problem.detail;
}
