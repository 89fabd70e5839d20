import { AbortedError, codeOf, DefectError, messageOf, ToolError, UserError } from "../errors.ts";
import type { RetryAdvice } from "./retry.ts";
import { ObjectMissing } from "./store.ts";

/** What was being done when S3 refused. */
export interface S3Call {
  /** The permission it needs, such as `s3:PutObject`. */
  readonly action: string;
  /** The object or bucket, as {@link Store.describe} names it. */
  readonly subject: string;
}

/** Where the store is, in words for messages. */
export interface S3Place {
  readonly bucket: string;
  /** Host and port, with the proxy if there is one. */
  readonly host: string;
  /** The name of the store in the runbook. */
  readonly name: string;
}

/** The error code of S3 (`NoSuchKey`), or of the network (`ECONNRESET`); "" when there is neither. */
export function s3Code(error: unknown): string {
  const code = codeOf(error);
  if (code !== undefined && statusOf(error) === undefined) return code;
  return error instanceof Error ? error.name : "";
}

/** The HTTP status of the answer that became this error. */
export function statusOf(error: unknown): number | undefined {
  return numberAt(error, "$metadata", "httpStatusCode") ?? numberAt(error, "$response", "statusCode");
}

function numberAt(error: unknown, outer: string, inner: string): number | undefined {
  const value = property(property(error, outer), inner);
  return typeof value === "number" ? value : undefined;
}

function property(of: unknown, name: string): unknown {
  return typeof of === "object" && of !== null ? Reflect.get(of, name) : undefined;
}

