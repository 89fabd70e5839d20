import { AbortedError } from "../../errors.ts";
import type { CheckResult } from "../../record.ts";
import { checkBtreeIndexes } from "./btree-indexes.ts";
import { checkCollations } from "./collations.ts";
import { tell } from "./damage.ts";
import { checkExtensions } from "./extensions.ts";
import { FLAWS, judgeFlaws, type ObjectsByDatabase, readAllObjects } from "./flaws.ts";
import type { Answer, Ground } from "./ground.ts";
import { heapsAnswer, sweepHeaps } from "./heaps.ts";
import { checkPages } from "./pages.ts";
import { compareRoles } from "./roles.ts";
import { compareSchema } from "./schema.ts";
import { checkSequences } from "./sequences.ts";
import type { Swept } from "./sweep.ts";

/**
 * Everything that can be told of a recovered server without knowing what is in its tables. A check that can't run is
 * `unverified`. `compare`: schema and roles with the census too. Throws an AbortedError alone.
 */
export async function inspect(
  ground: Ground,
  component: string,
  mainDatabase: string,
  compare = true,
): Promise<CheckResult[]> {
  const results: CheckResult[] = [];
  async function take(check: string, work: () => Promise<Answer> | Answer): Promise<void> {
    const answer = await answerOf(work);
    ground.context.log.info(`${check}: ${answer.status}, ${answer.actual}`);
    results.push({ component, check, ...answer });
  }

  // The schema first: the checks after it create extensions for a while.
  let objects: ObjectsByDatabase | undefined;
  const withObjects = async (work: (all: ObjectsByDatabase) => Promise<Answer> | Answer) => {
    objects ??= await readAllObjects(ground);
    return await work(objects);
  };
  if (compare) {
    await take("schema as in the census", () =>
      withObjects((all) => compareSchema(ground, all, mainDatabase)),
    );
    await take("roles as in the census", () => compareRoles(ground));
  }
  await take("integrity: extensions", () => checkExtensions(ground));
  await take("integrity: collation versions", () => checkCollations(ground));
  await take("integrity: valid indexes", () => withObjects((all) => judgeFlaws(ground, all, FLAWS.indexes)));
  await take("integrity: valid constraints", () =>
    withObjects((all) => judgeFlaws(ground, all, FLAWS.constraints)),
  );
  await take("integrity: materialized views", () =>
    withObjects((all) => judgeFlaws(ground, all, FLAWS.views)),
  );
  await take("integrity: sequences", () => checkSequences(ground));
  let heaps: Swept | undefined;
  await take("integrity: tables (amcheck)", async () => {
    heaps = await sweepHeaps(ground);
    return heapsAnswer(heaps);
  });
  await take("integrity: B-tree indexes (amcheck)", () => checkBtreeIndexes(ground));
  await take("integrity: every page read", () => checkPages(ground, heaps));
  return results;
}

async function answerOf(work: () => Promise<Answer> | Answer): Promise<Answer> {
  try {
    return await work();
  } catch (error) {
    if (error instanceof AbortedError) throw error;
    return { status: "unverified", expected: "to be answered", actual: `could not run: ${tell(error)}` };
  }
}
