/**
 * Breaks healthy backups in every way we can think of and demands that somebody notices: `verify` or a drill, with the
 * right code. Exits with 0 only if every breakage is caught and no healthy store is blamed.
 */
import { ABSENT } from "./sabotage/breakages/absent.ts";
import { CONTENT } from "./sabotage/breakages/content.ts";
import { DAMAGED } from "./sabotage/breakages/damaged.ts";
import { EDITED } from "./sabotage/breakages/edited.ts";
import { FOREIGN } from "./sabotage/breakages/foreign.ts";
import { MIXED_UP } from "./sabotage/breakages/mixed-up.ts";
import { OVERDUE } from "./sabotage/breakages/overdue.ts";
import { scriptContext } from "./sabotage/context.ts";
import { makeHealthyStore } from "./sabotage/healthy-store.ts";
import { sabotage, standsUp } from "./sabotage/run.ts";
import { openSubject } from "./sabotage/subject.ts";
import { header, lineOf, scoreOf } from "./sabotage/table.ts";

const all = [...ABSENT, ...DAMAGED, ...MIXED_UP, ...FOREIGN, ...EDITED, ...OVERDUE, ...CONTENT];
const controller = new AbortController();
await using context = await scriptContext(process.env, controller.signal);
const t = performance.now();
await using store = await makeHealthyStore(context);
console.log("store", performance.now() - t);
await using opened = await openSubject(store.place.runbookFile, "db", store.place.context);
console.log(header());
const healthy = await standsUp(opened.subject, { name: "the store itself", sentence: "Nothing" });
console.log(lineOf(healthy));
const results = await sabotage(opened.subject, all, (result) => console.log(lineOf(result)));
console.log(scoreOf([healthy, ...results]));
