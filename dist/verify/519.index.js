export const id = 519;
export const ids = [519];
export const modules = {

/***/ 519:
/***/ ((__unused_webpack___webpack_module__, __webpack_exports__, __webpack_require__) => {

// ESM COMPAT FLAG
__webpack_require__.r(__webpack_exports__);

// EXPORTS
__webpack_require__.d(__webpack_exports__, {
  postgresComponent: () => (/* binding */ postgresComponent)
});

// EXTERNAL MODULE: external "node:crypto"
var external_node_crypto_ = __webpack_require__(7598);
// EXTERNAL MODULE: ./node_modules/zod/v4/classic/schemas.js + 7 modules
var schemas = __webpack_require__(2311);
// EXTERNAL MODULE: ./build/src/errors.js
var errors = __webpack_require__(7406);
// EXTERNAL MODULE: ./build/src/stores/store.js
var stores_store = __webpack_require__(8065);
// EXTERNAL MODULE: ./build/src/catalog/documents.js
var documents = __webpack_require__(9347);
// EXTERNAL MODULE: ./build/src/catalog/layout.js
var layout = __webpack_require__(2299);
;// CONCATENATED MODULE: ./build/src/catalog/cluster.js





const clusterIdentity = schemas/* object */.Ikc({
    schema: schemas/* literal */.euz("drillbook/cluster/v1"),
    /** What initdb gave the cluster; the same on its standbys, different on every other cluster. */
    systemIdentifier: schemas/* string */.YjP(),
});
/**
 * Ties a component's place in the store to one cluster: the first run writes the system identifier, every later run
 * must have the same. Throws a {@link DefectError} when the place belongs to another cluster; nothing is written then.
 */
async function claimCluster(store, component, systemIdentifier, signal) {
    const known = await readClusterIdentity(store, component, signal);
    if (known === systemIdentifier)
        return;
    const document = (0,documents/* encodeDocument */.K)({ schema: "drillbook/cluster/v1", systemIdentifier });
    if (known === undefined && (await store.create((0,layout/* clusterKey */.MX)(component), document, signal)))
        return;
    const owner = known ?? (await readClusterIdentity(store, component, signal));
    if (owner === systemIdentifier)
        return;
    const subject = store.describe((0,layout/* clusterKey */.MX)(component));
    throw new errors/* DefectError */.uR(subject, `${subject} says that "${component}" holds the cluster with system identifier ${owner}, but this server is ${systemIdentifier}: give the new cluster another component name or another prefix.`);
}
/** The system identifier of the cluster that a component holds; undefined when nothing was ever written. */
async function readClusterIdentity(store, component, signal) {
    try {
        return (await (0,documents/* readDocument */.u)(store, (0,layout/* clusterKey */.MX)(component), clusterIdentity, signal)).systemIdentifier;
    }
    catch (error) {
        if (error instanceof stores_store/* ObjectMissing */.GV)
            return undefined;
        throw error;
    }
}

;// CONCATENATED MODULE: ./build/src/catalog/heartbeat.js





/**
 * `heartbeat.json`: the last thing that a successful run writes; a run that streams writes one at each of its points.
 * Everything it names was in the store before it. Times are RFC 3339 in UTC.
 */
const heartbeat = schemas/* object */.Ikc({
    schema: schemas/* literal */.euz("drillbook/heartbeat/v1"),
    component: schemas/* string */.YjP(),
    kind: schemas/* enum */.k5n(["full", "wal"]),
    finishedAt: schemas/* string */.YjP(),
    /** The newest backup that this run made; null for `wal`. */
    backupId: schemas/* string */.YjP().nullable(),
    /** The newest backup of all when the run ended: its loss is seen by this, and a listing that lags behind is too. */
    newestBackup: schemas/* string */.YjP().nullish(),
    /** The last whole segment of the archive; null when there is none, and for components without WAL. */
    lastSegment: schemas/* string */.YjP().nullable(),
    /** The segment behind it, of which so many bytes were archived at least. */
    partial: schemas/* object */.Ikc({ segment: schemas/* string */.YjP(), bytes: schemas/* number */.aig() }).nullish(),
    /** The newest moment that `latest` reaches; null when the archive ends in no named point. */
    recoverableUntil: schemas/* string */.YjP().nullable(),
});
async function writeHeartbeat(store, beat, signal) {
    const bytes = (0,documents/* encodeDocument */.K)({ schema: "drillbook/heartbeat/v1", ...beat });
    await store.put((0,layout/* heartbeatKey */.Sf)(beat.component), once(bytes), { signal, expectedBytes: bytes.length });
}
/** As {@link readHeartbeat}, for those who only take a hint from it: undefined when it is damaged too. */
async function glanceAtHeartbeat(store, component, signal) {
    try {
        return await readHeartbeat(store, component, signal);
    }
    catch (error) {
        if (error instanceof errors/* DefectError */.uR)
            return undefined;
        throw error;
    }
}
/** The last heartbeat of a component; undefined when no run ever succeeded. */
async function readHeartbeat(store, component, signal) {
    try {
        return await (0,documents/* readDocument */.u)(store, (0,layout/* heartbeatKey */.Sf)(component), heartbeat, signal);
    }
    catch (error) {
        if (error instanceof stores_store/* ObjectMissing */.GV)
            return undefined;
        throw error;
    }
}
async function* once(bytes) {
    yield bytes;
}

// EXTERNAL MODULE: external "node:os"
var external_node_os_ = __webpack_require__(8161);
// EXTERNAL MODULE: ./build/src/stores/signals.js
var signals = __webpack_require__(8993);
// EXTERNAL MODULE: ./build/src/values.js
var values = __webpack_require__(6271);
;// CONCATENATED MODULE: ./build/src/catalog/lease-objects.js






/**
 * `lease/<number>.json`: the one with the highest number says which run writes into the component's place. Each is created
 * and never changed, and the highest is never deleted, so a number is never given twice. Times are RFC 3339 in UTC.
 */
const leaseDocument = schemas/* object */.Ikc({
    schema: schemas/* literal */.euz("drillbook/lease/v1"),
    /** Different for each run. */
    token: schemas/* string */.YjP(),
    /** For people: the URL of the run, or machine and process. */
    holder: schemas/* string */.YjP(),
    kind: schemas/* enum */.k5n(["full", "wal", "prune"]),
    startedAt: schemas/* string */.YjP(),
    /** The holder's clock. */
    expiresAt: schemas/* string */.YjP(),
    /** The run has ended. */
    released: schemas/* boolean */.zMY(),
});
/** A listing that shows what is not there any more is asked again so often. */
const READINGS = 50;
const AGAIN_MS = 100;
/**
 * The lease object with the highest number, and the keys of all others; undefined when there is none. `known` is a number
 * that was there a moment ago: a listing may not show the newest yet, so what follows it is looked for by its name.
 */
async function readLease(store, component, signal, known = 0) {
    for (let reading = 1;; reading += 1) {
        const listed = [];
        for await (const { key } of store.list((0,layout/* leasePrefix */.rb)(component), signal)) {
            const number = (0,layout/* leaseNumber */.Mr)(component, key);
            if (number !== undefined)
                listed.push({ number, key });
        }
        let number = Math.max(known, listed.at(-1)?.number ?? 0);
        while ((await store.stat((0,layout/* leaseKey */.aW)(component, number + 1), signal)) !== undefined)
            number += 1;
        if (number === 0)
            return undefined;
        const older = listed.filter((one) => one.number < number).map(({ key }) => key);
        const found = await store.stat((0,layout/* leaseKey */.aW)(component, number), signal);
        try {
            if (found === undefined)
                throw new stores_store/* ObjectMissing */.GV(store.describe((0,layout/* leaseKey */.aW)(component, number)));
            const document = await readLeaseDocument(store, found.key, signal);
            return { newest: { number, modified: found.modified, document }, older };
        }
        catch (error) {
            // Its holder has renewed it since it was listed.
            if (!(error instanceof stores_store/* ObjectMissing */.GV))
                throw error;
            if (reading === READINGS) {
                throw new errors/* ToolError */.v4(`${store.describe((0,layout/* leasePrefix */.rb)(component))} does not say who writes there: the store's list does not show what lies in it. Try again later.`);
            }
        }
        await (0,signals/* sleep */.yy)(AGAIN_MS, signal);
    }
}
async function readLeaseDocument(store, key, signal) {
    try {
        return await (0,documents/* readDocument */.u)(store, key, leaseDocument, signal);
    }
    catch (error) {
        if (error instanceof errors/* DefectError */.uR)
            return undefined;
        throw error;
    }
}
/** Creates the object of a number; false when somebody else was quicker. */
async function createLease(store, component, number, document, signal) {
    const bytes = (0,documents/* encodeDocument */.K)({ schema: "drillbook/lease/v1", ...document });
    return await store.create((0,layout/* leaseKey */.aW)(component, number), bytes, signal);
}

;// CONCATENATED MODULE: ./build/src/catalog/held-lease.js




/** A run that is being stopped has little time left. */
const RELEASE_MS = 1_000;
/** After this part of the expiry without a sign from the store, nothing is written before it was asked again. */
const SAFE_PART = 0.75;
function holdLease(lease, held, context) {
    const { store, component, timing, base } = lease;
    const ended = new AbortController();
    let { number, confirmed } = held;
    let lost;
    let warned = false;
    /** One request about the lease at a time: each looks at the number that the one before left. */
    let queue = Promise.resolve();
    function inTurn(work) {
        const turn = queue.then(work);
        queue = turn.catch(() => undefined);
        return turn;
    }
    function lose(by) {
        lost ??= new errors/* ToolError */.v4(`Another run has taken the lease of "${component}" over (${by}), because this one could not renew it in time: this run stops here and has listed and deleted nothing since. Run it again.`);
        return lost;
    }
    /** The number is still ours, or becomes ours; else it is lost. */
    async function look(signal) {
        const began = performance.now();
        const newest = (await readLease(store, component, signal, number))?.newest;
        if (newest?.document?.token !== base.token)
            throw lose(newest?.document?.holder ?? "an unknown one");
        number = newest.number;
        confirmed = began;
    }
    async function renew(released, signal) {
        if (lost !== undefined)
            throw lost;
        for (let created = false; !created;) {
            const expiresAt = new Date(context.now().getTime() + (released ? 0 : timing.expiry)).toISOString();
            const document = { ...base, expiresAt, released };
            created = await createLease(store, component, number + 1, document, signal);
            // Whatever was answered: the newest must be ours. It may be one that this run wrote and had no answer to.
            await look(signal);
        }
        await tidy(signal);
    }
    /** Only the newest counts. */
    async function tidy(signal) {
        try {
            const older = (await readLease(store, component, signal, number))?.older ?? [];
            if (older.length > 0)
                await store.delete(older, signal);
        }
        catch (error) {
            if (signal.aborted || warned)
                return;
            warned = true;
            const place = store.describe((0,layout/* leaseKey */.aW)(component, number));
            context.log.warning(`Old lease objects beside ${place} could not be deleted: ${(0,errors/* messageOf */.bD)(error)}`);
        }
    }
    async function keepRenewing() {
        let pause = timing.renewEvery;
        while (!ended.signal.aborted && lost === undefined) {
            try {
                await (0,signals/* sleep */.yy)(pause, ended.signal);
                await inTurn(() => renew(false, ended.signal));
                pause = timing.renewEvery;
            }
            catch (error) {
                if (ended.signal.aborted || lost !== undefined)
                    return;
                context.log.debug(`The lease of ${component} could not be renewed: ${(0,errors/* messageOf */.bD)(error)}`);
                pause = timing.renewEvery / 6;
            }
        }
    }
    const isSafe = () => performance.now() - confirmed < timing.expiry * SAFE_PART;
    async function assertHeld(signal = context.signal) {
        if (lost !== undefined)
            throw lost;
        // When it may have expired, only a new number proves that nobody took over, and that nobody does now.
        await inTurn(() => (isSafe() ? look(signal) : renew(false, signal)));
    }
    const renewing = inTurn(() => tidy(ended.signal)).then(keepRenewing);
    return {
        store: fence(store, () => lost, assertHeld),
        takenAt: held.takenAt,
        assertHeld,
        async release() {
            ended.abort();
            await renewing.catch(() => undefined);
            try {
                const signal = AbortSignal.timeout(RELEASE_MS);
                await inTurn(() => renew(true, signal));
            }
            catch (error) {
                context.log.debug(`The lease of ${component} was not released: ${(0,errors/* messageOf */.bD)(error)}`);
            }
        },
    };
}
function fence(store, lost, assertHeld) {
    function assertNotLost() {
        const error = lost();
        if (error !== undefined)
            throw error;
    }
    return {
        ...store,
        async put(key, body, options) {
            assertNotLost();
            return await store.put(key, body, options);
        },
        async create(key, body, signal) {
            assertNotLost();
            return await store.create(key, body, signal);
        },
        async delete(keys, signal) {
            await assertHeld(signal);
            await store.delete(keys, signal);
        },
    };
}

;// CONCATENATED MODULE: ./build/src/catalog/lease.js






const LEASE_TIMING = {
    expiry: 120_000,
    renewEvery: 30_000,
    skew: 60_000,
    lookEvery: 2_000,
};
/**
 * Waits until nobody else writes into the component's place; the run that still does when the wait is over, else
 * undefined. Takes nothing: for the time before a run has opened its connections.
 */
async function waitForLease(request, context) {
    const found = await look(request, context, async () => "free");
    return found === "free" ? undefined : found;
}
/** Takes the lease, after a wait where another run has it; that run when the wait was in vain. */
async function takeLease(request, context) {
    return await look(request, context, (newest) => tryToTake(request, newest, context));
}
/** Looks at the lease until it is free and `take` succeeded, or until the wait is over. */
async function look(request, context, take) {
    const { store, component, waitSeconds, yields, timing = LEASE_TIMING } = request;
    const { signal, log } = context;
    const began = performance.now();
    let seen;
    let announced;
    let alive;
    for (;;) {
        const newest = (await readLease(store, component, signal))?.newest;
        const now = performance.now();
        const before = seen?.lease;
        if (newest?.number !== before?.number)
            seen = newest && { lease: newest, at: now };
        if (newest === undefined || isFree(newest, now - (seen?.at ?? now), timing, context.now())) {
            const taken = await take(newest);
            if (taken !== undefined)
                return taken;
            await (0,signals/* sleep */.yy)(timing.lookEvery, signal);
            continue;
        }
        const who = describe(newest);
        const { token, kind = "prune" } = newest.document ?? {};
        if (before !== undefined && newest.number > before.number && before.document?.token === token)
            alive = token;
        const busy = { kind, who, alive: token !== undefined && alive === token };
        if (yields && busy.alive && kind !== "prune")
            return busy;
        if (now - began >= waitSeconds * 1000)
            return busy;
        if (announced !== token) {
            announced = token;
            const until = newest.document?.expiresAt ?? "unknown";
            const patience = yields
                ? "to see whether it lives"
                : `up to ${(0,values/* formatDuration */.a3)(waitSeconds)} for it to end`;
            log.info(`${component}: ${who}, holds the lease (until ${until}, renewed while it lives): waiting ${patience}.`);
        }
        await (0,signals/* sleep */.yy)(timing.lookEvery, signal);
    }
}
/**
 * Nobody's: released, expired by more than the clocks may differ, or not renewed for as long as this run looks on, which
 * asks no clock but its own.
 */
function isFree(lease, watchedMs, timing, now) {
    if (lease.document?.released || watchedMs >= timing.expiry)
        return true;
    const expiresAt = Date.parse(lease.document?.expiresAt ?? "");
    return now.getTime() > expiresAt + timing.skew;
}
async function tryToTake(request, newest, context) {
    const { store, component, kind, timing = LEASE_TIMING } = request;
    const base = {
        token: (0,external_node_crypto_.randomBytes)(8).toString("hex"),
        holder: holderOf(context.env),
        kind,
        startedAt: context.now().toISOString(),
    };
    const number = (newest?.number ?? 0) + 1;
    const began = performance.now();
    const expiresAt = new Date(context.now().getTime() + timing.expiry).toISOString();
    const document = { ...base, expiresAt, released: false };
    if (!(await createLease(store, component, number, document, context.signal)))
        return undefined;
    // A number that was free could have been used and deleted since it was looked up; and a store that cannot create
    // exclusively lets two runs write the same one.
    const found = await readLease(store, component, context.signal, number);
    if (found?.newest.document?.token !== base.token)
        return undefined;
    if (newest !== undefined && newest.document?.released !== true) {
        context.log.info(`${component}: ${describe(newest)}, has ended without a word, so this run takes its place.`);
    }
    const held = { number, confirmed: began, takenAt: found.newest.modified };
    return holdLease({ store, component, timing, base }, held, context);
}
function describe({ document }) {
    if (document === undefined)
        return "a run whose lease cannot be read";
    const what = { full: "the full backup", wal: "the run with kind wal", prune: "the retention" }[document.kind];
    return `${what} of ${document.holder.slice(0, 200)}, at work since ${document.startedAt}`;
}
function holderOf(env) {
    const { GITHUB_SERVER_URL: server, GITHUB_REPOSITORY: repository, GITHUB_RUN_ID: id } = env;
    if (server && repository && id)
        return `${server}/${repository}/actions/runs/${id}`;
    return `process ${process.pid} on ${(0,external_node_os_.hostname)()}`;
}

;// CONCATENATED MODULE: ./build/src/catalog/lsn.js
/** Positions in the WAL (`0/1A2B3C4D`) and the 24 hex digits of segment names. Pure arithmetic. */
const LSN = /^([0-9A-Fa-f]{1,8})\/([0-9A-Fa-f]{1,8})$/;
const SEGMENT = /^[0-9A-F]{24}$/;
/** The number of an LSN; undefined when the text is none. */
function lsn_parseLsn(text) {
    const match = LSN.exec(text);
    if (match === null)
        return undefined;
    return (BigInt(`0x${match[1]}`) << 32n) | BigInt(`0x${match[2]}`);
}
/** The number of an LSN that a server or a manifest of ours wrote; throws on anything else. */
function lsn(text) {
    const value = lsn_parseLsn(text);
    if (value === undefined)
        throw new Error(`"${text}" is not a WAL position.`);
    return value;
}
/** `0/1A2B3C4D`, as PostgreSQL prints it. */
function formatLsn(value) {
    return `${(value >> 32n).toString(16).toUpperCase()}/${(value & 0xffffffffn).toString(16).toUpperCase()}`;
}
/** The number of the segment that holds the byte at `position`. */
function segmentAt(position, segmentBytes) {
    return Number(position / BigInt(segmentBytes));
}
/**
 * The number of the segment that holds the last byte before `end`: a record that ends at a segment's first byte
 * lies in the segment before.
 */
function segmentBefore(end, segmentBytes) {
    return segmentAt(end > 0n ? end - 1n : 0n, segmentBytes);
}
/** The position of a segment's first byte. */
function segmentStart(number, segmentBytes) {
    return BigInt(number) * BigInt(segmentBytes);
}
function segmentsPerLog(segmentBytes) {
    return 2 ** 32 / segmentBytes;
}
function hex8(value) {
    return value.toString(16).toUpperCase().padStart(8, "0");
}
/** `00000001000000000000000A`: timeline, then the number in two parts, as `XLogFileName` in PostgreSQL does. */
function segmentName(timeline, number, segmentBytes) {
    const perLog = segmentsPerLog(segmentBytes);
    return hex8(timeline) + hex8(Math.floor(number / perLog)) + hex8(number % perLog);
}
/** Timeline and number of a segment's name; undefined when the name is none or cannot be of this segment size. */
function parseSegmentName(name, segmentBytes) {
    if (!SEGMENT.test(name))
        return undefined;
    const perLog = segmentsPerLog(segmentBytes);
    const low = Number.parseInt(name.slice(16), 16);
    if (low >= perLog)
        return undefined;
    return {
        timeline: Number.parseInt(name.slice(0, 8), 16),
        number: Number.parseInt(name.slice(8, 16), 16) * perLog + low,
    };
}

;// CONCATENATED MODULE: ./build/src/catalog/orphans.js


/**
 * Clears away what runs that were killed left below a component: parts of backups that never got their manifest, notes of
 * backups that are gone, temporary files, uploads that were never completed. Whoever holds the lease knows that no other run
 * is at work, so all that was written before it was taken is dead. Only what its name proves to be ours is touched. Best
 * effort: what remains only takes space, so a failure is a warning.
 */
async function removeOrphans(lease, component, context) {
    try {
        await removeAll(lease, component, context);
    }
    catch (error) {
        if (context.signal.aborted)
            throw new errors/* AbortedError */.oM();
        context.log.warning(`${component}: what a killed run left could not be cleared away: ${(0,errors/* messageOf */.bD)(error)}`);
    }
}
async function removeAll({ store, takenAt }, component, context) {
    const { log, signal } = context;
    const unfinished = await store.removeUnfinished(`${component}/`, takenAt, signal);
    if (unfinished > 0) {
        log.info(`${component}: removed ${unfinished} unfinished files or uploads of a run that was killed.`);
    }
    // Notes first: a backup is there before it is verified, so one that is not listed afterwards is gone.
    const notes = [];
    for await (const { key } of store.list((0,layout/* verificationsPrefix */.z8)(component), signal))
        notes.push(key);
    const { listed, parts } = await unlistedParts({ store, takenAt }, component, signal);
    const stale = notes.filter((key) => {
        const id = (0,layout/* verificationId */.bS)(component, key);
        return id !== undefined && !listed.has(id);
    });
    if (stale.length > 0)
        await store.delete(stale, signal);
    for (const [id, keys] of parts) {
        await store.delete(keys, signal);
        log.info(`${component}: deleted the parts of ${id}, a backup that was never finished.`);
    }
}
/** The ids of listed backups; parts of others by their id, but of none that somebody wrote to since the lease was taken. */
async function unlistedParts({ store, takenAt }, component, signal) {
    const parts = new Map();
    const listed = new Set();
    const alive = new Set();
    for await (const { key, modified } of store.list((0,layout/* backupsPrefix */.Iv)(component), signal)) {
        const manifest = (0,layout/* manifestId */.Hx)(component, key);
        if (manifest !== undefined)
            listed.add(manifest);
        const id = (0,layout/* partOf */.BU)(component, key);
        if (id === undefined)
            continue;
        if (modified > takenAt)
            alive.add(id);
        parts.set(id, [...(parts.get(id) ?? []), key]);
    }
    for (const id of [...listed, ...alive])
        parts.delete(id);
    return { listed, parts };
}

;// CONCATENATED MODULE: ./build/src/postgres/lease.js


/** Unless the input `wait-for` says otherwise. */
const WAIT_SECONDS = 600;
/**
 * How long a run waits for another one. A full backup as long as it is told to. A run that streams as long as it would
 * stream, and then does the rest. A short run with `wal` only until it sees the other one live: that one archives the WAL.
 */
function leaseRequest({ store, name }, kind, options) {
    const { streamSeconds = 0, waitSeconds = WAIT_SECONDS, leaseTiming } = options;
    const yields = kind === "wal" && streamSeconds === 0;
    const wait = { full: waitSeconds, prune: waitSeconds, wal: yields ? WAIT_SECONDS : streamSeconds }[kind];
    const timing = leaseTiming === undefined ? {} : { timing: leaseTiming };
    return { store, component: name, kind, waitSeconds: wait, yields, ...timing };
}
/** What a run with `wal` says when another one archives the WAL. Throws a {@link ToolError} when that is not so. */
function leaveToOther(busy, request, context) {
    const { component, kind, waitSeconds } = request;
    if (kind !== "wal" || !busy.alive || busy.kind === "prune") {
        throw new errors/* ToolError */.v4(`${component}: ${busy.who}, still holds the lease after ${(0,values/* formatDuration */.a3)(waitSeconds)}, and only one run at a time may write there: let it end, or let this one wait for longer with the input wait-for.`);
    }
    const text = `${busy.who}, is at work and archives the WAL, so this run left it to that one. What is recoverable is what that run says.`;
    context.log.info(`${component}: ${text}`);
    return {
        manifest: undefined,
        bytes: 0,
        recoverableUntil: undefined,
        notes: [{ severity: "notice", text }],
    };
}

;// CONCATENATED MODULE: ./build/src/postgres/source/errors.js


/** The server no longer has WAL that was asked for. */
class WalRemovedError extends Error {
    constructor(message) {
        super(message);
        this.name = "WalRemovedError";
    }
}
function isServerError(error) {
    return error instanceof Error && /^[0-9A-Z]{5}$/.test((0,errors/* codeOf */.$N)(error) ?? "") && "severity" in error;
}
/**
 * One sentence for an error of a connection to PostgreSQL; `doing` completes "… while <doing>". What already is a
 * sentence passes unchanged. The result never holds the password: it is made of names and of the server's words.
 */
function explain(error, endpoint, doing) {
    if (error instanceof errors/* UserError */.yo ||
        error instanceof errors/* ToolError */.v4 ||
        error instanceof errors/* DefectError */.uR ||
        error instanceof errors/* AbortedError */.oM ||
        error instanceof WalRemovedError ||
        error instanceof stores_store/* ObjectMissing */.GV) {
        return error;
    }
    if (isServerError(error))
        return explainServer(error, endpoint, doing);
    return explainSocket(error, endpoint, doing);
}
/** SQLSTATE codes are those of the manual's appendix "PostgreSQL Error Codes". */
function explainServer(error, endpoint, doing) {
    const { label, user, database } = endpoint;
    const said = oneLine(error.message);
    const options = { cause: error };
    switch (error.code) {
        case "28P01":
            return new errors/* UserError */.yo(`PostgreSQL at ${label} refused the password of "${user}": correct the password in the connection.`, options);
        case "28000":
            return explainAuthorization(error, endpoint);
        case "3D000":
            return new errors/* UserError */.yo(`PostgreSQL at ${label} has no database "${database}": correct the database in the connection.`, options);
        case "42501":
            return explainPrivilege(error, endpoint, doing);
        case "53300":
            return new errors/* ToolError */.v4(said.includes("max_wal_senders")
                ? `PostgreSQL at ${label} has no free WAL sender (${said}): raise max_wal_senders, which needs a restart, or end another replication connection.`
                : `PostgreSQL at ${label} accepts no further connection (${said}): raise max_connections or end other sessions.`, options);
        case "53400":
            return new errors/* ToolError */.v4(`PostgreSQL at ${label} has no free replication slot (${said}): drop an unused one or raise max_replication_slots, which needs a restart.`, options);
        case "53100":
            return new errors/* ToolError */.v4(`The disk of PostgreSQL at ${label} is full (${said}): free space there first.`, options);
        case "53200":
            return new errors/* ToolError */.v4(`PostgreSQL at ${label} is out of memory while ${doing}: ${said}.`, options);
        case "55006":
            return new errors/* ToolError */.v4(`The replication slot is in use: ${said}. Wait for the other run to end, or end that process with pg_terminate_backend.`, options);
        case "55000":
            return explainState(error, endpoint, doing);
        case "40001":
            if (!said.includes("conflict with recovery"))
                break;
            return new errors/* ToolError */.v4(`The standby at ${label} cancelled the work while ${doing}, because it stood in the way of its replay (${said}): set hot_standby_feedback = on there, or raise its max_standby_streaming_delay.`, options);
        case "55P03":
        case "57014":
            return new errors/* ToolError */.v4(`PostgreSQL at ${label} cancelled the work while ${doing}: ${said}.`, options);
        case "57P01":
        case "57P02":
            return new errors/* ToolError */.v4(`PostgreSQL at ${label} ended the connection while ${doing} (${said}): run the backup again when the server is up.`, options);
        case "57P03":
            return new errors/* ToolError */.v4(`PostgreSQL at ${label} is not ready (${said}): run the backup again when the server is up.`, options);
    }
    // With or without the code of a missing file.
    if (/requested WAL segment \S+ has already been removed/.test(said))
        return new WalRemovedError(said);
    return new errors/* ToolError */.v4(`PostgreSQL at ${label} failed while ${doing}: ${said} (SQLSTATE ${error.code}).`, options);
}
function explainAuthorization(error, { label, user }) {
    const said = oneLine(error.message);
    const options = { cause: error };
    if (/role ".*" does not exist/.test(said)) {
        return new errors/* UserError */.yo(`PostgreSQL at ${label} has no role "${user}": correct the user in the connection, or create the role.`, options);
    }
    if (/no pg_hba\.conf entry|pg_hba\.conf rejects/.test(said)) {
        const replication = said.includes("replication connection");
        const line = replication
            ? `host replication ${user} <address> scram-sha-256`
            : `host all ${user} <address> scram-sha-256`;
        return new errors/* UserError */.yo(`PostgreSQL at ${label} does not let "${user}" in (${said}): add a line such as "${line}" to pg_hba.conf and reload the server.`, options);
    }
    return new errors/* UserError */.yo(`PostgreSQL at ${label} does not let "${user}" in: ${said}.`, options);
}
function explainPrivilege(error, { label, user }, doing) {
    const said = oneLine(error.message);
    const options = { cause: error };
    // Version 15 says "must be superuser or replication role to start walsender", later ones "permission denied to
    // start WAL sender".
    if (/wal ?sender|replication role|replication slots|REPLICATION attribute/i.test(`${said} ${error.detail ?? ""}`)) {
        return missingReplication(label, user, error);
    }
    const table = /permission denied for (?:table|view|schema) (\S+)/.exec(said)?.[1];
    if (table !== undefined) {
        return new errors/* UserError */.yo(`"${user}" may not read ${table} at ${label} (${said}): GRANT SELECT ON ${table} TO ${quoteName(user)}, and USAGE on its schema.`, options);
    }
    return new errors/* UserError */.yo(`"${user}" lacks a privilege at ${label} while ${doing}: ${said}.`, options);
}
/** The role may not replicate. */
function missingReplication(label, user, cause) {
    return new errors/* UserError */.yo(`The role "${user}" at ${label} may not take backups: run ALTER ROLE ${quoteName(user)} REPLICATION as a superuser.`, { cause });
}
function explainState(error, { label }, doing) {
    const said = oneLine(error.message);
    const options = { cause: error };
    if (/wal_level|WAL level/.test(said))
        return walLevelTooLow(label, "minimal", error);
    if (said.includes("max_replication_slots")) {
        return new errors/* ToolError */.v4(`PostgreSQL at ${label} allows no replication slots: set max_replication_slots to at least 1 and restart it.`, options);
    }
    if (/logical (replication )?slot/.test(said)) {
        return new errors/* UserError */.yo(`The replication slot at ${label} is a logical one (${said}): name another slot in wal.slot, it is created when absent.`, options);
    }
    if (said.includes("was promoted during online backup")) {
        return new errors/* ToolError */.v4(`The standby at ${label} was promoted during the base backup, which is of no use then: run the backup again.`, options);
    }
    if (said.includes("full_page_writes=off was replayed")) {
        return new errors/* ToolError */.v4(`The standby at ${label} allows no base backup, because its primary ran with full_page_writes = off: set it to on there, run CHECKPOINT on the primary, and take the backup again.`, options);
    }
    if (/can no longer (get changes|access)|invalidated/.test(said))
        return new WalRemovedError(said);
    return new errors/* ToolError */.v4(`PostgreSQL at ${label} failed while ${doing}: ${said}.`, options);
}
/** WAL does not hold what recovery needs. */
function walLevelTooLow(label, level, cause) {
    return new errors/* UserError */.yo(`PostgreSQL at ${label} runs with wal_level=${level}, which allows no backup: set wal_level = replica and max_wal_senders of at least 4, and restart the server.`, { cause });
}
const TLS_CODES = /^(ERR_TLS|ERR_SSL|DEPTH_ZERO|SELF_SIGNED|UNABLE_TO_|CERT_|HOSTNAME_MISMATCH|INVALID_CA|EPROTO)/;
function explainSocket(error, { label, host, user }, doing) {
    const code = (0,errors/* codeOf */.$N)(error) ?? "";
    const said = oneLine((0,errors/* messageOf */.bD)(error));
    const options = { cause: error };
    if (code === "ECONNREFUSED") {
        return new errors/* ToolError */.v4(`Nothing listens at ${label}: check host and port, and that PostgreSQL runs.`, options);
    }
    if (code === "ENOTFOUND" || code === "EAI_AGAIN") {
        return new errors/* ToolError */.v4(`The host name "${host}" cannot be resolved: check the host in the connection.`, options);
    }
    if (code === "ENOENT" || (code === "EACCES" && host.startsWith("/"))) {
        return new errors/* ToolError */.v4(code === "ENOENT"
            ? `There is no PostgreSQL socket ${label}: check folder and port, and that PostgreSQL runs.`
            : `The PostgreSQL socket ${label} may not be opened by this user: check the rights of its folder.`, options);
    }
    if (code === "EHOSTUNREACH" ||
        code === "ENETUNREACH" ||
        code === "ETIMEDOUT" ||
        said === "timeout expired") {
        return new errors/* ToolError */.v4(`PostgreSQL at ${label} does not answer: check host, port and firewall between this machine and the server.`, options);
    }
    if (said === "The server does not support SSL connections") {
        return new errors/* UserError */.yo(`PostgreSQL at ${label} has no TLS, but the connection's sslmode demands it: turn ssl on at the server, or use another sslmode.`, options);
    }
    if (TLS_CODES.test(code) || said.includes("establishing an SSL connection")) {
        return new errors/* ToolError */.v4(`The TLS connection to PostgreSQL at ${label} failed (${said}): check the server's certificate, sslmode and sslrootcert.`, options);
    }
    if (/password must be a (non-empty )?string/.test(said)) {
        return new errors/* UserError */.yo(`PostgreSQL at ${label} asks for the password of "${user}", but the connection has none.`, options);
    }
    if (code === "ECONNRESET" || code === "EPIPE" || said.startsWith("Connection terminated")) {
        return new errors/* ToolError */.v4(`The connection to PostgreSQL at ${label} broke while ${doing}: check the server's log, and run the backup again.`, options);
    }
    return error instanceof Error ? error : new Error(said);
}
/** `name`, quoted where SQL needs it, for statements that people copy. */
function quoteName(name) {
    return /^[a-z_][a-z0-9_]*$/.test(name) ? name : `"${name.replaceAll('"', '""')}"`;
}
function oneLine(text) {
    return text.replace(/\s+/g, " ").replace(/\.$/, "").trim();
}

;// CONCATENATED MODULE: ./build/src/postgres/marker/names.js
/*
 * The marker is a row that each run writes twice: in a commit before its restore point and in one after it. What the row
 * says in a recovered database shows, in the data itself, that nothing before a point is lost and nothing after it is there.
 */
/** The table, in the database of the source's connection. It has one row. */
const MARKER_TABLE = "drillbook.marker";
/** What makes the table by hand, for a role that may not make schemas. */
const MARKER_SQL = [
    "CREATE SCHEMA IF NOT EXISTS drillbook",
    "CREATE TABLE drillbook.marker (id int PRIMARY KEY CHECK (id = 1), point text, side text, written_at timestamptz)",
    "INSERT INTO drillbook.marker (id) VALUES (1)",
];
const OWN_POINT = /^drillbook-\d{8}T\d{6}Z-/;
const MARKED = "-marked";
/** `drillbook-20260125T143000Z-<id>`: the restore point of a run; with `-marked` when it has a marker on both sides. */
function pointName(now, id, marked) {
    const time = now.toISOString().replace(/[-:]|\.\d+/g, "");
    return `drillbook-${time}-${id}${marked ? MARKED : ""}`;
}
/** Whether a restore point is that of a run, and not somebody's own. */
function isOwnPoint(name) {
    return OWN_POINT.test(name);
}
function isMarkedPoint(name) {
    return isOwnPoint(name) && name.endsWith(MARKED);
}

;// CONCATENATED MODULE: ./build/src/postgres/marker/write-marker.js



const DOING = "writing the marker";
/**
 * Finds the marker's table or makes it. Throws a {@link UserError} with the SQL to run when the role may neither make nor
 * write it.
 */
async function openMarker(sql) {
    const [state] = await sql.query(DOING, `SELECT c.oid IS NOT NULL AS present,
       coalesce(has_schema_privilege(n.oid, 'USAGE') AND has_table_privilege(c.oid, 'UPDATE'), false) AS writable,
       has_database_privilege(current_database(), 'CREATE') AS may_create
     FROM (SELECT 1) AS one
       LEFT JOIN pg_namespace n ON n.nspname = 'drillbook'
       LEFT JOIN pg_class c ON c.relnamespace = n.oid AND c.relname = 'marker'`);
    if (state?.present !== "t") {
        if (state?.may_create !== "t")
            throw notPossible(sql, MARKER_SQL);
        // Together: the table is never seen without its row.
        await sql.query(DOING, `DO $$ BEGIN ${MARKER_SQL.map((line) => `${line};`).join(" ")} END $$`);
    }
    else if (state.writable !== "t") {
        throw notPossible(sql, []);
    }
    return async (point, side) => {
        await sql.query(DOING, `UPDATE ${MARKER_TABLE} SET point = $1, side = $2, written_at = clock_timestamp() WHERE id = 1`, [point, side]);
    };
}
function notPossible({ endpoint }, lines) {
    const role = quoteName(endpoint.user);
    const grants = [
        `GRANT USAGE ON SCHEMA drillbook TO ${role}`,
        `GRANT SELECT, UPDATE ON ${MARKER_TABLE} TO ${role}`,
    ];
    return new errors/* UserError */.yo(`The role "${endpoint.user}" may not write ${MARKER_TABLE} in the database "${endpoint.database}", which marker: true asks for. Run there as its owner: ${[...lines, ...grants].join("; ")};`);
}

// EXTERNAL MODULE: ./node_modules/pg/esm/index.mjs
var esm = __webpack_require__(3849);
;// CONCATENATED MODULE: ./build/src/postgres/source/wire.js
/** Reading from the socket stops above the first mark and goes on below the second. */
const HIGH_WATER_BYTES = 4 * 2 ** 20;
const LOW_WATER_BYTES = 2 ** 20;
/** Starts a command that copies. `translate` makes a sentence of an error. */
function startCopy(client, command, translate) {
    const { connection } = client;
    const queue = [];
    const results = [];
    let head = 0;
    /** Copies that began on the wire, and the one of the message that was taken last. */
    let begun = 0;
    let takenCopy = 0;
    let queuedBytes = 0;
    let columns = [];
    let state = "running";
    let failure;
    let sentEnd = false;
    let paused = false;
    let wake;
    function notify() {
        wake?.();
        wake = undefined;
    }
    function finish(outcome, error) {
        if (state !== "running")
            return;
        state = outcome;
        failure = error;
        connection.removeListener("copyDone", end);
        connection.removeListener("copyOutResponse", begin);
        if (paused)
            connection.stream.resume();
        notify();
    }
    function begin() {
        begun += 1;
    }
    function end() {
        if (sentEnd || state !== "running")
            return;
        sentEnd = true;
        connection.endCopyFrom();
    }
    client.query({
        submit() {
            connection.query(command);
        },
        handleRowDescription(message) {
            columns = message.fields.map((field) => field.name);
            results.push([]);
        },
        handleDataRow(message) {
            const row = Object.fromEntries(columns.map((name, index) => [name, message.fields[index] ?? null]));
            results.at(-1)?.push(row);
        },
        handleCommandComplete() { },
        handleEmptyQuery() { },
        handlePortalSuspended() { },
        handleCopyInResponse() { },
        handleCopyData(message) {
            // The chunk is a view on a buffer that the parser uses again: it must be copied before this returns.
            const chunk = Buffer.from(message.chunk);
            queue.push({ chunk, copy: begun });
            queuedBytes += chunk.length;
            if (queuedBytes > HIGH_WATER_BYTES && !paused) {
                paused = true;
                connection.stream.pause();
            }
            notify();
        },
        handleReadyForQuery() {
            finish("done");
        },
        handleError(error) {
            finish("failed", translate(error));
        },
    });
    // The server ended its side of a two-way copy, as it does where a timeline ends: end ours, and it goes on. After
    // a one-way copy the message is ignored by the server, so it is not sent there.
    if (command.startsWith("START_REPLICATION"))
        connection.on("copyDone", end);
    connection.on("copyOutResponse", begin);
    function take() {
        const item = queue[head];
        if (item === undefined)
            return undefined;
        const { chunk } = item;
        takenCopy = item.copy;
        head += 1;
        queuedBytes -= chunk.length;
        if (head === queue.length || head > 1024) {
            queue.splice(0, head);
            head = 0;
        }
        if (paused && queuedBytes < LOW_WATER_BYTES) {
            paused = false;
            connection.stream.resume();
        }
        return chunk;
    }
    return {
        results,
        async next() {
            for (;;) {
                if (state === "failed")
                    throw failure;
                const chunk = take();
                if (chunk !== undefined)
                    return chunk;
                if (state === "done")
                    return undefined;
                await new Promise((resolve) => {
                    wake = resolve;
                });
            }
        },
        copies: () => takenCopy,
        ready: () => head < queue.length || state !== "running",
        send(message) {
            if (!sentEnd && state === "running")
                connection.sendCopyFromChunk(message);
        },
        end,
        finished: () => state !== "running",
    };
}

;// CONCATENATED MODULE: ./build/src/postgres/source/connection.js





const TEXT = { getTypeParser: () => (value) => value };
const CLOSE_TIMEOUT_MS = 2_000;
/** A server that hangs in the middle of a base backup sends nothing, and TCP finds nothing wrong with that. */
const SILENCE_MS = 10 * 60_000;
/**
 * Connects to the source. `replication`: as a physical WAL sender, which the server counts against
 * `max_wal_senders` and looks up in pg_hba.conf as the database "replication".
 */
async function connect(endpoint, mode, context, silenceMs = SILENCE_MS) {
    if (context.signal.aborted)
        throw new errors/* AbortedError */.oM();
    if (endpoint.password !== undefined)
        context.mask(endpoint.password);
    try {
        return await connection_open(endpoint, endpoint.tls, mode, context, silenceMs);
    }
    catch (error) {
        const noTls = error instanceof Error && error.message === "The server does not support SSL connections";
        if (!noTls || endpoint.tls.kind !== "on" || !endpoint.tls.fallback) {
            throw explain(error, endpoint, "connecting");
        }
    }
    try {
        return await connection_open(endpoint, { kind: "off" }, mode, context, silenceMs);
    }
    catch (error) {
        throw explain(error, endpoint, "connecting");
    }
}
async function connection_open(endpoint, tls, mode, context, silenceMs) {
    const config = {
        host: endpoint.host,
        port: endpoint.port,
        user: endpoint.user,
        database: endpoint.database,
        // A function, so that pg neither reads ~/.pgpass nor shows the password in a dump of the client.
        password: () => endpoint.password,
        ssl: tls.kind === "on" ? { ...tls.options } : false,
        application_name: "drillbook",
        connectionTimeoutMillis: endpoint.connectTimeoutSeconds * 1000,
        keepAlive: true,
        keepAliveInitialDelayMillis: 30_000,
        types: TEXT,
        ...(mode === "replication" ? { replication: "true" } : {}),
    };
    const client = new esm/* default.Client */.Ay.Client(config);
    const wire = client;
    // Without a listener an error that arrives between two commands would end the process.
    let broken;
    client.on("error", (error) => {
        broken ??= error;
    });
    const ended = new Promise((resolve) => client.once("end", resolve));
    const abort = () => wire.connection.stream.destroy(new errors/* AbortedError */.oM());
    context.signal.addEventListener("abort", abort, { once: true });
    function translate(error, doing) {
        if (context.signal.aborted)
            return new errors/* AbortedError */.oM();
        return explain(error, endpoint, doing);
    }
    async function translated(doing, work) {
        if (broken !== undefined)
            throw translate(broken, doing);
        try {
            return await work();
        }
        catch (error) {
            throw translate(error, doing);
        }
    }
    async function close() {
        context.signal.removeEventListener("abort", abort);
        const timer = setTimeout(() => wire.connection.stream.destroy(), CLOSE_TIMEOUT_MS);
        client.end().catch(() => undefined);
        await ended;
        clearTimeout(timer);
    }
    try {
        await client.connect();
    }
    catch (error) {
        context.signal.removeEventListener("abort", abort);
        wire.connection.stream.destroy();
        if (context.signal.aborted)
            throw new errors/* AbortedError */.oM();
        throw error;
    }
    if (mode === "replication") {
        wire.connection.stream.setTimeout(silenceMs, () => wire.connection.stream.destroy(new errors/* ToolError */.v4(`PostgreSQL at ${endpoint.label} sent nothing for ${(0,values/* formatDuration */.a3)(silenceMs / 1000)}, so the connection was given up: look whether the server hangs, then run the action again.`)));
    }
    let copying;
    return {
        endpoint,
        async query(doing, text, values) {
            return await translated(doing, async () => {
                const parameters = values ? [...values] : undefined;
                return (await client.query(text, parameters)).rows;
            });
        },
        async list(doing, text, values) {
            return await translated(doing, async () => {
                const parameters = values ? { values: [...values] } : {};
                return (await client.query({ text, rowMode: "array", ...parameters })).rows;
            });
        },
        copy(doing, command) {
            if (broken !== undefined)
                throw translate(broken, doing);
            copying = startCopy(wire, command, (error) => translate(error, doing));
            return copying;
        },
        async close() {
            // A copy that still runs would be drained by a polite end: cut it.
            if (copying !== undefined && !copying.finished())
                wire.connection.stream.destroy();
            await close();
        },
    };
}

;// CONCATENATED MODULE: ./build/src/catalog/timelines.js

/**
 * Reads a timeline's history file: lines of `parent TLI <tab> switch LSN <tab> reason`, comments after `#`.
 * Undefined when it is damaged.
 */
function parseHistory(timeline, text) {
    const ancestors = [];
    for (const line of text.split("\n")) {
        if (line.trim() === "" || line.startsWith("#"))
            continue;
        const [parent = "", end = ""] = line.trim().split(/\s+/);
        const position = lsn_parseLsn(end);
        const number = /^\d+$/.test(parent) ? Number(parent) : 0;
        const last = ancestors.at(-1)?.timeline ?? 0;
        if (position === undefined || number <= last || number >= timeline)
            return undefined;
        ancestors.push({ timeline: number, end: position });
    }
    // The server writes one only for a timeline that grew out of another.
    return ancestors.length === 0 ? undefined : { timeline, ancestors };
}
/** The path of a timeline without parents. */
function rootTimeline(timeline) {
    return { timeline, ancestors: [] };
}
/**
 * On which timeline recovery along `path` reads segment `number`. The segment in which a timeline was left is read
 * from its child, whose copy begins with the parent's bytes.
 */
function timelineOfSegment(path, number, segmentBytes) {
    const owner = path.ancestors.find((ancestor) => number < segmentAt(ancestor.end, segmentBytes));
    return owner?.timeline ?? path.timeline;
}
/** Whether `position` on `timeline` lies on the path: the timeline is its end, or was left later than there. */
function isOnPath(path, timeline, position) {
    if (timeline === path.timeline) {
        const parent = path.ancestors.at(-1);
        return parent === undefined || position >= parent.end;
    }
    return path.ancestors.some((ancestor) => ancestor.timeline === timeline && position <= ancestor.end);
}

;// CONCATENATED MODULE: ./build/src/catalog/wal.js







/** A restore point in the WAL, in `pg_create_restore_point`'s sense. */
const namedPoint = schemas/* object */.Ikc({
    name: schemas/* string */.YjP(),
    /** End of the restore point's record, such as `0/3000168`. */
    lsn: schemas/* string */.YjP(),
    /** When it was made; RFC 3339 in UTC with microseconds, the server's clock. */
    time: schemas/* string */.YjP(),
});
/** The named point at the end of a run. */
const restorePoint = namedPoint.extend({
    /** Every commit up to this time lies before the point; a little earlier than the point itself. */
    time: schemas/* string */.YjP(),
    /** Which transactions had ended by then, as `pg_current_snapshot()` spells it; absent where it was not asked for. */
    snapshot: schemas/* string */.YjP().optional(),
});
const sidecarFields = {
    segment: schemas/* string */.YjP(),
    systemIdentifier: schemas/* string */.YjP(),
    /** SHA-256 in hex of the bytes as the server has them, before compression. */
    sha256: schemas/* string */.YjP(),
    /** Bytes before compression: the cluster's segment size, or the length of a partial. */
    bytes: schemas/* number */.aig(),
    archivedAt: schemas/* string */.YjP(),
    /** The newest point of a run in these bytes. */
    restorePoint: restorePoint.optional(),
    /** All restore points whose records lie in these bytes, in order, whoever made them; absent when there is none. */
    restorePoints: schemas/* array */.YOg(namedPoint).optional(),
};
/** `<segment>.json`: created before the segment and never changed, so two runs cannot disagree on its content. */
const walSidecar = schemas/* object */.Ikc({ schema: schemas/* literal */.euz("drillbook/wal-segment/v1"), ...sidecarFields });
/** `<segment>.<bytes>.partial.json`, by the same rules. */
const partialSidecar = schemas/* object */.Ikc({ schema: schemas/* literal */.euz("drillbook/wal-partial/v1"), ...sidecarFields });
/**
 * Lists a component's WAL. `segmentBytes` is the cluster's segment size, as the backup's details say. Names that
 * are not ours are ignored; a history file that cannot be read is a {@link DefectError}.
 */
async function listSegments(store, component, segmentBytes, signal) {
    return await listBelow(store, component, (0,layout/* walPrefix */.t3)(component), segmentBytes, signal);
}
/** What the store holds now of one segment: the whole, else its longest partial. */
async function findSegment(store, component, segment, segmentBytes, signal) {
    const prefix = (0,layout/* segmentPrefix */.Or)(component, segment);
    const { segments, partials } = await listBelow(store, component, prefix, segmentBytes, signal);
    return segments.get(segment) ?? partials.get(segment)?.newest;
}
async function listBelow(store, component, prefix, segmentBytes, signal) {
    const packed = new Map();
    const sidecars = new Set();
    const partials = new Map();
    const histories = new Map();
    function take(name, object) {
        const parsed = parseSegmentName(name.segment, segmentBytes);
        if (parsed === undefined || ("bytes" in name && name.bytes > segmentBytes))
            return;
        if (name.kind === "sidecar" || name.kind === "partial-sidecar")
            sidecars.add(object.key);
        if (name.kind === "partial" || name.kind === "partial-sidecar") {
            const known = partials.get(name.segment) ?? { pieces: [], keys: [] };
            known.keys.push(object.key);
            partials.set(name.segment, known);
        }
        if (name.kind === "sidecar" || name.kind === "partial-sidecar")
            return;
        const { key, bytes: storedBytes, modified } = object;
        const segment = { ...parsed, name: name.segment, key, sealed: name.sealed, storedBytes, modified };
        if (name.kind === "segment")
            packed.set(name.segment, segment);
        else
            partials.get(name.segment)?.pieces.push({ ...segment, partial: { bytes: name.bytes } });
    }
    for await (const object of store.list(prefix, signal)) {
        const name = (0,layout/* parseWalKey */.zi)(component, object.key);
        if (name?.kind === "history") {
            histories.set(name.timeline, await readHistory(store, component, name.timeline, signal));
        }
        else if (name !== undefined)
            take(name, object);
    }
    const counts = (segment) => sidecars.has(sidecarKeyOf(component, segment));
    const segments = new Map([...packed].filter(([, segment]) => counts(segment)));
    const names = [...sidecars]
        .map((key) => (0,layout/* parseWalKey */.zi)(component, key))
        .filter((name) => name?.kind === "sidecar");
    const unfinished = [...new Set([...packed.keys(), ...names.map((name) => name.segment)])].filter((name) => !segments.has(name));
    return {
        segmentBytes,
        segments,
        // Keys come in order, so the longest is the last.
        partials: new Map([...partials].map(([name, { pieces, keys }]) => [name, { newest: pieces.findLast(counts), keys }])),
        histories,
        unfinished,
    };
}
/** A timeline's history file from the store. Throws {@link ObjectMissing} when it is absent. */
async function readHistory(store, component, timeline, signal) {
    const key = (0,layout/* historyKey */.Ox)(component, timeline);
    const text = (await (0,stores_store/* readAll */.yw)(await store.get(key, { signal }))).toString("utf8");
    const path = parseHistory(timeline, text);
    if (path !== undefined)
        return path;
    const subject = store.describe(key);
    throw new errors/* DefectError */.uR(subject, `${subject} is not a timeline history file: it is damaged.`);
}
/**
 * The unbroken run of segments from the one that holds `position` on `timeline` to the last before the first gap.
 * With a `target` timeline that grew out of `timeline`, the run follows its history. The last one may be partial, but
 * only on the target timeline: a partial of an older one may hold WAL that the younger does not share. Empty when the
 * first segment is absent or the target did not grow out of that position.
 */
function chainFrom(inventory, position, timeline, target = timeline) {
    const path = pathOf(inventory, target);
    if (target !== timeline && !isOnPath(path, timeline, position))
        return [];
    const chain = [];
    for (let number = segmentAt(position, inventory.segmentBytes);; number += 1) {
        const name = nameOnPath(inventory, path, number, timeline);
        const segment = inventory.segments.get(name);
        const partial = inventory.partials.get(name)?.newest;
        if (segment === undefined)
            return partial?.timeline === target ? [...chain, partial] : chain;
        chain.push(segment);
    }
}
/** The whole segments of a chain: what is archived for ever. */
function wholeSegments(chain) {
    return chain.filter((segment) => segment.partial === undefined);
}
/** Where the WAL of a chain ends; 0 when it is empty. */
function chainEnd(chain, segmentBytes) {
    const last = chain.at(-1);
    if (last === undefined)
        return 0n;
    return segmentStart(last.number, segmentBytes) + BigInt(last.partial?.bytes ?? segmentBytes);
}
/** The name of the segment that a chain lacks after its last whole one: the gap, or where the archive ends. */
function missingAfter(inventory, position, timeline, target = timeline) {
    const chain = wholeSegments(chainFrom(inventory, position, timeline, target));
    const next = chain.at(-1)?.number ?? segmentAt(position, inventory.segmentBytes) - 1;
    return nameOnPath(inventory, pathOf(inventory, target), next + 1, timeline);
}
/** Every segment that counts, whole or partial. */
function allSegments({ segments, partials }) {
    const newest = [...partials.values()].map((one) => one.newest).filter((one) => one !== undefined);
    return [...segments.values(), ...newest];
}
/** The timelines that recovery from `position` on `timeline` can follow, itself included, in ascending order. */
function timelinesFrom(inventory, position, timeline) {
    const children = [...inventory.histories.values()]
        .filter((path) => path.timeline !== timeline && isOnPath(path, timeline, position))
        .map((path) => path.timeline);
    return [timeline, ...children].sort((a, b) => a - b);
}
function pathOf(inventory, timeline) {
    return inventory.histories.get(timeline) ?? rootTimeline(timeline);
}
function nameOnPath(inventory, path, number, from) {
    // A backup may begin in the very segment in which its timeline began: never look before its own timeline.
    const timeline = Math.max(timelineOfSegment(path, number, inventory.segmentBytes), from);
    return segmentName(timeline, number, inventory.segmentBytes);
}
/** Where the sidecar of a segment or of a partial lies. */
function sidecarKeyOf(component, { name, partial }) {
    return partial === undefined
        ? (0,layout/* sidecarKey */.J3)(component, name)
        : (0,layout/* partialSidecarKey */.ac)(component, name, partial.bytes);
}
/** A whole segment's sidecar, by its name; else as {@link readSidecarOf}. */
async function readSidecar(store, component, segment, signal) {
    return await readSidecarOf(store, component, { name: segment }, signal);
}
/**
 * The sidecar of a segment or of a partial. Throws {@link ObjectMissing} when it is absent, a {@link DefectError} when it
 * is damaged or another's.
 */
async function readSidecarOf(store, component, segment, signal) {
    const key = sidecarKeyOf(component, segment);
    const { name, partial } = segment;
    const sidecar = await (0,documents/* readDocument */.u)(store, key, partial ? partialSidecar : walSidecar, signal);
    const subject = store.describe(key);
    if (sidecar.segment !== name) {
        throw new errors/* DefectError */.uR(subject, `${subject} describes the segment ${sidecar.segment}: it was copied or renamed.`);
    }
    if (partial === undefined || sidecar.bytes === partial.bytes)
        return sidecar;
    throw new errors/* DefectError */.uR(subject, `${subject} describes ${sidecar.bytes} bytes of the segment, but its name says ${partial.bytes}: it was copied or renamed.`);
}
/** Sidecars are read this many at a time when the newest restore point is looked for. */
const LOOK_BACK = 16;
/** The newest restore point in a chain of segments and the segment that holds it; undefined when there is none. */
async function newestRestorePoint(store, component, chain, signal) {
    // The first look is at the last segment alone: that is where a run ends.
    for (let end = chain.length, step = 1; end > 0; end -= step, step = LOOK_BACK) {
        const batch = chain.slice(Math.max(0, end - step), end).reverse();
        const sidecars = await Promise.all(batch.map(async (segment) => ({
            segment,
            sidecar: await readSidecarOf(store, component, segment, signal),
        })));
        for (const { segment, sidecar } of sidecars) {
            if (sidecar.restorePoint !== undefined)
                return { point: sidecar.restorePoint, segment };
        }
    }
    return undefined;
}

;// CONCATENATED MODULE: ./build/src/catalog/unlisted.js




/**
 * The inventory with the whole segments that lie in the store behind the end of a chain, although the listing did not show
 * them. Asks for one name when there are none.
 */
async function withUnlisted(store, component, inventory, { position, timeline, target }, signal) {
    let known = inventory;
    for (;;) {
        const name = missingAfter(known, position, timeline, target);
        const found = await lookUpSegment(store, component, name, known.segmentBytes, signal);
        if (found === undefined)
            return known;
        known = withSegment(known, found);
    }
}
/** The inventory with what a heartbeat names: its segment and the history of its timeline. */
async function withPromised(store, component, inventory, beat, signal) {
    const { segmentBytes } = inventory;
    const last = beat?.lastSegment == null ? undefined : parseSegmentName(beat.lastSegment, segmentBytes);
    if (beat?.lastSegment == null || last === undefined)
        return inventory;
    let known = inventory;
    if (last.timeline > 1 && !known.histories.has(last.timeline)) {
        const path = await readHistory(store, component, last.timeline, signal).catch(absent);
        if (path !== undefined) {
            known = { ...known, histories: new Map([...known.histories, [last.timeline, path]]) };
        }
    }
    if (known.segments.has(beat.lastSegment))
        return known;
    const found = await lookUpSegment(store, component, beat.lastSegment, segmentBytes, signal);
    return found === undefined ? known : withSegment(known, found);
}
function withSegment(inventory, segment) {
    return {
        ...inventory,
        segments: new Map([...inventory.segments, [segment.name, segment]]),
        unfinished: inventory.unfinished.filter((name) => name !== segment.name),
    };
}
function absent(error) {
    if (error instanceof stores_store/* ObjectMissing */.GV)
        return undefined;
    throw error;
}
/** A whole segment by its name, when both its objects are in the store. */
async function lookUpSegment(store, component, name, segmentBytes, signal) {
    const parsed = parseSegmentName(name, segmentBytes);
    if (parsed === undefined)
        return undefined;
    const sidecar = sidecarKeyOf(component, { name });
    if ((await store.stat(sidecar, signal)) === undefined)
        return undefined;
    for (const sealed of [true, false]) {
        const key = (0,layout/* segmentKey */.zT)(component, name, sealed);
        const found = await store.stat(key, signal);
        if (found === undefined)
            continue;
        return { ...parsed, name, key, sealed, storedBytes: found.bytes, modified: found.modified };
    }
    return undefined;
}

;// CONCATENATED MODULE: ./build/src/postgres/checks/ask.js
/** A column that the server always fills. */
function cell(row, index) {
    return row?.[index] ?? "";
}
/** Works within a transaction and gives back what it did there: locks, and the failed state after an error. */
async function gently(ask, work) {
    await ask("SAVEPOINT gently");
    try {
        return await work();
    }
    finally {
        // Fails in turn, with the right sentence, when it is the connection that is gone.
        await ask("ROLLBACK TO SAVEPOINT gently");
        await ask("RELEASE SAVEPOINT gently");
    }
}

;// CONCATENATED MODULE: ./build/src/postgres/source/source-facts.js

/** Those that recovery must match or override, and those that people ask for when they rebuild a server. */
const SETTINGS = [
    "max_connections",
    "max_wal_senders",
    "max_worker_processes",
    "max_prepared_transactions",
    "max_locks_per_transaction",
    "wal_level",
    "wal_log_hints",
    "full_page_writes",
    "shared_preload_libraries",
    "lc_messages",
    "huge_pages",
    "shared_buffers",
    "block_size",
    "wal_block_size",
    "max_slot_wal_keep_size",
    "data_directory",
    "config_file",
    "hba_file",
    "ident_file",
];
/** Reads the facts over an SQL connection. Settings that the role may not read are left out. */
async function readSourceFacts(connection) {
    const doing = "reading facts of the cluster";
    const one = (await connection.query(doing, `SELECT current_setting('server_version') AS version, current_setting('server_version_num') AS version_num,
         current_setting('data_checksums') AS checksums, current_database() AS database,
         (SELECT rolname FROM pg_roles WHERE oid = 10) AS superuser`))[0];
    const versionNum = Number(need(one, "version_num"));
    const major = Math.floor(versionNum / 10_000);
    return {
        // "15.18 (Debian 15.18-0+deb12u1)": the number alone.
        serverVersion: need(one, "version").split(" ")[0] ?? "",
        serverVersionNum: versionNum,
        major,
        dataChecksums: one?.checksums === "on",
        bootstrapSuperuser: need(one, "superuser"),
        database: need(one, "database"),
        databases: (await connection.query(doing, databasesQuery(major))).map((row) => ({
            name: need(row, "name"),
            encoding: need(row, "encoding"),
            localeProvider: { c: "libc", i: "icu", b: "builtin" }[need(row, "provider")] ?? need(row, "provider"),
            collate: need(row, "collate"),
            ctype: need(row, "ctype"),
            locale: row.locale ?? null,
            collationVersion: row.collation_version ?? null,
        })),
        extensions: (await connection.query(doing, "SELECT extname, extversion FROM pg_extension ORDER BY extname")).map((row) => ({ name: need(row, "extname"), version: need(row, "extversion") })),
        settings: Object.fromEntries((await connection.query(doing, "SELECT name, setting FROM pg_settings WHERE name = ANY ($1) ORDER BY name", [SETTINGS])).map((row) => [need(row, "name"), row.setting ?? ""])),
    };
}
function databasesQuery(major) {
    // 14 has databases of libc alone, without versions; 15 and 16 know only ICU locales besides; 17 made one column of
    // them and of the built-in ones.
    const locale = major >= 17 ? "datlocale" : "daticulocale";
    const provider = major >= 15
        ? `datlocprovider AS provider, ${locale} AS locale, datcollversion AS collation_version`
        : "'c' AS provider, NULL AS locale, NULL AS collation_version";
    return `SELECT datname AS name, pg_encoding_to_char(encoding) AS encoding, ${provider},
      datcollate AS collate, datctype AS ctype
    FROM pg_database WHERE datallowconn ORDER BY datname`;
}
/** The server's clock as `2026-01-25T12:00:00.123456Z`. */
const SERVER_TIME = `to_char(clock_timestamp() AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"')`;
/** The snapshot is taken no later than the clock is read. */
async function sourceMoment(connection) {
    const [row] = await connection.query("reading its clock", `SELECT ${SERVER_TIME} AS time, pg_current_snapshot() AS snapshot`);
    return { time: need(row, "time"), snapshot: need(row, "snapshot") };
}
async function serverTime(connection) {
    const [row] = await connection.query("reading its clock", `SELECT ${SERVER_TIME} AS time`);
    return need(row, "time");
}
/** A sentence on the state of the server's archiving, for when its files do not arrive. */
async function describeArchiving(connection) {
    const [row] = await connection.query("reading the state of its archiving", `SELECT current_setting('archive_mode') AS mode, last_archived_wal AS archived, last_failed_wal AS failed,
       coalesce(last_failed_time > last_archived_time, last_failed_time IS NOT NULL) AS failing
     FROM pg_stat_archiver`);
    if (need(row, "mode") === "off") {
        return "Its archive_mode is off: set archive_mode and archive_command, or pull WAL through a slot.";
    }
    if (row?.failing === "t") {
        return `Its archive_command failed last, for ${row.failed}: see the server's log.`;
    }
    return row?.archived == null
        ? "It has not archived anything yet: see its archive_command."
        : `It says that it archived up to ${row.archived}: does its archive_command fill this folder?`;
}
/** Asks a replication connection who it is. */
async function identify(replication) {
    const doing = "identifying the cluster";
    const [system] = await replication.query(doing, "IDENTIFY_SYSTEM");
    const [size] = await replication.query(doing, "SHOW wal_segment_size");
    return {
        systemIdentifier: need(system, "systemid"),
        timeline: Number(need(system, "timeline")),
        flushedTo: need(system, "xlogpos"),
        walSegmentBytes: readSegmentSize(need(size, "wal_segment_size")),
    };
}
/** `16MB` or `1GB`, as SHOW prints it: PostgreSQL counts in powers of two. */
function readSegmentSize(text) {
    const match = /^(\d+)(kB|MB|GB)$/.exec(text);
    const unit = { kB: 2 ** 10, MB: 2 ** 20, GB: 2 ** 30 }[match?.[2] ?? ""];
    if (match === null || unit === undefined)
        throw new errors/* ToolError */.v4(`The server's wal_segment_size is "${text}".`);
    return Number(match[1]) * unit;
}
/** A column that the server always fills. */
function need(row, column) {
    const value = row?.[column];
    if (value === undefined || value === null) {
        throw new errors/* ToolError */.v4(`The server's answer lacks "${column}": is it PostgreSQL, without a pooler in between?`);
    }
    return value;
}

;// CONCATENATED MODULE: ./build/src/postgres/census/objects.js


/** Schemas of users. */
const OURS = `n.nspname NOT IN ('pg_catalog', 'information_schema') AND n.nspname !~ '^pg_(toast|temp)'`;
/** Objects of extensions are told by the extension and its version. */
function notOfExtension(catalog, oid) {
    return `NOT EXISTS (SELECT FROM pg_depend e
    WHERE e.classid = '${catalog}'::regclass AND e.objid = ${oid} AND e.deptype = 'e')`;
}
/** Relations whose parts are looked at: oid, kind, full name. */
const RELATIONS = `relations AS MATERIALIZED (
  SELECT c.oid, c.relkind, format('%I.%I', n.nspname, c.relname) AS name
  FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
  WHERE c.relkind IN ('r', 'p', 'f', 'v', 'm') AND c.relpersistence <> 't' AND ${OURS}
    AND ${notOfExtension("pg_class", "c.oid")})`;
const TABLE_KINDS = `CASE c.relkind WHEN 'r' THEN 'table' WHEN 'p' THEN 'partitioned table' WHEN 'f' THEN 'foreign table'
  WHEN 'v' THEN 'view' WHEN 'm' THEN 'materialized view' END`;
function kindsOf(major) {
    // 18 knows constraints that are not enforced; these are never validated.
    const enforced = major >= 18 ? "o.conenforced" : "true";
    return [
        {
            kind: "schema",
            query: `SELECT quote_ident(n.nspname), '', NULL, NULL, NULL FROM pg_namespace n
        WHERE ${OURS} AND ${notOfExtension("pg_namespace", "n.oid")}`,
        },
        {
            kind: "extension",
            query: `SELECT quote_ident(e.extname), 'version ' || e.extversion, NULL, NULL, NULL FROM pg_extension e`,
        },
        {
            kind: "table",
            query: `WITH ${RELATIONS} SELECT r.name, concat_ws(' ',
          CASE c.relpersistence WHEN 'u' THEN 'unlogged' END, ${TABLE_KINDS},
          CASE WHEN c.relkind = 'p' THEN 'by ' || pg_get_partkeydef(c.oid) END,
          (SELECT 'of ' || string_agg(i.inhparent::regclass::text, ', ' ORDER BY i.inhseqno)
            FROM pg_inherits i WHERE i.inhrelid = c.oid),
          CASE WHEN c.relispartition THEN pg_get_expr(c.relpartbound, c.oid) END,
          CASE WHEN c.relrowsecurity THEN 'with row security' END,
          CASE WHEN c.relforcerowsecurity THEN 'forced' END),
          c.oid, NULL, CASE WHEN c.relkind = 'm' AND NOT c.relispopulated THEN 'unpopulated' END
        FROM relations r JOIN pg_class c ON c.oid = r.oid`,
        },
        {
            kind: "query of view",
            digest: true,
            query: `WITH ${RELATIONS} SELECT name, pg_get_viewdef(oid), NULL, name, NULL
        FROM relations WHERE relkind IN ('v', 'm')`,
        },
        {
            kind: "column",
            query: `WITH ${RELATIONS} SELECT r.name || '.' || quote_ident(a.attname), concat_ws(' ',
          format_type(a.atttypid, a.atttypmod),
          CASE WHEN a.attcollation <> t.typcollation THEN 'COLLATE ' || a.attcollation::regcollation::text END,
          CASE WHEN a.attnotnull THEN 'NOT NULL' END,
          CASE a.attidentity WHEN 'a' THEN 'GENERATED ALWAYS AS IDENTITY'
            WHEN 'd' THEN 'GENERATED BY DEFAULT AS IDENTITY' END,
          CASE a.attgenerated WHEN '' THEN 'DEFAULT ' ELSE 'GENERATED ' END || pg_get_expr(d.adbin, d.adrelid)),
          NULL, r.name, NULL
        FROM relations r JOIN pg_attribute a ON a.attrelid = r.oid JOIN pg_type t ON t.oid = a.atttypid
          LEFT JOIN pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
        WHERE a.attnum > 0 AND NOT a.attisdropped`,
        },
        {
            kind: "constraint",
            query: `WITH ${RELATIONS} SELECT quote_ident(o.conname) || ' of ' || r.name, pg_get_constraintdef(o.oid), NULL,
          r.name, CASE WHEN NOT o.convalidated AND ${enforced} THEN 'not valid' END
        FROM relations r JOIN pg_constraint o ON o.conrelid = r.oid`,
        },
        {
            kind: "index",
            query: `WITH ${RELATIONS} SELECT format('%I.%I', n.nspname, c.relname), pg_get_indexdef(c.oid), NULL, r.name,
          CASE WHEN NOT (i.indisvalid AND i.indisready AND i.indislive) THEN 'invalid' END
        FROM relations r JOIN pg_index i ON i.indrelid = r.oid JOIN pg_class c ON c.oid = i.indexrelid
          JOIN pg_namespace n ON n.oid = c.relnamespace`,
        },
        {
            kind: "policy",
            query: `WITH ${RELATIONS} SELECT quote_ident(p.polname) || ' of ' || r.name, concat_ws(' ',
          CASE WHEN p.polpermissive THEN 'permissive' ELSE 'restrictive' END, 'for', p.polcmd::text, 'to',
          (SELECT string_agg(CASE x.oid WHEN 0 THEN 'public' ELSE pg_get_userbyid(x.oid)::text END, ', ' ORDER BY x.n)
            FROM unnest(p.polroles) WITH ORDINALITY AS x (oid, n)),
          'using ' || pg_get_expr(p.polqual, p.polrelid), 'with check ' || pg_get_expr(p.polwithcheck, p.polrelid)),
          NULL, r.name, NULL
        FROM relations r JOIN pg_policy p ON p.polrelid = r.oid`,
        },
        {
            kind: "trigger",
            query: `WITH ${RELATIONS} SELECT quote_ident(t.tgname) || ' of ' || r.name,
          concat_ws(' ', pg_get_triggerdef(t.oid), CASE t.tgenabled WHEN 'O' THEN NULL WHEN 'D' THEN 'disabled'
            WHEN 'A' THEN 'always' ELSE 'on replicas' END), NULL, r.name, NULL
        FROM relations r JOIN pg_trigger t ON t.tgrelid = r.oid WHERE NOT t.tgisinternal`,
        },
        {
            kind: "function",
            digest: true,
            query: `SELECT format('%I.%I(%s)', n.nspname, p.proname, pg_get_function_identity_arguments(p.oid)),
          CASE p.prokind WHEN 'a' THEN (SELECT concat_ws(' ', a.aggtransfn, a.aggfinalfn, format_type(a.aggtranstype, NULL),
            a.agginitval) FROM pg_aggregate a WHERE a.aggfnoid = p.oid) ELSE pg_get_functiondef(p.oid) END,
          NULL, NULL, NULL
        FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace
        WHERE ${OURS} AND ${notOfExtension("pg_proc", "p.oid")}`,
        },
        {
            kind: "sequence",
            query: `SELECT format('%I.%I', n.nspname, c.relname), format('%s from %s by %s, %s to %s%s',
          format_type(s.seqtypid, NULL), s.seqstart, s.seqincrement, s.seqmin, s.seqmax,
          CASE WHEN s.seqcycle THEN ', cycles' END), NULL, NULL, NULL
        FROM pg_sequence s JOIN pg_class c ON c.oid = s.seqrelid JOIN pg_namespace n ON n.oid = c.relnamespace
        WHERE c.relpersistence <> 't' AND ${OURS} AND ${notOfExtension("pg_class", "c.oid")}`,
        },
        {
            kind: "type",
            query: `SELECT format('%I.%I', n.nspname, t.typname), CASE t.typtype
          WHEN 'e' THEN 'enum of ' || (SELECT string_agg(quote_literal(l.enumlabel), ', ' ORDER BY l.enumsortorder)
            FROM pg_enum l WHERE l.enumtypid = t.oid)
          ELSE concat_ws(' ', 'domain of', format_type(t.typbasetype, t.typtypmod),
            CASE WHEN t.typnotnull THEN 'NOT NULL' END, 'DEFAULT ' || t.typdefault,
            (SELECT string_agg(pg_get_constraintdef(o.oid), ' ' ORDER BY o.conname)
              FROM pg_constraint o WHERE o.contypid = t.oid)) END, NULL, NULL, NULL
        FROM pg_type t JOIN pg_namespace n ON n.oid = t.typnamespace
        WHERE t.typtype IN ('e', 'd') AND ${OURS} AND ${notOfExtension("pg_type", "t.oid")}`,
        },
    ];
}
/**
 * With these the server spells definitions the same way for everybody. An empty search path makes it write all names
 * in full, and `row_security` makes a query that rows are hidden from fail instead of counting too few.
 */
const SPELLING = [
    "SET search_path = ''",
    "SET row_security = off",
    "SET quote_all_identifiers = off",
    "SET datestyle = 'ISO, MDY'",
    "SET intervalstyle = 'postgres'",
    "SET timezone = 'UTC'",
    "SET bytea_output = 'hex'",
    "SET extra_float_digits = 1",
];
/** All objects of the database's schemas, on a session with {@link SPELLING}. */
async function readObjects(ask, major) {
    const objects = [];
    for (const { kind, query, digest = false } of kindsOf(major)) {
        for (const [name, definition, oid, of, flaw] of await ask(`${query} ORDER BY 1`)) {
            objects.push({
                kind: /^(?:materialized )?view\b/.exec(kind === "table" ? (definition ?? "") : "")?.[0] ?? kind,
                name: name ?? "",
                definition: digest ? sha256(definition ?? "") : (definition ?? ""),
                ...(typeof oid === "string" ? { oid } : {}),
                ...(typeof of === "string" ? { of } : {}),
                ...(typeof flaw === "string" ? { flaw: flaw } : {}),
            });
        }
    }
    return objects;
}
const ROLES = `SELECT quote_ident(r.rolname), concat_ws(' ',
    CASE WHEN r.rolsuper THEN 'SUPERUSER' END, CASE WHEN r.rolinherit THEN 'INHERIT' ELSE 'NOINHERIT' END,
    CASE WHEN r.rolcreaterole THEN 'CREATEROLE' END, CASE WHEN r.rolcreatedb THEN 'CREATEDB' END,
    CASE WHEN r.rolcanlogin THEN 'LOGIN' END, CASE WHEN r.rolreplication THEN 'REPLICATION' END,
    CASE WHEN r.rolbypassrls THEN 'BYPASSRLS' END,
    CASE WHEN r.rolconnlimit >= 0 THEN 'CONNECTION LIMIT ' || r.rolconnlimit END,
    'VALID UNTIL ' || r.rolvaliduntil,
    'member of ' || (SELECT string_agg(DISTINCT quote_ident(g.rolname), ', ' ORDER BY quote_ident(g.rolname))
      FROM pg_auth_members m JOIN pg_roles g ON g.oid = m.roleid WHERE m.member = r.oid))
  FROM pg_roles r WHERE r.rolname !~ '^pg_' ORDER BY 1`;
/** The roles of the cluster with their attributes and memberships; no passwords. */
async function readRoles(ask) {
    return (await ask(ROLES)).map((row) => ({ kind: "role", name: cell(row, 0), definition: cell(row, 1) }));
}
/** Tells whether two looks saw the same. */
function fingerprint(objects) {
    return sha256(JSON.stringify(objects));
}
function sha256(text) {
    return (0,external_node_crypto_.createHash)("sha256").update(text).digest("hex");
}

;// CONCATENATED MODULE: ./build/src/postgres/census/foreign.js
/** SQL for whether reading the table `oid` stays on this server: a recovered copy must not ask production's others. */
function hasNoForeignPart(oid) {
    return `NOT EXISTS (
    SELECT FROM (SELECT relid FROM pg_partition_tree(${oid})
      UNION SELECT inhrelid FROM pg_inherits WHERE inhparent = ${oid}) part
    JOIN pg_class f ON f.oid = part.relid WHERE f.relkind = 'f')`;
}

;// CONCATENATED MODULE: ./build/src/postgres/census/rows.js



const TABLES = `SELECT format('%I.%I', n.nspname, c.relname),
    CASE WHEN c.relkind = 'p' THEN (
      SELECT string_agg(format('%I.%I', ln.nspname, l.relname), E'\\n')
      FROM pg_partition_tree(c.oid) t JOIN pg_class l ON l.oid = t.relid JOIN pg_namespace ln ON ln.oid = l.relnamespace
      WHERE t.isleaf AND l.relkind <> 'p') END,
    CASE WHEN c.relpersistence <> 'p' THEN 'it is unlogged, and such a table is empty after a recovery'
      WHEN NOT has_schema_privilege(n.oid, 'USAGE')
        THEN format('the role may not read it: GRANT USAGE ON SCHEMA %I TO %I', n.nspname, current_user)
      WHEN NOT has_table_privilege(c.oid, 'SELECT')
        THEN format('the role may not read it: GRANT SELECT ON %I.%I TO %I', n.nspname, c.relname, current_user)
      WHEN NOT (${hasNoForeignPart("c.oid")}) THEN 'it has foreign partitions' END
  FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
  WHERE c.relkind IN ('r', 'p') AND c.relpersistence <> 't'
    AND n.nspname NOT IN ('pg_catalog', 'information_schema') AND n.nspname !~ '^pg_(toast|temp)'
    AND ($1::text IS NULL OR format('%I.%I', n.nspname, c.relname) = ANY (string_to_array($1, E'\\n')))
  ORDER BY c.relpages DESC, 1`;
/**
 * Counts the rows of tables exactly, over one or more sessions that see the same snapshot. `only` are full names; all
 * tables of the database without it. Each count gives its lock back at once, so that the snapshot blocks no DDL.
 */
async function countRows(sessions, only, onTable) {
    const [first] = sessions;
    if (first === undefined)
        return [];
    const tables = await listTables(first, only);
    const counted = new Map();
    const plain = tables.filter((table) => table.leaves.length === 0 && table.refusal === undefined);
    const queue = [...plain];
    const work = async (ask) => {
        for (let table = queue.shift(); table !== undefined; table = queue.shift()) {
            counted.set(table.name, await countTable(ask, table.name));
            onTable();
        }
    };
    const ends = await Promise.allSettled(sessions.map(work));
    for (const end of ends)
        if (end.status === "rejected")
            throw end.reason;
    for (const { name, leaves, refusal } of tables) {
        if (counted.has(name))
            continue;
        if (refusal !== undefined) {
            counted.set(name, { table: name, notCaptured: refusal });
            continue;
        }
        counted.set(name, sumOf(name, leaves, counted) ?? (await countTable(first, name)));
        onTable();
    }
    return [...counted.values()].sort((a, b) => (a.table < b.table ? -1 : 1));
}
async function listTables(ask, only) {
    const rows = await ask(TABLES, [only === undefined ? null : only.join("\n")]);
    return rows.map((row) => ({
        name: cell(row, 0),
        leaves: row[1]?.split("\n") ?? [],
        refusal: row[2] ?? undefined,
    }));
}
/** The rows of a partitioned table, if all that holds them was counted. */
function sumOf(table, leaves, counted) {
    let rows = 0;
    for (const leaf of leaves) {
        const one = counted.get(leaf);
        if (one === undefined || "notCaptured" in one)
            return undefined;
        rows += one.rows;
    }
    return { table, rows };
}
async function countTable(ask, table) {
    try {
        const [row] = await gently(ask, () => ask(`SELECT count(*) FROM ${table}`));
        return { table, rows: Number(cell(row, 0)) };
    }
    catch (error) {
        if (error instanceof errors/* AbortedError */.oM)
            throw error;
        return { table, notCaptured: (0,errors/* messageOf */.bD)(error).replace(/\.$/, "") };
    }
}

;// CONCATENATED MODULE: ./build/src/postgres/census/sequences.js



const FEEDING = `
  WITH used AS (
    SELECT d.objid AS sequence, d.refobjid AS relation, d.refobjsubid AS attribute
    FROM pg_depend d
    WHERE d.classid = 'pg_class'::regclass AND d.refclassid = 'pg_class'::regclass AND d.refobjsubid > 0
      AND d.deptype IN ('a', 'i')
    UNION
    SELECT d.refobjid, a.adrelid, a.adnum
    FROM pg_depend d JOIN pg_attrdef a ON d.classid = 'pg_attrdef'::regclass AND d.objid = a.oid
    WHERE d.refclassid = 'pg_class'::regclass)
  SELECT format('%I.%I', sn.nspname, s.relname), format('%I.%I', tn.nspname, t.relname), quote_ident(a.attname),
    p.seqincrement
  FROM used u
    JOIN pg_class s ON s.oid = u.sequence AND s.relkind = 'S' AND s.relpersistence <> 't'
    JOIN pg_sequence p ON p.seqrelid = s.oid
    JOIN pg_namespace sn ON sn.oid = s.relnamespace
    JOIN pg_class t ON t.oid = u.relation AND t.relkind IN ('r', 'p') AND t.relpersistence = 'p'
    JOIN pg_namespace tn ON tn.oid = t.relnamespace
    JOIN pg_attribute a ON a.attrelid = t.oid AND a.attnum = u.attribute
  WHERE NOT p.seqcycle AND ${hasNoForeignPart("t.oid")} AND a.atttypid IN ('int2'::regtype, 'int4'::regtype, 'int8'::regtype, 'numeric'::regtype)
  ORDER BY 1, 2, 3`;
/** The sequences of this database that feed a column. One that cycles promises nothing and is left out. */
async function feedingSequences(ask) {
    return (await ask(FEEDING)).map((row) => ({
        sequence: cell(row, 0),
        table: cell(row, 1),
        column: cell(row, 2),
        increment: cell(row, 3),
    }));
}
/**
 * Whether the next value of the sequence is in the column or passed by it. The server compares, so that no value of
 * the table leaves it.
 */
async function isBehind(ask, { sequence, table, column, increment }) {
    const [extreme, reached] = increment.startsWith("-") ? ["min", "<="] : ["max", ">="];
    const next = `s.last_value::numeric + CASE WHEN s.is_called THEN ${increment} ELSE 0 END`;
    const [row] = await ask(`SELECT coalesce(t.extreme ${reached} ${next}, false)
     FROM (SELECT ${extreme}(${column}) AS extreme FROM ${table}) t, ${sequence} s`);
    return row?.[0] === "t";
}
const STATES = `SELECT format('%I.%I', n.nspname, c.relname), x.readable,
    CASE WHEN x.readable THEN pg_sequence_last_value(c.oid) END
  FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace,
    LATERAL (SELECT has_schema_privilege(n.oid, 'USAGE') AND has_sequence_privilege(c.oid, 'SELECT, USAGE')) x (readable)
  WHERE c.relkind = 'S' AND c.relpersistence = 'p' ORDER BY 1`;
/** The state of all sequences, within a transaction; whether they are behind only when `compare`, which may read whole tables. */
async function readSequences(ask, compare) {
    const states = await ask(STATES);
    const behind = compare ? await findBehind(ask) : new Map();
    return states.map((row) => {
        const readable = row[1] === "t";
        return {
            name: cell(row, 0),
            lastValue: row[2] ?? null,
            isCalled: readable ? row[2] !== null : null,
            behind: compare ? (behind.has(cell(row, 0)) ? (behind.get(cell(row, 0)) ?? null) : false) : null,
        };
    });
}
async function findBehind(ask) {
    const found = new Map();
    for (const feeding of await feedingSequences(ask)) {
        const before = found.get(feeding.sequence);
        if (before === true)
            continue;
        const now = await gently(ask, () => isBehind(ask, feeding)).catch((error) => {
            if (error instanceof errors/* AbortedError */.oM)
                throw error;
            return null;
        });
        found.set(feeding.sequence, now === true ? true : before === null ? null : now);
    }
    return found;
}

;// CONCATENATED MODULE: ./build/src/postgres/census/capture.js






const capture_DOING = "taking the census";
const PARALLEL = 2;
const EVERY_MS = 5_000;
/** Databases that every cluster has and that need not let the role in. */
const MAINTENANCE = ["postgres", "template1"];
const DATABASES = `SELECT datname FROM pg_database
  WHERE datallowconn AND has_database_privilege(oid, 'CONNECT') ORDER BY datname = current_database() DESC, datname`;
/**
 * Looks at the objects alone. `position`: read `after` the look, for what was seen to hold from there on, or `before`
 * it, for it to hold up to there.
 */
async function lookAtObjects(source, position) {
    const databases = new Map();
    let roles;
    for (const name of await listDatabases(source)) {
        const look = await withDatabase(source, name, async (ask) => {
            const early = await readLsn(ask);
            await begin(ask);
            const objects = fingerprint(await readObjectsGently(ask, source.major));
            const ofRoles = roles === undefined ? fingerprint(await readRoles(ask)) : undefined;
            const lsn = position === "before" ? early : await readLsn(ask);
            await ask("ROLLBACK");
            return { objects, ofRoles, lsn };
        });
        if (typeof look === "string")
            continue;
        if (look.ofRoles !== undefined)
            roles = { fingerprint: look.ofRoles, lsn: look.lsn };
        databases.set(name, { fingerprint: look.objects, lsn: look.lsn });
    }
    return { databases, roles: roles ?? { fingerprint: "", lsn: "0/0" } };
}
/**
 * Takes the census: each database in one snapshot of its own. A database that can't be reached is recorded as not
 * captured, with a warning. `before` is a look from before the backup.
 */
async function takeCensus(source, before) {
    const { context, extent } = source;
    const began = performance.now();
    const databases = [];
    let roles;
    let tables = {};
    let lastLine = began;
    let counted = 0;
    const onTable = () => {
        counted += 1;
        if (performance.now() - lastLine < EVERY_MS)
            return;
        lastLine = performance.now();
        context.log.info(`Census: the rows of ${counted} tables are counted`);
    };
    for (const name of await listDatabases(source)) {
        const isMain = name === source.database;
        const taken = await withDatabase(source, name, async (ask) => {
            const names = isMain ? await resolveTables(ask, source.checkedTables) : {};
            await begin(ask);
            const capturedAt = cell((await ask(`SELECT ${SERVER_TIME}`))[0], 0);
            const objects = await readObjectsGently(ask, source.major);
            const ofRoles = roles === undefined ? await readRoles(ask) : undefined;
            const lsn = await readLsn(ask);
            const snapshot = cell((await ask("SELECT pg_export_snapshot()"))[0], 0);
            const only = extent === "full" ? undefined : Object.values(names).filter((one) => one !== null);
            const helpers = await openHelpers(source, name, snapshot, only);
            try {
                const rows = await countRows([ask, ...helpers.asks], only, onTable);
                const sequences = await readSequences(ask, extent === "full");
                await ask("ROLLBACK");
                const steady = steadyFrom(before.databases.get(name), objects, lsn);
                return { names, ofRoles, census: { name, capturedAt, lsn, steady, objects, sequences, rows } };
            }
            finally {
                await helpers.close();
            }
        });
        if (typeof taken === "string") {
            const line = `The census leaves out the database "${name}": ${taken}`;
            if (MAINTENANCE.includes(name) && !isMain)
                context.log.info(line);
            else
                context.log.warning(line);
            databases.push({ name, notCaptured: taken });
            continue;
        }
        if (isMain)
            tables = taken.names;
        const { lsn } = taken.census;
        if (taken.ofRoles !== undefined) {
            roles = { steady: steadyFrom(before.roles, taken.ofRoles, lsn), objects: taken.ofRoles };
        }
        databases.push(taken.census);
    }
    const document = {
        schema: "drillbook/postgres-census/v1",
        backupId: source.backupId,
        roles: roles ?? { steady: { from: "0/0", to: "0/0" }, objects: [] },
        databases,
        tables,
    };
    warnOfCheckedTables(document, source);
    context.log.info(capture_describe(document, (performance.now() - began) / 1000));
    return document;
}
/** The census with a last look, from after the end of the run: what it saw unchanged holds up to there. */
function extendSteadiness(document, after) {
    const extend = (steady, objects, seen) => seen?.fingerprint === fingerprint(objects) ? { ...steady, to: seen.lsn } : steady;
    const { roles } = document;
    return {
        ...document,
        roles: { ...roles, steady: extend(roles.steady, roles.objects, after.roles) },
        databases: document.databases.map((one) => "notCaptured" in one
            ? one
            : { ...one, steady: extend(one.steady, one.objects, after.databases.get(one.name)) }),
    };
}
function steadyFrom(seen, objects, at) {
    return { from: seen?.fingerprint === fingerprint(objects) ? seen.lsn : at, to: at };
}
function askOf(connection) {
    return (text, values) => connection.list(capture_DOING, text, values);
}
async function listDatabases(source) {
    const connection = await source.open(source.database);
    try {
        return (await connection.query(capture_DOING, DATABASES)).map((row) => row.datname ?? "");
    }
    finally {
        await connection.close();
    }
}
const SESSION = [
    "SET statement_timeout = 0",
    "SET idle_in_transaction_session_timeout = 0",
    "SET lock_timeout = '30s'",
];
async function prepare(ask) {
    for (const statement of SESSION)
        await ask(statement);
    // A count ends soon after this process is gone. Not every platform's server can look for that.
    await ask("SET client_connection_check_interval = '2s'").catch((error) => {
        if (error instanceof errors/* AbortedError */.oM)
            throw error;
    });
}
/** Works on one database; the reason, as a sentence, when that is not possible. */
async function withDatabase(source, name, work) {
    let connection;
    try {
        connection = await source.open(name);
        const ask = askOf(connection);
        await prepare(ask);
        return await work(ask);
    }
    catch (error) {
        if (!(error instanceof errors/* ToolError */.v4 || error instanceof errors/* UserError */.yo))
            throw error;
        return (0,errors/* messageOf */.bD)(error);
    }
    finally {
        await connection?.close();
    }
}
async function begin(ask, snapshot) {
    for (const statement of SPELLING)
        await ask(statement);
    await ask("BEGIN ISOLATION LEVEL REPEATABLE READ, READ ONLY");
    if (snapshot !== undefined)
        await ask(`SET TRANSACTION SNAPSHOT '${snapshot}'`);
}
const POSITION = `SELECT CASE WHEN pg_is_in_recovery() THEN pg_last_wal_replay_lsn()
  ELSE pg_current_wal_insert_lsn() END`;
async function readLsn(ask) {
    return cell((await ask(POSITION))[0], 0);
}
/** Functions of the catalog see not the snapshot but the present, so an object may vanish under them. */
async function readObjectsGently(ask, major) {
    for (let attempt = 1;; attempt += 1) {
        try {
            return await gently(ask, () => readObjects(ask, major));
        }
        catch (error) {
            if (error instanceof errors/* AbortedError */.oM || attempt === 3)
                throw error;
        }
    }
}
/** More sessions that see the same snapshot; none when there is nothing to share out. */
async function openHelpers(source, database, snapshot, only) {
    const connections = [];
    const close = async () => {
        await Promise.all(connections.map((connection) => connection.close()));
    };
    if (only !== undefined && only.length < 2)
        return { asks: [], close };
    try {
        while (connections.length < PARALLEL - 1) {
            const connection = await source.open(database);
            connections.push(connection);
            const ask = askOf(connection);
            await prepare(ask);
            await begin(ask, snapshot);
        }
    }
    catch (error) {
        await close();
        throw error;
    }
    return { asks: connections.map(askOf), close };
}
/** What the names of the runbook mean to the source's role. */
async function resolveTables(ask, names) {
    const tables = {};
    for (const name of new Set(names)) {
        const [row] = await ask(`SELECT format('%I.%I', n.nspname, c.relname)
       FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE c.oid = to_regclass($1)`, [name]);
        tables[name] = row?.[0] ?? null;
    }
    return tables;
}
/** A check that will not be answered is worth a word while the source is still there. */
function warnOfCheckedTables(document, { database, checkedTables, context }) {
    const main = document.databases.find((one) => one.name === database);
    if (main === undefined || "notCaptured" in main)
        return;
    for (const written of new Set(checkedTables)) {
        const found = main.rows.find((one) => one.table === document.tables[written]);
        if (found !== undefined && "rows" in found)
            continue;
        const why = found?.notCaptured ?? `there is no such table in "${database}"`;
        context.log.warning(`The rows of "${written}" were not counted: ${why}.`);
    }
}
function capture_describe(document, seconds) {
    const captured = document.databases.filter((one) => "objects" in one);
    const objects = captured.reduce((sum, one) => sum + one.objects.length, 0);
    const counts = captured.flatMap((one) => one.rows);
    const counted = counts.filter((one) => "rows" in one).length;
    return `Census: ${captured.length} of ${document.databases.length} databases, ${objects} objects, the rows of ${counted} of ${counts.length} tables, in ${seconds.toFixed(1)} s`;
}

;// CONCATENATED MODULE: ./build/src/release.js
/**
 * Gives the memory of a buffer back now. Nobody may read it afterwards, so only its last owner may call this.
 *
 * Streams of large buffers leave garbage outside of V8's heap faster than it is collected: a backup's resident memory was
 * 320 MB with that garbage and is 263 MB without (1.5 to 2 GB of data, sealed, to a folder).
 */
function release(bytes) {
    const memory = bytes.buffer;
    // Small buffers share one block of memory, which is not ours to give back.
    if (memory instanceof ArrayBuffer && memory.byteLength > Buffer.poolSize)
        memory.transfer(0);
}

// EXTERNAL MODULE: ./node_modules/age-encryption/dist/index.js + 51 modules
var dist = __webpack_require__(1539);
;// CONCATENATED MODULE: ./build/src/archive/damage.js

/** A {@link DefectError} of an archive that also says how it is damaged. */
class DamagedArchive extends errors/* DefectError */.uR {
    kind;
    /** `what` follows the subject in the message: "is truncated: …". */
    constructor(subject, kind, what) {
        super(subject, `${subject} ${what}`);
        this.name = "DamagedArchive";
        this.kind = kind;
    }
}

;// CONCATENATED MODULE: ./build/src/archive/age.js



/*
 * The header of the age v1 format (https://age-encryption.org/v1, C2SP age specification) by the `age-encryption` package.
 * The payload is in age-stream.ts. Messages never hold an identity, nor the package's own messages: they quote it.
 */
/** First line of every age file. */
const INTRO = "age-encryption.org/v1\n";
/** A header has about 100 bytes per recipient; one that is larger than this is not a header. */
const MAX_HEADER_BYTES = 64 * 1024;
/** A sentence that says what is wrong with an age recipient (a public key, `age1…`), or undefined if nothing is. */
function checkRecipient(text) {
    if (/^age-secret-key-/i.test(text)) {
        return "This is a private age identity, not a recipient: write the public key that `age-keygen -y` prints for it, and replace the identity if others could read it here.";
    }
    if (!text.startsWith("age1")) {
        return "An age recipient is a public key that starts with age1, as age-keygen prints it.";
    }
    // In bech32 a 1 ends the kind of key, and the rest has none.
    if (/^age1[^1]*1/.test(text)) {
        return "This age recipient belongs to a plugin or to another kind of key: only X25519 keys (age1… with 62 characters) are supported.";
    }
    try {
        new dist/* Encrypter */.T7().addRecipient(text);
        return undefined;
    }
    catch {
        return "This age recipient is damaged (its checksum does not match): copy the whole key again, 62 characters that start with age1.";
    }
}
/**
 * A sentence that says what is wrong with an age identity, or undefined if nothing is. Like an identity file of age it
 * may have several lines, empty ones and comments (`# …`).
 */
function checkIdentity(text) {
    const lines = identityLines(text);
    if (lines.length === 0) {
        return "The age identity is empty: it must hold a private key that starts with AGE-SECRET-KEY-1, as age-keygen prints it.";
    }
    for (const line of lines) {
        if (line.startsWith("age1")) {
            return "The age identity is a public key (age1…): reading needs the private key that starts with AGE-SECRET-KEY-1.";
        }
        if (!line.startsWith("AGE-SECRET-KEY-1")) {
            return "The age identity has a line that is not a private key: each must start with AGE-SECRET-KEY-1, as age-keygen prints it.";
        }
        try {
            new dist/* Decrypter */.Hz().addIdentity(line);
        }
        catch {
            return "The age identity is damaged (its checksum does not match): copy the whole line again that starts with AGE-SECRET-KEY-1.";
        }
    }
    return undefined;
}
function identityLines(text) {
    return text
        .split(/\r?\n/)
        .map((line) => line.trim())
        .filter((line) => line !== "" && !line.startsWith("#"));
}
/**
 * A new random file key, wrapped for each recipient in the header of an age file.
 * @throws UserError when a recipient is malformed.
 */
async function createHeader(recipients) {
    const encrypter = new dist/* Encrypter */.T7();
    for (const recipient of recipients) {
        const problem = checkRecipient(recipient);
        if (problem !== undefined)
            throw new errors/* UserError */.yo(problem);
        encrypter.addRecipient(recipient);
    }
    let fileKey;
    // This "recipient" adds nothing to the header: it only learns the file key, which the package keeps to itself.
    encrypter.addRecipient({
        wrapFileKey(key) {
            fileKey = Uint8Array.from(key);
            return [];
        },
    });
    const file = await seal(encrypter);
    const end = headerLength(file);
    if (fileKey === undefined || end === undefined)
        throw new Error("age-encryption gave no header");
    return { header: file.subarray(0, end), fileKey };
}
async function seal(encrypter) {
    try {
        return Buffer.from(await encrypter.encrypt(new Uint8Array(0)));
    }
    catch (cause) {
        // The checksum of such a key is right, but it is no point of the curve that could hide anything.
        throw new errors/* UserError */.yo("An age recipient is not a usable public key: make a new one with age-keygen.", {
            cause,
        });
    }
}
/**
 * Length of the header at the start of an age file; undefined when it is not all there yet.
 * The header's last line starts with `---`, which no other line can.
 */
function headerLength(bytes) {
    const last = bytes.indexOf("\n---");
    if (last === -1)
        return undefined;
    const end = bytes.indexOf("\n", last + 1);
    return end === -1 ? undefined : end + 1;
}
/**
 * Finds the header's end in the bytes read so far; undefined when more must be read.
 * @throws DamagedArchive when these bytes cannot become an age header.
 */
function findHeader(bytes, subject) {
    const compared = Math.min(bytes.length, INTRO.length);
    if (bytes.toString("latin1", 0, compared) !== INTRO.slice(0, compared)) {
        throw new DamagedArchive(subject, "foreign", "is not sealed with age: it does not start with an age v1 header.");
    }
    const length = headerLength(bytes);
    if ((length ?? bytes.length) > MAX_HEADER_BYTES) {
        throw new DamagedArchive(subject, "altered", "was altered: its age header has no end.");
    }
    return length;
}
/**
 * The file key that a header holds for this identity.
 * @throws UserError when the identity is malformed, DamagedArchive when it is another one or the header was altered.
 */
async function openHeader(header, identity, subject) {
    const problem = checkIdentity(identity);
    if (problem !== undefined)
        throw new errors/* UserError */.yo(problem);
    const decrypter = new dist/* Decrypter */.Hz();
    for (const line of identityLines(identity))
        decrypter.addIdentity(line);
    try {
        return await decrypter.decryptHeader(header);
    }
    catch (error) {
        if (error instanceof Error && error.message.startsWith("no identity matched")) {
            throw new DamagedArchive(subject, "wrong-key", "is sealed with another key: the age identity in use cannot open it.");
        }
        throw new DamagedArchive(subject, "altered", "was altered: its age header is not valid.");
    }
}

;// CONCATENATED MODULE: ./build/src/archive/metered.js


/** Counts and hashes (SHA-256) what flows by. */
class Meter {
    #hash = (0,external_node_crypto_.createHash)("sha256");
    #digest;
    #bytes = 0;
    add(chunk) {
        this.#hash.update(chunk);
        this.#bytes += chunk.length;
    }
    get bytes() {
        return this.#bytes;
    }
    /** The SHA-256 in hex; nothing can be added afterwards. */
    sha256() {
        this.#digest ??= this.#hash.digest("hex");
        return this.#digest;
    }
}
/**
 * The same stream, which ends with an {@link AbortedError} as soon as the signal is given, even while the source is
 * silent.
 */
async function* abortable(source, signal) {
    if (signal === undefined) {
        yield* source;
        return;
    }
    const iterator = source[Symbol.asyncIterator]();
    let stop = () => undefined;
    const onAbort = () => stop();
    signal.addEventListener("abort", onAbort, { once: true });
    let finished = false;
    try {
        for (;;) {
            const next = await new Promise((resolve, reject) => {
                stop = () => reject(new errors/* AbortedError */.oM());
                if (signal.aborted)
                    stop();
                else
                    iterator.next().then(resolve, reject);
            });
            if (next.done === true) {
                finished = true;
                return;
            }
            yield next.value;
        }
    }
    finally {
        signal.removeEventListener("abort", onAbort);
        const closed = finished ? undefined : iterator.return?.();
        // A source that hangs in a read cannot be waited for.
        if (signal.aborted)
            closed?.catch(() => undefined);
        else
            await closed;
    }
}

;// CONCATENATED MODULE: ./build/src/archive/second-look.js



/*
 * A wrong byte is damage only when it lies in the store. One that came about on the way is another one each time, so what
 * seems damaged is read again: the same bytes twice are proven to be what the store holds.
 */
/** How often something is read before the way it comes is given up. */
const second_look_READINGS = 8;
/** For objects that can be read once. */
const ONE_LOOK = {
    proven: () => undefined,
    settle: async (_offset, bytes, open) => open(bytes),
};
/** `onMended` gets the right bytes of a piece that did arrive wrong. */
function secondLook(subject, reread, proven, onMended) {
    return {
        proven,
        async settle(offset, first, open) {
            let bytes = first;
            for (let reading = 1;; reading += 1) {
                try {
                    const opened = await open(bytes);
                    if (reading > 1)
                        onMended(offset, bytes);
                    return opened;
                }
                catch (error) {
                    if (!(error instanceof errors/* DefectError */.uR))
                        throw error;
                    if (reading === second_look_READINGS)
                        throw new stores_store/* GarbledRead */.g4(subject);
                    const again = await reread(offset, first.length);
                    if (Buffer.compare(again, bytes) === 0)
                        throw error;
                    bytes = again;
                }
            }
        },
    };
}
/**
 * The same for what is read as a whole: runs `read`, whose stored bytes must flow through the tap, until it succeeds or two
 * readings agree. Throws the DefectError of `read`, a {@link GarbledRead} when no two readings agree, and what else `read`
 * throws.
 */
async function readSettled(subject, read) {
    let before;
    for (let reading = 1;; reading += 1) {
        const seen = new Meter();
        try {
            return await read((source) => metered(source, seen));
        }
        catch (error) {
            if (!(error instanceof errors/* DefectError */.uR) && !(error instanceof stores_store/* GarbledRead */.g4))
                throw error;
            const now = `${seen.bytes} ${seen.sha256()}`;
            if (error instanceof errors/* DefectError */.uR && now === before)
                throw error;
            if (reading === second_look_READINGS)
                throw error instanceof stores_store/* GarbledRead */.g4 ? error : new stores_store/* GarbledRead */.g4(subject);
            before = now;
        }
    }
}
async function* metered(source, meter) {
    for await (const chunk of source) {
        meter.add(chunk);
        yield chunk;
    }
}

;// CONCATENATED MODULE: ./build/src/archive/age-stream.js





/*
 * The payload of an age v1 file (https://age-encryption.org/v1): chunks of 64 KiB, each sealed with ChaCha20-Poly1305. The
 * nonce is an 11-byte counter and a byte that is 1 for the last chunk alone, so chunks can be neither moved, dropped nor
 * added unnoticed. Only an empty payload has an empty last chunk.
 *
 * By node:crypto and not by the `age-encryption` package, which does the same in JavaScript. Measured on one machine
 * with 256 MiB: sealing 1090 MB/s against 129, opening 1470 MB/s against 136.
 */
const CHUNK = 64 * 1024;
const TAG = 16;
const SEALED_CHUNK = CHUNK + TAG;
const NONCE = 16;
const NOTHING = Buffer.alloc(0);
function payloadKey(fileKey, nonce) {
    return (0,external_node_crypto_.createSecretKey)(Buffer.from((0,external_node_crypto_.hkdfSync)("sha256", fileKey, nonce, "payload", 32)));
}
function chunkNonce(counter, last) {
    const nonce = Buffer.alloc(12);
    // 48 of the counter's 88 bits: enough for 16 EiB.
    nonce.writeUIntBE(counter, 5, 6);
    nonce[11] = last ? 1 : 0;
    return nonce;
}
/**
 * Seals a stream for the recipients: yields the bytes of an age v1 file.
 * @throws UserError when a recipient is malformed.
 */
async function* sealStream(source, recipients) {
    const { header, fileKey } = await createHeader(recipients);
    const nonce = (0,external_node_crypto_.randomBytes)(NONCE);
    const key = payloadKey(fileKey, nonce);
    // Given out when the source has given something, so that who leaves early always leaves a source that is closed.
    let start = Buffer.concat([header, nonce]);
    // A chunk is sealed when a byte after it is seen: only then it is known that it is not the last.
    const kept = Buffer.allocUnsafeSlow(CHUNK);
    let keptBytes = 0;
    let counter = 0;
    for await (const piece of source) {
        if (start !== undefined)
            yield start;
        start = undefined;
        const total = keptBytes + piece.length;
        const chunks = Math.max(0, Math.ceil(total / CHUNK) - 1);
        const sealed = Buffer.allocUnsafeSlow(chunks * SEALED_CHUNK);
        let offset = 0;
        for (let index = 0; index < chunks; index += 1) {
            const at = index * SEALED_CHUNK;
            if (keptBytes > 0) {
                const missing = CHUNK - keptBytes;
                kept.set(piece.subarray(offset, offset + missing), keptBytes);
                sealChunk(key, chunkNonce(counter, false), kept, sealed, at);
                offset += missing;
                keptBytes = 0;
            }
            else {
                sealChunk(key, chunkNonce(counter, false), piece.subarray(offset, offset + CHUNK), sealed, at);
                offset += CHUNK;
            }
            counter += 1;
        }
        kept.set(piece.subarray(offset), keptBytes);
        keptBytes += piece.length - offset;
        if (sealed.length > 0)
            yield sealed;
    }
    if (start !== undefined)
        yield start;
    const last = Buffer.allocUnsafeSlow(keptBytes + TAG);
    sealChunk(key, chunkNonce(counter, true), kept.subarray(0, keptBytes), last, 0);
    yield last;
}
function sealChunk(key, nonce, plain, target, at) {
    const cipher = (0,external_node_crypto_.createCipheriv)("chacha20-poly1305", key, nonce, { authTagLength: TAG });
    const text = cipher.update(plain);
    target.set(text, at);
    release(text);
    cipher.final();
    target.set(cipher.getAuthTag(), at + plain.length);
}
/**
 * Opens an age v1 file with an identity; every byte it yields is authentic, and it ends without an error only if the
 * whole payload was there.
 * @throws UserError when the identity is malformed, DamagedArchive for everything that is wrong with the bytes.
 */
async function* openStream(source, identity, subject, look = ONE_LOOK) {
    let start = NOTHING;
    let opener;
    for await (const piece of source) {
        if (opener !== undefined) {
            yield* opener.push(piece);
            continue;
        }
        start = Buffer.concat([start, piece]);
        const found = await look.settle(0, start, (bytes) => readStart(bytes, identity, subject));
        if (found === undefined)
            continue;
        opener = new ChunkOpener(found, subject, look);
        yield* opener.push(start.subarray(found.headerBytes + NONCE));
        start = NOTHING;
    }
    if (opener === undefined) {
        throw new DamagedArchive(subject, "truncated", start.length === 0
            ? "is empty: nothing of what was written is there."
            : "is truncated: it ends inside its age header.");
    }
    yield await opener.end();
}
/** Undefined when it is not complete yet. */
async function readStart(bytes, identity, subject) {
    const start = Buffer.from(bytes);
    const headerBytes = findHeader(start, subject);
    if (headerBytes === undefined || start.length < headerBytes + NONCE)
        return undefined;
    const fileKey = await openHeader(start.subarray(0, headerBytes), identity, subject);
    return { headerBytes, fileKey, nonce: start.subarray(headerBytes, headerBytes + NONCE) };
}
/** Opens chunk after chunk. Keeps the newest whole chunk back until it is known whether it is the last. */
class ChunkOpener {
    #start;
    #look;
    #subject;
    #key;
    #kept = Buffer.allocUnsafeSlow(SEALED_CHUNK);
    #keptBytes = 0;
    #counter = 0;
    constructor(start, subject, look) {
        this.#start = start;
        this.#look = look;
        this.#key = payloadKey(start.fileKey, start.nonce);
        this.#subject = subject;
    }
    async *push(piece) {
        let offset = 0;
        while (this.#keptBytes + piece.length - offset > SEALED_CHUNK) {
            let sealed = piece.subarray(offset, offset + SEALED_CHUNK);
            if (this.#keptBytes > 0) {
                const missing = SEALED_CHUNK - this.#keptBytes;
                this.#kept.set(piece.subarray(offset, offset + missing), this.#keptBytes);
                offset += missing;
                this.#keptBytes = 0;
                sealed = this.#kept;
            }
            else {
                offset += SEALED_CHUNK;
            }
            const plain = this.#open(sealed, false) ?? (await this.#openAgain(sealed, false));
            this.#counter += 1;
            this.#look.proven(this.#offset());
            yield plain;
        }
        this.#kept.set(piece.subarray(offset), this.#keptBytes);
        this.#keptBytes += piece.length - offset;
    }
    async end() {
        const sealed = this.#kept.subarray(0, this.#keptBytes);
        const plain = (sealed.length < TAG ? undefined : this.#open(sealed, true)) ?? (await this.#openAgain(sealed, true));
        if (plain.length === 0 && this.#counter > 0) {
            throw new DamagedArchive(this.#subject, "altered", "is not a valid age file: its last chunk is empty, which only an empty file may have.");
        }
        return plain;
    }
    /** Where the chunk begins in the file. */
    #offset() {
        return this.#start.headerBytes + NONCE + this.#counter * SEALED_CHUNK;
    }
    /** A second look at a chunk that is not authentic; with the first, at the nonce before it, which nothing else proves. */
    async #openAgain(sealed, last) {
        const nonce = this.#counter === 0 ? this.#start.nonce : NOTHING;
        const bytes = Buffer.concat([nonce, sealed]);
        return await this.#look.settle(this.#offset() - nonce.length, bytes, (again) => {
            if (nonce.length > 0)
                this.#key = payloadKey(this.#start.fileKey, again.subarray(0, NONCE));
            const chunk = again.subarray(nonce.length);
            const plain = chunk.length < TAG ? undefined : this.#open(chunk, last);
            if (plain !== undefined)
                return plain;
            throw last ? this.#badEnd(chunk) : this.#unauthentic(chunk);
        });
    }
    /** The chunk's content, or undefined when it is not authentic at this place. */
    #open(sealed, last) {
        const nonce = chunkNonce(this.#counter, last);
        const decipher = (0,external_node_crypto_.createDecipheriv)("chacha20-poly1305", this.#key, nonce, { authTagLength: TAG });
        const length = sealed.length - TAG;
        decipher.setAuthTag(sealed.subarray(length));
        const plain = decipher.update(sealed.subarray(0, length));
        try {
            decipher.final();
        }
        catch {
            return undefined;
        }
        return plain;
    }
    #unauthentic(sealed) {
        if (this.#open(sealed, true) !== undefined) {
            return new DamagedArchive(this.#subject, "altered", "was altered: there are bytes after the end of its age payload.");
        }
        return new DamagedArchive(this.#subject, "altered", `was altered: ${this.#where()} is not authentic.`);
    }
    #badEnd(sealed) {
        const boundary = sealed.length === SEALED_CHUNK && this.#open(sealed, false) !== undefined;
        if (boundary || sealed.length < TAG) {
            return new DamagedArchive(this.#subject, "truncated", "is truncated: the last chunk of its age payload is absent.");
        }
        return new DamagedArchive(this.#subject, "altered", `is truncated or was altered: ${this.#where()}, the last one, is not authentic.`);
    }
    #where() {
        return `chunk ${this.#counter + 1} of its age payload`;
    }
}

// EXTERNAL MODULE: external "node:util"
var external_node_util_ = __webpack_require__(7975);
// EXTERNAL MODULE: external "node:zlib"
var external_node_zlib_ = __webpack_require__(8522);
;// CONCATENATED MODULE: ./build/src/archive/frames.js




/** Raw bytes in each frame but the last, unless the caller says otherwise. */
const DEFAULT_FRAME_BYTES = 4 * 2 ** 20;
/** zstd's own default: on mixed data it is the last level that keeps up with a fast disk. */
const DEFAULT_LEVEL = 3;
/**
 * How many frames are worked on at the same time: one per core and one that waits. libuv's thread pool has four
 * threads, so more than five frames would only take memory.
 */
const FRAMES_IN_FLIGHT = Math.min((0,external_node_os_.availableParallelism)(), 4) + 1;
const compress = (0,external_node_util_.promisify)(external_node_zlib_.zstdCompress);
/**
 * Cuts a stream of bytes into frames of `frameBytes` and compresses each on the thread pool, several at a time;
 * yields the compressed frames in order. Each is a whole zstd frame (RFC 8878) with its content size and a
 * checksum, so one after the other they are a valid zstd file. An empty source gives one empty frame.
 *
 * One `zstdCompress` per frame is used because Node's zstd stream has a single thread at its disposal. Measured on two
 * cores with half-compressible data: 870 MB/s, but 450 MB/s with Node's default output chunks of 16 KiB.
 */
async function* compressFrames(source, options) {
    const { frameBytes, level, inFlight: most = FRAMES_IN_FLIGHT, onRaw } = options;
    const idle = [];
    const inFlight = [];
    let frame = Buffer.allocUnsafeSlow(frameBytes);
    let filled = 0;
    function start() {
        const buffer = frame;
        const raw = buffer.subarray(0, filled);
        onRaw?.(raw);
        const work = compressFrame(raw, level).finally(() => idle.push(buffer));
        // The generator awaits them in order: one that fails meanwhile must not count as unhandled.
        work.catch(() => undefined);
        inFlight.push(work);
        filled = 0;
    }
    try {
        for await (const chunk of source) {
            let offset = 0;
            while (offset < chunk.length) {
                if (filled === frameBytes) {
                    start();
                    if (inFlight.length >= most)
                        yield await inFlight.shift();
                    frame = idle.pop() ?? Buffer.allocUnsafeSlow(frameBytes);
                }
                const count = Math.min(chunk.length - offset, frameBytes - filled);
                frame.set(count === chunk.length ? chunk : chunk.subarray(offset, offset + count), filled);
                filled += count;
                offset += count;
            }
        }
        start();
        while (inFlight.length > 0)
            yield await inFlight.shift();
    }
    finally {
        await Promise.allSettled(inFlight);
    }
}
async function compressFrame(raw, level) {
    const compressed = await compress(raw, {
        // Room for the worst case, so that the whole frame is one visit to the thread pool.
        chunkSize: raw.length + (raw.length >>> 8) + 512,
        pledgedSrcSize: raw.length,
        params: {
            [external_node_zlib_.constants.ZSTD_c_compressionLevel]: level,
            [external_node_zlib_.constants.ZSTD_c_checksumFlag]: 1,
            [external_node_zlib_.constants.ZSTD_c_contentSizeFlag]: 1,
        },
    });
    // The result is a view on that room. Who collects many small frames must not hold 4 MiB for each.
    if (compressed.length >= raw.length / 2)
        return compressed;
    const own = Buffer.from(compressed);
    release(compressed);
    return own;
}

;// CONCATENATED MODULE: ./build/src/archive/pack.js




/** How the name of a packed object ends. */
function packedSuffix(recipients) {
    return recipients.length > 0 ? ".zst.age" : ".zst";
}
/**
 * Packs a stream: cut into frames, each compressed with zstd on the thread pool, sealed with age when there are
 * recipients. `age -d | zstd -d` opens the result. Memory is bounded whatever the source's size.
 */
function pack(source, options) {
    let result;
    async function* run() {
        const { recipients, signal, hashRaw = true, frameBytes = DEFAULT_FRAME_BYTES, level = DEFAULT_LEVEL, inFlight, } = options;
        const raw = new Meter();
        const stored = new Meter();
        const frames = [];
        let rawBytes = 0;
        const compressed = compressFrames(abortable(source, signal), {
            frameBytes,
            level,
            inFlight,
            onRaw(frame) {
                rawBytes += frame.length;
                if (hashRaw)
                    raw.add(frame);
            },
        });
        const sealed = recipients.length > 0;
        const measured = recordLengths(compressed, frames, sealed);
        for await (const piece of sealed ? sealStream(measured, recipients) : measured) {
            stored.add(piece);
            yield piece;
        }
        result = {
            rawBytes,
            rawSha256: hashRaw ? raw.sha256() : "",
            storedBytes: stored.bytes,
            storedSha256: stored.sha256(),
            frameBytes,
            frames,
            sealed,
        };
    }
    return {
        stream: run(),
        result() {
            if (result === undefined)
                throw new Error("pack: result() was called before the stream ended");
            return result;
        },
    };
}
/** `last`: who reads the frames is done with one when it asks for the next. */
async function* recordLengths(frames, lengths, last) {
    for await (const frame of frames) {
        lengths.push(frame.length);
        yield frame;
        if (last)
            release(frame);
    }
}

;// CONCATENATED MODULE: ./build/src/archive/frame-walker.js

/*
 * Where a zstd frame ends, without decompressing it (RFC 8878, section 3.1.1 and 3.1.2); whether its content is right is for
 * zstd to say. Node's own decompressors cannot be
 * asked: given several frames they silently stop after the first one or refuse the second, depending on how the input
 * is cut into chunks (seen with Node 24.21).
 */
const FRAME_MAGIC = 0xfd2fb528;
const SKIPPABLE_MAGIC = 0x184d2a50;
const DICTIONARY_ID_BYTES = [0, 1, 2, 4];
const CONTENT_SIZE_BYTES = [0, 2, 4, 8];
const RLE_BLOCK = 1;
/** Walks over the bytes of one frame, in pieces of any size. */
class FrameWalker {
    #subject;
    #first;
    #bytes = Buffer.alloc(14);
    #field = "magic";
    /** How many bytes of the field are there, and how many it has. */
    #have = 0;
    #want = 4;
    /** Bytes of content to pass over before the field. */
    #pass = 0;
    #descriptor = 0;
    #skippable = false;
    #headerRead = false;
    #contentBytes;
    /** `first`: whether it is the first frame of its file. */
    constructor(subject, first) {
        this.#subject = subject;
        this.#first = first;
    }
    /** Whether the frame is complete. */
    get ended() {
        return this.#field === "end" && this.#pass === 0;
    }
    /** Whether its header has been read. */
    get headerRead() {
        return this.#headerRead;
    }
    /** Whether it is a frame that holds no data. */
    get skippable() {
        return this.#skippable;
    }
    /** Size of its content after decompression, when its header says so. */
    get contentBytes() {
        return this.#contentBytes;
    }
    /**
     * Walks on from `offset`; returns the offset after the last byte that belongs to this frame.
     * @throws DamagedArchive when the bytes are not a zstd frame.
     */
    walk(chunk, offset) {
        let at = offset;
        while (!this.ended) {
            const passed = Math.min(this.#pass, chunk.length - at);
            this.#pass -= passed;
            at += passed;
            if (this.#pass > 0 || this.#field === "end")
                break;
            while (this.#have < this.#want && at < chunk.length) {
                this.#bytes[this.#have] = chunk[at];
                this.#have += 1;
                at += 1;
            }
            if (this.#have < this.#want)
                break;
            this.#read();
        }
        return at;
    }
    #expect(field, bytes) {
        this.#field = field;
        this.#have = 0;
        this.#want = bytes;
    }
    #read() {
        switch (this.#field) {
            case "magic":
                this.#readMagic();
                break;
            case "skippable-size":
                this.#pass = this.#bytes.readUInt32LE(0);
                this.#headerRead = true;
                this.#expect("end", 0);
                break;
            case "descriptor":
                this.#readDescriptor();
                break;
            case "header":
                this.#readHeader();
                break;
            case "block":
                this.#readBlock();
                break;
            default:
                this.#expect("end", 0);
        }
    }
    #readMagic() {
        const magic = this.#bytes.readUInt32LE(0);
        this.#skippable = (magic & 0xfffffff0) === SKIPPABLE_MAGIC;
        if (this.#skippable) {
            this.#expect("skippable-size", 4);
        }
        else if (magic === FRAME_MAGIC) {
            this.#expect("descriptor", 1);
        }
        else if (this.#first) {
            throw new DamagedArchive(this.#subject, "foreign", "is not a zstd archive: it does not start with a zstd frame.");
        }
        else {
            throw new DamagedArchive(this.#subject, "altered", "was altered: there is something else where a zstd frame should start.");
        }
    }
    #readDescriptor() {
        this.#descriptor = this.#bytes.readUInt8(0);
        const windowBytes = this.#singleSegment() ? 0 : 1;
        this.#expect("header", windowBytes + this.#dictionaryIdBytes() + this.#contentSizeBytes());
    }
    #readHeader() {
        const at = (this.#singleSegment() ? 0 : 1) + this.#dictionaryIdBytes();
        const bytes = this.#contentSizeBytes();
        if (bytes === 1)
            this.#contentBytes = this.#bytes.readUInt8(at);
        if (bytes === 2)
            this.#contentBytes = this.#bytes.readUInt16LE(at) + 256;
        if (bytes === 4)
            this.#contentBytes = this.#bytes.readUInt32LE(at);
        if (bytes === 8)
            this.#contentBytes = Number(this.#bytes.readBigUInt64LE(at));
        this.#headerRead = true;
        this.#expect("block", 3);
    }
    #readBlock() {
        const header = this.#bytes.readUIntLE(0, 3);
        const type = (header >> 1) & 3;
        this.#pass = type === RLE_BLOCK ? 1 : header >> 3;
        if ((header & 1) === 0)
            this.#expect("block", 3);
        else if ((this.#descriptor & 0b100) !== 0)
            this.#expect("checksum", 4);
        else
            this.#expect("end", 0);
    }
    #singleSegment() {
        return (this.#descriptor & 0b100000) !== 0;
    }
    #dictionaryIdBytes() {
        return DICTIONARY_ID_BYTES[this.#descriptor & 3];
    }
    #contentSizeBytes() {
        const flag = this.#descriptor >> 6;
        return flag === 0 && this.#singleSegment() ? 1 : CONTENT_SIZE_BYTES[flag];
    }
}

// EXTERNAL MODULE: external "node:stream"
var external_node_stream_ = __webpack_require__(7075);
// EXTERNAL MODULE: external "node:stream/promises"
var promises_ = __webpack_require__(6466);
;// CONCATENATED MODULE: ./build/src/archive/unframe.js








const decompress = (0,external_node_util_.promisify)(external_node_zlib_.zstdDecompress);
/** Frames up to this content are decompressed whole and in parallel; larger ones, or of unknown size, as a stream. */
const MAX_WHOLE_FRAME = 16 * 2 ** 20;
/** zstd never makes data longer than by this; a frame that is, could fill memory. */
const MAX_WHOLE_COMPRESSED = MAX_WHOLE_FRAME + MAX_WHOLE_FRAME / 128;
const STREAM_CHUNK = 2 ** 20;
/**
 * Decompresses a zstd file of one or more frames. Frames that say their size are decompressed on the thread pool,
 * several at a time; output is in order. Memory is bounded whatever the input claims.
 *
 * `lengths`, when known, are the compressed lengths that the frames must have.
 * @throws DamagedArchive for everything that is wrong with the bytes.
 */
async function* decompressFrames(source, subject, lengths) {
    const reader = new FrameReader(source, subject);
    const inFlight = [];
    let frames = 0;
    try {
        while (await reader.open()) {
            const { contentBytes, skippable } = reader.walker;
            if (!skippable && contentBytes !== undefined && contentBytes <= MAX_WHOLE_FRAME) {
                const compressed = await gather(reader.body(), subject);
                const work = decompressWhole(compressed, contentBytes, subject);
                work.catch(() => undefined);
                inFlight.push(work);
                if (inFlight.length >= FRAMES_IN_FLIGHT)
                    yield await inFlight.shift();
            }
            else {
                while (inFlight.length > 0)
                    yield await inFlight.shift();
                yield* decompressLarge(reader.body(), skippable, subject);
            }
            if (lengths !== undefined && lengths[frames] !== reader.length) {
                throw new DamagedArchive(subject, "altered", `was altered: its zstd frame ${frames + 1} has ${reader.length} bytes, ${lengths[frames] ?? "none"} were recorded when it was written.`);
            }
            frames += 1;
        }
        while (inFlight.length > 0)
            yield await inFlight.shift();
    }
    finally {
        await Promise.allSettled(inFlight);
    }
    if (frames < (lengths?.length ?? 1)) {
        const what = frames === 0
            ? "is empty: nothing of what was written is there."
            : `is truncated: zstd frame ${frames + 1} and what follows is absent.`;
        throw new DamagedArchive(subject, "truncated", what);
    }
}
/** Cuts a stream into frames. */
class FrameReader {
    #source;
    #subject;
    #chunk = new Uint8Array(0);
    #offset = 0;
    #first = true;
    #start = [];
    walker;
    /** Bytes of the current frame that were read. */
    length = 0;
    constructor(source, subject) {
        this.#source = source[Symbol.asyncIterator]();
        this.#subject = subject;
        this.walker = new FrameWalker(subject, true);
    }
    /** Reads the next frame's header; false at the end of the source. */
    async open() {
        if (!(await this.#more()))
            return false;
        this.walker = new FrameWalker(this.#subject, this.#first);
        this.#first = false;
        this.length = 0;
        this.#start = [];
        do
            this.#start.push(await this.#walk());
        while (!this.walker.headerRead);
        return true;
    }
    /** The whole frame, header included. */
    async *body() {
        yield* this.#start;
        while (!this.walker.ended)
            yield await this.#walk();
    }
    async #walk() {
        if (!(await this.#more())) {
            throw new DamagedArchive(this.#subject, "truncated", "is truncated: it ends inside a zstd frame.");
        }
        const from = this.#offset;
        this.#offset = this.walker.walk(this.#chunk, from);
        this.length += this.#offset - from;
        return this.#chunk.subarray(from, this.#offset);
    }
    async #more() {
        while (this.#offset === this.#chunk.length) {
            const next = await this.#source.next();
            if (next.done === true)
                return false;
            this.#chunk = next.value;
            this.#offset = 0;
        }
        return true;
    }
}
async function gather(body, subject) {
    const pieces = [];
    let bytes = 0;
    for await (const piece of body) {
        bytes += piece.length;
        if (bytes > MAX_WHOLE_COMPRESSED) {
            throw new DamagedArchive(subject, "altered", "was altered: a zstd frame is longer than its content can be.");
        }
        pieces.push(piece);
    }
    return Buffer.concat(pieces, bytes);
}
/** That the content has the size that the header says is checked by zstd. */
async function decompressWhole(compressed, contentBytes, subject) {
    try {
        return await decompress(compressed, {
            // One byte more than needed: zlib sees in the same visit to the thread pool that there is nothing left.
            chunkSize: Math.max(64, contentBytes + 1),
            maxOutputLength: Math.max(1, contentBytes),
        });
    }
    catch (error) {
        throw damaged(error, subject);
    }
}
async function* decompressLarge(body, skippable, subject) {
    if (skippable) {
        for await (const _ of body)
            ;
        return;
    }
    const stream = (0,external_node_zlib_.createZstdDecompress)({ chunkSize: STREAM_CHUNK });
    const done = (0,promises_.pipeline)(external_node_stream_.Readable.from(body), stream);
    done.catch(() => undefined);
    try {
        yield* stream;
        await done;
    }
    catch (error) {
        throw /^Z(STD)?_/.test((0,errors/* codeOf */.$N)(error) ?? "") ? damaged(error, subject) : error;
    }
}
function damaged(cause, subject) {
    const reason = (0,errors/* codeOf */.$N)(cause) === "ZSTD_error_checksum_wrong"
        ? "the checksum of a zstd frame does not match"
        : "a zstd frame cannot be decompressed";
    return new DamagedArchive(subject, "altered", `was altered: ${reason}.`);
}

;// CONCATENATED MODULE: ./build/src/archive/known-frames.js




/**
 * Decompresses a zstd file whose frames have these lengths, several at a time and in order, with a second look at each that
 * seems damaged.
 * @throws DamagedArchive for everything that is wrong with the bytes.
 */
async function* decompressKnown(source, subject, lengths, look) {
    const take = cutter(source);
    const inFlight = [];
    let offset = 0;
    async function* finish(most) {
        while (inFlight.length > most) {
            const { plain, end } = await inFlight.shift();
            look.proven(end);
            yield plain;
        }
    }
    try {
        for (const [index, length] of lengths.entries()) {
            const at = offset;
            const compressed = await take(length);
            if (compressed.length < length) {
                const what = `is truncated: zstd frame ${index + 1} and what follows is absent.`;
                throw new DamagedArchive(subject, "truncated", what);
            }
            offset += length;
            const work = look
                .settle(at, compressed, (bytes) => openFrame(bytes, index, subject))
                .then((plain) => ({ plain, end: at + length }));
            work.catch(() => undefined);
            inFlight.push(work);
            yield* finish(FRAMES_IN_FLIGHT - 1);
        }
        yield* finish(0);
        if ((await take(1)).length > 0) {
            throw new DamagedArchive(subject, "altered", "was altered: there are bytes after its last zstd frame.");
        }
    }
    finally {
        await Promise.allSettled(inFlight);
    }
}
/** One frame, which must fill its bytes. */
async function openFrame(compressed, index, subject) {
    const walker = new FrameWalker(subject, index === 0);
    const end = walker.walk(compressed, 0);
    const { contentBytes } = walker;
    if (!walker.ended || end !== compressed.length || contentBytes === undefined) {
        throw new DamagedArchive(subject, "altered", `was altered: its zstd frame ${index + 1} has not the ${compressed.length} bytes that were recorded when it was written.`);
    }
    if (contentBytes > MAX_WHOLE_FRAME) {
        const what = `was altered: its zstd frame ${index + 1} is larger than any that is written.`;
        throw new DamagedArchive(subject, "altered", what);
    }
    return await decompressWhole(compressed, contentBytes, subject);
}
/** Cuts a stream into pieces of the lengths that are asked for; shorter ones at its end. */
function cutter(source) {
    const iterator = source[Symbol.asyncIterator]();
    let rest = new Uint8Array();
    return async (length) => {
        const piece = Buffer.allocUnsafeSlow(length);
        let filled = 0;
        while (filled < length) {
            if (rest.length === 0) {
                const next = await iterator.next();
                if (next.done === true)
                    break;
                rest = next.value;
                continue;
            }
            const part = rest.subarray(0, length - filled);
            piece.set(part, filled);
            filled += part.length;
            rest = rest.subarray(part.length);
        }
        return piece.subarray(0, filled);
    };
}

;// CONCATENATED MODULE: ./build/src/archive/unpack.js







/**
 * With another key nothing can be opened: so much is still read to tell that from an altered header by the digest.
 * A larger object is not fetched to its end for that.
 */
const WRONG_KEY_DRAIN = 64 * 2 ** 20;
/**
 * The raw bytes of what {@link import("./pack.ts").pack} or `zstd | age` made, in order. Frames are decompressed in
 * parallel; memory is bounded. Digest and length are only known at the end: what was read is proven when the
 * iteration has ended without an error, not before.
 * @throws DamagedArchive (a DefectError) naming the subject for everything that is wrong with the bytes; UserError
 * when it is sealed and there is no usable identity; AbortedError; and what the source throws.
 */
async function* unpack(source, options) {
    const { subject, sealed, identity, frames, signal } = options;
    if (sealed && (identity === undefined || identity.trim() === "")) {
        throw new errors/* UserError */.yo(`${subject} is sealed with age: give the private key (AGE-SECRET-KEY-1…) as encryption.identity of its store.`);
    }
    const known = frames?.length === 0 ? undefined : frames;
    const { reread } = options;
    const inPieces = reread !== undefined && (sealed || known !== undefined);
    const intake = new Intake(abortable(source, signal), inPieces);
    const look = inPieces
        ? secondLook(subject, reread, (end) => intake.proven(end), (offset, bytes) => intake.mend(offset, bytes))
        : ONE_LOOK;
    try {
        if (inPieces && !sealed)
            yield* decompressKnown(intake, subject, known ?? [], look);
        else {
            const opened = sealed ? openStream(intake, identity ?? "", subject, look) : intake;
            yield* decompressFrames(opened, subject, known);
        }
        intake.settle();
        const difference = compare(intake, options);
        // Some bits mean nothing to those who open the pieces.
        if (difference !== undefined && !(await isWholeAfterAll(difference, options)))
            throw difference;
    }
    catch (error) {
        if (!(error instanceof DamagedArchive))
            throw error;
        await intake.drain(error.kind === "wrong-key" ? WRONG_KEY_DRAIN : Number.POSITIVE_INFINITY);
        throw compare(intake, options) ?? error;
    }
    finally {
        await intake.close();
    }
}
const REREAD_BYTES = 8 * 2 ** 20;
/** Whether another reading of the whole object gives its digest. */
async function isWholeAfterAll(difference, options) {
    const { subject, storedBytes = 0, storedSha256, reread, signal } = options;
    if (difference.kind === "truncated" || reread === undefined || storedSha256 === undefined)
        return false;
    return await readSettled(subject, async (tap) => {
        const meter = new Meter();
        async function* whole(read) {
            for (let at = 0; at < storedBytes; at += REREAD_BYTES) {
                yield await read(at, Math.min(REREAD_BYTES, storedBytes - at));
            }
        }
        for await (const chunk of abortable(tap(whole(reread)), signal))
            meter.add(chunk);
        if (meter.sha256() !== storedSha256.toLowerCase())
            throw difference;
        return true;
    });
}
/** How the stored bytes differ from what was recorded when they were written. */
function compare(intake, options) {
    const { subject, storedBytes, storedSha256 } = options;
    if (!intake.ended)
        return undefined;
    const { bytes } = intake.meter;
    if (storedBytes !== undefined && bytes < storedBytes) {
        return new DamagedArchive(subject, "truncated", `is truncated: ${bytes} of the ${storedBytes} bytes that were written are there.`);
    }
    if (storedBytes !== undefined && bytes > storedBytes) {
        return new DamagedArchive(subject, "altered", `was altered: it has ${bytes} bytes, but ${storedBytes} were written.`);
    }
    if (storedSha256 !== undefined && intake.meter.sha256() !== storedSha256.toLowerCase()) {
        return new DamagedArchive(subject, "altered", `was altered: its SHA-256 is not the one recorded when it was written (${storedSha256}).`);
    }
    return undefined;
}
/**
 * The stored bytes on their way in: measured, and still readable after whoever reads them gave up. With `lagging`, they are
 * measured when they are proven, so that they can be mended until then.
 */
class Intake {
    meter = new Meter();
    #source;
    #unproven = [];
    #lagging;
    ended = false;
    constructor(source, lagging) {
        this.#source = source;
        this.#lagging = lagging;
    }
    [Symbol.asyncIterator]() {
        // No `return`: leaving the loop does not close the source.
        return { next: () => this.#next() };
    }
    async #next() {
        const next = await this.#source.next();
        if (next.done === true)
            this.ended = true;
        else if (this.#lagging)
            this.#unproven.push(next.value);
        else
            this.meter.add(next.value);
        return next;
    }
    proven(end) {
        for (let left = end - this.meter.bytes; left > 0;) {
            const chunk = this.#unproven.shift();
            if (chunk === undefined)
                return;
            const piece = chunk.subarray(0, left);
            this.meter.add(piece);
            left -= piece.length;
            if (piece.length < chunk.length)
                this.#unproven.unshift(chunk.subarray(piece.length));
        }
    }
    /** Puts the right bytes in the place of those that arrived wrong. */
    mend(offset, bytes) {
        let at = this.meter.bytes;
        for (const chunk of this.#unproven) {
            const from = Math.max(at, offset);
            const to = Math.min(at + chunk.length, offset + bytes.length);
            if (from < to)
                chunk.set(bytes.subarray(from - offset, to - offset), from - at);
            at += chunk.length;
        }
    }
    /** Measures everything that arrived, proven or not. */
    settle() {
        this.#lagging = false;
        this.proven(Number.POSITIVE_INFINITY);
    }
    /** Reads on for the digest's sake, at most so many bytes; a source that fails now changes nothing. */
    async drain(limit) {
        this.settle();
        const start = this.meter.bytes;
        try {
            while (!this.ended && this.meter.bytes - start <= limit)
                await this.#next();
        }
        catch (error) {
            if (error instanceof errors/* AbortedError */.oM)
                throw error;
        }
    }
    async close() {
        await this.#source.return?.();
    }
}

;// CONCATENATED MODULE: ./build/src/stores/read-exactly.js

/** Collects a body of a known length in one buffer; a body that is shorter or longer is a ToolError. */
async function readExactly(body, length, subject) {
    const buffer = Buffer.allocUnsafeSlow(length);
    let filled = 0;
    for await (const chunk of body) {
        if (filled + chunk.byteLength > length)
            throw unexpected(subject, `more than ${length}`, length);
        buffer.set(chunk, filled);
        filled += chunk.byteLength;
    }
    if (filled !== length)
        throw unexpected(subject, String(filled), length);
    return buffer;
}
function unexpected(subject, got, length) {
    return new errors/* ToolError */.v4(`Reading ${subject} gave ${got} bytes where ${length} were asked for: try again.`);
}

;// CONCATENATED MODULE: ./build/src/stores/ranges.js


const RANGE_BYTES = 8 * 2 ** 20;
const ranges_PARALLEL = 4;
/**
 * The bytes of an object in order, fetched by several range requests at once. When the consumer stops early or a
 * range fails, every request ends. Throws what {@link Store.get} throws, so a DefectError for an object that is
 * shorter than `bytes`.
 */
async function* getParallel(store, key, options) {
    const { bytes, rangeBytes = RANGE_BYTES, parallel = ranges_PARALLEL } = options;
    const stop = new AbortController();
    const signal = (0,signals/* anySignal */.JG)(options.signal, stop.signal);
    function fetchRange(offset) {
        return getRange(store, key, { offset, length: Math.min(rangeBytes, bytes - offset) }, signal);
    }
    const pending = [];
    let offset = 0;
    try {
        // An object of no bytes is still asked for: it may be missing.
        if (bytes === 0)
            await fetchRange(0);
        while (offset < bytes || pending.length > 0) {
            while (offset < bytes && pending.length < parallel) {
                const range = fetchRange(offset);
                // It is awaited in its turn; until then its failure must not count as unhandled.
                range.catch(() => undefined);
                pending.push(range);
                offset += rangeBytes;
            }
            const next = await pending[0];
            if (next !== undefined)
                yield next;
            pending.shift();
        }
    }
    finally {
        stop.abort();
        await Promise.allSettled(pending);
    }
}
/** These bytes of an object. Throws what {@link Store.get} throws. */
async function getRange(store, key, range, signal) {
    return readExactly(await store.get(key, { signal, range }), range.length, store.describe(key));
}

;// CONCATENATED MODULE: ./build/src/postgres/census/document.js

/**
 * The census: what the source was like when a backup was taken. Written as `census.json.zst[.age]` beside the backup.
 * It holds names, definitions and numbers of rows, never what is in a table. LSNs are spelled `0/1A2B3C4D`, times are
 * RFC 3339 in UTC from the server's clock.
 */
/**
 * Between these positions of the WAL the objects were seen unchanged: they were the same in a look before `from` and
 * in one after `to`.
 */
const steady = schemas/* object */.Ikc({ from: schemas/* string */.YjP(), to: schemas/* string */.YjP() });
const schemaObject = schemas/* object */.Ikc({
    /** `table`, `column`, `index`, `role`, …: for people. */
    kind: schemas/* string */.YjP(),
    /** Quoted where SQL wants it, with its schema and table. */
    name: schemas/* string */.YjP(),
    /** SQL or words; of functions and views the SHA-256. */
    definition: schemas/* string */.YjP(),
    oid: schemas/* string */.YjP().optional(),
    /** The table that it belongs to. */
    of: schemas/* string */.YjP().optional(),
    /** A state that the source itself has. */
    flaw: schemas/* enum */.k5n(["invalid", "not valid", "unpopulated"]).optional(),
});
const tableRows = schemas/* union */.KCZ([
    schemas/* object */.Ikc({ table: schemas/* string */.YjP(), rows: schemas/* number */.aig() }),
    schemas/* object */.Ikc({ table: schemas/* string */.YjP(), notCaptured: schemas/* string */.YjP() }),
]);
const sequence = schemas/* object */.Ikc({
    name: schemas/* string */.YjP(),
    /** Null when the role may not read it, or when it was never used. */
    lastValue: schemas/* string */.YjP().nullable(),
    isCalled: schemas/* boolean */.zMY().nullable(),
    /** Whether it would next give a value that its column has or has passed; null when that is unknown. */
    behind: schemas/* boolean */.zMY().nullable(),
});
const databaseCensus = schemas/* object */.Ikc({
    name: schemas/* string */.YjP(),
    /** When and where its snapshot was taken. */
    capturedAt: schemas/* string */.YjP(),
    lsn: schemas/* string */.YjP(),
    steady,
    objects: schemas/* array */.YOg(schemaObject),
    sequences: schemas/* array */.YOg(sequence),
    rows: schemas/* array */.YOg(tableRows),
});
const census = schemas/* object */.Ikc({
    schema: schemas/* literal */.euz("drillbook/postgres-census/v1"),
    backupId: schemas/* string */.YjP(),
    roles: schemas/* object */.Ikc({ steady, objects: schemas/* array */.YOg(schemaObject) }),
    databases: schemas/* array */.YOg(schemas/* union */.KCZ([databaseCensus, schemas/* object */.Ikc({ name: schemas/* string */.YjP(), notCaptured: schemas/* string */.YjP() })])),
    /** What the tables of the runbook's `rows` checks are in full; null when there is no such table. */
    tables: schemas/* record */.g1P(schemas/* string */.YjP(), schemas/* string */.YjP().nullable()),
});
/** The census of one database; undefined when it was not captured. */
function censusOf(document, database) {
    const found = document?.databases.find((one) => one.name === database);
    return found === undefined || "notCaptured" in found ? undefined : found;
}

;// CONCATENATED MODULE: ./build/src/postgres/census/store.js








const NAME = "census.json";
/** Writes the census beside its backup, sealed like everything else that may hold names. */
async function writeCensus({ name, store, encryption }, document, signal) {
    const { recipients } = encryption;
    const object = `${NAME}${packedSuffix(recipients)}`;
    const packed = pack(linesOf(document), { recipients, signal });
    await store.put((0,layout/* objectKey */.T5)(name, document.backupId, object), packed.stream, { signal });
    const { sealed, rawBytes, storedBytes, storedSha256, frameBytes, frames } = packed.result();
    return { name: object, role: "file", sealed, rawBytes, storedBytes, storedSha256, frameBytes, frames };
}
/** JSON with a line for each object, so that two censuses can be compared with the usual tools. */
async function* linesOf(document) {
    const { databases, ...rest } = document;
    const head = JSON.stringify({ ...rest, databases: [] }).replace(/\]\}$/, "");
    yield Buffer.from(`${head}\n`);
    for (const [index, database] of databases.entries()) {
        const lists = Object.entries(database).filter(([, value]) => Array.isArray(value));
        const plain = Object.fromEntries(Object.entries(database).filter(([, value]) => !Array.isArray(value)));
        yield Buffer.from(`${index === 0 ? "" : ","}${JSON.stringify(plain).replace(/\}$/, "")}`);
        for (const [key, list] of lists) {
            const rows = list.map((one) => JSON.stringify(one));
            yield Buffer.from(`,\n${JSON.stringify(key)}:[\n${rows.join(",\n")}]`);
        }
        yield Buffer.from("}\n");
    }
    yield Buffer.from("]}\n");
}
/** The census of a backup; undefined when none was taken. Throws a {@link DefectError} when it is damaged. */
async function readCensus({ name, store, encryption }, manifest, signal) {
    const object = manifest.objects.find((one) => one.name.startsWith(`${NAME}.`));
    if (object === undefined)
        return undefined;
    const key = (0,layout/* objectKey */.T5)(name, manifest.id, object.name);
    const subject = store.describe(key);
    const { sealed, frames, storedSha256, storedBytes } = object;
    const identity = sealed ? encryption.identity() : undefined;
    let bytes;
    try {
        bytes = await readSettled(subject, async (tap) => {
            const stored = tap(getParallel(store, key, { bytes: storedBytes, signal }));
            return await (0,stores_store/* readAll */.yw)(unpack(stored, { subject, sealed, identity, frames, storedSha256, storedBytes, signal }));
        });
    }
    catch (error) {
        if (!(error instanceof stores_store/* ObjectMissing */.GV))
            throw error;
        const message = `${subject} is missing: the backup ${manifest.id} is incomplete.`;
        throw new errors/* DefectError */.uR(subject, message, { cause: error });
    }
    const parsed = census.safeParse(JSON.parse(bytes.toString("utf8")));
    if (parsed.success && parsed.data.backupId === manifest.id)
        return parsed.data;
    throw new errors/* DefectError */.uR(subject, `${subject} is not the census of the backup ${manifest.id}.`);
}

;// CONCATENATED MODULE: ./build/src/postgres/details.js




/**
 * `details` of a physical backup's manifest: what recovery and people need to know of the cluster. Times are
 * RFC 3339 in UTC with microseconds (`2026-01-25T12:00:00.123456Z`), taken from the server's clock; LSNs are spelled
 * `0/1A2B3C4D`.
 */
const database = schemas/* object */.Ikc({
    name: schemas/* string */.YjP(),
    encoding: schemas/* string */.YjP(),
    /** `libc`, `icu` or `builtin`. */
    localeProvider: schemas/* string */.YjP(),
    collate: schemas/* string */.YjP(),
    ctype: schemas/* string */.YjP(),
    /** The locale of the providers `icu` and `builtin`. */
    locale: schemas/* string */.YjP().nullable(),
    /** Version of the collation library that the database's indexes were built with. */
    collationVersion: schemas/* string */.YjP().nullable(),
});
const postgresDetails = schemas/* object */.Ikc({
    systemIdentifier: schemas/* string */.YjP(),
    /** `17.5` */
    serverVersion: schemas/* string */.YjP(),
    /** `170005` */
    serverVersionNum: schemas/* number */.aig(),
    /** `17` */
    major: schemas/* number */.aig(),
    timeline: schemas/* number */.aig(),
    /** Where recovery starts to read WAL. */
    startLsn: schemas/* string */.YjP(),
    /** Recovery is consistent from here on; of a backup that was taken from a standby it may be a little earlier. */
    stopLsn: schemas/* string */.YjP(),
    fromStandby: schemas/* boolean */.zMY().optional(),
    /** Everything that was committed before is in the backup. */
    startTime: schemas/* string */.YjP(),
    /** Not before the backup's real end: a time target must be later. */
    stopTime: schemas/* string */.YjP(),
    /** Which transactions had ended at `stopTime`, as `pg_current_snapshot()` spells it; absent in older manifests. */
    stopSnapshot: schemas/* string */.YjP().optional(),
    walSegmentBytes: schemas/* number */.aig(),
    /** Bytes of all archives before compression; recovery needs at least so much disk. */
    dataBytes: schemas/* number */.aig(),
    /** `oid` names the archive (`<oid>.tar.zst`) and the link below `pg_tblspc`. Empty when there are none. */
    tablespaces: schemas/* array */.YOg(schemas/* object */.Ikc({ oid: schemas/* string */.YjP(), location: schemas/* string */.YjP(), bytes: schemas/* number */.aig() })),
    dataChecksums: schemas/* boolean */.zMY(),
    /** Name of the role with oid 10. */
    bootstrapSuperuser: schemas/* string */.YjP(),
    /** Where the runbook's checks run: the database of the source's connection. */
    database: schemas/* string */.YjP(),
    databases: schemas/* array */.YOg(database),
    /** Extensions of `database`. */
    extensions: schemas/* array */.YOg(schemas/* object */.Ikc({ name: schemas/* string */.YjP(), version: schemas/* string */.YjP() })),
    /** Settings of the source by name, such as `max_connections`; one that may not be read is absent. */
    settings: schemas/* record */.g1P(schemas/* string */.YjP(), schemas/* string */.YjP()),
    restorePoint: restorePoint.nullable(),
    /**
     * Number of the WAL segment with which this backup began a new chain, because the server no longer had what lies
     * before it; absent when the chain goes on.
     */
    newChain: schemas/* number */.aig().optional(),
});
/**
 * The end of the WAL without which no recovery of a backup can end. A server that recovers a standby's backup notices
 * that it is consistent only with the record that follows.
 */
function endOfNeededWal(details) {
    return lsn(details.stopLsn) + (details.fromStandby ? 1n : 0n);
}
/** The details of a backup of PostgreSQL; `subject` names its manifest in the DefectError. */
function readDetails(manifest, subject) {
    const parsed = postgresDetails.safeParse(manifest.details);
    if (parsed.success)
        return parsed.data;
    const issue = parsed.error.issues[0];
    throw new errors/* DefectError */.uR(subject, `${subject} does not describe a PostgreSQL backup: ${issue?.path.join(".") ?? "details"}: ${issue?.message ?? "unreadable"}.`);
}

;// CONCATENATED MODULE: ./build/src/progress.js

const progress_EVERY_MS = 5_000;
/** `totalBytes` may be an estimate: percent and ETA are left out once it is passed. */
function startProgress(context, label, totalBytes) {
    const startedAt = performance.now();
    let lastLine = startedAt;
    let bytes = 0;
    function line(now) {
        const seconds = Math.max((now - startedAt) / 1000, 0.001);
        const rate = bytes / seconds;
        const parts = [`${label}: ${(0,values/* formatBytes */.z3)(bytes)}`];
        if (totalBytes !== undefined && totalBytes >= bytes && bytes > 0) {
            parts.push(`${Math.floor((bytes / totalBytes) * 100)} % of about ${(0,values/* formatBytes */.z3)(totalBytes)}`);
            parts.push(`ETA ${(0,values/* formatDuration */.a3)((totalBytes - bytes) / rate)}`);
        }
        parts.push(`${(0,values/* formatBytes */.z3)(rate)}/s`);
        return parts.join(", ");
    }
    return {
        add(more) {
            bytes += more;
            const now = performance.now();
            if (now - lastLine < progress_EVERY_MS)
                return;
            lastLine = now;
            context.log.info(line(now));
        },
        done() {
            const seconds = Math.max((performance.now() - startedAt) / 1000, 0.001);
            context.log.info(`${label}: ${(0,values/* formatBytes */.z3)(bytes)} in ${(0,values/* formatDuration */.a3)(seconds)} (${(0,values/* formatBytes */.z3)(bytes / seconds)}/s)`);
        },
    };
}

;// CONCATENATED MODULE: ./build/src/postgres/source/base-backup-messages.js

/** Types of messages within the copied data (manual of 15 and later: BASE_BACKUP in "Streaming Replication Protocol"). */
const NEW_ARCHIVE = 0x6e;
const MANIFEST = 0x6d;
const DATA = 0x64;
const PROGRESS = 0x70;
/** PostgreSQL 14 leaves it to the client to end a tar: two blocks of zeros. */
const TAR_END = Buffer.alloc(2 * 512);
/** The first major with one copy of typed messages; before it each archive and the manifest is a copy of its own. */
const TYPED_SINCE = 15;
/** The command that takes a base backup, in the words of the server's major version. */
function baseBackupCommand(major, label) {
    return major >= TYPED_SINCE
        ? `BASE_BACKUP ( LABEL '${label}', PROGRESS true, CHECKPOINT 'fast', WAIT false, MANIFEST 'yes', MANIFEST_CHECKSUMS 'SHA256' )`
        : `BASE_BACKUP LABEL '${label}' PROGRESS FAST NOWAIT MANIFEST 'yes' MANIFEST_CHECKSUMS 'SHA256'`;
}
/** The messages of the running command, in order. */
function readBackupMessages(session, major) {
    return major >= TYPED_SINCE ? readTyped(session) : readBare(session);
}
async function* readTyped(session) {
    for (let message = await session.next(); message !== undefined; message = await session.next()) {
        if (message[0] === DATA)
            yield { kind: "data", data: message.subarray(1) };
        else if (message[0] === NEW_ARCHIVE)
            yield { kind: "archive", archive: readArchiveName(message) };
        else if (message[0] === MANIFEST)
            yield { kind: "manifest" };
        else if (message[0] !== PROGRESS) {
            throw new errors/* ToolError */.v4(`The server sent a base backup message of the unknown type ${message[0]}.`);
        }
    }
}
/** The archive's name without `.tar`. */
function readArchiveName(message) {
    const name = message.toString("utf8", 1, message.indexOf(0, 1));
    const match = /^(base|\d+)\.tar$/.exec(name);
    if (match?.[1] === undefined)
        throw new errors/* ToolError */.v4(`The server named a base backup archive "${name}".`);
    return match[1];
}
/** The archives come in the order of the second result's rows, and the manifest after them. */
async function* readBare(session) {
    let copy = 0;
    let inArchive = false;
    for (let message = await session.next(); message !== undefined; message = await session.next()) {
        if (session.copies() === copy) {
            yield { kind: "data", data: message };
            continue;
        }
        if (inArchive)
            yield { kind: "data", data: TAR_END };
        copy += 1;
        const archives = session.results[1] ?? [];
        const space = archives[copy - 1];
        inArchive = space !== undefined;
        if (copy !== session.copies() || copy > archives.length + 1) {
            throw new errors/* ToolError */.v4(`The server sent ${session.copies()} copies for a base backup of ${archives.length} archives.`);
        }
        yield space === undefined ? { kind: "manifest" } : { kind: "archive", archive: space.spcoid ?? "base" };
        yield { kind: "data", data: message };
    }
    if (inArchive)
        throw new errors/* ToolError */.v4("The server sent no manifest of the base backup: run the backup again.");
}

;// CONCATENATED MODULE: ./build/src/postgres/source/base-backup.js








/** The object that holds the server's own manifest, stored as it is. */
const MANIFEST_NAME = "backup_manifest";
/**
 * Takes a base backup with a replication connection, straight into the store: an object for each tar archive
 * that the server sends, and its backup manifest with SHA-256 digests. Tablespaces stay symbolic links below
 * `pg_tblspc` in the archive of the data folder.
 */
async function takeBaseBackup(replication, target, major, context) {
    const label = `drillbook ${target.backupId}`;
    const session = replication.copy("taking the base backup", baseBackupCommand(major, label));
    const reader = new MessageReader(readBackupMessages(session, major));
    context.log.info("Base backup: waiting for the server's checkpoint.");
    await reader.peek();
    const [start, spaces] = session.results;
    const startLsn = need(start?.[0], "recptr");
    const timeline = Number(need(start?.[0], "tli"));
    // Sizes are KiB, estimated before the backup starts.
    const sizes = new Map((spaces ?? []).map((row) => [row.spcoid ?? "base", Number(row.size ?? 0) * 1024]));
    const total = [...sizes.values()].reduce((sum, bytes) => sum + bytes, 0);
    const progress = startProgress(context, "Base backup", total);
    const objects = [];
    for (let message = await reader.next(); message !== undefined; message = await reader.next()) {
        if (message.kind === "archive") {
            const { archive } = message;
            const expected = sizes.get(archive) ?? 0;
            objects.push(await storeArchive(reader, target, archive, expected, progress, context));
        }
        else if (message.kind === "manifest") {
            objects.push(await storeManifest(reader, target, context));
        }
        else {
            throw new errors/* ToolError */.v4("The server sent data of a base backup before it named an archive.");
        }
    }
    progress.done();
    const stop = session.results.at(-1)?.[0];
    const stopLsn = need(stop, "recptr");
    if (Number(need(stop, "tli")) !== timeline) {
        throw new errors/* ToolError */.v4("The server changed its timeline during the base backup: run the backup again.");
    }
    const rawBytes = new Map(objects.map((object) => [object.name.split(".")[0], object.rawBytes]));
    return {
        startLsn,
        stopLsn,
        timeline,
        objects,
        tablespaces: (spaces ?? [])
            .filter((row) => row.spcoid !== null && row.spcoid !== undefined)
            .map((row) => ({
            oid: need(row, "spcoid"),
            location: need(row, "spclocation"),
            bytes: rawBytes.get(need(row, "spcoid")) ?? 0,
        })),
        dataBytes: objects
            .filter((object) => object.role === "archive")
            .reduce((sum, object) => sum + object.rawBytes, 0),
    };
}
async function storeArchive(reader, target, archive, expectedBytes, progress, context) {
    const name = `${archive}.tar${packedSuffix(target.recipients)}`;
    const packed = pack(givenBack(reader.archive(progress)), {
        recipients: target.recipients,
        signal: context.signal,
        hashRaw: false,
    });
    const key = (0,layout/* objectKey */.T5)(target.component, target.backupId, name);
    // A tar's headers and padding come on top of the files.
    const expected = Math.ceil(expectedBytes * 1.05) + 2 ** 20;
    const written = await target.store.put(key, packed.stream, {
        signal: context.signal,
        expectedBytes: expected,
    });
    const result = packed.result();
    if (written !== result.storedBytes) {
        throw new errors/* ToolError */.v4(`${target.store.describe(key)} has ${written} bytes, but ${result.storedBytes} were sent: run the backup again.`);
    }
    return {
        name,
        role: "archive",
        sealed: result.sealed,
        rawBytes: result.rawBytes,
        storedBytes: result.storedBytes,
        storedSha256: result.storedSha256,
        frameBytes: result.frameBytes,
        frames: result.frames,
    };
}
/** `pack` has copied a chunk when it asks for the next. */
async function* givenBack(chunks) {
    for await (const chunk of chunks) {
        yield chunk;
        release(chunk);
    }
}
async function storeManifest(reader, target, context) {
    const hash = (0,external_node_crypto_.createHash)("sha256");
    let bytes = 0;
    async function* body() {
        for await (const chunk of reader.archive()) {
            hash.update(chunk);
            bytes += chunk.length;
            yield chunk;
        }
    }
    const key = (0,layout/* objectKey */.T5)(target.component, target.backupId, MANIFEST_NAME);
    await target.store.put(key, body(), { signal: context.signal });
    return {
        name: MANIFEST_NAME,
        role: "file",
        sealed: false,
        rawBytes: bytes,
        storedBytes: bytes,
        storedSha256: hash.digest("hex"),
        frameBytes: 0,
        frames: [],
    };
}
/** The messages in order, with a look at the next. */
class MessageReader {
    #messages;
    #ahead;
    constructor(messages) {
        this.#messages = messages;
    }
    async peek() {
        this.#ahead ??= { message: (await this.#messages.next()).value ?? undefined };
        return this.#ahead.message;
    }
    async next() {
        const message = await this.peek();
        this.#ahead = undefined;
        return message;
    }
    /** The data of one archive or of the manifest: up to the message that begins the next, or the end. */
    async *archive(progress) {
        for (;;) {
            const message = await this.peek();
            if (message?.kind !== "data")
                return;
            this.#ahead = undefined;
            progress?.add(message.data.length);
            yield message.data;
        }
    }
}

// EXTERNAL MODULE: external "node:timers/promises"
var external_node_timers_promises_ = __webpack_require__(8500);
;// CONCATENATED MODULE: ./build/src/postgres/source/standby.js






const LOOK_EVERY_MS = 250;
const LINE_EVERY_MS = 5_000;
const PATIENCE_MS = 5 * 60_000;
async function readRestartPoint(sql) {
    const [row] = await sql.query("reading its restart point", `SELECT redo_lsn, to_char(checkpoint_time AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"') AS time
     FROM pg_control_checkpoint()`);
    return { redo: need(row, "redo_lsn"), time: need(row, "time") };
}
/**
 * Where the WAL of a base backup begins at the earliest. The slot may be further, because its WAL went into another
 * store: then the server is made to keep what lies before it until the replication connection ends.
 */
async function keepFromRestartPoint(sql, replication, slot) {
    const { redo } = await readRestartPoint(sql);
    if (lsn(redo) >= lsn(slot.restartLsn))
        return slot.restartLsn;
    const name = `drillbook_${(0,external_node_crypto_.randomBytes)(6).toString("hex")}`;
    const doing = "keeping the WAL of its restart point";
    await replication.query(doing, `CREATE_REPLICATION_SLOT "${name}" TEMPORARY PHYSICAL RESERVE_WAL`);
    const [row] = await sql.query(doing, "SELECT restart_lsn FROM pg_replication_slots WHERE slot_name = $1", [
        name,
    ]);
    const kept = need(row, "restart_lsn");
    return lsn(kept) < lsn(slot.restartLsn) ? kept : slot.restartLsn;
}
/** A moment by the primary's clock, as near as a standby alone can tell: not before any commit that it has replayed. */
async function standbyTime(sql) {
    const [row] = await sql.query("reading its clock", `SELECT to_char(greatest(clock_timestamp(), pg_last_xact_replay_timestamp()) AT TIME ZONE 'UTC',
       'YYYY-MM-DD"T"HH24:MI:SS.US"Z"') AS time`);
    return need(row, "time");
}
async function readProgress(sql) {
    const [row] = await sql.query("reading how far it has come", `SELECT greatest(pg_last_wal_receive_lsn(), pg_last_wal_replay_lsn()) AS received,
       pg_last_wal_replay_lsn() AS replayed`);
    return { received: lsn(need(row, "received")), replayed: lsn(need(row, "replayed")) };
}
/**
 * Waits until the standby has received, or with `replayed` also replayed, all WAL before `position`. Throws a
 * {@link ToolError} when it brings nothing new for too long.
 */
async function waitForStandby(standby, position, what, context) {
    const { sql, patienceMs = PATIENCE_MS } = standby;
    let best = -1n;
    let since = performance.now();
    let nextLine = since + LINE_EVERY_MS;
    for (;;) {
        if (context.signal.aborted)
            throw new errors/* AbortedError */.oM();
        const reached = (await readProgress(sql))[what];
        if (reached >= position)
            return;
        if (reached > best) {
            best = reached;
            since = performance.now();
        }
        if (performance.now() - since > patienceMs)
            throw stuck(standby, position, reached, what, patienceMs);
        if (performance.now() >= nextLine) {
            nextLine += LINE_EVERY_MS;
            context.log.info(`Waiting until the standby at ${sql.endpoint.label} has ${what} WAL up to ${formatLsn(position)}: it is at ${formatLsn(reached)}`);
        }
        await (0,external_node_timers_promises_.setTimeout)(LOOK_EVERY_MS, undefined, { signal: context.signal }).catch(() => undefined);
    }
}
function stuck({ sql, primaryKnown }, position, reached, what, patienceMs) {
    const advice = primaryKnown
        ? "look whether it still follows its primary (pg_stat_wal_receiver) and whether its replay is paused or delayed"
        : "its primary has not filled that segment: name the primary as the component's key primary, or set archive_timeout there, such as 1min";
    return new errors/* ToolError */.v4(`The standby at ${sql.endpoint.label} has ${what} WAL up to ${formatLsn(reached)} and nothing more for ${(0,values/* formatDuration */.a3)(patienceMs / 1000)}, but the run needs it up to ${formatLsn(position)}: ${advice}.`);
}
/** A pull that does not wait for ever for WAL that the standby does not get. */
function watchPull(pull, standby, context) {
    const ended = new AbortController();
    let failure;
    const done = pull.done.catch((error) => {
        throw failure === undefined ? error : failure.error;
    });
    // Whoever waits for it sees the failure; until then it must not end the process.
    done.catch(() => undefined).finally(() => ended.abort());
    async function watch({ through }) {
        const { segmentBytes } = standby;
        const end = segmentStart(segmentBefore(through, segmentBytes) + 1, segmentBytes);
        const signal = AbortSignal.any([ended.signal, context.signal]);
        try {
            await waitForStandby(standby, end, "received", { signal, log: context.log });
        }
        catch (error) {
            if (signal.aborted)
                return;
            failure = { error };
            await pull.stop();
        }
    }
    return {
        ...pull,
        finish(goal) {
            pull.finish(goal);
            void watch(goal);
        },
        done,
    };
}

;// CONCATENATED MODULE: ./build/src/postgres/source/full-backup.js













/** How long the replay of a standby may stand still at the end of a run. */
const REPLAY_MS = 30_000;
/** How long the clean-up after a failure may take; a run that was stopped must end soon. */
const CLEAN_UP_MS = 3_000;
/** Takes a base backup while WAL is pulled; when anything fails, what it wrote under its own id is deleted. */
async function takeFullBackup(run, id, openReplication, context) {
    try {
        return await takeAndList(run, id, openReplication, context);
    }
    catch (error) {
        await removeUnlisted(run, id, context);
        throw error;
    }
}
async function takeAndList(run, id, openReplication, context) {
    const { setting, archive, sql, identity, writer, standby, pull } = run;
    const { name, store } = setting;
    const startedAt = context.now();
    const facts = await readSourceFacts(sql);
    // The base backup of a standby begins at its last restart point, however far it has replayed since.
    const startTime = standby === undefined ? await serverTime(sql) : (await readRestartPoint(sql)).time;
    const source = censusSource(run, id, facts.major, context);
    const look = source && (await lookAtObjects(source, "after"));
    const target = { store, component: name, backupId: id, recipients: archive.recipients };
    const base = await takeBase(run, await openReplication(), target, facts.major, context);
    // Read after the end, so no commit of the backup's own window is later than this.
    const stop = standby !== undefined && !standby.primaryKnown
        ? { time: await standbyTime(sql) }
        : await sourceMoment(writer.sql);
    const census = source && look && (await withPull(pull, takeCensus(source, look)));
    const began = performance.now();
    const needed = endOfNeededWal({ stopLsn: base.stopLsn, fromStandby: standby !== undefined });
    const point = await withPull(pull, markEnd(run, id.slice(-6), needed, context));
    const pulled = await pull.done;
    context.log.info(describePull(pulled, (performance.now() - began) / 1000));
    await assertWalComplete(run, base, point === undefined ? needed : lsn(point.lsn), context);
    const objects = [...base.objects];
    if (source !== undefined && census !== undefined) {
        if (standby !== undefined && point !== undefined)
            await replayPoint(standby, point, context);
        const whole = extendSteadiness(census, await lookAtObjects(source, "before"));
        objects.push(await writeCensus(setting, whole, context.signal));
    }
    const details = {
        ...facts,
        systemIdentifier: identity.systemIdentifier,
        timeline: base.timeline,
        startLsn: base.startLsn,
        stopLsn: base.stopLsn,
        fromStandby: standby !== undefined,
        startTime,
        stopTime: stop.time,
        stopSnapshot: stop.snapshot,
        walSegmentBytes: identity.walSegmentBytes,
        dataBytes: base.dataBytes,
        tablespaces: [...base.tablespaces],
        restorePoint: point ?? null,
        newChain: pulled.newChain,
    };
    const manifest = {
        schema: "drillbook/backup-manifest/v1",
        id,
        service: setting.service,
        component: name,
        type: "postgres",
        method: "physical",
        startedAt: startedAt.toISOString(),
        finishedAt: context.now().toISOString(),
        objects,
        details,
    };
    await assertObjectsStored(run, manifest, context);
    const key = (0,layout/* manifestKey */.Rn)(name, id);
    await run.lease.assertHeld(context.signal);
    if (!(await store.create(key, (0,documents/* encodeDocument */.K)(manifest), context.signal))) {
        throw new errors/* ToolError */.v4(`${store.describe(key)} exists already: run the backup again.`);
    }
    await assertStillHeld(run, key, context);
    await writeBeat(run, "full", id, pulled, point, context);
    const stored = manifest.objects.reduce((sum, object) => sum + object.storedBytes, 0);
    return { manifest, bytes: stored + pulled.bytes, recoverableUntil: recoverableUntil(point) };
}
/** The pull's failure ends the base backup too, so that no part of it is written once this has thrown. */
async function takeBase({ pull }, replication, target, major, context) {
    const taking = takeBaseBackup(replication, target, major, context);
    try {
        return await withPull(pull, taking);
    }
    finally {
        await replication.close();
        await taking.catch(() => undefined);
    }
}
/** The last look must show what is at the point; without it a difference to the census would prove less. */
async function replayPoint(standby, point, context) {
    try {
        await waitForStandby({ ...standby, patienceMs: REPLAY_MS }, lsn(point.lsn), "replayed", context);
    }
    catch (error) {
        if (!(error instanceof errors/* ToolError */.v4))
            throw error;
        context.log.warning(`${error.message} The backup is complete, but a recovery of it cannot tell a difference to the census from a change of the source.`);
    }
}
/** What the census is taken of; undefined when the runbook wants none. */
function censusSource(run, backupId, major, context) {
    const { config } = run.setting;
    if (config.census === false)
        return undefined;
    return {
        backupId,
        major,
        database: run.sql.endpoint.database,
        extent: config.census,
        checkedTables: config.checks.flatMap((check) => ("rows" in check ? [check.rows] : [])),
        open: run.openDatabase,
        context,
    };
}
/** A backup is listed only when the WAL that makes it consistent is in the store. */
async function assertWalComplete(run, base, end, context) {
    const { store, component } = run.archive;
    const { walSegmentBytes } = run.identity;
    const { signal } = context;
    const listed = await listSegments(store, component, walSegmentBytes, signal);
    const start = lsn(base.startLsn);
    const from = { position: start, timeline: base.timeline };
    const inventory = await withUnlisted(store, component, listed, from, signal);
    const chain = wholeSegments(chainFrom(inventory, start, base.timeline));
    if ((chain.at(-1)?.number ?? -1) >= segmentBefore(end, walSegmentBytes))
        return;
    throw new errors/* ToolError */.v4(`The backup needs the WAL segment ${missingAfter(inventory, start, base.timeline)}, which is not in the store: run the backup again.`);
}
async function assertObjectsStored(run, manifest, context) {
    const { store, component } = run.archive;
    for (const object of manifest.objects) {
        const key = `${(0,layout/* backupPrefix */.nY)(component, manifest.id)}${object.name}`;
        const stat = await store.stat(key, context.signal);
        if (stat?.bytes === object.storedBytes)
            continue;
        throw new errors/* ToolError */.v4(`${store.describe(key)} has ${stat?.bytes ?? "no"} bytes after ${object.storedBytes} were written: run the backup again.`);
    }
}
/**
 * Another run that took over just before the manifest was written may have cleared the parts away as those of a dead one.
 */
async function assertStillHeld({ lease, bareStore }, key, context) {
    try {
        await lease.assertHeld(context.signal);
    }
    catch (error) {
        await bareStore.delete([key], AbortSignal.timeout(CLEAN_UP_MS));
        throw error;
    }
}
/** Best effort, also when the run was stopped: what is left is not listed as a backup anyway. */
async function removeUnlisted(run, id, context) {
    const { store, component } = run.archive;
    const signal = AbortSignal.timeout(CLEAN_UP_MS);
    try {
        const keys = [];
        for await (const object of store.list((0,layout/* backupPrefix */.nY)(component, id), signal))
            keys.push(object.key);
        // A listing may not show it yet.
        if ((await store.stat((0,layout/* manifestKey */.Rn)(component, id), signal)) !== undefined)
            return;
        await store.delete(keys, signal);
    }
    catch {
        context.log.warning(`Parts of the unfinished backup ${id} remain in ${store.describe((0,layout/* backupPrefix */.nY)(component, id))}: it is not listed, and the next run removes them.`);
    }
}

;// CONCATENATED MODULE: ./build/src/postgres/source/roles.js


const OLDEST_MAJOR = 14;
const NEWEST_MAJOR = 18;
/** Sessions read times and numbers in one spelling and are not ended by time limits of the role. */
const roles_SESSION = [
    "SET statement_timeout = 0",
    "SET idle_in_transaction_session_timeout = 0",
    "SET lock_timeout = '30s'",
    "SET timezone = 'UTC'",
    "SET datestyle = 'ISO'",
].join("; ");
/**
 * Checks before anything is written that this server and role can be backed up, and makes the session fit.
 * Throws a {@link UserError} that says what to change.
 */
async function checkSource(connection) {
    const { label, user } = connection.endpoint;
    await connection.query("preparing the session", roles_SESSION);
    const [facts] = await connection.query("reading its settings", `SELECT current_setting('server_version_num')::int / 10000 AS major,
       current_setting('wal_level') AS wal_level,
       pg_is_in_recovery() AS standby,
       r.rolsuper OR r.rolreplication AS may_replicate,
       has_function_privilege('pg_create_restore_point(text)', 'EXECUTE') AS restore_point,
       has_function_privilege('pg_switch_wal()', 'EXECUTE') AS switch_wal
     FROM pg_roles r WHERE r.rolname = current_user`);
    const major = Number(facts?.major);
    if (major < OLDEST_MAJOR || major > NEWEST_MAJOR) {
        throw new errors/* UserError */.yo(`PostgreSQL at ${label} is version ${major}: the physical method needs ${OLDEST_MAJOR} to ${NEWEST_MAJOR}.`);
    }
    if (facts?.wal_level === "minimal")
        throw walLevelTooLow(label, "minimal");
    if (facts?.may_replicate !== "t")
        throw missingReplication(label, user);
    const standby = facts.standby === "t";
    const abilities = {
        createRestorePoint: !standby && facts.restore_point === "t",
        switchWal: !standby && facts.switch_wal === "t",
    };
    return { standby, abilities };
}

// EXTERNAL MODULE: external "node:fs"
var external_node_fs_ = __webpack_require__(3024);
;// CONCATENATED MODULE: ./build/src/postgres/source/uri.js



const URI = /^postgres(?:ql)?:\/\/(?:([^/?#]*)@)?([^@/?#]*)(?:\/([^?#]*))?(?:\?([^#]*))?$/;
const SHAPE = "write it as postgresql://user:password@host:5432/database";
const DEFAULT_TIMEOUT_SECONDS = 15;
/**
 * Reads a libpq URI, with sockets (`?host=/run/postgresql`) and `sslmode` as libpq understands them. `PGUSER`,
 * `PGPASSWORD` and `PGSSLMODE` of `env` stand in for what the URI leaves out. Throws a {@link UserError} that does
 * not repeat the URI.
 */
function parseUri(text, env) {
    const match = URI.exec(text.trim());
    if (match === null)
        throw new errors/* UserError */.yo(`The connection is not a PostgreSQL URI: ${SHAPE}.`);
    const [, userInfoPart = "", hostPart = "", databasePart = "", query = ""] = match;
    const parameters = new URLSearchParams(query);
    const colon = userInfoPart.indexOf(":");
    const userPart = colon < 0 ? userInfoPart : userInfoPart.slice(0, colon);
    const passwordPart = colon < 0 ? "" : userInfoPart.slice(colon + 1);
    const { host, port } = readHost(hostPart, parameters);
    const user = parameters.get("user") || decode(userPart, "user") || env.PGUSER || (0,external_node_os_.userInfo)().username;
    const password = parameters.get("password") || decode(passwordPart, "password") || env.PGPASSWORD;
    const isSocket = host.startsWith("/");
    return {
        host,
        port,
        user,
        database: parameters.get("dbname") || decode(databasePart, "database") || user,
        password: password === "" ? undefined : password,
        tls: isSocket ? { kind: "off" } : readTls(parameters, env),
        connectTimeoutSeconds: readTimeout(parameters.get("connect_timeout")),
        label: isSocket ? `${host}/.s.PGSQL.${port}` : `${host.includes(":") ? `[${host}]` : host}:${port}`,
    };
}
function decode(text, part) {
    try {
        return decodeURIComponent(text);
    }
    catch {
        throw new errors/* UserError */.yo(`The ${part} in the connection has a "%" that is not part of a percent-encoding: write it as %25.`);
    }
}
function readHost(part, parameters) {
    const match = /^(\[[^\]]*\]|[^:]*)(?::(\d*))?$/.exec(part);
    const host = parameters.get("host") || decode((match?.[1] ?? "").replace(/^\[|\]$/g, ""), "host");
    const portText = parameters.get("port") || match?.[2] || "5432";
    const port = Number(portText);
    if (match === null || part.includes(",") || host.includes(",")) {
        throw new errors/* UserError */.yo(`The connection must name one host and one port: ${SHAPE}.`);
    }
    if (!Number.isInteger(port) || port < 1 || port > 65_535) {
        throw new errors/* UserError */.yo(`The connection's port "${portText}" is not a port: use a number from 1 to 65535.`);
    }
    if (host === "") {
        throw new errors/* UserError */.yo(`The connection names no host: ${SHAPE}, or with ?host=/run/postgresql for a socket.`);
    }
    return { host, port };
}
function readTimeout(text) {
    const seconds = Number(text ?? "");
    return Number.isFinite(seconds) && seconds > 0 ? seconds : DEFAULT_TIMEOUT_SECONDS;
}
const SSL_MODES = ["disable", "allow", "prefer", "require", "verify-ca", "verify-full", "no-verify"];
function readTls(parameters, env) {
    const mode = parameters.get("sslmode") || env.PGSSLMODE || "prefer";
    if (!SSL_MODES.includes(mode)) {
        throw new errors/* UserError */.yo(`The connection's sslmode "${mode}" is none: use one of ${SSL_MODES.join(", ")}.`);
    }
    if (mode === "disable")
        return { kind: "off" };
    const rootCert = parameters.get("sslrootcert");
    const ca = rootCert === null || rootCert === "system" ? undefined : readCertificate("sslrootcert", rootCert);
    const options = {
        ...(ca === undefined ? {} : { ca }),
        ...readKeyPair(parameters),
    };
    if (mode === "verify-full")
        return { kind: "on", options, fallback: false };
    // With a root certificate libpq treats `require` like `verify-ca`: the chain must hold, the name may differ.
    if (mode === "verify-ca" || (mode === "require" && rootCert !== null)) {
        return { kind: "on", options: { ...options, checkServerIdentity: () => undefined }, fallback: false };
    }
    const fallback = mode === "prefer" || mode === "allow";
    return { kind: "on", options: { ...options, rejectUnauthorized: false }, fallback };
}
function readKeyPair(parameters) {
    const cert = parameters.get("sslcert");
    const key = parameters.get("sslkey");
    if (cert === null || key === null)
        return {};
    return { cert: readCertificate("sslcert", cert), key: readCertificate("sslkey", key) };
}
function readCertificate(parameter, path) {
    try {
        return (0,external_node_fs_.readFileSync)(path);
    }
    catch (cause) {
        throw new errors/* UserError */.yo(`The connection's ${parameter} cannot be read: ${(0,errors/* messageOf */.bD)(cause)}.`, { cause });
    }
}

;// CONCATENATED MODULE: ./build/src/postgres/source/writer.js




/**
 * Checks that a connection leads to the primary of the standby that is backed up, and makes the session fit. The role
 * needs no right to replicate there. Throws a {@link UserError} when it is another server.
 */
async function checkPrimary(sql, standby, label) {
    const primary = sql.endpoint.label;
    await sql.query("preparing the session", roles_SESSION);
    const [facts] = await sql.query("looking whether it is the primary", `SELECT pg_is_in_recovery() AS standby, (SELECT system_identifier FROM pg_control_system()) AS cluster,
       has_function_privilege('pg_create_restore_point(text)', 'EXECUTE') AS restore_point,
       has_function_privilege('pg_switch_wal()', 'EXECUTE') AS switch_wal`);
    if (need(facts, "cluster") !== standby.systemIdentifier) {
        throw new errors/* UserError */.yo(`The key primary names PostgreSQL at ${primary}, which is the cluster ${facts?.cluster}, but the standby at ${label} is of the cluster ${standby.systemIdentifier}: name its own primary.`);
    }
    if (need(facts, "standby") === "t") {
        throw new errors/* UserError */.yo(`The key primary names PostgreSQL at ${primary}, which is a standby too: name the server that writes.`);
    }
    await requireTimeline(sql, standby, label);
    return {
        sql,
        abilities: { createRestorePoint: facts?.restore_point === "t", switchWal: facts?.switch_wal === "t" },
    };
}
/**
 * A point that is marked on another timeline than the one that the standby streams would not be in the archive. Throws
 * a {@link ToolError}.
 */
async function requireTimeline(sql, standby, label) {
    const [row] = await sql.query("reading its timeline", "SELECT left(pg_walfile_name(pg_current_wal_insert_lsn()), 8) AS timeline");
    const timeline = Number.parseInt(need(row, "timeline"), 16);
    if (timeline === standby.timeline)
        return;
    throw new errors/* ToolError */.v4(`The primary at ${sql.endpoint.label} is on timeline ${timeline}, but the standby at ${label} on timeline ${standby.timeline}: run the action again when the standby follows this primary.`);
}
/** Says which GRANTs are missing for an archive that ends in a named point. */
function warnOfMissingGrants({ sql, abilities }, context) {
    const { user, database } = sql.endpoint;
    const functions = [
        ...(abilities.createRestorePoint ? [] : ["pg_create_restore_point(text)"]),
        ...(abilities.switchWal ? [] : ["pg_switch_wal()"]),
    ];
    if (functions.length === 0)
        return;
    context.log.warning(`The role "${user}" may not end the archive in a named point, so the target "latest" is not possible: run GRANT EXECUTE ON FUNCTION ${functions.join(", ")} TO ${quoteName(user)} in the database "${database}".`);
}
/** After a failover the names in the runbook may be those of the former roles. */
function warnOfUnusedPrimary({ endpoint }, context) {
    context.log.warning(`PostgreSQL at ${endpoint.label} is a primary itself, so the key primary of the runbook is not used: after a failover let connection name the standby and primary the primary again.`);
}
/** Says what a standby alone cannot do. */
function warnOfMissingPrimary({ endpoint }, context) {
    context.log.warning(`PostgreSQL at ${endpoint.label} is a standby and the runbook names no primary, so no run can end in a named point and the targets "latest" and times are not possible: name the primary as the component's key primary. A run waits until the primary has filled the segment it needs, so set archive_timeout there.`);
}

;// CONCATENATED MODULE: ./build/src/postgres/wal/restore-point.js


/**
 * Makes a named point behind every commit of this moment and has it flushed, so that the server sends it. The pull
 * holds its segments from here on: tell it the point. `id` makes the name unique. With a marker, its row is written in a
 * commit before the point and in one after it.
 */
async function makeRestorePoint({ sql, writeMarker }, pull, id, context) {
    const doing = "making a restore point";
    const name = pointName(context.now(), id, writeMarker !== undefined);
    await writeMarker?.(name, "before");
    const moment = await sourceMoment(sql);
    // An id makes this transaction write a commit record, later than `time`: recovery to any time up to `time` has a
    // record to stop at, even when the server is idle.
    await sql.query(doing, "SELECT pg_current_xact_id()");
    pull.hold();
    // A restore point alone is not flushed, but a commit that wrote anything is. `local`, because a role may have
    // switched that off, and a synchronous standby that is down must not keep us.
    const [row] = await sql.query(doing, "SELECT set_config('synchronous_commit', 'local', true), pg_create_restore_point($1) AS lsn, pg_current_xact_id()", [name]);
    await writeMarker?.(name, "after");
    return { name, lsn: need(row, "lsn"), ...moment };
}

;// CONCATENATED MODULE: ./build/src/postgres/wal/end-of-run.js



/**
 * Ends a run's WAL in a named point and tells the pull to fetch everything through it; the point. `id` makes its name
 * unique. A role that may not do so gets no point: the pull then ends with the last segment that is complete, but not
 * before `atLeast`.
 */
async function endRun(writer, pull, options, context) {
    const { sql, abilities } = writer;
    const doing = "marking the end of the run";
    if (!abilities.createRestorePoint || !abilities.switchWal) {
        const complete = await lastCompleteWal(sql, abilities, options.segmentBytes);
        const suffices = complete >= options.atLeast;
        pull.finish({ through: suffices ? complete : options.atLeast, point: undefined });
        return undefined;
    }
    const point = await makeRestorePoint(writer, pull, options.id, context);
    await sql.query(doing, "SELECT pg_switch_wal()");
    pull.finish({ through: lsn(point.lsn), point });
    return point;
}
async function lastCompleteWal(sql, abilities, segmentBytes) {
    const doing = "finding the end of the WAL";
    if (abilities.switchWal) {
        const [row] = await sql.query(doing, "SELECT pg_switch_wal() AS lsn");
        return lsn(need(row, "lsn"));
    }
    const [row] = await sql.query(doing, `SELECT CASE WHEN pg_is_in_recovery() THEN greatest(pg_last_wal_receive_lsn(), pg_last_wal_replay_lsn())
       ELSE pg_current_wal_flush_lsn() END AS lsn`);
    return segmentStart(segmentAt(lsn(need(row, "lsn")), segmentBytes), segmentBytes);
}

;// CONCATENATED MODULE: ./build/src/postgres/wal/wal-messages.js

const XLOG_DATA = 0x77;
const KEEPALIVE = 0x6b;
const STATUS_UPDATE = 0x72;
/** Type, start, end of WAL, time. */
const XLOG_DATA_HEADER = 1 + 8 + 8 + 8;
/** 2000-01-01 in milliseconds since 1970: where PostgreSQL's clock starts. */
const POSTGRES_EPOCH_MS = 946_684_800_000;
/** Reads a message; undefined when its type is unknown. */
function readWalMessage(message) {
    if (message[0] === XLOG_DATA) {
        return { kind: "data", start: message.readBigUInt64BE(1), data: message.subarray(XLOG_DATA_HEADER) };
    }
    if (message[0] === KEEPALIVE)
        return { kind: "keepalive", replyNow: message[17] === 1 };
    return undefined;
}
/**
 * A standby status update: all WAL before `flushed` is safe, so the slot may move there. `0/0` only says that the
 * receiver is alive.
 */
function statusUpdate(flushed) {
    const position = typeof flushed === "string" ? lsn(flushed) : flushed;
    const message = Buffer.alloc(1 + 8 * 4 + 1);
    message[0] = STATUS_UPDATE;
    message.writeBigUInt64BE(position, 1);
    message.writeBigUInt64BE(position, 9);
    message.writeBigUInt64BE(position, 17);
    message.writeBigInt64BE(BigInt(Date.now() - POSTGRES_EPOCH_MS) * 1000n, 25);
    return message;
}
/** So many bytes of a segment are its header. */
const SEGMENT_HEADER_BYTES = 40;
/** Reads it in the byte order of the server, which is this machine's or its mirror; undefined when there is none. */
function readSegmentHeader(segment) {
    const bigEndian = segment[0] === 0xd1;
    const info = bigEndian ? segment.readUInt16BE(2) : segment.readUInt16LE(2);
    if ((!bigEndian && segment[1] !== 0xd1) || (info & LONG_HEADER) === 0)
        return undefined;
    return bigEndian
        ? {
            pageAddress: segment.readBigUInt64BE(8),
            systemIdentifier: String(segment.readBigUInt64BE(24)),
            segmentBytes: segment.readUInt32BE(32),
        }
        : {
            pageAddress: segment.readBigUInt64LE(8),
            systemIdentifier: String(segment.readBigUInt64LE(24)),
            segmentBytes: segment.readUInt32LE(32),
        };
}
/** `XLP_LONG_HEADER` */
const LONG_HEADER = 0x0002;

;// CONCATENATED MODULE: ./build/src/postgres/source/slot-state.js

/** Reads the slot's state; undefined when there is none of that name. */
async function readSlot(sql, name) {
    const [row] = await sql.query("reading the replication slot", `SELECT slot_type, active_pid, restart_lsn, wal_status, safe_wal_size,
       pg_wal_lsn_diff(
         CASE WHEN pg_is_in_recovery() THEN pg_last_wal_replay_lsn() ELSE pg_current_wal_lsn() END,
         restart_lsn
       ) AS retained,
       (SELECT setting FROM pg_settings WHERE name = 'max_slot_wal_keep_size') AS keep_mib,
       to_jsonb(slot) ->> 'invalidation_reason' AS reason
     FROM pg_replication_slots slot WHERE slot_name = $1`, [name]);
    if (row === undefined)
        return undefined;
    const keep = Number(need(row, "keep_mib"));
    return {
        report: {
            name,
            walStatus: row.wal_status ?? null,
            restartLsn: row.restart_lsn ?? null,
            retainedBytes: row.retained == null ? null : Math.max(0, Number(row.retained)),
            safeBytes: row.safe_wal_size == null ? null : Number(row.safe_wal_size),
            maxKeepBytes: keep < 0 ? null : keep * 2 ** 20,
        },
        type: row.slot_type ?? "",
        activePid: row.active_pid ?? null,
        invalidationReason: row.reason ?? null,
    };
}

;// CONCATENATED MODULE: ./build/src/postgres/source/slot.js





/**
 * Finds or creates the slot. A slot that lost its WAL is made anew for a full backup, which begins a new chain, and
 * is an error for `kind: wal`. Throws an error of one sentence when the slot is another's or in use.
 */
async function ensureSlot(sql, replication, name, kind, context) {
    const { label } = sql.endpoint;
    let state = await readSlot(sql, name);
    if (state !== undefined && state.type !== "physical") {
        throw new errors/* UserError */.yo(`The replication slot "${name}" at ${label} is a ${state.type} one: name another slot in wal.slot, it is created when absent.`);
    }
    if (state?.activePid != null) {
        throw new errors/* ToolError */.v4(`The replication slot "${name}" at ${label} is in use by the server process ${state.activePid}: wait for that run to end, or end the process with SELECT pg_terminate_backend(${state.activePid}).`);
    }
    if (state?.report.walStatus === "lost") {
        if (kind === "wal")
            throw slotLost(state, label);
        context.log.warning(`The replication slot "${name}" at ${label} lost its WAL because it was not read for too long: it is made anew, and this backup begins a new chain. Raise ${limitOf(state)} or read the slot more often.`);
        await replication.query("dropping the lost replication slot", `DROP_REPLICATION_SLOT ${quoteIdentifier(name)}`);
        state = undefined;
    }
    if (state === undefined) {
        await replication.query("creating the replication slot", `CREATE_REPLICATION_SLOT ${quoteIdentifier(name)} PHYSICAL RESERVE_WAL`);
        context.log.info(`Created the replication slot "${name}" at ${label}: from now on the server keeps its WAL for it.`);
        state = await readSlot(sql, name);
    }
    else if (state.report.restartLsn === null) {
        await reserve(replication, name);
        state = await readSlot(sql, name);
    }
    if (state?.report.restartLsn == null) {
        throw new errors/* ToolError */.v4(`The replication slot "${name}" at ${label} keeps no WAL: drop it, and it is created anew.`);
    }
    return { name, report: state.report, restartLsn: state.report.restartLsn };
}
/** The slot exists, but the server removed WAL that it should have kept. */
function slotLost(state, label) {
    return new errors/* ToolError */.v4(`The replication slot "${state.report.name}" at ${label} lost its WAL because it was not read for too long (${limitOf(state)}): take a full backup, which makes the slot anew and begins a new chain.`);
}
/** The setting that decides when a slot is given up. */
function limitOf({ invalidationReason, report }) {
    if (invalidationReason === "idle_timeout")
        return "idle_replication_slot_timeout";
    return report.maxKeepBytes === null
        ? "max_slot_wal_keep_size"
        : `max_slot_wal_keep_size, ${(0,values/* formatBytes */.z3)(report.maxKeepBytes)}`;
}
/** The server ends the connection first, and gives the slot up a moment later. */
const LOSS_LOOKS = 15;
const LOSS_LOOK_MS = 200;
/** A server that hangs, or is busy with another statement of ours, is not waited for. */
const LOSS_ANSWER_MS = 5_000;
/**
 * When the server gave the slot up while it was being read, the error that says so; undefined when it did not, or does
 * not answer.
 */
async function explainLoss(sql, name, signal) {
    const over = new AbortController();
    const either = AbortSignal.any([signal, over.signal]);
    try {
        const patience = (0,external_node_timers_promises_.setTimeout)(LOSS_ANSWER_MS, undefined, { signal: either }).catch(() => undefined);
        return await Promise.race([lookForLoss(sql, name, either), patience]);
    }
    finally {
        over.abort();
    }
}
async function lookForLoss(sql, name, signal) {
    for (let look = 0; look < LOSS_LOOKS && !signal.aborted; look += 1) {
        const state = await readSlot(sql, name).catch(() => undefined);
        if (state?.report.walStatus === "lost") {
            return new errors/* ToolError */.v4(`The replication slot "${name}" at ${sql.endpoint.label} lost its WAL while this run was reading it, because the server wrote more than it keeps for a slot (${limitOf(state)}): set max_slot_wal_keep_size to several times the WAL that is written during a backup, then take a full backup, which makes the slot anew.`);
        }
        if (state?.report.walStatus !== "unreserved")
            return undefined;
        await (0,external_node_timers_promises_.setTimeout)(LOSS_LOOK_MS, undefined, { signal }).catch(() => undefined);
    }
    return undefined;
}
/** A slot that was created without RESERVE_WAL starts to keep WAL with the first position that is confirmed. */
async function reserve(replication, name) {
    const doing = "reserving WAL for the replication slot";
    const [system] = await replication.query(doing, "IDENTIFY_SYSTEM");
    const position = system?.xlogpos ?? "0/0";
    const session = replication.copy(doing, `START_REPLICATION SLOT ${quoteIdentifier(name)} PHYSICAL ${position}`);
    session.send(statusUpdate(position));
    session.end();
    while ((await session.next()) !== undefined)
        ;
}
/** A name as the replication commands and SQL take it. */
function quoteIdentifier(name) {
    return `"${name.replaceAll('"', '""')}"`;
}

;// CONCATENATED MODULE: ./build/src/postgres/source/slot-health.js

/** From this part of `max_slot_wal_keep_size` on, what the slot keeps is a warning. */
const KEPT_PART = 0.5;
const GIB = 2 ** 30;
/** A limit that is recommended is at least this, and several times what is kept now. */
const LEAST_LIMIT_GIB = 16;
const TIMES_KEPT = 4;
/** What a slot's state means: at most one finding on the WAL it keeps, and one when nothing limits that. */
function judgeSlot(slot) {
    const most = slot.maxKeepBytes === null ? "unlimited" : (0,values/* formatBytes */.z3)(slot.maxKeepBytes);
    const limit = `max_slot_wal_keep_size is ${most}`;
    const kept = slot.retainedBytes === null ? "" : `, ${(0,values/* formatBytes */.z3)(slot.retainedBytes)} now`;
    const raise = `Run the backup action with kind: wal more often, or raise max_slot_wal_keep_size: ALTER SYSTEM SET max_slot_wal_keep_size = '${recommended(slot)}', then SELECT pg_reload_conf().`;
    if (slot.walStatus === "lost") {
        return [
            {
                severity: "error",
                message: `The replication slot "${slot.name}" lost its WAL (${limit}).`,
                remedy: `Take a full backup, which makes the slot anew and begins a new chain. ${raise}`,
            },
        ];
    }
    const findings = [];
    if (slot.walStatus === "unreserved") {
        findings.push({
            severity: "warning",
            message: `The replication slot "${slot.name}" is about to lose its WAL: it keeps more than the server allows${kept} (${limit}), and the next checkpoint removes some of it.`,
            remedy: raise,
        });
    }
    else if (isAboveHalf(slot)) {
        findings.push({
            severity: "warning",
            message: `The replication slot "${slot.name}" keeps more than half of the WAL that the server allows${kept} (${limit}): when it reaches the limit, the slot is lost and the chain of WAL breaks.`,
            remedy: raise,
        });
    }
    else if (slot.walStatus === "extended") {
        findings.push({
            severity: "warning",
            message: `The replication slot "${slot.name}" keeps more WAL than max_wal_size${kept}: the server's disk holds it until a run has read it.`,
            remedy: "Run the backup action with kind: wal more often, and see that the server's disk has room.",
        });
    }
    if (slot.maxKeepBytes === null) {
        findings.push({
            severity: "notice",
            message: `Nothing limits the WAL that the replication slot "${slot.name}" keeps${kept}: when no run reads it any more, it fills the server's disk.`,
            remedy: `If the disk has so much to spare, ALTER SYSTEM SET max_slot_wal_keep_size = '${recommended(slot)}', then SELECT pg_reload_conf().`,
        });
    }
    return findings;
}
function isAboveHalf({ retainedBytes, maxKeepBytes }) {
    return retainedBytes !== null && maxKeepBytes !== null && retainedBytes > maxKeepBytes * KEPT_PART;
}
/** As PostgreSQL takes it. */
function recommended({ retainedBytes, maxKeepBytes }) {
    const wanted = Math.max((retainedBytes ?? 0) * TIMES_KEPT, (maxKeepBytes ?? 0) * 2);
    return `${Math.max(LEAST_LIMIT_GIB, Math.ceil(wanted / GIB))}GB`;
}
/** `The slot "drillbook" keeps 12.0 MiB of WAL from 0/3000000 on (reserved), of at most 10.0 GiB.` */
function describeSlot(slot) {
    const { name, walStatus, restartLsn, retainedBytes, maxKeepBytes } = slot;
    const kept = retainedBytes === null ? "no WAL" : `${(0,values/* formatBytes */.z3)(retainedBytes)} of WAL from ${restartLsn} on`;
    const most = maxKeepBytes === null ? "without a limit" : `of at most ${(0,values/* formatBytes */.z3)(maxKeepBytes)}`;
    return `The slot "${name}" keeps ${kept} (${walStatus ?? "not reserved"}), ${most}.`;
}
/** What a run says of the slot. */
function slotNotes(slot) {
    return [
        { severity: "notice", text: describeSlot(slot) },
        ...judgeSlot(slot).map(({ severity, message, remedy }) => ({ severity, text: `${message} ${remedy}` })),
    ];
}

// EXTERNAL MODULE: external "node:fs/promises"
var external_node_fs_promises_ = __webpack_require__(1455);
// EXTERNAL MODULE: external "node:path"
var external_node_path_ = __webpack_require__(6760);
;// CONCATENATED MODULE: ./build/src/postgres/wal/archive-folder.js










/** Two looks at a file are at least so far apart. */
const APART_MS = 200;
/** A file that nobody wrote to for so long is finished. Wide enough for a file server whose clock differs a little. */
const OLD_MS = 60_000;
/** How a file may be stored, by the end of its name. */
const FORMS = {
    "": async (bytes) => bytes,
    ".gz": async (bytes, limit) => await (0,external_node_util_.promisify)(external_node_zlib_.gunzip)(bytes, { maxOutputLength: limit }),
    ".zst": async (bytes, limit) => await (0,external_node_util_.promisify)(external_node_zlib_.zstdDecompress)(bytes, { maxOutputLength: limit }),
};
/** What compression may add to bytes that cannot be compressed, and more than any history file has. */
const SLACK_BYTES = 2 ** 20;
const SEGMENT_FILE = /^([0-9A-F]{24})(?:\.gz|\.zst)?$/;
/** Opens the folder. Throws a {@link UserError} when it is none, or may not be read. */
async function openArchiveFolder(options) {
    const { path, segmentBytes } = options;
    await requireFolder(path);
    /** How each file was at the last look. */
    const seen = new Map();
    /** Whether nobody seems to write to the file any more. */
    function isSettled(file, { look, modifiedMs }) {
        if (Date.now() - modifiedMs > OLD_MS)
            return true;
        const known = seen.get(file);
        const at = performance.now();
        if (known?.look === look)
            return at - known.at >= APART_MS;
        seen.set(file, { look, at });
        return false;
    }
    /** Decompressed content of one form; a text says why it does not count. */
    async function readForm(file, limit) {
        let handle;
        try {
            handle = await (0,external_node_fs_promises_.open)((0,external_node_path_.join)(path, file), external_node_fs_.constants.O_RDONLY);
        }
        catch (error) {
            if ((0,errors/* codeOf */.$N)(error) === "ENOENT")
                return undefined;
            throw unreadable((0,external_node_path_.join)(path, file), error);
        }
        try {
            const before = await lookOf(handle);
            if (!isSettled(file, before))
                return `${file} has just appeared or is still growing`;
            if (before.bytes > limit + SLACK_BYTES)
                return `${file} is too large`;
            const bytes = await handle.readFile();
            const after = await lookOf(handle);
            if (after.look !== before.look || bytes.length !== before.bytes) {
                seen.delete(file);
                return `${file} changed while it was read`;
            }
            return await archive_folder_decompress(file, bytes, limit);
        }
        catch (error) {
            throw unreadable((0,external_node_path_.join)(path, file), error);
        }
        finally {
            await handle.close();
        }
    }
    /** The one content that all whole forms of a file have. `check` says what is wrong with a content. */
    async function read(name, limit, check) {
        const whole = [];
        let missing;
        for (const form of Object.keys(FORMS)) {
            const file = name + form;
            const content = await readForm(file, limit);
            if (content === undefined)
                continue;
            const wrong = typeof content === "string" ? content : check(content, file);
            if (typeof content === "string" || wrong !== undefined)
                missing ??= wrong;
            else
                whole.push({ file, content, sha256: (0,external_node_crypto_.createHash)("sha256").update(content).digest("hex") });
        }
        const [first, ...others] = whole;
        const other = others.find((one) => one.sha256 !== first?.sha256);
        if (first !== undefined && other !== undefined) {
            throw new errors/* ToolError */.v4(`${(0,external_node_path_.join)(path, first.file)} and ${(0,external_node_path_.join)(path, other.file)} hold different content under one name: find out which of them the server archived, and remove the other.`);
        }
        if (first === undefined)
            return { missing: missing ?? `there is no ${name}` };
        for (const form of Object.keys(FORMS))
            seen.delete(name + form);
        return { content: first.content };
    }
    function checkSegment(name, content, file) {
        if (content.length !== segmentBytes) {
            return `${file} holds ${content.length} bytes, but a segment has ${segmentBytes}`;
        }
        const header = readSegmentHeader(content);
        if (header === undefined)
            return `${file} does not begin like a segment`;
        const subject = (0,external_node_path_.join)(path, file);
        if (header.systemIdentifier !== options.systemIdentifier) {
            throw new errors/* UserError */.yo(`${subject} is of the cluster with system identifier ${header.systemIdentifier}, but this server is ${options.systemIdentifier}: correct the folder in wal.archive.`);
        }
        const start = segmentStart(parseSegmentName(name, segmentBytes)?.number ?? 0, segmentBytes);
        if (header.pageAddress === start && header.segmentBytes === segmentBytes)
            return undefined;
        throw new errors/* ToolError */.v4(`${subject} holds the WAL from ${formatLsn(header.pageAddress)} on, but its name says ${formatLsn(start)}: it was renamed or overwritten.`);
    }
    return {
        path,
        segment: (name) => read(name, segmentBytes, (content, file) => checkSegment(name, content, file)),
        history: (timeline) => read(`${(0,layout/* timelineName */.rv)(timeline)}.history`, SLACK_BYTES, () => undefined),
        async segmentNames() {
            const names = await (0,external_node_fs_promises_.readdir)(path).catch((error) => {
                throw unreadable(path, error);
            });
            return [
                ...new Set(names.map((name) => SEGMENT_FILE.exec(name)?.[1]).filter((name) => name !== undefined)),
            ];
        },
    };
}
/** The content, or why it cannot be had. */
async function archive_folder_decompress(file, bytes, limit) {
    const form = /\.gz$|\.zst$/.exec(file)?.[0] ?? "";
    try {
        return (await FORMS[form]?.(bytes, limit)) ?? bytes;
    }
    catch (error) {
        return `${file} is not a whole ${form} file (${(0,errors/* messageOf */.bD)(error)})`;
    }
}
async function requireFolder(path) {
    const found = await (0,external_node_fs_promises_.stat)(path).catch((error) => {
        if ((0,errors/* codeOf */.$N)(error) === "ENOENT" || (0,errors/* codeOf */.$N)(error) === "ENOTDIR")
            return undefined;
        throw unreadable(path, error);
    });
    if (found?.isDirectory() === true)
        return;
    throw new errors/* UserError */.yo(`wal.archive names ${path}, which is not a folder on this machine: name the folder that the server's archive_command fills, or mount it.`);
}
async function lookOf(handle) {
    const { ino, size, mtimeNs, mtimeMs } = await handle.stat({ bigint: true });
    return { look: `${ino} ${size} ${mtimeNs}`, bytes: Number(size), modifiedMs: Number(mtimeMs) };
}
function unreadable(path, error) {
    if (error instanceof errors/* ToolError */.v4)
        return error;
    return new errors/* ToolError */.v4(`${path} cannot be read: ${(0,errors/* messageOf */.bD)(error)}.`, { cause: error });
}

;// CONCATENATED MODULE: ./build/src/targets.js



const TIME = /^(\d{4})-(\d\d)-(\d\d)[Tt ](\d\d):(\d\d)(?::(\d\d)(?:\.(\d{1,6})\d*)?)?\s?([Zz]|UTC|[+-]\d\d(?::?[0-5]\d)?)$/;
const ZONELESS = /^\d{4}-\d\d-\d\d[T ]\d\d:\d\d(:\d\d(\.\d+)?)?$/;
/** What may follow a target: `?exclusive`, `?timeline=2`, or both with `&` or `?` between them. */
const OPTIONS = /^([\s\S]*?)((?:[?&](?:exclusive|timeline=\d+))+)$/;
/** Bytes of a restore point's name in WAL, without the NUL (MAXFNAMELEN). */
const LONGEST_NAME = 63;
/** Smaller ones are PostgreSQL's own (FirstNormalTransactionId). */
const FIRST_XID = 3n;
const LARGEST_TIMELINE = (/* unused pure expression or super */ null && (2 ** 32 - 1));
/**
 * Reads `latest`, `immediate`, an RFC 3339 time with an offset (also `… UTC`, also without seconds), `-15m`,
 * `lsn:0/1A2B3C4D`, `xid:7421` or `name:before-migration`, with `?exclusive` and `?timeline=2` behind it; throws a
 * UserError.
 */
function parseTarget(text) {
    const trimmed = text.trim();
    const [, plain = trimmed, options = ""] = OPTIONS.exec(trimmed) ?? [];
    const exclusive = /[?&]exclusive/.test(options);
    const point = parsePoint(plain, exclusive);
    if (exclusive && !("exclusive" in point)) {
        throw new UserError(`The target "${trimmed}" cannot be exclusive: ?exclusive may follow a time, an LSN or a transaction.`);
    }
    const [timeline, another] = [...options.matchAll(/timeline=(\d+)/g)].map((match) => Number(match[1]));
    if (timeline === undefined)
        return point;
    if (another !== undefined)
        throw new UserError(`The target "${trimmed}" names two timelines: keep one.`);
    if (timeline >= 1 && timeline <= LARGEST_TIMELINE)
        return { ...point, timeline };
    throw new UserError(`The target "${trimmed}" names timeline ${timeline}, but timelines begin at 1.`);
}
function parsePoint(text, exclusive) {
    if (text === "latest" || text === "immediate")
        return { kind: text };
    const [, kind, value] = /^(lsn|xid|name):([\s\S]*)$/.exec(text) ?? [];
    if (kind === "lsn")
        return parseLsnTarget(value ?? "", exclusive);
    if (kind === "xid")
        return parseXidTarget(value ?? "", exclusive);
    if (kind === "name")
        return parseNameTarget(value ?? "");
    if (text.startsWith("-")) {
        const seconds = parseDuration(text.slice(1));
        if (seconds !== undefined && seconds > 0)
            return { kind: "before-now", seconds, exclusive };
    }
    const micros = parseTime(text);
    if (micros !== undefined)
        return { kind: "time", micros, exclusive };
    if (TIME.test(text)) {
        throw new UserError(`The target "${text}" is a time that does not exist: look at the day, the hour and the offset.`);
    }
    throw new UserError(ZONELESS.test(text)
        ? `The target "${text}" has no time zone: write "${text}Z" for UTC, or an offset such as "${text}+02:00".`
        : `The target "${text}" is not understood: use latest, immediate, a time such as 2026-01-25T14:30:00Z, a while ago such as -15m, lsn:0/1A2B3C4D, xid:7421 or name:before-migration; ?exclusive and ?timeline=2 may follow.`);
}
function parseLsnTarget(value, exclusive) {
    const lsn = parseLsn(value);
    if (lsn !== undefined && lsn > 0n)
        return { kind: "lsn", lsn, exclusive };
    throw new UserError(`The target "lsn:${value}" is no position in the WAL: write it as pg_current_wal_lsn() does, such as lsn:0/1A2B3C4D.`);
}
/** PostgreSQL itself takes any text for a number here, and goes on to the end of the WAL. */
function parseXidTarget(value, exclusive) {
    const xid = /^\d{1,20}$/.test(value) ? BigInt(value) : 0n;
    if (xid >= FIRST_XID && xid < 2n ** 64n)
        return { kind: "xid", xid, exclusive };
    throw new UserError(`The target "xid:${value}" is no transaction: write the number that pg_current_xact_id() gave, such as xid:7421.`);
}
function parseNameTarget(name) {
    const bytes = Buffer.byteLength(name);
    if (bytes > 0 && bytes <= LONGEST_NAME && !name.includes("\0"))
        return { kind: "name", name };
    throw new UserError(bytes === 0
        ? "The target name: lacks the name of a restore point, such as name:before-migration."
        : `The target "name:${name}" is no restore point: a name has at most ${LONGEST_NAME} bytes.`);
}
/** Microseconds since 1970 of an RFC 3339 time with an offset; undefined when it is none or no such day exists. */
function parseTime(text) {
    const match = TIME.exec(text);
    if (match === null)
        return undefined;
    const [, year, month, day, hour, minute, second = "00", fraction = "", zone = ""] = match;
    const wall = new Date(`${year}-${month}-${day}T${hour}:${minute}:${second}Z`);
    if (Number.isNaN(wall.getTime()) || wall.getUTCDate() !== Number(day))
        return undefined;
    const offset = /^([+-])(\d\d):?(\d\d)?$/.exec(zone);
    const offsetMinutes = offset === null ? 0 : Number(`${offset[1]}1`) * (Number(offset[2]) * 60 + Number(offset[3] ?? 0));
    if (Math.abs(offsetMinutes) > 15 * 60 + 59)
        return undefined;
    const utc = new Date(wall.getTime() - offsetMinutes * 60_000);
    if (utc.getUTCFullYear() < 1 || utc.getUTCFullYear() > 9999)
        return undefined;
    return BigInt(utc.getTime()) * 1000n + BigInt(fraction.padEnd(6, "0"));
}
/** `2026-01-25 14:30:00.123456+00`: the spelling that every PostgreSQL accepts, and that people read as UTC. */
function formatMicros(micros) {
    // Rounds down also before 1970, where the remainder of a division is negative.
    const fraction = ((micros % 1000000n) + 1000000n) % 1000000n;
    const date = new Date(Number((micros - fraction) / 1000n)).toISOString();
    return `${date.slice(0, 10)} ${date.slice(11, 19)}.${String(fraction).padStart(6, "0")}+00`;
}
/** `2026-01-25T14:30:00.123456Z` */
function toRfc3339(micros) {
    return formatMicros(micros).replace(" ", "T").replace("+00", "Z");
}

;// CONCATENATED MODULE: ./build/src/postgres/wal-records.js
/*
 * Walks the records of a WAL segment. Layout by src/include/access/{xlog_internal,xlogrecord,rmgrlist}.h, the same
 * from PostgreSQL 14 to 18, in the byte order of a little-endian server.
 */
/** Resource managers. */
const XLOG_MANAGER = 0;
const TABLESPACE_MANAGER = 5;
/**
 * The longest that a restore point's record can be: 98 bytes, rounded up to 104, and a page's header (40 bytes at most)
 * in its middle.
 */
const LONGEST_POINT_BYTES = 144n;
const MAGIC_HIGH_BYTE = 0xd1;
const SHORT_PAGE_HEADER = 24;
const LONG_PAGE_HEADER = 40;
const FIRST_IS_CONTINUED = 0x0001;
const HAS_LONG_HEADER = 0x0002;
const RECORD_HEADER = 24;
const INFO_OFFSET = 16;
const MANAGER_OFFSET = 17;
/** Behind the record's header: one byte that says "main data, short", and its length. */
const MAIN_DATA_OFFSET = RECORD_HEADER + 2;
/**
 * Hands over each record of one of the `managers` that begins in the segment, in order. A segment may end early,
 * after a switch or because it is only the first bytes of one; one that is none has no records.
 */
function* recordsOf(segment, managers) {
    if (segment.length < LONG_PAGE_HEADER || !isLittleEndian(segment))
        return;
    const pageBytes = segment.readUInt32LE(36);
    const start = segment.readBigUInt64LE(8);
    if (pageBytes < LONG_PAGE_HEADER)
        return;
    const pages = { segment, pageBytes };
    let at = firstRecord(pages);
    while (at + 4 <= segment.length) {
        const bytes = segment.readUInt32LE(at);
        // Zeros behind a switch of segments, or the end of what was written.
        if (bytes < RECORD_HEADER)
            return;
        const manager = segment[move(pages, at, MANAGER_OFFSET)] ?? -1;
        if (managers.includes(manager)) {
            const record = at;
            yield {
                manager,
                kind: (segment[move(pages, at, INFO_OFFSET)] ?? 0) & 0xf0,
                start: start + BigInt(at),
                end: start + BigInt(Math.ceil((move(pages, at, bytes - 1) + 1) / 8) * 8),
                mainData: (limit) => content(pages, record, MAIN_DATA_OFFSET, Math.min(bytes - MAIN_DATA_OFFSET, limit)),
            };
        }
        at = aligned(pages, move(pages, at, bytes));
    }
}
/** Whether the segment is one of a little-endian server, whose records can be read here. */
function isLittleEndian(segment) {
    return segment[1] === MAGIC_HIGH_BYTE;
}
/** Where the first record of the segment begins: behind the rest of one that began before it. */
function firstRecord(pages) {
    const { segment } = pages;
    const at = headerBytes(segment, 0);
    if ((segment.readUInt16LE(2) & FIRST_IS_CONTINUED) === 0)
        return at;
    return aligned(pages, move(pages, at, segment.readUInt32LE(16)));
}
function headerBytes(segment, page) {
    return (segment.readUInt16LE(page + 2) & HAS_LONG_HEADER) === 0 ? SHORT_PAGE_HEADER : LONG_PAGE_HEADER;
}
/** The position `bytes` of content behind `at`; page headers are no content. */
function move({ segment, pageBytes }, at, bytes) {
    let position = at;
    let left = bytes;
    for (;;) {
        const room = pageBytes - (position % pageBytes);
        if (left < room)
            return position + left;
        left -= room;
        position += room;
        if (position + SHORT_PAGE_HEADER > segment.length)
            return segment.length;
        position += headerBytes(segment, position);
    }
}
/** Records begin at multiples of eight, and never in a page's header. */
function aligned({ segment, pageBytes }, position) {
    const at = Math.ceil(position / 8) * 8;
    if (at + SHORT_PAGE_HEADER > segment.length)
        return segment.length;
    return at % pageBytes === 0 ? at + headerBytes(segment, at) : at;
}
function content(pages, record, offset, length) {
    const bytes = Buffer.alloc(Math.max(0, length));
    for (let index = 0; index < bytes.length; index += 1) {
        bytes[index] = pages.segment[move(pages, record, offset + index)] ?? 0;
    }
    return bytes;
}

;// CONCATENATED MODULE: ./build/src/postgres/wal/restore-points.js



/** `XLOG_RESTORE_POINT` in src/include/catalog/pg_control.h */
const RESTORE_POINT = 0x70;
/** `xl_restore_point`: the time in microseconds since 2000, then the name in 64 bytes (xlog_internal.h). */
const TIME_BYTES = 8;
const RECORD_BYTES = TIME_BYTES + 64;
/** 2000-01-01 in microseconds since 1970: where PostgreSQL's clock starts. */
const POSTGRES_EPOCH_MICROS = 946684800000000n;
/**
 * The restore points whose records lie in a WAL segment, in order, whoever made them. One that continues in the next
 * segment, which is one in 160,000 of those of a busy server, is not seen: it is no target then.
 */
function restorePointsIn(segment) {
    const points = [];
    for (const record of recordsOf(segment, [XLOG_MANAGER])) {
        if (record.kind !== RESTORE_POINT)
            continue;
        const data = record.mainData(RECORD_BYTES);
        const nul = data.indexOf(0, TIME_BYTES);
        if (data.length < RECORD_BYTES || nul === -1 || record.end > endOf(segment))
            continue;
        const name = data.subarray(TIME_BYTES, nul).toString("utf8");
        const micros = data.readBigInt64LE(0) + POSTGRES_EPOCH_MICROS;
        points.push({ name, lsn: formatLsn(record.end), time: toRfc3339(micros) });
    }
    return points;
}
/**
 * Whether the record of a point lies in a segment. False is proof that the segment is from elsewhere: the server that made
 * the point and the one that the WAL comes from went separate ways. A record that may have begun in the segment before
 * cannot be told, and counts as there.
 */
function holdsPoint(segment, point) {
    const into = lsn(point.lsn) - segment.readBigUInt64LE(8);
    if (!isLittleEndian(segment) || into < LONGEST_POINT_BYTES)
        return true;
    return restorePointsIn(segment).some(({ name, lsn: end }) => name === point.name && end === point.lsn);
}
function endOf(segment) {
    return segment.readBigUInt64LE(8) + BigInt(segment.length);
}

;// CONCATENATED MODULE: ./build/src/postgres/wal/wal-archive.js








/**
 * Stores one whole segment: first its sidecar, which fixes the content of the name for ever, then the packed segment.
 * The same content again is fine. Returns the bytes written. Throws a {@link DefectError} when the store holds other
 * content under the name.
 */
async function archiveSegment(archive, name, bytes, point, context) {
    const { store, component, recipients } = archive;
    const sealed = recipients.length > 0;
    if (!(await claim(archive, { name }, bytes, point, context))) {
        for (const form of [sealed, !sealed]) {
            if ((await store.stat((0,layout/* segmentKey */.zT)(component, name, form), context.signal)) !== undefined)
                return 0;
        }
    }
    return await putPacked(archive, (0,layout/* segmentKey */.zT)(component, name, sealed), bytes, context);
}
/**
 * Stores the first bytes of a segment that is not complete yet, by the same rules: its length is part of its name.
 * `bytes` must stay as they are until it is done. Returns the bytes written.
 */
async function archivePartial(archive, name, bytes, point, context) {
    await claim(archive, { name, partial: { bytes: bytes.length } }, bytes, point, context);
    const key = (0,layout/* partialKey */.Xd)(archive.component, name, bytes.length, archive.recipients.length > 0);
    return await putPacked(archive, key, bytes, context);
}
/** Creates the sidecar; false when the store has one of the same content already. */
async function claim(archive, segment, bytes, point, context) {
    const { store, component, systemIdentifier } = archive;
    const named = restorePointsIn(bytes);
    const sidecar = {
        schema: segment.partial === undefined ? "drillbook/wal-segment/v1" : "drillbook/wal-partial/v1",
        segment: segment.name,
        systemIdentifier,
        sha256: (0,external_node_crypto_.createHash)("sha256").update(bytes).digest("hex"),
        bytes: bytes.length,
        archivedAt: context.now().toISOString(),
        ...(point === undefined ? {} : { restorePoint: point }),
        ...(named.length === 0 ? {} : { restorePoints: named }),
    };
    const key = sidecarKeyOf(component, segment);
    if (await store.create(key, (0,documents/* encodeDocument */.K)(sidecar), context.signal))
        return true;
    const known = await readSidecarOf(store, component, segment, context.signal);
    if (known.sha256 === sidecar.sha256 && known.systemIdentifier === systemIdentifier)
        return false;
    throw otherContent(store.describe(key), segment.name);
}
async function putPacked(archive, key, bytes, context) {
    const { signal } = context;
    // One frame at a time: several segments may be on their way, and memory counts more than speed.
    const packed = pack(wal_archive_once(bytes), { recipients: archive.recipients, signal, hashRaw: false, inFlight: 1 });
    return await archive.store.put(key, packed.stream, { signal, expectedBytes: bytes.length + 2 ** 20 });
}
/** The archive and the server disagree on what a segment holds. */
function otherContent(subject, name) {
    return new errors/* DefectError */.uR(subject, `${subject} says that the archive holds another content of the WAL segment ${name} than the server has now: two servers went separate ways on one timeline, so give this one another component name or prefix.`);
}
/** Stores a timeline's history file. Throws a {@link DefectError} when the store holds another one of that name. */
async function archiveHistory(archive, timeline, content, context) {
    const { store, component } = archive;
    const key = (0,layout/* historyKey */.Ox)(component, timeline);
    const bytes = Buffer.from(content, "utf8");
    if (await store.create(key, bytes, context.signal))
        return;
    const known = await (0,stores_store/* readAll */.yw)(await store.get(key, { signal: context.signal }));
    if (known.equals(bytes))
        return;
    const subject = store.describe(key);
    throw new errors/* DefectError */.uR(subject, `${subject} is the history of another timeline ${timeline} than this server's: two servers went separate ways, so give this one another component name or prefix.`);
}
async function* wal_archive_once(bytes) {
    yield bytes;
}

;// CONCATENATED MODULE: ./build/src/postgres/wal/wal-partials.js






const BATCH = 500;
function openWalPartials(archive, inventory, context) {
    const { store, component } = archive;
    const sealed = archive.recipients.length > 0;
    /** Objects of partials in the store, by segment, and the newest that earlier runs left. */
    const keys = new Map([...inventory.partials].map(([name, partials]) => [name, [...partials.keys]]));
    const found = new Map([...inventory.partials].map(([name, partials]) => [name, partials.newest]));
    const underWay = new Map();
    let warned = false;
    /** Best effort: what remains only takes space, and a role may be allowed to write but not to delete. */
    async function remove(gone) {
        try {
            for (let index = 0; index < gone.length; index += BATCH) {
                await store.delete(gone.slice(index, index + BATCH), context.signal);
            }
        }
        catch (error) {
            if (context.signal.aborted)
                throw new errors/* AbortedError */.oM();
            if (warned)
                return;
            warned = true;
            context.log.warning(`Partial WAL segments that are not needed any more could not be deleted and remain in the store: ${(0,errors/* messageOf */.bD)(error)}`);
        }
    }
    /** Removes all but these. */
    async function keepOnly(name, kept) {
        const all = keys.get(name) ?? [];
        keys.set(name, [...kept]);
        await remove(all.filter((key) => !kept.includes(key)));
    }
    function keysOf(segment) {
        return segment === undefined ? [] : [segment.key, sidecarKeyOf(component, segment)];
    }
    async function pointIn(name, content) {
        const newest = found.get(name);
        if (newest?.partial === undefined)
            return undefined;
        const subject = store.describe(sidecarKeyOf(component, newest));
        try {
            const sidecar = await readSidecarOf(store, component, newest, context.signal);
            const begin = content.subarray(0, newest.partial.bytes);
            const same = (0,external_node_crypto_.createHash)("sha256").update(begin).digest("hex") === sidecar.sha256;
            if (same && sidecar.systemIdentifier === archive.systemIdentifier)
                return sidecar.restorePoint;
        }
        catch (error) {
            if (!(error instanceof stores_store/* ObjectMissing */.GV || error instanceof errors/* DefectError */.uR))
                throw error;
            // The whole segment takes its place: only the point that it noted is lost, until this run ends in a newer one.
            context.log.warning(`${(0,errors/* messageOf */.bD)(error)} The segment itself is archived all the same.`);
            return undefined;
        }
        throw otherContent(subject, name);
    }
    async function shipNow(name, content, point) {
        const own = [
            (0,layout/* partialKey */.Xd)(component, name, content.length, sealed),
            (0,layout/* partialSidecarKey */.ac)(component, name, content.length),
        ];
        // What an earlier run left must be its beginning: it is deleted afterwards, and its point is older than this one.
        await pointIn(name, content);
        keys.set(name, [...(keys.get(name) ?? []), ...own]);
        const bytes = await archivePartial(archive, name, content, point, context);
        found.delete(name);
        await keepOnly(name, own);
        return bytes;
    }
    return {
        async tidy() {
            for (const [name, newest] of found) {
                await keepOnly(name, inventory.segments.has(name) ? [] : keysOf(newest));
            }
        },
        async ship(name, content, point) {
            const work = shipNow(name, content, point);
            const settled = work.catch(() => undefined).finally(() => underWay.delete(name));
            underWay.set(name, settled);
            return await work;
        },
        async idle(name) {
            await underWay.get(name);
        },
        pointIn,
        async drop(name) {
            if (keys.has(name))
                await keepOnly(name, []);
        },
    };
}

;// CONCATENATED MODULE: ./build/src/catalog/manifest.js

/** One object of a backup: tar or text, plain or in zstd frames, sealed with age when the store is encrypted. */
const backupObject = schemas/* object */.Ikc({
    /** Name below the backup's folder, such as `base.tar.zst.age`. */
    name: schemas/* string */.YjP(),
    /** `archive`: a tar of the data folder or of one tablespace. `file`: a single file. */
    role: schemas/* enum */.k5n(["archive", "file"]),
    /** Whether the object is sealed with age. */
    sealed: schemas/* boolean */.zMY(),
    /** Bytes before compression. */
    rawBytes: schemas/* number */.aig(),
    /** Bytes of the object as it lies in the store. */
    storedBytes: schemas/* number */.aig(),
    /** SHA-256 of the object as it lies in the store, in hex. */
    storedSha256: schemas/* string */.YjP(),
    /** Raw bytes in each zstd frame but the last; 0 when the object is not compressed. */
    frameBytes: schemas/* number */.aig(),
    /** Compressed length of each frame, in order, before sealing; empty when the object is not compressed. */
    frames: schemas/* array */.YOg(schemas/* number */.aig()),
});
/** `backups/<id>/manifest.json`: written last, so a backup exists when this does. Times are RFC 3339 in UTC. */
const backupManifest = schemas/* object */.Ikc({
    schema: schemas/* literal */.euz("drillbook/backup-manifest/v1"),
    id: schemas/* string */.YjP(),
    service: schemas/* string */.YjP(),
    component: schemas/* string */.YjP(),
    /** The component's type, such as `postgres`, and the method, such as `physical`. */
    type: schemas/* string */.YjP(),
    method: schemas/* string */.YjP(),
    startedAt: schemas/* string */.YjP(),
    finishedAt: schemas/* string */.YjP(),
    objects: schemas/* array */.YOg(backupObject),
    /** What the component's own kind needs for recovery; its folder declares the shape. */
    details: schemas/* unknown */.L5J(),
});

;// CONCATENATED MODULE: ./build/src/catalog/backups.js






/** The ids of a component's backups in ascending order, which is the order of time. */
async function listBackupIds(store, component, signal) {
    const ids = [];
    for await (const object of store.list((0,layout/* backupsPrefix */.Iv)(component), signal)) {
        const id = (0,layout/* manifestId */.Hx)(component, object.key);
        if (id !== undefined)
            ids.push(id);
    }
    return ids.sort();
}
/**
 * The manifests of all backups of a component, oldest first. A manifest that cannot be read is a
 * {@link DefectError} that names it.
 */
async function listBackups(store, component, signal) {
    const backups = [];
    const ids = await listBackupIds(store, component, signal);
    const newest = (await glanceAtHeartbeat(store, component, signal))?.newestBackup;
    // A listing may lag behind; it is read as the others are, so one that was deleted does no harm.
    if (newest != null && (0,layout/* isBackupId */["if"])(newest) && !ids.includes(newest))
        ids.push(newest);
    for (const id of ids) {
        const manifest = await readManifest(store, component, id, signal).catch((error) => {
            // Another run's retention deleted it since it was listed.
            if (error instanceof stores_store/* ObjectMissing */.GV)
                return undefined;
            throw error;
        });
        if (manifest !== undefined)
            backups.push(manifest);
    }
    // Ids are only as fine as a second.
    return backups.sort((a, b) => Date.parse(a.startedAt) - Date.parse(b.startedAt));
}
/** One backup. Throws a {@link UserError} that names the backups there are when there is no such id. */
async function readBackup(store, component, id, signal) {
    try {
        if ((0,layout/* isBackupId */["if"])(id))
            return await readManifest(store, component, id, signal);
    }
    catch (error) {
        if (!(error instanceof stores_store/* ObjectMissing */.GV))
            throw error;
    }
    const ids = await listBackupIds(store, component, signal);
    const newest = ids.slice(-3).reverse().join(", ");
    throw new errors/* UserError */.yo(ids.length === 0
        ? `There is no backup "${id}" of ${component}, and no other: run the backup action first.`
        : `There is no backup "${id}" of ${component}: the newest are ${newest}.`);
}
async function readManifest(store, component, id, signal) {
    const key = (0,layout/* manifestKey */.Rn)(component, id);
    const manifest = await (0,documents/* readDocument */.u)(store, key, backupManifest, signal);
    if (manifest.id === id && manifest.component === component)
        return manifest;
    const subject = store.describe(key);
    throw new errors/* DefectError */.uR(subject, `${subject} describes the backup ${manifest.id} of ${manifest.component}: it was copied or renamed.`);
}

;// CONCATENATED MODULE: ./build/src/postgres/wal/wal-plan.js











/** The server's timeline with its ancestors; their history files go into the store. */
async function storeTimelines(replication, identity, archive, context) {
    const { timeline } = identity;
    if (timeline === 1)
        return rootTimeline(1);
    const content = await readServerHistory(replication, timeline);
    const path = parseHistory(timeline, content);
    if (path === undefined)
        throw new errors/* ToolError */.v4(`The server's history file of timeline ${timeline} is damaged.`);
    await archiveHistory(archive, timeline, content, context);
    return path;
}
async function readServerHistory(replication, timeline) {
    const [row] = await replication.query("reading the timeline's history", `TIMELINE_HISTORY ${timeline}`);
    return need(row, "content");
}
/**
 * Continues where the archive's unbroken chain from the newest backup ends; without a backup, where the oldest
 * unbroken chain ends; with no WAL at all, at `startLsn`. A partial segment is no end: it is pulled as a whole.
 */
async function planPull(archive, identity, path, startLsn, context) {
    const { store, component } = archive;
    const { walSegmentBytes } = identity;
    const freshFirst = segmentAt(lsn(startLsn), walSegmentBytes);
    const { signal } = context;
    const listed = await listSegments(store, component, walSegmentBytes, signal);
    const beat = await glanceAtHeartbeat(store, component, signal);
    const { histories, ...rest } = await withPromised(store, component, listed, beat, signal);
    // It was archived just now: too late for some listings.
    const promised = { ...rest, histories: new Map([...histories, [path.timeline, path]]) };
    const anchor = (await anchorAtBackup(archive, path, context)) ?? anchorAtOldest(promised, path);
    if (anchor === undefined) {
        return { path, first: freshFirst, freshFirst, last: undefined, inventory: promised };
    }
    const from = { ...anchor, target: path.timeline };
    const inventory = await withUnlisted(store, component, promised, from, signal);
    const chain = wholeSegments(chainFrom(inventory, anchor.position, anchor.timeline, path.timeline));
    const first = (chain.at(-1)?.number ?? segmentAt(anchor.position, walSegmentBytes) - 1) + 1;
    if (segmentStart(first, walSegmentBytes) > lsn(identity.flushedTo)) {
        throw new errors/* ToolError */.v4(`The archive of "${component}" holds WAL up to ${formatLsn(segmentStart(first, walSegmentBytes))}, but the server is only at ${identity.flushedTo}: either it is a standby that has yet to catch up, then run the action again; or it was set back to an older state without a new timeline, then give it another component name or prefix.`);
    }
    return { path, first, freshFirst, last: chain.at(-1)?.name, inventory };
}
/** The newest backup's start, when the server's timeline grew out of it. */
async function anchorAtBackup(archive, path, context) {
    const { store, component } = archive;
    const newest = (await listBackups(store, component, context.signal)).at(-1);
    if (newest === undefined)
        return undefined;
    const details = readDetails(newest, store.describe((0,layout/* manifestKey */.Rn)(component, newest.id)));
    const position = lsn(details.startLsn);
    return isOnPath(path, details.timeline, position) ? { position, timeline: details.timeline } : undefined;
}
/** Without a backup: the oldest segment on the server's timelines, also one whose upload was broken off. */
function anchorAtOldest(inventory, path) {
    const { segmentBytes } = inventory;
    let oldest = Number.POSITIVE_INFINITY;
    for (const name of [...inventory.segments.keys(), ...inventory.unfinished]) {
        const segment = parseSegmentName(name, segmentBytes);
        if (segment === undefined)
            continue;
        if (segment.timeline !== timelineOfSegment(path, segment.number, segmentBytes))
            continue;
        oldest = Math.min(oldest, segment.number);
    }
    if (!Number.isFinite(oldest))
        return undefined;
    return {
        position: segmentStart(oldest, segmentBytes),
        timeline: timelineOfSegment(path, oldest, segmentBytes),
    };
}
/** The runs of segments from `first` on, timeline by timeline. */
function legsFrom(path, first, segmentBytes) {
    const legs = [];
    let next = first;
    for (const ancestor of path.ancestors) {
        const last = segmentAt(ancestor.end, segmentBytes) - 1;
        if (next > last)
            continue;
        legs.push({ timeline: ancestor.timeline, first: next, last });
        next = last + 1;
    }
    legs.push({ timeline: path.timeline, first: next, last: Number.POSITIVE_INFINITY });
    return legs;
}
/** The chain cannot be continued: what is missing and what to do. */
function gapSentence(component, plan, slot, segmentBytes) {
    const timeline = timelineOfSegment(plan.path, plan.first, segmentBytes);
    const missing = segmentName(timeline, plan.first, segmentBytes);
    return `The WAL archive of "${component}" ends before segment ${missing}, which the server has already removed: the slot "${slot.name}" was created, dropped or lost in between (max_slot_wal_keep_size limits what it keeps)`;
}

;// CONCATENATED MODULE: ./build/src/postgres/wal/wal-stream.js





/**
 * The server ends a connection that is silent for `wal_sender_timeout`, 60 s by default. A slow store keeps us from
 * reading its questions, so signs of life are sent unasked.
 */
const STATUS_EVERY_MS = 1_000;
/** Starts streaming. Throws a WalRemovedError from {@link WalStream.next} when the server no longer has the WAL. */
function openWalStream(replication, options) {
    const { slot, timeline, segmentBytes } = options;
    let position = segmentStart(options.first, segmentBytes);
    let flushed = 0n;
    const session = replication.copy("streaming WAL", `START_REPLICATION SLOT ${quoteIdentifier(slot)} PHYSICAL ${formatLsn(position)} TIMELINE ${timeline}`);
    const timer = setInterval(() => session.send(statusUpdate(flushed)), STATUS_EVERY_MS);
    timer.unref();
    let segment;
    /** Bytes of the last message that belong to the next segment. */
    let rest;
    let filled = 0;
    /** Takes up bytes until the segment is full; returns it then. */
    function fill(data) {
        segment ??= Buffer.allocUnsafeSlow(segmentBytes);
        const taken = data.copy(segment, filled);
        filled += taken;
        position += BigInt(taken);
        rest = taken < data.length ? data.subarray(taken) : undefined;
        options.onReceived?.(position);
        if (filled < segmentBytes)
            return undefined;
        const whole = segment;
        segment = undefined;
        filled = 0;
        checkHeader(whole, position - BigInt(segmentBytes));
        return whole;
    }
    function checkHeader(content, start) {
        const header = readSegmentHeader(content);
        if (header?.pageAddress === start &&
            header.systemIdentifier === options.systemIdentifier &&
            header.segmentBytes === segmentBytes) {
            return;
        }
        throw new errors/* ToolError */.v4(`The server sent WAL at ${formatLsn(start)} whose header is not of this cluster and position: its WAL is damaged there.`);
    }
    return {
        async next() {
            for (;;) {
                if (rest !== undefined) {
                    const whole = fill(rest);
                    if (whole !== undefined)
                        return whole;
                }
                const message = await session.next();
                if (message === undefined)
                    return undefined;
                const parsed = readWalMessage(message);
                if (parsed?.kind === "keepalive" && parsed.replyNow)
                    session.send(statusUpdate(flushed));
                if (parsed?.kind !== "data")
                    continue;
                if (parsed.start !== position) {
                    throw new errors/* ToolError */.v4(`The server sent WAL from ${formatLsn(parsed.start)} where ${formatLsn(position)} was due: run the action again.`);
                }
                const whole = fill(parsed.data);
                if (rest === undefined)
                    release(message);
                if (whole !== undefined)
                    return whole;
            }
        },
        unfinished() {
            if (segment === undefined || filled < SEGMENT_HEADER_BYTES)
                return undefined;
            const start = position - BigInt(filled);
            const content = segment.subarray(0, filled);
            checkHeader(content, start);
            return { number: segmentAt(start, segmentBytes), content };
        },
        confirm(upTo) {
            flushed = upTo;
            session.send(statusUpdate(flushed));
        },
        async end() {
            clearInterval(timer);
            session.end();
            try {
                while ((await session.next()) !== undefined)
                    ;
            }
            catch (error) {
                if (error instanceof errors/* AbortedError */.oM)
                    throw error;
                // Everything that was asked for is in the store: how the server says good-bye is of no matter.
            }
        },
        dispose() {
            clearInterval(timer);
        },
    };
}

;// CONCATENATED MODULE: ./build/src/postgres/wal/wal-uploads.js






/** Memory of segments that are being uploaded. */
const IN_FLIGHT_BYTES = 32 * 2 ** 20;
function pointElsewhere(point) {
    return new errors/* ToolError */.v4(`The WAL that arrived does not hold the restore point ${point.name} that was made at ${point.lsn}: the server that writes and the one that the WAL comes from went separate ways, so look at connection, primary and the archive's folder.`);
}
function openWalUploads(options, context) {
    const { archive, partials, segmentBytes } = options;
    const most = Math.max(1, Math.min(4, Math.floor(IN_FLIGHT_BYTES / segmentBytes)));
    const progress = startProgress(context, "WAL");
    const uploads = new Set();
    const stored = new Set();
    const points = new Map();
    let held;
    let failure;
    let durable = options.first - 1;
    /** Number of the last segment that went on its way, and so cannot hold a point that is still to come. */
    let passed = durable;
    let segments = 0;
    let bytes = 0;
    let newChain;
    let change = Promise.withResolvers();
    function touch() {
        change.resolve();
        change = Promise.withResolvers();
    }
    function fail(error) {
        failure ??= { error };
        held?.reject(error);
        touch();
    }
    async function upload(timeline, number, content) {
        await held?.promise;
        passed = Math.max(passed, number);
        const name = segmentName(timeline, number, segmentBytes);
        const point = points.get(number);
        if (point !== undefined && !holdsPoint(content, point))
            throw pointElsewhere(point);
        // A partial of it reads from the same memory.
        await partials.idle(name);
        const earlier = await partials.pointIn(name, content);
        bytes += await archiveSegment(archive, name, content, point ?? earlier, context);
        progress.add(content.length);
        release(content);
        segments += 1;
        stored.add(number);
        // Uploads end in any order, but only an unbroken run is safe.
        while (stored.delete(durable + 1))
            durable += 1;
        await options.onStored?.(name, durable);
        await partials.drop(name);
    }
    return {
        add(timeline, number, content) {
            const task = upload(timeline, number, content)
                .catch((error) => {
                failure ??= { error };
            })
                .finally(() => {
                uploads.delete(task);
                touch();
            });
            uploads.add(task);
        },
        hasRoom: () => uploads.size < most,
        changed: () => change.promise,
        touch,
        durable: () => durable,
        startAt(first) {
            if (first !== options.first)
                newChain = first;
            durable = first - 1;
            passed = durable;
        },
        hold() {
            held ??= Promise.withResolvers();
            held.promise.catch(() => undefined);
        },
        release(point) {
            if (point !== undefined) {
                const number = segmentBefore(lsn(point.lsn), segmentBytes);
                if (number <= passed)
                    fail(pointElsewhere(point));
                points.set(number, point);
            }
            held?.resolve();
            held = undefined;
            touch();
        },
        fail,
        throwIfFailed() {
            if (context.signal.aborted)
                throw new errors/* AbortedError */.oM();
            if (failure !== undefined)
                throw failure.error;
        },
        async settle() {
            held?.reject(new errors/* AbortedError */.oM());
            await Promise.allSettled(uploads);
        },
        count(written) {
            bytes += written;
        },
        totals: () => ({ segments, bytes, newChain }),
    };
}

;// CONCATENATED MODULE: ./build/src/postgres/wal/wal-pull.js








/** Starts to copy WAL segments into the store over a replication connection that it has for itself. */
function startPull(replication, options, context) {
    const { archive, identity, slot, plan } = options;
    const { walSegmentBytes } = identity;
    let goal;
    let stream;
    /** The point that somebody waits for; WAL that does not reach it wakes nobody. */
    let awaited;
    const partials = openWalPartials(archive, plan.inventory, context);
    const uploads = openWalUploads({ archive, partials, segmentBytes: walSegmentBytes, first: plan.first, onStored: confirm }, context);
    function confirm() {
        const position = segmentStart(uploads.durable() + 1, walSegmentBytes);
        // The server takes any position, so never ask it to move the slot back.
        if (position > lsn(slot.restartLsn))
            stream?.confirm(position);
    }
    function reached(leg) {
        const last = goal === undefined ? leg.last : Math.min(leg.last, segmentBefore(goal.through, walSegmentBytes));
        return uploads.durable() >= last;
    }
    async function pullLeg(leg) {
        const { systemIdentifier } = identity;
        stream = openWalStream(replication, {
            slot: slot.name,
            timeline: leg.timeline,
            first: leg.first,
            segmentBytes: walSegmentBytes,
            systemIdentifier,
            onReceived(position) {
                if (awaited === undefined || position < awaited)
                    return;
                awaited = undefined;
                uploads.touch();
            },
        });
        let number = leg.first;
        let next;
        while (!reached(leg)) {
            uploads.throwIfFailed();
            if (!uploads.hasRoom() || number > leg.last) {
                await uploads.changed();
                continue;
            }
            next ??= stream.next();
            // It may fail after the loop has been left.
            next.catch(() => undefined);
            const pending = next;
            const again = Symbol("again");
            const content = await Promise.race([pending, uploads.changed().then(() => again)]);
            if (typeof content === "symbol")
                continue;
            next = undefined;
            if (content === undefined) {
                throw new errors/* ToolError */.v4(`The server ended timeline ${leg.timeline} before ${formatLsn(segmentStart(number + 1, walSegmentBytes))}: it was promoted or restarted, so run the action again.`);
            }
            uploads.add(leg.timeline, number, content);
            number += 1;
        }
        uploads.throwIfFailed();
        // One last time, after the last upload: the end of the copy follows it on the wire.
        confirm();
        await stream.end();
    }
    async function pullFrom(first) {
        uploads.startAt(first);
        for (const leg of legsFrom(plan.path, first, walSegmentBytes)) {
            if (goal !== undefined && leg.first > segmentBefore(goal.through, walSegmentBytes))
                return;
            await pullLeg(leg);
        }
    }
    async function run() {
        try {
            await partials.tidy();
            await pullFrom(plan.first).catch(async (error) => {
                if (!(error instanceof WalRemovedError))
                    throw error;
                const gap = gapSentence(archive.component, plan, slot, walSegmentBytes);
                if (options.kind === "wal" || plan.freshFirst <= plan.first) {
                    throw new errors/* ToolError */.v4(`${gap}. Take a full backup, which begins a new chain.`);
                }
                context.log.warning(`${gap}. This backup begins a new chain; times in the gap cannot be recovered.`);
                stream?.dispose();
                await pullFrom(plan.freshFirst);
            });
            return { ...uploads.totals(), lastSegment: segmentOnPath(plan, uploads.durable(), walSegmentBytes) };
        }
        catch (error) {
            const better = context.signal.aborted ? undefined : await options.explainLoss();
            uploads.fail(better ?? error);
            throw better ?? error;
        }
        finally {
            stream?.dispose();
            await uploads.settle();
        }
    }
    async function mark(point) {
        const through = lsn(point.lsn);
        const number = segmentBefore(through, walSegmentBytes);
        awaited = through;
        uploads.release(point);
        for (;;) {
            uploads.throwIfFailed();
            if (uploads.durable() >= number)
                return markedBy(uploads, plan, walSegmentBytes, null);
            const unfinished = uploads.durable() === number - 1 ? stream?.unfinished() : undefined;
            const end = segmentStart(number, walSegmentBytes) + BigInt(unfinished?.content.length ?? 0);
            if (unfinished?.number === number && end >= through) {
                const segment = segmentOnPath(plan, number, walSegmentBytes);
                const { content } = unfinished;
                // Begun before anything else can happen to that memory.
                uploads.count(await partials.ship(segment, content, point));
                return markedBy(uploads, plan, walSegmentBytes, { segment, bytes: content.length });
            }
            await uploads.changed();
        }
    }
    const done = run();
    // Whoever waits for it sees the failure; until then it must not end the process.
    done.catch(() => undefined);
    return {
        shipsPartials: true,
        hold: () => uploads.hold(),
        mark,
        finish(reachedGoal) {
            goal = reachedGoal;
            uploads.release(goal.point);
        },
        done,
        async stop() {
            uploads.fail(new errors/* AbortedError */.oM());
            await done.catch(() => undefined);
        },
    };
}
/** What is in the store now. A segment that has become whole in the meantime needs no partial. */
function markedBy(uploads, plan, segmentBytes, partial) {
    const durable = uploads.durable();
    const last = durable < plan.first ? (plan.last ?? null) : segmentOnPath(plan, durable, segmentBytes);
    return {
        ...uploads.totals(),
        lastSegment: last,
        partial: partial !== null && partial.segment === last ? null : partial,
    };
}
/** The name of segment `number` on the server's timelines. */
function segmentOnPath(plan, number, segmentBytes) {
    return segmentName(timelineOfSegment(plan.path, number, segmentBytes), number, segmentBytes);
}

;// CONCATENATED MODULE: ./build/src/postgres/wal/folder-pull.js









const folder_pull_LOOK_EVERY_MS = 250;
/** A server whose `archive_command` failed tries again after a minute. */
const folder_pull_PATIENCE_MS = 5 * 60_000;
/** Archivers that work in parallel finish segments in any order. */
const GAP_MS = 5_000;
/** Starts to copy WAL segments from a folder into the store, in order, as they appear. */
function startFolderPull(options, context) {
    const { archive, folder, identity, plan, patienceMs = folder_pull_PATIENCE_MS, gapMs = GAP_MS } = options;
    const { walSegmentBytes } = identity;
    const partials = openWalPartials(archive, plan.inventory, context);
    const uploads = openWalUploads({ archive, partials, segmentBytes: walSegmentBytes, first: plan.first }, context);
    const stopped = new AbortController();
    const signal = AbortSignal.any([context.signal, stopped.signal]);
    let goal;
    /** Number of the last segment that the server was asked to complete. */
    let asked = Number.NEGATIVE_INFINITY;
    let number = plan.first;
    let lastProgress = performance.now();
    function last() {
        return goal === undefined ? Number.POSITIVE_INFINITY : segmentBefore(goal.through, walSegmentBytes);
    }
    async function look() {
        await Promise.race([uploads.changed(), (0,external_node_timers_promises_.setTimeout)(folder_pull_LOOK_EVERY_MS, undefined, { signal })]).catch(() => undefined);
    }
    /** Whether the folder holds a later segment of the chain, so that this one will not come. */
    async function laterIsThere() {
        const names = await folder.segmentNames();
        return names.some((name) => {
            const found = parseSegmentName(name, walSegmentBytes);
            if (found === undefined || found.number <= number)
                return false;
            return found.timeline === timelineOfSegment(plan.path, found.number, walSegmentBytes);
        });
    }
    function passGap(missing) {
        const gap = `The WAL archive of "${archive.component}" ends before segment ${segmentOnPath(plan, number, walSegmentBytes)}, and ${folder.path} does not have it although it has later ones (${missing})`;
        if (options.kind === "wal" || plan.freshFirst <= number) {
            throw new errors/* ToolError */.v4(`${gap}. Take a full backup, which begins a new chain.`);
        }
        context.log.warning(`${gap}. This backup begins a new chain; times in the gap cannot be recovered.`);
        number = plan.freshFirst;
        uploads.startAt(number);
        lastProgress = performance.now();
    }
    async function waitFor(missing) {
        const waited = performance.now() - lastProgress;
        if (waited > gapMs && (await laterIsThere()))
            return passGap(missing);
        if ((goal !== undefined || number <= asked) && waited > patienceMs) {
            const name = segmentOnPath(plan, number, walSegmentBytes);
            throw new errors/* ToolError */.v4(`The server did not archive segment ${name} into ${folder.path} within ${(0,values/* formatDuration */.a3)(patienceMs / 1000)}: ${missing}. ${await options.explain()}`);
        }
        await look();
    }
    async function storeHistories() {
        for (const { timeline } of [...plan.path.ancestors, plan.path]) {
            if (timeline === 1)
                continue;
            let found = await folder.history(timeline);
            if (!("content" in found)) {
                // A new file counts at the second look.
                await look();
                found = await folder.history(timeline);
            }
            if (!("content" in found))
                continue;
            const text = found.content.toString("utf8");
            if (parseHistory(timeline, text) !== undefined)
                await archiveHistory(archive, timeline, text, context);
        }
    }
    async function run() {
        try {
            await partials.tidy();
            await storeHistories();
            while (uploads.durable() < last()) {
                uploads.throwIfFailed();
                if (!uploads.hasRoom() || number > last()) {
                    await look();
                    continue;
                }
                const found = await folder.segment(segmentOnPath(plan, number, walSegmentBytes));
                if (!("content" in found)) {
                    await waitFor(found.missing);
                    continue;
                }
                uploads.add(timelineOfSegment(plan.path, number, walSegmentBytes), number, found.content);
                number += 1;
                lastProgress = performance.now();
            }
            uploads.throwIfFailed();
            return { ...uploads.totals(), lastSegment: segmentOnPath(plan, uploads.durable(), walSegmentBytes) };
        }
        catch (error) {
            uploads.fail(error);
            throw error;
        }
        finally {
            stopped.abort();
            await uploads.settle();
        }
    }
    async function mark(point) {
        asked = segmentBefore(lsn(point.lsn), walSegmentBytes);
        lastProgress = performance.now();
        uploads.release(point);
        while (uploads.durable() < asked) {
            uploads.throwIfFailed();
            await uploads.changed();
        }
        return markedBy(uploads, plan, walSegmentBytes, null);
    }
    const done = run();
    // Whoever waits for it sees the failure; until then it must not end the process.
    done.catch(() => undefined);
    return {
        shipsPartials: false,
        hold: () => uploads.hold(),
        mark,
        finish(reachedGoal) {
            goal = reachedGoal;
            // The server archives only now what the run waits for.
            lastProgress = performance.now();
            uploads.release(goal.point);
        },
        done,
        async stop() {
            uploads.fail(new errors/* AbortedError */.oM());
            await done.catch(() => undefined);
        },
    };
}

;// CONCATENATED MODULE: ./build/src/postgres/wal/pulling.js








async function pullFromSlot(source, slotName, context) {
    const { kind, sql, walSender, identity, standby, archive } = source;
    const slot = await ensureSlot(sql, walSender, slotName, kind, context);
    const notes = slotNotes(slot.report);
    for (const { severity, text } of notes) {
        // Only what is wrong becomes an annotation.
        if (severity === "notice")
            context.log.info(`${archive.component}: ${text}`);
        else
            context.log.warning(`${archive.component}: ${text}`);
    }
    const path = await storeTimelines(walSender, identity, archive, context);
    const start = standby !== undefined && kind === "full"
        ? await keepFromRestartPoint(sql, walSender, slot)
        : slot.restartLsn;
    const plan = await planPull(archive, identity, path, start, context);
    const whyLost = () => explainLoss(sql, slot.name, context.signal);
    const options = { archive, identity, slot, plan, kind, explainLoss: whyLost };
    const pull = startPull(walSender, options, context);
    return {
        pull: standby === undefined ? pull : watchPull(pull, standby, context),
        slot: slot.report,
        notes,
    };
}
async function pullFromFolder(source, path, context) {
    const { kind, sql, walSender, identity, writer, standby, archive } = source;
    const { systemIdentifier, walSegmentBytes } = identity;
    const folder = await openArchiveFolder({ path, systemIdentifier, segmentBytes: walSegmentBytes });
    const timelines = await storeTimelines(walSender, identity, archive, context);
    const start = standby !== undefined && kind === "full" ? (await readRestartPoint(sql)).redo : identity.flushedTo;
    const plan = await planPull(archive, identity, timelines, start, context);
    const explain = () => describeArchiving(writer.sql);
    return { pull: startFolderPull({ archive, folder, identity, plan, kind, explain }, context) };
}

;// CONCATENATED MODULE: ./build/src/postgres/wal/streaming.js





/** Between two points, when the runbook does not say how fresh WAL must be. */
const EVERY_SECONDS = 30;
/** In a folder each point takes a whole segment, which nobody but the server's owner deletes. */
const EVERY_SECONDS_IN_FOLDER = 5 * 60;
/**
 * Lets the pull go on for a while, and makes everything so far recoverable again and again. Returns the last point;
 * undefined when the role may make none. Throws when the pull fails.
 */
async function streamWal(options, context) {
    const { component, writer, pull, seconds } = options;
    const { log } = context;
    const end = performance.now() + seconds * 1000;
    const until = new Date(context.now().getTime() + seconds * 1000).toISOString().slice(0, 19);
    const every = secondsBetween(options);
    const goal = `Streaming the WAL of ${component} for ${(0,values/* formatDuration */.a3)(seconds)}, until ${until}Z`;
    if (!mayMark(options)) {
        log.warning(`${goal}. Only whole segments are shipped, because the role may make no restore points that say how far an unfinished one reaches.`);
        await pause(end - performance.now(), pull, context);
        return undefined;
    }
    log.info(`${goal}, with a new recoverable point at least every ${(0,values/* formatDuration */.a3)(every)}`);
    if (!pull.shipsPartials) {
        log.info("A folder holds whole segments alone, so each point ends its segment with pg_switch_wal, as archive_timeout does");
    }
    // A server may end sessions that ask too seldom.
    await writer.sql.query("preparing the session", "SET idle_session_timeout = 0");
    let last;
    let next = performance.now();
    for (;;) {
        await pause(Math.min(next, end) - performance.now(), pull, context);
        const now = performance.now();
        // The run ends in a point of its own.
        if (now >= end)
            return last;
        next = now + every * 1000;
        last = await mark(options, context);
        await options.onMark(last);
        log.info(describeMark(component, last, context));
    }
}
function secondsBetween({ pull, freshSeconds }) {
    if (freshSeconds !== undefined)
        return Math.max(1, freshSeconds / 2);
    return pull.shipsPartials ? EVERY_SECONDS : EVERY_SECONDS_IN_FOLDER;
}
function mayMark({ writer: { abilities }, pull }) {
    return abilities.createRestorePoint && (pull.shipsPartials || abilities.switchWal);
}
async function mark({ writer, pull }, context) {
    const point = await makeRestorePoint(writer, pull, (0,external_node_crypto_.randomBytes)(3).toString("hex"), context);
    if (!pull.shipsPartials)
        await writer.sql.query("ending the WAL segment", "SELECT pg_switch_wal()");
    return { ...(await pull.mark(point)), point };
}
function describeMark(component, { point, segments, partial }, context) {
    const lag = Math.max(0, context.now().getTime() - Date.parse(point.time)) / 1000;
    const more = partial === null ? "" : ` and ${(0,values/* formatBytes */.z3)(partial.bytes)} of the next`;
    return `${component}: recoverable until ${point.time}, ${segments} segment${segments === 1 ? "" : "s"}${more}, lag ${(0,values/* formatDuration */.a3)(lag)}`;
}
/** Ends early when the pull does, which before its goal is a failure. */
async function pause(milliseconds, pull, context) {
    const over = new AbortController();
    const signal = AbortSignal.any([context.signal, over.signal]);
    try {
        const slept = (0,external_node_timers_promises_.setTimeout)(Math.max(0, milliseconds), undefined, { signal }).catch(() => undefined);
        await Promise.race([slept, pull.done]);
    }
    finally {
        over.abort();
    }
    if (context.signal.aborted)
        throw new errors/* AbortedError */.oM();
}

;// CONCATENATED MODULE: ./build/src/postgres/backup.js





















/**
 * Backs the cluster up: WAL through the slot or from the archive's folder, and for `full` a base backup too. One run at a
 * time writes into a component's place; another one is waited for, and a short run with `wal` leaves its work to it. Nothing
 * is written before server, role and cluster have been checked, and a full backup's manifest is written last.
 */
async function backupPostgres(setting, kind, context, options = {}) {
    const { config, name, store } = setting;
    const endpoint = parseUri(setting.fill(["connection"], config.connection), context.env);
    // Asked for before anything is written: it fails when a variable of the runbook is not set.
    const { recipients } = setting.encryption;
    const request = leaseRequest(setting, kind, options);
    const began = performance.now();
    // Before any connection: a server ends one on which nothing is said for long.
    const other = await waitForLease(request, context);
    if (other !== undefined)
        return leaveToOther(other, request, context);
    const connections = [];
    let pull;
    let lease;
    async function open(mode, database = endpoint.database) {
        const connection = await connect({ ...endpoint, database }, mode, context);
        connections.push(connection);
        return connection;
    }
    const openDatabase = (database) => open("sql", database);
    try {
        const sql = await open("sql");
        const role = await checkSource(sql);
        const walSender = await open("replication");
        const found = await identify(walSender);
        const opened = await openWriter({ setting, sql, role, identity: found }, connections, context);
        const { standby } = opened;
        await claimCluster(store, name, found.systemIdentifier, context.signal);
        const taken = await takeLease(request, context);
        if ("who" in taken)
            return leaveToOther(taken, request, context);
        lease = taken;
        await removeOrphans(lease, name, context);
        const writer = await withMarker(opened.writer, setting, sql);
        if (standby?.primaryKnown)
            await catchUp(standby, writer, context);
        // Again: while this run waited for the lease, another has archived WAL that the server had not written before.
        const identity = await identify(walSender);
        const { systemIdentifier } = identity;
        const fenced = { ...setting, store: lease.store };
        const archive = { store: lease.store, component: name, recipients, systemIdentifier };
        const source = { setting: fenced, kind, sql, walSender, identity, writer, standby, archive };
        const pulling = await ("slot" in config.wal
            ? pullFromSlot(source, config.wal.slot, context)
            : pullFromFolder(source, setting.fill(["wal", "archive"], config.wal.archive), context));
        pull = pulling.pull;
        const run = {
            setting: fenced,
            lease,
            bareStore: store,
            archive,
            sql,
            identity,
            writer,
            standby,
            pull,
            openDatabase,
        };
        // Whole seconds: only a wait for another run counts.
        const waited = Math.floor((performance.now() - began) / 1000);
        const outcome = kind === "full"
            ? await takeFullBackup(run, newBackupId(context), () => open("replication"), context)
            : await pullWal(run, Math.max(0, (options.streamSeconds ?? 0) - waited), context);
        return { ...outcome, slot: pulling.slot, notes: pulling.notes ?? [] };
    }
    finally {
        // Its connection first: that ends a wait for more WAL.
        await Promise.all(connections.map((connection) => connection.close()));
        await pull?.stop();
        await lease?.release();
    }
}
/** Where WAL is written: at the source itself, or at the primary that it follows. Warns of what will not be possible. */
async function openWriter({ setting, sql, role, identity }, connections, context) {
    const { primary } = setting.config;
    const { label } = sql.endpoint;
    const itself = { sql, abilities: role.abilities };
    if (!role.standby) {
        warnOfMissingGrants(itself, context);
        if (primary !== undefined)
            warnOfUnusedPrimary(sql, context);
        return { writer: itself, standby: undefined };
    }
    const standby = { sql, primaryKnown: primary !== undefined, segmentBytes: identity.walSegmentBytes };
    if (primary === undefined) {
        warnOfMissingPrimary(sql, context);
        return { writer: itself, standby };
    }
    const connection = await connect(readPrimary(setting, primary, context), "sql", context);
    connections.push(connection);
    const writer = await checkPrimary(connection, identity, label);
    warnOfMissingGrants(writer, context);
    return { writer, standby };
}
function readPrimary(setting, written, context) {
    try {
        return parseUri(setting.fill(["primary"], written), context.env);
    }
    catch (error) {
        if (!(error instanceof errors/* UserError */.yo))
            throw error;
        throw new errors/* UserError */.yo(`The key primary of "${setting.name}" is of no use. ${error.message}`, {
            cause: error,
        });
    }
}
/** A standby that does not follow its primary is found out before a base backup is taken, not after it. */
async function catchUp(standby, { sql }, context) {
    const [row] = await sql.query("reading its position", "SELECT pg_current_wal_flush_lsn() AS lsn");
    const { segmentBytes } = standby;
    // Its last whole segment: a standby that is fed from an archive gets nothing nearer.
    const position = segmentStart(segmentAt(lsn(need(row, "lsn")), segmentBytes), segmentBytes);
    await waitForStandby(standby, position, "received", context);
}
/** The marker is looked for only when nothing else can be refused any more: it may have to be made. */
async function withMarker(writer, { config }, sql) {
    if (!config.marker || !writer.abilities.createRestorePoint)
        return writer;
    const { database } = sql.endpoint;
    if (writer.sql.endpoint.database !== database) {
        throw new errors/* UserError */.yo(`marker: true needs connection and primary to name one database, but they name "${database}" and "${writer.sql.endpoint.database}".`);
    }
    return { ...writer, writeMarker: await openMarker(writer.sql) };
}
function newBackupId(context) {
    return (0,layout/* backupId */.WH)(context.now(), (0,external_node_crypto_.randomBytes)(3));
}
async function pullWal(run, streamSeconds, context) {
    const last = streamSeconds > 0 ? await stream(run, streamSeconds, context) : undefined;
    const began = performance.now();
    const point = await withPull(run.pull, markEnd(run, (0,external_node_crypto_.randomBytes)(3).toString("hex"), 0n, context));
    const pulled = await run.pull.done;
    context.log.info(describePull(pulled, (performance.now() - began) / 1000));
    // A role that may not switch WAL ends the run in the last point that it made while it streamed.
    const newest = point ?? last?.point;
    const partial = last?.partial ?? null;
    const beyond = partial !== null && partial.segment > pulled.lastSegment ? partial : null;
    await writeBeat(run, "wal", null, { ...pulled, partial: beyond }, newest, context);
    return { manifest: undefined, bytes: pulled.bytes, recoverableUntil: recoverableUntil(newest) };
}
async function stream(run, seconds, context) {
    const { setting, writer, pull } = run;
    const options = {
        component: setting.name,
        ...{ writer, pull, seconds },
        freshSeconds: setting.config.freshness.wal,
        onMark: (mark) => writeBeat(run, "wal", null, mark, mark.point, context),
    };
    return await withPull(pull, streamWal(options, context));
}
/** Ends the run's WAL, where WAL is written; see {@link endRun}. */
async function markEnd({ writer, sql, identity, pull }, id, atLeast, context) {
    const options = { id, segmentBytes: identity.walSegmentBytes, atLeast };
    const point = await endRun(writer, pull, options, context);
    if (writer.sql !== sql)
        await requireTimeline(writer.sql, identity, sql.endpoint.label);
    return point;
}
/** Does some work while the pull runs; the pull's failure ends the wait at once. */
async function withPull(pull, work) {
    work.catch(() => undefined);
    const failure = pull.done.then(() => work);
    return await Promise.race([work, failure]);
}
/** What a run writes last, and at each point while it streams. */
async function writeBeat(run, kind, id, pulled, point, context) {
    const { store, name } = run.setting;
    const last = id === null ? await glanceAtHeartbeat(store, name, context.signal) : undefined;
    await writeHeartbeat(store, {
        component: name,
        kind,
        finishedAt: context.now().toISOString(),
        backupId: id,
        newestBackup: id ?? last?.newestBackup ?? last?.backupId ?? null,
        lastSegment: pulled.lastSegment,
        partial: pulled.partial ?? null,
        recoverableUntil: point?.time ?? null,
    }, context.signal);
}
function describePull(pulled, seconds) {
    return `WAL: ${pulled.segments} segments in ${(0,values/* formatDuration */.a3)(seconds)}, archived through ${pulled.lastSegment}`;
}
/** The moment in whole milliseconds, never later than the point. */
function recoverableUntil(point) {
    return point === undefined ? undefined : new Date(`${point.time.slice(0, 23)}Z`);
}

// EXTERNAL MODULE: ./build/src/record.js
var src_record = __webpack_require__(5124);
// EXTERNAL MODULE: ./build/src/catalog/verifications.js
var verifications = __webpack_require__(3029);
;// CONCATENATED MODULE: ./build/src/catalog/proof.js






/** So many of the newest drill records are looked at: a store may hold years of them. */
const MOST_RECORDS = 200;
/**
 * The newest of these backups that was verified as a whole, or that a passed drill recovered; undefined when none was.
 * `backups` are in order of time. No more drill records are read than are needed to prove a backup that is newer than
 * `candidate`, the newest of those that may go. A record or a note that cannot be read proves nothing.
 */
async function newestProof(store, component, backups, candidate, signal) {
    const order = new Map(backups.map((backup, index) => [backup.id, index]));
    let best;
    function rank(id) {
        return (id === undefined ? undefined : order.get(id)) ?? -1;
    }
    function take(proof) {
        if (rank(proof.backupId) > rank(best?.backupId))
            best = proof;
    }
    const enough = () => rank(best?.backupId) > rank(candidate.id);
    for (const { backupId, depth, at } of (await (0,verifications/* readVerifications */.d)(store, component, signal)).values()) {
        take({ backupId, how: `verified on ${at.slice(0, 10)} (${depth})` });
    }
    if (enough())
        return best;
    for (const id of await newestDrills(store, candidate.id, signal)) {
        for (const backupId of await recoveredBy(store, component, id, signal)) {
            take({ backupId, how: `recovered by the passed drill ${id}` });
        }
        if (enough())
            break;
    }
    return best;
}
/** Ids sort by time, and a drill from before a backup cannot have recovered it. */
async function newestDrills(store, after, signal) {
    const ids = [];
    for await (const { key } of store.list((0,layout/* drillsPrefix */.RX)(), signal)) {
        const id = (0,layout/* drillId */.FV)(key);
        if (id === undefined || id < after)
            continue;
        ids.push(id);
        if (ids.length > MOST_RECORDS)
            ids.shift();
    }
    return ids.reverse();
}
/** The backups of the component that a drill recovered, when it passed. */
async function recoveredBy(store, component, id, signal) {
    try {
        const record = await (0,documents/* readDocument */.u)(store, (0,layout/* drillKey */.NC)(id), src_record/* drillRecord */.Z, signal);
        if (record.verdict !== "passed")
            return [];
        return record.recoveries.filter((one) => one.component === component).map((one) => one.backupId);
    }
    catch (error) {
        if (error instanceof stores_store/* ObjectMissing */.GV || error instanceof errors/* DefectError */.uR)
            return [];
        throw error;
    }
}

;// CONCATENATED MODULE: ./build/src/catalog/retention.js

/**
 * Decides on each backup that is older than `keepSeconds`, oldest first. One goes only when it is not among the `minimum`
 * newest and a newer one has been proven: a backup that nobody ever read is no reason to delete another. So the newest
 * proven one always stays. `backups` are in order of time.
 */
function decide(backups, policy, proof, now) {
    const old = backups.filter((backup) => isOlder(backup, policy, now));
    const surplus = selectExpired(backups, policy, now);
    const proven = backups.findIndex((backup) => backup.id === proof?.backupId);
    const newest = backups.at(-1)?.id ?? "";
    const age = `it is older than ${(0,values/* formatDuration */.a3)(policy.keepSeconds)}`;
    return old.map((backup) => {
        if (!surplus.includes(backup)) {
            const why = `although ${age}, because at least ${Math.max(1, policy.minimum)} backups stay`;
            return { backup, verdict: "stays", why };
        }
        if (proof !== undefined && backups.indexOf(backup) < proven) {
            return { backup, verdict: "goes", why: `${age}, and the newer ${proof.backupId} was ${proof.how}` };
        }
        const lacking = backup.id === proof?.backupId
            ? `it is the newest that has been proven (${proof.how})`
            : "no newer backup has been proven";
        const why = `although ${age}, because ${lacking}: verify ${newest}, or drill it`;
        return { backup, verdict: "waits", why };
    });
}
/** The backups that a policy no longer asks for, oldest first; never the newest. `backups` are in order of time. */
function selectExpired(backups, policy, now) {
    const surplus = backups.slice(0, Math.max(0, backups.length - Math.max(1, policy.minimum)));
    return surplus.filter((backup) => isOlder(backup, policy, now));
}
function isOlder(backup, policy, now) {
    return Date.parse(backup.finishedAt) < now.getTime() - policy.keepSeconds * 1000;
}

;// CONCATENATED MODULE: ./build/src/catalog/prune.js








const prune_BATCH = 500;
/**
 * Deletes the backups that {@link decide} lets go, and the WAL before the oldest backup that stays. Deletes nothing at all
 * unless every object of the newest backup, and of the one whose proof counts, is in the store in its full size. Only
 * objects that a manifest or their name proves to be ours are touched. What the store refuses to delete, because it is
 * locked there, stays and is no error.
 */
async function prune(store, component, request, signal) {
    const { policy, now, walStart, dryRun } = request;
    const backups = await listBackups(store, component, signal);
    const newest = backups.at(-1);
    if (newest === undefined)
        return { decisions: [], backups: [], segments: 0, refusals: [] };
    await assertWhole(store, component, newest, "newest", signal);
    const candidate = selectExpired(backups, policy, now).at(-1);
    const proof = candidate && (await newestProof(store, component, backups, candidate, signal));
    const proven = backups.find((backup) => backup.id === proof?.backupId);
    if (proven !== undefined)
        await assertWhole(store, component, proven, "newest proven", signal);
    const decisions = decide(backups, policy, proof, now);
    const gone = [];
    const refusals = [];
    for (const { backup, verdict } of decisions) {
        if (verdict !== "goes")
            continue;
        const refusal = dryRun ? undefined : await deleteBackup(store, component, backup, signal);
        if (refusal !== undefined)
            refusals.push(refusal);
        if (refusal === undefined || !(await isListed(store, component, backup, signal)))
            gone.push(backup.id);
    }
    const kept = backups.filter((backup) => !gone.includes(backup.id)).map(walStart);
    const { segments, keys } = await unneededWal(store, component, kept, signal);
    if (!dryRun) {
        const refusal = await deleteWal(store, keys, signal);
        if (refusal !== undefined)
            refusals.push(refusal);
    }
    return { decisions, backups: gone, segments, refusals };
}
/**
 * Without its manifest a backup is no longer listed, so nobody starts to recover from what is being deleted, and a run
 * that is killed meanwhile leaves parts that the next one clears away. The manifest was written last, so a lock that the
 * bucket puts on everything ends for it last too; where a part is locked for longer, the manifest comes back. Returns what
 * was refused.
 */
async function deleteBackup(store, component, backup, signal) {
    const manifest = (0,layout/* manifestKey */.Rn)(component, backup.id);
    const parts = backup.objects.map((object) => (0,layout/* objectKey */.T5)(component, backup.id, object.name));
    const locked = `The store does not let the backup ${backup.id} go, by a lock (S3 Object Lock, a legal hold) or because the credentials may not delete`;
    try {
        await store.delete([manifest], signal);
    }
    catch (error) {
        if (!(error instanceof stores_store/* DeletionRefused */.Dt))
            throw error;
        return `${locked}: it stays whole and listed, and goes with a later run. ${(0,errors/* messageOf */.bD)(error)}`;
    }
    try {
        await store.delete([...parts, (0,layout/* verificationKey */.VW)(component, backup.id)], signal);
        return undefined;
    }
    catch (error) {
        if (!(error instanceof stores_store/* DeletionRefused */.Dt))
            throw error;
        if ((await flawOf(store, component, backup, signal)) === undefined) {
            await store.create(manifest, (0,documents/* encodeDocument */.K)(backup), signal);
            return `${locked}: it stays whole and listed, and goes with a later run. ${(0,errors/* messageOf */.bD)(error)}`;
        }
        return `${locked} as a whole: it is no longer listed, and later runs try to delete the parts that remain. ${(0,errors/* messageOf */.bD)(error)}`;
    }
}
async function isListed(store, component, backup, signal) {
    return (await store.stat((0,layout/* manifestKey */.Rn)(component, backup.id), signal)) !== undefined;
}
async function assertWhole(store, component, backup, which, signal) {
    const flaw = await flawOf(store, component, backup, signal);
    if (flaw === undefined)
        return;
    throw new errors/* ToolError */.v4(`Nothing was deleted by retention, because the ${which} backup ${backup.id} is not whole: ${flaw}. Take a new backup.`);
}
/** Which object of a backup is not as its manifest says; undefined when all are there in their full size. */
async function flawOf(store, component, backup, signal) {
    for (const object of backup.objects) {
        const key = (0,layout/* objectKey */.T5)(component, backup.id, object.name);
        const found = await store.stat(key, signal);
        if (found === undefined)
            return `${store.describe(key)} is absent`;
        if (found.bytes !== object.storedBytes) {
            return `${store.describe(key)} has ${found.bytes} bytes instead of ${object.storedBytes}`;
        }
    }
    return undefined;
}
/**
 * WAL that no backup that stays can ask for, and partials whose segment is there as a whole. History files stay: they
 * are small, and timelines need them all.
 */
async function unneededWal(store, component, starts, signal) {
    const known = starts.filter((start) => start !== undefined);
    const oldest = known[0];
    // A backup whose WAL is unknown may need any of it.
    if (oldest === undefined || known.length < starts.length)
        return { segments: 0, keys: [] };
    if (known.some((start) => start.segmentBytes !== oldest.segmentBytes))
        return { segments: 0, keys: [] };
    const first = Math.min(...known.map((start) => start.number));
    const timeline = Math.min(...known.map((start) => start.timeline));
    const keys = [];
    const segments = new Set();
    let partials = { segment: "", keys: [] };
    let sidecar = "";
    for await (const object of store.list((0,layout/* walPrefix */.t3)(component), signal)) {
        const name = (0,layout/* parseWalKey */.zi)(component, object.key);
        if (name === undefined || name.kind === "history")
            continue;
        const { segment } = name;
        const parsed = parseSegmentName(segment, oldest.segmentBytes);
        if (parsed === undefined)
            continue;
        if (parsed.number < first && parsed.timeline <= timeline) {
            keys.push(object.key);
            segments.add(segment);
            continue;
        }
        // In the order of keys the partials of a segment come first, then its sidecar, then the segment.
        if (name.kind === "sidecar")
            sidecar = segment;
        else if (name.kind === "segment") {
            if (sidecar === segment && partials.segment === segment)
                keys.push(...partials.keys);
        }
        else {
            if (partials.segment !== segment)
                partials = { segment, keys: [] };
            partials.keys.push(object.key);
        }
    }
    return { segments: segments.size, keys };
}
/** Oldest first, so that what a killed run leaves is still an unbroken chain. Returns what was refused. */
async function deleteWal(store, keys, signal) {
    try {
        for (let index = 0; index < keys.length; index += prune_BATCH) {
            await store.delete(keys.slice(index, index + prune_BATCH), signal);
        }
        return undefined;
    }
    catch (error) {
        if (!(error instanceof stores_store/* DeletionRefused */.Dt))
            throw error;
        return `The store does not let WAL go that no backup needs any more, by a lock or because the credentials may not delete: it stays, and goes with a later run. ${(0,errors/* messageOf */.bD)(error)}`;
    }
}

;// CONCATENATED MODULE: ./build/src/postgres/prune.js







/** Deletes backups and WAL that the config's `retention` no longer asks for, and says in the log what and why. */
async function prunePostgres(setting, context, options = {}) {
    const { retention } = setting.config;
    if (retention === undefined)
        return { backups: [], notes: [] };
    if (options.dryRun)
        return await pruneNow(setting, retention, true, context);
    const lease = await takeLease(leaseRequest(setting, "prune", options), context);
    if ("who" in lease) {
        const text = `retention deleted nothing this time, because ${lease.who}, holds the lease; the next full backup tries again.`;
        context.log.warning(`${setting.name}: ${text}`);
        return { backups: [], notes: [{ severity: "warning", text }] };
    }
    try {
        await removeOrphans(lease, setting.name, context);
        return await pruneNow({ ...setting, store: lease.store }, retention, false, context);
    }
    finally {
        await lease.release();
    }
}
async function pruneNow(setting, retention, dryRun, context) {
    const { name, store } = setting;
    const request = {
        policy: { keepSeconds: retention.keep, minimum: retention.minimum },
        now: context.now(),
        walStart: (manifest) => walStart(setting, manifest),
        dryRun,
    };
    const pruned = await prune(store, name, request, context.signal);
    const notes = notesOf(pruned);
    say(pruned, dryRun, context);
    for (const { severity, text } of notes) {
        if (severity === "warning")
            context.log.warning(`${name}: ${text}`);
        else
            context.log.info(`Retention: ${text}`);
    }
    return { backups: dryRun ? [] : pruned.backups, notes };
}
function walStart({ name, store }, manifest) {
    const details = readDetails(manifest, store.describe((0,layout/* manifestKey */.Rn)(name, manifest.id)));
    const { timeline, startLsn, walSegmentBytes } = details;
    return { timeline, number: segmentAt(lsn(startLsn), walSegmentBytes), segmentBytes: walSegmentBytes };
}
function say({ decisions, backups, segments }, dryRun, { log }) {
    const deleted = dryRun ? "would delete" : "deleted";
    for (const { backup, verdict, why } of decisions) {
        if (backups.includes(backup.id))
            log.info(`Retention: ${deleted} the backup ${backup.id}: ${why}.`);
        else if (verdict === "stays")
            log.info(`Retention: the backup ${backup.id} stays ${why}.`);
    }
    if (segments > 0) {
        log.info(`Retention: ${deleted} ${segments} WAL segments from before the oldest backup that stays: nothing can be recovered with them.`);
    }
    if (dryRun && backups.length === 0 && segments === 0)
        log.info("Retention: would delete nothing.");
}
/** What somebody can do something about. */
function notesOf({ decisions, refusals }) {
    const waiting = decisions.filter(({ verdict }) => verdict === "waits");
    return [
        ...waiting.map(({ backup, why }) => ({
            severity: "notice",
            text: `the backup ${backup.id} stays ${why}.`,
        })),
        ...refusals.map((text) => ({ severity: "warning", text })),
    ];
}

;// CONCATENATED MODULE: ./build/src/postgres/integrity/packages.js
/** Which package of Debian and Ubuntu, or of PGDG's repository for them, holds an extension; `%` is the major. */
const PACKAGES = {
    age: "postgresql-%-age",
    citus: "postgresql-%-citus",
    h3: "postgresql-%-h3",
    hll: "postgresql-%-hll",
    hypopg: "postgresql-%-hypopg",
    ip4r: "postgresql-%-ip4r",
    mysql_fdw: "postgresql-%-mysql-fdw",
    orafce: "postgresql-%-orafce",
    pg_cron: "postgresql-%-cron",
    pg_hint_plan: "postgresql-%-pg-hint-plan",
    pg_partman: "postgresql-%-partman",
    pg_qualstats: "postgresql-%-pg-qualstats",
    pg_repack: "postgresql-%-repack",
    pg_squeeze: "postgresql-%-squeeze",
    pg_stat_kcache: "postgresql-%-pg-stat-kcache",
    pgaudit: "postgresql-%-pgaudit",
    pglogical: "postgresql-%-pglogical",
    pgrouting: "postgresql-%-pgrouting",
    pgtap: "postgresql-%-pgtap",
    plperl: "postgresql-plperl-%",
    plperlu: "postgresql-plperl-%",
    plpython3u: "postgresql-plpython3-%",
    pltcl: "postgresql-pltcl-%",
    pltclu: "postgresql-pltcl-%",
    postgis: "postgresql-%-postgis-3",
    postgis_raster: "postgresql-%-postgis-3",
    postgis_tiger_geocoder: "postgresql-%-postgis-3",
    postgis_topology: "postgresql-%-postgis-3",
    postgres_decoderbufs: "postgresql-%-decoderbufs",
    rum: "postgresql-%-rum",
    tds_fdw: "postgresql-%-tds-fdw",
    timescaledb: "timescaledb-2-postgresql-%",
    vector: "postgresql-%-pgvector",
};
/** Part of PostgreSQL's own contrib, which Debian's server package holds and RHEL keeps apart. */
const CONTRIB = new Set(`amcheck autoinc bloom btree_gin btree_gist citext cube dblink dict_int dict_xsyn earthdistance file_fdw fuzzystrmatch
   hstore insert_username intagg intarray isn lo ltree moddatetime old_snapshot pageinspect pg_buffercache
   pg_freespacemap pg_prewarm pg_stat_statements pg_surgery pg_trgm pg_visibility pg_walinspect pgcrypto pgrowlocks
   pgstattuple postgres_fdw refint seg sslinfo tablefunc tcn tsm_system_rows tsm_system_time unaccent uuid-ossp
   xml2`.split(/\s+/));
/** What to do about an extension that the scratch server lacks. */
const WHERE_TO_INSTALL = "install it on the runner, or name an image that holds it as server.image";
/** ` (package postgresql-17-pgvector)` for extensions whose package is known, else nothing. */
function describePackage(extension, major) {
    const known = PACKAGES[extension]?.replace("%", String(major));
    if (known !== undefined)
        return ` (package ${known})`;
    return CONTRIB.has(extension) ? ` (package postgresql-${major}, on RHEL postgresql${major}-contrib)` : "";
}

;// CONCATENATED MODULE: ./build/src/postgres/integrity/borrow.js


/** Where our own copies of extensions are put; nothing of the source is in it. */
const SCHEMA = "drillbook_integrity";
/** Creates the extension on the scratch server where it is absent. Throws a ToolError when the server has it not. */
async function borrowExtension(session, name, major) {
    const present = await find(session, name);
    if (present !== undefined) {
        // An old installation in the source may lack a function. This is a copy.
        await session.query(`ALTER EXTENSION ${name} UPDATE`);
        const updated = (await find(session, name)) ?? present;
        return { ...updated, giveBack: async () => undefined };
    }
    try {
        await session.query(`CREATE SCHEMA IF NOT EXISTS ${SCHEMA}`);
        await session.query(`CREATE EXTENSION ${name} SCHEMA ${SCHEMA}`);
    }
    catch (error) {
        // 0A000: no control file; 58P01: no script or library.
        if ((0,errors/* codeOf */.$N)(error) !== "0A000" && (0,errors/* codeOf */.$N)(error) !== "58P01")
            throw error;
        throw new errors/* ToolError */.v4(`the scratch server has no extension ${name}${describePackage(name, major)}: ${WHERE_TO_INSTALL}`, { cause: error });
    }
    const created = await find(session, name);
    if (created === undefined)
        throw new Error(`CREATE EXTENSION ${name} left no extension`);
    return {
        ...created,
        async giveBack() {
            await session.query(`DROP EXTENSION IF EXISTS ${name}`);
            await session.query(`DROP SCHEMA IF EXISTS ${SCHEMA}`);
        },
    };
}
async function find(session, name) {
    const [row] = await session.query(`SELECT quote_ident(n.nspname), e.extversion
     FROM pg_extension e JOIN pg_namespace n ON n.oid = e.extnamespace WHERE e.extname = $1`, [name]);
    return row === undefined ? undefined : { schema: row[0] ?? "", version: Number(row[1]) };
}

;// CONCATENATED MODULE: ./build/src/postgres/integrity/damage.js

/** SQLSTATEs of data_corrupted and index_corrupted. */
const DAMAGE = new Set(["XX001", "XX002"]);
/** The server's words for a file of the data folder that is not there; they share their SQLSTATE with other files. */
const FILE_GONE = /could not open file "(?:base|global|pg_tblspc|pg_xact|pg_multixact|pg_commit_ts)\/|could not access status of transaction|fork "main" does not exist/;
/** Whether an error proves that data is damaged. Any other leaves it unknown. */
function provesDamage(error) {
    const code = (0,errors/* codeOf */.$N)(error);
    if (code !== undefined && DAMAGE.has(code))
        return true;
    return FILE_GONE.test((0,errors/* messageOf */.bD)(error));
}
/** Classes of SQLSTATE whose messages name objects and files, and never what is in a row. */
const HARMLESS = /^(?:08|0A|3D|3F|42|53|54|55|57|58|XX)/;
/** What an error says, unless it may repeat a value of a table: an index may call any function. */
function tell(error) {
    const code = (0,errors/* codeOf */.$N)(error);
    if (code === undefined || !/^[0-9A-Z]{5}$/.test(code) || HARMLESS.test(code))
        return (0,errors/* messageOf */.bD)(error);
    return `the server's error ${code}`;
}

;// CONCATENATED MODULE: ./build/src/postgres/integrity/ground.js
const MOST_LINES = 50;
const LONGEST_LINE = 300;
/** The lines that a record keeps: bounded in number and length. */
function boundedLines(lines) {
    const kept = lines.slice(0, MOST_LINES).map((line) => {
        const flat = line.replace(/\s+/g, " ").trim();
        return flat.length > LONGEST_LINE ? `${flat.slice(0, LONGEST_LINE)}…` : flat;
    });
    return lines.length > MOST_LINES ? [...kept, `and ${lines.length - MOST_LINES} more`] : kept;
}
/** Asks every database in turn; `ask` gives the rows of one. */
async function inEachDatabase(ground, work) {
    const found = [];
    for (const database of ground.databases) {
        const session = await ground.open(database);
        try {
            found.push(...(await work(session, database)));
        }
        finally {
            await session.close();
        }
    }
    return found;
}

;// CONCATENATED MODULE: ./build/src/postgres/integrity/sweep.js





/** Enough to use a second core, few enough to leave the machine usable. */
const sweep_PARALLEL = 2;
/** Looks at every relation of every database, the largest first, over two connections. */
async function sweep(ground, plan) {
    const lists = new Map();
    for (const [index, database] of ground.databases.entries()) {
        lists.set(database, await listItems(ground, database, plan, index === 0));
    }
    const items = [...lists.values()].flat();
    const total = items.reduce((sum, item) => sum + item.bytes, 0);
    const progress = startProgress(ground.context, plan.label, total);
    const found = { checked: 0, seen: new Set(), damaged: [], unknown: [] };
    for (const [database, list] of lists) {
        if (list.length > 0) {
            const onDone = (item) => progress.add(item.bytes);
            await sweepDatabase(ground, database, list, plan, found, onDone).catch((error) => {
                if (error instanceof errors/* AbortedError */.oM)
                    throw error;
                // What was found in the others still counts.
                found.unknown.push(`${database}: ${tell(error)}`);
            });
        }
    }
    progress.done();
    return { ...found, total: items.length };
}
async function listItems(ground, database, plan, first) {
    const session = await ground.open(database);
    try {
        const rows = await session.query(plan.list);
        return rows
            .filter((row) => first || row.at(-1) !== "t")
            .map(([oid, name, bytes, ...more]) => ({
            database,
            oid: oid ?? "",
            name: name ?? "",
            bytes: Number(bytes),
            more,
        }))
            .filter((item) => plan.wanted?.(item) ?? true)
            .sort((a, b) => b.bytes - a.bytes);
    }
    finally {
        await session.close();
    }
}
async function sweepDatabase(ground, database, items, plan, found, onDone) {
    const queue = [...items];
    const sessions = [];
    try {
        const first = await ground.open(database);
        sessions.push(first);
        const extension = await borrowExtension(first, plan.extension, ground.major);
        while (sessions.length < Math.min(sweep_PARALLEL, items.length))
            sessions.push(await ground.open(database));
        const work = async (session) => {
            for (let item = queue.shift(); item !== undefined; item = queue.shift()) {
                await lookAt(session, item, extension, plan, found);
                onDone(item);
            }
        };
        const ends = await Promise.allSettled(sessions.map(work));
        for (const end of ends)
            if (end.status === "rejected")
                throw end.reason;
        await extension.giveBack();
    }
    finally {
        await Promise.all(sessions.map((session) => session.close()));
    }
}
async function lookAt(session, item, extension, plan, found) {
    const name = `${item.database}: ${item.name}`;
    try {
        const trouble = await plan.look(session, item, extension);
        if (trouble !== undefined)
            found.damaged.push(`${name}: ${trouble}`);
        found.seen.add(keyOf(item));
        found.checked += 1;
    }
    catch (error) {
        if (error instanceof errors/* AbortedError */.oM)
            throw error;
        const line = `${name}: ${tell(error)}`;
        if (!provesDamage(error)) {
            found.unknown.push(line);
            return;
        }
        found.seen.add(keyOf(item));
        const excuse = plan.excuse?.(item, error);
        if (excuse !== undefined) {
            found.unknown.push(`${line} (${excuse})`);
            return;
        }
        found.damaged.push(line);
        found.checked += 1;
    }
}
function keyOf(item) {
    return `${item.database}/${item.oid}`;
}
/** What a sweep says in the record. */
function sweepAnswer(swept, expected) {
    const { total, checked, damaged, unknown } = swept;
    const parts = [`checked ${checked} of ${total}`];
    if (damaged.length > 0)
        parts.push(`${damaged.length} damaged: ${damaged[0]}`);
    if (unknown.length > 0)
        parts.push(`${unknown.length} not proven: ${unknown[0]}`);
    const status = damaged.length > 0 ? "failed" : unknown.length > 0 ? "unverified" : "passed";
    const lines = boundedLines([...damaged, ...unknown]);
    return { status, expected, actual: parts.join(", "), ...(lines.length === 0 ? {} : { lines }) };
}

;// CONCATENATED MODULE: ./build/src/postgres/integrity/btree-indexes.js


/** Whether the index sorts by a collation whose library has another version here than in the source. */
function sortedElsewhere(major) {
    // 14 knows no version of a database's own collation.
    const ofDatabase = major < 15
        ? "false"
        : `(SELECT datcollversion IS DISTINCT FROM pg_database_collation_actual_version(oid)
          FROM pg_database WHERE datname = current_database())`;
    return `EXISTS (
    SELECT FROM unnest(i.indcollation) AS used (oid) JOIN pg_collation co ON co.oid = used.oid
    WHERE CASE co.collprovider WHEN 'd' THEN ${ofDatabase}
      ELSE co.collversion IS DISTINCT FROM pg_collation_actual_version(co.oid) END)`;
}
function indexes(major) {
    return `SELECT c.oid, format('index %I.%I', n.nspname, c.relname), pg_relation_size(c.oid),
      ${sortedElsewhere(major)}, c.relisshared
    FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid JOIN pg_namespace n ON n.oid = c.relnamespace
      JOIN pg_am a ON a.oid = c.relam
    WHERE a.amname = 'btree' AND c.relkind = 'i' AND c.relpersistence <> 't' AND i.indisvalid AND i.indisready`;
}
/** From this version of amcheck on (PostgreSQL 17) uniqueness can be checked too. */
const CHECKS_UNIQUENESS = 1.4;
/** amcheck over all valid B-tree indexes: their order, and that every row of the table is in them. */
async function checkBtreeIndexes(ground) {
    const swept = await sweep(ground, {
        label: "Integrity: B-tree indexes",
        extension: "amcheck",
        list: indexes(ground.major),
        async look(session, item, { schema, version }) {
            const more = version >= CHECKS_UNIQUENESS ? ", checkunique => true" : "";
            await session.query(`SELECT ${schema}.bt_index_check(index => $1::oid::regclass, heapallindexed => true${more})`, [item.oid]);
            return undefined;
        },
        excuse(item, error) {
            if ((0,errors/* codeOf */.$N)(error) !== "XX002" || item.more[0] !== "t")
                return undefined;
            return "the scratch server sorts text by another version of the collation library, so it may be whole";
        },
    });
    return sweepAnswer(swept, "every index in order, with every row of its table");
}

;// CONCATENATED MODULE: ./build/src/postgres/integrity/collations.js


const EXPECTED = "the source's versions of the collation libraries, or indexes that amcheck finds in order";
const collations_DATABASES = `SELECT datname, datcollversion, pg_database_collation_actual_version(oid)
  FROM pg_database WHERE datcollversion IS NOT NULL AND datallowconn ORDER BY datname`;
const COLLATIONS = `SELECT format('%I.%I', n.nspname, c.collname), c.collversion, pg_collation_actual_version(c.oid)
  FROM pg_collation c JOIN pg_namespace n ON n.oid = c.collnamespace
  WHERE c.collversion IS NOT NULL AND EXISTS (
    SELECT FROM pg_depend d WHERE d.refclassid = 'pg_collation'::regclass AND d.refobjid = c.oid)
  ORDER BY 1`;
/**
 * Compares versions of collation libraries. Another version is no fault of the backup: it is noted, because text may
 * sort differently in the scratch server. Indexes that are out of order here are found by amcheck.
 */
async function checkCollations(ground) {
    let total = 0;
    const differing = await inEachDatabase(ground, async (session, database) => {
        const own = await session.query(COLLATIONS);
        const isFirst = database === ground.databases[0];
        // 14 knows no version of a database's own collation.
        const shared = isFirst && ground.major >= 15 ? await session.query(collations_DATABASES) : [];
        total += own.length + shared.length;
        return [
            ...shared.map((row) => ({ subject: `database ${cell(row, 0)}`, row })),
            ...own.map((row) => ({ subject: `${database}: collation ${cell(row, 0)}`, row })),
        ].filter(({ row }) => row[1] !== row[2]);
    });
    const lines = boundedLines(differing.map(({ subject, row }) => `${subject}: version ${row[1]} in the source, ${row[2] ?? "none"} here`));
    const other = differing.length === 0 ? "" : `, ${differing.length} with another version in the scratch server`;
    return {
        status: "passed",
        expected: EXPECTED,
        actual: `checked ${total} of ${total}${other}`,
        ...(lines.length === 0 ? {} : { lines }),
    };
}

;// CONCATENATED MODULE: ./build/src/postgres/integrity/extensions.js


const extensions_EXPECTED = "every extension of the source installed beside the scratch server";
const EXTENSIONS = `SELECT e.extname, EXISTS (SELECT FROM pg_available_extensions a WHERE a.name = e.extname)
  FROM pg_extension e ORDER BY 1`;
/** The libraries of C functions, and the extension that they belong to. */
const LIBRARIES = `SELECT DISTINCT p.probin, e.extname
  FROM pg_proc p LEFT JOIN pg_depend d
      ON d.classid = 'pg_proc'::regclass AND d.objid = p.oid AND d.deptype = 'e'
    LEFT JOIN pg_extension e ON e.oid = d.refobjid
  WHERE p.probin IS NOT NULL AND p.prolang = (SELECT oid FROM pg_language WHERE lanname = 'c') ORDER BY 1`;
/** Whether a library's file is where the server looks for it, with the suffix of any platform. */
const HAS_LIBRARY = `SELECT bool_or((pg_stat_file(file || suffix, true)).size IS NOT NULL)
  FROM (SELECT CASE WHEN $1 ~ '^/' THEN $1
      ELSE (SELECT setting FROM pg_config WHERE name = 'PKGLIBDIR') || '/' || regexp_replace($1, '^\\$libdir/', '') END) l (file),
    unnest(ARRAY['', '.so', '.dylib', '.dll']) suffix`;
/** Looks for the control file and the libraries of every extension, without loading any. */
async function checkExtensions(ground) {
    const { major } = ground;
    let total = 0;
    const missing = new Map();
    await inEachDatabase(ground, async (session, database) => {
        const miss = (what) => missing.set(what, (missing.get(what) ?? new Set()).add(database));
        const extensions = await session.query(EXTENSIONS);
        total += extensions.length;
        for (const [name, available] of extensions) {
            if (available !== "t")
                miss(`extension ${name}${describePackage(name ?? "", major)}`);
        }
        for (const [library, extension] of await session.query(LIBRARIES)) {
            const [row] = await session.query(HAS_LIBRARY, [library ?? ""]);
            if (row?.[0] === "t")
                continue;
            const owner = extension === null ? "" : ` of extension ${extension}${describePackage(extension ?? "", major)}`;
            miss(`library ${library}${owner}`);
        }
        return [];
    });
    const found = [...missing].map(([what, databases]) => `${what}, in ${[...databases].join(", ")}`);
    const lines = boundedLines(found);
    const actual = `checked ${total} of ${total}`;
    if (lines.length === 0)
        return { status: "passed", expected: extensions_EXPECTED, actual };
    return {
        status: "unverified",
        expected: extensions_EXPECTED,
        actual: `${actual}; not beside the scratch server: ${lines[0]}${lines.length > 1 ? ` and ${lines.length - 1} more` : ""}: ${WHERE_TO_INSTALL}`,
        lines,
    };
}

;// CONCATENATED MODULE: ./build/src/postgres/census/compare.js
/** Compares what is there now with the census. Parts of a table that is absent or new are not told one by one. */
function compareObjects(then, now) {
    const before = byIdentity(then);
    const after = byIdentity(now);
    const tablesBefore = tablesOf(then);
    const tablesAfter = tablesOf(now);
    const oidsBefore = new Set(then.flatMap((one) => one.oid ?? []));
    const tableNow = new Map(now.flatMap((one) => (one.oid === undefined ? [] : [[one.oid, one.name]])));
    const absent = [...before.values()].filter((one) => !after.has(identity(one)));
    const added = [...after.values()].filter((one) => !before.has(identity(one)));
    const changed = [...before.values()].flatMap((one) => {
        const other = after.get(identity(one));
        return other === undefined || other.definition === one.definition ? [] : [{ one, other }];
    });
    const told = (one, tables) => one.of === undefined || tables.has(one.of);
    const lines = [
        ...absent
            .filter((one) => told(one, tablesAfter))
            .map((one) => {
            const renamed = one.oid === undefined ? undefined : tableNow.get(one.oid);
            const where = renamed === undefined ? "is not there" : `is now named ${renamed}`;
            return `${one.kind} ${one.name} ${where}`;
        }),
        ...changed.map(({ one, other }) => describeChange(one, other)),
        ...added
            .filter((one) => told(one, tablesBefore) && !(one.oid !== undefined && oidsBefore.has(one.oid)))
            .map((one) => `${one.kind} ${one.name} is new`),
    ];
    return { lines, absent, changed: changed.length, added: added.length };
}
/** Names of tables and views, which are the objects that have parts. */
function tablesOf(objects) {
    return new Set(objects.filter((one) => one.oid !== undefined).map((one) => one.name));
}
function describeChange(one, other) {
    const subject = `${one.kind} ${one.name}`;
    if (/^[0-9a-f]{64}$/.test(one.definition))
        return `${subject} has another definition`;
    return `${subject} was ${quoted(one.definition)}, is ${quoted(other.definition)}`;
}
function quoted(definition) {
    return definition.length > 120 ? `"${definition.slice(0, 120)}…"` : `"${definition}"`;
}
function identity({ kind, name }) {
    return `${kind} ${name}`;
}
function byIdentity(objects) {
    return new Map(objects.map((object) => [identity(object), object]));
}
function compareFlaws(then, now, flaw) {
    const before = byIdentity(then);
    const found = now.filter((one) => one.flaw === flaw);
    const at = (one) => before.get(identity(one));
    return {
        known: found.filter((one) => at(one)?.flaw === flaw),
        turned: found.filter((one) => at(one) !== undefined && at(one)?.flaw !== flaw),
        fresh: found.filter((one) => at(one) === undefined),
    };
}

;// CONCATENATED MODULE: ./build/src/postgres/integrity/steadiness.js

/** Whether the census describes exactly what must be there at a position of the WAL. */
function isSteady({ from, to }, at) {
    return lsn(from) <= at && at <= lsn(to);
}

;// CONCATENATED MODULE: ./build/src/postgres/integrity/flaws.js





async function readAllObjects(ground) {
    const objects = new Map();
    for (const database of ground.databases) {
        const session = await ground.openSpelling(database);
        try {
            objects.set(database, await readObjects((text, values) => session.query(text, values), ground.major));
        }
        finally {
            await session.close();
        }
    }
    return objects;
}
const FLAWS = {
    indexes: { flaw: "invalid", kind: "index", words: "invalid", expected: "no index invalid that was valid" },
    constraints: {
        flaw: "not valid",
        kind: "constraint",
        words: "not valid",
        expected: "no constraint not valid that was valid",
    },
    views: {
        flaw: "unpopulated",
        kind: "materialized view",
        words: "unpopulated",
        expected: "no materialized view empty that was populated",
    },
};
/**
 * A flaw that the census has too, or of an object that is newer than it, is the source's own and only noted. One that
 * came after the census is a failure when nothing changed the schema in between, else it may be the source's too.
 */
function judgeFlaws(ground, all, asked) {
    let total = 0;
    let failed = 0;
    let unknown = 0;
    const notes = [];
    for (const [database, objects] of all) {
        const then = censusOf(ground.census, database);
        total += objects.filter((one) => one.kind === asked.kind).length;
        const { known, turned, fresh } = compareFlaws(then?.objects ?? [], objects, asked.flaw);
        const steady = then !== undefined && isSteady(then.steady, ground.reachedLsn);
        const say = (ones, what) => notes.push(...ones.map((one) => `${database}: ${one.kind} ${one.name} is ${asked.words}${what}`));
        if (then === undefined) {
            unknown += fresh.length;
            say(fresh, ", and without a census nobody knows whether it is so in the source");
            continue;
        }
        const wrong = steady ? [...turned, ...fresh] : [];
        failed += wrong.length;
        say(wrong, ", and was not when the backup was taken");
        say(known, ", as in the source");
        if (!steady)
            say([...turned, ...fresh], " since a change after the census");
    }
    const parts = [`checked ${total} of ${total}`];
    if (notes.length > 0)
        parts.push(`${notes.length} ${asked.words}`);
    if (notes.length > 0 && failed + unknown === 0)
        parts.push("as in the source or changed after the census");
    if (failed > 0)
        parts.push(`${failed} of them not so when the backup was taken`);
    const status = failed > 0 ? "failed" : unknown > 0 ? "unverified" : "passed";
    const lines = boundedLines(notes);
    return {
        status,
        expected: asked.expected,
        actual: parts.join(", "),
        ...(lines.length === 0 ? {} : { lines }),
    };
}

;// CONCATENATED MODULE: ./build/src/postgres/integrity/heaps.js

const HEAPS = `SELECT c.oid, format('table %I.%I', n.nspname, c.relname), pg_relation_size(c.oid), c.relisshared
  FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace JOIN pg_am a ON a.oid = c.relam
  WHERE a.amname = 'heap' AND c.relkind IN ('r', 'm', 't') AND c.relpersistence <> 't'`;
/** amcheck over all tables, their TOAST tables and materialized views; every page of them is read. */
async function sweepHeaps(ground) {
    return await sweep(ground, {
        label: "Integrity: tables",
        extension: "amcheck",
        list: HEAPS,
        async look(session, item, { schema }) {
            const rows = await session.query(`SELECT blkno, offnum, msg FROM ${schema}.verify_heapam(relation => $1::oid::regclass, on_error_stop => true,
           check_toast => true, skip => 'none') LIMIT 1`, [item.oid]);
            const [block, offset, message] = rows[0] ?? [];
            if (message === undefined)
                return undefined;
            return `page ${block}${offset === null ? "" : `, tuple ${offset}`}: ${message}`;
        },
    });
}
function heapsAnswer(swept) {
    return sweepAnswer(swept, "every row of every table readable");
}

;// CONCATENATED MODULE: ./build/src/postgres/integrity/pages.js




/** Every fork that exists. The main one counts always: its file must be there. */
const FORKS = `SELECT c.oid,
    format('%s %I.%I', CASE c.relkind WHEN 'i' THEN 'index' WHEN 'S' THEN 'sequence' ELSE 'table' END,
      n.nspname, c.relname) || CASE fork WHEN 'main' THEN '' ELSE ', ' || fork END,
    pg_relation_size(c.oid, fork), fork, c.relisshared
  FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace,
    unnest(ARRAY['main', 'vm', 'init', 'fsm']) AS fork
  WHERE c.relkind IN ('r', 'm', 't', 'i', 'S') AND c.relpersistence <> 't'
    AND (fork = 'main' OR pg_relation_size(c.oid, fork) > 0)`;
/**
 * Reads every page through the server's own buffers, which compares its checksum and header. Pages that amcheck has
 * read in `heaps` are not read again. `pg_prewarm` does this in C at the speed of the disk.
 */
async function checkPages(ground, heaps) {
    const notes = [];
    const rest = await sweep(ground, {
        label: "Integrity: all other pages",
        extension: "pg_prewarm",
        list: FORKS,
        wanted: (item) => item.more[0] !== "main" || heaps?.seen.has(keyOf(item)) !== true,
        async look(session, item, { schema }) {
            const [fork] = item.more;
            try {
                await session.query(`SELECT ${schema}.pg_prewarm($1::oid::regclass, 'buffer', $2)`, [
                    item.oid,
                    fork ?? "",
                ]);
            }
            catch (error) {
                if (fork !== "fsm" || !provesDamage(error))
                    throw error;
                notes.push(`${item.database}: ${item.name}: ${(0,errors/* messageOf */.bD)(error)} (PostgreSQL rebuilds this map itself)`);
            }
            return undefined;
        },
    });
    const read = heaps?.seen.size ?? 0;
    const answer = sweepAnswer({ ...rest, total: rest.total + read, checked: rest.checked + read }, pages_EXPECTED);
    if (!ground.dataChecksums) {
        notes.push("data checksums are off in this cluster: a bit that changed inside of a page is not seen");
    }
    const lines = [...(answer.lines ?? []), ...notes];
    const actual = ground.dataChecksums ? answer.actual : `${answer.actual}, without data checksums`;
    return { ...answer, actual, ...(lines.length === 0 ? {} : { lines: boundedLines(lines) }) };
}
const pages_EXPECTED = "every page readable, with the right checksum";

;// CONCATENATED MODULE: ./build/src/postgres/integrity/roles.js




const roles_EXPECTED = "the roles of the census, with their attributes and memberships";
/** The roles against the census; see {@link import("./schema.ts").compareSchema} for what a difference means. */
async function compareRoles(ground) {
    const { census, databases, reachedLsn, temporaryRole } = ground;
    const session = await ground.openSpelling(databases[0] ?? "postgres");
    const roles = await readRoles((text, values) => session.query(text, values)).finally(() => session.close());
    if (census === undefined) {
        return { status: "unverified", expected: roles_EXPECTED, actual: "the backup has no census" };
    }
    const now = roles.filter((role) => role.name !== temporaryRole);
    const then = census.roles.objects;
    const difference = compareObjects(then, now);
    const actual = `checked ${then.length} of ${then.length}`;
    const lines = boundedLines(difference.lines);
    if (lines.length === 0)
        return { status: "passed", expected: roles_EXPECTED, actual };
    const steady = isSteady(census.roles.steady, reachedLsn);
    return {
        status: steady ? "failed" : "passed",
        expected: roles_EXPECTED,
        actual: `${actual}, ${difference.lines.length} different${steady ? "" : " after later changes"}: ${lines[0]}`,
        lines,
    };
}

;// CONCATENATED MODULE: ./build/src/postgres/integrity/schema.js



const schema_EXPECTED = "the schema of the census";
/**
 * The schema against the census. Where nothing may have changed it since, every difference is a failure. Behind a
 * change in the source differences are told but no failure, unless the catalog itself shows that a table was lost and
 * not dropped.
 */
async function compareSchema(ground, all, mainDatabase) {
    const { census, reachedLsn } = ground;
    if (census === undefined) {
        return { status: "unverified", expected: schema_EXPECTED, actual: "the backup has no census" };
    }
    let total = 0;
    let compared = 0;
    let unproven = 0;
    const wrong = [];
    const changed = [];
    const notes = [];
    for (const then of census.databases) {
        if ("notCaptured" in then) {
            notes.push(`${then.name}: not compared: ${then.notCaptured}`);
            if (then.name === mainDatabase)
                unproven += 1;
            continue;
        }
        total += then.objects.length;
        const now = all.get(then.name);
        const steady = isSteady(then.steady, reachedLsn);
        if (now === undefined) {
            (steady ? wrong : changed).push(`database ${then.name} is not there`);
            continue;
        }
        compared += then.objects.length;
        const difference = compareObjects(then.objects, now);
        wrong.push(...(await lostTables(ground, then, difference)));
        (steady ? wrong : changed).push(...difference.lines.map((line) => `${then.name}: ${line}`));
    }
    const parts = [`compared ${compared} of ${total} objects`];
    if (wrong.length > 0)
        parts.push(`${wrong.length} different: ${wrong[0]}`);
    if (changed.length > 0) {
        parts.push(`${changed.length} different, which changes in the source after the census may explain`);
    }
    if (unproven > 0)
        parts.push("the main database has no census");
    const lines = boundedLines([...wrong, ...changed, ...notes]);
    return {
        status: wrong.length > 0 ? "failed" : unproven > 0 ? "unverified" : "passed",
        expected: schema_EXPECTED,
        actual: parts.join(", "),
        ...(lines.length === 0 ? {} : { lines }),
    };
}
/** DROP TABLE leaves nothing of a table: columns without their table are the trace of a loss. */
async function lostTables(ground, then, { absent }) {
    const gone = absent.filter((one) => one.oid !== undefined);
    if (gone.length === 0)
        return [];
    const session = await ground.open(then.name);
    try {
        const rows = await session.query(`SELECT DISTINCT a.attrelid FROM pg_attribute a
       WHERE a.attrelid = ANY ($1::oid[]) AND NOT EXISTS (SELECT FROM pg_class c WHERE c.oid = a.attrelid)`, [`{${gone.map((one) => one.oid).join(",")}}`]);
        const lost = new Set(rows.map(([oid]) => oid));
        return gone
            .filter((one) => lost.has(one.oid))
            .map((one) => `${then.name}: ${one.kind} ${one.name} is lost: its columns are there, but it is not`);
    }
    finally {
        await session.close();
    }
}

;// CONCATENATED MODULE: ./build/src/postgres/integrity/sequences.js





const sequences_EXPECTED = "no sequence that would give a value again";
/** Every sequence that feeds a column against the column's largest value. */
async function checkSequences(ground) {
    let total = 0;
    const failed = [];
    const unknown = [];
    const notes = [];
    for (const database of ground.databases) {
        const session = await ground.open(database);
        try {
            const ask = (text, values) => session.query(text, values);
            const known = censusOf(ground.census, database)?.sequences;
            for (const feeding of await feedingSequences(ask)) {
                total += 1;
                const subject = `${database}: sequence ${feeding.sequence} is behind ${feeding.table}.${feeding.column}`;
                try {
                    if (!(await isBehind(ask, feeding)))
                        continue;
                }
                catch (error) {
                    if (error instanceof errors/* AbortedError */.oM)
                        throw error;
                    unknown.push(`${database}: sequence ${feeding.sequence}: ${tell(error)}`);
                    continue;
                }
                const then = known?.find((one) => one.name === feeding.sequence);
                if (then?.behind === true)
                    notes.push(`${subject}, as in the source`);
                else if (then?.behind === false)
                    failed.push(`${subject}, and was not when the backup was taken`);
                else
                    unknown.push(`${subject}, and the census does not say whether it is so in the source`);
            }
        }
        finally {
            await session.close();
        }
    }
    const parts = [`checked ${total} of ${total}`];
    if (failed.length > 0)
        parts.push(`${failed.length} behind: ${failed[0]}`);
    if (unknown.length > 0)
        parts.push(`${unknown.length} not proven: ${unknown[0]}`);
    if (notes.length > 0)
        parts.push(`${notes.length} behind as in the source`);
    const lines = boundedLines([...failed, ...unknown, ...notes]);
    return {
        status: failed.length > 0 ? "failed" : unknown.length > 0 ? "unverified" : "passed",
        expected: sequences_EXPECTED,
        actual: parts.join(", "),
        ...(lines.length === 0 ? {} : { lines }),
    };
}

;// CONCATENATED MODULE: ./build/src/postgres/integrity/inspect.js











/**
 * Everything that can be told of a recovered server without knowing what is in its tables. A check that can't run is
 * `unverified`. `compare`: schema and roles with the census too. Throws an AbortedError alone.
 */
async function inspect(ground, component, mainDatabase, compare = true) {
    const results = [];
    async function take(check, work) {
        const answer = await answerOf(work);
        ground.context.log.info(`${check}: ${answer.status}, ${answer.actual}`);
        results.push({ component, check, ...answer });
    }
    // The schema first: the checks after it create extensions for a while.
    let objects;
    const withObjects = async (work) => {
        objects ??= await readAllObjects(ground);
        return await work(objects);
    };
    if (compare) {
        await take("schema as in the census", () => withObjects((all) => compareSchema(ground, all, mainDatabase)));
        await take("roles as in the census", () => compareRoles(ground));
    }
    await take("integrity: extensions", () => checkExtensions(ground));
    await take("integrity: collation versions", () => checkCollations(ground));
    await take("integrity: valid indexes", () => withObjects((all) => judgeFlaws(ground, all, FLAWS.indexes)));
    await take("integrity: valid constraints", () => withObjects((all) => judgeFlaws(ground, all, FLAWS.constraints)));
    await take("integrity: materialized views", () => withObjects((all) => judgeFlaws(ground, all, FLAWS.views)));
    await take("integrity: sequences", () => checkSequences(ground));
    let heaps;
    await take("integrity: tables (amcheck)", async () => {
        heaps = await sweepHeaps(ground);
        return heapsAnswer(heaps);
    });
    await take("integrity: B-tree indexes (amcheck)", () => checkBtreeIndexes(ground));
    await take("integrity: every page read", () => checkPages(ground, heaps));
    return results;
}
async function answerOf(work) {
    try {
        return await work();
    }
    catch (error) {
        if (error instanceof errors/* AbortedError */.oM)
            throw error;
        return { status: "unverified", expected: "to be answered", actual: `could not run: ${tell(error)}` };
    }
}

;// CONCATENATED MODULE: ./build/src/postgres/marker/check-marker.js



/**
 * Compares the marker's row in the recovered database with the restore points of the WAL: the commit before the last point
 * must be there, and the one after the next must not. Exactly at a point, the commit after it must not be there either.
 */
async function checkMarker(session, subject) {
    const { last, next } = await findNeighbours(subject);
    if (last === undefined && next === undefined) {
        const actual = "no run behind the backup was marked: marker: true is newer than they are";
        return { status: "unverified", expected: "a mark before the point, and none after it", actual };
    }
    const allowed = expectedRows({ last, next }, subject.reachedLsn);
    const expected = last === undefined ? `no mark of ${next?.name ?? "a later run"}` : allowed.join(", or ");
    const [found] = await session.query("SELECT to_regclass($1) IS NOT NULL", [MARKER_TABLE]);
    if (found?.[0] !== "t") {
        const actual = `the recovered database has no table ${MARKER_TABLE}: its backup is older than marker: true`;
        // A marked point was made after the table: its loss is a loss of data.
        return { status: last === undefined ? "unverified" : "failed", expected, actual };
    }
    const [row] = await session.query(`SELECT point, side, written_at::text FROM ${MARKER_TABLE} WHERE id = 1`);
    if (row === undefined)
        return { status: "failed", expected, actual: "no row" };
    const [point, side, writtenAt] = row;
    if (point == null || side == null) {
        return { status: last === undefined ? "passed" : "failed", expected, actual: "no mark yet" };
    }
    const mark = check_marker_describeMark(point, side === "after" ? "after" : "before");
    const actual = `${mark}, written at ${writtenAt ?? "no time"}`;
    if (last !== undefined)
        return { status: allowed.includes(mark) ? "passed" : "failed", expected, actual };
    // Of the runs before the backup nothing is known here: only what is too new can be told.
    const tooNew = point === next?.name && side === "after";
    return { status: tooNew ? "failed" : "passed", expected, actual };
}
/** In the order of the WAL: the mark before a point, the point, the mark after it, the mark before the next point. */
function expectedRows({ last, next }, reachedLsn) {
    if (last === undefined)
        return [];
    const before = check_marker_describeMark(last.name, "before");
    if (lsn(last.lsn) === reachedLsn)
        return [before];
    const after = check_marker_describeMark(last.name, "after");
    return next === undefined ? [before, after] : [before, after, check_marker_describeMark(next.name, "before")];
}
function check_marker_describeMark(point, side) {
    return `the mark ${side} ${point}`;
}
async function findNeighbours(subject) {
    const { chain, reachedLsn } = subject;
    const at = chain.findLastIndex(({ number }) => BigInt(number) * BigInt(subject.segmentBytes) < reachedLsn);
    let last;
    for (let index = at; index >= 0 && last === undefined; index -= 1) {
        last = (await markedPoints(subject, chain[index])).findLast((point) => lsn(point.lsn) <= reachedLsn);
    }
    let next;
    for (let index = Math.max(0, at); index < chain.length && next === undefined; index += 1) {
        next = (await markedPoints(subject, chain[index])).find((point) => lsn(point.lsn) > reachedLsn);
    }
    return { last, next };
}
async function markedPoints({ setting, signal }, segment) {
    if (segment === undefined)
        return [];
    const { restorePoints } = await readSidecarOf(setting.store, setting.name, segment, signal);
    return (restorePoints ?? []).filter(({ name }) => isMarkedPoint(name));
}

// EXTERNAL MODULE: ./build/src/expect.js
var expect = __webpack_require__(644);
;// CONCATENATED MODULE: ./build/src/postgres/checks/checks.js




const TIMEOUT = "5min";
const LONGEST = 200;
/** Runs the checks in order, each in a read-only transaction. One that cannot run is `unverified`. */
async function runChecks(checks, subject) {
    const results = [];
    for (const check of checks) {
        const answer = await runCheck(check, subject).catch((error) => {
            if (error instanceof errors/* AbortedError */.oM)
                throw error;
            return couldNotRun(error, describeExpectation(check));
        });
        results.push({ component: subject.component, check: checks_describe(check), ...answer });
    }
    return results;
}
/** The check in the words of the runbook. */
function checks_describe(check) {
    return "rows" in check ? `rows: ${check.rows}` : check.query.trim();
}
function describeExpectation(check) {
    if ("rows" in check)
        return "the count captured with the backup";
    const age = check["max-age"];
    return check.expect?.text ?? (age === undefined ? "" : `at most ${(0,values/* formatDuration */.a3)(age)} old`);
}
async function runCheck(check, subject) {
    if ("rows" in check)
        return compareRows(check.rows, check.tolerance, subject);
    const expected = describeExpectation(check);
    const rows = await readOnly(subject, check.query);
    const row = rows[0];
    if (row === undefined)
        return { status: "failed", expected, actual: "no row" };
    // Which one comes first is chance, and the others were not looked at.
    if (rows.length > 1)
        return { status: "failed", expected, actual: "more than one row" };
    const value = row[0];
    if (value === undefined)
        return { status: "failed", expected, actual: "no column" };
    if (value === null)
        return { status: "failed", expected, actual: "NULL" };
    if (check.expect !== undefined) {
        return { status: passedIf((0,expect/* meets */.D)(check.expect, value)), expected, actual: cut(value) };
    }
    const age = check["max-age"];
    return age === undefined
        ? { status: "unverified", expected, actual: "the check expects nothing" }
        : compareAge(value, age, expected, subject.momentMicros);
}
function compareAge(value, seconds, expected, momentMicros) {
    const micros = parseServerTime(value);
    const bounded = `${expected} at ${toRfc3339(momentMicros)}`;
    if (micros === undefined) {
        return { status: "unverified", expected: bounded, actual: `${cut(value)}, which is not a time` };
    }
    const age = momentMicros - micros;
    const most = BigInt(seconds) * 1000000n;
    // A date in the far future, such as a due date or a test row, would hide for ever that nothing new is written.
    if (-age > most) {
        return { status: "failed", expected: bounded, actual: `${cut(value)}, which is later than that moment` };
    }
    return { status: passedIf(age <= most), expected: bounded, actual: cut(value) };
}
/** The session's time zone is UTC, so a timestamp without one is read as UTC, and a date as its first moment. */
function parseServerTime(value) {
    return parseTime(value) ?? parseTime(`${value}+00`) ?? parseTime(`${value} 00:00:00+00`);
}
async function compareRows(table, tolerance, subject) {
    const captured = await findRows(table, subject);
    if ("notCaptured" in captured) {
        const actual = `not captured: ${captured.notCaptured}`;
        return { status: "unverified", expected: "a count captured with the backup", actual };
    }
    const allowed = tolerance.unit === "percent" ? (captured.rows * tolerance.value) / 100 : tolerance.value;
    const within = tolerance.value === 0 ? "" : ` ± ${tolerance.value}${tolerance.unit === "percent" ? " %" : ""}`;
    const expected = `${captured.rows}${within}`;
    // The table's full name, quoted by the source's server when it was counted.
    const counted = readOnly(subject, `SELECT count(*) FROM ${captured.table}`);
    const [row] = await counted.catch((error) => {
        // It was there when the backup was taken.
        if ((0,errors/* codeOf */.$N)(error) === "42P01")
            return [];
        throw error;
    });
    if (row === undefined)
        return { status: "failed", expected, actual: "the table is not there" };
    const rows = Number(row[0]);
    return { status: passedIf(Math.abs(rows - captured.rows) <= allowed), expected, actual: String(rows) };
}
async function findRows(table, subject) {
    const census = await subject.census();
    if (census === undefined)
        return { table, notCaptured: "the backup has no census of this database" };
    const written = census.resolve(table);
    const name = written === undefined ? await resolveHere(table, subject) : written;
    if (name === null)
        return { table, notCaptured: "there was no such table" };
    const found = census.rows.find((one) => one.table === name);
    return found ?? { table, notCaptured: "take a backup with this check in the runbook" };
}
/** A check that is newer than the backup: the name means what it means on the recovered server. */
async function resolveHere(table, subject) {
    const [row] = await readOnly(subject, `SELECT format('%I.%I', n.nspname, c.relname) FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
     WHERE c.oid = to_regclass('${table.replaceAll("'", "''")}')`);
    return row?.[0] ?? null;
}
async function readOnly(subject, query) {
    const session = await subject.open();
    try {
        await session.query("BEGIN TRANSACTION READ ONLY");
        await session.query(`SET LOCAL statement_timeout = '${TIMEOUT}'`);
        // Two are enough to see that there is more than one; all rows of a table may not fit into the memory.
        return await session.firstRows(query, 2);
    }
    finally {
        await session.close();
    }
}
/** The server's sentence without its detail; of a data error (class 22) without the value, which comes from a row. */
function couldNotRun(error, expected) {
    const said = (0,errors/* messageOf */.bD)(error);
    const shown = (0,errors/* codeOf */.$N)(error)?.startsWith("22") === true ? said.replace(/:? ".*"/s, "") : said;
    return { status: "unverified", expected, actual: cut(shown) };
}
function passedIf(condition) {
    return condition ? "passed" : "failed";
}
function cut(text) {
    const line = text.replace(/\s+/g, " ");
    return line.length > LONGEST ? `${line.slice(0, LONGEST)}…` : line;
}

;// CONCATENATED MODULE: ./build/src/postgres/checks/session.js


const CONNECT_MS = 15_000;
/**
 * Connects over the socket. Settings of the role or the database that came with the backup (preloaded libraries,
 * login triggers, time-outs) do not apply. Throws the `pg` error when the server refuses.
 */
async function openSession(address, database, signal) {
    if (signal.aborted)
        throw new errors/* AbortedError */.oM();
    const settings = {
        session_preload_libraries: "",
        local_preload_libraries: "",
        default_transaction_read_only: "off",
        statement_timeout: "0",
        idle_in_transaction_session_timeout: "0",
        TimeZone: "UTC",
        DateStyle: "ISO",
        ...(address.major >= 17 ? { event_triggers: "off" } : {}),
    };
    const client = new esm/* default.Client */.Ay.Client({
        host: address.socket,
        port: address.port,
        user: address.user,
        database,
        ssl: false,
        // An explicit value, so that pg looks neither into PGPASSWORD nor for a password file.
        password: "",
        application_name: "drillbook",
        connectionTimeoutMillis: CONNECT_MS,
        options: Object.entries(settings)
            .map(([name, value]) => `-c ${name}=${value}`)
            .join(" "),
        types: { getTypeParser: () => (value) => value },
    });
    // Without a listener an error between two statements would end the process.
    client.on("error", () => undefined);
    const cut = () => void client.end().catch(() => undefined);
    signal.addEventListener("abort", cut, { once: true });
    try {
        await client.connect();
    }
    catch (error) {
        signal.removeEventListener("abort", cut);
        await client.end().catch(() => undefined);
        if (signal.aborted)
            throw new errors/* AbortedError */.oM();
        throw error;
    }
    return {
        firstRows(text, count) {
            return new Promise((resolve, reject) => {
                const rows = [];
                const config = { text, values: [], rowMode: "array", queryMode: "extended", rows: count };
                const query = new esm/* default.Query */.Ay.Query(config);
                // With a listener pg keeps no rows itself, so a table of any size fits.
                query.on("row", (row) => {
                    if (rows.length < count)
                        rows.push(row);
                    if (rows.length === count)
                        resolve(rows);
                });
                query.on("end", () => resolve(rows));
                query.on("error", (error) => reject(signal.aborted ? new errors/* AbortedError */.oM() : error));
                client.query(query);
            });
        },
        async query(text, values) {
            // The extended protocol takes one statement only: a check cannot end its read-only transaction.
            const config = { text, values: [...(values ?? [])], rowMode: "array", queryMode: "extended" };
            try {
                const result = await client.query(config);
                return result.rows;
            }
            catch (error) {
                if (signal.aborted)
                    throw new errors/* AbortedError */.oM();
                throw error;
            }
        },
        async close() {
            signal.removeEventListener("abort", cut);
            await client.end().catch(() => undefined);
        },
    };
}
/** The first of these databases that exists; a backup may be older than the source's database. */
async function openAnySession(address, databases, signal) {
    let refusal;
    for (const database of databases) {
        try {
            return await openSession(address, database, signal);
        }
        catch (error) {
            // 3D000: no such database; 55000: it takes no connections.
            if ((0,errors/* codeOf */.$N)(error) !== "3D000" && (0,errors/* codeOf */.$N)(error) !== "55000")
                throw refused(error);
            refusal = error;
        }
    }
    throw refused(refusal);
}
function refused(error) {
    if (error instanceof errors/* AbortedError */.oM)
        return error;
    return new errors/* ToolError */.v4(`The recovered server refuses our connection: ${(0,errors/* messageOf */.bD)(error)}.`, { cause: error });
}

;// CONCATENATED MODULE: ./build/src/postgres/checks/recovered-checks.js









function checksOf(server) {
    const { setting, manifest, details, address, context } = server;
    let census;
    const loadCensus = () => {
        census ??= readCensus(setting, manifest, context.signal);
        return census;
    };
    return {
        async check() {
            const marker = setting.config.marker ? [await compareMarker(server)] : [];
            const results = await runChecks(setting.config.checks, {
                component: setting.name,
                census: async () => viewOf(await loadCensus(), details.database),
                momentMicros: server.momentMicros,
                open: () => openSession(address, details.database, context.signal),
            });
            return [...marker, ...results];
        },
        inspect: setting.config.integrity ? () => inspectWith(server, loadCensus) : undefined,
    };
}
async function compareMarker(server) {
    const { setting, details, address, chain, reachedLsn, context } = server;
    const named = { component: setting.name, check: "marker" };
    const { signal } = context;
    const subject = { setting, chain, reachedLsn, segmentBytes: details.walSegmentBytes, signal };
    try {
        const session = await openSession(address, details.database, signal);
        const answer = await checkMarker(session, subject).finally(() => session.close());
        return { ...named, ...answer };
    }
    catch (error) {
        if (error instanceof errors/* AbortedError */.oM || signal.aborted)
            throw error;
        const expected = "the commits on both sides of the point";
        const status = error instanceof errors/* DefectError */.uR ? "failed" : "unverified";
        return { ...named, status, expected, actual: (0,errors/* messageOf */.bD)(error) };
    }
}
async function inspectWith(server, loadCensus) {
    const { setting, details, context } = server;
    const component = setting.name;
    const results = [];
    const census = await loadCensus().catch((error) => {
        if (error instanceof errors/* AbortedError */.oM || context.signal.aborted)
            throw error;
        const status = error instanceof errors/* DefectError */.uR ? "failed" : "unverified";
        results.push({ component, check: "census", status, expected: "readable", actual: (0,errors/* messageOf */.bD)(error) });
        return undefined;
    });
    const ground = await groundOf(server, census);
    // Without a census nothing is left out in silence, unless the runbook itself wants none.
    const compare = census !== undefined || (setting.config.census !== false && results.length === 0);
    return [...results, ...(await inspect(ground, component, details.database, compare))];
}
function viewOf(census, database) {
    const one = censusOf(census, database);
    return one && { resolve: (table) => census?.tables[table], rows: one.rows };
}
const INSPECTING = [
    // Event triggers of the source would see the extensions that the checks create.
    "SET session_replication_role = replica",
    // A prepared transaction that came with the backup keeps its locks for ever.
    "SET lock_timeout = '30s'",
];
async function groundOf(server, census) {
    const { details, address, context } = server;
    const open = async (database, statements = []) => {
        const session = await openSession(address, database, context.signal);
        for (const statement of [...INSPECTING, ...statements])
            await session.query(statement);
        return session;
    };
    const session = await openAnySession(address, [details.database, "postgres", "template1"], context.signal);
    const rows = await session
        .query("SELECT datname FROM pg_database WHERE datallowconn ORDER BY datname")
        .finally(() => session.close());
    return {
        databases: rows.map((row) => cell(row, 0)),
        major: details.major,
        dataChecksums: details.dataChecksums,
        census,
        reachedLsn: server.reachedLsn,
        temporaryRole: server.temporaryRole,
        context,
        open: (database) => open(database),
        openSpelling: (database) => open(database, SPELLING),
    };
}

;// CONCATENATED MODULE: ./build/src/postgres/goal.js


/** The goal in words, for logs, messages and the record. */
function describeGoal(goal) {
    switch (goal.kind) {
        case "immediate":
            return "immediate";
        case "restore-point":
            return `restore point ${goal.name}`;
        case "time":
            return withSide(formatMicros(goal.micros), goal.exclusive);
        case "lsn":
            return withSide(`LSN ${formatLsn(goal.lsn)}`, goal.exclusive);
        case "xid":
            return withSide(`transaction ${goal.xid}`, goal.exclusive);
    }
}
function withSide(goal, exclusive) {
    return exclusive ? `just before ${goal}` : goal;
}

;// CONCATENATED MODULE: ./build/src/postgres/scratch/access.js

/** A new name, so that it cannot be that of a role in the backup; the password is masked at once. */
function makeTemporaryRole(context) {
    const role = {
        name: `drillbook_${(0,external_node_crypto_.randomBytes)(6).toString("hex")}`,
        password: (0,external_node_crypto_.randomBytes)(24).toString("hex"),
    };
    context.mask(role.password);
    return role;
}
/** Name and password are hexadecimal, so they need no quoting; the server logs no statements. */
async function createTemporaryRole(session, role) {
    await session.query(`CREATE ROLE ${role.name} SUPERUSER LOGIN PASSWORD '${role.password}'`);
}
/** What `run` steps get as `DRILLBOOK_<COMPONENT>_URL` and so on. */
function accessOf(role, port, database) {
    const host = "127.0.0.1";
    return {
        url: `postgresql://${role.name}:${role.password}@${host}:${port}/${encodeURIComponent(database)}`,
        host,
        port: String(port),
        user: role.name,
        password: role.password,
        database,
    };
}

// EXTERNAL MODULE: ./build/src/quote.js
var quote = __webpack_require__(1705);
// EXTERNAL MODULE: external "node:child_process"
var external_node_child_process_ = __webpack_require__(1421);
;// CONCATENATED MODULE: ./build/src/postgres/scratch/tool.js

/** What is kept of each of the two outputs. */
const KEPT_CHARACTERS = 64 * 2 ** 10;
/**
 * Runs a tool without a shell and returns its answer; one that cannot even be started is answered with 126. Throws only
 * when the signal ends it.
 */
async function runBounded(command, args, options) {
    const { env, seconds, signal, uid, gid } = options;
    return new Promise((resolve, reject) => {
        const child = (0,external_node_child_process_.spawn)(command, args, {
            ...(uid === undefined ? {} : { uid }),
            ...(gid === undefined ? {} : { gid }),
            ...(signal === undefined ? {} : { signal }),
            cwd: "/",
            env,
            stdio: ["ignore", "pipe", "pipe"],
            timeout: seconds * 1000,
            killSignal: "SIGKILL",
        });
        let stdout = "";
        let stderr = "";
        child.stdout.setEncoding("utf8").on("data", (text) => {
            options.onOutput?.(text);
            stdout = (stdout + text).slice(-KEPT_CHARACTERS);
        });
        child.stderr.setEncoding("utf8").on("data", (text) => {
            stderr = (stderr + text).slice(-KEPT_CHARACTERS);
        });
        child.on("error", (error) => {
            if (signal?.aborted)
                reject(error);
            else
                resolve({ exitCode: 126, stdout, stderr: error.message });
        });
        child.on("close", (code) => resolve({ exitCode: code ?? 128, stdout, stderr }));
    });
}

;// CONCATENATED MODULE: ./build/src/postgres/scratch/run-user.js



/** Looked for in this order: PostgreSQL refuses to run as root. */
const CANDIDATES = ["postgres", "nobody"];
/** The user to drop to; undefined when this process is not root and the server simply runs as the same user. */
async function findRunUser() {
    if (process.getuid?.() !== 0)
        return undefined;
    const passwd = await (0,external_node_fs_promises_.readFile)("/etc/passwd", "utf8");
    const user = pickRunUser(passwd);
    if (user !== undefined)
        return user;
    throw new errors/* ToolError */.v4("PostgreSQL refuses to run as root, and this machine has neither a user postgres nor nobody: run the job as a normal user.");
}
/** The first candidate in the text of /etc/passwd; an entry with the uid 0 is not one. */
function pickRunUser(passwd) {
    const users = new Map();
    for (const line of passwd.split("\n")) {
        const [name = "", , uid = "", gid = ""] = line.split(":");
        if (!/^\d+$/.test(uid) || !/^\d+$/.test(gid) || Number(uid) === 0)
            continue;
        users.set(name, { name, uid: Number(uid), gid: Number(gid) });
    }
    return CANDIDATES.map((name) => users.get(name)).find((user) => user !== undefined);
}
/** The identity for `spawn`: nothing when the process keeps its own user. */
function identityOf(user) {
    return user === undefined ? {} : { uid: user.uid, gid: user.gid };
}
const TOOL_SECONDS = 20;
/**
 * Runs a short tool as the server's user and returns its answer; a tool that this user cannot even start is answered
 * with 126. It is how we learn what that user can reach, whatever modes, ACLs and mounts say.
 */
async function runAs(user, command, args, signal) {
    return await runBounded(command, args, {
        ...identityOf(user),
        env: { PATH: process.env.PATH, LC_ALL: "C", LD_LIBRARY_PATH: process.env.LD_LIBRARY_PATH },
        seconds: TOOL_SECONDS,
        signal,
    });
}

;// CONCATENATED MODULE: ./build/src/postgres/scratch/binaries.js





/** Folders in which distributions install one major version, in the order in which they are tried. */
function binaryFolders(major, path) {
    return [
        `/usr/lib/postgresql/${major}/bin`,
        `/usr/pgsql-${major}/bin`,
        `/opt/homebrew/opt/postgresql@${major}/bin`,
        `/usr/local/opt/postgresql@${major}/bin`,
        `/Applications/Postgres.app/Contents/Versions/${major}/bin`,
        ...(path ?? "").split(external_node_path_.delimiter).filter((folder) => folder.startsWith("/")),
    ];
}
/** Major and full version in what `postgres --version` prints; undefined when it is another program. */
function parseServerVersion(output) {
    const match = /^postgres(?:\.bin)? \(PostgreSQL\) ((\d+)\S*)/.exec(output.trim());
    if (match === null)
        return undefined;
    return { major: Number(match[2]), version: match[1] ?? "" };
}
/**
 * Looks for `postgres` of the backup's major version: only the same major can read the data folder. `binDir` is the
 * runbook's `server.bin-dir`. Throws a {@link UserError} when that is wrong, and a {@link ToolError} when the server's
 * user cannot start the program.
 */
async function findServerBinary(major, binDir, user, context) {
    if (binDir !== undefined) {
        const path = (0,external_node_path_.join)(binDir, "postgres");
        const found = await versionOf(path, context);
        if (found === undefined) {
            throw new errors/* UserError */.yo(`server.bin-dir is ${binDir}, but there is no PostgreSQL server program "postgres": name the bin folder of PostgreSQL ${major}.`);
        }
        if (found.major !== major) {
            throw new errors/* UserError */.yo(`server.bin-dir is ${binDir}, which holds PostgreSQL ${found.version}, but the backup is of PostgreSQL ${major}: name the bin folder of that major version.`);
        }
        return { binary: await usable(path, found.version, user, context), others: [] };
    }
    const others = new Set();
    for (const folder of binaryFolders(major, context.env.PATH)) {
        const path = (0,external_node_path_.join)(folder, "postgres");
        const found = await versionOf(path, context);
        if (found?.major === major) {
            return { binary: await usable(path, found.version, user, context), others: [] };
        }
        if (found !== undefined)
            others.add(found.version);
    }
    return { binary: undefined, others: [...others] };
}
async function versionOf(path, context) {
    try {
        await (0,external_node_fs_promises_.access)(path, external_node_fs_.constants.X_OK);
    }
    catch {
        return undefined;
    }
    const answer = await context.runTool(path, ["--version"]);
    if (answer.exitCode !== 0)
        return undefined;
    return parseServerVersion(answer.stdout);
}
/** The program must also start as the user that the server will run as. */
async function usable(path, version, user, context) {
    if (user === undefined)
        return { path, version };
    const answer = await runAs(user, path, ["--version"], context.signal);
    if (answer.exitCode === 0)
        return { path, version };
    throw new errors/* ToolError */.v4(`PostgreSQL must not run as root, and the user ${user.name} cannot start ${path}: make the folder readable for everybody, or install the server programs elsewhere.`);
}

// EXTERNAL MODULE: external "node:net"
var external_node_net_ = __webpack_require__(7030);
;// CONCATENATED MODULE: ./build/src/postgres/scratch/engine.js




const NAMES = ["docker", "podman"];
/** An engine whose socket hangs is as good as none. */
const ANSWER_SECONDS = 10;
const REQUEST_SECONDS = 60;
const PULL_SECONDS = 30 * 60;
const PROGRESS_MS = 5_000;
/** The first engine that answers; else what each one that is installed said instead. */
async function findEngine(context) {
    const { env, signal } = context;
    const refusals = [];
    for (const name of NAMES) {
        const path = programInPath(name, env.PATH);
        if (path === undefined)
            continue;
        const answer = await runBounded(path, ["info"], { env, signal, seconds: ANSWER_SECONDS });
        if (answer.exitCode !== 0) {
            refusals.push(`${name}: ${wordsOf(answer)}`);
            continue;
        }
        const version = await runBounded(path, ["--version"], { env, signal, seconds: ANSWER_SECONDS });
        return { engine: { name, path, isPodman: version.stdout.startsWith("podman"), env }, refusals };
    }
    return { engine: undefined, refusals };
}
function programInPath(name, path) {
    for (const folder of (path ?? "").split(external_node_path_.delimiter)) {
        if (!folder.startsWith("/"))
            continue;
        try {
            (0,external_node_fs_.accessSync)((0,external_node_path_.join)(folder, name), external_node_fs_.constants.X_OK);
            return (0,external_node_path_.join)(folder, name);
        }
        catch {
            // Not in this folder.
        }
    }
    return undefined;
}
/**
 * A request to the engine. It is not cut short by an abort: what was asked for is then known to be done, and can be
 * taken back.
 */
async function request(engine, args, seconds = REQUEST_SECONDS) {
    return await runBounded(engine.path, args, { env: engine.env, seconds });
}
/** Takes care that the engine has the image. Throws a {@link ToolError} with the registry's words when it cannot be had. */
async function requireImage(engine, image, context) {
    const { signal } = context;
    const limits = { env: engine.env, signal, seconds: REQUEST_SECONDS };
    const present = await runBounded(engine.path, ["image", "inspect", image], limits);
    if (present.exitCode === 0)
        return;
    context.log.info(`Pulling the image ${image} with ${engine.name}`);
    let nextLine = performance.now() + PROGRESS_MS;
    const pulled = await runBounded(engine.path, ["pull", image], {
        ...limits,
        seconds: PULL_SECONDS,
        onOutput(text) {
            if (performance.now() < nextLine)
                return;
            nextLine = performance.now() + PROGRESS_MS;
            context.log.info(`Pulling the image ${image}: ${text.trim().split("\n").at(-1) ?? ""}`);
        },
    });
    if (pulled.exitCode === 0)
        return;
    throw new errors/* ToolError */.v4(`${engine.name} has no image ${image} and could not pull it: ${wordsOf(pulled)}. See the name in server.image, log in to its registry in a step before this one, or pull the image there.`);
}
/** What a client said when it failed: its last words, as a part of a sentence. */
function wordsOf({ exitCode, stderr }) {
    const lines = stderr
        .split("\n")
        .map((line) => line.trim())
        .filter((line) => line !== "" && !/^(?:See '|Run '|Usage: |errors pretty printing info)/.test(line));
    const words = (lines.at(-1) ?? "").replace(/^(?:docker: |Error: |ERROR: )+/, "").replace(/[.]+$/, "");
    if (words !== "")
        return words.slice(0, 500);
    return exitCode === 128 ? "it did not answer in time" : `exit code ${exitCode} without a word`;
}

// EXTERNAL MODULE: external "node:readline"
var external_node_readline_ = __webpack_require__(481);
;// CONCATENATED MODULE: ./build/src/postgres/scratch/follow.js





/** Starts a program in its own process group. Throws a ToolError when it cannot be started. */
async function follow(command, args, options, onLine) {
    const child = (0,external_node_child_process_.spawn)(command, args, { ...options, detached: true, stdio: ["ignore", "ignore", "pipe"] });
    await started(child, command);
    const pid = child.pid ?? 0;
    let ending;
    // `close`, unlike `exit`, waits for the last line, but a child of the server may hold the pipe open.
    const exited = new Promise((resolve) => {
        child.once("exit", (code, signal) => {
            ending = describeEnding(code, signal);
            resolve();
        });
    });
    const stderr = child.stderr;
    const lines = (0,external_node_readline_.createInterface)({ input: stderr });
    lines.on("line", onLine);
    const drained = new Promise((resolve) => lines.once("close", () => resolve()));
    const ended = exited.then(() => Promise.race([drained, (0,external_node_timers_promises_.setTimeout)(1_000)])).then(() => undefined);
    return {
        pid,
        ending: () => ending,
        exited,
        ended,
        async endsWithin(milliseconds) {
            const timer = new AbortController();
            const timeout = (0,external_node_timers_promises_.setTimeout)(milliseconds, false, { signal: timer.signal }).catch(() => false);
            const gone = await Promise.race([exited.then(() => true), timeout]);
            timer.abort();
            return gone;
        },
        kill(signal, { group = false } = {}) {
            try {
                process.kill(group ? -pid : pid, signal);
            }
            catch {
                // It has just ended.
            }
        },
        release() {
            child.unref();
            stderr.destroy();
            lines.close();
        },
    };
}
/** A shell, and the client of a container's engine, tell a signal as an exit code above 128. */
function describeEnding(code, signal) {
    const told = Object.entries(external_node_os_.constants.signals).find(([, number]) => number + 128 === code)?.[0];
    const name = signal ?? told;
    return name === undefined ? `exit code ${code}` : `signal ${name}`;
}
async function started(child, path) {
    await new Promise((resolve, reject) => {
        child.once("spawn", () => resolve());
        child.once("error", (error) => reject(new errors/* ToolError */.v4(`${path} could not be started: ${(0,errors/* messageOf */.bD)(error)}.`, { cause: error })));
    });
}

;// CONCATENATED MODULE: ./build/src/postgres/scratch/container.js





const SIGNAL_SECONDS = 2;
const REMOVE_SECONDS = 20;
const REMOVE_TRIES = 20;
const REMOVE_PAUSE_MS = 250;
/**
 * Runs a program of the image as the server's user, in the network of this machine and with nothing of its files but the
 * scratch folders, under their own names. Making and starting are two requests: the first is never cut short, so what
 * there is to remove is always known. Throws a {@link ToolError} with the engine's words when it refuses.
 */
async function startContainer(place, program, args, onLine) {
    const { engine, image, scratch, context } = place;
    const name = `drillbook-${(0,external_node_crypto_.randomBytes)(6).toString("hex")}`;
    scratch.watchdog.watch({ container: name, engine: engine.path });
    const options = creation(place, name);
    const created = await request(engine, ["create", ...options, `--entrypoint=${program}`, image, ...args]);
    if (created.exitCode !== 0) {
        await removeContainer(name, engine, context);
        scratch.watchdog.watch(undefined);
        throw new errors/* ToolError */.v4(`${engine.name} could not make a container of the image ${image}: ${wordsOf(created)}. ${ENGINE_HINT}`);
    }
    // Signals are sent to the container by its name: the client only passes them on once it is attached.
    const start = ["start", "--attach", name];
    const client = await follow(engine.path, start, { cwd: "/", env: engine.env }, onLine).catch(async (error) => {
        await removeContainer(name, engine, context);
        throw error;
    });
    let removed;
    async function remove() {
        await removeContainer(name, engine, context);
        client.kill("SIGKILL");
        await client.exited;
        scratch.watchdog.watch(undefined);
    }
    return {
        name,
        client,
        async signal(signal) {
            await request(engine, ["kill", `--signal=${signal}`, name], SIGNAL_SECONDS);
        },
        remove() {
            removed ??= remove();
            return removed;
        },
    };
}
/** What helps when an engine cannot do what a scratch server needs. */
const ENGINE_HINT = "The engine must run on this machine itself, not in a virtual machine, behind a remote DOCKER_HOST or as rootless docker: otherwise install the server programs and name their folder as server.bin-dir.";
function creation({ engine, scratch }, name) {
    const uid = scratch.user?.uid ?? process.getuid?.();
    const gid = scratch.user?.gid ?? process.getgid?.();
    const folders = scratch.socket.startsWith(`${scratch.root}/`)
        ? [scratch.root]
        : [scratch.root, scratch.socket];
    // Only podman can give a user who is not root its own files under its own id.
    const keepId = engine.isPodman && process.getuid?.() !== 0;
    return [
        ...[`--name=${name}`, "--label=drillbook", "--rm", "--pull=never", "--log-driver=none"],
        ...["--network=host", `--userns=${keepId ? "keep-id" : "host"}`, `--user=${uid}:${gid}`],
        // No labels of SELinux: the folders keep theirs, and are read from both sides.
        ...["--cap-drop=ALL", "--security-opt=no-new-privileges", "--security-opt=label=disable"],
        ...(engine.isPodman ? ["--http-proxy=false"] : []),
        ...["--stop-signal=SIGINT", "--env=LC_ALL=C", "--env=TZ=UTC"],
        // Unlike --volume, a mount makes no folder on the engine's side, and a path may hold a colon.
        ...folders.map((folder) => `--mount=type=bind,${field(`source=${folder}`)},${field(`target=${folder}`)}`),
    ];
}
/** A mount is a line of CSV. */
function field(text) {
    return `"${text.replaceAll('"', '""')}"`;
}
async function removeContainer(name, engine, context) {
    for (let tries = 1;; tries += 1) {
        const answer = await request(engine, ["rm", "--force", "--volumes", name], REMOVE_SECONDS);
        if (answer.exitCode === 0 || /no such container|no container with/i.test(answer.stderr))
            return;
        if (tries === REMOVE_TRIES || !/already in progress/i.test(answer.stderr)) {
            context.log.warning(`The container ${name} may be left behind, because ${engine.name} did not remove it: ${wordsOf(answer)}. Remove it with "${engine.name} rm --force ${name}".`);
            return;
        }
        await (0,external_node_timers_promises_.setTimeout)(REMOVE_PAUSE_MS);
    }
}

;// CONCATENATED MODULE: ./build/src/postgres/scratch/server.js


/** How long a server is given for its fast shutdown, and then for the immediate one. */
const INTERRUPT_MS = 1_500;
const QUIT_MS = 1_500;
/** A port that was free a moment ago; whoever binds it must be ready to try another. */
async function freePort() {
    return new Promise((resolve, reject) => {
        const probe = (0,external_node_net_.createServer)();
        probe.once("error", reject);
        probe.listen(0, "127.0.0.1", () => {
            const address = probe.address();
            const port = typeof address === "object" && address !== null ? address.port : 0;
            probe.close(() => resolve(port));
        });
    });
}
/** Where the server's own configuration files lie: outside the data folder, which stays as the backup has it. */
function configurationFiles(scratch) {
    return {
        config: (0,external_node_path_.join)(scratch.root, "server.conf"),
        hba: (0,external_node_path_.join)(scratch.root, "hba.conf"),
        ident: (0,external_node_path_.join)(scratch.root, "ident.conf"),
    };
}

;// CONCATENATED MODULE: ./build/src/postgres/scratch/container-server.js








const TRIAL_MS = 60_000;
const REACH_MS = 5_000;
const NO_PROGRAM = 100;
/**
 * Asks for `postgres` and its version through the scratch folder, as the server's user: so it is known, before anything
 * is fetched, that the container sees these folders and may write there. PATH is that of the image.
 */
const TRIAL = `
PATH=$PATH:/usr/lib/postgresql/$2/bin
program=$(command -v postgres) || exit ${NO_PROGRAM}
version=$("$program" --version) || exit ${NO_PROGRAM}
printf '%s\\n' "$program" "$version" >"$1"
`;
/**
 * `postgres` of an image, in a container that sees the scratch folders and this machine's network. The image's own
 * entrypoint and its environment variables play no part. The server is the first process there, as in the official
 * images, so it must end by the signals that it is sent; its exit code and log are those of the client, our child.
 * Throws a {@link UserError} when the image is of another major version or has no server, and a {@link ToolError} when
 * the engine cannot do it.
 */
async function containerRuntime(place, major) {
    const { engine, image, context } = place;
    const binary = await tryOut(place, major);
    const label = `${engine.name} ${image}`;
    context.log.info(`The scratch server runs in ${label}, PostgreSQL ${binary.version}`);
    return {
        label,
        async start(scratch, configFile, onLine) {
            const args = ["-D", scratch.data, "-c", `config_file=${configFile}`];
            const container = await startContainer({ ...place, scratch }, binary.path, args, onLine);
            const { client, name } = container;
            return {
                title: `container ${name}`,
                stopCommand: `${engine.name} stop ${name}`,
                ending: client.ending,
                ended: client.ended,
                requireReach: (port) => requireReach(place, port),
                async stop() {
                    if (client.ending() === undefined) {
                        await container.signal("INT");
                        if (!(await client.endsWithin(INTERRUPT_MS))) {
                            await container.signal("QUIT");
                            await client.endsWithin(QUIT_MS);
                        }
                    }
                    await container.remove();
                },
                release() {
                    // Without its client the container lives on.
                    client.kill("SIGKILL");
                    client.release();
                },
            };
        },
    };
}
async function tryOut(place, major) {
    const { engine, image, scratch, context } = place;
    const answerFile = (0,external_node_path_.join)(scratch.root, "trial");
    const lines = [];
    const args = ["-c", TRIAL, "sh", answerFile, String(major)];
    const container = await startContainer(place, "/bin/sh", args, (line) => {
        lines.push(line);
        if (lines.length > 20)
            lines.shift();
    });
    const stop = () => void container.remove();
    context.signal.addEventListener("abort", stop, { once: true });
    if (context.signal.aborted)
        stop();
    try {
        if (await container.client.endsWithin(TRIAL_MS))
            await container.client.ended;
    }
    finally {
        context.signal.removeEventListener("abort", stop);
        await container.remove();
    }
    if (context.signal.aborted)
        throw new errors/* AbortedError */.oM();
    const ending = container.client.ending() ?? "";
    if (ending === `exit code ${NO_PROGRAM}`) {
        throw new errors/* UserError */.yo(`The image ${image} holds no PostgreSQL server program "postgres" that starts: name another as server.image, such as postgres:${major}.`);
    }
    if (ending !== "exit code 0") {
        const words = wordsOf({ exitCode: 1, stdout: "", stderr: lines.join("\n") });
        throw new errors/* ToolError */.v4(`A container of the image ${image} could not answer through the folder ${scratch.root} (${ending}): ${words}. ${ENGINE_HINT}`);
    }
    const answer = await (0,external_node_fs_promises_.readFile)(answerFile, "utf8").catch(() => undefined);
    if (answer === undefined) {
        throw new errors/* ToolError */.v4(`What a container of ${engine.name} writes to the folder ${scratch.root} does not arrive here. ${ENGINE_HINT}`);
    }
    await (0,external_node_fs_promises_.rm)(answerFile);
    const [path = "", ...version] = answer.split("\n");
    const found = parseServerVersion(version.join("\n"));
    if (found?.major === major)
        return { path, version: found.version };
    throw new errors/* UserError */.yo(`The image ${image} holds ${found === undefined ? "something else than PostgreSQL" : `PostgreSQL ${found.version}`}, but the backup is of PostgreSQL ${major}: name an image of that major version as server.image, such as postgres:${major}.`);
}
async function requireReach({ engine, scratch }, port) {
    const ways = [
        { path: (0,external_node_path_.join)(scratch.socket, `.s.PGSQL.${port}`) },
        { host: "127.0.0.1", port },
    ];
    for (const way of ways) {
        const place = "path" in way ? `its socket ${way.path}` : `the port ${port} of 127.0.0.1`;
        await knock(way).catch((error) => {
            throw new errors/* ToolError */.v4(`The scratch server in ${engine.name} is ready, but ${place} cannot be reached from here (${(0,errors/* messageOf */.bD)(error)}). ${ENGINE_HINT}`, { cause: error });
        });
    }
}
async function knock(way) {
    await new Promise((resolve, reject) => {
        const socket = (0,external_node_net_.connect)({ ...way, timeout: REACH_MS });
        socket.once("connect", () => {
            socket.destroy();
            resolve();
        });
        socket.once("timeout", () => socket.destroy(new Error("no answer")));
        socket.once("error", reject);
    });
}

;// CONCATENATED MODULE: ./build/src/postgres/scratch/local-server.js



/** `postgres` as a direct child of this process: no pg_ctl, whose success means something else than ours. */
function localRuntime(binary) {
    return {
        label: undefined,
        async start(scratch, configFile, onLine) {
            const child = await follow(binary.path, ["-D", scratch.data, "-c", `config_file=${configFile}`], { ...identityOf(scratch.user), cwd: scratch.root, env: serverEnvironment() }, onLine);
            scratch.watchdog.watch({ pid: child.pid });
            void child.exited.then(() => scratch.watchdog.watch(undefined));
            return {
                title: `process ${child.pid}`,
                stopCommand: `kill -INT ${child.pid}`,
                ending: child.ending,
                ended: child.ended,
                requireReach: async () => undefined,
                async stop() {
                    if (child.ending() !== undefined)
                        return;
                    child.kill("SIGINT");
                    if (await child.endsWithin(INTERRUPT_MS))
                        return;
                    child.kill("SIGQUIT");
                    if (await child.endsWithin(QUIT_MS))
                        return;
                    child.kill("SIGKILL", { group: true });
                    await child.exited;
                },
                release: child.release,
            };
        },
    };
}
/** Only what a server needs: PGDATA, PGOPTIONS and the like of the job must not reach it. */
function serverEnvironment() {
    const env = { PATH: process.env.PATH, LC_ALL: "C", TZ: "UTC" };
    for (const name of ["LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH", "TMPDIR"]) {
        if (process.env[name] !== undefined)
            env[name] = process.env[name];
    }
    return env;
}

;// CONCATENATED MODULE: ./build/src/postgres/scratch/choose-runtime.js






/**
 * Decides who runs the scratch server: programs of this machine, or else (`auto`) or always (`docker`) a container. When
 * it returns, the server is of the backup's major version and is known to start as its user. Throws a {@link UserError}
 * when the runbook names the wrong programs or image, and a {@link ToolError} with the ways out when there is neither.
 */
async function chooseRuntime(wish, major, scratch, context) {
    const search = wish.runtime === "docker" ? undefined : await findServerBinary(major, wish.binDir, scratch.user, context);
    if (search?.binary !== undefined)
        return localRuntime(search.binary);
    const seen = search === undefined || search.others.length === 0 ? "" : ` (found: ${search.others.join(", ")})`;
    const missing = `The backup needs the server programs of PostgreSQL ${major}, and this machine has none${seen}`;
    const install = `install them with "apt-get install postgresql-${major}" from PostgreSQL's own repository (https://apt.postgresql.org)`;
    if (wish.runtime === "local") {
        throw new errors/* ToolError */.v4(`${missing}: ${install}, or name their folder as server.bin-dir.`);
    }
    const image = wish.image ?? `postgres:${major}`;
    // The client would take another first character as an option.
    if (!/^[\w.]\S*$/.test(image)) {
        throw new errors/* UserError */.yo(`server.image is ${(0,quote/* quote */.h)(image)}, which is no name of an image: write one such as postgres:${major}.`);
    }
    const { engine, refusals } = await findEngine(context);
    if (engine === undefined) {
        const answers = refusals.length === 0 ? "neither docker nor podman is in PATH" : refusals.join("; ");
        if (wish.runtime === "docker") {
            throw new errors/* ToolError */.v4(`server.runtime is docker, but no container engine answers (${answers}): start docker or podman on this machine, or use server.runtime: auto with the programs of PostgreSQL ${major}.`);
        }
        throw new errors/* ToolError */.v4(`${missing}, and no container engine answers (${answers}): ${install}, or name their folder as server.bin-dir, or start docker or podman, so that the image ${image} can be used (server.image).`);
    }
    await requireImage(engine, image, context);
    return await containerRuntime({ engine, image, scratch, context }, major);
}

;// CONCATENATED MODULE: ./build/src/postgres/scratch/watchdog.js

/**
 * `kill -QUIT` is PostgreSQL's immediate shutdown, which also ends a `restore_command` at work. A container may still be
 * on its way when we die, so its removal is tried until the engine names it as removed.
 */
const SCRIPT = `
PATH=$PATH:/usr/bin:/bin
server=
container=
set --
while read -r word value; do
  case $word in
    guard) set -- "$@" "$value" ;;
    server) server=$value container= ;;
    container) server= container=$value ;;
    done) exit 0 ;;
  esac
done
if [ -n "$server" ] && kill -QUIT "$server" 2>/dev/null; then
  tries=0
  while kill -0 "$server" 2>/dev/null && [ "$tries" -lt 40 ]; do
    tries=$((tries + 1))
    sleep 0.1 2>/dev/null || sleep 1
  done
  kill -KILL "-$server" 2>/dev/null
fi
if [ -n "$container" ]; then
  tries=0
  until [ "$tries" -eq 3 ] || [ -n "$("\${container#* }" rm --force --volumes "\${container%% *}" 2>/dev/null)" ]; do
    tries=$((tries + 1))
    sleep 1
  done
fi
[ "$#" -eq 0 ] || rm -rf -- "$@"
`;
/** `env` is for the program of a container's engine, which must find the same engine as ours did. */
function startWatchdog(env) {
    // Its own session: a Ctrl-C in the terminal must not end it before us.
    const child = (0,external_node_child_process_.spawn)("/bin/sh", ["-c", SCRIPT], {
        stdio: ["pipe", "ignore", "ignore"],
        detached: true,
        cwd: "/",
        env,
    });
    const ended = new Promise((resolve) => {
        child.once("close", () => resolve());
        child.once("error", () => resolve());
    });
    child.unref();
    // A shell that has died cannot be told anything; what it guarded is still removed by us.
    child.stdin.on("error", () => undefined);
    function tell(line) {
        if (child.stdin.writable)
            child.stdin.write(`${line}\n`);
    }
    return {
        guard: (folder) => tell(`guard ${folder}`),
        watch(server) {
            if (server === undefined)
                tell("server ");
            else if ("pid" in server)
                tell(`server ${server.pid}`);
            else
                tell(`container ${server.container} ${server.engine}`);
        },
        async dismiss() {
            // Waiting for a child that does not count would let the event loop run empty.
            child.ref();
            tell("done");
            child.stdin.end();
            await ended;
        },
    };
}

;// CONCATENATED MODULE: ./build/src/postgres/scratch/scratch.js






const SOCKET_PATH_BYTES = process.platform === "darwin" ? 103 : 107;
const SOCKET_NAME = "/.s.PGSQL.65535";
/**
 * Makes the folders beside `context.workDir`, not in it: a kept server outlives the work folder. When the server's
 * user cannot get there, they go to the system's folder for temporary files.
 */
async function createScratch(user, context) {
    const made = [];
    const watchdog = startWatchdog(context.env);
    async function remove() {
        for (const folder of made)
            await (0,external_node_fs_promises_.rm)(folder, { recursive: true, force: true, maxRetries: 3 });
        await watchdog.dismiss();
    }
    try {
        const root = await makeRoot(user, context, (folder) => {
            made.push(folder);
            watchdog.guard(folder);
        });
        let socket = (0,external_node_path_.join)(root, "socket");
        if (Buffer.byteLength(socket) + SOCKET_NAME.length > SOCKET_PATH_BYTES) {
            socket = await privateFolder((0,external_node_os_.tmpdir)(), user);
            made.push(socket);
            watchdog.guard(socket);
            if (Buffer.byteLength(socket) + SOCKET_NAME.length > SOCKET_PATH_BYTES) {
                throw new errors/* ToolError */.v4(`The folder for temporary files ${(0,external_node_os_.tmpdir)()} has too long a name for a socket: set TMPDIR to a shorter one.`);
            }
        }
        const scratch = {
            root,
            data: (0,external_node_path_.join)(root, "data"),
            tablespaces: (0,external_node_path_.join)(root, "tablespaces"),
            wal: (0,external_node_path_.join)(root, "wal"),
            socket,
            user,
            watchdog,
            async makeFolder(path) {
                await (0,external_node_fs_promises_.mkdir)(path, { mode: 0o700, recursive: true });
                await own(path, user);
            },
            own: (path) => own(path, user),
            async writeFile(path, content) {
                const handle = await (0,external_node_fs_promises_.open)(path, "w", 0o600);
                try {
                    await handle.writeFile(content);
                    if (user !== undefined)
                        await handle.chown(user.uid, user.gid);
                }
                finally {
                    await handle.close();
                }
            },
            remove,
        };
        for (const folder of [scratch.data, scratch.tablespaces, scratch.wal, scratch.socket]) {
            await scratch.makeFolder(folder);
        }
        return scratch;
    }
    catch (error) {
        await remove();
        throw error;
    }
}
async function makeRoot(user, context, made) {
    const reasons = [];
    for (const parent of new Set([(0,external_node_path_.dirname)(context.workDir), (0,external_node_os_.tmpdir)()])) {
        try {
            const root = await privateFolder(parent, user);
            made(root);
            const reach = await runAs(user, "/bin/sh", ["-c", 'cd -- "$1"', "sh", root], context.signal);
            if (reach.exitCode === 0)
                return root;
            await (0,external_node_fs_promises_.rm)(root, { recursive: true, force: true });
            reasons.push(`${user?.name ?? "this user"} cannot enter ${parent}`);
        }
        catch (error) {
            if (context.signal.aborted)
                throw error;
            reasons.push((0,errors/* messageOf */.bD)(error));
        }
    }
    throw new errors/* ToolError */.v4(`There is no folder for the scratch server: ${reasons.join("; ")}. Set TMPDIR to a folder that its user can enter.`);
}
async function privateFolder(parent, user) {
    const folder = await (0,external_node_fs_promises_.mkdtemp)((0,external_node_path_.join)(parent, "drillbook-pg-"));
    await (0,external_node_fs_promises_.chmod)(folder, 0o700);
    await own(folder, user);
    return folder;
}
async function own(path, user) {
    if (user !== undefined)
        await (0,external_node_fs_promises_.chown)(path, user.uid, user.gid);
}

;// CONCATENATED MODULE: ./build/src/postgres/recovery/disk.js



/** PostgreSQL keeps replayed WAL until a restart point; `max_wal_size` of our settings bounds it. */
const MAX_WAL_BYTES = 1024 ** 3;
/** For what the server writes itself: the end-of-recovery checkpoint, new WAL, temporary files of checks. */
const RESERVE_BYTES = 128 * 2 ** 20;
/** Bytes of disk that a recovery needs: the data, the WAL that lies around at one time, and a reserve. */
function neededBytes(dataBytes, segments, segmentBytes, windowSegments) {
    const wal = Math.min(segments.length * segmentBytes, MAX_WAL_BYTES + windowSegments * segmentBytes);
    return dataBytes + wal + RESERVE_BYTES;
}
/** Throws a {@link ToolError} that says how much is missing and where. */
async function requireFreeDisk(folder, needed) {
    const { bavail, bsize } = await (0,external_node_fs_promises_.statfs)(folder);
    const free = bavail * bsize;
    if (free >= needed)
        return;
    throw new errors/* ToolError */.v4(`The recovery needs ${(0,values/* formatBytes */.z3)(needed)} of disk at ${folder}, but only ${(0,values/* formatBytes */.z3)(free)} are free: ${(0,values/* formatBytes */.z3)(needed - free)} are missing. Free space there, or set RUNNER_TEMP to a larger disk.`);
}

// EXTERNAL MODULE: ./node_modules/tar-stream/index.js
var tar_stream = __webpack_require__(6118);
;// CONCATENATED MODULE: ./build/src/archive/tar.js


/*
 * Reading tar as PostgreSQL's BASE_BACKUP sends it (ustar; src/include/pgtar.h) and as GNU tar writes it (ustar, pax, GNU long
 * names). By the `tar-stream` package: measured on 1 GiB in 1500 files it takes 0.07 s, and 0.95 s (1.1 GB/s) with the
 * SHA-256 of each file, so own code could not make a recovery faster.
 */
const BLOCK = 512;
/** A tar ends with two blocks of zeros; PostgreSQL 15 and later sends them too, and for 14 they are added. */
const TERMINATION = 2 * BLOCK;
/**
 * Reads a tar stream entry by entry. Every path is checked by {@link safePath}; a symlink's target is not, so who
 * writes entries to disk must not write through a symlink of the same archive.
 * @throws DamagedArchive (a DefectError) naming `subject` when the tar is truncated or not valid, or an entry cannot be
 * restored faithfully; and what the source throws.
 */
async function* readTar(source, subject) {
    const extract = (0,tar_stream.extract)();
    const entries = extract[Symbol.asyncIterator]();
    const feeder = new Feeder(extract);
    const feeding = feeder.run(source);
    let end = 0;
    try {
        for (;;) {
            const next = await entries.next();
            if (next.done === true)
                break;
            const { header, offset } = next.value;
            const entry = toEntry(header, subject);
            const body = new Body(next.value, entry.type === "directory", (error) => feeder.failure ?? tar_damaged(error, subject));
            yield { ...entry, body };
            await body.skip();
            // `offset` is that of the header block.
            end = offset + BLOCK + (entry.type === "directory" ? 0 : Math.ceil(header.size / BLOCK) * BLOCK);
        }
    }
    catch (error) {
        throw feeder.failure ?? tar_damaged(error, subject);
    }
    finally {
        extract.destroy(null);
        await feeding;
    }
    if (feeder.failure !== undefined)
        throw feeder.failure;
    if (feeder.bytes - end < TERMINATION || feeder.zeros < TERMINATION)
        throw truncated(subject);
}
/**
 * The normal form of a relative path inside an archive: `./base//1/` is `base/1`, and the root is `.`.
 * @throws DamagedArchive for a path that is absolute, empty, leads out of the archive (`..`) or holds a NUL.
 */
function safePath(path, subject) {
    const parts = path.split("/").filter((part) => part !== "" && part !== ".");
    if (path === "" || path.startsWith("/") || path.includes("\0") || parts.includes("..")) {
        throw new DamagedArchive(subject, "altered", `holds an entry whose path ${JSON.stringify(path)} leads out of the archive: it is not a backup that may be restored.`);
    }
    return parts.length === 0 ? "." : parts.join("/");
}
function toEntry(header, subject) {
    const path = safePath(header.name, subject);
    const common = { path, mode: header.mode, mtime: header.mtime };
    // GNU tar stores files with holes in a form of its own; taken for plain files they would have wrong content.
    const sparse = Object.keys(header.pax ?? {}).some((key) => key.startsWith("GNU.sparse."));
    const target = header.linkname ?? "";
    switch (sparse ? "sparse" : header.type) {
        case "file":
        case "contiguous-file":
            return { ...common, type: "file", size: header.size };
        case "directory":
            return { ...common, type: "directory", size: 0 };
        case "symlink":
            return { ...common, type: "symlink", size: 0, linkTarget: target };
        case "link":
            return { ...common, type: "hardlink", size: 0, linkTarget: safePath(target, subject) };
        default:
            throw new DamagedArchive(subject, "foreign", `holds ${path}, which is neither a plain file, a directory nor a link: it cannot be restored.`);
    }
}
function truncated(subject) {
    return new DamagedArchive(subject, "truncated", "is truncated: its tar has no end.");
}
/** The package's own errors, as defects. */
function tar_damaged(error, subject) {
    if (error instanceof DamagedArchive || !(error instanceof Error))
        return error;
    if (error.message === "Unexpected end of data")
        return truncated(subject);
    if (!/^(Invalid (tar )?header|Header exceeds)/.test(error.message))
        return error;
    return new DamagedArchive(subject, "altered", "was altered: a header of its tar is not valid.");
}
/** Writes the source into the extractor as fast as that takes it; never throws. */
class Feeder {
    #extract;
    #wake = () => undefined;
    #closed = false;
    /** What the source threw. */
    failure;
    bytes = 0;
    /** How many bytes at the end of what was read are zero. */
    zeros = 0;
    constructor(extract) {
        this.#extract = extract;
        extract.on("drain", () => this.#wake());
        extract.on("close", () => {
            this.#closed = true;
            this.#wake();
        });
    }
    async run(source) {
        try {
            for await (const chunk of source) {
                if (this.#closed)
                    return;
                this.#count(chunk);
                if (!this.#extract.write(chunk))
                    await this.#writable();
            }
            this.#extract.end(null);
        }
        catch (error) {
            this.failure = error;
            this.#extract.destroy(error instanceof Error ? error : new Error(String(error)));
        }
    }
    #writable() {
        return new Promise((resolve) => {
            this.#wake = resolve;
            if (this.#closed)
                resolve();
        });
    }
    #count(chunk) {
        this.bytes += chunk.length;
        let index = chunk.length;
        while (index > 0 && chunk.length - index < TERMINATION && chunk[index - 1] === 0)
            index -= 1;
        const trailing = chunk.length - index;
        this.zeros = index === 0 ? this.zeros + trailing : trailing;
    }
}
/** A file's content. Leaving a loop over it does not close the tar, as it would with the package's own stream. */
class Body {
    #chunks;
    #explain;
    #ended;
    constructor(stream, empty, explain) {
        this.#chunks = stream[Symbol.asyncIterator]();
        this.#explain = explain;
        this.#ended = empty;
    }
    [Symbol.asyncIterator]() {
        return { next: () => this.#next() };
    }
    async skip() {
        while (!this.#ended)
            await this.#next();
    }
    async #next() {
        if (this.#ended)
            return { done: true, value: undefined };
        try {
            const next = await this.#chunks.next();
            if (next.done !== true)
                return next;
            this.#ended = true;
            return { done: true, value: undefined };
        }
        catch (error) {
            throw this.#explain(error);
        }
    }
}

;// CONCATENATED MODULE: ./build/src/postgres/recovery/data-manifest.js



const file = schemas/* object */.Ikc({
    Path: schemas/* string */.YjP().optional(),
    "Encoded-Path": schemas/* string */.YjP().optional(),
    Size: schemas/* number */.aig(),
    "Checksum-Algorithm": schemas/* enum */.k5n(["NONE", "CRC32C", "SHA224", "SHA256", "SHA384", "SHA512"]).optional(),
    Checksum: schemas/* string */.YjP().optional(),
});
const manifest = schemas/* object */.Ikc({
    "PostgreSQL-Backup-Manifest-Version": schemas/* number */.aig(),
    Files: schemas/* array */.YOg(file),
    "Manifest-Checksum": schemas/* string */.YjP(),
});
/**
 * Reads a `backup_manifest` and checks its own checksum, which is the SHA-256 of all lines but the last
 * (https://www.postgresql.org/docs/current/backup-manifest-format.html). Throws a {@link DefectError} naming `subject`.
 */
function parseDataManifest(bytes, subject) {
    const lastLine = bytes.lastIndexOf("\n", bytes.length - 2) + 1;
    const digest = (0,external_node_crypto_.createHash)("sha256").update(bytes.subarray(0, lastLine)).digest("hex");
    const text = bytes.toString("utf8");
    let parsed;
    try {
        parsed = manifest.safeParse(JSON.parse(text));
    }
    catch (cause) {
        throw data_manifest_damaged(subject, "it is not JSON", cause);
    }
    if (!parsed.success)
        throw data_manifest_damaged(subject, "it does not list files");
    if (parsed.data["Manifest-Checksum"].toLowerCase() !== digest) {
        throw data_manifest_damaged(subject, "its own checksum does not match");
    }
    const files = new Map();
    for (const entry of parsed.data.Files) {
        const path = entry.Path ?? decodePath(entry["Encoded-Path"], subject);
        if (!isSafePath(path))
            throw data_manifest_damaged(subject, `it names the file "${path}" outside the data folder`);
        const algorithm = entry["Checksum-Algorithm"] ?? "NONE";
        files.set(path, { bytes: entry.Size, algorithm, checksum: (entry.Checksum ?? "").toLowerCase() });
    }
    // A system identifier has 64 bits: as a JSON number it would be rounded.
    const systemIdentifier = /^"System-Identifier":\s*(\d+)/m.exec(text.slice(0, 1_000))?.[1];
    return { files, systemIdentifier };
}
function decodePath(hex, subject) {
    const bytes = Buffer.from(hex ?? "", "hex");
    const path = bytes.toString("utf8");
    if (hex !== undefined && Buffer.from(path, "utf8").equals(bytes))
        return path;
    throw new errors/* DefectError */.uR(subject, `${subject} lists a file whose name is not UTF-8, which Drillbook cannot restore: rename it in the source's data folder and take a new backup.`);
}
/** A relative path without `.` or `..`. */
function isSafePath(path) {
    if (path === "" || path.startsWith("/") || path.includes("\0"))
        return false;
    return path.split("/").every((part) => part !== "" && part !== "." && part !== "..");
}
function data_manifest_damaged(subject, what, cause) {
    return new errors/* DefectError */.uR(subject, `${subject} is damaged: ${what}.`, { cause });
}

;// CONCATENATED MODULE: ./build/src/postgres/recovery/checksum.js

function startChecksum(algorithm) {
    if (algorithm === "NONE")
        return { update: () => undefined, digest: () => "" };
    if (algorithm === "CRC32C")
        return startCrc32c();
    const hash = (0,external_node_crypto_.createHash)(algorithm.toLowerCase());
    return { update: (bytes) => hash.update(bytes), digest: () => hash.digest("hex") };
}
const CASTAGNOLI = 0x82f63b78;
let table;
function crcTable() {
    table ??= Uint32Array.from({ length: 256 }, (_, byte) => {
        let value = byte;
        for (let bit = 0; bit < 8; bit += 1)
            value = value & 1 ? (value >>> 1) ^ CASTAGNOLI : value >>> 1;
        return value;
    });
    return table;
}
/** PostgreSQL prints the CRC's bytes in the machine's order, which is little-endian wherever Node.js runs. */
function startCrc32c() {
    const lookup = crcTable();
    let crc = 0xffff_ffff;
    return {
        update(bytes) {
            for (const byte of bytes)
                crc = (crc >>> 8) ^ (lookup[(crc ^ byte) & 0xff] ?? 0);
        },
        digest() {
            const out = Buffer.alloc(4);
            out.writeUInt32LE((crc ^ 0xffff_ffff) >>> 0);
            return out.toString("hex");
        },
    };
}

;// CONCATENATED MODULE: ./build/src/postgres/recovery/land-files.js




/** The file without which no server starts: it gets its name when everything else is proven. */
const CONTROL_FILE = "global/pg_control";
const PENDING_CONTROL_FILE = "global/pg_control.pending";
/** Files that pg_verifybackup does not look at, and that recovery writes or leaves out itself. */
const IGNORED = new Set(["backup_manifest", "postgresql.auto.conf", "recovery.signal", "standby.signal"]);
/** Up to this size a file is gathered in memory and written beside others. */
const SMALL_BYTES = 2 ** 20;
const MAX_WRITES = 8;
function startLanding(scratch, manifest) {
    const folders = new Map();
    const writes = new Set();
    const landed = new Set();
    let failure;
    let unverified = 0;
    /** Parents first, each of them once; mode and owner are the server's, whatever the archive says. */
    function makeFolder(path) {
        const known = folders.get(path);
        if (known !== undefined)
            return known;
        const made = path === "." ? Promise.resolve() : makeChild(path);
        folders.set(path, made);
        return made;
    }
    async function makeChild(path) {
        await makeFolder((0,external_node_path_.dirname)(path));
        const full = (0,external_node_path_.join)(scratch.data, path);
        await (0,external_node_fs_promises_.mkdir)(full, { mode: 0o700 }).catch(allowExisting);
        await scratch.own(full);
    }
    async function create(path) {
        await makeFolder((0,external_node_path_.dirname)(path));
        // "wx": a second entry of the same name, or a link in its place, must not be written through.
        const handle = await (0,external_node_fs_promises_.open)((0,external_node_path_.join)(scratch.data, path === CONTROL_FILE ? PENDING_CONTROL_FILE : path), "wx", 0o600);
        if (scratch.user !== undefined)
            await handle.chown(scratch.user.uid, scratch.user.gid);
        return handle;
    }
    async function takeFile(entry, path, subject) {
        const expected = manifest.files.get(path);
        const ignored = isIgnored(path);
        if (expected === undefined && !ignored) {
            throw new errors/* DefectError */.uR(subject, `${subject} holds the file ${path}, which backup_manifest does not name.`);
        }
        if (landed.has(path))
            throw new errors/* DefectError */.uR(subject, `${subject} holds the file ${path} twice.`);
        landed.add(path);
        if (ignored) {
            // Settings and signals of the source do not belong into the scratch server; an empty file is what initdb makes.
            if (path === "postgresql.auto.conf")
                await writeSoon(path, []);
            return;
        }
        if (expected === undefined)
            return;
        if (expected.bytes !== entry.size)
            throw mismatch(subject, path, `has ${entry.size} bytes, not ${expected.bytes}`);
        if (expected.algorithm === "NONE")
            unverified += 1;
        if (entry.size <= SMALL_BYTES)
            await takeSmall(entry, path, expected, subject);
        else
            await takeLarge(entry, path, expected, subject);
    }
    async function takeSmall(entry, path, expected, subject) {
        const checksum = startChecksum(expected.algorithm);
        const chunks = [];
        for await (const chunk of entry.body) {
            checksum.update(chunk);
            chunks.push(chunk);
        }
        verify(checksum.digest(), expected, path, subject);
        await writeSoon(path, chunks);
    }
    async function takeLarge(entry, path, expected, subject) {
        const checksum = startChecksum(expected.algorithm);
        const handle = await create(path);
        try {
            for await (const chunk of entry.body) {
                const written = handle.writeFile(chunk);
                checksum.update(chunk);
                await written;
            }
        }
        finally {
            await handle.close();
        }
        verify(checksum.digest(), expected, path, subject);
    }
    /** Starts a write and returns when there is room for another. */
    async function writeSoon(path, chunks) {
        const write = writeWhole(path, chunks)
            .catch((error) => {
            failure ??= error;
        })
            .finally(() => writes.delete(write));
        writes.add(write);
        if (writes.size >= MAX_WRITES)
            await Promise.race(writes);
        if (failure !== undefined)
            throw failure;
    }
    async function writeWhole(path, chunks) {
        const handle = await create(path);
        try {
            for (const chunk of chunks)
                await handle.writeFile(chunk);
        }
        finally {
            await handle.close();
        }
    }
    async function takeLink(path, subject) {
        const oid = /^pg_tblspc\/(\d+)$/.exec(path)?.[1];
        if (oid === undefined) {
            throw new errors/* DefectError */.uR(subject, `${subject} holds the link ${path}, which no PostgreSQL backup has.`);
        }
        const own = (0,external_node_path_.join)(scratch.tablespaces, oid);
        await scratch.makeFolder(own);
        await makeFolder((0,external_node_path_.dirname)(path));
        await (0,external_node_fs_promises_.symlink)(own, (0,external_node_path_.join)(scratch.data, path));
        // Files of the tablespace go through the link.
        folders.set(path, Promise.resolve());
    }
    async function settle() {
        await Promise.allSettled([...writes, ...folders.values()]);
    }
    return {
        async take(entry, folder, subject) {
            const path = folder === "" ? entry.path : (0,external_node_path_.join)(folder, entry.path);
            if (path === "." || path === folder)
                return;
            if (entry.type === "directory")
                return makeFolder(path);
            if (entry.type === "symlink")
                return takeLink(path, subject);
            if (entry.type === "file")
                return takeFile(entry, path, subject);
            throw new errors/* DefectError */.uR(subject, `${subject} holds the hard link ${path}, which no PostgreSQL backup has.`);
        },
        async finish(subjectOf) {
            await settle();
            if (failure !== undefined)
                throw failure;
            for (const path of manifest.files.keys()) {
                if (landed.has(path) || isIgnored(path))
                    continue;
                const subject = subjectOf(path);
                throw new errors/* DefectError */.uR(subject, `${subject} lacks the file ${path}, which backup_manifest names.`);
            }
        },
        settle,
        unverified: () => unverified,
    };
}
function isIgnored(path) {
    return IGNORED.has(path) || path.startsWith("pg_wal/");
}
function verify(digest, expected, path, subject) {
    if (digest === expected.checksum)
        return;
    throw mismatch(subject, path, `does not match its ${expected.algorithm} checksum in backup_manifest`);
}
function mismatch(subject, path, what) {
    return new errors/* DefectError */.uR(subject, `The file ${path} in ${subject} ${what}: the backup is damaged.`);
}
function allowExisting(error) {
    if (error.code !== "EEXIST")
        throw error;
}

;// CONCATENATED MODULE: ./build/src/postgres/recovery/fetch-data.js













const MANIFEST_OBJECT = "backup_manifest";
const BASE_ARCHIVE = "base.tar";
/**
 * Restores the files of a backup into `scratch.data`, ready for recovery: everything is compared with PostgreSQL's
 * `backup_manifest` while it lands, and `global/pg_control` gets its name last, so a broken restore cannot start. Writes no
 * `recovery.signal`. Throws a {@link DefectError} that names the object and the file.
 */
async function restoreDataFolder(setting, manifest, details, scratch, context) {
    const { store, name } = setting;
    const subjectOf = (object) => store.describe((0,layout/* objectKey */.T5)(name, manifest.id, object.name));
    const archives = manifest.objects.filter((object) => object.role === "archive");
    const list = manifest.objects.find((object) => unpackedName(object) === MANIFEST_OBJECT);
    const base = archives.find((object) => unpackedName(object) === BASE_ARCHIVE);
    if (list === undefined || base === undefined) {
        const subject = store.describe((0,layout/* objectKey */.T5)(name, manifest.id, "manifest.json"));
        throw new errors/* DefectError */.uR(subject, `${subject} names no ${list === undefined ? MANIFEST_OBJECT : BASE_ARCHIVE}.`);
    }
    const listBytes = await readPlain(setting, manifest, list, context);
    const files = parseDataManifest(listBytes, subjectOf(list));
    if (files.systemIdentifier !== undefined && files.systemIdentifier !== details.systemIdentifier) {
        throw new errors/* DefectError */.uR(subjectOf(list), `${subjectOf(list)} is of the cluster ${files.systemIdentifier}, but the backup of ${details.systemIdentifier}.`);
    }
    const storedBytes = archives.reduce((sum, object) => sum + object.storedBytes, 0);
    const progress = startProgress(context, `Fetching backup ${manifest.id}`, storedBytes);
    const landing = startLanding(scratch, files);
    // The base archive first: it holds the links to the tablespaces.
    const ordered = [base, ...archives.filter((object) => object !== base)];
    try {
        for (const object of ordered) {
            const subject = subjectOf(object);
            const folder = folderOf(object, subject);
            const raw = readArchive(setting, manifest, object, context, (bytes) => progress.add(bytes));
            for await (const entry of readTar(raw, subject)) {
                if (context.signal.aborted)
                    throw new errors/* AbortedError */.oM();
                await landing.take(entry, folder, subject);
            }
        }
        await landing.finish((path) => {
            const oid = /^pg_tblspc\/(\d+)\//.exec(path)?.[1];
            return subjectOf(ordered.find((object) => unpackedName(object) === `${oid}.tar`) ?? base);
        });
    }
    catch (error) {
        await landing.settle();
        throw error;
    }
    // Where pg_basebackup leaves it too, so that pg_verifybackup can be run on the folder.
    await scratch.writeFile((0,external_node_path_.join)(scratch.data, MANIFEST_OBJECT), listBytes);
    await (0,external_node_fs_promises_.rename)((0,external_node_path_.join)(scratch.data, PENDING_CONTROL_FILE), (0,external_node_path_.join)(scratch.data, CONTROL_FILE));
    progress.done();
    return { bytes: storedBytes + list.storedBytes, unverifiedFiles: landing.unverified() };
}
/** Where an archive's paths are relative to. */
function folderOf(object, subject) {
    const name = unpackedName(object);
    if (name === BASE_ARCHIVE)
        return "";
    const oid = /^(\d+)\.tar$/.exec(name)?.[1];
    if (oid !== undefined)
        return `pg_tblspc/${oid}`;
    throw new errors/* DefectError */.uR(subject, `${subject} is neither the base archive nor that of a tablespace.`);
}
/** `base.tar` of `base.tar.zst.age`. */
function unpackedName(object) {
    return object.name.replace(/(?:\.zst)?(?:\.age)?$/, "");
}
/** A single file, stored as it is; its digest is compared. */
async function readPlain(setting, manifest, object, context) {
    const key = (0,layout/* objectKey */.T5)(setting.name, manifest.id, object.name);
    const subject = setting.store.describe(key);
    return await readSettled(subject, async (tap) => {
        const stored = getParallel(setting.store, key, { bytes: object.storedBytes, signal: context.signal });
        const bytes = await (0,stores_store/* readAll */.yw)(tap(missingIsDefect(stored, subject, manifest.id)));
        if ((0,external_node_crypto_.createHash)("sha256").update(bytes).digest("hex") === object.storedSha256)
            return bytes;
        throw new errors/* DefectError */.uR(subject, `${subject} was altered: its SHA-256 is not the one that the backup recorded.`);
    });
}
/** The raw bytes of an archive. */
function readArchive(setting, manifest, object, context, onBytes) {
    const { store, encryption } = setting;
    const { signal } = context;
    const key = (0,layout/* objectKey */.T5)(setting.name, manifest.id, object.name);
    const subject = store.describe(key);
    const { storedBytes, storedSha256, frames, sealed } = object;
    const stored = getParallel(store, key, { bytes: storedBytes, signal });
    const counted = missingIsDefect(stored, subject, manifest.id, onBytes);
    const identity = sealed ? encryption.identity() : undefined;
    const reread = (offset, length) => getRange(store, key, { offset, length }, signal);
    return unpack(counted, { subject, sealed, identity, frames, storedSha256, storedBytes, signal, reread });
}
/** Here a missing object is a defect, because the backup's manifest names it. */
async function* missingIsDefect(source, subject, backupId, onBytes = () => undefined) {
    try {
        for await (const chunk of source) {
            onBytes(chunk.length);
            yield chunk;
        }
    }
    catch (error) {
        if (!(error instanceof stores_store/* ObjectMissing */.GV))
            throw error;
        throw new errors/* DefectError */.uR(subject, `${subject} is missing: the backup ${backupId} is incomplete.`, {
            cause: error,
        });
    }
}

;// CONCATENATED MODULE: ./build/src/postgres/recovery/wal-tablespaces.js

const CREATE = 0x00;
/** `xl_tblspc_create_rec`: the tablespace's oid, then its folder. */
const PATH_OFFSET = 4;
const MAX_PATH = 1024;
/**
 * Folders of the tablespaces that a WAL segment creates, in records that begin at `from` or later. Replaying one makes
 * the server write to the very folder that the source used (tblspc_redo in src/backend/commands/tablespace.c): on the
 * source's own machine that is production's data. A record that begins in the segment before is not seen here, but there.
 */
function createdTablespaces(segment, from) {
    const found = [];
    for (const record of recordsOf(segment, [TABLESPACE_MANAGER])) {
        if (record.kind !== CREATE || record.start < from)
            continue;
        const data = record.mainData(PATH_OFFSET + MAX_PATH).subarray(PATH_OFFSET);
        const end = data.indexOf(0);
        const path = data.subarray(0, end === -1 ? undefined : end).toString("utf8");
        if (path !== "")
            found.push(path);
    }
    return found;
}

;// CONCATENATED MODULE: ./build/src/postgres/recovery/fetch-wal.js










/** How often a partial may be replaced by a longer one while it is looked for. */
const LOOKS = 10;
/**
 * A segment of the archive: its bytes must be those that its sidecar recorded when it was archived. A partial is filled
 * up with zeros: the server stops before them, because the goal lies within the shipped bytes. Where a run that goes on
 * has replaced a partial by a longer one or by the whole segment, that one serves: it begins with the same bytes.
 */
function segmentFile(setting, segment, details) {
    const { store, name: component, encryption } = setting;
    function fetchOne(one, signal, buffer) {
        return readSettled(store.describe(one.key), (tap) => read(one, signal, buffer, tap));
    }
    async function read(one, signal, buffer, tap) {
        const subject = store.describe(one.key);
        const sidecar = await readSidecarOf(store, component, one, signal);
        if (sidecar.systemIdentifier !== details.systemIdentifier) {
            throw new errors/* DefectError */.uR(subject, `${subject} is of the cluster ${sidecar.systemIdentifier}, but the backup of ${details.systemIdentifier}.`);
        }
        const identity = one.sealed ? encryption.identity() : undefined;
        const stored = tap(await store.get(one.key, { signal }));
        const raw = unpack(stored, {
            subject,
            sealed: one.sealed,
            identity,
            storedBytes: one.storedBytes,
            signal,
        });
        const bytes = await readSegment(raw, buffer.subarray(0, one.partial?.bytes), subject);
        if ((0,external_node_crypto_.createHash)("sha256").update(bytes).digest("hex") !== sidecar.sha256) {
            throw new errors/* DefectError */.uR(subject, `${subject} was altered: its SHA-256 is not the one recorded when the segment was archived.`);
        }
        buffer.fill(0, bytes.length);
        await refuseForeignFolders(buffer, lsn(details.startLsn), subject);
        return buffer;
    }
    async function fetch(signal, buffer) {
        let current = segment;
        for (let look = 1;; look += 1) {
            try {
                return await fetchOne(current, signal, buffer);
            }
            catch (error) {
                if (!(error instanceof stores_store/* ObjectMissing */.GV))
                    throw error;
                const { name, partial } = current;
                const found = partial === undefined || look === LOOKS
                    ? undefined
                    : await findSegment(store, component, name, details.walSegmentBytes, signal);
                if (found === undefined || !reaches(found, segment))
                    throw missingIsDefect(error, current);
                current = found;
            }
        }
    }
    function missingIsDefect(error, one) {
        const sidecar = store.describe(sidecarKeyOf(component, one));
        const gone = error.subject === sidecar ? sidecar : store.describe(one.key);
        return new errors/* DefectError */.uR(gone, `${gone} is missing: the WAL has a gap.`, { cause: error });
    }
    return { name: segment.name, fetch };
}
/** Whether it holds at least as much of the segment. */
function reaches(found, wanted) {
    return (found.partial === undefined || found.partial.bytes >= (wanted.partial?.bytes ?? Number.POSITIVE_INFINITY));
}
/** Fills the buffer, which has the size of a segment, or of a partial. */
async function readSegment(raw, buffer, subject) {
    let filled = 0;
    for await (const chunk of raw) {
        if (filled + chunk.length <= buffer.length)
            buffer.set(chunk, filled);
        filled += chunk.length;
    }
    if (filled === buffer.length)
        return buffer;
    throw new errors/* DefectError */.uR(subject, `${subject} holds ${filled} bytes of WAL, but should have ${buffer.length}: it is damaged.`);
}
/**
 * Replay of CREATE TABLESPACE would write into a folder that is not ours, when there is such a folder: on the source's own
 * machine, into the source. Where there is none, PostgreSQL itself refuses.
 */
async function refuseForeignFolders(segment, from, subject) {
    for (const folder of createdTablespaces(segment, from)) {
        if ((await (0,external_node_fs_promises_.stat)(folder).catch(() => undefined)) === undefined)
            continue;
        throw new errors/* ToolError */.v4(`${subject} creates a tablespace in ${folder}, which exists on this machine: the recovery would write into it. Take a new backup, which holds the tablespace, or recover on another machine.`);
    }
}
/** A timeline's history file, as the server sent it. */
function historyFile(setting, timeline) {
    const { store, name } = setting;
    const key = (0,layout/* historyKey */.Ox)(name, timeline);
    return {
        name: `${(0,layout/* timelineName */.rv)(timeline)}.history`,
        async fetch(signal) {
            try {
                return await (0,stores_store/* readAll */.yw)(await store.get(key, { signal }));
            }
            catch (error) {
                if (!(error instanceof stores_store/* ObjectMissing */.GV))
                    throw error;
                const subject = store.describe(key);
                throw new errors/* DefectError */.uR(subject, `${subject} is missing: timeline ${timeline} cannot be followed.`, {
                    cause: error,
                });
            }
        },
    };
}

;// CONCATENATED MODULE: ./build/src/postgres/recovery/candidates.js






/** Physical backups of PostgreSQL, oldest first; only the one of that id when one is given. */
async function findCandidates(setting, backupId, signal) {
    const { store, name } = setting;
    const manifests = backupId === undefined
        ? await listBackups(store, name, signal)
        : [await readBackup(store, name, backupId, signal)];
    return manifests
        .filter((manifest) => manifest.type === "postgres" && manifest.method === "physical")
        .map((manifest) => {
        const subject = store.describe((0,layout/* manifestKey */.Rn)(name, manifest.id));
        const details = readDetails(manifest, subject);
        const stopMicros = readMicros(details.stopTime, subject);
        return { manifest, details, stopMicros, stopLsn: lsn(details.stopLsn) };
    });
}
/** Microseconds since 1970 of a time that we wrote; a {@link DefectError} names the object that holds something else. */
function readMicros(text, subject) {
    const micros = parseTime(text);
    if (micros !== undefined)
        return micros;
    throw new errors/* DefectError */.uR(subject, `${subject} holds "${text}" where a time should be.`);
}

;// CONCATENATED MODULE: ./build/src/postgres/recovery/plan-refusals.js







/**
 * A segment that recovery needs is missing, or the partial with so many bytes of it. Names the object itself: the
 * segment, or only its sidecar.
 */
async function missingWal(setting, lost, backupId, signal) {
    const { store, name } = setting;
    const { missing: segment, missingBytes: bytes } = lost;
    const sealed = setting.encryption.recipients.length > 0;
    async function isThere(key) {
        return (((await store.stat(key(sealed), signal)) ?? (await store.stat(key(!sealed), signal))) !== undefined);
    }
    async function lostKey() {
        if (await isThere((form) => (0,layout/* segmentKey */.zT)(name, segment, form)))
            return (0,layout/* sidecarKey */.J3)(name, segment);
        if (bytes === undefined)
            return (0,layout/* segmentKey */.zT)(name, segment, sealed);
        return (await isThere((form) => (0,layout/* partialKey */.Xd)(name, segment, bytes, form)))
            ? (0,layout/* partialSidecarKey */.ac)(name, segment, bytes)
            : (0,layout/* partialKey */.Xd)(name, segment, bytes, sealed);
    }
    const key = await lostKey();
    const subject = store.describe(key);
    return new errors/* DefectError */.uR(subject, `${subject} is missing, so the WAL after the backup ${backupId} has a gap and what lies behind it cannot be recovered: take a new backup, and find out what removed the object.`);
}
/** There is WAL of a timeline, but nothing says where it belongs. */
function missingHistory({ store, name }, timeline) {
    const subject = store.describe((0,layout/* historyKey */.Ox)(name, timeline));
    return new errors/* DefectError */.uR(subject, `${subject} is missing, although there is WAL of timeline ${timeline}: nothing on that timeline can be recovered.`);
}
/** All WAL is there, but no sidecar names the point any more in which the last run ended. */
function lostPoint({ store, name }, promised, newest) {
    const subject = store.describe((0,layout/* heartbeatKey */.Sf)(name));
    const found = newest === undefined
        ? "no sidecar names a point"
        : `the newest point that a sidecar names is of ${formatMicros(newest)}`;
    return new errors/* DefectError */.uR(subject, `${subject} says that ${name} can be recovered up to ${formatMicros(promised)}, but ${found}: a sidecar was altered. Choose an earlier target, or take a new backup.`);
}
/** Without a named point behind the backup nothing can be proven to be reached. */
function noNamedPoint(component, backupId) {
    return new errors/* UserError */.yo(`The WAL after the backup ${backupId} of ${component} ends in no named restore point, so no point of it can be proven to be reached: GRANT EXECUTE ON FUNCTION pg_create_restore_point(text), pg_switch_wal() to the backup's role (on the primary, which the component's key primary names, when the source is a standby) and run the backup action with kind: wal, or recover with target immediate.`);
}
function timeWindow({ archive, named }, micros) {
    const component = archive.setting.name;
    const target = formatMicros(micros);
    return {
        tooEarly({ stopMicros, newest }) {
            const upTo = newest === undefined ? "" : ` and up to ${formatMicros(newest.micros)}`;
            return new errors/* UserError */.yo(`The target ${target} is ${distance(stopMicros + 1n - micros)} too early for ${component}: ${which(named)} ended at ${formatMicros(stopMicros)}, so choose a time after that${upTo}.`);
        },
        tooLate({ stopMicros }, newest) {
            return new errors/* UserError */.yo(`The target ${target} is ${distance(micros - newest.micros)} later than the newest archived point of ${component}: choose a time after ${formatMicros(stopMicros)} and up to ${formatMicros(newest.micros)}, or archive newer WAL first.`);
        },
    };
}
/** `margin`: bytes before the newest point's end that are no target any more. */
function lsnWindow({ archive, named }, position, margin) {
    const component = archive.setting.name;
    const target = formatLsn(position);
    const endOf = ({ point }) => formatLsn(lsn(point.lsn) - margin);
    return {
        tooEarly({ stopLsn, newest }) {
            const upTo = newest === undefined ? "" : ` up to ${endOf(newest)}`;
            return new errors/* UserError */.yo(`The target lsn:${target} is too early for ${component}: ${which(named)} ended at ${formatLsn(stopLsn)}, so choose a position from there on${upTo}.`);
        },
        tooLate({ stopLsn }, newest) {
            return new errors/* UserError */.yo(`The target lsn:${target} lies behind the newest archived point of ${component}: choose a position from ${formatLsn(stopLsn)} up to ${endOf(newest)}, or archive newer WAL first.`);
        },
    };
}
function xidWindow({ archive, named }, xid) {
    const component = archive.setting.name;
    return {
        tooEarly({ stopMicros, newest }) {
            const upTo = newest === undefined ? "" : ` and up to ${formatMicros(newest.micros)}`;
            return new errors/* UserError */.yo(`The transaction ${xid} is too early for ${component}: it had ended when ${which(named)} did, at ${formatMicros(stopMicros)}. Choose one that ended after that${upTo}.`);
        },
        tooLate({ stopMicros }, newest) {
            return new errors/* UserError */.yo(`The transaction ${xid} had not ended at the newest archived point of ${component}: choose one that ended after ${formatMicros(stopMicros)} and up to ${formatMicros(newest.micros)}, or archive newer WAL first.`);
        },
    };
}
function which(named) {
    return named ? "that backup" : "the oldest backup";
}
/** Neither commit nor abort of the transaction is in WAL that holds everything up to when it had ended. */
function noEndOfTransaction(xid) {
    return new errors/* UserError */.yo(`The WAL holds neither a commit nor an abort of transaction ${xid}: it is a subtransaction, or the server crashed while it ran. Choose another transaction, or a time.`);
}
function noSnapshots(component) {
    return new errors/* UserError */.yo(`The backups of ${component} do not say which transactions they hold, so no target xid: can be proven to be reached: take a new backup, or choose a time.`);
}
/** The names that a refusal shows. */
const MOST_NAMES = 10;
/** `known`: names of the points that the archive does hold, newest last. */
function unknownPoint(component, name, known, from, to) {
    // Those of our own runs are not what anybody would ask for by name.
    const others = known.filter((one) => !isOwnPoint(one)).slice(-MOST_NAMES);
    const has = others.length === 0
        ? "there is none that pg_create_restore_point made"
        : `there are ${others.map(quote/* quote */.h).join(", ")}`;
    return new errors/* UserError */.yo(`The archived WAL of ${component} holds no restore point named ${(0,quote/* quote */.h)(name)}, from ${formatMicros(from)} to ${formatMicros(to)}: ${has}.`);
}
function ambiguousPoint(component, name, backupId, found) {
    const each = found.slice(-MOST_NAMES).map((point) => `${point.lsn} (${point.time})`);
    return new errors/* UserError */.yo(`The WAL of ${component} behind the backup ${backupId} holds ${found.length} restore points named ${(0,quote/* quote */.h)(name)}, at ${each.join(", ")}: choose one with a target time, or lsn:… with ?exclusive.`);
}
function unknownTimeline(component, timeline, known) {
    const list = known.toSorted((a, b) => a - b).join(", ");
    return new errors/* UserError */.yo(`The archive of ${component} has no timeline ${timeline}: it has ${known.length === 1 ? "only" : "the timelines"} ${list}.`);
}
/** No backup lies on the way to the timeline, not even the `oldest`. */
function branchedBefore(component, path, oldest) {
    const left = path.ancestors.find(({ timeline }) => timeline === oldest.details.timeline);
    const where = left === undefined
        ? `is none that timeline ${path.timeline} grew out of`
        : `was left at ${formatLsn(left.end)}, before the backup ${oldest.manifest.id} ended at ${formatLsn(oldest.stopLsn)}`;
    return new errors/* UserError */.yo(`No backup of ${component} leads to timeline ${path.timeline}: timeline ${oldest.details.timeline} ${where}. Choose another timeline, or leave ?timeline= out.`);
}
function noIdentity(subject) {
    return new errors/* UserError */.yo(`${subject} is sealed with age: give the private key (AGE-SECRET-KEY-1…) as encryption.identity of its store.`);
}
function distance(micros) {
    const seconds = Number(micros) / 1e6;
    return seconds < 0.1 ? `${micros} µs` : (0,values/* formatDuration */.a3)(Math.round(seconds * 10) / 10);
}

;// CONCATENATED MODULE: ./build/src/postgres/recovery/reach.js








function openArchive(setting, signal) {
    const { store, name } = setting;
    const known = new Map();
    async function read(segmentBytes) {
        // Before the list: everything that it names must be there, also while a run goes on.
        const beat = await readHeartbeat(store, name, signal);
        const listed = await listSegments(store, name, segmentBytes, signal);
        return { inventory: await withPromised(store, name, listed, beat, signal), beat };
    }
    return {
        setting,
        read(segmentBytes) {
            const contents = known.get(segmentBytes) ?? read(segmentBytes);
            known.set(segmentBytes, contents);
            return contents;
        },
    };
}
/** Follows the WAL behind a backup, on that timeline or on the youngest that the archive really holds. */
async function measureReach(archive, candidate, wanted, signal) {
    const { store, name } = archive.setting;
    const { details, stopLsn } = candidate;
    const { inventory: listed, beat } = await archive.read(details.walSegmentBytes);
    const start = lsn(details.startLsn);
    const timeline = wanted ?? youngestTimeline(listed, start, details.timeline);
    const from = { position: start, timeline: details.timeline, target: timeline };
    const inventory = falls(listed, from, details, beat)
        ? await withUnlisted(store, name, listed, from, signal)
        : listed;
    const chain = chainFrom(inventory, start, details.timeline, timeline);
    const missing = missingAfter(inventory, start, details.timeline, timeline);
    const found = await newestRestorePoint(store, name, chain, signal);
    const beyond = found !== undefined && lsn(found.point.lsn) > stopLsn;
    return {
        ...candidate,
        timeline,
        chain,
        missing,
        missingBytes: beat?.partial?.segment === missing ? beat.partial.bytes : undefined,
        gap: isGap(inventory, chain, missing, timeline, beat),
        promisedMicros: promisedMoment(beat, timeline, details.walSegmentBytes),
        orphan: wanted === undefined ? orphanTimeline(inventory, timeline) : undefined,
        newest: beyond
            ? {
                point: found.point,
                lastNumber: Math.max(found.segment.number, segmentBefore(lsn(found.point.lsn), details.walSegmentBytes)),
                micros: readMicros(found.point.time, store.describe(sidecarKeyOf(name, found.segment))),
            }
            : undefined,
    };
}
/** Whether a chain falls short of what the archive is known to hold. */
function falls(inventory, { position, timeline, target }, details, beat) {
    const chain = chainFrom(inventory, position, timeline, target);
    if (chainEnd(chain, inventory.segmentBytes) < endOfNeededWal(details))
        return true;
    return isGap(inventory, chain, missingAfter(inventory, position, timeline, target), target, beat);
}
/** The youngest timeline that the archive really holds, as PostgreSQL's own `latest` would choose it. */
function youngestTimeline(inventory, start, timeline) {
    const held = new Set(allSegments(inventory).map((segment) => segment.timeline));
    return timelinesFrom(inventory, start, timeline).findLast((one) => held.has(one)) ?? timeline;
}
/** Whether WAL that was archived is not reached, so that a loss at the very end is seen too. */
function isGap(inventory, chain, missing, timeline, beat) {
    const { segmentBytes } = inventory;
    const hole = parseSegmentName(missing, segmentBytes)?.number ?? 0;
    // Segments are stored in any order, so a run that was broken off, or is under way, leaves holes behind what the last
    // heartbeat names: nothing was promised there, and the next run fills them.
    const promised = promisedEnd(beat, timeline, segmentBytes);
    if (promised !== undefined) {
        return promised > segmentStart(hole, segmentBytes) && promised > chainEnd(chain, segmentBytes);
    }
    const behind = [...inventory.segments.keys(), ...inventory.unfinished, ...inventory.partials.keys()]
        .map((name) => parseSegmentName(name, segmentBytes))
        .filter((segment) => segment !== undefined);
    return behind.some((segment) => segment.timeline === timeline && segment.number > hole);
}
/** Up to where WAL of a timeline was archived for certain, by the last heartbeat; undefined when it names none. */
function promisedEnd(beat, timeline, segmentBytes) {
    const whole = beat?.lastSegment == null ? undefined : { segment: beat.lastSegment, bytes: segmentBytes };
    // The partial lies behind the last whole segment.
    for (const part of [beat?.partial, whole]) {
        const parsed = part == null ? undefined : parseSegmentName(part.segment, segmentBytes);
        if (part == null || parsed?.timeline !== timeline)
            continue;
        return segmentStart(parsed.number, segmentBytes) + BigInt(part.bytes);
    }
    return undefined;
}
function promisedMoment(beat, timeline, segmentBytes) {
    if (beat?.recoverableUntil == null || promisedEnd(beat, timeline, segmentBytes) === undefined)
        return undefined;
    return parseTime(beat.recoverableUntil);
}
function orphanTimeline(inventory, followed) {
    const held = allSegments(inventory).map((segment) => segment.timeline);
    return held.find((timeline) => timeline > followed && !inventory.histories.has(timeline));
}
/** Throws the {@link import("../../errors.ts").DefectError} for a backup whose own WAL is not whole. */
async function requireConsistency({ setting }, reach, signal) {
    const { chain, details } = reach;
    if (chainEnd(chain, details.walSegmentBytes) >= endOfNeededWal(details))
        return;
    throw await missingWal(setting, reach, reach.manifest.id, signal);
}
/**
 * The newest point, for a target that may lie behind it. Ending at an older point, because WAL behind it is gone, would
 * be a loss that nobody sees: throws a DefectError that names what is gone, and a UserError when no point was ever made.
 */
async function requireEnd({ archive: { setting }, signal }, reach) {
    if (reach.orphan !== undefined)
        throw missingHistory(setting, reach.orphan);
    if (reach.gap)
        throw await missingWal(setting, reach, reach.manifest.id, signal);
    const { newest, promisedMicros } = reach;
    if (promisedMicros !== undefined && (newest?.micros ?? 0n) < promisedMicros) {
        throw lostPoint(setting, promisedMicros, newest?.micros);
    }
    if (newest === undefined)
        throw noNamedPoint(setting.name, reach.manifest.id);
    return newest;
}

;// CONCATENATED MODULE: ./build/src/postgres/snapshots.js
/** Reads `<xmin>:<xmax>:<xid>,<xid>,…` (manual: "Transaction ID and Snapshot Information Functions"); undefined for anything else. */
function parseSnapshot(text) {
    const match = /^(\d+):(\d+):(\d+(?:,\d+)*)?$/.exec(text ?? "");
    if (match === null)
        return undefined;
    const [, xmin = "", xmax = "", running] = match;
    return { xmin: BigInt(xmin), xmax: BigInt(xmax), running: running?.split(",").map(BigInt) ?? [] };
}
/** Whether a transaction had committed or aborted by then. */
function hasEnded(snapshot, xid) {
    if (xid < snapshot.xmin)
        return true;
    return xid < snapshot.xmax && !snapshot.running.includes(xid);
}
const XID_BITS = 32;
const HALF = 2n ** 31n;
/**
 * A transaction's number with its epoch. One without, as WAL and logs have it, stands for the transaction of that number
 * that is nearest to the snapshot's end, as PostgreSQL itself compares them.
 */
function withEpoch(xid, { xmax }) {
    if (xid >= 2n ** BigInt(XID_BITS))
        return xid;
    const back = BigInt.asUintN(XID_BITS, xmax - xid);
    const whole = back <= HALF ? xmax - back : xmax + BigInt.asUintN(XID_BITS, xid - xmax);
    return whole > 0n ? whole : xid;
}
/** A transaction's number as WAL has it: without its epoch. */
function withoutEpoch(xid) {
    return BigInt.asUintN(XID_BITS, xid);
}

;// CONCATENATED MODULE: ./build/src/postgres/recovery/named-points.js





/** Sidecars are read this many at a time. */
const named_points_PARALLEL = 16;
/**
 * Finds a restore point by its name, behind the newest backup that has one of that name behind it. PostgreSQL stops at the
 * first that it meets, so a second of the same name behind that backup is refused. Throws a UserError for a name that
 * the archive does not hold, and a DefectError when WAL is missing in which it may be.
 */
async function findNamedPoint(choice, name) {
    const { archive, candidates, timeline, signal } = choice;
    const { store, name: component } = archive.setting;
    const sidecars = new Map();
    function pointsOf(segment) {
        const known = sidecars.get(segment.name) ??
            readSidecarOf(store, component, segment, signal).then(({ restorePoints }) => restorePoints ?? []);
        sidecars.set(segment.name, known);
        return known;
    }
    const others = new Set();
    for (const candidate of candidates.toReversed()) {
        const reach = await measureReach(archive, candidate, timeline, signal);
        const points = await collect(reach.chain, pointsOf, lsn(candidate.details.startLsn));
        for (const point of points)
            others.add(point.name);
        const found = points.filter((point) => point.name === name);
        const behind = found.filter((point) => lsn(point.lsn) > candidate.stopLsn);
        const point = behind[0];
        if (point === undefined)
            continue;
        if (found.length > 1)
            throw ambiguousPoint(component, name, candidate.manifest.id, found);
        await requireConsistency(archive, reach, signal);
        const position = lsn(point.lsn);
        const lastNumber = segmentBefore(position, candidate.details.walSegmentBytes);
        const holder = reach.chain.find((segment) => segment.number === lastNumber) ?? { name: "" };
        const micros = readMicros(point.time, store.describe(sidecarKeyOf(component, holder)));
        return { reach, goal: { kind: "restore-point", name, lsn: position, micros }, lastNumber };
    }
    const newest = await measureReach(archive, candidates.at(-1) ?? candidates[0], timeline, signal);
    const oldest = candidates[0];
    throw unknownPoint(component, name, [...others], oldest.stopMicros, (await requireEnd(choice, newest)).micros);
}
/** All points behind a position, in the order of the WAL. */
async function collect(chain, pointsOf, from) {
    const points = [];
    for (let start = 0; start < chain.length; start += named_points_PARALLEL) {
        const batch = await Promise.all(chain.slice(start, start + named_points_PARALLEL).map(pointsOf));
        points.push(...batch.flat());
    }
    return points.filter((point) => lsn(point.lsn) > from);
}

;// CONCATENATED MODULE: ./build/src/postgres/recovery/resolve-target.js







/** Resolves a target to what PostgreSQL is told. Throws what {@link import("./plan.ts").planRecovery} throws. */
async function resolveTarget(choice, { target, now }) {
    switch (target.kind) {
        case "immediate":
            return { reach: await beginWith(choice), goal: { kind: "immediate" }, lastNumber: undefined };
        case "latest":
            return await toLatest(choice);
        case "time":
            return await toTime(choice, target.micros, target.exclusive);
        case "before-now":
            return await toTime(choice, BigInt(now.getTime() - target.seconds * 1000) * 1000n, target.exclusive);
        case "lsn":
            return await toLsn(choice, target.lsn, target.exclusive);
        case "xid":
            return await toTransaction(choice, target.xid, target.exclusive);
        case "name":
            return await findNamedPoint(choice, target.name);
    }
}
async function toLatest(choice) {
    const reach = await beginWith(choice);
    const { point, micros, lastNumber } = await requireEnd(choice, reach);
    const goal = { kind: "restore-point", name: point.name, lsn: lsn(point.lsn), micros };
    return { reach, goal, lastNumber };
}
async function toTime(choice, micros, exclusive) {
    const refuse = timeWindow(choice, micros);
    const reach = await beginWith(choice, (candidate) => candidate.stopMicros < micros, refuse.tooEarly);
    const end = await endWithin(choice, reach, (newest) => micros <= newest.micros, refuse.tooLate);
    return { reach, goal: { kind: "time", micros, exclusive }, lastNumber: end.lastNumber };
}
async function toLsn(choice, position, exclusive) {
    const refuse = lsnWindow(choice, position, LONGEST_POINT_BYTES);
    const reach = await beginWith(choice, ({ details }) => endOfNeededWal(details) <= position, refuse.tooEarly);
    // A record begins at or behind every position that lies so far before the point's end: one to stop at.
    const isBefore = ({ point }) => position <= lsn(point.lsn) - LONGEST_POINT_BYTES;
    const end = await endWithin(choice, reach, isBefore, refuse.tooLate);
    return { reach, goal: { kind: "lsn", lsn: position, exclusive }, lastNumber: end.lastNumber };
}
/** What had ended when a backup was whole is in it, and what had ended at the newest point lies before that. */
async function toTransaction(choice, written, exclusive) {
    const { archive, candidates } = choice;
    const newest = await beginWith(choice);
    const { point } = newest.newest ?? (await requireEnd(choice, newest));
    const last = parseSnapshot(point.snapshot);
    if (last === undefined || candidates.every(({ details }) => details.stopSnapshot === undefined)) {
        throw noSnapshots(archive.setting.name);
    }
    const xid = withEpoch(written, last);
    const refuse = xidWindow(choice, xid);
    function endedBy(snapshot) {
        const parsed = parseSnapshot(snapshot);
        return parsed && hasEnded(parsed, xid);
    }
    const isMissing = ({ details }) => endedBy(details.stopSnapshot) === false;
    const reach = await beginWith(choice, isMissing, refuse.tooEarly);
    const hasCome = (end) => endedBy(end.point.snapshot) === true;
    const end = await endWithin(choice, reach, hasCome, refuse.tooLate);
    return { reach, goal: { kind: "xid", xid: withoutEpoch(xid), exclusive }, lastNumber: end.lastNumber };
}
/** The newest backup that is early enough, with the WAL behind it; throws the refusal, told of the oldest, when none is. */
async function beginWith(choice, isEarlyEnough = () => true, tooEarly = () => new Error("Every backup is early enough.")) {
    const { archive, candidates, timeline, signal } = choice;
    const chosen = candidates.findLast(isEarlyEnough);
    const reach = await measureReach(archive, chosen ?? candidates[0], timeline, signal);
    if (chosen === undefined)
        throw tooEarly(reach);
    await requireConsistency(archive, reach, signal);
    return reach;
}
/** The newest point, when the target does not lie behind it; else throws what is missing, or the refusal. */
async function endWithin(choice, reach, isWithin, tooLate) {
    if (reach.newest !== undefined && isWithin(reach.newest))
        return reach.newest;
    throw tooLate(reach, await requireEnd(choice, reach));
}

;// CONCATENATED MODULE: ./build/src/postgres/recovery/plan.js










/**
 * Chooses the newest backup that can reach the target, resolves the target and lists the WAL that leads there. Throws a
 * {@link UserError} with the recoverable window for a target outside it, and a {@link DefectError} that names the first
 * object that is missing.
 */
async function planRecovery(setting, request, signal) {
    for (let look = 1;; look += 1) {
        try {
            return await planOnce(setting, request, signal);
        }
        catch (error) {
            // A run that goes on meanwhile may replace a partial by a longer one, or by the whole, after it was listed.
            if (!(error instanceof stores_store/* ObjectMissing */.GV))
                throw error;
            if (look === plan_LOOKS) {
                throw new errors/* ToolError */.v4(`${error.subject} is listed, but not in the store: a run replaces it, or the store's listing lags behind; try again.`, { cause: error });
            }
        }
    }
}
const plan_LOOKS = 5;
async function planOnce(setting, request, signal) {
    const [oldest, ...younger] = await findCandidates(setting, request.backupId, signal);
    if (oldest === undefined) {
        throw new errors/* UserError */.yo(`${setting.name} has no backup to recover from: run the backup action first.`);
    }
    const archive = openArchive(setting, signal);
    const { timeline } = request.target;
    const candidates = await leadingTo(timeline, [oldest, ...younger], archive);
    const named = request.backupId !== undefined;
    const choice = { archive, candidates, timeline, named, signal };
    const { reach, goal, lastNumber } = await resolveTarget(choice, request);
    await requireObjects(setting, reach.manifest, signal);
    const { manifest, details } = reach;
    const last = lastNumber ?? segmentBefore(endOfNeededWal(details), details.walSegmentBytes);
    return {
        manifest,
        details,
        goal,
        timeline: reach.timeline,
        segments: reach.chain.filter((segment) => segment.number <= last),
        chain: reach.chain,
        histories: reach.timeline > 1 ? [reach.timeline] : [],
        warning: reach.gap && goal.kind !== "immediate"
            ? `The WAL of ${setting.name} has a gap behind the target: ${reach.missing} is missing, and nothing after it can be recovered from this backup.`
            : undefined,
    };
}
/** The backups that lie on the way to a timeline. Throws a {@link UserError} when there is none, or no such timeline. */
async function leadingTo(timeline, candidates, archive) {
    if (timeline === undefined)
        return candidates;
    const { name } = archive.setting;
    const { inventory } = await archive.read(candidates[0].details.walSegmentBytes);
    const { histories } = inventory;
    const known = new Set([...candidates.map(({ details }) => details.timeline), ...histories.keys()]);
    if (!known.has(timeline))
        throw unknownTimeline(name, timeline, [...known]);
    const path = histories.get(timeline) ?? rootTimeline(timeline);
    const [first, ...others] = candidates.filter(({ details, stopLsn }) => isOnPath(path, details.timeline, stopLsn));
    if (first === undefined)
        throw branchedBefore(name, path, candidates[0]);
    return [first, ...others];
}
/** Every object of the backup is there in its full size and can be opened, or nothing is fetched at all. */
async function requireObjects(setting, manifest, signal) {
    const { store, name, encryption } = setting;
    for (const object of manifest.objects) {
        const key = (0,layout/* objectKey */.T5)(name, manifest.id, object.name);
        if (object.sealed && encryption.identity() === undefined)
            throw noIdentity(store.describe(key));
        const found = await store.stat(key, signal);
        if (found?.bytes === object.storedBytes)
            continue;
        const subject = store.describe(key);
        throw new errors/* DefectError */.uR(subject, found === undefined
            ? `${subject} is missing: the backup ${manifest.id} is incomplete.`
            : `${subject} has ${found.bytes} bytes, but the backup recorded ${object.storedBytes}: it is damaged.`);
    }
}

;// CONCATENATED MODULE: ./build/src/postgres/recovery/recovery-proof.js



/**
 * Proves from the server's own words that replay ended at the goal, and not merely somewhere: a promotion alone says
 * nothing. Throws a {@link DefectError} when it ended elsewhere and a {@link ToolError} when the log does not tell.
 */
function proveStop(goal, log, backupSubject) {
    const { stop, lastTransactionMicros: last, badRecord } = log;
    if (badRecord !== undefined) {
        throw new errors/* DefectError */.uR(backupSubject, `PostgreSQL met broken WAL before the target: ${badRecord}.`);
    }
    if (!log.complete || stop === undefined) {
        throw new errors/* ToolError */.v4("The scratch server was promoted, but its log does not say where replay stopped.");
    }
    const moment = momentOf(goal, stop, last);
    if (moment === undefined) {
        throw new errors/* DefectError */.uR(backupSubject, `PostgreSQL was promoted, but not at the target (${describeGoal(goal)}): the backup does not lead there.`);
    }
    return {
        time: written(moment.time),
        lastCommitBefore: written(last),
        firstCommitAfter: written(moment.after),
    };
}
/** The moment of the stop; undefined when it is another stop than the goal asked for. */
function momentOf(goal, stop, last) {
    switch (goal.kind) {
        case "immediate":
            return stop.kind === "consistency" ? { time: undefined } : undefined;
        case "restore-point":
            // The point is made after the moment that it stands for, on the same clock.
            if (stop.kind !== "restore-point" || stop.name !== goal.name || stop.micros < goal.micros)
                return undefined;
            return { time: goal.micros };
        case "time": {
            if (stop.kind !== "transaction" || stop.side !== "before")
                return undefined;
            // With its smallest step a time that excludes is one that includes the microsecond before.
            const latest = goal.exclusive ? goal.micros - 1n : goal.micros;
            if (stop.micros <= latest || (last !== undefined && last > latest))
                return undefined;
            return { time: goal.micros, after: commitOf(stop) };
        }
        case "lsn":
            if (stop.kind !== "lsn" || stop.side !== sideOf(goal) || stop.lsn < goal.lsn)
                return undefined;
            // A commit that is the very record at the position is replayed, but the log does not count it.
            return { time: last };
        case "xid":
            if (stop.kind !== "transaction" || stop.side !== sideOf(goal))
                return undefined;
            if (BigInt(stop.xid) !== goal.xid)
                return undefined;
            return goal.exclusive ? { time: stop.micros, after: commitOf(stop) } : { time: stop.micros };
    }
}
function sideOf(goal) {
    return goal.exclusive ? "before" : "after";
}
/** An abort behind the target ends replay as well, but it is no commit. */
function commitOf(stop) {
    return stop.outcome === "commit" ? stop.micros : undefined;
}
function written(micros) {
    return micros === undefined ? null : toRfc3339(micros);
}

;// CONCATENATED MODULE: ./build/src/postgres/recovery/server-log.js


/** `log_line_prefix` of the scratch server: the kind of process and its id. */
const LOG_LINE_PREFIX = "%b[%p] ";
const TAIL_LINES = 200;
const LINE_LENGTH = 2_000;
const PREFIX = /^(?:([a-z ]+)\[\d+\] |.*?\[\d+\] )?([A-Z]+\d?): {1,2}(.*)$/;
const TIMESTAMP = String.raw `(\d{4,}-\d\d-\d\d \d\d:\d\d:\d\d(?:\.\d+)?[+-]\d\d(?::?\d\d)?)`;
const STOP_TRANSACTION = new RegExp(`^recovery stopping (before|after) (commit|abort) of transaction (\\d+), time ${TIMESTAMP}$`);
const STOP_LSN = /^recovery stopping (before|after) WAL location \(LSN\) "([0-9A-F]+\/[0-9A-F]+)"$/;
const STOP_RESTORE_POINT = new RegExp(`^recovery stopping at restore point "(.*)", time ${TIMESTAMP}$`);
const LAST_TRANSACTION = new RegExp(`^last completed transaction was at log time ${TIMESTAMP}$`);
/**
 * Sentences of xlogreader.c and xlogrecovery.c about WAL that is not what it should be. They are harmless after the
 * stop, when the server looks for the end of the WAL, and never before it.
 */
const BAD_RECORD = /^(?:record with |invalid (?:record|magic|info bits|xlog|resource manager|contrecord|block|primary|checkpoint|page)|incorrect (?:resource|prev)|unexpected (?:pageaddr|timeline)|out-of-sequence (?:timeline|block)|WAL file is from|missing contrecord|there is no contrecord|contrecord is requested|could not (?:decompress|restore) image|block with compressed image)/;
/** Cuts a line into process, severity and text; undefined for a line that is no message (such as a continuation). */
function parseLogLine(line) {
    const match = PREFIX.exec(line);
    if (match === null)
        return undefined;
    return { process: match[1], severity: match[2] ?? "", text: match[3] ?? "" };
}
/**
 * Follows a server's log through a recovery. It expects `lc_messages=C`, `timezone=UTC` and
 * {@link LOG_LINE_PREFIX}; the sentences are those of src/backend/access/transam/xlogrecovery.c, PostgreSQL 14 to 18.
 */
function followRecoveryLog() {
    const state = {
        started: false,
        lastRestored: undefined,
        restoredCount: 0,
        consistent: false,
        stop: undefined,
        lastTransactionMicros: undefined,
        newTimeline: undefined,
        complete: false,
        ready: false,
        paused: false,
        badRecord: undefined,
        fatal: undefined,
        complaint: undefined,
    };
    const lines = [];
    let previous;
    function take(message) {
        const { severity, text } = message;
        if (severity === "DETAIL" || severity === "HINT") {
            if (previous !== undefined && previous === state.fatal) {
                state.fatal = { ...previous, text: `${withoutDot(previous.text)} (${withoutDot(text)})` };
                previous = state.fatal;
            }
            return;
        }
        previous = message;
        if (message.process === "client backend")
            return;
        if (severity === "FATAL" || severity === "PANIC")
            state.fatal ??= message;
        if (severity !== "LOG" && severity !== "WARNING" && severity !== "FATAL")
            return;
        if (message.process === "startup")
            fromStartup(text);
        else if (text === "database system is ready to accept connections")
            state.ready = true;
        else if (!state.started && isComplaint(text))
            state.complaint ??= text;
    }
    function fromStartup(text) {
        if (text.startsWith("starting point-in-time recovery") || text === "starting archive recovery") {
            state.started = true;
        }
        else if (text.startsWith("restored log file ")) {
            state.lastRestored = /^restored log file "([^"]+)"/.exec(text)?.[1] ?? state.lastRestored;
            state.restoredCount += 1;
        }
        else if (text.startsWith("consistent recovery state reached")) {
            state.consistent = true;
        }
        else if (text.startsWith("recovery stopping ")) {
            state.stop = parseStop(text);
        }
        else if (text.startsWith("last completed transaction was at log time")) {
            state.lastTransactionMicros = parseTime(LAST_TRANSACTION.exec(text)?.[1] ?? "");
        }
        else if (text.startsWith("selected new timeline ID: ")) {
            state.newTimeline = Number(text.slice("selected new timeline ID: ".length));
        }
        else if (text === "archive recovery complete") {
            state.complete = true;
        }
        else if (text.startsWith("recovery has paused") || text.startsWith("pausing at the end of recovery")) {
            state.paused = true;
        }
        else if (state.stop === undefined && BAD_RECORD.test(text)) {
            state.badRecord ??= text;
        }
    }
    return {
        state,
        line(line) {
            lines.push(line.slice(0, LINE_LENGTH));
            if (lines.length > TAIL_LINES)
                lines.shift();
            const message = parseLogLine(line);
            if (message !== undefined)
                take(message);
        },
        tail: () => lines,
    };
}
function parseStop(text) {
    if (text === "recovery stopping after reaching consistency")
        return { kind: "consistency" };
    const transaction = STOP_TRANSACTION.exec(text);
    if (transaction !== null) {
        const [, side, outcome, xid = "", time = ""] = transaction;
        const micros = parseTime(time);
        if (micros === undefined)
            return undefined;
        return {
            kind: "transaction",
            side: server_log_sideOf(side),
            outcome: outcome === "commit" ? "commit" : "abort",
            xid,
            micros,
        };
    }
    const [, side, position = ""] = STOP_LSN.exec(text) ?? [];
    const lsn = lsn_parseLsn(position);
    if (lsn !== undefined)
        return { kind: "lsn", side: server_log_sideOf(side), lsn };
    const point = STOP_RESTORE_POINT.exec(text);
    const micros = parseTime(point?.[2] ?? "");
    if (point === null || micros === undefined)
        return undefined;
    return { kind: "restore-point", name: point[1] ?? "", micros };
}
function server_log_sideOf(word) {
    return word === "after" ? "after" : "before";
}
/** A sentence that says why the server cannot even start; the FATAL that follows only says that it did not. */
function isComplaint(text) {
    return (text.startsWith("could not bind ") ||
        text.startsWith("unrecognized configuration parameter") ||
        text.startsWith("invalid value for parameter") ||
        text.startsWith("parameter ") ||
        text.startsWith("syntax error in file") ||
        /^-?[\d.]+ .*is outside the valid range for parameter/.test(text));
}
function withoutDot(text) {
    return text.endsWith(".") ? text.slice(0, -1) : text;
}

;// CONCATENATED MODULE: ./build/src/postgres/scratch/server-settings.js





/** The source's values of these are a lower bound: objects of that size come with the WAL. */
const AT_LEAST = {
    max_connections: 100,
    // Not checked at the start when hot_standby is off, but a prepared transaction in the WAL needs its place.
    max_prepared_transactions: 500,
    max_locks_per_transaction: 64,
    max_wal_senders: 10,
    max_worker_processes: 8,
};
/**
 * The whole configuration of a scratch server: nothing of the source's own files counts, so that no preloaded
 * library, archive command or listen address of production comes along.
 */
function serverConfiguration(settings) {
    const values = {
        listen_addresses: "127.0.0.1",
        port: String(settings.port),
        unix_socket_directories: quoteListItem(settings.socketFolder),
        unix_socket_permissions: "0700",
        hba_file: settings.hbaFile,
        ident_file: settings.identFile,
        ssl: "off",
        password_encryption: "scram-sha-256",
        restore_command: settings.restoreCommand,
        ...goalSettings(settings.goal),
        recovery_target_timeline: String(settings.timeline),
        recovery_target_action: "promote",
        // With hot_standby a raise of max_connections in the WAL would pause recovery for ever and serve stale reads.
        hot_standby: "off",
        archive_mode: "off",
        shared_preload_libraries: "",
        session_preload_libraries: "",
        local_preload_libraries: "",
        max_logical_replication_workers: "0",
        // The server lives for minutes: vacuum would only compete with the replay and change pages under the checks.
        autovacuum: "off",
        ...lowerBounds(settings.source),
        shared_buffers: "256MB",
        huge_pages: "off",
        // Not /dev/shm, which containers keep at 64 MiB.
        dynamic_shared_memory_type: "mmap",
        // Each must hold at least two segments, whatever initdb was told about their size.
        max_wal_size: megabytes(Math.max(MAX_WAL_BYTES, 2 * settings.segmentBytes)),
        min_wal_size: megabytes(2 * settings.segmentBytes),
        wal_recycle: "off",
        // A crash of the scratch server ends the drill anyway: nothing has to survive it.
        fsync: "off",
        synchronous_commit: "off",
        full_page_writes: "off",
        restart_after_crash: "off",
        logging_collector: "off",
        log_destination: "stderr",
        log_line_prefix: LOG_LINE_PREFIX,
        log_min_messages: "warning",
        // Statements of checks may hold values of tables.
        log_min_error_statement: "panic",
        log_statement: "none",
        log_timezone: "UTC",
        timezone: "UTC",
        datestyle: "ISO, MDY",
        lc_messages: "C",
        ...settings.extra,
    };
    const lines = Object.entries(values).map(([name, value]) => `${name} = ${quoteSetting(value)}`);
    return `${lines.join("\n")}\n`;
}
function megabytes(bytes) {
    return `${bytes / 2 ** 20}MB`;
}
function goalSettings(goal) {
    switch (goal.kind) {
        case "restore-point":
            return { recovery_target_name: goal.name };
        case "time":
            return { recovery_target_time: formatMicros(goal.micros), ...inclusive(goal.exclusive) };
        case "lsn":
            return { recovery_target_lsn: formatLsn(goal.lsn), ...inclusive(goal.exclusive) };
        case "xid":
            return { recovery_target_xid: String(goal.xid), ...inclusive(goal.exclusive) };
        case "immediate":
            return { recovery_target: "immediate" };
    }
}
function inclusive(exclusive) {
    return { recovery_target_inclusive: exclusive ? "off" : "on" };
}
function lowerBounds(source) {
    const bounds = {};
    for (const [name, least] of Object.entries(AT_LEAST)) {
        const value = Number(source[name]);
        bounds[name] = String(Number.isSafeInteger(value) ? Math.max(value, least) : least);
    }
    return bounds;
}
/** A value for the configuration file: quotes and backslashes mean something there (guc-file.l). */
function quoteSetting(value) {
    if (/[\n\r\0]/.test(value))
        throw new errors/* UserError */.yo("A setting of server.settings holds a line break: remove it.");
    return `'${value.replaceAll("\\", "\\\\").replaceAll("'", "''")}'`;
}
/** One folder in a setting that is a list of folders. */
function quoteListItem(folder) {
    return `"${folder.replaceAll('"', '""')}"`;
}
/**
 * Who may connect: over the socket everybody who can reach it, which is its folder's owner and root; over TCP only
 * the temporary role, with its password.
 */
function hbaFile(role) {
    return `local all all trust\nhost all "${role}" 127.0.0.1/32 scram-sha-256\n`;
}

;// CONCATENATED MODULE: ./build/src/postgres/recovery/recovery-failure.js



/** Troubles of this machine, not of what lies in the store. */
const ENVIRONMENT = /No space left on device|Disk quota exceeded|Cannot allocate memory|out of memory|Too many open files|Permission denied|Read-only file system|could not (?:access file|load library|create .*socket|bind|map anonymous|create shared memory|create lock file|resize shared memory)|could not open shared memory|was terminated by signal|incompatible with server|configuration file .* contains errors|Input\/output error/;
/** Before replay begins: the WAL that `backup_label` names is not there, or is not that of the backup. */
const NO_BEGINNING = /^could not (?:locate (?:required|a valid) checkpoint record|find redo location)/;
const ENDED_BEFORE = /^recovery ended before configured recovery target was reached/;
/**
 * The error for a server that ended before its target. What the store's objects are to blame for is a
 * {@link DefectError} that names the object; trouble of this machine, or with the server's settings, is a
 * {@link ToolError}.
 */
function explainFailure(failed) {
    const { log, ending } = failed;
    const said = log.fatal?.text;
    const file = /could not restore file "([^"]+)" from archive/.exec(said ?? "")?.[1];
    const cause = file === undefined ? undefined : failed.failureOf(file);
    if (cause instanceof Error)
        return cause;
    if (said === undefined) {
        const why = ending.startsWith("signal") ? " This machine may be short of memory." : "";
        return new errors/* ToolError */.v4(`The scratch server ended with ${ending} and gave no reason.${why}`);
    }
    const space = /^(?:could not set permissions on )?directory "([^"]+)"(?::| does not exist)/.exec(said)?.[1];
    if (space !== undefined) {
        return new errors/* ToolError */.v4(`The WAL creates a tablespace in ${space}, which cannot be replayed on this machine: take a new backup, which holds the tablespace.`);
    }
    const sentence = log.complaint === undefined ? said : `${said}: ${log.complaint}`;
    const began = log.started || NO_BEGINNING.test(said);
    if (!began || file !== undefined || ENVIRONMENT.test(said)) {
        return new errors/* ToolError */.v4(`The scratch server could not recover: ${sentence}.`);
    }
    // The plan has seen that all WAL is there up to a point at which the transaction had ended.
    const toTheEnd = ENDED_BEFORE.test(said) && log.lastRestored === failed.segments.at(-1)?.name;
    if (failed.goal.kind === "xid" && toTheEnd)
        return noEndOfTransaction(failed.goal.xid);
    const reason = log.badRecord === undefined ? said : `${said} after "${log.badRecord}"`;
    const segment = blame(failed);
    const subject = segment === undefined ? failed.backupSubject : failed.describe(segment.key);
    return new errors/* DefectError */.uR(subject, `PostgreSQL could not replay to the target at ${subject}: ${reason}.`);
}
/** The segment in which the server found something wrong, or the last that it was given. */
function blame({ log, segments, segmentBytes }) {
    const text = log.badRecord ?? "";
    const named = /segment ([0-9A-F]{24})/.exec(text)?.[1];
    const position = /(?:at|LSN) ([0-9A-F]{1,8}\/[0-9A-F]{1,8})/.exec(text)?.[1];
    const number = position === undefined ? undefined : segmentAt(lsn(position), segmentBytes);
    return (segments.find((segment) => segment.name === named) ??
        segments.find((segment) => segment.number === number) ??
        segments.find((segment) => segment.name === log.lastRestored));
}

;// CONCATENATED MODULE: ./build/src/postgres/recovery/replay.js







const POLL_MS = 20;
const replay_PROGRESS_MS = 5_000;
const PORT_ATTEMPTS = 5;
/**
 * Starts the server on restored files and waits until it takes connections, which with `hot_standby=off` is after
 * its promotion. When it throws, the server has ended.
 */
async function replay(options) {
    const { plan, scratch } = options;
    const files = configurationFiles(scratch);
    await scratch.writeFile(files.hba, hbaFile(options.role));
    await scratch.writeFile(files.ident, "");
    await scratch.writeFile(`${scratch.data}/recovery.signal`, "");
    for (let attempt = 1;; attempt += 1) {
        const port = await (options.choosePort ?? freePort)();
        const configuration = serverConfiguration({
            goal: plan.goal,
            timeline: plan.timeline,
            restoreCommand: options.window.command,
            hbaFile: files.hba,
            identFile: files.ident,
            socketFolder: scratch.socket,
            port,
            segmentBytes: plan.details.walSegmentBytes,
            source: plan.details.settings,
            extra: options.extra,
        });
        await scratch.writeFile(files.config, configuration);
        const log = followRecoveryLog();
        const startedAt = performance.now();
        const server = await options.runtime.start(scratch, files.config, (line) => log.line(line));
        try {
            const began = await waitForReady(server, log, options);
            await server.requireReach(port);
            return {
                server,
                port,
                log,
                startSeconds: (began - startedAt) / 1000,
                replaySeconds: (performance.now() - began) / 1000,
            };
        }
        catch (error) {
            await server.stop();
            // The port was free a moment ago: somebody was faster.
            const taken = !log.state.started && log.tail().some((line) => line.includes("could not bind"));
            if (!taken || attempt === PORT_ATTEMPTS || options.context.signal.aborted)
                throw error;
        }
    }
}
/** Returns when recovery began; throws why it ended. */
async function waitForReady(server, log, options) {
    const { context, window, plan } = options;
    let began;
    let nextLine = performance.now() + replay_PROGRESS_MS;
    while (!log.state.ready) {
        if (context.signal.aborted)
            throw new errors/* AbortedError */.oM();
        if (server.ending() !== undefined) {
            await server.ended;
            if (context.signal.aborted)
                throw new errors/* AbortedError */.oM();
            throw failureOf(server, log, options);
        }
        const broken = window.broken();
        if (broken !== undefined)
            throw broken;
        if (log.state.paused) {
            throw new errors/* ToolError */.v4("The scratch server paused its recovery, although it was told to promote: see its settings.");
        }
        if (log.state.started)
            began ??= performance.now();
        if (performance.now() >= nextLine) {
            nextLine += replay_PROGRESS_MS;
            context.log.info(`Replaying WAL: ${log.state.restoredCount} of at most ${plan.segments.length} segments`);
        }
        await (0,external_node_timers_promises_.setTimeout)(POLL_MS, undefined, { signal: context.signal }).catch(() => undefined);
    }
    return began ?? performance.now();
}
function failureOf(server, log, options) {
    const { setting, plan, window, context } = options;
    const backupSubject = setting.store.describe((0,layout/* manifestKey */.Rn)(setting.name, plan.manifest.id));
    const failure = explainFailure({
        goal: plan.goal,
        log: log.state,
        ending: server.ending() ?? "nothing",
        segments: plan.segments,
        segmentBytes: plan.details.walSegmentBytes,
        failureOf: (name) => window.failureOf(name),
        describe: (key) => setting.store.describe(key),
        backupSubject,
    });
    if (!(failure instanceof errors/* DefectError */.uR))
        for (const line of log.tail().slice(-20))
            context.log.info(line);
    return failure;
}

;// CONCATENATED MODULE: ./build/src/postgres/recovery/restore-command.js

function windowFolders(root) {
    return {
        ready: (0,external_node_path_.join)(root, "ready"),
        absent: (0,external_node_path_.join)(root, "absent"),
        failed: (0,external_node_path_.join)(root, "failed"),
        asked: (0,external_node_path_.join)(root, "asked"),
        landing: (0,external_node_path_.join)(root, "landing"),
        kept: (0,external_node_path_.join)(root, "kept"),
    };
}
/** A word for the shell, whatever is in it. */
function quoteForShell(text) {
    return `'${text.replaceAll("'", "'\\''")}'`;
}
/**
 * The script behind `restore_command`: PostgreSQL calls it with a file's name and where it wants it, in the data
 * folder. Exit code 0: here it is. 1: it is proven not to exist. 126 and above: recovery must end, because going on
 * would end in a normal promotion with data missing. Codes above 128 that stand for a signal are avoided. It ends
 * by itself when the server is gone.
 */
function restoreScript(folders) {
    return `#!/bin/sh
ready=${quoteForShell(folders.ready)}
absent=${quoteForShell(folders.absent)}
failed=${quoteForShell(folders.failed)}
asked=${quoteForShell(folders.asked)}
case $1 in
  '' | .* | */*) exit 201 ;;
esac
told=
while :; do
  if [ -f "$ready/$1" ]; then
    [ -z "$told" ] || rm -f "$asked/$1"
    mv -f "$ready/$1" "$2" || exit 202
    exit 0
  fi
  [ -f "$absent/$1" ] && exit 1
  [ -f "$failed/$1" ] && exit 203
  if [ -z "$told" ]; then
    : >"$asked/$1" || exit 204
    told=yes
  fi
  read -r server <postmaster.pid || exit 205
  kill -0 "$server" || exit 206
  sleep 0.02 2>/dev/null || sleep 1
done
`;
}
/** The setting for the script: `%` means something to PostgreSQL, so a path's own are doubled. */
function restoreCommand(script) {
    return `/bin/sh ${quoteForShell(script).replaceAll("%", "%%")} %f "%p"`;
}

;// CONCATENATED MODULE: ./build/src/postgres/recovery/wal-window.js





const WINDOW_SEGMENTS = 16;
/** So many files are held in memory at once; fewer when a segment is large. */
const wal_window_PARALLEL = 4;
const PARALLEL_BYTES = 128 * 2 ** 20;
const wal_window_POLL_MS = 20;
const STOP_MS = 2_000;
/** Behind the newest that the server took: it reads ahead, the more so when segments were switched early. */
const KEPT_SEGMENTS = 3;
/**
 * Fetches the WAL in parallel into a small window on disk and answers what the server asks for. PostgreSQL moves each
 * file out of the window, so the disk it needs is bounded; a file that it wants a second time is given again. That the
 * last files have a second link is safe because the server runs with wal_recycle=off: it never writes into old WAL.
 * A file that is not in the lists is answered as absent, because the plan has proven what recovery needs.
 */
async function startWalWindow(options) {
    const { scratch, segments, context, windowSegments = WINDOW_SEGMENTS } = options;
    const parallel = Math.max(1, Math.min(wal_window_PARALLEL, Math.floor(PARALLEL_BYTES / options.segmentBytes)));
    const folders = windowFolders(scratch.wal);
    for (const folder of Object.values(folders))
        await scratch.makeFolder(folder);
    const script = (0,external_node_path_.join)(scratch.wal, "restore.sh");
    await scratch.writeFile(script, restoreScript(folders));
    const files = new Map([...segments, ...options.histories].map((file) => [file.name, file]));
    const order = new Map(segments.map((file, index) => [file.name, index]));
    const stop = new AbortController();
    const signal = AbortSignal.any([context.signal, stop.signal]);
    const underWay = new Map();
    const failures = new Map();
    /** Used again and again: a new one for each segment would be a lot of garbage. */
    const buffers = [];
    let bytes = 0;
    /** The next segment to prefetch, and the last that the server took. */
    let next = 0;
    let taken = -1;
    const delivered = new Set();
    let broken;
    function giveUp(error) {
        if (!signal.aborted)
            broken ??= error;
        stop.abort();
    }
    function start(file) {
        if (underWay.has(file.name) || failures.has(file.name))
            return;
        const work = land(file)
            .catch((error) => giveUp(error))
            .finally(() => underWay.delete(file.name));
        underWay.set(file.name, work);
    }
    async function land(file) {
        const buffer = buffers.pop() ?? Buffer.allocUnsafeSlow(options.segmentBytes);
        try {
            const content = await file.fetch(signal, buffer);
            bytes += content.length;
            await scratch.writeFile((0,external_node_path_.join)(folders.landing, file.name), content);
            await (0,external_node_fs_promises_.link)((0,external_node_path_.join)(folders.landing, file.name), (0,external_node_path_.join)(folders.kept, file.name)).catch(ignoreExisting);
            await (0,external_node_fs_promises_.rename)((0,external_node_path_.join)(folders.landing, file.name), (0,external_node_path_.join)(folders.ready, file.name));
            delivered.add(file.name);
        }
        catch (error) {
            if (signal.aborted)
                return;
            failures.set(file.name, error);
            context.log.debug(`The WAL file ${file.name} could not be had: ${(0,errors/* messageOf */.bD)(error)}`);
            await mark(folders.failed, file.name);
        }
        finally {
            buffers.push(buffer);
        }
    }
    async function mark(folder, name) {
        await scratch.writeFile((0,external_node_path_.join)(folder, name), "");
    }
    async function answer(name) {
        // First of all, so that a question that comes meanwhile is not swept away unanswered.
        try {
            await (0,external_node_fs_promises_.rm)((0,external_node_path_.join)(folders.asked, name));
        }
        catch (error) {
            // Who asked has got the file in the meantime.
            if ((0,errors/* codeOf */.$N)(error) === "ENOENT")
                return;
            throw error;
        }
        const file = files.get(name);
        if (file === undefined)
            await mark(folders.absent, name);
        else if (!(await isReady(name)) && !(await deliverAgain(name)))
            start(file);
    }
    /** As it is now: what an earlier look into the folder saw may have been taken, and asked for again since. */
    async function isReady(name) {
        return (await (0,external_node_fs_promises_.stat)((0,external_node_path_.join)(folders.ready, name)).catch(() => undefined)) !== undefined;
    }
    /** Whether the file could be given once more from its second link. */
    async function deliverAgain(name) {
        if (underWay.has(name))
            return false;
        try {
            await (0,external_node_fs_promises_.rename)((0,external_node_path_.join)(folders.kept, name), (0,external_node_path_.join)(folders.ready, name));
            delivered.add(name);
            return true;
        }
        catch {
            return false;
        }
    }
    /** PostgreSQL reads the segment in which it stops a second time; what lies before it is not wanted again. */
    async function forget() {
        for (const name of await (0,external_node_fs_promises_.readdir)(folders.kept)) {
            if ((order.get(name) ?? -1) < taken - KEPT_SEGMENTS)
                await (0,external_node_fs_promises_.rm)((0,external_node_path_.join)(folders.kept, name), { force: true });
        }
    }
    function prefetch(ready) {
        let ahead = [...ready, ...underWay.keys()].filter((name) => (order.get(name) ?? -1) > taken).length;
        while (next < segments.length && ahead < windowSegments && underWay.size < parallel) {
            const file = segments[next];
            next += 1;
            if (file === undefined || ready.has(file.name))
                continue;
            start(file);
            ahead += 1;
        }
    }
    async function look() {
        // In this order: what lands after the look into the folder has not been taken.
        const known = [...delivered];
        const ready = new Set(await (0,external_node_fs_promises_.readdir)(folders.ready));
        for (const name of known) {
            if (ready.has(name))
                continue;
            delivered.delete(name);
            const number = order.get(name) ?? -1;
            if (number <= taken)
                continue;
            taken = number;
            await forget();
        }
        for (const name of await (0,external_node_fs_promises_.readdir)(folders.asked))
            await answer(name);
        prefetch(ready);
    }
    async function loop() {
        while (!signal.aborted) {
            await look();
            await (0,external_node_timers_promises_.setTimeout)(wal_window_POLL_MS, undefined, { signal }).catch(() => undefined);
        }
    }
    const looping = loop().catch((error) => giveUp(error));
    return {
        command: restoreCommand(script),
        failureOf: (name) => failures.get(name),
        broken: () => broken,
        bytes: () => bytes,
        async stop() {
            stop.abort();
            await looping;
            // Stores end with their signal; one that does not must not hold us up.
            const timer = new AbortController();
            const settled = Promise.allSettled(underWay.values()).then(() => timer.abort());
            await Promise.race([
                settled,
                (0,external_node_timers_promises_.setTimeout)(STOP_MS, undefined, { signal: timer.signal }).catch(() => undefined),
            ]);
        },
    };
}
function ignoreExisting(error) {
    if ((0,errors/* codeOf */.$N)(error) !== "EEXIST")
        throw error;
}

;// CONCATENATED MODULE: ./build/src/postgres/recovery/recover.js





















/**
 * Recovers a backup into a scratch server on this machine and proves that it stands exactly at the target. Everything
 * that can be refused is refused before the first byte is fetched. Throws a {@link DefectError} when what lies in the
 * store is to blame, else a UserError or ToolError; then nothing is left running and no file is left.
 */
async function recoverPostgres(setting, request, context) {
    const phases = [];
    const startedAt = performance.now();
    let scratch;
    try {
        const extra = extraSettings(setting.config);
        const plan = await planRecovery(setting, request, context.signal);
        if (plan.warning !== undefined)
            context.log.warning(plan.warning);
        scratch = await createScratch(await findRunUser(), context);
        const { details, segments } = plan;
        const runtime = await runtimeOf(setting, plan, scratch, context);
        const needed = neededBytes(details.dataBytes, segments, details.walSegmentBytes, WINDOW_SEGMENTS);
        await requireFreeDisk(scratch.root, needed);
        context.log.info(describePlan(setting.name, plan));
        phases.push({ name: "plan", seconds: (performance.now() - startedAt) / 1000 });
        return await recoverInto(scratch, { setting, plan, runtime, extra, phases, context });
    }
    catch (error) {
        await scratch?.remove();
        if (context.signal.aborted)
            throw new errors/* AbortedError */.oM();
        throw diskSentence(error, scratch?.root ?? context.workDir);
    }
}
async function recoverInto(scratch, work) {
    const { setting, plan, phases, context } = work;
    const role = makeTemporaryRole(context);
    const window = await startWalWindow({
        scratch,
        segments: plan.segments.map((segment) => segmentFile(setting, segment, plan.details)),
        segmentBytes: plan.details.walSegmentBytes,
        histories: plan.histories.map((timeline) => historyFile(setting, timeline)),
        context,
    });
    let replayed;
    try {
        const fetched = performance.now();
        const data = await restoreDataFolder(setting, plan.manifest, plan.details, scratch, context);
        phases.push({ name: "fetch", seconds: (performance.now() - fetched) / 1000, bytes: data.bytes });
        if (data.unverifiedFiles > 0) {
            context.log.warning(`${data.unverifiedFiles} files of the backup have no checksum, so only their sizes were compared: take backups with manifest checksums.`);
        }
        replayed = await replay({ ...work, scratch, window, role: role.name });
        await window.stop();
        phases.push({ name: "start", seconds: replayed.startSeconds });
        phases.push({ name: "replay", seconds: replayed.replaySeconds, bytes: window.bytes() });
        return await present(scratch, work, replayed, role);
    }
    catch (error) {
        await replayed?.server.stop();
        throw error;
    }
    finally {
        await window.stop();
    }
}
/** Proves where the server stands, and hands it over. */
async function present(scratch, { setting, plan, runtime, phases, context }, { server, port, log }, role) {
    const { details, manifest } = plan;
    const subject = setting.store.describe((0,layout/* manifestKey */.Rn)(setting.name, manifest.id));
    const proof = proveStop(plan.goal, log.state, subject);
    const address = {
        socket: scratch.socket,
        port,
        user: details.bootstrapSuperuser,
        major: details.major,
    };
    const session = await openAnySession(address, [details.database, "postgres", "template1"], context.signal);
    let reached;
    let version;
    try {
        const timeline = await requireSameCluster(session, details.systemIdentifier, subject);
        version = (await session.query("SELECT current_setting('server_version')"))[0]?.[0] ?? "";
        reached = {
            lsn: await reachedLsn(scratch, timeline, plan, subject),
            timeline,
            ...proof,
            completeUntil: details.startTime,
        };
        // 14 does not record the library's version with a database.
        if (details.major >= 15)
            await warnOfCollations(session, context);
        await createTemporaryRole(session, role);
    }
    finally {
        await session.close();
    }
    context.log.info(describeReached(setting.name, reached));
    let disposed;
    const onAbort = () => void dispose().catch(() => undefined);
    context.signal.addEventListener("abort", onAbort, { once: true });
    async function end() {
        await server.stop();
        await scratch.remove();
    }
    async function keepRunning() {
        server.release();
        await scratch.watchdog.dismiss();
        const connect = `psql -h ${scratch.socket} -p ${port} -U ${address.user} -d ${details.database}`;
        context.log.info(`The recovered server keeps running as ${server.title}: connect with "${connect}", stop it with "${server.stopCommand}", then remove ${scratch.root}.`);
    }
    async function dispose(options = {}) {
        context.signal.removeEventListener("abort", onAbort);
        const keep = options.keep === true && !context.signal.aborted && server.ending() === undefined;
        disposed ??= keep ? keepRunning() : end();
        await disposed;
    }
    return {
        backupId: manifest.id,
        target: describeGoal(plan.goal),
        reached,
        phases,
        access: accessOf(role, port, details.database),
        facts: {
            postgres: version,
            ...(runtime.label === undefined ? {} : { runtime: runtime.label }),
            ...switchedOff(setting.config),
        },
        ...checksOf({
            setting,
            manifest,
            details,
            address,
            momentMicros: recover_momentOf(plan, reached),
            reachedLsn: lsn(reached.lsn),
            chain: plan.chain,
            temporaryRole: role.name,
            context,
        }),
        dispose,
    };
}
/** The server's timeline. Throws a {@link DefectError} when it is another cluster than the backup's. */
async function requireSameCluster(session, systemIdentifier, subject) {
    const [row] = await session.query("SELECT pg_is_in_recovery()::text, (pg_control_system()).system_identifier::text, left(pg_walfile_name(pg_current_wal_lsn()), 8)");
    const [inRecovery, identifier, timeline] = row ?? [];
    if (inRecovery !== "false")
        throw new errors/* ToolError */.v4("The scratch server takes connections but is still in recovery.");
    if (identifier !== systemIdentifier) {
        throw new errors/* DefectError */.uR(subject, `${subject} is of the cluster ${systemIdentifier}, but the recovered server is ${identifier}.`);
    }
    return Number.parseInt(timeline ?? "", 16);
}
/** Indexes on text that were sorted by another version of the library may miss rows on this machine. */
async function warnOfCollations(session, context) {
    const rows = await session.query(
    // Some C libraries, such as that of Alpine's images, tell no version.
    `SELECT datname FROM pg_database
     WHERE datcollversion IS NOT NULL AND datcollversion IS DISTINCT FROM pg_database_collation_actual_version(oid)`);
    if (rows.length === 0)
        return;
    const names = rows.map(([name]) => name).join(", ");
    context.log.warning(`The scratch server sorts text by another version of the collation library than the source of ${names}: checks that use indexes on text may miss rows.`);
}
/** The end of the last record that was replayed: where the new timeline left the old one, by its history file. */
async function reachedLsn(scratch, timeline, { timeline: parent, details, goal }, subject) {
    const file = (0,external_node_path_.join)(scratch.data, "pg_wal", `${(0,layout/* timelineName */.rv)(timeline)}.history`);
    const left = parseHistory(timeline, await (0,external_node_fs_promises_.readFile)(file, "utf8"))?.ancestors.at(-1);
    // A standby says where it was after the backup, which may be later than what its own files need: there the server's
    // word that it is consistent counts, and any other goal lies behind that position.
    const least = details.fromStandby && goal.kind === "immediate" ? details.startLsn : details.stopLsn;
    if (left?.timeline !== parent || left.end < lsn(least)) {
        throw new errors/* DefectError */.uR(subject, `PostgreSQL was promoted before the end of the backup ${subject}.`);
    }
    // A name can be given twice, and replay ends at the first of them.
    if (goal.kind === "restore-point" && left.end !== goal.lsn) {
        throw new errors/* DefectError */.uR(subject, `PostgreSQL met the restore point ${goal.name} at ${formatLsn(left.end)}, but the archive says that it is at ${formatLsn(goal.lsn)}: there are two of that name, or its entry in the archive was altered.`);
    }
    return formatLsn(left.end);
}
async function runtimeOf({ config, fill }, plan, scratch, context) {
    const filled = (key) => {
        const written = config.server[key];
        return written === undefined ? undefined : fill(["server", key], written);
    };
    const wish = { runtime: config.server.runtime, binDir: filled("bin-dir"), image: filled("image") };
    return await chooseRuntime(wish, plan.details.major, scratch, context);
}
function extraSettings(config) {
    return Object.fromEntries(Object.entries(config.server.settings).map(([name, value]) => [name, String(value)]));
}
/** What the record says of checks that the runbook does not want. */
function switchedOff({ census, integrity }) {
    return {
        ...(integrity ? {} : { integrity: "not checked, because the runbook switches it off" }),
        ...(census === false ? { census: "none, because the runbook switches it off" } : {}),
    };
}
/** What `max-age` counts back from: a point without a time is as old as the backup's end. */
function recover_momentOf({ details }, { time }) {
    return parseTime(time ?? details.stopTime) ?? 0n;
}
function describePlan(component, plan) {
    const count = plan.segments.length;
    return `Recovering ${component} from the backup ${plan.manifest.id} to ${describeGoal(plan.goal)}, with up to ${count} WAL segment${count === 1 ? "" : "s"}`;
}
function describeReached(component, { lsn: position, timeline, lastCommitBefore }) {
    const last = lastCommitBefore === null ? "no transaction after the backup" : `last transaction ${lastCommitBefore}`;
    return `Recovered ${component} to ${position} on the new timeline ${timeline}: ${last}`;
}
/** A full disk is nobody's bug. */
function diskSentence(error, folder) {
    const code = (0,errors/* codeOf */.$N)(error);
    if (code !== "ENOSPC" && code !== "EDQUOT")
        return error;
    return new errors/* ToolError */.v4(`The disk at ${folder} is full: the recovery needs more space there.`, {
        cause: error,
    });
}

;// CONCATENATED MODULE: ./build/src/postgres/verify/subject.js
const MOST_OF_A_CODE = 50;
function collectFindings(component) {
    const found = [];
    const counts = new Map();
    const skipped = [];
    let errors = 0;
    function add(finding) {
        const count = (counts.get(finding.code) ?? 0) + 1;
        counts.set(finding.code, count);
        if (finding.severity === "error")
            errors += 1;
        if (count <= MOST_OF_A_CODE)
            found.push({ ...finding, component });
    }
    return {
        error: (code, subject, message, remedy) => add({ code, severity: "error", subject, message, remedy }),
        warn: (code, subject, message, remedy) => add({ code, severity: "warning", subject, message, remedy }),
        skip: (sentence) => void skipped.push(sentence),
        has: (code) => counts.has(code),
        errors: () => errors,
        all() {
            const more = [...counts].filter(([, count]) => count > MOST_OF_A_CODE);
            const rest = more.map(([code, count]) => {
                const like = found.findLast((finding) => finding.code === code);
                const message = `${count - MOST_OF_A_CODE} more findings of the code ${code} are not listed.`;
                const remedy = "Mend those that are listed, and verify again.";
                return { code, severity: like?.severity ?? "error", component, subject: component, message, remedy };
            });
            return [...found, ...rest];
        },
        skipped: () => skipped,
    };
}
/** Remedies that more than one finding has. */
const NEW_BACKUP = "Take a new backup, and find out what changed or removed the object.";

;// CONCATENATED MODULE: ./build/src/postgres/verify/backups.js








/** Without these no backup can be recovered. */
const NEEDED = ["base.tar", "backup_manifest"];
/** Compares manifests with what is listed: no part is read. */
async function inspectBackups(subject) {
    const { setting, context, findings } = subject;
    const { store, name } = setting;
    const sizes = new Map();
    const ids = [];
    const withParts = new Set();
    let bytes = 0;
    for await (const object of store.list((0,layout/* backupsPrefix */.Iv)(name), context.signal)) {
        sizes.set(object.key, object.bytes);
        bytes += object.bytes;
        const id = (0,layout/* manifestId */.Hx)(name, object.key);
        if (id !== undefined)
            ids.push(id);
        const part = (0,layout/* partOf */.BU)(name, object.key);
        if (part !== undefined)
            withParts.add(part);
    }
    const backups = [];
    for (const id of ids) {
        const backup = await inspectBackup(subject, id, sizes);
        if (backup !== undefined)
            backups.push(backup);
    }
    backups.sort((a, b) => Date.parse(a.manifest.startedAt) - Date.parse(b.manifest.startedAt));
    if (ids.length === 0) {
        const place = store.describe((0,layout/* backupsPrefix */.Iv)(name));
        findings.error("no-backup", place, `${name} has no backup${withParts.size === 0 ? "" : `, only ${withParts.size} without a manifest`}: nothing can be recovered.`, "Run the backup action.");
    }
    reportUnlisted(subject, ids, withParts);
    reportLost(subject, ids);
    if (ids.length > 0)
        await requireHeartbeat(subject);
    await inspectCluster(subject, backups);
    return { backups, objects: sizes.size, bytes };
}
/** Parts without a manifest that are older than the newest backup: a run that was broken off, or a manifest that is gone. */
function reportUnlisted({ setting, findings }, ids, parts) {
    const { store, name } = setting;
    const newest = ids.at(-1) ?? "";
    for (const id of parts) {
        if (ids.includes(id) || id > newest)
            continue;
        findings.warn("backup-incomplete", store.describe((0,layout/* manifestKey */.Rn)(name, id)), `The backup ${id} of ${name} has parts but no manifest, so it cannot be recovered: its run was broken off, or the manifest was removed.`, "Nothing needs to be done when a run was broken off then: the next run removes the parts.");
    }
}
/** A backup that a run finished, and that no retention removes because it is the newest. */
function reportLost({ setting, heartbeat, findings }, ids) {
    const { store, name } = setting;
    const id = heartbeat?.newestBackup;
    if (id == null || ids.includes(id))
        return;
    const subject = store.describe((0,layout/* manifestKey */.Rn)(name, id));
    findings.error("backup-incomplete", subject, `${subject} is missing: the newest backup ${id} of ${name} cannot be recovered.`, NEW_BACKUP);
}
/** Without it nobody can tell how far the archive went when its newest objects are gone. */
async function requireHeartbeat({ setting, context, heartbeat, findings }) {
    const { store, name } = setting;
    // The first run ever may have written it since.
    if (heartbeat !== undefined || (await store.stat((0,layout/* heartbeatKey */.Sf)(name), context.signal)))
        return;
    const subject = store.describe((0,layout/* heartbeatKey */.Sf)(name));
    findings.error("backup-incomplete", subject, `${subject} is missing, so nothing says up to where WAL was archived: a loss at its end would not be seen.`, "Run the backup action, which writes it anew, and find out what removed it.");
}
async function inspectBackup({ setting, context, findings }, id, sizes) {
    const { store, name } = setting;
    const subject = store.describe((0,layout/* manifestKey */.Rn)(name, id));
    let manifest;
    let details;
    try {
        manifest = await readManifest(store, name, id, context.signal);
        if (manifest.type !== "postgres" || manifest.method !== "physical")
            return undefined;
        details = readDetails(manifest, subject);
    }
    catch (error) {
        // Retention removed it since it was listed.
        if (error instanceof stores_store/* ObjectMissing */.GV)
            return undefined;
        if (!(error instanceof errors/* DefectError */.uR))
            throw error;
        findings.error("backup-corrupt", error.subject, error.message, NEW_BACKUP);
        return undefined;
    }
    let whole = true;
    for (const part of NEEDED) {
        if (manifest.objects.some((object) => object.name.startsWith(part)))
            continue;
        whole = false;
        const message = `The manifest of the backup ${id} of ${name} names no ${part}: it was altered.`;
        findings.error("backup-corrupt", subject, message, NEW_BACKUP);
    }
    for (const object of manifest.objects) {
        const key = (0,layout/* objectKey */.T5)(name, id, object.name);
        // A listing may be older than the object, so an absence is looked at again.
        const found = sizes.get(key) ?? (await store.stat(key, context.signal))?.bytes;
        if (found === object.storedBytes)
            continue;
        whole = false;
        const part = store.describe(key);
        if (found === undefined) {
            findings.error("backup-incomplete", part, `${part} is missing: the backup ${id} cannot be recovered.`, NEW_BACKUP);
        }
        else {
            const message = `${part} has ${found} bytes, but the backup recorded ${object.storedBytes}: it is damaged.`;
            findings.error("backup-corrupt", part, message, NEW_BACKUP);
        }
    }
    const storedBytes = manifest.objects.reduce((sum, object) => sum + object.storedBytes, 0);
    return { manifest, details, startLsn: lsn(details.startLsn), storedBytes, whole };
}
/** All backups must be of the one cluster that the place belongs to. */
async function inspectCluster({ setting, context, findings }, backups) {
    const { store, name } = setting;
    const subject = store.describe((0,layout/* clusterKey */.MX)(name));
    let owner;
    try {
        owner = await readClusterIdentity(store, name, context.signal);
    }
    catch (error) {
        if (!(error instanceof errors/* DefectError */.uR))
            throw error;
        findings.error("backup-corrupt", error.subject, error.message, "Remove the object: the next run writes it anew.");
        return;
    }
    if (owner === undefined) {
        if (backups.length === 0)
            return;
        findings.error("backup-incomplete", subject, `${subject} is missing, so nothing keeps another cluster from writing among these backups.`, "Run the backup action, which writes it anew, and find out what removed it.");
        return;
    }
    for (const { manifest, details } of backups) {
        if (details.systemIdentifier === owner)
            continue;
        findings.error("foreign-system", store.describe((0,layout/* manifestKey */.Rn)(name, manifest.id)), `The backup ${manifest.id} is of the cluster ${details.systemIdentifier}, but ${subject} says that ${owner} lies here.`, "Give the other cluster another component name or prefix, and move its objects there.");
    }
}

;// CONCATENATED MODULE: ./build/src/postgres/verify/reader.js




const OTHER_KEY = "Give the identity that the objects were sealed for, or take a new backup for the present recipients.";
/** Turns what is wrong with an object into a finding. An object that retention removed meanwhile is none. */
async function guarded({ context, findings }, subject, code, work, companion) {
    try {
        await work();
    }
    catch (error) {
        if (context.signal.aborted || error instanceof errors/* AbortedError */.oM)
            throw error;
        if (error instanceof stores_store/* ObjectMissing */.GV) {
            // Without its sidecar a segment does not count, which is a gap where it is needed.
            if (error.subject === companion)
                return;
            findings.error("not-verified", subject, `${subject} was listed, but is not there any more.`, "Verify again.");
        }
        else if (error instanceof DamagedArchive && error.kind === "wrong-key") {
            findings.error("key-mismatch", error.subject, error.message, OTHER_KEY);
        }
        else if (error instanceof errors/* DefectError */.uR) {
            findings.error(code, error.subject, error.message, NEW_BACKUP);
        }
        else {
            const message = `${subject} could not be read: ${(0,errors/* messageOf */.bD)(error)}`;
            findings.error("not-verified", subject, message, "Look at the store and the network, and verify again.");
        }
    }
}

;// CONCATENATED MODULE: ./build/src/postgres/verify/parts.js









/** Reads one part of a backup and compares it with what the manifest recorded. */
async function readPart(reader, backup, object) {
    const { setting, identity } = reader;
    const { store, name } = setting;
    const key = (0,layout/* objectKey */.T5)(name, backup.manifest.id, object.name);
    const subject = store.describe(key);
    if (object.sealed && identity === undefined)
        return;
    await guarded(reader, subject, "backup-corrupt", async () => {
        if (object.frameBytes === 0)
            await parts_readPlain(reader, key, object, subject);
        else
            await readPacked(reader, key, object, subject);
        reader.count(object.storedBytes);
    });
}
/** PostgreSQL's own list of files lies there as it is. */
async function parts_readPlain({ setting, context }, key, object, subject) {
    await readSettled(subject, async (tap) => {
        const bytes = await (0,stores_store/* readAll */.yw)(tap(await setting.store.get(key, { signal: context.signal })));
        if ((0,external_node_crypto_.createHash)("sha256").update(bytes).digest("hex") !== object.storedSha256) {
            throw new errors/* DefectError */.uR(subject, `${subject} was altered: its SHA-256 is not the one that the backup recorded.`);
        }
        if (object.name === "backup_manifest")
            parseDataManifest(bytes, subject);
    });
}
async function readPacked({ setting, context, identity }, key, object, subject) {
    const { store } = setting;
    const { sealed, frames, storedSha256, storedBytes } = object;
    const { signal } = context;
    const stored = getParallel(store, key, { bytes: storedBytes, signal });
    const reread = (offset, length) => getRange(store, key, { offset, length }, signal);
    let rawBytes = 0;
    const options = { subject, sealed, identity, frames, storedSha256, storedBytes, signal, reread };
    for await (const chunk of unpack(stored, options))
        rawBytes += chunk.length;
    if (rawBytes === object.rawBytes)
        return;
    throw new errors/* DefectError */.uR(subject, `${subject} holds ${rawBytes} bytes, but the backup recorded ${object.rawBytes}.`);
}

;// CONCATENATED MODULE: ./build/src/postgres/verify/share.js

/** Which objects are read today: each has its day, by its name, so that no run needs to remember another. */
function isChosen(share, name) {
    if (share === undefined)
        return true;
    return (0,external_node_crypto_.createHash)("sha256").update(name).digest().readUInt32BE(0) % share.of === share.part;
}

;// CONCATENATED MODULE: ./build/src/postgres/verify/segments.js













/** Segments are small: several are read at a time. */
const segments_PARALLEL = 4;
/** Reads all WAL, or today's share of it, and compares each segment with its sidecar, its name and its cluster. */
async function readWal(reader, newest) {
    const { setting, request, context } = reader;
    const { store, name } = setting;
    const segmentBytes = newest?.details.walSegmentBytes ?? 16 * 2 ** 20;
    const underWay = new Set();
    let failure;
    for await (const object of store.list((0,layout/* walPrefix */.t3)(name), context.signal)) {
        const wal = (0,layout/* parseWalKey */.zi)(name, object.key);
        if (wal?.kind !== "segment" && wal?.kind !== "partial")
            continue;
        if (!isChosen(request.share, object.key) || (wal.sealed && reader.identity === undefined))
            continue;
        const partial = wal.kind === "partial" ? { bytes: wal.bytes } : undefined;
        const segment = { name: wal.segment, sealed: wal.sealed, partial };
        while (underWay.size >= segments_PARALLEL)
            await Promise.race(underWay);
        if (failure !== undefined)
            break;
        const work = segments_readSegment(reader, object, segment, segmentBytes, newest)
            .catch((error) => {
            failure ??= { error };
        })
            .finally(() => underWay.delete(work));
        underWay.add(work);
    }
    await Promise.all(underWay);
    if (failure !== undefined)
        throw failure.error;
}
async function segments_readSegment(reader, object, { name: segment, sealed, partial }, segmentBytes, newest) {
    const { setting, context, identity, findings } = reader;
    const { store, name } = setting;
    const subject = store.describe(object.key);
    const named = partial === undefined ? { name: segment } : { name: segment, partial };
    await guarded(reader, subject, "wal-corrupt", async () => {
        const sidecar = await readSidecarOf(store, name, named, context.signal);
        const owner = newest?.details.systemIdentifier;
        if (owner !== undefined && sidecar.systemIdentifier !== owner) {
            const message = `${subject} is of the cluster ${sidecar.systemIdentifier}, but the newest backup of ${owner}.`;
            findings.error("foreign-system", subject, message, "Give the other cluster another component name or prefix.");
            return;
        }
        const { signal } = context;
        await readSettled(subject, async (tap) => {
            const stored = tap(await store.get(object.key, { signal }));
            const raw = await (0,stores_store/* readAll */.yw)(unpack(stored, { subject, sealed, identity, storedBytes: object.bytes, signal }));
            const problem = compareSegment(raw, sidecar, segment, segmentBytes, partial?.bytes ?? segmentBytes);
            release(raw);
            if (problem !== undefined)
                throw new errors/* DefectError */.uR(subject, `${subject} ${problem}`);
        });
        reader.count(object.bytes);
    }, store.describe(sidecarKeyOf(name, named)));
}
/** What of a segment's content is not what its name and its sidecar say; ends the sentence that begins with the object. */
function compareSegment(raw, sidecar, name, segmentBytes, bytes) {
    if (raw.length !== bytes)
        return `holds ${raw.length} bytes of WAL, but should have ${bytes}: it is damaged.`;
    if ((0,external_node_crypto_.createHash)("sha256").update(raw).digest("hex") !== sidecar.sha256) {
        return "was altered: its SHA-256 is not the one recorded when the segment was archived.";
    }
    if (sidecar.bytes !== bytes) {
        return `has ${bytes} bytes, but its sidecar says ${sidecar.bytes}: the sidecar was altered.`;
    }
    const header = readSegmentHeader(raw);
    const start = segmentStart(parseSegmentName(name, segmentBytes)?.number ?? 0, segmentBytes);
    if (header?.pageAddress !== start || header.systemIdentifier !== sidecar.systemIdentifier) {
        return "holds other WAL than its name says: it was copied or renamed.";
    }
    const { restorePoints = [], restorePoint } = sidecar;
    for (const point of restorePoint === undefined ? restorePoints : [...restorePoints, restorePoint]) {
        if (holdsPoint(raw, point))
            continue;
        return `does not hold the restore point ${point.name} at ${point.lsn}, which its sidecar names: the sidecar was altered.`;
    }
    return undefined;
}

;// CONCATENATED MODULE: ./build/src/postgres/verify/checksums.js





/** Reads the parts of the backups and all WAL, or today's share of them, and compares every byte with what was recorded. */
async function readEverything(subject, backups, heldBytes) {
    const { context, request, findings } = subject;
    let objects = 0;
    let bytes = 0;
    const expected = request.share === undefined ? heldBytes : heldBytes / request.share.of;
    const progress = startProgress(context, `Reading the objects of ${subject.setting.name}`, expected);
    const reader = {
        ...subject,
        identity: checksums_identityOf(subject),
        count(more) {
            objects += 1;
            bytes += more;
            progress.add(more);
        },
    };
    const sound = new Set();
    for (const backup of backups) {
        if (!backup.whole)
            continue;
        const before = findings.errors();
        let all = true;
        for (const object of backup.manifest.objects) {
            const chosen = isChosen(request.share, `${backup.manifest.id}/${object.name}`);
            if (chosen)
                await readPart(reader, backup, object);
            all &&= chosen;
        }
        if (all && findings.errors() === before)
            sound.add(backup.manifest.id);
    }
    await readWal(reader, backups.at(-1));
    progress.done();
    return { objects, bytes, sound };
}
/** Undefined: no variable is set for it, or it is unusable. What is sealed cannot be read then. */
function checksums_identityOf({ setting, findings }) {
    if (setting.encryption.recipients.length === 0)
        return undefined;
    const how = "Set the variable of encryption.identity for this step.";
    try {
        const identity = setting.encryption.identity();
        if (identity !== undefined)
            return identity;
        findings.error("not-verified", setting.name, `The store of ${setting.name} has no identity, so no sealed object could be read.`, how);
    }
    catch (error) {
        if (!(error instanceof errors/* UserError */.yo))
            throw error;
        const message = `No sealed object of ${setting.name} could be read: ${(0,errors/* messageOf */.bD)(error)}`;
        findings.error("not-verified", setting.name, message, how);
    }
    return undefined;
}

;// CONCATENATED MODULE: ./build/src/postgres/verify/freshness.js



/** A newest backup below this part of the median of those before it is an error, one above this multiple a warning. */
const SMALL_PART = 0.5;
const LARGE_MULTIPLE = 3;
/** So many backups before the newest make the median; with fewer than the second number there is none. */
const MEDIAN_OF = 7;
const MEDIAN_FROM = 2;
/** Differences below this are noise of small databases. */
const NOISE_BYTES = 2 ** 20;
/** An expired backup may stay so long: prune runs with the next full backup. */
const RETENTION_GRACE_SECONDS = 3 * 86_400;
/** Compares the ages of what there is with the runbook. Returns the seconds of data that would be lost now. */
function inspectFreshness({ setting, request, findings }, backups, point) {
    const { store, name, config } = setting;
    const now = request.now.getTime();
    const newest = backups.at(-1);
    const age = newest === undefined ? undefined : (now - Date.parse(newest.manifest.finishedAt)) / 1000;
    const most = config.freshness.backup;
    if (most !== undefined && newest !== undefined && age !== undefined && age > most) {
        findings.error("backup-stale", store.describe((0,layout/* manifestKey */.Rn)(name, newest.manifest.id)), `The newest backup of ${name} is ${(0,values/* formatDuration */.a3)(age)} old; the runbook wants one not older than ${(0,values/* formatDuration */.a3)(most)}.`, "Look why the backup action did not run or failed, and run it.");
    }
    const micros = point === undefined ? undefined : parseTime(point.time);
    if (micros === undefined)
        return null;
    const loss = Math.max(0, now / 1000 - Number(micros) / 1e6);
    const limits = [
        { seconds: config.freshness.wal, what: "its freshness.wal is" },
        { seconds: request.rpoSeconds ?? undefined, what: "its RPO is" },
    ];
    for (const { seconds, what } of limits) {
        if (seconds === undefined || loss <= seconds)
            continue;
        findings.error("wal-stale", store.describe((0,layout/* heartbeatKey */.Sf)(name)), `${name} can be recovered up to ${point?.time}, ${(0,values/* formatDuration */.a3)(loss)} ago; ${what} ${(0,values/* formatDuration */.a3)(seconds)}.`, "Look why the backup action with kind: wal did not run or failed, and run it.");
        break;
    }
    return loss;
}
/**
 * The size rule: the newest backup, as stored, against the median of up to seven before it. Less than half is an error,
 * more than three times as much a warning; differences below 1 MiB do not count.
 */
function inspectSizes({ setting, findings }, backups) {
    const newest = backups.at(-1);
    const before = backups
        .slice(0, -1)
        .slice(-MEDIAN_OF)
        .map((backup) => backup.storedBytes);
    if (newest === undefined || before.length < MEDIAN_FROM)
        return;
    const median = medianOf(before);
    const size = newest.storedBytes;
    if (Math.abs(size - median) < NOISE_BYTES)
        return;
    const { store, name } = setting;
    const subject = store.describe((0,layout/* manifestKey */.Rn)(name, newest.manifest.id));
    const sentence = `The newest backup of ${name} has ${(0,values/* formatBytes */.z3)(size)}, those before it ${(0,values/* formatBytes */.z3)(median)} (median of ${before.length})`;
    if (size < median * SMALL_PART) {
        const remedy = "Look whether data is gone from the source; if it was removed on purpose, this ends with the next backups.";
        findings.error("size-anomaly", subject, `${sentence}: less than half.`, remedy);
    }
    else if (size > median * LARGE_MULTIPLE) {
        const remedy = "Look what has grown, and whether disk and RTO still suffice.";
        findings.warn("size-anomaly", subject, `${sentence}: more than three times as much.`, remedy);
    }
}
function medianOf(values) {
    const sorted = values.toSorted((a, b) => a - b);
    const middle = Math.floor(sorted.length / 2);
    const upper = sorted[middle] ?? 0;
    return sorted.length % 2 === 1 ? upper : (upper + (sorted[middle - 1] ?? 0)) / 2;
}
/** Backups that retention should have removed some days ago. */
function inspectRetention({ setting, request, findings }, backups) {
    const { store, name, config } = setting;
    if (config.retention === undefined)
        return;
    const { keep, minimum } = config.retention;
    const limit = request.now.getTime() - (keep + RETENTION_GRACE_SECONDS) * 1000;
    const surplus = backups.slice(0, Math.max(0, backups.length - minimum));
    const overdue = surplus.filter(({ manifest }) => Date.parse(manifest.finishedAt) < limit);
    const oldest = overdue[0];
    if (oldest === undefined)
        return;
    findings.warn("retention-overdue", store.describe((0,layout/* backupsPrefix */.Iv)(name)), `${overdue.length} backup${overdue.length === 1 ? "" : "s"} of ${name} should have been removed after ${(0,values/* formatDuration */.a3)(keep)}; the oldest is ${oldest.manifest.id}.`, "Run the backup action with prune: true and see its log: retention waits for a newer backup to be verified or drilled.");
}

;// CONCATENATED MODULE: ./build/src/postgres/verify/key.js






/** More than any age header has. */
const HEADER_BYTES = 64 * 1024;
/** Tries the identity on the header of one part of the newest backup: nothing else of it is read. */
async function inspectKey({ setting, context, findings }, newest) {
    const { store, name, encryption } = setting;
    const object = newest.manifest.objects.find((one) => one.sealed);
    if (object === undefined)
        return;
    let identity;
    try {
        identity = encryption.identity();
    }
    catch (error) {
        if (!(error instanceof errors/* UserError */.yo))
            throw error;
    }
    if (identity === undefined) {
        findings.skip(`Whether the identity opens the backups of ${name}: none is given.`);
        return;
    }
    const key = (0,layout/* objectKey */.T5)(name, newest.manifest.id, object.name);
    const subject = store.describe(key);
    try {
        const range = { offset: 0, length: Math.min(HEADER_BYTES, object.storedBytes) };
        const start = await (0,stores_store/* readAll */.yw)(await store.get(key, { signal: context.signal, range }));
        const header = findHeader(start, subject);
        // Nothing seals with so long a header, and one that is cut short is a part of the wrong size.
        if (header !== undefined)
            await openHeader(start.subarray(0, header), identity, subject);
    }
    catch (error) {
        // That it is missing is another finding.
        if (error instanceof stores_store/* ObjectMissing */.GV)
            return;
        if (error instanceof DamagedArchive && error.kind === "wrong-key") {
            const remedy = "Give the identity that the backups were sealed for: without it nothing can be recovered.";
            findings.error("key-mismatch", subject, error.message, remedy);
        }
        else if (error instanceof errors/* DefectError */.uR) {
            findings.error("backup-corrupt", subject, error.message, NEW_BACKUP);
        }
        else
            throw error;
    }
}

;// CONCATENATED MODULE: ./build/src/postgres/verify/restore.js




/** Recovers the newest backup to the newest point and looks through it; the id of a backup that came back whole. */
async function tryRestore(subject) {
    const { setting, request, context, findings } = subject;
    try {
        const wanted = { target: { kind: "latest" }, backupId: undefined, now: request.now };
        const recovered = await recoverPostgres(setting, wanted, context);
        try {
            const results = [...(await recovered.check()), ...((await recovered.inspect?.()) ?? [])];
            const before = findings.errors();
            for (const result of results)
                reportCheck(subject, recovered.backupId, result);
            return findings.errors() === before ? recovered.backupId : undefined;
        }
        finally {
            await recovered.dispose();
        }
    }
    catch (error) {
        if (context.signal.aborted || error instanceof errors/* AbortedError */.oM)
            throw error;
        if (error instanceof errors/* DefectError */.uR) {
            const isWal = error.subject.includes((0,layout/* walPrefix */.t3)(setting.name));
            findings.error(isWal ? "wal-corrupt" : "backup-corrupt", error.subject, error.message, NEW_BACKUP);
        }
        else {
            const message = `${setting.name} could not be recovered on trial: ${(0,errors/* messageOf */.bD)(error)}`;
            findings.error("not-verified", setting.name, message, "Mend what the message says, and verify again.");
        }
        return undefined;
    }
}
function reportCheck({ findings }, backupId, { check, status, expected, actual }) {
    if (status === "passed")
        return;
    if (status === "failed") {
        const message = `${check}: expected ${expected}, found ${actual} in what the backup ${backupId} recovers.`;
        findings.error("backup-corrupt", backupId, message, "Look at the source first: what is wrong there comes back wrong.");
    }
    else {
        const message = `${check} could not run: ${actual}`;
        findings.error("not-verified", backupId, message, "Mend what the message says, and verify again.");
    }
}

;// CONCATENATED MODULE: ./build/src/postgres/verify/slot.js





/** Asks the source how its slot stands, when the connection's variable is set: a verification does without the source. */
async function inspectSlot({ setting, context, findings }) {
    const { config, name } = setting;
    if (!("slot" in config.wal))
        return;
    const { slot } = config.wal;
    let uri;
    try {
        uri = setting.fill(["connection"], config.connection);
    }
    catch (error) {
        if (!(error instanceof errors/* UserError */.yo))
            throw error;
        findings.skip(`The replication slot of ${name}: the variable of its connection is not set.`);
        return;
    }
    try {
        const sql = await connect(parseUri(uri, context.env), "sql", context);
        const state = await readSlot(sql, slot).finally(() => sql.close());
        if (state === undefined) {
            const message = `The source of ${name} has no replication slot "${slot}": it removes WAL that is not archived yet.`;
            findings.error("slot-at-risk", slot, message, "Run the backup action, which makes it; take a full backup when WAL is gone.");
            return;
        }
        for (const { severity, message, remedy } of judgeSlot(state.report)) {
            if (severity === "error")
                findings.error("slot-at-risk", slot, message, remedy);
            else if (severity === "warning")
                findings.warn("slot-at-risk", slot, message, remedy);
            else
                findings.skip(message);
        }
    }
    catch (error) {
        if (context.signal.aborted || error instanceof errors/* AbortedError */.oM)
            throw error;
        const message = `The replication slot "${slot}" of ${name} could not be looked at: ${(0,errors/* messageOf */.bD)(error)}`;
        findings.warn("not-verified", slot, message, "Look whether the source runs and the connection is right.");
    }
}

;// CONCATENATED MODULE: ./build/src/catalog/wal-runs.js





const MOST_HALVES = 10_000;
/** Lists the WAL once, in the order of keys. `segmentBytes` is the cluster's segment size. */
async function listRuns(store, component, segmentBytes, signal) {
    const runs = [];
    const histories = new Map();
    const brokenHistories = [];
    const partials = new Map();
    const halves = new Map();
    let objects = 0;
    let storedBytes = 0;
    let pieces;
    function close() {
        if (pieces === undefined)
            return;
        const { name, packed, sidecar, packedParts, sidecarParts } = pieces;
        const parsed = parseSegmentName(name, segmentBytes);
        pieces = undefined;
        if (parsed === undefined)
            return;
        if (packed && sidecar) {
            const last = runs.at(-1);
            if (last?.timeline === parsed.timeline && last.last === parsed.number - 1) {
                runs[runs.length - 1] = { ...last, last: parsed.number };
            }
            else
                runs.push({ timeline: parsed.timeline, first: parsed.number, last: parsed.number });
            return;
        }
        if (packed !== sidecar && halves.size < MOST_HALVES)
            halves.set(name, packed ? "segment" : "sidecar");
        const longest = Math.max(-1, ...[...packedParts].filter((bytes) => sidecarParts.has(bytes)));
        if (longest >= 0)
            partials.set(name, { bytes: longest });
    }
    function take(name, object) {
        objects += 1;
        storedBytes += object.bytes;
        if (pieces?.name !== name.segment) {
            close();
            const none = {
                packed: false,
                sidecar: false,
                packedParts: new Set(),
                sidecarParts: new Set(),
            };
            pieces = { name: name.segment, ...none };
        }
        if (name.kind === "segment")
            pieces.packed = true;
        else if (name.kind === "sidecar")
            pieces.sidecar = true;
        else if (name.kind === "partial")
            pieces.packedParts.add(name.bytes);
        else
            pieces.sidecarParts.add(name.bytes);
    }
    for await (const object of store.list((0,layout/* walPrefix */.t3)(component), signal)) {
        const name = (0,layout/* parseWalKey */.zi)(component, object.key);
        if (name === undefined)
            continue;
        if (name.kind !== "history") {
            take(name, object);
            continue;
        }
        try {
            histories.set(name.timeline, await readHistory(store, component, name.timeline, signal));
        }
        catch (error) {
            if (!(error instanceof errors/* DefectError */.uR))
                throw error;
            brokenHistories.push(error);
        }
    }
    close();
    return { segmentBytes, runs, histories, brokenHistories, partials, halves, objects, storedBytes };
}
/** Follows the chain from the segment that holds `position` on `timeline`, to the end of the timeline `target`. */
function followRuns(inventory, position, timeline, target) {
    const { segmentBytes, runs, histories, partials } = inventory;
    const path = histories.get(target) ?? rootTimeline(target);
    let number = segmentAt(position, segmentBytes);
    for (;;) {
        const on = timelineAt(path, number, segmentBytes, timeline);
        const run = runs.find((one) => one.timeline === on && one.first <= number && number <= one.last);
        if (run === undefined)
            break;
        // A run may go on beyond where the timeline was left.
        let last = run.last;
        if (on !== target) {
            const left = path.ancestors.find((ancestor) => ancestor.timeline === on)?.end ?? 0n;
            last = Math.min(last, segmentAt(left, segmentBytes) - 1);
        }
        number = Math.max(last, number) + 1;
    }
    const missing = segmentName(timelineAt(path, number, segmentBytes, timeline), number, segmentBytes);
    const part = timelineAt(path, number, segmentBytes, timeline) === target ? partials.get(missing) : undefined;
    const partial = part && { segment: missing, bytes: part.bytes };
    return { last: number - 1, missing, partial, path, from: timeline };
}
/** On which timeline a segment of the path lies; never before the timeline `from`. */
function timelineAt(path, number, segmentBytes, from) {
    return Math.max(timelineOfSegment(path, number, segmentBytes), from);
}
/** The youngest timeline with WAL that can be reached from a position. */
function youngestFrom(inventory, position, timeline) {
    const held = heldTimelines(inventory);
    const reachable = [...inventory.histories.values()]
        .filter((path) => held.has(path.timeline) && isOnPath(path, timeline, position))
        .map((path) => path.timeline);
    return Math.max(timeline, ...reachable);
}
/** Every timeline of which there is WAL. */
function heldTimelines({ runs, partials }) {
    const ofPartials = [...partials.keys()].map((name) => Number.parseInt(name.slice(0, 8), 16));
    return new Set([...runs.map((run) => run.timeline), ...ofPartials]);
}

;// CONCATENATED MODULE: ./build/src/postgres/verify/wal.js









/** So many segments before the end of the chain are looked through for a point. */
const MOST_LOOKED_AT = 2_000;
/** Follows the chain of each backup through the listing of the WAL. */
async function inspectWal(subject, backups) {
    const { setting, context, findings } = subject;
    const { store, name } = setting;
    const segmentBytes = backups.at(-1)?.details.walSegmentBytes ?? 16 * 2 ** 20;
    const inventory = await listRuns(store, name, segmentBytes, context.signal);
    for (const broken of inventory.brokenHistories) {
        findings.error("wal-corrupt", broken.subject, broken.message, NEW_BACKUP);
    }
    reportForks(subject, inventory, backups);
    const followed = backups
        .filter((backup) => backup.details.walSegmentBytes === segmentBytes)
        .map((backup) => wal_follow(subject, inventory, backup));
    await reportGaps(subject, inventory, followed);
    for (const one of followed)
        await inspectOwnPoint(subject, one.backup);
    const usable = followed.filter((one) => one.consistent && one.backup.whole);
    const point = await findPoint(subject, inventory, usable.at(-1));
    const oldest = usable.find((one) => point !== undefined && wal_reaches(one, point, usable.at(-1), segmentBytes));
    return { inventory, point, oldest: oldest?.backup };
}
function wal_follow({ heartbeat }, inventory, backup) {
    const { segmentBytes } = inventory;
    const { details, startLsn } = backup;
    const timeline = youngestFrom(inventory, startLsn, details.timeline);
    const reached = followRuns(inventory, startLsn, details.timeline, timeline);
    const end = wal_endOf(reached, segmentBytes);
    return {
        ...{ backup, timeline, reached },
        consistent: end >= endOfNeededWal(details),
        gap: hasMore(inventory, reached, timeline, end) || promised(heartbeat, timeline, segmentBytes) > end,
    };
}
function wal_endOf({ last, partial }, segmentBytes) {
    return segmentStart(last + 1, segmentBytes) + BigInt(partial?.bytes ?? 0);
}
/** Whether there is WAL of the timeline behind the end of the chain. */
function hasMore({ runs, partials, segmentBytes }, { last }, timeline, end) {
    if (runs.some((run) => run.timeline === timeline && run.last > last))
        return true;
    return [...partials.keys()].some((name) => {
        const parsed = parseSegmentName(name, segmentBytes);
        return parsed?.timeline === timeline && segmentStart(parsed.number, segmentBytes) > end;
    });
}
/** Up to where the last run says that WAL of the timeline lies in the store. */
function promised(heartbeat, timeline, segmentBytes) {
    const whole = heartbeat?.lastSegment == null ? undefined : parseSegmentName(heartbeat.lastSegment, segmentBytes);
    const partial = heartbeat?.partial == null ? undefined : parseSegmentName(heartbeat.partial.segment, segmentBytes);
    if (partial?.timeline === timeline) {
        return segmentStart(partial.number, segmentBytes) + BigInt(heartbeat?.partial?.bytes ?? 0);
    }
    return whole?.timeline === timeline ? segmentStart(whole.number + 1, segmentBytes) : 0n;
}
/**
 * One finding for each place where the chain breaks. A break behind which a newer backup began a new chain, as it then
 * said, is known: moments in it cannot be recovered, and nothing can be done about it.
 */
async function reportGaps(subject, inventory, followed) {
    const { setting, findings } = subject;
    const { store, name } = setting;
    const { segmentBytes, halves } = inventory;
    const places = new Map();
    for (const one of followed) {
        if (one.consistent && !one.gap)
            continue;
        places.set(one.reached.missing, [...(places.get(one.reached.missing) ?? []), one]);
    }
    for (const [missing, affected] of places) {
        const half = halves.get(missing);
        const sealed = setting.encryption.recipients.length > 0;
        const key = half === "segment" ? (0,layout/* sidecarKey */.J3)(name, missing) : (0,layout/* segmentKey */.zT)(name, missing, sealed);
        const number = parseSegmentName(missing, segmentBytes)?.number ?? 0;
        const known = followed.some(({ backup: { details } }) => (details.newChain ?? -1) > number);
        const unusable = affected.filter((one) => !one.consistent).map((one) => one.backup.manifest.id);
        const object = store.describe(key);
        if (await isThere(subject, missing)) {
            const message = `${object} is there, but the store's list does not show it: WAL behind it was not looked at.`;
            findings.warn("not-verified", object, message, "Verify again when the list has caught up.");
        }
        else if (unusable.length > 0) {
            findings.error("wal-gap", object, `${object} is missing, so the ${unusable.length === 1 ? "backup" : "backups"} ${unusable.join(", ")} of ${name} cannot be recovered at all.`, NEW_BACKUP);
        }
        else if (known) {
            const message = `The WAL of ${name} has a gap from ${missing} on, which a later backup noted when it began a new chain: no moment in it can be recovered.`;
            findings.warn("wal-gap", object, message, "Nothing can be done: retention removes it with its backups.");
        }
        else {
            const message = `${object} is missing: behind it nothing can be recovered from the backup ${affected.at(-1)?.backup.manifest.id} of ${name} or an older one.`;
            findings.error("wal-gap", object, message, NEW_BACKUP);
        }
    }
}
/** Whether a whole segment is in the store although the list does not show it: some stores list what is new only later. */
async function isThere({ setting, context }, segment) {
    const { store, name } = setting;
    if ((await store.stat((0,layout/* sidecarKey */.J3)(name, segment), context.signal)) === undefined)
        return false;
    for (const sealed of [true, false]) {
        if ((await store.stat((0,layout/* segmentKey */.zT)(name, segment, sealed), context.signal)) !== undefined)
            return true;
    }
    return false;
}
/** Timelines that cannot be told apart, or that both go on. */
function reportForks(subject, inventory, backups) {
    const { setting, findings } = subject;
    const { store, name } = setting;
    const { histories, runs, segmentBytes } = inventory;
    const held = heldTimelines(inventory);
    const first = Math.min(...backups.map(({ details }) => details.timeline), ...held);
    for (const timeline of held) {
        if (timeline === first || histories.has(timeline))
            continue;
        const object = store.describe((0,layout/* historyKey */.Ox)(name, timeline));
        findings.error("timeline-fork", object, `${object} is missing, although there is WAL of timeline ${timeline}: nobody can tell where it belongs.`, "Run the backup action, which stores the server's history file again; else take a full backup.");
    }
    for (const path of histories.values()) {
        const left = path.ancestors.at(-1);
        if (left === undefined)
            continue;
        const beyond = runs.some((run) => run.timeline === left.timeline && run.last > segmentAt(left.end, segmentBytes));
        const younger = backups.some((backup) => backup.details.timeline === left.timeline && backup.startLsn > left.end);
        if (!beyond && !younger)
            continue;
        const object = store.describe((0,layout/* historyKey */.Ox)(name, path.timeline));
        const message = `Timeline ${left.timeline} of ${name} goes on behind ${formatLsn(left.end)}, where timeline ${path.timeline} left it: two servers have written ${younger ? "backups" : "WAL"} after a promotion.`;
        const remedy = `Stop the server that was not promoted; ?timeline=${left.timeline} still reaches its WAL.`;
        if (younger)
            findings.error("timeline-fork", object, message, remedy);
        else
            findings.warn("timeline-fork", object, message, remedy);
    }
}
/** The point that a backup's own run ended in must be in the segment that it says. */
async function inspectOwnPoint({ setting, context, findings }, backup) {
    const { store, name } = setting;
    const { restorePoint: point, timeline, walSegmentBytes } = backup.details;
    if (point === null)
        return;
    const number = segmentBefore(lsn(point.lsn), walSegmentBytes);
    const segment = segmentName(timeline, number, walSegmentBytes);
    try {
        const { restorePoints = [] } = await readSidecarOf(store, name, { name: segment }, context.signal);
        if (restorePoints.some((one) => one.name === point.name && one.lsn === point.lsn))
            return;
        const subject = store.describe((0,layout/* manifestKey */.Rn)(name, backup.manifest.id));
        const message = `${subject} says that the restore point ${point.name} is at ${point.lsn}, but ${store.describe((0,layout/* sidecarKey */.J3)(name, segment))} does not: one of them was altered.`;
        findings.error("backup-corrupt", subject, message, NEW_BACKUP);
    }
    catch (error) {
        // That it is missing is a gap.
        if (error instanceof stores_store/* ObjectMissing */.GV)
            return;
        if (!(error instanceof errors/* DefectError */.uR))
            throw error;
        findings.error("wal-corrupt", error.subject, error.message, NEW_BACKUP);
    }
}
/** The segments are all there, but none says any more where the last run ended. */
function reportLostPoint({ setting, heartbeat, findings }, point, timeline, segmentBytes) {
    const until = heartbeat?.recoverableUntil ?? undefined;
    const last = heartbeat?.lastSegment ?? undefined;
    if (until === undefined || last === undefined || findings.has("wal-gap"))
        return;
    if (parseSegmentName(last, segmentBytes)?.timeline !== timeline)
        return;
    if ((parseTime(point.time) ?? 0n) >= (parseTime(until) ?? 0n))
        return;
    const { store, name } = setting;
    findings.error("wal-corrupt", store.describe((0,layout/* sidecarKey */.J3)(name, last)), `The last run of ${name} said that it can be recovered up to ${until}, but the newest restore point that a sidecar names is of ${point.time}: a sidecar was altered.`, NEW_BACKUP);
}
async function findPoint(subject, inventory, newest) {
    const { setting, context, findings } = subject;
    if (newest === undefined)
        return undefined;
    const { store, name } = setting;
    const { backup, reached } = newest;
    const first = segmentAt(backup.startLsn, inventory.segmentBytes);
    const from = Math.max(first, reached.last - MOST_LOOKED_AT);
    const segments = [];
    for (let number = from; number <= reached.last; number += 1) {
        const timeline = timelineAt(reached.path, number, inventory.segmentBytes, reached.from);
        segments.push({ name: segmentName(timeline, number, inventory.segmentBytes) });
    }
    const { partial } = reached;
    if (partial !== undefined)
        segments.push({ name: partial.segment, partial: { bytes: partial.bytes } });
    try {
        const found = await newestRestorePoint(store, name, segments, context.signal);
        if (found !== undefined && lsn(found.point.lsn) > lsn(backup.details.stopLsn)) {
            reportLostPoint(subject, found.point, newest.timeline, inventory.segmentBytes);
            return found.point;
        }
    }
    catch (error) {
        if (!(error instanceof errors/* DefectError */.uR || error instanceof stores_store/* ObjectMissing */.GV))
            throw error;
        findings.error("wal-corrupt", error.subject, error.message, NEW_BACKUP);
        return undefined;
    }
    findings.error("wal-stale", store.describe((0,layout/* manifestKey */.Rn)(name, backup.manifest.id)), `The WAL behind the newest backup of ${name} ends in no restore point, so no moment can be proven to be reached.`, "Grant the backup's role pg_create_restore_point and pg_switch_wal, and run the backup action with kind: wal.");
    return undefined;
}
/** Whether a backup's chain leads to the end of the newest one's. */
function wal_reaches(one, point, newest, segmentBytes) {
    return one.timeline === newest?.timeline && wal_endOf(one.reached, segmentBytes) >= lsn(point.lsn);
}

;// CONCATENATED MODULE: ./build/src/postgres/verify/verify.js










const verify_NOTHING = { objects: 0, bytes: 0 };
/**
 * Looks whether a cluster's backups and WAL can be trusted. What is wrong is a finding, also a store that does not answer
 * (`not-verified`); throws only when it was stopped.
 */
async function verifyPostgres(setting, request, context) {
    const findings = collectFindings(setting.name);
    try {
        return await verifyAll(setting, request, context, findings);
    }
    catch (error) {
        if (context.signal.aborted || error instanceof errors/* AbortedError */.oM)
            throw new errors/* AbortedError */.oM();
        if (error instanceof errors/* DefectError */.uR)
            findings.error("backup-corrupt", error.subject, error.message, "Remove the object: the next run writes it anew.");
        else {
            const message = `${setting.name} could not be verified: ${(0,errors/* messageOf */.bD)(error)}`;
            findings.error("not-verified", setting.name, message, "Mend what the message says, and verify again.");
        }
        return {
            findings: findings.all(),
            ...{ window: null, rpoSeconds: null, backups: 0, newestBackup: null, heartbeat: null },
            ...{ held: verify_NOTHING, read: verify_NOTHING, verified: [], unchecked: findings.skipped() },
        };
    }
}
async function verifyAll(setting, request, context, findings) {
    // Before anything is listed: what it names must be there, also while a run goes on.
    const heartbeat = await readHeartbeat(setting.store, setting.name, context.signal).catch((error) => {
        if (!(error instanceof errors/* DefectError */.uR))
            throw error;
        const remedy = "Run the backup action, which writes it anew, and find out what changed it.";
        findings.error("backup-corrupt", error.subject, error.message, remedy);
        return undefined;
    });
    const subject = { setting, request, context, findings, heartbeat };
    const { backups, objects, bytes } = await inspectBackups(subject);
    const { inventory, point, oldest } = await inspectWal(subject, backups);
    const rpoSeconds = inspectFreshness(subject, backups, point);
    inspectSizes(subject, backups);
    inspectRetention(subject, backups);
    const newest = backups.at(-1);
    if (newest !== undefined)
        await inspectKey(subject, newest);
    await inspectSlot(subject);
    const held = { objects: objects + inventory.objects, bytes: bytes + inventory.storedBytes };
    const { read, verified } = await lookDeeper(subject, backups, held.bytes);
    return {
        findings: findings.all(),
        window: point === undefined || oldest === undefined ? null : { from: oldest.details.stopTime, to: point.time },
        rpoSeconds,
        backups: backups.length,
        newestBackup: newest?.manifest.id ?? null,
        heartbeat: heartbeat?.finishedAt ?? null,
        held,
        read,
        verified,
        unchecked: findings.skipped(),
    };
}
async function lookDeeper(subject, backups, heldBytes) {
    const { request, findings } = subject;
    if (request.depth === "inventory")
        return { read: verify_NOTHING, verified: [] };
    if (request.depth === "restore") {
        const id = await tryRestore(subject);
        return { read: verify_NOTHING, verified: id === undefined ? [] : [id] };
    }
    const { sound, ...read } = await readEverything(subject, backups, heldBytes);
    // A backup whose WAL is gone or altered is none.
    const walIsSound = !findings.has("wal-gap") && !findings.has("wal-corrupt") && !findings.has("not-verified");
    return { read, verified: walIsSound ? [...sound] : [] };
}

;// CONCATENATED MODULE: ./build/src/postgres/component.js




/** A PostgreSQL cluster, backed up physically. */
const postgresComponent = {
    backup: backupPostgres,
    prune: prunePostgres,
    verify: verifyPostgres,
    recover: recoverPostgres,
};


/***/ })

};
