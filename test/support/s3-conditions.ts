import type { IncomingMessage } from "node:http";
import { answerS3Error, type Trouble } from "./http.ts";

export const isConditional = (request: IncomingMessage): boolean => request.headers["if-none-match"] === "*";

/** Makes a hop honour `If-None-Match: *`, one write at a time, as S3, R2 and MinIO do; s3rver ignores it. */
export function honourConditions(target: string): Trouble {
  let queue = Promise.resolve();
  return async (request, response) => {
    if (!isConditional(request)) return false;
    const turn = queue;
    const { promise, resolve } = Promise.withResolvers<void>();
    queue = promise;
    await turn;
    response.once("close", resolve);
    const there = await fetch(new URL(request.url ?? "/", target), { method: "HEAD" });
    if (!there.ok) return false;
    request.resume();
    return answerS3Error(response, 412, "PreconditionFailed");
  };
}
