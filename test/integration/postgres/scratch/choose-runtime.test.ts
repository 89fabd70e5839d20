import { describe, expect, test } from "vitest";
import { AbortedError, ToolError, UserError } from "../../../../src/errors.ts";
import { chooseRuntime, type ServerWish } from "../../../../src/postgres/scratch/choose-runtime.ts";
import { findRunUser } from "../../../../src/postgres/scratch/run-user.ts";
import { createScratch, type Scratch } from "../../../../src/postgres/scratch/scratch.ts";
import type { ServerRuntime } from "../../../../src/postgres/scratch/server.ts";
import { roomContext } from "../recovering.ts";
import { type FakeEngine, type FakeOptions, fakeEngine } from "./fake-engine.ts";

/** No distribution has a folder of it. */
const MAJOR = 99;
const POSTGRES = "postgres (PostgreSQL) 99.3";
const DOCKER: ServerWish = { runtime: "docker", binDir: undefined, image: undefined };
const AUTO: ServerWish = { ...DOCKER, runtime: "auto" };
const ROOT = process.getuid?.() === 0;

interface Tried {
  readonly engine: FakeEngine;
  readonly scratch: Scratch;
  readonly runtime: ServerRuntime | undefined;
  readonly error: unknown;
}

/** Chooses, hands the outcome over, and sees that nothing is left. */
async function choose(
  wish: ServerWish,
  options: FakeOptions,
  look: (tried: Tried) => void | Promise<void>,
): Promise<void> {
  using engine = fakeEngine(options);
  await using context = await roomContext({ env: engine.env });
  const scratch = await createScratch(await findRunUser(), context);
  try {
    let error: unknown;
    const runtime = await chooseRuntime(wish, MAJOR, scratch, context).catch((thrown: unknown) => {
      error = thrown;
      return undefined;
    });
    await look({ engine, scratch, runtime, error });
    expect(engine.requests().join("\n")).not.toContain("never-told");
    // Each container that was asked for was taken back.
    const names = (command: string) =>
      engine
        .requests()
        .filter((line) => line.split(" ")[1] === command)
        .map((line) => /drillbook-[0-9a-f]{12}/.exec(line)?.[0]);
    expect(names("rm")).toEqual(names("create"));
  } finally {
    await scratch.remove();
  }
  expect(context.remains()).toEqual([]);
}

function expectError(
  error: unknown,
  kind: typeof ToolError | typeof UserError,
  ...words: (string | RegExp)[]
) {
  expect(error).toBeInstanceOf(kind);
  for (const word of words) expect((error as Error).message).toMatch(word);
}

describe("without an engine", () => {
  test("auto names the three ways out", async () => {
    await choose(AUTO, { engines: {} }, ({ error }) =>
      expectError(
        error,
        ToolError,
        "this machine has none",
        "neither docker nor podman is in PATH",
        "apt-get install postgresql-99",
        "server.bin-dir",
        /start docker or podman, so that the image postgres:99 can be used/,
      ),
    );
  });

  test("docker says what each engine answered", async () => {
    const engines = { docker: "ERROR: Cannot connect to the Docker daemon.", podman: "Error: no storage" };
    await choose(DOCKER, { engines }, ({ error }) =>
      expectError(
        error,
        ToolError,
        /no container engine answers \(docker: Cannot connect to the Docker daemon; podman: no storage\)/,
      ),
    );
  });

  test("local does not look for one", async () => {
    await choose({ ...AUTO, runtime: "local" }, { engines: { docker: "" } }, ({ engine, error }) => {
      expectError(error, ToolError, "apt-get install postgresql-99", "server.bin-dir");
      expect((error as Error).message).not.toContain("docker");
      expect(engine.requests()).toEqual([]);
    });
  });
});

