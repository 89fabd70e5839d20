import { createHash } from "node:crypto";
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import { unzip } from "./unzip.ts";

/** An artifact that was uploaded to its end. */
interface UploadedArtifact {
  readonly id: string;
  readonly name: string;
  /** When the service would delete it; undefined: by the repository's default. */
  readonly expiresAt: string | undefined;
  readonly files: ReadonlyMap<string, Buffer>;
}

/** GitHub's artifact service for one run: as much of it as an upload needs. */
export interface ResultsService extends AsyncDisposable {
  readonly url: string;
  readonly token: string;
  readonly artifacts: UploadedArtifact[];
  /** What a client did wrong, such as a digest that does not fit. */
  readonly problems: string[];
  /** Answers 403 to everything from now on, as for a token without the right. */
  refuse(): void;
}

interface CreateRequest {
  readonly name: string;
  readonly expires_at?: string;
}

interface FinalizeRequest {
  readonly name: string;
  readonly size: string | number;
  readonly hash?: string;
}

interface Reply {
  readonly status: number;
  readonly body: object;
}

interface Upload {
  readonly name: string;
  readonly expiresAt: string | undefined;
  readonly blocks: Map<string, Buffer>;
  body: Buffer | undefined;
}

const SERVICE = "/twirp/github.actions.results.api.v1.ArtifactService/";
const BLOB = "/account/container/blob";

/** Starts the service on a free port of 127.0.0.1. */
export async function startResultsService(): Promise<ResultsService> {
  const artifacts: UploadedArtifact[] = [];
  const problems: string[] = [];
  const uploads = new Map<string, Upload>();
  let refused = false;
  let url = "";

  async function answer(request: IncomingMessage): Promise<Reply> {
    const body = await bodyOf(request);
    const { pathname, searchParams } = new URL(request.url ?? "/", url);
    if (refused) return { status: 403, body: { code: "permission_denied", msg: "refused" } };
    if (pathname === `${SERVICE}CreateArtifact`) return createArtifact(JSON.parse(String(body)));
    if (pathname === `${SERVICE}FinalizeArtifact`) return finalize(JSON.parse(String(body)));
    if (pathname === BLOB && request.method === "PUT") return store(searchParams, body);
    problems.push(`${request.method} ${pathname} is not part of an upload.`);
    return { status: 404, body: { code: "bad_route", msg: "not found" } };
  }

  function createArtifact(asked: CreateRequest): Reply {
    const { name, expires_at: expiresAt } = asked;
    if (uploads.has(name)) return { status: 409, body: { code: "already_exists", msg: `${name} exists` } };
    uploads.set(name, { name, expiresAt, blocks: new Map(), body: undefined });
    const upload = `${url}${BLOB}?sig=of-this-upload&name=${encodeURIComponent(name)}`;
    return { status: 200, body: { ok: true, signed_upload_url: upload } };
  }

  /** The two calls of Azure's Put Block and Put Block List. */
  function store(query: URLSearchParams, body: Buffer): Reply {
    const upload = uploads.get(query.get("name") ?? "");
    if (upload === undefined) return { status: 404, body: {} };
    if (query.get("comp") === "block") {
      upload.blocks.set(query.get("blockid") ?? "", body);
    } else {
      const listed = String(body).matchAll(/<(?:Latest|Uncommitted|Committed)>([^<]+)</g);
      upload.body = Buffer.concat(
        Array.from(listed, ([, id]) => upload.blocks.get(id ?? "") ?? Buffer.alloc(0)),
      );
    }
    return { status: 201, body: {} };
  }

  function finalize(asked: FinalizeRequest): Reply {
    const upload = uploads.get(asked.name);
    if (upload?.body === undefined)
      return { status: 404, body: { code: "not_found", msg: "no such upload" } };
    const digest = `sha256:${createHash("sha256").update(upload.body).digest("hex")}`;
    if (asked.hash !== digest) problems.push(`${upload.name}: the hash is ${asked.hash}, not ${digest}.`);
    if (Number(asked.size) !== upload.body.length) problems.push(`${upload.name}: the size is wrong.`);
    const id = String(4200 + artifacts.length);
    artifacts.push({ id, name: upload.name, expiresAt: upload.expiresAt, files: unzip(upload.body) });
    return { status: 200, body: { ok: true, artifact_id: id } };
  }

  const server = createServer((request, response) => {
    answer(request).then(
      (reply) => send(response, reply),
      (error: unknown) => {
        problems.push(String(error));
        send(response, { status: 500, body: { code: "internal", msg: String(error) } });
      },
    );
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const address = server.address();
  url = `http://127.0.0.1:${typeof address === "object" ? address?.port : 0}`;

  return {
    url,
    token: token(),
    artifacts,
    problems,
    refuse: () => {
      refused = true;
    },
    async [Symbol.asyncDispose]() {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}

/** A token in the shape that the client reads its run and job from; nobody checks its signature. */
function token(): string {
  const part = (value: object) => Buffer.from(JSON.stringify(value)).toString("base64url");
  return `${part({ alg: "none" })}.${part({ scp: "Actions.Results:run-1:job-1" })}.signature`;
}

function send(response: ServerResponse, reply: Reply): void {
  response.writeHead(reply.status, {
    "content-type": "application/json",
    "x-ms-request-id": "1",
    etag: '"1"',
  });
  response.end(JSON.stringify(reply.body));
}

async function bodyOf(request: IncomingMessage): Promise<Buffer> {
  const chunks: Buffer[] = [];
  for await (const chunk of request) chunks.push(Buffer.from(chunk));
  return Buffer.concat(chunks);
}
