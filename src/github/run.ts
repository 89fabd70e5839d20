import type { DrillRecord } from "../record.ts";

type Env = Readonly<Record<string, string | undefined>>;

/** Who started this, and which run of which commit it is; nulls where no runner says so. */
export function runFacts(env: Env): {
  operator: string;
  run: DrillRecord["run"];
  facts: Record<string, string>;
} {
  const { GITHUB_SERVER_URL: server, GITHUB_REPOSITORY: repository, GITHUB_RUN_ID: id } = env;
  const attempt = Number(env.GITHUB_RUN_ATTEMPT);
  const facts: Record<string, string> = {
    runner: env.RUNNER_NAME || "not a GitHub runner",
    os: `${process.platform} ${process.arch}`,
    node: process.versions.node,
  };
  if (env.RUNNER_ENVIRONMENT) facts["runner environment"] = env.RUNNER_ENVIRONMENT;
  return {
    operator: env.GITHUB_TRIGGERING_ACTOR || env.GITHUB_ACTOR || env.USER || "unknown",
    run: {
      url: server && repository && id ? `${server}/${repository}/actions/runs/${id}` : null,
      attempt: Number.isInteger(attempt) && attempt > 0 ? attempt : null,
      sha: env.GITHUB_SHA || null,
    },
    facts,
  };
}
