import { createServer, type IncomingMessage, request, type Server, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";

export interface Listening {
  /** `http://127.0.0.1:<port>` */
  readonly url: string;
  readonly port: number;
  /** Ends every connection too. */
  close(): Promise<void>;
  /** Waits until no client is connected any more. */
  idle(): Promise<void>;
}

/** Starts a server on a free port of the loopback interface. */
export async function listen(server: Server): Promise<Listening> {
  await new Promise<void>((resolve, reject) => {
    server.once("error", reject);
    server.listen(0, "127.0.0.1", resolve);
  });
  const { port } = server.address() as AddressInfo;
  return {
    url: `http://127.0.0.1:${port}`,
    port,
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
    async idle() {
      while ((await connections(server)) > 0) await new Promise((resolve) => setTimeout(resolve, 10));
    },
  };
}

function connections(server: Server): Promise<number> {
  return new Promise((resolve, reject) => {
    server.getConnections((error, count) => (error === null ? resolve(count) : reject(error)));
  });
}

/** Spoils one exchange: true when it answered (or cut the connection) itself, false to let the request through. */
export type Trouble = (request: IncomingMessage, response: ServerResponse) => boolean | Promise<boolean>;

export interface TroubledProxy extends Listening {
  /** Set to spoil requests; undefined lets everything through. */
  trouble: Trouble | undefined;
  /** `PUT /bucket/key`, also of requests that never came through. */
  readonly requests: string[];
}

/** A real HTTP hop in front of a server, in which things go wrong on demand. */
export async function troubledProxy(target: string): Promise<TroubledProxy> {
  const requests: string[] = [];
  const server = createServer((incoming, outgoing) => {
    requests.push(`${incoming.method} ${incoming.url}`);
    void handle(incoming, outgoing).catch(() => outgoing.destroy());
  });

  async function handle(incoming: IncomingMessage, outgoing: ServerResponse): Promise<void> {
    if ((await proxy.trouble?.(incoming, outgoing)) === true) return;
    forward(target, incoming, outgoing);
  }

  const proxy: TroubledProxy = { ...(await listen(server)), trouble: undefined, requests };
  return proxy;
}

/** Passes a request on; `spoil` may change what comes back. */
export function forward(
  target: string,
  incoming: IncomingMessage,
  outgoing: ServerResponse,
  spoil?: (answer: IncomingMessage, outgoing: ServerResponse) => void,
): void {
  const onward = request(
    new URL(incoming.url ?? "/", target),
    { method: incoming.method, headers: incoming.headers, agent: false },
    (answer) => {
      if (spoil !== undefined) return spoil(answer, outgoing);
      outgoing.writeHead(answer.statusCode ?? 502, answer.headers);
      answer.pipe(outgoing);
    },
  );
  onward.on("error", () => outgoing.destroy());
  incoming.on("error", () => onward.destroy());
  outgoing.on("close", () => onward.destroy());
  incoming.pipe(onward);
}

/** An S3 error answer, as XML. */
export function answerS3Error(
  response: ServerResponse,
  status: number,
  code: string,
  extra: { readonly headers?: Readonly<Record<string, string>>; readonly fields?: string } = {},
): true {
  const xml = `<?xml version="1.0" encoding="UTF-8"?>\n<Error><Code>${code}</Code><Message>It is ${code}.</Message>${extra.fields ?? ""}</Error>`;
  response.writeHead(status, { "content-type": "application/xml", ...extra.headers });
  response.end(xml);
  return true;
}