describe("the engine", () => {
  test("is docker before podman", async () => {
    const engines = { docker: "", podman: "" };
    await choose(AUTO, { engines, hasImage: true, postgres: POSTGRES }, ({ engine, runtime, error }) => {
      expect(error).toBeUndefined();
      expect(runtime?.label).toBe("docker postgres:99");
      expect(engine.requests().filter((line) => line.startsWith("podman"))).toEqual([]);
      const create = engine.requests().find((line) => line.startsWith("docker create"));
      for (const part of ["--rm", "--pull=never", "--network=host", "--cap-drop=ALL", "--userns=host"]) {
        expect(create).toContain(` ${part} `);
      }
      expect(create).toMatch(/ --user=[1-9]\d*:\d+ /);
      expect(create).not.toContain("http-proxy");
    });
  });

  test.each<{ name: string; engines: Record<string, string> }>([
    { name: "podman", engines: { docker: "Cannot connect", podman: "" } },
    { name: "docker", engines: { docker: "" } },
  ])("can be podman, under the name $name", async ({ name, engines }) => {
    const options = { engines, version: "podman version 4.3.1", hasImage: true, postgres: POSTGRES };
    await choose(DOCKER, options, ({ engine, runtime, error }) => {
      expect(error).toBeUndefined();
      expect(runtime?.label).toBe(`${name} postgres:99`);
      const create = engine.requests().find((line) => line.startsWith(`${name} create`));
      expect(create).toContain(" --http-proxy=false ");
      expect(create).toContain(ROOT ? " --userns=host " : " --userns=keep-id ");
    });
  });

  test("that refuses a container is quoted", async () => {
    const refusal = "invalid mount config for type bind: bind source path does not exist";
    await choose(DOCKER, { engines: { docker: "" }, hasImage: true, refusal }, ({ error }) =>
      expectError(
        error,
        ToolError,
        /: bind source path does not exist\. The engine must run on this machine/,
      ),
    );
  });

  test("that works on other folders than ours is told apart", async () => {
    const options = { engines: { docker: "" }, hasImage: true, postgres: POSTGRES, elsewhere: true };
    await choose(DOCKER, options, ({ error, scratch }) =>
      expectError(error, ToolError, `to the folder ${scratch.root} does not arrive here`, "DOCKER_HOST"),
    );
  });

  test("whose server cannot be reached from here is told apart", async () => {
    const options = { engines: { docker: "" }, hasImage: true, postgres: POSTGRES };
    await choose(DOCKER, options, async ({ runtime, scratch, error }) => {
      expect(error).toBeUndefined();
      const server = await runtime?.start(scratch, "/nowhere", () => undefined);
      expect(server?.title).toMatch(/^container drillbook-/);
      expect(server?.stopCommand).toMatch(/^docker stop drillbook-/);
      const reach = await server?.requireReach(1).catch((thrown: unknown) => thrown);
      expectError(reach, ToolError, /is ready, but its socket .*\.s\.PGSQL\.1 cannot be reached from here/);
      await server?.stop();
      expect(server?.ending()).toBe("signal SIGKILL");
    });
  });
});

describe("the image", () => {
  test("that cannot be pulled is told in the registry's words", async () => {
    await choose(AUTO, { engines: { docker: "" } }, ({ engine, error }) => {
      expectError(
        error,
        ToolError,
        "docker has no image postgres:99 and could not pull it",
        /pull access denied for postgres:99\. See the name in server\.image, log in/,
      );
      expect(engine.requests().some((line) => line.includes("create"))).toBe(false);
    });
  });

  test("must not look like an option", async () => {
    await choose({ ...DOCKER, image: "--privileged" }, { engines: { docker: "" } }, ({ engine, error }) => {
      expectError(error, UserError, 'server.image is "--privileged", which is no name of an image');
      expect(engine.requests()).toEqual([]);
    });
  });

  test("must hold the backup's major version", async () => {
    const options = { engines: { docker: "" }, hasImage: true, postgres: "postgres (PostgreSQL) 16.9" };
    await choose({ ...DOCKER, image: "mine:1" }, options, ({ error }) =>
      expectError(error, UserError, "The image mine:1 holds PostgreSQL 16.9", "is of PostgreSQL 99"),
    );
  });

  test("must hold a server", async () => {
    await choose(DOCKER, { engines: { docker: "" }, hasImage: true }, ({ error }) =>
      expectError(error, UserError, 'holds no PostgreSQL server program "postgres"'),
    );
  });
});

test("an abort before anything is tried takes back what was made", async () => {
  using engine = fakeEngine({ engines: { docker: "" }, hasImage: true, postgres: POSTGRES });
  await using context = await roomContext({ env: engine.env });
  const scratch = await createScratch(await findRunUser(), context);
  const log = { ...context.log, info: () => undefined };
  const work = chooseRuntime(DOCKER, MAJOR, scratch, { ...context, log });
  work.catch(() => undefined);
  while (!engine.requests().some((line) => line.startsWith("docker create"))) {
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
  context.abort();
  await expect(work).rejects.toThrow(AbortedError);
  expect(engine.requests().filter((line) => line.startsWith("docker rm"))).toHaveLength(1);
  await scratch.remove();
  expect(context.remains()).toEqual([]);
});
