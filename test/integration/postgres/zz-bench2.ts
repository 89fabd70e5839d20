
import { openStore } from "../../../src/stores/open.ts";
import { recoverPostgres } from "../../../src/postgres/recover.ts";
import { settingOf } from "./taking.ts";
import { roomContext, ask } from "./recovering.ts";
const context = await roomContext();
const store = await openStore({ type: "file", path: "/tmp/rbench/store" }, "local", context);
const setting = settingOf(store, { url: "", config: { server: { "bin-dir": "/work/main/node_modules/pg18-linux-x64/native/bin" } } });
let peak = 0;
const timer = setInterval(() => { peak = Math.max(peak, process.memoryUsage().rss); }, 50);
const t = performance.now();
const c0 = process.cpuUsage();
const r = await recoverPostgres(setting, { target: { kind: process.argv[2] ?? "latest" } as never, backupId: undefined, now: new Date() }, context);
const c = process.cpuUsage(c0);
console.log("recover", (performance.now() - t) / 1000, JSON.stringify(r.phases), "peak", peak / 2 ** 20, "cpu", c.user / 1e6, c.system / 1e6);
await r.dispose();
clearInterval(timer);
await context[Symbol.asyncDispose]();
