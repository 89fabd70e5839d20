export const id = 649;
export const ids = [649];
export const modules = {

/***/ 649:
/***/ ((__unused_webpack___webpack_module__, __webpack_exports__, __webpack_require__) => {


// EXPORTS
__webpack_require__.d(__webpack_exports__, {
  openS3Store: () => (/* binding */ openS3Store)
});

// EXTERNAL MODULE: ./node_modules/@aws-sdk/client-s3/dist-cjs/index.js
var dist_cjs = __webpack_require__(3711);
// EXTERNAL MODULE: ./build/src/errors.js
var errors = __webpack_require__(7406);
// EXTERNAL MODULE: ./build/src/values.js
var values = __webpack_require__(6271);
// EXTERNAL MODULE: ./build/src/stores/keys.js
var stores_keys = __webpack_require__(766);
// EXTERNAL MODULE: external "node:http"
var external_node_http_ = __webpack_require__(7067);
// EXTERNAL MODULE: external "node:https"
var external_node_https_ = __webpack_require__(4708);
// EXTERNAL MODULE: ./node_modules/@smithy/node-http-handler/dist-cjs/index.js
var node_http_handler_dist_cjs = __webpack_require__(1279);
;// CONCATENATED MODULE: ./build/src/stores/proxy.js
const DEFAULT_PORTS = { "http:": "80", "https:": "443" };
/**
 * The proxy for a URL, or "" for none, by the conventions of curl: the lower-case variable wins, NO_PROXY holds host
 * names with or without a leading dot or `*.` (which also match what is below them), optional ports, or `*`.
 */
function proxyFor(url, env) {
    const { protocol, hostname, port } = new URL(url);
    const proxy = read(env, protocol === "https:" ? "HTTPS_PROXY" : "HTTP_PROXY") || read(env, "ALL_PROXY");
    if (proxy === "" || bypasses(hostname.toLowerCase(), port || (DEFAULT_PORTS[protocol] ?? ""), env))
        return "";
    return proxy.includes("://") ? proxy : `http://${proxy}`;
}
/** The password in a proxy's URL, to be masked. */
function proxyPasswords(env) {
    const found = [];
    for (const name of ["HTTPS_PROXY", "HTTP_PROXY", "ALL_PROXY"]) {
        const match = /^(?:[a-z0-9+]+:\/\/)?[^/@]*:([^/@]+)@/i.exec(read(env, name));
        if (match?.[1] !== undefined)
            found.push(match[1]);
    }
    return found;
}
function bypasses(host, port, env) {
    const entries = read(env, "NO_PROXY")
        .toLowerCase()
        .split(/[\s,]+/)
        .filter((entry) => entry !== "");
    return entries.some((entry) => {
        if (entry === "*")
            return true;
        const [, name = "", entryPort] = /^(.*?)(?::(\d+))?$/.exec(entry) ?? [];
        if (entryPort !== undefined && entryPort !== port)
            return false;
        const bare = name.replace(/^\*?\./, "");
        return host === bare || host.endsWith(`.${bare}`);
    });
}
function read(env, name) {
    return (env[name.toLowerCase()] ?? env[name] ?? "").trim();
}

;// CONCATENATED MODULE: ./build/src/stores/s3-client.js






const S3_TUNING = {
    retry: { withinMs: 2 * 60_000, baseMs: 250, capMs: 20_000 },
    connectMs: 10_000,
    idleMs: 60_000,
};
/** More than any store here uses at once: a request that waits for a socket would count as one that can not connect. */
const MAX_SOCKETS = 256;
/** The endpoint as the runbook or the environment names it; undefined for Amazon S3 itself. */
function endpointOf(config, name, env) {
    const text = config.endpoint ?? set(env.AWS_ENDPOINT_URL_S3) ?? set(env.AWS_ENDPOINT_URL);
    if (text === undefined)
        return undefined;
    const url = URL.parse(text);
    if (url === null || (url.protocol !== "https:" && url.protocol !== "http:")) {
        throw new errors/* UserError */.yo(`The endpoint of the store "${name}" is not a URL: write one such as "https://minio.example.com:9000".`);
    }
    if (url.username !== "" || url.password !== "") {
        throw new errors/* UserError */.yo(`The endpoint of the store "${name}" holds credentials: remove them and set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY.`);
    }
    return url;
}
function isAws(endpoint) {
    return endpoint === undefined || /\.amazonaws\.com(\.cn)?$/.test(endpoint.hostname);
}
/**
 * A client that makes one attempt per call: retries are the store's own, because they must also cover bodies that
 * break off. Checksums beyond those that S3 demands are asked for on AWS only: other stores refuse them at times.
 */
async function s3Client(config, name, context, tuning) {
    const { env } = context;
    const endpoint = endpointOf(config, name, env);
    const checksums = isAws(endpoint) ? "WHEN_SUPPORTED" : "WHEN_REQUIRED";
    const region = config.region ?? set(env.AWS_REGION) ?? set(env.AWS_DEFAULT_REGION);
    const credentials = staticCredentials(env, name);
    const profile = set(env.AWS_PROFILE);
    const pathStyle = config["path-style"] ?? !isAws(endpoint);
    const settings = {
        maxAttempts: 1,
        forcePathStyle: pathStyle,
        requestChecksumCalculation: checksums,
        responseChecksumValidation: checksums,
        // Its waiting and its extra connection per upload cost more than a part that is refused now and then.
        expectContinueHeader: false,
        requestHandler: new node_http_handler_dist_cjs.NodeHttpHandler({
            connectionTimeout: tuning.connectMs,
            socketTimeout: tuning.idleMs,
            ...(await agents(hostOf(endpoint, config, pathStyle), env)),
        }),
    };
    if (endpoint !== undefined)
        settings.endpoint = endpoint.href;
    if (credentials !== undefined)
        settings.credentials = credentials;
    else if (profile !== undefined)
        settings.profile = profile;
    if (region !== undefined)
        settings.region = region;
    else if (endpoint !== undefined)
        settings.region = "us-east-1";
    for (const password of proxyPasswords(env))
        context.mask(password);
    return new dist_cjs/* S3Client */.YxF(settings);
}
/**
 * Asks for the credentials and the region once, so that a missing one is a sentence before any work is done, and
 * masks what is secret.
 */
async function prepare(client, name, context) {
    const { secretAccessKey, sessionToken } = await client.config.credentials();
    context.mask(secretAccessKey);
    if (sessionToken !== undefined)
        context.mask(sessionToken);
    try {
        await client.config.region();
    }
    catch (cause) {
        throw new errors/* UserError */.yo(`The store "${name}" has no region: write region into it, or set AWS_REGION.`, {
            cause,
        });
    }
}
/** Where requests for objects go: what NO_PROXY is compared with. */
function hostOf(endpoint, config, pathStyle) {
    const host = new URL(endpoint ?? "https://s3.amazonaws.com");
    if (!pathStyle)
        host.hostname = `${config.bucket}.${host.hostname}`;
    return host;
}
function staticCredentials(env, name) {
    const accessKeyId = set(env.AWS_ACCESS_KEY_ID);
    const secretAccessKey = set(env.AWS_SECRET_ACCESS_KEY);
    const sessionToken = set(env.AWS_SESSION_TOKEN);
    if (accessKeyId === undefined && secretAccessKey === undefined)
        return undefined;
    if (accessKeyId === undefined || secretAccessKey === undefined) {
        const missing = accessKeyId === undefined ? "AWS_ACCESS_KEY_ID" : "AWS_SECRET_ACCESS_KEY";
        throw new errors/* UserError */.yo(`${missing} is not set, so the store "${name}" can not be opened: set both keys.`);
    }
    return sessionToken === undefined
        ? { accessKeyId, secretAccessKey }
        : { accessKeyId, secretAccessKey, sessionToken };
}
/** A secret that does not exist reaches a job as an empty variable. */
function set(value) {
    const trimmed = value?.trim();
    return trimmed === "" ? undefined : trimmed;
}
/** Agents for the endpoint's one host, with the proxy of the environment where there is one for it. */
async function agents(host, env) {
    const options = { keepAlive: true, maxSockets: MAX_SOCKETS };
    const proxy = proxyFor(host.href, env);
    if (proxy === "")
        return { httpAgent: new external_node_http_.Agent(options), httpsAgent: new external_node_https_.Agent(options) };
    if (!/^https?:/i.test(proxy)) {
        throw new errors/* UserError */.yo(`The proxy for ${host.host} is of a kind that is not supported: name one that begins with http:// or https:// in HTTPS_PROXY or HTTP_PROXY, or the host in NO_PROXY.`);
    }
    const { HttpProxyAgent } = await Promise.all(/* import() */[__webpack_require__.e(411), __webpack_require__.e(947)]).then(__webpack_require__.bind(__webpack_require__, 8947));
    const { HttpsProxyAgent } = await Promise.all(/* import() */[__webpack_require__.e(411), __webpack_require__.e(566)]).then(__webpack_require__.bind(__webpack_require__, 1566));
    const tunnels = new HttpsProxyAgent(proxy, options);
    // It guesses this from the stack of its caller, wrongly when a tunnel becomes free, and then opens a new one.
    tunnels.isSecureEndpoint = () => true;
    return {
        // Plain requests name their host to the proxy in the request line, which the agent writes only on a new connection.
        httpAgent: new HttpProxyAgent(proxy, { ...options, keepAlive: false }),
        httpsAgent: tunnels,
    };
}

// EXTERNAL MODULE: ./build/src/stores/store.js
var store = __webpack_require__(8065);
;// CONCATENATED MODULE: ./build/src/stores/s3-errors.js


/** The error code of S3 (`NoSuchKey`), or of the network (`ECONNRESET`); "" when there is neither. */
function s3Code(error) {
    const code = (0,errors/* codeOf */.$N)(error);
    if (code !== undefined && statusOf(error) === undefined)
        return code;
    return error instanceof Error ? error.name : "";
}
/** The HTTP status of the answer that became this error. */
function statusOf(error) {
    return numberAt(error, "$metadata", "httpStatusCode") ?? numberAt(error, "$response", "statusCode");
}
function numberAt(error, outer, inner) {
    const value = property(property(error, outer), inner);
    return typeof value === "number" ? value : undefined;
}
function property(of, name) {
    return typeof of === "object" && of !== null ? Reflect.get(of, name) : undefined;
}
function header(error, name) {
    const value = property(property(property(error, "$response"), "headers"), name);
    return typeof value === "string" ? value : undefined;
}
const RETRIED_STATUS = new Set([408, 429, 500, 502, 503, 504]);
const RETRIED_CODES = new Set([
    "ECONNRESET",
    "ECONNABORTED",
    "EPIPE",
    "ETIMEDOUT",
    "ERR_STREAM_PREMATURE_CLOSE",
    // What was sent did not arrive as it was sent: its SHA-256 is part of every request's signature.
    "BadDigest",
    "IncompleteBody",
    "XAmzContentSHA256Mismatch",
    "TimeoutError",
    "InternalError",
    "RequestTimeout",
    "SlowDown",
    "SlowDownRead",
    "SlowDownWrite",
    "ServiceUnavailable",
    "Throttling",
    "ThrottlingException",
    "RequestLimitExceeded",
    "OperationAborted",
    "ConditionalRequestConflict",
]);
/** More often a wrong setting than a passing fault, as long as the store never answered. */
const UNREACHABLE = new Set([
    "ECONNREFUSED",
    "ENOTFOUND",
    "EAI_AGAIN",
    "EHOSTUNREACH",
    "ENETUNREACH",
    "TimeoutError",
    "ETIMEDOUT",
]);
const ATTEMPTS_BEFORE_FIRST_ANSWER = 3;
/** Whether another attempt can help; `reached`: the store has answered before. */
function s3RetryAdvice(error, reached) {
    const code = s3Code(error);
    if (property(property(error, "$metadata"), "clockSkewCorrected") === true)
        return { attempts: 2 };
    if (UNREACHABLE.has(code))
        return reached ? {} : { attempts: ATTEMPTS_BEFORE_FIRST_ANSWER };
    const status = statusOf(error);
    if (RETRIED_CODES.has(code) || (status !== undefined && RETRIED_STATUS.has(status))) {
        return { afterMs: retryAfterMs(header(error, "retry-after")) };
    }
    // An answer that cannot be read: cut short, or what HTTP's parser trips over.
    if (code.startsWith("HPE_") || isUnreadable(error, status))
        return {};
    return undefined;
}
/** An answer that says it is a success, but whose XML the SDK cannot read. */
function isUnreadable(error, status) {
    if (error instanceof errors/* ToolError */.v4 || error instanceof errors/* DefectError */.uR)
        return false;
    return error instanceof Error && status !== undefined && status < 300;
}
/** Milliseconds of a Retry-After header: seconds, or a date. */
function retryAfterMs(value, now = Date.now()) {
    if (value === undefined)
        return undefined;
    if (/^\d+$/.test(value))
        return Number(value) * 1000;
    const date = Date.parse(value);
    return Number.isNaN(date) ? undefined : Math.max(0, date - now);
}
const SENTENCES = {
    NoSuchBucket: (call, place) => `${call.subject}: the bucket "${place.bucket}" does not exist at ${place.host}; create it, or correct bucket, region and endpoint of the store "${place.name}".`,
    AccessDenied: denied,
    AllAccessDisabled: denied,
    AccountProblem: denied,
    InvalidAccessKeyId: (call, place) => `${call.subject}: ${place.host} does not know the access key; check AWS_ACCESS_KEY_ID and that it belongs to this store.`,
    SignatureDoesNotMatch: (call, place) => `${call.subject}: ${place.host} refuses the signature; AWS_SECRET_ACCESS_KEY does not belong to AWS_ACCESS_KEY_ID, or it was copied with a blank or line break.`,
    ExpiredToken: expired,
    ExpiredTokenException: expired,
    TokenRefreshRequired: expired,
    RequestExpired: expired,
    InvalidToken: badToken,
    InvalidTokenId: badToken,
    RequestTimeTooSkewed: (call, place) => `${call.subject}: the clock of this machine differs too much from that of ${place.host}; set the clock (NTP).`,
    PermanentRedirect: wrongRegion,
    TemporaryRedirect: wrongRegion,
    AuthorizationHeaderMalformed: wrongRegion,
    IllegalLocationConstraintException: wrongRegion,
    InvalidObjectState: (call) => `${call.subject} lies in an archive storage class (such as Glacier); restore it with the tools of the store first, and exempt backups from that lifecycle rule.`,
    XMinioStorageFull: full,
    XMinioStorageQuotaExceeded: full,
    XMinioAdminBucketQuotaExceeded: full,
    QuotaExceeded: full,
    InsufficientCapacity: full,
    EntityTooLarge: (call) => `${call.subject} is larger than this store takes; see the limits of the store.`,
    InvalidPart: (call) => `${call.subject}: the store lost or refuses a part of the upload; run it again, and on R2 check that the size was estimated (its parts must be equal).`,
    NoSuchUpload: (call) => `${call.subject}: the store ended the upload before it was complete; a lifecycle rule that aborts uploads may be too short.`,
    InvalidBucketName: (call, place) => `${call.subject}: "${place.bucket}" is not a bucket name; correct bucket of the store "${place.name}".`,
    CredentialsProviderError: (_call, place) => `No credentials were found for the store "${place.name}": set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, AWS_PROFILE, or a role for this job.`,
    ENOTFOUND: unknownHost,
    EAI_AGAIN: unknownHost,
    ECONNREFUSED: (call, place) => `${call.subject}: nothing answers at ${place.host}; check endpoint and port of the store "${place.name}" and that the service runs.`,
    BadDigest: garbled,
    XAmzContentSHA256Mismatch: garbled,
    EPROTO: (call, place) => tls(call, place, "it does not speak TLS; write http:// if that is meant"),
    ERR_SSL_WRONG_VERSION_NUMBER: (call, place) => tls(call, place, "it does not speak TLS; write http:// if that is meant"),
    CERT_HAS_EXPIRED: (call, place) => tls(call, place, "its certificate has expired; renew it"),
    ERR_TLS_CERT_ALTNAME_INVALID: (call, place) => tls(call, place, "its certificate is for another host name; correct endpoint or path-style"),
};
function denied(call, place) {
    return `${call.subject}: ${place.host} denies access; the credentials need ${call.action} on it (policy of the user or role, policy of the bucket, and its KMS key if it has one).`;
}
function expired(call) {
    return `${call.subject}: the credentials have expired; get new ones in the step before, or allow the role a longer session.`;
}
function unknownHost(call, place) {
    return `${call.subject}: the name of ${place.host} is not known; check endpoint, region and path-style of the store "${place.name}".`;
}
function garbled(call, place) {
    return `${call.subject}: what arrives at ${place.host} is not what was sent, each time anew; something on the way changes the bytes: check the network and proxy, and use https.`;
}
function badToken(call) {
    return `${call.subject}: AWS_SESSION_TOKEN is not valid; remove it for a permanent access key, or get new temporary credentials.`;
}
function full(call, place) {
    return `${call.subject}: the store at ${place.host} is full or its quota is used up; free space there or raise the quota.`;
}
function wrongRegion(call, place, error) {
    const region = property(error, "Region") ?? header(error, "x-amz-bucket-region");
    const advice = typeof region === "string" && /^[a-z0-9-]+$/.test(region)
        ? `write region: ${region}`
        : "write the region in which the bucket is";
    return `${call.subject}: the bucket "${place.bucket}" is in another region or behind another endpoint; ${advice} into the store "${place.name}".`;
}
function tls(call, place, why) {
    return `${call.subject}: no secure connection to ${place.host}: ${why}.`;
}
const UNTRUSTED = new Set([
    "DEPTH_ZERO_SELF_SIGNED_CERT",
    "SELF_SIGNED_CERT_IN_CHAIN",
    "UNABLE_TO_VERIFY_LEAF_SIGNATURE",
    "UNABLE_TO_GET_ISSUER_CERT",
    "UNABLE_TO_GET_ISSUER_CERT_LOCALLY",
]);
/** Makes one sentence of what S3, the network or the SDK answered; errors that already are sentences pass through. */
function explainS3Error(error, call, place) {
    if (error instanceof errors/* ToolError */.v4 ||
        error instanceof errors/* UserError */.yo ||
        error instanceof errors/* DefectError */.uR ||
        error instanceof store/* ObjectMissing */.GV ||
        error instanceof errors/* AbortedError */.oM) {
        return error;
    }
    const code = s3Code(error);
    const status = statusOf(error);
    const said = SENTENCES[code]?.(call, place, error) ?? byKind(code, status, error, call, place);
    return code === "CredentialsProviderError"
        ? new errors/* UserError */.yo(said, { cause: error })
        : new errors/* ToolError */.v4(said, { cause: error });
}
function byKind(code, status, error, call, place) {
    if (UNTRUSTED.has(code)) {
        return tls(call, place, "its certificate is not trusted here; name its authority in NODE_EXTRA_CA_CERTS");
    }
    if (status === 401 || status === 403)
        return denied(call, place);
    if (status === 301 || status === 307)
        return wrongRegion(call, place, error);
    if (status === 507)
        return full(call, place);
    if (code === "TimeoutError" || code === "ETIMEDOUT") {
        return `${call.subject}: ${place.host} did not answer in time; check the network, firewall and proxy, then try again.`;
    }
    if (status !== undefined && (status >= 500 || status === 429)) {
        return `${call.subject}: ${place.host} keeps answering ${status} (${code}); try again later, or give the store "${place.name}" more time with its key retry.`;
    }
    if (status !== undefined && status < 300) {
        return `${call.subject}: what ${place.host} answers to ${call.action} cannot be read (${firstLine(error)}); check that the endpoint is an S3 store and that no proxy cuts its answers, then try again.`;
    }
    if (status !== undefined) {
        return `${call.subject}: ${place.host} answered ${status} (${code}) to ${call.action}: ${firstLine(error)}`;
    }
    return `${call.subject}: the connection to ${place.host} failed (${code}): ${firstLine(error)}; check the network and proxy, then try again.`;
}
function firstLine(error) {
    return (0,errors/* messageOf */.bD)(error).split("\n")[0]?.slice(0, 200) ?? "";
}

// EXTERNAL MODULE: external "node:crypto"
var external_node_crypto_ = __webpack_require__(7598);
// EXTERNAL MODULE: ./build/src/stores/interruptible.js
var interruptible = __webpack_require__(9319);
;// CONCATENATED MODULE: ./build/src/stores/part-sizes.js
const MIB = 2 ** 20;
const MIN_PART = 8 * MIB;
const MAX_PART = 5 * 2 ** 30;
const MAX_PARTS = 10_000;
/** How much of the buffers may be filled at once while parts are small enough. */
const MEMORY = 64 * MIB;
const MAX_PARALLEL = 3;
const STEPS = 10;
/**
 * S3 takes 10,000 parts at most and R2 wants them to be equal, so the size is chosen from the estimate such that
 * 9,000 equal parts hold it. Only an upload that outgrows its estimate (or 39 GiB when there is none) goes on with
 * parts that double step by step: such an upload still fits on AWS and MinIO.
 */
function partSizes(expectedBytes) {
    const equalParts = expectedBytes === undefined ? 5_000 : 9_000;
    const first = Math.max(MIN_PART, Math.ceil((expectedBytes ?? 0) / equalParts / MIB) * MIB);
    const step = (MAX_PARTS - equalParts) / STEPS;
    return {
        sizeOf(number) {
            const doublings = Math.max(0, Math.ceil((number - equalParts) / step));
            return Math.min(first * 2 ** doublings, MAX_PART);
        },
        parallelOf: (bytes) => Math.max(1, Math.min(MAX_PARALLEL, Math.floor(MEMORY / bytes) - 1)),
    };
}

// EXTERNAL MODULE: ./build/src/stores/signals.js
var signals = __webpack_require__(8993);
;// CONCATENATED MODULE: ./build/src/stores/s3-upload.js







const CLEAN_UP_MS = 5_000;
/**
 * Uploads a stream: in one request when it fits into one part, else in parts, several at once. Memory is the parts
 * under way plus the one being filled. An upload that fails or is aborted leaves no object and no parts.
 * Returns the object's size in bytes.
 */
async function upload(link, key, body, signal, expectedBytes) {
    const source = (0,interruptible/* interruptible */.I)(body);
    try {
        return await (0,signals/* whileListening */.tt)(signal, () => source.interrupt((0,signals/* abortedBy */.LR)(signal)), () => uploadFrom(link, key, source, signal, expectedBytes));
    }
    finally {
        await source.close();
    }
}
async function uploadFrom(link, key, source, signal, expectedBytes) {
    const sizes = partSizes(expectedBytes);
    const fill = filler(source);
    const first = takeBuffer(sizes.sizeOf(1));
    const filled = await fill(first);
    if (filled < first.length) {
        await putObject(link, key, first.subarray(0, filled), signal);
        giveBack(first);
        return filled;
    }
    const stop = new AbortController();
    const parts = await startParts(link, key, (0,signals/* anySignal */.JG)(signal, stop.signal));
    try {
        let bytes = filled;
        let number = 1;
        parts.send(number, first, first, (error) => source.interrupt(error));
        for (;;) {
            number += 1;
            if (number > MAX_PARTS)
                throw tooLarge(link, key);
            const size = sizes.sizeOf(number);
            const buffer = await parts.buffer(size, sizes.parallelOf(size));
            const more = await fill(buffer);
            if (more > 0)
                parts.send(number, buffer, buffer.subarray(0, more), (error) => source.interrupt(error));
            bytes += more;
            if (more < size)
                break;
        }
        await parts.complete(bytes);
        return bytes;
    }
    catch (error) {
        stop.abort();
        await parts.abandon();
        throw error;
    }
}
/**
 * Buffers of finished uploads, for the next ones: many small objects, such as WAL segments, would leave a part's size of
 * garbage each.
 */
const spare = [];
const MOST_SPARE = 4;
function takeBuffer(bytes) {
    const index = spare.findIndex((buffer) => buffer.length === bytes);
    return spare.splice(index, index < 0 ? 0 : 1)[0] ?? Buffer.allocUnsafeSlow(bytes);
}
function giveBack(buffer) {
    if (spare.length < MOST_SPARE)
        spare.push(buffer);
}
/** Copies the source into buffers: what a chunk holds may change once the next one is asked for. */
function filler(source) {
    let rest = new Uint8Array();
    let ended = false;
    return async (target) => {
        let filled = 0;
        while (filled < target.length && !ended) {
            if (rest.byteLength === 0) {
                const chunk = await source.next();
                ended = chunk === undefined;
                rest = chunk ?? rest;
                continue;
            }
            const piece = rest.subarray(0, target.length - filled);
            target.set(piece, filled);
            filled += piece.byteLength;
            rest = rest.subarray(piece.byteLength);
        }
        return filled;
    };
}
async function putObject(link, key, body, signal) {
    const call = link.call("s3:PutObject", key);
    const answer = await link.request(call, signal, (options) => link.client.send(new dist_cjs/* PutObjectCommand */.wKZ({ Bucket: link.bucket, Key: link.prefix + key, Body: body }), options));
    confirmed(answer.ETag, call);
}
/** Every S3 store names what it stored; an answer without that came from something else, such as a proxy. */
function confirmed(etag, call) {
    if (etag !== undefined && etag !== "")
        return etag;
    throw new errors/* ToolError */.v4(`${call.subject}: the answer to ${call.action} does not confirm what was written; check that the endpoint is an S3 store and no proxy answers for it.`);
}
async function startParts(link, key, signal) {
    const { client } = link;
    const call = link.call("s3:PutObject", key);
    const object = { Bucket: link.bucket, Key: link.prefix + key };
    const started = await link.request(call, signal, (options) => client.send(new dist_cjs/* CreateMultipartUploadCommand */.nG4(object), options));
    const uploadId = started.UploadId;
    if (uploadId === undefined || uploadId === "")
        confirmed(undefined, call);
    const target = { ...object, UploadId: uploadId };
    const done = [];
    const running = new Set();
    let failure;
    async function sendPart(number, part) {
        const answer = await link.request(call, signal, (options) => client.send(new dist_cjs/* UploadPartCommand */.iVK({ ...target, PartNumber: number, Body: part }), options));
        const { ChecksumCRC32, ChecksumCRC32C, ChecksumCRC64NVME, ChecksumSHA1, ChecksumSHA256 } = answer;
        const checksums = { ChecksumCRC32, ChecksumCRC32C, ChecksumCRC64NVME, ChecksumSHA1, ChecksumSHA256 };
        done.push({ PartNumber: number, ETag: confirmed(answer.ETag, call), ...checksums });
    }
    function throwFailure() {
        if (failure !== undefined)
            throw failure.error;
    }
    return {
        async buffer(bytes, parallel) {
            while (running.size >= parallel)
                await Promise.race(running);
            throwFailure();
            return takeBuffer(bytes);
        },
        send(number, buffer, part, onFailure) {
            const sending = sendPart(number, part)
                .then(() => giveBack(buffer), (error) => {
                if (failure !== undefined)
                    return;
                failure = { error };
                onFailure(error);
            })
                .finally(() => running.delete(sending));
            running.add(sending);
        },
        async complete(bytes) {
            await Promise.all(running);
            throwFailure();
            done.sort((a, b) => (a.PartNumber ?? 0) - (b.PartNumber ?? 0));
            await completeUpload(link, key, target, done, bytes, signal);
        },
        async abandon() {
            await Promise.all(running);
            const fresh = AbortSignal.timeout(CLEAN_UP_MS);
            try {
                await link.attempt(fresh, (options) => client.send(new dist_cjs/* AbortMultipartUploadCommand */.tfP(target), options));
            }
            catch (error) {
                if (s3Code(error) === "NoSuchUpload")
                    return;
                link.log.warning(`The parts of the unfinished upload of ${call.subject} could not be removed (${(0,errors/* messageOf */.bD)(error)}); a lifecycle rule that aborts incomplete multipart uploads removes them.`);
            }
        },
    };
}
async function completeUpload(link, key, target, parts, bytes, signal) {
    const call = link.call("s3:PutObject", key);
    try {
        const answer = await link.attempt(signal, (options) => link.client.send(new dist_cjs/* CompleteMultipartUploadCommand */.Gym({ ...target, MultipartUpload: { Parts: parts } }), options));
        confirmed(answer.ETag, call);
    }
    catch (error) {
        // The answer to an attempt that succeeded may have been lost: the next one then finds no upload any more.
        if (s3Code(error) === "NoSuchUpload" && (await isThere(link, target, parts, bytes, signal)))
            return;
        throw link.explain(error, call);
    }
}
/** Whether the object is the one these parts make: its ETag is the MD5 of their MD5s where the store counts so. */
async function isThere(link, target, parts, bytes, signal) {
    const digests = parts.map((part) => Buffer.from((part.ETag ?? "").replaceAll('"', ""), "hex"));
    const etag = `${(0,external_node_crypto_.createHash)("md5").update(Buffer.concat(digests)).digest("hex")}-${parts.length}`;
    try {
        const { Bucket, Key } = target;
        const head = await link.attempt(signal, (options) => link.client.send(new dist_cjs/* HeadObjectCommand */.l81({ Bucket, Key }), options));
        return head.ContentLength === bytes && head.ETag?.replaceAll('"', "") === etag;
    }
    catch {
        return false;
    }
}
function tooLarge(link, key) {
    return new errors/* ToolError */.v4(`${link.describe(key)} is larger than an S3 upload of ${MAX_PARTS} parts can be: split it, for example by tablespaces.`);
}

;// CONCATENATED MODULE: ./build/src/stores/s3-create.js






/**
 * Writes objects only where the key is free, with `If-None-Match: *`.
 *
 * Some stores ignore that header and overwrite. So the first object that this run creates on a store other than
 * Amazon S3 is written a second time, with the same bytes and the same header: a store that honours it refuses, one
 * that does not accepts, with nothing changed. Until that is known, and on a store that ignores the header, the key is
 * looked up first; between the look and the write two processes can then both believe that they won.
 */
function conditionalCreate(link, endpoint, reader) {
    let honoured = isAws(endpoint) ? true : undefined;
    let warned = false;
    function warn() {
        if (warned || honoured !== false)
            return;
        warned = true;
        link.log.warning(`Store ${link.name}: it does not honour If-None-Match, so of two runs that begin at the same moment it cannot stop one; the second is noticed within half a minute. Start the runs of a component at different times, or in one concurrency group.`);
    }
    async function write(key, body, signal, ifAbsent) {
        const call = link.call("s3:PutObject", key);
        let attempts = 0;
        try {
            const answer = await link.attempt(signal, (options) => {
                attempts += 1;
                return link.client.send(new dist_cjs/* PutObjectCommand */.wKZ({
                    Bucket: link.bucket,
                    Key: link.prefix + key,
                    Body: body,
                    ...(ifAbsent ? { IfNoneMatch: "*" } : {}),
                }), options);
            });
            confirmed(answer.ETag, call);
            return "created";
        }
        catch (error) {
            const refused = ifAbsent && (statusOf(error) === 412 || s3Code(error) === "PreconditionFailed");
            // The answer to an earlier attempt may have been lost, and what is there now is ours.
            if (refused)
                return attempts > 1 && (await holds(key, body, signal)) ? "created" : "taken";
            if (ifAbsent && (statusOf(error) === 501 || s3Code(error) === "NotImplemented"))
                return "unsupported";
            throw link.explain(error, call);
        }
    }
    async function holds(key, body, signal) {
        try {
            const there = await (0,store/* readAll */.yw)(await reader.get(key, { signal }));
            return there.equals(body);
        }
        catch (error) {
            if (error instanceof store/* ObjectMissing */.GV)
                return false;
            throw error;
        }
    }
    async function probe(key, body, signal) {
        return (await write(key, body, signal, true)) === "taken";
    }
    return async (key, body, signal) => {
        if (honoured !== true) {
            const there = await reader.stat(key, signal);
            if (there !== undefined)
                return false;
        }
        const outcome = await write(key, body, signal, honoured !== false);
        if (outcome === "unsupported") {
            honoured = false;
            warn();
            await write(key, body, signal, false);
            return true;
        }
        if (outcome === "taken") {
            honoured = true;
            return false;
        }
        if (honoured === undefined) {
            try {
                honoured = await probe(key, body, signal);
                warn();
            }
            catch (error) {
                // The object is written; that the store is not known better only costs a look-up the next time.
                link.log.debug(`Could not tell whether the store honours If-None-Match: ${(0,errors/* messageOf */.bD)(error)}`);
            }
        }
        return true;
    };
}

;// CONCATENATED MODULE: ./build/src/stores/s3-delete.js





const BATCH = 1_000;
const SINGLE_PARALLEL = 4;
/** What stores answer that do not know DeleteObjects or want it otherwise. */
const NO_BATCHES = new Set([
    "NotImplemented",
    "MethodNotAllowed",
    "MalformedXML",
    "InvalidDigest",
    "MissingContentMD5",
]);
/**
 * Objects under a lock answer AccessDenied in Amazon S3, MinIO and others, a code that names the lock (R2), or
 * InvalidRequest with a message about WORM.
 */
function isRefused(error) {
    const said = `${s3Code(error)} ${(0,errors/* messageOf */.bD)(error)}`;
    return s3Code(error) === "AccessDenied" || /\b(?:worm|object ?lock|locked|retention|immutable)/i.test(said);
}
/** Deletes by batches, or one by one on a store that takes no batches. Keys that do not exist are fine. */
function batchDelete(link, contentMd5) {
    let batches = true;
    if (contentMd5)
        sendContentMd5(link.client);
    function explain(error, call) {
        const explained = link.explain(error, call);
        if (!(explained instanceof errors/* ToolError */.v4) || !isRefused(error))
            return explained;
        return new store/* DeletionRefused */.Dt(explained.message, { cause: error });
    }
    /** False when the store takes no batches. */
    async function deleteBatch(keys, signal) {
        const call = link.call("s3:DeleteObject", keys[0] ?? "");
        const Objects = keys.map((key) => ({ Key: link.prefix + key }));
        try {
            const answer = await link.attempt(signal, (options) => link.client.send(new dist_cjs/* DeleteObjectsCommand */.xvx({ Bucket: link.bucket, Delete: { Objects, Quiet: true } }), options));
            const failed = answer.Errors?.find((error) => error.Code !== "NoSuchKey");
            if (failed === undefined)
                return true;
            const subject = `s3://${link.bucket}/${failed.Key ?? ""}`;
            const error = Object.assign(new Error(failed.Message), {
                name: failed.Code,
                $metadata: answer.$metadata,
            });
            throw explain(error, { ...call, subject });
        }
        catch (error) {
            if (!(error instanceof errors/* ToolError */.v4) && (NO_BATCHES.has(s3Code(error)) || statusOf(error) === 501))
                return false;
            throw explain(error, call);
        }
    }
    async function deleteOne(key, signal) {
        try {
            await link.attempt(signal, (options) => link.client.send(new dist_cjs/* DeleteObjectCommand */.k4j({ Bucket: link.bucket, Key: link.prefix + key }), options));
        }
        catch (error) {
            if (s3Code(error) !== "NoSuchKey")
                throw explain(error, link.call("s3:DeleteObject", key));
        }
    }
    return async (keys, signal) => {
        for (let from = 0; from < keys.length; from += BATCH) {
            const batch = keys.slice(from, from + BATCH);
            if (batches)
                batches = await deleteBatch(batch, signal);
            if (batches)
                continue;
            for (let at = 0; at < batch.length; at += SINGLE_PARALLEL) {
                await Promise.all(batch.slice(at, at + SINGLE_PARALLEL).map((key) => deleteOne(key, signal)));
            }
        }
    };
}
/** DeleteObjects must carry a checksum. Stores other than Amazon S3 often know only the oldest kind, Content-MD5. */
function sendContentMd5(client) {
    client.middlewareStack.add((next, context) => async (args) => {
        if (context.commandName === "DeleteObjectsCommand" && hasHeaders(args.request)) {
            const { headers, body } = args.request;
            for (const name of Object.keys(headers)) {
                if (/^x-amz-(checksum-|sdk-checksum-|trailer)/i.test(name))
                    delete headers[name];
            }
            headers["content-md5"] = (0,external_node_crypto_.createHash)("md5").update(body).digest("base64");
        }
        return next(args);
    }, { step: "build", priority: "low", name: "contentMd5ForDeleteObjects" });
}
function hasHeaders(request) {
    if (typeof request !== "object" || request === null || !("headers" in request) || !("body" in request)) {
        return false;
    }
    return typeof request.body === "string" || request.body instanceof Uint8Array;
}

// EXTERNAL MODULE: external "node:stream"
var external_node_stream_ = __webpack_require__(7075);
;// CONCATENATED MODULE: ./build/src/stores/retry.js

/** Pause before the next attempt after `failures` failures: exponential with full jitter, never before `afterMs`. */
function pauseMs(policy, failures, afterMs = 0) {
    const ceiling = Math.min(policy.capMs, policy.baseMs * 2 ** (failures - 1));
    return afterMs + Math.random() * ceiling;
}
/**
 * How long to wait before another attempt, after `failures` failures in a row over `spentMs`; undefined when there shall be
 * none. A pause that the other side asks for but that does not fit into the time is an outage: better a sentence now
 * than a job that seems to hang.
 */
function nextPause(policy, failures, spentMs, advice = {}) {
    const { attempts = Number.POSITIVE_INFINITY, afterMs = 0 } = advice;
    if (failures >= Math.min(policy.attempts ?? attempts, attempts))
        return undefined;
    const left = policy.withinMs - spentMs;
    if (left <= 0 || afterMs > left)
        return undefined;
    // The last attempt is made when the time ends.
    return Math.min(pauseMs(policy, failures, afterMs), left);
}
/**
 * Runs `attempt` until it succeeds. `judge` answers undefined for a failure that another attempt can not mend; the
 * last failure is thrown as it is.
 */
async function withRetries(policy, signal, attempt, judge, onRetry) {
    const began = performance.now();
    for (let number = 1;; number += 1) {
        try {
            return await attempt(number);
        }
        catch (error) {
            const advice = signal.aborted ? undefined : judge(error);
            const pause = advice && nextPause(policy, number, performance.now() - began, advice);
            if (pause === undefined)
                throw error;
            onRetry(error, pause);
            await (0,signals/* sleep */.yy)(pause, signal);
        }
    }
}

;// CONCATENATED MODULE: ./build/src/stores/s3-download.js








/**
 * Streams an object or a range of it. A body that breaks off or comes up short is asked for again from the byte that
 * was delivered last; the ETag guards against another object having taken the key in between.
 */
async function download(link, key, span, signal) {
    const opened = await openBody(link, key, span, signal, undefined);
    if (span.length === undefined && opened.length <= SMALL_BYTES)
        return settle(link, key, opened, signal);
    return deliver(link, key, span.offset, opened, signal);
}
/** Documents, of which nothing else records a digest. */
const SMALL_BYTES = 2 ** 20;
const READINGS = 8;
/**
 * A small object, read until its bytes are certain: they match its ETag, which is their MD5 on most stores, or two readings
 * agree. Where the SDK compares the checksum that the store keeps, it needs no more than that.
 */
async function* settle(link, key, first, signal) {
    const compared = (await link.client.config.responseChecksumValidation()) === "WHEN_SUPPORTED";
    const span = { offset: 0, length: undefined };
    let before;
    for (let reading = 1, opened = first;; reading += 1) {
        try {
            const bytes = await (0,store/* readAll */.yw)(deliver(link, key, 0, opened, signal));
            if (compared || isMd5(opened.etag, bytes) || before?.equals(bytes)) {
                yield bytes;
                return;
            }
            before = bytes;
            if (reading === READINGS)
                throw new store/* GarbledRead */.g4(link.describe(key));
        }
        catch (error) {
            if (!(error instanceof store/* GarbledRead */.g4) || reading === READINGS)
                throw error;
        }
        opened = await openBody(link, key, span, signal, undefined);
    }
}
function isMd5(etag, bytes) {
    return etag?.replaceAll('"', "") === (0,external_node_crypto_.createHash)("md5").update(bytes).digest("hex");
}
async function* deliver(link, key, offset, first, signal) {
    const total = first.length;
    let opened = first;
    let delivered = 0;
    let failures = 0;
    /** When something arrived last, or was asked for first. */
    let progress = performance.now();
    for (;;) {
        let broken;
        try {
            for await (const chunk of opened.body) {
                const received = asBytes(chunk);
                const wanted = received.subarray(0, total - delivered);
                delivered += wanted.byteLength;
                failures = 0;
                progress = performance.now();
                if (wanted.byteLength > 0)
                    yield wanted;
                // Only a body that is too long is cut off: one that may end by itself leaves its connection for the next request.
                if (wanted.byteLength < received.byteLength)
                    break;
            }
        }
        catch (error) {
            broken = error;
        }
        finally {
            opened.body.destroy();
        }
        if (signal.aborted)
            throw (0,signals/* abortedBy */.LR)(signal);
        if (broken instanceof Error && (0,errors/* codeOf */.$N)(broken) === undefined && /checksum/i.test(broken.message)) {
            throw new store/* GarbledRead */.g4(link.describe(key), { cause: broken });
        }
        if (delivered === total)
            return;
        failures += 1;
        const said = `the body ended after ${delivered} of ${total} bytes`;
        const pause = nextPause(link.tuning.retry, failures, performance.now() - progress);
        if (pause === undefined) {
            throw new errors/* ToolError */.v4(`Reading ${link.describe(key)} failed: ${said}; check the network and proxy, then try again.`, {
                cause: broken,
            });
        }
        const why = broken === undefined ? said : (0,errors/* messageOf */.bD)(broken);
        link.log.debug(`Reading ${link.describe(key)} again from byte ${offset + delivered}: ${why}`);
        await (0,signals/* sleep */.yy)(pause, signal);
        const rest = { offset: offset + delivered, length: total - delivered };
        opened = await openBody(link, key, rest, signal, first.etag);
    }
}
function asBytes(chunk) {
    if (chunk instanceof Uint8Array)
        return chunk;
    throw new TypeError("An S3 body gave something else than bytes.");
}
async function openBody(link, key, span, signal, etag) {
    const call = link.call("s3:GetObject", key);
    const ranged = span.length !== undefined;
    const command = {
        Bucket: link.bucket,
        Key: link.prefix + key,
        ...(ranged ? { Range: `bytes=${span.offset}-${span.offset + (span.length ?? 0) - 1}` } : {}),
        ...(etag === undefined ? {} : { IfMatch: etag }),
    };
    try {
        const answer = await link.attempt(signal, (options) => link.client.send(new dist_cjs/* GetObjectCommand */.jLs(command), options));
        const body = answer.Body;
        if (!(body instanceof external_node_stream_.Readable))
            throw new errors/* ToolError */.v4(`${call.subject}: the store answered without a body.`);
        try {
            const length = announced(link, key, span, answer.ContentLength, answer.ContentRange);
            return { body, length, etag: answer.ETag };
        }
        catch (error) {
            body.destroy();
            throw error;
        }
    }
    catch (error) {
        throw explainGet(link, key, span, error);
    }
}
/** How many bytes the body must deliver. The answer may hold more than was asked for, but never start elsewhere. */
function announced(link, key, span, contentLength, contentRange) {
    const subject = link.describe(key);
    if (span.length === undefined) {
        if (contentLength === undefined)
            throw new errors/* ToolError */.v4(`${subject}: the store does not say how long it is.`);
        return contentLength;
    }
    const match = /^bytes (\d+)-(\d+)\/(\d+|\*)$/.exec(contentRange ?? "");
    const start = match === null ? 0 : Number(match[1]);
    const end = match === null ? (contentLength ?? 0) : Number(match[2]) + 1;
    if (start !== span.offset) {
        throw new errors/* ToolError */.v4(`${subject}: the store did not answer with the range that was asked for; check the endpoint.`);
    }
    if (end >= span.offset + span.length)
        return span.length;
    throw tooShort(subject, Number(match?.[3] ?? end), span);
}
function explainGet(link, key, span, error) {
    const subject = link.describe(key);
    const code = s3Code(error);
    if (code === "NoSuchKey")
        return new store/* ObjectMissing */.GV(subject);
    if (code === "InvalidRange" || statusOf(error) === 416)
        return tooShort(subject, undefined, span);
    if (code === "PreconditionFailed" || statusOf(error) === 412) {
        return new errors/* ToolError */.v4(`${subject} was replaced while it was read: run this again.`, { cause: error });
    }
    return explainDenied(link, key, "s3:GetObject", error);
}
/** To credentials that may not list, S3 answers 403 for what does not exist: neither its absence nor its presence is proven. */
function explainDenied(link, key, action, error) {
    if (statusOf(error) === 403 &&
        ["AccessDenied", "Forbidden", "403", "Unknown", "UnknownError"].includes(s3Code(error))) {
        return new errors/* ToolError */.v4(`${link.describe(key)}: access denied; the credentials need ${action} on it, and s3:ListBucket on ${link.bucket}, without which S3 gives the same answer for an object that does not exist.`, { cause: error });
    }
    return link.explain(error, link.call(action, key));
}
function tooShort(subject, bytes, span) {
    const size = bytes === undefined || Number.isNaN(bytes) ? "" : ` has ${bytes} bytes and`;
    const wanted = span.offset + (span.length ?? 0);
    return new errors/* DefectError */.uR(subject, `${subject}${size} ends before byte ${wanted}: it was truncated or replaced.`);
}

;// CONCATENATED MODULE: ./build/src/stores/s3-link.js







/** A job that stands still for longer than this should say why. */
const NOTICEABLE_MS = 5_000;
async function openLink(config, name, context, tuning) {
    const { bucket } = config;
    const prefix = (0,stores_keys/* prefixOf */.MT)(config.prefix, name);
    const endpoint = endpointOf(config, name, context.env);
    const place = { bucket, name, host: hostInWords(endpoint, context.env) };
    const client = await s3Client(config, name, context, tuning);
    let reached = false;
    async function attempt(signal, send) {
        (0,signals/* throwIfAborted */.Te)(signal);
        try {
            const answer = await withRetries(tuning.retry, signal, () => send({ abortSignal: signal }), (error) => {
                reached ||= statusOf(error) !== undefined;
                return s3RetryAdvice(error, reached);
            }, (error, pause) => {
                const why = `${s3Code(error)} ${(0,errors/* messageOf */.bD)(error)}`.slice(0, 200);
                const line = `Store ${name}: trying again in ${Math.round(pause)} ms after ${why}`;
                if (pause < NOTICEABLE_MS)
                    context.log.debug(line);
                else
                    context.log.info(line);
            });
            reached = true;
            return answer;
        }
        catch (error) {
            if (signal.aborted)
                throw (0,signals/* abortedBy */.LR)(signal);
            throw error;
        }
    }
    const link = {
        client,
        name,
        bucket,
        prefix,
        tuning,
        log: context.log,
        describe: (key) => `s3://${bucket}/${prefix}${key}`,
        call: (action, key) => ({ action, subject: link.describe(key) }),
        attempt,
        explain: (error, call) => explainS3Error(error, call, place),
        async request(call, signal, send) {
            try {
                return await attempt(signal, send);
            }
            catch (error) {
                throw link.explain(error, call);
            }
        },
    };
    try {
        await prepare(client, name, context);
    }
    catch (error) {
        client.destroy();
        throw link.explain(error, link.call("credentials", ""));
    }
    return link;
}
function hostInWords(endpoint, env) {
    const host = endpoint?.host ?? "Amazon S3";
    const proxy = URL.parse(proxyFor(endpoint?.href ?? "https://s3.amazonaws.com", env));
    return proxy === null ? host : `${host} (through the proxy ${proxy.host})`;
}

;// CONCATENATED MODULE: ./build/src/stores/s3-list.js



/** All objects below the store's prefix whose key starts with `prefix`, page by page. */
async function* listObjects(link, prefix, signal) {
    const call = { action: "s3:ListBucket", subject: link.describe((0,stores_keys/* checkPrefix */.by)(prefix)) };
    let token;
    let last;
    do {
        const page = await link.request(call, signal, (options) => link.client.send(new dist_cjs/* ListObjectsV2Command */.u6x({
            Bucket: link.bucket,
            Prefix: link.prefix + prefix,
            ...(token === undefined ? {} : { ContinuationToken: token }),
        }), options));
        const infos = (page.Contents ?? []).flatMap(({ Key, Size, LastModified }) => {
            if (Key === undefined || Size === undefined || LastModified === undefined) {
                throw new errors/* ToolError */.v4(`${call.subject}: the store's listing is not complete; check that the endpoint is an S3 store.`);
            }
            // Consoles make "folders" as empty objects whose key ends with a slash.
            if (Key.endsWith("/"))
                return [];
            return [{ key: Key.slice(link.prefix.length), bytes: Size, modified: LastModified }];
        });
        infos.sort((a, b) => (0,stores_keys/* compareKeys */.YD)(a.key, b.key));
        for (const info of infos) {
            if (last !== undefined && (0,stores_keys/* compareKeys */.YD)(info.key, last) <= 0)
                throw disordered(call.subject);
            last = info.key;
            yield info;
        }
        token = page.NextContinuationToken;
        if (page.IsTruncated === true && (token === undefined || token === "")) {
            throw new errors/* ToolError */.v4(`${call.subject}: the store's listing breaks off; check that the endpoint is an S3 store.`);
        }
        if (page.IsTruncated !== true)
            token = undefined;
    } while (token !== undefined);
}
function disordered(subject) {
    return new errors/* ToolError */.v4(`${subject}: the store does not list keys in order, as directory buckets (S3 Express) do; use a general purpose bucket.`);
}

;// CONCATENATED MODULE: ./build/src/stores/s3-unfinished.js





/**
 * Aborts the multipart uploads below a prefix that were begun before that moment: their parts take space and are shown by
 * no listing. A store that does not tell of uploads, or not to these credentials, is no failure. Returns how many.
 */
async function abortUploads(link, prefix, before, signal) {
    (0,stores_keys/* checkPrefix */.by)(prefix);
    try {
        let aborted = 0;
        for (const { Key, UploadId } of await oldUploads(link, link.prefix + prefix, before, signal)) {
            const target = { Bucket: link.bucket, Key, UploadId };
            try {
                await link.attempt(signal, (options) => link.client.send(new dist_cjs/* AbortMultipartUploadCommand */.tfP(target), options));
                aborted += 1;
            }
            catch (error) {
                if (s3Code(error) !== "NoSuchUpload")
                    throw error;
            }
        }
        return aborted;
    }
    catch (error) {
        (0,signals/* throwIfAborted */.Te)(signal);
        const why = (0,errors/* messageOf */.bD)(link.explain(error, link.call("s3:ListBucketMultipartUploads", prefix)));
        link.log.debug(`Uploads that were never completed were not looked for; a lifecycle rule that aborts incomplete multipart uploads removes them too. ${why}`);
        return 0;
    }
}
async function oldUploads(link, prefix, before, signal) {
    const found = [];
    let marker = {};
    while (marker !== undefined) {
        const request = new dist_cjs/* ListMultipartUploadsCommand */.mo2({ Bucket: link.bucket, Prefix: prefix, ...marker });
        const page = await link.attempt(signal, (options) => link.client.send(request, options));
        for (const { Key, UploadId, Initiated } of page.Uploads ?? []) {
            // Some stores do not look at the prefix.
            if (Key?.startsWith(prefix) && UploadId && Initiated && Initiated < before)
                found.push({ Key, UploadId });
        }
        const more = page.IsTruncated === true && page.NextKeyMarker !== undefined;
        marker = more ? { KeyMarker: page.NextKeyMarker, UploadIdMarker: page.NextUploadIdMarker } : undefined;
    }
    return found;
}

;// CONCATENATED MODULE: ./build/src/stores/s3.js















/**
 * A store in an S3 bucket. Credentials come from `context.env` (AWS_ACCESS_KEY_ID …) or, without them there, from the
 * default chain of the AWS SDK (profile, web identity, container, instance). Throws a UserError when there are none.
 */
async function openS3Store(config, name, context, defaults = S3_TUNING) {
    const tuning = tunedBy(config, defaults);
    const endpoint = endpointOf(config, name, context.env);
    const link = await openLink(config, name, context, tuning);
    const remove = batchDelete(link, !isAws(endpoint));
    const until = (signal) => signal ?? context.signal;
    const lookUp = lookUpIn(link);
    async function get(key, options = {}) {
        (0,stores_keys/* checkKey */.yR)(key);
        const signal = until(options.signal);
        const { offset, length } = options.range ?? { offset: 0, length: undefined };
        if (length !== 0)
            return download(link, key, { offset, length }, signal);
        // HTTP has no range of no bytes.
        if ((await lookUp(key, signal)) === undefined)
            throw new store/* ObjectMissing */.GV(link.describe(key));
        return nothing();
    }
    async function stat(key, signal) {
        (0,stores_keys/* checkKey */.yR)(key);
        return lookUp(key, until(signal));
    }
    const create = conditionalCreate(link, endpoint, { get, stat });
    return {
        describe: (key) => link.describe(key),
        async put(key, body, options = {}) {
            (0,stores_keys/* checkKey */.yR)(key);
            return upload(link, key, body, until(options.signal), options.expectedBytes);
        },
        async create(key, body, signal) {
            (0,stores_keys/* checkKey */.yR)(key);
            return create(key, body, until(signal));
        },
        get,
        list: (prefix, signal) => listObjects(link, prefix, until(signal)),
        stat,
        async delete(keys, signal) {
            for (const key of keys)
                (0,stores_keys/* checkKey */.yR)(key);
            await remove(keys, until(signal));
        },
        removeUnfinished: (prefix, before, signal) => abortUploads(link, prefix, before, until(signal)),
        close: () => link.client.destroy(),
    };
}
function tunedBy({ retry }, tuning) {
    const seconds = retry === undefined ? undefined : (0,values/* parseDuration */.E9)(retry.within);
    return seconds === undefined ? tuning : { ...tuning, retry: { ...tuning.retry, withinMs: seconds * 1000 } };
}
async function* nothing() { }
function lookUpIn(link) {
    let bucketSeen = false;
    /** The answer to HEAD has no body, so 404 can also mean that the bucket does not exist. */
    async function checkBucket(signal) {
        if (bucketSeen)
            return;
        try {
            await link.attempt(signal, (options) => link.client.send(new dist_cjs/* HeadBucketCommand */.kuI({ Bucket: link.bucket }), options));
        }
        catch (error) {
            const call = { action: "s3:ListBucket", subject: link.describe("") };
            if (statusOf(error) === 404) {
                throw link.explain(Object.assign(new Error("NoSuchBucket"), { name: "NoSuchBucket" }), call);
            }
            // A bucket that may not be looked at is there.
            if (statusOf(error) !== 403)
                throw link.explain(error, call);
        }
        bucketSeen = true;
    }
    /** HEAD says only the number; the same request as GET says why. */
    async function reasonFor(key, error, signal) {
        const stop = new AbortController();
        try {
            await download(link, key, { offset: 0, length: undefined }, (0,signals/* anySignal */.JG)(signal, stop.signal));
        }
        catch (reason) {
            if (!(reason instanceof store/* ObjectMissing */.GV))
                return reason;
        }
        finally {
            stop.abort();
        }
        return explainDenied(link, key, "s3:GetObject", error);
    }
    return async (key, signal) => {
        try {
            const head = await link.attempt(signal, (options) => link.client.send(new dist_cjs/* HeadObjectCommand */.l81({ Bucket: link.bucket, Key: link.prefix + key }), options));
            bucketSeen = true;
            if (head.ContentLength === undefined || head.LastModified === undefined) {
                throw new errors/* ToolError */.v4(`${link.describe(key)}: the store does not say its size and date; check the endpoint.`);
            }
            return { key, bytes: head.ContentLength, modified: head.LastModified };
        }
        catch (error) {
            const status = statusOf(error);
            if (status === 404) {
                await checkBucket(signal);
                return undefined;
            }
            if (status === 400 || status === 403)
                throw await reasonFor(key, error, signal);
            throw link.explain(error, link.call("s3:GetObject", key));
        }
    };
}


/***/ })

};
