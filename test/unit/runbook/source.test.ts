import { describe } from "vitest";
import { type Case, testCases } from "./cases.ts";
import { SMALL } from "./fixtures.ts";

const YAML: Case[] = [
  { name: "a tab", text: "version: 1\nstores:\n§\tlocal: 1\n", says: ["indented with a tab: use spaces"] },
  { name: "a tab after spaces", text: "version: 1\nstores:\n  §\tlocal: 1\n", says: ["indented with a tab"] },
  {
    name: "an operator that is the head of a block",
    text: "version: 1\nexpect: §>= 1\n",
    says: ["block of text", 'in quotes, such as ">= 1"'],
  },
  { name: "an operator that is a tag", text: "version: 1\nexpect: §!= 5\n", says: ["tag", '"!= 5"'] },
  { name: "a tag", text: "version: 1\nservice: !!binary §aGk=\n", says: ["service has a YAML tag"] },
  {
    name: "a reserved sign",
    text: "version: 1\nservice: §@shop\n",
    says: ["can't start with @", "in quotes"],
  },
  {
    name: "a second colon",
    text: "version: 1\nservice: §shop: mine\n",
    says: ["second colon", "indentation"],
  },
  { name: "a key twice", text: `${SMALL}§service: again\n`, says: ["service stands twice in the same map"] },
  {
    name: "a key twice further in",
    text: `${SMALL}    wal: { slot: a, §slot: b }\n`,
    says: ["components.db.wal.slot stands twice"],
  },
  { name: "two documents", text: `${SMALL}§---\nversion: 1\n`, says: ["several YAML documents", "---"] },
  { name: "a quote that is not closed", text: 'version: 1\nservice: "shop§\n', says: ["quote"] },
  { name: "a bracket that is not closed", text: "version: 1\ndocuments: [a§\n", says: ["bracket"] },
  {
    name: "an anchor that is not there",
    text: "version: 1\nservice: §*shop\n",
    says: ["service uses an anchor"],
  },
  {
    name: "a value in itself",
    text: "version: 1\nstores: &s { a: §*s }\n",
    says: ["stores.a repeats itself"],
  },
  { name: "a key that is a list", text: "version: 1\n? §[a, b]\n: c\n", says: ["A key must be plain text"] },
  {
    name: "a prototype",
    text: "version: 1\nstores: { §__proto__: { type: file } }\n",
    says: ["stores.__proto__"],
  },
  { name: "a list at the top", text: "§- version: 1\n", says: ["the runbook must be a map of keys"] },
  { name: "a text at the top", text: "§hello\n", says: ["the runbook must be a map of keys"] },
  { name: "nothing", text: "§", says: ["the runbook is empty: start with version: 1"] },
  { name: "nothing but comments", text: "§# later\n", says: ["the runbook is empty"] },
  { name: "brackets without end", text: `§${"[".repeat(100_000)}`, says: ["nested too deeply"] },
  {
    name: "lists in lists",
    text: `a: ${"[".repeat(40)}§${"[".repeat(19)}${"]".repeat(59)}`,
    says: ["nested"],
  },
  { name: "anchors that multiply", text: bomb(), says: ["the runbook repeats its anchors too often"] },
];

function bomb(): string {
  const lists = [..."bcdefghi"].map((name, index) => {
    const before = "abcdefgh"[index];
    return `${name}: &${name} [${Array(9).fill(`*${before}`).join(", ")}]\n`;
  });
  return `§a: &a [x, x, x, x, x, x, x, x, x]\n${lists.join("")}`;
}

describe("YAML", () => testCases(YAML));