function header(error: unknown, name: string): string | undefined {
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
export function s3RetryAdvice(error: unknown, reached: boolean): RetryAdvice | undefined {
  const code = s3Code(error);
  if (property(property(error, "$metadata"), "clockSkewCorrected") === true) return { attempts: 2 };
  if (UNREACHABLE.has(code)) return reached ? {} : { attempts: ATTEMPTS_BEFORE_FIRST_ANSWER };
  const status = statusOf(error);
  if (RETRIED_CODES.has(code) || (status !== undefined && RETRIED_STATUS.has(status))) {
    return { afterMs: retryAfterMs(header(error, "retry-after")) };
  }
  // An answer that cannot be read: cut short, or what HTTP's parser trips over.
  if (code.startsWith("HPE_") || isUnreadable(error, status)) return {};
  return undefined;
}

/** An answer that says it is a success, but whose XML the SDK cannot read. */
function isUnreadable(error: unknown, status: number | undefined): boolean {
  if (error instanceof ToolError || error instanceof DefectError) return false;
  return error instanceof Error && status !== undefined && status < 300;
}

/** Milliseconds of a Retry-After header: seconds, or a date. */
export function retryAfterMs(value: string | undefined, now = Date.now()): number | undefined {
  if (value === undefined) return undefined;
  if (/^\d+$/.test(value)) return Number(value) * 1000;
  const date = Date.parse(value);
  return Number.isNaN(date) ? undefined : Math.max(0, date - now);
}

const SENTENCES: Readonly<Record<string, (call: S3Call, place: S3Place, error: unknown) => string>> = {
  NoSuchBucket: (call, place) =>
    `${call.subject}: the bucket "${place.bucket}" does not exist at ${place.host}; create it, or correct bucket, region and endpoint of the store "${place.name}".`,
  AccessDenied: denied,
  AllAccessDisabled: denied,
  AccountProblem: denied,
  InvalidAccessKeyId: (call, place) =>
    `${call.subject}: ${place.host} does not know the access key; check AWS_ACCESS_KEY_ID and that it belongs to this store.`,
  SignatureDoesNotMatch: (call, place) =>
    `${call.subject}: ${place.host} refuses the signature; AWS_SECRET_ACCESS_KEY does not belong to AWS_ACCESS_KEY_ID, or it was copied with a blank or line break.`,
  ExpiredToken: expired,
  ExpiredTokenException: expired,
  TokenRefreshRequired: expired,
  RequestExpired: expired,
  InvalidToken: badToken,
  InvalidTokenId: badToken,
  RequestTimeTooSkewed: (call, place) =>
    `${call.subject}: the clock of this machine differs too much from that of ${place.host}; set the clock (NTP).`,
  PermanentRedirect: wrongRegion,
  TemporaryRedirect: wrongRegion,
  AuthorizationHeaderMalformed: wrongRegion,
  IllegalLocationConstraintException: wrongRegion,
  InvalidObjectState: (call) =>
    `${call.subject} lies in an archive storage class (such as Glacier); restore it with the tools of the store first, and exempt backups from that lifecycle rule.`,
  XMinioStorageFull: full,
  XMinioStorageQuotaExceeded: full,
  XMinioAdminBucketQuotaExceeded: full,
  QuotaExceeded: full,
  InsufficientCapacity: full,
  EntityTooLarge: (call) => `${call.subject} is larger than this store takes; see the limits of the store.`,
  InvalidPart: (call) =>
    `${call.subject}: the store lost or refuses a part of the upload; run it again, and on R2 check that the size was estimated (its parts must be equal).`,
  NoSuchUpload: (call) =>
    `${call.subject}: the store ended the upload before it was complete; a lifecycle rule that aborts uploads may be too short.`,
  InvalidBucketName: (call, place) =>
    `${call.subject}: "${place.bucket}" is not a bucket name; correct bucket of the store "${place.name}".`,
  CredentialsProviderError: (_call, place) =>
    `No credentials were found for the store "${place.name}": set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, AWS_PROFILE, or a role for this job.`,
  ENOTFOUND: unknownHost,
  EAI_AGAIN: unknownHost,
  ECONNREFUSED: (call, place) =>
    `${call.subject}: nothing answers at ${place.host}; check endpoint and port of the store "${place.name}" and that the service runs.`,
  BadDigest: garbled,
  XAmzContentSHA256Mismatch: garbled,
  EPROTO: (call, place) => tls(call, place, "it does not speak TLS; write http:// if that is meant"),
  ERR_SSL_WRONG_VERSION_NUMBER: (call, place) =>
    tls(call, place, "it does not speak TLS; write http:// if that is meant"),
  CERT_HAS_EXPIRED: (call, place) => tls(call, place, "its certificate has expired; renew it"),
  ERR_TLS_CERT_ALTNAME_INVALID: (call, place) =>
    tls(call, place, "its certificate is for another host name; correct endpoint or path-style"),
};

function denied(call: S3Call, place: S3Place): string {
  return `${call.subject}: ${place.host} denies access; the credentials need ${call.action} on it (policy of the user or role, policy of the bucket, and its KMS key if it has one).`;
}

function expired(call: S3Call): string {
  return `${call.subject}: the credentials have expired; get new ones in the step before, or allow the role a longer session.`;
}

function unknownHost(call: S3Call, place: S3Place): string {
  return `${call.subject}: the name of ${place.host} is not known; check endpoint, region and path-style of the store "${place.name}".`;
}

function garbled(call: S3Call, place: S3Place): string {
  return `${call.subject}: what arrives at ${place.host} is not what was sent, each time anew; something on the way changes the bytes: check the network and proxy, and use https.`;
}

function badToken(call: S3Call): string {
  return `${call.subject}: AWS_SESSION_TOKEN is not valid; remove it for a permanent access key, or get new temporary credentials.`;
}

function full(call: S3Call, place: S3Place): string {
  return `${call.subject}: the store at ${place.host} is full or its quota is used up; free space there or raise the quota.`;
}

function wrongRegion(call: S3Call, place: S3Place, error: unknown): string {
  const region = property(error, "Region") ?? header(error, "x-amz-bucket-region");
  const advice =
    typeof region === "string" && /^[a-z0-9-]+$/.test(region)
      ? `write region: ${region}`
      : "write the region in which the bucket is";
  return `${call.subject}: the bucket "${place.bucket}" is in another region or behind another endpoint; ${advice} into the store "${place.name}".`;
}

function tls(call: S3Call, place: S3Place, why: string): string {
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
export function explainS3Error(error: unknown, call: S3Call, place: S3Place): Error {
  if (
    error instanceof ToolError ||
    error instanceof UserError ||
    error instanceof DefectError ||
    error instanceof ObjectMissing ||
    error instanceof AbortedError
  ) {
    return error;
  }
  const code = s3Code(error);
  const status = statusOf(error);
  const said = SENTENCES[code]?.(call, place, error) ?? byKind(code, status, error, call, place);
  return code === "CredentialsProviderError"
    ? new UserError(said, { cause: error })
    : new ToolError(said, { cause: error });
}

function byKind(
  code: string,
  status: number | undefined,
  error: unknown,
  call: S3Call,
  place: S3Place,
): string {
  if (UNTRUSTED.has(code)) {
    return tls(call, place, "its certificate is not trusted here; name its authority in NODE_EXTRA_CA_CERTS");
  }
  if (status === 401 || status === 403) return denied(call, place);
  if (status === 301 || status === 307) return wrongRegion(call, place, error);
  if (status === 507) return full(call, place);
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

function firstLine(error: unknown): string {
  return messageOf(error).split("\n")[0]?.slice(0, 200) ?? "";
}
