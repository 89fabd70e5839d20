import { RECORD_IN_STORE, RECORD_NOT_STORED } from "../drill/facts.ts";
import type { DrillRecord, Step } from "../record.ts";
import { formatDuration } from "../values.ts";

/** What to do now, one plain sentence or two for each kind of trouble in the record; empty when it passed. */
export function nextSteps(record: DrillRecord): string[] {
  if (record.verdict === "passed") return [];
  const found = [...stepTrouble(record), ...checkTrouble(record), ...objectiveTrouble(record)];
  if (record.environmentFacts[RECORD_IN_STORE] === RECORD_NOT_STORED) {
    found.push(
      "Mend the access to the store (the drill needs to write below drills/), then run the drill again: its evidence must outlive the runner.",
    );
  }
  found.push("Run the drill again after that: only a passed drill proves that the service can be recovered.");
  return [...new Set(found)];
}

function stepTrouble(record: DrillRecord): string[] {
  const found: string[] = [];
  for (const step of record.steps) {
    if (step.status === "passed" || step.status === "skipped") continue;
    const name = step.component ?? "";
    if (step.kind === "recover" && step.status === "failed") {
      found.push(
        `The backup of ${name} is not recoverable as it lies in the store: take a full backup now, keep the older ones until a drill of the new one has passed, and find out what changed the object that the reason names.`,
      );
    } else if (step.kind === "recover") {
      found.push(
        `Nothing is proven about ${name}, for the recovery could not run: mend what the reason names (configuration, access, network or disk).`,
      );
    } else if (step.kind === "run" && step.status === "failed") {
      found.push(
        `Run the step "${step.title}" by hand and mend it: its last lines are in the table of steps.`,
      );
    } else if (step.status === "unverified") {
      found.push(`Find out why the step "${step.title}" could not run: what it would have shown is unknown.`);
    }
  }
  return found;
}

/** How the names of checks begin that a component makes by itself to see whether its data is whole. */
const INTEGRITY = "integrity: ";

function checkTrouble(record: DrillRecord): string[] {
  const found: string[] = [];
  const failed = record.checks.filter((check) => check.status === "failed");
  const [damaged] = failed.filter((check) => check.check.startsWith(INTEGRITY));
  if (damaged !== undefined) {
    found.push(
      `See whether the source of ${damaged.component} has the same damage, for it may have been backed up with it: look there with amcheck (pg_amcheck), mend the source if so, and take a full backup. Keep the older backups until a drill has passed.`,
    );
  }
  if (failed.some((check) => !check.check.startsWith(INTEGRITY))) {
    found.push(
      "Compare what the failed checks saw with the source. If the data is wrong, drill an earlier target to find the last good point; if the expectation is wrong, mend it in the runbook.",
    );
  }
  if (record.checks.some((check) => check.status === "unverified")) {
    found.push("Mend the checks that could not run: they prove nothing until they do.");
  }
  const recovered = record.recoveries.length > 0;
  if (record.checks.length === 0 && recovered) {
    found.push(
      "Add a check that proves data to the component or the scenario: a server that starts is no proof.",
    );
  }
  return found;
}

function objectiveTrouble(record: DrillRecord): string[] {
  const found: string[] = [];
  const { objectives, achieved } = record;
  if (misses(achieved.rtoSeconds, objectives.rtoSeconds)) {
    const longest = longestPart(record.steps);
    const where =
      longest === undefined
        ? ""
        : ` The longest part was ${longest.name} (${formatDuration(longest.seconds)}).`;
    found.push(
      `Make the recovery faster, for example with more frequent full backups, a runner with more disk and network speed, or a smaller WAL distance.${where}`,
    );
  }
  if (misses(achieved.rpoSeconds, objectives.rpoSeconds)) {
    found.push(
      "Archive WAL more often: run the backup action with kind: wal on a closer schedule, or with stream-for.",
    );
  }
  const recovered = record.recoveries.length > 0;
  if (objectives.rpoSeconds !== null && achieved.rpoSeconds === null && recovered) {
    found.push(
      "Let the drill see a commit: the recovery must replay at least one transaction for the RPO to be measured, so drill a target after the end of the backup.",
    );
  }
  return found;
}

/** Whether a measured value is worse than its objective. */
export function misses(achieved: number | null, objective: number | null): boolean {
  return achieved !== null && objective !== null && achieved > objective;
}

function longestPart(steps: readonly Step[]): { name: string; seconds: number } | undefined {
  const parts = steps.flatMap((step) =>
    step.phases.length === 0
      ? [{ name: step.title, seconds: step.seconds }]
      : step.phases.map((phase) => ({ name: `${phase.name} of "${step.title}"`, seconds: phase.seconds })),
  );
  return parts.sort((a, b) => b.seconds - a.seconds)[0];
}
